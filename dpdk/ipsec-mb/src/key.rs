//! Expanded keys. Those of AES-CBC and HMAC are the same for every [`crate::Manager`]; those of AES-GCM for every
//! manager that [`crate::Manager::new`] made in this process, since all choose the same instruction set.
use crate::sys;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// AES key sizes, named by their bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AesKey {
    Bits128,
    Bits192,
    Bits256,
}
impl AesKey {
    pub const fn of_len(bytes: usize) -> Option<Self> {
        match bytes {
            16 => Some(Self::Bits128),
            24 => Some(Self::Bits192),
            32 => Some(Self::Bits256),
            _ => None,
        }
    }
    pub const fn bytes(self) -> u64 {
        match self {
            Self::Bits128 => 16,
            Self::Bits192 => 24,
            Self::Bits256 => 32,
        }
    }
}

/// Where the powers of the hash key lie in a [`GcmKey`], and so which lines a short packet touches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HashKeys {
    /// 48 powers, the highest first.
    Vaes512,
    /// 8 powers.
    Eight,
    /// 8 powers and their halves for Karatsuba.
    EightAndHalves,
}

/// Round keys and hash key powers of one AES-GCM key: 1 KB, 64-byte aligned, on the heap.
pub struct GcmKey {
    pub(crate) data: Box<sys::GcmKeyData>,
    pub(crate) size: AesKey,
    pub(crate) hash_keys: HashKeys,
}
impl GcmKey {
    const POWERS_AT: usize = 240;
    const POWERS_END: usize = Self::POWERS_AT + 48 * 16;

    /// Asks the CPU to fetch the lines that a packet of `len` bytes will touch, and no more.
    #[inline]
    pub fn prefetch(&self, len: usize) {
        let powers = match self.hash_keys {
            HashKeys::Vaes512 => Self::POWERS_END - 16 * (len / 16 + 2).min(48)..Self::POWERS_END,
            HashKeys::Eight => Self::POWERS_AT..Self::POWERS_AT + 8 * 16,
            HashKeys::EightAndHalves => Self::POWERS_AT..Self::POWERS_AT + 16 * 16,
        };
        let round_keys = (self.size.bytes() as usize / 4 + 7) * 16;
        for span in [0..round_keys, powers] {
            // The start of the record is 64-byte aligned, so lines are counted from it.
            for line in self.data.0[span.start & !63..span.end].chunks(64) {
                prefetch(line);
            }
        }
    }
}
impl Drop for GcmKey {
    fn drop(&mut self) {
        self.data.0.zeroize();
    }
}

/// Round keys of AES, both ways: for CBC, and for CTR and CCM.
#[repr(C, align(16))]
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct CbcKey {
    pub(crate) encrypt: [u8; 240],
    pub(crate) decrypt: [u8; 240],
    pub(crate) bytes: u64,
}

/// The schedules of DES (all three the same) or 3DES.
#[repr(C, align(64))]
pub struct DesKey {
    pub(crate) schedules: [[u64; 16]; 3],
    /// To them: what the library wants for 3DES. The record stays where it is on the heap.
    pub(crate) pointers: [*const u64; 3],
    pub(crate) triple: bool,
}
// SAFETY: the pointers lead to the record's own schedules, which nobody writes once it is made.
unsafe impl Send for DesKey {}
// SAFETY: as above.
unsafe impl Sync for DesKey {}
impl Drop for DesKey {
    fn drop(&mut self) {
        self.schedules.zeroize();
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ChainAlg {
    AesXcbc,
    AesCmac,
}
/// Round keys of a chain of AES blocks, and what masks its last one.
#[repr(C, align(64))]
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ChainKey {
    pub(crate) expanded: [u8; 240],
    pub(crate) masks: [[u8; 16]; 2],
    #[zeroize(skip)]
    pub(crate) alg: ChainAlg,
}

/// A ChaCha20-Poly1305 key. There is nothing to expand.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct ChaChaKey(pub(crate) [u8; 32]);
impl ChaChaKey {
    /// `None` unless `key` is 32 bytes.
    pub fn new(key: &[u8]) -> Option<Self> {
        key.try_into().ok().map(Self)
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HmacAlg {
    Md5,
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}
impl HmacAlg {
    pub const fn block_len(self) -> usize {
        match self {
            Self::Md5 | Self::Sha1 | Self::Sha256 => 64,
            Self::Sha384 | Self::Sha512 => 128,
        }
    }
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Md5 => 16,
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
    pub(crate) const fn code(self) -> u32 {
        match self {
            Self::Md5 => sys::AUTH_MD5,
            Self::Sha1 => sys::AUTH_HMAC_SHA_1,
            Self::Sha256 => sys::AUTH_HMAC_SHA_256,
            Self::Sha384 => sys::AUTH_HMAC_SHA_384,
            Self::Sha512 => sys::AUTH_HMAC_SHA_512,
        }
    }
}

/// The hash states after the inner and the outer padded key (RFC 2104 4).
#[repr(C, align(64))]
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct HmacKey {
    pub(crate) inner: [u8; 64],
    pub(crate) outer: [u8; 64],
    #[zeroize(skip)]
    pub(crate) alg: HmacAlg,
}
impl HmacKey {
    pub fn alg(&self) -> HmacAlg {
        self.alg
    }
}

#[inline(always)]
fn prefetch(line: &[u8]) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: prefetching changes no state that a program can see, and SSE is part of x86-64.
    unsafe {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        _mm_prefetch::<_MM_HINT_T0>(line.as_ptr().cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = line;
}
