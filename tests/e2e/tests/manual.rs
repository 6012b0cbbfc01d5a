//! SAs with keys from the configuration, against the states of a whole Linux kernel in a guest.
use anyhow::{Context, Result, ensure};
use e2e::{Gateway, SOON, Seen, Suite, near, until};
use harness::capture::{Keys, tshark};
use harness::espway::Binaries;
use harness::traffic::{NumberedFlow, expect_pings, ping_until_up};
use harness::{Capture, Guest, Lab, Netns, Plan, Side, Site, process, wait_until};
use serde_json::{Value, json};
use std::collections::HashSet;
use std::net::IpAddr;
use std::time::Duration;

/// One pair of SAs and the policy it serves.
#[derive(Clone, Copy)]
struct Row {
    protocol: &'static str,
    /// Between the gateways themselves, for this protocol of theirs; else in tunnel mode between networks.
    transport: Option<&'static str>,
    over_v6: bool,
    esn: bool,
    /// Names and key lengths: ours, and Linux's with what stands behind the key.
    cipher: (&'static str, usize, &'static str, &'static str),
    hash: (&'static str, usize, &'static str, &'static str),
}
const GCM: (&str, usize, &str, &str) = ("aes-256-gcm", 36, "aead 'rfc4106(gcm(aes))'", "128");
const CBC: (&str, usize, &str, &str) = ("aes-128-cbc", 16, "enc 'cbc(aes)'", "");
const CTR: (&str, usize, &str, &str) = ("aes-128-ctr", 20, "enc 'rfc3686(ctr(aes))'", "");
const CHACHA: (&str, usize, &str, &str) =
    ("chacha20poly1305", 36, "aead 'rfc7539esp(chacha20,poly1305)'", "128");
const NO_CIPHER: (&str, usize, &str, &str) = ("null", 0, "", "");
const SHA256: (&str, usize, &str, &str) = ("sha256", 32, "auth-trunc 'hmac(sha256)'", "128");
const SHA1: (&str, usize, &str, &str) = ("sha1", 20, "auth-trunc 'hmac(sha1)'", "96");
const NO_HASH: (&str, usize, &str, &str) = ("null", 0, "", "");
const ESP: Row =
    Row { protocol: "esp", transport: None, over_v6: false, esn: false, cipher: GCM, hash: NO_HASH };
const AH: Row = Row { protocol: "ah", cipher: NO_CIPHER, hash: SHA256, ..ESP };
const ROWS: [Row; 9] = [
    ESP,
    Row { esn: true, ..ESP },
    Row { over_v6: true, cipher: CBC, hash: SHA256, ..ESP },
    Row { esn: true, cipher: CTR, hash: SHA1, ..ESP },
    Row { cipher: CHACHA, ..ESP },
    AH,
    Row { over_v6: true, esn: true, hash: SHA1, ..AH },
    Row { transport: Some("icmp"), cipher: CBC, hash: SHA1, esn: true, ..ESP },
    Row { transport: Some("tcp"), ..AH },
];

/// Different for each use: row, direction, what for, and which generation.
fn key(len: usize, parts: [u8; 3]) -> String {
    let [a, b, c] = parts.map(usize::from);
    (0..len).map(|at| format!("{:02x}", (a * 31 + b * 7 + c * 97 + at * 3) as u8)).collect()
}
fn spi(n: usize, inbound: bool) -> u32 {
    0x1000 + 2 * n as u32 + u32::from(inbound)
}
impl Row {
    fn ends(&self) -> (IpAddr, IpAddr) {
        let (a, b) = (Side::A, Side::B);
        if self.over_v6 { (a.wan6(), b.wan6()) } else { (a.wan4(), b.wan4()) }
    }
    fn selectors(&self, n: usize) -> (String, String) {
        match self.transport {
            Some(_) => (format!("{}/32", self.ends().0), format!("{}/32", self.ends().1)),
            None => (format!("{}/32", near(n)), Side::B.subnet4()),
        }
    }
    fn policy(&self, n: usize) -> Value {
        let (src, dst) = self.selectors(n);
        json!({
            "src-address": src, "dst-address": dst, "protocol": self.transport.unwrap_or("all"),
            "ipsec-protocols": self.protocol, "tunnel": if self.transport.is_some() { "no" } else { "yes" },
        })
    }
    fn manual(&self, n: usize, inbound: bool, generation: u8) -> Value {
        let (us, them) = self.ends();
        let mut row = json!({
            "spi": spi(n, inbound), "direction": if inbound { "in" } else { "out" }, "policy": n,
            "local-address": us.to_string(), "remote-address": them.to_string(), "esn": self.esn,
            "enc-algorithm": self.cipher.0, "auth-algorithm": self.hash.0,
        });
        let key = |len, what: u8| key(len, [n as u8, u8::from(inbound) + 2 * what, generation]);
        for (name, len, what) in [("enc-key", self.cipher.1, 0), ("auth-key", self.hash.1, 1)] {
            if len > 0 {
                row[name] = json!(format!("0x{}", key(len, what)));
            }
        }
        row
    }
    /// `ip xfrm` in the guest, for both directions.
    fn xfrm(&self, n: usize, generation: u8, verb: &str) -> String {
        let (us, them) = self.ends();
        let (near, far) = self.selectors(n);
        let mode = if self.transport.is_some() { "transport" } else { "tunnel" };
        // What is inside of IPv6 is IPv4; Linux pads the ICV of AH in IPv4 to 64 bits unless it is told (RFC 4302 2.6).
        let flags = [
            (self.esn, "esn"),
            (self.over_v6, "af-unspec"),
            (self.protocol == "ah" && !self.over_v6, "align4"),
        ];
        let flags: Vec<&str> = flags.iter().filter(|(is, _)| *is).map(|(_, name)| *name).collect();
        let flags = if flags.is_empty() { String::new() } else { format!("flag {}", flags.join(" ")) };
        let upper = self.transport.map_or("", |name| if name == "tcp" { "proto 6" } else { "proto 1" });
        let mut lines = String::new();
        // Our inbound SA is the one Linux sends under.
        for inbound in [true, false] {
            let (src, dst) = if inbound { (them, us) } else { (us, them) };
            let mut algorithms = String::new();
            for ((_, len, name, bits), what) in [(self.cipher, 0), (self.hash, 1)] {
                if len > 0 {
                    let key = key(len, [n as u8, u8::from(inbound) + 2 * what, generation]);
                    algorithms += &format!("{name} 0x{key} {bits} ");
                }
            }
            lines += &format!(
                "ip xfrm state {verb} src {src} dst {dst} proto {} spi {} reqid {} mode {mode} replay-window 128 {flags} \
                 {algorithms}\n",
                self.protocol,
                spi(n, inbound),
                n + 1,
            );
        }
        let ways: &[&str] = if self.transport.is_some() { &["out", "in"] } else { &["out", "in", "fwd"] };
        for way in ways {
            let ((from, to), (src, dst)) =
                if *way == "out" { ((&far, &near), (them, us)) } else { ((&near, &far), (us, them)) };
            lines += &format!(
                "ip xfrm policy update src {from} dst {to} {upper} dir {way} tmpl src {src} dst {dst} proto {} reqid {} \
                 mode {mode}\n",
                self.protocol,
                n + 1,
            );
        }
        lines
    }
}

fn config(gateway: &Gateway, generation: impl Fn(usize) -> u8) -> Value {
    let mut config = gateway.config();
    let ipsec = &mut config["ip"]["ipsec"];
    (ipsec["peer"], ipsec["identity"]) = (json!([]), json!([]));
    ipsec["policy"] = ROWS.iter().enumerate().map(|(n, row)| row.policy(n)).collect();
    let both = |(n, row): (usize, &Row)| [false, true].map(|inbound| row.manual(n, inbound, generation(n)));
    ipsec["manual-sa"] = ROWS.iter().enumerate().flat_map(both).collect();
    config
}

fn all_pass(lab: &Lab, first: bool) -> Result<()> {
    let b = lab.host(Side::B);
    for (n, row) in ROWS.iter().enumerate() {
        eprintln!("row {n}");
        let passes = |ping: &dyn Fn(&Netns, IpAddr) -> Result<()>| match row.transport {
            None => ping(b, near(n)),
            Some("icmp") => ping(lab.site(Side::A), Side::B.wan4()),
            // The server says for a while that it is busy with who was there before.
            Some(_) => wait_until("TCP between the gateways", SOON, || {
                let said =
                    lab.site(Side::A).run(&format!("timeout 15 iperf3 -J -t 1 -c {}", Side::B.wan4()))?;
                let said: Value = serde_json::from_str(&said)?;
                ensure!(said["end"]["sum_received"]["bytes"].as_u64() >= Some(90_000), "{said:#}");
                Ok(())
            }),
        };
        if first {
            passes(&|from, to| ping_until_up(from, to, SOON)).with_context(|| format!("row {n}"))?;
        }
        passes(&|from, to| expect_pings(from, to, 5)).with_context(|| format!("row {n}"))?;
    }
    Ok(())
}

/// Every row passes both ways; other keys take the place of old ones while the rest goes on; the gateway is killed and comes
/// back, and Linux, whose replay windows have not noticed, takes what it sends: no number of a key is on the wire twice.
#[test]
fn a9_linux_takes_what_manual_sas_send_before_and_after_restarts() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Taps), |lab| {
        let guest = Guest::boot(lab, Side::B)?;
        let gateway = Gateway::new(Side::A, Suite::AesGcm);
        let addresses = (0..ROWS.len()).map(|n| format!("addr add {}/32 dev lo\n", near(n)));
        lab.host(Side::A).ip(&addresses.collect::<String>())?;
        let states: String = ROWS.iter().enumerate().map(|(n, row)| row.xfrm(n, 0, "add")).collect();
        guest.put("/run/states", &states)?;
        guest.sh("set -e; . /run/states; iperf3 -s -D")?;

        let wire = Capture::start(lab, &lab.wan, Lab::wan_link(Side::A), "")?;
        let espway = gateway.start_as(lab, &config(&gateway, |_| 0))?;
        all_pass(lab, true)?;
        let seen = until(&espway, "all of them", SOON, |seen| {
            seen.sas("in").len() == ROWS.len() && seen.sas("out").len() == ROWS.len()
        })?;
        ensure!(seen.peers().is_empty() && seen.sas("in").iter().all(|sa| sa["state"] == "mature"));

        // Another key for row 1, while row 0 carries numbered datagrams.
        let flow = NumberedFlow::start(
            (lab.host(Side::B), Side::B.host4()),
            (lab.host(Side::A), near(0)),
            300,
            200,
        )?;
        flow.let_pass(100)?;
        let new_keys = config(&gateway, |n| u8::from(n == 1));
        guest.put(
            "/run/states",
            &ROWS[1].xfrm(1, 1, "update").replace("ip xfrm state update", "ip xfrm state add"),
        )?;
        let spis = [spi(1, false), spi(1, true)];
        let deleted = |inbound: bool, spi: u32| {
            let (src, dst) = if inbound { (Side::B, Side::A) } else { (Side::A, Side::B) };
            format!("ip xfrm state delete src {} dst {} proto esp spi {spi}\n", src.wan4(), dst.wan4())
        };
        let delete = deleted(false, spis[0]) + &deleted(true, spis[1]);
        let file = lab.file("site-a.yaml");
        std::fs::write(&file, format!("{new_keys:#}\n"))?;
        process::output(Binaries::find()?.command().args(["apply", "--run-dir"]).arg(espway.run_dir()))?;
        guest.sh(&format!("set -e\n{delete}. /run/states"))?;
        ping_until_up(lab.host(Side::B), near(1), SOON)?;
        expect_pings(lab.host(Side::B), near(1), 5)?;
        flow.let_pass(100)?;
        flow.wait_for_answer(Duration::from_secs(10))?;
        flow.finish()?.expect_whole(200)?;

        // Neither process says a word before it is gone.
        let told = |seen: &Seen| seen.sas("out").len() == ROWS.len();
        for process in ["espway-slowpath", "espway-fastpath"] {
            let before = espway.pid_of(process)?;
            process::run("kill", &["-KILL", &before.to_string()])?;
            until(&espway, "the new process", Duration::from_secs(40), |seen| {
                espway.pid_of(process).is_ok_and(|pid| pid != before) && told(seen)
            })?;
            all_pass(lab, true).with_context(|| format!("after {process} was killed"))?;
        }
        espway.stop()?;
        let espway = gateway.start_as(lab, &new_keys)?;
        all_pass(lab, true).context("after a restart of all of it")?;
        espway.stop()?;

        let file = wire.finish()?;
        let from = format!("ip.src == {} || ipv6.src == {}", Side::A.wan4(), Side::A.wan6());
        let fields = ["esp.spi", "esp.sequence", "ah.spi", "ah.sequence", "esp.iv"];
        let mut numbers = HashSet::new();
        let mut packets = 0;
        for row in tshark(&file, &Keys::default(), &format!("({from}) && (esp || ah)"), &fields)? {
            let [esp, esp_seq, ah, ah_seq, ..] = row.as_slice() else { continue };
            packets += 1;
            // Row 1 had two keys, and each may count from 1.
            let twice = !numbers.insert((esp.clone(), esp_seq.clone(), ah.clone(), ah_seq.clone()));
            let of_row_1 = u32::from_str_radix(esp.trim_start_matches("0x"), 16) == Ok(spi(1, false));
            ensure!(!twice || of_row_1, "{row:?} was sent twice");
        }
        ensure!(packets > 200, "{packets} packets");
        Ok(())
    })
}
