//! From a datagram to the exchange it belongs to, and back: windows, retransmissions, encryption.
//!
//! Rows B5, B14, C1 to C4: what is not authentic changes nothing; what is authentic is acted on once.
use super::child::Place;
use super::counters::Refused;
use super::explain::{INFORMATIONAL, INIT};
use super::fragment::is_fragment;
use super::ike_sa::{Answered, Exchange, IkeSa, InFlight, Retry, State};
use super::report::Stranger;
use super::{Cx, Engine};
use crate::api::{Action, Datagram, Now, ReportLevel};
use crate::diagnosis::{Cause, Diagnosis};
use crate::message::{
    ExchangeType, Header, Inner, Message, Notify, NotifyType, OpenError, ParseError, Payload, Protocol,
    parse_header,
};
use sha2::{Digest, Sha256};
use std::net::SocketAddr;
use std::time::Duration;

/// A repeated request is answered again at most this often.
const REPEAT: Duration = Duration::from_millis(100);
/// A half-open SA whose "IKE_AUTH" does not decrypt so often is given up (row I3).
const FORGERIES: u32 = 16;
/// From this id on an IKE SA is replaced; past the last one it ends (RFC 7296 2.2).
pub(super) const LAST_ID: u32 = u32::MAX;
pub(super) const RENEW_AT_ID: u32 = u32::MAX - 1024;

pub(super) fn digest_of(bytes: &[u8]) -> [u8; 32] {
    Sha256::digest(bytes).into()
}
pub(super) fn notify(kind: NotifyType) -> Payload {
    Payload::Notify(Notify::new(kind, Vec::new()))
}

impl Engine {
    pub(super) fn on_datagram(&mut self, d: &Datagram, cx: &mut Cx) {
        let header = match parse_header(&d.payload) {
            Ok(parsed) => parsed.header,
            Err(error) => return self.refuse_outside(d, &error, cx),
        };
        if header.exchange == ExchangeType::IKE_SA_INIT {
            //= rfc7296#3.1/init-direction: the request comes from the initiator, the response does not.
            return match (header.initiator, header.response) {
                (true, false) => self.on_init_request(d, &header, cx),
                (false, true) => self.on_init_response(d, &header, cx),
                _ => self.counters.refuse(Refused::WrongDirection),
            };
        }
        let local_spi = if header.initiator { header.spi_r } else { header.spi_i };
        let known = self.with_sa(local_spi, cx, |engine, sa, cx| engine.on_protected(sa, d, &header, cx));
        if known.is_none() {
            self.on_unknown_sa(d, &header, cx);
        }
    }

    fn refuse_outside(&mut self, d: &Datagram, error: &ParseError, cx: &mut Cx) {
        let ParseError::MajorVersion { header, major } = error else {
            return self.counters.refuse(Refused::Malformed);
        };
        self.counters.refuse(Refused::MajorVersion);
        self.other_version(d, header.spi_i, *major, cx);
        let Some(notify) = error.notify(false) else { return };
        if self.unknown_answers.take(cx.now) {
            self.answer_in_clear(d, header, notify, cx);
        }
    }
    /// Somebody calls in another version of IKE, or answers us so.
    fn other_version(&mut self, d: &Datagram, spi_i: u64, major: u8, cx: &mut Cx) {
        if self.awaits_init(spi_i, d) {
            self.with_sa(spi_i, cx, |engine, sa, cx| {
                engine.on_hint(sa, NotifyType::INVALID_MAJOR_VERSION, cx);
            });
            return;
        }
        let peer = self.by_address.find(d.remote.ip(), d.local.ip());
        let who = Stranger { remote: d.remote, local: d.local, peer: peer.as_ref() };
        self.of_stranger(who, Cause::Ikev1Call, major, cx, || {
            Diagnosis::new(Cause::Ikev1Call, INIT)
                .theirs(format!("IKEv{major}"))
                .ours("IKEv2")
                .difference(format!("exchange-mode: they speak IKEv{major}, we IKEv2"))
                .tell("set IKEv2 for us (exchange-mode=ike2, keyexchange=ikev2, \"IKEv2\")")
        });
    }
    //= rfc7296#2.21.4/unknown-sa: a request for an SA we do not have may be told so, in clear, seldom.
    fn on_unknown_sa(&mut self, d: &Datagram, header: &Header, cx: &mut Cx) {
        self.counters.refuse(Refused::UnknownSa);
        self.on_hint_of_spi(d, header, cx);
        if !header.response && self.unknown_answers.take(cx.now) {
            self.answer_in_clear(d, header, Notify::new(NotifyType::INVALID_IKE_SPI, Vec::new()), cx);
        }
    }
    /// Outside any SA. Never longer than what it answers (row I5).
    pub(super) fn answer_in_clear(&mut self, d: &Datagram, to: &Header, notify: Notify, cx: &mut Cx) {
        let header = Header { initiator: !to.initiator, response: true, ..*to };
        let payload = Message::new(header, vec![Payload::Notify(notify)]).to_bytes();
        if payload.len() <= d.payload.len() {
            cx.out.push(Action::Send(Datagram { local: d.local, remote: d.remote, payload }));
        }
    }

