//! What the end-to-end tests share: configurations of both ends of a tunnel, and questions about a running gateway.
#![forbid(unsafe_code)]

use anyhow::{Context, Result, ensure};
use harness::espway::Binaries;
use harness::traffic::NumberedFlow;
use harness::{Espway, Lab, Side, Swan, process, wait_until};
use serde_json::{Value, json};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

mod many;
pub use many::{Pair, near, pairs_pass};

pub const SECRET: &str = "an end-to-end secret";
pub const SOON: Duration = Duration::from_secs(20);

/// Algorithms of a tunnel, in the words of both ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Suite {
    AesGcm,
    AesCbcSha256,
    ChaCha20,
}

impl Suite {
    /// strongSwan's IKE and ESP proposals.
    pub fn swan(self) -> (&'static str, &'static str) {
        match self {
            Suite::AesGcm => ("aes128gcm16-prfsha256-x25519", "aes128gcm16-x25519"),
            Suite::AesCbcSha256 => ("aes256-sha256-modp2048", "aes256-sha256-modp2048"),
            Suite::ChaCha20 => ("chacha20poly1305-prfsha256-x25519", "chacha20poly1305-x25519"),
        }
    }
    fn profile(self) -> Value {
        match self {
            Suite::AesGcm => {
                json!({"enc-algorithm": "aes-128-gcm", "hash-algorithm": "sha256", "dh-group": "x25519"})
            }
            Suite::AesCbcSha256 => {
                json!({"enc-algorithm": "aes-256", "hash-algorithm": "sha256", "dh-group": "modp2048"})
            }
            Suite::ChaCha20 => {
                json!({"enc-algorithm": "chacha20poly1305", "hash-algorithm": "sha256", "dh-group": "x25519"})
            }
        }
    }
    fn proposal(self) -> Value {
        match self {
            Suite::AesGcm => {
                json!({"enc-algorithms": "aes-128-gcm", "auth-algorithms": "null", "pfs-group": "x25519"})
            }
            Suite::AesCbcSha256 => {
                json!({"enc-algorithms": "aes-256-cbc", "auth-algorithms": "sha256", "pfs-group": "modp2048"})
            }
            Suite::ChaCha20 => {
                json!({"enc-algorithms": "chacha20poly1305", "auth-algorithms": "null", "pfs-group": "x25519"})
            }
        }
    }
}

pub fn id(side: Side) -> String {
    format!("site-{}.example", side.letter())
}

/// A gateway of the lab, to be written as its configuration file.
#[derive(Clone, Debug)]
pub struct Gateway {
    pub side: Side,
    pub suite: Suite,
    pub passive: bool,
    /// Where the peer may be: an address, or a network for one who calls.
    pub peer: String,
    /// IKE and ESP over IPv6.
    pub over_v6: bool,
    /// Also a policy for the hosts' IPv6 networks.
    pub inner_v6: bool,
    pub ports: [String; 2],
    pub dpd: &'static str,
    pub engines: Option<&'static str>,
    pub system: Value,
}

impl Gateway {
    pub fn new(side: Side, suite: Suite) -> Self {
        Self {
            side,
            suite,
            passive: false,
            peer: side.other().wan4().to_string(),
            over_v6: false,
            inner_v6: false,
            ports: ["af-packet:wan0".to_owned(), "af-packet:lan0".to_owned()],
            dpd: "disable-dpd",
            // Ours first, though a debug build makes it the slowest.
            engines: Some("native, ipsec-mb, ring, rustcrypto"),
            system: json!({}),
        }
    }
    /// Waits to be called, from anywhere.
    pub fn responder(mut self) -> Self {
        self.passive = true;
        self.peer = if self.over_v6 { "::/0".to_owned() } else { "0.0.0.0/0".to_owned() };
        self
    }
    pub fn over_v6(mut self) -> Self {
        self.over_v6 = true;
        self.inner_v6 = true;
        self.peer = self.side.other().wan6().to_string();
        self
    }
    pub fn ports(mut self, wan: &str, lan: &str) -> Self {
        self.ports = [wan.to_owned(), lan.to_owned()];
        self
    }
    pub fn outer(&self, side: Side) -> IpAddr {
        if self.over_v6 { side.wan6() } else { side.wan4() }
    }

