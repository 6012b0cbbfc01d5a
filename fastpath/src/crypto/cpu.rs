//! ESP's arithmetic on the CPU: which library runs a suite, and a burst of packets through it.
//!
//! [`CpuCrypto`] is one worker's state. It is given whole ESP packets, from the SPI to the end of the ICV, and seals
//! or opens them in place; suites and engines may be mixed within a burst. A [`KeyRecord`] is what one direction
//! of one SA costs in memory; it may be used by every worker.
//!
//! A burst is worked off in two stages: nonces and additional data of all packets first, so that the cipher does
//! not load wide what was stored narrow a moment ago, then the packets, with the keys of those ahead prefetched.
use super::{Unsupported, mb, native, ring, rustcrypto};
use crate::prefetch::near;
use native::Esp;
use sa::{Direction, Encryption, MacKind, Suite};
use std::fmt;
use std::str::FromStr;
use zeroize::Zeroize;

/// SPI and low half of the sequence number (RFC 4303 2).
pub(super) const HEADER: usize = 8;
/// Packets in a stage. Longer bursts are cut.
pub(super) const STAGE: usize = 64;
/// How many packets ahead keys are prefetched.
pub(super) const AHEAD: usize = 4;
/// How many packets ahead texts are prefetched, but for the first lines, which who wrote the headers has brought near.
const NEXT: usize = 2;
const LINE: usize = 64;
const NEAR: usize = 2;

/// The libraries, by the names that `system.crypto.engines` lists.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CpuEngineKind {
    /// Our own AES-GCM, for CPUs with instructions for it: the fastest.
    Native,
    /// libipsec-mb, opened at run time: AES, DES and ChaCha20 in all modes, the fastest but for AES-GCM.
    IpsecMb,
    /// AES-128-GCM, AES-256-GCM and ChaCha20-Poly1305, no library needed.
    Ring,
    /// Every suite, no library needed, the slowest.
    RustCrypto,
}
impl CpuEngineKind {
    /// Best first.
    pub const ALL: [Self; 4] = [Self::Native, Self::IpsecMb, Self::Ring, Self::RustCrypto];
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::IpsecMb => "ipsec-mb",
            Self::Ring => "ring",
            Self::RustCrypto => "rustcrypto",
        }
    }
    pub const fn supports(self, suite: Suite) -> bool {
        match self {
            Self::IpsecMb => mb::supports(suite),
            Self::RustCrypto => true,
            Self::Native => suite.encryption().is_aes_gcm(),
            Self::Ring => {
                use Encryption::{Aes128Gcm, Aes256Gcm, ChaCha20Poly1305};
                matches!(suite.encryption(), Aes128Gcm | Aes256Gcm | ChaCha20Poly1305)
            }
        }
    }
}
impl fmt::Display for CpuEngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
impl FromStr for CpuEngineKind {
    type Err = UnknownEngine;
    fn from_str(name: &str) -> Result<Self, UnknownEngine> {
        Self::ALL.into_iter().find(|k| k.name() == name).ok_or_else(|| UnknownEngine(name.into()))
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a CPU crypto engine: use native, ipsec-mb, ring or rustcrypto")]
pub struct UnknownEngine(pub String);

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EngineError {
    #[error("crypto engine ipsec-mb: {0}")]
    IpsecMb(ipsec_mb::LoadError),
    #[error("no crypto engine named: list at least one of native, ipsec-mb, ring, rustcrypto")]
    NoneNamed,
    #[error("crypto engine native: this CPU lacks AES-NI, PCLMULQDQ or AVX; use ring")]
    NativeCpu,
}

/// Expanded keys of one direction of one SA on the engine that was chosen for it. Wiped on drop.
pub struct KeyRecord {
    suite: Suite,
    direction: Direction,
    /// Those of CCM, which are three, at the end.
    salt: [u8; 4],
    keys: Keys,
}
pub(super) enum Keys {
    Native(native::Keys),
    Mb(mb::Keys),
    Ring(ring::Keys),
    RustCrypto(Box<rustcrypto::Keys>),
}
impl KeyRecord {
    pub fn suite(&self) -> Suite {
        self.suite
    }
    pub fn direction(&self) -> Direction {
        self.direction
    }
    pub fn engine(&self) -> CpuEngineKind {
        match self.keys {
            Keys::Native(_) => CpuEngineKind::Native,
            Keys::Mb(_) => CpuEngineKind::IpsecMb,
            Keys::Ring(_) => CpuEngineKind::Ring,
            Keys::RustCrypto(_) => CpuEngineKind::RustCrypto,
        }
    }
    pub(super) fn keys(&self) -> &Keys {
        &self.keys
    }
    /// The ICV of AH over `parts`, one behind the other. AES-GMAC wants the packet's IV, the others ignore it. `None`
    /// when the key was not made by [`CpuCrypto::ah_key`].
    pub fn icv(&self, iv: [u8; 8], parts: &[&[u8]], icv: &mut [u8]) -> Option<()> {
        let Keys::RustCrypto(keys) = &self.keys else { return None };
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&self.salt);
        nonce[4..].copy_from_slice(&iv);
        let computed = keys.mac(&nonce, parts)?;
        icv.copy_from_slice(computed.get(..icv.len())?);
        Some(())
    }
    #[inline(always)]
    pub(super) fn is_native(&self, direction: Direction) -> bool {
        matches!(self.keys, Keys::Native(_)) && self.direction == direction
    }
    #[inline]
    pub(super) fn prefetch(&self, packet: usize) {
        match &self.keys {
            Keys::Native(keys) => keys.prefetch(packet),
            Keys::Mb(keys) => keys.prefetch(packet),
            Keys::Ring(_) | Keys::RustCrypto(_) => (),
        }
    }
}
impl Drop for KeyRecord {
    fn drop(&mut self) {
        self.salt.zeroize();
    }
}
impl fmt::Debug for KeyRecord {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyRecord({} on {})", self.suite, self.engine())
    }
}

