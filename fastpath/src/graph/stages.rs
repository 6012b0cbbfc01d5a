//! Where a worker's cycles go, stage by stage.
//!
//! Off unless [`super::Worker::measure_stages`] has been given a clock. Then one call in [`EVERY`] is measured: the
//! clock is read where a stage ends, and what it took goes to that stage. Whoever holds the [`StageCycles`] may read
//! them at any time, from any thread; two readings and their difference make a report.
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};

/// Calls of which one is measured: reading the clock costs as much as a small packet, once per stage and burst.
pub const EVERY: u32 = 16;

/// The stages of a burst, in the order in which it walks them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Ethernet and IP header, flow cache or policy look-up: which way does it go. TTL.
    Classify,
    /// ESP for us: its SA, the addresses, a first look at the replay window.
    Admit,
    /// The engine, inbound.
    Open,
    /// Window, lifetime, trailer, inner packet, selectors.
    Unwrap,
    /// Outbound: the SA, the way to its peer, sequence numbers.
    Forward,
    /// Outer headers and trailer. Packets in clear: route and link header, and they are sent.
    Frame,
    /// The engine, outbound.
    Seal,
    /// Counters of the SA, transmit queue.
    Send,
}
impl Stage {
    pub const COUNT: usize = 8;
    pub const ALL: [Self; Self::COUNT] = [
        Self::Classify,
        Self::Admit,
        Self::Open,
        Self::Unwrap,
        Self::Forward,
        Self::Frame,
        Self::Seal,
        Self::Send,
    ];
    pub const fn name(self) -> &'static str {
        match self {
            Self::Classify => "classify",
            Self::Admit => "admit",
            Self::Open => "open",
            Self::Unwrap => "unwrap",
            Self::Forward => "forward",
            Self::Frame => "frame",
            Self::Seal => "seal",
            Self::Send => "send",
        }
    }
}

/// What a stage has cost so far, in the calls that were measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Cost {
    /// In units of the clock.
    pub cycles: u64,
    /// Packets that came to the stage.
    pub packets: u64,
}

#[derive(Debug, Default)]
struct Counter {
    cycles: AtomicU64,
    packets: AtomicU64,
}

/// Written by one worker, readable from any thread.
#[derive(Debug, Default)]
pub struct StageCycles {
    stages: [Counter; Stage::COUNT],
    /// Packets that came in with the calls that were measured, whatever became of them.
    packets: AtomicU64,
}
impl StageCycles {
    pub fn cost(&self, stage: Stage) -> Cost {
        let counter = &self.stages[stage as usize];
        Cost { cycles: counter.cycles.load(Relaxed), packets: counter.packets.load(Relaxed) }
    }
    /// Packets that came in with the calls that were measured: cycles of all stages by this are cycles per packet.
    pub fn packets(&self) -> u64 {
        self.packets.load(Relaxed)
    }
}

/// Only one thread writes, so reading and storing apart is enough.
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
}

/// The worker's end.
#[derive(Debug, Default)]
pub(crate) struct Meter {
    clock: Option<fn() -> u64>,
    calls: u32,
    /// When the stage before ended, in a call that is measured.
    since: Option<u64>,
    /// Somebody wants to see what a packet does.
    follows: bool,
    /// Either.
    attends: bool,
    cycles: Arc<StageCycles>,
}
impl Meter {
    pub fn set_clock(&mut self, clock: Option<fn() -> u64>) {
        self.clock = clock;
    }
    pub fn cycles(&self) -> &Arc<StageCycles> {
        &self.cycles
    }
    /// Whether the ends of stages are told to anybody.
    #[inline(always)]
    pub fn attends(&self) -> bool {
        self.attends
    }
    pub fn follows(&self) -> bool {
        self.follows
    }
    pub fn follow(&mut self, follows: bool) {
        self.follows = follows;
    }
    /// A call begins.
    #[inline]
    pub fn begin(&mut self, packets: usize) {
        self.since = None;
        if let Some(clock) = self.clock
            && packets > 0
        {
            self.calls = self.calls.wrapping_add(1);
            if self.calls.is_multiple_of(EVERY) {
                add(&self.cycles.packets, packets as u64);
                self.since = Some(clock());
            }
        }
        self.attends = self.since.is_some() || self.follows;
    }
    /// What was done since the last stage ended was `stage`, for so many packets.
    #[inline]
    pub fn end(&mut self, stage: Stage, packets: usize) {
        if let (Some(clock), Some(since)) = (self.clock, self.since) {
            let now = clock();
            let counter = &self.cycles.stages[stage as usize];
            add(&counter.cycles, now.wrapping_sub(since));
            add(&counter.packets, packets as u64);
            self.since = Some(now);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    thread_local!(static NOW: Cell<u64> = const { Cell::new(0) });
    fn clock() -> u64 {
        NOW.set(NOW.get() + 10);
        NOW.get()
    }
    #[test]
    fn one_call_in_sixteen_is_measured_and_only_with_a_clock() {
        let mut meter = Meter::default();
        let run = |meter: &mut Meter| {
            for _ in 0..2 * EVERY {
                meter.begin(32);
                meter.end(Stage::Classify, 32);
                meter.end(Stage::Send, 30);
            }
        };
        run(&mut meter);
        assert_eq!((meter.cycles().packets(), NOW.get()), (0, 0));
        meter.set_clock(Some(clock));
        run(&mut meter);
        let cycles = meter.cycles();
        assert_eq!(cycles.packets(), 64);
        assert_eq!(cycles.cost(Stage::Classify), Cost { cycles: 20, packets: 64 });
        assert_eq!(cycles.cost(Stage::Send), Cost { cycles: 20, packets: 60 });
        assert_eq!(cycles.cost(Stage::Frame), Cost::default());
        assert_eq!(NOW.get(), 2 * 3 * 10, "calls that are not measured do not read the clock");
    }
    #[test]
    fn every_stage_has_its_place_and_name() {
        for (at, stage) in Stage::ALL.into_iter().enumerate() {
            assert_eq!(stage as usize, at);
            assert!(Stage::ALL.iter().all(|other| *other == stage || other.name() != stage.name()));
        }
    }
}
