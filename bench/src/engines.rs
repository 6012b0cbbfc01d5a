//! `bench engines`: every engine of this machine alone, with every suite it knows, beside the floor.
use crate::case::Direction;
use crate::plan::{self, Pace, Plan, SIZES};
use crate::report::Report;
use anyhow::Result;
use sa::{Encryption, Integrity, Suite};

/// Of all suites unless some are named.
pub fn run(pace: &Pace, names: &[String]) -> Result<Report> {
    let suites = match names {
        [] => all(),
        names => names.iter().map(|name| plan::suite(name)).collect::<Result<_>>()?,
    };
    let mut plan = Plan::default();
    plan.engines(&suites, &Direction::BOTH, &SIZES);
    plan.run(pace)
}
/// Every AEAD, every cipher with one hash, every hash with one cipher: the rest are sums of these.
fn all() -> Vec<Suite> {
    let telling = |s: &Suite| {
        s.encryption().is_aead()
            || s.integrity() == Integrity::HmacSha256
            || s.encryption() == Encryption::Null
    };
    Suite::all().filter(telling).collect()
}
