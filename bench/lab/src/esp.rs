//! ESP as the far gateways speak it, on libraries that the gateway's fastest engines do not use: `ring` for
//! AES-GCM and ChaCha20-Poly1305, the RustCrypto crates for the rest. A mistake of the gateway's does not cancel out here.
use aes::cipher::array::Array;
use aes::cipher::consts::U12;
use aes::cipher::{BlockModeDecrypt, BlockModeEncrypt, KeyIvInit, block_padding::NoPadding};
use aes::{Aes128, Aes192, Aes256};
use aes_gcm::AesGcm;
use aes_gcm::aead::AeadInOut;
use anyhow::{Context, Result, bail};
use hmac::{Hmac, Mac};
use ring::aead;
use sa::{Encryption, Integrity, SaSpec, Suite};
use sha1::Sha1;
use sha2::{Sha256, Sha384, Sha512};

/// Header and number.
pub const HEADER: usize = wire::esp::HEADER;

/// The keys of one SA. Opens or seals; which of both is the user's business.
pub struct Sa {
    spi: u32,
    esn: bool,
    suite: Suite,
    salt: [u8; 4],
    cipher: Cipher,
}
enum Cipher {
    Ring(Box<aead::LessSafeKey>),
    Gcm192(Box<AesGcm<Aes192, U12>>),
    Chained { key: Vec<u8>, hmac: Box<HmacKey> },
}
enum HmacKey {
    Sha1(Hmac<Sha1>),
    Sha256(Hmac<Sha256>),
    Sha384(Hmac<Sha384>),
    Sha512(Hmac<Sha512>),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wrong {
    TooShort,
    Icv,
    Padding,
    NextHeader(u8),
}

impl Sa {
    /// What the tester speaks: suites whose speed is worth measuring.
    pub fn has(suite: Suite) -> bool {
        use Encryption::{Aes128Cbc, Aes192Cbc, Aes256Cbc, ChaCha20Poly1305, Null};
        let (e, i) = (suite.encryption(), suite.integrity());
        let hashed = (Integrity::HmacSha1..=Integrity::HmacSha512).contains(&i);
        e.is_aes_gcm()
            || e == ChaCha20Poly1305
            || (hashed && matches!(e, Null | Aes128Cbc | Aes192Cbc | Aes256Cbc))
    }
    pub fn new(spec: &SaSpec) -> Result<Self> {
        let key = spec.encryption_key.expose();
        let ring_key = |algorithm| {
            let key = aead::UnboundKey::new(algorithm, key).ok().context("a key of the wrong length")?;
            anyhow::Ok(Cipher::Ring(Box::new(aead::LessSafeKey::new(key))))
        };
        let cipher = match spec.suite.encryption() {
            Encryption::Aes128Gcm => ring_key(&aead::AES_128_GCM)?,
            Encryption::Aes256Gcm => ring_key(&aead::AES_256_GCM)?,
            Encryption::ChaCha20Poly1305 => ring_key(&aead::CHACHA20_POLY1305)?,
            Encryption::Aes192Gcm => {
                let key = aes_gcm::KeyInit::new_from_slice(key).ok().context("a key of the wrong length")?;
                Cipher::Gcm192(Box::new(key))
            }
            other if !Self::has(spec.suite) => bail!("the tester does not speak {other:?}"),
            _ => {
                let hmac = HmacKey::new(spec.suite.integrity(), spec.integrity_key.expose())?;
                Cipher::Chained { key: key.to_vec(), hmac: Box::new(hmac) }
            }
        };
        let salt = spec.salt.expose().try_into().unwrap_or_default();
        Ok(Self { spi: spec.spi.get(), esn: spec.esn, suite: spec.suite, salt, cipher })
    }
    pub fn spi(&self) -> u32 {
        self.spi
    }

    /// Length of the ESP packet around an inner packet.
    pub fn sealed_len(&self, inner: usize) -> usize {
        let padding = wire::esp::padding(inner, self.suite.encryption().pad_to());
        HEADER + self.suite.iv_len() + inner + padding + wire::esp::TRAILER + self.suite.icv_len()
    }

