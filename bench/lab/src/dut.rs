//! The device under test: a real `espway-fastpath` in a process of its own, with the lab as its slow path.
use crate::scene::{self, Scene};
use anyhow::{Context, Result, bail, ensure};
use ipc::{Command, SlowSide};
use sa::{DropReason, SaSpec};
use std::collections::BTreeMap;
use std::fs::File;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

const PATIENCE: Duration = Duration::from_secs(60);
const GRACE: Duration = Duration::from_secs(10);

/// What the configuration of the device under test says.
#[derive(Clone, Debug)]
pub struct Setup {
    pub lan: String,
    pub wan: String,
    /// Of both ports; has room for ESP around the largest packets.
    pub mtu: u16,
    pub workers: Vec<u16>,
    pub main_core: u16,
    pub memory_mib: u32,
    pub buffers: u32,
    pub hugepages: String,
    pub engines: String,
    pub idle: String,
    pub idle_max_sleep: String,
}
/// The most that tunnel mode with any suite adds.
pub const OVERHEAD: u16 = 100;

impl Setup {
    pub fn configuration(&self, slots: u32) -> String {
        let list = |cpus: &[u16]| cpus.iter().map(u16::to_string).collect::<Vec<_>>().join(", ");
        let mac = |mac: wire::Mac| {
            let [a, b, c, d, e, f] = mac.0;
            format!("\"{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{f:02x}\"")
        };
        format!(
            "system:\n  name: lab\n  workers: [{workers}]\n  main-core: {main}\n  memory: {memory}M\n\
             \x20 hugepages: {huge}\n  buffers: {buffers}\n  sa-slots: {slots}\n  idle: {idle}\n\
             \x20 idle-max-sleep: {sleep}\n  exception-path: none\n  crypto: {{engines: [{engines}]}}\n\
             interface:\n\
             \x20 - {{name: lan, device: \"{lan}\", mtu: {mtu}, mac-address: {lan_mac}}}\n\
             \x20 - {{name: wan, device: \"{wan}\", mtu: {mtu}, mac-address: {wan_mac}}}\n\
             ip:\n  address:\n\
             \x20   - {{address: {dut_lan}/24, interface: lan}}\n    - {{address: {dut_wan}/24, interface: wan}}\n\
             \x20 route:\n\
             \x20   - {{dst-address: 10.1.0.0/16, gateway: {lan_router}}}\n\
             \x20   - {{dst-address: 0.0.0.0/0, gateway: {wan_router}}}\n",
            workers = list(&self.workers),
            main = self.main_core,
            memory = self.memory_mib,
            huge = self.hugepages,
            buffers = self.buffers,
            idle = self.idle,
            sleep = self.idle_max_sleep,
            engines = self.engines,
            lan = self.lan,
            wan = self.wan,
            mtu = self.mtu,
            lan_mac = mac(scene::DUT_LAN_MAC),
            wan_mac = mac(scene::DUT_WAN_MAC),
            dut_lan = scene::DUT_LAN,
            dut_wan = scene::DUT_WAN,
            lan_router = scene::TESTER_LAN,
            wan_router = scene::TESTER_WAN,
        )
    }
}

/// How long commands took, which is how long a slow path would have waited.
#[derive(Clone, Copy, Debug)]
pub struct Installed {
    pub policies: Duration,
    pub sas: Duration,
    pub sas_count: u32,
}

pub struct Dut {
    child: Child,
    slow: SlowSide,
    log: PathBuf,
    pub configuration: String,
}

