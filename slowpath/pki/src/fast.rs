//! What AWS-LC does for the kinds of keys that most peers have: it takes a key as it stands in a certificate, where OpenSSL 3.0
//! looks for algorithms and decoders anew each time.
use crate::key::KeyKind;
use crate::scheme::{Hash, Scheme};
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{self as aws, EcdsaKeyPair, EcdsaSigningAlgorithm, VerificationAlgorithm};
use openssl::pkey::{PKey, Private};
use zeroize::Zeroizing;

/// Who verifies these; `None`: OpenSSL does.
pub fn algorithm(scheme: Scheme, kind: KeyKind) -> Option<&'static dyn VerificationAlgorithm> {
    use Hash::{Sha256, Sha384, Sha512};
    Some(match (scheme, kind) {
        (Scheme::Ecdsa(Sha256), KeyKind::P256) => &aws::ECDSA_P256_SHA256_ASN1,
        (Scheme::Ecdsa(Sha384), KeyKind::P256) => &aws::ECDSA_P256_SHA384_ASN1,
        (Scheme::Ecdsa(Sha512), KeyKind::P256) => &aws::ECDSA_P256_SHA512_ASN1,
        (Scheme::Ecdsa(Sha256), KeyKind::P384) => &aws::ECDSA_P384_SHA256_ASN1,
        (Scheme::Ecdsa(Sha384), KeyKind::P384) => &aws::ECDSA_P384_SHA384_ASN1,
        (Scheme::Ecdsa(Sha512), KeyKind::P384) => &aws::ECDSA_P384_SHA512_ASN1,
        (Scheme::Ed25519, KeyKind::Ed25519) => &aws::ED25519,
        _ => return None,
    })
}

/// A private key of ours as AWS-LC has it.
pub struct Signing(EcdsaKeyPair);
impl Signing {
    pub fn new(kind: KeyKind, key: &PKey<Private>) -> Option<Self> {
        let algorithm = signing(kind)?;
        let der = Zeroizing::new(key.private_key_to_der().ok()?);
        EcdsaKeyPair::from_private_key_der(algorithm, &der).ok().map(Self)
    }
    /// `None`: another scheme than this key's own.
    pub fn sign(&self, scheme: Scheme, octets: &[u8]) -> Option<Vec<u8>> {
        let own = match scheme {
            Scheme::Ecdsa(Hash::Sha256) => &aws::ECDSA_P256_SHA256_ASN1_SIGNING,
            Scheme::Ecdsa(Hash::Sha384) => &aws::ECDSA_P384_SHA384_ASN1_SIGNING,
            _ => return None,
        };
        (self.0.algorithm() == own).then_some(())?;
        Some(self.0.sign(&SystemRandom::new(), octets).ok()?.as_ref().to_vec())
    }
}
fn signing(kind: KeyKind) -> Option<&'static EcdsaSigningAlgorithm> {
    match kind {
        KeyKind::P256 => Some(&aws::ECDSA_P256_SHA256_ASN1_SIGNING),
        KeyKind::P384 => Some(&aws::ECDSA_P384_SHA384_ASN1_SIGNING),
        _ => None,
    }
}
