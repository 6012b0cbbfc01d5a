//! The seam between the graph and whatever does the arithmetic of ESP.
//!
//! Two halves. At control time a [`KeyMaker`] turns an SA's specification into a key the engine can run
//! (expanded AES keys for the CPU, a session for a crypto device). On the hot path each worker owns an
//! [`Engine`]: it hands over whole packets as [`Job`]s and gets them back, sealed or opened, maybe much
//! later. A job owns its packet and carries what finishing it needs, so that nothing waits in between.
//!
//! Keys are found through the SA table at submission. The worker keeps the table a job was submitted
//! under alive until the job has come back, so a key outlives every operation that uses it.
mod at_once;
pub mod auto;
pub mod cpu;
mod mb;
pub mod native;
mod ring;
mod rustcrypto;
pub mod sync;

pub use auto::Automatic;
pub use cpu::{CpuCrypto, CpuEngineKind, KeyRecord};
pub use sync::{CpuEngine, CpuKeys};

use crate::graph::Context;
use sa::{SaSpec, Suite};
use wire::PacketBuf;

/// One SA direction's key cannot be made by this engine; another may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{suite} cannot run here: {why}")]
pub struct Unsupported {
    pub suite: Suite,
    pub why: &'static str,
}

/// Control-time half of an engine; lives on the control thread.
pub trait KeyMaker {
    /// What one SA direction needs on the hot path. Shared by all workers, wiped on drop.
    type Key: Send + Sync + 'static;
    /// `spec.suite`, `spec.direction` and the three keys decide; the rest of `spec` is only looked at
    /// by engines that offload more than the arithmetic.
    fn make(&mut self, spec: &SaSpec) -> Result<Self::Key, Unsupported>;
}

/// Which SA a job belongs to: the slot, and the number of the installation that filled it, since slots
/// are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SaRef {
    pub slot: u32,
    pub install: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Operation {
    /// Encrypt what follows the IV and write the ICV. The IV and the trailer are already in place.
    Seal,
    /// Check the ICV and decrypt in place. `ok` tells the verdict.
    Open,
}

/// One packet on its way through an engine.
#[derive(Debug)]
pub struct Job<B> {
    pub packet: B,
    pub sa: SaRef,
    pub operation: Operation,
    /// Where the SPI starts in `packet.data()`.
    pub esp_at: u16,
    /// Bytes from the SPI to the end of the ICV.
    pub esp_len: u16,
    /// High half of the sequence number when the SA uses ESN; it is authenticated but not sent.
    pub seq_high: Option<u32>,
    /// The engine's verdict. False until then.
    pub ok: bool,
    pub context: Context,
}

impl<B: PacketBuf> Job<B> {
    /// SPI to end of ICV. `None` only if someone shrank the packet behind the job's back.
    pub fn esp_mut(&mut self) -> Option<&mut [u8]> {
        let at = usize::from(self.esp_at);
        self.packet.data_mut().get_mut(at..at + usize::from(self.esp_len))
    }
}

/// One of several packets that lie side by side, for [`Engine::at_once`].
#[derive(Clone, Copy, Debug)]
pub struct Part {
    pub sa: SaRef,
    /// Where the SPI starts in the packet.
    pub at: u16,
    /// Bytes from the SPI to the end of the ICV.
    pub len: u16,
    /// As in [`Job`].
    pub seq_high: Option<u32>,
    /// The engine's verdict. False until then.
    pub ok: bool,
}

/// Finds keys by job. `None` when the SA is gone.
pub trait Keys<K> {
    fn key(&self, sa: SaRef) -> Option<&K>;
}

/// Hot-path half of an engine; one per worker, never shared.
///
/// Contract: every job submitted comes back from `collect` exactly once and in the order of submission.
/// A job whose key is gone or that the engine failed comes back with `ok == false`.
pub trait Engine<B: PacketBuf> {
    type Key: Send + Sync + 'static;
    /// Takes jobs from the front of `jobs`, as many as it has room for; the rest stay.
    fn submit(&mut self, jobs: &mut Vec<Job<B>>, keys: &impl Keys<Self::Key>);
    /// Appends finished jobs to `done`. A synchronous engine returns all it was given.
    fn collect(&mut self, done: &mut Vec<Job<B>>);
    /// Jobs submitted and not yet collected.
    fn in_flight(&self) -> usize;

    /// Whether packets under this key can be worked on where they are, by [`Self::at_once`].
    fn is_at_once(&self, _key: &Self::Key, _operation: Operation) -> bool {
        false
    }
    /// Seals or opens each packet before it returns. For keys of which [`Self::is_at_once`] says so, others are not `ok`.
    fn at_once(
        &mut self,
        _operation: Operation,
        _packets: &mut [B],
        _parts: &mut [Part],
        _keys: &impl Keys<Self::Key>,
    ) {
    }
}
