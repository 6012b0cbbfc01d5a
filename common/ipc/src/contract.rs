//! What the two processes say to each other, as Rust values. How they travel is in `record`.
use crate::watch::Watch;
use sa::{DropReason, Encap, PolicyId, PolicySpec, Prefix, SaSlot, SaSpec, Spi, TunnelEnds};
use std::net::{IpAddr, SocketAddr};

/// Slow path → fast path. Each is answered by exactly one [`Ack`] with the same sequence number.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// The slot must be free. An outbound SA becomes the newest one bound to its policy: from the next
    /// burst on, packets whose selectors it covers use it (make before break).
    InstallSa(Box<SaSpec>),
    /// Unbinds, stops, waits until no worker refers to it, wipes the keys, then acknowledges.
    /// The slot may be used again after the acknowledgement.
    RemoveSa { slot: SaSlot, spi: Spi },
    /// New outer addresses or ports (NAT moved, MOBIKE).
    MoveSa { slot: SaSlot, spi: Spi, ends: TunnelEnds, encap: Option<Encap> },
    /// Opens a transaction that says all policies; an open one is dropped.
    PolicyBegin { generation: u64, count: u32 },
    /// Next policy in rank order.
    Policy(PolicySpec),
    /// Opens a transaction that changes some of the policies of generation `from`, which must be in force; an open one
    /// is dropped.
    PolicyEdit { from: u64, generation: u64 },
    /// Within an edit: a new policy right behind another one, or before all with `None`.
    PolicyInsert { after: Option<PolicyId>, policy: PolicySpec },
    /// Within an edit. The same policy put in again, wherever, keeps its SAs.
    PolicyRemove { policy: PolicyId },
    /// All or nothing, between two bursts. Policies whose id and content did not change keep their SAs.
    PolicyCommit { generation: u64 },
    /// The slow path gave up on an acquire: the policy may ask again after `retry_ms`.
    AcquireFailed { policy: PolicyId, retry_ms: u32 },
    /// Opens a transaction that says all addresses and routes of the gateway; an open one is dropped.
    NetworkBegin,
    /// Within it: an address of ours, host bits and all.
    Address { interface: String, address: IpAddr, prefix_len: u8 },
    /// Within it: each destination once, the networks of our addresses among them.
    Route { dst: Prefix, via: Via },
    /// So many addresses and routes were said: all of them or nothing, between two bursts.
    NetworkCommit { count: u32 },
    /// Packets are copied for somebody to look at; what was watched before no longer is.
    Watch(Box<Watch>),
    /// No more of that. Acknowledged at once; [`crate::watch::Seen::Over`] says when the last copy is through.
    Unwatch { number: u32 },
}

/// Where a route leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Via {
    /// Packets are dropped.
    Blackhole,
    /// The destination is on this link.
    Link {
        interface: String,
    },
    Gateway {
        interface: String,
        address: IpAddr,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ack {
    pub seq: u64,
    pub result: Result<(), Refusal>,
}

/// Why a command was not carried out; nothing has changed then.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[repr(u8)]
pub enum Refusal {
    #[error("the record does not decode")]
    Malformed = 1,
    #[error("the slot is beyond the table")]
    NoSuchSlot = 2,
    #[error("the slot is in use")]
    SlotInUse = 3,
    #[error("no SA with that SPI in the slot")]
    NoSuchSa = 4,
    #[error("another inbound SA has that SPI")]
    DuplicateSpi = 5,
    #[error("the policy is not in the table")]
    NoSuchPolicy = 6,
    #[error("no policy transaction is open, or it is not complete")]
    BadTransaction = 7,
    #[error("no engine runs this suite")]
    NoEngine = 8,
    #[error("a table is full")]
    Full = 9,
    #[error(
        "the fast path cannot run such an SA (AH that encrypts or goes through a NAT, mixed address families, no selector)"
    )]
    Unsupported = 10,
    #[error("there is no such interface: start the gateway again after a change of interfaces")]
    NoSuchInterface = 11,
}

/// Fast path → slow path.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Event {
    /// A packet needs an SA. Said once per policy until an SA is bound or `AcquireFailed` came.
    Acquire {
        policy: PolicyId,
        packet: PacketInfo,
    },
    SoftExpire {
        slot: SaSlot,
        spi: Spi,
        why: Expiry,
    },
    /// The SA no longer passes packets.
    HardExpire {
        slot: SaSlot,
        spi: Spi,
        why: Expiry,
    },
    /// A packet with a good ICV and a new highest number came from another address or port.
    PeerMoved {
        slot: SaSlot,
        spi: Spi,
        from: SocketAddr,
    },
    /// ESP with an SPI that is not in the table (at most a few a second).
    UnknownSpi {
        spi: u32,
        local: IpAddr,
        remote: IpAddr,
    },
    /// What came out of an SA is not what the SA is for (at most a few a second).
    Mismatch {
        slot: SaSlot,
        spi: Spi,
        packet: PacketInfo,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Expiry {
    Seconds = 0,
    Bytes = 1,
    Packets = 2,
    /// The sequence number space is used up.
    Sequence = 3,
}

/// A packet in an event. Ports that cannot be seen are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PacketInfo {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: u8,
    pub src_port: u16,
    pub dst_port: u16,
}

/// A UDP payload of IKE on its way between wire and slow path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameMeta {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub kind: FrameKind,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum FrameKind {
    /// The payload is an IKE message; the fast path removes and adds the non-ESP marker on port 4500.
    Ike = 0,
    /// The payload is sent as it is (a NAT keepalive's single 0xff).
    Raw = 1,
}

/// What the statistics table says of one SA, summed over workers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SaCounters {
    pub packets: u64,
    pub bytes: u64,
    /// Packets that named this SA and were dropped.
    pub dropped: u64,
    /// Outbound: last number used. Inbound: highest number accepted.
    pub last_seq: u64,
    /// Seconds on the fast path's monotonic clock since a packet last passed; `u64::MAX` for never.
    pub idle_seconds: u64,
}

/// Per-port and whole-gateway counters, summed over workers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayCounters {
    pub drops: Vec<(DropReason, u64)>,
    pub ports: Vec<PortCounters>,
}
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PortCounters {
    pub name: String,
    pub rx_packets: u64,
    pub rx_bytes: u64,
    pub tx_packets: u64,
    pub tx_bytes: u64,
    pub rx_missed: u64,
    pub tx_errors: u64,
}
