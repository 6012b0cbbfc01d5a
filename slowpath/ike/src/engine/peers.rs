//! Which peer, identity and policy something belongs to, and when a peer is called.
use super::child::ChildState;
use super::ike_sa::{IkeSa, State, Task, Wanted};
use super::templates::to_ask_for;
use super::{Cx, Engine};
use crate::api::{Action, Check, Child, Config, Id, Identity, MatchBy, MyId, Now, Peer, Proof, RemoteId};
use crate::diagnosis::{Cause, Diagnosis};
use crate::message::{AuthMethod, Identification, Message};
use ::sa::{AddrRange, PolicyId, PortRange, Prefix, SaSlot, Spi, TrafficSelector};
use std::collections::HashSet;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

/// The wait before calling a peer again after so many failures.
fn pause(failures: u32, fresh: u8) -> Duration {
    let base = Duration::from_secs(1 << failures.min(6)).min(Duration::from_secs(60));
    base + base.mul_f64(f64::from(fresh) / 1024.0)
}

impl Engine {
    pub(super) fn apply(&mut self, config: Config, cx: &mut Cx) {
        self.slots.resize(config.sa_slots);
        self.heard.forget();
        self.peers = config.peers.iter().cloned().map(Arc::new).collect();
        self.by_name = self.peers.iter().map(|p| (p.name.clone(), Arc::clone(p))).collect();
        let (names, mut places) = (&self.by_name, std::mem::take(&mut self.places));
        places.retain(|name| names.get(name).is_some_and(|peer| peer.host.is_some()));
        self.places = places;
        self.index_addresses();
        self.dynamic.configure(&config.spd);
        self.index_policies();
        self.config = config;
        for local_spi in self.sas.keys().copied().collect::<Vec<_>>() {
            self.with_sa(local_spi, cx, |engine, sa, cx| engine.reconfigure(sa, cx));
        }
        self.starts.retain(|name| self.by_name.contains_key(name));
        self.redirects.retain(|name| self.by_name.contains_key(name));
        let is_live = |sa: &IkeSa| {
            matches!(
                sa.state,
                State::Established | State::InitSent(_) | State::Intermediate(_) | State::AuthSent(_)
            )
        };
        let live: HashSet<String> =
            self.sas.values().filter(|sa| is_live(sa)).map(|sa| sa.peer.name.clone()).collect();
        for peer in self.peers.clone() {
            if !live.contains(&peer.name) {
                self.schedule(&peer, Duration::ZERO, 0, cx.now);
            }
        }
    }
    /// An IKE SA lives on under its peer's new settings, without the children whose policies are gone.
    fn reconfigure(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        let Some(peer) = self.by_name.get(&sa.peer.name) else {
            self.close(sa, cx);
            return;
        };
        sa.peer = Arc::clone(peer);
        sa.refit();
        let mut wanted = std::mem::take(&mut sa.wanted);
        wanted.retain(|w| super::negotiate::config_of(sa, w.policy).is_some());
        sa.wanted = wanted;
        for at in 0..sa.children.len() {
            let child = &sa.children[at];
            let same = |c: &Child| {
                let mode = super::negotiate::mode_of(c);
                (c.policy, c.protocol, mode) == (child.policy, child.protocol, child.mode)
            };
            let made = sa.generated.iter().map(|made| &made.child);
            let same = sa.peer.children.iter().chain(made).any(same);
            let allowed = child.policies().all(|id| sa.allows(id));
            if child.is_live() && !(same && allowed) {
                let spi = child.inbound.spi;
                sa.push_task(Task::Delete(spi));
            }
        }
        if sa.is_established() && sa.initiator && !sa.peer.passive {
            self.want_all(sa);
        }
        self.check_path(sa);
        self.redirect_connected(sa);
    }
    /// A peer that is not passive and has children is called without being asked.
    pub(super) fn schedule(&mut self, peer: &Peer, wait: Duration, failures: u32, now: Now) {
        if !peer.passive && !to_ask_for(peer).is_empty() && self.places.current(peer).is_some() {
            self.starts.set(&peer.name, now + wait, failures);
        }
    }
    pub(super) fn call_again(&mut self, sa: &IkeSa, cx: &mut Cx) {
        let now = cx.now;
        self.next_address(&sa.peer, cx);
        self.fall_back(sa, cx);
        let failures = self.starts.failures(&sa.peer.name) + 1;
        let fresh = self.random_u8();
        let Some(peer) = self.by_name.get(&sa.peer.name).cloned() else { return };
        self.schedule(&peer, pause(failures, fresh), failures, now);
    }
    pub(super) fn run_starts(&mut self, cx: &mut Cx) {
        // A call in progress keeps its count of failures, and sets the next time when it fails.
        for name in self.starts.due(cx.now) {
            if self.live_sa(&name).is_some() {
                self.starts.remove(&name);
            } else if let Some(peer) = self.by_name.get(&name).cloned() {
                let wanted =
                    to_ask_for(&peer).into_iter().map(|policy| Wanted { policy, packet: None }).collect();
                self.call(&peer, wanted, cx);
            }
        }
    }

