//! Which policies a child is for: configured ones, or ones that are made for it inside a template (RFC 7296 2.9).
//!
//! A request may name several selectors, and several policies of the peer may fit them. One child serves all of them as
//! long as its two lists of selectors say no more than the policies do: an SA is for each of the one with each of the
//! other.
use super::child::ChildSa;
use super::dynamic::{Owner, Taken};
use super::explain;
use super::ike_sa::{IkeSa, Task, Wanted};
use super::negotiate::{originals, selector_of, substituted};
use super::{Cx, Engine};
use crate::api::{Action, Child, Generate, Generated, Identity, MatchBy, MyId, Peer, RemoteId, Template};
use crate::diagnosis::Diagnosis;
use crate::message::{Ts, narrow, split, within};
use ::sa::{AddrRange, Level, PolicyId, PolicySpec, PortRange, Prefix, SaSpec, Selector, TrafficSelector};
use std::net::IpAddr;
use std::time::Duration;

/// A policy that was made for an IKE SA.
#[derive(Clone, Debug)]
pub(super) struct Made {
    pub template: PolicyId,
    pub selector: Selector,
    /// As if it were configured.
    pub child: Child,
}
impl Made {
    pub fn new(template: &Template, id: PolicyId, selector: Selector, tunnel: bool, any_port: bool) -> Self {
        //= ROUTEROS: a generated policy is `level=unique`, unless its template sends in clear without an SA.
        let level = if template.like.level == Level::Use { Level::Use } else { Level::Unique };
        let like = template.like.clone();
        let child = Child { policy: id, selector: selector.into(), level, any_port, tunnel, ..like };
        Self { template: template.like.policy, selector, child }
    }
    pub fn generated(&self, peer: &str) -> Generated {
        let Child { policy: id, level, tunnel, framing, .. } = self.child;
        let action = ::sa::Action::Encrypt { level, tunnel };
        Generated {
            spec: PolicySpec { id, selector: self.selector, action, framing },
            template: self.template,
            peer: peer.to_owned(),
            proposal: self.child.proposal.clone(),
            protocol: self.child.protocol,
        }
    }
}

impl ChildSa {
    pub fn serves(&self, policy: PolicyId) -> bool {
        self.policy == policy || self.also.contains(&policy)
    }
    pub fn policies(&self) -> impl Iterator<Item = PolicyId> + Clone + '_ {
        std::iter::once(self.policy).chain(self.also.iter().copied())
    }
}

/// What the peer wants an SA for.
pub(super) struct Asked<'a> {
    pub ts_i: &'a [Ts],
    pub ts_r: &'a [Ts],
    pub transport: bool,
    /// Of these policies: it is a rekey.
    pub only: Vec<PolicyId>,
}
/// What a request and our policies have in common.
#[derive(Debug)]
pub(super) struct Fit {
    /// Each policy, or template, with its part; the first one's terms are those of the SA.
    parts: Vec<(Child, Vec<TrafficSelector>)>,
    from_template: bool,
    /// More of the request could be had with another SA.
    pub more: bool,
}
impl Fit {
    pub fn of_template(like: Child, selectors: Vec<TrafficSelector>) -> Self {
        Self { parts: vec![(like, selectors)], from_template: true, more: false }.bounded()
    }
    /// Where its algorithms, lifetimes and mode are from.
    pub fn terms(&self) -> Option<&Child> {
        self.parts.first().map(|(child, _)| child)
    }
    /// What is told to the peer.
    pub fn pairs(&self) -> Vec<TrafficSelector> {
        self.parts.iter().flat_map(|(_, pairs)| pairs).copied().collect()
    }
    /// A policy has address blocks and not ranges, and one SA does not serve more policies than fit its record.
    fn bounded(mut self) -> Self {
        let mut left = SaSpec::MAX_SELECTORS;
        for (_, pairs) in self.parts.iter_mut().filter(|_| self.from_template) {
            let cut: Vec<Selector> = pairs.iter().flat_map(blocks).take(left + 1).collect();
            if cut.len() > left {
                *pairs = cut.iter().take(left).map(|s| (*s).into()).collect();
                self.more = true;
            }
            left = left.saturating_sub(cut.len());
        }
        self.parts.retain(|(_, pairs)| !pairs.is_empty());
        self
    }
}

