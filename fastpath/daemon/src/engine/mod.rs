//! The crypto engines of this process: CPU libraries and DPDK crypto devices side by side.
//!
//! Each SA's key is made by the first engine in the configured order that runs its suite; from then on
//! all packets of that SA go there. Order is kept per SA. Without a configured order each suite has an order of its own,
//! the measured one; devices are not in it, since the software ones cost more than the libraries behind them.
mod device;

use config::model::Engine as Named;
use device::{DeviceKey, DeviceLane, Devices};
use dpdk::Mbuf;
use dpdk::crypto::QueuePair;
use fastpath::crypto::cpu::{CpuEngineKind, EngineError};
use fastpath::crypto::{
    Automatic, CpuEngine, CpuKeys, Engine, Job, KeyMaker, KeyRecord, Keys, SaRef, Unsupported,
};
use ipc::SaEngine;
use sa::SaSpec;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering::Relaxed};

pub enum Key {
    Cpu(KeyRecord),
    Device(DeviceKey),
}

/// Control-time half.
pub struct Maker {
    order: Vec<Choice>,
    automatic: Option<Automatic>,
    made: Made,
}
/// By which engine the last key was made: for the status, which outlives the key's way into the table.
#[derive(Clone, Default)]
pub struct Made(Arc<AtomicU8>);
impl Made {
    pub fn engine(&self) -> Option<SaEngine> {
        SaEngine::from_u8(self.0.load(Relaxed))
    }
}
enum Choice {
    Cpu(CpuEngineKind, CpuKeys),
    Devices(Devices),
}

/// Opens what the configuration names, or all CPU engines and the fastest first. An engine that is missing on this
/// machine is said and passed over, as long as one remains.
pub fn open(
    eal: &dpdk::Eal,
    engines: Option<&[Named]>,
    workers: u16,
    sa_slots: u32,
) -> anyhow::Result<(Maker, Vec<WorkerEngine>)> {
    let automatic = engines.is_none().then(measured);
    let present = automatic.as_ref().map(|a| a.present().iter().map(|kind| named(*kind)).collect::<Vec<_>>());
    let engines = engines.or(present.as_deref()).unwrap_or_default();
    let mut order = Vec::new();
    let mut cpu = Vec::new();
    let mut pairs: Vec<Vec<QueuePair>> = (0..workers).map(|_| Vec::new()).collect();
    for engine in engines {
        match cpu_kind(*engine) {
            Some(kind) => match CpuKeys::new(&[kind]) {
                Ok(keys) => {
                    cpu.push(kind);
                    order.push(Choice::Cpu(kind, keys));
                }
                Err(error) => tracing::warn!("{error}; going on without it"),
            },
            None => {
                let (devices, queues) = Devices::open(eal, workers, sa_slots)?;
                for (of_worker, queue) in pairs.iter_mut().zip(queues) {
                    of_worker.extend(queue);
                }
                order.push(Choice::Devices(devices));
            }
        }
    }
    anyhow::ensure!(!order.is_empty(), "none of the crypto engines of system.crypto.engines is usable here");
    let build = |pairs| WorkerEngine::new(&cpu, pairs);
    let engines = pairs.into_iter().map(build).collect::<Result<_, _>>()?;
    Ok((Maker { order, automatic, made: Made::default() }, engines))
}

/// Measures, and says what was found.
fn measured() -> Automatic {
    let from = std::time::Instant::now();
    let (automatic, absent) = Automatic::measure();
    let millis = from.elapsed().as_millis();
    for error in absent {
        match error {
            EngineError::IpsecMb(_) => {
                tracing::warn!(
                    "{error}; all but AES-GCM and ChaCha20-Poly1305 runs several times slower without it"
                );
            }
            _ => tracing::info!("{error}"),
        }
    }
    let (measured, settled): (Vec<_>, Vec<_>) =
        automatic.picks().iter().partition(|pick| !pick.others.is_empty());
    for pick in measured {
        tracing::info!("crypto: {pick}");
    }
    for kind in automatic.present() {
        let mut ciphers: Vec<_> =
            settled.iter().filter(|pick| pick.engine == *kind).map(|p| p.suite.encryption().name()).collect();
        ciphers.dedup();
        if !ciphers.is_empty() {
            tracing::info!("crypto: on {kind} without a rival here: {}", ciphers.join(", "));
        }
    }
    tracing::info!(millis, "crypto: engines chosen by measurement; system.crypto.engines would fix them");
    automatic
}
fn named(kind: CpuEngineKind) -> Named {
    match kind {
        CpuEngineKind::Native => Named::Native,
        CpuEngineKind::IpsecMb => Named::IpsecMb,
        CpuEngineKind::Ring => Named::Ring,
        CpuEngineKind::RustCrypto => Named::RustCrypto,
    }
}

