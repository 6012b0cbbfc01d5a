//! The automatic choice of an engine for each suite, when the configuration names none.
//!
//! Which engine is the fastest cannot be told from a list of CPU features: libipsec-mb's AES-GCM beats ours where
//! it has 512-bit code and loses where it has not, its ChaCha20 loses to `ring` on one CPU and wins on another. So the
//! AEADs are measured once, at the start, for some milliseconds: the least of several passes over a burst of packets of
//! three sizes, in both directions, all engines taking turns. The static order of [`CpuEngineKind::ALL`] stands unless it
//! is beaten clearly, so that noise does not decide.
//!
//! Suites of a cipher and a hash are not measured. Two engines have them, and `ipsec-mb`, many packets side by
//! side, is ahead of `rustcrypto` in all of them wherever it runs.
use super::cpu::{CpuCrypto, CpuEngineKind, EngineError, EspOp, KeyRecord};
use sa::{Direction, Suite};
use std::fmt;
use std::time::{Duration, Instant};

/// Inner lengths that are measured.
const SIZES: [usize; 3] = [64, 512, 1400];
/// Packets of a pass: long enough for the clock, short enough for the nearest caches.
const BURST: usize = 64;
const PASSES: usize = 7;
/// No more passes for a suite after so long, but these at least: a slow machine starts late, not much later.
const ENOUGH: Duration = Duration::from_millis(20);
const LEAST_PASSES: usize = 3;
/// An engine behind another in the static order must be this much better where it is best.
const HYSTERESIS: f64 = 1.05;

/// Times of both directions at each size.
type Times = [[Duration; 2]; SIZES.len()];

/// The engine of one suite.
#[derive(Clone, Debug, PartialEq)]
pub struct Pick {
    pub suite: Suite,
    pub engine: CpuEngineKind,
    /// What others need for the same, as multiples of the time of `engine`, at each size. Empty: nothing was measured.
    pub others: Vec<(CpuEngineKind, [f64; SIZES.len()])>,
}

/// What was found at the start of this process.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Automatic {
    present: Vec<CpuEngineKind>,
    picks: Vec<Pick>,
}

impl Automatic {
    /// Takes some milliseconds. The errors say which engines this machine lacks.
    pub fn measure() -> (Self, Vec<EngineError>) {
        let (mut engines, mut absent) = (Vec::new(), Vec::new());
        for kind in CpuEngineKind::ALL {
            match CpuCrypto::new(kind) {
                Ok(crypto) => engines.push((kind, crypto)),
                Err(error) => absent.push(error),
            }
        }
        let picks = Suite::all().filter_map(|suite| pick(suite, &mut engines)).collect();
        let present = engines.into_iter().map(|(kind, _)| kind).collect();
        (Self { present, picks }, absent)
    }
    /// The engines that are here, in the static order.
    pub fn present(&self) -> &[CpuEngineKind] {
        &self.present
    }
    pub fn engine(&self, suite: Suite) -> Option<CpuEngineKind> {
        self.picks.iter().find(|pick| pick.suite == suite).map(|pick| pick.engine)
    }
    pub fn picks(&self) -> &[Pick] {
        &self.picks
    }
    /// An order for explicit use in which `suite` runs on its pick.
    pub fn order(&self, suite: Suite) -> Vec<CpuEngineKind> {
        let first = self.engine(suite);
        first.into_iter().chain(self.present.iter().copied().filter(|kind| Some(*kind) != first)).collect()
    }
}

fn pick(suite: Suite, engines: &mut [(CpuEngineKind, CpuCrypto)]) -> Option<Pick> {
    let mut here: Vec<_> = engines.iter_mut().filter(|(kind, _)| kind.supports(suite)).collect();
    // RustCrypto is the last resort: it is measured nowhere, and not taken while there is another.
    if here.len() > 1 {
        here.retain(|(kind, _)| *kind != CpuEngineKind::RustCrypto);
    }
    if let [(kind, _)] = &here[..] {
        return Some(Pick { suite, engine: *kind, others: Vec::new() });
    }
    let mut lanes: Vec<_> =
        here.into_iter().filter_map(|(kind, crypto)| Some((*kind, Lane::new(crypto, suite)?))).collect();
    let from = Instant::now();
    for pass in 0..PASSES {
        if pass >= LEAST_PASSES && from.elapsed() > ENOUGH {
            break;
        }
        for at in 0..SIZES.len() {
            for (_, lane) in &mut lanes {
                lane.pass(at);
            }
        }
    }
    let times: Vec<_> =
        lanes.iter().filter(|(_, lane)| lane.right).map(|(kind, lane)| (*kind, lane.best)).collect();
    let engine = choose(&times)?;
    let own = times.iter().find(|(kind, _)| *kind == engine)?.1;
    let others = times.iter().filter(|(kind, _)| *kind != engine);
    let others =
        others.map(|(kind, theirs)| (*kind, std::array::from_fn(|at| sum(theirs, at) / sum(&own, at))));
    Some(Pick { suite, engine, others: others.collect() })
}
fn sum(times: &Times, at: usize) -> f64 {
    times[at].iter().sum::<Duration>().as_secs_f64()
}

