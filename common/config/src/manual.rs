//! The manual of the configuration, written from the table of properties.
use crate::schema::{Choice, Default, Kind, Menu, Property, ROOT, Shape, Support, describe};
use std::fmt::Write;

const OPENING: &str = "\
# Configuration

The file is YAML. Objects and properties are RouterOS's, `/ip ipsec peer` being `ip.ipsec.peer`; what is not RouterOS's own
is marked *extension*. `espway check FILE` tells everything that is wrong with a file, with line, column and fix.

Lists are written as YAML lists or as RouterOS does, separated by commas. Durations are RouterOS's: `1d2h3m4s`, `30m`,
`00:30:00`; numbers may be hexadecimal (`0x1001`). Rows are counted from 0. Anchors, aliases and tags of YAML are refused.

This page is made from the same table that the file is read by (`common/config/src/schema/`).
";

/// `docs/configuration.md`.
pub fn manual() -> String {
    let mut out = OPENING.to_owned();
    menu(&ROOT, "", &mut out);
    out
}

fn menu(menu_: &Menu, path: &str, out: &mut String) {
    for sub in menu_.menus {
        let path = if path.is_empty() { sub.name.to_owned() } else { format!("{path}.{}", sub.name) };
        if sub.shape != Shape::Folder {
            heading(sub, &path, out);
        }
        if !sub.properties.is_empty() {
            table(sub.properties, "", out);
        }
        if !sub.shown.is_empty() {
            _ = write!(out, "\nShown, not set:\n\n| property | value | meaning |\n|---|---|---|\n");
            for property in sub.shown {
                let value = describe(property.kind).replace('|', "\\|");
                _ = writeln!(out, "| `{}` | {value} | {} |", property.name, property.help);
            }
        }
        menu(sub, &path, out);
    }
}

fn heading(menu: &Menu, path: &str, out: &mut String) {
    let shape = match menu.shape {
        Shape::List if menu.ordered => "A list whose order counts. ",
        Shape::List => "A list. ",
        Shape::Live | Shape::Figures => "Not part of the file. ",
        Shape::Folder | Shape::Settings => "",
    };
    _ = write!(out, "\n## `{path}`\n\n{shape}{}", menu.help);
    if let Some(what) = menu.later {
        _ = write!(out, " Kept and shown, but refused when it is to be run: {what} is not available yet.");
    }
    let flags: Vec<_> = menu.flags.iter().map(|flag| format!("`{}` {}", flag.letter, flag.name)).collect();
    if !flags.is_empty() {
        _ = write!(out, " Flags: {}.", flags.join(", "));
    }
    out.push_str("\n\n");
}

fn table(properties: &[Property], prefix: &str, out: &mut String) {
    if prefix.is_empty() {
        out.push_str("| property | value | default | meaning |\n|---|---|---|---|\n");
    }
    for property in properties {
        let default = match property.default {
            Default::Needed => "*needed*".into(),
            Default::Unset | Default::Is("") => String::new(),
            Default::Is(text) => format!("`{text}`"),
        };
        let mark = match property.support {
            Support::Full => String::new(),
            Support::Extension => " *(extension)*".into(),
            Support::Later(what) => format!(" *(refused: {what} is not available yet)*"),
            Support::NoEffect(why) => format!(" *(no effect: {why})*"),
        };
        let value = describe(property.kind).replace('|', "\\|");
        let help = format!("{}{}", property.help, refused(property.kind));
        _ = writeln!(out, "| `{prefix}{}` | {value} | {default} | {help}{mark} |", property.name);
        if let Kind::Group(properties) = property.kind {
            table(properties, &format!("{prefix}{}.", property.name), out);
        }
    }
}

/// The values RouterOS has and this version has not.
fn refused(kind: Kind) -> String {
    let (Kind::One(choices) | Kind::Some(choices)) = kind else { return String::new() };
    let named = |said: &str, never: bool| {
        let of = choices.iter().filter(|c| c.later.is_some() && c.never == never);
        let names: Vec<String> = of.map(|Choice { name, .. }| format!("`{name}`")).collect();
        if names.is_empty() { String::new() } else { format!(" {said}: {}.", names.join(", ")) }
    };
    named("Not available yet", false) + &named("Refused", true)
}
