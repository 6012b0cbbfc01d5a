//! A tunnel's life against strongSwan: rekeyed under load without a loss, deleted, lost and found again.
use anyhow::{Result, ensure};
use e2e::{Gateway, SOON, Suite, flow, rekey_child, rekey_ike, terminate, until};
use harness::traffic::{expect_pings, ping_until_up};
use harness::{Espway, Lab, Plan, Side, Site, StrongSwan, wait_until};
use std::time::Duration;

fn with_tunnel(
    change: impl FnOnce(&mut Gateway),
    body: impl FnOnce(&Lab, &Espway, StrongSwan<'static>, &Gateway) -> Result<()>,
) -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        let mut gateway = Gateway::new(Side::A, Suite::AesGcm);
        change(&mut gateway);
        let swan = StrongSwan::start(lab, lab.site(Side::B), &gateway.swan(true))?;
        let espway = gateway.start(lab)?;
        ping_until_up(lab.host(Side::A), Side::B.host4(), SOON)?;
        swan.sas()?.expect_one_tunnel()?;
        body(lab, &espway, swan, &gateway)
    })
}

/// Runs `rekey` in the middle of numbered datagrams; not one may be missing or come twice.
fn under_load(lab: &Lab, rekey: impl FnOnce() -> Result<()>) -> Result<()> {
    let flow = flow(lab, 500)?;
    flow.let_pass(200)?;
    rekey()?;
    // The old SAs are deleted shortly after; packets pass all the while.
    flow.let_pass(1500)?;
    flow.finish()?.expect_whole(1700)
}

fn child_rekeyed(espway: &Espway, swan: &StrongSwan<'_>, rekey: impl FnOnce() -> Result<()>) -> Result<()> {
    let before = until(espway, "one tunnel", SOON, |seen| seen.expect_one_tunnel().is_ok())?;
    rekey()?;
    let after = until(espway, "new SAs alone", SOON, |seen| {
        seen.expect_one_tunnel().is_ok()
            && seen.spis("in") != before.spis("in")
            && seen.spis("out") != before.spis("out")
    })?;
    ensure!(after.ike_spis() == before.ike_spis(), "the IKE SA stays");
    wait_until("strongSwan's view", SOON, || swan.sas()?.expect_one_tunnel())
}
fn ike_rekeyed(espway: &Espway, swan: &StrongSwan<'_>, rekey: impl FnOnce() -> Result<()>) -> Result<()> {
    let before = until(espway, "one tunnel", SOON, |seen| seen.expect_one_tunnel().is_ok())?;
    rekey()?;
    let after = until(espway, "a new IKE SA alone", SOON, |seen| {
        seen.expect_one_tunnel().is_ok() && seen.ike_spis() != before.ike_spis()
    })?;
    ensure!(after.spis("in") == before.spis("in"), "the child moves over unchanged");
    wait_until("strongSwan's view", SOON, || swan.sas()?.expect_one_tunnel())
}

#[test]
fn we_rekey_the_child_under_load() -> Result<()> {
    with_tunnel(
        |_| {},
        |lab, espway, swan, _| under_load(lab, || child_rekeyed(espway, &swan, || rekey_child(espway))),
    )
}
#[test]
fn strongswan_rekeys_the_child_under_load() -> Result<()> {
    with_tunnel(
        |_| {},
        |lab, espway, swan, _| under_load(lab, || child_rekeyed(espway, &swan, || swan.rekey_child())),
    )
}
#[test]
fn we_rekey_the_ike_sa_under_load() -> Result<()> {
    with_tunnel(
        |_| {},
        |lab, espway, swan, _| under_load(lab, || ike_rekeyed(espway, &swan, || rekey_ike(espway))),
    )
}
#[test]
fn strongswan_rekeys_the_ike_sa_under_load() -> Result<()> {
    with_tunnel(
        |_| {},
        |lab, espway, swan, _| under_load(lab, || ike_rekeyed(espway, &swan, || swan.rekey_ike())),
    )
}

