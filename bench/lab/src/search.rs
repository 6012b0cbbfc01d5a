//! Finds the highest rate whose loss stays within a bound (RFC 2544 26.1 for a bound of nothing).
//!
//! Bisection over what was tried so far; searches for several bounds share their trials. Loss need not grow with the
//! rate: a rate only counts as found when everything tried below it passed too, and when it passes again.
use serde::{Deserialize, Serialize};

/// What one trial said, as far as the search cares.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Outcome {
    /// Packets a second that were really offered.
    pub offered: f64,
    /// Lost by offered.
    pub loss: f64,
    /// The tester did not keep up with itself: says nothing about the gateway.
    pub tester_limited: bool,
    /// Somebody else had the gateway's CPU for a while.
    pub disturbed: bool,
}

/// What stands above the rate that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Limit {
    /// The gateway loses packets at a higher rate.
    Gateway,
    /// The gateway loses packets at a higher rate, but something else had its CPU then: it may well be faster.
    Disturbance,
    /// The tester cannot offer or take more: the gateway may well be faster.
    Tester,
    /// The highest rate that was asked for passed.
    Asked,
    /// No rate down to the lowest passed.
    Nothing,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Found {
    /// Offered packets a second; 0 when nothing passed.
    pub rate: f64,
    /// The worst among the confirming trials.
    pub loss: f64,
    pub limit: Limit,
    /// The lowest rate above that did not pass; what lies between is not known.
    pub above: Option<f64>,
}

#[derive(Clone, Copy, Debug)]
pub struct Rules {
    pub max: f64,
    /// Where to look first; the gateway's rate under overload is a good guess.
    pub guess: f64,
    /// Stop when the bounds are so close, relative to the upper one.
    pub resolution: f64,
    /// How many more times a failed trial is repeated when it was disturbed.
    pub retries: u32,
    /// Trials at the found rate that all must pass.
    pub confirm: u32,
}

pub struct Search<F> {
    rules: Rules,
    attempt: F,
    tried: Vec<Tried>,
}
#[derive(Clone, Copy, Debug)]
struct Tried {
    rate: f64,
    outcome: Outcome,
}

