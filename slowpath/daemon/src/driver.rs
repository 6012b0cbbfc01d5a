//! Between the engine and the fast path: inputs in, actions out, each in its order.
//!
//! Commands and frames leave through one queue, so that a message never overtakes the SA it promises: a frame waits
//! until the fast path has acknowledged the installations before it (for a bounded time), and an installation waits
//! until the slot's former SA is gone. Nothing in the queue is lost while the fast path lives; when it is
//! gone, `takeover` works out anew what it has to run.
use crate::carried::Ledger;
use crate::diagnoses::Diagnoses;
use crate::dynamic::Dynamic;
use crate::edits;
use crate::manual::Manual;
use crate::negotiator::Negotiator;
use crate::takeover::Progress;
use crate::watch::Watching;
use ike::api::{Action, Config, Datagram, Input, Now, Rank, Report, ReportLevel};
use ike::job::Job;
use ipc::{
    Ack, Command, Event, FrameKind, FrameMeta, Refusal, SendError, SlowSide, StatsReader, Vault, VaultKey,
};
use sa::{Direction, PolicySpec, SaSlot, Spi};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// How long a frame waits for the installations before it.
const BARRIER: Duration = Duration::from_millis(500);
/// How often inbound counters are looked at for signs of life.
const LIVENESS_SCAN: Duration = Duration::from_secs(2);
/// How many of them in one turn, and when the next ones' turn is: no message waits for a hundred thousand counters.
const LIVENESS_TURN: usize = 1024;
const LIVENESS_STEP: Duration = Duration::from_millis(20);
/// Frames, events and acknowledgements taken in one turn; timers and the status socket come next.
const TURN: usize = 256;
/// A full slot queue is tried again this often.
const RETRY: Duration = Duration::from_millis(5);
/// A transaction the fast path refused is offered again after this.
const POLICY_RETRY: Duration = Duration::from_secs(2);
/// Frames beyond this many are dropped: IKE sends again, and memory stays bounded.
const QUEUE: usize = 8192;

pub(crate) enum Outgoing {
    Command(Command),
    Frame { meta: FrameMeta, payload: Vec<u8>, since: Now },
}

