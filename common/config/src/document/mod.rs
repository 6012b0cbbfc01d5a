//! The configuration as objects: rows of every menu with what is written in them, as text of one form.
//!
//! File, console, REST and importer are views of it. It keeps what RouterOS knows, also what this version cannot run
//! yet; [`Document::check`] says whether it can be run. A change that is refused leaves nothing behind.
mod cells;
mod diff;
mod edit;
mod json;
mod remarks;
mod tree;
mod yaml;

pub(crate) use cells::Cells;
pub use diff::{Change, Difference};
pub use edit::{Assignment, Fault, FaultKind};
pub use json::{JsonFault, value_text};

use crate::check::Memo;
use crate::schema::{Default, Field, Place, place, places};
use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex};
use zeroize::Zeroizing;

/// Number of a row: unique in its menu, never given twice. Shown as `*1A`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Id(pub u32);
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "*{:X}", self.0)
    }
}
impl std::str::FromStr for Id {
    type Err = ();
    fn from_str(text: &str) -> Result<Self, ()> {
        let digits = text.strip_prefix('*').filter(|d| !d.starts_with('+')).ok_or(())?;
        u32::from_str_radix(digits, 16).map(Self).map_err(|_| ())
    }
}

/// Whether secrets are written out or as `***`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secrets {
    Shown,
    Hidden,
}
/// What stands for a secret that is not shown. As a value it is refused, so that it never becomes one.
pub const HIDDEN: &str = "***";

/// A row, or a group of settings: what is written.
#[derive(Clone)]
pub struct Object {
    pub id: Id,
    /// It exists without being written and cannot be removed.
    pub built_in: bool,
    /// In the order of the table. Shared by the copies of a row: a document of ten thousand rows is copied in no time.
    cells: Arc<Cells>,
}
impl Object {
    /// What is written.
    pub fn get(&self, name: &str) -> Option<&str> {
        self.cells.iter().find(|(field, _)| field.name == name).map(|(_, text)| text.as_str())
    }
    pub fn cells(&self) -> impl Iterator<Item = (&'static Field, &str)> {
        self.cells.iter().map(|(field, text)| (*field, text.as_str()))
    }
    /// To change them: what was found of them before is not so any more.
    fn cells_mut(&mut self) -> &mut Vec<(&'static Field, Zeroizing<String>)> {
        Arc::make_mut(&mut self.cells).change()
    }
    /// Lines that stand before it behind `#`.
    pub fn remark(&self) -> impl Iterator<Item = &str> {
        self.cells.remark.iter().flat_map(|remark| remark.lines())
    }
    /// What is written, or else what that means.
    pub fn effective<'a>(&'a self, place: &'static Place, name: &str) -> Option<&'a str> {
        self.get(name).or_else(|| place.field(name).and_then(default))
    }
    pub fn name(&self) -> Option<&str> {
        let is_name = |(field, _): &&(&Field, _)| matches!(field.property.kind, crate::schema::Kind::Name);
        self.cells.iter().find(is_name).map(|(_, text)| text.as_str())
    }
    pub fn disabled(&self) -> bool {
        self.get("disabled") == Some("yes")
    }
    /// The cells without those that say the default.
    pub fn differing(&self) -> impl Iterator<Item = (&'static Field, &str)> {
        self.cells().filter(|(field, text)| default(field) != Some(*text))
    }
}
/// Two rows are alike when the same is written, whatever their numbers.
impl PartialEq for Object {
    fn eq(&self, other: &Self) -> bool {
        let same =
            || Arc::ptr_eq(&self.cells, &other.cells) || self.cells().map(named).eq(other.cells().map(named));
        self.built_in == other.built_in && same()
    }
}
fn named<'a>((field, text): (&'static Field, &'a str)) -> (&'static str, &'a str) {
    (field.name, text)
}
impl fmt::Debug for Object {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = |(field, text): (&'static Field, &str)| match field.is_secret() {
            true => (field.name, HIDDEN.to_owned()),
            false => (field.name, text.to_owned()),
        };
        write!(f, "{} ", self.id)?;
        f.debug_map().entries(self.cells().map(shown)).finish()
    }
}

/// The default in the form in which values are kept.
pub fn default(field: &Field) -> Option<&'static str> {
    match field.property.default {
        Default::Is(text) => Some(text),
        Default::Needed | Default::Unset => None,
    }
}

