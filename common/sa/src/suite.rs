//! ESP and AH transforms: what each needs in key, salt, IV, ICV and padding, under RouterOS's names and IANA's numbers.

use crate::table::table;
use CipherMode::{Ccm, Ctr, Gcm, Gmac};
use EncryptionRow as E;
use IntegrityRow as I;

/// How a cipher is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum CipherMode {
    Null,
    /// Blocks, under an IV nobody can foresee.
    Cbc,
    Ctr,
    Gcm,
    Ccm,
    /// Integrity without encryption (RFC 4543).
    Gmac,
    ChaCha20Poly1305,
}
/// The family of an algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cipher {
    Null,
    Aes,
    Des,
    TripleDes,
    Blowfish,
    Twofish,
    Camellia,
    ChaCha20,
}

struct EncryptionRow {
    name: &'static str,
    cipher: Cipher,
    mode: CipherMode,
    key_len: usize,
    salt_len: usize,
    iv_len: usize,
    /// 0: it needs an integrity algorithm beside it.
    icv_len: usize,
    /// IANA's number for IKEv2, and whether the key's length is told with it.
    transform: Option<(u16, bool)>,
    weakness: Option<&'static str>,
}

const SHORT_BLOCKS: &str = "blocks of 64 bits repeat after some gigabytes under one key, and a repetition tells plaintext (RFC 8221 5)";

impl EncryptionRow {
    const fn new(name: &'static str, cipher: Cipher, mode: CipherMode, key_len: usize) -> Self {
        let (salt_len, iv_len, icv_len) = (0, 0, 0);
        Self { name, cipher, mode, key_len, salt_len, iv_len, icv_len, transform: None, weakness: None }
    }
    const fn weak(self, why: &'static str) -> Self {
        Self { weakness: Some(why), ..self }
    }
    /// `id`: IANA's number, whose key has one length.
    const fn fixed(self, id: u16) -> Self {
        Self { transform: Some((id, false)), ..self }
    }
    const fn sized(self, id: u16) -> Self {
        Self { transform: Some((id, true)), ..self }
    }
    const fn cbc(name: &'static str, cipher: Cipher, key_len: usize, block: usize) -> Self {
        Self { iv_len: block, ..Self::new(name, cipher, CipherMode::Cbc, key_len) }
    }
    /// A counter in the IV, and a salt that is never sent.
    const fn counter(
        name: &'static str,
        cipher: Cipher,
        mode: CipherMode,
        key_len: usize,
        icv_len: usize,
    ) -> Self {
        //= rfc4106#8.1/salt: the last four octets of KEYMAT are the salt.
        //= rfc3686#5.1/nonce: four octets in CTR as well.
        //= rfc4309#4/salt: three octets in CCM, whose nonce is 11 octets.
        let salt_len = if matches!(mode, Ccm) { 3 } else { 4 };
        Self { salt_len, iv_len: 8, icv_len, ..Self::new(name, cipher, mode, key_len) }
    }
    const fn aes_cbc(name: &'static str, key_len: usize) -> Self {
        Self::cbc(name, Cipher::Aes, key_len, 16).sized(12)
    }
    const fn aes(name: &'static str, mode: CipherMode, key_len: usize, icv_len: usize, id: u16) -> Self {
        Self::counter(name, Cipher::Aes, mode, key_len, icv_len).sized(id)
    }
    const fn camellia(name: &'static str, key_len: usize) -> Self {
        Self::cbc(name, Cipher::Camellia, key_len, 16).sized(23)
    }
}