/// What an acknowledgement is for.
enum Waiting {
    Install(SaSlot, Spi),
    Remove(SaSlot),
    Policies(u64),
    Other(&'static str),
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    pub frames_received: u64,
    pub frames_sent: u64,
    pub frames_dropped: u64,
    pub commands_sent: u64,
    pub commands_refused: u64,
    pub events: u64,
    pub vault_errors: u64,
    pub restored: u64,
    pub not_restored: u64,
    pub attachments: u64,
}

pub struct Driver<E> {
    pub engine: E,
    /// The configured ones, in rank order.
    pub(crate) policies: Arc<Vec<PolicySpec>>,
    /// The same with the places of templates, if policies are made from them.
    pub(crate) ranks: Arc<Vec<Rank>>,
    pub(crate) dynamic: Dynamic,
    pub(crate) manual: Manual,
    /// Peers whose names are to be looked up again.
    unresolved: Vec<String>,
    /// Public-key operations that are to be done elsewhere.
    jobs: Vec<(u64, IpAddr, Job)>,
    /// Addresses and routes, as the transaction that says them.
    network: Vec<Command>,
    pub(crate) slow: Option<SlowSide>,
    /// Numbers of the last fast path, after it is gone.
    pub(crate) previous: Option<StatsReader>,
    pub(crate) vault: Option<Vault>,
    pub(crate) vault_key: Option<VaultKey>,
    /// IKE SAs that have a record in the vault.
    pub(crate) stored: BTreeSet<u64>,
    /// How often that has changed.
    pub(crate) stored_changes: u64,
    /// Those of them that a new fast path's vault does not hold yet.
    pub(crate) to_store: VecDeque<u64>,
    queue: VecDeque<Outgoing>,
    waiting: HashMap<u64, Waiting>,
    installing: usize,
    draining: HashSet<SaSlot>,
    pub(crate) generation: u64,
    policies_wrong_until: Option<Now>,
    /// The generation that is not in force and why, until somebody asks.
    policies_refused: Option<(u64, Refusal)>,
    /// The fast path has, or will have when it has read the ring, what `policies` said at the last transaction.
    pub(crate) policies_told: bool,
    /// SAs that packets come in under, and how many have.
    receiving: BTreeMap<SaSlot, (Spi, Option<u64>)>,
    next_scan: Now,
    /// Where the scan goes on, and when it began.
    scan: Option<(SaSlot, Now)>,
    now: Now,
    pub(crate) takeover: Progress,
    pub(crate) ledger: Ledger,
    pub counters: Counters,
    pub diagnoses: Diagnoses,
    pub(crate) watching: Option<Watching>,
    /// How many there were.
    pub(crate) watches: u32,
}

impl<E: Negotiator> Driver<E> {
    /// Without a key nothing is stored, and a restart negotiates every tunnel anew.
    pub fn new(engine: E, vault_key: Option<VaultKey>) -> Self {
        Self {
            engine,
            policies: Arc::default(),
            ranks: Arc::default(),
            dynamic: Dynamic::default(),
            manual: Manual::default(),
            unresolved: Vec::new(),
            jobs: Vec::new(),
            network: Vec::new(),
            slow: None,
            previous: None,
            vault: None,
            vault_key,
            stored: BTreeSet::new(),
            stored_changes: 0,
            to_store: VecDeque::new(),
            queue: VecDeque::new(),
            waiting: HashMap::new(),
            installing: 0,
            draining: HashSet::new(),
            generation: 0,
            policies_wrong_until: None,
            policies_refused: None,
            policies_told: false,
            receiving: BTreeMap::new(),
            next_scan: Now::ZERO,
            scan: None,
            now: Now::ZERO,
            takeover: Progress::default(),
            ledger: Ledger::default(),
            counters: Counters::default(),
            diagnoses: Diagnoses::default(),
            watching: None,
            watches: 0,
        }
    }
    /// A whole new configuration, policies in rank order.
    pub fn configure(&mut self, config: Config, policies: Vec<PolicySpec>, now: Now) {
        self.now = now;
        let before = self.spd();
        self.policies = Arc::new(policies);
        self.dynamic.configure(&config.spd);
        self.ranks = Arc::new(config.spd.clone());
        let templates = self.ranks.iter().map(|rank| match rank {
            Rank::Policy(policy) => policy.id,
            Rank::Template(id) => *id,
        });
        let known = templates.chain(self.policies.iter().map(|policy| policy.id)).collect();
        self.ledger.keep(&known);
        if self.slow.is_some() {
            match edits::between(&before, &self.spd()).filter(|_| self.policies_told) {
                Some(edits) => self.send_edits(edits),
                None => self.send_policies(),
            }
        }
        let mut out = Vec::new();
        self.engine.configure(config, now, &mut out);
        self.perform(out);
    }
    /// All policies, configured ones and those that negotiations have made, in rank order.
    pub(crate) fn spd(&self) -> Vec<PolicySpec> {
        self.dynamic.among(&self.policies)
    }
    /// Addresses and routes, as [`crate::translate::network`] says them.
    pub fn set_network(&mut self, network: Vec<Command>, now: Now) {
        self.now = now;
        if self.network != network {
            self.network = network;
            if self.slow.is_some() {
                self.send_network();
            }
        }
    }
    /// All of it: what has not changed costs nobody anything.
    pub(crate) fn send_network(&mut self) {
        for command in self.network.clone() {
            self.command(command);
        }
    }
    pub fn input(&mut self, input: Input, now: Now) {
        self.now = now;
        if self.manual_input(&input) {
            return;
        }
        let mut out = Vec::new();
        self.engine.handle(input, now, &mut out);
        self.perform(out);
    }

