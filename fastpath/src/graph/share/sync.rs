//! What the hand-over is made of. A model checker puts its own in the place of these (`tests/handover_model.rs`).
pub use std::sync::atomic::{AtomicU64, Ordering};
pub use std::sync::{Arc, Mutex};

/// Turns of waiting before the CPU is offered to others. Whoever is waited for runs on a CPU of its own and is done in
/// microseconds; should it have lost that CPU, spinning would not bring it back.
const SPIN: u32 = 1 << 14;

/// One wait, from its beginning.
#[derive(Debug, Default)]
pub struct Wait(u32);
impl Wait {
    pub fn turn(&mut self) {
        self.0 = self.0.saturating_add(1);
        if self.0 < SPIN { std::hint::spin_loop() } else { std::thread::yield_now() }
    }
}
