//! The status answer: what the engine knows, and what the statistics table counts.
use crate::control::Rows;
use crate::driver::Driver;
use crate::dynamic::Dynamic;
use crate::keylog::hex;
use crate::negotiator::Negotiator;
use crate::running::{Head, Running};
use ike::api::{ChildStatus, Now, PeerStatus, is_served};
use ipc::status::{ActivePeer, InstalledSa, PolicyStatus, PortStatus, SaDirection, Side, Status, Totals};
use ipc::{SaCounters, StatsReader};
use sa::{Action, Direction, Level, PolicyId, PolicySpec, PortRange, SaSlot, SaSpec, Stat};
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::Arc;

/// The whole answer, made row by row: with a hundred thousand SAs neither IKE nor the reader's memory waits for all
/// of it.
pub struct Report {
    /// Without its lists.
    head: Status,
    peers: Vec<PeerStatus>,
    specs: Vec<SaSpec>,
    /// As many as are shown, and whose they are.
    policies: Arc<Vec<PolicySpec>>,
    policy_peers: Arc<Vec<Option<String>>>,
    children: Vec<ChildStatus>,
    /// Index into `children` by either slot.
    by_slot: HashMap<SaSlot, usize>,
    by_policy: HashMap<PolicyId, OfPolicy>,
    /// By peer: bytes and packets in, bytes and packets out.
    sums: HashMap<String, [u64; 4]>,
    statistics: Option<StatsReader>,
    sensitive: bool,
    text: Option<Text>,
}
/// What stands between the lists, and how far the answer got.
struct Text {
    pieces: VecDeque<String>,
    list: usize,
    row: usize,
}
#[derive(Default)]
pub(crate) struct OfPolicy {
    live: u32,
    ends: Option<(IpAddr, IpAddr)>,
}

/// Rows written in one turn.
const ROWS: usize = 128;

impl<E: Negotiator> Driver<E> {
    /// `policy_peers` belongs to the policies, in their order.
    pub fn status(&self, policy_peers: &[Option<String>], uptime: u64, sensitive: bool, now: Now) -> Status {
        let peers = Arc::new(policy_peers.to_vec());
        Report::new(self.running(now), peers, uptime, sensitive, None).into_status()
    }
    pub(crate) fn ipc_counters(&self) -> BTreeMap<String, u64> {
        let c = &self.counters;
        let own = [
            ("frames-received", c.frames_received),
            ("frames-sent", c.frames_sent),
            ("frames-dropped", c.frames_dropped),
            ("commands-sent", c.commands_sent),
            ("commands-refused", c.commands_refused),
            ("events", c.events),
            ("vault-errors", c.vault_errors),
            ("vault-records", self.vault.as_ref().map_or(0, |v| v.len() as u64)),
            ("vault-damaged", self.vault.as_ref().map_or(0, |v| v.damaged())),
            ("restored", c.restored),
            ("not-restored", c.not_restored),
            ("attachments", c.attachments),
        ];
        let both = self.slow().map(|slow| {
            slow.counters().into_iter().chain(slow.statistics().contract_faults()).collect::<Vec<_>>()
        });
        let both = both.unwrap_or_default();
        own.into_iter()
            .chain(self.takeover.counters())
            .chain(both)
            .map(|(name, n)| (name.to_owned(), n))
            .collect()
    }
}

