//! IKE_SA_INIT, both ends (RFC 7296 1.2, 2.6, 2.7, 2.23). Nothing in it is authenticated: a message that
//! makes no sense is dropped, and an error only remembered.
use super::agreed::{of_initiator, of_responder};
use super::beside::Caller;
use super::counters::Refused;
use super::exchange::notify;
use super::explain::{self, INIT};
use super::ike_sa::{IkeSa, InitAnswered, InitSent, Keyed, Retry, State, Wanted};
use super::intermediate::{Rounds, RoundsAnswered};
use super::proof;
use super::report::Stranger;
use super::{Cx, Engine};
use crate::api::{Action, Datagram, DhGroup, IkeProposal, KeyLog, Now, Peer, ReportLevel};
use crate::crypto::{DhError, DhPrivate, IkeSuite, Secret, ike_keys, nat_detection, nonce, skeyseed};
use crate::diagnosis::{Cause, Diagnosis};
use crate::message::{
    Blame, ExchangeType, Header, KeyExchange, Message, Notify, NotifyType, ParseError, Payload, confirm_ike,
    offer_ike, parse_clear, select_ike,
};
use std::borrow::Cow;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Nonces are longer than half of any PRF's key (RFC 7296 2.10).
pub(super) const NONCE_LEN: usize = 32;
/// Rounds of COOKIE and INVALID_KE_PAYLOAD before an attempt is given up (row C5).
const ROUNDS: u32 = 3;
/// A peer that has asked for an SA has so long to say who it is.
const HALF_OPEN: Duration = Duration::from_secs(30);
const MAX_HALF_OPEN: usize = 4096;
const ROTATE_COOKIES: Duration = Duration::from_secs(60);

fn natd(kind: NotifyType, spi_i: u64, spi_r: u64, at: SocketAddr) -> Payload {
    Payload::Notify(Notify::new(kind, nat_detection(spi_i, spi_r, at).to_vec()))
}
pub(super) fn natds(spi_i: u64, spi_r: u64, local: SocketAddr, remote: SocketAddr) -> [Payload; 2] {
    [
        natd(NotifyType::NAT_DETECTION_SOURCE_IP, spi_i, spi_r, local),
        natd(NotifyType::NAT_DETECTION_DESTINATION_IP, spi_i, spi_r, remote),
    ]
}
/// (we, they) are behind a NAT. Without the payloads nobody is.
pub(super) fn nat_between(message: &Message, d: &Datagram) -> (bool, bool) {
    let differs = |kind, at| {
        let own = nat_detection(message.header.spi_i, message.header.spi_r, at);
        let mut theirs = message.notifies().filter(|n| n.kind == kind).peekable();
        theirs.peek().is_some() && !theirs.any(|n| n.data == own)
    };
    //= rfc7296#2.23/natd: no source hash that fits: they are behind a NAT; destination hash wrong: we are.
    (
        differs(NotifyType::NAT_DETECTION_DESTINATION_IP, d.local),
        differs(NotifyType::NAT_DETECTION_SOURCE_IP, d.remote),
    )
}
fn has_intermediate(message: &Message) -> bool {
    message.notify(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED).is_some()
}
/// What can be agreed on with the sender of this: without IKE_INTERMEDIATE there is no additional key exchange.
fn rounds_for<'a>(message: &Message, ours: &'a IkeProposal) -> Cow<'a, IkeProposal> {
    if has_intermediate(message) || ours.additional.iter().any(|round| !round.optional) {
        return Cow::Borrowed(ours);
    }
    Cow::Owned(IkeProposal { additional: Vec::new(), ..ours.clone() })
}
pub(super) fn ke(dh: &DhPrivate) -> Payload {
    Payload::Ke(KeyExchange { group: dh.group().transform(), data: dh.public().to_vec() })
}

