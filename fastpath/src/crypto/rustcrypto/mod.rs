//! The RustCrypto crates: every suite without any library, and the second opinion on the other engines.
//!
//! Speed counts for nothing here, so ciphers and hashes stand behind traits, one implementation for all of a mode.
mod aead;
mod cipher;
mod mac;

use super::cpu::{self, HEADER};
use aead::{Aead, ShortGcm};
use aes::cipher::{BlockCipherEncrypt, BlockSizeUser, KeyInit, KeySizeUser, consts::U16};
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::AesGcm;
use aes_gcm::aead::consts::{U8, U11, U12};
use ccm::Ccm;
use chacha20poly1305::ChaCha20Poly1305;
use cipher::{Cbc, Cipher, Ctr, Null};
use hmac::Hmac;
use mac::{Chain, Gmac, HmacOf, Mac, Nothing};
use sa::{CipherMode, Direction, Encryption, Integrity, MacKind, Suite};

pub enum Keys {
    Aead(Box<dyn Aead>),
    Chained { cipher: Box<dyn Cipher>, mac: Box<dyn Mac> },
}

/// AES by the length of its key.
trait Aes: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + KeyInit + Send + Sync + 'static {}
impl<C: BlockCipherEncrypt + BlockSizeUser<BlockSize = U16> + KeyInit + Send + Sync + 'static> Aes for C {}

fn make<T: KeyInit>(key: &[u8]) -> Option<Box<T>> {
    T::new_from_slice(key).ok().map(Box::new)
}

impl Keys {
    pub fn new(suite: Suite, enc_key: &[u8], integ_key: &[u8]) -> Option<Self> {
        let encryption = suite.encryption();
        let cipher = match encryption.mode() {
            CipherMode::Gmac => {
                return Some(Self::Chained { cipher: Box::new(Null), mac: gmac(enc_key)? });
            }
            _ if encryption.is_aead() => return aead(encryption, enc_key).map(Self::Aead),
            CipherMode::Ctr => ctr(enc_key)?,
            CipherMode::Cbc => cbc(encryption, enc_key)?,
            _ => Box::new(Null),
        };
        Some(Self::Chained { cipher, mac: mac(suite.integrity(), integ_key)? })
    }

    /// Under a nonce of 12 bytes; CCM's 11 are the last of these.
    pub fn seal(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], icv: &mut [u8]) -> bool {
        matches!(self, Self::Aead(key) if key.seal(nonce, aad, text, icv))
    }
    pub fn open(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], icv: &[u8]) -> bool {
        let opened = matches!(self, Self::Aead(key) if key.open(nonce, aad, text, icv));
        if !opened {
            text.fill(0);
        }
        opened
    }

    /// The integrity algorithm alone, over what `parts` are in a row. The nonce is of GMAC.
    pub fn mac(&self, nonce: &[u8; 12], parts: &[&[u8]]) -> Option<[u8; 64]> {
        match self {
            Self::Chained { mac, .. } => Some(mac.mac(nonce, parts)),
            Self::Aead(_) => None,
        }
    }

    /// One whole ESP packet, whose nonce and additional data were put together before.
    #[inline(never)]
    pub fn packet(
        &self,
        suite: Suite,
        direction: Direction,
        (nonce, aad): (&[u8; 12], &[u8]),
        esp: &mut [u8],
        seq_high: Option<u32>,
    ) -> bool {
        let text_at = HEADER + suite.iv_len();
        let Some(icv_at) = esp.len().checked_sub(suite.icv_len()).filter(|at| *at >= text_at) else {
            return false;
        };
        let Some((body, icv)) = esp.split_at_mut_checked(icv_at) else { return false };
        let block = suite.encryption().block_len();
        if block > 1 && (icv_at == text_at || !(icv_at - text_at).is_multiple_of(block)) {
            return false;
        }
        let seals = direction == Direction::Outbound;
        let (cipher, mac) = match self {
            Self::Chained { cipher, mac } => (cipher, mac),
            Self::Aead(_) => {
                let text = body.get_mut(text_at..).unwrap_or_default();
                return if seals {
                    self.seal(nonce, aad, text, icv)
                } else {
                    self.open(nonce, aad, text, icv)
                };
            }
        };
        let high = seq_high.map(u32::to_be_bytes);
        let high = high.as_ref().map_or(&[][..], |h| &h[..]);
        let mac = |body: &[u8]| match body.split_first_chunk::<4>() {
            _ if suite.integrity().kind() == MacKind::Gmac => ah_gmac(&**mac, nonce, body, high),
            //= rfc4543#3.3/aad: SPI, all of the sequence number, the IV, and what is not encrypted.
            Some((spi, rest)) if suite.encryption().mode() == CipherMode::Gmac => {
                mac.mac(nonce, &[spi, high, rest])
            }
            //= rfc4303#2.2.1/esn-hashed: the high half is hashed behind the trailer but not sent.
            _ => mac.mac(nonce, &[body, high]),
        };
        let agrees =
            |computed: &[u8; 64], icv: &[u8]| computed.get(..icv.len()).is_some_and(|c| cpu::same(c, icv));
        //= rfc4303#3.3.2.1/encrypt-then-hash: the ICV covers the ciphertext.
        if seals {
            if let Some((iv, text)) =
                body.get_mut(HEADER..).and_then(|b| b.split_at_mut_checked(suite.iv_len()))
            {
                cipher.encrypt(nonce, iv, text);
            }
            let computed = mac(body);
            icv.iter_mut().zip(computed).for_each(|(to, from)| *to = from);
            return true;
        }
        let authentic = agrees(&mac(body), icv);
        if let Some((iv, text)) = body.get_mut(HEADER..).and_then(|b| b.split_at_mut_checked(suite.iv_len()))
        {
            if authentic { cipher.decrypt(nonce, iv, text) } else { text.fill(0) }
        }
        authentic
    }
}

