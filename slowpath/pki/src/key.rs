//! Public and private keys. Which kinds and sizes are taken is settled here, before any arithmetic with them.
use crate::der::{self, BIT_STRING, INTEGER, OID, Reader, SEQUENCE};
use crate::fast;
use openssl::pkey::{PKey, Private, Public};
use openssl::rsa::Rsa;
use std::sync::OnceLock;
use zeroize::Zeroizing;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyKind {
    Rsa { bits: u32 },
    P256,
    P384,
    P521,
    Ed25519,
    Ed448,
}
impl KeyKind {
    pub fn bits(self) -> u32 {
        match self {
            Self::Rsa { bits } => bits,
            Self::P256 | Self::Ed25519 => 256,
            Self::P384 => 384,
            Self::P521 => 521,
            Self::Ed448 => 456,
        }
    }
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
    /// The same, when it is an RSA key; made when it is first asked for, as few signatures need it.
    rsa: OnceLock<Option<Rsa<Public>>>,
    kind: KeyKind,
    /// SubjectPublicKeyInfo.
    spki: Vec<u8>,
}
impl PublicKey {
    pub fn from_spki(der: &[u8]) -> Result<Self, KeyError> {
        if !der::is_well_formed(der) {
            return Err(KeyError::Unreadable);
        }
        // Before its arithmetic is touched.
        let kind = kind_of(der)?;
        let key = PKey::public_key_from_der(der).map_err(|_| KeyError::Unreadable)?;
        Ok(Self { key, rsa: OnceLock::new(), kind, spki: der.to_vec() })
    }
    /// The key that OpenSSL has read together with a certificate, which `spki` stands in.
    pub(crate) fn of_certificate(key: PKey<Public>, spki: &[u8]) -> Result<Self, KeyError> {
        Ok(Self { key, rsa: OnceLock::new(), kind: kind_of(spki)?, spki: spki.to_vec() })
    }
    pub(crate) fn rsa(&self) -> Option<&Rsa<Public>> {
        let is_rsa = matches!(self.kind, KeyKind::Rsa { .. });
        self.rsa.get_or_init(|| self.key.rsa().ok().filter(|_| is_rsa)).as_ref()
    }
    pub fn kind(&self) -> KeyKind {
        self.kind
    }
    /// For a file.
    pub fn to_pem(&self) -> Result<String, KeyError> {
        let pem = self.key.public_key_to_pem().map_err(|_| KeyError::Unreadable)?;
        String::from_utf8(pem).map_err(|_| KeyError::Unreadable)
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
    /// Made once: what signs faster than OpenSSL does.
    pub(crate) fast: Option<fast::Signing>,
    kind: KeyKind,
}
impl PrivateKey {
    pub(crate) fn new(key: PKey<Private>) -> Result<Self, KeyError> {
        let kind = kind_of(&key.public_key_to_der().map_err(|_| KeyError::Unreadable)?)?;
        strength(kind)?;
        Ok(Self { fast: fast::Signing::new(kind, &key), key, kind })
    }
    pub fn kind(&self) -> KeyKind {
        self.kind
    }
    /// A new one, as PEM. Takes up to seconds.
    pub fn generate_rsa(bits: u32) -> Result<Zeroizing<String>, KeyError> {
        if !(STRONG_RSA..=LONGEST_RSA).contains(&bits) {
            return Err(KeyError::RsaSize(bits));
        }
        let made =
            Rsa::generate(bits).and_then(PKey::from_rsa).and_then(|key| key.private_key_to_pem_pkcs8());
        let pem = Zeroizing::new(made.map_err(|_| KeyError::Unreadable)?);
        let text = std::str::from_utf8(&pem).map_err(|_| KeyError::Unreadable)?;
        Ok(Zeroizing::new(text.to_owned()))
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

/// Read from the SubjectPublicKeyInfo itself: OpenSSL would make a second form of the key to tell as much.
fn kind_of(spki: &[u8]) -> Result<KeyKind, KeyError> {
    let split = || {
        let mut r = Reader::new(der::only(spki, SEQUENCE)?);
        let mut algorithm = Reader::new(r.expect(SEQUENCE)?);
        let oid = algorithm.expect(OID)?;
        let (unused, bits) = r.expect(BIT_STRING)?.split_first()?;
        (r.is_empty() && *unused == 0).then_some((oid, algorithm, bits))
    };
    let (oid, mut parameters, bits) = split().ok_or(KeyError::Unreadable)?;
    match oid {
        [0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 1] => rsa_kind(bits),
        //= rfc5480#2.1.1/named: a curve is named; its parameters are not taken.
        [0x2a, 0x86, 0x48, 0xce, 0x3d, 2, 1] => match parameters.expect(OID).ok_or(KeyError::Curve)? {
            [0x2a, 0x86, 0x48, 0xce, 0x3d, 3, 1, 7] => Ok(KeyKind::P256),
            [0x2b, 0x81, 4, 0, 0x22] => Ok(KeyKind::P384),
            [0x2b, 0x81, 4, 0, 0x23] => Ok(KeyKind::P521),
            _ => Err(KeyError::Curve),
        },
        [0x2b, 101, 112] => Ok(KeyKind::Ed25519),
        [0x2b, 101, 113] => Ok(KeyKind::Ed448),
        _ => Err(KeyError::Kind),
    }
}
//= rfc8017#A.1.1/public-key: modulus and exponent, both positive.
fn rsa_kind(key: &[u8]) -> Result<KeyKind, KeyError> {
    let numbers = || {
        let mut r = Reader::new(der::only(key, SEQUENCE)?);
        let (n, e) = (positive(r.expect(INTEGER)?)?, positive(r.expect(INTEGER)?)?);
        r.is_empty().then_some((n, e))
    };
    let (n, e) = numbers().ok_or(KeyError::Unreadable)?;
    let leading = n.first().map_or(0, |b| b.leading_zeros() as usize);
    let bits = u32::try_from(n.len() * 8 - leading).unwrap_or(0);
    if !(512..=LONGEST_RSA).contains(&bits) {
        return Err(KeyError::RsaSize(bits));
    }
    let exponent = e.iter().fold(0u64, |all, b| all << 8 | u64::from(*b));
    let fits = e.len() <= 8 && exponent & 1 == 1 && exponent >= 65537;
    fits.then_some(KeyKind::Rsa { bits }).ok_or(KeyError::RsaExponent)
}
/// Without the zero in front that keeps it positive.
fn positive(integer: &[u8]) -> Option<&[u8]> {
    match integer {
        [] => None,
        [0, rest @ ..] => Some(rest),
        [first, ..] => (*first < 0x80).then_some(integer),
    }
}
