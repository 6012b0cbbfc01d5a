//! When each IKE SA wants to be looked at again: one deadline per SA, the earliest found at once.
use crate::api::Now;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

#[derive(Debug, Default)]
pub(super) struct Timers {
    order: BTreeSet<(Now, u64)>,
    deadline: BTreeMap<u64, Now>,
}
impl Timers {
    pub fn set(&mut self, key: u64, at: Option<Now>) {
        if let Some(old) = self.deadline.remove(&key) {
            self.order.remove(&(old, key));
        }
        if let Some(at) = at {
            self.deadline.insert(key, at);
            self.order.insert((at, key));
        }
    }
    pub fn next(&self) -> Option<Now> {
        self.order.first().map(|(at, _)| *at)
    }
    /// Takes out what is due.
    pub fn due(&mut self, now: Now) -> Vec<u64> {
        let mut due = Vec::new();
        while let Some(&(at, key)) = self.order.first()
            && at <= now
        {
            self.set(key, None);
            due.push(key);
        }
        due
    }
}

/// The retransmission series (RFC 7296 2.1, 2.4): waits double from `FIRST` up to `LONGEST`; after
/// `TRANSMISSIONS` and the last wait the peer counts as dead, about a minute after the first.
pub(super) struct Series;
impl Series {
    pub const FIRST: Duration = Duration::from_millis(500);
    pub const LONGEST: Duration = Duration::from_secs(10);
    pub const TRANSMISSIONS: u32 = 9;

    /// How long to wait after transmission number `n` (1 is the original).
    pub fn wait(n: u32) -> Duration {
        Self::FIRST.saturating_mul(1 << (n - 1).min(16)).min(Self::LONGEST)
    }
    pub fn total() -> Duration {
        (1..=Self::TRANSMISSIONS).map(Self::wait).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_series_backs_off_and_ends() {
        //= test rfc7296#2.1/back-off
        let waits: Vec<_> = (1..=Series::TRANSMISSIONS).map(Series::wait).collect();
        assert!(waits.windows(2).all(|w| w[0] <= w[1]));
        assert_eq!(waits[1], 2 * waits[0]);
        assert!(Series::total() > Duration::from_secs(50) && Series::total() < Duration::from_secs(90));
    }
    #[test]
    fn the_earliest_comes_first_and_once() {
        let mut timers = Timers::default();
        let s = Duration::from_secs;
        timers.set(1, Some(s(5)));
        timers.set(2, Some(s(3)));
        timers.set(1, Some(s(2)));
        assert_eq!(timers.next(), Some(s(2)));
        assert_eq!(timers.due(s(3)), [1, 2]);
        assert_eq!(timers.next(), None);
    }
}
