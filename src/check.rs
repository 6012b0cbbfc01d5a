//! `espway check`: everything that is wrong with a configuration, or that nothing is.
use config::{Checked, Complaints, LoadError};
use manage::credentials::Files;
use std::io::IsTerminal;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Check a configuration: all complaints at once, each with line, column, path and fix.
///
/// Exits with 0 when the configuration can be run (warnings do not count), with 1 when not.
#[derive(clap::Args)]
pub struct Args {
    /// The configuration file.
    file: PathBuf,
    /// One JSON object instead of text.
    #[arg(long)]
    json: bool,
}

pub fn check(args: &Args) -> anyhow::Result<ExitCode> {
    let (complaints, good) = match config::load(&args.file) {
        Ok(checked) => (checked.warnings, Some(checked.config)),
        Err(LoadError::Refused { complaints, .. }) => (complaints, None),
        Err(other) => return Err(other.into()),
    };
    // Files are looked at when the rest holds: what they are for may change with it.
    let files =
        good.as_ref().map(|config| Files::default().load(config, wall()).problems).unwrap_or_default();
    let holds = good.is_some() && !files.iter().any(|problem| problem.is_error);
    let code = if holds { ExitCode::SUCCESS } else { ExitCode::FAILURE };
    if args.json {
        let answer = serde_json::json!({
            "ok": holds,
            "file": args.file.display().to_string(),
            "errors": complaints.errors,
            "warnings": complaints.warnings,
            "complaints": complaints.list,
            "files": files.iter().map(|problem| serde_json::json!({
                "severity": if problem.is_error { "error" } else { "warning" },
                "path": problem.path,
                "said": problem.said,
                "fix": problem.fix,
            })).collect::<Vec<_>>(),
        });
        crate::say(answer);
        return Ok(code);
    }
    show(&args.file, &complaints);
    for problem in &files {
        let severity = if problem.is_error { "error" } else { "warning" };
        eprintln!("{severity}: {problem}");
    }
    let file = args.file.display();
    match good {
        Some(_) if !holds => {
            let errors = files.iter().filter(|problem| problem.is_error).count();
            crate::say(format_args!("{file}: refused ({} about files)", count(errors, "", "error")));
        }
        Some(config) => crate::say(format_args!(
            "{file}: good ({}{})",
            summary(&config),
            count(complaints.warnings, ", ", "warning")
        )),
        None => {
            let (errors, warnings) = (complaints.errors, complaints.warnings);
            crate::say(format_args!(
                "{file}: refused ({}{})",
                count(errors, "", "error"),
                count(warnings, ", ", "warning")
            ));
        }
    }
    Ok(code)
}

fn wall() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

/// The configuration for commands that need a good one; what is odd about it has been said.
pub fn load(file: &Path) -> anyhow::Result<config::Config> {
    match config::load(file) {
        Ok(Checked { config, warnings }) => {
            show(file, &warnings);
            Ok(config)
        }
        Err(LoadError::Refused { complaints, .. }) => {
            show(file, &complaints);
            anyhow::bail!("{} is refused ({})", file.display(), count(complaints.errors, "", "error"))
        }
        Err(other) => Err(other.into()),
    }
}

fn show(file: &Path, complaints: &Complaints) {
    let colour = std::io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    eprint!("{}", complaints.render(&file.display().to_string(), colour));
}

fn summary(config: &config::Config) -> String {
    [
        (config.interfaces.len(), "interface"),
        (config.addresses.len(), "address"),
        (config.routes.len(), "route"),
        (config.ipsec.peers.len(), "peer"),
        (config.ipsec.policies.len(), "policy"),
        (config.ipsec.manual_sas.len(), "manual SA"),
    ]
    .into_iter()
    .filter(|(n, _)| *n > 0)
    .map(|(n, what)| count(n, "", what))
    .collect::<Vec<_>>()
    .join(", ")
}

/// `3 peers` after `before`, or nothing.
fn count(n: usize, before: &str, what: &str) -> String {
    match (n, what.strip_suffix('y'), what.strip_suffix("ss")) {
        (0, ..) => String::new(),
        (1, ..) => format!("{before}1 {what}"),
        (n, Some(stem), _) => format!("{before}{n} {stem}ies"),
        (n, _, Some(_)) => format!("{before}{n} {what}es"),
        (n, ..) => format!("{before}{n} {what}s"),
    }
}
