//! SPD entries as the fast path is told them (RouterOS `/ip ipsec policy`, RFC 4301 4.4.1).
use crate::selector::Selector;

/// Stable name of a policy across transactions; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyId(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Level {
    /// No SA: send in clear, ask for nothing.
    Use = 0,
    /// No SA: drop and acquire.
    Require = 1,
    /// No SA: drop and acquire one that serves this policy only.
    Unique = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Action {
    Discard,
    /// RouterOS `none`: pass unchanged.
    Bypass,
    Encrypt {
        level: Level,
        tunnel: bool,
    },
}

/// One policy; its place in the transaction is its rank, first match wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PolicySpec {
    pub id: PolicyId,
    pub selector: Selector,
    pub action: Action,
}
