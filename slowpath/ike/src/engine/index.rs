//! What finds one of very many peers, IKE SAs and planned calls without looking at all of them.
use super::child::ChildSa;
use super::ike_sa::IkeSa;
use crate::api::{Now, Peer};
use crate::message::Identification;
use ::sa::{PolicyId, Prefix};
use std::borrow::Borrow;
use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::net::IpAddr;
use std::sync::Arc;

/// Peers by the remote addresses that they serve.
#[derive(Default)]
pub(super) struct ByAddress {
    entries: HashMap<Prefix, Vec<Arc<Peer>>>,
    /// The lengths that occur, of both families.
    lengths: BTreeSet<u8>,
}
impl ByAddress {
    /// Each with where it is.
    pub fn of<'a>(peers: impl Iterator<Item = (&'a Arc<Peer>, Prefix)>) -> Self {
        let mut made = Self::default();
        for (peer, address) in peers {
            made.lengths.insert(address.len());
            made.entries.entry(address).or_default().push(Arc::clone(peer));
        }
        made
    }
    /// The longest match wins, a fitting local address is required, and one that is named is better than any.
    pub fn find(&self, remote: IpAddr, local: IpAddr) -> Option<Arc<Peer>> {
        self.lengths.iter().rev().find_map(|len| {
            let entries = self.entries.get(&Prefix::new(remote, *len)?)?;
            let fitting = entries.iter().filter(|p| p.local_address.is_none_or(|a| a == local));
            fitting.max_by_key(|p| p.local_address.is_some()).cloned()
        })
    }
    /// Who has this address, but calls another of ours.
    pub fn elsewhere(&self, remote: IpAddr) -> Option<Arc<Peer>> {
        let entries = |len: &u8| self.entries.get(&Prefix::new(remote, *len)?)?.first().cloned();
        self.lengths.iter().rev().find_map(entries)
    }
}

/// Our SPIs under whatever several IKE SAs have in common.
struct Many<K>(HashMap<K, BTreeSet<u64>>);
impl<K> Default for Many<K> {
    fn default() -> Self {
        Self(HashMap::new())
    }
}
impl<K: Eq + Hash> Many<K> {
    fn add<Q: Eq + Hash + ToOwned<Owned = K> + ?Sized>(&mut self, key: &Q, local_spi: u64)
    where
        K: Borrow<Q>,
    {
        match self.0.get_mut(key) {
            Some(spis) => drop(spis.insert(local_spi)),
            None => drop(self.0.insert(key.to_owned(), [local_spi].into())),
        }
    }
    fn remove<Q: Eq + Hash + ?Sized>(&mut self, key: &Q, local_spi: u64)
    where
        K: Borrow<Q>,
    {
        if let Some(spis) = self.0.get_mut(key) {
            spis.remove(&local_spi);
            if spis.is_empty() {
                self.0.remove(key);
            }
        }
    }
    fn get<'a, Q: Eq + Hash + ?Sized>(
        &'a self,
        key: &Q,
    ) -> impl DoubleEndedIterator<Item = u64> + use<'a, K, Q>
    where
        K: Borrow<Q>,
    {
        self.0.get(key).into_iter().flatten().copied()
    }
}

/// All IKE SAs by what they are looked for: very many may be of one peer, that of the road warriors.
#[derive(Default)]
pub(super) struct Filed {
    peer: Many<String>,
    remote_id: Many<Identification>,
    policy: Many<PolicyId>,
}
impl Filed {
    /// Files one, or files it anew after it has changed.
    pub fn add(&mut self, sa: &mut IkeSa) {
        let (name, spi) = (&sa.peer.name, sa.local_spi);
        self.peer.add(name, spi);
        if let Some(id) = &sa.remote_id {
            self.remote_id.add(id, spi);
        }
        let policies = sa.children.iter().flat_map(ChildSa::policies);
        if !sa.filed.iter().copied().eq(policies.clone()) {
            let now: Vec<PolicyId> = policies.collect();
            sa.filed.iter().for_each(|policy| self.policy.remove(policy, spi));
            now.iter().for_each(|policy| self.policy.add(policy, spi));
            sa.filed = now;
        }
    }
    pub fn remove(&mut self, sa: &IkeSa) {
        let (name, spi) = (&sa.peer.name, sa.local_spi);
        self.peer.remove(name, spi);
        sa.remote_id.iter().for_each(|id| self.remote_id.remove(id, spi));
        sa.filed.iter().for_each(|policy| self.policy.remove(policy, spi));
    }
    pub fn of_peer(&self, name: &str) -> impl DoubleEndedIterator<Item = u64> + '_ {
        self.peer.get(name)
    }
    pub fn with_id(&self, id: &Identification) -> impl DoubleEndedIterator<Item = u64> + '_ {
        self.remote_id.get(id)
    }
    /// Those with a child for this policy.
    pub fn of_policy(&self, policy: PolicyId) -> impl DoubleEndedIterator<Item = u64> + '_ {
        self.policy.get(&policy)
    }
}

