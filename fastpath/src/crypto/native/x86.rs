//! The functions that have the instructions switched on, and the choice among them.
use super::kernel;
use super::key::{Parts, Record};
use super::lanes::{AesNi, Block, Bytes, Pair, Vaes};
use super::{Esp, Path, Start};
use sa::{Encryption, Suite};
use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};

/// The longest text GCM permits (SP 800-38D 5.2.1.1).
const LONGEST: u64 = (1 << 36) - 32;

/// Expanded keys of one direction of one SA. Wiped on drop.
pub struct Keys {
    cpu: Cpu,
    sized: Sized,
}
#[derive(Clone, Copy)]
enum Cpu {
    AesNi(AesNi),
    Vaes(Vaes),
}
enum Sized {
    Aes128(Box<Record<0>>),
    Aes192(Box<Record<2>>),
    Aes256(Box<Record<4>>),
}

/// The same expression for each key size.
macro_rules! each {
    ($sized:expr, $record:ident => $do:expr) => {
        match $sized {
            Sized::Aes128($record) => $do,
            Sized::Aes192($record) => $do,
            Sized::Aes256($record) => $do,
        }
    };
}

impl Keys {
    /// `None` when the CPU lacks what `path` needs, the suite is another one, or the key has another length.
    pub fn new(path: Path, suite: Suite, enc_key: &[u8]) -> Option<Self> {
        let cpu = match path {
            Path::Vaes256 => Cpu::Vaes(Vaes::here()?),
            Path::AesNi => Cpu::AesNi(AesNi::here()?),
        };
        if enc_key.len() != suite.encryption().key_len() {
            return None;
        }
        let sized = match suite.encryption() {
            Encryption::Aes128Gcm => Sized::Aes128(filled(enc_key)?),
            Encryption::Aes192Gcm => Sized::Aes192(filled(enc_key)?),
            Encryption::Aes256Gcm => Sized::Aes256(filled(enc_key)?),
            _ => return None,
        };
        Some(Self { cpu, sized })
    }
    /// `packet` is its length.
    #[inline]
    pub fn prefetch(&self, packet: usize) {
        each!(&self.sized, record => for line in record.lines(packet) {
            // SAFETY: prefetching changes no state that a program can see, and SSE is part of x86-64.
            unsafe { _mm_prefetch::<_MM_HINT_T0>(line) }
        });
    }
    #[inline]
    pub fn seal(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], icv: &mut Bytes) -> bool {
        if text.len() as u64 > LONGEST {
            return false;
        }
        each!(&self.sized, record => {
            // By pointers: from a record the compiler takes the round keys out of the loop, and then has no room for them.
            let key = &record.parts();
            match self.cpu {
            // SAFETY: the witness shows that the CPU has the instructions the function is compiled for.
            Cpu::Vaes(cpu) => unsafe { seal_pairs(cpu, key, nonce, aad, text, icv) },
            // SAFETY: the same.
            Cpu::AesNi(cpu) => unsafe { seal_blocks(cpu, key, nonce, aad, text, icv) },
        }})
    }
    /// Wipes `text` when the ICV does not match.
    #[inline]
    pub fn open(&self, nonce: &[u8; 12], aad: &[u8], text: &mut [u8], icv: &mut Bytes) -> bool {
        if text.len() as u64 > LONGEST {
            return false;
        }
        each!(&self.sized, record => {
            // By pointers: from a record the compiler takes the round keys out of the loop, and then has no room for them.
            let key = &record.parts();
            match self.cpu {
            // SAFETY: the witness shows that the CPU has the instructions the function is compiled for.
            Cpu::Vaes(cpu) => unsafe { open_pairs(cpu, key, nonce, aad, text, icv) },
            // SAFETY: the same.
            Cpu::AesNi(cpu) => unsafe { open_blocks(cpu, key, nonce, aad, text, icv) },
        }})
    }
    /// Seals or opens an ESP packet, while the text of the packet `ahead` is brought near. When that fails, no
    /// plaintext is left in it.
    #[inline]
    pub fn esp<const SEAL: bool>(&self, esp: Esp<'_>, ahead: &[u8]) -> bool {
        let Some((Start { nonce, aad, aad_len }, text, icv)) = esp.parts() else { return false };
        if text.len() as u64 > LONGEST {
            return false;
        }
        each!(&self.sized, record => {
            // By pointers: from a record the compiler takes the round keys out of the loop, and then has no room for them.
            let key = &record.parts();
            match self.cpu {
            // SAFETY: the witness shows that the CPU has the instructions the function is compiled for.
            Cpu::Vaes(cpu) => unsafe { esp_pairs::<SEAL, _>(cpu, key, nonce, aad, aad_len, text, icv, ahead) },
            // SAFETY: the same.
            Cpu::AesNi(cpu) => unsafe { esp_blocks::<SEAL, _>(cpu, key, nonce, aad, aad_len, text, icv, ahead) },
        }})
    }
    /// The same for two of them, each with its key: short ones of about the same length take turns on one core's units.
    #[inline]
    pub fn two<const SEAL: bool>(keys: [&Self; 2], packets: [Esp<'_>; 2], ahead: &[u8]) -> [bool; 2] {
        let [a, b] = &packets;
        if kernel::side_by_side(a.esp.len(), b.esp.len()) {
            match (&keys[0].sized, &keys[1].sized) {
                (Sized::Aes128(a), Sized::Aes128(b)) => return two::<SEAL, _>(keys[0].cpu, [a, b], packets),
                (Sized::Aes192(a), Sized::Aes192(b)) => return two::<SEAL, _>(keys[0].cpu, [a, b], packets),
                (Sized::Aes256(a), Sized::Aes256(b)) => return two::<SEAL, _>(keys[0].cpu, [a, b], packets),
                _ => {}
            }
        }
        let [a, b] = packets;
        [keys[0].esp::<SEAL>(a, b.esp), keys[1].esp::<SEAL>(b, ahead)]
    }
}

