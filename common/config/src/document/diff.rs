//! What is different between two documents, row by row.
use super::{Document, HIDDEN, Id, Object};
use crate::schema::{Field, Kind, Place, places};
use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::Arc;

#[derive(Clone, Debug)]
pub struct Difference {
    pub place: &'static Place,
    pub change: Change,
}
#[derive(Clone, Debug)]
pub enum Change {
    Added(Object),
    Removed(Object),
    Changed {
        before: Object,
        now: Object,
    },
    /// The same row, elsewhere in an ordered list.
    Moved(Object),
}

impl Document {
    /// From `before` to this one. Rows with names are the same when their names are; others when the same is written
    /// in them, or else when they have the same number.
    pub fn since(&self, before: &Document) -> Vec<Difference> {
        places()
            .iter()
            .filter(|p| p.menu.shape.is_written())
            .flat_map(|place| table(place, before, self))
            .collect()
    }
    /// Rows that are the same as before get the numbers they had; new ones get numbers that nobody has had.
    pub fn keep_ids(&mut self, before: &Document) {
        for place in places().iter().filter(|p| p.menu.shape.is_written() && p.is_list()) {
            let (Some(old), Some(new)) = (before.tables.get(place.path), self.tables.get_mut(place.path))
            else {
                continue;
            };
            if Arc::ptr_eq(old, new) {
                continue;
            }
            let pairs = pair(&old.rows, &new.rows);
            let new = Arc::make_mut(new);
            let mut next = old.next;
            for (row, pair) in new.rows.iter_mut().zip(pairs) {
                row.id = match pair.and_then(|at| old.rows.get(at)) {
                    Some(former) => former.id,
                    None => {
                        next += 1;
                        Id(next - 1)
                    }
                };
            }
            new.next = next;
            new.names = new.rows.iter().filter_map(|row| Some((row.name()?.into(), row.id))).collect();
        }
    }
}

fn table(place: &'static Place, before: &Document, after: &Document) -> Vec<Difference> {
    let (old, new) = (before.rows(place), after.rows(place));
    if before.shares(after, place) || old == new {
        return Vec::new();
    }
    // Settings are one object, whatever it is called.
    let pairs = if place.is_list() { pair(old, new) } else { vec![Some(0)] };
    let mut kept = vec![false; old.len()];
    pairs.iter().flatten().for_each(|at| kept[*at] = true);
    let gone = old.iter().zip(&kept).filter(|(_, kept)| !**kept);
    let mut out: Vec<Difference> =
        gone.map(|(row, _)| Difference { place, change: Change::Removed(row.clone()) }).collect();
    let stays = if place.menu.ordered { rising(&pairs) } else { vec![true; new.len()] };
    for ((row, pair), stays) in new.iter().zip(&pairs).zip(stays) {
        let change = match pair.map(|at| &old[at]) {
            None => Change::Added(row.clone()),
            Some(before) if before != row => Change::Changed { before: before.clone(), now: row.clone() },
            Some(_) if !stays => Change::Moved(row.clone()),
            Some(_) => continue,
        };
        out.push(Difference { place, change });
    }
    out
}

/// For each new row, where its former self stands.
fn pair(old: &[Object], new: &[Object]) -> Vec<Option<usize>> {
    let mut free = vec![true; old.len()];
    let mut pairs: Vec<Option<usize>> = vec![None; new.len()];
    // Most rows are what they were: no text is made of these.
    let numbers: HashMap<Id, usize> = old.iter().enumerate().map(|(at, row)| (row.id, at)).collect();
    for (pair, row) in pairs.iter_mut().zip(new) {
        *pair = numbers.get(&row.id).copied().filter(|at| old[*at] == *row);
        pair.iter().for_each(|at| free[*at] = false);
    }
    let left = |free: &[bool]| -> Vec<(usize, &Object)> {
        old.iter().enumerate().filter(|(at, _)| free[*at]).collect()
    };
    let names: HashMap<&str, usize> =
        left(&free).iter().filter_map(|(at, row)| Some((row.name()?, *at))).collect();
    let mut contents: HashMap<String, VecDeque<usize>> = HashMap::new();
    for (at, row) in left(&free).iter().filter(|(_, row)| row.name().is_none()) {
        contents.entry(content(row)).or_default().push_back(*at);
    }
    for (pair, row) in pairs.iter_mut().zip(new).filter(|(pair, _)| pair.is_none()) {
        *pair = match row.name() {
            Some(name) => names.get(name).copied(),
            None => contents.get_mut(&content(row)).and_then(VecDeque::pop_front),
        };
        pair.iter().for_each(|at| free[*at] = false);
    }
    for (pair, row) in pairs.iter_mut().zip(new) {
        if pair.is_none() && row.name().is_none() {
            *pair = numbers.get(&row.id).copied().filter(|at| free[*at] && old[*at].name().is_none());
        }
    }
    pairs
}
fn content(row: &Object) -> String {
    row.cells().fold(String::new(), |all, (field, text)| format!("{all}{}={text}\n", field.name))
}

