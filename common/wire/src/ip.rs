//! IPv4 and IPv6 headers: what a router needs to know of a packet, and writers.
use crate::{Malformed, checksum};
use std::net::IpAddr;
use zerocopy::byteorder::network_endian::{U16, U32};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub const V4_HEADER: usize = 20;
pub const V6_HEADER: usize = 40;
/// Extension headers walked before a packet is given up.
pub const MAX_EXTENSIONS: usize = 8;

pub mod protocol {
    pub const HOP_BY_HOP: u8 = 0;
    pub const ICMP: u8 = 1;
    pub const IPV4: u8 = 4;
    pub const TCP: u8 = 6;
    pub const UDP: u8 = 17;
    pub const IPV6: u8 = 41;
    pub const ROUTING: u8 = 43;
    pub const FRAGMENT: u8 = 44;
    pub const ESP: u8 = 50;
    pub const AH: u8 = 51;
    pub const ICMPV6: u8 = 58;
    /// "No next header": in ESP the mark of a dummy packet.
    pub const NONE: u8 = 59;
    pub const DESTINATION_OPTIONS: u8 = 60;
    pub const MOBILITY: u8 = 135;
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct V4 {
    pub version_ihl: u8,
    pub tos: u8,
    pub total_len: U16,
    pub id: U16,
    pub flags_offset: U16,
    pub ttl: u8,
    pub protocol: u8,
    pub checksum: U16,
    pub src: [u8; 4],
    pub dst: [u8; 4],
}
pub const DF: u16 = 0x4000;
pub const MF: u16 = 0x2000;
pub const OFFSET: u16 = 0x1fff;

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct V6 {
    pub version_class_flow: U32,
    pub payload_len: U16,
    pub next_header: u8,
    pub hop_limit: u8,
    pub src: [u8; 16],
    pub dst: [u8; 16],
}

/// Place of a fragment in its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fragment {
    /// In bytes.
    pub offset: u16,
    pub more: bool,
}

/// An IP packet's header, understood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    pub src: IpAddr,
    pub dst: IpAddr,
    /// Upper-layer protocol, behind all extension headers that could be walked.
    pub protocol: u8,
    /// Where the upper layer starts.
    pub upper_at: u16,
    /// Whole packet as its header says; the buffer may hold more (Ethernet padding).
    pub total_len: u16,
    /// TOS or traffic class: DSCP and ECN.
    pub tos: u8,
    pub ttl: u8,
    /// IPv6 routers never fragment, so there it is always set.
    pub dont_fragment: bool,
    /// `None` for whole datagrams; IPv6 atomic fragments count as whole (RFC 6946).
    pub fragment: Option<Fragment>,
}

impl Packet {
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        match bytes.first().map(|b| b >> 4) {
            Some(4) => Self::parse_v4(bytes),
            Some(6) => Self::parse_v6(bytes),
            _ => Err(Malformed("IP version")),
        }
    }

    //= rfc1812#5.2.2/header-validation: length, version, IHL, total length and checksum.
    fn parse_v4(bytes: &[u8]) -> Result<Self, Malformed> {
        let (header, _) = V4::ref_from_prefix(bytes).map_err(|_| Malformed("IPv4 header"))?;
        let header_len = usize::from(header.version_ihl & 0x0f) * 4;
        let total_len = header.total_len.get();
        if header_len < V4_HEADER || usize::from(total_len) < header_len {
            return Err(Malformed("IPv4 header length"));
        }
        let whole = bytes.get(..usize::from(total_len)).ok_or(Malformed("IPv4 total length"))?;
        if !checksum::holds(&whole[..header_len]) {
            return Err(Malformed("IPv4 header checksum"));
        }
        let flags = header.flags_offset.get();
        let fragment = Fragment { offset: (flags & OFFSET) * 8, more: flags & MF != 0 };
        Ok(Self {
            src: IpAddr::V4(header.src.into()),
            dst: IpAddr::V4(header.dst.into()),
            protocol: header.protocol,
            upper_at: header_len as u16,
            total_len,
            tos: header.tos,
            ttl: header.ttl,
            dont_fragment: flags & DF != 0,
            fragment: (fragment.offset != 0 || fragment.more).then_some(fragment),
        })
    }

    fn parse_v6(bytes: &[u8]) -> Result<Self, Malformed> {
        let (header, _) = V6::ref_from_prefix(bytes).map_err(|_| Malformed("IPv6 header"))?;
        let total_len = u16::try_from(V6_HEADER + usize::from(header.payload_len.get()))
            .map_err(|_| Malformed("IPv6 payload length, beyond what a port carries"))?;
        let whole = bytes.get(..usize::from(total_len)).ok_or(Malformed("IPv6 payload length"))?;
        let upper = Upper::walk(whole, header.next_header)?;
        Ok(Self {
            src: IpAddr::V6(header.src.into()),
            dst: IpAddr::V6(header.dst.into()),
            protocol: upper.protocol,
            upper_at: upper.at as u16,
            total_len,
            tos: (header.version_class_flow.get() >> 20) as u8,
            ttl: header.hop_limit,
            dont_fragment: true,
            fragment: upper.fragment,
        })
    }
    pub fn is_ipv4(&self) -> bool {
        self.src.is_ipv4()
    }
    /// A fragment that does not begin with the upper layer's header.
    pub fn is_later_fragment(&self) -> bool {
        self.fragment.is_some_and(|f| f.offset != 0)
    }
    /// Upper layer bytes of the packet it was parsed from.
    pub fn upper<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        bytes.get(usize::from(self.upper_at)..usize::from(self.total_len)).unwrap_or_default()
    }
}

