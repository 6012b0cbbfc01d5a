//! The Authentication Header (RFC 4302): its fields, and what of a packet its ICV does not cover.
use crate::chain::{self, Place, Step};
use crate::ip::{V4_HEADER, V6_HEADER, protocol};
use crate::{Malformed, ip};

/// Up to the ICV.
pub const FIXED: usize = 12;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub next_header: u8,
    /// Of the whole header, with ICV and padding.
    pub len: usize,
    /// As on the wire, so it may be a reserved value.
    pub spi: u32,
    pub seq_low: u32,
}
impl Header {
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        let [next_header, words, _, _, a, b, c, d, e, f, g, h, ..] = *bytes else {
            return Err(Malformed("AH header"));
        };
        let len = (usize::from(words) + 2) * 4;
        let (spi, seq_low) = (u32::from_be_bytes([a, b, c, d]), u32::from_be_bytes([e, f, g, h]));
        Ok(Self { next_header, len, spi, seq_low })
    }
    /// Whether the header is as long as one with an ICV of so many bytes, which says nothing of the packet's length.
    //= rfc4302#2.6/padding: to a multiple of 4 bytes, 8 in IPv6. Some pad to 8 in IPv4, too.
    pub fn fits(&self, icv: usize, ipv4: bool) -> bool {
        let least = FIXED + icv;
        self.len >= least && self.len < least + 8 && (ipv4 || self.len.is_multiple_of(8))
    }
}

/// The length of our AH.
pub const fn header_len(icv: usize, ipv4: bool) -> usize {
    (FIXED + icv).next_multiple_of(if ipv4 { 4 } else { 8 })
}

/// Writes all of the header but the ICV, which is zero.
pub fn write(out: &mut [u8], next_header: u8, spi: u32, seq_low: u32) -> Option<()> {
    //= rfc4302#2.2/length: in 32-bit words, less two.
    let words = u8::try_from((out.len() / 4).checked_sub(2)?).ok()?;
    let (fixed, icv) = out.split_first_chunk_mut::<FIXED>()?;
    let ([a, b, c, d], [e, f, g, h]) = (spi.to_be_bytes(), seq_low.to_be_bytes());
    *fixed = [next_header, words, 0, 0, a, b, c, d, e, f, g, h];
    icv.fill(0);
    Some(())
}

/// Which end computes the ICV.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// Fields that change predictably are made what they will be on arrival.
    Sender,
    Receiver,
}

/// Makes zero what may change on the way, in the headers in front of the AH: `header` ends where that begins.
pub fn mute(header: &mut [u8], end: End) -> Result<(), Malformed> {
    match header.first().map(|b| b >> 4) {
        Some(4) => mute_v4(header, end),
        Some(6) => mute_v6(header, end),
        _ => Err(Malformed("IP version")),
    }
}

//= rfc4302#3.3.3.1.1.1/ipv4-mutable: DSCP and ECN, flags, fragment offset, TTL, checksum.
fn mute_v4(header: &mut [u8], end: End) -> Result<(), Malformed> {
    let fixed: &mut [u8; V4_HEADER] = header.first_chunk_mut().ok_or(Malformed("IPv4 header"))?;
    let [_, tos, _, _, _, _, f0, f1, ttl, _, s0, s1, ..] = fixed;
    for byte in [tos, f0, f1, ttl, s0, s1] {
        *byte = 0;
    }
    let mut at = V4_HEADER;
    while at < header.len() {
        let broken = Malformed("IPv4 option");
        let rest = header.get_mut(at..).ok_or(broken)?;
        let len = match rest {
            // The end of the list; what follows is padding, and as it is.
            [0, ..] => break,
            [1, ..] => 1,
            [_, len, ..] if *len >= 2 => usize::from(*len),
            _ => return Err(broken),
        };
        let option = rest.get_mut(..len).ok_or(broken)?;
        let kind = option.first().copied().unwrap_or_default();
        let route =
            option.len().checked_sub(4).and_then(|from| option.get(from..)?.first_chunk::<4>()).copied();
        let over = option.get(2).is_some_and(|next| usize::from(*next) > len);
        //= rfc4302#A.1/ipv4-options: these alone are covered; others may change, and count as zero.
        const KEPT: [u8; 6] = [1, 130, 133, 134, 148, 149];
        if !KEPT.contains(&kind) {
            option.fill(0);
        }
        //= rfc4302#3.3.3.1.1.1/source-route: the destination is mutable but predictable: the last of the route.
        if matches!(kind, 131 | 137) && end == End::Sender && !over {
            let last = route.filter(|_| len >= 7).ok_or(broken)?;
            header.get_mut(16..20).ok_or(broken)?.copy_from_slice(&last);
        }
        at += len;
    }
    Ok(())
}

