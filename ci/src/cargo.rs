//! Running cargo in this workspace.
use anyhow::{Context, Result, ensure};
use harness::espway::Binaries;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The repository's root folder.
pub fn root() -> PathBuf {
    let ci = Path::new(env!("CARGO_MANIFEST_DIR"));
    ci.parent().unwrap_or(ci).to_owned()
}

/// Where cargo puts what it builds.
pub fn target_dir() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// `cargo` with these words, in the root folder.
pub fn command(words: &[&str]) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words).current_dir(root());
    // `cargo run` says which package it runs; what is started here is no part of it.
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("CARGO_PKG_"))
    {
        command.env_remove(name);
    }
    command.env_remove("CARGO_MANIFEST_DIR");
    command
}

pub fn check(command: &mut Command) -> Result<()> {
    let shown = shown(command);
    let status = command.status().with_context(|| format!("cannot start {shown}"))?;
    ensure!(status.success(), "{shown}: {status}");
    Ok(())
}

pub fn shown(command: &Command) -> String {
    let name =
        Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy().into_owned();
    let words = command.get_args().map(|word| word.to_string_lossy().into_owned());
    std::iter::once(name).chain(words).collect::<Vec<_>>().join(" ")
}

/// The gateway's programs: those in `ESPWAY_BIN_DIR`, else optimised ones.
pub fn binaries() -> Result<Binaries> {
    match std::env::var_os("ESPWAY_BIN_DIR") {
        Some(dir) => Binaries::in_dir(dir),
        None => Binaries::in_dir(build_release()?),
    }
}

/// All programs, optimised.
pub fn build_release() -> Result<PathBuf> {
    let packages = ["-p", "espway", "-p", "espway-fastpath", "-p", "espway-slowpath", "-p", "espway-lab"];
    check(command(&["build", "--release", "--locked"]).args(packages))?;
    Ok(target_dir().join("release"))
}
