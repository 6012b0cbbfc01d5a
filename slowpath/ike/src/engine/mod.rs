//! The IKEv2 engine: inputs and the time go in, actions come out; no socket, clock or random source of its own.
//!
//! One `IkeSa` is one state machine, kept in a table by our SPI. An input takes the IKE SA it concerns out of
//! the table, lets the exchange's module work on it, starts the next thing it wants to do, and puts it back
//! with a new deadline. Whatever changed what a restart would need is announced with `Persist`, before the
//! messages that depend on it.
mod agreed;
mod auth;
mod backup;
mod beside;
mod child;
mod counters;
mod create;
mod dynamic;
mod exchange;
mod explain;
mod explain_proof;
mod followup;
mod fragment;
mod hint;
mod ike_sa;
mod index;
mod informational;
mod init;
mod intermediate;
mod mobike;
mod negotiate;
mod page;
mod peers;
mod proof;
mod redirect;
mod rekey_child;
mod rekey_ike;
mod report;
mod slots;
mod snapshot;
mod task;
mod templates;
mod tick;
mod timers;
mod trace;

#[cfg(test)]
mod tests;

use crate::api::{Action, ChildStatus, Config, Input, KeyLog, Now, Peer, PeerStatus, Rng};
use crate::crypto::Cookies;
use ::sa::{PolicyId, SaSlot, SaSpec, Spi};
pub use counters::{Counters, Failure, Refused};
use ike_sa::{IkeSa, Task};
use index::{ByAddress, Filed, Starts};
pub(crate) use proof::{Proven, Task as ProofTask};
use rekey_child::End;
pub use snapshot::RestoreError;
use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use timers::Timers;
pub use trace::Watched;
use zeroize::Zeroizing;

/// All IKE SAs of the gateway.
pub struct Engine {
    rng: Box<dyn Rng>,
    config: Config,
    peers: Vec<Arc<Peer>>,
    by_address: ByAddress,
    /// Which peer negotiates a policy.
    by_policy: HashMap<PolicyId, Arc<Peer>>,
    by_name: HashMap<String, Arc<Peer>>,
    /// Of policies with several peers: all of them, the preferred one first.
    backups: HashMap<PolicyId, Vec<Arc<Peer>>>,
    places: backup::Places,
    sas: BTreeMap<u64, Box<IkeSa>>,
    /// Those in `sas`, and the one that is being worked on.
    filed: Filed,
    timers: Timers,
    slots: slots::Slots,
    dynamic: dynamic::Dynamic,
    cookies: Cookies,
    cookies_rotated: Now,
    /// Half-open responders by the peer's address and SPI, oldest first in `half_open_order`.
    half_open: HashMap<(SocketAddr, u64), u64>,
    half_open_order: VecDeque<u64>,
    starts: Starts,
    changed: BTreeSet<u64>,
    forgotten: BTreeSet<u64>,
    counters: Counters,
    key_log: Option<Vec<KeyLog>>,
    talk: report::Bucket,
    heard: report::Heard,
    unknown_answers: report::Bucket,
    watched: Watched,
    /// Bytes of messages that are not whole yet.
    fragments: fragment::Budget,
    redirects: redirect::Redirects,
    beside: beside::Beside,
    /// When the calendar was last looked at, and what it said (since 1970).
    calendar: Option<(Now, Duration)>,
}

/// Whose slots are of no IKE SA: 0 is no SPI (RFC 7296 3.1).
const NOBODY: u64 = 0;

/// What a step works with besides the engine.
struct Cx {
    now: Now,
    out: Vec<Action>,
}

impl Engine {
    pub fn new(mut rng: Box<dyn Rng>) -> Self {
        let cookies = Cookies::new(rng.as_mut());
        Self {
            rng,
            config: Config::default(),
            peers: Vec::new(),
            by_address: ByAddress::default(),
            by_policy: HashMap::new(),
            by_name: HashMap::new(),
            backups: HashMap::new(),
            places: backup::Places::default(),
            sas: BTreeMap::new(),
            filed: Filed::default(),
            timers: Timers::default(),
            slots: slots::Slots::default(),
            dynamic: dynamic::Dynamic::default(),
            cookies,
            cookies_rotated: Now::ZERO,
            half_open: HashMap::new(),
            half_open_order: VecDeque::new(),
            starts: Starts::default(),
            changed: BTreeSet::new(),
            forgotten: BTreeSet::new(),
            counters: Counters::default(),
            key_log: None,
            talk: report::Bucket::new(10),
            heard: report::Heard::default(),
            unknown_answers: report::Bucket::new(20),
            watched: Watched::default(),
            fragments: fragment::Budget::default(),
            redirects: redirect::Redirects::default(),
            beside: beside::Beside::default(),
            calendar: None,
        }
    }

