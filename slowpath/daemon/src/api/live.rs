//! Rows of the running gateway, in the words of the table.
use crate::report;
use config::document::Object;
use config::model::Config;
use config::schema::Place;
use config::{Document, show_duration};
use ike::api::{ChildStatus, Generated, Page, PeerStatus, is_served};
use ipc::change::Entry;
use ipc::diagnosis::LogEntry;
use ipc::status::{ActivePeer, InstalledSa, SaDirection, Side};
use ipc::{PortCounters, StatsReader};
use manage::api::Shown;
use sa::{Action, PolicyId, SaSlot, Stat};
use serde_json::{Map, Value, json};
use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::time::Duration;

type Row = Map<String, Value>;

fn row<const N: usize>(id: String, cells: [(&str, Value); N]) -> Row {
    let cells = cells.into_iter().filter(|(_, value)| !value.is_null());
    let mut row: Row = cells.map(|(name, value)| (name.to_owned(), value)).collect();
    row.insert(".id".into(), id.into());
    row
}
fn seconds(seconds: u64) -> Value {
    show_duration(Duration::from_secs(seconds)).into()
}

/// What has the table's words already; its number becomes the `.id`.
pub fn plain(from: &impl serde::Serialize, id: u64) -> Option<Row> {
    let Ok(Value::Object(mut row)) = serde_json::to_value(from) else { return None };
    row.remove("id");
    row.insert(".id".into(), format!("*{id:X}").into());
    Some(row)
}
pub fn active_peers(page: &Page, statistics: Option<&StatsReader>) -> Vec<Row> {
    let sums = carried(page, statistics);
    let of = |peer: &PeerStatus| sums.get(&(peer.local, peer.remote)).copied().unwrap_or_default();
    page.peers.iter().map(|peer| active_peer(report::active_peer(peer, of(peer)))).collect()
}
/// Bytes and packets in, bytes and packets out, of the SAs between two addresses.
fn carried(page: &Page, statistics: Option<&StatsReader>) -> HashMap<(SocketAddr, SocketAddr), [u64; 4]> {
    let mut sums: HashMap<_, [u64; 4]> = HashMap::new();
    for (child, statistics) in page.children.iter().zip(std::iter::repeat(statistics)) {
        let Some(statistics) = statistics else { break };
        let sum = sums.entry((child.local, child.remote)).or_default();
        for (at, (slot, spi)) in [(0, child.inbound), (2, child.outbound)] {
            if statistics.identity(slot).is_some_and(|identity| identity.spi == spi) {
                let counters = statistics.sa(slot);
                sum[at] += counters.bytes;
                sum[at + 1] += counters.packets;
            }
        }
    }
    sums
}
fn active_peer(p: ActivePeer) -> Row {
    let initiator = p.side == Side::Initiator;
    row(
        format!("*{}", p.spii),
        [
            ("peer", p.peer.into()),
            ("id", p.id.into()),
            ("state", p.state.into()),
            ("uptime", seconds(p.uptime)),
            ("ph2-total", p.ph2_total.into()),
            ("remote-address", p.remote_address.ip().to_string().into()),
            ("port", p.remote_address.port().into()),
            ("local-address", p.local_address.ip().to_string().into()),
            ("side", if initiator { "initiator" } else { "responder" }.into()),
            ("responder", (!initiator).into()),
            ("natt-peer", p.natt_peer.into()),
            ("ppk", false.into()),
            ("last-seen", seconds(p.last_seen)),
            ("spii", p.spii.into()),
            ("spir", p.spir.into()),
            ("algorithms", p.algorithms.into()),
            ("rx-bytes", p.rx_bytes.into()),
            ("rx-packets", p.rx_packets.into()),
            ("tx-bytes", p.tx_bytes.into()),
            ("tx-packets", p.tx_packets.into()),
        ],
    )
}

