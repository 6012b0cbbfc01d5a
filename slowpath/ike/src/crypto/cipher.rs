//! The SK payload's ciphers, one direction's keys (RFC 7296 3.14, RFC 5282, RFC 7634 3).
use super::{prf, same};
use crate::api::{IkeCipher, IkeIntegrity};
use openssl::symm::{Cipher, Crypter, Mode, decrypt_aead, encrypt_aead};
use sa::Key;
use zeroize::Zeroizing;

/// Keys of one direction of an IKE SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkKeys {
    pub encryption: IkeCipher,
    /// `None` exactly when the cipher is an AEAD.
    pub integrity: Option<IkeIntegrity>,
    pub encryption_key: Key,
    /// AEAD only.
    pub salt: Key,
    pub integrity_key: Key,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CipherError {
    #[error("the ICV does not match")]
    Icv,
    #[error("shorter than IV and ICV, or not whole blocks")]
    Length,
    #[error("the padding is longer than what was encrypted")]
    Padding,
    #[error("the cryptographic library refused the key or the cipher")]
    Library,
}

impl SkKeys {
    pub fn icv_len(&self) -> usize {
        self.integrity.map_or(16, IkeIntegrity::icv_len)
    }
    /// IV, padding length, ICV and the most padding.
    fn padding(&self, plain: usize) -> usize {
        //= rfc5282#3/no-padding: an AEAD needs none; CBC fills its last block.
        if self.encryption.is_aead() { 0 } else { 15 - plain % 16 }
    }
    /// How long IV, ciphertext and ICV of `plain` bytes will be.
    pub fn sealed_len(&self, plain: usize) -> usize {
        self.encryption.iv_len() + plain + self.padding(plain) + 1 + self.icv_len()
    }
    /// The most plain bytes of which IV, ciphertext and ICV are not longer than `len`.
    pub fn room(&self, len: usize) -> usize {
        let sealed = len.saturating_sub(self.encryption.iv_len() + self.icv_len());
        let whole = if self.encryption.is_aead() { sealed } else { sealed - sealed % 16 };
        whole.saturating_sub(1)
    }
    fn cipher(&self) -> Cipher {
        match self.encryption {
            IkeCipher::Aes128Cbc => Cipher::aes_128_cbc(),
            IkeCipher::Aes192Cbc => Cipher::aes_192_cbc(),
            IkeCipher::Aes256Cbc => Cipher::aes_256_cbc(),
            IkeCipher::Aes128Gcm => Cipher::aes_128_gcm(),
            IkeCipher::Aes192Gcm => Cipher::aes_192_gcm(),
            IkeCipher::Aes256Gcm => Cipher::aes_256_gcm(),
            IkeCipher::ChaCha20Poly1305 => Cipher::chacha20_poly1305(),
        }
    }

    /// Appends IV, ciphertext and ICV to `out`, which holds the message from its header up to the SK
    /// payload's generic header, lengths filled in: all of it is authenticated.
    pub fn seal(&self, out: &mut Vec<u8>, iv: &[u8], plain: &[u8]) -> Result<(), CipherError> {
        let padding = self.padding(plain.len());
        let mut padded = Zeroizing::new(Vec::with_capacity(plain.len() + padding + 1));
        padded.extend_from_slice(plain);
        padded.resize(plain.len() + padding, 0);
        padded.push(padding as u8);
        let Some(integrity) = self.integrity else {
            let mut tag = [0; 16];
            let nonce = [self.salt.expose(), iv].concat();
            let sealed = encrypt_aead(
                self.cipher(),
                self.encryption_key.expose(),
                Some(&nonce),
                out,
                &padded,
                &mut tag,
            )
            .map_err(|_| CipherError::Library)?;
            out.extend_from_slice(iv);
            out.extend(sealed);
            out.extend(tag);
            return Ok(());
        };
        out.extend_from_slice(iv);
        out.extend_from_slice(&self.cbc(Mode::Encrypt, iv, &padded)?);
        //= rfc7296#3.14/icv-over-all: from the IKE header through the padding length.
        let icv = self.hmac(integrity, out);
        out.extend_from_slice(icv.get(..integrity.icv_len()).unwrap_or(&icv));
        Ok(())
    }

    /// Opens `body` (IV, ciphertext, ICV); `head` is the message before it. The ICV is checked before
    /// anything is decrypted or padding looked at.
    pub fn open(&self, head: &[u8], body: &[u8]) -> Result<Zeroizing<Vec<u8>>, CipherError> {
        let (iv, rest) = body.split_at_checked(self.encryption.iv_len()).ok_or(CipherError::Length)?;
        let split = rest.len().checked_sub(self.icv_len()).ok_or(CipherError::Length)?;
        let (sealed, icv) = rest.split_at_checked(split).ok_or(CipherError::Length)?;
        if sealed.is_empty() || (!self.encryption.is_aead() && !sealed.len().is_multiple_of(16)) {
            return Err(CipherError::Length);
        }
        let mut plain = match self.integrity {
            None => {
                let nonce = [self.salt.expose(), iv].concat();
                decrypt_aead(self.cipher(), self.encryption_key.expose(), Some(&nonce), head, sealed, icv)
                    .map(Zeroizing::new)
                    .map_err(|_| CipherError::Icv)?
            }
            Some(integrity) => {
                let signed = [head, iv, sealed].concat();
                let mac = self.hmac(integrity, &signed);
                if !same(mac.get(..integrity.icv_len()).unwrap_or_default(), icv) {
                    return Err(CipherError::Icv);
                }
                self.cbc(Mode::Decrypt, iv, sealed)?
            }
        };
        //= rfc7296#3.14/padding: any content, any length that fits.
        let padding = usize::from(plain.pop().ok_or(CipherError::Padding)?);
        let len = plain.len().checked_sub(padding).ok_or(CipherError::Padding)?;
        plain.truncate(len);
        Ok(plain)
    }

    fn hmac(&self, integrity: IkeIntegrity, signed: &[u8]) -> super::Secret {
        prf(integrity.prf(), self.integrity_key.expose(), &[signed])
    }

    fn cbc(&self, mode: Mode, iv: &[u8], input: &[u8]) -> Result<Zeroizing<Vec<u8>>, CipherError> {
        let run = || {
            let mut crypter = Crypter::new(self.cipher(), mode, self.encryption_key.expose(), Some(iv))?;
            crypter.pad(false);
            let mut out = Zeroizing::new(vec![0; input.len() + 16]);
            let mut len = crypter.update(input, &mut out)?;
            len += crypter.finalize(out.get_mut(len..).unwrap_or_default())?;
            out.truncate(len);
            Ok::<_, openssl::error::ErrorStack>(out)
        };
        run().map_err(|_| CipherError::Library)
    }
}
