//! What a script says, as it is written: nothing is looked up here.
use super::{Fault, Span};
use zeroize::Zeroizing;

/// The text of a value: it may be a secret, so it is wiped and not shown.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Text(Zeroizing<String>);
impl Text {
    pub fn new(text: Zeroizing<String>) -> Self {
        Self(text)
    }
    pub fn as_str(&self) -> &str {
        &self.0
    }
}
impl std::ops::Deref for Text {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}
impl std::fmt::Debug for Text {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Text({} bytes)", self.0.len())
    }
}

#[derive(Clone, Debug, Default)]
pub struct Script {
    pub statements: Vec<Statement>,
    /// Lines that begin with `#`, without it.
    pub comments: Vec<Span>,
    pub faults: Vec<Fault>,
}

/// `/ip ipsec peer add name=a`: which of the words are menus and which is the command, `names` says.
#[derive(Clone, Debug)]
pub struct Statement {
    pub span: Span,
    pub lead: Lead,
    pub items: Vec<Item>,
    /// Something in it could not be read; the items are what could.
    pub faulty: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Lead {
    /// In the current menu.
    Here,
    /// `/`
    Root,
    /// `:` a command of the script language.
    Global,
}

#[derive(Clone, Debug)]
pub struct Item {
    pub span: Span,
    pub kind: ItemKind,
}
#[derive(Clone, Debug)]
pub enum ItemKind {
    /// A bare word: of the path, a command, a flag, an item number or a name.
    Word(Text),
    /// `name=value`
    Named { name: String, name_span: Span, value: Value },
    /// `!name`
    Not(String),
    /// A value without a name that is not a bare word.
    Value(Value),
}
impl Item {
    pub fn word(&self) -> Option<&str> {
        match &self.kind {
            ItemKind::Word(word) => Some(word),
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Value {
    pub span: Span,
    pub kind: ValueKind,
}
#[derive(Clone, Debug)]
pub enum ValueKind {
    /// Nothing stands behind `=`.
    Missing,
    /// As it is, quotes and escapes resolved.
    Text { text: Text, quoted: bool },
    /// `[...]`
    Command(Body),
    /// `{...}`
    Block(Body),
    /// `(...)`: what is inside.
    Paren { inner: Span, closed: bool },
    /// It contains `$name`, `$[...]` or `$(...)`.
    Variable,
}
impl Value {
    pub fn text(&self) -> Option<&Text> {
        match &self.kind {
            ValueKind::Text { text, .. } => Some(text),
            _ => None,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Body {
    pub statements: Vec<Statement>,
    pub inner: Span,
    pub closed: bool,
}
