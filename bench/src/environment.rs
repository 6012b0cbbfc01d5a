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
