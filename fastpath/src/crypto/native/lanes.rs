//! Vectors of AES blocks, and the instructions on them.
//!
//! A value of a vector type exists only on CPUs that have its instructions: the first one is made from a witness
//! ([`AesNi`], [`Vaes`]), a witness is made by looking at the CPU, and all others are made from others. That is why
//! every operation here is safe to call. All of them are inlined into the functions of `x86` that have the
//! instructions switched on.
use std::arch::x86_64::*;

/// AES-NI, PCLMULQDQ and AVX are there.
#[derive(Clone, Copy)]
pub struct AesNi(());
impl AesNi {
    pub fn here() -> Option<Self> {
        let here = is_x86_feature_detected!("aes")
            && is_x86_feature_detected!("pclmulqdq")
            && is_x86_feature_detected!("avx");
        here.then_some(Self(()))
    }
}
/// All of [`AesNi`], AVX2, and AES and carry-less products on 256 bits.
#[derive(Clone, Copy)]
pub struct Vaes(AesNi);
impl Vaes {
    pub fn here() -> Option<Self> {
        let here = is_x86_feature_detected!("avx2")
            && is_x86_feature_detected!("vaes")
            && is_x86_feature_detected!("vpclmulqdq");
        AesNi::here().filter(|_| here).map(Self)
    }
}

pub type Bytes = [u8; 16];
/// Which halves are multiplied: of the first factor, of the second.
pub const LOW_LOW: i32 = 0x00;
pub const LOW_HIGH: i32 = 0x10;
pub const HIGH_HIGH: i32 = 0x11;

/// Blocks next to each other in one register; block 0 comes first in memory.
pub trait Lanes: Copy {
    const BLOCKS: usize;
    type Cpu: Copy;
    fn cpu(cpu: Self::Cpu) -> AesNi;
    /// The first `BLOCKS` of `from`, which has that many.
    fn load(cpu: Self::Cpu, from: &[Bytes]) -> Self;
    /// To the first `BLOCKS` of `to`, which has that many.
    fn store(self, to: &mut [Bytes]);
    /// The first `BLOCKS` of `from`, which has that many.
    fn gather(cpu: Self::Cpu, from: &[Block]) -> Self;
    fn block(self, lane: usize) -> Block;
    /// The same block everywhere.
    fn broadcast(cpu: Self::Cpu, block: Block) -> Self;
    /// 0, 1, ... and `from` on top, in the lowest 32 bits.
    fn count(cpu: Self::Cpu, from: u32) -> Self;
    fn xor(self, other: Self) -> Self;
    /// Addition of 32-bit words.
    fn add(self, other: Self) -> Self;
    /// Each block back to front.
    fn reverse(self) -> Self;
    /// Halves of each block changed over.
    fn swap(self) -> Self;
    fn aes_round(self, key: Self) -> Self;
    fn aes_last_round(self, key: Self) -> Self;
    /// Carry-less product of 64-bit halves.
    fn multiply<const HALVES: i32>(self, other: Self) -> Self;
    /// `self`'s low halves by vector `at` of eight folded powers, in the order of [`super::key::FOLDED`].
    fn multiply_folded(self, cpu: Self::Cpu, folded: &[u64; 8], at: usize) -> Self;
    /// XOR of all blocks.
    fn sum(self) -> Block;
}

/// One block.
#[derive(Clone, Copy)]
pub struct Block(__m128i);
/// Two blocks.
#[derive(Clone, Copy)]
pub struct Pair(__m256i);

/// An operation that the vectors' own existence permits.
macro_rules! op {
    ($intrinsic:expr) => {
        // SAFETY: values of this type exist only where a witness was made, so the CPU has the instruction. It reads
        // and writes registers alone.
        unsafe { $intrinsic }
    };
}

impl Block {
    #[inline(always)]
    pub fn zero(_: AesNi) -> Self {
        Self(op!(_mm_setzero_si128()))
    }
    /// Least significant byte first.
    #[inline(always)]
    pub fn from_number(_: AesNi, number: u128) -> Self {
        Self(op!(_mm_set_epi64x((number >> 64) as i64, number as i64)))
    }
    #[inline(always)]
    pub fn number(self) -> u128 {
        let high = op!(_mm_extract_epi64::<1>(self.0)) as u64;
        let low = op!(_mm_cvtsi128_si64(self.0)) as u64;
        (u128::from(high) << 64) | u128::from(low)
    }
    #[inline(always)]
    pub fn and(self, other: Self) -> Self {
        Self(op!(_mm_and_si128(self.0, other.0)))
    }
    /// In a time that does not depend on the bits.
    #[inline(always)]
    pub fn is_zero(self) -> bool {
        op!(_mm_testz_si128(self.0, self.0)) == 1
    }
    /// The S-box of AES on each byte of a word (FIPS 197 5.2).
    #[inline(always)]
    pub fn sub_word(cpu: AesNi, word: u32) -> u32 {
        let words = Self::from_number(cpu, u128::from(word) << 32);
        op!(_mm_cvtsi128_si32(_mm_aeskeygenassist_si128::<0>(words.0))) as u32
    }
}

