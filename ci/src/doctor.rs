//! `cargo ci doctor`: what this machine lacks, and what each lack costs. It changes nothing.
use crate::hugepages;
use crate::packages::{self, Need};
use anyhow::Result;
use clap::Args;
use comfy_table::{ContentArrangement, Table, presets};
use serde::Serialize;
use std::fs;
use std::path::Path;
use std::process::Command;

#[derive(Debug, Args)]
pub struct Options {
    /// One JSON object instead of a table
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Verdict {
    Good,
    /// Works, but costs something.
    Lacking,
    /// Something does not work at all.
    Missing,
}

#[derive(Debug, Serialize)]
struct Finding {
    what: String,
    verdict: Verdict,
    found: String,
    /// What the lack costs and what mends it; empty when there is none.
    cost: String,
}
impl Finding {
    fn new(what: &str, found: impl Into<String>, lack: Option<(Verdict, String)>) -> Self {
        let (verdict, cost) = lack.unwrap_or((Verdict::Good, String::new()));
        Self { what: what.to_owned(), verdict, found: found.into(), cost }
    }
}

pub fn run(options: &Options) -> Result<bool> {
    let mut findings = vec![root(), cpus(), cpu_features(), memory_pages(), tun(), vhost(), xdp()];
    findings.extend(nics());
    findings.extend(package_groups()?);
    findings.push(tool(
        "cargo-nextest",
        &["nextest", "--version"],
        "`cargo ci test` will install it (some minutes)",
    ));
    let good = findings.iter().all(|finding| finding.verdict != Verdict::Missing);
    if options.json {
        println!("{}", serde_json::json!({ "ok": good, "findings": findings }));
    } else {
        println!("{}", table(&findings));
        println!(
            "{}",
            if good { "espway builds and runs here." } else { "Mend what is marked `missing` first." }
        );
    }
    Ok(good)
}

fn table(findings: &[Finding]) -> Table {
    let mut table = Table::new();
    table.load_style(presets::UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(["", "what", "found", "what the lack costs"]);
    for finding in findings {
        let mark = match finding.verdict {
            Verdict::Good => "ok",
            Verdict::Lacking => "lacking",
            Verdict::Missing => "missing",
        };
        table.add_row([mark, &finding.what, &finding.found, &finding.cost]);
    }
    table
}

fn read(path: &str) -> String {
    fs::read_to_string(path).unwrap_or_default().trim().to_owned()
}

fn root() -> Finding {
    let lack = (!harness::sys::is_root()).then(|| {
        (Verdict::Missing, "namespaces, ports and packages need root: sudo -E cargo ci up".to_owned())
    });
    Finding::new("root", if lack.is_some() { "no" } else { "yes" }, lack)
}

fn cpus() -> Finding {
    let count = std::thread::available_parallelism().map_or(1, usize::from);
    let lack = (count < 3).then(|| {
        (
            Verdict::Lacking,
            "a worker shares its CPU with IKE, hosts and peers: throughput and latency suffer".to_owned(),
        )
    });
    Finding::new("CPUs", count.to_string(), lack)
}

/// Feature of the CPU, and what happens without it.
const FEATURES: &[(&str, Verdict, &str)] = &[
    ("sse4_2", Verdict::Missing, "DPDK does not start"),
    ("aes", Verdict::Missing, "crypto falls back to tables: a tenth of the speed"),
    ("pclmulqdq", Verdict::Lacking, "AES-GCM at a fraction of the speed"),
    ("avx2", Verdict::Lacking, "HMAC suites at half the speed"),
    ("vaes", Verdict::Lacking, "AES-GCM about a third slower"),
    ("avx512f", Verdict::Lacking, "long packets up to twice as many cycles"),
    ("sha_ni", Verdict::Lacking, "HMAC-SHA1/SHA2 suites two to three times slower"),
    ("constant_tsc", Verdict::Lacking, "measured cycles mean little"),
];

fn cpu_features() -> Finding {
    let info = read("/proc/cpuinfo");
    let flags: Vec<&str> = info
        .lines()
        .find_map(|line| line.strip_prefix("flags"))
        .map(|rest| rest.split_whitespace().collect())
        .unwrap_or_default();
    let (have, lack): (Vec<_>, Vec<_>) = FEATURES.iter().partition(|(name, ..)| flags.contains(name));
    let worst = if lack.iter().any(|(_, verdict, _)| *verdict == Verdict::Missing) {
        Verdict::Missing
    } else {
        Verdict::Lacking
    };
    let costs: Vec<_> = lack.iter().map(|(name, _, cost)| format!("no {name}: {cost}")).collect();
    let names: Vec<_> = have.iter().map(|(name, ..)| *name).collect();
    Finding::new("CPU features", names.join(" "), (!costs.is_empty()).then(|| (worst, costs.join("\n"))))
}

fn memory_pages() -> Finding {
    match hugepages::look() {
        Ok(pages) => {
            let lack = (pages.free < hugepages::WANTED).then(|| {
                let mend = format!("; `cargo ci up` tries to reserve {}", hugepages::WANTED);
                (Verdict::Lacking, hugepages::COST.to_owned() + &mend)
            });
            Finding::new("hugepages of 2 MB", format!("{} free of {}", pages.free, pages.total), lack)
        }
        Err(why) => Finding::new(
            "hugepages of 2 MB",
            "none",
            Some((Verdict::Lacking, format!("{why:#}; {}", hugepages::COST))),
        ),
    }
}

fn device(path: &str, what: &str, lack: (Verdict, &str)) -> Finding {
    let there = Path::new(path).exists();
    let found = if there { path } else { "not there" };
    Finding::new(what, found, (!there).then(|| (lack.0, lack.1.to_owned())))
}
fn tun() -> Finding {
    let cost =
        "no exception TAP and no tap ports: ssh and routing daemons do not reach the gateway; modprobe tun";
    device("/dev/net/tun", "TUN/TAP", (Verdict::Missing, cost))
}
fn vhost() -> Finding {
    let cost = "exception path over plain TAP: traffic for the gateway itself is slower; modprobe vhost_net";
    device("/dev/vhost-net", "vhost", (Verdict::Lacking, cost))
}
fn xdp() -> Finding {
    let there = Path::new("/sys/fs/bpf").exists() && Path::new("/sys/kernel/btf/vmlinux").exists();
    let cost = "ports of kind af-xdp may not start; use af-packet (about a third of the speed)";
    Finding::new(
        "AF_XDP",
        if there { "BPF file system and BTF" } else { "no BTF" },
        (!there).then(|| (Verdict::Lacking, cost.to_owned())),
    )
}

/// Drivers DPDK can talk to without the kernel's, and the ones it leaves to the kernel.
const USER_SPACE_DRIVERS: &[&str] = &["vfio-pci", "uio_pci_generic", "igb_uio"];
const BIFURCATED_DRIVERS: &[&str] = &["mlx4_core", "mlx5_core"];

fn nics() -> Vec<Finding> {
    let Ok(devices) = fs::read_dir("/sys/bus/pci/devices") else {
        return vec![Finding::new("NIC", "no PCI bus", Some((Verdict::Lacking, NO_NIC.to_owned())))];
    };
    let mut found = Vec::new();
    for device in devices.flatten().map(|entry| entry.path()) {
        // Class 02: network controllers.
        if !read(&device.join("class").to_string_lossy()).starts_with("0x02") {
            continue;
        }
        let address = device.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let link = fs::read_link(device.join("driver")).unwrap_or_default();
        let driver = link.file_name().unwrap_or_default().to_string_lossy().into_owned();
        let ready = USER_SPACE_DRIVERS.contains(&&*driver) || BIFURCATED_DRIVERS.contains(&&*driver);
        let mend = if carries_default_route(&device) {
            "carries the host's default route: leave it to the kernel, or this machine is cut off".to_owned()
        } else {
            format!(
                "belongs to the kernel: give it to DPDK with `dpdk-devbind.py -b vfio-pci {address}` (it leaves the \
                 host), then `device: pci:{address}`"
            )
        };
        let shown = if driver.is_empty() { "no driver".to_owned() } else { driver };
        found.push(Finding::new(
            &format!("NIC {address}"),
            shown,
            (!ready).then_some((Verdict::Lacking, mend)),
        ));
    }
    if found.is_empty() {
        found.push(Finding::new("NIC", "none on PCI", Some((Verdict::Lacking, NO_NIC.to_owned()))));
    }
    found
}

/// Whether the host reaches the world through an interface of this PCI device.
fn carries_default_route(device: &Path) -> bool {
    let Ok(device) = device.canonicalize() else { return false };
    default_route_interfaces(&read("/proc/net/route"), &read("/proc/net/ipv6_route")).iter().any(|name| {
        // A virtio interface sits one level below its PCI device.
        let at = fs::canonicalize(format!("/sys/class/net/{name}/device"));
        at.is_ok_and(|at| at.starts_with(&device))
    })
}
fn default_route_interfaces(ipv4: &str, ipv6: &str) -> Vec<String> {
    let v4 = ipv4.lines().skip(1).filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        (words.get(1) == Some(&"00000000") && words.get(7) == Some(&"00000000")).then(|| words[0].to_owned())
    });
    let v6 = ipv6.lines().filter_map(|line| {
        let words: Vec<_> = line.split_whitespace().collect();
        let default =
            words.first().is_some_and(|dst| dst.bytes().all(|b| b == b'0')) && words.get(1) == Some(&"00");
        words.last().filter(|name| default && **name != "lo").map(|name| (*name).to_owned())
    });
    v4.chain(v6).collect()
}
const NO_NIC: &str =
    "ports through the kernel only (af-xdp, af-packet, tap): a few Gbit/s instead of line rate";

