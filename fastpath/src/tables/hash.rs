//! A fast hash for tables whose contents only the control thread decides.
//!
//! Not for tables that a stranger can fill: it does not resist chosen keys.
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

pub type Map<K, V> = HashMap<K, V, BuildHasherDefault<Mix>>;

/// Multiplies 64 × 64 → 128 bits and folds the halves together, once per word.
#[derive(Clone, Copy, Default, Debug)]
pub struct Mix(u64);
impl Mix {
    const fn mix(state: u64, word: u64) -> u64 {
        let wide = ((state ^ word ^ 0x9e37_79b9_7f4a_7c15) as u128) * 0xd6e8_feb8_6659_fd93_u128;
        (wide as u64) ^ (wide >> 64) as u64
    }
}
impl Hasher for Mix {
    fn finish(&self) -> u64 {
        self.0
    }
    fn write(&mut self, bytes: &[u8]) {
        let (words, tail) = bytes.as_chunks::<8>();
        for word in words {
            self.0 = Self::mix(self.0, u64::from_le_bytes(*word));
        }
        if !tail.is_empty() {
            let mut last = [0; 8];
            last[..tail.len()].copy_from_slice(tail);
            self.0 = Self::mix(self.0, u64::from_le_bytes(last));
        }
    }
    fn write_u8(&mut self, n: u8) {
        self.write_u64(n.into());
    }
    fn write_u16(&mut self, n: u16) {
        self.write_u64(n.into());
    }
    fn write_u32(&mut self, n: u32) {
        self.write_u64(n.into());
    }
    fn write_u64(&mut self, n: u64) {
        self.0 = Self::mix(self.0, n);
    }
    fn write_u128(&mut self, n: u128) {
        self.write_u64(n as u64);
        self.write_u64((n >> 64) as u64);
    }
    fn write_usize(&mut self, n: usize) {
        self.write_u64(n as u64);
    }
}
