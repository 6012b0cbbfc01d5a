//! Replacing a child without losing a packet (RFC 7296 1.3.3, 2.8, 2.8.1, 2.25.1).
//!
//! ```text
//! A → B  CREATE_CHILD_SA  N(REKEY_SA old) SA N TS     B receives on the new SA, sends on the old one
//! B → A                   SA N TS                     A receives and sends on the new SA
//! A → B  INFORMATIONAL    D(old)                      B sends on the new SA (or sooner: A's packets came)
//! B → A                   D(old)                      both still receive on the old SA for `LINGER`
//! ```
//! When both ask at once, both exchanges are answered, and the one that holds the lowest of the four nonces
//! is redundant: whoever began it deletes what it made, the other deletes the old SA.
use super::child::{ChildSa, ChildState, Place};
use super::explain::{self, CREATE, FOLLOWUP};
use super::ike_sa::{ChildOffer, Collision, Exchange, IkeSa, Task, Wanted};
use super::negotiate::Terms;
use super::{Cx, Engine};
use crate::api::Action;
use crate::diagnosis::{Cause, Diagnosis};
use crate::message::{Message, Notify, NotifyType, Payload, Protocol};
use ::sa::{Direction, Spi};
use std::time::Duration;

/// Why an SA ends before its successor takes over.
pub(super) enum End {
    /// It should have had one by now.
    Lifetime,
    /// The fast path lost it or did not take it.
    Lost(String),
    /// Somebody wants it gone; nothing has failed.
    Wanted,
}

impl Engine {
    pub(super) fn answer_child_rekey(
        &mut self,
        sa: &mut IkeSa,
        message: &Message,
        named: &Notify,
        cx: &mut Cx,
    ) -> Result<Vec<Payload>, Notify> {
        let busy = || Err(Notify::new(NotifyType::TEMPORARY_FAILURE, Vec::new()));
        let spi = named.spi32();
        //= rfc7296#3.10/rekey-sa: names the SA by protocol and SPI; without them there is none that it could mean.
        if spi.is_none() || !matches!(named.protocol, Protocol::AH | Protocol::ESP) {
            return Err(Notify::new(NotifyType::CHILD_SA_NOT_FOUND, Vec::new()));
        }
        let is =
            |c: &&ChildSa| Some(c.outbound.spi.get()) == spi && named.protocol == Protocol::from(c.protocol);
        let old = sa.children.iter().find(is);
        //= rfc7296#2.25/not-found: names the SPI that was asked for; the other fields are ours.
        let Some(old) = old.filter(|c| c.state != ChildState::Lingering) else {
            return Err(Notify::about_child(
                named.protocol,
                NotifyType::CHILD_SA_NOT_FOUND,
                spi.unwrap_or(0),
            ));
        };
        let (old_spi, policies) = (old.inbound.spi, old.policies().collect());
        //= rfc7296#2.25.1/closing: an SA that we are closing is not rekeyed.
        if !old.is_live() || sa.children.iter().any(|c| c.replaces == Some(old_spi) && c.is_live()) {
            return busy();
        }
        //= rfc9370#2.2.4/collision: past CREATE_CHILD_SA our own rekey of it goes on.
        if matches!(sa.window.in_flight.as_ref().map(|f| &f.what), Some(Exchange::Child(ours)) if ours.replaces == Some(old_spi) && ours.followup.is_some())
        {
            return busy();
        }
        let (terms, payloads) = self.answer_child(sa, message, Some((old_spi, policies)), None, cx)?;
        self.make_or_defer(sa, terms, payloads, cx)
    }
    /// Our own request to replace the child is out.
    pub(super) fn note_collision(&mut self, sa: &mut IkeSa, old: Spi, terms: &Terms) {
        if let Some(Exchange::Child(ours)) = sa.window.in_flight.as_mut().map(|f| &mut f.what)
            && ours.replaces == Some(old)
        {
            let low_nonce = terms.low_nonce().to_vec();
            ours.collision = Some(Collision { made: terms.places.spi.get().into(), low_nonce });
        }
    }
    /// The peer has made a successor of a child.
    pub(super) fn replaced_by_peer(&mut self, sa: &mut IkeSa, old: Spi, mut made: ChildSa, cx: &mut Cx) {
        made.state = ChildState::AwaitingSwitch;
        if let Some(old) = sa.child(old) {
            old.soft_at = None;
        }
        made.inbound.place = Place::Installed;
        cx.out.push(Action::InstallInbound(made.spec(Direction::Inbound, sa.tunnel_ends(), sa.encap())));
        self.counters.child_rekeyed += 1;
        sa.children.push(made);
        sa.dirty = true;
    }
    //= rfc9370#2.2.4/lowest-nonce: with the lowest nonce our series is not begun, for there is nothing to delete.
    /// The peer's rekey of the same child stands; `answer` is that to ours.
    pub(super) fn gives_way(&mut self, sa: &mut IkeSa, offer: &ChildOffer, answer: &Message) -> bool {
        let Some(theirs) = &offer.collision else { return false };
        let own = answer.nonce().map_or(&offer.nonce, |nonce| nonce.min(&offer.nonce));
        let lost = *own < theirs.low_nonce;
        if sa.children.iter().any(|c| u64::from(c.inbound.spi.get()) == theirs.made) {
            return lost;
        }
        if lost {
            return self.yield_to(sa, theirs.made);
        }
        self.beat_pending(sa, theirs.made);
        false
    }
    /// The answer to a round of ours makes no sense.
    pub(super) fn broken_series(&mut self, sa: &mut IkeSa, offer: &ChildOffer, said: String, cx: &mut Cx) {
        self.release_offer(offer);
        let why = match super::negotiate::config_of(sa, offer.policy) {
            Some(child) => explain::of_policy(Cause::Malformed, FOLLOWUP, &child, said),
            None => Diagnosis::new(Cause::Malformed, FOLLOWUP).detail(said),
        };
        self.fail(sa, why.tell("this is a fault of the program there: update it"), cx);
        cx.out.push(Action::AcquireFailed { policy: offer.policy, retry_ms: 60_000 });
        if let Some(old) = offer.replaces {
            self.rekey_later(sa, old, cx);
        }
    }
    /// The old one lives to its hard end; by then somebody may have changed a setting.
    fn rekey_later(&mut self, sa: &mut IkeSa, old: Spi, cx: &Cx) {
        if let Some(child) = sa.child(old) {
            let left = child.hard_at.map_or(Duration::from_secs(60), |t| t.saturating_sub(cx.now));
            child.soft_at = Some(cx.now + (left / 2).max(Duration::from_secs(5)));
        }
    }

