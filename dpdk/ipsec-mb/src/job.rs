//! Packets of a multi-buffer burst.
use crate::key::{CbcKey, ChainAlg, ChainKey, DesKey, HmacKey};
use crate::sys;
use std::ffi::c_void;
use std::ptr;

/// Room a tag needs: the longest digest.
pub const TAG_ROOM: usize = 64;

/// What a job does with the bytes from `cipher_from` to the end of the data.
#[derive(Clone, Copy)]
pub enum Cipher<'p> {
    /// IV: the 16 bytes in front of `cipher_from`.
    CbcEncrypt(&'p CbcKey),
    CbcDecrypt(&'p CbcKey),
    /// NULL encryption, hashed as a sender.
    NullEncrypt,
    NullDecrypt,
    /// DES or 3DES. IV: the 8 bytes in front.
    Des {
        key: &'p DesKey,
        seals: bool,
    },
    /// From block 1 on.
    Ctr {
        key: &'p CbcKey,
        nonce: &'p [u8; 12],
        seals: bool,
    },
    /// Brings its own tag. Keys of 192 bits are refused: the library has none.
    Ccm {
        key: &'p CbcKey,
        nonce: &'p [u8; 11],
        aad: &'p [u8],
        seals: bool,
    },
}
/// What makes the tag.
#[derive(Clone, Copy)]
pub enum Mac<'p> {
    Hmac(&'p HmacKey),
    Chain(&'p ChainKey),
    /// That of [`Cipher::Ccm`], and with it alone.
    OfCipher,
}

/// Cipher and hash over one contiguous buffer. Encryption runs before the hash, decryption after it.
pub struct ChainJob<'p> {
    pub cipher: Cipher<'p>,
    pub mac: Mac<'p>,
    /// Everything that is hashed from the start: header, IV, ciphertext, and what follows it.
    pub data: &'p mut [u8],
    /// The ciphered part of `data`. CBC starts behind its IV and is whole blocks, else the job is refused.
    pub cipher_range: std::ops::Range<usize>,
    pub tag: &'p mut [u8; TAG_ROOM],
    /// Bytes of the tag that are wanted: the digest's length or the one ESP gives it.
    pub tag_len: usize,
    /// Comes back with the verdict.
    pub token: usize,
}

impl Mac<'_> {
    const fn most(self) -> usize {
        match self {
            Self::Hmac(key) => key.alg.digest_len(),
            Self::Chain(_) | Self::OfCipher => 16,
        }
    }
}

