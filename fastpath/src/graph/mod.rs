//! The way of a packet through a worker, in stages over a burst:
//!
//! ```text
//! rx ─ classify ┬ for the gateway ─ IKE, keepalive ─┬─ out.ike
//!               │                 ─ ARP, ND, other  ─┼─ out.host
//!               │                 ─ a fragment      ─┴─ out.pieces, and whole once more from here
//!               ├ ESP ─ inbound::admit ═ engine ═ inbound::settle ─┬─ out.host
//!               │                                                 ▼
//!               └ everything else ───────────────────────── forward: policy
//!                                                           ├ drop(reason)
//!                                                           ├ clear ─ route ─ transmit
//!                                                           └ outbound::frame ═ engine ═ transmit
//! ```
//! Every packet that goes in comes out exactly once: on a port, to the host, to IKE, waiting for a
//! neighbour or for the rest of its datagram, or counted under one drop reason.
//!
//! Each stage takes the whole burst and looks ahead for the next: what that will read of the flow cache, the SA table
//! and the SA itself is prefetched as soon as its place is known. So a packet of its own SA costs about what a packet of
//! the SA before costs. What passes from stage to stage is read in place and made of whole words: a record that is
//! copied right after it was written in smaller pieces makes the copy wait for the store.
mod cache;
mod classify;
mod forward;
mod fragment;
mod framing;
mod inbound;
mod iv;
mod lane;
pub mod lost;
mod modes;
mod mss;
mod out;
mod outbound;
mod seen;
pub mod share;
pub mod stages;
mod stats;
pub mod watch;

pub use classify::ike_in;
pub use forward::refuses;
pub use fragment::MakeBuffer;
pub use out::{ErrorReport, IkeFrame, Out, ToHost, Unresolved};
pub use stages::{Stage, StageCycles};
pub use stats::{SaCount, SaCounts};

use crate::crypto::{Engine, Job, Operation, SaRef};
use crate::tables::{Reader, Sa, Tables};
use cache::{FlowCache, Verdict, WayCache};
use classify::Head;
use forward::Forward;
use inbound::{Incoming, Opened};
use iv::IvSource;
use outbound::Plan;
use sa::{Candidate, DropReason};
use share::Turn;
use stages::Meter;
use std::collections::VecDeque;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use watch::{Arrival, Notes};
use wire::PacketBuf;

/// A stage has ended. Nobody wants to know, most of the time.
macro_rules! ended {
    ($worker:ident, $tables:ident, $stage:expr, $packets:expr) => {
        if $worker.meter.attends() {
            attend(&mut $worker.meter, &mut $worker.notes, $tables, &$worker.work, $stage, $packets);
        }
    };
}
#[cold]
#[inline(never)]
fn attend<B: PacketBuf, K>(
    meter: &mut Meter,
    notes: &mut Notes<B>,
    tables: &Tables<K>,
    work: &Work<B>,
    stage: Stage,
    packets: usize,
) {
    meter.end(stage, packets);
    if meter.follows() {
        notes.look(tables, work, stage);
    }
}

