//! The policy table: ordered, first match wins, exactly as RouterOS evaluates it.
//!
//! Tuple space search: policies whose selectors look at the same bits share one hash table, and the best
//! rank over the tables wins. A look-up costs one hash per different shape, not per policy; a change
//! touches one table. Behind the per-worker flow cache it answers for the first packet of a flow.
use super::hash::Map;
use super::sad::Install;
use sa::{Direction, PolicyId, PolicySpec, Prefix, Selector, TrafficSelector};
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

#[derive(Debug)]
pub struct Entry {
    pub placed: Placed,
    /// Outbound SAs, newest first.
    bound: Vec<Bound>,
}
#[derive(Clone, Debug)]
pub struct Bound {
    pub slot: u32,
    pub install: u32,
    pub selectors: Arc<[TrafficSelector]>,
}

/// Which bits the selectors of one hash table look at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    ipv4: bool,
    src_len: u8,
    dst_len: u8,
    protocol: bool,
    /// One port, compared by hash; ranges are compared after.
    src_port: bool,
    dst_port: bool,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Key {
    src: u128,
    dst: u128,
    /// Protocol, source port, destination port; 0 where the shape does not look.
    rest: u64,
}

#[derive(Debug)]
struct Table {
    shape: Shape,
    /// No policy here ranks before this. Never raised while the table lives: a bound, not a fact.
    first_rank: u64,
    /// (rank, entry), best first.
    rows: Map<Key, Vec<(u64, u32)>>,
}

#[derive(Debug, Default)]
pub struct Spd {
    entries: Vec<Option<Entry>>,
    free: Vec<u32>,
    by_id: Map<PolicyId, u32>,
    /// By `first_rank`, so that a search can stop early.
    tables: Vec<Table>,
    /// Policy of each bound slot.
    by_slot: Map<u32, PolicyId>,
}

fn bits(addr: IpAddr) -> u128 {
    match addr {
        IpAddr::V4(a) => u128::from(u32::from(a)),
        IpAddr::V6(a) => u128::from(a),
    }
}
/// Ports of a range that is one port.
fn single(range: sa::PortRange) -> Option<u16> {
    (range.first == range.last).then_some(range.first)
}

impl Shape {
    /// `None` for a selector no packet can fit.
    fn of(selector: &Selector) -> Option<Self> {
        let ipv4 = selector.src.is_ipv4();
        (ipv4 == selector.dst.is_ipv4()).then_some(Self {
            ipv4,
            src_len: selector.src.len(),
            dst_len: selector.dst.len(),
            protocol: selector.protocol.is_some(),
            src_port: single(selector.src_port).is_some(),
            dst_port: single(selector.dst_port).is_some(),
        })
    }
    fn mask(self, len: u8) -> u128 {
        let width = if self.ipv4 { 32 } else { 128 };
        let all = if self.ipv4 { u128::from(u32::MAX) } else { u128::MAX };
        all.checked_shl(width - u32::from(len)).unwrap_or(0) & all
    }
    /// `None` when the packet lacks something every selector of this shape names.
    fn key(self, flow: &Flow) -> Option<Key> {
        if flow.src.is_ipv4() != self.ipv4 {
            return None;
        }
        let port = |looked_at: bool, port: Option<u16>| if looked_at { port } else { Some(0) };
        let protocol = if self.protocol { flow.protocol } else { 0 };
        let (src, dst) = (port(self.src_port, flow.src_port)?, port(self.dst_port, flow.dst_port)?);
        Some(Key {
            src: bits(flow.src) & self.mask(self.src_len),
            dst: bits(flow.dst) & self.mask(self.dst_len),
            rest: u64::from(protocol) << 32 | u64::from(src) << 16 | u64::from(dst),
        })
    }
    fn key_of(self, selector: &Selector) -> Key {
        let port = |range| u64::from(single(range).unwrap_or(0));
        Key {
            src: bits(selector.src.addr()),
            dst: bits(selector.dst.addr()),
            rest: u64::from(selector.protocol.unwrap_or(0)) << 32
                | port(selector.src_port) << 16
                | port(selector.dst_port),
        }
    }
}

/// Whether a policy's selector fits an outbound packet.
pub fn covers(selector: &Selector, flow: &Flow) -> bool {
    let inside = |prefix: Prefix, addr| prefix.contains(addr);
    inside(selector.src, flow.src)
        && inside(selector.dst, flow.dst)
        && selector.protocol.is_none_or(|p| p == flow.protocol)
        && selector.src_port.contains(flow.src_port)
        && selector.dst_port.contains(flow.dst_port)
}
/// Whether an SA's selectors fit an outbound packet; for inbound ones reverse the flow.
pub fn within(selectors: &[TrafficSelector], flow: &Flow) -> bool {
    selectors.iter().any(|ts| ts.contains(flow.src, flow.dst, flow.protocol, flow.src_port, flow.dst_port))
}

impl Entry {
    /// The newest SA whose selectors cover the packet: a peer may have narrowed them.
    pub fn sa_for(&self, flow: &Flow) -> Option<&Bound> {
        self.bound.iter().find(|b| within(&b.selectors, flow))
    }
}