impl<F, E> Search<F>
where
    F: FnMut(f64) -> Result<Outcome, E>,
{
    pub fn new(rules: Rules, attempt: F) -> Self {
        Self { rules, attempt, tried: Vec::new() }
    }

    pub fn find(&mut self, bound: f64) -> Result<Found, E> {
        loop {
            let (low, high) = self.bracket(bound);
            let Some(rate) = self.next_rate(low, high) else {
                let Some(low) = low else { return Ok(self.found(None, bound)) };
                if self.confirm(low, bound)? {
                    return Ok(self.found(Some(low), bound));
                }
                continue;
            };
            self.attempt_at(rate, bound)?;
        }
    }

    /// Highest rate that passed below every rate that failed, and the lowest that failed.
    fn bracket(&self, bound: f64) -> (Option<f64>, Option<f64>) {
        let passed = |t: &&Tried| !t.outcome.tester_limited && t.outcome.loss <= bound;
        let rates = |fits: &dyn Fn(&&Tried) -> bool| -> Vec<f64> {
            self.tried.iter().filter(fits).map(|t| t.rate).collect()
        };
        let high = rates(&|t| !passed(t)).into_iter().reduce(f64::min);
        let low = rates(&|t| passed(t) && high.is_none_or(|high| t.rate < high)).into_iter().reduce(f64::max);
        (low, high)
    }
    fn next_rate(&self, low: Option<f64>, high: Option<f64>) -> Option<f64> {
        let Rules { max, guess, resolution, .. } = self.rules;
        match (low, high) {
            (None, None) => Some(guess.min(max)),
            (Some(low), None) if low >= max => None,
            (Some(low), None) => Some((low * 1.25).min(max)),
            // Halving finds the magnitude soon; a thousandth of the guess is as good as nothing.
            (None, Some(high)) => Some(high / 2.0).filter(|rate| *rate > guess.min(max) / 1000.0),
            (Some(low), Some(high)) => Some((low + high) / 2.0).filter(|_| high - low > resolution * high),
        }
    }
    fn attempt_at(&mut self, rate: f64, bound: f64) -> Result<Outcome, E> {
        let mut outcome = (self.attempt)(rate)?;
        for _ in 0..self.rules.retries {
            let failed = outcome.tester_limited || outcome.loss > bound;
            if !(failed && outcome.disturbed) {
                break;
            }
            outcome = (self.attempt)(rate)?;
        }
        self.tried.push(Tried { rate, outcome });
        Ok(outcome)
    }
    fn confirm(&mut self, rate: f64, bound: f64) -> Result<bool, E> {
        let trials = |this: &Self| this.tried.iter().filter(|t| t.rate == rate).count() as u32;
        while trials(self) < self.rules.confirm {
            let outcome = self.attempt_at(rate, bound)?;
            if outcome.tester_limited || outcome.loss > bound {
                return Ok(false);
            }
        }
        Ok(true)
    }
    fn found(&self, rate: Option<f64>, bound: f64) -> Found {
        let (_, above) = self.bracket(bound);
        let why = |above: f64| match self.tried.iter().find(|t| t.rate == above) {
            Some(t) if t.outcome.tester_limited => Limit::Tester,
            Some(t) if t.outcome.disturbed => Limit::Disturbance,
            _ => Limit::Gateway,
        };
        let Some(rate) = rate else {
            let limit = if above.map(why) == Some(Limit::Tester) { Limit::Tester } else { Limit::Nothing };
            return Found { rate: 0.0, loss: 0.0, limit, above };
        };
        let at: Vec<&Outcome> = self.tried.iter().filter(|t| t.rate == rate).map(|t| &t.outcome).collect();
        let offered = at.iter().map(|o| o.offered).sum::<f64>() / at.len().max(1) as f64;
        let loss = at.iter().map(|o| o.loss).fold(0.0, f64::max);
        Found { rate: offered, loss, limit: above.map_or(Limit::Asked, why), above }
    }
}

