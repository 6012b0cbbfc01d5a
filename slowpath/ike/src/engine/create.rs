//! CREATE_CHILD_SA: which of its three uses a request is, and what stands in its way (RFC 7296 1.3, 2.25).
use super::child::{ChildSa, ChildState, Half, Place};
use super::exchange::notify;
use super::explain::{self, wishes};
use super::followup::{Awaited, Step};
use super::ike_sa::{ChildOffer, Exchange, IkeSa, Task, Wanted};
use super::negotiate::{Terms, config_of};
use super::{Cx, Engine};
use crate::api::Action;
use crate::crypto::Additional;
use crate::message::{ExchangeType, Message, Notify, NotifyType, Payload, Protocol, confirm_esp};
use std::time::Duration;

/// CREATE_CHILD_SA requests one peer may make in `ASK_WINDOW` (row C8).
const ASKS: u32 = 200;
const ASK_WINDOW: Duration = Duration::from_secs(1);

/// The further key exchanges that the answer to our offer asks for; what is wrong with it shows in the end.
fn chosen_of(sa: &IkeSa, offer: &ChildOffer, answer: &Message) -> Additional {
    let child = config_of(sa, offer.policy);
    let chosen = child.and_then(|child| confirm_esp(answer.sa().ok()?, &wishes(&child, false)).ok());
    chosen.map_or_else(Additional::default, |chosen| chosen.additional)
}

impl Engine {
    pub(super) fn on_create_request(
        &mut self,
        sa: &mut IkeSa,
        message: &Message,
        cx: &mut Cx,
    ) -> Vec<Payload> {
        //= rfc7296#2.25.2/closing: while the IKE SA is being closed or replaced nothing new begins on it.
        if !sa.is_established() || sa.has_task(|t| *t == Task::DeleteIke) {
            return vec![notify(NotifyType::TEMPORARY_FAILURE)];
        }
        if cx.now.saturating_sub(sa.ask_window) >= ASK_WINDOW {
            (sa.ask_window, sa.asks) = (cx.now, 0);
        }
        sa.asks += 1;
        if sa.asks > ASKS || !sa.has_room_for_pending() {
            return vec![notify(NotifyType::TEMPORARY_FAILURE)];
        }
        let for_ike = message.sa().is_ok_and(|p| p.first().is_some_and(|p| p.protocol == Protocol::IKE));
        let answered = if for_ike {
            self.answer_ike_rekey(sa, message, cx)
        } else if matches!(
            sa.window.in_flight.as_ref().map(|f| &f.what),
            Some(Exchange::Ike(_) | Exchange::DeleteIke)
        ) {
            //= rfc7296#2.25.2/rekeying-ike: no children while we replace the IKE SA.
            Err(Notify::new(NotifyType::TEMPORARY_FAILURE, Vec::new()))
        } else if let Some(named) = message.notify(NotifyType::REKEY_SA) {
            self.answer_child_rekey(sa, message, named, cx)
        } else {
            self.answer_child(sa, message, None, None, cx)
                .and_then(|(terms, payloads)| self.make_or_defer(sa, terms, payloads, cx))
        };
        answered.unwrap_or_else(|told| vec![Payload::Notify(told)])
    }

    /// A new child, both directions at once.
    pub(super) fn add_child(&mut self, sa: &mut IkeSa, mut child: ChildSa, cx: &mut Cx) {
        let (ends, encap) = (sa.tunnel_ends(), sa.encap());
        (child.inbound.place, child.outbound.place) = (Place::Installed, Place::Installed);
        cx.out.push(Action::Install {
            inbound: child.spec(::sa::Direction::Inbound, ends, encap),
            outbound: child.spec(::sa::Direction::Outbound, ends, encap),
        });
        self.counters.child_established += 1;
        let text = format!(
            "child for policy {} is up: {} inbound {} outbound {}",
            child.policy.0, child.suite, child.inbound.spi, child.outbound.spi
        );
        self.say_up(sa, cx, text);
        let policy = child.policy;
        sa.children.push(child);
        sa.dirty = true;
        self.take_back(&sa.peer.clone(), policy, cx);
    }

