//! Changing a running gateway: apply, diff, rollback, confirm, history.
mod show;
pub use show::plan as shown_plan;

use crate::rundir::RunDir;
use crate::status::request;
use anyhow::{Context, bail, ensure};
use config::document::Document;
use ipc::change::{Apply, Plan, Refused, Target};
use ipc::status::{Request, Response};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zeroize::Zeroizing;

/// Which running gateway is meant.
#[derive(clap::Args)]
pub struct Gateway {
    /// Of the gateway with this configuration.
    #[arg(long, value_name = "FILE", conflicts_with = "run_dir")]
    config: Option<PathBuf>,
    /// Of the gateway in this folder.
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
}
impl Gateway {
    pub fn ask(&self, what: &Request) -> anyhow::Result<Response> {
        let run_dir = RunDir::find(self.run_dir.as_deref(), self.config.as_deref())?;
        request(&run_dir.control_socket(), what).context("the slow path does not answer")
    }
}

/// Change a running gateway to another configuration.
///
/// The file is checked and compared with what runs; tunnels that it does not touch do not notice. It takes the place
/// of the file the gateway was started with, the former one is kept in the history. Without FILE, that file is read
/// again, as SIGHUP does. Exits with 1 when the change is refused; nothing has changed then.
#[derive(clap::Args)]
pub struct ApplyArgs {
    /// The new configuration, `-` for standard input.
    file: Option<PathBuf>,
    #[command(flatten)]
    how: How,
}
/// Go back to a former configuration.
#[derive(clap::Args)]
pub struct RollbackArgs {
    /// Its number in `espway history`.
    entry: u64,
    #[command(flatten)]
    how: How,
}
#[derive(clap::Args)]
struct How {
    /// Only say what it would do.
    #[arg(long)]
    dry_run: bool,
    /// Take it back after so many seconds unless `espway confirm` comes before: for changes that may cut you off.
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..=86400))]
    confirm: Option<u64>,
    /// A note for the history.
    #[arg(long, value_name = "TEXT", default_value = "")]
    comment: String,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
    #[command(flatten)]
    gateway: Gateway,
}

pub fn apply(args: &ApplyArgs) -> anyhow::Result<ExitCode> {
    let to = match &args.file {
        None => Target::File,
        Some(file) => Target::Text(read(file)?.to_string()),
    };
    change(to, &args.how)
}
pub fn rollback(args: &RollbackArgs) -> anyhow::Result<ExitCode> {
    change(Target::Entry(args.entry), &args.how)
}

fn change(to: Target, how: &How) -> anyhow::Result<ExitCode> {
    let apply = Apply {
        to,
        dry_run: how.dry_run,
        confirm: how.confirm,
        who: who(),
        comment: how.comment.clone(),
        without_rights: false,
        safe_mode: None,
    };
    match how.gateway.ask(&Request::Apply(Box::new(apply)))? {
        Response::Changed(plan) => {
            done(&plan, how);
            Ok(ExitCode::SUCCESS)
        }
        Response::Refused(refused) => Ok(refuse(&refused, how.json)),
        Response::Error(error) => bail!("{error}"),
        _ => bail!("the slow path answered something else; are both of one version?"),
    }
}
fn done(plan: &Plan, how: &How) {
    if how.json {
        return crate::say(serde_json::json!({ "ok": true, "dry-run": how.dry_run, "plan": plan }));
    }
    crate::say(show::plan(plan, how.dry_run));
    if let Some(seconds) = how.confirm.filter(|_| plan.entry > 0) {
        crate::say(format_args!("taken back in {seconds} s unless `espway confirm` comes before"));
    }
}
fn refuse(refused: &Refused, json: bool) -> ExitCode {
    if json {
        crate::say(serde_json::json!({ "ok": false, "refused": refused }));
    } else {
        for line in &refused.complaints {
            eprintln!("  {line}");
        }
        eprintln!("espway: nothing has changed: {}", refused.said);
    }
    ExitCode::FAILURE
}

/// Keep a change that was applied with --confirm.
#[derive(clap::Args)]
pub struct ConfirmArgs {
    #[command(flatten)]
    gateway: Gateway,
}
pub fn confirm(args: &ConfirmArgs) -> anyhow::Result<ExitCode> {
    match args.gateway.ask(&Request::Confirm)? {
        Response::Done => Ok(ExitCode::SUCCESS),
        Response::Refused(refused) => Ok(refuse(&refused, false)),
        other => bail!("the slow path answered {other:?}"),
    }
}

