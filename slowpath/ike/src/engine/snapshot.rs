//! What a restart needs of one IKE SA, as bytes and back: keys, message ids, children, and the request in
//! flight with everything needed to understand its answer, so that the peer never gets out of step.
//!
//! IKE SAs that are not established yet are not stored: they are made anew, and INITIAL_CONTACT tells the peer.
use super::child::{ChildSa, ChildState, Half, Place};
use super::explain::prefix_of;
use super::followup::Followup;
use super::ike_sa::{
    Answered, ChildOffer, Collision, Exchange, IkeOffer, IkeSa, InFlight, Keyed, Origin, Retry, State, Task,
};
use super::templates::{Chosen, Made, generate_of, template_of};
use super::{Cx, Engine};
use crate::api::{DhGroup, IkeCipher, IkeIntegrity, Now, Prf};
use crate::crypto::{DhPrivate, EspKeys, IkeKeys, IkeSuite, Secret, SkKeys};
use crate::message::{IdType, Identification, parse_clear};
use ::sa::{
    AddrRange, Encryption, Integrity, Key, Lifetime, Limit, Mode, PolicyId, PortRange, Protocol, SaSlot,
    Selector, Spi, Suite, TrafficSelector, TunnelEnds,
};
use serde::{Deserialize, Serialize};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

const VERSION: u8 = 7;

/// Longer answers (certificates) are not stored: a record has no room for them, and whether they have arrived is soon
/// known.
const MAX_ANSWER: usize = 6 * 1024;

/// Why a stored record was not taken over. The caller forgets it; the peer negotiates anew.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RestoreError {
    #[error("the record does not decode or is of another version")]
    Malformed,
    #[error("peer `{0}` is no longer configured")]
    UnknownPeer(String),
    #[error("slot {0} is beyond `system sa-slots` or taken")]
    Slot(u32),
}

#[derive(Serialize, Deserialize, Zeroize, ZeroizeOnDrop)]
struct Bytes(#[serde(with = "raw")] Vec<u8>);
impl From<&Key> for Bytes {
    fn from(key: &Key) -> Self {
        Self(key.expose().to_vec())
    }
}
impl Bytes {
    fn key(&self) -> Option<Key> {
        Key::new(&self.0)
    }
}

/// Of a message.
#[derive(Serialize, Deserialize)]
struct Sealed(#[serde(with = "raw")] Vec<u8>);
impl Sealed {
    fn all(datagrams: &[Vec<u8>]) -> Vec<Self> {
        datagrams.iter().cloned().map(Self).collect()
    }
    fn back(all: Vec<Self>) -> Vec<Vec<u8>> {
        all.into_iter().map(|one| one.0).collect()
    }
}
/// Written as a whole and not byte by byte: a record is made for nearly every message.
mod raw {
    use serde::de::{Error, Visitor};
    use serde::{Deserializer, Serializer};

    pub fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_bytes(bytes)
    }
    pub fn deserialize<'a, D: Deserializer<'a>>(from: D) -> Result<Vec<u8>, D::Error> {
        struct Whole;
        impl Visitor<'_> for Whole {
            type Value = Vec<u8>;
            fn expecting(&self, to: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                to.write_str("bytes")
            }
            fn visit_bytes<E: Error>(self, bytes: &[u8]) -> Result<Vec<u8>, E> {
                Ok(bytes.to_vec())
            }
        }
        from.deserialize_bytes(Whole)
    }
}

