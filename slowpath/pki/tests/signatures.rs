//! Signatures as AUTH payloads carry them: Wycheproof's edge cases, every kind of key there and back, and what is refused.
mod common;

use ca::{Key, Wish};
use common::{certificate, hex, json};
use pki::{
    Certificate, Hash, Hashes, KeyError, PublicKey, SignError, Signature, SignatureError, Signer, Ways,
    read_private_key, verify,
};
use std::sync::Arc;

const PLAIN: Ways = Ways { pkcs1: false, sha1: false };
const NULL: &[u8] = &[5, 0];

/// AUTH data of method 14.
fn digital(identifier: &[u8], signature: &[u8]) -> Signature {
    let data = [&[identifier.len() as u8], identifier, signature].concat();
    Signature { method: 14, data }
}
fn rsa(last: u8) -> Vec<u8> {
    [&[0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, last], NULL].concat()
}
fn ecdsa(last: u8) -> Vec<u8> {
    vec![0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, last]
}
fn pss(last: u8, len: u8) -> Vec<u8> {
    let sha = [&[0x30, 13, 6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, last], NULL].concat();
    let mgf = [&[0x30, 26, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8], &sha[..]].concat();
    let params = [&[0xa0, 15], &sha[..], &[0xa1, 28], &mgf, &[0xa2, 3, 2, 1, len]].concat();
    let oid = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
    [&[0x30, 65], &oid[..], &[0x30, 52], &params].concat()
}

/// How a file's signatures are put into an AUTH payload.
type Wrap = fn(&[u8]) -> Signature;
const FILES: [(&str, Wrap, usize); 8] = [
    ("ecdsa_secp256r1_sha256_p1363", |s| Signature { method: 9, data: s.to_vec() }, 262),
    ("ecdsa_secp256r1_sha256", |s| digital(&ecdsa(2), s), 440),
    ("ecdsa_secp384r1_sha384", |s| digital(&ecdsa(3), s), 504),
    ("ed25519", |s| digital(&[0x30, 5, 6, 3, 0x2b, 101, 112], s), 106),
    ("rsa_signature_2048_sha256", |s| digital(&rsa(11), s), 174),
    ("rsa_signature_4096_sha512", |s| digital(&rsa(13), s), 259),
    ("rsa_pss_2048_sha256_mgf1_32", |s| digital(&pss(1, 32), s), 108),
    ("rsa_pss_4096_sha512_mgf1_64", |s| digital(&pss(3, 64), s), 179),
];

#[test]
fn wycheproof() {
    for (name, wrap, number) in FILES {
        let file = json(&format!("wycheproof/{name}_test.json"));
        let (mut tried, mut valid) = (0, 0);
        for group in file["testGroups"].as_array().unwrap() {
            let key = match PublicKey::from_spki(&hex(group["publicKeyDer"].as_str().unwrap())) {
                Ok(key) => key,
                // An exponent of 3: refused as a key, whatever it signs.
                Err(KeyError::RsaExponent) => {
                    tried += group["tests"].as_array().unwrap().len();
                    continue;
                }
                Err(error) => panic!("{name}: {error}"),
            };
            for test in group["tests"].as_array().unwrap() {
                let (octets, signature) =
                    (hex(test["msg"].as_str().unwrap()), hex(test["sig"].as_str().unwrap()));
                let verdict = verify(&key, &wrap(&signature), PLAIN, &octets);
                // Of the two encodings of a hash only the one with NULL is taken ("acceptable" is "without").
                let should = test["result"] == "valid";
                assert_eq!(verdict.is_ok(), should, "{name} {}: {verdict:?}", test["tcId"]);
                tried += 1;
                valid += usize::from(should);
            }
        }
        assert_eq!(tried, number, "{name}");
        assert!(valid > 0 && valid < tried, "{name}: {valid} of {tried}");
    }
}
//= test rfc7296#3.8/method-1
#[test]
fn wycheproof_as_method_1() {
    let file = json("wycheproof/rsa_signature_2048_sha256_test.json");
    let mut others = 0;
    for group in file["testGroups"].as_array().unwrap() {
        let key = hex(group["publicKeyDer"].as_str().unwrap());
        let Ok(key) = PublicKey::from_spki(&key) else { continue };
        for test in group["tests"].as_array().unwrap() {
            let signature = Signature { method: 1, data: hex(test["sig"].as_str().unwrap()) };
            let verdict = verify(&key, &signature, PLAIN, &hex(test["msg"].as_str().unwrap()));
            // The method leaves the hash to the signature: what is wrong as one over SHA-256 may be right over another.
            let other_hash = verdict.as_ref().is_ok_and(|scheme| !scheme.contains("SHA-256"));
            let should = test["result"] == "valid" || other_hash;
            assert_eq!(verdict.is_ok(), should, "{}: {verdict:?}", test["tcId"]);
            others += usize::from(other_hash);
        }
    }
    assert!(others <= 3, "{others}");
}

