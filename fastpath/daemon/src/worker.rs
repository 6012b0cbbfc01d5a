//! One worker lcore: receive, walk the graph, transmit, until told to stop. Never waits for anybody.
use crate::engine::WorkerEngine;
use crate::exchange::{Lane, ToMain, ToWorker};
use crate::idle::Backoff;
use dpdk::{Burst, Mbuf, RxQueue, TxQueue};
use fastpath::graph::share::{PARCEL, Sharing, Tally};
use fastpath::graph::{Out, Worker};
use ipc::WorkerCounters;
use sa::DropReason;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Frames that may wait for room in a transmit queue. Beyond it they are dropped as `TxFull`.
const TX_BACKLOG: usize = 512;
/// With so many waiting nothing new is received from the ports: the NIC's own queue holds it back.
const TX_PRESSURE: usize = 128;
/// A port that takes nothing for so long has nobody at its other end: it no longer holds the others up.
const STUCK_AFTER: Duration = Duration::from_millis(10);
/// How long drop counters may lag.
const PUBLISH_EVERY: Duration = Duration::from_millis(20);

/// A transmit queue of this worker, or one that drivers with too few queues make workers share.
pub enum Transmit {
    Own(TxQueue),
    Shared(Arc<Mutex<TxQueue>>),
}
impl Transmit {
    fn send(&mut self, burst: &mut Burst) -> usize {
        match self {
            Self::Own(queue) => queue.send(burst),
            Self::Shared(queue) => queue.lock().unwrap_or_else(PoisonError::into_inner).send(burst),
        }
    }
}

/// Whether a port takes what it is given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taking {
    Well,
    /// Nothing, since then.
    NothingSince(Duration),
    /// Nothing for too long: what it does not take is dropped at once.
    Stuck,
}
impl Taking {
    fn next(self, took: bool, waiting: bool, now: Duration) -> Self {
        match self {
            _ if took || !waiting && self != Self::Stuck => Self::Well,
            Self::Well => Self::NothingSince(now),
            Self::NothingSince(since) if now.saturating_sub(since) >= STUCK_AFTER => Self::Stuck,
            as_before => as_before,
        }
    }
}

pub struct Loop {
    pub graph: Worker<Mbuf, WorkerEngine>,
    pub rx: Vec<RxQueue>,
    /// By port number of the graph.
    pub tx: Vec<Transmit>,
    /// Graph port of each receive queue.
    pub rx_ports: Vec<u16>,
    /// The receive queue whose turn it is.
    pub next_rx: usize,
    pub lane: Arc<Lane>,
    /// `None`: every worker for itself.
    pub sharing: Option<Sharing<Mbuf>>,
    pub start: Instant,
    pub idle: Backoff,
    pub load: WorkerCounters,
}

/// A data path of which a part is gone must not go on: whatever ends a worker stops all.
struct StopsAll(Arc<AtomicBool>);
impl Drop for StopsAll {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

impl Loop {
    pub fn run(mut self) {
        let _stops_all = StopsAll(Arc::clone(&self.lane.stop));
        let mut out = Out::default();
        out.tx.resize_with(self.tx.len(), || Vec::with_capacity(TX_BACKLOG));
        let mut burst = Burst::new();
        let mut packets = Vec::with_capacity(PARCEL);
        let mut published = Duration::ZERO;
        let mut taking = vec![Taking::Well; self.tx.len()];
        let (mut before, mut was_busy) = (self.start.elapsed(), false);
        while !self.lane.stop.load(Relaxed) {
            let now = self.start.elapsed();
            let took = (now - before).as_nanos() as u64;
            *(if was_busy { &mut self.load.busy_ns } else { &mut self.load.idle_ns }) += took;
            let mut worked = self.injected(&mut packets, now, &mut out);
            if out.tx.iter().all(|queue| queue.len() < TX_PRESSURE) {
                worked |= self.receive(&mut burst, &mut packets, now, &mut out);
                worked |= self.shared(worked, now, &mut out);
            }
            if !worked {
                self.graph.idle(now, &mut out);
            }
            worked |= self.transmit(&mut burst, &mut out, &mut taking, now);
            self.report(&mut out);
            if !worked || now - published >= PUBLISH_EVERY {
                published = now;
                self.lane.publish(&out.drops, &self.load);
            }
            self.load.turns += 1;
            self.load.busy_turns += u64::from(worked);
            (before, was_busy) = (now, worked);
            self.idle.after(worked || self.graph.in_flight() > 0);
        }
        self.lane.publish(&out.drops, &self.load);
        if let Some(sharing) = &self.sharing {
            let Tally { offered, helped } = sharing.tally;
            tracing::info!(
                offered,
                helped,
                "worker ended; packets it put up for others, and took from others"
            );
        }
    }