#[derive(Serialize, Deserialize)]
struct Record {
    version: u8,
    local_spi: u64,
    remote_spi: u64,
    initiator: bool,
    peer: String,
    local: SocketAddr,
    remote: SocketAddr,
    nat: (bool, bool),
    agreed: super::agreed::Agreed,
    detour: Option<(SocketAddr, SocketAddr)>,
    state: u8,
    suite: (u8, Option<u8>, u8, u8, Vec<Option<u8>>),
    /// d, pi, pr, then encryption, salt and integrity of the initiator and of the responder.
    keys: Vec<Bytes>,
    next_send: u32,
    expect: u32,
    answered: Vec<(u32, [u8; 32], Vec<Sealed>)>,
    in_flight: Option<(u32, Vec<Sealed>, Doing)>,
    children: Vec<ChildRecord>,
    /// Its place among the peer's.
    identity: Option<usize>,
    generated: Vec<MadeRecord>,
    /// Protocol and SPI.
    disown: Vec<(u8, u32)>,
    remote_id: Option<(u8, [u8; 3], Vec<u8>)>,
    /// created, established, rekey, end of this state.
    times: (Now, Option<Now>, Option<Now>, Option<Now>),
    #[serde(with = "raw")]
    low_nonce: Vec<u8>,
    origin: Origin,
    ph2_total: u32,
}
#[derive(Serialize, Deserialize)]
enum Doing {
    Child(OfferRecord),
    Ike {
        spi: u64,
        nonce: Vec<u8>,
        dh: (u8, Bytes),
        rounds: u32,
        collision: Option<Collision>,
        followup: Option<FollowupRecord>,
    },
    DeleteChildren(Vec<u32>),
    DeleteIke,
    Liveness,
    Prove(super::mobike::Path),
    Redirect,
}
#[derive(Serialize, Deserialize)]
struct OfferRecord {
    policy: u32,
    protocol: u8,
    spi: u32,
    slots: (u32, u32),
    #[serde(with = "raw")]
    nonce: Vec<u8>,
    dh: Option<(u8, Bytes)>,
    replaces: Option<u32>,
    collision: Option<Collision>,
    followup: Option<FollowupRecord>,
}
/// The answer to CREATE_CHILD_SA as a message in clear, the rounds left, and the one that is out.
#[derive(Serialize, Deserialize)]
struct FollowupRecord {
    answer: Vec<u8>,
    left: Vec<u8>,
    dh: (u8, Bytes),
    more: Bytes,
}
#[derive(Serialize, Deserialize)]
struct ChildRecord {
    policy: u32,
    also: Vec<u32>,
    inbound: HalfRecord,
    outbound: HalfRecord,
    protocol: u8,
    tunnel: bool,
    /// Ours and the peer's.
    original: Option<(IpAddr, IpAddr)>,
    suite: (u8, u8),
    esn: bool,
    replay_window: u32,
    /// Soft and hard of seconds, bytes, packets.
    lifetime: [(u64, u64); 3],
    selectors: Vec<SelectorRecord>,
    state: ChildState,
    initiated: bool,
    #[serde(with = "raw")]
    low_nonce: Vec<u8>,
    replaces: Option<u32>,
    created: Now,
    soft_at: Option<Now>,
    hard_at: Option<Now>,
    gone_at: Option<Now>,
}
/// A policy that was made: its id and template, what for, in which mode.
#[derive(Serialize, Deserialize)]
struct MadeRecord {
    policy: u32,
    template: u32,
    selector: SelectorRecord,
    tunnel: bool,
}
#[derive(Serialize, Deserialize)]
struct HalfRecord {
    slot: u32,
    spi: u32,
    place: Place,
    keys: [Bytes; 3],
}
/// Local range, remote range, protocol, local ports, remote ports.
type SelectorRecord = ((IpAddr, IpAddr), (IpAddr, IpAddr), Option<u8>, (u16, u16), (u16, u16));

fn index<T: PartialEq>(all: &[T], one: &T) -> u8 {
    all.iter().position(|x| x == one).unwrap_or(usize::MAX) as u8
}
fn at<T: Copy>(all: &[T], index: u8) -> Option<T> {
    all.get(usize::from(index)).copied()
}
fn spi(raw: u32) -> Option<Spi> {
    Spi::new(raw).ok()
}
fn optional<T, U>(value: Option<T>, convert: impl FnOnce(T) -> Option<U>) -> Option<Option<U>> {
    match value {
        Some(value) => convert(value).map(Some),
        None => Some(None),
    }
}

