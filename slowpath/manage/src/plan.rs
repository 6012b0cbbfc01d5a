//! What a change would do to peers and tunnels.
use config::Config;
use config::document::{Change, Difference, Document};
use config::model::{Peer, Policy, System};
use config::schema::Place;
use ipc::change::{Effect, Plan};
use sa::PolicyId;
use std::collections::{BTreeSet, HashMap};

/// What is read once, at the start of both processes: `system sa-slots`, `interface wan mtu`. Everything else is put in
/// force at once, `system lab` too, which only the check asks for.
fn restart(old: &Config, new: &Config, differences: &[Difference]) -> Vec<String> {
    let read_once = System { lab: old.system.lab, ..new.system.clone() };
    let differs = |place: &Place| match place.path {
        "system" => old.system != read_once,
        "interface" => old.interfaces != new.interfaces,
        _ => false,
    };
    let mut said = Vec::new();
    for Difference { place, change } in differences.iter().filter(|difference| differs(difference.place)) {
        let (before, now, row) = match change {
            Change::Added(row) | Change::Removed(row) | Change::Moved(row) => (None, None, row),
            Change::Changed { before, now } => (Some(before), Some(now), now),
        };
        let name = match place.is_list() {
            true => format!(" {}", row.name().map_or_else(|| row.id.to_string(), ToOwned::to_owned)),
            false => String::new(),
        };
        let Some((before, now)) = before.zip(now) else {
            said.push(format!("{}{name}", place.console));
            continue;
        };
        let other = |name: &str| before.get(name) != now.get(name);
        let fields = place.fields.iter().map(|field| field.name);
        let fields = fields.filter(|name| !["comment", "lab"].contains(name) && other(name));
        said.extend(fields.map(|field| format!("{}{name} {field}", place.console)));
    }
    said
}

/// From one configuration to the other.
pub fn plan((old_rows, old): (&Document, &Config), (new_rows, new): (&Document, &Config)) -> Plan {
    let differences = new_rows.since(old_rows);
    let mut plan = Plan {
        changes: differences.iter().map(ToString::to_string).collect(),
        restart: restart(old, new, &differences),
        ..Plan::default()
    };
    let names = touched(old, new);
    let (before, after) = (by_peer(old, &names), by_peer(new, &names));
    for name in names {
        let said = match (before.get(name), after.get(name)) {
            (Some(was), None) => {
                plan.deleted_policies.extend(was.1.keys().map(|id| id.0));
                Some("is gone: its IKE SA and all its SAs are deleted".to_owned())
            }
            (None, Some((peer, _))) => {
                let how = if peer.passive { "waits to be called" } else { "is called" };
                Some(format!("is new and {how}"))
            }
            (Some(was), Some(is)) => compare(was, is, &mut plan.deleted_policies),
            (None, None) => None,
        };
        plan.effects.extend(said.map(|said| Effect { peer: name.into(), said }));
    }
    plan
}

/// A peer and the policies it negotiates for.
type Of<'a> = (&'a Peer, HashMap<PolicyId, &'a Policy>);

/// Peers that are not what they were, or one of whose policies is not. Usually one of ten thousand.
fn touched<'a>(old: &'a Config, new: &'a Config) -> BTreeSet<&'a str> {
    let mut touched = BTreeSet::new();
    let mut peers: HashMap<&str, _> = old.ipsec.peers.iter().map(|p| (p.name.as_str(), p)).collect();
    for peer in &new.ipsec.peers {
        if peers.remove(peer.name.as_str()).is_none_or(|was| was != peer) {
            touched.insert(peer.name.as_str());
        }
    }
    touched.extend(peers.into_keys());
    let mut policies: HashMap<PolicyId, &Policy> =
        old.ipsec.policies.iter().map(|p| (p.spec.id, p)).collect();
    for policy in &new.ipsec.policies {
        let was = policies.remove(&policy.spec.id);
        if was.is_none_or(|was| was.peer != policy.peer || differ(was, policy)) {
            touched.extend(was.and_then(|was| was.peer.as_deref()));
            touched.extend(policy.peer.as_deref());
        }
    }
    touched.extend(policies.into_values().filter_map(|policy| policy.peer.as_deref()));
    touched
}
fn differ(was: &Policy, is: &Policy) -> bool {
    was.proposal != is.proposal || was.spec != is.spec
}

fn by_peer<'a>(config: &'a Config, names: &BTreeSet<&str>) -> HashMap<&'a str, Of<'a>> {
    let touched = config.ipsec.peers.iter().filter(|peer| names.contains(peer.name.as_str()));
    let mut peers: HashMap<&str, Of> =
        touched.map(|peer| (peer.name.as_str(), (&**peer, HashMap::new()))).collect();
    for policy in &config.ipsec.policies {
        let of = policy.peer.as_deref().and_then(|name| peers.get_mut(name));
        if let Some((_, policies)) = of {
            policies.insert(policy.spec.id, policy);
        }
    }
    peers
}

fn compare((was, old): &Of, (is, new): &Of, deleted: &mut Vec<u32>) -> Option<String> {
    let gone: Vec<u32> = old.keys().filter(|id| !new.contains_key(id)).map(|id| id.0).collect();
    let fresh = new.keys().filter(|id| !old.contains_key(id)).count();
    let changed = new.iter().filter(|(id, is)| old.get(id).is_some_and(|was| differ(was, is))).count();
    let mut said = Vec::new();
    if was != is {
        said.push("goes on; what was changed holds from its next negotiation".to_owned());
    }
    if !gone.is_empty() {
        said.push(format!("{} deleted", tunnels(gone.len(), "is", "are")));
    }
    if fresh > 0 {
        said.push(format!("{} negotiated", tunnels(fresh, "is", "are")));
    }
    if changed > 0 {
        said.push(format!("{} on until rekeyed, then as changed", tunnels(changed, "goes", "go")));
    }
    deleted.extend(gone);
    (!said.is_empty()).then(|| said.join("; "))
}
fn tunnels(n: usize, one: &str, many: &str) -> String {
    if n == 1 { format!("1 tunnel {one}") } else { format!("{n} tunnels {many}") }
}