    /// The inner packet of `esp` (from its SPI on), which arrived as number `seq`.
    pub fn open<'a>(&self, esp: &'a mut [u8], seq: u64) -> Result<&'a [u8], Wrong> {
        let (iv_len, icv_len) = (self.suite.iv_len(), self.suite.icv_len());
        if esp.len() < HEADER + iv_len + wire::esp::TRAILER + icv_len {
            return Err(Wrong::TooShort);
        }
        let text_at = HEADER + iv_len;
        let icv_at = esp.len() - icv_len;
        let (aad, aad_len) = self.additional(seq);
        match &self.cipher {
            Cipher::Ring(key) => {
                let nonce = aead::Nonce::assume_unique_for_key(self.nonce(&esp[HEADER..text_at]));
                let aad = aead::Aad::from(&aad[..aad_len]);
                key.open_in_place(nonce, aad, &mut esp[text_at..]).map_err(|_| Wrong::Icv)?;
            }
            Cipher::Gcm192(key) => {
                let nonce = self.nonce(&esp[HEADER..text_at]);
                let (front, tag) = esp.split_at_mut(icv_at);
                let tag: [u8; 16] = (&*tag).try_into().map_err(|_| Wrong::TooShort)?;
                let text = &mut front[text_at..];
                key.decrypt_inout_detached(&Array(nonce), &aad[..aad_len], text.into(), &Array(tag))
                    .map_err(|_| Wrong::Icv)?;
            }
            Cipher::Chained { key, hmac } => {
                let (front, icv) = esp.split_at_mut(icv_at);
                if !hmac.fits(&[front, self.high(seq).as_ref()], icv) {
                    return Err(Wrong::Icv);
                }
                let (head, text) = front.split_at_mut(text_at);
                cbc(self.suite.encryption(), key, &head[HEADER..], text, false).ok_or(Wrong::TooShort)?;
            }
        }
        let plain = &esp[text_at..icv_at];
        let trailer = wire::esp::parse_trailer(plain).map_err(|_| Wrong::Padding)?;
        if trailer.next_header != wire::ip::protocol::IPV4 {
            return Err(Wrong::NextHeader(trailer.next_header));
        }
        Ok(&plain[..trailer.payload_len])
    }

    /// Seals `inner` into `out`, which has exactly [`Sa::sealed_len`] bytes.
    pub fn seal(&self, seq: u64, inner: &[u8], out: &mut [u8]) -> Result<()> {
        if out.len() != self.sealed_len(inner.len()) {
            bail!("{} bytes for an ESP packet of {}", out.len(), self.sealed_len(inner.len()));
        }
        let (iv_len, icv_len) = (self.suite.iv_len(), self.suite.icv_len());
        let (text_at, icv_at) = (HEADER + iv_len, out.len() - icv_len);
        out[..4].copy_from_slice(&self.spi.to_be_bytes());
        out[4..8].copy_from_slice(&(seq as u32).to_be_bytes());
        // Its own number is unique; CBC wants it unpredictable too, which matters to nobody here.
        out[HEADER..text_at].fill(0);
        let iv = iv_len.min(8);
        out[text_at - iv..text_at].copy_from_slice(&seq.to_be_bytes()[8 - iv..]);
        out[text_at..text_at + inner.len()].copy_from_slice(inner);
        wire::esp::write_trailer(&mut out[text_at + inner.len()..icv_at], wire::ip::protocol::IPV4)
            .context("no room for the trailer")?;
        let (aad, aad_len) = self.additional(seq);
        let nonce = self.nonce(&out[HEADER..text_at]);
        let (front, icv) = out.split_at_mut(icv_at);
        match &self.cipher {
            Cipher::Ring(key) => {
                let (nonce, aad) =
                    (aead::Nonce::assume_unique_for_key(nonce), aead::Aad::from(&aad[..aad_len]));
                let tag = key.seal_in_place_separate_tag(nonce, aad, &mut front[text_at..]);
                icv.copy_from_slice(tag.ok().context("sealing")?.as_ref());
            }
            Cipher::Gcm192(key) => {
                let text = &mut front[text_at..];
                let tag = key.encrypt_inout_detached(&Array(nonce), &aad[..aad_len], text.into());
                icv.copy_from_slice(&tag.ok().context("sealing")?);
            }
            Cipher::Chained { key, hmac } => {
                let (head, text) = front.split_at_mut(text_at);
                cbc(self.suite.encryption(), key, &head[HEADER..], text, true).context("sealing")?;
                hmac.write(&[front, self.high(seq).as_ref()], icv);
            }
        }
        Ok(())
    }

    //= rfc4106#4/nonce: salt, then IV.
    fn nonce(&self, iv: &[u8]) -> [u8; 12] {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&self.salt);
        if let Some(iv) = iv.first_chunk::<8>() {
            nonce[4..].copy_from_slice(iv);
        }
        nonce
    }
    //= rfc4106#5/aad: SPI and sequence number, with the high half between them under ESN.
    fn additional(&self, seq: u64) -> ([u8; 12], usize) {
        let mut aad = [0; 12];
        aad[..4].copy_from_slice(&self.spi.to_be_bytes());
        if self.esn {
            aad[4..].copy_from_slice(&seq.to_be_bytes());
            (aad, 12)
        } else {
            aad[4..8].copy_from_slice(&(seq as u32).to_be_bytes());
            (aad, 8)
        }
    }
    //= rfc4303#2.2.1/separate-integrity: the high half goes through the HMAC without being sent.
    fn high(&self, seq: u64) -> HighHalf {
        HighHalf(((seq >> 32) as u32).to_be_bytes(), self.esn)
    }
}

struct HighHalf([u8; 4], bool);
impl AsRef<[u8]> for HighHalf {
    fn as_ref(&self) -> &[u8] {
        if self.1 { &self.0 } else { &[] }
    }
}

