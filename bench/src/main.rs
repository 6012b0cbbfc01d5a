//! `bench quick [--json]`: see `docs/performance.md`.
use anyhow::{Result, ensure};
use bench::quick;
use clap::{Parser, Subcommand};

/// Until caches, predictors and clock have settled.
const WARM_UP: usize = 20;

#[derive(Parser)]
#[command(about = "Measures the datapath in memory, beside the floor that the crypto library sets")]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// Cycles per packet of the outbound and inbound path at 64, 512 and 1400 bytes.
    Quick {
        /// One JSON object instead of a table.
        #[arg(long)]
        json: bool,
        /// Samples of each row; a sample is 512 packets.
        #[arg(long, default_value_t = 300)]
        rounds: usize,
        /// The core to run on; the last one unless named.
        #[arg(long)]
        core: Option<usize>,
    },
}

fn main() -> Result<()> {
    let What::Quick { json, rounds, core } = Command::parse().what;
    ensure!(rounds > 0, "--rounds must be at least 1");
    let report = quick::run(&quick::Options { rounds, warm_up: WARM_UP, core })?;
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", report.table());
    }
    Ok(())
}
