//! What the gateway does with a packet, and why: interface, policy, route, SA, drops, there and back.
//!
//! Decided by the same code as in the fast path: `sa::rule` on the first policy whose selector fits, routes by `ways`.
//! Without a running gateway everything but SAs and drops is told.
mod show;
mod view;

pub use view::{DropView, PolicyView, RouteView, SaView};

use crate::model::{Config, Gateway, Policy};
use crate::value;
use crate::ways::{Way, Ways};
use sa::{Action, DropReason, Level, PolicyId, Prefix, Ranked, Ruling, TrafficSelector, rule};
use serde::{Deserialize, Serialize};
use std::net::IpAddr;
use view::{Around, around};

/// The question as the console, REST and the control socket ask it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", deny_unknown_fields)]
pub struct Question {
    pub src: IpAddr,
    pub dst: IpAddr,
    /// A name or a number, `tcp` for example.
    pub protocol: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub src_port: Option<u16>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dst_port: Option<u16>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Packet {
    pub src: IpAddr,
    pub dst: IpAddr,
    #[serde(serialize_with = "view::protocol")]
    pub protocol: u8,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub src_port: Option<u16>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dst_port: Option<u16>,
}
impl Packet {
    pub fn reversed(self) -> Self {
        Self { src: self.dst, dst: self.src, src_port: self.dst_port, dst_port: self.src_port, ..self }
    }
}
impl Question {
    /// Says what is wrong with it.
    pub fn packet(&self) -> Result<Packet, String> {
        let Self { src, dst, src_port, dst_port, .. } = *self;
        if src.is_ipv4() != dst.is_ipv4() {
            return Err(format!("src {src} and dst {dst} differ in IP version; take both from the same"));
        }
        let Some(protocol) = value::protocol(&self.protocol)? else {
            return Err("a packet has one protocol; name it, tcp for example".into());
        };
        if (src_port.is_some() || dst_port.is_some()) && !matches!(protocol, 6 | 17 | 33 | 132 | 136) {
            return Err(format!(
                "protocol {} has no ports; leave them out",
                value::show_protocol(Some(protocol))
            ));
        }
        Ok(Packet { src, dst, protocol, src_port, dst_port })
    }
}

/// What only a running gateway knows.
pub trait Live {
    /// The SAs of a policy, both directions.
    fn sas(&self, policy: PolicyId) -> Vec<LiveSa>;
    /// Packets that were dropped lately, the latest first.
    fn drops(&self) -> Vec<LiveDrop>;
}
#[derive(Clone, Debug)]
pub struct LiveSa {
    pub view: SaView,
    /// Local side first.
    pub selectors: Vec<TrafficSelector>,
    pub outbound: bool,
    pub remote: IpAddr,
    /// Larger is later.
    pub installed: u64,
}
#[derive(Clone, Copy, Debug)]
pub struct LiveDrop {
    pub reason: DropReason,
    pub packet: Packet,
    pub spi: u32,
    pub seconds_ago: u64,
    pub count: u64,
}

/// How a packet comes to be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Arrival {
    InClear,
    FromGateway,
    ThroughTunnel,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum What {
    Encrypt,
    Forward,
    /// To the gateway's own programs.
    Deliver,
    Drop,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Explanation {
    /// The packet as asked, and the answer to it.
    pub ways: Vec<Told>,
    /// Whether a running gateway was asked.
    pub live: bool,
}

/// One direction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub struct Told {
    pub packet: Packet,
    pub arrives: Arrival,
    /// Where its source is, so where it should come in.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_interface: Option<String>,
    /// The policy whose tunnel it comes through.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub in_policy: Option<PolicyView>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub policy: Option<PolicyView>,
    /// Policies further down that fit as well and do not come to their turn.
    pub shadowed: Vec<PolicyView>,
    pub shadowed_count: usize,
    pub action: What,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub drop_reason: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub route: Option<RouteView>,
    /// SAs of the policies above; the one that is used says so.
    pub sas: Vec<SaView>,
    /// What becomes of it, in a sentence.
    pub said: String,
    /// What else is worth knowing.
    pub notes: Vec<String>,
    pub last_drops: Vec<DropView>,
}

/// The answer to a question in JSON, or what is wrong with it.
pub fn answer(config: &Config, question: &Question, live: Option<&dyn Live>) -> Result<Explanation, String> {
    let packet = question.packet()?;
    let world = World { config, ways: Ways::of(&config.addresses, &config.routes), live };
    let ways = [packet, packet.reversed()].map(|packet| world.tell(&packet)).into();
    Ok(Explanation { ways, live: live.is_some() })
}

/// What is done with a packet, and what that rests on.
#[derive(Clone, Debug)]
pub struct Judged<'a> {
    pub what: What,
    pub reason: Option<DropReason>,
    /// The policy that decided.
    pub policy: Option<&'a Policy>,
    /// Where it leaves.
    pub way: Option<Way>,
    /// The other end of its tunnel, if that is known.
    pub remote: Option<IpAddr>,
    pub sa: Option<LiveSa>,
    pub why: Why,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    Policies,
    /// IKE and ESP of the gateway itself are not held against policies.
    Exempt,
    /// For the link: groups, broadcasts.
    Link,
}

