//! Rows A1 to A25 of the table of hostile inputs, one test or more for each that the datapath answers.
mod common;
use common::*;
use fastpath::offline::{Gateway, Outcome};
use ipc::contract::{Command, Event, Expiry};
use sa::*;
use std::time::Duration;

const GCM: &str = "aes-128-gcm";
const CBC: &str = "aes-256-cbc/sha256";

fn inner() -> Vec<u8> {
    udp(Side::A.host(false), Side::B.host(false), 4000, 53, b"what a host says")
}
/// A packet from A to B with this sequence number; `change` is applied to the SA first.
fn sealed(name: &str, seq: u64, change: impl Fn(&mut SaSpec)) -> Vec<u8> {
    sealed_around(name, seq, &inner(), change)
}
fn sealed_around(name: &str, seq: u64, inner: &[u8], change: impl Fn(&mut SaSpec)) -> Vec<u8> {
    let mut spec = SaSpec { last_seq: seq - 1, ..a_to_b(Side::A, name) };
    change(&mut spec);
    spec.policy = PolicyId(if inner[0] >> 4 == 6 { 2 } else { 1 });
    let mut setup = Side::A.setup();
    setup.sas = vec![spec];
    // Whatever the test wants inside goes in: A is the hostile peer here.
    setup.policies = vec![
        policy(1, prefix("0.0.0.0/0"), prefix("0.0.0.0/0"), REQUIRE),
        policy(2, prefix("::/0"), prefix("::/0"), REQUIRE),
    ];
    let any = |p: &str| TrafficSelector::from(selector(prefix(p), prefix(p)));
    setup.sas[0].selectors = vec![any("0.0.0.0/0"), any("::/0")];
    sent(&gateway(&setup).originate(inner, false)).1
}
fn receiver(name: &str) -> Gateway {
    Side::B.gateway(&[a_to_b(Side::B, name)])
}
fn receive(b: &mut Gateway, packet: &[u8]) -> Vec<Outcome> {
    b.run(WAN, &frame(Side::B, WAN, packet))
}
fn accepts(b: &mut Gateway, packet: &[u8]) -> bool {
    matches!(receive(b, packet)[..], [Outcome::Sent { port: LAN, .. }])
}
fn esp_packet(esp: &[u8]) -> Vec<u8> {
    packet(Side::A.wan(false), Side::B.wan(false), 50, esp)
}
fn udp_esp(src_port: u16, payload: &[u8]) -> Vec<u8> {
    udp(Side::A.wan(false), Side::B.wan(false), src_port, 4500, payload)
}
const ENCAP: Option<Encap> = Some(Encap { local_port: 4500, remote_port: 4500 });

#[test]
fn a1_short_esp_is_dropped_at_every_length() {
    for name in [GCM, CBC, "null/sha256"] {
        let mut b = receiver(name);
        let mut esp = 0x1000_0021u32.to_be_bytes().to_vec();
        esp.extend([0, 0, 0, 1]);
        esp.resize(64, 0);
        let suite = suite(name);
        let least = 8 + suite.iv_len() + 2 + suite.icv_len();
        for len in 0..64 {
            let expected = match len {
                n if n < least => DropReason::EspTooShort,
                n if suite.iv_len() == 16 && !(n - 24 - suite.icv_len()).is_multiple_of(16) => {
                    DropReason::EngineErrorIn
                }
                _ => DropReason::IcvMismatch,
            };
            assert_eq!(dropped(&receive(&mut b, &esp_packet(&esp[..len]))), Some(expected), "{name} {len}");
        }
    }
    let mut b = Side::B.gateway(&[SaSpec { encap: ENCAP, ..a_to_b(Side::B, GCM) }]);
    for len in 0..8 {
        let payload = &0x1000_0021_0000_0001u64.to_be_bytes()[..len];
        assert_eq!(
            dropped(&receive(&mut b, &udp_esp(4500, payload))),
            Some(DropReason::EspTooShort),
            "{len}"
        );
    }
}

#[test]
fn a2_an_spi_that_is_not_ours_finds_nothing() {
    let right = sealed(GCM, 1, |_| {});
    let mut b = receiver(GCM);
    for spi in (0..256).chain([0x1000_0020, 0x1000_0022, 0x2000_0021, u32::MAX]) {
        let mut wrong = right.clone();
        wrong[20..24].copy_from_slice(&u32::to_be_bytes(spi));
        assert_eq!(dropped(&receive(&mut b, &wrong)), Some(DropReason::NoSuchSa), "SPI {spi:#x}");
    }
    let esp = &right[20..];
    let stranger = packet(ip("192.0.2.77"), Side::B.wan(false), 50, esp);
    assert_eq!(dropped(&receive(&mut b, &stranger)), Some(DropReason::NoSuchSa), "another peer's SPI");
    let ah = packet(Side::A.wan(false), Side::B.wan(false), 51, esp);
    assert_eq!(dropped(&receive(&mut b, &ah)), Some(DropReason::NoSuchSa), "AH");
    let v6 = packet(Side::A.wan(true), Side::B.wan(true), 50, esp);
    assert_eq!(dropped(&receive(&mut b, &v6)), Some(DropReason::NoSuchSa), "the other family");
    assert_eq!(dropped(&receive(&mut b, &udp_esp(4500, esp))), Some(DropReason::EncapMismatch));
    assert!(accepts(&mut b, &right));
}

