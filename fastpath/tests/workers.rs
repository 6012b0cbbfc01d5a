//! Several workers at once, bursts, and engines that take their time.
mod common;
use common::*;
use fastpath::crypto::{CpuEngine, CpuEngineKind, CpuKeys, Engine, Job, KeyRecord, Keys};
use fastpath::graph::{Out, Worker};
use fastpath::offline::Setup;
use fastpath::tables::control::Applied;
use fastpath::tables::{Control, Interface, NextHop};
use ipc::contract::{Command, Event};
use proptest::prelude::*;
use sa::*;
use std::collections::{HashSet, VecDeque};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use wire::{Mac, PacketBuf, TestBuf};

const GCM: &str = "aes-128-gcm";
const KIND: [CpuEngineKind; 1] = [CpuEngineKind::RustCrypto];
const NOW: Duration = Duration::ZERO;
type CpuWorker = Worker<TestBuf, CpuEngine<TestBuf>>;

fn control(setup: &Setup) -> Control<CpuKeys> {
    let mut control = Control::new(CpuKeys::new(&KIND).expect("keys"), 64);
    for (index, i) in setup.interfaces.iter().enumerate() {
        let (port, vlan, mac, mtu) = (i.port, i.vlan, Mac(i.mac), i.mtu);
        control
            .set_interface(index as u16, Interface { port, vlan, mac, mtu, addresses: i.addresses.clone() });
    }
    for route in &setup.routes {
        control
            .set_route(route.prefix, NextHop { interface: route.interface as u16, gateway: route.next_hop });
    }
    for n in &setup.neighbours {
        control.set_neighbour(n.interface as u16, n.address, Some(Mac(n.mac)));
    }
    commit(&mut control, &setup.policies);
    for spec in &setup.sas {
        apply(&mut control, Command::InstallSa(Box::new(spec.clone())));
    }
    control
}
fn commit(control: &mut Control<CpuKeys>, policies: &[PolicySpec]) {
    apply(control, Command::PolicyBegin { generation: 1, count: policies.len() as u32 });
    for policy in policies {
        apply(control, Command::Policy(*policy));
    }
    apply(control, Command::PolicyCommit { generation: 1 });
}
fn apply(control: &mut Control<CpuKeys>, command: Command) -> Applied {
    control.apply(command, NOW).expect("accepted")
}
fn worker(control: &Control<CpuKeys>) -> CpuWorker {
    Worker::new(control.reader(), CpuEngine::new(&KIND).expect("an engine")).expect("randomness")
}
/// Lets control and workers settle: every change visible, every removal complete.
fn settle(
    control: &mut Control<CpuKeys>,
    workers: &mut [&mut CpuWorker],
    out: &mut Out<TestBuf>,
) -> Vec<u64> {
    let mut done = Vec::new();
    for _ in 0..4 {
        workers.iter_mut().for_each(|w| w.idle(NOW, out));
        control.poll(NOW, &mut out.events, &mut done);
    }
    done.into_iter().map(|c| c.0).collect()
}
fn clear() -> TestBuf {
    let p = udp(Side::A.host(false), Side::B.host(false), 4000, 53, b"what a host says");
    TestBuf::new(&frame(Side::A, LAN, &p))
}
/// `count` protected packets from A to B.
fn protected(count: usize) -> Vec<TestBuf> {
    let mut a = Side::A.gateway(&[a_to_b(Side::A, GCM)]);
    let p = udp(Side::A.host(false), Side::B.host(false), 4000, 53, b"what a host says");
    (0..count)
        .map(|_| TestBuf::new(&frame(Side::B, WAN, &sent(&a.run(LAN, &frame(Side::A, LAN, &p))).1)))
        .collect()
}
fn receiver() -> Control<CpuKeys> {
    control(&Setup { sas: vec![a_to_b(Side::B, GCM)], ..Side::B.setup() })
}

#[test]
fn a5_replay_in_one_burst_is_delivered_once() {
    let mut control = receiver();
    let (mut w, mut out) = (worker(&control), Out::default());
    settle(&mut control, &mut [&mut w], &mut out);
    let one = protected(1);
    let mut burst: Vec<TestBuf> = (0..64).map(|_| one[0].clone()).collect();
    w.process(WAN, &mut burst, NOW, &mut out);
    assert_eq!((out.tx[0].len(), out.dropped(DropReason::ReplaySeen)), (1, 63));
}

