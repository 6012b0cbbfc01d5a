//! First node: what is this frame, and who is it for.
use super::cache::{Before, FlowCache, Key, Origin, Word, scope_of};
use super::forward::{Forward, enqueue, judge_flow, judge_packet};
use super::inbound::Incoming;
use super::seen::{Plain, Seen, flow_of};
use super::{Out, ToHost, Verdict, Work};
use crate::host::pmtu::Hint;
use crate::prefetch::near;
use crate::tables::{Interface, Tables};
use ipc::contract::{FrameKind, FrameMeta};
use sa::DropReason;
use std::net::{IpAddr, SocketAddr};
use wire::esp::NatT;
use wire::eth::{self, ethertype};
use wire::ip::{self, Packet, protocol};
use wire::{Flow, Mac, PacketBuf, esp, icmp, udp};

const IKE_PORT: u16 = 500;
const NAT_T_PORT: u16 = 4500;

/// What was read of a frame before the flow cache is asked. Packets of one burst are all read first, so that what the
/// cache and the SA table know of them is on its way when it is needed.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Head {
    pub packet: Plain,
    /// Where the flow cache has it.
    pub place: u32,
    /// A plain IPv4 packet to our MAC address, untagged; everything else is read again at leisure.
    pub plain: bool,
}

impl Head {
    const OTHER: Self = Self { packet: Plain::NOTHING, place: 0, plain: false };
}

/// The untagged interface of a port.
#[derive(Clone, Copy)]
pub(crate) struct Untagged<'a> {
    pub index: u16,
    interface: &'a Interface,
    /// The MAC address, its first byte the lowest.
    mac: u64,
    pub scope: u64,
}

/// The interface of a port's untagged frames.
#[inline(always)]
pub(crate) fn untagged<K>(tables: &Tables<K>, port: u16) -> Option<Untagged<'_>> {
    let (index, interface) = tables.ports.interface_of(port, None)?;
    let [a, b, c, d, e, f] = interface.mac.0;
    let mac = u64::from_le_bytes([a, b, c, d, e, f, 0, 0]);
    Some(Untagged { index, interface, mac, scope: scope_of(index.into(), tables.generation) })
}
/// Reads the heads of a burst.
#[inline(always)]
pub(crate) fn read_heads<B: PacketBuf, K>(
    tables: &Tables<K>,
    work: &mut Work<B>,
    link: Untagged<'_>,
    packets: &[B],
) {
    let Work { heads, cache, .. } = work;
    heads.resize(packets.len(), Head::OTHER);
    // Written where they stay, and of the others nothing but that they are others.
    for (head, packet) in heads.iter_mut().zip(packets) {
        match read(tables, cache, link, packet.data()) {
            Some(read) => *head = read,
            None => head.plain = false,
        }
    }
}
/// A burst whose heads have been read.
pub(crate) fn sort<B: PacketBuf, K>(
    tables: &Tables<K>,
    work: &mut Work<B>,
    link: Untagged<'_>,
    port: u16,
    packets: &mut Vec<B>,
    out: &mut Out<B>,
) {
    let heads = std::mem::take(&mut work.heads);
    for (packet, head) in packets.drain(..).zip(&heads) {
        match head.plain {
            true => plain(tables, work, link, port, packet, head, out),
            false => classify(tables, work, port, packet, out),
        }
    }
    work.heads = heads;
}

#[inline(always)]
fn read<K>(tables: &Tables<K>, cache: &FlowCache, link: Untagged<'_>, frame: &[u8]) -> Option<Head> {
    let packet = read_plain(link, frame)?;
    if packet.protocol == protocol::ESP {
        tables.sad.prefetch_inbound(packet.upper.swap_bytes());
        // The ICV, which the engine waits for: the start is near already.
        frame.last().into_iter().for_each(near);
    }
    Some(Head { packet, place: cache.approach(packet.key, link.scope), plain: true })
}
#[inline(always)]
fn read_plain(link: Untagged<'_>, frame: &[u8]) -> Option<Plain> {
    const MAC: u64 = 0xffff_ffff_ffff;
    let (header, packet) = frame.split_first_chunk::<{ eth::HEADER }>()?;
    let [a, b, c, d, e, f, g, h, _, _, _, _, kind @ ..] = *header;
    let dst = u64::from_le_bytes([a, b, c, d, e, f, g, h]) & MAC;
    if dst != link.mac || u16::from_be_bytes(kind) != ethertype::IPV4 {
        return None;
    }
    Plain::parse(packet, Origin::Clear)
}

