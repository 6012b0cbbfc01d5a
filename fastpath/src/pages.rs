//! Large tables on large pages: with pages of four kilobytes, most look-ups in them would miss the TLB as well.
#![allow(unsafe_code)]
use rustix::mm::{Advice, madvise};

/// A page that the kernel gives whole, where it does.
const LARGE: usize = 2 << 20;

/// `count` elements, on large pages if there are so many and the kernel has such pages: it is asked before the memory
/// is first touched. A refusal changes nothing but the speed.
pub fn filled<T>(count: usize, make: impl FnMut() -> T) -> Vec<T> {
    let size = size_of::<T>().max(1);
    let large = count.saturating_mul(size) >= LARGE / 2;
    // Room for whole pages wherever the memory begins; what is not used is never touched.
    let spare = if large { LARGE.div_ceil(size) } else { 0 };
    let mut all = Vec::with_capacity(count + spare);
    if large {
        ask(&all);
    }
    all.extend(std::iter::repeat_with(make).take(count));
    all
}

/// Asks for large pages under the room of a vector that is still empty.
fn ask<T>(all: &Vec<T>) {
    let (start, len) = (all.as_ptr().addr(), all.capacity() * size_of::<T>());
    // Only whole pages inside of the room: nothing else is on them.
    let from = start.next_multiple_of(LARGE);
    let whole = (start + len).saturating_sub(from) / LARGE * LARGE;
    if whole > 0 {
        let at = all.as_ptr().cast_mut().cast::<u8>().wrapping_add(from - start);
        // SAFETY: the range lies inside of an allocation that `all` owns, and this advice changes no byte of it: it
        // only says with which pages the kernel should back what is touched later.
        let _ = unsafe { madvise(at.cast(), whole, Advice::LinuxHugepage) };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_of_every_size_hold_what_they_are_filled_with() {
        for count in [0, 1, 1000, 200_000, 1_000_000] {
            let mut n = 0u64;
            let table = filled(count, || {
                n += 1;
                n
            });
            assert_eq!(table.len(), count);
            assert!(table.iter().copied().eq(1..=count as u64));
        }
    }
}