    /// A child that the peer asked for, once it is clear what it will be like: at once, or after further key exchanges.
    pub(super) fn make_or_defer(
        &mut self,
        sa: &mut IkeSa,
        terms: Terms,
        mut payloads: Vec<Payload>,
        cx: &mut Cx,
    ) -> Result<Vec<Payload>, Notify> {
        let chosen = terms.chosen.additional;
        if chosen.iter().any(Option::is_some) {
            if let Some(old) = terms.replaces {
                self.note_collision(sa, old, &terms);
            }
            payloads.push(self.defer(sa, Awaited::Child(Box::new(terms)), &chosen, cx.now));
            return Ok(payloads);
        }
        self.conclude_child(sa, terms, &[], cx)?;
        Ok(payloads)
    }
    /// All key exchanges of a child that the peer asked for are made.
    pub(super) fn conclude_child(
        &mut self,
        sa: &mut IkeSa,
        terms: Terms,
        more: &[u8],
        cx: &mut Cx,
    ) -> Result<(), Notify> {
        let old = terms.replaces;
        if old.is_some_and(|old| !sa.children.iter().any(|c| c.inbound.spi == old && c.is_live())) {
            self.give_back(&terms.places);
            return Err(Notify::new(NotifyType::TEMPORARY_FAILURE, Vec::new()));
        }
        if let Some(old) = old {
            self.note_collision(sa, old, &terms);
        }
        let made = self.made_of(sa, terms, more, cx)?;
        match old {
            Some(old) => self.replaced_by_peer(sa, old, made, cx),
            None => self.take_child(sa, made, cx),
        }
        Ok(())
    }

    /// One that the peer asked for. Where its traffic has an SA already (both ends have called each other, say) we send
    /// on that one until the peer, whom our answer has yet to reach, can receive on the new one.
    pub(super) fn take_child(&mut self, sa: &mut IkeSa, mut child: ChildSa, cx: &mut Cx) {
        let runs = |c: &ChildSa| c.serves(child.policy) && c.outbound.place == Place::Installed;
        let others = self.known(self.filed.of_policy(child.policy)).filter(|o| o.peer.name == sa.peer.name);
        let others = others.flat_map(|other| &other.children);
        if !sa.children.iter().chain(others).any(runs) {
            return self.add_child(sa, child, cx);
        }
        child.state = ChildState::AwaitingSwitch;
        child.twin_at = Some(cx.now + super::child::TAKEOVER);
        child.inbound.place = Place::Installed;
        cx.out.push(Action::InstallInbound(child.spec(
            ::sa::Direction::Inbound,
            sa.tunnel_ends(),
            sa.encap(),
        )));
        self.counters.child_established += 1;
        sa.children.push(child);
        sa.dirty = true;
    }

    /// Asks for a new child or a replacement of one. False: nothing was sent.
    pub(super) fn ask_for_child(
        &mut self,
        sa: &mut IkeSa,
        wanted: &Wanted,
        replaces: Option<::sa::Spi>,
        cx: &mut Cx,
    ) -> bool {
        match self.offer_child(sa, wanted, replaces, false, cx) {
            Some((offer, payloads)) => {
                self.request(
                    sa,
                    ExchangeType::CREATE_CHILD_SA,
                    payloads,
                    Exchange::Child(Box::new(offer)),
                    cx,
                );
                true
            }
            None => {
                cx.out.push(Action::AcquireFailed { policy: wanted.policy, retry_ms: 10_000 });
                false
            }
        }
    }

