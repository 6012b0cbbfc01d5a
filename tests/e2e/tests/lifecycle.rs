//! A tunnel's life against strongSwan: rekeyed under load without a loss, deleted, lost and found again.
use anyhow::{Context, Result, anyhow, ensure};
use config::document::{Document, Secrets};
use config::schema::place;
use e2e::{Gateway, SOON, Suite, flow, rekey_child, rekey_ike, terminate, until};
use harness::espway::Binaries;
use harness::traffic::{expect_pings, ping, ping_until_up};
use harness::{Espway, Lab, Plan, Side, Site, StrongSwan, wait_until};
use std::process::Stdio;
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

/// What `espway` says to these words, about a running gateway.
fn ask(espway: &Espway, words: &[&str], input: &str) -> Result<String> {
    use std::io::Write;
    let mut command = Binaries::find()?.command();
    command.args(words).arg("--run-dir").arg(espway.run_dir());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn()?;
    child.stdin.take().context("a pipe")?.write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    let said =
        format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    ensure!(output.status.success(), "espway {words:?}: {said}");
    Ok(said)
}
fn in_force(espway: &Espway) -> Result<String> {
    let answer = espway.request(&serde_json::json!({"configuration": {}}))?;
    Ok(answer["configuration"].as_str().context("a text")?.to_owned())
}

/// Addresses and routes change while packets pass. A route that swallows the peer goes again by itself.
#[test]
fn addresses_and_routes_change_while_it_runs() -> Result<()> {
    with_tunnel(
        |_| {},
        |lab, espway, _, _| {
            let (host, far) = (lab.host(Side::A), Side::B.host4());
            let read = |text: &str| Document::from_yaml(text).map_err(|complaints| anyhow!("{complaints}"));
            let (mut document, _) = read(&in_force(espway)?)?;
            host.ip("addr add 10.1.77.2/24 dev lan0\n")?;
            let ours = "10.1.77.1".parse()?;
            ensure!(ping(host, ours, 1, 100)?.received == 0, "it is nobody's address yet");
            let address = place("ip.address").context("a menu")?;
            document.add(address, &[("address", "10.1.77.1/24"), ("interface", "lan")], None)?;
            let more = document.to_yaml(Secrets::Shown);
            under_load(lab, || {
                ask(espway, &["apply", "-"], &more)?;
                ping_until_up(host, ours, SOON)
            })?;
            let route = place("ip.route").context("a menu")?;
            let peer = format!("{}/32", Side::B.wan4());
            document.add(route, &[("dst-address", &peer), ("blackhole", "yes")], None)?;
            let walled = document.to_yaml(Secrets::Shown);
            ask(espway, &["apply", "-", "--confirm", "3"], &walled)?;
            ensure!(ping(host, far, 3, 100)?.received == 0, "nothing leads to the peer");
            ping_until_up(host, far, SOON)?;
            ensure!(in_force(espway)? == *more, "back to the last that was confirmed");
            expect_pings(host, ours, 5)?;
            ask(espway, &["rollback", "1"], "")?;
            ensure!(ping(host, ours, 1, 100)?.received == 0, "the address is gone");
            expect_pings(host, far, 5)
        },
    )
}

#[test]
fn a_change_beside_a_tunnel_costs_it_no_packet_and_can_be_taken_back() -> Result<()> {
    with_tunnel(
        |_| {},
        |lab, espway, _, _| {
            let before = until(espway, "one tunnel", SOON, |seen| seen.expect_one_tunnel().is_ok())?;
            let first = in_force(espway)?;
            let (mut document, _) =
                Document::from_yaml(&first).map_err(|complaints| anyhow!("{complaints}"))?;
            let policy = place("ip.ipsec.policy").context("a menu")?;
            let row =
                [("src-address", "10.1.0.0/24"), ("dst-address", "10.99.0.0/24"), ("action", "discard")];
            document.add(policy, &row, None)?;
            let changed = document.to_yaml(Secrets::Shown);
            under_load(lab, || {
                let planned = ask(espway, &["apply", "-", "--dry-run"], &changed)?;
                ensure!(planned.contains("0 SAs would be deleted, 2 do not notice"), "{planned}");
                let done = ask(espway, &["apply", "-", "--comment", "a wall"], &changed)?;
                ensure!(done.contains("+ ip ipsec policy") && done.contains("in force as entry 2"), "{done}");
                ask(espway, &["rollback", "1"], "").map(drop)
            })?;
            let after = until(espway, "one tunnel", SOON, |seen| seen.expect_one_tunnel().is_ok())?;
            ensure!(
                after.ike_spis() == before.ike_spis() && after.spis("in") == before.spis("in"),
                "untouched"
            );
            ensure!(in_force(espway)? == first);
            let history = ask(espway, &["history"], "")?;
            ensure!(
                history.contains("# a wall") && history.lines().any(|line| line.starts_with("   3  ")),
                "{history}"
            );
            expect_pings(lab.host(Side::A), Side::B.host4(), 5)
        },
    )
}

/// The console speaks to the gateway over its socket: what it shows is so, and what it changes touches nothing else.
#[test]
fn the_console_shows_and_changes_a_gateway_beside_its_tunnel() -> Result<()> {
    with_tunnel(
        |_| {},
        |lab, espway, _, _| {
            let before = until(espway, "one tunnel", SOON, |seen| seen.expect_one_tunnel().is_ok())?;
            let say = |line: &str| ask(espway, &line.split(' ').collect::<Vec<_>>(), "");
            let peers = say("ip ipsec active-peers print")?;
            ensure!(peers.contains("UPTIME") && peers.contains("established"), "{peers}");
            ensure!(say("ip ips inst pr count-only where state=mature")? == "2\n");
            let first = say("ip ipsec export")?;
            under_load(lab, || {
                say(
                    "ip ipsec policy add src-address=10.1.0.0/24 dst-address=10.99.0.0/24 action=discard comment=wall",
                )?;
                let policies = say("ip ipsec policy print")?;
                ensure!(policies.contains(";;; wall") && policies.contains("established"), "{policies}");
                let script = "/ip ipsec policy\nset [find comment=wall] disabled=yes\nprint terse where disabled\nremove [find comment=wall]\n";
                let printed = ask(espway, &["console"], script)?;
                ensure!(printed.contains(" X") && printed.contains("dst-address=10.99.0.0/24"), "{printed}");
                Ok(())
            })?;
            ensure!(say("ip ipsec export")? == first);
            let refused = say("ip ipsec peer set 0 exchange-mode=main").map_err(|error| error.to_string());
            ensure!(refused.as_ref().is_err_and(|said| said.contains("IKEv1")), "{refused:?}");
            let history = say("system history print where changes~\"10.99.0.0\"")?;
            ensure!(history.contains("+ ip ipsec policy"), "{history}");
            let after = until(espway, "one tunnel", SOON, |seen| seen.expect_one_tunnel().is_ok())?;
            ensure!(
                after.spis("in") == before.spis("in") && after.ike_spis() == before.ike_spis(),
                "untouched"
            );
            expect_pings(lab.host(Side::A), Side::B.host4(), 5)
        },
    )
}
