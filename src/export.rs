//! `espway export`: a configuration file as a RouterOS script, as YAML or as JSON.
use anyhow::{Context, bail};
use clap::ValueEnum;
use config::Document;
use config::document::Secrets;
use config::script::export::{Amount, Style, export as script};
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;
use zeroize::Zeroizing;

/// Largest configuration file.
const MAX_BYTES: u64 = 32 << 20;

/// Print a configuration as a RouterOS script, as YAML or as JSON. Secrets are left out unless asked for.
///
/// Without --config, that of the running gateway.
#[derive(clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, conflicts_with = "run_dir")]
    config: Option<PathBuf>,
    /// The gateway in this folder.
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// What to print.
    #[arg(long, value_enum, default_value = "routeros")]
    format: Format,
    /// With secrets.
    #[arg(long)]
    show_sensitive: bool,
    /// Defaults, too (RouterOS script).
    #[arg(long, conflicts_with = "terse")]
    verbose: bool,
    /// Each line a whole command (RouterOS script).
    #[arg(long)]
    terse: bool,
}
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Routeros,
    Yaml,
    Json,
}

pub fn export(args: &Args) -> anyhow::Result<ExitCode> {
    if args.format != Format::Routeros && (args.verbose || args.terse) {
        bail!("--verbose and --terse go with --format routeros");
    }
    let Some(file) = &args.config else { return running(args) };
    let document = read(file)?;
    let secrets = if args.show_sensitive { Secrets::Shown } else { Secrets::Hidden };
    let amount = match (args.verbose, args.terse) {
        (true, _) => Amount::Verbose,
        (_, true) => Amount::Terse,
        _ => Amount::Compact,
    };
    let text = match args.format {
        Format::Routeros => script(&document, Style { amount, secrets }, &now(), env!("CARGO_PKG_VERSION")),
        Format::Yaml => document.to_yaml(secrets),
        Format::Json => Zeroizing::new(format!("{:#}\n", document.to_json(secrets))),
    };
    // Whoever stops reading (`| head`) has seen enough.
    let _ = std::io::stdout().lock().write_all(text.as_bytes());
    Ok(ExitCode::SUCCESS)
}

/// As the console does it.
fn running(args: &Args) -> anyhow::Result<ExitCode> {
    let format = match args.format {
        Format::Routeros => "routeros",
        Format::Yaml => "yaml",
        Format::Json => "json",
    };
    let words = [("show-sensitive", args.show_sensitive), ("verbose", args.verbose), ("terse", args.terse)];
    let words: Vec<_> = words.into_iter().filter_map(|(word, given)| given.then_some(word)).collect();
    crate::console::command(args.run_dir.as_deref(), &format!("/export format={format} {}", words.join(" ")))
}

fn read(name: &Path) -> anyhow::Result<Document> {
    let path = name.display();
    let mut bytes = Zeroizing::new(Vec::new());
    let file = std::fs::File::open(name).with_context(|| path.to_string())?;
    file.take(MAX_BYTES + 1).read_to_end(&mut bytes).with_context(|| path.to_string())?;
    if let Some(what) = config::foreign(&bytes) {
        bail!("{path} is {what}");
    }
    let text = std::str::from_utf8(&bytes).with_context(|| format!("{path} is not text in UTF-8"))?;
    match Document::from_yaml(text) {
        Ok((document, _)) => Ok(document),
        Err(complaints) => {
            eprint!("{}", complaints.render(&path.to_string(), false));
            bail!("{path} is refused")
        }
    }
}

fn now() -> String {
    let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
    config::date::show(since.as_secs())
}
