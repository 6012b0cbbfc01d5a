//! `bench quick`: every engine with everything near, half a minute.
use crate::case::{BUFFERS, Direction};
use crate::path::Load;
use crate::plan::{Pace, Plan, SIZES, automatic, near};
use crate::report::Report;
use crate::traffic::Flows;
use crate::world::Setup;
use anyhow::Result;
use fastpath::crypto::CpuEngineKind;
use sa::{Encryption, Integrity, Suite};

/// SAs and buffers of the rows that are asked for beside the near ones.
const LOADS: [(usize, usize); 4] = [(1, 4096), (1000, 4096), (10_000, 4096), (10_000, 16_384)];

pub fn run(pace: &Pace, loads: bool) -> Result<Report> {
    let gcm = Suite::new(Encryption::Aes128Gcm, Integrity::None)?;
    let cbc = Suite::new(Encryption::Aes128Cbc, Integrity::HmacSha256)?;
    let mut plan = Plan::default();
    let setup = |suite, kind, sas| Setup { suite, engines: vec![kind], sas, policies: sas };
    for direction in Direction::BOTH {
        for kind in automatic(gcm) {
            for bytes in SIZES {
                plan.path(&setup(gcm, kind, 1), near(direction, bytes));
                if kind == CpuEngineKind::IpsecMb {
                    plan.path(&setup(cbc, kind, 1), near(direction, bytes));
                }
            }
        }
        for (sas, buffers) in LOADS.into_iter().filter(|_| loads) {
            for (bytes, kind) in SIZES.into_iter().flat_map(|b| automatic(gcm).first().map(|kind| (b, *kind)))
            {
                let load = Load { direction, bytes, buffers, flows: Flows::Known };
                debug_assert!(load.buffers > BUFFERS);
                plan.path(&setup(gcm, kind, sas), load);
            }
        }
    }
    plan.engines(&[gcm, cbc], &Direction::BOTH, &SIZES);
    plan.run(pace)
}
