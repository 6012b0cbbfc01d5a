//! Waking a process that sleeps, and only then: a flag in shared memory, and an eventfd to poll on.
//!
//! The sleeper raises its flag, looks at its rings once more and only then sleeps; the other side publishes
//! first and looks at the flag afterwards. With a full fence on both sides one of them sees the other.
use crate::sync::{
    AtomicU64,
    Ordering::{Relaxed, SeqCst},
    fence,
};

/// Sleeper: announce. Look at the rings after this call, and sleep only if they are empty.
pub fn announce_sleep(flag: &AtomicU64) {
    flag.store(1, Relaxed);
    fence(SeqCst);
}
/// Sleeper: awake again.
pub fn announce_awake(flag: &AtomicU64) {
    flag.store(0, Relaxed);
}
/// The other side, after publishing: does the sleeper need its eventfd written?
pub fn must_ring(flag: &AtomicU64) -> bool {
    fence(SeqCst);
    flag.load(Relaxed) == 1 && {
        flag.store(0, Relaxed);
        true
    }
}

#[cfg(not(loom))]
pub use bell::Bell;
#[cfg(not(loom))]
mod bell {
    use rustix::event::EventfdFlags;
    use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

    /// An eventfd.
    pub struct Bell(OwnedFd);
    impl Bell {
        pub fn new() -> rustix::io::Result<Self> {
            rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK).map(Self)
        }
        pub fn from_fd(fd: OwnedFd) -> Self {
            Self(fd)
        }
        /// A counter at its limit is as awake as it gets, so an error is none.
        pub fn ring(&self) {
            let _ = rustix::io::write(&self.0, &1u64.to_ne_bytes());
        }
        pub fn silence(&self) {
            let _ = rustix::io::read(&self.0, &mut [0u8; 8]);
        }
        pub fn fd(&self) -> BorrowedFd<'_> {
            self.0.as_fd()
        }
    }
}

#[cfg(all(test, loom))]
mod loom_model {
    use super::*;
    use crate::memory::Part;
    use crate::ring::{Consumer, Producer, RingShape};

    #[test]
    fn model_nobody_sleeps_beside_a_full_ring() {
        loom::model(|| {
            let shape = RingShape { slots: 2, slot_words: 1 };
            let ring = Part::private(shape.words());
            let flag = Part::private(1);
            let mut producer = Producer::new(ring.clone(), shape, 0).unwrap();
            let consumer = Consumer::new(ring, shape, 0).unwrap();
            let shared = flag.clone();
            let writer = loom::thread::spawn(move || {
                producer.push(|slot| slot[0].store(1, Relaxed)).unwrap();
                must_ring(&shared[0])
            });
            announce_sleep(&flag[0]);
            let saw = consumer.waiting().unwrap() > 0;
            let rung = writer.join().unwrap();
            assert!(saw || rung, "asleep, not rung, and a record waits");
        });
    }
}
