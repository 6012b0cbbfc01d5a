//! What a measurement depends on besides the code.
use crate::clock;
use serde::Serialize;

#[derive(Clone, Debug, Serialize)]
pub struct Environment {
    pub cpu: String,
    /// Those instruction sets that the engines look for.
    pub flags: Vec<String>,
    pub kernel: String,
    pub profile: &'static str,
    pub unit: &'static str,
    pub ticks_per_second: f64,
    pub pinned_to_core: Option<usize>,
    /// As the library describes itself: version and the instruction set it chose.
    pub ipsec_mb: String,
    pub dpdk: &'static str,
    /// Of this machine's time while the run lasted: what the hypervisor gave to others.
    pub steal_percent: Option<f64>,
    /// Large pages for the buffers: `always`, `madvise` or `never`.
    pub transparent_hugepages: String,
    pub tables: Vec<Tables>,
    /// What the figures are about.
    pub counted: &'static str,
}

/// Tables that rows share: those of two gateways.
#[derive(Clone, Debug, Serialize)]
pub struct Tables {
    pub suite: String,
    pub sas: usize,
    pub policies: usize,
    pub set_up_seconds: f64,
    /// What the process grew by.
    pub resident_mib: u64,
}

const FLAGS: [&str; 9] =
    ["aes", "pclmulqdq", "avx2", "vaes", "vpclmulqdq", "avx512f", "sha_ni", "gfni", "constant_tsc"];

impl Environment {
    pub fn look(core: Option<usize>) -> Self {
        let cpuinfo = std::fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
        let field = |name: &str| {
            let line = cpuinfo.lines().find(|l| l.starts_with(name));
            line.and_then(|l| l.split_once(':')).map(|(_, v)| v.trim().to_owned()).unwrap_or_default()
        };
        let has = field("flags");
        let flags = FLAGS.into_iter().filter(|f| has.split(' ').any(|h| h == *f)).map(Into::into).collect();
        let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
        let ipsec_mb = match ipsec_mb::Manager::new() {
            Ok(m) => format!("{} ({})", m.version(), m.arch()),
            Err(e) => e.to_string(),
        };
        Self {
            cpu: field("model name"),
            flags,
            kernel: kernel.trim().into(),
            profile: if cfg!(debug_assertions) { "debug: the numbers mean nothing" } else { "release" },
            unit: clock::UNIT,
            ticks_per_second: clock::frequency().round(),
            pinned_to_core: core,
            ipsec_mb,
            dpdk: "not involved",
            steal_percent: None,
            transparent_hugepages: hugepages(),
            tables: Vec::new(),
            counted: crate::report::COUNTED,
        }
    }
}

/// Pins this thread to the last core, where the least else runs. `None` when the system does not let it.
pub fn pin(wanted: Option<usize>) -> Option<usize> {
    let cores = core_affinity::get_core_ids()?;
    let core = match wanted {
        Some(id) => cores.into_iter().find(|c| c.id == id)?,
        None => cores.into_iter().next_back()?,
    };
    core_affinity::set_for_current(core).then_some(core.id)
}

fn hugepages() -> String {
    let text = std::fs::read_to_string("/sys/kernel/mm/transparent_hugepage/enabled").unwrap_or_default();
    let chosen = text.split(['[', ']']).nth(1);
    chosen.unwrap_or("unknown").into()
}

/// What this process has in memory.
pub fn resident_mib() -> u64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages = statm.split_whitespace().nth(1).and_then(|n| n.parse::<u64>().ok()).unwrap_or(0);
    (pages * 4096) >> 20
}

/// Ticks of all cores so far: stolen, and all.
pub fn steal() -> Option<(u64, u64)> {
    let stat = std::fs::read_to_string("/proc/stat").ok()?;
    let all: Vec<u64> =
        stat.lines().next()?.split_whitespace().skip(1).take(8).filter_map(|n| n.parse().ok()).collect();
    Some((*all.get(7)?, all.iter().sum()))
}
pub fn steal_since(before: Option<(u64, u64)>) -> Option<f64> {
    let (stolen, all) = steal()?;
    let (stolen_before, all_before) = before?;
    let share = (stolen - stolen_before) as f64 / (all - all_before).max(1) as f64;
    Some((share * 1e4).round() / 1e2)
}