#[test]
fn a2_a_foreign_spi_is_found_although_it_does_not_carry_its_slot() {
    let foreign = |spec: &mut SaSpec| spec.spi = Spi::new(0x0000_0507).expect("an SPI");
    let mut spec = a_to_b(Side::B, GCM);
    foreign(&mut spec);
    let mut b = Side::B.gateway(&[spec.clone()]);
    assert!(accepts(&mut b, &sealed(GCM, 1, foreign)));
    b.apply(Command::RemoveSa { slot: spec.slot, spi: spec.spi }).expect("it is there");
    assert_eq!(dropped(&receive(&mut b, &sealed(GCM, 2, foreign))), Some(DropReason::NoSuchSa));
}

#[test]
fn a3_a_sweep_over_spis_is_reported_a_few_times_a_second() {
    let mut b = receiver(GCM);
    let (mut reports, mut spi) = (0, 12345u32);
    for _ in 0..20_000 {
        spi = spi.wrapping_mul(0x0019_660d).wrapping_add(0x3c6e_f35f);
        let mut esp = vec![0; 40];
        esp[..4].copy_from_slice(&spi.to_be_bytes());
        let outcomes = receive(&mut b, &esp_packet(&esp));
        assert_eq!(dropped(&outcomes), Some(DropReason::NoSuchSa));
        reports += outcomes.iter().filter(|o| matches!(o, Outcome::Event(Event::UnknownSpi { .. }))).count();
    }
    assert_eq!(reports, 4);
}

#[test]
fn a4_no_bit_may_be_flipped() {
    for name in [GCM, CBC] {
        let right = sealed(name, 3, |_| {});
        let mut b = receiver(name);
        for bit in 20 * 8..right.len() * 8 {
            let mut wrong = right.clone();
            wrong[bit / 8] ^= 0x80 >> (bit % 8);
            let outcomes = receive(&mut b, &wrong);
            let expected = match bit / 8 {
                20..24 => DropReason::NoSuchSa,
                _ => DropReason::IcvMismatch,
            };
            assert_eq!(dropped(&outcomes), Some(expected), "{name} bit {bit}");
            assert!(outcomes.iter().all(|o| matches!(o, Outcome::Dropped(_) | Outcome::Event(_))));
        }
        assert!(accepts(&mut b, &right), "the window did not move");
    }
}

#[test]
fn a5_replay_is_accepted_exactly_once() {
    let mut b = receiver(GCM);
    let p = |seq| sealed(GCM, seq, |_| {});
    assert!(accepts(&mut b, &p(1)));
    assert_eq!(dropped(&receive(&mut b, &p(1))), Some(DropReason::ReplaySeen), "at once");
    assert!(accepts(&mut b, &p(65)));
    assert!(accepts(&mut b, &p(2)), "left edge");
    assert_eq!(dropped(&receive(&mut b, &p(2))), Some(DropReason::ReplaySeen), "left edge again");
    assert_eq!(dropped(&receive(&mut b, &p(1))), Some(DropReason::ReplayOld), "one left of it");
    assert!(accepts(&mut b, &p(1000)));
    assert_eq!(dropped(&receive(&mut b, &p(65))), Some(DropReason::ReplayOld), "after the window moved");
    assert_eq!(dropped(&receive(&mut b, &p(1000))), Some(DropReason::ReplaySeen));
}

#[test]
fn a6_a_forged_highest_number_does_not_move_the_window() {
    let mut b = receiver(GCM);
    assert!(accepts(&mut b, &sealed(GCM, 10, |_| {})));
    for seq in [11u32, 100, 0x8000_0000, u32::MAX] {
        let mut forged = sealed(GCM, 11, |_| {});
        forged[24..28].copy_from_slice(&seq.to_be_bytes());
        let last = forged.len() - 1;
        forged[last] ^= 1;
        assert_eq!(dropped(&receive(&mut b, &forged)), Some(DropReason::IcvMismatch), "{seq:#x}");
    }
    for seq in [5, 11, 12] {
        assert!(accepts(&mut b, &sealed(GCM, seq, |_| {})), "{seq}");
    }
}

