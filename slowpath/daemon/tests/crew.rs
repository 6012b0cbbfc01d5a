//! Two slow paths whose public-key operations are done by threads, while the drivers go on.
mod common;
use common::*;
use espway_slowpath::crew::{AT_ONCE, Crew};
use espway_slowpath::driver::Driver;
use ike::Engine;
use ike::api::{Input, Now};
use ipc::{FrameKind, FrameMeta};
use std::time::Duration;

struct End {
    driver: Driver<Engine>,
    fast: Fast,
    crew: Crew,
    jobs: usize,
}
impl End {
    fn new(first: bool, threads: usize, now: Now) -> Self {
        let mut fast = Fast::new();
        let mut engine = Engine::new(Box::new(Seeded(if first { 11 } else { 12 })));
        engine.compute_beside(AT_ONCE);
        let mut driver = Driver::new(engine, key());
        let (config, policies) = gateway(first, gcm());
        driver.configure(config, policies, now);
        driver.attach(fast.side.attach_here().unwrap(), now);
        Self { driver, fast, crew: Crew::new(threads).unwrap(), jobs: 0 }
    }
    /// As `run` does it.
    fn turn(&mut self, now: Now) -> Vec<(FrameMeta, Vec<u8>)> {
        let mut sent = settle(&mut self.driver, &mut self.fast, now);
        for input in self.crew.done().collect::<Vec<_>>() {
            self.driver.input(input, now);
        }
        let jobs = self.driver.take_jobs();
        self.jobs += jobs.len();
        self.crew.add(jobs);
        sent.extend(settle(&mut self.driver, &mut self.fast, now));
        sent
    }
}
fn carry(ends: &mut [End; 2], now: &mut Now, until: impl Fn(&[End; 2]) -> bool) {
    for _ in 0..4000 {
        for from in [0, 1] {
            for (meta, payload) in ends[from].turn(*now) {
                let meta = FrameMeta { local: meta.remote, remote: meta.local, ..meta };
                if meta.kind == FrameKind::Ike {
                    assert!(ends[1 - from].fast.side.frame_to_slow(&meta, &payload));
                }
            }
        }
        if until(ends) {
            return;
        }
        *now += Duration::from_millis(5);
        std::thread::sleep(Duration::from_micros(500));
    }
    panic!("it does not come to that: {:?}", ends.each_ref().map(|end| end.fast.sas.len()));
}

#[test]
fn tunnels_come_up_again_and_again() {
    let mut now = Duration::from_secs(1000);
    let mut ends = [(true, 2), (false, 1)].map(|(first, threads)| End::new(first, threads, now));
    for round in 1..=5 {
        carry(&mut ends, &mut now, |ends| ends.iter().all(|end| end.fast.sas.len() == 2));
        let jobs: usize = ends.iter().map(|end| end.jobs).sum();
        assert!(jobs >= round, "each handshake has a key exchange that a thread makes: {jobs}");
        ends[0].driver.input(Input::Terminate { peer: None }, now);
        carry(&mut ends, &mut now, |ends| ends.iter().all(|end| end.fast.sas.is_empty()));
        ends[0].driver.input(Input::Initiate { peer: "other".into(), policy: None }, now);
    }
}
/// It ends with jobs under way, whose results nobody wants.
#[test]
fn it_ends_in_the_midst_of_its_work() {
    let mut now = Duration::from_secs(1000);
    let mut ends = [true, false].map(|first| End::new(first, 1, now));
    carry(&mut ends, &mut now, |ends| ends.iter().any(|end| end.jobs > 0));
    drop(ends);
    drop(Crew::new(0).unwrap());
}
