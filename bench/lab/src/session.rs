//! A run of the lab: one tester, and one device under test after the other.
use crate::cable::{self, End, Link, Shape};
use crate::dut::{self, Dut, Installed, OVERHEAD, Setup};
use crate::environment;
use crate::frames::{ETHERNET, Size, Way};
use crate::ledger::{Faults, histogram};
use crate::options::{Direction, Options, Pages};
use crate::progress::Progress;
use crate::report::Trial;
use crate::scene::Scene;
use crate::search::Outcome;
use crate::tester::{Load, Measured, Tester};
use anyhow::{Context, Result, bail, ensure};
use dpdk::{Eal, Mempool};
use hdrhistogram::Histogram;
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

/// The gateway carries its counters over every 50 ms, its workers theirs every 20 ms.
const COUNTERS_LAG: Duration = Duration::from_millis(120);
/// A worker that waited longer for its CPU may have lost what its ring could not hold.
const WAIT_TOLERATED_US: u64 = 200;
/// More than this share not sent in time: the rate was not the one asked for. Less shows in the rate that is reported.
const SKIP_TOLERATED: f64 = 0.01;
/// Polls that found a whole burst waiting, from which on the tester counts as too slow to receive.
const FULL_TOLERATED: f64 = 0.9;
const PATIENCE: Duration = Duration::from_secs(10);
const ETHERNET_MTU: u16 = 1500;

pub struct Session {
    pub options: Options,
    pub progress: Progress,
    pub cpus: Cpus,
    pub trials: Vec<Trial>,
    pub faults: Faults,
    /// Of the last device under test.
    pub configuration: String,
    eal: Eal,
    pool: Mempool,
    program: PathBuf,
    link: Link,
    shape: Shape,
    mtu: u16,
    dir: tempfile::TempDir,
    rigs: u32,
    usable: Usable,
    stop: Arc<AtomicBool>,
}

/// A device under test that runs, with its policies and SAs, and the tester connected to it.
pub struct Rig {
    // Before the ports: the gateway ends first.
    pub dut: Option<Dut>,
    pub tester: Tester,
    pub installed: Installed,
    /// Its resident memory before and after policies and SAs were installed.
    pub memory: (u64, u64),
    shared_memory: bool,
}

impl Rig {
    /// The gateway must leave in order.
    pub fn stop(mut self) -> Result<()> {
        self.dut.take().map_or(Ok(()), Dut::stop)
    }
}

/// What one trial said, complete.
pub struct Judged {
    pub trial: Trial,
    pub latency: Histogram<u64>,
}
impl Judged {
    pub fn outcome(&self) -> Outcome {
        Outcome {
            offered: self.trial.offered,
            loss: self.trial.lost as f64 / self.trial.attempted.max(1) as f64,
            tester_limited: self.trial.tester_limited,
            disturbed: self.trial.disturbed,
        }
    }
}

