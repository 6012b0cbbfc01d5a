//! Second half of an import: rows of the source become objects of ours, each value held against the table.
use super::super::ast::Text;
use super::read::join;
use super::report::{Outcome, Report};
use super::rows::{Cell, Draft};
use crate::document::{Document, Fault, Id, Object, default};
use crate::schema::{Choice, Default, Field, Kind, Place, Support, place};
use crate::value;
use std::collections::HashMap;

/// Without these a row would be for more, or for others, than the source said.
pub const NARROWING: &[&str] = &[
    "action",
    "address",
    "dst-address",
    "dst-port",
    "local-address",
    "protocol",
    "remote-certificate",
    "remote-id",
    "src-address",
    "src-port",
];

/// A secret the source does not say.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingSecret {
    pub line: usize,
    pub path: &'static str,
    pub id: Id,
    pub property: &'static str,
    /// `pre-shared key of ip ipsec identity (peer west)`
    pub what: String,
    /// How a file of secrets calls it: `west`, `west password`, `radius 192.0.2.9`.
    pub key: String,
}

pub struct Putter {
    pub document: Document,
    pub report: Report,
    pub missing: Vec<MissingSecret>,
    /// Nothing but what is built in.
    plain: Document,
    /// The source writes what we write: nothing of it is bettered.
    pub own: bool,
    /// Names that had to be changed, by menu and old name.
    renamed: HashMap<(&'static str, String), String>,
    /// Where each row comes from.
    lines: HashMap<(&'static str, Id), usize>,
}

impl Putter {
    pub fn new(report: Report, own: bool) -> Self {
        Self {
            document: Document::new(),
            report,
            missing: Vec::new(),
            plain: Document::new(),
            own,
            renamed: HashMap::new(),
            lines: HashMap::new(),
        }
    }

    /// Adds a row, or changes the built-in row it stands for. What is refused is kept out and said.
    pub fn put(&mut self, path: &str, draft: Draft) -> Option<Id> {
        let place = place(path)?;
        let about = join(place.console, draft.filled("name").or(draft.filled("peer")).unwrap_or_default());
        let mut draft = draft;
        for cell in &mut draft.cells {
            let Some(field) = place.field(&cell.name) else { continue };
            self.better(place, field, cell, &about);
        }
        if !self.own {
            // Old exports say many defaults; a row is easier to read without them.
            let says_default =
                |cell: &Cell| place.field(&cell.name).and_then(default) == Some(cell.value.as_str());
            draft.cells.retain(|cell| draft.built_in || !says_default(cell));
        }
        if draft.doubtful && place.field("disabled").is_some() && !draft.is("disabled", "yes") {
            draft.put_str("disabled", "yes", draft.line);
            let said = "the row is disabled, because without what is left out it would be for more";
            self.say(draft.line, Outcome::Attention, &*about, said, "complete it, then enable it");
        }
        let draft_line = draft.line;
        let written: Vec<(String, usize)> =
            draft.cells.iter().map(|cell| (cell.name.clone(), cell.line)).collect();
        loop {
            let fault = match self.try_put(place, &draft) {
                Ok(id) => {
                    draft.remarks.iter().for_each(|said| self.document.remark(place.path, id, said));
                    self.lines.insert((place.path, id), draft_line);
                    self.not_yet(place, id, &about, draft_line, &written);
                    return Some(id);
                }
                Err(fault) => fault,
            };
            let refused = fault.property.as_deref().and_then(|name| draft.take(name));
            let line = refused.as_ref().map_or(draft_line, |cell| cell.line);
            let about = fault.property.as_ref().map_or(about.clone(), |name| format!("{about}: {name}"));
            let needed =
                |cell: &Cell| place.field(&cell.name).is_some_and(|f| f.property.default == Default::Needed);
            let Some(cell) = refused.filter(|cell| !needed(cell)) else {
                self.say(
                    line,
                    Outcome::Refused,
                    about,
                    format!("{}; the row is left out", fault.said),
                    fault.fix,
                );
                return None;
            };
            let narrowing = NARROWING.contains(&&*cell.name) && place.field("disabled").is_some();
            let said = if narrowing && !draft.is("disabled", "yes") {
                draft.put_str("disabled", "yes", line);
                format!(
                    "{}; left out, and the row is disabled, because without it it would be for more",
                    fault.said
                )
            } else {
                format!("{}; left out", fault.said)
            };
            self.say(line, Outcome::Refused, about, said, fault.fix);
        }
    }
    pub fn say(
        &mut self,
        line: usize,
        outcome: Outcome,
        about: impl Into<String>,
        said: impl Into<String>,
        fix: impl Into<String>,
    ) {
        self.report.note(line, outcome, about, said, fix);
    }

    fn try_put(&mut self, place: &'static Place, draft: &Draft) -> Result<Id, Fault> {
        let cells: Vec<(&str, &str)> =
            draft.cells.iter().map(|cell| (&*cell.name, cell.value.as_str())).collect();
        // The plain document has only built-in rows; looking there first spares a walk over all rows for each.
        let named =
            |row: &&Object| row.name() == draft.get("name") && (row.name().is_some() || draft.built_in);
        let built_in =
            self.plain.rows(place).iter().find(|row| !place.is_list() || named(row)).map(|row| row.id);
        match built_in.and_then(|id| self.document.row(place, id)) {
            Some(row) => {
                let id = row.id;
                // What the row had and the source has taken away.
                let gone =
                    row.cells().filter(|(field, _)| place.is_list() && draft.get(field.name).is_none());
                let gone = gone.map(|(field, _)| (field.name, None));
                let changes: Vec<_> =
                    cells.iter().map(|(name, text)| (*name, Some(*text))).chain(gone).collect();
                self.document.set(place, id, &changes).map(|()| id)
            }
            None => self.document.add(place, &cells, None),
        }
    }

    /// What the source may write and we write otherwise: names, networks with host bits, lists with what is obsolete.
    fn better(&mut self, place: &'static Place, field: &'static Field, cell: &mut Cell, about: &str) {
        if field.is_secret() {
            return; // stays as it is, and is not copied
        }
        let old = cell.value.as_str().to_owned();
        let new = match field.property.kind {
            Kind::Name => self.rename(place, &old),
            Kind::Reference(menu) | Kind::ReferenceOr { menu, .. } => self.name_now(menu, &old),
            Kind::References(menu) => {
                old.split(',').map(|name| self.name_now(menu, name)).collect::<Vec<_>>().join(",")
            }
            Kind::List(Kind::Reference(menu)) => {
                old.split(',').map(|name| self.name_now(menu, name)).collect::<Vec<_>>().join(",")
            }
            Kind::Prefix if !self.own => match old.parse::<sa::Prefix>() {
                Ok(prefix) if value::prefix(&old).is_err() => prefix.to_string(),
                _ => return,
            },
            Kind::Some(choices) if !self.own => supported(choices, &old),
            _ => return,
        };
        if new == old {
            return;
        }
        let said = match field.property.kind {
            Kind::Name => format!("called `{new}` here: names are made of letters, digits and -_.:@+"),
            Kind::Prefix => format!("written as `{new}`: host bits of networks are zero"),
            Kind::Some(_) => {
                let gone: Vec<_> =
                    old.split(',').filter(|word| !new.split(',').any(|kept| kept == *word)).collect();
                format!("{} left out: not available here; `{new}` remains", gone.join(", "))
            }
            _ => String::new(), // follows a name that was changed
        };
        cell.value = Text::new(new.into());
        if !said.is_empty() {
            let fix = match field.property.kind {
                Kind::Some(_) => "the other side must know one of them",
                _ => "",
            };
            self.say(cell.line, Outcome::Changed, format!("{about}: {}", field.name), said, fix);
        }
    }
    fn name_now(&self, menu: &'static str, name: &str) -> String {
        self.renamed.get(&(menu, name.to_owned())).cloned().unwrap_or_else(|| name.to_owned())
    }
    /// A name we take, not yet taken by another row.
    fn rename(&mut self, place: &'static Place, old: &str) -> String {
        if value::name(old).is_ok() || old.is_empty() {
            return old.to_owned();
        }
        let good = |c: char| c.is_ascii_alphanumeric() || "-_.:@+".contains(c);
        let base: String = old.chars().map(|c| if good(c) { c } else { '-' }).take(56).collect();
        let base = base.trim_start_matches(['.', '-']);
        let base = if base.is_empty() { "row" } else { base };
        let taken = |name: &str| {
            self.document.by_name(place, name).is_some()
                || self.renamed.iter().any(|((menu, of), to)| *menu == place.path && to == name && of != old)
        };
        let mut name = base.to_owned();
        for number in 2.. {
            if !taken(&name) {
                break;
            }
            name = format!("{base}-{number}");
        }
        self.renamed.insert((place.path, old.to_owned()), name.clone());
        name
    }

    /// Says what of a row needs a later version.
    fn not_yet(
        &mut self,
        place: &'static Place,
        id: Id,
        about: &str,
        line: usize,
        written: &[(String, usize)],
    ) {
        // What nobody wrote needs no words.
        if self.own || line == 0 {
            return;
        }
        if let Some(what) = place.later {
            return self.say(line, Outcome::Later, about, format!("kept, but not available yet: {what}"), "");
        }
        let mut missing: Vec<(&str, bool, Vec<String>)> = Vec::new();
        // It was put a moment ago, so it stands near the end, if not at the beginning.
        let row = self.document.rows(place).iter().rev().find(|row| row.id == id);
        for (field, text) in row.iter().flat_map(|row| row.cells()) {
            let of_source = written.iter().any(|(name, line)| name == field.name && *line > 0);
            let what = match (field.property.support, field.property.kind) {
                (Support::Later(what), _) if default(field) != Some(text) => Some((what, false)),
                (_, Kind::One(choices) | Kind::Some(choices)) => text.split(',').find_map(|word| {
                    let choice = choices.iter().find(|c| c.name == word)?;
                    Some((choice.later?, choice.never))
                }),
                _ => None,
            };
            let Some((what, never)) = what.filter(|_| of_source) else { continue };
            let cell =
                if field.is_secret() { field.name.to_owned() } else { format!("{}={text}", field.name) };
            match missing.iter_mut().find(|(other, ..)| *other == what) {
                Some((.., cells)) => cells.push(cell),
                None => missing.push((what, never, vec![cell])),
            }
        }
        for (said, refused) in [("kept, but not available yet", false), ("kept, but refused", true)] {
            let of = missing.iter().filter(|(_, never, _)| *never == refused);
            let each: Vec<_> = of.map(|(what, _, cells)| format!("{what} ({})", cells.join(" "))).collect();
            if !each.is_empty() {
                self.say(line, Outcome::Later, about, format!("{said}: {}", each.join(", ")), "");
            }
        }
    }
    pub fn line_of(&self, place: &Place, id: Id) -> usize {
        self.lines.get(&(place.path, id)).copied().unwrap_or(0)
    }
}

/// Without what only later versions have, unless nothing else is there.
fn supported(choices: &'static [Choice], list: &str) -> String {
    let here = |word: &str| choices.iter().all(|choice| choice.name != word || choice.later.is_none());
    let kept: Vec<_> = list.split(',').filter(|word| here(word)).collect();
    if kept.is_empty() { list.to_owned() } else { kept.join(",") }
}
