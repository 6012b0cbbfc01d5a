//! `cargo ci bench`: builds the bench package optimised and runs it.
use crate::cargo;
use crate::packages::{self, Need};
use anyhow::{Context, Result};
use clap::Args;

#[derive(Debug, Args)]
pub struct Options {
    /// Which measurement: `quick`
    #[arg(default_value = "quick")]
    what: String,
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
    /// More words for the bench program
    #[arg(last = true)]
    more: Vec<String>,
}

pub fn run(options: &Options) -> Result<bool> {
    packages::ensure_installed(&[Need::Build])?;
    cargo::check(&mut cargo::command(&["build", "--release", "--locked", "-p", "bench"]))?;
    let mut program = std::process::Command::new(cargo::target_dir().join("release/bench"));
    program.arg(&options.what).args(&options.more);
    if options.json {
        program.arg("--json");
    }
    let status = program.status().context("the bench program")?;
    Ok(status.success())
}
