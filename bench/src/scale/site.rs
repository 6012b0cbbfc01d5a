//! A gateway with very many tunnels: its configuration, and the other ends of all of them.
use ike::api::{
    Child, Config, DhGroup, Extensions, GatewayExtensions, Identity, IkeCipher, IkeIntegrity, IkeProposal,
    MyId, Peer, Prf, Profile, Psk, RemoteId,
};
use sa::{Encryption, Integrity, PolicyId, PortRange, Prefix, Selector, Suite};
use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

pub const GATEWAY: Ipv4Addr = Ipv4Addr::new(192, 0, 2, 1);
const SECRET: &str = "one secret for all of these";
/// Nothing is to be rekeyed while something else is measured.
const LIFETIME: Duration = Duration::from_secs(24 * 3600);

/// Slots for `tunnels`, all of them being rekeyed.
pub fn slots(tunnels: u32) -> u32 {
    (4 * tunnels).next_power_of_two().max(64)
}
/// The outer address of another end.
pub fn remote(n: u32) -> Ipv4Addr {
    Ipv4Addr::from(u32::from(Ipv4Addr::new(198, 18, 0, 0)) + n)
}
/// A host on our side, and one behind the other end.
fn inner(n: u32) -> (Ipv4Addr, Ipv4Addr) {
    (Ipv4Addr::from(0x0a00_0000 + n), Ipv4Addr::from(0x1400_0000 + n))
}
pub fn name(n: u32) -> String {
    format!("site-{n}")
}

/// Each tunnel is a peer with an IKE SA of its own, one policy and two SAs.
pub fn configuration(tunnels: u32) -> String {
    let mut text = format!(
        "system:\n  name: scale\n  hugepages: no\n  memory: 256M\n  buffers: 16384\n  sa-slots: {slots}\n\
         \x20 idle-max-sleep: 200us\n  exception-path: none\n\
         interface:\n  - {{name: wan, device: \"null\"}}\n  - {{name: lan, device: \"null\"}}\n\
         ip:\n  address:\n    - {{address: {GATEWAY}/24, interface: wan}}\n\
         \x20   - {{address: 172.16.0.1/24, interface: lan}}\n\
         \x20 route:\n    - {{dst-address: 0.0.0.0/0, gateway: 192.0.2.2}}\n\
         \x20 ipsec:\n    profile:\n      - {{name: p, enc-algorithm: [aes-256-gcm], hash-algorithm: sha256, \
         dh-group: [x25519], dpd-interval: disable-dpd, lifetime: 1d}}\n\
         \x20   proposal:\n      - {{name: q, enc-algorithms: [aes-128-gcm], auth-algorithms: \"null\", pfs-group: none, lifetime: 1d}}\n\
         \x20   peer:\n",
        slots = slots(tunnels),
    );
    let mut row = |row: std::fmt::Arguments| text.push_str(&format!("      - {{{row}}}\n"));
    for n in 0..tunnels {
        let (name, at) = (name(n), remote(n));
        row(format_args!("name: {name}, address: {at}/32, exchange-mode: ike2, profile: p, passive: yes"));
    }
    text.push_str("    identity:\n");
    let mut row = |row: std::fmt::Arguments| text.push_str(&format!("      - {{{row}}}\n"));
    for n in 0..tunnels {
        row(format_args!("peer: {}, secret: \"{SECRET}\"", name(n)));
    }
    text.push_str("    policy:\n");
    let mut row = |row: std::fmt::Arguments| text.push_str(&format!("      - {{{row}}}\n"));
    for n in 0..tunnels {
        let ((near, far), name) = (inner(n), name(n));
        row(format_args!(
            "src-address: {near}/32, dst-address: {far}/32, peer: {name}, proposal: q, tunnel: yes"
        ));
    }
    text
}

/// All other ends in one engine, which calls from each one's own address.
pub fn far_ends(tunnels: u32) -> Config {
    let profile = Profile {
        name: "p".into(),
        proposal: IkeProposal {
            encryption: vec![IkeCipher::Aes256Gcm],
            integrity: vec![IkeIntegrity::HmacSha256],
            prf: vec![Prf::HmacSha256],
            groups: vec![DhGroup::X25519],
            additional: vec![],
        },
        lifetime: LIFETIME,
        dpd_interval: None,
        nat_traversal: true,
        extensions: Extensions::default(),
    };
    let identity = || Identity::with_secret(MyId::Auto, RemoteId::Auto, Psk(SECRET.into()));
    let peer = |n: u32| Peer {
        name: name(n),
        address: Prefix::host(IpAddr::V4(GATEWAY)),
        local_address: Some(IpAddr::V4(remote(n))),
        host: None,
        port: 500,
        // Called one after the other, not all at once.
        passive: true,
        send_initial_contact: true,
        profile: profile.clone(),
        identities: vec![identity()],
        children: vec![child(n)],
    };
    Config {
        peers: (0..tunnels).map(peer).collect(),
        ddos_cookie_threshold: 1000,
        sa_slots: slots(tunnels),
        sources: Vec::new(),
        extensions: GatewayExtensions::default(),
        ..Config::default()
    }
}
fn child(n: u32) -> Child {
    let (near, far) = inner(n);
    let selector = Selector {
        src: Prefix::host(IpAddr::V4(far)),
        dst: Prefix::host(IpAddr::V4(near)),
        protocol: None,
        src_port: PortRange::ANY,
        dst_port: PortRange::ANY,
    };
    Child {
        policy: PolicyId(n + 1),
        level: sa::Level::Require,
        backup: 0,
        any_port: false,
        framing: sa::Framing::default(),
        selector: selector.into(),
        tunnel: true,
        protocol: sa::Protocol::Esp,
        suites: Suite::new(Encryption::Aes128Gcm, Integrity::None).into_iter().collect(),
        pfs: None,
        additional: vec![],
        lifetime: LIFETIME,
        proposal: "default".into(),
        lifetime_bytes: 0,
        replay_window: 128,
        esn: true,
    }
}
