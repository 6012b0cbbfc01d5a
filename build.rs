//! Provenance only: version, commit and target. It never looks for DPDK, which this package does not link.
use std::process::Command;

fn main() {
    let commit = git(&["describe", "--always", "--dirty", "--abbrev=12"]).unwrap_or_else(|| "unknown".into());
    println!("cargo:rustc-env=ESPWAY_COMMIT={commit}");
    println!("cargo:rustc-env=ESPWAY_TARGET={}", std::env::var("TARGET").unwrap_or_default());
    // Not this file: two packages use it, and cargo builds it anew when it changes.
    println!("cargo:rerun-if-env-changed=GIT_DIR");
    // It grows with each commit and checkout. Without it there is no commit to show and nothing to watch.
    let log =
        git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|path| std::path::Path::new(path).is_file());
    if let Some(log) = log {
        println!("cargo:rerun-if-changed={log}");
    }
}

fn git(args: &[&str]) -> Option<String> {
    let out = Command::new("git").args(args).output().ok().filter(|out| out.status.success())?;
    Some(String::from_utf8_lossy(&out.stdout).trim().to_owned()).filter(|text| !text.is_empty())
}
