//! The tree of nodes against the table of properties: typed rows, and a complaint for each thing that does
//! not fit. What depends on more than one value is left to `check`.
mod scalar;

use crate::Secret;
use crate::complaint::Sink;
use crate::nearest;
use crate::schema::{Default, Kind, Menu, Property, ROOT, Shape, Support, example};
use crate::value;
use crate::yaml::{Body, Node, Spot};
use scalar::{Later, cpu_list, distinct, parse, pick};
pub use scalar::{Wrong, canonical, show};
use std::any::Any;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Rows of all menus together; 100 000 tunnels have 300 000.
const MAX_ROWS: usize = 1_000_000;

/// The rows of every menu, under the menu's path.
pub type Rows = HashMap<Arc<str>, Vec<Row>>;

/// A row of a list, or a group of settings.
#[derive(Debug)]
pub struct Row {
    menu: Arc<str>,
    index: Option<usize>,
    pub spot: Spot,
    defaults: Arc<Defaults>,
    /// What is written, and what was meant to be.
    cells: Arc<Read>,
}
/// The cells of a row. Rows of a document keep them from one check to the next, with what was made of them.
#[derive(Debug, std::default::Default)]
pub struct Read {
    cells: Vec<Cell>,
    made: Mutex<Option<Arc<dyn Any + Send + Sync>>>,
}
impl Read {
    fn of(cells: Vec<Cell>) -> Arc<Self> {
        Arc::new(Self { cells, made: Mutex::default() })
    }
}
#[derive(Debug)]
struct Cell {
    property: &'static Property,
    spot: Spot,
    value: Value,
}
/// What all rows of a menu have in common: a file of many short rows must not cost a value for each property.
#[derive(Debug)]
struct Defaults {
    properties: &'static [Property],
    values: Vec<Value>,
    /// What is wrong with leaving a property out, for each that must not be.
    faults: Vec<(&'static str, Wrong)>,
}
#[derive(Debug)]
pub enum Value {
    Unset,
    /// A complaint has been made.
    Bad,
    YesNo(bool),
    Text(String),
    Number(u64),
    /// Bytes.
    Size(u64),
    Time(Duration),
    /// The word that stands for no duration.
    Never(&'static str),
    Word(&'static str),
    Words(Vec<(&'static str, Spot)>),
    Address(IpAddr),
    InterfaceAddress((IpAddr, u8)),
    Prefix(sa::Prefix),
    Ports(sa::PortRange),
    Protocol(Option<u8>),
    Mac([u8; 6]),
    Device(Box<sa::Device>),
    Count(u16),
    Cpus(Vec<u16>),
    Secret(Secret),
    /// A secret written in hexadecimal.
    Key(Secret),
    Group(Box<Row>),
}

/// A complaint has been made about what was asked for.
#[derive(Debug)]
pub struct Bad;

pub trait FromValue<'a>: Sized {
    fn from_value(value: &'a Value) -> Option<Self>;
}
macro_rules! from_value {
    ($($type:ty: $pattern:pat => $out:expr),* $(,)?) => { $(
        impl<'a> FromValue<'a> for $type {
            fn from_value(value: &'a Value) -> Option<Self> {
                match value { $pattern => Some($out), _ => None }
            }
        }
    )* };
}
from_value! {
    bool: Value::YesNo(v) => *v,
    &'a str: Value::Text(v) => v,

    &'a [(&'static str, Spot)]: Value::Words(v) => v,
    IpAddr: Value::Address(v) => *v,
    (IpAddr, u8): Value::InterfaceAddress(v) => *v,
    sa::Prefix: Value::Prefix(v) => *v,
    sa::PortRange: Value::Ports(v) => *v,
    Option<u8>: Value::Protocol(v) => *v,
    [u8; 6]: Value::Mac(v) => *v,
    &'a sa::Device: Value::Device(v) => v,
    &'a Secret: Value::Secret(v) | Value::Key(v) => v,
    &'a Row: Value::Group(v) => v,
}

impl<'a> FromValue<'a> for u64 {
    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::Number(v) | Value::Size(v) => Some(*v),
            _ => None,
        }
    }
}
impl<'a> FromValue<'a> for Option<Duration> {
    fn from_value(value: &'a Value) -> Option<Self> {
        match value {
            Value::Time(v) => Some(Some(*v)),
            Value::Never(_) => Some(None),
            _ => None,
        }
    }
}

impl Row {
    pub fn value(&self, name: &str) -> &Value {
        if let Some(cell) = self.cell(name) {
            return &cell.value;
        }
        let at = self.defaults.properties.iter().position(|p| p.name == name);
        debug_assert!(at.is_some(), "{}.{name} is not in the table", self.menu);
        at.and_then(|at| self.defaults.values.get(at)).unwrap_or(&Value::Unset)
    }
    fn cell(&self, name: &str) -> Option<&Cell> {
        self.cells.cells.iter().find(|cell| cell.property.name == name)
    }
    pub fn written(&self, name: &str) -> bool {
        self.cell(name).is_some()
    }
    /// A value that is there because it is needed or has a default.
    pub fn get<'a, T: FromValue<'a>>(&'a self, name: &str) -> Result<T, Bad> {
        T::from_value(self.value(name)).ok_or(Bad)
    }
    /// A value that may be left out.
    pub fn opt<'a, T: FromValue<'a>>(&'a self, name: &str) -> Result<Option<T>, Bad> {
        match self.value(name) {
            Value::Unset => Ok(None),
            value => T::from_value(value).map(Some).ok_or(Bad),
        }
    }
    pub fn word(&self, name: &str) -> Result<&'static str, Bad> {
        match self.value(name) {
            Value::Word(word) => Ok(word),
            _ => Err(Bad),
        }
    }
    /// What others refer to it by.
    pub fn name(&self) -> Option<&str> {
        let cell = self.cells.cells.iter().find(|cell| matches!(cell.property.kind, Kind::Name))?;
        FromValue::from_value(&cell.value)
    }
    /// What depends on the row alone and gives no cause for complaint is made once.
    pub fn made<T: Clone + Send + Sync + 'static>(
        &self,
        sink: &mut Sink,
        make: impl FnOnce(&Self, &mut Sink) -> Result<T, Bad>,
    ) -> Result<T, Bad> {
        if let Some(made) = self.kept::<T>() {
            return Ok(made.as_ref().clone());
        }
        let before = sink.count();
        let made = make(self, sink)?;
        if sink.count() == before {
            self.keep(Arc::new(made.clone()));
        }
        Ok(made)
    }
    /// What was left here by the last check.
    pub fn kept<T: Send + Sync + 'static>(&self) -> Option<Arc<T>> {
        self.slot().clone()?.downcast().ok()
    }
    pub fn keep<T: Send + Sync + 'static>(&self, made: Arc<T>) {
        *self.slot() = Some(made);
    }
    fn slot(&self) -> MutexGuard<'_, Option<Arc<dyn Any + Send + Sync>>> {
        self.cells.made.lock().unwrap_or_else(PoisonError::into_inner)
    }
    pub fn may_have_name(&self) -> bool {
        self.defaults.properties.iter().any(|property| matches!(property.kind, Kind::Name))
    }
    pub fn enabled(&self) -> bool {
        !matches!(self.cell("disabled"), Some(Cell { value: Value::YesNo(true), .. }))
    }
    /// What is written.
    pub fn cells(&self) -> impl Iterator<Item = (&'static Property, &Value)> {
        self.cells.cells.iter().map(|cell| (cell.property, &cell.value))
    }
    pub fn path(&self) -> String {
        match self.index {
            Some(index) => format!("{}[{index}]", self.menu),
            None => self.menu.to_string(),
        }
    }
    /// The same for people, with the line if it is in a file.
    pub fn place(&self) -> String {
        match self.spot.line {
            0 => self.path(),
            line => format!("{} in line {line}", self.path()),
        }
    }
    /// Complains about one property, or with `""` about the row.
    pub fn error(&self, sink: &mut Sink, name: &str, said: impl Into<String>, fix: impl Into<String>) -> Bad {
        let (spot, path) = self.at(name);
        sink.error(spot, path, said, fix);
        Bad
    }
    pub fn warning(&self, sink: &mut Sink, name: &str, said: impl Into<String>, fix: impl Into<String>) {
        let (spot, path) = self.at(name);
        sink.warning(spot, path, said, fix);
    }
    fn at(&self, name: &str) -> (Spot, String) {
        if name.is_empty() {
            return (self.spot, self.path());
        }
        (self.cell(name).map_or(self.spot, |cell| cell.spot), join(&self.path(), name))
    }
}

