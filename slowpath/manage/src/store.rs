//! The configuration in force, and changes to it.
use crate::history::{History, replace_file};
use crate::plan::{needs_restart, plan};
use config::document::Document;
use config::{Complaints, Config};
use ipc::change::{Apply, Entry, Plan, Refused, Target};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::OnceLock;
use std::time::Duration;
use zeroize::Zeroizing;

/// A change that is taken back when its time comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// What to go back to.
    pub back_to: u64,
    /// On the clock of the machine, which goes on through restarts of the process.
    pub at: Duration,
    /// Of which life of the machine; the clock begins anew with each.
    pub boot: String,
}

/// One configuration, as text, meaning and, once they are asked for, objects: a restart does not wait for these.
#[derive(Clone)]
struct State {
    text: Zeroizing<String>,
    rows: OnceLock<Document>,
    config: Config,
}

/// A change that was checked, planned and written down: `config` is to be put in force.
pub struct Change {
    pub plan: Plan,
    /// `None`: nothing that a gateway does is different.
    pub config: Option<Config>,
}

pub struct Store {
    file: PathBuf,
    history: Option<History>,
    now: State,
    before: Option<State>,
    pending: Option<Pending>,
}

impl Store {
    /// `file` is what the gateway was started with. Without a folder there is no history, and nothing can be taken back.
    pub fn open(file: &Path, history: Option<&Path>, wall: Duration) -> Result<Self, Refused> {
        let now = read(file).and_then(State::new)?;
        let failed = |error: String| refused(format!("the history cannot be opened: {error}"));
        let history = history
            .map(|dir| History::open(dir).map_err(|e| failed(format!("{}: {e}", dir.display()))))
            .transpose()?;
        let pending = history.as_ref().and_then(History::pending).filter(|p| p.boot == boot());
        let mut store = Self { file: file.into(), history, now, before: None, pending };
        store.note_start(wall)?;
        Ok(store)
    }
    /// A file that was edited while nothing ran is an entry too.
    fn note_start(&mut self, wall: Duration) -> Result<(), Refused> {
        let failed = |error: std::io::Error| refused(format!("the history cannot be written: {error}"));
        let Some(history) = self.history.as_mut() else { return Ok(()) };
        let last = history.last();
        let known = (last > 0).then(|| history.text(last)).transpose().map_err(failed)?;
        if known.as_ref() == Some(&self.now.text) {
            return Ok(());
        }
        let rows =
            known.and_then(|text| Document::from_yaml(&text).ok()).map(|(rows, _)| rows).unwrap_or_default();
        let changes = self.now.rows()?.since(&rows).iter().map(ToString::to_string).collect();
        let entry = Entry {
            number: last + 1,
            when: wall.as_secs(),
            who: "start".into(),
            comment: String::new(),
            changes,
        };
        history.push(entry, &self.now.text).map_err(failed)
    }

    pub fn config(&self) -> &Config {
        &self.now.config
    }
    pub fn entries(&self) -> &[Entry] {
        self.history.as_ref().map_or(&[], |history| &history.entries)
    }
    /// What is or was in force, with its secrets.
    pub fn text(&self, entry: Option<u64>) -> Result<Zeroizing<String>, Refused> {
        match entry {
            None => Ok(self.now.text.clone()),
            Some(number) => self.former(number),
        }
    }
    fn former(&self, number: u64) -> Result<Zeroizing<String>, Refused> {
        let history = self
            .history
            .as_ref()
            .ok_or_else(|| refused("there is no history: the gateway was started without a folder for it"))?;
        if !history.entries.iter().any(|entry| entry.number == number) {
            let (first, last) = (history.entries.first().map_or(0, |e| e.number), history.last());
            return Err(refused(format!("there is no entry {number}; the history has {first} to {last}")));
        }
        history.text(number).map_err(|error| refused(format!("entry {number} cannot be read: {error}")))
    }
    fn wanted(&self, to: &Target) -> Result<Zeroizing<String>, Refused> {
        match to {
            Target::Text(text) => Ok(Zeroizing::new(text.clone())),
            Target::File => read(&self.file),
            Target::Entry(number) => self.former(*number),
        }
    }

