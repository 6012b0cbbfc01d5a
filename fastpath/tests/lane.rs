//! The short way of plain packets against the stages, which is what it has to agree with: the same bursts through two
//! gateways that differ in nothing but whether their engine works at once.
mod common;
use common::*;
use fastpath::crypto::{CpuEngine, CpuEngineKind, CpuKeys, Engine, Job, KeyRecord, Keys, SaRef};
use fastpath::graph::{Out, Worker};
use fastpath::offline::{NeighbourSpec, Setup};
use fastpath::tables::Control;
use ipc::contract::{Command, SaCounters};
use proptest::prelude::*;
use sa::*;
use std::time::Duration;
use wire::{PacketBuf, TestBuf};

const KINDS: [CpuEngineKind; 2] = [CpuEngineKind::Native, CpuEngineKind::RustCrypto];
const NOW: Duration = Duration::from_secs(7);
const SAS: u32 = 6;

/// Everything as the engine has it, but for what the short way needs.
struct InStages(CpuEngine<TestBuf>);
impl Engine<TestBuf> for InStages {
    type Key = KeyRecord;
    fn submit(&mut self, jobs: &mut Vec<Job<TestBuf>>, keys: &impl Keys<KeyRecord>) {
        self.0.submit(jobs, keys);
    }
    fn collect(&mut self, done: &mut Vec<Job<TestBuf>>) {
        self.0.collect(done);
    }
    fn in_flight(&self) -> usize {
        self.0.in_flight()
    }
}

struct Site<E: Engine<TestBuf, Key = KeyRecord>> {
    control: Control<CpuKeys>,
    worker: Worker<TestBuf, E>,
    out: Out<TestBuf>,
}
impl<E: Engine<TestBuf, Key = KeyRecord>> Site<E> {
    fn new(setup: &Setup, make: impl Fn(CpuEngine<TestBuf>) -> E) -> Self {
        let mut control = fastpath::offline::control(setup, &KINDS).expect("a control");
        let engine = make(CpuEngine::new(&KINDS).expect("engines"));
        let worker = Worker::new(control.reader(), engine).expect("randomness");
        let mut apply = |command| control.apply(command, NOW).expect("accepted");
        apply(Command::PolicyBegin { generation: 1, count: setup.policies.len() as u32 });
        for policy in &setup.policies {
            apply(Command::Policy(*policy));
        }
        apply(Command::PolicyCommit { generation: 1 });
        for spec in &setup.sas {
            apply(Command::InstallSa(Box::new(spec.clone())));
        }
        let mut site = Self { control, worker, out: Out::default() };
        for _ in 0..4 {
            site.worker.idle(NOW, &mut site.out);
            site.control.poll(NOW, &mut Vec::new(), &mut Vec::new());
        }
        site
    }
    /// All that can be seen of what became of a burst, and the frames that were sent.
    fn run(&mut self, port: u16, burst: &[Vec<u8>]) -> (String, Vec<Vec<u8>>) {
        let mut packets: Vec<TestBuf> = burst.iter().map(|frame| TestBuf::new(frame)).collect();
        self.worker.process(port, &mut packets, NOW, &mut self.out);
        assert!(packets.is_empty());
        let out = &mut self.out;
        let sent: Vec<Vec<Vec<u8>>> =
            out.tx.iter_mut().map(|tx| tx.drain(..).map(|b| b.data().to_vec()).collect()).collect();
        let host: Vec<_> = out.host.drain(..).map(|h| (h.interface, h.frame.data().to_vec())).collect();
        let waiting: Vec<_> =
            out.unresolved.drain(..).map(|u| (u.next_hop, u.packet.data().to_vec())).collect();
        let errors: Vec<_> = out.errors.drain(..).map(|e| (e.reason, e.packet.data().to_vec())).collect();
        let events: Vec<_> = out.events.drain(..).collect();
        let counts: Vec<_> = (0..SAS + 2)
            .map(|slot| {
                let found = self.control.installed_sa(SaSlot(slot));
                let mut sum = SaCounters::default();
                let reference = found.map_or(SaRef { slot, install: 0 }, |sa| sa.reference);
                self.worker.counts().add_to(reference, NOW, &mut sum);
                (found.map(|sa| sa.state), format!("{sum:?}"))
            })
            .collect();
        let seen = format!(
            "{sent:02x?} {host:02x?} {waiting:02x?} {errors:02x?} {events:?} {:?} {counts:?}",
            out.drops
        );
        (seen, sent.into_iter().flatten().collect())
    }
}

