//! Which rows a run has, and how they are measured: the tables they need are made once for all of them.
use crate::case::{self, BUFFERS, Case, Direction, Label, Measured};
use crate::engine::Engine;
use crate::environment::{self, Environment, Tables};
use crate::floor::Floor;
use crate::path::{Buffers, Load, Path};
use crate::report::{Report, Row};
use crate::world::{Pair, Setup};
use crate::{clock, targets};
use anyhow::{Context, Result, ensure};
use fastpath::crypto::{Automatic, CpuEngineKind};
use indicatif::{ProgressBar, ProgressStyle};
use sa::{Encryption, Integrity, Suite};
use std::cell::RefCell;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::Instant;

/// Inner packet lengths: the smallest, the middle, the largest that fits common paths.
pub const SIZES: [usize; 3] = [64, 512, 1400];
/// Those rows are known by: AES-GCM with both key lengths, the most common chained suite, ChaCha20.
pub const SUITES: [(Encryption, Integrity); 4] = [
    (Encryption::Aes128Gcm, Integrity::None),
    (Encryption::Aes256Gcm, Integrity::None),
    (Encryption::Aes128Cbc, Integrity::HmacSha256),
    (Encryption::ChaCha20Poly1305, Integrity::None),
];

pub fn suites() -> Result<Vec<Suite>> {
    SUITES.into_iter().map(|(enc, int)| Ok(Suite::new(enc, int)?)).collect()
}
/// `aes-128-gcm`, or cipher and hash as in `aes-128-cbc/sha256`.
pub fn suite(name: &str) -> Result<Suite> {
    let (enc, int) = name.split_once('/').unwrap_or((name, "null"));
    let enc = Encryption::from_name(enc).with_context(|| {
        let known: Vec<_> = Encryption::ALL.map(Encryption::name).to_vec();
        format!("`{enc}` is no cipher; there are {}", known.join(", "))
    })?;
    let int = Integrity::from_name(int).with_context(|| {
        let known: Vec<_> = Integrity::ALL.map(Integrity::name).to_vec();
        format!("`{int}` is no integrity algorithm; there are {}", known.join(", "))
    })?;
    Ok(Suite::new(enc, int)?)
}

/// The engines that run here, the one first that a gateway takes for this suite unless its configuration names some.
pub fn automatic(suite: Suite) -> Vec<CpuEngineKind> {
    static MEASURED: OnceLock<Automatic> = OnceLock::new();
    MEASURED.get_or_init(|| Automatic::measure().0).order(suite)
}

type Cases = Vec<Box<dyn Case>>;

#[derive(Default)]
pub struct Plan {
    paths: Vec<(Setup, Load)>,
    engines: Vec<(CpuEngineKind, Suite, Direction, usize)>,
}
impl Plan {
    pub fn path(&mut self, setup: &Setup, load: Load) {
        self.paths.push((setup.clone(), load));
    }
    /// Every engine of this machine alone.
    pub fn engines(&mut self, suites: &[Suite], directions: &[Direction], sizes: &[usize]) {
        for &suite in suites {
            for kind in automatic(suite) {
                for &direction in directions {
                    self.engines.extend(sizes.iter().map(|bytes| (kind, suite, direction, *bytes)));
                }
            }
        }
    }

    pub fn run(self, pace: &Pace) -> Result<Report> {
        let core = environment::pin(pace.core);
        let mut environment = Environment::look(core);
        let steal = environment::steal();
        let (mut cases, tables) = self.cases(pace)?;
        environment.tables = tables;
        ensure!(!cases.is_empty(), "no row is named like `{}`", pace.only);
        let turns = ((pace.warm_up + pace.rounds) * cases.len()) as u64;
        let bar = progress(turns)?;
        let measured = case::measure(&mut cases, pace.warm_up, pace.rounds, |label| {
            bar.inc(1);
            if bar.position() % 16 == 0 {
                bar.set_message(label.name());
            }
        })?;
        bar.finish_and_clear();
        environment.ticks_per_second = clock::frequency().round();
        environment.steal_percent = environment::steal_since(steal);
        let rows = rows(&cases, &measured, environment.ticks_per_second);
        Ok(Report { environment, rows })
    }

