//! What the driver needs of an IKE engine. One implementation ships; tests script another, to see the driver's own part.
use ike::api::{Action, ChildStatus, Config, Generated, Input, KeyLog, Now, Page, PeerStatus, Rng};
use sa::{SaSlot, SaSpec};
use std::time::Duration;
use zeroize::Zeroizing;

pub trait Negotiator {
    fn configure(&mut self, config: Config, now: Now, out: &mut Vec<Action>);
    fn handle(&mut self, input: Input, now: Now, out: &mut Vec<Action>);
    /// What the calendar says now (since 1970).
    fn set_calendar(&mut self, now: Now, wall: Duration) {
        let _ = (now, wall);
    }
    fn next_timeout(&self) -> Option<Now>;
    fn snapshot(&self, vault_key: u64) -> Option<Zeroizing<Vec<u8>>>;
    /// The vault key, or why the record is of no use.
    fn restore(&mut self, record: &[u8], now: Now, out: &mut Vec<Action>) -> Result<u64, String>;
    /// Every SA the fast path is to run now.
    fn installed(&self) -> Vec<SaSpec>;
    /// A place in the SA table for an SA that is not negotiated. `None`: the table is full.
    fn take_slot(&mut self) -> Option<SaSlot>;
    /// Its SA is being removed; [`Input::SlotFree`] gives it back.
    fn drain_slot(&mut self, slot: SaSlot);
    /// Every policy that negotiations have made.
    fn generated(&self) -> Vec<Generated> {
        Vec::new()
    }
    fn peers(&self, now: Now) -> Vec<PeerStatus>;
    fn children(&self, now: Now) -> Vec<ChildStatus>;
    /// Some IKE SAs behind one, with what belongs to them.
    fn page(&self, after: Option<u64>, enough: usize, now: Now) -> Page {
        let _ = (after, enough);
        Page {
            peers: self.peers(now),
            children: self.children(now),
            installed: self.installed(),
            ..Page::default()
        }
    }
    fn counters(&self) -> Vec<(&'static str, u64)>;
    fn key_log(&mut self) -> Vec<KeyLog>;
}

impl Negotiator for ike::Engine {
    fn configure(&mut self, config: Config, now: Now, out: &mut Vec<Action>) {
        self.configure(config, now, out);
    }
    fn handle(&mut self, input: Input, now: Now, out: &mut Vec<Action>) {
        self.handle(input, now, out);
    }
    fn set_calendar(&mut self, now: Now, wall: Duration) {
        self.set_calendar(now, wall);
    }
    fn next_timeout(&self) -> Option<Now> {
        self.next_timeout()
    }
    fn snapshot(&self, vault_key: u64) -> Option<Zeroizing<Vec<u8>>> {
        self.snapshot(vault_key)
    }
    fn restore(&mut self, record: &[u8], now: Now, out: &mut Vec<Action>) -> Result<u64, String> {
        self.restore(record, now, out).map_err(|e| e.to_string())
    }
    fn installed(&self) -> Vec<SaSpec> {
        self.installed()
    }
    fn take_slot(&mut self) -> Option<SaSlot> {
        self.take_slot()
    }
    fn drain_slot(&mut self, slot: SaSlot) {
        self.drain_slot(slot);
    }
    fn generated(&self) -> Vec<Generated> {
        self.generated()
    }
    fn peers(&self, now: Now) -> Vec<PeerStatus> {
        self.peers(now)
    }
    fn children(&self, now: Now) -> Vec<ChildStatus> {
        self.children(now)
    }
    fn page(&self, after: Option<u64>, enough: usize, now: Now) -> Page {
        self.page(after, enough, now)
    }
    fn counters(&self) -> Vec<(&'static str, u64)> {
        use ike::engine::{Failure, Refused};
        let c = self.counters();
        let named = [
            ("ike-established", c.ike_established),
            ("child-established", c.child_established),
            ("ike-rekeyed", c.ike_rekeyed),
            ("child-rekeyed", c.child_rekeyed),
            ("retransmits-sent", c.retransmits_sent),
            ("retransmits-answered", c.retransmits_answered),
        ];
        let refused = Refused::ALL.iter().map(|why| (why.name(), c.refused(*why)));
        let failed = Failure::ALL.iter().map(|why| (why.name(), c.failed(*why)));
        named.into_iter().chain(refused).chain(failed).collect()
    }
    fn key_log(&mut self) -> Vec<KeyLog> {
        self.key_log()
    }
}

/// The system's random source. It never runs dry after boot; without it no key may be made.
pub struct SystemRng(ring::rand::SystemRandom);
impl Default for SystemRng {
    fn default() -> Self {
        Self(ring::rand::SystemRandom::new())
    }
}
impl Rng for SystemRng {
    fn fill(&mut self, out: &mut [u8]) {
        let filled = ring::rand::SecureRandom::fill(&self.0, out);
        if filled.is_err() {
            // A predictable key is worse than no slow path: tunnels go on without us.
            tracing::error!("the system's random source failed; stopping");
            std::process::abort();
        }
    }
}
