//! The order of the policies as the control thread keeps it: a rank for each, with room between.
//!
//! A change says what to take out of the tables and what to put in. It costs what it changes: a policy that comes
//! between two others gets a rank between theirs, and only when there is none left are a few neighbours moved.
use super::shards::{Shards, spread};
use super::spd::{Pending, Placed};
use ipc::contract::Refusal;
use sa::{PolicyId, PolicySpec};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::ops::Bound::{Excluded, Unbounded};
use std::sync::Arc;

/// Between the ranks of neighbours that came together.
const GAP: u64 = 1 << 32;
/// Where a list begins: there is room before it as well.
const FIRST: u64 = 1 << 62;
/// Neighbours that are moved get at least this much room each.
const ROOM: u64 = 1 << 16;

/// One step of a transaction that changes some policies and leaves the others alone.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Edit {
    /// Behind the policy named; `None`: before all others.
    Insert {
        after: Option<PolicyId>,
        policy: PolicySpec,
    },
    Remove(PolicyId),
}

#[derive(Debug, Default)]
pub struct Change {
    pub remove: Vec<PolicyId>,
    pub insert: Vec<Placed>,
}

#[derive(Debug, Default)]
pub struct Order {
    by_rank: BTreeMap<u64, PolicyId>,
    placed: Shards<Placed>,
}

impl Order {
    pub fn get(&self, id: PolicyId) -> Option<&Placed> {
        self.placed.get(spread(id.0))
    }
    pub fn iter(&self) -> impl Iterator<Item = &Placed> {
        self.placed.values()
    }

    /// All policies in their order. Those that stayed where they were keep their ranks.
    pub fn replace(&mut self, policies: &[PolicySpec]) -> Result<Change, Refusal> {
        let mut ids = HashSet::with_capacity(policies.len());
        if policies.iter().any(|p| p.id.0 == 0 || !ids.insert(p.id)) {
            return Err(Refusal::BadTransaction);
        }
        let before = |spec: &PolicySpec| self.get(spec.id).filter(|p| p.spec == *spec);
        let ranks = ranks(policies, |spec| before(spec).map(|p| p.rank));
        let mut change = Change::default();
        for (spec, rank) in policies.iter().zip(ranks) {
            let old = before(spec);
            if old.is_none_or(|p| p.rank != rank) {
                let pending = old.map_or_else(Arc::<Pending>::default, |p| p.pending.clone());
                change.insert.push(Placed { rank, spec: *spec, pending });
            }
        }
        let changed: HashSet<PolicyId> = change.insert.iter().map(|p| p.spec.id).collect();
        let gone = |id: &&PolicyId| changed.contains(id) || !ids.contains(id);
        change.remove = self.by_rank.values().filter(gone).copied().collect();
        for id in &change.remove {
            self.take(*id);
        }
        for placed in &change.insert {
            self.put(placed.clone());
        }
        Ok(change)
    }

    /// All steps or none.
    pub fn edit(&mut self, edits: &[Edit]) -> Result<Change, Refusal> {
        self.check(edits)?;
        // What was there before: a policy that goes and comes back unchanged keeps what belongs to it.
        let mut touched: HashMap<PolicyId, Option<Placed>> = HashMap::new();
        for edit in edits {
            match edit {
                Edit::Remove(id) => {
                    let old = self.take(*id);
                    touched.entry(*id).or_insert(old);
                }
                Edit::Insert { after, policy } => {
                    let old = touched.entry(policy.id).or_insert(None).as_ref();
                    let same = old.filter(|old| old.spec == *policy);
                    let pending = same.map_or_else(Arc::<Pending>::default, |old| old.pending.clone());
                    let rank = self.rank_after(*after, &mut touched);
                    self.put(Placed { rank, spec: *policy, pending });
                }
            }
        }
        let mut change = Change::default();
        for (id, before) in touched {
            let now = self.get(id);
            let same = |a: &Placed, b: &Placed| a.rank == b.rank && a.spec == b.spec;
            if before.as_ref().zip(now).is_some_and(|(a, b)| same(a, b)) {
                continue;
            }
            change.remove.extend(before.map(|old| old.spec.id));
            change.insert.extend(now.cloned());
        }
        Ok(change)
    }
    fn check(&self, edits: &[Edit]) -> Result<(), Refusal> {
        let mut now: HashMap<PolicyId, bool> = HashMap::new();
        for edit in edits {
            let there = |id: &PolicyId, now: &HashMap<_, bool>| {
                now.get(id).copied().unwrap_or_else(|| self.get(*id).is_some())
            };
            match edit {
                Edit::Remove(id) if there(id, &now) => now.insert(*id, false),
                Edit::Remove(_) => return Err(Refusal::NoSuchPolicy),
                Edit::Insert { policy, .. } if policy.id.0 == 0 || there(&policy.id, &now) => {
                    return Err(Refusal::BadTransaction);
                }
                Edit::Insert { after: Some(after), .. } if !there(after, &now) => {
                    return Err(Refusal::NoSuchPolicy);
                }
                Edit::Insert { policy, .. } => now.insert(policy.id, true),
            };
        }
        Ok(())
    }

