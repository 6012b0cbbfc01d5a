//! Signatures of IKE (RFC 7296 2.15, 3.8; RFC 4754; RFC 7427; RFC 8420): made with our key, checked with theirs.
use crate::certificate::Certificate;
use crate::fast;
use crate::key::{KeyError, KeyKind, PrivateKey, PublicKey};
use crate::scheme::{Hash, Hashes, Scheme};
use aws_lc_rs::signature::UnparsedPublicKey;
use openssl::bn::BigNum;
use openssl::ecdsa::EcdsaSig;
use openssl::error::ErrorStack;
use openssl::rsa::Padding;
use openssl::sign::{self, RsaPssSaltlen};
use std::sync::Arc;

/// Authentication methods (RFC 7296 3.8).
const RSA: u8 = 1;
const ECDSA: std::ops::RangeInclusive<u8> = 9..=11;
const DIGITAL_SIGNATURE: u8 = 14;

/// What an AUTH payload carries.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signature {
    pub method: u8,
    pub data: Vec<u8>,
}

/// What is different from what RFC 8247 asks for, for the sake of old peers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ways {
    /// RSASSA-PKCS1-v1_5 in place of RSASSA-PSS when we sign under method 14.
    pub pkcs1: bool,
    /// RSA signatures over SHA-1 (method 1) are made and taken, for peers that do not know RFC 7427.
    pub sha1: bool,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignError {
    #[error("they take signatures over {theirs} only, which our {key} key does not make")]
    NoCommonHash { key: KeyKind, theirs: Hashes },
    #[error("they do not know RFC 7427, without which our {0} key is of no use")]
    NeedsRfc7427(KeyKind),
    #[error("the certificate is of another key")]
    Mismatch,
    #[error("the cryptographic library failed: {0}")]
    Library(String),
}
impl From<ErrorStack> for SignError {
    fn from(error: ErrorStack) -> Self {
        Self::Library(error.to_string())
    }
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SignatureError {
    #[error("authentication method {0} is not a signature that is taken here")]
    Method(u8),
    #[error("the signature algorithm they name is not taken here ({0})")]
    Algorithm(String),
    #[error("a signature over SHA-1, which is not taken")]
    Sha1,
    #[error("they sign with {scheme}, but their key is {key}")]
    Key { scheme: String, key: KeyKind },
    #[error("{0}")]
    Weak(#[from] KeyError),
    #[error("the signature does not fit the key and what was signed")]
    Wrong,
}

/// Our side: the key, and the certificates that vouch for it, its own first. None for a raw key.
#[derive(Debug)]
pub struct Signer {
    key: Arc<PrivateKey>,
    chain: Vec<Arc<Certificate>>,
}
impl Signer {
    pub fn new(key: impl Into<Arc<PrivateKey>>, chain: Vec<Arc<Certificate>>) -> Result<Self, SignError> {
        let key = key.into();
        match chain.first() {
            Some(leaf) if !key.is_of(leaf.key()) => Err(SignError::Mismatch),
            _ => Ok(Self { key, chain }),
        }
    }
    pub fn certificate(&self) -> Option<&Arc<Certificate>> {
        self.chain.first()
    }
    pub fn kind(&self) -> KeyKind {
        self.key.kind()
    }
    /// To be sent: its own certificate and those between it and the root, which the other side has to have anyway.
    pub fn to_send(&self) -> impl Iterator<Item = &Arc<Certificate>> {
        self.chain.iter().enumerate().filter(|(at, c)| *at == 0 || !c.is_self_issued()).map(|(_, c)| c)
    }
    /// Whether one of these authorities (as CERTREQ names them) is in the chain, or issued its end.
    pub fn leads_to(&self, authorities: &[[u8; 20]]) -> bool {
        let named = |c: &Arc<Certificate>| authorities.contains(&c.key().hash());
        self.chain.iter().skip(1).any(named)
    }

    /// `theirs`: what their SIGNATURE_HASH_ALGORITHMS says, `None` without one.
    pub fn sign(&self, theirs: Option<Hashes>, ways: Ways, octets: &[u8]) -> Result<Signature, SignError> {
        //= rfc7427#4/both: method 14 only towards a peer that has said which hashes it takes.
        let Some(theirs) = theirs else { return self.sign_classic(ways, octets) };
        let kind = self.key.kind();
        let of = |hash| match kind {
            KeyKind::Rsa { .. } if ways.pkcs1 => Scheme::RsaPkcs1(hash),
            KeyKind::Rsa { .. } => Scheme::RsaPss(hash),
            KeyKind::P256 | KeyKind::P384 | KeyKind::P521 => Scheme::Ecdsa(hash),
            KeyKind::Ed25519 => Scheme::Ed25519,
            KeyKind::Ed448 => Scheme::Ed448,
        };
        let hash = preferred(kind).iter().copied().find(|hash| theirs.has(*hash));
        let scheme = hash.map(of).ok_or(SignError::NoCommonHash { key: kind, theirs })?;
        let identifier = scheme.identifier();
        //= rfc7427#3/auth-data: length of the AlgorithmIdentifier | AlgorithmIdentifier | signature.
        let mut data = vec![identifier.len() as u8];
        data.extend(identifier);
        data.extend(self.raw(scheme, octets)?);
        Ok(Signature { method: DIGITAL_SIGNATURE, data })
    }
    fn sign_classic(&self, ways: Ways, octets: &[u8]) -> Result<Signature, SignError> {
        let kind = self.key.kind();
        let (method, hash, width) = match kind {
            KeyKind::Rsa { .. } => {
                let hash = if ways.sha1 { Hash::Sha1 } else { Hash::Sha256 };
                let data = self.raw(Scheme::RsaPkcs1(hash), octets)?;
                return Ok(Signature { method: RSA, data });
            }
            KeyKind::P256 => (9, Hash::Sha256, 32),
            KeyKind::P384 => (10, Hash::Sha384, 48),
            KeyKind::P521 => (11, Hash::Sha512, 66),
            KeyKind::Ed25519 | KeyKind::Ed448 => return Err(SignError::NeedsRfc7427(kind)),
        };
        //= rfc4754#7/encoding: r and s, each as long as the order of the curve.
        let signature = EcdsaSig::from_der(&self.raw(Scheme::Ecdsa(hash), octets)?)?;
        let mut data = signature.r().to_vec_padded(width)?;
        data.extend(signature.s().to_vec_padded(width)?);
        Ok(Signature { method, data })
    }
    fn raw(&self, scheme: Scheme, octets: &[u8]) -> Result<Vec<u8>, SignError> {
        if let Some(made) = self.key.fast.as_ref().and_then(|fast| fast.sign(scheme, octets)) {
            return Ok(made);
        }
        let key = &self.key.key;
        let with = |hash: Hash| match hash.digest() {
            Some(digest) => sign::Signer::new(digest, key),
            None => sign::Signer::new_without_digest(key),
        };
        let mut signer = match scheme {
            Scheme::RsaPkcs1(hash) | Scheme::RsaPss(hash) | Scheme::Ecdsa(hash) => with(hash)?,
            Scheme::Ed25519 | Scheme::Ed448 => with(Hash::Identity)?,
        };
        if let Scheme::RsaPss(hash) = scheme {
            signer.set_rsa_padding(Padding::PKCS1_PSS)?;
            signer.set_rsa_pss_saltlen(RsaPssSaltlen::custom(hash.len().into()))?;
            hash.digest().map_or(Ok(()), |digest| signer.set_rsa_mgf1_md(digest))?;
        }
        Ok(signer.sign_oneshot_to_vec(octets)?)
    }
}
/// Hashes for a key, the one of its strength first.
fn preferred(kind: KeyKind) -> &'static [Hash] {
    use Hash::{Identity, Sha256, Sha384, Sha512};
    match kind {
        KeyKind::Rsa { bits: ..=3072 } | KeyKind::P256 => &[Sha256, Sha384, Sha512],
        KeyKind::Rsa { bits: ..=7680 } | KeyKind::P384 => &[Sha384, Sha512, Sha256],
        KeyKind::Rsa { .. } | KeyKind::P521 => &[Sha512, Sha384, Sha256],
        KeyKind::Ed25519 | KeyKind::Ed448 => &[Identity],
    }
}

/// Their side. The answer names the way they have signed.
pub fn verify(
    key: &PublicKey,
    signature: &Signature,
    ways: Ways,
    octets: &[u8],
) -> Result<String, SignatureError> {
    key.check_strength()?;
    let data = signature.data.as_slice();
    match signature.method {
        RSA => verify_method_1(key, ways, data, octets),
        method if ECDSA.contains(&method) => verify_ecdsa(key, method, data, octets),
        DIGITAL_SIGNATURE => {
            let split = || {
                let (len, rest) = data.split_first()?;
                rest.split_at_checked(usize::from(*len))
            };
            let (identifier, raw) = split().ok_or(SignatureError::Algorithm("cut off".into()))?;
            let scheme = Scheme::from_identifier(identifier)
                .ok_or_else(|| SignatureError::Algorithm(hex(identifier)))?;
            if !scheme.fits(key.kind()) {
                return Err(SignatureError::Key { scheme: scheme.name(), key: key.kind() });
            }
            if is_right(key, scheme, raw, octets) { Ok(scheme.name()) } else { Err(SignatureError::Wrong) }
        }
        method => Err(SignatureError::Method(method)),
    }
}
fn hex(bytes: &[u8]) -> String {
    bytes.iter().take(80).map(|b| format!("{b:02x}")).collect()
}

fn verify_method_1(
    key: &PublicKey,
    ways: Ways,
    data: &[u8],
    octets: &[u8],
) -> Result<String, SignatureError> {
    if key.rsa().is_none() {
        return Err(SignatureError::Key { scheme: "RSA (method 1)".into(), key: key.kind() });
    }
    let encoded = recover(key, data).ok_or(SignatureError::Wrong)?;
    let all = [Hash::Sha256, Hash::Sha384, Hash::Sha512, Hash::Sha1];
    let hash = all.into_iter().find(|hash| digest_info(*hash, octets).as_deref() == Some(&encoded[..]));
    match hash {
        Some(Hash::Sha1) if !ways.sha1 => Err(SignatureError::Sha1),
        Some(hash) => Ok(Scheme::RsaPkcs1(hash).name()),
        None => Err(SignatureError::Wrong),
    }
}
fn verify_ecdsa(key: &PublicKey, method: u8, data: &[u8], octets: &[u8]) -> Result<String, SignatureError> {
    let (kind, hash, width) = match method {
        9 => (KeyKind::P256, Hash::Sha256, 32),
        10 => (KeyKind::P384, Hash::Sha384, 48),
        _ => (KeyKind::P521, Hash::Sha512, 66),
    };
    let scheme = Scheme::Ecdsa(hash);
    if key.kind() != kind {
        return Err(SignatureError::Key { scheme: kind.to_string(), key: key.kind() });
    }
    let der = || {
        let (r, s) = data.split_at_checked(width).filter(|(_, s)| s.len() == width)?;
        let (r, s) = (BigNum::from_slice(r).ok()?, BigNum::from_slice(s).ok()?);
        EcdsaSig::from_private_components(r, s).ok()?.to_der().ok()
    };
    let der = der().ok_or(SignatureError::Wrong)?;
    if is_right(key, scheme, &der, octets) { Ok(scheme.name()) } else { Err(SignatureError::Wrong) }
}

/// The encoded message in a PKCS#1 signature: what is behind the padding, which is checked.
fn recover(key: &PublicKey, signature: &[u8]) -> Option<Vec<u8>> {
    let rsa = key.rsa()?;
    let size = rsa.size() as usize;
    //= rfc8017#8.2.2/length: a signature is as long as the modulus.
    if signature.len() != size {
        return None;
    }
    let mut encoded = vec![0; size];
    let len = rsa.public_decrypt(signature, &mut encoded, Padding::PKCS1).ok()?;
    encoded.truncate(len);
    Some(encoded)
}
//= rfc8017#8.2.2/compare: the whole expected encoding is made and compared, nothing in theirs is parsed.
fn digest_info(hash: Hash, octets: &[u8]) -> Option<Vec<u8>> {
    let oid: &[u8] = match hash {
        Hash::Sha1 => &[6, 5, 0x2b, 0x0e, 3, 2, 0x1a],
        Hash::Sha256 => &[6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 1],
        Hash::Sha384 => &[6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 2],
        _ => &[6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, 3],
    };
    let digest = openssl::hash::hash(hash.digest()?, octets).ok()?;
    let (oid_len, len) = (oid.len() as u8, hash.len());
    let mut info = vec![0x30, oid_len + 6 + len, 0x30, oid_len + 2];
    info.extend(oid);
    info.extend([5, 0, 4, len]);
    info.extend(digest.iter());
    Some(info)
}

fn is_right(key: &PublicKey, scheme: Scheme, signature: &[u8], octets: &[u8]) -> bool {
    if let Some(algorithm) = fast::algorithm(scheme, key.kind()) {
        // Ours are the rules about keys: both libraries are asked about one that was taken.
        let theirs = UnparsedPublicKey::new(algorithm, key.spki());
        return theirs.verify(octets, signature).is_ok();
    }
    let verified = || -> Option<bool> {
        let with = |hash: Hash| match hash.digest() {
            Some(digest) => sign::Verifier::new(digest, &key.key),
            None => sign::Verifier::new_without_digest(&key.key),
        };
        let mut verifier = match scheme {
            Scheme::RsaPkcs1(hash) => return Some(recover(key, signature)? == digest_info(hash, octets)?),
            Scheme::RsaPss(hash) => {
                if signature.len() != key.rsa()?.size() as usize {
                    return None;
                }
                let mut verifier = with(hash).ok()?;
                verifier.set_rsa_padding(Padding::PKCS1_PSS).ok()?;
                verifier.set_rsa_pss_saltlen(RsaPssSaltlen::custom(hash.len().into())).ok()?;
                verifier.set_rsa_mgf1_md(hash.digest()?).ok()?;
                verifier
            }
            Scheme::Ecdsa(hash) => with(hash).ok()?,
            Scheme::Ed25519 | Scheme::Ed448 => with(Hash::Identity).ok()?,
        };
        verifier.verify_oneshot(signature, octets).ok()
    };
    verified() == Some(true)
}