/// The policies for the selectors a peer asks for: one that covers all of it before those that cover a part, a
/// configured one before a template, one of the mode it wants before others, one without an SA before one that has one.
pub(super) fn pick(sa: &IkeSa, asked: &Asked<'_>) -> Option<Fit> {
    struct Candidate<'a> {
        child: &'a Child,
        template: bool,
        pairs: Vec<TrafficSelector>,
        whole: bool,
        busy: bool,
    }
    let (ours, theirs) = (asked.ts_r, asked.ts_i);
    let ends = sa.tunnel_ends();
    let seen = originals(sa, ours, theirs)
        .map(|_| (substituted(ours, ends.local), substituted(theirs, ends.remote)));
    let rekey = !asked.only.is_empty();
    let templates = if rekey { Vec::new() } else { likes(sa, !asked.transport) };
    let own = sa.generated.iter().map(|made| &made.child).filter(|_| rekey);
    let policies = sa.peer.children.iter().chain(own);
    let policies = policies.filter(|c| !rekey || asked.only.contains(&c.policy)).map(|c| (c, false));
    let candidates: Vec<Candidate> = policies
        .chain(templates.iter().map(|like| (like, true)))
        .filter_map(|(child, template)| {
            let (ours, theirs) = match &seen {
                Some((ours, theirs)) if !child.tunnel => (&ours[..], &theirs[..]),
                _ => (ours, theirs),
            };
            let selector = selector_of(sa, child)?;
            let pairs = tidy(narrow(ours, theirs, &selector));
            let whole = within(ours, theirs, &selector);
            let busy = !template && sa.children.iter().any(|x| x.serves(child.policy) && x.is_live());
            (!pairs.is_empty()).then_some(Candidate { child, template, pairs, whole, busy })
        })
        .collect();
    let first = candidates
        .iter()
        .enumerate()
        .min_by_key(|(at, c)| (!c.whole, c.template, c.child.tunnel == asked.transport, c.busy, *at));
    let (at, first) = first?;
    let mut parts = vec![(first.child.clone(), first.pairs.clone())];
    let mut all = first.pairs.clone();
    let mut more = false;
    let shares = |c: &Candidate| rekey || (!c.busy && (c.template || c.child.level != Level::Unique));
    for (_, other) in candidates.iter().enumerate().filter(|(n, _)| *n != at && !first.whole) {
        let together = tidy(all.iter().chain(&other.pairs).copied().collect());
        if together == all {
            continue;
        }
        let fits = other.template == first.template
            && (shares(first) && shares(other))
            && same_terms(first.child, other.child)
            && together.len() <= SaSpec::MAX_SELECTORS
            && is_closed(&together);
        if !fits {
            more = true;
            continue;
        }
        let added = together.iter().filter(|pair| !all.contains(pair)).copied().collect();
        parts.push((other.child.clone(), added));
        all = together;
    }
    more |= all.len() == SaSpec::MAX_SELECTORS && ours.len() * theirs.len() > all.len();
    Some(Fit { parts, from_template: first.template, more }.bounded())
}

