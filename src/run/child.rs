//! One of the two processes: found, started, tended, ended.
use super::backoff::{Backoff, GIVE_UP, Verdict};
use crate::rundir::{Phase, ProcessState, RunDir, Stamp};
use anyhow::Context;
use rustix::io::{FdFlags, fcntl_setfd};
use rustix::process::{Pid, Signal, kill_process};
use std::ffi::OsString;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub struct Program {
    name: &'static str,
    path: PathBuf,
}
impl Program {
    /// Beside this program, where packages put helpers, or in PATH.
    pub fn find(name: &'static str) -> anyhow::Result<Self> {
        let own = std::env::current_exe().context("where this program is")?;
        let beside = own.parent().map(|dir| dir.join(name));
        let libexec =
            own.parent().and_then(|dir| dir.parent()).map(|dir| dir.join("libexec/espway").join(name));
        let path = std::env::var_os("PATH").unwrap_or_default();
        let in_path = std::env::split_paths(&path).map(|dir| dir.join(name));
        let found = beside.into_iter().chain(libexec).chain(in_path).find(|path| path.is_file());
        let path =
            found.with_context(|| format!("{name} is neither beside {} nor in PATH", own.display()))?;
        Ok(Self { name, path })
    }
    pub fn path(&self) -> &std::path::Path {
        &self.path
    }
}

enum Life {
    Running(std::process::Child),
    Waiting { until: Instant },
    Error,
    Stopped,
}

pub struct Child {
    program: Program,
    arguments: Vec<OsString>,
    /// Handed over as an open file.
    key: Option<OwnedFd>,
    life: Life,
    since: Stamp,
    starts: u32,
    last_end: Option<String>,
    backoff: Backoff,
}

impl Child {
    pub fn new(program: Program, arguments: Vec<OsString>, key: Option<OwnedFd>) -> Self {
        let life = Life::Waiting { until: Instant::now() };
        let (backoff, since) = (Backoff::default(), Stamp::now());
        Self { program, arguments, key, life, since, starts: 0, last_end: None, backoff }
    }

    pub fn state(&self) -> ProcessState {
        let (state, pid) = match &self.life {
            Life::Running(child) => (Phase::Running, Some(child.id())),
            Life::Waiting { .. } => (Phase::Waiting, None),
            Life::Error => (Phase::Error, None),
            Life::Stopped => (Phase::Stopped, None),
        };
        ProcessState {
            name: self.program.name.into(),
            state,
            pid,
            since: self.since,
            restarts: self.starts.saturating_sub(1),
            last_end: self.last_end.clone(),
        }
    }

    /// Notices an end, starts when it is time. Tells when it wants to be looked after again.
    pub fn tend(&mut self, now: Instant) -> Option<Instant> {
        if let Life::Running(child) = &mut self.life {
            match child.try_wait() {
                Ok(None) => return None,
                Ok(Some(status)) => self.ended(now, &describe(status)),
                Err(error) => self.ended(now, &format!("is lost: {error}")),
            }
        }
        match self.life {
            Life::Waiting { until } if until > now => Some(until),
            Life::Waiting { .. } => self.start(now),
            _ => None,
        }
    }

    fn start(&mut self, now: Instant) -> Option<Instant> {
        match self.spawn() {
            Ok(child) => {
                tracing::info!("{} started, pid {}", self.program.name, child.id());
                self.starts += 1;
                self.enter(Life::Running(child));
                None
            }
            Err(error) => {
                self.ended(now, &format!("cannot be started: {error:#}"));
                match self.life {
                    Life::Waiting { until } => Some(until),
                    _ => None,
                }
            }
        }
    }

    fn spawn(&self) -> anyhow::Result<std::process::Child> {
        let mut command = Command::new(&self.program.path);
        // A group of its own: Ctrl-C in a terminal comes to us, and we end both in order.
        command.args(&self.arguments).stdin(Stdio::null()).process_group(0);
        let Some(key) = &self.key else { return Ok(command.spawn()?) };
        command.arg("--vault-key-fd").arg(key.as_raw_fd().to_string());
        rustix::fs::seek(key, rustix::fs::SeekFrom::Start(0))?;
        // Inheritable for this one start. There is one thread, so no other start can come between.
        fcntl_setfd(key, FdFlags::empty())?;
        let child = command.spawn();
        fcntl_setfd(key, FdFlags::CLOEXEC)?;
        Ok(child?)
    }

