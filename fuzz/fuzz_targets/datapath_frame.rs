//! Frames into a whole gateway: the first byte chooses the port, and every frame has exactly one outcome.
#![no_main]
use fastpath::crypto::CpuEngineKind;
use fastpath::offline::{Gateway, InterfaceSpec, NeighbourSpec, Outcome, RouteSpec, Setup};
use libfuzzer_sys::fuzz_target;
use sa::{
    Action, Direction, DropReason, Encap, Encryption, Framing, Integrity, Key, Level, Lifetime, Mode,
    PolicyId, PolicySpec, PortRange, Protocol, SaSlot, SaSpec, Selector, Spi, Suite, TunnelEnds,
};
use std::cell::RefCell;
use std::net::IpAddr;

thread_local! {
    static GATEWAY: RefCell<Gateway> = RefCell::new(gateway());
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
fn gateway() -> Gateway {
    let interface = |port, mac, addresses: &[&str]| InterfaceSpec {
        port,
        vlan: None,
        mac,
        mtu: 1500,
        addresses: addresses.iter().map(|a| (ip(a), if a.contains(':') { 64 } else { 24 })).collect(),
    };
    let neighbour = |interface, address| NeighbourSpec { interface, address: ip(address), mac: [2; 6] };
    let selector = |src: &str, dst: &str| Selector {
        src: src.parse().expect("a prefix"),
        dst: dst.parse().expect("a prefix"),
        protocol: None,
        src_port: PortRange::ANY,
        dst_port: PortRange::ANY,
    };
    let ours = selector("10.2.0.0/24", "10.1.0.0/24");
    let sa = |slot, spi, direction, suite: Suite, encap| SaSpec {
        slot: SaSlot(slot),
        spi: Spi::new(spi).expect("an SPI"),
        direction,
        protocol: Protocol::Esp,
        mode: Mode::Tunnel,
        suite,
        encryption_key: Key::new(&[1; 32][..suite.encryption().key_len()]).expect("a key"),
        salt: Key::new(&[2; 4][..suite.salt_len()]).expect("a salt"),
        integrity_key: Key::new(&[3; 64][..suite.integrity().key_len()]).expect("a key"),
        ends: TunnelEnds { local: ip("192.0.2.2"), remote: ip("192.0.2.1") },
        encap,
        original: None,
        esn: false,
        replay_window: 64,
        last_seq: 0,
        lifetime: Lifetime::default(),
        policy: PolicyId(1),
        also: Vec::new(),
        selectors: vec![ours.into()],
    };
    let gcm = Suite::new(Encryption::Aes128Gcm, Integrity::None).expect("a suite");
    let cbc = Suite::new(Encryption::Aes128Cbc, Integrity::HmacSha256).expect("a suite");
    let encap = Some(Encap { local_port: 4500, remote_port: 4500 });
    let action = Action::Encrypt { level: Level::Require, tunnel: true };
    let setup = Setup {
        interfaces: vec![
            interface(0, [2, 0, 0, 0, 2, 0], &["10.2.0.1", "2001:db8:2::1"]),
            interface(1, [2, 0, 0, 0, 2, 1], &["192.0.2.2", "2001:db8:f::2"]),
        ],
        routes: vec![RouteSpec {
            prefix: "0.0.0.0/0".parse().expect("a prefix"),
            interface: 1,
            next_hop: Some(ip("192.0.2.1")),
        }],
        neighbours: vec![neighbour(0, "10.2.0.10"), neighbour(1, "192.0.2.1")],
        policies: vec![PolicySpec { id: PolicyId(1), selector: ours, action, framing: Framing::default() }],
        sas: vec![
            sa(1, 0x1000_0021, Direction::Inbound, gcm, None),
            sa(2, 0x1000_0042, Direction::Inbound, cbc, encap),
            sa(3, 0x1000_0063, Direction::Outbound, gcm, encap),
        ],
    };
    Gateway::new(&setup, &[CpuEngineKind::RustCrypto]).expect("a gateway")
}

fuzz_target!(|bytes: &[u8]| {
    let Some((port, frame)) = bytes.split_first() else { return };
    let outcomes = GATEWAY.with_borrow_mut(|g| g.run(u16::from(*port & 1), frame));
    // A fragment can cost others of its datagram, or an older one its place.
    let beside = |o: &&Outcome| {
        matches!(o, Outcome::Event(_) | Outcome::Dropped(DropReason::FragmentBad | DropReason::FragmentFull))
    };
    let fates = outcomes.iter().filter(|o| !beside(o)).count();
    assert!(fates == 1 || fates == 0 && !outcomes.is_empty(), "{outcomes:?}");
});
