//! The environment abstraction layer: memory, lcores, plug-ins. Started once per process.
use crate::log::{self, Errno, Said};
use dpdk_sys as sys;
use sa::PciAddress;
use std::ffi::{CString, c_char, c_int, c_void};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::{fmt, thread};

/// A logical core of DPDK and the CPU it is pinned to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lcore {
    pub id: u32,
    pub cpu: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hugepages {
    /// Refuse to start without.
    Yes,
    No,
    /// Use them when enough are free for `memory_mib`; [`Eal::hugepages`] says what was chosen.
    Auto,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogLevel {
    Error = 4,
    Warning = 5,
    Notice = 6,
    Info = 7,
    Debug = 8,
}

/// PCI devices DPDK may touch. None by default: a NIC the host uses is never taken by accident.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PciAllow {
    pub address: PciAddress,
    /// `key=value` for the driver, separated by commas; may be empty.
    pub args: String,
}

#[derive(Clone, Debug)]
pub struct EalConfig {
    pub program: String,
    /// Names this process's shared files; unique among DPDK processes of the machine.
    pub file_prefix: String,
    pub main: Lcore,
    pub workers: Vec<Lcore>,
    pub memory_mib: u32,
    pub hugepages: Hugepages,
    pub pci: Vec<PciAllow>,
    /// Whole vdev strings for devices that must exist at start; [`crate::Port::open`] adds later ones.
    pub vdevs: Vec<String>,
    pub log_level: LogLevel,
    /// DPDK's own telemetry socket.
    pub telemetry: bool,
}

impl EalConfig {
    /// Main lcore 0 on CPU 0, no workers, 256 MiB, hugepages if there are any, no devices.
    pub fn new(file_prefix: impl Into<String>) -> Self {
        Self {
            program: "espway-fastpath".into(),
            file_prefix: file_prefix.into(),
            main: Lcore { id: 0, cpu: 0 },
            workers: Vec::new(),
            memory_mib: 256,
            hugepages: Hugepages::Auto,
            pci: Vec::new(),
            vdevs: Vec::new(),
            log_level: LogLevel::Warning,
            telemetry: false,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum EalError {
    #[error("DPDK was already started in this process; it can be started once only")]
    AlreadyStarted,
    #[error("the EAL argument `{0}` holds a zero byte")]
    ZeroByte(String),
    #[error("lcore {0} is given twice or beyond DPDK's limit of {max}", max = sys::RTE_MAX_LCORE - 1)]
    Lcore(u32),
    #[error(
        "compiled for DPDK {compiled} but {loaded} is loaded; rebuild against the installed libdpdk-dev, \
         or install the runtime libraries of {compiled}"
    )]
    Version { compiled: String, loaded: String },
    #[error(
        "{want} MiB of hugepages are needed and {free} MiB are free; reserve more (vm.nr_hugepages) or set hugepages=no"
    )]
    NoHugepages { want: u32, free: u64 },
    #[error("DPDK did not start: {errno}{said}")]
    Init { errno: Errno, said: Said },
    #[error("lcore {0} is not a worker of this process")]
    NotAWorker(u32),
    #[error("lcore {0} still runs what was launched on it before")]
    Busy(u32),
    #[error("work is launched from the main lcore only")]
    NotMain,
    #[error("the worker on lcore {0} panicked")]
    Panicked(u32),
}

static STARTED: AtomicBool = AtomicBool::new(false);

/// Proof that DPDK runs. It runs until the process ends; dropping this does not stop it.
#[derive(Debug)]
pub struct Eal {
    hugepages: bool,
    workers: Vec<Lcore>,
    main: Lcore,
}

impl Eal {
    /// Starts DPDK, pins the calling thread to the main lcore's CPU and makes the worker threads.
    pub fn init(config: &EalConfig) -> Result<Self, EalError> {
        check_version()?;
        check_lcores(config)?;
        let hugepages = choose_hugepages(config)?;
        let args = arguments(config, hugepages)?;
        if STARTED.swap(true, Ordering::AcqRel) {
            return Err(EalError::AlreadyStarted);
        }
        log::install();
        log::begin();
        // DPDK permutes the array and keeps pointers into the texts, so both stay for ever.
        let argv: &'static mut [*mut c_char] =
            args.into_iter().map(CString::into_raw).collect::<Vec<_>>().leak();
        let argc = c_int::try_from(argv.len()).unwrap_or(c_int::MAX);
        // SAFETY: `argv` holds `argc` writable C texts that are never freed; `STARTED` makes this
        // the only call in the process.
        let code = unsafe { sys::rte_eal_init(argc, argv.as_mut_ptr()) };
        remove_empty_runtime_dir();
        if code < 0 {
            return Err(EalError::Init { errno: Errno::last(), said: log::said() });
        }
        Ok(Self { hugepages, workers: config.workers.clone(), main: config.main })
    }

