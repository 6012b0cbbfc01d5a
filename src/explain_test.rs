//! What is explained against what the fast path does, packet by packet.
use crate::packet::setup::{self, engines};
use config::explain::{Arrival, Packet, What, World};
use config::model::{Gateway as Hop, InterfaceKind};
use fastpath::offline::{Gateway, Outcome};
use sa::DropReason;
use std::net::IpAddr;
use wire::ip::{Fields, protocol};

const CONFIG: &str = "\
interface:
  - {name: wan, device: \"null\", mac-address: 02:00:00:00:00:01}
  - {name: lan, device: \"null\", mac-address: 02:00:00:00:00:02}
  - {name: dmz, vlan: {interface: lan, vlan-id: 7}}
ip:
  address:
    - {address: 198.51.100.2/24, interface: wan}
    - {address: 10.1.0.1/24, interface: lan}
    - {address: 10.9.0.1/30, interface: dmz}
    - {address: \"fd00:a::1/64\", interface: lan}
  route:
    - {dst-address: 10.0.0.0/8, gateway: 198.51.100.1}
    - {dst-address: 10.2.0.0/25, gateway: 10.1.0.9, distance: 2}
    - {dst-address: 10.2.0.0/25, gateway: 10.1.0.8}
    - {dst-address: 198.51.0.0/16, gateway: 10.1.0.7}
    - {dst-address: \"fd00::/16\", gateway: \"fd00:a::9\"}
  ipsec:
    profile: [{name: p, dh-group: x25519}]
    proposal: [{name: e, enc-algorithms: aes-256-gcm, auth-algorithms: null, pfs-group: none}]
    peer: [{name: b, address: 198.51.100.9, exchange-mode: ike2, profile: p}]
    identity: [{peer: b, secret: a secret for tests}]
    policy:
      - {src-address: 10.1.0.0/24, dst-address: 10.2.0.0/24, protocol: tcp, dst-port: 22, action: none}
      - {src-address: 10.1.0.66, dst-address: 10.2.0.0/16, action: discard}
      - {src-address: 10.1.0.0/24, dst-address: 10.2.0.0/24, protocol: udp, src-port: 1000-2000, level: use, peer: b, proposal: e, tunnel: yes}
      - {src-address: 10.1.0.0/24, dst-address: 10.2.0.0/24, peer: b, proposal: e, tunnel: yes}
      - {src-address: 10.9.0.0/30, dst-address: 0.0.0.0/0, level: unique, peer: b, proposal: e, tunnel: yes}
      - {src-address: 10.1.0.0/16, dst-address: 10.1.0.0/16, action: none}
      - {src-address: 198.51.100.2, dst-address: 198.51.100.9, level: use, peer: b, proposal: e, tunnel: yes}
      - {src-address: 10.3.0.0/16, dst-address: 10.4.0.0/16, protocol: icmp, action: discard}
      - {src-address: \"fd00:a::/64\", dst-address: \"fd00:b::/64\", peer: b, proposal: e, tunnel: yes}
";
const ADDRESSES: &[&str] = &[
    "198.51.100.2",
    "198.51.100.9",
    "198.51.100.77",
    "198.51.100.255",
    "198.51.7.1",
    "10.1.0.1",
    "10.1.0.66",
    "10.1.0.200",
    "10.1.0.255",
    "10.2.0.1",
    "10.2.0.200",
    "10.2.7.1",
    "10.3.0.1",
    "10.4.0.1",
    "10.9.0.1",
    "10.9.0.2",
    "203.0.113.7",
    "255.255.255.255",
    "fd00:a::1",
    "fd00:a::77",
    "fd00:b::1",
    "fd00:c::1",
    "2001:db8::1",
];
/// Protocol, ports.
const KINDS: &[(u8, Option<(u16, u16)>)] = &[
    (protocol::TCP, Some((40000, 22))),
    (protocol::TCP, Some((22, 40000))),
    (protocol::UDP, Some((1500, 9))),
    (protocol::UDP, Some((9, 1500))),
    (protocol::UDP, Some((500, 500))),
    (47, None),
    (protocol::ESP, None),
    (protocol::ICMP, None),
];

fn bytes(packet: &Packet) -> Vec<u8> {
    let fields = Fields {
        src: packet.src,
        dst: packet.dst,
        protocol: packet.protocol,
        tos: 0,
        ttl: 64,
        dont_fragment: false,
        id: 0,
    };
    let mut upper = vec![0u8; 32];
    if let (Some(src), Some(dst)) = (packet.src_port, packet.dst_port) {
        upper[..2].copy_from_slice(&src.to_be_bytes());
        upper[2..4].copy_from_slice(&dst.to_be_bytes());
        // The length of a UDP datagram; of TCP, part of a number.
        upper[4..6].copy_from_slice(&32u16.to_be_bytes());
    }
    // An ICMP echo reply with code 0, an SPI that nobody has.
    if packet.protocol == protocol::ESP {
        upper[..4].copy_from_slice(&0x0101_0101u32.to_be_bytes());
    }
    let mut bytes = vec![0; fields.header_len()];
    fields.write(&mut bytes, upper.len()).expect("a header");
    bytes.extend(upper);
    bytes
}

/// What was seen, in the words of an explanation: what, why, interface, next hop.
type Seen = (What, Option<DropReason>, Option<usize>, Option<IpAddr>);

fn seen(outcomes: &[Outcome]) -> Seen {
    for outcome in outcomes {
        match outcome {
            Outcome::Dropped(reason) => return (What::Drop, Some(*reason), None, None),
            Outcome::ToHost { .. } | Outcome::Ike { .. } => return (What::Deliver, None, None, None),
            Outcome::Unresolved { interface, next_hop, .. } => {
                return (What::Forward, None, Some(*interface), Some(*next_hop));
            }
            _ => {}
        }
    }
    panic!("{outcomes:?}");
}

#[test]
fn what_is_explained_is_what_the_fast_path_does() {
    let config = config::check(CONFIG).unwrap_or_else(|complaints| panic!("{complaints}")).config;
    let mut setup = setup::setup(&config, &[]).expect("a setup");
    // The daemon makes routes of connected networks, too.
    setup.routes = config::ways::Ways::of(&config.addresses, &config.routes)
        .iter()
        .map(|way| {
            let (name, next_hop) = match &way.hop {
                Hop::Via { address, interface } => (interface, Some(*address)),
                Hop::Interface(name) => (name, None),
                Hop::Blackhole => panic!("none here"),
            };
            let interface = config.interfaces.iter().position(|i| i.name == *name).expect("an interface");
            fastpath::offline::RouteSpec { prefix: way.network, interface, next_hop }
        })
        .collect();
    let mut gateway = Gateway::new(&setup, &engines(&config)).expect("a gateway");
    let world = World::new(&config);
    let (mut compared, mut reasons) = (0, std::collections::BTreeSet::new());
    for (src, dst) in ADDRESSES.iter().flat_map(|src| ADDRESSES.iter().map(move |dst| (src, dst))) {
        let (src, dst): (IpAddr, IpAddr) =
            (src.parse().expect("an address"), dst.parse().expect("an address"));
        // From nowhere it could come in anywhere, and a broadcast is one on its own link alone.
        let nowhere = world.ways.to(src).is_none() && dst.to_string().ends_with(".255");
        if src.is_ipv4() != dst.is_ipv4() || nowhere {
            continue;
        }
        for (protocol, ports) in KINDS {
            // Type and code of ICMP stand where ports do.
            let ports = if *protocol == protocol::ICMP { Some((0, 0)) } else { *ports };
            let (src_port, dst_port) = (ports.map(|p| p.0), ports.map(|p| p.1));
            let packet = Packet { src, dst, protocol: *protocol, src_port, dst_port };
            for arrival in [Arrival::InClear, Arrival::FromGateway] {
                // The gateway does not speak from addresses of others, nor hear itself.
                if config.addresses.iter().any(|a| a.address == src) != (arrival == Arrival::FromGateway) {
                    continue;
                }
                let judged = world.judge(&packet, arrival);
                let got = match arrival {
                    Arrival::FromGateway => {
                        seen(&gateway.originate(&bytes(&packet), protocol_is_ike(&packet)))
                    }
                    _ => {
                        // It comes in where its source is; from nowhere, on `wan`.
                        let from = world.ways.to(src).map(|way| way.hop.clone());
                        let (port, tag): (u16, &[u8]) = match from {
                            Some(Hop::Via { interface, .. } | Hop::Interface(interface)) => {
                                match interface.as_str() {
                                    "wan" => (0, &[]),
                                    "lan" => (1, &[]),
                                    _ => (1, &[0x81, 0, 0, 7]),
                                }
                            }
                            _ => (0, &[]),
                        };
                        let mac = [2, 0, 0, 0, 0, port as u8 + 1];
                        let kind = if src.is_ipv4() { [8, 0] } else { [0x86, 0xdd] };
                        let frame = [&mac[..], &[2, 9, 9, 9, 9, 9], tag, &kind, &bytes(&packet)].concat();
                        seen(&gateway.run(port, &frame))
                    }
                };
                let named = |name: &str| config.interfaces.iter().position(|i| i.name == name);
                let (interface, hop) = match judged.way.as_ref().map(|way| &way.hop) {
                    Some(Hop::Via { address, interface }) => (named(interface), Some(*address)),
                    Some(Hop::Interface(name)) => (named(name), Some(dst)),
                    _ => (None, None),
                };
                let policy = judged.policy.map(|p| p.spec.action);
                let expected: Seen = match judged.what {
                    // There is no SA here.
                    What::Encrypt => match policy {
                        Some(sa::Action::Encrypt { level: sa::Level::Use, .. }) => continue,
                        _ => (What::Drop, Some(DropReason::NoSa), None, None),
                    },
                    What::Forward => (What::Forward, None, interface, hop),
                    what => (what, judged.reason, None, None),
                };
                // A packet with an SPI for us is looked up; that it is ESP for us is all that is explained.
                let got =
                    if got.1 == Some(DropReason::NoSuchSa) { (What::Deliver, None, None, None) } else { got };
                assert_eq!(expected, got, "{packet:?} {arrival:?}: {judged:?}");
                compared += 1;
                reasons.extend(got.1);
            }
        }
    }
    assert!(compared > 1500, "{compared}");
    let wanted = ["clear-for-protected", "in-discard", "discard", "no-sa", "no-route"];
    for reason in DropReason::ALL.iter().filter(|reason| wanted.contains(&reason.name())) {
        assert!(reasons.contains(reason), "{reason:?} never came up: {reasons:?}");
    }
    assert!(matches!(config.interfaces[2].kind, InterfaceKind::Vlan { .. }));
}
fn protocol_is_ike(packet: &Packet) -> bool {
    packet.protocol == protocol::UDP && matches!(packet.src_port, Some(500 | 4500))
}
