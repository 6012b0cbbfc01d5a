//! The statistics table: each worker counts in words of its own, the reader sums without asking anyone.
//!
//! Beside the counters stands what a slot holds, published by the fast path's main lcore under a sequence lock.
//! A reader trusts none of it further than to show it, and to compare it with what it knows.
use crate::contract::{PortCounters, SaCounters};
use crate::layout::{
    DROP_WORDS, IDENTITY_WORDS, PORT_NAME_BYTES, PORT_WORDS, SA_COUNTER_WORDS, WORKER_WORDS,
};
use crate::memory::{Part, add, load_bytes, store_bytes, wipe};
use crate::recent::{self, LostPacket, RecentDrop, RecentPen};
use crate::region::Region;
use crate::seqlock;
use crate::sync::{AtomicU64, Ordering::Relaxed};
use sa::{Direction, DropReason, PolicyId, SaSlot, Spi};

/// RouterOS `installed-sa state`; `larval` does not reach the fast path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SaState {
    /// Usable.
    Mature = 1,
    /// Past the soft limit.
    Dying = 2,
    /// Past the hard limit: passes nothing.
    Dead = 3,
}
impl SaState {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Mature => "mature",
            Self::Dying => "dying",
            Self::Dead => "dead",
        }
    }
}

/// Who does the arithmetic of an SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SaEngine {
    Native = 1,
    IpsecMb = 2,
    Cryptodev = 3,
    Ring = 4,
    RustCrypto = 5,
}
impl SaEngine {
    pub const ALL: [Self; 5] = [Self::Native, Self::IpsecMb, Self::Cryptodev, Self::Ring, Self::RustCrypto];
    /// As in `system.crypto.engines`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::IpsecMb => "ipsec-mb",
            Self::Cryptodev => "cryptodev",
            Self::Ring => "ring",
            Self::RustCrypto => "rustcrypto",
        }
    }
    pub fn from_u8(raw: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|engine| *engine as u8 == raw)
    }
}

/// What a slot of the fast path's table holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaIdentity {
    pub spi: Spi,
    pub direction: Direction,
    pub state: SaState,
    pub policy: PolicyId,
    /// `None`: the fast path did not say.
    pub engine: Option<SaEngine>,
    /// `SaSpec::last_seq` it was installed with.
    pub start_seq: u64,
    /// Fast path's clock.
    pub installed_at: u64,
}
impl SaIdentity {
    fn to_words(self) -> [u64; 4] {
        let kind = (self.state as u64) << 8 | self.direction as u64;
        let engine = self.engine.map_or(0, |engine| engine as u64);
        let policy = engine << 32 | u64::from(self.policy.0);
        [kind << 32 | u64::from(self.spi.get()), policy, self.start_seq, self.installed_at]
    }
    fn from_words([name, policy, start_seq, installed_at]: [u64; 4]) -> Option<Self> {
        let kind = name >> 32;
        Some(Self {
            spi: Spi::new(name as u32).ok()?,
            direction: match kind & 0xff {
                0 => Direction::Inbound,
                1 => Direction::Outbound,
                _ => return None,
            },
            state: match kind >> 8 {
                1 => SaState::Mature,
                2 => SaState::Dying,
                3 => SaState::Dead,
                _ => return None,
            },
            policy: PolicyId(policy as u32),
            engine: match u8::try_from(policy >> 32).ok()? {
                0 => None,
                raw => Some(SaEngine::from_u8(raw)?),
            },
            start_seq,
            installed_at,
        })
    }
}

const PACKETS: usize = 0;
const BYTES: usize = 1;
const DROPPED: usize = 2;
const LAST_SEQ: usize = 3;
/// Second of last use plus one; 0 is never.
const USED: usize = 4;

pub(crate) const CLOCK: usize = 0;
pub(crate) const GENERATION: usize = 1;
pub(crate) const FAULTS: usize = 2;
pub(crate) const MALFORMED: usize = 3;
pub(crate) const EVENTS_LOST: usize = 4;
pub(crate) const FRAMES_LOST: usize = 5;
pub(crate) const ACKS_LOST: usize = 6;
pub(crate) const SESSION: usize = 7;

