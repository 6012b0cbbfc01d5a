//! Colours of a terminal, or none.
use super::cell;

/// What a piece of text is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ink {
    Menu,
    Command,
    Property,
    Value,
    Comment,
    Legend,
    Flag,
    Error,
    /// Of rows that take no part.
    Faint,
}
impl Ink {
    /// Select Graphic Rendition (ECMA-48), of the eight colours every terminal has.
    pub const fn code(self) -> &'static str {
        match self {
            Self::Menu => "36",
            Self::Command => "35",
            Self::Property => "32",
            Self::Value => "33",
            Self::Comment => "36",
            Self::Legend => "1",
            Self::Flag => "34",
            Self::Error => "31",
            Self::Faint => "2",
        }
    }
}

/// Where text goes: how wide it is and whether it has colours.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Columns; `None` where lines may be of any length.
    pub width: Option<usize>,
    pub colours: bool,
}
impl Style {
    pub fn ink(self, ink: Ink, text: &str) -> String {
        match self.colours && !text.is_empty() {
            true => format!("\x1b[{}m{text}\x1b[0m", ink.code()),
            false => text.to_owned(),
        }
    }
    pub fn fits(self, columns: usize) -> bool {
        self.width.is_none_or(|width| columns <= width)
    }
}

/// Words put into lines, continued ones indented; what is too long for a line has one of its own.
pub struct Wrap {
    style: Style,
    indent: usize,
    column: usize,
    empty: bool,
    pub out: String,
}
impl Wrap {
    /// `head` begins the first line and is `columns` wide.
    pub fn new(style: Style, head: &str, columns: usize, indent: usize) -> Self {
        Self { style, indent, column: columns, empty: true, out: head.to_owned() }
    }
    /// `plain` is what `shown` looks like without colours.
    pub fn word(&mut self, plain: &str, shown: &str) {
        let wide = cell::width(plain);
        if !self.empty && !self.style.fits(self.column + 1 + wide) {
            self.end_line();
        } else if !self.empty {
            self.out.push(' ');
            self.column += 1;
        }
        self.out.push_str(shown);
        self.column += wide;
        self.empty = false;
    }
    pub fn end_line(&mut self) {
        self.out.push('\n');
        self.out.extend(std::iter::repeat_n(' ', self.indent));
        (self.column, self.empty) = (self.indent, true);
    }
}
