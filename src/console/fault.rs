//! Why a line was not carried out: where, what is wrong, what to write instead.
use config::script::Span;
use config::script::names::NoSuch;
use std::fmt;

/// In a box: it is rare, and what else comes back is small.
#[derive(Clone, Debug, Default)]
pub struct Fault(Box<What>);
#[derive(Clone, Debug, Default)]
pub struct What {
    /// In the text that was given.
    pub span: Option<Span>,
    pub said: String,
    pub fix: String,
    /// The property that is meant, while its place in the text is not known.
    pub property: Option<String>,
    /// Further complaints, a line each.
    pub more: Vec<String>,
}
impl Fault {
    pub fn new(said: impl Into<String>, fix: impl Into<String>) -> Self {
        Self(Box::new(What { said: said.into(), fix: fix.into(), ..What::default() }))
    }
    pub fn at(span: Span, said: impl Into<String>) -> Self {
        Self(Box::new(What { span: Some(span), said: said.into(), ..What::default() }))
    }
    pub fn no_such(span: Span, no_such: &NoSuch) -> Self {
        Self::at(span, no_such.to_string())
    }
    /// Where nothing more exact is known.
    pub fn or_at(mut self, span: Span) -> Self {
        self.span.get_or_insert(span);
        self
    }
    /// With its place in `text`: `... (line 1 column 5)`.
    pub fn shown(&self, text: &str) -> String {
        let mut out = self.to_string();
        if let Some((line, column)) = self.place(text) {
            out += &format!(" (line {line} column {column})");
        }
        for line in &self.more {
            out += &format!("\n  {}", super::cell::printable(line));
        }
        out
    }
    /// Line and column, from 1, columns in characters.
    pub fn place(&self, text: &str) -> Option<(usize, usize)> {
        let head = text.get(..self.span?.start.min(text.len()))?;
        let line = head.matches('\n').count() + 1;
        let start = head.rfind('\n').map_or(0, |at| at + 1);
        Some((line, head.get(start..)?.chars().count() + 1))
    }
}
impl std::ops::Deref for Fault {
    type Target = What;
    fn deref(&self) -> &What {
        &self.0
    }
}
impl std::ops::DerefMut for Fault {
    fn deref_mut(&mut self) -> &mut What {
        &mut self.0
    }
}
impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&super::cell::printable(&self.said))?;
        match &*self.fix {
            "" => Ok(()),
            fix => write!(f, "; {}", super::cell::printable(fix)),
        }
    }
}
impl From<config::script::Fault> for Fault {
    fn from(fault: config::script::Fault) -> Self {
        Self::at(fault.span, fault.said)
    }
}