    fn ended(&mut self, now: Instant, how: &str) {
        let name = self.program.name;
        self.last_end = Some(how.to_owned());
        match self.backoff.ended(now) {
            Verdict::After(wait) => {
                tracing::error!("{name} {how}; it is started again in {} s", wait.as_secs());
                self.enter(Life::Waiting { until: now + wait });
            }
            Verdict::GiveUp => {
                tracing::error!(
                    "{name} {how}, {GIVE_UP} times within a minute: given up. Mend it and send SIGHUP to pid {}",
                    std::process::id()
                );
                self.enter(Life::Error);
            }
        }
    }

    /// Someone has asked for another attempt.
    pub fn try_again(&mut self) {
        if matches!(self.life, Life::Error | Life::Waiting { .. }) {
            self.backoff.forget();
            self.enter(Life::Waiting { until: Instant::now() });
        }
    }

    /// Ends by what it was told, else by SIGTERM, else by SIGKILL.
    pub fn stop(&mut self, told: bool, grace: Duration) {
        if let Life::Running(child) = &mut self.life {
            let mut end = if told { wait(child, grace) } else { None };
            if end.is_none() {
                let _ = kill_process(Pid::from_child(child), Signal::TERM); // it may just have ended
                end = wait(child, grace);
            }
            if end.is_none() {
                tracing::warn!("{} does not end and is killed", self.program.name);
                let _ = child.kill();
                end = child.wait().ok();
            }
            self.last_end = end.map(describe);
        }
        self.enter(Life::Stopped);
    }

    fn enter(&mut self, life: Life) {
        self.life = life;
        self.since = Stamp::now();
    }
}

fn wait(child: &mut std::process::Child, grace: Duration) -> Option<ExitStatus> {
    let deadline = Instant::now() + grace;
    loop {
        match child.try_wait() {
            Ok(None) if Instant::now() < deadline => std::thread::sleep(Duration::from_millis(10)),
            end => return end.ok().flatten(),
        }
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(0), _) => "ended by itself".into(),
        (Some(code), _) => format!("ended with exit code {code}"),
        (None, Some(signal)) => format!("was ended by signal {signal}"),
        (None, None) => "ended".into(),
    }
}

/// Processes of a supervisor that was killed hold the ports and the sockets; they are ended before new ones start.
pub fn end_orphans(run_dir: &RunDir) {
    let Some(state) = run_dir.read() else { return };
    for process in &state.processes {
        let Some(pid) = process.pid.filter(|pid| is_ours(*pid, process)) else { continue };
        let Some(handle) = i32::try_from(pid).ok().and_then(Pid::from_raw) else { continue };
        tracing::warn!("{} (pid {pid}) was left behind by an earlier supervisor and is ended", process.name);
        let _ = kill_process(handle, Signal::TERM);
        let deadline = Instant::now() + super::GRACE;
        while is_ours(pid, process) {
            if Instant::now() > deadline {
                let _ = kill_process(handle, Signal::KILL);
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
}

/// The pid still names the process that was noted, and not a later one.
fn is_ours(pid: u32, noted: &ProcessState) -> bool {
    let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
    let program = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Ok(stat) = std::fs::read_to_string(format!("/proc/{pid}/stat")) else { return false };
    // The name may hold spaces and brackets, so count from the last bracket: field 22 is the start, 3 the state.
    let fields: Vec<&str> = stat.rsplit_once(')').map_or("", |(_, rest)| rest).split_whitespace().collect();
    let ticks = fields.get(19).and_then(|field| field.parse::<u64>().ok());
    let started = ticks.map(|ticks| ticks / rustix::param::clock_ticks_per_second().max(1));
    let alive = fields.first().is_some_and(|state| *state != "Z");
    alive
        && program.trim_end_matches(" (deleted)") == noted.name
        && started.is_some_and(|s| s.abs_diff(noted.since.0) <= 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pid_that_was_given_to_another_process_is_not_ours() {
        let own = std::process::id();
        let name = std::env::current_exe().unwrap().file_name().unwrap().to_string_lossy().into_owned();
        let ticks = |field: &str| field.parse::<u64>().unwrap() / rustix::param::clock_ticks_per_second();
        let stat = std::fs::read_to_string("/proc/self/stat").unwrap();
        let since = Stamp(ticks(stat.rsplit_once(')').unwrap().1.split_whitespace().nth(19).unwrap()));
        let noted =
            ProcessState { name, state: Phase::Running, pid: Some(own), since, restarts: 0, last_end: None };
        assert!(is_ours(own, &noted));
        assert!(!is_ours(own, &ProcessState { name: "espway-fastpath".into(), ..noted.clone() }));
        assert!(!is_ours(own, &ProcessState { since: Stamp(since.0 + 60), ..noted.clone() }));
        assert!(!is_ours(u32::MAX, &noted));
    }
}
