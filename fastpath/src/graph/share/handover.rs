//! Items of one owner, worked on by anybody, given back to the owner in the order it put them in.
//!
//! Each item gets a ticket when it is put in. Tickets are taken oldest first, so whoever holds one may wait for those
//! before it: they are all held by somebody who is at work. Between [`Order::enter`] and [`Order::pass`] the holder of a
//! ticket is alone and comes after the holders of all earlier ones.
//!
//! A slot has one user at a time (owner, then taker, then owner), so its lock is never waited for.
use super::sync::Ordering::{AcqRel, Acquire, Relaxed, Release};
use super::sync::{Arc, AtomicU64, Mutex, Wait};

/// Apart from its neighbours by two cache lines, since the hardware fetches lines in pairs.
#[derive(Debug, Default)]
#[repr(align(128))]
struct Apart<T>(T);

/// Whose turn it is.
#[derive(Debug)]
pub struct Order {
    turn: Apart<AtomicU64>,
}
impl Order {
    /// Waits until all earlier tickets have passed.
    #[inline]
    pub fn enter(&self, ticket: u64) {
        let mut wait = Wait::default();
        // Pairs with the Release in `pass`: what the one before did in its turn is seen in ours.
        while self.turn.0.load(Acquire) < ticket {
            wait.turn();
        }
    }
    /// Ends the turn of `ticket`, which only its holder may. Does nothing when it has ended.
    #[inline]
    pub fn pass(&self, ticket: u64) {
        self.enter(ticket);
        if self.turn.0.load(Relaxed) == ticket {
            self.turn.0.store(ticket + 1, Release);
        }
    }
}

#[derive(Debug)]
struct Slot<T> {
    item: Mutex<Option<T>>,
    /// One more than the ticket whose item is back.
    done: AtomicU64,
}
impl<T> Slot<T> {
    fn swap(&self, item: Option<T>) -> Option<T> {
        // Nothing that could panic runs under this lock.
        match self.item.lock() {
            Ok(mut place) => std::mem::replace(&mut *place, item),
            Err(poisoned) => std::mem::replace(&mut *poisoned.into_inner(), item),
        }
    }
}

/// What owner and helpers share.
#[derive(Debug)]
pub struct Handover<T> {
    /// Tickets given out.
    end: Apart<AtomicU64>,
    /// The oldest ticket that nobody has taken.
    next: Apart<AtomicU64>,
    order: Arc<Order>,
    slots: Box<[Apart<Slot<T>>]>,
}

impl<T> Handover<T> {
    /// There is one for every ticket: their number is a power of two.
    fn slot(&self, ticket: u64) -> Option<&Slot<T>> {
        self.slots.get(ticket as usize & self.slots.len().wrapping_sub(1)).map(|slot| &slot.0)
    }
    pub fn order(&self) -> &Arc<Order> {
        &self.order
    }
    /// The oldest item that nobody has taken.
    pub fn take(&self) -> Option<Taken<'_, T>> {
        let mut ticket = self.next.0.load(Relaxed);
        loop {
            // Pairs with the Release in `put`.
            if ticket >= self.end.0.load(Acquire) {
                return None;
            }
            match self.next.0.compare_exchange(ticket, ticket + 1, AcqRel, Relaxed) {
                Ok(_) => break,
                Err(seen) => ticket = seen,
            }
        }
        // The slot is not used again before this ticket has been given back.
        let item = self.slot(ticket).and_then(|slot| slot.swap(None));
        Some(Taken { from: self, ticket, item, passed: false })
    }
}

/// An item on loan. Dropping it gives it back, done, and ends its turn: also when whoever held it panics.
#[derive(Debug)]
pub struct Taken<'a, T> {
    from: &'a Handover<T>,
    ticket: u64,
    item: Option<T>,
    passed: bool,
}
impl<T> Taken<'_, T> {
    pub fn item(&mut self) -> Option<&mut T> {
        self.item.as_mut()
    }
    /// Its turn, which whoever works on it may end before it is given back.
    pub fn turn(&self, order: Arc<Order>) -> Turn {
        Turn { order, ticket: self.ticket, phase: Phase::Before }
    }
    /// Takes note that its turn is over, which needs no look at who is in turn: by now that is somebody else.
    pub fn after(&mut self, turn: &Turn) {
        self.passed = turn.is_over() && turn.ticket == self.ticket;
    }
}
impl<T> Drop for Taken<'_, T> {
    fn drop(&mut self) {
        if !self.passed {
            self.from.order.pass(self.ticket);
        }
        if let Some(slot) = self.from.slot(self.ticket) {
            slot.swap(self.item.take());
            slot.done.store(self.ticket + 1, Release);
        }
    }
}

/// The turn of an item on loan.
#[derive(Debug)]
pub struct Turn {
    order: Arc<Order>,
    ticket: u64,
    phase: Phase,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Before,
    In,
    Over,
}
impl Turn {
    /// Waits until all earlier tickets have passed.
    #[inline]
    pub fn enter(&mut self) {
        if self.phase == Phase::Before {
            self.order.enter(self.ticket);
            self.phase = Phase::In;
        }
    }
    #[inline]
    pub fn pass(&mut self) {
        if self.phase != Phase::Over {
            self.order.pass(self.ticket);
            self.phase = Phase::Over;
        }
    }
    pub fn is_over(&self) -> bool {
        self.phase == Phase::Over
    }
    /// For the next.
    pub fn into_order(self) -> Arc<Order> {
        self.order
    }
}

/// The owner's end.
#[derive(Debug)]
pub struct Owner<T> {
    shared: Arc<Handover<T>>,
    end: u64,
    given_back: u64,
}
impl<T> Owner<T> {
    /// Room for `slots` items or more: it is a power of two.
    pub fn new(slots: usize) -> Self {
        let slot = |_| Apart(Slot { item: Mutex::new(None), done: AtomicU64::new(0) });
        let shared = Handover {
            end: Apart(AtomicU64::new(0)),
            next: Apart(AtomicU64::new(0)),
            order: Arc::new(Order { turn: Apart(AtomicU64::new(0)) }),
            slots: (0..slots.next_power_of_two()).map(slot).collect(),
        };
        Self { shared: Arc::new(shared), end: 0, given_back: 0 }
    }
    pub fn shared(&self) -> &Arc<Handover<T>> {
        &self.shared
    }
    /// Items put in and not yet given back.
    pub fn in_flight(&self) -> usize {
        (self.end - self.given_back) as usize
    }
    /// Items that nobody has taken; fewer by the time anybody reads this.
    pub fn untaken(&self) -> usize {
        (self.end - self.shared.next.0.load(Relaxed)) as usize
    }
    pub fn room(&self) -> usize {
        self.shared.slots.len() - self.in_flight()
    }
    /// The item comes back when there is no room.
    pub fn put(&mut self, item: T) -> Result<(), T> {
        match self.shared.slot(self.end) {
            Some(slot) if self.room() > 0 => slot.swap(Some(item)),
            _ => return Err(item),
        };
        self.end += 1;
        self.shared.end.0.store(self.end, Release);
        Ok(())
    }
    /// The next item in order, once it is done. `Some(None)`: it is gone with whoever had taken it.
    pub fn given_back(&mut self) -> Option<Option<T>> {
        let slot = self.shared.slot(self.given_back)?;
        // Pairs with the Release of whoever gave it back.
        if self.given_back == self.end || slot.done.load(Acquire) != self.given_back + 1 {
            return None;
        }
        self.given_back += 1;
        Some(slot.swap(None))
    }
}
