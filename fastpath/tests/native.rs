//! The native engine's code paths against the other engines: every length, every alignment, nothing touched beyond
//! the slices, nothing accepted that was changed.
use fastpath::crypto::cpu::{CpuCrypto, CpuEngineKind, EspOp, KeyRecord};
use fastpath::crypto::native::Path;
use rustix::mm::{MapFlags, MprotectFlags, ProtFlags, mmap_anonymous, mprotect, munmap};
use sa::{Direction, Encryption, Integrity, Suite};

const LONGEST: usize = 9216;
const SUITES: [Encryption; 3] = [Encryption::Aes128Gcm, Encryption::Aes192Gcm, Encryption::Aes256Gcm];

/// One engine, one key.
struct Sealer {
    name: String,
    crypto: CpuCrypto,
    key: KeyRecord,
}
impl Sealer {
    fn new(name: &str, crypto: CpuCrypto, encryption: Encryption) -> Option<Self> {
        let suite = Suite::new(encryption, Integrity::None).unwrap();
        let bytes = noise(9, encryption.key_len());
        crypto.supports(suite).then(|| {
            let key = crypto.new_key(suite, Direction::Outbound, &bytes, &[0; 4], &[]).unwrap();
            Self { name: format!("{name} {suite}"), crypto, key }
        })
    }
    fn seal(&mut self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8]) -> [u8; 16] {
        let mut icv = [0xee; 16];
        assert!(self.crypto.aead_seal(&self.key, nonce, aad, text, &mut icv), "{}", self.name);
        icv
    }
    fn open(&mut self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], mut icv: [u8; 16]) -> bool {
        self.crypto.aead_open(&self.key, nonce, aad, text, &mut icv)
    }
}
fn native(encryption: Encryption) -> Vec<Sealer> {
    let here = Path::ALL.into_iter().filter_map(|path| Some((path, CpuCrypto::native(path)?)));
    let all: Vec<_> =
        here.filter_map(|(path, crypto)| Sealer::new(path.name(), crypto, encryption)).collect();
    assert!(!all.is_empty(), "the tests need a CPU with AES-NI, PCLMULQDQ and AVX");
    all
}
fn others(encryption: Encryption) -> Vec<Sealer> {
    let kinds = [CpuEngineKind::RustCrypto, CpuEngineKind::IpsecMb, CpuEngineKind::Ring];
    let opened = kinds.into_iter().map(|kind| (kind, CpuCrypto::new(kind).expect("libipsec-mb1")));
    let all: Vec<_> =
        opened.filter_map(|(kind, crypto)| Sealer::new(kind.name(), crypto, encryption)).collect();
    assert_eq!(all.len(), if encryption == Encryption::Aes192Gcm { 2 } else { 3 });
    all
}

/// Bytes that differ from seed to seed and repeat from run to run.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()
    };
    std::iter::repeat_with(next).take(len / 8 + 1).flatten().take(len).collect()
}
fn nonce(seed: usize) -> [u8; 12] {
    noise(seed as u64 ^ 0xabcd, 12).try_into().unwrap()
}

/// A buffer whose text starts `off` bytes behind a 64-byte boundary, with bytes around it that must stay.
#[repr(align(64))]
#[derive(Clone, Copy)]
struct Line([u8; 64]);
struct Room(Vec<Line>);
impl Room {
    const WALL: u8 = 0x77;
    fn new() -> Self {
        Self(vec![Line([Self::WALL; 64]); LONGEST / 64 + 4])
    }
    fn bytes(&mut self) -> &mut [u8] {
        let lines = self.0.iter_mut().map(|line| &mut line.0[..]);
        let len = lines.map(|line| line.len()).sum();
        // SAFETY: a `Line` is 64 bytes without padding, so the vector is that many bytes in a row.
        unsafe { std::slice::from_raw_parts_mut(self.0.as_mut_ptr().cast(), len) }
    }
    /// Puts `text` in, lets `work` at it, and looks at its surroundings.
    fn with<R>(&mut self, off: usize, text: &[u8], work: impl FnOnce(&mut [u8]) -> R) -> R {
        let (from, to) = (64 + off, 64 + off + text.len());
        self.bytes()[from..to].copy_from_slice(text);
        let done = work(&mut self.bytes()[from..to]);
        let near = [from - 64..from, to..to + 64];
        assert!(near.into_iter().all(|span| self.bytes()[span].iter().all(|b| *b == Self::WALL)));
        self.bytes()[from..to].fill(Self::WALL);
        done
    }
}

