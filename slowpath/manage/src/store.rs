//! The configuration in force, and changes to it.
use crate::credentials::{Credentials, Files};
use crate::edit;
use crate::history::{History, Marked, replace_file};
use crate::plan::plan;
use config::complaint::Severity;
use config::document::Document;
use config::{Complaints, Config};
use ipc::change::{Apply, Edits, Entry, Plan, Refused, Target, Why};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;
use zeroize::Zeroizing;

/// Changes that are remembered for whoever comes too late, and lines of each.
const RECENT: usize = 32;
const RECENT_LINES: usize = 64;

/// A change that is taken back when its time comes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pending {
    /// What to go back to.
    pub back_to: u64,
    /// On the clock of the machine, which goes on through restarts of the process.
    pub at: Duration,
    /// Of which life of the machine; the clock begins anew with each.
    pub boot: String,
    /// The safe mode it belongs to: then it has no time, but ends with the one who holds it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub safe_mode: Option<String>,
    #[serde(default)]
    pub who: String,
}

/// One configuration, as text, meaning and, once they are asked for, objects: a restart does not wait for these.
#[derive(Clone)]
struct State {
    text: Zeroizing<String>,
    /// Where secrets stand in the text, if that is known already.
    secrets: Option<Vec<Range<usize>>>,
    rows: OnceLock<Arc<Document>>,
    config: Arc<Config>,
    warnings: Vec<String>,
    /// The rows that edits have touched.
    ids: Vec<u32>,
}

/// The configuration as it is read beside the one who changes it.
#[derive(Clone, Debug)]
pub struct Snapshot {
    pub rows: Arc<Document>,
    pub config: Arc<Config>,
    /// Another one with every change; never the same in two lives of the process.
    pub revision: u64,
}
/// The latest of them, once somebody has asked for one, and what it means.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Latest>>);
type Latest = (Option<Arc<Snapshot>>, Arc<Config>);
impl Shared {
    fn new(config: &Arc<Config>) -> Self {
        Self(Arc::new(Mutex::new((None, Arc::clone(config)))))
    }
    pub fn get(&self) -> Option<Arc<Snapshot>> {
        self.lock().0.clone()
    }
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.lock().1)
    }
    fn lock(&self) -> MutexGuard<'_, Latest> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A change that was checked, planned and written down: `config` is to be put in force.
pub struct Change {
    pub plan: Plan,
    /// `None`: nothing that a gateway does is different.
    pub config: Option<Arc<Config>>,
    /// What is in the files that it names, read anew; `None` when it was only planned.
    pub credentials: Option<Arc<Credentials>>,
}

pub struct Store {
    file: PathBuf,
    history: Option<History>,
    now: State,
    before: Option<State>,
    pending: Option<Pending>,
    /// The file as it was when it was last written or looked at.
    seen: Option<Stamp>,
    revision: u64,
    /// What the last changes were, by the revision they led to.
    recent: VecDeque<(u64, Vec<String>)>,
    shared: Shared,
    files: Files,
    credentials: Arc<Credentials>,
}

impl Store {
    /// `file` is what the gateway was started with. Without a folder there is no history, and nothing can be taken back.
    pub fn open(file: &Path, history: Option<&Path>, wall: Duration) -> Result<Self, Refused> {
        let now = read(file).and_then(State::new)?;
        let failed = |error: String| refused(format!("the history cannot be opened: {error}"));
        let history = history
            .map(|dir| History::open(dir).map_err(|e| failed(format!("{}: {e}", dir.display()))))
            .transpose()?;
        let pending = history.as_ref().and_then(History::pending).and_then(|p| match p.safe_mode {
            // Whoever held the safe mode is gone with the process.
            Some(_) => Some(Pending { at: Duration::ZERO, safe_mode: None, ..p }),
            None => (p.boot == boot()).then_some(p),
        });
        let revision = u64::try_from(wall.as_micros()).unwrap_or(u64::MAX / 2);
        let (recent, shared) = (VecDeque::new(), Shared::new(&now.config));
        let mut files = Files::default();
        let credentials = Arc::new(files.load(&now.config, wall));
        let mut store = Self {
            file: file.into(),
            history,
            now,
            before: None,
            pending,
            seen: None,
            revision,
            recent,
            shared,
            files,
            credentials,
        };
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
        self.now.push_to(history, entry).map_err(failed)
    }

