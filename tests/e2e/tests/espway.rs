//! Two espways, and what happens when one of their processes is killed.
use anyhow::{Context, Result, ensure};
use e2e::{Gateway, SOON, Seen, Suite, flow, rekey_child, rekey_ike, until};
use harness::capture::{Keys, tshark};
use harness::sys::{Signal, signal};
use harness::traffic::{expect_pings, iperf3, ping, ping_until_up, tcp_echo};
use harness::{Capture, Espway, Lab, Plan, Side, Site, capture, wait_until};
use std::collections::HashSet;
use std::time::Duration;

fn pair(suite: Suite) -> (Gateway, Gateway) {
    (Gateway::new(Side::A, suite), Gateway::new(Side::B, suite))
}

fn with_pair(body: impl FnOnce(&Lab, &mut Espway, &mut Espway) -> Result<()>) -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Dpdk), |lab| {
        let (a, b) = pair(Suite::AesGcm);
        // One calls: two who call at the same time have two tunnels until they have settled on one.
        let (mut a, mut b) = (a.start(lab)?, b.responder().start(lab)?);
        ping_until_up(lab.host(Side::A), Side::B.host4(), SOON)?;
        until(&a, "one tunnel", SOON, |seen| seen.expect_one_tunnel().is_ok())?;
        body(lab, &mut a, &mut b)
    })
}

#[test]
fn native_esp_between_two_of_us() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Dpdk), |lab| {
        let (mut a, mut b) = pair(Suite::AesCbcSha256);
        (a.inner_v6, b.inner_v6) = (true, true);
        let wire = Capture::start(lab, &lab.wan, Lab::wan_link(Side::A), "")?;
        let (a, b) = (a.start(lab)?, b.start(lab)?);
        for (from, to) in [(Side::A, Side::B.host4()), (Side::B, Side::A.host6())] {
            ping_until_up(lab.host(from), to, SOON)?;
            expect_pings(lab.host(from), to, 20)?;
        }
        let run = iperf3(lab, lab.host(Side::B), (lab.host(Side::A), Side::A.host4()), 2)?;
        ensure!(run.bits_per_second > 1e7, "{run:?}");
        let file = wire.finish()?;
        let inner = "ip.addr == 10.0.0.0/8 || ipv6.addr == fd00::/8";
        let [esp, inner] = capture::counts(&file, ["esp && !udp", inner])?;
        ensure!(esp > 100 && inner == 0, "{esp} ESP packets, {inner} in clear");
        narrow_path(lab, &a)?;
        a.stop()?;
        b.stop()
    })
}

/// A link behind the gateway's own is narrower. Its router tells the gateway, and the gateway the host: what may be
/// fragmented passes in fragments, TCP sends less.
fn narrow_path(lab: &Lab, a: &Espway) -> Result<()> {
    lab.wan.ip(&format!("route add {}/32 dev {} mtu 1000\n", Side::B.wan4(), Lab::wan_link(Side::B)))?;
    let (from, to) = (lab.host(Side::A), Side::B.host4());
    let ping = |may_fragment: &str| -> Result<String> {
        let words = ["-c", "4", "-i", "0.2", "-W", "1", "-s", "1200", "-M", may_fragment];
        let out = from.command("ping").args(words).arg(to.to_string()).output()?;
        Ok(String::from_utf8_lossy(&[out.stdout, out.stderr].concat()).into_owned())
    };
    let told = ping("do")?;
    let knows = from.run(&format!("ip route get {to}"))?;
    ensure!(told.contains(" 0 received") && knows.contains(" mtu 9"), "{told} {knows}");
    let log = a.log();
    ensure!(log.contains("narrower") && log.contains("mtu=1000"), "{log}");
    let passed = ping("dont")?;
    ensure!(passed.contains(" 4 received"), "{passed}");
    tcp_echo(from, (lab.host(Side::B), to), 100_000)
}

/// A9, H4: the fast path forwards without the slow path, and the new slow path takes the tunnels over.
#[test]
fn h4_a_killed_slow_path_costs_no_packet_and_no_negotiation() -> Result<()> {
    with_pair(|lab, a, b| {
        let before = until(a, "one tunnel", SOON, |seen| seen.expect_one_tunnel().is_ok())?;
        let wire = Capture::start(lab, &lab.wan, Lab::wan_link(Side::A), "udp port 500 or udp port 4500")?;
        let flow = flow(lab, 500)?;
        for gateway in [&*a, &*b] {
            flow.let_pass(300)?;
            let killed = gateway.slowpath_pid()?;
            signal(killed, Signal::Kill)?;
            wait_until("another slow path", SOON, || {
                ensure!(gateway.slowpath_pid()? != killed);
                gateway.status().map(drop)
            })?;
        }
        flow.let_pass(300)?;
        flow.finish()?.expect_whole(900)?;
        let after = until(a, "the tunnel taken over", SOON, |seen| seen.expect_one_tunnel().is_ok())?;
        ensure!(after.ike_spis() == before.ike_spis(), "the IKE SA is another");
        ensure!(after.spis("in") == before.spis("in") && after.spis("out") == before.spis("out"));
        let file = wire.finish()?;
        ensure!(capture::count(&file, "isakmp.exchangetype == 34")? == 0, "somebody negotiated anew");

        // What was taken over is whole: keys and message ids still work.
        rekey_child(a)?;
        until(a, "new SAs", SOON, |seen| {
            seen.expect_one_tunnel().is_ok() && seen.spis("in") != before.spis("in")
        })?;
        rekey_ike(b)?;
        until(a, "a new IKE SA", SOON, |seen| {
            seen.expect_one_tunnel().is_ok() && seen.ike_spis() != before.ike_spis()
        })?;
        expect_pings(lab.host(Side::A), Side::B.host4(), 10)
    })
}

