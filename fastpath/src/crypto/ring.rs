//! `ring`: AES-128-GCM, AES-256-GCM and ChaCha20-Poly1305 without any library.
use ::ring::aead::{
    AES_128_GCM, AES_256_GCM, Aad, Algorithm, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey,
};
use sa::{Encryption, Suite};

pub struct Keys(Box<LessSafeKey>);

impl Keys {
    pub fn new(suite: Suite, enc_key: &[u8]) -> Option<Self> {
        let algorithm: &'static Algorithm = match suite.encryption() {
            Encryption::Aes128Gcm => &AES_128_GCM,
            Encryption::Aes256Gcm => &AES_256_GCM,
            Encryption::ChaCha20Poly1305 => &CHACHA20_POLY1305,
            _ => return None,
        };
        Some(Self(Box::new(LessSafeKey::new(UnboundKey::new(algorithm, enc_key).ok()?))))
    }
    pub fn seal(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], icv: &mut [u8; 16]) -> bool {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let Ok(tag) = self.0.seal_in_place_separate_tag(nonce, Aad::from(aad), text) else { return false };
        icv.copy_from_slice(tag.as_ref());
        true
    }
    pub fn open(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], icv: &[u8; 16]) -> bool {
        let nonce = Nonce::assume_unique_for_key(*nonce);
        let opened =
            self.0.open_in_place_separate_tag(nonce, Aad::from(aad), Tag::from(*icv), text, 0..).is_ok();
        if !opened {
            text.fill(0);
        }
        opened
    }
}

impl Drop for Keys {
    /// `ring` does not wipe its keys. They lie inside the value, so a key of zeroes laid over them does.
    fn drop(&mut self) {
        let algorithm = self.0.algorithm();
        let zeroes = [0; 32];
        if let Some(zeroes) = zeroes.get(..algorithm.key_len())
            && let Ok(key) = UnboundKey::new(algorithm, zeroes)
        {
            *self.0 = LessSafeKey::new(key);
            std::hint::black_box(&mut *self.0);
        }
    }
}
