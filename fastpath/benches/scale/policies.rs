//! One policy among 100 000: how long until a worker sees it, and until no worker can see the tables before it.
use crate::world::{NOW, commit, control, host_pair, host_pairs, policy, quantile};
use fastpath::crypto::CpuKeys;
use fastpath::tables::{Control, Reader, Tables};
use ipc::contract::Command;
use sa::{PolicyId, PolicySpec};
use std::time::Instant;

const STEPS: u32 = 4000;

pub fn run() {
    println!("  {:<44} {:>9} {:>9} {:>9}", "microseconds until seen by a worker", "50 %", "99 %", "longest");
    for count in [1000, 100_000] {
        edits(&format!("insert at any place, {count}"), count, |n| Some(PolicyId(n % count + 1)));
        edits(&format!("insert always at one place, {count}"), count, |_| Some(PolicyId(count / 2)));
        edits(&format!("insert before all, {count}"), count, |_| None);
    }
    whole(100_000);
}

struct World {
    control: Control<CpuKeys>,
    worker: Reader<Tables<fastpath::crypto::KeyRecord>>,
    generation: u64,
}
impl World {
    fn new(count: u32) -> Self {
        let mut control = control(16);
        commit(&mut control, &host_pairs(count));
        let worker = control.reader();
        control.poll(NOW, &mut Vec::new(), &mut Vec::new());
        Self { control, worker, generation: 1 }
    }
    /// In microseconds.
    fn edit(&mut self, step: Command, seen: impl Fn(&Tables<fastpath::crypto::KeyRecord>) -> bool) -> f64 {
        let (from, generation) = (self.generation, self.generation + 1);
        self.generation = generation;
        let start = Instant::now();
        for command in [Command::PolicyEdit { from, generation }, step, Command::PolicyCommit { generation }]
        {
            self.control.enqueue(command, NOW).expect("accepted");
        }
        self.control.poll(NOW, &mut Vec::new(), &mut Vec::new());
        drop(self.worker.refresh());
        let took = start.elapsed();
        assert!(seen(self.worker.table()));
        // The other instance follows.
        self.control.poll(NOW, &mut Vec::new(), &mut Vec::new());
        assert_eq!(self.control.settled(), self.control.submitted());
        took.as_secs_f64() * 1e6
    }
}

fn edits(what: &str, count: u32, after: impl Fn(u32) -> Option<PolicyId>) {
    let mut world = World::new(count);
    let new = |n: u32| policy(count + n + 1, host_pair(count + n));
    let spread = |n: u32| n.wrapping_mul(0x9e37_79b1) >> 8;
    let there = |id: u32| move |t: &Tables<_>| t.spd.by_id(PolicyId(id)).is_some();
    let inserts = (0..STEPS).map(|n| {
        let (after, policy) = (after(spread(n)), new(n));
        world.edit(Command::PolicyInsert { after, policy }, there(policy.id.0))
    });
    print(what, inserts.collect());
    let removes = (0..STEPS).map(|n| {
        let policy = new(n).id;
        world.edit(Command::PolicyRemove { policy }, |t| t.spd.by_id(policy).is_none())
    });
    print(&format!("  and removed again, {count}"), removes.collect());
}
fn print(what: &str, mut samples: Vec<f64>) {
    samples.sort_by(f64::total_cmp);
    let [half, most, all] = [0.5, 0.99, 1.0].map(|share| quantile(&samples, share));
    println!("  {what:<44} {half:>9.1} {most:>9.1} {all:>9.1}");
}

/// A list that differs in one policy, said as a whole: what a new slow path does once.
fn whole(count: u32) {
    let mut world = World::new(count);
    let mut list: Vec<PolicySpec> = host_pairs(count);
    list.insert(count as usize / 2, policy(count + 1, host_pair(count)));
    let start = Instant::now();
    commit(&mut world.control, &list);
    println!("  whole list of {count} that differs in one: {:.1} ms", start.elapsed().as_secs_f64() * 1e3);
}
