//! What both ends have said that they can beyond RFC 7296, and where it is said.
use super::exchange::notify;
use super::ike_sa::{IkeSa, Task, Wanted};
use super::{Cx, Engine};
use crate::api::{Now, Peer, ReportLevel};
use crate::message::{Message, Notify, NotifyType, Payload};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use std::time::Duration;

/// Of one IKE SA; a successor has it too.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Agreed {
    /// Messages may come in fragments (RFC 7383).
    pub fragmentation: bool,
    /// Requests the peer may have under way, as we have told it.
    pub window: u32,
    pub mobike: bool,
    /// Where else the peer can be reached (RFC 4555 3.6).
    pub addresses: Vec<IpAddr>,
    /// The last request that moved the peer.
    pub updated: Option<u32>,
    /// The peer can be sent to another gateway (RFC 5685).
    pub redirect: bool,
    /// We have to prove who we are once more, by a new IKE SA (RFC 4478).
    pub reauth_at: Option<Now>,
    /// The peer has been sent elsewhere, and should have gone by then.
    pub leave_at: Option<Now>,
    /// Another IKE SA is being made that takes its place.
    pub superseded: bool,
}
impl Agreed {
    pub fn deadlines(&self, at: impl FnMut(Now)) {
        [self.reauth_at, self.leave_at].into_iter().flatten().for_each(at);
    }
    /// What a successor begins with: message ids start anew.
    pub fn inherited(&self) -> Self {
        Self { updated: None, ..self.clone() }
    }
}

//= rfc9370#2.2.1/intermediate: additional key exchanges are made in IKE_INTERMEDIATE, which both must have.
fn intermediate(peer: &Peer) -> Option<NotifyType> {
    let rounds = &peer.profile.proposal.additional;
    (!rounds.is_empty()).then_some(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED)
}
/// What an initiator says in IKE_SA_INIT.
pub(super) fn of_initiator(peer: &Peer) -> impl Iterator<Item = Payload> + use<> {
    let extensions = &peer.profile.extensions;
    let fragments = (extensions.fragment_size > 0).then_some(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED);
    //= rfc5685#3/supported: said by who would go elsewhere.
    let redirect = extensions.follow_redirects.then_some(NotifyType::REDIRECT_SUPPORTED);
    [fragments, redirect, intermediate(peer)].into_iter().flatten().map(notify)
}
/// What a responder says to that.
pub(super) fn of_responder(peer: &Peer, request: &Message) -> impl Iterator<Item = Payload> + use<> {
    let extensions = &peer.profile.extensions;
    let asked = request.notify(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED).is_some();
    let fragments =
        (asked && extensions.fragment_size > 0).then_some(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED);
    //= rfc6023#3/supported: the responder says it, unasked.
    let childless = extensions.childless.then_some(NotifyType::CHILDLESS_IKEV2_SUPPORTED);
    let intermediate =
        intermediate(peer).filter(|_| request.notify(NotifyType::INTERMEDIATE_EXCHANGE_SUPPORTED).is_some());
    [fragments, childless, intermediate].into_iter().flatten().map(notify)
}

impl IkeSa {
    /// From the other end's IKE_SA_INIT.
    pub(super) fn agree(&mut self, theirs: &Message) {
        let said = |kind| theirs.notify(kind).is_some();
        //= rfc7383#2.3/negotiate: both say so in IKE_SA_INIT.
        self.agreed.fragmentation =
            said(NotifyType::IKEV2_FRAGMENTATION_SUPPORTED) && self.peer.profile.extensions.fragment_size > 0;
        self.agreed.redirect = said(NotifyType::REDIRECT_SUPPORTED) || said(NotifyType::REDIRECTED_FROM);
    }
    /// IKE_AUTH without SA and selectors, which we let the peer do.
    pub(super) fn is_childless(&self, request: &Message) -> bool {
        use crate::message::PayloadType as P;
        //= rfc6023#3/no-child: none of the payloads of a child is there.
        self.peer.profile.extensions.childless
            && ![P::SA, P::TSI, P::TSR].into_iter().any(|kind| request.has(kind))
    }
}

