//! `ip.ipsec.policy`: selectors, order, who negotiates.
use super::Tables;
use super::ipsec::Named;
use super::order::{Before, Cover, Memo};
use crate::complaint::Sink;
use crate::model::{Peer, Policy, Proposal, ah_suites, esp_suites};
use crate::value;
use crate::walk::{Bad, Row};
use sa::{Action, DontFragment, Framing, Level, PolicyId, PolicySpec, PortRange, Prefix, Protocol, Selector};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

/// Every good and enabled policy with the number of its row.
pub type Numbered = Vec<(usize, Policy)>;

pub fn build(
    tables: &Tables,
    peers: &[Arc<Peer>],
    proposals: &Named<Proposal>,
    order: &mut Memo,
    sink: &mut Sink,
) -> Numbered {
    let rows = tables.list("ip.ipsec.policy");
    let peers: HashMap<&str, &Arc<Peer>> = peers.iter().map(|p| (p.name.as_str(), p)).collect();
    let off = |list: &str| -> HashSet<&str> {
        tables.list(list).iter().filter(|row| !row.enabled()).filter_map(Row::name).collect()
    };
    let (peers_off, proposals_off) = (off("ip.ipsec.peer"), off("ip.ipsec.proposal"));
    let mut policies = Numbered::with_capacity(rows.len());
    order.begin();
    for (number, row) in rows.iter().enumerate() {
        if super::templates::is_template(row) {
            continue;
        }
        let made = row.made(sink, |row, sink| {
            let selector = selector(row, sink)?;
            let action = action(row)?;
            Ok((selector, action, protocol(row, action)?, framing(row, sink)?))
        });
        let Ok((selector, action, protocol, framing)) = made else { continue };
        let (peer, backups) = match peers_of(row, action, &peers, &peers_off, sink) {
            Ok(found) => found,
            Err(Bad) => continue,
        };
        let Ok(proposal) = row.get::<&str>("proposal") else { continue };
        if row.enabled() && peer.is_some() && proposals_off.contains(proposal) {
            let said = format!("the proposal `{proposal}` is disabled");
            row.error(sink, "proposal", said, "enable it or name another");
            continue;
        }
        let Some(proposal) = proposals.get(proposal).cloned() else { continue };
        let every = || peer.into_iter().chain(backups.iter().copied());
        let fits =
            |peer: &Arc<Peer>, sink: &mut Sink| transport_fits(row, action, &selector, peer, sink).is_ok();
        if !row.enabled() || !every().all(|peer| fits(peer, sink)) {
            continue;
        }
        if protocol == Protocol::Ah && ah_suites(&proposal.suites).is_empty() {
            let said =
                format!("AH needs an integrity algorithm, and the proposal `{}` has none", proposal.name);
            row.error(sink, "proposal", said, "name one with `auth-algorithms: sha256`");
            continue;
        }
        if protocol == Protocol::Esp && peer.is_some() && esp_suites(&proposal.suites).next().is_none() {
            let said = format!("the proposal `{}` has nothing but integrity algorithms of AH", proposal.name);
            row.error(sink, "proposal", said, "write `ipsec-protocols: ah`, or name another proposal");
            continue;
        }
        let peer = peer.map(|peer| peer.name.clone());
        let backups = backups.iter().map(|peer| peer.name.clone()).collect();
        let place = |row: usize| rows.get(row).map(Row::place).unwrap_or_default();
        let covered =
            |who: String| format!("{who} everything this one is for, so it never comes to its turn");
        match order.next(number, selector) {
            None => {}
            Some(Before::Same(first)) => {
                let said = format!("{} has the same selector, so this one would never match", place(first));
                row.error(sink, "", said, "remove one of the two");
                continue;
            }
            Some(Before::Covered(Cover::One(first))) => {
                let said = covered(format!("{} matches", place(first)));
                row.warning(sink, "", said, "move this one above it, or remove it");
            }
            Some(Before::Covered(Cover::Together(last))) => {
                let said = covered(format!("{} and others above it match", place(last)));
                row.warning(sink, "", said, "move this one above them, or remove it");
            }
        }
        let spec = PolicySpec { id: PolicyId(0), selector, action, framing };
        let comment = row.get::<&str>("comment").unwrap_or_default().into();
        policies.push((number, Policy { spec, peer, backups, protocol, proposal, comment }));
    }
    number(&mut policies);
    policies
}

