//! Algorithms of IKE SAs that few peers want: known answers of their RFCs and of Wycheproof, OpenSSL as a second opinion.
mod common;

use common::{field, hex, json, text};
use ike::api::{DhGroup, IkeCipher, IkeIntegrity, Prf};
use ike::crypto::*;
use openssl::cipher_ctx::CipherCtx;
use openssl::nid::Nid;
use openssl::symm::Cipher;
use sa::CipherMode;

//= test rfc4434#2/key
//= test rfc3566#4/keys
#[test]
fn aes_xcbc_prf_rfc_4434_2_1() {
    let message = hex("000102030405060708090a0b0c0d0e0f10111213");
    for (key, output) in [
        ("000102030405060708090a0b0c0d0e0f", "47f51b4564966215b8985c63055ed308"),
        ("00010203040506070809", "0fa087af7d866e7653434e602fdde835"),
        ("000102030405060708090a0b0c0d0e0fedcb", "8cd3c93ae598a9803006ffb67c40e9e4"),
    ] {
        assert_eq!(*prf(Prf::AesXcbc, &hex(key), &[&message]), hex(output));
        assert_eq!(*prf(Prf::AesXcbc, &hex(key), &[&message[..7], &message[7..]]), hex(output));
    }
}
//= test rfc4615#3/key
//= test rfc4493#2.3/subkeys
#[test]
fn aes_cmac_prf_rfc_4615_4_and_rfc_4493_4() {
    let message = hex("000102030405060708090a0b0c0d0e0f10111213");
    for (key, output) in [
        ("000102030405060708090a0b0c0d0e0fedcb", "84a348a4a45d235babfffc0d2b4da09a"),
        ("000102030405060708090a0b0c0d0e0f", "980ae87b5f4c9c5214f5b6a8455e4c2d"),
        ("00010203040506070809", "290d9e112edb09ee141fcf64c0b72f3d"),
    ] {
        assert_eq!(*prf(Prf::AesCmac, &hex(key), &[&message]), hex(output));
    }
    let key = hex("2b7e151628aed2a6abf7158809cf4f3c");
    let block = hex("6bc1bee22e409f96e93d7e117393172a");
    assert_eq!(*prf(Prf::AesCmac, &key, &[]), hex("bb1d6929e95937287fa37d129b756746"));
    assert_eq!(*prf(Prf::AesCmac, &key, &[&block]), hex("070a16b46b4d4144f79bdd9dd04a287c"));
}
//= test rfc7296#2.14/short-key
#[test]
fn prfs_of_aes_take_the_first_64_bits_of_each_nonce() {
    let (ni, nr, shared) = ([1; 32], [2; 32], [3; 32]);
    for which in [Prf::AesXcbc, Prf::AesCmac] {
        let key = [[1; 8], [2; 8]].concat();
        assert_eq!(skeyseed(which, &ni, &nr, &shared), prf(which, &key, &[&shared]));
    }
    let key = [ni, nr].concat();
    assert_eq!(skeyseed(Prf::HmacMd5, &ni, &nr, &shared), prf(Prf::HmacMd5, &key, &[&shared]));
}
#[test]
fn hmac_md5_rfc_2202() {
    // Test cases 1 and 2.
    assert_eq!(*prf(Prf::HmacMd5, &[0x0b; 16], &[b"Hi There"]), hex("9294727a3638bb1c13f48ef8158bfc9d"));
    let said = prf(Prf::HmacMd5, b"Jefe", &[b"what do ya want ", b"for nothing?"]);
    assert_eq!(*said, hex("750c783e6ab0b503eaa86e310a5db738"));
}

#[test]
fn brainpool_rfc_7027() {
    let mut seen = 0;
    for record in text("ike/rfc7027-brainpool.txt").split("\n\n").filter(|r| r.contains("dA =")) {
        let of = |name: &str| {
            let line = record.lines().find_map(|l| l.strip_prefix(name)?.strip_prefix(" = "));
            line.unwrap_or_else(|| panic!("no {name} in {record}")).trim().to_owned()
        };
        let group = match of("curve").as_str() {
            "brainpoolP256r1" => DhGroup::Brainpool256,
            "brainpoolP384r1" => DhGroup::Brainpool384,
            "brainpoolP512r1" => DhGroup::Brainpool512,
            other => panic!("{other}"),
        };
        let key = |d: &str, x: &str, y: &str| {
            let key = DhPrivate::from_secret(group, &hex(&of(d))).unwrap();
            assert_eq!(key.public(), [hex(&of(x)), hex(&of(y))].concat(), "{}", group.name());
            key
        };
        let (a, b) = (key("dA", "x_qA", "y_qA"), key("dB", "x_qB", "y_qB"));
        assert_eq!(*a.shared(b.public()).unwrap(), hex(&of("x_Z")));
        assert_eq!(*b.shared(a.public()).unwrap(), hex(&of("x_Z")));
        seen += 1;
    }
    assert_eq!(seen, 3);
}
#[test]
fn points_of_low_order_are_refused_on_curve448() {
    let key = DhPrivate::from_secret(DhGroup::X448, &[7; 56]).unwrap();
    let one = [&[1][..], &[0; 55]].concat();
    // p - 1 and p, little-endian.
    let mut top = vec![0xff; 56];
    top[28] = 0xfe;
    let mut under = top.clone();
    under[0] = 0xfe;
    for low in [vec![0; 56], one, top, under] {
        assert!(key.shared(&low).is_err(), "{low:?}");
    }
}