impl Engine {
    /// Begins an IKE SA with a peer.
    pub(super) fn call(&mut self, peer: &Arc<Peer>, wanted: Vec<Wanted>, cx: &mut Cx) {
        let ends = match self.ends_of(peer) {
            Ok(ends) => ends,
            Err(why) => return self.cannot_call(peer, &wanted, why, cx),
        };
        let Some(&group) = peer.profile.proposal.groups.first() else {
            return self.cannot_call(peer, &wanted, "its profile has no dh-group", cx);
        };
        if peer.identities.is_empty() {
            return self.cannot_call(peer, &wanted, "it has no identity; add one with a secret", cx);
        }
        let dh = match DhPrivate::generate(group, self.rng.as_mut()) {
            Ok(dh) => dh,
            Err(error) => return self.cannot_call(peer, &wanted, &error.to_string(), cx),
        };
        let local_spi = self.new_spi();
        let init = InitSent {
            offer: peer.profile.proposal.clone(),
            dh,
            nonce: nonce(self.rng.as_mut(), NONCE_LEN),
            cookie: Vec::new(),
            rounds: 0,
            hint: false,
            bytes: Vec::new(),
            retry: Retry::begin(cx.now),
        };
        let mut sa =
            IkeSa::new(local_spi, true, Arc::clone(peer), ends, State::InitSent(Box::new(init)), cx.now);
        sa.wanted = wanted;
        self.send_init(&mut sa, cx);
        self.put(Box::new(sa));
    }

    //= rfc7296#2.6/cookie-first: the request is repeated unchanged with the cookie in front.
    fn send_init(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        let (spi_i, local, remote) = (sa.local_spi, sa.local, sa.remote);
        let State::InitSent(init) = &mut sa.state else { return };
        let mut payloads = Vec::new();
        if !init.cookie.is_empty() {
            payloads.push(Payload::Notify(Notify::new(NotifyType::COOKIE, init.cookie.clone())));
        }
        payloads.extend([
            Payload::Sa(offer_ike(&init.offer, None)),
            ke(&init.dh),
            Payload::Nonce(init.nonce.clone()),
        ]);
        payloads.extend(natds(spi_i, 0, local, remote));
        payloads.extend(of_initiator(&sa.peer));
        payloads.extend(self.redirected_from(&sa.peer));
        payloads.extend(proof::announce(&sa.peer));
        let exchange = ExchangeType::IKE_SA_INIT;
        let header = Header { spi_i, spi_r: 0, exchange, initiator: true, response: false, message_id: 0 };
        let message = Message::new(header, payloads);
        init.bytes = message.to_bytes();
        init.retry = Retry::begin(cx.now);
        let bytes = init.bytes.clone();
        self.trace(sa, "sent", &message, cx);
        self.transmit(sa, &[bytes], cx);
    }

    /// We have called there and wait for the answer.
    pub(super) fn awaits_init(&self, spi_i: u64, d: &Datagram) -> bool {
        let waits = |sa: &IkeSa| matches!(sa.state, State::InitSent(_)) && sa.remote.ip() == d.remote.ip();
        self.sas.get(&spi_i).is_some_and(|sa| waits(sa))
    }
    pub(super) fn on_init_response(&mut self, d: &Datagram, header: &Header, cx: &mut Cx) {
        if header.message_id != 0 || !self.awaits_init(header.spi_i, d) {
            return self.counters.refuse(Refused::NotInThisState);
        }
        let Ok(message) = parse_clear(&d.payload) else {
            return self.counters.refuse(Refused::Malformed);
        };
        self.with_sa(header.spi_i, cx, |engine, sa, cx| engine.read_init_response(sa, d, &message, cx));
    }

