//! What both ends are configured with.
use super::Kind;
use super::papers::Papers;
use anyhow::Result;
use ike::api::{Child, Config, Identity, IkeCipher, IkeIntegrity, IkeProposal, KeRound, Peer, Prf, Profile};
use sa::{Encryption, Integrity, PolicyId, PortRange, Prefix, Suite};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

pub const PEER: &str = "generator";

/// One peer: anyone who has the secret, or a certificate of the authority.
pub fn gateway(kind: &Kind, papers: &Papers, local: SocketAddr) -> Result<Config> {
    let any = Prefix::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0).unwrap_or(Prefix::host(local.ip()));
    Ok(config(kind, local, any, local.port(), papers.identity(None)?, true))
}
pub fn initiator(kind: &Kind, papers: &Papers, ends: [SocketAddr; 2], number: u64) -> Result<Config> {
    let [local, remote] = ends;
    let identity = papers.identity(Some(number))?;
    Ok(config(kind, local, Prefix::host(remote.ip()), remote.port(), identity, false))
}

fn config(
    kind: &Kind,
    local: SocketAddr,
    remote: Prefix,
    port: u16,
    identity: Identity,
    passive: bool,
) -> Config {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let profile = Profile {
        name: "bench".into(),
        proposal: IkeProposal {
            encryption: vec![IkeCipher::Aes128Cbc],
            integrity: vec![IkeIntegrity::HmacSha256],
            prf: vec![Prf::HmacSha256],
            groups: vec![kind.group],
            additional: kind
                .kem
                .map(|kem| KeRound { methods: vec![kem], optional: false })
                .into_iter()
                .collect(),
        },
        lifetime: DAY,
        dpd_interval: None,
        nat_traversal: true,
        extensions: Default::default(),
    };
    let net = |last: u8| Prefix::new(Ipv4Addr::new(10, last, 0, 0).into(), 24).map(Prefix::range);
    let (near, far) = if passive { (2, 1) } else { (1, 2) };
    let children = net(near).zip(net(far)).zip(Suite::new(Encryption::Aes128Gcm, Integrity::None).ok());
    let child = |((local, remote), suite)| Child {
        policy: PolicyId(1),
        level: sa::Level::Require,
        backup: 0,
        any_port: false,
        framing: sa::Framing::default(),
        proposal: "bench".into(),
        selector: sa::TrafficSelector {
            local,
            remote,
            protocol: None,
            local_port: PortRange::ANY,
            remote_port: PortRange::ANY,
        },
        tunnel: true,
        protocol: sa::Protocol::Esp,
        suites: vec![suite],
        pfs: None,
        additional: vec![],
        lifetime: DAY,
        lifetime_bytes: 0,
        replay_window: 128,
        esn: false,
    };
    let peer = Peer {
        name: PEER.into(),
        address: remote,
        local_address: Some(local.ip()),
        host: None,
        port,
        passive,
        send_initial_contact: false,
        profile,
        identities: vec![identity],
        children: children.into_iter().map(child).collect(),
    };
    Config { peers: vec![peer], sa_slots: if passive { 1 << 16 } else { 64 }, ..Config::default() }
}
