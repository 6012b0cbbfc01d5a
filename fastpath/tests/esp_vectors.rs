//! ESP packets made by scapy and by DPDK's test suite, through the whole datapath.
mod common;
use common::*;
use fastpath::offline::Outcome;
use sa::*;
use serde_json::Value;

fn flag(v: &Value, name: &str) -> bool {
    v[name].as_bool().expect("a flag")
}

/// The SA of a scapy vector, as `side` has it.
fn scapy_sa(v: &Value, side: Side) -> SaSpec {
    let (inner_v6, outer_v6, seq) =
        (flag(v, "inner_v6"), flag(v, "outer_v6"), v["seq"].as_u64().expect("a number"));
    let secret = |name: &str| Key::new(&hex(&v[name])).expect("a short key");
    SaSpec {
        spi: Spi::new(v["spi"].as_u64().expect("a number") as u32).expect("an SPI"),
        suite: suite(v["suite"].as_str().expect("a name")),
        encryption_key: secret("key"),
        salt: secret("salt"),
        integrity_key: secret("auth_key"),
        ends: TunnelEnds { local: side.wan(outer_v6), remote: side.other().wan(outer_v6) },
        encap: flag(v, "encap").then_some(Encap { local_port: 4500, remote_port: 4500 }),
        esn: flag(v, "esn"),
        last_seq: seq - 1,
        policy: PolicyId(1 + u32::from(inner_v6)),
        selectors: vec![selector(side.lan(inner_v6), side.other().lan(inner_v6)).into()],
        ..a_to_b(side, "aes-128-gcm")
    }
}

#[test]
fn what_scapy_sealed_we_open() {
    let vectors = vectors("scapy/esp.json");
    assert!(vectors.len() > 90);
    for v in vectors {
        let mut b = Side::B.gateway(&[scapy_sa(&v, Side::B)]);
        let outcomes = b.run(WAN, &frame(Side::B, WAN, &hex(&v["protected"])));
        assert_eq!(dropped(&outcomes), None, "{}", v["name"]);
        assert_eq!(sent(&outcomes), (LAN, with_ttl(&hex(&v["clear"]), 62)), "{}", v["name"]);
    }
}

#[test]
fn what_we_seal_is_byte_for_byte_what_scapy_seals() {
    let (mut exact, mut random_iv) = (0, 0);
    for v in vectors("scapy/esp.json") {
        let mut a = Side::A.gateway(&[scapy_sa(&v, Side::A)]);
        let (port, ours) = sent(&a.run(LAN, &frame(Side::A, LAN, &with_ttl(&hex(&v["clear"]), 64))));
        let theirs = hex(&v["protected"]);
        assert_eq!(port, WAN);
        let cipher = suite(v["suite"].as_str().expect("a name")).encryption();
        if cipher.block_len() > 1 {
            // The IV is random: headers, length and lengths in the headers must agree, and it must open.
            let esp_at = if flag(&v, "outer_v6") { 40 } else { 20 } + if flag(&v, "encap") { 8 } else { 0 };
            assert_eq!(ours.len(), theirs.len(), "{}", v["name"]);
            assert_eq!(ours[..esp_at + 8], theirs[..esp_at + 8], "{}", v["name"]);
            let iv = esp_at + 8..esp_at + 8 + cipher.iv_len();
            assert_ne!(ours[iv.clone()], theirs[iv]);
            let mut b = Side::B.gateway(&[scapy_sa(&v, Side::B)]);
            let inner = sent(&b.run(WAN, &frame(Side::B, WAN, &ours))).1;
            assert_eq!(inner, with_ttl(&hex(&v["clear"]), 62), "{}", v["name"]);
            random_iv += 1;
        } else {
            assert_eq!(ours, theirs, "{}", v["name"]);
            exact += 1;
        }
    }
    assert!(exact > 50 && random_iv > 30, "{exact} exact, {random_iv} with a random IV");
}