table! { Encryption: EncryptionRow {
    Null = 0 => E::new("null", Cipher::Null, CipherMode::Null, 0).fixed(11),
    Aes128Cbc = 1 => E::aes_cbc("aes-128-cbc", 16),
    Aes192Cbc = 2 => E::aes_cbc("aes-192-cbc", 24),
    Aes256Cbc = 3 => E::aes_cbc("aes-256-cbc", 32),
    Aes128Gcm = 4 => E::aes("aes-128-gcm", Gcm, 16, 16, 20),
    Aes192Gcm = 5 => E::aes("aes-192-gcm", Gcm, 24, 16, 20),
    Aes256Gcm = 6 => E::aes("aes-256-gcm", Gcm, 32, 16, 20),
    //= rfc7634#2/key: 256 bits, and the 32 bits of the salt behind them.
    //= rfc7634#4/no-key-length: the key has one length, so the attribute must not be there.
    ChaCha20Poly1305 = 7 =>
        E::counter("chacha20poly1305", Cipher::ChaCha20, CipherMode::ChaCha20Poly1305, 32, 16).fixed(28),
    Des = 8 =>
        E::cbc("des", Cipher::Des, 8, 8).fixed(2).weak("all its keys can be tried out (RFC 8221 5)"),
    TripleDes = 9 => E::cbc("3des", Cipher::TripleDes, 24, 8).fixed(3).weak(SHORT_BLOCKS),
    Aes128Ctr = 10 => E::aes("aes-128-ctr", Ctr, 16, 0, 13),
    Aes192Ctr = 11 => E::aes("aes-192-ctr", Ctr, 24, 0, 13),
    Aes256Ctr = 12 => E::aes("aes-256-ctr", Ctr, 32, 0, 13),
    Aes128Gcm8 = 13 => E::aes("aes-128-gcm-8", Gcm, 16, 8, 18),
    Aes192Gcm8 = 14 => E::aes("aes-192-gcm-8", Gcm, 24, 8, 18),
    Aes256Gcm8 = 15 => E::aes("aes-256-gcm-8", Gcm, 32, 8, 18),
    Aes128Gcm12 = 16 => E::aes("aes-128-gcm-12", Gcm, 16, 12, 19),
    Aes192Gcm12 = 17 => E::aes("aes-192-gcm-12", Gcm, 24, 12, 19),
    Aes256Gcm12 = 18 => E::aes("aes-256-gcm-12", Gcm, 32, 12, 19),
    Aes128Ccm8 = 19 => E::aes("aes-128-ccm-8", Ccm, 16, 8, 14),
    Aes192Ccm8 = 20 => E::aes("aes-192-ccm-8", Ccm, 24, 8, 14),
    Aes256Ccm8 = 21 => E::aes("aes-256-ccm-8", Ccm, 32, 8, 14),
    Aes128Ccm12 = 22 => E::aes("aes-128-ccm-12", Ccm, 16, 12, 15),
    Aes192Ccm12 = 23 => E::aes("aes-192-ccm-12", Ccm, 24, 12, 15),
    Aes256Ccm12 = 24 => E::aes("aes-256-ccm-12", Ccm, 32, 12, 15),
    Aes128Ccm = 25 => E::aes("aes-128-ccm", Ccm, 16, 16, 16),
    Aes192Ccm = 26 => E::aes("aes-192-ccm", Ccm, 24, 16, 16),
    Aes256Ccm = 27 => E::aes("aes-256-ccm", Ccm, 32, 16, 16),
    Aes128Gmac = 28 => E::aes("aes-128-gmac", Gmac, 16, 16, 21),
    Aes192Gmac = 29 => E::aes("aes-192-gmac", Gmac, 24, 16, 21),
    Aes256Gmac = 30 => E::aes("aes-256-gmac", Gmac, 32, 16, 21),
    //= rfc2451#2.2/key-sizes: Blowfish takes 40 to 448 bits and 128 by default, which is all that is had here.
    Blowfish = 31 => E::cbc("blowfish", Cipher::Blowfish, 16, 8).sized(7).weak(SHORT_BLOCKS),
    // IANA never gave it a number.
    Twofish = 32 => E::cbc("twofish", Cipher::Twofish, 16, 16).weak("no standard has it for ESP"),
    Camellia128Cbc = 33 => E::camellia("camellia-128", 16),
    Camellia192Cbc = 34 => E::camellia("camellia-192", 24),
    Camellia256Cbc = 35 => E::camellia("camellia-256", 32),
} }

/// How an integrity algorithm is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MacKind {
    None,
    Hmac,
    /// A chain of AES blocks.
    AesXcbc,
    AesCmac,
    /// With a salt, and an IV that is sent in front of the ICV: AH alone has a place for it.
    Gmac,
}
struct IntegrityRow {
    name: &'static str,
    kind: MacKind,
    key_len: usize,
    icv_len: usize,
    transform: u16,
    weakness: Option<&'static str>,
}
impl IntegrityRow {
    const fn new(name: &'static str, kind: MacKind, key_len: usize, icv_len: usize, transform: u16) -> Self {
        Self { name, kind, key_len, icv_len, transform, weakness: None }
    }
    const fn weak(self, why: &'static str) -> Self {
        Self { weakness: Some(why), ..self }
    }
}

