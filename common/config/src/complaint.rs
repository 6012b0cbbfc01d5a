//! What is wrong with a configuration file, where, and what to write instead.
use crate::yaml::Spot;
use serde::Serialize;
use std::fmt;
use std::ops::Range;

/// More are counted but not listed: whoever reads the first two hundred has enough to do.
const MAX_LISTED: usize = 200;
/// Longest piece of the file or of a value that is repeated.
const MAX_QUOTE: usize = 240;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    Error,
    Warning,
}

/// One fault. Holds no secret: neither in its words nor in a line quoted from the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Complaint {
    pub severity: Severity,
    /// From 1; 0 when it is about the file as a whole.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
    /// `ip.ipsec.peer[2].profile`, rows counted from 0 as RouterOS does.
    pub path: String,
    pub said: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fix: Option<String>,
    /// The line it points at.
    #[serde(skip)]
    pub quote: Option<Quote>,
}

/// A line of the file, secrets blotted out, and the part of it that is meant (in bytes).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quote {
    pub text: String,
    pub part: Range<usize>,
}

/// Everything wrong with one file, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub struct Complaints {
    pub list: Vec<Complaint>,
    pub errors: usize,
    pub warnings: usize,
}

impl Complaints {
    pub fn is_empty(&self) -> bool {
        self.errors + self.warnings == 0
    }
    /// Those that were counted but are not in the list.
    pub fn unlisted(&self) -> usize {
        self.errors + self.warnings - self.list.len()
    }
}
impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, path, said, .. } = self;
        let kind = if self.severity == Severity::Warning { "warning: " } else { "" };
        if *line > 0 {
            write!(f, "{line}:{column}: ")?;
        }
        write!(f, "{kind}{path}: {said}")?;
        self.fix.iter().try_for_each(|fix| write!(f, "; {fix}"))
    }
}
impl fmt::Display for Complaints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.list.iter().try_for_each(|complaint| writeln!(f, "{complaint}"))?;
        match self.unlisted() {
            0 => Ok(()),
            more => writeln!(f, "and {more} more"),
        }
    }
}
impl std::error::Error for Complaints {}

/// Where complaints go while a file is read.
#[derive(Default)]
pub struct Sink {
    list: Vec<(Complaint, Spot)>,
    errors: usize,
    warnings: usize,
    /// Parts of the file that are never quoted.
    secrets: Vec<Range<usize>>,
}

impl Sink {
    pub fn error(
        &mut self,
        spot: Spot,
        path: impl Into<String>,
        said: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.errors += 1;
        self.push(Severity::Error, spot, path.into(), said.into(), fix.into());
    }
    pub fn warning(
        &mut self,
        spot: Spot,
        path: impl Into<String>,
        said: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.warnings += 1;
        self.push(Severity::Warning, spot, path.into(), said.into(), fix.into());
    }
    pub fn secret(&mut self, spot: Spot) {
        self.secrets.push(spot.bytes());
    }
    /// In their order, each byte once.
    pub fn secrets(mut self) -> impl Iterator<Item = Range<usize>> {
        self.secrets.sort_by_key(|range| (range.start, range.end));
        let mut end = 0;
        self.secrets.into_iter().filter_map(move |range| {
            let range = range.start.max(end)..range.end;
            end = end.max(range.end);
            (!range.is_empty()).then_some(range)
        })
    }
    pub fn errors(&self) -> usize {
        self.errors
    }
    pub fn count(&self) -> usize {
        self.errors + self.warnings
    }
    fn push(&mut self, severity: Severity, spot: Spot, path: String, said: String, fix: String) {
        if self.list.len() == MAX_LISTED {
            // An error is worth more than a warning.
            match self.list.iter().rposition(|(c, _)| c.severity == Severity::Warning) {
                Some(at) if severity == Severity::Error => _ = self.list.remove(at),
                _ => return,
            }
        }
        let path = if path.is_empty() { "file".into() } else { printable(&path) };
        let fix = (!fix.is_empty()).then(|| printable(&fix));
        let (line, column) = (spot.line as usize, spot.column as usize);
        let complaint = Complaint { severity, line, column, path, said: printable(&said), fix, quote: None };
        self.list.push((complaint, spot));
    }

    /// `readable` is false when the file is not YAML: then nobody knows where its secrets are.
    pub fn finish(mut self, text: &str, readable: bool) -> Complaints {
        self.list.sort_by_key(|(complaint, spot)| (spot.start, complaint.line));
        self.secrets.sort_by_key(|range| range.start);
        let list = self.list.into_iter().map(|(complaint, spot)| {
            let quote = quote(text, spot, &self.secrets, readable);
            Complaint { quote, ..complaint }
        });
        Complaints { list: list.collect(), errors: self.errors, warnings: self.warnings }
    }
}

/// Text from the file as one line of printable characters, so that it cannot steer a terminal or forge a log.
fn printable(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        if out.len() > 4 * MAX_QUOTE {
            out.push('…');
            break;
        }
        match c {
            c if c.is_control() || is_direction_mark(c) => out.extend(c.escape_unicode()),
            c => out.push(c),
        }
    }
    out
}
/// Characters that turn the direction of writing, or show nothing.
fn is_direction_mark(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

fn quote(text: &str, spot: Spot, secrets: &[Range<usize>], readable: bool) -> Option<Quote> {
    if spot.line == 0 {
        return None;
    }
    let span = spot.bytes();
    let start = text.get(..span.start)?.rfind('\n').map_or(0, |at| at + 1);
    let line = text.get(start..)?.lines().next()?;
    let first_secret = secrets.partition_point(|range| range.end <= start);
    let hidden = |at: usize| {
        secrets
            .iter()
            .skip(first_secret)
            .take_while(|range| range.start <= at)
            .any(|range| range.contains(&at))
    };
    // What stands behind the first colon may be a secret when the file could not be read as a whole.
    let open_until = if readable { line.len() } else { line.find(':').map_or(0, |at| at + 1) };
    let mut quote = Quote { text: String::new(), part: 0..0 };
    for (offset, c) in line.char_indices() {
        if quote.text.len() >= MAX_QUOTE {
            break;
        }
        let at = start + offset;
        if at <= span.start {
            quote.part.start = quote.text.len();
        }
        let c = match c {
            c if c.is_control() || is_direction_mark(c) => ' ',
            ' ' => ' ',
            _ if offset >= open_until || hidden(at) => '*',
            c => c,
        };
        quote.text.push(c);
        if at < span.end {
            quote.part.end = quote.text.len();
        }
    }
    quote.part.end = quote.part.end.max(quote.part.start + 1).min(quote.text.len().max(1));
    (!quote.text.is_empty() && quote.part.start < quote.part.end).then_some(quote)
}
