//! Where everything is in the region: one pure function from the geometry. Both sides compute it
//! themselves; offsets are never taken from the other side, only compared.
use crate::record::{ACK_BYTES, COMMAND_BYTES, EVENT_BYTES, SEEN_HEAD_BYTES};
use crate::ring::RingShape;
use crate::watch::MAX_SNAP;
use sa::DropReason;
use std::ops::Range;

/// `ESPWAYIP` in ASCII.
pub const MAGIC: u64 = u64::from_be_bytes(*b"ESPWAYIP");
/// Raised with every change of a record, a table or this file.
pub const LAYOUT_VERSION: u64 = 8;
/// One frame's payload at most: what a UDP datagram holds.
pub const MAX_FRAME: usize = u16::MAX as usize - 8;
/// A slot of a frame ring. A frame goes on in the slots behind its first one, which holds its head as well.
pub(crate) const FRAME_SLOT_BYTES: usize = 4096;
/// One vault record's content at most, see `vault`.
pub const VAULT_HALF_BYTES: usize = 16 * 1024;
/// Bytes of a port's name, and of the drop reasons a worker can count.
pub const PORT_NAME_BYTES: usize = 64;
/// Bytes of an interface's name in a command.
pub const INTERFACE_NAME_BYTES: usize = 64;

pub(crate) const HEADER_WORDS: usize = 64;
pub(crate) const SA_COUNTER_WORDS: usize = 8;
pub(crate) const IDENTITY_WORDS: usize = 8;
pub(crate) const PORT_WORDS: usize = 16;
pub(crate) const DROP_WORDS: usize = DropReason::COUNT.next_multiple_of(16);
/// What a worker says of itself.
pub(crate) const WORKER_WORDS: usize = 16;
/// Recent drops kept for each worker, and the words of one.
pub(crate) const RECENT: usize = 32;
pub(crate) const RECENT_WORDS: usize = 16;
/// Watched packets on their way. Only what is written takes memory.
const SEEN_SLOTS: u32 = 512;
pub(crate) const VAULT_HALF_WORDS: usize = VAULT_HALF_BYTES / 8;

