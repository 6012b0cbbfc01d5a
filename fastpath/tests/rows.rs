//! Rows A14, A21 to A23 of the table of hostile inputs: clear tunnels, suites that protect nothing, buffers without room, engines
//! that fail.
mod common;
use common::*;
use fastpath::crypto::{CpuEngine, CpuEngineKind, CpuKeys, Engine, Job, KeyRecord, Keys, Operation};
use fastpath::graph::{Out, Worker};
use fastpath::offline::{Outcome, control};
use fastpath::tables::Control;
use ipc::contract::{Command, Refusal};
use sa::*;
use std::net::IpAddr;
use std::time::Duration;
use wire::{PacketBuf, TestBuf};

const KIND: [CpuEngineKind; 1] = [CpuEngineKind::RustCrypto];
const NOW: Duration = Duration::ZERO;
const GCM: &str = "aes-128-gcm";

/// Tables of a side with its policies and SAs.
fn tables(side: Side, sas: &[SaSpec]) -> Control<CpuKeys> {
    let setup = side.setup();
    let mut control = control(&setup, &KIND).expect("tables");
    let count = setup.policies.len() as u32;
    let policies = setup.policies.iter().map(|policy| Command::Policy(*policy));
    let begin = [Command::PolicyBegin { generation: 1, count }];
    let sas = sas.iter().map(|spec| Command::InstallSa(Box::new(spec.clone())));
    let all = begin.into_iter().chain(policies).chain([Command::PolicyCommit { generation: 1 }]).chain(sas);
    for command in all {
        control.apply(command, NOW).expect("accepted");
    }
    control
}

/// A14: nobody who is not under an SA has anything taken apart: IP in IP, 6in4, 4in6, GRE and L2TP go to the host's stack as
/// they are, or nowhere when a policy wants them protected.
#[test]
fn a14_clear_tunnels_are_not_taken_apart() {
    let (us, them) = (Side::B.wan(false), Side::A.wan(false));
    let (us6, them6) = (Side::B.wan(true), Side::A.wan(true));
    // What an attacker wants delivered, from an address behind the other side.
    let inner = udp(Side::A.host(false), Side::B.host(false), 1000, 53, b"forged");
    let inner6 = udp(Side::A.host(true), Side::B.host(true), 1000, 53, b"forged");
    let gre = [&[0, 0, 8, 0][..], &inner].concat();
    let l2tp = udp(them, us, 1701, 1701, &[&[0, 2, 0, 1, 0, 1, 0xff, 3, 0, 0x21][..], &inner].concat());
    let tunnels = [
        packet(them, us, 4, &inner),
        packet(them, us, 41, &inner6),
        packet(them6, us6, 4, &inner),
        packet(them6, us6, 41, &inner6),
        packet(them, us, 47, &gre),
        l2tp,
    ];
    for clear in &tunnels {
        let outcomes = Side::B.gateway(&[]).run(WAN, &frame(Side::B, WAN, clear));
        let [Outcome::ToHost { packet, .. }] = &outcomes[..] else { panic!("{outcomes:?}") };
        assert_eq!(packet[14..], clear[..], "as it came");
        // With a policy that wants all between the two protected it does not even get so far.
        let mut setup = Side::B.setup();
        let ends = [(us, them), (us6, them6)];
        let between = |(n, (us, them)): (u32, (IpAddr, IpAddr))| {
            policy(20 + n, Prefix::host(us), Prefix::host(them), REQUIRE)
        };
        setup.policies.extend((0..).zip(ends).map(between));
        let outcomes = gateway(&setup).run(WAN, &frame(Side::B, WAN, clear));
        assert_eq!(dropped(&outcomes), Some(DropReason::ClearForProtected), "{outcomes:?}");
    }
}
/// A21: ESP that anybody can forge is no suite of its own accord, and neither is AH without integrity; what an SA must be told
/// by name is told as that.
#[test]
fn a21_encryption_without_integrity_is_no_suite() {
    for encryption in Encryption::ALL {
        let made = Suite::new(encryption, Integrity::None);
        assert_eq!(made.is_ok(), encryption.is_aead(), "{encryption:?}");
        assert!(Suite::unprotected(encryption).is_none_or(|suite| !suite.is_protected()));
    }
    assert_eq!(Suite::ah(Integrity::None), Err(SuiteError::AhWithout));
    // And AH of such a kind is not installed, whoever asks.
    let suite = Suite::unprotected(Encryption::Null).unwrap();
    let spec = SaSpec { protocol: Protocol::Ah, suite, ..a_to_b(Side::B, "null/sha1") };
    let spec = SaSpec { encryption_key: Key::empty(), integrity_key: Key::empty(), ..spec };
    let installed = Side::B.gateway(&[]).apply(Command::InstallSa(Box::new(spec)));
    assert_eq!(installed, Err(Refusal::Unsupported));
}