    /// The IKE SAs of a peer, without the one that is being worked on.
    pub(super) fn sas_of(&self, name: &str) -> impl DoubleEndedIterator<Item = &IkeSa> {
        self.known(self.filed.of_peer(name))
    }
    /// Those of them that are not being worked on.
    pub(super) fn known(
        &self,
        spis: impl DoubleEndedIterator<Item = u64>,
    ) -> impl DoubleEndedIterator<Item = &IkeSa> {
        spis.filter_map(|spi| self.sas.get(&spi)).map(|sa| &**sa)
    }
    /// The IKE SA that serves a peer: established, or being made by us.
    pub(super) fn live_sa(&self, name: &str) -> Option<u64> {
        let of = |wanted: fn(&State) -> bool| {
            let mut all = self.sas_of(name).filter(|sa| wanted(&sa.state));
            all.next_back().map(|sa| sa.local_spi)
        };
        of(|s| matches!(s, State::Established))
            .or_else(|| of(|s| matches!(s, State::InitSent(_) | State::Intermediate(_) | State::AuthSent(_))))
    }

    pub(super) fn want(&mut self, peer: &Arc<Peer>, wanted: Vec<Wanted>, cx: &mut Cx) {
        let Some(live) = self.live_sa(&peer.name) else {
            self.call(peer, wanted, cx);
            return;
        };
        self.with_sa(live, cx, |_, sa, _| {
            for w in wanted {
                if sa.is_established() {
                    if !sa.is_making(w.policy) {
                        sa.push_task(Task::Create(w));
                    }
                } else if !sa.wanted.iter().any(|x| x.policy == w.policy) {
                    sa.wanted.push(w);
                }
            }
        });
    }

    pub(super) fn on_acquire(
        &mut self,
        policy: PolicyId,
        (src, src_port): (IpAddr, u16),
        (dst, dst_port): (IpAddr, u16),
        protocol: u8,
        cx: &mut Cx,
    ) {
        let refuse = |cx: &mut Cx| cx.out.push(Action::AcquireFailed { policy, retry_ms: 10_000 });
        let Some(peer) = self.peer_for(policy) else { return refuse(cx) };
        let live = self.live_sa(&peer.name).and_then(|spi| self.sas.get(&spi)).map(|sa| &**sa);
        if live.is_none() && peer.passive {
            return refuse(cx);
        }
        // An SA that covers the packet is on its way to the fast path already.
        let covered = |sa: &IkeSa| {
            sa.children.iter().any(|c| {
                c.serves(policy)
                    && c.state == ChildState::Active
                    && c.selectors.iter().any(|s| {
                        s.local.contains(src)
                            && s.remote.contains(dst)
                            && s.protocol.is_none_or(|p| p == protocol)
                    })
            })
        };
        if live.is_some_and(covered) {
            return;
        }
        let has_ports = matches!(protocol, 6 | 17 | 132);
        let port = |p| if has_ports { PortRange::one(p) } else { PortRange::ANY };
        let packet =
            AddrRange::new(src, src).zip(AddrRange::new(dst, dst)).map(|(local, remote)| TrafficSelector {
                local,
                remote,
                protocol: Some(protocol),
                local_port: port(src_port),
                remote_port: port(dst_port),
            });
        self.want(&peer, vec![Wanted { policy, packet }], cx);
    }

