//! Transport mode and AH: packets made by scapy, both ways, and hostile ones.
mod common;
use common::*;
use fastpath::offline::{Gateway, Outcome};
use sa::*;
use serde_json::Value;
use std::net::IpAddr;

fn flag(v: &Value, name: &str) -> bool {
    v[name].as_bool().expect("a flag")
}

/// The two ends as policies of transport mode have them.
fn ends(side: Side, v6: bool) -> Selector {
    selector(Prefix::host(side.wan(v6)), Prefix::host(side.other().wan(v6)))
}
/// A policy for each family between the two ends, in front of those of the networks.
fn setup(side: Side, sas: &[SaSpec]) -> fastpath::offline::Setup {
    let mut setup = side.setup();
    let encrypt = Action::Encrypt { level: Level::Require, tunnel: false };
    for v6 in [false, true] {
        let id = PolicyId(10 + u32::from(v6));
        setup.policies.push(PolicySpec {
            id,
            selector: ends(side, v6),
            action: encrypt,
            framing: Framing::default(),
        });
    }
    setup.sas = sas.to_vec();
    setup
}
fn open_gateway(side: Side, sas: &[SaSpec]) -> Gateway {
    gateway(&setup(side, sas))
}

/// One direction from A to B in transport mode.
fn transport(side: Side, protocol: Protocol, name: &str, v6: bool) -> SaSpec {
    SaSpec {
        protocol,
        mode: Mode::Transport,
        ends: TunnelEnds { local: side.wan(v6), remote: side.other().wan(v6) },
        policy: PolicyId(10 + u32::from(v6)),
        selectors: vec![ends(side, v6).into()],
        ..a_to_b(side, name)
    }
}

/// The SA of a scapy vector, as `side` has it.
fn scapy_sa(v: &Value, side: Side) -> SaSpec {
    let (inner_v6, outer_v6) = (flag(v, "inner_v6"), flag(v, "outer_v6"));
    let secret = |name: &str| Key::new(&hex(&v[name])).expect("a short key");
    let protocol = Protocol::from_name(v["protocol"].as_str().expect("a name")).expect("a protocol");
    let base = match flag(v, "tunnel") {
        true => SaSpec {
            protocol,
            ends: TunnelEnds { local: side.wan(outer_v6), remote: side.other().wan(outer_v6) },
            policy: PolicyId(1 + u32::from(inner_v6)),
            selectors: vec![selector(side.lan(inner_v6), side.other().lan(inner_v6)).into()],
            ..a_to_b(side, "null/sha1")
        },
        false => transport(side, protocol, "null/sha1", inner_v6),
    };
    SaSpec {
        suite: suite(v["suite"].as_str().expect("a name")),
        encryption_key: secret("key"),
        salt: secret("salt"),
        integrity_key: secret("auth_key"),
        encap: flag(v, "encap").then_some(Encap { local_port: 4500, remote_port: 4500 }),
        esn: flag(v, "esn"),
        last_seq: v["seq"].as_u64().expect("a number") - 1,
        ..base
    }
}

/// The one packet that the host gets.
fn to_host(outcomes: &[Outcome]) -> Vec<u8> {
    match outcomes {
        [Outcome::ToHost { packet, .. }] => packet[14..].to_vec(),
        other => panic!("not for the host: {other:?}"),
    }
}
/// What A makes of a packet of a vector.
fn sealed(v: &Value) -> Vec<u8> {
    let mut a = open_gateway(Side::A, &[scapy_sa(v, Side::A)]);
    let clear = hex(&v["clear"]);
    let outcomes = match flag(v, "tunnel") {
        true => a.run(LAN, &frame(Side::A, LAN, &with_ttl(&clear, 64))),
        false => a.originate(&clear, false),
    };
    assert_eq!(dropped(&outcomes), None, "{}", v["name"]);
    sent(&outcomes).1
}
/// What comes out of a packet at B: as it was, but for the hop that a tunnel's inner packet loses here.
fn opens(v: &Value, packet: &[u8]) {
    let mut b = open_gateway(Side::B, &[scapy_sa(v, Side::B)]);
    let outcomes = b.run(WAN, &frame(Side::B, WAN, packet));
    assert_eq!(dropped(&outcomes), None, "{}", v["name"]);
    let clear = hex(&v["clear"]);
    match flag(v, "tunnel") {
        true => assert_eq!(sent(&outcomes), (LAN, with_ttl(&clear, 62)), "{}", v["name"]),
        false => assert_eq!(to_host(&outcomes), clear, "{}", v["name"]),
    }
}

