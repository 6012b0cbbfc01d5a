//! Many ESP proposals in one lab: each has a tunnel of its own, to an address of its own on our side.
use crate::{Gateway, SOON, Suite, until};
use anyhow::{Context, Result, ensure};
use harness::traffic::{ping, ping_until_up};
use harness::{Lab, Side, StrongSwan, Swan};
use serde_json::{Value, json};
use std::net::{IpAddr, Ipv4Addr};

/// Cipher and integrity in our words, both in strongSwan's.
pub type Pair = (&'static str, &'static str, &'static str);

/// An address of our side for the n-th tunnel.
pub fn near(n: usize) -> IpAddr {
    match Side::A.host4() {
        IpAddr::V4(host) => {
            let [a, b, c, _] = host.octets();
            Ipv4Addr::new(a, b, c, 100 + n as u8).into()
        }
        v6 => v6,
    }
}

/// Pings through all of them, both ways.
pub fn pairs_pass<'s>(
    lab: &Lab,
    pairs: &[Pair],
    they_call: bool,
    start: impl FnOnce(&Swan) -> Result<StrongSwan<'s>>,
) -> Result<()> {
    let gateway = Gateway::new(Side::A, Suite::AesGcm);
    let gateway = if they_call { gateway.responder() } else { gateway };
    let mut config = gateway.config();
    let ipsec = &mut config["ip"]["ipsec"];
    let (mut proposals, mut policies) = (Vec::new(), Vec::new());
    let mut swan = gateway.swan(they_call);
    for (n, (cipher, hash, theirs)) in pairs.iter().enumerate() {
        let (name, near) = (format!("esp-{n}"), format!("{}/32", near(n)));
        policies.push(json!({
            "src-address": near, "dst-address": Side::B.subnet4(), "peer": "other", "proposal": name, "tunnel": "yes",
        }));
        swan.others.push([Side::B.subnet4(), near, (*theirs).to_owned()]);
        proposals.push(
            json!({"name": name, "enc-algorithms": cipher, "auth-algorithms": hash, "pfs-group": "none"}),
        );
    }
    (ipsec["proposal"], ipsec["policy"]) = (Value::from(proposals), Value::from(policies));

    let (a, b) = (lab.host(Side::A), lab.host(Side::B));
    a.ip(&(0..pairs.len()).map(|n| format!("addr add {}/32 dev lo\n", near(n))).collect::<String>())?;
    let swan = start(&swan)?;
    let espway = gateway.start_as(lab, &config)?;
    for (n, (cipher, hash, theirs)) in pairs.iter().enumerate() {
        let tunnel = || {
            if they_call {
                swan.control(&format!("--initiate --child {}{n} --timeout 20", Swan::CHILD))?;
            }
            ping_until_up(b, near(n), SOON)?;
            // A guest's interface loses a packet now and then; a suite that is wrong loses all of them.
            let run = ping(b, near(n), 5, 20)?;
            ensure!(run.received >= 3, "{run:?}");
            Ok(())
        };
        tunnel().with_context(|| format!("{cipher}/{hash}, which strongSwan calls {theirs}"))?;
    }
    let seen = until(&espway, "all tunnels with what passed them", SOON, |seen| {
        let all = [seen.sas("in"), seen.sas("out")];
        all.iter().all(|sas| {
            sas.len() == pairs.len() && sas.iter().all(|sa| sa["current-packets"].as_u64() >= Some(3))
        })
    })?;
    for sa in seen.sas("in") {
        ensure!(sa["invalid-packets"] == 0, "{sa}");
    }
    espway.stop()
}
