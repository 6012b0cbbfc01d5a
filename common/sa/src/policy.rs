//! SPD entries as the fast path is told them (RouterOS `/ip ipsec policy`, RFC 4301 4.4.1).
use crate::selector::Selector;
use crate::stat::DropReason;

/// Stable name of a policy across transactions; never 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PolicyId(pub u32);
impl PolicyId {
    /// Ids from here on are those of policies that a negotiation has made; configured ones are below.
    pub const FIRST_DYNAMIC: Self = Self(1 << 31);

    pub fn is_dynamic(self) -> bool {
        self >= Self::FIRST_DYNAMIC
    }
}

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

/// The outer DF bit (RFC 4301 8.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum DontFragment {
    /// As the inner packet has it; IPv6 counts as set.
    #[default]
    Inherit = 0,
    Clear = 1,
    Set = 2,
}

/// What the SAs of a policy do with a packet beyond protecting it (RFC 4301 4.4.2.1). The default is what the RFC says
/// of itself: DSCP, ECN and DF of the inner packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Framing {
    pub dont_fragment: DontFragment,
    /// Of the outer header; `None` is the inner packet's.
    pub dscp: Option<u8>,
    /// TCP's maximum segment size is brought down to what fits the tunnel.
    pub clamp_mss: bool,
    /// Inner packets are padded to so many bytes (RFC 4303 2.7), as far as they fit the path.
    pub pad_to: u16,
}
impl Framing {
    pub fn is_plain(&self) -> bool {
        *self == Self::default()
    }
}

/// One policy; its place in the transaction is its rank, first match wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PolicySpec {
    pub id: PolicyId,
    pub selector: Selector,
    pub action: Action,
    pub framing: Framing,
}

/// A policy that fits a packet, and its place: lower ranks come first.
pub type Ranked = (u64, Action);

/// What the policies want done with a packet, whatever SAs there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ruling {
    Drop(DropReason),
    Pass,
    Protect(Level),
}

/// The policies' word on a packet (RFC 4301 5.1 and 5.2). `outbound` is the first that fits it, and `inbound` the first
/// that fits it with both sides swapped, when it arrived in clear: what came out of a tunnel was held against its SA.
pub fn rule(outbound: Option<Ranked>, inbound: Option<Ranked>) -> Ruling {
    //= rfc4301#5.2/clear-check: what should have come protected and did not is dropped.
    // A policy that is looked at from both ends (any to any) sends; it does not refuse.
    let first = |(rank, _): &Ranked| outbound.is_none_or(|(before, _)| *rank < before);
    match inbound.filter(first).map(|(_, action)| action) {
        Some(Action::Encrypt { level: Level::Require | Level::Unique, .. }) => {
            return Ruling::Drop(DropReason::ClearForProtected);
        }
        Some(Action::Discard) => return Ruling::Drop(DropReason::DiscardIn),
        Some(Action::Encrypt { level: Level::Use, .. } | Action::Bypass) | None => {}
    }
    match outbound.map(|(_, action)| action) {
        Some(Action::Discard) => Ruling::Drop(DropReason::Discard),
        Some(Action::Bypass) | None => Ruling::Pass,
        Some(Action::Encrypt { level, .. }) => Ruling::Protect(level),
    }
}