/// One packet of a burst.
pub struct EspOp<'a> {
    pub key: &'a KeyRecord,
    /// From the SPI to the end of the ICV. When sealing, header, IV, payload and trailer are in place and the
    /// ICV is room to be written.
    pub esp: &'a mut [u8],
    /// The high half of the sequence number if the SA uses ESN: authenticated, not sent.
    pub seq_high: Option<u32>,
    /// The verdict. When it is false after opening, no plaintext is left in `esp`.
    pub ok: bool,
}

/// Nonce and additional data of one packet, written one stage before they are read.
#[derive(Clone, Copy)]
#[repr(align(32))]
struct Prepared {
    nonce: [u8; 12],
    aad: [u8; 12],
    aad_len: u8,
    esp_len: u32,
}

/// One worker's engines. Moves to the worker's thread and stays there.
pub struct CpuCrypto {
    order: Vec<CpuEngineKind>,
    native: Option<native::Path>,
    mb: Option<Box<mb::Engine>>,
    prepared: Box<[Prepared; STAGE]>,
}

impl CpuCrypto {
    /// One engine and nothing behind it.
    pub fn new(kind: CpuEngineKind) -> Result<Self, EngineError> {
        Self::with_order(&[kind])
    }
    /// Each suite runs on the first engine of `order` that has it. Keys of the engines that need no library
    /// (native, ring, rustcrypto) run on every `CpuCrypto`, those of ipsec-mb where `order` has it.
    pub fn with_order(order: &[CpuEngineKind]) -> Result<Self, EngineError> {
        if order.is_empty() {
            return Err(EngineError::NoneNamed);
        }
        let mb = match order.contains(&CpuEngineKind::IpsecMb) {
            true => Some(Box::new(mb::Engine::new().map_err(EngineError::IpsecMb)?)),
            false => None,
        };
        let native = native::Path::best();
        if order.contains(&CpuEngineKind::Native) && native.is_none() {
            return Err(EngineError::NativeCpu);
        }
        Ok(Self { order: order.to_vec(), native, mb, prepared: Box::new([Prepared::EMPTY; STAGE]) })
    }
    /// The native engine on a path other than the CPU's best. `None` if the CPU lacks it.
    pub fn native(path: native::Path) -> Option<Self> {
        let crypto = Self::new(CpuEngineKind::Native).ok().filter(|_| path.is_here())?;
        Some(Self { native: Some(path), ..crypto })
    }
    pub fn supports(&self, suite: Suite) -> bool {
        self.order.iter().any(|kind| kind.supports(suite))
    }
    /// What the engines say about themselves, for status pages and benchmarks.
    pub fn describe(&self) -> String {
        let one = |kind: &CpuEngineKind| match (kind, &self.mb, self.native) {
            (CpuEngineKind::IpsecMb, Some(mb), _) => mb.describe(),
            (CpuEngineKind::Native, _, Some(path)) => format!("native ({})", path.name()),
            _ => kind.name().into(),
        };
        self.order.iter().map(one).collect::<Vec<_>>().join(", ")
    }

