//! Algorithms of IKE SAs: RouterOS's names, or ours of what it does not have, IANA's numbers for IKEv2, lengths. Among
//! those of a kind the stronger stand behind the weaker.

use crate::suite::{Cipher, CipherMode};
use crate::table::table;
use CipherMode::{Cbc, Ccm, Ctr, Gcm};
use CipherRow as C;
use GroupRow as G;
use IntegrityRow as I;
use PrfRow as P;

struct CipherRow {
    name: &'static str,
    cipher: Cipher,
    mode: CipherMode,
    key_len: usize,
    salt_len: usize,
    iv_len: usize,
    /// 0: it needs an integrity algorithm beside it.
    icv_len: usize,
    transform: u16,
    /// Whether the key's length is told with the number.
    sized: bool,
    weakness: Option<&'static str>,
}
impl CipherRow {
    const fn cbc(name: &'static str, cipher: Cipher, key_len: usize, block: usize, transform: u16) -> Self {
        let (salt_len, icv_len, sized, weakness) = (0, 0, true, None);
        Self {
            name,
            cipher,
            mode: Cbc,
            key_len,
            salt_len,
            iv_len: block,
            icv_len,
            transform,
            sized,
            weakness,
        }
    }
    /// A counter in the IV, and a salt that is never sent.
    const fn counter(
        name: &'static str,
        cipher: Cipher,
        mode: CipherMode,
        key_len: usize,
        icv_len: usize,
        transform: u16,
    ) -> Self {
        //= rfc5282#7.1/salt: SK_e of an AEAD carries the salt behind the key; CCM's has three octets, all others' four.
        //= rfc5930#2.2/nonce: as does that of AES-CTR.
        let salt_len = if matches!(mode, Ccm) { 3 } else { 4 };
        let (iv_len, sized, weakness) = (8, true, None);
        Self { name, cipher, mode, key_len, salt_len, iv_len, icv_len, transform, sized, weakness }
    }
    const fn aes(
        name: &'static str,
        mode: CipherMode,
        key_len: usize,
        icv_len: usize,
        transform: u16,
    ) -> Self {
        Self::counter(name, Cipher::Aes, mode, key_len, icv_len, transform)
    }
    const fn camellia(name: &'static str, mode: CipherMode, key_len: usize, icv_len: usize, n: u16) -> Self {
        Self::counter(name, Cipher::Camellia, mode, key_len, icv_len, n)
    }
    /// Its key has one length, so the attribute must not be there.
    const fn fixed(self) -> Self {
        Self { sized: false, ..self }
    }
    const fn weak(self, why: &'static str) -> Self {
        Self { weakness: Some(why), ..self }
    }
}

const SHORT_BLOCKS: &str = "its blocks have 64 bits only (RFC 8247 2.1)";