pub(super) fn take(sa: &IkeSa) -> Option<Zeroizing<Vec<u8>>> {
    let state = match sa.state {
        State::Established => 0,
        State::Replaced => 1,
        State::Deleting => 2,
        State::Closed => 3,
        State::Unsettled => 4,
        State::InitSent(_) | State::InitAnswered(_) | State::Intermediate(_) | State::AuthSent(_) => {
            return None;
        }
    };
    let Keyed { keys, suite } = sa.keys.as_ref()?;
    let all_keys = [&keys.d, &keys.pi, &keys.pr]
        .into_iter()
        .chain([&keys.i, &keys.r].into_iter().flat_map(|k| [&k.encryption_key, &k.salt, &k.integrity_key]));
    let record = Record {
        version: VERSION,
        local_spi: sa.local_spi,
        remote_spi: sa.remote_spi,
        initiator: sa.initiator,
        peer: sa.peer.name.clone(),
        local: sa.local,
        remote: sa.remote,
        nat: (sa.nat_local, sa.nat_remote),
        agreed: sa.agreed.clone(),
        detour: sa.detour,
        state,
        suite: (
            index(&IkeCipher::ALL, &suite.encryption),
            suite.integrity.map(|i| index(&IkeIntegrity::ALL, &i)),
            index(&Prf::ALL, &suite.prf),
            index(&DhGroup::ALL, &suite.group),
            suite.additional.iter().map(|m| m.map(|m| index(&DhGroup::ALL, &m))).collect(),
        ),
        keys: all_keys.map(Bytes::from).collect(),
        next_send: sa.window.next_send,
        expect: sa.window.expect,
        answered: answers(sa),
        in_flight: sa
            .window
            .in_flight
            .as_ref()
            .and_then(|f| Some((f.id, Sealed::all(&f.sealed), doing(&f.what)?))),
        children: sa.children.iter().map(child_record).collect(),
        identity: sa.identity.as_ref().and_then(|i| sa.peer.identities.iter().position(|x| i.is(x))),
        generated: sa.generated.iter().map(made_record).collect(),
        disown: sa
            .tasks
            .iter()
            .filter_map(|t| if let Task::Disown(p, s) = t { Some((*p as u8, s.get())) } else { None })
            .collect(),
        remote_id: sa.remote_id.as_ref().map(|id| (id.kind.0, id.reserved, id.data.clone())),
        times: (sa.created, sa.established, sa.rekey_at, sa.ends_at),
        low_nonce: sa.low_nonce.clone(),
        origin: sa.origin.clone(),
        ph2_total: sa.ph2_total,
    };
    // Room for everything, so that no half-written copy of keys is left behind by growing; and no more, for all of it is
    // wiped in the end.
    let messages = record.answered.iter().flat_map(|(_, _, all)| all);
    let messages: usize = messages.map(|one| one.0.len() + 64).sum();
    // A rekey on its way may have kilobytes of public and private keys.
    let flight = postcard::experimental::serialized_size(&record.in_flight).ok()?;
    let parts = 1024 * record.children.len() + 256 * (record.generated.len() + record.agreed.addresses.len());
    let id = record.remote_id.as_ref().map_or(0, |(_, _, id)| id.len());
    let room = Vec::with_capacity(2048 + id + record.peer.len() + messages + flight + parts);
    let planned = room.capacity();
    let made = Zeroizing::new(postcard::to_extend(&record, room).ok()?);
    debug_assert_eq!(made.capacity(), planned, "a record is longer than was planned");
    Some(made)
}

/// The newest ones, as far as a record has room.
fn answers(sa: &IkeSa) -> Vec<(u32, [u8; 32], Vec<Sealed>)> {
    let mut left = MAX_ANSWER;
    let mut kept: Vec<_> = sa.window.answered.iter().rev().collect();
    kept.retain(|a| {
        let len = a.response.iter().map(Vec::len).sum::<usize>();
        let fits = len <= left;
        left -= if fits { len } else { left };
        fits
    });
    kept.into_iter().rev().map(|a| (a.id, a.digest, Sealed::all(&a.response))).collect()
}

