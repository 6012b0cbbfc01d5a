//! PRF and prf+ (RFC 7296 2.13).
use super::{Secret, chain};
use crate::api::Prf;
use hmac::{Hmac, KeyInit, Mac};

/// `prf(key, parts[0] | parts[1] | ...)`.
pub fn prf(prf: Prf, key: &[u8], parts: &[&[u8]]) -> Secret {
    match prf {
        Prf::HmacMd5 => hmac::<Hmac<md5::Md5>>(key, parts),
        Prf::AesXcbc => chain::xcbc_prf(key, parts),
        Prf::AesCmac => chain::cmac_prf(key, parts),
        Prf::HmacSha1 => hmac::<Hmac<sha1::Sha1>>(key, parts),
        Prf::HmacSha256 => hmac::<Hmac<sha2::Sha256>>(key, parts),
        Prf::HmacSha384 => hmac::<Hmac<sha2::Sha384>>(key, parts),
        Prf::HmacSha512 => hmac::<Hmac<sha2::Sha512>>(key, parts),
    }
}

fn hmac<M: Mac + KeyInit>(key: &[u8], parts: &[&[u8]]) -> Secret {
    // An HMAC takes a key of any length, so this cannot fail; an empty answer would match nothing.
    let Ok(mut mac) = <M as KeyInit>::new_from_slice(key) else { return Secret::default() };
    for part in parts {
        mac.update(part);
    }
    let mut out = mac.finalize().into_bytes();
    let secret = Secret::new(out.to_vec());
    zeroize::Zeroize::zeroize(&mut out[..]);
    secret
}

//= rfc7296#2.13/prf-plus: T1 = prf(K, S | 1), Tn = prf(K, Tn-1 | S | n); at most 255 blocks.
/// `len` bytes; no caller asks for more than 255 blocks.
pub fn prf_plus(which: Prf, key: &[u8], seed: &[&[u8]], len: usize) -> Secret {
    // Room for the last whole block, so that no copy of it is left behind by growing.
    let mut out = Secret::new(Vec::with_capacity(len + which.size()));
    let mut block = Secret::default();
    for n in 1..=u8::MAX {
        if out.len() >= len {
            break;
        }
        let counter = [n];
        let parts: Vec<&[u8]> =
            [&block[..]].into_iter().chain(seed.iter().copied()).chain([&counter[..]]).collect();
        let next = prf(which, key, &parts);
        block = next;
        out.extend_from_slice(&block);
    }
    out.truncate(len);
    out
}
