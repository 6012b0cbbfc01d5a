//! One queue, several workers: the result is that of one worker, packet by packet and in the same order.
mod common;
use common::*;
use fastpath::crypto::{CpuEngine, CpuEngineKind, CpuKeys};
use fastpath::graph::share::{self, Sharing};
use fastpath::graph::{Out, Worker};
use fastpath::offline::Setup;
use fastpath::tables::{Control, Interface, NextHop};
use ipc::contract::Command;
use proptest::prelude::*;
use sa::*;
use std::sync::atomic::{AtomicBool, Ordering};
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
        let interface = Interface { port, vlan, mac, mtu, addresses: i.addresses.clone() };
        control.set_interface(index as u16, interface);
    }
    for route in &setup.routes {
        let via = NextHop { interface: route.interface as u16, gateway: route.next_hop };
        control.set_route(route.prefix, via);
    }
    for n in &setup.neighbours {
        control.set_neighbour(n.interface as u16, n.address, Some(Mac(n.mac)));
    }
    let mut apply = |command| {
        control.apply(command, NOW).expect("accepted");
    };
    apply(Command::PolicyBegin { generation: 1, count: setup.policies.len() as u32 });
    setup.policies.iter().for_each(|policy| apply(Command::Policy(*policy)));
    apply(Command::PolicyCommit { generation: 1 });
    setup.sas.iter().for_each(|spec| apply(Command::InstallSa(Box::new(spec.clone()))));
    control
}
fn workers(control: &mut Control<CpuKeys>, count: usize) -> Vec<CpuWorker> {
    let worker = |_| Worker::new(control.reader(), CpuEngine::new(&KIND).expect("an engine"));
    let mut workers: Vec<_> = (0..count).map(|n| worker(n).expect("randomness")).collect();
    let (mut out, mut done) = (Out::default(), Vec::new());
    for _ in 0..4 {
        workers.iter_mut().for_each(|w| w.idle(NOW, &mut out));
        control.poll(NOW, &mut out.events, &mut done);
    }
    workers
}

/// What came of a run: frames by port, and packets dropped by reason.
#[derive(Debug, PartialEq, Eq)]
struct Outcome {
    sent: Vec<Vec<Vec<u8>>>,
    dropped: Vec<u64>,
    accounted: u64,
}
impl From<Out<TestBuf>> for Outcome {
    fn from(out: Out<TestBuf>) -> Self {
        let mut dropped = out.drops.to_vec();
        // A replayed packet that is also damaged: which is noticed first depends on how far others have got.
        let stale =
            [DropReason::ReplayOld, DropReason::ReplaySeen, DropReason::IcvMismatch].map(|r| r as usize);
        let sum = stale.iter().map(|r| std::mem::take(&mut dropped[*r])).sum();
        dropped.push(sum);
        let sent = out.tx.iter().map(|port| port.iter().map(|b| b.data().to_vec()).collect()).collect();
        Self { sent, dropped, accounted: out.accounted() }
    }
}

fn alone(setup: &Setup, port: u16, packets: &[TestBuf], sizes: &[usize]) -> Outcome {
    let mut control = control(setup);
    let (mut worker, mut out) = (workers(&mut control, 1).remove(0), Out::default());
    for mut burst in bursts(packets, sizes) {
        worker.process(port, &mut burst, NOW, &mut out);
    }
    out.into()
}
fn bursts(packets: &[TestBuf], sizes: &[usize]) -> Vec<Vec<TestBuf>> {
    let (mut left, mut all) = (packets, Vec::new());
    for size in sizes.iter().cycle() {
        if left.is_empty() {
            return all;
        }
        let (burst, rest) = left.split_at((*size).min(left.len()));
        all.push(burst.to_vec());
        left = rest;
    }
    all
}

/// The same with helpers, the first of which leaves after `leaves` bursts.
fn together(
    setup: &Setup,
    helpers: usize,
    leaves: u32,
    port: u16,
    packets: &[TestBuf],
    sizes: &[usize],
) -> Outcome {
    let mut control = control(setup);
    let mut all = workers(&mut control, 1 + helpers).into_iter().zip(share::team(1 + helpers));
    let (mut worker, mut sharing) = all.next().expect("the owner");
    let (mut out, over) = (Out::default(), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for (n, (mut worker, mut sharing)) in all.enumerate() {
            let over = &over;
            scope.spawn(move || {
                let mut helped = 0;
                while !over.load(Ordering::Relaxed) && (n > 0 || helped < leaves) {
                    match sharing.help(&mut worker, NOW) {
                        true => helped += 1,
                        false => std::thread::yield_now(),
                    }
                }
            });
        }
        let mut left = bursts(packets, sizes).into_iter().peekable();
        while left.peek().is_some() || sharing.active() {
            while sharing.wants()
                && let Some(mut burst) = left.next()
            {
                assert!(sharing.offer(port, &mut burst) && burst.is_empty());
            }
            // Sometimes the owner leaves all of it to the others.
            match left.len() % 3 {
                1 if helpers > 1 => std::thread::yield_now(),
                _ => {
                    sharing.work(&mut worker, NOW);
                }
            }
            while sharing.collect(&mut out) {}
        }
        over.store(true, Ordering::Relaxed);
    });
    out.into()
}

