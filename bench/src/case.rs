//! What is measured, and how: all cases take turns, round after round, so that a slow second of the machine hits
//! all of them.
use crate::clock;
use anyhow::{Context, Result};
use hdrhistogram::Histogram;
use serde::Serialize;

/// Packets of one sample, unless its label says otherwise: enough to be typical, few enough to stay in the cache.
pub const BUFFERS: usize = 512;
/// Packets handed over at once.
pub const BURST: usize = 32;

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    Out,
    In,
}
impl Direction {
    pub const BOTH: [Self; 2] = [Self::Out, Self::In];
    pub const fn name(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
        }
    }
}

/// What a row of the report is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize)]
pub struct Label {
    pub direction: Direction,
    pub suite: String,
    pub engine: String,
    /// `tunnel-ipv4`: the whole path. `engine`: seal or open alone. `floor`: the library's call alone.
    pub mode: &'static str,
    pub sas: usize,
    pub policies: usize,
    pub workers: usize,
    /// Packets of a sample, each in a buffer of its own: 512 stay near, 16 thousand do not.
    pub buffers: usize,
    /// `hit`: packets of known flows. `miss`: each is the first of its flow. `none`: nothing is looked up.
    pub lookup: &'static str,
    /// Length of the inner IP packet.
    pub bytes: usize,
}

impl Label {
    /// `direction/suite/engine/mode/bytes/sas/policies/lookup/buffers`.
    pub fn name(&self) -> String {
        let Self { direction, suite, engine, mode, sas, policies, lookup, buffers, bytes, .. } = self;
        let direction = direction.name();
        format!("{direction}/{suite}/{engine}/{mode}/{bytes}/{sas}/{policies}/{lookup}/{buffers}/")
    }
}

/// Samples of a case that follow each other: the first ones bring the caches to where they are under steady traffic,
/// other cases having had them since the last turn.
#[derive(Clone, Copy, Debug)]
pub struct Turn {
    pub untimed: usize,
    pub timed: usize,
}

pub trait Case {
    fn label(&self) -> &Label;
    /// Every other sample is taken with the stages measured, and counted apart.
    fn has_stages(&self) -> bool {
        false
    }
    /// From the next sample on.
    fn measure_stages(&mut self, _on: bool) {}
    /// What each stage took, in cycles per packet.
    fn stages(&self) -> Vec<(&'static str, f64)> {
        Vec::new()
    }
    fn turn(&self) -> Turn {
        Turn { untimed: 1, timed: 3 }
    }
    /// Makes all packets of the sample ready. Not timed.
    fn prepare(&mut self) -> Result<()>;
    /// Works them all off, once.
    fn run(&mut self);
    /// Whether what `run` left behind is right. Not timed.
    fn check(&mut self) -> Result<()>;
}

/// Cycles per packet over all rounds.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Cycles {
    pub p10: f64,
    pub median: f64,
    pub p90: f64,
    /// What the slowest samples took: interrupts, and others on the same core.
    pub p99: f64,
}

/// What came of a case.
#[derive(Clone, Copy, Debug)]
pub struct Measured {
    pub cycles: Cycles,
    /// While the stages were measured as well.
    pub with_stages: Option<Cycles>,
}

/// Measures all cases, interleaved. Every sample is checked. `progress` is told after each turn.
pub fn measure(
    cases: &mut [Box<dyn Case>],
    warm_up: usize,
    rounds: usize,
    mut progress: impl FnMut(&Label),
) -> Result<Vec<Measured>> {
    let all = |n: usize| (0..n).map(|_| Samples::new()).collect::<Result<Vec<_>>>();
    let (mut samples, mut staged) = (all(cases.len())?, all(cases.len())?);
    for round in 0..warm_up + rounds {
        for turn in 0..cases.len() {
            // Another one begins each time, so that nobody always runs in another's wake.
            let at = (turn + round) % cases.len();
            let case = &mut cases[at];
            let Turn { untimed, timed } = case.turn();
            let timed = if case.has_stages() { 2 * timed } else { timed };
            for sample in 0..untimed + timed {
                let stages = case.has_stages() && sample >= untimed && (sample + round) % 2 == 0;
                case.measure_stages(stages);
                case.prepare()?;
                let from = clock::now();
                case.run();
                let took = clock::now() - from;
                case.check().with_context(|| case.label().name())?;
                if round >= warm_up && sample >= untimed {
                    let into = if stages { &mut staged } else { &mut samples };
                    into[at].add(took as f64 / case.label().buffers as f64)?;
                }
            }
            progress(case.label());
        }
    }
    let measured = samples.iter().zip(&staged).zip(cases).map(|((samples, staged), case)| Measured {
        cycles: samples.cycles(),
        with_stages: case.has_stages().then(|| staged.cycles()),
    });
    Ok(measured.collect())
}

/// All samples of a case, in hundredths of a cycle per packet.
struct Samples(Histogram<u64>);
impl Samples {
    const UNIT: f64 = 100.0;

    fn new() -> Result<Self> {
        // Four digits: exact to a hundredth up to 327 cycles, to a tenth of a thousandth beyond.
        Ok(Self(Histogram::new(4)?))
    }
    fn add(&mut self, cycles: f64) -> Result<()> {
        // Grows as far as it has to; a sample is never cut.
        Ok(self.0.record((cycles * Self::UNIT).round() as u64)?)
    }
    fn cycles(&self) -> Cycles {
        let at = |quantile| self.0.value_at_quantile(quantile) as f64 / Self::UNIT;
        Cycles { p10: at(0.1), median: at(0.5), p90: at(0.9), p99: at(0.99) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cycles(samples: impl Iterator<Item = f64>) -> Cycles {
        let mut all = Samples::new().unwrap();
        samples.for_each(|sample| all.add(sample).unwrap());
        all.cycles()
    }
    #[test]
    fn quantiles_are_those_of_the_sorted_samples() {
        let c = cycles((1..=100).rev().map(f64::from));
        assert_eq!((c.p10, c.median, c.p90, c.p99), (10.0, 50.0, 90.0, 99.0));
        let one = cycles([7.25].into_iter());
        assert_eq!((one.p10, one.median, one.p90, one.p99), (7.25, 7.25, 7.25, 7.25));
    }

    struct Counting(Label, usize, usize);
    impl Case for Counting {
        fn label(&self) -> &Label {
            &self.0
        }
        fn prepare(&mut self) -> Result<()> {
            self.1 += 1;
            Ok(())
        }
        fn run(&mut self) {
            self.2 += 1;
        }
        fn check(&mut self) -> Result<()> {
            anyhow::ensure!(self.1 == self.2 && self.2 < 13, "run {} of {}", self.2, self.1);
            Ok(())
        }
    }
    #[test]
    fn a_sample_that_is_wrong_ends_the_run() {
        let label = Label {
            direction: Direction::In,
            suite: String::new(),
            engine: String::new(),
            mode: "floor",
            sas: 1,
            policies: 1,
            workers: 1,
            buffers: BUFFERS,
            lookup: "none",
            bytes: 64,
        };
        let mut cases: Vec<Box<dyn Case>> =
            vec![Box::new(Counting(label.clone(), 0, 0)), Box::new(Counting(label, 0, 0))];
        let mut turns = 0;
        assert_eq!(measure(&mut cases, 1, 2, |_| turns += 1).unwrap().len(), 2);
        assert_eq!(turns, 6);
        assert!(measure(&mut cases, 0, 1, |_| ()).is_err());
    }
}