/// Host `n` of site B, the first being the gateway itself; each SA is for four of them, the last ones have none.
fn far(n: u8) -> std::net::IpAddr {
    std::net::IpAddr::from([10, 2, 0, n])
}
fn block(n: u32) -> Prefix {
    Prefix::new(far((n * 4) as u8), 30).expect("a block")
}
/// SAs from A to B: plain ones, one that counts its packets, one whose numbers run out, one that
/// the native engine does not know, and ESN.
fn sas(side: Side) -> Vec<SaSpec> {
    (0..SAS)
        .map(|n| {
            let name = if n == 3 {
                "chacha20poly1305"
            } else if n == 5 {
                "aes-256-gcm"
            } else {
                "aes-128-gcm"
            };
            let (near, far) = (Side::A.lan(false), block(n));
            let selector = if side == Side::A { selector(near, far) } else { selector(far, near) };
            let packets = if n == 1 { Limit { soft: 10, hard: 20 } } else { Limit::default() };
            SaSpec {
                slot: SaSlot(n + 1),
                spi: Spi::new(0x1000 + n + 1).expect("an SPI"),
                policy: PolicyId(n + 1),
                esn: n == 4,
                last_seq: if n == 2 { u64::from(u32::MAX) - 30 } else { 0 },
                lifetime: Lifetime { packets, ..Lifetime::default() },
                selectors: vec![selector.into()],
                ..a_to_b(side, name)
            }
        })
        .map(|spec| SaSpec { last_seq: if side == Side::B { 0 } else { spec.last_seq }, ..spec })
        .collect()
}
fn setup(side: Side) -> Setup {
    let near = Side::A.lan(false);
    let policies = (0..SAS).map(|n| match side {
        Side::A => policy(n + 1, near, block(n), REQUIRE),
        Side::B => policy(n + 1, block(n), near, REQUIRE),
    });
    let mut setup = Setup { policies: policies.collect(), sas: sas(side), ..side.setup() };
    // Most hosts of site B are known.
    if side == Side::B {
        let known = (0..26).map(|n| NeighbourSpec { interface: 0, address: far(n), mac: [2, 0, 0, 1, 0, n] });
        setup.neighbours.extend(known);
    }
    setup
}

#[derive(Clone, Debug)]
struct Clear {
    to: u8,
    port: u16,
    len: usize,
    ttl: u8,
    tos: u8,
    odd: u8,
}
fn clear() -> impl Strategy<Value = Clear> {
    let len = prop_oneof![4 => 0usize..200, 1 => 1300usize..1473];
    let ttl = prop_oneof![12 => Just(64u8), 1 => Just(2u8), 1 => Just(1u8)];
    // Mostly hosts behind the first SAs, so that bursts are of one kind often and limits are met.
    let to = prop_oneof![3 => 0u8..4, 4 => 4u8..12, 2 => 0u8..28, 1 => 16u8..20];
    let odd = prop_oneof![30 => Just(0u8), 1 => 1u8..6];
    (to, 1u16..4, len, ttl, prop::sample::select(vec![0u8, 1, 2, 3, 0xb8]), odd)
        .prop_map(|(to, port, len, ttl, tos, odd)| Clear { to, port, len, ttl, tos, odd })
}
fn ethernet(of: &Clear) -> Vec<u8> {
    let (src, dst) = (Side::A.host(false), far(of.to));
    let payload: Vec<u8> = (0..of.len).map(|n| n as u8).collect();
    let mut packet = udp(src, dst, 4000 + of.port, 53, &payload);
    packet[1] = of.tos;
    match of.odd {
        1 => packet[6] |= 0x20,
        2 => packet[9] = 1,
        3 => packet = udp(src, ip("10.1.0.1"), 4000, 53, &payload),
        _ => {}
    }
    if let [_, _, _, _, _, _, _, _, ttl, _, a, b, ..] = packet.as_mut_slice() {
        (*ttl, *a, *b) = (of.ttl, 0, 0);
    }
    let sum = !wire::checksum::fold(wire::checksum::partial(&packet[..20]));
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    let mut frame = frame(Side::A, LAN, &packet);
    match of.odd {
        4 => frame[5] ^= 1,
        5 => frame[24] ^= 1,
        _ => {}
    }
    frame
}
/// What becomes of a sealed frame on its way.
#[derive(Clone, Debug)]
enum Fate {
    Arrives,
    Twice,
    Damaged(prop::sample::Index),
    Congested,
    ShortOuter,
    Lost,
}
fn fates() -> impl Strategy<Value = Fate> {
    prop_oneof![
        20 => Just(Fate::Arrives),
        1 => Just(Fate::Twice),
        1 => any::<prop::sample::Index>().prop_map(Fate::Damaged),
        1 => Just(Fate::Congested),
        1 => Just(Fate::ShortOuter),
        1 => Just(Fate::Lost),
    ]
}
fn on_the_way(frame: &[u8], fate: &Fate, arrived: &mut Vec<Vec<u8>>) {
    let mut frame = frame.to_vec();
    frame[..6].copy_from_slice(&Side::B.wan_mac());
    match fate {
        Fate::Lost => return,
        Fate::Damaged(at) => {
            let at = at.index(frame.len());
            frame[at] ^= 0x10;
        }
        Fate::ShortOuter => frame.truncate(frame.len() - 1),
        Fate::Congested => {
            let header = &mut frame[14..34];
            header[1] |= 3;
            header[10..12].fill(0);
            let sum = !wire::checksum::fold(wire::checksum::partial(header));
            header[10..12].copy_from_slice(&sum.to_be_bytes());
        }
        Fate::Twice => arrived.push(frame.clone()),
        Fate::Arrives => {}
    }
    arrived.push(frame);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn both_ways_do_the_same(
        bursts in prop::collection::vec(prop::collection::vec(clear(), 1..40), 1..24),
        calm in prop::collection::vec(any::<bool>(), 24),
        fates in prop::collection::vec(fates(), 64), sizes in prop::collection::vec(1usize..40, 24),
    ) {
        let (mut short, mut long) = (Site::new(&setup(Side::A), |e| e), Site::new(&setup(Side::A), InStages));
        let mut arriving = Vec::new();
        for (burst, calm) in bursts.iter().zip(&calm) {
            // A calm burst is all of one flow's kind, as most are.
            let frames: Vec<Vec<u8>> = burst.iter().map(|of| match calm {
                true => ethernet(&Clear { to: burst[0].to, ttl: 64, odd: 0, ..of.clone() }),
                false => ethernet(of),
            }).collect();
            let (a, sent) = short.run(LAN, &frames);
            let (b, _) = long.run(LAN, &frames);
            prop_assert_eq!(a, b);
            for (n, frame) in sent.iter().enumerate() {
                let fate = if *calm { &Fate::Arrives } else { &fates[n % fates.len()] };
                on_the_way(frame, fate, &mut arriving);
            }
        }
        let (mut short, mut long) = (Site::new(&setup(Side::B), |e| e), Site::new(&setup(Side::B), InStages));
        let mut sizes = sizes.iter().cycle();
        let mut left = arriving.as_slice();
        while !left.is_empty() {
            let (burst, behind) = left.split_at((*sizes.next().expect("some")).min(left.len()));
            let (a, _) = short.run(WAN, burst);
            let (b, _) = long.run(WAN, burst);
            prop_assert_eq!(a, b);
            left = behind;
        }
    }
}

