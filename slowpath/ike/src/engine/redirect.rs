//! Being sent to another gateway, and sending others there (RFC 5685): in IKE_SA_INIT, and when connected.
use super::ike_sa::{Exchange, IkeSa, State, Task};
use super::{Cx, Engine};
use crate::api::{Datagram, Now, Peer, ReportLevel};
use crate::crypto::same;
use crate::message::{ExchangeType, Message, Notify, NotifyType, Payload};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

//= rfc5685#6/loops: so often in so long, and no more.
const MOST: usize = 5;
const WITHIN: Duration = Duration::from_secs(300);
/// Who was sent elsewhere has so long to go.
const LEAVE: Duration = Duration::from_secs(30);

/// Where peers are now instead of where they are configured.
#[derive(Default)]
pub(super) struct Redirects(HashMap<String, Redirected>);
struct Redirected {
    /// `None`: back at the configured one.
    to: Option<IpAddr>,
    from: IpAddr,
    times: VecDeque<Now>,
}
impl Redirects {
    pub fn target(&self, peer: &str) -> Option<IpAddr> {
        self.0.get(peer)?.to
    }
    fn origin(&self, peer: &str) -> Option<IpAddr> {
        self.0.get(peer).filter(|r| r.to.is_some()).map(|r| r.from)
    }
    /// False: it has been sent around too often.
    fn follow(&mut self, peer: &str, from: IpAddr, to: IpAddr, now: Now) -> bool {
        let entry =
            self.0.entry(peer.to_owned()).or_insert(Redirected { to: None, from, times: VecDeque::new() });
        entry.times.retain(|t| now.saturating_sub(*t) < WITHIN);
        let allowed = entry.times.len() < MOST && to != from;
        if allowed {
            entry.times.push_back(now);
            (entry.to, entry.from) = (Some(to), from);
        }
        allowed
    }
    /// It did not work out there.
    pub fn back(&mut self, peer: &str) {
        if let Some(entry) = self.0.get_mut(peer) {
            entry.to = None;
        }
    }
    pub fn retain(&mut self, keep: impl Fn(&str) -> bool) {
        self.0.retain(|name, _| keep(name));
    }
}

//= rfc5685#9.2/identity: type, length, and an address or a name.
fn identity(gateway: IpAddr) -> Vec<u8> {
    match gateway {
        IpAddr::V4(ip) => [&[1, 4][..], &ip.octets()].concat(),
        IpAddr::V6(ip) => [&[2, 16][..], &ip.octets()].concat(),
    }
}
/// The gateway and what stands behind it; of a name, only that it is one.
fn read(data: &[u8]) -> Option<(Option<IpAddr>, &[u8])> {
    let (head, rest) = data.split_at_checked(2)?;
    let (named, rest) = rest.split_at_checked(usize::from(*head.last()?))?;
    let address = match head.first()? {
        1 => Some(IpAddr::from(<[u8; 4]>::try_from(named).ok()?)),
        2 => Some(IpAddr::from(<[u8; 16]>::try_from(named).ok()?)),
        3 => None,
        _ => return None,
    };
    Some((address, rest))
}

impl Engine {
    /// Where a caller is to go instead; before anything is computed for it.
    pub(super) fn elsewhere(&self, d: &Datagram, request: &Message, nonce_i: &[u8]) -> Option<Notify> {
        let to = self.config.extensions.redirect_to.filter(|to| *to != d.local.ip())?;
        let can = |kind| request.notify(kind).is_some();
        if !can(NotifyType::REDIRECT_SUPPORTED) && !can(NotifyType::REDIRECTED_FROM) {
            return None;
        }
        //= rfc5685#3/nonce: the initiator's nonce shows that the answer is one.
        let data = [&identity(to), nonce_i].concat();
        Some(Notify::new(NotifyType::REDIRECT, data))
    }
    /// Those that are connected are told when the setting changes.
    pub(super) fn redirect_connected(&self, sa: &mut IkeSa) {
        let to = self.config.extensions.redirect_to.filter(|to| *to != sa.local.ip());
        if to.is_some()
            && sa.agreed.redirect
            && !sa.initiator
            && sa.is_established()
            && sa.agreed.leave_at.is_none()
        {
            sa.push_task(Task::Redirect);
        }
    }
    //= rfc5685#5/during: an INFORMATIONAL request of the gateway.
    pub(super) fn send_redirect(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        let Some(to) = self.config.extensions.redirect_to else { return };
        let told = Payload::Notify(Notify::new(NotifyType::REDIRECT, identity(to)));
        self.request(sa, ExchangeType::INFORMATIONAL, vec![told], Exchange::Redirect, cx);
    }
    pub(super) fn on_redirected(&mut self, sa: &mut IkeSa, cx: &Cx) {
        sa.agreed.leave_at = Some(cx.now + LEAVE);
    }

    //= rfc5685#3/redirected-from: the new gateway hears who has sent us.
    pub(super) fn redirected_from(&self, peer: &Peer) -> Option<Payload> {
        let from = self.redirects.origin(&peer.name)?;
        Some(Payload::Notify(Notify::new(NotifyType::REDIRECTED_FROM, identity(from))))
    }
    /// In the answer to our IKE_SA_INIT; nothing in it is authentic but our own nonce.
    pub(super) fn on_init_redirect(&mut self, sa: &mut IkeSa, told: &Notify, cx: &mut Cx) {
        let State::InitSent(init) = &sa.state else { return };
        let right = read(&told.data).filter(|(_, nonce)| same(nonce, &init.nonce));
        let Some((to, _)) = right.filter(|_| sa.peer.profile.extensions.follow_redirects) else {
            return self.counters.refuse(super::counters::Refused::Malformed);
        };
        if self.go_to(sa, to, cx) {
            let (peer, wanted) = (std::sync::Arc::clone(&sa.peer), std::mem::take(&mut sa.wanted));
            sa.dead = true;
            self.call(&peer, wanted, cx);
        }
    }
    /// From a gateway that we are connected with.
    pub(super) fn on_redirect_request(&mut self, sa: &mut IkeSa, message: &Message, cx: &mut Cx) {
        let Some(told) = message.notify(NotifyType::REDIRECT) else { return };
        let wished = sa.initiator && sa.is_established() && sa.peer.profile.extensions.follow_redirects;
        if let Some((to, _)) = read(&told.data).filter(|_| wished)
            && !sa.agreed.superseded
            && self.go_to(sa, to, cx)
        {
            self.supplant(sa, cx);
        }
    }
    fn go_to(&mut self, sa: &IkeSa, to: Option<IpAddr>, cx: &mut Cx) -> bool {
        let from = sa.remote.ip();
        let Some(to) = to else {
            let text = "the peer sends us to a gateway by name; only addresses are followed".into();
            self.say(sa, ReportLevel::Warning, cx, text);
            return false;
        };
        let goes = self.redirects.follow(&sa.peer.name, from, to, cx.now);
        let text = match goes {
            true => format!("the peer sends us to {to}"),
            false => format!("the peer sends us to {to}, which is not followed: it has been too often"),
        };
        self.say(sa, if goes { ReportLevel::Info } else { ReportLevel::Warning }, cx, text);
        goes
    }
}
