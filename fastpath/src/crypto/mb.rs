//! libipsec-mb: AES-GCM and ChaCha20-Poly1305 packet by packet, AES-CBC and NULL with HMAC as one multi-buffer burst.
use super::cpu::{self, EspOp, HEADER, Keys as AnyKeys, STAGE};
use ipsec_mb::{CbcKey, ChaChaKey, ChainJob, Cipher, GcmKey, HmacAlg, HmacKey, Manager, TAG_ROOM};
use sa::{Direction, Encryption, Integrity, Suite};

/// A stage is in flight as a whole, so that one flush serves all of it.
const _: () = assert!(STAGE <= ipsec_mb::MAX_BURST);

pub enum Keys {
    Gcm(GcmKey),
    ChaCha(Box<ChaChaKey>),
    Chained {
        /// `None` is NULL encryption.
        cipher: Option<Box<CbcKey>>,
        hmac: Box<HmacKey>,
    },
}
impl Keys {
    pub fn is_chained(&self) -> bool {
        matches!(self, Self::Chained { .. })
    }
    #[inline]
    pub fn prefetch(&self, packet: usize) {
        if let Self::Gcm(key) = self {
            key.prefetch(packet);
        }
    }
}

pub struct Engine {
    manager: Manager,
    /// Takes the SHA-1 and SHA-256 jobs where the first one would not use the CPU's instructions for them.
    sha_ni: Option<Manager>,
    /// What the hash of each job of a burst gave, and what stood where it borrowed room in the packet.
    computed: Box<[[u8; TAG_ROOM]; STAGE]>,
    borrowed: Box<[[u8; 4]; STAGE]>,
    finished: [bool; STAGE],
}

pub const fn supports(suite: Suite) -> bool {
    use Encryption::{Aes128Cbc, Aes192Cbc, Aes256Cbc, ChaCha20Poly1305, Null};
    let (e, i) = (suite.encryption(), suite.integrity());
    let hashed = matches!(
        i,
        Integrity::HmacSha1 | Integrity::HmacSha256 | Integrity::HmacSha384 | Integrity::HmacSha512
    );
    e.is_aes_gcm()
        || matches!(e, ChaCha20Poly1305)
        || (hashed && matches!(e, Null | Aes128Cbc | Aes192Cbc | Aes256Cbc))
}

impl Engine {
    pub fn new() -> Result<Self, ipsec_mb::LoadError> {
        Ok(Self {
            manager: Manager::new()?,
            sha_ni: Manager::new_sha_ni()?,
            computed: Box::new([[0; TAG_ROOM]; STAGE]),
            borrowed: Box::new([[0; 4]; STAGE]),
            finished: [false; STAGE],
        })
    }
    pub fn describe(&self) -> String {
        format!("ipsec-mb {} ({})", self.manager.version(), self.manager.arch())
    }
    pub fn keys(&self, suite: Suite, enc_key: &[u8], integ_key: &[u8]) -> Option<Keys> {
        if suite.encryption() == Encryption::ChaCha20Poly1305 {
            return ChaChaKey::new(enc_key).map(|key| Keys::ChaCha(Box::new(key)));
        }
        if !supports(suite) {
            return None;
        }
        let alg = match suite.integrity() {
            Integrity::None => return self.manager.gcm_key(enc_key).map(Keys::Gcm),
            Integrity::HmacSha1 => HmacAlg::Sha1,
            Integrity::HmacSha256 => HmacAlg::Sha256,
            Integrity::HmacSha384 => HmacAlg::Sha384,
            Integrity::HmacSha512 => HmacAlg::Sha512,
            _ => return None,
        };
        let hmac = self.manager.hmac_key(alg, integ_key)?;
        let cipher = if enc_key.is_empty() { None } else { Some(self.manager.cbc_key(enc_key)?) };
        Some(Keys::Chained { cipher, hmac })
    }

    #[inline]
    pub fn seal(
        &mut self,
        keys: &Keys,
        nonce: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
        icv: &mut [u8; 16],
    ) -> bool {
        match keys {
            Keys::Gcm(key) => {
                self.manager.gcm_seal(key, nonce, aad, text, icv);
                true
            }
            Keys::ChaCha(key) => self.manager.chacha_seal(key, nonce, aad, text, icv),
            Keys::Chained { .. } => false,
        }
    }
    #[inline]
    pub fn open(
        &mut self,
        keys: &Keys,
        nonce: &[u8; 12],
        aad: &[u8],
        text: &mut [u8],
        icv: &[u8; 16],
    ) -> bool {
        let mut computed = [0; 16];
        let done = match keys {
            Keys::Gcm(key) => {
                self.manager.gcm_open(key, nonce, aad, text, &mut computed);
                true
            }
            Keys::ChaCha(key) => self.manager.chacha_open(key, nonce, aad, text, &mut computed),
            Keys::Chained { .. } => return false,
        };
        let authentic = done && cpu::same(&computed, icv);
        if !authentic {
            text.fill(0);
        }
        authentic
    }

