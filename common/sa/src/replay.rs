//! The anti-replay window (RFC 4303 3.4.3 and appendix A): check before the ICV, commit after it.
//!
//! A ring of 64-bit words as in RFC 6479, so that moving it costs words and not bits.
use crate::SeqNo;
use std::sync::atomic::Ordering::{Acquire, Relaxed, Release};
use std::sync::atomic::{AtomicBool, AtomicU64};

/// A number that was new when looked at. Not yet accepted: the tag is still unverified.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub struct Candidate(SeqNo);
impl Candidate {
    /// Of no packet: 0 is never sent.
    pub const NONE: Self = Self(SeqNo(0));
    pub const fn seq(self) -> SeqNo {
        self.0
    }
}

/// Proof that an ICV matched. Made by the node that reads an engine's verdict, nowhere else.
#[derive(Clone, Copy, Debug)]
pub struct Authentic(());
impl Authentic {
    /// Call only where an engine has just reported that the ICV of the packet at hand is right.
    pub const fn after_icv_verified() -> Self {
        Self(())
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stale {
    /// Already received.
    Seen,
    /// Left of the window, or number 0.
    Old,
}

/// Packets a window spans: 0 (off) or a power of two from 64 to 65536.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReplayWidth(u32);
impl ReplayWidth {
    pub const fn new(width: u32) -> Option<Self> {
        if width == 0 || (width.is_power_of_two() && width >= 64 && width <= 65536) {
            Some(Self(width))
        } else {
            None
        }
    }
    pub const fn get(self) -> u32 {
        self.0
    }
}

/// Looked at by any number of workers at once, changed by one at a time ([`Self::hold`]).
#[derive(Debug)]
pub struct ReplayWindow {
    newest: AtomicU64,
    /// One word more than the width needs, so that the word being entered can be cleared whole.
    words: Box<[AtomicU64]>,
    width: u32,
    esn: bool,
    held: AtomicBool,
}

impl ReplayWindow {
    pub fn new(width: ReplayWidth, esn: bool, newest: u64) -> Self {
        let width = width.get();
        let words = if width == 0 { 0 } else { (width / 64 + 1).next_power_of_two() };
        // After a take-over everything up to `newest` counts as received.
        let fill = if newest == 0 { 0 } else { u64::MAX };
        let words = (0..words).map(|_| AtomicU64::new(fill)).collect();
        let this = Self { newest: AtomicU64::new(newest), words, width, esn, held: AtomicBool::new(false) };
        if newest != 0 {
            let beyond = (newest & 63) + 1;
            if beyond < 64
                && let Some(word) = this.word(newest)
            {
                word.store((1 << beyond) - 1, Relaxed);
            }
        }
        this
    }
    pub fn newest(&self) -> SeqNo {
        SeqNo(self.newest.load(Relaxed))
    }
    /// Where the number is recorded; `None` when the window is off.
    #[inline]
    fn word(&self, seq: u64) -> Option<&AtomicU64> {
        self.words.get((seq >> 6) as usize & self.words.len().wrapping_sub(1))
    }
    /// What the next packets will look at, for a prefetch.
    #[inline]
    pub fn word_ahead(&self) -> Option<&AtomicU64> {
        self.word(self.newest.load(Relaxed))
    }

    //= rfc4303#A2.1/infer-high-half: the window's place tells which epoch the low half belongs to.
    #[inline]
    pub fn infer(&self, low: u32) -> SeqNo {
        self.infer_from(self.newest.load(Relaxed), low)
    }
    #[inline]
    fn infer_from(&self, newest: u64, low: u32) -> SeqNo {
        if !self.esn {
            return SeqNo(u64::from(low));
        }
        let (top, high) = (newest as u32, newest >> 32);
        let width = self.width.max(1);
        let bottom = top.wrapping_sub(width - 1);
        let high = if top >= width - 1 {
            if low >= bottom { high } else { high.wrapping_add(1) }
        } else if low >= bottom {
            high.wrapping_sub(1)
        } else {
            high
        };
        SeqNo(high << 32 | u64::from(low))
    }

    /// Extends the low half to 64 bits and looks it up, changing nothing. While another worker commits, it may not yet
    /// see what that one records, which [`Held::commit`] looks up again. It refuses nothing that a commit would take:
    /// a word is used again only for numbers a whole window ahead, and by then the number asked for is too old.
    #[inline]
    pub fn check(&self, low: u32) -> Result<Candidate, Stale> {
        // Whoever sees a newest number sees the words cleared that lie below it.
        let newest = self.newest.load(Acquire);
        let seq = self.infer_from(newest, low);
        self.look_up(newest, seq.0).map(|()| Candidate(seq))
    }
    #[inline]
    fn look_up(&self, newest: u64, seq: u64) -> Result<(), Stale> {
        let width = u64::from(self.width);
        if width == 0 {
            return Ok(());
        }
        //= rfc4303#3.3.3/first-is-one: number 0 is never sent.
        if seq == 0 || seq.checked_add(width).is_none_or(|edge| edge <= newest) {
            // A high half inferred below zero wraps to the top and lands here as well.
            if seq == 0 || seq <= newest || seq > u64::MAX - width {
                return Err(Stale::Old);
            }
        }
        if seq > newest {
            return Ok(());
        }
        let seen = self.word(seq).is_some_and(|word| word.load(Relaxed) >> (seq & 63) & 1 == 1);
        if seen { Err(Stale::Seen) } else { Ok(()) }
    }

    /// The right to change it, ours alone until dropped. To be held for a run of packets at a time, never across
    /// anything slow: the other side spins for nanoseconds and never sleeps.
    #[inline]
    pub fn hold(&self) -> Held<'_> {
        while self.held.swap(true, Acquire) {
            while self.held.load(Relaxed) {
                std::hint::spin_loop();
            }
        }
        Held(self)
    }
}

/// A window that nobody else changes.
#[derive(Debug)]
pub struct Held<'a>(&'a ReplayWindow);
impl Drop for Held<'_> {
    #[inline]
    fn drop(&mut self) {
        self.0.held.store(false, Release);
    }
}
impl Held<'_> {
    //= rfc4303#3.4.3/update-after-icv: a forged packet must not move the window.
    /// Looks again, since a twin in the same burst may have come first, then records.
    /// Tells whether the number is the highest so far.
    #[inline]
    pub fn commit(&mut self, candidate: Candidate, _icv: Authentic) -> Result<bool, Stale> {
        let (seq, window) = (candidate.0.0, self.0);
        let before = window.newest.load(Relaxed);
        window.look_up(before, seq)?;
        let newest = seq > before;
        if newest {
            self.clear_between(before, seq);
            window.newest.store(seq, Release);
        }
        if let Some(word) = window.word(seq) {
            // Nobody else writes it, so reading and storing apart is enough.
            word.store(word.load(Relaxed) | 1 << (seq & 63), Relaxed);
        }
        Ok(newest)
    }
    #[inline]
    fn clear_between(&mut self, before: u64, seq: u64) {
        let entered = ((seq >> 6) - (before >> 6)).min(self.0.words.len() as u64);
        for step in 0..entered {
            if let Some(word) = self.0.word(((seq >> 6) - step) << 6) {
                word.store(0, Relaxed);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn window(width: u32, esn: bool) -> ReplayWindow {
        ReplayWindow::new(ReplayWidth::new(width).unwrap(), esn, 0)
    }
    fn accept(w: &ReplayWindow, low: u32) -> Result<bool, Stale> {
        w.check(low).and_then(|c| w.hold().commit(c, Authentic::after_icv_verified()))
    }

    //= test rfc4303#A2.1/infer-high-half
    #[test]
    fn high_half_is_inferred_from_the_window() {
        for (case, newest, low, expected) in [
            ("A: inside the window", 0x1_0000_0100, 0x0000_00f0, 0x1_0000_00f0),
            ("A: below it, so next epoch", 0x1_0000_0100, 0x0000_0001, 0x2_0000_0001),
            ("B: high, previous epoch", 0x2_0000_0010, 0xffff_fff0, 0x1_ffff_fff0),
            ("B: low, this epoch", 0x2_0000_0010, 0x0000_0020, 0x2_0000_0020),
        ] {
            let window = ReplayWindow { newest: newest.into(), ..window(64, true) };
            assert_eq!(window.infer(low).0, expected, "{case}");
        }
    }
    #[test]
    fn a_taken_over_window_refuses_everything_up_to_its_start() {
        for start in [1u64, 63, 64, 65, 127, 1000, 4095] {
            let w = ReplayWindow::new(ReplayWidth::new(128).unwrap(), false, start);
            for seq in 0..=start as u32 {
                assert!(w.check(seq).is_err(), "start {start} seq {seq}");
            }
            assert!(accept(&w, start as u32 + 1).is_ok());
            assert!(accept(&w, start as u32 + 1).is_err());
        }
    }
    #[test]
    fn the_first_packets_of_an_esn_sa_cannot_reach_below_zero() {
        let w = window(64, true);
        assert_eq!(w.check(u32::MAX), Err(Stale::Old));
    }
    proptest! {
        #[test]
        fn window_agrees_with_a_plain_set(width in prop::sample::select(vec![64u32, 128, 1024, 65536]),
                                          steps in prop::collection::vec((0u8..4, 0u32..3000), 1..400)) {
            let (w, mut seen, mut newest) = (window(width, false), BTreeSet::new(), 0u32);
            for (kind, n) in steps {
                let seq = match kind {
                    0 => newest.saturating_add(n % 5),
                    1 => newest.saturating_sub(n % 200),
                    2 => newest.saturating_add(n),
                    _ => n,
                };
                let old = seq == 0 || u64::from(seq) + u64::from(width) <= u64::from(newest);
                let expected = if old { Err(Stale::Old) } else if seen.contains(&seq) { Err(Stale::Seen) } else { Ok(seq > newest) };
                prop_assert_eq!(accept(&w, seq), expected, "seq {} newest {}", seq, newest);
                if expected.is_ok() { seen.insert(seq); newest = newest.max(seq); }
            }
        }
        #[test]
        fn esn_agrees_with_a_plain_set_across_epochs(steps in prop::collection::vec((any::<bool>(), 0u64..5000), 1..300)) {
            let (mut w, mut seen, mut newest) = (window(1024, true), BTreeSet::new(), 0xffff_f000u64);
            w.newest = newest.into();
            for (forward, n) in steps {
                let seq = if forward { newest + n % 1500 } else { newest - n % 1024 };
                let known = seq <= 0xffff_f000 && !seen.contains(&seq) && w.check(seq as u32).is_err();
                prop_assert_eq!(w.infer(seq as u32).0, seq);
                if known { continue; }
                let expected = if seen.contains(&seq) { Err(Stale::Seen) } else { Ok(seq > newest) };
                prop_assert_eq!(accept(&w, seq as u32), expected);
                seen.insert(seq); newest = newest.max(seq);
            }
        }
    }
    #[test]
    fn each_number_is_taken_once_by_whoever_comes_first() {
        let w = window(1024, false);
        let taken: usize = std::thread::scope(|s| {
            let threads: Vec<_> = (0..3)
                .map(|_| s.spawn(|| (1..=20_000u32).filter(|low| accept(&w, *low).is_ok()).count()))
                .collect();
            threads.into_iter().map(|t| t.join().unwrap()).sum()
        });
        // Who is more than a window behind finds its numbers too old, but never takes one twice.
        assert!(taken <= 20_000);
        assert_eq!(w.newest(), SeqNo(20_000));
        assert!((1..=20_000).all(|low| accept(&w, low).is_err()));
    }
}