impl Report {
    /// Lists with more than `at_most` rows are left out.
    pub fn new(
        running: Running,
        policy_peers: Arc<Vec<Option<String>>>,
        uptime: u64,
        sensitive: bool,
        at_most: Option<u32>,
    ) -> Self {
        let (policies, policy_peers) = with_generated(&running, policy_peers);
        let totals = Totals {
            active_peers: running.peers.len() as u64,
            installed_sas: running.installed.len() as u64,
            policies: policies.len() as u64,
            established_policies: running.served_policies() as u64,
        };
        let Running { head: of, peers, children, installed, .. } = running;
        let shown = |rows: usize| at_most.is_none_or(|most| rows <= most as usize);
        let mut by_policy: HashMap<PolicyId, OfPolicy> = HashMap::new();
        for child in &children {
            for policy in child.policies() {
                let of = by_policy.entry(policy).or_default();
                of.live += u32::from(is_served(child.state));
                of.ends.get_or_insert((child.local.ip(), child.remote.ip()));
            }
        }
        for spec in of.manual.iter().filter(|spec| spec.direction == Direction::Outbound) {
            let served = by_policy.entry(spec.policy).or_default();
            served.live += 1;
            served.ends.get_or_insert((spec.ends.local, spec.ends.remote));
        }
        let slots = |(at, c): (usize, &ChildStatus)| [(c.inbound.0, at), (c.outbound.0, at)];
        let (with_peers, with_sas) = (shown(peers.len()), shown(installed.len()));
        let mut report = Self {
            head: head(&of, totals, uptime),
            policies: if shown(policies.len()) { policies } else { Arc::default() },
            policy_peers,
            by_slot: children.iter().enumerate().flat_map(slots).collect(),
            by_policy,
            sums: HashMap::new(),
            statistics: of.statistics,
            sensitive,
            children,
            peers,
            specs: installed,
            text: None,
        };
        if with_peers {
            report.sum_up();
        } else {
            report.peers = Vec::new();
        }
        if !with_sas {
            report.specs = Vec::new();
        }
        report
    }
    fn child(&self, spec: &SaSpec) -> Option<&ChildStatus> {
        let child = self.children.get(*self.by_slot.get(&spec.slot)?)?;
        [child.inbound, child.outbound].contains(&(spec.slot, spec.spi)).then_some(child)
    }
    fn counters(&self, spec: &SaSpec) -> SaCounters {
        self.statistics.as_ref().map(|s| s.sa(spec.slot)).unwrap_or_default()
    }
    fn sum_up(&mut self) {
        let mut sums: HashMap<String, [u64; 4]> = HashMap::new();
        for spec in &self.specs {
            let Some(child) = self.child(spec) else { continue };
            let counters = self.counters(spec);
            let at = if spec.direction == Direction::Inbound { 0 } else { 2 };
            if !sums.contains_key(&child.peer) {
                sums.insert(child.peer.clone(), [0; 4]);
            }
            if let Some(sum) = sums.get_mut(&child.peer) {
                sum[at] += counters.bytes;
                sum[at + 1] += counters.packets;
            }
        }
        self.sums = sums;
    }
    fn peer(&self, at: usize) -> Option<ActivePeer> {
        let peer = self.peers.get(at)?;
        Some(active_peer(peer, self.sums.get(&peer.peer).copied().unwrap_or_default()))
    }
    fn sa(&self, at: usize) -> Option<InstalledSa> {
        let spec = self.specs.get(at)?;
        Some(installed_sa(
            spec,
            self.child(spec),
            &self.counters(spec),
            self.statistics.as_ref(),
            self.sensitive,
        ))
    }
    fn policy(&self, at: usize) -> Option<PolicyStatus> {
        let spec = self.policies.get(at)?;
        let peer = self.policy_peers.get(at).cloned().flatten();
        Some(policy(spec, peer, self.by_policy.get(&spec.id)))
    }
    /// `None`: the list is at its end.
    fn row(&self, list: usize, at: usize, out: &mut Vec<u8>) -> Option<serde_json::Result<()>> {
        fn put(row: impl serde::Serialize, at: usize, out: &mut Vec<u8>) -> serde_json::Result<()> {
            if at > 0 {
                out.push(b',');
            }
            serde_json::to_writer(out, &row)
        }
        Some(match list {
            1 => put(self.peer(at)?, at, out),
            2 => put(self.sa(at)?, at, out),
            3 => put(self.policy(at)?, at, out),
            _ => return None,
        })
    }
    fn into_status(self) -> Status {
        Status {
            active_peers: (0..).map_while(|at| self.peer(at)).collect(),
            installed_sas: (0..).map_while(|at| self.sa(at)).collect(),
            policies: (0..).map_while(|at| self.policy(at)).collect(),
            ..self.head
        }
    }
}