    /// Runs those packets of a burst (at most [`STAGE`]) whose keys are chained, all side by side.
    pub fn chained(&mut self, ops: &mut [EspOp<'_>], direction: Direction) {
        let Self { manager, sha_ni, computed, borrowed, finished } = self;
        *finished = [false; STAGE];
        let mut run = |manager: &mut Manager, wanted: &mut dyn FnMut(HmacAlg) -> bool| {
            let rows = computed.iter_mut().zip(borrowed.iter_mut()).enumerate();
            let jobs = ops.iter_mut().zip(rows).filter_map(|(op, (token, (tag, borrowed)))| {
                let (cipher, hmac) = chained_keys(op, direction)?;
                if wanted(hmac.alg()) { job(op, cipher, hmac, token, tag, borrowed) } else { None }
            });
            manager.run_chained(jobs, |token, done| {
                if let Some(slot) = finished.get_mut(token) {
                    *slot = done;
                }
            });
        };
        match sha_ni {
            None => run(manager, &mut |_| true),
            Some(sha_ni) => {
                let mut others = false;
                run(sha_ni, &mut |alg| {
                    others |= !has_instructions(alg);
                    has_instructions(alg)
                });
                if others {
                    run(manager, &mut |alg| !has_instructions(alg));
                }
            }
        }
        let rows = self.computed.iter().zip(self.borrowed.iter()).zip(self.finished);
        for (op, ((computed, borrowed), finished)) in ops.iter_mut().zip(rows) {
            if chained_keys(op, direction).is_some() {
                op.ok = finished && settle(op, direction, computed, *borrowed);
            }
        }
    }
}

/// Whether CPUs with SHA instructions have one for this.
fn has_instructions(alg: HmacAlg) -> bool {
    matches!(alg, HmacAlg::Sha1 | HmacAlg::Sha256)
}

/// Describes the packet. `None` when it is too short for its suite.
#[inline(always)]
fn job<'p>(
    op: &'p mut EspOp<'_>,
    cipher: Cipher<'p>,
    hmac: &'p HmacKey,
    token: usize,
    tag: &'p mut [u8; TAG_ROOM],
    borrowed: &mut [u8; 4],
) -> Option<ChainJob<'p>> {
    let suite = op.key.suite();
    let tag_len = suite.icv_len();
    let icv_at = op.esp.len().checked_sub(tag_len)?;
    let hashed = match op.seq_high {
        None => icv_at,
        //= rfc4303#2.2.1/esn-hashed: the high half is hashed behind the trailer but not sent. It borrows the
        //= place of the ICV, which every suite makes wide enough.
        Some(high) => {
            let place = op.esp.get_mut(icv_at..)?.first_chunk_mut()?;
            *borrowed = std::mem::replace(place, high.to_be_bytes());
            icv_at + 4
        }
    };
    let data = op.esp.get_mut(..hashed)?;
    let cipher_range = HEADER + suite.iv_len()..icv_at;
    Some(ChainJob { cipher, hmac, data, cipher_range, tag, tag_len, token })
}

/// `None` for packets of a burst that are not this pass's business.
fn chained_keys<'k>(op: &EspOp<'k>, direction: Direction) -> Option<(Cipher<'k>, &'k HmacKey)> {
    let key = op.key;
    let AnyKeys::Mb(Keys::Chained { cipher, hmac }) = key.keys() else { return None };
    let cipher = match (cipher, direction) {
        _ if key.direction() != direction => return None,
        (Some(key), Direction::Outbound) => Cipher::CbcEncrypt(key),
        (Some(key), Direction::Inbound) => Cipher::CbcDecrypt(key),
        (None, Direction::Outbound) => Cipher::NullEncrypt,
        (None, Direction::Inbound) => Cipher::NullDecrypt,
    };
    Some((cipher, hmac))
}

/// Outbound: writes the ICV. Inbound: compares it, and wipes what was decrypted when it does not match.
#[inline(always)]
fn settle(op: &mut EspOp<'_>, direction: Direction, computed: &[u8; TAG_ROOM], borrowed: [u8; 4]) -> bool {
    let suite = op.key.suite();
    // Lengths as constants: copies and comparisons without calls.
    match suite.icv_len() {
        12 => settle_len::<12>(op, direction, computed, borrowed),
        16 => settle_len::<16>(op, direction, computed, borrowed),
        24 => settle_len::<24>(op, direction, computed, borrowed),
        32 => settle_len::<32>(op, direction, computed, borrowed),
        _ => false,
    }
}
#[inline(always)]
fn settle_len<const LEN: usize>(
    op: &mut EspOp<'_>,
    direction: Direction,
    computed: &[u8; TAG_ROOM],
    borrowed: [u8; 4],
) -> bool {
    let Some((text, icv)) = op.esp.split_last_chunk_mut::<LEN>() else { return false };
    let Some(computed) = computed.first_chunk::<LEN>() else { return false };
    if direction == Direction::Outbound {
        *icv = *computed;
        return true;
    }
    if op.seq_high.is_some()
        && let Some(place) = icv.first_chunk_mut()
    {
        *place = borrowed;
    }
    let authentic = cpu::same(computed, icv);
    if !authentic && let Some(text) = text.get_mut(HEADER + op.key.suite().iv_len()..) {
        text.fill(0);
    }
    authentic
}
