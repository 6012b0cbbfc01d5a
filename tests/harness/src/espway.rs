//! espway itself as a site: the supervisor with its two processes, run in a namespace.
use crate::lab::Lab;
use crate::netns::Netns;
use crate::process::{self, Process, tail};
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// The folder with `espway`, `espway-fastpath` and `espway-slowpath`.
#[derive(Clone, Debug)]
pub struct Binaries {
    dir: PathBuf,
}
impl Binaries {
    pub fn in_dir(dir: impl Into<PathBuf>) -> Result<Self> {
        let dir = dir.into();
        for name in ["espway", "espway-fastpath", "espway-slowpath"] {
            ensure!(
                dir.join(name).is_file(),
                "{} is missing; run: cargo build --release -p espway -p espway-fastpath -p espway-slowpath",
                dir.join(name).display()
            );
        }
        Ok(Self { dir })
    }
    /// In `$ESPWAY_BIN_DIR`, else in the folder this program itself was built into.
    pub fn find() -> Result<Self> {
        if let Some(dir) = std::env::var_os("ESPWAY_BIN_DIR") {
            return Self::in_dir(dir);
        }
        let own = std::env::current_exe()?;
        // A test program is one folder below, in `deps`.
        let folders = own.ancestors().skip(1).take(2);
        let mut tried = folders.map(Self::in_dir).collect::<Vec<_>>();
        let at = tried.iter().position(Result::is_ok).unwrap_or(tried.len().saturating_sub(1));
        tried.swap_remove(at)
    }
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }
    /// `espway` with these words, run to its end in the caller's own namespace.
    pub fn command(&self) -> Command {
        Command::new(self.dir.join("espway"))
    }
}

#[derive(Debug)]
pub struct Espway {
    supervisor: Process,
    ns: Netns,
    binaries: Binaries,
    run_dir: PathBuf,
}

impl Espway {
    /// Starts `espway run` and waits until it forwards.
    pub fn start(lab: &Lab, binaries: &Binaries, ns: &Netns, name: &str, config: &Path) -> Result<Self> {
        Self::start_with(lab, binaries, ns, name, config, &[])
    }
    /// The same with more words for `espway run`.
    pub fn start_with(
        lab: &Lab,
        binaries: &Binaries,
        ns: &Netns,
        name: &str,
        config: &Path,
        words: &[&str],
    ) -> Result<Self> {
        let command = ns.command(binaries.dir.join("espway"));
        Self::start_command(lab, binaries, ns, name, config, words, command)
    }
    /// The same with a hosts file of its own: what is written into `hosts` later is found as well.
    pub fn start_with_hosts(
        lab: &Lab,
        binaries: &Binaries,
        ns: &Netns,
        name: &str,
        config: &Path,
        hosts: &Path,
    ) -> Result<Self> {
        let mut command = ns.command("unshare");
        command.args(["-m", "sh", "-c", "mount --bind \"$0\" /etc/hosts && exec \"$@\""]).arg(hosts);
        command.arg(binaries.dir.join("espway"));
        Self::start_command(lab, binaries, ns, name, config, &[], command)
    }
    fn start_command(
        lab: &Lab,
        binaries: &Binaries,
        ns: &Netns,
        name: &str,
        config: &Path,
        words: &[&str],
        mut command: Command,
    ) -> Result<Self> {
        let run_dir = lab.file(&format!("run-{name}"));
        std::fs::create_dir_all(&run_dir)?;
        command.arg("run").arg("--config").arg(config).arg("--run-dir").arg(&run_dir).args(words);
        // As loud as it can be: the lab searches what it says for secrets.
        if !words.iter().any(|word| word.starts_with("--log-level")) {
            command.args(["--log-level", "trace"]);
        }
        let supervisor = Process::start(name, &mut command, &lab.file(&format!("{name}.log")))?;
        let mut this = Self { supervisor, ns: ns.clone(), binaries: binaries.clone(), run_dir };
        this.supervisor.grace = Duration::from_secs(10);
        let end = Instant::now() + Duration::from_secs(40);
        loop {
            // A refused configuration is told at once.
            this.supervisor.check()?;
            match this.forwards() {
                Ok(()) => return Ok(this),
                Err(why) if Instant::now() >= end => {
                    return Err(why.context(format!("{name} does not get ready:\n{}", tail(&this.log(), 40))));
                }
                Err(_) => std::thread::sleep(Duration::from_millis(50)),
            }
        }
    }
    pub fn run_dir(&self) -> &Path {
        &self.run_dir
    }
    pub fn log(&self) -> String {
        self.supervisor.log()
    }
    /// `espway status --json`.
    pub fn status(&self) -> Result<Value> {
        let text = process::output(
            self.binaries.command().args(["status", "--json", "--run-dir"]).arg(&self.run_dir),
        )?;
        serde_json::from_str(&text).with_context(|| format!("espway status: {text}"))
    }
    /// The fast path has its ports, and the slow path has given it the policies.
    fn forwards(&self) -> Result<()> {
        let status = self.status()?;
        ensure!(status["fastpath-attached"] == true, "the slow path waits for the fast path");
        let policies = status["policies"].as_array().is_some_and(|policies| !policies.is_empty());
        ensure!(policies, "no policies yet");
        Ok(())
    }
    /// One request to the control socket: a JSON line out, a JSON line back.
    pub fn request(&self, request: &Value) -> Result<Value> {
        let socket = self.run_dir.join("control.sock");
        let mut stream = UnixStream::connect(&socket).with_context(|| socket.display().to_string())?;
        stream.set_read_timeout(Some(Duration::from_secs(20)))?;
        writeln!(stream, "{request}")?;
        let mut line = String::new();
        BufReader::new(stream).read_line(&mut line)?;
        let answer: Value = serde_json::from_str(&line).with_context(|| format!("{request} → {line:?}"))?;
        if let Some(error) = answer.get("error").filter(|error| !error.is_null()) {
            bail!("{request}: {error}");
        }
        Ok(answer)
    }
    /// The pid of the process whose program is `name` among the supervisor's children.
    pub fn pid_of(&self, name: &str) -> Result<u32> {
        let ours = self.ns.pids()?;
        let wanted = ours.into_iter().find(|pid| {
            let program = std::fs::read_link(format!("/proc/{pid}/exe")).unwrap_or_default();
            program.file_name().is_some_and(|file| file == name)
        });
        wanted.with_context(|| format!("no {name} runs in {}", self.ns.name()))
    }
    pub fn fastpath_pid(&self) -> Result<u32> {
        self.pid_of("espway-fastpath")
    }
    pub fn slowpath_pid(&self) -> Result<u32> {
        self.pid_of("espway-slowpath")
    }
    pub fn check(&mut self) -> Result<()> {
        self.supervisor.check()
    }
    /// SIGTERM, and everything it started must be gone.
    pub fn stop(mut self) -> Result<()> {
        self.supervisor.stop()?;
        let left = self.ns.pids()?;
        let names = left.iter().filter_map(|pid| std::fs::read_to_string(format!("/proc/{pid}/comm")).ok());
        let ours: Vec<_> = names.filter(|name| name.starts_with("espway")).collect();
        ensure!(ours.is_empty(), "still running after the supervisor ended: {ours:?}");
        Ok(())
    }
}
