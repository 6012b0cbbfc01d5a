//! After either process was restarted: what the fast path runs and what the engine believes are made one.
//!
//! A restarted slow path opens the vault, goes on with each IKE SA in it and removes from the fast path what belongs to
//! none. A restarted fast path gets policies and SAs again, numbers moved ahead of all that can have been sent.
use crate::driver::Driver;
use crate::negotiator::Negotiator;
use ike::api::{Action, Input, Now};
use ipc::{Command, SaState, SlowSide, StatsReader};
use sa::{Direction, SaSlot, SaSpec, Spi};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// Ahead of the last number known: more than a fast path can send between its last word and its end.
pub const SEQUENCE_LEAD: u64 = 1 << 24;

/// Records written in one turn.
const STORE_TURN: usize = 256;

/// What becomes of an SA that the engine has and the fast path has not.
#[derive(Debug, PartialEq, Eq)]
pub enum Fate {
    Install(Box<SaSpec>),
    /// Nobody knows how far its numbers went, or too few are left: its child is negotiated anew.
    Expire(SaSlot, Spi),
}

/// `last_seq`: what the former fast path had counted for this very SA.
//= rfc4106#3.1/unique-iv: no (key, IV) pair may come twice, whatever was restarted.
pub fn fate(mut spec: Box<SaSpec>, last_seq: Option<u64>) -> Fate {
    let Some(last_seq) = last_seq else { return Fate::Expire(spec.slot, spec.spi) };
    spec.last_seq = match spec.direction {
        Direction::Inbound => last_seq,
        Direction::Outbound => last_seq.saturating_add(SEQUENCE_LEAD),
    };
    let end = if spec.esn { u64::MAX } else { u64::from(u32::MAX) };
    // Not only a number must be left, but time for a rekey.
    if spec.direction == Direction::Outbound && spec.last_seq > end - SEQUENCE_LEAD {
        return Fate::Expire(spec.slot, spec.spi);
    }
    Fate::Install(spec)
}

/// How long it took until the fast path ran what we want, at the last attachment.
#[derive(Clone, Copy, Debug, Default)]
pub struct Progress {
    since: Now,
    /// SAs that had to be installed, and of which no acknowledgement has come yet.
    sas: u64,
    unanswered: u64,
    /// From the beginning to the acknowledgement, which comes when every worker acts on it.
    policies: Option<Duration>,
    all: Option<Duration>,
}
impl Progress {
    pub(crate) fn policies_in_force(&mut self, now: Now) {
        self.policies.get_or_insert(now.saturating_sub(self.since));
        self.look(now);
    }
    /// Commands are answered in their order: the first ones are those of the takeover.
    pub(crate) fn installed(&mut self, now: Now) {
        self.unanswered = self.unanswered.saturating_sub(1);
        self.look(now);
    }
    fn look(&mut self, now: Now) {
        if self.unanswered == 0 && self.policies.is_some() && self.all.is_none() {
            let took = now.saturating_sub(self.since);
            self.all = Some(took);
            tracing::info!(sas = self.sas, ms = took.as_millis(), "the fast path runs all of it");
        }
    }
    /// Milliseconds are absent while it lasts.
    pub(crate) fn counters(&self) -> impl Iterator<Item = (&'static str, u64)> {
        let ms = |time: Option<Duration>| time.map(|t| t.as_millis() as u64);
        let times =
            [("takeover-policies-ms", ms(self.policies)), ("takeover-all-ms", ms(self.all))].into_iter();
        times.filter_map(|(name, time)| Some((name, time?))).chain([("takeover-installed", self.sas)])
    }
}

impl<E: Negotiator> Driver<E> {
    /// A fast path has let us in.
    pub fn attach(&mut self, slow: SlowSide, now: Now) {
        self.set_now(now);
        self.counters.attachments += 1;
        self.takeover = Progress { since: now, ..Progress::default() };
        let statistics = slow.statistics().clone();
        tracing::info!(epoch = slow.epoch(), session = slow.session(), "attached to the fast path");
        self.vault = None;
        if let Some(key) = &self.vault_key {
            match slow.open_vault(key) {
                Ok(vault) => self.vault = Some(vault),
                Err(error) => tracing::error!(%error, "no vault: tunnels will not survive our restart"),
            }
        }
        self.generation = self.generation.max(statistics.policy_generation());
        self.slow = Some(slow);
        let mut out = Vec::new();
        // A new fast path has none of these; what is opened now is there, or announced in `out`.
        let ours: Vec<u64> = self.stored.iter().copied().collect();
        self.open_records(now, &mut out);
        self.dynamic.set(self.engine.generated());
        self.send_network();
        self.send_policies();
        self.reconcile(&statistics);
        self.to_store = ours.into();
        self.perform(out);
    }

