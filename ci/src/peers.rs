//! `cargo ci bench peers`: espway beside what a user could take instead, in one run, through the same virtual cables
//! and namespaces: one TCP connection, and the smallest packets as fast as they come.
use crate::cargo;
use crate::hugepages;
use crate::packages::{self, Need};
use crate::up::{Device, configuration, swan_of};
use anyhow::{Result, ensure};
use clap::Args;
use comfy_table::{CellAlignment, Table, presets};
use harness::espway::Binaries;
use harness::wireguard::Keys;
use harness::{Espway, Lab, Plan, Side, Site, StrongSwan, WireGuard, iperf3, iperf3_udp, ping, wait_until};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::collections::BTreeMap;
use std::process::Command;
use std::time::Duration;

#[derive(Debug, Args)]
pub struct Options {
    /// One JSON object instead of tables
    #[arg(long)]
    json: bool,
    /// How long each iperf3 run takes
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Runs of each peer, in turns; the table has the medians
    #[arg(long, default_value_t = 3)]
    rounds: u32,
    /// Only peers whose name holds this
    #[arg(long, default_value = "")]
    only: String,
}

/// UDP payload of an IPv4 packet of 64 bytes.
const SMALL: usize = 64 - 20 - 8;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Peer {
    Routing,
    EspwayAfPacket,
    EspwayAfXdp,
    Strongswan,
    WireguardGo,
}
impl Peer {
    const ALL: [Self; 5] =
        [Self::Routing, Self::EspwayAfPacket, Self::EspwayAfXdp, Self::Strongswan, Self::WireguardGo];
    fn name(self) -> &'static str {
        match self {
            Self::Routing => "plain routing",
            Self::EspwayAfPacket => "espway, AF_PACKET",
            Self::EspwayAfXdp => "espway, AF_XDP",
            Self::Strongswan => "strongSwan, kernel-libipsec",
            Self::WireguardGo => "wireguard-go",
        }
    }
    fn protection(self) -> &'static str {
        match self {
            Self::Routing => "none",
            Self::EspwayAfPacket | Self::EspwayAfXdp => "ESP, aes-256-gcm",
            Self::Strongswan => "ESP in UDP, aes-256-gcm",
            Self::WireguardGo => "WireGuard, chacha20-poly1305",
        }
    }
}

#[derive(Debug, Serialize)]
struct Report {
    counted: &'static str,
    cpu: String,
    cpus: usize,
    peers: Vec<Row>,
    crypto: Vec<Crypto>,
    /// What could not be measured, and why.
    left_out: Vec<String>,
}
#[derive(Debug, Serialize)]
struct Row {
    peer: &'static str,
    protection: &'static str,
    /// Medians over the runs.
    tcp_gbps: f64,
    tcp_gbps_runs: Vec<f64>,
    udp64_mpps: f64,
    udp64_mpps_runs: Vec<f64>,
    udp64_sent_mpps: f64,
}
/// What dpdk-test-crypto-perf measured.
#[derive(Debug, Serialize)]
struct Crypto {
    device: &'static str,
    bytes: u32,
    mops: f64,
    gbps: f64,
    cycles_per_packet: f64,
}

const COUNTED: &str = "host-a to host-b through two sites and a router between them, all on this machine's CPUs \
     together with the sender and the receiver, offloads of the virtual cables off; tcp_gbps is the payload of one TCP \
     connection, udp64_mpps packets of 64 bytes (IPv4 to payload) that arrived while iperf3 sent as many as it could; \
     crypto is dpdk-test-crypto-perf on one core, throughput test, AES-128-GCM sealing, 64-bit-counter cycles";