    pub(super) fn on_child_response(
        &mut self,
        sa: &mut IkeSa,
        mut offer: ChildOffer,
        message: &Message,
        cx: &mut Cx,
    ) {
        if let Some(error) = message.error() {
            let (kind, group) = (error.kind, error.group());
            self.release_offer(&offer);
            let again = matches!(kind, NotifyType::TEMPORARY_FAILURE | NotifyType::STATE_NOT_FOUND);
            if kind == NotifyType::STATE_NOT_FOUND && !self.lost_series(sa, cx) {
                return;
            }
            return match offer.replaces {
                Some(old) => self.rekey_refused(sa, &offer, old, (kind, group), cx),
                None if kind == NotifyType::SINGLE_PAIR_REQUIRED && !sa.single_pair => {
                    sa.single_pair = true;
                    if offer.packet.is_some() {
                        sa.push_task(Task::Create(Wanted { policy: offer.policy, packet: offer.packet }));
                    }
                }
                None if again => {
                    self.hold(sa, cx);
                    sa.push_task(Task::Create(Wanted { policy: offer.policy, packet: None }));
                }
                None => self.child_refused(sa, &offer, (kind, group), false, cx),
            };
        }
        let begins = offer.followup.is_none();
        let chosen = if begins { chosen_of(sa, &offer, message) } else { Additional::default() };
        let (kept, more) = match self.next_step(offer.followup.take(), chosen, message) {
            Ok(Step::Over(answer, more)) => (answer, more),
            Ok(Step::Next(followup, _)) if begins && self.gives_way(sa, &offer, &followup.answer) => {
                return self.release_offer(&offer);
            }
            Ok(Step::Next(followup, link)) => {
                offer.followup = Some(followup);
                return self.send_followup(sa, Exchange::Child(Box::new(offer)), link, cx);
            }
            Err(why) => return self.broken_series(sa, &offer, why, cx),
        };
        sa.lost_series = 0;
        let message = kept.as_ref().unwrap_or(message);
        let Some(made) = self.confirm_child(sa, &offer, message, None, &more, cx) else {
            return self.disown(sa, &offer, cx);
        };
        match offer.replaces {
            Some(old) => self.finish_rekey(sa, &offer, old, made, cx),
            None => self.add_child(sa, made, cx),
        }
    }

    /// The peer has made an SA of our offer that we do not want.
    pub(super) fn disown(&mut self, sa: &mut IkeSa, offer: &ChildOffer, cx: &mut Cx) {
        self.release_offer(offer);
        cx.out.push(Action::AcquireFailed { policy: offer.policy, retry_ms: 60_000 });
        sa.tasks.push_front(Task::Disown(offer.protocol, offer.spi));
    }
    pub(super) fn release_offer(&mut self, offer: &ChildOffer) {
        self.slots.give_back(offer.slot);
        self.slots.give_back(offer.slot_out);
    }
    //= rfc7296#2.25/wait: after TEMPORARY_FAILURE the same is not asked again at once.
    pub(super) fn hold(&mut self, sa: &mut IkeSa, cx: &Cx) {
        let fresh = u64::from(self.random_u8());
        sa.window.hold_until = cx.now + Duration::from_millis(1000 + 8 * fresh);
    }
    pub(super) fn child_refused(
        &mut self,
        sa: &mut IkeSa,
        offer: &ChildOffer,
        (kind, group): (NotifyType, Option<u16>),
        in_auth: bool,
        cx: &mut Cx,
    ) {
        sa.single_pair |= kind == NotifyType::SINGLE_PAIR_REQUIRED;
        self.ask_later(sa, cx, Duration::from_secs(60));
        let child = config_of(sa, offer.policy);
        self.fail(sa, explain::child_refused(child.as_ref(), kind, group, in_auth), cx);
        cx.out.push(Action::AcquireFailed { policy: offer.policy, retry_ms: 10_000 });
    }

    /// Takes a child out of use: what was sent on it stops, what is on its way to us is still received.
    pub(super) fn retire(&mut self, sa: &mut IkeSa, at: usize, cx: &mut Cx) {
        self.stop_sending(sa, at, cx);
        let Some(child) = sa.children.get_mut(at) else { return };
        child.state = ChildState::Lingering;
        (child.soft_at, child.hard_at, child.twin_at) = (None, None, None);
        child.gone_at.get_or_insert(cx.now + super::child::LINGER);
    }
    pub(super) fn stop_sending(&mut self, sa: &mut IkeSa, at: usize, cx: &mut Cx) {
        let Some(child) = sa.children.get_mut(at) else { return };
        self.clear(&mut child.outbound, cx);
        sa.dirty = true;
    }
    fn clear(&mut self, half: &mut Half, cx: &mut Cx) {
        match std::mem::replace(&mut half.place, Place::Gone) {
            Place::Installed => {
                cx.out.push(Action::Remove { slot: half.slot, spi: half.spi });
                self.slots.drain(half.slot);
            }
            Place::Reserved => self.slots.give_back(half.slot),
            Place::Gone => {}
        }
    }
    /// At once and for good, both directions.
    pub(super) fn remove_child(&mut self, sa: &mut IkeSa, at: usize, cx: &mut Cx) {
        if at < sa.children.len() {
            let mut child = sa.children.remove(at);
            self.clear(&mut child.outbound, cx);
            self.clear(&mut child.inbound, cx);
            sa.dirty = true;
        }
    }
}
