//! Fragmentation of the gateway's own datagrams (RFC 791 3.2, RFC 8200 4.5), before they are in a buffer.
use super::frame::IPV6_HEADER;

const IPV4_HEADER: usize = 20;
const FRAGMENT_HEADER: usize = 8;
const FRAGMENT: u8 = 44;
const MORE: u16 = 0x2000;

/// The packet itself when it fits. Otherwise it must be one of ours: IPv4 without options, IPv6 without
/// extension headers. `id` must not repeat soon.
pub fn split(packet: Vec<u8>, mtu: u16, id: u32) -> Vec<Vec<u8>> {
    let ipv4 = packet.first().is_some_and(|first| first >> 4 == 4);
    let (header, added) = if ipv4 { (IPV4_HEADER, 0) } else { (IPV6_HEADER, FRAGMENT_HEADER) };
    let room = usize::from(mtu).saturating_sub(header + added) & !7;
    let fits = packet.len() <= usize::from(mtu);
    let (false, 1.., Some((head, body))) = (fits, room, packet.split_at_checked(header)) else {
        return vec![packet];
    };
    let last = body.len().div_ceil(room).saturating_sub(1);
    let piece = |(at, part): (usize, &[u8])| {
        let (offset, more) = ((at * room) as u16, at < last);
        if ipv4 { v4(head, part, offset, more, id as u16) } else { v6(head, part, offset, more, id) }
    };
    body.chunks(room).enumerate().map(piece).collect()
}

fn v4(head: &[u8], part: &[u8], offset: u16, more: bool, id: u16) -> Vec<u8> {
    let mut packet = [head, part].concat();
    let len = packet.len() as u16;
    packet[2..4].copy_from_slice(&len.to_be_bytes());
    packet[4..6].copy_from_slice(&id.to_be_bytes());
    let flags = (offset / 8) | if more { MORE } else { 0 };
    packet[6..8].copy_from_slice(&flags.to_be_bytes());
    packet[10..12].fill(0);
    let sum = wire::checksum(&packet[..IPV4_HEADER]);
    packet[10..12].copy_from_slice(&sum.to_be_bytes());
    packet
}

fn v6(head: &[u8], part: &[u8], offset: u16, more: bool, id: u32) -> Vec<u8> {
    let mut packet = head.to_vec();
    let len = (FRAGMENT_HEADER + part.len()) as u16;
    packet[4..6].copy_from_slice(&len.to_be_bytes());
    let upper = std::mem::replace(&mut packet[6], FRAGMENT);
    packet.extend_from_slice(&[upper, 0]);
    packet.extend_from_slice(&(offset | u16::from(more)).to_be_bytes());
    packet.extend_from_slice(&id.to_be_bytes());
    packet.extend_from_slice(part);
    packet
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::ip::{Fields, Packet};

    #[test]
    fn pieces_fit_and_make_the_whole_again() {
        for (src, dst) in [("192.0.2.1", "192.0.2.2"), ("2001:db8::1", "2001:db8::2")] {
            let body: Vec<u8> = (0..4000u32).map(|n| n as u8).collect();
            let fields = Fields {
                src: src.parse().expect("an address"),
                dst: dst.parse().expect("an address"),
                protocol: 17,
                tos: 0xc0,
                ttl: 64,
                dont_fragment: false,
                id: 0,
            };
            let mut whole = vec![0; fields.header_len()];
            fields.write(&mut whole, body.len()).expect("room");
            whole.extend_from_slice(&body);
            for mtu in [1280, 1500, 4019] {
                let mut got = Vec::new();
                let pieces = split(whole.clone(), mtu, 7);
                for (at, piece) in pieces.iter().enumerate() {
                    assert!(piece.len() <= usize::from(mtu), "{src} {mtu}: {}", piece.len());
                    let packet = Packet::parse(piece).expect("an IP packet");
                    assert_eq!(usize::from(packet.total_len), piece.len());
                    let fragment = packet.fragment.expect("a fragment");
                    assert_eq!(usize::from(fragment.offset), got.len(), "{src} {mtu}");
                    assert_eq!(fragment.more, at + 1 < pieces.len());
                    assert_eq!(packet.protocol, 17);
                    got.extend_from_slice(packet.upper(piece));
                }
                assert_eq!(got, body, "{src} {mtu}");
            }
            assert_eq!(split(whole.clone(), 4040, 7), [whole], "it fits");
        }
    }
    #[test]
    fn what_cannot_be_split_stays_as_it_is() {
        for odd in [vec![], vec![0x45; 3], vec![0x60; 39], vec![0x45; 100]] {
            assert_eq!(split(odd.clone(), 24, 1), [odd]);
        }
    }
}
