//! Diffie-Hellman: a private value drawn from our own random source, the public value for a KE payload,
//! and the shared secret, for which the peer's value is checked first (RFC 6989, RFC 7748 6.1).
use super::{Secret, kem};
use crate::api::{DhGroup, Rng};
use aws_lc_rs::agreement;
use openssl::bn::{BigNum, BigNumContext};
use openssl::derive::Deriver;
use openssl::ec::{EcGroup, EcPoint, PointConversionForm};
use openssl::error::ErrorStack;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use sa::GroupKind;
use std::sync::OnceLock;

#[derive(Clone, Debug, thiserror::Error)]
pub enum DhError {
    #[error("a public value of {group} has {expected} bytes, this one has {len}", group = .group.name())]
    Length { group: DhGroup, expected: usize, len: usize },
    #[error("the public value is not one of {group}: {why}", group = .group.name())]
    Value { group: DhGroup, why: &'static str },
    #[error("the cryptographic library failed: {0}")]
    Library(#[from] ErrorStack),
}

/// One end's private value. Wiped on drop.
pub struct DhPrivate {
    group: DhGroup,
    secret: Secret,
    public: Vec<u8>,
    /// The library's form of an X25519 or X448 key: making one costs a multiplication.
    key: Option<Montgomery>,
}
enum Montgomery {
    X25519(agreement::PrivateKey),
    X448(PKey<Private>),
}
impl std::fmt::Debug for DhPrivate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DhPrivate({})", self.group.name())
    }
}

impl DhPrivate {
    pub fn generate(group: DhGroup, rng: &mut dyn Rng) -> Result<Self, DhError> {
        if let GroupKind::Kem { .. } = group.kind() {
            let secret =
                kem::generate(group).ok_or(DhError::Value { group, why: "no key could be drawn" })?;
            return Self::from_secret(group, &secret);
        }
        // An elliptic-curve scalar at or above the order is drawn again; a good source needs 1 or 2 draws.
        for _ in 0..128 {
            let mut secret = Secret::new(vec![0; secret_len(group)]);
            rng.fill(&mut secret);
            match group.kind() {
                // The order has 521 bits, and so has the scalar.
                GroupKind::Curve if group == DhGroup::Ecp521 => secret[0] &= 1,
                //= rfc3526#8/exponent-size: the top bit set, so that the exponent has its full size.
                GroupKind::Modp { .. } => secret[0] |= 0x80,
                _ => {}
            }
            match Self::from_secret(group, &secret) {
                Err(DhError::Value { .. }) => continue,
                made => return made,
            }
        }
        Err(DhError::Value { group, why: "the random source repeats a useless value" })
    }

    /// A chosen private value, big-endian (X25519 and X448: as in RFC 7748): for test vectors.
    pub fn from_secret(group: DhGroup, secret: &[u8]) -> Result<Self, DhError> {
        let (public, key) = match group.kind() {
            GroupKind::Montgomery => {
                let (public, key) = montgomery(group, secret)?;
                (public, Some(key))
            }
            GroupKind::Curve => (public_of(group, secret)?, None),
            GroupKind::Kem { .. } => {
                let bad = DhError::Value { group, why: "this is no decapsulation key" };
                (kem::public(group, secret).ok_or(bad)?, None)
            }
            GroupKind::Modp { .. } => {
                let generator = BigNum::from_u32(2)?;
                (power(group, &generator, secret)?.to_vec(), None)
            }
        };
        Ok(Self { group, secret: Secret::new(secret.to_vec()), public, key })
    }

    /// The responder's side: what to answer the initiator's value with, and the secret.
    pub fn answer(group: DhGroup, peer: &[u8], rng: &mut dyn Rng) -> Result<(Vec<u8>, Secret), DhError> {
        if let GroupKind::Kem { .. } = group.kind() {
            check_len(group, group.public_len(), peer)?;
            let bad = DhError::Value { group, why: "no encapsulation key" };
            return kem::encapsulate(group, peer).ok_or(bad);
        }
        let own = Self::generate(group, rng)?;
        let shared = own.shared(peer)?;
        Ok((own.public, shared))
    }

    pub fn group(&self) -> DhGroup {
        self.group
    }
    /// As it stands in a KE payload.
    pub fn public(&self) -> &[u8] {
        &self.public
    }
    /// For test vectors and key logs of a lab.
    pub fn expose_secret(&self) -> &[u8] {
        &self.secret
    }

