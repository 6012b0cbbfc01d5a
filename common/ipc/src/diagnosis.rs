//! Rows of `/ip ipsec diagnosis` and `/log`, as the slow path gives them out.
use serde::{Deserialize, Serialize};

/// One negotiation that failed, once or again and again; fields as in the live menu.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Diagnosis {
    /// Never used twice while the slow path runs.
    pub id: u64,
    /// The last time, UTC.
    pub when: String,
    pub first: String,
    pub count: u64,
    /// Empty: a stranger.
    pub peer: String,
    pub remote: String,
    pub local: String,
    pub exchange: String,
    /// A name out of `ike::diagnosis::Cause`.
    pub cause: String,
    pub said: String,
    pub theirs: String,
    pub ours: String,
    pub difference: String,
    pub fix_here: String,
    pub tell_them: String,
    /// The peer has come up since.
    pub solved: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct LogEntry {
    pub id: u64,
    pub time: String,
    pub topics: String,
    pub message: String,
}
