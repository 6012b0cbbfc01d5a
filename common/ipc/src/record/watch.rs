//! A watch, and what is seen under it.
use super::{
    Malformed, Unfit,
    addr::{AddrRecord, SocketRecord},
    spec,
};
use crate::contract::PacketInfo;
use crate::watch::{
    Fate, FlowFilter, MAX_SNAP, Place, RuledWord, Seen, Sighting, Step, Subject, Trail, Watch,
};
use sa::{DropReason, Prefix, SaSlot};
use std::net::SocketAddr;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(super) struct WatchRecord {
    packets: u64,
    number: u32,
    kind: u32,
    snap: u32,
    seconds: u32,
    /// Policies, or SAs.
    count: u32,
    /// Protocol and ports of a flow; [`ANY`] where nothing is said.
    numbers: [u32; 3],
    /// Source and destination of a flow; the length is [`ANY`] where nothing is said.
    lengths: [u32; 2],
    addresses: [AddrRecord; 2],
    /// A policy and 0, or slot and SPI.
    names: [[u32; 2]; Subject::MOST],
}

const ANY: u32 = u32::MAX;
const POLICIES: u32 = 0;
const SAS: u32 = 1;
const FLOW: u32 = 2;

impl WatchRecord {
    pub fn encode(watch: &Watch) -> Result<Self, Unfit> {
        let mut record = Self {
            packets: watch.packets,
            number: watch.number,
            kind: POLICIES,
            snap: watch.snap.into(),
            seconds: watch.seconds,
            count: 0,
            numbers: [ANY; 3],
            lengths: [ANY; 2],
            addresses: [AddrRecord::ZERO; 2],
            names: [[0; 2]; Subject::MOST],
        };
        if usize::from(watch.snap) > MAX_SNAP {
            return Err(Unfit::Snap(watch.snap.into()));
        }
        let names: Vec<[u32; 2]> = match &watch.of {
            Subject::Policies(ids) => ids.iter().map(|id| [id.0, 0]).collect(),
            Subject::Sas(sas) => sas.iter().map(|(slot, spi)| [slot.0, spi.get()]).collect(),
            Subject::Flow(_) => Vec::new(),
        };
        record.count = names.len() as u32;
        let room = record.names.get_mut(..names.len()).ok_or(Unfit::Watched(names.len()))?;
        room.copy_from_slice(&names);
        match &watch.of {
            Subject::Policies(_) => {}
            Subject::Sas(_) => record.kind = SAS,
            Subject::Flow(FlowFilter { src, dst, protocol, src_port, dst_port }) => {
                record.kind = FLOW;
                let ports = [*src_port, *dst_port].map(|port| port.map_or(ANY, u32::from));
                record.numbers = [protocol.map_or(ANY, u32::from), ports[0], ports[1]];
                for (at, prefix) in [src, dst].into_iter().enumerate() {
                    if let Some(prefix) = prefix {
                        record.lengths[at] = prefix.len().into();
                        record.addresses[at] = prefix.addr().into();
                    }
                }
            }
        }
        Ok(record)
    }
    pub fn decode(&self) -> Result<Watch, Malformed> {
        let snap = u16::try_from(self.snap).ok().filter(|snap| usize::from(*snap) <= MAX_SNAP);
        let names = self.names.get(..self.count as usize).ok_or(Malformed("number of what is watched"))?;
        let of = match self.kind {
            POLICIES => {
                Subject::Policies(names.iter().map(|[id, _]| spec::policy_id(*id)).collect::<Result<_, _>>()?)
            }
            SAS => {
                let sa = |[slot, spi]: &[u32; 2]| Ok((SaSlot(*slot), spec::spi(*spi)?));
                Subject::Sas(names.iter().map(sa).collect::<Result<_, _>>()?)
            }
            FLOW => Subject::Flow(self.flow()?),
            _ => return Err(Malformed("kind of watch")),
        };
        let (number, seconds, packets) = (self.number, self.seconds, self.packets);
        Ok(Watch { number, of, snap: snap.ok_or(Malformed("snap length"))?, seconds, packets })
    }
    fn flow(&self) -> Result<FlowFilter, Malformed> {
        let [protocol, src_port, dst_port] = self.numbers;
        let said = |raw: u32| (raw != ANY).then_some(raw);
        let port = |raw| said(raw).map(|raw| u16::try_from(raw).map_err(|_| Malformed("port"))).transpose();
        let prefix = |at: usize| -> Result<Option<Prefix>, Malformed> {
            let Some(len) = said(self.lengths[at]) else { return Ok(None) };
            let len = u8::try_from(len).map_err(|_| Malformed("prefix length"))?;
            let prefix = Prefix::new(self.addresses[at].decode()?, len);
            prefix.ok_or(Malformed("prefix length")).map(Some)
        };
        let protocol = said(protocol).map(|raw| u8::try_from(raw).map_err(|_| Malformed("protocol")));
        Ok(FlowFilter {
            src: prefix(0)?,
            dst: prefix(1)?,
            protocol: protocol.transpose()?,
            src_port: port(src_port)?,
            dst_port: port(dst_port)?,
        })
    }
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct SeenHead {
    time: u64,
    packet: u64,
    lost: u64,
    watch: u32,
    /// 0 a packet, 1 the end.
    kind: u32,
    wire_len: u32,
    len: u32,
    place: u32,
    port: u32,
    flags: u32,
    fate: u32,
    /// Port, or reason.
    fate_of: u32,
    /// Beyond those of IP: none.
    protocol: u32,
    ends: [SocketRecord; 2],
    /// Kind in the lowest byte; what is narrow above it, then what is wide.
    steps: [[u64; 2]; Trail::MOST],
}
pub const SEEN_HEAD_BYTES: usize = size_of::<SeenHead>();
const _: () = assert!(SEEN_HEAD_BYTES == 312);
const NO_FLOW: u32 = 256;

const LEAVES: u32 = 1;
const PROTECTED: u32 = 2;

fn reason(raw: u32) -> Result<DropReason, Malformed> {
    u8::try_from(raw).ok().and_then(DropReason::from_u8).ok_or(Malformed("drop reason"))
}
fn fate(fate: Option<Fate>) -> [u32; 2] {
    match fate {
        None => [0, 0],
        Some(Fate::Sent { port }) => [1, port.into()],
        Some(Fate::Dropped(reason)) => [2, reason as u32],
        Some(Fate::Host) => [3, 0],
        Some(Fate::Ike) => [4, 0],
        Some(Fate::Waiting) => [5, 0],
        Some(Fate::Held) => [6, 0],
        Some(Fate::Hint) => [7, 0],
        Some(Fate::InEngine) => [8, 0],
    }
}
fn decode_fate(kind: u32, of: u32) -> Result<Option<Fate>, Malformed> {
    Ok(Some(match kind {
        0 => return Ok(None),
        1 => Fate::Sent { port: u16::try_from(of).map_err(|_| Malformed("port"))? },
        2 => Fate::Dropped(reason(of)?),
        3 => Fate::Host,
        4 => Fate::Ike,
        5 => Fate::Waiting,
        6 => Fate::Held,
        7 => Fate::Hint,
        8 => Fate::InEngine,
        _ => return Err(Malformed("fate")),
    }))
}
fn step(step: Step) -> [u64; 2] {
    let (kind, small, large): (u64, u32, u64) = match step {
        Step::Esp { spi } => (1, spi, 0),
        Step::Ah { spi } => (2, spi, 0),
        Step::Admitted { spi, number } => (3, spi, number),
        Step::Opened { ok } => (4, ok.into(), 0),
        Step::Framed { spi, number, pieces } => {
            return [5 | u64::from(pieces) << 8 | u64::from(spi) << 32, number];
        }
        Step::Sealed { ok } => (6, ok.into(), 0),
        Step::Ruled { policy, word } => {
            let (word, of) = match word {
                RuledWord::Pass => (0, 0),
                RuledWord::Protect(spi) => (1, spi),
                RuledWord::Acquire => (2, 0),
                RuledWord::Ours => (3, 0),
                RuledWord::Link => (4, 0),
                RuledWord::Mismatch => (5, 0),
                RuledWord::Drop(reason) => (6, reason as u32),
            };
            (7, policy, u64::from(of) << 8 | word)
        }
    };
    [kind | u64::from(small) << 32, large]
}
fn decode_step([first, large]: [u64; 2]) -> Result<Option<Step>, Malformed> {
    let (kind, middle, small) = (first & 0xff, (first >> 8) as u32 & 0xff_ffff, (first >> 32) as u32);
    let ok = || match small {
        0 => Ok(false),
        1 => Ok(true),
        _ => Err(Malformed("step")),
    };
    if kind != 5 && middle != 0 || !matches!(kind, 3 | 5 | 7) && large != 0 {
        return Err(Malformed("step"));
    }
    Ok(Some(match kind {
        0 if small == 0 => return Ok(None),
        1 => Step::Esp { spi: small },
        2 => Step::Ah { spi: small },
        3 => Step::Admitted { spi: small, number: large },
        4 => Step::Opened { ok: ok()? },
        5 => {
            let pieces = u16::try_from(middle).map_err(|_| Malformed("step"))?;
            Step::Framed { spi: small, number: large, pieces }
        }
        6 => Step::Sealed { ok: ok()? },
        7 => {
            let of = u32::try_from(large >> 8).map_err(|_| Malformed("step"))?;
            let word = match (large & 0xff, of) {
                (0, 0) => RuledWord::Pass,
                (1, spi) => RuledWord::Protect(spi),
                (2, 0) => RuledWord::Acquire,
                (3, 0) => RuledWord::Ours,
                (4, 0) => RuledWord::Link,
                (5, 0) => RuledWord::Mismatch,
                (6, raw) => RuledWord::Drop(reason(raw)?),
                _ => return Err(Malformed("step")),
            };
            Step::Ruled { policy: small, word }
        }
        _ => return Err(Malformed("step")),
    }))
}

/// `len` bytes of the packet follow.
pub fn encode_seen(seen: &Seen, len: usize) -> Result<[u8; SEEN_HEAD_BYTES], Unfit> {
    let blank = SeenHead {
        time: 0,
        packet: 0,
        lost: 0,
        watch: 0,
        kind: 0,
        wire_len: 0,
        len: 0,
        place: 0,
        port: 0,
        flags: 0,
        fate: 0,
        fate_of: 0,
        protocol: NO_FLOW,
        ends: [SocketRecord::ZERO; 2],
        steps: [[0; 2]; Trail::MOST],
    };
    if len > MAX_SNAP {
        return Err(Unfit::Snap(len));
    }
    Ok(zerocopy::transmute!(match seen {
        Seen::Over { watch, packets, lost } => {
            SeenHead { kind: 1, watch: *watch, packet: *packets, lost: *lost, ..blank }
        }
        Seen::Packet(s) => {
            let (place, port) = match s.place {
                Place::Port(port) => (0, port),
                Place::Host => (1, 0),
                Place::Own => (2, 0),
                Place::Waiting => (3, 0),
            };
            let [fate, fate_of] = fate(s.fate);
            let socket = |address, port| SocketRecord::from(SocketAddr::new(address, port));
            let (protocol, ends) = match s.flow {
                None => (NO_FLOW, blank.ends),
                Some(p) => (p.protocol.into(), [socket(p.src, p.src_port), socket(p.dst, p.dst_port)]),
            };
            let mut steps = blank.steps;
            steps.iter_mut().zip(s.trail.steps()).for_each(|(to, from)| *to = step(from));
            SeenHead {
                time: s.time,
                packet: s.packet,
                watch: s.watch,
                wire_len: s.wire_len,
                len: len as u32,
                place,
                port: port.into(),
                flags: if s.leaves { LEAVES } else { 0 } | if s.protected { PROTECTED } else { 0 },
                fate,
                fate_of,
                protocol,
                ends,
                steps,
                ..blank
            }
        }
    }))
}
/// And how many bytes of the packet follow, at most [`MAX_SNAP`].
pub fn decode_seen(bytes: &[u8; SEEN_HEAD_BYTES]) -> Result<(Seen, usize), Malformed> {
    let r: SeenHead = zerocopy::transmute!(*bytes);
    let len = r.len as usize;
    if len > MAX_SNAP {
        return Err(Malformed("length of what was seen"));
    }
    match r.kind {
        0 => {}
        1 => return Ok((Seen::Over { watch: r.watch, packets: r.packet, lost: r.lost }, 0)),
        _ => return Err(Malformed("kind of what was seen")),
    }
    let place = match r.place {
        0 => Place::Port(u16::try_from(r.port).map_err(|_| Malformed("port"))?),
        1 => Place::Host,
        2 => Place::Own,
        3 => Place::Waiting,
        _ => return Err(Malformed("place")),
    };
    if r.flags & !(LEAVES | PROTECTED) != 0 {
        return Err(Malformed("flags"));
    }
    let flow = match u8::try_from(r.protocol) {
        Err(_) if r.protocol == NO_FLOW => None,
        Err(_) => return Err(Malformed("protocol")),
        Ok(protocol) => {
            let (src, dst) = (r.ends[0].decode()?, r.ends[1].decode()?);
            let (src_port, dst_port) = (src.port(), dst.port());
            Some(PacketInfo { src: src.ip(), dst: dst.ip(), protocol, src_port, dst_port })
        }
    };
    let mut trail = Trail::default();
    for step in r.steps {
        decode_step(step)?.into_iter().for_each(|step| trail.push(step));
    }
    let sighting = Sighting {
        watch: r.watch,
        packet: r.packet,
        time: r.time,
        place,
        leaves: r.flags & LEAVES != 0,
        protected: r.flags & PROTECTED != 0,
        wire_len: r.wire_len,
        flow,
        fate: decode_fate(r.fate, r.fate_of)?,
        trail,
    };
    Ok((Seen::Packet(sighting), len))
}