#[test]
fn a7_extended_numbers_cross_the_wrap_in_any_order() {
    const WRAP: u64 = 1 << 32;
    for name in [GCM, CBC] {
        for window in [32, 64, 128, 1024, 65536] {
            let esn = |s: &mut SaSpec| s.esn = true;
            let start = WRAP - 20;
            let spec = SaSpec { esn: true, replay_window: window, last_seq: start, ..a_to_b(Side::B, name) };
            let mut b = Side::B.gateway(&[spec]);
            for seq in [start + 3, WRAP + 1, WRAP - 1, WRAP + 2, WRAP, start + 1, WRAP + 5] {
                let p = sealed(name, seq, esn);
                assert!(accepts(&mut b, &p), "{name} window {window}: {seq:#x}");
                assert_eq!(dropped(&receive(&mut b, &p)), Some(DropReason::ReplaySeen));
            }
            // Ahead by 2^31: still guessed right. By 2^32: the guess is an epoch too low, and the ICV tells.
            assert!(accepts(&mut b, &sealed(name, WRAP + (1 << 31), esn)));
            let beyond = sealed(name, 3 * WRAP + (1 << 31) + 7, esn);
            assert_eq!(dropped(&receive(&mut b, &beyond)), Some(DropReason::IcvMismatch));
            assert!(accepts(&mut b, &sealed(name, WRAP + (1 << 31) + 7, esn)), "nothing moved");
        }
    }
    // The sender goes over the wrap as well, and the high half is what changes the ICV.
    let mut a = Side::A.gateway(&[SaSpec { esn: true, last_seq: WRAP - 2, ..a_to_b(Side::A, GCM) }]);
    let lows: Vec<u32> = (0..3)
        .map(|_| {
            let p = sent(&a.run(LAN, &frame(Side::A, LAN, &inner()))).1;
            u32::from_be_bytes([p[24], p[25], p[26], p[27]])
        })
        .collect();
    assert_eq!(lows, [u32::MAX, 0, 1]);
}

//= test rfc4303#3.3.3/no-cycle
#[test]
fn a8_at_the_last_number_the_sa_stops() {
    for (esn, last) in [(false, u64::from(u32::MAX)), (true, u64::MAX - 1)] {
        let spec = SaSpec { esn, last_seq: last - 2, ..a_to_b(Side::A, GCM) };
        let (slot, spi) = (spec.slot, spec.spi);
        let mut a = Side::A.gateway(&[spec]);
        let mut run = || a.run(LAN, &frame(Side::A, LAN, &inner()));
        let (first, second) = (sent(&run()).1, sent(&run()).1);
        assert_ne!(first[28..36], second[28..36], "IVs differ");
        let outcomes = run();
        let hard = Outcome::Event(Event::HardExpire { slot, spi, why: Expiry::Sequence });
        assert_eq!(outcomes, [Outcome::Dropped(DropReason::SeqExhausted), hard]);
        for _ in 0..200 {
            assert_eq!(run(), [Outcome::Dropped(DropReason::SeqExhausted)]);
        }
    }
    // The soft limit asks for a successor long before.
    let soft = u64::from(u32::MAX) - u64::from(u32::MAX) / 8;
    let spec = SaSpec { last_seq: soft - 2, ..a_to_b(Side::A, GCM) };
    let (slot, spi) = (spec.slot, spec.spi);
    let mut a = Side::A.gateway(&[spec]);
    let asked: Vec<bool> = (0..4)
        .map(|_| {
            let event = Outcome::Event(Event::SoftExpire { slot, spi, why: Expiry::Sequence });
            a.run(LAN, &frame(Side::A, LAN, &inner())).contains(&event)
        })
        .collect();
    assert_eq!(asked, [false, true, false, false]);
}

#[test]
fn a10_cbc_ivs_do_not_follow_from_the_wire() {
    let mut a = Side::A.gateway(&[a_to_b(Side::A, CBC)]);
    let mut seen = std::collections::HashSet::new();
    let mut ones = [0u32; 128];
    for _ in 0..2000 {
        let p = sent(&a.run(LAN, &frame(Side::A, LAN, &inner()))).1;
        // Neither an earlier IV nor an earlier ciphertext block (SP 800-38A, appendix C).
        for (n, block) in p[28..].chunks_exact(16).enumerate() {
            let block: [u8; 16] = block.try_into().expect("16 bytes");
            assert!(seen.insert(block), "block {n} was on the wire before");
        }
        for (bit, count) in ones.iter_mut().enumerate() {
            *count += u32::from(p[28 + bit / 8] >> (bit % 8) & 1);
        }
    }
    assert!(ones.iter().all(|n| (700..1300).contains(n)), "a bit that hardly changes: {ones:?}");
}

