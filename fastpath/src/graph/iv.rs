//! Unpredictable IVs for CBC: AES-256 in counter mode under a key nobody else has.
use super::NoRandomness;
use aes::Aes256;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use ring::rand::{SecureRandom, SystemRandom};
use zeroize::Zeroize;

/// One per worker, seeded by the system. What is on the wire says nothing about the next IV.
pub struct IvSource {
    cipher: Aes256,
    counter: u128,
}
impl IvSource {
    pub fn new() -> Result<Self, NoRandomness> {
        let mut key = [0; 32];
        SystemRandom::new().fill(&mut key).map_err(|_| NoRandomness)?;
        let cipher = Aes256::new(&key.into());
        key.zeroize();
        Ok(Self { cipher, counter: 0 })
    }
    //= rfc3602#3/unpredictable: an IV is random, never a number or an earlier ciphertext block.
    pub fn next(&mut self) -> [u8; 16] {
        let mut block = self.counter.to_be_bytes().into();
        self.counter += 1;
        self.cipher.encrypt_block(&mut block);
        block.into()
    }
}