/// H5, A9: the SAs are installed again, and no sequence number is used twice.
#[test]
fn h5_a_killed_fast_path_comes_back_and_repeats_no_number() -> Result<()> {
    with_pair(|lab, a, _| {
        let wire = Capture::start(lab, &lab.wan, Lab::wan_link(Side::A), "")?;
        let flow = flow(lab, 300)?;
        flow.let_pass(200)?;
        let before = Seen::of(a)?;
        let killed = a.fastpath_pid()?;
        signal(killed, Signal::Kill)?;
        wait_until("another fast path", SOON, || {
            ensure!(a.fastpath_pid()? != killed);
            Ok(())
        })?;
        flow.wait_for_answer(Duration::from_secs(30))?;
        flow.let_pass(200)?;
        let tally = flow.finish()?;
        ensure!(tally.sent > tally.lost.len() as u64 + 300, "{tally}");
        let after = until(a, "the tunnel", SOON, |seen| seen.expect_one_tunnel().is_ok())?;
        ensure!(after.ike_spis() == before.ike_spis(), "the IKE SA lives in the slow path");
        expect_pings(lab.host(Side::A), Side::B.host4(), 20)?;
        no_number_twice(&wire.finish()?)
    })
}

//= test rfc4106#3.1/iv-unique
fn no_number_twice(file: &std::path::Path) -> Result<()> {
    let rows = tshark(file, &Keys::default(), "esp", &["esp.spi", "esp.sequence"])?;
    ensure!(rows.len() > 100, "only {} ESP packets", rows.len());
    let mut seen = HashSet::new();
    for row in rows {
        let shown = row.join(" ");
        ensure!(seen.insert(row), "SPI and number twice on the wire: {shown}");
    }
    Ok(())
}

/// J10: while a gateway is stopped, starting, killed and back, nothing inner shows on the WAN.
#[test]
fn j10_nothing_leaves_in_clear_at_any_moment() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Dpdk), |lab| {
        let wire = Capture::start(lab, &lab.wan, Lab::wan_link(Side::A), "")?;
        let flow = flow(lab, 300)?;
        flow.let_pass(50)?;
        let (a, b) = pair(Suite::AesGcm);
        let running = a.start(lab)?;
        flow.let_pass(100)?;
        let _other = b.start(lab)?;
        flow.wait_for_answer(Duration::from_secs(30))?;
        running.stop()?;
        flow.let_pass(50)?;
        let running = a.start(lab)?;
        flow.wait_for_answer(Duration::from_secs(30))?;
        signal(running.fastpath_pid()?, Signal::Kill)?;
        flow.wait_for_answer(Duration::from_secs(30))?;
        flow.finish()?;
        let file = wire.finish()?;
        let [esp, inner] = capture::counts(&file, ["esp", "ip.addr == 10.0.0.0/8"])?;
        ensure!(esp > 50 && inner == 0, "{esp} ESP packets, {inner} in clear");
        Ok(())
    })
}

/// One packet, one request: while the peer does not answer, the acquire is not repeated per packet.
#[test]
fn an_acquire_is_asked_once_while_it_is_pending() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Dpdk), |lab| {
        let a = Gateway::new(Side::A, Suite::AesGcm).start(lab)?;
        let wire = Capture::start(lab, &lab.wan, Lab::wan_link(Side::A), "udp port 500")?;
        ensure!(ping(lab.host(Side::A), Side::B.host4(), 30, 10)?.received == 0);
        let file = wire.finish()?;
        let rows = tshark(&file, &Keys::default(), "isakmp.exchangetype == 34", &["isakmp.ispi"])?;
        let negotiations: HashSet<_> = rows.into_iter().flatten().collect();
        ensure!(negotiations.len() == 1, "{} negotiations for one tunnel", negotiations.len());
        let seen = Seen::of(&a)?;
        let dropped = seen.status["drops"].as_object().context("drops")?;
        ensure!(dropped.values().filter_map(|count| count.as_u64()).sum::<u64>() >= 30, "{dropped:?}");
        Ok(())
    })
}

/// 20 % of all datagrams are lost on the WAN, and the tunnel comes up and is rekeyed all the same (J1).
#[test]
fn j1_a_fifth_of_all_datagrams_lost() -> Result<()> {
    let mut plan = Plan::new(Site::Dpdk, Site::Dpdk);
    plan.loss_percent = 20;
    Lab::run(&plan, |lab| {
        let (a, b) = pair(Suite::AesGcm);
        let (a, _b) = (a.start(lab)?, b.start(lab)?);
        ping_until_up(lab.host(Side::A), Side::B.host4(), Duration::from_secs(60))?;
        let before =
            until(&a, "one tunnel", Duration::from_secs(60), |seen| seen.expect_one_tunnel().is_ok())?;
        rekey_child(&a)?;
        until(&a, "new SAs", Duration::from_secs(60), |seen| {
            seen.expect_one_tunnel().is_ok() && seen.spis("in") != before.spis("in")
        })?;
        lab.set_loss(0)?;
        expect_pings(lab.host(Side::A), Side::B.host4(), 20)
    })
}