#[test]
fn a11_bad_trailers_are_as_silent_as_a_bad_icv() {
    // The hostile peer has the keys: RustCrypto seals what no ESP implementation would.
    use fastpath::crypto::{CpuCrypto, CpuEngineKind};
    let spec = a_to_b(Side::A, GCM);
    let mut cpu = CpuCrypto::new(CpuEngineKind::RustCrypto).expect("an engine");
    let key = cpu
        .new_key(spec.suite, Direction::Outbound, spec.encryption_key.expose(), spec.salt.expose(), &[])
        .expect("a key");
    let mut seq = 0u32;
    let mut seal = |plain: &[u8]| {
        seq += 1;
        let mut esp = 0x1000_0021u32.to_be_bytes().to_vec();
        esp.extend(seq.to_be_bytes());
        esp.extend(u64::from(seq).to_be_bytes());
        esp.extend(plain);
        esp.extend([0; 16]);
        let mut ops = [fastpath::crypto::cpu::EspOp { key: &key, esp: &mut esp, seq_high: None, ok: false }];
        cpu.seal(&mut ops);
        assert!(ops[0].ok);
        esp_packet(&esp)
    };
    let with_trailer =
        |padding: &[u8], pad_len: u8, next: u8| [&inner()[..], padding, &[pad_len, next]].concat();
    let mut b = receiver(GCM);
    for (case, plain, expected) in [
        ("pad length beyond the payload", with_trailer(&[], 255, 4), DropReason::BadTrailer),
        ("padding that does not count", with_trailer(&[1, 3], 2, 4), DropReason::BadTrailer),
        ("next header 0", with_trailer(&[1, 2], 2, 0), DropReason::BadTrailer),
        ("next header 255", with_trailer(&[1, 2], 2, 255), DropReason::BadTrailer),
        ("IPv4 that says IPv6", with_trailer(&[1, 2], 2, 41), DropReason::BadTrailer),
        ("nothing inside", vec![0, 4], DropReason::BadTrailer),
        ("dummy", with_trailer(&[1, 2], 2, 59), DropReason::DummyPacket),
    ] {
        assert_eq!(receive(&mut b, &seal(&plain)), [Outcome::Dropped(expected)], "{case}");
    }
    let tfc = with_trailer(&[0x55; 300], 0, 4);
    assert_eq!(sent(&receive(&mut b, &seal(&tfc))).1, with_ttl(&inner(), 63), "TFC padding is cut off");
}

#[test]
fn a12_the_inner_packet_must_be_what_the_sa_is_for() {
    let (a, b) = (Side::A.host(false), Side::B.host(false));
    let only_dns = |spec: &mut SaSpec| {
        spec.selectors[0].protocol = Some(17);
        spec.selectors[0].local_port = PortRange::one(53);
    };
    let mut later_fragment = udp(a, b, 4000, 53, b"12345678");
    later_fragment[6..8].copy_from_slice(&[0, 9]);
    let later_fragment = with_ttl(&later_fragment, 64);
    let mut hidden_port = vec![60, 0, 1, 4, 0, 0, 0, 0, 17, 0, 1, 4, 0, 0, 0, 0];
    hidden_port.extend(&udp(a, b, 4000, 53, b"x")[20..]);
    let v6 = packet(Side::A.host(true), Side::B.host(true), 60, &hidden_port);
    let mut dns_only = a_to_b(Side::B, GCM);
    only_dns(&mut dns_only);
    let cases = [
        ("fits", udp(a, b, 4000, 53, b"x"), None),
        ("source", udp(ip("10.9.0.1"), b, 4000, 53, b"x"), Some(DropReason::SelectorMismatch)),
        ("destination", udp(a, ip("10.9.0.1"), 4000, 53, b"x"), Some(DropReason::SelectorMismatch)),
        ("port", udp(a, b, 4000, 54, b"x"), Some(DropReason::SelectorMismatch)),
        ("protocol", packet(a, b, 6, &[0, 80, 0, 53, 0, 0, 0, 0]), Some(DropReason::SelectorMismatch)),
        ("later fragment", later_fragment, Some(DropReason::SelectorMismatch)),
        ("other family", v6.clone(), Some(DropReason::SelectorMismatch)),
    ];
    for (case, inner, expected) in cases {
        let mut b = Side::B.gateway(&[dns_only.clone()]);
        let outcomes = receive(&mut b, &sealed_around(GCM, 1, &inner, |_| {}));
        assert_eq!(dropped(&outcomes), expected, "{case}");
        let audited = |o: &&Outcome| matches!(o, Outcome::Event(Event::Mismatch { .. }));
        let audits = usize::from(expected.is_some());
        assert_eq!(outcomes.iter().filter(audited).count(), audits, "{case}");
        assert_eq!(outcomes.len(), 1 + audits, "{case}");
    }
    // The port behind extension headers is found: 54 is asked for, 53 comes.
    let mut v6_sa = a_to_b(Side::B, GCM);
    v6_sa.selectors = vec![selector(Side::B.lan(true), Side::A.lan(true)).into()];
    v6_sa.selectors[0].local_port = PortRange::one(54);
    let mut b = Side::B.gateway(&[v6_sa]);
    let outcomes = receive(&mut b, &sealed_around(GCM, 1, &v6, |_| {}));
    assert_eq!(dropped(&outcomes), Some(DropReason::SelectorMismatch));
    // Our own address as inner source, although the selectors would have it.
    let mut any = a_to_b(Side::B, GCM);
    any.selectors = vec![selector(prefix("0.0.0.0/0"), prefix("0.0.0.0/0")).into()];
    let mut b = Side::B.gateway(&[any]);
    let ours = udp(ip("10.2.0.1"), Side::B.host(false), 1, 2, b"x");
    assert_eq!(
        dropped(&receive(&mut b, &sealed_around(GCM, 1, &ours, |_| {}))),
        Some(DropReason::SelectorMismatch)
    );
}

