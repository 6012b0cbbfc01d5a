//! `ip.ipsec`: profiles, proposals, peers with their identities.
use super::net::Network;
use super::{Memo, Tables, advice, identity, policy, sas, templates};
use crate::complaint::Sink;
use crate::model::{
    Address, DhGroup, Extensions, Gateway, Generate, Identity, IkeCipher, IkeIntegrity, Ipsec, KeRound, Peer,
    Prf, Profile, Proposal, Route, Settings,
};
use crate::schema::{Default, Menu, ROOT};
use crate::walk::{Bad, Row};
use crate::ways::Ways;
use crate::yaml::Spot;
use sa::{Encryption, Integrity, MacKind, Prefix, ReplayWidth, Suite, SuiteError};
use std::collections::{HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

pub fn build(tables: &Tables, network: &Network, memo: &mut Memo, sink: &mut Sink) -> Option<Ipsec> {
    let settings = tables.one("ip.ipsec.settings")?;
    let profiles = with_default(tables, "ip.ipsec.profile", profile, sink);
    let lab = lab(tables);
    let proposals = with_default(tables, "ip.ipsec.proposal", |row, sink| proposal(row, lab, sink), sink);
    let credentials = identity::credentials(tables, sink);
    let identities = identities(tables, sink);
    let ways = Ways::of(&network.addresses, &network.routes);
    let around = Around { addresses: network.addresses.clone(), routes: network.routes.clone() };
    let around = memo.around.take().filter(|was| **was == around).unwrap_or_else(|| Arc::new(around));
    let peers = peers(tables, network, &ways, &profiles, identities, &around, sink);
    memo.around = Some(around);
    let policies = policy::build(tables, &peers, &proposals, &mut memo.order, sink);
    let templates = templates::build(tables, &policies, &proposals, sink);
    templates::groups(tables, &templates, sink);
    let manual_sas = sas::build(tables, network, &policies, sink);
    policy::without_peer(tables, &policies, sink);
    advice::weak_algorithms(tables, sink);
    advice::overlapping_peers(tables, sink);
    if sink.errors() == 0 {
        // A row that was complained about may be the one that is missing.
        advice::next_hops(tables, network, sink);
        advice::local_sides(tables, &ways, &policies, sink);
    }
    let named: HashSet<&str> = tables
        .list("ip.ipsec.policy")
        .iter()
        .filter_map(|row| row.get::<&str>("peer").ok())
        .flat_map(|peers| peers.split(','))
        .collect();
    let generate = |row: &&Row| row.enabled() && row.word("generate-policy").is_ok_and(|word| word != "no");
    let identities = tables.list("ip.ipsec.identity").iter().filter(generate);
    let named: HashSet<&str> =
        named.into_iter().chain(identities.filter_map(|row| row.get::<&str>("peer").ok())).collect();
    for row in tables.list("ip.ipsec.peer").iter().filter(|row| row.enabled()) {
        if let Some(name) = row.name().filter(|name| !named.contains(name)) {
            row.warning(
                sink,
                "",
                format!("no policy names the peer `{name}`"),
                "add one to `ip.ipsec.policy`",
            );
        }
    }
    Some(Ipsec {
        peers,
        templates,
        policies: policies.into_iter().map(|(_, policy)| policy).collect(),
        settings: Settings {
            ddos_cookie_threshold: settings.get::<u64>("ddos-cookie-threshold").ok()? as u32,
            redirect_to: settings.opt("redirect-to").ok()?,
        },
        manual_sas,
        credentials,
    })
}

/// The rows of a menu by name, with the `default` that exists without being written.
pub type Named<T> = HashMap<String, Arc<T>>;

fn with_default<T>(
    tables: &Tables,
    path: &str,
    build: impl Fn(&Row, &mut Sink) -> Result<T, Bad>,
    sink: &mut Sink,
) -> Named<T>
where
    T: Send + Sync + 'static,
{
    let rows = tables.list(path);
    let mut named: Named<T> = rows
        .iter()
        .filter_map(|row| {
            let made = row.made(sink, |row, sink| build(row, sink).map(Arc::new));
            Some((row.name()?.to_owned(), made.ok()?))
        })
        .collect();
    if !rows.iter().any(|row| row.name() == Some("default"))
        && let Some(menu) = find(path)
        && let Ok(built_in) = build(&built_in(menu, path), sink)
    {
        named.insert("default".into(), Arc::new(built_in));
    }
    named
}
fn find(path: &str) -> Option<&'static Menu> {
    path.split('.').try_fold(&ROOT, |menu, name| menu.menus.iter().find(|m| m.name == name))
}
/// The row as if only its name had been written.
fn built_in(menu: &'static Menu, path: &str) -> Row {
    debug_assert!(menu.properties.iter().all(|p| p.name == "name" || p.default != Default::Needed));
    Row::built_in(menu.properties, path, "default")
}

