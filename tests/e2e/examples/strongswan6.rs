//! By hand: what only strongSwan 6 speaks, from a directory that holds a system with it (Debian 13, say, made with
//! mmdebstrap; about 150 MB and one to three minutes, too dear for every run of the tests).
//!
//! `cargo run -p e2e --example strongswan6 DIRECTORY`
use anyhow::{Context, Result, ensure};
use e2e::{Gateway, SOON, Suite, until};
use harness::traffic::{expect_pings, ping_until_up};
use harness::{Lab, Plan, Side, Site, StrongSwan};
use serde_json::json;
use std::path::{Path, PathBuf};

/// `additional-ke`, strongSwan's proposals, what was made of it. Debian's build of 6.0.1 has additional key exchanges, but
/// no ML-KEM: the rounds are made with groups.
const KEY_EXCHANGES: &[(&str, &str, &str)] = &[
    ("ecp384", "aes128gcm16-prfsha256-x25519-ke1_ecp384", "+ecp384"),
    ("x448,none", "aes128gcm16-prfsha256-x25519-ke1_curve448", "+x448"),
    ("mlkem768,modp3072,none", "aes128gcm16-prfsha256-x25519-ke1_modp3072-ke1_ecp256", "+modp3072"),
    ("mlkem768,none", "aes128gcm16-prfsha256-x25519", "/x25519"),
    ("none", "aes128gcm16-prfsha256-x25519-ke1_ecp384-ke1_none", "/x25519"),
];

fn tunnel(root: &Path, they_call: bool, (ours, theirs, made): (&str, &str, &str)) -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        let gateway = Gateway::new(Side::A, Suite::AesGcm);
        let gateway = if they_call { gateway.responder() } else { gateway };
        let mut config = gateway.config();
        config["ip"]["ipsec"]["profile"][0]["additional-ke"] = json!(ours);
        let espway = gateway.start_as(lab, &config)?;
        let swan = gateway.swan(they_call).suites(theirs, "aes128gcm16-x25519");
        let swan = StrongSwan::start_in_root(lab, lab.site(Side::B), root, &swan.to_conf())?;
        if they_call {
            swan.initiate().with_context(|| swan.log().unwrap_or_default())?;
        }
        let (a, b) = (lab.host(Side::A), lab.host(Side::B));
        ping_until_up(a, Side::B.host4(), SOON).with_context(|| swan.log().unwrap_or_default())?;
        let seen = until(&espway, "an established tunnel", SOON, |seen| seen.expect_one_tunnel().is_ok())?;
        let algorithms = seen.peers()[0].to_string();
        ensure!(algorithms.contains(made), "{made} in {algorithms}");
        expect_pings(a, Side::B.host4(), 10)?;
        expect_pings(b, Side::A.host4(), 10)?;
        println!("{} {ours} with {theirs}: {made}", if they_call { "strongSwan calls," } else { "we call," });
        espway.stop()
    })
}

fn main() -> Result<()> {
    let root: PathBuf = std::env::args_os().nth(1).context("the directory with strongSwan 6")?.into();
    for they_call in [false, true] {
        for case in KEY_EXCHANGES {
            tunnel(&root, they_call, *case).with_context(|| format!("{case:?}, they call: {they_call}"))?;
        }
    }
    Ok(())
}