    fn on_protected(&mut self, sa: &mut IkeSa, d: &Datagram, header: &Header, cx: &mut Cx) {
        let remote_spi = if header.initiator { header.spi_i } else { header.spi_r };
        if sa.keys.is_none() {
            self.counters.refuse(Refused::NotInThisState);
        } else if remote_spi != sa.remote_spi {
            self.counters.refuse(Refused::UnknownSa);
        } else if header.initiator == sa.initiator {
            self.counters.refuse(Refused::WrongDirection);
        } else if header.response {
            self.on_response(sa, d, header, cx);
        } else {
            self.on_request(sa, d, header, cx);
        }
    }

    fn on_request(&mut self, sa: &mut IkeSa, d: &Datagram, header: &Header, cx: &mut Cx) {
        let id = header.message_id;
        if sa.waiting.is_some() {
            return self.counters.refuse(Refused::Retransmit);
        }
        if sa.window.answered.iter().any(|a| a.id == id) {
            return self.repeat_answer(sa, d, cx);
        }
        if !sa.window.has_room(id, sa.agreed.window) {
            return self.counters.refuse(Refused::OutsideWindow);
        }
        let opened = match self.open(sa, d, cx) {
            //= rfc7296#2.3/icv-before-id: a message that is not authentic does not use its id up.
            Err(OpenError::Icv | OpenError::Outside(_)) => return forged(sa),
            //= rfc7383#2.6/id: nor do the fragments of one that is not whole yet.
            Ok(None) => return,
            Ok(Some(message)) => Ok(message),
            Err(error) => Err(error),
        };
        //= rfc7296#2.2/last-id: ids do not wrap; at the end the SA is closed.
        if id == LAST_ID {
            self.lose(sa, cx);
            return;
        }
        self.follow(sa, d, cx);
        sa.last_seen = cx.now;
        sa.dirty = true;
        let response = match opened {
            Ok(message) => {
                self.trace(sa, "received", &message, cx);
                if self.put_off_auth(sa, d, header, &message, cx) {
                    return;
                }
                self.dispatch_request(sa, d, &message, cx)
            }
            Err(error) => Some(self.broken_inside(sa, &error, cx)),
        };
        self.answer(sa, d, header, response, cx);
    }
    pub(super) fn answer(
        &mut self,
        sa: &mut IkeSa,
        d: &Datagram,
        header: &Header,
        response: Option<Vec<Payload>>,
        cx: &mut Cx,
    ) {
        match response {
            Some(payloads) => {
                self.respond(sa, d, header, payloads, cx);
                self.after_intermediate(sa);
            }
            // Authentic but out of place: not acted on, and its id not used up.
            None => self.counters.refuse(Refused::NotInThisState),
        }
    }

