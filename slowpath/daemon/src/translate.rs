//! The checked configuration in the engine's and the fast path's terms.
use config::model;
use ike::api;
use ipc::{Command, Via};
use sa::{Action, PolicySpec, Prefix};
use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

pub struct Translated {
    pub ike: api::Config,
    /// The SPD in rank order.
    pub policies: Vec<PolicySpec>,
    /// Who negotiates for a policy, for the status answer; same order.
    pub policy_peers: Vec<Option<String>>,
}

/// `sa_slots` is what the running fast path has, which may differ from the file's after an edit.
pub fn translate(config: &model::Config, sa_slots: u32) -> Translated {
    let ipsec = &config.ipsec;
    let mut children: HashMap<&str, Vec<api::Child>> = HashMap::new();
    for policy in &ipsec.policies {
        if let Some(peer) = &policy.peer {
            children.entry(peer).or_default().extend(child(policy));
        }
    }
    let mut peer = |p: &model::Peer| peer(p, children.remove(p.name.as_str()).unwrap_or_default());
    Translated {
        ike: api::Config {
            peers: ipsec.peers.iter().map(|p| peer(p)).collect(),
            ddos_cookie_threshold: ipsec.settings.ddos_cookie_threshold,
            sa_slots,
            sources: sources(config),
            extensions: api::GatewayExtensions {
                redirect_to: ipsec.settings.redirect_to,
                puzzle_threshold: ipsec.settings.puzzle_threshold,
            },
        },
        policies: ipsec.policies.iter().map(|p| p.spec).collect(),
        policy_peers: ipsec.policies.iter().map(|p| p.peer.clone()).collect(),
    }
}

/// The transaction that says all addresses and routes.
pub fn network(config: &model::Config) -> Vec<Command> {
    let address = |a: &model::Address| Command::Address {
        interface: a.interface.clone(),
        address: a.address,
        prefix_len: a.prefix_len,
    };
    let route = |way: &config::ways::Way| {
        let via = match way.hop.clone() {
            model::Gateway::Via { address, interface } => Via::Gateway { interface, address },
            model::Gateway::Interface(interface) => Via::Link { interface },
            model::Gateway::Blackhole => Via::Blackhole,
        };
        Command::Route { dst: way.network, via }
    };
    let ways = config::ways::Ways::of(&config.addresses, &config.routes);
    let rows: Vec<Command> = config.addresses.iter().map(address).chain(ways.iter().map(route)).collect();
    let count = rows.len() as u32;
    let begin = std::iter::once(Command::NetworkBegin);
    begin.chain(rows).chain([Command::NetworkCommit { count }]).collect()
}

/// Which address of ours is the source towards which destinations.
fn sources(config: &model::Config) -> Vec<(Prefix, IpAddr)> {
    let connected = config.addresses.iter().map(|a| (a.network(), a.address));
    let routed = config.routes.iter().filter_map(|route| {
        let on = |interface: &str, fits: &dyn Fn(&model::Address) -> bool| {
            let family = |a: &&model::Address| a.address.is_ipv4() == route.dst.is_ipv4();
            let of_interface = config.addresses.iter().filter(|a| a.interface == *interface).filter(family);
            of_interface.clone().find(|a| fits(a)).or_else(|| of_interface.clone().next()).map(|a| a.address)
        };
        let source = match &route.gateway {
            model::Gateway::Via { address, interface } => on(interface, &|a| a.network().contains(*address)),
            model::Gateway::Interface(interface) => on(interface, &|_| true),
            model::Gateway::Blackhole => None,
        };
        Some((route.dst, source?))
    });
    connected.chain(routed).collect()
}

fn peer(peer: &model::Peer, children: Vec<api::Child>) -> api::Peer {
    api::Peer {
        name: peer.name.clone(),
        address: peer.address,
        local_address: peer.local_address,
        port: peer.port,
        passive: peer.passive,
        send_initial_contact: peer.send_initial_contact,
        profile: profile(&peer.profile),
        identities: peer.identities.iter().map(identity).collect(),
        children,
    }
}

fn profile(profile: &model::Profile) -> api::Profile {
    api::Profile {
        name: profile.name.clone(),
        proposal: api::IkeProposal {
            encryption: profile.encryption.clone(),
            integrity: vec![profile.hash],
            prf: vec![profile.prf],
            groups: profile.dh_groups.clone(),
        },
        lifetime: profile.lifetime,
        dpd_interval: profile.dpd_interval,
        nat_traversal: profile.nat_traversal,
        extensions: extensions(&profile.extensions),
    }
}

fn extensions(of: &model::Extensions) -> api::Extensions {
    api::Extensions {
        fragment_size: of.fragment_size,
        mobike: of.mobike,
        childless: match of.childless {
            model::Childless::No => api::Childless::No,
            model::Childless::Allow => api::Childless::Allow,
            model::Childless::Prefer => api::Childless::Prefer,
        },
        follow_redirects: of.follow_redirects,
        resumption: of.resumption,
        window: of.window,
    }
}

fn child(policy: &model::Policy) -> Option<api::Child> {
    let Action::Encrypt { tunnel, .. } = policy.spec.action else { return None };
    let proposal = &policy.proposal;
    Some(api::Child {
        policy: policy.spec.id,
        proposal: proposal.name.clone(),
        selector: policy.spec.selector.into(),
        tunnel,
        protocol: policy.protocol,
        suites: policy.suites(),
        pfs: proposal.pfs_group,
        // Zero is no limit.
        lifetime: proposal.lifetime.unwrap_or(Duration::ZERO),
        lifetime_bytes: proposal.lifebytes,
        replay_window: proposal.replay_window.get(),
        esn: proposal.esn,
    })
}

fn identity(identity: &model::Identity) -> api::Identity {
    let model::Auth::PreSharedKey(secret) = &identity.auth;
    let my_id = match &identity.my_id {
        model::MyId::Auto => api::MyId::Auto,
        model::MyId::Id(value) => api::MyId::Id(id(value)),
    };
    let remote_id = match &identity.remote_id {
        model::RemoteId::Auto => api::RemoteId::Auto,
        model::RemoteId::Ignore => api::RemoteId::Ignore,
        model::RemoteId::Id(value) => api::RemoteId::Id(id(value)),
    };
    api::Identity::with_secret(my_id, remote_id, api::Psk(secret.expose().to_vec()))
}
fn id(id: &model::Id) -> api::Id {
    match id {
        model::Id::Address(addr) => api::Id::Address(*addr),
        model::Id::Fqdn(name) => api::Id::Fqdn(name.clone()),
        model::Id::UserFqdn(name) => api::Id::UserFqdn(name.clone()),
        model::Id::KeyId(key) => api::Id::KeyId(key.clone().into_bytes()),
    }
}
