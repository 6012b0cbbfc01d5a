//! What `espway lab …` does.
mod backtoback;
mod latency;
mod loss;
mod rates;
mod scaling;
mod throughput;
mod tunnels;

use crate::compare;
use crate::environment::Environment;
use crate::html;
use crate::options::{Options, OutputOptions};
use crate::progress::Progress;
use crate::report::{COUNTED, FORMAT, Report, Row};
use crate::session::Session;
use anyhow::{Context, Result};
use clap::Parser;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

/// Measure the gateway from outside: rates without loss, latency, bursts, many tunnels.
///
/// Starts a gateway of its own on shared memory (or on devices you name), installs tunnels with keys it knows,
/// offers traffic, and opens and compares every packet that comes back. Needs no NIC and no peer.
#[derive(Parser)]
#[command(name = "espway lab", bin_name = "espway lab", version, max_term_width = 100)]
pub enum Command {
    /// The highest rates without loss (NDR) and with little loss (PDR), by frame size
    Throughput(Options),
    /// How long packets take at 10, 50 and 90 % of the rate without loss
    Latency(latency::LatencyOptions),
    /// The longest burst at full speed of which nothing is lost
    Backtoback(backtoback::BurstOptions),
    /// What is lost at 100 to 10 % of the full rate
    Loss(loss::LossOptions),
    /// Rates, and how fast SAs are installed, from 1 to 100000 tunnels
    Tunnels(tunnels::TunnelsOptions),
    /// Rates with one worker, two, and so on, in one SA and in several
    Scaling(scaling::ScalingOptions),
    /// One HTML report of several results
    Report(ReportOptions),
    /// What changed from one result to another, beyond the noise of both
    Compare(CompareOptions),
}

#[derive(clap::Args)]
pub struct ReportOptions {
    /// Results as written by --json, of one machine
    #[arg(required = true, value_name = "RESULT")]
    results: Vec<PathBuf>,
    /// Where to write it
    #[arg(long, value_name = "FILE")]
    html: PathBuf,
    /// Put the cycles per graph stage of `cargo ci bench datapath --stages --json` into the report
    #[arg(long, value_name = "FILE")]
    stages: Option<PathBuf>,
}

#[derive(clap::Args)]
pub struct CompareOptions {
    /// Result of the first run, as written by --json
    before: PathBuf,
    /// Result of the second
    after: PathBuf,
    /// End with exit status 1 when something got worse by so many percent or more, beyond noise
    #[arg(long, value_name = "PERCENT")]
    fail_on_regression: Option<f64>,
}

pub fn run(command: Command) -> Result<ExitCode> {
    match command {
        Command::Throughput(options) => measured("throughput", options, throughput::run),
        Command::Latency(own) => {
            measured("latency", own.options.clone(), |session, rows| latency::run(session, &own, rows))
        }
        Command::Backtoback(own) => {
            measured("backtoback", own.options.clone(), |session, rows| backtoback::run(session, &own, rows))
        }
        Command::Loss(own) => {
            measured("loss", own.options.clone(), |session, rows| loss::run(session, &own, rows))
        }
        Command::Tunnels(own) => {
            measured("tunnels", own.options.clone(), |session, rows| tunnels::run(session, &own, rows))
        }
        Command::Scaling(own) => {
            measured("scaling", own.options.clone(), |session, rows| scaling::run(session, &own, rows))
        }
        Command::Report(own) => joined(&own),
        Command::Compare(own) => compared(&own),
    }
}

fn joined(own: &ReportOptions) -> Result<ExitCode> {
    let reports = own.results.iter().map(|path| compare::load(path)).collect::<Result<Vec<_>>>()?;
    let mut report = Report::join(reports).context("no result")?;
    if let Some(path) = &own.stages {
        report.stages = Some(read_json(path)?);
    }
    std::fs::write(&own.html, html::page(&report))
        .with_context(|| format!("writing {}", own.html.display()))?;
    Ok(ExitCode::SUCCESS)
}

