//! The command line that all measurements share.
use crate::cable::{Devices, Link};
use crate::esp::Sa;
use crate::frames::{Size, Way};
use anyhow::{Result, bail};
use clap::{Args, ValueEnum};
use sa::{Device, Encryption, Integrity, Suite};
use std::path::PathBuf;
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Direction {
    /// Clear frames into the LAN port, ESP out of the WAN port
    Out,
    /// ESP into the WAN port, clear frames out of the LAN port
    In,
    /// Both at once, half of the rate each
    Both,
}
impl Direction {
    pub fn ways(self) -> Vec<Way> {
        match self {
            Self::Out => vec![Way::Out],
            Self::In => vec![Way::In],
            Self::Both => vec![Way::Out, Way::In],
        }
    }
    pub fn name(self) -> &'static str {
        match self {
            Self::Out => "out",
            Self::In => "in",
            Self::Both => "both",
        }
    }
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Cable {
    /// Shared memory between the two processes
    Memif,
    /// The gateway as the host's side, the tester as a guest
    VhostUser,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Pages {
    Auto,
    Yes,
    No,
}

#[derive(Clone, Debug, Args)]
pub struct Options {
    /// Directions to measure, one after the other
    #[arg(long, value_enum, value_delimiter = ',', default_value = "out", value_name = "DIRECTION")]
    pub direction: Vec<Direction>,
    /// Frame sizes with Ethernet header and FCS: 64 to 9018, and imix (64, 594, 1518 as 7:4:1)
    #[arg(
        long,
        value_delimiter = ',',
        default_value = "64,128,256,512,1024,1280,1518,imix",
        value_name = "SIZE"
    )]
    pub sizes: Vec<Size>,
    /// Algorithms of the SAs: a cipher, or cipher/integrity as in aes-128-cbc/sha256
    #[arg(long, default_value = "aes-128-gcm", value_parser = suite)]
    pub suite: Suite,
    /// Tunnels, each with a policy, an SA in each direction and a far gateway of its own
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub tunnels: u32,
    /// UDP flows, shared out over the tunnels [default: 64, or one for each tunnel]
    #[arg(long, value_name = "N")]
    pub flows: Option<u32>,
    /// SAs with 32-bit sequence numbers
    #[arg(long)]
    pub no_esn: bool,
    /// Anti-replay window of the inbound SAs in packets; 0 turns it off
    #[arg(long, default_value_t = 1024, value_name = "N")]
    pub replay_window: u32,

    #[command(flatten, next_help_heading = "Device under test")]
    pub dut: DutOptions,
    #[command(flatten, next_help_heading = "Cables and tester")]
    pub tester: TesterOptions,
    #[command(flatten, next_help_heading = "Trials")]
    pub trials: TrialOptions,
    #[command(flatten, next_help_heading = "Output")]
    pub output: OutputOptions,
}

#[derive(Clone, Debug, Args)]
pub struct DutOptions {
    /// Worker lcores of the gateway
    #[arg(long, default_value_t = 1, value_name = "N")]
    pub workers: u16,
    /// CPUs of the workers [default: from the last one down]
    #[arg(long, value_delimiter = ',', value_name = "CPU")]
    pub worker_cpus: Vec<u16>,
    /// CPU of the gateway's main lcore [default: one that nobody uses, else the tester's]
    #[arg(long, value_name = "CPU")]
    pub main_cpu: Option<u16>,
    /// Crypto engines in order of preference
    #[arg(long, default_value = "native,ipsec-mb,cryptodev,ring,rustcrypto", value_name = "NAMES")]
    pub engines: String,
    /// What an idle worker does: adaptive (sleeps) or poll
    #[arg(long, default_value = "adaptive", value_parser = ["adaptive", "poll"])]
    pub idle: String,
    /// The longest of those sleeps
    #[arg(long, default_value = "200us", value_name = "TIME")]
    pub idle_max_sleep: String,
    /// Memory of the gateway in MiB [default: by the number of tunnels and the frame size]
    #[arg(long, value_name = "MIB")]
    pub memory: Option<u32>,
    /// Packet buffers of the gateway
    #[arg(long, default_value_t = 16384, value_name = "N")]
    pub buffers: u32,
    /// The program to test [default: espway-fastpath beside this one, or in PATH]
    #[arg(long, value_name = "FILE")]
    pub fastpath: Option<PathBuf>,
    /// How much it logs; the log is shown when it fails
    #[arg(long, default_value = "info", value_name = "LEVEL")]
    pub log_level: String,
}

