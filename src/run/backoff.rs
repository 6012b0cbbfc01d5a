//! When a process that ended is started again: at once the first times, then later and later, then not.
use std::collections::VecDeque;
use std::time::{Duration, Instant};

/// Ends that are forgiven at once.
const AT_ONCE: usize = 3;
/// So many ends within [`WINDOW`] and it is given up.
pub const GIVE_UP: usize = 10;
const WINDOW: Duration = Duration::from_secs(60);
const LONGEST: Duration = Duration::from_secs(30);

#[derive(Debug, Default)]
pub struct Backoff {
    ends: VecDeque<Instant>,
}

#[derive(Debug, PartialEq, Eq)]
pub enum Verdict {
    After(Duration),
    GiveUp,
}

impl Backoff {
    pub fn ended(&mut self, now: Instant) -> Verdict {
        self.ends.push_back(now);
        while self.ends.front().is_some_and(|first| now.duration_since(*first) > WINDOW) {
            self.ends.pop_front();
        }
        match self.ends.len() {
            n if n >= GIVE_UP => Verdict::GiveUp,
            n if n <= AT_ONCE => Verdict::After(Duration::ZERO),
            // 1, 1, 2, 4, 8, 16: short enough that ten ends fit into the window.
            n => Verdict::After(Duration::from_secs(1 << n.saturating_sub(AT_ONCE + 2)).min(LONGEST)),
        }
    }
    pub fn forget(&mut self) {
        self.ends.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn h12_ten_ends_in_a_minute_are_a_standing_error() {
        let (mut backoff, mut now, start) = (Backoff::default(), Instant::now(), Instant::now());
        let mut waits = Vec::new();
        let verdict = loop {
            match backoff.ended(now) {
                Verdict::After(wait) => {
                    waits.push(wait.as_secs());
                    now += wait + Duration::from_millis(100);
                }
                Verdict::GiveUp => break waits.len() + 1,
            }
        };
        assert_eq!((verdict, waits), (GIVE_UP, vec![0, 0, 0, 1, 1, 2, 4, 8, 16]));
        assert!(now - start < WINDOW);
    }
    #[test]
    fn now_and_then_is_forgiven_for_ever() {
        let (mut backoff, start) = (Backoff::default(), Instant::now());
        for n in 0..100 {
            assert_eq!(backoff.ended(start + WINDOW / 2 * n), Verdict::After(Duration::ZERO));
        }
    }
    #[test]
    fn forgetting_starts_from_the_beginning() {
        let (mut backoff, now) = (Backoff::default(), Instant::now());
        for _ in 0..GIVE_UP {
            backoff.ended(now);
        }
        backoff.forget();
        assert_eq!(backoff.ended(now), Verdict::After(Duration::ZERO));
    }
}