fn selector(row: &Row, sink: &mut Sink) -> Result<Selector, Bad> {
    let (src, dst) = (row.get::<Prefix>("src-address"), row.get::<Prefix>("dst-address"));
    let (src, dst) = (src?, dst?);
    let protocol: Option<u8> = row.get("protocol")?;
    let (src_port, dst_port): (PortRange, PortRange) = (row.get("src-port")?, row.get("dst-port")?);
    if src.is_ipv4() != dst.is_ipv4() {
        let said = format!("src-address {src} and dst-address {dst} differ in IP version");
        return Err(row.error(
            sink,
            "dst-address",
            said,
            "take both from the same, or make a policy for each",
        ));
    }
    // tcp, udp, dccp, sctp, udp-lite
    let has_ports = matches!(protocol, Some(6 | 17 | 33 | 132 | 136));
    for (name, port) in [("src-port", src_port), ("dst-port", dst_port)] {
        if !port.is_any() && !has_ports {
            let said = format!("protocol {} has no ports", value::show_protocol(protocol));
            return Err(row.error(
                sink,
                name,
                said,
                "write `protocol: tcp` or `protocol: udp`, or leave the port out",
            ));
        }
    }
    Ok(Selector { src, dst, protocol, src_port, dst_port })
}

pub(super) fn action(row: &Row) -> Result<Action, Bad> {
    let level = match row.word("level")? {
        "use" => Level::Use,
        "unique" => Level::Unique,
        _ => Level::Require,
    };
    Ok(match row.word("action")? {
        "discard" => Action::Discard,
        "none" => Action::Bypass,
        _ => Action::Encrypt { level, tunnel: row.get("tunnel")? },
    })
}

/// What its SAs do with packets beyond protecting them.
pub(super) fn framing(row: &Row, sink: &mut Sink) -> Result<Framing, Bad> {
    let framing = Framing {
        dont_fragment: match row.word("dont-fragment")? {
            "no" => DontFragment::Clear,
            "yes" => DontFragment::Set,
            _ => DontFragment::Inherit,
        },
        // Both fit by the schema's bounds.
        dscp: row.opt::<u64>("dscp")?.map(|dscp| dscp as u8),
        clamp_mss: row.get("clamp-tcp-mss")?,
        pad_to: row.get::<u64>("tfc-padding")? as u16,
    };
    let esp_tunnel = row.word("action")? == "encrypt"
        && row.get::<bool>("tunnel")?
        && row.word("ipsec-protocols")? == "esp";
    if !(esp_tunnel || framing.is_plain()) {
        let said = "dont-fragment, dscp, clamp-tcp-mss and tfc-padding are for ESP in tunnel mode";
        row.warning(sink, "", said, "leave them out here");
    }
    Ok(framing)
}

pub(super) fn protocol(row: &Row, action: Action) -> Result<Protocol, Bad> {
    match action {
        Action::Encrypt { .. } => Protocol::from_name(row.word("ipsec-protocols")?).ok_or(Bad),
        Action::Discard | Action::Bypass => Ok(Protocol::Esp),
    }
}

//= rfc4301#4.1/transport-ends: transport mode is between two hosts, so the policy has to be about the two gateways.
fn transport_fits(
    row: &Row,
    action: Action,
    selector: &Selector,
    peer: &Arc<Peer>,
    sink: &mut Sink,
) -> Result<(), Bad> {
    let Action::Encrypt { tunnel: false, .. } = action else { return Ok(()) };
    let host = |prefix: Prefix| prefix == Prefix::host(prefix.addr());
    let ours = match peer.local_address {
        Some(local) => selector.src.contains(local),
        None => host(selector.src) || matches!(selector.src.len(), 0),
    };
    let Selector { src, dst, .. } = *selector;
    // Where a name leads is known when it is looked up.
    let theirs = peer.host.is_some()
        || dst.contains_prefix(peer.address)
        || host(dst) && peer.address.contains(dst.addr());
    if ours && theirs {
        return Ok(());
    }
    let said = if theirs {
        format!(
            "without it this is transport mode, between the gateways themselves, and src-address {src} is not our address"
        )
    } else {
        format!(
            "without it this is transport mode, between the gateways themselves, and dst-address {dst} is not the peer {}",
            peer.address
        )
    };
    Err(row.error(sink, "tunnel", said, "write `tunnel: yes`"))
}

