//! What a policy may ask of ESP in tunnel mode beyond protecting packets.
mod common;
use common::*;
use fastpath::offline::{Gateway, Outcome};
use proptest::prelude::*;
use sa::*;
use wire::ip::Packet;

fn sender(framing: Framing, v6_outside: bool, suite: &str) -> Gateway {
    let mut setup = Side::A.setup();
    setup.policies.iter_mut().for_each(|policy| policy.framing = framing);
    let ends = TunnelEnds { local: Side::A.wan(v6_outside), remote: Side::B.wan(v6_outside) };
    let any = |p: &str| TrafficSelector::from(selector(prefix(p), prefix(p)));
    let spec = |n: u32| SaSpec {
        slot: SaSlot(n),
        spi: Spi::new(0x1000_0020 + n).expect("an SPI"),
        policy: PolicyId(n),
        ends,
        selectors: vec![any("0.0.0.0/0"), any("::/0")],
        ..a_to_b(Side::A, suite)
    };
    setup.sas = vec![spec(1), spec(2)];
    gateway(&setup)
}
fn receiver(v6_outside: bool, suite: &str) -> Gateway {
    let ends = TunnelEnds { local: Side::B.wan(v6_outside), remote: Side::A.wan(v6_outside) };
    let specs = [1, 2].map(|n: u32| SaSpec {
        slot: SaSlot(n),
        spi: Spi::new(0x1000_0020 + n).expect("an SPI"),
        policy: PolicyId(n),
        ends,
        selectors: vec![selector(Side::B.lan(n == 2), Side::A.lan(n == 2)).into()],
        ..a_to_b(Side::B, suite)
    });
    Side::B.gateway(&specs)
}
fn send(a: &mut Gateway, inner: &[u8]) -> Vec<Outcome> {
    a.run(LAN, &frame(Side::A, LAN, inner))
}
fn all_sent(outcomes: &[Outcome]) -> Vec<Vec<u8>> {
    let packet = |o: &Outcome| match o {
        Outcome::Sent { port: WAN, frame } => frame[14..].to_vec(),
        other => panic!("not sent: {other:?}"),
    };
    outcomes.iter().map(packet).collect()
}
/// What the far LAN gets.
fn opened(b: &mut Gateway, outer: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let outcomes: Vec<_> = outer.iter().flat_map(|p| b.run(WAN, &frame(Side::B, WAN, p))).collect();
    let delivered = |o: Outcome| match o {
        Outcome::Sent { port: LAN, frame } => Some(frame[14..].to_vec()),
        Outcome::Held => None,
        other => panic!("{other:?}"),
    };
    outcomes.into_iter().filter_map(delivered).collect()
}
fn inner(v6: bool, len: usize, tos: u8, df: bool) -> Vec<u8> {
    let mut packet = udp(Side::A.host(v6), Side::B.host(v6), 4000, 53, &vec![0x5a; len]);
    if v6 {
        packet[0] = 0x60 | tos >> 4;
        packet[1] = tos << 4;
    } else {
        packet[1] = tos;
        packet[6] = if df { 0x40 } else { 0 };
    }
    with_ttl(&packet, 64)
}
const CASES: [(&str, bool); 4] = [
    ("aes-128-gcm", false),
    ("aes-128-gcm", true),
    ("aes-256-cbc/sha256", false),
    ("aes-256-cbc/sha256", true),
];

//= test rfc4301#8.1/df-clear
#[test]
fn the_outer_header_is_what_the_policy_says() {
    for (suite, v6_outside) in CASES {
        for (dont_fragment, dscp) in [
            (DontFragment::Inherit, None),
            (DontFragment::Set, Some(46)),
            (DontFragment::Clear, Some(0)),
            (DontFragment::Inherit, Some(8)),
        ] {
            let framing = Framing { dont_fragment, dscp, ..Framing::default() };
            let (mut a, mut b) = (sender(framing, v6_outside, suite), receiver(v6_outside, suite));
            for (v6, tos, df) in [(false, 0xb9, true), (false, 0x02, false), (true, 0xb9, true)] {
                let packet = inner(v6, 100, tos, df);
                let outer = all_sent(&send(&mut a, &packet));
                let header = Packet::parse(&outer[0]).expect("a packet");
                let ecn = tos & 3;
                assert_eq!(header.tos, dscp.map_or(tos & !3, |dscp| dscp << 2) | ecn, "{framing:?}");
                let expected = match dont_fragment {
                    _ if v6_outside => true,
                    DontFragment::Inherit => df,
                    DontFragment::Set => true,
                    DontFragment::Clear => false,
                };
                assert_eq!(header.dont_fragment, expected, "{framing:?} {v6} {df}");
                assert_eq!(
                    opened(&mut b, &outer),
                    [with_ttl(&packet, 62)],
                    "the inner packet stays as it is"
                );
            }
        }
    }
}

