//! Against a whole Linux kernel in a guest: native ESP, outside IPv4 and IPv6.
use anyhow::{Result, ensure};
use e2e::{Gateway, SOON, Suite, flow, rekey_child, rekey_ike, until};
use harness::traffic::{expect_pings, ping_until_up, tcp_second};
use harness::{Capture, Guest, Lab, Plan, Side, Site, StrongSwan, capture};
use std::time::Duration;

/// One tunnel to the guest, and everything that was seen of it on the WAN.
fn native(lab: &Lab, guest: &Guest, gateway: &Gateway, they_call: bool) -> Result<()> {
    let (a, b) = (lab.host(Side::A), lab.host(Side::B));
    let wire = Capture::start(lab, &lab.wan, Lab::wan_link(Side::A), "")?;
    let swan = StrongSwan::start_in_guest(guest, &gateway.swan(they_call))?;
    let espway = gateway.start(lab)?;
    if they_call {
        swan.initiate()?;
    }
    let mut targets = vec![(Side::A.host4(), Side::B.host4())];
    if gateway.inner_v6 {
        targets.push((Side::A.host6(), Side::B.host6()));
    }
    for (near, far) in &targets {
        ping_until_up(a, *far, SOON)?;
        expect_pings(a, *far, 10)?;
        expect_pings(b, *near, 10)?;
    }
    let run = tcp_second(lab, a, (b, Side::B.host4()))?;
    ensure!(run.bytes > 500_000, "{run:?}");
    let file = wire.finish()?;
    let (version, other) = if gateway.over_v6 { ("ipv6", "ip") } else { ("ip", "ipv6") };
    let (native, strange) = (format!("{version} && esp && !udp"), format!("{other} && esp || udpencap"));
    let inner = "ip.addr == 10.0.0.0/8 || ipv6.addr == fd00::/8";
    let [native, strange, inner] = capture::counts(&file, [&native, &strange, inner])?;
    ensure!(native > 100, "native ESP over {version}");
    ensure!(strange == 0, "nobody is behind NAT, and nobody takes the other family");
    ensure!(inner == 0, "inner addresses on the WAN");
    espway.stop()
}

/// Each on a guest of its own: on one that had served before a ping in thirty was lost once.
fn on_a_guest(gateway: &Gateway, they_call: bool) -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Taps), |lab| {
        let guest = Guest::boot(lab, Side::B)?;
        native(lab, &guest, gateway, they_call)
    })
}

#[test]
fn we_call_over_ipv4() -> Result<()> {
    on_a_guest(&Gateway::new(Side::A, Suite::AesGcm), false)
}
#[test]
fn linux_calls_over_ipv4_with_aes_cbc_sha256() -> Result<()> {
    on_a_guest(&Gateway::new(Side::A, Suite::AesCbcSha256).responder(), true)
}
#[test]
fn linux_calls_over_ipv4_with_chacha20() -> Result<()> {
    on_a_guest(&Gateway::new(Side::A, Suite::ChaCha20).responder(), true)
}
#[test]
fn we_call_over_ipv6() -> Result<()> {
    on_a_guest(&Gateway::new(Side::A, Suite::AesGcm).over_v6(), false)
}
#[test]
fn linux_calls_over_ipv6() -> Result<()> {
    on_a_guest(&Gateway::new(Side::A, Suite::AesCbcSha256).over_v6().responder(), true)
}

/// Both sides rekey both kinds of SA in turn while numbered datagrams pass: none is lost.
#[test]
fn rekeys_of_both_sides_lose_nothing() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Taps), |lab| {
        let guest = Guest::boot(lab, Side::B)?;
        let gateway = Gateway::new(Side::A, Suite::AesGcm);
        let swan = StrongSwan::start_in_guest(&guest, &gateway.swan(true))?;
        let espway = gateway.start(lab)?;
        ping_until_up(lab.host(Side::A), Side::B.host4(), SOON)?;
        let flow = flow(lab, 200)?;
        type Rekey<'a> = (&'a str, &'a dyn Fn() -> Result<()>, bool);
        let rekeys: [Rekey<'_>; 4] = [
            ("our child rekey", &|| rekey_child(&espway), true),
            ("their child rekey", &|| swan.rekey_child(), true),
            ("our IKE rekey", &|| rekey_ike(&espway), false),
            ("their IKE rekey", &|| swan.rekey_ike(), false),
        ];
        for (what, rekey, child) in rekeys {
            let before = until(&espway, "one tunnel", SOON, |seen| seen.expect_one_tunnel().is_ok())?;
            rekey()?;
            until(&espway, what, SOON, |seen| {
                let changed = if child {
                    seen.spis("in") != before.spis("in")
                } else {
                    seen.ike_spis() != before.ike_spis()
                };
                changed && seen.expect_one_tunnel().is_ok()
            })?;
            flow.let_pass(100)?;
        }
        flow.wait_for_answer(Duration::from_secs(10))?;
        flow.finish()?.expect_whole(500)
    })
}