pub fn run(options: &Options) -> Result<bool> {
    ensure!(
        harness::sys::is_root(),
        "`cargo ci bench peers` makes network namespaces and so needs root: run it as root or with sudo -E"
    );
    ensure!(options.rounds > 0 && options.seconds > 0, "--rounds and --seconds must be at least 1");
    packages::ensure_installed(&[Need::Build, Need::Lab, Need::Strongswan, Need::Peers])?;
    eprintln!("{:>12}  {}", "hugepages", hugepages::prepare());
    let binaries = cargo::binaries()?;
    let peers: Vec<_> = Peer::ALL.into_iter().filter(|p| p.name().contains(&options.only)).collect();
    ensure!(!peers.is_empty(), "no peer is named like `{}`", options.only);
    let mut runs: BTreeMap<usize, Vec<Run>> = BTreeMap::new();
    let mut left_out = Vec::new();
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {elapsed}  {msg}")?;
    let bar = ProgressBar::new(u64::from(options.rounds) * peers.len() as u64).with_style(style);
    for _ in 0..options.rounds {
        for (at, peer) in peers.iter().enumerate() {
            bar.set_message(peer.name());
            match measure(*peer, options.seconds, &binaries) {
                Ok(run) => runs.entry(at).or_default().push(run),
                Err(why) => {
                    let text = format!("{}: {why:#}", peer.name());
                    bar.println(&text);
                    left_out.push(text.lines().take(3).collect::<Vec<_>>().join(" "));
                }
            }
            bar.inc(1);
        }
    }
    bar.finish_and_clear();
    let rows = runs.into_iter().filter_map(|(at, runs)| row(*peers.get(at)?, &runs)).collect::<Vec<_>>();
    let crypto = crypto_floor().unwrap_or_else(|why| {
        left_out.push(format!("dpdk-test-crypto-perf: {why:#}"));
        Vec::new()
    });
    let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let cpu = cpuinfo.lines().find_map(|l| l.strip_prefix("model name")).unwrap_or_default();
    let report = Report {
        counted: COUNTED,
        cpu: cpu.trim_start_matches([' ', '\t', ':']).to_owned(),
        cpus: std::thread::available_parallelism().map_or(0, usize::from),
        peers: rows,
        crypto,
        left_out,
    };
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    } else {
        println!("{}", text(&report));
    }
    Ok(!report.peers.is_empty())
}

struct Run {
    tcp: f64,
    udp: harness::traffic::Datagrams,
}

/// One lab, made for this peer and gone afterwards.
fn measure(peer: Peer, seconds: u32, binaries: &Binaries) -> Result<Run> {
    let site = match peer {
        Peer::EspwayAfPacket | Peer::EspwayAfXdp => Site::Dpdk,
        _ => Site::Kernel,
    };
    let lab = Lab::build(&Plan::new(site, site))?;
    match peer {
        Peer::Routing => {
            for side in Side::BOTH {
                lab.wan.ip(&format!("route add {} via {}\n", side.subnet4(), side.wan4()))?;
            }
            traffic(&lab, seconds)
        }
        Peer::EspwayAfPacket => espway(&lab, Device::AfPacket, seconds, binaries),
        Peer::EspwayAfXdp => espway(&lab, Device::AfXdp, seconds, binaries),
        Peer::Strongswan => {
            let _b = StrongSwan::start(&lab, lab.site(Side::B), &swan_of(Side::B, None))?;
            let a = StrongSwan::start(&lab, lab.site(Side::A), &swan_of(Side::A, Some(Side::B.wan4())))?;
            a.initiate()?;
            traffic(&lab, seconds)
        }
        Peer::WireguardGo => {
            let (a, b) = (Keys::generate()?, Keys::generate()?);
            let _a = WireGuard::start(&lab, Side::A, &a, &b)?;
            let _b = WireGuard::start(&lab, Side::B, &b, &a)?;
            traffic(&lab, seconds)
        }
    }
}
fn espway(lab: &Lab, device: Device, seconds: u32, binaries: &Binaries) -> Result<Run> {
    let config = configuration(device, lab, "ci/lab/site-b.yaml", "site-b.yaml")?;
    let _b = Espway::start(lab, binaries, lab.site(Side::B), "site-b", &config)?;
    let config = configuration(device, lab, "config.yaml", "site-a.yaml")?;
    let _a = Espway::start(lab, binaries, lab.site(Side::A), "site-a", &config)?;
    traffic(lab, seconds)
}
fn traffic(lab: &Lab, seconds: u32) -> Result<Run> {
    let (from, to) = (lab.host(Side::A), (lab.host(Side::B), Side::B.host4()));
    wait_until("an answer through the tunnel", Duration::from_secs(60), || {
        ensure!(ping(from, Side::B.host4(), 1, 100)?.received == 1, "no answer");
        Ok(())
    })?;
    let tcp = iperf3(lab, from, to, seconds)?.bits_per_second / 1e9;
    let udp = iperf3_udp(lab, from, to, seconds, SMALL)?;
    Ok(Run { tcp, udp })
}

fn median(mut values: Vec<f64>) -> Option<f64> {
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied()
}
fn rounded(value: f64) -> f64 {
    (value * 1e4).round() / 1e4
}
fn row(peer: Peer, runs: &[Run]) -> Option<Row> {
    let of = |value: fn(&Run) -> f64| -> Vec<f64> { runs.iter().map(|run| rounded(value(run))).collect() };
    let tcp_gbps_runs = of(|run| run.tcp);
    let udp64_mpps_runs = of(|run| run.udp.received_per_second / 1e6);
    Some(Row {
        peer: peer.name(),
        protection: peer.protection(),
        tcp_gbps: median(tcp_gbps_runs.clone())?,
        tcp_gbps_runs,
        udp64_mpps: median(udp64_mpps_runs.clone())?,
        udp64_mpps_runs,
        udp64_sent_mpps: median(of(|run| run.udp.sent_per_second / 1e6))?,
    })
}

