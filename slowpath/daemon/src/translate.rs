//! The checked configuration in the engine's and the fast path's terms.
use config::model;
use ike::api;
use ipc::{Command, Via};
use manage::credentials::Credentials;
use sa::{Action, PolicySpec, Prefix, Protocol, Suite, TrafficSelector};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

pub struct Translated {
    pub ike: api::Config,
    /// The SPD in rank order.
    pub policies: Vec<PolicySpec>,
    /// Who negotiates for a policy, for the status answer; same order.
    pub policy_peers: Vec<Option<String>>,
}

/// `sa_slots` is what the running fast path has, which may differ from the file's after an edit.
pub fn translate(config: &model::Config, credentials: &Credentials, sa_slots: u32) -> Translated {
    let ipsec = &config.ipsec;
    let mut children: HashMap<&str, Vec<api::Child>> = HashMap::new();
    for policy in &ipsec.policies {
        for (rank, peer) in (0..).zip(policy.peer.iter().chain(&policy.backups)) {
            let child = child(policy).map(|child| api::Child { backup: rank, ..child });
            children.entry(peer).or_default().extend(child);
        }
    }
    let generates = Generates::of(ipsec);
    let mut peer = |p: &model::Peer| {
        peer(p, credentials, &generates, children.remove(p.name.as_str()).unwrap_or_default())
    };
    Translated {
        ike: api::Config {
            peers: ipsec.peers.iter().map(|p| peer(p)).collect(),
            ddos_cookie_threshold: ipsec.settings.ddos_cookie_threshold,
            sa_slots,
            sources: sources(config),
            extensions: api::GatewayExtensions { redirect_to: ipsec.settings.redirect_to },
            spd: generates.spd(ipsec),
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

fn peer(
    peer: &model::Peer,
    credentials: &Credentials,
    generates: &Generates,
    children: Vec<api::Child>,
) -> api::Peer {
    api::Peer {
        name: peer.name.clone(),
        address: peer.address,
        local_address: peer.local_address,
        host: peer.host.clone(),
        port: peer.port,
        passive: peer.passive,
        send_initial_contact: peer.send_initial_contact,
        profile: profile(&peer.profile),
        identities: peer.identities.iter().map(|i| identity(i, credentials, generates)).collect(),
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
            additional: profile.additional.clone(),
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
        childless: of.childless,
        follow_redirects: of.follow_redirects,
        window: of.window,
    }
}

fn child(policy: &model::Policy) -> Option<api::Child> {
    child_of(&policy.spec, policy.protocol, &policy.proposal, policy.suites())
}
fn child_of(
    spec: &PolicySpec,
    protocol: Protocol,
    proposal: &model::Proposal,
    suites: Vec<Suite>,
) -> Option<api::Child> {
    let Action::Encrypt { tunnel, level } = spec.action else { return None };
    Some(api::Child {
        policy: spec.id,
        level,
        backup: 0,
        any_port: false,
        framing: spec.framing,
        proposal: proposal.name.clone(),
        selector: spec.selector.into(),
        tunnel,
        protocol,
        suites,
        pfs: proposal.pfs_group,
        additional: proposal.additional.clone(),
        // Zero is no limit.
        lifetime: proposal.lifetime.unwrap_or(Duration::ZERO),
        lifetime_bytes: proposal.lifebytes,
        replay_window: proposal.replay_window.get(),
        esn: proposal.esn,
    })
}

/// What identities may have policies made of, each once.
struct Generates(HashMap<(String, bool), Arc<api::Generate>>);
impl Generates {
    fn of(ipsec: &model::Ipsec) -> Self {
        let mut made = HashMap::new();
        for wanted in ipsec.peers.iter().flat_map(|p| &p.identities).filter_map(|i| i.generate.as_ref()) {
            made.entry((wanted.group.clone(), wanted.any_port)).or_insert_with(|| {
                let of_group = ipsec.templates.iter().filter(|t| t.group == wanted.group);
                let templates = of_group.filter_map(template).collect();
                Arc::new(api::Generate { any_port: wanted.any_port, templates })
            });
        }
        Self(made)
    }
    fn get(&self, identity: &model::Identity) -> Option<Arc<api::Generate>> {
        let wanted = identity.generate.as_ref()?;
        self.0.get(&(wanted.group.clone(), wanted.any_port)).cloned()
    }
    /// Empty when no policies are made.
    fn spd(&self, ipsec: &model::Ipsec) -> Vec<api::Rank> {
        let used = |t: &&model::Template| self.0.keys().any(|(group, _)| *group == t.group);
        let mut templates = ipsec.templates.iter().filter(used).peekable();
        if templates.peek().is_none() {
            return Vec::new();
        }
        let mut spd = Vec::with_capacity(ipsec.policies.len() + ipsec.templates.len());
        for (place, policy) in ipsec.policies.iter().enumerate() {
            while let Some(template) = templates.next_if(|t| t.place <= place) {
                spd.push(api::Rank::Template(template.id));
            }
            spd.push(api::Rank::Policy(policy.spec));
        }
        spd.extend(templates.map(|template| api::Rank::Template(template.id)));
        spd
    }
}
fn template(template: &model::Template) -> Option<api::Template> {
    let selectors: Vec<TrafficSelector> = template.selectors.iter().map(|s| (*s).into()).collect();
    let spec = PolicySpec {
        id: template.id,
        selector: *template.selectors.first()?,
        action: Action::Encrypt { level: template.level, tunnel: true },
        framing: template.framing,
    };
    let like = child_of(&spec, template.protocol, &template.proposal, template.suites())?;
    Some(api::Template { group: template.group.clone(), selectors, like })
}

fn identity(identity: &model::Identity, credentials: &Credentials, generates: &Generates) -> api::Identity {
    let auth = &identity.auth;
    let (mut ours, mut theirs) = (proof(&auth.ours, credentials), check(&auth.theirs, credentials));
    let my_id = match (&identity.my_id, &ours) {
        (model::MyId::Id(value), _) => match id(value) {
            Ok(id) => api::MyId::Id(id),
            Err(why) => {
                ours = api::Proof::Missing(why);
                api::MyId::Auto
            }
        },
        (model::MyId::Subject, api::Proof::Signature(signer)) => signer
            .certificate()
            .map_or(api::MyId::Auto, |own| api::MyId::Id(api::Id::Dn(own.subject().to_vec()))),
        (model::MyId::Auto | model::MyId::Subject, _) => api::MyId::Auto,
    };
    let remote_id = match (&identity.remote_id, &theirs) {
        (model::RemoteId::Id(value), _) => match id(value) {
            Ok(id) => api::RemoteId::Id(id),
            Err(why) => {
                theirs = api::Check::Missing(why);
                api::RemoteId::Auto
            }
        },
        (model::RemoteId::Ignore, _) => api::RemoteId::Ignore,
        (model::RemoteId::Subject, api::Check::Certificate { only: Some(only), .. }) => {
            api::RemoteId::Id(api::Id::Dn(only.subject().to_vec()))
        }
        (model::RemoteId::Auto | model::RemoteId::Subject, _) => api::RemoteId::Auto,
    };
    let match_by =
        if identity.match_by_certificate { api::MatchBy::Certificate } else { api::MatchBy::RemoteId };
    let ways = api::Ways { pkcs1: auth.pkcs1, sha1: auth.allow_sha1 };
    let auth = api::Auth { ours, theirs, ways };
    api::Identity { my_id, remote_id, match_by, auth, generate: generates.get(identity) }
}
fn psk(secret: &config::Secret) -> api::Psk {
    api::Psk(secret.expose().to_vec())
}
fn proof(proof: &model::Proof, credentials: &Credentials) -> api::Proof {
    let signer = match proof {
        model::Proof::Secret(secret) => return api::Proof::Secret(psk(secret)),
        model::Proof::Certificate(names) => credentials.signer(names),
        model::Proof::Key(name) => credentials.raw_signer(name),
    };
    signer.map_or_else(api::Proof::Missing, api::Proof::Signature)
}
fn check(proof: &model::Proof, credentials: &Credentials) -> api::Check {
    match proof {
        model::Proof::Secret(secret) => api::Check::Secret(psk(secret)),
        model::Proof::Key(name) => {
            credentials.raw_key(name).map_or_else(api::Check::Missing, api::Check::Key)
        }
        model::Proof::Certificate(names) => {
            let only = names.first().map(|name| credentials.certificate(name)).transpose();
            let trust = credentials.trust().clone();
            only.map_or_else(api::Check::Missing, |only| api::Check::Certificate { trust, only })
        }
    }
}
/// A name that cannot be read has been complained about; it stands for nobody.
fn id(id: &model::Id) -> Result<api::Id, Arc<str>> {
    Ok(match id {
        model::Id::Address(addr) => api::Id::Address(*addr),
        model::Id::Fqdn(name) => api::Id::Fqdn(name.clone()),
        model::Id::UserFqdn(name) => api::Id::UserFqdn(name.clone()),
        model::Id::KeyId(key) => api::Id::KeyId(key.clone().into_bytes()),
        model::Id::Dn(text) => api::Id::Dn(pki::name::from_text(text).map_err(|e| Arc::from(e.to_string()))?),
    })
}