    /// From now on we send on this one.
    pub(super) fn switch_to(&mut self, sa: &mut IkeSa, at: usize, cx: &mut Cx) {
        let (ends, encap) = (sa.tunnel_ends(), sa.encap());
        let Some(child) = sa.children.get_mut(at) else { return };
        child.state = ChildState::Active;
        if child.outbound.place == Place::Reserved {
            child.outbound.place = Place::Installed;
            cx.out.push(Action::InstallOutbound(child.spec(Direction::Outbound, ends, encap)));
        }
        sa.dirty = true;
    }
    /// The old SA is being deleted: its successor takes over.
    pub(super) fn switch_to_successor(&mut self, sa: &mut IkeSa, old: Spi, cx: &mut Cx) {
        let policy = sa.children.iter().find(|c| c.inbound.spi == old).map(|c| c.policy);
        let waits = |c: &ChildSa| {
            c.replaces == Some(old) && c.state == ChildState::AwaitingSwitch
                || c.takes_over() && Some(c.policy) == policy && c.inbound.spi != old
        };
        if let Some(at) = sa.children.iter().position(waits) {
            self.switch_to(sa, at, cx);
        }
    }

    /// Ours has been answered with a new SA.
    pub(super) fn finish_rekey(
        &mut self,
        sa: &mut IkeSa,
        offer: &ChildOffer,
        old: Spi,
        made: ChildSa,
        cx: &mut Cx,
    ) {
        if let Some(c) = offer.collision.as_ref().filter(|c| sa.pending_of(c.made).is_some()) {
            if made.low_nonce < c.low_nonce {
                self.yield_to(sa, c.made);
                self.release_offer(offer);
                sa.tasks.push_front(Task::Disown(made.protocol, offer.spi));
                return;
            }
            self.beat_pending(sa, c.made);
        }
        let theirs = offer.collision.as_ref().and_then(|c| {
            let at = sa.children.iter().position(|x| u64::from(x.inbound.spi.get()) == c.made)?;
            Some((at, made.low_nonce < c.low_nonce))
        });
        match theirs {
            //= rfc7296#2.8.1/lowest-nonce: ours is redundant; the peer deletes the old one.
            Some((_, true)) => {
                self.release_offer(offer);
                sa.tasks.push_front(Task::Disown(made.protocol, offer.spi));
                return;
            }
            Some((at, false)) => {
                if let Some(child) = sa.children.get_mut(at) {
                    child.state = ChildState::Redundant;
                    (child.soft_at, child.hard_at, child.twin_at) = (None, child.hard_at, None);
                }
                self.stop_sending(sa, at, cx);
            }
            None => {}
        }
        self.counters.child_rekeyed += 1;
        self.add_child(sa, made, cx);
        if let Some(at) =
            sa.children.iter().position(|c| c.inbound.spi == old && c.state != ChildState::Lingering)
        {
            self.stop_sending(sa, at, cx);
            if let Some(child) = sa.children.get_mut(at) {
                child.state = ChildState::Deleting;
                (child.soft_at, child.hard_at, child.twin_at) = (None, None, None);
            }
            sa.tasks.push_front(Task::Delete(old));
        }
    }

