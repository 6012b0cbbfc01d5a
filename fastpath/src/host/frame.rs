//! The few frames the host side reads and writes. Parsers are total; what does not fit is `None`.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

pub type Mac = [u8; 6];
pub const ARP: u16 = 0x0806;
pub const IPV4: u16 = 0x0800;
pub const IPV6: u16 = 0x86dd;
pub const ETHERNET: usize = 14;
pub const IPV6_HEADER: usize = 40;
const BROADCAST: Mac = [0xff; 6];
pub const ALL_NODES: Ipv6Addr = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
pub const ALL_NODES_MAC: Mac = [0x33, 0x33, 0, 0, 0, 1];
pub const ICMPV6: u8 = 58;
const SOLICITATION: u8 = 135;
const ADVERTISEMENT: u8 = 136;

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}
pub fn be16(bytes: &[u8], at: usize) -> Option<u16> {
    array(bytes, at).map(u16::from_be_bytes)
}
pub fn ether_type(frame: &[u8]) -> Option<u16> {
    be16(frame, 12)
}
pub fn source_mac(frame: &[u8]) -> Option<Mac> {
    array(frame, 6)
}
/// EUI-64 from the MAC (RFC 4291 app. A).
pub fn link_local(mac: Mac) -> Ipv6Addr {
    let [a, b, c, d, e, f] = mac;
    Ipv6Addr::from([0xfe, 0x80, 0, 0, 0, 0, 0, 0, a ^ 2, b, c, 0xff, 0xfe, d, e, f])
}

/// Puts an Ethernet header before an IP packet.
pub fn ethernet(source: Mac, destination: Mac, packet: &[u8]) -> Option<Vec<u8>> {
    let kind = match packet.first()? >> 4 {
        4 => IPV4,
        6 => IPV6,
        _ => return None,
    };
    Some(with_header(source, destination, kind, packet))
}
fn with_header(source: Mac, destination: Mac, kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::with_capacity(ETHERNET + payload.len());
    frame.extend_from_slice(&destination);
    frame.extend_from_slice(&source);
    frame.extend_from_slice(&kind.to_be_bytes());
    frame.extend_from_slice(payload);
    frame
}
/// Inserts an 802.1Q tag.
pub fn with_vlan(mut frame: Vec<u8>, vlan: Option<u16>) -> Vec<u8> {
    if let Some(id) = vlan.filter(|_| frame.len() >= ETHERNET) {
        let [high, low] = (id & 0x0fff).to_be_bytes();
        frame.splice(12..12, [0x81, 0x00, high, low]);
    }
    frame
}