#[derive(Clone, Debug, Args)]
pub struct TesterOptions {
    /// What is between tester and gateway [default: memif where all sizes fit, else vhost-user]
    #[arg(long, value_enum)]
    pub cable: Option<Cable>,
    /// Slots of the cable's rings; a power of two
    #[arg(long, default_value_t = 1024, value_name = "N")]
    pub ring: u32,
    /// The tester's port at the gateway's LAN, in place of --cable: af-xdp:eth1, pci:0000:01:00.0, …
    #[arg(long, value_name = "DEVICE", requires_all = ["wan", "dut_lan", "dut_wan"], conflicts_with = "cable")]
    pub lan: Option<Device>,
    /// The tester's port at the gateway's WAN
    #[arg(long, value_name = "DEVICE", requires = "lan")]
    pub wan: Option<Device>,
    /// The gateway's LAN port, connected to --lan
    #[arg(long, value_name = "DEVICE", requires = "lan")]
    pub dut_lan: Option<Device>,
    /// The gateway's WAN port, connected to --wan
    #[arg(long, value_name = "DEVICE", requires = "lan")]
    pub dut_wan: Option<Device>,
    /// CPU of generator and checker [default: the first one]
    #[arg(long, value_name = "CPU")]
    pub tester_cpu: Option<u16>,
    /// Hugepages for both processes
    #[arg(long, value_enum, default_value = "auto")]
    pub hugepages: Pages,
    /// Memory in MiB for packets sealed ahead, and as much for received ones that wait to be opened
    #[arg(long, default_value_t = 384, value_name = "MIB")]
    pub packet_memory: u32,
}

#[derive(Clone, Debug, Args)]
pub struct TrialOptions {
    /// Length of a trial: 1s, 500ms; RFC 2544 asks for 60s
    #[arg(long, default_value = "1s", value_parser = duration, value_name = "TIME")]
    pub duration: Duration,
    /// Traffic before the first trial
    #[arg(long, default_value = "500ms", value_parser = duration, value_name = "TIME")]
    pub warm_up: Duration,
    /// Trials that all must pass at a rate for it to be the result
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub trials: u32,
    /// How often a failed trial is repeated when something else had the gateway's CPU meanwhile
    #[arg(long, default_value_t = 3, value_name = "N")]
    pub retries: u32,
    /// Searches end when the rate is known so well, relative to itself
    #[arg(long, default_value_t = 0.01, value_name = "SHARE")]
    pub resolution: f64,
    /// Loss ratios of partial drop rates, besides no loss at all
    #[arg(long, value_delimiter = ',', default_value = "0.001", value_name = "RATIO")]
    pub pdr: Vec<f64>,
    /// Packets a second that are enough, over all directions
    #[arg(long, value_name = "PPS")]
    pub max_rate: Option<f64>,
}

#[derive(Clone, Debug, Args)]
pub struct OutputOptions {
    /// Write the result as JSON
    #[arg(long, value_name = "FILE")]
    pub json: Option<PathBuf>,
    /// Write a report with plots: one HTML file that loads nothing from elsewhere
    #[arg(long, value_name = "FILE")]
    pub html: Option<PathBuf>,
    /// Put the cycles per graph stage of `cargo ci bench datapath --stages --json` into the report
    #[arg(long, value_name = "FILE")]
    pub stages: Option<PathBuf>,
    /// No progress
    #[arg(long, short)]
    pub quiet: bool,
}