/// Which of the paired rows can stay where they are: the longest run whose former places rise.
fn rising(pairs: &[Option<usize>]) -> Vec<bool> {
    let mut ends: Vec<(usize, usize)> = Vec::new(); // former place, index in pairs
    let mut before: Vec<Option<usize>> = vec![None; pairs.len()];
    for (at, place) in pairs.iter().enumerate().filter_map(|(at, pair)| Some((at, (*pair)?))) {
        let len = ends.partition_point(|(end, _)| *end < place);
        before[at] = len.checked_sub(1).map(|n| ends[n].1);
        if len == ends.len() { ends.push((place, at)) } else { ends[len] = (place, at) }
    }
    let mut stays: Vec<bool> = pairs.iter().map(Option::is_none).collect();
    let run = std::iter::successors(ends.last().map(|(_, at)| *at), |at| before[*at]);
    run.for_each(|at| stays[at] = true);
    stays
}

impl Difference {
    pub fn object(&self) -> &Object {
        match &self.change {
            Change::Added(row)
            | Change::Removed(row)
            | Change::Moved(row)
            | Change::Changed { now: row, .. } => row,
        }
    }
    /// Properties that differ, with what was written and what is.
    pub fn properties(&self) -> Vec<(&'static Field, Option<&str>, Option<&str>)> {
        let (before, now) = match &self.change {
            Change::Added(row) => (None, Some(row)),
            Change::Removed(row) => (Some(row), None),
            Change::Changed { before, now } => (Some(before), Some(now)),
            Change::Moved(_) => (None, None),
        };
        let fields = self.place.fields.iter();
        let values =
            fields.map(|f| (f, before.and_then(|row| row.get(f.name)), now.and_then(|row| row.get(f.name))));
        values.filter(|(_, before, now)| before != now).collect()
    }
}
/// One line: `+ ip ipsec peer site-b: address=...`. Secrets are never in it.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = match self.change {
            Change::Added(_) => '+',
            Change::Removed(_) => '-',
            Change::Changed { .. } => '~',
            Change::Moved(_) => '>',
        };
        let row = self.object();
        write!(f, "{sign} {}", self.place.console)?;
        if self.place.is_list() {
            match row.name() {
                Some(name) => write!(f, " {name}")?,
                None => write!(f, " {}", row.id)?,
            }
        }
        // What it is called is said already.
        let renamed = matches!(self.change, Change::Changed { .. }) || !self.place.is_list();
        let said =
            self.properties().into_iter().filter(|(f, ..)| renamed || !matches!(f.property.kind, Kind::Name));
        for (at, (field, before, now)) in said.enumerate() {
            let shown = |text: Option<&str>| match text {
                None => "-".to_owned(),
                Some(_) if field.is_secret() => HIDDEN.to_owned(),
                Some(text) => text.to_owned(),
            };
            f.write_str(if at == 0 { ": " } else { ", " })?;
            match (&self.change, now) {
                (Change::Changed { .. }, _) => {
                    write!(f, "{} {} → {}", field.name, shown(before), shown(now))?
                }
                (_, Some(_)) => write!(f, "{}={}", field.name, shown(now))?,
                _ => write!(f, "{}={}", field.name, shown(before))?,
            }
        }
        Ok(())
    }
}