/// ARP for IPv4 over Ethernet (RFC 826).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    pub is_request: bool,
    pub sender_mac: Mac,
    pub sender_ip: Ipv4Addr,
    pub target_mac: Mac,
    pub target_ip: Ipv4Addr,
}
impl Arp {
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let body = frame.get(ETHERNET..)?;
        let operation = be16(body, 6)?;
        let fits = array::<6>(body, 0)? == [0, 1, 8, 0, 6, 4] && matches!(operation, 1 | 2);
        fits.then_some(())?;
        Some(Self {
            is_request: operation == 1,
            sender_mac: array(body, 8)?,
            sender_ip: array::<4>(body, 14)?.into(),
            target_mac: array(body, 18)?,
            target_ip: array::<4>(body, 24)?.into(),
        })
    }
    fn write(&self, destination: Mac) -> Vec<u8> {
        let mut body = vec![0, 1, 8, 0, 6, 4, 0, if self.is_request { 1 } else { 2 }];
        body.extend_from_slice(&self.sender_mac);
        body.extend_from_slice(&self.sender_ip.octets());
        body.extend_from_slice(&self.target_mac);
        body.extend_from_slice(&self.target_ip.octets());
        with_header(self.sender_mac, destination, ARP, &body)
    }
}
pub fn arp_request(mac: Mac, source: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let arp =
        Arp { is_request: true, sender_mac: mac, sender_ip: source, target_mac: [0; 6], target_ip: target };
    arp.write(BROADCAST)
}
pub fn arp_reply(mac: Mac, request: &Arp) -> Vec<u8> {
    let reply = Arp {
        is_request: false,
        sender_mac: mac,
        sender_ip: request.target_ip,
        target_mac: request.sender_mac,
        target_ip: request.sender_ip,
    };
    reply.write(request.sender_mac)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Discovery {
    Solicitation {
        source: Ipv6Addr,
        target: Ipv6Addr,
        link: Option<Mac>,
    },
    Advertisement {
        target: Ipv6Addr,
        link: Option<Mac>,
    },
    /// Router discovery, redirects: left to the system.
    Other,
}
impl Discovery {
    /// `None` when the frame is no valid neighbour discovery.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        let packet = frame.get(ETHERNET..)?;
        let payload_len = usize::from(be16(packet, 4)?);
        let icmp = packet.get(IPV6_HEADER..IPV6_HEADER.checked_add(payload_len)?)?;
        let (source, destination) =
            (Ipv6Addr::from(array::<16>(packet, 8)?), Ipv6Addr::from(array::<16>(packet, 24)?));
        let kind = *icmp.first()?;
        //= rfc4861#7.1.1/validation: a hop limit of 255 proves that no router has passed the message on.
        let valid = packet.first()? >> 4 == 6
            && *packet.get(6)? == ICMPV6
            && *packet.get(7)? == 255
            && (133..=137).contains(&kind)
            && *icmp.get(1)? == 0
            && checksum_v6(source, destination, icmp) == 0;
        if !valid {
            return None;
        }
        if kind != SOLICITATION && kind != ADVERTISEMENT {
            return Some(Self::Other);
        }
        let target = Ipv6Addr::from(array::<16>(icmp, 8)?);
        if target.is_multicast() {
            return None;
        }
        let options = icmp.get(24..)?;
        Some(match kind {
            SOLICITATION => Self::Solicitation { source, target, link: link_option(options, 1)? },
            _ => Self::Advertisement { target, link: link_option(options, 2)? },
        })
    }
}
/// The link-layer address option of the given type. Outer `None`: the options are malformed.
fn link_option(mut options: &[u8], wanted: u8) -> Option<Option<Mac>> {
    let mut link = None;
    while let [kind, units, ..] = *options {
        //= rfc4861#4.6/zero-length: an option of length 0 makes the whole message invalid.
        let len = usize::from(units) * 8;
        let option = options.get(..len).filter(|_| units != 0)?;
        if kind == wanted && units == 1 {
            link = array(option, 2);
        }
        options = options.get(len..)?;
    }
    options.is_empty().then_some(link)
}
pub fn solicitation(mac: Mac, source: Ipv6Addr, target: Ipv6Addr) -> Vec<u8> {
    let [.., a, b, c] = target.octets();
    let group = Ipv6Addr::from([0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c]);
    let mut icmp = vec![SOLICITATION, 0, 0, 0, 0, 0, 0, 0];
    icmp.extend_from_slice(&target.octets());
    icmp.extend_from_slice(&[1, 1]);
    icmp.extend_from_slice(&mac);
    with_header(mac, [0x33, 0x33, 0xff, a, b, c], IPV6, &ipv6_icmp(source, group, 255, icmp))
}
pub fn advertisement(mac: Mac, to: Mac, target: Ipv6Addr, destination: Ipv6Addr, solicited: bool) -> Vec<u8> {
    //= rfc4861#4.4/flags: router and override always, solicited when somebody asked.
    let flags = 0xa0 | if solicited { 0x40 } else { 0 };
    let mut icmp = vec![ADVERTISEMENT, 0, 0, 0, flags, 0, 0, 0];
    icmp.extend_from_slice(&target.octets());
    icmp.extend_from_slice(&[2, 1]);
    icmp.extend_from_slice(&mac);
    with_header(mac, to, IPV6, &ipv6_icmp(target, destination, 255, icmp))
}

/// An IPv6 packet around a finished ICMPv6 message; fills in its checksum.
pub fn ipv6_icmp(source: Ipv6Addr, destination: Ipv6Addr, hop_limit: u8, mut icmp: Vec<u8>) -> Vec<u8> {
    let sum = checksum_v6(source, destination, &icmp);
    if let Some(field) = icmp.get_mut(2..4) {
        field.copy_from_slice(&sum.to_be_bytes());
    }
    let mut packet = vec![0x60, 0, 0, 0];
    packet.extend_from_slice(&(icmp.len() as u16).to_be_bytes());
    packet.extend_from_slice(&[ICMPV6, hop_limit]);
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&destination.octets());
    packet.extend_from_slice(&icmp);
    packet
}
/// An IPv4 packet around a payload; fills in the header checksum.
pub fn ipv4(source: Ipv4Addr, destination: Ipv4Addr, protocol: u8, ttl: u8, payload: &[u8]) -> Vec<u8> {
    let total = (20 + payload.len()) as u16;
    let mut packet = vec![0x45, 0xc0];
    packet.extend_from_slice(&total.to_be_bytes());
    packet.extend_from_slice(&[0, 0, 0, 0, ttl, protocol, 0, 0]);
    packet.extend_from_slice(&source.octets());
    packet.extend_from_slice(&destination.octets());
    let sum = wire::checksum(&packet);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet.extend_from_slice(payload);
    packet
}
/// Internet checksum with the IPv6 pseudo-header (RFC 8200 8.1); 0 over a message that is intact.
pub fn checksum_v6(source: Ipv6Addr, destination: Ipv6Addr, icmp: &[u8]) -> u16 {
    let mut bytes = Vec::with_capacity(40 + icmp.len());
    bytes.extend_from_slice(&source.octets());
    bytes.extend_from_slice(&destination.octets());
    bytes.extend_from_slice(&(icmp.len() as u32).to_be_bytes());
    bytes.extend_from_slice(&[0, 0, 0, ICMPV6]);
    bytes.extend_from_slice(icmp);
    wire::checksum(&bytes)
}
pub fn addresses(packet: &[u8]) -> Option<(IpAddr, IpAddr)> {
    match packet.first()? >> 4 {
        4 => Some((IpAddr::from(array::<4>(packet, 12)?), IpAddr::from(array::<4>(packet, 16)?))),
        6 => Some((IpAddr::from(array::<16>(packet, 8)?), IpAddr::from(array::<16>(packet, 24)?))),
        _ => None,
    }
}