// RFC 2451, 3602, 5282, 5529, 5930, 7634.
table! {
/// Cipher of IKE messages.
IkeCipher: CipherRow {
    Des = 0 => C::cbc("des", Cipher::Des, 8, 8, 2).fixed().weak("all its keys can be tried out (RFC 8247 2.1)"),
    Blowfish = 1 => C::cbc("blowfish", Cipher::Blowfish, 16, 8, 7).weak(SHORT_BLOCKS),
    TripleDes = 2 => C::cbc("3des", Cipher::TripleDes, 24, 8, 3).fixed().weak(SHORT_BLOCKS),
    Camellia128Ctr = 3 => C::camellia("camellia-128-ctr", Ctr, 16, 0, 24),
    Camellia192Ctr = 4 => C::camellia("camellia-192-ctr", Ctr, 24, 0, 24),
    Camellia256Ctr = 5 => C::camellia("camellia-256-ctr", Ctr, 32, 0, 24),
    Camellia128Cbc = 6 => C::cbc("camellia-128", Cipher::Camellia, 16, 16, 23),
    Camellia192Cbc = 7 => C::cbc("camellia-192", Cipher::Camellia, 24, 16, 23),
    Camellia256Cbc = 8 => C::cbc("camellia-256", Cipher::Camellia, 32, 16, 23),
    Camellia128Ccm8 = 9 => C::camellia("camellia-128-ccm-8", Ccm, 16, 8, 25),
    Camellia192Ccm8 = 10 => C::camellia("camellia-192-ccm-8", Ccm, 24, 8, 25),
    Camellia256Ccm8 = 11 => C::camellia("camellia-256-ccm-8", Ccm, 32, 8, 25),
    Camellia128Ccm12 = 12 => C::camellia("camellia-128-ccm-12", Ccm, 16, 12, 26),
    Camellia192Ccm12 = 13 => C::camellia("camellia-192-ccm-12", Ccm, 24, 12, 26),
    Camellia256Ccm12 = 14 => C::camellia("camellia-256-ccm-12", Ccm, 32, 12, 26),
    Camellia128Ccm = 15 => C::camellia("camellia-128-ccm", Ccm, 16, 16, 27),
    Camellia192Ccm = 16 => C::camellia("camellia-192-ccm", Ccm, 24, 16, 27),
    Camellia256Ccm = 17 => C::camellia("camellia-256-ccm", Ccm, 32, 16, 27),
    Aes128Ctr = 18 => C::aes("aes-128-ctr", Ctr, 16, 0, 13),
    Aes192Ctr = 19 => C::aes("aes-192-ctr", Ctr, 24, 0, 13),
    Aes256Ctr = 20 => C::aes("aes-256-ctr", Ctr, 32, 0, 13),
    Aes128Cbc = 21 => C::cbc("aes-128", Cipher::Aes, 16, 16, 12),
    Aes192Cbc = 22 => C::cbc("aes-192", Cipher::Aes, 24, 16, 12),
    Aes256Cbc = 23 => C::cbc("aes-256", Cipher::Aes, 32, 16, 12),
    Aes128Ccm8 = 24 => C::aes("aes-128-ccm-8", Ccm, 16, 8, 14),
    Aes192Ccm8 = 25 => C::aes("aes-192-ccm-8", Ccm, 24, 8, 14),
    Aes256Ccm8 = 26 => C::aes("aes-256-ccm-8", Ccm, 32, 8, 14),
    Aes128Ccm12 = 27 => C::aes("aes-128-ccm-12", Ccm, 16, 12, 15),
    Aes192Ccm12 = 28 => C::aes("aes-192-ccm-12", Ccm, 24, 12, 15),
    Aes256Ccm12 = 29 => C::aes("aes-256-ccm-12", Ccm, 32, 12, 15),
    Aes128Ccm = 30 => C::aes("aes-128-ccm", Ccm, 16, 16, 16),
    Aes192Ccm = 31 => C::aes("aes-192-ccm", Ccm, 24, 16, 16),
    Aes256Ccm = 32 => C::aes("aes-256-ccm", Ccm, 32, 16, 16),
    Aes128Gcm8 = 33 => C::aes("aes-128-gcm-8", Gcm, 16, 8, 18),
    Aes192Gcm8 = 34 => C::aes("aes-192-gcm-8", Gcm, 24, 8, 18),
    Aes256Gcm8 = 35 => C::aes("aes-256-gcm-8", Gcm, 32, 8, 18),
    Aes128Gcm12 = 36 => C::aes("aes-128-gcm-12", Gcm, 16, 12, 19),
    Aes192Gcm12 = 37 => C::aes("aes-192-gcm-12", Gcm, 24, 12, 19),
    Aes256Gcm12 = 38 => C::aes("aes-256-gcm-12", Gcm, 32, 12, 19),
    Aes128Gcm = 39 => C::aes("aes-128-gcm", Gcm, 16, 16, 20),
    Aes192Gcm = 40 => C::aes("aes-192-gcm", Gcm, 24, 16, 20),
    Aes256Gcm = 41 => C::aes("aes-256-gcm", Gcm, 32, 16, 20),
    //= rfc7634#4/no-key-length: the key has one length, so the attribute must not be there.
    ChaCha20Poly1305 = 42 => C::counter(
        "chacha20poly1305", Cipher::ChaCha20, CipherMode::ChaCha20Poly1305, 32, 16, 28
    ).fixed(),
} }

