//! What the policy says of each packet, then routing and the link layer.
use super::cache::Origin;
use super::fragment::{self, Whole};
use super::{ErrorReport, Out, Stage, Unresolved, Verdict, outbound};
use crate::crypto::SaRef;
use crate::tables::spd::Entry;
use crate::tables::{NextHop, Tables};
use ipc::contract::{Event, PacketInfo};
use sa::{Action, DropReason, Level, PolicyId};
use std::net::IpAddr;
use wire::eth::{self, ethertype};
use wire::ip::{self, Packet};
use wire::{Flow, PacketBuf};

/// A packet, starting at its IP header, that has to go somewhere.
#[derive(Debug)]
pub(crate) struct Forward<B> {
    pub buf: B,
    pub packet: Packet,
    pub flow: Flow,
    pub origin: Origin,
    /// Not held against the policies.
    pub exempt: bool,
    /// Where it came in.
    pub interface: Option<u16>,
}

/// The policy's word on a packet (RFC 4301 5.1 and 5.2). Depends on nothing that is not in the tables
/// and the arguments, so it can be remembered.
pub(crate) fn judge<K>(tables: &Tables<K>, origin: Origin, flow: &Flow) -> Verdict {
    let outbound = match origin {
        Origin::ToUs => None,
        _ => tables.spd.find(flow),
    };
    if matches!(origin, Origin::Clear | Origin::ToUs) {
        //= rfc4301#5.2/clear-check: what should have come protected and did not is dropped.
        // A policy that is looked at from both ends (any to any) sends; it does not refuse.
        let inbound = tables.spd.find(&flow.reversed());
        let first = |e: &&Entry| outbound.is_none_or(|o| e.placed.rank < o.placed.rank);
        match inbound.filter(first).map(|e| e.placed.spec.action) {
            Some(Action::Encrypt { level: Level::Require | Level::Unique, .. }) => {
                return Verdict::Drop(DropReason::ClearForProtected);
            }
            Some(Action::Discard) => return Verdict::Drop(DropReason::DiscardIn),
            Some(Action::Encrypt { level: Level::Use, .. } | Action::Bypass) | None => {}
        }
    }
    let Some(entry) = outbound else { return Verdict::Pass };
    match entry.placed.spec.action {
        Action::Discard => Verdict::Drop(DropReason::Discard),
        Action::Bypass => Verdict::Pass,
        Action::Encrypt { level, .. } => match (entry.sa_for(flow), level) {
            (Some(sa), _) => Verdict::Encrypt(SaRef { slot: sa.slot, install: sa.install }),
            (None, Level::Use) => Verdict::Pass,
            //= rfc4301#5.1/no-sa: the packet is not sent in clear; key management is asked.
            (None, Level::Require | Level::Unique) => Verdict::Acquire(entry.placed.spec.id),
        },
    }
}

pub(crate) fn forward<B: PacketBuf, K>(tables: &Tables<K>, stage: &mut Stage<B>, out: &mut Out<B>) {
    let mut run: Option<SaRef> = None;
    let mut packets = std::mem::take(&mut stage.forward);
    for mut item in packets.drain(..) {
        let verdict = match item.exempt {
            true => Verdict::Pass,
            false if !tables.policies_loaded => Verdict::Drop(DropReason::PolicyNotLoaded),
            false => {
                let (origin, flow) = (item.origin, item.flow);
                stage.cache.look_up(tables.generation, origin, &flow, || judge(tables, origin, &flow))
            }
        };
        let next = match verdict {
            Verdict::Encrypt(sa) => Some(sa),
            _ => None,
        };
        // A run ends where another SA begins; packets in clear do not end it but may overtake it.
        if let (Some(sa), true) = (run, next.is_some() && next != run) {
            outbound::frame(tables, sa, stage, out);
            run = None;
        }
        match verdict {
            Verdict::Drop(reason) => out.drop(reason),
            Verdict::Acquire(policy) => acquire(tables, policy, &item.flow, out),
            Verdict::Pass if !decrement(&mut item) => expired(item, out),
            Verdict::Pass => send_clear(tables, item, stage, out),
            Verdict::Encrypt(_) if !decrement(&mut item) => expired(item, out),
            Verdict::Encrypt(sa) => {
                run = Some(sa);
                stage.ready.push(item);
            }
        }
    }
    if let Some(sa) = run {
        outbound::frame(tables, sa, stage, out);
    }
    stage.forward = packets;
}

