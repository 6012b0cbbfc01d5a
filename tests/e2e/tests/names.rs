//! Peers by name, looked up in a hosts file of the gateway's own, and peers that stand in for others.
use anyhow::{Result, ensure};
use e2e::{Gateway, SOON, Suite, until};
use harness::espway::Binaries;
use harness::traffic::{expect_pings, ping_until_up};
use harness::{Espway, Lab, Plan, Side, Site, StrongSwan};
use serde_json::json;
use std::time::Duration;

/// Nobody has the name; then somebody has; then he is elsewhere, and is found there.
#[test]
fn a_peer_by_name_is_found_and_followed() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        let gateway = Gateway::new(Side::A, Suite::AesGcm);
        let mut config = gateway.config();
        config["ip"]["ipsec"]["peer"][0]["address"] = json!("vpn.test");
        let (file, hosts) = (lab.file("site-a.yaml"), lab.file("hosts"));
        std::fs::write(&file, format!("{config:#}\n"))?;
        std::fs::write(&hosts, "127.0.0.1 localhost\n")?;
        let espway =
            Espway::start_with_hosts(lab, &Binaries::find()?, lab.site(Side::A), "site-a", &file, &hosts)?;
        harness::wait_until("that the name stands for nothing is told", SOON, || {
            let told = espway.request(&json!({"diagnosis": {"peer": null, "clear": false}}))?.to_string();
            ensure!(told.contains("vpn.test"), "{told}");
            Ok(())
        })?;

        let mut theirs = gateway.swan(false);
        let swan = StrongSwan::start(lab, lab.site(Side::B), &theirs)?;
        std::fs::write(&hosts, format!("{} vpn.test\n", Side::B.wan4()))?;
        ping_until_up(lab.host(Side::A), Side::B.host4(), SOON)?;
        let at = |address: &str| {
            until(&espway, address, Duration::from_secs(150), |seen| {
                seen.expect_one_tunnel().is_ok()
                    && seen.peers()[0]["remote-address"].to_string().contains(address)
            })
        };
        let (old, new) = (Side::B.wan4().to_string(), "203.0.113.77");
        at(&old)?;

        // It moves without a word: the gateway is told by its name, once it is called again.
        std::fs::write(&hosts, format!("{new} vpn.test\n"))?;
        swan.terminate()?;
        drop(swan);
        lab.site(Side::B).ip(&format!(
            "addr del {old}/24 dev wan0\naddr add {new}/24 dev wan0\nroute replace default via {}\n",
            Side::B.router4()
        ))?;
        theirs.local = new.parse()?;
        let swan = StrongSwan::start(lab, lab.site(Side::B), &theirs)?;
        at(new)?;
        ping_until_up(lab.host(Side::A), Side::B.host4(), SOON)?;
        expect_pings(lab.host(Side::B), Side::A.host4(), 3)?;
        swan.sas()?.expect_one_tunnel()?;
        espway.stop()
    })
}

/// Nobody answers at the first peer's address: the second one serves the policy.
#[test]
fn a_spare_peer_serves_while_the_first_one_is_not_there() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        let gateway = Gateway::new(Side::A, Suite::AesGcm);
        let mut config = gateway.config();
        let ipsec = &mut config["ip"]["ipsec"];
        let (mut first, spare) = (ipsec["peer"][0].clone(), ipsec["peer"][0].clone());
        let absent = "203.0.113.77";
        (first["name"], first["address"]) = (json!("first"), json!(absent));
        ipsec["peer"] = json!([first, spare]);
        let (mut of_first, of_spare) = (ipsec["identity"][0].clone(), ipsec["identity"][0].clone());
        of_first["peer"] = json!("first");
        ipsec["identity"] = json!([of_first, of_spare]);
        ipsec["policy"][0]["peer"] = json!("first,other");
        let swan = StrongSwan::start(lab, lab.site(Side::B), &gateway.swan(false))?;
        let espway = gateway.start_as(lab, &config)?;
        let by = |peer: &str| {
            until(&espway, peer, Duration::from_secs(100), |seen| {
                seen.sas("in").len() == 1
                    && seen.peers().iter().any(|p| p["peer"] == peer && p["state"] == "established")
            })
        };
        by("other")?;
        ping_until_up(lab.host(Side::A), Side::B.host4(), SOON)?;
        swan.sas()?.expect_one_tunnel()?;
        espway.stop()
    })
}
