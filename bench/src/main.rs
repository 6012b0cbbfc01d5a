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
        /// Also 1000 and 10000 SAs, 4096 and 16384 buffers, on the first engine.
        #[arg(long)]
        loads: bool,
        /// Only rows whose name holds this, as in `outbound/aes-128-gcm/native/tunnel-ipv4/64`: for profiles.
        #[arg(long, default_value = "")]
        only: String,
        /// The core to run on; the last one unless named.
        #[arg(long)]
        core: Option<usize>,
    },
}

fn main() -> Result<()> {
    let What::Quick { json, rounds, loads, only, core } = Command::parse().what;
    ensure!(rounds > 0, "--rounds must be at least 1");
    let report = quick::run(&quick::Options { rounds, warm_up: WARM_UP, loads, only, core })?;
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", report.table());
    }
    Ok(())
}