#[test]
fn a13_clear_packets_for_protected_places_are_dropped_in_silence() {
    let mut b = Side::B.gateway(&[]);
    let (a_host, b_host) = (Side::A.host(false), Side::B.host(false));
    for (case, clear) in [
        ("a host that exists", udp(a_host, b_host, 1, 2, b"x")),
        ("one that does not", udp(a_host, ip("10.2.0.99"), 1, 2, b"x")),
        ("the gateway's own address there", udp(a_host, ip("10.2.0.1"), 1, 2, b"x")),
        (
            "a probe into a connection",
            packet(a_host, b_host, 6, &[0, 80, 200, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0x50, 4, 0, 0]),
        ),
        ("no hops left", with_ttl(&udp(a_host, b_host, 1, 2, b"x"), 1)),
    ] {
        let outcomes = receive(&mut b, &clear);
        assert_eq!(outcomes, [Outcome::Dropped(DropReason::ClearForProtected)], "{case}");
    }
    // What no policy speaks of goes its way, and so do IKE and neighbour discovery.
    let free = udp(ip("192.0.2.9"), b_host, 1, 2, b"x");
    assert!(matches!(receive(&mut b, &free)[..], [Outcome::Sent { port: LAN, .. }]));
    let ike = udp(Side::A.wan(false), Side::B.wan(false), 500, 500, &[0; 28]);
    assert!(matches!(receive(&mut b, &ike)[..], [Outcome::Ike { .. }]));
    let everything = [
        policy(1, prefix("0.0.0.0/0"), Side::A.lan(false), REQUIRE),
        policy(2, prefix("::/0"), prefix("2001:db8::/32"), REQUIRE),
    ];
    b.set_policies(&everything).expect("a transaction");
    assert!(matches!(receive(&mut b, &ike)[..], [Outcome::Ike { .. }]));
    let mut nd = vec![135, 0, 0, 0, 0, 0, 0, 0];
    nd.extend([0x20, 1, 0xd, 0xb8, 0, 0xf, 0, 0, 0, 0, 0, 0, 0, 0, 0, 2]);
    let solicitation = packet(Side::A.wan(true), Side::B.wan(true), 58, &nd);
    assert!(matches!(receive(&mut b, &solicitation)[..], [Outcome::ToHost { .. }]));
    let ping = packet(Side::A.wan(true), Side::B.wan(true), 58, &[128, 0, 0, 0, 0, 0, 0, 0]);
    assert_eq!(dropped(&receive(&mut b, &ping)), Some(DropReason::ClearForProtected));
}

