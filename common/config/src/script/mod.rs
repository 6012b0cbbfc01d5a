//! RouterOS's console language: one parser for scripts, exports and single lines of a console.
//!
//! `cursor` reads characters (continued lines, escapes, legacy bytes), `parse` makes statements of them, `expr` the
//! conditions of `find` and `where`, `names` finds menus, commands and properties from their beginnings, `complete`
//! says what may follow at a place of a line. All of it is total: any text gives statements and faults, in time
//! that grows with its length.
pub mod ast;
pub mod complete;
mod cursor;
pub mod eval;
pub mod export;
pub mod expr;
pub mod import;
pub mod names;
pub mod parse;
pub mod swanctl;

pub use ast::{Body, Item, ItemKind, Lead, Script, Statement, Text, Value, ValueKind};
pub use cursor::decode;
pub use export::export;
pub use expr::Expr;
pub use import::{Imported, Report, import};
pub use parse::parse;

use std::ops::Range;

/// Largest script; an export of ten thousand tunnels is a tenth of it.
pub const MAX_BYTES: usize = 32 << 20;
/// Brackets within brackets.
pub const MAX_DEPTH: usize = 24;

/// Bytes of the source.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Span {
    pub start: usize,
    pub end: usize,
}
impl Span {
    pub fn bytes(self) -> Range<usize> {
        self.start..self.end
    }
    /// What stands there; empty when the span is not of this text.
    pub fn of(self, text: &str) -> &str {
        text.get(self.bytes()).unwrap_or_default()
    }
}

/// What is wrong with the text as text. Never repeats what stands in a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fault {
    pub span: Span,
    pub said: String,
}

/// From offsets to line numbers.
pub struct Lines(Vec<usize>);
impl Lines {
    pub fn new(text: &str) -> Self {
        Self(text.bytes().enumerate().filter(|(_, b)| *b == b'\n').map(|(at, _)| at).collect())
    }
    /// From 1.
    pub fn line(&self, offset: usize) -> usize {
        self.0.partition_point(|newline| *newline < offset) + 1
    }
}
