//! `espway import`: another gateway's configuration becomes one of ours, with a report about each line.
use anyhow::{Context, bail, ensure};
use clap::ValueEnum;
use config::document::{Document, Secrets};
use config::script::import::{Imported, MissingSecret};
use config::script::{self, decode};
use rustix::termios::{LocalModes, OptionalActions, Termios, tcgetattr, tcsetattr};
use std::fs::{self, File, OpenOptions};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use zeroize::Zeroizing;

/// Turn a RouterOS export or a swanctl.conf into a configuration.
///
/// Says line by line what was taken over, what was changed and why, and what is not covered. Nothing is fatal: what
/// cannot be taken over is kept out and said. Without --output it only reports.
#[derive(clap::Args)]
pub struct Args {
    /// The export (`/export show-sensitive file=...` on the router) or swanctl.conf.
    file: PathBuf,
    /// The configuration file to write; readable by its owner only when it holds secrets.
    #[arg(long)]
    output: Option<PathBuf>,
    /// Where the file comes from.
    #[arg(long, value_enum, default_value = "routeros")]
    from: From,
    /// Ask on the terminal for secrets that are not in the file.
    #[arg(long, conflicts_with = "secrets_file")]
    ask_secrets: bool,
    /// Secrets that are not in the file, one a line: `PEER: secret`, `PEER password: secret`, `radius ADDRESS: secret`.
    #[arg(long)]
    secrets_file: Option<PathBuf>,
    /// What an interface is made of on this machine: `ether1=pci:0000:01:00.0`. Once for each.
    #[arg(long = "device", value_name = "INTERFACE=DEVICE")]
    devices: Vec<String>,
    /// Write over the output file.
    #[arg(long)]
    force: bool,
    /// The report as one JSON object.
    #[arg(long)]
    json: bool,
}
#[derive(Clone, Copy, ValueEnum)]
enum From {
    Routeros,
    Swanctl,
}

/// The files of an `include`, which may have `*` and `?` in its last part; relative to the file it stands in.
fn included(
    first: &Path,
    what: &str,
    of: Option<&Path>,
) -> Result<Vec<(PathBuf, script::swanctl::Text)>, String> {
    let folder = of.unwrap_or(first).parent().unwrap_or(Path::new(""));
    let wanted = folder.join(what.trim_matches('"'));
    let (folder, pattern) =
        (wanted.parent().unwrap_or(Path::new("")), wanted.file_name().unwrap_or_default());
    let pattern = pattern.to_str().ok_or("its name is not UTF-8")?;
    let mut paths = vec![wanted.clone()];
    if pattern.contains(['*', '?']) {
        let here = if folder.as_os_str().is_empty() { Path::new(".") } else { folder };
        let entries = fs::read_dir(here).map_err(|error| format!("{}: {error}", here.display()))?;
        let names = entries.filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        paths = names
            .filter(|name| fits(name.as_bytes(), pattern.as_bytes()))
            .map(|name| folder.join(name))
            .collect();
        paths.sort();
    }
    if paths.is_empty() {
        return Err(format!("no file is called {}", wanted.display()));
    }
    let text = |path: PathBuf| {
        let text = read(&path).map_err(|error| format!("{error:#}"))?;
        Ok((path, script::swanctl::Text::new(text)))
    };
    paths.into_iter().map(text).collect()
}
/// A name and what it is to look like.
fn fits(name: &[u8], pattern: &[u8]) -> bool {
    match (name, pattern) {
        ([], []) => true,
        (_, [b'*', rest @ ..]) => (0..=name.len()).any(|at| fits(&name[at..], rest)),
        ([_, name @ ..], [b'?', rest @ ..]) => fits(name, rest),
        ([a, name @ ..], [b, rest @ ..]) => a == b && fits(name, rest),
        _ => false,
    }
}

pub fn import(args: &Args) -> anyhow::Result<ExitCode> {
    let text = read(&args.file)?;
    if let Some(output) = args.output.as_deref().filter(|output| !args.force && output.exists()) {
        bail!("{} is there already; --force writes over it", output.display());
    }
    let mut done = match args.from {
        From::Routeros => script::import(&text),
        From::Swanctl => script::swanctl::import_with(&text, &mut |what, of| included(&args.file, what, of)),
    };
    let given = match &args.secrets_file {
        Some(file) => secrets_of(file)?,
        None => Vec::new(),
    };
    let give = |missing: &MissingSecret| match given.iter().find(|(key, _)| *key == missing.key) {
        None if args.ask_secrets => ask(&missing.what).map(Some),
        from_file => Ok(from_file.map(|(_, secret)| secret.clone())),
    };
    let mut secrets = done.missing.iter().map(give).collect::<anyhow::Result<Vec<_>>>()?.into_iter();
    done.fill_in(|_| secrets.next().flatten())?;
    for device in &args.devices {
        self::device(&mut done.document, device)?;
    }
    let mut wrote = None;
    if let Some(output) = &args.output {
        let yaml = done.document.to_yaml(Secrets::Shown);
        let mode = if holds_secrets(&done.document) { 0o600 } else { 0o644 };
        write(output, &yaml, mode, args.force)?;
        wrote = Some(output.as_path());
    }
    say(args, &done, wrote);
    Ok(ExitCode::SUCCESS)
}

fn read(path: &Path) -> anyhow::Result<Zeroizing<String>> {
    let mut bytes = Zeroizing::new(Vec::new());
    let file = File::open(path).with_context(|| path.display().to_string())?;
    let size = file.take(script::MAX_BYTES as u64 + 1).read_to_end(&mut bytes);
    size.with_context(|| path.display().to_string())?;
    ensure!(bytes.len() <= script::MAX_BYTES, "{} has more than {} bytes", path.display(), script::MAX_BYTES);
    if let Some(what) = config::foreign(&bytes) {
        bail!("{} is {what}", path.display());
    }
    Ok(decode(&bytes))
}

