//! A secret of any length from the file: wiped on drop, never printed, compared in constant time.
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct Secret(Vec<u8>);

impl Secret {
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }
    /// As it is written: text, or hexadecimal after `0x` where text would be taken for something else.
    pub fn to_text(&self) -> Zeroizing<String> {
        let text = std::str::from_utf8(&self.0).ok();
        let plain = text.filter(|t| !t.starts_with("0x") && !t.chars().any(char::is_control));
        Zeroizing::new(match plain {
            Some(text) => text.into(),
            None => self.to_hex(),
        })
    }
    pub fn to_hex(&self) -> String {
        use std::fmt::Write;
        let mut hex = String::with_capacity(2 + 2 * self.0.len());
        hex.push_str("0x");
        for byte in &self.0 {
            _ = write!(hex, "{byte:02x}");
        }
        hex
    }
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}
impl PartialEq for Secret {
    fn eq(&self, other: &Self) -> bool {
        let differing = self.0.iter().zip(&other.0).fold(0, |acc, (a, b)| acc | (a ^ b));
        self.0.len() == other.0.len() && std::hint::black_box(differing) == 0
    }
}
impl Eq for Secret {}
impl std::fmt::Debug for Secret {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Secret(..)")
    }
}
