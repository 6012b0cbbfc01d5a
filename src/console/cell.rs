//! Values as text.
use super::remote::Row;
use config::schema::{Kind, Place, Shape};
use serde_json::Value;
use std::borrow::Cow;

/// As the console writes it: yes and no, lists with commas.
pub fn text(value: &Value) -> Cow<'_, str> {
    match value {
        Value::Null => "".into(),
        Value::Bool(yes) => if *yes { "yes" } else { "no" }.into(),
        Value::String(text) => text.into(),
        Value::Number(number) => number.to_string().into(),
        Value::Array(items) => items.iter().map(text).collect::<Vec<_>>().join(",").into(),
        Value::Object(_) => value.to_string().into(),
    }
}
pub fn of<'r>(row: &'r Row, name: &str) -> Cow<'r, str> {
    row.get(name).map_or("".into(), text)
}
/// A flag that is raised.
pub fn is_set(row: &Row, name: &str) -> bool {
    row.get(name).is_some_and(|value| match value {
        Value::Bool(yes) => *yes,
        other => matches!(&*text(other), "yes" | "true"),
    })
}

/// What others have sent must not steer the terminal.
pub fn printable(text: &str) -> Cow<'_, str> {
    let odd = |c: char| {
        c.is_control()
            || matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
    };
    if !text.contains(odd) {
        return text.into();
    }
    text.chars()
        .fold(String::with_capacity(text.len() + 8), |mut out, c| {
            match c {
                '\n' => out.push_str("\\n"),
                '\t' => out.push_str("\\t"),
                c if odd(c) => out.extend(c.escape_unicode()),
                c => out.push(c),
            }
            out
        })
        .into()
}

/// Figures that grow are written in groups: `4 009`.
pub fn grouped(place: &Place, name: &str, text: &str) -> Option<String> {
    let counts = ["bytes", "packets", "byte", "packet"].iter().any(|end| name.ends_with(end))
        && place.menu.shown.iter().any(|property| property.name == name);
    let counts = counts || place.menu.shape == Shape::Figures;
    if !counts || text.len() < 4 || !text.bytes().all(|b| b.is_ascii_digit()) {
        return None;
    }
    let head = text.len() % 3;
    let (first, rest) = text.split_at(head);
    let mut groups: Vec<&str> = (!first.is_empty()).then_some(first).into_iter().collect();
    groups.extend(rest.as_bytes().chunks(3).filter_map(|chunk| std::str::from_utf8(chunk).ok()));
    Some(groups.join(" "))
}

/// What a row can show, in the order of the table: what is written, then what is only shown.
pub fn properties(place: &'static Place) -> impl Iterator<Item = (&'static str, Kind)> + Clone {
    let written = place.fields.iter().map(|field| (field.name, field.property.kind));
    written.chain(place.menu.shown.iter().map(|property| (property.name, property.kind)))
}
/// Aligned to the right.
pub fn is_number(kind: Kind) -> bool {
    matches!(kind, Kind::Integer { .. } | Kind::Size { .. })
}
/// In quotes where values stand side by side.
pub fn is_text(kind: Kind) -> bool {
    matches!(kind, Kind::Text | Kind::Name | Kind::Secret | Kind::Key | Kind::Path)
}

/// Columns on a terminal.
pub fn width(text: &str) -> usize {
    unicode_width::UnicodeWidthStr::width(text)
}
