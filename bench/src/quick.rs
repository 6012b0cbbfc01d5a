//! `bench quick`: the outbound and the inbound path at three sizes, half a minute.
use crate::case::{self, BUFFERS, Case, Direction};
use crate::engine::Engine;
use crate::environment::{self, Environment};
use crate::floor::Floor;
use crate::path::{Load, Path};
use crate::report::{COUNTED, Report, Row};
use anyhow::{Result, ensure};
use fastpath::crypto::cpu::CpuEngineKind;
use sa::{Encryption, Integrity, Suite};

pub struct Options {
    pub rounds: usize,
    /// Rounds that are run before and not counted.
    pub warm_up: usize,
    /// Also with many SAs and many buffers.
    pub loads: bool,
    /// Measures only cases whose name holds this.
    pub only: String,
    pub core: Option<usize>,
}

/// Inner packet lengths: the smallest, the middle, the largest that fits common paths.
const SIZES: [usize; 3] = [64, 512, 1400];

/// All in the nearest caches.
const NEAR: Load = Load { sas: 1, buffers: BUFFERS };
/// For the first engine of the list.
const LOADS: [Load; 4] = [
    Load { sas: 1, buffers: 4096 },
    Load { sas: 1000, buffers: 4096 },
    Load { sas: 10_000, buffers: 4096 },
    Load { sas: 10_000, buffers: 16_384 },
];

pub fn run(options: &Options) -> Result<Report> {
    let core = environment::pin(options.core);
    let mut environment = Environment::look(core);
    let mut cases = cases(if options.loads { &LOADS } else { &[] })?;
    cases.retain(|case| case.label().name().contains(&options.only));
    ensure!(!cases.is_empty(), "no row is named like `{}`", options.only);
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

fn cases(loads: &[Load]) -> Result<Vec<Box<dyn Case>>> {
    let gcm = Suite::new(Encryption::Aes128Gcm, Integrity::None)?;
    let cbc = Suite::new(Encryption::Aes128Cbc, Integrity::HmacSha256)?;
    let mut cases: Vec<Box<dyn Case>> = Vec::new();
    for direction in [Direction::Outbound, Direction::Inbound] {
        for (suite, kind) in
            CpuEngineKind::ALL.map(|k| (gcm, k)).into_iter().chain([(cbc, CpuEngineKind::IpsecMb)])
        {
            for bytes in SIZES {
                if let Some(case) = Path::new(kind, suite, direction, bytes, NEAR)? {
                    cases.push(Box::new(case));
                }
            }
        }
        for &load in loads {
            for bytes in SIZES {
                if let Some(case) = Path::new(CpuEngineKind::ALL[0], gcm, direction, bytes, load)? {
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
