//! Our responder without a socket: the engine, and a sealed record of each IKE SA as the gateway keeps it.
use super::generator::Clients;
use super::papers::Papers;
use super::{Kind, ceiling, config};
use anyhow::{Result, anyhow, ensure};
use ike::Engine;
use ike::api::{Action, Datagram, Input, Now, Rng};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

pub struct SystemRng(ring::rand::SystemRandom);
impl Default for SystemRng {
    fn default() -> Self {
        Self(ring::rand::SystemRandom::new())
    }
}
impl Rng for SystemRng {
    fn fill(&mut self, out: &mut [u8]) {
        let filled = ring::rand::SecureRandom::fill(&self.0, out);
        // Without a random source there is nothing to measure.
        assert!(filled.is_ok(), "the system's random source failed");
    }
}

pub fn engine(now: Now) -> Engine {
    let mut engine = Engine::new(Box::new(SystemRng::default()));
    engine.set_calendar(now, SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default());
    engine
}

pub struct Gateway {
    engine: Engine,
    record_key: LessSafeKey,
    start: Instant,
}
impl Gateway {
    pub fn new(kind: &Kind, papers: &Papers, local: SocketAddr) -> Result<Self> {
        let mut engine = engine(Now::ZERO);
        engine.configure(config::gateway(kind, papers, local)?, Now::ZERO, &mut Vec::new());
        let key = UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).map_err(|_| anyhow!("no key for records"))?;
        Ok(Self { engine, record_key: LessSafeKey::new(key), start: Instant::now() })
    }
    pub fn take(&mut self, datagram: Datagram, mut send: impl FnMut(Datagram)) {
        self.handle(Input::Datagram(datagram), &mut send);
    }
    pub fn tick(&mut self, mut send: impl FnMut(Datagram)) {
        if self.engine.next_timeout().is_some_and(|at| at <= self.start.elapsed()) {
            self.handle(Input::Tick, &mut send);
        }
    }
    fn handle(&mut self, input: Input, send: &mut dyn FnMut(Datagram)) {
        let mut out = Vec::new();
        self.engine.handle(input, self.start.elapsed(), &mut out);
        for action in out {
            match action {
                Action::Send(datagram) => send(datagram),
                Action::Persist { vault_key } => self.seal(vault_key),
                Action::Remove { slot, .. } => {
                    self.engine.handle(Input::SlotFree(slot), self.start.elapsed(), &mut Vec::new());
                }
                _ => {}
            }
        }
    }
    /// As the vault does it.
    fn seal(&self, vault_key: u64) {
        if let Some(mut record) = self.engine.snapshot(vault_key) {
            let nonce = Nonce::assume_unique_for_key([0; 12]);
            let aad = Aad::from(vault_key.to_be_bytes());
            std::hint::black_box(self.record_key.seal_in_place_separate_tag(nonce, aad, &mut record).is_ok());
        }
    }
}

/// A gateway and its callers in one memory: what the gateway alone spends on `count` handshakes.
pub struct InMemory {
    gateway: Gateway,
    clients: Clients,
}
impl InMemory {
    pub fn new(kind: Kind, papers: &Papers) -> Result<Self> {
        let at = |last: u8| SocketAddr::new(Ipv4Addr::new(192, 0, 2, last).into(), 500);
        let gateway = Gateway::new(&kind, papers, at(2))?;
        Ok(Self { gateway, clients: Clients::new(kind, at(1), at(2)) })
    }
    pub fn spend(&mut self, papers: &Papers, count: usize) -> Result<Duration> {
        let mut spent = Duration::ZERO;
        self.clients.reset();
        for _ in 0..count {
            self.clients.begin(papers)?;
            spent += self.settle()?;
        }
        ensure!(self.clients.up == count, "{} of {count} handshakes", self.clients.up);
        self.clients.end()?;
        self.settle()?;
        self.clients.forget();
        Ok(spent)
    }
    /// Until nobody has anything to say.
    fn settle(&mut self) -> Result<Duration> {
        let mut spent = Duration::ZERO;
        while let Some(said) = self.clients.to_send.pop_front() {
            let mut answers = Vec::new();
            let heard = Datagram { local: said.remote, remote: said.local, payload: said.payload };
            let start = ceiling::now();
            self.gateway.take(heard, |answer| answers.push(answer));
            spent += ceiling::now() - start;
            for a in answers {
                self.clients.hear(Datagram { local: a.remote, remote: a.local, payload: a.payload })?;
            }
        }
        Ok(spent)
    }
}