/// One SA can be for both.
fn same_terms(a: &Child, b: &Child) -> bool {
    let Child { policy, level, selector, .. } = *a;
    *a == Child { policy, level, selector, ..b.clone() }
}
fn covers(a: &TrafficSelector, b: &TrafficSelector) -> bool {
    a.local.intersect(b.local) == Some(b.local)
        && a.remote.intersect(b.remote) == Some(b.remote)
        && (a.protocol.is_none() || a.protocol == b.protocol)
        && a.local_port.intersect(b.local_port) == Some(b.local_port)
        && a.remote_port.intersect(b.remote_port) == Some(b.remote_port)
}
/// Without the pairs that another one covers.
pub(super) fn tidy(selectors: Vec<TrafficSelector>) -> Vec<TrafficSelector> {
    let mut kept: Vec<TrafficSelector> = Vec::with_capacity(selectors.len());
    for (at, b) in selectors.iter().enumerate() {
        let wider = |a: &TrafficSelector| a != b && covers(a, b);
        if !selectors.iter().any(wider) && !selectors.iter().take(at).any(|a| a == b) {
            kept.push(*b);
        }
    }
    kept
}
//= rfc7296#2.9/each-with-each: whatever is in one list goes with whatever is in the other.
/// The two lists made of these pairs stand for nothing else.
fn is_closed(pairs: &[TrafficSelector]) -> bool {
    let (local, remote) = split(pairs);
    let any = |range: AddrRange| {
        let any = if range.first().is_ipv4() { IpAddr::from([0; 4]) } else { IpAddr::from([0; 16]) };
        Prefix::new(any, 0).map(Prefix::range)
    };
    local.iter().all(|l| {
        let Some(all) = any(l.addresses) else { return false };
        let (ports, protocol) = (PortRange::ANY, None);
        let all =
            TrafficSelector { local: all, remote: all, protocol, local_port: ports, remote_port: ports };
        let with_all = narrow(std::slice::from_ref(l), &remote, &all);
        with_all.iter().all(|pair| pairs.iter().any(|own| covers(own, pair)))
    })
}

/// The smallest blocks that make a range.
fn prefixes(range: AddrRange) -> impl Iterator<Item = Prefix> {
    let wide = |address: IpAddr| match address {
        IpAddr::V4(a) => u128::from(u32::from(a)),
        IpAddr::V6(a) => u128::from(a),
    };
    let (v4, last) = (range.first().is_ipv4(), wide(range.last()));
    let bits: u32 = if v4 { 32 } else { 128 };
    let mut next = Some(wide(range.first()));
    std::iter::from_fn(move || {
        let first = next?;
        // Aligned, and not longer than what is left.
        let fits = |n: &u32| {
            let below = 1u128.checked_shl(*n).map_or(u128::MAX, |size| size - 1);
            first & below == 0 && first.checked_add(below).is_some_and(|end| end <= last)
        };
        let size = (0..=bits).rev().find(fits)?;
        let end = first + 1u128.checked_shl(size).map_or(u128::MAX, |size| size - 1);
        next = end.checked_add(1).filter(|n| *n <= last);
        let address =
            if v4 { IpAddr::from((first as u32).to_be_bytes()) } else { IpAddr::from(first.to_be_bytes()) };
        Prefix::new(address, (bits - size) as u8)
    })
}
/// The policies that one pair of selectors makes.
fn blocks(pair: &TrafficSelector) -> impl Iterator<Item = Selector> + use<> {
    let pair = *pair;
    let each = move |src: Prefix| {
        prefixes(pair.remote).map(move |dst| Selector {
            src,
            dst,
            protocol: pair.protocol,
            src_port: pair.local_port,
            dst_port: pair.remote_port,
        })
    };
    prefixes(pair.local).flat_map(each)
}
pub(super) fn without_ports(pair: TrafficSelector) -> TrafficSelector {
    TrafficSelector { local_port: PortRange::ANY, remote_port: PortRange::ANY, ..pair }
}

