//! Transport mode and AH against a whole Linux kernel in a guest, negotiated with strongSwan there.
use anyhow::{Result, ensure};
use e2e::{Gateway, SOON, Suite, until};
use harness::traffic::{expect_pings, ping_until_up};
use harness::{Capture, Guest, Lab, Plan, Side, Site, StrongSwan, capture};
use serde_json::json;

/// An SA between the two gateways themselves, or in tunnel mode between the networks.
#[derive(Clone, Copy)]
struct Case {
    over_v6: bool,
    ah: bool,
    transport: bool,
    they_call: bool,
    /// ICMP and nothing else.
    icmp: bool,
}
const ESP: Case = Case { over_v6: false, ah: false, transport: true, they_call: false, icmp: false };

fn run(case: Case) -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Taps), |lab| with_guest(case, lab, &Guest::boot(lab, Side::B)?))
}
fn with_guest(case: Case, lab: &Lab, guest: &Guest) -> Result<()> {
    let suite = if case.ah { Suite::AesCbcSha256 } else { Suite::AesGcm };
    let mut gateway = Gateway::new(Side::A, suite);
    if case.over_v6 {
        gateway = gateway.over_v6();
        gateway.inner_v6 = false;
    }
    if case.they_call {
        gateway = gateway.responder();
    }
    let (us, them) = (gateway.outer(Side::A), gateway.outer(Side::B));
    let mut config = gateway.config();
    let policy = &mut config["ip"]["ipsec"]["policy"][0];
    let mut swan = gateway.swan(case.they_call);
    if case.ah {
        policy["ipsec-protocols"] = json!("ah");
        swan.ah = "sha256-modp2048".into();
    }
    if case.transport {
        let (len, ts) = (if case.over_v6 { 128 } else { 32 }, if case.icmp { "[1]" } else { "" });
        policy["src-address"] = json!(format!("{us}/{len}"));
        policy["dst-address"] = json!(format!("{them}/{len}"));
        policy["tunnel"] = json!("no");
        (swan.local_ts, swan.remote_ts) = (vec![format!("dynamic{ts}")], vec![format!("dynamic{ts}")]);
        swan.child.push("mode = transport".into());
    }
    if case.icmp {
        policy["protocol"] = json!("icmp");
    }
    let wire = Capture::start(lab, &lab.wan, Lab::wan_link(Side::A), "")?;
    let swan = StrongSwan::start_in_guest(guest, &swan)?;
    let espway = gateway.start_as(lab, &config)?;
    if case.they_call {
        swan.initiate()?;
    }
    let (here, far, near) = match case.transport {
        true => (lab.site(Side::A), them, us),
        false => (lab.host(Side::A), Side::B.host4(), Side::A.host4()),
    };
    ping_until_up(here, far, SOON)?;
    expect_pings(here, far, 10)?;
    match case.transport {
        true => drop(guest.sh(&format!("ping -c 5 -i 0.2 -W 2 {near}"))?),
        false => expect_pings(lab.host(Side::B), near, 10)?,
    }
    if case.transport && !case.icmp {
        // TCP with full segments: what does not fit is told to the host's own stack.
        guest.sh("iperf3 -s -1 -D")?;
        let said = here.run(&format!("iperf3 -J -t 1 -c {far}"))?;
        let said: serde_json::Value = serde_json::from_str(&said)?;
        ensure!(said["end"]["sum_received"]["bytes"].as_u64() > Some(200_000), "{said:#}");
    }
    let seen = until(&espway, "one pair of SAs", SOON, |seen| seen.expect_one_tunnel().is_ok())?;
    for sa in seen.sas("in").iter().chain(&seen.sas("out")) {
        ensure!(sa["mode"] == if case.transport { "transport" } else { "tunnel" }, "{sa}");
        ensure!(sa["protocol"] == if case.ah { "ah" } else { "esp" }, "{sa}");
        // Outbound there are those of which the host was told that they are too big.
        let good = sa["direction"] == "out" || sa["invalid-packets"] == 0;
        ensure!(sa["current-packets"].as_u64() > Some(10) && good, "{sa}");
    }
    let state = guest.sh("ip xfrm state")?;
    let (proto, mode) = (
        if case.ah { "proto ah" } else { "proto esp" },
        if case.transport { "mode transport" } else { "mode tunnel" },
    );
    ensure!(state.contains(proto) && state.contains(mode), "{state}");
    let file = wire.finish()?;
    // In AH one sees what is carried; what must not be is traffic without a security header.
    let bare = "(icmp || icmpv6.type == 128 || tcp) && !ah && !esp && !icmp.type == 3";
    let [protected, bare] = capture::counts(&file, [if case.ah { "ah" } else { "esp" }, bare])?;
    ensure!(protected > 20, "{protected} packets with {proto}");
    ensure!(bare == 0, "{bare} packets without");
    espway.stop()
}

#[test]
fn esp_in_transport_mode_over_ipv6_and_linux_calls() -> Result<()> {
    run(Case { over_v6: true, they_call: true, ..ESP })
}
#[test]
fn one_protocol_in_transport_mode_and_linux_calls() -> Result<()> {
    run(Case { icmp: true, they_call: true, ..ESP })
}
#[test]
fn ah_in_transport_mode_over_ipv6() -> Result<()> {
    run(Case { ah: true, over_v6: true, ..ESP })
}
#[test]
fn ah_in_tunnel_mode() -> Result<()> {
    run(Case { ah: true, transport: false, ..ESP })
}
