//! Two gateways with a tunnel between them: slow paths come, go and misbehave, and no datagram is lost.
use crate::support::{Gateway, PATIENCE, REQUIRE, Tunnel, mirrored, policy, site};
use anyhow::{Context, Result, ensure};
use harness::lab::{Plan, Site};
use harness::traffic::ping_until_up;
use harness::{Lab, NumberedFlow, Side, wait_until};
use ipc::{Command, SlowSide};
use sa::{DropReason, PolicyId, PolicySpec, SaSlot, Spi};
use std::collections::HashMap;
use std::net::UdpSocket;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::Duration;

fn policies(side: Side) -> [PolicySpec; 2] {
    let far = side.other();
    [policy(1, &side.subnet4(), &far.subnet4(), REQUIRE), policy(2, &side.subnet6(), &far.subnet6(), REQUIRE)]
}

/// A tunnel for each family; the IPv6 one runs over IPv6.
fn tunnels() -> [Tunnel; 2] {
    let [v4, v6] = policies(Side::A);
    let over6 = (Side::A.wan6(), Side::B.wan6());
    [Tunnel::to_b(1, &v4), Tunnel::new(2, &v6, crate::support::gcm(), over6)]
}

/// Two gateways that are connected; what they logged, once both have ended in order.
pub fn pair(more: &str, body: impl FnOnce(&Lab, &mut Gateway, &mut Gateway) -> Result<()>) -> [String; 2] {
    let mut logs = [const { String::new() }; 2];
    let result = Lab::run(&Plan::new(Site::Dpdk, Site::Dpdk), |lab| {
        let start = |side: Side| {
            let name = format!("fastpath-{}", side.letter());
            Gateway::start(lab, lab.site(side), &name, &site(side, more))
        };
        let (mut a, mut b) = (start(Side::A)?, start(Side::B)?);
        connect(&mut a, &mut b)?;
        for far in [Side::B.host4(), Side::B.host6()] {
            ping_until_up(lab.host(Side::A), far, PATIENCE)?;
        }
        body(lab, &mut a, &mut b)?;
        logs = [a.stop()?, b.stop()?];
        Ok(())
    });
    result.unwrap_or_else(|error| panic!("{error:#}"));
    logs
}
pub fn connect(a: &mut Gateway, b: &mut Gateway) -> Result<()> {
    a.commit(&policies(Side::A))?;
    b.commit(&policies(Side::B))?;
    for tunnel in tunnels() {
        a.install(&tunnel.both())?;
        b.install(&tunnel.both().map(|spec| mirrored(&spec)))?;
    }
    Ok(())
}
fn flows(lab: &Lab, per_second: u32) -> Result<[NumberedFlow; 2]> {
    let (a, b) = (lab.host(Side::A), lab.host(Side::B));
    let flow = |from, to| NumberedFlow::start((a, from), (b, to), 200, per_second);
    Ok([flow(Side::A.host4(), Side::B.host4())?, flow(Side::A.host6(), Side::B.host6())?])
}
fn expect_whole(flows: [NumberedFlow; 2], at_least: u64) -> Result<()> {
    for flow in flows {
        flow.finish()?.expect_whole(at_least)?;
    }
    Ok(())
}

#[test]
fn slow_paths_come_and_go_and_nothing_is_lost() {
    pair("", |lab, a, b| {
        let flows = flows(lab, 300)?;
        for _ in 0..5 {
            flows[0].let_pass(60)?;
            a.detach();
            flows[0].let_pass(60)?;
            a.attach()?;
            // What a restarted slow path does: the same policies, and a look at what runs.
            a.commit(&policies(Side::A))?;
            let running: Vec<_> = a.statistics()?.installed().map(|(slot, _)| slot).collect();
            ensure!(running == [2, 3, 4, 5].map(SaSlot), "{running:?}");
            b.attach()?;
        }
        // Rekeyed under load: new pairs, then the old ones go.
        for (n, old) in (10u32..).zip(tunnels()) {
            let mut new = old.clone();
            for (spec, slot) in [(&mut new.inbound, 2 * n), (&mut new.outbound, 2 * n + 1)] {
                (spec.slot, spec.spi) = (SaSlot(slot), Spi::new(0x3300_0000 + slot)?);
            }
            a.install(&[new.inbound.clone()])?;
            b.install(&[mirrored(&new.outbound), mirrored(&new.inbound)])?;
            a.install(&[new.outbound.clone()])?;
            flows[0].let_pass(60)?;
            for spec in old.both() {
                a.remove(&spec)?;
                b.remove(&mirrored(&spec))?;
            }
            flows[0].let_pass(60)?;
        }
        expect_whole(flows, 600)
    });
}