/// Which of the peer's identities an IKE SA was made with: what stays the same when the rest of it is changed.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Chosen(MyId, RemoteId, MatchBy);
impl Chosen {
    pub fn of(identity: &Identity) -> Self {
        Self(identity.my_id.clone(), identity.remote_id.clone(), identity.match_by)
    }
    pub fn is(&self, identity: &Identity) -> bool {
        (&self.0, &self.1, self.2) == (&identity.my_id, &identity.remote_id, identity.match_by)
    }
}
/// What the peer may have policies made of.
pub(super) fn generate_of(sa: &IkeSa) -> Option<&Generate> {
    let mut all = sa.peer.identities.iter();
    let identity = match &sa.identity {
        Some(chosen) => all.find(|identity| chosen.is(identity)),
        None => all.next().filter(|_| sa.initiator),
    };
    identity?.generate.as_deref()
}
fn templates_of(sa: &IkeSa) -> &[Template] {
    generate_of(sa).map_or(&[], |generate| &generate.templates)
}
pub(super) fn template_of(sa: &IkeSa, id: PolicyId) -> Option<&Template> {
    templates_of(sa).iter().find(|template| template.like.policy == id)
}
/// One for each selector of each template.
fn likes(sa: &IkeSa, tunnel: bool) -> Vec<Child> {
    let each = |template: &Template| {
        let like = template.like.clone();
        let of = |selector: &TrafficSelector| Child { selector: *selector, tunnel, ..like.clone() };
        template.selectors.iter().map(of).collect::<Vec<_>>()
    };
    templates_of(sa).iter().flat_map(each).collect()
}
/// What we ask for when we call: its policies, or, with none, all that its templates allow.
pub(super) fn to_ask_for(peer: &Peer) -> Vec<PolicyId> {
    if !peer.children.is_empty() {
        return peer.children.iter().filter(|c| c.backup == 0).map(|c| c.policy).collect();
    }
    let generate = peer.identities.first().and_then(|identity| identity.generate.as_deref());
    generate.iter().flat_map(|generate| &generate.templates).map(|t| t.like.policy).collect()
}
/// All that an offer for this child may cover: of a template, or of the several policies of one that is replaced.
pub(super) fn ranges(sa: &IkeSa, child: &Child, replaces: Option<::sa::Spi>) -> Vec<TrafficSelector> {
    let of = |selector: TrafficSelector| selector_of(sa, &Child { selector, ..child.clone() });
    if let Some(template) = template_of(sa, child.policy) {
        return template.selectors.iter().filter_map(|s| of(*s)).collect();
    }
    let old = replaces.and_then(|spi| sa.children.iter().find(|c| c.inbound.spi == spi));
    let also = old.map_or(&[][..], |old| &old.also).iter();
    let also = also.filter_map(|id| super::negotiate::config_of(sa, *id)).map(|c| c.selector);
    std::iter::once(child.selector).chain(also).filter_map(of).collect()
}

impl IkeSa {
    /// A child carries its traffic, or that of policies made from it.
    pub(super) fn is_served(&self, policy: PolicyId) -> bool {
        self.generated.iter().any(|made| made.template == policy)
            || self.children.iter().any(|c| c.serves(policy) && c.is_live())
    }
    /// Its policies under a new configuration.
    pub(super) fn refit(&mut self) {
        let Some(generate) = generate_of(self).cloned() else { return };
        for made in &mut self.generated {
            let template = generate.templates.iter().find(|t| t.like.policy == made.template);
            let inside = |t: &&Template| t.selectors.iter().any(|s| covers(s, &made.selector.into()));
            if let Some(template) = template.filter(inside) {
                let (id, tunnel) = (made.child.policy, made.child.tunnel);
                *made = Made::new(template, id, made.selector, tunnel, generate.any_port);
            }
        }
    }
    /// The policy is still what the configuration allows.
    pub(super) fn allows(&self, policy: PolicyId) -> bool {
        if !policy.is_dynamic() {
            return self.peer.children.iter().any(|c| c.policy == policy);
        }
        self.generated.iter().filter(|made| made.child.policy == policy).any(|made| {
            let template = template_of(self, made.template);
            template.is_some_and(|t| t.selectors.iter().any(|s| covers(s, &made.selector.into())))
        })
    }
    pub(super) fn owner(&self) -> Owner {
        Owner { peer: self.peer.name.clone(), id: self.remote_id.clone() }
    }
}

/// What has been settled on: the terms, further policies, what the SA is for.
pub(super) type Settled = (Child, Vec<PolicyId>, Vec<TrafficSelector>);

