//! A ring between one producer and one consumer in memory that the other side may scribble on.
//!
//! Each end keeps its own index privately and publishes a copy; the other end's index is a claim that is
//! checked against the capacity. Nothing here blocks: a full ring is an answer, and it is counted.
//! Layout in words: `tail` at 0, `head` at [`HEAD`], then the slots; indices run freely and never wrap.
use crate::memory::Part;
use crate::sync::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
};

const TAIL: usize = 0;
/// Two cache lines apart, since the hardware prefetches lines in pairs.
const HEAD: usize = 16;
const SLOTS: usize = 32;

/// Slots and words per slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RingShape {
    pub slots: u32,
    pub slot_words: u32,
}
impl RingShape {
    pub const fn words(self) -> usize {
        SLOTS + self.slots as usize * self.slot_words as usize
    }
}

/// The other side's index makes no sense: it is broken or hostile. Nothing was read or written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the peer's ring index is {peer} while ours is {own} and the ring has {slots} slots")]
pub struct RingFault {
    pub own: u64,
    pub peer: u64,
    pub slots: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    #[error("the ring is full")]
    Full,
    #[error(transparent)]
    Fault(#[from] RingFault),
}

struct End {
    part: Part,
    shape: RingShape,
    /// Our own index. The shared copy is written, never read back.
    own: u64,
}
impl End {
    fn new(part: Part, shape: RingShape, own: u64) -> Option<Self> {
        (shape.slots != 0 && part.len() >= shape.words()).then_some(Self { part, shape, own })
    }
    fn slot(&self, index: u64) -> &[AtomicU64] {
        let words = self.shape.slot_words as usize;
        let at = SLOTS + (index % u64::from(self.shape.slots)) as usize * words;
        &self.part[at..at + words]
    }
    /// Records between `head` and `tail`, one of which is the peer's claim.
    fn filled(&self, head: u64, tail: u64, peer: u64) -> Result<u64, RingFault> {
        let (filled, slots) = (tail.wrapping_sub(head), u64::from(self.shape.slots));
        if filled <= slots { Ok(filled) } else { Err(RingFault { own: self.own, peer, slots }) }
    }
}

pub struct Producer {
    end: End,
    full: u64,
}
impl Producer {
    /// `None` when the ring does not fit into `part`.
    pub fn new(part: Part, shape: RingShape, start: u64) -> Option<Self> {
        Some(Self { end: End::new(part, shape, start)?, full: 0 })
    }
    /// Free slots as far as the consumer's claim can be believed.
    pub fn free(&self) -> Result<u64, RingFault> {
        // Pairs with the Release in `pop`: what the consumer had read may be overwritten now.
        let head = self.end.part[HEAD].load(Acquire);
        Ok(u64::from(self.end.shape.slots) - self.end.filled(head, self.end.own, head)?)
    }
    /// Lets `write` fill the next slot, then shows it to the consumer.
    pub fn push(&mut self, write: impl FnOnce(&[AtomicU64])) -> Result<(), PushError> {
        if self.free()? == 0 {
            self.full += 1;
            return Err(PushError::Full);
        }
        write(self.end.slot(self.end.own));
        self.end.own = self.end.own.wrapping_add(1);
        self.end.part[TAIL].store(self.end.own, Release);
        Ok(())
    }
    /// A record of several slots, shown to the consumer at once: `write` fills the one with the number it is given.
    pub fn push_run(
        &mut self,
        slots: u64,
        mut write: impl FnMut(u64, &[AtomicU64]),
    ) -> Result<(), PushError> {
        if self.free()? < slots {
            self.full += 1;
            return Err(PushError::Full);
        }
        for at in 0..slots {
            write(at, self.end.slot(self.end.own.wrapping_add(at)));
        }
        self.end.own = self.end.own.wrapping_add(slots);
        self.end.part[TAIL].store(self.end.own, Release);
        Ok(())
    }
    /// How often there was no room.
    pub fn full_count(&self) -> u64 {
        self.full
    }
}

pub struct Consumer {
    end: End,
}
impl Consumer {
    pub fn new(part: Part, shape: RingShape, start: u64) -> Option<Self> {
        Some(Self { end: End::new(part, shape, start)? })
    }
    /// How many records may be read. The producer's index is a claim, not a fact.
    pub fn waiting(&self) -> Result<u64, RingFault> {
        // Pairs with the Release in `push`: the record was written before the index.
        let tail = self.end.part[TAIL].load(Acquire);
        self.end.filled(self.end.own, tail, tail)
    }
    /// The next record, of as many slots as `read` answers to its first one; it is called for each. `Some(false)`: it
    /// claims more than there are, and only its first slot was given back.
    pub fn pop_run(
        &mut self,
        mut read: impl FnMut(u64, &[AtomicU64]) -> u64,
    ) -> Result<Option<bool>, RingFault> {
        let waiting = self.waiting()?;
        if waiting == 0 {
            return Ok(None);
        }
        let claimed = read(0, self.end.slot(self.end.own));
        let whole = (1..=waiting).contains(&claimed);
        let taken = if whole { claimed } else { 1 };
        for at in 1..taken {
            read(at, self.end.slot(self.end.own.wrapping_add(at)));
        }
        self.end.own = self.end.own.wrapping_add(taken);
        self.end.part[HEAD].store(self.end.own, Release);
        Ok(Some(whole))
    }
    /// Lets `read` copy the next record out, then gives the slot back.
    pub fn pop<T>(&mut self, read: impl FnOnce(&[AtomicU64]) -> T) -> Result<Option<T>, RingFault> {
        if self.waiting()? == 0 {
            return Ok(None);
        }
        let value = read(self.end.slot(self.end.own));
        self.end.own = self.end.own.wrapping_add(1);
        self.end.part[HEAD].store(self.end.own, Release);
        Ok(Some(value))
    }
}

/// Both indices to 0; only while nobody is at the other end.
pub fn reset(part: &Part) {
    part[TAIL].store(0, Relaxed);
    part[HEAD].store(0, Relaxed);
}
/// For rings that carry keys: what a dead peer left in the slots.
pub fn wipe_slots(part: &Part) {
    crate::memory::wipe(&part[SLOTS..]);
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const SHAPE: RingShape = RingShape { slots: 4, slot_words: 2 };
    fn ends(part: &Part) -> (Producer, Consumer) {
        (Producer::new(part.clone(), SHAPE, 0).unwrap(), Consumer::new(part.clone(), SHAPE, 0).unwrap())
    }
    fn put(p: &mut Producer, value: u64) -> Result<(), PushError> {
        p.push(|slot| slot[0].store(value, Relaxed))
    }
    fn take(c: &mut Consumer) -> Result<Option<u64>, RingFault> {
        c.pop(|slot| slot[0].load(Relaxed))
    }

    proptest! {
        #[test]
        fn ring_agrees_with_a_queue(steps in prop::collection::vec(any::<Option<u64>>(), 1..200)) {
            let (mut p, mut c) = ends(&Part::private(SHAPE.words()));
            let mut model = std::collections::VecDeque::new();
            for step in steps {
                match step {
                    Some(value) => {
                        let expected = if model.len() == 4 { Err(PushError::Full) } else { model.push_back(value); Ok(()) };
                        prop_assert_eq!(put(&mut p, value), expected);
                    }
                    None => prop_assert_eq!(take(&mut c), Ok(model.pop_front())),
                }
                prop_assert_eq!(c.waiting(), Ok(model.len() as u64));
            }
        }
        /// H1, H3: whatever the other side writes into index words and slots, this side answers.
        #[test]
        fn h1_random_indices_are_answered(writes in prop::collection::vec((0usize..40, any::<u64>(), any::<bool>()), 1..100)) {
            let part = Part::private(SHAPE.words());
            let (mut p, mut c) = ends(&part);
            for (at, value, small) in writes {
                part[at].store(if small { value % 8 } else { value }, Relaxed);
                let _ = put(&mut p, 1);
                let _ = take(&mut c);
            }
        }
    }
    #[test]
    fn a_record_of_several_slots_comes_whole_or_not_at_all() {
        let part = Part::private(SHAPE.words());
        let (mut p, mut c) = ends(&part);
        let run = |p: &mut Producer, slots: u64| {
            p.push_run(slots, |at, slot| slot[0].store(if at == 0 { slots } else { 100 + at }, Relaxed))
        };
        let take_run = |c: &mut Consumer| {
            let mut words = Vec::new();
            let got = c.pop_run(|_, slot| {
                words.push(slot[0].load(Relaxed));
                words[0]
            });
            got.unwrap().map(|whole| (whole, words))
        };
        for _ in 0..5 {
            run(&mut p, 3).unwrap();
            assert_eq!(run(&mut p, 2), Err(PushError::Full));
            run(&mut p, 1).unwrap();
            assert_eq!(take_run(&mut c), Some((true, vec![3, 101, 102])));
            assert_eq!(take_run(&mut c), Some((true, vec![1])));
            assert_eq!(take_run(&mut c), None);
        }
        // The first slot lies about what follows.
        for lie in [0, 3, 5, u64::MAX] {
            put(&mut p, lie).unwrap();
            put(&mut p, 1).unwrap();
            assert_eq!(take_run(&mut c), Some((false, vec![lie])), "{lie}");
            assert_eq!(take_run(&mut c), Some((true, vec![1])), "{lie}");
        }
        assert_eq!(p.full_count(), 5);
    }
    #[test]
    fn an_index_beyond_the_ring_is_a_fault_and_changes_nothing() {
        let part = Part::private(SHAPE.words());
        let (mut p, mut c) = ends(&part);
        put(&mut p, 7).unwrap();
        for wild in [5, 6, 1 << 32, u64::MAX] {
            part[TAIL].store(wild, Relaxed);
            assert_eq!(take(&mut c), Err(RingFault { own: 0, peer: wild, slots: 4 }));
        }
        part[TAIL].store(1, Relaxed);
        assert_eq!(take(&mut c), Ok(Some(7)));
        part[HEAD].store(2, Relaxed);
        assert_eq!(put(&mut p, 8), Err(PushError::Fault(RingFault { own: 1, peer: 2, slots: 4 })));
    }
}

#[cfg(all(test, loom))]
mod loom_model {
    use super::*;

