//! Debian's wireguard-go in a site: WireGuard in user space, one peer.
use crate::addr::Side;
use crate::lab::Lab;
use crate::process::{self, Process};
use crate::wait_until;
use anyhow::{Context, Result};
use std::io::Write;
use std::process::{Command, Stdio};
use std::time::Duration;

/// A pair of keys as `wg` makes and prints them.
#[derive(Clone, Debug)]
pub struct Keys {
    private: String,
    public: String,
}
impl Keys {
    pub fn generate() -> Result<Self> {
        let private = process::run("wg", &["genkey"])?;
        let mut wg = Command::new("wg")
            .arg("pubkey")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("wg pubkey")?;
        wg.stdin.take().context("wg pubkey")?.write_all(private.as_bytes())?;
        let out = wg.wait_with_output().context("wg pubkey")?;
        let public = String::from_utf8(out.stdout).context("wg pubkey")?;
        Ok(Self { private: private.trim().to_owned(), public: public.trim().to_owned() })
    }
}

const PORT: u16 = 51820;

/// Runs for as long as the value lives.
#[derive(Debug)]
pub struct WireGuard {
    _process: Process,
}
impl WireGuard {
    /// On a site planned as [`crate::Site::Kernel`]; what is for the other LAN goes through the tunnel.
    pub fn start(lab: &Lab, side: Side, own: &Keys, peer: &Keys) -> Result<Self> {
        let (site, other) = (lab.site(side), side.other());
        // The sockets by which `wg` finds its device are in one folder for all namespaces.
        let link = format!("wg{}{}", side.letter(), std::process::id() % 1_000_000);
        let log = lab.file(&format!("{link}.log"));
        let mut process = site.start("wireguard-go", &format!("wireguard-go -f {link}"), &log)?;
        wait_until("wireguard-go's device", Duration::from_secs(10), || {
            process.check()?;
            site.run(&format!("wg show {link}")).map(drop)
        })?;
        let key = lab.file(&format!("{link}.key"));
        std::fs::write(&key, &own.private)?;
        site.run(&format!(
            "wg set {link} private-key {} listen-port {PORT} peer {} endpoint {}:{PORT} allowed-ips {}",
            key.display(),
            peer.public,
            other.wan4(),
            other.subnet4()
        ))?;
        site.ip(&format!("link set {link} up\nroute add {} dev {link}\n", other.subnet4()))?;
        Ok(Self { _process: process })
    }
}
