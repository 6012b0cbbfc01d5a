//! To and from the tree of nodes that checking walks.
use super::edit::assign;
use super::{Cells, Document, Id, Object, Table, known};
use crate::complaint::{Complaints, Sink};
use crate::schema::{Kind, Menu, Place, ROOT, Shape, places};
use crate::walk::{self, Row, Rows, Value};
use crate::yaml::{Body, Node, Spot};
use crate::{Checked, check};
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

impl Document {
    /// Whether it can be run, and what it means then. Complaints name rows as the file counts them.
    pub fn check(&self) -> Result<Checked, Complaints> {
        let mut sink = Sink::default();
        let tree = self.tree();
        let rows = walk::walk(Some(&tree), &mut sink);
        let mut memo = self.memo.lock().unwrap_or_else(|dirty| {
            // Whoever panicked with it may have left it half done.
            let mut memo = dirty.into_inner();
            *memo = check::Memo::default();
            memo
        });
        let config = check::build_again(&rows, &mut memo, &mut sink);
        drop(memo);
        let complaints = sink.finish("", true);
        match config {
            Some(config) if complaints.errors == 0 => Ok(Checked { config, warnings: complaints }),
            _ => Err(complaints),
        }
    }

    /// As the file has it: settings and rows, without what is built in and unchanged.
    pub(super) fn tree(&self) -> Node<'_> {
        folder(self, &ROOT, "").unwrap_or_else(|| node(Body::Nothing))
    }

    /// With the remarks of the text that the tree was read from.
    pub(super) fn from_rows(rows: &Rows, text: &str, tree: Option<&Node>) -> Self {
        let mut document = Self::new();
        let mut ids = BTreeMap::new();
        for place in places() {
            let Some(list) = rows.get(place.path) else { continue };
            let Some(table) = document.tables.get_mut(place.path) else { continue };
            let table = Arc::make_mut(table);
            let taken: Vec<Id> = list.iter().map(|row| take(place, row, table)).collect();
            ids.insert(place.path, taken);
        }
        document.take_remarks(text, tree, &ids);
        document
    }

    /// The row of a path in a complaint, `ip.ipsec.peer[2].profile`: its menu, the row, the property.
    pub fn at_path(&self, path: &str) -> Option<(&'static Place, &Object, Option<String>)> {
        if let Some((menu, rest)) = path.split_once('[') {
            let (number, rest) = rest.split_once(']')?;
            let place = known(menu)?;
            let row = written(self, place).nth(number.parse().ok()?)?;
            return Some((place, row, rest.strip_prefix('.').map(ToOwned::to_owned)));
        }
        let fits = |place: &&Place| {
            !place.is_list() && path.starts_with(place.path) && place.menu.shape.is_written()
        };
        let place = places().iter().find(fits)?;
        let rest = path.strip_prefix(place.path)?.strip_prefix('.').map(ToOwned::to_owned);
        Some((place, self.rows(place).first()?, rest))
    }
}

fn node(body: Body<'_>) -> Node<'_> {
    Node { spot: Spot::default(), body }
}
fn word(text: &str) -> Node<'_> {
    node(Body::Scalar(Cow::Borrowed(text)))
}

fn folder<'a>(document: &'a Document, menu: &'static Menu, path: &str) -> Option<Node<'a>> {
    let mut pairs = Vec::new();
    for sub in menu.menus {
        let path = if path.is_empty() { sub.name.to_owned() } else { format!("{path}.{}", sub.name) };
        let found = match sub.shape {
            Shape::Folder => folder(document, sub, &path),
            Shape::Settings | Shape::List => known(&path).and_then(|place| table(document, place)),
            Shape::Live | Shape::Figures => None,
        };
        pairs.extend(found.map(|found| (word(sub.name), found)));
    }
    (!pairs.is_empty()).then(|| node(Body::Map(pairs)))
}
fn table<'a>(document: &'a Document, place: &'static Place) -> Option<Node<'a>> {
    let rows = written(document, place);
    if place.is_list() {
        let nodes: Vec<_> = rows.map(object).collect();
        return (!nodes.is_empty()).then(|| node(Body::List(nodes)));
    }
    rows.map(object).next()
}
/// Rows that say what is not so anyway; where the order counts, also a built-in one that does not stand in front.
fn written<'a>(document: &'a Document, place: &'static Place) -> impl Iterator<Item = &'a Object> {
    let mut moved = false;
    document.rows(place).iter().filter(move |row| {
        moved |= place.menu.ordered && !row.built_in;
        !row.built_in || moved || super::original(place, row.id).is_none_or(|original| original != **row)
    })
}
fn object(row: &Object) -> Node<'_> {
    node(Body::Row(&row.cells))
}
impl Cells {
    /// As a file has it.
    pub(crate) fn node(&self) -> Node<'_> {
        let mut pairs: Vec<(Node, Node)> = Vec::new();
        for (field, text) in self.iter() {
            let Some((group, name)) = field.name.split_once('.') else {
                pairs.push((word(field.name), word(text)));
                continue;
            };
            let is_group =
                |pair: &&mut (Node, Node)| matches!(&pair.0.body, Body::Scalar(key) if key == group);
            match pairs.iter_mut().find(is_group).map(|(_, node)| &mut node.body) {
                Some(Body::Map(inner)) => inner.push((word(name), word(text))),
                _ => pairs.push((word(group), node(Body::Map(vec![(word(name), word(text))])))),
            }
        }
        node(Body::Map(pairs))
    }
}

fn take(place: &'static Place, row: &Row, table: &mut Table) -> Id {
    let mut cells = Vec::new();
    texts(row, "", &mut cells);
    let named = row.name();
    let is_built_in = |object: &&Object| {
        object.built_in
            && (!place.is_list() || object.name() == named && (named.is_some() || same_mark(row, object)))
    };
    let mut new = Object { id: Id(table.next), built_in: false, cells: Arc::default() };
    // They stand in front; a file of many rows is not searched for each of them.
    let known = table.rows.iter().take_while(|row| row.built_in).position(|row| is_built_in(&row));
    // Where the order counts, a built-in row stands where it is written.
    let known = known.map(|at| match place.menu.ordered {
        true => {
            let row = table.rows.remove(at);
            table.rows.push(row);
            table.rows.len() - 1
        }
        false => at,
    });
    let is_new = known.is_none();
    let object = known.and_then(|at| table.rows.get_mut(at)).unwrap_or(&mut new);
    for (name, text) in cells {
        // They were values a moment ago.
        let taken = assign(place, object, &name, Some(&text));
        debug_assert!(taken.is_ok(), "{taken:?}");
    }
    let id = object.id;
    if is_new {
        table.next += 1;
        table.insert(table.rows.len(), new);
    }
    id
}
/// A built-in row without a name is known by saying so.
fn same_mark(row: &Row, object: &Object) -> bool {
    let marked = row.cells().any(|(p, value)| p.name == "default" && matches!(value, Value::YesNo(true)));
    marked && object.get("default") == Some("yes")
}
fn texts(row: &Row, group: &str, out: &mut Vec<(String, zeroize::Zeroizing<String>)>) {
    for (property, value) in row.cells() {
        let name = format!("{group}{}", property.name);
        match (value, property.kind) {
            (Value::Group(inner), Kind::Group(_)) => texts(inner, &format!("{name}."), out),
            _ => out.extend(walk::show(value).map(|text| (name, text))),
        }
    }
}
