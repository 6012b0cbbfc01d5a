//! Public and private keys. Which kinds and sizes are taken is settled here, before any arithmetic with them.
use openssl::bn::BigNum;
use openssl::nid::Nid;
use openssl::pkey::{HasPublic, Id, PKey, PKeyRef, Private, Public};
use openssl::rsa::Rsa;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    Rsa { bits: u32 },
    P256,
    P384,
    P521,
    Ed25519,
    Ed448,
}
impl std::fmt::Display for KeyKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Rsa { bits } => return write!(f, "RSA of {bits} bits"),
            Self::P256 => "ECDSA P-256",
            Self::P384 => "ECDSA P-384",
            Self::P521 => "ECDSA P-521",
            Self::Ed25519 => "Ed25519",
            Self::Ed448 => "Ed448",
        })
    }
}

/// RSA below the first is broken within reach, above the second a way to keep us busy.
const STRONG_RSA: u32 = 2048;
const LONGEST_RSA: u32 = 8192;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyError {
    #[error("an RSA key of {0} bits; 2048 to 8192 are taken")]
    RsaSize(u32),
    #[error("an RSA key whose public exponent is not odd and from 65537 to 2^64")]
    RsaExponent,
    #[error("an elliptic-curve key that is not on P-256, P-384 or P-521, by name")]
    Curve,
    #[error("a key of another kind than RSA, ECDSA, Ed25519 or Ed448")]
    Kind,
    #[error("not a key")]
    Unreadable,
}

/// Whose signatures are verified.
pub struct PublicKey {
    pub(crate) key: PKey<Public>,
    /// The same, when it is an RSA key.
    pub(crate) rsa: Option<Rsa<Public>>,
    kind: KeyKind,
    /// SubjectPublicKeyInfo.
    spki: Vec<u8>,
}
impl PublicKey {
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        if !crate::der::is_well_formed(der) {
            return Err(KeyError::Unreadable);
        }
        let key = PKey::public_key_from_der(der).map_err(|_| KeyError::Unreadable)?;
        let kind = kind_of(&key)?;
        let rsa = match kind {
            KeyKind::Rsa { .. } => Some(key.rsa().map_err(|_| KeyError::Unreadable)?),
            _ => None,
        };
        Ok(Self { key, rsa, kind, spki: der.to_vec() })
    }
    pub fn kind(&self) -> KeyKind {
        self.kind
    }
    pub fn spki(&self) -> &[u8] {
        &self.spki
    }
    /// Whether nothing within reach breaks it.
    pub fn check_strength(&self) -> Result<(), KeyError> {
        strength(self.kind)
    }
    /// What CERTREQ calls it: SHA-1 of the SubjectPublicKeyInfo.
    pub fn hash(&self) -> [u8; 20] {
        openssl::sha::sha1(&self.spki)
    }
}
impl std::fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PublicKey({})", self.kind)
    }
}

/// Never shown; OpenSSL wipes its parts when the last owner lets go.
pub struct PrivateKey {
    pub(crate) key: PKey<Private>,
    kind: KeyKind,
}
impl PrivateKey {
    pub(crate) fn new(key: PKey<Private>) -> Result<Self, KeyError> {
        let kind = kind_of(&key)?;
        strength(kind)?;
        Ok(Self { key, kind })
    }
    pub fn kind(&self) -> KeyKind {
        self.kind
    }
    pub fn is_of(&self, public: &PublicKey) -> bool {
        self.key.public_eq(&public.key)
    }
    pub fn public(&self) -> Result<PublicKey, KeyError> {
        PublicKey::from_spki(&self.key.public_key_to_der().map_err(|_| KeyError::Unreadable)?)
    }
}
impl std::fmt::Debug for PrivateKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "PrivateKey({})", self.kind)
    }
}

fn strength(kind: KeyKind) -> Result<(), KeyError> {
    match kind {
        KeyKind::Rsa { bits } if bits < STRONG_RSA => Err(KeyError::RsaSize(bits)),
        _ => Ok(()),
    }
}

fn kind_of<T: HasPublic>(key: &PKeyRef<T>) -> Result<KeyKind, KeyError> {
    match key.id() {
        Id::RSA => {
            let rsa = key.rsa().map_err(|_| KeyError::Unreadable)?;
            let bits = u32::try_from(rsa.n().num_bits()).unwrap_or(0);
            if !(512..=LONGEST_RSA).contains(&bits) {
                return Err(KeyError::RsaSize(bits));
            }
            let e = rsa.e();
            let least = BigNum::from_u32(65537).map_err(|_| KeyError::Unreadable)?;
            let fits = e.is_bit_set(0) && *e >= *least && e.num_bits() <= 64;
            fits.then_some(KeyKind::Rsa { bits }).ok_or(KeyError::RsaExponent)
        }
        Id::EC => match key.ec_key().map_err(|_| KeyError::Unreadable)?.group().curve_name() {
            Some(Nid::X9_62_PRIME256V1) => Ok(KeyKind::P256),
            Some(Nid::SECP384R1) => Ok(KeyKind::P384),
            Some(Nid::SECP521R1) => Ok(KeyKind::P521),
            _ => Err(KeyError::Curve),
        },
        Id::ED25519 => Ok(KeyKind::Ed25519),
        Id::ED448 => Ok(KeyKind::Ed448),
        _ => Err(KeyError::Kind),
    }
}