fn cpu_kind(engine: Named) -> Option<CpuEngineKind> {
    match engine {
        Named::Cryptodev => None,
        Named::Native => Some(CpuEngineKind::Native),
        Named::IpsecMb => Some(CpuEngineKind::IpsecMb),
        Named::Ring => Some(CpuEngineKind::Ring),
        Named::RustCrypto => Some(CpuEngineKind::RustCrypto),
    }
}

impl Maker {
    pub fn made(&self) -> Made {
        self.made.clone()
    }
}
impl Choice {
    fn name(&self) -> SaEngine {
        match self {
            Self::Devices(_) => SaEngine::Cryptodev,
            Self::Cpu(CpuEngineKind::Native, _) => SaEngine::Native,
            Self::Cpu(CpuEngineKind::IpsecMb, _) => SaEngine::IpsecMb,
            Self::Cpu(CpuEngineKind::Ring, _) => SaEngine::Ring,
            Self::Cpu(CpuEngineKind::RustCrypto, _) => SaEngine::RustCrypto,
        }
    }
}

impl KeyMaker for Maker {
    type Key = Key;
    fn make(&mut self, spec: &SaSpec) -> Result<Key, Unsupported> {
        let mut refusal = Unsupported { suite: spec.suite, why: "no engine is configured" };
        let pick = self.automatic.as_ref().and_then(|automatic| automatic.engine(spec.suite));
        let is_pick = |choice: &Choice| matches!(choice, Choice::Cpu(kind, _) if Some(*kind) == pick);
        let first = self.order.iter().position(is_pick);
        for at in first.into_iter().chain((0..self.order.len()).filter(|at| Some(*at) != first)) {
            let made = match &mut self.order[at] {
                Choice::Cpu(_, keys) => keys.make(spec).map(Key::Cpu),
                Choice::Devices(devices) => devices.key(spec).map(Key::Device),
            };
            match made {
                Ok(key) => {
                    self.made.0.store(self.order[at].name() as u8, Relaxed);
                    return Ok(key);
                }
                Err(why) => refusal = why,
            }
        }
        Err(refusal)
    }
}

/// Hot-path half, one per worker.
pub struct WorkerEngine {
    cpu: Option<CpuEngine<Mbuf>>,
    device: DeviceLane,
    /// Jobs of a burst for the CPU; keeps its room.
    for_cpu: Vec<Job<Mbuf>>,
    /// Jobs a full device did not take.
    left: Vec<Job<Mbuf>>,
}

impl WorkerEngine {
    fn new(cpu: &[CpuEngineKind], pairs: Vec<QueuePair>) -> Result<Self, EngineError> {
        let cpu = if cpu.is_empty() { None } else { Some(CpuEngine::new(cpu)?) };
        Ok(Self {
            cpu,
            device: DeviceLane::new(pairs),
            for_cpu: Vec::with_capacity(128),
            left: Vec::with_capacity(128),
        })
    }
}

/// The CPU engine's view of a table of mixed keys.
struct CpuOnly<'a, K>(&'a K);
impl<K: Keys<Key>> Keys<KeyRecord> for CpuOnly<'_, K> {
    fn key(&self, sa: SaRef) -> Option<&KeyRecord> {
        match self.0.key(sa)? {
            Key::Cpu(key) => Some(key),
            Key::Device(_) => None,
        }
    }
}

impl Engine<Mbuf> for WorkerEngine {
    type Key = Key;

    fn submit(&mut self, jobs: &mut Vec<Job<Mbuf>>, keys: &impl Keys<Key>) {
        if self.device.is_empty() {
            if let Some(cpu) = &mut self.cpu {
                cpu.submit(jobs, &CpuOnly(keys));
            }
            return;
        }
        let mut full = false;
        for job in jobs.drain(..) {
            match keys.key(job.sa) {
                Some(Key::Device(_)) if full => self.left.push(job),
                Some(Key::Device(key)) => {
                    if let Err(job) = self.device.push(job, key) {
                        full = true;
                        self.left.push(job);
                    }
                }
                // Without a key the CPU engine gives the verdict.
                Some(Key::Cpu(_)) | None => self.for_cpu.push(job),
            }
        }
        self.device.flush();
        match &mut self.cpu {
            Some(cpu) => cpu.submit(&mut self.for_cpu, &CpuOnly(keys)),
            None => self.device.fail(&mut self.for_cpu),
        }
        jobs.append(&mut self.left);
    }

    fn collect(&mut self, done: &mut Vec<Job<Mbuf>>) {
        if let Some(cpu) = &mut self.cpu {
            cpu.collect(done);
        }
        self.device.collect(done);
    }

    fn in_flight(&self) -> usize {
        self.cpu.as_ref().map_or(0, Engine::in_flight) + self.device.in_flight()
    }
}
