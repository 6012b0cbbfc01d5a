//! Safe wrapper over libipsec-mb 1.x: AES-GCM and ChaCha20-Poly1305 packet by
//! packet, AES-CBC with HMAC in multi-buffer bursts.
//!
//! A [`Manager`] belongs to one worker. Keys are expanded once per SA ([`GcmKey`], [`CbcKey`], [`HmacKey`]), may
//! be shared between workers and are wiped on drop. The library is opened at run time ([`Library::get`]), so a
//! binary starts on machines that lack it.
mod key;
mod library;
mod manager;
mod self_test;
#[doc(hidden)]
pub mod sys;

pub use key::{AesKey, CbcKey, ChaChaKey, GcmKey, HmacAlg, HmacKey};
pub use library::{Library, LoadError};
pub use manager::{Arch, ChainJob, Cipher, Manager, TAG_ROOM};

/// Jobs of one burst that are sure to be in flight together.
pub const MAX_BURST: usize = sys::MAX_BURST_SIZE;