/// H1, H2: whatever a process writes into the shared region, packets go on.
#[test]
fn h1_a_hostile_slow_path_disturbs_no_packet() {
    pair("", |lab, a, _| {
        let flows = flows(lab, 300)?;
        let mut random = 0x9e37_79b9_7f4a_7c15u64;
        let mut draw = move || {
            random ^= random << 13;
            random ^= random >> 7;
            random ^= random << 17;
            random
        };
        for round in 0..6 {
            a.attach()?;
            // Commands that are well formed and nonsense.
            for n in 0..40u32 {
                let spi = Spi::new(0x4000 + n)?;
                let absurd = [
                    Command::RemoveSa { slot: SaSlot(u32::MAX - n), spi },
                    Command::PolicyCommit { generation: draw() },
                    Command::PolicyBegin { generation: draw(), count: u32::MAX },
                    Command::AcquireFailed { policy: PolicyId(n + 99), retry_ms: u32::MAX },
                ];
                let said = a.tell_all(absurd.into())?;
                ensure!(said[0].is_err() && said[1].is_err(), "{said:?}");
            }
            // Garbage everywhere; in the odd rounds slowly, so that the fast path sees it half done.
            let words = a.slow().region().words();
            for (at, word) in words.iter().enumerate() {
                let garbage = match round % 3 {
                    0 => draw(),
                    1 => u64::MAX,
                    _ => draw() & 0xff,
                };
                word.store(garbage, Relaxed);
                if round % 2 == 1 && at % 4096 == 0 {
                    std::thread::sleep(Duration::from_micros(200));
                }
            }
            flows[0].let_pass(60)?;
            a.process.check()?;
        }
        a.attach()?;
        a.commit(&policies(Side::A))?;
        flows[0].let_pass(60)?;
        expect_whole(flows, 300)
    });
}

#[test]
fn two_workers_lose_nothing_and_keep_each_flow_in_order() {
    pair("workers: [0, 1]", |lab, a, b| {
        let flows = flows(lab, 300)?;
        in_order(lab)?;
        expect_whole(flows, 50)?;
        expect_no_drops(a)?;
        expect_no_drops(b)
    });
}

/// None but of packets that came before the next hop was known.
pub fn expect_no_drops(gateway: &Gateway) -> Result<()> {
    let mut drops = gateway.all_drops();
    drops.retain(|(reason, _)| *reason != DropReason::NoNeighbour);
    ensure!(drops.is_empty(), "{drops:?}");
    Ok(())
}

/// Many flows at once, each numbered: what arrives of a flow arrives in order, and all of it arrives.
fn in_order(lab: &Lab) -> Result<()> {
    const FLOWS: u64 = 20;
    const EACH: u64 = 100;
    let socket = |side: Side| move || Ok(UdpSocket::bind((side.host4(), 0))?);
    let listener = lab.host(Side::B).enter(socket(Side::B)).join().expect("no panic")?;
    listener.set_read_timeout(Some(PATIENCE))?;
    let to = listener.local_addr()?;
    let senders = (0..FLOWS)
        .map(|_| lab.host(Side::A).enter(socket(Side::A)).join().expect("no panic"))
        .collect::<Result<Vec<_>>>()?;
    let received = Arc::new(AtomicU64::new(0));
    let so_far = received.clone();
    let sending = std::thread::spawn(move || -> Result<()> {
        // The kernel keeps the order of what comes from one CPU.
        core_affinity::set_for_current(core_affinity::get_core_ids().context("no CPU")?[0]);
        for number in 0..EACH {
            for sender in &senders {
                sender.send_to(&number.to_be_bytes(), to)?;
            }
            // Never more under way than the sockets and queues in between can hold.
            wait_until("datagrams to arrive", PATIENCE, || {
                ensure!((number + 1) * FLOWS < so_far.load(Relaxed) + 5 * FLOWS, "stuck at {number}");
                Ok(())
            })?;
        }
        Ok(())
    });
    let mut arrived: HashMap<u16, Vec<u64>> = HashMap::new();
    for n in 0..FLOWS * EACH {
        let mut number = [0; 8];
        let got = listener.recv_from(&mut number);
        let (_, from) = got.with_context(|| format!("after {n} datagrams of {}", FLOWS * EACH))?;
        received.store(n + 1, Relaxed);
        arrived.entry(from.port()).or_default().push(u64::from_be_bytes(number));
    }
    for (port, numbers) in arrived {
        ensure!(numbers.iter().copied().eq(0..EACH), "from port {port}: {numbers:?}");
    }
    sending.join().expect("no panic")
}

#[test]
fn a_second_slow_path_is_refused_while_the_first_is_there() {
    pair("", |_, a, _| {
        let second = SlowSide::attach(&a.socket, &[0], Duration::from_secs(5));
        ensure!(second.is_err(), "two at once");
        a.commit(&policies(Side::A))
    });
}
