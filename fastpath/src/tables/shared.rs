//! Two instances of a table that change places between bursts: one writer, any number of readers.
//!
//! The writer prepares the instance nobody reads, publishes it, and waits for the readers to let go of
//! the other one before it brings that up to date. Nobody spins or blocks: until then changes queue up.
//! A reader takes the current instance at the start of a burst; the price is one atomic load when
//! nothing has changed, and a short lock when something has.
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

#[derive(Debug)]
struct Cell<T> {
    /// Number of the publication in `current`; grows by one each time.
    version: AtomicU64,
    current: Mutex<Arc<T>>,
}
impl<T> Cell<T> {
    fn take(&self) -> Arc<T> {
        // Nothing can panic under this lock, so a poisoned one is still right.
        self.current.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

/// The writing end.
#[derive(Debug)]
pub struct Publisher<T, O> {
    cell: Arc<Cell<T>>,
    /// The instance that readers are on, or may soon be on.
    active: Arc<T>,
    /// The other one. Ours alone as soon as the last reader has let go.
    standby: Arc<T>,
    /// Applied to `active`, not yet to `standby`.
    behind: Vec<O>,
    /// Applied to neither.
    queued: VecDeque<O>,
    /// Changes ever submitted, and how many of them the standby instance has seen.
    submitted: u64,
    settled: u64,
}

impl<T, O> Publisher<T, O> {
    /// `a` and `b` must be equal.
    pub fn new(a: T, b: T) -> Self {
        let active = Arc::new(a);
        let cell = Cell { version: AtomicU64::new(1), current: Mutex::new(active.clone()) };
        Self {
            cell: Arc::new(cell),
            active,
            standby: Arc::new(b),
            behind: Vec::new(),
            queued: VecDeque::new(),
            submitted: 0,
            settled: 0,
        }
    }
    pub fn reader(&self) -> Reader<T> {
        let version = self.cell.version.load(Ordering::Acquire);
        Reader { cell: self.cell.clone(), table: self.cell.take(), version }
    }
    /// The newest published instance.
    pub fn active(&self) -> &T {
        &self.active
    }
    /// Takes a change in and returns its number.
    pub fn submit(&mut self, op: O) -> u64 {
        self.queued.push_back(op);
        self.submitted += 1;
        self.submitted
    }
    /// The number of the last change taken in.
    pub fn submitted(&self) -> u64 {
        self.submitted
    }
    /// Every change up to this number is in both instances, and no reader sees the state before it.
    pub fn settled(&self) -> u64 {
        self.settled
    }
    /// Goes as far as it can without waiting. True when nothing is left to do.
    pub fn advance(&mut self, apply: impl Fn(&mut T, &O)) -> bool {
        loop {
            if self.behind.is_empty() && self.queued.is_empty() {
                return true;
            }
            let Some(standby) = Arc::get_mut(&mut self.standby) else { return false };
            for op in self.behind.drain(..) {
                apply(standby, &op);
                self.settled += 1;
            }
            if self.queued.is_empty() {
                return true;
            }
            for op in self.queued.drain(..) {
                apply(standby, &op);
                self.behind.push(op);
            }
            std::mem::swap(&mut self.active, &mut self.standby);
            *self.cell.current.lock().unwrap_or_else(PoisonError::into_inner) = self.active.clone();
            self.cell.version.fetch_add(1, Ordering::Release);
        }
    }
}

/// A reading end; one per worker.
#[derive(Debug)]
pub struct Reader<T> {
    cell: Arc<Cell<T>>,
    table: Arc<T>,
    version: u64,
}
impl<T> Reader<T> {
    /// The instance taken last.
    pub fn table(&self) -> &Arc<T> {
        &self.table
    }
    /// Moves to the newest publication. `Some` is the instance left behind; whoever still needs it keeps
    /// it, and the writer waits for that.
    pub fn refresh(&mut self) -> Option<Arc<T>> {
        let version = self.cell.version.load(Ordering::Acquire);
        if version == self.version {
            return None;
        }
        self.version = version;
        let newer = self.cell.take();
        Some(std::mem::replace(&mut self.table, newer))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn publisher() -> Publisher<Vec<u32>, u32> {
        Publisher::new(Vec::new(), Vec::new())
    }
    fn push(list: &mut Vec<u32>, op: &u32) {
        list.push(*op);
    }
    #[test]
    fn a_change_settles_only_when_the_last_reader_has_moved_on() {
        let mut p = publisher();
        let (mut a, mut b) = (p.reader(), p.reader());
        let first = p.submit(1);
        assert!(!p.advance(push), "published, but readers still hold the old instance");
        assert_eq!((p.active().as_slice(), a.table().as_slice()), (&[1][..], &[][..]));
        assert!(a.refresh().is_some());
        assert!(!p.advance(push));
        assert!(p.settled() < first);
        let kept = b.refresh();
        assert!(!p.advance(push), "an instance kept for packets in flight counts as read");
        drop(kept);
        assert!(p.advance(push));
        assert_eq!(p.settled(), first);
        assert_eq!((a.table().as_slice(), b.table().as_slice()), (&[1][..], &[1][..]));
    }
    #[test]
    fn changes_queue_up_behind_a_slow_reader_and_come_at_once() {
        let mut p = publisher();
        let mut slow = p.reader();
        for n in 1..=5 {
            p.submit(n);
            p.advance(push);
        }
        assert_eq!(p.active().as_slice(), &[1]);
        slow.refresh();
        p.advance(push);
        assert_eq!(p.active().as_slice(), &[1, 2, 3, 4, 5]);
        slow.refresh();
        assert!(p.advance(push));
        assert_eq!(p.settled(), 5);
    }
}
