//! Changing the configuration of a running gateway: what is asked, what it would do, what was done before.
use serde::{Deserialize, Serialize};

/// A whole new configuration, or a former one.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Apply {
    pub to: Target,
    /// Only say what it would do.
    #[serde(default)]
    pub dry_run: bool,
    /// Undone after so many seconds unless it is confirmed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub confirm: Option<u64>,
    /// For the history.
    pub who: String,
    #[serde(default)]
    pub comment: String,
}
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Target {
    /// The text of a configuration file. It may hold secrets.
    Text(String),
    /// The file the gateway was started with, as it is now.
    File,
    /// A number of the history.
    Entry(u64),
}
/// Never the text: it holds secrets.
impl std::fmt::Debug for Apply {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Apply({:?}, dry-run {}, by {})", self.to, self.dry_run, self.who)
    }
}
impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => write!(f, "text of {} bytes", text.len()),
            Self::File => f.write_str("file"),
            Self::Entry(number) => write!(f, "entry {number}"),
        }
    }
}

/// What a change does, known before it is made.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Plan {
    /// One line for each object that differs: `~ ip ipsec peer b: port 500 → 4500`. Secrets are never in it.
    pub changes: Vec<String>,
    /// What becomes of peers and their tunnels.
    pub effects: Vec<Effect>,
    /// Selectors' ids of the policies whose SAs are deleted.
    pub deleted_policies: Vec<u32>,
    /// SAs that are deleted, and those that go on without noticing.
    pub deleted_sas: u64,
    pub kept_sas: u64,
    pub warnings: Vec<String>,
    /// Where it stands in the history; 0 when nothing was changed.
    pub entry: u64,
}
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Effect {
    pub peer: String,
    pub said: String,
}

/// One change that was made.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Entry {
    pub number: u64,
    /// Seconds since 1970.
    pub when: u64,
    pub who: String,
    #[serde(default)]
    pub comment: String,
    pub changes: Vec<String>,
}

/// Why a change was not made; everything is as it was.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Refused {
    pub said: String,
    /// What is wrong with the configuration, a line each.
    #[serde(default)]
    pub complaints: Vec<String>,
}
