//! The checked configuration: what both daemons may rely on without checking again.
//!
//! Names are unique, references point at what exists (and are resolved to it), disabled objects are gone,
//! defaults are filled in. Objects and words are RouterOS's; see `schema` for each property.
use crate::Secret;
use sa::{
    Device, Framing, InterfaceName, Level, PolicyId, PolicySpec, Prefix, Protocol, ReplayWidth, SaSpec,
    Selector, Suite,
};
pub use sa::{DhGroup, IkeCipher, IkeIntegrity, KeRound, Prf};
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Config {
    pub system: System,
    /// In the order of the file; a VLAN's parent is among them.
    pub interfaces: Vec<Interface>,
    pub addresses: Vec<Address>,
    pub routes: Vec<Route>,
    pub ipsec: Ipsec,
    pub logging: Vec<Logging>,
    pub api: Api,
}

/// The management API over TCP.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Api {
    /// `None`: only on the machine itself.
    pub listen: Option<ApiListen>,
    pub users: Vec<ApiUser>,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiListen {
    pub address: IpAddr,
    pub port: u16,
    pub certificate: PathBuf,
    pub key: PathBuf,
    pub client_ca: Option<PathBuf>,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ApiUser {
    pub name: String,
    pub token: Option<Secret>,
    /// 32 bytes.
    pub token_sha256: Option<Secret>,
    pub certificate_name: Option<String>,
    /// `read`, `write`, `sensitive`.
    pub roles: Vec<String>,
    /// Seconds since 1970.
    pub expires: Option<u64>,
}

/// Where a row of `system logging` sends to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LogAction {
    Memory,
    Disk,
    Echo,
    Remote(Syslog),
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Syslog {
    pub to: SocketAddr,
    pub from: Option<IpAddr>,
    /// RFC 3164's shape.
    pub bsd: bool,
    /// Numbers of RFC 5424 6.2.1.
    pub facility: u8,
    /// `None`: as the message is.
    pub severity: Option<u8>,
}
/// A row of `system logging`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Logging {
    /// As written: `!topic` excludes.
    pub topics: Vec<String>,
    pub action: LogAction,
    pub prefix: String,
    /// Empty: every message. A good expression.
    pub regex: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct System {
    /// The gateway's name; also the DPDK file prefix and the last part of the default `run_dir`.
    pub name: String,
    pub workers: Workers,
    /// The CPU of control, ARP, ICMP and timers; `None`: chosen at start, apart from the workers if possible.
    pub main_core: Option<u16>,
    /// Bytes the fast path may take for packet buffers and tables; a multiple of 1 MiB.
    pub memory: u64,
    pub hugepages: Hugepages,
    /// Packet buffers in the pool.
    pub buffers: u32,
    /// Slots of the SA table, both directions together; a power of two.
    pub sa_slots: u32,
    pub idle: Idle,
    /// Whether idle workers take bursts from one whose queue is full.
    pub share: Share,
    /// Crypto engines in order of preference, not empty, no repetition. `None`: the fastest of the machine for each
    /// suite.
    pub engines: Option<Vec<Engine>>,
    pub run_dir: PathBuf,
    /// Permits what has no place in production, such as keys in the file.
    pub lab: bool,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Workers {
    /// So many, on CPUs chosen at start.
    Count(u16),
    /// One on each of these; not empty, no repetition.
    Cpus(Vec<u16>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Idle {
    /// Never sleep: lowest latency, a worker's CPU is always at 100 %.
    Poll,
    /// Sleep longer the longer nothing arrives, never longer than this.
    Adaptive { max_sleep: Duration },
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    pub name: String,
    pub kind: InterfaceKind,
    /// Of the IP packet, without Ethernet header and tags.
    pub mtu: u16,
    /// `None`: what the device brings along.
    pub mac_address: Option<[u8; 6]>,
    /// The TAP through which the host sees traffic for the gateway itself; `None`: no host behind this port.
    pub exception_tap: Option<InterfaceName>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum InterfaceKind {
    Port {
        device: Device,
    },
    Vlan {
        /// Name of an interface of kind `Port`.
        parent: String,
        id: u16,
    },
}

/// An address of the gateway and the network that is reached directly through its interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    pub address: IpAddr,
    pub prefix_len: u8,
    pub interface: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    pub dst: Prefix,
    pub gateway: Gateway,
    pub distance: u8,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gateway {
    /// A next hop, and the interface it is reached through.
    Via { address: IpAddr, interface: String },
    /// The destination is on this link.
    Interface(String),
    /// Packets are dropped.
    Blackhole,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ipsec {
    pub peers: Vec<Arc<Peer>>,
    /// In rank order: first match wins.
    pub policies: Vec<Policy>,
    /// In their order.
    pub templates: Vec<Template>,
    pub settings: Settings,
    /// SAs with keys from the file. Their slots number them; whoever runs a gateway hands out others.
    pub manual_sas: Vec<SaSpec>,
    pub credentials: Credentials,
}
/// Files that identities name.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Credentials {
    pub certificates: Vec<CertificateFile>,
    pub keys: Vec<KeyFile>,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CertificateFile {
    pub name: String,
    pub file: PathBuf,
    /// `None`: the key, if there is one, is in `file`.
    pub key_file: Option<PathBuf>,
    /// It may vouch for others.
    pub trusted: bool,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFile {
    pub name: String,
    pub file: PathBuf,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Profile {
    pub name: String,
    pub dh_groups: Vec<DhGroup>,
    /// Further key exchanges.
    pub additional: Vec<KeRound>,
    /// `None`: `disable-dpd`.
    pub dpd_interval: Option<Duration>,
    pub encryption: Vec<IkeCipher>,
    /// Integrity of IKE messages; not used with AES-GCM.
    pub hash: IkeIntegrity,
    /// `auto` is resolved to `hash`.
    pub prf: Prf,
    pub lifetime: Duration,
    pub nat_traversal: bool,
    pub extensions: Extensions,
}

/// What IKEv2 can since RFC 7296.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Extensions {
    /// 0: never.
    pub fragment_size: u16,
    pub mobike: bool,
    pub childless: bool,
    pub follow_redirects: bool,
    pub window: u32,
}
/// Always IKEv2. No two have the same `address`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    pub name: String,
    /// Remote addresses this entry serves; the longest match wins. A host unless `passive`.
    pub address: Prefix,
    /// A DNS name to look up, instead of `address`, which then means nothing.
    pub host: Option<String>,
    /// One of the gateway's addresses; `None`: the one the route to the peer leads to.
    pub local_address: Option<IpAddr>,
    pub port: u16,
    pub passive: bool,
    pub send_initial_contact: bool,
    pub profile: Arc<Profile>,
    /// In the order of the file; without one nothing is negotiated.
    pub identities: Vec<Identity>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    pub my_id: MyId,
    pub remote_id: RemoteId,
    /// A caller is known by its certificate, not by `remote_id`.
    pub match_by_certificate: bool,
    pub auth: Auth,
    /// Policies are made of what the peer asks for. The group has a template.
    pub generate: Option<Generate>,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generate {
    /// `port-override`: for all ports, whichever are asked for.
    pub any_port: bool,
    pub group: String,
}

/// How each side proves who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Auth {
    pub ours: Proof,
    pub theirs: Proof,
    pub allow_sha1: bool,
    /// RSA signatures of ours by PKCS#1 v1.5 instead of PSS.
    pub pkcs1: bool,
}
impl Auth {
    /// Both sides have this secret.
    pub fn secret(secret: Secret) -> Self {
        let (ours, theirs) = (Proof::Secret(secret.clone()), Proof::Secret(secret));
        Self { ours, theirs, allow_sha1: false, pkcs1: false }
    }
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Proof {
    Secret(Secret),
    /// Names of `certificate`: ours with its chain, or the one that the peer must have; none: any of a trusted authority.
    Certificate(Vec<String>),
    /// Name of `ip ipsec key`.
    Key(String),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MyId {
    /// The name of our certificate, or our address.
    Auto,
    /// Our certificate's subject.
    Subject,
    Id(Id),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteId {
    /// Any.
    Auto,
    Ignore,
    /// That of `remote-certificate`.
    Subject,
    Id(Id),
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Id {
    Address(IpAddr),
    Fqdn(String),
    UserFqdn(String),
    KeyId(String),
    /// `CN=gw,O=Example`.
    Dn(String),
}

/// What is offered and accepted for a Child SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Proposal {
    pub name: String,
    /// In order of preference, not empty. AES-GMAC as an integrity algorithm is for AH alone.
    pub suites: Vec<Suite>,
    /// `None`: no limit by time.
    pub lifetime: Option<Duration>,
    /// 0: no limit by amount.
    pub lifebytes: u64,
    pub pfs_group: Option<DhGroup>,
    /// Further key exchanges after that one, at most one round in this version.
    pub additional: Vec<KeRound>,
    pub replay_window: ReplayWidth,
    /// Offer extended sequence numbers (and accept 32-bit ones).
    pub esn: bool,
}

impl Policy {
    /// What is offered for its SAs, in order of preference: AH takes the integrity algorithms of the proposal.
    pub fn suites(&self) -> Vec<Suite> {
        suites_of(self.protocol, &self.proposal)
    }
}
impl Template {
    pub fn suites(&self) -> Vec<Suite> {
        suites_of(self.protocol, &self.proposal)
    }
}
fn suites_of(protocol: Protocol, proposal: &Proposal) -> Vec<Suite> {
    match protocol {
        Protocol::Esp => esp_suites(&proposal.suites).collect(),
        Protocol::Ah => ah_suites(&proposal.suites),
    }
}
/// All of these but the ones for AH alone.
pub fn esp_suites(suites: &[Suite]) -> impl Iterator<Item = Suite> + '_ {
    suites.iter().copied().filter(|suite| suite.integrity().iv_len() == 0)
}
/// The integrity algorithms of these suites, each once.
pub fn ah_suites(suites: &[Suite]) -> Vec<Suite> {
    let mut found = Vec::new();
    for suite in suites.iter().filter_map(|s| Suite::ah(s.integrity()).ok()) {
        if !found.contains(&suite) {
            found.push(suite);
        }
    }
    found
}

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Policy {
    /// The id depends on the selector alone: moving a policy or changing others does not change it.
    pub spec: PolicySpec,
    /// Name of the peer that negotiates. `None` for `none` and `discard`, for a disabled peer (then nothing
    /// is negotiated and packets that need an SA are dropped), and for manual SAs.
    pub peer: Option<String>,
    /// Who is asked while that one is not there, in order.
    pub backups: Vec<String>,
    pub protocol: Protocol,
    pub proposal: Arc<Proposal>,
    pub comment: String,
}

/// What policies may be made of what a peer asks for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Template {
    /// Of the group and the selectors, and different from those of all policies.
    pub id: PolicyId,
    /// So many policies stand above it.
    pub place: usize,
    pub group: String,
    /// One, or, of `::/0`, one for each IP version.
    pub selectors: Vec<Selector>,
    pub level: Level,
    pub framing: Framing,
    pub protocol: Protocol,
    pub proposal: Arc<Proposal>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Settings {
    /// Half-open IKE SAs from which cookies are demanded.
    pub ddos_cookie_threshold: u32,
    pub redirect_to: Option<IpAddr>,
}

impl Config {
    pub fn interface(&self, name: &str) -> Option<&Interface> {
        self.interfaces.iter().find(|i| i.name == name)
    }
}
impl Interface {
    pub fn device(&self) -> Option<&Device> {
        match &self.kind {
            InterfaceKind::Port { device } => Some(device),
            InterfaceKind::Vlan { .. } => None,
        }
    }
}
impl Address {
    /// The network that is on the link.
    pub fn network(&self) -> Prefix {
        Prefix::new(self.address, self.prefix_len).unwrap_or(Prefix::host(self.address))
    }
}
impl Ipsec {
    pub fn peer(&self, name: &str) -> Option<&Arc<Peer>> {
        self.peers.iter().find(|p| p.name == name)
    }
    pub fn policy(&self, id: PolicyId) -> Option<&Policy> {
        self.policies.iter().find(|p| p.spec.id == id)
    }
    /// The policies a peer negotiates SAs for, in rank order.
    pub fn policies_of<'a>(&'a self, peer: &'a str) -> impl Iterator<Item = &'a Policy> {
        self.policies
            .iter()
            .filter(move |p| p.peer.as_deref() == Some(peer) || p.backups.iter().any(|backup| backup == peer))
    }
}

/// An enum whose members have the names RouterOS gives them.
macro_rules! named {
    ($($(#[$meta:meta])* $type:ident { $($variant:ident = $name:literal),* $(,)? })*) => { $(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum $type { $($variant),* }
        impl $type {
            pub const ALL: &[Self] = &[$(Self::$variant),*];
            pub const NAMES: &[&'static str] = &[$($name),*];
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $name),* } }
            pub fn from_name(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$variant),)* _ => None }
            }
        }
    )* };
}
named! {
    Engine {
        Native = "native", Cryptodev = "cryptodev", IpsecMb = "ipsec-mb", Ring = "ring", RustCrypto = "rustcrypto",
    }
    Hugepages { Auto = "auto", Yes = "yes", No = "no" }
    /// `Auto`: where every worker has a CPU of its own.
    Share { Auto = "auto", Yes = "yes", No = "no" }
}
