//! ML-KEM (FIPS 203) as a key exchange: the initiator's public value is an encapsulation key, the responder's answer a
//! ciphertext (draft-ietf-ipsecme-ikev2-mlkem).
use super::Secret;
use crate::api::DhGroup;
use aws_lc_rs::kem::{
    Algorithm, Ciphertext, DecapsulationKey, EncapsulationKey, ML_KEM_512, ML_KEM_768, ML_KEM_1024,
};

fn algorithm(group: DhGroup) -> &'static Algorithm {
    match group {
        DhGroup::MlKem512 => &ML_KEM_512,
        DhGroup::MlKem768 => &ML_KEM_768,
        _ => &ML_KEM_1024,
    }
}

/// A decapsulation key, which the library draws itself.
pub fn generate(group: DhGroup) -> Option<Secret> {
    let key = DecapsulationKey::generate(algorithm(group)).ok()?;
    Some(Secret::new(key.key_bytes().ok()?.as_ref().to_vec()))
}
/// The encapsulation key, which FIPS 203 7.1 has inside of the other.
pub fn public(group: DhGroup, secret: &[u8]) -> Option<Vec<u8>> {
    DecapsulationKey::new(algorithm(group), secret).ok()?;
    let start = group.public_len() - 32;
    secret.get(start..start + group.public_len()).map(<[u8]>::to_vec)
}
/// The answer to an encapsulation key, and the secret. `None`: it is none of this group (FIPS 203 7.2's check).
pub fn encapsulate(group: DhGroup, peer: &[u8]) -> Option<(Vec<u8>, Secret)> {
    let key = EncapsulationKey::new(algorithm(group), peer).ok()?;
    let (ciphertext, shared) = key.encapsulate().ok()?;
    Some((ciphertext.as_ref().to_vec(), Secret::new(shared.as_ref().to_vec())))
}
/// Of a ciphertext of the right length there always is one: a forged one gives a secret nobody knows (FIPS 203 6.3).
pub fn decapsulate(group: DhGroup, secret: &[u8], ciphertext: &[u8]) -> Option<Secret> {
    let key = DecapsulationKey::new(algorithm(group), secret).ok()?;
    let shared = key.decapsulate(Ciphertext::from(ciphertext)).ok()?;
    Some(Secret::new(shared.as_ref().to_vec()))
}
