//! The tree of nodes against the table of properties: typed rows, and a complaint for each thing that does
//! not fit. What depends on more than one value is left to `check`.
use crate::Secret;
use crate::complaint::Sink;
use crate::nearest;
use crate::schema::{Choice, Default, Kind, Menu, Property, ROOT, Shape, Support};
use crate::value;
use crate::yaml::{Body, Node, Spot};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

/// The rows of every menu, under the menu's path.
pub type Rows = HashMap<Arc<str>, Vec<Row>>;

/// A row of a list, or a group of settings, every property present.
#[derive(Debug)]
pub struct Row {
    menu: Arc<str>,
    index: Option<usize>,
    pub spot: Spot,
    properties: &'static [Property],
    cells: Vec<Cell>,
}
#[derive(Debug)]
pub struct Cell {
    pub spot: Spot,
    /// Not the default.
    pub written: bool,
    pub value: Value,
}
#[derive(Debug)]
pub enum Value {
    Unset,
    /// A complaint has been made.
    Bad,
    YesNo(bool),
    Text(String),
    Number(u64),
    /// `None`: the word that means none.
    Time(Option<Duration>),
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
    u64: Value::Number(v) => *v,
    Option<Duration>: Value::Time(v) => *v,
    &'a [(&'static str, Spot)]: Value::Words(v) => v,
    IpAddr: Value::Address(v) => *v,
    (IpAddr, u8): Value::InterfaceAddress(v) => *v,
    sa::Prefix: Value::Prefix(v) => *v,
    sa::PortRange: Value::Ports(v) => *v,
    Option<u8>: Value::Protocol(v) => *v,
    [u8; 6]: Value::Mac(v) => *v,
    &'a sa::Device: Value::Device(v) => v,
    &'a Secret: Value::Secret(v) => v,
    &'a Row: Value::Group(v) => v,
}

impl Row {
    pub fn cell(&self, name: &str) -> &Cell {
        static UNSET: Cell =
            Cell { spot: Spot { start: 0, end: 0, line: 0, column: 0 }, written: false, value: Value::Unset };
        let at = self.properties.iter().position(|p| p.name == name);
        debug_assert!(at.is_some(), "{}.{name} is not in the table", self.menu);
        at.and_then(|at| self.cells.get(at)).unwrap_or(&UNSET)
    }
    /// A value that is there because it is needed or has a default.
    pub fn get<'a, T: FromValue<'a>>(&'a self, name: &str) -> Result<T, Bad> {
        T::from_value(&self.cell(name).value).ok_or(Bad)
    }
    /// A value that may be left out.
    pub fn opt<'a, T: FromValue<'a>>(&'a self, name: &str) -> Result<Option<T>, Bad> {
        match &self.cell(name).value {
            Value::Unset => Ok(None),
            value => T::from_value(value).map(Some).ok_or(Bad),
        }
    }
    pub fn word(&self, name: &str) -> Result<&'static str, Bad> {
        match self.cell(name).value {
            Value::Word(word) => Ok(word),
            _ => Err(Bad),
        }
    }
    /// What others refer to it by.
    pub fn name(&self) -> Option<&str> {
        let (_, cell) = self.cells().find(|(property, _)| matches!(property.kind, Kind::Name))?;
        FromValue::from_value(&cell.value)
    }
    pub fn enabled(&self) -> bool {
        !self.cells().any(|(p, cell)| p.name == "disabled" && matches!(cell.value, Value::YesNo(true)))
    }
    pub fn cells(&self) -> impl Iterator<Item = (&'static Property, &Cell)> {
        self.properties.iter().zip(&self.cells)
    }
    pub fn path(&self) -> String {
        match self.index {
            Some(index) => format!("{}[{index}]", self.menu),
            None => self.menu.to_string(),
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
        (self.cell(name).spot, join(&self.path(), name))
    }
}

