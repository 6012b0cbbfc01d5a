//! Against a whole Linux kernel in a guest: native ESP, outside IPv4 and IPv6.
use anyhow::{Result, ensure};
use e2e::{Gateway, Pair, SOON, Suite, flow, pairs_pass, rekey_child, rekey_ike, until};
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
    let (native, strange) = (format!("{version} && esp && !udp"), format!("({other} || udpencap) && esp"));
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

/// What strongSwan negotiates and its kernel runs of all that is neither AES-GCM with a long ICV nor ChaCha20.
const PAIRS: &[Pair] = &[
    ("null", "sha256", "null-sha256"),
    ("des", "md5", "des-md5"),
    ("3des", "sha1", "3des-sha1"),
    ("blowfish", "sha256", "blowfish128-sha256"),
    ("camellia-128", "sha384", "camellia128-sha384"),
    ("camellia-192", "md5", "camellia192-md5"),
    ("camellia-256", "aes-cmac", "camellia256-aescmac"),
    ("aes-192-cbc", "aes-xcbc", "aes192-aesxcbc"),
    ("aes-256-cbc", "sha512", "aes256-sha512"),
    ("aes-128-ctr", "sha256", "aes128ctr-sha256"),
    ("aes-192-ctr", "sha1", "aes192ctr-sha1"),
    ("aes-256-ctr", "aes-cmac", "aes256ctr-aescmac"),
    ("aes-128-gcm-8", "null", "aes128gcm8"),
    ("aes-256-gcm-12", "null", "aes256gcm12"),
    ("aes-128-ccm-8", "null", "aes128ccm8"),
    ("aes-192-ccm-12", "null", "aes192ccm12"),
    ("aes-256-ccm", "null", "aes256ccm16"),
    ("aes-128-gmac", "null", "aes128gmac"),
    ("aes-256-gmac", "null", "aes256gmac"),
];
#[test]
fn linux_runs_every_other_pair_we_do() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Taps), |lab| {
        let guest = Guest::boot(lab, Side::B)?;
        pairs_pass(lab, PAIRS, true, |swan| StrongSwan::start_in_guest(&guest, swan))
    })
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