    /// The initiator's side: g^ir as RFC 7296 2.14 feeds it to the PRF: the group's length, leading zeros kept.
    pub fn shared(&self, peer: &[u8]) -> Result<Secret, DhError> {
        let group = self.group;
        check_len(group, group.answer_len(), peer)?;
        match group.kind() {
            GroupKind::Kem { .. } => kem::decapsulate(group, &self.secret, peer)
                .ok_or(DhError::Value { group, why: "it cannot be decapsulated" }),
            GroupKind::Montgomery => self.shared_montgomery(peer),
            GroupKind::Curve => self.shared_ec(peer),
            GroupKind::Modp { .. } => self.shared_modp(peer),
        }
    }

    fn shared_modp(&self, peer: &[u8]) -> Result<Secret, DhError> {
        let group = self.group;
        let value = BigNum::from_slice(peer)?;
        let mut top = modulus(group)?;
        top.sub_word(1)?;
        //= rfc6989#2.1/range: 1 < r < p-1, which is enough for a safe prime.
        if value <= BigNum::from_u32(1)? || value >= top {
            return Err(DhError::Value { group, why: "not between 1 and p-1" });
        }
        power(group, &value, &self.secret)
    }

    fn shared_ec(&self, peer: &[u8]) -> Result<Secret, DhError> {
        let bad = |why| DhError::Value { group: self.group, why };
        let (curve, mut ctx) = (curve(self.group)?, BigNumContext::new()?);
        //= rfc6989#2.3/on-curve: the point satisfies the curve's equation; infinity has no encoding here.
        // Every group's cofactor is 1: a point of the curve is one of the group.
        let encoded = [&[4][..], peer].concat();
        let point =
            EcPoint::from_bytes(curve, &encoded, &mut ctx).map_err(|_| bad("not a point of the curve"))?;
        if point.is_infinity(curve) || !point.is_on_curve(curve, &mut ctx)? {
            return Err(bad("not a point of the curve"));
        }
        let (mut shared, mut scalar) = (EcPoint::new(curve)?, scalar(self.group, &self.secret)?);
        let done = shared.mul2(curve, &point, &scalar, &mut ctx);
        scalar.clear();
        done?;
        //= rfc5903#7/x-only: the shared secret is the x coordinate.
        let (mut x, mut y) = (BigNum::new_secure()?, BigNum::new_secure()?);
        shared.affine_coordinates(curve, &mut x, &mut y, &mut ctx)?;
        Ok(Secret::new(x.to_vec_padded(self.group.public_len() as i32 / 2)?))
    }

    fn shared_montgomery(&self, peer: &[u8]) -> Result<Secret, DhError> {
        let low = || DhError::Value { group: self.group, why: "of low order" };
        let shared = match &self.key {
            Some(Montgomery::X25519(key)) => {
                let peer = agreement::UnparsedPublicKey::new(&agreement::X25519, peer);
                agreement::agree(key, peer, low(), |shared| Ok(Secret::new(shared.to_vec())))?
            }
            Some(Montgomery::X448(key)) => {
                let peer = PKey::public_key_from_raw_bytes(peer, key.id())?;
                derive(key, &peer).map_err(|_| low())?
            }
            None => return Err(low()),
        };
        //= rfc8031#2.4/all-zero: a shared secret of zero means a point of low order, and ends the exchange.
        if super::same(&shared, &vec![0; shared.len()]) { Err(low()) } else { Ok(shared) }
    }
}

//= rfc7296#3.4/ke-length: the value has exactly the group's length.
fn check_len(group: DhGroup, expected: usize, peer: &[u8]) -> Result<(), DhError> {
    let len = peer.len();
    if len == expected { Ok(()) } else { Err(DhError::Length { group, expected, len }) }
}
fn secret_len(group: DhGroup) -> usize {
    match group.kind() {
        GroupKind::Modp { exponent } => exponent,
        GroupKind::Curve => group.public_len() / 2,
        GroupKind::Montgomery | GroupKind::Kem { .. } => group.public_len(),
    }
}