    fn read_init_response(&mut self, sa: &mut IkeSa, d: &Datagram, message: &Message, cx: &mut Cx) {
        self.trace(sa, "received", message, cx);
        if let Some(told) = message.notify(NotifyType::REDIRECT) {
            return self.on_init_redirect(sa, told, cx);
        }
        if let Some(cookie) = message.notify(NotifyType::COOKIE) {
            return self.on_cookie(sa, &cookie.data, cx);
        }
        if let Some(other) = message.notify(NotifyType::INVALID_KE_PAYLOAD) {
            return self.on_invalid_ke(sa, other.group(), cx);
        }
        if let Some(error) = message.error() {
            return self.on_hint(sa, error.kind, cx);
        }
        let _ = self.accept_init(sa, d, message, cx).inspect_err(|refused| self.counters.refuse(*refused));
    }
    fn on_cookie(&mut self, sa: &mut IkeSa, cookie: &[u8], cx: &mut Cx) {
        let State::InitSent(init) = &mut sa.state else { return };
        //= rfc7296#2.6/cookie-size: 1 to 64 octets.
        if !(1..=64).contains(&cookie.len()) || init.cookie == cookie {
            return self.counters.refuse(Refused::Malformed);
        }
        init.cookie = cookie.to_vec();
        self.next_round(sa, cx);
    }
    //= rfc7296#1.3/invalid-ke: retried with the group named, if it is one that we offered.
    fn on_invalid_ke(&mut self, sa: &mut IkeSa, group: Option<u16>, cx: &mut Cx) {
        let State::InitSent(init) = &mut sa.state else { return };
        let named = group;
        let group = named.and_then(DhGroup::from_transform);
        let Some(group) = group.filter(|g| init.offer.groups.contains(g) && *g != init.dh.group()) else {
            let why = explain::group_refused(&sa.peer, INIT, named);
            return self.hint(sa, why, cx);
        };
        match DhPrivate::generate(group, self.rng.as_mut()) {
            Ok(dh) => init.dh = dh,
            Err(_) => return self.counters.refuse(Refused::InvalidKe),
        }
        self.next_round(sa, cx);
    }
    //= rfc7296#2.6.1/loops: cookies and groups together have an end.
    fn next_round(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        let State::InitSent(init) = &mut sa.state else { return };
        init.rounds += 1;
        if init.rounds <= ROUNDS {
            self.send_init(sa, cx);
        } else if init.rounds == ROUNDS + 1 {
            init.hint = true;
            let why = Diagnosis::new(Cause::Rounds, INIT)
                .detail(format!("{ROUNDS} rounds"))
                .tell("is one gateway behind that address, or several that do not know of each other?");
            self.fail(sa, why, cx);
        }
    }
    //= rfc7296#2.21.1/unauthenticated-error: anyone can have sent it, so it is told, and the answer waited for.
    pub(super) fn on_hint(&mut self, sa: &mut IkeSa, kind: NotifyType, cx: &mut Cx) {
        let why = explain::init_refused(&sa.peer, kind, sa.local);
        self.hint(sa, why, cx);
    }
    fn hint(&mut self, sa: &mut IkeSa, why: Diagnosis, cx: &mut Cx) {
        self.counters.refuse(Refused::UnauthenticatedError);
        let State::InitSent(init) = &mut sa.state else { return };
        if !std::mem::replace(&mut init.hint, true) {
            self.fail(sa, why, cx);
        }
    }

