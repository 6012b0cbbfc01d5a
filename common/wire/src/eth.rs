//! Ethernet II with at most one 802.1Q tag.
use crate::Malformed;
use std::fmt;
use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

#[derive(
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Default,
    FromBytes,
    IntoBytes,
    KnownLayout,
    Immutable,
    Unaligned,
)]
#[repr(transparent)]
pub struct Mac(pub [u8; 6]);
impl Mac {
    pub const BROADCAST: Self = Self([0xff; 6]);
    /// Multicast or broadcast.
    pub const fn is_group(self) -> bool {
        self.0[0] & 1 == 1
    }
    //= rfc2464#7/multicast-mapping: 33-33 and the last four octets of the group.
    pub const fn for_ipv6_group(group: std::net::Ipv6Addr) -> Self {
        let o = group.octets();
        Self([0x33, 0x33, o[12], o[13], o[14], o[15]])
    }
}
impl fmt::Debug for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let [a, b, c, d, e, g] = self.0;
        write!(f, "{a:02x}:{b:02x}:{c:02x}:{d:02x}:{e:02x}:{g:02x}")
    }
}
impl fmt::Display for Mac {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}
impl std::str::FromStr for Mac {
    type Err = Malformed;
    fn from_str(s: &str) -> Result<Self, Malformed> {
        let mut mac = [0; 6];
        let mut parts = s.split(':');
        for byte in &mut mac {
            let part = parts.next().filter(|p| p.len() == 2).ok_or(Malformed("MAC address"))?;
            *byte = u8::from_str_radix(part, 16).map_err(|_| Malformed("MAC address"))?;
        }
        parts.next().map_or(Ok(Self(mac)), |_| Err(Malformed("MAC address")))
    }
}

pub mod ethertype {
    pub const IPV4: u16 = 0x0800;
    pub const ARP: u16 = 0x0806;
    pub const VLAN: u16 = 0x8100;
    pub const IPV6: u16 = 0x86dd;
}

pub const HEADER: usize = 14;
pub const TAG: usize = 4;

#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Header {
    dst: Mac,
    src: Mac,
    ethertype: U16,
}
#[derive(Clone, Copy, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
struct Tag {
    control: U16,
    ethertype: U16,
}

/// What an Ethernet frame says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame {
    pub dst: Mac,
    pub src: Mac,
    /// `None` for untagged and for priority-tagged (VLAN 0) frames.
    pub vlan: Option<u16>,
    pub ethertype: u16,
    /// Where the payload starts.
    pub payload_at: usize,
}
impl Frame {
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let (header, rest) = Header::ref_from_prefix(bytes).map_err(|_| Malformed("Ethernet header"))?;
        let frame = Self {
            dst: header.dst,
            src: header.src,
            vlan: None,
            ethertype: header.ethertype.get(),
            payload_at: HEADER,
        };
        if frame.ethertype != ethertype::VLAN {
            return Ok(frame);
        }
        let (tag, _) = Tag::ref_from_prefix(rest).map_err(|_| Malformed("802.1Q tag"))?;
        let id = tag.control.get() & 0x0fff;
        let vlan = (id != 0).then_some(id);
        Ok(Self { vlan, ethertype: tag.ethertype.get(), payload_at: HEADER + TAG, ..frame })
    }
}

/// The bytes a header with or without tag takes.
pub const fn header_len(vlan: Option<u16>) -> usize {
    if vlan.is_some() { HEADER + TAG } else { HEADER }
}
/// Writes a header at the front of `out`; `None` if it does not fit.
pub fn write(out: &mut [u8], dst: Mac, src: Mac, vlan: Option<u16>, ethertype: u16) -> Option<()> {
    let outer = if vlan.is_some() { ethertype::VLAN } else { ethertype };
    let header = Header { dst, src, ethertype: outer.into() };
    header.write_to_prefix(out).ok()?;
    if let Some(id) = vlan {
        let tag = Tag { control: (id & 0x0fff).into(), ethertype: ethertype.into() };
        tag.write_to_prefix(out.get_mut(HEADER..)?).ok()?;
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn what_is_written_is_parsed(dst in any::<[u8; 6]>(), src in any::<[u8; 6]>(), vlan in prop::option::of(1u16..4095)) {
            let mut bytes = [0; 18];
            write(&mut bytes, Mac(dst), Mac(src), vlan, ethertype::IPV6).unwrap();
            let expected = Frame { dst: Mac(dst), src: Mac(src), vlan, ethertype: ethertype::IPV6, payload_at: header_len(vlan) };
            prop_assert_eq!(Frame::parse(&bytes), Ok(expected));
        }
        #[test]
        fn any_bytes_parse_or_do_not(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            if let Ok(frame) = Frame::parse(&bytes) { prop_assert!(frame.payload_at <= bytes.len()); }
        }
    }
    #[test]
    fn macs_read_as_they_print() {
        let mac: Mac = "02:00:5e:10:00:ff".parse().unwrap();
        assert_eq!(mac.to_string(), "02:00:5e:10:00:ff");
        for bad in ["", "02:00:5e:10:00", "02:00:5e:10:00:ff:00", "2:0:5e:10:0:ff", "02:00:5e:10:00:fg"] {
            assert!(bad.parse::<Mac>().is_err(), "{bad}");
        }
    }
}
