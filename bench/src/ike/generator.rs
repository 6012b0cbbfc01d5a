//! Initiators: a fresh engine for each handshake, so that whoever answers cannot know them.
use super::papers::Papers;
use super::{Kind, config, gateway, responder};
use anyhow::{Context, Result, bail, ensure};
use harness::Netns;
use ike::Engine;
use ike::api::{Action, Datagram, Input};
use std::collections::{HashMap, VecDeque};
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::time::{Duration, Instant};

/// Calls under way at a time: enough that the responder never waits.
const AT_ONCE: usize = 8;
const NAT_T: u16 = 4500;
const PATIENCE: Duration = Duration::from_secs(30);

/// The engines, without a network.
pub struct Clients {
    kind: Kind,
    local: SocketAddr,
    remote: SocketAddr,
    start: Instant,
    /// By the SPI that each has chosen.
    calls: HashMap<u64, Engine>,
    begun: u64,
    pub up: usize,
    pub to_send: VecDeque<Datagram>,
}
impl Clients {
    pub fn new(kind: Kind, local: SocketAddr, remote: SocketAddr) -> Self {
        let (calls, to_send, start) = (HashMap::new(), VecDeque::new(), Instant::now());
        Self { kind, local, remote, start, calls, begun: 0, up: 0, to_send }
    }
    pub fn reset(&mut self) {
        self.up = 0;
    }
    pub fn begin(&mut self, papers: &Papers) -> Result<()> {
        let now = self.start.elapsed();
        let (mut engine, mut out) = (gateway::engine(now), Vec::new());
        self.begun += 1;
        let config = config::initiator(&self.kind, papers, [self.local, self.remote], self.begun)?;
        engine.configure(config, now, &mut out);
        engine.handle(Input::Initiate { peer: config::PEER.into(), policy: None }, now, &mut out);
        let spi = out.iter().find_map(|action| match action {
            Action::Send(d) => spi(&d.payload),
            _ => None,
        });
        self.calls.insert(spi.context("an initiator that says nothing")?, engine);
        self.act(out)
    }
    pub fn hear(&mut self, datagram: Datagram) -> Result<()> {
        let mut out = Vec::new();
        if let Some(engine) = spi(&datagram.payload).and_then(|spi| self.calls.get_mut(&spi)) {
            engine.handle(Input::Datagram(datagram), self.start.elapsed(), &mut out);
        }
        self.act(out)
    }
    /// What was lost is sent again.
    fn tick(&mut self) -> Result<()> {
        let mut out = Vec::new();
        for engine in self.calls.values_mut() {
            engine.handle(Input::Tick, self.start.elapsed(), &mut out);
        }
        self.act(out)
    }
    fn act(&mut self, actions: Vec<Action>) -> Result<()> {
        for action in actions {
            match action {
                Action::Send(datagram) => self.to_send.push_back(datagram),
                Action::Install { .. } => self.up += 1,
                Action::Log(report) if report.diagnosis.is_some() => bail!("{}", report.text),
                Action::AcquireFailed { .. } => bail!("the other end refused, or did not answer"),
                _ => {}
            }
        }
        Ok(())
    }
    /// Says that all SAs go.
    pub fn end(&mut self) -> Result<()> {
        let mut out = Vec::new();
        for engine in self.calls.values_mut() {
            engine.handle(Input::Terminate { peer: None }, self.start.elapsed(), &mut out);
        }
        self.act(out)
    }
    fn left(&self) -> usize {
        let now = self.start.elapsed();
        self.calls.values().filter(|engine| !engine.peers(now).is_empty()).count()
    }
    pub fn forget(&mut self) {
        self.calls.clear();
    }
}

fn spi(message: &[u8]) -> Option<u64> {
    message.first_chunk::<8>().map(|spi| u64::from_ne_bytes(*spi))
}

/// The same behind one socket.
pub struct Generator {
    socket: UdpSocket,
    clients: Clients,
}
impl Generator {
    pub fn new(site: &Netns, from: IpAddr, remote: SocketAddr, kind: Kind) -> Result<Self> {
        let socket = responder::socket(site, SocketAddr::new(from, 0))?;
        socket.set_read_timeout(Some(Duration::from_millis(5)))?;
        let clients = Clients::new(kind, socket.local_addr()?, remote);
        Ok(Self { socket, clients })
    }

    /// `count` handshakes; how much of what `spent` counts they took. Then the SAs go.
    pub fn call(
        &mut self,
        papers: &Papers,
        count: usize,
        spent: impl Fn() -> Result<Duration>,
    ) -> Result<Duration> {
        self.clients.reset();
        let (before, end) = (spent()?, Instant::now() + PATIENCE);
        let mut begun = 0;
        while self.clients.up < count {
            while begun < count && begun - self.clients.up < AT_ONCE {
                begun += 1;
                self.clients.begin(papers)?;
            }
            self.turn()?;
            ensure!(Instant::now() < end, "{} of {count} handshakes within {PATIENCE:?}", self.clients.up);
        }
        // The last answer has left; what is still to be done for it belongs to it.
        std::thread::sleep(Duration::from_millis(20));
        let took = spent()? - before;
        self.clients.end()?;
        let end = Instant::now() + PATIENCE;
        while self.clients.left() > 0 {
            self.turn()?;
            ensure!(Instant::now() < end, "{} of {count} IKE SAs were not deleted", self.clients.left());
        }
        self.clients.forget();
        Ok(took)
    }
    fn turn(&mut self) -> Result<()> {
        while let Some(d) = self.clients.to_send.pop_front() {
            //= rfc3948#2.2/non-esp-marker: four zero octets before what is IKE on port 4500.
            let marker: &[u8] = if d.remote.port() == NAT_T { &[0; 4] } else { &[] };
            self.socket.send_to(&[marker, &d.payload[..]].concat(), d.remote)?;
        }
        let mut buffer = [0; 8192];
        match self.socket.recv_from(&mut buffer) {
            Ok((length, remote)) => {
                let (local, payload) = self.unmarked(remote, buffer.get(..length).unwrap_or_default());
                self.clients.hear(Datagram { local, remote, payload })
            }
            Err(_) => self.clients.tick(),
        }
    }
    /// Whoever has only user-space ESP, inside UDP, claims a NAT: the rest is said on port 4500. One socket has both
    /// ports for us: the source port does not matter behind a NAT.
    fn unmarked(&self, remote: SocketAddr, datagram: &[u8]) -> (SocketAddr, Vec<u8>) {
        let own = self.clients.local;
        match datagram {
            [0, 0, 0, 0, message @ ..] if remote.port() == NAT_T => {
                (SocketAddr::new(own.ip(), NAT_T), message.to_vec())
            }
            message => (own, message.to_vec()),
        }
    }
}
