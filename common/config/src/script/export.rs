//! A configuration as a script that RouterOS's console, and ours, reads back.
//!
//! Menus come in an order in which names are there before they are used, properties in that of the alphabet, and
//! only what differs from the defaults.
use crate::document::{Document, Object, Secrets, default};
use crate::schema::{Field, Place, places};
use zeroize::Zeroizing;

/// Lines are wrapped before this column.
const WIDTH: usize = 100;
const INDENT: &str = "    ";
/// A value that fits no line is begun where at least so much of it fits.
const MIN_PIECE: usize = 40;

/// Menus that must come before others; the rest follow in the order of the table.
const FIRST: &[&str] = &[
    "system",
    "interface",
    "ip pool",
    "certificate",
    "radius",
    "ip ipsec mode-config",
    "ip ipsec policy group",
    "ip ipsec profile",
    "ip ipsec peer",
    "ip ipsec proposal",
    "ip ipsec key rsa",
    "ip ipsec key psk",
    "ip ipsec identity",
    "ip ipsec policy",
    "ip ipsec manual-sa",
    "ip ipsec settings",
];

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Amount {
    /// What differs from the defaults, menus on lines of their own.
    Compact,
    /// Defaults, too.
    Verbose,
    /// As compact, each line a whole command.
    Terse,
}
#[derive(Clone, Copy, Debug)]
pub struct Style {
    pub amount: Amount,
    /// Hidden secrets are left out, as RouterOS does.
    pub secrets: Secrets,
}

/// Everything, under a header that says where it comes from: `# 2026-01-02 03:04:05 by espway 0.1.0`.
pub fn export(document: &Document, style: Style, date: &str, version: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(256 + 256 * document.len()));
    out.push_str(&format!("# {date} by espway {version}\n#\n"));
    write(document, style, "", &mut out);
    out
}
/// The menus at and below a console path, without a header.
pub fn export_menu(document: &Document, style: Style, under: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::new());
    write(document, style, under, &mut out);
    out
}

fn write(document: &Document, style: Style, under: &str, out: &mut String) {
    let plain = Document::new();
    let wanted = |place: &&'static Place| {
        let below =
            place.console.strip_prefix(under).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '));
        place.menu.shape.is_written() && (under.is_empty() || below)
    };
    let mut order: Vec<_> = places().iter().filter(wanted).collect();
    order.sort_by_key(|place| FIRST.iter().position(|path| *path == place.console).unwrap_or(FIRST.len()));
    for place in order {
        let mut commands = Vec::new();
        let rows = document.rows(place);
        let built_in = rows.iter().position(|row| row.built_in);
        for (at, row) in rows.iter().enumerate() {
            let command = match row.built_in {
                true => changed(place, row, plain.row(place, row.id), style),
                false => Some(added(
                    place,
                    row,
                    style,
                    place.menu.ordered && built_in.is_some_and(|built_in| at < built_in),
                )),
            };
            commands.extend(command.map(|command| (row, command)));
        }
        if commands.is_empty() {
            continue;
        }
        if style.amount != Amount::Terse {
            out.push_str(&format!("/{}\n", place.console));
        }
        for (row, command) in commands {
            // Nobody knows what is in remarks: they are written with the secrets only.
            let remarks =
                row.remark().filter(|_| style.secrets == Secrets::Shown && style.amount != Amount::Terse);
            for line in remarks {
                out.push('#');
                out.push_str(line);
                out.push('\n');
            }
            match style.amount {
                Amount::Terse => {
                    out.push_str(&format!("/{}", place.console));
                    for word in &command {
                        out.push(' ');
                        out.push_str(word);
                    }
                }
                _ => wrap(&command, out),
            }
            out.push('\n');
        }
    }
}

type Words = Vec<Zeroizing<String>>;
fn word(text: impl Into<String>) -> Zeroizing<String> {
    Zeroizing::new(text.into())
}

