//! Where the slow path keeps what it needs to go on after a crash: one sealed record per IKE SA.
//!
//! Two halves per record, written in turn: a kill inside a write leaves the older half valid. Sealed with
//! ChaCha20-Poly1305 under a key that only the supervisor hands out; the associated data binds region, place,
//! name and sequence, so a record cannot be moved to another place, name or region. What does not open is skipped and counted.
//! The fast path cannot read the vault. It could put an older half back: losing one exchange, not a key.
use crate::layout::{VAULT_HALF_BYTES, VAULT_HALF_WORDS};
use crate::memory::{Part, load_bytes, store_bytes, wipe};
use crate::sync::Ordering::{Acquire, Relaxed, Release};
use ring::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, Tag, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use std::collections::BTreeMap;
use std::ops::Range;
use zeroize::{Zeroize, ZeroizeOnDrop, Zeroizing};

/// From the supervisor; lives in no file.
#[derive(Clone, Zeroize, ZeroizeOnDrop)]
pub struct VaultKey([u8; 32]);
impl VaultKey {
    pub const LEN: usize = 32;
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }
}
impl std::fmt::Debug for VaultKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("VaultKey(..)")
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum VaultError {
    #[error("the vault holds {0} IKE SAs and is full: raise `system sa-slots`")]
    Full(usize),
    #[error("a snapshot of {got} bytes is longer than {max}")]
    TooLong { got: usize, max: usize },
    #[error("the system's random source failed")]
    Random,
}

// Words of a half.
const SEQ: usize = 0;
const NAME: usize = 1;
const LEN: usize = 2;
const NONCE: usize = 3;
const TAG: usize = 5;
const BODY: usize = 7;
const HALF: usize = VAULT_HALF_WORDS;
/// Two halves, and a word behind all records that says how many of them count: none, the first, or both. Nobody looks
/// at the others, so that room that nobody needs is no memory.
pub(crate) const RECORD_WORDS: usize = 2 * HALF + 1;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Place {
    record: usize,
    half: usize,
    seq: u64,
}

pub struct Vault {
    part: Part,
    key: LessSafeKey,
    epoch: u64,
    /// Random per opening, then a counter: no nonce comes twice under one key.
    nonce_prefix: [u8; 8],
    nonce_next: u32,
    places: BTreeMap<u64, Place>,
    free: Vec<usize>,
    damaged: u64,
}

impl Vault {
    pub const MAX: usize = VAULT_HALF_BYTES - BODY * 8;

