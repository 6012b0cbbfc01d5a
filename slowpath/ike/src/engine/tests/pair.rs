//! Two engines on a simulated network: virtual time, loss, duplicates, reordering, a NAT, a fast path that
//! only remembers what it was told, and numbered data packets that must all find an SA.
use crate::api::*;
use crate::engine::Engine;
use crate::job::Done;
use sa::{
    Direction, Encryption, Integrity, PolicyId, PortRange, Prefix, SaSlot, SaSpec, Spi, Suite,
    TrafficSelector,
};
use std::collections::{BTreeMap, BTreeSet, BinaryHeap, VecDeque};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Duration;

pub fn ms(n: u64) -> Now {
    Duration::from_millis(n)
}
pub fn secs(n: u64) -> Now {
    Duration::from_secs(n)
}

/// xorshift64*: seeded, good enough to draw fates and keys of tests.
#[derive(Clone)]
pub struct Seeded(pub u64);
impl Seeded {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }
    pub fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }
    pub fn below(&mut self, n: u64) -> u64 {
        (self.next() >> 11) % n.max(1)
    }
    pub fn percent(&mut self, p: u64) -> bool {
        self.below(100) < p
    }
}
impl Rng for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        out.iter_mut().for_each(|b| *b = (self.next() >> 32) as u8);
    }
}

pub const A: usize = 0;
pub const B: usize = 1;
pub fn addr(node: usize) -> IpAddr {
    Ipv4Addr::new(192, 0, 2, 1 + node as u8).into()
}
/// Where the NAT in front of A appears to be.
pub fn nat_addr() -> IpAddr {
    Ipv4Addr::new(203, 0, 113, 9).into()
}
pub fn selector(node: usize, net: u8) -> TrafficSelector {
    let prefix = |n: usize| Prefix::new(Ipv4Addr::new(10, n as u8 + 1, net, 0).into(), 24).unwrap().range();
    TrafficSelector {
        local: prefix(node),
        remote: prefix(1 - node),
        protocol: None,
        local_port: PortRange::ANY,
        remote_port: PortRange::ANY,
    }
}
pub fn gcm() -> Suite {
    Suite::new(Encryption::Aes128Gcm, Integrity::None).unwrap()
}
pub fn child(node: usize, policy: u32) -> Child {
    Child {
        policy: PolicyId(policy),
        level: sa::Level::Require,
        backup: 0,
        any_port: false,
        framing: sa::Framing::default(),
        proposal: "default".into(),
        selector: selector(node, policy as u8),
        tunnel: true,
        protocol: sa::Protocol::Esp,
        suites: vec![gcm()],
        pfs: None,
        additional: vec![],
        lifetime: secs(1800),
        lifetime_bytes: 0,
        replay_window: 128,
        esn: true,
    }
}
pub fn config(node: usize, psk: &str) -> Config {
    let profile = Profile {
        name: "default".into(),
        proposal: IkeProposal {
            encryption: vec![IkeCipher::Aes128Cbc, IkeCipher::Aes256Gcm],
            integrity: vec![IkeIntegrity::HmacSha256],
            prf: vec![Prf::HmacSha256],
            groups: vec![DhGroup::X25519, DhGroup::Ecp256],
            additional: vec![],
        },
        lifetime: secs(86_400),
        dpd_interval: Some(secs(120)),
        nat_traversal: true,
        extensions: Extensions::default(),
    };
    // Nothing that is said by chance looks like it.
    let psk = Psk(format!("{psk}-X7f3k9").into());
    let identity = Identity::with_secret(MyId::Auto, RemoteId::Auto, psk);
    let peer = Peer {
        name: if node == A { "to-b" } else { "to-a" }.into(),
        address: Prefix::host(addr(1 - node)),
        local_address: Some(addr(node)),
        host: None,
        port: 500,
        passive: node == B,
        send_initial_contact: true,
        profile,
        identities: vec![identity],
        children: vec![child(node, 1)],
    };
    Config {
        peers: vec![peer],
        ddos_cookie_threshold: 100,
        sa_slots: 256,
        sources: vec![],
        extensions: GatewayExtensions::default(),
        ..Config::default()
    }
}

