//! The five messages: command, acknowledgement, event, frame head.
use super::{
    Malformed, PolicyRecord, SaRecord, Unfit,
    addr::{AddrRecord, SocketRecord},
    network::NetworkRecord,
    spec,
    watch::WatchRecord,
};
use crate::contract::{Ack, Command, Event, Expiry, FrameKind, FrameMeta, PacketInfo, Refusal};
use crate::layout::MAX_FRAME;
use sa::{PolicyId, SaSlot, Spi};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};
use zeroize::Zeroizing;

#[repr(C)]
#[derive(FromBytes, IntoBytes, Immutable, KnownLayout)]
struct CommandHead {
    seq: u64,
    kind: u32,
    reserved: u32,
}
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct RemoveRecord {
    slot: u32,
    spi: u32,
}
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct MoveRecord {
    slot: u32,
    spi: u32,
    ends: [AddrRecord; 2],
    encap_ports: [u16; 2],
    encap: u32,
}
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct GenerationRecord {
    generation: u64,
    count: u64,
}
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct FailedRecord {
    policy: u32,
    retry_ms: u32,
}
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct EditRecord {
    from: u64,
    generation: u64,
}
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct InsertRecord {
    policy: PolicyRecord,
    /// 0: before all others.
    after: u32,
    reserved: u32,
}

const HEAD: usize = size_of::<CommandHead>();
/// Head and the largest body.
pub const COMMAND_BYTES: usize = HEAD + size_of::<SaRecord>();
const _: () = assert!(COMMAND_BYTES == 1160 && COMMAND_BYTES.is_multiple_of(8));

const INSTALL: u32 = 1;
const REMOVE: u32 = 2;
const MOVE: u32 = 3;
const POLICY_BEGIN: u32 = 4;
const POLICY: u32 = 5;
const POLICY_COMMIT: u32 = 6;
const ACQUIRE_FAILED: u32 = 7;
const POLICY_EDIT: u32 = 8;
const POLICY_INSERT: u32 = 9;
const POLICY_REMOVE: u32 = 10;
const NETWORK_BEGIN: u32 = 11;
const ADDRESS: u32 = 12;
const ROUTE: u32 = 13;
const NETWORK_COMMIT: u32 = 14;
const WATCH: u32 = 15;
const UNWATCH: u32 = 16;

pub fn encode_command(seq: u64, command: &Command) -> Result<Zeroizing<[u8; COMMAND_BYTES]>, Unfit> {
    let mut out = Zeroizing::new([0; COMMAND_BYTES]);
    let mut put = |kind: u32, body: &[u8]| {
        out[..HEAD].copy_from_slice(CommandHead { seq, kind, reserved: 0 }.as_bytes());
        out[HEAD..HEAD + body.len()].copy_from_slice(body);
    };
    match command {
        Command::InstallSa(spec) => put(INSTALL, SaRecord::encode(spec)?.as_bytes()),
        Command::RemoveSa { slot, spi } => {
            put(REMOVE, RemoveRecord { slot: slot.0, spi: spi.get() }.as_bytes());
        }
        Command::MoveSa { slot, spi, ends, encap } => put(
            MOVE,
            MoveRecord {
                slot: slot.0,
                spi: spi.get(),
                ends: [ends.local.into(), ends.remote.into()],
                encap_ports: encap.map_or([0; 2], |e| [e.local_port, e.remote_port]),
                encap: encap.is_some().into(),
            }
            .as_bytes(),
        ),
        Command::PolicyBegin { generation, count } => {
            put(POLICY_BEGIN, GenerationRecord { generation: *generation, count: (*count).into() }.as_bytes())
        }
        Command::Policy(policy) => put(POLICY, PolicyRecord::encode(policy).as_bytes()),
        Command::PolicyCommit { generation } => {
            put(POLICY_COMMIT, GenerationRecord { generation: *generation, count: 0 }.as_bytes());
        }
        Command::PolicyEdit { from, generation } => {
            put(POLICY_EDIT, EditRecord { from: *from, generation: *generation }.as_bytes());
        }
        Command::PolicyInsert { after, policy } => {
            let after = after.map_or(0, |id| id.0);
            put(
                POLICY_INSERT,
                InsertRecord { policy: PolicyRecord::encode(policy), after, reserved: 0 }.as_bytes(),
            );
        }
        Command::PolicyRemove { policy } => put(POLICY_REMOVE, policy.0.as_bytes()),
        Command::AcquireFailed { policy, retry_ms } => {
            put(ACQUIRE_FAILED, FailedRecord { policy: policy.0, retry_ms: *retry_ms }.as_bytes());
        }
        Command::NetworkBegin => put(NETWORK_BEGIN, &[]),
        Command::Address { interface, address, prefix_len } => {
            put(ADDRESS, NetworkRecord::address(interface, *address, *prefix_len)?.as_bytes());
        }
        Command::Route { dst, via } => put(ROUTE, NetworkRecord::route(*dst, via)?.as_bytes()),
        Command::NetworkCommit { count } => put(NETWORK_COMMIT, count.as_bytes()),
        Command::Watch(watch) => put(WATCH, WatchRecord::encode(watch)?.as_bytes()),
        Command::Unwatch { number } => put(UNWATCH, number.as_bytes()),
    }
    Ok(out)
}