impl Engine {
    /// The policies of a child, made if need be.
    pub(super) fn settle(
        &mut self,
        sa: &mut IkeSa,
        fit: &Fit,
        exchange: &'static str,
        cx: &mut Cx,
    ) -> Result<Settled, Box<Diagnosis>> {
        let broken = || Box::new(Diagnosis::new(crate::diagnosis::Cause::Local, exchange));
        let terms = fit.terms().ok_or_else(broken)?;
        if !fit.from_template {
            let mut pairs = fit.pairs();
            if terms.any_port {
                pairs = tidy(pairs.into_iter().map(without_ports).collect());
            }
            return Ok((terms.clone(), fit.parts.iter().skip(1).map(|(c, _)| c.policy).collect(), pairs));
        }
        let any_port = generate_of(sa).is_some_and(|generate| generate.any_port);
        let mut wanted: Vec<(PolicyId, Selector)> = Vec::new();
        for (like, pairs) in &fit.parts {
            let pairs = pairs.iter().map(|pair| if any_port { without_ports(*pair) } else { *pair });
            for selector in pairs.flat_map(|pair| blocks(&pair)) {
                if !wanted.iter().any(|(_, known)| *known == selector) {
                    wanted.push((like.policy, selector));
                }
            }
        }
        let owner = sa.owner();
        let mut ids = Vec::with_capacity(wanted.len());
        for (template, selector) in &wanted {
            match self.dynamic.find(selector, *template, &owner) {
                Ok(id) => ids.push(id),
                Err(taken) => return Err(Box::new(self.said_taken(sa, terms, selector, taken, exchange))),
            }
        }
        let mut policies = Vec::with_capacity(wanted.len());
        for ((template, selector), known) in wanted.iter().zip(ids) {
            let id = known.unwrap_or_else(|| self.dynamic.fresh_id());
            policies.push(id);
            if sa.generated.iter().any(|made| made.child.policy == id) {
                continue;
            }
            let Some(template) = template_of(sa, *template) else { continue };
            let made = Made::new(template, id, *selector, terms.tunnel, any_port);
            let generated = made.generated(&sa.peer.name);
            if self.dynamic.hold(&generated, &owner) {
                cx.out.push(Action::AddPolicy(Box::new(generated)));
            }
            sa.generated.push(made);
        }
        let mut pairs = fit.pairs();
        if any_port {
            pairs = tidy(pairs.into_iter().map(without_ports).collect());
        }
        let mut policies = policies.into_iter();
        let first = policies.next().ok_or_else(broken)?;
        Ok((Child { policy: first, any_port, ..terms.clone() }, policies.collect(), pairs))
    }
    fn said_taken(
        &self,
        sa: &IkeSa,
        terms: &Child,
        selector: &Selector,
        taken: Taken,
        exchange: &'static str,
    ) -> Diagnosis {
        let group = template_of(sa, terms.policy).map_or("", |template| &template.group);
        explain::taken(&sa.peer, exchange, group, selector, taken)
    }

    /// Policies that no child serves any more are no policies any more.
    pub(super) fn sweep(&mut self, sa: &mut IkeSa, cx: &mut Cx) {
        if sa.generated.is_empty() {
            return;
        }
        let serving = |sa: &IkeSa, id| sa.children.iter().any(|c| c.is_live() && c.serves(id));
        for at in (0..sa.generated.len()).rev() {
            let id = sa.generated[at].child.policy;
            if !sa.dead && serving(sa, id) {
                continue;
            }
            sa.generated.remove(at);
            sa.dirty = true;
            if self.dynamic.release(id) {
                cx.out.push(Action::RemovePolicy(id));
            }
            self.ask_later(sa, cx, Duration::from_secs(5));
        }
    }
    /// No packet asks for what a template would bring: we do, when we are the one who calls.
    pub(super) fn ask_later(&mut self, sa: &mut IkeSa, cx: &Cx, wait: Duration) {
        let asks = sa.peer.children.is_empty() && sa.initiator && !sa.peer.passive;
        if asks && sa.is_established() && !sa.dead {
            sa.want_at.get_or_insert(cx.now + wait);
        }
    }
    /// Every configured child that is not up becomes a task (RouterOS: a peer that is not passive starts phase 2 by
    /// itself), or every template of whoever has no configured ones.
    pub(super) fn want_all(&mut self, sa: &mut IkeSa) {
        for policy in to_ask_for(&sa.peer) {
            if !sa.is_served(policy) {
                sa.push_task(Task::Create(Wanted { policy, packet: None }));
            }
        }
    }
    /// All policies that negotiations have made.
    pub fn generated(&self) -> Vec<Generated> {
        self.dynamic.all().cloned().collect()
    }
}