/// One worker's pen. Plain stores to words that nobody else writes while the slot is in use.
pub struct WorkerStats {
    counters: Part,
    drops: Part,
}
impl WorkerStats {
    pub(crate) fn new(region: &Region, worker: u32) -> Option<Self> {
        if worker >= region.geometry.workers {
            return None;
        }
        let per_worker = region.geometry.sa_slots as usize * SA_COUNTER_WORDS;
        let at = worker as usize * per_worker;
        let counters = region.part(&region.layout.sa_counters).slice(at..at + per_worker)?;
        let at = worker as usize * DROP_WORDS;
        let drops = region.part(&region.layout.drops).slice(at..at + DROP_WORDS)?;
        Some(Self { counters, drops })
    }
    #[inline]
    fn record(&self, slot: SaSlot) -> Option<&[AtomicU64; SA_COUNTER_WORDS]> {
        let at = slot.0 as usize * SA_COUNTER_WORDS;
        self.counters.get(at..at + SA_COUNTER_WORDS)?.try_into().ok()
    }
    /// A run of packets has passed under one SA. Outbound `last_seq` is the last number used, inbound the highest
    /// accepted; it never goes back.
    #[inline]
    pub fn sa_passed(&mut self, slot: SaSlot, packets: u64, bytes: u64, last_seq: u64, now_seconds: u64) {
        let Some(record) = self.record(slot) else { return };
        add(&record[PACKETS], packets);
        add(&record[BYTES], bytes);
        if last_seq > record[LAST_SEQ].load(Relaxed) {
            record[LAST_SEQ].store(last_seq, Relaxed);
        }
        record[USED].store(now_seconds.wrapping_add(1), Relaxed);
    }
    /// Packets that named this SA and were dropped. The reason is counted apart with [`Self::dropped`].
    #[inline]
    pub fn sa_dropped(&mut self, slot: SaSlot, packets: u64) {
        if let Some(record) = self.record(slot) {
            add(&record[DROPPED], packets);
        }
    }
    #[inline]
    pub fn dropped(&mut self, reason: DropReason, packets: u64) {
        if let Some(word) = self.drops.get(reason as usize) {
            add(word, packets);
        }
    }
}

/// How busy a worker is, since its start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WorkerCounters {
    /// Turns of its loop, and those in which there was something to do.
    pub turns: u64,
    pub busy_turns: u64,
    /// Bursts that were received, and packets in them.
    pub bursts: u64,
    pub packets: u64,
    /// Nanoseconds of the turns with something to do, and of the others.
    pub busy_ns: u64,
    pub idle_ns: u64,
}
impl WorkerCounters {
    const WORDS: usize = 6;
    fn to_words(self) -> [u64; Self::WORDS] {
        let Self { turns, busy_turns, bursts, packets, busy_ns, idle_ns } = self;
        [turns, busy_turns, bursts, packets, busy_ns, idle_ns]
    }
    fn from_words([turns, busy_turns, bursts, packets, busy_ns, idle_ns]: [u64; Self::WORDS]) -> Self {
        Self { turns, busy_turns, bursts, packets, busy_ns, idle_ns }
    }
}