#[derive(Clone, Debug)]
pub struct Cpus {
    pub tester: u16,
    pub main: u16,
    pub workers: Vec<u16>,
}
impl Cpus {
    /// Workers from the last CPU down, the tester on the first, the gateway's main lcore where nobody else is.
    pub fn choose(options: &Options, workers: u16, usable: &[u16]) -> Result<Self> {
        let Some(&first) = usable.first() else { bail!("this process may use no CPU") };
        let tester = options.tester.tester_cpu.unwrap_or(first);
        let workers: Vec<u16> = if options.dut.worker_cpus.is_empty() {
            let free: Vec<u16> = usable.iter().rev().copied().filter(|cpu| *cpu != tester).collect();
            let order: Vec<u16> = free.into_iter().chain([tester]).collect();
            (0..usize::from(workers)).map(|n| order[n % order.len()]).collect()
        } else {
            options.dut.worker_cpus.clone()
        };
        let mut idle = usable.iter().copied().filter(|cpu| *cpu != tester && !workers.contains(cpu));
        let main = options.dut.main_cpu.or_else(|| idle.next()).unwrap_or(tester);
        for cpu in workers.iter().chain([&tester, &main]) {
            ensure!(usable.contains(cpu), "CPU {cpu} is not among those this process may use ({usable:?})");
        }
        Ok(Self { tester, main, workers })
    }
    /// What a reader of the numbers has to know.
    pub fn text(&self) -> String {
        let shared: Vec<_> = self.workers.iter().filter(|cpu| **cpu == self.tester).collect();
        let mut text =
            format!("tester on CPU {}, workers on {:?}, main on {}", self.tester, self.workers, self.main);
        if self.main == self.tester {
            text += "; the gateway's main lcore shares the tester's CPU";
        }
        if !shared.is_empty() {
            text += "; a WORKER SHARES THE TESTER'S CPU: its rates are not its own";
        }
        if self.workers.iter().enumerate().any(|(n, cpu)| self.workers[..n].contains(cpu)) {
            text += "; WORKERS SHARE A CPU";
        }
        text
    }
}
/// CPUs this process may use: asked before DPDK pins the tester to one of them.
#[derive(Clone)]
struct Usable {
    set: rustix::thread::CpuSet,
    cpus: Vec<u16>,
}
impl Usable {
    fn ask() -> Result<Self> {
        let set =
            rustix::thread::sched_getaffinity(None).context("asking for the CPUs this process may use")?;
        let cpus = (0..1024u16).filter(|cpu| set.is_set(usize::from(*cpu))).collect();
        Ok(Self { set, cpus })
    }
    /// A process inherits the CPUs of the thread that starts it.
    fn on_all<T>(&self, start: impl FnOnce() -> Result<T>) -> Result<T> {
        let own = rustix::thread::sched_getaffinity(None).context("asking for the tester's CPU")?;
        rustix::thread::sched_setaffinity(None, &self.set).context("leaving the tester's CPU")?;
        let result = start();
        rustix::thread::sched_setaffinity(None, &own).context("returning to the tester's CPU")?;
        result
    }
}

impl Session {
    pub fn start(options: Options, progress: Progress) -> Result<Self> {
        options.check()?;
        // DPDK's main thread waits for its interrupt thread by spinning: on one CPU under FIFO it waits for ever.
        ensure!(
            environment::policy() != environment::Policy::RealTimeFifo,
            "the scheduling policy FIFO would keep threads of one CPU from each other: use `chrt -r` in place of `chrt -f`"
        );
        let program = dut::find_program(options.dut.fastpath.as_deref())?;
        let stop = Arc::new(AtomicBool::new(false));
        for signal in [signal_hook::consts::SIGTERM, signal_hook::consts::SIGINT] {
            signal_hook::flag::register(signal, Arc::clone(&stop)).context("catching signals")?;
        }
        let largest = options.sizes.iter().map(Size::largest).max().unwrap_or(Size::MIN) - ETHERNET as u16;
        let link = options.link(largest + OVERHEAD);
        // Devices of the user's may carry little more than what is asked for.
        let least = if matches!(link, Link::Devices(_)) { 576 } else { ETHERNET_MTU };
        let mtu = (largest + OVERHEAD).max(least);
        let shape = Shape { mtu, ring_log2: options.tester.ring.ilog2(), queues: 1 };
        let usable = Usable::ask()?;
        let cpus = Cpus::choose(&options, options.dut.workers, &usable.cpus)?;
        let huge = match options.tester.hugepages {
            Pages::Auto => dpdk::Hugepages::Auto,
            Pages::Yes => dpdk::Hugepages::Yes,
            Pages::No => dpdk::Hugepages::No,
        };
        let memory = 64 + 8192 * (u32::from(shape.mtu) + 512) / (1 << 20) * 3 / 2;
        let eal = cable::start_eal(cpus.tester, memory, huge, &link)?;
        let pool = cable::pool(&eal, shape.mtu)?;
        let dir = tempfile::Builder::new().prefix("espway-lab-").tempdir().context("a folder for sockets")?;
        Ok(Self {
            options,
            progress,
            cpus,
            trials: Vec::new(),
            faults: Faults::default(),
            configuration: String::new(),
            eal,
            pool,
            program,
            link,
            shape,
            mtu,
            dir,
            rigs: 0,
            usable,
            stop,
        })
    }
    pub fn cpu_count(&self) -> usize {
        self.usable.cpus.len()
    }
    pub fn hugepages(&self) -> bool {
        self.eal.hugepages()
    }
    pub fn link(&self) -> &Link {
        &self.link
    }
    pub fn check_stop(&self) -> Result<()> {
        ensure!(!self.stop.load(Ordering::Relaxed), "interrupted");
        Ok(())
    }
    /// A scene of so many tunnels as the options want it.
    pub fn scene(&self, tunnels: u32) -> Result<Scene> {
        let o = &self.options;
        Scene::new(tunnels, o.flows(tunnels), o.suite, !o.no_esn, o.replay_window)
    }

