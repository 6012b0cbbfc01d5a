//! The control thread's side: commands in, table changes out, and what only time brings about.
//!
//! Checks every command against the newest state, also what is not yet visible to workers, and changes
//! nothing when it refuses. [`Control::poll`] moves publications along, completes removals, fires
//! lifetimes. It never waits for a worker.
use super::ports::Interface;
use super::sad::{self, Install, Shared};
use super::shared::{Publisher, Reader};
use super::spd::{Pending, Placed};
use super::{NextHop, Op, Tables};
use crate::crypto::{KeyMaker, SaRef};
use ipc::contract::{Command, Event, Expiry, Refusal};
use sa::{Direction, Mode, PolicyId, PolicySpec, Prefix, ReplayWidth, ReplayWindow, SaSlot, SaSpec, Spi};
use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use wire::Mac;

/// How a command ends that was not refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Applied {
    Now,
    /// [`Control::poll`] reports this number when it is done.
    Later(u64),
}
/// The number of a command that was answered with [`Applied::Later`] and is done now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Completion(pub u64);

/// What is known of an installed SA from outside.
#[derive(Clone, Copy, Debug)]
pub struct InstalledSa {
    pub slot: SaSlot,
    pub reference: SaRef,
    pub state: sad::State,
}

#[derive(Debug)]
struct Installed<K> {
    spi: Spi,
    install: u32,
    direction: Direction,
    removing: bool,
    shared: Arc<Shared<K>>,
}
#[derive(Debug)]
struct Transaction {
    generation: u64,
    count: u32,
    policies: Vec<PolicySpec>,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Timer {
    Soft { slot: u32, install: u32 },
    Hard { slot: u32, install: u32 },
    Retry { policy: PolicyId },
}
/// What to do once a change is in both instances of the tables.
#[derive(Debug)]
enum Settle {
    Removed { slot: u32 },
    Bound { policy: PolicyId },
}

pub struct Control<M: KeyMaker> {
    maker: M,
    tables: Publisher<Tables<M::Key>, Op<M::Key>>,
    capacity: u32,
    slots: HashMap<u32, Installed<M::Key>>,
    inbound: HashMap<u32, u32>,
    /// In rank order.
    policies: Vec<Placed>,
    places: HashMap<PolicyId, usize>,
    transaction: Option<Transaction>,
    installs: u32,
    interfaces: HashMap<u16, Interface>,
    timers: BinaryHeap<Reverse<(Duration, Timer)>>,
    settling: VecDeque<(u64, Settle)>,
}

impl<M: KeyMaker> Control<M> {
    pub fn new(maker: M, sa_slots: u32) -> Self {
        let (a, b) = (Tables::new(sa_slots), Tables::new(sa_slots));
        Self {
            maker,
            capacity: a.sad.capacity(),
            tables: Publisher::new(a, b),
            slots: HashMap::new(),
            inbound: HashMap::new(),
            policies: Vec::new(),
            places: HashMap::new(),
            transaction: None,
            installs: 0,
            interfaces: HashMap::new(),
            timers: BinaryHeap::new(),
            settling: VecDeque::new(),
        }
    }
    /// One for each worker. A reader that is never refreshed holds up every later change.
    pub fn reader(&self) -> Reader<Tables<M::Key>> {
        self.tables.reader()
    }
    /// The SA in a slot, unless it is being removed.
    pub fn installed_sa(&self, slot: SaSlot) -> Option<InstalledSa> {
        let installed = self.slots.get(&slot.0).filter(|i| !i.removing)?;
        let reference = SaRef { slot: slot.0, install: installed.install };
        Some(InstalledSa { slot, reference, state: installed.shared.state() })
    }
    /// How many changes there were.
    pub fn submitted(&self) -> u64 {
        self.tables.submitted()
    }
    /// So many of them are seen by every worker.
    pub fn settled(&self) -> u64 {
        self.tables.settled()
    }
    /// Forgets which policies have asked for an SA: their next packets ask again. For a slow path that
    /// has just come.
    pub fn acquire_again(&self) {
        for policy in &self.policies {
            policy.pending.clear();
        }
    }
    /// The newest tables that workers can see.
    pub fn tables(&self) -> &Tables<M::Key> {
        self.tables.active()
    }
    fn submit(&mut self, op: Op<M::Key>) -> u64 {
        let number = self.tables.submit(op);
        self.tables.advance(Tables::apply);
        number
    }