/// A22: whatever room a buffer has in front and behind, a packet is sealed and opened right or dropped under one reason.
#[test]
fn a22_buffers_without_room_lose_their_packet_and_nothing_else() {
    for name in [GCM, "aes-256-cbc/sha256"] {
        let [a, b] = [Side::A, Side::B].map(|side| tables(side, &[a_to_b(side, name)]));
        let worker = |control: &Control<CpuKeys>| {
            Worker::new(control.reader(), CpuEngine::<TestBuf>::new(&KIND).expect("an engine"))
                .expect("random")
        };
        let (mut a, mut b, mut out) = (worker(&a), worker(&b), Out::default());
        let inner = udp(Side::A.host(false), Side::B.host(false), 1000, 53, &[7; 33]);
        let (mut sent, mut taken, mut seen) = (0, 0, 0);
        for headroom in 0..70 {
            for tailroom in [0, 1, 17, 18, 47, 48, 64] {
                let buffer = TestBuf::with_room(&frame(Side::A, LAN, &inner), headroom, tailroom);
                a.process(LAN, &mut vec![buffer], NOW, &mut out);
                taken += 1;
                for mut sealed in out.tx[usize::from(WAN)].drain(..) {
                    sent += 1;
                    // As it arrives at the other side.
                    let bytes = frame(Side::B, WAN, &sealed.data_mut()[14..]);
                    let arrived = TestBuf::with_room(&bytes, 0, 0);
                    let mut there = Out::default();
                    b.process(WAN, &mut vec![arrived], NOW, &mut there);
                    let got = &there.tx[usize::from(LAN)];
                    assert_eq!(got[0].data()[14..], with_ttl(&inner, 62), "{name} {headroom} {tailroom}");
                    seen += 1;
                }
            }
        }
        assert_eq!(sent + out.dropped(DropReason::NoHeadroom), taken, "{name}: {:?}", out.drops);
        assert!(sent == seen && sent > 20 && sent < taken);
    }
    // AH needs room behind where it arrives, too.
    let spec = |side| SaSpec { protocol: Protocol::Ah, ..a_to_b(side, "null/sha256") };
    let mut a = Side::A.gateway(&[spec(Side::A)]);
    let inner = udp(Side::A.host(false), Side::B.host(false), 1000, 53, &[7; 33]);
    let (_, wire) = sent(&a.run(LAN, &frame(Side::A, LAN, &inner)));
    let b = tables(Side::B, &[spec(Side::B)]);
    let mut worker =
        Worker::new(b.reader(), CpuEngine::<TestBuf>::new(&KIND).expect("an engine")).expect("random");
    let (mut out, bytes) = (Out::default(), frame(Side::B, WAN, &wire));
    for tailroom in 0..64 {
        worker.process(WAN, &mut vec![TestBuf::with_room(&bytes, 0, tailroom)], NOW, &mut out);
    }
    // The first with room enough is the packet; those behind it are replays of it.
    assert_eq!(out.tx[usize::from(LAN)].len(), 1);
    let (no_room, replays) = (out.dropped(DropReason::NoHeadroomIn), out.dropped(DropReason::ReplaySeen));
    assert!(no_room > 0 && no_room + replays == 63, "{no_room} {replays}");
}

