//! Peers with several addresses, and policies with several peers: who is tried next (RouterOS `peer=a,b`).
use super::ike_sa::{IkeSa, State, Task, Wanted};
use super::index::ByAddress;
use super::peers::host;
use super::{Cx, Engine};
use crate::api::{Action, Peer};
use crate::diagnosis::{Cause, Diagnosis};
use ::sa::{PolicyId, Prefix};
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Where peers with names are.
#[derive(Default)]
pub(super) struct Places(HashMap<String, Place>);
#[derive(Default)]
struct Place {
    addresses: Vec<IpAddr>,
    /// The one that is tried, or in use.
    at: usize,
    /// Why there is none.
    why: Option<String>,
}
impl Places {
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| keep(name));
    }
    /// Where we call it.
    pub fn current(&self, peer: &Peer) -> Option<IpAddr> {
        match peer.host {
            None => host(peer.address),
            Some(_) => self.0.get(&peer.name).and_then(|place| place.addresses.get(place.at).copied()),
        }
    }
    /// From where it may call us.
    pub fn all<'a>(&'a self, peer: &'a Peer) -> impl Iterator<Item = Prefix> + 'a {
        let named = self.0.get(&peer.name).filter(|_| peer.host.is_some());
        let fixed = peer.host.is_none().then_some(peer.address);
        fixed
            .into_iter()
            .chain(named.into_iter().flat_map(|place| &place.addresses).map(|a| Prefix::host(*a)))
    }
    pub fn why(&self, peer: &Peer) -> Option<&str> {
        self.0.get(&peer.name).and_then(|place| place.why.as_deref())
    }
}

impl Engine {
    /// A peer's name stands for these addresses now, or for none.
    pub(super) fn on_resolved(&mut self, name: &str, found: Result<Vec<IpAddr>, String>, cx: &mut Cx) {
        let Some(peer) = self.by_name.get(name).filter(|peer| peer.host.is_some()).cloned() else { return };
        let place = self.places.0.entry(name.to_owned()).or_default();
        let addresses = match found {
            Ok(addresses) => addresses,
            Err(why) => {
                // What was known stays good until something better is known.
                if place.why.as_ref() != Some(&why) {
                    place.why = Some(why.clone());
                    let text =
                        format!("its address `{}` is not found: {why}", peer.host.as_deref().unwrap_or(""));
                    let why = Diagnosis::new(Cause::CannotCall, super::explain::INIT).detail(text);
                    self.fail_of(name, None, why, cx);
                }
                return;
            }
        };
        place.why = None;
        if place.addresses == addresses {
            return;
        }
        let before = place.addresses.get(place.at).copied();
        // Servers turn their answers round: the one in use stays in use while it is among them.
        place.at = before.and_then(|now| addresses.iter().position(|a| *a == now)).unwrap_or(0);
        place.addresses = addresses;
        self.index_addresses();
        // Who waits for this need not wait longer.
        if self.live_sa(name).is_none_or(|spi| !self.is_up(spi)) {
            let calling: Vec<u64> = self
                .sas_of(name)
                .filter(|sa| matches!(sa.state, State::InitSent(_)))
                .map(|sa| sa.local_spi)
                .collect();
            let there = self.places.current(&peer);
            for spi in calling {
                self.with_sa(spi, cx, |engine, sa, cx| {
                    if Some(sa.remote.ip()) != there {
                        engine.give_up_call(sa, cx);
                    }
                });
            }
            self.schedule(&peer, std::time::Duration::ZERO, 0, cx.now);
        }
    }
    fn is_up(&self, spi: u64) -> bool {
        self.sas.get(&spi).is_some_and(|sa| sa.is_established())
    }
    /// A call has failed: the next address of the name is tried, and the name looked up again.
    pub(super) fn next_address(&mut self, peer: &Peer, cx: &mut Cx) {
        if peer.host.is_none() {
            return;
        }
        if let Some(place) = self.places.0.get_mut(&peer.name)
            && !place.addresses.is_empty()
        {
            place.at = (place.at + 1) % place.addresses.len();
        }
        cx.out.push(Action::Resolve { peer: peer.name.clone() });
    }

