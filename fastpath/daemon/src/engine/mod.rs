//! The crypto engines of this process: CPU libraries and DPDK crypto devices side by side.
//!
//! Each SA's key is made by the first engine in the configured order that runs its suite; from then on
//! all packets of that SA go there. Order is kept per SA.
mod device;

use config::model::Engine as Named;
use device::{DeviceKey, DeviceLane, Devices};
use dpdk::Mbuf;
use dpdk::crypto::QueuePair;
use fastpath::crypto::cpu::{CpuEngineKind, EngineError};
use fastpath::crypto::{CpuEngine, CpuKeys, Engine, Job, KeyMaker, KeyRecord, Keys, SaRef, Unsupported};
use sa::SaSpec;

pub enum Key {
    Cpu(KeyRecord),
    Device(DeviceKey),
}

/// Control-time half.
pub struct Maker {
    order: Vec<Choice>,
}
enum Choice {
    Cpu(CpuKeys),
    Devices(Devices),
}

/// Opens what the configuration names. An engine that is missing on this machine is said and passed over,
/// as long as one remains.
pub fn open(
    eal: &dpdk::Eal,
    engines: &[Named],
    workers: u16,
    sa_slots: u32,
) -> anyhow::Result<(Maker, Vec<WorkerEngine>)> {
    let mut order = Vec::new();
    let mut cpu = Vec::new();
    let mut pairs: Vec<Vec<QueuePair>> = (0..workers).map(|_| Vec::new()).collect();
    for engine in engines {
        match cpu_kind(*engine) {
            Some(kind) => match CpuKeys::new(&[kind]) {
                Ok(keys) => {
                    cpu.push(kind);
                    order.push(Choice::Cpu(keys));
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
    Ok((Maker { order }, engines))
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

impl KeyMaker for Maker {
    type Key = Key;
    fn make(&mut self, spec: &SaSpec) -> Result<Key, Unsupported> {
        let mut refusal = Unsupported { suite: spec.suite, why: "no engine is configured" };
        for choice in &mut self.order {
            let made = match choice {
                Choice::Cpu(keys) => keys.make(spec).map(Key::Cpu),
                Choice::Devices(devices) => devices.key(spec).map(Key::Device),
            };
            match made {
                Ok(key) => return Ok(key),
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