    /// Starts the gateway, connects the cables, installs the tunnels, and waits until packets pass.
    pub fn rig(&mut self, scene: &Scene, workers: u16) -> Result<Rig> {
        self.rigs += 1;
        let name = format!("dut{}", self.rigs);
        self.cpus = Cpus::choose(&self.options, workers, &self.usable.cpus)?;
        if self.link == Link::VhostUser {
            self.shape.queues = workers;
        }
        let cables = self.link.devices(&self.shape, self.dir.path(), &name)?;
        let setup = self.setup(scene, &cables[0].0.to_string(), &cables[1].0.to_string());
        let (dir, level) = (self.dir.path(), &self.options.dut.log_level);
        let start = || Dut::start(&self.program, &setup, scene.slots(), dir, &name, level);
        let mut dut = self.usable.on_all(start)?;
        self.configuration.clone_from(&dut.configuration);
        let end = |port: &str, device, lan| {
            End::open(&self.eal, &format!("{port}{}", self.rigs), device, lan, &self.shape, &self.pool)
        };
        let (lan, wan) = (end("lan", &cables[0].1, true)?, end("wan", &cables[1].1, false)?);
        lan.wait_for_link(PATIENCE)?;
        wan.wait_for_link(PATIENCE)?;
        let before = dut.memory();
        let installed = dut.load(scene)?;
        let memory = (before, dut.memory());
        let tester = self.tester(lan, wan, scene)?;
        let shared_memory = self.link.shared_memory();
        let mut rig = Rig { dut: Some(dut), tester, installed, memory, shared_memory };
        self.wait_until_passing(&mut rig)?;
        Ok(rig)
    }
    fn setup(&self, scene: &Scene, lan: &str, wan: &str) -> Setup {
        let dut = &self.options.dut;
        // A buffer takes its frame and half a kilobyte; an SA and its policy some more on the tables' side.
        let buffers = (u64::from(dut.buffers) * (u64::from(self.mtu) + 1024)) >> 20;
        let tables = u64::from(scene.tunnels) / 256;
        Setup {
            lan: lan.into(),
            wan: wan.into(),
            mtu: self.mtu,
            workers: self.cpus.workers.clone(),
            main_core: self.cpus.main,
            memory_mib: dut.memory.unwrap_or((128 + buffers + tables) as u32),
            buffers: dut.buffers,
            hugepages: match self.options.tester.hugepages {
                Pages::Auto => "auto",
                Pages::Yes => "yes",
                Pages::No => "no",
            }
            .into(),
            engines: dut.engines.clone(),
            idle: dut.idle.clone(),
            idle_max_sleep: dut.idle_max_sleep.clone(),
        }
    }
    fn tester(&self, lan: End, wan: End, scene: &Scene) -> Result<Tester> {
        let memory = (self.options.tester.packet_memory as usize) << 20;
        let way = |wanted| self.options.direction.iter().any(|d| d.ways().contains(&wanted));
        let of = |way: bool| if way { memory } else { 1 << 16 };
        Tester::new(self.pool, lan, wan, scene, of(way(Way::In)), of(way(Way::Out)))
    }
    /// The first packets wait for answers to ARP; they are nobody's loss.
    fn wait_until_passing(&mut self, rig: &mut Rig) -> Result<()> {
        let end = std::time::Instant::now() + PATIENCE;
        let ways = vec![Way::Out, Way::In];
        let load = Load {
            ways,
            size: self.options.sizes[0].clone(),
            rate: Some(4000.0),
            duration: Duration::from_millis(50),
            packets: None,
        };
        loop {
            self.check_stop()?;
            rig.tester.idle(Duration::from_millis(20))?;
            let measured = rig.tester.trial(&load, &|| 0)?;
            if measured.counted.iter().all(|c| c.received == c.attempted && c.received > 0) {
                return Ok(());
            }
            if std::time::Instant::now() > end {
                let dut = rig.dut.as_ref().context("no gateway")?;
                let counted: Vec<_> =
                    measured.counted.iter().map(|c| (c.way, c.attempted, c.received, &c.faults)).collect();
                bail!(
                    "no packets pass: {counted:?}; drops {:?}; the gateway says:\n{}",
                    dut.drops(),
                    dut.log()
                );
            }
        }
    }

