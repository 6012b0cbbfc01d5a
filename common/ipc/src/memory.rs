//! Memory that another process may change at any moment, seen as words that are only touched atomically:
//! a race with a hostile peer gives a wrong value, never undefined behaviour. What is read from it is copied
//! out first and judged on the copy.
use crate::sync::{AtomicU64, Ordering::Relaxed};
use std::ops::{Deref, Range};
use std::sync::Arc;

/// A run of shared words. Cheap to clone; keeps the mapping alive.
#[derive(Clone)]
pub struct Part {
    owner: Arc<dyn Words>,
    #[cfg(not(loom))]
    words: std::ptr::NonNull<AtomicU64>,
    #[cfg(loom)]
    start: usize,
    len: usize,
}

/// Owner of words at an address that stays the same as long as the owner lives.
pub(crate) trait Words: Send + Sync {
    fn words(&self) -> &[AtomicU64];
}
impl Words for Vec<AtomicU64> {
    fn words(&self) -> &[AtomicU64] {
        self
    }
}

// SAFETY: a `Part` is a shared reference to atomics together with the `Send + Sync` owner that keeps them alive.
#[cfg(not(loom))]
unsafe impl Send for Part {}
// SAFETY: as above; `&Part` gives no more than `&[AtomicU64]`, which is `Sync`.
#[cfg(not(loom))]
unsafe impl Sync for Part {}

impl Part {
    pub(crate) fn whole(owner: Arc<dyn Words>) -> Self {
        let len = owner.words().len();
        #[cfg(not(loom))]
        let words = std::ptr::NonNull::from(owner.words()).cast();
        Self {
            owner,
            #[cfg(not(loom))]
            words,
            #[cfg(loom)]
            start: 0,
            len,
        }
    }
    /// Words of this process alone: tests, models, fuzzers.
    pub fn private(len: usize) -> Self {
        Self::whole(Arc::new((0..len).map(|_| AtomicU64::new(0)).collect::<Vec<_>>()))
    }
    /// `None` when the range is not inside.
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        let sub = self.get(range.clone())?;
        Some(Self {
            owner: self.owner.clone(),
            #[cfg(not(loom))]
            words: std::ptr::NonNull::from(sub).cast(),
            #[cfg(loom)]
            start: self.start + range.start,
            len: sub.len(),
        })
    }
}
impl Deref for Part {
    type Target = [AtomicU64];
    #[inline]
    fn deref(&self) -> &[AtomicU64] {
        #[cfg(not(loom))]
        // SAFETY: `words..words + len` lies inside the slice that `owner` returned, at an address fixed for
        // the owner's life; `owner` lives as long as `self`, and the borrow does not outlive `self`.
        unsafe {
            std::slice::from_raw_parts(self.words.as_ptr(), self.len)
        }
        #[cfg(loom)]
        &self.owner.words()[self.start..self.start + self.len]
    }
}

/// Copies shared words out; bytes beyond the words stay as they were.
pub fn load_bytes(from: &[AtomicU64], to: &mut [u8]) {
    for (word, chunk) in from.iter().zip(to.chunks_mut(8)) {
        let bytes = word.load(Relaxed).to_ne_bytes();
        chunk.copy_from_slice(&bytes[..chunk.len()]);
    }
}
/// Copies bytes in, the last word filled up with zeros; bytes beyond the words are left out.
pub fn store_bytes(to: &[AtomicU64], from: &[u8]) {
    for (word, chunk) in to.iter().zip(from.chunks(8)) {
        let mut bytes = [0; 8];
        bytes[..chunk.len()].copy_from_slice(chunk);
        word.store(u64::from_ne_bytes(bytes), Relaxed);
    }
}
/// Atomic stores are not optimised away, so this needs no further trick.
pub fn wipe(words: &[AtomicU64]) {
    for word in words {
        word.store(0, Relaxed);
    }
}
/// The one writer of a counter needs no locked instruction.
#[inline]
pub fn add(word: &AtomicU64, n: u64) {
    word.store(word.load(Relaxed).wrapping_add(n), Relaxed);
}
