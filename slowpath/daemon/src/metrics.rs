//! Everything that can be counted, in OpenMetrics. Labels are names: SPIs and slots come and go.
//!
//! Made of a copy of what runs, in any thread but the driver's.
use crate::carried::{Ways, way};
use crate::running::Running;
use config::{show_ports, show_protocol};
use ike::api::is_served;
use ipc::{StatsReader, WorkerCounters};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, NoLabelSet, text};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;
use sa::{DropReason, PolicyId, Stat};
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::{Mutex, PoisonError};

/// What the SAs of each policy, or made from each template, have carried: those that are gone and those that live. An SA
/// that ends between the two readings is in none of them, so what was said once is not taken back.
#[derive(Debug, Default)]
pub struct Sums(HashMap<PolicyId, Ways>);
impl Sums {
    fn read(&mut self, running: &Running, known: &HashSet<PolicyId>) {
        let mut now = HashMap::clone(&running.head.ended);
        let made: HashMap<PolicyId, PolicyId> =
            running.generated.iter().map(|made| (made.spec.id, made.template)).collect();
        if let Some(statistics) = &running.head.statistics {
            for (slot, identity) in statistics.installed() {
                let of = made.get(&identity.policy).copied().unwrap_or(identity.policy);
                now.entry(of).or_default()[way(identity.direction)].add(statistics.sa(slot).into());
            }
        }
        self.0.retain(|id, _| known.contains(id));
        for (id, sums) in now.into_iter().filter(|(id, _)| known.contains(id)) {
            let said = self.0.entry(id).or_default();
            said.iter_mut().zip(sums).for_each(|(said, now)| said.raise(now));
        }
    }
    fn of(&self, id: PolicyId) -> Ways {
        self.0.get(&id).copied().unwrap_or_default()
    }
}
const DIRECTIONS: [&str; 2] = ["in", "out"];

