//! `espway run`: starts the fast path and the slow path, watches them, starts either again when it dies.
//!
//! It holds no packets and no SA. The one secret it makes is the key of the vault, which the slow path gets as
//! an open file and which outlives each of the slow path's lives, but not this process.
mod backoff;
mod child;
mod reload;
mod vault;

use crate::rundir::{Phase, RunDir, Stamp, State};
use anyhow::{Context, bail};
use child::Child;
pub use child::Program;
use config::Config;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::ffi::OsString;
use std::io::Read;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

/// Run a gateway: both processes, watched, until SIGTERM or Ctrl-C.
///
/// SIGHUP reads the configuration again and puts it in force, or says why not; processes that had been given up are
/// tried again. What needs a restart (ports, addresses, routes, `system`) is said and nothing is changed then.
#[derive(clap::Args)]
pub struct Args {
    /// The configuration file.
    #[arg(long, value_name = "FILE")]
    config: PathBuf,
    /// Folder of the sockets, instead of the configuration's `system.run-dir`.
    #[arg(long, value_name = "DIR")]
    run_dir: Option<PathBuf>,
    /// Folder of former configurations, for `espway rollback`. Left out: /var/lib/espway/ and the gateway's name, or the
    /// folder `state` in --run-dir.
    #[arg(long, value_name = "DIR")]
    state_dir: Option<PathBuf>,
    #[command(flatten)]
    logs: logs::Options,
    /// Write all keys to this file and FILE.esp, in Wireshark's formats. Needs `system.lab: yes`: whoever reads
    /// them reads the traffic.
    #[arg(long, value_name = "FILE")]
    key_log: Option<PathBuf>,
}

/// How long a process may take to end before it is killed.
const GRACE: Duration = Duration::from_secs(4);

pub fn run(args: &Args) -> anyhow::Result<ExitCode> {
    args.logs.start()?;
    let config = crate::check::load(&args.config)?;
    if args.key_log.is_some() && !config.system.lab {
        bail!("--key-log writes down every key; if this is a lab, write `lab: yes` under `system`");
    }
    let file = std::path::absolute(&args.config)?;
    let run_dir =
        RunDir::new(std::path::absolute(args.run_dir.as_deref().unwrap_or(&config.system.run_dir))?);
    let (fast, slow) = (Program::find("espway-fastpath")?, Program::find("espway-slowpath")?);
    if args.key_log.is_some() {
        tracing::warn!("--key-log writes down every key: for labs only");
    }
    let signals = Signals::listen().context("signal handlers")?;
    let _lock = run_dir.take()?;
    child::end_orphans(&run_dir);
    let key = vault::key().context("the key of the vault")?;
    let children = [
        Child::new(fast, arguments_fastpath(&config, &file, &run_dir, args)?, None),
        Child::new(slow, arguments_slowpath(&config, &file, &run_dir, args)?, Some(key)),
    ];
    let mut supervisor = Supervisor { config, file, run_dir, started: Stamp::now(), children, said: None };
    tracing::info!("{} runs in {}", supervisor.config.system.name, supervisor.run_dir.path().display());
    let result = supervisor.watch(&signals);
    supervisor.stop();
    result.map(|()| ExitCode::SUCCESS)
}

fn arguments_fastpath(
    config: &Config,
    file: &Path,
    run_dir: &RunDir,
    args: &Args,
) -> anyhow::Result<Vec<OsString>> {
    let arguments: Vec<OsString> = vec![
        "--config".into(),
        file.into(),
        "--socket".into(),
        run_dir.fastpath_socket().into(),
        "--file-prefix".into(),
        file_prefix(&config.system.name, run_dir).into(),
    ];
    Ok([arguments, args.logs.arguments()?].concat())
}
/// DPDK's name for the process. Folders of two gateways differ even where their names do not.
fn file_prefix(name: &str, run_dir: &RunDir) -> String {
    let hash = |hash: u32, byte: &u8| (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193); // FNV-1a
    let folder = run_dir.path().as_os_str().as_encoded_bytes().iter().fold(0x811c_9dc5, hash);
    format!("espway-{name}-{folder:08x}")
}
/// Where former configurations are kept. Whoever says where the sockets are wants nothing elsewhere.
fn state_dir(config: &Config, run_dir: &RunDir, args: &Args) -> anyhow::Result<PathBuf> {
    Ok(match &args.state_dir {
        Some(dir) => std::path::absolute(dir)?,
        None if args.run_dir.is_some() => run_dir.path().join("state"),
        None => Path::new("/var/lib/espway").join(&config.system.name),
    })
}
fn arguments_slowpath(
    config: &Config,
    file: &Path,
    run_dir: &RunDir,
    args: &Args,
) -> anyhow::Result<Vec<OsString>> {
    let mut arguments: Vec<OsString> = vec![
        "--config".into(),
        file.into(),
        "--fastpath-socket".into(),
        run_dir.fastpath_socket().into(),
        "--control-socket".into(),
        run_dir.control_socket().into(),
        "--history".into(),
        state_dir(config, run_dir, args)?.join("history").into(),
    ];
    arguments.extend(args.logs.arguments()?);
    if let Some(path) = &args.key_log {
        arguments.extend(["--key-log".into(), std::path::absolute(path)?.into()]);
    }
    Ok(arguments)
}

