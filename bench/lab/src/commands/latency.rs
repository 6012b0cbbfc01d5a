//! `latency`: how long packets take at shares of the rate without loss.
use super::rates::{self, Subject};
use crate::histograms::Recorder;
use crate::options::Options;
use crate::report::{Better, Row};
use crate::search::Limit;
use crate::session::Session;
use anyhow::{Result, ensure};
use std::path::PathBuf;

#[derive(Clone, Debug, clap::Args)]
pub struct LatencyOptions {
    /// Loads in percent of the rate without loss
    #[arg(long, value_delimiter = ',', default_value = "10,50,90", value_name = "PERCENT")]
    pub loads: Vec<f64>,
    /// Packets a second that stand for 100 %, instead of searching for the rate without loss
    #[arg(long, value_name = "PPS")]
    pub rate: Option<f64>,
    /// Write all histograms as one log (latency.hlog, HdrHistogram V2) and one .hgrm file for each row
    #[arg(long, value_name = "DIR")]
    pub histograms: Option<PathBuf>,
    #[command(flatten)]
    pub options: Options,
}

/// Quantiles named in the result.
const NAMED: [(&str, f64); 5] =
    [("p50", 0.5), ("p90", 0.9), ("p99", 0.99), ("p99.9", 0.999), ("p99.99", 0.9999)];

pub fn run(session: &mut Session, own: &LatencyOptions, rows: &mut Vec<Row>) -> Result<()> {
    ensure!(own.loads.iter().all(|load| *load > 0.0 && *load <= 150.0), "--loads are percent from 1 to 150");
    let options = session.options.clone();
    let scene = session.scene(options.tunnels)?;
    let mut recorder = own.histograms.as_deref().map(Recorder::new).transpose()?;
    rows.extend(rates::tester_alone(session, &scene, &options.sizes)?);
    let mut rig = session.rig(&scene, options.dut.workers)?;
    for direction in &options.direction {
        for size in &options.sizes {
            let subject = Subject { direction: *direction, size: size.clone(), workers: options.dut.workers };
            let (whole, limit) = match own.rate {
                Some(rate) => (rate, Limit::Asked),
                None => {
                    let rates = rates::search(session, &mut rig, "latency: rate", &subject, &[0.0])?;
                    let found = rates.found[0].1;
                    ensure!(
                        found.rate > 0.0,
                        "{}: packets are lost at any rate; name one with --rate",
                        subject.text(&scene)
                    );
                    (found.rate, found.limit)
                }
            };
            for load in &own.loads {
                let mut row = Row { parameters: subject.parameters(&scene), ..Row::new("latency", &[]) };
                row.parameters.insert("load".into(), format!("{load}%"));
                row.limit = Some(limit);
                at_load(session, &mut rig, &subject, whole * load / 100.0, &mut row, recorder.as_mut())?;
                rows.push(row);
            }
        }
    }
    rig.stop()
}

fn at_load(
    session: &mut Session,
    rig: &mut crate::session::Rig,
    subject: &Subject,
    rate: f64,
    row: &mut Row,
    recorder: Option<&mut Recorder>,
) -> Result<()> {
    let trials = session.options.trials.clone();
    session.progress.part(&format!(
        "latency at {:.4} Mpps: {}",
        rate / 1e6,
        subject.text(rig.tester.scene())
    ));
    let mut all = crate::ledger::histogram();
    let (mut sent, mut lost, mut medians) = (0, 0, Vec::new());
    let load = subject.load(Some(rate), trials.duration);
    for _ in 0..trials.trials.max(1) {
        let mut judged = session.trial(rig, "latency", &row.parameters, &load)?;
        for _ in 0..trials.retries {
            if !judged.trial.disturbed {
                break;
            }
            judged = session.trial(rig, "latency", &row.parameters, &load)?;
        }
        if judged.trial.disturbed || judged.trial.tester_limited {
            row.notes
                .push("the tester or the worker did not have its CPU for itself; the tail shows that".into());
        }
        medians.push(judged.latency.value_at_quantile(0.5) as f64 / 1e3);
        sent += judged.trial.attempted;
        lost += judged.trial.lost;
        all.add(&judged.latency)?;
    }
    row.notes.dedup();
    let spread =
        medians.iter().copied().fold(0.0, f64::max) - medians.iter().copied().fold(f64::MAX, f64::min);
    row.put("offered", rate / 1e6, "Mpps", Better::Neither, 0.0);
    for (name, quantile) in NAMED {
        let value = all.value_at_quantile(quantile) as f64 / 1e3;
        // The rarer the event, the less a run knows of it.
        let noise = if quantile > 0.9 { value * 0.25 } else { value * 0.05 };
        row.put(name, value, "µs", Better::Lower, noise.max(spread));
    }
    row.put("max", all.max() as f64 / 1e3, "µs", Better::Neither, 0.0);
    row.put("loss", 100.0 * lost as f64 / sent.max(1) as f64, "%", Better::Lower, 0.0);
    row.percentiles = crate::histograms::curve(&all);
    if let Some(recorder) = recorder {
        row.files = recorder.record(&row.key(), &all)?;
    }
    Ok(())
}
