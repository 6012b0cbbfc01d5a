//! Remarks (`#`) of a file: each stays with the row or menu it stands before, or within.
//!
//! They are no part of what is configured: documents that differ in them alone are equal.
use super::Document;
use crate::schema::{Shape, place, places};
use crate::yaml::{self, Body, Node};
use std::collections::BTreeMap;
use std::sync::Arc;

/// Longer ones are no remarks, and a file of nothing else is no configuration.
const LONGEST: usize = 4096;
const MOST: usize = 65_536;
/// Of the end of the file.
pub(super) const END: &str = "";

/// By the path of a menu.
pub(super) type OfMenus = BTreeMap<String, String>;

/// Where a remark can stay.
enum Anchor {
    Menu(String),
    Row(String, usize),
}

impl Document {
    /// Takes the remarks of a text this document was just read from; `rows` are the numbers of a menu's rows, as written.
    pub(super) fn take_remarks(
        &mut self,
        text: &str,
        tree: Option<&Node>,
        rows: &BTreeMap<&str, Vec<super::Id>>,
    ) {
        let remarks = yaml::remarks(text, MOST);
        if remarks.is_empty() || remarks.len() > MOST {
            return;
        }
        let mut anchors = Vec::new();
        tree.into_iter().for_each(|tree| collect(tree, "", &mut anchors));
        // Lines on which more than a remark stands; gone through once, as remarks are in the order of lines.
        let says = |(_, line): &(u32, &str)| !matches!(line.trim_start().chars().next(), None | Some('#'));
        let mut lines = (1..).zip(text.lines()).filter(says).map(|(number, _)| number).peekable();
        for (line, alone, said) in remarks {
            while lines.next_if(|number| *number <= line).is_some() {}
            let before = anchors.partition_point(|(at, _)| *at <= line).checked_sub(1);
            let anchor = match lines.peek() {
                Some(next) if alone => {
                    let at = anchors.partition_point(|(at, _)| at < next);
                    anchors.get(at).filter(|(line, _)| line == next).map(|_| at).or(before)
                }
                None if alone => None,
                _ => before,
            };
            match anchor.and_then(|at| anchors.get(at)) {
                Some((_, Anchor::Row(menu, number))) => {
                    let id = rows.get(menu.as_str()).and_then(|ids| ids.get(*number));
                    id.into_iter().for_each(|id| self.remark(menu, *id, &said));
                }
                Some((_, Anchor::Menu(menu))) => self.remark_menu(menu, &said),
                None => self.remark_menu(END, &said),
            }
        }
    }
    /// One more line before a row.
    pub(crate) fn remark(&mut self, menu: &str, id: super::Id, said: &str) {
        let Some(table) = self.tables.get_mut(menu) else { return };
        let Some(row) = Arc::make_mut(table).rows.iter_mut().find(|row| row.id == id) else { return };
        let cells = Arc::make_mut(&mut row.cells);
        let mut all = cells.remark.take().map(String::from).unwrap_or_default();
        add(&mut all, said);
        cells.remark = Some(all.into());
    }
    fn remark_menu(&mut self, menu: &str, said: &str) {
        add(Arc::make_mut(&mut self.remarks).entry(menu.to_owned()).or_default(), said);
    }
}
fn add(all: &mut String, said: &str) {
    if all.len() + said.len() < LONGEST {
        // What ends a line somewhere, or stands in no YAML, would be read as something else.
        let odd = |c: char| {
            c.is_control() || matches!(c, '\u{2028}' | '\u{2029}' | '\u{feff}' | '\u{fffe}' | '\u{ffff}')
        };
        let clean: String = said.chars().map(|c| if odd(c) { ' ' } else { c }).collect();
        all.push_str(clean.trim_end());
        all.push('\n');
    }
}

/// In the order of their lines.
fn collect(node: &Node, path: &str, out: &mut Vec<(u32, Anchor)>) {
    let Body::Map(pairs) = &node.body else { return };
    for (key, value) in pairs {
        let Body::Scalar(name) = &key.body else { continue };
        let path = if path.is_empty() { name.to_string() } else { format!("{path}.{name}") };
        let below = format!("{path}.");
        if place(&path).is_none() && !places().iter().any(|place| place.path.starts_with(&below)) {
            continue;
        }
        out.push((key.spot.line, Anchor::Menu(path.clone())));
        match (&value.body, place(&path).map(|place| place.menu.shape)) {
            (Body::List(rows), Some(Shape::List)) => {
                let row = |(number, row): (usize, &Node)| (row.spot.line, Anchor::Row(path.clone(), number));
                out.extend(rows.iter().enumerate().map(row));
            }
            _ => collect(value, &path, out),
        }
    }
}
