//! `espway metrics`: what a monitoring system reads, once.
use crate::rundir::RunDir;
use crate::status::request;
use anyhow::bail;
use ipc::status::{Request, Response};
use std::path::PathBuf;
use std::process::ExitCode;

/// Print everything that is counted, in the OpenMetrics format that Prometheus reads.
///
/// Without --run-dir and --config, of the gateway that runs here, if it is the only one.
#[derive(clap::Args)]
pub struct Args {
    /// Of the gateway with this configuration.
    #[arg(long, value_name = "FILE", conflicts_with = "run_dir")]
    config: Option<PathBuf>,
    /// Of the gateway in this folder.
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
}

pub fn metrics(args: &Args) -> anyhow::Result<ExitCode> {
    let run_dir = RunDir::find(args.run_dir.as_deref(), args.config.as_deref())?;
    let socket = run_dir.control_socket();
    match request(&socket, &Request::Metrics)? {
        Response::Metrics(text) => crate::say(text.trim_end()),
        Response::Error(error) => bail!("{error}"),
        _ => bail!("{} answered something else", socket.display()),
    }
    Ok(ExitCode::SUCCESS)
}
