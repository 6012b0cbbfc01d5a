//! What the policy says of each packet, then routing and the link layer.
use super::cache::{Before, Origin, To, Word};
use super::fragment::{self, Whole};
use super::seen::flow_of;
use super::{ErrorReport, Out, Unresolved, Verdict, Work, outbound};
use crate::crypto::SaRef;
use crate::tables::spd::{Bound, Entry};
use crate::tables::{NextHop, Tables};
use ipc::contract::{Event, PacketInfo};
use sa::{Direction, DropReason, Level, Ruling, rule};
use std::net::IpAddr;
use wire::eth::{self, ethertype};
use wire::ip;
use wire::{Flow, PacketBuf};

/// A packet, starting at its IP header, that has to go somewhere. Small: what else is to be known of it stands in its
/// header, which is in the nearest cache.
#[derive(Debug)]
pub(crate) struct Forward<B> {
    pub buf: B,
    pub verdict: Word,
    pub origin: Origin,
    /// Where it came in.
    pub interface: Option<u16>,
}

/// Where a packet goes next, down to the Ethernet header.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Way {
    pub mtu: u16,
    interface: u16,
    port: u16,
    /// 0: the MAC address of the next hop is not known.
    header_len: u8,
    header: [u8; eth::HEADER + eth::TAG],
}
impl Way {
    pub fn find<K>(tables: &Tables<K>, to: IpAddr) -> Option<Self> {
        let NextHop { interface, gateway } = tables.fib.route(to)?;
        let link = tables.ports.get(interface)?;
        let next_hop = gateway.unwrap_or(to);
        let mut header = [0; eth::HEADER + eth::TAG];
        let kind = if next_hop.is_ipv4() { ethertype::IPV4 } else { ethertype::IPV6 };
        let header_len = match tables.fib.neighbour(interface, next_hop) {
            Some(mac) => {
                eth::write(&mut header, mac, link.mac, link.vlan, kind)?;
                eth::header_len(link.vlan) as u8
            }
            None => 0,
        };
        Some(Self { mtu: link.mtu, interface, port: link.port, header_len, header })
    }

    /// The same without the header, as if the MAC address were not known: for what is not finished yet.
    pub fn bare(&self) -> Self {
        Self { header_len: 0, ..*self }
    }
    /// Bytes of the header in front of the IP packet; 0 when the next hop's MAC address is not known.
    #[inline(always)]
    pub fn header_len(&self) -> usize {
        self.header_len.into()
    }
    /// Where a packet goes whose header is written before it is finished.
    #[inline(always)]
    pub fn port(&self) -> Option<u16> {
        (self.header_len != 0).then_some(self.port)
    }
    /// The header, if it is known and has no tag.
    #[inline(always)]
    pub fn untagged(&self) -> Option<&[u8; eth::HEADER]> {
        if self.header_len() == eth::HEADER { self.header.first_chunk() } else { None }
    }
    /// Writes the header; `bytes` has room for it.
    #[inline(always)]
    pub fn write_header(&self, bytes: &mut [u8]) {
        // Two lengths, so that each is copied in registers.
        if self.header_len() == eth::HEADER {
            if let (Some(to), Some(from)) = (bytes.first_chunk_mut(), self.header.first_chunk()) {
                let from: &[u8; eth::HEADER] = from;
                *to = *from;
            }
        } else if let Some(to) = bytes.first_chunk_mut() {
            *to = self.header;
        }
    }