#[test]
fn a19_what_routers_say_of_sizes_is_believed_only_with_proof() {
    let spec = a_to_b(Side::A, GCM);
    let mut a = Side::A.gateway(std::slice::from_ref(&spec));
    let big = udp(Side::A.host(false), Side::B.host(false), 4000, 53, &[0x5a; 1400]);
    let lan = frame(Side::A, LAN, &big);
    let passes = |a: &mut Gateway| matches!(a.run(LAN, &lan)[..], [Outcome::Sent { port: WAN, .. }]);
    let (_, outer) = sent(&a.run(LAN, &lan));
    let said = |a: &mut Gateway, mtu: u16, change: &dyn Fn(&mut Vec<u8>)| {
        let mut quoted = outer.clone();
        change(&mut quoted);
        let error = fastpath::host::IcmpError::TooBig { mtu };
        let icmp = fastpath::host::icmp::error(&quoted, ip("192.0.2.99"), error).expect("an error");
        a.run(WAN, &frame(Side::A, WAN, &icmp))
    };
    let refused = [Outcome::Dropped(DropReason::HintRefused)];
    let remote = Side::B.wan(false);
    for (what, mtu, change) in [
        ("an unknown SPI", 1400, (&|p: &mut Vec<u8>| p[20] ^= 1) as &dyn Fn(&mut Vec<u8>)),
        ("a number never sent", 1400, &|p| p[27] = 200),
        ("number 0", 1400, &|p| p[27] = 0),
        ("another peer", 1400, &|p| p[19] = 77),
        ("as large as the packet", outer.len() as u16, &|_| {}),
        ("larger", 65535, &|_| {}),
    ] {
        assert_eq!(said(&mut a, mtu, change), refused, "{what}");
        assert!(passes(&mut a), "{what}");
    }
    // The true one; smaller ones later only down to what everybody carries; larger ones never.
    assert_eq!(said(&mut a, 1400, &|_| {}), [Outcome::Narrow { remote, mtu: 1400 }]);
    assert_eq!(dropped(&a.run(LAN, &lan)), Some(DropReason::TooBig));
    assert_eq!(said(&mut a, 1450, &|_| {}), refused);
    for mtu in [0, 67, 68, 576] {
        let told = said(&mut a, mtu, &|_| {});
        assert!(
            told == [Outcome::Narrow { remote, mtu: if mtu == 0 { 1006 } else { 576 } }] || told == refused,
            "{mtu}: {told:?}"
        );
    }
    // A new SA to the same peer knows it at once.
    let next = SaSpec { slot: SaSlot(2), spi: Spi::new(0x1000_0022).expect("an SPI"), ..spec };
    a.apply(Command::InstallSa(Box::new(next))).expect("room");
    assert_eq!(dropped(&a.run(LAN, &lan)), Some(DropReason::TooBig));
    // Packets that may be fragmented still pass, and after ten minutes large ones are tried again.
    let mut splits = big.clone();
    splits[6] = 0;
    let sum_of = |p: &mut Vec<u8>| {
        p[10..12].fill(0);
        let sum = wire::checksum(&p[..20]);
        p[10..12].copy_from_slice(&sum.to_be_bytes());
    };
    sum_of(&mut splits);
    let pieces = a.run(LAN, &frame(Side::A, LAN, &splits));
    assert!(
        pieces.len() > 2
            && pieces.iter().all(|o| matches!(o, Outcome::Sent { frame, .. } if frame.len() <= 14 + 576))
    );
    a.advance(Duration::from_secs(600));
    assert!(passes(&mut a));
}

#[test]
fn a20_other_icmp_from_the_black_side_changes_nothing() {
    let mut a = Side::A.gateway(&[a_to_b(Side::A, GCM)]);
    let lan = frame(Side::A, LAN, &inner());
    let (_, outer) = sent(&a.run(LAN, &lan));
    for kind in [[3, 0], [3, 1], [3, 2], [3, 3], [3, 13], [4, 0], [5, 1], [11, 0], [12, 0]] {
        for source in ["192.0.2.99", "192.0.2.2"] {
            let mut icmp = vec![kind[0], kind[1], 0, 0, 0, 0, 2, 64];
            icmp.extend(&outer[..28]);
            let sum = wire::checksum(&icmp);
            icmp[2..4].copy_from_slice(&sum.to_be_bytes());
            let packet = packet(ip(source), Side::A.wan(false), 1, &icmp);
            let outcomes = a.run(WAN, &frame(Side::A, WAN, &packet));
            assert!(matches!(outcomes[..], [Outcome::ToHost { .. }]), "{kind:?}: {outcomes:?}");
        }
        assert!(matches!(a.run(LAN, &lan)[..], [Outcome::Sent { port: WAN, .. }]), "{kind:?}");
    }
}

/// A packet in pieces of at most `mtu` bytes.
fn pieces(packet: &[u8], mtu: u16) -> Vec<Vec<u8>> {
    let mut packet = packet.to_vec();
    packet[6] &= !0x40;
    fastpath::host::fragment::split(packet, mtu, 77)
}

#[test]
fn a15_esp_in_fragments_is_put_together_in_any_order() {
    for name in [GCM, CBC] {
        let long = udp(Side::A.host(false), Side::B.host(false), 4000, 53, &[0x5a; 1300]);
        let mut b = receiver(name);
        for (seq, mtu) in [(1, 1300), (2, 600), (3, 68), (4, 28)] {
            let mut parts = pieces(&sealed_around(name, seq, &long, |_| {}), mtu);
            // The first piece of 28 bytes holds the ESP header and nothing of the IV.
            if seq % 2 == 0 {
                parts.reverse();
            }
            let last = parts.pop().expect("pieces");
            let waits = |outcomes: Vec<Outcome>| outcomes == [Outcome::Held];
            match parts.len() < 64 {
                true => {
                    assert!(parts.iter().all(|part| waits(receive(&mut b, part))), "{name} {mtu}");
                    assert!(accepts(&mut b, &last), "{name} {mtu}");
                }
                // More than one datagram may have.
                false => {
                    let outcomes: Vec<_> = parts.iter().flat_map(|part| receive(&mut b, part)).collect();
                    let lost = outcomes.iter().filter(|o| **o == Outcome::Dropped(DropReason::FragmentBad));
                    assert_eq!(lost.count(), parts.len());
                }
            }
        }
    }
}