fn keys(encryption: IkeCipher) -> SkKeys {
    let key = |n: usize, first: u8| sa::Key::new(&(first..).take(n).collect::<Vec<_>>()).unwrap();
    let integrity = (!encryption.is_aead()).then_some(IkeIntegrity::AesXcbc);
    SkKeys {
        encryption,
        integrity,
        encryption_key: key(encryption.key_len(), 1),
        salt: key(encryption.salt_len(), 90),
        integrity_key: key(integrity.map_or(0, IkeIntegrity::key_len), 100),
    }
}

/// AES-CCM and Camellia-CCM with IKE's nonces of 11 bytes.
#[test]
fn wycheproof_ccm() {
    for (file, of) in [("aes", "aes-#-ccm"), ("camellia", "camellia-#-ccm")] {
        let file = json(&format!("ike/wycheproof-{file}_ccm_test.json"));
        let mut seen = 0;
        for group in file["testGroups"].as_array().unwrap() {
            let name = of.replace('#', &group["keySize"].to_string());
            let encryption = IkeCipher::from_name(&name).unwrap();
            for test in group["tests"].as_array().unwrap() {
                assert_eq!(test["result"], "valid");
                let (nonce, message) = (field(test, "iv"), field(test, "msg"));
                let keys = SkKeys {
                    encryption_key: sa::Key::new(&field(test, "key")).unwrap(),
                    salt: sa::Key::new(&nonce[..3]).unwrap(),
                    ..keys(encryption)
                };
                let (head, body) =
                    (field(test, "aad"), [&nonce[3..], &field(test, "ct"), &field(test, "tag")].concat());
                // The text's last byte is read as the padding's length.
                let Some((padding, rest)) = message.split_last() else {
                    assert_eq!(keys.open(&head, &body), Err(CipherError::Length));
                    continue;
                };
                match rest.len().checked_sub((*padding).into()) {
                    Some(len) => assert_eq!(keys.open(&head, &body).unwrap()[..], rest[..len]),
                    None => assert_eq!(keys.open(&head, &body), Err(CipherError::Padding)),
                }
                seen += 1;
            }
        }
        assert_eq!(seen, 12);
    }
}

/// The same by OpenSSL; `None`: it does not have the cipher.
fn by_openssl(keys: &SkKeys, head: &[u8], iv: &[u8], padded: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    use sa::Cipher as Of;
    let (key, mode) = (keys.encryption_key.expose(), keys.encryption.mode());
    let salted = [keys.salt.expose(), iv].concat();
    let counted = [&salted[..], &[0, 0, 0, 1]].concat();
    let cipher = match (keys.encryption.cipher(), mode, key.len()) {
        (Of::TripleDes, ..) => Cipher::des_ede3_cbc(),
        (Of::Aes, CipherMode::Ctr, 16) => Cipher::aes_128_ctr(),
        (Of::Aes, CipherMode::Ctr, 24) => Cipher::aes_192_ctr(),
        (Of::Aes, CipherMode::Ctr, 32) => Cipher::aes_256_ctr(),
        (Of::Aes, CipherMode::Cbc, 16) => Cipher::aes_128_cbc(),
        (Of::Aes, CipherMode::Cbc, 24) => Cipher::aes_192_cbc(),
        (Of::Aes, CipherMode::Cbc, 32) => Cipher::aes_256_cbc(),
        (Of::Camellia, CipherMode::Cbc, 16) => Cipher::camellia_128_cbc(),
        (Of::Camellia, CipherMode::Cbc, 24) => Cipher::camellia_192_cbc(),
        (Of::Camellia, CipherMode::Cbc, 32) => Cipher::camellia_256_cbc(),
        (Of::Camellia, CipherMode::Ctr, 16) => Cipher::from_nid(Nid::from_raw(963))?,
        (Of::Camellia, CipherMode::Ctr, 24) => Cipher::from_nid(Nid::from_raw(967))?,
        (Of::Camellia, CipherMode::Ctr, 32) => Cipher::from_nid(Nid::from_raw(971))?,
        (Of::Aes, CipherMode::Ccm, _) => return ccm_by_openssl(keys, head, &salted, padded),
        _ => return None,
    };
    let iv = if mode == CipherMode::Ctr { &counted } else { iv };
    let mut out = vec![0; padded.len() + 16];
    let mut crypter =
        openssl::symm::Crypter::new(cipher, openssl::symm::Mode::Encrypt, key, Some(iv)).unwrap();
    crypter.pad(false);
    let len = crypter.update(padded, &mut out).unwrap();
    out.truncate(len);
    Some((out, Vec::new()))
}
fn ccm_by_openssl(keys: &SkKeys, head: &[u8], nonce: &[u8], padded: &[u8]) -> Option<(Vec<u8>, Vec<u8>)> {
    let name = format!("AES-{}-CCM", keys.encryption.key_len() * 8);
    let cipher = openssl::cipher::Cipher::fetch(None, &name, None).unwrap();
    let mut ctx = CipherCtx::new().unwrap();
    ctx.encrypt_init(Some(&cipher), None, None).unwrap();
    ctx.set_iv_length(11).unwrap();
    ctx.set_tag_length(keys.icv_len()).unwrap();
    ctx.encrypt_init(None, Some(keys.encryption_key.expose()), Some(nonce)).unwrap();
    ctx.set_data_len(padded.len()).unwrap();
    ctx.cipher_update(head, None).unwrap();
    let (mut out, mut tag) = (Vec::new(), vec![0; keys.icv_len()]);
    ctx.cipher_update_vec(padded, &mut out).unwrap();
    ctx.tag(&mut tag).unwrap();
    Some((out, tag))
}