macro_rules! each {
    ($on:expr, $mac:ident => $do:expr) => {
        match $on {
            HmacKey::Sha1($mac) => $do,
            HmacKey::Sha256($mac) => $do,
            HmacKey::Sha384($mac) => $do,
            HmacKey::Sha512($mac) => $do,
        }
    };
}
impl HmacKey {
    fn new(integrity: Integrity, key: &[u8]) -> Result<Self> {
        let wrong = "a key of the wrong length";
        use hmac::KeyInit;
        Ok(match integrity {
            Integrity::HmacSha1 => Self::Sha1(KeyInit::new_from_slice(key).ok().context(wrong)?),
            Integrity::HmacSha256 => Self::Sha256(KeyInit::new_from_slice(key).ok().context(wrong)?),
            Integrity::HmacSha384 => Self::Sha384(KeyInit::new_from_slice(key).ok().context(wrong)?),
            Integrity::HmacSha512 => Self::Sha512(KeyInit::new_from_slice(key).ok().context(wrong)?),
            other => bail!("the tester does not hash with {other:?}"),
        })
    }
    fn fits(&self, parts: &[&[u8]], icv: &[u8]) -> bool {
        each!(self, mac => {
            let mut mac = mac.clone();
            parts.iter().for_each(|part| mac.update(part));
            mac.verify_truncated_left(icv).is_ok()
        })
    }
    fn write(&self, parts: &[&[u8]], icv: &mut [u8]) {
        each!(self, mac => {
            let mut mac = mac.clone();
            parts.iter().for_each(|part| mac.update(part));
            let tag = mac.finalize().into_bytes();
            let len = icv.len().min(tag.len());
            icv[..len].copy_from_slice(&tag[..len]);
        })
    }
}

/// `None` when a length is wrong. NULL leaves everything as it is.
fn cbc(encryption: Encryption, key: &[u8], iv: &[u8], text: &mut [u8], seal: bool) -> Option<()> {
    let len = text.len();
    macro_rules! with {
        ($aes:ty) => {
            if seal {
                let mode = cbc::Encryptor::<$aes>::new_from_slices(key, iv).ok()?;
                mode.encrypt_padded::<NoPadding>(text, len).ok().map(drop)
            } else {
                let mode = cbc::Decryptor::<$aes>::new_from_slices(key, iv).ok()?;
                mode.decrypt_padded::<NoPadding>(text).ok().map(drop)
            }
        };
    }
    match encryption {
        Encryption::Aes128Cbc => with!(Aes128),
        Encryption::Aes192Cbc => with!(Aes192),
        Encryption::Aes256Cbc => with!(Aes256),
        _ => Some(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scene::Scene;
    use sa::Direction;

    #[test]
    fn every_suite_opens_what_it_sealed_and_nothing_else() {
        for suite in Suite::all().filter(|suite| Sa::has(*suite)) {
            let encryption = suite.encryption();
            for esn in [true, false] {
                let scene = Scene::new(3, 3, suite, esn, 64).expect("a scene");
                let spec = scene.sa(1, Direction::Inbound).expect("a specification");
                let sa = Sa::new(&spec).expect("an SA");
                let other = Sa::new(&scene.sa(2, Direction::Inbound).expect("a spec")).expect("an SA");
                for len in [20, 46, 47, 1500] {
                    let inner: Vec<u8> = (0..len).map(|n| n as u8).collect();
                    let seq = 0x1_0000_0007;
                    let mut packet = vec![0; sa.sealed_len(len)];
                    sa.seal(seq, &inner, &mut packet).expect("sealed");
                    assert_eq!(sa.open(&mut packet.clone(), seq), Ok(&inner[..]), "{suite} {len}");
                    assert_eq!(other.open(&mut packet.clone(), seq), Err(Wrong::Icv));
                    if esn {
                        assert_eq!(sa.open(&mut packet.clone(), seq - (1 << 32)), Err(Wrong::Icv));
                    }
                    for at in [0, 9, packet.len() / 2, packet.len() - 1] {
                        let mut damaged = packet.clone();
                        damaged[at] ^= 0x10;
                        // The header of GCM is named by `additional`, not read from the packet.
                        let ignored = encryption.is_aead() && at < 8;
                        assert_eq!(sa.open(&mut damaged, seq).is_err(), !ignored, "{suite} byte {at}");
                    }
                }
            }
        }
    }
    #[test]
    fn what_is_too_short_is_an_error() {
        let suite = Suite::new(Encryption::Aes128Gcm, Integrity::None).expect("a suite");
        let scene = Scene::new(1, 1, suite, true, 64).expect("a scene");
        let sa = Sa::new(&scene.sa(0, Direction::Inbound).expect("a spec")).expect("an SA");
        for len in 0..34 {
            assert_eq!(sa.open(&mut vec![0; len], 1), Err(Wrong::TooShort));
        }
    }
}
