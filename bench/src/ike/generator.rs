//! Initiators: a fresh engine for each handshake, all behind one socket, so that whoever answers cannot know them.
use super::{Kind, ceiling, responder};
use anyhow::{Context, Result, bail, ensure};
use harness::Netns;
use ike::Engine;
use ike::api::{Action, Datagram, Input};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Calls under way at a time: enough that the responder never waits.
const AT_ONCE: usize = 8;
const NAT_T: u16 = 4500;
const PATIENCE: Duration = Duration::from_secs(30);

pub struct Generator {
    socket: UdpSocket,
    local: SocketAddr,
    remote: SocketAddr,
    kind: Kind,
    start: Instant,
    /// By the SPI that each has chosen.
    calls: HashMap<u64, Engine>,
    begun: u64,
    up: usize,
    down: usize,
}

impl Generator {
    pub fn new(site: &Netns, from: IpAddr, remote: SocketAddr, kind: Kind) -> Result<Self> {
        let socket = responder::socket(site, SocketAddr::new(from, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(5)))?;
        let local = socket.local_addr()?;
        let (calls, start) = (HashMap::new(), Instant::now());
        Ok(Self { socket, local, remote, kind, start, calls, begun: 0, up: 0, down: 0 })
    }

    /// `count` handshakes; how much of what `spent` counts they took. Then the SAs go.
    pub fn call(&mut self, count: usize, spent: impl Fn() -> Result<Duration>) -> Result<Duration> {
        (self.up, self.down) = (0, 0);
        let (before, end) = (spent()?, Instant::now() + PATIENCE);
        let mut begun = 0;
        while self.up < count {
            while begun < count && begun - self.up < AT_ONCE {
                begun += 1;
                self.begin()?;
            }
            self.turn()?;
            ensure!(Instant::now() < end, "{} of {count} handshakes within {PATIENCE:?}", self.up);
        }
        // The last answer has left; what is still to be done for it belongs to it.
        std::thread::sleep(Duration::from_millis(20));
        let took = spent()? - before;
        self.end(count)?;
        Ok(took)
    }

    fn begin(&mut self) -> Result<()> {
        let mut engine = Engine::new(Box::new(responder::SystemRng::default()));
        let mut out = Vec::new();
        self.begun += 1;
        let config = responder::initiator(&self.kind, self.local, self.remote, self.begun);
        engine.configure(config, self.start.elapsed(), &mut out);
        engine.handle(
            Input::Initiate { peer: responder::PEER.into(), policy: None },
            self.start.elapsed(),
            &mut out,
        );
        let spi = out.iter().find_map(|action| match action {
            Action::Send(d) => d.payload.first_chunk::<8>().map(|spi| u64::from_ne_bytes(*spi)),
            _ => None,
        });
        self.calls.insert(spi.context("an initiator that says nothing")?, engine);
        self.act(out)
    }
    fn turn(&mut self) -> Result<()> {
        let mut buffer = [0; 8192];
        let mut out = Vec::new();
        match self.socket.recv_from(&mut buffer) {
            Ok((length, remote)) => {
                let (local, payload) = self.unmarked(remote, &buffer[..length]);
                let spi = payload.first_chunk::<8>().map(|spi| u64::from_ne_bytes(*spi));
                if let Some(engine) = spi.and_then(|spi| self.calls.get_mut(&spi)) {
                    let datagram = Datagram { local, remote, payload };
                    engine.handle(Input::Datagram(datagram), self.start.elapsed(), &mut out);
                }
            }
            // Nothing came in a while: what was lost is sent again.
            Err(_) => {
                for engine in self.calls.values_mut() {
                    engine.handle(Input::Tick, self.start.elapsed(), &mut out);
                }
            }
        }
        self.act(out)
    }
    //= rfc3948#2.2/non-esp-marker: four zero octets before what is IKE on port 4500.
    /// Whoever has only user-space ESP, inside UDP, claims a NAT: the rest is said on port 4500. One socket has both
    /// ports for us: the source port does not matter behind a NAT.
    fn unmarked(&self, remote: SocketAddr, datagram: &[u8]) -> (SocketAddr, Vec<u8>) {
        match datagram {
            [0, 0, 0, 0, message @ ..] if remote.port() == NAT_T => {
                (SocketAddr::new(self.local.ip(), NAT_T), message.to_vec())
            }
            message => (self.local, message.to_vec()),
        }
    }
    fn act(&mut self, actions: Vec<Action>) -> Result<()> {
        for action in actions {
            match action {
                Action::Send(d) if d.remote.port() == NAT_T => {
                    self.socket.send_to(&[&[0; 4], &d.payload[..]].concat(), d.remote)?;
                }
                Action::Send(d) => drop(self.socket.send_to(&d.payload, d.remote)?),
                Action::Install { .. } => self.up += 1,
                Action::Remove { .. } => self.down += 1,
                Action::Log(report) if report.diagnosis.is_some() => bail!("{}", report.text),
                Action::AcquireFailed { .. } => bail!("the other end refused, or did not answer"),
                _ => {}
            }
        }
        Ok(())
    }
    fn end(&mut self, count: usize) -> Result<()> {
        let (mut out, now) = (Vec::new(), self.start.elapsed());
        for engine in self.calls.values_mut() {
            engine.handle(Input::Terminate { peer: None }, now, &mut out);
        }
        self.act(out)?;
        let end = Instant::now() + PATIENCE;
        while self.calls.values().any(|engine| !engine.peers(now).is_empty()) {
            self.turn()?;
            ensure!(Instant::now() < end, "{} of {} SAs were deleted", self.down, 2 * count);
        }
        self.calls.clear();
        Ok(())
    }
}

/// Processor time of this thread.
pub fn own_time() -> Duration {
    ceiling::now()
}
