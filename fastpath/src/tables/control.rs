//! The control thread's side: commands in, table changes out, and what only time brings about.
//!
//! Checks every command against the newest state, also what is not yet visible to workers, and changes
//! nothing when it refuses. [`Control::poll`] moves publications along, completes removals, fires
//! lifetimes. It never waits for a worker.
use super::order::{Edit, Order};
use super::paths::Paths;
use super::ports::Interface;
use super::sad::{self, Install, Shared};
use super::shards::{Shards, spread};
use super::shared::{Publisher, Reader};
use super::{NextHop, Op, Tables};
use crate::crypto::{KeyMaker, SaRef};
use crate::graph::watch::Watch;
use crate::host::pmtu::Hint;
use ipc::contract::{Command, Event, Expiry, Refusal};
use sa::{
    Direction, PolicyId, PolicySpec, Prefix, Protocol, ReplayWidth, ReplayWindow, SaSlot, SaSpec, Spi, Suite,
};
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
    remote: IpAddr,
    shared: Arc<Shared<K>>,
}
#[derive(Debug)]
enum Transaction {
    Whole { generation: u64, count: u32, policies: Vec<PolicySpec> },
    Edits { generation: u64, edits: Vec<Edit> },
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
    slots: Shards<Installed<M::Key>>,
    /// Inbound SPIs.
    inbound: Shards<()>,
    policies: Order,
    /// Of the last transaction that was committed.
    generation: u64,
    transaction: Option<Transaction>,
    installs: u32,
    interfaces: HashMap<u16, Interface>,
    routes: HashMap<Prefix, NextHop>,
    timers: BinaryHeap<Reverse<(Duration, Timer)>>,
    settling: VecDeque<(u64, Settle)>,
    paths: Paths<M::Key>,
    watch: Option<Arc<Watch>>,
}

/// AH neither encrypts nor goes without an integrity algorithm; in ESP there is no place for the IV of one.
fn runs(protocol: Protocol, suite: Suite) -> bool {
    match protocol {
        Protocol::Esp => suite.integrity().iv_len() == 0,
        Protocol::Ah => Suite::ah(suite.integrity()) == Ok(suite),
    }
}

impl<M: KeyMaker> Control<M> {
    pub fn new(maker: M, sa_slots: u32) -> Self {
        let (a, mut b) = (Tables::new(sa_slots), Tables::new(sa_slots));
        b.clients = Arc::clone(&a.clients);
        Self {
            maker,
            capacity: a.sad.capacity(),
            tables: Publisher::new(a, b),
            slots: Shards::default(),
            inbound: Shards::default(),
            policies: Order::default(),
            generation: 0,
            transaction: None,
            installs: 0,
            interfaces: HashMap::new(),
            routes: HashMap::new(),
            timers: BinaryHeap::new(),
            settling: VecDeque::new(),
            paths: Paths::default(),
            watch: None,
        }
    }
    /// One for each worker. A reader that is never refreshed holds up every later change.
    pub fn reader(&self) -> Reader<Tables<M::Key>> {
        self.tables.reader()
    }
    /// The SA in a slot, unless it is being removed.
    pub fn installed_sa(&self, slot: SaSlot) -> Option<InstalledSa> {
        let installed = self.slots.get(spread(slot.0)).filter(|i| !i.removing)?;
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
        for policy in self.policies.iter() {
            policy.pending.clear();
        }
    }
    /// The newest tables that workers can see.
    pub fn tables(&self) -> &Tables<M::Key> {
        self.tables.active()
    }
    fn submit(&mut self, op: Op<M::Key>) -> u64 {
        self.tables.submit(op)
    }
    fn publish(&mut self) {
        self.tables.advance(Tables::apply);
    }

