//! Former configurations in a folder of their own: the text of each, and a line about each.
//!
//! Secrets are kept apart: in the text of an entry `***` stands for each, and a file in `secrets/` says what stood there.
//! Folders and files are their owner's alone.
use ipc::change::Entry;
use ipc::status::Text;
use rustix::fs::{Mode, OFlags};
use std::fs::{self, File};
use std::io::{self, Write};
use std::ops::Range;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Older ones are forgotten.
const KEPT: usize = 100;
const INDEX: &str = "history.jsonl";
const PENDING: &str = "unconfirmed.json";
const SECRETS: &str = "secrets";
/// What stands for a secret; between quotes, so that the text is YAML still.
const HIDDEN: &str = "\"***\"";

/// A configuration file, and where secrets stand in it.
pub struct Marked<'t> {
    pub text: &'t str,
    pub secrets: &'t [Range<usize>],
}
/// Where in the text without secrets something else stood, and what.
type Taken = Vec<(usize, Text)>;

pub struct History {
    dir: PathBuf,
    pub entries: Vec<Entry>,
    /// Lines in the index that are whole; with those of forgotten entries. `None`: it is to be written anew.
    lines: Option<usize>,
}

impl History {
    pub fn open(dir: &Path) -> io::Result<Self> {
        for dir in [dir, &dir.join(SECRETS)] {
            fs::create_dir_all(dir)?;
            rustix::fs::chmod(dir, Mode::RWXU)?;
        }
        let index = match fs::read(dir.join(INDEX)) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        // A line that was cut off by a power failure is no entry.
        let mut entries: Vec<Entry> =
            index.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        let whole = entries.len() == index.lines().count() && (index.is_empty() || index.ends_with('\n'));
        let lines = whole.then_some(entries.len());
        entries.retain(|entry| text_file(dir, entry.number).exists());
        entries.sort_by_key(|entry| entry.number);
        entries.dedup_by_key(|entry| entry.number);
        Ok(Self { dir: dir.into(), entries, lines })
    }
    pub fn last(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.number)
    }
    /// With its secrets.
    pub fn text(&self, number: u64) -> io::Result<Zeroizing<String>> {
        let text = Zeroizing::new(fs::read_to_string(text_file(&self.dir, number))?);
        let taken = match fs::read(secrets_file(&self.dir, number)) {
            Ok(bytes) => serde_json::from_slice(&Zeroizing::new(bytes))?,
            // It has none, or was written before they were kept apart.
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(text),
            Err(error) => return Err(error),
        };
        put_back(&text, taken).ok_or_else(|| io::Error::other("its secrets do not fit its text"))
    }
    /// The text first: an entry without one would be a promise nobody can keep. Nothing stays of one that failed.
    pub fn push(&mut self, entry: Entry, text: &Marked) -> io::Result<()> {
        let number = entry.number;
        self.entries.push(entry);
        let written = self.write_text(number, text).and_then(|()| self.write_last());
        if written.is_err() {
            self.entries.pop();
            self.lines = None;
            let _ = self.write_index(); // a cut-off line is no entry
            let _ = self.forget(number);
            return written;
        }
        let surplus = self.entries.len().saturating_sub(KEPT);
        let forgotten: Vec<u64> = self.entries.drain(..surplus).map(|entry| entry.number).collect();
        // That an old one is still there is no reason to refuse a change.
        let _ = forgotten.into_iter().try_for_each(|number| self.forget(number));
        Ok(())
    }
    fn write_text(&self, number: u64, text: &Marked) -> io::Result<()> {
        let (text, taken) = take_out(text);
        if !taken.is_empty() {
            let taken = Zeroizing::new(serde_json::to_vec(&taken)?);
            write_private(&secrets_file(&self.dir, number), &taken)?;
        }
        write_private(&text_file(&self.dir, number), text.as_bytes())
    }
    fn forget(&self, number: u64) -> io::Result<()> {
        remove(&text_file(&self.dir, number))?;
        remove(&secrets_file(&self.dir, number))
    }
    /// Takes back the last entry, of a change that was not made.
    pub fn pop(&mut self) -> io::Result<()> {
        let Some(entry) = self.entries.pop() else { return Ok(()) };
        self.write_index()?;
        self.forget(entry.number)
    }
    /// A line more, and now and then the whole index without those that are forgotten.
    fn write_last(&mut self) -> io::Result<()> {
        match (self.lines, self.entries.last()) {
            (Some(lines), Some(entry)) if (1..2 * KEPT).contains(&lines) => {
                let mut line = serde_json::to_vec(entry)?;
                line.push(b'\n');
                let flags = OFlags::WRONLY | OFlags::APPEND | OFlags::CLOEXEC | OFlags::NOFOLLOW;
                let mut file = File::from(rustix::fs::open(self.dir.join(INDEX), flags, Mode::empty())?);
                file.write_all(&line)?;
                file.sync_data()?;
                self.lines = Some(lines + 1);
                Ok(())
            }
            _ => self.write_index(),
        }
    }
    fn write_index(&mut self) -> io::Result<()> {
        let mut lines = Vec::new();
        for entry in &self.entries {
            serde_json::to_writer(&mut lines, entry)?;
            lines.push(b'\n');
        }
        self.lines = None;
        write_private(&self.dir.join(INDEX), &lines)?;
        self.lines = Some(self.entries.len());
        Ok(())
    }

    /// A change that waits to be confirmed survives a restart of the process.
    pub fn pending(&self) -> Option<super::store::Pending> {
        serde_json::from_slice(&fs::read(self.dir.join(PENDING)).ok()?).ok()
    }
    pub fn set_pending(&self, pending: Option<&super::store::Pending>) -> io::Result<()> {
        match pending {
            Some(pending) => write_private(&self.dir.join(PENDING), &serde_json::to_vec(pending)?),
            None => remove(&self.dir.join(PENDING)),
        }
    }
}

