//! The floor: libipsec-mb on the ESP plaintexts of the same packets, nothing around it. AES-GCM in one call per packet,
//! ChaCha20-Poly1305 as one job per packet, AES-CBC with HMAC as jobs side by side, all packets of the sample with one flush at the end.
use crate::case::{BUFFERS, Case, Direction, Label};
use crate::engine::Slab;
use anyhow::{Context, Result, ensure};
use ipsec_mb::{CbcKey, ChaChaKey, ChainJob, Cipher, GcmKey, HmacAlg, HmacKey, Mac, Manager, TAG_ROOM};
use sa::{Encryption, Integrity, Suite};

pub struct Floor {
    label: Label,
    suite: Suite,
    manager: Manager,
    keys: Keys,
    slab: Slab,
    tags: Vec<[u8; TAG_ROOM]>,
}
enum Keys {
    Gcm(GcmKey),
    ChaCha(ChaChaKey),
    Cbc { cipher: Box<CbcKey>, hmac: Box<HmacKey> },
}

impl Floor {
    /// `None` for suites that this says nothing about.
    pub fn new(suite: Suite, direction: Direction, bytes: usize) -> Result<Option<Self>> {
        let (encryption, integrity) = (suite.encryption(), suite.integrity());
        let cipher_key = vec![0x11; encryption.key_len()];
        let mut manager = Manager::new()?;
        let keys = match integrity {
            Integrity::None if encryption == Encryption::ChaCha20Poly1305 => {
                ChaChaKey::new(&cipher_key).map(Keys::ChaCha)
            }
            Integrity::None if encryption.is_aes_gcm() => manager.gcm_key(&cipher_key).map(Keys::Gcm),
            Integrity::HmacSha256
                if matches!(
                    encryption,
                    Encryption::Aes128Cbc | Encryption::Aes192Cbc | Encryption::Aes256Cbc
                ) =>
            {
                // The one that is faster here, as the engine has it.
                if let Some(sha_ni) = Manager::new_sha_ni()? {
                    manager = sha_ni;
                }
                let hmac = manager.hmac_key(HmacAlg::Sha256, &vec![0x33; integrity.key_len()]);
                let hmac = hmac.context("a key for HMAC-SHA-256")?;
                manager.cbc_key(&cipher_key).map(|cipher| Keys::Cbc { cipher, hmac })
            }
            _ => None,
        };
        let Some(keys) = keys else { return Ok(None) };
        let label = Label {
            direction,
            suite: suite.to_string(),
            engine: "libipsec-mb".into(),
            mode: "floor",
            sas: 1,
            policies: 0,
            workers: 1,
            buffers: BUFFERS,
            lookup: "none",
            bytes,
        };
        let (slab, tags) = (Slab::new(suite, bytes), vec![[0; TAG_ROOM]; BUFFERS]);
        Ok(Some(Self { label, suite, manager, keys, slab, tags }))
    }
}

impl Case for Floor {
    fn label(&self) -> &Label {
        &self.label
    }
    fn prepare(&mut self) -> Result<()> {
        self.tags.fill([0; TAG_ROOM]);
        Ok(())
    }
    fn run(&mut self) {
        let Self { label, suite, manager, keys, slab, tags } = self;
        let out = label.direction == Direction::Out;
        match keys {
            Keys::Gcm(_) | Keys::ChaCha(_) => {
                for (esp, tag) in slab.packets().zip(tags) {
                    let Some((head, rest)) = esp.split_first_chunk_mut::<16>() else { continue };
                    let Some((text, _)) = rest.split_last_chunk_mut::<16>() else { continue };
                    let aad = head.first_chunk::<8>().unwrap_or(&[0; 8]);
                    let Some(tag) = tag.first_chunk_mut::<16>() else { continue };
                    match keys {
                        Keys::Gcm(key) if out => manager.gcm_seal(key, &NONCE, aad, text, tag),
                        Keys::Gcm(key) => manager.gcm_open(key, &NONCE, aad, text, tag),
                        Keys::ChaCha(key) if out => drop(manager.chacha_seal(key, &NONCE, aad, text, tag)),
                        Keys::ChaCha(key) => drop(manager.chacha_open(key, &NONCE, aad, text, tag)),
                        Keys::Cbc { .. } => (),
                    }
                }
            }
            Keys::Cbc { cipher, hmac } => {
                let tag_len = suite.icv_len();
                let jobs = slab.packets().zip(tags).enumerate().map(|(token, (esp, tag))| {
                    let len = esp.len() - tag_len;
                    let data = &mut esp[..len];
                    let cipher = if out { Cipher::CbcEncrypt(cipher) } else { Cipher::CbcDecrypt(cipher) };
                    ChainJob {
                        cipher,
                        mac: Mac::Hmac(hmac),
                        data,
                        cipher_range: 8 + 16..len,
                        tag,
                        tag_len,
                        token,
                    }
                });
                manager.run_chained(jobs, |_, _| ());
            }
        }
    }
    fn check(&mut self) -> Result<()> {
        ensure!(self.tags.iter().all(|tag| *tag != [0; TAG_ROOM]), "libipsec-mb left a tag unwritten");
        Ok(())
    }
}

/// Written long before it is read; a path has to assemble its own.
const NONCE: [u8; 12] = [0x22; 12];
