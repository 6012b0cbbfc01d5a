//! ICMP and ICMPv6: the answer to an echo, and errors about packets that could not go on.
use super::IcmpError;
use super::frame::{self, ETHERNET, ICMPV6, IPV6_HEADER, be16};
use std::net::IpAddr;

const ICMP: u8 = 1;
const HOP_LIMIT: u8 = 64;
/// An ICMPv6 error must fit the minimum MTU (RFC 4443 2.4 c).
const V6_ERROR_MAX: usize = 1280;
/// As much of the culprit as IPv4 hosts are known to take (RFC 1812 4.3.2.3).
const V4_ERROR_MAX: usize = 576;

/// Errors allowed a second, all interfaces together (RFC 1812 4.3.2.8, RFC 4443 2.4 f).
#[derive(Debug, Default)]
pub struct Budget {
    second: u64,
    spent: u32,
}
impl Budget {
    const PER_SECOND: u32 = 1000;
    pub fn spend(&mut self, now_ms: u64) -> bool {
        if now_ms / 1000 != self.second {
            *self = Self { second: now_ms / 1000, spent: 0 };
        }
        self.spent += 1;
        self.spent <= Self::PER_SECOND
    }
}

/// The reply to an echo request in `ethernet` frame for one of our addresses, as an IP packet.
pub fn echo_reply(ethernet: &[u8], owns: impl Fn(IpAddr) -> bool) -> Option<Vec<u8>> {
    let packet = ethernet.get(ETHERNET..)?;
    let (source, destination) = frame::addresses(packet)?;
    if !owns(destination) || source.is_multicast() || source.is_unspecified() {
        return None;
    }
    match (source, destination) {
        (IpAddr::V4(source), IpAddr::V4(destination)) => {
            let header = usize::from(packet.first()? & 0x0f) * 4;
            let whole = be16(packet, 6)? & 0x3fff == 0; // not a fragment
            let icmp = packet.get(header..usize::from(be16(packet, 2)?))?;
            let asks = *packet.get(9)? == ICMP && icmp.len() >= 8 && icmp.starts_with(&[8, 0]);
            if header < 20 || !whole || !asks || wire::checksum(icmp) != 0 {
                return None;
            }
            Some(frame::ipv4(destination, source, ICMP, HOP_LIMIT, &finish_v4(0, icmp)))
        }
        (IpAddr::V6(source), IpAddr::V6(destination)) => {
            let icmp = packet.get(IPV6_HEADER..IPV6_HEADER + usize::from(be16(packet, 4)?))?;
            let asks = *packet.get(6)? == ICMPV6 && icmp.len() >= 8 && icmp.starts_with(&[128, 0]);
            if !asks || frame::checksum_v6(source, destination, icmp) != 0 {
                return None;
            }
            let mut reply = icmp.to_vec();
            reply[0] = 129;
            reply[2..4].fill(0);
            Some(frame::ipv6_icmp(destination, source, HOP_LIMIT, reply))
        }
        _ => None,
    }
}
fn finish_v4(kind: u8, message: &[u8]) -> Vec<u8> {
    let mut reply = message.to_vec();
    reply[0] = kind;
    reply[2..4].fill(0);
    let sum = wire::checksum(&reply);
    reply[2..4].copy_from_slice(&sum.to_be_bytes());
    reply
}

/// Whom an error about `packet` would go to. `None` when none may be sent (RFC 1812 4.3.2.7, RFC 4443 2.4 e).
pub fn sender(packet: &[u8]) -> Option<IpAddr> {
    let (source, destination) = frame::addresses(packet)?;
    let unusable = source.is_unspecified() || source.is_multicast() || source.is_loopback();
    if unusable || destination.is_multicast() || matches!(source, IpAddr::V4(a) if a.is_broadcast()) {
        return None;
    }
    let errs_itself = match source {
        IpAddr::V4(_) => {
            let header = usize::from(packet.first()? & 0x0f) * 4;
            let later_fragment = be16(packet, 6)? & 0x1fff != 0;
            let about_error = *packet.get(9)? == ICMP && !matches!(packet.get(header)?, 0 | 8 | 13 | 14);
            later_fragment || about_error
        }
        IpAddr::V6(_) => *packet.get(6)? == ICMPV6 && *packet.get(IPV6_HEADER)? < 128,
    };
    (!errs_itself).then_some(source)
}

/// The error about `packet`, from our address `source`.
pub fn error(packet: &[u8], source: IpAddr, error: IcmpError) -> Option<Vec<u8>> {
    let to = sender(packet)?;
    match (source, to) {
        (IpAddr::V4(source), IpAddr::V4(to)) => {
            let (kind, code, mtu) = match error {
                IcmpError::TtlExpired => (11, 0, 0),
                //= rfc1191#4/next-hop-mtu: the low half of the second word says what would have fitted.
                IcmpError::TooBig { mtu } => (3, 4, mtu),
                IcmpError::NoRoute => (3, 0, 0),
                IcmpError::AdminProhibited => (3, 13, 0),
            };
            let mut icmp = vec![kind, code, 0, 0, 0, 0];
            icmp.extend_from_slice(&mtu.to_be_bytes());
            icmp.extend_from_slice(packet.get(..packet.len().min(V4_ERROR_MAX - 28))?);
            Some(frame::ipv4(source, to, ICMP, HOP_LIMIT, &finish_v4(kind, &icmp)))
        }
        (IpAddr::V6(source), IpAddr::V6(to)) => {
            let (kind, code, mtu) = match error {
                IcmpError::TtlExpired => (3, 0, 0),
                IcmpError::TooBig { mtu } => (2, 0, u32::from(mtu)),
                IcmpError::NoRoute => (1, 0, 0),
                IcmpError::AdminProhibited => (1, 1, 0),
            };
            let mut icmp = vec![kind, code, 0, 0];
            icmp.extend_from_slice(&mtu.to_be_bytes());
            icmp.extend_from_slice(packet.get(..packet.len().min(V6_ERROR_MAX - IPV6_HEADER - 8))?);
            Some(frame::ipv6_icmp(source, to, HOP_LIMIT, icmp))
        }
        _ => None,
    }
}
