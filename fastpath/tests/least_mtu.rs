//! Inner IPv6 packets of up to 1280 bytes pass, however narrow the way is (RFC 8200 5, RFC 2473 7.1), and what the host itself
//! sends in transport mode is fragmented once it is protected.
mod common;
use common::*;
use fastpath::offline::{Gateway, Outcome, Setup};
use sa::*;
use wire::ip::Packet;

/// Links of 1300 bytes between the gateways.
fn narrow(side: Side, sas: &[SaSpec], more: &[PolicySpec]) -> Gateway {
    let mut setup = Setup { sas: sas.to_vec(), ..side.setup() };
    setup.interfaces[1].mtu = 1300;
    setup.policies.splice(0..0, more.iter().copied());
    gateway(&setup)
}
/// For the IPv6 networks, over either family.
fn tunnel(side: Side, name: &str, outer_v6: bool) -> SaSpec {
    SaSpec {
        ends: TunnelEnds { local: side.wan(outer_v6), remote: side.other().wan(outer_v6) },
        policy: PolicyId(2),
        selectors: vec![selector(side.lan(true), side.other().lan(true)).into()],
        ..a_to_b(side, name)
    }
}
/// An IPv6 packet of so many bytes.
fn inner(len: usize) -> Vec<u8> {
    let packet = udp(Side::A.host(true), Side::B.host(true), 4000, 53, &vec![7; len - 48]);
    assert_eq!(packet.len(), len);
    packet
}
fn frames(outcomes: &[Outcome]) -> Vec<Vec<u8>> {
    let sent = |outcome: &Outcome| match outcome {
        Outcome::Sent { frame, .. } => Some(frame[14..].to_vec()),
        _ => None,
    };
    outcomes.iter().filter_map(sent).collect()
}

//= test rfc8200#5/least-mtu
#[test]
fn ipv6_of_1280_bytes_passes_a_narrow_way_in_pieces() {
    for (name, outer_v6) in [
        ("aes-128-gcm", false),
        ("aes-128-gcm", true),
        ("aes-256-cbc/sha256", false),
        ("aes-256-cbc/sha256", true),
    ] {
        let mut a = narrow(Side::A, &[tunnel(Side::A, name, outer_v6)], &[]);
        let mut b = narrow(Side::B, &[tunnel(Side::B, name, outer_v6)], &[]);
        for (len, count) in [(1000, 1), (1270, 2), (1280, 2)] {
            let packet = inner(len);
            let pieces = frames(&a.run(LAN, &frame(Side::A, LAN, &packet)));
            assert_eq!(pieces.len(), count, "{name} {outer_v6} {len}");
            let mut last = Vec::new();
            for piece in &pieces {
                let parsed = Packet::parse(piece).expect("a packet");
                assert!(piece.len() <= 1300 && parsed.fragment.is_some() == (count > 1));
                last = b.run(WAN, &frame(Side::B, WAN, piece));
            }
            assert_eq!(frames(&last), [with_ttl(&packet, 62)], "{name} {outer_v6} {len}: {last:?}");
        }
        // Larger ones are the sender's business.
        let outcomes = a.run(LAN, &frame(Side::A, LAN, &inner(1281)));
        assert_eq!(dropped(&outcomes), Some(DropReason::TooBig), "{outcomes:?}");
    }
}
#[test]
fn the_hosts_ipv6_is_fragmented_after_it_was_protected() {
    let ends = |side: Side| selector(Prefix::host(side.wan(true)), Prefix::host(side.other().wan(true)));
    let encrypt = Action::Encrypt { level: Level::Require, tunnel: false };
    let policy = |side| PolicySpec {
        id: PolicyId(9),
        selector: ends(side),
        action: encrypt,
        framing: Framing::default(),
    };
    for (protocol, name) in [(Protocol::Esp, "aes-128-gcm"), (Protocol::Ah, "null/sha256")] {
        let spec = |side| SaSpec {
            protocol,
            mode: Mode::Transport,
            policy: PolicyId(9),
            selectors: vec![ends(side).into()],
            ..tunnel(side, name, true)
        };
        let mut a = narrow(Side::A, &[spec(Side::A)], &[policy(Side::A)]);
        let mut b = narrow(Side::B, &[spec(Side::B)], &[policy(Side::B)]);
        let packet = udp(Side::A.wan(true), Side::B.wan(true), 4000, 53, &[7; 1252]);
        let pieces = frames(&a.originate(&packet, false));
        assert_eq!(pieces.len(), 2, "{protocol:?}");
        assert!(pieces.iter().all(|piece| piece.len() <= 1300));
        // In the other order.
        b.run(WAN, &frame(Side::B, WAN, &pieces[1]));
        let outcomes = b.run(WAN, &frame(Side::B, WAN, &pieces[0]));
        let [Outcome::ToHost { packet: got, .. }] = &outcomes[..] else {
            panic!("{protocol:?} {outcomes:?}")
        };
        assert_eq!(got[14..], packet);
        // TCP is told, since it can do something about it.
        let tcp = common::packet(Side::A.wan(true), Side::B.wan(true), 6, &[0x50; 1255]);
        assert_eq!(dropped(&a.originate(&tcp, false)), Some(DropReason::TooBig));
    }
}
