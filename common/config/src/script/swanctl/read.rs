//! The text of swanctl.conf: sections within braces, `key = value`, includes, references to other sections.
use super::super::ast::Text;
use super::super::{Lines, MAX_DEPTH};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

#[derive(Clone, Debug, Default)]
pub struct Section {
    pub name: String,
    pub line: usize,
    pub settings: Vec<Setting>,
    pub sections: Vec<Section>,
}
#[derive(Clone, Debug)]
pub struct Setting {
    pub key: String,
    pub value: Text,
    pub line: usize,
}
#[derive(Debug, Default)]
pub struct File {
    pub root: Section,
    /// `include`, and what came of it.
    pub includes: Vec<(usize, Result<PathBuf, String>)>,
    pub faults: Vec<(usize, &'static str)>,
}

impl Section {
    pub fn get(&self, key: &str) -> Option<&str> {
        self.settings.iter().rev().find(|setting| setting.key == key).map(|setting| setting.value.as_str())
    }
    pub fn line_of(&self, key: &str) -> usize {
        self.settings
            .iter()
            .rev()
            .find(|setting| setting.key == key)
            .map_or(self.line, |setting| setting.line)
    }
    pub fn section(&self, name: &str) -> Option<&Self> {
        self.sections.iter().find(|section| section.name == name)
    }
    /// `local`, `local-1`, `local2`.
    pub fn numbered<'s>(&'s self, name: &'s str) -> impl Iterator<Item = &'s Self> {
        let fits = move |section: &&Self| {
            section
                .name
                .strip_prefix(name)
                .is_some_and(|rest| rest.bytes().all(|b| b.is_ascii_digit() || b == b'-'))
        };
        self.sections.iter().filter(fits)
    }
}

/// The files that `include` names in this file (`None`: the one that is read), and their texts; or why there are none.
pub type Includes<'i> = dyn FnMut(&str, Option<&Path>) -> Result<Vec<(PathBuf, Text)>, String> + 'i;
/// Files within files, and all of them.
const MAX_NESTED: usize = 8;
const MAX_FILES: usize = 1000;

pub fn read(text: &str, include: &mut Includes) -> File {
    let lines = Lines::new(text);
    let mut reader =
        Reader { text, lines, at: 0, file: File::default(), include, path: None, under: None, nested: 0 };
    let mut root = Section::default();
    reader.whole(&mut root, 0);
    reader.file.root = root;
    reader.file
}

struct Reader<'a, 'i> {
    text: &'a str,
    lines: Lines,
    at: usize,
    file: File,
    include: &'a mut Includes<'i>,
    /// Of the file that was included.
    path: Option<&'a Path>,
    /// Everything in it is said about this line.
    under: Option<usize>,
    nested: usize,
}

impl Reader<'_, '_> {
    fn whole(&mut self, section: &mut Section, depth: usize) {
        while self.at < self.text.len() {
            self.body(section, depth);
            if self.peek() == Some('}') {
                self.fault("`}` closes nothing here");
                self.at += 1;
            }
        }
    }
    /// What the files say stands where `include` does.
    fn included(&mut self, section: &mut Section, line: usize, what: &str, depth: usize) {
        let files = match self.nested < MAX_NESTED && self.file.includes.len() < MAX_FILES {
            true => (self.include)(what, self.path),
            false => Err("too many files within each other".into()),
        };
        match files {
            Err(why) => {
                self.file.includes.push((line, Err(format!("`include {what}` is not followed: {why}"))))
            }
            Ok(files) => {
                for (path, text) in files {
                    self.file.includes.push((line, Ok(path.clone())));
                    let mut inner = Reader {
                        text: &text,
                        lines: Lines::new(&text),
                        at: 0,
                        file: std::mem::take(&mut self.file),
                        include: &mut *self.include,
                        path: Some(&path),
                        under: Some(line),
                        nested: self.nested + 1,
                    };
                    inner.whole(section, depth);
                    self.file = inner.file;
                }
            }
        }
    }
    fn peek(&self) -> Option<char> {
        self.text.get(self.at..)?.chars().next()
    }
    fn line(&self) -> usize {
        self.under.unwrap_or_else(|| self.lines.line(self.at))
    }
    fn fault(&mut self, said: &'static str) {
        let line = self.line();
        if self.file.faults.len() < 1000 {
            self.file.faults.push((line, said));
        }
    }
    fn while_char(&mut self, more: impl Fn(char) -> bool) -> &str {
        let start = self.at;
        let rest = self.text.get(start..).unwrap_or_default();
        self.at += rest.find(|c| !more(c)).unwrap_or(rest.len());
        self.text.get(start..self.at).unwrap_or_default()
    }
    fn skip_blanks(&mut self) {
        self.while_char(|c| matches!(c, ' ' | '\t' | '\r'));
    }
    /// Blanks, ends of lines and comments.
    fn skip(&mut self) {
        loop {
            self.while_char(char::is_whitespace);
            if self.peek() != Some('#') {
                return;
            }
            self.while_char(|c| c != '\n');
        }
    }

