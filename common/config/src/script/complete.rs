//! What may follow at a place of a line.
use super::ast::{Body, Item, ItemKind, Lead, Statement, Value, ValueKind};
use super::expr::{self, Next};
use super::names::{self, At, Command, Here, menus};
use super::{Span, parse};
use crate::schema::{Choice, Kind, Menu, Property};

/// What is being typed, and what it may become.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    pub menu: Here,
    /// The part of the line that a candidate would replace.
    pub begun: Span,
    pub expected: Expected,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Expected {
    /// A menu or a command.
    Word,
    /// An argument of the command, those already given left out; for some, an item.
    Argument {
        command: String,
        given: Vec<String>,
    },
    Value {
        command: String,
        property: String,
    },
    Condition(Next),
    /// Nothing that is known here.
    Nothing,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Candidate {
    pub text: String,
    pub help: String,
}

/// What stands before `cursor` in `line`, typed in the menu `here`.
pub fn at(line: &str, cursor: usize, here: &Here) -> Place {
    let head = line.get(..cursor).unwrap_or(line);
    let script = parse(head);
    body(head, &script.statements, here)
}

fn body(head: &str, statements: &[Statement], here: &Here) -> Place {
    let mut here = here.clone();
    let end = head.len();
    let empty = |menu: Here| Place { menu, begun: Span { start: end, end }, expected: Expected::Word };
    let Some((last, before)) = statements.split_last() else { return empty(here) };
    for statement in before {
        let resolved = names::resolve(&here, statement);
        if resolved.command.is_none() && resolved.unknown.is_none() {
            here = resolved.menu;
        }
    }
    let behind = Span { start: last.span.end, end };
    if behind.of(head).contains([';', '\n', '}', ']']) {
        let resolved = names::resolve(&here, last);
        return empty(if resolved.command.is_none() { resolved.menu } else { here });
    }
    statement(head, last, &here)
}

fn statement(head: &str, statement: &Statement, here: &Here) -> Place {
    let end = head.len();
    let touched = |item: &Item| item.span.end >= end;
    let (done, begun) = match statement.items.split_last() {
        Some((last, done)) if touched(last) => (done, Some(last)),
        _ => (&*statement.items, None),
    };
    let span = begun.map_or(Span { start: end, end }, |item| item.span);
    let resolved = names::resolve_items(here, statement.lead, done);
    if let Some(inner) = begun.and_then(open_body) {
        let menu =
            if resolved.command.is_none() && statement.lead == Lead::Here { here } else { &resolved.menu };
        return body(head, &inner.statements, menu);
    }
    let place = |menu: &Here, begun, expected| Place { menu: menu.clone(), begun, expected };
    let Some(command) = &resolved.command else {
        return match begun.map(|item| &item.kind) {
            // `/ip/ipsec/pe`: all but the last is done.
            Some(ItemKind::Word(word)) => {
                let last = word.rsplit('/').next().unwrap_or_default();
                let start = end - last.len().min(end - span.start);
                let path = word.strip_suffix(last).unwrap_or_default();
                let lead = if path.starts_with('/') { Lead::Root } else { Lead::Here };
                let menu = walk(&resolved.menu, lead, path);
                place(&menu, Span { start, end }, Expected::Word)
            }
            None => place(&resolved.menu, span, Expected::Word),
            Some(_) => place(&resolved.menu, span, Expected::Nothing),
        };
    };
    if command.script {
        return place(&resolved.menu, span, Expected::Nothing);
    }
    if let Some(from) = condition(command, resolved.arguments, begun) {
        let (next, begun) = expr::next(head, Span { start: from.min(end), end });
        return place(&resolved.menu, begun, Expected::Condition(next));
    }
    let given = resolved.arguments.iter().filter_map(|item| match &item.kind {
        ItemKind::Named { name, .. } => Some(name.clone()),
        _ => None,
    });
    let expected = match begun.map(|item| &item.kind) {
        Some(ItemKind::Named { name, value, .. }) => {
            let start = value
                .text()
                .and_then(|text| text.rfind(','))
                .map_or(value.span.start, |comma| (value.span.start + comma + 1).min(end));
            let expected = Expected::Value { command: command.name.clone(), property: name.clone() };
            return place(&resolved.menu, Span { start, end }, expected);
        }
        Some(ItemKind::Value(_)) => Expected::Nothing,
        _ => Expected::Argument { command: command.name.clone(), given: given.collect() },
    };
    place(&resolved.menu, span, expected)
}
fn walk(menu: &Here, lead: Lead, path: &str) -> Here {
    let mut menu = if lead == Lead::Root { Here::Known(menus().root()) } else { menu.clone() };
    for word in path.split('/').filter(|word| !word.is_empty()) {
        menu = match &menu {
            Here::Known(at) => match menus().step(*at, word) {
                Ok(names::Step::Menu(at)) => Here::Known(at),
                _ => return Here::Foreign(word.into()),
            },
            Here::Foreign(_) => return menu,
        };
    }
    menu
}
/// Where the condition of this command begins.
fn condition(command: &Command, arguments: &[Item], begun: Option<&Item>) -> Option<usize> {
    let whole = arguments.iter().find(|item| item.word() == Some("where"));
    match (whole, &*command.name, begun) {
        (Some(item), ..) => Some(item.span.end),
        (None, "find", Some(begun)) if "where".starts_with(begun.word().unwrap_or("-")) => None,
        (None, "find", _) => Some(command.span.end),
        _ => None,
    }
}
/// The bracket this item opens and does not close.
fn open_body(item: &Item) -> Option<&Body> {
    let value = match &item.kind {
        ItemKind::Named { value, .. } | ItemKind::Value(value) => value,
        _ => return None,
    };
    match value {
        Value { kind: ValueKind::Command(body) | ValueKind::Block(body), .. } => {
            Some(body).filter(|body| !body.closed)
        }
        _ => None,
    }
}

/// What a print or an export may be told.
const PRINT: &[(&str, &str)] = &[
    ("brief", "A table."),
    ("count-only", "How many rows there are."),
    ("detail", "Every property."),
    ("follow", "Go on when something changes."),
    ("interval", "Print again every so often."),
    ("proplist", "Only these properties."),
    ("show-ids", "Numbers that stay."),
    ("show-sensitive", "Secrets, too."),
    ("terse", "A row a line."),
    ("where", "Only rows for which this holds."),
    ("without-paging", "All at once."),
];
const EXPORT: &[(&str, &str)] = &[
    ("compact", "Only what differs from the defaults."),
    ("file", "Into a file."),
    ("hide-sensitive", "Without secrets."),
    ("show-sensitive", "Secrets, too."),
    ("terse", "A whole command a line."),
    ("verbose", "Defaults, too."),
];

impl Place {
    /// What the begun word may become, in alphabetical order; `rows` says the names in a menu of the file.
    pub fn candidates(&self, line: &str, rows: &dyn Fn(&str) -> Vec<String>) -> Vec<Candidate> {
        let begun = self.begun.of(line).trim_start_matches('"');
        let mut all = self.all(rows);
        all.retain(|candidate| candidate.text.starts_with(begun));
        all.sort_by(|a, b| a.text.cmp(&b.text));
        all.dedup_by(|a, b| a.text == b.text);
        all
    }
    fn all(&self, rows: &dyn Fn(&str) -> Vec<String>) -> Vec<Candidate> {
        let Here::Known(at) = &self.menu else { return Vec::new() };
        let menu = menus().node(*at).menu;
        let properties = menu.map_or(&[][..], |menu| menu.properties);
        match &self.expected {
            Expected::Word => words(*at),
            Expected::Argument { command, given } => {
                let own = menu.and_then(|menu| menu.commands.iter().find(|own| own.name == command));
                let own = own.map_or(&[][..], |own| own.arguments).iter().map(of_property);
                arguments(command, properties).chain(own).filter(|one| !given.contains(&one.text)).collect()
            }
            Expected::Value { property, .. } | Expected::Condition(Next::Value { field: property }) => {
                let names = properties.iter().map(|property| property.name);
                let console = &menus().node(*at).console;
                match names::property(console, names, property) {
                    Ok(name) => values(menu, name, rows),
                    Err(_) => Vec::new(),
                }
            }
            Expected::Condition(Next::Field) => {
                let shown = menu.map_or(&[][..], |menu| menu.shown);
                properties.iter().chain(shown).map(of_property).collect()
            }
            Expected::Condition(Next::Operator { .. }) => [
                ("=", "Equals."),
                ("!=", "Differs."),
                ("<", "Is less."),
                (">", "Is greater."),
                ("<=", "Is at most."),
                (">=", "Is at least."),
                ("~", "Matches a regular expression."),
                ("in", "Is within a network or a list."),
                ("and", "And that."),
                ("or", "Or that."),
            ]
            .map(|(text, help)| candidate(text, help))
            .into(),
            Expected::Nothing => Vec::new(),
        }
    }
}
fn candidate(text: impl Into<String>, help: impl Into<String>) -> Candidate {
    Candidate { text: text.into(), help: help.into() }
}
fn of_property(property: &'static Property) -> Candidate {
    candidate(property.name, property.help)
}
fn words(at: At) -> Vec<Candidate> {
    let menus = menus();
    let below = menus.below(at).map(|node| candidate(node.word, node.help));
    let own = |name: &str| {
        let own = menus.node(at).menu.and_then(|menu| menu.commands.iter().find(|own| own.name == name));
        own.map_or_else(|| describe(name), |own| own.help)
    };
    let commands = menus.node(at).commands.iter().map(|name| candidate(*name, own(name)));
    below.chain(commands).collect()
}
fn describe(command: &str) -> &'static str {
    match command {
        "add" => "Make a row.",
        "comment" => "Write a note on a row.",
        "disable" => "Let rows take no part.",
        "edit" => "Change one property in an editor.",
        "enable" => "Let rows take part again.",
        "export" => "Print as a script.",
        "find" => "Numbers of the rows for which something holds.",
        "get" => "One property of a row.",
        "import" => "Read from a file.",
        "move" => "Put rows elsewhere in the order.",
        "print" => "Show.",
        "quit" => "Leave the console.",
        "remove" => "Remove rows.",
        "reset" => "Back to the default.",
        "save" => "Write the changes to the file.",
        "set" => "Change.",
        "unset" => "As if it had not been written.",
        _ => "",
    }
}
fn arguments(command: &str, properties: &'static [Property]) -> impl Iterator<Item = Candidate> {
    let fixed: &[(&str, &str)] = match command {
        "print" => PRINT,
        "export" => EXPORT,
        "add" => {
            &[("copy-from", "Begin as a copy of this row."), ("place-before", "The row it comes before.")]
        }
        _ => &[],
    };
    let own = match command {
        "add" | "set" | "get" | "reset" | "unset" | "edit" => properties,
        _ => &[],
    };
    let comment = (command == "comment").then(|| candidate("comment", "A note for people."));
    own.iter().map(of_property).chain(fixed.iter().map(|(text, help)| candidate(*text, *help))).chain(comment)
}
fn values(menu: Option<&'static Menu>, name: &str, rows: &dyn Fn(&str) -> Vec<String>) -> Vec<Candidate> {
    let Some(property) = menu.and_then(|menu| menu.properties.iter().find(|property| property.name == name))
    else {
        return Vec::new();
    };
    let choices = |choices: &'static [Choice]| {
        let help = |choice: &Choice| {
            choice.later.map(|what| format!("Not available yet: {what}.")).unwrap_or_default()
        };
        choices.iter().map(|choice| candidate(choice.name, help(choice))).collect()
    };
    match property.kind {
        Kind::YesNo => vec![candidate("yes", ""), candidate("no", "")],
        Kind::One(of) | Kind::Some(of) => choices(of),
        Kind::TimeOr { word, .. } => vec![candidate(word, "")],
        Kind::Reference(menu) => rows(menu).into_iter().map(|name| candidate(name, "")).collect(),
        Kind::List(Kind::Reference(menu)) => rows(menu).into_iter().map(|name| candidate(name, "")).collect(),
        Kind::ReferenceOr { menu, words } => {
            let words = words.iter().filter(|word| !word.is_empty()).map(|word| candidate(*word, ""));
            rows(menu).into_iter().map(|name| candidate(name, "")).chain(words).collect()
        }
        Kind::Ports => vec![candidate("any", "")],
        Kind::Protocol => {
            let named =
                crate::value::PROTOCOLS.iter().map(|(name, number)| candidate(*name, number.to_string()));
            std::iter::once(candidate("all", "")).chain(named).collect()
        }
        _ => Vec::new(),
    }
}