    pub(super) fn on_initiate(&mut self, name: &str, policy: Option<PolicyId>, cx: &mut Cx) {
        let Some(peer) = self.by_name.get(name).cloned() else { return };
        let wanted = to_ask_for(&peer).into_iter().filter(|id| policy.is_none_or(|p| p == *id));
        let wanted: Vec<_> = wanted.map(|policy| Wanted { policy, packet: None }).collect();
        self.want(&peer, wanted, cx);
    }
    pub(super) fn on_terminate(&mut self, name: Option<&str>, cx: &mut Cx) {
        let is_it = |peer: &str| name.is_none_or(|n| n == peer);
        self.starts.retain(|peer| !is_it(peer));
        let gone: Vec<u64> = match name {
            Some(name) => self.filed.of_peer(name).collect(),
            None => self.sas.keys().copied().collect(),
        };
        for local_spi in gone {
            self.with_sa(local_spi, cx, |engine, sa, cx| engine.close(sa, cx));
        }
    }
    /// The number of the IKE SA with this SPI of its initiator.
    fn with_spi_i(&self, spi_i: u64) -> Option<u64> {
        self.sas.iter().find(|(_, sa)| sa.spi_i() == spi_i).map(|(number, _)| *number)
    }
    pub(super) fn on_terminate_sa(&mut self, spi_i: u64, cx: &mut Cx) {
        if let Some(chosen) = self.with_spi_i(spi_i) {
            self.with_sa(chosen, cx, |engine, sa, cx| engine.close(sa, cx));
        }
    }
    pub(super) fn on_rekey_sa(&mut self, spi_i: u64, cx: &mut Cx) {
        if let Some(chosen) = self.with_spi_i(spi_i) {
            self.with_sa(chosen, cx, |_, sa, _| sa.push_task(Task::RekeyIke));
        }
    }
    pub(super) fn on_rekey_ike(&mut self, name: &str, cx: &mut Cx) {
        if let Some(live) = self.live_sa(name) {
            self.with_sa(live, cx, |_, sa, _| sa.push_task(Task::RekeyIke));
        }
    }
    pub(super) fn on_rekey_child(&mut self, slot: SaSlot, cx: &mut Cx) {
        let Some(owner) = self.slots.owner(slot) else { return };
        self.with_sa(owner, cx, |_, sa, _| {
            let found = sa.children.iter().find(|c| c.inbound.slot == slot || c.outbound.slot == slot);
            if let Some(spi) = found.map(|c| c.inbound.spi) {
                sa.push_task(Task::Rekey(spi));
            }
        });
    }
    pub(super) fn on_traffic(&mut self, slot: SaSlot, spi: Spi, cx: &mut Cx) {
        let Some(owner) = self.slots.owner(slot) else { return };
        self.with_sa(owner, cx, |engine, sa, cx| {
            //= rfc7296#2.4/esp-is-life: protected traffic of any of its SAs shows that the peer is alive.
            sa.last_seen = cx.now;
            let at = sa.children.iter().position(|c| c.inbound.slot == slot && c.inbound.spi == spi);
            if let Some(at) = at
                && sa.children[at].state == ChildState::AwaitingSwitch
            {
                engine.switch_to(sa, at, cx);
            }
        });
    }

    //= rfc7296#2.23/dynamic-update: authentic ESP from a new place moves the peer, unless we are the one behind the NAT.
    pub(super) fn on_peer_moved(&mut self, slot: SaSlot, spi: Spi, from: SocketAddr, cx: &mut Cx) {
        let Some(owner) = self.slots.owner(slot) else { return };
        self.with_sa(owner, cx, |engine, sa, cx| {
            let known = sa.children.iter().any(|c| c.inbound.slot == slot && c.inbound.spi == spi);
            if known && sa.nat_remote && !sa.nat_local && from != sa.remote && sa.follows(from) {
                let local = sa.local;
                engine.move_to(sa, local, from, cx);
            }
        });
    }

    /// Our end and the peer's when we call it.
    pub(super) fn ends_of(&self, peer: &Peer) -> Result<(SocketAddr, SocketAddr), &'static str> {
        let told = self.redirects.target(&peer.name);
        let remote = told.or(self.places.current(peer)).ok_or(match peer.host {
            Some(_) => "its name has not led to an address yet",
            None => "its address is a network: only a host can be called",
        })?;
        let routed = || {
            let fitting = self.config.sources.iter().filter(|(prefix, _)| prefix.contains(remote));
            fitting.max_by_key(|(prefix, _)| prefix.len()).map(|(_, local)| *local)
        };
        let local = peer
            .local_address
            .or_else(routed)
            .ok_or("no route leads to it; add one, or set local-address")?;
        let port = if peer.port == 0 { 500 } else { peer.port };
        Ok((SocketAddr::new(local, 500), SocketAddr::new(remote, port)))
    }
    pub(super) fn cannot_call(&mut self, peer: &Peer, wanted: &[Wanted], why: &str, cx: &mut Cx) {
        let why = Diagnosis::new(Cause::CannotCall, super::explain::INIT).detail(why);
        self.fail_of(&peer.name, None, why, cx);
        for w in wanted {
            cx.out.push(Action::AcquireFailed { policy: w.policy, retry_ms: 10_000 });
        }
    }
}

pub(super) fn host(prefix: Prefix) -> Option<IpAddr> {
    (prefix == Prefix::host(prefix.addr())).then(|| prefix.addr())
}