/// Where the chain of IPv6 extension headers ends.
struct Upper {
    protocol: u8,
    at: usize,
    fragment: Option<Fragment>,
}
impl Upper {
    //= rfc8200#4/chain: extension headers are walked in order; hop-by-hop may only be the first.
    fn walk(whole: &[u8], first: u8) -> Result<Self, Malformed> {
        let mut upper = Self { protocol: first, at: V6_HEADER, fragment: None };
        for step in 0..=MAX_EXTENSIONS {
            let rest = whole.get(upper.at..).unwrap_or_default();
            let len = match (upper.protocol, rest) {
                (protocol::HOP_BY_HOP, _) if step > 0 => {
                    return Err(Malformed("IPv6 hop-by-hop header, not in first place"));
                }
                (protocol::FRAGMENT, [_, _, high, low, _, _, _, _, ..]) => {
                    let word = u16::from_be_bytes([*high, *low]);
                    let fragment = Fragment { offset: word & 0xfff8, more: word & 1 != 0 };
                    upper.fragment = (fragment.offset != 0 || fragment.more).then_some(fragment);
                    8
                }
                (
                    protocol::HOP_BY_HOP
                    | protocol::ROUTING
                    | protocol::DESTINATION_OPTIONS
                    | protocol::MOBILITY,
                    [_, len, ..],
                ) => 8 + usize::from(*len) * 8,
                (
                    protocol::HOP_BY_HOP
                    | protocol::ROUTING
                    | protocol::DESTINATION_OPTIONS
                    | protocol::MOBILITY
                    | protocol::FRAGMENT,
                    _,
                ) => return Err(Malformed("IPv6 extension header")),
                _ => return Ok(upper),
            };
            upper.protocol = *rest.first().ok_or(Malformed("IPv6 extension header"))?;
            upper.at += len;
            if upper.at > whole.len() {
                return Err(Malformed("IPv6 extension header length"));
            }
            if upper.fragment.is_some_and(|f| f.offset != 0) {
                return Ok(upper);
            }
        }
        Err(Malformed("IPv6 header chain, longer than 8"))
    }
}

/// The first Fragment header of an IPv6 packet (RFC 8200 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FragmentHeader {
    /// Where the byte stands that names it.
    pub named_at: usize,
    pub at: usize,
    /// What follows it in the whole datagram.
    pub next: u8,
    pub id: u32,
}
impl FragmentHeader {
    const LEN: usize = 8;

