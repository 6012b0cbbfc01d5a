//! `bench datapath`: the table that the targets are about.
use crate::case::Direction;
use crate::path::Load;
use crate::plan::{self, Pace, Plan, SIZES};
use crate::report::Report;
use crate::traffic::Flows;
use crate::world::Setup;
use anyhow::{Context, Result, ensure};
use fastpath::crypto::CpuEngineKind;
use sa::{Encryption, Integrity, Suite};

const BUFFERS: usize = 4096;
const COLD: usize = 16_384;

/// Which rows. With none of the lists given: those that have targets.
#[derive(Clone, Debug, Default, clap::Args)]
pub struct Selection {
    /// As in `aes-128-gcm` or `aes-128-cbc/sha256`.
    #[arg(long, value_delimiter = ',')]
    pub suite: Vec<String>,
    /// Lengths of inner packets; 64, 512 and 1400 unless named.
    #[arg(long, value_delimiter = ',')]
    pub sizes: Vec<usize>,
    /// SA pairs; each packet draws one at random.
    #[arg(long, value_delimiter = ',')]
    pub sas: Vec<usize>,
    /// Policies, with packets of known flows and of new ones. Those beyond the SAs' own fit no packet.
    #[arg(long, value_delimiter = ',')]
    pub policies: Vec<usize>,
    /// Packets of a sample, each in a buffer of its own.
    #[arg(long, value_delimiter = ',')]
    pub buffers: Vec<usize>,
    /// `out`, `in`; both unless named.
    #[arg(long, value_delimiter = ',')]
    pub directions: Vec<String>,
    /// `auto` (what a gateway uses), `native`, `ipsec-mb`, `ring`, `rustcrypto`.
    #[arg(long, value_delimiter = ',')]
    pub engines: Vec<String>,
}

pub fn run(selection: &Selection, pace: &Pace) -> Result<Report> {
    let chosen = Chosen::new(selection)?;
    let plan = if chosen.everything { standard(&chosen)? } else { cross(&chosen)? };
    plan.run(pace)
}

struct Chosen {
    /// None of the lists that name tables.
    everything: bool,
    suites: Vec<Suite>,
    sizes: Vec<usize>,
    sas: Vec<usize>,
    policies: Vec<usize>,
    buffers: Vec<usize>,
    directions: Vec<Direction>,
    /// Lists in order of preference; an empty one is the automatic choice.
    engines: Vec<Vec<CpuEngineKind>>,
}
impl Chosen {
    fn new(selection: &Selection) -> Result<Self> {
        let Selection { suite, sizes, sas, policies, buffers, directions, engines } = selection;
        let direction = |name: &String| {
            let known = Direction::BOTH.into_iter().find(|d| d.name() == name);
            known.with_context(|| format!("`{name}` is no direction: use out or in"))
        };
        let engine = |name: &String| -> Result<Vec<CpuEngineKind>> {
            Ok(if name == "auto" { Vec::new() } else { vec![name.parse()?] })
        };
        let listed = [sas, policies, buffers].iter().any(|list| !list.is_empty());
        let this = Self {
            everything: !listed && suite.is_empty() && engines.is_empty(),
            suites: suite.iter().map(|name| plan::suite(name)).collect::<Result<_>>()?,
            sizes: or(sizes, &SIZES),
            sas: or(sas, &[1]),
            policies: policies.clone(),
            buffers: or(buffers, &[BUFFERS]),
            directions: directions.iter().map(direction).collect::<Result<_>>()?,
            engines: engines.iter().map(engine).collect::<Result<_>>()?,
        };
        ensure!(this.sizes.iter().all(|b| (28..=1400).contains(b)), "--sizes: from 28 to 1400 bytes");
        ensure!(this.sas.iter().all(|n| (1..=1_000_000).contains(n)), "--sas: from 1 to 1000000");
        ensure!(this.policies.iter().all(|n| (1..=1_000_000).contains(n)), "--policies: from 1 to 1000000");
        ensure!(this.buffers.iter().all(|n| (32..=1 << 20).contains(n)), "--buffers: from 32 to 1048576");
        let directions = or(&this.directions, &Direction::BOTH);
        let suites = if suite.is_empty() { vec![gcm(Encryption::Aes128Gcm)?] } else { this.suites };
        let engines = if engines.is_empty() { vec![Vec::new()] } else { this.engines };
        Ok(Self { directions, suites, engines, ..this })
    }
}
fn or<T: Clone>(given: &[T], standard: &[T]) -> Vec<T> {
    if given.is_empty() { standard.to_vec() } else { given.to_vec() }
}
fn gcm(encryption: Encryption) -> Result<Suite> {
    Ok(Suite::new(encryption, Integrity::None)?)
}

/// Everything with everything.
fn cross(chosen: &Chosen) -> Result<Plan> {
    let mut plan = Plan::default();
    for engines in &chosen.engines {
        for &suite in &chosen.suites {
            let engines = if engines.is_empty() { plan::automatic(suite) } else { engines.clone() };
            for &sas in &chosen.sas {
                for (policies, flows) in lookups(chosen, sas) {
                    let setup = Setup { suite, engines: engines.clone(), sas, policies };
                    for &buffers in &chosen.buffers {
                        all(&mut plan, chosen, &setup, buffers, flows);
                    }
                }
            }
        }
    }
    Ok(plan)
}
fn lookups(chosen: &Chosen, sas: usize) -> Vec<(usize, Flows)> {
    if chosen.policies.is_empty() {
        return vec![(sas, Flows::Known)];
    }
    let both = |n: &usize| [(*n.max(&sas), Flows::Known), (*n.max(&sas), Flows::New)];
    chosen.policies.iter().flat_map(both).collect()
}
fn all(plan: &mut Plan, chosen: &Chosen, setup: &Setup, buffers: usize, flows: Flows) {
    for &direction in &chosen.directions {
        for &bytes in &chosen.sizes {
            plan.path(setup, Load { direction, bytes, buffers, flows });
        }
    }
}

/// The rows with targets.
fn standard(chosen: &Chosen) -> Result<Plan> {
    let mut plan = Plan::default();
    let setup = |suite, sas, policies| Setup { suite, engines: plan::automatic(suite), sas, policies };
    let gcm128 = gcm(Encryption::Aes128Gcm)?;
    for sas in [1, 1000, 10_000, 100_000] {
        all(&mut plan, chosen, &setup(gcm128, sas, sas), BUFFERS, Flows::Known);
    }
    for sas in [1, 10_000] {
        all(&mut plan, chosen, &setup(gcm128, sas, sas), COLD, Flows::Known);
    }
    let suites = plan::suites()?;
    for &suite in suites.iter().filter(|suite| **suite != gcm128) {
        all(&mut plan, chosen, &setup(suite, 1, 1), BUFFERS, Flows::Known);
    }
    for policies in [1, 100, 10_000, 100_000] {
        for &direction in &chosen.directions {
            let load = Load { direction, bytes: 64, buffers: BUFFERS, flows: Flows::New };
            plan.path(&setup(gcm128, 1, policies), load);
            if policies > 1 {
                plan.path(&setup(gcm128, 1, policies), Load { flows: Flows::Known, ..load });
            }
        }
    }
    plan.engines(&suites, &chosen.directions, &chosen.sizes);
    Ok(plan)
}