/// The peer that will negotiate, and those that do when it is not there.
type Peers<'a> = (Option<&'a Arc<Peer>>, Vec<&'a Arc<Peer>>);
fn peers_of<'a>(
    row: &Row,
    action: Action,
    peers: &HashMap<&str, &'a Arc<Peer>>,
    off: &HashSet<&str>,
    sink: &mut Sink,
) -> Result<Peers<'a>, Bad> {
    let name = row.opt::<&str>("peer")?.filter(|name| !name.is_empty());
    let Action::Encrypt { .. } = action else {
        return match name {
            Some(_) => Err(row.error(sink, "peer", "only `encrypt` has a peer", "leave `peer` out")),
            None => Ok((None, Vec::new())),
        };
    };
    let Some(names) = name else { return Ok((None, Vec::new())) }; // manual SAs may serve it: see `without_peer`
    let (on, disabled): (Vec<&str>, Vec<&str>) = names.split(',').partition(|name| !off.contains(name));
    let Some(name) = on.first().copied() else {
        let name = disabled.first().copied().unwrap_or(names);
        let said =
            format!("the peer `{name}` is disabled: packets of this policy are dropped, not sent in clear");
        row.warning(sink, "peer", said, "disable the policy too if they may pass");
        return Ok((None, Vec::new()));
    };
    let found: Option<Vec<&Arc<Peer>>> = on.iter().map(|name| peers.get(name).copied()).collect();
    let mut found = found.ok_or(Bad)?.into_iter(); // complained about there
    let peer = found.next().ok_or(Bad)?;
    let address = (peer.host.is_none() && Prefix::host(peer.address.addr()) == peer.address)
        .then(|| peer.address.addr());
    for (property, ours) in [("sa-dst-address", address), ("sa-src-address", peer.local_address)] {
        let Some(written) = row.opt::<IpAddr>(property)?.filter(|a| !a.is_unspecified()) else { continue };
        if Some(written) != ours {
            let said =
                format!("the addresses of the SAs come from the peer `{name}`, and {written} is not its");
            return Err(row.error(sink, property, said, "leave it out, or change the peer"));
        }
    }
    Ok((Some(peer), found.collect()))
}

/// `encrypt` without a peer makes sense for manual SAs only.
pub fn without_peer(tables: &Tables, policies: &Numbered, sink: &mut Sink) {
    let manual: HashSet<u64> =
        tables.list("ip.ipsec.manual-sa").iter().filter_map(|row| row.get::<u64>("policy").ok()).collect();
    for (number, policy) in policies {
        let Some(row) = tables.list("ip.ipsec.policy").get(*number) else { continue };
        let encrypts = matches!(policy.spec.action, Action::Encrypt { .. });
        if encrypts && !row.written("peer") && !manual.contains(&(*number as u64)) {
            row.error(
                sink,
                "peer",
                "`encrypt` needs `peer`: who is to negotiate the SA?",
                "write `peer: NAME`",
            );
        }
    }
}

/// Ids from the selectors (which are unique): the same in every process and after every change elsewhere.
fn number(policies: &mut Numbered) {
    let mut taken = HashSet::with_capacity(policies.len());
    let mut all_differ = true;
    for (_, policy) in policies.iter_mut() {
        let id = id_of(bytes(&policy.spec.selector));
        all_differ &= taken.insert(id);
        policy.spec.id = PolicyId(id);
    }
    if all_differ {
        return;
    }
    // Two have the same: whose bytes are smaller keeps it, the other takes the next that is free.
    taken.clear();
    let mut order: Vec<&mut Policy> = policies.iter_mut().map(|(_, policy)| policy).collect();
    order.sort_by_cached_key(|policy| bytes(&policy.spec.selector).collect::<Vec<u8>>());
    for policy in order {
        let mut id = policy.spec.id.0;
        while !taken.insert(id) {
            id = next_id(id);
        }
        policy.spec.id = PolicyId(id);
    }
}
/// Below those of policies that negotiations make.
pub(super) fn id_of(bytes: impl Iterator<Item = u8>) -> u32 {
    (fnv1a(bytes) & !PolicyId::FIRST_DYNAMIC.0).max(1)
}
pub(super) fn next_id(id: u32) -> u32 {
    (id.wrapping_add(1) & !PolicyId::FIRST_DYNAMIC.0).max(1)
}
pub(super) fn bytes(selector: &Selector) -> impl Iterator<Item = u8> {
    let mut out = ([0; 48], 0);
    let mut add = |bytes: &[u8]| {
        for byte in bytes {
            if let Some(at) = out.0.get_mut(out.1) {
                *at = *byte;
                out.1 += 1;
            }
        }
    };
    for prefix in [selector.src, selector.dst] {
        match prefix.addr() {
            IpAddr::V4(a) => add(&a.octets()),
            IpAddr::V6(a) => add(&a.octets()),
        }
        add(&[prefix.len()]);
    }
    add(&[u8::from(selector.protocol.is_some()), selector.protocol.unwrap_or(0)]);
    for ports in [selector.src_port, selector.dst_port] {
        add(&ports.first.to_be_bytes());
        add(&ports.last.to_be_bytes());
    }
    out.0.into_iter().take(out.1)
}
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u32 {
    bytes.fold(0x811c_9dc5, |hash, byte| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193))
}