    /// One round: what the fast path has said, what time has brought, what waits to go out. `true`: there is more.
    pub fn turn(&mut self, now: Now) -> bool {
        self.now = now;
        let more = self.take_in();
        if self.engine.next_timeout().is_some_and(|at| at <= now) {
            self.input(Input::Tick, now);
        }
        if now >= self.next_scan {
            self.look_for_life();
        }
        if self.policies_wrong_until.is_some_and(|at| at <= now) {
            self.send_policies();
        }
        self.watch_unread();
        self.flush();
        let more = more | self.store_more();
        if self.slow.as_ref().is_some_and(SlowSide::fast_gone) {
            self.detach();
            return true;
        }
        more
    }
    /// When to call `turn` again if nothing happens before.
    pub fn next_timeout(&self) -> Now {
        let scan = if self.slow.is_some() { self.next_scan } else { self.now + LIVENESS_SCAN };
        let retry = (!self.queue.is_empty() && self.slow.is_some()).then(|| self.now + RETRY);
        [self.engine.next_timeout(), retry, self.policies_wrong_until]
            .into_iter()
            .flatten()
            .fold(scan, Now::min)
    }
    /// Peers that do not answer where their names have led to.
    pub fn take_unresolved(&mut self) -> Vec<String> {
        std::mem::take(&mut self.unresolved)
    }
    /// What is to be computed; what comes of it is an input (`Input::Computed`).
    pub fn take_jobs(&mut self) -> Vec<(u64, IpAddr, Job)> {
        std::mem::take(&mut self.jobs)
    }
    /// Nothing waits to leave or to be answered.
    pub fn settled(&self) -> bool {
        self.queue.is_empty() && self.waiting.is_empty()
    }
    /// Which policies the fast path refused and why, said once. A transaction that did not fit together is not among
    /// them: it is offered again as a whole.
    pub fn take_refusal(&mut self) -> Option<(u64, Refusal)> {
        self.policies_refused.take().filter(|(_, refusal)| *refusal != Refusal::BadTransaction)
    }
    /// Of the policies that were offered last.
    pub fn generation(&self) -> u64 {
        self.generation
    }
    pub fn slow(&self) -> Option<&SlowSide> {
        self.slow.as_ref()
    }
    pub fn slow_mut(&mut self) -> Option<&mut SlowSide> {
        self.slow.as_mut()
    }

    pub(crate) fn detach(&mut self) {
        let Some(slow) = self.slow.take() else { return };
        if let Some(fault) = slow.fault() {
            tracing::error!(%fault, "the fast path's ring makes no sense; attaching again");
        } else {
            tracing::warn!("the fast path is gone; its tunnels are set up again when it is back");
        }
        self.previous = Some(slow.statistics().clone());
        self.vault = None;
        self.to_store.clear();
        self.queue.clear();
        self.waiting.clear();
        self.installing = 0;
        self.receiving.clear();
        self.scan = None;
        self.policies_told = false;
        self.watch_detached();
        // Whatever was being removed is gone with it.
        for slot in std::mem::take(&mut self.draining) {
            self.input(Input::SlotFree(slot), self.now);
        }
    }