impl Row {
    /// A row in which only this name is written. For menus whose other properties may be left out.
    pub fn built_in(properties: &'static [Property], menu: &str, name: &str) -> Self {
        let mut nowhere = Sink::default();
        let mut row = Walker::new(&mut nowhere).row(None, Spot::default(), properties, &menu.into(), None);
        if let Some(property) = properties.iter().find(|p| matches!(p.kind, Kind::Name)) {
            row.cells = Read::of(vec![Cell { property, spot: row.spot, value: Value::Text(name.into()) }]);
        }
        row
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.into() } else { format!("{path}.{name}") }
}

/// The whole file. Every menu has an entry, empty or not; settings have exactly one row.
pub fn walk(root: Option<&Node>, sink: &mut Sink) -> Rows {
    let mut walker = Walker::new(sink);
    walker.folder(root, &ROOT, "");
    walker.rows
}
/// The same for keeping, not for running: what this version does not have yet is taken as it stands.
pub fn walk_to_keep(root: Option<&Node>, sink: &mut Sink) -> Rows {
    let mut walker = Walker { to_keep: true, ..Walker::new(sink) };
    walker.folder(root, &ROOT, "");
    walker.rows
}
struct Walker<'s> {
    sink: &'s mut Sink,
    to_keep: bool,
    rows: Rows,
    /// How many more rows the file may have.
    room: usize,
    /// By the address of the properties, which are static.
    defaults: HashMap<*const Property, Arc<Defaults>>,
}

