//! The gateway's programs as children of this one, and what they take.
use anyhow::{Context, Result, ensure};
use ipc::status::{Request, Response, Status};
use std::fs::File;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// The same for a slow path and its successor: it opens the vault.
const VAULT_KEY: [u8; 32] = [7; 32];
/// With a hundred thousand tunnels a beginning takes seconds; a busy machine makes them many.
const PATIENCE: Duration = Duration::from_secs(120);

/// Programs, and a folder like `espway run`'s.
pub struct Place {
    pub programs: PathBuf,
    pub dir: PathBuf,
}
impl Place {
    pub fn config(&self) -> PathBuf {
        self.dir.join("espway.yaml")
    }
    pub fn socket(&self) -> PathBuf {
        self.dir.join("fastpath.sock")
    }
    fn control(&self) -> PathBuf {
        self.dir.join("control.sock")
    }
    pub fn program(&self, name: &str) -> Result<Command> {
        let path = self.programs.join(name);
        ensure!(
            path.is_file(),
            "{} is missing: cargo build --release -p espway -p espway-fastpath -p espway-slowpath",
            path.display()
        );
        Ok(Command::new(path))
    }
    fn spawn(&self, mut command: Command, name: &'static str) -> Result<Running> {
        let log = self.dir.join(format!("{name}.log"));
        let file = File::options().create(true).append(true).open(&log)?;
        command.stdout(file.try_clone()?).stderr(file).arg("--config").arg(self.config());
        let child = command.spawn().with_context(|| name.to_owned())?;
        Ok(Running { child, name, log })
    }
    pub fn fast_path(&self) -> Result<Running> {
        let mut command = self.program("espway-fastpath")?;
        command.arg("--socket").arg(self.socket()).args(["--log-level", "info"]).stdin(Stdio::null());
        command.arg("--file-prefix").arg(format!("espway-scale-{}", std::process::id()));
        self.spawn(command, "espway-fastpath")
    }
    pub fn slow_path(&self) -> Result<Running> {
        let mut command = self.program("espway-slowpath")?;
        command.arg("--fastpath-socket").arg(self.socket()).arg("--control-socket").arg(self.control());
        // One line for each tunnel that comes up would be most of the work.
        command.args(["--log-level", "info,ike=warn", "--vault-key-fd", "0"]).stdin(Stdio::piped());
        let mut running = self.spawn(command, "espway-slowpath")?;
        running.child.stdin.take().context("its input")?.write_all(&VAULT_KEY)?;
        Ok(running)
    }

    pub fn status(&self, at_most: Option<u32>) -> Result<Status> {
        let mut stream = UnixStream::connect(self.control()).context("the control socket")?;
        stream.set_read_timeout(Some(PATIENCE))?;
        serde_json::to_writer(&mut stream, &Request::Status { show_sensitive: false, at_most })?;
        stream.write_all(b"\n")?;
        let (mut answer, mut chunk) = (Vec::new(), vec![0; 1 << 16]);
        while !answer.ends_with(b"\n") {
            let n = stream.read(&mut chunk)?;
            ensure!(n > 0, "the answer was cut short");
            answer.extend_from_slice(&chunk[..n]);
        }
        match serde_json::from_slice(&answer)? {
            Response::Status(status) => Ok(*status),
            other => anyhow::bail!("not a status: {other:?}"),
        }
    }
    /// Until the log of the slow path says it once more; then it is asked. To ask meanwhile would be work for it, too.
    pub fn until(&self, what: &str, child: &mut Running, times: usize) -> Result<Status> {
        let start = Instant::now();
        while child.text().matches(what).count() < times {
            child.check()?;
            ensure!(
                start.elapsed() < PATIENCE,
                "`{what}` is not in its log after {PATIENCE:?}:\n{}",
                child.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
        self.status(Some(0))
    }
}

pub struct Running {
    child: Child,
    name: &'static str,
    log: PathBuf,
}
/// In bytes. What both processes map is counted for each that has touched it.
#[derive(Clone, Copy, Debug, Default, serde::Serialize)]
pub struct Memory {
    pub own: u64,
    pub shared: u64,
}
impl Running {
    pub fn check(&mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            anyhow::bail!("{} ended with {status}:\n{}", self.name, self.log());
        }
        Ok(())
    }
    fn text(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }
    fn log(&self) -> String {
        let text = self.text();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
    pub fn memory(&self) -> Result<Memory> {
        let text = std::fs::read_to_string(format!("/proc/{}/status", self.child.id()))?;
        let field = |name: &str| -> u64 {
            let line = text.lines().find_map(|l| l.strip_prefix(name)).unwrap_or_default();
            line.trim_matches([':', ' ', '\t', 'k', 'B']).parse::<u64>().unwrap_or(0) * 1024
        };
        Ok(Memory { own: field("RssAnon") + field("RssFile"), shared: field("RssShmem") })
    }
    /// The memory of a fast path that listens.
    pub fn started(&mut self, socket: &Path) -> Result<Memory> {
        let until = Instant::now() + PATIENCE;
        while !socket.exists() {
            self.check()?;
            ensure!(
                Instant::now() < until,
                "{} does not listen within {PATIENCE:?}:\n{}",
                self.name,
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
        // Its workers begin as it listens.
        std::thread::sleep(Duration::from_millis(200));
        self.memory()
    }
    /// User and system time so far.
    pub fn cpu(&self) -> Result<Duration> {
        let text = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id()))?;
        // The second field is the program's name in brackets, which may hold anything.
        let rest = text.rsplit_once(')').map(|(_, rest)| rest).unwrap_or_default();
        let ticks: u64 = rest.split_whitespace().skip(11).take(2).filter_map(|t| t.parse::<u64>().ok()).sum();
        Ok(Duration::from_secs_f64(ticks as f64 / rustix::param::clock_ticks_per_second() as f64))
    }
    /// As a crash would.
    pub fn kill(mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }
    pub fn stop(mut self) -> Result<()> {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM)?;
        let status = self.child.wait()?;
        ensure!(status.success(), "{} ended with {status}:\n{}", self.name, self.log());
        Ok(())
    }
}
impl Drop for Running {
    fn drop(&mut self) {
        // Gone already is as good.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How long a command took, and how much it said.
pub fn timed(command: &mut Command) -> Result<(Duration, usize)> {
    let start = Instant::now();
    let output = command.stdin(Stdio::null()).output()?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(!output.stdout.is_empty(), "{command:?} ended with {}: {said}", output.status);
    Ok((start.elapsed(), output.stdout.len()))
}
pub fn folder() -> Result<PathBuf> {
    let path = std::env::temp_dir().join(format!("espway-scale-{}", std::process::id()));
    std::fs::create_dir(&path).with_context(|| path.display().to_string())?;
    Ok(path)
}
/// Removes a folder of [`folder`]'s at the end.
pub struct Folder<'a>(pub &'a Path);
impl Drop for Folder<'_> {
    fn drop(&mut self) {
        // Left behind it is a few files among temporary ones.
        let _ = std::fs::remove_dir_all(self.0);
    }
}