/// Which way a burst goes is decided by the engine, not by what the test hopes.
#[test]
fn plain_bursts_take_the_short_way() {
    struct Watched(CpuEngine<TestBuf>, std::sync::Arc<std::sync::atomic::AtomicUsize>);
    impl Engine<TestBuf> for Watched {
        type Key = KeyRecord;
        fn submit(&mut self, jobs: &mut Vec<Job<TestBuf>>, keys: &impl Keys<KeyRecord>) {
            self.0.submit(jobs, keys);
        }
        fn collect(&mut self, done: &mut Vec<Job<TestBuf>>) {
            self.0.collect(done);
        }
        fn in_flight(&self) -> usize {
            self.0.in_flight()
        }
        fn is_at_once(&self, key: &KeyRecord, operation: fastpath::crypto::Operation) -> bool {
            self.0.is_at_once(key, operation)
        }
        fn at_once(
            &mut self,
            operation: fastpath::crypto::Operation,
            packets: &mut [TestBuf],
            parts: &mut [fastpath::crypto::Part],
            keys: &impl Keys<KeyRecord>,
        ) {
            self.1.fetch_add(packets.len(), std::sync::atomic::Ordering::Relaxed);
            self.0.at_once(operation, packets, parts, keys);
        }
    }
    let worked = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let make = |engine| Watched(engine, worked.clone());
    let (mut a, mut b) = (Site::new(&setup(Side::A), make), Site::new(&setup(Side::B), make));
    let of = Clear { to: 2, port: 1, len: 30, ttl: 64, tos: 0, odd: 0 };
    let burst: Vec<Vec<u8>> = (0..31).map(|_| ethernet(&of)).collect();
    for turn in 0..3 {
        let (_, mut sent) = a.run(LAN, &burst);
        assert_eq!(sent.len(), 31);
        sent.iter_mut().for_each(|frame| frame[..6].copy_from_slice(&Side::B.wan_mac()));
        let (_, opened) = b.run(WAN, &sent);
        assert_eq!(opened.len(), 31);
        // The first burst teaches the flow cache.
        let expected = if fastpath::crypto::native::Path::best().is_some() { turn * 62 } else { 0 };
        let worked = worked.load(std::sync::atomic::Ordering::Relaxed);
        assert!(worked >= expected, "{worked} packets took the short way, of {expected}");
    }
}
