//! Strategies for the contract's values.
#![allow(dead_code)]
use ipc::watch::*;
use ipc::*;
use proptest::prelude::*;
use sa::*;
use std::net::{IpAddr, SocketAddr};

pub fn addr() -> impl Strategy<Value = IpAddr> {
    prop_oneof![any::<[u8; 4]>().prop_map(IpAddr::from), any::<[u8; 16]>().prop_map(IpAddr::from)]
}
pub fn socket() -> impl Strategy<Value = SocketAddr> {
    (addr(), any::<u16>()).prop_map(|(a, p)| SocketAddr::new(a, p))
}
fn pair(v4: bool) -> impl Strategy<Value = (IpAddr, IpAddr)> {
    any::<(u128, u128)>().prop_map(move |(a, b)| {
        let (a, b) = (a.min(b), a.max(b));
        if v4 {
            let (a, b) = ((a >> 96) as u32, (b >> 96) as u32);
            (a.to_be_bytes().into(), b.to_be_bytes().into())
        } else {
            (a.to_be_bytes().into(), b.to_be_bytes().into())
        }
    })
}
fn range(v4: bool) -> impl Strategy<Value = AddrRange> {
    pair(v4).prop_map(|(a, b)| AddrRange::new(a, b).unwrap())
}
fn ports() -> impl Strategy<Value = PortRange> {
    any::<(u16, u16)>().prop_map(|(a, b)| PortRange { first: a.min(b), last: a.max(b) })
}
fn selector() -> impl Strategy<Value = TrafficSelector> {
    any::<bool>().prop_flat_map(|v4| {
        (range(v4), range(v4), any::<Option<u8>>(), ports(), ports()).prop_map(
            |(local, remote, protocol, local_port, remote_port)| TrafficSelector {
                local,
                remote,
                protocol,
                local_port,
                remote_port,
            },
        )
    })
}
fn suite() -> impl Strategy<Value = Suite> {
    let all = Encryption::ALL.into_iter().flat_map(|e| Integrity::ALL.into_iter().map(move |i| (e, i)));
    prop::sample::select(all.filter_map(|(e, i)| Suite::new(e, i).ok()).collect::<Vec<_>>())
}
pub fn spi() -> impl Strategy<Value = Spi> {
    (256u32..).prop_map(|raw| Spi::new(raw).unwrap())
}
pub fn slot() -> impl Strategy<Value = SaSlot> {
    any::<u32>().prop_map(SaSlot)
}
fn policy_id() -> impl Strategy<Value = PolicyId> {
    (1u32..).prop_map(PolicyId)
}
fn ends() -> impl Strategy<Value = TunnelEnds> {
    any::<bool>()
        .prop_flat_map(pair)
        .prop_filter("specified", |(a, b)| !a.is_unspecified() && !b.is_unspecified())
        .prop_map(|(local, remote)| TunnelEnds { local, remote })
}
fn encap() -> impl Strategy<Value = Option<Encap>> {
    any::<Option<(u16, u16)>>()
        .prop_map(|o| o.map(|(local_port, remote_port)| Encap { local_port, remote_port }))
}
fn limit() -> impl Strategy<Value = Limit> {
    any::<(u64, u64)>().prop_map(|(soft, hard)| Limit { soft, hard })
}
pub fn sa_spec() -> impl Strategy<Value = SaSpec> {
    let names = (slot(), spi(), policy_id(), suite(), any::<[u8; 132]>(), any::<bool>(), any::<bool>());
    let rest = (
        ends(),
        encap(),
        any::<bool>(),
        prop::sample::select(vec![0u32, 64, 128, 65536]),
        any::<u64>(),
        (limit(), limit(), limit()),
        prop::collection::vec(selector(), 1..=SaSpec::MAX_SELECTORS),
        prop::collection::vec(policy_id(), 0..=SaSpec::MAX_ALSO),
    );
    (names, rest).prop_map(
        |(
            (slot, spi, policy, suite, keys, inbound, tunnel),
            (ends, encap, esn, window, seq, life, selectors, also),
        )| SaSpec {
            slot,
            spi,
            direction: if inbound { Direction::Inbound } else { Direction::Outbound },
            protocol: if suite.encryption() == Encryption::Null { Protocol::Ah } else { Protocol::Esp },
            mode: if tunnel { Mode::Tunnel } else { Mode::Transport },
            suite,
            encryption_key: Key::new(&keys[..suite.encryption().key_len()]).unwrap(),
            salt: Key::new(&keys[64..64 + suite.salt_len()]).unwrap(),
            integrity_key: Key::new(&keys[68..68 + suite.integrity().key_len()]).unwrap(),
            ends,
            encap,
            original: (!tunnel && inbound).then_some(ends),
            esn,
            replay_window: window,
            last_seq: if esn { seq } else { seq >> 32 },
            lifetime: Lifetime { seconds: life.0, bytes: life.1, packets: life.2 },
            policy,
            also,
            selectors,
        },
    )
}
pub fn policy() -> impl Strategy<Value = PolicySpec> {
    let action = prop_oneof![
        Just(Action::Discard),
        Just(Action::Bypass),
        (prop::sample::select(vec![Level::Use, Level::Require, Level::Unique]), any::<bool>())
            .prop_map(|(level, tunnel)| Action::Encrypt { level, tunnel }),
    ];
    let addresses = any::<bool>()
        .prop_flat_map(|v4| (pair(v4), 0..=if v4 { 32u8 } else { 128 }, 0..=if v4 { 32u8 } else { 128 }));
    let df = prop::sample::select(vec![DontFragment::Inherit, DontFragment::Clear, DontFragment::Set]);
    let framing = (df, prop::option::of(0u8..64), any::<bool>(), any::<u16>()).prop_map(
        |(dont_fragment, dscp, clamp_mss, pad_to)| Framing { dont_fragment, dscp, clamp_mss, pad_to },
    );
    (policy_id(), addresses, any::<Option<u8>>(), ports(), ports(), action, framing).prop_map(
        |(id, ((src, dst), src_len, dst_len), protocol, src_port, dst_port, action, framing)| PolicySpec {
            id,
            selector: Selector {
                src: Prefix::new(src, src_len).unwrap(),
                dst: Prefix::new(dst, dst_len).unwrap(),
                protocol,
                src_port,
                dst_port,
            },
            action,
            framing,
        },
    )
}
pub fn command() -> impl Strategy<Value = Command> {
    prop_oneof![
        sa_spec().prop_map(|s| Command::InstallSa(Box::new(s))),
        (slot(), spi()).prop_map(|(slot, spi)| Command::RemoveSa { slot, spi }),
        (slot(), spi(), ends(), encap()).prop_map(|(slot, spi, ends, encap)| Command::MoveSa {
            slot,
            spi,
            ends,
            encap
        }),
        any::<(u64, u32)>().prop_map(|(generation, count)| Command::PolicyBegin { generation, count }),
        policy().prop_map(Command::Policy),
        any::<(u64, u64)>().prop_map(|(from, generation)| Command::PolicyEdit { from, generation }),
        (prop::option::of(policy_id()), policy())
            .prop_map(|(after, policy)| Command::PolicyInsert { after, policy }),
        policy_id().prop_map(|policy| Command::PolicyRemove { policy }),
        any::<u64>().prop_map(|generation| Command::PolicyCommit { generation }),
        (policy_id(), any::<u32>())
            .prop_map(|(policy, retry_ms)| Command::AcquireFailed { policy, retry_ms }),
        Just(Command::NetworkBegin),
        (interface(), addr(), prefix_len()).prop_map(|(interface, address, len)| Command::Address {
            interface,
            address,
            prefix_len: len.min(if address.is_ipv4() { 32 } else { 128 }),
        }),
        (addr(), prefix_len(), via()).prop_map(|(address, len, via)| {
            let len = len.min(if address.is_ipv4() { 32 } else { 128 });
            Command::Route { dst: Prefix::new(address, len).unwrap(), via }
        }),
        any::<u32>().prop_map(|count| Command::NetworkCommit { count }),
        watch().prop_map(|watch| Command::Watch(Box::new(watch))),
        any::<u32>().prop_map(|number| Command::Unwatch { number }),
    ]
}
fn watch() -> impl Strategy<Value = Watch> {
    let some = 0..=Subject::MOST;
    let end = || prop::option::of((addr(), 0..=32u8).prop_map(|(a, len)| Prefix::new(a, len).unwrap()));
    let flow = (end(), end(), any::<Option<u8>>(), any::<Option<u16>>(), any::<Option<u16>>()).prop_map(
        |(src, dst, protocol, src_port, dst_port)| {
            Subject::Flow(FlowFilter { src, dst, protocol, src_port, dst_port })
        },
    );
    let of = prop_oneof![
        prop::collection::vec(policy_id(), some.clone()).prop_map(Subject::Policies),
        prop::collection::vec((slot(), spi()), some).prop_map(Subject::Sas),
        flow,
    ];
    (of, any::<(u32, u32, u64)>(), 0..=MAX_SNAP as u16)
        .prop_map(|(of, (number, seconds, packets), snap)| Watch { number, of, snap, seconds, packets })
}
fn reason() -> impl Strategy<Value = DropReason> {
    prop::sample::select(DropReason::ALL.to_vec())
}
fn step() -> impl Strategy<Value = Step> {
    let word = prop_oneof![
        Just(RuledWord::Pass),
        any::<u32>().prop_map(RuledWord::Protect),
        Just(RuledWord::Acquire),
        Just(RuledWord::Ours),
        Just(RuledWord::Link),
        Just(RuledWord::Mismatch),
        reason().prop_map(RuledWord::Drop),
    ];
    prop_oneof![
        any::<u32>().prop_map(|spi| Step::Esp { spi }),
        any::<u32>().prop_map(|spi| Step::Ah { spi }),
        any::<(u32, u64)>().prop_map(|(spi, number)| Step::Admitted { spi, number }),
        any::<bool>().prop_map(|ok| Step::Opened { ok }),
        (any::<u32>(), word).prop_map(|(policy, word)| Step::Ruled { policy, word }),
        any::<(u32, u64, u16)>().prop_map(|(spi, number, pieces)| Step::Framed { spi, number, pieces }),
        any::<bool>().prop_map(|ok| Step::Sealed { ok }),
    ]
}
pub fn seen() -> impl Strategy<Value = (Seen, Vec<u8>)> {
    let fate = prop_oneof![
        any::<u16>().prop_map(|port| Fate::Sent { port }),
        reason().prop_map(Fate::Dropped),
        prop::sample::select(vec![
            Fate::Host,
            Fate::Ike,
            Fate::Waiting,
            Fate::Held,
            Fate::Hint,
            Fate::InEngine
        ]),
    ];
    let place = prop_oneof![
        any::<u16>().prop_map(Place::Port),
        prop::sample::select(vec![Place::Host, Place::Own, Place::Waiting]),
    ];
    let flow =
        (addr(), addr(), any::<(u8, u16, u16)>()).prop_map(|(src, dst, (protocol, src_port, dst_port))| {
            PacketInfo { src, dst, protocol, src_port, dst_port }
        });
    let steps = prop::collection::vec(step(), 0..=Trail::MOST);
    let numbers = any::<(u32, u64, u64, u32, bool, bool)>();
    let packet = (numbers, place, prop::option::of(flow), prop::option::of(fate), steps).prop_map(
        |((watch, packet, time, wire_len, leaves, protected), place, flow, fate, steps)| {
            let mut trail = Trail::default();
            steps.into_iter().for_each(|step| trail.push(step));
            Seen::Packet(Sighting {
                watch,
                packet,
                time,
                place,
                leaves,
                protected,
                wire_len,
                flow,
                fate,
                trail,
            })
        },
    );
    let over =
        any::<(u32, u64, u64)>().prop_map(|(watch, packets, lost)| Seen::Over { watch, packets, lost });
    prop_oneof![
        (packet, prop::collection::vec(any::<u8>(), 0..=MAX_SNAP)),
        over.prop_map(|over| (over, Vec::new())),
    ]
}
fn prefix_len() -> impl Strategy<Value = u8> {
    0..=128u8
}
fn interface() -> impl Strategy<Value = String> {
    "[a-z][a-z0-9.]{0,62}"
}
fn via() -> impl Strategy<Value = Via> {
    prop_oneof![
        Just(Via::Blackhole),
        interface().prop_map(|interface| Via::Link { interface }),
        (interface(), addr()).prop_map(|(interface, address)| Via::Gateway { interface, address }),
    ]
}
pub fn event() -> impl Strategy<Value = Event> {
    let why =
        || prop::sample::select(vec![Expiry::Seconds, Expiry::Bytes, Expiry::Packets, Expiry::Sequence]);
    prop_oneof![
        (policy_id(), socket(), socket(), any::<u8>()).prop_map(|(policy, src, dst, protocol)| {
            let packet = PacketInfo {
                src: src.ip(),
                dst: dst.ip(),
                protocol,
                src_port: src.port(),
                dst_port: dst.port(),
            };
            Event::Acquire { policy, packet }
        }),
        (slot(), spi(), why()).prop_map(|(slot, spi, why)| Event::SoftExpire { slot, spi, why }),
        (slot(), spi(), why()).prop_map(|(slot, spi, why)| Event::HardExpire { slot, spi, why }),
        (slot(), spi(), socket()).prop_map(|(slot, spi, from)| Event::PeerMoved { slot, spi, from }),
        (slot(), spi(), socket(), socket(), any::<u8>()).prop_map(|(slot, spi, src, dst, protocol)| {
            let packet = PacketInfo {
                src: src.ip(),
                dst: dst.ip(),
                protocol,
                src_port: src.port(),
                dst_port: dst.port(),
            };
            Event::Mismatch { slot, spi, packet }
        }),
        (any::<u32>(), addr(), addr()).prop_map(|(spi, local, remote)| Event::UnknownSpi {
            spi,
            local,
            remote
        }),
    ]
}
pub fn frame() -> impl Strategy<Value = (FrameMeta, Vec<u8>)> {
    let kind = prop::sample::select(vec![FrameKind::Ike, FrameKind::Raw]);
    let meta = (socket(), socket(), kind).prop_map(|(local, remote, kind)| FrameMeta { local, remote, kind });
    (meta, prop::collection::vec(any::<u8>(), 0..MAX_FRAME))
}