/// Seals with all engines and opens with the native ones.
fn agree(
    native: &mut [Sealer],
    others: &mut [Sealer],
    room: &mut Room,
    off: usize,
    clear: &[u8],
    aad: &[u8],
) {
    let nonce = nonce(clear.len());
    let Some((oracle, others)) = others.split_first_mut() else { panic!("an oracle") };
    let mut sealed = clear.to_vec();
    let icv = oracle.seal(&nonce, aad, &mut sealed);
    for sealer in others.iter_mut().chain(native.iter_mut()) {
        room.with(off, clear, |text| {
            assert_eq!(sealer.seal(&nonce, aad, text), icv, "{} {} bytes", sealer.name, clear.len());
            assert!(*text == sealed, "{} {} bytes", sealer.name, clear.len());
        });
    }
    for sealer in native {
        room.with(off, &sealed, |text| {
            assert!(sealer.open(&nonce, aad, text, icv), "{} {} bytes", sealer.name, clear.len());
            assert!(text == clear, "{} {} bytes", sealer.name, clear.len());
        });
    }
}

#[test]
fn every_length_gives_what_the_other_engines_give() {
    let bytes = noise(1, LONGEST);
    for (turn, encryption) in SUITES.into_iter().enumerate() {
        let (mut native, mut others, mut room) = (native(encryption), others(encryption), Room::new());
        // All lengths for each key size where they differ in more than the number of batches; above that the key
        // sizes, which differ in the number of rounds alone, take turns.
        for len in (0..=LONGEST).filter(|len| *len < 2304 || len % 3 == turn) {
            let aad = &bytes[..if len % 2 == 0 { 8 } else { 12 }];
            agree(&mut native, &mut others, &mut room, len * 29 % 64, &bytes[..len], aad);
        }
    }
}

#[test]
fn every_alignment_gives_what_the_other_engines_give() {
    let bytes = noise(2, LONGEST);
    let encryption = Encryption::Aes128Gcm;
    let (mut native, mut others, mut room) = (native(encryption), others(encryption), Room::new());
    for off in 0..64 {
        for len in (0..280).chain([511, 516, 1023, 1404, 9000 + off]) {
            agree(&mut native, &mut others, &mut room, off, &bytes[..len], &bytes[off..off + 8]);
        }
    }
}

#[test]
fn every_length_of_additional_data_is_hashed() {
    let bytes = noise(3, 512);
    for encryption in SUITES {
        let (mut native, mut others, mut room) = (native(encryption), others(encryption), Room::new());
        for aad in 0..200 {
            for len in [0, 1, 16, 68, 127, 128, 129, 300] {
                agree(&mut native, &mut others, &mut room, aad % 64, &bytes[..len], &bytes[..aad]);
            }
        }
    }
}

/// Memory between two pages that may not be touched.
struct Fenced {
    at: *mut u8,
    pages: usize,
}
impl Fenced {
    const PAGE: usize = 4096;
    fn new(pages: usize) -> Self {
        let len = (pages + 2) * Self::PAGE;
        let (access, flags) = (ProtFlags::READ | ProtFlags::WRITE, MapFlags::PRIVATE);
        // SAFETY: a new mapping at an address of the kernel's choice touches nobody's memory.
        let map = unsafe { mmap_anonymous(std::ptr::null_mut(), len, access, flags) }.expect("memory");
        for fence in [0, pages + 1] {
            // SAFETY: one page within the mapping just made, to which nothing refers yet.
            unsafe { mprotect(map.byte_add(fence * Self::PAGE), Self::PAGE, MprotectFlags::empty()) }
                .expect("a fence");
        }
        // SAFETY: the second page of the mapping lies within it.
        let at = unsafe { map.byte_add(Self::PAGE) }.cast();
        Self { at, pages }
    }
    fn bytes(&mut self) -> &mut [u8] {
        // SAFETY: these pages are mapped, readable and writable, and borrowed through `self` alone.
        unsafe { std::slice::from_raw_parts_mut(self.at, self.pages * Self::PAGE) }
    }
    /// The last `len` bytes before the fence.
    fn end(&mut self, len: usize) -> &mut [u8] {
        let bytes = self.bytes();
        let from = bytes.len() - len;
        &mut bytes[from..]
    }
}
impl Drop for Fenced {
    fn drop(&mut self) {
        // SAFETY: the mapping of `new`, whole, and no borrow outlives `self`.
        unsafe { munmap(self.at.byte_sub(Self::PAGE).cast(), (self.pages + 2) * Self::PAGE) }
            .expect("a mapping");
    }
}

