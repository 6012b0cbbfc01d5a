//! Replacing the IKE SA; its children pass to the new one (RFC 7296 1.3.2, 2.8.2, 2.18, 2.25.2).
use super::counters::Refused;
use super::explain::{self, CREATE, FOLLOWUP};
use super::followup::{Awaited, Step};
use super::ike_sa::{Collision, Exchange, IkeOffer, IkeSa, State, Task};
use super::init::{NONCE_LEN, ke};
use super::timers::Series;
use super::{Cx, Engine};
use crate::api::{DhGroup, ReportLevel};
use crate::crypto::{Additional, DhPrivate, IkeSuite, Secret, nonce, skeyseed_rekeyed};
use crate::diagnosis::{Cause, Diagnosis};
use crate::message::{
    ExchangeType, Message, Notify, NotifyType, Payload, confirm_ike, offer_ike, select_ike,
};
use std::sync::Arc;
use std::time::Duration;

/// Groups tried before a rekey is put off.
const ROUNDS: u32 = 3;

/// What both ends know after the exchange.
pub(super) struct Fresh {
    pub local_spi: u64,
    remote_spi: u64,
    initiator: bool,
    suite: IkeSuite,
    shared: Secret,
    nonce_i: Vec<u8>,
    nonce_r: Vec<u8>,
}
impl Fresh {
    fn low_nonce(&self) -> &[u8] {
        (&self.nonce_i).min(&self.nonce_r)
    }
}

/// Whether our own request is out while the peer's is answered.
fn note_collision(sa: &mut IkeSa, fresh: &Fresh) -> bool {
    let Some(Exchange::Ike(ours)) = sa.window.in_flight.as_mut().map(|f| &mut f.what) else { return false };
    ours.collision = Some(Collision { made: fresh.local_spi, low_nonce: fresh.low_nonce().to_vec() });
    true
}

impl Engine {
    pub(super) fn ask_for_ike(&mut self, sa: &mut IkeSa, group: Option<DhGroup>, rounds: u32, cx: &mut Cx) {
        let current = sa.keys.as_ref().map(|k| k.suite.group);
        let proposal = sa.peer.profile.proposal.clone();
        let usual = current.filter(|g| proposal.groups.contains(g)).or(proposal.groups.first().copied());
        let Some(Ok(dh)) = group.or(usual).map(|g| DhPrivate::generate(g, self.rng.as_mut())) else {
            let why = "the IKE SA cannot be rekeyed: its profile has no dh-group";
            return self.fail(sa, Diagnosis::new(Cause::Local, CREATE).detail(why), cx);
        };
        let spi = self.new_spi();
        let nonce = nonce(self.rng.as_mut(), NONCE_LEN);
        let payloads =
            vec![Payload::Sa(offer_ike(&proposal, Some(spi))), Payload::Nonce(nonce.clone()), ke(&dh)];
        let offer = IkeOffer { spi, nonce, dh, offer: proposal, rounds, collision: None, followup: None };
        self.request(sa, ExchangeType::CREATE_CHILD_SA, payloads, Exchange::Ike(Box::new(offer)), cx);
    }