    fn take_in(&mut self) -> bool {
        let mut taken = 0;
        while taken < TURN {
            let Some(slow) = self.slow.as_mut() else { return false };
            if let Some(ack) = slow.next_ack() {
                self.on_ack(ack);
            } else if let Some(event) = slow.next_event() {
                self.counters.events += 1;
                self.on_event(event);
            } else if let Some((meta, payload)) = slow.next_frame() {
                self.counters.frames_received += 1;
                if meta.kind == FrameKind::Ike {
                    let datagram =
                        Datagram { local: meta.local, remote: meta.remote, payload: payload.to_vec() };
                    self.input(Input::Datagram(datagram), self.now);
                }
            } else if let Some((seen, bytes)) = slow.next_seen() {
                let bytes = bytes.to_vec();
                self.on_seen(&seen, &bytes);
            } else {
                return false;
            }
            taken += 1;
        }
        true
    }
    fn on_event(&mut self, event: Event) {
        let input = match event {
            Event::Acquire { policy, packet: p } => Input::Acquire {
                policy,
                src: p.src,
                dst: p.dst,
                protocol: p.protocol,
                src_port: p.src_port,
                dst_port: p.dst_port,
            },
            Event::SoftExpire { slot, spi, .. } => Input::SoftExpire { slot, spi },
            Event::HardExpire { slot, spi, .. } => Input::HardExpire { slot, spi },
            Event::PeerMoved { slot, spi, from } => Input::PeerMoved { slot, spi, from },
            //= rfc4301#5.2/audit: SPI, addresses and what else the selectors look at.
            Event::Mismatch { spi, packet: p, .. } => {
                tracing::warn!(
                    target: "ike", %spi, src = %p.src, dst = %p.dst, protocol = p.protocol, src_port = p.src_port,
                    dst_port = p.dst_port, "the packet is not what its SA is for: dropped"
                );
                return;
            }
            Event::UnknownSpi { spi, local, remote } => {
                tracing::debug!(spi = format_args!("{spi:#x}"), %local, %remote, "ESP with an unknown SPI");
                return;
            }
        };
        self.input(input, self.now);
    }
    fn on_ack(&mut self, ack: Ack) {
        let Some(waiting) = self.waiting.remove(&ack.seq) else { return };
        self.counters.commands_refused += u64::from(ack.result.is_err());
        match waiting {
            Waiting::Install(slot, spi) => {
                self.installing -= 1;
                self.takeover.installed(self.now);
                if let Err(refusal) = ack.result {
                    tracing::error!(slot = slot.0, %spi, %refusal, "the fast path did not install an SA");
                    let why = format!("the fast path did not install the SA: {refusal}");
                    self.input(Input::LostChild { slot, spi, why }, self.now);
                }
            }
            Waiting::Remove(slot) => {
                if let Err(refusal) = ack.result.or_else(known_gone) {
                    tracing::error!(slot = slot.0, %refusal, "the fast path did not remove an SA");
                }
                self.draining.remove(&slot);
                self.ended(slot);
                self.input(Input::SlotFree(slot), self.now);
            }
            Waiting::Policies(generation) => match ack.result {
                Ok(()) => {
                    tracing::info!(generation, policies = self.policies.len(), "policies are in force");
                    self.takeover.policies_in_force(self.now);
                }
                Err(refusal) => {
                    tracing::error!(generation, %refusal, "the fast path refused the policies");
                    self.policies_told = false;
                    self.policies_wrong_until = Some(self.now + POLICY_RETRY);
                    // Edits behind it fail because it did.
                    self.policies_refused.get_or_insert((generation, refusal));
                }
            },
            Waiting::Other(what) => {
                if let Err(refusal) = ack.result {
                    tracing::warn!(command = what, %refusal, "the fast path refused a command");
                }
            }
        }
    }
    /// Protected packets are a sign of life (RFC 7296 2.4). Looks at the next few SAs; a round of all of them takes
    /// `LIVENESS_SCAN`, or as long as the turns take.
    fn look_for_life(&mut self) {
        let (from, began) = self.scan.take().unwrap_or((SaSlot(0), self.now));
        self.next_scan = self.now.max(began + LIVENESS_SCAN);
        let Some(statistics) = self.slow.as_ref().map(|s| s.statistics().clone()) else { return };
        let mut alive = Vec::new();
        for (looked_at, (slot, (spi, before))) in self.receiving.range_mut(from..).enumerate() {
            if looked_at == LIVENESS_TURN {
                self.scan = Some((*slot, began));
                self.next_scan = self.now + LIVENESS_STEP;
                break;
            }
            let packets = statistics.sa(*slot).packets;
            if before.replace(packets).is_some_and(|before| packets > before) {
                alive.push((*slot, *spi));
            }
        }
        for (slot, spi) in alive {
            self.input(Input::Traffic { slot, spi }, self.now);
        }
    }
    pub(crate) fn receives(&mut self, slot: SaSlot, spi: Spi) {
        self.receiving.insert(slot, (spi, None));
    }