/// Text, nonce, additional data and ICV each at the very start or end of what may be touched: reading or writing one
/// byte more is a fault.
#[test]
fn nothing_beyond_the_slices_is_touched() {
    let bytes = noise(4, LONGEST);
    let (mut text, mut small, mut tag, mut salt) =
        (Fenced::new(3), Fenced::new(1), Fenced::new(1), Fenced::new(1));
    for encryption in SUITES {
        for sealer in &mut native(encryption) {
            for len in (0..=1500).chain([2048, 4095, 4096, 4097, 9000, LONGEST]) {
                for at_end in [true, false] {
                    let aad_len = if len % 2 == 0 { 8 } else { 12 };
                    let place = |fenced: &mut Fenced, len: usize| -> *mut [u8] {
                        if at_end { fenced.end(len) } else { &mut fenced.bytes()[..len] }
                    };
                    // SAFETY: four mappings of their own, each borrowed once until the end of this turn.
                    let (text, aad, icv, nonce) = unsafe {
                        (
                            &mut *place(&mut text, len),
                            &mut *place(&mut small, aad_len),
                            &mut *place(&mut tag, 16),
                            &mut *place(&mut salt, 12),
                        )
                    };
                    text.copy_from_slice(&bytes[..len]);
                    let icv: &mut [u8; 16] = icv.try_into().unwrap();
                    let nonce: &[u8; 12] = (&*nonce).try_into().unwrap();
                    assert!(sealer.crypto.aead_seal(&sealer.key, nonce, aad, text, icv));
                    assert!(sealer.crypto.aead_open(&sealer.key, nonce, aad, text, icv));
                    assert!(*text == bytes[..len], "{} {len}", sealer.name);
                }
            }
        }
    }
}

//= test rfc4303#3.4.4/integrity-checked
#[test]
fn whatever_bit_was_changed_nothing_opens_and_nothing_is_left() {
    let bytes = noise(5, 400);
    for encryption in SUITES {
        for sealer in &mut native(encryption) {
            for len in (0..=140).chain([255, 256, 272, 400]) {
                let (nonce, aad) = (nonce(len), &bytes[..12]);
                let mut sealed = bytes[..len].to_vec();
                let icv = sealer.seal(&nonce, aad, &mut sealed);
                let mut refused = |nonce: &[u8; 12], aad: &[u8], mut text: Vec<u8>, icv, what: &str| {
                    assert!(!sealer.open(nonce, aad, &mut text, icv), "{} {len}: {what}", sealer.name);
                    assert!(text.iter().all(|b| *b == 0), "{} {len}: {what} leaves something", sealer.name);
                };
                for bit in 0..128 {
                    let mut icv = icv;
                    icv[bit / 8] ^= 1 << (bit % 8);
                    refused(&nonce, aad, sealed.clone(), icv, "the ICV");
                }
                for at in 0..len {
                    let mut text = sealed.clone();
                    text[at] ^= 1 << (at % 8);
                    refused(&nonce, aad, text, icv, "the ciphertext");
                }
                for at in 0..12 {
                    let (mut nonce, mut aad) = (nonce, aad.to_vec());
                    nonce[at] ^= 0x10;
                    refused(&nonce, &bytes[..12], sealed.clone(), icv, "the nonce");
                    nonce[at] ^= 0x10;
                    aad[at] ^= 0x10;
                    refused(&nonce, &aad, sealed.clone(), icv, "the additional data");
                }
                // Another length of either with the same bytes.
                refused(&nonce, &aad[..8], sealed.clone(), icv, "the length of the additional data");
                if let Some((_, shorter)) = sealed.split_last() {
                    refused(&nonce, aad, shorter.to_vec(), icv, "the length");
                }
            }
        }
    }
}

#[test]
fn a_suite_that_is_not_aes_gcm_is_refused() {
    let crypto = CpuCrypto::new(CpuEngineKind::Native).expect("a CPU with AES-NI, PCLMULQDQ and AVX");
    let suite = Suite::new(Encryption::Aes128Cbc, Integrity::HmacSha256).unwrap();
    assert!(!crypto.supports(suite));
    assert!(crypto.new_key(suite, Direction::Inbound, &[1; 16], &[], &[2; 32]).is_err());
    let best = Path::best().expect("a path").name();
    assert_eq!(crypto.describe(), format!("native ({best})"));
}

