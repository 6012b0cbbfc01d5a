//! So many messages of a kind in a while; the rest is counted, and the count said later.
use std::collections::HashMap;
use std::hash::Hash;
use std::time::{Duration, Instant};

const WHILE: Duration = Duration::from_secs(5);
/// A flood fills a screen or two, not a disk.
const MOST: u32 = 100;
/// Kinds are places of the program; this is far above their number.
const KINDS: usize = 1024;

struct Kind {
    since: Instant,
    said: u32,
    suppressed: u64,
    /// How it is named when the count is said.
    example: String,
}
pub(crate) struct Limits<K>(HashMap<K, Kind>);

impl<K: Hash + Eq + Clone> Limits<K> {
    pub fn new() -> Self {
        Self(HashMap::new())
    }
    /// Whether one more may be said now.
    pub fn take(&mut self, kind: K, message: &str, now: Instant) -> bool {
        if self.0.len() >= KINDS && !self.0.contains_key(&kind) {
            return true;
        }
        let fresh = || Kind { since: now, said: 0, suppressed: 0, example: String::new() };
        let kind = self.0.entry(kind).or_insert_with(fresh);
        if kind.suppressed == 0 && now.saturating_duration_since(kind.since) >= WHILE {
            (kind.since, kind.said) = (now, 0);
        }
        if kind.said < MOST {
            kind.said += 1;
            return true;
        }
        if kind.suppressed == 0 {
            kind.example = message.chars().take(80).collect();
        }
        kind.suppressed += 1;
        false
    }
    /// What was suppressed in whiles that are over, with an example of it.
    pub fn over(&mut self, now: Instant) -> Vec<(u64, String)> {
        let mut over = Vec::new();
        for kind in self.0.values_mut() {
            if kind.suppressed > 0 && now.saturating_duration_since(kind.since) >= WHILE {
                over.push((kind.suppressed, std::mem::take(&mut kind.example)));
                (kind.since, kind.said, kind.suppressed) = (now, 0, 0);
            }
        }
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_cut_and_counted_and_others_are_heard() {
        let (mut limits, start) = (Limits::new(), Instant::now());
        let said = (0..10_000).filter(|n| limits.take(1, &format!("junk {n}"), start)).count();
        assert_eq!(said, MOST as usize);
        assert!(limits.take(2, "something else", start));
        assert!(limits.over(start + Duration::from_secs(1)).is_empty());
        assert_eq!(limits.over(start + WHILE), [(9900, "junk 100".to_owned())]);
        assert!(limits.over(start + 2 * WHILE).is_empty());
        assert!(limits.take(1, "junk", start + WHILE));
    }
}
