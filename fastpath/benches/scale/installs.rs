//! SAs into the tables: straight, and through the shared region with a worker that has to see them.
use crate::world::{NOW, commit, control, host_pairs, resident, sa};
use fastpath::crypto::CpuKeys;
use fastpath::tables::Control;
use fastpath::tables::control::Applied;
use ipc::contract::Command;
use ipc::{FastSide, Geometry, RegionOptions, SlowSide};
use sa::{SaSlot, Spi};
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::{Duration, Instant};

const SAS: u32 = 100_000;
const SLOTS: u32 = 262_144;

pub fn run() {
    straight();
    through_the_region();
}

fn rate(what: &str, took: Duration) {
    let per_second = f64::from(SAS) / took.as_secs_f64();
    println!("  {what:<44} {:>8.1} ms  {per_second:>9.0}/s", took.as_secs_f64() * 1e3);
}

fn straight() {
    let empty = resident();
    let mut control = control(SLOTS);
    println!("  tables of {SLOTS} slots, empty: {} bytes per slot", (resident() - empty) / u64::from(SLOTS));
    let before = resident();
    commit(&mut control, &host_pairs(SAS / 2));
    println!("  policies: {} bytes each", (resident() - before) / u64::from(SAS / 2));
    let mut commands: Vec<Command> = Vec::with_capacity(1000);
    let (mut took, mut more) = (Duration::ZERO, 0);
    for first in (0..SAS).step_by(1000) {
        commands.extend((first..first + 1000).map(sa));
        let (before, start) = (resident(), Instant::now());
        for command in commands.drain(..) {
            control.apply(command, NOW).expect("room");
        }
        took += start.elapsed();
        more += resident() - before;
    }
    rate("Control::apply, 100 000 InstallSa", took);
    println!("  more for each SA, both instances and what they share: {} bytes", more / u64::from(SAS));
    let start = Instant::now();
    for n in 0..SAS {
        let spi = Spi::new(0x2200_0000 + n).expect("an SPI");
        control.apply(Command::RemoveSa { slot: SaSlot(n), spi }, NOW).expect("there");
    }
    control.poll(NOW, &mut Vec::new(), &mut Vec::new());
    rate("Control::apply, 100 000 RemoveSa", start.elapsed());
}

/// The control thread's part, as the daemon does it: up to 256 commands, then a poll, then what has settled.
fn serve(mut fast: FastSide, mut control: Control<CpuKeys>, stop: &AtomicBool) {
    let mut unseen: VecDeque<(u64, u64)> = VecDeque::new();
    let (mut events, mut done) = (Vec::new(), Vec::new());
    while !stop.load(Relaxed) {
        for _ in 0..256 {
            let Some((seq, command)) = fast.next_command() else { break };
            match control.enqueue(command, NOW) {
                Ok(Applied::Later(_)) => {}
                Ok(Applied::Now) => unseen.push_back((control.submitted(), seq)),
                Err(refusal) => fast.acknowledge(seq, Err(refusal)),
            }
        }
        control.poll(NOW, &mut events, &mut done);
        std::thread::yield_now();
        while let Some((_, seq)) = unseen.pop_front_if(|(number, _)| *number <= control.settled()) {
            fast.acknowledge(seq, Ok(()));
        }
    }
}

/// Sends all and waits until all are acknowledged.
pub fn send(slow: &mut SlowSide, commands: &[Command]) {
    let mut acknowledged = 0;
    for command in commands {
        while slow.send(command).is_err() {
            while let Some(ack) = slow.next_ack() {
                ack.result.expect("accepted");
                acknowledged += 1;
            }
            std::thread::yield_now();
        }
    }
    while acknowledged < commands.len() {
        while let Some(ack) = slow.next_ack() {
            ack.result.expect("accepted");
            acknowledged += 1;
        }
        std::thread::yield_now();
    }
}

fn through_the_region() {
    let geometry = Geometry { sa_slots: SLOTS, ..Geometry::default() };
    let mut fast = FastSide::create(&RegionOptions { geometry, port_names: Vec::new() }).expect("a region");
    let mut slow = fast.attach_here().expect("attached");
    let mut control = control(SLOTS);
    commit(&mut control, &host_pairs(SAS / 2));
    let commands: Vec<Command> = (0..SAS).map(sa).collect();
    let mut worker = control.reader();
    let stop = AtomicBool::new(false);
    std::thread::scope(|threads| {
        threads.spawn(|| serve(fast, control, &stop));
        threads.spawn(|| {
            while !stop.load(Relaxed) {
                worker.refresh();
                std::thread::sleep(Duration::from_micros(20));
            }
        });
        let start = Instant::now();
        send(&mut slow, &commands);
        rate("through the region, until acknowledged", start.elapsed());
        stop.store(true, Relaxed);
    });
}