    /// In their order: what is to be stored is stored before what depends on it leaves.
    pub fn perform(&mut self, actions: Vec<Action>) {
        for action in actions {
            match action {
                Action::Persist { vault_key } => self.persist(vault_key),
                Action::Forget { vault_key } => {
                    self.stored_changes += u64::from(self.stored.remove(&vault_key));
                    if let Some(vault) = self.vault.as_mut() {
                        vault.remove(vault_key);
                    }
                }
                Action::Send(Datagram { local, remote, payload }) => {
                    self.frame(FrameMeta { local, remote, kind: FrameKind::Ike }, payload);
                }
                Action::Keepalive { local, remote } => {
                    //= rfc3948#2.3/keepalive: one octet 0xff, without a non-ESP marker.
                    self.frame(FrameMeta { local, remote, kind: FrameKind::Raw }, vec![0xff]);
                }
                //= rfc7296#1.2/inbound-first: receive before sending, or the first answers are lost.
                Action::Install { inbound, outbound } => {
                    self.command(Command::InstallSa(inbound));
                    self.command(Command::InstallSa(outbound));
                }
                Action::InstallInbound(spec) | Action::InstallOutbound(spec) => {
                    self.command(Command::InstallSa(spec));
                }
                Action::Remove { slot, spi } => self.remove(slot, spi),
                Action::Move { slot, spi, ends, encap } => {
                    self.command(Command::MoveSa { slot, spi, ends, encap });
                }
                Action::AddPolicy(made) => {
                    let policy = made.spec;
                    let after = self.dynamic.add(*made, &self.policies);
                    self.edit(Command::PolicyInsert { after, policy });
                }
                Action::RemovePolicy(policy) => {
                    if self.dynamic.remove(policy) {
                        self.edit(Command::PolicyRemove { policy });
                    }
                }
                Action::Resolve { peer } => self.unresolved.push(peer),
                Action::Compute { id, from, job } => self.jobs.push((id, from, job)),
                // No packet waits for a template.
                Action::AcquireFailed { policy, .. } if self.dynamic.is_template(policy) => {}
                Action::AcquireFailed { policy, retry_ms } => {
                    self.command(Command::AcquireFailed { policy, retry_ms });
                }
                Action::Log(report) => {
                    log(&report);
                    self.diagnoses.note(report, wall());
                }
            }
        }
        self.flush();
    }
    pub(crate) fn persist(&mut self, vault_key: u64) {
        self.stored_changes += u64::from(self.stored.insert(vault_key));
        let Some(vault) = self.vault.as_mut() else { return };
        let Some(record) = self.engine.snapshot(vault_key) else { return };
        if let Err(error) = vault.put(vault_key, &record) {
            self.counters.vault_errors += 1;
            // An older record would bring back old message ids; none at all only costs a new negotiation.
            vault.remove(vault_key);
            tracing::warn!(%error, "an IKE SA is not stored; it would not survive a restart");
        }
    }
    /// While no fast path is attached nothing is queued: `takeover` compares whole states.
    pub(crate) fn command(&mut self, command: Command) {
        if self.slow.is_none() {
            return;
        }
        match &command {
            Command::InstallSa(spec) if spec.direction == Direction::Inbound => {
                self.receives(spec.slot, spec.spi);
            }
            Command::RemoveSa { slot, .. } => {
                self.receiving.remove(slot);
            }
            _ => {}
        }
        self.queue.push_back(Outgoing::Command(command));
    }
    pub(crate) fn remove(&mut self, slot: SaSlot, spi: Spi) {
        if self.slow.is_some() {
            self.command(Command::RemoveSa { slot, spi });
        } else {
            self.input(Input::SlotFree(slot), self.now);
        }
    }
    fn frame(&mut self, meta: FrameMeta, payload: Vec<u8>) {
        if self.slow.is_none() || self.queue.len() >= QUEUE {
            self.counters.frames_dropped += 1;
            return;
        }
        self.queue.push_back(Outgoing::Frame { meta, payload, since: self.now });
    }
    /// The whole SPD as one transaction.
    pub(crate) fn send_policies(&mut self) {
        self.generation += 1;
        self.policies_wrong_until = None;
        self.policies_told = true;
        let generation = self.generation;
        let policies = self.spd();
        self.command(Command::PolicyBegin { generation, count: policies.len() as u32 });
        for policy in policies {
            self.command(Command::Policy(policy));
        }
        self.command(Command::PolicyCommit { generation });
    }
    /// One policy more or less.
    fn edit(&mut self, edit: Command) {
        match (self.slow.is_some(), self.policies_told) {
            (false, _) => {}
            (true, true) => self.send_edits(vec![edit]),
            (true, false) => self.send_policies(),
        }
    }
    /// What has changed in the SPD as one transaction.
    fn send_edits(&mut self, edits: Vec<Command>) {
        if edits.is_empty() {
            return;
        }
        let from = self.generation;
        self.generation += 1;
        let generation = self.generation;
        self.command(Command::PolicyEdit { from, generation });
        for edit in edits {
            self.command(edit);
        }
        self.command(Command::PolicyCommit { generation });
    }

