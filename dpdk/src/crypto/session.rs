//! Keys of one SA and direction, prepared for a device.
use super::queue::{AAD_OFFSET_IN_TAIL, IV_OFFSET};
use super::{CryptoError, Device, aead_algorithm, auth_algorithm, cipher_algorithm, cipher_iv_len, failed};
use crate::log::{self, Errno};
use dpdk_sys as sys;
use sa::{Encryption, Suite};
use std::ptr::NonNull;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering, fence};

const _: () = assert!(AAD_OFFSET_IN_TAIL == 16);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Encrypt, then make the ICV.
    Seal,
    /// Check the ICV, then decrypt.
    Open,
}

/// No `Debug`: it holds keys.
pub struct SessionSpec<'k> {
    pub suite: Suite,
    pub direction: Direction,
    /// Without the salt, which is the beginning of a job's nonce.
    pub cipher_key: &'k [u8],
    /// Empty for an AEAD.
    pub auth_key: &'k [u8],
    /// The AAD of an AEAD has 12 bytes instead of 8 (RFC 4106 5).
    pub esn: bool,
}

/// What jobs of the session have in common.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Shape {
    pub aead: bool,
    pub cipher: bool,
    /// The ciphertext is whole blocks of so many bytes.
    pub block: u8,
    pub aad_len: u8,
    pub icv_len: u8,
}

/// Counted by handles and by operations in flight; the last one frees and wipes.
pub(super) struct Inner {
    refs: AtomicUsize,
    pub raw: *mut std::ffi::c_void,
    pub device: Arc<Device>,
    pub shape: Shape,
}

/// A handle; clones name the same session.
pub struct Session(NonNull<Inner>);
// SAFETY: the count is atomic and everything else constant; drivers only read a session in use.
unsafe impl Send for Session {}
// SAFETY: as above.
unsafe impl Sync for Session {}

impl Session {
    pub(super) fn new(device: &Arc<Device>, spec: &SessionSpec<'_>) -> Result<Self, CryptoError> {
        let (encryption, integrity) = (spec.suite.encryption(), spec.suite.integrity());
        let key = |what, want, got: &[u8]| match got.len() {
            got if got != want => Err(CryptoError::KeyLength { what, want, got }),
            _ => Ok(()),
        };
        key(encryption.name(), encryption.key_len(), spec.cipher_key)?;
        key(integrity.name(), integrity.key_len(), spec.auth_key)?;
        let unsupported =
            || CryptoError::Unsupported { device: device.name.clone(), suite: spec.suite.to_string() };
        if !device.supports(spec.suite) {
            return Err(unsupported());
        }
        let shape = Shape {
            aead: encryption.is_aead(),
            cipher: encryption != Encryption::Null,
            block: encryption.block_len() as u8,
            aad_len: if spec.esn { 12 } else { 8 },
            icv_len: spec.suite.icv_len() as u8,
        };
        let seal = spec.direction == Direction::Seal;
        let mut first = sys::rte_crypto_sym_xform::default();
        let mut second = sys::rte_crypto_sym_xform::default();
        if shape.aead {
            let algo = aead_algorithm(encryption).ok_or_else(unsupported)?;
            aead_transform(&mut first, spec, algo, seal, shape);
        } else {
            let auth = auth_algorithm(integrity).ok_or_else(unsupported)?;
            let algo =
                cipher_algorithm(encryption).or((!shape.cipher).then_some(sys::RTE_CRYPTO_CIPHER_NULL));
            let algo = algo.ok_or_else(unsupported)?;
            match (shape.cipher, seal) {
                (false, _) => auth_transform(&mut first, spec, auth, seal, shape),
                (true, true) => {
                    cipher_transform(&mut first, spec, algo, seal);
                    auth_transform(&mut second, spec, auth, seal, shape);
                    first.next = &raw mut second;
                }
                (true, false) => {
                    auth_transform(&mut first, spec, auth, seal, shape);
                    cipher_transform(&mut second, spec, algo, seal);
                    first.next = &raw mut second;
                }
            }
        }
        let guard = device.lock.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        log::begin();
        // SAFETY: a started device and its own pool; the transforms and keys outlive the call, which
        // copies what it needs.
        let raw =
            unsafe { sys::rte_cryptodev_sym_session_create(device.id, &raw mut first, device.sessions) };
        drop(guard);
        if raw.is_null() {
            return Err(failed(&device.name, "making a session", Errno::last()));
        }
        let inner = Inner { refs: AtomicUsize::new(1), raw, device: Arc::clone(device), shape };
        Ok(Self(NonNull::from(Box::leak(Box::new(inner)))))
    }
    pub(super) fn inner(&self) -> &Inner {
        // SAFETY: this handle is counted, so the session is alive.
        unsafe { self.0.as_ref() }
    }
    pub(super) fn as_ptr(&self) -> NonNull<Inner> {
        self.0
    }
}

