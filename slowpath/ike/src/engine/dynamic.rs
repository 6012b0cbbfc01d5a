//! Policies that negotiations have made: who has them, what their ids are, which traffic is taken already.
//!
//! What one of them costs does not depend on how many there are: as in the fast path's search, a look-up is one hash for
//! each pair of prefix lengths that occurs.
use crate::api::{Generated, Rank};
use crate::message::Identification;
use sa::{PolicyId, PolicySpec, PortRange, Prefix, Selector};
use std::collections::{BTreeMap, HashMap};

/// Whose policies they are: two IKE SAs of one client share them, while it makes a new one before it lets the old one go.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Owner {
    pub peer: String,
    pub id: Option<Identification>,
}

/// Why a policy cannot be made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// A configured policy above the template is for all of its traffic.
    Configured(PolicySpec),
    /// Somebody else's.
    Other(Selector),
}

#[derive(Default)]
pub(super) struct Dynamic {
    made: HashMap<PolicyId, Record>,
    /// The last id that was given away.
    last: u32,
    index: Index,
    /// Place of each template in the SPD.
    places: HashMap<PolicyId, u32>,
}
struct Record {
    generated: Generated,
    owner: Owner,
    /// IKE SAs whose children it serves.
    users: u32,
}

impl Dynamic {
    /// The configuration says what stands where. Without templates nothing is kept of it.
    pub fn configure(&mut self, spd: &[Rank]) {
        let ranked = || (0u32..).zip(spd);
        let template = |(at, rank): (u32, &Rank)| match rank {
            Rank::Template(id) => Some((*id, at)),
            Rank::Policy(_) => None,
        };
        self.places = ranked().filter_map(template).collect();
        self.index = Index::default();
        if self.places.is_empty() {
            return;
        }
        for (at, rank) in ranked() {
            if let Rank::Policy(spec) = rank {
                self.index.put(spec.selector, Entry::Configured(at, *spec));
            }
        }
        for (id, record) in &self.made {
            self.index.put(record.generated.spec.selector, Entry::Made(*id));
        }
    }

    /// The policy of this owner for exactly this traffic, if there is one; else whether there can be.
    pub fn find(
        &self,
        selector: &Selector,
        template: PolicyId,
        owner: &Owner,
    ) -> Result<Option<PolicyId>, Taken> {
        let place = self.places.get(&template).copied().unwrap_or(u32::MAX);
        let mut own = None;
        let mut taken = None;
        self.index.covering(selector, |entry| match entry {
            Entry::Configured(at, spec) if *at < place => {
                taken.get_or_insert(Taken::Configured(*spec));
            }
            Entry::Configured(..) => {}
            Entry::Made(id) => {
                let Some(record) = self.made.get(id) else { return };
                let spec = record.generated.spec;
                if record.owner == *owner && spec.selector == *selector {
                    own = Some(*id);
                } else if record.owner != *owner && self.place_of(record) <= place {
                    taken.get_or_insert(Taken::Other(spec.selector));
                }
            }
        });
        match (own, taken) {
            (Some(id), _) => Ok(Some(id)),
            (None, Some(taken)) => Err(taken),
            (None, None) => Ok(None),
        }
    }
    fn place_of(&self, record: &Record) -> u32 {
        self.places.get(&record.generated.template).copied().unwrap_or(u32::MAX)
    }

