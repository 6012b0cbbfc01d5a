//! What each algorithm is called on the wire and by people, and how long its keys are.
use crate::api::{DhGroup, IkeCipher, IkeIntegrity, Prf};

/// The algorithms of one IKE SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct IkeSuite {
    pub encryption: IkeCipher,
    /// `None` exactly when the cipher is an AEAD.
    pub integrity: Option<IkeIntegrity>,
    pub prf: Prf,
    pub group: DhGroup,
}
impl std::fmt::Display for IkeSuite {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.encryption.name())?;
        if let Some(integrity) = self.integrity {
            write!(f, "/{}", integrity.name())?;
        }
        write!(f, "/prf-{}/{}", self.prf.name(), self.group.name())
    }
}

impl IkeCipher {
    pub const ALL: [Self; 7] = [
        Self::Aes128Cbc,
        Self::Aes192Cbc,
        Self::Aes256Cbc,
        Self::Aes128Gcm,
        Self::Aes192Gcm,
        Self::Aes256Gcm,
        Self::ChaCha20Poly1305,
    ];
    /// Transform id and Key Length attribute in bits (RFC 3602, RFC 5282 7.1: 16-octet ICV, RFC 7634 4).
    pub const fn transform(self) -> (u16, Option<u16>) {
        match self {
            Self::Aes128Cbc | Self::Aes192Cbc | Self::Aes256Cbc => (12, Some(self.key_len() as u16 * 8)),
            Self::Aes128Gcm | Self::Aes192Gcm | Self::Aes256Gcm => (20, Some(self.key_len() as u16 * 8)),
            //= rfc7634#4/no-key-length: the key has one length, so the attribute must not be there.
            Self::ChaCha20Poly1305 => (28, None),
        }
    }
    pub const fn is_aead(self) -> bool {
        matches!(self, Self::Aes128Gcm | Self::Aes192Gcm | Self::Aes256Gcm | Self::ChaCha20Poly1305)
    }
    pub const fn key_len(self) -> usize {
        match self {
            Self::Aes128Cbc | Self::Aes128Gcm => 16,
            Self::Aes192Cbc | Self::Aes192Gcm => 24,
            Self::Aes256Cbc | Self::Aes256Gcm | Self::ChaCha20Poly1305 => 32,
        }
    }
    //= rfc5282#7.1/salt: SK_e of an AEAD carries four more octets.
    //= rfc7634#3/salt: those of ChaCha20-Poly1305 too.
    pub const fn salt_len(self) -> usize {
        if self.is_aead() { 4 } else { 0 }
    }
    pub const fn iv_len(self) -> usize {
        if self.is_aead() { 8 } else { 16 }
    }
    pub const fn name(self) -> &'static str {
        match self {
            Self::Aes128Cbc => "aes-128",
            Self::Aes192Cbc => "aes-192",
            Self::Aes256Cbc => "aes-256",
            Self::Aes128Gcm => "aes-128-gcm",
            Self::Aes192Gcm => "aes-192-gcm",
            Self::Aes256Gcm => "aes-256-gcm",
            Self::ChaCha20Poly1305 => "chacha20poly1305",
        }
    }
}

impl IkeIntegrity {
    pub const ALL: [Self; 4] = [Self::HmacSha1, Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];
    pub const fn transform(self) -> u16 {
        match self {
            Self::HmacSha1 => 2,
            Self::HmacSha256 => 12,
            Self::HmacSha384 => 13,
            Self::HmacSha512 => 14,
        }
    }
    pub const fn prf(self) -> Prf {
        match self {
            Self::HmacSha1 => Prf::HmacSha1,
            Self::HmacSha256 => Prf::HmacSha256,
            Self::HmacSha384 => Prf::HmacSha384,
            Self::HmacSha512 => Prf::HmacSha512,
        }
    }
    pub const fn key_len(self) -> usize {
        self.prf().size()
    }
    /// Truncated (RFC 2404, RFC 4868 2.3).
    pub const fn icv_len(self) -> usize {
        match self {
            Self::HmacSha1 => 12,
            _ => self.key_len() / 2,
        }
    }
    pub const fn name(self) -> &'static str {
        self.prf().name()
    }
}

impl Prf {
    pub const ALL: [Self; 4] = [Self::HmacSha1, Self::HmacSha256, Self::HmacSha384, Self::HmacSha512];
    pub const fn transform(self) -> u16 {
        match self {
            Self::HmacSha1 => 2,
            Self::HmacSha256 => 5,
            Self::HmacSha384 => 6,
            Self::HmacSha512 => 7,
        }
    }
    /// Output, and preferred key, in bytes.
    pub const fn size(self) -> usize {
        match self {
            Self::HmacSha1 => 20,
            Self::HmacSha256 => 32,
            Self::HmacSha384 => 48,
            Self::HmacSha512 => 64,
        }
    }
    pub const fn name(self) -> &'static str {
        match self {
            Self::HmacSha1 => "sha1",
            Self::HmacSha256 => "sha256",
            Self::HmacSha384 => "sha384",
            Self::HmacSha512 => "sha512",
        }
    }
}

impl DhGroup {
    pub const ALL: [Self; 8] = [
        Self::Modp1024,
        Self::Modp2048,
        Self::Modp3072,
        Self::Modp4096,
        Self::Ecp256,
        Self::Ecp384,
        Self::Ecp521,
        Self::X25519,
    ];
    pub const fn transform(self) -> u16 {
        match self {
            Self::Modp1024 => 2,
            Self::Modp2048 => 14,
            Self::Modp3072 => 15,
            Self::Modp4096 => 16,
            Self::Ecp256 => 19,
            Self::Ecp384 => 20,
            Self::Ecp521 => 21,
            Self::X25519 => 31,
        }
    }
    pub fn from_transform(id: u16) -> Option<Self> {
        Self::ALL.into_iter().find(|g| g.transform() == id)
    }
    /// Length of a KE payload's data (RFC 7296 3.4, RFC 5903 7, RFC 8031 3.1).
    pub const fn public_len(self) -> usize {
        match self {
            Self::Modp1024 => 128,
            Self::Modp2048 => 256,
            Self::Modp3072 => 384,
            Self::Modp4096 => 512,
            Self::Ecp256 => 64,
            Self::Ecp384 => 96,
            Self::Ecp521 => 132,
            Self::X25519 => 32,
        }
    }
    /// RouterOS's `dh-group`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Modp1024 => "modp1024",
            Self::Modp2048 => "modp2048",
            Self::Modp3072 => "modp3072",
            Self::Modp4096 => "modp4096",
            Self::Ecp256 => "ecp256",
            Self::Ecp384 => "ecp384",
            Self::Ecp521 => "ecp521",
            Self::X25519 => "x25519",
        }
    }
}