    /// Checks, plans and, unless it is only to be said, writes down. `now` is the machine's clock, `wall` the calendar's.
    pub fn apply(&mut self, wanted: &Apply, now: Duration, wall: Duration) -> Result<Change, Refused> {
        let new = State::new(self.wanted(&wanted.to)?)?;
        let mut plan = plan((self.now.rows()?, &self.now.config), (new.rows()?, &new.config));
        plan.warnings = new.warnings();
        let restart = needs_restart(&self.now.config, &new.config);
        if !restart.is_empty() {
            let mut refused = refused(format!(
                "{} cannot be changed while the gateway runs; start it again with the new file for that, or apply the rest alone",
                restart.join(", ")
            ));
            refused.complaints = plan.changes;
            return Err(refused);
        }
        if wanted.confirm.is_some() && self.history.is_none() {
            return Err(refused(
                "without a history nothing can be taken back; start the gateway with a state folder",
            ));
        }
        let same_text = new.text == self.now.text;
        if wanted.dry_run || same_text && plan.changes.is_empty() {
            return Ok(Change { plan, config: None });
        }
        self.write_down(&new, wanted, &mut plan, wall)?;
        // What nobody has confirmed yet is nothing to go back to.
        let back_to = self.pending.as_ref().map_or(plan.entry.saturating_sub(1), |pending| pending.back_to);
        let pending = wanted.confirm.map(|seconds| Pending {
            back_to,
            at: now + Duration::from_secs(seconds),
            boot: boot(),
        });
        self.set_pending(pending)?;
        let config = (new.config != self.now.config).then(|| new.config.clone());
        self.before = Some(std::mem::replace(&mut self.now, new));
        Ok(Change { plan, config })
    }
    fn write_down(
        &mut self,
        new: &State,
        wanted: &Apply,
        plan: &mut Plan,
        wall: Duration,
    ) -> Result<(), Refused> {
        if let Some(history) = self.history.as_mut() {
            let entry = Entry {
                number: history.last() + 1,
                when: wall.as_secs(),
                who: wanted.who.clone(),
                comment: wanted.comment.clone(),
                changes: plan.changes.clone(),
            };
            plan.entry = entry.number;
            history
                .push(entry, &new.text)
                .map_err(|error| refused(format!("the history cannot be written: {error}")))?;
        }
        let file = &self.file;
        if wanted.to != Target::File
            && let Err(error) = replace_file(file, new.text.as_bytes())
        {
            let mut said = format!("{} cannot be written: {error}", file.display());
            if let Some(Err(error)) = self.history.as_mut().map(History::pop) {
                said += &format!("; and entry {} stays in the history: {error}", plan.entry);
            }
            return Err(refused(said));
        }
        Ok(())
    }
    fn set_pending(&mut self, pending: Option<Pending>) -> Result<(), Refused> {
        if let Some(history) = &self.history {
            history
                .set_pending(pending.as_ref())
                .map_err(|error| refused(format!("the history cannot be written: {error}")))?;
        }
        self.pending = pending;
        Ok(())
    }

    /// The change stays. `false`: none waits.
    pub fn confirm(&mut self) -> Result<bool, Refused> {
        let waits = self.pending.is_some();
        self.set_pending(None)?;
        Ok(waits)
    }
    /// When a change is taken back by itself.
    pub fn deadline(&self) -> Option<Duration> {
        self.pending.as_ref().map(|pending| pending.at)
    }
    /// Takes back what nobody confirmed in time.
    pub fn expire(&mut self, now: Duration, wall: Duration) -> Option<Result<Change, Refused>> {
        let pending = self.pending.clone().filter(|pending| pending.at <= now)?;
        let back = Apply {
            to: Target::Entry(pending.back_to),
            dry_run: false,
            confirm: None,
            who: "commit-confirm".into(),
            comment: format!("not confirmed in time, back to {}", pending.back_to),
        };
        let undone = self.apply(&back, now, wall);
        // It is said once; trying again would fail again.
        self.pending = None;
        Some(undone)
    }
    /// The last change turned out not to be possible: everything is as it was before.
    pub fn undo(&mut self, why: &str, now: Duration, wall: Duration) -> Option<Result<Change, Refused>> {
        let before = self.before.take()?;
        let back = Apply {
            to: Target::Text(before.text.to_string()),
            dry_run: false,
            confirm: None,
            who: "espway".into(),
            comment: format!("taken back: {why}"),
        };
        Some(self.apply(&back, now, wall))
    }
}

impl State {
    fn new(text: Zeroizing<String>) -> Result<Self, Refused> {
        let config = config::check(&text).map_err(|complaints| complained(&complaints))?.config;
        Ok(Self { text, rows: OnceLock::new(), config })
    }
    fn rows(&self) -> Result<&Document, Refused> {
        if let Some(rows) = self.rows.get() {
            return Ok(rows);
        }
        let (rows, _) = Document::from_yaml(&self.text).map_err(|complaints| complained(&complaints))?;
        Ok(self.rows.get_or_init(|| rows))
    }
    fn warnings(&self) -> Vec<String> {
        config::check(&self.text).map(|checked| lines(&checked.warnings)).unwrap_or_default()
    }
}

fn read(file: &Path) -> Result<Zeroizing<String>, Refused> {
    std::fs::read_to_string(file)
        .map(Zeroizing::new)
        .map_err(|error| refused(format!("{}: {error}", file.display())))
}
fn refused(said: impl Into<String>) -> Refused {
    Refused { said: said.into(), complaints: Vec::new() }
}
fn complained(complaints: &Complaints) -> Refused {
    Refused { said: "the configuration is refused".into(), complaints: lines(complaints) }
}
fn lines(complaints: &Complaints) -> Vec<String> {
    complaints.to_string().lines().map(ToOwned::to_owned).collect()
}
/// Which life of the machine this is.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().into()
}