impl<'s> Walker<'s> {
    fn new(sink: &'s mut Sink) -> Self {
        Self { sink, to_keep: false, rows: HashMap::new(), room: MAX_ROWS, defaults: HashMap::new() }
    }

    fn folder(&mut self, node: Option<&Node>, menu: &'static Menu, path: &str) {
        let (pairs, _) = self.pairs(node, || path.to_owned(), menu.menus.iter().map(|m| m.name));
        for sub in menu.menus {
            let path = join(path, sub.name);
            let found = pairs.iter().find(|(key, _)| *key == sub.name).map(|(_, node)| *node);
            match sub.shape {
                _ if sub.later.is_some() && !self.to_keep => {
                    if let (Some(node), Some(what)) = (found, sub.later)
                        && !node.body.is_empty()
                    {
                        self.sink.secret(node.spot);
                        let said = format!("this version does not have {what} yet");
                        self.sink.error(node.spot, path, said, format!("leave `{}` out", sub.name));
                    }
                }
                Shape::Folder => self.folder(found, sub, &path),
                Shape::Settings => {
                    let row = self.row(found, Spot::default(), sub.properties, &path.as_str().into(), None);
                    self.rows.insert(path.into(), vec![row]);
                }
                Shape::List => self.list(found, sub, &path),
                Shape::Live | Shape::Figures => {
                    if let Some(node) = found {
                        let said = format!("`{}` is what the gateway shows; nothing is set there", sub.name);
                        self.sink.error(node.spot, path, said, "leave it out");
                    }
                }
            }
        }
    }

    fn list(&mut self, node: Option<&Node>, menu: &'static Menu, path: &str) {
        let path: Arc<str> = path.into();
        let mut rows = Vec::new();
        match node.map(|node| (&node.body, node.spot)) {
            None | Some((Body::Nothing, _)) => {}
            Some((Body::List(nodes), spot)) if nodes.len() > self.room => {
                let said = format!("the file has more than {MAX_ROWS} rows");
                self.sink.error(spot, path.to_string(), said, "write a shorter list");
            }
            Some((Body::List(nodes), _)) => {
                self.room -= nodes.len();
                for (index, node) in nodes.iter().enumerate() {
                    rows.push(self.row(Some(node), node.spot, menu.properties, &path, Some(index)));
                }
            }
            Some((body, spot)) => {
                self.sink.secret(spot);
                let said = format!("`{}` is a list, this is {}", menu.name, body.what());
                self.sink.error(spot, path.to_string(), said, "begin each row with `- `");
            }
        }
        self.rows.insert(path, rows);
    }