impl Engine {
    /// Our part in IKE_AUTH; `theirs` is the request when we answer one.
    pub(super) fn announce(&self, sa: &mut IkeSa, theirs: Option<&Message>) -> Vec<Payload> {
        let extensions = &sa.peer.profile.extensions;
        let mut said = Vec::new();
        let asked = theirs.is_none_or(|m| m.notify(NotifyType::MOBIKE_SUPPORTED).is_some());
        if extensions.mobike && asked {
            said.push(notify(NotifyType::MOBIKE_SUPPORTED));
        }
        //= rfc7296#2.3/set-window: how many requests the other end may have under way; one unless told.
        if extensions.window > 1 {
            let data = extensions.window.to_be_bytes().to_vec();
            said.push(Payload::Notify(Notify::new(NotifyType::SET_WINDOW_SIZE, data)));
            sa.agreed.window = extensions.window;
        }
        said
    }
    /// Theirs, once they have proven who they are.
    pub(super) fn heed(&mut self, sa: &mut IkeSa, theirs: &Message, cx: &mut Cx) {
        sa.agreed.mobike =
            sa.peer.profile.extensions.mobike && theirs.notify(NotifyType::MOBIKE_SUPPORTED).is_some();
        self.note_addresses(sa, theirs);
        self.note_lifetime(sa, theirs, cx);
        self.supersede(sa, cx);
    }

    //= rfc4478#3/lifetime: the responder says how long its trust lasts; the initiator proves itself anew before.
    pub(super) fn note_lifetime(&mut self, sa: &mut IkeSa, theirs: &Message, cx: &mut Cx) {
        let Some(told) = theirs.notify(NotifyType::AUTH_LIFETIME).filter(|_| sa.initiator) else { return };
        let Some(seconds) = told.data.as_slice().try_into().ok().map(u32::from_be_bytes) else { return };
        let lifetime = Duration::from_secs(seconds.into());
        let early = (lifetime / 10).clamp(Duration::from_secs(1), Duration::from_secs(300));
        sa.agreed.reauth_at = Some(cx.now + lifetime.saturating_sub(early));
        self.say(
            sa,
            ReportLevel::Info,
            cx,
            format!("the peer wants us to authenticate again within {seconds} s"),
        );
    }
    /// A new IKE SA beside this one, which it replaces once it is up.
    pub(super) fn supplant(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        sa.agreed.superseded = true;
        (sa.agreed.reauth_at, sa.dirty) = (None, true);
        let peer = std::sync::Arc::clone(&sa.peer);
        let live = sa.children.iter().filter(|c| c.is_live());
        let mut wanted: Vec<Wanted> = Vec::new();
        for policy in live.map(|c| c.policy) {
            if !wanted.iter().any(|w| w.policy == policy) {
                wanted.push(Wanted { policy, packet: None });
            }
        }
        self.call(&peer, wanted, cx);
    }
    /// This one is up: those that it was made to replace go.
    fn supersede(&mut self, sa: &IkeSa, cx: &mut Cx) {
        if !sa.initiator {
            return;
        }
        let gone = |old: &&IkeSa| old.agreed.superseded && old.is_established();
        let old: Vec<u64> = self.sas_of(&sa.peer.name).filter(gone).map(|old| old.local_spi).collect();
        for local_spi in old {
            self.with_sa(local_spi, cx, |engine, old, cx| engine.close(old, cx));
        }
    }
    pub(super) fn tick_agreed(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        if sa.agreed.reauth_at.is_some_and(|t| t <= cx.now) {
            self.supplant(sa, cx);
        }
        if sa.agreed.leave_at.is_some_and(|t| t <= cx.now) {
            sa.agreed.leave_at = None;
            sa.push_task(Task::DeleteIke);
        }
    }
}
