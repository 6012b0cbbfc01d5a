//! Where ESP and AH stand in a packet's chain of headers (RFC 4302 3.1, RFC 4303 3.1).
use crate::ip::{self, Packet, V4_HEADER, V6_HEADER, protocol};
use crate::{Malformed, checksum};

/// A place in the chain: where a header stands or is to stand, and which byte in front names it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    pub at: usize,
    pub named_at: usize,
}

const PROTOCOL: usize = 9;
const NEXT_HEADER: usize = 6;

/// Where a security header goes in transport mode.
//= rfc4303#3.1.1/transport-place: behind the IPv4 header and its options. In IPv6 behind the hop-by-hop, routing and
// fragment headers; destination options are protected, but for those that stand in front of a routing header.
pub fn transport_place(packet: &[u8]) -> Result<Place, Malformed> {
    let mut good = None;
    let mut behind_options = false;
    for step in walk(packet)? {
        let Step { place, kind } = step?;
        match kind {
            // What follows a routing header that was found goes with the upper layer.
            protocol::DESTINATION_OPTIONS => {
                good.get_or_insert(place);
                behind_options = true;
            }
            protocol::HOP_BY_HOP => {}
            protocol::ROUTING | protocol::FRAGMENT => (good, behind_options) = (None, false),
            _ if behind_options => return good.ok_or(Malformed("header chain")),
            _ => return Ok(place),
        }
    }
    Err(Malformed("IPv6 header chain, longer than 8"))
}

/// Which byte names the header that stands at `at`.
pub fn place_at(packet: &[u8], at: usize) -> Result<Place, Malformed> {
    for step in walk(packet)? {
        let Step { place, .. } = step?;
        if place.at >= at {
            return if place.at == at { Ok(place) } else { break };
        }
    }
    Err(Malformed("header chain"))
}

/// One header behind the first: its place and what it is.
pub(crate) struct Step {
    pub place: Place,
    pub kind: u8,
}
/// The headers behind the first, up to and with the first one that is no extension header of IPv6.
pub(crate) fn walk(packet: &[u8]) -> Result<impl Iterator<Item = Result<Step, Malformed>>, Malformed> {
    let first = match packet.first() {
        Some(b) if b >> 4 == 4 => Place { at: usize::from(b & 0x0f) * 4, named_at: PROTOCOL },
        Some(b) if b >> 4 == 6 => Place { at: V6_HEADER, named_at: NEXT_HEADER },
        _ => return Err(Malformed("IP version")),
    };
    if first.at > packet.len() || first.at < V4_HEADER {
        return Err(Malformed("IP header length"));
    }
    let ipv6 = first.named_at == NEXT_HEADER;
    let mut next = Some(first);
    let mut count = 0;
    Ok(std::iter::from_fn(move || {
        let place = next.take()?;
        let Some(&kind) = packet.get(place.named_at) else { return Some(Err(Malformed("header chain"))) };
        let extension = matches!(
            kind,
            protocol::HOP_BY_HOP | protocol::ROUTING | protocol::FRAGMENT | protocol::DESTINATION_OPTIONS
        );
        if ipv6 && extension && count < ip::MAX_EXTENSIONS {
            count += 1;
            let len = match (kind, packet.get(place.at + 1)) {
                (protocol::FRAGMENT, _) => 8,
                (_, Some(len)) => 8 + usize::from(*len) * 8,
                _ => return Some(Err(Malformed("IPv6 extension header"))),
            };
            let at = place.at + len;
            if at > packet.len() {
                return Some(Err(Malformed("IPv6 extension header length")));
            }
            next = Some(Place { at, named_at: place.at });
        }
        Some(Ok(Step { place, kind }))
    }))
}