    pub(super) fn answer_ike_rekey(
        &mut self,
        sa: &mut IkeSa,
        message: &Message,
        cx: &mut Cx,
    ) -> Result<Vec<Payload>, Notify> {
        let told = |kind| Notify::new(kind, Vec::new());
        if sa.twin_at.is_some() && self.has_twin(sa) {
            return Err(told(NotifyType::TEMPORARY_FAILURE));
        }
        //= rfc7296#2.25.2/children-in-the-air: not while we create, rekey or close a child, or close this SA.
        match sa.window.in_flight.as_ref().map(|f| &f.what) {
            Some(Exchange::Child(_) | Exchange::DeleteChildren(_) | Exchange::DeleteIke) => {
                return Err(told(NotifyType::TEMPORARY_FAILURE));
            }
            //= rfc9370#2.2.4/collision: past CREATE_CHILD_SA our own rekey goes on.
            Some(Exchange::Ike(ours)) if ours.followup.is_some() || self.has_collided(sa, ours) => {
                return Err(told(NotifyType::TEMPORARY_FAILURE));
            }
            _ => {}
        }
        let odd = |error: crate::message::ParseError| {
            error.notify(true).unwrap_or(told(NotifyType::INVALID_SYNTAX))
        };
        let chosen = match select_ike(message.sa().map_err(odd)?, &sa.peer.profile.proposal) {
            Ok(chosen) => chosen,
            Err(mismatch) => {
                self.fail(sa, explain::ike_proposal(&sa.peer, CREATE, &mismatch), cx);
                return Err(told(NotifyType::NO_PROPOSAL_CHOSEN));
            }
        };
        let (Some(remote_spi), suite) = (chosen.spi.filter(|s| *s != 0), chosen.suite) else {
            return Err(told(NotifyType::NO_PROPOSAL_CHOSEN));
        };
        let nonce_i = message.nonce().map_err(odd)?.clone();
        let their_ke = message.ke().map_err(odd)?;
        if their_ke.group != suite.group.transform() {
            return Err(Notify::new(
                NotifyType::INVALID_KE_PAYLOAD,
                suite.group.transform().to_be_bytes().to_vec(),
            ));
        }
        let bad = |_| told(NotifyType::INVALID_SYNTAX);
        let dh = DhPrivate::generate(suite.group, self.rng.as_mut()).map_err(bad)?;
        let shared = dh.shared(&their_ke.data).map_err(bad)?;
        let nonce_r = nonce(self.rng.as_mut(), NONCE_LEN);
        let local_spi = self.new_spi();
        let mut answer = chosen.answer;
        answer.spi = local_spi.to_be_bytes().to_vec();
        let mut payloads = vec![Payload::Sa(vec![answer]), Payload::Nonce(nonce_r.clone()), ke(&dh)];
        let fresh = Fresh { local_spi, remote_spi, initiator: false, suite, shared, nonce_i, nonce_r };
        note_collision(sa, &fresh);
        if suite.additional.iter().any(Option::is_some) {
            payloads.push(self.defer(sa, Awaited::Ike(Box::new(fresh)), &suite.additional, cx.now));
        } else {
            self.conclude_ike(sa, fresh, &[], cx);
        }
        Ok(payloads)
    }
    /// The peer's rekey that ours has collided with is still there.
    fn has_collided(&self, sa: &IkeSa, ours: &IkeOffer) -> bool {
        ours.collision
            .as_ref()
            .is_some_and(|c| self.sas.contains_key(&c.made) || sa.pending_of(c.made).is_some())
    }
    /// All key exchanges of the peer's rekey are made.
    pub(super) fn conclude_ike(&mut self, sa: &mut IkeSa, fresh: Fresh, more: &[u8], cx: &mut Cx) {
        let local_spi = fresh.local_spi;
        let mut new = self.successor(sa, &fresh, more, cx);
        let colliding = note_collision(sa, &fresh);
        if colliding {
            new.state = State::Unsettled;
            new.ends_at = Some(cx.now + 2 * Series::total());
        }
        self.put(Box::new(new));
        if !colliding {
            self.inherit(sa, local_spi, cx);
            self.replaced(sa, cx);
        }
    }

