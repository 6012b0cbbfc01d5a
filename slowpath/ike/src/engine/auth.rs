//! IKE_AUTH, both ends, and the child made with it (RFC 7296 1.2, 2.15).
use super::counters::Refused;
use super::explain::{self, AUTH};
use super::ike_sa::{AuthSent, Exchange, IkeSa, State, Wanted};
use super::negotiate::InitNonces;
use super::peers::{identity_for, my_id, my_id_for, takes};
use super::proof::{self, Signed};
use super::templates::Chosen;
use super::{Cx, Engine};
use crate::api::{Datagram, Now, ReportLevel};
use crate::diagnosis::{Cause, Diagnosis};
use crate::message::{ExchangeType, Message, NotifyType, Payload};

impl Engine {
    /// The initiator's IKE_AUTH, after IKE_SA_INIT was answered.
    pub(super) fn send_auth(
        &mut self,
        sa: &mut IkeSa,
        init_request: Vec<u8>,
        nonce_i: Vec<u8>,
        nonce_r: Vec<u8>,
        init_response: Vec<u8>,
        cx: &mut Cx,
    ) {
        sa.int_auth.auth_id = sa.window.next_send;
        let first = sa.wanted.iter().position(|w| super::negotiate::config_of(sa, w.policy).is_some());
        let wanted = first.map(|at| sa.wanted.remove(at));
        let wanted = wanted.or_else(|| {
            let policy = super::templates::to_ask_for(&sa.peer).first().copied()?;
            Some(Wanted { policy, packet: None })
        });
        let (Some(identity), Some(wanted)) = (sa.peer.identities.first().cloned(), wanted) else {
            let why =
                Diagnosis::new(Cause::CannotCall, AUTH).detail("it has no policy or no identity; add one");
            self.fail(sa, why, cx);
            return self.give_up_call(sa, cx);
        };
        sa.identity = Some(Chosen::of(&identity));
        let id = my_id(&identity, sa.local.ip());
        let signed = Signed { first_message: &init_request, their_nonce: &nonce_r, id: &id };
        let proof = match proof::sign(sa, &identity, &signed) {
            Ok(proof) => proof,
            Err(why) => {
                self.fail(sa, *why, cx);
                sa.wanted.push(wanted);
                return self.give_up_call(sa, cx);
            }
        };
        let Some((child, offer)) = self.offer_child(sa, &wanted, None, true, cx) else {
            sa.wanted.push(wanted);
            return self.give_up_call(sa, cx);
        };
        let mut payloads = vec![Payload::IdI(id.clone())];
        payloads.extend(proof::certificates(&identity));
        payloads.extend(proof::ask(std::iter::once(&identity)));
        if let crate::api::RemoteId::Id(theirs) = &identity.remote_id {
            payloads.push(Payload::IdR(theirs.into()));
        }
        payloads.push(proof);
        //= rfc7296#2.4/initial-contact: only when this is the one IKE SA we have with the peer.
        if sa.peer.send_initial_contact && self.live_sa(&sa.peer.name).is_none() {
            payloads.push(super::exchange::notify(NotifyType::INITIAL_CONTACT));
        }
        payloads.extend(offer);
        payloads.extend(self.announce(sa, None));
        sa.state =
            State::AuthSent(Box::new(AuthSent { identity, nonce_i, nonce_r, init_response, child, wanted }));
        self.request(sa, ExchangeType::IKE_AUTH, payloads, Exchange::Auth, cx);
    }

    pub(super) fn on_auth_response(&mut self, sa: &mut IkeSa, message: &Message, cx: &mut Cx) {
        let State::AuthSent(sent) = std::mem::replace(&mut sa.state, State::Established) else { return };
        let AuthSent { identity, nonce_i, nonce_r, init_response, child, wanted } = *sent;
        let spi_places = (child.slot, child.slot_out);
        let (Ok(id_r), Ok(_)) = (message.id_r(), message.auth()) else {
            let told = message.error().map(|n| n.kind);
            self.fail(sa, explain::auth_refused(&identity, sa.local.ip(), told), cx);
            return self.abandon_call(sa, wanted, spi_places, cx);
        };
        let signed = Signed { first_message: &init_response, their_nonce: &nonce_i, id: id_r };
        let problem = if takes(&identity, id_r) {
            proof::verify(sa, &identity, &signed, message, self.wall(cx.now)).err()
        } else {
            Some(Box::new(explain::id_unknown(&sa.peer, id_r, None, sa.local.ip())))
        };
        if let Some(why) = problem {
            self.fail(sa, *why, cx);
            //= rfc7296#2.21.2/initiator-refuses: the responder believes in the SA and is told.
            self.last_word(sa, NotifyType::AUTHENTICATION_FAILED, cx);
            return self.abandon_call(sa, wanted, spi_places, cx);
        }
        sa.remote_id = Some(id_r.clone());
        self.established(sa, cx);
        self.heed(sa, message, cx);
        if let Some(error) = message.error() {
            //= rfc7296#1.2/child-fails-alone: the IKE SA stands although its first child was refused.
            let kind = error.kind;
            self.release_offer(&child);
            let group = error.group();
            self.child_refused(sa, &child, (kind, group), true, cx);
        } else {
            let nonces = InitNonces { i: &nonce_i, r: &nonce_r };
            match self.confirm_child(sa, &child, message, Some(nonces), &[], cx) {
                Some(made) => self.add_child(sa, made, cx),
                None => self.disown(sa, &child, cx),
            }
        }
        for wanted in std::mem::take(&mut sa.wanted) {
            sa.push_task(super::ike_sa::Task::Create(wanted));
        }
        if !sa.peer.passive {
            let refused = wanted.policy;
            self.want_all(sa);
            sa.tasks.retain(|t| !matches!(t, super::ike_sa::Task::Create(w) if w.policy == refused));
        }
    }
    fn abandon_call(
        &mut self,
        sa: &mut IkeSa,
        wanted: Wanted,
        slots: (::sa::SaSlot, ::sa::SaSlot),
        cx: &mut Cx,
    ) {
        self.slots.give_back(slots.0);
        self.slots.give_back(slots.1);
        sa.wanted.push(wanted);
        self.give_up_call(sa, cx);
    }