    fn accept_init(
        &mut self,
        sa: &mut IkeSa,
        d: &Datagram,
        message: &Message,
        cx: &mut Cx,
    ) -> Result<(), Refused> {
        let State::InitSent(init) = &sa.state else { return Err(Refused::NotInThisState) };
        if message.header.spi_r == 0 {
            return Err(Refused::Malformed);
        }
        let (Ok(proposals), Ok(their_ke), Ok(nonce_r)) = (message.sa(), message.ke(), message.nonce()) else {
            return Err(Refused::Malformed);
        };
        let chosen = confirm_ike(proposals, &init.offer).map_err(|_| Refused::Malformed)?;
        if chosen.suite.additional.iter().any(Option::is_some) && !has_intermediate(message) {
            return Err(Refused::Malformed);
        }
        //= rfc7296#3.4/ke-group: the KE payload's group is the chosen one.
        if chosen.suite.group != init.dh.group() || their_ke.group != init.dh.group().transform() {
            return Err(Refused::InvalidKe);
        }
        let shared = init.dh.shared(&their_ke.data).map_err(|_| Refused::InvalidKe)?;
        let (nonce_i, nonce_r, request) = (init.nonce.clone(), nonce_r.clone(), init.bytes.clone());
        let seed = skeyseed(chosen.suite.prf, &nonce_i, &nonce_r, &shared);
        sa.remote_spi = message.header.spi_r;
        self.key(sa, chosen.suite, &seed, &nonce_i, &nonce_r);
        (sa.nat_local, sa.nat_remote) = nat_between(message, d);
        sa.agree(message);
        //= rfc7296#2.23/float: with a NAT between, all that follows uses port 4500.
        //= rfc4555#3.3/float: and without one, when addresses may change later.
        let may_move = sa.peer.profile.extensions.mobike
            && sa.remote.port() == 500
            && message.notify(NotifyType::NAT_DETECTION_SOURCE_IP).is_some();
        if sa.nat_local || sa.nat_remote || may_move {
            sa.local.set_port(4500);
            sa.remote.set_port(4500);
        }
        sa.window.next_send = 1;
        proof::learn(&mut sa.known, message);
        let rounds = Rounds {
            init_request: request,
            init_response: d.payload.clone(),
            nonce_i,
            nonce_r,
            left: chosen.suite.additional.into_iter().flatten().collect(),
            dh: None,
        };
        self.next_round_of(sa, rounds, cx);
        Ok(())
    }

    /// Derives the keys of a new IKE SA and, if asked for, logs them for a decoder.
    pub(super) fn key(
        &mut self,
        sa: &mut IkeSa,
        suite: IkeSuite,
        skeyseed: &[u8],
        nonce_i: &[u8],
        nonce_r: &[u8],
    ) {
        let (spi_i, spi_r) = (sa.spi_i(), sa.spi_r());
        let keys = ike_keys(&suite, skeyseed, nonce_i, nonce_r, spi_i, spi_r);
        if let Some(log) = &mut self.key_log {
            log.push(KeyLog {
                spi_i,
                spi_r,
                sk_ei: with_salt(&keys.i.encryption_key, &keys.i.salt),
                sk_er: with_salt(&keys.r.encryption_key, &keys.r.salt),
                sk_ai: keys.i.integrity_key.clone(),
                sk_ar: keys.r.integrity_key.clone(),
                encryption: suite.encryption,
                integrity: suite.integrity,
            });
        }
        sa.low_nonce = nonce_i.min(nonce_r).to_vec();
        sa.origin.low_nonce.clone_from(&sa.low_nonce);
        sa.keys = Some(Keyed { keys, suite });
    }

