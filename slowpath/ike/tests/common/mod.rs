//! What the integration tests share: files, hex, and a random source that is not random.
#![allow(dead_code)]
pub mod gateway;
pub mod initiator;
pub mod raw;

use ike::api::Rng;

pub fn vector(path: &str) -> Vec<u8> {
    let path = format!("{}/../../tests/vectors/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}
pub fn text(path: &str) -> String {
    String::from_utf8(vector(path)).unwrap()
}
pub fn json(path: &str) -> serde_json::Value {
    serde_json::from_slice(&vector(path)).unwrap()
}
pub fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text.bytes().filter(|b| !b.is_ascii_whitespace()).collect();
    assert!(digits.len().is_multiple_of(2), "odd hex: {text}");
    digits.chunks(2).map(|d| u8::from_str_radix(str::from_utf8(d).unwrap(), 16).unwrap()).collect()
}
pub fn field(value: &serde_json::Value, name: &str) -> Vec<u8> {
    hex(value[name].as_str().unwrap_or_else(|| panic!("no {name} in {value}")))
}

/// SplitMix64 as bytes: the same run every time.
pub struct Seeded(pub u64);
impl Rng for Seeded {
    fn fill(&mut self, out: &mut [u8]) {
        for byte in out {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            *byte = (z >> 56) as u8;
        }
    }
}