impl Row {
    /// A row in which nothing is written; what is needed is left for `set`.
    pub fn of_defaults(properties: &'static [Property], menu: &str, spot: Spot) -> Self {
        // A default is good by itself or refused as a choice; a needed value is set by the caller. Neither is a
        // fault of the file, so what is said about them goes nowhere.
        let mut nowhere = Sink::default();
        Walker { sink: &mut nowhere, rows: HashMap::new() }.row(None, spot, properties, &menu.into(), None)
    }
    pub fn set(&mut self, name: &str, value: Value) {
        let at = self.properties.iter().position(|p| p.name == name);
        if let Some(cell) = at.and_then(|at| self.cells.get_mut(at)) {
            cell.value = value;
        }
    }
}

fn join(path: &str, name: &str) -> String {
    if path.is_empty() { name.into() } else { format!("{path}.{name}") }
}

/// The whole file. Every menu has an entry, empty or not; settings have exactly one row.
pub fn walk(root: Option<&Node>, sink: &mut Sink) -> Rows {
    let mut walker = Walker { sink, rows: HashMap::new() };
    walker.folder(root, &ROOT, "");
    walker.rows
}

struct Walker<'s> {
    sink: &'s mut Sink,
    rows: Rows,
}

impl Walker<'_> {
    fn folder(&mut self, node: Option<&Node>, menu: &'static Menu, path: &str) {
        let (pairs, _) = self.pairs(node, path, menu.menus.iter().map(|m| m.name));
        for sub in menu.menus {
            let path = join(path, sub.name);
            let found = pairs.iter().find(|(key, _)| *key == sub.name).map(|(_, node)| *node);
            match sub.shape {
                _ if sub.later.is_some() => {
                    if let (Some(node), Some(what)) = (found, sub.later) {
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
            }
        }
    }

    fn list(&mut self, node: Option<&Node>, menu: &'static Menu, path: &str) {
        let path: Arc<str> = path.into();
        let mut rows = Vec::new();
        match node.map(|node| (&node.body, node.spot)) {
            None | Some((Body::Nothing, _)) => {}
            Some((Body::List(nodes), _)) => {
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
        let mut row = Row { menu: menu.clone(), index, spot, properties, cells: Vec::new() };
        let path = row.path();
        let (pairs, misspelt) = self.pairs(node, &path, properties.iter().map(|p| p.name));
        // A row is pointed at where it begins, not as a block of many lines.
        if let Some(node) = node {
            row.spot = Spot { end: node.spot.start, ..node.spot };
        }
        for property in properties {
            let at = join(&path, property.name);
            let cell = match pairs.iter().find(|(key, _)| *key == property.name) {
                Some((_, node)) => {
                    let value = self.written(property, node, at);
                    Cell { spot: node.spot, written: true, value }
                }
                // Said already under its wrong name; that it is missing is the same fault.
                None if misspelt.contains(&property.name) => {
                    Cell { spot: row.spot, written: true, value: Value::Bad }
                }
                None => Cell { spot: row.spot, written: false, value: self.left_out(property, row.spot, at) },
            };
            row.cells.push(cell);
        }
        row
    }

    /// The pairs of a map with keys that are known, each once; and those that were probably meant by others.
    fn pairs<'n, 'a>(
        &mut self,
        node: Option<&'n Node<'a>>,
        path: &str,
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
                self.sink.error(node.spot, path, said, "write lines of the form `property: value`");
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
                self.sink.error(key.spot, join(path, name), format!("there is no `{name}` here"), fix);
                continue;
            };
            if let Some((_, first)) = found.iter().find(|(k, _)| *k == name) {
                self.sink.secret(node.spot);
                let said =
                    format!("`{name}` is written a second time; the first is in line {}", first.spot.line);
                self.sink.error(key.spot, join(path, name), said, "keep one of them");
                continue;
            }
            found.push((name, node));
        }
        (found, misspelt)
    }

    fn left_out(&mut self, property: &Property, spot: Spot, path: String) -> Value {
        match property.default {
            Default::Unset => Value::Unset,
            Default::Needed => {
                let said = format!("`{}` is missing", property.name);
                self.sink.error(
                    spot,
                    path,
                    said,
                    format!("write `{}: {}`", property.name, example(property.kind)),
                );
                Value::Bad
            }
            Default::Is(text) => {
                let group = matches!(property.kind, Kind::Group(_));
                let node = Node { spot, body: if group { Body::Nothing } else { Body::Scalar(text.into()) } };
                match self.read(property, &node, &path) {
                    Ok(value) => value,
                    Err(Wrong { said, fix }) => {
                        let said = format!("left out, this is `{text}` as in RouterOS, and {said}");
                        let fix = fix.replacen("write ", &format!("write {}: ", property.name), 1);
                        self.sink.error(spot, path, said, fix);
                        Value::Bad
                    }
                }
            }
        }
    }

    fn written(&mut self, property: &'static Property, node: &Node, path: String) -> Value {
        if matches!(property.kind, Kind::Secret | Kind::Key) {
            self.sink.secret(node.spot);
        }
        let value = match self.read(property, node, &path) {
            Ok(value) => value,
            Err(Wrong { said, fix }) => {
                self.sink.error(node.spot, path, said, fix);
                return Value::Bad;
            }
        };
        let is_default =
            matches!((&node.body, property.default), (Body::Scalar(s), Default::Is(d)) if *s == d);
        match property.support {
            Support::Later(what) if !is_default => {
                let said = format!("this version does not have {what} yet");
                self.sink.error(node.spot, path, said, format!("leave `{}` out", property.name));
                Value::Bad
            }
            Support::NoEffect(why) if !is_default => {
                let said = format!("this has no effect: {why}");
                self.sink.warning(node.spot, path, said, format!("leave `{}` out", property.name));
                value
            }
            _ => value,
        }
    }

    fn read(&mut self, property: &Property, node: &Node, path: &str) -> Result<Value, Wrong> {
        let kind = property.kind;
        match (&node.body, kind) {
            (_, Kind::Group(properties)) => {
                return Ok(Value::Group(Box::new(self.row(
                    Some(node),
                    node.spot,
                    properties,
                    &path.into(),
                    None,
                ))));
            }
            (Body::List(nodes), Kind::Some(choices)) => {
                let mut words = Vec::new();
                for (index, node) in nodes.iter().enumerate() {
                    let word = match &node.body {
                        Body::Scalar(text) => pick(text, choices),
                        body => Err(Wrong::kind(body, kind)),
                    };
                    match word {
                        Ok(word) => words.push((word, node.spot)),
                        Err(Wrong { said, fix }) => {
                            self.sink.error(node.spot, format!("{path}[{index}]"), said, fix)
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
            _ => {}
        }
        match &node.body {
            Body::Scalar(text) => scalar(kind, text, node.spot),
            // `comment:` with nothing behind it is an empty comment.
            Body::Nothing if matches!(kind, Kind::Text) => Ok(Value::Text(String::new())),
            body => Err(Wrong::kind(body, kind)),
        }
    }
}

struct Wrong {
    said: String,
    fix: String,
}
impl From<String> for Wrong {
    /// The readers of `value` say both in one sentence.
    fn from(said: String) -> Self {
        let (said, fix) = said.split_once("; ").unwrap_or((&said, ""));
        Self { said: said.into(), fix: fix.into() }
    }
}
impl Wrong {
    fn kind(body: &Body, kind: Kind) -> Self {
        Self {
            said: format!("this is {}, not {}", body.what(), describe(kind)),
            fix: format!("write it like {}", example(kind)),
        }
    }
}

fn pick(text: &str, choices: &'static [Choice]) -> Result<&'static str, Wrong> {
    let all = || choices.iter().filter(|c| c.later.is_none()).map(|c| c.name);
    let list = || all().collect::<Vec<_>>().join(", ");
    match choices.iter().find(|c| c.name == text) {
        Some(Choice { name, later: None }) => Ok(name),
        Some(Choice { later: Some(what), .. }) => Err(Wrong {
            said: format!("`{text}` needs {what}, which this version does not have"),
            fix: format!("write {}", if all().count() == 1 { list() } else { format!("one of: {}", list()) }),
        }),
        None => Err(Wrong {
            said: format!("`{text}` is not one of: {}", list()),
            fix: nearest(text, choices.iter().map(|c| c.name))
                .map(|near| format!("did you mean `{near}`?"))
                .unwrap_or_default(),
        }),
    }
}
fn distinct(words: Vec<(&'static str, Spot)>) -> Result<Value, Wrong> {
    if words.is_empty() {
        return Err(Wrong { said: "the list is empty".into(), fix: "write at least one".into() });
    }
    for (at, (word, _)) in words.iter().enumerate() {
        if words.iter().take(at).any(|(w, _)| w == word) {
            return Err(Wrong { said: format!("`{word}` is in the list twice"), fix: "keep one".into() });
        }
    }
    Ok(Value::Words(words))
}
fn cpu_list(cpus: Vec<u16>) -> Result<Value, Wrong> {
    if cpus.is_empty() {
        return Err(Wrong { said: "the list is empty".into(), fix: "write at least one CPU".into() });
    }
    match cpus.iter().enumerate().find(|(at, cpu)| cpus.iter().take(*at).any(|c| c == *cpu)) {
        Some((_, cpu)) => {
            Err(Wrong { said: format!("CPU {cpu} is in the list twice"), fix: "keep one".into() })
        }
        None => Ok(Value::Cpus(cpus)),
    }
}

fn time(text: &str, min: u64, max: u64) -> Result<Value, Wrong> {
    let (low, high) = (Duration::from_micros(min), Duration::from_micros(max));
    let time = value::duration(text)?;
    if time < low || time > high {
        let (low, high) = (value::show_duration(low), value::show_duration(high));
        return Err(Wrong { said: format!("`{text}` is not between {low} and {high}"), fix: String::new() });
    }
    Ok(Value::Time(Some(time)))
}

fn scalar(kind: Kind, text: &str, spot: Spot) -> Result<Value, Wrong> {
    Ok(match kind {
        Kind::YesNo => Value::YesNo(value::yes_no(text)?),
        Kind::Text | Kind::Tap | Kind::MyId | Kind::RemoteId | Kind::Gateway => Value::Text(text.into()),
        Kind::Name => Value::Text(value::name(text)?),
        Kind::Reference(_) => Value::Text(text.into()),
        Kind::Path if text.starts_with('/') && !text.contains('\0') => Value::Text(text.into()),
        Kind::Path => {
            return Err(Wrong {
                said: format!("`{text}` is not an absolute path"),
                fix: "begin it with /".into(),
            });
        }
        Kind::Integer { min, max } => Value::Number(value::number(text, min, max)?),
        Kind::Size { min, max } => match value::size(text)? {
            n if n < min || n > max => {
                let (min, max) = (value::show_size(min), value::show_size(max));
                return Err(Wrong {
                    said: format!("`{text}` is not between {min} and {max}"),
                    fix: String::new(),
                });
            }
            n => Value::Number(n),
        },
        Kind::Time { min, max } => time(text, min, max)?,
        Kind::TimeOr { word, .. } if text == word => Value::Time(None),
        Kind::TimeOr { min, max, .. } => time(text, min, max)?,
        Kind::One(choices) => Value::Word(pick(text, choices)?),
        Kind::Some(choices) => {
            let word = |word: &str| pick(word.trim(), choices).map(|word| (word, spot));
            distinct(text.split(',').map(word).collect::<Result<_, _>>()?)?
        }
        Kind::Address => Value::Address(value::address(text)?),
        Kind::InterfaceAddress => Value::InterfaceAddress(value::interface_address(text)?),
        Kind::Prefix => Value::Prefix(value::prefix(text)?),
        Kind::Ports => Value::Ports(value::ports(text)?),
        Kind::Protocol => Value::Protocol(value::protocol(text)?),
        Kind::Mac => Value::Mac(value::mac(text)?),
        Kind::Device => {
            Value::Device(Box::new(text.parse().map_err(|e: sa::DeviceError| Wrong::from(e.to_string()))?))
        }
        Kind::Workers if text.contains(',') => {
            let cpu = |cpu: &str| value::number(cpu.trim(), 0, 1023).map(|n| n as u16);
            cpu_list(text.split(',').map(cpu).collect::<Result<_, _>>()?)?
        }
        Kind::Workers => Value::Count(value::number(text, 1, 128)? as u16),
        Kind::Secret => Value::Secret(secret(text)?),
        Kind::Key => Value::Secret(Secret::new(value::hex(text)?)),
        Kind::Group(_) => {
            return Err(Wrong {
                said: "here belongs a group of properties".into(),
                fix: "write them on lines of their own".into(),
            });
        }
    })
}

/// RouterOS: text that starts with `0x` is hexadecimal.
fn secret(text: &str) -> Result<Secret, Wrong> {
    let bytes = match text.strip_prefix("0x") {
        Some(hex) => value::hex(hex).map_err(|said| Wrong {
            said: format!("after `0x`, {said}"),
            fix: "begin it differently if it is text".into(),
        })?,
        None => text.as_bytes().to_vec(),
    };
    match bytes.len() {
        0 => Err(Wrong {
            said: "the secret is empty".into(),
            fix: "write at least 16 random characters".into(),
        }),
        1..=1024 => Ok(Secret::new(bytes)),
        _ => Err(Wrong { said: "the secret is longer than 1024 bytes".into(), fix: String::new() }),
    }
}

/// What a value is, in words for the manual and for complaints.
pub fn describe(kind: Kind) -> String {
    match kind {
        Kind::YesNo => "yes or no".into(),
        Kind::Text => "text".into(),
        Kind::Name => "a name".into(),
        Kind::Integer { min, max } => format!("a number from {min} to {max}"),
        Kind::Size { min, max } => {
            format!("a size from {} to {}", value::show_size(min), value::show_size(max))
        }
        Kind::Time { min, max } => format!("a duration from {} to {}", micros(min), micros(max)),
        Kind::TimeOr { word, min, max } => {
            format!("a duration from {} to {}, or {word}", micros(min), micros(max))
        }
        Kind::One(choices) => format!("one of: {}", names(choices)),
        Kind::Some(choices) => format!("a list of: {}", names(choices)),
        Kind::Address => "an address".into(),
        Kind::InterfaceAddress => "an address with its network's length".into(),
        Kind::Prefix => "an address or network".into(),
        Kind::Gateway => "an address, address%interface, or interface".into(),
        Kind::Ports => "`any`, a port, or a range of ports".into(),
        Kind::Protocol => "`all`, or an IP protocol".into(),
        Kind::Mac => "a MAC address".into(),
        Kind::Reference(menu) => format!("a name from `{menu}`"),
        Kind::Device => "a device".into(),
        Kind::Workers => "a number of CPUs, or a list of them".into(),
        Kind::Path => "an absolute path".into(),
        Kind::Tap => "`auto`, `none`, or the name of a TAP interface".into(),
        Kind::MyId => "an identity".into(),
        Kind::RemoteId => "an identity or `ignore`".into(),
        Kind::Secret => "a secret".into(),
        Kind::Key => "hexadecimal digits".into(),
        Kind::Group(_) => "a group of properties".into(),
    }
}
fn micros(micros: u64) -> String {
    value::show_duration(Duration::from_micros(micros))
}
fn names(choices: &[Choice]) -> String {
    choices.iter().filter(|c| c.later.is_none()).map(|c| c.name).collect::<Vec<_>>().join(", ")
}
fn example(kind: Kind) -> String {
    match kind {
        Kind::YesNo => "yes".into(),
        Kind::Text | Kind::Name | Kind::Reference(_) => "NAME".into(),
        Kind::Integer { min, .. } => min.to_string(),
        Kind::Size { .. } => "256M".into(),
        Kind::Time { .. } | Kind::TimeOr { .. } => "30m".into(),
        Kind::One(choices) | Kind::Some(choices) => {
            choices.first().map(|c| c.name.to_owned()).unwrap_or_default()
        }
        Kind::Address | Kind::Gateway => "192.0.2.1".into(),
        Kind::InterfaceAddress => "192.0.2.1/24".into(),
        Kind::Prefix => "192.0.2.0/24".into(),
        Kind::Ports => "any".into(),
        Kind::Protocol => "tcp".into(),
        Kind::Mac => "02:00:00:00:00:01".into(),
        Kind::Device => "af-packet:eth1".into(),
        Kind::Workers => "[1, 2]".into(),
        Kind::Path => "/run/espway".into(),
        Kind::Tap => "auto".into(),
        Kind::MyId | Kind::RemoteId => "fqdn:gw.example".into(),
        Kind::Secret => "\"...\"".into(),
        Kind::Key => "0x00112233...".into(),
        Kind::Group(_) => "{property: value}".into(),
    }
}