fn text_file(dir: &Path, number: u64) -> PathBuf {
    dir.join(format!("{number:06}.yaml"))
}
fn secrets_file(dir: &Path, number: u64) -> PathBuf {
    dir.join(SECRETS).join(format!("{number:06}.json"))
}
fn take_out(Marked { text, secrets }: &Marked) -> (String, Taken) {
    let (mut out, mut taken) = (String::with_capacity(text.len()), Taken::new());
    let mut at = 0;
    for secret in *secrets {
        let (Some(before), Some(secret_text)) = (text.get(at..secret.start), text.get(secret.clone())) else {
            continue;
        };
        out.push_str(before);
        taken.push((out.len(), Text(secret_text.to_owned())));
        out.push_str(HIDDEN);
        at = secret.end;
    }
    out.push_str(text.get(at..).unwrap_or_default());
    (out, taken)
}
fn put_back(text: &str, taken: Taken) -> Option<Zeroizing<String>> {
    let more: usize = taken.iter().map(|(_, secret)| secret.0.len()).sum();
    let mut out = Zeroizing::new(String::with_capacity(text.len() + more));
    let mut at = 0;
    for (start, secret) in taken {
        out.push_str(text.get(at..start)?);
        out.push_str(&secret.0);
        at = start + HIDDEN.len();
        text.get(start..at).filter(|hidden| *hidden == HIDDEN)?;
    }
    out.push_str(text.get(at..)?);
    Some(out)
}
fn remove(path: &Path) -> io::Result<()> {
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
        _ => Ok(()),
    }
}

/// Either the old content or the whole new one, also after a power failure; readable for the owner alone.
fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, Mode::RUSR | Mode::WUSR)
}
/// The same with the mode of the file that is there.
pub fn replace_file(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A link goes on pointing at what is changed.
    let path = fs::canonicalize(path)?;
    let mode = Mode::from_raw_mode(rustix::fs::stat(&path)?.st_mode & 0o777);
    replace(&path, bytes, mode)
}
fn replace(path: &Path, bytes: &[u8], mode: Mode) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(".new");
    let new = path.with_file_name(name);
    let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::TRUNC | OFlags::CLOEXEC | OFlags::NOFOLLOW;
    let mut file = File::from(rustix::fs::open(&new, flags, Mode::RUSR | Mode::WUSR)?);
    let written = (|| {
        rustix::fs::fchmod(&file, mode)?;
        file.write_all(bytes)?;
        file.sync_all()?;
        fs::rename(&new, path)?;
        path.parent().map_or(Ok(()), |dir| File::open(dir)?.sync_all())
    })();
    if written.is_err() {
        let _ = fs::remove_file(&new); // nothing else can be done about it
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        /// Whatever is taken out comes back, and nothing of it stays.
        #[test]
        fn secrets_come_back(parts in proptest::collection::vec(("[a-z*\" #\n]{0,9}", "[A-Z]{1,9}"), 0..9)) {
            let (mut text, mut secrets) = (String::new(), Vec::new());
            for (between, secret) in parts {
                text += &between;
                secrets.push(text.len()..text.len() + secret.len());
                text += &secret;
            }
            let (hidden, taken) = take_out(&Marked { text: &text, secrets: &secrets });
            prop_assert!(!hidden.contains(char::is_uppercase));
            let json = serde_json::to_vec(&taken).expect("JSON");
            let back = put_back(&hidden, serde_json::from_slice(&json).expect("JSON")).expect("it fits");
            prop_assert_eq!(&*back, &text);
            prop_assert!(taken.is_empty() || put_back(&text, taken).is_none());
        }
    }
}
