//! The source's own objects while it is read: what each `add`, `set`, `remove` and `move` leaves.
use super::super::ast::{Item, ItemKind, Text, Value, ValueKind};
use super::super::expr::{self, Expr};
use super::super::names::{self, Here};
use super::super::{Fault, Span};
use crate::document::default;
use crate::schema::{Place, places};
use std::collections::BTreeMap;

/// A row of the source.
#[derive(Clone, Debug, Default)]
pub struct Draft {
    pub line: usize,
    pub built_in: bool,
    /// A value that says whom it is for could not be read.
    pub doubtful: bool,
    pub cells: Vec<Cell>,
    /// Lines behind `#` in front of it.
    pub remarks: Vec<String>,
}
#[derive(Clone, Debug)]
pub struct Cell {
    pub name: String,
    pub value: Text,
    pub line: usize,
}
impl Draft {
    pub fn get(&self, name: &str) -> Option<&str> {
        self.cells.iter().find(|cell| cell.name == name).map(|cell| cell.value.as_str())
    }
    /// What is written and says something.
    pub fn filled(&self, name: &str) -> Option<&str> {
        self.get(name).filter(|value| !value.is_empty())
    }
    pub fn is(&self, name: &str, value: &str) -> bool {
        self.get(name) == Some(value)
    }
    pub fn put(&mut self, name: &str, value: Text, line: usize) {
        match self.cells.iter_mut().find(|cell| cell.name == name) {
            Some(cell) => (cell.value, cell.line) = (value, line),
            None => self.cells.push(Cell { name: name.into(), value, line }),
        }
    }
    pub fn put_str(&mut self, name: &str, value: &str, line: usize) {
        self.put(name, Text::new(value.to_owned().into()), line);
    }
    pub fn take(&mut self, name: &str) -> Option<Cell> {
        let at = self.cells.iter().position(|cell| cell.name == name)?;
        Some(self.cells.remove(at))
    }
}

/// All menus by their console path.
#[derive(Default)]
pub struct Tables(BTreeMap<String, Vec<Draft>>);

impl Tables {
    /// With what is there before anything is said.
    pub fn new() -> Self {
        let mut tables = Self::default();
        for place in places().iter().filter(|place| place.menu.shape.is_written()) {
            let rows = place.menu.built_in.iter().map(|cells| {
                let mut draft = Draft { built_in: true, ..Draft::default() };
                cells.iter().for_each(|(name, value)| draft.put_str(name, value, 0));
                draft
            });
            tables.0.insert(place.console.into(), rows.collect());
        }
        tables
    }
    pub fn rows(&self, console: &str) -> &[Draft] {
        self.0.get(console).map_or(&[], |rows| rows)
    }
    pub fn take(&mut self, console: &str) -> Vec<Draft> {
        self.0.remove(console).unwrap_or_default()
    }
    pub fn table(&mut self, console: &str) -> &mut Vec<Draft> {
        self.0.entry(console.to_owned()).or_default()
    }
}

/// Which rows are meant, and why none can be said.
pub type Chosen = Result<Vec<usize>, String>;

/// The rows that the items name: numbers, names, `[find ...]`.
pub fn choose(text: &str, here: &Here, rows: &[Draft], item: &Item) -> Chosen {
    match &item.kind {
        ItemKind::Word(word) => by_words(rows, word),
        ItemKind::Named { value, .. } | ItemKind::Value(value) => by_value(text, here, rows, value),
        ItemKind::Not(_) => Err("here belongs a number, a name or [find ...]".into()),
    }
}
fn by_value(text: &str, here: &Here, rows: &[Draft], value: &Value) -> Chosen {
    match &value.kind {
        ValueKind::Text { text, .. } => by_words(rows, text),
        ValueKind::Command(body) => {
            let [statement] = &*body.statements else { return Err("here belongs one `find`".into()) };
            let done = names::resolve(here, statement);
            match &done.command {
                Some(command) if command.name == "find" && done.menu == *here => {
                    let condition =
                        Span { start: command.span.end, end: statement.span.end.max(body.inner.end) };
                    let found = matching(text, here, rows, condition).map_err(|fault| fault.said)?;
                    Ok(found)
                }
                _ => Err("only `find` in the same menu can be used here".into()),
            }
        }
        ValueKind::Variable => Err("variables of scripts are not followed".into()),
        _ => Err("here belongs a number, a name or [find ...]".into()),
    }
}
fn by_words(rows: &[Draft], words: &str) -> Chosen {
    if let Some(at) = rows.iter().position(|row| row.filled("name") == Some(words)) {
        return Ok(vec![at]);
    }
    words
        .split(',')
        .map(|word| match word.parse::<usize>() {
            Ok(number) if number < rows.len() => Ok(number),
            Ok(number) => Err(format!("there is no row {number}")),
            Err(_) if word.starts_with('*') => {
                Err("internal numbers (*1A) mean nothing outside the router they come from".into())
            }
            Err(_) => {
                let named = rows.iter().position(|row| row.filled("name") == Some(word));
                named.ok_or_else(|| "there is no row of this name".into())
            }
        })
        .collect()
}
fn matching(text: &str, here: &Here, rows: &[Draft], condition: Span) -> Result<Vec<usize>, Fault> {
    let inner = condition.of(text);
    let skipped = inner.len() - inner.trim_start().len();
    let condition = match inner.trim_start().strip_prefix("where") {
        Some(rest) if rest.starts_with([' ', '\t']) => {
            Span { start: condition.start + skipped + "where".len(), ..condition }
        }
        _ => condition,
    };
    let expr = expr::parse(text, condition)?;
    let place = place_of(here.console());
    Ok(rows.iter().enumerate().filter(|(_, row)| holds(&expr, place, row)).map(|(at, _)| at).collect())
}
fn holds(expr: &Expr, place: Option<&'static Place>, row: &Draft) -> bool {
    expr.holds(&|name| {
        let written = row.get(name).map(ToOwned::to_owned);
        written.or_else(|| match name {
            "default" => Some(if row.built_in { "yes" } else { "no" }.into()),
            "dynamic" | "invalid" => Some("no".into()),
            name => place.and_then(|place| place.field(name)).and_then(default).map(ToOwned::to_owned),
        })
    })
}

/// The menu with this console path, if rows are kept there.
pub fn place_of(console: &str) -> Option<&'static Place> {
    places().iter().find(|place| place.console == console && place.menu.shape.is_written())
}