    /// JSON is YAML, too.
    pub fn config(&self) -> Value {
        let (us, them) = (self.side, self.side.other());
        let named = |mut row: Value, name: &str| {
            row["name"] = json!(name);
            row
        };
        let mut profile = named(self.suite.profile(), "ike");
        profile["dpd-interval"] = json!(self.dpd);
        let policy = |from: String, to: String| json!({"src-address": from, "dst-address": to, "peer": "other", "proposal": "esp", "tunnel": "yes"});
        let mut policies = vec![policy(us.subnet4(), them.subnet4())];
        if self.inner_v6 {
            policies.push(policy(us.subnet6(), them.subnet6()));
        }
        // Small, so that several gateways and their peers fit beside each other.
        let mut system = json!({
            "name": format!("{}-{}", us.letter(), std::process::id()),
            "workers": 1, "memory": "64M", "buffers": 8192, "sa-slots": 256,
            "hugepages": "no", "lab": "yes",
        });
        if let Some(engines) = self.engines {
            system["crypto"] = json!({"engines": engines});
        }
        for (key, value) in self.system.as_object().into_iter().flatten() {
            system[key] = value.clone();
        }
        json!({
            "system": system,
            "interface": [
                {"name": "wan", "device": self.ports[0]},
                {"name": "lan", "device": self.ports[1]},
            ],
            "ip": {
                "address": [
                    {"address": format!("{}/24", us.wan4()), "interface": "wan"},
                    {"address": format!("{}/64", us.wan6()), "interface": "wan"},
                    {"address": format!("{}/24", us.lan4()), "interface": "lan"},
                    {"address": format!("{}/64", us.lan6()), "interface": "lan"},
                ],
                "route": [
                    {"dst-address": "0.0.0.0/0", "gateway": us.router4().to_string()},
                    {"dst-address": "::/0", "gateway": us.router6().to_string()},
                ],
                "ipsec": {
                    "profile": [profile],
                    "peer": [{
                        "name": "other", "address": self.peer, "local-address": self.outer(us).to_string(),
                        "exchange-mode": "ike2", "profile": "ike", "passive": if self.passive { "yes" } else { "no" },
                    }],
                    "identity": [{
                        "peer": "other", "secret": SECRET,
                        "my-id": format!("fqdn:{}", id(us)), "remote-id": format!("fqdn:{}", id(them)),
                    }],
                    "proposal": [named(self.suite.proposal(), "esp")],
                    "policy": policies,
                },
            },
        })
    }

    pub fn start(&self, lab: &Lab) -> Result<Espway> {
        self.start_as(lab, &self.config())
    }
    /// With a configuration made from [`Gateway::config`].
    pub fn start_as(&self, lab: &Lab, config: &Value) -> Result<Espway> {
        let name = format!("site-{}", self.side.letter());
        let file = lab.file(&format!("{name}.yaml"));
        std::fs::write(&file, format!("{config:#}\n"))?;
        let keys = self.key_log(lab).display().to_string();
        let ns = lab.site(self.side);
        Espway::start_with(lab, &Binaries::find()?, ns, &name, &file, &["--key-log", &keys])
    }
    /// Where a started gateway writes its keys.
    pub fn key_log(&self, lab: &Lab) -> PathBuf {
        lab.file(&format!("site-{}.keys", self.side.letter()))
    }

    /// strongSwan's side of the same tunnel; it calls us when `calls`.
    pub fn swan(&self, calls: bool) -> Swan {
        let (us, them) = (self.side, self.side.other());
        let (ike, esp) = self.suite.swan();
        let mut swan = Swan::new(self.outer(them), calls.then(|| self.outer(us)), SECRET)
            .suites(ike, esp)
            .selectors(them.subnet4(), us.subnet4());
        if self.inner_v6 {
            swan = swan.selectors(them.subnet6(), us.subnet6());
        }
        swan.local_id = id(them);
        swan.remote_id = id(us);
        swan
    }
}