    pub(super) fn on_init_request(&mut self, d: &Datagram, header: &Header, cx: &mut Cx) {
        //= rfc7296#3.1/spi-i-not-zero: who has not chosen an SPI cannot be answered.
        if header.message_id != 0 || header.spi_r != 0 || header.spi_i == 0 {
            return self.counters.refuse(Refused::Malformed);
        }
        if self.beside.has_caller(d.remote, header.spi_i) {
            return self.counters.refuse(Refused::Retransmit);
        }
        if let Some(local_spi) = self.half_open.get(&(d.remote, header.spi_i)).copied() {
            return self.repeat_init(local_spi, d, cx);
        }
        let message = match parse_clear(&d.payload) {
            Ok(message) => message,
            Err(error) => {
                self.counters.refuse(Refused::Malformed);
                self.malformed(d, &error, cx);
                if let Some(told) = error.notify(false)
                    && self.unknown_answers.take(cx.now)
                {
                    self.answer_in_clear(d, header, told, cx);
                }
                return;
            }
        };
        if let Err((refused, told)) = self.answer_init(d, &message, cx) {
            self.counters.refuse(refused);
            if let Some(told) = told {
                self.answer_in_clear(d, header, told, cx);
            }
        }
    }
    /// Of a peer's address only: whatever else comes from the Internet is counted.
    fn malformed(&mut self, d: &Datagram, error: &ParseError, cx: &mut Cx) {
        if error.blame() == Blame::Noise {
            return;
        }
        let Some(peer) = self.by_address.find(d.remote.ip(), d.local.ip()) else { return };
        let who = Stranger { remote: d.remote, local: d.local, peer: Some(&peer) };
        self.of_stranger(who, Cause::Malformed, std::mem::discriminant(error), cx, || {
            Diagnosis::new(Cause::Malformed, INIT).detail(error.to_string()).theirs(error.to_string()).tell(
                "this is a fault of the program there, or of one that changes messages on the way: update it",
            )
        });
    }
    fn repeat_init(&mut self, local_spi: u64, d: &Datagram, cx: &mut Cx) {
        let Some(State::InitAnswered(half)) = self.sas.get_mut(&local_spi).map(|sa| &mut sa.state) else {
            return;
        };
        if half.request != d.payload {
            return self.counters.refuse(Refused::OutsideWindow);
        }
        half.again += 1;
        self.counters.refuse(Refused::Retransmit);
        self.counters.retransmits_answered += 1;
        let (local, remote, payload) = (d.local, d.remote, half.response.clone());
        cx.out.push(Action::Send(Datagram { local, remote, payload }));
    }

    /// The responder's side. An error says what is counted and what the sender is told, if anything.
    fn answer_init(
        &mut self,
        d: &Datagram,
        message: &Message,
        cx: &mut Cx,
    ) -> Result<(), (Refused, Option<Notify>)> {
        let told = |refused, kind, data| Err((refused, Some(Notify::new(kind, data))));
        let header = message.header;
        let nonce_i = message.nonce().map_err(|_| (Refused::Malformed, None))?.clone();
        //= rfc7296#2.6/demand: with many half-open SAs nothing is kept or computed before the address is proven.
        if self.half_open.len() + self.beside.callers() >= self.config.ddos_cookie_threshold.max(1) as usize {
            self.rotate_cookies(cx.now);
            self.overloaded(d, cx);
            match message.notify(NotifyType::COOKIE) {
                None => {
                    let cookie = self.cookies.make(&nonce_i, d.remote.ip(), header.spi_i);
                    return told(Refused::CookieDemanded, NotifyType::COOKIE, cookie);
                }
                Some(c) if !self.cookies.check(&c.data, &nonce_i, d.remote.ip(), header.spi_i) => {
                    let cookie = self.cookies.make(&nonce_i, d.remote.ip(), header.spi_i);
                    return told(Refused::CookieWrong, NotifyType::COOKIE, cookie);
                }
                Some(_) => {}
            }
        }
        let Some(peer) = self.by_address.find(d.remote.ip(), d.local.ip()) else {
            self.unknown_caller(d, cx);
            return Err((Refused::UnknownPeer, None));
        };
        if let Some(elsewhere) = self.elsewhere(d, message, &nonce_i) {
            return Err((Refused::Redirected, Some(elsewhere)));
        }
        let proposals = match message.sa() {
            Ok(proposals) => proposals,
            Err(error) => return Err((Refused::Malformed, error.notify(false))),
        };
        let ours = rounds_for(message, &peer.profile.proposal);
        let chosen = match select_ike(proposals, &ours) {
            Ok(chosen) => chosen,
            Err(mismatch) => {
                let who = Stranger { remote: d.remote, local: d.local, peer: Some(&peer) };
                self.of_stranger(who, Cause::IkeProposal, proposals, cx, || {
                    explain::ike_proposal(&peer, INIT, &mismatch)
                });
                return told(Refused::UnknownPeer, NotifyType::NO_PROPOSAL_CHOSEN, Vec::new());
            }
        };
        if chosen.suite.additional.iter().any(Option::is_some) && !has_intermediate(message) {
            return told(Refused::Malformed, NotifyType::NO_PROPOSAL_CHOSEN, Vec::new());
        }
        let group = chosen.suite.group;
        let their_ke = message.ke().map_err(|_| (Refused::Malformed, None))?;
        //= rfc7296#1.2/invalid-ke: another group than the chosen one is answered with the right one.
        if their_ke.group != group.transform() {
            let data = group.transform().to_be_bytes().to_vec();
            return told(Refused::InvalidKe, NotifyType::INVALID_KE_PAYLOAD, data);
        }
        let (d, theirs) = (d.clone(), their_ke.data.clone());
        let caller = Caller { d, message: message.clone(), peer, chosen, nonce_i };
        if self.beside.is_on() {
            self.put_off_init(caller, &theirs, group, cx);
            return Ok(());
        }
        let made = DhPrivate::answer(group, &theirs, self.rng.as_mut());
        self.half_open_with(caller, made, cx)
    }