pub fn installed_sas(page: &Page, statistics: Option<&StatsReader>, sensitive: bool) -> Vec<Row> {
    let slots = |child: &'_ ChildStatus| [child.inbound.0, child.outbound.0];
    let by_slot: HashMap<SaSlot, &ChildStatus> =
        page.children.iter().flat_map(|child| slots(child).map(|slot| (slot, child))).collect();
    let sa = |spec: &sa::SaSpec| {
        let child = by_slot.get(&spec.slot).copied();
        let child = child.filter(|c| [c.inbound, c.outbound].contains(&(spec.slot, spec.spi)));
        let counters = statistics.map(|s| s.sa(spec.slot)).unwrap_or_default();
        installed_sa(report::installed_sa(spec, child, &counters, statistics, sensitive))
    };
    page.installed.iter().map(sa).collect()
}
fn installed_sa(s: InstalledSa) -> Row {
    row(
        format!("*{:X}", s.slot),
        [
            ("spi", s.spi.into()),
            ("src-address", s.src_address.into()),
            ("dst-address", s.dst_address.into()),
            ("state", s.state.into()),
            ("auth-algorithm", s.auth_algorithm.into()),
            ("enc-algorithm", s.enc_algorithm.into()),
            ("enc-key-size", s.enc_key_size.into()),
            ("weak", s.weak.into()),
            ("auth-key", s.auth_key.into()),
            ("enc-key", s.enc_key.into()),
            ("expires-in", seconds(s.expires_in)),
            ("current-bytes", s.current_bytes.into()),
            ("current-packets", s.current_packets.into()),
            ("invalid-packets", s.invalid_packets.into()),
            ("replay", s.replay.into()),
            ("peer", s.peer.into()),
            ("direction", if s.direction == SaDirection::In { "in" } else { "out" }.into()),
            ("hw-aead", (s.engine.as_deref() == Some("cryptodev")).into()),
            ("engine", s.engine.into()),
            ("esn", s.esn.into()),
            ("age", seconds(s.age)),
            ("idle", s.idle.map_or(Value::Null, seconds)),
            ("seen-traffic", s.seen_traffic.into()),
            ("AH", (s.protocol == "ah").into()),
            ("ESP", (s.protocol == "esp").into()),
            ("mode", s.mode.into()),
        ],
    )
}

pub fn statistics(statistics: Option<&StatsReader>) -> Row {
    let drops = statistics.map(StatsReader::drops).unwrap_or_default();
    let sum =
        |stat: &Stat| drops.iter().filter(|(why, _)| why.stat() == Some(*stat)).map(|(_, n)| n).sum::<u64>();
    Stat::ALL.iter().map(|stat| (stat.name().to_owned(), sum(stat).into())).collect()
}

pub fn entry(entry: &Entry) -> Row {
    row(
        format!("*{:X}", entry.number),
        [
            ("number", entry.number.into()),
            ("when", config::date::show(entry.when).into()),
            ("who", entry.who.as_str().into()),
            ("comment", entry.comment.as_str().into()),
            ("changes", entry.changes.join("; ").into()),
        ],
    )
}

/// What was logged behind this id.
pub fn entries(logs: &logs::Handle, after: u64) -> Vec<LogEntry> {
    let shown = |e: logs::Entry| LogEntry {
        id: e.id,
        time: config::date::show(e.at.as_secs()),
        topics: e.topics,
        message: e.message,
    };
    logs.entries(after).into_iter().map(shown).collect()
}

