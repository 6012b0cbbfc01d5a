//! `loss`: what is lost at shares of the full rate (RFC 2544 26.3).
use super::rates::{self, Subject};
use crate::options::Options;
use crate::report::{Better, Row};
use crate::session::Session;
use anyhow::Result;

#[derive(Clone, Debug, clap::Args)]
pub struct LossOptions {
    /// Loads in percent of the full rate: --max-rate, or what the tester can offer
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "100,90,80,70,60,50,40,30,20,10",
        value_name = "PERCENT"
    )]
    pub loads: Vec<f64>,
    #[command(flatten)]
    pub options: Options,
}

pub fn run(session: &mut Session, own: &LossOptions, rows: &mut Vec<Row>) -> Result<()> {
    let options = session.options.clone();
    let scene = session.scene(options.tunnels)?;
    let alone = rates::tester_alone(session, &scene, &options.sizes)?;
    let mut rig = session.rig(&scene, options.dut.workers)?;
    for direction in &options.direction {
        for (size, alone) in options.sizes.iter().zip(&alone) {
            let subject = Subject { direction: *direction, size: size.clone(), workers: options.dut.workers };
            session.progress.part(&format!("loss: {}", subject.text(&scene)));
            let parameters = subject.parameters(&scene);
            let warm = subject.load(None, options.trials.warm_up);
            let flood = session.trial(&mut rig, "warm-up", &parameters, &warm)?;
            // What it offers while it also receives; alone it offers more than there is to be had.
            let able = alone.get("rate").map_or(f64::MAX, |mpps| mpps * 1e6).min(flood.trial.offered * 0.95);
            let full = options.trials.max_rate.unwrap_or(able);
            for load in &own.loads {
                let mut row = Row { parameters: parameters.clone(), ..Row::new("loss", &[]) };
                row.parameters.insert("load".into(), format!("{load:>3}%"));
                let rate = full * load / 100.0;
                let (mut worst, mut sent, mut lost) = (0.0f64, 0, 0);
                for _ in 0..options.trials.trials.max(1) {
                    let load = subject.load(Some(rate), options.trials.duration);
                    let judged = session.trial(&mut rig, "loss", &row.parameters, &load)?;
                    if judged.trial.tester_limited {
                        row.notes.push("the tester did not keep up: less was offered than asked for".into());
                    }
                    worst = worst.max(judged.outcome().loss);
                    sent += judged.trial.attempted;
                    lost += judged.trial.lost;
                }
                row.notes.dedup();
                let mean = 100.0 * lost as f64 / sent.max(1) as f64;
                row.put("offered", rate / 1e6, "Mpps", Better::Neither, 0.0);
                row.put("loss", mean, "%", Better::Lower, (100.0 * worst - mean).abs().max(mean * 0.1));
                row.put("passed", rate * (1.0 - mean / 100.0) / 1e6, "Mpps", Better::Neither, 0.0);
                rows.push(row);
            }
        }
    }
    rows.extend(alone);
    rig.stop()
}
