//! Slots of the fast path's SA table, handed out for both directions, and the SPIs made of them.
use crate::api::Rng;
use sa::{SaSlot, Spi};
use std::collections::VecDeque;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Slot {
    Free,
    /// Taken by a child of the IKE SA with this local SPI.
    Owned(u64),
    /// Removal was asked for; the fast path may still refer to it.
    Draining,
}

#[derive(Debug, Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// Oldest first, so that a slot rests as long as possible. Claimed ones are still in it, and passed over.
    free: VecDeque<u32>,
}

impl Slots {
    /// Grows to `count` (rounded down to a power of two); the table of a running fast path never shrinks.
    pub fn resize(&mut self, count: u32) {
        let count = if count.is_power_of_two() { count } else { count.checked_ilog2().map_or(0, |b| 1 << b) };
        for slot in self.slots.len() as u32..count {
            self.slots.push(Slot::Free);
            self.free.push_back(slot);
        }
    }
    pub fn take(&mut self, owner: u64) -> Option<SaSlot> {
        loop {
            let slot = SaSlot(self.free.pop_front()?);
            if self.claim(slot, owner) {
                return Some(slot);
            }
        }
    }
    /// Takes one slot by number (a restored child's). False when it is not free.
    pub fn claim(&mut self, slot: SaSlot, owner: u64) -> bool {
        let free = self.slots.get(slot.0 as usize) == Some(&Slot::Free);
        if free {
            self.set(slot, Slot::Owned(owner));
        }
        free
    }
    pub fn owner(&self, slot: SaSlot) -> Option<u64> {
        match self.slots.get(slot.0 as usize) {
            Some(Slot::Owned(owner)) => Some(*owner),
            _ => None,
        }
    }
    pub fn hand_over(&mut self, slot: SaSlot, owner: u64) {
        if self.owner(slot).is_some() {
            self.set(slot, Slot::Owned(owner));
        }
    }
    /// Nothing was ever installed in it.
    pub fn give_back(&mut self, slot: SaSlot) {
        if self.owner(slot).is_some() {
            self.set(slot, Slot::Free);
            self.free.push_back(slot.0);
        }
    }
    /// `Remove` has been sent: reusable after `freed`.
    pub fn drain(&mut self, slot: SaSlot) {
        if self.owner(slot).is_some() {
            self.set(slot, Slot::Draining);
        }
    }
    pub fn freed(&mut self, slot: SaSlot) {
        if self.slots.get(slot.0 as usize) == Some(&Slot::Draining) {
            self.set(slot, Slot::Free);
            self.free.push_back(slot.0);
        }
    }
    /// An SPI that names `slot`: random above, the slot below.
    pub fn spi(&self, slot: SaSlot, rng: &mut dyn Rng) -> Spi {
        let mask = (self.slots.len() as u32).wrapping_sub(1);
        loop {
            let mut raw = [0; 4];
            rng.fill(&mut raw);
            if let Ok(spi) = Spi::new(u32::from_ne_bytes(raw) & !mask | slot.0) {
                return spi;
            }
        }
    }
    #[cfg(test)]
    pub fn draining(&self) -> usize {
        self.slots.iter().filter(|s| matches!(s, Slot::Draining)).count()
    }
    #[cfg(test)]
    pub fn owned(&self) -> usize {
        self.slots.iter().filter(|s| matches!(s, Slot::Owned(_))).count()
    }
    fn set(&mut self, slot: SaSlot, value: Slot) {
        if let Some(place) = self.slots.get_mut(slot.0 as usize) {
            *place = value;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(u8);
    impl Rng for Counting {
        fn fill(&mut self, out: &mut [u8]) {
            out.iter_mut().for_each(|b| {
                *b = self.0;
                self.0 = self.0.wrapping_add(1);
            });
        }
    }

    #[test]
    fn a_slot_is_reused_only_after_the_fast_path_let_go() {
        let mut slots = Slots::default();
        slots.resize(2);
        let (a, b) = (slots.take(7).unwrap(), slots.take(7).unwrap());
        assert_ne!(a, b);
        assert_eq!(slots.take(7), None);
        slots.drain(a);
        assert_eq!(slots.take(7), None, "draining is not free");
        slots.freed(b);
        assert_eq!(slots.take(7), None, "an owned slot cannot be freed by a stray event");
        slots.freed(a);
        slots.freed(a);
        assert_eq!(slots.take(7), Some(a));
        assert_eq!(slots.take(7), None, "freed twice is free once");
    }
    #[test]
    fn a_claimed_slot_is_not_given_again_while_it_is_owned() {
        let mut slots = Slots::default();
        slots.resize(4);
        assert!(slots.claim(SaSlot(1), 7));
        assert!(!slots.claim(SaSlot(1), 8) && !slots.claim(SaSlot(4), 8));
        slots.drain(SaSlot(1));
        slots.freed(SaSlot(1));
        let all: Vec<_> = std::iter::from_fn(|| slots.take(7)).map(|s| s.0).collect();
        assert_eq!(all, [0, 1, 2, 3], "each once, though the claimed one stood in the queue twice");
    }
    #[test]
    fn an_spi_carries_its_slot_and_is_never_reserved() {
        let mut slots = Slots::default();
        slots.resize(256);
        let mut rng = Counting(0);
        for n in 0..256 {
            let spi = slots.spi(SaSlot(n), &mut rng).get();
            assert_eq!(spi & 255, n);
            assert!(spi >= 256);
        }
    }
}