#[derive(Clone, Debug)]
struct Table {
    rows: Vec<Object>,
    next: u32,
    /// Who has which name.
    names: HashMap<Arc<str>, Id>,
}
impl Table {
    fn insert(&mut self, at: usize, row: Object) {
        self.names.extend(row.name().map(|name| (name.into(), row.id)));
        self.rows.insert(at, row);
    }
    fn replace(&mut self, at: usize, row: Object) {
        let Some(there) = self.rows.get_mut(at) else { return };
        if there.name() != row.name() {
            there.name().map(|name| self.names.remove(name));
            self.names.extend(row.name().map(|name| (name.into(), row.id)));
        }
        *there = row;
    }
    fn remove(&mut self, at: usize) -> Object {
        let row = self.rows.remove(at);
        row.name().map(|name| self.names.remove(name));
        row
    }
}

/// Everything that is configured.
#[derive(Clone, Debug)]
pub struct Document {
    tables: BTreeMap<&'static str, Arc<Table>>,
    /// Of menus; those of rows are theirs.
    remarks: Arc<remarks::OfMenus>,
    /// From the last check of any copy.
    memo: Arc<Mutex<Memo>>,
}
impl PartialEq for Document {
    fn eq(&self, other: &Self) -> bool {
        places().iter().all(|place| self.shares(other, place) || self.rows(place) == other.rows(place))
    }
}
impl std::default::Default for Document {
    fn default() -> Self {
        Self::new()
    }
}

impl Document {
    /// Nothing but what is built in.
    pub fn new() -> Self {
        let tables = places()
            .iter()
            .filter(|p| p.menu.shape.is_written())
            .map(|place| (place.path, Arc::new(built_in(place))));
        Self { tables: tables.collect(), remarks: Arc::default(), memo: Arc::default() }
    }
    /// The rows of a list in their order, or the one object of a group of settings.
    pub fn rows(&self, place: &Place) -> &[Object] {
        self.tables.get(place.path).map_or(&[], |table| &table.rows)
    }
    pub fn row(&self, place: &Place, id: Id) -> Option<&Object> {
        self.rows(place).iter().find(|row| row.id == id)
    }
    pub fn by_name(&self, place: &Place, name: &str) -> Option<&Object> {
        let id = self.tables.get(place.path)?.names.get(name)?;
        self.row(place, *id)
    }
    /// The rows of both are one and the same.
    fn shares(&self, other: &Self, place: &Place) -> bool {
        let (ours, theirs) = (self.tables.get(place.path), other.tables.get(place.path));
        ours.zip(theirs).is_some_and(|(ours, theirs)| Arc::ptr_eq(ours, theirs))
    }
    /// Whoever names the row `name` of `menu`: the menu, the row, the property.
    pub fn users(
        &self,
        menu: &str,
        name: &str,
    ) -> impl Iterator<Item = (&'static Place, &Object, &'static Field)> {
        let users = places().iter().filter(|place| self.tables.contains_key(place.path));
        let rows = users.flat_map(|place| self.rows(place).iter().map(move |row| (place, row)));
        rows.flat_map(move |(place, row)| {
            let cells = row
                .cells()
                .filter(|(field, text)| edit::refers(field.property.kind, menu) && edit::says(text, name));
            cells.map(move |(field, _)| (place, row, field)).collect::<Vec<_>>()
        })
    }
    /// How many rows are written.
    pub fn len(&self) -> usize {
        self.tables.values().map(|table| table.rows.iter().filter(|row| !row.built_in).count()).sum()
    }
    pub fn is_empty(&self) -> bool {
        *self == Self::new()
    }
}

fn built_in(place: &'static Place) -> Table {
    let rows = place.menu.built_in.iter().zip(1..).map(|(cells, id)| {
        let said = |field: &'static Field| {
            let (_, text) = cells.iter().find(|(name, _)| *name == field.name)?;
            Some((field, Zeroizing::new((*text).to_owned())))
        };
        Object {
            id: Id(id),
            built_in: true,
            cells: Arc::new(Cells::of(place.fields.iter().filter_map(said).collect())),
        }
    });
    let mut rows: Vec<_> = rows.collect();
    if !place.is_list() {
        rows.push(Object { id: Id(0), built_in: true, cells: Arc::default() });
    }
    let names = rows.iter().filter_map(|row| Some((row.name()?.into(), row.id))).collect();
    Table { next: rows.len() as u32 + 1, rows, names }
}

/// The built-in row of a menu as it is before anyone changes it.
fn original(place: &'static Place, id: Id) -> Option<Object> {
    built_in(place).rows.into_iter().find(|row| row.id == id)
}
/// The place of a path that is in the table; every path here is.
fn known(path: &str) -> Option<&'static Place> {
    place(path).filter(|place| place.menu.shape.is_written())
}