/// Numbers of about one moment.
#[derive(Debug)]
pub struct Snapshot {
    families: Vec<Family>,
}
#[derive(Debug)]
struct Family {
    about: &'static About,
    samples: Vec<(Labels, Number)>,
}
type Labels = Vec<(&'static str, String)>;
#[derive(Clone, Copy, Debug)]
enum Number {
    Whole(u64),
    /// Nanoseconds, shown as seconds.
    Nanos(u64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Counter,
    Gauge,
    Info,
}
/// Name without what OpenMetrics puts behind it, kind, help.
#[derive(Debug)]
struct About(&'static str, Kind, &'static str);

macro_rules! families {
    ($($id:ident $name:literal $kind:ident $help:literal,)*) => {
        $(static $id: About = About($name, Kind::$kind, $help);)*
        static ALL: &[&About] = &[$(&$id),*];
    };
}
families! {
    BUILD "espway_build" Info "Version of the slow path",
    UPTIME "espway_process_uptime_seconds" Gauge "Seconds since a process started",
    ATTACHED "espway_fastpath_attached" Gauge "Whether slow path and fast path are connected",
    SA_SLOTS "espway_sa_slots" Gauge "Slots of the SA table",
    SA_USED "espway_sa_slots_used" Gauge "Slots that hold an SA",
    PEER_UP "espway_peer_up" Gauge "Whether a configured peer has an established IKE SA",
    PEER_SAS "espway_peer_ike_sas" Gauge "IKE SAs with a configured peer, established or not",
    PEER_UPTIME "espway_peer_uptime_seconds" Gauge "Age of the peer's oldest established IKE SA; 0 when there is none",
    PEER_SILENT "espway_peer_silent_seconds" Gauge "Seconds since the peer's last IKE message; 0 when there is no IKE SA",
    POLICY_UP "espway_policy_up" Gauge "Whether a policy can pass packets: it needs no SA, or has a usable pair",
    POLICY_SAS "espway_policy_sa_pairs" Gauge "Usable pairs of SAs of a policy",
    POLICY_PACKETS "espway_policy_packets" Counter "Packets that passed under the SAs of a policy",
    POLICY_BYTES "espway_policy_bytes" Counter "Bytes of those packets",
    POLICY_DROPPED "espway_policy_dropped" Counter "Packets that named an SA of a policy and were dropped",
    TEMPLATE_POLICIES "espway_template_policies" Gauge "Policies that were made from a template and are in force",
    TEMPLATE_PEERS "espway_template_peers" Gauge "Configured peers that these policies are for",
    TEMPLATE_PACKETS "espway_template_packets" Counter "Packets that passed under the SAs of policies made from a template",
    TEMPLATE_BYTES "espway_template_bytes" Counter "Bytes of those packets",
    TEMPLATE_DROPPED "espway_template_dropped" Counter "Packets that named one of those SAs and were dropped",
    STATISTIC "espway_ipsec_statistics" Counter "The 25 counters of /ip ipsec statistics",
    DROPS "espway_drops" Counter "Packets that did not leave, by reason and worker; main is the control thread",
    BURSTS "espway_worker_bursts" Counter "Bursts a worker received",
    PACKETS "espway_worker_packets" Counter "Packets in those bursts",
    TURNS "espway_worker_turns" Counter "Turns of a worker's loop",
    BUSY_TURNS "espway_worker_busy_turns" Counter "Turns in which there was something to do",
    BUSY "espway_worker_busy_seconds" Counter "Time in turns with something to do",
    IDLE "espway_worker_idle_seconds" Counter "Time in the other turns, asleep or looking",
    RX_PACKETS "espway_port_rx_packets" Counter "Packets a port received",
    RX_BYTES "espway_port_rx_bytes" Counter "Bytes a port received",
    TX_PACKETS "espway_port_tx_packets" Counter "Packets a port sent",
    TX_BYTES "espway_port_tx_bytes" Counter "Bytes a port sent",
    RX_MISSED "espway_port_rx_missed" Counter "Packets a port had no room or buffer for",
    TX_ERRORS "espway_port_tx_errors" Counter "Packets a port could not send",
    IKE "espway_ike_events" Counter "What the IKE engine counts, as in status",
    IPC "espway_ipc_events" Counter "What the slow path counts of its work with the fast path, as in status",
    VAULT "espway_vault_records" Gauge "IKE SAs in the vault",
}

/// Names as they are exported, in the order of the text.
pub fn names() -> impl Iterator<Item = String> {
    ALL.iter().map(|About(name, kind, _)| match kind {
        Kind::Counter => format!("{name}_total"),
        Kind::Gauge => (*name).to_owned(),
        Kind::Info => format!("{name}_info"),
    })
}

/// The whole text.
pub fn text(running: &Running, config: &config::Config, sums: &Mutex<Sums>, uptime: u64) -> String {
    let mut sums = sums.lock().unwrap_or_else(PoisonError::into_inner);
    let snapshot = Snapshot::take(running, config, &mut sums, uptime);
    drop(sums);
    snapshot.render()
}

impl Snapshot {
    /// Every configured peer and policy is in it, up or not.
    pub fn take(running: &Running, config: &config::Config, sums: &mut Sums, uptime: u64) -> Self {
        let statistics = running.head.statistics.as_ref();
        let ipsec = &config.ipsec;
        let known = ipsec.policies.iter().map(|policy| policy.spec.id);
        let known = known.chain(ipsec.templates.iter().map(|template| template.id)).collect();
        sums.read(running, &known);
        let mut all = Builder::default();
        all.one(&BUILD, vec![("version", env!("CARGO_PKG_VERSION").into())], 1);
        all.one(&UPTIME, vec![("process", "slowpath".into())], uptime);
        all.one(&UPTIME, vec![("process", "fastpath".into())], statistics.map_or(0, StatsReader::clock));
        all.one(&ATTACHED, vec![], statistics.is_some().into());
        peers(&mut all, running, config);
        policies(&mut all, running, config, sums);
        templates(&mut all, running, config, sums);
        if let Some(statistics) = statistics {
            fast(&mut all, statistics);
        }
        let drops = statistics.map(StatsReader::drops).unwrap_or_default();
        for stat in Stat::ALL {
            let sum = drops.iter().filter(|(why, _)| why.stat() == Some(*stat)).map(|(_, n)| n).sum();
            all.one(&STATISTIC, vec![("statistic", stat.name().into())], sum);
        }
        for (name, n) in running.head.ike.iter().copied() {
            all.one(&IKE, vec![("event", name.into())], n);
        }
        for (name, n) in running.head.ipc.clone() {
            match name.as_str() {
                "vault-records" => all.one(&VAULT, vec![], n),
                _ => all.one(&IPC, vec![("event", name)], n),
            }
        }
        Self { families: all.families() }
    }
    pub fn render(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut out = String::new();
        // Writing to a string does not fail.
        let _ = text::encode(&mut out, &registry);
        out
    }
}

#[derive(Default)]
struct Builder {
    samples: HashMap<&'static str, Vec<(Labels, Number)>>,
}
impl Builder {
    fn one(&mut self, about: &'static About, labels: Labels, n: u64) {
        self.put(about, labels, Number::Whole(n));
    }
    fn put(&mut self, about: &'static About, labels: Labels, number: Number) {
        self.samples.entry(about.0).or_default().push((labels, number));
    }
    fn families(mut self) -> Vec<Family> {
        let family = |about: &&'static About| Family {
            about,
            samples: self.samples.remove(about.0).unwrap_or_default(),
        };
        ALL.iter().map(family).collect()
    }
}

fn peers(all: &mut Builder, running: &Running, config: &config::Config) {
    let mut by_name: HashMap<&str, Vec<_>> = HashMap::new();
    for status in &running.peers {
        by_name.entry(&status.peer).or_default().push(status);
    }
    for peer in &config.ipsec.peers {
        let sas = by_name.get(peer.name.as_str()).map_or(&[][..], Vec::as_slice);
        let up: Vec<_> = sas.iter().filter(|sa| sa.state == "established").collect();
        let label = || vec![("peer", peer.name.clone())];
        all.one(&PEER_UP, label(), (!up.is_empty()).into());
        all.one(&PEER_SAS, label(), sas.len() as u64);
        all.one(&PEER_UPTIME, label(), up.iter().map(|sa| sa.uptime.as_secs()).max().unwrap_or(0));
        all.one(&PEER_SILENT, label(), sas.iter().map(|sa| sa.last_seen.as_secs()).min().unwrap_or(0));
    }
}

fn policies(all: &mut Builder, running: &Running, config: &config::Config, sums: &Sums) {
    let mut pairs: HashMap<PolicyId, u64> = HashMap::new();
    for child in running.children.iter().filter(|child| is_served(child.state)) {
        for policy in child.policies() {
            *pairs.entry(policy).or_default() += 1;
        }
    }
    for policy in &config.ipsec.policies {
        let labels = || {
            vec![
                ("policy", policy_name(&policy.spec.selector)),
                ("peer", policy.peer.clone().unwrap_or_default()),
            ]
        };
        let pairs = pairs.get(&policy.spec.id).copied().unwrap_or(0);
        let encrypts = matches!(policy.spec.action, sa::Action::Encrypt { .. });
        all.one(&POLICY_UP, labels(), (!encrypts || pairs > 0).into());
        if !encrypts {
            continue;
        }
        all.one(&POLICY_SAS, labels(), pairs);
        carried(all, [&POLICY_PACKETS, &POLICY_BYTES, &POLICY_DROPPED], &labels, sums.of(policy.spec.id));
    }
}
/// Policies made from a template come and go with their clients, so the template is what is counted.
fn templates(all: &mut Builder, running: &Running, config: &config::Config, sums: &Sums) {
    let mut made: HashMap<PolicyId, (u64, HashSet<&str>)> = HashMap::new();
    for policy in &running.generated {
        let (policies, peers) = made.entry(policy.template).or_default();
        *policies += 1;
        peers.insert(&policy.peer);
    }
    for template in &config.ipsec.templates {
        let name = template.selectors.iter().map(policy_name).collect::<Vec<_>>().join(", ");
        let labels = || vec![("template", name.clone()), ("group", template.group.clone())];
        let (policies, peers) = made.get(&template.id).map_or((0, 0), |(n, peers)| (*n, peers.len()));
        all.one(&TEMPLATE_POLICIES, labels(), policies);
        all.one(&TEMPLATE_PEERS, labels(), peers as u64);
        carried(all, [&TEMPLATE_PACKETS, &TEMPLATE_BYTES, &TEMPLATE_DROPPED], &labels, sums.of(template.id));
    }
}
fn carried(all: &mut Builder, about: [&'static About; 3], labels: &dyn Fn() -> Labels, ways: Ways) {
    for (direction, carried) in DIRECTIONS.iter().zip(ways) {
        for (about, n) in about.iter().zip([carried.packets, carried.bytes, carried.dropped]) {
            let mut labels = labels();
            labels.push(("direction", (*direction).into()));
            all.one(about, labels, n);
        }
    }
}
/// A policy has no name but what it selects, which is its own alone.
fn policy_name(s: &sa::Selector) -> String {
    let mut name = format!("{} > {}", s.src, s.dst);
    if s.protocol.is_some() {
        name += &format!(" {}", show_protocol(s.protocol));
    }
    if !s.src_port.is_any() || !s.dst_port.is_any() {
        name += &format!(" {} > {}", show_ports(s.src_port), show_ports(s.dst_port));
    }
    name
}

fn fast(all: &mut Builder, statistics: &StatsReader) {
    all.one(&SA_SLOTS, vec![], statistics.slots().into());
    all.one(&SA_USED, vec![], statistics.installed().count() as u64);
    let loads = statistics.worker_counters();
    let main = loads.len().saturating_sub(1);
    let worker = |n: usize| if n == main { "main".to_owned() } else { n.to_string() };
    for (n, load) in loads.iter().enumerate().take(main) {
        let WorkerCounters { turns, busy_turns, bursts, packets, busy_ns, idle_ns } = *load;
        let label = || vec![("worker", worker(n))];
        for (about, n) in [(&TURNS, turns), (&BUSY_TURNS, busy_turns), (&BURSTS, bursts), (&PACKETS, packets)]
        {
            all.one(about, label(), n);
        }
        all.put(&BUSY, label(), Number::Nanos(busy_ns));
        all.put(&IDLE, label(), Number::Nanos(idle_ns));
    }
    for (n, drops) in statistics.drops_by_worker().into_iter().enumerate().take(main + 1) {
        for (reason, count) in drops {
            let reason: DropReason = reason;
            all.one(&DROPS, vec![("worker", worker(n)), ("reason", reason.name().into())], count);
        }
    }
    for port in statistics.ports() {
        for (about, n) in [
            (&RX_PACKETS, port.rx_packets),
            (&RX_BYTES, port.rx_bytes),
            (&TX_PACKETS, port.tx_packets),
            (&TX_BYTES, port.tx_bytes),
            (&RX_MISSED, port.rx_missed),
            (&TX_ERRORS, port.tx_errors),
        ] {
            all.one(about, vec![("port", port.name.clone())], n);
        }
    }
}

impl Collector for Snapshot {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        for Family { about: About(name, kind, help), samples } in &self.families {
            let kind_of = match kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Info => MetricType::Info,
            };
            let mut family = encoder.encode_descriptor(name, help, None, kind_of)?;
            for (labels, number) in samples {
                let seconds = |n: u64| n as f64 / 1e9;
                match (kind, number) {
                    (Kind::Info, _) => family.encode_info(labels)?,
                    (Kind::Gauge, Number::Whole(n)) if labels.is_empty() => family.encode_gauge(n)?,
                    (Kind::Gauge, Number::Whole(n)) => family.encode_family(labels)?.encode_gauge(n)?,
                    (Kind::Gauge, Number::Nanos(n)) => {
                        family.encode_family(labels)?.encode_gauge(&seconds(*n))?
                    }
                    (Kind::Counter, Number::Whole(n)) => {
                        family.encode_family(labels)?.encode_counter::<NoLabelSet, u64, u64>(n, None)?;
                    }
                    (Kind::Counter, Number::Nanos(n)) => {
                        family
                            .encode_family(labels)?
                            .encode_counter::<NoLabelSet, f64, u64>(&seconds(*n), None)?;
                    }
                }
            }
        }
        Ok(())
    }
}