    /// Ids count up: they are in the order in which their policies were made.
    pub fn fresh_id(&mut self) -> PolicyId {
        loop {
            self.last = self.last.checked_add(1).unwrap_or(0).max(PolicyId::FIRST_DYNAMIC.0);
            if !self.made.contains_key(&PolicyId(self.last)) {
                return PolicyId(self.last);
            }
        }
    }
    /// `true`: it is new.
    pub fn hold(&mut self, generated: &Generated, owner: &Owner) -> bool {
        let id = generated.spec.id;
        if let Some(record) = self.made.get_mut(&id) {
            record.users += 1;
            return false;
        }
        self.last = self.last.max(id.0);
        self.index.put(generated.spec.selector, Entry::Made(id));
        self.made.insert(id, Record { generated: generated.clone(), owner: owner.clone(), users: 1 });
        true
    }
    /// `true`: nobody has it any more.
    pub fn release(&mut self, id: PolicyId) -> bool {
        let Some(record) = self.made.get_mut(&id) else { return false };
        record.users = record.users.saturating_sub(1);
        if record.users > 0 {
            return false;
        }
        if let Some(record) = self.made.remove(&id) {
            self.index.take(record.generated.spec.selector, id);
        }
        true
    }
    pub fn all(&self) -> impl Iterator<Item = &Generated> {
        self.made.values().map(|record| &record.generated)
    }
}

