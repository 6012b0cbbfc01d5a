//! Which of several peers behind one NAT a flow of the gateway's own belongs to.
//!
//! In transport mode all of them have the NAT's address, and so the same selectors; what tells them apart is the UDP port
//! of their ESP (RFC 3948 5.2). A flow that came in under one of them is answered under the same one. Flows are noted by the
//! workers, and looked up once per flow where a policy has more than one SA. Places are few and belong to whoever came last:
//! an answer whose flow was forgotten takes the newest SA, as if there were only one peer.
use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering::Relaxed};
use wire::Flow;

const PLACES: usize = 1 << 14;

#[derive(Debug)]
pub struct Clients {
    /// Nobody chooses flows that share a place.
    hash: RandomState,
    /// The upper 48 bits of the flow's hash, and the port. 0 for nothing: no peer sends from port 0.
    places: Box<[AtomicU64]>,
    changes: AtomicU32,
}
impl Default for Clients {
    fn default() -> Self {
        Self {
            hash: RandomState::new(),
            places: (0..PLACES).map(|_| AtomicU64::new(0)).collect(),
            changes: AtomicU32::new(0),
        }
    }
}
impl Clients {
    fn place(&self, flow: &Flow) -> (u64, Option<&AtomicU64>) {
        let hash = self.hash.hash_one(flow);
        (hash & !0xffff, self.places.get(hash as usize % PLACES))
    }
    /// `flow` as the gateway sends it; `port` is where the peer's ESP came from.
    pub fn note(&self, flow: &Flow, port: u16) {
        let (name, place) = self.place(flow);
        let word = name | u64::from(port);
        if let Some(place) = place
            && place.load(Relaxed) != word
        {
            place.store(word, Relaxed);
            self.changes.fetch_add(1, Relaxed);
        }
    }
    pub fn port(&self, flow: &Flow) -> Option<u16> {
        let (name, place) = self.place(flow);
        let word = place?.load(Relaxed);
        (word & !0xffff == name && word as u16 != 0).then_some(word as u16)
    }
    /// Another number when a remembered verdict may have become wrong.
    pub fn version(&self) -> u32 {
        self.changes.load(Relaxed)
    }
}