/// Who changed what, and when.
#[derive(clap::Args)]
pub struct HistoryArgs {
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
    /// Every change of each entry, not only the first three.
    #[arg(long)]
    all: bool,
    #[command(flatten)]
    gateway: Gateway,
}
pub fn history(args: &HistoryArgs) -> anyhow::Result<ExitCode> {
    let entries = match args.gateway.ask(&Request::History)? {
        Response::History(entries) => entries,
        other => bail!("the slow path answered {other:?}"),
    };
    match args.json {
        true => crate::say(serde_json::json!({ "history": entries })),
        false => crate::say(show::history(&entries, args.all)),
    }
    Ok(ExitCode::SUCCESS)
}

/// Compare configurations, object by object.
///
/// `espway diff NEW.yaml` compares what runs with a file, `espway diff 3` with an entry of the history, `espway diff
/// OLD NEW` two files or entries. Secrets are not shown. Exits with 0 whether something differs or not.
#[derive(clap::Args)]
pub struct DiffArgs {
    /// One or two files or numbers of the history.
    #[arg(required = true, num_args = 1..=2, value_name = "FILE|ENTRY")]
    which: Vec<String>,
    #[command(flatten)]
    gateway: Gateway,
}
pub fn diff(args: &DiffArgs) -> anyhow::Result<ExitCode> {
    let (old, new) = match args.which.as_slice() {
        [one] => (running(&args.gateway, None)?, document(one, &args.gateway)?),
        [old, new] => (document(old, &args.gateway)?, document(new, &args.gateway)?),
        _ => bail!("one or two files or entries"),
    };
    let differences = new.since(&old);
    if differences.is_empty() {
        crate::say("nothing differs");
    }
    differences.iter().for_each(crate::say);
    Ok(ExitCode::SUCCESS)
}
fn document(which: &str, gateway: &Gateway) -> anyhow::Result<Document> {
    match which.parse::<u64>() {
        Ok(entry) if !Path::new(which).exists() => running(gateway, Some(entry)),
        _ => parse(&read(Path::new(which))?, which),
    }
}
fn running(gateway: &Gateway, entry: Option<u64>) -> anyhow::Result<Document> {
    match gateway.ask(&Request::Configuration { entry })? {
        Response::Configuration(text) => parse(&text.0, "what the gateway has"),
        Response::Refused(refused) => bail!("{}", refused.said),
        other => bail!("the slow path answered {other:?}"),
    }
}
fn parse(text: &str, name: &str) -> anyhow::Result<Document> {
    match Document::from_yaml(text) {
        Ok((document, _)) => Ok(document),
        Err(complaints) => bail!("{name} is not a configuration:\n{complaints}"),
    }
}

fn read(file: &Path) -> anyhow::Result<Zeroizing<String>> {
    let mut text = Zeroizing::new(String::new());
    if file == Path::new("-") {
        std::io::stdin().read_to_string(&mut text).context("standard input")?;
    } else {
        let bytes = Zeroizing::new(std::fs::read(file).with_context(|| file.display().to_string())?);
        if let Some(what) = config::foreign(&bytes) {
            bail!("{} is {what}", file.display());
        }
        let read = std::str::from_utf8(&bytes)
            .with_context(|| format!("{} is not text in UTF-8", file.display()))?;
        text = Zeroizing::new(read.to_owned());
    }
    ensure!(!text.trim().is_empty(), "{} is empty", file.display());
    Ok(text)
}

/// For the history: the one behind `sudo`, if there is one.
pub fn who() -> String {
    let named = ["SUDO_USER", "LOGNAME", "USER"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
    named.unwrap_or_else(|| format!("uid {}", rustix::process::getuid().as_raw()))
}

/// What SIGHUP asks of the slow path: the file as it is now.
pub fn reload(socket: &Path) -> anyhow::Result<Result<Plan, Refused>> {
    let apply = Apply {
        to: Target::File,
        dry_run: false,
        confirm: None,
        who: "SIGHUP".into(),
        comment: String::new(),
        without_rights: false,
        safe_mode: None,
    };
    match request(socket, &Request::Apply(Box::new(apply)))? {
        Response::Changed(plan) => Ok(Ok(*plan)),
        Response::Refused(refused) => Ok(Err(refused)),
        other => bail!("the slow path answered {other:?}"),
    }
}
