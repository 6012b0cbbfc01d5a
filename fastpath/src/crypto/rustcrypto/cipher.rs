//! Ciphers that need an integrity algorithm beside them.
use aes::cipher::array::Array;
use aes::cipher::consts::U16;
use aes::cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, BlockSizeUser, InnerIvInit,
    StreamCipher,
};

/// The text is whole blocks where the cipher wants that, the IV as long as it wants it; the nonce is salt and IV.
pub trait Cipher: Send + Sync {
    fn encrypt(&self, nonce: &[u8; 12], iv: &[u8], text: &mut [u8]);
    fn decrypt(&self, nonce: &[u8; 12], iv: &[u8], text: &mut [u8]);
}

pub struct Null;
impl Cipher for Null {
    fn encrypt(&self, _: &[u8; 12], _: &[u8], _: &mut [u8]) {}
    fn decrypt(&self, _: &[u8; 12], _: &[u8], _: &mut [u8]) {}
}

pub struct Cbc<C>(pub C);
impl<C: BlockCipherEncrypt + BlockCipherDecrypt + Send + Sync> Cipher for Cbc<C> {
    fn encrypt(&self, _: &[u8; 12], iv: &[u8], text: &mut [u8]) {
        if let Ok(iv) = <&Array<u8, C::BlockSize>>::try_from(iv) {
            cbc::Encryptor::inner_iv_init(&self.0, iv).encrypt_blocks(Array::slice_as_chunks_mut(text).0);
        }
    }
    fn decrypt(&self, _: &[u8; 12], iv: &[u8], text: &mut [u8]) {
        if let Ok(iv) = <&Array<u8, C::BlockSize>>::try_from(iv) {
            cbc::Decryptor::inner_iv_init(&self.0, iv).decrypt_blocks(Array::slice_as_chunks_mut(text).0);
        }
    }
}

pub struct Ctr<C>(pub C);
impl<C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + Send + Sync> Cipher for Ctr<C> {
    fn encrypt(&self, nonce: &[u8; 12], _: &[u8], text: &mut [u8]) {
        //= rfc3686#4/counter-block: nonce, IV, and a block counter that starts at one.
        keystream(&self.0, nonce, 1, text);
    }
    fn decrypt(&self, nonce: &[u8; 12], iv: &[u8], text: &mut [u8]) {
        self.encrypt(nonce, iv, text);
    }
}

/// From block `first` on. A packet is too short to use up the counter.
pub fn keystream<C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>>(
    cipher: &C,
    nonce: &[u8; 12],
    first: u32,
    text: &mut [u8],
) {
    let mut block = Array::default();
    block[..12].copy_from_slice(nonce);
    block[12..].copy_from_slice(&first.to_be_bytes());
    let ctr = ctr::CtrCore::<_, ctr::flavors::Ctr32BE>::inner_iv_init(cipher, &block);
    ctr::Ctr32BE::from_core(ctr).apply_keystream(text);
}
