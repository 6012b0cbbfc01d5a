//! One IKE SA: what it is, in which state, what it waits for, what it still wants to do.
use super::agreed::Agreed;
use super::beside::Waiting;
use super::child::{ChildSa, Half, Place};
use super::followup::{Followup, Pending};
use super::fragment::Pieces;
use super::intermediate::{IntAuth, Rounds, RoundsAnswered};
use super::mobike::Path;
use super::proof::{Known, Proven};
use super::templates::{Chosen, Made};
use super::timers::Series;
use crate::api::{ChildStatus, Identity, IkeProposal, Now, Peer, PeerStatus};
use crate::crypto::{DhPrivate, IkeKeys, IkeSuite};
use crate::message::Identification;
use sa::{Direction, Encap, PolicyId, SaSlot, SaSpec, Spi, TrafficSelector, TunnelEnds};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub(super) struct IkeSa {
    pub local_spi: u64,
    /// 0 until the responder has named it.
    pub remote_spi: u64,
    /// We are the original initiator of this SA: our messages carry the I flag.
    pub initiator: bool,
    pub peer: Arc<Peer>,
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// We, or they, are behind a NAT (RFC 7296 2.23).
    pub nat_local: bool,
    pub nat_remote: bool,
    pub state: State,
    pub keys: Option<Keyed>,
    pub agreed: Agreed,
    /// The path that is being proven (RFC 4555).
    pub detour: Option<(SocketAddr, SocketAddr)>,
    /// How the peer sees us: its NAT detection hash.
    pub seen_as: Option<Vec<u8>>,
    /// Messages that are not whole yet.
    pub pieces: Vec<Pieces>,
    pub window: Window,
    pub children: Vec<ChildSa>,
    /// Of the peer's, the one that it was made with.
    pub identity: Option<Chosen>,
    /// Policies that were made for its children.
    pub generated: Vec<Made>,
    /// When to ask for what its templates would bring.
    pub want_at: Option<Now>,
    /// The peer has SAs for one pair of addresses only.
    pub single_pair: bool,
    pub tasks: VecDeque<Task>,
    /// Children to bring up once established; with the packet that asked, if one did.
    pub wanted: Vec<Wanted>,
    pub remote_id: Option<Identification>,
    /// What they say about certificates and signatures.
    pub known: Known,
    pub int_auth: IntAuth,
    /// Their IKE_AUTH, while its signatures are looked at elsewhere; and what has come of that.
    pub waiting: Option<Box<Waiting>>,
    pub proven: Option<Box<Proven>>,
    pub created: Now,
    pub established: Option<Now>,
    /// Last authentic message or protected traffic from the peer.
    pub last_seen: Now,
    /// Last datagram of ours, for the NAT keepalive.
    pub last_sent: Now,
    pub rekey_at: Option<Now>,
    /// When this state ends by itself: half-open, replaced, closed.
    pub ends_at: Option<Now>,
    /// The lower of the two nonces that made it; decides between what both ends began.
    pub low_nonce: Vec<u8>,
    pub origin: Origin,
    /// When to look for a twin: an IKE SA that the peer began at the same time.
    pub twin_at: Option<Now>,
    /// The stored record is behind.
    pub dirty: bool,
    /// A record was announced, and is to be forgotten in the end.
    pub stored: bool,
    /// To be taken out of the table.
    pub dead: bool,
    pub ph2_total: u32,
    /// CREATE_CHILD_SA requests answered since `ask_window`.
    pub asks: u32,
    pub ask_window: Now,
    /// Series of key exchanges that the peer has begun.
    pub pending: Vec<Pending>,
    /// Series of ours that the peer has forgotten, since one that came to its end.
    pub lost_series: u32,
    /// The policies it is filed under (`index::Filed`).
    pub filed: Vec<PolicyId>,
}

/// What it began with, before any rekey: by that both ends tell twins apart, whoever has rekeyed what meanwhile.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Origin {
    /// We made the call.
    pub called: bool,
    pub low_nonce: Vec<u8>,
}

pub(super) struct Keyed {
    pub keys: IkeKeys,
    pub suite: IkeSuite,
}