    /// Carries a command out; workers see it from their next burst on.
    pub fn apply(&mut self, command: Command, now: Duration) -> Result<Applied, Refusal> {
        let applied = self.enqueue(command, now);
        self.publish();
        applied
    }
    /// The same, but workers see it only after the next [`Control::poll`]: one publication for many commands, and one
    /// look-up anew for each flow of a worker instead of many.
    pub fn enqueue(&mut self, command: Command, now: Duration) -> Result<Applied, Refusal> {
        match command {
            Command::InstallSa(spec) => self.install(&spec, now)?,
            Command::RemoveSa { slot, spi } => {
                let installed = self.installed(slot, spi)?;
                installed.removing = true;
                let remote = installed.remote;
                match installed.direction {
                    Direction::Inbound => drop(self.inbound.remove(spread(spi.get()))),
                    Direction::Outbound => self.paths.remove(remote, spi.get()),
                }
                let number = self.submit(Op::RemoveSa { slot: slot.0 });
                self.settling.push_back((number, Settle::Removed { slot: slot.0 }));
                return Ok(Applied::Later(number));
            }
            Command::MoveSa { slot, spi, ends, encap } => {
                if !sad::same_family(ends) {
                    return Err(Refusal::Unsupported);
                }
                let installed = self.installed(slot, spi)?;
                let (remote, direction) = (installed.remote, installed.direction);
                if direction == Direction::Outbound && remote != ends.remote {
                    installed.remote = ends.remote;
                    let shared = installed.shared.clone();
                    self.paths.remove(remote, spi.get());
                    self.paths.add(ends.remote, spi.get(), &shared);
                }
                self.submit(Op::MoveSa { slot: slot.0, ends, encap });
            }
            Command::PolicyBegin { generation, count } => {
                self.transaction = Some(Transaction::Whole { generation, count, policies: Vec::new() });
            }
            Command::PolicyEdit { from, generation } => {
                self.transaction = None;
                if from != self.generation {
                    return Err(Refusal::BadTransaction);
                }
                self.transaction = Some(Transaction::Edits { generation, edits: Vec::new() });
            }
            Command::Policy(policy) => match &mut self.transaction {
                Some(Transaction::Whole { count, policies, .. }) if policies.len() < *count as usize => {
                    policies.push(policy);
                }
                _ => return Err(Refusal::BadTransaction),
            },
            Command::PolicyInsert { after, policy } => self.add_edit(Edit::Insert { after, policy })?,
            Command::PolicyRemove { policy } => self.add_edit(Edit::Remove(policy))?,
            Command::PolicyCommit { generation } => self.commit(generation)?,
            Command::AcquireFailed { policy, retry_ms } => {
                self.policies.get(policy).ok_or(Refusal::NoSuchPolicy)?;
                let at = now + Duration::from_millis(retry_ms.into());
                self.timers.push(Reverse((at, Timer::Retry { policy })));
            }
            Command::Watch(spec) => self.set_watch(Some(Arc::new(Watch::new(*spec)))),
            Command::Unwatch { number } => {
                if self.watch.as_ref().is_some_and(|watch| watch.spec().number == number) {
                    self.set_watch(None);
                }
            }
            // Whoever knows the interfaces by name makes one `set_network` of these.
            Command::NetworkBegin
            | Command::Address { .. }
            | Command::Route { .. }
            | Command::NetworkCommit { .. } => return Err(Refusal::BadTransaction),
        }
        Ok(Applied::Now)
    }
    fn set_watch(&mut self, watch: Option<Arc<Watch>>) {
        self.watch.clone_from(&watch);
        self.submit(Op::Watch(watch));
    }
    /// What is watched, from the next publication on.
    pub fn watch(&self) -> Option<&Arc<Watch>> {
        self.watch.as_ref()
    }
    fn add_edit(&mut self, edit: Edit) -> Result<(), Refusal> {
        let Some(Transaction::Edits { edits, .. }) = &mut self.transaction else {
            return Err(Refusal::BadTransaction);
        };
        edits.push(edit);
        Ok(())
    }
    fn commit(&mut self, committed: u64) -> Result<(), Refusal> {
        let change = match self.transaction.take() {
            Some(Transaction::Whole { generation, count, policies })
                if generation == committed && policies.len() == count as usize =>
            {
                self.policies.replace(&policies)?
            }
            Some(Transaction::Edits { generation, edits }) if generation == committed => {
                self.policies.edit(&edits)?
            }
            _ => return Err(Refusal::BadTransaction),
        };
        self.generation = committed;
        self.submit(Op::Policies { remove: change.remove.into(), insert: change.insert.into() });
        Ok(())
    }

