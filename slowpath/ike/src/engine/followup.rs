//! IKE_FOLLOWUP_KE: additional key exchanges of CREATE_CHILD_SA (RFC 9370 2.2.4).
//!
//! ```text
//! CREATE_CHILD_SA  SK{SA Ni KEi …}   →
//!                                    ←  SK{SA Nr KEr … N(ADDITIONAL_KEY_EXCHANGE)(link1)}
//! IKE_FOLLOWUP_KE  SK{KEi(1) N(link1)} →
//!                                    ←  SK{KEr(1)}, with another link when another one follows
//! ```
//! Nothing is made before the last of them. The initiator keeps the answer to CREATE_CHILD_SA in its offer and acts on it
//! at the end; the responder keeps what was agreed on as [`Pending`], for so long and for so many.
use super::counters::Refused;
use super::exchange::notify;
use super::explain::{self, FOLLOWUP};
use super::ike_sa::{Exchange, IkeSa, Task};
use super::init::ke;
use super::intermediate::shared;
use super::negotiate::Terms;
use super::rekey_ike::Fresh;
use super::{Cx, Engine};
use crate::api::{DhGroup, Now};
use crate::crypto::{Additional, DhPrivate, Secret};
use crate::diagnosis::{Cause, Diagnosis};
use crate::message::{ExchangeType, KeyExchange, Message, Notify, NotifyType, Payload};
use ::sa::Spi;
use std::collections::VecDeque;
use std::time::Duration;

/// How long the next request may take to come: RFC 9370 2.2.4 thinks of 5 to 20 s.
const WAIT: Duration = Duration::from_secs(20);
/// So many may be under way at once on one IKE SA.
const MAX_PENDING: usize = 8;
/// Lost so often in a row, a series is not tried again: the IKE SA is made anew.
const MAX_LOST: u32 = 4;

/// The initiator's: it is in the offer while the request of a round is out.
pub(super) struct Followup {
    /// The answer to CREATE_CHILD_SA.
    pub answer: Message,
    pub left: VecDeque<DhGroup>,
    /// Of the round whose request is out.
    pub dh: DhPrivate,
    /// What the rounds before have brought: SK(1) | SK(2) …
    pub more: Secret,
}
/// What an answer leads to.
pub(super) enum Step {
    /// Another round, and the link to name in it.
    Next(Box<Followup>, Vec<u8>),
    /// All are made. The answer to CREATE_CHILD_SA, if it is not the message at hand, and what they have brought.
    Over(Option<Message>, Secret),
}
/// The responder's.
pub(super) struct Pending {
    link: Vec<u8>,
    pub until: Now,
    left: VecDeque<DhGroup>,
    more: Secret,
    what: Awaited,
}
/// What is made after the last round.
pub(super) enum Awaited {
    Child(Box<Terms>),
    Ike(Box<Fresh>),
}
impl Pending {
    #[cfg(test)]
    pub fn link(&self) -> &[u8] {
        &self.link
    }
    /// Our SPI of what it will make, as [`super::ike_sa::Collision`] names it.
    fn spi(&self) -> u64 {
        match &self.what {
            Awaited::Child(terms) => terms.places.spi.get().into(),
            Awaited::Ike(fresh) => fresh.local_spi,
        }
    }
    /// It replaces this child.
    fn replaces(&self, old: Spi) -> bool {
        matches!(&self.what, Awaited::Child(terms) if terms.replaces == Some(old))
    }
}
/// A secret behind another; no half-written copy is left behind by growing.
fn joined(a: &[u8], b: &[u8]) -> Secret {
    Secret::new([a, b].concat())
}
fn link_of(message: &Message) -> Option<&Notify> {
    message.notify(NotifyType::ADDITIONAL_KEY_EXCHANGE)
}

impl IkeSa {
    pub(super) fn has_room_for_pending(&self) -> bool {
        self.pending.len() < MAX_PENDING
    }
    /// The peer's series that will make what this SPI names.
    pub(super) fn pending_of(&self, spi: u64) -> Option<&Pending> {
        self.pending.iter().find(|p| p.spi() == spi)
    }
    /// The peer is replacing this child.
    pub(super) fn pending_rekey(&self, old: Spi) -> Option<&Pending> {
        self.pending.iter().find(|p| p.replaces(old))
    }
}