/// A group's parameters: the library takes longer to make them than to multiply with them.
fn curve(group: DhGroup) -> Result<&'static EcGroup, ErrorStack> {
    static MADE: [OnceLock<EcGroup>; 7] = [const { OnceLock::new() }; 7];
    let [ecp256, ecp384, ecp521, bp224, bp256, bp384, bp512] = &MADE;
    let (made, nid) = match group {
        DhGroup::Ecp384 => (ecp384, Nid::SECP384R1),
        DhGroup::Ecp521 => (ecp521, Nid::SECP521R1),
        DhGroup::Brainpool224 => (bp224, Nid::BRAINPOOL_P224R1),
        DhGroup::Brainpool256 => (bp256, Nid::BRAINPOOL_P256R1),
        DhGroup::Brainpool384 => (bp384, Nid::BRAINPOOL_P384R1),
        DhGroup::Brainpool512 => (bp512, Nid::BRAINPOOL_P512R1),
        _ => (ecp256, Nid::X9_62_PRIME256V1),
    };
    if let Some(curve) = made.get() {
        return Ok(curve);
    }
    let curve = EcGroup::from_curve_name(nid)?;
    Ok(made.get_or_init(|| curve))
}
fn modulus(group: DhGroup) -> Result<BigNum, ErrorStack> {
    match group {
        DhGroup::Modp768 => BigNum::get_rfc2409_prime_768(),
        DhGroup::Modp1024 => BigNum::get_rfc2409_prime_1024(),
        DhGroup::Modp1536 => BigNum::get_rfc3526_prime_1536(),
        DhGroup::Modp2048 => BigNum::get_rfc3526_prime_2048(),
        DhGroup::Modp3072 => BigNum::get_rfc3526_prime_3072(),
        DhGroup::Modp6144 => BigNum::get_rfc3526_prime_6144(),
        DhGroup::Modp8192 => BigNum::get_rfc3526_prime_8192(),
        _ => BigNum::get_rfc3526_prime_4096(),
    }
}

/// `base`^`secret` mod p, padded to the group's length, in time that does not depend on the secret's bits.
fn power(group: DhGroup, base: &BigNum, secret: &[u8]) -> Result<Secret, DhError> {
    let p = modulus(group)?;
    let mut exponent = BigNum::from_slice(secret)?;
    exponent.set_const_time();
    let (mut out, mut ctx) = (BigNum::new()?, BigNumContext::new()?);
    let done = out.mod_exp(base, &exponent, &p, &mut ctx);
    exponent.clear();
    done?;
    let bytes = out.to_vec_padded(group.public_len() as i32).map(Secret::new);
    out.clear();
    Ok(bytes?)
}

/// A private value below the group's order, in the form that is worked with in constant time.
fn scalar(group: DhGroup, secret: &[u8]) -> Result<BigNum, DhError> {
    let (mut order, mut ctx) = (BigNum::new()?, BigNumContext::new()?);
    curve(group)?.order(&mut order, &mut ctx)?;
    let mut scalar = BigNum::from_slice(secret)?;
    scalar.set_const_time();
    if scalar.num_bits() == 0 || scalar >= order {
        scalar.clear();
        return Err(DhError::Value { group, why: "the private value is outside the group's order" });
    }
    Ok(scalar)
}
fn public_of(group: DhGroup, secret: &[u8]) -> Result<Vec<u8>, DhError> {
    let (curve, mut ctx) = (curve(group)?, BigNumContext::new()?);
    let (mut point, mut scalar) = (EcPoint::new(curve)?, scalar(group, secret)?);
    let done = point.mul_generator2(curve, &scalar, &mut ctx);
    scalar.clear();
    done?;
    Ok(point.to_bytes(curve, PointConversionForm::UNCOMPRESSED, &mut ctx)?.split_off(1))
}

/// The public value, and the key. X25519 is AWS-LC's: OpenSSL 3.0 spends as long on objects as on the curve.
fn montgomery(group: DhGroup, secret: &[u8]) -> Result<(Vec<u8>, Montgomery), DhError> {
    let bad = DhError::Value { group, why: "this is no private value" };
    if group == DhGroup::X448 {
        let key = PKey::private_key_from_raw_bytes(secret, Id::X448)?;
        return Ok((key.raw_public_key()?, Montgomery::X448(key)));
    }
    let made = || {
        let key = agreement::PrivateKey::from_private_key(&agreement::X25519, secret).ok()?;
        let public = key.compute_public_key().ok()?.as_ref().to_vec();
        Some((public, Montgomery::X25519(key)))
    };
    made().ok_or(bad)
}

fn derive<P: openssl::pkey::HasPublic>(key: &PKey<Private>, peer: &PKey<P>) -> Result<Secret, DhError> {
    let mut deriver = Deriver::new(key)?;
    deriver.set_peer(peer)?;
    Ok(Secret::new(deriver.derive_to_vec()?))
}
