//! The status answer: what the engine knows, and what the statistics table counts.
use crate::driver::Driver;
use crate::keylog::hex;
use crate::negotiator::Negotiator;
use ike::api::{ChildStatus, Now, PeerStatus};
use ipc::status::{ActivePeer, InstalledSa, PolicyStatus, PortStatus, SaDirection, Side, Status};
use ipc::{SaCounters, StatsReader};
use sa::{Action, Direction, Encryption, Level, PolicySpec, PortRange, SaSpec, Stat};
use std::collections::{BTreeMap, HashMap};

impl<E: Negotiator> Driver<E> {
    /// `policy_peers` belongs to the policies, in their order.
    pub fn status(&self, policy_peers: &[Option<String>], uptime: u64, sensitive: bool, now: Now) -> Status {
        let statistics = self.slow().map(|slow| slow.statistics());
        let children = self.engine.children(now);
        let specs = self.engine.installed();
        let counters = |spec: &SaSpec| statistics.map(|s| s.sa(spec.slot)).unwrap_or_default();
        let installed_sas: Vec<InstalledSa> = specs
            .iter()
            .map(|spec| {
                let child =
                    children.iter().find(|c| [c.inbound, c.outbound].contains(&(spec.slot, spec.spi)));
                installed_sa(spec, child, &counters(spec), statistics, sensitive)
            })
            .collect();
        let peers = self.engine.peers(now);
        let drops: Vec<_> = statistics.map(StatsReader::drops).unwrap_or_default();
        Status {
            version: env!("CARGO_PKG_VERSION").into(),
            epoch: self.slow().map_or(0, |slow| slow.epoch()),
            fastpath_attached: self.slow().is_some(),
            uptime,
            fastpath_uptime: statistics.map_or(0, StatsReader::clock),
            active_peers: peers.iter().map(|p| active_peer(p, &installed_sas)).collect(),
            policies: self
                .policies
                .iter()
                .enumerate()
                .map(|(rank, spec)| {
                    let peer = policy_peers.get(rank).cloned().flatten();
                    policy(spec, peer, &children)
                })
                .collect(),
            statistics: Stat::ALL
                .iter()
                .map(|stat| {
                    let sum = drops.iter().filter(|(why, _)| why.stat() == Some(*stat)).map(|(_, n)| n).sum();
                    (stat.name().to_owned(), sum)
                })
                .collect(),
            drops: drops.iter().map(|(why, n)| (why.name().to_owned(), *n)).collect(),
            ports: statistics.map(ports).unwrap_or_default(),
            ike: self.engine.counters().into_iter().map(|(name, n)| (name.to_owned(), n)).collect(),
            ipc: self.ipc_counters(),
            installed_sas,
        }
    }

    fn ipc_counters(&self) -> BTreeMap<String, u64> {
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
        own.into_iter().chain(both).map(|(name, n)| (name.to_owned(), n)).collect()
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

fn active_peer(p: &PeerStatus, sas: &[InstalledSa]) -> ActivePeer {
    let sum = |direction: SaDirection, of: fn(&InstalledSa) -> u64| {
        sas.iter().filter(|s| s.peer == p.peer && s.direction == direction).map(of).sum()
    };
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
        rx_bytes: sum(SaDirection::In, |s| s.current_bytes),
        rx_packets: sum(SaDirection::In, |s| s.current_packets),
        tx_bytes: sum(SaDirection::Out, |s| s.current_bytes),
        tx_packets: sum(SaDirection::Out, |s| s.current_packets),
    }
}

/// RouterOS names the family of the algorithm and the key's size apart.
fn family(encryption: Encryption) -> &'static str {
    match encryption {
        Encryption::Null => "null",
        Encryption::Aes128Cbc | Encryption::Aes192Cbc | Encryption::Aes256Cbc => "aes-cbc",
        Encryption::Aes128Gcm | Encryption::Aes192Gcm | Encryption::Aes256Gcm => "aes-gcm",
        Encryption::ChaCha20Poly1305 => "chacha20poly1305",
    }
}

fn installed_sa(
    spec: &SaSpec,
    child: Option<&ChildStatus>,
    counters: &SaCounters,
    statistics: Option<&StatsReader>,
    sensitive: bool,
) -> InstalledSa {
    let end = |addr: std::net::IpAddr, port: Option<u16>| match port {
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
        enc_algorithm: family(spec.suite.encryption()).into(),
        auth_algorithm: spec.suite.integrity().name().into(),
        engine: identity.and_then(|i| i.engine).map(|engine| engine.name().into()),
        enc_key_size: spec.suite.encryption().key_len() as u32 * 8,
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

fn policy(spec: &PolicySpec, peer: Option<String>, children: &[ChildStatus]) -> PolicyStatus {
    let own: Vec<&ChildStatus> = children.iter().filter(|c| c.policy == spec.id).collect();
    let states: HashMap<&str, usize> = own.iter().fold(HashMap::new(), |mut states, c| {
        *states.entry(c.state).or_default() += 1;
        states
    });
    let live = states.get("mature").copied().unwrap_or(0) + states.get("larval").copied().unwrap_or(0);
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
        sa_src_address: own.first().map(|c| c.local.ip()),
        sa_dst_address: own.first().map(|c| c.remote.ip()),
        active: level.is_none() || live > 0,
        ph2_count: live as u32,
        ph2_state: match (live, own.is_empty()) {
            (1.., _) => "established",
            (0, false) => "expired",
            (0, true) => "no-phase2",
        }
        .into(),
    }
}
