//! The other side's configuration that fits ours, for the kinds of peers people have.
//!
//! Algorithms, identities, networks and addresses are mirrored from the peer, its first identity, its profile and its
//! policies. What the other kind cannot do stands in a comment and in `problems`: it is never left out silently.
mod clients;
mod routeros;
mod swanctl;

use crate::model::{Config, Id, Identity, MyId, Peer, Policy, Proof, RemoteId};
use crate::script::export::quote;
use crate::ways::Ways;
use sa::Prefix;
use std::net::IpAddr;
use zeroize::Zeroizing;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Routeros,
    Swanctl,
    Windows,
    Apple,
    Android,
}
impl Kind {
    pub const ALL: [Self; 5] = [Self::Routeros, Self::Swanctl, Self::Windows, Self::Apple, Self::Android];
    pub const fn name(self) -> &'static str {
        match self {
            Self::Routeros => "routeros",
            Self::Swanctl => "swanctl",
            Self::Windows => "windows",
            Self::Apple => "apple",
            Self::Android => "android",
        }
    }
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }
}

pub struct Printed {
    pub text: Zeroizing<String>,
    /// Why it may not connect; also said in the text.
    pub problems: Vec<String>,
}

/// For the peer of this name. Its secret is only in it with `sensitive`; else a placeholder that says so.
pub fn print(config: &Config, peer: &str, kind: Kind, sensitive: bool) -> Result<Printed, String> {
    let Some(peer) = config.ipsec.peer(peer) else {
        let names: Vec<&str> = config.ipsec.peers.iter().map(|p| p.name.as_str()).collect();
        return Err(match names.as_slice() {
            [] => "the configuration has no enabled peer".into(),
            names if names.len() > 8 => format!("there is no enabled peer `{peer}`"),
            names => format!("there is no enabled peer `{peer}`; there are {}", names.join(", ")),
        });
    };
    let mut other = Other::of(config, peer, sensitive)?;
    let text = match kind {
        Kind::Routeros => routeros::print(&mut other),
        Kind::Swanctl => swanctl::print(&mut other),
        Kind::Windows => clients::windows(&mut other),
        Kind::Apple => clients::apple(&mut other),
        Kind::Android => clients::android(&mut other),
    };
    Ok(Printed { text, problems: other.problems })
}

/// What stands where a secret would.
const HIDDEN: &str = "CHANGE-ME (the secret of this peer's identity; --show-sensitive prints it)";

/// Everything seen from the other side.
struct Other<'a> {
    /// What the other side may call us.
    name: String,
    peer: &'a Peer,
    policies: Vec<&'a Policy>,
    /// Our address: where they connect to.
    remote: Option<IpAddr>,
    /// Theirs, if they have one.
    local: Option<IpAddr>,
    local_id: Option<Id>,
    remote_id: Option<Id>,
    secret: Zeroizing<String>,
    shown: bool,
    problems: Vec<String>,
}

