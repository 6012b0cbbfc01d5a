//! The cryptography of IKEv2: Diffie-Hellman, the PRF and what is derived with it, AUTH, the SK
//! payload's ciphers, NAT detection and cookies. No state but keys; randomness only from `api::Rng`.
mod auth;
mod block;
mod chain;
mod cipher;
mod cookie;
mod derive;
mod dh;
mod kem;
mod natd;
mod prf;
mod suite;

pub use auth::{psk_auth, signed_octets, verify_psk_auth};
pub use cipher::{CipherError, SkKeys};
pub use cookie::Cookies;
pub use derive::{ChildKeys, EspKeys, IkeKeys, child_keys, ike_keys, skeyseed, skeyseed_rekeyed};
pub use dh::{DhError, DhPrivate};
pub use natd::nat_detection;
pub use prf::{prf, prf_plus};
pub use suite::{Additional, IkeSuite};

/// Secret bytes of any length, wiped on drop. Has no `Debug`.
pub type Secret = zeroize::Zeroizing<Vec<u8>>;

/// Compares in time that depends on the lengths alone.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    a.len() == b.len() && openssl::memcmp::eq(a, b)
}

/// A nonce of `len` bytes; RFC 7296 2.10 wants at least half the PRF's key size, and 16.
pub fn nonce(rng: &mut dyn crate::api::Rng, len: usize) -> Vec<u8> {
    let mut nonce = vec![0; len.clamp(16, 256)];
    rng.fill(&mut nonce);
    nonce
}