fn words<T>(row: &Row, name: &str, read: impl Fn(&str) -> Option<T>) -> Result<Vec<T>, Bad> {
    let words: &[(&'static str, Spot)] = row.get(name)?;
    words.iter().map(|(word, _)| read(word).ok_or(Bad)).collect()
}

/// No round at all where `none` stands alone.
fn additional(row: &Row) -> Result<Vec<KeRound>, Bad> {
    let words = words(row, "additional-ke", |word| Some(DhGroup::from_name(word)))?;
    let optional = words.contains(&None);
    let methods: Vec<_> = words.into_iter().flatten().collect();
    Ok(if methods.is_empty() { Vec::new() } else { vec![KeRound { methods, optional }] })
}
fn profile(row: &Row, _: &mut Sink) -> Result<Profile, Bad> {
    let hash = IkeIntegrity::from_name(row.word("hash-algorithm")?).ok_or(Bad)?;
    let prf = match row.word("prf-algorithm")? {
        "auto" => hash.prf(),
        name => Prf::from_name(name).ok_or(Bad)?,
    };
    Ok(Profile {
        name: row.get::<&str>("name")?.into(),
        dh_groups: words(row, "dh-group", DhGroup::from_name)?,
        additional: additional(row)?,
        dpd_interval: row.get("dpd-interval")?,
        encryption: words(row, "enc-algorithm", IkeCipher::from_name)?,
        hash,
        prf,
        lifetime: row.get::<Option<Duration>>("lifetime")?.ok_or(Bad)?,
        nat_traversal: row.get("nat-traversal")?,
        extensions: extensions(row)?,
    })
}
fn extensions(row: &Row) -> Result<Extensions, Bad> {
    Ok(Extensions {
        fragment_size: row.get::<u64>("fragment-size")? as u16,
        mobike: row.get("mobike")?,
        childless: row.get("childless")?,
        follow_redirects: row.get("follow-redirects")?,
        window: row.get::<u64>("window-size")? as u32,
    })
}

/// Whether this may run what has no place in production.
pub fn lab(tables: &Tables) -> bool {
    tables.one("system").and_then(|row| row.get("lab").ok()).unwrap_or(false)
}
/// Says of ESP that anybody can forge that it is that, each time it is checked.
pub fn unprotected(
    row: &Row,
    property: &str,
    cipher: Encryption,
    lab: bool,
    sink: &mut Sink,
) -> Option<Suite> {
    let suite = Suite::unprotected(cipher).filter(|_| lab)?;
    let said = format!(
        "{} without an integrity algorithm: anybody can forge packets, and change ours",
        cipher.name()
    );
    row.warning(sink, property, said, "nothing in a laboratory; elsewhere add sha256");
    Some(suite)
}

fn proposal(row: &Row, lab: bool, sink: &mut Sink) -> Result<Proposal, Bad> {
    let encryption = words(row, "enc-algorithms", Encryption::from_name)?;
    let integrity = words(row, "auth-algorithms", Integrity::from_name)?;
    let pfs_group = match row.word("pfs-group")? {
        "none" => None,
        name => Some(DhGroup::from_name(name).ok_or(Bad)?),
    };
    let mut additional = additional(row)?;
    if pfs_group.is_none() && !additional.is_empty() {
        let said =
            "without pfs-group there is no key exchange that a further one could follow: it is not made";
        row.warning(sink, "additional-ke", said, "write a pfs-group as well, or leave it out");
        additional.clear();
    }
    let replay_window = replay_window(row, sink)?;
    let lifetime = row.get::<Option<Duration>>("lifetime")?.ok_or(Bad)?;
    if !lifetime.is_zero() && lifetime < Duration::from_secs(10) {
        return Err(row.error(
            sink,
            "lifetime",
            "less than 10 s leaves no time to rekey",
            "write at least 10s, better 30m",
        ));
    }
    Ok(Proposal {
        name: row.get::<&str>("name")?.into(),
        suites: suites(row, &encryption, &integrity, lab, sink)?,
        lifetime: (!lifetime.is_zero()).then_some(lifetime),
        lifebytes: row.get("lifebytes")?,
        pfs_group,
        additional,
        replay_window,
        esn: row.get("esn")?,
    })
}

pub fn replay_window(row: &Row, sink: &mut Sink) -> Result<ReplayWidth, Bad> {
    let width = row.get::<u64>("replay-window")? as u32;
    ReplayWidth::new(width).ok_or_else(|| {
        let said = format!("{width} is neither 0 nor a power of two from 64 to 65536");
        row.error(
            sink,
            "replay-window",
            said,
            format!("write {}", width.next_power_of_two().clamp(64, 65536)),
        )
    })
}

/// Each cipher with every integrity algorithm that goes with it; all that goes with nothing is complained about.
fn suites(
    row: &Row,
    encryption: &[Encryption],
    integrity: &[Integrity],
    lab: bool,
    sink: &mut Sink,
) -> Result<Vec<Suite>, Bad> {
    let mut suites = Vec::new();
    let mut used = HashSet::new();
    let mut result = Ok(());
    for cipher in encryption {
        if cipher.transform().is_none() {
            let said = format!("IKEv2 has no number for `{}`", cipher.name());
            if encryption.len() == 1 {
                result = Err(row.error(sink, "enc-algorithms", said, "take another; manual SAs may have it"));
            } else {
                row.warning(sink, "enc-algorithms", format!("{said}: it is never offered"), "leave it out");
                continue;
            }
        }
        let mut refusal = None;
        let before = suites.len();
        for auth in integrity {
            match Suite::new(*cipher, *auth) {
                Ok(suite) => {
                    used.insert(*auth);
                    suites.push(suite);
                }
                // For policies of AH, whatever the cipher.
                Err(SuiteError::AhOnly(_)) => {
                    if used.insert(*auth) {
                        suites.extend(Suite::ah(*auth));
                    }
                }
                Err(error) => refusal = Some(error.to_string()),
            }
        }
        let which = if row.written("auth-algorithms") { "auth-algorithms" } else { "enc-algorithms" };
        if suites.len() == before
            && integrity.contains(&Integrity::None)
            && let Some(suite) = unprotected(row, which, *cipher, lab, sink)
        {
            used.insert(Integrity::None);
            suites.push(suite);
        } else if let (true, Some(refusal)) = (suites.len() == before, refusal) {
            let (said, fix) = refusal.split_once(": ").unwrap_or((&refusal, ""));
            result = Err(row.error(sink, which, said, fix));
        }
    }
    if let Some(auth) = integrity.iter().find(|auth| !used.contains(*auth)).filter(|_| result.is_ok()) {
        let said = format!("`{}` goes with none of `enc-algorithms`", auth.name());
        let fix = match auth.kind() {
            MacKind::None => "it is for AES-GCM",
            MacKind::Gmac => "it is for AH: write `enc-algorithms: null` with it",
            _ => "AES-GCM needs none; leave it out",
        };
        result = Err(row.error(sink, "auth-algorithms", said, fix));
    }
    result.map(|()| suites)
}

type Identities<'r> = HashMap<&'r str, Vec<Arc<Identity>>>;

/// By peer, in the order of the file.
fn identities<'r>(tables: &Tables<'r>, sink: &mut Sink) -> Identities<'r> {
    let mut by_peer: Identities = HashMap::new();
    let mut first: HashMap<(&str, &str, &str, [&str; 4]), &Row> = HashMap::new();
    for row in tables.list("ip.ipsec.identity") {
        let Ok(peer) = row.get::<&str>("peer") else { continue };
        let Ok(identity) = row.made(sink, |row, sink| identity::build(row, sink).map(Arc::new)) else {
            // Known to have one, so that the peer is not complained about as well.
            by_peer.entry(peer).or_default();
            continue;
        };
        if !row.enabled() {
            continue;
        }
        let text = |name| row.opt::<&str>(name).ok().flatten().unwrap_or_default();
        let word = |name| row.word(name).unwrap_or_default();
        let how =
            [word("match-by"), word("auth-method"), word("remote-auth-method"), text("remote-certificate")];
        // What nobody could tell apart by what a caller says, sends or asks for.
        let key = (peer, text("remote-id"), text("my-id"), how);
        if let Some(other) = first.insert(key, row) {
            let said = format!("{} is for the same peer and the same remote-id", other.path());
            row.error(sink, "remote-id", said, "write another remote-id, or remove one of the two");
            continue;
        }
        by_peer.entry(peer).or_default().push(identity);
    }
    by_peer
}

