//! What selectors look at: addresses, protocol and ports of an IP packet (RFC 4301 4.4.1.1).
use crate::ip::{Packet, protocol};
use std::net::IpAddr;

/// Ports are `None` where they cannot be seen: later fragments, protocols without ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Flow {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: u8,
    pub src_port: Option<u16>,
    pub dst_port: Option<u16>,
}

impl Flow {
    /// `bytes` is what `packet` was parsed from.
    pub fn of(packet: &Packet, bytes: &[u8]) -> Self {
        let (src_port, dst_port) = match ports(packet, packet.upper(bytes)) {
            Some((s, d)) => (Some(s), Some(d)),
            None => (None, None),
        };
        Self { src: packet.src, dst: packet.dst, protocol: packet.protocol, src_port, dst_port }
    }
    /// The same flow seen from the other end.
    pub fn reversed(self) -> Self {
        Self {
            src: self.dst,
            dst: self.src,
            src_port: self.dst_port,
            dst_port: self.src_port,
            protocol: self.protocol,
        }
    }
}

fn ports(packet: &Packet, upper: &[u8]) -> Option<(u16, u16)> {
    const TCP: u8 = protocol::TCP;
    const UDP: u8 = protocol::UDP;
    const DCCP: u8 = 33;
    const SCTP: u8 = 132;
    const UDP_LITE: u8 = 136;
    if packet.is_later_fragment() {
        return None;
    }
    match (packet.protocol, upper) {
        (TCP | UDP | DCCP | SCTP | UDP_LITE, [a, b, c, d, ..]) => {
            Some((u16::from_be_bytes([*a, *b]), u16::from_be_bytes([*c, *d])))
        }
        //= rfc4301#4.4.1.1/icmp-selector: type and code are one 16-bit value, on either side.
        (protocol::ICMP | protocol::ICMPV6, [kind, code, ..]) => {
            let value = u16::from_be_bytes([*kind, *code]);
            Some((value, value))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ip::{Fields, MF, V4_HEADER};
    use proptest::prelude::*;

    fn packet(protocol: u8, flags: u16, upper: &[u8]) -> Vec<u8> {
        let fields = Fields {
            src: "192.0.2.1".parse().unwrap(),
            dst: "192.0.2.2".parse().unwrap(),
            protocol,
            tos: 0,
            ttl: 64,
            dont_fragment: false,
            id: 1,
        };
        let mut bytes = vec![0; V4_HEADER];
        fields.write(&mut bytes, upper.len()).unwrap();
        bytes[6..8].copy_from_slice(&flags.to_be_bytes());
        bytes[10..12].fill(0);
        let sum = crate::checksum::checksum(&bytes);
        bytes[10..12].copy_from_slice(&sum.to_be_bytes());
        bytes.extend(upper);
        bytes
    }
    //= test rfc4301#4.4.1.1/icmp-selector
    #[test]
    fn ports_are_seen_where_they_are() {
        for (case, protocol, flags, upper, expected) in [
            ("tcp", 6, 0, &[0, 80, 4, 0, 1][..], Some((80, 1024))),
            ("first fragment", 17, MF, &[0, 53, 0, 53], Some((53, 53))),
            ("later fragment", 17, 5, &[0, 53, 0, 53], None),
            ("cut short", 17, 0, &[0, 53, 0], None),
            ("no ports", 47, 0, &[0, 53, 0, 53], None),
            ("icmp echo", 1, 0, &[8, 0, 0, 0], Some((0x0800, 0x0800))),
            ("icmp too short", 1, 0, &[8], None),
        ] {
            let bytes = packet(protocol, flags, upper);
            let flow = Flow::of(&Packet::parse(&bytes).unwrap(), &bytes);
            assert_eq!(flow.src_port.zip(flow.dst_port), expected, "{case}");
            assert_eq!(flow.reversed().reversed(), flow);
        }
    }
    proptest! {
        #[test]
        fn any_packet_has_a_flow_or_none(mut bytes in prop::collection::vec(any::<u8>(), 0..120), v6 in any::<bool>()) {
            if let Some(first) = bytes.first_mut() { *first = if v6 { 0x60 } else { 0x45 }; }
            if let Ok(packet) = Packet::parse(&bytes) {
                let flow = Flow::of(&packet, &bytes);
                prop_assert_eq!(flow.src_port.is_some(), flow.dst_port.is_some());
            }
        }
    }
}
