//! `backtoback`: the longest burst at full speed of which nothing is lost (RFC 2544 26.4).
use super::rates::{self, Subject};
use crate::options::Options;
use crate::report::{Better, Row};
use crate::search::{Limit, longest};
use crate::session::Session;
use crate::tester::Load;
use anyhow::Result;
use std::time::Duration;

#[derive(Clone, Debug, clap::Args)]
pub struct BurstOptions {
    /// Bursts longer than this are not tried
    #[arg(long, default_value_t = 100_000, value_name = "FRAMES")]
    pub max_burst: u64,
    #[command(flatten)]
    pub options: Options,
}

pub fn run(session: &mut Session, own: &BurstOptions, rows: &mut Vec<Row>) -> Result<()> {
    let options = session.options.clone();
    let scene = session.scene(options.tunnels)?;
    let max = own.max_burst.max(1);
    rows.extend(rates::tester_alone(session, &scene, &options.sizes)?);
    let mut rig = session.rig(&scene, options.dut.workers)?;
    for direction in &options.direction {
        for size in &options.sizes {
            let subject = Subject { direction: *direction, size: size.clone(), workers: options.dut.workers };
            let mut row = Row { parameters: subject.parameters(&scene), ..Row::new("backtoback", &[]) };
            session.progress.part(&format!("backtoback: {}", subject.text(&scene)));
            let parameters = row.parameters.clone();
            let (mut speed, mut slow) = (0.0f64, false);
            let found = longest(max, options.trials.trials, |frames| {
                let load = Load {
                    packets: Some(frames.div_ceil(direction.ways().len() as u64)),
                    ..subject.load(None, Duration::from_secs(10))
                };
                let mut judged = session.trial(&mut rig, "backtoback", &parameters, &load)?;
                for _ in 0..options.trials.retries {
                    if judged.trial.lost == 0 || !judged.trial.disturbed {
                        break;
                    }
                    judged = session.trial(&mut rig, "backtoback", &parameters, &load)?;
                }
                speed = speed.max(judged.trial.offered);
                slow |= judged.trial.lost == 0 && frames == max;
                anyhow::Ok(judged.trial.lost == 0)
            })?;
            row.put("burst", found as f64, "frames", Better::Higher, found as f64 * 0.01);
            row.put("sent at", speed / 1e6, "Mpps", Better::Neither, 0.0);
            row.limit = Some(if slow { Limit::Asked } else { Limit::Gateway });
            if slow {
                row.notes.push("the gateway keeps up with all that the tester sends at once".into());
            }
            rows.push(row);
        }
    }
    rig.stop()
}