#[inline]
fn two<const SEAL: bool, const MORE: usize>(
    cpu: Cpu,
    keys: [&Record<MORE>; 2],
    packets: [Esp<'_>; 2],
) -> [bool; 2] {
    match cpu {
        // SAFETY: the witness shows that the CPU has the instructions the function is compiled for.
        Cpu::Vaes(cpu) => unsafe { two_pairs::<SEAL, MORE>(cpu, keys, packets) },
        // SAFETY: the same.
        Cpu::AesNi(cpu) => unsafe { two_blocks::<SEAL, MORE>(cpu, keys, packets) },
    }
}

fn filled<const MORE: usize>(key: &[u8]) -> Option<Box<Record<MORE>>> {
    let cpu = AesNi::here()?;
    let mut record = Record::empty();
    // SAFETY: the witness shows that the CPU has the instructions the function is compiled for.
    unsafe { fill(cpu, &mut record, key) };
    Some(record)
}

#[target_feature(enable = "aes,pclmulqdq,avx")]
fn fill<const MORE: usize>(cpu: AesNi, record: &mut Record<MORE>, key: &[u8]) {
    record.fill(cpu, key);
}

/// One code path, one direction; a copy for each key size.
macro_rules! path {
    ($name:ident, $features:literal, $cpu:ty, $vector:ty, $seal:literal) => {
        #[target_feature(enable = $features)]
        fn $name<const MORE: usize>(
            cpu: $cpu,
            key: &Parts<'_, MORE>,
            nonce: &[u8; 12],
            aad: &[u8],
            text: &mut [u8],
            icv: &mut Bytes,
        ) -> bool {
            kernel::run::<$vector, $seal, MORE>(cpu, key, nonce, aad, text, icv)
        }
    };
}
path!(seal_pairs, "aes,pclmulqdq,avx2,vaes,vpclmulqdq", Vaes, Pair, true);
path!(open_pairs, "aes,pclmulqdq,avx2,vaes,vpclmulqdq", Vaes, Pair, false);
path!(seal_blocks, "aes,pclmulqdq,avx", AesNi, Block, true);
path!(open_blocks, "aes,pclmulqdq,avx", AesNi, Block, false);

/// One code path for ESP packets; a copy for each direction and key size.
macro_rules! esp_path {
    ($one:ident, $two:ident, $features:literal, $cpu:ty, $vector:ty) => {
        #[target_feature(enable = $features)]
        #[allow(
            clippy::too_many_arguments,
            reason = "one by one they are in registers, and text and key known apart"
        )]
        fn $one<const SEAL: bool, const MORE: usize>(
            cpu: $cpu,
            key: &Parts<'_, MORE>,
            nonce: u128,
            aad: u128,
            aad_len: usize,
            text: &mut [u8],
            icv: &mut Bytes,
            ahead: &[u8],
        ) -> bool {
            let start = Start { nonce, aad, aad_len };
            kernel::run_esp::<$vector, SEAL, MORE>(cpu, key, start, text, icv, ahead)
        }
        #[target_feature(enable = $features)]
        fn $two<const SEAL: bool, const MORE: usize>(
            cpu: $cpu,
            [key, other]: [&Record<MORE>; 2],
            packets: [Esp<'_>; 2],
        ) -> [bool; 2] {
            kernel::run_two::<$vector, SEAL, MORE>(cpu, [&key.parts(), &other.parts()], packets)
        }
    };
}
esp_path!(esp_pairs, two_pairs, "aes,pclmulqdq,avx2,vaes,vpclmulqdq", Vaes, Pair);
esp_path!(esp_blocks, two_blocks, "aes,pclmulqdq,avx", AesNi, Block);
