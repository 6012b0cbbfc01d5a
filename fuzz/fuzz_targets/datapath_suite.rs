//! Valid ESP of every suite from one gateway to another, changed on the way. The input is suite, length of the inner
//! packet, ESN, kind of change, place of it; then the payload. What was changed never comes out of the tunnel; what was not
//! comes out as it went in.
#![no_main]
use fastpath::crypto::CpuEngineKind;
use fastpath::crypto::cpu::CpuCrypto;
use fastpath::offline::{Gateway, InterfaceSpec, NeighbourSpec, Outcome, RouteSpec, Setup};
use libfuzzer_sys::fuzz_target;
use sa::{
    Action, Direction, Encryption, Framing, Key, Level, Lifetime, Mode, PolicyId, PolicySpec, PortRange,
    Prefix, Protocol, SaSlot, SaSpec, Selector, Spi, Suite, TunnelEnds,
};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;

/// A sender and a receiver for each suite, with and without ESN.
type Pairs = HashMap<(Suite, bool), (Gateway, Gateway)>;
thread_local! {
    static PAIRS: RefCell<Pairs> = RefCell::default();
    static SUITES: Vec<Suite> = Suite::all().collect();
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}
fn prefix(text: &str) -> Prefix {
    text.parse().expect("a prefix")
}
/// Sites 1 and 2; `own` is 10.OWN.0.0/24 behind 192.0.2.OWN.
fn site(own: u8, other: u8, direction: Direction, suite: Suite, esn: bool) -> Setup {
    let net = |n: u8| prefix(&format!("10.{n}.0.0/24"));
    let wan = |n: u8| ip(&format!("192.0.2.{n}"));
    let ours = Selector {
        src: net(own),
        dst: net(other),
        protocol: None,
        src_port: PortRange::ANY,
        dst_port: PortRange::ANY,
    };
    let interface = |port, mac, address: String| InterfaceSpec {
        port,
        vlan: None,
        mac,
        mtu: 1500,
        addresses: vec![(ip(&address), 24)],
    };
    let sa = SaSpec {
        slot: SaSlot(1),
        spi: Spi::new(0x1000_0021).expect("an SPI"),
        direction,
        protocol: Protocol::Esp,
        mode: Mode::Tunnel,
        suite,
        encryption_key: Key::new(&[1; 32][..suite.encryption().key_len()]).expect("a key"),
        salt: Key::new(&[2; 4][..suite.salt_len()]).expect("a salt"),
        integrity_key: Key::new(&[3; 64][..suite.integrity().key_len()]).expect("a key"),
        ends: TunnelEnds { local: wan(own), remote: wan(other) },
        encap: None,
        original: None,
        esn,
        replay_window: 64,
        last_seq: 0,
        lifetime: Lifetime::default(),
        policy: PolicyId(1),
        also: Vec::new(),
        selectors: vec![ours.into()],
    };
    Setup {
        interfaces: vec![
            interface(0, [2, 0, 0, 0, own, 0], format!("10.{own}.0.1")),
            interface(1, [2, 0, 0, 0, own, 1], format!("192.0.2.{own}")),
        ],
        routes: vec![RouteSpec { prefix: prefix("0.0.0.0/0"), interface: 1, next_hop: Some(wan(other)) }],
        neighbours: vec![
            NeighbourSpec { interface: 0, address: ip(&format!("10.{own}.0.10")), mac: [2; 6] },
            NeighbourSpec { interface: 1, address: wan(other), mac: [2, 0, 0, 0, other, 1] },
        ],
        policies: vec![PolicySpec {
            id: PolicyId(1),
            selector: ours,
            action: Action::Encrypt { level: Level::Require, tunnel: true },
            framing: Framing::default(),
        }],
        sas: vec![sa],
    }
}
/// The two sides on different engines where the machine has both.
fn pair(suite: Suite, esn: bool) -> (Gateway, Gateway) {
    let mb = CpuCrypto::new(CpuEngineKind::IpsecMb).is_ok_and(|mb| mb.supports(suite));
    let theirs = if mb { CpuEngineKind::IpsecMb } else { CpuEngineKind::RustCrypto };
    let gateway = |setup: &Setup, engine| Gateway::new(setup, &[engine]).expect("a gateway");
    (
        gateway(&site(1, 2, Direction::Outbound, suite, esn), CpuEngineKind::RustCrypto),
        gateway(&site(2, 1, Direction::Inbound, suite, esn), theirs),
    )
}