    /// `None`: does not belong here.
    pub(super) fn dispatch_request(
        &mut self,
        sa: &mut IkeSa,
        d: &Datagram,
        message: &Message,
        cx: &mut Cx,
    ) -> Option<Vec<Payload>> {
        match (message.header.exchange, &sa.state) {
            //= rfc7296#1.2/auth-second: before IKE_AUTH nothing else is possible.
            (ExchangeType::IKE_AUTH, State::InitAnswered(half)) if half.rounds.left.is_empty() => {
                Some(self.on_auth_request(sa, d, message, cx))
            }
            (ExchangeType::IKE_INTERMEDIATE, State::InitAnswered(half)) if !half.rounds.left.is_empty() => {
                Some(self.on_intermediate_request(sa, message, cx))
            }
            (
                _,
                State::InitSent(_)
                | State::InitAnswered(_)
                | State::Intermediate(_)
                | State::AuthSent(_)
                | State::Closed,
            ) => None,
            // Not answered, so that it comes again when it is known who has the children.
            (_, State::Unsettled) if !message.deletes().any(|d| d.protocol == Protocol::IKE) => None,
            (ExchangeType::CREATE_CHILD_SA, _) => Some(self.on_create_request(sa, message, cx)),
            (ExchangeType::IKE_FOLLOWUP_KE, _) => Some(self.on_followup_request(sa, message, cx)),
            (ExchangeType::INFORMATIONAL, _) => {
                let mut answer = self.on_informational_request(sa, message, cx);
                answer.extend(self.on_mobike_request(sa, d, message, cx));
                self.note_lifetime(sa, message, cx);
                self.on_redirect_request(sa, message, cx);
                Some(answer)
            }
            //= rfc7296#2.2/auth-once: IKE_AUTH of an established SA is refused, authentic as it is.
            _ => Some(vec![notify(NotifyType::INVALID_SYNTAX)]),
        }
    }

    //= rfc7296#2.21.3/broken-inside: an authentic message that does not parse ends its IKE SA.
    pub(super) fn broken_inside(&mut self, sa: &mut IkeSa, error: &OpenError, cx: &mut Cx) -> Vec<Payload> {
        let critical = matches!(error, OpenError::Inside(ParseError::Critical(_)));
        let cause = if critical { Cause::Critical } else { Cause::Malformed };
        let exchange = if sa.is_half_open() { "IKE_AUTH" } else { INFORMATIONAL };
        let why = Diagnosis::new(cause, exchange).detail(error.to_string()).theirs(error.to_string()).tell(
            "this is a fault of the program there, or of one that changes messages on the way: update it",
        );
        self.fail(sa, why, cx);
        let told = error.notify().unwrap_or(Notify::new(NotifyType::INVALID_SYNTAX, Vec::new()));
        let critical_only = told.kind == NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD;
        //= rfc7296#2.5/critical-refused: an unknown critical payload refuses its message, not the SA.
        if !critical_only || !sa.is_established() {
            self.end(sa, cx);
        }
        vec![Payload::Notify(told)]
    }

    //= rfc7296#2.1/retransmit: the same request gets the same bytes; another with its id gets nothing.
    fn repeat_answer(&mut self, sa: &mut IkeSa, d: &Datagram, cx: &mut Cx) {
        let Some(at) = parse_header(&d.payload)
            .ok()
            .and_then(|parsed| sa.window.answered.iter().position(|a| a.id == parsed.header.message_id))
        else {
            return;
        };
        let answered = &sa.window.answered[at];
        let fragment = is_fragment(d);
        if !fragment && answered.digest != digest_of(&d.payload) {
            return self.counters.refuse(Refused::OutsideWindow);
        }
        self.counters.refuse(Refused::Retransmit);
        if cx.now < answered.repeat_after || fragment && !self.repeats(sa, d) {
            return;
        }
        let answered = &mut sa.window.answered[at];
        answered.repeat_after = cx.now + REPEAT;
        self.counters.retransmits_answered += 1;
        for payload in answered.response.clone() {
            cx.out.push(Action::Send(Datagram { local: d.local, remote: d.remote, payload }));
        }
    }

    //= rfc7296#2.11/reply-to-source: the answer goes where the request came from.
    fn respond(&mut self, sa: &mut IkeSa, d: &Datagram, to: &Header, payloads: Vec<Payload>, cx: &mut Cx) {
        let header = Header { initiator: sa.initiator, response: true, ..*to };
        let Some(response) = self.seal(sa, header, payloads, cx) else { return };
        let answered = Answered {
            id: to.message_id,
            digest: digest_of(&d.payload),
            response: response.clone(),
            repeat_after: cx.now + REPEAT,
        };
        sa.window.took(answered, sa.agreed.window);
        sa.last_sent = cx.now;
        for payload in response {
            cx.out.push(Action::Send(Datagram { local: d.local, remote: d.remote, payload }));
        }
    }

