//! Carries the counters of workers, SAs and ports into the shared statistics table.
//!
//! Workers count in memory of their own process; the slow path sees a copy that is refreshed a few times
//! a second by the main lcore, so that a hostile slow path can never reach what workers write.
use crate::engine::Maker;
use crate::exchange::Lane;
use dpdk::Port;
use fastpath::crypto::KeyMaker;
use fastpath::graph::SaCounts;
use fastpath::graph::lost::lost;
use fastpath::tables::Control;
use fastpath::tables::control::InstalledSa;
use fastpath::tables::sad::State;
use ipc::{Command, FastSide, PortCounters, SaCounters, SaIdentity, SaState, WorkerStats};
use sa::{DropReason, SaSlot};
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

pub struct Mirror {
    counts: Vec<Arc<SaCounts>>,
    /// One pen for each worker, and the main lcore's own behind them.
    pens: Vec<WorkerStats>,
    /// What was carried over already, by worker.
    drops: Vec<[u64; DropReason::COUNT]>,
    own: [u64; DropReason::COUNT],
    /// By slot.
    sas: Vec<Option<Carried>>,
    /// The slot that is next in this round; past the end when it is through.
    next: u32,
}

struct Carried {
    state: SaState,
    by_worker: Vec<SaCounters>,
}

impl Mirror {
    /// `pens`: as many as there are workers, and one more.
    pub fn new(counts: Vec<Arc<SaCounts>>, pens: Vec<WorkerStats>, sa_slots: u32) -> Self {
        let drops = vec![[0; DropReason::COUNT]; counts.len()];
        let sas = (0..sa_slots).map(|_| None).collect();
        Self { counts, pens, drops, own: [0; DropReason::COUNT], sas, next: sa_slots }
    }
    /// A drop on the main lcore.
    pub fn drop(&mut self, reason: DropReason, packets: u64) {
        self.own[reason as usize] += packets;
    }

    /// The same for a packet that can be shown, from its IP header on.
    pub fn drop_packet(&mut self, region: &mut FastSide, reason: DropReason, bytes: &[u8]) {
        self.drop(reason, 1);
        if let Some(packet) = lost(reason, bytes, 0) {
            region.note_drop(self.counts.len() as u32, packet);
        }
    }

    /// What an installation will be published as, kept before the command is consumed.
    pub fn identity_of(&self, command: &Command, now: Duration) -> Option<(SaSlot, SaIdentity)> {
        let Command::InstallSa(spec) = command else { return None };
        let identity = SaIdentity {
            spi: spec.spi,
            direction: spec.direction,
            state: SaState::Mature,
            policy: spec.policy,
            // Known when the key has been made.
            engine: None,
            start_seq: spec.last_seq,
            installed_at: now.as_secs(),
        };
        Some((spec.slot, identity))
    }
    pub fn installed(&mut self, region: &mut FastSide, slot: SaSlot, identity: &SaIdentity) {
        region.publish_sa(slot, identity);
        let by_worker = vec![SaCounters::default(); self.counts.len()];
        if let Some(place) = self.sas.get_mut(slot.0 as usize) {
            *place = Some(Carried { state: SaState::Mature, by_worker });
        }
    }
    /// No worker has `sa` any more. Its last numbers stay in the slot until another SA is published there.
    pub fn removed(&mut self, region: &mut FastSide, sa: &InstalledSa, now: Duration) {
        if let Some(mut carried) = self.sas.get_mut(sa.slot.0 as usize).and_then(Option::take) {
            carry(&mut carried, sa, &self.counts, &mut self.pens, region, now);
        }
        region.clear_sa(sa.slot);
    }

    pub fn slots(&self) -> u32 {
        self.sas.len() as u32
    }
    /// Every SA has been looked at since [`Mirror::begin`].
    pub fn is_through(&self) -> bool {
        self.next as usize >= self.sas.len()
    }
    /// A new round: what there is little of at once, the SAs with [`Mirror::go_on`].
    pub fn begin(&mut self, region: &mut FastSide, lanes: &[Arc<Lane>], ports: &[Port], now: Duration) {
        self.next = 0;
        region.set_clock(now.as_secs());
        self.drop_counts(lanes);
        for (worker, lane) in (0..).zip(lanes) {
            region.set_worker(worker, &lane.load());
            // As many as there were: a flood must not keep the main lcore here.
            for packet in (0..lane.lost.len()).map_while(|_| lane.lost.pop()) {
                region.note_drop(worker, packet);
            }
        }
        for (index, port) in ports.iter().enumerate() {
            let Ok(stats) = port.stats() else { continue };
            let counters = PortCounters {
                name: String::new(),
                rx_packets: stats.rx_packets,
                rx_bytes: stats.rx_bytes,
                tx_packets: stats.tx_packets,
                tx_bytes: stats.tx_bytes,
                rx_missed: stats.rx_missed + stats.rx_no_buffer,
                tx_errors: stats.tx_errors,
            };
            region.set_port(index as u32, &counters);
        }
    }
    /// The next `slots` of the round.
    pub fn go_on<K>(&mut self, region: &mut FastSide, control: &Control<Maker>, slots: u32, now: Duration)
    where
        Maker: KeyMaker<Key = K>,
    {
        let end = self.next.saturating_add(slots).min(self.sas.len() as u32);
        for slot in self.next..end {
            if let Some(Some(carried)) = self.sas.get_mut(slot as usize)
                && let Some(sa) = control.installed_sa(SaSlot(slot))
            {
                carry(carried, &sa, &self.counts, &mut self.pens, region, now);
            }
        }
        self.next = end;
    }

    fn drop_counts(&mut self, lanes: &[Arc<Lane>]) {
        for ((lane, carried), pen) in lanes.iter().zip(&mut self.drops).zip(&mut self.pens) {
            for (reason, (shared, carried)) in DropReason::ALL.iter().zip(lane.drops.iter().zip(carried)) {
                let total = shared.load(Relaxed);
                if total != *carried {
                    pen.dropped(*reason, total - *carried);
                    *carried = total;
                }
            }
        }
        if let Some(pen) = self.pens.last_mut() {
            for (reason, waiting) in DropReason::ALL.iter().zip(&mut self.own) {
                if *waiting != 0 {
                    pen.dropped(*reason, std::mem::take(waiting));
                }
            }
        }
    }
}

/// What an SA has done since the last time.
fn carry(
    carried: &mut Carried,
    sa: &InstalledSa,
    counts: &[Arc<SaCounts>],
    pens: &mut [WorkerStats],
    region: &mut FastSide,
    now: Duration,
) {
    let (slot, state) = (sa.slot, sa.state);
    let state = match state {
        State::Mature => SaState::Mature,
        State::Dying => SaState::Dying,
        State::Dead => SaState::Dead,
    };
    if state != carried.state {
        carried.state = state;
        region.set_sa_state(slot, state);
    }
    for ((counts, before), pen) in counts.iter().zip(&mut carried.by_worker).zip(pens) {
        let mut sum = SaCounters { idle_seconds: u64::MAX, ..SaCounters::default() };
        counts.add_to(sa.reference, now, &mut sum);
        let packets = sum.packets.saturating_sub(before.packets);
        if packets > 0 {
            let used = now.as_secs().saturating_sub(sum.idle_seconds);
            pen.sa_passed(slot, packets, sum.bytes.saturating_sub(before.bytes), sum.last_seq, used);
        }
        if sum.dropped > before.dropped {
            pen.sa_dropped(slot, sum.dropped - before.dropped);
        }
        *before = sum;
    }
}
