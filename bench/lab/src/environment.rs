//! What a result depends on besides the code, written down with it.
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Environment {
    pub cpu: String,
    pub cpus: usize,
    pub mhz: f64,
    pub ticks_per_second: f64,
    pub flags: Vec<String>,
    pub hypervisor: bool,
    pub kernel: String,
    pub kernel_command_line: String,
    pub isolated_cpus: String,
    pub nohz_full: String,
    pub governor: String,
    /// Size of a page in kB and how many there are and are free.
    pub hugepages: BTreeMap<String, [u64; 2]>,
    pub dpdk: String,
    pub espway: String,
    pub profile: String,
    pub load_at_start: String,
}

const FLAGS: [&str; 10] = [
    "aes",
    "pclmulqdq",
    "avx2",
    "vaes",
    "vpclmulqdq",
    "avx512f",
    "sha_ni",
    "gfni",
    "constant_tsc",
    "nonstop_tsc",
];

impl Environment {
    pub fn look() -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|l| l.starts_with(name));
            line.and_then(|l| l.split_once(':')).map(|(_, v)| v.trim().to_owned()).unwrap_or_default()
        };
        let has = field("flags");
        let has: Vec<&str> = has.split(' ').collect();
        let command_line = read("/proc/cmdline").trim().to_owned();
        Self {
            cpu: field("model name"),
            cpus: cpuinfo.lines().filter(|l| l.starts_with("processor")).count(),
            mhz: field("cpu MHz").parse().unwrap_or(0.0),
            ticks_per_second: bench::clock::frequency().round(),
            flags: FLAGS.into_iter().filter(|f| has.contains(f)).map(Into::into).collect(),
            hypervisor: has.contains(&"hypervisor"),
            kernel: read("/proc/sys/kernel/osrelease").trim().into(),
            // Words that name disks or hosts are nobody's business.
            kernel_command_line: command_line
                .split(' ')
                .filter(|word| TELLING.iter().any(|t| word.starts_with(t)))
                .collect::<Vec<_>>()
                .join(" "),
            isolated_cpus: read("/sys/devices/system/cpu/isolated").trim().into(),
            nohz_full: read("/sys/devices/system/cpu/nohz_full").trim().replace("(null)", ""),
            governor: read("/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor").trim().into(),
            hugepages: hugepages(),
            dpdk: dpdk::Eal::version(),
            espway: format!("{} ({})", env!("CARGO_PKG_VERSION"), env!("ESPWAY_COMMIT")),
            profile: if cfg!(debug_assertions) { "debug: the numbers mean nothing" } else { "release" }
                .into(),
            load_at_start: read("/proc/loadavg").trim().into(),
        }
    }
    /// One line for a terminal.
    pub fn line(&self) -> String {
        let isolation = match (&self.isolated_cpus[..], &self.nohz_full[..]) {
            ("", "") => "no CPU isolated".to_owned(),
            (isolated, full) => format!("isolated: {isolated:?}, nohz_full: {full:?}"),
        };
        format!(
            "{}, {} CPUs, {:.3} GHz TSC{}, kernel {}, {}, {isolation}, espway {}, {} build",
            self.cpu,
            self.cpus,
            self.ticks_per_second / 1e9,
            if self.hypervisor { ", virtual machine" } else { "" },
            self.kernel,
            self.dpdk,
            self.espway,
            self.profile
        )
    }
}

/// Options of the kernel that change a measurement.
const TELLING: [&str; 10] = [
    "isolcpus",
    "nohz",
    "rcu_nocb",
    "mitigations",
    "intel_pstate",
    "processor.max_cstate",
    "idle",
    "hugepage",
    "default_hugepage",
    "intel_iommu",
];

fn hugepages() -> BTreeMap<String, [u64; 2]> {
    let Ok(sizes) = std::fs::read_dir("/sys/kernel/mm/hugepages") else { return BTreeMap::new() };
    let of = |entry: std::fs::DirEntry| {
        let name = entry.file_name().into_string().ok()?;
        let size = name.strip_prefix("hugepages-")?.to_owned();
        let number = |file| read(entry.path().join(file)).trim().parse().unwrap_or(0);
        Some((size, [number("nr_hugepages"), number("free_hugepages")]))
    };
    sizes.flatten().filter_map(of).collect()
}

fn read(path: impl AsRef<Path>) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

/// Nanoseconds a thread was ready to run and did not.
pub fn run_delay(schedstat: &Path) -> u64 {
    read(schedstat).split(' ').nth(1).and_then(|n| n.parse().ok()).unwrap_or(0)
}

/// How the kernel schedules this thread.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Policy {
    Shared,
    RealTimeFifo,
    RealTimeTurns,
}
pub fn policy() -> Policy {
    let stat = read("/proc/thread-self/stat");
    // The program's name may hold anything; field 41, the policy, is the 39th behind it.
    match stat.rsplit_once(") ").and_then(|(_, rest)| rest.split(' ').nth(38)?.parse::<u32>().ok()) {
        Some(1) => Policy::RealTimeFifo,
        Some(2) => Policy::RealTimeTurns,
        _ => Policy::Shared,
    }
}

/// Time the hypervisor gave to others, in nanoseconds summed over CPUs.
pub fn steal() -> u64 {
    let stat = read("/proc/stat");
    let ticks = stat.lines().next().and_then(|l| l.split_whitespace().nth(8)).and_then(|n| n.parse().ok());
    ticks.unwrap_or(0u64) * 1_000_000_000 / rustix::param::clock_ticks_per_second().max(1)
}

/// What the machine did to us during a trial.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Disturbance {
    /// Time the hypervisor took from all CPUs.
    pub steal_us: u64,
    /// Time the gateway's workers, and the tester, waited for a CPU.
    pub worker_wait_us: u64,
    pub tester_wait_us: u64,
}
#[derive(Clone, Copy, Debug)]
pub struct Watch {
    steal: u64,
    worker: u64,
    tester: u64,
}
impl Watch {
    pub fn start(worker_waits: u64) -> Self {
        let tester = run_delay(Path::new("/proc/thread-self/schedstat"));
        Self { steal: steal(), worker: worker_waits, tester }
    }
    pub fn end(self, worker_waits: u64) -> Disturbance {
        let now = Self::start(worker_waits);
        let us = |now: u64, before: u64| now.saturating_sub(before) / 1000;
        Disturbance {
            steal_us: us(now.steal, self.steal),
            worker_wait_us: us(now.worker, self.worker),
            tester_wait_us: us(now.tester, self.tester),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_machine_is_described() {
        let environment = Environment::look();
        assert!(environment.cpus > 0 && !environment.kernel.is_empty());
        assert!(environment.ticks_per_second > 1e6);
        assert!(environment.line().contains(&environment.kernel));
        let text = serde_json::to_string(&environment).expect("JSON");
        let back: Environment = serde_json::from_str(&text).expect("the same");
        assert_eq!(back.cpu, environment.cpu);
    }
    #[test]
    fn waiting_is_read_from_the_scheduler() {
        let delay = run_delay(Path::new("/proc/thread-self/schedstat"));
        assert!(delay < 3_600_000_000_000, "{delay} ns");
    }
}