pub struct Node {
    pub engine: Engine,
    pub config: Config,
    /// The fast path's table.
    pub table: BTreeMap<SaSlot, SaSpec>,
    /// Outbound SAs, newest last.
    pub order: Vec<SaSlot>,
    /// Made by negotiations.
    pub policies: BTreeMap<PolicyId, Generated>,
    pub vault: BTreeMap<u64, Vec<u8>>,
    pub logs: Vec<Report>,
    pub acquire_failed: Vec<PolicyId>,
    /// Peers whose names are to be looked up again.
    pub resolve: Vec<String>,
    pub keepalives: u32,
    pub sent: u64,
    /// Keys of the last SAs, as bytes.
    keys: VecDeque<Vec<u8>>,
    hinted: BTreeMap<SaSlot, Now>,
    /// Public-key operations take a while, and come back in any order.
    beside: usize,
    pub computed: u64,
}

#[derive(Clone, Debug)]
pub enum Event {
    Ike(Datagram),
    Data { spi: Spi, key: Vec<u8> },
    SlotFree(SaSlot),
    Computed { id: u64, done: Done },
}
struct Queued {
    at: Now,
    seq: u64,
    to: usize,
    event: Event,
}
impl Ord for Queued {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        (other.at, other.seq).cmp(&(self.at, self.seq))
    }
}
impl PartialOrd for Queued {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}
impl PartialEq for Queued {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}
impl Eq for Queued {}

pub struct Pair {
    pub nodes: [Node; 2],
    pub now: Now,
    pub rng: Seeded,
    pub loss: u64,
    pub duplicates: u64,
    /// Milliseconds.
    pub latency: (u64, u64),
    pub nat: bool,
    /// The port the NAT shows for A's port 4500.
    pub nat_port: u16,
    /// Data packets every 20 ms each way.
    pub data: bool,
    pub data_sent: u64,
    pub data_lost: Vec<String>,
    next_data: Now,
    queue: BinaryHeap<Queued>,
    seq: u64,
    /// Every IKE datagram that was sent, with its sender.
    pub wire: Vec<(usize, Datagram)>,
    pub record: bool,
}

pub fn node(seed: u64, config: Config) -> Node {
    let mut engine = Engine::new(Box::new(Seeded::new(seed)));
    engine.log_keys();
    Node {
        engine,
        config,
        table: BTreeMap::new(),
        order: vec![],
        policies: BTreeMap::new(),
        vault: BTreeMap::new(),
        logs: vec![],
        acquire_failed: vec![],
        resolve: vec![],
        keepalives: 0,
        sent: 0,
        keys: VecDeque::new(),
        hinted: BTreeMap::new(),
        beside: 0,
        computed: 0,
    }
}

impl Node {
    fn learn_keys(&mut self, actions: &[Action]) {
        let of_ike = self.engine.key_log().into_iter().flat_map(|k| [k.sk_ei, k.sk_er, k.sk_ai, k.sk_ar]);
        let of_sas = actions.iter().flat_map(|action| match action {
            Action::Install { inbound, outbound } => vec![inbound, outbound],
            Action::InstallInbound(spec) | Action::InstallOutbound(spec) => vec![spec],
            _ => vec![],
        });
        let of_sas = of_sas.flat_map(|spec| [spec.encryption_key.clone(), spec.integrity_key.clone()]);
        self.keys.extend(of_ike.chain(of_sas).map(|key| key.expose().to_vec()).filter(|key| key.len() >= 8));
        self.keys.drain(..self.keys.len().saturating_sub(32));
    }
    /// Whatever is reported, at any level, holds no pre-shared key and no negotiated one.
    #[track_caller]
    pub fn expect_no_secret(&self, report: &Report) {
        let said = format!("{report:?}");
        let psks = self.config.peers.iter().flat_map(|p| &p.identities).map(|i| match &i.auth.theirs {
            Check::Secret(psk) => psk.0.clone(),
            _ => Vec::new(),
        });
        for secret in psks.chain(self.keys.iter().cloned()).filter(|secret| secret.len() >= 8) {
            let hex: String = secret.iter().map(|b| format!("{b:02x}")).collect();
            let shapes = [String::from_utf8_lossy(&secret).into_owned(), format!("{secret:?}"), hex];
            assert!(!shapes.iter().any(|shape| said.contains(shape)), "a secret is told: {said}");
        }
    }
}