//= rfc4543#4/ah: the IV stands in front of the tag, in AH's field for the ICV, which counts as zero in what is hashed.
/// `body` is that and the IV behind it; of `nonce` the salt counts.
fn ah_gmac(mac: &dyn Mac, nonce: &[u8; 12], body: &[u8], high: &[u8]) -> [u8; 64] {
    let Some((covered, iv)) = body.split_last_chunk::<8>() else { return [0; 64] };
    let mut nonce = *nonce;
    nonce[4..].copy_from_slice(iv);
    mac.mac(&nonce, &[covered, high])
}

/// The same expression with `$aes` being AES for a key of this length.
macro_rules! by_key {
    ($key:expr, $aes:ident => $do:expr) => {
        match $key.len() {
            16 => {
                type $aes = Aes128;
                $do
            }
            24 => {
                type $aes = Aes192;
                $do
            }
            32 => {
                type $aes = Aes256;
                $do
            }
            _ => None,
        }
    };
}

fn aead(encryption: Encryption, key: &[u8]) -> Option<Box<dyn Aead>> {
    fn aes<C: Aes>(encryption: Encryption, key: &[u8]) -> Option<Box<dyn Aead>>
    where
        AesGcm<C, U12>: KeyInit + Aead,
        Ccm<C, U8, U11>: KeyInit + KeySizeUser,
    {
        Some(match (encryption.mode(), encryption.icv_len()) {
            (CipherMode::Gcm, 16) => make::<AesGcm<C, U12>>(key)?,
            (CipherMode::Gcm, _) => Box::new(ShortGcm::<C>::new(key)?),
            (CipherMode::Ccm, 8) => make::<Ccm<C, U8, U11>>(key)?,
            (CipherMode::Ccm, 12) => make::<Ccm<C, U12, U11>>(key)?,
            (CipherMode::Ccm, 16) => make::<Ccm<C, U16, U11>>(key)?,
            _ => return None,
        })
    }
    match encryption {
        Encryption::ChaCha20Poly1305 => Some(make::<ChaCha20Poly1305>(key)?),
        _ => by_key!(key, Which => aes::<Which>(encryption, key)),
    }
}
fn ctr(key: &[u8]) -> Option<Box<dyn Cipher>> {
    by_key!(key, Which => Some(Box::new(Ctr(*make::<Which>(key)?))))
}
fn cbc(encryption: Encryption, key: &[u8]) -> Option<Box<dyn Cipher>> {
    Some(match (encryption.cipher(), key.len()) {
        (sa::Cipher::Aes, _) => return by_key!(key, Which => Some(Box::new(Cbc(*make::<Which>(key)?)))),
        (sa::Cipher::Des, _) => Box::new(Cbc(*make::<des::Des>(key)?)),
        (sa::Cipher::TripleDes, _) => Box::new(Cbc(*make::<des::TdesEde3>(key)?)),
        (sa::Cipher::Blowfish, _) => Box::new(Cbc(*make::<blowfish::Blowfish>(key)?)),
        (sa::Cipher::Twofish, _) => Box::new(Cbc(*make::<twofish::Twofish>(key)?)),
        (sa::Cipher::Camellia, 16) => Box::new(Cbc(*make::<camellia::Camellia128>(key)?)),
        (sa::Cipher::Camellia, 24) => Box::new(Cbc(*make::<camellia::Camellia192>(key)?)),
        (sa::Cipher::Camellia, 32) => Box::new(Cbc(*make::<camellia::Camellia256>(key)?)),
        _ => return None,
    })
}
fn gmac(key: &[u8]) -> Option<Box<dyn Mac>> {
    by_key!(key, Which => Some(Box::new(Gmac::<Which>::new(key)?)))
}
fn mac(integrity: Integrity, key: &[u8]) -> Option<Box<dyn Mac>> {
    Some(match integrity {
        Integrity::None => Box::new(Nothing),
        Integrity::HmacMd5 => Box::new(HmacOf(*make::<Hmac<md5::Md5>>(key)?)),
        Integrity::HmacSha1 => Box::new(HmacOf(*make::<Hmac<sha1::Sha1>>(key)?)),
        Integrity::HmacSha256 => Box::new(HmacOf(*make::<Hmac<sha2::Sha256>>(key)?)),
        Integrity::HmacSha384 => Box::new(HmacOf(*make::<Hmac<sha2::Sha384>>(key)?)),
        Integrity::HmacSha512 => Box::new(HmacOf(*make::<Hmac<sha2::Sha512>>(key)?)),
        Integrity::AesXcbc => Box::new(Chain::xcbc(key)?),
        Integrity::AesCmac => Box::new(Chain::cmac(key)?),
        Integrity::Aes128Gmac | Integrity::Aes192Gmac | Integrity::Aes256Gmac => return gmac(key),
    })
}