/// A gateway's status, read for what tests ask.
#[derive(Clone, Debug)]
pub struct Seen {
    pub status: Value,
}
impl Seen {
    pub fn of(gateway: &Espway) -> Result<Self> {
        Ok(Self { status: gateway.status()? })
    }
    fn rows(&self, name: &str) -> &[Value] {
        self.status[name].as_array().map_or(&[], Vec::as_slice)
    }
    pub fn peers(&self) -> &[Value] {
        self.rows("active-peers")
    }
    pub fn established(&self) -> usize {
        self.peers().iter().filter(|peer| peer["state"] == "established").count()
    }
    /// Installed SAs of a direction (`in`, `out`).
    pub fn sas(&self, direction: &str) -> Vec<&Value> {
        self.rows("installed-sas").iter().filter(|sa| sa["direction"] == direction).collect()
    }
    /// SPIs of the IKE SA, initiator's and responder's.
    pub fn ike_spis(&self) -> Vec<String> {
        let both = |peer: &Value| [peer["spii"].to_string(), peer["spir"].to_string()];
        self.peers().iter().flat_map(both).collect()
    }
    pub fn spis(&self, direction: &str) -> Vec<String> {
        let mut spis: Vec<_> = self.sas(direction).iter().map(|sa| sa["spi"].to_string()).collect();
        spis.sort();
        spis
    }
    pub fn drops(&self) -> u64 {
        self.status["drops"].as_object().into_iter().flatten().filter_map(|(_, count)| count.as_u64()).sum()
    }
    pub fn expect_one_tunnel(&self) -> Result<()> {
        let (into, out) = (self.sas("in").len(), self.sas("out").len());
        ensure!(
            self.established() == 1 && into == 1 && out == 1,
            "expected one IKE SA and one SA each way: {:#}",
            self.status
        );
        Ok(())
    }
}

/// Waits until the gateway's status is as `right` wants it.
pub fn until(gateway: &Espway, what: &str, limit: Duration, right: impl Fn(&Seen) -> bool) -> Result<Seen> {
    wait_until(what, limit, || {
        let seen = Seen::of(gateway)?;
        ensure!(right(&seen), "{:#}", seen.status);
        Ok(seen)
    })
}

/// Numbered datagrams from host A to host B and back.
pub fn flow(lab: &Lab, per_second: u32) -> Result<NumberedFlow> {
    let (a, b) = (Side::A, Side::B);
    NumberedFlow::start((lab.host(a), a.host4()), (lab.host(b), b.host4()), 300, per_second)
}

pub fn initiate(gateway: &Espway) -> Result<()> {
    gateway.request(&json!({"initiate": {"peer": "other"}})).map(drop)
}
pub fn terminate(gateway: &Espway) -> Result<()> {
    gateway.request(&json!({"terminate": {"peer": "other"}})).map(drop)
}
pub fn rekey_ike(gateway: &Espway) -> Result<()> {
    gateway.request(&json!({"rekey-ike": {"peer": "other"}})).map(drop)
}
pub fn rekey_child(gateway: &Espway) -> Result<()> {
    let seen = Seen::of(gateway)?;
    let inbound = seen.sas("in");
    let slot = inbound.first().context("no inbound SA")?["slot"].clone();
    gateway.request(&json!({"rekey-child": {"slot": slot}})).map(drop)
}

/// One run of Python for several jobs: its start takes longest.
pub fn scapy<const N: usize>(jobs: [Value; N]) -> Result<[Value; N]> {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("scapy/esp.py");
    // Debian's interpreter: that is where the package python3-scapy is.
    let mut command = Command::new("/usr/bin/python3");
    let text = process::output(
        command.args(["-W", "ignore"]).arg(script).arg(Value::from(jobs.to_vec()).to_string()),
    )?;
    let answers: Vec<Value> = serde_json::from_str(&text).with_context(|| format!("scapy said: {text}"))?;
    answers.try_into().map_err(|_| anyhow::anyhow!("scapy said: {text}"))
}
