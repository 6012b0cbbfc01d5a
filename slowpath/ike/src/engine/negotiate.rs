//! What a child SA is to be: offered by us, chosen from the peer's offer, made from the result (RFC 7296
//! 2.7, 2.9, 2.17). Used by IKE_AUTH and CREATE_CHILD_SA, from both ends.
use super::child::{ChildSa, ChildState, Half, Place, lifetime_of, soft_of};
use super::explain::{self, AUTH, CREATE, wishes};
use super::ike_sa::{ChildOffer, IkeSa, Wanted};
use super::init::{NONCE_LEN, ke};
use super::templates::{Asked, Fit, pick, ranges, template_of, tidy, without_ports};
use super::{Cx, Engine};
use crate::api::{Child, Now, ReportLevel};
use crate::crypto::{DhPrivate, EspKeys, Secret, child_keys, nonce};
use crate::diagnosis::{Cause, Diagnosis};
use crate::message::{
    ChosenEsp, Message, Notify, NotifyType, Payload, Ts, confirm_esp, narrow, offer_esp, select_esp, split,
    within,
};
use ::sa::{Mode, PolicyId, Prefix, Protocol, SaSlot, Spi, TrafficSelector, TunnelEnds};
use std::net::IpAddr;

/// Children one IKE SA may have (row C8).
const MAX_CHILDREN: usize = 1024;

struct Agreement {
    chosen: ChosenEsp,
    /// Further policies that it serves.
    also: Vec<PolicyId>,
    selectors: Vec<TrafficSelector>,
    original: Option<TunnelEnds>,
    mode: Mode,
    shared: Option<Secret>,
    nonce_i: Vec<u8>,
    nonce_r: Vec<u8>,
    /// We sent the request.
    initiated: bool,
}
/// What we have answered a request for a child with; it is made of this.
pub(super) struct Terms {
    fit: Fit,
    pub chosen: ChosenEsp,
    original: Option<TunnelEnds>,
    shared: Option<Secret>,
    nonce_i: Vec<u8>,
    nonce_r: Vec<u8>,
    pub places: Places,
    /// Our inbound SPI of the child it replaces.
    pub replaces: Option<Spi>,
    in_auth: bool,
}
impl Terms {
    pub fn low_nonce(&self) -> &[u8] {
        (&self.nonce_i).min(&self.nonce_r)
    }
}
/// Our SPI and both slots, taken before anything is promised.
pub(super) struct Places {
    pub spi: Spi,
    pub slot: SaSlot,
    pub slot_out: SaSlot,
}
/// Nonces of IKE_AUTH's child are those of IKE_SA_INIT.
pub(super) struct InitNonces<'a> {
    pub i: &'a [u8],
    pub r: &'a [u8],
}

pub(super) fn mode_of(child: &Child) -> Mode {
    if child.tunnel { Mode::Tunnel } else { Mode::Transport }
}
/// What the SA is for: in transport mode nothing but the two ends of the IKE SA. `None`: the policy is not about them.
//= rfc7296#1.3.1/transport-ends: transport mode is for traffic between the two peers.
pub(super) fn selector_of(sa: &IkeSa, child: &Child) -> Option<TrafficSelector> {
    let TunnelEnds { local, remote } = sa.tunnel_ends();
    if child.tunnel {
        return Some(child.selector);
    }
    Some(TrafficSelector {
        local: child.selector.local.intersect(Prefix::host(local).range())?,
        remote: child.selector.remote.intersect(Prefix::host(remote).range())?,
        ..child.selector
    })
}

//= rfc7296#2.23.1/originals: the addresses of the request, single ones, are those that the peer's checksums are made of.
/// The addresses as the peer knows them: `ours` and `theirs` are the selectors of its request.
pub(super) fn originals(sa: &IkeSa, ours: &[Ts], theirs: &[Ts]) -> Option<TunnelEnds> {
    sa.encap()?;
    let single = |list: &[Ts]| {
        let address = list.first()?.addresses.first();
        let range = Prefix::host(address).range();
        list.iter().all(|ts| ts.addresses == range).then_some(address)
    };
    Some(TunnelEnds { local: single(ours)?, remote: single(theirs)? })
}
//= rfc7296#2.23.1/substitute: the policy is looked up, and the SA made, with the addresses that packets have here.
pub(super) fn substituted(list: &[Ts], address: IpAddr) -> Vec<Ts> {
    list.iter().map(|ts| Ts { addresses: Prefix::host(address).range(), ..*ts }).collect()
}

