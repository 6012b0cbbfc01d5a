//! Changing the configuration of a running gateway: what is asked, what it would do, what was done before.
use crate::status::Text;
use serde::{Deserialize, Serialize};

/// A whole new configuration, a former one, or edits of the one there is.
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
    /// Who may not hand out rights changes nothing in `system api`.
    #[serde(default)]
    pub without_rights: bool,
    /// Undone with the safe mode of this token.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safe_mode: Option<String>,
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
    /// Made one after the other, as one change.
    Edits(Edits),
}
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Edits {
    /// The revision they were worked out for; refused when it is no longer the one in force.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub base: Option<u64>,
    pub edits: Vec<Edit>,
}
/// A change of one menu; `menu` is its path in the file, rows are named by their number.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub enum Edit {
    Add {
        menu: String,
        values: Vec<(String, Text)>,
        /// The row it stands in front of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<u32>,
    },
    /// `None`: the property is left out again.
    Set {
        menu: String,
        id: u32,
        values: Vec<(String, Option<Text>)>,
    },
    Remove {
        menu: String,
        id: u32,
    },
    Move {
        menu: String,
        ids: Vec<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none")]
        before: Option<u32>,
    },
    /// A built-in row or settings, as it was before anybody changed it.
    Reset {
        menu: String,
        id: u32,
    },
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
            Self::Edits(Edits { edits, .. }) => write!(f, "{} edits", edits.len()),
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
    /// What is read at the start alone: a change of it is refused while the gateway runs.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub restart: Vec<String>,
    /// Where it stands in the history; 0 when nothing was changed.
    pub entry: u64,
    /// The rows that edits have added or changed, by number.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub ids: Vec<u32>,
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
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Refused {
    pub said: String,
    /// What is wrong with the configuration, a line each.
    #[serde(default)]
    pub complaints: Vec<String>,
    #[serde(default)]
    pub why: Why,
    /// The object that is meant, as the console names it, the property, and what to do.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub path: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub property: Option<Box<str>>,
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub fix: String,
}
impl Refused {
    pub fn new(why: Why, said: impl Into<String>) -> Self {
        Self { why, said: said.into(), ..Self::default() }
    }
}
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Why {
    /// It cannot be run.
    #[default]
    Check,
    /// There is no such row, menu, property or entry.
    Missing,
    Value,
    /// The name is taken, others use it, it is built in, or somebody else is at it.
    Conflict,
    /// The configuration has changed since.
    Stale,
    Forbidden,
    /// Too much waits already.
    Busy,
    /// Files could not be written.
    Failed,
}
