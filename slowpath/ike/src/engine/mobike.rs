//! Addresses that change under an IKE SA (RFC 4555), both roles.
//!
//! ```text
//! I → R  INFORMATIONAL  UPDATE_SA_ADDRESSES natd COOKIE2      from the new address
//! R → I                 natd COOKIE2                          I moves its SAs
//! R → I  INFORMATIONAL  COOKIE2                               to the new address
//! I → R                 COOKIE2                               R moves its SAs
//! ```
//! Row C13: nothing moves before the other end has answered from there.
use super::ike_sa::{Exchange, IkeSa, Task};
use super::init::{nat_between, natds};
use super::{Cx, Engine};
use crate::api::{Datagram, ReportLevel};
use crate::crypto::{nonce, same};
use crate::diagnosis::{Cause, Diagnosis};
use crate::message::{ExchangeType, Message, Notify, NotifyType, Payload};
use std::net::{IpAddr, SocketAddr};

/// Addresses of a peer that are remembered.
const MAX_ADDRESSES: usize = 8;

/// A pair of addresses that is to be proven.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub(super) struct Path {
    pub local: SocketAddr,
    pub remote: SocketAddr,
    /// We, or they, are behind a NAT there; an initiator learns it from the answer.
    pub nat: Option<(bool, bool)>,
    pub cookie: Vec<u8>,
}

impl IkeSa {
    /// Where our requests go: to the path that is being proven, if there is one.
    pub(super) fn ends(&self) -> (SocketAddr, SocketAddr) {
        self.detour.unwrap_or((self.local, self.remote))
    }
    //= rfc4555#3.8/no-dynamic-update: with MOBIKE a new address has to be told; only a port is followed.
    pub(super) fn follows(&self, remote: SocketAddr) -> bool {
        !self.agreed.mobike || remote.ip() == self.remote.ip()
    }
}

impl Engine {
    /// Ours has changed: the IKE SA goes to the new path, when the peer has answered there.
    pub(super) fn take_path(&mut self, sa: &mut IkeSa, local: SocketAddr, remote: SocketAddr) {
        self.prove(sa, Path { local, remote, nat: None, cookie: Vec::new() });
    }
    fn prove(&mut self, sa: &mut IkeSa, mut path: Path) {
        path.cookie = nonce(self.rng.as_mut(), 32);
        sa.detour = Some((path.local, path.remote));
        sa.tasks.retain(|t| !matches!(t, Task::Prove(_)));
        sa.tasks.push_front(Task::Prove(path));
    }
    //= rfc4555#4.2.5/cookie2: eight to 64 octets that the other end repeats.
    pub(super) fn send_path(&mut self, sa: &mut IkeSa, path: Path, cx: &mut Cx) {
        let mut payloads = Vec::new();
        if path.nat.is_none() {
            payloads.push(super::exchange::notify(NotifyType::UPDATE_SA_ADDRESSES));
            payloads.extend(natds(sa.spi_i(), sa.spi_r(), path.local, path.remote));
        }
        payloads.push(Payload::Notify(Notify::new(NotifyType::COOKIE2, path.cookie.clone())));
        let what = Exchange::Prove(Box::new(path));
        self.request(sa, ExchangeType::INFORMATIONAL, payloads, what, cx);
    }
    pub(super) fn on_path_proven(
        &mut self,
        sa: &mut IkeSa,
        path: Path,
        d: &Datagram,
        message: &Message,
        cx: &mut Cx,
    ) {
        let current = sa.detour == Some((path.local, path.remote));
        if let Some(error) = message.error() {
            //= rfc4555#3.5/unacceptable: the addresses stay as they were.
            sa.detour = sa.detour.filter(|_| !current);
            let text =
                format!("the peer refuses {}: {}; the IKE SA stays where it is", path.local, error.kind);
            return self.say(sa, ReportLevel::Warning, cx, text);
        }
        //= rfc4555#3.7/mismatch: an answer without the cookie closes the IKE SA.
        if !message.notify(NotifyType::COOKIE2).is_some_and(|n| same(&n.data, &path.cookie)) {
            let why = "an answer without COOKIE2 from a new address; the IKE SA is closed";
            self.fail(sa, Diagnosis::new(Cause::Malformed, super::explain::INFORMATIONAL).detail(why), cx);
            return self.lose(sa, cx);
        }
        // Meanwhile it has moved on.
        if !current {
            return;
        }
        sa.detour = None;
        (sa.nat_local, sa.nat_remote) = path.nat.unwrap_or_else(|| nat_between(message, d));
        self.move_to(sa, path.local, path.remote, cx);
    }