    fn row(
        &mut self,
        node: Option<&Node>,
        spot: Spot,
        properties: &'static [Property],
        menu: &Arc<str>,
        index: Option<usize>,
    ) -> Row {
        let defaults = self.defaults(properties, menu);
        // A row is pointed at where it begins, not as a block of many lines.
        let spot = node.map_or(spot, |node| Spot { end: node.spot.start, ..node.spot });
        let mut row = Row { menu: menu.clone(), index, spot, defaults, cells: Arc::default() };
        match node.map(|node| &node.body) {
            Some(Body::Row(cells)) if !self.to_keep => match cells.known() {
                Some(known) => row.cells = Arc::clone(known),
                None => {
                    let before = self.sink.count();
                    self.fill(&mut row, Some(&cells.node()), properties);
                    // A group knows the number of its row.
                    let group = |cell: &Cell| matches!(cell.value, Value::Group(_));
                    if self.sink.count() == before && !row.cells.cells.iter().any(group) {
                        cells.keep(&row.cells);
                    }
                }
            },
            _ => self.fill(&mut row, node, properties),
        }
        row
    }
    /// The properties of one row.
    fn fill(&mut self, row: &mut Row, node: Option<&Node>, properties: &'static [Property]) {
        let (pairs, misspelt) = self.pairs(node, || row.path(), properties.iter().map(|p| p.name));
        let later = match () {
            _ if self.to_keep => Later::Taken,
            // It takes part in nothing, so nothing is missing for it.
            _ if pairs.iter().any(|(name, node)| *name == "disabled" && node.body.is_yes()) => Later::Warned,
            _ => Later::Refused,
        };
        let mut cells = Vec::with_capacity(pairs.len());
        for (name, node) in pairs {
            let Some(property) = properties.iter().find(|p| p.name == name) else { continue };
            let value = self.written(property, node, row, later);
            cells.push(Cell { property, spot: node.spot, value });
        }
        // Said already under its wrong name; that it is missing is the same fault.
        let meant = properties.iter().filter(|p| misspelt.contains(&p.name));
        let meant: Vec<_> = meant.filter(|p| !cells.iter().any(|c| c.property.name == p.name)).collect();
        let spot = row.spot;
        cells.extend(meant.into_iter().map(|property| Cell { property, spot, value: Value::Bad }));
        row.cells = Read::of(cells);
        for (name, Wrong { said, fix, later: missing }) in &row.defaults.faults {
            if !row.written(name) && (!missing || later == Later::Refused) {
                row.error(self.sink, name, said, fix);
            }
        }
    }

    fn defaults(&mut self, properties: &'static [Property], menu: &Arc<str>) -> Arc<Defaults> {
        if let Some(defaults) = self.defaults.get(&properties.as_ptr()) {
            return defaults.clone();
        }
        let (mut values, mut faults) = (Vec::new(), Vec::new());
        for property in properties {
            values.push(self.left_out(property, menu).unwrap_or_else(|wrong| {
                faults.push((property.name, wrong));
                Value::Bad
            }));
        }
        let defaults = Arc::new(Defaults { properties, values, faults });
        self.defaults.insert(properties.as_ptr(), defaults.clone());
        defaults
    }

    fn left_out(&mut self, property: &'static Property, menu: &Arc<str>) -> Result<Value, Wrong> {
        let name = property.name;
        match (property.default, property.kind) {
            (Default::Unset, _) => Ok(Value::Unset),
            (Default::Needed, kind) => {
                let fix = format!("write `{name}: {}`", example(kind));
                Err(Wrong::new(format!("`{name}` is missing"), fix))
            }
            (Default::Is(_), Kind::Group(inner)) => {
                let path = join(menu, name).into();
                Ok(Value::Group(Box::new(self.row(None, Spot::default(), inner, &path, None))))
            }
            (Default::Is(text), kind) => {
                parse(kind, text, Spot::default(), Later::Refused).map_err(|Wrong { said, fix, later }| {
                    Wrong {
                        said: format!("left out, this is `{text}` as in RouterOS, and {said}"),
                        fix: fix.replacen("write ", &format!("write {name}: "), 1),
                        later,
                    }
                })
            }
        }
    }

