//! `espway version`: which source this was built from.
use std::process::ExitCode;

pub const SHORT: &str = concat!(env!("CARGO_PKG_VERSION"), " (", env!("ESPWAY_COMMIT"), ")");

/// Version, commit and target this was built from.
#[derive(clap::Args)]
pub struct Args {
    /// One JSON object instead of a line.
    #[arg(long)]
    json: bool,
}

pub fn version(args: &Args) -> anyhow::Result<ExitCode> {
    let (version, commit, target) = (env!("CARGO_PKG_VERSION"), env!("ESPWAY_COMMIT"), env!("ESPWAY_TARGET"));
    if args.json {
        crate::say(serde_json::json!({ "version": version, "commit": commit, "target": target }));
    } else {
        crate::say(format_args!("espway {version} ({commit}, {target})"));
    }
    Ok(ExitCode::SUCCESS)
}