/// The first that is nowhere more than the hysteresis behind the best; if there is none, the one that is never far
/// behind.
fn choose(times: &[(CpuEngineKind, Times)]) -> Option<CpuEngineKind> {
    let worst = |own: &Times| {
        let mut worst: f64 = 1.0;
        for at in 0..SIZES.len() {
            for direction in 0..2 {
                let best = times.iter().map(|(_, t)| t[at][direction]).min().unwrap_or_default();
                worst = worst.max(own[at][direction].as_secs_f64() / best.as_secs_f64().max(1e-9));
            }
        }
        worst
    };
    let regrets: Vec<_> = times.iter().map(|(kind, own)| (*kind, worst(own))).collect();
    let least = regrets.iter().map(|(_, worst)| *worst).fold(f64::INFINITY, f64::min);
    let near = regrets.iter().find(|(_, worst)| *worst <= least.max(1.0) * HYSTERESIS);
    near.map(|(kind, _)| *kind)
}

/// One engine with its keys and packets of one suite.
struct Lane<'e> {
    crypto: &'e mut CpuCrypto,
    keys: [KeyRecord; 2],
    packets: Vec<Vec<u8>>,
    best: Times,
    right: bool,
}
impl<'e> Lane<'e> {
    fn new(crypto: &'e mut CpuCrypto, suite: Suite) -> Option<Self> {
        // No secrets: nothing that is sealed here leaves.
        let (enc, integ) = (suite.encryption(), suite.integrity());
        let bytes = |len: usize| (0..len as u8).collect::<Vec<_>>();
        let (enc_key, salt, integ_key) =
            (bytes(enc.key_len()), bytes(suite.salt_len()), bytes(integ.key_len()));
        let key = |direction| crypto.new_key(suite, direction, &enc_key, &salt, &integ_key).ok();
        let keys = [key(Direction::Outbound)?, key(Direction::Inbound)?];
        let longest = SIZES.into_iter().map(|size| esp_len(suite, size)).max()?;
        let packets = vec![vec![0; longest]; BURST];
        Some(Self { crypto, keys, packets, best: [[Duration::MAX; 2]; SIZES.len()], right: true })
    }
    /// Seals a burst and opens it again.
    fn pass(&mut self, at: usize) {
        let Self { crypto, keys: [outbound, inbound], packets, best, right } = self;
        let len = esp_len(outbound.suite(), SIZES[at]);
        for (direction, key) in [&*outbound, inbound].into_iter().enumerate() {
            let packets = packets.iter_mut().filter_map(|packet| packet.get_mut(..len));
            let mut ops: Vec<_> = packets.map(|esp| EspOp { key, esp, seq_high: None, ok: false }).collect();
            let from = Instant::now();
            match direction {
                0 => crypto.seal(&mut ops),
                _ => crypto.open(&mut ops),
            }
            let took = from.elapsed();
            best[at][direction] = best[at][direction].min(took);
            *right &= ops.iter().all(|op| op.ok);
        }
    }
}
/// From SPI to ICV.
fn esp_len(suite: Suite, inner: usize) -> usize {
    let text = (inner + 2).next_multiple_of(suite.encryption().pad_to());
    8 + suite.iv_len() + text + suite.icv_len()
}

impl fmt::Display for Pick {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} runs on {}", self.suite, self.engine)?;
        for (at, (kind, [small, middle, large])) in self.others.iter().enumerate() {
            f.write_str(if at == 0 { ": measured, " } else { ", " })?;
            write!(f, "{kind} takes {small:.2}, {middle:.2}, {large:.2} times as long")?;
        }
        if self.others.is_empty() {
            return Ok(());
        }
        let [small, middle, large] = SIZES;
        write!(f, " at {small}, {middle}, {large} bytes")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use CpuEngineKind::{IpsecMb, Native, Ring};

    fn times(nanos: [[u64; 2]; 3]) -> Times {
        nanos.map(|both| both.map(Duration::from_nanos))
    }
    fn same(nanos: u64) -> Times {
        times([[nanos; 2]; 3])
    }

    #[test]
    fn the_static_order_stands_unless_it_is_clearly_beaten() {
        assert_eq!(choose(&[(Native, same(104)), (IpsecMb, same(100))]), Some(Native));
        assert_eq!(choose(&[(Native, same(106)), (IpsecMb, same(100))]), Some(IpsecMb));
        assert_eq!(choose(&[(Native, same(100)), (IpsecMb, same(90)), (Ring, same(89))]), Some(IpsecMb));
        assert_eq!(choose(&[]), None);
    }
    #[test]
    fn one_bad_size_or_direction_counts() {
        let bad = times([[100, 100], [100, 100], [100, 150]]);
        assert_eq!(choose(&[(Native, bad), (Ring, same(101))]), Some(Ring));
        // Nobody is best everywhere: the one that is never far behind.
        let small = times([[100, 100], [100, 100], [200, 200]]);
        let large = times([[120, 120], [100, 100], [100, 100]]);
        assert_eq!(choose(&[(IpsecMb, small), (Ring, large)]), Some(Ring));
    }
    #[test]
    fn every_suite_has_an_engine_that_knows_it_and_is_here() {
        let (automatic, absent) = Automatic::measure();
        assert_eq!(automatic.present().len() + absent.len(), CpuEngineKind::ALL.len());
        for suite in Suite::all() {
            let engine = automatic.engine(suite).unwrap_or_else(|| panic!("{suite} has no engine"));
            assert!(engine.supports(suite) && automatic.present().contains(&engine), "{suite} on {engine}");
            let order = automatic.order(suite);
            assert_eq!(CpuCrypto::with_order(&order).map(|c| c.supports(suite)), Ok(true));
            assert_eq!((order[0], order.len()), (engine, automatic.present().len()));
        }
        assert_eq!(automatic.picks().len(), Suite::all().count());
    }
}
