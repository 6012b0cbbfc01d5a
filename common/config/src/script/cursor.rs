//! Characters of a script, with continued lines joined, and the pieces that values are made of.
use super::Span;
use zeroize::Zeroizing;

/// A place in the text. A `\` at the end of a line is never seen: it goes with the line's end and the blanks that
/// begin the next line.
#[derive(Clone)]
pub struct Cursor<'a> {
    pub text: &'a str,
    at: usize,
    end: usize,
}

/// Why a piece is not simply text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Oddity {
    /// The line ends before the quote is closed.
    Open,
    /// A `\` with something behind it that is no escape.
    Escape(Span),
    /// `$name` and the like.
    Variable,
}

impl<'a> Cursor<'a> {
    pub fn new(text: &'a str, span: Span) -> Self {
        let end = span.end.min(text.len());
        Self { text, at: span.start.min(end), end }
    }
    /// Where the next character is.
    pub fn at(&self) -> usize {
        let bytes = self.text.as_bytes();
        let mut at = self.at;
        while at < self.end && bytes.get(at) == Some(&b'\\') {
            let mut next = at + 1;
            if next < self.end && bytes.get(next) == Some(&b'\r') {
                next += 1;
            }
            match bytes.get(next) {
                Some(b'\n') if next < self.end => next += 1,
                // The text ends with `\`: more was to come.
                _ if next >= self.end => {}
                _ => break,
            }
            while next < self.end && matches!(bytes.get(next), Some(b' ' | b'\t')) {
                next += 1;
            }
            at = next;
        }
        at.min(self.end)
    }
    /// Where the last character that was taken ends.
    pub fn passed(&self) -> usize {
        self.at
    }
    pub fn peek(&self) -> Option<char> {
        self.text.get(self.at()..self.end)?.chars().next()
    }
    pub fn next(&mut self) -> Option<char> {
        let at = self.at();
        let c = self.text.get(at..self.end)?.chars().next()?;
        self.at = at + c.len_utf8();
        Some(c)
    }
    fn raw(&mut self) -> Option<char> {
        let c = self.text.get(self.at..self.end)?.chars().next()?;
        self.at += c.len_utf8();
        Some(c)
    }
    pub fn take(&mut self, wanted: char) -> bool {
        let found = self.peek() == Some(wanted);
        if found {
            self.next();
        }
        found
    }
    pub fn skip_blanks(&mut self) {
        while self.peek().is_some_and(is_blank) {
            self.next();
        }
    }
    /// To the end of the line as it is written: a comment is not continued.
    pub fn skip_line(&mut self) -> Span {
        let start = self.at();
        let rest = self.text.get(start..self.end).unwrap_or_default();
        self.at = start + rest.find(is_newline).unwrap_or(rest.len());
        Span { start, end: self.at }
    }

    /// Reads while `more`, resolving escapes, into `out`.
    pub fn word(&mut self, out: &mut Piece, more: impl Fn(char) -> bool) {
        while let Some(c) = self.peek().filter(|c| *c == '\\' || more(*c)) {
            self.one(c, out);
        }
    }
    /// Behind an opening quote: to the closing one.
    pub fn quoted(&mut self, out: &mut Piece) {
        loop {
            match self.peek() {
                Some('"') => {
                    self.next();
                    return;
                }
                None => return out.odd(Oddity::Open),
                Some(c) if is_newline(c) => return out.odd(Oddity::Open),
                Some(c) => self.one(c, out),
            }
        }
    }
    fn one(&mut self, c: char, out: &mut Piece) {
        let start = self.at();
        self.next();
        match c {
            '\\' => self.escape(start, out),
            '$' => {
                let begins = |c: char| c.is_alphanumeric() || matches!(c, '(' | '[' | '"' | '_' | '{');
                if self.peek().is_some_and(begins) {
                    out.odd(Oddity::Variable);
                }
                out.push('$');
            }
            c => out.push(c),
        }
    }
    fn escape(&mut self, start: usize, out: &mut Piece) {
        // As it stands: a line is not broken within an escape, and `\\` at its end is a backslash.
        let Some(c) = self.raw() else { return };
        let plain = match c {
            '"' | '\\' | '$' | '?' => c,
            '_' => ' ',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'a' => '\x07',
            'b' => '\x08',
            'f' => '\x0c',
            'v' => '\x0b',
            // Capital letters, or `\b` would be two things.
            '0'..='9' | 'A'..='F' => {
                let mut ahead = self.clone();
                let (high, low) = (c.to_digit(16), ahead.raw().and_then(|c| c.to_digit(16)));
                if let (Some(high), Some(low)) = (high, low) {
                    *self = ahead;
                    out.byte((high << 4 | low) as u8);
                } else {
                    out.odd(Oddity::Escape(Span { start, end: self.at }));
                    out.push(c);
                }
                return;
            }
            c => {
                out.odd(Oddity::Escape(Span { start, end: self.at }));
                c
            }
        };
        out.push(plain);
    }
}