    fn seal(
        &mut self,
        sa: &mut IkeSa,
        header: Header,
        payloads: Vec<Payload>,
        cx: &mut Cx,
    ) -> Option<Vec<Vec<u8>>> {
        let keys = sa.keys.as_ref()?.keys.sending(sa.initiator);
        let message = Message::new(header, payloads);
        let inner = Inner::of(&message);
        let sealed = match sa.bound() {
            Some(bound) => inner.seal_within(bound, keys, self.rng.as_mut()),
            None => inner.seal(keys, self.rng.as_mut()).map(|datagram| vec![datagram]),
        };
        sa.said(&inner);
        self.trace(sa, "sent", &message, cx);
        if let Err(error) = &sealed {
            let said = format!("a message could not be encrypted: {error}; the IKE SA ends");
            self.fail(sa, Diagnosis::new(Cause::Local, INFORMATIONAL).detail(said), cx);
            self.lose(sa, cx);
        }
        sealed.ok()
    }

    /// Sends a request of ours; the window is free.
    pub(super) fn request(
        &mut self,
        sa: &mut IkeSa,
        exchange: ExchangeType,
        payloads: Vec<Payload>,
        what: Exchange,
        cx: &mut Cx,
    ) {
        let id = sa.window.next_send;
        let (spi_i, spi_r) = (sa.spi_i(), sa.spi_r());
        let header =
            Header { spi_i, spi_r, exchange, initiator: sa.initiator, response: false, message_id: id };
        sa.window.in_flight = Some(InFlight { id, sealed: Vec::new(), what, retry: Retry::begin(cx.now) });
        sa.dirty = true;
        if id == LAST_ID {
            self.lose(sa, cx);
            return;
        }
        let Some(sealed) = self.seal(sa, header, payloads, cx) else { return };
        sa.window.next_send = id + 1;
        if let Some(in_flight) = &mut sa.window.in_flight {
            in_flight.sealed.clone_from(&sealed);
        }
        self.transmit(sa, &sealed, cx);
    }
    pub(super) fn transmit(&self, sa: &mut IkeSa, datagrams: &[Vec<u8>], cx: &mut Cx) {
        sa.last_sent = cx.now;
        for payload in datagrams {
            let ((local, remote), payload) = (sa.ends(), payload.clone());
            cx.out.push(Action::Send(Datagram { local, remote, payload }));
        }
    }

    fn on_response(&mut self, sa: &mut IkeSa, d: &Datagram, header: &Header, cx: &mut Cx) {
        if sa.window.in_flight.as_ref().is_none_or(|f| f.id != header.message_id) {
            return self.counters.refuse(Refused::OutsideWindow);
        }
        let message = match self.open(sa, d, cx) {
            Ok(Some(message)) => message,
            Ok(None) => return,
            Err(error @ OpenError::Inside(_)) => {
                //= rfc7296#2.21.3/broken-response: there is no answer to an answer; the SA is closed.
                self.broken_inside(sa, &error, cx);
                self.lose(sa, cx);
                return;
            }
            Err(_) => return,
        };
        let expected = match sa.window.in_flight.as_ref().map(|f| &f.what) {
            Some(Exchange::Intermediate) => ExchangeType::IKE_INTERMEDIATE,
            Some(Exchange::Auth) => ExchangeType::IKE_AUTH,
            Some(Exchange::Child(offer)) if offer.followup.is_some() => ExchangeType::IKE_FOLLOWUP_KE,
            Some(Exchange::Ike(offer)) if offer.followup.is_some() => ExchangeType::IKE_FOLLOWUP_KE,
            Some(Exchange::Child(_) | Exchange::Ike(_)) => ExchangeType::CREATE_CHILD_SA,
            _ => ExchangeType::INFORMATIONAL,
        };
        if header.exchange != expected {
            return self.counters.refuse(Refused::NotInThisState);
        }
        let Some(in_flight) = sa.window.in_flight.take() else { return };
        self.follow(sa, d, cx);
        sa.last_seen = cx.now;
        sa.dirty = true;
        if sa.window.next_send >= RENEW_AT_ID && sa.is_established() {
            sa.push_task(super::ike_sa::Task::RekeyIke);
        }
        self.trace(sa, "received", &message, cx);
        match in_flight.what {
            Exchange::Intermediate => self.on_intermediate_response(sa, &message, cx),
            Exchange::Auth => self.on_auth_response(sa, &message, cx),
            Exchange::Child(offer) => self.on_child_response(sa, *offer, &message, cx),
            Exchange::Ike(offer) => self.on_ike_response(sa, *offer, &message, cx),
            Exchange::DeleteChildren(spis) => self.on_children_deleted(sa, &spis, cx),
            Exchange::DeleteIke => self.on_ike_deleted(sa, cx),
            Exchange::Liveness => self.on_alive(sa, &message),
            Exchange::Prove(path) => self.on_path_proven(sa, *path, d, &message, cx),
            Exchange::Redirect => self.on_redirected(sa, cx),
        }
    }