fn body<T: FromBytes>(bytes: &[u8]) -> Result<T, Malformed> {
    bytes
        .get(HEAD..)
        .and_then(|b| T::read_from_prefix(b).ok())
        .map(|(record, _)| record)
        .ok_or(Malformed("length"))
}

/// The sequence number comes out in every case, so that a refusal can name it.
pub fn decode_command(bytes: &[u8; COMMAND_BYTES]) -> (u64, Result<Command, Malformed>) {
    let Ok((head, _)) = CommandHead::read_from_prefix(bytes) else {
        return (0, Err(Malformed("length")));
    };
    (head.seq, decode_body(head.kind, bytes))
}
fn decode_body(kind: u32, bytes: &[u8]) -> Result<Command, Malformed> {
    Ok(match kind {
        INSTALL => Command::InstallSa(Box::new(body::<SaRecord>(bytes)?.decode()?)),
        REMOVE => {
            let r: RemoveRecord = body(bytes)?;
            Command::RemoveSa { slot: SaSlot(r.slot), spi: spec::spi(r.spi)? }
        }
        MOVE => {
            let r: MoveRecord = body(bytes)?;
            let encap = u8::try_from(r.encap).map_err(|_| Malformed("encapsulation"))?;
            Command::MoveSa {
                slot: SaSlot(r.slot),
                spi: spec::spi(r.spi)?,
                ends: spec::ends(&r.ends)?,
                encap: spec::encap(encap, r.encap_ports)?,
            }
        }
        POLICY_BEGIN => {
            let r: GenerationRecord = body(bytes)?;
            let count = u32::try_from(r.count).map_err(|_| Malformed("policy count"))?;
            Command::PolicyBegin { generation: r.generation, count }
        }
        POLICY => Command::Policy(body::<PolicyRecord>(bytes)?.decode()?),
        POLICY_COMMIT => Command::PolicyCommit { generation: body::<GenerationRecord>(bytes)?.generation },
        ACQUIRE_FAILED => {
            let r: FailedRecord = body(bytes)?;
            Command::AcquireFailed { policy: spec::policy_id(r.policy)?, retry_ms: r.retry_ms }
        }
        POLICY_EDIT => {
            let r: EditRecord = body(bytes)?;
            Command::PolicyEdit { from: r.from, generation: r.generation }
        }
        POLICY_INSERT => {
            let r: InsertRecord = body(bytes)?;
            let after = if r.after == 0 { None } else { Some(spec::policy_id(r.after)?) };
            Command::PolicyInsert { after, policy: r.policy.decode()? }
        }
        POLICY_REMOVE => Command::PolicyRemove { policy: spec::policy_id(body(bytes)?)? },
        NETWORK_BEGIN => Command::NetworkBegin,
        ADDRESS => body::<NetworkRecord>(bytes)?.decode_address()?,
        ROUTE => body::<NetworkRecord>(bytes)?.decode_route()?,
        NETWORK_COMMIT => Command::NetworkCommit { count: body(bytes)? },
        WATCH => Command::Watch(Box::new(body::<WatchRecord>(bytes)?.decode()?)),
        UNWATCH => Command::Unwatch { number: body(bytes)? },
        _ => return Err(Malformed("command kind")),
    })
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct AckRecord {
    seq: u64,
    /// 0 is success, else a `Refusal`.
    refusal: u64,
}
pub const ACK_BYTES: usize = size_of::<AckRecord>();
const _: () = assert!(ACK_BYTES == 16);

impl Refusal {
    const ALL: [Self; 11] = [
        Self::Malformed,
        Self::NoSuchSlot,
        Self::SlotInUse,
        Self::NoSuchSa,
        Self::DuplicateSpi,
        Self::NoSuchPolicy,
        Self::BadTransaction,
        Self::NoEngine,
        Self::Full,
        Self::Unsupported,
        Self::NoSuchInterface,
    ];
}

// A refusal added to the contract has to be added to `ALL` as well.
const _: () = {
    let last = match Refusal::Malformed {
        Refusal::Malformed
        | Refusal::NoSuchSlot
        | Refusal::SlotInUse
        | Refusal::NoSuchSa
        | Refusal::DuplicateSpi
        | Refusal::NoSuchPolicy
        | Refusal::BadTransaction
        | Refusal::NoEngine
        | Refusal::Full
        | Refusal::Unsupported
        | Refusal::NoSuchInterface => Refusal::NoSuchInterface,
    };
    assert!(Refusal::ALL.len() == last as usize);
};

pub fn encode_ack(ack: &Ack) -> [u8; ACK_BYTES] {
    let refusal = ack.result.err().map_or(0, |r| r as u64);
    zerocopy::transmute!(AckRecord { seq: ack.seq, refusal })
}
pub fn decode_ack(bytes: &[u8; ACK_BYTES]) -> Result<Ack, Malformed> {
    let record: AckRecord = zerocopy::transmute!(*bytes);
    let result = match record.refusal {
        0 => Ok(()),
        raw => Err(Refusal::ALL.into_iter().find(|r| *r as u64 == raw).ok_or(Malformed("refusal"))?),
    };
    Ok(Ack { seq: record.seq, result })
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct EventRecord {
    kind: u32,
    /// Policy, or slot.
    id: u32,
    spi: u32,
    expiry: u32,
    protocol: u32,
    first: SocketRecord,
    second: SocketRecord,
    reserved: u32,
}
pub const EVENT_BYTES: usize = size_of::<EventRecord>();
const _: () = assert!(EVENT_BYTES == 80);

const ACQUIRE: u32 = 1;
const SOFT_EXPIRE: u32 = 2;
const HARD_EXPIRE: u32 = 3;
const PEER_MOVED: u32 = 4;
const UNKNOWN_SPI: u32 = 5;
const MISMATCH: u32 = 6;

pub fn encode_event(event: &Event) -> [u8; EVENT_BYTES] {
    let blank = EventRecord {
        kind: 0,
        id: 0,
        spi: 0,
        expiry: 0,
        protocol: 0,
        first: SocketRecord::ZERO,
        second: SocketRecord::ZERO,
        reserved: 0,
    };
    let expired = |kind, slot: SaSlot, spi: Spi, why: Expiry| EventRecord {
        kind,
        id: slot.0,
        spi: spi.get(),
        expiry: why as u32,
        ..blank
    };
    let about = |kind, id, spi, p: PacketInfo| EventRecord {
        kind,
        id,
        spi,
        protocol: p.protocol.into(),
        first: std::net::SocketAddr::new(p.src, p.src_port).into(),
        second: std::net::SocketAddr::new(p.dst, p.dst_port).into(),
        ..blank
    };
    let record = match *event {
        Event::Acquire { policy: PolicyId(id), packet } => about(ACQUIRE, id, 0, packet),
        Event::Mismatch { slot, spi, packet } => about(MISMATCH, slot.0, spi.get(), packet),
        Event::SoftExpire { slot, spi, why } => expired(SOFT_EXPIRE, slot, spi, why),
        Event::HardExpire { slot, spi, why } => expired(HARD_EXPIRE, slot, spi, why),
        Event::PeerMoved { slot, spi, from } => {
            EventRecord { kind: PEER_MOVED, id: slot.0, spi: spi.get(), first: from.into(), ..blank }
        }
        Event::UnknownSpi { spi, local, remote } => EventRecord {
            kind: UNKNOWN_SPI,
            spi,
            first: std::net::SocketAddr::new(local, 0).into(),
            second: std::net::SocketAddr::new(remote, 0).into(),
            ..blank
        },
    };
    zerocopy::transmute!(record)
}
pub fn decode_event(bytes: &[u8; EVENT_BYTES]) -> Result<Event, Malformed> {
    let r: EventRecord = zerocopy::transmute!(*bytes);
    let why = || match r.expiry {
        0 => Ok(Expiry::Seconds),
        1 => Ok(Expiry::Bytes),
        2 => Ok(Expiry::Packets),
        3 => Ok(Expiry::Sequence),
        _ => Err(Malformed("expiry")),
    };
    let packet = || {
        let (src, dst) = (r.first.decode()?, r.second.decode()?);
        Ok(PacketInfo {
            src: src.ip(),
            dst: dst.ip(),
            protocol: u8::try_from(r.protocol).map_err(|_| Malformed("protocol"))?,
            src_port: src.port(),
            dst_port: dst.port(),
        })
    };
    let slot = SaSlot(r.id);
    Ok(match r.kind {
        ACQUIRE => Event::Acquire { policy: spec::policy_id(r.id)?, packet: packet()? },
        MISMATCH => Event::Mismatch { slot, spi: spec::spi(r.spi)?, packet: packet()? },
        SOFT_EXPIRE => Event::SoftExpire { slot, spi: spec::spi(r.spi)?, why: why()? },
        HARD_EXPIRE => Event::HardExpire { slot, spi: spec::spi(r.spi)?, why: why()? },
        PEER_MOVED => Event::PeerMoved { slot, spi: spec::spi(r.spi)?, from: r.first.decode()? },
        UNKNOWN_SPI => {
            Event::UnknownSpi { spi: r.spi, local: r.first.decode()?.ip(), remote: r.second.decode()?.ip() }
        }
        _ => return Err(Malformed("event kind")),
    })
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
struct FrameHead {
    len: u32,
    kind: u32,
    local: SocketRecord,
    remote: SocketRecord,
}
pub const FRAME_HEAD_BYTES: usize = size_of::<FrameHead>();
const _: () = assert!(FRAME_HEAD_BYTES == 64);

pub fn encode_frame(meta: &FrameMeta, len: usize) -> Result<[u8; FRAME_HEAD_BYTES], Unfit> {
    if len > MAX_FRAME {
        return Err(Unfit::Frame(len));
    }
    Ok(zerocopy::transmute!(FrameHead {
        len: len as u32,
        kind: meta.kind as u32,
        local: meta.local.into(),
        remote: meta.remote.into(),
    }))
}
/// The meta data and the payload's length, at most [`MAX_FRAME`].
pub fn decode_frame(bytes: &[u8; FRAME_HEAD_BYTES]) -> Result<(FrameMeta, usize), Malformed> {
    let r: FrameHead = zerocopy::transmute!(*bytes);
    let len = r.len as usize;
    if len > MAX_FRAME {
        return Err(Malformed("frame length"));
    }
    let kind = match r.kind {
        0 => FrameKind::Ike,
        1 => FrameKind::Raw,
        _ => return Err(Malformed("frame kind")),
    };
    Ok((FrameMeta { local: r.local.decode()?, remote: r.remote.decode()?, kind }, len))
}
