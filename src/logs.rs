//! `espway log` and `espway log-level`: what a running gateway has logged, and how much it logs.
use crate::change::Gateway;
use anyhow::bail;
use ipc::status::{Request, Response};
use std::process::ExitCode;
use std::time::Duration;

/// Show what the gateway has logged lately, as `/log print` does.
#[derive(clap::Args)]
pub struct LogArgs {
    /// Go on with what comes.
    #[arg(long, short)]
    follow: bool,
    /// Only entries with all of these topics, as in `ipsec,error`; `!topic` excludes.
    #[arg(long, value_name = "TOPICS", value_delimiter = ',')]
    topics: Vec<String>,
    #[command(flatten)]
    gateway: Gateway,
}
/// Log more or less from now on, of everything or of one peer.
///
/// With `debug` every message of the exchanges with a peer is a line. Keys and secrets are never logged.
#[derive(clap::Args)]
pub struct LevelArgs {
    /// error, warn, info, debug or trace; for everything also by part like ike=debug,info; for a peer also `default`.
    level: String,
    /// Only messages about this peer.
    #[arg(long, value_name = "NAME")]
    peer: Option<String>,
    #[command(flatten)]
    gateway: Gateway,
}

const AGAIN: Duration = Duration::from_millis(500);

pub fn log(args: &LogArgs) -> anyhow::Result<ExitCode> {
    let mut after = 0;
    loop {
        let entries = match args.gateway.ask(&Request::Log { after })? {
            Response::Log(entries) => entries,
            Response::Error(error) => bail!("{error}"),
            _ => bail!("the slow path answered something else; are both of one version?"),
        };
        for entry in &entries {
            after = entry.id;
            if fits(&args.topics, &entry.topics) {
                crate::say(format_args!("{} {} {}", entry.time, entry.topics, entry.message));
            }
        }
        if !args.follow {
            return Ok(ExitCode::SUCCESS);
        }
        std::thread::sleep(AGAIN);
    }
}
fn fits(wanted: &[String], topics: &str) -> bool {
    let has = |name: &str| topics.split(',').any(|topic| topic == name);
    wanted.iter().all(|topic| match topic.strip_prefix('!') {
        Some(not) => !has(not),
        None => has(topic),
    })
}

pub fn level(args: &LevelArgs) -> anyhow::Result<ExitCode> {
    let ask = Request::LogLevel { filter: args.level.clone(), peer: args.peer.clone() };
    match args.gateway.ask(&ask)? {
        Response::Error(error) => bail!("{error}"),
        _ => Ok(ExitCode::SUCCESS),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn topics_are_chosen_as_rows_of_system_logging_choose_them() {
        let fits = |wanted: &[&str], topics| {
            super::fits(&wanted.iter().map(ToString::to_string).collect::<Vec<_>>(), topics)
        };
        assert!(fits(&[], "ipsec,info") && fits(&["ipsec", "info"], "ipsec,info"));
        assert!(!fits(&["ipsec", "!debug"], "ipsec,debug") && !fits(&["system"], "ipsec,info"));
    }
}
