//! Adding, changing, removing, moving. Each is done as a whole or refused.
use super::{Document, HIDDEN, Id, Object, Table, original};
use crate::nearest;
use crate::schema::{Default, Field, Kind, Place, places};
use crate::walk::canonical;
use std::sync::Arc;
use zeroize::Zeroizing;

/// Rows of one menu; 100 000 tunnels fit.
const MAX_ROWS: usize = 1_000_000;

/// Why a change is refused: the object, what is wrong, what to do instead.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{path}: {said}{}", if fix.is_empty() { String::new() } else { format!("; {fix}") })]
pub struct Fault {
    /// `ip ipsec peer site-b`, as the console names it.
    pub path: String,
    /// The property, if one is meant.
    pub property: Option<String>,
    pub said: String,
    pub fix: String,
    pub kind: FaultKind,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultKind {
    /// There is no such row, menu or property.
    Missing,
    /// The value is not one.
    Value,
    /// Others depend on it, it is built in, or the name is taken.
    Conflict,
}
impl Fault {
    pub fn new(place: &Place, kind: FaultKind, said: impl Into<String>, fix: impl Into<String>) -> Self {
        Self { path: place.console.into(), property: None, said: said.into(), fix: fix.into(), kind }
    }
    fn of(self, row: Option<&Object>, property: &str) -> Self {
        let name = row.map(|row| row.name().map_or_else(|| row.id.to_string(), ToOwned::to_owned));
        let path = name.map_or(self.path.clone(), |name| format!("{} {name}", self.path));
        Self { path, property: (!property.is_empty()).then(|| property.into()), ..self }
    }
}

/// One property of a change: a value, or `None` to leave it out again.
pub type Assignment<'a> = (&'a str, Option<&'a str>);

impl Document {
    /// A new row, in front of `before` or at the end.
    pub fn add(
        &mut self,
        place: &'static Place,
        cells: &[(&str, &str)],
        before: Option<Id>,
    ) -> Result<Id, Fault> {
        if !place.is_list() {
            return Err(Fault::new(place, FaultKind::Missing, "nothing can be added here", "use set"));
        }
        let table = self.table(place)?;
        if table.rows.len() >= MAX_ROWS {
            let said = format!("there are {MAX_ROWS} rows already");
            return Err(Fault::new(place, FaultKind::Conflict, said, "remove some"));
        }
        let at = match before {
            Some(id) => position(table, place, id)?,
            None => table.rows.len(),
        };
        let mut row = Object { id: Id(table.next), built_in: false, cells: Arc::default() };
        for (name, text) in cells {
            assign(place, &mut row, name, Some(text))?;
        }
        if let Some(field) = needed(place, &row) {
            let said = format!("`{}` is missing", field.name);
            let fix = format!("write {}=", field.name);
            return Err(Fault::new(place, FaultKind::Value, said, fix).of(None, field.name));
        }
        self.free_name(place, &row)?;
        let table = self.table(place)?;
        table.next += 1;
        let id = row.id;
        table.insert(at, row);
        Ok(id)
    }

    /// Changes a row, or the settings with `Id(0)`. Whoever names a row that gets another name follows it.
    pub fn set(&mut self, place: &'static Place, id: Id, changes: &[Assignment]) -> Result<(), Fault> {
        let table = self.table(place)?;
        let at = position(table, place, id)?;
        let before = &table.rows[at];
        let mut row = before.clone();
        for (name, text) in changes {
            assign(place, &mut row, name, *text).map_err(|fault| fault.of(Some(before), name))?;
        }
        if let Some(field) = needed(place, &row).filter(|_| place.is_list()) {
            let said = format!("`{}` cannot be left out", field.name);
            return Err(Fault::new(place, FaultKind::Value, said, "").of(Some(before), field.name));
        }
        let (old, new) = (before.name().map(ToOwned::to_owned), row.name().map(ToOwned::to_owned));
        if old != new {
            if row.built_in && place.is_list() {
                let said = "it is built in and keeps its name";
                return Err(Fault::new(place, FaultKind::Conflict, said, "add a row of another name")
                    .of(Some(before), "name"));
            }
            self.free_name(place, &row)?;
        }
        self.table(place)?.replace(at, row);
        if let (Some(old), Some(new)) = (old, new)
            && old != new
        {
            self.rename(place.path, &old, &new);
        }
        Ok(())
    }