pub(super) enum State {
    /// IKE_SA_INIT request is out.
    InitSent(Box<InitSent>),
    /// Half-open: IKE_SA_INIT answered, the peer has yet to say who it is.
    InitAnswered(Box<InitAnswered>),
    /// IKE_INTERMEDIATE request is out.
    Intermediate(Box<Rounds>),
    /// IKE_AUTH request is out.
    AuthSent(Box<AuthSent>),
    Established,
    /// Made by the peer's rekey while ours was out: which of the two stays is not known yet, and until then
    /// nothing but its deletion is listened to.
    Unsettled,
    /// A successor has its children; it only waits for its own deletion.
    Replaced,
    /// Our delete is out.
    Deleting,
    /// Deleted by the peer; lives on for a while to repeat its last answer.
    Closed,
}
impl State {
    pub fn name(&self) -> &'static str {
        match self {
            Self::InitSent(_) | Self::InitAnswered(_) => "message-1-sent",
            Self::Intermediate(_) | Self::AuthSent(_) => "message-3-sent",
            Self::Established => "established",
            Self::Unsettled => "unsettled",
            Self::Replaced => "rekeyed",
            Self::Deleting => "deleting",
            Self::Closed => "expired",
        }
    }
}

pub(super) struct InitSent {
    pub offer: IkeProposal,
    pub dh: DhPrivate,
    pub nonce: Vec<u8>,
    pub cookie: Vec<u8>,
    pub rounds: u32,
    /// Somebody answered with this error; nothing proves that it was the peer.
    pub hint: bool,
    pub bytes: Vec<u8>,
    pub retry: Retry,
}
pub(super) struct InitAnswered {
    pub request: Vec<u8>,
    pub response: Vec<u8>,
    pub nonce_i: Vec<u8>,
    pub nonce_r: Vec<u8>,
    pub rounds: RoundsAnswered,
    pub forgeries: u32,
    /// How often the peer has sent its request once more.
    pub again: u32,
}
pub(super) struct AuthSent {
    pub identity: Identity,
    pub nonce_i: Vec<u8>,
    pub nonce_r: Vec<u8>,
    /// The responder's IKE_SA_INIT message: it signed this.
    pub init_response: Vec<u8>,
    pub child: ChildOffer,
    pub wanted: Wanted,
}

/// A child we have asked for.
pub(super) struct ChildOffer {
    pub policy: PolicyId,
    pub protocol: ::sa::Protocol,
    pub spi: Spi,
    pub slot: SaSlot,
    /// Slot for the outbound half, held from the start so that success cannot fail for want of one.
    pub slot_out: SaSlot,
    pub nonce: Vec<u8>,
    pub dh: Option<DhPrivate>,
    /// Our inbound SPI of the child it replaces.
    pub replaces: Option<Spi>,
    /// The one that asked.
    pub packet: Option<TrafficSelector>,
    /// The peer asked for the same while our request was out.
    pub collision: Option<Collision>,
    /// CREATE_CHILD_SA has been answered; further key exchanges are made.
    pub followup: Option<Box<Followup>>,
}
/// What the peer's exchange made while ours for the same thing was out (RFC 7296 2.8.1, 2.8.2).
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Collision {
    /// Our SPI of what the peer's exchange made (ESP or IKE).
    pub made: u64,
    /// The lower of the peer's exchange's two nonces.
    pub low_nonce: Vec<u8>,
}
/// An IKE SA we have asked for to replace this one.
pub(super) struct IkeOffer {
    pub spi: u64,
    pub nonce: Vec<u8>,
    pub dh: DhPrivate,
    pub offer: IkeProposal,
    pub rounds: u32,
    pub collision: Option<Collision>,
    /// As in `ChildOffer`.
    pub followup: Option<Box<Followup>>,
}

/// What our request in flight is for.
pub(super) enum Exchange {
    /// Lives in `State::Intermediate`.
    Intermediate,
    /// Lives in `State::AuthSent`.
    Auth,
    Child(Box<ChildOffer>),
    Ike(Box<IkeOffer>),
    /// Our inbound SPIs.
    DeleteChildren(Vec<Spi>),
    DeleteIke,
    Liveness,
    /// Whether the peer answers on another path.
    Prove(Box<Path>),
    Redirect,
}

/// What we want to do next, one at a time.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Task {
    Create(Wanted),
    /// Our inbound SPI.
    Rekey(Spi),
    Delete(Spi),
    /// The peer has made a child that we do not want; there is none here.
    Disown(::sa::Protocol, Spi),
    RekeyIke,
    DeleteIke,
    Liveness,
    Prove(Path),
    Redirect,
}
/// A child to be brought up.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Wanted {
    pub policy: PolicyId,
    /// The packet that asked; RFC 7296 2.9 wants it first in the selectors.
    pub packet: Option<TrafficSelector>,
}