impl IkeCipher {
    pub const fn cipher(self) -> Cipher {
        self.row().cipher
    }
    pub const fn mode(self) -> CipherMode {
        self.row().mode
    }
    /// Transform id, and Key Length attribute in bits.
    pub const fn transform(self) -> (u16, Option<u16>) {
        let row = self.row();
        (row.transform, if row.sized { Some(row.key_len as u16 * 8) } else { None })
    }
    /// Brings its own integrity.
    pub const fn is_aead(self) -> bool {
        self.row().icv_len > 0
    }
    /// No IV may ever come twice under one key.
    pub const fn counts_iv(self) -> bool {
        self.row().salt_len > 0
    }
    /// In bytes, without the salt.
    pub const fn key_len(self) -> usize {
        self.row().key_len
    }
    pub const fn salt_len(self) -> usize {
        self.row().salt_len
    }
    pub const fn iv_len(self) -> usize {
        self.row().iv_len
    }
    /// 0 unless it is an AEAD.
    pub const fn icv_len(self) -> usize {
        self.row().icv_len
    }
    /// The ciphertext is whole blocks of so many bytes.
    pub const fn block_len(self) -> usize {
        if matches!(self.row().mode, Cbc) { self.row().iv_len } else { 1 }
    }
}

const MD5: &str = "MD5 is broken (RFC 8247 2.2)";

struct PrfRow {
    name: &'static str,
    size: usize,
    transform: u16,
    weakness: Option<&'static str>,
}
impl PrfRow {
    const fn new(name: &'static str, size: usize, transform: u16) -> Self {
        Self { name, size, transform, weakness: None }
    }
}

// RFC 7296 3.3.2, RFC 4434, 4615, 4868.
table! {
/// Pseudo-random function.
Prf: PrfRow {
    HmacMd5 = 0 => P { weakness: Some(MD5), ..P::new("md5", 16, 1) },
    HmacSha1 = 1 => P::new("sha1", 20, 2),
    AesXcbc = 2 => P::new("aes-xcbc", 16, 4),
    AesCmac = 3 => P::new("aes-cmac", 16, 8),
    HmacSha256 = 4 => P::new("sha256", 32, 5),
    HmacSha384 = 5 => P::new("sha384", 48, 6),
    HmacSha512 = 6 => P::new("sha512", 64, 7),
} }

impl Prf {
    pub const fn transform(self) -> u16 {
        self.row().transform
    }
    /// Output, and preferred key, in bytes.
    pub const fn size(self) -> usize {
        self.row().size
    }
}

struct IntegrityRow {
    name: &'static str,
    prf: Prf,
    icv_len: usize,
    transform: u16,
    weakness: Option<&'static str>,
}
impl IntegrityRow {
    const fn new(prf: Prf, icv_len: usize, transform: u16) -> Self {
        Self { name: prf.name(), prf, icv_len, transform, weakness: prf.weakness() }
    }
}

// Truncated lengths: RFC 2403, 2404, 3566, 4494, 4868.
table! {
/// Integrity of IKE messages whose cipher brings none.
IkeIntegrity: IntegrityRow {
    HmacMd5 = 0 => I::new(Prf::HmacMd5, 12, 1),
    HmacSha1 = 1 => I::new(Prf::HmacSha1, 12, 2),
    AesXcbc = 2 => I::new(Prf::AesXcbc, 12, 5),
    AesCmac = 3 => I::new(Prf::AesCmac, 12, 8),
    HmacSha256 = 4 => I::new(Prf::HmacSha256, 16, 12),
    HmacSha384 = 5 => I::new(Prf::HmacSha384, 24, 13),
    HmacSha512 = 6 => I::new(Prf::HmacSha512, 32, 14),
} }

impl IkeIntegrity {
    pub const fn transform(self) -> u16 {
        self.row().transform
    }
    /// The function it is, before its output is cut.
    pub const fn prf(self) -> Prf {
        self.row().prf
    }
    pub const fn key_len(self) -> usize {
        self.prf().size()
    }
    pub const fn icv_len(self) -> usize {
        self.row().icv_len
    }
}