/// `count` protected packets from A to B, each with a number of its own in its text.
fn protected(count: usize, esn: bool) -> Vec<Vec<u8>> {
    let spec = SaSpec { esn, ..a_to_b(Side::A, GCM) };
    let mut a = Side::A.gateway(&[spec]);
    clear(count).iter().map(|p| frame(Side::B, WAN, &sent(&a.run(LAN, p.data())).1)).collect()
}
fn clear(count: usize) -> Vec<TestBuf> {
    let (from, to) = (Side::A.host(false), Side::B.host(false));
    let packet = |n: usize| udp(from, to, 4000 + (n % 5) as u16, 53, &n.to_be_bytes());
    (0..count).map(|n| TestBuf::new(&frame(Side::A, LAN, &packet(n)))).collect()
}
fn sizes() -> impl Strategy<Value = Vec<usize>> {
    prop::collection::vec(prop_oneof![1usize..4, 1usize..64, Just(64), Just(256)], 1..8)
}

/// What happens to a packet on its way: it comes late, twice, or damaged.
#[derive(Clone, Copy, Debug)]
enum Mishap {
    Late(usize),
    Again(usize),
    Damaged,
}
fn mishap() -> impl Strategy<Value = Mishap> {
    prop_oneof![
        (1usize..200).prop_map(Mishap::Late),
        (0usize..200).prop_map(Mishap::Again),
        Just(Mishap::Damaged)
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]
    /// The smallest window: whoever commits out of turn loses packets or lets one in twice.
    #[test]
    fn one_inbound_sa_on_several_workers_is_as_on_one(
        mishaps in prop::collection::vec((0usize..600, mishap()), 0..60), sizes in sizes(), helpers in 1usize..4,
        leaves in 0u32..20, esn: bool,
    ) {
        let mut packets = protected(600, esn);
        for (at, what) in mishaps {
            let packet = packets[at].clone();
            match what {
                Mishap::Late(by) => { packets.remove(at); packets.insert((at + by).min(packets.len()), packet); }
                Mishap::Again(by) => packets.insert((at + 1 + by).min(packets.len()), packet),
                Mishap::Damaged => { let last = packet.len() - 1; packets[at][last] ^= 1; }
            }
        }
        let packets: Vec<_> = packets.iter().map(|p| TestBuf::new(p)).collect();
        let setup = Setup { sas: vec![SaSpec { esn, ..a_to_b(Side::B, GCM) }], ..Side::B.setup() };
        let (one, many) = (alone(&setup, WAN, &packets, &sizes), together(&setup, helpers, leaves, WAN, &packets, &sizes));
        prop_assert_eq!(one.accounted, packets.len() as u64);
        prop_assert_eq!(one, many);
    }
    /// Byte for byte, so the numbers too: each once, rising, none left out.
    #[test]
    fn one_outbound_sa_on_several_workers_is_as_on_one(sizes in sizes(), helpers in 1usize..4, leaves in 0u32..20) {
        let setup = Setup { sas: vec![a_to_b(Side::A, GCM)], ..Side::A.setup() };
        let packets = clear(600);
        let (one, many) = (alone(&setup, LAN, &packets, &sizes), together(&setup, helpers, leaves, LAN, &packets, &sizes));
        prop_assert_eq!(one.sent[usize::from(WAN)].len(), packets.len());
        prop_assert_eq!(one, many);
    }
}

#[test]
fn without_helpers_the_owner_does_everything_and_nothing_is_lost_when_full() {
    let setup = Setup { sas: vec![a_to_b(Side::A, GCM)], ..Side::A.setup() };
    let mut control = control(&setup);
    let (mut worker, mut out) = (workers(&mut control, 1).remove(0), Out::default());
    let mut sharing: Sharing<TestBuf> = share::team(2).remove(0);
    let (mut taken, mut packets) = (0, clear(1));
    while sharing.offer(LAN, &mut packets) {
        taken += 1;
        packets = clear(1);
    }
    assert_eq!(
        (packets.len(), sharing.active(), sharing.wants()),
        (1, true, false),
        "full: the burst stays here"
    );
    for _ in 0..taken {
        assert!(sharing.work(&mut worker, NOW) && sharing.collect(&mut out));
    }
    assert!(!sharing.work(&mut worker, NOW) && !sharing.collect(&mut out) && !sharing.active());
    assert_eq!(out.tx[usize::from(WAN)].len(), taken);
    assert!(sharing.offer(LAN, &mut packets), "room again");
}