    /// Tells what the calendar says (since 1970): certificates are judged by it, and nothing else is. To be told again
    /// whenever it may have jumped; in between it is taken to go on with the clock.
    pub fn set_calendar(&mut self, now: Now, wall: Duration) {
        self.calendar = Some((now, wall));
    }
    fn wall(&self, now: Now) -> Option<Duration> {
        self.calendar.map(|(at, wall)| wall + now.saturating_sub(at))
    }

    /// Takes a whole new configuration. IKE SAs of peers that are gone are deleted; others live on.
    pub fn configure(&mut self, config: Config, now: Now, out: &mut Vec<Action>) {
        let mut cx = Cx { now, out: Vec::new() };
        self.apply(config, &mut cx);
        self.finish(cx, out);
    }

    pub fn handle(&mut self, input: Input, now: Now, out: &mut Vec<Action>) {
        let mut cx = Cx { now, out: Vec::new() };
        match input {
            Input::Datagram(datagram) => self.on_datagram(&datagram, &mut cx),
            Input::Tick => self.tick(&mut cx),
            Input::Acquire { policy, src, dst, protocol, src_port, dst_port } => {
                self.on_acquire(policy, (src, src_port), (dst, dst_port), protocol, &mut cx);
            }
            Input::SoftExpire { slot, spi } => self.on_child(slot, spi, &mut cx, |sa, spi| {
                sa.push_task(Task::Rekey(spi));
            }),
            Input::RekeyChild { slot } => self.on_rekey_child(slot, &mut cx),
            Input::HardExpire { slot, spi } => self.on_hard_expire(slot, spi, End::Lifetime, &mut cx),
            Input::LostChild { slot, spi, why } => {
                self.on_hard_expire(slot, spi, End::Lost(why), &mut cx);
            }
            Input::DeleteChild { slot, spi } => self.on_hard_expire(slot, spi, End::Wanted, &mut cx),
            Input::PeerMoved { slot, spi, from } => self.on_peer_moved(slot, spi, from, &mut cx),
            Input::Traffic { slot, spi } => self.on_traffic(slot, spi, &mut cx),
            Input::SlotFree(slot) => self.slots.freed(slot),
            Input::Initiate { peer, policy } => self.on_initiate(&peer, policy, &mut cx),
            Input::Terminate { peer } => self.on_terminate(peer.as_deref(), &mut cx),
            Input::TerminateSa { spi_i } => self.on_terminate_sa(spi_i, &mut cx),
            Input::RekeySa { spi_i } => self.on_rekey_sa(spi_i, &mut cx),
            Input::RekeyIke { peer } => self.on_rekey_ike(&peer, &mut cx),
            Input::Computed { id, done } => self.on_computed(id, done, &mut cx),
            Input::Resolved { peer, addresses } => self.on_resolved(&peer, addresses, &mut cx),
        }
        self.finish(cx, out);
    }

    /// When `Input::Tick` is due.
    pub fn next_timeout(&self) -> Option<Now> {
        self.starts.next().into_iter().chain(self.timers.next()).min()
    }

    /// Everything needed to go on with one IKE SA after a restart. Holds keys: the caller seals it.
    pub fn snapshot(&self, vault_key: u64) -> Option<Zeroizing<Vec<u8>>> {
        snapshot::take(self.sas.get(&vault_key)?)
    }

    /// Takes a record over, after `configure`. Nothing is installed: its children's SAs are known to run
    /// (`children` lists them); the caller removes what runs without a child and sends `HardExpire` for a
    /// child whose SA does not run. Returns the vault key.
    pub fn restore(&mut self, record: &[u8], now: Now, out: &mut Vec<Action>) -> Result<u64, RestoreError> {
        let mut cx = Cx { now, out: Vec::new() };
        let restored = self.take_over(record, &mut cx);
        self.finish(cx, out);
        restored
    }