// Truncated lengths: RFC 2403, 2404, 4868, 3566, 4494; AES-GMAC keeps all of it (RFC 4543 4).
table! { Integrity: IntegrityRow {
    None = 0 => I::new("null", MacKind::None, 0, 0, 0),
    HmacSha1 = 1 => I::new("sha1", MacKind::Hmac, 20, 12, 2),
    HmacSha256 = 2 => I::new("sha256", MacKind::Hmac, 32, 16, 12),
    HmacSha384 = 3 => I::new("sha384", MacKind::Hmac, 48, 24, 13),
    HmacSha512 = 4 => I::new("sha512", MacKind::Hmac, 64, 32, 14),
    HmacMd5 = 5 => I::new("md5", MacKind::Hmac, 16, 12, 1).weak("MD5 is broken (RFC 8221 6)"),
    AesXcbc = 6 => I::new("aes-xcbc", MacKind::AesXcbc, 16, 12, 5),
    AesCmac = 7 => I::new("aes-cmac", MacKind::AesCmac, 16, 12, 8),
    Aes128Gmac = 8 => I::new("aes-128-gmac", MacKind::Gmac, 16, 16, 9),
    Aes192Gmac = 9 => I::new("aes-192-gmac", MacKind::Gmac, 24, 16, 10),
    Aes256Gmac = 10 => I::new("aes-256-gmac", MacKind::Gmac, 32, 16, 11),
} }

/// A combination that may protect traffic: an AEAD alone, or a cipher with an integrity algorithm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Suite {
    encryption: Encryption,
    integrity: Integrity,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SuiteError {
    #[error("{0} carries its own integrity: set auth-algorithms=null with it (RFC 5282 8)")]
    AeadWithIntegrity(&'static str),
    #[error("{0} without an integrity algorithm can be forged (RFC 8221 4): add auth-algorithms=sha256")]
    NoIntegrity(&'static str),
    #[error(
        "{0} as an integrity algorithm is for AH: in ESP write enc-algorithms={0} and auth-algorithms=null"
    )]
    AhOnly(&'static str),
    #[error("AH without an integrity algorithm protects nothing: add auth-algorithms=sha256")]
    AhWithout,
}

impl Encryption {
    /// Cipher key, in bytes, without the salt.
    pub const fn key_len(self) -> usize {
        self.row().key_len
    }
    pub const fn cipher(self) -> Cipher {
        self.row().cipher
    }
    pub const fn mode(self) -> CipherMode {
        self.row().mode
    }
    /// As RouterOS shows the algorithm of an installed SA, whose key's size stands elsewhere.
    pub const fn family(self) -> &'static str {
        match (self.cipher(), self.mode()) {
            (Cipher::Null, _) => "null",
            (Cipher::Des, _) => "des",
            (Cipher::TripleDes, _) => "3des",
            (Cipher::Blowfish, _) => "blowfish",
            (Cipher::Twofish, _) => "twofish",
            (Cipher::Camellia, _) => "camellia",
            (Cipher::ChaCha20, _) => "chacha20poly1305",
            (Cipher::Aes, Ctr) => "aes-ctr",
            (Cipher::Aes, Gcm) => "aes-gcm",
            (Cipher::Aes, Ccm) => "aes-ccm",
            (Cipher::Aes, Gmac) => "aes-gmac",
            (Cipher::Aes, _) => "aes-cbc",
        }
    }
    /// Brings its own integrity; all of these have an 8-byte IV that counts.
    pub const fn is_aead(self) -> bool {
        self.row().icv_len > 0
    }
    /// AES-GCM with its whole ICV of 16 bytes.
    pub const fn is_aes_gcm(self) -> bool {
        matches!(self, Self::Aes128Gcm | Self::Aes192Gcm | Self::Aes256Gcm)
    }
    /// No IV may ever come twice under one key, so it is counted; else it must not be foreseen.
    pub const fn counts_iv(self) -> bool {
        self.row().salt_len > 0
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
        if matches!(self.row().mode, CipherMode::Cbc) { self.row().iv_len } else { 1 }
    }
    //= rfc4303#2.4/alignment: ciphertext ends on a 4-byte boundary even for stream modes.
    pub const fn pad_to(self) -> usize {
        if self.block_len() > 4 { self.block_len() } else { 4 }
    }
    /// Number and key length attribute (RFC 7296 3.3.2 and 3.3.5). `None`: IKEv2 has no number for it.
    pub const fn transform(self) -> Option<(u16, Option<u16>)> {
        match self.row().transform {
            None => None,
            Some((id, false)) => Some((id, None)),
            Some((id, true)) => Some((id, Some(self.key_len() as u16 * 8))),
        }
    }
}

