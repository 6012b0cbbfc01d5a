//! The Debian packages espway and its lab are made with, and how missing ones get here.
use anyhow::{Context, Result, bail, ensure};
use std::path::Path;
use std::process::Command;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Need {
    /// To compile and run espway.
    Build,
    /// Namespaces, traffic, and an independent look at it.
    Lab,
    /// strongSwan beside us, on this kernel.
    Strongswan,
    /// A guest with a whole Linux kernel.
    Guest,
    /// Packets built and opened by scapy.
    Scapy,
    /// What users could take instead of espway, to be measured beside it.
    Peers,
}

pub struct Package {
    pub name: &'static str,
    pub need: Need,
    pub without: &'static str,
}
const fn package(name: &'static str, need: Need, without: &'static str) -> Package {
    Package { name, need, without }
}

pub const PACKAGES: &[Package] = &[
    package("gcc", Need::Build, "nothing links"),
    package("g++", Need::Build, "no fuzz targets"),
    package("libc6-dev", Need::Build, "nothing links"),
    package("pkg-config", Need::Build, "DPDK is not found"),
    package("libdpdk-dev", Need::Build, "the fast path does not build; its drivers are missing"),
    package("libclang-14-dev", Need::Build, "no bindings of DPDK can be made"),
    package("libipsec-mb-dev", Need::Build, "the fastest CPU crypto engine is missing"),
    package("libssl-dev", Need::Build, "IKE's Diffie-Hellman groups do not build"),
    package("iproute2", Need::Lab, "no namespaces"),
    package("util-linux", Need::Lab, "no private mounts for peers"),
    package("procps", Need::Lab, "no settings inside namespaces"),
    package("iputils-ping", Need::Lab, "no pings"),
    package("ethtool", Need::Lab, "packets on virtual cables stay without checksums"),
    package("nftables", Need::Lab, "no NAT router and no independent counters"),
    package("iperf3", Need::Lab, "no throughput"),
    package("tcpdump", Need::Lab, "no captures"),
    package("tshark", Need::Lab, "no second opinion on captures"),
    package("charon-systemd", Need::Strongswan, "no strongSwan to talk to"),
    package("strongswan-swanctl", Need::Strongswan, "no strongSwan to talk to"),
    package("libcharon-extra-plugins", Need::Strongswan, "strongSwan has no ESP in user space"),
    package("libstrongswan-standard-plugins", Need::Strongswan, "strongSwan lacks algorithms"),
    package("libstrongswan-extra-plugins", Need::Strongswan, "strongSwan lacks algorithms"),
    package("user-mode-linux", Need::Guest, "no guest with native ESP"),
    package("mmdebstrap", Need::Guest, "no root file system for guests"),
    package("kmod", Need::Guest, "guests do not find their kernel modules"),
    package("python3-scapy", Need::Scapy, "no packets from scapy"),
    package("wireguard-go", Need::Peers, "no WireGuard to measure beside espway"),
    package("wireguard-tools", Need::Peers, "nothing configures wireguard-go"),
    package("dpdk-dev", Need::Peers, "no dpdk-test-crypto-perf"),
];

/// Those of `needs` that are not installed.
pub fn missing(needs: &[Need]) -> Result<Vec<&'static Package>> {
    let out = Command::new("dpkg-query")
        .args(["-W", "-f", "${Package} ${db:Status-Status}\n"])
        .output()
        .context("dpkg-query: only Debian and its derivatives are supported here")?;
    let list = String::from_utf8_lossy(&out.stdout).into_owned();
    let installed = |name: &str| list.lines().any(|line| line == format!("{name} installed"));
    // An installed package of another name may give the same program.
    let stands_in = |name: &str| match name {
        "gcc" => installed("build-essential"),
        "pkg-config" => installed("pkgconf"),
        _ => false,
    };
    let wanted = PACKAGES.iter().filter(|package| needs.contains(&package.need));
    Ok(wanted.filter(|package| !installed(package.name) && !stands_in(package.name)).collect())
}

/// Installs what is missing; asks apt nothing when nothing is.
pub fn ensure_installed(needs: &[Need]) -> Result<()> {
    let missing = missing(needs)?;
    if missing.is_empty() {
        return Ok(());
    }
    let names: Vec<_> = missing.iter().map(|package| package.name).collect();
    if !harness::sys::is_root() {
        bail!("these packages are missing; run as root: apt-get install {}", names.join(" "));
    }
    eprintln!("installing {}", names.join(" "));
    let _quiet = NoServices::begin()?;
    let options = ["-q", "-o", "DPkg::Lock::Timeout=300"];
    let apt = |words: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(options).args(words).env("DEBIAN_FRONTEND", "noninteractive");
        command
    };
    crate::cargo::check(apt(&["update"]).stdout(std::process::Stdio::null()))?;
    let mut install = apt(&["install", "-y", "--no-install-recommends"]);
    let out = install.args(&names).output().context("apt-get")?;
    ensure!(
        out.status.success(),
        "apt-get install {}:\n{}{}",
        names.join(" "),
        String::from_utf8_lossy(&out.stdout),
        String::from_utf8_lossy(&out.stderr)
    );
    Ok(())
}

/// While it lives, packages that get installed start no services: the lab runs its own, in namespaces.
struct NoServices {
    made: bool,
}
impl NoServices {
    const POLICY: &str = "/usr/sbin/policy-rc.d";
    fn begin() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        if Path::new(Self::POLICY).exists() {
            return Ok(Self { made: false });
        }
        std::fs::write(Self::POLICY, "#!/bin/sh\nexit 101\n").context(Self::POLICY)?;
        std::fs::set_permissions(Self::POLICY, std::fs::Permissions::from_mode(0o755))?;
        Ok(Self { made: true })
    }
}
impl Drop for NoServices {
    fn drop(&mut self) {
        if self.made
            && let Err(why) = std::fs::remove_file(Self::POLICY)
        {
            eprintln!("cannot remove {}: {why}; services of new packages will not start", Self::POLICY);
        }
    }
}
