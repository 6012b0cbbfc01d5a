//! Rows as a table: legend, columns, and a line each.
use super::super::cell;
use super::super::remote::Row;
use super::super::style::{Ink, Style};
use super::{Numbered, columns};
use config::schema::{Flag, Place};
use std::fmt::Write;

struct Column {
    name: &'static str,
    right: bool,
    width: usize,
    cells: Vec<String>,
}

/// `names`: the columns that were asked for; all of them are shown then, whatever is in them.
pub fn table(
    place: &'static Place,
    rows: &[Numbered],
    names: Option<&[&'static str]>,
    style: Style,
) -> (String, String) {
    if rows.is_empty() {
        return (String::new(), String::new());
    }
    let brief = match names {
        Some(names) => names.iter().map(|name| (*name, true)).collect(),
        None => columns::brief(place),
    };
    let mut columns: Vec<Column> = brief.iter().map(|(name, _)| column(place, name, rows)).collect();
    if names.is_none() {
        let mut always = brief.iter().map(|(_, always)| *always);
        columns.retain(|column| column.says_something(place, always.next().unwrap_or(true)));
    }
    let flags = Flags::of(place, rows.iter().map(|(_, row)| row), false);
    let numbers = rows.iter().map(|(number, _)| cell::width(number)).max().unwrap_or(1);
    let front = numbers + 1 + if flags.width() == 0 { 0 } else { flags.width() + 1 };
    let dropped = fit(&mut columns, front, style);

    let mut head = flags.legend(style, true);
    head += &legend(&columns, &dropped, style);
    let titles = columns.iter().map(|column| (column, column.name.to_uppercase()));
    _ = writeln!(head, "{}", style.ink(Ink::Legend, &line(format!("{:<front$}", "#"), titles)));
    let mut out = String::new();
    for (at, (number, row)) in rows.iter().enumerate() {
        comment(row, style, &mut out);
        let mut front = format!("{number:>numbers$} ");
        if flags.width() > 0 {
            front += &flags.letters(row);
            front.push(' ');
        }
        let cells = columns.iter().map(|column| (column, column.cells.get(at).cloned().unwrap_or_default()));
        let text = cut(line(front, cells), style);
        let faint = cell::is_set(row, "disabled");
        _ = writeln!(out, "{}", if faint { style.ink(Ink::Faint, &text) } else { text });
    }
    (head, out)
}
impl Column {
    /// Some row has something here; of what is not `always` shown, something else than the default.
    fn says_something(&self, place: &Place, always: bool) -> bool {
        let default = place.field(self.name).and_then(config::document::default);
        self.cells.iter().any(|cell| !cell.is_empty() && (always || Some(cell.as_str()) != default))
    }
}

fn column(place: &'static Place, name: &'static str, rows: &[Numbered]) -> Column {
    let kind = cell::properties(place).find(|(known, _)| *known == name).map(|(_, kind)| kind);
    let cell = |(_, row): &Numbered| {
        let text = cell::of(row, name);
        cell::grouped(place, name, &text).unwrap_or_else(|| cell::printable(&text).into_owned())
    };
    let cells: Vec<String> = rows.iter().map(cell).collect();
    let width = cells.iter().map(|text| cell::width(text)).max().unwrap_or(0).max(name.len());
    Column { name, right: kind.is_some_and(cell::is_number), width, cells }
}

/// Columns that do not fit go, from the right; one always stays, and the last may be long.
fn fit(columns: &mut Vec<Column>, front: usize, style: Style) -> Vec<&'static str> {
    let mut dropped = Vec::new();
    let wide = |column: &Column| if columns::is_long(column.name) { column.name.len() } else { column.width };
    while columns.len() > 1 && !style.fits(front + columns.iter().map(|c| wide(c) + 2).sum::<usize>() - 2) {
        dropped.extend(columns.pop().map(|column| column.name));
    }
    dropped.reverse();
    dropped
}
fn legend(columns: &[Column], dropped: &[&str], style: Style) -> String {
    let names: Vec<_> = columns.iter().map(|column| column.name.to_uppercase()).collect();
    let mut out = format!("{} {}", style.ink(Ink::Legend, "Columns:"), names.join(", "));
    if !dropped.is_empty() {
        _ = write!(out, " (no room for {}; see print detail)", dropped.join(", ").to_uppercase());
    }
    out.push('\n');
    out
}