fn package_groups() -> Result<Vec<Finding>> {
    let groups = [
        ("packages to build", Need::Build, Verdict::Missing),
        ("packages of the lab", Need::Lab, Verdict::Missing),
        ("packages of strongSwan", Need::Strongswan, Verdict::Lacking),
        ("packages of the guest", Need::Guest, Verdict::Lacking),
        ("packages of scapy", Need::Scapy, Verdict::Lacking),
    ];
    groups
        .into_iter()
        .map(|(what, need, verdict)| {
            let missing = packages::missing(&[need])?;
            let cost = |package: &&packages::Package| format!("no {}: {}", package.name, package.without);
            let lack = (!missing.is_empty()).then(|| {
                let costs: Vec<_> = missing.iter().map(cost).collect();
                (
                    verdict,
                    format!("{}\n`cargo ci up` and `cargo ci test` install what they need", costs.join("\n")),
                )
            });
            let found = if lack.is_none() {
                "all installed".to_owned()
            } else {
                format!("{} missing", missing.len())
            };
            Ok(Finding::new(what, found, lack))
        })
        .collect()
}

fn tool(what: &str, words: &[&str], cost: &str) -> Finding {
    let out = Command::new("cargo").args(words).output().ok().filter(|out| out.status.success());
    let first =
        out.map(|out| String::from_utf8_lossy(&out.stdout).lines().next().unwrap_or_default().to_owned());
    let lack = first.is_none().then(|| (Verdict::Lacking, cost.to_owned()));
    Finding::new(what, first.unwrap_or_else(|| "not installed".to_owned()), lack)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn default_routes_name_their_interfaces() {
        let v4 = "Iface\tDestination\tGateway\tFlags\tRefCnt\tUse\tMetric\tMask\tMTU\tWindow\tIRTT\n\
                  eth1\t00000000\t0100000A\t0003\t0\t0\t0\t00000000\t0\t0\t0\n\
                  eth2\t0000000A\t00000000\t0001\t0\t0\t0\t00FFFFFF\t0\t0\t0\n";
        let zero = "00000000000000000000000000000000";
        let v6 = format!(
            "{zero} 00 {zero} 00 {zero} ffffffff 00000001 00000000 00200200       lo\n\
             {zero} 00 {zero} 00 fe800000000000000000000000000001 00000400 00000001 00000000 00000003     eth3\n\
             fd00000000000000000000000000000a 40 {zero} 00 {zero} 00000100 00000001 00000000 00000001     eth4\n"
        );
        assert_eq!(default_route_interfaces(v4, &v6), ["eth1", "eth3"]);
        assert!(default_route_interfaces("", "").is_empty());
    }
}