    /// Until `}`, which stays, or the end.
    fn body(&mut self, section: &mut Section, depth: usize) {
        loop {
            self.skip();
            let Some(c) = self.peek().filter(|c| *c != '}') else { return };
            let line = self.line();
            let name = self.while_char(|c| !c.is_whitespace() && !"{}=#:,\"".contains(c)).to_owned();
            if name.is_empty() {
                self.fault("here belongs the name of a section or setting");
                self.at += c.len_utf8();
                self.while_char(|c| c != '\n');
                continue;
            }
            self.skip_blanks();
            match self.peek() {
                Some('=') => {
                    self.at += 1;
                    let value = self.value();
                    section.settings.push(Setting { key: name, value, line });
                }
                _ if name == "include" => {
                    let what = self.while_char(|c| c != '\n').trim().to_owned();
                    self.included(section, line, &what, depth);
                }
                _ => self.open(section, name, line, depth),
            }
        }
    }
    /// `name { ... }`, or `name : other { ... }`.
    fn open(&mut self, within: &mut Section, name: String, line: usize, depth: usize) {
        if self.peek() == Some(':') {
            self.fault("references to other sections are not followed: write their settings out");
            self.while_char(|c| !"{\n".contains(c));
        }
        self.skip();
        if self.peek() != Some('{') {
            return self.fault("`{` or `=` is missing behind a name");
        }
        self.at += 1;
        let mut section = Section { name, line, ..Section::default() };
        if depth >= MAX_DEPTH {
            self.fault("sections are nested too deep");
            self.at = self.text.len();
            return;
        }
        self.body(&mut section, depth + 1);
        if self.peek() == Some('}') {
            self.at += 1;
        } else {
            self.fault("`}` is missing");
        }
        // A section may be continued elsewhere.
        match within.sections.iter_mut().find(|other| other.name == section.name) {
            Some(other) => {
                other.settings.append(&mut section.settings);
                other.sections.append(&mut section.sections);
            }
            None => within.sections.push(section),
        }
    }
    fn value(&mut self) -> Text {
        self.skip_blanks();
        if self.peek() != Some('"') {
            let value = self.while_char(|c| !"\n#}{".contains(c)).trim_end();
            return Text::new(Zeroizing::new(value.to_owned()));
        }
        self.at += 1;
        let rest = self.text.get(self.at..).unwrap_or_default();
        let mut value = Zeroizing::new(String::with_capacity(end_of_quote(rest)));
        let mut chars = rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.at += at + 1;
                    return Text::new(value);
                }
                '\\' => match chars.next() {
                    Some((_, 'n')) => value.push('\n'),
                    Some((_, 'r')) => value.push('\r'),
                    Some((_, 't')) => value.push('\t'),
                    Some((_, '\n')) | None => {}
                    Some((_, c)) => value.push(c),
                },
                c => value.push(c),
            }
        }
        self.fault("a quote is not closed");
        self.at = self.text.len();
        Text::default()
    }
}
fn end_of_quote(rest: &str) -> usize {
    let mut escaped = false;
    rest.bytes()
        .position(|byte| {
            let ends = byte == b'"' && !escaped;
            escaped = byte == b'\\' && !escaped;
            ends
        })
        .unwrap_or(rest.len())
}