    pub(super) fn rekey_refused(
        &mut self,
        sa: &mut IkeSa,
        offer: &ChildOffer,
        old: Spi,
        (kind, group): (NotifyType, Option<u16>),
        cx: &mut Cx,
    ) {
        let replaced = sa.children.iter().any(|c| c.replaces == Some(old) && c.is_live());
        let Some(at) = sa.children.iter().position(|c| c.inbound.spi == old && c.is_live()) else { return };
        if replaced {
            return;
        }
        match kind {
            NotifyType::TEMPORARY_FAILURE | NotifyType::STATE_NOT_FOUND => {
                self.hold(sa, cx);
                sa.push_task(Task::Rekey(old));
            }
            //= rfc7296#2.25/lost-child: the peer does not have it, so neither do we; a new one is made.
            NotifyType::CHILD_SA_NOT_FOUND => {
                self.remove_child(sa, at, cx);
                // A policy that was made for it has gone with it.
                if !offer.policy.is_dynamic() {
                    sa.push_task(Task::Create(Wanted { policy: offer.policy, packet: None }));
                }
            }
            _ => {
                self.child_refused(sa, offer, (kind, group), false, cx);
                self.rekey_later(sa, old, cx);
            }
        }
    }

    pub(super) fn on_hard_expire(&mut self, slot: ::sa::SaSlot, spi: Spi, end: End, cx: &mut Cx) {
        let Some(owner) = self.slots.owner(slot) else { return };
        self.with_sa(owner, cx, |engine, sa, cx| {
            if let Some(at) = sa.children.iter().position(|c| c.has(slot, spi)) {
                engine.expire(sa, at, end, cx);
            }
        });
    }
    /// Gone here at once, and the peer is told.
    pub(super) fn expire(&mut self, sa: &mut IkeSa, at: usize, end: End, cx: &mut Cx) {
        let Some(child) = sa.children.get(at) else { return };
        let (spi, policy, live) = (child.inbound.spi, child.policy, child.is_live());
        let protocol = child.protocol;
        self.switch_to_successor(sa, spi, cx);
        self.remove_child(sa, at, cx);
        let (cause, detail, tell) = match end {
            End::Lifetime => {
                let tell = "answer our rekeys (CREATE_CHILD_SA); have the same pfs-group";
                (Some(Cause::ChildLifetime), String::new(), tell)
            }
            End::Lost(why) => (Some(Cause::Local), why, ""),
            End::Wanted => (None, String::new(), ""),
        };
        if let Some(cause) = cause.filter(|_| live) {
            let why = match super::negotiate::config_of(sa, policy) {
                Some(child) => explain::of_policy(cause, CREATE, &child, detail),
                None => Diagnosis::new(cause, CREATE).detail(detail),
            };
            self.fail(sa, why.tell(tell), cx);
        }
        if live {
            sa.push_task(Task::Disown(protocol, spi));
        }
    }
}