    pub fn peers(&self, now: Now) -> Vec<PeerStatus> {
        self.sas
            .values()
            .filter(|sa| !matches!(sa.state, ike_sa::State::Closed))
            .map(|sa| sa.status(now))
            .collect()
    }
    pub fn children(&self, now: Now) -> Vec<ChildStatus> {
        self.sas.values().flat_map(|sa| sa.children.iter().map(|c| sa.child_status(c, now))).collect()
    }
    /// A place in the SA table for an SA that is not negotiated.
    pub fn take_slot(&mut self) -> Option<SaSlot> {
        self.slots.take(NOBODY)
    }
    /// Its SA is being removed; `SlotFree` gives it back.
    pub fn drain_slot(&mut self, slot: SaSlot) {
        if self.slots.owner(slot) == Some(NOBODY) {
            self.slots.drain(slot);
        }
    }
    /// Every SA the fast path is to run now, complete with keys and as it was installed. A fast path that starts
    /// empty gets these again, and a running one is compared with them.
    pub fn installed(&self) -> Vec<SaSpec> {
        self.sas.values().flat_map(|sa| sa.installed()).collect()
    }
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
    /// From now on keys are collected for an independent decoder. Off until called.
    pub fn log_keys(&mut self) {
        self.key_log.get_or_insert_default();
    }
    /// The keys of IKE SAs keyed since the last call; empty unless `log_keys` was called.
    pub fn key_log(&mut self) -> Vec<KeyLog> {
        self.key_log.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// The vault is told before anything leaves that depends on what changed.
    fn finish(&mut self, cx: Cx, out: &mut Vec<Action>) {
        for vault_key in std::mem::take(&mut self.changed) {
            out.push(Action::Persist { vault_key });
        }
        for vault_key in std::mem::take(&mut self.forgotten) {
            out.push(Action::Forget { vault_key });
        }
        out.extend(cx.out);
    }

    /// Works on one IKE SA, then lets it start what it wants to do next.
    fn with_sa<R>(
        &mut self,
        local_spi: u64,
        cx: &mut Cx,
        work: impl FnOnce(&mut Self, &mut IkeSa, &mut Cx) -> R,
    ) -> Option<R> {
        let mut sa = self.sas.remove(&local_spi)?;
        let result = work(self, &mut sa, cx);
        self.start_next(&mut sa, cx);
        self.sweep(&mut sa, cx);
        self.put(sa);
        Some(result)
    }

    fn put(&mut self, mut sa: Box<IkeSa>) {
        if !sa.is_half_open() {
            self.half_open.remove(&(sa.remote, sa.remote_spi));
        }
        if sa.dead {
            self.half_open.remove(&(sa.remote, sa.remote_spi));
            self.filed.remove(&sa);
            self.timers.set(sa.local_spi, None);
            self.changed.remove(&sa.local_spi);
            if sa.stored {
                self.forgotten.insert(sa.local_spi);
            }
            return;
        }
        if std::mem::take(&mut sa.dirty) && sa.is_worth_storing() {
            sa.stored = true;
            self.changed.insert(sa.local_spi);
        }
        self.timers.set(sa.local_spi, sa.deadline());
        self.filed.add(&mut sa);
        self.sas.insert(sa.local_spi, sa);
    }

    fn new_spi(&mut self) -> u64 {
        loop {
            let mut raw = [0; 8];
            self.rng.fill(&mut raw);
            let spi = u64::from_ne_bytes(raw);
            //= rfc7296#3.1/spi-not-zero: our SPI is never zero, nor one in use.
            if spi != 0 && !self.sas.contains_key(&spi) {
                return spi;
            }
        }
    }
    fn random_u8(&mut self) -> u8 {
        let mut raw = [0];
        self.rng.fill(&mut raw);
        raw[0]
    }

    /// Something about an SA of the fast path: finds the child, by its inbound or outbound half.
    fn on_child(&mut self, slot: SaSlot, spi: Spi, cx: &mut Cx, act: impl FnOnce(&mut IkeSa, Spi)) {
        let Some(owner) = self.slots.owner(slot) else { return };
        self.with_sa(owner, cx, |_, sa, _| {
            let found = sa.children.iter().find(|c| c.has(slot, spi)).map(|c| c.inbound.spi);
            if let Some(inbound) = found {
                act(sa, inbound);
            }
        });
    }
}