fn signer(key: Key) -> Signer {
    let issued = Wish::leaf("gw", key).self_signed();
    Signer::new(read_private_key(&issued.key_pem()).unwrap(), vec![certificate(&issued)]).unwrap()
}
const KEYS: [Key; 6] = [Key::Rsa(2048), Key::P256, Key::P384, Key::P521, Key::Ed25519, Key::Ed448];

#[test]
fn every_key_signs_and_one_changed_bit_is_noticed() {
    for kind in KEYS {
        let signer = signer(kind);
        let key = signer.certificate().unwrap().key();
        for (theirs, pkcs1) in [(Some(Hashes::OURS), false), (Some(Hashes::OURS), true), (None, false)] {
            let ways = Ways { pkcs1, sha1: false };
            let signature = match signer.sign(theirs, ways, b"octets") {
                Ok(signature) => signature,
                Err(error) => {
                    assert!(
                        matches!(error, SignError::NeedsRfc7427(_)) && theirs.is_none(),
                        "{kind:?}: {error}"
                    );
                    continue;
                }
            };
            assert_eq!(signature.method == 14, theirs.is_some(), "{kind:?}");
            verify(key, &signature, PLAIN, b"octets").unwrap();
            assert_eq!(verify(key, &signature, PLAIN, b"octetz"), Err(SignatureError::Wrong));
            for at in (0..signature.data.len()).step_by(7) {
                let mut other = signature.clone();
                other.data[at] ^= 1;
                assert!(verify(key, &other, PLAIN, b"octets").is_err(), "{kind:?} bit of byte {at}");
            }
            for cut in [0, 1, signature.data.len() - 1] {
                let data = signature.data[..cut].to_vec();
                assert!(verify(key, &Signature { data, ..signature }, PLAIN, b"octets").is_err());
            }
        }
    }
}

//= test rfc7427#4/both
#[test]
fn hash_is_one_that_both_take() {
    let only = |hash| Some([hash].into_iter().collect::<Hashes>());
    let p256 = signer(Key::P256);
    let key = p256.certificate().unwrap().key();
    let with_384 = p256.sign(only(Hash::Sha384), PLAIN, b"x").unwrap();
    assert_eq!(verify(key, &with_384, PLAIN, b"x").unwrap(), "ECDSA with SHA-384");
    let error = p256.sign(only(Hash::Sha1), PLAIN, b"x").unwrap_err();
    assert!(matches!(error, SignError::NoCommonHash { .. }), "{error}");
    let error = signer(Key::Ed25519).sign(only(Hash::Sha256), PLAIN, b"x").unwrap_err();
    assert!(matches!(error, SignError::NoCommonHash { .. }), "{error}");
    // What we do not know of their list does no harm.
    assert_eq!(Hashes::from_wire(&[0, 1, 0, 2, 0, 9, 0xff, 0xff, 0, 0]).to_wire(), [0, 1, 0, 2]);
    assert_eq!(Hashes::from_wire(&Hashes::OURS.to_wire()), Hashes::OURS);
}

//= test rfc8247#3.2/no-sha1
#[test]
fn d6_sha1_is_taken_only_when_the_configuration_says_so() {
    let signer = signer(Key::Rsa(2048));
    let key = signer.certificate().unwrap().key();
    let old = Ways { pkcs1: false, sha1: true };
    let signature = signer.sign(None, old, b"x").unwrap();
    assert_eq!(verify(key, &signature, PLAIN, b"x"), Err(SignatureError::Sha1));
    verify(key, &signature, old, b"x").unwrap();
    // Method 14 never, whatever is configured.
    let error = verify(key, &digital(&rsa(5), &signature.data), old, b"x").unwrap_err();
    assert!(matches!(error, SignatureError::Algorithm(_)), "{error}");
}