#[test]
fn what_scapy_protected_we_open() {
    let vectors = vectors("scapy/modes.json");
    assert!(vectors.len() > 100);
    for v in vectors {
        opens(&v, &hex(&v["protected"]));
    }
}

#[test]
fn what_we_protect_is_byte_for_byte_what_scapy_protects() {
    let (mut exact, mut random_iv) = (0, 0);
    for v in vectors("scapy/modes.json") {
        let ours = sealed(&v);
        let theirs = hex(&v["protected"]);
        assert!(ours.len() == theirs.len() || !flag(&v, "ours"), "{}", v["name"]);
        if suite(v["suite"].as_str().expect("a name")).encryption().iv_len() == 16 || !flag(&v, "ours") {
            opens(&v, &ours);
            random_iv += 1;
        } else {
            assert_eq!(ours, theirs, "{}", v["name"]);
            exact += 1;
        }
    }
    assert!(exact > 90 && random_iv > 20, "{exact} exact, {random_iv} that only open");
}

const PING: &[u8] = b"between the two ends";
fn between(from: Side, v6: bool) -> Vec<u8> {
    let (src, dst) = (from.wan(v6), from.other().wan(v6));
    let mut upper = vec![0; 8];
    wire::udp::write(&mut upper, 4000, 1701, PING.len()).expect("room");
    upper.extend(PING);
    let sum = wire::checksum::pseudo(src, dst, 17, upper.len()).with(&upper).finish();
    upper[6..8].copy_from_slice(&sum.to_be_bytes());
    packet(src, dst, 17, &upper)
}
/// Every kind of SA that this file is about.
fn kinds() -> impl Iterator<Item = (Protocol, &'static str, bool)> {
    [(Protocol::Esp, "aes-128-gcm"), (Protocol::Esp, "aes-256-cbc/sha256"), (Protocol::Ah, "null/sha256")]
        .into_iter()
        .flat_map(|(protocol, name)| [false, true].map(|v6| (protocol, name, v6)))
}
/// One packet from A under the SA, and B, which opens such.
fn one(protocol: Protocol, name: &str, v6: bool) -> (Vec<u8>, Gateway) {
    let mut a = open_gateway(Side::A, &[transport(Side::A, protocol, name, v6)]);
    let wire = sent(&a.originate(&between(Side::A, v6), false)).1;
    (wire, open_gateway(Side::B, &[transport(Side::B, protocol, name, v6)]))
}
fn arrives(b: &mut Gateway, packet: &[u8]) -> Vec<Outcome> {
    b.run(WAN, &frame(Side::B, WAN, packet))
}

#[test]
fn a2_an_spi_of_esp_is_none_of_ah_and_the_other_way_about() {
    for (protocol, name, v6) in kinds() {
        let (wire, _) = one(protocol, name, v6);
        let other = if protocol == Protocol::Ah { Protocol::Esp } else { Protocol::Ah };
        let mut b = open_gateway(Side::B, &[transport(Side::B, other, "null/sha256", v6)]);
        assert_eq!(dropped(&arrives(&mut b, &wire)), Some(DropReason::NoSuchSa), "{name} {v6}");
    }
    // The right protocol from another address.
    let (wire, mut b) = one(Protocol::Ah, "null/sha256", false);
    let mut other = wire;
    other[15] ^= 4;
    let other = with_ttl(&other, 64);
    assert_eq!(dropped(&arrives(&mut b, &other)), Some(DropReason::NoSuchSa));
}