    /// Looks through all records; those that do not open are counted in [`Self::damaged`] and their place reused.
    pub fn open(part: Part, key: &VaultKey, epoch: u64) -> Result<Self, VaultError> {
        // The length is the algorithm's by type.
        let unbound = UnboundKey::new(&CHACHA20_POLY1305, &key.0).map_err(|_| VaultError::Random)?;
        let mut vault = Self {
            part,
            key: LessSafeKey::new(unbound),
            epoch,
            nonce_prefix: random()?,
            nonce_next: 0,
            places: BTreeMap::new(),
            free: Vec::new(),
            damaged: 0,
        };
        for record in (0..vault.records()).rev() {
            match vault.used(record).load(Acquire) {
                0 => vault.free.push(record),
                1 => vault.look_at(record, 0..1),
                _ => vault.look_at(record, 0..2),
            }
        }
        Ok(vault)
    }
    fn records(&self) -> usize {
        self.part.len() / RECORD_WORDS
    }
    fn used(&self, record: usize) -> &crate::sync::AtomicU64 {
        &self.part[self.records() * 2 * HALF + record]
    }
    fn look_at(&mut self, record: usize, halves: Range<usize>) {
        let mut best: Option<(u64, Place)> = None;
        let mut unreadable = 0;
        for half in halves {
            match self.read_half(record, half) {
                Ok(None) => {}
                Ok(Some((name, seq, _))) if best.is_none_or(|(_, b)| seq > b.seq) => {
                    best = Some((name, Place { record, half, seq }));
                }
                Ok(Some(_)) => {}
                Err(Unreadable) => unreadable += 1,
            }
        }
        // One torn half beside a good one is what a kill inside a write leaves.
        if best.is_none() {
            self.damaged += u64::from(unreadable > 0);
        }
        match best {
            Some((name, place)) if !self.places.contains_key(&name) => {
                self.places.insert(name, place);
            }
            _ => self.free.push(record),
        }
    }
    fn aad(&self, record: usize, name: u64, seq: u64) -> [u8; 40] {
        let mut aad = *b"espvault--------------------------------";
        for (chunk, word) in aad[8..].chunks_mut(8).zip([self.epoch, record as u64, name, seq]) {
            chunk.copy_from_slice(&word.to_be_bytes());
        }
        aad
    }
    fn half(&self, record: usize, half: usize) -> &[crate::sync::AtomicU64] {
        let at = (record * 2 + half) * HALF;
        &self.part[at..at + HALF]
    }
    /// Name, sequence, content.
    fn read_half(&self, record: usize, half: usize) -> Result<Option<Opened>, Unreadable> {
        let words = self.half(record, half);
        let seq = words[SEQ].load(Acquire);
        let (name, len) = (words[NAME].load(Relaxed), words[LEN].load(Relaxed));
        if seq == 0 {
            return Ok(None);
        }
        let len = usize::try_from(len).ok().filter(|l| *l <= Self::MAX).ok_or(Unreadable)?;
        let (mut nonce, mut tag) = ([0; 12], [0; 16]);
        load_bytes(&words[NONCE..TAG], &mut nonce);
        load_bytes(&words[TAG..BODY], &mut tag);
        let mut body = Zeroizing::new(vec![0; len]);
        load_bytes(&words[BODY..], &mut body);
        let opened = self.key.open_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            Aad::from(self.aad(record, name, seq)),
            Tag::from(tag),
            &mut body,
            0..,
        );
        match opened {
            Ok(_) => Ok(Some((name, seq, body))),
            Err(_) => Err(Unreadable),
        }
    }
    fn nonce(&mut self) -> Result<[u8; 12], VaultError> {
        let mut nonce = [0; 12];
        nonce[..8].copy_from_slice(&self.nonce_prefix);
        nonce[8..].copy_from_slice(&self.nonce_next.to_be_bytes());
        self.nonce_next = match self.nonce_next.checked_add(1) {
            Some(next) => next,
            None => {
                self.nonce_prefix = random()?;
                0
            }
        };
        Ok(nonce)
    }

    /// Stores or replaces. When this returns, a killed and restarted slow path will find `content`.
    pub fn put(&mut self, name: u64, content: &[u8]) -> Result<(), VaultError> {
        if content.len() > Self::MAX {
            return Err(VaultError::TooLong { got: content.len(), max: Self::MAX });
        }
        let place = match self.places.get(&name) {
            Some(p) => Place { half: 1 - p.half, seq: p.seq + 1, ..*p },
            None => Place {
                record: *self.free.last().ok_or(VaultError::Full(self.places.len()))?,
                half: 0,
                seq: 1,
            },
        };
        let nonce = self.nonce()?;
        let mut body = Zeroizing::new(content.to_vec());
        let aad = Aad::from(self.aad(place.record, name, place.seq));
        let tag = self
            .key
            .seal_in_place_separate_tag(Nonce::assume_unique_for_key(nonce), aad, &mut body)
            .map_err(|_| VaultError::Random)?;
        if !self.places.contains_key(&name) {
            self.free.pop();
            self.used(place.record).store(1, Release);
        }
        let words = self.half(place.record, place.half);
        words[SEQ].store(0, Release);
        words[NAME].store(name, Relaxed);
        words[LEN].store(content.len() as u64, Relaxed);
        store_bytes(&words[NONCE..TAG], &nonce);
        store_bytes(&words[TAG..BODY], tag.as_ref());
        store_bytes(&words[BODY..], &body);
        words[SEQ].store(place.seq, Release);
        if place.half == 1 {
            self.used(place.record).store(2, Release);
        }
        self.places.insert(name, place);
        Ok(())
    }
    /// The older half goes first: a kill in between leaves the record whole.
    pub fn remove(&mut self, name: u64) {
        let Some(place) = self.places.remove(&name) else { return };
        if self.used(place.record).load(Relaxed) > 1 {
            wipe(self.half(place.record, 1 - place.half));
        }
        wipe(self.half(place.record, place.half));
        self.used(place.record).store(0, Release);
        self.free.push(place.record);
    }
    pub fn get(&self, name: u64) -> Option<Zeroizing<Vec<u8>>> {
        let place = self.places.get(&name)?;
        let (found, seq, body) = self.read_half(place.record, place.half).ok()??;
        (found == name && seq == place.seq).then_some(body)
    }
    /// Every record that opens, decrypted.
    pub fn iter(&self) -> impl Iterator<Item = (u64, Zeroizing<Vec<u8>>)> + '_ {
        self.places.keys().filter_map(|name| Some((*name, self.get(*name)?)))
    }
    pub fn len(&self) -> usize {
        self.places.len()
    }
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }
    /// Records that held something at opening and did not open: another key, or changed bytes.
    pub fn damaged(&self) -> u64 {
        self.damaged
    }
}

type Opened = (u64, u64, Zeroizing<Vec<u8>>);
struct Unreadable;