/// The letters in front of rows. What a row can be in one breath (disabled, dynamic, invalid, active) stands together,
/// as `DA`; every other flag has its place.
pub struct Flags {
    flags: Vec<&'static Flag>,
    group: usize,
}
impl Flags {
    /// Those that occur, or `all`.
    pub fn of<'r>(place: &'static Place, rows: impl Iterator<Item = &'r Row> + Clone, all: bool) -> Self {
        let occurs = |flag: &&Flag| all || rows.clone().any(|row| cell::is_set(row, flag.name));
        let flags: Vec<&Flag> = place.menu.flags.iter().filter(occurs).collect();
        let raised = |row| flags.iter().filter(|flag| in_group(flag) && cell::is_set(row, flag.name)).count();
        let group = rows.clone().map(raised).max().unwrap_or(0);
        Self { flags, group }
    }
    pub fn width(&self) -> usize {
        self.group + self.flags.iter().filter(|flag| !in_group(flag)).count()
    }
    pub fn letters(&self, row: &Row) -> String {
        let mut out = String::new();
        let mut group: String =
            self.raised(row).filter(|flag| in_group(flag)).map(|flag| flag.letter).collect();
        group.extend(std::iter::repeat_n(' ', self.group.saturating_sub(group.len())));
        let mut group = Some(group);
        for flag in &self.flags {
            match in_group(flag) {
                true => out += &group.take().unwrap_or_default(),
                false => out.push(if cell::is_set(row, flag.name) { flag.letter } else { ' ' }),
            }
        }
        out
    }
    pub fn raised<'s>(&'s self, row: &'s Row) -> impl Iterator<Item = &'static Flag> + 's {
        self.flags.iter().copied().filter(|flag| cell::is_set(row, flag.name))
    }
    /// `Flags: X - DISABLED, D - DYNAMIC`; where there are many, groups are told apart by semicolons.
    pub fn legend(&self, style: Style, capitals: bool) -> String {
        if self.flags.is_empty() {
            return String::new();
        }
        let grouped = self.flags.iter().filter(|flag| in_group(flag)).count() > 2;
        let mut out = style.ink(Ink::Legend, "Flags:");
        let mut before: Option<&Flag> = None;
        for flag in &self.flags {
            let apart = grouped && before.is_some_and(|before| !(in_group(before) && in_group(flag)));
            out += match before {
                None => " ",
                Some(_) if apart => "; ",
                Some(_) => ", ",
            };
            let name = if capitals { flag.name.to_uppercase() } else { flag.name.to_owned() };
            out += &format!("{} - {name}", flag.letter);
            before = Some(flag);
        }
        out.push('\n');
        out
    }
}
fn in_group(flag: &Flag) -> bool {
    matches!(flag.name, "disabled" | "dynamic" | "invalid" | "active")
}
/// `;;; text` above its row.
pub fn comment(row: &Row, style: Style, out: &mut String) {
    let text = cell::of(row, "comment");
    if !text.is_empty() {
        _ = writeln!(out, "{}", style.ink(Ink::Comment, &format!(";;; {}", cell::printable(&text))));
    }
}

/// What would be longer than two lines of the terminal; `print detail` has it all.
fn cut(mut text: String, style: Style) -> String {
    let room = style.width.unwrap_or(usize::MAX).saturating_mul(2);
    if cell::width(&text) > room {
        let end = text.char_indices().nth(room.saturating_sub(3)).map_or(text.len(), |(at, _)| at);
        text.truncate(end);
        text += "...";
    }
    text
}
fn line<'c>(mut out: String, cells: impl Iterator<Item = (&'c Column, String)>) -> String {
    for (column, text) in cells {
        let room = column.width - cell::width(&text).min(column.width);
        if column.right {
            out.extend(std::iter::repeat_n(' ', room));
        }
        out.push_str(&text);
        let behind = if column.right { 0 } else { room };
        out.extend(std::iter::repeat_n(' ', behind + 2));
    }
    out.truncate(out.trim_end().len());
    out
}