pub struct World<'a> {
    pub config: &'a Config,
    pub ways: Ways,
    pub live: Option<&'a dyn Live>,
}

const IKE_PORTS: [Option<u16>; 2] = [Some(500), Some(4500)];
const SHOWN: usize = 8;

impl<'a> World<'a> {
    pub fn new(config: &'a Config) -> Self {
        Self { config, ways: Ways::of(&config.addresses, &config.routes), live: None }
    }
    fn owns(&self, address: IpAddr) -> bool {
        self.config.addresses.iter().any(|a| a.address == address)
    }
    /// Whether the link is meant that the packet comes in on, or a group.
    fn is_link(&self, packet: &Packet) -> bool {
        match packet.dst {
            IpAddr::V4(a) => {
                let on = self.ways.to(packet.src).and_then(view::interface);
                let ends = |a: &crate::model::Address| {
                    on.as_deref() == Some(&a.interface)
                        && a.address.is_ipv4()
                        && a.prefix_len < 31
                        && a.network().range().last() == packet.dst
                };
                a.is_multicast() || a.is_broadcast() || self.config.addresses.iter().any(ends)
            }
            IpAddr::V6(a) => a.is_multicast() || a.is_unicast_link_local(),
        }
    }
    /// All policies that fit, in order, with their ranks.
    fn fitting(&self, packet: &Packet) -> impl Iterator<Item = (usize, &'a Policy)> {
        let Packet { src, dst, protocol, src_port, dst_port } = *packet;
        let all = self.config.ipsec.policies.iter().enumerate();
        all.filter(move |(_, p)| p.spec.selector.contains(src, dst, protocol, src_port, dst_port))
    }
    fn first(&self, packet: &Packet) -> Option<(usize, &'a Policy)> {
        self.fitting(packet).next()
    }
    /// How the packet should come: through a tunnel if the first policy that fits it from either end says so.
    pub fn arrival(&self, packet: &Packet) -> (Arrival, Option<(usize, &'a Policy)>) {
        if self.owns(packet.src) {
            return (Arrival::FromGateway, None);
        }
        let (outbound, inbound) = (self.first(packet), self.first(&packet.reversed()));
        let before = |(rank, p): &(usize, &Policy)| {
            outbound.is_none_or(|(other, _)| *rank < other) && matches!(p.spec.action, Action::Encrypt { .. })
        };
        match inbound.filter(before) {
            Some(policy) => (Arrival::ThroughTunnel, Some(policy)),
            None => (Arrival::InClear, None),
        }
    }

    /// As the fast path judges a packet that arrives like this.
    pub fn judge(&self, packet: &Packet, arrival: Arrival) -> Judged<'a> {
        let ours = arrival != Arrival::FromGateway && self.owns(packet.dst);
        let done = |what, reason, policy, why| Judged {
            what,
            reason,
            policy,
            way: None,
            remote: None,
            sa: None,
            why,
        };
        let ike = |port| packet.protocol == 17 && IKE_PORTS.contains(&port);
        if arrival == Arrival::FromGateway && ike(packet.src_port) {
            return self.route(done(What::Forward, None, None, Why::Exempt), packet.dst);
        }
        if arrival == Arrival::InClear && ours && (ike(packet.dst_port) || packet.protocol == 50) {
            return done(What::Deliver, None, None, Why::Exempt);
        }
        if arrival == Arrival::ThroughTunnel && (ours || packet.dst.is_multicast()) {
            return match ours {
                true => done(What::Deliver, None, None, Why::Policies),
                false => done(What::Drop, Some(DropReason::UnsupportedProtocol), None, Why::Link),
            };
        }
        if arrival == Arrival::InClear && !ours && self.is_link(packet) {
            return done(What::Deliver, None, None, Why::Link);
        }
        let outbound = self.first(packet).filter(|_| !ours);
        let inbound = self.first(&packet.reversed()).filter(|_| arrival == Arrival::InClear);
        let ranked = |(rank, policy): (usize, &Policy)| -> Ranked { (rank as u64, policy.spec.action) };
        let deciding = outbound.map(|(_, policy)| policy);
        match rule(outbound.map(ranked), inbound.map(ranked)) {
            Ruling::Drop(reason) => {
                let policy = match reason {
                    DropReason::Discard => deciding,
                    _ => inbound.map(|(_, policy)| policy),
                };
                done(What::Drop, Some(reason), policy, Why::Policies)
            }
            Ruling::Pass if ours => done(What::Deliver, None, deciding, Why::Policies),
            Ruling::Pass => self.route(done(What::Forward, None, deciding, Why::Policies), packet.dst),
            Ruling::Protect(level) => {
                self.protect(done(What::Encrypt, None, deciding, Why::Policies), level, packet)
            }
        }
    }
    fn route(&self, mut judged: Judged<'a>, to: IpAddr) -> Judged<'a> {
        judged.way = self.ways.to(to).cloned();
        if judged.way.as_ref().is_none_or(|way| way.hop == Gateway::Blackhole) {
            (judged.what, judged.reason) = (What::Drop, Some(DropReason::NoRoute));
        }
        judged
    }
    fn protect(&self, mut judged: Judged<'a>, level: Level, packet: &Packet) -> Judged<'a> {
        let Some(policy) = judged.policy else { return judged };
        let Packet { src, dst, protocol, src_port, dst_port } = *packet;
        let fits = |sa: &LiveSa| {
            sa.outbound && sa.selectors.iter().any(|ts| ts.contains(src, dst, protocol, src_port, dst_port))
        };
        if let Some(live) = self.live {
            judged.sa = live.sas(policy.spec.id).into_iter().filter(fits).max_by_key(|sa| sa.installed);
            if judged.sa.is_none() {
                if level == Level::Use {
                    return self.route(Judged { what: What::Forward, ..judged }, dst);
                }
                return Judged { what: What::Drop, reason: Some(DropReason::NoSa), ..judged };
            }
        }
        let peer = policy.peer.as_deref().and_then(|name| self.config.ipsec.peer(name));
        let host = peer
            .filter(|p| p.host.is_none() && p.address == Prefix::host(p.address.addr()))
            .map(|p| p.address.addr());
        judged.remote = judged.sa.as_ref().map(|sa| sa.remote).or(host);
        match judged.remote {
            Some(remote) => self.route(judged, remote),
            None => judged,
        }
    }

    fn tell(&self, packet: &Packet) -> Told {
        let (arrives, through) = self.arrival(packet);
        let judged = self.judge(packet, arrives);
        let fitting: Vec<_> = self.fitting(packet).collect();
        let shadowed = fitting.get(1..).unwrap_or_default();
        let of = |policy: &Policy| {
            let rank = self.config.ipsec.policies.iter().position(|p| p.spec.id == policy.spec.id);
            PolicyView::of(rank.unwrap_or_default(), policy)
        };
        let sas = self.sas_of(packet, &judged, through.map(|(_, policy)| policy));
        let mut told = Told {
            packet: *packet,
            arrives,
            in_interface: match arrives {
                Arrival::FromGateway => None,
                _ => self.ways.to(packet.src).and_then(view::interface),
            },
            in_policy: through.map(|(rank, policy)| PolicyView::of(rank, policy)),
            policy: judged.policy.map(of),
            shadowed: shadowed.iter().take(SHOWN).map(|(rank, p)| PolicyView::of(*rank, p)).collect(),
            shadowed_count: shadowed.len(),
            action: judged.what,
            drop_reason: judged.reason.map(DropReason::name),
            route: judged.way.as_ref().map(RouteView::of),
            said: show::sentence(self, packet, &judged),
            notes: Vec::new(),
            last_drops: self.drops(packet, &sas),
            sas,
        };
        self.note(packet, arrives, &mut told);
        told
    }
    fn sas_of(&self, packet: &Packet, judged: &Judged<'_>, through: Option<&Policy>) -> Vec<SaView> {
        let Some(live) = self.live else { return Vec::new() };
        let Packet { src, dst, protocol, src_port, dst_port } = packet.reversed();
        let out = judged.policy.filter(|p| matches!(p.spec.action, Action::Encrypt { .. }));
        let out = out.map(|p| live.sas(p.spec.id)).unwrap_or_default();
        let used = judged.sa.as_ref().map(|sa| sa.view.spi.as_str());
        let out = out
            .into_iter()
            .filter(|sa| sa.outbound)
            .map(|sa| SaView { used: used == Some(&sa.view.spi), ..sa.view });
        // Whatever inbound SA of the policy covers it may bring it.
        let covers =
            |sa: &LiveSa| sa.selectors.iter().any(|ts| ts.contains(src, dst, protocol, src_port, dst_port));
        let inward = through.map(|p| live.sas(p.spec.id)).unwrap_or_default();
        let inward =
            inward.into_iter().filter(|sa| !sa.outbound).map(|sa| SaView { used: covers(&sa), ..sa.view });
        inward.chain(out).collect()
    }
    /// Drops of such packets: of the packet itself, and of ESP under one of its SAs.
    fn drops(&self, packet: &Packet, sas: &[SaView]) -> Vec<DropView> {
        let Some(live) = self.live else { return Vec::new() };
        let port = |asked: Option<u16>, seen: Option<u16>| asked.is_none() || seen.is_none() || asked == seen;
        let same = |drop: &LiveDrop| {
            let p = drop.packet;
            (p.src, p.dst, p.protocol) == (packet.src, packet.dst, packet.protocol)
                && port(packet.src_port, p.src_port)
                && port(packet.dst_port, p.dst_port)
        };
        let under = |drop: &LiveDrop| {
            drop.packet.protocol == 50 && sas.iter().any(|sa| sa.used && sa.spi == format!("{:#x}", drop.spi))
        };
        live.drops().iter().filter(|drop| same(drop) || under(drop)).take(SHOWN).map(DropView::of).collect()
    }
    fn note(&self, packet: &Packet, arrives: Arrival, told: &mut Told) {
        if arrives == Arrival::ThroughTunnel {
            let judged = self.judge(packet, Arrival::InClear);
            if let Some(reason) = judged.reason {
                told.notes
                    .push(format!("should it arrive in clear, it is dropped: {}", around(reason).meaning));
            }
        }
        let ported = matches!(packet.protocol, 6 | 17 | 33 | 132 | 136);
        let named = |p: &Policy| !p.spec.selector.src_port.is_any() || !p.spec.selector.dst_port.is_any();
        if ported
            && (packet.src_port.is_none() || packet.dst_port.is_none())
            && self.config.ipsec.policies.iter().any(named)
        {
            told.notes.push("a port was left out, so policies for certain ports do not count".into());
        }
        if let Some(reason) =
            told.drop_reason.and_then(|name| DropReason::ALL.iter().find(|r| r.name() == name))
        {
            let Around { advice, .. } = around(*reason);
            told.notes.extend((!advice.is_empty()).then(|| advice.to_owned()));
        }
    }
}