/// What the fast path's main lcore writes.
pub(crate) struct ControlStats {
    identities: Part,
    counters: Part,
    ports: Part,
    pub(crate) gauges: Part,
    worker_words: Part,
    recent: RecentPen,
    workers: usize,
    slots: usize,
}
impl ControlStats {
    pub(crate) fn new(region: &Region, port_names: &[String]) -> Self {
        let this = Self {
            identities: region.part(&region.layout.identities),
            counters: region.part(&region.layout.sa_counters),
            ports: region.part(&region.layout.ports),
            gauges: region.part(&region.layout.gauges),
            worker_words: region.part(&region.layout.workers),
            recent: RecentPen::new(region),
            workers: region.geometry.workers as usize,
            slots: region.geometry.sa_slots as usize,
        };
        for (record, name) in this.ports.chunks(PORT_WORDS).zip(port_names) {
            let mut end = name.len().min(PORT_NAME_BYTES);
            while !name.is_char_boundary(end) {
                end -= 1;
            }
            store_bytes(&record[8..], &name.as_bytes()[..end]);
        }
        this
    }
    fn identity(&self, slot: SaSlot) -> Option<&[AtomicU64]> {
        self.identities.chunks(IDENTITY_WORDS).nth(slot.0 as usize)
    }
    /// No worker may refer to the slot yet: its counters start again at zero here.
    pub(crate) fn publish(&self, slot: SaSlot, identity: &SaIdentity) {
        let Some(words) = self.identity(slot) else { return };
        for worker in 0..self.workers {
            let at = (worker * self.slots + slot.0 as usize) * SA_COUNTER_WORDS;
            if let Some(record) = self.counters.get(at..at + SA_COUNTER_WORDS) {
                wipe(record);
            }
        }
        seqlock::write(words, identity.to_words());
    }
    pub(crate) fn set_state(&self, slot: SaSlot, state: SaState) {
        let Some(words) = self.identity(slot) else { return };
        if let Some(identity) = seqlock::read(words).and_then(SaIdentity::from_words) {
            seqlock::write(words, SaIdentity { state, ..identity }.to_words());
        }
    }
    pub(crate) fn clear(&self, slot: SaSlot) {
        if let Some(words) = self.identity(slot) {
            seqlock::write(words, [0u64; 4]);
        }
    }
    pub(crate) fn set_worker(&self, worker: u32, counters: &WorkerCounters) {
        if let Some(record) = self.worker_words.chunks(WORKER_WORDS).nth(worker as usize) {
            seqlock::write(record, counters.to_words());
        }
    }
    pub(crate) fn note_drop(&mut self, worker: u32, packet: LostPacket) {
        let now = self.gauges.get(CLOCK).map_or(0, |word| word.load(Relaxed));
        self.recent.note(worker as usize, packet, now);
    }
    pub(crate) fn set_port(&self, index: u32, counters: &PortCounters) {
        let c = counters;
        let values = [c.rx_packets, c.rx_bytes, c.tx_packets, c.tx_bytes, c.rx_missed, c.tx_errors];
        if let Some(record) = self.ports.chunks(PORT_WORDS).nth(index as usize) {
            for (word, value) in record.iter().zip(values) {
                word.store(value, Relaxed);
            }
        }
    }
}