struct Signals {
    stop: Arc<AtomicBool>,
    reload: Arc<AtomicBool>,
    /// Readable after a signal, SIGCHLD among them.
    wake: UnixStream,
}
impl Signals {
    fn listen() -> std::io::Result<Self> {
        use signal_hook::consts::{SIGCHLD, SIGHUP, SIGINT, SIGTERM};
        let (stop, reload) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicBool::new(false)));
        for signal in [SIGTERM, SIGINT] {
            signal_hook::flag::register(signal, stop.clone())?;
        }
        signal_hook::flag::register(SIGHUP, reload.clone())?;
        let (wake, write) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        for signal in [SIGTERM, SIGINT, SIGHUP, SIGCHLD] {
            signal_hook::low_level::pipe::register(signal, write.try_clone()?)?;
        }
        Ok(Self { stop, reload, wake })
    }
    /// Until a signal comes or the time is over.
    fn wait(&self, timeout: Option<Duration>) {
        let timeout = timeout.and_then(|t| Timespec::try_from(t).ok());
        let mut fds = [PollFd::new(&self.wake, PollFlags::IN)];
        // An interrupted wait is as good as a woken one: the caller looks at everything anyway.
        let _ = poll(&mut fds, timeout.as_ref());
        let mut bytes = [0; 64];
        while (&self.wake).read(&mut bytes).is_ok_and(|n| n > 0) {}
    }
}

struct Supervisor {
    config: Config,
    file: PathBuf,
    run_dir: RunDir,
    started: Stamp,
    /// The fast path first: it is started first and stopped last.
    children: [Child; 2],
    said: Option<State>,
}

impl Supervisor {
    fn watch(&mut self, signals: &Signals) -> anyhow::Result<()> {
        while !signals.stop.load(Ordering::Relaxed) {
            if signals.reload.swap(false, Ordering::Relaxed) {
                reload::ask(&self.run_dir);
                self.children.iter_mut().for_each(Child::try_again);
            }
            let now = Instant::now();
            let due = self.children.iter_mut().filter_map(|child| child.tend(now)).min();
            self.publish()?;
            signals.wait(due.map(|at| at.saturating_duration_since(now)));
        }
        Ok(())
    }

    /// The slow path first: it takes leave of its peers through the fast path, so that they do not wait for us.
    fn stop(&mut self) {
        tracing::info!("stopping");
        let told = crate::status::shut_down(&self.run_dir.control_socket()).is_ok();
        let [fast, slow] = &mut self.children;
        slow.stop(told, GRACE);
        fast.stop(false, GRACE);
        if let Err(error) = self.publish() {
            tracing::warn!("{error:#}");
        }
    }

    /// Writes the state down when it has changed.
    fn publish(&mut self) -> anyhow::Result<()> {
        let state = State {
            name: self.config.system.name.clone(),
            config: self.file.clone(),
            pid: std::process::id(),
            started: self.started,
            processes: self.children.iter().map(Child::state).collect(),
        };
        if self.said.as_ref() != Some(&state) {
            if state.processes.iter().all(|p| p.state == Phase::Running) {
                tracing::info!(
                    "both processes run; `espway status --run-dir {}`",
                    self.run_dir.path().display()
                );
            }
            self.run_dir.write(&state)?;
            self.said = Some(state);
        }
        Ok(())
    }
}