#[test]
fn a15_fragments_that_overlap_or_never_end_deliver_nothing() {
    let long = udp(Side::A.host(false), Side::B.host(false), 4000, 53, &[0x5a; 1300]);
    let right = sealed_around(GCM, 1, &long, |_| {});
    let parts = pieces(&right, 600);
    let mut b = receiver(GCM);
    let mut forged = parts[1].clone();
    *forged.last_mut().expect("bytes") ^= 1;
    let order = [&parts[0], &parts[1], &forged, &parts[2]];
    let outcomes: Vec<_> = order.into_iter().flat_map(|part| receive(&mut b, part)).collect();
    let (held, lost) = (Outcome::Held, Outcome::Dropped(DropReason::FragmentBad));
    let mut expected = vec![held.clone(), held.clone()];
    expected.extend(vec![lost; 4]);
    assert_eq!(outcomes, expected, "each fragment is counted once, the datagram is gone");

    let late = Outcome::Dropped(DropReason::FragmentLate);
    b.advance(Duration::from_secs(15));
    assert_eq!(receive(&mut b, &parts[0]), [held]);
    assert_eq!(b.advance(Duration::from_secs(14)), []);
    assert_eq!(b.advance(Duration::from_secs(1)), [late]);
    assert!(accepts(&mut b, &right), "the window did not move");
}

#[test]
fn a15_a_flood_of_first_fragments_leaves_true_traffic_its_share() {
    let long = udp(Side::A.host(false), Side::B.host(false), 4000, 53, &[0x5a; 1300]);
    let parts = pieces(&sealed_around(GCM, 1, &long, |_| {}), 1000);
    let mut b = receiver(GCM);
    assert_eq!(receive(&mut b, &parts[0]), [Outcome::Held]);
    let mut given_up = 0;
    for id in 0..2000u32 {
        let forged = fastpath::host::fragment::split(
            udp(ip("198.51.100.66"), Side::B.wan(false), 4500, 4500, &[0; 1300]),
            1000,
            id,
        );
        let outcomes = receive(&mut b, &forged[0]);
        given_up += outcomes.iter().filter(|o| **o == Outcome::Dropped(DropReason::FragmentFull)).count();
        assert!(outcomes.contains(&Outcome::Held), "{outcomes:?}");
    }
    assert_eq!(given_up, 2001 - fastpath::host::reassemble::DATAGRAMS);
    assert!(accepts(&mut b, &parts[1]), "the true datagram was kept");
}

#[test]
fn a15_ipv6_fragments_and_atomic_ones() {
    let spec = |side: Side| {
        let ends = TunnelEnds { local: side.wan(true), remote: side.other().wan(true) };
        SaSpec { ends, ..a_to_b(side, GCM) }
    };
    let long = udp(Side::A.host(false), Side::B.host(false), 4000, 53, &[0x5a; 1300]);
    let (mut a, mut b) = (Side::A.gateway(&[spec(Side::A)]), Side::B.gateway(&[spec(Side::B)]));
    let lan = |packet: &[u8]| frame(Side::A, LAN, packet);
    let (_, whole) = sent(&a.run(LAN, &lan(&long)));
    let parts = fastpath::host::fragment::split(whole, 1280, 5);
    assert_eq!(parts.len(), 2);
    assert_eq!(receive(&mut b, &parts[1]), [Outcome::Held]);
    assert!(accepts(&mut b, &parts[0]));
    // An atomic fragment is a whole datagram (RFC 6946), whatever else has its identification.
    let (_, whole) = sent(&a.run(LAN, &lan(&long)));
    let mut atomic = whole[..40].to_vec();
    atomic[6] = 44;
    atomic[4..6].copy_from_slice(&(whole.len() as u16 - 40 + 8).to_be_bytes());
    atomic.extend([50, 0, 0, 0, 0, 0, 0, 5]);
    atomic.extend(&whole[40..]);
    assert!(accepts(&mut b, &atomic));
}

#[test]
fn a15_ike_in_fragments_is_put_together() {
    let message = vec![0x77; 3500];
    for (port, skip) in [(500, 0), (4500, 4)] {
        let mut b = receiver(GCM);
        let marked = [&vec![0; skip][..], &message].concat();
        let mut parts = pieces(&udp(Side::A.wan(false), Side::B.wan(false), port, port, &marked), 1500);
        let last = parts.pop().expect("pieces");
        assert!(parts.iter().all(|part| receive(&mut b, part) == [Outcome::Held]));
        let outcomes = receive(&mut b, &last);
        assert!(
            matches!(&outcomes[..], [Outcome::Ike { payload, .. }] if *payload == message),
            "{outcomes:?}"
        );
    }
}