    fn cases(self, pace: &Pace) -> Result<(Cases, Vec<Tables>)> {
        let mut cases = Cases::new();
        let (mut tables, mut floors) = (Vec::new(), Vec::new());
        let buffers = Buffers::with(self.paths.iter().map(|(_, load)| load.buffers).max().unwrap_or(0));
        let mut pairs: Vec<(Setup, Rc<RefCell<Pair>>)> = Vec::new();
        for (setup, load) in &self.paths {
            let Some(label) = Path::label(setup, *load) else { continue };
            if !label.name().contains(&pace.only) {
                continue;
            }
            let pair = match pairs.iter().find(|(known, _)| known == setup) {
                Some((_, pair)) => pair.clone(),
                None => {
                    let pair = make(setup, &mut tables)?;
                    pairs.push((setup.clone(), pair.clone()));
                    pair
                }
            };
            let path = Path::new(label, setup, pair, *load, &buffers);
            cases.push(Box::new(path.with_stages(pace.stages)));
            floors.push((setup.suite, load.direction, load.bytes));
        }
        for (kind, suite, direction, bytes) in self.engines {
            if let Some(case) = Engine::new(kind, suite, direction, bytes)?
                && case.label().name().contains(&pace.only)
            {
                cases.push(Box::new(case));
                floors.push((suite, direction, bytes));
            }
        }
        let mut done = Vec::new();
        for floor @ (suite, direction, bytes) in floors {
            if !done.contains(&floor) {
                done.push(floor);
                if let Some(case) = Floor::new(suite, direction, bytes)? {
                    cases.push(Box::new(case));
                }
            }
        }
        Ok((cases, tables))
    }
}

/// How long and where.
#[derive(Clone, Debug)]
pub struct Pace {
    /// Turns of each row that count; a turn is three or four samples.
    pub rounds: usize,
    /// Rounds that are run before and not counted.
    pub warm_up: usize,
    /// Measures only rows whose name holds this.
    pub only: String,
    pub core: Option<usize>,
    /// Also what each stage of the path takes.
    pub stages: bool,
}

fn make(setup: &Setup, tables: &mut Vec<Tables>) -> Result<Rc<RefCell<Pair>>> {
    let (start, before) = (Instant::now(), environment::resident_mib());
    let spinner = ProgressBar::new_spinner();
    spinner.set_message(format!("tables of {} SAs, {} policies", setup.sas, setup.policies));
    spinner.tick();
    let pair = Pair::new(setup)?;
    tables.push(Tables {
        suite: setup.suite.to_string(),
        sas: setup.sas,
        policies: setup.policies,
        set_up_seconds: (start.elapsed().as_secs_f64() * 1e3).round() / 1e3,
        resident_mib: environment::resident_mib().saturating_sub(before),
    });
    spinner.finish_and_clear();
    Ok(Rc::new(RefCell::new(pair)))
}

fn progress(turns: u64) -> Result<ProgressBar> {
    let style = ProgressStyle::with_template("{bar:40} {percent}% {elapsed} of {duration}  {msg}")?;
    Ok(ProgressBar::new(turns).with_style(style))
}

fn rows(cases: &Cases, measured: &[Measured], ticks_per_second: f64) -> Vec<Row> {
    let floor_of = |label: &Label| {
        let same =
            |l: &Label| (l.direction, l.bytes, &l.suite) == (label.direction, label.bytes, &label.suite);
        let mut floors = cases.iter().zip(measured).filter(|(case, _)| case.label().mode == "floor");
        floors.find(|(case, _)| same(case.label())).map(|(_, m)| m.cycles.median)
    };
    let mut rows = Vec::new();
    for (case, measured) in cases.iter().zip(measured) {
        let label = case.label();
        let row = Row::new(label.clone(), measured.cycles, floor_of(label), ticks_per_second);
        rows.push(row.with_stages(case.stages(), measured));
    }
    targets::judge(&mut rows);
    rows
}

/// Everything near: one SA, one policy, known flows, few buffers.
pub fn near(direction: Direction, bytes: usize) -> Load {
    Load { direction, bytes, buffers: BUFFERS, flows: crate::traffic::Flows::Known }
}