    pub fn hugepages(&self) -> bool {
        self.hugepages
    }
    pub fn main_lcore(&self) -> Lcore {
        self.main
    }
    pub fn workers(&self) -> &[Lcore] {
        &self.workers
    }
    /// The running DPDK, as in `DPDK 22.11.11`.
    pub fn version() -> String {
        // SAFETY: returns a static text.
        unsafe { std::ffi::CStr::from_ptr(sys::rte_version()) }.to_string_lossy().into_owned()
    }

    /// Runs `work` on a worker lcore, which is idle until then and after it.
    pub fn launch<T, F>(&self, lcore: u32, work: F) -> Result<Worker<T>, EalError>
    where
        F: FnOnce() -> T + Send + 'static,
        T: Send + 'static,
    {
        // SAFETY: both read what `rte_eal_init` has set.
        if unsafe { sys::shim_lcore_id() != sys::rte_get_main_lcore() } {
            return Err(EalError::NotMain);
        }
        if !self.workers.iter().any(|worker| worker.id == lcore) {
            return Err(EalError::NotAWorker(lcore));
        }
        let result = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&result);
        let job: Job = Box::new(move || {
            let outcome = catch_unwind(AssertUnwindSafe(work));
            *slot.lock().unwrap_or_else(|poisoned| poisoned.into_inner()) = Some(outcome);
        });
        let job = Box::into_raw(Box::new(job));
        // SAFETY: `run_job` takes the box over exactly once, on the worker; the lcore is a worker.
        if unsafe { sys::rte_eal_remote_launch(Some(run_job), job.cast(), lcore) } != 0 {
            // SAFETY: the launch was refused, so nobody else has the box.
            drop(unsafe { Box::from_raw(job) });
            return Err(EalError::Busy(lcore));
        }
        Ok(Worker { lcore, result })
    }
}

type Job = Box<dyn FnOnce() + Send>;

unsafe extern "C" fn run_job(job: *mut c_void) -> c_int {
    // SAFETY: `launch` made this box and gave it away.
    let job = unsafe { Box::from_raw(job.cast::<Job>()) };
    job();
    0
}

/// Work on another lcore. Dropping it lets the work go on.
#[must_use]
pub struct Worker<T> {
    lcore: u32,
    result: Arc<Mutex<Option<thread::Result<T>>>>,
}
impl<T> Worker<T> {
    pub fn lcore(&self) -> u32 {
        self.lcore
    }
    pub fn is_running(&self) -> bool {
        // SAFETY: reads the state of an existing lcore.
        unsafe { sys::rte_eal_get_lcore_state(self.lcore) == sys::RUNNING }
    }
    /// Waits until the work is done. A panic in it is an error here.
    pub fn join(self) -> Result<T, EalError> {
        // SAFETY: waits for an existing lcore.
        unsafe { sys::rte_eal_wait_lcore(self.lcore) };
        let outcome = self.result.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take();
        match outcome {
            Some(Ok(value)) => Ok(value),
            _ => Err(EalError::Panicked(self.lcore)),
        }
    }
}
impl<T> fmt::Debug for Worker<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Worker(lcore {})", self.lcore)
    }
}

/// This thread's lcore, or `None` outside DPDK's threads.
pub fn lcore_id() -> Option<u32> {
    // SAFETY: reads a thread-local integer.
    let id = unsafe { sys::shim_lcore_id() };
    (id < sys::RTE_MAX_LCORE).then_some(id)
}

