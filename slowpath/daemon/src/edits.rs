//! What has to be said so that one list of policies becomes another.
use ipc::Command;
use sa::{PolicyId, PolicySpec};
use std::collections::{HashMap, HashSet};

/// More than this, and more than a quarter of the list, are said as a whole list.
const FEW: usize = 64;

/// The steps of an edit, or `None` when saying the whole list is as good.
pub fn between(before: &[PolicySpec], now: &[PolicySpec]) -> Option<Vec<Command>> {
    let same = |(a, b): &(&PolicySpec, &PolicySpec)| a == b;
    let head = before.iter().zip(now).take_while(same).count();
    let (old, new) = (&before[head..], &now[head..]);
    let tail = old.iter().rev().zip(new.iter().rev()).take_while(same).count();
    let (old, new) = (&old[..old.len() - tail], &new[..new.len() - tail]);
    let kept = kept(old, new);
    let gone: Vec<_> = old.iter().filter(|p| !kept.contains(&p.id)).collect();
    let count = gone.len() + new.len() - kept.len();
    if count > FEW && count > now.len() / 4 {
        return None;
    }
    let mut edits: Vec<Command> = gone.iter().map(|p| Command::PolicyRemove { policy: p.id }).collect();
    let mut after = head.checked_sub(1).and_then(|at| now.get(at)).map(|p| p.id);
    for policy in new {
        if !kept.contains(&policy.id) {
            edits.push(Command::PolicyInsert { after, policy: *policy });
        }
        after = Some(policy.id);
    }
    Some(edits)
}

/// The most policies that are the same in both lists and stand in the same order.
fn kept(old: &[PolicySpec], new: &[PolicySpec]) -> HashSet<PolicyId> {
    let places: HashMap<&PolicySpec, usize> = old.iter().enumerate().map(|(at, p)| (p, at)).collect();
    let common: Vec<(PolicyId, usize)> = new.iter().filter_map(|p| Some((p.id, *places.get(p)?))).collect();
    // The longest rising run of places: `ends[n]` is what the best run of n + 1 ends with.
    let mut ends: Vec<usize> = Vec::new();
    let mut before: Vec<Option<usize>> = Vec::with_capacity(common.len());
    for (at, (_, place)) in common.iter().enumerate() {
        let len = ends.partition_point(|end| common[*end].1 < *place);
        before.push(len.checked_sub(1).map(|n| ends[n]));
        if len == ends.len() { ends.push(at) } else { ends[len] = at }
    }
    std::iter::successors(ends.last().copied(), |at| before[*at]).map(|at| common[at].0).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use sa::{Action, Framing, PortRange, Prefix, Selector};

    fn policy(id: u32, protocol: u8) -> PolicySpec {
        let any: Prefix = "0.0.0.0/0".parse().expect("a prefix");
        let ports = PortRange::ANY;
        let selector =
            Selector { src: any, dst: any, protocol: Some(protocol), src_port: ports, dst_port: ports };
        PolicySpec { id: PolicyId(id), selector, action: Action::Bypass, framing: Framing::default() }
    }
    /// Carries the steps out on a plain list.
    fn carry_out(mut list: Vec<PolicySpec>, edits: &[Command]) -> Vec<PolicySpec> {
        for edit in edits {
            match edit {
                Command::PolicyRemove { policy } => {
                    let at = list.iter().position(|p| p.id == *policy).expect("there");
                    list.remove(at);
                }
                Command::PolicyInsert { after, policy } => {
                    assert!(list.iter().all(|p| p.id != policy.id), "an id twice");
                    let behind = |id| list.iter().position(|p| p.id == id).expect("there") + 1;
                    list.insert(after.map_or(0, behind), *policy);
                }
                other => panic!("{other:?}"),
            }
        }
        list
    }

    #[test]
    fn edits_lead_from_one_list_to_the_other_and_are_few() {
        let mut seed = 7u32;
        let mut draw = |below: u32| {
            seed = seed.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (seed >> 8) % below
        };
        let mut list: Vec<PolicySpec> = (1..=200).map(|id| policy(id, 1)).collect();
        for round in 0..300 {
            let before = list.clone();
            let changes = 1 + draw(4);
            for n in 0..changes {
                let at = draw(list.len() as u32) as usize;
                match draw(4) {
                    0 => drop(list.remove(at)),
                    1 => list.insert(at, policy(1000 + round * 10 + n, 1)),
                    2 => list[at] = policy(list[at].id.0, 2 + draw(5) as u8),
                    _ => {
                        let moved = list.remove(at);
                        list.insert(draw(list.len() as u32) as usize, moved);
                    }
                }
            }
            let edits = between(&before, &list).expect("few");
            assert!(edits.len() <= 2 * changes as usize, "{} for {changes}", edits.len());
            assert_eq!(carry_out(before, &edits), list);
        }
    }
    #[test]
    fn another_list_is_said_as_a_whole() {
        let (a, b): (Vec<_>, Vec<_>) = (1..100).map(|id| (policy(id, 1), policy(id, 2))).unzip();
        assert_eq!(between(&a, &b), None);
        assert_eq!(between(&a, &a), Some(Vec::new()));
        assert_eq!(between(&[], &a[..10]).map(|e| e.len()), Some(10));
    }
}