impl Spd {
    /// First policy in order whose selector covers the packet.
    pub fn find(&self, flow: &Flow) -> Option<&Entry> {
        let mut best: Option<(u64, u32)> = None;
        for table in &self.tables {
            if best.is_some_and(|(rank, _)| rank < table.first_rank) {
                break;
            }
            let Some(rows) = table.shape.key(flow).and_then(|key| table.rows.get(&key)) else { continue };
            for row in rows {
                if best.is_some_and(|b| b.0 < row.0) {
                    break;
                }
                if self.entry(row.1).is_some_and(|e| covers(&e.placed.spec.selector, flow)) {
                    best = Some(*row);
                    break;
                }
            }
        }
        self.entry(best?.1)
    }
    fn entry(&self, index: u32) -> Option<&Entry> {
        self.entries.get(index as usize)?.as_ref()
    }
    pub fn by_id(&self, id: PolicyId) -> Option<&Entry> {
        self.entry(*self.by_id.get(&id)?)
    }
    pub fn len(&self) -> usize {
        self.by_id.len()
    }
    pub fn is_empty(&self) -> bool {
        self.by_id.is_empty()
    }

    /// A policy that comes back with the same id and content keeps its SAs, whatever its new rank.
    pub(crate) fn replace(&mut self, remove: &[PolicyId], insert: &[Placed]) {
        let taken: Map<PolicyId, Entry> =
            remove.iter().filter_map(|id| Some((*id, self.take(*id)?))).collect();
        let mut taken = taken;
        for placed in insert {
            let bound = match taken.remove(&placed.spec.id) {
                Some(old) if old.placed.spec == placed.spec => old.bound,
                Some(old) => self.forget(old),
                None => Vec::new(),
            };
            self.put(Entry { placed: placed.clone(), bound });
        }
        for (_, old) in taken {
            self.forget(old);
        }
    }
    fn forget(&mut self, old: Entry) -> Vec<Bound> {
        for bound in old.bound {
            self.by_slot.remove(&bound.slot);
        }
        Vec::new()
    }
    fn put(&mut self, entry: Entry) {
        let (rank, spec) = (entry.placed.rank, entry.placed.spec);
        let index = self.free.pop().unwrap_or(self.entries.len() as u32);
        if self.entries.len() <= index as usize {
            self.entries.push(None);
        }
        self.entries[index as usize] = Some(entry);
        self.by_id.insert(spec.id, index);
        let Some(shape) = Shape::of(&spec.selector) else { return };
        let at = self.table_for(shape, rank);
        let rows = self.tables[at].rows.entry(shape.key_of(&spec.selector)).or_default();
        let place = rows.partition_point(|row| row.0 < rank);
        rows.insert(place, (rank, index));
    }
    /// The table of a shape, made if need be, with its rank bound lowered to `rank`.
    fn table_for(&mut self, shape: Shape, rank: u64) -> usize {
        let table = match self.tables.iter().position(|t| t.shape == shape) {
            Some(at) if self.tables[at].first_rank <= rank => return at,
            Some(at) => Table { first_rank: rank, ..self.tables.remove(at) },
            None => Table { shape, first_rank: rank, rows: Map::default() },
        };
        let at = self.tables.partition_point(|t| t.first_rank <= rank);
        self.tables.insert(at, table);
        at
    }
    fn take(&mut self, id: PolicyId) -> Option<Entry> {
        let index = self.by_id.remove(&id)?;
        let entry = self.entries.get_mut(index as usize)?.take()?;
        self.free.push(index);
        let selector = entry.placed.spec.selector;
        if let Some(shape) = Shape::of(&selector)
            && let Some(at) = self.tables.iter().position(|t| t.shape == shape)
        {
            let (rows, key) = (&mut self.tables[at].rows, shape.key_of(&selector));
            if let Some(bucket) = rows.get_mut(&key) {
                bucket.retain(|row| row.1 != index);
                if bucket.is_empty() {
                    rows.remove(&key);
                }
            }
            if self.tables[at].rows.is_empty() {
                self.tables.remove(at);
            }
        }
        Some(entry)
    }

    pub(crate) fn bind<K>(&mut self, install: &Install<K>) {
        if install.direction != Direction::Outbound {
            return;
        }
        let entry = self.by_id.get(&install.policy).and_then(|n| self.entries.get_mut(*n as usize)?.as_mut());
        if let Some(entry) = entry {
            let bound =
                Bound { slot: install.slot, install: install.install, selectors: install.selectors.clone() };
            entry.bound.insert(0, bound);
            self.by_slot.insert(install.slot, install.policy);
        }
    }
    pub(crate) fn unbind(&mut self, slot: u32) {
        let entry = self.by_slot.remove(&slot).and_then(|id| self.by_id.get(&id).copied());
        if let Some(Some(entry)) = entry.and_then(|n| self.entries.get_mut(n as usize)) {
            entry.bound.retain(|b| b.slot != slot);
        }
    }
}
