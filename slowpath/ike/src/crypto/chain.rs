//! PRFs made of AES-128: AES-XCBC-PRF-128 (RFC 3566, RFC 4434) and AES-CMAC-PRF-128 (RFC 4493, RFC 4615). With a key of
//! 16 bytes they are the MACs of these names.
use super::Secret;
use aes::cipher::{BlockCipherEncrypt, KeyInit};
use aes::{Aes128, Block};
use zeroize::{Zeroize, Zeroizing};

pub fn xcbc_prf(key: &[u8], parts: &[&[u8]]) -> Secret {
    //= rfc4434#2/key: shorter ones are filled with zeroes, longer ones hashed under a key of zeroes.
    let mut fitted = Zeroizing::new([0; 16]);
    match fitted.get_mut(..key.len()) {
        Some(front) => front.copy_from_slice(key),
        None => *fitted = Chain::xcbc(&fitted).mac(&[key]),
    }
    Secret::new(Chain::xcbc(&fitted).mac(parts).to_vec())
}
pub fn cmac_prf(key: &[u8], parts: &[&[u8]]) -> Secret {
    //= rfc4615#3/key: one of another length than 16 bytes is hashed under a key of zeroes.
    let fitted = match key.try_into() {
        Ok(key) => Zeroizing::new(key),
        Err(_) => Zeroizing::new(Chain::cmac(&[0; 16]).mac(&[key])),
    };
    Secret::new(Chain::cmac(&fitted).mac(parts).to_vec())
}

/// A chain of blocks whose last one is masked, by whether it was whole.
struct Chain {
    cipher: Aes128,
    whole: [u8; 16],
    short: [u8; 16],
}
impl Chain {
    fn xcbc(key: &[u8; 16]) -> Self {
        let master = Aes128::new(key.into());
        //= rfc3566#4/keys: those of the chain, of a whole last block and of a short one.
        let [mut chain, whole, short] = [1, 2, 3].map(|n| encrypted(&master, [n; 16]));
        let cipher = Aes128::new(&chain.into());
        chain.zeroize();
        Self { cipher, whole, short }
    }
    fn cmac(key: &[u8; 16]) -> Self {
        let cipher = Aes128::new(key.into());
        //= rfc4493#2.3/subkeys: the encrypted zero block doubled, and doubled again.
        let whole = double(u128::from_be_bytes(encrypted(&cipher, [0; 16])));
        let short = double(whole);
        Self { cipher, whole: whole.to_be_bytes(), short: short.to_be_bytes() }
    }
    /// Over what `parts` are in a row.
    fn mac(&self, parts: &[&[u8]]) -> [u8; 16] {
        let text = Zeroizing::new(parts.concat());
        let mut state = [0; 16];
        let mut rest = &text[..];
        while let Some((block, after)) = rest.split_first_chunk::<16>().filter(|(_, after)| !after.is_empty())
        {
            state = encrypted(&self.cipher, xor(&state, block));
            rest = after;
        }
        state = xor(&state, rest);
        // A short block is filled up with a bit of one and zeroes.
        state.get_mut(rest.len()).into_iter().for_each(|byte| *byte ^= 0x80);
        encrypted(&self.cipher, xor(&state, if rest.len() == 16 { &self.whole } else { &self.short }))
    }
}
impl Drop for Chain {
    fn drop(&mut self) {
        self.whole.zeroize();
        self.short.zeroize();
    }
}
fn encrypted(cipher: &Aes128, block: [u8; 16]) -> [u8; 16] {
    let mut block = Block::from(block);
    cipher.encrypt_block(&mut block);
    block.into()
}
fn xor(state: &[u8; 16], with: &[u8]) -> [u8; 16] {
    let mut out = *state;
    out.iter_mut().zip(with).for_each(|(o, w)| *o ^= w);
    out
}
/// In the field of 2^128 elements. A multiplication instead of a branch: the bit is secret.
fn double(n: u128) -> u128 {
    (n << 1) ^ ((n >> 127) * 0x87)
}