pub(super) fn config_of(sa: &IkeSa, policy: PolicyId) -> Option<Child> {
    let made = sa.generated.iter().map(|made| &made.child);
    let child = sa.peer.children.iter().chain(made).find(|c| c.policy == policy).cloned();
    // What it will be like when we ask for it: a tunnel.
    child.or_else(|| template_of(sa, policy).map(|template| Child { tunnel: true, ..template.like.clone() }))
}

impl Engine {
    pub(super) fn take_places(&mut self, owner: u64) -> Option<Places> {
        let slot = self.slots.take(owner)?;
        let Some(slot_out) = self.slots.take(owner) else {
            self.slots.give_back(slot);
            return None;
        };
        Some(Places { spi: self.slots.spi(slot, self.rng.as_mut()), slot, slot_out })
    }
    pub(super) fn give_back(&mut self, places: &Places) {
        self.slots.give_back(places.slot);
        self.slots.give_back(places.slot_out);
    }

    /// Our offer and its payloads. `None`: said why.
    pub(super) fn offer_child(
        &mut self,
        sa: &mut IkeSa,
        wanted: &Wanted,
        replaces: Option<Spi>,
        in_auth: bool,
        cx: &mut Cx,
    ) -> Option<(ChildOffer, Vec<Payload>)> {
        let child = config_of(sa, wanted.policy)?;
        let exchange = if in_auth { AUTH } else { CREATE };
        let mut selectors = ranges(sa, &child, replaces);
        if selectors.is_empty() {
            let ends = [sa.local.ip(), sa.remote.ip()];
            self.fail(sa, explain::transport_ends(&sa.peer, &child, exchange, ends), cx);
            return None;
        }
        if sa.single_pair && replaces.is_none() {
            selectors = wanted.packet.iter().filter_map(|packet| single(packet, &selectors)).collect();
            if selectors.is_empty() {
                return None; // the next packet asks for its own
            }
        }
        //= rfc3948#1/not-ah: AH covers the addresses that a NAT changes.
        if child.protocol == Protocol::Ah && sa.encap().is_some() {
            self.fail(sa, explain::ah_behind_nat(&sa.peer, &child, exchange), cx);
            return None;
        }
        let Some(places) = self.take_places(sa.local_spi) else {
            self.fail(sa, no_slots(&child), cx);
            return None;
        };
        let dh = match child.pfs.filter(|_| !in_auth) {
            Some(group) => match DhPrivate::generate(group, self.rng.as_mut()) {
                Ok(dh) => Some(dh),
                Err(error) => {
                    self.give_back(&places);
                    self.fail(sa, Diagnosis::new(Cause::Local, CREATE).detail(error.to_string()), cx);
                    return None;
                }
            },
            None => None,
        };
        let replaced = replaces.and_then(|spi| sa.child(spi));
        //= rfc7296#2.9/packet-first: the packet that asked, or what the old SA was narrowed to, comes first.
        let mut first = replaced.as_ref().map_or_else(Vec::new, |old| old.selectors.clone());
        let covers = |packet: &TrafficSelector| {
            selectors.iter().any(|s| {
                packet.local.intersect(s.local).is_some() && packet.remote.intersect(s.remote).is_some()
            })
        };
        first.extend(wanted.packet.filter(covers));
        first.extend(selectors);
        let selectors = first;
        let mut payloads = Vec::new();
        //= rfc7296#1.3.3/rekey-sa: names the SA by the SPI we receive it with.
        payloads.extend(replaces.map(|spi| {
            let protocol = child.protocol.into();
            Payload::Notify(Notify::about_child(protocol, NotifyType::REKEY_SA, spi.get()))
        }));
        if !child.tunnel {
            payloads.push(super::exchange::notify(NotifyType::USE_TRANSPORT_MODE));
        }
        payloads.push(Payload::Sa(offer_esp(&wishes(&child, in_auth), places.spi)));
        let nonce = if in_auth { Vec::new() } else { nonce(self.rng.as_mut(), NONCE_LEN) };
        if !in_auth {
            payloads.push(Payload::Nonce(nonce.clone()));
        }
        payloads.extend(dh.as_ref().map(ke));
        let (local, remote) = split(&selectors);
        payloads.extend([Payload::TsI(local), Payload::TsR(remote)]);
        let offer = ChildOffer {
            policy: child.policy,
            protocol: child.protocol,
            spi: places.spi,
            slot: places.slot,
            slot_out: places.slot_out,
            nonce,
            dh,
            replaces,
            packet: wanted.packet,
            collision: None,
            followup: None,
        };
        Some((offer, payloads))
    }

