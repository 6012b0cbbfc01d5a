//! The last messages, for `/log print`.
use std::collections::VecDeque;
use std::time::Duration;

/// RouterOS's `memory-lines`.
const LINES: usize = 1000;
/// Of one message; longer ones are cut.
const LENGTH: usize = 4096;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Counts up, so that a reader can ask for what is new.
    pub id: u64,
    /// Since 1970.
    pub at: Duration,
    pub topics: String,
    pub message: String,
}
#[derive(Default)]
pub(crate) struct Ring {
    next: u64,
    entries: VecDeque<Entry>,
}
impl Ring {
    pub fn push(&mut self, at: Duration, topics: String, mut message: String) {
        if let Some((end, _)) = message.char_indices().nth(LENGTH) {
            message.truncate(end);
            message.push('…');
        }
        self.next += 1;
        if self.entries.len() == LINES {
            self.entries.pop_front();
        }
        self.entries.push_back(Entry { id: self.next, at, topics, message });
    }
    /// Those behind this id, oldest first.
    pub fn after(&self, id: u64) -> Vec<Entry> {
        self.entries.iter().filter(|entry| entry.id > id).cloned().collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_is_bounded() {
        let mut ring = Ring::default();
        for _ in 0..3 * LINES {
            ring.push(Duration::ZERO, "system,info".into(), "x".repeat(2 * LENGTH));
        }
        let all = ring.after(0);
        assert_eq!((all.len(), all[0].id), (LINES, 2 * LINES as u64 + 1));
        assert!(all.iter().all(|entry| entry.message.chars().count() == LENGTH + 1));
        assert_eq!(ring.after(3 * LINES as u64 - 2).len(), 2);
    }
}