#[test]
fn we_delete_and_the_next_packet_calls_again() -> Result<()> {
    with_tunnel(
        |_| {},
        |lab, espway, swan, _| {
            let before = until(espway, "one tunnel", SOON, |seen| seen.expect_one_tunnel().is_ok())?;
            terminate(espway)?;
            wait_until("strongSwan without SAs", SOON, || {
                let sas = swan.sas()?;
                ensure!(sas.ike_established() == 0 && sas.children_installed() == 0, "{}", sas.text);
                Ok(())
            })?;
            ping_until_up(lab.host(Side::A), Side::B.host4(), SOON)?;
            let after = until(espway, "a new tunnel", SOON, |seen| seen.expect_one_tunnel().is_ok())?;
            ensure!(after.ike_spis() != before.ike_spis());
            expect_pings(lab.host(Side::A), Side::B.host4(), 5)
        },
    )
}
#[test]
fn strongswan_deletes_child_then_all() -> Result<()> {
    with_tunnel(
        |_| {},
        |lab, espway, swan, _| {
            swan.terminate_child()?;
            until(espway, "no SAs", SOON, |seen| seen.sas("in").is_empty() && seen.sas("out").is_empty())?;
            ping_until_up(lab.host(Side::A), Side::B.host4(), SOON)?;
            swan.terminate()?;
            until(espway, "no peer", SOON, |seen| seen.established() == 0 && seen.sas("out").is_empty())?;
            ping_until_up(lab.host(Side::A), Side::B.host4(), SOON)?;
            swan.sas()?.expect_one_tunnel()
        },
    )
}

/// A peer killed without a word is noticed, its SAs go, and when it is back the next packet calls it.
#[test]
fn a_killed_peer_is_noticed_and_called_again() -> Result<()> {
    with_tunnel(
        |gateway| gateway.dpd = "1s",
        |lab, espway, mut swan, gateway| {
            swan.kill()?;
            until(espway, "the dead peer's end", Duration::from_secs(120), |seen| {
                seen.established() == 0 && seen.sas("out").is_empty() && seen.sas("in").is_empty()
            })?;
            let again = StrongSwan::start(lab, lab.site(Side::B), &gateway.swan(false))?;
            ping_until_up(lab.host(Side::A), Side::B.host4(), Duration::from_secs(60))?;
            again.sas()?.expect_one_tunnel()
        },
    )
}
/// A peer that restarts and calls (with INITIAL_CONTACT) replaces what it had.
#[test]
fn a_restarted_peer_replaces_its_tunnel() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        let gateway = Gateway::new(Side::A, Suite::AesGcm).responder();
        let espway = gateway.start(lab)?;
        let mut swan = StrongSwan::start(lab, lab.site(Side::B), &gateway.swan(true))?;
        swan.initiate()?;
        ping_until_up(lab.host(Side::A), Side::B.host4(), SOON)?;
        let before = until(&espway, "one tunnel", SOON, |seen| seen.expect_one_tunnel().is_ok())?;
        swan.kill()?;
        let again = StrongSwan::start(lab, lab.site(Side::B), &gateway.swan(true))?;
        again.initiate()?;
        let after = until(&espway, "the new tunnel alone", SOON, |seen| {
            seen.expect_one_tunnel().is_ok() && seen.ike_spis() != before.ike_spis()
        })?;
        ensure!(after.spis("in") != before.spis("in"));
        expect_pings(lab.host(Side::A), Side::B.host4(), 10)?;
        expect_pings(lab.host(Side::B), Side::A.host4(), 10)
    })
}
/// The whole gateway stops (its peer is told) and starts again.
#[test]
fn a_stopped_gateway_says_goodbye_and_comes_back() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        let gateway = Gateway::new(Side::A, Suite::AesGcm);
        let swan = StrongSwan::start(lab, lab.site(Side::B), &gateway.swan(false))?;
        let espway = gateway.start(lab)?;
        ping_until_up(lab.host(Side::A), Side::B.host4(), SOON)?;
        espway.stop()?;
        wait_until("strongSwan told", SOON, || {
            let sas = swan.sas()?;
            ensure!(sas.ike_established() == 0, "{}", sas.text);
            Ok(())
        })?;
        let _again = gateway.start(lab)?;
        ping_until_up(lab.host(Side::A), Side::B.host4(), SOON)?;
        swan.sas()?.expect_one_tunnel()
    })
}
