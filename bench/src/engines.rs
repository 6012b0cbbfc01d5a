//! `bench engines`: every engine of this machine alone, with every suite it knows, beside the floor.
use crate::case::Direction;
use crate::plan::{self, Pace, Plan, SIZES};
use crate::report::Report;
use anyhow::Result;
use sa::{Encryption, Integrity, Suite};

/// All suites unless some are named.
pub fn run(pace: &Pace, names: &[String]) -> Result<Report> {
    let suites = match names {
        [] => all(),
        names => names.iter().map(|name| plan::suite(name)).collect::<Result<_>>()?,
    };
    let mut plan = Plan::default();
    plan.engines(&suites, &Direction::BOTH, &SIZES);
    plan.run(pace)
}
fn all() -> Vec<Suite> {
    let pairs = Encryption::ALL.into_iter().flat_map(|e| Integrity::ALL.into_iter().map(move |i| (e, i)));
    pairs.filter_map(|(e, i)| Suite::new(e, i).ok()).collect()
}