impl Pair {
    pub fn new(seed: u64) -> Self {
        Self::with(seed, config(A, "secret"), config(B, "secret"))
    }
    pub fn with(seed: u64, a: Config, b: Config) -> Self {
        Self {
            nodes: [node(2 * seed + 1, a), node(2 * seed + 2, b)],
            now: secs(1000),
            rng: Seeded::new(seed),
            loss: 0,
            duplicates: 0,
            latency: (5, 5),
            nat: false,
            nat_port: 4500,
            data: false,
            data_sent: 0,
            data_lost: vec![],
            next_data: Duration::ZERO,
            queue: BinaryHeap::new(),
            seq: 0,
            wire: vec![],
            record: false,
        }
    }
    /// Configures both; who is not passive calls.
    pub fn start(&mut self) {
        for n in [B, A] {
            self.configure(n);
        }
    }
    pub fn configure(&mut self, n: usize) {
        let (mut out, config) = (vec![], self.nodes[n].config.clone());
        self.nodes[n].engine.configure(config, self.now, &mut out);
        self.perform(n, out);
    }
    pub fn up(seed: u64) -> Self {
        let mut pair = Self::new(seed);
        pair.start();
        pair.run(secs(2));
        pair.assert_up(1);
        pair
    }
    pub fn input(&mut self, n: usize, input: Input) {
        let mut out = vec![];
        self.nodes[n].engine.handle(input, self.now, &mut out);
        self.perform(n, out);
    }

    /// From now on this end has its public-key operations made elsewhere, at most so many at a time.
    pub fn compute_beside(&mut self, n: usize, limit: usize) {
        self.nodes[n].beside = limit;
        self.nodes[n].engine.compute_beside(limit);
    }
    fn push(&mut self, after: Now, to: usize, event: Event) {
        self.seq += 1;
        self.queue.push(Queued { at: self.now + after, seq: self.seq, to, event });
    }
    fn draw_latency(&mut self) -> Now {
        let (low, high) = self.latency;
        ms(low + self.rng.below(high - low + 1))
    }
    fn perform(&mut self, n: usize, actions: Vec<Action>) {
        self.nodes[n].learn_keys(&actions);
        for action in actions {
            match action {
                Action::Send(d) => self.send(n, d),
                Action::Keepalive { .. } => self.nodes[n].keepalives += 1,
                Action::Install { inbound, outbound } => {
                    self.install(n, *inbound);
                    self.install(n, *outbound);
                }
                Action::InstallInbound(spec) | Action::InstallOutbound(spec) => self.install(n, *spec),
                Action::Remove { slot, spi } => {
                    let gone = self.nodes[n].table.remove(&slot).expect("only what is installed is removed");
                    assert_eq!(gone.spi, spi);
                    self.nodes[n].order.retain(|s| *s != slot);
                    self.push(ms(1), n, Event::SlotFree(slot));
                }
                Action::Move { slot, spi, ends, encap } => {
                    let sa = self.nodes[n].table.get_mut(&slot).expect("only what is installed moves");
                    assert_eq!(sa.spi, spi);
                    (sa.ends, sa.encap) = (ends, encap);
                }
                Action::AddPolicy(made) => {
                    assert!(made.spec.id.is_dynamic());
                    let old = self.nodes[n].policies.insert(made.spec.id, *made);
                    assert!(old.is_none(), "made once");
                }
                Action::RemovePolicy(id) => {
                    let node = &mut self.nodes[n];
                    assert!(node.policies.remove(&id).is_some(), "only what was made is taken back");
                    let left = node.order.iter().filter(|slot| node.table[slot].policies().any(|p| p == id));
                    assert_eq!(left.count(), 0, "its SAs are gone before it");
                }
                Action::Compute { id, job, .. } => {
                    self.nodes[n].computed += 1;
                    let after = self.draw_latency();
                    self.push(after, n, Event::Computed { id, done: job.run() });
                }
                Action::Resolve { peer } => self.nodes[n].resolve.push(peer),
                Action::AcquireFailed { policy, .. } => self.nodes[n].acquire_failed.push(policy),
                Action::Persist { vault_key } => {
                    if let Some(record) = self.nodes[n].engine.snapshot(vault_key) {
                        self.nodes[n].vault.insert(vault_key, record.to_vec());
                    }
                }
                Action::Forget { vault_key } => {
                    self.nodes[n].vault.remove(&vault_key);
                }
                Action::Log(report) => {
                    self.nodes[n].expect_no_secret(&report);
                    self.nodes[n].logs.push(report);
                }
            }
        }
    }
    fn install(&mut self, n: usize, spec: SaSpec) {
        let node = &mut self.nodes[n];
        assert!(spec.slot.0 < 256 && !spec.selectors.is_empty());
        if spec.direction == Direction::Inbound {
            assert_eq!(spec.spi.get() & (node.config.sa_slots - 1), spec.slot.0, "our SPI carries its slot");
        } else {
            node.order.push(spec.slot);
        }
        let old = node.table.insert(spec.slot, spec);
        assert!(old.is_none(), "the slot was free");
    }
    fn send(&mut self, n: usize, d: Datagram) {
        self.nodes[n].sent += 1;
        if self.record {
            self.wire.push((n, d.clone()));
        }
        let Some(arrived) = self.route(n, d) else { return };
        for _ in 0..1 + u32::from(self.rng.percent(self.duplicates)) {
            if !self.rng.percent(self.loss) {
                let after = self.draw_latency();
                self.push(after, 1 - n, Event::Ike(arrived.clone()));
            }
        }
    }
    /// Seen from the other end; through the NAT if there is one.
    fn route(&self, from: usize, d: Datagram) -> Option<Datagram> {
        let (mut local, mut remote) = (d.remote, d.local);
        if self.nat && from == A {
            let port = if remote.port() == 4500 { self.nat_port } else { 1500 };
            remote = SocketAddr::new(nat_addr(), port);
        }
        if self.nat && from == B {
            let port = if local.port() == self.nat_port { 4500 } else { 500 };
            local = SocketAddr::new(addr(A), port);
        }
        Some(Datagram { local, remote, payload: d.payload })
    }