    /// Removes a row that nobody names.
    pub fn remove(&mut self, place: &'static Place, id: Id) -> Result<(), Fault> {
        let table = self.table(place)?;
        let at = position(table, place, id)?;
        let row = table.rows[at].clone();
        if row.built_in {
            let fix = if place.field("disabled").is_some() {
                "disable it, or reset what was changed"
            } else {
                "reset what was changed"
            };
            return Err(Fault::new(place, FaultKind::Conflict, "it is built in and cannot be removed", fix)
                .of(Some(&row), ""));
        }
        let user = row.name().and_then(|name| {
            self.users(place.path, name)
                .map(|(user, row, _)| Fault::new(user, FaultKind::Conflict, "", "").of(Some(row), "").path)
                .next()
        });
        if let Some(user) = user {
            let said = format!("`{user}` uses it");
            return Err(Fault::new(place, FaultKind::Conflict, said, "change or remove that first")
                .of(Some(&row), ""));
        }
        self.table(place)?.remove(at);
        Ok(())
    }

    /// Moves rows, in the order given, in front of another or to the end.
    pub fn move_before(
        &mut self,
        place: &'static Place,
        ids: &[Id],
        before: Option<Id>,
    ) -> Result<(), Fault> {
        if !place.menu.ordered {
            return Err(Fault::new(place, FaultKind::Missing, "the order of these rows means nothing", ""));
        }
        let table = self.table(place)?;
        for id in ids {
            position(table, place, *id)?;
        }
        let mut before = before;
        if let Some(target) = before {
            let at = position(table, place, target)?;
            // A row cannot stand in front of itself: the next one that stays is meant.
            before = table.rows[at..].iter().map(|row| row.id).find(|id| !ids.contains(id));
        }
        let mut moved: Vec<Object> = Vec::with_capacity(ids.len());
        for id in ids {
            if let Some(at) = table.rows.iter().position(|row| row.id == *id) {
                moved.push(table.rows.remove(at));
            }
        }
        let at =
            before.and_then(|id| table.rows.iter().position(|row| row.id == id)).unwrap_or(table.rows.len());
        table.rows.splice(at..at, moved);
        Ok(())
    }

    /// Everything that was changed in a built-in row, or in settings, is as it was.
    pub fn reset(&mut self, place: &'static Place, id: Id) -> Result<(), Fault> {
        let table = self.table(place)?;
        let at = position(table, place, id)?;
        match original(place, id).filter(|_| table.rows[at].built_in) {
            Some(row) => table.replace(at, row),
            None => {
                let row = table.rows[at].clone();
                return Err(Fault::new(place, FaultKind::Conflict, "it is not built in", "remove it")
                    .of(Some(&row), ""));
            }
        }
        Ok(())
    }

