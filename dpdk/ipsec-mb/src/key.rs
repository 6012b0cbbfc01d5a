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

/// Round keys of AES-CBC, both ways.
#[repr(C, align(16))]
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct CbcKey {
    pub(crate) encrypt: [u8; 240],
    pub(crate) decrypt: [u8; 240],
    pub(crate) bytes: u64,
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
    Sha1,
    Sha256,
    Sha384,
    Sha512,
}
impl HmacAlg {
    pub const fn block_len(self) -> usize {
        match self {
            Self::Sha1 | Self::Sha256 => 64,
            Self::Sha384 | Self::Sha512 => 128,
        }
    }
    pub const fn digest_len(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
        }
    }
    pub(crate) const fn code(self) -> u32 {
        match self {
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