/// What the graph needs to finish a packet once an engine has given it back. Everything else stands in the packet's
/// outer header or with its SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Context {
    /// Inbound: the number that is authentic if the packet is.
    candidate: Candidate,
    /// Inbound, the interface it came in on. Outbound, the port it leaves on, its link header being written;
    /// [`Context::UNRESOLVED`] if the next hop's MAC address was not known.
    link: u16,
    progress: Progress,
}
impl Context {
    const UNRESOLVED: u16 = u16::MAX;
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Progress {
    Seal,
    Open,
    /// Authentic, and its number recorded.
    Accepted,
    /// The same, and the number is the highest so far.
    Newest,
    Refused(DropReason),
}

/// One worker's datapath. Owns everything it writes but the counters inside of SAs.
pub struct Worker<B, E: Engine<B>>
where
    B: PacketBuf,
{
    reader: Reader<Tables<E::Key>>,
    /// Tables that jobs in flight were submitted under, with the number of the last such job.
    retired: VecDeque<(u64, Arc<Tables<E::Key>>)>,
    engine: E,
    submitted: u64,
    collected: u64,
    work: Work<B>,
    meter: Meter,
    notes: Notes<B>,
    /// While a burst is worked on that others have earlier ones of.
    turn: Option<Turn>,
}

/// What the nodes write to, apart from `Out`. The vectors keep their capacity from burst to burst.
pub(crate) struct Work<B> {
    heads: Vec<Head>,
    incoming: Vec<Incoming<B>>,
    forward: Vec<Forward<B>>,
    plans: Vec<Plan>,
    ready: Vec<Forward<B>>,
    jobs: Vec<Job<B>>,
    done: Vec<Job<B>>,
    opened: Vec<Opened>,
    cache: FlowCache,
    ways: WayCache,
    ivs: IvSource,
    counts: Arc<SaCounts>,
    now: Duration,
    unknown_spi: Budget,
    mismatches: Budget,
    moved: Option<(SaRef, IpAddr, u16)>,
    pieces: Vec<Forward<B>>,
    make: Option<MakeBuffer<B>>,
    lane: lane::Lane,
}

/// A few a second.
#[derive(Debug, Default)]
struct Budget {
    second: u64,
    used: u32,
}
impl Budget {
    fn take(&mut self, now: Duration) -> bool {
        if self.second != now.as_secs() {
            *self = Self { second: now.as_secs(), used: 0 };
        }
        self.used += 1;
        self.used <= 4
    }
}

/// The system's random source failed at start.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the system gives no random bytes for the generator of CBC IVs")]
pub struct NoRandomness;

impl<B: PacketBuf, E: Engine<B>> Worker<B, E> {
    pub fn new(reader: Reader<Tables<E::Key>>, engine: E) -> Result<Self, NoRandomness> {
        let slots = reader.table().sad.capacity();
        let counts = Arc::new(SaCounts::new(slots));
        let work = Work {
            heads: Vec::with_capacity(BURST),
            opened: Vec::with_capacity(2 * BURST),
            incoming: Vec::with_capacity(BURST),
            forward: Vec::with_capacity(2 * BURST),
            plans: Vec::with_capacity(2 * BURST),
            ready: Vec::with_capacity(BURST),
            jobs: Vec::with_capacity(2 * BURST),
            done: Vec::with_capacity(2 * BURST),
            cache: FlowCache::new(slots),
            ways: WayCache::new(),
            ivs: IvSource::new()?,
            counts,
            now: Duration::ZERO,
            unknown_spi: Budget::default(),
            mismatches: Budget::default(),
            moved: None,
            pieces: Vec::with_capacity(BURST),
            make: None,
            lane: lane::Lane::new(),
        };
        Ok(Self {
            reader,
            retired: VecDeque::new(),
            engine,
            submitted: 0,
            collected: 0,
            work,
            meter: Meter::default(),
            notes: Notes::default(),
            turn: None,
        })
    }

    /// Where fragments get their buffers. Without it, packets that do not fit are dropped.
    pub fn fragment_into(&mut self, make: MakeBuffer<B>) {
        self.work.make = Some(make);
    }
    /// Written by this worker only, readable from any thread.
    pub fn counts(&self) -> Arc<SaCounts> {
        self.work.counts.clone()
    }

    /// From now on one call in [`stages::EVERY`] is measured with `clock`, which is anything that counts up; `None`
    /// ends it.
    pub fn measure_stages(&mut self, clock: Option<fn() -> u64>) {
        self.meter.set_clock(clock);
    }
    /// What the stages have cost in the calls that were measured. Written by this worker, readable from any thread.
    pub fn stage_cycles(&self) -> Arc<StageCycles> {
        self.meter.cycles().clone()
    }

    /// Takes a burst that `port` received. `burst` is empty afterwards.
    pub fn process(&mut self, port: u16, burst: &mut Vec<B>, now: Duration, out: &mut Out<B>) {
        let packets = burst.len();
        self.meter.begin(packets);
        burst.iter().for_each(PacketBuf::prefetch);
        self.begin(now, out);
        if self.looks_on() {
            return self.look_on(Arrival::Port(port), burst, now, out);
        }
        let Self { reader, work, engine, meter, notes, turn, .. } = self;
        let tables: &Tables<_> = reader.table();
        let mut ended = |stage, work: &Work<B>| {
            if meter.attends() {
                attend(meter, notes, tables, work, stage, packets);
            }
        };
        let Some(link) = classify::untagged(tables, port) else {
            for packet in burst.drain(..) {
                classify::classify(tables, work, port, packet, out);
            }
            ended(Stage::Classify, work);
            return self.run(out);
        };
        classify::read_heads(tables, work, link, burst);
        // An engine that works at once has nothing of before, and nobody waits for this burst.
        if turn.is_none() && engine.in_flight() == 0 {
            match lane::pass(tables, work, engine, link, burst, out, &mut ended) {
                lane::Way::Untouched => {}
                lane::Way::Done => return self.let_go(),
                lane::Way::Planned => return self.frame(packets, out),
                lane::Way::Opened => {
                    self.finish([Stage::Open, Stage::Unwrap], false, out);
                    return self.onwards(out);
                }
            }
        }
        classify::sort(tables, work, link, port, burst, out);
        ended(Stage::Classify, work);
        self.run(out);
    }

