//! `cargo ci fuzz`: each target of `fuzz/` for some seconds, with coverage and AddressSanitizer.
//!
//! The flags are what a stable toolchain needs to build libFuzzer targets; no further tool has to be installed.
use crate::cargo;
use anyhow::{Context, Result, bail, ensure};
use clap::Args;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

#[derive(Debug, Args)]
pub struct Options {
    /// One target; all when left out
    target: Option<String>,
    /// How long each runs
    #[arg(long, default_value_t = 10)]
    seconds: u32,
}

impl Options {
    pub fn all(seconds: u32) -> Self {
        Self { target: None, seconds }
    }
}

const TRIPLE: &str = "x86_64-unknown-linux-gnu";
const FLAGS: &[&str] = &[
    "--cfg fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "-Cdebug-assertions",
    "-Coverflow-checks",
    "-Zsanitizer=address",
];

fn folder() -> PathBuf {
    cargo::root().join("fuzz")
}

/// Names of the targets, from the files they are.
pub fn targets() -> Result<Vec<String>> {
    let dir = folder().join("fuzz_targets");
    let files = fs::read_dir(&dir).with_context(|| dir.display().to_string())?;
    let paths = files.flatten().map(|entry| entry.path());
    let rust = paths.filter(|path| path.extension().is_some_and(|extension| extension == "rs"));
    let mut names: Vec<String> =
        rust.filter_map(|path| Some(path.file_stem()?.to_string_lossy().into_owned())).collect();
    names.sort();
    ensure!(!names.is_empty(), "no targets in {}", dir.display());
    Ok(names)
}

pub fn run(options: &Options) -> Result<bool> {
    let all = targets()?;
    let chosen = match &options.target {
        None => all,
        Some(one) => {
            ensure!(all.contains(one), "no fuzz target `{one}`; there are: {}", all.join(", "));
            vec![one.clone()]
        }
    };
    let built = build()?;
    println!("{} s each", options.seconds);
    let next = AtomicUsize::new(0);
    let work = || -> Result<()> {
        while let Some(name) = chosen.get(next.fetch_add(1, Ordering::Relaxed)) {
            let units = fuzz(&built.join(name), name, options.seconds)?;
            println!("  {name}: {units} inputs");
        }
        Ok(())
    };
    // A target uses one CPU.
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(chosen.len());
    let results: Vec<Result<()>> = std::thread::scope(|scope| {
        let all: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        all.into_iter().map(|one| one.join().unwrap_or_else(|_| bail!("a worker panicked"))).collect()
    });
    results.into_iter().collect::<Result<()>>()?;
    println!("{} targets, nothing found", chosen.len());
    Ok(true)
}

fn build() -> Result<PathBuf> {
    let target_dir = cargo::target_dir().join("fuzz");
    let manifest = folder().join("Cargo.toml");
    let mut command =
        cargo::command(&["build", "--release", "--locked", "--target", TRIPLE, "--bins", "--manifest-path"]);
    command.arg(manifest).arg("--target-dir").arg(&target_dir);
    // Sanitizers are compiler flags of a nightly; the same compiler accepts them when told to.
    command.env("RUSTC_BOOTSTRAP", "1").env("RUSTFLAGS", FLAGS.join(" "));
    command.env("CARGO_PROFILE_RELEASE_LTO", "off");
    cargo::check(&mut command)?;
    Ok(target_dir.join(TRIPLE).join("release"))
}

/// How many inputs it took.
fn fuzz(program: &Path, name: &str, seconds: u32) -> Result<String> {
    let corpus = folder().join("corpus").join(name);
    let artifacts = folder().join("artifacts").join(name);
    for dir in [&corpus, &artifacts] {
        fs::create_dir_all(dir)?;
    }
    let mut command = Command::new(program);
    command
        .arg(format!("-max_total_time={seconds}"))
        .arg("-rss_limit_mb=2048")
        .arg("-timeout=10")
        .arg("-print_final_stats=1")
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(&corpus);
    let seeds = folder().join("seeds").join(name);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    let out = command.output().with_context(|| program.display().to_string())?;
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    let kept = fs::read_dir(&artifacts)?.flatten().map(|entry| entry.path().display().to_string());
    ensure!(
        out.status.success(),
        "{name}: {}\n{}\ninputs that did it: {}",
        out.status,
        harness::process::tail(&text, 60),
        kept.collect::<Vec<_>>().join(" ")
    );
    let units = text.lines().find_map(|line| line.strip_prefix("stat::number_of_executed_units:"));
    Ok(units.with_context(|| format!("{name} did not say how many inputs it took"))?.trim().to_owned())
}
