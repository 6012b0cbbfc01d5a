//! What workers and the main lcore hand each other: bounded queues, nobody waits.
use crossbeam::queue::ArrayQueue;
use dpdk::Mbuf;
use fastpath::graph::{ErrorReport, IkeFrame, ToHost, Unresolved};
use fastpath::host::pmtu::Hint;
use ipc::{Event, LostPacket, WorkerCounters};
use sa::DropReason;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};

/// From a worker to the main lcore.
pub enum ToMain {
    Host(ToHost<Mbuf>),
    /// A fragment of a datagram for the gateway.
    Piece(ToHost<Mbuf>),
    Hint(Hint),
    Unresolved(Unresolved<Mbuf>),
    Ike(IkeFrame<Mbuf>),
    Error(ErrorReport<Mbuf>),
    Event(Event),
}

/// From the main lcore to a worker.
pub enum ToWorker {
    /// A complete frame for a port.
    Frame { port: u16, frame: Mbuf },
    /// A packet of ours, from its IP header on; policy and routing are still to come.
    Packet(Mbuf),
    /// What an interface received in pieces, whole.
    Whole { interface: u16, packet: Mbuf },
    /// IKE: routed, but exempt from policy (RFC 4301 5.1, RFC 7296 1).
    Exempt(Mbuf),
}

/// One worker's queues and counters, as both sides see them.
pub struct Lane {
    pub to_main: ArrayQueue<ToMain>,
    /// IKE and events: a flood of anything else must not keep tunnels from being negotiated.
    pub urgent: ArrayQueue<ToMain>,
    pub to_worker: ArrayQueue<ToWorker>,
    /// By reason, since start; written by the worker alone.
    pub drops: [AtomicU64; DropReason::COUNT],
    /// What some of the dropped packets looked like. Full most of the time when much is dropped.
    pub lost: ArrayQueue<LostPacket>,
    load: [AtomicU64; 6],
    pub stop: Arc<AtomicBool>,
}

impl Lane {
    const DEPTH: usize = 1024;
    const LOST: usize = 32;

    pub fn new(stop: Arc<AtomicBool>) -> Arc<Self> {
        Arc::new(Self {
            to_main: ArrayQueue::new(Self::DEPTH),
            urgent: ArrayQueue::new(Self::DEPTH),
            to_worker: ArrayQueue::new(Self::DEPTH),
            drops: std::array::from_fn(|_| AtomicU64::new(0)),
            lost: ArrayQueue::new(Self::LOST),
            load: std::array::from_fn(|_| AtomicU64::new(0)),
            stop,
        })
    }
    pub fn publish(&self, drops: &[u64; DropReason::COUNT], load: &WorkerCounters) {
        let WorkerCounters { turns, busy_turns, bursts, packets, busy_ns, idle_ns } = load;
        let load = [turns, busy_turns, bursts, packets, busy_ns, idle_ns];
        for (shared, value) in self.drops.iter().zip(drops).chain(self.load.iter().zip(load)) {
            shared.store(*value, Relaxed);
        }
    }
    /// Numbers of about the same moment.
    pub fn load(&self) -> WorkerCounters {
        let [turns, busy_turns, bursts, packets, busy_ns, idle_ns] =
            std::array::from_fn(|at| self.load[at].load(Relaxed));
        WorkerCounters { turns, busy_turns, bursts, packets, busy_ns, idle_ns }
    }
}
