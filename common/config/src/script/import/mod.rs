//! A RouterOS export becomes a configuration, with a report about each line: done, changed and why, not covered, to be
//! completed by people. Nothing in a source is fatal, and nothing of a secret is in the report.
//!
//! First `read` carries out the commands on rows of the source's own shape, whatever the order of the lines and the
//! age of the version; then `ipsec` and `network` turn these rows into ours, and `put` holds each value against the
//! table.
mod foreign;
mod ipsec;
mod network;
mod put;
mod read;
mod references;
mod report;
mod rows;
mod words;

pub use put::MissingSecret;
use report::missing_secret;
pub use report::{Line, Note, Outcome, Report};

pub(super) use put::Putter;
pub(super) use rows::Draft;

use crate::document::{Document, Fault};
use crate::schema::{place, places};
use zeroize::Zeroizing;

/// Major and minor.
type Version = (u32, u32);

/// What came of a source.
pub struct Imported {
    pub document: Document,
    pub report: Report,
    /// To be asked for.
    pub missing: Vec<MissingSecret>,
}

impl Imported {
    /// Puts secrets into their rows; those that nobody gives stay missing.
    pub fn fill_in(
        &mut self,
        mut give: impl FnMut(&MissingSecret) -> Option<Zeroizing<String>>,
    ) -> Result<(), Fault> {
        for missing in std::mem::take(&mut self.missing) {
            let given = place(missing.path).zip(give(&missing).filter(|secret| !secret.is_empty()));
            let Some((place, secret)) = given else {
                self.missing.push(missing);
                continue;
            };
            self.document.set(place, missing.id, &[(missing.property, Some(secret.as_str()))])?;
            self.report.given(&missing);
        }
        Ok(())
    }
}

/// Reads a RouterOS script, or one written by `export`.
pub fn import(text: &str) -> Imported {
    let script = super::parse(text);
    let mut reader = read::Reader::new(text);
    reader.read(&script);
    let (mut tables, report) = (reader.tables, reader.report);
    let version = report.source.as_deref().and_then(version);
    let own = report.source.as_deref().is_some_and(|source| source.starts_with("espway "));
    let mut put = Putter::new(report, own);

    network::all(&mut put, &mut tables);
    for (console, path) in [
        ("ip pool", "ip.pool"),
        ("certificate", "certificate"),
        ("ip ipsec policy group", "ip.ipsec.policy-group"),
    ] {
        rows(&mut put, &mut tables, console, path);
    }
    ipsec::profiles(&mut put, &mut tables, version);
    ipsec::proposals(&mut put, &mut tables);
    rows(&mut put, &mut tables, "ip ipsec mode-config", "ip.ipsec.mode-config");
    let peers = ipsec::peers(&mut put, &mut tables);
    ipsec::identities(&mut put, &mut tables, &peers);
    ipsec::policies(&mut put, &mut tables, &peers);
    network::system(&mut put, &mut tables);
    // What is left is as in the table.
    for place in places().iter().filter(|place| place.menu.shape.is_written()) {
        rows(&mut put, &mut tables, place.console, place.path);
    }
    finish(put)
}
fn rows(put: &mut Putter, tables: &mut rows::Tables, console: &str, path: &str) {
    for row in tables.take(console) {
        let secret = (path == "radius" && row.filled("secret").is_none()).then_some(row.line);
        let address = row.filled("address").unwrap_or_default().to_owned();
        let id = put.put(path, row);
        if let (Some(line), Some(id)) = (secret, id) {
            let what = format!("shared secret of the RADIUS server {address}");
            let fix = "give it with --ask-secrets or --secrets-file, or export with show-sensitive";
            put.say(line, Outcome::Attention, "radius", missing_secret(&what), fix);
            put.missing.push(MissingSecret {
                line,
                path: "radius",
                id,
                property: "secret",
                what,
                key: format!("radius {address}"),
            });
        }
    }
}

/// Names that nothing has, and the end of the report.
pub(super) fn finish(mut put: Putter) -> Imported {
    if !put.own {
        references::check(&mut put);
    }
    put.report.finish();
    Imported { document: put.document, report: put.report, missing: put.missing }
}

fn version(source: &str) -> Option<Version> {
    let mut numbers = source.strip_prefix("RouterOS ")?.split(|c: char| !c.is_ascii_digit());
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}
