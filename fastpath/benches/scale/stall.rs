//! Whether a worker feels that policies come and go: its bursts timed, with changes and without.
//!
//! Wants two CPUs for itself: `chrt -f 40`, for the few seconds it takes.
#[path = "../../tests/common/mod.rs"]
mod common;

use crate::world::{NOW, control, engines, host_pair, host_pairs, policy, quantile, v4};
use common::{LAN, Side, frame, udp};
use fastpath::crypto::CpuEngine;
use fastpath::graph::{Out, Worker};
use fastpath::tables::{Interface, NextHop};
use ipc::contract::Command;
use sa::{Action, PolicyId, PolicySpec};
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};
use wire::{Mac, TestBuf};

const POLICIES: u32 = 100_000;
const FLOWS: u32 = 4096;
const BURST: usize = 32;
const RUN: Duration = Duration::from_millis(1500);
const EVERY: Duration = Duration::from_millis(1);

pub fn run() {
    println!(
        "  {:<44} {:>7} {:>7} {:>7} {:>7} {:>7}",
        "microseconds per burst of 32", "50 %", "99 %", "99.9 %", "99.99 %", "longest"
    );
    for round in 0..2 {
        measure(&format!("no change ({round})"), false);
        measure(&format!("a policy added or removed every ms ({round})"), true);
    }
}

fn measure(what: &str, changes: bool) {
    let setup = Side::A.setup();
    let mut control = control(16);
    for (index, i) in setup.interfaces.iter().enumerate() {
        let (port, vlan, mac, mtu) = (i.port, i.vlan, Mac(i.mac), i.mtu);
        let addresses = i.addresses.clone();
        control.set_interface(index as u16, Interface { port, vlan, mac, mtu, addresses });
    }
    for route in &setup.routes {
        let via = NextHop { interface: route.interface as u16, gateway: route.next_hop };
        control.set_route(route.prefix, via);
    }
    for n in &setup.neighbours {
        control.set_neighbour(n.interface as u16, n.address, Some(Mac(n.mac)));
    }
    let open = |spec: PolicySpec| PolicySpec { action: Action::Bypass, ..spec };
    let list: Vec<PolicySpec> = host_pairs(POLICIES).into_iter().map(open).collect();
    crate::world::commit(&mut control, &list);
    let engine = CpuEngine::new(&engines()).expect("an engine");
    let worker = Worker::new(control.reader(), engine).expect("random bytes");
    control.poll(NOW, &mut Vec::new(), &mut Vec::new());

    let stop = AtomicBool::new(false);
    let (mut samples, steps) = std::thread::scope(|threads| {
        let timed = threads.spawn(|| bursts(worker, &stop));
        let (start, mut steps) = (Instant::now(), 0u32);
        while start.elapsed() < RUN {
            std::thread::sleep(EVERY);
            if changes {
                let policy = open(policy(POLICIES + 1, host_pair(POLICIES)));
                let (from, generation) = (u64::from(steps) + 1, u64::from(steps) + 2);
                let after = Some(PolicyId(steps.wrapping_mul(7919) % POLICIES + 1));
                let step = match steps.is_multiple_of(2) {
                    true => Command::PolicyInsert { after, policy },
                    false => Command::PolicyRemove { policy: policy.id },
                };
                for command in
                    [Command::PolicyEdit { from, generation }, step, Command::PolicyCommit { generation }]
                {
                    control.enqueue(command, NOW).expect("accepted");
                }
                steps += 1;
            }
            control.poll(NOW, &mut Vec::new(), &mut Vec::new());
        }
        stop.store(true, Relaxed);
        (timed.join().expect("a worker"), steps)
    });
    samples.sort_by(f64::total_cmp);
    let shown = [0.5, 0.99, 0.999, 0.9999, 1.0].map(|share| format!("{:>7.1}", quantile(&samples, share)));
    println!("  {what:<44} {}   {} bursts, {steps} changes", shown.join(" "), samples.len());
}

/// In microseconds.
fn bursts(mut worker: Worker<TestBuf, CpuEngine<TestBuf>>, stop: &AtomicBool) -> Vec<f64> {
    let packet = |n: u32| {
        let n = n.wrapping_mul(0x9e37_79b1) % POLICIES;
        let (src, dst) = (v4(0x0a00_0000 + n), v4(0x1400_0000 + n));
        TestBuf::new(&frame(Side::A, LAN, &udp(src, dst, 4000, 53, b"a payload")))
    };
    let packets: Vec<TestBuf> = (0..FLOWS).map(packet).collect();
    let (mut out, mut samples) = (Out::default(), Vec::with_capacity(1 << 20));
    let mut burst = Vec::with_capacity(BURST);
    while !stop.load(Relaxed) {
        for packets in packets.chunks(BURST) {
            burst.extend_from_slice(packets);
            let start = Instant::now();
            worker.process(LAN, &mut burst, NOW, &mut out);
            samples.push(start.elapsed().as_secs_f64() * 1e6);
            let sent: usize = out.tx.iter_mut().map(|queue| queue.drain(..).count()).sum();
            assert_eq!(sent, BURST, "{:?}", out.drops);
        }
    }
    samples
}