#[inline(always)]
fn plain<B: PacketBuf, K>(
    tables: &Tables<K>,
    work: &mut Work<B>,
    link: Untagged<'_>,
    port: u16,
    mut buf: B,
    head: &Head,
    out: &mut Out<B>,
) {
    let Untagged { index, interface, scope, .. } = link;
    let judge = |before| first_look(tables, interface, Some(&head.packet.flow()), before);
    let verdict = work.cache.look_up_at(head.place, head.packet.key, scope, judge);
    let is_esp = head.packet.protocol == protocol::ESP;
    if verdict == Word::LINK || verdict == Word::OURS && !is_esp {
        return classify(tables, work, port, buf, out);
    }
    if buf.cut(eth::HEADER, head.packet.total_len.into()).is_none() {
        return out.drop(DropReason::MalformedIp);
    }
    if verdict == Word::OURS {
        let (esp_at, spi) = (ip::V4_HEADER as u16, head.packet.upper.swap_bytes());
        return work.incoming.push(Incoming { buf, spi, esp_at, ah: false, ports: None, interface: index });
    }
    enqueue(tables, work, Forward { buf, verdict, origin: Origin::Clear, interface: Some(index) }, out);
}

/// Any frame.
#[inline(never)]
pub(crate) fn classify<B: PacketBuf, K>(
    tables: &Tables<K>,
    work: &mut Work<B>,
    port: u16,
    mut buf: B,
    out: &mut Out<B>,
) {
    let Ok(frame) = eth::Frame::parse(buf.data()) else { return out.drop(DropReason::MalformedEthernet) };
    let Some((index, interface)) = tables.ports.interface_of(port, frame.vlan) else {
        return out.drop(DropReason::NotForUs);
    };
    if frame.dst != interface.mac && !frame.dst.is_group() {
        return out.drop(DropReason::NotForUs);
    }
    let version = match frame.ethertype {
        ethertype::ARP => {
            buf.advance(frame.payload_at);
            return to_host(buf, index, frame.dst, frame.src, ethertype::ARP, out);
        }
        ethertype::IPV4 => 4,
        ethertype::IPV6 => 6,
        _ => return out.drop(DropReason::MalformedEthernet),
    };
    buf.advance(frame.payload_at);
    let seen = match Seen::parse(buf.data(), Origin::Clear) {
        Ok(seen) if seen.ipv4 == (version == 4) && !seen.from_group => seen,
        _ => return out.drop(DropReason::MalformedIp),
    };
    buf.truncate(seen.total_len.into());
    let key = seen.key.within(index.into(), tables.generation);
    let verdict = work.cache.look_up(&key, |before| {
        let flow = flow_of(buf.data()).ok().map(|(_, flow)| flow);
        first_look(tables, interface, flow.as_ref(), before)
    });
    match verdict {
        Word::OURS if seen.plain && seen.protocol == protocol::ESP => {
            let esp_at = ip::V4_HEADER as u16;
            work.incoming.push(Incoming::new(buf, esp_at, None, index));
        }
        Word::OURS | Word::LINK => {
            let link = Link { index, dst: frame.dst, src: frame.src };
            local(tables, work, &link, verdict == Word::OURS, buf, out);
        }
        //= rfc1812#5.3.4/link-broadcast: a unicast packet in a link-layer broadcast goes nowhere.
        _ if frame.dst.is_group() => out.drop(DropReason::NotForUs),
        _ => {
            let item = Forward { buf, verdict, origin: Origin::Clear, interface: Some(index) };
            enqueue(tables, work, item, out);
        }
    }
}

#[cold]
fn first_look<K>(
    tables: &Tables<K>,
    interface: &Interface,
    flow: Option<&Flow>,
    before: Option<Before>,
) -> Verdict {
    if let Some(verdict) = before.zip(flow).and_then(|(before, flow)| before.still(tables, flow)) {
        return verdict;
    }
    match flow {
        Some(flow) if tables.ports.is_own(flow.dst) => Verdict::Ours,
        Some(flow) if is_link(interface, flow.dst) => Verdict::Link,
        flow => judge_flow(tables, Origin::Clear, flow),
    }
}