/// ESP packets as a burst has them, each with the key `seed` of its own and high half of a number or none.
struct Burst {
    packets: Vec<(u64, Option<u32>, Vec<u8>)>,
}
impl Burst {
    fn of(lengths: &[usize]) -> Self {
        let packet = |(n, len): (usize, &usize)| {
            let seed = (n * 1000 + len) as u64;
            (seed % 3, seed.is_multiple_of(2).then_some(seed as u32), noise(seed, 16 + len + 16))
        };
        Self { packets: lengths.iter().enumerate().map(packet).collect() }
    }
    /// What each packet became.
    fn run(
        &self,
        crypto: &mut CpuCrypto,
        encryption: Encryption,
        direction: Direction,
    ) -> Vec<(bool, Vec<u8>)> {
        let suite = Suite::new(encryption, Integrity::None).unwrap();
        let key = |seed| {
            let bytes = noise(seed, encryption.key_len() + 4);
            let (key, salt) = bytes.split_at(encryption.key_len());
            crypto.new_key(suite, direction, key, salt, &[]).unwrap()
        };
        let keys: Vec<_> = self.packets.iter().map(|(seed, ..)| key(*seed)).collect();
        let mut bytes: Vec<_> = self.packets.iter().map(|(.., bytes)| bytes.clone()).collect();
        let all = keys.iter().zip(&mut bytes).zip(&self.packets);
        let mut ops: Vec<_> = all
            .map(|((key, esp), (_, seq_high, _))| EspOp { key, esp, seq_high: *seq_high, ok: false })
            .collect();
        match direction {
            Direction::Outbound => crypto.seal(&mut ops),
            Direction::Inbound => crypto.open(&mut ops),
        }
        let verdicts: Vec<_> = ops.iter().map(|op| op.ok).collect();
        drop(ops);
        verdicts.into_iter().zip(bytes).collect()
    }
}

/// Short packets are worked on two at a time, when they have as many blocks.
#[test]
fn neighbours_in_a_burst_do_not_change_each_other() {
    for encryption in SUITES {
        let mut oracle = CpuCrypto::new(CpuEngineKind::RustCrypto).unwrap();
        for len in 0..=132usize {
            let near = [len / 16 * 16 + 1, (len + 3).next_multiple_of(16), len + 16];
            for other in near {
                let burst = Burst::of(&[len, other, len, len, other]);
                let sealed = burst.run(&mut oracle, encryption, Direction::Outbound);
                assert!(sealed.iter().all(|(ok, _)| *ok));
                for path in Path::ALL {
                    let Some(mut crypto) = CpuCrypto::native(path) else { continue };
                    let name = format!("{} {encryption:?} {len} {other}", path.name());
                    assert!(burst.run(&mut crypto, encryption, Direction::Outbound) == sealed, "seal {name}");
                    for changed in [None, Some(0), Some(1), Some(3)] {
                        opens(&mut crypto, encryption, &burst, &sealed, changed, &name);
                    }
                }
            }
        }
    }
}
/// Opens what was sealed, with one packet changed.
fn opens(
    crypto: &mut CpuCrypto,
    encryption: Encryption,
    clear: &Burst,
    sealed: &[(bool, Vec<u8>)],
    changed: Option<usize>,
    name: &str,
) {
    let mut packets: Vec<_> = clear
        .packets
        .iter()
        .zip(sealed)
        .map(|((seed, high, _), (_, esp))| (*seed, *high, esp.clone()))
        .collect();
    if let Some(at) = changed {
        let end = packets[at].2.len() - 16 + at;
        packets[at].2[end] ^= 1;
    }
    let opened = Burst { packets }.run(crypto, encryption, Direction::Inbound);
    for (n, ((ok, bytes), (.., clear))) in opened.iter().zip(&clear.packets).enumerate() {
        let text = 16..clear.len() - 16;
        assert_eq!(*ok, changed != Some(n), "packet {n}, {changed:?} changed, open {name}");
        match ok {
            true => assert!(bytes[text.clone()] == clear[text], "packet {n} open {name}"),
            false => assert!(bytes[text].iter().all(|b| *b == 0), "packet {n} is not wiped, open {name}"),
        }
    }
}