    pub fn apply(&mut self, command: Command, now: Duration) -> Result<Applied, Refusal> {
        match command {
            Command::InstallSa(spec) => self.install(&spec, now)?,
            Command::RemoveSa { slot, spi } => {
                let installed = self.installed(slot, spi)?;
                installed.removing = true;
                let direction = installed.direction;
                if direction == Direction::Inbound {
                    self.inbound.remove(&spi.get());
                }
                let number = self.submit(Op::RemoveSa { slot: slot.0 });
                self.settling.push_back((number, Settle::Removed { slot: slot.0 }));
                return Ok(Applied::Later(number));
            }
            Command::MoveSa { slot, spi, ends, encap } => {
                self.installed(slot, spi)?;
                if !sad::same_family(ends) {
                    return Err(Refusal::Unsupported);
                }
                self.submit(Op::MoveSa { slot: slot.0, ends, encap });
            }
            Command::PolicyBegin { generation, count } => {
                self.transaction = Some(Transaction { generation, count, policies: Vec::new() });
            }
            Command::Policy(policy) => {
                let open = self.transaction.as_mut().ok_or(Refusal::BadTransaction)?;
                if open.policies.len() >= open.count as usize {
                    return Err(Refusal::BadTransaction);
                }
                open.policies.push(policy);
            }
            Command::PolicyCommit { generation } => {
                let open = self.transaction.take().ok_or(Refusal::BadTransaction)?;
                if open.generation != generation || open.policies.len() != open.count as usize {
                    return Err(Refusal::BadTransaction);
                }
                self.commit(&open.policies)?;
            }
            Command::AcquireFailed { policy, retry_ms } => {
                if !self.places.contains_key(&policy) {
                    return Err(Refusal::NoSuchPolicy);
                }
                let at = now + Duration::from_millis(retry_ms.into());
                self.timers.push(Reverse((at, Timer::Retry { policy })));
            }
        }
        Ok(Applied::Now)
    }

    fn installed(&mut self, slot: SaSlot, spi: Spi) -> Result<&mut Installed<M::Key>, Refusal> {
        if slot.0 >= self.capacity {
            return Err(Refusal::NoSuchSlot);
        }
        self.slots.get_mut(&slot.0).filter(|i| i.spi == spi && !i.removing).ok_or(Refusal::NoSuchSa)
    }

    fn check(&self, spec: &SaSpec) -> Result<(), Refusal> {
        let encryption = spec.suite.encryption();
        let keys = (spec.encryption_key.len(), spec.salt.len(), spec.integrity_key.len());
        let needed = (encryption.key_len(), encryption.salt_len(), spec.suite.integrity().key_len());
        let spi_taken = || self.inbound.contains_key(&spec.spi.get());
        match spec.direction {
            _ if spec.slot.0 >= self.capacity => Err(Refusal::NoSuchSlot),
            _ if self.slots.contains_key(&spec.slot.0) => Err(Refusal::SlotInUse),
            _ if keys != needed => Err(Refusal::Malformed),
            _ if spec.mode != Mode::Tunnel => Err(Refusal::Unsupported),
            _ if !sad::same_family(spec.ends) || spec.selectors.is_empty() => Err(Refusal::Unsupported),
            Direction::Inbound if spi_taken() => Err(Refusal::DuplicateSpi),
            Direction::Outbound if !self.places.contains_key(&spec.policy) => Err(Refusal::NoSuchPolicy),
            _ => Ok(()),
        }
    }