    /// The tester's own ports, one to the other: what it can do at best. Without ESP, nothing is opened.
    pub fn loopback(&mut self, scene: &Scene) -> Result<Rig> {
        self.rigs += 1;
        let name = format!("loop{}", self.rigs);
        let [(server, client), _] = Link::Memif.devices(&self.shape, self.dir.path(), &name)?;
        // A memif port calls 1500 its limit, whatever its buffers hold, and holds no frame to it.
        let shape = Shape { mtu: self.shape.mtu.min(1500), ..self.shape };
        let end = |port: &str, device, lan| {
            End::open(&self.eal, &format!("{port}{}", self.rigs), device, lan, &shape, &self.pool)
        };
        let (wan, lan) = (end("wan", &server, false)?, end("lan", &client, true)?);
        let end = std::time::Instant::now() + PATIENCE;
        while lan.wait_for_link(Duration::from_millis(10)).is_err()
            || wan.wait_for_link(Duration::ZERO).is_err()
        {
            ensure!(std::time::Instant::now() < end, "the tester's own two ports do not find each other");
        }
        let mut tester = self.tester(lan, wan, scene)?;
        tester.loopback = true;
        let none = Installed { policies: Duration::ZERO, sas: Duration::ZERO, sas_count: 0 };
        Ok(Rig { dut: None, tester, installed: none, memory: (0, 0), shared_memory: true })
    }

    /// One trial, judged and written down.
    pub fn trial(
        &mut self,
        rig: &mut Rig,
        test: &str,
        parameters: &BTreeMap<String, String>,
        load: &Load,
    ) -> Result<Judged> {
        self.check_stop()?;
        let before = match &mut rig.dut {
            Some(dut) => {
                dut.tend()?;
                (dut.drops(), dut.missed())
            }
            None => Default::default(),
        };
        let dut = rig.dut.as_ref();
        let measured = rig.tester.trial(load, &|| dut.map_or(0, Dut::worker_waits))?;
        let lossy = measured.counted.iter().any(|c| c.received < c.attempted);
        if lossy {
            rig.tester.idle(COUNTERS_LAG)?;
        }
        let (drops, missed) = match &mut rig.dut {
            Some(dut) => {
                dut.tend()?;
                (dut.drops().since(&before.0), dut.missed() - before.1)
            }
            None => Default::default(),
        };
        let judged = judge(&measured, drops, missed, rig.shared_memory, test, parameters);
        for counted in &measured.counted {
            self.faults.merge(&counted.faults);
        }
        self.progress.step(&line(&judged.trial, load.rate));
        self.trials.push(judged.trial.clone());
        Ok(judged)
    }
}