/// How a frame came.
struct Link {
    index: u16,
    dst: Mac,
    src: Mac,
}

/// A datagram for the gateway that came in pieces and is whole now.
#[cold]
pub(crate) fn whole<B: PacketBuf, K>(
    tables: &Tables<K>,
    work: &mut Work<B>,
    index: u16,
    buf: B,
    out: &mut Out<B>,
) {
    let Some(interface) = tables.ports.get(index) else { return out.drop(DropReason::NotForUs) };
    let link = Link { index, dst: interface.mac, src: interface.mac };
    let ours = |(packet, _): (Packet, _)| packet.fragment.is_none() && tables.ports.is_own(packet.dst);
    match flow_of(buf.data()).is_ok_and(ours) {
        true => local(tables, work, &link, true, buf, out),
        // The address was taken away while the pieces came.
        false => out.drop(DropReason::NotForUs),
    }
}

/// Whether the link is meant, or a group.
fn is_link(interface: &Interface, dst: IpAddr) -> bool {
    match dst {
        IpAddr::V4(a) => {
            let broadcast = |(own, len): &(IpAddr, u8)| {
                *len < 31 && sa::Prefix::new(*own, *len).is_some_and(|p| p.range().last() == dst)
            };
            a.is_multicast() || a.is_broadcast() || interface.addresses.iter().any(broadcast)
        }
        IpAddr::V6(a) => a.is_multicast() || a.is_unicast_link_local(),
    }
}

fn local<B: PacketBuf, K>(
    tables: &Tables<K>,
    work: &mut Work<B>,
    link: &Link,
    own: bool,
    buf: B,
    out: &mut Out<B>,
) {
    let Ok((packet, flow)) = flow_of(buf.data()) else { return out.drop(DropReason::MalformedIp) };
    match (packet.protocol, flow.dst_port) {
        //= rfc4303#3.4.1/no-fragments: ESP is reassembled before it is processed; so is AH (RFC 4302 3.4.1) and IKE.
        (protocol::ESP | protocol::AH | protocol::UDP, _) if own && packet.fragment.is_some() => {
            return out.pieces.push(ToHost { interface: link.index, frame: buf });
        }
        (protocol::ESP, _) if own => {
            let (esp_at, interface) = (packet.upper_at, link.index);
            work.incoming.push(Incoming::new(buf, esp_at, None, interface));
            return;
        }
        (protocol::AH, _) if own => {
            return work.incoming.push(Incoming::ah(buf, packet.upper_at, link.index));
        }
        (protocol::UDP, Some(IKE_PORT | NAT_T_PORT)) if own => {
            return udp_for_us(work, link, &packet, buf, out);
        }
        _ => {}
    }
    // A hint about ESP comes in clear whatever the policies say; it proves itself.
    if own
        && matches!(packet.protocol, protocol::ICMP | protocol::ICMPV6)
        && let Some(hint) = Hint::parse(buf.data())
    {
        return out.hints.push(hint);
    }
    let exempt = !own || is_neighbour_discovery(&packet, &flow);
    if !exempt {
        let key = Key::of(&flow, Origin::ToUs).within(0, tables.generation);
        let verdict =
            work.cache.look_up(&key, |before| judge_packet(tables, Origin::ToUs, buf.data(), before));
        if let Verdict::Drop(reason) = verdict.verdict() {
            return out.drop_packet(reason, buf.data(), 0);
        }
    }
    let kind = if packet.is_ipv4() { ethertype::IPV4 } else { ethertype::IPV6 };
    to_host(buf, link.index, link.dst, link.src, kind, out);
}

/// Neighbour discovery has to work before any SA does.
fn is_neighbour_discovery(packet: &Packet, flow: &Flow) -> bool {
    let kind = flow.src_port.map(|p| (p >> 8) as u8);
    packet.protocol == protocol::ICMPV6
        && matches!(kind, Some(icmp::v6::ROUTER_SOLICITATION..=icmp::v6::REDIRECT))
}

