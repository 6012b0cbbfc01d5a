//! AES-GCM and ChaCha20-Poly1305 on every engine: the same ciphertext and ICV from all, and nobody opens what was changed. The input is
//! cipher, alignment, length of the additional data, a bit; then key, nonce, additional data and text.
#![no_main]
use fastpath::crypto::cpu::{CpuCrypto, CpuEngineKind};
use fastpath::crypto::native::Path;
use libfuzzer_sys::fuzz_target;
use sa::{Direction, Encryption, Integrity, Suite};
use std::cell::RefCell;

thread_local! {
    static ENGINES: RefCell<Vec<CpuCrypto>> = RefCell::new(engines());
}

/// The oracle first. libipsec-mb is left out where it is not installed.
fn engines() -> Vec<CpuCrypto> {
    let oracle = CpuCrypto::new(CpuEngineKind::RustCrypto).expect("it needs nothing");
    let others =
        [CpuEngineKind::Ring, CpuEngineKind::IpsecMb].into_iter().filter_map(|k| CpuCrypto::new(k).ok());
    let native = Path::ALL.into_iter().filter_map(CpuCrypto::native);
    [oracle].into_iter().chain(native).chain(others).collect()
}

struct Case<'a> {
    suite: Suite,
    key: &'a [u8],
    nonce: &'a [u8; 12],
    aad: &'a [u8],
    text: &'a [u8],
    off: usize,
    /// Which bit of text and ICV arrives changed.
    flip: usize,
}

fn case(data: &[u8]) -> Option<Case<'_>> {
    let ([cipher, off, aad, flip @ ..], rest) = data.split_first_chunk::<5>()?;
    use Encryption::{Aes128Gcm, Aes192Gcm, Aes256Gcm, ChaCha20Poly1305};
    let encryption = [Aes128Gcm, Aes192Gcm, Aes256Gcm, ChaCha20Poly1305][usize::from(cipher % 4)];
    let suite = Suite::new(encryption, Integrity::None).ok()?;
    let (key, rest) = rest.split_at_checked(encryption.key_len())?;
    let (nonce, rest) = rest.split_first_chunk()?;
    let (aad, text) = rest.split_at_checked((*aad).into())?;
    let flip = usize::from(u16::from_le_bytes(*flip)) % (text.len() * 8 + 128);
    Some(Case { suite, key, nonce, aad, text, off: usize::from(off % 64), flip })
}

/// `text` in a buffer of exactly its size behind `off` bytes, so that the sanitizer sees what lies beyond.
fn placed(off: usize, text: &[u8]) -> Vec<u8> {
    let mut buffer = Vec::with_capacity(off + text.len());
    buffer.resize(off, 0x77);
    buffer.extend(text);
    buffer
}

fuzz_target!(|data: &[u8]| {
    let Some(case) = case(data) else { return };
    ENGINES.with_borrow_mut(|engines| check(engines, &case));
});

fn check(engines: &mut [CpuCrypto], case: &Case<'_>) {
    let Case { suite, nonce, aad, text, off, flip, .. } = *case;
    let mut expected: Option<(Vec<u8>, [u8; 16])> = None;
    for engine in engines.iter_mut().filter(|engine| engine.supports(suite)) {
        let name = engine.describe();
        let key =
            engine.new_key(suite, Direction::Outbound, case.key, &[0; 4], &[]).expect("lengths are right");
        let (mut sealed, mut icv) = (placed(off, text), [0xee; 16]);
        assert!(engine.aead_seal(&key, nonce, aad, &mut sealed[off..], &mut icv), "{name}");
        assert!(sealed[..off].iter().all(|byte| *byte == 0x77), "{name}");
        let (oracle, oracle_icv) = expected.get_or_insert_with(|| (sealed.clone(), icv));
        assert_eq!((&sealed, icv), (&*oracle, *oracle_icv), "{name}");

        let (mut changed, mut changed_icv) = (sealed.clone(), icv);
        let place = changed[off..].iter_mut().chain(&mut changed_icv).nth(flip / 8).expect("a byte");
        *place ^= 1 << (flip % 8);
        assert!(!engine.aead_open(&key, nonce, aad, &mut changed[off..], &mut changed_icv), "{name}");
        assert!(changed[off..].iter().all(|byte| *byte == 0), "{name} leaves plaintext");

        assert!(engine.aead_open(&key, nonce, aad, &mut sealed[off..], &mut icv), "{name}");
        assert_eq!(sealed[off..], *text, "{name}");
    }
}