    /// Expands the keys of one direction of an SA. `salt` is empty unless the suite is an AEAD.
    pub fn new_key(
        &self,
        suite: Suite,
        direction: Direction,
        enc_key: &[u8],
        salt: &[u8],
        integ_key: &[u8],
    ) -> Result<KeyRecord, Unsupported> {
        let refuse = |why| Unsupported { suite, why };
        if enc_key.len() != suite.encryption().key_len() {
            return Err(refuse("the encryption key has the wrong length"));
        }
        let salt = padded_salt(suite, salt)?;
        if integ_key.len() != suite.integrity().key_len() {
            return Err(refuse("the integrity key has the wrong length"));
        }
        let kind = self.order.iter().find(|kind| kind.supports(suite));
        let kind = kind.ok_or(refuse("no engine that was chosen has this suite"))?;
        let keys = match kind {
            CpuEngineKind::Native => {
                self.native.and_then(|path| native::Keys::new(path, suite, enc_key)).map(Keys::Native)
            }
            CpuEngineKind::IpsecMb => {
                self.mb.as_ref().and_then(|mb| mb.keys(suite, enc_key, integ_key)).map(Keys::Mb)
            }
            CpuEngineKind::Ring => ring::Keys::new(suite, enc_key).map(Keys::Ring),
            CpuEngineKind::RustCrypto => {
                rustcrypto::Keys::new(suite, enc_key, integ_key).map(Box::new).map(Keys::RustCrypto)
            }
        };
        let keys = keys.ok_or(refuse("the engine refused the keys"))?;
        Ok(KeyRecord { suite, direction, salt, keys })
    }
    /// The integrity algorithm of an AH SA, for [`KeyRecord::icv`]. The RustCrypto crates know all of them.
    pub fn ah_key(
        suite: Suite,
        direction: Direction,
        salt: &[u8],
        integ_key: &[u8],
    ) -> Result<KeyRecord, Unsupported> {
        let salt = padded_salt(suite, salt)?;
        let refuse = |why| Unsupported { suite, why };
        if suite.encryption() != Encryption::Null || suite.integrity().kind() == MacKind::None {
            return Err(refuse("AH has an integrity algorithm and nothing else"));
        }
        if integ_key.len() != suite.integrity().key_len() {
            return Err(refuse("the integrity key has the wrong length"));
        }
        let keys =
            rustcrypto::Keys::new(suite, &[], integ_key).ok_or(refuse("the engine refused the keys"))?;
        Ok(KeyRecord { suite, direction, salt, keys: Keys::RustCrypto(Box::new(keys)) })
    }

