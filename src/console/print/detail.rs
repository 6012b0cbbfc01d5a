//! Rows with all they have: `print detail`, `terse`, `value-list`, `as-value`, and groups of settings.
use super::super::cell;
use super::super::remote::Row;
use super::super::style::{Ink, Style, Wrap};
use super::table::{Flags, comment};
use super::{Numbered, columns};
use config::schema::{Kind, Place};
use config::script::export::quote;
use std::fmt::Write;

/// What is shown of a row, in order: name, text, whether it goes in quotes.
fn values<'r>(
    place: &'static Place,
    row: &'r Row,
    names: Option<&[&'static str]>,
) -> Vec<(&'r str, String, bool)> {
    let of = |name: &str| cell::printable(&cell::of(row, name)).into_owned();
    let kind = |wanted: &str| cell::properties(place).find(|(name, _)| *name == wanted).map(|(_, kind)| kind);
    if let Some(names) = names {
        return names.iter().map(|name| (*name, of(name), kind(name).is_some_and(cell::is_text))).collect();
    }
    // What is only shown is quoted where it must be: `spi=0x2953159`.
    let quoted = |name: &str, kind: Kind, text: &str| {
        let plain =
            place.field(name).is_none() && matches!(kind, Kind::Text) && !text.contains([' ', '"', '=']);
        cell::is_text(kind) && !plain
    };
    // A flag that can be written is a property as well.
    let written =
        |name: &str| place.field(name).is_some() && !matches!(name, "disabled" | "comment" | "default");
    let known = cell::properties(place).filter(|(name, _)| !columns::is_flag(place, name) || written(name));
    let mut all: Vec<_> = known
        .map(|(name, kind)| {
            let text = of(name);
            let quoted = quoted(name, kind, &text);
            (name, text, quoted)
        })
        .collect();
    // Of a gateway that is newer than this program.
    let strange = row.keys().filter(|name| !name.starts_with('.') && kind(name).is_none());
    all.extend(
        strange
            .map(|name| (name.as_str(), of(name), true))
            .filter(|(name, ..)| !columns::is_flag(place, name)),
    );
    all.retain(|(_, text, _)| !text.is_empty());
    all
}

pub fn detail(
    place: &'static Place,
    rows: &[Numbered],
    names: Option<&[&'static str]>,
    style: Style,
) -> (String, String) {
    let legend = Flags::of(place, rows.iter().map(|(_, row)| row), true).legend(style, false);
    let flags = Flags::of(place, rows.iter().map(|(_, row)| row), false);
    let numbers = rows.iter().map(|(number, _)| cell::width(number)).max().unwrap_or(1).max(2);
    let indent = numbers + 1 + if flags.width() > 0 { flags.width() + 1 } else { 0 };
    let mut out = String::new();
    for (number, row) in rows {
        let mut head = format!("{number:>numbers$} ");
        if flags.width() > 0 {
            head += &style.ink(Ink::Flag, &flags.letters(row));
            head.push(' ');
        }
        if !cell::of(row, "comment").is_empty() {
            comment(row, style, &mut head);
            head.extend(std::iter::repeat_n(' ', indent));
        }
        let mut wrap = Wrap::new(style, &head, indent, indent);
        for (name, text, quoted) in values(place, row, names) {
            let text = if quoted { in_quotes(&text) } else { text };
            wrap.word(&format!("{name}={text}"), &format!("{}={text}", style.ink(Ink::Property, name)));
        }
        _ = writeln!(out, "{}\n", wrap.out.trim_end());
    }
    (legend, out)
}
fn in_quotes(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', "\\\\").replace('"', "\\\""))
}