impl Rows for Report {
    fn more(&mut self, out: &mut Vec<u8>) -> serde_json::Result<bool> {
        let mut text = match self.text.take() {
            Some(text) => text,
            None => Text::new(&self.head)?,
        };
        for _ in 0..ROWS {
            if let Some(written) = self.row(text.list, text.row, out) {
                written?;
                text.row += 1;
                continue;
            }
            let Some(piece) = text.pieces.pop_front() else { return Ok(false) };
            out.extend_from_slice(piece.as_bytes());
            (text.list, text.row) = (text.list + 1, 0);
        }
        self.text = Some(text);
        Ok(true)
    }
}
impl Text {
    /// The answer with empty lists, cut where their rows come.
    fn new(head: &Status) -> serde_json::Result<Self> {
        #[derive(serde::Serialize)]
        struct Answer<'a> {
            status: &'a Status,
        }
        let whole = serde_json::to_string(&Answer { status: head })?;
        let (mut pieces, mut rest) = (VecDeque::new(), whole.as_str());
        // Quotes inside of values are escaped, so these words are found where they stand alone.
        for list in ["\"active-peers\":[]", "\"installed-sas\":[]", "\"policies\":[]"] {
            if let Some(at) = rest.find(list) {
                let end = at + list.len() - 1;
                pieces.push_back(rest[..end].to_owned());
                rest = &rest[end..];
            }
        }
        pieces.push_back(rest.to_owned());
        Ok(Self { pieces, list: 0, row: 0 })
    }
}

type Spd = (Arc<Vec<PolicySpec>>, Arc<Vec<Option<String>>>);
/// The whole SPD in its order and who negotiates; `peers` belongs to the configured policies.
fn with_generated(running: &Running, peers: Arc<Vec<Option<String>>>) -> Spd {
    let configured = &running.head.policies;
    if running.generated.is_empty() {
        return (Arc::clone(configured), peers);
    }
    let mut dynamic = Dynamic::default();
    dynamic.configure(&running.head.ranks);
    dynamic.set(running.generated.clone());
    let spd = dynamic.among(configured);
    let mut peers = peers.iter();
    let peer = |spec: &PolicySpec| match dynamic.get(spec.id) {
        Some(made) => Some(made.peer.clone()),
        None => peers.next().cloned().flatten(),
    };
    let peers = spd.iter().map(peer).collect();
    (Arc::new(spd), Arc::new(peers))
}
fn head(of: &Head, totals: Totals, uptime: u64) -> Status {
    let statistics = of.statistics.as_ref();
    let drops: Vec<_> = statistics.map(StatsReader::drops).unwrap_or_default();
    let sum = |stat: &Stat| drops.iter().filter(|(why, _)| why.stat() == Some(*stat)).map(|(_, n)| n).sum();
    Status {
        version: env!("CARGO_PKG_VERSION").into(),
        epoch: of.epoch,
        fastpath_attached: statistics.is_some(),
        uptime,
        fastpath_uptime: statistics.map_or(0, StatsReader::clock),
        totals,
        statistics: Stat::ALL.iter().map(|stat| (stat.name().to_owned(), sum(stat))).collect(),
        drops: drops.iter().map(|(why, n)| (why.name().to_owned(), *n)).collect(),
        ports: statistics.map(ports).unwrap_or_default(),
        ike: of.ike.iter().map(|(name, n)| ((*name).to_owned(), *n)).collect(),
        ipc: of.ipc.clone(),
        ..Status::default()
    }
}
fn ports(statistics: &StatsReader) -> Vec<PortStatus> {
    let port = |p: ipc::PortCounters| PortStatus {
        name: p.name,
        rx_packets: p.rx_packets,
        rx_bytes: p.rx_bytes,
        tx_packets: p.tx_packets,
        tx_bytes: p.tx_bytes,
        rx_missed: p.rx_missed,
        tx_errors: p.tx_errors,
    };
    statistics.ports().into_iter().map(port).collect()
}

pub(crate) fn active_peer(
    p: &PeerStatus,
    [rx_bytes, rx_packets, tx_bytes, tx_packets]: [u64; 4],
) -> ActivePeer {
    ActivePeer {
        peer: p.peer.clone(),
        id: p.id.clone(),
        local_address: p.local,
        remote_address: p.remote,
        state: p.state.into(),
        side: if p.initiator { Side::Initiator } else { Side::Responder },
        natt_peer: p.natt,
        spii: format!("{:016x}", p.spi_i),
        spir: format!("{:016x}", p.spi_r),
        uptime: p.uptime.as_secs(),
        last_seen: p.last_seen.as_secs(),
        ph2_total: p.ph2_total,
        algorithms: p.algorithms.clone(),
        rx_bytes,
        rx_packets,
        tx_bytes,
        tx_packets,
    }
}

