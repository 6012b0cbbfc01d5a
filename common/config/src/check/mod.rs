//! What depends on more than one value: names, references, order, addresses. Builds the model.
mod advice;
mod api;
mod identity;
mod ipsec;
mod logging;
mod net;
mod order;
mod policy;
mod sas;
mod system;
mod templates;

use crate::complaint::Sink;
use crate::model::Config;
use crate::nearest;
use crate::schema::Kind;
use crate::walk::{Bad, Row, Rows, Value};
use std::collections::HashMap;
use std::sync::Arc;

/// Rows that exist without being written.
const BUILT_IN: &[(&str, &str)] = &[
    ("ip.ipsec.profile", "default"),
    ("ip.ipsec.proposal", "default"),
    ("ip.ipsec.policy-group", "default"),
    ("ip.ipsec.mode-config", "request-only"),
    ("log-action", "memory"),
    ("log-action", "disk"),
    ("log-action", "echo"),
    ("log-action", "remote"),
];

/// What the next check of almost the same rows need not find out again.
#[derive(Debug, Default)]
pub struct Memo {
    order: order::Memo,
    around: Option<Arc<ipsec::Around>>,
}

/// `None` when something was complained about that the model cannot do without.
pub fn build(rows: &Rows, sink: &mut Sink) -> Option<Config> {
    build_again(rows, &mut Memo::default(), sink)
}
/// The same, for rows that are much like those of the last time.
pub fn build_again(rows: &Rows, memo: &mut Memo, sink: &mut Sink) -> Option<Config> {
    let tables = Tables { rows };
    let known = names(rows, sink);
    references(rows, known, sink);
    let system = system::build(tables.one("system")?, sink);
    let network = net::build(&tables, sink);
    let ipsec = ipsec::build(&tables, &network, memo, sink);
    if let Ok(system) = &system {
        system::fits(tables.one("system")?, system, &ipsec, sink);
    }
    let api = api::build(&tables, sink);
    let net::Network { interfaces, addresses, routes } = network;
    let logging = logging::build(&tables, sink);
    Some(Config { system: system.ok()?, interfaces, addresses, routes, ipsec: ipsec?, logging, api: api? })
}

/// The rows by path; a menu that is not in the table has none.
#[derive(Clone, Copy)]
struct Tables<'r> {
    rows: &'r Rows,
}
impl<'r> Tables<'r> {
    fn list(self, path: &str) -> &'r [Row] {
        self.rows.get(path).map_or(&[], Vec::as_slice)
    }
    fn one(self, path: &str) -> Option<&'r Row> {
        self.list(path).first()
    }
}

/// The names of each menu.
type Names<'r> = HashMap<&'r str, HashMap<&'r str, Option<&'r Row>>>;

/// Names are unique in their menu, disabled rows included.
pub fn names<'r>(rows: &'r Rows, sink: &mut Sink) -> Names<'r> {
    let mut all = Names::new();
    for (menu, list) in rows {
        let named = list.first().is_some_and(Row::may_have_name);
        let mut seen = HashMap::with_capacity(if named { list.len() } else { 0 });
        for row in list.iter().filter(|_| named) {
            let Some(name) = row.name() else { continue };
            match seen.get(name) {
                None => _ = seen.insert(name, Some(row)),
                Some(first) => {
                    let first = first.map(Row::place).unwrap_or_default();
                    let said = format!("`{name}` is the name of {first} already");
                    row.error(sink, "name", said, "choose another name");
                }
            }
        }
        all.insert(menu, seen);
    }
    all
}

/// Every reference points at a row.
fn references<'r>(rows: &'r Rows, mut known: Names<'r>, sink: &mut Sink) {
    for (menu, name) in BUILT_IN {
        known.entry(menu).or_default().entry(name).or_default();
    }
    for row in rows.values().flatten() {
        check_references(row, &known, sink);
    }
}
fn check_references(row: &Row, known: &Names, sink: &mut Sink) {
    for (property, value) in row.cells() {
        match (value, property.kind) {
            (Value::Group(group), _) => check_references(group, known, sink),
            (Value::Text(all), Kind::Reference(menu) | Kind::References(menu)) => {
                let Some(names) = known.get(menu) else { continue };
                let mut each = match property.kind {
                    Kind::References(_) => all.split(','),
                    _ => all.split('\n'), // one
                };
                let Some(name) = each.find(|name| !name.is_empty() && !names.contains_key(*name)) else {
                    continue;
                };
                let what = menu.rsplit('.').next().unwrap_or(menu);
                let said = format!("there is no {what} `{name}`");
                let mut all: Vec<&str> = names.keys().copied().collect();
                all.sort_unstable();
                let fix = match nearest(name, all.iter().copied()) {
                    Some(near) => format!("did you mean `{near}`?"),
                    None if all.is_empty() => format!("add a row to `{menu}`"),
                    None if all.len() > 8 => format!("add it to `{menu}`"),
                    None => format!("write one of {}, or add it to `{menu}`", all.join(", ")),
                };
                row.error(sink, property.name, said, fix);
            }
            _ => {}
        }
    }
}

/// Builds every row and keeps those that are good and enabled.
fn enabled<'r, T>(rows: &'r [Row], mut build: impl FnMut(&'r Row) -> Result<T, Bad>) -> Vec<T> {
    rows.iter().filter_map(|row| build(row).ok().filter(|_| row.enabled())).collect()
}
