//! Known answers: NIST SP 800-135 for the key derivation, RFC 2202/4231 for the PRFs, RFC 3526/5903/7748 and
//! Wycheproof for Diffie-Hellman.
mod common;

use common::{Seeded, field, hex, json, text};
use ike::api::{DhGroup, IkeCipher, IkeIntegrity, Prf};
use ike::crypto::*;
use std::collections::BTreeMap;

type Record = BTreeMap<String, String>;

/// NIST's text: `name = value` lines, records apart by blank lines, `[section]` lines kept by their text.
fn records(path: &str) -> Vec<Record> {
    let (mut out, mut record, mut section) = (Vec::new(), Record::new(), String::new());
    for line in text(path).lines().map(str::trim).chain([""]) {
        if line.is_empty() {
            if record.len() > 1 {
                out.push(record.clone());
            }
            record.clear();
        } else if let Some(s) = line.strip_prefix("[SHA-") {
            section = s.trim_end_matches(']').to_owned();
        } else if let Some((name, value)) = line.split_once(" = ").filter(|_| !line.starts_with(['#', '['])) {
            record.insert("section".into(), section.clone());
            record.insert(name.trim().into(), value.trim().into());
        }
    }
    out
}
fn of(record: &Record, name: &str) -> Vec<u8> {
    hex(record.get(name).unwrap_or_else(|| panic!("no {name} in {record:?}")))
}

//= test rfc7296#2.13/prf-plus
//= test rfc7296#2.14/skeyseed
//= test rfc7296#2.17/keymat
//= test rfc7296#2.18/skeyseed-rekey
#[test]
fn nist_800_135_ikev2() {
    let mut seen = 0;
    for r in records("ike/nist-800-135-ikev2.rsp") {
        let which = match r["section"].as_str() {
            "1" => Prf::HmacSha1,
            "256" => Prf::HmacSha256,
            "384" => Prf::HmacSha384,
            "512" => Prf::HmacSha512,
            other => {
                assert_eq!(other, "224", "a hash this test does not know");
                continue;
            }
        };
        let (ni, nr) = (of(&r, "Ni"), of(&r, "Nr"));
        let seed = skeyseed(which, &ni, &nr, &of(&r, "g^ir"));
        assert_eq!(*seed, of(&r, "SKEYSEED"));
        let dkm = of(&r, "DKM");
        let made = prf_plus(which, &seed, &[&ni, &nr, &of(&r, "SPIi"), &of(&r, "SPIr")], dkm.len());
        assert_eq!(*made, dkm);
        let sk_d = &dkm[..which.size()];
        let child = of(&r, "DKM(Child SA)");
        assert_eq!(*prf_plus(which, sk_d, &[&ni, &nr], child.len()), child);
        let (child, new) = (of(&r, "DKM(Child SA D-H)"), of(&r, "g^ir (new)"));
        assert_eq!(*prf_plus(which, sk_d, &[&new, &ni, &nr], child.len()), child);
        assert_eq!(*skeyseed_rekeyed(which, sk_d, &new, &ni, &nr, &[]), of(&r, "SKEYSEED(Rekey)"));
        seen += 1;
    }
    assert!(seen >= 100, "only {seen} records were read");
}

#[test]
fn hmac_rfc_2202_and_4231() {
    for (file, which, at_least) in [
        ("rfc2202-sha1", Prf::HmacSha1, 5),
        ("rfc4231-sha256", Prf::HmacSha256, 5),
        ("rfc4231-sha512", Prf::HmacSha512, 5),
    ] {
        let records = records(&format!("ike/{file}.txt"));
        assert!(records.len() >= at_least, "{file}: {} records", records.len());
        for r in records {
            // Test case 5 of RFC 4231 prints a truncated MAC.
            let md = of(&r, "MD");
            assert_eq!(prf(which, &of(&r, "Key"), &[&of(&r, "Msg")])[..md.len()], md[..], "{file}");
        }
    }
    // RFC 4231 4.3, the SHA-384 line.
    let md = hex("af45d2e376484031617f78d2b58a6b1b9c7ef464f5a01b47e42ec3736322445e\
                  8e2240ca5e69e2c78b3239ecfab21649");
    assert_eq!(*prf(Prf::HmacSha384, b"Jefe", &[b"what do ya want ", b"for nothing?"]), md);
}