/// Says in the first header how long the packet is now, and makes its checksum. `header` is all of the IP header, with
/// options or extension headers, `total` the length of the packet.
pub fn set_length(header: &mut [u8], total: usize) -> Option<()> {
    let total = u16::try_from(total).ok()?;
    match header.first()? >> 4 {
        4 => {
            let len = usize::from(header.first()? & 0x0f) * 4;
            let header = header.get_mut(..len.max(V4_HEADER))?;
            header.get_mut(2..4)?.copy_from_slice(&total.to_be_bytes());
            header.get_mut(10..12)?.fill(0);
            let sum = checksum(header);
            header.get_mut(10..12)?.copy_from_slice(&sum.to_be_bytes());
        }
        _ => {
            let payload = total.checked_sub(V6_HEADER as u16)?;
            header.get_mut(4..6)?.copy_from_slice(&payload.to_be_bytes());
        }
    }
    Some(())
}

/// Where a protocol has a checksum that covers addresses.
const fn checksum_field(kind: u8) -> Option<usize> {
    match kind {
        protocol::TCP => Some(16),
        protocol::UDP => Some(6),
        protocol::ICMPV6 => Some(2),
        _ => None,
    }
}
/// Makes the checksum of TCP, UDP or ICMPv6 in a whole datagram anew. One of UDP that is not there stays away.
pub fn checksum_anew(packet: &mut [u8], parsed: &Packet) -> Option<()> {
    let Some(at) = checksum_field(parsed.protocol) else { return Some(()) };
    let upper = packet.get_mut(usize::from(parsed.upper_at)..usize::from(parsed.total_len))?;
    let field = |upper: &mut [u8], value: u16| -> Option<u16> {
        let field: &mut [u8; 2] = upper.get_mut(at..)?.first_chunk_mut()?;
        Some(u16::from_be_bytes(std::mem::replace(field, value.to_be_bytes())))
    };
    let udp = parsed.protocol == protocol::UDP;
    if field(upper, 0)? == 0 && udp {
        return Some(());
    }
    let sum = checksum::pseudo(parsed.src, parsed.dst, parsed.protocol, upper.len()).with(upper).finish();
    field(upper, if udp && sum == 0 { 0xffff } else { sum })?;
    Some(())
}

