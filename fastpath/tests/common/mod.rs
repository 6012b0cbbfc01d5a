//! Two sites as the tests know them, and packets made by an independent tool.
//!
//! Site A has 10.1.0.0/24 and 2001:db8:1::/64 behind port 0, site B 10.2.0.0/24 and 2001:db8:2::/64.
//! Port 1 is the WAN: A is .1, B is .2 of 192.0.2.0/24 and 2001:db8:f::/64.
#![allow(dead_code)]
use fastpath::crypto::CpuEngineKind;
use fastpath::offline::{Gateway, InterfaceSpec, NeighbourSpec, Outcome, RouteSpec, Setup};
use sa::*;
use std::net::IpAddr;
use std::path::PathBuf;
use wire::eth::{self, ethertype};
use wire::{Mac, ip};

pub const HOST: [u8; 6] = [2, 0, 0, 0, 0, 0x10];
pub const PEER: [u8; 6] = [2, 0, 0, 0, 0, 0x20];
pub const LAN: u16 = 0;
pub const WAN: u16 = 1;

pub fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
pub fn prefix(text: &str) -> Prefix {
    text.parse().expect("a prefix")
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Side {
    A,
    B,
}
impl Side {
    pub fn n(self) -> u8 {
        if self == Side::A { 1 } else { 2 }
    }
    pub fn other(self) -> Self {
        if self == Side::A { Side::B } else { Side::A }
    }
    pub fn wan(self, v6: bool) -> IpAddr {
        if v6 { ip(&format!("2001:db8:f::{}", self.n())) } else { ip(&format!("192.0.2.{}", self.n())) }
    }
    pub fn lan(self, v6: bool) -> Prefix {
        if v6 {
            prefix(&format!("2001:db8:{}::/64", self.n()))
        } else {
            prefix(&format!("10.{}.0.0/24", self.n()))
        }
    }
    pub fn host(self, v6: bool) -> IpAddr {
        if v6 { ip(&format!("2001:db8:{}::10", self.n())) } else { ip(&format!("10.{}.0.10", self.n())) }
    }
    pub fn lan_mac(self) -> [u8; 6] {
        [2, 0, 0, 0, self.n(), 0]
    }
    pub fn wan_mac(self) -> [u8; 6] {
        [2, 0, 0, 0, self.n(), 1]
    }
    /// Policies for both families: protect what goes to the other LAN.
    pub fn policies(self) -> Vec<PolicySpec> {
        [false, true]
            .into_iter()
            .map(|v6| policy(1 + u32::from(v6), self.lan(v6), self.other().lan(v6), REQUIRE))
            .collect()
    }
    pub fn setup(self) -> Setup {
        let n = self.n();
        let interface = |port, mac, addresses| InterfaceSpec { port, vlan: None, mac, mtu: 1500, addresses };
        let lan = vec![(ip(&format!("10.{n}.0.1")), 24), (ip(&format!("2001:db8:{n}::1")), 64)];
        let wan = vec![(self.wan(false), 24), (self.wan(true), 64)];
        let neighbour = |interface, address, mac| NeighbourSpec { interface, address, mac };
        let route =
            |p: &str, v6| RouteSpec { prefix: prefix(p), interface: 1, next_hop: Some(self.other().wan(v6)) };
        Setup {
            interfaces: vec![interface(LAN, self.lan_mac(), lan), interface(WAN, self.wan_mac(), wan)],
            routes: vec![route("0.0.0.0/0", false), route("::/0", true)],
            neighbours: vec![
                neighbour(0, self.host(false), HOST),
                neighbour(0, self.host(true), HOST),
                neighbour(1, self.other().wan(false), PEER),
                neighbour(1, self.other().wan(true), PEER),
            ],
            policies: self.policies(),
            sas: Vec::new(),
        }
    }
    pub fn gateway(self, sas: &[SaSpec]) -> Gateway {
        gateway(&Setup { sas: sas.to_vec(), ..self.setup() })
    }
}

pub fn gateway(setup: &Setup) -> Gateway {
    Gateway::new(setup, &[CpuEngineKind::RustCrypto]).expect("a gateway")
}

pub const REQUIRE: Action = Action::Encrypt { level: Level::Require, tunnel: true };
pub fn selector(src: Prefix, dst: Prefix) -> Selector {
    Selector { src, dst, protocol: None, src_port: PortRange::ANY, dst_port: PortRange::ANY }
}
pub fn policy(id: u32, src: Prefix, dst: Prefix, action: Action) -> PolicySpec {
    PolicySpec { id: PolicyId(id), selector: selector(src, dst), action, framing: Framing::default() }
}

pub fn suite(name: &str) -> Suite {
    let (encryption, integrity) = name.split_once('/').unwrap_or((name, "null"));
    let encryption = Encryption::from_name(encryption).expect("a cipher");
    Suite::new(encryption, Integrity::from_name(integrity).expect("an integrity algorithm")).expect("a suite")
}
pub fn key(len: usize, seed: u8) -> Key {
    let bytes: Vec<u8> = (0..len).map(|n| (n as u8).wrapping_mul(7).wrapping_add(seed)).collect();
    Key::new(&bytes).expect("a short key")
}
/// One direction of a tunnel from A to B, as `side` has it. Both sides get the same keys.
pub fn a_to_b(side: Side, name: &str) -> SaSpec {
    let suite = suite(name);
    let (local, remote) = (side.wan(false), side.other().wan(false));
    SaSpec {
        slot: SaSlot(1),
        spi: Spi::new(0x1000_0021).expect("an SPI"),
        direction: if side == Side::A { Direction::Outbound } else { Direction::Inbound },
        protocol: Protocol::Esp,
        mode: Mode::Tunnel,
        suite,
        encryption_key: key(suite.encryption().key_len(), 1),
        salt: key(suite.salt_len(), 2),
        integrity_key: key(suite.integrity().key_len(), 3),
        ends: TunnelEnds { local, remote },
        encap: None,
        original: None,
        esn: false,
        replay_window: 64,
        last_seq: 0,
        lifetime: Lifetime::default(),
        policy: PolicyId(1),
        also: Vec::new(),
        selectors: vec![selector(side.lan(false), side.other().lan(false)).into()],
    }
}

/// An Ethernet frame from the neighbour of `side` on `port`.
pub fn frame(side: Side, port: u16, packet: &[u8]) -> Vec<u8> {
    let (dst, src) = if port == LAN { (side.lan_mac(), HOST) } else { (side.wan_mac(), PEER) };
    let kind = if packet.first().is_some_and(|b| b >> 4 == 6) { ethertype::IPV6 } else { ethertype::IPV4 };
    let mut bytes = vec![0; eth::HEADER];
    eth::write(&mut bytes, Mac(dst), Mac(src), None, kind).expect("room");
    bytes.extend(packet);
    bytes
}
/// An IPv4 or IPv6 packet with the given payload.
pub fn packet(src: IpAddr, dst: IpAddr, protocol: u8, payload: &[u8]) -> Vec<u8> {
    let fields = ip::Fields { src, dst, protocol, tos: 0, ttl: 64, dont_fragment: true, id: 1 };
    let mut bytes = vec![0; fields.header_len()];
    fields.write(&mut bytes, payload.len()).expect("one family");
    bytes.extend(payload);
    bytes
}
pub fn udp(src: IpAddr, dst: IpAddr, src_port: u16, dst_port: u16, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![0; wire::udp::HEADER];
    wire::udp::write(&mut bytes, src_port, dst_port, payload.len()).expect("room");
    bytes.extend(payload);
    packet(src, dst, 17, &bytes)
}
/// Sets TTL or hop limit, checksum included.
pub fn with_ttl(packet: &[u8], ttl: u8) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    if bytes[0] >> 4 == 6 {
        bytes[7] = ttl;
    } else {
        bytes[8] = ttl;
        bytes[10..12].fill(0);
        let sum = wire::checksum(&bytes[..20]);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
    }
    bytes
}

/// The one packet that was sent, without its Ethernet header.
pub fn sent(outcomes: &[Outcome]) -> (u16, Vec<u8>) {
    match outcomes {
        [Outcome::Sent { port, frame }, ..] => (*port, frame[eth::HEADER..].to_vec()),
        other => panic!("not sent: {other:?}"),
    }
}
pub fn dropped(outcomes: &[Outcome]) -> Option<DropReason> {
    outcomes.iter().find_map(|o| if let Outcome::Dropped(reason) = o { Some(*reason) } else { None })
}

/// A file under tests/vectors, as JSON.
pub fn vectors(path: &str) -> Vec<serde_json::Value> {
    let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../tests/vectors").join(path);
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    let json: serde_json::Value = serde_json::from_str(&text).expect("JSON");
    json["vectors"].as_array().expect("a list of vectors").clone()
}
pub fn hex(value: &serde_json::Value) -> Vec<u8> {
    let text = value.as_str().expect("hex");
    (0..text.len() / 2).map(|n| u8::from_str_radix(&text[2 * n..2 * n + 2], 16).expect("hex")).collect()
}
