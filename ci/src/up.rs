//! `cargo ci up`: two sites and a tunnel between them, on this machine, for as long as one likes to look.
//!
//! Site A is espway with the repository's own `config.yaml`. The router between the sites counts what it sees with
//! the kernel's packet filter, and tshark looks into a capture: that the inner packets are not in the clear is said
//! by neither end of the tunnel.
use crate::cargo;
use crate::hugepages;
use crate::packages::{self, Need};
use crate::view::Status;
use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use harness::espway::Binaries;
use harness::traffic::{Iperf, NumberedFlow, ping};
use harness::{Capture, Espway, Guest, Lab, Plan, Side, Site, StrongSwan, Swan, capture, wait_until};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;
use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

#[derive(Debug, Args)]
pub struct Options {
    /// Do not stay: exit 0 only if everything holds
    #[arg(long)]
    check: bool,
    /// The last line is one JSON object
    #[arg(long)]
    json: bool,
    /// Who is site B
    #[arg(long, value_enum, default_value_t = Peer::Espway)]
    peer: Peer,
    /// What espway's ports are made of
    #[arg(long, value_enum, default_value_t = Device::AfPacket)]
    device: Device,
    /// How long iperf3 runs
    #[arg(long, default_value_t = 5)]
    seconds: u32,
    /// Copy logs, captures and configurations there at the end
    #[arg(long, value_name = "DIR")]
    keep_logs: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Peer {
    Espway,
    /// Debian's strongSwan, ESP in user space inside UDP
    Strongswan,
    /// A guest with a whole Linux kernel, native ESP
    Linux,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Device {
    AfPacket,
    AfXdp,
}

/// What was seen.
#[derive(Debug, Default, Serialize)]
struct Report {
    ok: bool,
    tunnel: bool,
    sent: u64,
    received: u64,
    lost: u64,
    /// ESP packets the router saw from and to site A.
    esp_out: u64,
    esp_in: u64,
    /// Inner packets the router saw in the clear.
    clear: u64,
    gbps: f64,
    drops: BTreeMap<String, u64>,
}

pub fn run(options: &Options) -> Result<bool> {
    ensure!(
        harness::sys::is_root(),
        "`cargo ci up` makes network namespaces and so needs root: run it as root or with sudo -E"
    );
    let mut needs = vec![Need::Build, Need::Lab];
    match options.peer {
        Peer::Espway => {}
        Peer::Strongswan => needs.push(Need::Strongswan),
        Peer::Linux => needs.extend([Need::Strongswan, Need::Guest]),
    }
    packages::ensure_installed(&needs)?;
    say("hugepages", &hugepages::prepare());
    let binaries = cargo::binaries()?;
    let interrupted = harness::sys::catch_interrupts();

    let site_b = match options.peer {
        Peer::Espway => Site::Dpdk,
        Peer::Strongswan => Site::Kernel,
        Peer::Linux => Site::Taps,
    };
    let lab = Lab::build(&Plan::new(Site::Dpdk, site_b))?;
    let result = tour(options, &lab, &binaries, interrupted);
    if let Some(dir) = &options.keep_logs {
        harness::process::output(std::process::Command::new("cp").arg("-rT").arg(lab.dir()).arg(dir))?;
        say("logs", &dir.display().to_string());
    }
    let report = match result {
        Ok(report) => report,
        Err(why) => {
            if !interrupted.load(Ordering::Relaxed) {
                lab.print_logs();
            }
            eprintln!("error: {why:#}");
            Report::default()
        }
    };
    drop(lab);
    if options.json {
        println!("{}", serde_json::to_string(&report)?);
    }
    Ok(report.ok || (!options.check && interrupted.load(Ordering::Relaxed)))
}

fn say(what: &str, text: &str) {
    eprintln!("{what:>12}  {text}");
}

/// Site B, kept running for as long as the value lives.
#[derive(Debug)]
enum SiteB {
    Espway { _it: Espway },
    Strongswan { _it: StrongSwan<'static> },
    Guest { _it: Guest },
}

fn tour(options: &Options, lab: &Lab, binaries: &Binaries, interrupted: &AtomicBool) -> Result<Report> {
    let stop_early = || ensure_not(interrupted);
    let watch = Watch::begin(lab)?;
    say("lab", "host-a ── site-a ── wan ── site-b ── host-b, in network namespaces");
    let _site_b = start_site_b(options, lab, binaries)?;
    stop_early()?;
    let config = configuration(options.device, lab, "config.yaml", "site-a.yaml")?;
    let mut a = Espway::start(lab, binaries, lab.site(Side::A), "site-a", &config)?;
    say("site A", "espway, config.yaml");
    stop_early()?;

    let (host_a, host_b) = (lab.host(Side::A), lab.host(Side::B));
    let spinner = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {msg}")?);
    spinner.enable_steady_tick(Duration::from_millis(100));
    let wire = Capture::start(lab, &lab.wan, Lab::wan_link(Side::A), "")?;
    // The first packet asks for the tunnel.
    wait_until("the tunnel", Duration::from_secs(60), || {
        stop_early()?;
        let answered = ping(host_a, Side::B.host4(), 1, 100)?.received == 1;
        let status = Status::new(a.status()?);
        spinner.set_message(format!("waiting for the tunnel; {}", status.one_line()));
        ensure!(answered && status.tunnel_is_up(), "{}", status.one_line());
        Ok(())
    })?;
    spinner.finish_and_clear();
    say("tunnel", "up");

    let pings = ping(host_a, Side::B.host4(), 20, 20)?;
    say("ping", &format!("{} of {} answered", pings.received, pings.sent));
    let flow = NumberedFlow::start((host_a, Side::A.host4()), (host_b, Side::B.host4()), 400, 500)?;
    flow.let_pass(1000)?;
    let tally = flow.finish()?;
    say("datagrams", &tally.to_string());
    let file = wire.finish()?;
    let seen_esp = capture::count(&file, "esp")?;
    let seen_clear =
        capture::count(&file, "(ip.addr == 10.0.0.0/8 || ipv6.addr == fd00::/8) && !icmp.type == 3 && !esp")?;
    say("tshark", &format!("{seen_esp} ESP packets on the WAN, {seen_clear} inner packets in the clear"));
    stop_early()?;

    let gbps = throughput(options, lab, interrupted)?;
    say("iperf3", &format!("{gbps:.3} Gbit/s of TCP payload"));
    a.check()?;
    let status = Status::new(a.status()?);
    let (esp_out, esp_in, clear) = watch.read(lab)?;
    let mut report = Report {
        ok: false,
        tunnel: status.tunnel_is_up(),
        sent: u64::from(pings.sent) + tally.sent,
        received: u64::from(pings.received) + (tally.sent - tally.lost.len() as u64),
        lost: 0,
        esp_out,
        esp_in,
        clear: clear + seen_clear as u64,
        gbps,
        drops: status.drops(),
    };
    report.lost = report.sent - report.received;
    report.ok = report.tunnel
        && report.lost == 0
        && tally.duplicated.is_empty()
        && report.esp_out >= report.sent
        && report.esp_in >= report.sent
        && seen_esp as u64 >= 2 * report.sent
        && report.clear == 0
        && report.gbps > 0.0;
    eprintln!("{}", status.tables());
    eprintln!(
        "router: {esp_out} ESP packets from site A, {esp_in} to it, {clear} inner packets in the clear"
    );
    eprintln!("throughput: {gbps:.3} Gbit/s");
    if !options.check {
        stay(lab, &mut a, interrupted)?;
    }
    Ok(report)
}

fn ensure_not(interrupted: &AtomicBool) -> Result<()> {
    ensure!(!interrupted.load(Ordering::Relaxed), "interrupted");
    Ok(())
}

fn throughput(options: &Options, lab: &Lab, interrupted: &AtomicBool) -> Result<f64> {
    let (from, to) = (lab.host(Side::A), (lab.host(Side::B), Side::B.host4()));
    let mut run = Iperf::start(lab, from, to, options.seconds, "")?;
    let tenths = u64::from(options.seconds) * 10;
    let style = ProgressStyle::with_template("      iperf3  {bar:40} {elapsed}")?;
    let bar = ProgressBar::new(tenths).with_style(style);
    while run.is_running() && bar.position() < tenths + 200 {
        ensure_not(interrupted)?;
        std::thread::sleep(Duration::from_millis(100));
        bar.set_position((bar.elapsed().as_millis() / 100) as u64);
    }
    bar.finish_and_clear();
    Ok(run.finish(Duration::from_secs(10))?.bits_per_second / 1e9)
}

/// Until Ctrl-C: a line of news each second.
fn stay(lab: &Lab, a: &mut Espway, interrupted: &AtomicBool) -> Result<()> {
    eprintln!(
        "\nThe lab keeps running; Ctrl-C ends it and removes everything it made. In another terminal, for example:"
    );
    eprintln!("  ip netns exec {} ping {}", lab.host(Side::A).name(), Side::B.host4());
    eprintln!(
        "  {} status --run-dir {}",
        cargo::target_dir().join("release/espway").display(),
        a.run_dir().display()
    );
    let line = ProgressBar::new_spinner().with_style(ProgressStyle::with_template("{spinner} {msg}")?);
    let mut before: Option<(u64, u64)> = None;
    while !interrupted.load(Ordering::Relaxed) {
        a.check()?;
        // The slow path may be between two lives; the next second will tell.
        if let Ok(status) = a.status().map(Status::new) {
            let now = (status.packets("out"), status.packets("in"));
            let (out, into) =
                before.map_or((0, 0), |(o, i)| (now.0.saturating_sub(o), now.1.saturating_sub(i)));
            line.set_message(format!("{}; packets a second: {out} out, {into} in", status.one_line()));
            before = Some(now);
        }
        line.tick();
        std::thread::sleep(Duration::from_secs(1));
    }
    line.finish_and_clear();
    say("", "cleaning up");
    Ok(())
}

/// The kernel's own count of what passes the router.
struct Watch;
impl Watch {
    fn begin(lab: &Lab) -> Result<Self> {
        let a = Lab::wan_link(Side::A);
        let b = Lab::wan_link(Side::B);
        let esp = |link: &str, name: &str| {
            format!(
                "iifname \"{link}\" meta l4proto esp counter name {name}\n\
                 iifname \"{link}\" udp dport 4500 @th,64,32 != 0 counter name {name}\n\
                 iifname \"{link}\" udp sport 4500 udp dport != 4500 @th,64,32 != 0 counter name {name}\n"
            )
        };
        lab.wan.nft(&format!(
            "table inet watch {{\ncounter esp_out {{ }}\ncounter esp_in {{ }}\ncounter clear {{ }}\n\
             chain see {{\ntype filter hook prerouting priority -300; policy accept;\n{}{}\
             iifname {{ \"{a}\", \"{b}\" }} ip saddr 10.0.0.0/8 counter name clear\n\
             iifname {{ \"{a}\", \"{b}\" }} ip daddr 10.0.0.0/8 counter name clear\n\
             iifname {{ \"{a}\", \"{b}\" }} ip6 saddr fd00::/8 counter name clear\n\
             iifname {{ \"{a}\", \"{b}\" }} ip6 daddr fd00::/8 counter name clear\n}}\n}}\n",
            esp(a, "esp_out"),
            esp(b, "esp_in"),
        ))?;
        Ok(Self)
    }
    fn read(&self, lab: &Lab) -> Result<(u64, u64, u64)> {
        let text = lab.wan.run("nft -j list counters table inet watch")?;
        let list: serde_json::Value = serde_json::from_str(&text)?;
        let rows = list["nftables"].as_array().context("nft -j")?;
        let packets = |name: &str| {
            let mut counters = rows.iter().map(|row| &row["counter"]);
            counters.find(|counter| counter["name"] == name).and_then(|counter| counter["packets"].as_u64())
        };
        let read = |name: &str| packets(name).with_context(|| format!("no counter {name}"));
        Ok((read("esp_out")?, read("esp_in")?, read("clear")?))
    }
}

/// A configuration of the repository, with the ports asked for.
pub fn configuration(device: Device, lab: &Lab, source: &str, name: &str) -> Result<PathBuf> {
    let path = cargo::root().join(source);
    let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    let text = match device {
        Device::AfPacket => text,
        // AF_XDP's rings hold more buffers.
        Device::AfXdp => {
            let more = text.replace("memory: 64M", "memory: 96M").replace("buffers: 8192", "buffers: 12288");
            more.replace("af-packet:", "af-xdp:")
        }
    };
    let file = lab.file(name);
    std::fs::write(&file, text)?;
    Ok(file)
}

/// What config.yaml says of the tunnel, for a site B that is not espway. A change there that leaves this behind
/// fails `cargo ci up --peer strongswan --check`.
fn swan() -> Swan {
    swan_of(Side::B, None)
}
/// The same for either side.
pub fn swan_of(side: Side, remote: Option<IpAddr>) -> Swan {
    let other = side.other();
    let mut swan = Swan::new(side.wan4(), remote, "a lab's secret, known to everyone")
        .suites("aes256gcm16-prfsha256-x25519", "aes256gcm16-x25519")
        .selectors(side.subnet4(), other.subnet4())
        .selectors(side.subnet6(), other.subnet6());
    swan.local_id = format!("site-{}.example", side.letter());
    swan.remote_id = format!("site-{}.example", other.letter());
    swan
}

fn start_site_b(options: &Options, lab: &Lab, binaries: &Binaries) -> Result<SiteB> {
    match options.peer {
        Peer::Espway => {
            let config = configuration(options.device, lab, "ci/lab/site-b.yaml", "site-b.yaml")?;
            let it = Espway::start(lab, binaries, lab.site(Side::B), "site-b", &config)?;
            say("site B", "espway, ci/lab/site-b.yaml");
            Ok(SiteB::Espway { _it: it })
        }
        Peer::Strongswan => {
            let it = StrongSwan::start(lab, lab.site(Side::B), &swan())?;
            say("site B", "strongSwan, ESP in user space");
            Ok(SiteB::Strongswan { _it: it })
        }
        Peer::Linux => {
            say(
                "site B",
                "a guest with a Linux kernel of its own (the first time its root is built, half a minute)",
            );
            let guest = Guest::boot(lab, Side::B)?;
            StrongSwan::start_in_guest(&guest, &swan())?;
            Ok(SiteB::Guest { _it: guest })
        }
    }
}