    pub fn run(&mut self, time: Now) {
        let end = self.now + time;
        let mut steps = 0;
        loop {
            steps += 1;
            assert!(steps < 3_000_000, "it spins at {:?}", self.now);
            let timeouts = self.nodes.iter().filter_map(|n| n.engine.next_timeout());
            let timeout = timeouts.min().unwrap_or(Duration::MAX).max(self.now);
            let arrival = self.queue.peek().map_or(Duration::MAX, |q| q.at);
            let data = if self.data { self.next_data.max(self.now) } else { Duration::MAX };
            let next = timeout.min(arrival).min(data);
            if next > end {
                self.now = end;
                return;
            }
            self.now = next;
            if next == arrival {
                let queued = self.queue.pop().unwrap();
                self.arrive(queued.to, queued.event);
            } else if next == data {
                self.send_data();
            } else {
                for n in [A, B] {
                    if self.nodes[n].engine.next_timeout().is_some_and(|t| t <= self.now) {
                        self.input(n, Input::Tick);
                        let again = self.nodes[n].engine.next_timeout();
                        assert!(
                            again.is_none_or(|t| t > self.now),
                            "a tick that leaves the timer due spins at {:?}: {:?}",
                            self.now,
                            self.nodes[n].engine.sas.values().map(|sa| sa.moments()).collect::<Vec<_>>()
                        );
                    }
                }
            }
        }
    }
    fn arrive(&mut self, to: usize, event: Event) {
        match event {
            Event::Ike(d) => self.input(to, Input::Datagram(d)),
            Event::SlotFree(slot) => self.input(to, Input::SlotFree(slot)),
            Event::Computed { id, done } => self.input(to, Input::Computed { id, done }),
            Event::Data { spi, key } => {
                let found =
                    self.nodes[to].table.values().find(|s| s.direction == Direction::Inbound && s.spi == spi);
                match found {
                    Some(sa) if sa.encryption_key.expose() == key => {
                        let slot = sa.slot;
                        let last = self.nodes[to].hinted.get(&slot).copied();
                        if last.is_none_or(|t| self.now >= t + secs(1)) {
                            self.nodes[to].hinted.insert(slot, self.now);
                            self.input(to, Input::Traffic { slot, spi });
                        }
                    }
                    Some(_) => self.data_lost.push(format!("{:?}: {spi} at {to} has another key", self.now)),
                    None => self.data_lost.push(format!("{:?}: {spi} unknown at {to}", self.now)),
                }
            }
        }
    }
    fn send_data(&mut self) {
        self.next_data = self.now + ms(20);
        for n in [A, B] {
            let policies: BTreeSet<u32> =
                self.nodes[n].order.iter().map(|s| self.nodes[n].table[s].policy.0).collect();
            for policy in policies {
                let node = &self.nodes[n];
                let newest = node.order.iter().rev().find(|s| node.table[s].policy.0 == policy).unwrap();
                let sa = &node.table[newest];
                let event = Event::Data { spi: sa.spi, key: sa.encryption_key.expose().to_vec() };
                self.data_sent += 1;
                let after = self.draw_latency();
                self.push(after, 1 - n, event);
            }
        }
    }