/// Keeps the checksum of TCP, UDP or ICMPv6 right in a whole datagram whose addresses were others, `before`, when
/// it was made: source and destination. Of one family with those of the packet.
//= rfc3948#3.1.2/transport-checksum: the received checksum is adjusted by the difference of the addresses.
pub fn readdress(packet: &mut [u8], upper_at: usize, kind: u8, before: &[u8]) -> Option<()> {
    let now = match packet.first()? >> 4 {
        4 => packet.get(12..20)?,
        _ => packet.get(8..40)?,
    };
    let Some(field) = checksum_field(kind) else { return Some(()) };
    let field_at = upper_at + field;
    let (old, new) = (checksum::partial(before), checksum::partial(now));
    let field: &mut [u8; 2] = packet.get_mut(field_at..)?.first_chunk_mut()?;
    let sum = u16::from_be_bytes(*field);
    if kind == protocol::UDP && sum == 0 {
        return Some(());
    }
    //= rfc1624#3/eqn-3: for all words of both addresses at once.
    let adjusted = !checksum::fold(u64::from(!sum) + u64::from(!checksum::fold(old)) + new);
    // Zero in UDP would say that there is none.
    *field = if kind == protocol::UDP && adjusted == 0 { 0xffff } else { adjusted }.to_be_bytes();
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::checksum::pseudo;
    use crate::ip::Fields;
    use proptest::prelude::*;
    use std::net::IpAddr;

    fn v6(chain: &[u8]) -> Vec<u8> {
        let mut bytes = vec![0; V6_HEADER];
        let mut payload = Vec::new();
        for (at, kind) in chain.iter().enumerate().skip(1) {
            payload.extend([*kind, 0, 1, 4, 0, 0, 0, at as u8]);
        }
        payload.extend([0; 8]);
        let fields = Fields {
            src: "2001:db8::1".parse().unwrap(),
            dst: "2001:db8::2".parse().unwrap(),
            protocol: chain[0],
            tos: 0,
            ttl: 1,
            dont_fragment: true,
            id: 0,
        };
        fields.write(&mut bytes, payload.len()).unwrap();
        bytes.extend(payload);
        bytes
    }
    //= test rfc4303#3.1.1/transport-place
    #[test]
    fn a_security_header_goes_behind_what_routers_read() {
        for (chain, at, named_at) in [
            (&[17][..], 40, 6),
            (&[0, 17], 48, 40),
            (&[60, 17], 40, 6),
            (&[0, 60, 17], 48, 40),
            (&[0, 60, 43, 17], 64, 56),
            (&[0, 60, 43, 60, 17], 64, 56),
            (&[0, 43, 44, 60, 6], 64, 56),
            (&[43, 50], 48, 40),
        ] {
            let packet = v6(chain);
            assert_eq!(transport_place(&packet), Ok(Place { at, named_at }), "{chain:?}");
            assert_eq!(place_at(&packet, at), Ok(Place { at, named_at }), "{chain:?}");
        }
        for options in [0, 4, 40] {
            let mut packet = vec![0; 64];
            (packet[0], packet[9]) = (0x40 | ((20 + options) / 4) as u8, 17);
            let expected = Place { at: 20 + options, named_at: 9 };
            assert_eq!(transport_place(&packet), Ok(expected));
            assert_eq!(place_at(&packet, 20 + options), Ok(expected));
            assert!(place_at(&packet, 28).is_err() || options == 8);
        }
    }
    proptest! {
        #[test]
        fn any_bytes_have_places_or_not(mut bytes in prop::collection::vec(any::<u8>(), 0..200), v6: bool, at in 0usize..200) {
            if let Some(first) = bytes.first_mut() { *first = if v6 { 0x60 } else { 0x40 | *first & 15 }; }
            if let Ok(place) = transport_place(&bytes) {
                prop_assert!(place.named_at < bytes.len());
                prop_assert!(place.at <= bytes.len());
            }
            let _ = (place_at(&bytes, at), readdress(&mut bytes.clone(), at, 6, &[1; 8]), set_length(&mut bytes, at));
        }
        //= test rfc3948#3.1.2/transport-checksum
        #[test]
        fn a_checksum_follows_the_addresses(old: [u32; 2], new: [u32; 2], body in prop::collection::vec(any::<u8>(), 20..60), kind in prop::sample::select(vec![6u8, 17])) {
            let addr = |a: u32| IpAddr::V4(a.into());
            let at = if kind == 6 { 16 } else { 6 };
            let mut upper = body;
            upper[at..at + 2].fill(0);
            let sum = |of: [u32; 2], upper: &[u8]| {
                let sum = pseudo(addr(of[0]), addr(of[1]), kind, upper.len()).with(upper).finish();
                if kind == 17 && sum == 0 { 0xffff } else { sum }
            };
            let (before, after) = (sum(old, &upper), sum(new, &upper));
            upper[at..at + 2].copy_from_slice(&before.to_be_bytes());
            let fields = Fields { src: addr(new[0]), dst: addr(new[1]), protocol: kind, tos: 0, ttl: 9, dont_fragment: false, id: 0 };
            let mut packet = vec![0; 20];
            fields.write(&mut packet, upper.len()).unwrap();
            packet.extend(upper);
            let was: Vec<u8> = old.iter().flat_map(|a| a.to_be_bytes()).collect();
            readdress(&mut packet, 20, kind, &was).unwrap();
            let got = u16::from_be_bytes([packet[20 + at], packet[21 + at]]);
            // 0 and 0xffff are the same number.
            prop_assert!(got == after || (got == 0 || got == 0xffff) && (after == 0 || after == 0xffff));
            let parsed = Packet::parse(&packet).unwrap();
            packet[20 + at] ^= 0x55;
            checksum_anew(&mut packet, &parsed).unwrap();
            let anew = u16::from_be_bytes([packet[20 + at], packet[21 + at]]);
            prop_assert!(anew == after || anew == 0 && kind == 17);
        }
    }
}
