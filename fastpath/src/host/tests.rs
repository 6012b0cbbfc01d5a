use super::frame::*;
use super::*;
use proptest::prelude::*;
use std::net::{Ipv4Addr, Ipv6Addr};

const OWN: Mac = [2, 0, 0, 0, 0, 1];
const PEER: Mac = [2, 0, 0, 0, 0, 2];
const OWN4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const PEER4: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 2);
const OWN6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1);
const PEER6: Ipv6Addr = Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2);

fn host() -> Host {
    host_on(None)
}
fn host_on(vlan: Option<u16>) -> Host {
    let addresses = vec![(OWN4.into(), 24), (OWN6.into(), 64)];
    Host::new(vec![Interface { mac: OWN, vlan, mtu: 1500, addresses }])
}
fn run(f: impl FnOnce(&mut Vec<Act>)) -> Vec<Act> {
    let mut out = Vec::new();
    f(&mut out);
    out
}

#[test]
fn arp_request_for_us_is_answered_and_its_sender_learnt() {
    let mut host = host();
    let acts = run(|out| host.on_frame(0, &arp_request(PEER, PEER4, OWN4), 0, out));
    let Act::Send { frame, .. } = &acts[0] else { panic!("{acts:?}") };
    let reply = Arp::parse(frame).unwrap();
    assert_eq!((reply.sender_mac, reply.sender_ip, reply.target_ip), (OWN, OWN4, PEER4));
    assert!(acts.contains(&Act::Resolved { interface: 0, address: PEER4.into(), mac: PEER }));
}
#[test]
fn arp_between_others_teaches_nothing() {
    let mut host = host();
    let other = Ipv4Addr::new(10, 0, 0, 9);
    assert_eq!(run(|out| host.on_frame(0, &arp_request(PEER, PEER4, other), 0, out)), []);
}
#[test]
fn vlan_answers_carry_the_tag() {
    let mut host = host_on(Some(100));
    let acts = run(|out| host.on_frame(0, &arp_request(PEER, PEER4, OWN4), 0, out));
    let Act::Send { frame, .. } = &acts[0] else { panic!() };
    assert_eq!(frame[12..16], [0x81, 0, 0, 100]);
}
#[test]
fn a_packet_waits_for_its_next_hop_and_leaves_when_it_answers() {
    let mut host = host();
    let packet = ipv4(OWN4, PEER4, 17, 64, b"12345678");
    let asked = run(|out| host.on_unresolved(0, PEER4.into(), packet.clone(), 0, out));
    assert!(matches!(&asked[..], [Act::Send { frame, .. }] if Arp::parse(frame).unwrap().is_request));
    let again = run(|out| host.on_unresolved(0, PEER4.into(), packet.clone(), 1, out));
    assert_eq!(again, [], "one question at a time");
    let request = Arp::parse(&arp_request(OWN, OWN4, PEER4)).unwrap();
    let acts = run(|out| host.on_frame(0, &arp_reply(PEER, &request), 2, out));
    let sent = acts.iter().filter(|a| matches!(a, Act::Send { .. })).count();
    assert_eq!(sent, 2, "{acts:?}");
}
#[test]
fn a_silent_next_hop_is_asked_three_times_then_given_up() {
    let mut host = host();
    let packet = ipv4(OWN4, PEER4, 17, 64, b"12345678");
    run(|out| host.on_unresolved(0, PEER4.into(), packet.clone(), 0, out));
    let mut questions = 1;
    let mut given_up = 0;
    for step in 1..=5 {
        for act in run(|out| host.on_time(step * 1000, out)) {
            match act {
                Act::Send { .. } => questions += 1,
                Act::GaveUp { packet: waited } => {
                    assert_eq!(waited, packet);
                    given_up += 1;
                }
                _ => {}
            }
        }
    }
    assert_eq!((questions, given_up), (3, 1));
    assert!(host.neighbours.is_empty());
}
#[test]
fn the_queue_of_waiting_packets_is_bounded() {
    let mut host = host();
    let packet = ipv4(OWN4, PEER4, 17, 64, b"12345678");
    let shed = (0..100)
        .flat_map(|_| run(|out| host.on_unresolved(0, PEER4.into(), packet.clone(), 0, out)))
        .filter(|a| matches!(a, Act::GaveUp { .. }))
        .count();
    assert_eq!(shed, 84);
}
#[test]
fn neighbour_solicitation_is_answered() {
    let mut host = host();
    let acts = run(|out| host.on_frame(0, &solicitation(PEER, PEER6, OWN6), 0, out));
    let Act::Send { frame, .. } = &acts[0] else { panic!("{acts:?}") };
    assert_eq!(Discovery::parse(frame), Some(Discovery::Advertisement { target: OWN6, link: Some(OWN) }));
    assert_eq!(frame[..6], PEER);
}
#[test]
fn a_routed_solicitation_is_not_believed() {
    let mut frame = solicitation(PEER, PEER6, OWN6);
    frame[ETHERNET + 7] = 254;
    assert_eq!(Discovery::parse(&frame), None);
}
#[test]
fn an_unasked_advertisement_creates_nothing() {
    let mut host = host();
    let acts = run(|out| host.on_frame(0, &advertisement(PEER, OWN, PEER6, OWN6, true), 0, out));
    assert!(!acts.iter().any(|a| matches!(a, Act::Resolved { .. })), "{acts:?}");
}
#[test]
fn echo_is_answered_in_both_families() {
    let mut host = host();
    let mut echo = vec![8, 0, 0, 0, 0, 1, 0, 1, b'x', b'y', b'z'];
    let sum = wire::checksum(&echo);
    echo[2..4].copy_from_slice(&sum.to_be_bytes());
    let frame4 = ethernet(PEER, OWN, &ipv4(PEER4, OWN4, 1, 64, &echo)).unwrap();
    let acts = run(|out| host.on_frame(0, &frame4, 0, out));
    let [Act::Route { packet }] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!((packet[20], &packet[28..]), (0, &b"xyz"[..]));
    assert_eq!(wire::checksum(&packet[20..]), 0);

    let echo6 = vec![128, 0, 0, 0, 0, 1, 0, 1, b'x'];
    let frame6 = ethernet(PEER, OWN, &ipv6_icmp(PEER6, OWN6, 64, echo6)).unwrap();
    let acts = run(|out| host.on_frame(0, &frame6, 0, out));
    let [Act::Route { packet }] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!((packet[40], checksum_v6(OWN6, PEER6, &packet[40..])), (129, 0));
}
#[test]
fn errors_name_the_mtu_and_are_never_about_errors() {
    let mut host = host();
    let far = ipv4(PEER4, Ipv4Addr::new(192, 0, 2, 1), 17, 1, &[0; 100]);
    let acts = run(|out| host.on_error(0, &far, IcmpError::TooBig { mtu: 1400 }, 0, out));
    let [Act::Route { packet }] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!(packet[20..22], [3, 4]);
    assert_eq!(packet[26..28], 1400u16.to_be_bytes());
    assert_eq!(run(|out| host.on_error(0, packet, IcmpError::TtlExpired, 0, out)), []);
    let big6 =
        [ipv6_icmp(PEER6, Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 1, vec![128; 1400])].concat();
    let acts = run(|out| host.on_error(0, &big6, IcmpError::TtlExpired, 0, out));
    let [Act::Route { packet }] = &acts[..] else { panic!("{acts:?}") };
    assert_eq!(packet.len(), 1280);
}
#[test]
fn errors_are_limited() {
    let mut host = host();
    let far = ipv4(PEER4, Ipv4Addr::new(192, 0, 2, 1), 17, 1, &[0; 100]);
    let sent: usize =
        (0..5000).map(|_| run(|out| host.on_error(0, &far, IcmpError::NoRoute, 10, out)).len()).sum();
    assert_eq!(sent, 1000);
}
proptest! {
    #[test]
    fn random_frames_do_no_harm(mut bytes in prop::collection::vec(any::<u8>(), 0..200), kind in 0u8..4) {
        if bytes.len() >= 14 {
            let t = [ARP, IPV4, IPV6, 0x1234][usize::from(kind)];
            bytes[12..14].copy_from_slice(&t.to_be_bytes());
        }
        let mut host = host();
        run(|out| host.on_frame(0, &bytes, 0, out));
        run(|out| host.on_error(0, &bytes, IcmpError::TtlExpired, 0, out));
        run(|out| host.on_unresolved(0, PEER4.into(), bytes, 0, out));
        run(|out| host.on_time(1 << 40, out));
    }
    #[test]
    fn broken_discovery_does_no_harm(at in 14usize..86, value: u8) {
        let mut frame = solicitation(PEER, PEER6, OWN6);
        frame[at] = value;
        let mut host = host();
        run(|out| host.on_frame(0, &frame, 0, out));
    }
}
