//! libreswan in a guest, with the guest kernel's ESP.
use crate::guest::Guest;
use crate::wait_until;
use anyhow::Result;
use std::time::Duration;

/// libreswan's pluto, with one connection at a time.
#[derive(Debug)]
pub struct Libreswan<'a>(&'a Guest);
impl<'a> Libreswan<'a> {
    pub const CONNECTION: &'static str = "gw";
    const LOG: &'static str = "/run/pluto/log";

    pub fn start(guest: &'a Guest, secrets: &str) -> Result<Self> {
        guest.sh("mkdir -p /run/pluto /var/lib/ipsec/nss /etc/ipsec.d && ipsec initnss >/dev/null 2>&1")?;
        let setup = format!("config setup\n logfile={}\n dnssec-enable=no\n uniqueids=yes\n", Self::LOG);
        guest.put("/etc/ipsec.conf", &setup)?;
        guest.put("/etc/ipsec.secrets", secrets)?;
        guest.sh("ipsec pluto --config /etc/ipsec.conf --rundir /run/pluto")?;
        let this = Self(guest);
        let runs = || this.0.sh("ipsec whack --status >/dev/null 2>&1").map(drop);
        wait_until("pluto", Duration::from_secs(20), runs)?;
        this.0.sh("ipsec whack --listen >/dev/null && ipsec whack --rereadsecrets >/dev/null")?;
        Ok(this)
    }
    /// Takes another connection; what is up under the former one goes.
    pub fn load(&self, settings: &str) -> Result<()> {
        let name = Self::CONNECTION;
        self.0.put("/run/conn.conf", &format!("conn {name}\n{settings}"))?;
        // Of the first there is nothing to delete.
        let line =
            format!("ipsec auto --delete {name}; ipsec auto --config /run/conn.conf --add {name} 2>&1");
        self.0.sh(&line).map(drop)
    }
    fn whack(&self, words: &str) -> Result<()> {
        self.0.sh(&format!("timeout 20 ipsec whack {words} --name {} 2>&1", Self::CONNECTION)).map(drop)
    }
    pub fn initiate(&self) -> Result<()> {
        self.whack("--initiate")
    }
    pub fn rekey_ike(&self) -> Result<()> {
        self.whack("--rekey-ike")
    }
    pub fn rekey_child(&self) -> Result<()> {
        self.whack("--rekey-ipsec")
    }
    pub fn log(&self) -> Result<String> {
        self.0.sh(&format!("cat {}", Self::LOG))
    }
}