//= rfc4302#3.3.3.1.2.1/ipv6-mutable: traffic class, flow label, hop limit.
fn mute_v6(header: &mut [u8], end: End) -> Result<(), Malformed> {
    let broken = Malformed("IPv6 header");
    let fixed: &mut [u8; V6_HEADER] = header.first_chunk_mut().ok_or(broken)?;
    let [version, class, flow0, flow1, _, _, _, hops, ..] = fixed;
    *version &= 0xf0;
    for byte in [class, flow0, flow1, hops] {
        *byte = 0;
    }
    // Where each header stands, before any of them is written to.
    let mut steps = [None; ip::MAX_EXTENSIONS + 1];
    for (slot, step) in steps.iter_mut().zip(chain::walk(header)?) {
        let Step { place: Place { at, .. }, kind } = step?;
        *slot = Some((kind, at));
    }
    for (kind, at) in steps.into_iter().flatten() {
        // The AH itself, where the headers end.
        let Some(len) = header.get(at + 1).map(|len| 8 + usize::from(*len) * 8) else { break };
        match (kind, end) {
            (protocol::HOP_BY_HOP | protocol::DESTINATION_OPTIONS, _) => {
                mute_options(header.get_mut(at + 2..at + len).ok_or(broken)?)?;
            }
            (protocol::ROUTING, End::Sender) => arrive(header, at, len).ok_or(broken)?,
            //= rfc4302#3.3.3.1.2.2/arrived: at the destination nothing is left of the route.
            (protocol::ROUTING, End::Receiver) if header.get(at + 3) == Some(&0) => {}
            //= rfc4302#3.4.1/reassembled: AH covers whole datagrams.
            _ => return Err(Malformed("header in front of AH")),
        }
    }
    Ok(())
}

//= rfc4302#3.3.3.1.2.1/mutable-options: the third bit of the type says that the data may change.
fn mute_options(mut options: &mut [u8]) -> Result<(), Malformed> {
    const PAD1: u8 = 0;
    const MUTABLE: u8 = 0x20;
    loop {
        options = match options {
            [] => return Ok(()),
            [PAD1, rest @ ..] => rest,
            [kind, len, rest @ ..] => {
                let (data, rest) =
                    rest.split_at_mut_checked(usize::from(*len)).ok_or(Malformed("IPv6 option length"))?;
                if *kind & MUTABLE != 0 {
                    data.fill(0);
                }
                rest
            }
            [_] => return Err(Malformed("IPv6 option")),
        };
    }
}