#[test]
fn one_bit_is_enough_and_a_packet_opens_once() {
    for (protocol, name, v6) in kinds() {
        let (wire, mut b) = one(protocol, name, v6);
        let header = if v6 { 40 } else { 20 };
        for at in header + 4..wire.len() {
            let mut wrong = wire.clone();
            wrong[at] ^= 1;
            let why = dropped(&arrives(&mut b, &wrong)).unwrap_or_else(|| panic!("{name} {v6} byte {at}"));
            let fine = [DropReason::IcvMismatch, DropReason::NoSuchSa, DropReason::ReplayOld];
            assert!(fine.contains(&why), "{name} {v6} byte {at}: {why:?}");
        }
        assert_eq!(to_host(&arrives(&mut b, &wire)), between(Side::A, v6), "{name} {v6}");
        assert_eq!(dropped(&arrives(&mut b, &wire)), Some(DropReason::ReplaySeen), "{name} {v6}");
    }
}

/// Seals bytes as ESP's plaintext in transport mode, trailer and all, as a peer might.
fn with_trailer(v6: bool, plain: &[u8]) -> Vec<u8> {
    let spec = transport(Side::A, Protocol::Esp, "aes-128-gcm", v6);
    let crypto =
        fastpath::crypto::CpuCrypto::new(fastpath::crypto::CpuEngineKind::RustCrypto).expect("an engine");
    let mut crypto = crypto;
    let key = crypto
        .new_key(spec.suite, Direction::Outbound, spec.encryption_key.expose(), spec.salt.expose(), &[])
        .expect("a key");
    let mut esp = spec.spi.get().to_be_bytes().to_vec();
    esp.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 1]);
    esp.extend(plain);
    esp.extend([0; 16]);
    let mut ops = [fastpath::crypto::cpu::EspOp { key: &key, esp: &mut esp, seq_high: None, ok: false }];
    crypto.seal(&mut ops);
    assert!(ops[0].ok);
    packet(Side::A.wan(v6), Side::B.wan(v6), 50, &esp)
}

#[test]
fn a11_trailers_that_lie() {
    let spec = |v6| transport(Side::B, Protocol::Esp, "aes-128-gcm", v6);
    let (v4, v6) = (false, true);
    for (what, family, plain, expected) in [
        ("dummy", v4, &[1, 2, 2, 59][..], DropReason::DummyPacket),
        ("longer than the payload", v4, &[1, 2, 9, 17], DropReason::BadTrailer),
        ("not counting", v4, &[1, 3, 2, 17], DropReason::BadTrailer),
        ("hop-by-hop from inside", v6, &[17, 0, 1, 4, 0, 0, 0, 0, 1, 2, 2, 0], DropReason::BadTrailer),
        ("an extension header that is none", v6, &[1, 2, 2, 60], DropReason::BadTrailer),
    ] {
        let mut b = open_gateway(Side::B, &[spec(family)]);
        let outcomes = arrives(&mut b, &with_trailer(family, plain));
        assert_eq!(dropped(&outcomes), Some(expected), "{what}");
        assert_eq!(outcomes.len(), 1, "{what}: no answer, and nothing to the host");
    }
    // A protocol that nobody knows is the host's to refuse, if the SA is for all; here it is not.
    let only_udp = TrafficSelector { protocol: Some(17), ..ends(Side::B, false).into() };
    for next in [0, 4, 41, 50, 51, 255] {
        let mut b = open_gateway(Side::B, &[SaSpec { selectors: vec![only_udp], ..spec(false) }]);
        let outcomes = arrives(&mut b, &with_trailer(false, &[1, 2, 2, next]));
        assert_eq!(dropped(&outcomes), Some(DropReason::SelectorMismatch), "next header {next}");
    }
}

