//! What goes into the engine and what comes out. The engine has no socket, clock or random source:
//! `handle` takes a datagram, a command, an event or the time, and answers with actions.
use crate::diagnosis::Diagnosis;
pub use crate::extensions::{Extensions, GatewayExtensions};
use crate::job::{Done, Job};
pub use pki::Ways;
use sa::{Key, Level, PolicyId, PolicySpec, Prefix, SaSlot, SaSpec, Spi, Suite, TrafficSelector};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// Monotonic time since an arbitrary start that outlives the process (`CLOCK_BOOTTIME`): stored records
/// hold such times. Wall-clock jumps do not exist here.
pub type Now = Duration;

/// The only source of randomness. Production: the system's; tests: a seeded generator. Private DH values
/// depend on what it fills and on nothing else: a restored exchange makes the same one from a stored seed.
pub trait Rng: Send {
    fn fill(&mut self, out: &mut [u8]);
}

/// A UDP payload; the non-ESP marker is not in it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Datagram {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub payload: Vec<u8>,
}

#[derive(Clone, Debug)]
pub enum Input {
    Datagram(Datagram),
    /// Time has passed; call at or after `Engine::next_timeout`.
    Tick,
    /// The fast path has a packet for this policy and no SA.
    Acquire {
        policy: PolicyId,
        src: IpAddr,
        dst: IpAddr,
        protocol: u8,
        src_port: u16,
        dst_port: u16,
    },
    SoftExpire {
        slot: SaSlot,
        spi: Spi,
    },
    HardExpire {
        slot: SaSlot,
        spi: Spi,
    },
    /// The fast path does not have it, and cannot get it again: the peer is told, and `why` is the reason.
    LostChild {
        slot: SaSlot,
        spi: Spi,
        why: String,
    },
    /// Somebody here wants the child gone; the peer is told, and nothing has failed.
    DeleteChild {
        slot: SaSlot,
        spi: Spi,
    },
    PeerMoved {
        slot: SaSlot,
        spi: Spi,
        from: SocketAddr,
    },
    /// Protected packets have arrived on this inbound SA: a sign of life (RFC 7296 2.4).
    Traffic {
        slot: SaSlot,
        spi: Spi,
    },
    /// The fast path has let go of the slot.
    SlotFree(SaSlot),
    /// Bring up every child of the peer, or one.
    Initiate {
        peer: String,
        policy: Option<PolicyId>,
    },
    /// Delete the peer's IKE SAs (`/ip ipsec active-peers remove`), or all with `None`.
    Terminate {
        peer: Option<String>,
    },
    /// One IKE SA, by its initiator's SPI.
    TerminateSa {
        spi_i: u64,
    },
    RekeyIke {
        peer: String,
    },
    RekeySa {
        spi_i: u64,
    },
    RekeyChild {
        slot: SaSlot,
    },
    /// The name of a peer stands for these addresses, the one to try first in front; or why for none.
    Resolved {
        peer: String,
        addresses: Result<Vec<IpAddr>, String>,
    },
    /// What `Action::Compute` asked for. They come in any order, each of them once.
    Computed {
        id: u64,
        done: Done,
    },
}

#[derive(Clone, Debug)]
pub enum Action {
    Send(Datagram),
    /// A single 0xff to keep the NAT mapping (RFC 3948 2.3).
    Keepalive {
        local: SocketAddr,
        remote: SocketAddr,
    },
    /// Install the inbound SA first, then the outbound one.
    Install {
        inbound: Box<SaSpec>,
        outbound: Box<SaSpec>,
    },
    /// A responder's new SA during a rekey: inbound now; outbound comes with `InstallOutbound`.
    InstallInbound(Box<SaSpec>),
    InstallOutbound(Box<SaSpec>),
    Remove {
        slot: SaSlot,
        spi: Spi,
    },
    Move {
        slot: SaSlot,
        spi: Spi,
        ends: sa::TunnelEnds,
        encap: Option<sa::Encap>,
    },
    /// A policy that a negotiation has made, at its template's place; before the SAs that serve it.
    AddPolicy(Box<Generated>),
    /// It has no SA any more.
    RemovePolicy(PolicyId),
    /// The peer does not answer where its name has led to: look it up again.
    Resolve {
        peer: String,
    },
    AcquireFailed {
        policy: PolicyId,
        retry_ms: u32,
    },
    /// The stored state of this IKE SA changed: write `Engine::snapshot` to the vault before sending
    /// anything that stands behind this action.
    Persist {
        vault_key: u64,
    },
    Forget {
        vault_key: u64,
    },
    Log(Report),
    /// `Job::run`, somewhere else, for a peer at this address. Only after `Engine::compute_beside`.
    Compute {
        id: u64,
        from: IpAddr,
        job: Job,
    },
}