#[test]
fn methods_and_keys_that_do_not_go_together() {
    let (rsa_key, p256) = (signer(Key::Rsa(2048)), signer(Key::P256));
    let rsa_public = rsa_key.certificate().unwrap().key();
    let signature = p256.sign(Some(Hashes::OURS), PLAIN, b"x").unwrap();
    assert!(matches!(verify(rsa_public, &signature, PLAIN, b"x"), Err(SignatureError::Key { .. })));
    for method in [0, 2, 3, 4, 8, 12, 13, 15, 255] {
        let other = Signature { method, ..signature.clone() };
        assert_eq!(verify(rsa_public, &other, PLAIN, b"x"), Err(SignatureError::Method(method)));
    }
    for method in [1, 9, 10, 11] {
        let other = Signature { method, data: vec![0; 64] };
        let key = if method == 1 { p256.certificate().unwrap().key() } else { rsa_public };
        assert!(matches!(verify(key, &other, PLAIN, b"x"), Err(SignatureError::Key { .. })), "{method}");
    }
    let other = Wish::leaf("other", Key::P256).self_signed();
    let mine = Wish::leaf("mine", Key::P256).self_signed();
    let key = read_private_key(&mine.key_pem()).unwrap();
    assert_eq!(Signer::new(key, vec![certificate(&other)]).unwrap_err(), SignError::Mismatch);
}

fn rsa_spki(n: &[u8], e: &[u8]) -> Result<PublicKey, KeyError> {
    use openssl::{bn::BigNum, pkey::PKey, rsa::Rsa};
    let (n, e) = (BigNum::from_slice(n).unwrap(), BigNum::from_slice(e).unwrap());
    let key = PKey::from_rsa(Rsa::from_public_components(n, e).unwrap()).unwrap();
    PublicKey::from_spki(&key.public_key_to_der().unwrap())
}
//= test rfc8017#8.2.2/length
/// Sizes and exponents are refused before anything is computed with them; the encoding is compared as a whole.
#[test]
fn d3_rsa_signatures_and_keys() {
    let n = |bits: usize| {
        let mut n = vec![0xff; bits / 8];
        n[0] = 0x80;
        n
    };
    for bits in [512, 1024, 2040] {
        let key = rsa_spki(&n(bits), &[1, 0, 1]).unwrap();
        let weak = KeyError::RsaSize(bits as u32);
        assert_eq!(key.check_strength(), Err(weak.clone()));
        let signature = Signature { method: 1, data: vec![1; bits / 8] };
        assert_eq!(verify(&key, &signature, PLAIN, b"x"), Err(SignatureError::Weak(weak)));
    }
    assert!(rsa_spki(&n(256), &[1, 0, 1]).is_err() && rsa_spki(&n(16384), &[1, 0, 1]).is_err());
    for e in [&[1][..], &[3], &[1, 0, 0], &[0xff; 9]] {
        assert!(rsa_spki(&n(2048), e).is_err(), "{e:?}");
    }
    let signer = signer(Key::Rsa(2048));
    let key = signer.certificate().unwrap().key();
    for data in [vec![], vec![0; 256], vec![0xff; 256], vec![0; 255], vec![0; 257], vec![0; 65_000]] {
        let signature = Signature { method: 1, data: data.clone() };
        assert_eq!(verify(key, &signature, PLAIN, b"x"), Err(SignatureError::Wrong));
        assert_eq!(verify(key, &digital(&rsa(11), &data), PLAIN, b"x"), Err(SignatureError::Wrong));
    }
}
/// Only the set with the salt as long as the hash, MGF1, and the same hash twice.
#[test]
fn d4_pss_parameters() {
    let signer = signer(Key::Rsa(2048));
    let key = signer.certificate().unwrap().key();
    let good = signer.sign(Some(Hashes::OURS), PLAIN, b"x").unwrap();
    let raw = &good.data[68..];
    verify(key, &digital(&pss(1, 32), raw), PLAIN, b"x").unwrap();
    let mut no_mgf1 = pss(1, 32);
    no_mgf1[45] ^= 1;
    let mut other_mgf_hash = pss(1, 32);
    let at = other_mgf_hash.len() - 8;
    other_mgf_hash[at] = 2;
    let empty = [&[0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10, 0x30, 0][..]].concat();
    for identifier in [pss(1, 0), pss(1, 20), pss(1, 64), pss(1, 255), no_mgf1, other_mgf_hash, empty] {
        let error = verify(key, &digital(&identifier, raw), PLAIN, b"x").unwrap_err();
        assert!(matches!(error, SignatureError::Algorithm(_)), "{error}");
    }
}
/// r and s of 0, of the order and above; forms that are not minimal; another curve.
#[test]
fn d5_ecdsa_edges() {
    let signer = signer(Key::P256);
    let key = signer.certificate().unwrap().key();
    let order = hex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551");
    let (zero, all) = (vec![0; 32], vec![0xff; 32]);
    for (r, s) in [(&zero, &zero), (&order, &order), (&all, &all), (&zero, &order), (&order, &zero)] {
        let signature = Signature { method: 9, data: [&r[..], s].concat() };
        assert_eq!(verify(key, &signature, PLAIN, b"x"), Err(SignatureError::Wrong));
    }
    let good = signer.sign(None, PLAIN, b"x").unwrap();
    let longer = Signature { method: 9, data: [&[0], &good.data[..]].concat() };
    assert_eq!(verify(key, &longer, PLAIN, b"x"), Err(SignatureError::Wrong));
    let other = Signature { method: 10, ..good };
    assert!(matches!(verify(key, &other, PLAIN, b"x"), Err(SignatureError::Key { .. })));
}