    /// What the peer made of our offer. On `Err` (said why) it believes in an SA that we do not want.
    pub(super) fn confirm_child(
        &mut self,
        sa: &mut IkeSa,
        offer: &ChildOffer,
        message: &Message,
        init: Option<InitNonces<'_>>,
        more: &[u8],
        cx: &mut Cx,
    ) -> Option<ChildSa> {
        let Some(child) = config_of(sa, offer.policy) else {
            self.say(sa, ReportLevel::Info, cx, "the policy was removed while its SA was negotiated".into());
            return None;
        };
        let exchange = if init.is_some() { AUTH } else { CREATE };
        let agreed = self.check_answer(sa, &child, offer, message, init).and_then(|mut agreed| {
            if template_of(sa, offer.policy).is_none() {
                return Ok((child, agreed));
            }
            let fit = Fit::of_template(child, std::mem::take(&mut agreed.selectors));
            let (child, also, selectors) = self.settle(sa, &fit, exchange, cx)?;
            Ok((child, Agreement { also, selectors, ..agreed }))
        });
        let (child, agreed) = agreed.map_err(|why| self.fail(sa, *why, cx)).ok()?;
        let places = Places { spi: offer.spi, slot: offer.slot, slot_out: offer.slot_out };
        Some(self.make_child(sa, &child, agreed, more, places, offer.replaces, cx.now))
    }
    fn check_answer(
        &self,
        sa: &IkeSa,
        child: &Child,
        offer: &ChildOffer,
        message: &Message,
        init: Option<InitNonces<'_>>,
    ) -> Result<Agreement, Box<Diagnosis>> {
        let exchange = if init.is_some() { AUTH } else { CREATE };
        let broken = |text: String| Box::new(explain::of_policy(Cause::Malformed, exchange, child, text));
        let odd = |error: crate::message::ParseError| broken(error.to_string());
        let proposals = message.sa().map_err(odd)?;
        let chosen = confirm_esp(proposals, &wishes(child, init.is_some()))
            .map_err(|m| Box::new(explain::child_proposal(child, exchange, &m)))?;
        let (ts_i, ts_r) = (message.ts_i().map_err(odd)?, message.ts_r().map_err(odd)?);
        //= rfc7296#2.9/subset: an answer that is wider than the offer is not accepted.
        let allowed = ranges(sa, child, offer.replaces);
        if !within_any(ts_i, ts_r, &allowed) {
            return Err(Box::new(explain::selectors_wider(child, exchange, ts_r, ts_i)));
        }
        let selectors = tidy(allowed.iter().flat_map(|range| narrow(ts_i, ts_r, range)).collect());
        if selectors.is_empty() {
            return Err(broken("the selectors of the answer contradict each other".into()));
        }
        //= rfc7296#2.9/additional: whether or not ADDITIONAL_TS_POSSIBLE says so, what is missing is asked for when a
        // packet wants it.
        let selectors =
            if child.any_port { tidy(selectors.into_iter().map(without_ports).collect()) } else { selectors };
        let old = offer.replaces.and_then(|spi| sa.children.iter().find(|c| c.inbound.spi == spi));
        let also = old.map_or_else(Vec::new, |old| old.also.clone());
        //= rfc7296#1.3.1/transport: transport mode only when both ends said so.
        let transport = message.notify(NotifyType::USE_TRANSPORT_MODE).is_some();
        if transport == child.tunnel {
            return Err(Box::new(explain::mode(&sa.peer, child, exchange)));
        }
        let shared = match (&offer.dh, chosen.group) {
            (Some(dh), Some(_)) => {
                let theirs = message.ke().map_err(odd)?;
                if theirs.group != dh.group().transform() {
                    return Err(broken("the KE payload is of another group than the chosen one".into()));
                }
                Some(dh.shared(&theirs.data).map_err(|e| broken(e.to_string()))?)
            }
            _ => None,
        };
        let (nonce_i, nonce_r) = match init {
            Some(init) => (init.i.to_vec(), init.r.to_vec()),
            None => (offer.nonce.clone(), message.nonce().map_err(odd)?.clone()),
        };
        let (mode, original) = (mode_of(child), None);
        Ok(Agreement { chosen, also, selectors, original, mode, shared, nonce_i, nonce_r, initiated: true })
    }