/// Structures are those of the headers compiled against; another release lays them out differently.
fn check_version() -> Result<(), EalError> {
    // SAFETY: all of them return constants.
    let (compiled, loaded) = unsafe {
        (
            (sys::shim_version_year(), sys::shim_version_month(), sys::shim_version_minor()),
            (sys::rte_version_year(), sys::rte_version_month(), sys::rte_version_minor()),
        )
    };
    // Minor releases of one long-term version keep the ABI.
    if (compiled.0, compiled.1) == (loaded.0, loaded.1) {
        return Ok(());
    }
    let text = |(year, month, minor): (u32, u32, u32)| format!("{year}.{month:02}.{minor}");
    Err(EalError::Version { compiled: text(compiled), loaded: text(loaded) })
}

/// DPDK makes a directory per file prefix and leaves it behind. Without shared files and telemetry
/// nothing is ever in it; with something in it this does nothing.
fn remove_empty_runtime_dir() {
    // SAFETY: returns a text that lives as long as the process.
    let dir = unsafe { std::ffi::CStr::from_ptr(sys::rte_eal_get_runtime_dir()) };
    if let Ok(dir) = dir.to_str().map(std::path::Path::new)
        && dir.is_absolute()
    {
        let _ = std::fs::remove_dir(dir);
    }
}

fn check_lcores(config: &EalConfig) -> Result<(), EalError> {
    let all: Vec<u32> =
        std::iter::once(config.main).chain(config.workers.iter().copied()).map(|l| l.id).collect();
    match all.iter().enumerate().find(|(at, id)| **id >= sys::RTE_MAX_LCORE || all[..*at].contains(id)) {
        Some((_, id)) => Err(EalError::Lcore(*id)),
        None => Ok(()),
    }
}

/// MiB in free hugepages of every size.
pub fn free_hugepage_mib() -> u64 {
    let number = |path: std::path::PathBuf| std::fs::read_to_string(path).ok()?.trim().parse::<u64>().ok();
    let Ok(sizes) = std::fs::read_dir("/sys/kernel/mm/hugepages") else { return 0 };
    sizes
        .flatten()
        .filter_map(|entry| {
            let name = entry.file_name().into_string().ok()?;
            let kib = name.strip_prefix("hugepages-")?.strip_suffix("kB")?.parse::<u64>().ok()?;
            Some(number(entry.path().join("free_hugepages"))?.saturating_mul(kib) / 1024)
        })
        .sum()
}

fn choose_hugepages(config: &EalConfig) -> Result<bool, EalError> {
    let free = free_hugepage_mib();
    let enough = free >= u64::from(config.memory_mib);
    match config.hugepages {
        Hugepages::No => Ok(false),
        Hugepages::Auto => Ok(enough),
        Hugepages::Yes if enough => Ok(true),
        Hugepages::Yes => Err(EalError::NoHugepages { want: config.memory_mib, free }),
    }
}

fn arguments(config: &EalConfig, hugepages: bool) -> Result<Vec<CString>, EalError> {
    let mut args: Vec<String> = vec![config.program.clone()];
    let lcores: Vec<String> = std::iter::once(&config.main)
        .chain(&config.workers)
        .map(|lcore| format!("{}@{}", lcore.id, lcore.cpu))
        .collect();
    args.push(format!("--lcores={}", lcores.join(",")));
    args.push(format!("--main-lcore={}", config.main.id));
    args.push(format!("--file-prefix={}", config.file_prefix));
    args.push(format!("--log-level={}", config.log_level as u32));
    if !config.telemetry {
        args.push("--no-telemetry".into());
    }
    args.push(format!("-m{}", config.memory_mib));
    if hugepages {
        // Key material must not stay behind in files of a hugetlbfs: memory is anonymous. One file
        // descriptor per segment list lets vhost-user and virtio-user map it (they take 8 regions).
        args.extend(["--in-memory", "--single-file-segments"].map(String::from));
    } else {
        // `--in-memory` is refused together with `--no-huge`; this leaves out the shared files alone.
        args.extend(["--no-huge", "--no-shconf"].map(String::from));
    }
    if config.pci.is_empty() {
        args.push("--no-pci".into());
    }
    for pci in &config.pci {
        let comma = if pci.args.is_empty() { "" } else { "," };
        args.push(format!("--allow={}{comma}{}", pci.address, pci.args));
    }
    args.extend(config.vdevs.iter().map(|vdev| format!("--vdev={vdev}")));
    args.into_iter()
        .map(|arg| {
            CString::new(arg).map_err(|e| EalError::ZeroByte(String::from_utf8_lossy(&e.into_vec()).into()))
        })
        .collect()
}
