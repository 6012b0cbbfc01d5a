//! `espway console`: RouterOS's console on a running gateway or on a file.
//!
//! `session` carries out lines, `print` shows rows, `change` and `files` do the rest; `remote` is whom they speak to,
//! over HTTP to a gateway (`http`) or within this process on a file (`offline`). `editor` is the prompt.
mod args;
mod cell;
mod change;
mod condition;
mod editor;
mod fault;
mod files;
mod http;
mod items;
mod offline;
mod oneshot;
mod print;
mod remote;
mod session;
mod style;
mod terminal;
#[cfg(test)]
mod tests;

use crate::rundir::RunDir;
use anyhow::{Context, bail};
use clap::Parser;
use remote::Remote;
use session::{Flow, Session};
use std::ffi::OsString;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use terminal::Terminal;
use zeroize::Zeroizing;

/// A console as RouterOS's, on a running gateway or on a file.
///
/// `?` and Tab say what can be typed. One command goes without it: `espway ip ipsec peer print`. Commands that come
/// through standard input are carried out to the first mistake, as those of a file.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    whom: Whom,
    /// Carry out the lines of this file.
    #[arg(long, value_name = "FILE")]
    file: Option<PathBuf>,
}
#[derive(clap::Args)]
struct Whom {
    /// Work on this file, without a gateway; `/save` writes it.
    #[arg(long, value_name = "FILE", conflicts_with = "run_dir")]
    config: Option<PathBuf>,
    /// The gateway in this folder.
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
}
impl Whom {
    fn remote(&self) -> anyhow::Result<Box<dyn Remote>> {
        if let Some(file) = &self.config {
            return Ok(Box::new(offline::OnFile::open(file, crate::change::who())?));
        }
        let run_dir = RunDir::find(self.run_dir.as_deref(), None)?;
        Ok(Box::new(http::Http::new(&run_dir.api_socket())?))
    }
}

/// One command, as it comes from a shell.
#[derive(Parser)]
#[command(name = "espway", disable_help_flag = true)]
struct OneShot {
    #[command(flatten)]
    whom: Whom,
    #[arg(allow_hyphen_values = false, num_args = 1..)]
    words: Vec<String>,
}

pub fn console(args: &Args) -> anyhow::Result<ExitCode> {
    let mut session = Session::new(args.whom.remote()?, Box::new(Terminal::new(true)));
    if let Some(file) = &args.file {
        let text = std::fs::read(file).map(Zeroizing::new).with_context(|| file.display().to_string())?;
        return script(session, &config::script::decode(&text), &file.display().to_string());
    }
    if !std::io::stdin().is_terminal() {
        let mut text = Zeroizing::new(Vec::new());
        std::io::stdin().lock().read_to_end(&mut text).context("standard input")?;
        return script(session, &config::script::decode(&text), "standard input");
    }
    let interrupted = Arc::clone(&session.interrupted);
    signal_hook::flag::register(signal_hook::consts::SIGINT, interrupted)?;
    let names = editor::Names { who: crate::change::who(), gateway: gateway(&mut session)? };
    let style = session.out.style();
    editor::run(session, &names, style)?;
    Ok(ExitCode::SUCCESS)
}
/// What it is called; asking also says at once whether anybody answers.
fn gateway(session: &mut Session) -> anyhow::Result<String> {
    let rows = session.remote.rows("system", Vec::new()).map_err(|fault| anyhow::anyhow!("{fault}"))?;
    let name = rows.first().map(|row| cell::of(row, "name").into_owned()).unwrap_or_default();
    Ok(cell::printable(if name.is_empty() { "espway" } else { &name }).into_owned())
}

/// `espway ip ipsec peer print`
pub fn one_shot(words: &[OsString]) -> anyhow::Result<ExitCode> {
    let first = words.first().map(|word| word.to_string_lossy().into_owned()).unwrap_or_default();
    is_known(&first)?;
    let words = std::iter::once(OsString::from("espway")).chain(words.iter().cloned());
    let args = OneShot::try_parse_from(words).unwrap_or_else(|error| error.exit());
    let session = Session::new(args.whom.remote()?, Box::new(Terminal::new(false)));
    let line = Zeroizing::new(format!("/{}", oneshot::line(&args.words).trim_start_matches('/')));
    script(session, &line, "")
}
/// One line on a running gateway, for other commands.
pub fn command(run_dir: Option<&Path>, line: &str) -> anyhow::Result<ExitCode> {
    let whom = Whom { config: None, run_dir: run_dir.map(Into::into) };
    script(Session::new(whom.remote()?, Box::new(Terminal::new(false))), line, "")
}
/// A word that begins no path is one of ours, misspelt.
fn is_known(word: &str) -> anyhow::Result<()> {
    use config::script::names::menus;
    let begun = word.trim_start_matches('/').split(['/', ' ']).next().unwrap_or_default();
    match menus().step(menus().root(), begun) {
        Ok(_) => Ok(()),
        Err(no_such) if !no_such.may_be.is_empty() => bail!("{no_such}"),
        Err(no_such) => bail!("{no_such}; `espway --help` lists commands, `espway console` has a prompt"),
    }
}

/// Lines to the first mistake. What was changed in a file before it is not kept.
fn script(mut session: Session, text: &str, name: &str) -> anyhow::Result<ExitCode> {
    let _: Flow = match session.run(text) {
        Ok(flow) => flow,
        Err(mut fault) => {
            let place = fault.place(text).filter(|_| !name.is_empty());
            let at = place.map(|(line, column)| format!("{name}:{line}:{column}: ")).unwrap_or_default();
            fault.span = None;
            eprintln!("espway: {at}{}", fault.shown(text));
            return Ok(ExitCode::FAILURE);
        }
    };
    if session.remote.unsaved().is_some_and(|unsaved| !unsaved.is_empty()) {
        match session.remote.save() {
            Ok(said) => eprintln!("{said}"),
            Err(fault) => {
                eprintln!("espway: {}", fault.shown(""));
                return Ok(ExitCode::FAILURE);
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