    /// The responder's side: what a child will be like and the payloads that say so, or the notify that refuses it.
    pub(super) fn answer_child(
        &mut self,
        sa: &mut IkeSa,
        message: &Message,
        replaces: Option<(Spi, Vec<PolicyId>)>,
        init: Option<InitNonces<'_>>,
        cx: &mut Cx,
    ) -> Result<(Terms, Vec<Payload>), Notify> {
        let exchange = if init.is_some() { AUTH } else { CREATE };
        let plain = |kind| Notify::new(kind, Vec::new());
        let (ts_i, ts_r) = match (message.ts_i(), message.ts_r()) {
            (Ok(i), Ok(r)) => (i, r),
            (Err(error), _) | (_, Err(error)) => {
                return Err(error.notify(true).unwrap_or(plain(NotifyType::INVALID_SYNTAX)));
            }
        };
        let transport = message.notify(NotifyType::USE_TRANSPORT_MODE).is_some();
        let (replaces, only) = replaces.map_or((None, Vec::new()), |(spi, only)| (Some(spi), only));
        let fit = pick(sa, &Asked { ts_i, ts_r, transport, only });
        let Some((child, fit)) = fit.and_then(|fit| Some((fit.terms()?.clone(), fit))) else {
            self.fail(sa, explain::selectors(sa, exchange, ts_i, ts_r), cx);
            return Err(plain(NotifyType::TS_UNACCEPTABLE));
        };
        let proposals =
            message.sa().map_err(|e| e.notify(true).unwrap_or(plain(NotifyType::NO_PROPOSAL_CHOSEN)))?;
        let chosen = match select_esp(proposals, &wishes(&child, init.is_some())) {
            Ok(chosen) => chosen,
            Err(mismatch) => {
                self.fail(sa, explain::child_proposal(&child, exchange, &mismatch), cx);
                return Err(plain(NotifyType::NO_PROPOSAL_CHOSEN));
            }
        };
        if !child.tunnel && !transport {
            self.fail(sa, explain::mode(&sa.peer, &child, exchange), cx);
            return Err(plain(NotifyType::NO_PROPOSAL_CHOSEN));
        }
        if child.protocol == Protocol::Ah && sa.encap().is_some() {
            self.fail(sa, explain::ah_behind_nat(&sa.peer, &child, exchange), cx);
            return Err(plain(NotifyType::NO_PROPOSAL_CHOSEN));
        }
        let original = if child.tunnel { None } else { originals(sa, ts_r, ts_i) };
        let (shared, own_ke) = self.pfs(&chosen, message)?;
        if sa.children.len() >= MAX_CHILDREN {
            let why = format!("{MAX_CHILDREN} here; make policies wider instead of more");
            self.fail(sa, explain::of_policy(Cause::TooManySas, exchange, &child, why), cx);
            return Err(plain(NotifyType::NO_ADDITIONAL_SAS));
        }
        let Some(places) = self.take_places(sa.local_spi) else {
            self.fail(sa, no_slots(&child), cx);
            return Err(plain(NotifyType::NO_ADDITIONAL_SAS));
        };
        let in_auth = init.is_some();
        let (nonce_i, nonce_r) = match init {
            Some(init) => (init.i.to_vec(), init.r.to_vec()),
            None => match message.nonce() {
                Ok(theirs) => (theirs.clone(), nonce(self.rng.as_mut(), NONCE_LEN)),
                Err(_) => {
                    self.give_back(&places);
                    return Err(plain(NotifyType::INVALID_SYNTAX));
                }
            },
        };
        let mut payloads = Vec::new();
        if !child.tunnel {
            payloads.push(super::exchange::notify(NotifyType::USE_TRANSPORT_MODE));
        }
        //= rfc7296#2.9/additional-told: what else would be acceptable needs an SA of its own.
        if fit.more {
            payloads.push(super::exchange::notify(NotifyType::ADDITIONAL_TS_POSSIBLE));
        }
        let mut answer = chosen.answer.clone();
        answer.spi = places.spi.get().to_be_bytes().to_vec();
        payloads.push(Payload::Sa(vec![answer]));
        if !in_auth {
            payloads.push(Payload::Nonce(nonce_r.clone()));
        }
        payloads.extend(own_ke);
        let (mut local, mut remote) = split(&fit.pairs());
        if let Some(original) = original {
            //= rfc7296#2.23.1/answer: with the addresses that the peer asked with.
            (local, remote) = (substituted(&local, original.local), substituted(&remote, original.remote));
        }
        payloads.extend([Payload::TsI(remote), Payload::TsR(local)]);
        let terms = Terms { fit, chosen, original, shared, nonce_i, nonce_r, places, replaces, in_auth };
        Ok((terms, payloads))
    }
    /// The child itself, after `more` key exchanges.
    pub(super) fn made_of(
        &mut self,
        sa: &mut IkeSa,
        terms: Terms,
        more: &[u8],
        cx: &mut Cx,
    ) -> Result<ChildSa, Notify> {
        let Terms { fit, chosen, original, shared, nonce_i, nonce_r, places, replaces, in_auth } = terms;
        let exchange = if in_auth { AUTH } else { CREATE };
        // The configuration may have changed since.
        let known = fit.terms().is_some_and(|child| config_of(sa, child.policy).is_some());
        let settled = if known { self.settle(sa, &fit, exchange, cx).map_err(Some) } else { Err(None) };
        let (child, also, selectors) = match settled {
            Ok(settled) => settled,
            Err(why) => {
                self.give_back(&places);
                if let Some(why) = why {
                    self.fail(sa, *why, cx);
                }
                return Err(Notify::new(NotifyType::TS_UNACCEPTABLE, Vec::new()));
            }
        };
        let mode = mode_of(&child);
        let agreed =
            Agreement { chosen, also, selectors, original, mode, shared, nonce_i, nonce_r, initiated: false };
        Ok(self.make_child(sa, &child, agreed, more, places, replaces, cx.now))
    }
    //= rfc7296#1.3.1/pfs: with a group chosen both KE payloads are there and of that group.
    fn pfs(
        &mut self,
        chosen: &ChosenEsp,
        message: &Message,
    ) -> Result<(Option<Secret>, Option<Payload>), Notify> {
        let Some(group) = chosen.group else { return Ok((None, None)) };
        let wrong = || Notify::new(NotifyType::INVALID_KE_PAYLOAD, group.transform().to_be_bytes().to_vec());
        let theirs = message.ke().map_err(|_| wrong())?;
        if theirs.group != group.transform() {
            return Err(wrong());
        }
        let bad = |_| Notify::new(NotifyType::INVALID_SYNTAX, Vec::new());
        let dh = DhPrivate::generate(group, self.rng.as_mut()).map_err(bad)?;
        Ok((Some(dh.shared(&theirs.data).map_err(bad)?), Some(ke(&dh))))
    }