#[test]
fn a12_what_is_not_the_sas_is_dropped_and_audited() {
    use ipc::contract::Event;
    let only_gre = TrafficSelector { protocol: Some(47), ..ends(Side::B, false).into() };
    for (protocol, name, v6) in kinds().filter(|(.., v6)| !v6) {
        let mut a = open_gateway(Side::A, &[transport(Side::A, protocol, name, v6)]);
        let spec = SaSpec { selectors: vec![only_gre], ..transport(Side::B, protocol, name, v6) };
        let spi = spec.spi;
        let mut b = open_gateway(Side::B, &[spec]);
        let mut audited = 0;
        for _ in 0..10 {
            let wire = sent(&a.originate(&between(Side::A, v6), false)).1;
            let outcomes = arrives(&mut b, &wire);
            assert_eq!(dropped(&outcomes), Some(DropReason::SelectorMismatch), "{name}");
            for outcome in &outcomes {
                if let Outcome::Event(Event::Mismatch { spi: of, packet, .. }) = outcome {
                    assert_eq!((*of, packet.src, packet.dst), (spi, Side::A.wan(v6), Side::B.wan(v6)));
                    assert_eq!((packet.protocol, packet.src_port, packet.dst_port), (17, 4000, 1701));
                    audited += 1;
                }
            }
        }
        assert_eq!(audited, 4, "{name}: a few a second");
    }
}

#[test]
fn a16_options_and_extension_headers_in_front_of_a_security_header() {
    for (protocol, name) in [(Protocol::Esp, "aes-128-gcm"), (Protocol::Ah, "null/sha256")] {
        // Every length of options, of no-operations: what is protected comes out whole.
        for options in (0..=40).step_by(4) {
            let mut clear = between(Side::A, false);
            clear.splice(20..20, vec![1; options]);
            clear[0] = 0x45 + (options / 4) as u8;
            let len = clear.len();
            wire::chain::set_length(&mut clear, len).expect("a header");
            let mut a = open_gateway(Side::A, &[transport(Side::A, protocol, name, false)]);
            let wire = sent(&a.originate(&clear, false)).1;
            let mut b = open_gateway(Side::B, &[transport(Side::B, protocol, name, false)]);
            assert_eq!(to_host(&arrives(&mut b, &wire)), clear, "{name}: {options} bytes of options");
            // Broken lengths: of the header, of an option. Never more than a drop.
            for (at, value) in [(0, 0x44), (0, 0x4f), (20, 7), (20, 148)] {
                let mut wrong = wire.clone();
                wrong[at] = value;
                let header = usize::from(wrong[0] & 15) * 4;
                if options > 0 && header <= wrong.len() && header >= 20 {
                    let len = wrong.len();
                    wire::chain::set_length(&mut wrong[..header], len).expect("a header");
                }
                let outcomes = arrives(&mut b, &wrong);
                assert!(outcomes.len() <= 2, "{name} {options} {at}={value:#x}: {outcomes:?}");
            }
        }
        for headers in 0..12usize {
            let mut chain = Vec::new();
            for n in 0..headers {
                let next = if n + 1 == headers { 17 } else { 60 };
                chain.extend([next, 0, 1, 4, 0, 0, 0, 0]);
            }
            let first = if headers == 0 { 17 } else { 60 };
            let upper = between(Side::A, true)[40..].to_vec();
            let clear = packet(Side::A.wan(true), Side::B.wan(true), first, &[chain, upper].concat());
            let mut a = open_gateway(Side::A, &[transport(Side::A, protocol, name, true)]);
            let mut b = open_gateway(Side::B, &[transport(Side::B, protocol, name, true)]);
            let outcomes = a.originate(&clear, false);
            if headers > 8 {
                assert_eq!(dropped(&outcomes), Some(DropReason::MalformedIp), "{name}: {headers} headers");
                continue;
            }
            assert_eq!(to_host(&arrives(&mut b, &sent(&outcomes).1)), clear, "{name}: {headers} headers");
        }
    }
}

#[test]
fn a17_ah_does_not_mind_what_may_change_on_the_way() {
    for v6 in [false, true] {
        let (wire, mut b) = one(Protocol::Ah, "null/sha256", v6);
        let mut changed = wire.clone();
        if v6 {
            changed[..4].copy_from_slice(&[0x6f, 0xff, 0xff, 0xff]);
            changed[7] = 3;
        } else {
            (changed[1], changed[6]) = (0xff, 0);
            changed = with_ttl(&changed, 3);
        }
        let got = to_host(&arrives(&mut b, &changed));
        let body = if v6 { 40 } else { 20 };
        assert_eq!(got[body..], between(Side::A, v6)[body..]);
        assert_eq!(got[if v6 { 7 } else { 8 }], 3, "as it came");
    }
    // The identification and the addresses are covered.
    let (wire, mut b) = one(Protocol::Ah, "null/sha256", false);
    let mut changed = wire;
    changed[5] ^= 1;
    assert_eq!(dropped(&arrives(&mut b, &with_ttl(&changed, 64))), Some(DropReason::IcvMismatch));
}