/// One line for a person: which peer, which exchange, what, and which setting would change it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    pub level: ReportLevel,
    pub peer: Option<String>,
    pub remote: Option<SocketAddr>,
    pub local: Option<SocketAddr>,
    pub text: String,
    /// A negotiation failed: `text` in its parts.
    pub diagnosis: Option<Box<Diagnosis>>,
    /// How often that has happened since it was last said.
    pub times: u32,
    /// An SA of the peer has come up: whatever failed before is over.
    pub up: bool,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReportLevel {
    Error,
    Warning,
    Info,
    Debug,
}

/// Everything the engine is configured with; names are RouterOS's.
#[derive(Clone, Debug, Default)]
pub struct Config {
    pub peers: Vec<Peer>,
    /// Half-open IKE SAs from which cookies are demanded (`settings ddos-cookie-threshold`).
    pub ddos_cookie_threshold: u32,
    /// Slots of the fast path's SA table; a power of two. The low bits of our SPIs are the slot.
    pub sa_slots: u32,
    /// Which address of ours reaches which destinations (from the routes; longest match wins), for peers
    /// without `local-address`.
    pub sources: Vec<(Prefix, IpAddr)>,
    pub extensions: GatewayExtensions,
    /// The whole SPD in its order, with the places of the templates in it.
    pub spd: Vec<Rank>,
}
/// What stands at one place of the SPD.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rank {
    Policy(PolicySpec),
    /// Policies made from it go here.
    Template(PolicyId),
}

#[derive(Clone, Debug)]
pub struct Peer {
    pub name: String,
    /// Remote addresses this entry serves; the longest match wins. A host when we may initiate.
    pub address: Prefix,
    /// A name that stands for the addresses, instead of `address`: `Input::Resolved` says which.
    pub host: Option<String>,
    /// `None`: any address of ours.
    pub local_address: Option<IpAddr>,
    pub port: u16,
    pub passive: bool,
    pub send_initial_contact: bool,
    pub profile: Profile,
    pub identities: Vec<Identity>,
    pub children: Vec<Child>,
}

#[derive(Clone, Debug)]
pub struct Profile {
    pub name: String,
    pub proposal: IkeProposal,
    pub lifetime: Duration,
    /// `None`: `disable-dpd`.
    pub dpd_interval: Option<Duration>,
    /// Kept for RouterOS's sake: IKEv2 always detects NAT (RFC 7296 2.23).
    pub nat_traversal: bool,
    pub extensions: Extensions,
}

/// What we offer and accept for an IKE SA, in order of preference.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct IkeProposal {
    pub encryption: Vec<IkeCipher>,
    pub integrity: Vec<IkeIntegrity>,
    pub prf: Vec<Prf>,
    pub groups: Vec<DhGroup>,
    /// Further key exchanges after the first, at most 7 (RFC 9370).
    pub additional: Vec<KeRound>,
}

pub use sa::{DhGroup, IkeCipher, IkeIntegrity, KeRound, Prf};

