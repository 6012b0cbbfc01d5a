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
impl Esp<'_> {
    /// SPI, sequence number and IV.
    const FRONT: usize = 16;
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
    pub fn esp<const SEAL: bool>(&self, _: Esp<'_>) -> bool {
        match *self {}
    }
    pub fn two<const SEAL: bool>(keys: [&Self; 2], _: [Esp<'_>; 2]) -> [bool; 2] {
        match *keys[0] {}
    }
}
