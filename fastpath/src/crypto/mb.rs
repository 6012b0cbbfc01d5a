//! libipsec-mb: AES-GCM, AES-GMAC and ChaCha20-Poly1305 packet by packet, all else as one multi-buffer burst.
use super::cpu::{self, EspOp, HEADER, Keys as AnyKeys, STAGE};
use ipsec_mb::{
    CbcKey, ChaChaKey, ChainAlg, ChainJob, ChainKey, Cipher, DesKey, GcmKey, HmacAlg, HmacKey, Mac, Manager,
    TAG_ROOM,
};
use sa::{CipherMode, Direction, Integrity, MacKind, Suite};

/// A stage is in flight as a whole, so that one flush serves all of it.
const _: () = assert!(STAGE <= ipsec_mb::MAX_BURST);

pub enum Keys {
    Gcm(GcmKey),
    ChaCha(Box<ChaChaKey>),
    /// AES-GCM whose ICV is cut, and AES-GMAC.
    Alone(GcmKey),
    /// The suites most packets are under.
    Chained {
        /// `None` is NULL encryption.
        cipher: Option<Box<CbcKey>>,
        hmac: Box<HmacKey>,
    },
    /// All others that run side by side.
    Odd(Box<Odd>),
}
pub struct Odd {
    cipher: OddCipher,
    mac: OddMac,
}
enum OddCipher {
    Null,
    Cbc(Box<CbcKey>),
    Ctr(Box<CbcKey>),
    Ccm(Box<CbcKey>),
    Des(Box<DesKey>),
}
enum OddMac {
    Hmac(Box<HmacKey>),
    Chain(Box<ChainKey>),
    OfCipher,
}
impl Keys {
    pub fn is_chained(&self) -> bool {
        matches!(self, Self::Chained { .. } | Self::Odd(_))
    }
    /// Runs through [`Engine::alone`].
    pub fn is_alone(&self) -> bool {
        matches!(self, Self::Alone(_))
    }
    #[inline]
    pub fn prefetch(&self, packet: usize) {
        if let Self::Gcm(key) = self {
            key.prefetch(packet);
        }
    }
}

/// The library has neither Blowfish, Twofish nor Camellia, and no CCM under keys of 192 bits.
pub const fn supports(suite: Suite) -> bool {
    let encryption = suite.encryption();
    let cipher = match encryption.cipher() {
        sa::Cipher::Blowfish | sa::Cipher::Twofish | sa::Cipher::Camellia => false,
        sa::Cipher::Aes => !(matches!(encryption.mode(), CipherMode::Ccm) && encryption.key_len() == 24),
        _ => true,
    };
    cipher && suite.is_protected() && !matches!(suite.integrity().kind(), MacKind::Gmac)
}
const fn hmac_alg(integrity: Integrity) -> Option<HmacAlg> {
    match integrity {
        Integrity::HmacMd5 => Some(HmacAlg::Md5),
        Integrity::HmacSha1 => Some(HmacAlg::Sha1),
        Integrity::HmacSha256 => Some(HmacAlg::Sha256),
        Integrity::HmacSha384 => Some(HmacAlg::Sha384),
        Integrity::HmacSha512 => Some(HmacAlg::Sha512),
        _ => None,
    }
}

pub struct Engine {
    manager: Manager,
    /// Takes the SHA-1 and SHA-256 jobs where the first one would not use the CPU's instructions for them.
    sha_ni: Option<Manager>,
    /// What the hash of each job of a burst gave, and what stood where it borrowed room in the packet.
    computed: Box<[[u8; TAG_ROOM]; STAGE]>,
    borrowed: Box<[[u8; 4]; STAGE]>,
    /// Nonces and additional data of odd suites.
    odd: Box<[Beside; STAGE]>,
    finished: [bool; STAGE],
}
#[derive(Clone, Copy, Default)]
struct Beside {
    nonce: [u8; 12],
    aad: [u8; 12],
}

