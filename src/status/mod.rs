//! `espway status`: both processes as the supervisor sees them, and everything the slow path knows.
mod ask;
mod diagnosis;
mod table;

pub use ask::{request, shut_down, stream};

use crate::rundir::{RunDir, State};
use serde_json::{Value, json};
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Rows of a table that is shown without being asked for.
const LONG: u32 = 1000;

/// Show a running gateway: processes, peers, SAs, policies, ports, drops, statistics.
///
/// Without --run-dir and --config, the gateway that runs here, if it is the only one. Exits with 1 when a
/// process is missing or does not answer.
#[derive(clap::Args)]
pub struct Args {
    /// One JSON object instead of tables, always with everything.
    #[arg(long)]
    json: bool,
    /// Also tables of more than a thousand rows; without it they are only counted.
    #[arg(long)]
    all: bool,
    /// Instead: why negotiations failed, what would make them work here, what to tell the other side.
    #[arg(long)]
    diagnosis: bool,
    /// Of this peer.
    #[arg(long, value_name = "NAME", requires = "diagnosis")]
    peer: Option<String>,
    /// Of the gateway with this configuration.
    #[arg(long, value_name = "FILE", conflicts_with = "run_dir")]
    config: Option<PathBuf>,
    /// Of the gateway in this folder.
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
}

pub fn status(args: &Args) -> anyhow::Result<ExitCode> {
    let run_dir = RunDir::find(args.run_dir.as_deref(), args.config.as_deref())?;
    if args.diagnosis {
        return diagnosis::show(&run_dir.control_socket(), args.peer.as_deref(), args.json);
    }
    let state = run_dir.read().filter(|_| run_dir.taken());
    if args.json {
        return as_json(&run_dir, state.as_ref());
    }
    let answer = ask::status(&run_dir.control_socket(), (!args.all).then_some(LONG));
    let healthy = state.is_some() && answer.is_ok();
    match &state {
        Some(state) => crate::say(table::processes(state)),
        None => crate::say(format_args!("no supervisor runs in {}\n", run_dir.path().display())),
    }
    match &answer {
        Ok(status) => {
            crate::say(table::gateway(status));
            let failed = diagnosis::overview(&run_dir.control_socket()).unwrap_or_default();
            if !failed.is_empty() {
                crate::say(failed);
            }
        }
        Err(error) => crate::say(format_args!("the slow path does not answer: {error:#}")),
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The slow path's answer, passed on as it comes, with the supervisor's view behind it.
fn as_json(run_dir: &RunDir, state: Option<&State>) -> anyhow::Result<ExitCode> {
    let mut out = Counted { to: std::io::stdout().lock(), written: 0 };
    let answer = ask::pass_status_on(&run_dir.control_socket(), &mut out);
    if let Err(error) = &answer {
        anyhow::ensure!(out.written == 0, "the status broke off: {error:#}");
        write!(out, "{{\"error\":{}", json!(format!("{error:#}")))?;
    }
    let ours = supervisor(run_dir, state).to_string();
    writeln!(out, ",{}", ours.trim_start_matches('{'))?;
    let healthy = state.is_some() && answer.is_ok();
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}
struct Counted<W> {
    to: W,
    written: usize,
}
impl<W: Write> Write for Counted<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let n = self.to.write(bytes)?;
        self.written += n;
        Ok(n)
    }
    fn flush(&mut self) -> std::io::Result<()> {
        self.to.flush()
    }
}

fn supervisor(run_dir: &RunDir, state: Option<&State>) -> Value {
    let mut out = json!({ "run-dir": run_dir.path() });
    out["supervisor"] = match state {
        Some(state) => json!({
            "name": state.name,
            "config": state.config,
            "pid": state.pid,
            "uptime": state.started.age(),
        }),
        None => Value::Null,
    };
    let processes = state.iter().flat_map(|state| &state.processes).map(|process| {
        json!({
            "name": process.name,
            "state": process.state,
            "pid": process.pid,
            "uptime": process.pid.map(|_| process.since.age()),
            "restarts": process.restarts,
            "last-end": process.last_end,
        })
    });
    out["processes"] = processes.collect();
    out
}
