//! ICMP and ICMPv6: echo and errors (RFC 792, RFC 4443).
use crate::{Malformed, checksum};
use std::net::IpAddr;

pub const HEADER: usize = 8;

pub mod v4 {
    pub const ECHO_REPLY: u8 = 0;
    pub const UNREACHABLE: u8 = 3;
    pub const REDIRECT: u8 = 5;
    pub const ECHO_REQUEST: u8 = 8;
    pub const TIME_EXCEEDED: u8 = 11;
    /// Codes of `UNREACHABLE`.
    pub const NET: u8 = 0;
    pub const HOST: u8 = 1;
    pub const FRAGMENTATION_NEEDED: u8 = 4;
}
pub mod v6 {
    pub const UNREACHABLE: u8 = 1;
    pub const PACKET_TOO_BIG: u8 = 2;
    pub const TIME_EXCEEDED: u8 = 3;
    pub const PARAMETER_PROBLEM: u8 = 4;
    pub const ECHO_REQUEST: u8 = 128;
    pub const ECHO_REPLY: u8 = 129;
    pub const ROUTER_SOLICITATION: u8 = 133;
    pub const NEIGHBOUR_SOLICITATION: u8 = 135;
    pub const NEIGHBOUR_ADVERTISEMENT: u8 = 136;
    pub const REDIRECT: u8 = 137;
    /// Codes of `UNREACHABLE`.
    pub const NO_ROUTE: u8 = 0;
    pub const ADDRESS: u8 = 3;
}

/// The eight bytes all messages we care for begin with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub kind: u8,
    pub code: u8,
    /// Identifier and sequence number, MTU, or nothing, by `kind`.
    pub rest: [u8; 4],
}
impl Header {
    /// Checks length, not checksum: see [`checksum_holds`].
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        match bytes {
            [kind, code, _, _, a, b, c, d, ..] => {
                Ok(Self { kind: *kind, code: *code, rest: [*a, *b, *c, *d] })
            }
            _ => Err(Malformed("ICMP header")),
        }
    }
    /// An error quotes a packet; errors are never answered with errors (RFC 1122 3.2.2, RFC 4443 2.4).
    pub fn is_error(self, ipv6: bool) -> bool {
        if ipv6 { self.kind < 128 } else { matches!(self.kind, 3 | 4 | 5 | 11 | 12) }
    }
}

pub fn checksum_holds(message: &[u8], src: IpAddr, dst: IpAddr) -> bool {
    match src {
        IpAddr::V4(_) => checksum::holds(message),
        IpAddr::V6(_) => checksum::pseudo(src, dst, 58, message.len()).with(message).finish() == 0,
    }
}
/// Writes header and checksum over the first eight bytes of a message whose body is in place.
pub fn seal(message: &mut [u8], header: Header, src: IpAddr, dst: IpAddr) -> Option<()> {
    let [a, b, c, d] = header.rest;
    message.get_mut(..HEADER)?.copy_from_slice(&[header.kind, header.code, 0, 0, a, b, c, d]);
    let sum = match src {
        IpAddr::V4(_) => checksum(message),
        IpAddr::V6(_) => checksum::pseudo(src, dst, 58, message.len()).with(message).finish(),
    };
    message.get_mut(2..4)?.copy_from_slice(&sum.to_be_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    proptest! {
        #[test]
        fn sealed_messages_hold(body in prop::collection::vec(any::<u8>(), 8..80), v6 in any::<bool>(), rest in any::<[u8; 4]>()) {
            let (src, dst): (IpAddr, IpAddr) = if v6 { ("2001:db8::1".parse().unwrap(), "2001:db8::2".parse().unwrap()) } else { ("192.0.2.1".parse().unwrap(), "192.0.2.9".parse().unwrap()) };
            let mut message = body;
            let header = Header { kind: 128, code: 0, rest };
            seal(&mut message, header, src, dst).unwrap();
            prop_assert!(checksum_holds(&message, src, dst));
            prop_assert_eq!(Header::parse(&message), Ok(header));
            message[5] ^= 1;
            prop_assert!(!checksum_holds(&message, src, dst));
        }
    }
}
