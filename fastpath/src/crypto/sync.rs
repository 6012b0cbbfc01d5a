//! The CPU engines behind the seam: jobs are done when `submit` returns.
use super::cpu::CpuEngineKind;
use super::cpu::{CpuCrypto, EngineError, KeyRecord, STAGE as CHUNK, Work};
use super::{Engine, Job, KeyMaker, Keys, Operation, Part, SaRef, Unsupported, at_once};
use sa::{Direction, SaSpec};
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
        take_over(jobs, &mut self.done);
        for chunk in self.done[before..].chunk_by_mut(|a, b| a.operation == b.operation) {
            chunk.chunks_mut(CHUNK).for_each(|chunk| run(&mut self.cpu, chunk, keys));
        }
    }
    fn collect(&mut self, done: &mut Vec<Job<B>>) {
        take_over(&mut self.done, done);
    }
    fn in_flight(&self) -> usize {
        self.done.len()
    }

    #[inline]
    fn is_at_once(&self, key: &KeyRecord, operation: Operation) -> bool {
        key.is_native(direction(operation))
    }
    #[inline]
    fn at_once(
        &mut self,
        operation: Operation,
        packets: &mut [B],
        parts: &mut [Part],
        keys: &impl Keys<KeyRecord>,
    ) {
        match operation {
            Operation::Seal => at_once::run::<_, true>(packets, parts, keys),
            Operation::Open => at_once::run::<_, false>(packets, parts, keys),
        }
    }
}
#[inline(always)]
const fn direction(operation: Operation) -> Direction {
    match operation {
        Operation::Seal => Direction::Outbound,
        Operation::Open => Direction::Inbound,
    }
}

/// Moves all jobs behind those that are there. Vectors change places where that does it.
fn take_over<B>(from: &mut Vec<Job<B>>, to: &mut Vec<Job<B>>) {
    if to.is_empty() {
        std::mem::swap(from, to);
    } else {
        to.append(from);
    }
}

/// At most `CHUNK` jobs of one operation. Jobs without key or with an impossible length keep `ok == false`.
fn run<B: PacketBuf>(cpu: &mut CpuCrypto, jobs: &mut [Job<B>], keys: &impl Keys<KeyRecord>) {
    let Some(operation) = jobs.first().map(|job| job.operation) else { return };
    let direction = direction(operation);
    let mut found: [Option<&KeyRecord>; CHUNK] = [None; CHUNK];
    // Packets of one SA come in runs.
    let mut before: Option<(SaRef, Option<&KeyRecord>)> = None;
    for (found, job) in found.iter_mut().zip(jobs.iter()) {
        *found = match before {
            Some((sa, key)) if sa == job.sa => key,
            _ => keys.key(job.sa),
        };
        before = Some((job.sa, *found));
    }
    cpu.run_jobs(jobs, &found, direction);
}

impl<B: PacketBuf> Work for Job<B> {
    #[inline(always)]
    fn esp(&mut self) -> Option<&mut [u8]> {
        self.esp_mut()
    }
    #[inline(always)]
    fn esp_len(&self) -> usize {
        self.esp_len.into()
    }
    #[inline(always)]
    fn seq_high(&self) -> Option<u32> {
        self.seq_high
    }
    #[inline(always)]
    fn done(&mut self, ok: bool) {
        self.ok = ok;
    }
}
