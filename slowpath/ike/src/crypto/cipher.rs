//! The SK payload's ciphers, one direction's keys (RFC 7296 3.14, RFC 5282, RFC 5930, RFC 7634 3).
use super::block::{self, Ccm};
use super::{prf, same};
use crate::api::{IkeCipher, IkeIntegrity};
use openssl::symm::{Cipher, decrypt_aead, encrypt_aead};
use sa::{CipherMode, Key};
use zeroize::Zeroizing;

/// Keys of one direction of an IKE SA.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SkKeys {
    pub encryption: IkeCipher,
    /// `None` exactly when the cipher is an AEAD.
    pub integrity: Option<IkeIntegrity>,
    pub encryption_key: Key,
    /// Of ciphers that count their IVs.
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
        self.integrity.map_or(self.encryption.icv_len(), IkeIntegrity::icv_len)
    }
    fn padding(&self, plain: usize) -> usize {
        //= rfc5282#3/no-padding: an AEAD needs none, nor does CTR (RFC 5930 2.1); CBC fills its last block.
        let block = self.encryption.block_len();
        block - 1 - plain % block
    }
    /// How long IV, ciphertext and ICV of `plain` bytes will be.
    pub fn sealed_len(&self, plain: usize) -> usize {
        self.encryption.iv_len() + plain + self.padding(plain) + 1 + self.icv_len()
    }
    /// The most plain bytes of which IV, ciphertext and ICV are not longer than `len`.
    pub fn room(&self, len: usize) -> usize {
        let sealed = len.saturating_sub(self.encryption.iv_len() + self.icv_len());
        let whole = sealed - sealed % self.encryption.block_len();
        whole.saturating_sub(1)
    }
    fn nonce(&self, iv: &[u8]) -> Vec<u8> {
        [self.salt.expose(), iv].concat()
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
            let mut icv = vec![0; self.icv_len()];
            let sealed = self.aead_seal(&self.nonce(iv), out, padded, &mut icv)?;
            out.extend_from_slice(iv);
            out.extend_from_slice(&sealed);
            out.extend(icv);
            return Ok(());
        };
        self.crypt(iv, &mut padded, true)?;
        out.extend_from_slice(iv);
        out.extend_from_slice(&padded);
        //= rfc7296#3.14/icv-over-all: from the IKE header through the padding length.
        let icv = self.mac(integrity, out);
        out.extend_from_slice(icv.get(..integrity.icv_len()).unwrap_or(&icv));
        Ok(())
    }

    /// Opens `body` (IV, ciphertext, ICV); `head` is the message before it. The ICV is checked before
    /// anything is decrypted or padding looked at.
    pub fn open(&self, head: &[u8], body: &[u8]) -> Result<Zeroizing<Vec<u8>>, CipherError> {
        let (iv, rest) = body.split_at_checked(self.encryption.iv_len()).ok_or(CipherError::Length)?;
        let split = rest.len().checked_sub(self.icv_len()).ok_or(CipherError::Length)?;
        let (sealed, icv) = rest.split_at_checked(split).ok_or(CipherError::Length)?;
        if sealed.is_empty() || !sealed.len().is_multiple_of(self.encryption.block_len()) {
            return Err(CipherError::Length);
        }
        let mut plain = match self.integrity {
            None => self.aead_open(&self.nonce(iv), head, sealed, icv)?,
            Some(integrity) => {
                let signed = [head, iv, sealed].concat();
                let mac = self.mac(integrity, &signed);
                if !same(mac.get(..integrity.icv_len()).unwrap_or_default(), icv) {
                    return Err(CipherError::Icv);
                }
                let mut plain = Zeroizing::new(sealed.to_vec());
                self.crypt(iv, &mut plain, false)?;
                plain
            }
        };
        //= rfc7296#3.14/padding: any content, any length that fits.
        let padding = usize::from(plain.pop().ok_or(CipherError::Padding)?);
        let len = plain.len().checked_sub(padding).ok_or(CipherError::Padding)?;
        plain.truncate(len);
        Ok(plain)
    }

    fn mac(&self, integrity: IkeIntegrity, signed: &[u8]) -> super::Secret {
        prf(integrity.prf(), self.integrity_key.expose(), &[signed])
    }
    /// A cipher that needs an integrity algorithm beside it, in place.
    fn crypt(&self, iv: &[u8], text: &mut [u8], encrypt: bool) -> Result<(), CipherError> {
        let (cipher, key) = (self.encryption, self.encryption_key.expose());
        match cipher.mode() {
            CipherMode::Ctr => block::ctr(cipher, key, &self.nonce(iv), text),
            _ => block::cbc(cipher, key, iv, text, encrypt),
        }
        .ok_or(CipherError::Library)
    }

    /// OpenSSL's, which has no Camellia-CCM.
    fn library(&self) -> Option<Cipher> {
        match (self.encryption.mode(), self.encryption.key_len()) {
            (CipherMode::Gcm, 16) => Some(Cipher::aes_128_gcm()),
            (CipherMode::Gcm, 24) => Some(Cipher::aes_192_gcm()),
            (CipherMode::Gcm, 32) => Some(Cipher::aes_256_gcm()),
            (CipherMode::ChaCha20Poly1305, _) => Some(Cipher::chacha20_poly1305()),
            _ => None,
        }
    }
    fn aead_seal(
        &self,
        nonce: &[u8],
        head: &[u8],
        mut plain: Zeroizing<Vec<u8>>,
        icv: &mut [u8],
    ) -> Result<Zeroizing<Vec<u8>>, CipherError> {
        let key = self.encryption_key.expose();
        if let Some(cipher) = self.library() {
            let sealed = encrypt_aead(cipher, key, Some(nonce), head, &plain, icv);
            return sealed.map(Zeroizing::new).map_err(|_| CipherError::Library);
        }
        block::ccm(self.encryption, key, nonce, head, &mut plain, Ccm::Seal(icv))
            .ok_or(CipherError::Library)?;
        Ok(plain)
    }
    fn aead_open(
        &self,
        nonce: &[u8],
        head: &[u8],
        sealed: &[u8],
        icv: &[u8],
    ) -> Result<Zeroizing<Vec<u8>>, CipherError> {
        let key = self.encryption_key.expose();
        if let Some(cipher) = self.library() {
            let plain = decrypt_aead(cipher, key, Some(nonce), head, sealed, icv);
            return plain.map(Zeroizing::new).map_err(|_| CipherError::Icv);
        }
        let mut plain = Zeroizing::new(sealed.to_vec());
        block::ccm(self.encryption, key, nonce, head, &mut plain, Ccm::Open(icv)).ok_or(CipherError::Icv)?;
        Ok(plain)
    }
}
