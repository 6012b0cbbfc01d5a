//! Our responder on a socket: the engine, and a sealed record of each IKE SA as the gateway keeps it.
use super::{Kind, generator};
use anyhow::{Result, anyhow};
use harness::Netns;
use ike::Engine;
use ike::api::{
    Action, Child, Config, Datagram, Id, Identity, IkeCipher, IkeIntegrity, IkeProposal, Input, MyId, Peer,
    Prf, Profile, Psk, RemoteId, Rng,
};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use sa::{Encryption, Integrity, PolicyId, PortRange, Prefix, Suite};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

pub const PEER: &str = "generator";
pub const OWN_ID: &str = "gateway.bench";
pub const SECRET: &str = "a secret of the benchmark";

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

/// A socket that stays in this namespace.
pub fn socket(site: &Netns, at: SocketAddr) -> Result<UdpSocket> {
    let made = site.enter(move || Ok(UdpSocket::bind(at)?)).join();
    made.map_err(|_| anyhow!("no socket at {at}"))?
}

pub struct Responder {
    thread: JoinHandle<Result<()>>,
    /// Nanoseconds of the thread's processor time, as of its last turn.
    spent: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
}

impl Responder {
    pub fn start(site: &Netns, at: SocketAddr, kind: Kind) -> Result<Self> {
        let socket = socket(site, at)?;
        socket.set_read_timeout(Some(Duration::from_millis(10)))?;
        let (spent, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (tell, end) = (spent.clone(), ends.clone());
        let thread = std::thread::Builder::new().name("responder".into());
        let thread = thread.spawn(move || serve(&socket, at, &kind, &tell, &end))?;
        Ok(Self { thread, spent, ends })
    }
    pub fn spent(&self) -> Result<Duration> {
        anyhow::ensure!(!self.thread.is_finished(), "our responder has ended");
        Ok(Duration::from_nanos(self.spent.load(Ordering::Acquire)))
    }
    pub fn stop(self) -> Result<()> {
        self.ends.store(true, Ordering::Release);
        self.thread.join().map_err(|_| anyhow!("our responder has panicked"))?
    }
}

fn serve(
    socket: &UdpSocket,
    local: SocketAddr,
    kind: &Kind,
    spent: &AtomicU64,
    ends: &AtomicBool,
) -> Result<()> {
    let start = Instant::now();
    let mut engine = Engine::new(Box::new(SystemRng::default()));
    let mut out = Vec::new();
    engine.configure(gateway(kind, local), start.elapsed(), &mut out);
    let key = UnboundKey::new(&CHACHA20_POLY1305, &[7; 32]).map_err(|_| anyhow!("no key for records"))?;
    let key = LessSafeKey::new(key);
    let mut buffer = [0; 8192];
    while !ends.load(Ordering::Acquire) {
        let input = match socket.recv_from(&mut buffer) {
            Ok((n, remote)) => Input::Datagram(Datagram { local, remote, payload: buffer[..n].to_vec() }),
            Err(_) if engine.next_timeout().is_some_and(|at| at <= start.elapsed()) => Input::Tick,
            Err(_) => {
                spent.store(generator::own_time().as_nanos() as u64, Ordering::Release);
                continue;
            }
        };
        engine.handle(input, start.elapsed(), &mut out);
        for action in std::mem::take(&mut out) {
            match action {
                Action::Send(d) => drop(socket.send_to(&d.payload, d.remote)?),
                Action::Persist { vault_key } => seal(&key, &engine, vault_key),
                Action::Remove { slot, .. } => {
                    engine.handle(Input::SlotFree(slot), start.elapsed(), &mut out)
                }
                _ => {}
            }
        }
        spent.store(generator::own_time().as_nanos() as u64, Ordering::Release);
    }
    Ok(())
}

/// As the vault does it.
fn seal(key: &LessSafeKey, engine: &Engine, vault_key: u64) {
    if let Some(mut record) = engine.snapshot(vault_key) {
        let nonce = Nonce::assume_unique_for_key([0; 12]);
        let tag = key.seal_in_place_separate_tag(nonce, Aad::from(vault_key.to_be_bytes()), &mut record);
        std::hint::black_box(tag.is_ok());
    }
}

/// One peer: anyone who has the secret.
fn gateway(kind: &Kind, local: SocketAddr) -> Config {
    let identity = identity(OWN_ID.into());
    let any = Prefix::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0);
    config(kind, local, any.unwrap_or(Prefix::host(local.ip())), local.port(), identity, true)
}
pub fn initiator(kind: &Kind, local: SocketAddr, remote: SocketAddr, number: u64) -> Config {
    let identity = identity(format!("client-{number}.bench"));
    config(kind, local, Prefix::host(remote.ip()), remote.port(), identity, false)
}

fn identity(own: String) -> Identity {
    Identity::with_secret(MyId::Id(Id::Fqdn(own)), RemoteId::Auto, Psk(SECRET.into()))
}

fn config(
    kind: &Kind,
    local: SocketAddr,
    remote: Prefix,
    port: u16,
    identity: Identity,
    passive: bool,
) -> Config {
    const DAY: Duration = Duration::from_secs(24 * 3600);
    let profile = Profile {
        name: "bench".into(),
        proposal: IkeProposal {
            encryption: vec![IkeCipher::Aes128Cbc],
            integrity: vec![IkeIntegrity::HmacSha256],
            prf: vec![Prf::HmacSha256],
            groups: vec![kind.group],
        },
        lifetime: DAY,
        dpd_interval: None,
        nat_traversal: true,
        extensions: Default::default(),
    };
    let net = |last: u8| Prefix::new(Ipv4Addr::new(10, last, 0, 0).into(), 24).map(Prefix::range);
    let (near, far) = if passive { (2, 1) } else { (1, 2) };
    let children = net(near).zip(net(far)).zip(Suite::new(Encryption::Aes128Gcm, Integrity::None).ok());
    let child = |((local, remote), suite)| Child {
        policy: PolicyId(1),
        level: sa::Level::Require,
        any_port: false,
        framing: sa::Framing::default(),
        proposal: "bench".into(),
        selector: sa::TrafficSelector {
            local,
            remote,
            protocol: None,
            local_port: PortRange::ANY,
            remote_port: PortRange::ANY,
        },
        tunnel: true,
        protocol: sa::Protocol::Esp,
        suites: vec![suite],
        pfs: None,
        lifetime: DAY,
        lifetime_bytes: 0,
        replay_window: 128,
        esn: false,
    };
    let peer = Peer {
        name: PEER.into(),
        address: remote,
        local_address: Some(local.ip()),
        port,
        passive,
        send_initial_contact: false,
        profile,
        identities: vec![identity],
        children: children.into_iter().map(child).collect(),
    };
    Config { peers: vec![peer], sa_slots: if passive { 1 << 16 } else { 64 }, ..Config::default() }
}