#[test]
fn a17_ah_of_a_wrong_length_is_refused() {
    for v6 in [false, true] {
        let (wire, mut b) = one(Protocol::Ah, "null/sha256", v6);
        let at = if v6 { 40 } else { 20 };
        for words in (0..=255).filter(|words| *words != wire[at + 1]) {
            let mut wrong = wire.clone();
            wrong[at + 1] = words;
            let why = dropped(&arrives(&mut b, &wrong));
            // One more word is padding that IPv4 may have; then the ICV says that it was not sent so.
            let fine = [DropReason::AhMalformed, DropReason::IcvMismatch];
            assert!(why.is_some_and(|why| fine.contains(&why)), "{words} words: {why:?}");
        }
    }
}

/// ESP in tunnel or transport mode inside of AH is taken; anything deeper is not.
#[test]
fn a17_esp_in_ah_is_taken_and_nothing_deeper() {
    let v6 = false;
    let ah = |side: Side, spi: u32, slot: u32| SaSpec {
        spi: Spi::new(spi).expect("an SPI"),
        slot: SaSlot(slot),
        ..transport(side, Protocol::Ah, "null/sha256", v6)
    };
    let wrapped = |packet: &[u8], spi: u32| {
        sent(&open_gateway(Side::A, &[ah(Side::A, spi, 4)]).originate(packet, false)).1
    };
    for tunnel in [false, true] {
        let esp = |side: Side| match tunnel {
            true => a_to_b(side, "aes-128-gcm"),
            false => transport(side, Protocol::Esp, "aes-128-gcm", v6),
        };
        let mut a = open_gateway(Side::A, &[esp(Side::A)]);
        let inner = udp(Side::A.host(v6), Side::B.host(v6), 1, 2, b"deep");
        let first = match tunnel {
            true => sent(&a.run(LAN, &frame(Side::A, LAN, &inner))).1,
            false => sent(&a.originate(&between(Side::A, v6), false)).1,
        };
        let second = wrapped(&first, 0x2000_0004);
        let third = wrapped(&second, 0x3000_0005);
        let sas = [esp(Side::B), ah(Side::B, 0x2000_0004, 4), ah(Side::B, 0x3000_0005, 5)];
        let outcomes = arrives(&mut open_gateway(Side::B, &sas), &second);
        match tunnel {
            true => assert_eq!(sent(&outcomes), (LAN, with_ttl(&inner, 62))),
            false => assert_eq!(to_host(&outcomes), between(Side::A, v6)),
        }
        let outcomes = arrives(&mut open_gateway(Side::B, &sas), &third);
        assert_eq!(dropped(&outcomes), Some(DropReason::UnsupportedProtocol));
    }
    // Sixteen deep, and AH in ESP.
    let mut deep = between(Side::A, v6);
    for _ in 0..16 {
        deep = wrapped(&deep, 0x2000_0004);
    }
    let outcomes = arrives(&mut open_gateway(Side::B, &[ah(Side::B, 0x2000_0004, 4)]), &deep);
    assert_eq!(dropped(&outcomes), Some(DropReason::UnsupportedProtocol));
}

#[test]
fn transport_mode_is_for_the_two_ends_alone() {
    let any = selector("0.0.0.0/0".parse().expect("a prefix"), "0.0.0.0/0".parse().expect("a prefix"));
    for (protocol, name) in [(Protocol::Esp, "aes-128-gcm"), (Protocol::Ah, "null/sha256")] {
        let wide = |side| SaSpec { selectors: vec![any.into()], ..transport(side, protocol, name, false) };
        let mut setup = setup(Side::A, &[wide(Side::A)]);
        setup.policies[2].selector = any;
        setup.policies.truncate(3);
        setup.policies.remove(0);
        let mut a = gateway(&setup);
        let passing = udp(Side::A.host(false), Side::B.host(false), 1, 2, b"x");
        let outcomes = a.run(LAN, &frame(Side::A, LAN, &passing));
        assert_eq!(dropped(&outcomes), Some(DropReason::TransportEnds), "{name}");
        let elsewhere = udp(Side::A.wan(false), "192.0.2.77".parse().expect("an address"), 1, 2, b"x");
        assert_eq!(dropped(&a.originate(&elsewhere, false)), Some(DropReason::TransportEnds), "{name}");
        let mut piece = between(Side::A, false);
        piece[6] = 0x20;
        let piece = with_ttl(&piece, 64);
        assert_eq!(dropped(&a.originate(&piece, false)), Some(DropReason::TransportFragment), "{name}");
    }
}

