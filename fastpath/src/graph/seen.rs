//! What the graph needs to know of an IP packet's header, in registers rather than in a record.
use super::cache::{Key, Origin, PlainKey};
use wire::ip::{self, Packet, protocol};
use wire::{Flow, Malformed};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Seen {
    pub key: Key,
    pub total_len: u16,
    pub protocol: u8,
    pub tos: u8,
    pub ipv4: bool,
    pub from_group: bool,
    /// An IPv4 header without options in front of TCP, UDP or ESP; no fragment.
    pub plain: bool,
}

/// An IPv4 header without options in front of TCP, UDP or ESP, no fragment: what most packets are. From a few whole words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Plain {
    pub key: PlainKey,
    /// The four bytes behind the header, the lowest first: ports or SPI.
    pub upper: u32,
    pub total_len: u16,
    pub tos: u8,
    pub ttl: u8,
    pub protocol: u8,
}
impl Plain {
    pub const NOTHING: Self = Self {
        key: PlainKey::new(0, 0, None, Origin::Clear),
        upper: 0,
        total_len: 0,
        tos: 0,
        ttl: 0,
        protocol: 0,
    };

    /// `None` says nothing, but that this is another kind of packet, or none. From a multicast address it is another.
    #[inline(always)]
    pub fn parse(bytes: &[u8], origin: Origin) -> Option<Self> {
        const LEN: usize = ip::V4_HEADER + 4;
        /// Version and header length; more fragments and fragment offset.
        const SHAPE: u64 = 0xff | 0x3f << 48 | 0xff << 56;
        const LOW: u64 = 0xffff_ffff;
        let header: &[u8; LEN] = bytes.first_chunk()?;
        let [a, b, c] = *header.as_chunks::<8>().0 else { return None };
        let [a, b, c] = [a, b, c].map(u64::from_le_bytes);
        // In either byte order the sum of a right header is 0 in the arithmetic of ones' complement.
        let (sum, carry) = a.overflowing_add(b);
        let (sum, more) = sum.overflowing_add((c & LOW) + u64::from(carry));
        let sum = sum + u64::from(more);
        // Added to itself with the halves changed over, the upper half is the sum of the halves with their carry.
        let sum = (sum.wrapping_add(sum.rotate_left(32)) >> 32) as u32;
        let sum = sum.wrapping_add(sum.rotate_left(16)) >> 16;
        let total_len = ((a >> 16) as u16).swap_bytes();
        let (protocol, upper) = ((b >> 8) as u8, (c >> 32) as u32);
        let ports = match protocol {
            protocol::TCP | protocol::UDP => Some(upper),
            protocol::ESP => None,
            _ => return None,
        };
        let fits = usize::from(total_len) <= bytes.len() && usize::from(total_len) >= LEN;
        let from_group = b >> 36 & 0xf == 0xe;
        if a & SHAPE != 0x45 || sum != 0xffff || !fits || from_group {
            return None;
        }
        let (_, addresses) = header.split_first_chunk::<12>()?;
        let addresses = u64::from_le_bytes(*addresses.first_chunk()?);
        let key = PlainKey::new(addresses, protocol, ports, origin);
        Some(Self { key, upper, total_len, tos: (a >> 8) as u8, ttl: b as u8, protocol })
    }
}

impl Plain {
    /// As [`flow_of`] has it.
    pub fn flow(&self) -> Flow {
        let (src, dst) = self.key.ends();
        let has_ports = matches!(self.protocol, protocol::TCP | protocol::UDP);
        let port = |at: u32| has_ports.then_some(((self.upper >> at) as u16).swap_bytes());
        Flow {
            src: src.into(),
            dst: dst.into(),
            protocol: self.protocol,
            src_port: port(0),
            dst_port: port(16),
        }
    }
}

impl Seen {
    #[inline]
    pub fn parse(bytes: &[u8], origin: Origin) -> Result<Self, Malformed> {
        match Plain::parse(bytes, origin) {
            Some(Plain { key, total_len, tos, protocol, .. }) => Ok(Self {
                key: key.within(0),
                total_len,
                protocol,
                tos,
                ipv4: true,
                from_group: false,
                plain: true,
            }),
            None => Self::general(bytes, origin),
        }
    }
    #[cold]
    pub fn general(bytes: &[u8], origin: Origin) -> Result<Self, Malformed> {
        let packet = Packet::parse(bytes)?;
        Ok(Self {
            key: Key::of(&Flow::of(&packet, bytes), origin),
            total_len: packet.total_len,
            protocol: packet.protocol,
            tos: packet.tos,
            ipv4: packet.is_ipv4(),
            from_group: packet.src.is_multicast(),
            plain: false,
        })
    }
}

/// The flow of a packet that was parsed before.
#[cold]
pub(crate) fn flow_of(bytes: &[u8]) -> Result<(Packet, Flow), Malformed> {
    let packet = Packet::parse(bytes)?;
    Ok((packet, Flow::of(&packet, bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wire::checksum;

    proptest! {
        #[test]
        fn the_short_way_says_what_the_long_way_says(
            mut bytes in prop::collection::vec(any::<u8>(), 20..60), short in 0u8..4, flags in prop::sample::select(vec![0u8, 0x40, 0x20, 1]),
            protocol in prop::sample::select(vec![6u8, 17, 50, 1]), group: bool, right: bool,
        ) {
            bytes[0] = 0x45;
            let total = bytes.len() as u16 - u16::from(short);
            bytes[2..4].copy_from_slice(&total.to_be_bytes());
            (bytes[6], bytes[7], bytes[9]) = (flags, 0, protocol);
            if group { bytes[12] = 0xe0 | (bytes[12] & 0x0f); }
            bytes[10..12].fill(0);
            let sum = !checksum::fold(checksum::partial(&bytes[..20]));
            bytes[10..12].copy_from_slice(&sum.to_be_bytes());
            if !right { bytes[10] ^= 0x10; }
            match (Plain::parse(&bytes, Origin::Clear), Seen::general(&bytes, Origin::Clear)) {
                (Some(a), Ok(b)) => {
                    prop_assert_eq!(Ok(a.flow()), flow_of(&bytes).map(|(_, flow)| flow));
                    prop_assert!(!b.from_group && b.ipv4);
                    prop_assert_eq!(Seen::parse(&bytes, Origin::Clear), Ok(Seen { plain: true, ..b }));
                }
                (Some(_), Err(e)) => prop_assert!(false, "the long way: {e}"),
                (None, b) => {
                    let other = flags & 0x3f != 0 || protocol == 1 || total < 24;
                    prop_assert!(!right || other || b.is_err() || b.is_ok_and(|b| b.from_group));
                }
            }
        }
    }
}
