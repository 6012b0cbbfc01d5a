//! `where`: the names in a condition found from their beginnings, then held against rows.
use super::cell;
use super::fault::Fault;
use super::remote::Row;
use config::schema::Place;
use config::script::expr::{self, Compare, Expr};
use config::script::{Span, names};
use std::collections::HashMap;

pub struct Condition {
    expr: Expr,
    names: HashMap<String, &'static str>,
}
impl Condition {
    /// What stands in `span` of `text`; nothing there holds for every row.
    pub fn read(text: &str, span: Span, place: &'static Place) -> Result<Self, Fault> {
        let expr = expr::parse(text, span)?;
        let mut names = HashMap::new();
        collect(&expr, place, &mut names)?;
        Ok(Self { expr, names })
    }
    /// What it asks about.
    pub fn names(&self) -> impl Iterator<Item = &'static str> {
        self.names.values().copied()
    }
    pub fn holds(&self, row: &Row) -> bool {
        let get = |name: &str| {
            let name = self.names.get(name).copied().unwrap_or(name);
            row.get(name).map(|value| cell::text(value).into_owned())
        };
        self.expr.holds(&get)
    }
}

/// Everything a row can be asked about.
pub fn fields(place: &'static Place) -> impl Iterator<Item = &'static str> + Clone {
    let flags = place.menu.flags.iter().map(|flag| flag.name);
    place
        .fields
        .iter()
        .map(|field| field.name)
        .chain(place.menu.shown.iter().map(|p| p.name))
        .chain(flags)
        .chain([".id"])
}
fn collect(
    expr: &Expr,
    place: &'static Place,
    names: &mut HashMap<String, &'static str>,
) -> Result<(), Fault> {
    let (field, span) = match expr {
        Expr::All => return Ok(()),
        Expr::Any(of) | Expr::Every(of) => return of.iter().try_for_each(|expr| collect(expr, place, names)),
        Expr::Not(of) => return collect(of, place, names),
        Expr::Flag { name, span } => (name, *span),
        Expr::Compare(Compare { field, field_span, .. }) => (field, *field_span),
    };
    let name = property(place, fields(place), field, span)?;
    names.insert(field.clone(), name);
    Ok(())
}
/// One of the names, which may occur several times among them.
pub fn property(
    place: &'static Place,
    among: impl Iterator<Item = &'static str> + Clone,
    word: &str,
    span: Span,
) -> Result<&'static str, Fault> {
    let mut once: Vec<&'static str> = among.collect();
    once.sort_unstable();
    once.dedup();
    names::property(place.console, once.into_iter(), word).map_err(|no_such| Fault::no_such(span, &no_such))
}
