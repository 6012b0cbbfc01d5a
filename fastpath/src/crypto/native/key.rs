//! What an SA costs: round keys and powers of the hash key, in as few cache lines as they need.
use super::kernel::dot;
use super::lanes::{AesNi, Block, Bytes, Lanes};
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Blocks that are hashed with one reduction.
pub const BATCH: usize = 8;
/// Which power each of [`Record::folded`] belongs to. Read as pairs of 128-bit lanes, the low halves are those of the
/// next two blocks and the high halves those of the two behind them.
pub const FOLDED: [usize; BATCH] = [8, 6, 7, 5, 4, 2, 3, 1];

/// `MORE` is 0, 2 or 4: AES with 10, 12 or 14 rounds. Then 384, 416 or 448 bytes count, and no 32-byte load of a full
/// batch crosses a cache line.
#[derive(Zeroize, ZeroizeOnDrop)]
#[repr(C, align(64))]
pub struct Record<const MORE: usize> {
    first: [Bytes; 10],
    more: [Bytes; MORE],
    last: Bytes,
    /// H^9 to H^1, as [`dot`] wants its second factor.
    powers: [Bytes; BATCH + 1],
    /// Low half XOR high half of each power, in the order of [`FOLDED`].
    folded: [u64; BATCH],
}
const _: () = assert!(size_of::<Record<0>>() == 384 && size_of::<Record<4>>() == 448);

/// A record's fields.
pub struct Parts<'a, const MORE: usize> {
    pub first: &'a [Bytes; 10],
    pub more: &'a [Bytes; MORE],
    pub last: &'a Bytes,
    pub powers: &'a [Bytes; BATCH + 1],
    pub folded: &'a [u64; BATCH],
}

impl<const MORE: usize> Record<MORE> {
    /// On the heap before there is a secret in it, so that none stays behind on the stack.
    pub fn empty() -> Box<Self> {
        const { assert!(MORE == 0 || MORE == 2 || MORE == 4) };
        let (powers, folded) = ([[0; 16]; BATCH + 1], [0; BATCH]);
        Box::new(Self { first: [[0; 16]; 10], more: [[0; 16]; MORE], last: [0; 16], powers, folded })
    }
    /// `key` is as long as `MORE` says: 16, 24 or 32 bytes.
    #[inline(always)]
    pub fn fill(&mut self, cpu: AesNi, key: &[u8]) {
        assert_eq!(key.len(), 16 + MORE * 4);
        self.expand(cpu, key);
        let mut block = Block::load(cpu, &self.first);
        for round_key in self.first.iter().skip(1).chain(&self.more) {
            block = block.aes_round(Block::load(cpu, &[*round_key]));
        }
        block = block.aes_last_round(Block::load(cpu, &[self.last]));
        let first = double(cpu, block.reverse());
        let mut power = first;
        for exponent in 1..=BATCH + 1 {
            power.store(&mut self.powers[BATCH + 1 - exponent..]);
            if let Some(place) = FOLDED.iter().position(|e| *e == exponent) {
                self.folded[place] = power.xor(power.swap()).number() as u64;
            }
            power = dot(cpu, power, first);
        }
    }
    /// The key schedule of FIPS 197 5.2, in words whose first byte is the lowest.
    #[inline(always)]
    fn expand(&mut self, cpu: AesNi, key: &[u8]) {
        let key_words = 4 + MORE;
        let mut words = [0u32; 60];
        for (word, bytes) in words.iter_mut().zip(key.as_chunks().0) {
            *word = u32::from_le_bytes(*bytes);
        }
        let mut constant = 1u8;
        for at in key_words..(11 + MORE) * 4 {
            let before = words[at - 1];
            let mixed = if at.is_multiple_of(key_words) {
                let word = Block::sub_word(cpu, before).rotate_right(8) ^ u32::from(constant);
                // Doubling in GF(2^8): 0x80 becomes 0x1b.
                constant = (constant << 1) ^ ((constant >> 7) * 0x1b);
                word
            } else if key_words > 6 && at % key_words == 4 {
                Block::sub_word(cpu, before)
            } else {
                before
            };
            words[at] = words[at - key_words] ^ mixed;
        }
        let round_keys = self.first.iter_mut().chain(&mut self.more).chain([&mut self.last]);
        for (round_key, words) in round_keys.zip(words.as_chunks::<4>().0) {
            for (to, word) in round_key.as_chunks_mut().0.iter_mut().zip(words) {
                *to = word.to_le_bytes();
            }
        }
        words.zeroize();
    }
    #[inline(always)]
    pub fn parts(&self) -> Parts<'_, MORE> {
        let Self { first, more, last, powers, folded } = self;
        Parts { first, more, last, powers, folded }
    }
    /// The cache lines that a packet of `len` bytes needs.
    #[inline(always)]
    pub fn lines(&self, len: usize) -> impl Iterator<Item = *const i8> + '_ {
        // Full batches alone use the last line.
        let end = if len < BATCH * 16 { size_of::<Self>() - 64 } else { size_of::<Self>() };
        (0..end).step_by(64).map(|at| (&raw const *self).cast::<i8>().wrapping_add(at))
    }
}

/// H times x in the field: what remains to be shifted in a product of values that lie back to front
/// (SP 800-38D 6.3), done once here.
#[inline(always)]
fn double(cpu: AesNi, h: Block) -> Block {
    let h = h.number();
    // A multiplication instead of a branch: the bit is secret.
    let carry = (h >> 127) * 0xc200_0000_0000_0000_0000_0000_0000_0001;
    Block::from_number(cpu, (h << 1) ^ carry)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::mem::ManuallyDrop;

    fn key<const MORE: usize>() -> Box<Record<MORE>> {
        let cpu = AesNi::here().expect("the tests need a CPU with AES-NI, PCLMULQDQ and AVX");
        let mut record = Record::empty();
        let bytes: Vec<u8> = (0..16 + MORE as u8 * 4).collect();
        record.fill(cpu, &bytes);
        record
    }
    fn hex(bytes: &[u8]) -> String {
        bytes.iter().map(|b| format!("{b:02x}")).collect()
    }

    /// The last round keys of FIPS 197 appendix C.
    #[test]
    fn round_keys_are_those_of_the_standard() {
        assert_eq!(hex(&key::<0>().last), "13111d7fe3944a17f307a78b4d2b30c5");
        assert_eq!(hex(&key::<2>().last), "a4970a331a78dc09c418c271e3a41d5d");
        assert_eq!(hex(&key::<4>().last), "24fc79ccbf0979e9371ac23c6d68de36");
    }

    #[test]
    fn a_key_is_wiped_when_dropped() {
        let mut record = ManuallyDrop::new(key::<4>());
        let place = (&raw mut **record).cast::<[u8; size_of::<Record<4>>()]>();
        // SAFETY: a valid record, which is not used or freed again as one, and whose memory stays allocated.
        unsafe { std::ptr::drop_in_place(&raw mut **record) };
        // SAFETY: the same memory, all of it initialised: this record has no padding.
        assert!(unsafe { &*place }.iter().all(|byte| *byte == 0));
    }
}