impl Integrity {
    /// Key of the hash, in bytes, without the salt.
    pub const fn key_len(self) -> usize {
        self.row().key_len
    }
    pub const fn kind(self) -> MacKind {
        self.row().kind
    }
    /// Truncated length on the wire.
    pub const fn icv_len(self) -> usize {
        self.row().icv_len
    }
    /// IANA's number for IKEv2 (RFC 7296 3.3.2); 0 is NONE.
    pub const fn transform(self) -> u16 {
        self.row().transform
    }
    const fn is_gmac(self) -> bool {
        matches!(self.row().kind, MacKind::Gmac)
    }
    //= rfc4543#5.2/salt: four octets behind the key.
    pub const fn salt_len(self) -> usize {
        if self.is_gmac() { 4 } else { 0 }
    }
    /// In front of the ICV, in AH's field for it.
    pub const fn iv_len(self) -> usize {
        if self.is_gmac() { 8 } else { 0 }
    }
}

impl Suite {
    /// For ESP.
    pub const fn new(encryption: Encryption, integrity: Integrity) -> Result<Self, SuiteError> {
        match (encryption.is_aead(), integrity.kind()) {
            (true, MacKind::None) => Ok(Self { encryption, integrity }),
            (true, _) => Err(SuiteError::AeadWithIntegrity(encryption.name())),
            //= rfc8221#4/no-encryption-only: confidentiality without integrity is refused.
            (false, MacKind::None) => Err(SuiteError::NoIntegrity(encryption.name())),
            (false, MacKind::Gmac) => Err(SuiteError::AhOnly(integrity.name())),
            (false, _) => Ok(Self { encryption, integrity }),
        }
    }
    /// For AH: no encryption, and any integrity algorithm.
    pub const fn ah(integrity: Integrity) -> Result<Self, SuiteError> {
        match integrity {
            Integrity::None => Err(SuiteError::AhWithout),
            _ => Ok(Self { encryption: Encryption::Null, integrity }),
        }
    }
    /// ESP that anybody can forge: for laboratories, after they have been told. `None` for an AEAD, which is not that.
    pub const fn unprotected(encryption: Encryption) -> Option<Self> {
        if encryption.is_aead() { None } else { Some(Self { encryption, integrity: Integrity::None }) }
    }
    /// Any of the above, as one process tells another what was checked before.
    pub const fn told(encryption: Encryption, integrity: Integrity) -> Option<Self> {
        match (Self::new(encryption, integrity), encryption) {
            (Ok(suite), _) => Some(suite),
            (Err(SuiteError::NoIntegrity(_)), _) => Self::unprotected(encryption),
            (Err(SuiteError::AhOnly(_)), Encryption::Null) => Some(Self { encryption, integrity }),
            _ => None,
        }
    }
    /// All that [`Self::new`] makes.
    pub fn all() -> impl Iterator<Item = Self> {
        let pairs = Encryption::ALL.into_iter().flat_map(|e| Integrity::ALL.into_iter().map(move |i| (e, i)));
        pairs.filter_map(|(e, i)| Self::new(e, i).ok())
    }
    pub const fn encryption(self) -> Encryption {
        self.encryption
    }
    pub const fn integrity(self) -> Integrity {
        self.integrity
    }
    pub const fn is_protected(self) -> bool {
        self.icv_len() > 0
    }
    /// What of it nobody should choose any more, and why.
    pub fn weaknesses(self) -> impl Iterator<Item = (&'static str, &'static str)> {
        let (enc, auth) = (self.encryption, self.integrity);
        let both = [(enc.name(), enc.weakness()), (auth.name(), auth.weakness())];
        both.into_iter().filter_map(|(name, why)| Some((name, why?)))
    }
    pub const fn icv_len(self) -> usize {
        self.encryption.icv_len() + self.integrity.icv_len()
    }
    pub const fn iv_len(self) -> usize {
        self.encryption.iv_len()
    }
    /// Of the cipher, or of AH's integrity algorithm: never of both.
    pub const fn salt_len(self) -> usize {
        self.encryption.salt_len() + self.integrity.salt_len()
    }
    /// KEYMAT of one direction: cipher key, its salt, integrity key, its salt (RFC 7296 2.17).
    pub const fn keymat_len(self) -> usize {
        self.encryption.key_len() + self.salt_len() + self.integrity.key_len()
    }
    /// The most bytes ESP itself adds to a packet: header, IV, padding, trailer, ICV.
    pub const fn max_overhead(self) -> usize {
        8 + self.iv_len() + (self.encryption.pad_to() - 1) + 2 + self.icv_len()
    }
}

