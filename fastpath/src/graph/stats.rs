//! Counters per SA, one table per worker: written by the worker alone, summed by whoever reads.
use crate::crypto::SaRef;
use crate::pages;
use crate::prefetch::near;
use ipc::contract::SaCounters;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

#[derive(Debug, Default)]
#[repr(align(64))]
pub struct SaCount {
    /// Installation the numbers belong to; another one starts from zero.
    install: AtomicU32,
    packets: AtomicU64,
    bytes: AtomicU64,
    dropped: AtomicU64,
    last_seq: AtomicU64,
    /// Seconds of the worker's clock, plus one; 0 for never.
    used: AtomicU64,
}

impl SaCount {
    #[cold]
    fn restart(&self, install: u32) {
        for counter in [&self.packets, &self.bytes, &self.dropped, &self.last_seq, &self.used] {
            counter.store(0, Relaxed);
        }
        self.install.store(install, Relaxed);
    }
}

#[derive(Debug)]
pub struct SaCounts {
    slots: Vec<SaCount>,
}

/// Only one thread writes, so reading and storing apart is enough.
fn add(counter: &AtomicU64, n: u64) {
    counter.store(counter.load(Relaxed).wrapping_add(n), Relaxed);
}

impl SaCounts {
    pub fn new(slots: u32) -> Self {
        Self { slots: pages::filled(slots as usize, SaCount::default) }
    }
    /// Has what counts for a slot brought near.
    #[inline(always)]
    pub(crate) fn prefetch(&self, slot: u32) {
        if let Some(entry) = self.slots.get(slot as usize) {
            near(entry);
        }
    }
    #[inline]
    fn entry(&self, sa: SaRef) -> Option<&SaCount> {
        let entry = self.slots.get(sa.slot as usize)?;
        if entry.install.load(Relaxed) != sa.install {
            entry.restart(sa.install);
        }
        Some(entry)
    }
    #[inline]
    pub(crate) fn passed(&self, sa: SaRef, packets: u64, bytes: u64, seq: u64, now: Duration) {
        if let Some(entry) = self.entry(sa) {
            add(&entry.packets, packets);
            add(&entry.bytes, bytes);
            entry.last_seq.store(seq.max(entry.last_seq.load(Relaxed)), Relaxed);
            entry.used.store(now.as_secs() + 1, Relaxed);
        }
    }
    pub(crate) fn dropped(&self, sa: SaRef) {
        if let Some(entry) = self.entry(sa) {
            add(&entry.dropped, 1);
        }
    }
    /// Adds this worker's share of an SA to `sum`. Numbers of one SA are from about the same moment.
    pub fn add_to(&self, sa: SaRef, now: Duration, sum: &mut SaCounters) {
        let Some(entry) = self.slots.get(sa.slot as usize) else { return };
        if entry.install.load(Relaxed) != sa.install {
            return;
        }
        sum.packets += entry.packets.load(Relaxed);
        sum.bytes += entry.bytes.load(Relaxed);
        sum.dropped += entry.dropped.load(Relaxed);
        sum.last_seq = sum.last_seq.max(entry.last_seq.load(Relaxed));
        if let Some(used) = entry.used.load(Relaxed).checked_sub(1) {
            sum.idle_seconds = sum.idle_seconds.min(now.as_secs().saturating_sub(used));
        }
    }
}
