//! What routers on the way say about the size of our ESP packets (RFC 1191, RFC 8201; RFC 4301 8.2).
//!
//! Anybody can send such a message, so it is a hint at most: it has to quote an SA of ours, its peer, and a sequence
//! number that was sent lately, and it cannot bring the size below what every link carries. Values are forgotten after
//! a while, so that a path that became better is used.
use std::net::IpAddr;
use std::time::Duration;
use wire::ip::{V4_HEADER, V6_HEADER, protocol};
use wire::{esp, udp};

/// How long a value holds (RFC 1191 6.3, RFC 8201 4: ten minutes).
pub const HOLDS: Duration = Duration::from_secs(600);
/// Packets that may have left since the one that is quoted.
pub const LATELY: u64 = 1 << 16;
/// What every host takes (RFC 791 3.1, RFC 8200 5).
const V4_LEAST: u16 = 576;
const V6_LEAST: u16 = 1280;
//= rfc1191#7.1/plateaus: sizes of links, for routers that do not say theirs.
const PLATEAUS: [u16; 8] = [32000, 17914, 8166, 4352, 2002, 1492, 1006, 576];

/// "Too big", about an ESP packet of ours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hint {
    /// Who says so.
    pub router: IpAddr,
    pub local: IpAddr,
    pub remote: IpAddr,
    pub spi: u32,
    pub seq_low: u32,
    /// The packet that was too big.
    pub len: u16,
    /// As the router said it; 0 if it did not.
    pub mtu: u16,
}

impl Hint {
    /// Reads an IP packet. `None` for everything else, and for quotations too short to prove anything.
    pub fn parse(packet: &[u8]) -> Option<Self> {
        let whole = wire::ip::Packet::parse(packet).ok().filter(|p| p.fragment.is_none())?;
        let message = whole.upper(packet);
        let (head, quoted) = message.split_first_chunk::<8>()?;
        let mtu = match (whole.protocol, head) {
            (protocol::ICMP, [3, 4, _, _, _, _, mtu @ ..]) => u16::from_be_bytes(*mtu),
            (protocol::ICMPV6, [2, 0, _, _, mtu @ ..]) => {
                u16::try_from(u32::from_be_bytes(*mtu)).unwrap_or(u16::MAX)
            }
            _ => return None,
        };
        if !wire::icmp::checksum_holds(message, whole.src, whole.dst) {
            return None;
        }
        let (local, remote, upper, len) = match whole.is_ipv4() {
            true => quoted_v4(quoted)?,
            false => quoted_v6(quoted)?,
        };
        // Only who sent it is told.
        if local != whole.dst {
            return None;
        }
        let header = esp::Header::parse(upper).ok()?;
        let (router, spi, seq_low) = (whole.src, header.spi, header.seq_low);
        Some(Self { router, local, remote, spi, seq_low, len, mtu })
    }

    /// The size to believe; `None` if the message contradicts itself.
    pub fn believed(&self) -> Option<u16> {
        let least = if self.remote.is_ipv4() { V4_LEAST } else { V6_LEAST };
        let said = match self.mtu {
            0 => PLATEAUS.into_iter().find(|size| *size < self.len)?,
            mtu => mtu,
        };
        Some(said.max(least)).filter(|mtu| *mtu < self.len)
    }

    /// Whether an SA that has sent up to `last` sent the quoted packet lately.
    pub fn was_sent(&self, last: u64) -> bool {
        let since = u64::from((last as u32).wrapping_sub(self.seq_low));
        since < LATELY && since < last
    }
}

/// Addresses, what is behind the headers up to ESP, total length. The quotation may end anywhere.
type Quoted<'a> = (IpAddr, IpAddr, &'a [u8], u16);

