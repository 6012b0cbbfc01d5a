//! `bench quick`: the outbound and the inbound path at three sizes, half a minute.
use crate::case::{self, Case, Direction};
use crate::engine::Engine;
use crate::environment::{self, Environment};
use crate::floor::Floor;
use crate::path::Path;
use crate::report::{COUNTED, Report, Row};
use anyhow::Result;
use fastpath::crypto::cpu::CpuEngineKind;
use sa::{Encryption, Integrity, Suite};

pub struct Options {
    pub rounds: usize,
    /// Rounds that are run before and not counted.
    pub warm_up: usize,
    pub core: Option<usize>,
}

/// Inner packet lengths: the smallest, the middle, the largest that fits common paths.
const SIZES: [usize; 3] = [64, 512, 1400];

pub fn run(options: &Options) -> Result<Report> {
    let core = environment::pin(options.core);
    let mut environment = Environment::look(core);
    let mut cases = cases()?;
    let cycles = case::measure(&mut cases, options.warm_up, options.rounds)?;
    environment.ticks_per_second = crate::clock::frequency().round();
    let floors: Vec<_> =
        cases.iter().map(|c| c.label().clone()).zip(cycles.iter().map(|c| c.median)).collect();
    let floor = |label: &case::Label| {
        let same = |l: &case::Label| {
            (l.direction, l.bytes, &l.suite) == (label.direction, label.bytes, &label.suite)
        };
        floors.iter().find(|(l, _)| l.mode == "floor" && same(l)).map(|(_, median)| *median)
    };
    let rows = cases.iter().zip(&cycles).map(|(case, cycles)| {
        let label = case.label();
        Row::new(label.clone(), *cycles, floor(label), environment.ticks_per_second)
    });
    let rows = rows.collect();
    Ok(Report { environment, counted: COUNTED, rows })
}

fn cases() -> Result<Vec<Box<dyn Case>>> {
    let gcm = Suite::new(Encryption::Aes128Gcm, Integrity::None)?;
    let cbc = Suite::new(Encryption::Aes128Cbc, Integrity::HmacSha256)?;
    let mut cases: Vec<Box<dyn Case>> = Vec::new();
    for direction in [Direction::Outbound, Direction::Inbound] {
        for (suite, kind) in
            CpuEngineKind::ALL.map(|k| (gcm, k)).into_iter().chain([(cbc, CpuEngineKind::IpsecMb)])
        {
            for bytes in SIZES {
                if let Some(case) = Path::new(kind, suite, direction, bytes)? {
                    cases.push(Box::new(case));
                }
            }
        }
        for bytes in SIZES {
            cases.push(Box::new(Floor::new(gcm.encryption(), direction, bytes)?));
        }
        for (suite, kind) in [gcm, cbc].into_iter().flat_map(|s| CpuEngineKind::ALL.map(|k| (s, k))) {
            for bytes in SIZES {
                if let Some(case) = Engine::new(kind, suite, direction, bytes)? {
                    cases.push(Box::new(case));
                }
            }
        }
    }
    Ok(cases)
}