    //= rfc7296#2.23/dynamic-update: only the end that is not behind a NAT follows, and only new authentic messages.
    fn follow(&mut self, sa: &mut IkeSa, d: &Datagram, cx: &mut Cx) {
        if (d.local, d.remote) == (sa.local, sa.remote) {
            return;
        }
        let floats =
            d.remote.ip() == sa.remote.ip() && d.local.ip() == sa.local.ip() && d.local.port() == 4500;
        if sa.is_half_open()
            || (sa.nat_remote && !sa.nat_local && sa.follows(d.remote))
            || (floats && sa.local.port() != 4500)
        {
            self.move_to(sa, d.local, d.remote, cx);
        }
    }
    pub(super) fn move_to(&mut self, sa: &mut IkeSa, local: SocketAddr, remote: SocketAddr, cx: &mut Cx) {
        self.half_open.remove(&(sa.remote, sa.remote_spi));
        (sa.local, sa.remote) = (local, remote);
        if sa.is_half_open() {
            self.half_open.insert((sa.remote, sa.remote_spi), sa.local_spi);
        }
        sa.dirty = true;
        let (ends, encap) = (sa.tunnel_ends(), sa.encap());
        for child in &sa.children {
            for half in [&child.inbound, &child.outbound] {
                if half.place == Place::Installed {
                    cx.out.push(Action::Move { slot: half.slot, spi: half.spi, ends, encap });
                }
            }
        }
        if !sa.children.is_empty() {
            self.say(sa, ReportLevel::Info, cx, format!("the peer has moved to {remote}"));
        }
    }

    /// Repeats what is due; gives up when the series is over.
    pub(super) fn retransmit(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        let now: Now = cx.now;
        let (sealed, again) = match (&mut sa.state, &mut sa.window.in_flight) {
            (State::InitSent(init), _) if init.retry.at <= now => {
                (vec![init.bytes.clone()], init.retry.again(now))
            }
            (_, Some(f)) if f.retry.at <= now => (f.sealed.clone(), f.retry.again(now)),
            _ => return,
        };
        if again {
            self.counters.retransmits_sent += 1;
            self.transmit(sa, &sealed, cx);
        } else {
            self.no_answer(sa, cx);
        }
    }

    /// Tells the peer, in an exchange nobody waits for, that we do not believe it (RFC 7296 2.21.2).
    pub(super) fn last_word(&mut self, sa: &mut IkeSa, kind: NotifyType, cx: &mut Cx) {
        let message_id = sa.window.next_send;
        let (spi_i, spi_r) = (sa.spi_i(), sa.spi_r());
        let exchange = ExchangeType::INFORMATIONAL;
        let header = Header { spi_i, spi_r, exchange, initiator: sa.initiator, response: false, message_id };
        let delete = crate::message::Delete { protocol: Protocol::IKE, spis: Vec::new() };
        if let Some(sealed) = self.seal(sa, header, vec![notify(kind), Payload::Delete(delete)], cx) {
            self.transmit(sa, &sealed, cx);
        }
    }
}

fn forged(sa: &mut IkeSa) {
    if let State::InitAnswered(half) = &mut sa.state {
        half.forgeries += 1;
        sa.dead |= half.forgeries >= FORGERIES;
    }
}