    fn install(&mut self, spec: &SaSpec, now: Duration) -> Result<(), Refusal> {
        self.check(spec)?;
        let key = self.maker.make(spec).map_err(|_| Refusal::NoEngine)?;
        let width = match spec.replay_window {
            0 => 0,
            asked => asked.clamp(64, 65536).next_power_of_two(),
        };
        let width = match spec.direction {
            Direction::Inbound => ReplayWidth::new(width).ok_or(Refusal::Malformed)?,
            Direction::Outbound => ReplayWidth::new(0).ok_or(Refusal::Malformed)?,
        };
        let window = ReplayWindow::new(width, spec.esn, spec.last_seq);
        let shared = Arc::new(Shared::new(key, spec.esn, spec.last_seq, spec.lifetime, window));
        // Never 0: that is no installation.
        self.installs = self.installs.wrapping_add(1).max(1);
        let (slot, install) = (spec.slot.0, self.installs);
        for (limit, timer) in [
            (spec.lifetime.seconds.soft, Timer::Soft { slot, install }),
            (spec.lifetime.seconds.hard, Timer::Hard { slot, install }),
        ] {
            if let (1.., Some(at)) = (limit, now.checked_add(Duration::from_secs(limit))) {
                self.timers.push(Reverse((at, timer)));
            }
        }
        if spec.direction == Direction::Inbound {
            self.inbound.insert(spec.spi.get(), slot);
        }
        let installed = Installed {
            spi: spec.spi,
            install,
            direction: spec.direction,
            removing: false,
            shared: shared.clone(),
        };
        self.slots.insert(slot, installed);
        let number = self.submit(Op::InstallSa(Arc::new(Install {
            slot,
            install,
            spi: spec.spi,
            direction: spec.direction,
            suite: spec.suite,
            esn: spec.esn,
            ends: spec.ends,
            encap: spec.encap,
            policy: spec.policy,
            selectors: spec.selectors.clone().into(),
            shared,
        })));
        if spec.direction == Direction::Outbound {
            self.settling.push_back((number, Settle::Bound { policy: spec.policy }));
        }
        Ok(())
    }

    fn commit(&mut self, policies: &[PolicySpec]) -> Result<(), Refusal> {
        let mut ids = std::collections::HashSet::new();
        if policies.iter().any(|p| p.id.0 == 0 || !ids.insert(p.id)) {
            return Err(Refusal::BadTransaction);
        }
        let placed = place(&self.policies, &self.places, policies);
        let keeps = |p: &&Placed| {
            self.places
                .get(&p.spec.id)
                .map(|at| &self.policies[*at])
                .is_some_and(|old| old.rank == p.rank && old.spec == p.spec)
        };
        let insert: Vec<Placed> = placed.iter().filter(|p| !keeps(p)).cloned().collect();
        let changed: std::collections::HashSet<_> = insert.iter().map(|p| p.spec.id).collect();
        let gone = |p: &&Placed| changed.contains(&p.spec.id) || !ids.contains(&p.spec.id);
        let remove: Vec<PolicyId> = self.policies.iter().filter(gone).map(|p| p.spec.id).collect();
        self.places = placed.iter().enumerate().map(|(n, p)| (p.spec.id, n)).collect();
        self.policies = placed;
        self.submit(Op::Policies { remove: remove.into(), insert: insert.into() });
        Ok(())
    }

    /// Sets an interface, its addresses and the routes to the networks they are in.
    pub fn set_interface(&mut self, index: u16, interface: Interface) {
        let networks = |i: &Interface| -> Vec<Prefix> {
            i.addresses.iter().filter_map(|(addr, len)| Prefix::new(*addr, *len)).collect()
        };
        if let Some(old) = self.interfaces.insert(index, interface.clone()) {
            for prefix in networks(&old) {
                self.submit(Op::RemoveRoute { prefix });
            }
        }
        for prefix in networks(&interface) {
            self.submit(Op::SetRoute { prefix, via: NextHop { interface: index, gateway: None } });
        }
        self.submit(Op::SetInterface { index, interface });
    }
    pub fn set_route(&mut self, prefix: Prefix, via: NextHop) {
        self.submit(Op::SetRoute { prefix, via });
    }
    pub fn remove_route(&mut self, prefix: Prefix) {
        self.submit(Op::RemoveRoute { prefix });
    }
    /// `None` forgets the neighbour.
    pub fn set_neighbour(&mut self, interface: u16, address: IpAddr, mac: Option<Mac>) {
        self.submit(Op::SetNeighbour { interface, address, mac });
    }

