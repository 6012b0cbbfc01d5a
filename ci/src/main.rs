//! `cargo ci`: everything that is done with this repository besides writing code. It links no DPDK and so builds on a
//! bare machine, where its first work is to install what is missing.
#![forbid(unsafe_code)]

mod bench;
mod cargo;
mod doctor;
mod fuzz;
mod hugepages;
mod links;
mod packages;
mod panics;
mod peers;
mod test;
mod up;
mod view;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(bin_name = "cargo ci", about = "Build, show, test and measure espway")]
struct Cli {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    /// Two sites, a WAN and a tunnel between them, on this machine; runs until Ctrl-C
    Up(up::Options),
    /// Everything a change must pass
    Test(test::Options),
    /// What this machine lacks and what each lack costs
    Doctor(doctor::Options),
    /// Measurements
    Bench(bench::Options),
    /// The panics left in the hot loop of the optimised fast path; each has to have its reason
    Panics(panics::Options),
    /// Feed hostile bytes to the parsers
    Fuzz(fuzz::Options),
}

fn main() -> ExitCode {
    let done = match Cli::parse().verb {
        Verb::Up(options) => up::run(&options),
        Verb::Test(options) => test::run(&options),
        Verb::Doctor(options) => doctor::run(&options),
        Verb::Bench(options) => bench::run(&options),
        Verb::Panics(options) => panics::run(&options),
        Verb::Fuzz(options) => fuzz::run(&options),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("error: {why:#}");
            ExitCode::from(2)
        }
    }
}
