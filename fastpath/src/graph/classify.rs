//! First node: what is this frame, and who is it for.
use super::cache::{Key, Origin};
use super::forward::{Forward, judge_packet};
use super::inbound::Incoming;
use super::seen::{Seen, flow_of};
use super::{Out, ToHost, Verdict, Work};
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

pub(crate) fn classify<B: PacketBuf, K>(
    tables: &Tables<K>,
    stage: &mut Work<B>,
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
    let verdict = stage.cache.look_up(&key, || first_look(tables, interface, buf.data()));
    match verdict {
        Verdict::Ours if seen.plain && seen.protocol == protocol::ESP => {
            stage.incoming.push(Incoming {
                buf,
                esp_at: ip::V4_HEADER as u16,
                ports: None,
                interface: index,
            });
        }
        Verdict::Ours | Verdict::Link => {
            local(tables, stage, &Link { index, frame }, verdict == Verdict::Ours, buf, out);
        }
        //= rfc1812#5.3.4/link-broadcast: a unicast packet in a link-layer broadcast goes nowhere.
        _ if frame.dst.is_group() => out.drop(DropReason::NotForUs),
        _ => stage.forward.push(Forward { buf, verdict, origin: Origin::Clear, interface: Some(index) }),
    }
}

#[cold]
fn first_look<K>(tables: &Tables<K>, interface: &Interface, bytes: &[u8]) -> Verdict {
    match Packet::parse(bytes) {
        Ok(packet) if tables.ports.is_own(packet.dst) => Verdict::Ours,
        Ok(packet) if is_link(interface, packet.dst) => Verdict::Link,
        _ => judge_packet(tables, Origin::Clear, bytes),
    }
}

/// How a frame came.
struct Link {
    index: u16,
    frame: eth::Frame,
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
    stage: &mut Work<B>,
    link: &Link,
    own: bool,
    buf: B,
    out: &mut Out<B>,
) {
    let Ok((packet, flow)) = flow_of(buf.data()) else { return out.drop(DropReason::MalformedIp) };
    match (packet.protocol, flow.dst_port) {
        //= rfc4303#3.4.1/no-fragments: ESP is reassembled before it is processed, or dropped.
        (protocol::ESP, _) if packet.fragment.is_some() => return out.drop(DropReason::EspFragment),
        (protocol::ESP, _) if own => {
            let (esp_at, interface) = (packet.upper_at, link.index);
            stage.incoming.push(Incoming { buf, esp_at, ports: None, interface });
            return;
        }
        //= rfc4302#3.4.2/no-sa: no SA of this gateway is for AH, so none has its SPI.
        (protocol::AH, _) if own => return out.drop(DropReason::NoSuchSa),
        (protocol::UDP, Some(IKE_PORT | NAT_T_PORT)) if own => {
            if packet.fragment.is_some() {
                return out.drop(DropReason::EspFragment);
            }
            return udp_for_us(stage, link, packet, buf, out);
        }
        _ => {}
    }
    let exempt = !own || is_neighbour_discovery(&packet, &flow);
    if !exempt {
        let key = Key::of(&flow, Origin::ToUs).within(0, tables.generation);
        let verdict = stage.cache.look_up(&key, || judge_packet(tables, Origin::ToUs, buf.data()));
        if let Verdict::Drop(reason) = verdict {
            return out.drop(reason);
        }
    }
    let kind = if packet.is_ipv4() { ethertype::IPV4 } else { ethertype::IPV6 };
    to_host(buf, link.index, link.frame.dst, link.frame.src, kind, out);
}

/// Neighbour discovery has to work before any SA does.
fn is_neighbour_discovery(packet: &Packet, flow: &Flow) -> bool {
    let kind = flow.src_port.map(|p| (p >> 8) as u8);
    packet.protocol == protocol::ICMPV6
        && matches!(kind, Some(icmp::v6::ROUTER_SOLICITATION..=icmp::v6::REDIRECT))
}

/// UDP on an IKE port of ours (RFC 3948 2, RFC 7296 2.23). Not held against the policies: it makes SAs.
fn udp_for_us<B: PacketBuf>(stage: &mut Work<B>, link: &Link, packet: Packet, mut buf: B, out: &mut Out<B>) {
    // The checksum is not looked at: ESP and IKE authenticate themselves, and RFC 3948 2.1 forbids to
    // rely on it.
    let Ok((header, payload)) = udp::parse(packet.upper(buf.data())) else {
        return out.drop(DropReason::MalformedIp);
    };
    let (src_port, dst_port) = (header.src_port.get(), header.dst_port.get());
    let payload_at = usize::from(packet.upper_at) + udp::HEADER;
    let end = payload_at + payload.len();
    let skip = match (dst_port, esp::nat_t(payload)) {
        (IKE_PORT, _) => 0,
        (_, NatT::Ike) => esp::NON_ESP_MARKER.len(),
        (_, NatT::Keepalive) => return out.drop(DropReason::Keepalive),
        (_, NatT::Short) => return out.drop(DropReason::EspTooShort),
        (_, NatT::Esp) => {
            buf.truncate(end);
            let (esp_at, ports) = (payload_at as u16, Some((src_port, dst_port)));
            stage.incoming.push(Incoming { buf, esp_at, ports, interface: link.index });
            return;
        }
    };
    buf.truncate(end);
    buf.advance(payload_at + skip);
    let meta = FrameMeta {
        local: SocketAddr::new(packet.dst, dst_port),
        remote: SocketAddr::new(packet.src, src_port),
        kind: FrameKind::Ike,
    };
    out.ike.push(super::IkeFrame { meta, payload: buf });
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
    stage: &mut Work<B>,
    mut buf: B,
    exempt: bool,
    out: &mut Out<B>,
) {
    let Ok(seen) = Seen::parse(buf.data(), Origin::Own) else { return out.drop(DropReason::MalformedIp) };
    buf.truncate(seen.total_len.into());
    let key = seen.key.within(0, tables.generation);
    let verdict = match exempt {
        true => Verdict::Pass,
        false => stage.cache.look_up(&key, || judge_packet(tables, Origin::Own, buf.data())),
    };
    stage.forward.push(Forward { buf, verdict, origin: Origin::Own, interface: None });
}