    fn installed(&mut self, slot: SaSlot, spi: Spi) -> Result<&mut Installed<M::Key>, Refusal> {
        if slot.0 >= self.capacity {
            return Err(Refusal::NoSuchSlot);
        }
        self.slots.get_mut(spread(slot.0)).filter(|i| i.spi == spi && !i.removing).ok_or(Refusal::NoSuchSa)
    }

    fn check(&self, spec: &SaSpec) -> Result<(), Refusal> {
        let encryption = spec.suite.encryption();
        let keys = (spec.encryption_key.len(), spec.salt.len(), spec.integrity_key.len());
        let needed = (encryption.key_len(), spec.suite.salt_len(), spec.suite.integrity().key_len());
        let spi_taken = || self.inbound.contains(spread(spec.spi.get()));
        match spec.direction {
            _ if spec.slot.0 >= self.capacity => Err(Refusal::NoSuchSlot),
            _ if self.slots.contains(spread(spec.slot.0)) => Err(Refusal::SlotInUse),
            _ if keys != needed => Err(Refusal::Malformed),
            //= rfc3948#1/not-ah: AH covers the addresses that a NAT changes.
            _ if spec.protocol == Protocol::Ah && spec.encap.is_some() => Err(Refusal::Unsupported),
            _ if !runs(spec.protocol, spec.suite) => Err(Refusal::Unsupported),
            _ if !sad::same_family(spec.ends) || spec.selectors.is_empty() => Err(Refusal::Unsupported),
            Direction::Inbound if spi_taken() => Err(Refusal::DuplicateSpi),
            Direction::Outbound if self.policies.get(spec.policy).is_none() => Err(Refusal::NoSuchPolicy),
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
        match spec.direction {
            Direction::Inbound => drop(self.inbound.insert(spread(spec.spi.get()), ())),
            Direction::Outbound => self.paths.add(spec.ends.remote, spec.spi.get(), &shared),
        }
        let installed = Installed {
            spi: spec.spi,
            install,
            direction: spec.direction,
            removing: false,
            remote: spec.ends.remote,
            shared: shared.clone(),
        };
        self.slots.insert(spread(slot), installed);
        let policy =
            (spec.direction == Direction::Outbound).then(|| self.policies.get(spec.policy)).flatten();
        let framing = policy.map(|placed| placed.spec.framing).unwrap_or_default();
        let number = self.submit(Op::InstallSa(Arc::new(Install {
            slot,
            install,
            spi: spec.spi,
            direction: spec.direction,
            protocol: spec.protocol,
            mode: spec.mode,
            suite: spec.suite,
            esn: spec.esn,
            ends: spec.ends,
            encap: spec.encap,
            original: spec.original,
            policy: spec.policy,
            also: spec.also.clone(),
            framing,
            selectors: spec.selectors.clone().into(),
            shared,
        })));
        if spec.direction == Direction::Outbound {
            let bound = spec.policies().map(|policy| (number, Settle::Bound { policy }));
            self.settling.extend(bound);
        }
        Ok(())
    }

    /// What a router said about the size of an ESP packet of ours: the size from now on, if it can be believed.
    pub fn take_hint(&mut self, hint: &Hint, now: Duration) -> Option<u16> {
        self.paths.learn(hint, now)
    }

    /// Sets an interface, its addresses and the routes to the networks they are in.
    pub fn set_interface(&mut self, index: u16, interface: Interface) {
        let networks = |i: &Interface| -> Vec<Prefix> {
            i.addresses.iter().filter_map(|(addr, len)| Prefix::new(*addr, *len)).collect()
        };
        if let Some(old) = self.interfaces.insert(index, interface.clone()) {
            for prefix in networks(&old) {
                self.unroute(prefix);
            }
        }
        for prefix in networks(&interface) {
            self.route(prefix, NextHop { interface: index, gateway: None });
        }
        self.submit(Op::SetInterface { index, interface });
        self.publish();
    }
    fn route(&mut self, prefix: Prefix, via: NextHop) {
        if self.routes.insert(prefix, via) != Some(via) {
            self.submit(Op::SetRoute { prefix, via });
        }
    }
    fn unroute(&mut self, prefix: Prefix) {
        if self.routes.remove(&prefix).is_some() {
            self.submit(Op::RemoveRoute { prefix });
        }
    }
    pub fn set_route(&mut self, prefix: Prefix, via: NextHop) {
        self.route(prefix, via);
        self.publish();
    }
    pub fn remove_route(&mut self, prefix: Prefix) {
        self.unroute(prefix);
        self.publish();
    }
    /// All addresses and all routes anew, for the interfaces there are; workers see all of it at once, and nothing of
    /// what stays the same.
    pub fn set_network(&mut self, addresses: &[(u16, IpAddr, u8)], routes: &HashMap<Prefix, NextHop>) {
        let changed: Vec<(u16, Interface)> = self
            .interfaces
            .iter()
            .filter_map(|(index, interface)| {
                let own = addresses.iter().filter(|(of, ..)| of == index);
                let own: Vec<(IpAddr, u8)> = own.map(|(_, address, len)| (*address, *len)).collect();
                let changed = Interface { addresses: own, ..interface.clone() };
                (changed.addresses != interface.addresses).then_some((*index, changed))
            })
            .collect();
        for (index, interface) in changed {
            self.interfaces.insert(index, interface.clone());
            self.submit(Op::SetInterface { index, interface });
        }
        let gone: Vec<Prefix> = self.routes.keys().filter(|p| !routes.contains_key(p)).copied().collect();
        for prefix in gone {
            self.unroute(prefix);
        }
        for (prefix, via) in routes {
            self.route(*prefix, *via);
        }
        self.publish();
    }
    /// `None` forgets the neighbour.
    pub fn set_neighbour(&mut self, interface: u16, address: IpAddr, mac: Option<Mac>) {
        self.submit(Op::SetNeighbour { interface, address, mac });
        self.publish();
    }

    /// Call often. Appends what has become due.
    pub fn poll(&mut self, now: Duration, events: &mut Vec<Event>, done: &mut Vec<Completion>) {
        self.publish();
        while let Some((number, settle)) = self.settling.pop_front_if(|(n, _)| *n <= self.tables.settled()) {
            match settle {
                Settle::Removed { slot } => {
                    // The last reference to the key: it is wiped here, before anyone is told.
                    self.slots.remove(spread(slot));
                    done.push(Completion(number));
                }
                Settle::Bound { policy } => self.clear_pending(policy),
            }
        }
        self.paths.on_time(now);
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
        if let Some(placed) = self.policies.get(policy) {
            placed.pending.clear();
        }
    }
    fn fire(&mut self, timer: Timer, events: &mut Vec<Event>) {
        let (slot, install, hard) = match timer {
            Timer::Retry { policy } => return self.clear_pending(policy),
            Timer::Soft { slot, install } => (slot, install, false),
            Timer::Hard { slot, install } => (slot, install, true),
        };
        let found = self.slots.get(spread(slot)).filter(|i| i.install == install && !i.removing);
        let Some(Installed { spi, shared, .. }) = found else { return };
        let (slot, spi, why) = (SaSlot(slot), *spi, Expiry::Seconds);
        if hard && shared.mark_dead() {
            events.push(Event::HardExpire { slot, spi, why });
        } else if !hard && shared.mark_dying() {
            events.push(Event::SoftExpire { slot, spi, why });
        }
    }
}