fn dh_record(dh: &DhPrivate) -> (u8, Bytes) {
    (index(&DhGroup::ALL, &dh.group()), Bytes(dh.expose_secret().to_vec()))
}
fn dh_from((group, secret): &(u8, Bytes)) -> Option<DhPrivate> {
    DhPrivate::from_secret(at(&DhGroup::ALL, *group)?, &secret.0).ok()
}
fn followup_record(followup: &Followup) -> FollowupRecord {
    FollowupRecord {
        answer: followup.answer.to_bytes(),
        left: followup.left.iter().map(|group| index(&DhGroup::ALL, group)).collect(),
        dh: dh_record(&followup.dh),
        more: Bytes(followup.more.to_vec()),
    }
}
fn followup_from(record: FollowupRecord) -> Option<Box<Followup>> {
    Some(Box::new(Followup {
        answer: parse_clear(&record.answer).ok()?,
        left: record.left.iter().map(|group| at(&DhGroup::ALL, *group)).collect::<Option<_>>()?,
        dh: dh_from(&record.dh)?,
        more: Secret::new(record.more.0.clone()),
    }))
}
fn doing(what: &Exchange) -> Option<Doing> {
    Some(match what {
        Exchange::Intermediate | Exchange::Auth => return None,
        Exchange::Child(o) => Doing::Child(OfferRecord {
            policy: o.policy.0,
            protocol: o.protocol as u8,
            spi: o.spi.get(),
            slots: (o.slot.0, o.slot_out.0),
            nonce: o.nonce.clone(),
            dh: o.dh.as_ref().map(dh_record),
            replaces: o.replaces.map(Spi::get),
            collision: o.collision.clone(),
            followup: o.followup.as_deref().map(followup_record),
        }),
        Exchange::Ike(o) => Doing::Ike {
            spi: o.spi,
            nonce: o.nonce.clone(),
            dh: dh_record(&o.dh),
            rounds: o.rounds,
            collision: o.collision.clone(),
            followup: o.followup.as_deref().map(followup_record),
        },
        Exchange::DeleteChildren(spis) => Doing::DeleteChildren(spis.iter().map(|s| s.get()).collect()),
        Exchange::DeleteIke => Doing::DeleteIke,
        Exchange::Liveness => Doing::Liveness,
        Exchange::Prove(path) => Doing::Prove((**path).clone()),
        Exchange::Redirect => Doing::Redirect,
    })
}
fn undo(doing: Doing, peer: &crate::api::Peer) -> Option<Exchange> {
    Some(match doing {
        Doing::Child(o) => Exchange::Child(Box::new(ChildOffer {
            policy: PolicyId(o.policy),
            protocol: Protocol::from_u8(o.protocol)?,
            spi: spi(o.spi)?,
            slot: SaSlot(o.slots.0),
            slot_out: SaSlot(o.slots.1),
            nonce: o.nonce,
            dh: optional(o.dh.as_ref(), dh_from)?,
            replaces: optional(o.replaces, spi)?,
            packet: None,
            collision: o.collision,
            followup: optional(o.followup, followup_from)?,
        })),
        Doing::Ike { spi, nonce, dh, rounds, collision, followup } => {
            let (dh, offer) = (dh_from(&dh)?, peer.profile.proposal.clone());
            let followup = optional(followup, followup_from)?;
            Exchange::Ike(Box::new(IkeOffer { spi, nonce, dh, offer, rounds, collision, followup }))
        }
        Doing::DeleteChildren(spis) => {
            Exchange::DeleteChildren(spis.into_iter().map(spi).collect::<Option<_>>()?)
        }
        Doing::DeleteIke => Exchange::DeleteIke,
        Doing::Liveness => Exchange::Liveness,
        Doing::Prove(path) => Exchange::Prove(Box::new(path)),
        Doing::Redirect => Exchange::Redirect,
    })
}

