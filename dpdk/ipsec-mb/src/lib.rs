//! Safe wrapper over libipsec-mb 1.x: AES-GCM, AES-GMAC and ChaCha20-Poly1305 packet by packet; AES-CBC, AES-CTR, AES-CCM
//! and DES with HMAC, XCBC and CMAC in multi-buffer bursts.
//!
//! A [`Manager`] belongs to one worker. Keys are expanded once per SA ([`GcmKey`], [`CbcKey`], [`HmacKey`]), may
//! be shared between workers and are wiped on drop. The library is opened at run time ([`Library::get`]), so a
//! binary starts on machines that lack it.
mod job;
mod key;
mod library;
mod manager;
mod self_test;
#[doc(hidden)]
pub mod sys;

pub use job::{ChainJob, Cipher, Mac, TAG_ROOM};
pub use key::{AesKey, CbcKey, ChaChaKey, ChainAlg, ChainKey, DesKey, GcmKey, HmacAlg, HmacKey};
pub use library::{Library, LoadError};
pub use manager::{Arch, Manager};

/// Jobs of one burst that are sure to be in flight together.
pub const MAX_BURST: usize = sys::MAX_BURST_SIZE;