impl Options {
    pub fn flows(&self, tunnels: u32) -> u32 {
        self.flows.unwrap_or(64).max(tunnels)
    }
    /// `mtu`: of the largest ESP packets. DPDK's memif carries no more than Ethernet does.
    pub fn link(&self, mtu: u16) -> Link {
        let t = &self.tester;
        match (&t.lan, &t.wan, &t.dut_lan, &t.dut_wan, t.cable) {
            (Some(lan), Some(wan), Some(dut_lan), Some(dut_wan), _) => Link::Devices(Box::new(Devices {
                lan: lan.clone(),
                wan: wan.clone(),
                dut_lan: dut_lan.clone(),
                dut_wan: dut_wan.clone(),
            })),
            (.., Some(Cable::Memif)) => Link::Memif,
            (.., None) if mtu <= 1500 => Link::Memif,
            (.., None | Some(Cable::VhostUser)) => Link::VhostUser,
        }
    }
    pub fn check(&self) -> Result<()> {
        if !self.tester.ring.is_power_of_two() || !(64..=16384).contains(&self.tester.ring) {
            bail!("--ring must be a power of two from 64 to 16384");
        }
        if !(0.0005..0.5).contains(&self.trials.resolution) {
            bail!("--resolution must be from 0.0005 to 0.5");
        }
        if self.trials.duration < Duration::from_millis(10) {
            bail!("--duration must be at least 10ms");
        }
        if let Some(bad) = self.trials.pdr.iter().find(|p| !(0.0..1.0).contains(*p)) {
            bail!("--pdr {bad} is not a loss ratio from 0 to 1");
        }
        if self.sizes.is_empty() || self.direction.is_empty() {
            bail!("--sizes and --direction must name something");
        }
        Ok(())
    }
}

fn suite(text: &str) -> Result<Suite, String> {
    let (cipher, integrity) = text.split_once('/').unwrap_or((text, "none"));
    let ciphers = || Encryption::ALL.map(|e| e.name()).join(", ");
    let encryption =
        Encryption::from_name(cipher).ok_or_else(|| format!("`{cipher}` is none of {}", ciphers()))?;
    let integrity = match integrity {
        "none" => Integrity::None,
        name => Integrity::ALL
            .into_iter()
            .find(|i| i.name() == name)
            .ok_or_else(|| format!("`{name}` is none of {}", Integrity::ALL.map(|i| i.name()).join(", ")))?,
    };
    let suite = Suite::new(encryption, integrity).map_err(|e| e.to_string())?;
    if Sa::has(suite) { Ok(suite) } else { Err(format!("the tester does not speak {suite}")) }
}
fn duration(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a time: write 60s, 1.5s or 500ms");
    let (number, unit) = match text.strip_suffix("ms") {
        Some(number) => (number, 1e-3),
        None => (text.strip_suffix('s').ok_or_else(wrong)?, 1.0),
    };
    let number: f64 = number.parse().map_err(|_| wrong())?;
    Duration::try_from_secs_f64(number * unit).map_err(|_| wrong())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn suites_and_times_are_read() {
        assert_eq!(suite("aes-256-gcm").expect("a suite").to_string(), "aes-256-gcm");
        assert_eq!(suite("aes-128-cbc/sha256").expect("a suite").to_string(), "aes-128-cbc/sha256");
        for wrong in ["aes-128-cbc", "aes-128-gcm/sha1", "des", "aes-128-cbc/md5"] {
            assert!(suite(wrong).is_err(), "{wrong}");
        }
        assert_eq!(duration("60s"), Ok(Duration::from_secs(60)));
        assert_eq!(duration("250ms"), Ok(Duration::from_millis(250)));
        for wrong in ["60", "-1s", "s", "1h"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }
}