    /// What an INFORMATIONAL request asks of addresses, and what is answered.
    pub(super) fn on_mobike_request(
        &mut self,
        sa: &mut IkeSa,
        d: &Datagram,
        message: &Message,
        cx: &mut Cx,
    ) -> Vec<Payload> {
        if !sa.agreed.mobike || !sa.is_established() {
            return Vec::new();
        }
        //= rfc4555#3.9/nat-prohibition: the addresses that the sender wrote down are not those on the packet.
        if message.notify(NotifyType::NO_NATS_ALLOWED).is_some_and(|n| n.data != addresses_of(d)) {
            let text = format!("{} forbids NATs, and there is one on the way", d.remote);
            self.say(sa, ReportLevel::Warning, cx, text);
            return vec![super::exchange::notify(NotifyType::UNEXPECTED_NAT_DETECTED)];
        }
        self.note_addresses(sa, message);
        let id = message.header.message_id;
        let asked = message.notify(NotifyType::UPDATE_SA_ADDRESSES).is_some();
        //= rfc4555#3.5/initiator-decides: only the original initiator moves an SA, and the newest request counts.
        if asked && !sa.initiator && Some(id) > sa.agreed.updated {
            sa.agreed.updated = Some(id);
            self.update(sa, d, message);
        }
        let mut answer = Vec::new();
        //= rfc4555#3.8/natd-answer: with NAT detection in the request there is one in the answer.
        if message.notify(NotifyType::NAT_DETECTION_SOURCE_IP).is_some() {
            answer.extend(natds(sa.spi_i(), sa.spi_r(), d.local, d.remote));
        }
        let cookies = message.notifies().filter(|n| n.kind == NotifyType::COOKIE2).take(1);
        answer.extend(cookies.map(|n| Payload::Notify(n.clone())));
        answer
    }
    fn update(&mut self, sa: &mut IkeSa, d: &Datagram, message: &Message) {
        let nat = nat_between(message, d);
        if (d.local, d.remote, nat) == (sa.local, sa.remote, (sa.nat_local, sa.nat_remote)) {
            sa.detour = None;
            sa.tasks.retain(|t| !matches!(t, Task::Prove(_)));
            return;
        }
        self.prove(sa, Path { local: d.local, remote: d.remote, nat: Some(nat), cookie: Vec::new() });
    }
    //= rfc4555#3.6/additional: each list replaces the one before.
    pub(super) fn note_addresses(&mut self, sa: &mut IkeSa, message: &Message) {
        let read = |n: &Notify| match n.kind {
            NotifyType::ADDITIONAL_IP4_ADDRESS => {
                <[u8; 4]>::try_from(n.data.as_slice()).ok().map(IpAddr::from)
            }
            NotifyType::ADDITIONAL_IP6_ADDRESS => {
                <[u8; 16]>::try_from(n.data.as_slice()).ok().map(IpAddr::from)
            }
            _ => None,
        };
        let listed: Vec<IpAddr> = message.notifies().filter_map(read).take(MAX_ADDRESSES).collect();
        if sa.agreed.mobike
            && (!listed.is_empty() || message.notify(NotifyType::NO_ADDITIONAL_ADDRESSES).is_some())
        {
            (sa.agreed.addresses, sa.dirty) = (listed, true);
        }
    }

    //= rfc4555#3.8/natd-in-dpd: how the peer sees us is part of a sign of life.
    pub(super) fn liveness_payloads(&self, sa: &IkeSa) -> Vec<Payload> {
        if sa.agreed.mobike && sa.initiator {
            natds(sa.spi_i(), sa.spi_r(), sa.local, sa.remote).into()
        } else {
            Vec::new()
        }
    }
    /// The NAT in front of us shows us differently: the peer is told where we are now.
    pub(super) fn on_alive(&mut self, sa: &mut IkeSa, message: &Message) {
        let seen = message.notify(NotifyType::NAT_DETECTION_DESTINATION_IP).map(|n| n.data.clone());
        if !sa.agreed.mobike || seen.is_none() {
            return;
        }
        let before = std::mem::replace(&mut sa.seen_as, seen);
        if sa.initiator && before.is_some() && before != sa.seen_as {
            self.take_path(sa, sa.local, sa.remote);
        }
    }
    /// The configuration may have given us another address towards the peer.
    pub(super) fn check_path(&mut self, sa: &mut IkeSa) {
        if !(sa.agreed.mobike && sa.initiator && sa.is_established()) {
            return;
        }
        let Ok((local, _)) = self.ends_of(&sa.peer) else { return };
        let now = sa.ends().0;
        if local.ip() != now.ip() && local.is_ipv4() == now.is_ipv4() {
            self.take_path(sa, SocketAddr::new(local.ip(), now.port()), sa.remote);
        }
    }
}

/// Source, destination and ports of a packet, as NO_NATS_ALLOWED has them (RFC 4555 4.2.6).
fn addresses_of(d: &Datagram) -> Vec<u8> {
    let mut out = Vec::with_capacity(36);
    for ip in [d.remote.ip(), d.local.ip()] {
        match ip {
            IpAddr::V4(ip) => out.extend(ip.octets()),
            IpAddr::V6(ip) => out.extend(ip.octets()),
        }
    }
    out.extend(d.remote.port().to_be_bytes());
    out.extend(d.local.port().to_be_bytes());
    out
}