/// How a shared secret is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum GroupKind {
    /// Powers of two modulo a safe prime; bytes of the exponent.
    Modp { exponent: usize },
    /// Points of a curve, as x and y.
    Curve,
    /// RFC 7748.
    Montgomery,
    /// A key that the responder encapsulates a secret for; length of its answer.
    Kem { answer: usize },
}
struct GroupRow {
    name: &'static str,
    kind: GroupKind,
    transform: u16,
    public_len: usize,
    weakness: Option<&'static str>,
}
impl GroupRow {
    //= rfc3526#8/exponent-size: twice the larger estimate of the group's strength.
    const fn modp(name: &'static str, bits: usize, exponent: usize, transform: u16) -> Self {
        Self { name, kind: GroupKind::Modp { exponent }, transform, public_len: bits / 8, weakness: None }
    }
    const fn curve(name: &'static str, public_len: usize, transform: u16) -> Self {
        Self { name, kind: GroupKind::Curve, transform, public_len, weakness: None }
    }
    const fn montgomery(name: &'static str, public_len: usize, transform: u16) -> Self {
        Self { name, kind: GroupKind::Montgomery, transform, public_len, weakness: None }
    }
    const fn kem(name: &'static str, public_len: usize, answer: usize, transform: u16) -> Self {
        Self { name, kind: GroupKind::Kem { answer }, transform, public_len, weakness: None }
    }
    const fn weak(self, why: &'static str) -> Self {
        Self { weakness: Some(why), ..self }
    }
}

// RFC 2409 6, RFC 3526, 5903, 6954, 8031; FIPS 203 with draft-ietf-ipsecme-ikev2-mlkem. Groups 22 to 24 are left out on purpose: see `REFUSED_GROUPS`.
table! {
/// Diffie-Hellman group, or another key exchange method.
DhGroup: GroupRow {
    Modp768 = 0 => G::modp("modp768", 768, 32, 1).weak("768 bits have been broken (RFC 8247 2.4)"),
    Modp1024 = 1 => G::modp("modp1024", 1024, 32, 2),
    Modp1536 = 2 => G::modp("modp1536", 1536, 32, 5).weak("1536 bits are too few (RFC 8247 2.4)"),
    Modp2048 = 3 => G::modp("modp2048", 2048, 40, 14),
    Modp3072 = 4 => G::modp("modp3072", 3072, 53, 15),
    Modp4096 = 5 => G::modp("modp4096", 4096, 60, 16),
    Modp6144 = 6 => G::modp("modp6144", 6144, 68, 17),
    Modp8192 = 7 => G::modp("modp8192", 8192, 78, 18),
    Brainpool224 = 8 => G::curve("brainpool224", 56, 27),
    Brainpool256 = 9 => G::curve("brainpool256", 64, 28),
    Brainpool384 = 10 => G::curve("brainpool384", 96, 29),
    Brainpool512 = 11 => G::curve("brainpool512", 128, 30),
    Ecp256 = 12 => G::curve("ecp256", 64, 19),
    Ecp384 = 13 => G::curve("ecp384", 96, 20),
    Ecp521 = 14 => G::curve("ecp521", 132, 21),
    X448 = 15 => G::montgomery("x448", 56, 32),
    X25519 = 16 => G::montgomery("x25519", 32, 31),
    MlKem512 = 17 => G::kem("mlkem512", 800, 768, 35),
    MlKem768 = 18 => G::kem("mlkem768", 1184, 1088, 36),
    MlKem1024 = 19 => G::kem("mlkem1024", 1568, 1568, 37),
} }

/// Groups that nobody should have named, and why.
//= rfc8247#2.4/no-subgroups: groups 22 to 24 have small subgroups, and nobody says where their primes are from.
pub const REFUSED_GROUPS: [(&str, u16, &str); 3] = [
    ("modp1024s160", 22, "its prime is short, has small subgroups and an unknown origin (RFC 8247 2.4)"),
    ("modp2048s224", 23, "its prime has small subgroups and an unknown origin (RFC 8247 2.4)"),
    ("modp2048s256", 24, "its prime has small subgroups and an unknown origin (RFC 8247 2.4)"),
];

/// One additional key exchange (RFC 9370).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeRound {
    /// Preferred first.
    pub methods: Vec<DhGroup>,
    /// It is left out where the peer does not do it.
    pub optional: bool,
}