#[test]
fn a5_replay_on_two_workers_at_once_is_delivered_once() {
    let mut control = receiver();
    let (mut a, mut b) = (worker(&control), worker(&control));
    settle(&mut control, &mut [&mut a, &mut b], &mut Out::default());
    let packets = protected(60);
    let start = std::sync::Barrier::new(2);
    let delivered: usize = std::thread::scope(|s| {
        let threads: Vec<_> = [&mut a, &mut b]
            .into_iter()
            .map(|w| {
                let (mut burst, start) = (packets.clone(), &start);
                s.spawn(move || {
                    let mut out = Out::default();
                    start.wait();
                    while !burst.is_empty() {
                        let at = burst.len().saturating_sub(4);
                        w.process(WAN, &mut burst.split_off(at), NOW, &mut out);
                    }
                    assert_eq!(out.accounted(), 60);
                    out.tx[0].len()
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().expect("a worker")).sum()
    });
    assert_eq!(delivered, 60);
}

#[test]
fn a25_two_workers_ask_once() {
    let mut control = control(&Side::A.setup());
    let (mut a, mut b) = (worker(&control), worker(&control));
    settle(&mut control, &mut [&mut a, &mut b], &mut Out::default());
    let acquires: usize = std::thread::scope(|s| {
        let threads: Vec<_> = [&mut a, &mut b]
            .into_iter()
            .map(|w| {
                s.spawn(move || {
                    let mut out = Out::default();
                    for _ in 0..200 {
                        w.process(LAN, &mut (0..32).map(|_| clear()).collect(), NOW, &mut out);
                    }
                    assert_eq!(out.dropped(DropReason::NoSa), 6400);
                    out.events.iter().filter(|e| matches!(e, Event::Acquire { .. })).count()
                })
            })
            .collect();
        threads.into_iter().map(|t| t.join().expect("a worker")).sum()
    });
    assert_eq!(acquires, 1);
}

#[test]
fn nothing_is_forwarded_before_the_first_policies() {
    let setup = Side::A.setup();
    let mut control = Control::new(CpuKeys::new(&KIND).expect("keys"), 16);
    for (index, i) in setup.interfaces.iter().enumerate() {
        let (port, vlan, mac, mtu) = (i.port, i.vlan, Mac(i.mac), i.mtu);
        control
            .set_interface(index as u16, Interface { port, vlan, mac, mtu, addresses: i.addresses.clone() });
    }
    let (mut w, mut out) = (worker(&control), Out::default());
    settle(&mut control, &mut [&mut w], &mut out);
    w.process(LAN, &mut vec![clear()], NOW, &mut out);
    assert_eq!(out.dropped(DropReason::PolicyNotLoaded), 1);
    commit(&mut control, &[]);
    settle(&mut control, &mut [&mut w], &mut out);
    w.process(LAN, &mut vec![clear()], NOW, &mut out);
    assert_eq!(out.dropped(DropReason::PolicyNotLoaded), 1);
    assert_eq!(out.dropped(DropReason::NoRoute), 1);
}

/// The n-th outbound SA of the tunnel: alternating slots, its own SPI and keys.
fn generation(n: u32, side: Side) -> SaSpec {
    SaSpec {
        slot: SaSlot(n % 8),
        spi: Spi::new(0x4000_0000 + n * 64 + n % 8).expect("an SPI"),
        encryption_key: key(16, n as u8),
        salt: key(4, (n >> 8) as u8 + 77),
        replay_window: 65536,
        ..a_to_b(side, GCM)
    }
}

/// Rekeys under load, policies replaced in between: every packet leaves under exactly one SA, whole.
#[test]
fn a24_rekeys_under_load_lose_and_mix_nothing() {
    const REKEYS: u32 = 24;
    let mut control = control(&Setup { sas: vec![generation(0, Side::A)], ..Side::A.setup() });
    let mut workers: Vec<CpuWorker> = (0..3).map(|_| worker(&control)).collect();
    let mut all: Vec<&mut CpuWorker> = workers.iter_mut().collect();
    settle(&mut control, &mut all, &mut Out::default());
    let stop = AtomicBool::new(false);
    let bursts = AtomicU64::new(0);
    let output = Mutex::new(Vec::new());
    std::thread::scope(|s| {
        for w in &mut workers {
            let (stop, output, bursts) = (&stop, &output, &bursts);
            s.spawn(move || {
                let (mut out, mut input, mut frames) = (Out::default(), 0, Vec::new());
                while !stop.load(Ordering::Relaxed) {
                    w.process(LAN, &mut (0..8).map(|_| clear()).collect(), NOW, &mut out);
                    input += 8;
                    frames.extend(out.tx[1].drain(..).map(|b| b.data().to_vec()));
                    bursts.fetch_add(1, Ordering::Relaxed);
                }
                assert_eq!(frames.len(), input, "drops: {:?}", out.drops);
                assert!(out.events.is_empty());
                output.lock().expect("the list").extend(frames);
            });
        }
        let policies = Side::A.policies();
        for n in 1..=REKEYS {
            // Make before break: the new one first, then the old one goes and is waited for.
            apply(&mut control, Command::InstallSa(Box::new(generation(n, Side::A))));
            let old = generation(n - 1, Side::A);
            let removal = apply(&mut control, Command::RemoveSa { slot: old.slot, spi: old.spi });
            // Another policy comes and goes: the kept ones keep their SAs.
            let mut other = policies.clone();
            other.insert(
                (n % 2) as usize,
                policy(9, prefix("10.99.0.0/16"), prefix("10.98.0.0/16"), Action::Discard),
            );
            commit(&mut control, &other);
            let (mut events, mut done) = (Vec::new(), Vec::new());
            while !done.iter().any(|c: &fastpath::tables::Completion| removal == Applied::Later(c.0)) {
                control.poll(NOW, &mut events, &mut done);
                std::thread::yield_now();
            }
            let (before, burst) = (bursts.load(Ordering::Relaxed), 3);
            while bursts.load(Ordering::Relaxed) < before + burst {
                std::thread::yield_now();
            }
        }
        stop.store(true, Ordering::Relaxed);
    });
    // Site B has every generation (in slots of its own): each frame opens under its SPI, numbers are unique.
    let frames = output.into_inner().expect("the list");
    let mut b = Side::B.gateway(&[]);
    let (mut seen, mut spis) = (HashSet::new(), HashSet::new());
    for n in 0..=REKEYS {
        let spec = SaSpec { slot: SaSlot(n % 8), ..generation(n, Side::B) };
        b.apply(Command::InstallSa(Box::new(spec.clone()))).expect("room");
        for f in &frames {
            let header = wire::esp::Header::parse(&f[34..]).expect("ESP");
            if header.spi == spec.spi.get() {
                assert!(seen.insert((header.spi, header.seq_low)), "a number twice");
                assert_eq!(sent(&b.run(WAN, &frame(Side::B, WAN, &f[14..]))).0, LAN);
                spis.insert(header.spi);
            }
        }
        b.apply(Command::RemoveSa { slot: spec.slot, spi: spec.spi }).expect("it is there");
    }
    assert_eq!(seen.len(), frames.len(), "every frame belongs to one of the SAs");
    assert!(spis.len() as u32 > REKEYS / 2, "most generations carried traffic: {}", spis.len());
}

/// A CPU engine that gives jobs back late, as a crypto device does.
struct Lookaside {
    inner: CpuEngine<TestBuf>,
    inside: VecDeque<Job<TestBuf>>,
    /// Jobs it lets go of per call.
    pace: usize,
    room: usize,
}
impl Engine<TestBuf> for Lookaside {
    type Key = KeyRecord;
    fn submit(&mut self, jobs: &mut Vec<Job<TestBuf>>, keys: &impl Keys<KeyRecord>) {
        let take = jobs.len().min(self.room - self.inside.len());
        let mut taken: Vec<_> = jobs.drain(..take).collect();
        self.inner.submit(&mut taken, keys);
        let mut done = Vec::new();
        self.inner.collect(&mut done);
        self.inside.extend(done);
    }
    fn collect(&mut self, done: &mut Vec<Job<TestBuf>>) {
        let n = self.pace.min(self.inside.len());
        done.extend(self.inside.drain(..n));
    }
    fn in_flight(&self) -> usize {
        self.inside.len()
    }
}

#[test]
fn a24_an_sa_removed_while_its_packets_are_in_a_device_serves_them_and_only_then_goes() {
    let spec = a_to_b(Side::A, GCM);
    let mut control = control(&Setup { sas: vec![spec.clone()], ..Side::A.setup() });
    let engine = Lookaside {
        inner: CpuEngine::new(&KIND).expect("an engine"),
        inside: VecDeque::new(),
        pace: 0,
        room: 20,
    };
    let mut w = Worker::new(control.reader(), engine).expect("randomness");
    let (mut out, mut done) = (Out::default(), Vec::new());
    for _ in 0..4 {
        w.idle(NOW, &mut out);
        control.poll(NOW, &mut out.events, &mut done);
    }
    w.process(LAN, &mut (0..24).map(|_| clear()).collect(), NOW, &mut out);
    assert_eq!((w.in_flight(), out.dropped(DropReason::EngineError)), (20, 4), "the device takes 20");
    let removal = apply(&mut control, Command::RemoveSa { slot: spec.slot, spi: spec.spi });
    for _ in 0..10 {
        w.idle(NOW, &mut out);
        control.poll(NOW, &mut out.events, &mut done);
    }
    assert!(done.is_empty(), "its packets are still inside");
    assert_eq!(
        control.apply(Command::InstallSa(Box::new(spec.clone())), NOW),
        Err(ipc::contract::Refusal::SlotInUse)
    );
    // New packets find no SA, those inside come out under the old one.
    w.process(LAN, &mut vec![clear()], NOW, &mut out);
    assert_eq!(out.dropped(DropReason::NoSa), 1);
    let mut completed_at = None;
    for round in 0..40 {
        w.engine_mut().pace = 1;
        w.idle(NOW, &mut out);
        control.poll(NOW, &mut out.events, &mut done);
        if !done.is_empty() && completed_at.is_none() {
            completed_at = Some((round, w.in_flight()));
        }
    }
    assert_eq!(out.tx[1].len(), 20);
    assert!(matches!(completed_at, Some((_, 0))), "{completed_at:?}");
    assert_eq!(removal, Applied::Later(done[0].0));
    assert_eq!(out.accounted(), 25);
    apply(&mut control, Command::InstallSa(Box::new(spec)));
}

#[test]
fn counters_say_what_passed() {
    let mut control = receiver();
    let (mut w, mut out) = (worker(&control), Out::default());
    settle(&mut control, &mut [&mut w], &mut out);
    let mut packets = protected(10);
    packets.push(packets[3].clone());
    let bytes: usize = packets[..10].iter().map(|p| p.len() - 34).sum();
    w.process(WAN, &mut packets, Duration::from_secs(5), &mut out);
    let mut sum = ipc::contract::SaCounters { idle_seconds: u64::MAX, ..Default::default() };
    let sa = fastpath::crypto::SaRef { slot: 1, install: 1 };
    w.counts().add_to(sa, Duration::from_secs(7), &mut sum);
    let expected = ipc::contract::SaCounters {
        packets: 10,
        bytes: bytes as u64,
        dropped: 1,
        last_seq: 10,
        idle_seconds: 2,
    };
    assert_eq!(sum, expected);
}

/// Frames of all kinds, damaged at random.
fn hostile_frame() -> impl Strategy<Value = (u16, Vec<u8>)> {
    let (a, b) = (Side::A.host(false), Side::B.host(false));
    let whole = vec![
        (LAN, frame(Side::A, LAN, &udp(a, b, 1, 2, b"protected"))),
        (LAN, frame(Side::A, LAN, &udp(a, ip("198.51.100.1"), 1, 2, b"clear"))),
        (
            LAN,
            frame(
                Side::A,
                LAN,
                &packet(Side::A.host(true), Side::B.host(true), 58, &[128, 0, 0, 0, 0, 0, 0, 0]),
            ),
        ),
        (WAN, frame(Side::A, WAN, &packet(Side::B.wan(false), Side::A.wan(false), 50, &[0x20; 80]))),
        (WAN, frame(Side::A, WAN, &udp(Side::B.wan(false), Side::A.wan(false), 4500, 4500, &[0x20; 80]))),
        (WAN, frame(Side::A, WAN, &udp(Side::B.wan(false), Side::A.wan(false), 500, 500, &[0; 40]))),
    ];
    let damaged = (
        prop::sample::select(whole),
        prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 0..4),
        any::<Option<u8>>(),
    )
        .prop_map(|((port, mut bytes), edits, cut)| {
            for (at, value) in edits {
                let at = at.index(bytes.len());
                bytes[at] = value;
            }
            if let Some(cut) = cut {
                bytes.truncate(cut.into());
            }
            (port, bytes)
        });
    prop_oneof![1 => (0u16..3, prop::collection::vec(any::<u8>(), 0..200)), 4 => damaged]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]
    #[test]
    fn whatever_comes_is_accounted_for_once(frames in prop::collection::vec(hostile_frame(), 1..40), room in 0usize..100) {
        let inbound = SaSpec {
            slot: SaSlot(0), spi: Spi::new(0x2020_2020).expect("an SPI"), direction: Direction::Inbound, ..a_to_b(Side::A, GCM)
        };
        let mut control = control(&Setup { sas: vec![a_to_b(Side::A, GCM), inbound], ..Side::A.setup() });
        let (mut w, mut out) = (worker(&control), Out::default());
        settle(&mut control, &mut [&mut w], &mut out);
        let count = frames.len() as u64;
        for port in 0..3 {
            let mut burst = frames.iter().filter(|f| f.0 == port).map(|f| TestBuf::with_room(&f.1, room, room)).collect();
            w.process(port, &mut burst, NOW, &mut out);
            prop_assert!(burst.is_empty());
        }
        prop_assert_eq!(out.accounted(), count);
    }
}