    /// Last step of what leaves in clear: the Ethernet header. `to` is what the way was found for.
    #[inline(always)]
    pub fn send<B: PacketBuf, K>(&self, tables: &Tables<K>, to: To, mut buf: B, out: &mut Out<B>) {
        if let Some(link) = self.untagged() {
            return match buf.prepend(eth::HEADER).and_then(<[u8]>::first_chunk_mut) {
                Some(bytes) => {
                    *bytes = *link;
                    out.send(self.port, buf);
                }
                None => out.drop(DropReason::NoHeadroom),
            };
        }
        if self.header_len == 0 {
            return self.unresolved(tables, to, buf, out);
        }
        let Some(bytes) = buf.prepend(self.header_len()) else { return out.drop(DropReason::NoHeadroom) };
        self.write_header(bytes);
        out.send(self.port, buf);
    }
    #[cold]
    fn unresolved<B: PacketBuf, K>(&self, tables: &Tables<K>, to: To, packet: B, out: &mut Out<B>) {
        let to = to.address();
        let next_hop = tables.fib.route(to).and_then(|via| via.gateway).unwrap_or(to);
        out.unresolved.push(Unresolved { interface: self.interface, next_hop, packet });
    }
}
/// The policy's word on a packet (RFC 4301 5.1 and 5.2). Depends on nothing that is not in the tables
/// and the arguments, so it can be remembered.
pub(crate) fn judge<K>(tables: &Tables<K>, origin: Origin, flow: &Flow) -> Verdict {
    let outbound = match origin {
        Origin::ToUs => None,
        _ => tables.spd.find(flow),
    };
    let inbound = match origin {
        Origin::Clear | Origin::ToUs => tables.spd.find(&flow.reversed()),
        _ => None,
    };
    let ranked = |entry: &Entry| (entry.placed.rank, entry.placed.spec.action);
    match (rule(outbound.map(ranked), inbound.map(ranked)), outbound) {
        (Ruling::Drop(reason), _) => Verdict::Drop(reason),
        (Ruling::Protect(level), Some(entry)) => match (sa_for(tables, origin, entry, flow), level) {
            (Some(sa), _) => Verdict::Encrypt(SaRef { slot: sa.slot, install: sa.install }),
            (None, Level::Use) => Verdict::Pass,
            //= rfc4301#5.1/no-sa: the packet is not sent in clear; key management is asked.
            (None, Level::Require | Level::Unique) => Verdict::Acquire,
        },
        (Ruling::Pass | Ruling::Protect(_), _) => Verdict::Pass,
    }
}

/// The newest SA for the packet; of several peers behind one NAT, that of the one whom the packet answers.
fn sa_for<'a, K>(tables: &Tables<K>, origin: Origin, entry: &'a Entry, flow: &'a Flow) -> Option<&'a Bound> {
    let behind_nat = || {
        let mut several = entry.several_for(flow).filter(|_| origin == Origin::Own)?;
        //= rfc3948#5.2/same-address: the port tells clients apart that have the NAT's address.
        let port = tables.clients.port(flow)?;
        let of = |bound: &&Bound| {
            let sa = tables.sad.slot(bound.slot).filter(|sa| sa.form.is_transport());
            sa.and_then(|sa| sa.encap).is_some_and(|encap| encap.remote_port == port)
        };
        several.find(of)
    };
    behind_nat().or_else(|| entry.sa_for(flow))
}

/// The same for a packet that is looked at for the first time.
#[cold]
pub(crate) fn judge_packet<K>(
    tables: &Tables<K>,
    origin: Origin,
    bytes: &[u8],
    before: Option<Before>,
) -> Verdict {
    let flow = flow_of(bytes).ok().map(|(_, flow)| flow);
    let still = before.zip(flow.as_ref()).and_then(|(before, flow)| before.still(tables, flow));
    still.unwrap_or_else(|| judge_flow(tables, origin, flow.as_ref()))
}
/// Whether a packet for the gateway that came in clear may have.
pub fn refuses<K>(tables: &Tables<K>, packet: &[u8]) -> Option<DropReason> {
    match judge_packet(tables, Origin::ToUs, packet, None) {
        Verdict::Drop(reason) => Some(reason),
        _ => None,
    }
}
/// Whose flow is known already; `None` if it is no packet.
pub(crate) fn judge_flow<K>(tables: &Tables<K>, origin: Origin, flow: Option<&Flow>) -> Verdict {
    match flow {
        _ if !tables.policies_loaded => Verdict::Drop(DropReason::PolicyNotLoaded),
        Some(flow) => judge(tables, origin, flow),
        None => Verdict::Drop(DropReason::MalformedIp),
    }
}