pub fn is_blank(c: char) -> bool {
    matches!(c, ' ' | '\t')
}
pub fn is_newline(c: char) -> bool {
    matches!(c, '\n' | '\r')
}

/// Text as it is put together; wiped, and with room from the start so that it is never moved.
pub struct Piece {
    bytes: Zeroizing<Vec<u8>>,
    /// Only count.
    measure: bool,
    pub len: usize,
    /// The first thing that is odd; a quote left open wins.
    pub oddity: Option<Oddity>,
}
impl Piece {
    fn new(measure: bool, room: usize) -> Self {
        Self { bytes: Zeroizing::new(Vec::with_capacity(room)), measure, len: 0, oddity: None }
    }
    /// What `read` takes, read once for its length and once for its text.
    pub fn read(cursor: &mut Cursor<'_>, read: impl Fn(&mut Cursor<'_>, &mut Self)) -> Self {
        let mut measure = Self::new(true, 0);
        read(&mut cursor.clone(), &mut measure);
        let mut piece = Self::new(false, measure.len);
        read(cursor, &mut piece);
        piece
    }
    fn push(&mut self, c: char) {
        c.encode_utf8(&mut [0; 4]).bytes().for_each(|byte| self.byte(byte));
    }
    fn byte(&mut self, byte: u8) {
        self.len += 1;
        if !self.measure {
            self.bytes.push(byte);
        }
    }
    fn odd(&mut self, oddity: Oddity) {
        if self.oddity.is_none() || oddity == Oddity::Open {
            self.oddity = Some(oddity);
        }
    }
    pub fn text(self) -> Zeroizing<String> {
        decode(&self.bytes)
    }
}

/// UTF-8 as it is; what is not UTF-8 is taken for the code page old management programs wrote (Windows-1252).
pub fn decode(bytes: &[u8]) -> Zeroizing<String> {
    let room = bytes.utf8_chunks().map(|chunk| chunk.valid().len() + 3 * chunk.invalid().len()).sum();
    let mut out = String::with_capacity(room);
    for chunk in bytes.utf8_chunks() {
        out.push_str(chunk.valid());
        out.extend(chunk.invalid().iter().map(|byte| windows_1252(*byte)));
    }
    Zeroizing::new(out)
}
fn windows_1252(byte: u8) -> char {
    const HIGH: [char; 32] = [
        '€', '\u{81}', '‚', 'ƒ', '„', '…', '†', '‡', 'ˆ', '‰', 'Š', '‹', 'Œ', '\u{8d}', 'Ž', '\u{8f}',
        '\u{90}', '‘', '’', '“', '”', '•', '–', '—', '˜', '™', 'š', '›', 'œ', '\u{9d}', 'ž', 'Ÿ',
    ];
    byte.checked_sub(0x80).and_then(|at| HIGH.get(usize::from(at))).copied().unwrap_or(char::from(byte))
}
