//! Looking on: which packets the fast path copies for somebody who captures or traces, and what it says of each.
use crate::contract::PacketInfo;
use sa::{DropReason, PolicyId, Prefix, SaSlot, Spi};

/// Bytes of a packet that are copied at most.
pub const MAX_SNAP: usize = 2048;

/// Command: what is looked at, and when that ends by itself. One at a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Watch {
    /// Whatever comes of it has this number.
    pub number: u32,
    pub of: Subject,
    /// Bytes copied of each packet, at most [`MAX_SNAP`].
    pub snap: u16,
    pub seconds: u32,
    pub packets: u64,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Subject {
    /// What these policies are for, both ways, under whatever SAs they have meanwhile.
    Policies(Vec<PolicyId>),
    Sas(Vec<(SaSlot, Spi)>),
    /// Packets of a flow as they come, or inside of a tunnel that ends here.
    Flow(FlowFilter),
}
impl Subject {
    /// Policies or SAs that one record has room for.
    pub const MOST: usize = 64;
}

/// What is not said fits everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FlowFilter {
    pub src: Option<Prefix>,
    pub dst: Option<Prefix>,
    pub protocol: Option<u8>,
    pub src_port: Option<u16>,
    pub dst_port: Option<u16>,
}

/// What comes back, in order.
#[expect(clippy::large_enum_variant, reason = "the small one comes once")]
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Seen {
    Packet(Sighting),
    /// The last of its watch. `lost` were seen and found no room.
    Over {
        watch: u32,
        packets: u64,
        lost: u64,
    },
}

/// A packet at one place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sighting {
    pub watch: u32,
    /// The same for all sightings of a packet, and of what became of it.
    pub packet: u64,
    /// Nanoseconds since 1970.
    pub time: u64,
    pub place: Place,
    /// It goes out there; else it came in there.
    pub leaves: bool,
    /// Under ESP or AH of ours.
    pub protected: bool,
    pub wire_len: u32,
    /// `None` when it is no packet of IP.
    pub flow: Option<PacketInfo>,
    /// Only with the first sighting of a packet; and what the graph did with it.
    pub fate: Option<Fate>,
    pub trail: Trail,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// A frame on a port.
    Port(u16),
    /// A frame for the gateway's own stack.
    Host,
    /// An IP packet of the gateway's own stack.
    Own,
    /// An IP packet that waits for the MAC address of its next hop.
    Waiting,
}
impl Place {
    /// What is seen there begins with an Ethernet header.
    pub fn has_frames(self) -> bool {
        matches!(self, Self::Port(_) | Self::Host)
    }
}

/// What became of a packet in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    Sent {
        port: u16,
    },
    Dropped(DropReason),
    Host,
    Ike,
    /// It waits for the MAC address of its next hop.
    Waiting,
    /// It waits for the other fragments of its datagram.
    Held,
    /// ICMP about a path to a peer; the control thread looks at it.
    Hint,
    /// A crypto device has not given it back in time to tell.
    InEngine,
}

/// What the graph did, in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// It is ESP for us.
    Esp {
        spi: u32,
    },
    /// It is AH for us.
    Ah {
        spi: u32,
    },
    /// Its SA is there, and its number may be new.
    Admitted {
        spi: u32,
        number: u64,
    },
    Opened {
        ok: bool,
    },
    /// `policy`: the first that fits it; 0 for none.
    Ruled {
        policy: u32,
        word: RuledWord,
    },
    /// Under the headers of its SA; several fragments have several numbers, of which this is the first.
    Framed {
        spi: u32,
        number: u64,
        pieces: u16,
    },
    Sealed {
        ok: bool,
    },
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RuledWord {
    Pass,
    /// Under the SA with this SPI.
    Protect(u32),
    Acquire,
    /// For the gateway itself.
    Ours,
    /// For everybody on the link, or a group.
    Link,
    /// Not what the SA is for that it came out of.
    Mismatch,
    Drop(DropReason),
}

/// A few steps: ESP inside of AH has most of all, and room.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Trail {
    steps: [Option<Step>; Self::MOST],
}
impl Trail {
    pub const MOST: usize = 12;
    /// More than there is room for are left out.
    pub fn push(&mut self, step: Step) {
        if let Some(place) = self.steps.iter_mut().find(|place| place.is_none()) {
            *place = Some(step);
        }
    }
    pub fn steps(&self) -> impl Iterator<Item = Step> {
        self.steps.into_iter().flatten()
    }
}
