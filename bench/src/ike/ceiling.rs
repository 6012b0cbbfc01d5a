//! The public-key operations that a responder cannot do without, by the library that does them fastest here, keys at
//! hand: nobody's handshakes are cheaper.
use super::Kind;
use anyhow::{Result, anyhow, ensure};
use aws_lc_rs::kem::{DecapsulationKey, EncapsulationKey, ML_KEM_768};
use ike::api::DhGroup;
use openssl::bn::{BigNum, BigNumContext};
use openssl::derive::Deriver;
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::PKey;
use openssl::sign::{Signer, Verifier};
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

pub struct Operations(Vec<Operation>);
type Operation = Box<dyn Fn() -> Result<()>>;

impl Operations {
    pub fn new(kind: &Kind) -> Result<Self> {
        let signing = kind.key.map(signing).transpose()?;
        let kem = kind.kem.map(|_| encapsulation()).transpose()?;
        Ok(Self([exchange(kind.group)?].into_iter().chain(kem).chain(signing).collect()))
    }
    /// What `times` handshakes spend on them.
    pub fn spend(&self, times: usize) -> Result<Duration> {
        let start = now();
        for _ in 0..times {
            self.0.iter().try_for_each(|operation| operation())?;
        }
        Ok(now() - start)
    }
}

/// A responder's part of ML-KEM-768: a secret for the key that has come.
fn encapsulation() -> Result<Operation> {
    let failed = |_| anyhow!("ML-KEM-768 failed");
    let theirs = DecapsulationKey::generate(&ML_KEM_768).map_err(failed)?;
    let public = theirs.encapsulation_key().map_err(failed)?.key_bytes().map_err(failed)?.as_ref().to_vec();
    Ok(Box::new(move || {
        let key =
            EncapsulationKey::new(&ML_KEM_768, &public).map_err(|_| anyhow!("a key that is refused"))?;
        key.encapsulate().map(drop).map_err(failed)
    }))
}

/// Our signature, and theirs verified; their certificate is taken for known.
fn signing(key: ca::Key) -> Result<Operation> {
    let own = key.make();
    let public = PKey::public_key_from_der(&own.public_key_to_der()?)?;
    let sign = move || -> Result<Vec<u8>> {
        Ok(Signer::new(MessageDigest::sha256(), &own)?.sign_oneshot_to_vec(SIGNED)?)
    };
    let theirs = sign()?;
    Ok(Box::new(move || {
        sign()?;
        let fits = Verifier::new(MessageDigest::sha256(), &public)?.verify_oneshot(&theirs, SIGNED)?;
        ensure!(fits, "a signature that does not fit");
        Ok(())
    }))
}
const SIGNED: &[u8] = &[7; 400];

pub fn now() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

/// A key pair of our own, and the secret shared with the other end.
fn exchange(group: DhGroup) -> Result<Operation> {
    Ok(match group {
        DhGroup::X25519 => {
            let peer = PKey::generate_x25519()?;
            Box::new(move || {
                let own = PKey::generate_x25519()?;
                own.raw_public_key()?;
                let mut deriver = Deriver::new(&own)?;
                deriver.set_peer(&peer)?;
                deriver.derive_to_vec()?;
                Ok(())
            })
        }
        DhGroup::Modp2048 => {
            let (p, generator) = (BigNum::get_rfc3526_prime_2048()?, BigNum::from_u32(2)?);
            let power = move |base: &BigNum| -> Result<BigNum> {
                let (mut exponent, mut out) = (BigNum::new()?, BigNum::new()?);
                // RFC 3526 8: as long as the group's strength asks for.
                exponent.rand(320, openssl::bn::MsbOption::ONE, false)?;
                exponent.set_const_time();
                out.mod_exp(base, &exponent, &p, &mut *BigNumContext::new()?)?;
                Ok(out)
            };
            let peer = power(&generator)?;
            Box::new(move || {
                power(&generator)?;
                power(&peer).map(drop)
            })
        }
        other => {
            let nid = match other {
                DhGroup::Ecp384 => Nid::SECP384R1,
                DhGroup::Ecp521 => Nid::SECP521R1,
                _ => Nid::X9_62_PRIME256V1,
            };
            let group = EcGroup::from_curve_name(nid)?;
            let peer = PKey::from_ec_key(EcKey::generate(&group)?)?;
            Box::new(move || {
                let own = PKey::from_ec_key(EcKey::generate(&group)?)?;
                let mut deriver = Deriver::new(&own)?;
                deriver.set_peer(&peer)?;
                deriver.derive_to_vec()?;
                Ok(())
            })
        }
    })
}