fn compared(own: &CompareOptions) -> Result<ExitCode> {
    let (before, after) = (compare::load(&own.before)?, compare::load(&own.after)?);
    let comparison = compare::compare(&before, &after);
    for warning in compare::warnings(&before, &after) {
        println!("{warning}");
    }
    println!("{}", comparison.table());
    let Some(percent) = own.fail_on_regression else { return Ok(ExitCode::SUCCESS) };
    let worse = comparison.regressions(percent);
    for change in &worse {
        eprintln!(
            "espway-lab: {}: {} fell from {} to {}",
            change.row, change.measure, change.before, change.after
        );
    }
    Ok(if worse.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Runs a measurement and delivers what it found, also when it was interrupted.
fn measured(
    command: &str,
    options: Options,
    body: impl FnOnce(&mut Session, &mut Vec<Row>) -> Result<()>,
) -> Result<ExitCode> {
    let start = Instant::now();
    let output = options.output.clone();
    let stages = output.stages.as_deref().map(read_json).transpose()?;
    let mut session = Session::start(options, Progress::new(output.quiet))?;
    let environment = Environment::look();
    session.progress.say(&environment.line());
    let mut rows = Vec::new();
    let result = body(&mut session, &mut rows);
    session.progress.end();
    let started = SystemTime::now() - start.elapsed();
    let report = Report {
        format: FORMAT.into(),
        command: command.into(),
        // As it was typed; where the program lies is nobody's business in a report.
        command_line: ["espway".into(), "lab".into()].into_iter().chain(std::env::args().skip(1)).collect(),
        started: started.duration_since(UNIX_EPOCH).map_or(0, |t| t.as_secs()),
        seconds: start.elapsed().as_secs_f64(),
        environment,
        setup: setup(&session),
        counted: COUNTED.into(),
        rows,
        trials: std::mem::take(&mut session.trials),
        configuration: session.configuration.clone(),
        stages,
    };
    if !report.rows.is_empty() {
        deliver(&report, &output)?;
    }
    result?;
    if session.faults.total() > 0 {
        let first = session.faults.first.as_deref().unwrap_or_default();
        eprintln!("espway-lab: the gateway got packets wrong: {:?}; first: {first}", session.faults.counts);
        return Ok(ExitCode::FAILURE);
    }
    Ok(ExitCode::SUCCESS)
}

fn deliver(report: &Report, output: &OutputOptions) -> Result<()> {
    println!("{}", report.table());
    let write = |path: &Path, text: String| {
        std::fs::write(path, text).with_context(|| format!("writing {}", path.display()))
    };
    if let Some(path) = &output.json {
        write(path, serde_json::to_string_pretty(report)? + "\n")?;
    }
    if let Some(path) = &output.html {
        write(path, html::page(report))?;
    }
    Ok(())
}

fn setup(session: &Session) -> BTreeMap<String, String> {
    let o = &session.options;
    let pages = if session.hugepages() { "hugepages" } else { "4 kB pages" };
    let entries = [
        ("cable", format!("{}, rings of {}", session.link().name(), o.tester.ring)),
        ("CPUs", session.cpus.text()),
        ("engines", o.dut.engines.clone()),
        ("idle", format!("{}, at most {}", o.dut.idle, o.dut.idle_max_sleep)),
        (
            "memory",
            format!("tester on {pages}, gateway with hugepages: {:?}", o.tester.hugepages).to_lowercase(),
        ),
        (
            "SAs",
            format!(
                "{}, ESN {}, replay window {}",
                o.suite,
                if o.no_esn { "off" } else { "on" },
                o.replay_window
            ),
        ),
        (
            "trials",
            format!(
                "{:?} each, {} to confirm a rate, resolution {} %",
                o.trials.duration,
                o.trials.trials,
                o.trials.resolution * 100.0
            ),
        ),
    ];
    entries.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}

fn read_json(path: &Path) -> Result<serde_json::Value> {
    let text = std::fs::read_to_string(path).with_context(|| format!("reading {}", path.display()))?;
    serde_json::from_str(&text).with_context(|| format!("{} is not JSON", path.display()))
}
