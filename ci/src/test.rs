//! `cargo ci test`: everything a change must pass, step by step; `.ci/run` is this and nothing else.
use crate::cargo;
use crate::packages::{self, Need};
use crate::{fuzz, links};
use anyhow::{Context, Result, bail, ensure};
use clap::{Args, ValueEnum};
use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
pub struct Options {
    /// Only these steps
    #[arg(long, value_enum)]
    only: Vec<Step>,
    /// Seconds for each fuzz target
    #[arg(long, default_value_t = 10)]
    fuzz_seconds: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Debian packages and cargo-nextest
    Tools,
    Format,
    Links,
    Clippy,
    /// Unit, property and integration tests
    Unit,
    DocTests,
    /// Every interleaving of the rings
    Loom,
    Docs,
    Fuzz,
    /// Against strongSwan, Linux and ourselves, in namespaces
    Interop,
    /// `cargo ci up --check`
    Up,
}

/// What the test runners counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Count {
    passed: u64,
    failed: u64,
}

pub fn run(options: &Options) -> Result<bool> {
    let chosen: Vec<Step> = match options.only.as_slice() {
        [] => Step::value_variants().to_vec(),
        some => some.to_vec(),
    };
    let (mut total, mut times, mut broken) = (Count::default(), Vec::new(), Vec::new());
    for step in chosen {
        let name = step.to_possible_value().map_or_else(String::new, |value| value.get_name().to_owned());
        println!("── {name}");
        let begin = Instant::now();
        let result = step.run(options, &mut total);
        let took = begin.elapsed();
        let verdict = if result.is_ok() { "ok" } else { "FAILED" };
        println!("── {name}: {verdict}, {:.1} s", took.as_secs_f64());
        if let Err(why) = result {
            println!("{why:#}");
            broken.push(name.clone());
        }
        times.push((name, took, verdict));
        // Nothing else can be judged without these.
        if step == Step::Tools && !broken.is_empty() {
            break;
        }
    }
    println!("\n{}", time_table(&times));
    println!("{} passed, {} failed", total.passed, total.failed);
    if !broken.is_empty() {
        println!("steps that failed: {}", broken.join(", "));
    }
    Ok(broken.is_empty())
}

fn time_table(times: &[(String, Duration, &str)]) -> String {
    let row = |(name, took, verdict): &(String, Duration, &str)| {
        format!("{name:10} {:7.1} s  {verdict}", took.as_secs_f64())
    };
    let sum: Duration = times.iter().map(|(_, took, _)| *took).sum();
    let rows: Vec<_> = times.iter().map(row).collect();
    format!("{}\n{:10} {:7.1} s", rows.join("\n"), "together", sum.as_secs_f64())
}

/// Tests that share namespaces' CPUs and kernel with real peers; the rest needs neither root nor quiet.
const INTEROP: &str = "package(e2e) | (package(harness) & kind(test))";
/// Of these, what takes too long for every change: `cargo nextest run -p e2e --test others`.
const BY_HAND: &str = "package(e2e) & binary(others)";

impl Step {
    fn run(self, options: &Options, count: &mut Count) -> Result<()> {
        match self {
            Step::Tools => tools(),
            Step::Format => {
                cargo::check(&mut cargo::command(&["fmt", "--all", "--check"]))?;
                let fuzz = cargo::root().join("fuzz/Cargo.toml");
                cargo::check(cargo::command(&["fmt", "--check", "--manifest-path"]).arg(fuzz))
            }
            Step::Links => {
                links::check()?;
                links::check_commands()
            }
            Step::Clippy => {
                let words = ["clippy", "--workspace", "--all-targets", "--locked", "--", "-D", "warnings"];
                cargo::check(&mut cargo::command(&words))
            }
            Step::Unit => {
                let filter = format!("not ({INTEROP})");
                let mut command = nextest(&["--workspace", "-E", &filter]);
                // As many as half a minute of one core allows.
                command.env("ESPWAY_NEGOTIATIONS", "1000");
                counted(command, count)
            }
            Step::DocTests => counted(cargo::command(&["test", "--doc", "--workspace", "--locked"]), count),
            Step::Loom => {
                // Another `cfg` means another build of everything below: apart from the rest.
                let mut command = cargo::command(&["test", "-p", "ipc", "--locked", "--lib"]);
                // The models take less time than optimising what they are built with.
                command.args(["--config", "profile.dev.package.'*'.opt-level=0", "loom"]);
                command
                    .env("RUSTFLAGS", "--cfg loom")
                    .env("CARGO_TARGET_DIR", cargo::target_dir().join("loom"));
                counted(command, count)
            }
            Step::Docs => {
                let words = ["doc", "--workspace", "--no-deps", "--locked", "--document-private-items"];
                // Links to private items work: these pages have them.
                let flags = "-D warnings -A rustdoc::private_intra_doc_links";
                cargo::check(cargo::command(&words).env("RUSTDOCFLAGS", flags))
            }
            Step::Fuzz => fuzz::run(&fuzz::Options::all(options.fuzz_seconds)).map(drop),
            // Of the whole workspace, so that nothing is built again with fewer features; with the programs of that
            // build, whose arithmetic is checked. Optimising all once more would take longer than these tests.
            Step::Interop => {
                let filter = format!("({INTEROP}) - ({BY_HAND})");
                counted(nextest(&["--workspace", "-E", &filter]), count)
            }
            Step::Up => {
                cargo::check(&mut cargo::command(&["test", "--workspace", "--locked", "--no-run"]))?;
                up(&cargo::target_dir().join("debug"))
            }
        }
    }
}