    /// `made`: our public value, and the secret.
    pub(super) fn half_open_with(
        &mut self,
        caller: Caller,
        made: Result<(Vec<u8>, Secret), DhError>,
        cx: &mut Cx,
    ) -> Result<(), (Refused, Option<Notify>)> {
        let Caller { d, message, peer, chosen, nonce_i } = caller;
        let (d, message, peer) = (&d, &message, &peer);
        let (public, shared) = made.map_err(|error| {
            let who = Stranger { remote: d.remote, local: d.local, peer: Some(peer) };
            self.of_stranger(who, Cause::IkeKeyExchange, (), cx, || {
                Diagnosis::new(Cause::IkeKeyExchange, INIT)
                    .detail(format!("{error}, {}", chosen.suite.group.name()))
                    .tell("this is a fault of the program there: update it")
            });
            (Refused::InvalidKe, None)
        })?;
        self.make_room();
        let nonce_r = nonce(self.rng.as_mut(), NONCE_LEN);
        let seed = skeyseed(chosen.suite.prf, &nonce_i, &nonce_r, &shared);
        let local_spi = self.new_spi();
        let spi_i = message.header.spi_i;
        let header = Header { spi_r: local_spi, initiator: false, response: true, ..message.header };
        let ke = KeyExchange { group: chosen.suite.group.transform(), data: public };
        let mut payloads =
            vec![Payload::Sa(vec![chosen.answer]), Payload::Ke(ke), Payload::Nonce(nonce_r.clone())];
        payloads.extend(natds(spi_i, local_spi, d.local, d.remote));
        payloads.extend(of_responder(peer, message));
        payloads.extend(proof::announce(peer));
        payloads.extend(proof::ask(peer.identities.iter()));
        let answer = Message::new(header, payloads);
        let response = answer.to_bytes();
        let half = InitAnswered {
            request: d.payload.clone(),
            response: response.clone(),
            nonce_i: nonce_i.clone(),
            nonce_r: nonce_r.clone(),
            rounds: RoundsAnswered {
                left: chosen.suite.additional.into_iter().flatten().collect(),
                shared: None,
            },
            forgeries: 0,
            again: 0,
        };
        let state = State::InitAnswered(Box::new(half));
        let mut sa = IkeSa::new(local_spi, false, Arc::clone(peer), (d.local, d.remote), state, cx.now);
        sa.remote_spi = spi_i;
        sa.window.expect = 1;
        sa.ends_at = Some(cx.now + HALF_OPEN);
        proof::learn(&mut sa.known, message);
        (sa.nat_local, sa.nat_remote) = nat_between(message, d);
        sa.agree(message);
        self.key(&mut sa, chosen.suite, &seed, &nonce_i, &nonce_r);
        self.trace(&sa, "received", message, cx);
        self.trace(&sa, "sent", &answer, cx);
        self.half_open.insert((d.remote, spi_i), local_spi);
        self.half_open_order.push_back(local_spi);
        self.transmit(&mut sa, &[response], cx);
        self.put(Box::new(sa));
        Ok(())
    }
    /// Memory for half-open SAs is bounded: the oldest goes.
    fn make_room(&mut self) {
        while self.half_open.len() >= MAX_HALF_OPEN || self.half_open_order.len() >= 2 * MAX_HALF_OPEN {
            let Some(oldest) = self.half_open_order.pop_front() else { return };
            if self.sas.get(&oldest).is_some_and(|sa| sa.is_half_open())
                && let Some(mut sa) = self.sas.remove(&oldest)
            {
                self.counters.refuse(Refused::NoResources);
                sa.dead = true;
                self.put(sa);
                return;
            }
        }
    }
    /// Said once in a while: at such a time there is no room for more.
    fn overloaded(&mut self, d: &Datagram, cx: &mut Cx) {
        let everyone = SocketAddr::new(std::net::Ipv4Addr::UNSPECIFIED.into(), 0);
        let who = Stranger { remote: everyone, local: d.local, peer: None };
        let threshold = self.config.ddos_cookie_threshold.max(1);
        self.of_stranger(who, Cause::Overload, (), cx, || {
            Diagnosis::new(Cause::Overload, INIT)
                .detail(format!("{threshold} half-open IKE SAs or more"))
                .ours(format!("ddos-cookie-threshold={threshold}"))
                .fix(format!("/ip ipsec settings set ddos-cookie-threshold={}", threshold.saturating_mul(4)))
        });
    }
    fn unknown_caller(&mut self, d: &Datagram, cx: &mut Cx) {
        let elsewhere = self.by_address.elsewhere(d.remote.ip());
        let cause = if elsewhere.is_some() { Cause::OtherLocal } else { Cause::NoPeer };
        let who = Stranger { remote: d.remote, local: d.local, peer: elsewhere.as_ref() };
        self.of_stranger(who, cause, d.local.ip(), cx, || match &elsewhere {
            Some(peer) => explain::other_local(peer, d.remote, d.local),
            None => explain::no_peer(d.remote, d.local),
        });
    }
    fn rotate_cookies(&mut self, now: Now) {
        if now.saturating_sub(self.cookies_rotated) >= ROTATE_COOKIES {
            self.cookies.rotate(self.rng.as_mut());
            self.cookies_rotated = now;
        }
    }
    pub(super) fn init_without_answer(&mut self, sa: &mut IkeSa, hinted: bool, cx: &mut Cx) {
        if !hinted {
            let sent = match &sa.state {
                State::InitSent(init) => init.retry.sent,
                _ => 0,
            };
            self.fail(sa, explain::no_answer(&sa.peer, sa.local, sa.remote, sent), cx);
        } else {
            self.say(sa, ReportLevel::Debug, cx, "IKE_SA_INIT given up".into());
        }
        self.give_up_call(sa, cx);
    }
    /// A call of ours came to nothing: whoever waits for it is told, and the next one planned.
    pub(super) fn give_up_call(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        for w in std::mem::take(&mut sa.wanted) {
            cx.out.push(Action::AcquireFailed { policy: w.policy, retry_ms: 10_000 });
        }
        sa.dead = true;
        self.redirects.back(&sa.peer.name);
        self.call_again(sa, cx);
    }
    pub(super) fn error_payload(kind: NotifyType) -> Vec<Payload> {
        vec![notify(kind)]
    }
}

fn with_salt(key: &::sa::Key, salt: &::sa::Key) -> ::sa::Key {
    ::sa::Key::new(&zeroize::Zeroizing::new([key.expose(), salt.expose()].concat()))
        .unwrap_or_else(::sa::Key::empty)
}
