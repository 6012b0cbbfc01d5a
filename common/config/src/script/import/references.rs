//! Names in an import that no row has.
use super::put::Putter;
use super::report::Outcome;
use super::rows::Draft;
use crate::schema::{Kind, Place, place, places};
use std::collections::{HashMap, HashSet};

/// A name, the menu it should be in, and who uses it.
struct Use {
    menu: &'static str,
    name: String,
    line: usize,
    about: String,
}

/// Says each that is missing. Certificates never are in an export: they get a row that says where the file is to be.
pub fn check(put: &mut Putter) {
    for Use { menu, name, line, about } in missing(put) {
        if menu != "certificate" {
            let said = format!("there is no `{name}` in {}", place(menu).map_or(menu, |place| place.console));
            put.say(line, Outcome::Attention, about, said, "add it, or name another");
            continue;
        }
        let file = format!("/etc/espway/certificates/{name}.pem");
        let there = place(menu).is_some_and(|place| put.document.by_name(place, &name).is_some());
        let mut row = Draft::default();
        row.put_str("name", &name, 0);
        row.put_str("file", &file, 0);
        if there || put.put(menu, row).is_some() {
            let said = format!("the certificate `{name}` is not in the source; a row for it is added");
            put.say(
                line,
                Outcome::Attention,
                about,
                said,
                format!("export it as PEM with its key and put it at {file}"),
            );
        }
    }
}
fn missing(put: &Putter) -> Vec<Use> {
    let mut missing = Vec::new();
    let names: HashMap<_, HashSet<_>> = places()
        .iter()
        .map(|place| (place.path, put.document.rows(place).iter().filter_map(|row| row.name()).collect()))
        .collect();
    for user in places().iter().filter(|place| place.menu.shape.is_written()) {
        for row in put.document.rows(user) {
            for (field, text) in row.cells() {
                let (menu, words) = match field.property.kind {
                    Kind::Reference(menu) => (menu, &[][..]),
                    Kind::List(Kind::Reference(menu)) => (*menu, &[][..]),
                    Kind::References(menu) => (menu, &[][..]),
                    Kind::ReferenceOr { menu, words } => (menu, words),
                    _ => continue,
                };
                let about = about(user, row.name().or(row.get("peer")));
                for name in text.split(',').filter(|name| !name.is_empty() && !words.contains(name)) {
                    if names.get(menu).is_some_and(|names| !names.contains(name)) {
                        let line = put.line_of(user, row.id);
                        missing.push(Use { menu, name: name.to_owned(), line, about: about.clone() });
                    }
                }
            }
        }
    }
    missing
}
fn about(place: &Place, name: Option<&str>) -> String {
    super::read::join(place.console, name.unwrap_or_default())
}