//= test rfc4303#2.7/tfc-padding
#[test]
fn padded_packets_have_one_size_and_lose_it_again() {
    for (suite, v6_outside) in CASES {
        let framing = Framing { pad_to: 1000, ..Framing::default() };
        let (mut a, mut b) = (sender(framing, v6_outside, suite), receiver(v6_outside, suite));
        let mut sizes = Vec::new();
        for len in [0, 1, 500, 900] {
            let packet = inner(len % 2 == 1, len, 0, true);
            let outer = all_sent(&send(&mut a, &packet));
            sizes.push(outer[0].len());
            assert_eq!(opened(&mut b, &outer), [with_ttl(&packet, 62)], "{suite} {len}");
        }
        assert!(sizes.iter().all(|size| *size == sizes[0] && *size > 1000), "{suite}: {sizes:?}");
        // As far as they fit the path.
        let mut a = sender(Framing { pad_to: 9000, ..framing }, v6_outside, suite);
        let outer = all_sent(&send(&mut a, &inner(false, 10, 0, true)));
        assert!((1480..=1500).contains(&outer[0].len()), "{suite}: {}", outer[0].len());
    }
}

#[test]
fn with_df_cleared_nothing_is_too_big() {
    for suite in ["aes-128-gcm", "aes-256-cbc/sha256"] {
        let framing = Framing { dont_fragment: DontFragment::Clear, ..Framing::default() };
        let (mut a, mut b) = (sender(framing, false, suite), receiver(false, suite));
        for (v6, len) in [(false, 1450), (true, 1440)] {
            let packet = inner(v6, len, 0, true);
            let outer = all_sent(&send(&mut a, &packet));
            assert!(outer.len() == 2 && outer.iter().all(|p| p.len() <= 1500), "fragments of ESP");
            assert_eq!(opened(&mut b, &outer), [with_ttl(&packet, 62)], "{suite} {v6}");
        }
        // What may be fragmented is so before encryption: the peer needs not put it together.
        let outer = all_sent(&send(&mut a, &inner(false, 1450, 0, false)));
        assert!(
            outer.iter().all(|p| Packet::parse(p).expect("a packet").fragment.is_none()) && outer.len() == 2
        );
        // IPv6 outside leaves fragmentation to the ends.
        let mut a = sender(framing, true, suite);
        assert_eq!(dropped(&send(&mut a, &inner(false, 1450, 0, true))), Some(DropReason::TooBig));
    }
}

#[test]
fn connections_are_told_what_fits() {
    let framing = Framing { clamp_mss: true, ..Framing::default() };
    let mut tcp =
        vec![0x12, 0x34, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0x60, 2, 0xff, 0xff, 0, 0, 0, 0, 2, 4, 5, 180];
    let (src, dst) = (Side::A.host(false), Side::B.host(false));
    let covered = |tcp: &[u8]| [&[10, 1, 0, 10, 10, 2, 0, 10, 0, 6, 0, tcp.len() as u8][..], tcp].concat();
    let sum = wire::checksum(&covered(&tcp));
    tcp[16..18].copy_from_slice(&sum.to_be_bytes());
    let (mut a, mut b) = (sender(framing, false, "aes-128-gcm"), receiver(false, "aes-128-gcm"));
    let outer = all_sent(&send(&mut a, &packet(src, dst, 6, &tcp)));
    let inner = &opened(&mut b, &outer)[0][20..];
    let mss = u16::from_be_bytes([inner[22], inner[23]]);
    assert_eq!(wire::checksum(&covered(inner)), 0);
    // A packet of that segment size fills the tunnel: eight bytes more do not fit.
    let full = |len: usize| {
        dropped(&send(&mut sender(framing, false, "aes-128-gcm"), &packet(src, dst, 6, &vec![0; len])))
    };
    let len = usize::from(mss) + 20;
    assert_eq!((full(len), full(len + 8)), (None, Some(DropReason::TooBig)), "{mss}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]
    #[test]
    fn whatever_is_asked_the_inner_packet_arrives(
        df in 0u8..3, dscp in prop::option::of(0u8..64), clamp_mss: bool, pad_to in 0u16..2000,
        v6: bool, len in 0usize..1453, inner_df: bool, case in 0usize..4,
    ) {
        let dont_fragment = [DontFragment::Inherit, DontFragment::Clear, DontFragment::Set][usize::from(df)];
        let framing = Framing { dont_fragment, dscp, clamp_mss, pad_to };
        let (suite, outside) = CASES[case];
        let (mut a, mut b) = (sender(framing, outside, suite), receiver(outside, suite));
        let packet = inner(v6, len, 0, inner_df);
        let outcomes = send(&mut a, &packet);
        if dropped(&outcomes) != Some(DropReason::TooBig) {
            let outer = all_sent(&outcomes);
            prop_assert!(outer.iter().all(|p| p.len() <= 1500));
            let inside = opened(&mut b, &outer);
            if inside.len() == 1 {
                prop_assert_eq!(&inside[0], &with_ttl(&packet, 62));
            } else {
                let bytes: usize = inside.iter().map(|p| p.len() - 20).sum();
                prop_assert_eq!(bytes, packet.len() - 20, "fragments of it");
            }
        }
    }
}
