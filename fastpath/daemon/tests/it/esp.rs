//! ESP as scapy understands it, both ways, for each order of engines: every suite, family and encapsulation.
use crate::support::{
    Gateway, PATIENCE, REQUIRE, Tunnel, Wire, frame, hex, mac_of, policy, site_a, suite, udp, unhex,
};
use anyhow::{Context, Result, ensure};
use harness::lab::{Plan, Site};
use harness::traffic::ping_until_up;
use harness::{Lab, Side};
use sa::{DropReason, Encap, Encryption, Integrity, PolicySpec, Suite};
use serde_json::json;
use std::collections::HashMap;
use std::net::IpAddr;

/// One tunnel and what travels in it.
struct Case {
    tunnel: Tunnel,
    policy: PolicySpec,
    near: IpAddr,
    far: IpAddr,
}

fn suites() -> Vec<Suite> {
    use Encryption::*;
    let aeads = [Aes128Gcm, Aes192Gcm, Aes256Gcm, ChaCha20Poly1305];
    let aeads = aeads.into_iter().map(|e| suite(e, Integrity::None));
    let cbc = [Aes128Cbc, Aes192Cbc, Aes256Cbc].into_iter().flat_map(|e| {
        use Integrity::*;
        [HmacSha1, HmacSha256, HmacSha384, HmacSha512].map(|i| suite(e, i))
    });
    aeads.chain(cbc).collect()
}

/// Each suite with all address families, with and without UDP; AEADs with and without ESN (scapy knows ESN for AEADs alone).
fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    for suite in suites() {
        let numbers: &[bool] = if suite.encryption().is_aead() { &[false, true] } else { &[false] };
        for (inner4, outer4) in [(true, true), (true, false), (false, true), (false, false)] {
            for encap in [None, Some(Encap { local_port: 4500, remote_port: 4500 })] {
                cases.extend(numbers.iter().map(|esn| (suite, inner4, outer4, encap, *esn)));
            }
        }
    }
    let build =
        |(n, (suite, inner4, outer4, encap, esn)): (usize, (Suite, bool, bool, Option<Encap>, bool))| {
            let n = n as u32;
            let (src, dst, near, far) = match inner4 {
                true => ("10.1.0.0/24", format!("10.3.{n}.0/24"), Side::A.host4(), format!("10.3.{n}.9")),
                false => {
                    ("fd00:a::/64", format!("fd00:c:{n:x}::/64"), Side::A.host6(), format!("fd00:c:{n:x}::9"))
                }
            };
            let policy = policy(n + 1, src, &dst, REQUIRE);
            let ends = match outer4 {
                true => (Side::A.wan4(), Side::B.wan4()),
                false => (Side::A.wan6(), Side::B.wan6()),
            };
            let tunnel = Tunnel::new(n, &policy, suite, ends).change(|spec| {
                (spec.encap, spec.esn) = (encap, esn);
            });
            Case { tunnel, policy, near, far: far.parse().expect("an address") }
        };
    cases.into_iter().enumerate().map(build).collect()
}

const SIZES: [usize; 3] = [0, 37, 1200];

fn payload(len: usize) -> Vec<u8> {
    (0..len).map(|n| (n % 253) as u8).collect()
}

/// Packets of host A leave as ESP that scapy opens to the same packets, one hop older.
fn outbound(gateway: &Gateway, lan: &mut Wire, wan: &mut Wire, to: &str, cases: &[Case]) -> Result<()> {
    let mut frames = Vec::new();
    let mut wanted: HashMap<u32, Vec<String>> = HashMap::new();
    for case in cases {
        for len in SIZES {
            let packet = |ttl| udp(case.near, case.far, 9, ttl, &payload(len));
            frames.push(frame(to, &lan.mac, &packet(64)));
            wanted.entry(case.tunnel.outbound.spi.get()).or_default().push(hex(&packet(63)));
        }
    }
    let mut outer = Vec::new();
    // In parts: scapy reads slower than we send.
    for part in frames.chunks(60) {
        lan.send(part)?;
        let arrived = wan.collect("is_esp", part.len());
        outer.extend(arrived.with_context(|| format!("{:?}", gateway.all_drops()))?);
    }
    let mut rows = Vec::new();
    let mut seen: HashMap<u32, u32> = HashMap::new();
    let mut bytes_of: HashMap<u32, u64> = HashMap::new();
    for packet in &outer {
        let bytes = unhex(packet);
        let ip = wire::ip::Packet::parse(&bytes).map_err(|e| anyhow::anyhow!("{e:?}"))?;
        let encapsulated = ip.protocol == wire::ip::protocol::UDP;
        let esp = usize::from(ip.upper_at) + if encapsulated { wire::udp::HEADER } else { 0 };
        let header = wire::esp::Header::parse(&bytes[esp..]).map_err(|e| anyhow::anyhow!("{e:?}"))?;
        let number = seen.entry(header.spi).or_default();
        *number += 1;
        ensure!(
            header.seq_low == *number,
            "SPI {:#x}: number {} instead of {number}",
            header.spi,
            header.seq_low
        );
        *bytes_of.entry(header.spi).or_default() += (bytes.len() - esp) as u64;
        let case =
            cases.iter().find(|c| c.tunnel.outbound.spi.get() == header.spi).context("a strange SPI")?;
        let spec = &case.tunnel.outbound;
        ensure!((ip.src, ip.dst) == (spec.ends.local, spec.ends.remote), "outer addresses of {packet}");
        ensure!(encapsulated == spec.encap.is_some(), "encapsulation of {packet}");
        rows.push((spec.slot.0, packet));
    }
    let opened: Vec<String> = serde_json::from_value(wan.ask(&format!("open_all({})", json!(rows)))?)?;
    let mut got: HashMap<u32, Vec<String>> = HashMap::new();
    for (row, inner) in rows.iter().zip(opened) {
        got.entry(0x2200_0000 + row.0).or_default().push(inner);
    }
    for case in cases {
        let spec = &case.tunnel.outbound;
        let spi = spec.spi.get();
        ensure!(got.get(&spi) == wanted.get(&spi), "{} {:?}: {:?}", spec.suite, spec.encap, got.get(&spi));
        let counted = gateway.expect_sa(spec.slot, SIZES.len() as u64)?;
        ensure!(counted.last_seq == 3 && counted.dropped == 0, "{counted:?}");
        ensure!(Some(&counted.bytes) == bytes_of.get(&spi), "{counted:?} {bytes_of:?}");
    }
    Ok(())
}

