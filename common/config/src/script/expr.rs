//! Conditions: `where disabled and (address in 10.0.0.0/8 or comment~"^office")`.
use super::ast::Text;
use super::cursor::{Cursor, Oddity, Piece, is_blank, is_newline};
use super::{Fault, MAX_DEPTH, Span};

/// Comparisons in one condition.
const MAX_TERMS: usize = 1000;
/// A regular expression compiled, in bytes.
const MAX_REGEX: usize = 1 << 20;

#[derive(Clone, Debug)]
pub enum Expr {
    /// No condition.
    All,
    Any(Vec<Expr>),
    Every(Vec<Expr>),
    Not(Box<Expr>),
    /// A name alone.
    Flag {
        name: String,
        span: Span,
    },
    Compare(Compare),
}
#[derive(Clone, Debug)]
pub struct Compare {
    pub field: String,
    pub field_span: Span,
    pub op: Op,
    pub value: Text,
    pub value_span: Span,
}
#[derive(Clone, Debug)]
pub enum Op {
    Equal,
    Unequal,
    Less,
    Greater,
    AtMost,
    AtLeast,
    In,
    Matches(Box<regex::Regex>),
}

/// What a condition may be followed by: for completion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Next {
    /// A property, `!` or `(`.
    Field,
    /// An operator, or the end.
    Operator { field: String },
    /// A value to compare with.
    Value { field: String },
}

/// The condition in `span` of `text`.
pub fn parse(text: &str, span: Span) -> Result<Expr, Fault> {
    Reader::new(text, span).whole()
}
/// What may stand at the end of `span`, and the part of it that has been begun.
pub fn next(text: &str, span: Span) -> (Next, Span) {
    let mut reader = Reader::new(text, span);
    let _ = reader.whole();
    (reader.next, reader.begun)
}

struct Reader<'a> {
    cursor: Cursor<'a>,
    terms: usize,
    end: usize,
    next: Next,
    begun: Span,
}