/// Takes a packet that has been judged into the next work. Forwarded packets lose one hop; our own do not.
#[inline(always)]
pub(crate) fn enqueue<B: PacketBuf, K>(
    tables: &Tables<K>,
    work: &mut Work<B>,
    mut item: Forward<B>,
    out: &mut Out<B>,
) {
    let sa = item.verdict.sa();
    if let Some(sa) = sa {
        tables.sad.prefetch(sa.slot);
        item.buf.prefetch_ends(outbound::FRONT, outbound::BACK);
    }
    let clear = item.verdict == Word::PASS;
    if clear && let Some(to) = destination(item.buf.data()) {
        work.ways.approach(to);
    }
    let goes_on = sa.is_some() || clear;
    if goes_on && item.origin != Origin::Own && ip::decrement_ttl(item.buf.data_mut()).is_none() {
        return expired(item, out);
    }
    work.forward.push(item);
}

/// What can be found out about packets before they are touched.
pub(crate) fn plan<B: PacketBuf, K>(tables: &Tables<K>, work: &mut Work<B>) {
    let packets = std::mem::take(&mut work.forward);
    approach(tables, work, &packets);
    outbound::plan(tables, work, &packets);
    work.forward = packets;
}

/// The packets that were planned, all of them.
pub(crate) fn forward<B: PacketBuf, K>(tables: &Tables<K>, work: &mut Work<B>, out: &mut Out<B>) {
    let mut packets = std::mem::take(&mut work.forward);
    let mut planned = 0;
    let mut left = packets.drain(..);
    while let Some(first) = left.as_slice().first() {
        if let Some(sa) = first.verdict.sa()
            && let Some(plan) = work.plans.get(planned)
        {
            planned += 1;
            outbound::frame(tables, sa, *plan, &mut left, work, out);
        } else if let Some(item) = left.next() {
            in_clear(tables, item, work, out);
        }
    }
    drop(left);
    work.forward = packets;
}

/// Has what is to be known of each SA brought near, once the table said where it is.
#[inline(always)]
fn approach<B, K>(tables: &Tables<K>, work: &Work<B>, packets: &[Forward<B>]) {
    let mut before = None;
    for item in packets {
        if let Some(sa) = item.verdict.sa()
            && before != Some(sa.slot)
        {
            before = Some(sa.slot);
            work.counts.prefetch(sa.slot);
            if let Some(sa) = tables.sad.slot(sa.slot) {
                sa.shared.prefetch(Direction::Outbound);
            }
        }
    }
}

#[inline(always)]
fn in_clear<B: PacketBuf, K>(tables: &Tables<K>, item: Forward<B>, work: &mut Work<B>, out: &mut Out<B>) {
    match item.verdict.verdict() {
        Verdict::Pass => send_clear(tables, item, work, out),
        Verdict::Drop(reason) => out.drop_packet(reason, item.buf.data(), 0),
        Verdict::Acquire => acquire(tables, item.buf.data(), out),
        // Whoever gets one of these does not forward the packet.
        Verdict::Encrypt(_) | Verdict::Ours | Verdict::Link | Verdict::Mismatch => {
            out.drop(DropReason::NotForUs);
        }
    }
}

#[cold]
fn expired<B: PacketBuf>(item: Forward<B>, out: &mut Out<B>) {
    report(item, DropReason::TtlExpired, 0, out);
}
/// Drops a packet whose sender should hear why.
#[cold]
pub(crate) fn report<B: PacketBuf>(item: Forward<B>, reason: DropReason, mtu: u16, out: &mut Out<B>) {
    out.drop_packet(reason, item.buf.data(), 0);
    let protected = item.origin == Origin::Protected;
    out.errors.push(ErrorReport { interface: item.interface, protected, reason, mtu, packet: item.buf });
}

