//! `espway lab`: the tester links DPDK, which this command must not, so it is a program of its own.
use crate::run::Program;
use anyhow::Context;
use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::ExitCode;

/// Measure the gateway from outside: throughput, latency, bursts, loss, tunnels, scaling; compare two results.
///
/// Runs `espway-lab`, which starts a gateway of its own; `espway lab --help` shows what it can do.
#[derive(clap::Args)]
#[command(disable_help_flag = true)]
pub struct Args {
    /// What to measure, and how: handed on as it is.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "WORDS")]
    words: Vec<OsString>,
}

pub fn lab(args: &Args) -> anyhow::Result<ExitCode> {
    let program = Program::find("espway-lab")?;
    // Returns only when it fails.
    let error = std::process::Command::new(program.path()).args(&args.words).exec();
    Err(error).with_context(|| format!("starting {}", program.path().display()))
}
