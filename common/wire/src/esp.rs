//! ESP header and trailer (RFC 4303 2), UDP encapsulation markers (RFC 3948).
use crate::Malformed;

/// SPI and sequence number.
pub const HEADER: usize = 8;
/// Pad length and next header.
pub const TRAILER: usize = 2;
/// Four zero octets in front of IKE on port 4500 (RFC 3948 2.2).
pub const NON_ESP_MARKER: [u8; 4] = [0; 4];
/// A NAT keepalive is this octet alone (RFC 3948 2.3).
pub const KEEPALIVE: u8 = 0xff;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// As on the wire, so it may be a reserved value.
    pub spi: u32,
    pub seq_low: u32,
}
impl Header {
    #[inline]
    pub fn parse(bytes: &[u8]) -> Result<Self, Malformed> {
        match bytes.as_chunks::<4>().0 {
            [spi, seq, ..] => Ok(Self { spi: u32::from_be_bytes(*spi), seq_low: u32::from_be_bytes(*seq) }),
            _ => Err(Malformed("ESP header")),
        }
    }
}

/// What a UDP payload on port 4500 is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NatT {
    Keepalive,
    /// IKE starts behind the marker.
    Ike,
    Esp,
    /// Neither: shorter than a marker and not a keepalive.
    Short,
}
//= rfc3948#2.2/non-esp-marker: four zero octets say IKE, anything else there is an SPI.
pub fn nat_t(payload: &[u8]) -> NatT {
    match payload {
        [KEEPALIVE] => NatT::Keepalive,
        [0, 0, 0, 0, ..] => NatT::Ike,
        [_, _, _, _, ..] => NatT::Esp,
        _ => NatT::Short,
    }
}

/// Padding bytes so that payload, padding and trailer end on `align` (a power of two).
#[inline]
pub const fn padding(payload: usize, align: usize) -> usize {
    (payload + TRAILER).wrapping_neg() & (align - 1)
}
//= rfc4303#2.4/default-padding: 1, 2, 3, ...
/// Fills `out` (padding, pad length, next header); its length must be `padding + TRAILER`.
pub fn write_trailer(out: &mut [u8], next_header: u8) -> Option<()> {
    let pad = out.len().checked_sub(TRAILER)?;
    let pad_len = u8::try_from(pad).ok()?;
    let (padding, trailer) = out.split_at_mut(pad);
    for (byte, n) in padding.iter_mut().zip(1..=u8::MAX) {
        *byte = n;
    }
    trailer.copy_from_slice(&[pad_len, next_header]);
    Some(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Trailer {
    pub next_header: u8,
    /// Bytes in front of the padding.
    pub payload_len: usize,
}
//= rfc4303#3.4.4.1/check-padding: default padding must count up from one.
/// Reads the trailer of decrypted bytes (behind the IV, in front of the ICV).
#[inline]
pub fn parse_trailer(plain: &[u8]) -> Result<Trailer, Malformed> {
    let [rest @ .., pad_len, next_header] = plain else { return Err(Malformed("ESP trailer")) };
    let payload_len = rest.len().checked_sub(usize::from(*pad_len)).ok_or(Malformed("ESP pad length"))?;
    // What an AEAD's padding is, at most: seen in one word.
    const SHORT: u32 = 6;
    const COUNTING: u64 = 0x06_05_04_03_02_01;
    if let (pad @ 0..=SHORT, Some(end)) = (u32::from(*pad_len), plain.last_chunk()) {
        let padding = (u64::from_le_bytes(*end) & ((1 << (8 * SHORT)) - 1)) >> (8 * (SHORT - pad));
        return match padding == COUNTING & ((1 << (8 * pad)) - 1) {
            true => Ok(Trailer { next_header: *next_header, payload_len }),
            false => Err(Malformed("ESP padding")),
        };
    }
    match counts_up(&rest[payload_len..]) {
        true => Ok(Trailer { next_header: *next_header, payload_len }),
        false => Err(Malformed("ESP padding")),
    }
}
/// Looks at every byte whatever comes first: the time tells nothing about where they differ.
#[inline(never)]
fn counts_up(padding: &[u8]) -> bool {
    padding.iter().zip(1..=u8::MAX).fold(0, |acc, (byte, n)| acc | (byte ^ n)) == 0
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn payloads_on_4500_are_told_apart() {
        for (payload, expected) in [
            (&[][..], NatT::Short),
            (&[0xff], NatT::Keepalive),
            (&[0x00], NatT::Short),
            (&[0xff, 0xff], NatT::Short),
            (&[0, 0, 0], NatT::Short),
            (&[0, 0, 0, 0], NatT::Ike),
            (&[0, 0, 0, 1], NatT::Esp),
            (&[0xff, 0xff, 0xff, 0xff, 0xff], NatT::Esp),
        ] {
            assert_eq!(nat_t(payload), expected, "{payload:02x?}");
        }
    }
    /// Found by the fuzz target `wire_flow`: counting one past the last padding byte.
    #[test]
    fn the_longest_padding_is_255_bytes() {
        let mut plain = [7; 3 + 255 + TRAILER];
        write_trailer(&mut plain[3..], 4).unwrap();
        assert_eq!(plain[257..], [255, 255, 4]);
        assert_eq!(parse_trailer(&plain), Ok(Trailer { next_header: 4, payload_len: 3 }));
        assert!(parse_trailer(&plain[4..]).is_err(), "a byte less than the padding needs");
        assert_eq!(write_trailer(&mut [0; 256 + TRAILER], 4), None);
    }
    proptest! {
        //= test rfc4303#2.4/default-padding
        //= test rfc4303#3.4.4.1/check-padding
        #[test]
        fn trailers_survive_the_round_trip(payload in prop::collection::vec(any::<u8>(), 0..100), align in prop::sample::select(vec![4usize, 16]), flip in any::<prop::sample::Index>()) {
            let pad = padding(payload.len(), align);
            let mut plain = payload.clone();
            plain.resize(payload.len() + pad + TRAILER, 0);
            write_trailer(&mut plain[payload.len()..], 4).unwrap();
            prop_assert_eq!(plain.len() % align, 0);
            prop_assert!(pad < align);
            prop_assert_eq!(parse_trailer(&plain), Ok(Trailer { next_header: 4, payload_len: payload.len() }));
            if pad > 0 {
                let at = payload.len() + flip.index(pad);
                plain[at] ^= 0x40;
                prop_assert!(parse_trailer(&plain).is_err());
            }
        }
        #[test]
        fn any_bytes_parse_or_do_not(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
            let _ = (Header::parse(&bytes), nat_t(&bytes));
            if let Ok(trailer) = parse_trailer(&bytes) { prop_assert!(trailer.payload_len + TRAILER <= bytes.len()); }
        }
    }
}