    /// `None` also for a packet that [`Packet::parse`] refuses.
    pub fn find(packet: &[u8]) -> Option<Self> {
        const NEXT: usize = 6;
        let (mut named_at, mut at) = (NEXT, V6_HEADER);
        for _ in 0..=MAX_EXTENSIONS {
            let header = packet.get(at..)?;
            match (*packet.get(named_at)?, header) {
                (protocol::FRAGMENT, [next, _, _, _, a, b, c, d, ..]) => {
                    let id = u32::from_be_bytes([*a, *b, *c, *d]);
                    return Some(Self { named_at, at, next: *next, id });
                }
                (protocol::HOP_BY_HOP | protocol::ROUTING | protocol::DESTINATION_OPTIONS, [_, len, ..]) => {
                    named_at = at;
                    at += 8 + usize::from(*len) * 8;
                }
                _ => return None,
            }
        }
        None
    }
    /// Where the fragment's own bytes begin.
    pub fn end(&self) -> usize {
        self.at + Self::LEN
    }
}

/// Takes one from the TTL or hop limit and keeps the checksum right. `None` when it was used up.
#[inline]
pub fn decrement_ttl(packet: &mut [u8]) -> Option<()> {
    if packet.first()? >> 4 == 6 {
        let hop_limit = packet.get_mut(7)?;
        *hop_limit = hop_limit.checked_sub(1).filter(|left| *left > 0)?;
        return Some(());
    }
    let header = packet.first_chunk_mut::<V4_HEADER>()?;
    let [_, _, _, _, _, _, _, _, ttl, _, high, low, ..] = header;
    *ttl = ttl.checked_sub(1).filter(|left| *left > 0)?;
    //= rfc1624#3/eqn-3: for a word that is 0x0100 less, the checksum is as much more, with end-around carry.
    let sum = u32::from(u16::from_be_bytes([*high, *low])) + 0x100;
    [*high, *low] = ((sum + u32::from(sum >= 0xffff)) as u16).to_be_bytes();
    Some(())
}

/// Sets the two ECN bits and keeps the checksum right.
#[inline]
pub fn set_ecn(packet: &mut [u8], ecn: u8) -> Option<()> {
    if packet.first()? >> 4 == 6 {
        let class = packet.get_mut(1)?;
        *class = (*class & !0x30) | (ecn & 3) << 4;
        return Some(());
    }
    let (header, _) = V4::mut_from_prefix(packet).ok()?;
    let tos = (header.tos & !3) | (ecn & 3);
    let word = |tos: u8| u16::from_be_bytes([header.version_ihl, tos]);
    header.checksum = checksum::update(header.checksum.get(), word(header.tos), word(tos)).into();
    header.tos = tos;
    Some(())
}

