//! `bench datapath`, `bench engines`, `bench quick`, `bench scaling`: see `docs/performance.md`.
use anyhow::{Result, bail, ensure};
use bench::plan::Pace;
use bench::{datapath, engines, environment, ike, micro, quick, scale, scaling};
use clap::{Args, Parser, Subcommand};

#[derive(Parser)]
#[command(about = "Measures the datapath in memory, beside the floor that the crypto library sets")]
struct Command {
    #[command(subcommand)]
    what: What,
}

#[derive(Subcommand)]
enum What {
    /// The rows that have targets, or those that are named: whole path, floor, engines; three minutes at most.
    Datapath {
        #[command(flatten)]
        selection: datapath::Selection,
        /// Also where the cycles of each row go, and what measuring that adds.
        #[arg(long)]
        stages: bool,
        #[command(flatten)]
        common: Common,
    },
    /// Every engine alone at 64, 512 and 1400 bytes, with every suite or those that are named.
    Engines {
        #[arg(long, value_delimiter = ',')]
        suite: Vec<String>,
        #[command(flatten)]
        common: Common,
    },
    /// The pieces alone: parsers, look-ups, replay window, engines. `cargo bench -p bench` has criterion's statistics.
    Micro {
        /// Counts instructions under valgrind: the same in every run, however busy the machine is.
        #[arg(long)]
        instructions: bool,
        /// Only cases whose name holds this.
        #[arg(long, default_value = "")]
        only: String,
        /// One JSON object instead of lines.
        #[arg(long)]
        json: bool,
        /// Works this one case and says nothing: for a profiler.
        #[arg(long)]
        work: Option<String>,
        #[arg(long, default_value_t = 1000)]
        times: u64,
    },
    /// The real processes with 50 000 tunnels: start, negotiation, installation, status, takeover, memory; two minutes.
    Scale(scale::Options),
    /// Handshakes per second of a responder, beside the cost of their public-key operations and beside strongSwan.
    Ike(ike::Options),
    /// Every engine at 64, 512 and 1400 bytes with everything near: a few seconds.
    Quick {
        /// Also 1000 and 10000 SAs, 4096 and 16384 buffers, on the first engine.
        #[arg(long)]
        loads: bool,
        #[command(flatten)]
        common: Common,
    },
    /// What a second worker brings: packets per second of two against one, on one SA and on two.
    Scaling {
        /// One JSON object instead of a table.
        #[arg(long)]
        json: bool,
        /// Samples of each row, each once with one worker and once with two.
        #[arg(long, default_value_t = 20)]
        rounds: usize,
        /// Only rows whose name holds this, as in `onequeue/in/64`.
        #[arg(long, default_value = "")]
        only: String,
        /// The two cores to run on.
        #[arg(long, value_delimiter = ',', default_values_t = [0, 1])]
        cores: Vec<usize>,
        /// Packets that workers hand over at a time.
        #[arg(long, default_value_t = fastpath::graph::share::PARCEL)]
        parcel: usize,
    },
}

#[derive(Args)]
struct Common {
    /// One JSON object instead of a table.
    #[arg(long)]
    json: bool,
    /// Turns of each row; a turn is three or four samples.
    #[arg(long, default_value_t = 25)]
    rounds: usize,
    /// Only rows whose name holds this, as in `out/aes-128-gcm/native/tunnel-ipv4/64/`: for profiles.
    #[arg(long, default_value = "")]
    only: String,
    /// The core to run on; the last one unless named.
    #[arg(long)]
    core: Option<usize>,
}
impl Common {
    fn pace(&self, warm_up: usize, stages: bool) -> Result<Pace> {
        ensure!(self.rounds > 0, "--rounds must be at least 1");
        Ok(Pace { rounds: self.rounds, warm_up, only: self.only.clone(), core: self.core, stages })
    }
}

fn main() -> Result<()> {
    let (report, json) = match Command::parse().what {
        What::Micro { work: Some(name), times, .. } => return micro::work(&name, times),
        What::Micro { instructions, only, json, .. } => return pieces(instructions, &only, json),
        What::Scale(options) => return scaled(&options),
        What::Ike(options) => {
            let report = ike::run(&options)?;
            println!("{}", if options.json { serde_json::to_string(&report)? } else { report.table() });
            return Ok(());
        }
        What::Datapath { selection, stages, common } => {
            (datapath::run(&selection, &common.pace(1, stages)?)?, common.json)
        }
        What::Engines { suite, common } => (engines::run(&common.pace(2, false)?, &suite)?, common.json),
        What::Quick { loads, common } => (quick::run(&common.pace(2, false)?, loads)?, common.json),
        What::Scaling { json, rounds, only, cores, parcel } => {
            ensure!(rounds > 0 && parcel > 0, "--rounds and --parcel must be at least 1");
            let Ok(cores) = cores.try_into() else { bail!("--cores takes two numbers, as in 0,1") };
            let report = scaling::run(&scaling::Options { rounds, warm_up: 2, cores, parcel, only })?;
            println!("{}", if json { serde_json::to_string(&report)? } else { report.table() });
            return Ok(());
        }
    };
    if json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", report.table());
    }
    Ok(())
}

fn scaled(options: &scale::Options) -> Result<()> {
    let figures = scale::run(options)?;
    match options.json {
        true => println!("{}", serde_json::to_string(&figures)?),
        false => println!("{}", figures.lines()),
    }
    Ok(())
}

fn pieces(instructions: bool, only: &str, json: bool) -> Result<()> {
    environment::pin(None);
    let counted = if instructions { micro::instructions(only)? } else { micro::time(only)? };
    ensure!(!counted.is_empty(), "no case is named like `{only}`");
    if json {
        let rows =
            serde_json::json!({ "environment": environment::Environment::look(None), "rows": counted });
        println!("{rows}");
        return Ok(());
    }
    for row in counted {
        match (row.instructions, row.cycles) {
            (Some(n), _) => println!("{:50} {n:>12.1} instructions", row.name),
            (None, cycles) => println!("{:50} {:>12.1} cycles", row.name, cycles.unwrap_or_default()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `cargo ci` passes the words on without knowing them.
    #[test]
    fn what_the_front_page_shows_is_understood() {
        let text = include_str!("../../README.md");
        let shown: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("cargo ci bench ")).collect();
        assert!(!shown.is_empty());
        for line in shown {
            let words = line.split('#').next().unwrap_or_default().split_whitespace();
            if let Err(error) = Command::try_parse_from(std::iter::once("bench").chain(words)) {
                panic!("README.md: `cargo ci bench {line}`: {error}");
            }
        }
    }
}
