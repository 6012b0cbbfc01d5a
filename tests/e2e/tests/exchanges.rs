//! IKEv2 beyond its first two exchanges, against strongSwan: fragments, MOBIKE, redirects, rekeys of both ends at once,
//! re-authentication, liveness, an IKE SA without a child.
use anyhow::{Result, ensure};
use e2e::{Gateway, SOON, Seen, Suite, rekey_child, rekey_ike, until};
use harness::traffic::{expect_pings, ping_until_up};
use harness::{Capture, Espway, Lab, Plan, Side, Site, StrongSwan, Swan, capture};
use serde_json::{Value, json};
use std::time::Duration;

/// One tunnel between the gateway (A) and strongSwan (B), whoever of them calls, and what is done with it.
fn between(
    we_call: bool,
    change: impl FnOnce(&mut Value, &mut Swan),
    act: impl FnOnce(&Lab, &Espway, &StrongSwan<'_>) -> Result<()>,
) -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        let gateway = Gateway::new(Side::A, Suite::AesGcm);
        let gateway = if we_call { gateway } else { gateway.responder() };
        let (mut config, mut swan) = (gateway.config(), gateway.swan(!we_call));
        change(&mut config, &mut swan);
        let espway = gateway.start_as(lab, &config)?;
        let swan = StrongSwan::start(lab, lab.site(Side::B), &swan)?;
        if !we_call {
            swan.initiate()?;
        }
        ping_until_up(lab.host(Side::A), Side::B.host4(), SOON)?;
        swan.sas()?.expect_one_tunnel()?;
        act(lab, &espway, &swan)?;
        expect_pings(lab.host(Side::A), Side::B.host4(), 5)?;
        expect_pings(lab.host(Side::B), Side::A.host4(), 5)?;
        espway.stop()
    })
}
fn profile(config: &mut Value) -> &mut Value {
    &mut config["ip"]["ipsec"]["profile"][0]
}
fn still_one(espway: &Espway, swan: &StrongSwan<'_>) -> Result<()> {
    until(espway, "one tunnel", SOON, |seen| seen.expect_one_tunnel().is_ok())?;
    harness::wait_until("one tunnel there", SOON, || swan.sas()?.expect_one_tunnel())
}

/// Both ends split whatever is longer than the smallest packet (`fragment_size` of strongSwan; `fragment-size` of ours).
fn fragments(we_call: bool) -> Result<()> {
    let small = |config: &mut Value, swan: &mut Swan| {
        profile(config)["fragment-size"] = json!(256);
        // Public values that no small packet holds.
        profile(config)["dh-group"] = json!("modp2048");
        swan.ike = "aes128gcm16-prfsha256-modp2048".into();
        swan.connection.push("fragmentation = force".into());
    };
    between(we_call, small, |lab, espway, swan| {
        let wire = Capture::start(lab, &lab.wan, Lab::wan_link(Side::B), "")?;
        rekey_ike(espway)?;
        still_one(espway, swan)?;
        swan.rekey_ike()?;
        still_one(espway, swan)?;
        let log = swan.log()?;
        ensure!(log.contains("received fragment #1 of"), "strongSwan put together what we split:\n{log}");
        let file = wire.finish()?;
        let [ours, long] = capture::counts(
            &file,
            [
                "isakmp.typepayload == 53 && ip.src == 198.51.100.2",
                "isakmp && ip.src == 198.51.100.2 && ip.len > 256",
            ],
        )?;
        ensure!(ours > 0 && long == 0, "{ours} fragments of ours, {long} messages longer than that");
        Ok(())
    })
}
#[test]
fn fragments_when_we_call() -> Result<()> {
    fragments(true)
}
#[test]
fn fragments_when_strongswan_calls() -> Result<()> {
    fragments(false)
}

/// Both ends rekey the same at the same moment, several times.
#[test]
fn rekeys_of_both_ends_at_once() -> Result<()> {
    between(
        true,
        |_, _| (),
        |lab, espway, swan| {
            let flow = e2e::flow(lab, 100)?;
            for turn in 0..4 {
                let (ours, theirs) = std::thread::scope(|scope| {
                    let theirs =
                        scope.spawn(|| if turn % 2 == 0 { swan.rekey_child() } else { swan.rekey_ike() });
                    let ours = if turn % 2 == 0 { rekey_child(espway) } else { rekey_ike(espway) };
                    (ours, theirs.join().expect("no panic"))
                });
                ours?;
                // swanctl calls a rekey that lost the collision a failure.
                let _ = theirs;
                still_one(espway, swan)?;
            }
            flow.finish()?.expect_whole(200)
        },
    )
}