/// What a header that we write says.
#[derive(Clone, Copy, Debug)]
pub struct Fields {
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: u8,
    pub tos: u8,
    pub ttl: u8,
    pub dont_fragment: bool,
    pub id: u16,
}
impl Fields {
    pub fn header_len(&self) -> usize {
        if self.src.is_ipv4() { V4_HEADER } else { V6_HEADER }
    }
    /// Writes a header for `payload` bytes; `None` if it does not fit or the families differ.
    pub fn write(&self, out: &mut [u8], payload: usize) -> Option<()> {
        match (self.src, self.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let total_len = u16::try_from(V4_HEADER + payload).ok()?;
                let mut header = V4 {
                    version_ihl: 0x45,
                    tos: self.tos,
                    total_len: total_len.into(),
                    id: self.id.into(),
                    flags_offset: if self.dont_fragment { DF } else { 0 }.into(),
                    ttl: self.ttl,
                    protocol: self.protocol,
                    checksum: 0.into(),
                    src: src.octets(),
                    dst: dst.octets(),
                };
                header.checksum = checksum(header.as_bytes()).into();
                header.write_to_prefix(out).ok()
            }
            (IpAddr::V6(src), IpAddr::V6(dst)) => {
                let header = V6 {
                    version_class_flow: (6 << 28 | u32::from(self.tos) << 20).into(),
                    payload_len: u16::try_from(payload).ok()?.into(),
                    next_header: self.protocol,
                    hop_limit: self.ttl,
                    src: src.octets(),
                    dst: dst.octets(),
                };
                header.write_to_prefix(out).ok()
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v6(next: u8, rest: &[u8]) -> Vec<u8> {
        let fields = Fields {
            src: "2001:db8::1".parse().unwrap(),
            dst: "2001:db8::2".parse().unwrap(),
            protocol: next,
            tos: 0xb8,
            ttl: 64,
            dont_fragment: true,
            id: 0,
        };
        let mut bytes = vec![0; V6_HEADER];
        fields.write(&mut bytes, rest.len()).unwrap();
        bytes.extend(rest);
        bytes
    }
    #[test]
    fn eight_extension_headers_are_walked_and_nine_are_not() {
        for count in 0..12 {
            let mut chain = Vec::new();
            for n in 0..count {
                let next = if n + 1 == count { protocol::UDP } else { protocol::DESTINATION_OPTIONS };
                chain.extend([next, 0, 1, 4, 0, 0, 0, 0]);
            }
            chain.extend([0, 53, 0, 53, 0, 8, 0, 0]);
            let first = if count == 0 { protocol::UDP } else { protocol::DESTINATION_OPTIONS };
            let parsed = Packet::parse(&v6(first, &chain));
            assert_eq!(parsed.is_ok(), count <= MAX_EXTENSIONS, "{count}");
            if let Ok(p) = parsed {
                assert_eq!((p.protocol, usize::from(p.upper_at)), (protocol::UDP, 40 + 8 * count));
            }
        }
    }
    #[test]
    fn ipv6_fragments_hide_what_follows() {
        let first = Packet::parse(&v6(44, &[17, 0, 0, 1, 0, 0, 0, 9, 0, 53, 0, 53, 0, 8, 0, 0])).unwrap();
        assert_eq!(first.fragment, Some(Fragment { offset: 0, more: true }));
        let later = Packet::parse(&v6(44, &[60, 0, 0, 8, 0, 0, 0, 9, 1, 2, 3])).unwrap();
        assert_eq!((later.protocol, later.is_later_fragment()), (60, true));
        let atomic = Packet::parse(&v6(44, &[17, 0, 0, 0, 0, 0, 0, 9, 0, 53, 0, 53, 0, 8, 0, 0])).unwrap();
        assert_eq!(atomic.fragment, None);
    }
    #[test]
    fn one_hop_less_is_the_update_of_its_word() {
        for sum in 0..=u16::MAX {
            for ttl in [2, 64, 255] {
                let mut header = [0x45, 0, 0, 20, 0, 0, 0, 0, ttl, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2];
                header[10..12].copy_from_slice(&sum.to_be_bytes());
                let word = |ttl| u16::from_be_bytes([ttl, 17]);
                decrement_ttl(&mut header).expect("a hop is left");
                let expected = checksum::update(sum, word(ttl), word(ttl - 1));
                assert_eq!((header[8], u16::from_be_bytes([header[10], header[11]])), (ttl - 1, expected));
            }
        }
    }
    proptest! {
        #[test]
        fn any_bytes_parse_or_do_not(version in prop::sample::select(vec![0x40u8, 0x60, 0x45]), mut bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Some(first) = bytes.first_mut() { *first = version | (*first & 0x0f); }
            if let Ok(p) = Packet::parse(&bytes) {
                prop_assert!(usize::from(p.total_len) <= bytes.len());
                prop_assert!(p.upper_at <= p.total_len);
            }
            let _ = (decrement_ttl(&mut bytes), set_ecn(&mut bytes, 3));
        }
        #[test]
        fn headers_survive_the_round_trip_and_edits(src in any::<u32>(), dst in any::<u32>(), tos in any::<u8>(), ttl in 2u8.., payload in 0usize..50, ecn in 0u8..4) {
            let fields = Fields { src: IpAddr::V4(src.into()), dst: IpAddr::V4(dst.into()), protocol: 50, tos, ttl, dont_fragment: true, id: 7 };
            let mut bytes = vec![0; V4_HEADER + payload];
            fields.write(&mut bytes, payload).unwrap();
            decrement_ttl(&mut bytes).unwrap();
            set_ecn(&mut bytes, ecn).unwrap();
            let p = Packet::parse(&bytes).unwrap();
            prop_assert_eq!((p.src, p.dst, p.protocol, p.tos, p.ttl), (fields.src, fields.dst, 50, (tos & 0xfc) | ecn, ttl - 1));
        }
    }
}