/// Reads everything; keeps the mapping, so that also a dead fast path's last numbers can be read.
#[derive(Clone)]
pub struct StatsReader {
    identities: Part,
    counters: Part,
    drops: Part,
    ports: Part,
    gauges: Part,
    worker_words: Part,
    recent: Part,
    workers: usize,
    slots: usize,
}
impl StatsReader {
    pub(crate) fn new(region: &Region) -> Self {
        Self {
            identities: region.part(&region.layout.identities),
            counters: region.part(&region.layout.sa_counters),
            drops: region.part(&region.layout.drops),
            ports: region.part(&region.layout.ports),
            gauges: region.part(&region.layout.gauges),
            worker_words: region.part(&region.layout.workers),
            recent: region.part(&region.layout.recent),
            workers: region.geometry.workers as usize,
            slots: region.geometry.sa_slots as usize,
        }
    }
    fn gauge(&self, at: usize) -> u64 {
        self.gauges.get(at).map_or(0, |w| w.load(Relaxed))
    }
    /// Seconds since the fast path started.
    pub fn clock(&self) -> u64 {
        self.gauge(CLOCK)
    }
    /// The policy transaction in force; 0 before the first.
    pub fn policy_generation(&self) -> u64 {
        self.gauge(GENERATION)
    }
    pub fn slots(&self) -> u32 {
        self.slots as u32
    }
    /// What the slot holds; `None` for nothing, or for something that makes no sense.
    pub fn identity(&self, slot: SaSlot) -> Option<SaIdentity> {
        let at = slot.0 as usize * IDENTITY_WORDS;
        let words = self.identities.get(at..at + IDENTITY_WORDS)?;
        seqlock::read(words).and_then(SaIdentity::from_words)
    }
    /// Every slot in use.
    pub fn installed(&self) -> impl Iterator<Item = (SaSlot, SaIdentity)> + '_ {
        (0..self.slots as u32).map(SaSlot).filter_map(|slot| Some((slot, self.identity(slot)?)))
    }
    /// Counters of whatever is in the slot, summed over workers.
    pub fn sa(&self, slot: SaSlot) -> SaCounters {
        let mut sum = SaCounters { idle_seconds: u64::MAX, ..SaCounters::default() };
        let mut used = 0;
        for worker in 0..self.workers {
            let at = (worker * self.slots + slot.0 as usize) * SA_COUNTER_WORDS;
            let Some(record) = self.counters.get(at..at + SA_COUNTER_WORDS) else { break };
            if slot.0 as usize >= self.slots {
                break;
            }
            sum.packets = sum.packets.wrapping_add(record[PACKETS].load(Relaxed));
            sum.bytes = sum.bytes.wrapping_add(record[BYTES].load(Relaxed));
            sum.dropped = sum.dropped.wrapping_add(record[DROPPED].load(Relaxed));
            sum.last_seq = sum.last_seq.max(record[LAST_SEQ].load(Relaxed));
            used = used.max(record[USED].load(Relaxed));
        }
        if used != 0 {
            sum.idle_seconds = self.clock().saturating_sub(used - 1);
        }
        if let Some(identity) = self.identity(slot) {
            sum.last_seq = sum.last_seq.max(identity.start_seq);
        }
        sum
    }
    pub fn drops(&self) -> Vec<(DropReason, u64)> {
        let sum = |reason: DropReason| {
            (0..self.workers)
                .filter_map(|worker| self.drops.get(worker * DROP_WORDS + reason as usize))
                .fold(0u64, |sum, word| sum.wrapping_add(word.load(Relaxed)))
        };
        DropReason::ALL.iter().map(|reason| (*reason, sum(*reason))).collect()
    }
    /// The same for each worker; the last is the main lcore.
    pub fn drops_by_worker(&self) -> Vec<Vec<(DropReason, u64)>> {
        let of = |words: &[AtomicU64]| {
            let count = |reason: &DropReason| words.get(*reason as usize).map_or(0, |w| w.load(Relaxed));
            DropReason::ALL.iter().map(|reason| (*reason, count(reason))).collect()
        };
        self.drops.chunks(DROP_WORDS).map(of).collect()
    }
    /// By worker; the last is the main lcore, which counts nothing here.
    pub fn worker_counters(&self) -> Vec<WorkerCounters> {
        let of = |words| seqlock::read(words).map(WorkerCounters::from_words).unwrap_or_default();
        self.worker_words.chunks(WORKER_WORDS).map(of).collect()
    }
    /// Packets that were dropped lately, the latest first.
    pub fn recent_drops(&self) -> Vec<RecentDrop> {
        recent::read(&self.recent)
    }
    pub fn ports(&self) -> Vec<PortCounters> {
        self.ports.chunks(PORT_WORDS).map(port).collect()
    }
    /// Trouble the fast path has seen with this contract, by name.
    pub fn contract_faults(&self) -> [(&'static str, u64); 5] {
        [
            ("fastpath-ring-faults", self.gauge(FAULTS)),
            ("fastpath-malformed-records", self.gauge(MALFORMED)),
            ("fastpath-events-lost", self.gauge(EVENTS_LOST)),
            ("fastpath-frames-lost", self.gauge(FRAMES_LOST)),
            ("fastpath-acks-lost", self.gauge(ACKS_LOST)),
        ]
    }
}

fn port(record: &[AtomicU64]) -> PortCounters {
    let number = |at: usize| record.get(at).map_or(0, |w| w.load(Relaxed));
    let mut name = [0; PORT_NAME_BYTES];
    load_bytes(&record[8..], &mut name);
    let len = name.iter().position(|b| *b == 0).unwrap_or(name.len());
    PortCounters {
        name: String::from_utf8_lossy(&name[..len]).into_owned(),
        rx_packets: number(0),
        rx_bytes: number(1),
        tx_packets: number(2),
        tx_bytes: number(3),
        rx_missed: number(4),
        tx_errors: number(5),
    }
}