fn tools() -> Result<()> {
    packages::ensure_installed(&[Need::Build, Need::Lab, Need::Strongswan, Need::Guest, Need::Scapy])?;
    let there =
        cargo::command(&["nextest", "--version"]).stdout(Stdio::null()).stderr(Stdio::null()).status();
    if !there.is_ok_and(|status| status.success()) {
        cargo::check(&mut cargo::command(&["install", "--locked", "cargo-nextest"]))?;
    }
    println!("hugepages: {}", crate::hugepages::prepare());
    Ok(())
}

fn nextest(words: &[&str]) -> Command {
    let mut command = cargo::command(&["nextest", "run", "--locked", "--no-fail-fast", "--color", "never"]);
    command.args(words);
    command
}

/// Runs a test runner, passes on what it prints, and adds up what it counts.
fn counted(mut command: Command, count: &mut Count) -> Result<()> {
    let shown = cargo::shown(&command);
    // The test's own error says what went wrong; a stack of its runner's frames says nothing more.
    command.env("RUST_BACKTRACE", "0");
    let both = "exec \"$0\" \"$@\" 2>&1";
    let mut shell = Command::new("sh");
    shell.args(["-c", both]).arg(command.get_program()).args(command.get_args()).current_dir(cargo::root());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    let mut child = shell.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().context("sh")?;
    let mut found = Count::default();
    for line in BufReader::new(child.stdout.take().context("no output")?).split(b'\n') {
        let line = String::from_utf8_lossy(&line?).into_owned();
        println!("{line}");
        if let Some(more) = summary(&line) {
            found.passed += more.passed;
            found.failed += more.failed;
        }
    }
    let status = child.wait()?;
    count.passed += found.passed;
    count.failed += found.failed;
    ensure!(status.success(), "{shown}: {status}");
    Ok(())
}

/// Reads nextest's summary line and cargo's own "test result".
fn summary(line: &str) -> Option<Count> {
    let plain = line.trim();
    if !(plain.starts_with("Summary [") || plain.starts_with("test result: ")) {
        return None;
    }
    let words: Vec<&str> = plain.split_whitespace().collect();
    let before = |what: &str| {
        let at = words.iter().position(|word| word.trim_end_matches([',', ';']) == what)?;
        words.get(at.checked_sub(1)?)?.parse().ok()
    };
    let failed = before("failed").unwrap_or(0) + before("timed").unwrap_or(0);
    Some(Count { passed: before("passed")?, failed })
}

/// The front page's first command, as a program would call it.
fn up(binaries: &Path) -> Result<()> {
    let own = std::env::current_exe()?;
    let mut command = Command::new(own);
    command.args(["up", "--check", "--json"]).env("ESPWAY_BIN_DIR", binaries);
    let out = command.stderr(Stdio::inherit()).output()?;
    let text = String::from_utf8_lossy(&out.stdout);
    let last = text.lines().next_back().unwrap_or_default();
    println!("{last}");
    let report: serde_json::Value = serde_json::from_str(last).context("the last line is no JSON")?;
    if !out.status.success() || report["ok"] != true {
        bail!("cargo ci up --check: {}", out.status);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn summaries_are_counted() {
        for (line, passed, failed) in [
            ("     Summary [  77.228s] 4 tests run: 4 passed (1 slow), 0 skipped", 4, 0),
            ("     Summary [   1.0s] 9 tests run: 6 passed, 2 failed, 1 timed out, 3 skipped", 6, 3),
            ("test result: FAILED. 5 passed; 1 failed; 0 ignored; 0 measured; 2 filtered out", 5, 1),
        ] {
            assert_eq!(summary(line), Some(Count { passed, failed }), "{line}");
        }
        assert_eq!(summary("test a ... 4 passed"), None);
    }
}
