//! SAs with keys from the configuration (RFC 4301 4.5): installed, replaced and removed as it says, beside those that
//! are negotiated. Their numbers come in blocks ([`crate::marks`]); a block that is nearly used is followed by a new SA
//! with the next one, in the way of a rekey.
use crate::driver::Driver;
use crate::marks::Marks;
use crate::negotiator::Negotiator;
use ike::api::{Input, Now, Page};
use ipc::{Command, SaIdentity, StatsReader};
use sa::{Direction, Framing, Limit, PolicyId, SaSlot, SaSpec, Spi};
use std::collections::HashMap;

#[derive(Default)]
pub(crate) struct Manual {
    wanted: Vec<Wanted>,
    running: Vec<Runs>,
    /// `None`: nobody remembers numbers over a restart.
    marks: Option<Marks>,
}
/// What the configuration says; its slot means nothing.
#[derive(Clone, PartialEq, Eq)]
struct Wanted {
    spec: SaSpec,
    /// The fast path reads it when an SA is installed.
    framing: Framing,
}
struct Runs {
    wanted: Wanted,
    /// As it was installed.
    spec: SaSpec,
}
impl Manual {
    fn find(&self, slot: SaSlot, spi: Spi) -> Option<usize> {
        self.running.iter().position(|runs| (runs.spec.slot, runs.spec.spi) == (slot, spi))
    }
    pub fn specs(&self) -> impl Iterator<Item = &SaSpec> {
        self.running.iter().map(|runs| &runs.spec)
    }
}

impl<E: Negotiator> Driver<E> {
    /// Numbers are remembered there. Without it no SA runs whose IVs are counted.
    pub fn remember_numbers(&mut self, marks: Marks) {
        self.manual.marks = Some(marks);
    }
    /// Exactly these from now on. What is as it was goes on untouched.
    pub fn set_manual(&mut self, specs: &[SaSpec], now: Now) {
        self.set_now(now);
        let framing: HashMap<PolicyId, Framing> = if specs.is_empty() {
            HashMap::new()
        } else {
            self.policies.iter().map(|p| (p.id, p.framing)).collect()
        };
        let wanted = |spec: &SaSpec| Wanted {
            spec: SaSpec { slot: SaSlot(0), ..spec.clone() },
            framing: framing.get(&spec.policy).copied().unwrap_or_default(),
        };
        self.manual.wanted = specs.iter().map(wanted).collect();
        if self.slow().is_some() {
            self.run_manual(&[]);
            self.flush();
        }
    }
    /// Every SA the fast path is to run.
    pub fn installed(&self) -> Vec<SaSpec> {
        self.engine.installed().into_iter().chain(self.manual.specs().cloned()).collect()
    }
    /// As the engine's; the first one has ours.
    pub fn page(&self, after: Option<u64>, enough: usize, now: Now) -> Page {
        let mut page = self.engine.page(after, enough, now);
        if after.is_none() {
            page.installed.extend(self.manual.specs().cloned());
        }
        page
    }

