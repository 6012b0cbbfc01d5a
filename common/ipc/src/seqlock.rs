//! A few shared words that one writer changes together and readers see all or nothing of.
//!
//! The first word counts: odd while the writer is inside. A reader that meets a writer (or what a killed
//! writer left behind) gives up after a bounded number of tries.
use crate::sync::{
    AtomicU64,
    Ordering::{Acquire, Relaxed, Release},
    fence,
};

const TRIES: usize = 64;

/// `words[0]` is the counter, `values` go behind it. One writer only.
pub fn write<const N: usize>(words: &[AtomicU64], values: [u64; N]) {
    let Some((counter, data)) = words.split_first() else { return };
    // A predecessor may have been killed inside and left the counter odd.
    let odd = counter.load(Relaxed) | 1;
    counter.store(odd, Relaxed);
    // (W) Pairs with (R): a reader that saw one of the new values below also sees the odd counter.
    fence(Release);
    for (word, value) in data.iter().zip(values) {
        word.store(value, Relaxed);
    }
    counter.store(odd.wrapping_add(1), Release);
}

/// `None`: always busy, or never written.
pub fn read<const N: usize>(words: &[AtomicU64]) -> Option<[u64; N]> {
    let (counter, data) = words.split_first()?;
    for _ in 0..TRIES {
        let before = counter.load(Acquire);
        if before == 0 {
            return None;
        }
        let mut values = [0; N];
        for (value, word) in values.iter_mut().zip(data) {
            *value = word.load(Relaxed);
        }
        fence(Acquire); // (R)
        if before & 1 == 0 && counter.load(Relaxed) == before {
            return Some(values);
        }
        #[cfg(loom)]
        return None;
        #[cfg(not(loom))]
        std::hint::spin_loop();
    }
    None
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::memory::Part;

    #[test]
    fn what_was_written_is_read_also_after_a_killed_writer() {
        let words = Part::private(4);
        assert_eq!(read::<3>(&words), None);
        write(&words, [1, 2, 3]);
        assert_eq!(read(&words), Some([1, 2, 3]));
        words[0].store(words[0].load(Relaxed) + 1, Relaxed); // killed inside
        assert_eq!(read::<3>(&words), None);
        write(&words, [4, 5, 6]);
        assert_eq!(read(&words), Some([4, 5, 6]));
    }
}
#[cfg(all(test, loom))]
mod loom_model {
    use super::*;
    use crate::memory::Part;

    #[test]
    fn model_a_reader_never_sees_half() {
        loom::model(|| {
            let words = Part::private(3);
            write(&words, [1, 1]);
            let shared = words.clone();
            let writer = loom::thread::spawn(move || {
                write(&shared, [2, 2]);
                write(&shared, [3, 3]);
            });
            if let Some([a, b]) = read::<2>(&words) {
                assert_eq!(a, b);
            }
            writer.join().unwrap();
        });
    }
}
