//! The folder of a running gateway: its sockets, its lock, and what the supervisor says of itself.
use anyhow::{Context, bail};
use rustix::fs::{FlockOperation, flock};
use serde::{Deserialize, Serialize};
use std::fs::File;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

pub const BASE: &str = "/run/espway";

#[derive(Clone, Debug)]
pub struct RunDir(PathBuf);

impl RunDir {
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self(path.into())
    }
    pub fn path(&self) -> &Path {
        &self.0
    }
    pub fn fastpath_socket(&self) -> PathBuf {
        self.0.join("fastpath.sock")
    }
    pub fn control_socket(&self) -> PathBuf {
        self.0.join("control.sock")
    }
    pub fn api_socket(&self) -> PathBuf {
        self.0.join("api.sock")
    }
    fn state_file(&self) -> PathBuf {
        self.0.join("supervisor.json")
    }

    /// The folder exists, is ours alone, and nobody else runs in it.
    pub fn take(&self) -> anyhow::Result<Lock> {
        let path = self.0.display();
        std::fs::DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(&self.0)
            .with_context(|| format!("{path}"))?;
        let meta = std::fs::symlink_metadata(&self.0).with_context(|| format!("{path}"))?;
        let us = rustix::process::geteuid().as_raw();
        if !meta.is_dir() || meta.uid() != us {
            bail!("{path} is not a folder of this user (uid {us}); choose another with --run-dir");
        }
        std::fs::set_permissions(&self.0, std::fs::Permissions::from_mode(0o700))?;
        let lock = self.lock_file()?;
        if flock(&lock, FlockOperation::NonBlockingLockExclusive).is_err() {
            bail!("another espway runs in {path}; stop it, or choose another folder with --run-dir");
        }
        Ok(Lock { _file: lock })
    }
    fn lock_file(&self) -> anyhow::Result<File> {
        let path = self.0.join("lock");
        let options = &mut File::options();
        options
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| path.display().to_string())
    }
    /// Whether a supervisor holds the folder.
    pub fn taken(&self) -> bool {
        let lock = File::options().write(true).open(self.0.join("lock"));
        lock.is_ok_and(|file| flock(&file, FlockOperation::NonBlockingLockShared).is_err())
    }

    pub fn write(&self, state: &State) -> anyhow::Result<()> {
        let new = self.0.join("supervisor.json.new");
        std::fs::write(&new, serde_json::to_vec(state)?).with_context(|| new.display().to_string())?;
        std::fs::rename(&new, self.state_file()).with_context(|| new.display().to_string())
    }
    pub fn read(&self) -> Option<State> {
        serde_json::from_slice(&std::fs::read(self.state_file()).ok()?).ok()
    }

    /// The folder a command means: named, of a configuration, or the only one there is.
    pub fn find(run_dir: Option<&Path>, config: Option<&Path>) -> anyhow::Result<Self> {
        if let Some(path) = run_dir {
            return Ok(Self::new(path));
        }
        if let Some(config) = config {
            return Ok(Self::new(crate::check::load(config)?.system.run_dir));
        }
        let entries = std::fs::read_dir(BASE).into_iter().flatten().flatten();
        let mut found: Vec<PathBuf> = entries.map(|e| e.path()).filter(|p| p.join("lock").exists()).collect();
        found.sort();
        let running: Vec<&PathBuf> = found.iter().filter(|path| Self::new(*path).taken()).collect();
        match (running.as_slice(), found.as_slice()) {
            ([one], _) => Ok(Self::new(*one)),
            ([], [one]) => Ok(Self::new(one)),
            ([], _) => bail!("no gateway runs here; say which with --run-dir or --config"),
            (several, _) => {
                let list: Vec<_> = several.iter().map(|path| path.display().to_string()).collect();
                bail!("several gateways run here; choose one with --run-dir: {}", list.join(", "))
            }
        }
    }
}

/// Held as long as the supervisor lives.
pub struct Lock {
    _file: File,
}

/// What the supervisor says of itself and its two processes.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct State {
    pub name: String,
    pub config: PathBuf,
    pub pid: u32,
    pub started: Stamp,
    pub processes: Vec<ProcessState>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct ProcessState {
    pub name: String,
    pub state: Phase,
    /// Present while it runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pid: Option<u32>,
    /// When it entered its state.
    pub since: Stamp,
    pub restarts: u32,
    /// How its last life ended.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_end: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    Running,
    /// Will be started again in a moment.
    Waiting,
    /// Ended so often that it is not started again before someone says so (SIGHUP).
    Error,
    Stopped,
}
impl Phase {
    pub fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Waiting => "waiting",
            Self::Error => "error",
            Self::Stopped => "stopped",
        }
    }
}

/// Seconds since the machine was started, which the kernel also counts process starts by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Stamp(pub u64);
impl Stamp {
    pub fn now() -> Self {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
        Self(u64::try_from(now.tv_sec).unwrap_or(0))
    }
    pub fn age(self) -> u64 {
        Self::now().0.saturating_sub(self.0)
    }
}