    pub(super) fn index_addresses(&mut self) {
        let each = self.peers.iter().flat_map(|peer| self.places.all(peer).map(move |at| (peer, at)));
        self.by_address = ByAddress::of(each);
    }
    pub(super) fn index_policies(&mut self) {
        self.by_policy.clear();
        self.backups.clear();
        for peer in &self.peers {
            for child in peer.children.iter().filter(|child| child.backup == 0) {
                self.by_policy.insert(child.policy, Arc::clone(peer));
            }
        }
        let children =
            self.peers.iter().flat_map(|peer| peer.children.iter().map(move |child| (child, peer)));
        let mut behind: Vec<_> = children.filter(|(child, _)| child.backup > 0).collect();
        behind.sort_by_key(|(child, _)| child.backup);
        for (child, peer) in behind {
            let first = self.by_policy.get(&child.policy).cloned();
            let all = self.backups.entry(child.policy).or_insert_with(|| first.into_iter().collect());
            all.push(Arc::clone(peer));
        }
    }
    /// Where peers with names are, or why nowhere.
    pub(super) fn resolved(&self) -> Vec<(String, Result<IpAddr, String>)> {
        let named = self.peers.iter().filter(|peer| peer.host.is_some());
        let place = |peer: &Arc<Peer>| {
            let why = || self.places.why(peer).unwrap_or("not looked up yet").to_owned();
            (peer.name.clone(), self.places.current(peer).ok_or_else(why))
        };
        named.map(place).collect()
    }

    /// The peers of a policy, the preferred one first.
    fn peers_of(&self, policy: PolicyId) -> &[Arc<Peer>] {
        self.backups.get(&policy).map_or(&[], Vec::as_slice)
    }
    /// Who is asked for an SA of this policy: the first that is there, else the first.
    pub(super) fn peer_for(&self, policy: PolicyId) -> Option<Arc<Peer>> {
        let up = |peer: &&Arc<Peer>| self.live_sa(&peer.name).is_some_and(|spi| self.is_up(spi));
        self.peers_of(policy).iter().find(up).cloned().or_else(|| self.by_policy.get(&policy).cloned())
    }
    /// The peer is not there: for each of its policies the next one is asked, unless one serves it already.
    pub(super) fn fall_back(&mut self, gone: &IkeSa, cx: &mut Cx) {
        if self.backups.is_empty() {
            return;
        }
        let policies: Vec<PolicyId> = gone.peer.children.iter().map(|child| child.policy).collect();
        for policy in policies {
            let peers = self.peers_of(policy).to_vec();
            let Some(at) = peers.iter().position(|peer| peer.name == gone.peer.name) else { continue };
            let serves = |peer: &Arc<Peer>| {
                self.sas_of(&peer.name).any(|sa| sa.is_established() && sa.is_served(policy))
            };
            if peers.iter().any(serves) {
                continue;
            }
            // Behind the last one nobody is left: the first ones are called again in their own time.
            if let Some(next) = peers.get(at + 1) {
                self.want(next, vec![Wanted { policy, packet: None }], cx);
            }
        }
    }
    /// A peer serves the policy again: those behind it need not any more.
    pub(super) fn take_back(&mut self, peer: &Peer, policy: PolicyId, cx: &mut Cx) {
        let peers = self.peers_of(policy).to_vec();
        let Some(at) = peers.iter().position(|p| p.name == peer.name) else { return };
        for behind in peers.iter().skip(at + 1) {
            let spis: Vec<u64> = self.sas_of(&behind.name).map(|sa| sa.local_spi).collect();
            for spi in spis {
                self.with_sa(spi, cx, |_, sa, _| {
                    sa.wanted.retain(|w| w.policy != policy);
                    sa.tasks.retain(|t| !matches!(t, Task::Create(w) if w.policy == policy));
                    let live: Vec<_> = sa
                        .children
                        .iter()
                        .filter(|c| c.policy == policy && c.is_live())
                        .map(|c| c.inbound.spi)
                        .collect();
                    live.into_iter().for_each(|spi| sa.push_task(Task::Delete(spi)));
                });
            }
        }
    }
}
