//! The configuration file: YAML in, a checked [`model::Config`] or every complaint at once out.
//!
//! `yaml` makes a located tree, `walk` holds it against the table in `schema`, `check` looks at what depends
//! on more than one value and builds the model. Nothing of a secret leaves through a complaint. `document` keeps the
//! same as objects that can be changed one by one: what console, REST and importer work on.
#![forbid(unsafe_code)]

mod check;
pub mod complaint;
pub mod date;
pub mod describe;
pub mod document;
pub mod explain;
pub mod manual;
pub mod model;
pub mod remote;
mod render;
pub mod schema;
pub mod script;
mod secret;
mod value;
mod walk;
pub mod ways;
mod yaml;

pub use complaint::{Complaint, Complaints, Severity};
pub use document::Document;
pub use model::Config;
pub use secret::Secret;
pub use value::{duration, protocol, show_duration, show_mac, show_ports, show_protocol, show_size};

use std::io::Read;
use std::path::{Path, PathBuf};

/// A configuration that holds, and what is odd about it.
#[derive(Clone, Debug)]
pub struct Checked {
    pub config: Config,
    pub warnings: Complaints,
}

#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    #[error("{path}: {error}", path = path.display())]
    Read { path: PathBuf, error: std::io::Error },
    #[error("{path} is not text in UTF-8: byte {at} fits nothing", path = path.display())]
    NotText { path: PathBuf, at: usize },
    #[error("{path} is {what}", path = path.display())]
    Foreign { path: PathBuf, what: &'static str },
    #[error("{path} is refused:\n{complaints}", path = path.display())]
    Refused { path: PathBuf, complaints: Complaints },
}

/// Reads and checks a file.
pub fn load(path: &Path) -> Result<Checked, LoadError> {
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    std::fs::File::open(path)
        .and_then(|file| file.take(yaml::MAX_BYTES as u64 + 1).read_to_end(&mut bytes))
        .map_err(|error| LoadError::Read { path: path.into(), error })?;
    if let Some(what) = foreign(&bytes) {
        return Err(LoadError::Foreign { path: path.into(), what });
    }
    let text = std::str::from_utf8(&bytes)
        .map_err(|error| LoadError::NotText { path: path.into(), at: error.valid_up_to() })?;
    check(text).map_err(|complaints| LoadError::Refused { path: path.into(), complaints })
}

/// What a file is that cannot be a configuration or an export, and what to bring instead: backups, archives and upgrades are
/// never unpacked or taken on trust.
pub fn foreign(bytes: &[u8]) -> Option<&'static str> {
    const KINDS: &[(usize, &[u8], &str)] = &[
        (
            0,
            &[0x88, 0xac, 0xa1, 0xb1],
            "a backup of RouterOS, which only RouterOS reads: use `/export show-sensitive file=...` there",
        ),
        (
            0,
            &[0xef, 0xa8, 0x91, 0x72],
            "an encrypted backup of RouterOS: use `/export show-sensitive file=...` there",
        ),
        (0, &[0x1e, 0xf1, 0xd0, 0xba], "an upgrade package of RouterOS (npk)"),
        (0, &[0x1f, 0x8b], "a compressed file: unpack it, and give the configuration itself"),
        (0, b"BZh", "a compressed file: unpack it, and give the configuration itself"),
        (
            0,
            &[0xfd, b'7', b'z', b'X', b'Z'],
            "a compressed file: unpack it, and give the configuration itself",
        ),
        (0, &[0x28, 0xb5, 0x2f, 0xfd], "a compressed file: unpack it, and give the configuration itself"),
        (0, b"PK\x03\x04", "an archive: unpack it, and give the configuration itself"),
        (257, b"ustar", "an archive: unpack it, and give the configuration itself"),
        (0, b"\x7fELF", "a program"),
    ];
    KINDS
        .iter()
        .find(|(at, magic, _)| bytes.get(*at..).is_some_and(|b| b.starts_with(magic)))
        .map(|(.., what)| *what)
}

/// Checks the text of a file.
pub fn check(text: &str) -> Result<Checked, Complaints> {
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let mut sink = complaint::Sink::default();
    let tree = match yaml::parse(text) {
        Ok(tree) => tree,
        Err(yaml::Fault { spot, said, fix }) => {
            sink.error(spot, "", said, fix.unwrap_or_default());
            return Err(sink.finish(text, false));
        }
    };
    let rows = walk::walk(tree.as_ref(), &mut sink);
    let config = check::build(&rows, &mut sink);
    let complaints = sink.finish(text, true);
    match config {
        Some(config) if complaints.errors == 0 => Ok(Checked { config, warnings: complaints }),
        _ => Err(complaints),
    }
}

/// Where in the text of a file secrets stand, in their order; of a file that is not read, everything.
pub fn secrets_in(text: &str) -> Vec<std::ops::Range<usize>> {
    let skipped = if text.starts_with('\u{feff}') { '\u{feff}'.len_utf8() } else { 0 };
    let mut sink = complaint::Sink::default();
    let Ok(tree) = yaml::parse(text.get(skipped..).unwrap_or_default()) else {
        return std::iter::once(0..text.len()).collect();
    };
    walk::walk_to_keep(tree.as_ref(), &mut sink);
    sink.secrets().map(|range| range.start + skipped..range.end + skipped).collect()
}

/// The word that was probably meant.
fn nearest<'a>(word: &str, among: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    if word.len() > 64 {
        return None;
    }
    among
        .map(|candidate| (strsim::damerau_levenshtein(&word.to_lowercase(), candidate), candidate))
        .filter(|(distance, candidate)| *distance <= 1.max(candidate.len().min(word.len()) / 3))
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}