/// Protected as a whole, then fragmented: put together again it opens.
#[test]
fn what_is_too_large_is_fragmented_after_it_was_protected() {
    for (protocol, name) in [(Protocol::Esp, "aes-256-cbc/sha256"), (Protocol::Ah, "null/sha256")] {
        for body in [1400, 1472 - 44, 1472, 3000] {
            let mut clear = udp(Side::A.wan(false), Side::B.wan(false), 7, 8, &vec![7; body]);
            clear[6] = 0;
            let clear = with_ttl(&clear, 64);
            let mut a = open_gateway(Side::A, &[transport(Side::A, protocol, name, false)]);
            let mut whole: Vec<u8> = Vec::new();
            let mut count = 0;
            for outcome in a.originate(&clear, false) {
                let Outcome::Sent { frame, .. } = outcome else { panic!("{name} {body}: {outcome:?}") };
                let piece = &frame[14..];
                assert!(piece.len() <= 1500);
                match count {
                    0 => whole.extend(piece),
                    _ => whole.extend(&piece[20..]),
                }
                count += 1;
            }
            assert_eq!(count > 1, body > 1440, "{name} {body}");
            whole[6..8].fill(0);
            let total = whole.len();
            wire::chain::set_length(&mut whole[..20], total).expect("a header");
            let mut b = open_gateway(Side::B, &[transport(Side::B, protocol, name, false)]);
            assert_eq!(to_host(&arrives(&mut b, &whole)), clear, "{name} {body}");
        }
        // What may not be fragmented is refused before it takes a number.
        let mut a = open_gateway(Side::A, &[transport(Side::A, protocol, name, false)]);
        let large = udp(Side::A.wan(false), Side::B.wan(false), 7, 8, &[7; 1472]);
        assert_eq!(dropped(&a.originate(&large, false)), Some(DropReason::TooBig));
        let wire = sent(&a.originate(&between(Side::A, false), false)).1;
        assert_eq!(wire[if protocol == Protocol::Ah { 28 } else { 24 }..][..4], [0, 0, 0, 1]);
    }
}