impl Engine {
    pub fn new() -> Result<Self, ipsec_mb::LoadError> {
        Ok(Self {
            manager: Manager::new()?,
            sha_ni: Manager::new_sha_ni()?,
            computed: Box::new([[0; TAG_ROOM]; STAGE]),
            borrowed: Box::new([[0; 4]; STAGE]),
            odd: Box::new([Beside::default(); STAGE]),
            finished: [false; STAGE],
        })
    }
    pub fn describe(&self) -> String {
        format!("ipsec-mb {} ({})", self.manager.version(), self.manager.arch())
    }
    pub fn keys(&self, suite: Suite, enc_key: &[u8], integ_key: &[u8]) -> Option<Keys> {
        let (encryption, manager) = (suite.encryption(), &self.manager);
        match encryption.mode() {
            _ if !supports(suite) => return None,
            CipherMode::ChaCha20Poly1305 => {
                return ChaChaKey::new(enc_key).map(|key| Keys::ChaCha(Box::new(key)));
            }
            CipherMode::Gcm | CipherMode::Gmac => {
                let make = if encryption.is_aes_gcm() { Keys::Gcm } else { Keys::Alone };
                return manager.gcm_key(enc_key).map(make);
            }
            _ => (),
        }
        let hmac = match hmac_alg(suite.integrity()) {
            Some(alg) => Some(manager.hmac_key(alg, integ_key)?),
            None => None,
        };
        let odd = |cipher, hmac: Option<_>| {
            let chain = |alg| manager.chain_key(alg, integ_key).map(OddMac::Chain);
            let mac = match (hmac, suite.integrity()) {
                (Some(hmac), _) => OddMac::Hmac(hmac),
                (None, Integrity::AesXcbc) => chain(ChainAlg::AesXcbc)?,
                (None, Integrity::AesCmac) => chain(ChainAlg::AesCmac)?,
                (None, _) => OddMac::OfCipher,
            };
            Some(Keys::Odd(Box::new(Odd { cipher, mac })))
        };
        let aes = || manager.cbc_key(enc_key);
        match (encryption.cipher(), encryption.mode(), hmac) {
            (sa::Cipher::Null, _, Some(hmac)) => Some(Keys::Chained { cipher: None, hmac }),
            (sa::Cipher::Null, _, None) => odd(OddCipher::Null, None),
            (sa::Cipher::Aes, CipherMode::Cbc, Some(hmac)) => {
                aes().map(|key| Keys::Chained { cipher: Some(key), hmac })
            }
            (sa::Cipher::Aes, CipherMode::Ctr, hmac) => odd(OddCipher::Ctr(aes()?), hmac),
            (sa::Cipher::Aes, CipherMode::Ccm, hmac) => odd(OddCipher::Ccm(aes()?), hmac),
            (sa::Cipher::Aes, _, hmac) => odd(OddCipher::Cbc(aes()?), hmac),
            (_, _, hmac) => odd(OddCipher::Des(manager.des_key(enc_key)?), hmac),
        }
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
            Keys::Chained { .. } | Keys::Odd(_) | Keys::Alone(_) => false,
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
            Keys::Chained { .. } | Keys::Odd(_) | Keys::Alone(_) => return false,
        };
        let authentic = done && cpu::same(&computed, icv);
        if !authentic {
            text.fill(0);
        }
        authentic
    }

    /// One packet of a key that [`Keys::is_alone`].
    #[inline(never)]
    pub fn alone(
        &mut self,
        keys: &Keys,
        suite: Suite,
        direction: Direction,
        (nonce, aad): (&[u8; 12], &[u8]),
        esp: &mut [u8],
    ) -> bool {
        let Keys::Alone(key) = keys else { return false };
        let text_at = HEADER + suite.iv_len();
        let icv_at = esp.len().checked_sub(suite.icv_len()).filter(|at| *at >= text_at);
        let Some((body, icv)) = icv_at.and_then(|at| esp.split_at_mut_checked(at)) else { return false };
        let Some((head, text)) = body.split_at_mut_checked(text_at) else { return false };
        let mut tag = [0; 16];
        let seals = direction == Direction::Outbound;
        if suite.encryption().mode() == CipherMode::Gmac {
            //= rfc4543#3.3/aad: SPI, all of the sequence number, the IV, and what is not encrypted.
            let iv = head.get(HEADER..).unwrap_or_default();
            self.manager.gmac(key, nonce, &[aad, iv, text], &mut tag);
        } else if seals {
            self.manager.gcm_seal(key, nonce, aad, text, &mut tag);
        } else {
            self.manager.gcm_open(key, nonce, aad, text, &mut tag);
        }
        let Some(tag) = tag.get(..icv.len()) else { return false };
        if seals {
            icv.copy_from_slice(tag);
            return true;
        }
        let authentic = cpu::same(tag, icv);
        if !authentic {
            text.fill(0);
        }
        authentic
    }

    /// Runs those packets of a burst (at most [`STAGE`]) whose keys are chained, all side by side.
    pub fn chained(&mut self, ops: &mut [EspOp<'_>], direction: Direction) {
        let Self { manager, sha_ni, computed, borrowed, odd, finished } = self;
        *finished = [false; STAGE];
        let mut run = |manager: &mut Manager, wanted: &mut dyn FnMut(Option<HmacAlg>) -> bool| {
            let rows = computed.iter_mut().zip(borrowed.iter_mut()).zip(odd.iter_mut()).enumerate();
            let jobs =
                ops.iter_mut().zip(rows).filter_map(|(op, (token, ((tag, borrowed), odd)))| match keys_for(
                    op, direction,
                )? {
                    Keys::Chained { cipher, hmac } if wanted(Some(hmac.alg())) => {
                        let cipher = match (cipher, direction) {
                            (Some(key), Direction::Outbound) => Cipher::CbcEncrypt(key),
                            (Some(key), Direction::Inbound) => Cipher::CbcDecrypt(key),
                            (None, Direction::Outbound) => Cipher::NullEncrypt,
                            (None, Direction::Inbound) => Cipher::NullDecrypt,
                        };
                        job(op, cipher, Mac::Hmac(hmac), token, tag, borrowed)
                    }
                    Keys::Odd(keys) if wanted(keys.hmac()) => {
                        odd_job(op, keys, direction, token, tag, borrowed, odd)
                    }
                    _ => None,
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
            if keys_for(op, direction).is_some() {
                op.ok = finished && settle(op, direction, computed, *borrowed);
            }
        }
    }
}

impl Odd {
    fn hmac(&self) -> Option<HmacAlg> {
        match &self.mac {
            OddMac::Hmac(key) => Some(key.alg()),
            OddMac::Chain(_) | OddMac::OfCipher => None,
        }
    }
}

/// Whether CPUs with SHA instructions have one for this.
fn has_instructions(alg: Option<HmacAlg>) -> bool {
    matches!(alg, Some(HmacAlg::Sha1 | HmacAlg::Sha256))
}

/// Describes the packet. `None` when it is too short for its suite.
#[inline(always)]
fn job<'p>(
    op: &'p mut EspOp<'_>,
    cipher: Cipher<'p>,
    mac: Mac<'p>,
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
    Some(ChainJob { cipher, mac, data, cipher_range, tag, tag_len, token })
}

/// The same for suites that need more than that.
#[inline(never)]
fn odd_job<'p>(
    op: &'p mut EspOp<'_>,
    keys: &'p Odd,
    direction: Direction,
    token: usize,
    tag: &'p mut [u8; TAG_ROOM],
    borrowed: &mut [u8; 4],
    beside: &'p mut Beside,
) -> Option<ChainJob<'p>> {
    let seals = direction == Direction::Outbound;
    let (nonce, aad, aad_len) = cpu::nonce_and_aad(op.key, op.esp, op.seq_high);
    *beside = Beside { nonce, aad };
    let Beside { nonce, aad } = beside;
    let cipher = match &keys.cipher {
        OddCipher::Null if seals => Cipher::NullEncrypt,
        OddCipher::Null => Cipher::NullDecrypt,
        OddCipher::Cbc(key) if seals => Cipher::CbcEncrypt(key),
        OddCipher::Cbc(key) => Cipher::CbcDecrypt(key),
        OddCipher::Des(key) => Cipher::Des { key, seals },
        OddCipher::Ctr(key) => Cipher::Ctr { key, nonce, seals },
        OddCipher::Ccm(key) => {
            //= rfc4309#4/nonce: three bytes of salt, then the IV.
            let (nonce, aad) = (nonce.last_chunk()?, aad.get(..aad_len)?);
            let tag_len = op.key.suite().icv_len();
            let icv_at = op.esp.len().checked_sub(tag_len)?;
            let (data, cipher_range) = (op.esp.get_mut(..icv_at)?, HEADER + op.key.suite().iv_len()..icv_at);
            let cipher = Cipher::Ccm { key, nonce, aad, seals };
            return Some(ChainJob { cipher, mac: Mac::OfCipher, data, cipher_range, tag, tag_len, token });
        }
    };
    let mac = match &keys.mac {
        OddMac::Hmac(key) => Mac::Hmac(key),
        OddMac::Chain(key) => Mac::Chain(key),
        OddMac::OfCipher => Mac::OfCipher,
    };
    job(op, cipher, mac, token, tag, borrowed)
}

/// `None` for packets of a burst that are not this pass's business.
fn keys_for<'k>(op: &EspOp<'k>, direction: Direction) -> Option<&'k Keys> {
    let AnyKeys::Mb(keys) = op.key.keys() else { return None };
    (op.key.direction() == direction && keys.is_chained()).then_some(keys)
}

/// Outbound: writes the ICV. Inbound: compares it, and wipes what was decrypted when it does not match.
#[inline(always)]
fn settle(op: &mut EspOp<'_>, direction: Direction, computed: &[u8; TAG_ROOM], borrowed: [u8; 4]) -> bool {
    let suite = op.key.suite();
    // Lengths as constants: copies and comparisons without calls.
    match suite.icv_len() {
        8 => settle_len::<8>(op, direction, computed, borrowed),
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
    // CCM has it in its additional data.
    if op.seq_high.is_some()
        && !op.key.suite().encryption().is_aead()
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