    /// The same for a burst whose windows and numbers come after those of other bursts, on other workers.
    pub(crate) fn process_in_turn(
        &mut self,
        turn: Turn,
        port: u16,
        burst: &mut Vec<B>,
        now: Duration,
        out: &mut Out<B>,
    ) -> Option<Turn> {
        self.turn = Some(turn);
        self.process(port, burst, now, out);
        self.turn.take()
    }

    /// Packets of the gateway itself, starting at their IP header: from the host's stack, or answers of
    /// ours. `exempt` ones (IKE) are not held against the policies.
    pub fn originate(&mut self, packets: &mut Vec<B>, exempt: bool, now: Duration, out: &mut Out<B>) {
        let count = packets.len();
        self.meter.begin(count);
        self.begin(now, out);
        if self.looks_on() {
            return self.look_on(Arrival::Own { exempt }, packets, now, out);
        }
        let tables: &Tables<_> = self.reader.table();
        for packet in packets.drain(..) {
            classify::originate(tables, &mut self.work, packet, exempt, out);
        }
        ended!(self, tables, Stage::Classify, count);
        self.run(out);
    }

    /// Datagrams for the gateway that `interface` received in pieces ([`Out::pieces`]), whole now.
    pub fn reassembled(&mut self, interface: u16, packets: &mut Vec<B>, now: Duration, out: &mut Out<B>) {
        let count = packets.len();
        self.meter.begin(count);
        self.begin(now, out);
        if self.looks_on() {
            return self.look_on(Arrival::Whole { interface }, packets, now, out);
        }
        let tables: &Tables<_> = self.reader.table();
        for packet in packets.drain(..) {
            classify::whole(tables, &mut self.work, interface, packet, out);
        }
        ended!(self, tables, Stage::Classify, count);
        self.run(out);
    }

    /// Call when there is nothing to receive: collects what an asynchronous engine has finished and lets
    /// go of old tables.
    pub fn idle(&mut self, now: Duration, out: &mut Out<B>) {
        self.meter.begin(0);
        self.begin(now, out);
        self.run(out);
    }
    pub fn engine_mut(&mut self) -> &mut E {
        &mut self.engine
    }
    /// Whether the tables say that some packets are watched: then bursts are not shared with others. A packet that is
    /// being followed already goes its way, and so does a burst that others wait for.
    #[inline(always)]
    pub fn looks_on(&self) -> bool {
        self.reader.table().watch.is_some() && !self.notes.within && self.turn.is_none()
    }
    /// Packets inside of the engine.
    pub fn in_flight(&self) -> usize {
        self.engine.in_flight()
    }

    fn begin(&mut self, now: Duration, out: &mut Out<B>) {
        self.work.now = now;
        if let Some(old) = self.reader.refresh()
            && self.collected < self.submitted
        {
            self.retired.push_back((self.submitted, old));
        }
        let ports = self.reader.table().ports.port_count();
        if out.tx.len() < ports {
            out.tx.resize_with(ports, Vec::new);
        }
    }

    fn run(&mut self, out: &mut Out<B>) {
        let tables: &Tables<_> = self.reader.table();
        let arrived = self.work.incoming.len();
        inbound::admit(tables, &mut self.work, out);
        ended!(self, tables, Stage::Admit, arrived);
        self.crypto([Stage::Open, Stage::Unwrap], out);
        self.onwards(out);
    }
    /// What came out of tunnels, or needs none.
    fn onwards(&mut self, out: &mut Out<B>) {
        if !self.work.incoming.is_empty() {
            self.nested(out);
        }
        let tables: &Tables<_> = self.reader.table();
        let leaving = self.work.forward.len();
        let turn = self.turn.as_mut().filter(|turn| !turn.is_over() && takes_numbers(&self.work.forward));
        if let Some(turn) = turn {
            turn.enter();
        }
        forward::plan(tables, &mut self.work);
        if let Some(turn) = &mut self.turn
            && self.work.plans.iter().all(Plan::has_numbers)
        {
            turn.pass();
        }
        ended!(self, tables, Stage::Forward, leaving);
        self.frame(leaving, out);
    }
    /// What has been planned.
    fn frame(&mut self, leaving: usize, out: &mut Out<B>) {
        let tables: &Tables<_> = self.reader.table();
        forward::forward(tables, &mut self.work, out);
        if let Some(turn) = &mut self.turn {
            turn.pass();
        }
        ended!(self, tables, Stage::Frame, leaving);
        self.crypto([Stage::Seal, Stage::Send], out);
        self.let_go();
    }
    /// Of tables that no job needs any more.
    #[inline(always)]
    fn let_go(&mut self) {
        while self.retired.front().is_some_and(|(last, _)| *last <= self.collected) {
            self.retired.pop_front();
        }
    }

