//! What the graph needs to know of an IP packet's header, in registers rather than in a record.
use super::cache::{Key, Origin};
use wire::ip::{self, Packet, protocol};
use wire::{Flow, Malformed, checksum};

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

impl Seen {
    pub const NOTHING: Self = Self {
        key: Key::NOTHING,
        total_len: 0,
        protocol: 0,
        tos: 0,
        ipv4: false,
        from_group: false,
        plain: false,
    };
    #[inline(always)]
    pub fn parse(bytes: &[u8], origin: Origin) -> Result<Self, Malformed> {
        match Self::plain(bytes, origin) {
            Some(seen) => Ok(seen),
            None => Self::general(bytes, origin),
        }
    }
    /// The common case; `None` says nothing.
    #[inline(always)]
    pub fn plain(bytes: &[u8], origin: Origin) -> Option<Self> {
        let (header, upper) = bytes.split_first_chunk::<{ ip::V4_HEADER }>()?;
        let (ports, _) = upper.split_first_chunk::<4>()?;
        let (words, _) = header.as_chunks::<4>();
        let total_len = u16::from_be_bytes([header[2], header[3]]);
        let ports = match header[9] {
            protocol::TCP | protocol::UDP => Some(u32::from_be_bytes(*ports)),
            protocol::ESP => None,
            _ => return None,
        };
        // The sum of words is intact in either byte order.
        let sum = words.iter().map(|word| u64::from(u32::from_ne_bytes(*word))).sum::<u64>();
        let fragment = u16::from_be_bytes([header[6], header[7]]) & (ip::MF | ip::OFFSET);
        let len = usize::from(total_len);
        if header[0] != 0x45
            || fragment != 0
            || len > bytes.len()
            || len < ip::V4_HEADER + 4
            || checksum::fold(sum) != 0xffff
        {
            return None;
        }
        let (src, dst) = (u32::from_be_bytes(words[3]), u32::from_be_bytes(words[4]));
        Some(Self {
            key: Key::v4(src, dst, header[9], ports, origin),
            total_len,
            protocol: header[9],
            tos: header[1],
            ipv4: true,
            from_group: src >> 28 == 0xe,
            plain: true,
        })
    }
    #[cold]
    fn general(bytes: &[u8], origin: Origin) -> Result<Self, Malformed> {
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
            match (Seen::plain(&bytes, Origin::Clear), Seen::general(&bytes, Origin::Clear)) {
                (Some(a), Ok(b)) => prop_assert_eq!(a, Seen { plain: true, ..b }),
                (Some(_), Err(e)) => prop_assert!(false, "the long way: {e}"),
                (None, b) => prop_assert!(!right || flags & 0x3f != 0 || protocol == 1 || total < 24 || b.is_err()),
            }
        }
    }
}
