//! `scaling`: one worker, two, and so on, with all traffic in one SA and with several.
use super::rates::{self, Subject};
use crate::options::Options;
use crate::report::{Better, Row};
use crate::session::Session;
use anyhow::{Result, ensure};
use std::collections::BTreeMap;

#[derive(Clone, Debug, clap::Args)]
pub struct ScalingOptions {
    /// Numbers of workers, in place of --workers [default: 1 to the number of CPUs without the tester's, at least 2]
    #[arg(long, value_delimiter = ',', value_name = "N")]
    pub worker_counts: Vec<u16>,
    /// Numbers of tunnels, in place of --tunnels
    #[arg(long, value_delimiter = ',', default_value = "1,8", value_name = "N")]
    pub counts: Vec<u32>,
    #[command(flatten)]
    pub options: Options,
}

pub fn run(session: &mut Session, own: &ScalingOptions, rows: &mut Vec<Row>) -> Result<()> {
    let options = session.options.clone();
    ensure!(
        options.dut.worker_cpus.is_empty(),
        "--worker-cpus fixes their number: leave it out with scaling"
    );
    let first = session.scene(1)?;
    rows.extend(rates::tester_alone(session, &first, &options.sizes)?);
    let all = (session.cpu_count() as u16).saturating_sub(1).max(2);
    let workers = if own.worker_counts.is_empty() { (1..=all).collect() } else { own.worker_counts.clone() };
    let bounds: Vec<f64> = std::iter::once(0.0).chain(options.trials.pdr.iter().copied()).collect();
    let mut single: BTreeMap<String, f64> = BTreeMap::new();
    for count in &own.counts {
        let scene = session.scene(*count)?;
        for workers in &workers {
            let mut rig = session.rig(&scene, *workers)?;
            let cpus = session.cpus.text();
            for direction in &options.direction {
                for size in &options.sizes {
                    let subject = Subject { direction: *direction, size: size.clone(), workers: *workers };
                    let found = rates::search(session, &mut rig, "scaling", &subject, &bounds)?;
                    let mut row = Row { parameters: subject.parameters(&scene), ..Row::new("scaling", &[]) };
                    rates::put(&mut row, &found, size);
                    let rate = row.get("ndr").unwrap_or(0.0);
                    let series = format!("{count} {} {size}", direction.name());
                    let one = *single.entry(series).or_insert(rate);
                    if one > 0.0 {
                        row.put("by one worker", rate / one, "", Better::Higher, 0.03);
                    }
                    if cpus.contains("SHARE") {
                        row.notes.push(cpus.clone());
                    }
                    rows.push(row);
                }
            }
            rig.stop()?;
        }
    }
    Ok(())
}