    /// A free rank behind `after`. Neighbours that have to make room are noted in `touched`.
    fn rank_after(
        &mut self,
        after: Option<PolicyId>,
        touched: &mut HashMap<PolicyId, Option<Placed>>,
    ) -> u64 {
        let free = |this: &Self| {
            let start = after.and_then(|id| this.get(id)).map_or(0, |p| p.rank);
            match this.by_rank.range((Excluded(start), Unbounded)).next() {
                Some((end, _)) if start == 0 && *end > 2 * GAP => Some(end - GAP),
                Some((end, _)) => (end - start >= 2).then(|| start + (end - start) / 2),
                None => start.max(FIRST).checked_add(GAP),
            }
        };
        if let Some(rank) = free(self) {
            return rank;
        }
        let start = after.and_then(|id| self.get(id)).map_or(0, |p| p.rank);
        self.make_room(start, touched);
        // Each of the neighbours has at least `ROOM` now, unless there are more policies than ranks.
        free(self).unwrap_or(u64::MAX)
    }
    /// Spreads the smallest run of policies around a rank evenly that has room enough.
    fn make_room(&mut self, around: u64, touched: &mut HashMap<PolicyId, Option<Placed>>) {
        let mut width = 16;
        loop {
            let below = self.by_rank.range(..=around).rev();
            let above = self.by_rank.range((Excluded(around), Unbounded));
            let low: Vec<u64> = below.take(width + 1).map(|(rank, _)| *rank).collect();
            let high: Vec<u64> = above.take(width + 1).map(|(rank, _)| *rank).collect();
            // The outermost ones stay and bound the run.
            let start = low.get(width).copied().unwrap_or(0);
            let end = high.get(width).copied().unwrap_or(u64::MAX);
            let run: Vec<u64> =
                low.iter().take(width).rev().chain(high.iter().take(width)).copied().collect();
            let step = (end - start) / (run.len() as u64 + 1);
            let is_all = run.len() == self.by_rank.len();
            if step >= ROOM || is_all {
                return self.respread(&run, start, step.min(GAP), touched);
            }
            width *= 2;
        }
    }
    fn respread(
        &mut self,
        run: &[u64],
        start: u64,
        step: u64,
        touched: &mut HashMap<PolicyId, Option<Placed>>,
    ) {
        let ids: Vec<PolicyId> = run.iter().filter_map(|rank| self.by_rank.get(rank).copied()).collect();
        let moved: Vec<Placed> = ids.iter().filter_map(|id| self.take(*id)).collect();
        for (at, old) in moved.into_iter().enumerate() {
            let new = Placed { rank: start + (at as u64 + 1) * step, ..old.clone() };
            touched.entry(old.spec.id).or_insert(Some(old));
            self.put(new);
        }
    }

    fn put(&mut self, placed: Placed) {
        self.by_rank.insert(placed.rank, placed.spec.id);
        self.placed.insert(spread(placed.spec.id.0), placed);
    }
    fn take(&mut self, id: PolicyId) -> Option<Placed> {
        let placed = self.placed.remove(spread(id.0))?;
        self.by_rank.remove(&placed.rank);
        Some(placed)
    }
}

/// Ranks for a whole list. Those with a rank that still fits keep it.
fn ranks(policies: &[PolicySpec], before: impl Fn(&PolicySpec) -> Option<u64>) -> Vec<u64> {
    // Which keep theirs: a new policy in between needs room on both sides.
    let mut kept: Vec<Option<u64>> = Vec::with_capacity(policies.len());
    let mut highest = 0;
    for spec in policies {
        let rank = before(spec).filter(|rank| *rank > highest);
        highest = rank.unwrap_or(highest);
        kept.push(rank);
    }
    let mut ranks = Vec::with_capacity(policies.len());
    let mut start: u64 = 0; // rank of the last one placed
    let mut at = 0;
    while at < policies.len() {
        if let Some(rank) = kept[at] {
            ranks.push(rank);
            (start, at) = (rank, at + 1);
            continue;
        }
        let run = kept[at..].iter().take_while(|k| k.is_none()).count() as u64;
        let step = match kept.get(at + run as usize) {
            Some(Some(end)) if start == 0 && *end > (run + 1) * GAP => {
                start = end - (run + 1) * GAP;
                GAP
            }
            Some(Some(end)) => (end - start) / (run + 1),
            _ => {
                start = start.max(FIRST);
                GAP.min((u64::MAX - start) / (run + 1))
            }
        };
        if step == 0 {
            return (1..=policies.len() as u64).map(|n| FIRST + n * GAP).collect();
        }
        ranks.extend((1..=run).map(|n| start + n * step));
        (start, at) = (start + run * step, at + run as usize);
    }
    ranks
}