    /// What the configuration does not have any more goes, what is missing comes: the new one of an SA that sends before
    /// the old one goes, so that each packet finds one. `accepted`: the highest number of SAs a former process had.
    pub(crate) fn run_manual(&mut self, accepted: &[(Spi, u64)]) {
        let wanted = self.manual.wanted.clone();
        let (kept, gone): (Vec<_>, Vec<_>) = std::mem::take(&mut self.manual.running)
            .into_iter()
            .partition(|runs| wanted.contains(&runs.wanted));
        self.manual.running = kept;
        let (gone_in, gone_out): (Vec<_>, Vec<_>) =
            gone.into_iter().partition(|runs| runs.spec.direction == Direction::Inbound);
        gone_in.into_iter().for_each(|runs| self.remove_manual(&runs.spec));
        for direction in [Direction::Inbound, Direction::Outbound] {
            for wanted in wanted.iter().filter(|wanted| wanted.spec.direction == direction) {
                if !self.manual.running.iter().any(|runs| runs.wanted == *wanted) {
                    let last =
                        accepted.iter().find(|(spi, _)| *spi == wanted.spec.spi).map(|(_, last)| *last);
                    self.install_manual(wanted.clone(), last.unwrap_or(0));
                }
            }
        }
        gone_out.into_iter().for_each(|runs| self.remove_manual(&runs.spec));
    }
    /// The highest numbers of what has come in, of the fast path that is gone or of the one a former process served.
    pub(crate) fn accepted(&self, statistics: &StatsReader) -> Vec<(Spi, u64)> {
        let statistics = self.previous.as_ref().unwrap_or(statistics);
        let of = |(slot, identity): (SaSlot, SaIdentity)| {
            let ours = self.manual.wanted.iter().any(|wanted| wanted.spec.spi == identity.spi);
            let ours = ours && identity.direction == Direction::Inbound;
            ours.then(|| (identity.spi, statistics.sa(slot).last_seq))
        };
        if self.manual.wanted.is_empty() {
            Vec::new()
        } else {
            statistics.installed().filter_map(of).collect()
        }
    }
    /// After an attachment: what the fast path does not run any more is missing.
    pub(crate) fn check_manual(&mut self, statistics: &StatsReader) {
        let runs = |runs: &Runs| {
            statistics
                .identity(runs.spec.slot)
                .is_some_and(|is| (is.spi, is.direction) == (runs.spec.spi, runs.spec.direction))
        };
        let (kept, lost): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.manual.running).into_iter().partition(runs);
        self.manual.running = kept;
        for runs in lost {
            self.free(runs.spec.slot);
        }
    }

    fn install_manual(&mut self, wanted: Wanted, accepted: u64) -> bool {
        let mut spec = wanted.spec.clone();
        let numbered = match spec.direction {
            Direction::Inbound => {
                spec.last_seq = spec.last_seq.max(accepted);
                Ok(())
            }
            Direction::Outbound => self.number(&mut spec),
        };
        if let Err(why) = numbered {
            tracing::error!(spi = %spec.spi, "a manual SA does not send: {why}");
            return false;
        }
        let Some(slot) = self.slot() else {
            tracing::error!(spi = %spec.spi, "no room for a manual SA; raise `system sa-slots`");
            return false;
        };
        spec.slot = slot;
        self.manual.running.push(Runs { wanted, spec: spec.clone() });
        self.command(Command::InstallSa(Box::new(spec)));
        true
    }
    /// Numbers that no one has used under this key.
    fn number(&mut self, spec: &mut SaSpec) -> Result<(), String> {
        let counts = spec.suite.encryption().counts_iv() || spec.suite.integrity().iv_len() > 0;
        match &mut self.manual.marks {
            Some(marks) => {
                let block = marks.next(spec).map_err(|error| error.to_string())?;
                spec.last_seq = block.after;
                spec.lifetime.packets = Limit { soft: block.soft, hard: block.hard };
                Ok(())
            }
            None if counts => {
                Err("nobody remembers its sequence numbers over a restart, which would use a key and IV \
                 twice: start the gateway with a folder for its state"
                    .into())
            }
            None => Ok(()),
        }
    }
    /// One in which the fast path has nothing, if there is one: else the SA waits for that to go.
    fn slot(&mut self) -> Option<SaSlot> {
        let mut taken = Vec::new();
        let mut found = None;
        while let Some(slot) = self.engine.take_slot() {
            let statistics = self.slow().map(|slow| slow.statistics());
            if statistics.is_none_or(|statistics| statistics.identity(slot).is_none()) {
                found = Some(slot);
                break;
            }
            taken.push(slot);
        }
        let found = found.or_else(|| taken.pop());
        taken.into_iter().for_each(|slot| self.free(slot));
        found
    }
    fn free(&mut self, slot: SaSlot) {
        self.engine.drain_slot(slot);
        self.input(Input::SlotFree(slot), self.now());
    }
    fn remove_manual(&mut self, spec: &SaSpec) {
        self.engine.drain_slot(spec.slot);
        self.remove(spec.slot, spec.spi);
    }

    /// `true`: it was about one of ours.
    pub(crate) fn manual_input(&mut self, input: &Input) -> bool {
        let (Input::SoftExpire { slot, spi }
        | Input::HardExpire { slot, spi }
        | Input::LostChild { slot, spi, .. }
        | Input::Traffic { slot, spi }) = input
        else {
            return false;
        };
        let Some(at) = self.manual.find(*slot, *spi) else { return false };
        match input {
            Input::SoftExpire { .. } | Input::HardExpire { .. } => {
                let old = self.manual.running.swap_remove(at);
                if self.install_manual(old.wanted.clone(), 0) {
                    tracing::info!(spi = %old.spec.spi, "a manual SA goes on with the next block of numbers");
                    self.remove_manual(&old.spec);
                } else {
                    // It sends what it still may.
                    self.manual.running.push(old);
                }
            }
            Input::LostChild { why, .. } => {
                tracing::error!(%spi, "a manual SA does not run: {why}");
                let lost = self.manual.running.swap_remove(at);
                self.free(lost.spec.slot);
            }
            _ => {}
        }
        true
    }
}
