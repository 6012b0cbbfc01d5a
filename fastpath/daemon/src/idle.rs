//! What a polling loop does when nothing came: spin, yield, then sleep longer and longer.
//!
//! One packet ends all of it. The longest sleep bounds what idling adds to a packet's latency, on top of what the
//! kernel takes to wake a thread; a shorter silence adds less, since sleeps begin short.
use config::model::Idle;
use std::num::NonZeroU64;
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
    /// Whether the kernel was asked to wake this thread on time: it adds 50 µs to each sleep unless told not to.
    on_time: bool,
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
        Self { max_sleep, empty: 0, on_time: false }
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
            Step::Sleep(time) => {
                if !std::mem::replace(&mut self.on_time, true)
                    && let Err(error) = rustix::thread::set_current_timer_slack(NonZeroU64::new(1))
                {
                    tracing::warn!(
                        "idle sleeps may last 50 µs longer than system.idle-max-sleep says: {error}"
                    );
                }
                std::thread::sleep(time);
            }
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
    /// Plays a queue that is polled and a packet that comes `after` the last one, in time of its own: how long the packet
    /// has waited when it is seen, beyond the poll that was under way.
    fn waited(max: Duration, after: Duration) -> Duration {
        const POLL: Duration = Duration::from_nanos(100);
        let mut backoff = Backoff::new(Idle::Adaptive { max_sleep: max });
        let (mut now, mut slept) = (Duration::ZERO, Duration::ZERO);
        loop {
            now += POLL;
            if now - POLL >= after {
                // It came while the loop slept, or while it polled.
                return slept.min(now - POLL - after);
            }
            slept = match backoff.step(false) {
                Step::Spin | Step::Yield => Duration::ZERO,
                Step::Sleep(time) => time,
            };
            now += slept;
        }
    }
    #[test]
    fn a_packet_after_silence_waits_no_longer_than_the_setting_and_no_longer_than_the_silence() {
        for max in [1, 5, 50, 200, 100_000].map(Duration::from_micros) {
            let mut worst = Duration::ZERO;
            // Silences from a microsecond to 80 milliseconds, at every phase of the sleeps.
            for step in 0..330u32 {
                let after = Duration::from_nanos(1000 + (1.0366f64.powf(f64::from(step)) * 577.0) as u64);
                let waited = waited(max, after);
                assert!(waited <= max, "{waited:?} after {after:?} of silence, with {max:?} allowed");
                assert!(waited <= after, "{waited:?} after {after:?} of silence");
                worst = worst.max(waited);
            }
            assert!(
                worst * 2 > max.min(Duration::from_millis(5)),
                "the setting is used: {worst:?} of {max:?}"
            );
        }
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