#[test]
fn what_dpdk_calls_right_we_open() {
    let mut opened = 0;
    for v in vectors("dpdk-ipsec/ipsec_packets.json") {
        let p = &v["params"];
        let text = |name: &str| p[name].as_str().unwrap_or_default();
        let tunnel = text("mode").ends_with("TUNNEL") && text("proto").ends_with("ESP");
        let Some(suite) = tunnel.then(|| dpdk_suite(&v)).flatten() else { continue };
        let (clear, protected) = match text("direction").ends_with("INGRESS") {
            true => (hex(&v["output_text"]), hex(&v["input_text"])),
            false => (hex(&v["input_text"]), hex(&v["output_text"])),
        };
        let outer = wire::ip::Packet::parse(&protected).expect("an outer header");
        let inner = wire::ip::Packet::parse(&clear).expect("an inner header");
        let (at, encap) = match outer.protocol {
            17 => (usize::from(outer.upper_at) + 8, Some(Encap { local_port: 4500, remote_port: 4500 })),
            _ => (usize::from(outer.upper_at), None),
        };
        let header = wire::esp::Header::parse(&protected[at..]).expect("an ESP header");
        let name = v["name"].as_str().expect("a name");
        let Ok(spi) = Spi::new(header.spi) else {
            // Several use an SPI that IANA keeps: no SA can have it, so none is found.
            let outcomes = Side::B.gateway(&[]).run(WAN, &frame(Side::B, WAN, &readdressed(&protected)));
            assert_eq!(dropped(&outcomes), Some(DropReason::NoSuchSa), "{name}");
            continue;
        };
        let secret = |name: &str| Key::new(&hex(&v[name])).expect("a short key");
        let auth = if suite.encryption().is_aead() { Key::empty() } else { secret("auth_key") };
        let spec = SaSpec {
            spi,
            suite,
            encryption_key: secret("key"),
            salt: if suite.salt_len() > 0 { secret("salt") } else { Key::empty() },
            integrity_key: auth,
            ends: TunnelEnds { local: outer.dst, remote: outer.src },
            encap,
            esn: !text("options.esn").is_empty() && text("options.esn") != "0",
            selectors: vec![selector(Prefix::host(inner.dst), Prefix::host(inner.src)).into()],
            ..a_to_b(Side::B, "aes-128-gcm")
        };
        // The gateway is whoever the outer packet is for; a router behind port 0 takes the inner one.
        let mut setup = Side::B.setup();
        setup.interfaces[1].addresses = vec![(outer.dst, if outer.dst.is_ipv4() { 32 } else { 128 })];
        setup.routes = vec![fastpath::offline::RouteSpec {
            prefix: Prefix::host(inner.dst),
            interface: 0,
            next_hop: Some(Side::B.host(!inner.is_ipv4())),
        }];
        setup.sas = vec![spec];
        if inner.dst == outer.dst {
            // DPDK reuses the addresses inside and outside; then the gateway itself is meant.
            let outcomes = gateway(&setup).run(WAN, &frame(Side::B, WAN, &protected));
            let [Outcome::ToHost { packet, .. }] = &outcomes[..] else { panic!("{name}: {outcomes:?}") };
            assert_eq!(packet[14..], clear, "{name}");
        } else {
            let outcomes = gateway(&setup).run(WAN, &frame(Side::B, WAN, &protected));
            assert_eq!(sent(&outcomes).1, with_ttl(&clear, inner.ttl - 1), "{name}");
        }
        opened += 1;
    }
    assert!(opened >= 3, "only {opened} of DPDK's packets were of a kind we run");
}

/// An outer packet with the addresses of site A and site B.
fn readdressed(packet: &[u8]) -> Vec<u8> {
    let parsed = wire::ip::Packet::parse(packet).expect("an outer header");
    let v6 = !parsed.is_ipv4();
    common::packet(Side::A.wan(v6), Side::B.wan(v6), parsed.protocol, parsed.upper(packet))
}

fn dpdk_suite(v: &Value) -> Option<Suite> {
    let key_len = hex(&v["key"]).len();
    let algorithms = v["params"]["algo"].to_string();
    let bits = key_len * 8;
    let ciphers = [
        ("AES_GCM", format!("aes-{bits}-gcm")),
        ("AES_CCM", format!("aes-{bits}-ccm")),
        ("AES_CBC", format!("aes-{bits}-cbc")),
        ("AES_CTR", format!("aes-{bits}-ctr")),
        ("3DES_CBC", "3des".into()),
        ("DES_CBC", "des".into()),
    ];
    let (_, cipher) = ciphers.into_iter().find(|(theirs, _)| algorithms.contains(theirs))?;
    if v["aead"].as_bool()? {
        return Some(suite(&cipher));
    }
    let auth = ["MD5", "SHA1", "SHA256", "SHA384", "SHA512"];
    let auth = auth.into_iter().find(|a| algorithms.contains(&format!("{a}_HMAC")))?;
    Some(suite(&format!("{cipher}/{}", auth.to_lowercase())))
}