fn quoted_v4(bytes: &[u8]) -> Option<Quoted<'_>> {
    let header: &[u8; V4_HEADER] = bytes.first_chunk()?;
    let [version, _, l0, l1, _, _, f0, f1, _, next, _, _, ends @ ..] = *header;
    let [s0, s1, s2, s3, d0, d1, d2, d3] = ends;
    let (len, offset) = (u16::from_be_bytes([l0, l1]), u16::from_be_bytes([f0, f1]) & wire::ip::OFFSET);
    // Ours have no options.
    if version != 0x45 || offset != 0 {
        return None;
    }
    let upper = behind_udp(next, bytes.get(V4_HEADER..)?)?;
    Some((IpAddr::from([s0, s1, s2, s3]), IpAddr::from([d0, d1, d2, d3]), upper, len))
}
fn quoted_v6(bytes: &[u8]) -> Option<Quoted<'_>> {
    let (header, rest) = bytes.split_first_chunk::<V6_HEADER>()?;
    let [version, _, _, _, l0, l1, next, _, ends @ ..] = *header;
    let (local, remote) = ends.split_first_chunk::<16>()?;
    let len = u16::from_be_bytes([l0, l1]).checked_add(V6_HEADER as u16)?;
    if version >> 4 != 6 {
        return None;
    }
    let remote: &[u8; 16] = remote.first_chunk()?;
    Some((IpAddr::from(*local), IpAddr::from(*remote), behind_udp(next, rest)?, len))
}
fn behind_udp(next: u8, upper: &[u8]) -> Option<&[u8]> {
    match next {
        protocol::ESP => Some(upper),
        protocol::UDP => upper.get(udp::HEADER..),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::IcmpError;
    use crate::host::icmp::error;
    use proptest::prelude::*;

    fn esp_packet(v6: bool, len: usize) -> Vec<u8> {
        let (src, dst) = if v6 { ("2001:db8::1", "2001:db8::2") } else { ("192.0.2.1", "192.0.2.2") };
        let fields = wire::ip::Fields {
            src: src.parse().expect("an address"),
            dst: dst.parse().expect("an address"),
            protocol: protocol::ESP,
            tos: 0,
            ttl: 64,
            dont_fragment: true,
            id: 1,
        };
        let mut packet = vec![0; fields.header_len()];
        fields.write(&mut packet, len - fields.header_len()).expect("room");
        packet.extend([0x10, 0, 0, 1, 0, 0, 0, 9]);
        packet.resize(len, 0x5a);
        packet
    }
    fn hint(v6: bool, mtu: u16) -> Option<Hint> {
        let router = if v6 { "2001:db8::99" } else { "192.0.2.99" }.parse().expect("an address");
        Hint::parse(&error(&esp_packet(v6, 1500), router, IcmpError::TooBig { mtu })?)
    }

    #[test]
    fn sizes_are_believed_within_bounds() {
        for (v6, said, believed) in [
            (false, 1400, Some(1400)),
            (false, 0, Some(1492)),
            (false, 68, Some(576)),
            (false, 1500, None),
            (false, 65535, None),
            (true, 1400, Some(1400)),
            (true, 576, Some(1280)),
            (true, 1500, None),
        ] {
            let hint = hint(v6, said).expect("a hint");
            assert_eq!((hint.spi, hint.seq_low, hint.len), (0x1000_0001, 9, 1500));
            assert_eq!(hint.believed(), believed, "{v6} {said}");
        }
    }
    #[test]
    fn only_what_was_sent_lately_counts() {
        let hint = hint(false, 1400).expect("a hint");
        for (last, was) in
            [(8, false), (9, true), (9 + 65535, true), (9 + 65536, false), (1 << 32 | 10, true), (0, false)]
        {
            assert_eq!(hint.was_sent(last), was, "{last}");
        }
        assert!(!Hint { seq_low: 0, ..hint }.was_sent(5), "number 0 is never sent");
    }
    #[test]
    fn a_quotation_has_to_reach_the_sequence_number() {
        let packet = esp_packet(false, 1500);
        for len in [28, 27, 24, 20, 19, 0] {
            let mut icmp = vec![3, 4, 0, 0, 0, 0, 5, 0];
            icmp.extend(&packet[..len]);
            let sum = wire::checksum(&icmp);
            icmp[2..4].copy_from_slice(&sum.to_be_bytes());
            let said = crate::host::frame::ipv4([192, 0, 2, 99].into(), [192, 0, 2, 1].into(), 1, 64, &icmp);
            assert_eq!(Hint::parse(&said).is_some(), len == 28, "{len}");
        }
    }
    proptest! {
        #[test]
        fn any_bytes_are_read_or_not(mut bytes in prop::collection::vec(any::<u8>(), 0..120), cut in 0usize..200, v6: bool) {
            let _ = Hint::parse(&bytes);
            let said = error(&esp_packet(v6, 300), if v6 { "2001:db8::99" } else { "192.0.2.99" }.parse().expect("an address"), IcmpError::TooBig { mtu: 200 });
            let mut said = said.expect("an error");
            said.truncate(cut);
            bytes.extend(said);
            let _ = Hint::parse(&bytes).map(|hint| (hint.believed(), hint.was_sent(3)));
        }
    }
}