fn half_record(half: &Half) -> HalfRecord {
    let keys = [&half.keys.encryption, &half.keys.salt, &half.keys.integrity].map(Bytes::from);
    HalfRecord { slot: half.slot.0, spi: half.spi.get(), place: half.place, keys }
}
fn half_from(record: &HalfRecord) -> Option<Half> {
    let [encryption, salt, integrity] = &record.keys;
    let keys = EspKeys { encryption: encryption.key()?, salt: salt.key()?, integrity: integrity.key()? };
    Some(Half { slot: SaSlot(record.slot), spi: spi(record.spi)?, place: record.place, keys })
}
fn child_record(c: &ChildSa) -> ChildRecord {
    let limit = |l: Limit| (l.soft, l.hard);
    ChildRecord {
        policy: c.policy.0,
        also: c.also.iter().map(|id| id.0).collect(),
        inbound: half_record(&c.inbound),
        outbound: half_record(&c.outbound),
        protocol: c.protocol as u8,
        tunnel: c.mode == Mode::Tunnel,
        original: c.original.map(|o| (o.local, o.remote)),
        suite: (c.suite.encryption() as u8, c.suite.integrity() as u8),
        esn: c.esn,
        replay_window: c.replay_window,
        lifetime: [limit(c.lifetime.seconds), limit(c.lifetime.bytes), limit(c.lifetime.packets)],
        selectors: c.selectors.iter().map(selector_record).collect(),
        state: c.state,
        initiated: c.initiated,
        low_nonce: c.low_nonce.clone(),
        replaces: c.replaces.map(Spi::get),
        created: c.created,
        soft_at: c.soft_at,
        hard_at: c.hard_at,
        gone_at: c.gone_at,
    }
}
fn child_from(r: ChildRecord) -> Option<ChildSa> {
    let [seconds, bytes, packets] = r.lifetime.map(|(soft, hard)| Limit { soft, hard });
    Some(ChildSa {
        policy: PolicyId(r.policy),
        also: r.also.into_iter().map(PolicyId).collect(),
        inbound: half_from(&r.inbound)?,
        outbound: half_from(&r.outbound)?,
        protocol: Protocol::from_u8(r.protocol)?,
        original: r.original.map(|(local, remote)| TunnelEnds { local, remote }),
        mode: if r.tunnel { Mode::Tunnel } else { Mode::Transport },
        suite: Suite::new(Encryption::from_u8(r.suite.0)?, Integrity::from_u8(r.suite.1)?).ok()?,
        esn: r.esn,
        replay_window: r.replay_window,
        lifetime: Lifetime { seconds, bytes, packets },
        selectors: r.selectors.into_iter().map(selector_from).collect::<Option<_>>()?,
        state: r.state,
        initiated: r.initiated,
        low_nonce: r.low_nonce,
        replaces: optional(r.replaces, spi)?,
        created: r.created,
        soft_at: r.soft_at,
        hard_at: r.hard_at,
        gone_at: r.gone_at,
        twin_at: (r.state == ChildState::AwaitingSwitch).then_some(r.created + super::child::TAKEOVER),
    })
}
fn made_record(made: &Made) -> MadeRecord {
    MadeRecord {
        policy: made.child.policy.0,
        template: made.template.0,
        selector: selector_record(&made.selector.into()),
        tunnel: made.child.tunnel,
    }
}
/// `None`: its template is gone, and so are its children soon.
fn made_from(sa: &IkeSa, r: MadeRecord) -> Option<Made> {
    let s = selector_from(r.selector)?;
    let selector = Selector {
        src: prefix_of(s.local)?,
        dst: prefix_of(s.remote)?,
        protocol: s.protocol,
        src_port: s.local_port,
        dst_port: s.remote_port,
    };
    let any_port = generate_of(sa)?.any_port;
    let template = template_of(sa, PolicyId(r.template))?;
    Some(Made::new(template, PolicyId(r.policy), selector, r.tunnel, any_port))
}
fn selector_record(s: &TrafficSelector) -> SelectorRecord {
    let ports = |p: PortRange| (p.first, p.last);
    let range = |r: AddrRange| (r.first(), r.last());
    (range(s.local), range(s.remote), s.protocol, ports(s.local_port), ports(s.remote_port))
}
fn selector_from(
    (local, remote, protocol, local_port, remote_port): SelectorRecord,
) -> Option<TrafficSelector> {
    let ports = |(first, last)| PortRange { first, last };
    Some(TrafficSelector {
        local: AddrRange::new(local.0, local.1)?,
        remote: AddrRange::new(remote.0, remote.1)?,
        protocol,
        local_port: ports(local_port),
        remote_port: ports(remote_port),
    })
}
fn keyed_from(r: &Record) -> Option<Keyed> {
    let method = |m: &Option<u8>| optional(*m, |m| at(&DhGroup::ALL, m));
    let methods = r.suite.4.iter().map(method).collect::<Option<Vec<_>>>()?;
    let additional = methods.try_into().ok()?;
    let suite = IkeSuite {
        encryption: at(&IkeCipher::ALL, r.suite.0)?,
        integrity: optional(r.suite.1, |i| at(&IkeIntegrity::ALL, i))?,
        prf: at(&Prf::ALL, r.suite.2)?,
        group: at(&DhGroup::ALL, r.suite.3)?,
        additional,
    };
    let [d, pi, pr, ei, si, ai, er, sr, ar] = r.keys.as_slice() else { return None };
    let sk = |e: &Bytes, s: &Bytes, a: &Bytes| {
        let (encryption, integrity) = (suite.encryption, suite.integrity);
        let (encryption_key, salt, integrity_key) = (e.key()?, s.key()?, a.key()?);
        Some(SkKeys { encryption, integrity, encryption_key, salt, integrity_key })
    };
    let keys = IkeKeys { d: d.key()?, i: sk(ei, si, ai)?, r: sk(er, sr, ar)?, pi: pi.key()?, pr: pr.key()? };
    Some(Keyed { keys, suite })
}