impl Engine {
    // The initiator's side.

    /// After an answer without an error: `chosen` is what CREATE_CHILD_SA's answer says, `before` the rounds so far.
    pub(super) fn next_step(
        &mut self,
        before: Option<Box<Followup>>,
        chosen: Additional,
        message: &Message,
    ) -> Result<Step, String> {
        let (answer, mut left, more) = match before {
            None if chosen.iter().all(Option::is_none) => return Ok(Step::Over(None, Secret::default())),
            None => (message.clone(), chosen.into_iter().flatten().collect(), Secret::default()),
            Some(before) => {
                let Followup { answer, left, dh, more } = *before;
                let brought = shared(&dh, message).map_err(|_| "the KE payload does not fit the method")?;
                (answer, left, joined(&more, &brought))
            }
        };
        let Some(group) = left.pop_front() else { return Ok(Step::Over(Some(answer), more)) };
        //= rfc9370#2.2.4/link: the responder names each further round; the name comes back as it is.
        let link = link_of(message).ok_or("ADDITIONAL_KEY_EXCHANGE is missing")?;
        let dh = DhPrivate::generate(group, self.rng.as_mut()).map_err(|error| error.to_string())?;
        Ok(Step::Next(Box::new(Followup { answer, left, dh, more }), link.data.clone()))
    }
    pub(super) fn send_followup(&mut self, sa: &mut IkeSa, what: Exchange, link: Vec<u8>, cx: &mut Cx) {
        let followup = match &what {
            Exchange::Child(offer) => &offer.followup,
            Exchange::Ike(offer) => &offer.followup,
            _ => &None,
        };
        let Some(followup) = followup else { return };
        let named = Notify::new(NotifyType::ADDITIONAL_KEY_EXCHANGE, link);
        let payloads = vec![ke(&followup.dh), Payload::Notify(named)];
        self.request(sa, ExchangeType::IKE_FOLLOWUP_KE, payloads, what, cx);
    }
    //= rfc9370#2.2.4/lost: a responder that has forgotten a series makes it void; it may be tried again, not for ever.
    /// Whether it is worth another try.
    pub(super) fn lost_series(&mut self, sa: &mut IkeSa, cx: &mut Cx) -> bool {
        sa.lost_series += 1;
        if sa.lost_series < MAX_LOST {
            return true;
        }
        let why = Diagnosis::new(Cause::IkeKeyExchange, FOLLOWUP)
            .detail(format!("they forget what was begun, {MAX_LOST} times in a row; the IKE SA is made anew"))
            .theirs(NotifyType::STATE_NOT_FOUND.to_string())
            .tell("keep the state between CREATE_CHILD_SA and IKE_FOLLOWUP_KE for 20 s");
        self.fail(sa, why, cx);
        self.close(sa, cx);
        self.call_again(sa, cx);
        false
    }

    // The responder's side.

