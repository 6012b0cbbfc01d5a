//! What SAs have carried, kept beyond their lives for the policy they were of: packets, bytes and drops in and out.
//!
//! The fast path leaves an SA's numbers in its slot until the slot is used again, and the driver installs nothing
//! there before the removal is acknowledged. So what is read at the acknowledgement is all that the SA ever carried.
use crate::driver::Driver;
use crate::negotiator::Negotiator;
use ipc::{SaCounters, StatsReader};
use sa::{Direction, PolicyId, SaSlot, SaSpec, Spi};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Carried {
    pub packets: u64,
    pub bytes: u64,
    pub dropped: u64,
}
impl Carried {
    pub fn add(&mut self, more: Self) {
        self.packets += more.packets;
        self.bytes += more.bytes;
        self.dropped += more.dropped;
    }
    /// The larger of each number.
    pub fn raise(&mut self, to: Self) {
        self.packets = self.packets.max(to.packets);
        self.bytes = self.bytes.max(to.bytes);
        self.dropped = self.dropped.max(to.dropped);
    }
}
impl From<SaCounters> for Carried {
    fn from(c: SaCounters) -> Self {
        Self { packets: c.packets, bytes: c.bytes, dropped: c.dropped }
    }
}
/// In, out.
pub type Ways = [Carried; 2];
pub fn way(direction: Direction) -> usize {
    usize::from(direction == Direction::Outbound)
}

/// Whose an SA is: its policy, or the template that its policy was made from.
struct Owned {
    spi: Spi,
    of: PolicyId,
    direction: Direction,
}
#[derive(Default)]
pub(crate) struct Ledger {
    /// Those that the fast path has.
    owned: BTreeMap<SaSlot, Owned>,
    /// Of SAs that are gone. Shared with who reads it, copied when it changes meanwhile.
    pub ended: Arc<HashMap<PolicyId, Ways>>,
}
impl Ledger {
    fn close(&mut self, slot: SaSlot, statistics: &StatsReader) {
        let Some(owned) = self.owned.remove(&slot) else { return };
        if owned.of.is_dynamic() {
            return; // its template is not known: there is no name under which it could be shown
        }
        let sums = Arc::make_mut(&mut self.ended).entry(owned.of).or_default();
        sums[way(owned.direction)].add(statistics.sa(slot).into());
    }
    /// Of policies that are in no configuration any more nobody asks.
    pub fn keep(&mut self, known: &HashSet<PolicyId>) {
        if self.ended.keys().any(|id| !known.contains(id)) {
            Arc::make_mut(&mut self.ended).retain(|id, _| known.contains(id));
        }
    }
}

impl<E: Negotiator> Driver<E> {
    pub(crate) fn enter(&mut self, spec: &SaSpec) {
        let of = self.dynamic.get(spec.policy).map_or(spec.policy, |made| made.template);
        self.ledger.owned.insert(spec.slot, Owned { spi: spec.spi, of, direction: spec.direction });
    }
    /// The fast path has let go of what was in the slot.
    pub(crate) fn ended(&mut self, slot: SaSlot) {
        if let Some(slow) = &self.slow {
            self.ledger.close(slot, slow.statistics());
        }
    }
    /// After attaching: what the former fast path ran and this one does not ends with its last numbers.
    pub(crate) fn end_former(&mut self, former: Option<&StatsReader>, now: &StatsReader) {
        let runs = |slot: SaSlot, spi: Spi| now.identity(slot).is_some_and(|identity| identity.spi == spi);
        let gone = self.ledger.owned.iter().filter(|(slot, owned)| !runs(**slot, owned.spi));
        for slot in gone.map(|(slot, _)| *slot).collect::<Vec<_>>() {
            match former {
                Some(former) => self.ledger.close(slot, former),
                None => _ = self.ledger.owned.remove(&slot),
            }
        }
    }
}