    #[allow(clippy::too_many_arguments)]
    fn make_child(
        &mut self,
        sa: &mut IkeSa,
        child: &Child,
        agreed: Agreement,
        more: &[u8],
        places: Places,
        replaces: Option<Spi>,
        now: Now,
    ) -> ChildSa {
        let fresh = self.random_u8();
        let suite = agreed.chosen.suite;
        let shared = agreed.shared.as_ref().map(|s| (s.as_slice(), more));
        let keys = sa.keys.as_ref().map(|k| {
            child_keys(k.suite.prf, k.keys.d.expose(), shared, &agreed.nonce_i, &agreed.nonce_r, suite)
        });
        let of = |sending: bool| {
            let none = || EspKeys {
                encryption: ::sa::Key::empty(),
                salt: ::sa::Key::empty(),
                integrity: ::sa::Key::empty(),
            };
            keys.as_ref().map_or_else(none, |k| {
                if sending {
                    k.sending(agreed.initiated).clone()
                } else {
                    k.receiving(agreed.initiated).clone()
                }
            })
        };
        let timed = !child.lifetime.is_zero();
        sa.ph2_total += 1;
        ChildSa {
            policy: child.policy,
            also: agreed.also,
            inbound: Half { slot: places.slot, spi: places.spi, place: Place::Reserved, keys: of(false) },
            outbound: Half {
                slot: places.slot_out,
                spi: agreed.chosen.spi,
                place: Place::Reserved,
                keys: of(true),
            },
            protocol: child.protocol,
            mode: agreed.mode,
            original: agreed.original,
            suite,
            esn: agreed.chosen.esn,
            replay_window: child.replay_window,
            lifetime: lifetime_of(child, agreed.chosen.esn, fresh),
            low_nonce: agreed.nonce_i.min(agreed.nonce_r),
            selectors: agreed.selectors,
            state: ChildState::Active,
            initiated: agreed.initiated,
            replaces,
            created: now,
            soft_at: timed.then(|| now + soft_of(child.lifetime, fresh)),
            hard_at: timed.then(|| now + child.lifetime),
            gone_at: None,
            twin_at: Some(now + super::child::SETTLED),
        }
    }
}