    /// Takes what has come, never waiting for more. A queue that gives full bursts has more than this worker can do: then
    /// several of them are put up together for whoever has time, and so on until everybody has something.
    fn receive(
        &mut self,
        burst: &mut Burst,
        packets: &mut Vec<Mbuf>,
        now: Duration,
        out: &mut Out<Mbuf>,
    ) -> bool {
        let (mut worked, mut offers, mut turns) = (false, 0, self.rx.len());
        while turns > 0 {
            let sharing = self.sharing.as_mut().filter(|s| s.active() || s.may_begin(&self.graph));
            // While packets are watched nothing is put up, and what was comes to its end.
            let enough =
                |s: &&mut Sharing<Mbuf>| !s.wants() || offers == s.workers() || self.graph.looks_on();
            if sharing.as_ref().is_some_and(|s| s.active() && enough(s)) {
                break;
            }
            turns -= 1;
            // The next time begins where this one ends, so that a full queue leaves the others their turn.
            let at = if self.next_rx < self.rx.len() { self.next_rx } else { 0 };
            self.next_rx = at + 1;
            let (Some(queue), Some(port)) = (self.rx.get_mut(at), self.rx_ports.get(at)) else { break };
            let mut got = queue.fill(burst);
            if got == 0 {
                continue;
            }
            worked = true;
            packets.extend(burst.drain());
            self.load.bursts += 1;
            self.load.packets += got as u64;
            if let Some(sharing) = sharing {
                while got == Burst::CAPACITY && packets.len() < PARCEL {
                    got = queue.fill(burst);
                    packets.extend(burst.drain());
                    self.load.bursts += 1;
                    self.load.packets += got as u64;
                }
                let full = packets.len() >= PARCEL;
                // Behind bursts that others have, or beside them.
                if (sharing.active() || packets.len() > Burst::CAPACITY) && sharing.offer(*port, packets) {
                    offers += 1;
                    if full {
                        turns = self.rx.len();
                    }
                    continue;
                }
            }
            self.graph.process(*port, packets, now, out);
        }
        worked
    }

    /// This worker's part of bursts that were put up: own ones, and with nothing else to do those of others. What came
    /// of own ones is taken over no faster than the ports take it.
    fn shared(&mut self, worked: bool, now: Duration, out: &mut Out<Mbuf>) -> bool {
        let Some(sharing) = &mut self.sharing else { return false };
        if !sharing.active() {
            return !worked && sharing.help(&mut self.graph, now);
        }
        sharing.work(&mut self.graph, now);
        while out.tx.iter().all(|queue| queue.len() < TX_PRESSURE) && sharing.collect(out) {}
        true
    }

    /// What the main lcore wants sent.
    fn injected(&mut self, packets: &mut Vec<Mbuf>, now: Duration, out: &mut Out<Mbuf>) -> bool {
        let mut worked = false;
        for _ in 0..Burst::CAPACITY {
            let (packet, exempt) = match self.lane.to_worker.pop() {
                None => break,
                Some(ToWorker::Frame { port, frame }) => {
                    worked = true;
                    match out.tx.get_mut(usize::from(port)) {
                        Some(queue) => queue.push(frame),
                        None => out.drops[DropReason::NoRoute as usize] += 1,
                    }
                    continue;
                }
                Some(ToWorker::Whole { interface, packet }) => {
                    worked = true;
                    packets.push(packet);
                    self.graph.reassembled(interface, packets, now, out);
                    continue;
                }
                Some(ToWorker::Packet(packet)) => (packet, false),
                Some(ToWorker::Exempt(packet)) => (packet, true),
            };
            worked = true;
            packets.push(packet);
            self.graph.originate(packets, exempt, now, out);
        }
        worked
    }