/// ESP made by scapy reaches host A; damaged and repeated packets do not.
fn inbound(gateway: &Gateway, lan: &mut Wire, wan: &mut Wire, to: &str, cases: &[Case]) -> Result<()> {
    let (mut rows, mut wanted) = (Vec::new(), Vec::new());
    for case in cases {
        for (number, len) in (1u64..).zip(SIZES) {
            let packet = |ttl| udp(case.far, case.near, 9, ttl, &payload(len));
            rows.push((case.tunnel.inbound.slot.0, hex(&packet(64)), number));
            wanted.push(hex(&packet(63)));
        }
    }
    let sealed: Vec<String> = serde_json::from_value(wan.ask(&format!("seal_all({})", json!(rows)))?)?;
    let mut damaged = sealed.clone();
    for packet in &mut damaged {
        let last = if packet.pop() == Some('0') { '1' } else { '0' };
        packet.push(last);
    }
    let framed = |packets: &[String], mac: &str| -> Vec<String> {
        packets.iter().map(|p| frame(to, mac, &unhex(p))).collect()
    };
    let (damaged, good) = (framed(&damaged, &wan.mac), framed(&sealed, &wan.mac));
    let mut got = Vec::new();
    for (bad, good) in damaged.chunks(60).zip(good.chunks(60)) {
        wan.send(bad)?;
        wan.send(good)?;
        let arrived = lan.collect("to_port(9)", good.len());
        got.extend(arrived.with_context(|| format!("{:?}", gateway.all_drops()))?);
        wan.send(good)?;
    }
    got.sort();
    wanted.sort();
    ensure!(got == wanted, "other packets than those that were sealed");
    let all = wanted.len() as u64;
    gateway.expect_drops(DropReason::IcvMismatch, all)?;
    gateway.expect_drops(DropReason::ReplaySeen, all)?;
    for case in cases {
        let counted = gateway.expect_sa(case.tunnel.inbound.slot, SIZES.len() as u64)?;
        ensure!(counted.last_seq == 3 && counted.dropped == 6, "{counted:?}");
    }
    Ok(())
}

fn with_engines(engines: &str) {
    let result = Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        // The kernels at both ends are to keep quiet about what they see.
        lab.set_partition(true)?;
        lab.host(Side::A)
            .nft("table inet t {\nchain c {\ntype filter hook input priority 0;\nudp dport 9 drop\n}\n}\n")?;
        for (net, via) in [(Side::A.subnet4(), Side::A.wan4()), (Side::A.subnet6(), Side::A.wan6())] {
            lab.wan.ip(&format!("route add {net} via {via}\n"))?;
        }
        let config = site_a(&format!("crypto: {{engines: {engines}}}"));
        let mut gateway = Gateway::start(lab, lab.site(Side::A), "fastpath", &config)?;
        let (lan_mac, wan_mac) = (mac_of(lab.site(Side::A), "lan0")?, mac_of(lab.site(Side::A), "wan0")?);
        let mut lan = Wire::tap(lab.host(Side::A), "lan0")?;
        let mut wan = Wire::tap(&lab.wan, Lab::wan_link(Side::A))?;
        let cases = cases();
        let policies: Vec<_> = cases.iter().map(|c| c.policy).collect();
        gateway.commit(&policies)?;
        // Only so many packets wait for an answer to ARP; that is another test's matter.
        for router in [Side::A.router4(), Side::A.router6()] {
            ping_until_up(lab.host(Side::A), router, PATIENCE)?;
        }
        gateway.install(&cases.iter().flat_map(|c| c.tunnel.both()).collect::<Vec<_>>())?;
        for case in &cases {
            case.tunnel.teach(&mut wan)?;
        }
        outbound(&gateway, &mut lan, &mut wan, &lan_mac, &cases)?;
        inbound(&gateway, &mut lan, &mut wan, &wan_mac, &cases)?;
        lan.expect_none("to_port(9)")?;
        gateway.stop().map(drop)
    });
    result.unwrap_or_else(|error| panic!("{error:#}"));
}

#[test]
fn scapy_and_our_own_gcm_understand_each_other() {
    with_engines("[native, ipsec-mb]");
}
#[test]
fn scapy_and_ipsec_mb_understand_each_other() {
    with_engines("[ipsec-mb]");
}
#[test]
fn scapy_and_ring_understand_each_other() {
    with_engines("[ring, rustcrypto]");
}
#[test]
fn scapy_and_rustcrypto_understand_each_other() {
    with_engines("[rustcrypto]");
}
#[test]
fn scapy_and_crypto_devices_understand_each_other() {
    with_engines("[cryptodev, ring, rustcrypto]");
}