pub(crate) fn installed_sa(
    spec: &SaSpec,
    child: Option<&ChildStatus>,
    counters: &SaCounters,
    statistics: Option<&StatsReader>,
    sensitive: bool,
) -> InstalledSa {
    let end = |addr: IpAddr, port: Option<u16>| match port {
        Some(port) => std::net::SocketAddr::new(addr, port).to_string(),
        None => addr.to_string(),
    };
    let local = end(spec.ends.local, spec.encap.map(|e| e.local_port));
    let remote = end(spec.ends.remote, spec.encap.map(|e| e.remote_port));
    let inbound = spec.direction == Direction::Inbound;
    let (src_address, dst_address) = if inbound { (remote, local) } else { (local, remote) };
    let identity = statistics.and_then(|s| s.identity(spec.slot)).filter(|i| i.spi == spec.spi);
    let keys =
        |keys: &[&sa::Key]| sensitive.then(|| keys.iter().map(|k| hex(k.expose())).collect::<String>());
    InstalledSa {
        peer: child.map(|c| c.peer.clone()).unwrap_or_default(),
        policy: spec.policy.0,
        direction: if inbound { SaDirection::In } else { SaDirection::Out },
        slot: spec.slot.0,
        spi: spec.spi.to_string(),
        src_address,
        dst_address,
        state: match (child.map(|c| c.state), identity) {
            // The engine knows of rekeys and deletes, the fast path of limits.
            (Some("mature"), Some(identity)) => identity.state.name().into(),
            (Some(state), Some(_)) => state.into(),
            (_, None) => "larval".into(),
            (None, Some(identity)) => identity.state.name().into(),
        },
        protocol: spec.protocol.name().into(),
        mode: match spec.mode {
            sa::Mode::Tunnel => "tunnel",
            sa::Mode::Transport => "transport",
        }
        .into(),
        enc_algorithm: spec.suite.encryption().family().into(),
        auth_algorithm: spec.suite.integrity().name().into(),
        engine: identity.and_then(|i| i.engine).map(|engine| engine.name().into()),
        enc_key_size: spec.suite.encryption().key_len() as u32 * 8,
        weak: spec.suite.weaknesses().next().is_some(),
        replay: spec.replay_window,
        esn: spec.esn,
        current_bytes: counters.bytes,
        current_packets: counters.packets,
        invalid_packets: counters.dropped,
        seen_traffic: counters.packets > 0,
        last_seq: counters.last_seq,
        age: child.map_or(0, |c| c.age.as_secs()),
        expires_in: child.map_or(0, |c| c.expires_in.as_secs()),
        idle: (counters.packets > 0 && counters.idle_seconds != u64::MAX).then_some(counters.idle_seconds),
        enc_key: keys(&[&spec.encryption_key, &spec.salt]),
        auth_key: keys(&[&spec.integrity_key]),
    }
}

fn port_range(range: PortRange) -> String {
    match range {
        range if range.is_any() => "any".into(),
        PortRange { first, last } if first == last => first.to_string(),
        PortRange { first, last } => format!("{first}-{last}"),
    }
}

pub(crate) fn policy(spec: &PolicySpec, peer: Option<String>, own: Option<&OfPolicy>) -> PolicyStatus {
    let live = own.map_or(0, |of| of.live);
    let ends = own.and_then(|of| of.ends);
    let (action, level, tunnel) = match spec.action {
        Action::Discard => ("discard", None, false),
        Action::Bypass => ("none", None, false),
        Action::Encrypt { level, tunnel } => ("encrypt", Some(level), tunnel),
    };
    let s = &spec.selector;
    PolicyStatus {
        id: spec.id.0,
        src_address: s.src.to_string(),
        dst_address: s.dst.to_string(),
        protocol: s.protocol.map_or_else(|| "all".into(), |p| p.to_string()),
        src_port: port_range(s.src_port),
        dst_port: port_range(s.dst_port),
        action: action.into(),
        level: match level {
            Some(Level::Use) => "use",
            Some(Level::Require) => "require",
            Some(Level::Unique) => "unique",
            None => "",
        }
        .into(),
        tunnel,
        peer: peer.unwrap_or_default(),
        sa_src_address: ends.map(|(local, _)| local),
        sa_dst_address: ends.map(|(_, remote)| remote),
        active: level.is_none() || live > 0,
        ph2_count: live,
        ph2_state: match (live, own.is_none()) {
            (1.., _) => "established",
            (0, false) => "expired",
            (0, true) => "no-phase2",
        }
        .into(),
    }
}