    pub fn config(&self) -> &Arc<Config> {
        &self.now.config
    }
    /// As they were when the configuration was last put in force.
    pub fn credentials(&self) -> &Arc<Credentials> {
        &self.credentials
    }
    /// Going back to what was in force before is never refused for the sake of a file.
    fn read_files(
        &mut self,
        new: &State,
        wanted: &Apply,
        plan: &mut Plan,
        wall: Duration,
    ) -> Result<Arc<Credentials>, Refused> {
        let credentials = self.files.load(&new.config, wall);
        if let Some(first) = credentials.errors().next().filter(|_| !matches!(wanted.to, Target::Entry(_))) {
            let mut refused = refused(first.said.clone());
            (refused.path, refused.fix) = (first.path.clone(), first.fix.clone());
            refused.complaints = credentials.errors().map(ToString::to_string).collect();
            return Err(refused);
        }
        plan.warnings.extend(credentials.problems.iter().map(|problem| format!("warning: {problem}")));
        Ok(Arc::new(credentials))
    }
    pub fn revision(&self) -> u64 {
        self.revision
    }
    /// Where others read what is in force; filled by [`Self::show`], and kept up from then on.
    pub fn shared(&self) -> Shared {
        self.shared.clone()
    }
    pub fn show(&mut self) -> Result<(), Refused> {
        let (rows, config) = (Arc::clone(self.now.rows()?), Arc::clone(&self.now.config));
        let snapshot = Snapshot { rows, config, revision: self.revision };
        self.shared.lock().0 = Some(Arc::new(snapshot));
        Ok(())
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
            let said = format!("there is no entry {number}; the history has {first} to {last}");
            return Err(Refused::new(Why::Missing, said));
        }
        history.text(number).map_err(|error| failed(format!("entry {number} cannot be read: {error}")))
    }
    /// The configuration that is wanted, checked.
    fn wanted(&self, to: &Target) -> Result<State, Refused> {
        let text = match to {
            Target::Text(text) => Zeroizing::new(text.clone()),
            Target::File => read(&self.file)?,
            Target::Entry(number) => self.former(*number)?,
            Target::Edits(edits) => return self.edited(edits),
        };
        let new = State::whole(text)?;
        // Rows keep their numbers, unless nobody has asked for them yet.
        if let (Some(before), Some(mut rows)) = (self.now.rows.get(), new.rows.get().cloned()) {
            Arc::make_mut(&mut rows).keep_ids(before);
            return Ok(State { rows: OnceLock::from(rows), ..new });
        }
        Ok(new)
    }
    fn edited(&self, Edits { base, edits }: &Edits) -> Result<State, Refused> {
        if base.is_some_and(|base| base != self.revision) {
            return Err(self.stale(base.unwrap_or_default()));
        }
        let mut rows = Document::clone(self.now.rows()?);
        let ids = edit::make(&mut rows, edits)?;
        let checked = rows.check().map_err(|complaints| complained_about(&complaints, &rows))?;
        let (text, secrets) = rows.to_marked_yaml();
        let (secrets, config) = (Some(secrets), Arc::new(checked.config));
        let warnings = lines(&checked.warnings);
        Ok(State { text, secrets, rows: OnceLock::from(Arc::new(rows)), config, warnings, ids })
    }
    /// What has happened since, as far as it is remembered.
    fn stale(&self, base: u64) -> Refused {
        let known = self.recent.front().is_some_and(|(first, _)| base >= first - 1) && base < self.revision;
        let since = self.recent.iter().filter(|(revision, _)| known && *revision > base);
        Refused {
            complaints: since.flat_map(|(_, changes)| changes.clone()).collect(),
            fix: "read it again and decide anew".into(),
            ..Refused::new(Why::Stale, "the configuration has changed since it was read")
        }
    }

    /// Checks, plans and, unless it is only to be said, writes down. `now` is the machine's clock, `wall` the calendar's.
    pub fn apply(&mut self, wanted: &Apply, now: Duration, wall: Duration) -> Result<Change, Refused> {
        if !wanted.dry_run {
            self.may_be_changed(wanted)?;
        }
        self.make(wanted, now, wall)
    }
    /// One safe mode at a time, and nobody else's changes in between: they could not be told apart when it ends.
    fn may_be_changed(&self, wanted: &Apply) -> Result<(), Refused> {
        if (wanted.confirm.is_some() || wanted.safe_mode.is_some()) && self.history.is_none() {
            let said = "without a history nothing can be taken back; start the gateway with a state folder";
            return Err(Refused::new(Why::Conflict, said));
        }
        let Some(pending) = &self.pending else { return Ok(()) };
        let (said, fix) = match (&pending.safe_mode, &wanted.safe_mode) {
            (Some(holder), asking) if asking.as_ref() != Some(holder) => (
                format!("{} changes the configuration in safe mode", pending.who),
                "wait until it is released",
            ),
            (Some(_), _) if wanted.confirm.is_some() => {
                ("in safe mode nothing waits to be confirmed".to_owned(), "release it first")
            }
            (None, Some(_)) => ("a change waits to be confirmed".to_owned(), "confirm it first"),
            _ => return Ok(()),
        };
        Err(Refused { fix: fix.into(), ..Refused::new(Why::Conflict, said) })
    }
    fn make(&mut self, wanted: &Apply, now: Duration, wall: Duration) -> Result<Change, Refused> {
        let mut new = self.wanted(&wanted.to)?;
        let mut plan = plan((self.now.rows()?, &self.now.config), (new.rows()?, &new.config));
        plan.warnings = std::mem::take(&mut new.warnings);
        plan.ids = std::mem::take(&mut new.ids);
        let restart = &plan.restart;
        if !restart.is_empty() && !wanted.dry_run {
            let mut refused = refused(format!(
                "{} cannot be changed while the gateway runs; start it again with the new file for that, or apply the rest alone",
                restart.join(", ")
            ));
            refused.complaints = plan.changes;
            return Err(refused);
        }
        let rights = |line: &String| line.get(2..).is_some_and(|line| line.starts_with("system api"));
        if wanted.without_rights && plan.changes.iter().any(rights) {
            let said = "who may not see secrets may not change who may do what";
            return Err(Refused { path: "system api".into(), ..Refused::new(Why::Forbidden, said) });
        }
        let credentials = self.read_files(&new, wanted, &mut plan, wall)?;
        let same_text = matches!(wanted.to, Target::Edits(_)) || new.text == self.now.text;
        if wanted.dry_run || same_text && plan.changes.is_empty() {
            let credentials = (!wanted.dry_run).then_some(credentials);
            self.credentials = credentials.clone().unwrap_or_else(|| Arc::clone(&self.credentials));
            return Ok(Change { plan, config: None, credentials });
        }
        self.write_down(&new, wanted, &mut plan, (now, wall))?;
        let config = (new.config != self.now.config).then(|| new.config.clone());
        let older = self.before.replace(std::mem::replace(&mut self.now, new));
        // Wiping ten thousand rows takes longer than the change.
        std::thread::spawn(move || drop(older));
        self.revision += 1;
        self.recent.push_back((self.revision, plan.changes.iter().take(RECENT_LINES).cloned().collect()));
        self.recent.drain(..self.recent.len().saturating_sub(RECENT));
        self.shared.lock().1 = Arc::clone(&self.now.config);
        if self.shared.get().is_some() {
            self.show()?;
        }
        self.credentials = Arc::clone(&credentials);
        Ok(Change { plan, config, credentials: Some(credentials) })
    }
    fn pending_after(&self, wanted: &Apply, back_to: u64, now: Duration) -> Option<Pending> {
        let (boot, who) = (boot(), wanted.who.clone());
        match (&wanted.safe_mode, wanted.confirm) {
            (Some(token), _) => {
                let (at, safe_mode) = (Duration::ZERO, Some(token.clone()));
                Some(Pending { back_to, at, boot, safe_mode, who })
            }
            (None, Some(seconds)) => {
                let at = now + Duration::from_secs(seconds);
                Some(Pending { back_to, at, boot, safe_mode: None, who })
            }
            (None, None) => None,
        }
    }
    /// History, what waits, and last the file: when that is replaced the change is made, and whatever fails before is
    /// taken back.
    fn write_down(
        &mut self,
        new: &State,
        wanted: &Apply,
        plan: &mut Plan,
        (now, wall): (Duration, Duration),
    ) -> Result<(), Refused> {
        let cannot = |error: std::io::Error| failed(format!("the history cannot be written: {error}"));
        // What nobody has confirmed yet is nothing to go back to.
        let last = self.history.as_ref().map_or(0, History::last);
        let back_to = self.pending.as_ref().map_or(last, |pending| pending.back_to);
        if wanted.to != Target::File {
            self.keep_unapplied(wall)?;
        }
        if let Some(history) = self.history.as_mut() {
            let entry = Entry {
                number: history.last() + 1,
                when: wall.as_secs(),
                who: wanted.who.clone(),
                comment: wanted.comment.clone(),
                changes: plan.changes.clone(),
            };
            plan.entry = entry.number;
            new.push_to(history, entry).map_err(cannot)?;
        }
        let (pending, former) = (self.pending_after(wanted, back_to, now), self.pending.clone());
        let (waits, writes) = (pending.is_some(), wanted.to != Target::File);
        let mut done = if waits { self.set_pending(pending) } else { Ok(()) };
        if done.is_ok() && writes {
            done = self.write_file(&new.text);
        }
        // What waited until now waits until the file is there: a power failure in between undoes one or the other.
        if done.is_ok() && !waits {
            done = self.set_pending(None);
            if done.is_err() && writes {
                let former = self.now.text.clone();
                let _ = self.write_file(&former); // that the first failed is said
            }
        } else if done.is_err() && waits {
            let _ = self.set_pending(former); // likewise
        }
        done.map_err(|mut refused| {
            if let Some(Err(error)) = self.history.as_mut().map(History::pop) {
                refused.said += &format!("; and entry {} stays in the history: {error}", plan.entry);
            }
            refused
        })
    }
    fn write_file(&mut self, text: &str) -> Result<(), Refused> {
        let cannot = |error| failed(format!("{} cannot be written: {error}", self.file.display()));
        self.seen = None;
        replace_file(&self.file, text.as_bytes()).map_err(cannot)?;
        self.seen = Stamp::of(&self.file);
        Ok(())
    }
    /// Somebody has written into the file and not applied it: that goes to the history before it is gone.
    fn keep_unapplied(&mut self, wall: Duration) -> Result<(), Refused> {
        let stamp = Stamp::of(&self.file);
        let Some(history) = self.history.as_mut().filter(|_| stamp.is_some() && stamp != self.seen) else {
            return Ok(());
        };
        // What cannot be read cannot be lost either.
        let Ok(found) = std::fs::read_to_string(&self.file).map(Zeroizing::new) else { return Ok(()) };
        if found != self.now.text {
            let comment = format!("found in {} and not applied", self.file.display());
            let (number, when) = (history.last() + 1, wall.as_secs());
            let entry = Entry { number, when, who: "file".into(), comment, changes: Vec::new() };
            let text = Marked { text: &found, secrets: &config::secrets_in(&found) };
            let cannot = |error| failed(format!("the history cannot be written: {error}"));
            history.push(entry, &text).map_err(cannot)?;
        }
        self.seen = stamp;
        Ok(())
    }
    fn set_pending(&mut self, pending: Option<Pending>) -> Result<(), Refused> {
        if let Some(history) = self.history.as_ref().filter(|_| pending.is_some() || self.pending.is_some()) {
            history
                .set_pending(pending.as_ref())
                .map_err(|error| failed(format!("the history cannot be written: {error}")))?;
        }
        self.pending = pending;
        Ok(())
    }

    /// The change stays. `false`: none waits.
    pub fn confirm(&mut self) -> Result<bool, Refused> {
        let waits = self.pending.as_ref().is_some_and(|pending| pending.safe_mode.is_none());
        if waits {
            self.set_pending(None)?;
        }
        Ok(waits)
    }
    /// What was changed in this safe mode stays. `false`: nothing was, or it is over.
    pub fn release(&mut self, token: &str) -> Result<bool, Refused> {
        let held = self.pending.as_ref().is_some_and(|p| p.safe_mode.as_deref() == Some(token));
        if held {
            self.set_pending(None)?;
        }
        Ok(held)
    }
    /// When a change is taken back by itself.
    pub fn deadline(&self) -> Option<Duration> {
        self.pending.as_ref().filter(|pending| pending.safe_mode.is_none()).map(|pending| pending.at)
    }
    /// Takes back what nobody confirmed in time.
    pub fn expire(&mut self, now: Duration, wall: Duration) -> Option<Result<Change, Refused>> {
        self.deadline().filter(|at| *at <= now)?;
        self.take_back("commit-confirm", "not confirmed in time", now, wall)
    }
    /// Whoever held this safe mode is gone: takes back what was changed in it.
    pub fn end_safe_mode(
        &mut self,
        token: &str,
        now: Duration,
        wall: Duration,
    ) -> Option<Result<Change, Refused>> {
        self.pending.as_ref().filter(|p| p.safe_mode.as_deref() == Some(token))?;
        self.take_back("safe-mode", "the safe mode ended without release", now, wall)
    }
    fn take_back(
        &mut self,
        who: &str,
        why: &str,
        now: Duration,
        wall: Duration,
    ) -> Option<Result<Change, Refused>> {
        let back_to = self.pending.as_ref()?.back_to;
        let back = own(Target::Entry(back_to), who, format!("{why}, back to {back_to}"));
        let undone = self.make(&back, now, wall);
        // It is said once; trying again would fail again.
        self.pending = None;
        Some(undone)
    }
    /// The last change turned out not to be possible: everything is as it was before.
    pub fn undo(&mut self, why: &str, now: Duration, wall: Duration) -> Option<Result<Change, Refused>> {
        let before = self.before.take()?;
        let back = own(Target::Text(before.text.to_string()), "espway", format!("taken back: {why}"));
        let held = self.pending.take_if(|pending| pending.safe_mode.is_some());
        let undone = self.make(&back, now, wall);
        // The other changes of a safe mode still wait for its end.
        if held.is_some()
            && let Err(refused) = self.set_pending(held)
        {
            return Some(Err(refused));
        }
        Some(undone)
    }
}
/// A change that nobody has asked for.
fn own(to: Target, who: &str, comment: String) -> Apply {
    let who = who.into();
    Apply { to, dry_run: false, confirm: None, who, comment, without_rights: false, safe_mode: None }
}

