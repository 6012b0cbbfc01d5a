//! The command people type: checks and explains a configuration, runs the gateway's two processes, shows
//! what they do, sends captures through the datapath. It links no DPDK and holds no packet or key in `run`.
#![forbid(unsafe_code)]

mod change;
mod check;
mod console;
mod explain;
#[cfg(test)]
mod explain_test;
mod export;
mod import;
mod lab;
mod logs;
mod metrics;
mod packet;
mod remote;
mod run;
mod rundir;
mod schema;
mod status;
mod version;
mod watch;

use clap::{Parser, Subcommand};
use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

/// DPDK-based, high-throughput IPsec gateway.
///
/// `espway check` says what is wrong with a configuration, `espway run` runs it, `espway status` shows what happens.
#[derive(Parser)]
#[command(name = "espway", version = version::SHORT, max_term_width = 100)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Check(check::Args),
    Import(import::Args),
    Export(export::Args),
    Schema(schema::Args),
    Run(run::Args),
    Status(status::Args),
    Explain(explain::Args),
    PrintRemote(remote::Args),
    Metrics(metrics::Args),
    Apply(change::ApplyArgs),
    Diff(change::DiffArgs),
    Confirm(change::ConfirmArgs),
    Rollback(change::RollbackArgs),
    History(change::HistoryArgs),
    Log(logs::LogArgs),
    LogLevel(logs::LevelArgs),
    Packet(packet::Args),
    Capture(watch::CaptureArgs),
    Trace(watch::TraceArgs),
    Lab(lab::Args),
    Console(console::Args),
    Version(version::Args),
    /// One command of the console: `espway ip ipsec peer print`.
    #[command(external_subcommand)]
    Words(Vec<OsString>),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        Command::Check(args) => check::check(&args),
        Command::Import(args) => import::import(&args),
        Command::Export(args) => export::export(&args),
        Command::Schema(args) => schema::schema(&args),
        Command::Run(args) => run::run(&args),
        Command::Status(args) => status::status(&args),
        Command::PrintRemote(args) => remote::print_remote(&args),
        Command::Explain(args) => explain::explain(&args),
        Command::Metrics(args) => metrics::metrics(&args),
        Command::Apply(args) => change::apply(&args),
        Command::Diff(args) => change::diff(&args),
        Command::Confirm(args) => change::confirm(&args),
        Command::Rollback(args) => change::rollback(&args),
        Command::History(args) => change::history(&args),
        Command::Log(args) => logs::log(&args),
        Command::LogLevel(args) => logs::level(&args),
        Command::Packet(args) => packet::packet(&args),
        Command::Capture(args) => watch::capture(&args),
        Command::Trace(args) => watch::trace(&args),
        Command::Lab(args) => lab::lab(&args),
        Command::Version(args) => version::version(&args),
        Command::Console(args) => console::console(&args),
        Command::Words(words) if remote::is_meant(&words) => remote::print_remote(&remote::of_words(words)),
        Command::Words(words) => console::one_shot(&words),
    };
    result.unwrap_or_else(|error| {
        eprintln!("espway: {error:#}");
        ExitCode::FAILURE
    })
}

/// To standard output. Whoever stops reading (`| head`) has seen enough.
fn say(text: impl std::fmt::Display) {
    if writeln!(std::io::stdout().lock(), "{text}").is_err() {
        std::process::exit(0);
    }
}
