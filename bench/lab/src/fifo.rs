//! A queue of packets in one block of memory: sealed ones that wait to be sent, received ones that wait to be
//! checked. Neither may cost an allocation while a trial runs.

/// Records are `stamp, length, bytes`, contiguous; one that does not fit before the end begins at the start again.
pub struct Fifo {
    bytes: Vec<u8>,
    head: usize,
    tail: usize,
    /// Where the records before the wrap end.
    end: usize,
    records: usize,
}
const HEAD: usize = 16;

impl Fifo {
    pub fn new(capacity: usize) -> Self {
        // Touched now, so that no page fault falls into a trial.
        Self { bytes: vec![1; capacity.max(2 * HEAD)], head: 0, tail: 0, end: 0, records: 0 }
    }
    pub fn len(&self) -> usize {
        self.records
    }
    pub fn is_empty(&self) -> bool {
        self.records == 0
    }
    pub fn clear(&mut self) {
        (self.head, self.tail, self.end, self.records) = (0, 0, 0, 0);
    }
    /// Room for a record of `len` bytes, which is written there; `None` when it does not fit.
    pub fn push(&mut self, stamp: u64, len: usize) -> Option<&mut [u8]> {
        let need = (HEAD + len).next_multiple_of(8);
        if self.records == 0 {
            self.clear();
        }
        let wrapped = self.records > 0 && self.tail <= self.head;
        let limit = if wrapped { self.head } else { self.bytes.len() };
        if self.tail + need > limit {
            if wrapped || need > self.head {
                return None;
            }
            self.end = self.tail;
            self.tail = 0;
        }
        let at = self.tail;
        let record = self.bytes.get_mut(at..at + need)?;
        record[..8].copy_from_slice(&stamp.to_le_bytes());
        record[8..HEAD].copy_from_slice(&(len as u64).to_le_bytes());
        self.tail += need;
        if self.tail > self.head && at >= self.head {
            self.end = self.tail;
        }
        self.records += 1;
        Some(&mut self.bytes[at + HEAD..at + HEAD + len])
    }
    /// Takes the oldest record out. Its bytes stay until the next call.
    pub fn pop(&mut self) -> Option<(u64, &mut [u8])> {
        if self.records == 0 {
            return None;
        }
        if self.head == self.end {
            self.head = 0;
            self.end = self.tail;
        }
        let at = self.head;
        let word = |at: usize| self.bytes.get(at..at + 8)?.first_chunk().map(|b| u64::from_le_bytes(*b));
        let (stamp, len) = (word(at)?, word(at + 8)? as usize);
        self.head = at + (HEAD + len).next_multiple_of(8);
        self.records -= 1;
        Some((stamp, self.bytes.get_mut(at + HEAD..at + HEAD + len)?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::VecDeque;

    proptest! {
        /// As a queue of vectors, but for being full at some time.
        #[test]
        fn it_is_a_queue(steps in prop::collection::vec(prop::option::weighted(0.6, 0usize..90), 0..400)) {
            let mut fifo = Fifo::new(512);
            let mut model = VecDeque::new();
            for (stamp, step) in (0u64..).zip(steps) {
                match step {
                    Some(len) => match fifo.push(stamp, len) {
                        Some(bytes) => {
                            bytes.fill(stamp as u8);
                            model.push_back((stamp, vec![stamp as u8; len]));
                        }
                        None => {
                            let used: usize = model.iter().map(|(_, b): &(u64, Vec<u8>)| b.len() + 24).sum();
                            prop_assert!(used + len + 24 + 112 > 512, "full with {used} of 512");
                        }
                    },
                    None => {
                        let got = fifo.pop().map(|(stamp, bytes)| (stamp, bytes.to_vec()));
                        prop_assert_eq!(got, model.pop_front());
                    }
                }
                prop_assert_eq!(fifo.len(), model.len());
            }
            while let Some(want) = model.pop_front() {
                let got = fifo.pop().map(|(stamp, bytes)| (stamp, bytes.to_vec()));
                prop_assert_eq!(got, Some(want));
            }
            prop_assert!(fifo.is_empty());
        }
    }
}
