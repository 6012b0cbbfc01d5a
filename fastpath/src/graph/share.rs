//! One receive queue, several workers: how all packets of one SA use more than one core.
//!
//! The hardware spreads packets by the outer header, so those of one SA arrive on one queue, at one worker. When that
//! worker's queue is deep it hands over whole bursts as they came, untouched, and takes its own share from the same
//! place. Whoever takes a burst walks it through its own graph. Two things are done in the order of arrival: replay
//! windows are committed and sequence numbers handed out (in the burst's turn, see [`Turn`]), and what came of a burst
//! goes on its way through the receiving worker. So the result is that of one worker, packet by packet.
//!
//! Nothing waits for a burst to fill, and a burst nobody else takes is worked off by the receiving worker itself.
//! A job that an engine gives back later would miss its burst's turn: with the first such job the workers stop sharing.
mod handover;
mod sync;

pub use handover::Turn;

use super::{BURST, Out, Worker};
use crate::crypto::Engine;
use handover::{Handover, Order, Owner};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::time::Duration;
use wire::PacketBuf;

/// Packets that are handed over at a time, if as many have come: handing over costs some ten cache lines that travel
/// between cores, whatever their number.
pub const PARCEL: usize = 4 * BURST;
/// Parcels of one worker on their way at a time: each worker has one and finds another, and two or more are done.
const fn in_flight(workers: usize) -> usize {
    (2 * workers + 2).next_power_of_two()
}
/// Packets that `workers` can have on their way for one of them.
pub const fn held(workers: usize) -> usize {
    PARCEL * in_flight(workers)
}

/// A burst, and what came of it.
struct Parcel<B> {
    port: u16,
    packets: Vec<B>,
    out: Out<B>,
}
/// Only a pointer travels.
type Loaded<B> = Box<Parcel<B>>;
type Lane<B> = Handover<Loaded<B>>;

/// One worker's part in it: its own bursts, and the other workers it may help.
pub struct Sharing<B> {
    own: Owner<Loaded<B>>,
    /// The own bursts, as somebody who takes them sees them.
    at_own: Bench<B>,
    others: Vec<Bench<B>>,
    /// Whom to look at first.
    first: usize,
    free: Vec<Loaded<B>>,
    /// For all workers: somebody's engine has given a job back late.
    late: Arc<AtomicBool>,
    pub tally: Tally,
}

/// Since the start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Packets put up.
    pub offered: u64,
    /// Packets of other workers that this one has worked on.
    pub helped: u64,
}

/// Where a worker takes bursts from.
struct Bench<B> {
    lane: Arc<Lane<B>>,
    /// Kept here between two bursts: counting a reference would cost a cache line that travels.
    order: Option<Arc<Order>>,
}
impl<B> Bench<B> {
    fn at(owner: &Owner<Loaded<B>>) -> Self {
        Self { lane: Arc::clone(owner.shared()), order: None }
    }
}

/// For workers that share with each other, in their order.
pub fn team<B>(workers: usize) -> Vec<Sharing<B>> {
    let owners: Vec<_> = (0..workers).map(|_| Owner::new(in_flight(workers))).collect();
    let others = |n| {
        // Each begins with another one, so that helpers spread.
        (1..workers).map(|step| Bench::at(&owners[(n + step) % workers])).collect::<Vec<_>>()
    };
    let others: Vec<_> = (0..workers).map(others).collect();
    let late = Arc::new(AtomicBool::new(false));
    let join = |(own, others)| {
        let parcel = |_| Box::new(Parcel::empty());
        let free = (0..in_flight(workers)).map(parcel).collect();
        Sharing {
            at_own: Bench::at(&own),
            own,
            others,
            first: 0,
            free,
            late: Arc::clone(&late),
            tally: Tally::default(),
        }
    };
    owners.into_iter().zip(others).map(join).collect()
}

impl<B> Parcel<B> {
    fn empty() -> Self {
        Self { port: 0, packets: Vec::with_capacity(PARCEL), out: Out::default() }
    }
}

impl<B: PacketBuf> Sharing<B> {
    /// While true, every burst has to go through [`Self::offer`]: one that is processed directly would overtake.
    pub fn active(&self) -> bool {
        self.own.in_flight() > 0
    }
    /// Whether to begin. `worker` is the one this belongs to.
    pub fn may_begin<E: Engine<B>>(&self, worker: &Worker<B, E>) -> bool {
        let alone = self.others.is_empty() || worker.in_flight() != 0 || worker.looks_on();
        !alone && !self.late.load(Relaxed)
    }
    /// Who share with each other, this one included.
    pub fn workers(&self) -> usize {
        self.others.len() + 1
    }
    /// Whether somebody would find nothing to take: another burst is welcome.
    pub fn wants(&self) -> bool {
        self.own.room() > 0 && self.own.untaken() <= self.others.len()
    }
    /// Puts a burst up for whoever comes first. False, and nothing done, when too many are under way.
    pub fn offer(&mut self, port: u16, packets: &mut Vec<B>) -> bool {
        if self.own.room() == 0 {
            return false;
        }
        let mut parcel = self.free.pop().unwrap_or_else(|| Box::new(Parcel::empty()));
        self.tally.offered += packets.len() as u64;
        parcel.port = port;
        std::mem::swap(&mut parcel.packets, packets);
        // There is room: nobody else puts anything in.
        self.own.put(parcel).is_ok()
    }
    /// Works off the oldest own burst that nobody has taken.
    pub fn work<E: Engine<B>>(&mut self, worker: &mut Worker<B, E>, now: Duration) -> bool {
        self.at_own.walk(worker, now, &self.late).is_some()
    }
    /// Takes over what came of the next own burst in order, if it is done.
    pub fn collect(&mut self, out: &mut Out<B>) -> bool {
        let Some(done) = self.own.given_back() else { return false };
        if let Some(mut parcel) = done {
            parcel.out.move_to(out);
            parcel.packets.clear();
            self.free.push(parcel);
        }
        true
    }
    /// Walks one burst of another worker through the graph of this one.
    pub fn help<E: Engine<B>>(&mut self, worker: &mut Worker<B, E>, now: Duration) -> bool {
        let others = self.others.len();
        for step in 0..others {
            let at = self.first + step;
            let at = if at < others { at } else { at - others };
            if let Some(packets) =
                self.others.get_mut(at).and_then(|bench| bench.walk(worker, now, &self.late))
            {
                self.tally.helped += packets as u64;
                // Whoever is loaded probably still is.
                self.first = at;
                return true;
            }
        }
        false
    }
}

impl<B: PacketBuf> Bench<B> {
    /// Takes the oldest burst there is and walks it through the graph of `worker`. `Some`: of how many packets.
    fn walk<E: Engine<B>>(
        &mut self,
        worker: &mut Worker<B, E>,
        now: Duration,
        late: &AtomicBool,
    ) -> Option<usize> {
        let mut taken = self.lane.take()?;
        let mut count = 0;
        let order = self.order.take().unwrap_or_else(|| Arc::clone(self.lane.order()));
        let turn = taken.turn(order);
        if let Some(parcel) = taken.item() {
            let Parcel { port, packets, out } = &mut **parcel;
            count = packets.len();
            let turn = worker.process_in_turn(turn, *port, packets, now, out);
            if worker.in_flight() > 0 {
                late.store(true, Relaxed);
            }
            if let Some(turn) = turn {
                taken.after(&turn);
                self.order = Some(turn.into_order());
            }
        }
        Some(count)
    }
}