#[test]
fn strongswan_authenticates_again() -> Result<()> {
    let often = |_: &mut Value, swan: &mut Swan| {
        swan.connection.extend(["reauth_time = 6s".into(), "rand_time = 0s".into(), "over_time = 4s".into()]);
    };
    between(false, often, |_, espway, swan| {
        let before = Seen::of(espway)?.ike_spis();
        until(espway, "another IKE SA", Duration::from_secs(30), |seen| {
            seen.expect_one_tunnel().is_ok() && seen.ike_spis() != before
        })?;
        ensure!(swan.log()?.contains("reauthenticating IKE_SA"), "it was a rekey");
        still_one(espway, swan)
    })
}

/// As responder to our call it says how long it trusts us (RFC 4478).
#[test]
fn we_authenticate_again_when_strongswan_asks() -> Result<()> {
    let often = |_: &mut Value, swan: &mut Swan| {
        swan.connection.extend([
            "reauth_time = 20s".into(),
            "rand_time = 0s".into(),
            "over_time = 20s".into(),
        ]);
        swan.connection.push("unique = no".into());
    };
    between(true, often, |_, espway, swan| {
        let before = Seen::of(espway)?.ike_spis();
        until(espway, "another IKE SA", Duration::from_secs(60), |seen| {
            seen.expect_one_tunnel().is_ok() && seen.ike_spis() != before
        })?;
        still_one(espway, swan)
    })
}

#[test]
fn strongswan_asks_whether_we_live() -> Result<()> {
    let asks = |_: &mut Value, swan: &mut Swan| swan.dpd_delay = 1;
    between(false, asks, |_, espway, swan| {
        harness::wait_until("three answers", SOON, || {
            ensure!(swan.log()?.matches("sending DPD request").count() >= 3, "not yet");
            Ok(())
        })?;
        still_one(espway, swan)
    })
}

#[test]
fn an_ike_sa_without_a_child() -> Result<()> {
    let alone = |_: &mut Value, swan: &mut Swan| swan.connection.push("childless = force".into());
    between(false, alone, |_, espway, swan| {
        ensure!(swan.log()?.contains("CREATE_CHILD_SA"), "the child came with IKE_AUTH");
        still_one(espway, swan)
    })
}

/// strongSwan's address changes under the tunnel, and the tunnel with it.
#[test]
fn strongswan_moves() -> Result<()> {
    let mobile = |_: &mut Value, swan: &mut Swan| {
        swan.connection.push("mobike = yes".into());
    };
    between(false, mobile, |lab, espway, swan| {
        let site = lab.site(Side::B);
        let old = Side::B.wan4().to_string();
        let new = old.replace(".2", ".77");
        let router = Side::B.router4();
        site.ip(&format!(
            "addr del {old}/24 dev wan0\naddr add {new}/24 dev wan0\nroute replace default via {router}\n"
        ))?;
        until(espway, "the peer at its new address", Duration::from_secs(60), |seen| {
            seen.peers().first().is_some_and(|peer| peer["remote-address"].to_string().contains(&new))
        })?;
        ping_until_up(lab.host(Side::A), Side::B.host4(), SOON)?;
        still_one(espway, swan)
    })
}

/// We send it elsewhere when it calls; nobody is there.
#[test]
fn strongswan_is_redirected_when_it_calls() -> Result<()> {
    let elsewhere = Side::B.router4().to_string();
    Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        let gateway = Gateway::new(Side::A, Suite::AesGcm).responder();
        let mut config = gateway.config();
        config["ip"]["ipsec"]["settings"] = json!({"redirect-to": elsewhere});
        let espway = gateway.start_as(lab, &config)?;
        let swan = StrongSwan::start(lab, lab.site(Side::B), &gateway.swan(true))?;
        // It finds nobody there.
        let _ = swan.control("--initiate --child net --timeout 3");
        let log = swan.log()?;
        ensure!(log.contains(&format!("redirected to {elsewhere}")), "{log}");
        ensure!(Seen::of(&espway)?.established() == 0, "nothing is kept");
        espway.stop()
    })
}
/// It sends us elsewhere while we are connected; nobody is there, and we come back.
#[test]
fn we_are_redirected_while_connected() -> Result<()> {
    let elsewhere = Side::B.router4().to_string();
    let follow = |config: &mut Value, _: &mut Swan| profile(config)["follow-redirects"] = json!("yes");
    between(true, follow, |lab, espway, swan| {
        let wire = Capture::start(lab, &lab.wan, Lab::wan_link(Side::A), "")?;
        swan.control(&format!("--redirect --ike gw --gateway {elsewhere}"))?;
        let calls = format!("isakmp.exchangetype == 34 && ip.dst == {elsewhere}");
        std::thread::sleep(Duration::from_secs(3));
        let [there] = capture::counts(&wire.finish()?, [calls.as_str()])?;
        ensure!(there > 0, "no call to {elsewhere}: {:#}", Seen::of(espway)?.status);
        Ok(())
    })
}