    pub(super) fn on_auth_request(
        &mut self,
        sa: &mut IkeSa,
        d: &Datagram,
        message: &Message,
        cx: &mut Cx,
    ) -> Vec<Payload> {
        let State::InitAnswered(half) = std::mem::replace(&mut sa.state, State::Closed) else {
            return Vec::new();
        };
        let refuse = |engine: &mut Self, sa: &mut IkeSa, cx: &mut Cx, kind| {
            engine.end(sa, cx);
            Self::error_payload(kind)
        };
        let Ok(id_i) = message.id_i() else {
            self.counters.refuse(Refused::Malformed);
            return refuse(self, sa, cx, NotifyType::INVALID_SYNTAX);
        };
        let id_r = message.id_r().ok();
        sa.int_auth.auth_id = message.header.message_id;
        proof::learn(&mut sa.known, message);
        let Some(identity) = identity_for(sa, id_i, id_r, message).cloned() else {
            self.fail(sa, explain::id_unknown(&sa.peer, id_i, id_r, sa.local.ip()), cx);
            return refuse(self, sa, cx, NotifyType::AUTHENTICATION_FAILED);
        };
        let signed = Signed { first_message: &half.request, their_nonce: &half.nonce_r, id: id_i };
        if let Err(why) = proof::verify(sa, &identity, &signed, message, self.wall(cx.now)) {
            self.fail(sa, *why, cx);
            return refuse(self, sa, cx, NotifyType::AUTHENTICATION_FAILED);
        }
        let id = my_id_for(&identity, d.local.ip(), id_r);
        let ours = Signed { first_message: &half.response, their_nonce: &half.nonce_i, id: &id };
        let proof = match proof::sign(sa, &identity, &ours) {
            Ok(proof) => proof,
            Err(why) => {
                self.fail(sa, *why, cx);
                return refuse(self, sa, cx, NotifyType::AUTHENTICATION_FAILED);
            }
        };
        sa.remote_id = Some(id_i.clone());
        sa.identity = Some(Chosen::of(&identity));
        if message.notify(NotifyType::INITIAL_CONTACT).is_some() {
            self.initial_contact(sa, cx);
        }
        self.established(sa, cx);
        self.heed(sa, message, cx);
        let mut payloads = vec![Payload::IdR(id.clone())];
        payloads.extend(proof::certificates(&identity));
        payloads.push(proof);
        payloads.extend(self.announce(sa, Some(message)));
        if sa.is_childless(message) {
            return payloads;
        }
        let nonces = InitNonces { i: &half.nonce_i, r: &half.nonce_r };
        let answered = self
            .answer_child(sa, message, None, Some(nonces), cx)
            .and_then(|(terms, payloads)| self.make_or_defer(sa, terms, payloads, cx));
        match answered {
            Ok(answer) => payloads.extend(answer),
            Err(told) => payloads.push(Payload::Notify(told)),
        }
        payloads
    }

    pub(super) fn established(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        sa.state = State::Established;
        sa.int_auth = super::intermediate::IntAuth::default();
        self.begin_life(sa, cx.now);
        self.starts.remove(&sa.peer.name);
        self.counters.ike_established += 1;
        let id = sa.remote_id.as_ref().map_or(String::new(), ToString::to_string);
        let suite = sa.keys.as_ref().map_or(String::new(), |k| k.suite.to_string());
        self.say(sa, ReportLevel::Info, cx, format!("IKE SA with {id} is up: {suite}"));
    }
    pub(super) fn begin_life(&mut self, sa: &mut IkeSa, now: Now) {
        sa.established = Some(now);
        sa.ends_at = None;
        sa.dirty = true;
        sa.twin_at = Some(now + super::child::SETTLED);
        let lifetime = sa.peer.profile.lifetime;
        if !lifetime.is_zero() {
            let fresh = self.random_u8();
            sa.rekey_at = Some(now + super::child::soft_of(lifetime, fresh));
        }
    }

    //= rfc7296#2.4/initial-contact: older SAs of exactly this authenticated identity are gone at the peer.
    fn initial_contact(&mut self, sa: &IkeSa, cx: &mut Cx) {
        let Some(id) = &sa.remote_id else { return };
        let same = |old: &IkeSa| {
            old.peer.name == sa.peer.name
                && old.remote_id.as_ref() == Some(id)
                // We called each other at the same time: `twins` settles which one stays.
                && !(old.initiator && old.established.is_some_and(|t| cx.now.saturating_sub(t) < super::tick::TWINS))
        };
        let gone: Vec<u64> =
            self.known(self.filed.with_id(id)).filter(|old| same(old)).map(|old| old.local_spi).collect();
        for local_spi in gone {
            self.with_sa(local_spi, cx, |engine, old, cx| engine.drop_sa(old, cx));
        }
    }
}
