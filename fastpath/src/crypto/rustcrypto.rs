//! The RustCrypto crates: every suite without any library, and the second opinion on the other engines.
use super::cpu::{self, HEADER};
use aes::cipher::array::Array;
use aes::cipher::consts::{U12, U16};
use aes::cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, BlockSizeUser, InnerIvInit,
    KeyInit,
};
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::AesGcm;
use aes_gcm::aead::AeadInOut;
use chacha20poly1305::ChaCha20Poly1305;
use hmac::{Hmac, Mac};
use sa::{Direction, Encryption, Integrity, Suite};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

type Block = Array<u8, U16>;

pub enum Keys {
    Aead(Box<Aead>),
    Chained { cipher: Box<Cipher>, hmac: Box<HmacState> },
}
pub enum Aead {
    Aes128(AesGcm<Aes128, U12>),
    Aes192(AesGcm<Aes192, U12>),
    Aes256(AesGcm<Aes256, U12>),
    ChaCha20(ChaCha20Poly1305),
}
pub enum Cipher {
    Null,
    Aes128(Aes128),
    Aes192(Aes192),
    Aes256(Aes256),
}
/// HMAC after the padded key.
pub enum HmacState {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha384(Hmac<Sha384>),
    Sha512(Hmac<Sha512>),
}

/// The same expression for each cipher.
macro_rules! each {
    ($on:expr, $key:ident => $do:expr) => {
        match $on {
            Aead::Aes128($key) => $do,
            Aead::Aes192($key) => $do,
            Aead::Aes256($key) => $do,
            Aead::ChaCha20($key) => $do,
        }
    };
}

impl Keys {
    pub fn new(suite: Suite, enc_key: &[u8], integ_key: &[u8]) -> Option<Self> {
        let aead = |aead| Some(Self::Aead(Box::new(aead)));
        let cipher = match suite.encryption() {
            Encryption::Aes128Gcm => return aead(Aead::Aes128(KeyInit::new_from_slice(enc_key).ok()?)),
            Encryption::Aes192Gcm => return aead(Aead::Aes192(KeyInit::new_from_slice(enc_key).ok()?)),
            Encryption::Aes256Gcm => return aead(Aead::Aes256(KeyInit::new_from_slice(enc_key).ok()?)),
            Encryption::ChaCha20Poly1305 => {
                return aead(Aead::ChaCha20(KeyInit::new_from_slice(enc_key).ok()?));
            }
            Encryption::Null => Cipher::Null,
            Encryption::Aes128Cbc => Cipher::Aes128(KeyInit::new_from_slice(enc_key).ok()?),
            Encryption::Aes192Cbc => Cipher::Aes192(KeyInit::new_from_slice(enc_key).ok()?),
            Encryption::Aes256Cbc => Cipher::Aes256(KeyInit::new_from_slice(enc_key).ok()?),
        };
        let hmac = match suite.integrity() {
            Integrity::None => return None,
            Integrity::HmacSha1 => HmacState::Sha1(KeyInit::new_from_slice(integ_key).ok()?),
            Integrity::HmacSha256 => HmacState::Sha256(KeyInit::new_from_slice(integ_key).ok()?),
            Integrity::HmacSha384 => HmacState::Sha384(KeyInit::new_from_slice(integ_key).ok()?),
            Integrity::HmacSha512 => HmacState::Sha512(KeyInit::new_from_slice(integ_key).ok()?),
        };
        Some(Self::Chained { cipher: Box::new(cipher), hmac: Box::new(hmac) })
    }
    pub fn is_chained(&self) -> bool {
        matches!(self, Self::Chained { .. })
    }

