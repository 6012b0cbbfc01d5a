//! Crypto devices: software (libipsec-mb behind DPDK's drivers) or hardware, behind one interface.
//!
//! A [`CryptoDev`] makes [`Session`]s (keys prepared once) and gives out [`QueuePair`]s (one owner
//! each). Operations live beside packets, never inside their buffers: a packet that is dropped, kept
//! or sent takes nothing of a queue pair with it.
mod queue;
mod session;

pub use queue::{Done, Fault, Job, QueuePair, Refused, Run};
pub use session::{Direction, Session, SessionSpec};

use crate::Eal;
use crate::log::{self, Errno, Said};
use dpdk_sys as sys;
use sa::{Cipher, CipherMode, Encryption, Integrity, Suite};
use std::ffi::{CStr, CString};
use std::sync::{Arc, Mutex};

/// What to open.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CryptoDevice {
    /// libipsec-mb's GCM, one packet after another.
    AesniGcm,
    /// libipsec-mb's multi-buffer manager: AES-CBC with HMAC many packets at a time, and GCM.
    AesniMb,
    /// A device the EAL has probed already, by name: a PCI address in [`crate::EalConfig::pci`].
    Probed(String),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CryptoConfig {
    pub queue_pairs: u16,
    /// Operations in flight per queue pair, at most.
    pub depth: u32,
    /// Sessions that can exist at once.
    pub sessions: u32,
}
impl Default for CryptoConfig {
    fn default() -> Self {
        Self { queue_pairs: 1, depth: 1024, sessions: 4096 }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum CryptoError {
    #[error("crypto device `{device}`: {what} failed: {errno}{said}")]
    Driver { device: String, what: &'static str, errno: Errno, said: Said },
    #[error("crypto device `{device}` has {max} queue pairs; {asked} were asked for")]
    QueuePairs { device: String, asked: u16, max: u32 },
    #[error("crypto device `{device}` does not do {suite}")]
    Unsupported { device: String, suite: String },
    #[error("{what} needs a key of {want} bytes and got {got}")]
    KeyLength { what: &'static str, want: usize, got: usize },
}

/// What sessions and queue pairs share. Devices live until the process ends.
pub(crate) struct Device {
    id: u8,
    name: String,
    sessions: *mut sys::rte_mempool,
    /// Sessions are made, freed and wiped one at a time.
    lock: Mutex<()>,
}
// SAFETY: the pool is made for many threads; everything else is plain data.
unsafe impl Send for Device {}
// SAFETY: as above.
unsafe impl Sync for Device {}

/// A started crypto device.
pub struct CryptoDev {
    device: Arc<Device>,
}

impl CryptoDev {
    /// Opens, configures and starts the device, and gives out its queue pairs.
    pub fn open(
        _eal: &Eal,
        what: &CryptoDevice,
        config: &CryptoConfig,
    ) -> Result<(Self, Vec<QueuePair>), CryptoError> {
        let (id, name) = probe(what)?;
        let check = |code: i32, what| match code {
            code if code < 0 => Err(failed(&name, what, Errno::from_negative(code))),
            _ => Ok(()),
        };
        let mut info = sys::rte_cryptodev_info::default();
        // SAFETY: the device exists; room for the answer.
        unsafe { sys::rte_cryptodev_info_get(id, &raw mut info) };
        if config.queue_pairs == 0 || u32::from(config.queue_pairs) > info.max_nb_queue_pairs {
            let (asked, max) = (config.queue_pairs, info.max_nb_queue_pairs);
            return Err(CryptoError::QueuePairs { device: name, asked, max });
        }
        log::begin();
        // SAFETY: the device exists.
        let socket = unsafe { sys::rte_cryptodev_socket_id(id) };
        let mut conf = sys::rte_cryptodev_config {
            socket_id: socket,
            nb_queue_pairs: config.queue_pairs,
            ff_disable: info.feature_flags & sys::ESPWAY_CRYPTO_UNUSED,
        };
        // SAFETY: the device exists and is not started; the configuration outlives the call.
        check(unsafe { sys::rte_cryptodev_configure(id, &raw mut conf) }, "configuring")?;
        let sessions = session_pool(id, &name, config.sessions, socket)?;
        let qp_conf = sys::rte_cryptodev_qp_conf { nb_descriptors: config.depth, mp_session: sessions };
        for qp in 0..config.queue_pairs {
            // SAFETY: configured with more queue pairs than `qp`; the pool lives for ever.
            let code = unsafe { sys::rte_cryptodev_queue_pair_setup(id, qp, &raw const qp_conf, socket) };
            check(code, "setting up a queue pair")?;
        }
        // SAFETY: all queue pairs are set up.
        check(unsafe { sys::rte_cryptodev_start(id) }, "starting")?;
        let device = Arc::new(Device { id, name, sessions, lock: Mutex::new(()) });
        let pairs = (0..config.queue_pairs)
            .map(|qp| QueuePair::new(Arc::clone(&device), qp, config.depth, socket))
            .collect::<Result<Vec<_>, _>>()?;
        Ok((Self { device }, pairs))
    }

    pub fn name(&self) -> &str {
        &self.device.name
    }
    /// Whether the driver does this suite with ESP's lengths of keys, IV, AAD and ICV.
    pub fn supports(&self, suite: Suite) -> bool {
        self.device.supports(suite)
    }
    /// Prepares keys. They are copied; the caller wipes its own.
    pub fn session(&self, spec: &SessionSpec<'_>) -> Result<Session, CryptoError> {
        Session::new(&self.device, spec)
    }
}

impl Device {
    fn supports(&self, suite: Suite) -> bool {
        let (encryption, integrity) = (suite.encryption(), suite.integrity());
        let key = encryption.key_len() as u16;
        if encryption.is_aead() {
            let icv = encryption.icv_len() as u16;
            let cap = aead_algorithm(encryption).and_then(|algo| self.capability(aead_index(algo)));
            // SAFETY: `capability` returns a live capability of an AEAD, or null, which is not checked.
            return cap.is_some_and(|cap| unsafe {
                let check = |aad| sys::rte_cryptodev_sym_capability_check_aead(cap, key, icv, aad, 12) == 0;
                check(8) && check(12)
            });
        }
        let algo = cipher_algorithm(encryption);
        let cipher = encryption == Encryption::Null
            // SAFETY: as above, of a cipher.
            || algo.and_then(|algo| self.capability(cipher_index(algo))).is_some_and(|cap| unsafe {
                sys::rte_cryptodev_sym_capability_check_cipher(cap, key, cipher_iv_len(encryption)) == 0
            });
        let (akey, icv) = (integrity.key_len() as u16, integrity.icv_len() as u16);
        let auth = auth_algorithm(integrity).and_then(|algo| self.capability(auth_index(algo)));
        // SAFETY: as above, of an authentication algorithm.
        cipher
            && auth.is_some_and(|cap| unsafe {
                sys::rte_cryptodev_sym_capability_check_auth(cap, akey, icv, 0) == 0
            })
    }
    fn capability(
        &self,
        index: sys::rte_cryptodev_sym_capability_idx,
    ) -> Option<*const sys::rte_cryptodev_symmetric_capability> {
        // SAFETY: the device exists; the answer points into static tables of the driver.
        let cap = unsafe { sys::rte_cryptodev_sym_capability_get(self.id, &raw const index) };
        (!cap.is_null()).then_some(cap)
    }
}

/// `None`: the CPU engines have it. CCM's nonce and additional data lie at odd places of an operation, and GMAC hashes
/// more than lies in one piece.
pub(crate) fn aead_algorithm(encryption: Encryption) -> Option<sys::rte_crypto_aead_algorithm> {
    match encryption.mode() {
        CipherMode::ChaCha20Poly1305 => Some(sys::RTE_CRYPTO_AEAD_CHACHA20_POLY1305),
        CipherMode::Gcm => Some(sys::RTE_CRYPTO_AEAD_AES_GCM),
        _ => None,
    }
}
pub(crate) fn cipher_algorithm(encryption: Encryption) -> Option<sys::rte_crypto_cipher_algorithm> {
    match (encryption.cipher(), encryption.mode()) {
        (Cipher::Aes, CipherMode::Cbc) => Some(sys::RTE_CRYPTO_CIPHER_AES_CBC),
        (Cipher::Aes, CipherMode::Ctr) => Some(sys::RTE_CRYPTO_CIPHER_AES_CTR),
        (Cipher::Des, _) => Some(sys::RTE_CRYPTO_CIPHER_DES_CBC),
        (Cipher::TripleDes, _) => Some(sys::RTE_CRYPTO_CIPHER_3DES_CBC),
        _ => None,
    }
}
/// As an operation has it: CTR wants its whole first counter block.
pub(crate) fn cipher_iv_len(encryption: Encryption) -> u16 {
    if encryption.mode() == CipherMode::Ctr { 16 } else { encryption.iv_len() as u16 }
}
fn aead_index(algo: sys::rte_crypto_aead_algorithm) -> sys::rte_cryptodev_sym_capability_idx {
    let mut index =
        sys::rte_cryptodev_sym_capability_idx { type_: sys::RTE_CRYPTO_SYM_XFORM_AEAD, ..Default::default() };
    index.algo.aead = algo;
    index
}
fn cipher_index(algo: sys::rte_crypto_cipher_algorithm) -> sys::rte_cryptodev_sym_capability_idx {
    let mut index = sys::rte_cryptodev_sym_capability_idx {
        type_: sys::RTE_CRYPTO_SYM_XFORM_CIPHER,
        ..Default::default()
    };
    index.algo.cipher = algo;
    index
}
fn auth_index(algo: sys::rte_crypto_auth_algorithm) -> sys::rte_cryptodev_sym_capability_idx {
    let mut index =
        sys::rte_cryptodev_sym_capability_idx { type_: sys::RTE_CRYPTO_SYM_XFORM_AUTH, ..Default::default() };
    index.algo.auth = algo;
    index
}
pub(crate) fn auth_algorithm(integrity: Integrity) -> Option<sys::rte_crypto_auth_algorithm> {
    match integrity {
        Integrity::None => None,
        Integrity::HmacSha1 => Some(sys::RTE_CRYPTO_AUTH_SHA1_HMAC),
        Integrity::HmacSha256 => Some(sys::RTE_CRYPTO_AUTH_SHA256_HMAC),
        Integrity::HmacSha384 => Some(sys::RTE_CRYPTO_AUTH_SHA384_HMAC),
        Integrity::HmacSha512 => Some(sys::RTE_CRYPTO_AUTH_SHA512_HMAC),
        Integrity::HmacMd5 => Some(sys::RTE_CRYPTO_AUTH_MD5_HMAC),
        Integrity::AesXcbc => Some(sys::RTE_CRYPTO_AUTH_AES_XCBC_MAC),
        Integrity::AesCmac => Some(sys::RTE_CRYPTO_AUTH_AES_CMAC),
        // AH's alone.
        Integrity::Aes128Gmac | Integrity::Aes192Gmac | Integrity::Aes256Gmac => None,
    }
}

fn failed(device: &str, what: &'static str, errno: Errno) -> CryptoError {
    CryptoError::Driver { device: device.into(), what, errno, said: log::said() }
}

fn probe(what: &CryptoDevice) -> Result<(u8, String), CryptoError> {
    let (name, make) = match what {
        CryptoDevice::AesniGcm => ("crypto_aesni_gcm", true),
        CryptoDevice::AesniMb => ("crypto_aesni_mb", true),
        CryptoDevice::Probed(name) => (name.as_str(), false),
    };
    log::begin();
    let text = CString::new(name).map_err(|_| failed(name, "probing", Errno(libc::EINVAL)))?;
    if make && find(&text).is_none() {
        // SAFETY: C texts that outlive the call; the EAL runs.
        let code = unsafe { sys::rte_eal_hotplug_add(c"vdev".as_ptr(), text.as_ptr(), c"".as_ptr()) };
        if code != 0 {
            return Err(failed(name, "probing", Errno::from_negative(code)));
        }
    }
    let id = find(&text).ok_or_else(|| failed(name, "probing", Errno(libc::ENODEV)))?;
    Ok((id, name.into()))
}

fn find(name: &CStr) -> Option<u8> {
    // SAFETY: a C text.
    u8::try_from(unsafe { sys::rte_cryptodev_get_dev_id(name.as_ptr()) }).ok()
}

fn session_pool(
    id: u8,
    device: &str,
    sessions: u32,
    socket: i32,
) -> Result<*mut sys::rte_mempool, CryptoError> {
    let text = format!("crypto{id}_sess");
    let name = CString::new(text).map_err(|_| failed(device, "naming its pool", Errno(libc::EINVAL)))?;
    // SAFETY: the device exists.
    let size = unsafe { sys::rte_cryptodev_sym_get_private_session_size(id) };
    // SAFETY: a C text that is copied.
    let pool =
        unsafe { sys::rte_cryptodev_sym_session_pool_create(name.as_ptr(), sessions, size, 0, 0, socket) };
    if pool.is_null() { Err(failed(device, "making its pool of sessions", Errno::last())) } else { Ok(pool) }
}