impl<'a> Reader<'a> {
    fn new(text: &'a str, span: Span) -> Self {
        let end = span.end.min(text.len());
        let begun = Span { start: end, end };
        Self { cursor: Cursor::new(text, span), terms: 0, end, next: Next::Field, begun }
    }
    fn whole(&mut self) -> Result<Expr, Fault> {
        self.skip();
        if self.cursor.peek().is_none() {
            return Ok(Expr::All);
        }
        let expr = self.any(0)?;
        match self.cursor.peek() {
            None => Ok(expr),
            Some(c) => self.fault(format!("`{c}` does not belong here")),
        }
    }
    fn skip(&mut self) {
        while self.cursor.peek().is_some_and(|c| is_blank(c) || is_newline(c)) {
            self.cursor.next();
        }
    }
    fn fault<T>(&mut self, said: impl Into<String>) -> Result<T, Fault> {
        let start = self.cursor.at();
        let end = self.cursor.peek().map_or(start, |c| start + c.len_utf8());
        Err(Fault { span: Span { start, end }, said: said.into() })
    }
    /// The word that begins here, without taking it.
    fn ahead(&self) -> &'a str {
        let at = self.cursor.at();
        let rest = self.cursor.text.get(at..self.end).unwrap_or_default();
        let len = rest.find(|c: char| !in_field(c)).unwrap_or(rest.len());
        rest.get(..len).unwrap_or_default()
    }
    fn take_word(&mut self, word: &str) -> bool {
        let found = self.ahead() == word;
        if found {
            word.chars().for_each(|_| _ = self.cursor.next());
        }
        found
    }
    fn take_twice(&mut self, c: char) -> bool {
        let mut ahead = self.cursor.clone();
        let found = ahead.take(c) && ahead.take(c);
        if found {
            self.cursor = ahead;
        }
        found
    }

    fn any(&mut self, depth: usize) -> Result<Expr, Fault> {
        if depth > MAX_DEPTH {
            return self.fault(format!("more than {MAX_DEPTH} parentheses within each other"));
        }
        let mut of = vec![self.every(depth)?];
        while self.take_word("or") || self.take_twice('|') {
            self.expect(Next::Field);
            of.push(self.every(depth)?);
        }
        Ok(if of.len() == 1 { of.remove(0) } else { Expr::Any(of) })
    }
    fn every(&mut self, depth: usize) -> Result<Expr, Fault> {
        let mut of = Vec::new();
        loop {
            of.push(self.one(depth)?);
            self.skip();
            if self.take_word("and") || self.take_twice('&') {
                self.expect(Next::Field);
                continue;
            }
            // `find name=a disabled=no` means both.
            match self.cursor.peek() {
                None | Some(')' | '|') => break,
                Some(_) if self.ahead() == "or" => break,
                Some(_) => {}
            }
        }
        Ok(if of.len() == 1 { of.remove(0) } else { Expr::Every(of) })
    }
    fn one(&mut self, depth: usize) -> Result<Expr, Fault> {
        let mut not = false;
        self.skip();
        while self.cursor.take('!') {
            not = !not;
            self.skip();
        }
        self.terms += 1;
        if self.terms > MAX_TERMS {
            return self.fault(format!("more than {MAX_TERMS} comparisons"));
        }
        let expr = if self.cursor.take('(') {
            let inner = self.any(depth + 1)?;
            self.skip();
            if !self.cursor.take(')') {
                return self.fault("`)` is missing");
            }
            inner
        } else {
            self.term()?
        };
        Ok(if not { Expr::Not(Box::new(expr)) } else { expr })
    }

    fn term(&mut self) -> Result<Expr, Fault> {
        let start = self.cursor.at();
        let field = self.ahead().to_owned();
        if field.is_empty() {
            return self.fault(match self.cursor.peek() {
                Some('$') => "variables are not supported: write the value itself",
                Some('[') => "a command cannot be used here: write the value itself",
                _ => "here belongs the name of a property",
            });
        }
        field.chars().for_each(|_| _ = self.cursor.next());
        let span = Span { start, end: self.cursor.passed() };
        if span.end >= self.end {
            (self.next, self.begun) = (Next::Field, span);
            return Ok(Expr::Flag { name: field, span });
        }
        self.skip();
        self.expect(Next::Operator { field: field.clone() });
        let Some(op) = self.operator() else { return Ok(Expr::Flag { name: field, span }) };
        self.skip();
        self.expect(Next::Value { field: field.clone() });
        let (value, value_span) = self.value()?;
        let op = match op {
            Operator::Plain(op) => op,
            Operator::Matches => Op::Matches(Box::new(compile(&value, value_span)?)),
        };
        Ok(Expr::Compare(Compare { field, field_span: span, op, value, value_span }))
    }
    fn operator(&mut self) -> Option<Operator> {
        if self.take_word("in") {
            return Some(Operator::Plain(Op::In));
        }
        let mut ahead = self.cursor.clone();
        let first = ahead.next()?;
        let then_equal = ahead.peek() == Some('=');
        let (op, two) = match (first, then_equal) {
            // `==` is what other languages have taught.
            ('=', two) => (Operator::Plain(Op::Equal), two),
            ('!', true) => (Operator::Plain(Op::Unequal), true),
            ('<', true) => (Operator::Plain(Op::AtMost), true),
            ('>', true) => (Operator::Plain(Op::AtLeast), true),
            ('<', false) => (Operator::Plain(Op::Less), false),
            ('>', false) => (Operator::Plain(Op::Greater), false),
            ('~', _) => (Operator::Matches, false),
            _ => return None,
        };
        if two {
            ahead.next();
        }
        self.cursor = ahead;
        Some(op)
    }
    fn value(&mut self) -> Result<(Text, Span), Fault> {
        let start = self.cursor.at();
        match self.cursor.peek() {
            Some('[') => return self.fault("a command cannot be used here: write the value itself"),
            Some('(') => return self.fault("an expression cannot be used here: write the value itself"),
            _ => {}
        }
        let piece = Piece::read(&mut self.cursor, |cursor, out| {
            if cursor.take('"') {
                cursor.quoted(out);
            } else {
                cursor.word(out, |c| !is_blank(c) && !is_newline(c) && !matches!(c, ')' | ';' | '"'));
            }
        });
        let span = Span { start, end: self.cursor.passed().max(start) };
        if span.end >= self.end {
            self.begun = span;
        }
        match piece.oddity {
            Some(Oddity::Open) => self.fault("the quote is not closed"),
            Some(Oddity::Variable) => self.fault("variables are not supported: write the value itself"),
            // A regular expression is full of them; they stay as they are.
            Some(Oddity::Escape(span)) => {
                Err(Fault { span, said: "this `\\` begins no escape; write `\\\\` for a backslash".into() })
            }
            None => Ok((Text::new(piece.text()), span)),
        }
    }
    fn expect(&mut self, next: Next) {
        self.next = next;
    }
}

enum Operator {
    Plain(Op),
    Matches,
}

fn in_field(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '-' | '_' | '.')
}
/// Time to match grows with the length of the text only; what would make a large machine is refused.
fn compile(text: &str, span: Span) -> Result<regex::Regex, Fault> {
    regex::RegexBuilder::new(text)
        .size_limit(MAX_REGEX)
        .dfa_size_limit(MAX_REGEX)
        .nest_limit(50)
        .build()
        .map_err(|error| {
            let said = match error {
                regex::Error::CompiledTooBig(_) => "this regular expression is too large".into(),
                other => {
                    let why = other.to_string();
                    let why = why.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned();
                    format!("this is not a regular expression: {why}")
                }
            };
            Fault { span, said }
        })
}