/// `generate-policy` and the group of its templates.
pub(super) fn generate(row: &Row, sink: &mut Sink) -> Result<Option<Generate>, Bad> {
    let word = row.word("generate-policy")?;
    if word == "no" {
        return Ok(None);
    }
    match row.get::<&str>("policy-template-group")? {
        "none" => {
            let said =
                format!("generate-policy={word} makes policies inside templates, and there is no group");
            Err(row.error(sink, "policy-template-group", said, "name one from `ip.ipsec.policy-group`"))
        }
        group => Ok(Some(Generate { any_port: word == "port-override", group: group.into() })),
    }
}

/// What the last check made of a peer about which nothing was to be said, and of what.
struct Former {
    around: Arc<Around>,
    identities: Vec<Arc<Identity>>,
    peer: Arc<Peer>,
}
/// What else a peer is held against.
#[derive(Debug, PartialEq, Eq)]
pub struct Around {
    addresses: Vec<Address>,
    routes: Vec<Route>,
}

fn peers(
    tables: &Tables,
    network: &Network,
    ways: &Ways,
    profiles: &Named<Profile>,
    mut identities: Identities,
    around: &Arc<Around>,
    sink: &mut Sink,
) -> Vec<Arc<Peer>> {
    let mut by_address: HashMap<(Prefix, Option<String>), &Row> = HashMap::new();
    super::enabled(tables.list("ip.ipsec.peer"), |row| {
        let name: &str = row.get("name")?;
        let host_name: Option<String> = row.get::<&str>("address").ok().map(Into::into);
        let address: Prefix = match host_name {
            Some(_) => Prefix::host(Ipv4Addr::UNSPECIFIED.into()),
            None => row.get("address")?,
        };
        let local_address: Option<IpAddr> = row.opt("local-address")?;
        let profile = row.get::<&str>("profile").and_then(|p| profiles.get(p).cloned().ok_or(Bad));
        row.word("exchange-mode")?; // ike2 is the only one that gets here
        if !row.enabled() {
            return Err(Bad);
        }
        if let Some(first) = by_address.insert((address, host_name.clone()), row) {
            let address = host_name.unwrap_or_else(|| address.to_string());
            let first = first.path();
            let said = format!("{first} has the address {address} too; nobody could tell the two apart");
            return Err(row.error(
                sink,
                "address",
                said,
                "write another address, or give one peer two identities",
            ));
        }
        let identities = identities.remove(name);
        let former = row.kept::<Former>().filter(|former| {
            let same = |ours: &Vec<Arc<Identity>>| {
                ours.len() == former.identities.len()
                    && ours.iter().zip(&former.identities).all(|(ours, was)| Arc::ptr_eq(ours, was))
            };
            Arc::ptr_eq(&former.around, around)
                && identities.as_ref().is_some_and(same)
                && profile.as_ref().is_ok_and(|profile| *profile == former.peer.profile)
        });
        if let Some(former) = former {
            return Ok(Arc::clone(&former.peer));
        }
        let (complaints, errors) = (sink.count(), sink.errors());
        let remote = host_name.is_none().then_some(address);
        endpoints(row, network, ways, remote, local_address, sink)?;
        // A warning: who adds one after the other begins with the peer.
        if identities.as_ref().is_some_and(Vec::is_empty) {
            return Err(Bad); // complained about there
        }
        if identities.is_none() {
            let said = format!("`{name}` has no identity, so nobody can prove anything to it");
            row.warning(sink, "", said, format!("add a row with `peer: {name}` to `ip.ipsec.identity`"));
        }
        let host = Prefix::host(address.addr()) == address;
        let identities = identities.unwrap_or_default();
        let peer = Arc::new(Peer {
            name: name.into(),
            address,
            host: host_name,
            local_address,
            port: row.get::<u64>("port")? as u16,
            passive: row.get::<bool>("passive")? || !host,
            send_initial_contact: row.get("send-initial-contact")?,
            profile: profile?,
            identities: identities.iter().map(|identity| Identity::clone(identity)).collect(),
        });
        if (sink.count(), errors) == (complaints, 0) {
            let (around, peer) = (Arc::clone(around), Arc::clone(&peer));
            row.keep(Arc::new(Former { around, identities, peer }));
        }
        Ok(peer)
    })
}