fn dh(group: DhGroup, secret: &str, public: &str) -> DhPrivate {
    let private = DhPrivate::from_secret(group, &hex(secret)).unwrap();
    assert_eq!(private.public(), hex(public), "{}", group.name());
    private
}

//= test rfc5903#7/x-only
#[test]
fn ecp_groups_rfc_5903_8() {
    // 8.1: both ends.
    let i = dh(
        DhGroup::Ecp256,
        "C88F01F510D9AC3F70A292DAA2316DE544E9AAB8AFE84049C62A9C57862D1433",
        "DAD0B65394221CF9B051E1FECA5787D098DFE637FC90B9EF945D0C3772581180
         5271A0461CDB8252D61F1C456FA3E59AB1F45B33ACCF5F58389E0577B8990BB3",
    );
    let r = dh(
        DhGroup::Ecp256,
        "C6EF9C5D78AE012A011164ACB397CE2088685D8F06BF9BE0B283AB46476BEE53",
        "D12DFB5289C8D4F81208B70270398C342296970A0BCCB74C736FC7554494BF63
         56FBF3CA366CC23E8157854C13C58D6AAC23F046ADA30F8353E74F33039872AB",
    );
    let g_ir = hex("D6840F6B42F6EDAFD13116E0E12565202FEF8E9ECE7DCE03812464D04B9442DE");
    assert_eq!(*i.shared(r.public()).unwrap(), g_ir);
    assert_eq!(*r.shared(i.public()).unwrap(), g_ir);
    // 8.2
    let i = dh(
        DhGroup::Ecp384,
        "099F3C7034D4A2C699884D73A375A67F7624EF7C6B3C0F160647B67414DCE655E35B538041E649EE3FAEF896783AB194",
        "667842D7D180AC2CDE6F74F37551F55755C7645C20EF73E31634FE72B4C55EE6DE3AC808ACB4BDB4C88732AEE95F41AA
         9482ED1FC0EEB9CAFC4984625CCFC23F65032149E0E144ADA024181535A0F38EEB9FCFF3C2C947DAE69B4C634573A81C",
    );
    let r = hex("E558DBEF53EECDE3D3FCCFC1AEA08A89A987475D12FD950D83CFA41732BC509D0D1AC43A0336DEF96FDA41D0774A3571
                 DCFBEC7AACF3196472169E838430367F66EEBE3C6E70C416DD5F0C68759DD1FFF83FA40142209DFF5EAAD96DB9E6386C");
    let g_ir =
        "11187331C279962D93D604243FD592CB9D0A926F422E47187521287E7156C5C4D603135569B9E9D09CF5D4A270F59746";
    assert_eq!(*i.shared(&r).unwrap(), hex(g_ir));
    // 8.3
    let i = DhPrivate::from_secret(
        DhGroup::Ecp521,
        &hex("0037ADE9319A89F4DABDB3EF411AACCCA5123C61ACAB57B5393DCE47608172A095AA
              85A30FE1C2952C6771D937BA9777F5957B2639BAB072462F68C27A57382D4A52"),
    )
    .unwrap();
    let r = DhPrivate::from_secret(
        DhGroup::Ecp521,
        &hex("0145BA99A847AF43793FDD0E872E7CDFA16BE30FDC780F97BCCC3F078380201E9C67
              7D600B343757A3BDBF2A3163E4C2F869CCA7458AA4A4EFFC311F5CB151685EB9"),
    )
    .unwrap();
    let gix = hex("0015417E84DBF28C0AD3C278713349DC7DF153C897A1891BD98BAB4357C9ECBEE1E3
                   BF42E00B8E380AEAE57C2D107564941885942AF5A7F4601723C4195D176CED3E");
    assert_eq!(i.public()[..66], gix);
    let g_ir = hex("01144C7D79AE6956BC8EDB8E7C787C4521CB086FA64407F97894E5E6B2D79B04D142
                    7E73CA4BAA240A34786859810C06B3C715A3A8CC3151F2BEE417996D19F3DDEA");
    assert_eq!(*i.shared(r.public()).unwrap(), g_ir);
    assert_eq!(*r.shared(i.public()).unwrap(), g_ir);
}

#[test]
fn x25519_and_x448_rfc_7748() {
    let records = records("ike/rfc7748.txt");
    let mut seen = 0;
    for r in &records {
        if let (Some(scalar), Some(u), Some(out)) =
            (r.get("INPUT_SCALAR"), r.get("INPUT_U"), r.get("OUTPUT_U"))
        {
            let (scalar, u, out) = (hex(scalar), hex(u), hex(out));
            let private = DhPrivate::from_secret(DhGroup::X25519, &scalar).unwrap();
            assert_eq!(*private.shared(&u).unwrap(), out);
            seen += 1;
        }
    }
    assert!(seen >= 2, "{records:?}");
    // 6.2: both ends on Curve448.
    let a = dh(
        DhGroup::X448,
        "9a8f4925d1519f5775cf46b04b5800d4ee9ee8bae8bc5565d498c28dd9c9baf574a9419744897391006382a6f127ab1d9ac2d8c0a598726b",
        "9b08f7cc31b7e3e67d22d5aea121074a273bd2b83de09c63faa73d2c22c5d9bbc836647241d953d40c5b12da88120d53177f80e532c41fa0",
    );
    let b = dh(
        DhGroup::X448,
        "1c306a7ac2a0e2e0990b294470cba339e6453772b075811d8fad0d1d6927c120bb5ee8972b0d3e21374c9c921b09d1b0366f10b65173992d",
        "3eb7a829b0cd20f5bcfc0b599b6feccf6da4627107bdb0d4f345b43027d8b972fc3e34fb4232a13ca706dcb57aec3dae07bdc1c67bf33609",
    );
    let shared = hex("07fff4181ac6cc95ec1c16a94a0f74d12da232ce40a77552281d282bb60c0b56\
                      fd2464c335543936521c24403085d59a449a5037514a879d");
    assert_eq!(*a.shared(b.public()).unwrap(), shared);
    assert_eq!(*b.shared(a.public()).unwrap(), shared);
}

//= test rfc3526#8/exponent-size
#[test]
fn modp_groups_rfc_2409_and_3526() {
    let mut primes: Vec<Vec<u8>> = records("ike/rfc3526.txt").iter().map(|r| of(r, "P")).collect();
    // RFC 2409 6.1 and 6.2.
    let first = "FFFFFFFFFFFFFFFFC90FDAA22168C234C4C6628B80DC1CD129024E088A67CC74020BBEA63B139B22
                 514A08798E3404DDEF9519B3CD3A431B302B0A6DF25F14374FE1356D6D51C245E485B576625E7EC6F44C42E9";
    primes.push(hex(&format!("{first}A63A3620FFFFFFFFFFFFFFFF")));
    primes.push(hex(&format!(
        "{first}A637ED6B0BFF5CB6F406B7EDEE386BFB5A899FA5AE9F24117C4B1FE649286651ECE65381FFFFFFFFFFFFFFFF"
    )));
    for group in DhGroup::ALL.into_iter().filter(|g| matches!(g.kind(), sa::GroupKind::Modp { .. })) {
        let p = primes.iter().find(|p| p.len() == group.public_len()).unwrap();
        // 2^k mod p, from p alone: with k the bits of p, 2^k mod p is 2^k - p (p's top bit is set).
        let bits = (p.len() * 8) as u16;
        let made = DhPrivate::from_secret(group, &bits.to_be_bytes()).unwrap();
        let mut complement: Vec<u8> = p.iter().map(|b| !b).collect();
        let last = complement.last_mut().unwrap();
        *last += 1;
        assert_eq!(made.public(), complement, "{}", group.name());
    }
}

fn wycheproof(file: &str, group: DhGroup, at_least: usize) {
    let file = json(&format!("ike/wycheproof-{file}.json"));
    let (mut good, mut refused) = (0, 0);
    for test in file["testGroups"].as_array().unwrap().iter().flat_map(|g| g["tests"].as_array().unwrap()) {
        let flags: Vec<&str> =
            test["flags"].as_array().unwrap().iter().map(|f| f.as_str().unwrap()).collect();
        let (public, private) = (field(test, "public"), field(test, "private"));
        let private = match group {
            // Fixed width, as our own generator makes them: the file drops or adds leading zeros.
            DhGroup::X25519 => private,
            _ => {
                let digits: Vec<u8> = private.iter().copied().skip_while(|b| *b == 0).collect();
                [vec![0; group.public_len() / 2 - digits.len()], digits].concat()
            }
        };
        let key = DhPrivate::from_secret(group, &private).unwrap();
        // A KE payload has no room for the point's form: anything but 04 || x || y shows as a wrong length.
        let peer = match (group, public.first()) {
            (DhGroup::X25519, _) => &public[..],
            (_, Some(4)) => &public[1..],
            _ => &public[..],
        };
        let zero = flags.contains(&"ZeroSharedSecret");
        let compressed = flags.contains(&"CompressedPoint");
        let expected = test["result"] != "invalid" && !zero && !compressed;
        match key.shared(peer) {
            Ok(shared) => {
                assert!(expected, "accepted: {test}");
                assert_eq!(*shared, field(test, "shared"), "{test}");
                good += 1;
            }
            Err(error) => {
                assert!(!expected, "{error}: {test}");
                refused += 1;
            }
        }
    }
    assert!(good >= at_least && refused >= 10, "{good} accepted, {refused} refused");
}

//= test rfc6989#2.3/on-curve
#[test]
fn wycheproof_ecp256() {
    wycheproof("ecdh_secp256r1_ecpoint_test", DhGroup::Ecp256, 200);
}
#[test]
fn wycheproof_ecp384() {
    wycheproof("ecdh_secp384r1_ecpoint_test", DhGroup::Ecp384, 400);
}
//= test rfc8031#2.4/all-zero
#[test]
fn wycheproof_x25519() {
    wycheproof("x25519_test", DhGroup::X25519, 300);
}

#[test]
fn both_ends_agree_in_every_group() {
    for group in DhGroup::CLASSIC {
        let mut rng = Seeded(7);
        let a = DhPrivate::generate(group, &mut rng).unwrap();
        let b = DhPrivate::generate(group, &mut rng).unwrap();
        assert_eq!(a.public().len(), group.public_len());
        assert_ne!(a.public(), b.public());
        assert_eq!(a.shared(b.public()).unwrap(), b.shared(a.public()).unwrap(), "{}", group.name());
        let again = DhPrivate::generate(group, &mut Seeded(7)).unwrap();
        assert_eq!(again.public(), a.public(), "the random source alone decides");
    }
}

fn sk(encryption: IkeCipher, integrity: Option<IkeIntegrity>) -> SkKeys {
    let key = |n: usize, first: u8| sa::Key::new(&(first..).take(n).collect::<Vec<_>>()).unwrap();
    SkKeys {
        encryption,
        integrity,
        encryption_key: key(encryption.key_len(), 1),
        salt: key(encryption.salt_len(), 90),
        integrity_key: key(integrity.map_or(0, IkeIntegrity::key_len), 100),
    }
}

//= test rfc7634#3/aad
//= test rfc7634#3/salt
#[test]
fn rfc_7634_ike_message() {
    let records = records("ike/rfc7634-ike.txt");
    let [record] = &records[..] else { panic!("{} records", records.len()) };
    let field = |name: &str| of(record, name);
    let keys = SkKeys {
        encryption: IkeCipher::ChaCha20Poly1305,
        integrity: None,
        encryption_key: sa::Key::new(&field("KEY")).unwrap(),
        salt: sa::Key::new(&field("SALT")).unwrap(),
        integrity_key: sa::Key::new(&[]).unwrap(),
    };
    let (head, iv, padded) = (field("AAD"), field("IV"), field("PLAINTEXT"));
    // The RFC shows what is encrypted with its pad length, which `seal` adds.
    let Some((0, plain)) = padded.split_last() else { panic!("a pad length of nothing") };
    let mut message = head.clone();
    keys.seal(&mut message, &iv, plain).unwrap();
    assert_eq!(message, [&head[..], &iv, &field("CIPHERTEXT"), &field("ICV")].concat());
    assert_eq!(keys.open(&head, &message[head.len()..]).unwrap()[..], *plain);
    message[3] ^= 1;
    assert!(keys.open(&message[..head.len()], &message[head.len()..]).is_err());
}

/// What `SkKeys::seal` writes, taken apart by other libraries.
#[test]
fn other_libraries_open_what_we_seal() {
    let head: Vec<u8> = (0..32).collect();
    for len in 0..40usize {
        let plain: Vec<u8> = (0..len as u8).collect();
        for (cipher, algorithm) in [
            (IkeCipher::Aes128Gcm, &ring::aead::AES_128_GCM),
            (IkeCipher::Aes256Gcm, &ring::aead::AES_256_GCM),
            (IkeCipher::ChaCha20Poly1305, &ring::aead::CHACHA20_POLY1305),
        ] {
            let keys = sk(cipher, None);
            let mut out = head.clone();
            keys.seal(&mut out, &[9; 8], &plain).unwrap();
            assert_eq!(out.len(), head.len() + keys.sealed_len(len));
            let key = ring::aead::UnboundKey::new(algorithm, keys.encryption_key.expose()).unwrap();
            let nonce = [keys.salt.expose(), &[9; 8]].concat().try_into().unwrap();
            let nonce = ring::aead::Nonce::assume_unique_for_key(nonce);
            let opened = ring::aead::LessSafeKey::new(key)
                .open_in_place(nonce, ring::aead::Aad::from(&head), &mut out[head.len() + 8..])
                .unwrap();
            assert_eq!(opened, [&plain[..], &[0]].concat());
        }
        let keys = sk(IkeCipher::Aes128Cbc, Some(IkeIntegrity::HmacSha256));
        let mut out = head.clone();
        keys.seal(&mut out, &[9; 16], &plain).unwrap();
        assert_eq!(out.len(), head.len() + keys.sealed_len(len));
        let (signed, icv) = out.split_at(out.len() - 16);
        let mac = ring::hmac::Key::new(ring::hmac::HMAC_SHA256, keys.integrity_key.expose());
        assert_eq!(ring::hmac::sign(&mac, signed).as_ref()[..16], *icv);
        let opened = cbc_open(keys.encryption_key.expose(), &[9; 16], &signed[head.len() + 16..]);
        let (padding, rest) = opened.split_last().unwrap();
        assert_eq!(rest[..rest.len() - usize::from(*padding)], plain);
    }
}
fn cbc_open(key: &[u8], iv: &[u8], sealed: &[u8]) -> Vec<u8> {
    use aes::cipher::{BlockModeDecrypt, KeyIvInit, block_padding::NoPadding};
    let mut buf = sealed.to_vec();
    let cipher = cbc::Decryptor::<aes::Aes128>::new_from_slices(key, iv).unwrap();
    cipher.decrypt_padded::<NoPadding>(&mut buf).unwrap().to_vec()
}