fn secrets_of(path: &Path) -> anyhow::Result<Vec<(String, Zeroizing<String>)>> {
    let mode = fs::metadata(path).with_context(|| path.display().to_string())?.permissions().mode();
    if mode & 0o077 != 0 {
        eprintln!("espway: {} can be read by others (mode {:o})", path.display(), mode & 0o777);
    }
    let text = read(path)?;
    let lines = text.lines().enumerate().map(|(at, line)| (at + 1, line.trim()));
    let lines = lines.filter(|(_, line)| !line.is_empty() && !line.starts_with('#'));
    lines
        .map(|(at, line)| {
            let (key, secret) = line
                .split_once(": ")
                .with_context(|| format!("{} line {at}: write `PEER: secret`", path.display()))?;
            Ok((key.trim().to_owned(), Zeroizing::new(secret.trim().to_owned())))
        })
        .collect()
}

/// `ether1=pci:0000:01:00.0`
fn device(document: &mut Document, text: &str) -> anyhow::Result<()> {
    let (name, device) =
        text.split_once('=').with_context(|| format!("--device {text}: write INTERFACE=DEVICE"))?;
    let place = config::schema::place("interface").context("a menu of the table")?;
    let row = document.by_name(place, name).map(|row| row.id);
    let names = || document.rows(place).iter().filter_map(|row| row.name()).collect::<Vec<_>>().join(", ");
    let id =
        row.with_context(|| format!("--device {text}: no interface `{name}`; there are: {}", names()))?;
    document.set(place, id, &[("device", Some(device))]).with_context(|| format!("--device {text}"))
}

/// Asks on the terminal, which does not show what is typed.
pub fn ask(what: &str) -> anyhow::Result<Zeroizing<String>> {
    let terminal = OpenOptions::new().read(true).write(true).open("/dev/tty");
    let terminal = terminal.context("a terminal is needed to ask for secrets; use --secrets-file")?;
    let before = tcgetattr(&terminal).context("the terminal")?;
    write!(&terminal, "{what}: ")?;
    let silent = Silent { terminal: &terminal, before: &before };
    let mut hidden = before.clone();
    hidden.local_modes.remove(LocalModes::ECHO);
    tcsetattr(&terminal, OptionalActions::Flush, &hidden).context("the terminal")?;
    let mut line = Zeroizing::new(String::with_capacity(1024));
    BufReader::new(&terminal).read_line(&mut line)?;
    drop(silent);
    writeln!(&terminal)?;
    Ok(Zeroizing::new(line.trim_end_matches(['\n', '\r']).to_owned()))
}
/// Shows again what is typed, also when reading failed.
struct Silent<'a> {
    terminal: &'a File,
    before: &'a Termios,
}
impl Drop for Silent<'_> {
    fn drop(&mut self) {
        // Nothing is left to do when even this fails.
        let _ = tcsetattr(self.terminal, OptionalActions::Now, self.before);
    }
}

fn holds_secrets(document: &Document) -> bool {
    let rows = config::schema::places().iter().flat_map(|place| document.rows(place));
    rows.into_iter().any(|row| row.cells().any(|(field, _)| field.is_secret()))
}
/// As a whole or not at all: a file beside it takes its place.
pub fn write(path: &Path, text: &str, mode: u32, over: bool) -> anyhow::Result<()> {
    let what = || path.display().to_string();
    let mut name = path.file_name().with_context(what)?.to_owned();
    name.push(format!(".{}.new", std::process::id()));
    let beside = path.with_file_name(name);
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(mode)
        .open(&beside)
        .with_context(|| beside.display().to_string())?;
    let written = file.write_all(text.as_bytes()).and_then(|()| file.sync_all());
    let placed = written.and_then(|()| match over {
        true => fs::rename(&beside, path),
        // Fails when somebody was faster, where `rename` would not.
        false => fs::hard_link(&beside, path),
    });
    if !over || placed.is_err() {
        let _ = fs::remove_file(&beside);
    }
    placed.with_context(what)
}

/// All of it on standard output: the report is what the command is for, and standard error is for what failed.
fn say(args: &Args, done: &Imported, wrote: Option<&Path>) {
    let open: Vec<&str> = done.missing.iter().map(|missing| missing.what.as_str()).collect();
    let faults = match done.document.check() {
        Ok(_) => 0,
        Err(complaints) => complaints.errors,
    };
    if args.json {
        return crate::say(serde_json::json!({
            "file": args.file.display().to_string(),
            "output": wrote.map(|path| path.display().to_string()),
            "source": done.report.source,
            "summary": done.report.summary(),
            "lines": done.report.lines,
            "notes": done.report.notes,
            "missing-secrets": open,
            "faults": faults,
        }));
    }
    for line in done.report.to_string().lines() {
        crate::say(line);
    }
    let source = done.report.source.as_ref().map(|source| format!(" ({source})")).unwrap_or_default();
    crate::say(format_args!("{}{source}: {}", args.file.display(), done.report.summary()));
    for what in &open {
        crate::say(format_args!("missing: {what}"));
    }
    match (wrote, faults) {
        (None, _) => crate::say("nothing written; --output FILE.yaml writes the configuration"),
        (Some(path), 0) => crate::say(format_args!("{}: written, and can be run", path.display())),
        (Some(path), n) => crate::say(format_args!(
            "{0}: written; before it can be run, {n} {1} to be done: `espway check {0}`",
            path.display(),
            if n == 1 { "thing is" } else { "things are" }
        )),
    }
}