impl State {
    /// For the start: its objects are made when somebody asks for them.
    fn new(text: Zeroizing<String>) -> Result<Self, Refused> {
        let checked = config::check(&text).map_err(|complaints| complained(&complaints))?;
        let (config, warnings) = (Arc::new(checked.config), lines(&checked.warnings));
        Ok(Self { text, secrets: None, rows: OnceLock::new(), config, warnings, ids: Vec::new() })
    }
    /// With its objects, read once for both.
    fn whole(text: Zeroizing<String>) -> Result<Self, Refused> {
        let (rows, checked) = Document::read(&text).map_err(|complaints| complained(&complaints))?;
        let (config, warnings) = (Arc::new(checked.config), lines(&checked.warnings));
        Ok(Self {
            text,
            secrets: None,
            rows: OnceLock::from(Arc::new(rows)),
            config,
            warnings,
            ids: Vec::new(),
        })
    }
    fn push_to(&self, history: &mut History, entry: Entry) -> std::io::Result<()> {
        let looked_for = || std::borrow::Cow::Owned(config::secrets_in(&self.text));
        let secrets = self.secrets.as_deref().map_or_else(looked_for, std::borrow::Cow::Borrowed);
        history.push(entry, &Marked { text: &self.text, secrets: &secrets })
    }
    fn rows(&self) -> Result<&Arc<Document>, Refused> {
        if let Some(rows) = self.rows.get() {
            return Ok(rows);
        }
        let (rows, _) = Document::from_yaml(&self.text).map_err(|complaints| complained(&complaints))?;
        Ok(self.rows.get_or_init(|| Arc::new(rows)))
    }
}

