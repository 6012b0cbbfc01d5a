//! What is wrong with a configuration file, where, and what to write instead.
use serde::Serialize;
use std::fmt;
use std::ops::Range;

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
    /// Bytes of the file it points at.
    #[serde(skip)]
    pub span: Range<usize>,
}

/// Everything wrong with one file, in the order of the file.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Default)]
pub struct Complaints(pub Vec<Complaint>);

impl Complaints {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn errors(&self) -> usize {
        self.0.iter().filter(|c| c.severity == Severity::Error).count()
    }
}
impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { line, column, path, said, .. } = self;
        let kind = if self.severity == Severity::Warning { "warning: " } else { "" };
        write!(f, "{line}:{column}: {kind}{path}: {said}")?;
        self.fix.iter().try_for_each(|fix| write!(f, "; {fix}"))
    }
}
impl fmt::Display for Complaints {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|complaint| writeln!(f, "{complaint}"))
    }
}
impl std::error::Error for Complaints {}