    /// Call often. Appends what has become due.
    pub fn poll(&mut self, now: Duration, events: &mut Vec<Event>, done: &mut Vec<Completion>) {
        self.tables.advance(Tables::apply);
        while let Some((number, settle)) = self.settling.pop_front_if(|(n, _)| *n <= self.tables.settled()) {
            match settle {
                Settle::Removed { slot } => {
                    // The last reference to the key: it is wiped here, before anyone is told.
                    self.slots.remove(&slot);
                    done.push(Completion(number));
                }
                Settle::Bound { policy } => self.clear_pending(policy),
            }
        }
        while let Some(Reverse((at, timer))) = self.timers.peek().copied() {
            if at > now {
                break;
            }
            self.timers.pop();
            self.fire(timer, events);
        }
    }
    /// When [`Control::poll`] next has something to do by time alone.
    pub fn next_timeout(&self) -> Option<Duration> {
        self.timers.peek().map(|Reverse((at, _))| *at)
    }
    fn clear_pending(&self, policy: PolicyId) {
        if let Some(at) = self.places.get(&policy) {
            self.policies[*at].pending.clear();
        }
    }
    fn fire(&mut self, timer: Timer, events: &mut Vec<Event>) {
        let (slot, install, hard) = match timer {
            Timer::Retry { policy } => return self.clear_pending(policy),
            Timer::Soft { slot, install } => (slot, install, false),
            Timer::Hard { slot, install } => (slot, install, true),
        };
        let found = self.slots.get(&slot).filter(|i| i.install == install && !i.removing);
        let Some(Installed { spi, shared, .. }) = found else { return };
        let (slot, spi, why) = (SaSlot(slot), *spi, Expiry::Seconds);
        if hard && shared.mark_dead() {
            events.push(Event::HardExpire { slot, spi, why });
        } else if !hard && shared.mark_dying() {
            events.push(Event::SoftExpire { slot, spi, why });
        }
    }
}

const GAP: u64 = 1 << 32;

/// Gives the policies ranks in their order. Those that stayed where they were keep theirs, so that a
/// change costs what changed.
fn place(old: &[Placed], places: &HashMap<PolicyId, usize>, policies: &[PolicySpec]) -> Vec<Placed> {
    let before = |spec: &PolicySpec| places.get(&spec.id).map(|at| &old[*at]).filter(|p| p.spec == *spec);
    let pending =
        |spec: &PolicySpec| before(spec).map_or_else(Arc::<Pending>::default, |p| p.pending.clone());
    // Which keep their rank: a new policy in between needs room on both sides.
    let mut kept: Vec<Option<u64>> = Vec::with_capacity(policies.len());
    let mut highest = 0;
    for spec in policies {
        let rank = before(spec).map(|p| p.rank).filter(|rank| *rank > highest);
        highest = rank.unwrap_or(highest);
        kept.push(rank);
    }
    let mut ranks = Vec::with_capacity(policies.len());
    let mut start = 0; // rank of the last one placed
    let mut at = 0;
    while at < policies.len() {
        if let Some(rank) = kept[at] {
            ranks.push(rank);
            (start, at) = (rank, at + 1);
            continue;
        }
        let run = kept[at..].iter().take_while(|k| k.is_none()).count() as u64;
        let step = match kept.get(at + run as usize) {
            Some(Some(end)) => (end - start) / (run + 1),
            _ => GAP,
        };
        if step == 0 {
            ranks = (1..=policies.len() as u64).map(|n| n * GAP).collect();
            break;
        }
        ranks.extend((1..=run).map(|n| start + n * step));
        (start, at) = (start + run * step, at + run as usize);
    }
    let placed = |(spec, rank): (&PolicySpec, u64)| Placed { rank, spec: *spec, pending: pending(spec) };
    policies.iter().zip(ranks).map(placed).collect()
}
