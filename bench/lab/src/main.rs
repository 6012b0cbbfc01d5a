//! `espway-lab`, which is `espway lab`: see `docs/lab.md`.
#![forbid(unsafe_code)]

use clap::Parser;
use std::process::ExitCode;

fn main() -> ExitCode {
    let command = espway_lab::commands::Command::parse();
    espway_lab::commands::run(command).unwrap_or_else(|error| {
        eprintln!("espway-lab: {error:#}");
        ExitCode::FAILURE
    })
}