#[cold]
fn acquire<B, K>(tables: &Tables<K>, bytes: &[u8], out: &mut Out<B>) {
    out.drop_packet(DropReason::NoSa, bytes, 0);
    let Ok((_, flow)) = flow_of(bytes) else { return };
    let Some(Entry { placed, .. }) = tables.spd.find(&flow) else { return };
    if placed.pending.claim() {
        out.events.push(Event::Acquire { policy: placed.spec.id, packet: packet_info(&flow) });
    }
}
pub(crate) fn packet_info(flow: &Flow) -> PacketInfo {
    PacketInfo {
        src: flow.src,
        dst: flow.dst,
        protocol: flow.protocol,
        src_port: flow.src_port.unwrap_or(0),
        dst_port: flow.dst_port.unwrap_or(0),
    }
}

/// Splits a packet that does not fit into `work.pieces`, or drops it and has its sender told.
/// Empty pieces: it was dropped.
pub(crate) fn fit<B: PacketBuf>(
    item: Forward<B>,
    mtu: usize,
    work: &mut Work<B>,
    out: &mut Out<B>,
) -> Vec<Forward<B>> {
    let mut pieces = std::mem::take(&mut work.pieces);
    match fragment::split(item, mtu, work.make.as_mut(), &mut pieces) {
        Ok(count) => out.fragments += count as u64 - 1,
        Err((Whole::MayNot, item)) => {
            let mtu = largest(item.buf.data(), mtu);
            report(item, DropReason::TooBig, mtu as u16, out);
        }
        Err((Whole::NoBuffer, _)) => out.drop(DropReason::NoBuffer),
    }
    pieces
}
//= rfc8200#5/least-mtu: nobody who sends IPv6 is told of less than 1280; what is larger than the path is made to fit.
/// What the sender of such a packet is told that it may send.
pub(crate) fn largest(packet: &[u8], mtu: usize) -> usize {
    if packet.first().is_some_and(|first| first >> 4 == 6) { mtu.max(V6_LEAST) } else { mtu }
}
/// Every path carries IPv6 packets of so many bytes, by whatever means.
pub(crate) const V6_LEAST: usize = 1280;

fn send_clear<B: PacketBuf, K>(tables: &Tables<K>, item: Forward<B>, work: &mut Work<B>, out: &mut Out<B>) {
    let Some(dst) = destination(item.buf.data()) else { return out.drop(DropReason::MalformedIp) };
    let Some(way) = work.ways.find(tables, dst) else { return report(item, DropReason::NoRoute, 0, out) };
    if item.buf.len() <= way.mtu.into() {
        return way.send(tables, dst, item.buf, out);
    }
    let way = *way;
    let mut pieces = fit(item, way.mtu.into(), work, out);
    for piece in pieces.drain(..) {
        way.send(tables, dst, piece.buf, out);
    }
    work.pieces = pieces;
}

/// Of a packet that was parsed before.
#[inline(always)]
fn destination(packet: &[u8]) -> Option<To> {
    match packet.first()? >> 4 {
        4 => packet.get(16..20)?.first_chunk().map(|a| To::v4(u32::from_be_bytes(*a))),
        _ => packet.get(24..40)?.first_chunk().map(|a| To::v6(u128::from_be_bytes(*a))),
    }
}

#[cfg(test)]
mod tests {
    #[test]
    fn nobody_who_sends_ipv6_is_told_of_less_than_1280() {
        let told = |first, mtu| super::largest(&[first], mtu);
        assert_eq!([told(0x60, 1200), told(0x60, 1400), told(0x45, 500)], [1280, 1400, 500]);
    }
}