    //= rfc7296#2.18/skeyseed: from the old SK_d with the old PRF; message ids begin at zero.
    fn successor(&mut self, sa: &IkeSa, fresh: &Fresh, more: &[u8], cx: &mut Cx) -> IkeSa {
        let local_spi = fresh.local_spi;
        let ends = (sa.local, sa.remote);
        let mut new =
            IkeSa::new(local_spi, fresh.initiator, Arc::clone(&sa.peer), ends, State::Established, cx.now);
        new.remote_spi = fresh.remote_spi;
        (new.nat_local, new.nat_remote) = (sa.nat_local, sa.nat_remote);
        new.agreed = sa.agreed.inherited();
        new.detour = sa.detour;
        new.remote_id.clone_from(&sa.remote_id);
        new.identity.clone_from(&sa.identity);
        if let Some(old) = &sa.keys {
            let seed = skeyseed_rekeyed(
                old.suite.prf,
                old.keys.d.expose(),
                &fresh.shared,
                &fresh.nonce_i,
                &fresh.nonce_r,
                more,
            );
            self.key(&mut new, fresh.suite, &seed, &fresh.nonce_i, &fresh.nonce_r);
        }
        new.origin.clone_from(&sa.origin);
        self.begin_life(&mut new, cx.now);
        new.twin_at = None;
        self.counters.ike_rekeyed += 1;
        new
    }
    /// Children and plans pass to `heir`.
    pub(super) fn inherit(&mut self, sa: &mut IkeSa, heir: u64, cx: &mut Cx) {
        let Some(new) = self.sas.get_mut(&heir) else { return };
        for child in &sa.children {
            self.slots.hand_over(child.inbound.slot, heir);
            self.slots.hand_over(child.outbound.slot, heir);
        }
        if matches!(new.state, State::Unsettled) {
            (new.state, new.ends_at) = (State::Established, None);
        }
        new.ph2_total += sa.ph2_total;
        new.children.append(&mut sa.children);
        new.generated.append(&mut sa.generated);
        new.wanted.append(&mut sa.wanted);
        let moving = std::mem::take(&mut sa.tasks);
        new.tasks.extend(moving.into_iter().filter(|t| !matches!(t, Task::RekeyIke | Task::Liveness)));
        new.dirty = true;
        sa.dirty = true;
        self.with_sa(heir, cx, |_, _, _| ());
        self.say(sa, ReportLevel::Info, cx, "IKE SA rekeyed".into());
    }
    /// It has a successor, and waits for the peer to delete it.
    fn replaced(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        sa.state = State::Replaced;
        sa.rekey_at = None;
        self.drop_pending(sa);
        sa.ends_at = Some(cx.now + 2 * Series::total());
        sa.dirty = true;
    }

    pub(super) fn on_ike_response(
        &mut self,
        sa: &mut IkeSa,
        mut offer: IkeOffer,
        message: &Message,
        cx: &mut Cx,
    ) {
        if let Some(error) = message.error() {
            return self.ike_rekey_refused(sa, offer, error, cx);
        }
        let begins = offer.followup.is_none();
        let chosen = message.sa().ok().and_then(|answer| confirm_ike(answer, &offer.offer).ok());
        let chosen = chosen.map_or_else(Additional::default, |chosen| chosen.suite.additional);
        let (kept, more) = match self.next_step(offer.followup.take(), chosen, message) {
            Ok(Step::Over(answer, more)) => (answer, more),
            Ok(Step::Next(followup, _)) if begins && self.ike_gives_way(sa, &offer, &followup.answer, cx) => {
                return;
            }
            Ok(Step::Next(followup, link)) => {
                offer.followup = Some(followup);
                return self.send_followup(sa, Exchange::Ike(Box::new(offer)), link, cx);
            }
            Err(why) => {
                let tell =
                    "this is a fault of the program there: update it, or leave additional key exchanges out";
                self.fail(sa, Diagnosis::new(Cause::Malformed, FOLLOWUP).detail(why).tell(tell), cx);
                return self.rekey_ike_later(sa, cx);
            }
        };
        sa.lost_series = 0;
        let message = kept.as_ref().unwrap_or(message);
        let made = self.confirm_ike_rekey(sa, &offer, message, &more, cx);
        let Ok(new) = made else {
            //= rfc7296#1.3.2/unusable: an answer that cannot be used leaves the peer with an SA we cannot speak on.
            self.counters.refuse(Refused::Malformed);
            let why = "the answer to a rekey of the IKE SA, which is made anew";
            self.fail(sa, Diagnosis::new(Cause::Malformed, CREATE).detail(why), cx);
            return self.lose(sa, cx);
        };
        let own = new.local_spi;
        if let Some(c) = offer.collision.as_ref().filter(|c| sa.pending_of(c.made).is_some()) {
            if new.low_nonce < c.low_nonce {
                self.yield_to(sa, c.made);
                self.put(Box::new(new));
                self.with_sa(own, cx, |engine, sa, cx| engine.send_ike_delete(sa, cx));
                return;
            }
            self.beat_pending(sa, c.made);
        }
        let theirs = offer.collision.filter(|c| self.sas.contains_key(&c.made));
        let lost = theirs.as_ref().is_some_and(|c| new.low_nonce < c.low_nonce);
        self.put(Box::new(new));
        match theirs {
            //= rfc7296#2.8.2/lowest-nonce: ours is redundant and deleted by us; the children go to the peer's.
            Some(c) if lost => {
                self.inherit(sa, c.made, cx);
                self.replaced(sa, cx);
                self.with_sa(own, cx, |engine, sa, cx| engine.send_ike_delete(sa, cx));
                return;
            }
            Some(c) => {
                self.with_sa(c.made, cx, |engine, sa, cx| engine.replaced(sa, cx));
            }
            None => {}
        }
        self.inherit(sa, own, cx);
        //= rfc7296#2.8/initiator-deletes: whoever began the rekey that stands deletes the old SA.
        self.send_ike_delete(sa, cx);
    }
    //= rfc9370#2.2.4/lowest-nonce: with the lowest nonce our series is not begun, for there is nothing to delete.
    /// The peer's rekey stands; `answer` is that to ours.
    fn ike_gives_way(&mut self, sa: &mut IkeSa, offer: &IkeOffer, answer: &Message, cx: &mut Cx) -> bool {
        let Some(theirs) = &offer.collision else { return false };
        let own = answer.nonce().map_or(&offer.nonce, |nonce| nonce.min(&offer.nonce));
        let lost = *own < theirs.low_nonce;
        if lost && self.sas.contains_key(&theirs.made) {
            self.inherit(sa, theirs.made, cx);
            self.replaced(sa, cx);
            return true;
        }
        if lost {
            return self.yield_to(sa, theirs.made);
        }
        self.beat_pending(sa, theirs.made);
        false
    }
    fn confirm_ike_rekey(
        &mut self,
        sa: &IkeSa,
        offer: &IkeOffer,
        message: &Message,
        more: &[u8],
        cx: &mut Cx,
    ) -> Result<IkeSa, ()> {
        let (Ok(proposals), Ok(nonce_r), Ok(theirs)) = (message.sa(), message.nonce(), message.ke()) else {
            return Err(());
        };
        let chosen = confirm_ike(proposals, &offer.offer).map_err(drop)?;
        let remote_spi = chosen.spi.filter(|s| *s != 0).ok_or(())?;
        if chosen.suite.group != offer.dh.group() || theirs.group != offer.dh.group().transform() {
            return Err(());
        }
        let shared = offer.dh.shared(&theirs.data).map_err(drop)?;
        let (suite, nonce_i, nonce_r) = (chosen.suite, offer.nonce.clone(), nonce_r.clone());
        let local_spi = offer.spi;
        let fresh = Fresh { local_spi, remote_spi, initiator: true, suite, shared, nonce_i, nonce_r };
        Ok(self.successor(sa, &fresh, more, cx))
    }

