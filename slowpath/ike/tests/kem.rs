//! ML-KEM as a key exchange: Wycheproof's vectors, and another implementation (`ml-kem`) at the other end.
mod common;

use common::{Seeded, field, json};
use ike::api::DhGroup;
use ike::crypto::{DhError, DhPrivate};
use ml_kem::{Decapsulate, KeyExport};

fn tests(file: &str) -> Vec<serde_json::Value> {
    let file = json(&format!("ike/wycheproof-{file}.json"));
    let groups = file["testGroups"].as_array().unwrap();
    groups.iter().flat_map(|g| g["tests"].as_array().unwrap().clone()).collect()
}

type Opened = Box<dyn Fn(&[u8]) -> Vec<u8>>;
/// The other implementation, by the seed of a key: its expanded form, its public half, what it decapsulates.
struct Other {
    expanded: Vec<u8>,
    public: Vec<u8>,
    decapsulate: Opened,
}
macro_rules! other {
    ($seed:expr, $of:ident) => {{
        let key = ml_kem::$of::DecapsulationKey::from_seed($seed.try_into().unwrap());
        #[allow(deprecated)]
        let expanded = ml_kem::ExpandedKeyEncoding::to_expanded_bytes(&key).to_vec();
        let public = key.encapsulation_key().to_bytes().to_vec();
        let decapsulate = Box::new(move |c: &[u8]| key.decapsulate(c.try_into().unwrap()).to_vec());
        Other { expanded, public, decapsulate }
    }};
}
fn other(group: DhGroup, seed: &[u8]) -> Other {
    match group {
        DhGroup::MlKem512 => other!(seed, ml_kem_512),
        DhGroup::MlKem768 => other!(seed, ml_kem_768),
        _ => other!(seed, ml_kem_1024),
    }
}

#[test]
fn wycheproof_key_generation() {
    let tests = tests("mlkem_768_keygen_seed_test");
    for test in &tests {
        let other = other(DhGroup::MlKem768, &field(test, "seed"));
        assert_eq!(other.expanded, field(test, "dk"));
        let ours = DhPrivate::from_secret(DhGroup::MlKem768, &field(test, "dk")).unwrap();
        assert_eq!(ours.public(), field(test, "ek"));
    }
    assert!(tests.len() >= 10);
}
#[test]
fn wycheproof_decapsulation() {
    for (file, group) in [("mlkem_512_test", DhGroup::MlKem512), ("mlkem_768_test", DhGroup::MlKem768)] {
        let (mut good, mut refused) = (0, 0);
        for test in tests(file) {
            let seed = field(&test, "seed");
            // A seed of another length never gets so far: we draw our own.
            if seed.len() != 64 {
                continue;
            }
            let ours = DhPrivate::from_secret(group, &other(group, &seed).expanded).unwrap();
            match ours.shared(&field(&test, "c")) {
                Ok(shared) => {
                    assert_eq!(test["result"], "valid", "{test}");
                    assert_eq!(*shared, field(&test, "K"), "{test}");
                    assert_eq!(ours.public(), field(&test, "ek"));
                    good += 1;
                }
                Err(error) => {
                    assert_eq!(test["result"], "invalid", "{error}: {test}");
                    refused += 1;
                }
            }
        }
        assert!(good >= 10 && refused >= 2, "{good} {refused}");
    }
}
/// FIPS 203 7.2: of another length, or with coefficients beyond the modulus.
#[test]
fn wycheproof_encapsulation_keys() {
    let (mut good, mut refused) = (0, 0);
    for test in tests("mlkem_768_encaps_test") {
        match DhPrivate::answer(DhGroup::MlKem768, &field(&test, "ek"), &mut Seeded(1)) {
            Ok((ciphertext, shared)) => {
                assert_eq!(test["result"], "valid", "{test}");
                assert_eq!((ciphertext.len(), shared.len()), (1088, 32));
                good += 1;
            }
            Err(_) => {
                assert_eq!(test["result"], "invalid", "{test}");
                refused += 1;
            }
        }
    }
    assert!(good >= 5 && refused >= 10, "{good} {refused}");
}

/// Sizes are looked at first; what has the right size and is none is rejected implicitly: a secret, and not theirs.
#[test]
fn d13_values_that_are_none() {
    for group in DhGroup::KEMS {
        let ours = DhPrivate::generate(group, &mut Seeded(11)).unwrap();
        let (answer, shared) = DhPrivate::answer(group, ours.public(), &mut Seeded(12)).unwrap();
        for len in [0, 1, 32, answer.len() - 1, answer.len() + 1, 65_000] {
            assert!(matches!(ours.shared(&vec![7; len]), Err(DhError::Length { .. })), "{len}");
            if len != group.public_len() {
                let refused = DhPrivate::answer(group, &vec![7; len], &mut Seeded(13));
                assert!(matches!(refused, Err(DhError::Length { .. })), "{len}");
            }
        }
        for value in [0, 0x5a, 0xff] {
            let made = ours.shared(&vec![value; answer.len()]).unwrap();
            assert!(made != shared && made.iter().any(|b| *b != 0), "{value}");
            assert_eq!(made, ours.shared(&vec![value; answer.len()]).unwrap(), "the same each time");
        }
        //= test fips203#7.2/modulus: coefficients of a key are below q.
        let mut unreduced = ours.public().to_vec();
        unreduced[..3].fill(0xff);
        assert!(DhPrivate::answer(group, &unreduced, &mut Seeded(14)).is_err());
    }
}

#[test]
fn another_implementation_agrees_at_either_end() {
    for group in DhGroup::KEMS {
        for n in 0..8 {
            // It began.
            let theirs = other(group, &[n; 64]);
            assert_eq!(theirs.public.len(), group.public_len());
            let (answer, shared) = DhPrivate::answer(group, &theirs.public, &mut Seeded(2)).unwrap();
            assert_eq!(answer.len(), group.answer_len());
            assert_eq!((theirs.decapsulate)(&answer), *shared);
            // Its key at our end, as a record of the vault brings it back.
            let ours = DhPrivate::from_secret(group, &theirs.expanded).unwrap();
            assert_eq!(ours.public(), theirs.public);
            assert_eq!(ours.shared(&answer).unwrap(), shared);
            // A forged ciphertext gives the secret that FIPS 203 says, which is another one.
            let mut forged = answer.clone();
            forged[usize::from(n)] ^= 1;
            assert_eq!(*ours.shared(&forged).unwrap(), (theirs.decapsulate)(&forged));
            assert_ne!(ours.shared(&forged).unwrap(), shared);
        }
        let ours = DhPrivate::generate(group, &mut Seeded(3)).unwrap();
        let (answer, shared) = DhPrivate::answer(group, ours.public(), &mut Seeded(4)).unwrap();
        assert_eq!(ours.shared(&answer).unwrap(), shared);
        for len in [0, 31, group.answer_len() - 1, group.answer_len() + 1] {
            assert!(matches!(ours.shared(&vec![5; len]), Err(DhError::Length { .. })));
            let public = DhPrivate::answer(group, &vec![5; len], &mut Seeded(5));
            assert!(len == group.public_len() || matches!(public, Err(DhError::Length { .. })));
        }
    }
}