#[test]
fn what_we_seal_is_what_openssl_encrypts() {
    let head: Vec<u8> = (0..32).collect();
    let mut seen = 0;
    for encryption in IkeCipher::ALL {
        let keys = keys(encryption);
        let iv: Vec<u8> = (40..).take(encryption.iv_len()).collect();
        for len in [0, 1, 7, 8, 15, 16, 17, 300] {
            let plain: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let padding = encryption.block_len() - 1 - len % encryption.block_len();
            let padded = [&plain[..], &vec![0; padding], &[padding as u8]].concat();
            let mut sealed = head.clone();
            keys.seal(&mut sealed, &iv, &plain).unwrap();
            assert_eq!(sealed.len(), head.len() + keys.sealed_len(len), "{}", encryption.name());
            assert_eq!(keys.open(&head, &sealed[head.len()..]).unwrap()[..], plain, "{}", encryption.name());
            let Some((text, icv)) = by_openssl(&keys, &head, &iv, &padded) else { continue };
            let at = head.len() + encryption.iv_len();
            assert_eq!(sealed[at..at + text.len()], text, "{} of {len}", encryption.name());
            assert!(sealed.ends_with(&icv), "{} of {len}", encryption.name());
            seen += 1;
        }
        let mut sealed = head.clone();
        keys.seal(&mut sealed, &iv, b"payloads").unwrap();
        for at in 0..sealed.len() {
            sealed[at] ^= 0x10;
            let (head, body) = sealed.split_at(head.len());
            assert_eq!(keys.open(head, body), Err(CipherError::Icv), "{}: byte {at}", encryption.name());
            sealed[at] ^= 0x10;
        }
    }
    // 3DES, AES and Camellia in CBC and CTR, AES-CCM with each ICV.
    assert_eq!(seen, 8 * (1 + 3 + 3 + 3 + 3 + 9));
}

/// FIPS 81 for DES (as in ESP's vectors), Schneier's for Blowfish: neither is in OpenSSL's default provider.
#[test]
fn des_and_blowfish_in_cbc() {
    for (name, key, iv, plain, cipher) in [
        (
            "des",
            "0123456789abcdef",
            "1234567890abcdef",
            "4e6f77206973207468652074696d6520666f7220616c6c20",
            "e5c7cdde872bf27c43e934008c389c0f683788499a7c05f6",
        ),
        (
            "blowfish",
            "0123456789abcdeff0e1d2c3b4a59687",
            "fedcba9876543210",
            "37363534333231204e6f77206973207468652074696d6520666f722000000000",
            "6b77b4d63006dee605b156e27403979358deb9e7154616d959f1652bd5ff92cc",
        ),
    ] {
        let encryption = IkeCipher::from_name(name).unwrap();
        let keys = SkKeys { encryption_key: sa::Key::new(&hex(key)).unwrap(), ..keys(encryption) };
        // Sealed by hand with the ICV over it, as a peer whose padding ends like the text would.
        let signed = [hex(iv), hex(cipher)].concat();
        let icv = prf(Prf::AesXcbc, keys.integrity_key.expose(), &[&signed]);
        let opened = keys.open(&[], &[&signed[..], &icv[..12]].concat());
        let plain = hex(plain);
        let (padding, rest) = plain.split_last().unwrap();
        match rest.len().checked_sub((*padding).into()) {
            Some(len) => assert_eq!(opened.unwrap()[..], rest[..len], "{name}"),
            None => assert_eq!(opened, Err(CipherError::Padding), "{name}"),
        }
    }
}