    /// ESP that came inside of AH. What is inside of that is not looked into again.
    #[cold]
    #[inline(never)]
    fn nested(&mut self, out: &mut Out<B>) {
        let tables: &Tables<_> = self.reader.table();
        let arrived = self.work.incoming.len();
        inbound::admit(tables, &mut self.work, out);
        ended!(self, tables, Stage::Admit, arrived);
        self.crypto([Stage::Open, Stage::Unwrap], out);
    }

    /// Hands jobs over and finishes those that are back.
    fn crypto(&mut self, stages: [Stage; 2], out: &mut Out<B>) {
        let waiting = self.work.jobs.len();
        if waiting == 0 && self.engine.in_flight() == 0 {
            return;
        }
        let tables: &Tables<_> = self.reader.table();
        self.engine.submit(&mut self.work.jobs, tables);
        self.submitted += (waiting - self.work.jobs.len()) as u64;
        for job in self.work.jobs.drain(..) {
            // The engine is full. Waiting would stall the port; the sender slows down instead.
            out.drop(match job.operation {
                Operation::Seal => DropReason::EngineError,
                Operation::Open => DropReason::EngineErrorIn,
            });
        }
        self.engine.collect(&mut self.work.done);
        ended!(self, tables, stages[0], waiting);
        self.collected += self.work.done.len() as u64;
        self.finish(stages, true, out);
    }
    /// What is done: numbers, if that is left to be done, then what was inside, or out.
    fn finish(&mut self, [engine, after]: [Stage; 2], commit: bool, out: &mut Out<B>) {
        let tables: &Tables<_> = self.reader.table();
        let mut done = std::mem::take(&mut self.work.done);
        let finished = done.len();
        if let Some(turn) = &mut self.turn
            && engine == Stage::Open
        {
            turn.enter();
        }
        // The windows of all first, and released again, before anything slower: each is an exchange, behind which nothing
        // is read ahead.
        let mut opened = std::mem::take(&mut self.work.opened);
        for run in runs(&mut done) {
            if let [Job { operation: Operation::Open, sa: at, .. }, ..] = run
                && commit
                && let Some(sa) = find(tables, &self.retired, *at)
            {
                inbound::commit(sa, run);
            }
        }
        // Others wait for this turn; what came in clear waits in it for its number.
        if let Some(turn) = &mut self.turn
            && !takes_numbers(&self.work.forward)
        {
            turn.pass();
        }
        for run in runs(&mut done) {
            if let [Job { operation: Operation::Open, sa: at, .. }, ..] = run
                && let Some(sa) = find(tables, &self.retired, *at)
            {
                inbound::look_inside(tables, sa, run, &self.work.cache, &mut opened);
            }
        }
        let mut opened_at = 0;
        let mut jobs = done.drain(..);
        while let Some(first) = jobs.as_slice().first() {
            // One look at the SA for all packets of it that follow each other.
            let (at, operation) = (first.sa, first.operation);
            let same = |job: &&Job<B>| job.sa == at && job.operation == operation;
            let count = jobs.as_slice().iter().take_while(same).count();
            let Some(sa) = find(tables, &self.retired, at) else {
                jobs.by_ref().take(count).for_each(|_| out.drop(DropReason::NoSuchSa));
                continue;
            };
            let run = inbound::Back { tables, sa, at };
            match operation {
                Operation::Open => {
                    let insides = opened.get(opened_at..opened_at + count);
                    opened_at += count;
                    match insides {
                        Some(insides) => run.settle(&mut self.work, &mut jobs, insides, out),
                        // There is one for each job of an SA that was found.
                        None => jobs.by_ref().take(count).for_each(|_| out.drop(DropReason::EngineErrorIn)),
                    }
                }
                Operation::Seal => outbound::settle(&run, &mut self.work, &mut jobs, count, out),
            }
        }
        drop(jobs);
        opened.clear();
        (self.work.done, self.work.opened) = (done, opened);
        ended!(self, tables, after, finished);
    }
}

/// Whether any of the packets goes into a tunnel.
fn takes_numbers<B>(packets: &[Forward<B>]) -> bool {
    packets.iter().any(|item| item.verdict.sa().is_some())
}

/// Jobs of one SA that follow each other.
#[inline(always)]
fn runs<B>(done: &mut [Job<B>]) -> impl Iterator<Item = &mut [Job<B>]> {
    done.chunk_by_mut(|a, b| a.sa == b.sa && a.operation == b.operation)
}

/// The SA a job was made for, in the tables of now or of then.
fn find<'a, K>(
    tables: &'a Tables<K>,
    retired: &'a VecDeque<(u64, Arc<Tables<K>>)>,
    sa: SaRef,
) -> Option<&'a Sa<K>> {
    tables.sad.by_ref(sa).or_else(|| retired.iter().rev().find_map(|(_, old)| old.sad.by_ref(sa)))
}

/// Packets a worker takes at a time; more are taken as well, but the vectors are sized for this.
pub const BURST: usize = 64;