impl<'a> Other<'a> {
    fn of(config: &'a Config, peer: &'a Peer, sensitive: bool) -> Result<Self, String> {
        let local = (peer.host.is_none() && peer.address == Prefix::host(peer.address.addr()))
            .then(|| peer.address.addr());
        let remote = peer.local_address.or_else(|| source(config, local, peer.address.is_ipv4()));
        let identity = peer.identities.first().ok_or("the peer has no identity")?;
        let mut problems = Vec::new();
        if remote.is_none() {
            problems.push("no address of ours leads to the peer: write where it connects to by hand".into());
        }
        if peer.identities.len() > 1 {
            problems.push(format!(
                "the peer has {} identities; this is for the first of them",
                peer.identities.len()
            ));
        }
        let policies: Vec<&Policy> = config.ipsec.policies_of(&peer.name).collect();
        if policies.is_empty() {
            problems.push(format!("no policy names the peer `{}`: nothing is protected", peer.name));
        }
        let (Proof::Secret(secret), Proof::Secret(_)) = (&identity.auth.ours, &identity.auth.theirs) else {
            return Err("its first identity has certificates or keys; the other side's part can be printed for pre-shared keys alone".into());
        };
        let secret = if sensitive { secret.to_text() } else { Zeroizing::new(HIDDEN.to_owned()) };
        let (local_id, remote_id) = ids(identity, local, remote);
        let name = config.system.name.clone();
        Ok(Self {
            name,
            peer,
            policies,
            remote,
            local,
            local_id,
            remote_id,
            secret,
            shown: sensitive,
            problems,
        })
    }
    fn remote(&self) -> String {
        self.remote.map_or_else(|| "ADDRESS-OF-THE-GATEWAY".into(), |address| address.to_string())
    }
    fn problem(&mut self, said: impl Into<String>) {
        self.problems.push(said.into());
    }
    /// What of ours the other kind knows under its own words; the rest is a problem, and all of it missing is a bigger one.
    fn words<T: Copy>(
        &mut self,
        what: &str,
        whose: &str,
        ours: &[T],
        name: impl Fn(T) -> &'static str,
        word: impl Fn(T) -> Option<&'static str>,
    ) -> Vec<&'static str> {
        let theirs: Vec<&'static str> = ours.iter().filter_map(|one| word(*one)).collect();
        if theirs.is_empty() && !ours.is_empty() {
            let ours: Vec<_> = ours.iter().map(|one| name(*one)).collect();
            self.problem(format!(
                "WILL NOT CONNECT: {whose} knows none of the {what} allowed here ({}); allow another one here",
                ours.join(", ")
            ));
        }
        theirs
    }
}

/// The address packets to the peer are sent from: that of the interface the route leads to.
fn source(config: &Config, to: Option<IpAddr>, v4: bool) -> Option<IpAddr> {
    let ways = Ways::of(&config.addresses, &config.routes);
    let anywhere = if v4 { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
    let way = ways.to(to.unwrap_or(anywhere))?;
    let (interface, hop) = match &way.hop {
        crate::model::Gateway::Via { address, interface } => (interface, Some(*address)),
        crate::model::Gateway::Interface(interface) => (interface, to),
        crate::model::Gateway::Blackhole => return None,
    };
    let mut on = config.addresses.iter().filter(|a| a.interface == *interface && a.address.is_ipv4() == v4);
    let near = on.clone().find(|a| hop.is_some_and(|hop| a.network().contains(hop)));
    near.or_else(|| on.next()).map(|a| a.address)
}

/// Theirs and ours, as they are told to the other side; `None`: not known, or anything will do.
fn ids(identity: &Identity, local: Option<IpAddr>, remote: Option<IpAddr>) -> (Option<Id>, Option<Id>) {
    let theirs = match &identity.remote_id {
        RemoteId::Id(id) => Some(id.clone()),
        RemoteId::Auto | RemoteId::Ignore | RemoteId::Subject => local.map(Id::Address),
    };
    let ours = match &identity.my_id {
        MyId::Id(id) => Some(id.clone()),
        MyId::Auto | MyId::Subject => remote.map(Id::Address),
    };
    (theirs, ours)
}

/// The bare words of an identity, as clients with one field for it take it.
fn bare(id: &Id) -> String {
    match id {
        Id::Address(address) => address.to_string(),
        Id::Fqdn(text) | Id::UserFqdn(text) | Id::KeyId(text) | Id::Dn(text) => text.clone(),
    }
}

/// A header of comments: what this is, and every problem.
fn header(other: &Other<'_>, sign: &str, what: &str) -> String {
    let mut out = format!("{sign} {what} for `{}`, made by espway on `{}`.\n", other.peer.name, other.name);
    for problem in &other.problems {
        out += &format!("{sign} {problem}\n");
    }
    out
}
fn quoted(text: &str) -> String {
    let mut out = String::new();
    quote(text, &mut out);
    out
}
fn each<T>(list: &[T], name: impl Fn(&T) -> String, between: &str) -> String {
    list.iter().map(name).collect::<Vec<_>>().join(between)
}