/// Peers we are to call (again), and when.
#[derive(Default)]
pub(super) struct Starts {
    by_name: HashMap<String, Start>,
    order: BTreeSet<(Now, String)>,
}
#[derive(Clone, Copy)]
struct Start {
    at: Now,
    failures: u32,
}
impl Starts {
    pub fn set(&mut self, name: &str, at: Now, failures: u32) {
        if let Some(old) = self.by_name.insert(name.to_owned(), Start { at, failures }) {
            self.order.remove(&(old.at, name.to_owned()));
        }
        self.order.insert((at, name.to_owned()));
    }
    pub fn remove(&mut self, name: &str) {
        if let Some(old) = self.by_name.remove(name) {
            self.order.remove(&(old.at, name.to_owned()));
        }
    }
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.by_name.retain(|name, _| keep(name));
        self.order.retain(|(_, name)| keep(name));
    }
    pub fn failures(&self, name: &str) -> u32 {
        self.by_name.get(name).map_or(0, |start| start.failures)
    }
    pub fn next(&self) -> Option<Now> {
        self.order.first().map(|(at, _)| *at)
    }
    /// Whose time has come. They keep their count of failures, and have no time until they get another.
    pub fn due(&mut self, now: Now) -> Vec<String> {
        let mut due = Vec::new();
        while self.next().is_some_and(|at| at <= now && at != Now::MAX) {
            let Some((_, name)) = self.order.pop_first() else { break };
            if let Some(start) = self.by_name.get_mut(&name) {
                start.at = Now::MAX;
                self.order.insert((Now::MAX, name.clone()));
            }
            due.push(name);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::engine::tests::pair::{B, config, secs};

    fn peer(name: &str, address: &str, local: Option<&str>) -> Arc<Peer> {
        let mut peer = config(B, "x").peers.remove(0);
        peer.name = name.into();
        peer.address = address.parse().unwrap();
        peer.local_address = local.map(|a| a.parse().unwrap());
        Arc::new(peer)
    }

    #[test]
    fn the_longest_prefix_with_a_fitting_local_address_is_found() {
        let peers = [
            peer("all", "0.0.0.0/0", None),
            peer("net", "198.51.100.0/24", None),
            peer("named", "198.51.100.0/24", Some("192.0.2.1")),
            peer("host", "198.51.100.7/32", Some("192.0.2.2")),
            peer("six", "::/0", None),
        ];
        let of = |peers: &[Arc<Peer>]| ByAddress::of(peers.iter().map(|p| (p, p.address)));
        let index = of(&peers);
        let found = |remote: &str, local: &str| {
            index.find(remote.parse().unwrap(), local.parse().unwrap()).map(|p| p.name.clone())
        };
        for (remote, local, expected) in [
            ("198.51.100.7", "192.0.2.2", "host"),
            ("198.51.100.7", "192.0.2.1", "named"),
            ("198.51.100.7", "192.0.2.3", "net"),
            ("203.0.113.1", "192.0.2.1", "all"),
            ("2001:db8::1", "2001:db8::2", "six"),
        ] {
            assert_eq!(found(remote, local).as_deref(), Some(expected), "{remote} at {local}");
        }
        assert!(of(&peers[1..3]).find("::1".parse().unwrap(), "::2".parse().unwrap()).is_none());
    }
    #[test]
    fn a_planned_call_is_due_once_and_remembers_its_failures() {
        let mut starts = Starts::default();
        starts.set("late", secs(9), 0);
        starts.set("a", secs(5), 0);
        starts.set("a", secs(3), 2);
        assert_eq!(starts.next(), Some(secs(3)));
        assert_eq!(starts.due(secs(4)), ["a"]);
        assert!(starts.due(secs(4)).is_empty());
        assert_eq!((starts.failures("a"), starts.next()), (2, Some(secs(9))));
        starts.set("a", secs(7), 3);
        starts.remove("late");
        assert_eq!(starts.next(), Some(secs(7)));
        starts.retain(|name| name != "a");
        assert_eq!(starts.next(), None);
    }
    #[test]
    fn ike_sas_are_listed_by_their_peer() {
        let mut of = Many::<String>::default();
        of.add("a", 2);
        of.add("a", 1);
        of.add("b", 3);
        of.remove("b", 3);
        assert_eq!(of.get("a").collect::<Vec<_>>(), [1, 2]);
        assert_eq!(of.get("b").count(), 0);
    }
}