    /// The pairs of a map with keys that are known, each once; and those that were probably meant by others.
    fn pairs<'n, 'a>(
        &mut self,
        node: Option<&'n Node<'a>>,
        path: impl Fn() -> String,
        known: impl Iterator<Item = &'static str> + Clone,
    ) -> (Vec<(&'static str, &'n Node<'a>)>, Vec<&'static str>) {
        let mut found: Vec<(&'static str, &Node)> = Vec::new();
        let mut misspelt = Vec::new();
        let Some(node) = node else { return (found, misspelt) };
        let pairs = match &node.body {
            Body::Nothing => return (found, misspelt),
            Body::Map(pairs) => pairs,
            body => {
                self.sink.secret(node.spot);
                let said = format!("here belongs a group of properties, this is {}", body.what());
                self.sink.error(node.spot, path(), said, "write lines of the form `property: value`");
                return (found, misspelt);
            }
        };
        for (key, node) in pairs {
            let name = match &key.body {
                Body::Scalar(name) => &**name,
                _ => "",
            };
            let Some(name) = known.clone().find(|k| *k == name) else {
                self.sink.secret(node.spot); // it may be a misspelt `secret`
                let fix = match nearest(name, known.clone()) {
                    Some(near) => {
                        misspelt.push(near);
                        format!("did you mean `{near}`?")
                    }
                    None => format!("known here: {}", known.clone().collect::<Vec<_>>().join(", ")),
                };
                self.sink.error(key.spot, join(&path(), name), format!("there is no `{name}` here"), fix);
                continue;
            };
            if let Some((_, first)) = found.iter().find(|(k, _)| *k == name) {
                self.sink.secret(node.spot);
                let said =
                    format!("`{name}` is written a second time; the first is in line {}", first.spot.line);
                self.sink.error(key.spot, join(&path(), name), said, "keep one of them");
                continue;
            }
            found.push((name, node));
        }
        (found, misspelt)
    }

    fn written(&mut self, property: &'static Property, node: &Node, row: &Row, later: Later) -> Value {
        let path = || join(&row.path(), property.name);
        if matches!(property.kind, Kind::Secret | Kind::Key) {
            self.sink.secret(node.spot);
        }
        let mut read = self.read(property, node, &path, later);
        if let (Err(Wrong { said, fix, later: true }), Later::Warned) = (&read, later) {
            self.sink.warning(node.spot, path(), said.as_str(), fix.as_str());
            read = self.read(property, node, &path, Later::Taken);
        }
        let value = match read {
            Ok(value) => value,
            Err(Wrong { said, fix, .. }) => {
                self.sink.error(node.spot, path(), said, fix);
                return Value::Bad;
            }
        };
        let is_default =
            matches!((&node.body, property.default), (Body::Scalar(s), Default::Is(d)) if *s == d);
        match property.support {
            Support::Later(what) if !is_default && later != Later::Taken => {
                let said = format!("this version does not have {what} yet");
                let fix = format!("leave `{}` out", property.name);
                if later == Later::Warned {
                    self.sink.warning(node.spot, path(), said, fix);
                    return value;
                }
                self.sink.error(node.spot, path(), said, fix);
                Value::Bad
            }
            Support::NoEffect(why) if !is_default && !self.to_keep => {
                let said = format!("this has no effect: {why}");
                self.sink.warning(node.spot, path(), said, format!("leave `{}` out", property.name));
                value
            }
            _ => value,
        }
    }

    fn read(
        &mut self,
        property: &Property,
        node: &Node,
        path: &dyn Fn() -> String,
        later: Later,
    ) -> Result<Value, Wrong> {
        let kind = property.kind;
        match (&node.body, kind) {
            (_, Kind::Group(properties)) => {
                return Ok(Value::Group(Box::new(self.row(
                    Some(node),
                    node.spot,
                    properties,
                    &path().into(),
                    None,
                ))));
            }
            (Body::List(nodes), Kind::Some(choices)) => {
                let mut words = Vec::new();
                for (index, node) in nodes.iter().enumerate() {
                    let word = match &node.body {
                        Body::Scalar(text) => pick(text, choices, later),
                        body => Err(Wrong::kind(body, kind)),
                    };
                    match word {
                        Ok(word) => words.push((word, node.spot)),
                        Err(wrong @ Wrong { later: true, .. }) if later == Later::Warned => {
                            return Err(wrong);
                        }
                        Err(Wrong { said, fix, .. }) => {
                            self.sink.error(node.spot, format!("{}[{index}]", path()), said, fix)
                        }
                    }
                }
                return if words.len() == nodes.len() { distinct(words) } else { Ok(Value::Bad) };
            }
            (Body::List(nodes), Kind::Workers) => {
                let cpu = |node: &Node| match &node.body {
                    Body::Scalar(text) => value::number(text, 0, 1023).map(|n| n as u16).map_err(Wrong::from),
                    body => Err(Wrong::kind(body, kind)),
                };
                let cpus: Vec<u16> = nodes.iter().map(cpu).collect::<Result<_, _>>()?;
                return cpu_list(cpus);
            }
            (Body::List(nodes), Kind::List(each)) => {
                let one = |node: &Node| match &node.body {
                    Body::Scalar(text) if !text.contains(',') => parse(*each, text, node.spot, later),
                    Body::Scalar(_) => Err(Wrong::new("there is a comma in it", "write each on its own")),
                    body => Err(Wrong::kind(body, *each)),
                };
                let shown = nodes.iter().map(|node| Ok(show(&one(node)?).unwrap_or_default().to_string()));
                return Ok(Value::Text(shown.collect::<Result<Vec<_>, Wrong>>()?.join(",")));
            }
            _ => {}
        }
        match &node.body {
            Body::Scalar(text) => parse(kind, text, node.spot, later),
            // `comment:` with nothing behind it is an empty comment.
            Body::Nothing if matches!(kind, Kind::Text | Kind::List(_)) => Ok(Value::Text(String::new())),
            body => Err(Wrong::kind(body, kind)),
        }
    }
}