/// What runs, as far as rows of the configuration show it.
#[derive(Default)]
pub struct Runtime {
    policies: HashMap<PolicyId, Policy>,
    /// Where each peer is.
    peers: HashMap<String, IpAddr>,
    /// Why the name of a peer has led nowhere.
    unresolved: HashMap<String, String>,
    ports: HashMap<String, PortCounters>,
    /// By the number of the row: what its file holds.
    keys: HashMap<u32, Shown>,
    /// By the number of the row: which policy it is.
    rows: HashMap<u32, (PolicyId, bool)>,
    /// Likewise, which template.
    templates: HashMap<u32, PolicyId>,
    /// Made from each template, the oldest first.
    made: HashMap<PolicyId, BTreeMap<PolicyId, Generated>>,
}
#[derive(Default)]
struct Policy {
    /// Peers whose SAs serve it.
    peers: Vec<String>,
    live: u32,
    ends: Option<(IpAddr, IpAddr)>,
}
impl Runtime {
    /// Whether rows of this menu show anything of it.
    pub fn concerns(place: &Place) -> bool {
        ["ip.ipsec.policy", "ip.ipsec.peer", "ip.ipsec.key", "interface"].contains(&place.path)
    }
    pub fn new(document: &Document, config: &Config) -> Self {
        // Checked policies are the enabled rows in their order; a row of another kind was refused.
        let place = config::schema::place("ip.ipsec.policy");
        let document_rows = place.map(|place| document.rows(place)).unwrap_or_default();
        let enabled: Vec<_> = document_rows
            .iter()
            .filter(|row| !row.disabled() && row.get("template") != Some("yes"))
            .collect();
        let policies = &config.ipsec.policies;
        let fit = enabled.len() == policies.len();
        let rows = enabled.iter().zip(policies).filter(|_| fit).map(|(row, policy)| {
            (row.id.0, (policy.spec.id, matches!(policy.spec.action, Action::Encrypt { .. })))
        });
        let is_on = |row: &&Object| !row.disabled() && row.get("template") == Some("yes");
        let on: Vec<_> = document_rows.iter().filter(is_on).collect();
        let known = &config.ipsec.templates;
        let templates = on.iter().zip(known).filter(|_| on.len() == known.len());
        let templates = templates.map(|(row, template)| (row.id.0, template.id)).collect();
        Self { rows: rows.collect(), templates, ..Self::default() }
    }
    pub fn add(&mut self, page: &Page) {
        for child in &page.children {
            for id in child.policies() {
                let policy = self.policies.entry(id).or_default();
                if is_served(child.state) {
                    policy.live += 1;
                    policy.peers.push(child.peer.clone());
                }
                policy.ends.get_or_insert((child.local.ip(), child.remote.ip()));
            }
        }
        for made in &page.generated {
            self.made.entry(made.template).or_default().insert(made.spec.id, made.clone());
        }
        for (peer, place) in &page.resolved {
            match place {
                Ok(address) => drop(self.peers.insert(peer.clone(), *address)),
                Err(why) => drop(self.unresolved.insert(peer.clone(), why.clone())),
            }
        }
        for peer in &page.peers {
            self.peers.entry(peer.peer.clone()).or_insert(peer.remote.ip());
        }
    }
    pub fn ports(&mut self, statistics: &StatsReader) {
        self.ports = statistics.ports().into_iter().map(|port| (port.name.clone(), port)).collect();
    }
    /// What files of raw keys hold; reads each of them.
    pub fn key_files(document: &Document) -> Self {
        let rows = config::schema::place("ip.ipsec.key").map_or(&[][..], |place| document.rows(place));
        let shown = |row: &Object| {
            let (public, private) = manage::credentials::key_in(Path::new(row.get("file")?))?;
            let bits = public.kind().bits();
            let cells = [
                ("key-size", json!(bits)),
                ("private-key", private.into()),
                ("rsa", matches!(public.kind(), pki::KeyKind::Rsa { .. }).into()),
            ];
            Some((row.id.0, cells.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()))
        };
        Self { keys: rows.iter().filter_map(shown).collect(), ..Self::default() }
    }
    pub fn shown(&self, place: &Place, row: &Object) -> Shown {
        match place.path {
            "ip.ipsec.policy" => self.policy(row),
            "ip.ipsec.peer" => self.peer(place, row),
            "interface" => self.port(row),
            "ip.ipsec.key" => self.keys.get(&row.id.0).cloned().unwrap_or_default(),
            _ => Shown::new(),
        }
    }
    /// Rows behind this one that nobody wrote: policies made from a template.
    pub fn made(&self, place: &Place, row: &Object) -> Vec<Row> {
        let template = self.templates.get(&row.id.0).filter(|_| place.path == "ip.ipsec.policy");
        let made = template.and_then(|template| self.made.get(template));
        made.into_iter().flat_map(BTreeMap::values).map(|made| self.made_policy(made)).collect()
    }
    fn made_policy(&self, made: &Generated) -> Row {
        let s = report::policy(&made.spec, Some(made.peer.clone()), None);
        let mut cells = row(
            format!("*{:X}", made.spec.id.0),
            [
                ("action", s.action.into()),
                ("src-address", s.src_address.into()),
                ("dst-address", s.dst_address.into()),
                ("protocol", s.protocol.into()),
                ("src-port", s.src_port.into()),
                ("dst-port", s.dst_port.into()),
                ("level", s.level.into()),
                ("tunnel", s.tunnel.into()),
                ("peer", s.peer.into()),
                ("proposal", made.proposal.as_str().into()),
                ("ipsec-protocols", made.protocol.name().into()),
                ("template", false.into()),
                ("backup", false.into()),
                ("disabled", false.into()),
                ("dynamic", true.into()),
                ("invalid", false.into()),
                ("default", false.into()),
            ],
        );
        cells.extend(self.state(made.spec.id));
        cells
    }
    fn policy(&self, row: &Object) -> Shown {
        match self.rows.get(&row.id.0) {
            None => Shown::new(),
            Some((_, false)) => [("active".to_owned(), true.into())].into_iter().collect(),
            Some((id, true)) => {
                let mut shown = self.state(*id);
                let first = row.get("peer").and_then(|peers| peers.split(',').next());
                let serving = self.policies.get(id).map_or(&[][..], |own| &own.peers);
                let backup = !serving.is_empty() && !serving.iter().any(|peer| Some(peer.as_str()) == first);
                shown.insert("backup".into(), backup.into());
                shown
            }
        }
    }
    /// What is said of a policy that encrypts.
    fn state(&self, id: PolicyId) -> Shown {
        let mut shown = Shown::new();
        let own = self.policies.get(&id);
        let live = own.map_or(0, |own| own.live);
        let state = match (live, own) {
            (1.., _) => "established",
            (0, Some(_)) => "expired",
            (0, None) => "no-phase2",
        };
        shown.insert("active".into(), (live > 0).into());
        shown.insert("ph2-count".into(), live.into());
        shown.insert("ph2-state".into(), state.into());
        if let Some((local, remote)) = own.and_then(|own| own.ends) {
            shown.insert("sa-src-address".into(), local.to_string().into());
            shown.insert("sa-dst-address".into(), remote.to_string().into());
        }
        shown
    }
    fn peer(&self, place: &Place, row: &Object) -> Shown {
        let mut shown = Shown::new();
        let effective = |name: &str| config::schema::place(place.path).and_then(|p| row.effective(p, name));
        if let Some(why) = row.name().and_then(|name| self.unresolved.get(name)) {
            shown.insert("unresolved".into(), why.as_str().into());
        }
        // One of several addresses cannot be called.
        let prefix = effective("address").and_then(|text| text.parse::<sa::Prefix>().ok());
        let listens = prefix.is_some_and(|prefix| prefix != sa::Prefix::host(prefix.addr()));
        shown.insert("responder".into(), (listens || effective("passive") == Some("yes")).into());
        if let Some(address) = row.name().and_then(|name| self.peers.get(name)) {
            shown.insert("current-address".into(), address.to_string().into());
        }
        shown
    }
    fn port(&self, row: &Object) -> Shown {
        let mut shown = Shown::new();
        let Some(port) = row.name().and_then(|name| self.ports.get(name)) else { return shown };
        shown.insert("running".into(), true.into());
        for (name, count) in [
            ("rx-packet", port.rx_packets),
            ("rx-byte", port.rx_bytes),
            ("rx-drop", port.rx_missed),
            ("tx-packet", port.tx_packets),
            ("tx-byte", port.tx_bytes),
            ("tx-error", port.tx_errors),
        ] {
            shown.insert(name.into(), json!(count));
        }
        shown
    }
}