    /// Encrypts each packet and writes its ICV. `ok` is false for packets that are too short for their suite, have
    /// a payload that is not whole blocks, or a key that is not for sealing on this engine.
    pub fn seal(&mut self, ops: &mut [EspOp<'_>]) {
        ops.chunks_mut(STAGE).for_each(|burst| self.run(burst, Direction::Outbound));
    }
    /// Checks each ICV and decrypts. `ok` is false when it does not match or the packet cannot be one of this SA.
    pub fn open(&mut self, ops: &mut [EspOp<'_>]) {
        ops.chunks_mut(STAGE).for_each(|burst| self.run(burst, Direction::Inbound));
    }
    /// An AEAD under a nonce and additional data of the caller's choice, whatever the key's direction. The lengths of
    /// nonce and ICV are those of the suite.
    pub fn aead_seal(
        &mut self,
        key: &KeyRecord,
        nonce: &[u8],
        aad: &[u8],
        text: &mut [u8],
        icv: &mut [u8],
    ) -> bool {
        self.aead(Direction::Outbound, key, nonce, aad, text, icv)
    }
    /// The way back of [`Self::aead_seal`]; wipes `text` when the ICV does not match.
    pub fn aead_open(
        &mut self,
        key: &KeyRecord,
        nonce: &[u8],
        aad: &[u8],
        text: &mut [u8],
        icv: &mut [u8],
    ) -> bool {
        self.aead(Direction::Inbound, key, nonce, aad, text, icv)
    }
    fn aead(
        &mut self,
        direction: Direction,
        key: &KeyRecord,
        nonce: &[u8],
        aad: &[u8],
        text: &mut [u8],
        icv: &mut [u8],
    ) -> bool {
        let encryption = key.suite.encryption();
        if nonce.len() != encryption.salt_len() + encryption.iv_len() || icv.len() != encryption.icv_len() {
            return false;
        }
        let mut own = [0; 12];
        own.iter_mut().rev().zip(nonce.iter().rev()).for_each(|(to, from)| *to = *from);
        match (&key.keys, icv.as_mut_array()) {
            (Keys::RustCrypto(keys), _) if direction == Direction::Outbound => {
                keys.seal(&own, aad, text, icv)
            }
            (Keys::RustCrypto(keys), _) => keys.open(&own, aad, text, icv),
            (keys, Some(icv)) => aead(&mut self.mb, keys, direction, &own, aad, text, icv),
            (_, None) => false,
        }
    }

    fn run(&mut self, ops: &mut [EspOp<'_>], direction: Direction) {
        let mut keys = [None; STAGE];
        for (key, op) in keys.iter_mut().zip(ops.iter()) {
            *key = Some(op.key);
        }
        if self.each(ops, &keys, direction)
            && let Some(mb) = &mut self.mb
        {
            mb.chained(ops, direction);
        }
    }
    /// The same for packets in another form, at most [`STAGE`] of them, each with its key. Those without one, or too
    /// short to be ESP, are not `ok`.
    pub(super) fn run_jobs<W: Work>(
        &mut self,
        jobs: &mut [W],
        keys: &[Option<&KeyRecord>; STAGE],
        direction: Direction,
    ) {
        if !self.each(jobs, keys, direction) {
            return;
        }
        let Some(any) = keys.iter().find_map(|key| *key) else { return };
        // What the library works on side by side.
        let mut places = [0; STAGE];
        let mut verdicts = [false; STAGE];
        let mut ops: [EspOp<'_>; STAGE] =
            std::array::from_fn(|_| EspOp { key: any, esp: &mut [], seq_high: None, ok: false });
        let mut count = 0;
        for (place, (job, key)) in jobs.iter_mut().zip(keys).enumerate() {
            let seq_high = job.seq_high();
            if let (Some(key), Some(esp)) = (*key, job.esp())
                && matches!(&key.keys, Keys::Mb(keys) if keys.is_chained())
            {
                ops[count] = EspOp { key, esp, seq_high, ok: false };
                places[count] = place;
                count += 1;
            }
        }
        if let Some(mb) = &mut self.mb {
            mb.chained(&mut ops[..count], direction);
        }
        for (verdict, op) in verdicts.iter_mut().zip(&ops[..count]) {
            *verdict = op.ok;
        }
        for (place, ok) in places.iter().zip(verdicts).take(count) {
            jobs[*place].done(ok);
        }
    }

    /// All packets but those that the library takes side by side; true if there are such.
    #[inline(always)]
    fn each<W: Work>(
        &mut self,
        jobs: &mut [W],
        keys: &[Option<&KeyRecord>; STAGE],
        direction: Direction,
    ) -> bool {
        let native = |key: &Option<&KeyRecord>| matches!(key, Some(key) if key.is_native(direction));
        if keys[..jobs.len().min(STAGE)].iter().all(native) {
            match direction {
                Direction::Outbound => all_native::<_, true>(jobs, keys),
                Direction::Inbound => all_native::<_, false>(jobs, keys),
            }
            return false;
        }
        let Self { mb, prepared, .. } = self;
        // One length for all, so that nothing is checked packet by packet.
        let count = jobs.len().min(STAGE);
        let (jobs, keys, prepared) = (&mut jobs[..count], &keys[..count], &mut prepared[..count]);
        for at in 0..count {
            let seq_high = jobs[at].seq_high();
            if let (Some(key), Some(esp)) = (keys[at], jobs[at].esp()) {
                prepared[at].fill(&key.salt, esp, seq_high);
            }
        }
        let mut chained = false;
        for at in 0..count {
            approach(jobs, keys, at);
            let (job, prepared) = (&mut jobs[at], &prepared[at]);
            let seq_high = job.seq_high();
            let ok = match (keys[at].filter(|key| key.direction == direction), job.esp()) {
                (Some(key), Some(esp)) => match &key.keys {
                    Keys::Mb(keys) if keys.is_chained() => {
                        chained = true;
                        false
                    }
                    Keys::Mb(keys) if keys.is_alone() => match mb {
                        Some(mb) => mb.alone(keys, key.suite, direction, prepared.both(), esp),
                        None => false,
                    },
                    Keys::RustCrypto(keys) => {
                        keys.packet(key.suite, direction, prepared.both(), esp, seq_high)
                    }
                    //= rfc4106#3/payload: an 8-byte IV in front of the ciphertext, a 16-byte ICV behind it.
                    //= rfc7634#2/payload: the same with ChaCha20-Poly1305.
                    keys => match esp.get_mut(HEADER + 8..).and_then(<[u8]>::split_last_chunk_mut) {
                        Some((text, icv)) => {
                            aead(mb, keys, direction, &prepared.nonce, prepared.aad(), text, icv)
                        }
                        None => false,
                    },
                },
                _ => false,
            };
            job.done(ok);
        }
        chained
    }
}

fn padded_salt(suite: Suite, salt: &[u8]) -> Result<[u8; 4], Unsupported> {
    let mut own = [0; 4];
    if salt.len() != suite.salt_len() {
        return Err(Unsupported { suite, why: "the salt has the wrong length" });
    }
    own.iter_mut().rev().zip(salt.iter().rev()).for_each(|(to, from)| *to = *from);
    Ok(own)
}

/// A burst of nothing but AES-GCM of our own, two packets at a time.
#[inline(always)]
fn all_native<W: Work, const SEAL: bool>(jobs: &mut [W], keys: &[Option<&KeyRecord>; STAGE]) {
    let mut keys = &keys[..jobs.len().min(STAGE)];
    let mut jobs = jobs;
    while jobs.len() >= 2 {
        let (now, ahead) = std::mem::take(&mut jobs).split_at_mut(2);
        for n in 0..2 {
            approach_key(keys.get(n..).unwrap_or_default(), ahead.get(n + AHEAD - 2));
        }
        if let ([first, second], [Some(a), Some(b), ..]) = (now, keys)
            && let (Some((a, salt)), Some((b, salt_beside))) = (native_key(a), native_key(b))
        {
            let (high, high_beside) = (first.seq_high(), second.seq_high());
            let verdicts = match (first.esp(), second.esp()) {
                (Some(esp), Some(beside)) => {
                    // The one behind is in nobody's hands yet, so it can be asked for.
                    let behind = ahead.first_mut().and_then(Work::esp).unwrap_or_default();
                    let esp = Esp { salt, esp, seq_high: high };
                    let beside = Esp { salt: salt_beside, esp: beside, seq_high: high_beside };
                    native::Keys::two::<SEAL>([a, b], [esp, beside], behind)
                }
                _ => [false; 2],
            };
            first.done(verdicts[0]);
            second.done(verdicts[1]);
        }
        (jobs, keys) = (ahead, keys.get(2..).unwrap_or_default());
    }
    if let ([last], [Some(key), ..]) = (jobs, keys) {
        let seq_high = last.seq_high();
        let ok = match (native_key(key), last.esp()) {
            (Some((keys, salt)), Some(esp)) => keys.esp::<SEAL>(Esp { salt, esp, seq_high }, &[]),
            _ => false,
        };
        last.done(ok);
    }
}
/// Has the key of the packet `AHEAD` of these brought near, unless the one before has the same.
#[inline(always)]
fn approach_key<W: Work>(keys: &[Option<&KeyRecord>], job: Option<&W>) {
    if let (Some(Some(before)), Some(Some(key)), Some(job)) = (keys.get(AHEAD - 1), keys.get(AHEAD), job)
        && !std::ptr::eq(*before, *key)
    {
        key.prefetch(job.esp_len());
    }
}
#[inline(always)]
pub(super) fn native_key(key: &KeyRecord) -> Option<(&native::Keys, [u8; 4])> {
    match &key.keys {
        Keys::Native(keys) => Some((keys, key.salt)),
        _ => None,
    }
}
/// Has the key and the text of packets behind packet `at` brought near.
#[inline(always)]
fn approach<W: Work>(jobs: &mut [W], keys: &[Option<&KeyRecord>], at: usize) {
    approach_key(keys.get(at..).unwrap_or_default(), jobs.get(at + AHEAD));
    if let Some(next) = jobs.get_mut(at + NEXT)
        && next.esp_len() > (NEAR + 1) * LINE
        && let Some(esp) = next.esp()
    {
        esp.chunks(LINE).skip(NEAR).filter_map(<[u8]>::first).for_each(near);
    }
}

/// A packet, whatever holds it.
pub(super) trait Work {
    /// From the SPI to the end of the ICV.
    fn esp(&mut self) -> Option<&mut [u8]>;
    /// How long that is.
    fn esp_len(&self) -> usize;
    fn seq_high(&self) -> Option<u32>;
    /// The verdict.
    fn done(&mut self, ok: bool);
}
impl Work for EspOp<'_> {
    #[inline(always)]
    fn esp(&mut self) -> Option<&mut [u8]> {
        Some(self.esp)
    }
    #[inline(always)]
    fn esp_len(&self) -> usize {
        self.esp.len()
    }
    #[inline(always)]
    fn seq_high(&self) -> Option<u32> {
        self.seq_high
    }
    #[inline(always)]
    fn done(&mut self, ok: bool) {
        self.ok = ok;
    }
}

/// Salt and IV, additional data, and how much of it there is. NULL has no IV, and its packets may be shorter than one.
pub(super) fn nonce_and_aad(
    key: &KeyRecord,
    esp: &[u8],
    seq_high: Option<u32>,
) -> ([u8; 12], [u8; 12], usize) {
    let mut prepared = Prepared::EMPTY;
    prepared.fill(&key.salt, esp, seq_high);
    (prepared.nonce, prepared.aad, prepared.aad_len.into())
}

impl Prepared {
    const EMPTY: Self = Self { nonce: [0; 12], aad: [0; 12], aad_len: 0, esp_len: 0 };

    /// Leaves what a packet is too short for as it was; such a packet is refused later.
    #[inline(always)]
    fn fill(&mut self, salt: &[u8; 4], esp: &[u8], seq_high: Option<u32>) {
        self.esp_len = esp.len() as u32;
        let Some(front) = esp.first_chunk::<{ HEADER + 8 }>() else { return };
        let ([header, iv], _) = front.as_chunks::<8>() else { return };
        //= rfc4106#4/nonce: the salt of the SA, then the IV of the packet.
        //= rfc7634#2/nonce: the same with ChaCha20-Poly1305.
        self.nonce[..4].copy_from_slice(salt);
        self.nonce[4..].copy_from_slice(iv);
        match seq_high {
            //= rfc4106#5/aad: SPI and sequence number, 32 or 64 bits of it.
            //= rfc7634#2.1/aad: the same with ChaCha20-Poly1305.
            None => {
                self.aad[..8].copy_from_slice(header);
                self.aad_len = 8;
            }
            Some(high) => {
                self.aad[..4].copy_from_slice(&header[..4]);
                self.aad[4..8].copy_from_slice(&high.to_be_bytes());
                self.aad[8..].copy_from_slice(&header[4..]);
                self.aad_len = 12;
            }
        }
    }
    #[inline(always)]
    fn aad(&self) -> &[u8] {
        if self.aad_len == 8 { &self.aad[..8] } else { &self.aad }
    }
    fn both(&self) -> (&[u8; 12], &[u8]) {
        (&self.nonce, self.aad())
    }
}

#[inline]
fn aead(
    mb: &mut Option<Box<mb::Engine>>,
    keys: &Keys,
    direction: Direction,
    nonce: &[u8; 12],
    aad: &[u8],
    text: &mut [u8],
    icv: &mut [u8; 16],
) -> bool {
    let seals = direction == Direction::Outbound;
    match (keys, mb) {
        (Keys::Native(keys), _) if seals => keys.seal(nonce, aad, text, icv),
        (Keys::Native(keys), _) => keys.open(nonce, aad, text, icv),
        (Keys::Mb(keys), Some(mb)) if seals => mb.seal(keys, nonce, aad, text, icv),
        (Keys::Mb(keys), Some(mb)) => mb.open(keys, nonce, aad, text, icv),
        (Keys::Mb(_), None) => false,
        (Keys::Ring(keys), _) if seals => keys.seal(nonce, aad, text, icv),
        (Keys::Ring(keys), _) => keys.open(nonce, aad, text, icv),
        // Has its own way, for all suites.
        (Keys::RustCrypto(_), _) => false,
    }
}

/// Compares without telling by its duration where the difference is.
#[inline]
pub(super) fn same(a: &[u8], b: &[u8]) -> bool {
    let differing = a.iter().zip(b).fold(0, |acc, (a, b)| acc | (a ^ b));
    a.len() == b.len() && std::hint::black_box(differing) == 0
}