fn random<const N: usize>() -> Result<[u8; N], VaultError> {
    let mut bytes = [0; N];
    SystemRandom::new().fill(&mut bytes).map_err(|_| VaultError::Random)?;
    Ok(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const KEY: [u8; 32] = [7; 32];
    fn open(part: &Part) -> Vault {
        Vault::open(part.clone(), &VaultKey::new(KEY), 42).unwrap()
    }
    fn content(vault: &Vault) -> Vec<(u64, Vec<u8>)> {
        vault.iter().map(|(name, body)| (name, body.to_vec())).collect()
    }

    #[test]
    fn what_was_put_is_found_after_reopening() {
        let part = Part::private(3 * RECORD_WORDS);
        let mut vault = open(&part);
        for (name, body) in [(1, "one"), (2, "two"), (1, "one again"), (3, "three")] {
            vault.put(name, body.as_bytes()).unwrap();
        }
        assert_eq!(vault.put(4, b"x"), Err(VaultError::Full(3)));
        vault.remove(2);
        vault.put(4, b"four").unwrap();
        assert_eq!(
            vault.put(1, &[0; Vault::MAX + 1]).unwrap_err().to_string(),
            format!("a snapshot of {} bytes is longer than {}", Vault::MAX + 1, Vault::MAX)
        );
        let longest = vec![9; Vault::MAX];
        vault.put(3, &longest).unwrap();
        let expected = vec![(1, b"one again".to_vec()), (3, longest), (4, b"four".to_vec())];
        assert_eq!(content(&vault), expected);
        let again = open(&part);
        assert_eq!((content(&again), again.damaged()), (expected, 0));
    }
    #[test]
    fn nothing_of_the_content_stands_in_the_region() {
        let part = Part::private(RECORD_WORDS);
        open(&part).put(1, b"attack at dawn, attack at dawn").unwrap();
        let mut bytes = vec![0; part.len() * 8];
        load_bytes(&part, &mut bytes);
        assert!(!bytes.windows(6).any(|w| w == b"attack"));
    }
    /// H4, vault write: whatever word a killed writer had reached, the older content is found.
    #[test]
    fn h4_a_write_cut_anywhere_leaves_the_older_half() {
        let part = Part::private(RECORD_WORDS);
        let mut vault = open(&part);
        vault.put(1, b"older").unwrap();
        vault.put(1, b"newer").unwrap();
        let snapshot: Vec<u64> = part.iter().map(|w| w.load(Relaxed)).collect();
        // The third write goes to the first half again; it was cut after `done` words.
        for done in 0..10 {
            for (word, value) in part.iter().zip(&snapshot) {
                word.store(*value, Relaxed);
            }
            part[SEQ].store(0, Relaxed);
            for word in &part[NAME..NAME + done] {
                word.store(0xdead, Relaxed);
            }
            assert_eq!(content(&open(&part)), vec![(1, b"newer".to_vec())], "{done}");
        }
    }
    /// H9: bit flips, another key, another region's copy, a record at another place.
    #[test]
    fn h9_a_changed_or_foreign_record_is_not_used() {
        let part = Part::private(2 * RECORD_WORDS);
        open(&part).put(1, b"content").unwrap();
        let with_key = |key, epoch| Vault::open(part.clone(), &VaultKey::new(key), epoch).unwrap();
        for (vault, case) in [(with_key([8; 32], 42), "key"), (with_key(KEY, 43), "epoch")] {
            assert_eq!((vault.len(), vault.damaged()), (0, 1), "{case}");
        }
        let record = if part[2 * HALF].load(Relaxed) != 0 { 1 } else { 0 };
        let (from, to) = (record * 2 * HALF, (1 - record) * 2 * HALF);
        for at in 0..2 * HALF {
            part[to + at].store(part[from + at].load(Relaxed), Relaxed);
        }
        let used = 2 * 2 * HALF;
        part[used + 1 - record].store(1, Relaxed);
        let moved = open(&part);
        assert_eq!((moved.len(), moved.damaged()), (1, 1));
        wipe(&part[to..to + 2 * HALF]);
        part[used + 1 - record].store(0, Relaxed);
        for bit in 0..BODY as u64 * 64 + 56 {
            let word = &part[from + bit as usize / 64];
            let good = word.load(Relaxed);
            word.store(good ^ 1 << (bit % 64), Relaxed);
            let padding = (NONCE * 64 + 96..TAG * 64).contains(&(bit as usize));
            assert_eq!(open(&part).len(), usize::from(padding), "bit {bit}");
            word.store(good, Relaxed);
        }
        assert_eq!(open(&part).len(), 1);
    }
    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]
        #[test]
        fn vault_agrees_with_a_map(steps in prop::collection::vec((0u64..6, prop::option::of(prop::collection::vec(any::<u8>(), 0..100)), any::<bool>()), 1..60)) {
            let part = Part::private(4 * RECORD_WORDS);
            let (mut vault, mut model) = (open(&part), BTreeMap::new());
            for (name, body, reopen) in steps {
                match body {
                    Some(body) => if vault.put(name, &body).is_ok() { model.insert(name, body); }
                                  else { prop_assert_eq!(model.len(), 4) },
                    None => { vault.remove(name); model.remove(&name); }
                }
                if reopen { vault = open(&part); }
                prop_assert_eq!(content(&vault), model.clone().into_iter().collect::<Vec<_>>());
            }
        }
    }
}
