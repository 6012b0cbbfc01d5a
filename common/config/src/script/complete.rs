//! What may follow at a place of a line.
use super::ast::{Body, Item, ItemKind, Lead, Statement, Value, ValueKind};
use super::expr::{self, Next};
use super::names::{self, Command, Here, menus};
use super::{Span, parse};

mod candidates;

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
        /// How many words without a name stand before it.
        bare: usize,
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
    /// What is written behind it: a blank, `=`, or nothing while more may follow.
    pub then: &'static str,
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
        _ => {
            let named = |item: &&Item| matches!(item.kind, ItemKind::Named { .. } | ItemKind::Not(_));
            let bare = resolved.arguments.iter().filter(|item| !named(item)).count();
            Expected::Argument { command: command.name.clone(), given: given.collect(), bare }
        }
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
