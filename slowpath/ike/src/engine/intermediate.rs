//! IKE_INTERMEDIATE (RFC 9242), which carries additional key exchanges between IKE_SA_INIT and IKE_AUTH (RFC 9370 2.2.2).
//!
//! ```text
//! HDR SK{KEi(n)}  →          keys of round n-1; the answer is sealed with these too,
//!                 ← HDR SK{KEr(n)}      and then both ends go over to the keys of round n.
//! ```
//! What was said in these exchanges is authenticated by IKE_AUTH: [`IntAuth`].
use super::counters::Refused;
use super::explain::{self, INTERMEDIATE};
use super::ike_sa::{Exchange, IkeSa, Keyed, State};
use super::init::ke;
use super::{Cx, Engine};
use crate::api::DhGroup;
use crate::crypto::{DhPrivate, Secret, SkKeys, prf, skeyseed_rekeyed};
use crate::diagnosis::{Cause, Diagnosis};
use crate::message::{ExchangeType, Header, Inner, Message, NotifyType, Payload};
use std::collections::VecDeque;

/// The initiator between IKE_SA_INIT and IKE_AUTH.
pub(super) struct Rounds {
    pub init_request: Vec<u8>,
    pub init_response: Vec<u8>,
    pub nonce_i: Vec<u8>,
    pub nonce_r: Vec<u8>,
    pub left: VecDeque<DhGroup>,
    /// Of the round whose request is out.
    pub dh: Option<DhPrivate>,
}
/// The responder in the same place.
#[derive(Default)]
pub(super) struct RoundsAnswered {
    pub left: VecDeque<DhGroup>,
    /// Of the round that was answered just now, to go over to.
    pub shared: Option<Secret>,
}

/// What both ends have said in IKE_INTERMEDIATE, as IKE_AUTH signs it. Empty without such exchanges.
//= rfc9242#3.3.2/chain: IntAuth_n = prf(SK_p, IntAuth_(n-1) | message n), for either end with its own key.
#[derive(Default)]
pub(super) struct IntAuth {
    i: Secret,
    r: Secret,
    /// A message that was opened, and is not acted on yet.
    heard: Option<(Header, Secret)>,
    /// Of the IKE_AUTH exchange.
    pub auth_id: u32,
    /// What the responder opened requests with in the round before: they may come again.
    before: Option<SkKeys>,
}
impl IntAuth {
    pub fn before(&self) -> Option<&SkKeys> {
        self.before.as_ref()
    }
    //= rfc9242#3.3.1/octets: IntAuth_N_I | IntAuth_N_R | IKE_AUTH_MID.
    pub fn octets(&self) -> Vec<u8> {
        if self.i.is_empty() {
            return Vec::new();
        }
        [&self.i[..], &self.r, &self.auth_id.to_be_bytes()].concat()
    }
    fn add(&mut self, keys: &Keyed, header: &Header, content: &[u8]) {
        let own = if header.initiator { &mut self.i } else { &mut self.r };
        *own = prf(keys.suite.prf, keys.keys.p(header.initiator).expose(), &[own, content]);
    }
}
impl IkeSa {
    /// One of ours, before it leaves.
    pub(super) fn said(&mut self, inner: &Inner) {
        if inner.header.exchange == ExchangeType::IKE_INTERMEDIATE
            && let Some(keys) = &self.keys
        {
            self.int_auth.add(keys, &inner.header, &inner.authenticated());
        }
    }
    /// One of theirs, authentic; whether it is in place shows later.
    pub(super) fn heard(&mut self, inner: &Inner) {
        if inner.header.exchange == ExchangeType::IKE_INTERMEDIATE {
            self.int_auth.heard = Some((inner.header, inner.authenticated()));
        }
    }
    fn believe(&mut self) {
        if let (Some((header, content)), Some(keys)) = (self.int_auth.heard.take(), &self.keys) {
            self.int_auth.add(keys, &header, &content);
        }
    }
}