#[derive(Debug)]
enum Entry {
    Configured(u32, PolicySpec),
    Made(PolicyId),
}
/// Selectors by their two prefixes.
#[derive(Default)]
struct Index {
    entries: HashMap<(Prefix, Prefix), Vec<(Ports, Entry)>>,
    /// How many entries have these prefix lengths: whether IPv4, source, destination.
    lengths: BTreeMap<(bool, u8, u8), usize>,
}
/// What a selector says beyond its addresses.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Ports {
    protocol: Option<u8>,
    src: PortRange,
    dst: PortRange,
}
impl Ports {
    fn of(s: &Selector) -> Self {
        Self { protocol: s.protocol, src: s.src_port, dst: s.dst_port }
    }
    fn covers(&self, other: &Self) -> bool {
        let ports = |outer: PortRange, inner: PortRange| outer.intersect(inner) == Some(inner);
        (self.protocol.is_none() || self.protocol == other.protocol)
            && ports(self.src, other.src)
            && ports(self.dst, other.dst)
    }
}
impl Index {
    fn put(&mut self, selector: Selector, entry: Entry) {
        *self.lengths.entry(lengths(&selector)).or_default() += 1;
        self.entries.entry((selector.src, selector.dst)).or_default().push((Ports::of(&selector), entry));
    }
    fn take(&mut self, selector: Selector, id: PolicyId) {
        let key = (selector.src, selector.dst);
        let Some(entries) = self.entries.get_mut(&key) else { return };
        let before = entries.len();
        entries.retain(|(_, entry)| !matches!(entry, Entry::Made(made) if *made == id));
        let gone = before - entries.len();
        if entries.is_empty() {
            self.entries.remove(&key);
        }
        if let Some(count) = self.lengths.get_mut(&lengths(&selector)) {
            *count -= gone;
            if *count == 0 {
                self.lengths.remove(&lengths(&selector));
            }
        }
    }
    /// Whatever is for all that this selector is for.
    fn covering<'a>(&'a self, selector: &Selector, mut see: impl FnMut(&'a Entry)) {
        let wanted = Ports::of(selector);
        let (v4, src_len, dst_len) = lengths(selector);
        let shorter = self.lengths.range((v4, 0, 0)..=(v4, src_len, u8::MAX)).map(|(key, _)| *key);
        for (_, src, dst) in shorter.filter(|(_, _, dst)| *dst <= dst_len) {
            let block = |prefix: Prefix, len| Prefix::new(prefix.addr(), len);
            let key = block(selector.src, src).zip(block(selector.dst, dst));
            let found = key.and_then(|key| self.entries.get(&key));
            found.into_iter().flatten().filter(|(ports, _)| ports.covers(&wanted)).for_each(|(_, e)| see(e));
        }
    }
}
fn lengths(s: &Selector) -> (bool, u8, u8) {
    (s.src.is_ipv4(), s.src.len(), s.dst.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use sa::{Action, Framing, Level, Protocol};

    fn selector(src: &str, dst: &str, protocol: Option<u8>, port: Option<u16>) -> Selector {
        let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
        let port = port.map_or(PortRange::ANY, PortRange::one);
        Selector { src, dst, protocol, src_port: PortRange::ANY, dst_port: port }
    }
    fn spec(id: u32, selector: Selector) -> PolicySpec {
        let action = Action::Encrypt { level: Level::Unique, tunnel: true };
        PolicySpec { id: PolicyId(id), selector, action, framing: Framing::default() }
    }
    fn made(id: PolicyId, selector: Selector) -> Generated {
        Generated {
            spec: spec(id.0, selector),
            template: PolicyId(9),
            peer: "p".into(),
            proposal: "q".into(),
            protocol: Protocol::Esp,
        }
    }
    fn owner(name: &str) -> Owner {
        let id = Some(Identification::from(&crate::api::Id::Fqdn(name.into())));
        Owner { peer: "p".into(), id }
    }

    #[test]
    fn traffic_has_one_owner_and_what_stands_above_the_template_comes_first() {
        let mut d = Dynamic::default();
        let above = selector("10.0.0.0/8", "10.2.0.0/16", None, None);
        let below = selector("0.0.0.0/0", "0.0.0.0/0", None, None);
        d.configure(&[
            Rank::Policy(spec(1, above)),
            Rank::Template(PolicyId(9)),
            Rank::Policy(spec(2, below)),
            Rank::Template(PolicyId(10)),
        ]);
        let (a, b, t) = (owner("a"), owner("b"), PolicyId(9));
        let inside = selector("10.1.0.0/24", "10.2.1.0/24", Some(6), None);
        assert_eq!(d.find(&inside, t, &a), Err(Taken::Configured(spec(1, above))));
        let free = selector("10.1.0.0/24", "10.3.1.0/24", None, None);
        assert_eq!(d.find(&free, t, &a), Ok(None), "the catch-all is below");
        assert_eq!(d.find(&free, PolicyId(10), &a), Err(Taken::Configured(spec(2, below))));
        let id = d.fresh_id();
        assert!(id.is_dynamic() && d.hold(&made(id, free), &a));
        assert_eq!(d.find(&free, t, &a), Ok(Some(id)), "its owner may have it again");
        assert!(!d.hold(&made(id, free), &a) && d.made[&id].users == 2);
        for theirs in [free, selector("10.1.0.9/32", "10.3.1.7/32", Some(17), Some(53))] {
            assert_eq!(d.find(&theirs, t, &b), Err(Taken::Other(free)), "{theirs:?}");
        }
        let wider = selector("10.1.0.0/24", "10.3.0.0/16", None, None);
        assert_eq!(d.find(&wider, t, &b), Ok(None), "the older, narrower one stays in front of it");
        // Ports keep two apart at one address.
        let one = |port| selector("10.1.0.1/32", "10.9.0.1/32", Some(17), Some(port));
        let first = d.fresh_id();
        d.hold(&made(first, one(1701)), &a);
        assert_eq!(d.find(&one(1702), t, &b), Ok(None));
        assert_eq!(d.find(&one(1701), t, &b), Err(Taken::Other(one(1701))));
        assert!(!d.release(id) && d.release(id), "the last user's word counts");
        assert_eq!(d.find(&free, t, &b), Ok(None));
        assert_ne!(d.fresh_id(), first);
        d.configure(&[]);
        assert_eq!(d.all().count(), 1, "what was made lives on");
    }
    #[test]
    fn ids_go_on_behind_those_of_a_former_process_and_around() {
        let mut d = Dynamic::default();
        let s = selector("10.1.0.0/24", "10.3.1.0/24", None, None);
        d.hold(&made(PolicyId(u32::MAX), s), &owner("a"));
        assert_eq!(d.fresh_id(), PolicyId::FIRST_DYNAMIC);
        d.hold(&made(PolicyId(PolicyId::FIRST_DYNAMIC.0 + 1), s), &owner("a"));
        d.last = PolicyId::FIRST_DYNAMIC.0;
        assert_eq!(d.fresh_id().0, PolicyId::FIRST_DYNAMIC.0 + 2);
    }
}
