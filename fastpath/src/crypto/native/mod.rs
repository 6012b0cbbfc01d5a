//! AES-GCM in our own code, for CPUs with instructions for it: which of them this one has, and which code uses them.
//!
//! The algorithm is written once (`kernel`), for vectors of any number of blocks (`lanes`); `key` is what an SA
//! costs. Nothing here branches on a secret or uses one as an index: lengths alone decide what runs. There is no
//! code for 512-bit vectors: it would have to be shipped without ever having run.
#![allow(unsafe_code)]

#[cfg(target_arch = "x86_64")]
mod kernel;
#[cfg(target_arch = "x86_64")]
mod key;
#[cfg(target_arch = "x86_64")]
mod lanes;
#[cfg(target_arch = "x86_64")]
mod x86;
#[cfg(target_arch = "x86_64")]
pub use x86::Keys;

/// An ESP packet and what its nonce and additional data need.
pub struct Esp<'a> {
    pub salt: [u8; 4],
    /// From the SPI to the end of the ICV.
    pub esp: &'a mut [u8],
    /// The high half of the sequence number if the SA uses ESN.
    pub seq_high: Option<u32>,
}
impl<'a> Esp<'a> {
    /// SPI, sequence number and IV.
    const FRONT: usize = 16;

    /// What goes before the text, the text, and the ICV. `None` if it is too short.
    #[inline(always)]
    fn parts(self) -> Option<(Start, &'a mut [u8], &'a mut [u8; 16])> {
        let (front, rest) = self.esp.split_first_chunk_mut::<{ Esp::FRONT }>()?;
        let (text, icv) = rest.split_last_chunk_mut()?;
        let ([header, iv], _) = front.as_chunks::<8>() else { return None };
        let (header, iv) = (u64::from_le_bytes(*header), u64::from_be_bytes(*iv));
        //= rfc4106#4/nonce: the salt of the SA, then the IV of the packet.
        let nonce = u128::from(u32::from_be_bytes(self.salt)) << 64 | u128::from(iv);
        //= rfc4106#5/aad: SPI and sequence number, 32 or 64 bits of it.
        let (aad, aad_len) = match self.seq_high {
            None => (u128::from(header), 8),
            Some(high) => {
                let low = header & 0xffff_ffff | u64::from(high.swap_bytes()) << 32;
                (u128::from(header >> 32) << 64 | u128::from(low), 12)
            }
        };
        Some((Start { nonce, aad, aad_len }, text, icv))
    }
}
/// Nonce and additional data, for registers: in memory they would be written in other pieces than they are read in.
#[derive(Clone, Copy)]
struct Start {
    /// 96 bits, the first byte the highest.
    nonce: u128,
    /// The first byte the lowest.
    aad: u128,
    aad_len: usize,
}

/// The code paths.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Path {
    /// VAES and VPCLMULQDQ, two blocks at a time.
    Vaes256,
    /// AES-NI, PCLMULQDQ and AVX, one block at a time.
    AesNi,
}
impl Path {
    /// Best first.
    pub const ALL: [Self; 2] = [Self::Vaes256, Self::AesNi];
    pub const fn name(self) -> &'static str {
        match self {
            Self::Vaes256 => "vaes-256",
            Self::AesNi => "aes-ni",
        }
    }
    /// Whether this CPU, and the operating system, can run it.
    pub fn is_here(self) -> bool {
        #[cfg(target_arch = "x86_64")]
        return match self {
            Self::Vaes256 => lanes::Vaes::here().is_some(),
            Self::AesNi => lanes::AesNi::here().is_some(),
        };
        #[cfg(not(target_arch = "x86_64"))]
        return false;
    }
    pub fn best() -> Option<Self> {
        Self::ALL.into_iter().find(|path| path.is_here())
    }
}

/// There are none on this architecture.
#[cfg(not(target_arch = "x86_64"))]
pub enum Keys {}
#[cfg(not(target_arch = "x86_64"))]
impl Keys {
    pub fn new(_: Path, _: sa::Suite, _: &[u8]) -> Option<Self> {
        None
    }
    pub fn prefetch(&self, _: usize) {
        match *self {}
    }
    pub fn seal(&self, _: &[u8; 12], _: &[u8], _: &mut [u8], _: &mut [u8; 16]) -> bool {
        match *self {}
    }
    pub fn open(&self, _: &[u8; 12], _: &[u8], _: &mut [u8], _: &[u8; 16]) -> bool {
        match *self {}
    }
    pub fn esp<const SEAL: bool>(&self, _: Esp<'_>, _: &[u8]) -> bool {
        match *self {}
    }
    pub fn two<const SEAL: bool>(keys: [&Self; 2], _: [Esp<'_>; 2], _: &[u8]) -> [bool; 2] {
        match *keys[0] {}
    }
}
