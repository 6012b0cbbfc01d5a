//! Programs started by the lab: run to the end, or kept running with a log and ended by process id.
use crate::sys::{self, Signal};
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

pub fn run(program: &str, arguments: &[&str]) -> Result<String> {
    output(Command::new(program).args(arguments))
}

/// What the command printed; an exit status other than 0 is an error with everything it said.
pub fn output(command: &mut Command) -> Result<String> {
    let shown = words(command);
    let out = command.stdin(Stdio::null()).output().with_context(|| format!("cannot start {shown}"))?;
    let text = String::from_utf8_lossy(&out.stdout).into_owned();
    if !out.status.success() {
        bail!("{shown}: {}\n{text}{}", out.status, String::from_utf8_lossy(&out.stderr));
    }
    Ok(text)
}

fn words(command: &Command) -> String {
    let program = std::iter::once(command.get_program());
    program.chain(command.get_args()).map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// A running program. Dropping it ends it: SIGTERM, a grace period, SIGKILL.
#[derive(Debug)]
pub struct Process {
    name: String,
    child: Child,
    log: PathBuf,
    /// How long it may take to leave after SIGTERM.
    pub grace: Duration,
}

impl Process {
    /// Standard output and error go to `log`. It gets a process group of its own, so that Ctrl-C on a terminal
    /// reaches the lab alone and the lab ends things in order.
    pub fn start(name: &str, command: &mut Command, log: &Path) -> Result<Self> {
        let file = File::options()
            .create(true)
            .append(true)
            .open(log)
            .with_context(|| format!("log {}", log.display()))?;
        let child = command
            .stdin(Stdio::null())
            .stdout(file.try_clone()?)
            .stderr(file)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {name}: {}", words(command)))?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned(), grace: Duration::from_secs(3) })
    }
    pub fn pid(&self) -> u32 {
        self.child.id()
    }
    pub fn log(&self) -> String {
        // Not every log is text to the last byte.
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }
    /// An error with the end of the log when the process is gone.
    pub fn check(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("{} ended ({status}):\n{}", self.name, tail(&self.log(), 40)),
        }
    }
    pub fn signal(&self, signal: Signal) -> Result<()> {
        sys::signal(self.pid(), signal)
    }
    /// Waits for its end by itself.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        let end = Instant::now() + limit;
        loop {
            if let Some(status) = self.child.try_wait()? {
                return Ok(status);
            }
            if Instant::now() >= end {
                bail!("{} still runs after {limit:?}:\n{}", self.name, tail(&self.log(), 40));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
    }
    /// SIGKILL, and waits until the system has taken the process away.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
    pub fn stop(&mut self) -> Result<()> {
        if self.is_running() {
            self.signal(Signal::Terminate)?;
            if self.wait(self.grace).is_err() {
                self.kill()?;
            }
        }
        Ok(())
    }
}
impl Drop for Process {
    fn drop(&mut self) {
        // Nothing can be done about a process that cannot be ended; the janitor tries again.
        let _ = self.stop();
    }
}

/// The last `lines` lines.
pub fn tail(text: &str, lines: usize) -> String {
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