/// Forwarded packets lose one hop; our own do not. False when there was none left.
fn decrement<B: PacketBuf>(item: &mut Forward<B>) -> bool {
    item.origin == Origin::Own || (item.packet.ttl > 1 && ip::decrement_ttl(item.buf.data_mut()).is_some())
}
fn expired<B>(item: Forward<B>, out: &mut Out<B>) {
    report(item, DropReason::TtlExpired, 0, out);
}
/// Drops a packet whose sender should hear why.
pub(crate) fn report<B>(item: Forward<B>, reason: DropReason, mtu: u16, out: &mut Out<B>) {
    out.drop(reason);
    let protected = item.origin == Origin::Protected;
    out.errors.push(ErrorReport { interface: item.interface, protected, reason, mtu, packet: item.buf });
}

fn acquire<B, K>(tables: &Tables<K>, policy: PolicyId, flow: &Flow, out: &mut Out<B>) {
    out.drop(DropReason::NoSa);
    if tables.spd.by_id(policy).is_some_and(|e| e.placed.pending.claim()) {
        let packet = PacketInfo {
            src: flow.src,
            dst: flow.dst,
            protocol: flow.protocol,
            src_port: flow.src_port.unwrap_or(0),
            dst_port: flow.dst_port.unwrap_or(0),
        };
        out.events.push(Event::Acquire { policy, packet });
    }
}

/// Splits a packet that does not fit into `stage.pieces`, or drops it and has its sender told.
/// Empty pieces: it was dropped.
pub(crate) fn fit<B: PacketBuf>(
    item: Forward<B>,
    mtu: usize,
    stage: &mut Stage<B>,
    out: &mut Out<B>,
) -> Vec<Forward<B>> {
    let mut pieces = std::mem::take(&mut stage.pieces);
    match fragment::split(item, mtu, stage.make.as_mut(), &mut pieces) {
        Ok(count) => out.fragments += count as u64 - 1,
        Err((Whole::MayNot, item)) => report(item, DropReason::TooBig, mtu as u16, out),
        Err((Whole::NoBuffer, _)) => out.drop(DropReason::NoBuffer),
    }
    pieces
}

fn send_clear<B: PacketBuf, K>(tables: &Tables<K>, item: Forward<B>, stage: &mut Stage<B>, out: &mut Out<B>) {
    let via = tables.fib.route(item.packet.dst);
    let Some((via, link)) = via.and_then(|via| Some((via, tables.ports.get(via.interface)?))) else {
        return report(item, DropReason::NoRoute, 0, out);
    };
    let mtu = link.mtu;
    if item.packet.total_len > mtu {
        let next_hop = next_hop(via, item.packet.dst);
        let mut pieces = fit(item, mtu.into(), stage, out);
        for piece in pieces.drain(..) {
            transmit(tables, via.interface, next_hop, piece.buf, out);
        }
        stage.pieces = pieces;
        return;
    }
    transmit(tables, via.interface, next_hop(via, item.packet.dst), item.buf, out);
}

pub(crate) fn next_hop(via: NextHop, dst: IpAddr) -> IpAddr {
    via.gateway.unwrap_or(dst)
}

/// Last step of everything that leaves: the Ethernet header.
pub(crate) fn transmit<B: PacketBuf, K>(
    tables: &Tables<K>,
    interface: u16,
    next_hop: IpAddr,
    mut buf: B,
    out: &mut Out<B>,
) {
    let Some(link) = tables.ports.get(interface) else { return out.drop(DropReason::NoRoute) };
    let Some(mac) = tables.fib.neighbour(interface, next_hop) else {
        return out.unresolved.push(Unresolved { interface, next_hop, packet: buf });
    };
    let kind = if next_hop.is_ipv4() { ethertype::IPV4 } else { ethertype::IPV6 };
    let header = buf.prepend(eth::header_len(link.vlan));
    match header.and_then(|bytes| eth::write(bytes, mac, link.mac, link.vlan, kind)) {
        Some(()) => match out.tx.get_mut(usize::from(link.port)) {
            Some(queue) => queue.push(buf),
            None => out.drop(DropReason::NoRoute),
        },
        None => out.drop(DropReason::NoHeadroom),
    }
}
