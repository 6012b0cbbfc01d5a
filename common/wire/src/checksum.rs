//! The internet checksum (RFC 1071) and its incremental update (RFC 1624).
use std::net::IpAddr;

/// Checksum of `bytes`. Over data that holds its own right checksum the result is 0.
pub fn checksum(bytes: &[u8]) -> u16 {
    !fold(partial(bytes))
}

/// Sum of 16-bit words without the final complement, to be continued or folded. An odd last byte counts
/// as the high half of a word, so only the last piece of a message may have odd length.
pub fn partial(bytes: &[u8]) -> u64 {
    let (words, rest) = bytes.as_chunks::<4>();
    let sum: u64 = words.iter().map(|w| u64::from(u32::from_be_bytes(*w))).sum();
    let tail = match *rest {
        [] => 0,
        [a] => u32::from_be_bytes([a, 0, 0, 0]),
        [a, b] => u32::from_be_bytes([a, b, 0, 0]),
        [a, b, c, ..] => u32::from_be_bytes([a, b, c, 0]),
    };
    sum + u64::from(tail)
}

/// Folds a partial sum to 16 bits (not complemented). Without branches: how often there is a carry cannot be predicted.
#[inline]
pub const fn fold(sum: u64) -> u16 {
    // At most 33 bits are left, then 18, then one above the lowest 16, then none.
    let sum = (sum & 0xffff_ffff) + (sum >> 32);
    let sum = (sum & 0xffff) + (sum >> 16);
    let sum = (sum & 0xffff) + (sum >> 16);
    ((sum & 0xffff) + (sum >> 16)) as u16
}

/// The checksum after one 16-bit word of the covered data went from `old` to `new`.
//= rfc1624#3/eqn-3: HC' = ~(~HC + ~m + m')
#[inline]
pub fn update(checksum: u16, old: u16, new: u16) -> u16 {
    !fold(u64::from(!checksum) + u64::from(!old) + u64::from(new))
}

/// Whether bytes that contain their checksum are intact.
pub fn holds(bytes: &[u8]) -> bool {
    checksum(bytes) == 0
}

/// A sum over several pieces, each but the last of even length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sum(u64);
impl Sum {
    pub fn with(self, bytes: &[u8]) -> Self {
        Self(self.0 + partial(bytes))
    }
    pub fn with_u16(self, word: u16) -> Self {
        Self(self.0 + u64::from(word))
    }
    /// The value that goes into a checksum field; 0 over data that holds its own right checksum.
    pub fn finish(self) -> u16 {
        !fold(self.0)
    }
}

/// The pseudo header of UDP, TCP and ICMPv6 (RFC 768, RFC 9293, RFC 8200 8.1).
pub fn pseudo(src: IpAddr, dst: IpAddr, protocol: u8, len: usize) -> Sum {
    let octets = |addr: IpAddr| match addr {
        IpAddr::V4(a) => Sum::default().with(&a.octets()),
        IpAddr::V6(a) => Sum::default().with(&a.octets()),
    };
    let len = len as u32;
    Sum(octets(src).0 + octets(dst).0)
        .with_u16((len >> 16) as u16)
        .with_u16(len as u16)
        .with_u16(u16::from(protocol))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_example_of_rfc_1071() {
        assert_eq!(fold(partial(&[0x00, 0x01, 0xf2, 0x03, 0xf4, 0xf5, 0xf6, 0xf7])), 0xddf2);
    }
    #[test]
    fn folding_ends_where_no_carry_is_left() {
        for sum in
            [0, 1, 0xffff, 0x1_0000, 0x1_fffe, 0x1_ffff, 0xffff_ffff, 0x1_ffff_ffff, u64::MAX - 1, u64::MAX]
        {
            let mut slow = sum;
            while slow > 0xffff {
                slow = (slow & 0xffff) + (slow >> 16);
            }
            assert_eq!(u64::from(fold(sum)), slow, "{sum:x}");
        }
    }
    proptest! {
        #[test]
        fn agrees_with_word_by_word(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            let slow = bytes.chunks(2).fold(0u32, |s, w| {
                let s = s + u32::from(u16::from_be_bytes([w[0], *w.get(1).unwrap_or(&0)]));
                (s & 0xffff) + (s >> 16)
            });
            prop_assert_eq!(checksum(&bytes), !(slow as u16));
        }
        #[test]
        fn update_agrees_with_computing_anew(mut bytes in prop::collection::vec(any::<u8>(), 20..=20), at in 0usize..10, new: u16) {
            // A header that is all zero has two checksums; real ones never are.
            bytes[0] |= 0x40;
            let before = checksum(&bytes);
            let old = u16::from_be_bytes([bytes[at * 2], bytes[at * 2 + 1]]);
            bytes[at * 2..at * 2 + 2].copy_from_slice(&new.to_be_bytes());
            prop_assume!(bytes.iter().any(|b| *b != 0));
            prop_assert_eq!(update(before, old, new), checksum(&bytes));
        }
    }
}