/// A client at 10.0.0.9 behind a NAT that is 198.51.100.7 outside; B is behind another one, 203.0.113.2 outside.
#[test]
fn checksums_survive_the_nats_in_between() {
    let natted: IpAddr = "192.0.2.1".parse().expect("an address");
    let [client, seen] = ["10.0.0.9", "203.0.113.2"].map(|a| a.parse::<IpAddr>().expect("an address"));
    let encap = Some(Encap { local_port: 4500, remote_port: 4500 });
    for original in [Some(TunnelEnds { local: seen, remote: client }), None] {
        for tcp in [false, true] {
            let upper = |src, dst| {
                let (mut upper, at, kind) = match tcp {
                    true => (vec![9; 40], 16, 6),
                    false => (vec![9; 20], 6, 17),
                };
                upper[at..at + 2].fill(0);
                let sum = wire::checksum::pseudo(src, dst, kind, upper.len()).with(&upper).finish();
                upper[at..at + 2].copy_from_slice(&sum.to_be_bytes());
                packet(src, dst, kind, &upper)
            };
            // The client's own view, protected by the client; then both NATs change the outer header.
            let spec = |side: Side| SaSpec {
                encap,
                original: None,
                ..transport(side, Protocol::Esp, "aes-128-gcm", false)
            };
            let mut a = open_gateway(Side::A, &[spec(Side::A)]);
            let mut made = upper(client, seen);
            let as_sent = {
                made[12..16].copy_from_slice(&[192, 0, 2, 1]);
                made[16..20].copy_from_slice(&[192, 0, 2, 2]);
                with_ttl(&made, 64)
            };
            let wire = sent(&a.originate(&as_sent, false)).1;
            let mut b = open_gateway(Side::B, &[SaSpec { original, ..spec(Side::B) }]);
            let got = to_host(&arrives(&mut b, &wire));
            assert_eq!(got, upper(natted, Side::B.wan(false)), "{original:?} tcp {tcp}");
        }
    }
}
#[test]
fn a_udp_checksum_that_is_not_there_stays_away() {
    let encap = Some(Encap { local_port: 4500, remote_port: 4500 });
    let ends =
        TunnelEnds { local: "203.0.113.2".parse().expect("one"), remote: "10.0.0.9".parse().expect("one") };
    for original in [Some(ends), None] {
        let spec = |side: Side| SaSpec { encap, ..transport(side, Protocol::Esp, "aes-128-gcm", false) };
        let clear = udp(Side::A.wan(false), Side::B.wan(false), 7, 8, b"none");
        let wire = sent(&open_gateway(Side::A, &[spec(Side::A)]).originate(&clear, false)).1;
        let mut b = open_gateway(Side::B, &[SaSpec { original, ..spec(Side::B) }]);
        assert_eq!(to_host(&arrives(&mut b, &wire)), clear);
    }
}

#[test]
fn a18_the_port_moves_only_after_a_good_icv_and_the_newest_number() {
    use ipc::contract::Event;
    let encap = Some(Encap { local_port: 4500, remote_port: 4500 });
    let spec = |side: Side| SaSpec { encap, ..transport(side, Protocol::Esp, "aes-128-gcm", false) };
    let mut a = open_gateway(Side::A, &[spec(Side::A)]);
    let mut b = open_gateway(Side::B, &[spec(Side::B)]);
    let wires: Vec<_> = (0..4).map(|_| sent(&a.originate(&between(Side::A, false), false)).1).collect();
    let from_port = |packet: &[u8], port: u16| {
        let mut moved = packet.to_vec();
        moved[20..22].copy_from_slice(&port.to_be_bytes());
        moved
    };
    let moved = |outcomes: &[Outcome]| {
        outcomes.iter().find_map(|o| match o {
            Outcome::Event(Event::PeerMoved { from, .. }) => Some(from.port()),
            _ => None,
        })
    };
    let mut forged = from_port(&wires[3], 1111);
    *forged.last_mut().expect("bytes") ^= 1;
    let outcomes = arrives(&mut b, &forged);
    assert_eq!((dropped(&outcomes), moved(&outcomes)), (Some(DropReason::IcvMismatch), None));
    assert_eq!(moved(&arrives(&mut b, &from_port(&wires[2], 2222))), Some(2222));
    assert_eq!(moved(&arrives(&mut b, &from_port(&wires[1], 3333))), None, "good, but not the newest");
    assert_eq!(dropped(&arrives(&mut b, &from_port(&wires[2], 4444))), Some(DropReason::ReplaySeen));
    assert_eq!(moved(&arrives(&mut b, &from_port(&wires[3], 5555))), Some(5555));
    // What else comes on the port: a keepalive, half a marker, a marker with ESP behind it, which is IKE's, and garbage.
    let on_4500 = |payload: &[u8]| udp(Side::A.wan(false), Side::B.wan(false), 6666, 4500, payload);
    for (payload, expected) in [
        (&[0xff][..], Some(DropReason::Keepalive)),
        (&[0, 0, 0], Some(DropReason::EspTooShort)),
        (&[9; 7], Some(DropReason::EspTooShort)),
        (&[9; 64], Some(DropReason::NoSuchSa)),
        (&[0, 0, 0, 0], None),
    ] {
        let outcomes = arrives(&mut b, &on_4500(payload));
        assert_eq!((dropped(&outcomes), moved(&outcomes)), (expected, None), "{payload:?}");
    }
    let marked = [&[0; 4], &wires[0][28..]].concat();
    assert!(matches!(&arrives(&mut b, &on_4500(&marked))[..], [Outcome::Ike { .. }]));
    assert_eq!(dropped(&arrives(&mut b, &on_4500(&marked[3..]))), Some(DropReason::NoSuchSa));
}

