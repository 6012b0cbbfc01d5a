//! TCP's maximum segment size, brought down to what fits a tunnel (RFC 9293 3.7.1): for hosts that never hear that
//! their packets are too big. Only segments with SYN carry it.
use wire::ip::{Packet, V4_HEADER, V6_HEADER, protocol};

const TCP_HEADER: usize = 20;
const FLAGS: usize = 13;
const SYN: u8 = 0x02;
const END: u8 = 0;
const NOTHING: u8 = 1;
const MSS: u8 = 2;

/// Changes the option of a packet that opens a connection, checksum included, so that whole segments make packets of at
/// most `mtu` bytes. Everything else stays as it is.
#[cold]
pub(crate) fn clamp(bytes: &mut [u8], mtu: usize) -> Option<()> {
    let packet = Packet::parse(bytes).ok()?;
    if packet.protocol != protocol::TCP || packet.is_later_fragment() {
        return None;
    }
    let ip = if packet.is_ipv4() { V4_HEADER } else { V6_HEADER };
    let fits = u16::try_from(mtu.checked_sub(ip + TCP_HEADER)?).ok()?;
    let tcp = bytes.get_mut(packet.upper_at.into()..packet.total_len.into())?;
    if tcp.get(FLAGS)? & SYN == 0 {
        return None;
    }
    let header = usize::from(tcp.get(12)? >> 4) * 4;
    let at = option(tcp.get(TCP_HEADER..header)?)? + TCP_HEADER;
    let value: &mut [u8; 2] = tcp.get_mut(at..at + 2)?.first_chunk_mut()?;
    let before = u16::from_be_bytes(*value);
    if before <= fits {
        return None;
    }
    *value = fits.to_be_bytes();
    // A word that begins at an odd place counts with its bytes changed over (RFC 1071 2 B).
    let turned = |word: u16| if at.is_multiple_of(2) { word } else { word.swap_bytes() };
    let sum: &mut [u8; 2] = tcp.get_mut(16..18)?.first_chunk_mut()?;
    let updated = wire::checksum::update(u16::from_be_bytes(*sum), turned(before), turned(fits));
    *sum = updated.to_be_bytes();
    Some(())
}

/// Where the value of the option begins.
fn option(options: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match *options.get(at..)? {
            [END, ..] | [] => return None,
            [NOTHING, ..] => at += 1,
            [MSS, 4, _, _, ..] => return Some(at + 2),
            [_, len, ..] if len >= 2 => at += usize::from(len),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use wire::ip::Fields;

    /// Of what TCP's checksum covers, pseudo-header included: 0 if it holds.
    fn sum(packet: &[u8]) -> u16 {
        let p = Packet::parse(packet).expect("a packet");
        let addresses = if p.is_ipv4() { &packet[12..20] } else { &packet[8..40] };
        let upper = p.upper(packet);
        let mut covered = [addresses, &[0, 6], &(upper.len() as u16).to_be_bytes(), upper].concat();
        covered.resize(covered.len().next_multiple_of(2), 0);
        wire::checksum(&covered)
    }
    fn segment(v6: bool, flags: u8, options: &[u8]) -> Vec<u8> {
        let (src, dst) = if v6 { ("2001:db8::1", "2001:db8::2") } else { ("10.0.0.1", "10.0.0.2") };
        let [src, dst] = [src, dst].map(|a| a.parse().expect("an address"));
        let fields = Fields { src, dst, protocol: 6, tos: 0, ttl: 64, dont_fragment: true, id: 0 };
        let mut tcp = vec![0x12, 0x34, 0, 80, 0, 0, 0, 1, 0, 0, 0, 0, 0, flags, 0xff, 0xff, 0, 0, 0, 0];
        tcp.extend(options);
        tcp.resize(tcp.len().next_multiple_of(4), 0);
        tcp[12] = (tcp.len() as u8 / 4) << 4;
        let mut packet = vec![0; fields.header_len()];
        fields.write(&mut packet, tcp.len()).expect("room");
        let at = packet.len();
        packet.extend(tcp);
        let sum = sum(&packet);
        packet[at + 16..at + 18].copy_from_slice(&sum.to_be_bytes());
        packet
    }
    fn mss(packet: &[u8]) -> Option<u16> {
        let upper = Packet::parse(packet).expect("a packet").upper(packet).to_vec();
        let at = option(&upper[20..])? + 20;
        Some(u16::from_be_bytes([upper[at], upper[at + 1]]))
    }

    #[test]
    fn what_opens_a_connection_is_changed_and_nothing_else() {
        for (case, v6, flags, options, expected) in [
            ("SYN", false, SYN, &[2, 4, 5, 180][..], Some(1386)),
            ("SYN and ACK over IPv6", true, SYN | 0x10, &[2, 4, 5, 160], Some(1366)),
            ("at an odd place", false, SYN, &[1, 2, 4, 5, 180], Some(1386)),
            ("behind others", false, SYN, &[4, 2, 8, 10, 0, 0, 0, 1, 0, 0, 0, 0, 2, 4, 5, 180], Some(1386)),
            ("smaller already", false, SYN, &[2, 4, 2, 0], Some(512)),
            ("no SYN", false, 0x10, &[2, 4, 5, 180], Some(1460)),
            ("none", false, SYN, &[1, 1, 1, 0], None),
            ("an option that never ends", false, SYN, &[8, 0, 2, 4], None),
            ("an option beyond the header", false, SYN, &[8, 40, 2, 4], None),
        ] {
            let before = segment(v6, flags, options);
            let mut packet = before.clone();
            clamp(&mut packet, 1426);
            assert_eq!((mss(&packet), sum(&packet)), (expected, 0), "{case}");
            assert_eq!(packet == before, mss(&before) == expected, "{case}");
        }
    }
    proptest! {
        #[test]
        fn whatever_the_options_are_the_checksum_holds(
            v6: bool, flags: u8, options in prop::collection::vec(any::<u8>(), 0..40), mtu in 0usize..3000,
        ) {
            let mut packet = segment(v6, flags, &options);
            let len = packet.len();
            clamp(&mut packet, mtu);
            prop_assert_eq!((sum(&packet), packet.len()), (0, len));
        }
        #[test]
        fn any_bytes_stay_or_change(mut bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            if let Some(first) = bytes.first_mut() { *first = 0x45; }
            clamp(&mut bytes, 1400);
        }
    }
}
