//! The IKEv2 engine: inputs and the time go in, actions come out; no socket, clock or random source of its own.
mod counters;

use crate::api::{Action, ChildStatus, Config, Input, KeyLog, Now, PeerStatus, Rng};
pub use counters::{Counters, Failure, Refused};
use zeroize::Zeroizing;

/// All IKE SAs of the gateway.
pub struct Engine {
    rng: Box<dyn Rng>,
    config: Config,
    counters: Counters,
    key_log: Option<Vec<KeyLog>>,
}

/// Why a stored record was not taken over. The caller forgets it; the peer negotiates anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    #[error("the record does not decode or is of another version")]
    Malformed,
    #[error("peer `{0}` is no longer configured")]
    UnknownPeer(String),
    #[error("slot {0} is beyond `system sa-slots` or taken")]
    Slot(u32),
}

impl Engine {
    pub fn new(rng: Box<dyn Rng>) -> Self {
        Self { rng, config: Config::default(), counters: Counters::default(), key_log: None }
    }
    /// Takes a whole new configuration. IKE SAs of peers that are gone are deleted; others live on.
    pub fn configure(&mut self, config: Config, _now: Now, _out: &mut Vec<Action>) {
        self.config = config;
    }
    pub fn handle(&mut self, _input: Input, _now: Now, _out: &mut Vec<Action>) {
        let _ = &mut self.rng;
    }
    /// When `Input::Tick` is due.
    pub fn next_timeout(&self) -> Option<Now> {
        None
    }
    /// Everything needed to go on with one IKE SA after a restart. Holds keys: the caller seals it.
    pub fn snapshot(&self, _vault_key: u64) -> Option<Zeroizing<Vec<u8>>> {
        None
    }
    /// Takes a record over, after `configure`. Nothing is installed: its children's SAs are known to run
    /// (`children` lists them); the caller removes what runs without a child and sends `HardExpire` for a
    /// child whose SA does not run. Returns the vault key.
    pub fn restore(
        &mut self,
        _record: &[u8],
        _now: Now,
        _out: &mut Vec<Action>,
    ) -> Result<u64, RestoreError> {
        Err(RestoreError::Malformed)
    }
    pub fn peers(&self, _now: Now) -> Vec<PeerStatus> {
        Vec::new()
    }
    pub fn children(&self, _now: Now) -> Vec<ChildStatus> {
        Vec::new()
    }
    pub fn counters(&self) -> &Counters {
        &self.counters
    }
    /// From now on keys are collected for an independent decoder. Off until called.
    pub fn log_keys(&mut self) {
        self.key_log.get_or_insert_default();
    }
    /// The keys of IKE SAs keyed since the last call; empty unless `log_keys` was called.
    pub fn key_log(&mut self) -> Vec<KeyLog> {
        self.key_log.as_mut().map(std::mem::take).unwrap_or_default()
    }
}