    /// Sends what the drivers take; the rest waits its turn, up to a bound in number and time.
    fn transmit(
        &mut self,
        burst: &mut Burst,
        out: &mut Out<Mbuf>,
        taking: &mut [Taking],
        now: Duration,
    ) -> bool {
        let mut worked = false;
        for ((queue, transmit), taking) in out.tx.iter_mut().zip(&mut self.tx).zip(taking) {
            if queue.is_empty() {
                continue;
            }
            let mut took = false;
            while !queue.is_empty() {
                let n = queue.len().min(Burst::CAPACITY);
                for packet in queue.drain(..n) {
                    // The burst was empty and has room for all of them.
                    let _ = burst.push(packet);
                }
                took |= transmit.send(burst) > 0;
                if !burst.is_empty() {
                    queue.splice(0..0, burst.drain());
                    break;
                }
            }
            worked |= took;
            *taking = taking.next(took, !queue.is_empty(), now);
            let keep = if *taking == Taking::Stuck { 0 } else { TX_BACKLOG };
            if queue.len() > keep {
                out.drops[DropReason::TxFull as usize] += (queue.len() - keep) as u64;
                queue.truncate(keep);
            }
        }
        worked
    }

    /// Everything the main lcore has to see. What finds its queue full is dropped and counted.
    fn report(&mut self, out: &mut Out<Mbuf>) {
        let (lane, drops) = (&self.lane, &mut out.drops);
        for frame in out.ike.drain(..) {
            if lane.urgent.push(ToMain::Ike(frame)).is_err() {
                drops[DropReason::FrameQueueFull as usize] += 1;
            }
        }
        let mut hand = |item: ToMain, lost: Option<DropReason>| {
            if let (Err(_), Some(reason)) = (lane.to_main.push(item), lost) {
                drops[reason as usize] += 1;
            }
        };
        out.host.drain(..).for_each(|frame| hand(ToMain::Host(frame), Some(DropReason::HostQueueFull)));
        out.pieces.drain(..).for_each(|piece| hand(ToMain::Piece(piece), Some(DropReason::HostQueueFull)));
        out.hints.drain(..).for_each(|hint| hand(ToMain::Hint(hint), Some(DropReason::HostQueueFull)));
        out.unresolved.drain(..).for_each(|p| hand(ToMain::Unresolved(p), Some(DropReason::NoNeighbour)));
        // Counted already: only the ICMP error is lost.
        out.errors.drain(..).for_each(|report| hand(ToMain::Error(report), None));
        // An event that finds no room is said again at the next burst.
        let said = out.events.iter().take_while(|e| lane.urgent.push(ToMain::Event(**e)).is_ok()).count();
        out.events.drain(..said);
        // What finds its queue full stays; while it stays no further packet is looked at.
        let kept = out.lost.iter().take_while(|packet| lane.lost.push(**packet).is_ok()).count();
        out.lost.drain(..kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_port_is_stuck_after_a_while_and_until_it_takes_something() {
        let at = Duration::from_millis;
        let waiting = Taking::Well.next(false, true, at(5));
        assert_eq!(waiting, Taking::NothingSince(at(5)));
        assert_eq!(waiting.next(false, true, at(14)), waiting);
        assert_eq!(waiting.next(true, true, at(14)), Taking::Well);
        let stuck = waiting.next(false, true, at(15));
        assert_eq!(stuck, Taking::Stuck);
        assert_eq!(stuck.next(false, false, at(20)), Taking::Stuck);
        assert_eq!(stuck.next(true, false, at(20)), Taking::Well);
    }
}