//= rfc4302#3.3.3.1.2.2/routing-header: the sender orders its fields as they will be on arrival.
/// A route that has not begun, as it is when it is over: of the types whose addresses change places with the destination.
fn arrive(header: &mut [u8], at: usize, len: usize) -> Option<()> {
    const MOBILE: u8 = 2;
    let (front, rest) = header.split_at_mut_checked(at + 8)?;
    let addresses = rest.get_mut(..len.checked_sub(8)?)?;
    let [0 | MOBILE, left] = front.get_mut(at + 2..at + 4)? else { return None };
    if addresses.len() != usize::from(*left) * 16 {
        return None;
    }
    *left = 0;
    if !addresses.is_empty() {
        addresses.rotate_right(16);
        front.get_mut(24..40)?.swap_with_slice(addresses.get_mut(..16)?);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn v4(options: &[u8]) -> Vec<u8> {
        let mut header =
            vec![0x45 + (options.len() / 4) as u8, 0xb8, 0, 99, 0, 7, 0x40, 0, 64, 51, 0xab, 0xcd];
        header.extend([192, 0, 2, 1, 192, 0, 2, 2]);
        header.extend(options);
        header
    }
    fn v6(next: u8, rest: &[u8]) -> Vec<u8> {
        let mut header = vec![0x6b, 0x81, 0x23, 0x45, 0, 99, next, 64];
        header.extend([1; 16]);
        header.extend([2; 16]);
        header.extend(rest);
        header
    }
    //= test rfc4302#A.1/ipv4-options
    #[test]
    fn options_are_covered_or_count_as_zero() {
        // Router alert stays; record route and a time stamp go; no-operation stays.
        let options = [148, 4, 0, 0, 7, 7, 4, 10, 0, 0, 1, 1, 68, 4, 5, 0, 0, 9, 9, 9];
        let mut header = v4(&options);
        mute(&mut header, End::Receiver).expect("right options");
        assert_eq!(header[20..], [148, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 9, 9, 9]);
        assert_eq!(header[..12], [0x4a, 0, 0, 99, 0, 7, 0, 0, 0, 51, 0, 0]);
    }
    #[test]
    fn a_source_route_ends_at_its_last_address() {
        let mut header = v4(&[131, 11, 4, 10, 0, 0, 1, 10, 0, 0, 2, 0]);
        mute(&mut header, End::Sender).expect("a right option");
        assert_eq!((&header[16..20], &header[20..32]), (&[10, 0, 0, 2][..], &[0; 12][..]));
        let mut header = v4(&[131, 7, 8, 10, 0, 0, 1, 0]);
        mute(&mut header, End::Receiver).expect("a right option");
        assert_eq!(header[16..20], [192, 0, 2, 2], "it has arrived");
        assert!(mute(&mut v4(&[131, 5, 4, 9, 9, 0, 0, 0]), End::Sender).is_err());
    }
    #[test]
    fn a17_options_that_cannot_be_right_are_refused() {
        for options in [[7, 0, 0, 0], [7, 1, 0, 0], [7, 5, 0, 0], [1, 1, 1, 7], [255, 255, 0, 0]] {
            assert!(mute(&mut v4(&options), End::Receiver).is_err(), "{options:?}");
        }
        for options in [[5, 2, 0, 0, 0, 9], [0x3e, 9, 0, 0, 0, 0]] {
            let mut extension = vec![51, 0];
            extension.extend(options);
            assert!(mute(&mut v6(0, &extension), End::Receiver).is_err(), "{options:?}");
        }
        // A fragment, and a route that is not over.
        assert!(mute(&mut v6(44, &[51, 0, 0, 1, 0, 0, 0, 1]), End::Receiver).is_err());
        assert!(
            mute(
                &mut v6(43, &[51, 2, 0, 1, 0, 0, 0, 0, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3, 3]),
                End::Receiver
            )
            .is_err()
        );
    }
    //= test rfc4302#3.3.3.1.2.1/mutable-options
    #[test]
    fn options_of_ipv6_say_themselves_whether_they_change() {
        let mut header = v6(0, &[60, 0, 0x3e, 2, 7, 7, 0x05, 0, 51, 0, 0x1e, 2, 7, 7, 1, 0]);
        mute(&mut header, End::Receiver).expect("right options");
        assert_eq!(header[40..], [60, 0, 0x3e, 2, 0, 0, 0x05, 0, 51, 0, 0x1e, 2, 7, 7, 1, 0]);
        assert_eq!(header[..8], [0x60, 0, 0, 0, 0, 99, 0, 0]);
    }
    //= test rfc4302#3.3.3.1.2.2/routing-header
    #[test]
    fn a_route_is_seen_from_its_end() {
        let mut route = vec![51, 4, 0, 2, 0, 0, 0, 0];
        route.extend([3; 16]);
        route.extend([4; 16]);
        let mut header = v6(43, &route);
        mute(&mut header, End::Sender).expect("a right route");
        assert_eq!((&header[24..40], header[43]), (&[4; 16][..], 0));
        assert_eq!((&header[48..64], &header[64..80]), (&[2; 16][..], &[3; 16][..]));
        let over = header.clone();
        mute(&mut header, End::Receiver).expect("it is over");
        assert_eq!(header, over);
    }
    proptest! {
        #[test]
        fn any_header_is_muted_or_refused(mut bytes in prop::collection::vec(any::<u8>(), 0..200), v6: bool, ours: bool) {
            if let Some(first) = bytes.first_mut() { *first = if v6 { 0x60 } else { 0x45 }; }
            if let Ok(header) = Header::parse(&bytes) { prop_assert!(header.len <= 1028); }
            let len = bytes.len();
            let _ = mute(&mut bytes, if ours { End::Sender } else { End::Receiver });
            prop_assert_eq!(bytes.len(), len);
        }
    }
}