/// The longest burst that passes, by bisection over lengths; each length has to pass `confirm` times.
pub fn longest<E>(max: u64, confirm: u32, mut passes: impl FnMut(u64) -> Result<bool, E>) -> Result<u64, E> {
    let mut all = |length| {
        for _ in 0..confirm.max(1) {
            if !passes(length)? {
                return Ok(false);
            }
        }
        Ok(true)
    };
    if all(max)? {
        return Ok(max);
    }
    let (mut low, mut high) = (0, max);
    while high - low > 1 + high / 200 {
        let middle = low + (high - low) / 2;
        if all(middle)? { low = middle } else { high = middle }
    }
    Ok(low)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::convert::Infallible;

    const RULES: Rules = Rules { max: 10e6, guess: 2e6, resolution: 0.005, retries: 3, confirm: 3 };
    fn outcome(offered: f64, loss: f64) -> Outcome {
        Outcome { offered, loss, tester_limited: false, disturbed: false }
    }
    /// Loses everything above its capacity.
    fn plain(capacity: f64) -> impl FnMut(f64) -> Result<Outcome, Infallible> {
        move |rate| Ok(outcome(rate, (1.0 - capacity / rate).max(0.0)))
    }
    fn find(bound: f64, dut: impl FnMut(f64) -> Result<Outcome, Infallible>) -> Found {
        Search::new(RULES, dut).find(bound).expect("infallible")
    }

    proptest! {
        #[test]
        fn the_capacity_is_found_whatever_the_guess(capacity in 5e3f64..9e6, bound in prop_oneof![Just(0.0), Just(0.001), 0.0f64..0.1]) {
            let found = find(bound, plain(capacity));
            let right = (capacity / (1.0 - bound)).min(RULES.max);
            prop_assert!(found.rate <= right * 1.000_001, "{found:?} above {right}");
            prop_assert!(found.rate >= right * (1.0 - 2.0 * RULES.resolution), "{found:?} below {right}");
            prop_assert!(found.loss <= bound);
            prop_assert_eq!(found.limit, Limit::Gateway);
        }
        /// A loss at some rate below the capacity is believed.
        #[test]
        fn a_hole_below_the_capacity_is_not_jumped_over(hole in 1e6f64..2.9e6) {
            let dut = |rate: f64| {
                let in_hole = (hole..hole * 1.3).contains(&rate);
                Ok::<_, Infallible>(outcome(rate, if in_hole || rate > 4e6 { 0.1 } else { 0.0 }))
            };
            let mut tried = Vec::new();
            let mut search = Search::new(RULES, |rate| { tried.push(rate); dut(rate) });
            let found = search.find(0.0).expect("infallible");
            drop(search);
            let failed_below = tried.iter().any(|r| *r < found.rate && dut(*r).expect("infallible").loss > 0.0);
            prop_assert!(!failed_below, "{found:?} although a lower rate lost packets");
        }
    }
    #[test]
    fn searches_share_their_trials() {
        let mut trials = 0;
        let mut dut = plain(3e6);
        let mut search = Search::new(RULES, |rate| {
            trials += 1;
            dut(rate)
        });
        let none = search.find(0.0).expect("infallible");
        let some = search.find(0.01).expect("infallible");
        drop(search);
        assert!(some.rate > none.rate * 1.004, "{none:?} {some:?}");
        assert!(trials < 30, "{trials} trials");
    }
    #[test]
    fn what_the_tester_cannot_do_is_not_the_gateways_rate() {
        let dut = |rate: f64| Ok(Outcome { tester_limited: rate > 1.5e6, ..outcome(rate.min(1.5e6), 0.0) });
        let found = find(0.0, dut);
        assert_eq!(found.limit, Limit::Tester);
        assert!(found.rate <= 1.5e6 && found.rate > 1.47e6, "{found:?}");
    }
    #[test]
    fn a_gateway_faster_than_asked_and_one_that_passes_nothing() {
        let found = find(0.0, plain(1e9));
        assert_eq!((found.limit, found.rate, found.above), (Limit::Asked, RULES.max, None));
        let found = find(0.0, |rate| Ok(outcome(rate, 1.0)));
        assert_eq!((found.limit, found.rate), (Limit::Nothing, 0.0));
    }
    #[test]
    fn a_disturbed_failure_is_tried_again_and_a_plain_one_is_not() {
        for (disturbed, expected) in [(true, true), (false, false)] {
            let mut fails = 3;
            let mut dut = plain(3e6);
            let found = find(0.0, |rate| {
                let good = dut(rate)?;
                if fails > 0 && good.loss == 0.0 {
                    fails -= 1;
                    return Ok(Outcome { loss: 0.01, disturbed, ..good });
                }
                Ok(good)
            });
            assert_eq!(found.rate > 2.9e6, expected, "{found:?}");
        }
    }
    #[test]
    fn a_rate_that_does_not_pass_again_is_given_up() {
        let mut trials = 0;
        let found = find(0.0, |rate| {
            trials += 1;
            // Every fifth trial above half a million loses something.
            Ok(outcome(rate, if rate > 3e6 || rate > 5e5 && trials % 5 == 0 { 0.001 } else { 0.0 }))
        });
        assert!(found.rate < 3e6 && found.rate > 0.0, "{found:?}");
        assert_eq!(found.loss, 0.0);
    }
    #[test]
    fn the_longest_burst() {
        for capacity in [0u64, 1, 1024, 5000, 99_999, 100_000, 200_000] {
            let found = longest(100_000, 2, |n| Ok::<_, Infallible>(n <= capacity)).expect("infallible");
            assert!(
                found <= capacity && found as f64 >= capacity.min(100_000) as f64 * 0.994 - 1.0,
                "{found} of {capacity}"
            );
        }
    }
}
