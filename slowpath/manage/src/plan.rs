//! What a change would do to peers and tunnels.
use config::Config;
use config::document::Document;
use config::model::{Peer, Policy};
use ipc::change::{Effect, Plan};
use sa::PolicyId;
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// Parts that are read once, at the start of both processes.
pub fn needs_restart(old: &Config, new: &Config) -> Vec<&'static str> {
    [
        ("system", old.system != new.system),
        ("interface", old.interfaces != new.interfaces),
        ("ip ipsec manual-sa", old.ipsec.manual_sas != new.ipsec.manual_sas),
    ]
    .into_iter()
    .filter_map(|(what, differs)| differs.then_some(what))
    .collect()
}

/// From one configuration to the other.
pub fn plan((old_rows, old): (&Document, &Config), (new_rows, new): (&Document, &Config)) -> Plan {
    let mut plan = Plan {
        changes: new_rows.since(old_rows).iter().map(ToString::to_string).collect(),
        ..Plan::default()
    };
    let (before, after) = (by_peer(old), by_peer(new));
    let names: BTreeSet<&str> = before.keys().chain(after.keys()).copied().collect();
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

fn by_peer(config: &Config) -> BTreeMap<&str, Of<'_>> {
    let mut peers: BTreeMap<&str, Of> =
        config.ipsec.peers.iter().map(|peer| (peer.name.as_str(), (&**peer, HashMap::new()))).collect();
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
    let differ = |id: &&PolicyId| {
        old.get(id).zip(new.get(id)).is_some_and(|(a, b)| a.proposal != b.proposal || a.spec != b.spec)
    };
    let changed = new.keys().filter(differ).count();
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