impl Lanes for Block {
    const BLOCKS: usize = 1;
    type Cpu = AesNi;
    #[inline(always)]
    fn cpu(cpu: AesNi) -> AesNi {
        cpu
    }
    #[inline(always)]
    fn load(_: AesNi, from: &[Bytes]) -> Self {
        // SAFETY: a reference to 16 bytes, which need no alignment here.
        Self(unsafe { _mm_loadu_si128((&raw const from[0]).cast()) })
    }
    #[inline(always)]
    fn store(self, to: &mut [Bytes]) {
        // SAFETY: a reference to 16 bytes of our own, which need no alignment here.
        unsafe { _mm_storeu_si128((&raw mut to[0]).cast(), self.0) }
    }
    #[inline(always)]
    fn gather(_: AesNi, from: &[Block]) -> Self {
        from[0]
    }
    #[inline(always)]
    fn block(self, _: usize) -> Block {
        self
    }
    #[inline(always)]
    fn broadcast(_: AesNi, block: Block) -> Self {
        block
    }
    #[inline(always)]
    fn count(cpu: AesNi, from: u32) -> Self {
        Self::from_number(cpu, from.into())
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(op!(_mm_xor_si128(self.0, other.0)))
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(op!(_mm_add_epi32(self.0, other.0)))
    }
    #[inline(always)]
    fn reverse(self) -> Self {
        let order = op!(_mm_set_epi8(0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15));
        Self(op!(_mm_shuffle_epi8(self.0, order)))
    }
    #[inline(always)]
    fn swap(self) -> Self {
        Self(op!(_mm_shuffle_epi32::<0x4e>(self.0)))
    }
    #[inline(always)]
    fn aes_round(self, key: Self) -> Self {
        Self(op!(_mm_aesenc_si128(self.0, key.0)))
    }
    #[inline(always)]
    fn aes_last_round(self, key: Self) -> Self {
        Self(op!(_mm_aesenclast_si128(self.0, key.0)))
    }
    #[inline(always)]
    fn multiply<const HALVES: i32>(self, other: Self) -> Self {
        Self(op!(_mm_clmulepi64_si128::<HALVES>(self.0, other.0)))
    }
    #[inline(always)]
    fn multiply_folded(self, _: AesNi, folded: &[u64; 8], at: usize) -> Self {
        // Vector `at` is block `at`; its power lies in the half that `at / 2` tells.
        let pair = &folded.as_chunks::<2>().0[at / 4 * 2 + at % 2];
        // SAFETY: a reference to 16 bytes, which need no alignment here.
        let powers = Self(unsafe { _mm_loadu_si128((&raw const *pair).cast()) });
        if at % 4 < 2 { self.multiply::<LOW_LOW>(powers) } else { self.multiply::<LOW_HIGH>(powers) }
    }
    #[inline(always)]
    fn sum(self) -> Block {
        self
    }
}

impl Lanes for Pair {
    const BLOCKS: usize = 2;
    type Cpu = Vaes;
    #[inline(always)]
    fn cpu(cpu: Vaes) -> AesNi {
        cpu.0
    }
    #[inline(always)]
    fn load(_: Vaes, from: &[Bytes]) -> Self {
        let from: &[Bytes] = &from[..2];
        // SAFETY: a slice of 32 bytes, which need no alignment here.
        Self(unsafe { _mm256_loadu_si256(from.as_ptr().cast()) })
    }
    #[inline(always)]
    fn store(self, to: &mut [Bytes]) {
        let to: &mut [Bytes] = &mut to[..2];
        // SAFETY: a slice of 32 bytes of our own, which need no alignment here.
        unsafe { _mm256_storeu_si256(to.as_mut_ptr().cast(), self.0) }
    }
    #[inline(always)]
    fn gather(_: Vaes, from: &[Block]) -> Self {
        Self(op!(_mm256_set_m128i(from[1].0, from[0].0)))
    }
    #[inline(always)]
    fn block(self, lane: usize) -> Block {
        if lane == 0 {
            Block(op!(_mm256_castsi256_si128(self.0)))
        } else {
            Block(op!(_mm256_extracti128_si256::<1>(self.0)))
        }
    }
    #[inline(always)]
    fn broadcast(_: Vaes, block: Block) -> Self {
        Self(op!(_mm256_broadcastsi128_si256(block.0)))
    }
    #[inline(always)]
    fn count(_: Vaes, from: u32) -> Self {
        Self(op!(_mm256_set_epi32(0, 0, 0, from as i32 + 1, 0, 0, 0, from as i32)))
    }
    #[inline(always)]
    fn xor(self, other: Self) -> Self {
        Self(op!(_mm256_xor_si256(self.0, other.0)))
    }
    #[inline(always)]
    fn add(self, other: Self) -> Self {
        Self(op!(_mm256_add_epi32(self.0, other.0)))
    }
    #[inline(always)]
    fn reverse(self) -> Self {
        let order = op!(_mm256_broadcastsi128_si256(_mm_set_epi8(
            0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15
        )));
        Self(op!(_mm256_shuffle_epi8(self.0, order)))
    }
    #[inline(always)]
    fn swap(self) -> Self {
        Self(op!(_mm256_shuffle_epi32::<0x4e>(self.0)))
    }
    #[inline(always)]
    fn aes_round(self, key: Self) -> Self {
        Self(op!(_mm256_aesenc_epi128(self.0, key.0)))
    }
    #[inline(always)]
    fn aes_last_round(self, key: Self) -> Self {
        Self(op!(_mm256_aesenclast_epi128(self.0, key.0)))
    }
    #[inline(always)]
    fn multiply<const HALVES: i32>(self, other: Self) -> Self {
        Self(op!(_mm256_clmulepi64_epi128::<HALVES>(self.0, other.0)))
    }
    #[inline(always)]
    fn multiply_folded(self, _: Vaes, folded: &[u64; 8], at: usize) -> Self {
        let four = &folded.as_chunks::<4>().0[at / 2];
        // SAFETY: a reference to 32 bytes, which need no alignment here.
        let powers = Self(unsafe { _mm256_loadu_si256((&raw const *four).cast()) });
        if at.is_multiple_of(2) {
            self.multiply::<LOW_LOW>(powers)
        } else {
            self.multiply::<LOW_HIGH>(powers)
        }
    }
    #[inline(always)]
    fn sum(self) -> Block {
        self.block(0).xor(self.block(1))
    }
}