    fn table(&mut self, place: &'static Place) -> Result<&mut Table, Fault> {
        let missing = || Fault::new(place, FaultKind::Missing, "there is nothing to configure here", "");
        self.tables.get_mut(place.path).map(Arc::make_mut).ok_or_else(missing)
    }
    fn free_name(&self, place: &'static Place, row: &Object) -> Result<(), Fault> {
        let Some(name) = row.name() else { return Ok(()) };
        let holder = self.tables.get(place.path).and_then(|table| table.names.get(name));
        if holder.is_some_and(|id| *id != row.id) {
            let said = format!("there is `{name}` already");
            return Err(Fault::new(place, FaultKind::Conflict, said, "choose another name").of(None, "name"));
        }
        Ok(())
    }
    fn rename(&mut self, menu: &str, old: &str, new: &str) {
        let names_it =
            |(field, text): (&'static Field, &str)| refers(field.property.kind, menu) && says(text, old);
        for table in self.tables.values_mut() {
            let rows = table.rows.iter().enumerate();
            let users: Vec<usize> =
                rows.filter(|(_, row)| row.cells().any(names_it)).map(|(at, _)| at).collect();
            if users.is_empty() {
                continue;
            }
            let rows = &mut Arc::make_mut(table).rows;
            for at in users {
                for (field, text) in rows[at].cells_mut() {
                    if refers(field.property.kind, menu) && says(text, old) {
                        let words: Vec<&str> =
                            text.split(',').map(|word| if word == old { new } else { word }).collect();
                        *text = Zeroizing::new(words.join(","));
                    }
                }
            }
        }
    }
}

/// Names rows of that menu.
pub(super) fn refers(kind: Kind, menu: &str) -> bool {
    match kind {
        Kind::Reference(to) | Kind::References(to) | Kind::ReferenceOr { menu: to, .. } => to == menu,
        Kind::List(each) => refers(*each, menu),
        _ => false,
    }
}
pub(super) fn says(text: &str, name: &str) -> bool {
    text.split(',').any(|word| word == name)
}

fn position(table: &Table, place: &'static Place, id: Id) -> Result<usize, Fault> {
    let missing = || Fault::new(place, FaultKind::Missing, format!("no such item: {id}"), "");
    table.rows.iter().position(|row| row.id == id).ok_or_else(missing)
}
fn needed<'p>(place: &'p Place, row: &Object) -> Option<&'p Field> {
    let needed = |field: &&Field| field.property.default == Default::Needed && !field.name.contains('.');
    place.fields.iter().filter(needed).find(|field| row.get(field.name).is_none())
}

/// Puts a value into its place among the cells; `None` takes it out.
pub(super) fn assign(
    place: &'static Place,
    row: &mut Object,
    name: &str,
    text: Option<&str>,
) -> Result<(), Fault> {
    let field = place.field(name).ok_or_else(|| unknown(place, name))?;
    let order = |field: &Field| place.fields.iter().position(|f| f.name == field.name);
    let at = row.cells.iter().position(|(f, _)| order(f) >= order(field)).unwrap_or(row.cells.len());
    let there = row.cells.get(at).is_some_and(|(f, _)| f.name == name);
    let refused = |said: String, fix: String| Fault::new(place, FaultKind::Value, said, fix).of(None, name);
    // Where leaving out and being empty is the same, nothing is written.
    let text = text.filter(|text| !(text.is_empty() && field.property.default == Default::Unset));
    let Some(text) = text else {
        if there {
            row.cells_mut().remove(at);
        }
        return Ok(());
    };
    if field.is_secret() && text == HIDDEN {
        return Err(refused(
            "this stands for a secret that was not shown".into(),
            "write the secret itself".into(),
        ));
    }
    let text = canonical(field.property.kind, text).map_err(|wrong| refused(wrong.said, wrong.fix))?;
    // A list of nothing but commas is empty as well.
    if text.is_empty() && field.property.default == Default::Unset {
        return assign(place, row, name, None);
    }
    let cells = row.cells_mut();
    if there {
        cells[at].1 = text;
    } else {
        cells.insert(at, (field, text));
    }
    Ok(())
}
fn unknown(place: &'static Place, name: &str) -> Fault {
    let (said, fix) = if place.menu.shown.iter().any(|p| p.name == name) {
        (format!("`{name}` is shown, not set"), String::new())
    } else {
        let near = nearest(name, place.fields.iter().map(|f| f.name));
        let elsewhere = || {
            places().iter().find(|p| p.field(name).is_some()).map(|p| format!("it belongs to {}", p.console))
        };
        let fix = near.map(|near| format!("did you mean `{near}`?")).or_else(elsewhere).unwrap_or_default();
        (format!("there is no property `{name}`"), fix)
    };
    Fault::new(place, FaultKind::Missing, said, fix).of(None, name)
}