/// Retransmission state of one request.
#[derive(Clone, Copy, Debug)]
pub(super) struct Retry {
    pub sent: u32,
    pub at: Now,
}
impl Retry {
    pub fn begin(now: Now) -> Self {
        Self { sent: 1, at: now + Series::wait(1) }
    }
    /// Due now: counts one more transmission, or says that the series is over.
    pub fn again(&mut self, now: Now) -> bool {
        if self.sent >= Series::TRANSMISSIONS {
            return false;
        }
        self.sent += 1;
        self.at = now + Series::wait(self.sent);
        true
    }
}

pub(super) struct InFlight {
    pub id: u32,
    /// The datagrams that carry it.
    pub sealed: Vec<Vec<u8>>,
    pub what: Exchange,
    pub retry: Retry,
}

/// Message ids: one request at a time in each direction (RFC 7296 2.2, 2.3).
#[derive(Default)]
pub(super) struct Window {
    pub next_send: u32,
    pub in_flight: Option<InFlight>,
    /// No new request before this time.
    pub hold_until: Now,
    pub expect: u32,
    /// The latest requests we answered, by id.
    pub answered: VecDeque<Answered>,
}
/// A request we answered, to answer it again.
pub(super) struct Answered {
    pub id: u32,
    pub digest: [u8; 32],
    /// The datagrams that carry it.
    pub response: Vec<Vec<u8>>,
    pub repeat_after: Now,
}

impl Window {
    //= rfc7296#2.3/window: so many requests of the peer, from the first one that is not answered.
    pub fn has_room(&self, id: u32, size: u32) -> bool {
        id >= self.expect && id - self.expect < size.max(1)
    }
    //= rfc7296#2.3/forget: an answer is kept until a request shows that it has arrived.
    pub fn took(&mut self, answered: Answered, size: u32) {
        self.answered.push_back(answered);
        while self.answered.iter().any(|a| a.id == self.expect) {
            self.expect += 1;
        }
        let oldest = self.expect.saturating_sub(size.max(1));
        self.answered.retain(|a| a.id >= oldest);
    }
}

impl IkeSa {
    //= rfc7296#2.2/initiator-ids: ids count per direction whoever was the original initiator.
    pub fn new(
        local_spi: u64,
        initiator: bool,
        peer: Arc<Peer>,
        ends: (SocketAddr, SocketAddr),
        state: State,
        now: Now,
    ) -> Self {
        Self {
            local_spi,
            remote_spi: 0,
            initiator,
            peer,
            local: ends.0,
            remote: ends.1,
            nat_local: false,
            nat_remote: false,
            state,
            keys: None,
            agreed: Agreed::default(),
            detour: None,
            seen_as: None,
            pieces: Vec::new(),
            window: Window::default(),
            children: Vec::new(),
            identity: None,
            generated: Vec::new(),
            want_at: None,
            single_pair: false,
            tasks: VecDeque::new(),
            wanted: Vec::new(),
            remote_id: None,
            known: Known::default(),
            int_auth: IntAuth::default(),
            waiting: None,
            proven: None,
            created: now,
            established: None,
            last_seen: now,
            last_sent: now,
            rekey_at: None,
            ends_at: None,
            low_nonce: Vec::new(),
            origin: Origin { called: initiator, low_nonce: Vec::new() },
            twin_at: None,
            dirty: false,
            stored: false,
            dead: false,
            ph2_total: 0,
            asks: 0,
            ask_window: now,
            pending: Vec::new(),
            lost_series: 0,
            filed: Vec::new(),
        }
    }
    pub fn spi_i(&self) -> u64 {
        if self.initiator { self.local_spi } else { self.remote_spi }
    }
    pub fn spi_r(&self) -> u64 {
        if self.initiator { self.remote_spi } else { self.local_spi }
    }
    pub fn is_established(&self) -> bool {
        matches!(self.state, State::Established)
    }
    pub fn is_half_open(&self) -> bool {
        matches!(self.state, State::InitAnswered(_))
    }
    pub fn child(&mut self, inbound: Spi) -> Option<&mut ChildSa> {
        self.children.iter_mut().find(|c| c.inbound.spi == inbound)
    }
    pub fn push_task(&mut self, task: Task) {
        if !self.tasks.contains(&task) {
            self.tasks.push_back(task);
        }
    }
    pub fn has_task(&self, wanted: impl Fn(&Task) -> bool) -> bool {
        self.tasks.iter().any(wanted)
    }

