//! One network namespace: addresses, settings, programs and threads in it.
use crate::process::{self, Process};
use crate::sys;
use anyhow::{Context, Result, ensure};
use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

#[derive(Clone, Debug)]
pub struct Netns {
    name: String,
}

impl Netns {
    /// Without a route, without an address, loopback up. The janitor must know the name already.
    pub(crate) fn create(name: String) -> Result<Self> {
        process::run("ip", &["netns", "add", &name])?;
        let this = Self { name };
        this.ip("link set lo up")?;
        // Decapsulated packets come out of a tun device, "from elsewhere"; addresses are usable at once.
        this.sysctl(&[
            "net.ipv4.conf.all.rp_filter=0",
            "net.ipv4.conf.default.rp_filter=0",
            "net.ipv6.conf.all.accept_dad=0",
            "net.ipv6.conf.default.accept_dad=0",
            "net.ipv6.conf.default.accept_ra=0",
            "net.ipv4.icmp_ratelimit=0",
        ])?;
        Ok(this)
    }
    pub fn name(&self) -> &str {
        &self.name
    }
    /// A command that will run in this namespace, with its process id being the program's own.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name]).arg(program.as_ref());
        command
    }
    /// Runs a line of words to its end and returns what it printed; the error has both outputs.
    pub fn run(&self, line: &str) -> Result<String> {
        let mut words = line.split_whitespace();
        let mut command = self.command(words.next().context("empty command")?);
        process::output(command.args(words))
    }
    /// Starts a line of words, its output going to `log`.
    pub fn start(&self, name: &str, line: &str, log: &Path) -> Result<Process> {
        let mut words = line.split_whitespace();
        let mut command = self.command(words.next().context("empty command")?);
        Process::start(name, command.args(words), log)
    }
    /// Lines for `ip -batch`.
    pub fn ip(&self, lines: &str) -> Result<()> {
        feed(Command::new("ip").args(["-n", &self.name, "-batch", "-"]), lines)
            .with_context(|| format!("ip -n {}: {lines}", self.name))
    }
    pub fn nft(&self, rules: &str) -> Result<()> {
        feed(self.command("nft").args(["-f", "-"]), rules).with_context(|| format!("nft: {rules}"))
    }
    pub fn sysctl(&self, settings: &[&str]) -> Result<()> {
        process::output(self.command("sysctl").arg("-qw").args(settings)).map(drop)
    }
    /// veth leaves checksums and segmentation to hardware that is not there; whoever reads the wire would see
    /// unfinished packets.
    pub fn offloads_off(&self, link: &str) -> Result<()> {
        self.run(&format!("ethtool -K {link} tx off rx off tso off gso off gro off")).map(drop)
    }
    /// Runs `work` on a thread that lives in this namespace: sockets it makes stay there.
    pub fn enter<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> Result<T> + Send + 'static,
    ) -> std::thread::JoinHandle<Result<T>> {
        let name = self.name.clone();
        std::thread::spawn(move || {
            sys::enter_netns(&name)?;
            work()
        })
    }
    /// Process ids of what runs here.
    pub fn pids(&self) -> Result<Vec<u32>> {
        let list = process::run("ip", &["netns", "pids", &self.name])?;
        list.split_whitespace().map(|pid| pid.parse().context("ip netns pids")).collect()
    }
}

fn feed(command: &mut Command, input: &str) -> Result<()> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .with_context(|| format!("{} is not installed", command.get_program().to_string_lossy()))?;
    child.stdin.take().context("no input")?.write_all(input.as_bytes())?;
    let out = child.wait_with_output()?;
    ensure!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr).trim());
    Ok(())
}
