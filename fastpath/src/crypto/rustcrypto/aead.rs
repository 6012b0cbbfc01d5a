//! AEADs, the length of whose nonce and ICV is their own business.
use super::super::cpu;
use super::Aes;
use super::cipher::keystream;
use super::mac::Gmac;
use aes_gcm::aead::array::Array;
use aes_gcm::aead::{AeadCore, AeadInOut};

pub trait Aead: Send + Sync {
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], icv: &mut [u8]) -> bool;
    /// What is left in `text` when it does not authenticate must be wiped.
    fn open(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], icv: &[u8]) -> bool;
}

/// The last bytes of a nonce, as many as an algorithm has.
fn fitting<A: AeadCore>(nonce: &[u8; 12]) -> Option<&Array<u8, A::NonceSize>> {
    let unused = nonce.len().checked_sub(Array::<u8, A::NonceSize>::default().len())?;
    nonce.get(unused..)?.try_into().ok()
}
impl<A: AeadInOut + Send + Sync> Aead for A {
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], icv: &mut [u8]) -> bool {
        let (Some(nonce), Ok(icv)) = (fitting::<A>(nonce), <&mut Array<u8, A::TagSize>>::try_from(icv))
        else {
            return false;
        };
        self.encrypt_inout_detached(nonce, aad, text.into()).map(|tag| *icv = tag).is_ok()
    }
    fn open(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], icv: &[u8]) -> bool {
        let (Some(nonce), Ok(icv)) = (fitting::<A>(nonce), <&Array<u8, A::TagSize>>::try_from(icv)) else {
            return false;
        };
        self.decrypt_inout_detached(nonce, aad, text.into(), icv).is_ok()
    }
}

/// AES-GCM whose ICV is cut, which the crate does not do below 12 bytes.
pub struct ShortGcm<C>(Gmac<C>);
impl<C: Aes> ShortGcm<C> {
    pub fn new(key: &[u8]) -> Option<Self> {
        Gmac::new(key).map(Self)
    }
}
impl<C: Aes> Aead for ShortGcm<C> {
    fn seal(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], icv: &mut [u8]) -> bool {
        keystream(self.0.cipher(), nonce, 2, text);
        let tag = self.0.tag(nonce, &[aad], text);
        icv.iter_mut().zip(tag).for_each(|(to, from)| *to = from);
        true
    }
    fn open(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], icv: &[u8]) -> bool {
        let tag = self.0.tag(nonce, &[aad], text);
        let authentic = tag.get(..icv.len()).is_some_and(|tag| cpu::same(tag, icv));
        if authentic {
            keystream(self.0.cipher(), nonce, 2, text);
        }
        authentic
    }
}