/// What DPDK's own program measures of the library on one core, through its crypto device.
fn crypto_floor() -> Result<Vec<Crypto>> {
    const DEVICE: &str = "crypto_aesni_gcm";
    // The main lcore waits, the other measures: with one CPU they share it.
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let lcores = if cpus > 1 { "0,1" } else { "(0,1)@0" };
    let prefix = format!("--file-prefix=espway-perf-{}", std::process::id());
    let eal = [
        "--lcores",
        lcores,
        "--no-pci",
        "--no-huge",
        "-m",
        "512",
        "--no-telemetry",
        &prefix,
        "--vdev",
        DEVICE,
    ];
    let test = [
        "--ptest",
        "throughput",
        "--devtype",
        DEVICE,
        "--optype",
        "aead",
        "--aead-algo",
        "aes-gcm",
        "--aead-op",
        "encrypt",
        "--aead-key-sz",
        "16",
        "--aead-iv-sz",
        "12",
        "--aead-aad-sz",
        "8",
        "--digest-sz",
        "16",
        "--total-ops",
        "3000000",
        "--burst-sz",
        "32",
        "--buffer-sz",
        "64,512,1400",
        "--silent",
        "--csv-friendly",
    ];
    let mut command = Command::new("dpdk-test-crypto-perf");
    let text = harness::process::output(command.args(eal).arg("--").args(test))?;
    let rows: Vec<_> = text.lines().filter_map(|line| csv(DEVICE, line)).collect();
    ensure!(!rows.is_empty(), "no figures in: {text}");
    Ok(rows)
}
/// lcore, bytes, burst, enqueued, dequeued, two kinds of failures, Mops, Gbps, cycles.
fn csv(device: &'static str, line: &str) -> Option<Crypto> {
    let numbers: Vec<f64> =
        line.split([',', ';']).map(|word| word.trim().parse().ok()).collect::<Option<_>>()?;
    let [_, bytes, _, enqueued, .., mops, gbps, cycles] = numbers.as_slice() else { return None };
    (numbers.len() == 10 && *enqueued > 0.0).then_some(Crypto {
        device,
        bytes: *bytes as u32,
        mops: *mops,
        gbps: *gbps,
        cycles_per_packet: *cycles,
    })
}

fn text(report: &Report) -> String {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED);
    table.set_header(["peer", "protection", "TCP, Gbit/s", "runs", "64 B UDP, Mpps", "runs", "sent, Mpps"]);
    let list = |runs: &[f64]| runs.iter().map(|v| format!("{v:.3}")).collect::<Vec<_>>().join(" ");
    for row in &report.peers {
        table.add_row([
            row.peer.into(),
            row.protection.into(),
            format!("{:.3}", row.tcp_gbps),
            list(&row.tcp_gbps_runs),
            format!("{:.3}", row.udp64_mpps),
            list(&row.udp64_mpps_runs),
            format!("{:.3}", row.udp64_sent_mpps),
        ]);
    }
    table.column_iter_mut().skip(2).for_each(|column| column.set_cell_alignment(CellAlignment::Right));
    let mut text = format!("{}, {} CPUs\n{table}\n", report.cpu, report.cpus);
    for row in &report.crypto {
        text += &format!(
            "dpdk-test-crypto-perf {} {:>4} bytes: {:.2} Mops, {:.2} Gbit/s, {:.0} cycles/packet\n",
            row.device, row.bytes, row.mops, row.gbps, row.cycles_per_packet
        );
    }
    for reason in &report.left_out {
        text += &format!("left out: {reason}\n");
    }
    text + report.counted
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_figures_are_told_from_headings() {
        let line = "1,64,32,3000000,3000000,0,0,9.8765,5.0568,247.50";
        let row = csv("crypto_aesni_gcm", line).expect("figures");
        assert_eq!((row.bytes, row.mops, row.cycles_per_packet), (64, 9.8765, 247.5));
        assert!(
            csv("x", "# lcore id,Buffer Size(B),Burst Size,Enqueued,Dequeued,a,b,MOps,Gbps,Cycles/Buf")
                .is_none()
        );
        assert!(csv("x", "1,64,32,3000000").is_none());
    }
    #[test]
    fn the_median_is_one_of_the_runs() {
        assert_eq!((median(vec![3.0, 1.0, 2.0]), median(Vec::new())), (Some(2.0), None));
    }
}