impl Engine {
    pub(super) fn take_over(&mut self, bytes: &[u8], cx: &mut Cx) -> Result<u64, RestoreError> {
        let record: Record = postcard::from_bytes(bytes).map_err(|_| RestoreError::Malformed)?;
        let peer = self.by_name.get(&record.peer).cloned();
        let peer = peer.ok_or_else(|| RestoreError::UnknownPeer(record.peer.clone()))?;
        if record.version != VERSION || record.local_spi == 0 || self.sas.contains_key(&record.local_spi) {
            return Err(RestoreError::Malformed);
        }
        let mut sa = rebuild(record, peer, cx.now).ok_or(RestoreError::Malformed)?;
        self.claim(&sa)?;
        let owner = sa.owner();
        for made in &sa.generated {
            self.dynamic.hold(&made.generated(&sa.peer.name), &owner);
        }
        for child in &sa.children {
            let known =
                |id: &PolicyId| !id.is_dynamic() || sa.generated.iter().any(|m| m.child.policy == *id);
            if child.is_live() && !(known(&child.policy) && child.also.iter().all(known)) {
                sa.tasks.push_back(Task::Delete(child.inbound.spi));
            }
        }
        for child in &sa.children {
            if child.state == ChildState::Deleting {
                sa.tasks.push_back(Task::Delete(child.inbound.spi));
            }
        }
        if sa.is_established() {
            sa.twin_at = Some(cx.now + super::child::SETTLED);
            self.starts.remove(&sa.peer.name);
            if sa.initiator && !sa.peer.passive {
                self.want_all(&mut sa);
            }
        }
        (sa.stored, sa.dirty) = (true, true);
        let local_spi = sa.local_spi;
        self.put(Box::new(sa));
        // What we had in flight goes out again, and what it wants is begun, at the next tick: not before all records have
        // claimed their slots, so that nobody is given one that the next record has.
        self.timers.set(local_spi, Some(cx.now));
        Ok(local_spi)
    }
    /// All its slots or none.
    fn claim(&mut self, sa: &IkeSa) -> Result<(), RestoreError> {
        let halves = sa.children.iter().flat_map(|c| [&c.inbound, &c.outbound]);
        let mut wanted: Vec<SaSlot> = halves.filter(|h| h.place != Place::Gone).map(|h| h.slot).collect();
        if let Some(Exchange::Child(offer)) = sa.window.in_flight.as_ref().map(|f| &f.what) {
            wanted.extend([offer.slot, offer.slot_out]);
        }
        for (done, slot) in wanted.iter().enumerate() {
            if !self.slots.claim(*slot, sa.local_spi) {
                wanted.iter().take(done).for_each(|s| self.slots.give_back(*s));
                return Err(RestoreError::Slot(slot.0));
            }
        }
        Ok(())
    }
}

fn rebuild(record: Record, peer: Arc<crate::api::Peer>, now: Now) -> Option<IkeSa> {
    let state = match record.state {
        0 => State::Established,
        1 => State::Replaced,
        2 => State::Deleting,
        3 => State::Closed,
        4 => State::Unsettled,
        _ => return None,
    };
    let ends = (record.local, record.remote);
    let mut sa = IkeSa::new(record.local_spi, record.initiator, peer, ends, state, now);
    sa.keys = Some(keyed_from(&record)?);
    sa.remote_spi = record.remote_spi;
    (sa.nat_local, sa.nat_remote) = record.nat;
    (sa.agreed, sa.detour) = (record.agreed, record.detour);
    sa.window.next_send = record.next_send;
    sa.window.expect = record.expect;
    let answered = |(id, digest, response)| {
        let response = Sealed::back(response);
        Answered { id, digest, response, repeat_after: now }
    };
    sa.window.answered = record.answered.into_iter().map(answered).collect();
    if let Some((id, sealed, doing)) = record.in_flight {
        let what = undo(doing, &sa.peer)?;
        let (sealed, retry) = (Sealed::back(sealed), Retry { sent: 0, at: now });
        sa.window.in_flight = Some(InFlight { id, sealed, what, retry });
    }
    sa.children = record.children.into_iter().map(child_from).collect::<Option<_>>()?;
    let disown = |(p, raw)| Some(Task::Disown(Protocol::from_u8(p)?, spi(raw)?));
    sa.tasks = record.disown.into_iter().map(disown).collect::<Option<_>>()?;
    if !matches!(sa.window.in_flight.as_ref().map(|f| &f.what), Some(Exchange::Prove(_))) {
        sa.detour = None;
    }
    sa.remote_id =
        record.remote_id.map(|(kind, reserved, data)| Identification { kind: IdType(kind), reserved, data });
    (sa.created, sa.established, sa.rekey_at, sa.ends_at) = record.times;
    sa.identity = record.identity.and_then(|at| sa.peer.identities.get(at)).map(Chosen::of);
    sa.generated = record.generated.into_iter().filter_map(|r| made_from(&sa, r)).collect();
    sa.low_nonce = record.low_nonce;
    sa.origin = record.origin;
    sa.ph2_total = record.ph2_total;
    Some(sa)
}