    /// `n` children up at both ends, the same ones, and nothing else anywhere.
    #[track_caller]
    pub fn assert_up(&self, n: usize) {
        for (me, node) in self.nodes.iter().enumerate() {
            let logs = &node.logs;
            let peers: Vec<_> = node.engine.peers(self.now);
            assert_eq!(peers.len(), 1, "node {me}: {peers:#?} {logs:#?}");
            assert_eq!(peers[0].state, "established", "node {me}");
            let children = node.engine.children(self.now);
            assert_eq!(children.len(), n, "node {me}: {children:#?} {logs:#?}");
            assert!(children.iter().all(|c| c.state == "mature"), "node {me}: {children:#?}");
            assert_eq!(node.table.len(), 2 * n, "node {me}: {:#?}", node.table);
            assert_eq!(node.engine.slots.owned(), 2 * n, "node {me}");
            let mut installed = node.engine.installed();
            installed.sort_by_key(|s| s.slot);
            assert!(installed.iter().eq(node.table.values()), "node {me}: the engine knows what runs");
        }
        let [a, b] = &self.nodes;
        assert_eq!(spis(a), spis(b), "both name the same IKE SA");
        for out in a.table.values().chain(b.table.values()).filter(|s| s.direction == Direction::Outbound) {
            let twin = a
                .table
                .values()
                .chain(b.table.values())
                .find(|s| s.direction == Direction::Inbound && s.spi == out.spi);
            let twin = twin.expect("each outbound SA has its inbound twin");
            assert_eq!(twin.encryption_key, out.encryption_key);
            assert_eq!(twin.salt, out.salt);
            assert_eq!(twin.integrity_key, out.integrity_key);
            assert_eq!((twin.suite, twin.esn, twin.mode), (out.suite, out.esn, out.mode));
        }
    }
    #[track_caller]
    pub fn assert_no_loss(&self) {
        assert!(
            self.data_lost.is_empty(),
            "{} of {} lost: {:?}",
            self.data_lost.len(),
            self.data_sent,
            self.data_lost.first()
        );
    }
    pub fn errors(&self, n: usize) -> Vec<&str> {
        self.nodes[n].logs.iter().filter(|l| l.level == ReportLevel::Error).map(|l| l.text.as_str()).collect()
    }
    pub fn inbound(&self, n: usize) -> (SaSlot, Spi) {
        self.nodes[n].engine.children(self.now)[0].inbound
    }
    /// The process ends and another one takes over from the vault; the fast path runs on.
    pub fn restart(&mut self, n: usize) {
        let seed = self.rng.next();
        self.nodes[n].engine = Engine::new(Box::new(Seeded::new(seed)));
        self.nodes[n].engine.compute_beside(self.nodes[n].beside);
        self.queue.retain(|queued| queued.to != n || !matches!(queued.event, Event::Computed { .. }));
        let (mut out, config) = (vec![], self.nodes[n].config.clone());
        let now = self.now;
        let node = &mut self.nodes[n];
        node.engine.configure(config, now, &mut out);
        for record in node.vault.values().cloned().collect::<Vec<_>>() {
            node.engine.restore(&record, now, &mut out).expect("what was stored can be taken over");
        }
        self.perform(n, out);
    }
    /// The whole machine ends, and one comes up that remembers nothing.
    pub fn crash(&mut self, n: usize) {
        let (seed, logs) = (self.rng.next(), std::mem::take(&mut self.nodes[n].logs));
        let beside = self.nodes[n].beside;
        self.nodes[n] = Node { logs, ..node(seed, self.nodes[n].config.clone()) };
        self.compute_beside(n, beside);
        let of_the_old = |event: &Event| matches!(event, Event::SlotFree(_) | Event::Computed { .. });
        self.queue.retain(|queued| queued.to != n || !of_the_old(&queued.event));
        self.configure(n);
    }
    pub fn is_quiet(&self) -> bool {
        self.queue.is_empty()
    }
}
fn spis(node: &Node) -> BTreeSet<(u64, u64)> {
    node.engine.peers(Duration::ZERO).iter().map(|p| (p.spi_i, p.spi_r)).collect()
}
