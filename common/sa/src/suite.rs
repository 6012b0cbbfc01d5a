//! ESP transforms: what each needs in key, salt, IV, ICV and padding, under RouterOS's names.

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Encryption {
    Null = 0,
    Aes128Cbc = 1,
    Aes192Cbc = 2,
    Aes256Cbc = 3,
    Aes128Gcm = 4,
    Aes192Gcm = 5,
    Aes256Gcm = 6,
    ChaCha20Poly1305 = 7,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Integrity {
    None = 0,
    HmacSha1 = 1,
    HmacSha256 = 2,
    HmacSha384 = 3,
    HmacSha512 = 4,
}

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
}

impl Encryption {
    pub const ALL: [Self; 8] = [
        Self::Null,
        Self::Aes128Cbc,
        Self::Aes192Cbc,
        Self::Aes256Cbc,
        Self::Aes128Gcm,
        Self::Aes192Gcm,
        Self::Aes256Gcm,
        Self::ChaCha20Poly1305,
    ];
    /// Brings its own integrity; all of these have an 8-byte IV, a 4-byte salt and a 16-byte ICV.
    pub const fn is_aead(self) -> bool {
        self.is_aes_gcm() || matches!(self, Self::ChaCha20Poly1305)
    }
    pub const fn is_aes_gcm(self) -> bool {
        matches!(self, Self::Aes128Gcm | Self::Aes192Gcm | Self::Aes256Gcm)
    }
    /// Cipher key in bytes, without the salt.
    pub const fn key_len(self) -> usize {
        match self {
            Self::Null => 0,
            Self::Aes128Cbc | Self::Aes128Gcm => 16,
            Self::Aes192Cbc | Self::Aes192Gcm => 24,
            //= rfc7634#2/key: 256 bits, and the 32 bits of the salt behind them.
            Self::Aes256Cbc | Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }
    //= rfc4106#8.1/salt: the last four octets of KEYMAT are the salt.
    pub const fn salt_len(self) -> usize {
        if self.is_aead() { 4 } else { 0 }
    }
    pub const fn iv_len(self) -> usize {
        match self {
            Self::Null => 0,
            Self::Aes128Cbc | Self::Aes192Cbc | Self::Aes256Cbc => 16,
            Self::Aes128Gcm | Self::Aes192Gcm | Self::Aes256Gcm | Self::ChaCha20Poly1305 => 8,
        }
    }
    //= rfc4303#2.4/alignment: ciphertext ends on a 4-byte boundary even for stream modes.
    pub const fn pad_to(self) -> usize {
        match self {
            Self::Aes128Cbc | Self::Aes192Cbc | Self::Aes256Cbc => 16,
            _ => 4,
        }
    }
    /// RouterOS's spelling in `proposal enc-algorithms`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Aes128Cbc => "aes-128-cbc",
            Self::Aes192Cbc => "aes-192-cbc",
            Self::Aes256Cbc => "aes-256-cbc",
            Self::Aes128Gcm => "aes-128-gcm",
            Self::Aes192Gcm => "aes-192-gcm",
            Self::Aes256Gcm => "aes-256-gcm",
            Self::ChaCha20Poly1305 => "chacha20poly1305",
        }
    }
    pub fn from_u8(raw: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|e| *e as u8 == raw)
    }
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|e| e.name() == name)
    }
}

impl Integrity {
    pub const ALL: [Self; 5] =
        [Self::None, Self::HmacSha1, Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];
    pub const fn key_len(self) -> usize {
        match self {
            Self::None => 0,
            Self::HmacSha1 => 20,
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }
    /// Truncated length on the wire (RFC 2404, RFC 4868).
    pub const fn icv_len(self) -> usize {
        match self {
            Self::None => 0,
            Self::HmacSha1 => 12,
            Self::HmacSha256 => 16,
            Self::HmacSha384 => 24,
            Self::HmacSha512 => 32,
        }
    }
    pub const fn name(self) -> &'static str {
        match self {
            Self::None => "null",
            Self::HmacSha1 => "sha1",
            Self::HmacSha256 => "sha256",
            Self::HmacSha384 => "sha384",
            Self::HmacSha512 => "sha512",
        }
    }
    pub fn from_u8(raw: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|i| *i as u8 == raw)
    }
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|i| i.name() == name)
    }
}

impl Suite {
    pub const fn new(encryption: Encryption, integrity: Integrity) -> Result<Self, SuiteError> {
        match (encryption.is_aead(), integrity) {
            (true, Integrity::None) => Ok(Self { encryption, integrity }),
            (true, _) => Err(SuiteError::AeadWithIntegrity(encryption.name())),
            //= rfc8221#4/no-encryption-only: confidentiality without integrity is refused.
            (false, Integrity::None) => Err(SuiteError::NoIntegrity(encryption.name())),
            (false, _) => Ok(Self { encryption, integrity }),
        }
    }
    pub const fn encryption(self) -> Encryption {
        self.encryption
    }
    pub const fn integrity(self) -> Integrity {
        self.integrity
    }
    pub const fn icv_len(self) -> usize {
        if self.encryption.is_aead() { 16 } else { self.integrity.icv_len() }
    }
    pub const fn iv_len(self) -> usize {
        self.encryption.iv_len()
    }
    /// KEYMAT of one direction: cipher key, salt, integrity key (RFC 7296 2.17).
    pub const fn keymat_len(self) -> usize {
        self.encryption.key_len() + self.encryption.salt_len() + self.integrity.key_len()
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