/// A row a line, in a form that is read back.
pub fn terse(place: &'static Place, rows: &[Numbered], names: Option<&[&'static str]>) -> String {
    let flags = Flags::of(place, rows.iter().map(|(_, row)| row), false);
    let mut out = String::new();
    for (number, row) in rows {
        let raised: String = flags.raised(row).map(|flag| flag.letter).collect();
        let text = cell::of(row, "comment").into_owned();
        let comment = (names.is_none() && !text.is_empty()).then_some(("comment", text, true));
        _ = write!(out, "{number}{}{raised}", if raised.is_empty() { "" } else { " " });
        for (name, text, _) in comment.into_iter().chain(values(place, row, names)) {
            _ = write!(out, " {name}=");
            quote(&text, &mut out);
        }
        out.push('\n');
    }
    out
}

/// `.id=*1;name=a;.id=*2;name=b`, as a script takes it.
pub fn as_value(place: &'static Place, rows: &[Numbered], names: Option<&[&'static str]>) -> String {
    let row = |(_, row): &Numbered| {
        let id =
            Some(cell::of(row, ".id").into_owned()).filter(|id| !id.is_empty()).map(|id| format!(".id={id}"));
        let all = id
            .into_iter()
            .chain(values(place, row, names).into_iter().map(|(name, text, _)| format!("{name}={text}")));
        all.collect::<Vec<_>>().join(";")
    };
    let mut out = rows.iter().map(row).collect::<Vec<_>>().join(";");
    out.push('\n');
    out
}

/// A property a line, with what it is in each row.
pub fn value_list(
    place: &'static Place,
    rows: &[Numbered],
    names: Option<&[&'static str]>,
    style: Style,
) -> String {
    let all: Vec<_> = rows.iter().map(|(_, row)| values(place, row, names)).collect();
    let mut order: Vec<&str> = cell::properties(place).map(|(name, _)| name).collect();
    order.extend(all.iter().flatten().map(|(name, ..)| *name));
    let mut seen = std::collections::HashSet::new();
    order.retain(|name| seen.insert(*name) && all.iter().flatten().any(|(known, ..)| known == name));
    let texts = |name: &str| -> Vec<&str> {
        let of = |row: &Vec<(&str, String, bool)>| row.iter().position(|(known, ..)| *known == name);
        all.iter()
            .map(|row| of(row).and_then(|at| row.get(at)).map_or("", |(_, text, _)| text.as_str()))
            .collect()
    };
    let widths: Vec<usize> =
        all.iter().map(|row| row.iter().map(|(_, text, _)| cell::width(text)).max().unwrap_or(0)).collect();
    let names = order.iter().map(|name| name.len()).max().unwrap_or(0) + 2;
    let mut out = String::new();
    for name in order {
        let mut line = format!("{}: ", style.ink(Ink::Property, &format!("{name:>names$}")));
        for (text, width) in texts(name).into_iter().zip(&widths) {
            line.push_str(text);
            line.extend(std::iter::repeat_n(' ', width.saturating_sub(cell::width(text)) + 2));
        }
        _ = writeln!(out, "{}", line.trim_end());
    }
    out
}

/// A group: names to the right, values behind.
pub fn settings(place: &'static Place, row: &Row, names: Option<&[&'static str]>, style: Style) -> String {
    let values = match names {
        Some(_) => values(place, row, names),
        // Nothing written is said too: these are all there are.
        None => {
            let known: Vec<_> = cell::properties(place).map(|(name, _)| name).collect();
            let strange =
                row.keys().map(String::as_str).filter(|name| !name.starts_with('.') && !known.contains(name));
            let all = known.iter().copied().chain(strange);
            all.map(|name| (name, cell::printable(&cell::of(row, name)).into_owned(), false)).collect()
        }
    };
    let grouped = |(name, text, _): (_, String, _)| (name, cell::grouped(place, name, &text).unwrap_or(text));
    listed(values.into_iter().map(grouped), style)
}
/// A line each, the names to the right.
pub fn listed<'n>(values: impl Iterator<Item = (&'n str, String)>, style: Style) -> String {
    let values: Vec<_> = values.collect();
    let width = values.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
    let mut out = String::new();
    for (name, text) in values {
        let line = format!("{}: {text}", style.ink(Ink::Property, &format!("{name:>width$}")));
        _ = writeln!(out, "{}", line.trim_end());
    }
    out
}