    /// The earliest moment at which `Engine::tick_sa` has something to do.
    pub fn deadline(&self) -> Option<Now> {
        let mut at = Earliest(self.ends_at);
        match &self.state {
            State::InitSent(init) => at.or(init.retry.at),
            State::Established => {
                if let Some(interval) = self.peer.profile.dpd_interval
                    && self.window.in_flight.is_none()
                    && !self.has_task(|t| *t == Task::Liveness)
                {
                    at.or(self.last_seen + interval);
                }
                self.agreed.deadlines(|t| at.or(t));
                [self.rekey_at, self.twin_at, self.want_at].into_iter().flatten().for_each(|t| at.or(t));
                if !self.tasks.is_empty() && self.window.in_flight.is_none() {
                    at.or(self.window.hold_until);
                }
            }
            _ => {}
        }
        if let Some(in_flight) = &self.window.in_flight {
            at.or(in_flight.retry.at);
        }
        if self.wants_keepalive() {
            at.or(self.last_sent + KEEPALIVE);
        }
        self.pieces.iter().for_each(|set| at.or(set.until));
        self.pending.iter().for_each(|pending| at.or(pending.until));
        for child in &self.children {
            child.deadlines(|t| at.or(t));
        }
        at.0
    }
    /// What `deadline` looks at, for tests that wonder.
    #[cfg(test)]
    pub fn moments(&self) -> String {
        let flight = self.window.in_flight.as_ref().map(|f| f.retry);
        let (hold, seen) = (self.window.hold_until, self.last_seen);
        let (state, tasks, ends) = (self.state.name(), &self.tasks, self.ends_at);
        format!(
            "{state} {tasks:?} {flight:?} {hold:?} {seen:?} {ends:?} {:?} {:?}",
            self.rekey_at, self.twin_at
        )
    }
    //= rfc3948#4/keepalive: the side behind the NAT keeps the mapping open.
    pub fn wants_keepalive(&self) -> bool {
        self.nat_local && self.is_established()
    }
}

impl IkeSa {
    pub fn tunnel_ends(&self) -> TunnelEnds {
        TunnelEnds { local: self.local.ip(), remote: self.remote.ip() }
    }
    //= rfc7296#2.23/encap-with-nat: UDP encapsulation because of a NAT; port 4500 alone does not ask for it.
    pub fn encap(&self) -> Option<Encap> {
        let floated = self.local.port() == 4500;
        let remote_port = if floated { self.remote.port() } else { 4500 };
        (self.nat_local || self.nat_remote).then_some(Encap { local_port: 4500, remote_port })
    }
    pub fn status(&self, now: Now) -> PeerStatus {
        PeerStatus {
            peer: self.peer.name.clone(),
            id: self.remote_id.as_ref().map_or_else(String::new, ToString::to_string),
            local: self.local,
            remote: self.remote,
            state: self.state.name(),
            initiator: self.initiator,
            natt: self.nat_local || self.nat_remote,
            spi_i: self.spi_i(),
            spi_r: self.spi_r(),
            uptime: now.saturating_sub(self.established.unwrap_or(now)),
            last_seen: now.saturating_sub(self.last_seen),
            ph2_total: self.ph2_total,
            algorithms: self.keys.as_ref().map_or_else(String::new, |k| k.suite.to_string()),
        }
    }
    /// What the fast path runs for it: inbound before outbound, older before newer.
    pub fn installed(&self) -> Vec<SaSpec> {
        self.children.iter().flat_map(|c| self.installed_of(c)).collect()
    }
    /// Of one child.
    pub fn installed_of(&self, c: &ChildSa) -> impl Iterator<Item = SaSpec> + use<> {
        let (ends, encap) = (self.tunnel_ends(), self.encap());
        let is = |half: &Half| half.place == Place::Installed;
        let inbound = is(&c.inbound).then(|| *c.spec(Direction::Inbound, ends, encap));
        let outbound = is(&c.outbound).then(|| *c.spec(Direction::Outbound, ends, encap));
        [inbound, outbound].into_iter().flatten()
    }
    pub fn child_status(&self, c: &ChildSa, now: Now) -> ChildStatus {
        ChildStatus {
            peer: self.peer.name.clone(),
            policy: c.policy,
            also: c.also.clone(),
            inbound: (c.inbound.slot, c.inbound.spi),
            outbound: (c.outbound.slot, c.outbound.spi),
            suite: c.suite,
            local: self.local,
            remote: self.remote,
            age: now.saturating_sub(c.created),
            expires_in: c.hard_at.map_or(Now::ZERO, |t| t.saturating_sub(now)),
            state: c.state_name(),
        }
    }
}

/// RFC 3948 4's default.
pub(super) const KEEPALIVE: Duration = Duration::from_secs(20);

struct Earliest(Option<Now>);
impl Earliest {
    fn or(&mut self, at: Now) {
        self.0 = Some(self.0.map_or(at, |t| t.min(at)));
    }
}