//= rfc7296#2.9/single-pair: who wants one pair of addresses for each SA gets those of the packet that asks.
fn single(packet: &TrafficSelector, policy: &[TrafficSelector]) -> Option<TrafficSelector> {
    policy.iter().find_map(|s| {
        let (local, remote) = (packet.local.intersect(s.local)?, packet.remote.intersect(s.remote)?);
        Some(TrafficSelector { local, remote, ..*s })
    })
}
/// Each of theirs is inside one of ours.
fn within_any(local: &[Ts], remote: &[Ts], ours: &[TrafficSelector]) -> bool {
    let inside = |l: &[Ts], r: &[Ts]| ours.iter().any(|range| within(l, r, range));
    // Alone with something of ours on the other side.
    let some = |of: fn(&TrafficSelector) -> Ts| ours.iter().map(of).collect::<Vec<Ts>>();
    let (all_local, all_remote) = (some(local_of), some(remote_of));
    let one = std::slice::from_ref::<Ts>;
    !local.is_empty()
        && !remote.is_empty()
        && local.iter().all(|l| all_remote.iter().any(|r| inside(one(l), one(r))))
        && remote.iter().all(|r| all_local.iter().any(|l| inside(one(l), one(r))))
}
fn local_of(s: &TrafficSelector) -> Ts {
    Ts { protocol: s.protocol, ports: s.local_port, addresses: s.local }
}
fn remote_of(s: &TrafficSelector) -> Ts {
    Ts { protocol: s.protocol, ports: s.remote_port, addresses: s.remote }
}
fn no_slots(child: &Child) -> Diagnosis {
    let raise = "raise `system sa-slots` in the file, and start the gateway again".to_owned();
    explain::of_policy(Cause::NoSlots, CREATE, child, raise)
}