/// An Ethernet frame with an IPv4 packet from site 1 to site 2.
fn frame(payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![2, 0, 0, 0, 1, 0, 2, 2, 2, 2, 2, 2, 8, 0];
    let mut header = [0x45, 0, 0, 0, 0, 0, 0, 0, 64, 253, 0, 0, 10, 1, 0, 10, 10, 2, 0, 10];
    header[2..4].copy_from_slice(&(20 + payload.len() as u16).to_be_bytes());
    let sum: u32 = header.as_chunks::<2>().0.iter().map(|w| u32::from(u16::from_be_bytes(*w))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    header[10..12].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
    frame.extend(header);
    frame.extend(payload);
    frame
}

/// Ethernet and the outer header of IPv4.
const ESP_AT: usize = 34;
/// What the way does to a sealed frame. `false`: nothing that counts.
fn change(frame: &mut Vec<u8>, kind: u8, at: usize) -> bool {
    let esp = frame.len() - ESP_AT;
    let place = ESP_AT + at % esp;
    match kind % 4 {
        0 => return false,
        1 => frame[place] ^= 1 << (at / esp % 8),
        2 => frame.truncate(place),
        _ => frame.insert(place, 0x5a),
    }
    // The outer header agrees with what is left, so that it is ESP which is asked.
    let total = (frame.len() - 14) as u16;
    frame[16..18].copy_from_slice(&total.to_be_bytes());
    frame[24..26].fill(0);
    let sum: u32 = frame[14..34].as_chunks::<2>().0.iter().map(|w| u32::from(u16::from_be_bytes(*w))).sum();
    let sum = (sum & 0xffff) + (sum >> 16);
    frame[24..26].copy_from_slice(&(!((sum & 0xffff) + (sum >> 16)) as u16).to_be_bytes());
    true
}

fuzz_target!(|data: &[u8]| {
    let Some(([suite, esn, kind, at @ ..], payload)) = data.split_first_chunk::<5>() else { return };
    let suite = SUITES.with(|suites| suites[usize::from(*suite) % suites.len()]);
    let (esn, at) = (esn & 1 == 1, usize::from(u16::from_le_bytes(*at)));
    let payload = &payload[..payload.len().min(1200)];
    PAIRS.with_borrow_mut(|pairs| {
        // A gateway takes ten megabytes.
        if pairs.len() >= 32 && !pairs.contains_key(&(suite, esn)) {
            pairs.clear();
        }
        let (sender, receiver) = pairs.entry((suite, esn)).or_insert_with(|| pair(suite, esn));
        let plain = frame(payload);
        let outcomes = sender.run(0, &plain);
        let sealed = outcomes.iter().find_map(|o| match o {
            Outcome::Sent { port: 1, frame } => Some(frame.clone()),
            _ => None,
        });
        let mut sealed = sealed.unwrap_or_else(|| panic!("{suite}: {outcomes:?}"));
        if suite.encryption() != Encryption::Null
            && payload.len() >= 32
            && payload.iter().any(|b| *b != payload[0])
        {
            let encrypts = suite.encryption().mode() != sa::CipherMode::Gmac;
            let shown = sealed.windows(payload.len()).any(|window| window == payload);
            assert!(shown != encrypts, "{suite}");
        }
        let changed = change(&mut sealed, *kind, at);
        let outcomes = receiver.run(1, &sealed);
        let opened = outcomes.iter().find_map(|o| match o {
            Outcome::Sent { port: 0, frame } => Some(frame),
            _ => None,
        });
        match opened {
            Some(_) if changed => panic!("{suite} esn={esn}: a changed packet came through"),
            Some(frame) => assert_eq!(frame[ESP_AT..], plain[ESP_AT..], "{suite} esn={esn}"),
            None if changed => {
                assert!(outcomes.iter().any(|o| matches!(o, Outcome::Dropped(_))), "{outcomes:?}")
            }
            None => panic!("{suite} esn={esn}: {outcomes:?}"),
        }
    });
});
