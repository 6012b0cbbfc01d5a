//! Secret bytes of bounded length: wiped on drop, never printed, compared in constant time.
use std::fmt;
use zeroize::{Zeroize, ZeroizeOnDrop};

#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Key {
    bytes: [u8; Key::MAX],
    len: u8,
}

impl Key {
    pub const MAX: usize = 68; // a 512-bit HMAC key, or AES-256 with salt and room to spare

    pub const fn empty() -> Self {
        Self { bytes: [0; Self::MAX], len: 0 }
    }
    /// `None` when `bytes` is longer than [`Key::MAX`].
    pub fn new(bytes: &[u8]) -> Option<Self> {
        let mut key = Self::empty();
        key.bytes.get_mut(..bytes.len())?.copy_from_slice(bytes);
        key.len = bytes.len() as u8;
        Some(key)
    }
    pub fn expose(&self) -> &[u8] {
        &self.bytes[..usize::from(self.len)]
    }
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
}
impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        let differing =
            self.bytes.iter().zip(&other.bytes).fold(self.len ^ other.len, |acc, (a, b)| acc | (a ^ b));
        std::hint::black_box(differing) == 0
    }
}
impl Eq for Key {}
impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Key({} bytes)", self.len)
    }
}