impl DhGroup {
    /// What the first key exchange, that of IKE_SA_INIT, is made with here.
    pub const CLASSIC: [Self; 17] = {
        let mut all = [Self::X25519; 17];
        let mut at = 0;
        while at < all.len() {
            all[at] = Self::ALL[at];
            at += 1;
        }
        all
    };
    pub const KEMS: [Self; 3] = [Self::MlKem768, Self::MlKem1024, Self::MlKem512];
    pub const fn kind(self) -> GroupKind {
        self.row().kind
    }
    pub const fn transform(self) -> u16 {
        self.row().transform
    }
    pub fn from_transform(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|group| group.transform() == id)
    }
    /// Length of a KE payload's data (RFC 7296 3.4, RFC 5903 7, RFC 8031 3.1), the initiator's.
    pub const fn public_len(self) -> usize {
        self.row().public_len
    }
    /// The responder's.
    pub const fn answer_len(self) -> usize {
        match self.kind() {
            GroupKind::Kem { answer } => answer,
            _ => self.public_len(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    /// The macro takes a row's number on trust.
    #[test]
    fn rows_stand_where_their_numbers_say_and_names_are_unique() {
        for (place, x) in IkeCipher::ALL.into_iter().enumerate() {
            assert_eq!((x as usize, IkeCipher::from_name(x.name())), (place, Some(x)));
        }
        for (place, x) in IkeIntegrity::ALL.into_iter().enumerate() {
            assert_eq!((x as usize, IkeIntegrity::from_name(x.name())), (place, Some(x)));
        }
        for (place, x) in Prf::ALL.into_iter().enumerate() {
            assert_eq!((x as usize, Prf::from_name(x.name())), (place, Some(x)));
        }
        for (place, x) in DhGroup::ALL.into_iter().enumerate() {
            assert_eq!((x as usize, DhGroup::from_name(x.name())), (place, Some(x)));
            assert_eq!(DhGroup::from_transform(x.transform()), Some(x));
        }
        let numbers: HashSet<_> = IkeCipher::ALL.map(IkeCipher::transform).into();
        assert_eq!(numbers.len(), IkeCipher::ALL.len());
    }
    /// IANA's registry of IKEv2 transforms, and the RFCs' lengths.
    #[test]
    fn numbers_and_lengths_are_those_of_the_standards() {
        let of = |name| {
            let c = IkeCipher::from_name(name).unwrap();
            (c.transform(), c.key_len(), c.salt_len(), c.iv_len(), c.icv_len(), c.block_len())
        };
        assert_eq!(of("des"), ((2, None), 8, 0, 8, 0, 8));
        assert_eq!(of("3des"), ((3, None), 24, 0, 8, 0, 8));
        assert_eq!(of("blowfish"), ((7, Some(128)), 16, 0, 8, 0, 8));
        assert_eq!(of("aes-192"), ((12, Some(192)), 24, 0, 16, 0, 16));
        assert_eq!(of("aes-256-ctr"), ((13, Some(256)), 32, 4, 8, 0, 1));
        assert_eq!(of("aes-128-ccm-8"), ((14, Some(128)), 16, 3, 8, 8, 1));
        assert_eq!(of("aes-192-gcm-12"), ((19, Some(192)), 24, 4, 8, 12, 1));
        assert_eq!(of("camellia-256"), ((23, Some(256)), 32, 0, 16, 0, 16));
        assert_eq!(of("camellia-128-ctr"), ((24, Some(128)), 16, 4, 8, 0, 1));
        assert_eq!(of("camellia-192-ccm"), ((27, Some(192)), 24, 3, 8, 16, 1));
        assert_eq!(of("chacha20poly1305"), ((28, None), 32, 4, 8, 16, 1));
        let of = |name| {
            let i = IkeIntegrity::from_name(name).unwrap();
            (i.transform(), i.prf().transform(), i.key_len(), i.icv_len())
        };
        assert_eq!(of("md5"), (1, 1, 16, 12));
        assert_eq!(of("aes-xcbc"), (5, 4, 16, 12));
        assert_eq!(of("aes-cmac"), (8, 8, 16, 12));
        assert_eq!(of("sha384"), (13, 6, 48, 24));
        let numbers = DhGroup::ALL.map(DhGroup::transform);
        assert_eq!(numbers, [1, 2, 5, 14, 15, 16, 17, 18, 27, 28, 29, 30, 19, 20, 21, 32, 31, 35, 36, 37]);
        assert!(DhGroup::CLASSIC.iter().all(|g| !matches!(g.kind(), GroupKind::Kem { .. })));
    }
    #[test]
    fn refused_groups_are_no_groups() {
        for (name, number, _) in REFUSED_GROUPS {
            assert_eq!((DhGroup::from_name(name), DhGroup::from_transform(number)), (None, None));
        }
    }
}
