//! Former configurations in a folder of their own: the text of each, and a line about each.
//!
//! The texts hold secrets: folder and files are their owner's alone, and nothing of them is printed but on demand.
use ipc::change::Entry;
use rustix::fs::{Mode, OFlags};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

/// Older ones are forgotten.
const KEPT: usize = 100;
const INDEX: &str = "history.jsonl";
const PENDING: &str = "unconfirmed.json";

pub struct History {
    dir: PathBuf,
    pub entries: Vec<Entry>,
}

impl History {
    pub fn open(dir: &Path) -> io::Result<Self> {
        fs::create_dir_all(dir)?;
        rustix::fs::chmod(dir, Mode::RWXU)?;
        let index = match fs::read(dir.join(INDEX)) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) if error.kind() == io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(error),
        };
        // A line that was cut off by a power failure is no entry.
        let mut entries: Vec<Entry> =
            index.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
        entries.retain(|entry| text_file(dir, entry.number).exists());
        Ok(Self { dir: dir.into(), entries })
    }
    pub fn last(&self) -> u64 {
        self.entries.last().map_or(0, |entry| entry.number)
    }
    pub fn text(&self, number: u64) -> io::Result<Zeroizing<String>> {
        fs::read_to_string(text_file(&self.dir, number)).map(Zeroizing::new)
    }
    /// The text first: an entry without one would be a promise nobody can keep.
    pub fn push(&mut self, entry: Entry, text: &str) -> io::Result<()> {
        write_private(&text_file(&self.dir, entry.number), text.as_bytes())?;
        self.entries.push(entry);
        let surplus = self.entries.len().saturating_sub(KEPT);
        let forgotten: Vec<u64> = self.entries.drain(..surplus).map(|entry| entry.number).collect();
        self.write_index()?;
        for number in forgotten {
            remove(&text_file(&self.dir, number))?;
        }
        Ok(())
    }
    /// Takes back the last entry, of a change that was not made.
    pub fn pop(&mut self) -> io::Result<()> {
        let Some(entry) = self.entries.pop() else { return Ok(()) };
        self.write_index()?;
        remove(&text_file(&self.dir, entry.number))
    }
    fn write_index(&self) -> io::Result<()> {
        let mut lines = Vec::new();
        for entry in &self.entries {
            serde_json::to_writer(&mut lines, entry)?;
            lines.push(b'\n');
        }
        write_private(&self.dir.join(INDEX), &lines)
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
