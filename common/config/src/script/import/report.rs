//! What an import did, line by line.
use super::put::MissingSecret;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// From harmless to serious.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// As it was written.
    Done,
    /// Taken over, but not as it was written.
    Changed,
    /// Taken over, but this version cannot run it yet.
    Later,
    /// Not of this gateway; skipped.
    NotCovered,
    /// Taken over, but something is missing that only people know.
    Attention,
    /// Cannot be taken over as it is; kept out.
    Refused,
}
impl Outcome {
    const ALL: [Self; 6] =
        [Self::Done, Self::Changed, Self::Later, Self::NotCovered, Self::Attention, Self::Refused];
    pub fn words(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Changed => "changed",
            Self::Later => "not yet",
            Self::NotCovered => "not covered",
            Self::Attention => "needs attention",
            Self::Refused => "refused",
        }
    }
}

/// A command of the source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Line {
    /// From 1.
    pub line: usize,
    /// Menu and command, without values.
    pub command: String,
    pub outcome: Outcome,
}
/// Something to say about a line. Holds no secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    pub line: usize,
    pub outcome: Outcome,
    /// `ip ipsec peer west`, or a menu.
    pub about: String,
    pub said: String,
    /// What to do.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub fix: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Report {
    /// `RouterOS 7.22.3`, when the source says so.
    pub source: Option<String>,
    pub lines: Vec<Line>,
    pub notes: Vec<Note>,
}

impl Report {
    pub(super) fn note(
        &mut self,
        line: usize,
        outcome: Outcome,
        about: impl Into<String>,
        said: impl Into<String>,
        fix: impl Into<String>,
    ) {
        let (about, said, fix) = (printable(&about.into()), printable(&said.into()), printable(&fix.into()));
        let note = Note { line, outcome, about, said, fix };
        if !self.notes.contains(&note) || self.notes.len() > 1000 {
            self.notes.push(note);
        }
    }
    /// Notes in the order of the source; each line with the most serious of its notes.
    pub(super) fn finish(&mut self) {
        self.notes.sort_by_key(|note| note.line);
        let mut worst: BTreeMap<usize, Outcome> = BTreeMap::new();
        for note in &self.notes {
            let outcome = worst.entry(note.line).or_insert(note.outcome);
            *outcome = (*outcome).max(note.outcome);
        }
        for line in &mut self.lines {
            line.outcome = worst.get(&line.line).copied().unwrap_or(Outcome::Done);
        }
    }
    /// Somebody has said a secret that was missing.
    pub fn given(&mut self, secret: &MissingSecret) {
        let said = missing_secret(&secret.what);
        self.notes.retain(|note| note.line != secret.line || note.said != said);
        self.finish();
    }
    pub fn count(&self, outcome: Outcome) -> usize {
        self.lines.iter().filter(|line| line.outcome == outcome).count()
    }
    /// `12 commands: 8 done, 3 changed, 1 not covered`
    pub fn summary(&self) -> String {
        let counts = Outcome::ALL.iter().map(|outcome| (outcome.words(), self.count(*outcome)));
        let counts: Vec<_> =
            counts.filter(|(_, n)| *n > 0).map(|(words, n)| format!("{n} {words}")).collect();
        let commands = match self.lines.len() {
            1 => "1 command".to_owned(),
            n => format!("{n} commands"),
        };
        if counts.is_empty() { commands } else { format!("{commands}: {}", counts.join(", ")) }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut notes = self.notes.iter().peekable();
        while let Some(first) = notes.next() {
            // What is said about many lines in a row is said once.
            let (mut last, mut lines) = (first.line, 1);
            let alike = |other: &&Note| {
                (other.outcome, &other.about, &other.said, &other.fix)
                    == (first.outcome, &first.about, &first.said, &first.fix)
            };
            while let Some(next) = notes.next_if(alike) {
                (last, lines) = (next.line, lines + 1);
            }
            match lines {
                _ if first.line == 0 => write!(f, "in general")?,
                1 => write!(f, "line {}", first.line)?,
                n => write!(f, "lines {}-{last} ({n})", first.line)?,
            }
            write!(f, ": {}: {}: {}", first.outcome.words(), first.about, first.said)?;
            if !first.fix.is_empty() {
                write!(f, "; {}", first.fix)?;
            }
            writeln!(f)?;
        }
        Ok(())
    }
}

/// What is said about a secret that is missing.
pub(super) fn missing_secret(what: &str) -> String {
    format!("the {what} is not in the source")
}
/// One line of printable characters: what stands in a script must not steer a terminal.
fn printable(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if out.len() > 500 {
            out.push('…');
            break;
        }
        match c {
            c if c.is_control()
                || ('\u{200b}'..='\u{200f}').contains(&c)
                || ('\u{2028}'..='\u{202e}').contains(&c)
                || ('\u{2060}'..='\u{2069}').contains(&c) =>
            {
                out.extend(c.escape_unicode())
            }
            c => out.push(c),
        }
    }
    out
}
