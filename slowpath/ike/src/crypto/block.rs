//! Modes of block ciphers for IKE messages: CBC, CTR (RFC 5930), CCM (RFC 5282).
use crate::api::IkeCipher;
use aes::cipher::array::Array;
use aes::cipher::consts::{U8, U11, U12, U16};
use aes::cipher::{
    BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt, BlockSizeUser, InnerIvInit,
    KeyInit, StreamCipher,
};
use aes::{Aes128, Aes192, Aes256};
use camellia::{Camellia128, Camellia192, Camellia256};
use ccm::aead::AeadInOut;
use sa::Cipher;

/// One that CTR and CCM are made of.
trait Wide: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + KeyInit {}
impl<C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + KeyInit> Wide for C {}

/// The same call for the cipher with blocks of 128 bits that has a key of this length.
macro_rules! wide {
    ($cipher:expr, $key:expr, $call:ident($($argument:expr),*)) => {
        match ($cipher.cipher(), $key.len()) {
            (Cipher::Aes, 16) => $call::<Aes128>($key, $($argument),*),
            (Cipher::Aes, 24) => $call::<Aes192>($key, $($argument),*),
            (Cipher::Aes, 32) => $call::<Aes256>($key, $($argument),*),
            (Cipher::Camellia, 16) => $call::<Camellia128>($key, $($argument),*),
            (Cipher::Camellia, 24) => $call::<Camellia192>($key, $($argument),*),
            (Cipher::Camellia, 32) => $call::<Camellia256>($key, $($argument),*),
            _ => None,
        }
    };
}

/// In place; `text` is whole blocks. `None`: the lengths of key or IV are not the cipher's.
pub fn cbc(cipher: IkeCipher, key: &[u8], iv: &[u8], text: &mut [u8], encrypt: bool) -> Option<()> {
    match cipher.cipher() {
        Cipher::Des => chained::<des::Des>(key, iv, text, encrypt),
        Cipher::TripleDes => chained::<des::TdesEde3>(key, iv, text, encrypt),
        Cipher::Blowfish => chained::<blowfish::Blowfish>(key, iv, text, encrypt),
        _ => wide!(cipher, key, chained(iv, text, encrypt)),
    }
}
fn chained<C: BlockCipherEncrypt + BlockCipherDecrypt + KeyInit>(
    key: &[u8],
    iv: &[u8],
    text: &mut [u8],
    encrypt: bool,
) -> Option<()> {
    let (cipher, iv) = (C::new_from_slice(key).ok()?, <&Array<u8, C::BlockSize>>::try_from(iv).ok()?);
    let (blocks, rest) = Array::slice_as_chunks_mut(text);
    if !rest.is_empty() {
        return None;
    }
    if encrypt {
        cbc::Encryptor::inner_iv_init(&cipher, iv).encrypt_blocks(blocks);
    } else {
        cbc::Decryptor::inner_iv_init(&cipher, iv).decrypt_blocks(blocks);
    }
    Some(())
}

/// In place, both ways. `nonce` is salt and IV.
pub fn ctr(cipher: IkeCipher, key: &[u8], nonce: &[u8], text: &mut [u8]) -> Option<()> {
    wide!(cipher, key, keystream(nonce, text))
}
fn keystream<C: Wide>(key: &[u8], nonce: &[u8], text: &mut [u8]) -> Option<()> {
    let cipher = C::new_from_slice(key).ok()?;
    //= rfc5930#2/counter-block: nonce, IV, and a block counter that starts at one.
    let mut first = Array::from([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1]);
    first.get_mut(..12)?.copy_from_slice(nonce.get(..12)?);
    let ctr = ctr::CtrCore::<_, ctr::flavors::Ctr32BE>::inner_iv_init(&cipher, &first);
    ctr::Ctr32BE::from_core(ctr).apply_keystream(text);
    Some(())
}

/// What CCM does to the text.
pub enum Ccm<'a> {
    /// The ICV's place.
    Seal(&'a mut [u8]),
    /// The ICV that must come out.
    Open(&'a [u8]),
}
/// In place. `nonce` is salt and IV. `None`: not authentic, or lengths that are not the cipher's.
pub fn ccm(
    cipher: IkeCipher,
    key: &[u8],
    nonce: &[u8],
    aad: &[u8],
    text: &mut [u8],
    icv: Ccm<'_>,
) -> Option<()> {
    wide!(cipher, key, by_icv(nonce, aad, text, icv))
}
fn by_icv<C: Wide>(key: &[u8], nonce: &[u8], aad: &[u8], text: &mut [u8], icv: Ccm<'_>) -> Option<()> {
    let len = match &icv {
        Ccm::Seal(icv) => icv.len(),
        Ccm::Open(icv) => icv.len(),
    };
    match len {
        8 => run(ccm::Ccm::<C, U8, U11>::new_from_slice(key).ok()?, nonce, aad, text, icv),
        12 => run(ccm::Ccm::<C, U12, U11>::new_from_slice(key).ok()?, nonce, aad, text, icv),
        16 => run(ccm::Ccm::<C, U16, U11>::new_from_slice(key).ok()?, nonce, aad, text, icv),
        _ => None,
    }
}
fn run<A: AeadInOut>(cipher: A, nonce: &[u8], aad: &[u8], text: &mut [u8], icv: Ccm<'_>) -> Option<()> {
    let nonce = <&Array<u8, A::NonceSize>>::try_from(nonce).ok()?;
    match icv {
        Ccm::Seal(place) => {
            let tag = cipher.encrypt_inout_detached(nonce, aad, text.into()).ok()?;
            place.copy_from_slice(&tag);
            Some(())
        }
        Ccm::Open(icv) => {
            let icv = <&Array<u8, A::TagSize>>::try_from(icv).ok()?;
            cipher.decrypt_inout_detached(nonce, aad, text.into(), icv).ok()
        }
    }
}
