//! The policy table: ordered, first match wins, exactly as RouterOS evaluates it.
//!
//! `search` finds the first policy that fits; here are the policies themselves, and the SAs bound to them. Behind the
//! per-worker flow cache it answers for the first packet of a flow, and once for each flow after a change.
mod parts;
mod search;

use super::hash::Map;
use super::sad::Install;
use super::shards::{Shards, Slab, spread};
use sa::{Direction, PolicyId, PolicySpec, Selector, TrafficSelector};
use search::{Search, Words};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use wire::Flow;

/// Whether a policy has asked for an SA and has no answer yet; shared by all workers and instances.
#[derive(Debug, Default)]
pub struct Pending(AtomicBool);
impl Pending {
    /// True for exactly one caller until [`Pending::clear`].
    pub fn claim(&self) -> bool {
        !self.0.load(Ordering::Relaxed) && !self.0.swap(true, Ordering::Relaxed)
    }
    pub fn clear(&self) {
        self.0.store(false, Ordering::Relaxed);
    }
}

/// A policy and its place. Lower ranks come first.
#[derive(Clone, Debug)]
pub struct Placed {
    pub rank: u64,
    pub spec: PolicySpec,
    pub pending: Arc<Pending>,
}

/// What a packet reads of a policy comes first.
#[derive(Debug)]
#[repr(C, align(64))]
pub struct Entry {
    pub placed: Placed,
    /// Outbound SAs: the newest, and those before it, newest last.
    newest: Option<Bound>,
    older: Vec<Bound>,
}
#[derive(Clone, Debug)]
pub struct Bound {
    pub slot: u32,
    pub install: u32,
    /// The SA is for all that its policy is for: nothing is left to compare.
    whole: bool,
    pub selectors: Arc<[TrafficSelector]>,
}

#[derive(Debug, Default)]
pub struct Spd {
    search: Search,
    entries: Slab<Entry>,
    /// Place of each policy.
    by_id: Shards<u32>,
    /// Policy of each bound slot.
    by_slot: Shards<PolicyId>,
    /// The policies of those few slots whose SA serves several.
    several: Map<u32, Vec<PolicyId>>,
    count: usize,
}

/// Whether a policy's selector fits an outbound packet.
pub fn covers(selector: &Selector, flow: &Flow) -> bool {
    selector.contains(flow.src, flow.dst, flow.protocol, flow.src_port, flow.dst_port)
}
/// Whether an SA's selectors fit an outbound packet; for inbound ones reverse the flow.
pub fn within(selectors: &[TrafficSelector], flow: &Flow) -> bool {
    selectors.iter().any(|ts| ts.contains(flow.src, flow.dst, flow.protocol, flow.src_port, flow.dst_port))
}

/// Whether an SA with these selectors is for every packet of a policy.
fn is_whole(selectors: &[TrafficSelector], policy: &Selector) -> bool {
    let wanted = TrafficSelector::from(*policy);
    let holds = |outer: sa::AddrRange, inner: sa::AddrRange| outer.intersect(inner) == Some(inner);
    let ports = |outer: sa::PortRange, inner: sa::PortRange| outer.intersect(inner) == Some(inner);
    selectors.iter().any(|ts| {
        holds(ts.local, wanted.local)
            && holds(ts.remote, wanted.remote)
            && ts.protocol.is_none_or(|p| Some(p) == wanted.protocol)
            && ports(ts.local_port, wanted.local_port)
            && ports(ts.remote_port, wanted.remote_port)
    })
}

impl Entry {
    /// The newest SA whose selectors cover the packet: a peer may have narrowed them. The packet is one of this policy.
    #[inline]
    pub fn sa_for(&self, flow: &Flow) -> Option<&Bound> {
        let fits = |b: &&Bound| b.whole || within(&b.selectors, flow);
        self.newest.as_ref().filter(fits).or_else(|| self.older.iter().rev().find(fits))
    }
    /// More than one, the newest first.
    pub fn several_for<'a>(&'a self, flow: &'a Flow) -> Option<impl Iterator<Item = &'a Bound>> {
        let fits = |b: &&Bound| b.whole || within(&b.selectors, flow);
        let all = || self.newest.iter().chain(self.older.iter().rev());
        (!self.older.is_empty()).then(|| all().filter(fits))
    }
    fn bind(&mut self, bound: Bound) {
        if let Some(before) = self.newest.replace(bound) {
            self.older.push(before);
        }
    }
    fn unbind(&mut self, slot: u32) {
        match &self.newest {
            Some(newest) if newest.slot == slot => self.newest = self.older.pop(),
            _ => self.older.retain(|b| b.slot != slot),
        }
    }
}

