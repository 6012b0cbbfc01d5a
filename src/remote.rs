//! `espway print-remote`: the other side's configuration that fits ours.
use crate::rundir::RunDir;
use crate::status::request;
use anyhow::{Context, bail};
use clap::builder::PossibleValue;
use clap::{Parser, ValueEnum};
use config::remote::{Kind, print};
use ipc::status::{Request, Response};
use std::ffi::OsString;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

/// Print the other side's configuration for a peer: algorithms, identities, networks and addresses that fit ours.
///
/// From the running gateway, or with --config from a file. What the other kind cannot do is said in comments and on
/// standard error; exits with 1 when it will not connect.
#[derive(clap::Args)]
pub struct Args {
    /// The peer's name.
    name: String,
    /// What the other side is.
    #[arg(long = "for", value_enum)]
    kind: Other,
    /// With the secret; left out, a placeholder stands for it.
    #[arg(long)]
    show_sensitive: bool,
    /// From this file; no gateway is asked.
    #[arg(long, value_name = "FILE", conflicts_with = "run_dir")]
    config: Option<PathBuf>,
    /// Of the gateway in this folder.
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
}
/// The same as a command of its menu: `espway ip ipsec peer print-remote NAME --for KIND`.
#[derive(clap::Parser)]
#[command(name = "espway ip ipsec peer print-remote")]
struct InMenu {
    #[command(flatten)]
    args: Args,
}
const MENU: [&str; 4] = ["ip", "ipsec", "peer", "print-remote"];
pub fn is_meant(words: &[OsString]) -> bool {
    words.len() >= MENU.len()
        && words
            .iter()
            .zip(MENU)
            .all(|(word, wanted)| word.to_string_lossy().trim_start_matches('/') == wanted)
        // `for=routeros` is the console's way to say it.
        && !words.iter().any(|word| word.to_string_lossy().starts_with("for="))
}
/// Says what is wrong with them and ends, as with any other command.
pub fn of_words(words: Vec<OsString>) -> Args {
    InMenu::parse_from(words.into_iter().skip(MENU.len() - 1)).args
}

#[derive(Clone, Copy)]
struct Other(Kind);
impl ValueEnum for Other {
    fn value_variants<'a>() -> &'a [Self] {
        const ALL: [Other; Kind::ALL.len()] = {
            let mut all = [Other(Kind::Routeros); Kind::ALL.len()];
            let mut at = 0;
            while at < all.len() {
                all[at] = Other(Kind::ALL[at]);
                at += 1;
            }
            all
        };
        &ALL
    }
    fn to_possible_value(&self) -> Option<PossibleValue> {
        Some(PossibleValue::new(self.0.name()))
    }
}

pub fn print_remote(args: &Args) -> anyhow::Result<ExitCode> {
    let config = match &args.config {
        Some(file) => crate::check::load(file)?,
        None => running(args)?,
    };
    let printed = print(&config, &args.name, args.kind.0, args.show_sensitive).map_err(anyhow::Error::msg)?;
    // Whoever stops reading (`| head`) has seen enough.
    let _ = std::io::stdout().lock().write_all(printed.text.as_bytes());
    for problem in &printed.problems {
        eprintln!("espway: {problem}");
    }
    let connects = !printed.problems.iter().any(|problem| problem.starts_with("WILL NOT CONNECT"));
    Ok(if connects { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The configuration in force.
fn running(args: &Args) -> anyhow::Result<config::Config> {
    let run_dir = RunDir::find(args.run_dir.as_deref(), None)?;
    let socket = run_dir.control_socket();
    let asked = request(&socket, &Request::Configuration { entry: None });
    match asked.context("no gateway answers; --config FILE reads a file")? {
        Response::Configuration(text) => {
            Ok(config::check(&text.0).map_err(|complaints| anyhow::anyhow!("{complaints}"))?.config)
        }
        Response::Refused(refused) => bail!("{}", refused.said),
        Response::Error(error) => bail!("{error}"),
        _ => bail!("{} answered something else", socket.display()),
    }
}