/// UDP on an IKE port of ours (RFC 3948 2, RFC 7296 2.23). Not held against the policies: it makes SAs.
fn udp_for_us<B: PacketBuf>(work: &mut Work<B>, link: &Link, packet: &Packet, mut buf: B, out: &mut Out<B>) {
    match Inside::of(packet, buf.data()) {
        None => out.drop(DropReason::MalformedIp),
        Some(Inside::Nothing(reason)) => out.drop(reason),
        Some(Inside::Esp { at, end, ports }) => {
            buf.truncate(end);
            work.incoming.push(Incoming::new(buf, at as u16, Some(ports), link.index));
        }
        Some(Inside::Ike { meta, at, end }) => match buf.cut(at, end - at) {
            Some(_) => out.ike.push(super::IkeFrame { meta, payload: buf }),
            None => out.drop(DropReason::MalformedIp),
        },
    }
}

/// What a UDP datagram on an IKE port of ours holds, and where.
enum Inside {
    Ike { meta: FrameMeta, at: usize, end: usize },
    Esp { at: usize, end: usize, ports: (u16, u16) },
    Nothing(DropReason),
}
impl Inside {
    /// The checksum is not looked at: ESP and IKE authenticate themselves, and RFC 3948 2.1 forbids to rely on it.
    fn of(packet: &Packet, bytes: &[u8]) -> Option<Self> {
        let (header, payload) = udp::parse(packet.upper(bytes)).ok()?;
        let (src_port, dst_port) = (header.src_port.get(), header.dst_port.get());
        let at = usize::from(packet.upper_at) + udp::HEADER;
        let end = at + payload.len();
        let skip = match (dst_port, esp::nat_t(payload)) {
            (IKE_PORT, _) => 0,
            (_, NatT::Ike) => esp::NON_ESP_MARKER.len(),
            (_, NatT::Keepalive) => return Some(Self::Nothing(DropReason::Keepalive)),
            (_, NatT::Short) => return Some(Self::Nothing(DropReason::EspTooShort)),
            (_, NatT::Esp) => return Some(Self::Esp { at, end, ports: (src_port, dst_port) }),
        };
        let meta = FrameMeta {
            local: SocketAddr::new(packet.dst, dst_port),
            remote: SocketAddr::new(packet.src, src_port),
            kind: FrameKind::Ike,
        };
        Some(Self::Ike { meta, at: at + skip, end })
    }
}

/// The IKE message in a whole datagram for the gateway, if it holds one.
pub fn ike_in(datagram: &[u8]) -> Option<(FrameMeta, &[u8])> {
    let packet = Packet::parse(datagram).ok()?;
    let flow = Flow::of(&packet, datagram);
    if packet.protocol != protocol::UDP || !matches!(flow.dst_port, Some(IKE_PORT | NAT_T_PORT)) {
        return None;
    }
    match Inside::of(&packet, datagram)? {
        Inside::Ike { meta, at, end } => Some((meta, datagram.get(at..end)?)),
        Inside::Esp { .. } | Inside::Nothing(_) => None,
    }
}

/// Puts an untagged Ethernet header in front of what `buf` holds.
pub(crate) fn to_host<B: PacketBuf>(
    mut buf: B,
    interface: u16,
    dst: Mac,
    src: Mac,
    kind: u16,
    out: &mut Out<B>,
) {
    match buf.prepend(eth::HEADER).and_then(|bytes| eth::write(bytes, dst, src, None, kind)) {
        Some(()) => out.host.push(ToHost { interface, frame: buf }),
        None => out.drop(DropReason::NoHeadroom),
    }
}

pub(crate) fn originate<B: PacketBuf, K>(
    tables: &Tables<K>,
    work: &mut Work<B>,
    mut buf: B,
    exempt: bool,
    out: &mut Out<B>,
) {
    let Ok(seen) = Seen::parse(buf.data(), Origin::Own) else { return out.drop(DropReason::MalformedIp) };
    buf.truncate(seen.total_len.into());
    let key = seen.key.within(tables.clients.version(), tables.generation);
    let verdict = match exempt {
        true => Word::PASS,
        false => work.cache.look_up(&key, |before| judge_packet(tables, Origin::Own, buf.data(), before)),
    };
    enqueue(tables, work, Forward { buf, verdict, origin: Origin::Own, interface: None }, out);
}