impl std::fmt::Display for Suite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.integrity {
            Integrity::None => f.write_str(self.encryption.name()),
            auth => write!(f, "{}/{}", self.encryption.name(), auth.name()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The macro takes a row's number on trust.
    #[test]
    fn rows_stand_where_their_numbers_say_and_names_are_unique() {
        for (place, e) in Encryption::ALL.into_iter().enumerate() {
            assert_eq!((e as usize, Encryption::from_name(e.name())), (place, Some(e)));
        }
        for (place, i) in Integrity::ALL.into_iter().enumerate() {
            assert_eq!((i as usize, Integrity::from_name(i.name())), (place, Some(i)));
        }
    }
    /// IANA's registry of IKEv2 transforms, and the RFCs' lengths.
    #[test]
    fn numbers_and_lengths_are_those_of_the_standards() {
        let row = |e: Encryption| {
            (e.transform(), e.key_len(), e.salt_len(), e.iv_len(), e.pad_to(), e.icv_len(), e.counts_iv())
        };
        let of = |name| row(Encryption::from_name(name).unwrap());
        assert_eq!(of("des"), (Some((2, None)), 8, 0, 8, 8, 0, false));
        assert_eq!(of("3des"), (Some((3, None)), 24, 0, 8, 8, 0, false));
        assert_eq!(of("blowfish"), (Some((7, Some(128))), 16, 0, 8, 8, 0, false));
        assert_eq!(of("twofish"), (None, 16, 0, 16, 16, 0, false));
        assert_eq!(of("aes-256-ctr"), (Some((13, Some(256))), 32, 4, 8, 4, 0, true));
        assert_eq!(of("aes-128-gcm-8"), (Some((18, Some(128))), 16, 4, 8, 4, 8, true));
        assert_eq!(of("aes-192-ccm-12"), (Some((15, Some(192))), 24, 3, 8, 4, 12, true));
        assert_eq!(of("aes-256-gmac"), (Some((21, Some(256))), 32, 4, 8, 4, 16, true));
        assert_eq!(of("camellia-256"), (Some((23, Some(256))), 32, 0, 16, 16, 0, false));
        assert_eq!(of("chacha20poly1305"), (Some((28, None)), 32, 4, 8, 4, 16, true));
        let row = |name| {
            let i = Integrity::from_name(name).unwrap();
            (i.transform(), i.key_len(), i.icv_len(), i.salt_len())
        };
        assert_eq!(row("md5"), (1, 16, 12, 0));
        assert_eq!(row("sha384"), (13, 48, 24, 0));
        assert_eq!(row("aes-xcbc"), (5, 16, 12, 0));
        assert_eq!(row("aes-cmac"), (8, 16, 12, 0));
        assert_eq!(row("aes-256-gmac"), (11, 32, 16, 4));
    }
    #[test]
    fn only_what_protects_is_a_suite_of_its_own_accord() {
        use Encryption::{Aes128Cbc, Aes128Gcm, Null};
        assert!(
            Suite::new(Null, Integrity::HmacSha1).is_ok() && Suite::new(Aes128Gcm, Integrity::None).is_ok()
        );
        for (e, i) in
            [(Null, Integrity::None), (Aes128Cbc, Integrity::None), (Aes128Gcm, Integrity::HmacSha1)]
        {
            assert!(Suite::new(e, i).is_err());
        }
        assert_eq!(Suite::new(Null, Integrity::Aes128Gmac), Err(SuiteError::AhOnly("aes-128-gmac")));
        assert!(Suite::ah(Integrity::Aes128Gmac).is_ok() && Suite::ah(Integrity::None).is_err());
        assert!(Suite::unprotected(Aes128Cbc).is_some_and(|s| !s.is_protected()));
        assert!(Suite::unprotected(Aes128Gcm).is_none());
        assert!(Suite::told(Aes128Cbc, Integrity::Aes128Gmac).is_none());
        assert!(
            Suite::told(Null, Integrity::Aes128Gmac).is_some()
                && Suite::told(Null, Integrity::None).is_some()
        );
        assert!(Suite::all().all(Suite::is_protected));
        assert_eq!(Suite::all().count(), 22 + 14 * 7);
    }
}