impl Inner {
    /// Counts `n` more users; the caller is one.
    #[inline]
    pub fn hold(&self, n: usize) {
        self.refs.fetch_add(n, Ordering::Relaxed);
    }
    /// Gives up `n` users' claims.
    ///
    /// # Safety
    /// The claims exist, and whoever held them does not use the session after this.
    #[inline]
    pub unsafe fn release(this: NonNull<Self>, n: usize) {
        // SAFETY: alive, since `n` claims are still held.
        if unsafe { this.as_ref() }.refs.fetch_sub(n, Ordering::Release) == n {
            fence(Ordering::Acquire);
            // SAFETY: the last claim is gone, and the box was leaked in `new`.
            drop(unsafe { Box::from_raw(this.as_ptr()) });
        }
    }
}
impl Drop for Inner {
    fn drop(&mut self) {
        let _guard = self.device.lock.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        // SAFETY: a session of this device that nobody uses.
        if unsafe { sys::rte_cryptodev_sym_session_free(self.device.id, self.raw) } != 0 {
            return;
        }
        // SAFETY: an element of the pool, back in it; `lock` keeps everybody from taking it before
        // it is wiped, and a new session is written over it from the start.
        unsafe {
            let len = (*self.device.sessions).elt_size as usize;
            for at in 0..len {
                self.raw.cast::<u8>().add(at).write_volatile(0);
            }
        }
    }
}
impl Clone for Session {
    fn clone(&self) -> Self {
        self.inner().hold(1);
        Self(self.0)
    }
}
impl Drop for Session {
    fn drop(&mut self) {
        // SAFETY: this handle's claim.
        unsafe { Inner::release(self.0, 1) };
    }
}

fn aead_transform(
    x: &mut sys::rte_crypto_sym_xform,
    spec: &SessionSpec<'_>,
    algo: sys::rte_crypto_aead_algorithm,
    seal: bool,
    shape: Shape,
) {
    x.type_ = sys::RTE_CRYPTO_SYM_XFORM_AEAD;
    let mut aead = sys::rte_crypto_aead_xform {
        op: if seal { sys::RTE_CRYPTO_AEAD_OP_ENCRYPT } else { sys::RTE_CRYPTO_AEAD_OP_DECRYPT },
        algo,
        digest_length: shape.icv_len.into(),
        aad_length: shape.aad_len.into(),
        ..Default::default()
    };
    aead.key.data = spec.cipher_key.as_ptr();
    aead.key.length = spec.cipher_key.len() as u16;
    aead.iv.offset = IV_OFFSET;
    aead.iv.length = 12;
    x.__bindgen_anon_1.aead = aead;
}
fn cipher_transform(
    x: &mut sys::rte_crypto_sym_xform,
    spec: &SessionSpec<'_>,
    algo: sys::rte_crypto_cipher_algorithm,
    seal: bool,
) {
    x.type_ = sys::RTE_CRYPTO_SYM_XFORM_CIPHER;
    let mut cipher = sys::rte_crypto_cipher_xform {
        op: if seal { sys::RTE_CRYPTO_CIPHER_OP_ENCRYPT } else { sys::RTE_CRYPTO_CIPHER_OP_DECRYPT },
        algo,
        ..Default::default()
    };
    cipher.key.data = spec.cipher_key.as_ptr();
    cipher.key.length = spec.cipher_key.len() as u16;
    cipher.iv.offset = IV_OFFSET;
    cipher.iv.length = cipher_iv_len(spec.suite.encryption());
    x.__bindgen_anon_1.cipher = cipher;
}
fn auth_transform(
    x: &mut sys::rte_crypto_sym_xform,
    spec: &SessionSpec<'_>,
    algo: sys::rte_crypto_auth_algorithm,
    seal: bool,
    shape: Shape,
) {
    x.type_ = sys::RTE_CRYPTO_SYM_XFORM_AUTH;
    let mut auth = sys::rte_crypto_auth_xform {
        op: if seal { sys::RTE_CRYPTO_AUTH_OP_GENERATE } else { sys::RTE_CRYPTO_AUTH_OP_VERIFY },
        algo,
        digest_length: shape.icv_len.into(),
        ..Default::default()
    };
    auth.key.data = spec.auth_key.as_ptr();
    auth.key.length = spec.auth_key.len() as u16;
    x.__bindgen_anon_1.auth = auth;
}