#[derive(Clone, Debug)]
pub struct Identity {
    pub my_id: MyId,
    pub remote_id: RemoteId,
    pub match_by: MatchBy,
    pub auth: Auth,
    /// Policies are made of what the peer asks for, inside of these templates.
    pub generate: Option<Arc<Generate>>,
}
impl Identity {
    /// Both sides prove that they have this secret.
    pub fn with_secret(my_id: MyId, remote_id: RemoteId, secret: Psk) -> Self {
        Self { my_id, remote_id, match_by: MatchBy::RemoteId, auth: Auth::secret(secret), generate: None }
    }
}
/// RouterOS's `generate-policy` and `policy-template-group`.
#[derive(Clone, Debug, PartialEq)]
pub struct Generate {
    /// `port-override`: the policy is for all ports, whichever were asked for.
    pub any_port: bool,
    /// Of the group, in their order.
    pub templates: Vec<Template>,
}
#[derive(Clone, Debug, PartialEq)]
pub struct Template {
    pub group: String,
    /// What may be asked for: one, or of each IP version one.
    pub selectors: Vec<TrafficSelector>,
    /// What the SAs are like; its `policy` is the template's own id, its `selector` and `tunnel` mean nothing.
    pub like: Child,
}
/// A policy that was made from a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Generated {
    pub spec: PolicySpec,
    pub template: PolicyId,
    pub peer: String,
    pub proposal: String,
    pub protocol: sa::Protocol,
}
/// How a responder finds the identity for a caller.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum MatchBy {
    #[default]
    RemoteId,
    /// It has the very certificate that is named here; what it calls itself only has to stand in it.
    Certificate,
}
/// How each side proves who it is; the two may differ (RFC 7296 2.15).
#[derive(Clone, Debug)]
pub struct Auth {
    pub ours: Proof,
    pub theirs: Check,
    /// Of signatures.
    pub ways: Ways,
}
impl Auth {
    pub fn secret(secret: Psk) -> Self {
        Self { ours: Proof::Secret(secret.clone()), theirs: Check::Secret(secret), ways: Ways::default() }
    }
}
/// What we prove who we are with.
#[derive(Clone, Debug)]
pub enum Proof {
    Secret(Psk),
    /// A key; with certificates that vouch for it, or raw.
    Signature(Arc<pki::Signer>),
    /// What the configuration names could not be read; says why.
    Missing(Arc<str>),
}
/// What we ask of them.
#[derive(Clone, Debug)]
pub enum Check {
    Secret(Psk),
    /// A certificate that an authority here vouches for, or the very one that is named here.
    Certificate {
        trust: Arc<pki::Trust>,
        only: Option<Arc<pki::Certificate>>,
    },
    /// This key.
    Key(Arc<pki::PublicKey>),
    /// What the configuration names could not be read; says why.
    Missing(Arc<str>),
}
impl Proof {
    /// As `auth-method` calls it.
    pub fn method(&self) -> &'static str {
        match self {
            Self::Secret(_) => "pre-shared-key",
            Self::Signature(signer) if signer.certificate().is_none() => "rsa-key",
            Self::Signature(_) | Self::Missing(_) => "digital-signature",
        }
    }
}
impl Check {
    pub fn method(&self) -> &'static str {
        match self {
            Self::Secret(_) => "pre-shared-key",
            Self::Certificate { .. } | Self::Missing(_) => "digital-signature",
            Self::Key(_) => "rsa-key",
        }
    }
}
/// A pre-shared key of any length; wiped, never printed.
#[derive(Clone, zeroize::Zeroize, zeroize::ZeroizeOnDrop)]
pub struct Psk(pub Vec<u8>);
impl std::fmt::Debug for Psk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Psk(..)")
    }
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum MyId {
    /// With a certificate its first subjectAltName, else its subject; without one our address.
    Auto,
    Id(Id),
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RemoteId {
    /// Any.
    Auto,
    Ignore,
    Id(Id),
}
/// An identification payload's content (RFC 7296 3.5).
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Id {
    Address(IpAddr),
    Fqdn(String),
    UserFqdn(String),
    KeyId(Vec<u8>),
    /// DER of a distinguished name.
    Dn(Vec<u8>),
}

#[derive(Clone, Debug, PartialEq)]
pub struct Child {
    pub policy: PolicyId,
    /// `unique`: its SA serves no other policy.
    pub level: Level,
    /// So many other peers are preferred: this one is asked for only while they are not there.
    pub backup: u8,
    /// Its SAs are for all ports, whichever are negotiated.
    pub any_port: bool,
    pub framing: sa::Framing,
    /// Name of the proposal that suites, group and limits are from.
    pub proposal: String,
    pub selector: TrafficSelector,
    pub tunnel: bool,
    pub protocol: sa::Protocol,
    /// In order of preference; for AH with NULL encryption.
    pub suites: Vec<Suite>,
    pub pfs: Option<DhGroup>,
    /// Further key exchanges after that one (RFC 9370); none without it.
    pub additional: Vec<KeRound>,
    pub lifetime: Duration,
    pub lifetime_bytes: u64,
    pub replay_window: u32,
    /// Offer 64-bit sequence numbers first; 32-bit ones are accepted either way.
    pub esn: bool,
}

/// One row of `/ip ipsec active-peers`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PeerStatus {
    pub peer: String,
    pub id: String,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub state: &'static str,
    pub initiator: bool,
    pub natt: bool,
    pub spi_i: u64,
    pub spi_r: u64,
    pub uptime: Duration,
    pub last_seen: Duration,
    pub ph2_total: u32,
    pub algorithms: String,
}
/// What `/ip ipsec installed-sa` needs besides the counters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildStatus {
    pub peer: String,
    pub policy: PolicyId,
    /// Further ones that it serves.
    pub also: Vec<PolicyId>,
    pub inbound: (SaSlot, Spi),
    pub outbound: (SaSlot, Spi),
    pub suite: Suite,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    pub age: Duration,
    pub expires_in: Duration,
    pub state: &'static str,
}

impl ChildStatus {
    /// Every policy that it serves.
    pub fn policies(&self) -> impl Iterator<Item = PolicyId> + '_ {
        std::iter::once(self.policy).chain(self.also.iter().copied())
    }
}

/// Some IKE SAs with what belongs to them.
#[derive(Clone, Debug, Default)]
pub struct Page {
    pub peers: Vec<PeerStatus>,
    pub children: Vec<ChildStatus>,
    pub installed: Vec<SaSpec>,
    pub generated: Vec<Generated>,
    /// Of the first page: peers with names, and where they are or why nowhere.
    pub resolved: Vec<(String, Result<IpAddr, String>)>,
    /// The last of them; `None`: there are no more.
    pub next: Option<u64>,
}

/// Whether a child in this state (as [`ChildStatus::state`] names it) serves its policy.
pub fn is_served(state: &str) -> bool {
    ["mature", "larval"].contains(&state)
}

/// Keys for an independent decoder (Wireshark's tables); produced only when the engine is told to.
#[derive(Clone, Debug)]
pub struct KeyLog {
    pub spi_i: u64,
    pub spi_r: u64,
    pub sk_ei: Key,
    pub sk_er: Key,
    pub sk_ai: Key,
    pub sk_ar: Key,
    pub encryption: IkeCipher,
    pub integrity: Option<IkeIntegrity>,
}
