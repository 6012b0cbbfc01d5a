//! Text in, statements out. A fault ends its statement, never the script.
use super::ast::{Body, Item, ItemKind, Lead, Script, Statement, Text, Value, ValueKind};
use super::cursor::{Cursor, Oddity, Piece, is_blank, is_newline};
use super::{Fault, MAX_BYTES, MAX_DEPTH, Span};

/// More are not listed.
const MAX_FAULTS: usize = 10_000;

/// A whole script, or a line of the console.
pub fn parse(text: &str) -> Script {
    let mut parser =
        Parser { cursor: Cursor::new(text, Span { start: 0, end: text.len() }), ..Parser::empty() };
    if text.len() > MAX_BYTES {
        parser.fault(
            Span::default(),
            format!("the script has {} bytes; at most {MAX_BYTES} are read", text.len()),
        );
        return parser.script;
    }
    let mut all = Vec::new();
    loop {
        all.extend(parser.statements(None).0);
        match parser.cursor.peek() {
            None => break,
            Some(c) => {
                let start = parser.cursor.at();
                parser.cursor.next();
                let span = Span { start, end: parser.cursor.passed() };
                parser.fault(span, format!("`{c}` closes nothing here"));
            }
        }
    }
    parser.script.statements = all;
    parser.script
}

struct Parser<'a> {
    cursor: Cursor<'a>,
    script: Script,
    /// What closes each bracket that is open.
    open: Vec<char>,
    /// Of the statement being read.
    faulty: bool,
}