    /// Keeps what was agreed on until the key exchanges are made; the payload names it.
    pub(super) fn defer(&mut self, sa: &mut IkeSa, what: Awaited, chosen: &Additional, now: Now) -> Payload {
        // Whoever asks again has forgotten what it has begun.
        let same = |p: &Pending| match &what {
            Awaited::Ike(_) => matches!(p.what, Awaited::Ike(_)),
            Awaited::Child(terms) => terms.replaces.is_some_and(|old| p.replaces(old)),
        };
        if let Some(at) = sa.pending.iter().position(same) {
            self.forget_pending(sa, at);
        }
        let until = now + WAIT;
        if matches!(what, Awaited::Ike(_)) {
            // What we would begin now would collide with it.
            sa.window.hold_until = sa.window.hold_until.max(until);
        }
        let (left, more) = (chosen.iter().copied().flatten().collect(), Secret::default());
        self.expect_round(sa, Pending { link: Vec::new(), until, left, more, what }, now)
    }
    fn expect_round(&mut self, sa: &mut IkeSa, mut pending: Pending, now: Now) -> Payload {
        let mut link = vec![0; 8];
        self.rng.fill(&mut link);
        (pending.link, pending.until) = (link.clone(), now + WAIT);
        sa.pending.push(pending);
        Payload::Notify(Notify::new(NotifyType::ADDITIONAL_KEY_EXCHANGE, link))
    }
    pub(super) fn on_followup_request(
        &mut self,
        sa: &mut IkeSa,
        message: &Message,
        cx: &mut Cx,
    ) -> Vec<Payload> {
        let named = |p: &Pending| p.until > cx.now && link_of(message).is_some_and(|l| l.data == p.link);
        //= rfc9370#2.2.4/state-not-found: what nobody knows any more is told so; the IKE SA goes on.
        let Some(at) = sa.pending.iter().position(named) else {
            return vec![notify(NotifyType::STATE_NOT_FOUND)];
        };
        let group = sa.pending[at].left.pop_front();
        let theirs = message.ke().ok().filter(|ke| group.is_some_and(|g| ke.group == g.transform()));
        let made = group.zip(theirs).map(|(g, ke)| (g, DhPrivate::answer(g, &ke.data, self.rng.as_mut())));
        let Some((group, Ok((data, brought)))) = made else {
            self.counters.refuse(Refused::InvalidKe);
            self.fail(sa, explain::key_exchange(&sa.peer, FOLLOWUP, None), cx);
            self.forget_pending(sa, at);
            return vec![notify(NotifyType::INVALID_SYNTAX)];
        };
        let answer = Payload::Ke(KeyExchange { group: group.transform(), data });
        let mut pending = sa.pending.remove(at);
        pending.more = joined(&pending.more, &brought);
        if !pending.left.is_empty() {
            return vec![answer, self.expect_round(sa, pending, cx.now)];
        }
        let made = match pending.what {
            Awaited::Child(terms) => self.conclude_child(sa, *terms, &pending.more, cx),
            Awaited::Ike(fresh) => {
                self.conclude_ike(sa, *fresh, &pending.more, cx);
                Ok(())
            }
        };
        made.map_or_else(|told| vec![Payload::Notify(told)], |()| vec![answer])
    }

    /// What it has reserved is free again.
    fn forget_pending(&mut self, sa: &mut IkeSa, at: usize) {
        match sa.pending.remove(at).what {
            Awaited::Child(terms) => self.give_back(&terms.places),
            Awaited::Ike(_) => sa.window.hold_until = Now::ZERO,
        }
    }
    /// The peer's series that was to make what this SPI names, if there is one, lost against ours.
    pub(super) fn beat_pending(&mut self, sa: &mut IkeSa, spi: u64) {
        if let Some(at) = sa.pending.iter().position(|p| p.spi() == spi) {
            self.forget_pending(sa, at);
        }
    }
    pub(super) fn drop_pending(&mut self, sa: &mut IkeSa) {
        while !sa.pending.is_empty() {
            self.forget_pending(sa, 0);
        }
    }
    //= rfc9370#2.2.4/graceful: a series that does not go on is forgotten.
    pub(super) fn tick_pending(&mut self, sa: &mut IkeSa, now: Now) {
        while let Some(at) = sa.pending.iter().position(|p| p.until <= now) {
            self.forget_pending(sa, at);
        }
    }
    /// The peer goes on with its own series for the same; should it not, ours is tried again.
    pub(super) fn yield_to(&mut self, sa: &mut IkeSa, spi: u64) -> bool {
        let Some(pending) = sa.pending_of(spi) else { return false };
        let again = pending.until + Duration::from_secs(1);
        match &pending.what {
            Awaited::Ike(_) => {
                let end = sa.hard_end().map_or(again, |end| end.min(again));
                sa.rekey_at = Some(end);
                sa.tasks.retain(|t| *t != Task::RekeyIke);
            }
            Awaited::Child(terms) => {
                let old = terms.replaces;
                if let Some(child) = old.and_then(|old| sa.child(old)) {
                    child.soft_at = Some(again);
                }
            }
        }
        true
    }
}