fn endpoints(
    row: &Row,
    network: &Network,
    ways: &Ways,
    address: Option<Prefix>,
    local: Option<IpAddr>,
    sink: &mut Sink,
) -> Result<(), Bad> {
    if let Some(local) = local {
        if !network.owns(local) {
            let said = format!("{local} is not one of our addresses");
            return Err(row.error(
                sink,
                "local-address",
                said,
                "write one from `ip.address`, or add it there",
            ));
        }
        if let Some(address) = address.filter(|address| local.is_ipv4() != address.is_ipv4()) {
            let said = format!("{local} and the peer's address {address} differ in IP version");
            return Err(row.error(sink, "local-address", said, "take both from the same"));
        }
    }
    let Some(address) = address else { return Ok(()) }; // nobody knows yet
    let host = Prefix::host(address.addr()) == address;
    if host && network.owns(address.addr()) {
        let said = format!("{} is our own address", address.addr());
        return Err(row.error(sink, "address", said, "write that of the other side"));
    }
    if host && (address.addr().is_multicast() || address.addr().is_unspecified()) {
        let said = format!("{} is not the address of a host", address.addr());
        return Err(row.error(sink, "address", said, "write that of the other side"));
    }
    // A route that was complained about may be the one.
    if host && sink.errors() == 0 {
        let (said, fix) = match ways.to(address.addr()).map(|way| &way.hop) {
            Some(Gateway::Blackhole) => {
                (format!("the route to {} is a blackhole", address.addr()), "add a longer one to `ip.route`")
            }
            Some(_) => return Ok(()),
            None => (format!("no route leads to {}", address.addr()), "add one to `ip.route`"),
        };
        row.warning(sink, "address", said, fix);
    }
    Ok(())
}
