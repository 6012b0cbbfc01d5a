//! Names and numbers that travel in an ESP header.
use std::fmt;
use std::num::NonZeroU32;

/// Names one SA. Built only from values that may appear on the wire.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Spi(NonZeroU32);

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("SPI {0:#x} is reserved: 0 never leaves the host, 1 to 255 belong to IANA (RFC 4303 2.1)")]
pub struct ReservedSpi(pub u32);

impl Spi {
    pub const FIRST: u32 = 256;

    //= rfc4303#2.1/reserved-spi: zero never leaves the host, 1 to 255 belong to IANA.
    pub const fn new(raw: u32) -> Result<Self, ReservedSpi> {
        match NonZeroU32::new(raw) {
            Some(spi) if raw >= Self::FIRST => Ok(Self(spi)),
            _ => Err(ReservedSpi(raw)),
        }
    }
    pub const fn get(self) -> u32 {
        self.0.get()
    }
}
impl fmt::Debug for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.get())
    }
}
impl fmt::Display for Spi {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:#x}", self.get())
    }
}

/// A full 64-bit sequence number; only `low` travels (RFC 4303 2.2.1).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub struct SeqNo(pub u64);

impl SeqNo {
    pub const fn low(self) -> u32 {
        self.0 as u32
    }
    pub const fn high(self) -> u32 {
        (self.0 >> 32) as u32
    }
}
