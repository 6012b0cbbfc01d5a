//! `tunnels`: rates, and how fast SAs are installed, from one tunnel to a hundred thousand.
use super::rates::{self, Subject};
use crate::options::Options;
use crate::report::{Better, Row};
use crate::scene::MAX_TUNNELS;
use crate::session::Session;
use anyhow::{Result, ensure};

#[derive(Clone, Debug, clap::Args)]
pub struct TunnelsOptions {
    /// Numbers of tunnels, in place of --tunnels
    #[arg(long, value_delimiter = ',', default_value = "1,10,100,1000,10000,100000", value_name = "N")]
    pub counts: Vec<u32>,
    #[command(flatten)]
    pub options: Options,
}

pub fn run(session: &mut Session, own: &TunnelsOptions, rows: &mut Vec<Row>) -> Result<()> {
    ensure!(own.counts.iter().all(|n| (1..=MAX_TUNNELS).contains(n)), "--counts are from 1 to {MAX_TUNNELS}");
    let options = session.options.clone();
    let first = session.scene(1)?;
    rows.extend(rates::tester_alone(session, &first, &options.sizes)?);
    let bounds: Vec<f64> = std::iter::once(0.0).chain(options.trials.pdr.iter().copied()).collect();
    for count in &own.counts {
        session.progress.part(&format!("installing {count} tunnels"));
        let scene = session.scene(*count)?;
        let mut rig = session.rig(&scene, options.dut.workers)?;
        let installed = rig.installed;
        let sas = f64::from(installed.sas_count) / installed.sas.as_secs_f64().max(1e-9);
        let policies = f64::from(*count) / installed.policies.as_secs_f64().max(1e-9);
        let per_tunnel = rig.memory.1.saturating_sub(rig.memory.0) as f64 / f64::from(*count);
        session.progress.say(&format!("{count} tunnels: {sas:.0} SAs/s, {policies:.0} policies/s"));
        for direction in &options.direction {
            for size in &options.sizes {
                let subject =
                    Subject { direction: *direction, size: size.clone(), workers: options.dut.workers };
                let found = rates::search(session, &mut rig, "tunnels", &subject, &bounds)?;
                let mut row = Row { parameters: subject.parameters(&scene), ..Row::new("tunnels", &[]) };
                rates::put(&mut row, &found, size);
                row.put("install", sas / 1e3, "kSA/s", Better::Higher, sas / 1e4);
                row.put("policies", policies / 1e3, "k/s", Better::Higher, policies / 1e4);
                if *count >= 1000 {
                    row.put("memory", per_tunnel, "B/tunnel", Better::Lower, per_tunnel * 0.1);
                }
                rows.push(row);
            }
        }
        rig.stop()?;
    }
    Ok(())
}
