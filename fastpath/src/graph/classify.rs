//! First node: what is this frame, and who is it for.
use super::cache::Origin;
use super::forward::{Forward, judge};
use super::inbound::Incoming;
use super::{Out, Stage, ToHost, Verdict};
use crate::tables::{Interface, Tables};
use ipc::contract::{FrameKind, FrameMeta};
use sa::DropReason;
use std::net::{IpAddr, SocketAddr};
use wire::esp::NatT;
use wire::eth::{self, ethertype};
use wire::ip::{Packet, protocol};
use wire::{Flow, Mac, PacketBuf, esp, icmp, udp};

const IKE_PORT: u16 = 500;
const NAT_T_PORT: u16 = 4500;

pub(crate) fn classify<B: PacketBuf, K>(
    tables: &Tables<K>,
    stage: &mut Stage<B>,
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
    let packet = match Packet::parse(buf.data()) {
        Ok(packet) if packet.is_ipv4() == (version == 4) && !packet.src.is_multicast() => packet,
        _ => return out.drop(DropReason::MalformedIp),
    };
    buf.truncate(packet.total_len.into());
    let link = Link { index, frame };
    if !is_local(tables, interface, packet.dst) {
        if frame.dst.is_group() {
            //= rfc1812#5.3.4/link-broadcast: a unicast packet in a link-layer broadcast goes nowhere.
            return out.drop(DropReason::NotForUs);
        }
        let flow = Flow::of(&packet, buf.data());
        stage.forward.push(Forward {
            buf,
            packet,
            flow,
            origin: Origin::Clear,
            exempt: false,
            interface: Some(index),
        });
        return;
    }
    local(tables, stage, &link, packet, buf, out);
}

/// How a frame came.
struct Link {
    index: u16,
    frame: eth::Frame,
}

/// Whether the gateway itself is meant: an address of ours, a group, or the link.
fn is_local<K>(tables: &Tables<K>, interface: &Interface, dst: IpAddr) -> bool {
    tables.ports.is_own(dst)
        || match dst {
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
    stage: &mut Stage<B>,
    link: &Link,
    packet: Packet,
    buf: B,
    out: &mut Out<B>,
) {
    let flow = Flow::of(&packet, buf.data());
    let own = tables.ports.is_own(packet.dst);
    match (packet.protocol, flow.dst_port) {
        //= rfc4303#3.4.1/no-fragments: ESP is reassembled before it is processed, or dropped.
        (protocol::ESP, _) if packet.fragment.is_some() => return out.drop(DropReason::EspFragment),
        (protocol::ESP, _) if own => {
            stage.incoming.push(Incoming::new(buf, &packet, packet.upper_at.into(), None, link.index));
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
        let verdict = if tables.policies_loaded {
            stage.cache.look_up(tables.generation, Origin::ToUs, &flow, || judge(tables, Origin::ToUs, &flow))
        } else {
            Verdict::Drop(DropReason::PolicyNotLoaded)
        };
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
fn udp_for_us<B: PacketBuf>(stage: &mut Stage<B>, link: &Link, packet: Packet, mut buf: B, out: &mut Out<B>) {
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
            let ports = Some((src_port, dst_port));
            stage.incoming.push(Incoming::new(buf, &packet, payload_at, ports, link.index));
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

pub(crate) fn originate<B: PacketBuf>(stage: &mut Stage<B>, mut buf: B, exempt: bool, out: &mut Out<B>) {
    let Ok(packet) = Packet::parse(buf.data()) else { return out.drop(DropReason::MalformedIp) };
    buf.truncate(packet.total_len.into());
    let flow = Flow::of(&packet, buf.data());
    stage.forward.push(Forward { buf, packet, flow, origin: Origin::Own, exempt, interface: None });
}