/// What an engine may do to those who trust it.
#[derive(Clone, Copy, PartialEq, Debug)]
enum Fault {
    /// Takes nothing.
    Full,
    /// Takes every other one.
    Half,
    /// Gives all back undone.
    Fails,
    /// Gives nothing back.
    Silent,
}
struct Faulty {
    inner: CpuEngine<TestBuf>,
    fault: Fault,
    held: Vec<Job<TestBuf>>,
}
impl Engine<TestBuf> for Faulty {
    type Key = KeyRecord;
    fn submit(&mut self, jobs: &mut Vec<Job<TestBuf>>, keys: &impl Keys<KeyRecord>) {
        match self.fault {
            Fault::Full => {}
            Fault::Half => {
                let mut taken: Vec<_> = jobs.drain(..jobs.len() / 2).collect();
                self.inner.submit(&mut taken, keys);
            }
            Fault::Fails | Fault::Silent => self.held.append(jobs),
        }
    }
    fn collect(&mut self, done: &mut Vec<Job<TestBuf>>) {
        match self.fault {
            Fault::Silent => {}
            Fault::Fails => done.append(&mut self.held),
            Fault::Full | Fault::Half => self.inner.collect(done),
        }
    }
    fn in_flight(&self) -> usize {
        self.held.len()
    }
}
/// A23: each packet comes out, is counted as the engine's loss, or is known to be in it; the replay window moves for none that
/// did not open.
#[test]
fn a23_an_engine_that_fails_loses_packets_and_no_count_of_them() {
    let inner = |n: u8| udp(Side::A.host(false), Side::B.host(false), 1000 + u16::from(n), 53, &[n; 33]);
    let mut peer = Side::A.gateway(&[a_to_b(Side::A, GCM)]);
    let wires: Vec<_> = (0..10)
        .map(|n| frame(Side::B, WAN, &sent(&peer.run(LAN, &frame(Side::A, LAN, &inner(n)))).1))
        .collect();
    for (fault, lost) in [(Fault::Full, 10), (Fault::Half, 5), (Fault::Fails, 10), (Fault::Silent, 0)] {
        for operation in [Operation::Seal, Operation::Open] {
            let (side, port) = if operation == Operation::Seal { (Side::A, LAN) } else { (Side::B, WAN) };
            let control = tables(side, &[a_to_b(side, GCM)]);
            let engine = Faulty { inner: CpuEngine::new(&KIND).expect("an engine"), fault, held: Vec::new() };
            let mut worker = Worker::new(control.reader(), engine).expect("random");
            let mut burst: Vec<_> = match operation {
                Operation::Seal => (0..10).map(|n| TestBuf::new(&frame(Side::A, LAN, &inner(n)))).collect(),
                Operation::Open => wires.iter().map(|wire| TestBuf::new(wire)).collect(),
            };
            let mut out = Out::default();
            worker.process(port, &mut burst, NOW, &mut out);
            worker.idle(NOW, &mut out);
            let reason = match (operation, fault) {
                (Operation::Seal, _) => DropReason::EngineError,
                // An engine's `not ok` is a wrong ICV: nothing else may be concluded from it.
                (Operation::Open, Fault::Fails) => DropReason::IcvMismatch,
                (Operation::Open, _) => DropReason::EngineErrorIn,
            };
            assert_eq!(out.dropped(reason), lost, "{fault:?} {operation:?}: {:?}", out.drops);
            let inside = worker.in_flight() as u64;
            assert_eq!(out.accounted() + inside, 10, "{fault:?} {operation:?}");
            assert_eq!(inside, if fault == Fault::Silent { 10 } else { 0 });
            // A better engine takes what the first one could not: no number was used up.
            if operation == Operation::Open && fault != Fault::Silent {
                worker.engine_mut().fault = Fault::Half;
                for wire in &wires {
                    let mut two = vec![TestBuf::new(wire), TestBuf::new(wire)];
                    worker.process(port, &mut two, NOW, &mut out);
                }
                assert_eq!(out.tx[usize::from(LAN)].len(), 10, "{fault:?}");
            }
        }
    }
}
