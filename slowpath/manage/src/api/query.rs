//! Which rows are meant: `?name=value`, and RouterOS's query words, a stack of answers that operators combine.
use super::Problem;
use serde_json::{Map, Value};

const MAX_WORDS: usize = 128;

#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter(Vec<Word>);
#[derive(Clone, Debug, PartialEq)]
enum Word {
    /// The property has a value, or has none.
    Has(String, bool),
    Is(String, Test, String),
    /// Operators: index, copy, not, and, or.
    Index(usize, bool),
    Copy,
    Not,
    And,
    Or,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Test {
    Equal,
    Less,
    Greater,
}

impl Filter {
    pub fn equal(&mut self, name: &str, value: &str) {
        self.0.push(Word::Is(name.into(), Test::Equal, value.into()));
    }
    /// RouterOS's words, with or without the `?` of its other protocol.
    pub fn words<'a>(&mut self, words: impl Iterator<Item = &'a str>) -> Result<(), Problem> {
        for word in words {
            let word = word.strip_prefix('?').unwrap_or(word);
            match word.split_at_checked(1) {
                Some(("#", operators)) => self.operators(operators)?,
                Some(("-", name)) if !name.contains('=') => self.0.push(Word::Has(name.into(), false)),
                Some(("<", test)) => self.test(test, Test::Less)?,
                Some((">", test)) => self.test(test, Test::Greater)?,
                Some(("=", test)) => self.test(test, Test::Equal)?,
                _ if word.contains('=') => self.test(word, Test::Equal)?,
                _ => self.0.push(Word::Has(word.into(), true)),
            }
            if self.0.len() > MAX_WORDS {
                return Err(Problem::malformed("the query has too many words"));
            }
        }
        Ok(())
    }
    fn test(&mut self, text: &str, test: Test) -> Result<(), Problem> {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| Problem::malformed("a query word is written like `name=value`"))?;
        self.0.push(Word::Is(name.into(), test, value.into()));
        Ok(())
    }
    fn operators(&mut self, text: &str) -> Result<(), Problem> {
        let mut digits = String::new();
        let index = |digits: &mut String, copies: bool| {
            let number = std::mem::take(digits).parse::<usize>();
            number.map(|n| Word::Index(n, copies)).map_err(|_| Problem::malformed("no such index in `#`"))
        };
        for c in text.chars() {
            if c.is_ascii_digit() {
                digits.push(c);
                continue;
            }
            if !digits.is_empty() {
                self.0.push(index(&mut digits, true)?);
                if c == '.' {
                    continue;
                }
            }
            self.0.push(match c {
                '!' => Word::Not,
                '&' => Word::And,
                '|' => Word::Or,
                '.' => Word::Copy,
                _ => return Err(Problem::malformed("behind `#` stand `!`, `&`, `|`, `.` and numbers")),
            });
        }
        if !digits.is_empty() {
            self.0.push(index(&mut digits, false)?);
        }
        Ok(())
    }
    /// Every answer that is left must be yes. Operators without operands find nothing.
    pub fn takes(&self, row: &Map<String, Value>) -> bool {
        let mut stack: Vec<bool> = Vec::new();
        for word in &self.0 {
            if apply(word, row, &mut stack).is_none() {
                return false;
            }
        }
        stack.iter().all(|yes| *yes)
    }
}
fn apply(word: &Word, row: &Map<String, Value>, stack: &mut Vec<bool>) -> Option<()> {
    match word {
        Word::Has(name, wanted) => {
            let has = row.get(name).is_some_and(|value| value.as_str() != Some(""));
            stack.push(has == *wanted);
        }
        Word::Is(name, test, value) => stack.push(row.get(name).is_some_and(|is| holds(is, *test, value))),
        Word::Index(at, copies) => {
            let value = *stack.get(stack.len().checked_sub(at + 1)?)?;
            if *copies { stack.push(value) } else { *stack = vec![value] }
        }
        Word::Copy => stack.push(*stack.last()?),
        Word::Not => {
            let top = stack.pop()?;
            stack.push(!top);
        }
        Word::And | Word::Or => {
            let (b, a) = (stack.pop()?, stack.pop()?);
            stack.push(if *word == Word::And { a && b } else { a || b });
        }
    }
    Some(())
}
fn holds(is: &Value, test: Test, value: &str) -> bool {
    let text = match is {
        Value::Bool(yes) => {
            let wanted = match value {
                "true" | "yes" => Some(true),
                "false" | "no" => Some(false),
                _ => None,
            };
            return test == Test::Equal && wanted == Some(*yes);
        }
        Value::String(text) => text.clone(),
        Value::Array(items) => items.iter().map(plain).collect::<Vec<_>>().join(","),
        other => plain(other),
    };
    let numbers = text.parse::<u64>().ok().zip(value.parse::<u64>().ok());
    match (test, numbers) {
        (Test::Equal, Some((a, b))) => a == b,
        (Test::Equal, None) => text == value,
        (Test::Less, Some((a, b))) => a < b,
        (Test::Less, None) => text.as_str() < value,
        (Test::Greater, Some((a, b))) => a > b,
        (Test::Greater, None) => text.as_str() > value,
    }
}
fn plain(value: &Value) -> String {
    match value {
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}