impl Spd {
    /// First policy in order whose selector covers the packet.
    #[inline]
    pub fn find(&self, flow: &Flow) -> Option<&Entry> {
        let fits = |index| self.entries.get(index).is_some_and(|e| covers(&e.placed.spec.selector, flow));
        let index = match (flow.src, flow.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                self.search.v4.find(&Words::new(search::v4(src.into(), dst.into()), flow), fits)
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                self.search.v6.find(&Words::new(search::v6(src.into(), dst.into()), flow), fits)
            }
            _ => None,
        };
        self.entries.get(index?)
    }
    pub fn by_id(&self, id: PolicyId) -> Option<&Entry> {
        self.entries.get(*self.by_id.get(spread(id.0))?)
    }
    pub fn len(&self) -> usize {
        self.count
    }
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// A policy that comes back with the same id and content keeps its SAs, whatever its new rank.
    pub(crate) fn replace(&mut self, remove: &[PolicyId], insert: &[Placed]) {
        let mut taken: Map<PolicyId, Entry> =
            remove.iter().filter_map(|id| Some((*id, self.take(*id)?))).collect();
        for placed in insert {
            let mut entry = Entry { placed: placed.clone(), newest: None, older: Vec::new() };
            match taken.remove(&placed.spec.id) {
                Some(old) if old.placed.spec == placed.spec => {
                    (entry.newest, entry.older) = (old.newest, old.older);
                }
                Some(old) => self.forget(&old),
                None => {}
            }
            self.put(entry);
        }
        for old in taken.values() {
            self.forget(old);
        }
    }
    fn forget(&mut self, old: &Entry) {
        for bound in old.newest.iter().chain(&old.older) {
            match self.several.get_mut(&bound.slot) {
                Some(policies) => policies.retain(|id| *id != old.placed.spec.id),
                None => drop(self.by_slot.remove(spread(bound.slot))),
            }
        }
    }
    fn put(&mut self, entry: Entry) {
        let (rank, spec) = (entry.placed.rank, entry.placed.spec);
        let index = self.entries.put(entry);
        self.count += usize::from(self.by_id.insert(spread(spec.id.0), index).is_none());
        self.search.put(&spec.selector, rank, index);
    }
    fn take(&mut self, id: PolicyId) -> Option<Entry> {
        let index = self.by_id.remove(spread(id.0))?;
        let entry = self.entries.take(index)?;
        self.count -= 1;
        self.search.take(&entry.placed.spec.selector, entry.placed.rank, index);
        Some(entry)
    }

    pub(crate) fn bind<K>(&mut self, install: &Install<K>) {
        if install.direction != Direction::Outbound {
            return;
        }
        if install.also.is_empty() {
            if self.bind_to(install.policy, install) {
                self.by_slot.insert(spread(install.slot), install.policy);
            }
            return;
        }
        let mut policies = vec![install.policy];
        policies.extend(&install.also);
        policies.retain(|id| self.bind_to(*id, install));
        self.several.insert(install.slot, policies);
    }
    fn bind_to<K>(&mut self, policy: PolicyId, install: &Install<K>) -> bool {
        let index = self.by_id.get(spread(policy.0)).copied();
        let Some(entry) = index.and_then(|index| self.entries.get_mut(index)) else { return false };
        entry.bind(Bound {
            slot: install.slot,
            install: install.install,
            whole: is_whole(&install.selectors, &entry.placed.spec.selector),
            selectors: install.selectors.clone(),
        });
        true
    }
    /// The policies that the SA in a slot serves.
    pub(crate) fn bound_to(&self, slot: u32) -> &[PolicyId] {
        match (self.several.get(&slot), self.by_slot.get(spread(slot))) {
            (Some(several), _) => several,
            (None, Some(one)) => std::slice::from_ref(one),
            (None, None) => &[],
        }
    }
    pub(crate) fn unbind(&mut self, slot: u32) {
        for id in self.several.remove(&slot).into_iter().flatten() {
            self.unbind_from(id, slot);
        }
        if let Some(id) = self.by_slot.remove(spread(slot)) {
            self.unbind_from(id, slot);
        }
    }
    fn unbind_from(&mut self, id: PolicyId, slot: u32) {
        let index = self.by_id.get(spread(id.0)).copied();
        if let Some(entry) = index.and_then(|index| self.entries.get_mut(index)) {
            entry.unbind(slot);
        }
    }
}