impl ChainJob<'_> {
    /// What a lane of the library can count: it has 16 bits for a length, the block of the padded key included.
    const LONGEST: usize = 0xff00;

    /// The library trusts lengths; this is where they are checked.
    pub(crate) fn is_sound(&self) -> bool {
        let std::ops::Range { start, end } = self.cipher_range;
        let fits = start <= end && end <= self.data.len() && self.tag_len <= self.mac.most();
        let whole = |block: usize| start >= block && end > start && (end - start).is_multiple_of(block);
        let of_cipher = matches!(self.mac, Mac::OfCipher);
        let ciphered = match self.cipher {
            Cipher::CbcEncrypt(_) | Cipher::CbcDecrypt(_) => whole(16) && !of_cipher,
            Cipher::Des { .. } => whole(8) && !of_cipher,
            Cipher::NullEncrypt | Cipher::NullDecrypt => !of_cipher,
            Cipher::Ctr { .. } => end > start && !of_cipher,
            //= rfc4309#4/aad: at most 12 bytes; the library has room for 46.
            Cipher::Ccm { key, aad, .. } => {
                let tag = matches!(self.tag_len, 4 | 6 | 8 | 10 | 12 | 14 | 16);
                end > start && of_cipher && tag && key.bytes != 24 && aad.len() <= 46
            }
        };
        fits && ciphered && !self.data.is_empty() && self.data.len() <= Self::LONGEST
    }
    pub(crate) fn fill(self, slot: &mut sys::ImbJob) {
        let data = self.data.as_mut_ptr();
        let start = self.cipher_range.start;
        // In range, by `is_sound`.
        let iv_in_front = |len: usize| data.wrapping_add(start.saturating_sub(len)).cast_const();
        let none = ptr::null();
        let (mode, [enc, dec], key_len, iv, iv_len, seals): (
            u32,
            [*const c_void; 2],
            u64,
            *const u8,
            u64,
            bool,
        ) = match self.cipher {
            Cipher::CbcEncrypt(k) => (sys::CIPHER_CBC, k.both(), k.bytes, iv_in_front(16), 16, true),
            Cipher::CbcDecrypt(k) => (sys::CIPHER_CBC, k.both(), k.bytes, iv_in_front(16), 16, false),
            Cipher::NullEncrypt => (sys::CIPHER_NULL, [none; 2], 0, iv_in_front(0), 0, true),
            Cipher::NullDecrypt => (sys::CIPHER_NULL, [none; 2], 0, iv_in_front(0), 0, false),
            Cipher::Des { key, seals } if key.triple => {
                (sys::CIPHER_DES3, [key.pointers.as_ptr().cast(); 2], 24, iv_in_front(8), 8, seals)
            }
            Cipher::Des { key, seals } => {
                (sys::CIPHER_DES, [key.schedules.as_ptr().cast(); 2], 8, iv_in_front(8), 8, seals)
            }
            Cipher::Ctr { key, nonce, seals } => {
                (sys::CIPHER_CNTR, key.both(), key.bytes, nonce.as_ptr(), 12, seals)
            }
            Cipher::Ccm { key, nonce, seals, .. } => {
                (sys::CIPHER_CCM, key.both(), key.bytes, nonce.as_ptr(), 11, seals)
            }
        };
        slot.enc_keys = enc;
        slot.dec_keys = dec;
        slot.key_len_in_bytes = key_len;
        slot.cipher_mode = mode;
        slot.src = data;
        // The source has its own offset, the destination has not.
        slot.dst = data.wrapping_add(start);
        slot.cipher_start_src_offset_in_bytes = start as u64;
        let ciphered = self.cipher_range.len() as u64;
        slot.msg_len_to_cipher_in_bytes = if mode == sys::CIPHER_NULL { 0 } else { ciphered };
        slot.iv = iv;
        slot.iv_len_in_bytes = iv_len;
        slot.hash_start_src_offset_in_bytes = 0;
        slot.msg_len_to_hash_in_bytes = self.data.len() as u64;
        slot.auth_tag_output = self.tag.as_mut_ptr();
        slot.auth_tag_output_len_in_bytes = self.tag_len as u64;
        slot.cipher_direction = if seals { sys::DIR_ENCRYPT } else { sys::DIR_DECRYPT };
        //= rfc4303#3.3.2.1/encrypt-then-hash: the ICV covers the ciphertext, so it is hashed after encryption
        //= and checked before decryption.
        slot.chain_order = if seals { sys::ORDER_CIPHER_HASH } else { sys::ORDER_HASH_CIPHER };
        slot.user_data = self.token as *mut c_void;
        slot.user_data2 = ptr::null_mut();
        match (self.mac, self.cipher) {
            (Mac::Hmac(key), _) => {
                slot.hash_alg = key.alg.code();
                slot.u.hmac = sys::HmacFields {
                    hashed_auth_key_xor_ipad: key.inner.as_ptr(),
                    hashed_auth_key_xor_opad: key.outer.as_ptr(),
                };
            }
            (Mac::Chain(key), _) => {
                slot.hash_alg = match key.alg {
                    ChainAlg::AesXcbc => sys::AUTH_AES_XCBC,
                    ChainAlg::AesCmac => sys::AUTH_AES_CMAC,
                };
                slot.u.chain = sys::ChainFields {
                    key_expanded: key.expanded.as_ptr().cast(),
                    mask_1: key.masks[0].as_ptr().cast(),
                    mask_2: key.masks[1].as_ptr().cast(),
                };
            }
            (Mac::OfCipher, cipher) => {
                slot.hash_alg = sys::AUTH_AES_CCM;
                slot.hash_start_src_offset_in_bytes = start as u64;
                slot.msg_len_to_hash_in_bytes = ciphered;
                // CCM's tag is of the plaintext.
                slot.chain_order = if seals { sys::ORDER_HASH_CIPHER } else { sys::ORDER_CIPHER_HASH };
                if let Cipher::Ccm { aad, .. } = cipher {
                    let aad_len_in_bytes = aad.len() as u64;
                    slot.u.aead =
                        sys::AeadFields { aad: aad.as_ptr(), aad_len_in_bytes, ctx: ptr::null_mut() };
                }
            }
        }
    }
}

impl CbcKey {
    fn both(&self) -> [*const c_void; 2] {
        [self.encrypt.as_ptr().cast(), self.decrypt.as_ptr().cast()]
    }
}
