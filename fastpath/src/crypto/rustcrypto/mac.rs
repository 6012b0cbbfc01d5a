//! Integrity algorithms, over packets that lie in pieces.
use super::Aes;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Block};
use ghash::GHash;
use ghash::universal_hash::UniversalHash;
use zeroize::{Zeroize, Zeroizing};

pub trait Mac: Send + Sync {
    /// Over what `parts` are in a row; as much of the front counts as the ICV is long.
    fn mac(&self, nonce: &[u8; 12], parts: &[&[u8]]) -> [u8; 64];
}

fn padded(tag: &[u8]) -> [u8; 64] {
    let mut out = [0; 64];
    out.iter_mut().zip(tag).for_each(|(to, from)| *to = *from);
    out
}

/// No ICV at all.
pub struct Nothing;
impl Mac for Nothing {
    fn mac(&self, _: &[u8; 12], _: &[&[u8]]) -> [u8; 64] {
        [0; 64]
    }
}

/// HMAC after the padded key.
pub struct HmacOf<H>(pub H);
impl<H: hmac::Mac + Clone + Send + Sync> Mac for HmacOf<H> {
    fn mac(&self, _: &[u8; 12], parts: &[&[u8]]) -> [u8; 64] {
        let mut state = self.0.clone();
        parts.iter().for_each(|part| state.update(part));
        padded(&state.finalize().into_bytes())
    }
}

/// The concatenation of `parts` block by block; only the last block, which comes with `true`, may be short or empty.
fn blocks(parts: &[&[u8]], mut then: impl FnMut(&[u8], bool)) {
    let (mut block, mut held) = ([0; 16], 0);
    for part in parts {
        let mut part = *part;
        while !part.is_empty() {
            if held == block.len() {
                then(&block, false);
                held = 0;
            }
            let (now, later) = part.split_at(part.len().min(block.len() - held));
            block[held..held + now.len()].copy_from_slice(now);
            (held, part) = (held + now.len(), later);
        }
    }
    then(&block[..held], true);
}

/// AES-XCBC-MAC (RFC 3566) and AES-CMAC (RFC 4493): a chain of blocks whose last one is masked with another key, by
/// whether it was whole.
pub struct Chain {
    cipher: Aes128,
    whole: Block,
    short: Block,
}
impl Chain {
    /// `None` unless `key` is 16 bytes.
    pub fn xcbc(key: &[u8]) -> Option<Self> {
        let master = Aes128::new_from_slice(key).ok()?;
        //= rfc3566#4/keys: those of the chain, of a whole last block and of a short one.
        let [mut chain, whole, short] = [1, 2, 3].map(|n| {
            let mut block = Block::from([n; 16]);
            master.encrypt_block(&mut block);
            block
        });
        let cipher = Aes128::new(&chain);
        chain.zeroize();
        Some(Self { cipher, whole, short })
    }
    pub fn cmac(key: &[u8]) -> Option<Self> {
        let cipher = Aes128::new_from_slice(key).ok()?;
        let mut zero = Block::default();
        cipher.encrypt_block(&mut zero);
        //= rfc4493#2.3/subkeys: the encrypted zero block doubled, and doubled again.
        let whole = double(u128::from_be_bytes(zero.into()));
        let short = double(whole);
        zero.zeroize();
        let [whole, short] = [whole, short].map(|n| n.to_be_bytes().into());
        Some(Self { cipher, whole, short })
    }
}
/// In the field of 2^128 elements. A multiplication instead of a branch: the bit is secret.
fn double(n: u128) -> u128 {
    (n << 1) ^ ((n >> 127) * 0x87)
}
impl Mac for Chain {
    fn mac(&self, _: &[u8; 12], parts: &[&[u8]]) -> [u8; 64] {
        let mut state = Block::default();
        let xor = |state: &mut Block, with: &[u8]| state.iter_mut().zip(with).for_each(|(s, w)| *s ^= w);
        blocks(parts, |block, last| {
            xor(&mut state, block);
            if last {
                // A short block is filled up with a bit of one and zeroes.
                state.get_mut(block.len()).into_iter().for_each(|s| *s ^= 0x80);
                xor(&mut state, if block.len() == 16 { &self.whole } else { &self.short });
            }
            self.cipher.encrypt_block(&mut state);
        });
        padded(&state)
    }
}
impl Drop for Chain {
    fn drop(&mut self) {
        self.whole.zeroize();
        self.short.zeroize();
    }
}

/// The authentication of AES-GCM (SP 800-38D 6.4 and 7.1).
pub struct Gmac<C> {
    cipher: C,
    hash: GHash,
}
impl<C: Aes> Gmac<C> {
    pub fn new(key: &[u8]) -> Option<Self> {
        let cipher = C::new_from_slice(key).ok()?;
        let mut hash_key = Zeroizing::new(Block::default());
        cipher.encrypt_block(&mut hash_key);
        Some(Self { hash: GHash::new(&hash_key), cipher })
    }
    pub fn cipher(&self) -> &C {
        &self.cipher
    }
    pub fn tag(&self, nonce: &[u8; 12], aad: &[&[u8]], text: &[u8]) -> [u8; 16] {
        let mut hash = self.hash.clone();
        blocks(aad, |block, _| hash.update_padded(block));
        hash.update_padded(text);
        let bits = |len: usize| (len as u64 * 8).to_be_bytes();
        let mut lengths = Block::default();
        lengths[..8].copy_from_slice(&bits(aad.iter().map(|part| part.len()).sum()));
        lengths[8..].copy_from_slice(&bits(text.len()));
        hash.update(&[lengths]);
        let mut mask = Block::default();
        mask[..12].copy_from_slice(nonce);
        mask[15] = 1;
        self.cipher.encrypt_block(&mut mask);
        let hash = hash.finalize();
        std::array::from_fn(|at| hash[at] ^ mask[at])
    }
}
impl<C: Aes> Mac for Gmac<C> {
    fn mac(&self, nonce: &[u8; 12], parts: &[&[u8]]) -> [u8; 64] {
        padded(&self.tag(nonce, parts, &[]))
    }
}
