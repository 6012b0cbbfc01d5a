//! espway itself as a site: the supervisor with its two processes, run in a namespace.
use crate::lab::Lab;
use crate::netns::Netns;
use crate::process::{self, Process};
use crate::wait_until;
use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// Where `espway`, `espway-fastpath` and `espway-slowpath` are: `$ESPWAY_BIN_DIR`, else the folder this program itself
/// was built into.
pub fn bin_dir() -> Result<PathBuf> {
    if let Some(dir) = std::env::var_os("ESPWAY_BIN_DIR") {
        return Ok(PathBuf::from(dir));
    }
    let own = std::env::current_exe()?;
    let mut folders = own.ancestors().skip(1).take(2);
    let found = folders.find(|folder| folder.join("espway").is_file());
    found.map(Path::to_owned).with_context(|| {
        "espway is not built; run: cargo build --release -p espway -p espway-fastpath -p espway-slowpath, \
         and set ESPWAY_BIN_DIR to target/release"
    })
}

#[derive(Debug)]
pub struct Espway {
    supervisor: Process,
    ns: Netns,
    binary: PathBuf,
    run_dir: PathBuf,
}

impl Espway {
    /// Starts `espway run` and waits until its status can be asked.
    pub fn start(lab: &Lab, ns: &Netns, name: &str, config: &Path) -> Result<Self> {
        let binary = bin_dir()?.join("espway");
        let run_dir = lab.file(&format!("run-{name}"));
        std::fs::create_dir_all(&run_dir)?;
        let mut command = ns.command(&binary);
        command.arg("run").arg("--config").arg(config).arg("--run-dir").arg(&run_dir);
        let supervisor = Process::start(name, &mut command, &lab.file(&format!("{name}.log")))?;
        let mut this = Self { supervisor, ns: ns.clone(), binary, run_dir };
        this.supervisor.grace = Duration::from_secs(10);
        wait_until(&format!("{name}'s status"), Duration::from_secs(40), || {
            this.supervisor.check()?;
            this.status().map(drop)
        })?;
        Ok(this)
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
            Command::new(&self.binary).args(["status", "--json", "--run-dir"]).arg(&self.run_dir),
        )?;
        serde_json::from_str(&text).with_context(|| format!("espway status: {text}"))
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
