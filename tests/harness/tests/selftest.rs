//! The lab's own check: independent programs against each other, so that a failing test of espway means espway.
use anyhow::{Result, ensure};
use harness::capture::{self, Capture};
use harness::traffic::{NumberedFlow, expect_pings, iperf3, ping, ping_until_up};
use harness::{Guest, Lab, Plan, Side, Site, StrongSwan, Swan};
use std::time::Duration;

fn swan(side: Side, initiator: bool) -> Swan {
    let other = side.other();
    let remote = if initiator { Some(other.wan4()) } else { None };
    let mut swan =
        Swan::new(side.wan4(), remote, "a secret of the lab").selectors(side.subnet4(), other.subnet4());
    swan.local_id = format!("site-{}.test", side.letter());
    swan.remote_id = format!("site-{}.test", other.letter());
    swan
}

#[test]
fn strongswan_to_strongswan_through_nat() -> Result<()> {
    let plan = Plan::new(Site::Kernel, Site::Kernel).nat(Some(Side::A));
    Lab::run(&plan, |lab| {
        let (a, b) = (lab.host(Side::A), lab.host(Side::B));
        ensure!(ping(a, Side::B.host4(), 1, 100)?.received == 0, "no tunnel yet, so nothing may pass");
        let _right = StrongSwan::start(lab, lab.site(Side::B), &swan(Side::B, false))?;
        let left = StrongSwan::start(lab, lab.site(Side::A), &swan(Side::A, true))?;
        let wire = Capture::start(lab, &lab.wan, Lab::wan_link(Side::B), "")?;
        left.initiate()?;
        left.sas()?.expect_one_tunnel()?;
        ping_until_up(a, Side::B.host4(), Duration::from_secs(10))?;
        expect_pings(a, Side::B.host4(), 10)?;

        let flow = NumberedFlow::start((a, Side::A.host4()), (b, Side::B.host4()), 200, 200)?;
        flow.let_pass(100)?;
        let before = left.sas()?.inbound_spis();
        left.rekey_child()?;
        flow.let_pass(100)?;
        ensure!(left.sas()?.inbound_spis() != before, "the child was not rekeyed");
        let tally = flow.finish()?;
        tally.expect_whole(200)?;

        let run = iperf3(lab, a, (b, Side::B.host4()), 1)?;
        ensure!(run.bytes > 100_000, "{run:?}");
        let file = wire.finish()?;
        let [esp, inner, hidden] =
            capture::counts(&file, ["udpencap && esp", "ip.addr == 10.0.0.0/8", "ip.src == 198.51.100.2"])?;
        ensure!(esp > 20, "ESP in UDP on the WAN");
        ensure!(inner == 0, "inner addresses on the WAN");
        ensure!(hidden == 0, "the router masquerades");
        Ok(())
    })
}

#[test]
fn strongswan_to_a_guests_kernel_over_ipv6() -> Result<()> {
    Lab::run(&Plan::new(Site::Taps, Site::Taps), |lab| {
        let guests = [Guest::boot(lab, Side::A)?, Guest::boot(lab, Side::B)?];
        let over6 = |side: Side, initiator: bool| {
            let mut swan = swan(side, initiator).selectors(side.subnet6(), side.other().subnet6());
            swan.local = side.wan6();
            swan.remote = initiator.then_some(side.other().wan6());
            swan
        };
        let _right = StrongSwan::start_in_guest(&guests[1], &over6(Side::B, false))?;
        let left = StrongSwan::start_in_guest(&guests[0], &over6(Side::A, true))?;
        let wire = Capture::start(lab, &lab.wan, Lab::wan_link(Side::B), "")?;
        left.initiate()?;
        left.sas()?.expect_one_tunnel()?;
        for address in [Side::B.host4(), Side::B.host6()] {
            ping_until_up(lab.host(Side::A), address, Duration::from_secs(10))?;
            expect_pings(lab.host(Side::A), address, 5)?;
        }
        let file = wire.finish()?;
        let inner = "ipv6.addr == fd00::/16 || ip.addr == 10.0.0.0/8";
        let [esp, inner] = capture::counts(&file, ["ipv6 && esp && !udp", inner])?;
        ensure!(esp >= 20, "native ESP over IPv6 on the WAN");
        ensure!(inner == 0);
        Ok(())
    })
}

/// Everything a lab made is gone when it is dropped.
#[test]
fn nothing_is_left_behind() -> Result<()> {
    let lab = Lab::build(&Plan::new(Site::Kernel, Site::Dpdk))?;
    let names: Vec<String> =
        [lab.host(Side::A), lab.site(Side::B), &lab.wan].map(|ns| ns.name().to_owned()).into();
    let dir = lab.dir().to_owned();
    let _sleeper = lab.host(Side::A).start("sleeper", "sleep 1000", &lab.file("sleeper.log"))?;
    let listed = || harness::process::run("ip", &["netns", "list"]);
    ensure!(names.iter().all(|name| listed().is_ok_and(|list| list.contains(name.as_str()))));
    drop(lab);
    let list = listed()?;
    ensure!(names.iter().all(|name| !list.contains(name.as_str())), "{list}");
    ensure!(!dir.exists(), "{} is still there", dir.display());
    Ok(())
}
