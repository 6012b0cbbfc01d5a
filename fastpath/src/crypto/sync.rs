//! The CPU engines behind the seam: jobs are done when `submit` returns.
use super::cpu::CpuEngineKind;
use super::cpu::{CpuCrypto, EngineError, EspOp, KeyRecord};
use super::{Engine, Job, KeyMaker, Keys, Operation, Unsupported};
use sa::SaSpec;
use wire::PacketBuf;

/// Control-time half: expands keys.
pub struct CpuKeys(CpuCrypto);
impl CpuKeys {
    pub fn new(order: &[CpuEngineKind]) -> Result<Self, EngineError> {
        CpuCrypto::with_order(order).map(Self)
    }
}
impl KeyMaker for CpuKeys {
    type Key = KeyRecord;
    fn make(&mut self, spec: &SaSpec) -> Result<KeyRecord, Unsupported> {
        let (key, salt, integrity) =
            (spec.encryption_key.expose(), spec.salt.expose(), spec.integrity_key.expose());
        self.0.new_key(spec.suite, spec.direction, key, salt, integrity)
    }
}

/// Packets given to the library at a time.
const CHUNK: usize = 64;

/// Hot-path half: one per worker.
pub struct CpuEngine<B> {
    cpu: CpuCrypto,
    done: Vec<Job<B>>,
}
impl<B> CpuEngine<B> {
    /// The same order as the [`CpuKeys`] that makes its keys.
    pub fn new(order: &[CpuEngineKind]) -> Result<Self, EngineError> {
        Ok(Self { cpu: CpuCrypto::with_order(order)?, done: Vec::with_capacity(2 * CHUNK) })
    }
    pub fn describe(&self) -> String {
        self.cpu.describe()
    }
}

impl<B: PacketBuf> Engine<B> for CpuEngine<B> {
    type Key = KeyRecord;

    fn submit(&mut self, jobs: &mut Vec<Job<B>>, keys: &impl Keys<KeyRecord>) {
        let before = self.done.len();
        self.done.append(jobs);
        for chunk in self.done[before..].chunk_by_mut(|a, b| a.operation == b.operation) {
            chunk.chunks_mut(CHUNK).for_each(|chunk| run(&mut self.cpu, chunk, keys));
        }
    }
    fn collect(&mut self, done: &mut Vec<Job<B>>) {
        done.append(&mut self.done);
    }
    fn in_flight(&self) -> usize {
        self.done.len()
    }
}

/// At most `CHUNK` jobs of one operation. Jobs without key or with an impossible length keep `ok == false`.
fn run<B: PacketBuf>(cpu: &mut CpuCrypto, jobs: &mut [Job<B>], keys: &impl Keys<KeyRecord>) {
    let Some(operation) = jobs.first().map(|job| job.operation) else { return };
    let Some(any) = jobs.iter().find_map(|job| keys.key(job.sa)) else { return };
    let mut places = [0usize; CHUNK];
    let mut verdicts = [false; CHUNK];
    let mut ops: [EspOp<'_>; CHUNK] =
        std::array::from_fn(|_| EspOp { key: any, esp: &mut [], seq_high: None, ok: false });
    let mut count = 0;
    for (place, job) in jobs.iter_mut().enumerate() {
        let (key, seq_high) = (keys.key(job.sa), job.seq_high);
        if let (Some(key), Some(esp)) = (key, job.esp_mut()) {
            ops[count] = EspOp { key, esp, seq_high, ok: false };
            places[count] = place;
            count += 1;
        }
    }
    match operation {
        Operation::Seal => cpu.seal(&mut ops[..count]),
        Operation::Open => cpu.open(&mut ops[..count]),
    }
    for (verdict, op) in verdicts.iter_mut().zip(&ops[..count]) {
        *verdict = op.ok;
    }
    for (place, ok) in places.iter().zip(verdicts).take(count) {
        jobs[*place].ok = ok;
    }
}
