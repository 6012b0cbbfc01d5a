//! The public-key operations that a responder cannot do without, by the library that does them fastest here, keys at
//! hand: nobody's handshakes are cheaper.
use super::Kind;
use anyhow::Result;
use ike::api::DhGroup;
use openssl::bn::{BigNum, BigNumContext};
use openssl::derive::Deriver;
use openssl::ec::{EcGroup, EcKey};
use openssl::nid::Nid;
use openssl::pkey::PKey;
use rustix::time::{ClockId, clock_gettime};
use std::time::Duration;

/// What `times` handshakes spend on them.
pub fn spend(kind: &Kind, times: usize) -> Result<Duration> {
    let exchange = exchange(kind.group)?;
    let start = now();
    for _ in 0..times {
        exchange()?;
    }
    Ok(now() - start)
}

pub fn now() -> Duration {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(now.tv_sec.unsigned_abs(), now.tv_nsec.unsigned_abs() as u32)
}

type Operation = Box<dyn Fn() -> Result<()>>;

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
