//! Against Debian's strongSwan with its user-space ESP (inside UDP): who calls, which suite, NAT or not.
use anyhow::{Result, ensure};
use e2e::{Gateway, Pair, SOON, Seen, Suite, pairs_pass, until};
use harness::traffic::{expect_pings, ping, ping_until_up, tcp_second};
use harness::{Capture, Lab, Plan, Side, Site, StrongSwan, capture};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    Initiator,
    Responder,
}

/// The whole way: nothing passes before, the tunnel comes up, both directions work, nothing inner shows outside.
fn tunnel(role: Role, suite: Suite, nat: bool) -> Result<()> {
    // A router in front of whoever calls.
    let caller = if role == Role::Initiator { Side::A } else { Side::B };
    let plan = Plan::new(Site::Dpdk, Site::Kernel).nat(nat.then_some(caller));
    Lab::run(&plan, |lab| {
        let (a, b) = (lab.host(Side::A), lab.host(Side::B));
        let gateway = Gateway::new(Side::A, suite);
        let gateway = if role == Role::Responder { gateway.responder() } else { gateway };
        let espway = gateway.start(lab)?;
        let wire = Capture::start(lab, &lab.wan, Lab::wan_link(Side::B), "")?;
        ensure!(ping(a, Side::B.host4(), 2, 100)?.received == 0, "without a peer nothing may come back");

        let swan = StrongSwan::start(lab, lab.site(Side::B), &gateway.swan(role == Role::Responder))?;
        if role == Role::Responder {
            swan.initiate()?;
        }
        // As initiator we are asked for the tunnel by the packets themselves.
        ping_until_up(a, Side::B.host4(), SOON)?;
        swan.sas()?.expect_one_tunnel()?;
        let seen = until(&espway, "an established tunnel", SOON, |seen| seen.expect_one_tunnel().is_ok())?;
        let side = if role == Role::Initiator { "initiator" } else { "responder" };
        ensure!(seen.peers()[0]["side"] == side, "{:#}", seen.status);
        ensure!(seen.peers()[0]["id"].to_string().contains("site-b.example"), "{:#}", seen.status);

        expect_pings(a, Side::B.host4(), 20)?;
        expect_pings(b, Side::A.host4(), 20)?;
        for (from, to) in [(a, (b, Side::B.host4())), (b, (a, Side::A.host4()))] {
            let run = tcp_second(lab, from, to)?;
            ensure!(run.bits_per_second > 5e6, "{run:?}");
        }
        let after = Seen::of(&espway)?;
        after.expect_one_tunnel()?;
        ensure!(after.spis("in") == seen.spis("in"), "the SA was replaced: {:#}", after.status);
        for sa in after.sas("in").iter().chain(&after.sas("out")) {
            ensure!(sa["current-packets"].as_u64() > Some(1000), "the SAs count what they pass: {sa}");
            ensure!(sa["invalid-packets"] == 0, "{sa}");
        }

        let file = wire.finish()?;
        let inner = "ip.addr == 10.0.0.0/8 || ipv6.addr == fd00::/8";
        let [esp, inner, from_us] =
            capture::counts(&file, ["udpencap && esp", inner, "ip.addr == 198.51.100.2"])?;
        ensure!(esp > 1000, "ESP in UDP on the WAN");
        ensure!(inner == 0, "inner addresses on the WAN");
        if nat {
            ensure!((from_us == 0) == (role == Role::Initiator), "the router masquerades the caller");
        }
        espway.stop()
    })
}

macro_rules! matrix {
    ($($name:ident: $role:ident, $suite:ident, $nat:literal;)*) => { $(
        #[test]
        fn $name() -> Result<()> {
            tunnel(Role::$role, Suite::$suite, $nat)
        }
    )* };
}
matrix! {
    we_call_aes_gcm: Initiator, AesGcm, false;
    we_call_aes_gcm_through_nat: Initiator, AesGcm, true;
    we_call_aes_cbc_sha256: Initiator, AesCbcSha256, false;
    we_call_aes_cbc_sha256_through_nat: Initiator, AesCbcSha256, true;
    we_call_chacha20: Initiator, ChaCha20, false;
    strongswan_calls_chacha20: Responder, ChaCha20, false;
    strongswan_calls_aes_gcm: Responder, AesGcm, false;
    strongswan_calls_aes_gcm_through_nat: Responder, AesGcm, true;
    strongswan_calls_aes_cbc_sha256: Responder, AesCbcSha256, false;
    strongswan_calls_aes_cbc_sha256_through_nat: Responder, AesCbcSha256, true;
}

/// ESP of strongSwan's own, which is not Linux's.
const PAIRS: &[Pair] = &[
    ("3des", "sha1", "3des-sha1"),
    ("camellia-256", "sha512", "camellia256-sha512"),
    ("aes-192-cbc", "aes-xcbc", "aes192-aesxcbc"),
    ("aes-128-cbc", "aes-cmac", "aes128-aescmac"),
    ("aes-256-ctr", "sha384", "aes256ctr-sha384"),
    ("aes-256-cbc", "md5", "aes256-md5"),
    ("aes-256-gcm-8", "null", "aes256gcm8"),
    ("aes-128-gcm-12", "null", "aes128gcm12"),
    ("aes-128-ccm-8", "null", "aes128ccm8"),
    ("aes-256-ccm", "null", "aes256ccm16"),
];
#[test]
fn rarer_pairs_are_negotiated_and_pass() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        pairs_pass(lab, PAIRS, false, |swan| StrongSwan::start(lab, lab.site(Side::B), swan))
    })
}

/// What `espway print-remote --for swanctl` prints is all strongSwan needs.
#[test]
fn the_printed_other_side_is_a_tunnel() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        let gateway = Gateway::new(Side::A, Suite::AesGcm);
        let file = lab.file("printed.yaml");
        // Its ESP in user space has no extended sequence numbers, whatever its IKE agrees on.
        let mut ours = gateway.config();
        ours["ip"]["ipsec"]["proposal"][0]["esn"] = "no".into();
        std::fs::write(&file, ours.to_string())?;
        let config = config::load(&file)?.config;
        let printed = config::remote::print(&config, "other", config::remote::Kind::Swanctl, true);
        let printed = printed.map_err(anyhow::Error::msg)?;
        ensure!(printed.problems.is_empty(), "{:?}", printed.problems);
        let espway = gateway.start(lab)?;
        let swan = StrongSwan::start_with(lab, lab.site(Side::B), &printed.text)?;
        let (a, b) = (lab.host(Side::A), lab.host(Side::B));
        ping_until_up(a, Side::B.host4(), SOON)?;
        swan.sas()?.expect_one_tunnel()?;
        expect_pings(a, Side::B.host4(), 20)?;
        expect_pings(b, Side::A.host4(), 20)?;
        Seen::of(&espway)?.expect_one_tunnel()?;
        espway.stop()
    })
}
