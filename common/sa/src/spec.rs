//! One unidirectional ESP or AH SA, complete: what the slow path installs and the fast path runs.
use crate::{Key, PolicyId, Spi, Suite, TrafficSelector};
use std::net::IpAddr;

/// Index of an SA's record in the fast path's table and in the statistics table. An inbound SA that
/// IKE negotiates has its slot in the low bits of its SPI, so that look-up is one index and a compare.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct SaSlot(pub u32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Direction {
    Inbound = 0,
    Outbound = 1,
}

/// Outer addresses, ours first whatever the direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TunnelEnds {
    pub local: IpAddr,
    pub remote: IpAddr,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Mode {
    Transport = 0,
    Tunnel = 1,
}

/// Which security protocol an SA runs (RouterOS's `ipsec-protocols`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[repr(u8)]
pub enum Protocol {
    #[default]
    Esp = 0,
    /// Integrity alone, of the outer header too (RFC 4302). Its suite has NULL encryption.
    Ah = 1,
}
impl Protocol {
    pub const ALL: [Self; 2] = [Self::Esp, Self::Ah];
    pub const fn name(self) -> &'static str {
        match self {
            Self::Esp => "esp",
            Self::Ah => "ah",
        }
    }
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|p| p.name() == name)
    }
    pub fn from_u8(raw: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|p| *p as u8 == raw)
    }
}

/// UDP encapsulation (RFC 3948), ours first whatever the direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Encap {
    pub local_port: u16,
    pub remote_port: u16,
}

/// Soft and hard bound of one quantity; 0 is unlimited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Limit {
    pub soft: u64,
    pub hard: u64,
}
/// RFC 4301 4.4.2.1: whichever comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
pub struct Lifetime {
    pub seconds: Limit,
    pub bytes: Limit,
    pub packets: Limit,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SaSpec {
    pub slot: SaSlot,
    pub spi: Spi,
    pub direction: Direction,
    pub protocol: Protocol,
    pub mode: Mode,
    pub suite: Suite,
    /// Cipher key without salt.
    pub encryption_key: Key,
    /// 4 bytes for AEADs, else empty.
    pub salt: Key,
    pub integrity_key: Key,
    pub ends: TunnelEnds,
    pub encap: Option<Encap>,
    /// Transport mode through a NAT: the addresses as the peer sees them, over which it makes the checksums of TCP and
    /// UDP (RFC 7296 2.23.1).
    pub original: Option<TunnelEnds>,
    pub esn: bool,
    /// Inbound: window width in packets, 0 turns the check off. Outbound: ignored.
    pub replay_window: u32,
    /// Outbound: the last number already used (the next packet gets this plus one).
    /// Inbound: the highest number already accepted. 0 for a fresh SA.
    pub last_seq: u64,
    pub lifetime: Lifetime,
    /// The policy this SA serves. Outbound packets find the SA through it.
    pub policy: PolicyId,
    /// Further policies of the same peer that it serves: its selectors are those of several.
    pub also: Vec<PolicyId>,
    /// At least one; every inner packet must fit one of them (RFC 4301 5.2 step 4).
    pub selectors: Vec<TrafficSelector>,
}

impl SaSpec {
    /// Selector pairs one SA may carry across the process boundary.
    pub const MAX_SELECTORS: usize = 8;
    /// Each of which serves a selector of its own.
    pub const MAX_ALSO: usize = Self::MAX_SELECTORS - 1;

    /// Every policy that it serves.
    pub fn policies(&self) -> impl Iterator<Item = PolicyId> + '_ {
        std::iter::once(self.policy).chain(self.also.iter().copied())
    }
}