    pub fn seal(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], icv: &mut [u8; 16]) -> bool {
        let Self::Aead(key) = self else { return false };
        let sealed = each!(&**key, k => k.encrypt_inout_detached(nonce.into(), aad, text.into()));
        sealed.map(|tag| icv.copy_from_slice(&tag)).is_ok()
    }
    pub fn open(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], icv: &[u8; 16]) -> bool {
        let Self::Aead(key) = self else { return false };
        let buffer = (&mut *text).into();
        let opened = each!(&**key, k => k.decrypt_inout_detached(nonce.into(), aad, buffer, icv.into()));
        if opened.is_err() {
            text.fill(0);
        }
        opened.is_ok()
    }

    /// One whole ESP packet: cipher then hash when sealing, hash then cipher when opening.
    pub fn chained(&self, suite: Suite, direction: Direction, esp: &mut [u8], seq_high: Option<u32>) -> bool {
        let Self::Chained { cipher, hmac } = self else { return false };
        let Some(icv_at) = esp.len().checked_sub(suite.icv_len()) else { return false };
        let (body, icv) = esp.split_at_mut(icv_at);
        let high = seq_high.map(u32::to_be_bytes);
        let high = high.as_ref().map_or(&[][..], |h| &h[..]);
        let Some(()) = cipher.check(body) else { return false };
        //= rfc4303#3.3.2.1/encrypt-then-hash: the ICV covers the ciphertext.
        //= rfc4303#2.2.1/esn-hashed: the high half is hashed behind the trailer but not sent.
        if direction == Direction::Outbound {
            cipher.encrypt(body);
            hmac.hash(body, high, |digest| digest.get(..icv.len()).map(|tag| icv.copy_from_slice(tag)))
                .is_some()
        } else {
            let authentic = hmac
                .hash(body, high, |digest| digest.get(..icv.len()).is_some_and(|tag| cpu::same(tag, icv)));
            if authentic {
                cipher.decrypt(body);
            } else if let Some(text) = body.get_mut(HEADER + suite.iv_len()..) {
                text.fill(0);
            }
            authentic
        }
    }
}

impl Cipher {
    /// Header, IV if the cipher has one, and whole blocks behind it.
    fn check(&self, body: &[u8]) -> Option<()> {
        let text = body.len().checked_sub(HEADER)?;
        let whole = text >= 32 && text.is_multiple_of(16);
        (matches!(self, Self::Null) || whole).then_some(())
    }
    fn encrypt(&self, body: &mut [u8]) {
        match self {
            Self::Null => (),
            Self::Aes128(key) => cbc_encrypt(key, body),
            Self::Aes192(key) => cbc_encrypt(key, body),
            Self::Aes256(key) => cbc_encrypt(key, body),
        }
    }
    fn decrypt(&self, body: &mut [u8]) {
        match self {
            Self::Null => (),
            Self::Aes128(key) => cbc_decrypt(key, body),
            Self::Aes192(key) => cbc_decrypt(key, body),
            Self::Aes256(key) => cbc_decrypt(key, body),
        }
    }
}

/// Takes the packet apart: IV and blocks.
fn blocks(body: &mut [u8]) -> Option<(&Block, &mut [Block])> {
    let (iv, text) = body.get_mut(HEADER..)?.split_first_chunk_mut::<16>()?;
    Some(((&*iv).into(), Array::slice_as_chunks_mut(text).0))
}
fn cbc_encrypt<C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16>>(key: &C, body: &mut [u8]) {
    if let Some((iv, blocks)) = blocks(body) {
        cbc::Encryptor::inner_iv_init(key, iv).encrypt_blocks(blocks);
    }
}
fn cbc_decrypt<C: BlockCipherDecrypt + BlockSizeUser<BlockSize = U16>>(key: &C, body: &mut [u8]) {
    if let Some((iv, blocks)) = blocks(body) {
        cbc::Decryptor::inner_iv_init(key, iv).decrypt_blocks(blocks);
    }
}

impl HmacState {
    fn hash<R>(&self, body: &[u8], more: &[u8], then: impl FnOnce(&[u8]) -> R) -> R {
        match self {
            Self::Sha1(key) => {
                then(&key.clone().chain_update(body).chain_update(more).finalize().into_bytes())
            }
            Self::Sha256(key) => {
                then(&key.clone().chain_update(body).chain_update(more).finalize().into_bytes())
            }
            Self::Sha384(key) => {
                then(&key.clone().chain_update(body).chain_update(more).finalize().into_bytes())
            }
            Self::Sha512(key) => {
                then(&key.clone().chain_update(body).chain_update(more).finalize().into_bytes())
            }
        }
    }
}