/// A row that is built in: what was changed in it.
fn changed(place: &'static Place, row: &Object, before: Option<&Object>, style: Style) -> Option<Words> {
    let was = |field: &Field| before.and_then(|before| before.effective(place, field.name));
    let mut cells = Vec::new();
    for field in fields(place).filter(|field| shown(field, style)) {
        match row.effective(place, field.name) {
            Some(now) if style.amount == Amount::Verbose || was(field) != Some(now) => {
                let identifies = place.is_list() && matches!(field.name, "name" | "default");
                if !identifies {
                    cells.push(argument(field.name, now));
                }
            }
            None if was(field).is_some() => cells.push(word(format!("!{}", field.name))),
            _ => {}
        }
    }
    if cells.is_empty() {
        return None;
    }
    let which = place.is_list().then(|| match (place.menu.built_in.len(), row.name()) {
        (2.., Some(name)) => word(format!("[ find name={name} ]")),
        _ => word("[ find default=yes ]"),
    });
    Some(std::iter::once(word("set")).chain(which).chain(cells).collect())
}
fn added(place: &'static Place, row: &Object, style: Style, before_built_in: bool) -> Words {
    let mut words = vec![word("add")];
    for field in fields(place).filter(|field| shown(field, style)) {
        let written = match style.amount {
            Amount::Verbose => row.effective(place, field.name),
            _ => row.get(field.name).filter(|text| default(field) != Some(*text)),
        };
        words.extend(written.map(|text| argument(field.name, text)));
    }
    if before_built_in {
        words.push(word("place-before=[ find default=yes ]"));
    }
    words
}
fn fields(place: &'static Place) -> impl Iterator<Item = &'static Field> {
    let mut fields: Vec<_> = place.fields.iter().collect();
    fields.sort_by_key(|field| field.name);
    fields.into_iter()
}
fn shown(field: &Field, style: Style) -> bool {
    style.secrets == Secrets::Shown || !field.is_secret()
}

fn argument(name: &str, text: &str) -> Zeroizing<String> {
    let mut out = Zeroizing::new(String::with_capacity(name.len() + 3 + 12 * text.len()));
    out.push_str(name);
    out.push('=');
    quote(text, &mut out);
    out
}
/// A value as the console reads it back: bare where that is safe, else in quotes, other alphabets as bytes.
pub fn quote(text: &str, out: &mut String) {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./,:@+%*".contains(c);
    if !text.is_empty() && text.chars().all(safe) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' | b'$' | b'?' => {
                out.push('\\');
                out.push(char::from(byte));
            }
            b'\n' => out.push_str("\\n"),
            b'\r' => out.push_str("\\r"),
            b'\t' => out.push_str("\\t"),
            b' '..=b'~' => out.push(char::from(byte)),
            byte => out.push_str(&format!("\\{byte:02X}")),
        }
    }
    out.push('"');
}

/// One command, continued on further lines where it is long: between arguments, or within one that fits no line.
fn wrap(words: &[Zeroizing<String>], out: &mut String) {
    let mut column = 0;
    for (at, word) in words.iter().enumerate() {
        if at > 0 {
            let fits = |from: usize| from + word.len() + 2 <= WIDTH;
            if !fits(column + 1) && (fits(INDENT.len()) || column + MIN_PIECE > WIDTH) {
                out.push_str(" \\\n");
                out.push_str(INDENT);
                column = INDENT.len();
            } else {
                out.push(' ');
                column += 1;
            }
        }
        let mut rest = word.as_str();
        while column + rest.len() + 2 > WIDTH {
            let Some((head, tail)) = break_at(rest, WIDTH.saturating_sub(column + 1)) else { break };
            out.push_str(head);
            out.push_str("\\\n");
            out.push_str(INDENT);
            (rest, column) = (tail, INDENT.len());
        }
        out.push_str(rest);
        column += rest.len();
    }
}
/// The last place, at most `room` in, that is not within an escape and not in front of a blank, which would be lost.
fn break_at(word: &str, room: usize) -> Option<(&str, &str)> {
    let mut good = None;
    let mut at = 0;
    while at <= room {
        if at > 20 && !matches!(word.as_bytes().get(at), None | Some(b' ')) {
            good = Some(at);
        }
        at += match (word.as_bytes().get(at)?, word.as_bytes().get(at + 1)) {
            (b'\\', Some(b'0'..=b'9' | b'A'..=b'F')) => 3,
            (b'\\', _) => 2,
            _ => 1,
        };
    }
    word.split_at_checked(good?)
}