impl Dut {
    /// Starts the process and attaches. `name` makes files and DPDK's prefix unique.
    pub fn start(
        program: &Path,
        setup: &Setup,
        slots: u32,
        dir: &Path,
        name: &str,
        log_level: &str,
    ) -> Result<Self> {
        let configuration = setup.configuration(slots);
        let (file, socket, log) = (
            dir.join(format!("{name}.yaml")),
            dir.join(format!("{name}.sock")),
            dir.join(format!("{name}.log")),
        );
        std::fs::write(&file, &configuration)?;
        let output = File::create(&log)?;
        let mut child = std::process::Command::new(program)
            .arg("--config")
            .arg(file)
            .arg("--socket")
            .arg(&socket)
            .args(["--file-prefix", &format!("espway-dut-{}-{name}", std::process::id())])
            .args(["--log-level", log_level])
            .stdin(Stdio::null())
            .stdout(output.try_clone()?)
            .stderr(output)
            // Ctrl-C reaches the lab alone, which ends things in order.
            .process_group(0)
            .spawn()
            .with_context(|| format!("starting {}", program.display()))?;
        match attach(&mut child, &socket, &log) {
            Ok(slow) => Ok(Self { child, slow, log, configuration }),
            Err(error) => {
                let _ = child.kill();
                let _ = child.wait();
                Err(error)
            }
        }
    }

