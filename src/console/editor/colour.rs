//! Colours of the line that is being typed.
use super::Shared;
use crate::console::style::Ink;
use config::schema;
use config::script::names::{self, Here, menus};
use config::script::{Item, ItemKind, Statement, ValueKind, parse};
use reedline::{Color, Highlighter, StyledText};

pub struct Colours {
    pub shared: Shared,
    pub on: bool,
}
impl Highlighter for Colours {
    fn highlight(&self, line: &str, _: usize) -> StyledText {
        let mut styled = StyledText::new();
        let mut inks = vec![None; line.len()];
        if self.on {
            let here = Here::Known(self.shared.lock().here);
            let script = parse(line);
            let mut at = here;
            for statement in &script.statements {
                at = paint(statement, &at, line, &mut inks);
            }
            for fault in &script.faults {
                fill(&mut inks, fault.span.start, fault.span.end, Ink::Error);
            }
        }
        let mut start = 0;
        for (at, _) in line.char_indices().chain([(line.len(), ' ')]).skip(1) {
            if at == line.len() || inks.get(at) != inks.get(start) {
                let ink = inks.get(start).copied().flatten();
                let text = line.get(start..at).unwrap_or_default().to_owned();
                styled.push((style(ink), text));
                start = at;
            }
        }
        styled
    }
}
fn style(ink: Option<Ink>) -> nu_ansi_term::Style {
    let colour = match ink {
        None | Some(Ink::Legend | Ink::Flag) => return nu_ansi_term::Style::new(),
        Some(Ink::Faint) => return nu_ansi_term::Style::new().dimmed(),
        Some(Ink::Menu | Ink::Comment) => Color::Cyan,
        Some(Ink::Command) => Color::Purple,
        Some(Ink::Property) => Color::Green,
        Some(Ink::Value) => Color::Yellow,
        Some(Ink::Error) => Color::Red,
    };
    colour.normal()
}
fn fill(inks: &mut [Option<Ink>], start: usize, end: usize, ink: Ink) {
    let end = end.min(inks.len());
    if let Some(part) = inks.get_mut(start.min(end)..end) {
        part.fill(Some(ink));
    }
}

/// Answers where the next statement stands.
fn paint(statement: &Statement, here: &Here, line: &str, inks: &mut [Option<Ink>]) -> Here {
    let done = names::resolve(here, statement);
    let from = done.arguments.first().map_or(statement.span.end, |item| item.span.start);
    fill(inks, statement.span.start, from, Ink::Menu);
    if let Some((span, _)) = &done.unknown {
        fill(inks, span.start, span.end, Ink::Error);
    }
    let Some(command) = &done.command else {
        done.arguments.iter().for_each(|item| item_ink(item, &done.menu, &[], line, inks));
        return done.menu;
    };
    fill(inks, command.span.start, command.span.end, Ink::Command);
    let known = known(&done.menu, &command.name);
    done.arguments.iter().for_each(|item| item_ink(item, &done.menu, &known, line, inks));
    here.clone()
}
/// Names that this command takes. None: any, as in conditions.
fn known(menu: &Here, command: &str) -> Vec<&'static str> {
    let Here::Known(at) = menu else { return Vec::new() };
    let Some(place) = schema::place(&menus().node(*at).path) else { return Vec::new() };
    match command {
        "add" | "set" => {
            let fixed = ["place-before", "copy-from", "numbers"];
            place.fields.iter().map(|field| field.name).chain(fixed).collect()
        }
        _ => Vec::new(),
    }
}
fn item_ink(item: &Item, menu: &Here, known: &[&'static str], line: &str, inks: &mut [Option<Ink>]) {
    let value = match &item.kind {
        ItemKind::Named { name, name_span, value } => {
            let fits =
                known.is_empty() || names::property(menu.console(), known.iter().copied(), name).is_ok();
            fill(inks, name_span.start, name_span.end, if fits { Ink::Property } else { Ink::Error });
            fill(inks, value.span.start, value.span.end, Ink::Value);
            value
        }
        ItemKind::Value(value) => value,
        _ => return,
    };
    if let ValueKind::Command(body) | ValueKind::Block(body) = &value.kind {
        let mut here = menu.clone();
        for statement in &body.statements {
            here = paint(statement, &here, line, inks);
        }
    }
}
