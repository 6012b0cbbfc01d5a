//! INFORMATIONAL: deletes and signs of life (RFC 7296 1.4, 2.4, 2.25), and how an IKE SA ends.
use super::child::{ChildSa, ChildState};
use super::explain::{self, INFORMATIONAL};
use super::ike_sa::{Exchange, IkeSa, State, Task};
use super::timers::Series;
use super::{Cx, Engine};
use crate::api::ReportLevel;
use crate::diagnosis::{Cause, Diagnosis};
use crate::message::{Delete, ExchangeType, Message, NotifyType, Payload, Protocol};
use ::sa::Spi;
use std::collections::BTreeSet;

impl Engine {
    pub(super) fn on_informational_request(
        &mut self,
        sa: &mut IkeSa,
        message: &Message,
        cx: &mut Cx,
    ) -> Vec<Payload> {
        if message.notify(NotifyType::AUTHENTICATION_FAILED).is_some() {
            //= rfc7296#2.21.2/initiator-refuses: the initiator did not believe us.
            self.fail(sa, explain::disbelieved(&sa.peer, sa.local.ip()), cx);
            if sa.is_established() {
                self.call_again(sa, cx);
            }
            self.end(sa, cx);
            return Vec::new();
        }
        if message.deletes().any(|d| d.protocol == Protocol::IKE) {
            self.on_ike_delete(sa, message, cx);
            //= rfc7296#1.4.1/ike-delete-answer: an empty one.
            return Vec::new();
        }
        let mut answers = Vec::new();
        for protocol in ::sa::Protocol::ALL {
            let named = message.deletes().filter(|d| d.protocol == Protocol::from(protocol));
            let spis: Vec<u32> = named
                .flat_map(|d| &d.spis)
                .filter_map(|spi| self.on_child_delete(sa, protocol, *spi, cx))
                .collect();
            if !spis.is_empty() {
                answers.push(Payload::Delete(Delete { protocol: protocol.into(), spis }));
            }
        }
        answers
    }

    /// The peer deletes the SA it receives with this SPI; the answer names its other half.
    fn on_child_delete(
        &mut self,
        sa: &mut IkeSa,
        protocol: ::sa::Protocol,
        outbound: u32,
        cx: &mut Cx,
    ) -> Option<u32> {
        let at = sa.children.iter().position(|c| {
            c.outbound.spi.get() == outbound && c.protocol == protocol && c.state != ChildState::Lingering
        })?;
        let (inbound, state) = (sa.children[at].inbound.spi, sa.children[at].state);
        self.switch_to_successor(sa, inbound, cx);
        self.retire(sa, at, cx);
        //= rfc7296#1.4.1/both-delete: with our own delete of it out, ours is not named again.
        let ours_is_out = |spis: &[Spi]| spis.contains(&inbound);
        let out = matches!(sa.window.in_flight.as_ref().map(|f| &f.what), Some(Exchange::DeleteChildren(s)) if ours_is_out(s));
        if state == ChildState::Deleting && out { None } else { Some(inbound.get()) }
    }

    fn on_ike_delete(&mut self, sa: &mut IkeSa, message: &Message, cx: &mut Cx) {
        //= rfc7296#2.25.2/delete-while-rekeying: a peer that has a successor deletes the old SA; our own rekey is forgotten.
        let heir = match sa.window.in_flight.as_mut().map(|f| &mut f.what) {
            Some(Exchange::Ike(ours)) => ours.collision.take().map(|c| c.made),
            _ => None,
        };
        let heir = heir.filter(|made| self.sas.contains_key(made));
        if let Some(heir) = heir {
            self.inherit(sa, heir, cx);
        } else if sa.is_established() {
            let why = message.error().map_or(String::new(), |n| format!(" ({})", n.kind));
            self.say(sa, ReportLevel::Info, cx, format!("the peer deleted the IKE SA{why}"));
            // Whom we were about to delete we do not call.
            if !sa.has_task(|t| *t == Task::DeleteIke) {
                self.call_again(sa, cx);
            }
        }
        self.end(sa, cx);
    }

    /// Ended by the peer, or by an answer we are giving: stays to repeat that answer.
    pub(super) fn end(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        self.retire_all(sa, cx);
        self.drop_pending(sa);
        sa.window.in_flight = self.drop_offers(sa);
        sa.tasks.clear();
        sa.state = State::Closed;
        sa.ends_at = Some(cx.now + Series::total());
        sa.rekey_at = None;
        sa.dirty = true;
    }
    fn retire_all(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        for at in (0..sa.children.len()).rev() {
            self.retire(sa, at, cx);
        }
    }
    /// Forgets our request in flight and what it reserved.
    fn drop_offers(&mut self, sa: &mut IkeSa) -> Option<super::ike_sa::InFlight> {
        if let Some(Exchange::Child(offer)) = sa.window.in_flight.take().map(|f| f.what) {
            self.release_offer(&offer);
        }
        None
    }