/// Our certificate, if we have one for it.
fn own_certificate(identity: &Identity) -> Option<&pki::Certificate> {
    match &identity.auth.ours {
        Proof::Signature(signer) => signer.certificate().map(|c| &**c),
        _ => None,
    }
}
/// What RouterOS's `my-id` says: `auto` is the first name of our certificate, its subject, or our address.
pub(super) fn own_id(identity: &Identity, local: IpAddr) -> Id {
    match (&identity.my_id, own_certificate(identity)) {
        (MyId::Id(id), _) => id.clone(),
        (MyId::Auto, None) => Id::Address(local),
        (MyId::Auto, Some(own)) => {
            let named = own.sans().iter().find_map(|san| match san {
                pki::San::Dns(name) => Some(Id::Fqdn(name.clone())),
                pki::San::Email(name) => Some(Id::UserFqdn(name.clone())),
                pki::San::Ip(address) => Some(Id::Address(*address)),
                pki::San::Directory(_) => None,
            });
            named.unwrap_or_else(|| Id::Dn(own.subject().to_vec()))
        }
    }
}
/// The ID we send.
pub(super) fn my_id(identity: &Identity, local: IpAddr) -> Identification {
    Identification::from(&own_id(identity, local))
}
/// The ID we answer with: of several names of our certificate the one we were called by.
pub(super) fn my_id_for(
    identity: &Identity,
    local: IpAddr,
    asked: Option<&Identification>,
) -> Identification {
    let called = asked.and_then(|asked| Id::try_from(asked).ok());
    match (&identity.my_id, own_certificate(identity), called) {
        (MyId::Auto, Some(own), Some(called)) if own.names(claimed(&called)) => Identification::from(&called),
        _ => my_id(identity, local),
    }
}
/// As certificates have it.
pub(super) fn claimed(id: &Id) -> pki::Claimed<'_> {
    match id {
        Id::Address(address) => pki::Claimed::Address(*address),
        Id::Fqdn(name) => pki::Claimed::Fqdn(name),
        Id::UserFqdn(name) => pki::Claimed::Email(name),
        Id::KeyId(bytes) => pki::Claimed::KeyId(bytes),
        Id::Dn(der) => pki::Claimed::Dn(der),
    }
}
fn same_id(a: &Id, b: &Id) -> bool {
    match (a, b) {
        (Id::Dn(a), Id::Dn(b)) => pki::name::same(a, b),
        (a, b) => a == b,
    }
}

/// Whether the peer may call itself so, with the certificate it sends.
fn accepts(identity: &Identity, theirs: &Identification, message: &Message) -> bool {
    match (identity.match_by, &identity.auth.theirs) {
        (MatchBy::Certificate, Check::Certificate { only: Some(only), .. }) => {
            message.certificates().next().is_some_and(|first| first.data == only.der())
        }
        _ => takes(identity, theirs),
    }
}
/// Whether the peer may call itself so.
pub(super) fn takes(identity: &Identity, theirs: &Identification) -> bool {
    match &identity.remote_id {
        RemoteId::Ignore => true,
        RemoteId::Auto => Id::try_from(theirs).is_ok(),
        RemoteId::Id(id) => Id::try_from(theirs).is_ok_and(|t| same_id(&t, id)),
    }
}
/// The responder's identity for an initiator: by its certificate or ID, exact entries before those that take any, then
/// by the method, then by the authorities it believes; an IDr it sent must be ours.
pub(super) fn identity_for<'a>(
    sa: &'a IkeSa,
    id_i: &Identification,
    id_r: Option<&Identification>,
    message: &Message,
) -> Option<&'a Identity> {
    let called = id_r.map(Id::try_from);
    let asked_for_us = |identity: &Identity| match (&called, &identity.my_id) {
        (None, _) => true,
        (Some(Err(_)), _) => false,
        (Some(Ok(called)), MyId::Id(id)) => same_id(called, id),
        (Some(Ok(called)), MyId::Auto) => match own_certificate(identity) {
            Some(own) => own.names(claimed(called)),
            // Behind a NAT the address we are called by is not one of ours.
            None => matches!(called, Id::Address(_)),
        },
    };
    let fitting = sa.peer.identities.iter().filter(|i| accepts(i, id_i, message) && asked_for_us(i));
    let with_secret = message.auth().is_ok_and(|a| a.method == AuthMethod::SHARED_KEY_MIC);
    fitting.min_by_key(|i| {
        let exact = i.match_by == MatchBy::Certificate || matches!(i.remote_id, RemoteId::Id(_));
        let by_secret = matches!(i.auth.theirs, Check::Secret(_));
        let believed = match &i.auth.ours {
            Proof::Signature(signer) => signer.leads_to(&sa.known.authorities),
            _ => false,
        };
        (!exact, by_secret != with_secret, !believed)
    })
}
