//! ARP for IPv4 over Ethernet (RFC 826).
use crate::{Mac, Malformed};
use std::net::Ipv4Addr;
use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub const LEN: usize = 28;

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Raw {
    hardware: U16,
    protocol: U16,
    hardware_len: u8,
    protocol_len: u8,
    operation: U16,
    sender_mac: Mac,
    sender: [u8; 4],
    target_mac: Mac,
    target: [u8; 4],
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Operation {
    Request = 1,
    Reply = 2,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arp {
    pub operation: Operation,
    pub sender_mac: Mac,
    pub sender: Ipv4Addr,
    pub target_mac: Mac,
    pub target: Ipv4Addr,
}

impl Arp {
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (raw, _) = Raw::ref_from_prefix(bytes).map_err(|_| Malformed("ARP packet"))?;
        let shape = (raw.hardware.get(), raw.protocol.get(), raw.hardware_len, raw.protocol_len);
        if shape != (1, crate::eth::ethertype::IPV4, 6, 4) {
            return Err(Malformed("ARP for something other than IPv4 over Ethernet"));
        }
        let operation = match raw.operation.get() {
            1 => Operation::Request,
            2 => Operation::Reply,
            _ => return Err(Malformed("ARP operation")),
        };
        Ok(Self {
            operation,
            sender_mac: raw.sender_mac,
            sender: raw.sender.into(),
            target_mac: raw.target_mac,
            target: raw.target.into(),
        })
    }
    pub fn to_bytes(self) -> [u8; LEN] {
        let raw = Raw {
            hardware: 1.into(),
            protocol: crate::eth::ethertype::IPV4.into(),
            hardware_len: 6,
            protocol_len: 4,
            operation: (self.operation as u16).into(),
            sender_mac: self.sender_mac,
            sender: self.sender.octets(),
            target_mac: self.target_mac,
            target: self.target.octets(),
        };
        zerocopy::transmute!(raw)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_request_survives_the_round_trip() {
        let arp = Arp {
            operation: Operation::Request,
            sender_mac: Mac([2, 0, 0, 0, 0, 1]),
            sender: Ipv4Addr::new(192, 0, 2, 1),
            target_mac: Mac::default(),
            target: Ipv4Addr::new(192, 0, 2, 2),
        };
        assert_eq!(Arp::parse(&arp.to_bytes()), Ok(arp));
        for cut in 0..LEN {
            assert!(Arp::parse(&arp.to_bytes()[..cut]).is_err());
        }
    }
    proptest! {
        #[test]
        fn any_bytes_parse_or_do_not(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(arp) = Arp::parse(&bytes) { prop_assert_eq!(&arp.to_bytes()[..], &bytes[..LEN]); }
        }
    }
}