    fn ike_rekey_refused(&mut self, sa: &mut IkeSa, offer: IkeOffer, error: &Notify, cx: &mut Cx) {
        if let Some(collision) = offer.collision.as_ref().filter(|c| self.sas.contains_key(&c.made)) {
            self.inherit(sa, collision.made, cx);
            return self.replaced(sa, cx);
        }
        if offer.collision.is_some_and(|c| self.yield_to(sa, c.made)) {
            return;
        }
        if error.kind == NotifyType::STATE_NOT_FOUND && !self.lost_series(sa, cx) {
            return;
        }
        let group =
            error.group().and_then(DhGroup::from_transform).filter(|g| offer.offer.groups.contains(g));
        match (error.kind, group) {
            (NotifyType::INVALID_KE_PAYLOAD, Some(group)) if offer.rounds < ROUNDS => {
                self.ask_for_ike(sa, Some(group), offer.rounds + 1, cx);
            }
            (NotifyType::TEMPORARY_FAILURE | NotifyType::STATE_NOT_FOUND, _) => {
                self.hold(sa, cx);
                sa.push_task(Task::RekeyIke);
            }
            (kind, _) => {
                self.fail(sa, explain::ike_rekey_refused(&sa.peer, kind), cx);
                self.rekey_ike_later(sa, cx);
            }
        }
    }
    fn rekey_ike_later(&mut self, sa: &mut IkeSa, cx: &Cx) {
        let left = sa.hard_end().map_or(Duration::from_secs(600), |t| t.saturating_sub(cx.now));
        sa.rekey_at = Some(cx.now + (left / 2).max(Duration::from_secs(30)));
    }
}