/// Another one after whoever wrote.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    written: (i64, i64),
    size: u64,
}
impl Stamp {
    fn of(file: &Path) -> Option<Self> {
        use std::os::unix::fs::MetadataExt;
        let is = std::fs::metadata(file).ok()?;
        Some(Self { inode: is.ino(), written: (is.mtime(), is.mtime_nsec()), size: is.len() })
    }
}

fn read(file: &Path) -> Result<Zeroizing<String>, Refused> {
    std::fs::read_to_string(file)
        .map(Zeroizing::new)
        .map_err(|error| refused(format!("{}: {error}", file.display())))
}
fn refused(said: impl Into<String>) -> Refused {
    Refused::new(Why::Check, said)
}
fn failed(said: impl Into<String>) -> Refused {
    Refused::new(Why::Failed, said)
}
pub(crate) fn complained(complaints: &Complaints) -> Refused {
    Refused { complaints: lines(complaints), ..refused("the configuration is refused") }
}
/// The same for who knows rows by name and number, not lines of a file.
fn complained_about(complaints: &Complaints, rows: &Document) -> Refused {
    let mut out = refused("the configuration would not hold");
    for complaint in &complaints.list {
        let place = rows.at_path(&complaint.path).map(|(place, row, property)| {
            let name = row.name().map_or_else(|| row.id.to_string(), ToOwned::to_owned);
            let name = if place.is_list() { format!(" {name}") } else { String::new() };
            (format!("{}{name}", place.console), property)
        });
        let (path, property) = place.unwrap_or_else(|| (complaint.path.clone(), None));
        let at = property.as_ref().map(|property| format!(" {property}")).unwrap_or_default();
        let fix = complaint.fix.clone().unwrap_or_default();
        let sep = if fix.is_empty() { "" } else { "; " };
        let kind = if complaint.severity == Severity::Warning { "warning: " } else { "" };
        out.complaints.push(format!("{kind}{path}{at}: {}{sep}{fix}", complaint.said));
        if complaint.severity == Severity::Error && out.path.is_empty() {
            (out.said, out.path, out.fix) = (complaint.said.clone(), path, fix);
            out.property = property.map(Into::into);
        }
    }
    if complaints.unlisted() > 0 {
        out.complaints.push(format!("and {} more", complaints.unlisted()));
    }
    out
}
fn lines(complaints: &Complaints) -> Vec<String> {
    complaints.to_string().lines().map(ToOwned::to_owned).collect()
}
/// Which life of the machine this is.
fn boot() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id").unwrap_or_default().trim().into()
}