/// Two clients with the same selectors, which the NAT in front of them tells apart by the port of their ESP.
#[test]
fn clients_behind_one_nat_are_answered_each_under_its_own_sa() {
    use ipc::contract::Command;
    let name = "aes-128-gcm";
    let at = |side: Side, port: u16, slot: u32, direction: Direction| {
        // The clients know nothing of the ports that the NAT gives them.
        let (local_port, remote_port) = (4500, if side == Side::A { 4500 } else { port });
        SaSpec {
            slot: SaSlot(slot),
            spi: Spi::new(0x1000_0020 + slot).unwrap(),
            direction,
            encap: Some(Encap { local_port, remote_port }),
            ..transport(side, Protocol::Esp, name, false)
        }
    };
    let clients = [(40001, 1), (40002, 3)];
    let mut both = clients.map(|(port, slot)| {
        open_gateway(
            Side::A,
            &[at(Side::A, port, slot, Direction::Outbound), at(Side::A, port, slot + 1, Direction::Inbound)],
        )
    });
    let server = clients.iter().flat_map(|(port, slot)| {
        [at(Side::B, *port, *slot, Direction::Inbound), at(Side::B, *port, slot + 1, Direction::Outbound)]
    });
    let mut b = open_gateway(Side::B, &server.collect::<Vec<_>>());
    let (us, them) = (Side::B.wan(false), Side::A.wan(false));
    let said = |from: u16| udp(them, us, from, 1701, b"hello");
    let answer = |to: u16| udp(us, them, 1701, to, b"hello yourself");
    // Where the answer goes, and under which SPI.
    let goes = |b: &mut Gateway, to: u16| {
        let (_, wire) = sent(&b.originate(&answer(to), false));
        (
            u16::from_be_bytes([wire[22], wire[23]]),
            u32::from_be_bytes(*wire[28..].first_chunk().unwrap()),
            wire,
        )
    };
    assert_eq!(goes(&mut b, 1111).0, 40002, "the newest, as long as nobody has said anything");
    let natted = |client: &mut Gateway, from: u16, port: u16| {
        let mut wire = sent(&client.originate(&said(from), false)).1;
        wire[20..22].copy_from_slice(&port.to_be_bytes());
        wire
    };
    for ((client, from), (port, _)) in both.iter_mut().zip([1111, 2222]).zip(clients) {
        let wire = natted(client, from, port);
        assert_eq!(to_host(&arrives(&mut b, &wire)), said(from));
    }
    for (n, (to, port)) in
        [(1111, 40001), (2222, 40002), (1111, 40001), (2222, 40002)].into_iter().enumerate()
    {
        let (went, spi, mut wire) = goes(&mut b, to);
        wire[22..24].copy_from_slice(&4500_u16.to_be_bytes());
        assert_eq!((went, spi), (port, 0x1000_0022 + 2 * (n as u32 % 2)), "{to}");
        let client = &mut both[n % 2];
        assert_eq!(to_host(&client.run(WAN, &frame(Side::A, WAN, &wire))), answer(to));
    }
    // The NAT forgets the first one and gives it another port; it follows the next packet of its own.
    let ends = TunnelEnds { local: us, remote: them };
    for (slot, spi) in [(1, 0x1000_0021), (2, 0x1000_0022)] {
        let (slot, spi) = (SaSlot(slot), Spi::new(spi).unwrap());
        let encap = Some(Encap { local_port: 4500, remote_port: 50001 });
        b.apply(Command::MoveSa { slot, spi, ends, encap }).unwrap();
    }
    let wire = natted(&mut both[0], 1111, 50001);
    assert_eq!(to_host(&arrives(&mut b, &wire)), said(1111));
    assert_eq!((goes(&mut b, 1111).0, goes(&mut b, 2222).0), (50001, 40002));
    // A third flow of one of them, which has not come in: the newest SA.
    assert_eq!(goes(&mut b, 3333).0, 40002);
}