    /// All policies at once, then all SAs; each is confirmed by every worker.
    pub fn load(&mut self, scene: &Scene) -> Result<Installed> {
        let policies = scene.policies();
        let count = policies.len() as u32;
        let begin = Command::PolicyBegin { generation: 1, count };
        let policies = policies.into_iter().map(Command::Policy);
        let commands =
            std::iter::once(begin).chain(policies).chain([Command::PolicyCommit { generation: 1 }]);
        let policies = self.tell(commands.map(Ok)).context("installing policies")?;
        let specs: Vec<SaSpec> = (0..scene.tunnels)
            .map(|tunnel| scene.sas(tunnel))
            .collect::<Result<Vec<_>>>()?
            .into_iter()
            .flatten()
            .collect();
        let sas_count = specs.len() as u32;
        let commands = specs.into_iter().map(|spec| Ok(Command::InstallSa(Box::new(spec))));
        let sas = self.tell(commands).context("installing SAs")?;
        Ok(Installed { policies, sas, sas_count })
    }
    fn tell(&mut self, commands: impl Iterator<Item = Result<Command>>) -> Result<Duration> {
        let start = Instant::now();
        let (mut sent, mut answered) = (0u64, 0u64);
        let mut last_progress = start;
        let mut commands = commands.peekable();
        while commands.peek().is_some() || answered < sent {
            let before = (sent, answered);
            while let Some(command) = commands.peek() {
                let command = command.as_ref().map_err(|e| anyhow::anyhow!("{e:#}"))?;
                match self.slow.send(command) {
                    Ok(_) => sent += 1,
                    Err(ipc::SendError::Full) => break,
                    Err(error) => return Err(error).context(self.complaint()),
                }
                commands.next();
            }
            while let Some(ack) = self.slow.next_ack() {
                answered += 1;
                ack.result.with_context(|| format!("the gateway refused command {answered}"))?;
            }
            if before != (sent, answered) {
                last_progress = Instant::now();
                continue;
            }
            if last_progress.elapsed() > PATIENCE || self.slow.fast_gone() {
                bail!("the gateway stopped answering ({answered} of {sent} commands): {}", self.complaint());
            }
            // The gateway's main lcore may need this CPU.
            std::thread::sleep(Duration::from_micros(50));
        }
        Ok(start.elapsed())
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }
    /// Drops so far, those that happened.
    pub fn drops(&self) -> Drops {
        let drops = self.slow.statistics().drops();
        Drops(drops.into_iter().filter(|(_, n)| *n > 0).collect())
    }
    /// Frames that the drivers of its ports had no room for.
    pub fn missed(&self) -> u64 {
        self.slow.statistics().ports().iter().map(|p| p.rx_missed).sum()
    }
    /// Events are of no use here, but a full ring would be.
    pub fn tend(&mut self) -> Result<()> {
        while self.slow.next_event().is_some() {}
        while self.slow.next_frame().is_some() {}
        if let Some(status) = self.child.try_wait()? {
            bail!("the gateway ended ({status}): {}", self.complaint());
        }
        ensure!(!self.slow.fast_gone(), "the gateway hung up: {}", self.complaint());
        Ok(())
    }
    pub fn log(&self) -> String {
        String::from_utf8_lossy(&std::fs::read(&self.log).unwrap_or_default()).into_owned()
    }
    fn complaint(&self) -> String {
        tail(&self.log())
    }
    /// Nanoseconds that its worker threads were ready to run while their CPUs ran something else.
    pub fn worker_waits(&self) -> u64 {
        let Ok(threads) = std::fs::read_dir(format!("/proc/{}/task", self.pid())) else { return 0 };
        let is_worker = |dir: &Path| {
            // DPDK names them so; `wo` is all that is common to its releases.
            std::fs::read_to_string(dir.join("comm")).is_ok_and(|name| name.contains("-wo"))
        };
        let dirs = threads.flatten().map(|t| t.path()).filter(|dir| is_worker(dir));
        dirs.map(|dir| crate::environment::run_delay(&dir.join("schedstat"))).sum()
    }
    /// Resident memory in bytes, hugepages not included.
    pub fn memory(&self) -> u64 {
        let statm = std::fs::read_to_string(format!("/proc/{}/statm", self.pid())).unwrap_or_default();
        let pages = statm.split(' ').nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
        pages * rustix::param::page_size() as u64
    }
    /// SIGTERM; it must leave in order.
    pub fn stop(mut self) -> Result<()> {
        self.terminate();
        let end = Instant::now() + GRACE;
        while Instant::now() < end {
            if let Some(status) = self.child.try_wait()? {
                ensure!(status.success(), "the gateway ended with {status}: {}", self.complaint());
                return Ok(());
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        bail!("the gateway did not end within {GRACE:?}: {}", self.complaint())
    }
    fn terminate(&self) {
        if let Some(pid) = rustix::process::Pid::from_raw(self.pid().cast_signed()) {
            let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
        }
    }
}
impl Drop for Dut {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            // A failed measurement: what matters is that nothing is left behind.
            self.terminate();
            std::thread::sleep(Duration::from_millis(300));
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

/// Packets by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Drops(pub BTreeMap<DropReason, u64>);
impl Drops {
    pub fn since(&self, before: &Self) -> BTreeMap<String, u64> {
        let grown = self.0.iter().map(|(r, n)| (*r, n - before.0.get(r).copied().unwrap_or(0).min(*n)));
        grown.filter(|(_, n)| *n > 0).map(|(reason, n)| (reason.name().to_owned(), n)).collect()
    }
}

fn attach(child: &mut Child, socket: &Path, log: &Path) -> Result<SlowSide> {
    let end = Instant::now() + PATIENCE;
    let said = || tail(&String::from_utf8_lossy(&std::fs::read(log).unwrap_or_default()));
    loop {
        if let Some(status) = child.try_wait()? {
            bail!("the gateway did not start ({status}): {}", said());
        }
        let uid = rustix::process::getuid().as_raw();
        match SlowSide::attach(socket, &[uid], Duration::from_secs(5)) {
            Ok(slow) => return Ok(slow),
            Err(error) if Instant::now() >= end => {
                bail!("the gateway does not answer: {error}: {}", said())
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
}

fn tail(text: &str) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(20)..].join("\n")
}

/// `espway-fastpath`: beside this program, where packages put helpers, or in PATH.
pub fn find_program(wanted: Option<&Path>) -> Result<PathBuf> {
    const NAME: &str = "espway-fastpath";
    if let Some(path) = wanted {
        ensure!(path.is_file(), "{} is not there; name the program with --fastpath", path.display());
        return Ok(path.to_owned());
    }
    let own = std::env::current_exe().context("where this program is")?;
    let beside = own.parent().map(|dir| dir.join(NAME));
    let libexec = own.parent().and_then(|dir| dir.parent()).map(|dir| dir.join("libexec/espway").join(NAME));
    let path = std::env::var_os("PATH").unwrap_or_default();
    let in_path = std::env::split_paths(&path).map(|dir| dir.join(NAME));
    let found = beside.into_iter().chain(libexec).chain(in_path).find(|path| path.is_file());
    found.with_context(|| {
        format!("{NAME} is neither beside {} nor in PATH; name it with --fastpath", own.display())
    })
}
