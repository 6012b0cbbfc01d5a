//! `cargo ci bench`: builds the bench package optimised and runs it.
use crate::cargo;
use crate::packages::{self, Need};
use crate::peers;
use anyhow::{Context, Result};
use clap::{Args, Subcommand};
use std::ffi::OsString;

#[derive(Debug, Args)]
#[command(disable_help_subcommand = true)]
pub struct Options {
    #[command(subcommand)]
    what: Option<What>,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Beside what a user could take instead, through the same virtual cables: strongSwan, wireguard-go, plain routing
    Peers(peers::Options),
    /// `datapath`, `quick` (when nothing is named) and others, with their own words: `cargo ci bench help` lists them
    #[command(external_subcommand)]
    Program(Vec<OsString>),
}

pub fn run(options: &Options) -> Result<bool> {
    let words: Vec<OsString> = match &options.what {
        Some(What::Program(words)) => words.iter().filter(|word| *word != "--").cloned().collect(),
        Some(What::Peers(options)) => return peers::run(options),
        None => vec!["quick".into()],
    };
    program(&words)
}

fn program(words: &[OsString]) -> Result<bool> {
    packages::ensure_installed(&[Need::Build])?;
    if words.first().is_some_and(|word| word == "scale") {
        cargo::build_release()?;
    }
    cargo::check(&mut cargo::command(&["build", "--release", "--locked", "-p", "bench"]))?;
    let mut program = std::process::Command::new(cargo::target_dir().join("release/bench"));
    let status = program.args(words).status().context("the bench program")?;
    Ok(status.success())
}