/// The numbers everything else follows from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Geometry {
    /// A power of two.
    pub sa_slots: u32,
    pub workers: u32,
    pub ports: u32,
    /// IKE SAs the vault can hold.
    pub vault_records: u32,
    /// Slots of the command and acknowledgement rings.
    pub commands: u32,
    pub events: u32,
    /// Slots of each frame ring.
    pub frames: u32,
}
impl Default for Geometry {
    fn default() -> Self {
        Self {
            sa_slots: 4096,
            workers: 1,
            ports: 2,
            vault_records: 2048,
            commands: 1024,
            events: 1024,
            frames: 1024,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum GeometryError {
    #[error("{what} is {got}; allowed is {min} to {max}")]
    OutOfRange { what: &'static str, got: u32, min: u32, max: u32 },
    #[error("sa-slots is {0}, which is not a power of two; try {1}")]
    NotPowerOfTwo(u32, u32),
}

impl Geometry {
    pub fn check(&self) -> Result<(), GeometryError> {
        for (what, got, min, max) in [
            ("sa-slots", self.sa_slots, 16, 1 << 22),
            ("workers", self.workers, 1, 256),
            ("ports", self.ports, 0, 1024),
            ("vault records", self.vault_records, 1, 1 << 20),
            ("command slots", self.commands, 2, 1 << 16),
            ("event slots", self.events, 2, 1 << 16),
            ("frame slots", self.frames, 2, 1 << 16),
        ] {
            if got < min || got > max {
                return Err(GeometryError::OutOfRange { what, got, min, max });
            }
        }
        if !self.sa_slots.is_power_of_two() {
            return Err(GeometryError::NotPowerOfTwo(self.sa_slots, self.sa_slots.next_power_of_two()));
        }
        Ok(())
    }
    pub(crate) fn to_words(self) -> [u64; 7] {
        [self.sa_slots, self.workers, self.ports, self.vault_records, self.commands, self.events, self.frames]
            .map(u64::from)
    }
    /// Not yet checked.
    pub(crate) fn from_words(words: [u64; 7]) -> Option<Self> {
        let mut numbers = [0; 7];
        for (number, word) in numbers.iter_mut().zip(words) {
            *number = u32::try_from(word).ok()?;
        }
        let [sa_slots, workers, ports, vault_records, commands, events, frames] = numbers;
        Some(Self { sa_slots, workers, ports, vault_records, commands, events, frames })
    }
}

/// Word ranges of the region's parts.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Layout {
    pub commands: (Range<usize>, RingShape),
    pub acks: (Range<usize>, RingShape),
    pub events: (Range<usize>, RingShape),
    pub frames_to_slow: (Range<usize>, RingShape),
    pub frames_to_fast: (Range<usize>, RingShape),
    pub seen: (Range<usize>, RingShape),
    /// Written by the fast path's main lcore: clock, generation, faults.
    pub gauges: Range<usize>,
    /// Written by the slow path: is it asleep.
    pub slow_state: Range<usize>,
    pub identities: Range<usize>,
    /// Per worker, then per slot.
    pub sa_counters: Range<usize>,
    /// Per worker, then per reason.
    pub drops: Range<usize>,
    pub ports: Range<usize>,
    /// Per worker: how busy it is.
    pub workers: Range<usize>,
    /// Per worker: packets that were dropped lately.
    pub recent: Range<usize>,
    pub vault: Range<usize>,
    pub words: usize,
}

impl Layout {
    pub fn of(geometry: &Geometry) -> Result<Self, GeometryError> {
        geometry.check()?;
        let mut next = HEADER_WORDS;
        // Parts start on pages of their own: a part's traffic does not touch its neighbour's lines.
        let mut take = |words: usize| {
            let at = next.next_multiple_of(512);
            next = at + words;
            at..next
        };
        let mut ring = |slots: u32, bytes: usize| {
            let shape = RingShape { slots, slot_words: bytes.div_ceil(8) as u32 };
            (take(shape.words()), shape)
        };
        let g = geometry;
        let (slots, workers) = (g.sa_slots as usize, g.workers as usize);
        Ok(Self {
            commands: ring(g.commands, COMMAND_BYTES),
            acks: ring(g.commands, ACK_BYTES),
            events: ring(g.events, EVENT_BYTES),
            frames_to_slow: ring(g.frames, FRAME_SLOT_BYTES),
            frames_to_fast: ring(g.frames, FRAME_SLOT_BYTES),
            seen: ring(SEEN_SLOTS, SEEN_HEAD_BYTES + MAX_SNAP),
            gauges: take(64),
            slow_state: take(64),
            identities: take(slots * IDENTITY_WORDS),
            sa_counters: take(workers * slots * SA_COUNTER_WORDS),
            drops: take(workers * DROP_WORDS),
            ports: take(g.ports as usize * PORT_WORDS),
            workers: take(workers * WORKER_WORDS),
            recent: take(workers * RECENT * RECENT_WORDS),
            vault: take(g.vault_records as usize * crate::vault::RECORD_WORDS),
            words: next.next_multiple_of(512),
        })
    }
    pub fn bytes(&self) -> u64 {
        self.words as u64 * 8
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_do_not_overlap_and_fit() {
        let geometry = Geometry { workers: 3, ports: 5, ..Geometry::default() };
        let l = Layout::of(&geometry).unwrap();
        let mut end = HEADER_WORDS;
        let rings = [&l.commands, &l.acks, &l.events, &l.frames_to_slow, &l.frames_to_fast, &l.seen];
        let tables = [
            &l.gauges,
            &l.slow_state,
            &l.identities,
            &l.sa_counters,
            &l.drops,
            &l.ports,
            &l.workers,
            &l.recent,
            &l.vault,
        ];
        for range in rings.map(|r| &r.0).into_iter().chain(tables) {
            assert!(range.start >= end && range.end >= range.start);
            end = range.end;
        }
        assert!(l.words >= end);
        assert_eq!(Geometry::from_words(geometry.to_words()), Some(geometry));
    }
    #[test]
    fn a_geometry_out_of_bounds_says_what_is_allowed() {
        let error = |g: Geometry| Layout::of(&g).unwrap_err().to_string();
        assert_eq!(
            error(Geometry { sa_slots: 1000, ..Geometry::default() }),
            "sa-slots is 1000, which is not a power of two; try 1024"
        );
        assert_eq!(
            error(Geometry { workers: 0, ..Geometry::default() }),
            "workers is 0; allowed is 1 to 256"
        );
    }
}