impl Engine {
    /// The initiator's next round, or IKE_AUTH after the last.
    pub(super) fn next_round_of(&mut self, sa: &mut IkeSa, mut rounds: Rounds, cx: &mut Cx) {
        let Some(group) = rounds.left.pop_front() else {
            let Rounds { init_request, nonce_i, nonce_r, init_response, .. } = rounds;
            return self.send_auth(sa, init_request, nonce_i, nonce_r, init_response, cx);
        };
        let dh = match DhPrivate::generate(group, self.rng.as_mut()) {
            Ok(dh) => dh,
            Err(error) => {
                self.fail(sa, Diagnosis::new(Cause::Local, INTERMEDIATE).detail(error.to_string()), cx);
                return self.give_up_call(sa, cx);
            }
        };
        let payload = ke(&dh);
        rounds.dh = Some(dh);
        sa.state = State::Intermediate(Box::new(rounds));
        self.request(sa, ExchangeType::IKE_INTERMEDIATE, vec![payload], Exchange::Intermediate, cx);
    }

    pub(super) fn on_intermediate_response(&mut self, sa: &mut IkeSa, message: &Message, cx: &mut Cx) {
        let State::Intermediate(mut rounds) = std::mem::replace(&mut sa.state, State::Closed) else { return };
        sa.believe();
        let agreed = rounds.dh.take().ok_or(None).and_then(|dh| shared(&dh, message));
        let seed = match (agreed, &sa.keys) {
            (Ok(shared), Some(k)) => {
                let (ni, nr) = (&rounds.nonce_i, &rounds.nonce_r);
                skeyseed_rekeyed(k.suite.prf, k.keys.d.expose(), &shared, ni, nr, &[])
            }
            (refused, _) => {
                let told = refused.err().flatten();
                self.fail(sa, explain::key_exchange(&sa.peer, INTERMEDIATE, told), cx);
                return self.give_up_call(sa, cx);
            }
        };
        self.go_over(sa, &seed, &rounds.nonce_i, &rounds.nonce_r);
        self.next_round_of(sa, *rounds, cx);
    }

    /// The responder's round.
    pub(super) fn on_intermediate_request(
        &mut self,
        sa: &mut IkeSa,
        message: &Message,
        cx: &mut Cx,
    ) -> Vec<Payload> {
        sa.believe();
        let State::InitAnswered(half) = &mut sa.state else { return Vec::new() };
        let Some(group) = half.rounds.left.pop_front() else { return Vec::new() };
        let answered = message.ke().ok().filter(|ke| ke.group == group.transform());
        match answered.map(|ke| DhPrivate::answer(group, &ke.data, self.rng.as_mut())) {
            Some(Ok((public, shared))) => {
                half.rounds.shared = Some(shared);
                vec![Payload::Ke(crate::message::KeyExchange { group: group.transform(), data: public })]
            }
            _ => {
                self.counters.refuse(Refused::InvalidKe);
                self.fail(sa, explain::key_exchange(&sa.peer, INTERMEDIATE, None), cx);
                self.end(sa, cx);
                Self::error_payload(NotifyType::INVALID_SYNTAX)
            }
        }
    }
    /// After the answer has been sealed with the keys of the round before.
    pub(super) fn after_intermediate(&mut self, sa: &mut IkeSa) {
        let State::InitAnswered(half) = &mut sa.state else { return };
        let (Some(shared), Some(k)) = (half.rounds.shared.take(), &sa.keys) else { return };
        let (ni, nr) = (half.nonce_i.clone(), half.nonce_r.clone());
        let seed = skeyseed_rekeyed(k.suite.prf, k.keys.d.expose(), &shared, &ni, &nr, &[]);
        sa.int_auth.before = Some(k.keys.receiving(sa.initiator).clone());
        self.go_over(sa, &seed, &ni, &nr);
    }

    //= rfc9370#2.2.2/keys: SKEYSEED(n) = prf(SK_d(n-1), SK(n) | Ni | Nr), and all keys anew from it.
    fn go_over(&mut self, sa: &mut IkeSa, seed: &[u8], ni: &[u8], nr: &[u8]) {
        if let Some(suite) = sa.keys.as_ref().map(|k| k.suite) {
            self.key(sa, suite, seed, ni, nr);
        }
    }
}

/// From the answer of a round. On failure, the error they report, if any.
pub(super) fn shared(dh: &DhPrivate, message: &Message) -> Result<Secret, Option<NotifyType>> {
    if let Some(error) = message.error() {
        return Err(Some(error.kind));
    }
    let ke = message.ke().map_err(|_| None)?;
    if ke.group != dh.group().transform() {
        return Err(None);
    }
    dh.shared(&ke.data).map_err(|_| None)
}
