//! What came back: each packet once, in the order of its flow, under a number that was not used before.
use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Everything that must not happen, by name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Fault {
    /// Outer headers: addresses, checksum, length, unknown SPI.
    BadOuter,
    /// The ICV does not fit, or padding or next header are wrong.
    BadEsp,
    /// A sequence number came twice, or from so far back that nobody can tell.
    NumberReused,
    /// The inner packet differs from the one sent by more than a hop.
    Corrupt,
    /// Through the SA of another flow.
    WrongTunnel,
    Duplicate,
    Reordered,
    /// A number that was never sent.
    NeverSent,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Faults {
    pub counts: BTreeMap<Fault, u64>,
    /// The first one, in words.
    pub first: Option<String>,
}
impl Faults {
    pub fn add(&mut self, fault: Fault, text: impl FnOnce() -> String) {
        *self.counts.entry(fault).or_default() += 1;
        if self.first.is_none() {
            self.first = Some(format!("{fault:?}: {}", text()));
        }
    }
    pub fn total(&self) -> u64 {
        self.counts.values().sum()
    }
    pub fn merge(&mut self, other: &Self) {
        for (fault, n) in &other.counts {
            *self.counts.entry(*fault).or_default() += n;
        }
        if self.first.is_none() {
            self.first.clone_from(&other.first);
        }
    }
}

/// Nanoseconds with three significant digits; beyond a minute all is the same.
pub fn histogram() -> Histogram<u64> {
    // The bounds are constants that the library accepts.
    Histogram::new_with_bounds(1, 60_000_000_000, 3).unwrap_or_else(|_| unreachable!("constant bounds"))
}

/// One direction of one trial.
pub struct Ledger {
    /// One bit for each packet.
    seen: Vec<u64>,
    /// Number of the flow's last packet, plus one.
    last: Vec<u64>,
    pub received: u64,
    pub faults: Faults,
    pub latency: Histogram<u64>,
}
impl Ledger {
    pub fn new(flows: u32) -> Self {
        Self {
            seen: Vec::new(),
            last: vec![0; flows as usize],
            received: 0,
            faults: Faults::default(),
            latency: histogram(),
        }
    }
    /// Room for so many packets, so that none has to be made while the trial runs.
    pub fn reserve(&mut self, packets: u64) {
        let words = (packets / 64 + 1) as usize;
        if self.seen.len() < words {
            self.seen.resize(words, 0);
        }
    }
    /// `sent`: how many packets have been sent so far.
    pub fn record(&mut self, index: u64, flow: u32, nanoseconds: u64, sent: u64) {
        if index >= sent {
            return self.faults.add(Fault::NeverSent, || format!("packet {index} of {sent}"));
        }
        self.reserve(index + 1);
        let (word, bit) = (&mut self.seen[(index / 64) as usize], 1 << (index % 64));
        if *word & bit != 0 {
            return self.faults.add(Fault::Duplicate, || format!("packet {index} of flow {flow}"));
        }
        *word |= bit;
        self.received += 1;
        let last = &mut self.last[flow as usize];
        if index + 1 < *last {
            let (now, before) = (index, *last - 1);
            self.faults.add(Fault::Reordered, || format!("flow {flow}: packet {now} came after {before}"));
        } else {
            *last = index + 1;
        }
        self.latency.saturating_record(nanoseconds.max(1));
    }
}

/// The sequence numbers of one SA that have been seen: the last ones, as a set.
///
/// Workers that share an SA take numbers one after the other and send their packets when they have their CPU; one that
/// had to wait a tenth of a second is a hundred thousand numbers behind.
#[derive(Clone, Debug)]
pub struct Numbers {
    top: u64,
    /// Bit `n` modulo the width: `n` was there.
    seen: Box<[u64]>,
}
/// Numbers that all SAs together remember.
const REMEMBERED: usize = 1 << 20;
impl Numbers {
    /// Of one SA among so many.
    pub fn of(tunnels: u32) -> Self {
        let width = (REMEMBERED / tunnels.max(1) as usize).max(64).next_power_of_two();
        Self { top: 0, seen: vec![0; width / 64].into() }
    }
    fn width(&self) -> u64 {
        self.seen.len() as u64 * 64
    }
    fn bit(&mut self, number: u64) -> (&mut u64, u64) {
        let at = number & (self.width() - 1);
        (&mut self.seen[(at / 64) as usize], 1 << (at % 64))
    }
    /// The whole number, from the 32 bits that travel: the one nearest to the highest so far.
    pub fn infer(&self, low: u32) -> u64 {
        let distance = low.wrapping_sub(self.top as u32) as i32;
        self.top.saturating_add_signed(distance.into())
    }
    /// `false`: it was there before, or is too far back to tell.
    pub fn take(&mut self, number: u64) -> bool {
        if number > self.top {
            let from = (self.top + 1).max(number.saturating_sub(self.width() - 1));
            for left_out in from..number {
                let (word, bit) = self.bit(left_out);
                *word &= !bit;
            }
            self.top = number;
            let (word, bit) = self.bit(number);
            *word |= bit;
            return true;
        }
        let back = self.top - number;
        if number == 0 || back >= self.width() {
            return false;
        }
        let (word, bit) = self.bit(number);
        let fresh = *word & bit == 0;
        *word |= bit;
        fresh
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::HashSet;

    const FLOWS: u32 = 5;
    fn feed(packets: &[u64], sent: u64) -> Ledger {
        let mut ledger = Ledger::new(FLOWS);
        packets.iter().for_each(|i| ledger.record(*i, (*i % u64::from(FLOWS)) as u32, 100, sent));
        ledger
    }
    proptest! {
        /// Lost, repeated and overtaken packets are counted as exactly that.
        #[test]
        fn loss_duplicates_and_order_are_told_apart(
            fate in prop::collection::vec(prop_oneof![8 => Just(1usize), 1 => Just(0), 1 => Just(2)], 1..300),
            swaps in prop::collection::vec((0usize..300, 1usize..9), 0..5),
        ) {
            let mut packets: Vec<u64> =
                fate.iter().enumerate().flat_map(|(n, times)| vec![n as u64; *times]).collect();
            for (at, distance) in swaps {
                if at + distance < packets.len() { packets.swap(at, at + distance); }
            }
            let (mut seen, mut top, mut twice, mut late) = (HashSet::new(), [0; FLOWS as usize], 0, 0);
            for index in &packets {
                if !seen.insert(*index) {
                    twice += 1;
                    continue;
                }
                let top = &mut top[(*index % u64::from(FLOWS)) as usize];
                if index + 1 < *top { late += 1 } else { *top = index + 1 }
            }
            let ledger = feed(&packets, fate.len() as u64);
            let count = |fault| ledger.faults.counts.get(&fault).copied().unwrap_or(0);
            prop_assert_eq!(ledger.received, seen.len() as u64);
            prop_assert_eq!(count(Fault::Duplicate), twice);
            prop_assert_eq!(count(Fault::Reordered), late);
            prop_assert_eq!(ledger.latency.len(), ledger.received);
            prop_assert_eq!(ledger.faults.total(), twice + late);
        }
        /// Within the width exactly the repeated ones are refused, beyond it all that are behind.
        #[test]
        fn numbers_are_taken_once(
            steps in prop::collection::vec(prop_oneof![8 => -70i64..9, 1 => 0i64..300], 1..300),
            tunnels in prop_oneof![Just(REMEMBERED as u32), Just(REMEMBERED as u32 / 256)],
        ) {
            let (mut numbers, mut set, mut top) = (Numbers::of(tunnels), HashSet::new(), 0u64);
            for step in steps {
                let number = top.saturating_add_signed(step).max(1);
                let near = number > top || top - number < numbers.width();
                prop_assert_eq!(numbers.take(number), set.insert(number) && near);
                top = top.max(number);
            }
        }
    }
    #[test]
    fn what_was_never_sent_is_a_fault() {
        let ledger = feed(&[0, 1, 7], 3);
        assert_eq!(ledger.received, 2);
        assert_eq!(ledger.faults.counts, [(Fault::NeverSent, 1)].into());
        assert!(ledger.faults.first.expect("text").contains("packet 7 of 3"));
    }
    #[test]
    fn numbers_go_on_beyond_32_bits() {
        let mut numbers = Numbers::of(1);
        assert!(numbers.take(0xffff_fffe));
        for (low, whole) in [(0xffff_ffff, 0xffff_ffff), (0, 1 << 32), (1, (1 << 32) + 1)] {
            let number = numbers.infer(low);
            assert_eq!(number, whole);
            assert!(numbers.take(number));
            assert!(!numbers.take(number));
        }
        assert_eq!(numbers.infer(0xffff_ffff), 0xffff_ffff);
        assert!(!numbers.take(0xffff_ffff));
        assert!(!numbers.take(0), "never sent");
        assert!(numbers.take(1 << 33));
        assert!(!numbers.take(1), "too far back to tell");
        assert_eq!((Numbers::of(1).width(), Numbers::of(100_000).width()), (1 << 20, 64));
    }
}
