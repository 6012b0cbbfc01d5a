//! `espway status`: both processes as the supervisor sees them, and everything the slow path knows.
mod ask;
mod table;

pub use ask::shut_down;

use crate::rundir::{RunDir, State};
use ipc::status::Status;
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;

/// Show a running gateway: processes, peers, SAs, policies, ports, drops, statistics.
///
/// Without --run-dir and --config, the gateway that runs here, if it is the only one. Exits with 1 when a
/// process is missing or does not answer.
#[derive(clap::Args)]
pub struct Args {
    /// One JSON object instead of tables.
    #[arg(long)]
    json: bool,
    /// Of the gateway with this configuration.
    #[arg(long, value_name = "FILE", conflicts_with = "run_dir")]
    config: Option<PathBuf>,
    /// Of the gateway in this folder.
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
}

pub fn status(args: &Args) -> anyhow::Result<ExitCode> {
    let run_dir = RunDir::find(args.run_dir.as_deref(), args.config.as_deref())?;
    let state = run_dir.read().filter(|_| run_dir.taken());
    let answer = ask::status(&run_dir.control_socket());
    let healthy = state.is_some() && answer.is_ok();
    if args.json {
        crate::say(as_json(&run_dir, state.as_ref(), answer.as_ref().map_err(|e| format!("{e:#}"))));
    } else {
        match &state {
            Some(state) => crate::say(table::processes(state)),
            None => crate::say(format_args!("no supervisor runs in {}\n", run_dir.path().display())),
        }
        match &answer {
            Ok(status) => crate::say(table::gateway(status)),
            Err(error) => crate::say(format_args!("the slow path does not answer: {error:#}")),
        }
    }
    Ok(if healthy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The slow path's answer with the supervisor's view beside it.
fn as_json(run_dir: &RunDir, state: Option<&State>, status: Result<&Status, String>) -> Value {
    let mut out = match status {
        Ok(status) => {
            serde_json::to_value(status).unwrap_or_else(|error| json!({ "error": error.to_string() }))
        }
        Err(error) => json!({ "error": error }),
    };
    out["run-dir"] = json!(run_dir.path());
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