fn judge(
    measured: &Measured,
    drops: BTreeMap<String, u64>,
    missed: u64,
    shared_memory: bool,
    test: &str,
    parameters: &BTreeMap<String, String>,
) -> Judged {
    let sum = |of: fn(&crate::tester::Counted) -> u64| measured.counted.iter().map(of).sum::<u64>();
    let (attempted, planned) = (sum(|c| c.attempted), sum(|c| c.planned));
    let (received, refused, mut skipped) = (sum(|c| c.received), sum(|c| c.refused), sum(|c| c.skipped));
    let mut offered = attempted;
    if !shared_memory {
        // A NIC or the kernel did not take them: they never were on the wire.
        offered -= refused;
        skipped += refused;
    }
    let lost = offered.saturating_sub(received);
    let mut faults = Faults::default();
    let mut latency = histogram();
    for counted in &measured.counted {
        faults.merge(&counted.faults);
        // Both have the same bounds.
        let _ = latency.add(&counted.latency);
    }
    let late = skipped as f64 > SKIP_TOLERATED * planned as f64;
    let slow = measured.full_polls > FULL_TOLERATED || drops.contains_key(sa::DropReason::TxFull.name());
    let disturbance = measured.disturbance;
    let disturbed = disturbance.worker_wait_us > WAIT_TOLERATED_US
        || disturbance.steal_us > 0
        || late && disturbance.tester_wait_us > WAIT_TOLERATED_US;
    let trial = Trial {
        test: test.into(),
        parameters: parameters.clone(),
        offered: offered as f64 / measured.seconds.max(1e-9),
        seconds: measured.seconds,
        attempted: offered,
        received,
        lost,
        not_taken: if shared_memory { refused } else { 0 },
        drops,
        missed,
        skipped,
        foreign: measured.foreign,
        stale: sum(|c| c.stale),
        faults: faults.counts,
        full_polls: measured.full_polls,
        tester_limited: late || slow && lost > 0,
        disturbed,
        disturbance,
    };
    Judged { trial, latency }
}

fn line(trial: &Trial, asked: Option<f64>) -> String {
    let mut text = match asked {
        Some(rate) => format!("{:.4} Mpps", rate / 1e6),
        None => format!("as fast as possible: {:.4} Mpps", trial.offered / 1e6),
    };
    text += &format!(": {} sent, {} lost", trial.attempted, trial.lost);
    if trial.lost > 0 {
        text += &format!(" ({:.4} %)", 100.0 * trial.lost as f64 / trial.attempted.max(1) as f64);
    }
    if trial.not_taken > 0 {
        text += &format!(", {} not taken by the gateway", trial.not_taken);
    }
    for (reason, n) in &trial.drops {
        text += &format!(", {n} {reason}");
    }
    if trial.tester_limited {
        text += &format!(", TESTER TOO SLOW ({} not sent in time)", trial.skipped);
    }
    if trial.disturbed {
        text +=
            &format!(", disturbed ({} µs)", trial.disturbance.worker_wait_us + trial.disturbance.steal_us);
    }
    if !trial.faults.is_empty() {
        text += &format!(", WRONG: {:?}", trial.faults);
    }
    text
}

/// What a trial's row is called in results.
pub fn parameters(
    direction: Direction,
    size: &Size,
    scene: &Scene,
    workers: u16,
) -> BTreeMap<String, String> {
    let parameters = [
        ("direction", direction.name().to_owned()),
        ("size", size.to_string()),
        ("suite", scene.suite.to_string()),
        ("tunnels", scene.tunnels.to_string()),
        ("flows", scene.flows.to_string()),
        ("workers", workers.to_string()),
    ];
    parameters.into_iter().map(|(k, v)| (k.to_owned(), v)).collect()
}