#[test]
fn a18_port_4500_is_told_apart() {
    let encap = |spec: &mut SaSpec| spec.encap = ENCAP;
    let mut spec = a_to_b(Side::B, GCM);
    encap(&mut spec);
    let (slot, spi) = (spec.slot, spec.spi);
    let mut b = Side::B.gateway(&[spec]);
    let right = sealed(GCM, 1, encap);
    let esp = &right[28..];
    assert_eq!(receive(&mut b, &udp_esp(4500, &[0xff])), [Outcome::Dropped(DropReason::Keepalive)]);
    for (case, payload) in [
        ("four zeros alone", vec![0; 4]),
        ("marker with ESP behind it", [&[0; 4][..], esp].concat()),
        ("an SPI of zero", [&[0; 4][..], &esp[4..]].concat()),
    ] {
        let [Outcome::Ike { payload: got, .. }] = &receive(&mut b, &udp_esp(4500, &payload))[..] else {
            panic!("{case}: not for IKE");
        };
        assert_eq!(*got, payload[4..], "{case}");
    }
    let garbage = receive(&mut b, &udp_esp(4500, &[0xab; 60]));
    assert_eq!(dropped(&garbage), Some(DropReason::NoSuchSa));

    // The NAT moves: only an authentic packet with a new highest number says so.
    let moved = |p: &[u8]| udp_esp(61000, &p[28..]);
    let said =
        |outcomes: &[Outcome]| outcomes.iter().any(|o| matches!(o, Outcome::Event(Event::PeerMoved { .. })));
    assert!(accepts(&mut b, &sealed(GCM, 10, encap)));
    let mut forged = moved(&sealed(GCM, 11, encap));
    *forged.last_mut().expect("a byte") ^= 1;
    let outcomes = receive(&mut b, &forged);
    assert_eq!(outcomes, [Outcome::Dropped(DropReason::IcvMismatch)]);
    let late = receive(&mut b, &moved(&sealed(GCM, 9, encap)));
    assert!(matches!(late[..], [Outcome::Sent { .. }]) && !said(&late), "authentic, but not the newest");
    let newest = receive(&mut b, &moved(&sealed(GCM, 12, encap)));
    let from = std::net::SocketAddr::new(Side::A.wan(false), 61000);
    assert_eq!(newest[1..], [Outcome::Event(Event::PeerMoved { slot, spi, from })]);
    assert!(!said(&receive(&mut b, &moved(&sealed(GCM, 13, encap)))), "said once");
    // The slow path agrees, and packets from there are the usual thing.
    let ends = TunnelEnds { local: Side::B.wan(false), remote: Side::A.wan(false) };
    let to = Some(Encap { local_port: 4500, remote_port: 61000 });
    b.apply(Command::MoveSa { slot, spi, ends, encap: to }).expect("it is there");
    assert!(!said(&receive(&mut b, &moved(&sealed(GCM, 14, encap)))));
    assert_eq!(dropped(&receive(&mut b, &esp_packet(esp))), Some(DropReason::EncapMismatch), "native ESP");
}

#[test]
fn a25_without_an_sa_nothing_leaves_and_one_is_asked_for() {
    let mut a = Side::A.gateway(&[]);
    let mut acquires = 0;
    let mut push = |a: &mut Gateway| {
        let outcomes = a.run(LAN, &frame(Side::A, LAN, &inner()));
        assert_eq!(outcomes[0], Outcome::Dropped(DropReason::NoSa));
        acquires += outcomes.len() - 1;
        outcomes
    };
    let first = push(&mut a);
    assert!(
        matches!(first[1], Outcome::Event(Event::Acquire { policy: PolicyId(1), packet }) if packet.dst_port == 53)
    );
    for _ in 0..5000 {
        push(&mut a);
    }
    // The slow path gives up; after its pause the policy asks again, once.
    a.apply(Command::AcquireFailed { policy: PolicyId(1), retry_ms: 500 }).expect("the policy is there");
    a.advance(Duration::from_millis(499));
    push(&mut a);
    a.advance(Duration::from_millis(1));
    for _ in 0..10 {
        push(&mut a);
    }
    assert_eq!(acquires, 2);
    // With an SA the same packet goes out protected, and after it is gone the policy asks again.
    let spec = a_to_b(Side::A, GCM);
    a.apply(Command::InstallSa(Box::new(spec.clone()))).expect("room");
    let (_, protected) = sent(&a.run(LAN, &frame(Side::A, LAN, &inner())));
    assert_eq!(protected[9], 50);
    a.apply(Command::RemoveSa { slot: spec.slot, spi: spec.spi }).expect("it is there");
    let outcomes = a.run(LAN, &frame(Side::A, LAN, &inner()));
    assert!(matches!(
        outcomes[..],
        [Outcome::Dropped(DropReason::NoSa), Outcome::Event(Event::Acquire { .. })]
    ));
    // An SA that was narrowed to other ports does not serve this packet: never clear, still a question.
    let mut narrowed = a_to_b(Side::A, GCM);
    narrowed.selectors[0].protocol = Some(6);
    a.apply(Command::InstallSa(Box::new(narrowed))).expect("room");
    assert_eq!(dropped(&a.run(LAN, &frame(Side::A, LAN, &inner()))), Some(DropReason::NoSa));
}