    /// Gone without a word: nobody is there to hear it.
    pub(super) fn drop_sa(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        for at in (0..sa.children.len()).rev() {
            self.remove_child(sa, at, cx);
        }
        self.drop_pending(sa);
        self.drop_offers(sa);
        self.switch_others(sa, cx);
        if let State::AuthSent(sent) = &sa.state {
            let (a, b) = (sent.child.slot, sent.child.slot_out);
            self.slots.give_back(a);
            self.slots.give_back(b);
        }
        sa.tasks.clear();
        sa.dead = true;
    }
    /// What another IKE SA with the peer has in store for this one's traffic takes over at once.
    fn switch_others(&mut self, sa: &IkeSa, cx: &mut Cx) {
        let waits = |other: &&IkeSa| {
            other.peer.name == sa.peer.name && other.children.iter().any(ChildSa::takes_over)
        };
        let spis = sa.filed.iter().flat_map(|policy| self.filed.of_policy(*policy));
        let others: BTreeSet<u64> = self.known(spis).filter(waits).map(|other| other.local_spi).collect();
        for local_spi in others {
            self.with_sa(local_spi, cx, |engine, other, cx| {
                for at in 0..other.children.len() {
                    if other.children[at].takes_over() {
                        engine.switch_to(other, at, cx);
                    }
                }
            });
        }
    }
    /// The same, and the peer is called again if that is our part.
    pub(super) fn lose(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        self.drop_sa(sa, cx);
        self.call_again(sa, cx);
    }
    /// We want it gone: as a proper exchange if there is one to be had.
    pub(super) fn close(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        match sa.state {
            State::Established => {
                sa.tasks.clear();
                self.drop_pending(sa);
                sa.tasks.push_front(Task::DeleteIke);
            }
            State::InitSent(_) | State::InitAnswered(_) | State::Intermediate(_) | State::AuthSent(_) => {
                self.drop_sa(sa, cx);
            }
            State::Unsettled | State::Replaced | State::Deleting | State::Closed => {}
        }
    }
    pub(super) fn send_ike_delete(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        sa.state = State::Deleting;
        sa.rekey_at = None;
        self.drop_pending(sa);
        for at in 0..sa.children.len() {
            self.stop_sending(sa, at, cx);
        }
        let delete = Payload::Delete(Delete { protocol: Protocol::IKE, spis: Vec::new() });
        self.request(sa, ExchangeType::INFORMATIONAL, vec![delete], Exchange::DeleteIke, cx);
    }
    pub(super) fn on_ike_deleted(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        if sa.children.is_empty() {
            sa.dead = true;
        } else {
            self.end(sa, cx);
        }
    }
    pub(super) fn on_children_deleted(&mut self, sa: &mut IkeSa, spis: &[Spi], cx: &mut Cx) {
        for spi in spis {
            self.switch_to_successor(sa, *spi, cx);
            if let Some(at) = sa.children.iter().position(|c| c.inbound.spi == *spi) {
                self.retire(sa, at, cx);
            }
        }
    }

    /// The whole series went unanswered (RFC 7296 2.4).
    pub(super) fn no_answer(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        let hinted = match &sa.state {
            State::InitSent(init) => Some(init.hint),
            _ => None,
        };
        if let Some(hinted) = hinted {
            return self.init_without_answer(sa, hinted, cx);
        }
        match std::mem::replace(&mut sa.state, State::Closed) {
            State::Intermediate(_) => {
                let nat = sa.nat_local || sa.nat_remote;
                self.fail(sa, explain::no_answer_auth(sa.local, sa.remote, nat), cx);
                self.give_up_call(sa, cx);
            }
            State::AuthSent(sent) => {
                let nat = sa.nat_local || sa.nat_remote;
                self.fail(sa, explain::no_answer_auth(sa.local, sa.remote, nat), cx);
                self.slots.give_back(sent.child.slot);
                self.slots.give_back(sent.child.slot_out);
                sa.wanted.push(sent.wanted);
                self.give_up_call(sa, cx);
            }
            State::Established => {
                let quiet = cx.now.saturating_sub(sa.last_seen).as_secs();
                let why = Diagnosis::new(Cause::PeerDead, INFORMATIONAL)
                    .detail(format!("nothing from {} for {quiet} s", sa.remote))
                    .tell("is it up, and is UDP 500/4500 open on the way?");
                self.fail(sa, why, cx);
                let unwanted = sa.has_task(|t| *t == Task::DeleteIke);
                self.drop_sa(sa, cx);
                self.next_address(&sa.peer.clone(), cx);
                self.fall_back(sa, cx);
                //= rfc7296#2.4/dead: its SAs are gone; who starts by itself starts again.
                if !unwanted && let Some(peer) = self.by_name.get(&sa.peer.name).cloned() {
                    self.schedule(&peer, std::time::Duration::ZERO, 0, cx.now);
                }
            }
            _ => self.drop_sa(sa, cx),
        }
    }

    pub(super) fn send_liveness(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        //= rfc7296#2.4/liveness: an empty INFORMATIONAL request.
        let payloads = self.liveness_payloads(sa);
        self.request(sa, ExchangeType::INFORMATIONAL, payloads, Exchange::Liveness, cx);
    }
    pub(super) fn send_child_delete(
        &mut self,
        sa: &mut IkeSa,
        protocol: ::sa::Protocol,
        spi: Spi,
        cx: &mut Cx,
    ) {
        let delete = Payload::Delete(Delete { protocol: protocol.into(), spis: vec![spi.get()] });
        self.request(sa, ExchangeType::INFORMATIONAL, vec![delete], Exchange::DeleteChildren(vec![spi]), cx);
    }
}