    #[test]
    fn model_every_record_arrives_once_whole_and_in_order() {
        loom::model(|| {
            let shape = RingShape { slots: 2, slot_words: 2 };
            let part = Part::private(shape.words());
            let mut producer = Producer::new(part.clone(), shape, 0).unwrap();
            let mut consumer = Consumer::new(part, shape, 0).unwrap();
            let writer = loom::thread::spawn(move || {
                let mut next = 1;
                for _ in 0..4 {
                    let pushed = producer.push(|slot| {
                        slot[0].store(next, Relaxed);
                        slot[1].store(next * 10, Relaxed);
                    });
                    if pushed.is_ok() {
                        next += 1;
                    }
                }
                next - 1
            });
            let mut expected = 1;
            let mut look = |consumer: &mut Consumer| {
                let got = consumer.pop(|slot| {
                    let pair = (slot[0].load(Relaxed), slot[1].load(Relaxed));
                    slot[0].store(0, Relaxed);
                    slot[1].store(0, Relaxed);
                    pair
                });
                if let Some((a, b)) = got.unwrap() {
                    assert_eq!((a, b), (expected, expected * 10));
                    expected += 1;
                    return true;
                }
                false
            };
            for _ in 0..2 {
                look(&mut consumer);
            }
            let sent = writer.join().unwrap();
            while look(&mut consumer) {}
            assert_eq!(expected - 1, sent);
        });
    }
}