/// s of the order and above, R and A of small order: what some take and others do not is not taken.
#[test]
fn d5_ed25519_edges() {
    const IDENTIFIER: &[u8] = &[0x30, 5, 6, 3, 0x2b, 101, 112];
    let signer = signer(Key::Ed25519);
    let key = signer.certificate().unwrap().key();
    let good = signer.sign(Some(Hashes::OURS), PLAIN, b"x").unwrap();
    let (r, s) = good.data[8..].split_at(32);
    verify(key, &digital(IDENTIFIER, &[r, s].concat()), PLAIN, b"x").unwrap();
    let order = hex("edd3f55c1a631258d69cf7a2def9de1400000000000000000000000000000010");
    let mut carry = 0;
    let more: Vec<u8> = s
        .iter()
        .zip(&order)
        .map(|(a, b)| {
            let sum = u16::from(*a) + u16::from(*b) + carry;
            carry = sum >> 8;
            sum as u8
        })
        .collect();
    let small = hex("c7176a703d4dd84fba3c0b760d10670f2a2053fa2c39ccc64ec7fd7792ac037a");
    for (what, r, s) in [
        ("s and the order", r, &more[..]),
        ("the order", r, &order[..]),
        ("all ones", r, &[0xff; 32][..]),
        ("R of order 8", &small[..], s),
        ("R of order 1, s of 0", &hex(&format!("01{}", "00".repeat(31)))[..], &[0; 32][..]),
    ] {
        let signature = digital(IDENTIFIER, &[r, s].concat());
        assert_eq!(verify(key, &signature, PLAIN, b"x"), Err(SignatureError::Wrong), "{what}");
    }
    for len in [0, 63, 65, 114] {
        assert!(verify(key, &digital(IDENTIFIER, &vec![1; len]), PLAIN, b"x").is_err(), "{len}");
    }
}

#[test]
fn a_chain_is_sent_without_its_root() {
    let root = Wish::authority("root", Key::P256).self_signed();
    let middle = Wish::authority("middle", Key::P256).by(&root);
    let leaf = Wish::leaf("leaf", Key::P256).by(&middle);
    let chain: Vec<Arc<Certificate>> = [&leaf, &middle, &root].map(certificate).into();
    let signer = Signer::new(read_private_key(&leaf.key_pem()).unwrap(), chain.clone()).unwrap();
    let sent: Vec<_> = signer.to_send().map(|c| c.name()).collect();
    assert_eq!(sent, ["O=Tests,CN=leaf", "O=Tests,CN=middle"]);
    assert!(signer.leads_to(&[chain[2].key().hash()]) && !signer.leads_to(&[[0; 20]]));
}