impl<'a> Parser<'a> {
    fn empty() -> Parser<'static> {
        Parser {
            cursor: Cursor::new("", Span::default()),
            script: Script::default(),
            open: Vec::new(),
            faulty: false,
        }
    }
    fn fault(&mut self, span: Span, said: impl Into<String>) {
        self.faulty = true;
        if self.script.faults.len() < MAX_FAULTS {
            self.script.faults.push(Fault { span, said: said.into() });
        }
    }
    /// Does this end the word, statement or body that is being read?
    fn closes(&self, c: char) -> bool {
        match self.open.last() {
            Some(closing) => c == *closing || self.open.contains(&c),
            None => false,
        }
    }

    /// Until `closing`, which is taken; also says whether it was there.
    fn statements(&mut self, closing: Option<char>) -> (Vec<Statement>, bool) {
        let mut all = Vec::new();
        loop {
            self.cursor.skip_blanks();
            match self.cursor.peek() {
                None => return (all, closing.is_none()),
                Some(c) if Some(c) == closing => {
                    self.cursor.next();
                    return (all, true);
                }
                // A bracket is closed in the line it was opened in, or one that was forgotten would hide all that follows.
                Some(c) if is_newline(c) && closing == Some(']') => return (all, false),
                Some(c) if is_newline(c) || c == ';' => _ = self.cursor.next(),
                Some('#') => {
                    let comment = self.cursor.skip_line();
                    self.script.comments.push(Span { start: comment.start + 1, end: comment.end });
                }
                Some(']' | '}' | ')') => return (all, false),
                Some(_) => all.push(self.statement()),
            }
        }
    }

    fn statement(&mut self) -> Statement {
        let outer = std::mem::take(&mut self.faulty);
        let start = self.cursor.at();
        let lead = match self.cursor.peek() {
            Some('/') => Lead::Root,
            Some(':') => Lead::Global,
            _ => Lead::Here,
        };
        if lead != Lead::Here {
            self.cursor.next();
        }
        let mut items = Vec::new();
        loop {
            self.cursor.skip_blanks();
            match self.cursor.peek() {
                None | Some(';') => break,
                Some(c) if is_newline(c) || self.closes(c) => break,
                // Behind blanks, or at once behind a word of the path: both are remarks in scripts written by hand.
                Some('#') => _ = self.cursor.skip_line(),
                Some(c @ (']' | '}' | ')')) => {
                    let start = self.cursor.at();
                    self.cursor.next();
                    self.fault(
                        Span { start, end: self.cursor.passed() },
                        format!("`{c}` closes nothing here"),
                    );
                }
                Some(_) => items.push(self.item()),
            }
        }
        let end = items.last().map_or(self.cursor.passed(), |item: &Item| item.span.end).max(start);
        let faulty = std::mem::replace(&mut self.faulty, outer);
        Statement { span: Span { start, end }, lead, items, faulty }
    }

    fn item(&mut self) -> Item {
        let start = self.cursor.at();
        let kind = match self.cursor.peek() {
            Some('"' | '[' | '(' | '{' | '$') => ItemKind::Value(self.value()),
            Some('!') => {
                let mut ahead = self.cursor.clone();
                ahead.next();
                if ahead.peek().is_some_and(in_name) {
                    self.cursor = ahead;
                    ItemKind::Not(self.name())
                } else {
                    self.bare()
                }
            }
            _ => self.bare(),
        };
        Item { span: Span { start, end: self.cursor.passed().max(start) }, kind }
    }
    fn name(&mut self) -> String {
        let mut name = String::new();
        while let Some(c) = self.cursor.peek().filter(|c| in_name(*c)) {
            self.cursor.next();
            name.push(c);
        }
        name
    }

    /// A word, or a name with its value.
    fn bare(&mut self) -> ItemKind {
        let mut ahead = self.cursor.clone();
        let start = ahead.at();
        std::mem::swap(&mut self.cursor, &mut ahead);
        let name = self.name();
        let name_span = Span { start, end: self.cursor.passed().max(start) };
        if !name.is_empty() && self.cursor.take('=') {
            // `a==b` is no argument, but may be read as a condition later.
            return ItemKind::Named { name, name_span, value: self.value() };
        }
        self.cursor = ahead;
        ItemKind::Word(self.text(Where::Word).0)
    }

    fn value(&mut self) -> Value {
        let start = self.cursor.at();
        let kind = match self.cursor.peek() {
            Some('[') => self.bracketed(']').map_or(ValueKind::Missing, ValueKind::Command),
            Some('{') => self.bracketed('}').map_or(ValueKind::Missing, ValueKind::Block),
            Some('(') => self.paren(),
            None | Some(';') => ValueKind::Missing,
            Some(c) if is_blank(c) || is_newline(c) || self.closes(c) => ValueKind::Missing,
            Some(_) => {
                let (text, quoted, variable) = self.text(Where::Value);
                if variable { ValueKind::Variable } else { ValueKind::Text { text, quoted } }
            }
        };
        Value { span: Span { start, end: self.cursor.passed().max(start) }, kind }
    }

    /// Bare and quoted pieces that stand together; whether one is quoted, whether there is a variable in it.
    fn text(&mut self, place: Where) -> (Text, bool, bool) {
        let start = self.cursor.at();
        let closing = self.open.clone();
        let first = self.cursor.peek();
        let piece = Piece::read(&mut self.cursor, |cursor, out| {
            loop {
                let quoted = cursor.peek() == Some('"');
                let before = cursor.at();
                if quoted {
                    cursor.next();
                    cursor.quoted(out);
                } else {
                    cursor.word(out, |c| in_word(c, place, &closing));
                }
                if cursor.at() == before || matches!(out.oddity, Some(Oddity::Open)) {
                    return;
                }
            }
        });
        if self.cursor.at() == start {
            // A character that begins nothing; taking it keeps the loops above going.
            self.cursor.next();
        }
        let span = Span { start, end: self.cursor.passed().max(start) };
        let oddity = piece.oddity;
        match oddity {
            Some(Oddity::Open) => self.fault(span, "the quote is not closed before the line ends"),
            Some(Oddity::Escape(at)) => self.fault(
                at,
                "this `\\` begins no escape; write `\\\\` for a backslash (known: \\\" \\\\ \\n \\r \\t \\$ \\? \\_ and two hexadecimal digits)",
            ),
            Some(Oddity::Variable) | None => {}
        }
        (Text::new(piece.text()), first == Some('"'), oddity == Some(Oddity::Variable))
    }

    /// `[...]` or `{...}`.
    fn bracketed(&mut self, closing: char) -> Option<Body> {
        let start = self.cursor.at();
        self.cursor.next();
        if self.open.len() >= MAX_DEPTH {
            let rest = self.cursor.skip_line();
            self.fault(
                Span { start, end: rest.end },
                format!("more than {MAX_DEPTH} brackets within each other"),
            );
            return None;
        }
        let from = self.cursor.passed();
        self.open.push(closing);
        let (statements, closed) = self.statements(Some(closing));
        self.open.pop();
        let end = self.cursor.passed();
        if !closed {
            self.fault(Span { start, end: start + 1 }, format!("`{closing}` is missing"));
        }
        let inner = Span { start: from, end: if closed { end.saturating_sub(1) } else { end }.max(from) };
        Some(Body { statements, inner, closed })
    }

    /// `(...)`, only measured: what is in it depends on who asks.
    fn paren(&mut self) -> ValueKind {
        let start = self.cursor.at();
        self.cursor.next();
        let from = self.cursor.passed();
        let mut depth = 1;
        loop {
            let at = self.cursor.at();
            match self.cursor.peek() {
                None => break,
                Some(c) if is_newline(c) => break,
                Some('"') => {
                    self.cursor.next();
                    let piece = Piece::read(&mut self.cursor, |cursor, out| cursor.quoted(out));
                    if piece.oddity == Some(Oddity::Open) {
                        break;
                    }
                    continue;
                }
                Some('(') => depth += 1,
                Some(')') => depth -= 1,
                Some(_) => {}
            }
            self.cursor.next();
            if depth == 0 {
                return ValueKind::Paren { inner: Span { start: from, end: at.max(from) }, closed: true };
            }
        }
        let end = self.cursor.passed();
        self.fault(Span { start, end: start + 1 }, "`)` is missing");
        ValueKind::Paren { inner: Span { start: from, end: end.max(from) }, closed: false }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Where {
    Word,
    Value,
}
fn in_name(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}
fn in_word(c: char, place: Where, closing: &[char]) -> bool {
    if is_blank(c) || is_newline(c) || c == ';' || c == '"' || closing.contains(&c) {
        return false;
    }
    match place {
        // A value that has begun may contain what would begin another kind of value.
        Where::Value => true,
        Where::Word => !matches!(c, '[' | '(' | '{' | ']' | ')' | '}'),
    }
}