    pub(crate) fn flush(&mut self) {
        while let Some(outgoing) = self.queue.pop_front() {
            let sent = match &outgoing {
                Outgoing::Command(command) => self.try_command(command),
                Outgoing::Frame { meta, payload, since } => self.try_frame(meta, payload, *since),
            };
            match sent {
                Ok(()) => {}
                Err(SendError::Full) => {
                    self.queue.push_front(outgoing);
                    return;
                }
                Err(SendError::Unfit(unfit)) => self.give_up(&outgoing, &unfit),
                // `turn` notices and detaches.
                Err(SendError::Gone) => return,
            }
        }
    }
    fn try_command(&mut self, command: &Command) -> Result<(), SendError> {
        let Some(slow) = self.slow.as_mut() else { return Err(SendError::Gone) };
        if let Command::InstallSa(spec) = command
            && self.draining.contains(&spec.slot)
        {
            return Err(SendError::Full);
        }
        let seq = slow.send(command)?;
        self.counters.commands_sent += 1;
        let waiting = match command {
            Command::InstallSa(spec) => {
                self.installing += 1;
                self.enter(spec);
                Waiting::Install(spec.slot, spec.spi)
            }
            Command::RemoveSa { slot, .. } => {
                self.draining.insert(*slot);
                Waiting::Remove(*slot)
            }
            Command::PolicyCommit { generation } => Waiting::Policies(*generation),
            Command::MoveSa { .. } => Waiting::Other("move-sa"),
            Command::PolicyBegin { .. } => Waiting::Other("policy-begin"),
            Command::Policy(_) => Waiting::Other("policy"),
            Command::PolicyEdit { .. } => Waiting::Other("policy-edit"),
            Command::PolicyInsert { .. } => Waiting::Other("policy-insert"),
            Command::PolicyRemove { .. } => Waiting::Other("policy-remove"),
            Command::AcquireFailed { .. } => Waiting::Other("acquire-failed"),
            Command::NetworkBegin => Waiting::Other("network-begin"),
            Command::Address { .. } => Waiting::Other("address"),
            Command::Route { .. } => Waiting::Other("route"),
            Command::NetworkCommit { .. } => Waiting::Other("network-commit"),
            Command::Watch(_) => Waiting::Other("watch"),
            Command::Unwatch { .. } => Waiting::Other("unwatch"),
        };
        self.waiting.insert(seq, waiting);
        Ok(())
    }
    fn try_frame(&mut self, meta: &FrameMeta, payload: &[u8], since: Now) -> Result<(), SendError> {
        let Some(slow) = self.slow.as_mut() else { return Err(SendError::Gone) };
        if self.installing > 0 && self.now < since + BARRIER {
            return Err(SendError::Full);
        }
        slow.send_frame(meta, payload)?;
        self.counters.frames_sent += 1;
        Ok(())
    }
    fn give_up(&mut self, outgoing: &Outgoing, unfit: &dyn std::fmt::Display) {
        match outgoing {
            Outgoing::Frame { meta, .. } => {
                self.counters.frames_dropped += 1;
                tracing::error!(remote = %meta.remote, %unfit, "an IKE message cannot be sent");
            }
            Outgoing::Command(Command::InstallSa(spec)) => {
                tracing::error!(slot = spec.slot.0, spi = %spec.spi, %unfit, "an SA cannot be installed");
                let (slot, spi) = (spec.slot, spec.spi);
                self.takeover.installed(self.now);
                let why = format!("the SA cannot be said to the fast path: {unfit}");
                self.input(Input::LostChild { slot, spi, why }, self.now);
            }
            Outgoing::Command(_) => tracing::error!(%unfit, "a command cannot be sent"),
        }
    }
    pub(crate) fn set_now(&mut self, now: Now) {
        self.now = now;
    }
    pub(crate) fn now(&self) -> Now {
        self.now
    }
}

/// An SA that is already gone is what a removal wants.
fn known_gone(refusal: Refusal) -> Result<(), Refusal> {
    if refusal == Refusal::NoSuchSa { Ok(()) } else { Err(refusal) }
}

/// The calendar's time, for people.
fn wall() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO)
}
fn log(report: &Report) {
    let peer = report.peer.as_deref().unwrap_or("");
    let remote = report.remote.map_or_else(String::new, |r| r.to_string());
    // The kind of message, by which floods are limited.
    let cause = report.diagnosis.as_ref().map_or("", |d| d.cause.name());
    match report.level {
        ReportLevel::Error => tracing::error!(target: "ike", peer, remote, cause, "{}", report.text),
        ReportLevel::Warning => tracing::warn!(target: "ike", peer, remote, cause, "{}", report.text),
        ReportLevel::Info => tracing::info!(target: "ike", peer, remote, "{}", report.text),
        ReportLevel::Debug => tracing::debug!(target: "ike", peer, remote, "{}", report.text),
    }
}