    /// Writes the next few records into a new fast path's vault. Tunnels come first; an IKE SA that sends something
    /// meanwhile is stored before that, as always. `true`: there are more.
    pub(crate) fn store_more(&mut self) -> bool {
        if self.takeover.unanswered > 0 {
            return false;
        }
        for _ in 0..STORE_TURN {
            let Some(vault_key) = self.to_store.pop_front() else { return false };
            if self.stored.contains(&vault_key) {
                self.persist(vault_key);
            }
        }
        !self.to_store.is_empty()
    }

    /// Every IKE SA of a predecessor that can be gone on with.
    fn open_records(&mut self, now: Now, out: &mut Vec<Action>) {
        let Some(vault) = self.vault.as_ref() else { return };
        if vault.damaged() > 0 {
            tracing::warn!(
                records = vault.damaged(),
                "records of the vault do not open; their tunnels are negotiated anew"
            );
        }
        let records: Vec<_> = vault.iter().filter(|(name, _)| !self.stored.contains(name)).collect();
        for (name, record) in records {
            match self.engine.restore(&record, now, out) {
                Ok(restored) => {
                    self.counters.restored += 1;
                    self.stored_changes += u64::from(self.stored.insert(restored));
                    if restored == name {
                        continue;
                    }
                }
                Err(error) => {
                    self.counters.not_restored += 1;
                    tracing::warn!(%error, "a stored IKE SA is not taken over");
                }
            }
            if let Some(vault) = self.vault.as_mut() {
                vault.remove(name);
            }
        }
    }

    /// Makes engine, configuration and fast path one.
    fn reconcile(&mut self, statistics: &StatsReader) {
        let accepted = self.accepted(statistics);
        self.check_manual(statistics);
        let previous = self.previous.take();
        self.end_former(previous.as_ref(), statistics);
        let wanted: BTreeMap<(SaSlot, Spi), SaSpec> =
            self.installed().into_iter().map(|spec| ((spec.slot, spec.spi), spec)).collect();
        let mut runs = BTreeSet::new();
        let mut missed = Vec::new();
        for (slot, identity) in statistics.installed() {
            let known = wanted.get(&(slot, identity.spi));
            if known.is_some_and(|spec| spec.direction == identity.direction) {
                runs.insert((slot, identity.spi));
                if identity.direction == Direction::Inbound {
                    self.receives(slot, identity.spi);
                }
                known.into_iter().for_each(|spec| self.enter(spec));
                // Said while nobody listened.
                let spi = identity.spi;
                match identity.state {
                    SaState::Mature => {}
                    SaState::Dying => missed.push(Input::SoftExpire { slot, spi }),
                    SaState::Dead => missed.push(Input::HardExpire { slot, spi }),
                }
            } else {
                tracing::info!(slot = slot.0, spi = %identity.spi, "removing an SA that belongs to no IKE SA");
                self.remove(slot, identity.spi);
            }
        }
        self.run_manual(&accepted);
        let (mut installed, mut renegotiated, running) = (0, 0, runs.len());
        // Inbound first, as always.
        let missing =
            wanted.into_iter().filter(|(name, _)| !runs.contains(name)).map(|(_, spec)| Box::new(spec));
        let (inbound, outbound): (Vec<_>, Vec<_>) = missing.partition(|s| s.direction == Direction::Inbound);
        for spec in inbound.into_iter().chain(outbound) {
            let known =
                previous.as_ref().filter(|p| p.identity(spec.slot).is_some_and(|i| i.spi == spec.spi));
            let last_seq = known.map(|p| p.sa(spec.slot).last_seq);
            match fate(spec, last_seq) {
                Fate::Install(spec) => {
                    installed += 1;
                    (self.takeover.sas, self.takeover.unanswered) = (installed, installed);
                    self.command(Command::InstallSa(spec));
                }
                Fate::Expire(slot, spi) => {
                    renegotiated += 1;
                    let why =
                        "after a restart the numbers it has sent are not known any more; it is made anew";
                    missed.push(Input::LostChild { slot, spi, why: why.into() });
                }
            }
        }
        tracing::info!(running, installed, renegotiated, "SAs taken over");
        for input in missed {
            self.input(input, self.now());
        }
        self.flush();
    }
}
