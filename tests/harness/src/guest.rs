//! A guest with a whole Linux kernel as a site: User-Mode Linux from Debian, a plain process that needs no KVM.
//!
//! Its root file system is built once by `mmdebstrap` into a cache; every guest sees it through a throw-away overlay.
//! Commands travel as files through a folder shared with the guest.
use crate::addr::Side;
use crate::lab::{Lab, site_addresses};
use crate::process::{self, Process};
use crate::wait_until;
use anyhow::{Context, Result, bail, ensure};
use std::fs::{self, File, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

const PACKAGES: &str = "strongswan-swanctl,charon-systemd,libcharon-extra-plugins,libstrongswan-extra-plugins,\
                        libstrongswan-standard-plugins,iproute2,iputils-ping,iperf3,mount,kmod,procps,nftables,\
                        tcpdump,busybox-static,libnss3-tools,libunbound8,libldns3,libevent-2.1-7,\
                        libevent-pthreads-2.1-7,libcap-ng0,libcurl3-nss,libldap-2.5-0,libseccomp2";
/// Debian lets only one IKE daemon be installed; libreswan shares no file with it, and is unpacked beside it.
const BESIDE: &str = "cd /tmp && apt-get download libreswan && for file in *.deb; do \
                      dpkg-deb --fsys-tarfile $file | tar -x -C / --keep-directory-symlink; done; rm -f *.deb";
const INIT: &str = include_str!("guest/init.sh");
const XSTATE: &str = include_str!("guest/xstate.c");

fn cache_dir() -> Result<PathBuf> {
    let base = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")))
        .context("neither XDG_CACHE_HOME nor HOME is set")?;
    Ok(base.join("espway").join("guest"))
}

/// The cached folder with `root/` and the shim. Builds it when it is not there: about half a minute.
pub fn prepare() -> Result<PathBuf> {
    let cache = cache_dir()?;
    fs::create_dir_all(&cache)?;
    // One builder at a time, also between processes.
    let lock = File::create(cache.join("lock"))?;
    lock.lock()?;
    // Whatever goes into the root is its version.
    let wanted = format!("{PACKAGES}\n{BESIDE}\n{INIT}\n{XSTATE}");
    if fs::read_to_string(cache.join("done")).is_ok_and(|built| built == wanted) {
        return Ok(cache);
    }
    let root = cache.join("root");
    if root.exists() {
        fs::remove_dir_all(&root)?;
    }
    process::output(
        Command::new("mmdebstrap")
            .args(["--quiet", "--mode=root", "--variant=apt"])
            .arg("--aptopt=Apt::Install-Recommends \"false\"")
            .args(["doc", "man", "locale"].map(|part| format!("--dpkgopt=path-exclude=/usr/share/{part}/*")))
            .arg(format!("--include={PACKAGES}"))
            .arg(format!("--customize-hook=chroot \"$1\" sh -c '{BESIDE}'"))
            .arg("bookworm")
            .arg(&root)
            .arg(format!("deb {} bookworm main", package_source()?)),
    )
    .context("building the guest's root file system (package mmdebstrap)")?;
    let modules = Path::new("/usr/lib/uml/modules");
    fs::create_dir_all(root.join("lib/modules"))?;
    let versions = fs::read_dir(modules).context("/usr/lib/uml/modules (package user-mode-linux)")?;
    for version in versions.flatten() {
        process::output(Command::new("cp").arg("-a").arg(version.path()).arg(root.join("lib/modules")))?;
        process::output(Command::new("depmod").arg("-b").arg(&root).arg(version.file_name()))?;
    }
    fs::create_dir_all(root.join("ctl"))?;
    let source = cache.join("xstate.c");
    fs::write(&source, XSTATE)?;
    process::output(
        Command::new("cc")
            .args(["-shared", "-fPIC", "-O2", "-o"])
            .arg(cache.join("xstate.so"))
            .arg(&source)
            .arg("-ldl"),
    )?;
    fs::write(root.join("sbin/lab-init"), INIT)?;
    fs::set_permissions(root.join("sbin/lab-init"), Permissions::from_mode(0o755))?;
    fs::write(cache.join("done"), &wanted)?;
    Ok(cache)
}

/// Where this machine itself takes Debian 12 from.
fn package_source() -> Result<String> {
    let list = process::run("apt-get", &["indextargets", "--format", "$(CODENAME) $(REPO_URI)"])?;
    let mut rows = list.lines().filter_map(|line| line.split_once(' '));
    let found = rows
        .find(|(codename, uri)| *codename == "bookworm" && uri.trim_end_matches('/').ends_with("/debian"));
    Ok(found.map_or("http://deb.debian.org/debian", |(_, uri)| uri).trim_end_matches('/').to_owned())
}

#[derive(Debug)]
pub struct Guest {
    kernel: Process,
    ctl: PathBuf,
    next: AtomicU32,
}

const SETUP: &str = r#"
set -e
mount -t tmpfs t "$1/over"
mkdir "$1/over/up" "$1/over/work"
mount -t overlay -o "lowerdir=$2/root,upperdir=$1/over/up,workdir=$1/over/work" o "$1/root"
export TMPDIR=/dev/shm LD_PRELOAD="$2/xstate.so"
exec linux.uml mem=256M root=/dev/root rootfstype=hostfs rootflags="$1/root" rw init=/sbin/lab-init \
  vec0:transport=tap,ifname=wtap,depth=128,gro=0 vec1:transport=tap,ifname=ltap,depth=128,gro=0 \
  uml_dir="$1/uml" umid=g con=null con0=null,fd:1 ssl=null ctl="$1/ctl" quiet
"#;

impl Guest {
    /// Boots a guest in the place of a site planned as [`crate::Site::Taps`] and gives it the site's addresses.
    pub fn boot(lab: &Lab, side: Side) -> Result<Self> {
        let cache = prepare()?;
        let dir = lab.file(&format!("guest-{}", side.letter()));
        for part in ["over", "root", "ctl", "uml"] {
            fs::create_dir_all(dir.join(part))?;
        }
        let ns = lab.site(side);
        ns.ip("tuntap add dev wtap mode tap\ntuntap add dev ltap mode tap\nlink set wtap up\nlink set ltap up\n")?;
        let mut command = ns.command("unshare");
        command.args(["-m", "sh", "-c", SETUP, "sh"]).arg(&dir).arg(&cache);
        let kernel = Process::start("guest", &mut command, &dir.with_extension("log"))?;
        let mut this = Self { kernel, ctl: dir.join("ctl"), next: AtomicU32::new(1) };
        wait_until("the guest's boot", Duration::from_secs(60), || {
            this.kernel.check()?;
            ensure!(this.ctl.join("ready").exists(), "no sign of life");
            Ok(())
        })?;
        lab.attach_taps(side, "wtap", "ltap")?;
        this.sh("for link in vec0 vec1; do echo 0 > /proc/sys/net/ipv6/conf/$link/disable_ipv6; done")?;
        this.put("/run/addresses", &site_addresses(side, "vec0", "vec1"))?;
        this.sh("ip -batch /run/addresses")?;
        Ok(this)
    }
    /// Runs a shell line in the guest and returns what it printed.
    pub fn sh(&self, line: &str) -> Result<String> {
        let name = format!("c{}", self.next.fetch_add(1, Ordering::Relaxed));
        let part = self.ctl.join(format!("{name}.part"));
        fs::write(&part, format!("{line}\n"))?;
        fs::rename(&part, self.ctl.join(format!("{name}.cmd")))?;
        let (status, out) = (self.ctl.join(format!("{name}.rc")), self.ctl.join(format!("{name}.out")));
        let end = Instant::now() + Duration::from_secs(60);
        while !status.exists() {
            if Instant::now() >= end {
                bail!("guest: no end within 60 s: {line}");
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let text = String::from_utf8_lossy(&fs::read(&out)?).into_owned();
        let status = fs::read_to_string(&status)?;
        ensure!(status.trim() == "0", "guest: {line}: exit status {}\n{text}", status.trim());
        Ok(text)
    }
    /// Writes a file in the guest.
    pub fn put(&self, path: &str, content: &str) -> Result<()> {
        let name = format!("put{}", self.next.fetch_add(1, Ordering::Relaxed));
        fs::write(self.ctl.join(&name), content)?;
        self.sh(&format!("mv /ctl/{name} {path}")).map(drop)
    }
}
impl Drop for Guest {
    fn drop(&mut self) {
        // Asked politely first: SIGTERM reaches only the outermost of its processes.
        let part = self.ctl.join("off.part");
        if fs::write(&part, "poweroff").is_ok() && fs::rename(&part, self.ctl.join("off.cmd")).is_ok() {
            let _ = self.kernel.wait(Duration::from_secs(5));
        }
    }
}
