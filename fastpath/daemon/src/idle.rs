//! What a polling loop does when nothing came: spin, yield, then sleep longer and longer.
//!
//! One packet ends all of it. The longest sleep bounds what idling adds to a packet's latency.
use config::model::Idle;
use std::time::Duration;

/// Empty polls before the CPU is offered to others.
const SPIN: u32 = 64;
/// Empty polls before the first sleep.
const YIELD: u32 = 128;
const FIRST_SLEEP: Duration = Duration::from_micros(2);

#[derive(Debug)]
pub struct Backoff {
    max_sleep: Option<Duration>,
    empty: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Spin,
    Yield,
    Sleep(Duration),
}

impl Backoff {
    pub fn new(idle: Idle) -> Self {
        let max_sleep = match idle {
            Idle::Poll => None,
            Idle::Adaptive { max_sleep } => Some(max_sleep),
        };
        Self { max_sleep, empty: 0 }
    }
    /// Decides, without doing it.
    pub fn step(&mut self, worked: bool) -> Step {
        let Some(max) = self.max_sleep else { return Step::Spin };
        if worked {
            self.empty = 0;
            return Step::Spin;
        }
        self.empty = self.empty.saturating_add(1);
        match self.empty {
            n if n < SPIN => Step::Spin,
            n if n < YIELD => Step::Yield,
            // Twice as long every 16 empty polls.
            n => Step::Sleep(FIRST_SLEEP.saturating_mul(1 << ((n - YIELD) / 16).min(20)).min(max)),
        }
    }
    pub fn after(&mut self, worked: bool) {
        match self.step(worked) {
            Step::Spin => std::hint::spin_loop(),
            Step::Yield => std::thread::yield_now(),
            Step::Sleep(time) => std::thread::sleep(time),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_polling_loop_never_sleeps() {
        let mut backoff = Backoff::new(Idle::Poll);
        assert!((0..10_000).all(|_| backoff.step(false) == Step::Spin));
    }
    #[test]
    fn sleep_grows_to_its_bound_and_one_packet_ends_it() {
        let max = Duration::from_micros(500);
        let mut backoff = Backoff::new(Idle::Adaptive { max_sleep: max });
        let steps: Vec<_> = (0..2_000).map(|_| backoff.step(false)).collect();
        assert_eq!(steps[0], Step::Spin);
        assert!(steps.contains(&Step::Yield));
        assert_eq!(steps[1_999], Step::Sleep(max));
        let sleeps: Vec<_> =
            steps.iter().filter_map(|s| if let Step::Sleep(t) = s { Some(*t) } else { None }).collect();
        assert!(sleeps.is_sorted());
        assert_eq!(backoff.step(true), Step::Spin);
        assert_eq!(backoff.step(false), Step::Spin);
    }
}
