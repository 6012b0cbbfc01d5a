//! The rarer suites against answers that others computed: AES-CTR, AES-CCM, AES-GMAC, DES, Blowfish, Twofish, Camellia, CMAC,
//! XCBC, and ICVs of AES-GCM that are cut.
mod vectors;
use fastpath::crypto::cpu::CpuCrypto;
use sa::{Direction, Encryption, Integrity, Suite};
use vectors::*;

fn suite(encryption: &str, integrity: &str) -> Suite {
    let encryption = Encryption::from_name(encryption).expect("a cipher");
    Suite::new(encryption, Integrity::from_name(integrity).expect("a hash")).expect("a suite")
}
fn by_key(family: &str, key: &[u8], end: &str) -> Suite {
    suite(&format!("{family}-{}{end}", key.len() * 8), "null")
}

/// A cipher inside a packet whose hash goes unlooked at; returns how many engines ran it.
fn cipher_case(suite: Suite, key: &[u8], salt: &[u8], iv: &[u8], text: &[u8], sealed: &[u8]) -> usize {
    let case = EspCase {
        name: &format!("{suite} {key:02x?}"),
        suite,
        enc_key: key.to_vec(),
        salt: salt.to_vec(),
        integ_key: vec![9; suite.integrity().key_len()],
        seq_high: None,
        head: [&[1; 8], iv].concat(),
        text: text.to_vec(),
        sealed: sealed.to_vec(),
        icv: None,
    };
    case.check()
}

//= test rfc3686#6/vectors
#[test]
fn rfc_3686_aes_ctr() {
    let mut ran = 0;
    for name in ["rfc-3686-aes-128-ctr", "rfc-3686-aes-256-ctr"] {
        for record in records(&format!("rfc/{name}.txt")).iter().filter(|r| r.contains_key("KEY")) {
            let field = |name: &str| hex(&record[name]);
            let (key, block) = (field("KEY"), field("IV"));
            let suite = suite(&format!("aes-{}-ctr", key.len() * 8), "sha256");
            assert_eq!(block[12..], [0, 0, 0, 1]);
            let (text, sealed) = (field("PLAINTEXT"), field("CIPHERTEXT"));
            assert_eq!(cipher_case(suite, &key, &block[..4], &block[4..12], &text, &sealed), 2);
            ran += 1;
        }
    }
    assert_eq!(ran, 6);
}

/// Records of KEY, IV, PLAINTEXT and CIPHERTEXT.
fn cbc_file(
    name: &str,
    key: impl Fn(&dyn Fn(&str) -> Vec<u8>) -> Vec<u8>,
    suite: impl Fn(usize) -> Suite,
) -> usize {
    let all = records(name);
    let whole: Vec<_> = all.iter().filter(|r| r.contains_key("PLAINTEXT")).collect();
    for record in &whole {
        let field = |name: &str| hex(&record[name]);
        let key = key(&field);
        let suite = suite(key.len());
        let ran = cipher_case(suite, &key, &[], &field("IV"), &field("PLAINTEXT"), &field("CIPHERTEXT"));
        assert_eq!(ran, engines_for(suite));
    }
    whole.len()
}
#[test]
fn nist_cavp_3des_cbc() {
    let key = |field: &dyn Fn(&str) -> Vec<u8>| [field("KEY1"), field("KEY2"), field("KEY3")].concat();
    for name in ["TCBCMMT1", "TCBCMMT2"] {
        assert_eq!(
            cbc_file(&format!("nist-cavp/{name}.rsp"), key, |_| suite("3des", "sha256")),
            20,
            "{name}"
        );
    }
    assert_eq!(engines_for(suite("3des", "sha256")), 2);
}
#[test]
fn openssl_camellia_cbc() {
    let suite = |len| suite(&format!("camellia-{}", len * 8), "sha256");
    assert_eq!(cbc_file("rfc/camellia-cbc.txt", |field| field("KEY"), suite), 12);
}
/// FIPS 81 appendix C, Schneier's vectors of Blowfish, the Twofish paper's appendix A.
#[test]
fn des_blowfish_and_twofish_as_their_authors_print_them() {
    let ran = cbc_file(
        "rfc/old-ciphers.txt",
        |field| field("KEY"),
        |len| match len {
            8 => suite("des", "sha256"),
            16 => suite("blowfish", "sha256"),
            n => panic!("{n} bytes"),
        },
    );
    assert_eq!(ran, 2);
    let twofish = suite("twofish", "sha1");
    let sealed = hex("9f589f5cf6122c32b6bfec2f2ae8c35a");
    assert_eq!(cipher_case(twofish, &[0; 16], &[], &[0; 16], &[0; 16], &sealed), 1);
    let (key, text) = (hex("9f589f5cf6122c32b6bfec2f2ae8c35a"), hex("d491db16e7b1c39e86cb086b789f5419"));
    let sealed = hex("019f9809de1711858faac3a3ba20fbc3");
    assert_eq!(cipher_case(twofish, &key, &[], &[0; 16], &text, &sealed), 1);
}
/// Padding is the message's end there; ESP has its own, so it goes with the text.
#[test]
fn wycheproof_camellia_cbc() {
    let all = json("wycheproof/camellia_cbc_pkcs5_test.json");
    let mut ran = 0;
    for test in all["testGroups"].as_array().unwrap().iter().flat_map(|g| g["tests"].as_array().unwrap()) {
        if test["result"] == "valid" {
            let field = |name: &str| hex(test[name].as_str().unwrap());
            let (key, mut text) = (field("key"), field("msg"));
            let padding = 16 - text.len() % 16;
            text.extend(vec![padding as u8; padding]);
            let suite = suite(&format!("camellia-{}", key.len() * 8), "sha256");
            cipher_case(suite, &key, &[], &field("iv"), &text, &field("ct"));
            ran += 1;
        }
    }
    assert_eq!(ran, 72);
}

#[test]
fn wycheproof_aes_ccm() {
    wycheproof("wycheproof/aes_ccm_test.json", |len| by_key("aes", &vec![0; len], "-ccm"));
}
//= test rfc4309#4/nonce
#[test]
fn nist_cavp_aes_ccm() {
    for (name, engines) in [("VNT128", 2), ("VNT192", 1)] {
        let all = records(&format!("nist-cavp/{name}.rsp"));
        let mut key = Vec::new();
        let mut ran = 0;
        for record in &all {
            key = record.get("Key").map_or(key, |key| hex(key));
            if !record.contains_key("Nonce") {
                continue;
            }
            let sealed = hex(&record["CT"]);
            let (sealed, tag) = sealed.split_at(24);
            let case = AeadCase {
                name: format!("{name} {}", record["Count"]),
                suite: by_key("aes", &key, "-ccm"),
                key: key.clone(),
                nonce: hex(&record["Nonce"]),
                aad: hex(&record["Adata"]),
                text: Some(hex(&record["Payload"])),
                sealed: sealed.to_vec(),
                tag: tag.to_vec(),
            };
            // libipsec-mb runs whole packets only, which `engines_agree` compares with this engine.
            assert_eq!((case.check(), engines_for(case.suite)), (1, engines));
            ran += 1;
        }
        assert_eq!(ran, 10, "{name}");
    }
}

/// SP 800-38B: empty messages are no ESP packets, so AH's way to the algorithm is taken.
//= test rfc4494#2/aes-cmac-96
#[test]
fn nist_aes_cmac() {
    let all = records("nist-cavp/nist-800-38b-aes128.txt");
    for record in all.iter().filter(|r| r.contains_key("OUTPUT")) {
        mac_case(
            Integrity::AesCmac,
            &hex(&record["KEY"]),
            &[],
            &hex(&record["MESSAGE"]),
            &hex(&record["OUTPUT"]),
        );
    }
    assert_eq!(all.iter().filter(|r| r.contains_key("OUTPUT")).count(), 4);
}
//= test rfc3566#4.6/vectors
#[test]
fn rfc_3566_aes_xcbc() {
    let all = records("rfc/rfc-3566-aes-xcbc.txt");
    for record in &all {
        mac_case(
            Integrity::AesXcbc,
            &hex(&record["KEY"]),
            &[],
            &hex(&record["MESSAGE"]),
            &hex(&record["MAC"]),
        );
    }
    assert_eq!(all.len(), 6);
}
/// The integrity algorithm over a message that lies in pieces, and as an ESP packet where it is long enough.
fn mac_case(integrity: Integrity, key: &[u8], nonce: &[u8], message: &[u8], tag: &[u8]) {
    let (salt, iv) = nonce.split_at(nonce.len().min(4));
    let record = CpuCrypto::ah_key(Suite::ah(integrity).unwrap(), Direction::Outbound, salt, key).unwrap();
    for cut in [0, 1, 7, 16, 17, message.len()] {
        let (head, tail) = message.split_at(cut.min(message.len()));
        let mut icv = vec![0; integrity.icv_len()];
        record.icv(iv.try_into().unwrap_or_default(), &[head, &[], tail], &mut icv).unwrap();
        assert_eq!(icv, tag[..icv.len()], "{} {message:02x?}", integrity.name());
    }
    if nonce.is_empty() && message.len() >= 8 {
        hmac_case(integrity.name(), integrity, key, message, tag);
    }
}

//= test rfc4543#5.2/salt
#[test]
fn wycheproof_aes_gmac() {
    let all = json("wycheproof/aes_gmac_test.json");
    let (mut valid, mut invalid) = (0, 0);
    for test in all["testGroups"].as_array().unwrap().iter().flat_map(|g| g["tests"].as_array().unwrap()) {
        let field = |name: &str| hex(test[name].as_str().unwrap());
        let (key, nonce, message, tag) = (field("key"), field("iv"), field("msg"), field("tag"));
        let integrity = Integrity::from_name(&format!("aes-{}-gmac", key.len() * 8)).expect("AES-GMAC");
        if test["result"] == "valid" {
            mac_case(integrity, &key, &nonce, &message, &tag);
            valid += 1;
            continue;
        }
        let suite = Suite::ah(integrity).unwrap();
        let record = CpuCrypto::ah_key(suite, Direction::Inbound, &nonce[..4], &key).unwrap();
        let mut icv = vec![0; 16];
        record.icv(nonce[4..].try_into().unwrap(), &[&message], &mut icv).unwrap();
        assert_ne!(icv, tag, "tcId {}", test["tcId"]);
        invalid += 1;
    }
    assert_eq!((valid, invalid), (30, 108));
}

/// A packet under AES-GMAC is one under AES-GCM without text whose additional data is everything (RFC 4543 3.3), on
/// every engine, with and without the high half of the number.
//= test rfc4543#3.3/aad
#[test]
fn esp_with_gmac_is_gcm_of_nothing() {
    for (key_len, seq_high) in [(16, None), (24, Some(7u32)), (32, Some(0))] {
        let (key, salt, head) = (vec![5; key_len], [6; 4], [1, 2, 3, 4, 5, 6, 7, 8, 9, 8, 7, 6, 5, 4, 3, 2]);
        for len in [4, 16, 20, 1000] {
            let text: Vec<u8> = (0..len).map(|n| n as u8).collect();
            let high = seq_high.map_or(vec![], |h| h.to_be_bytes().to_vec());
            let aad = [&head[..4], &high, &head[4..], &text].concat();
            let mut oracle = CpuCrypto::new(fastpath::crypto::CpuEngineKind::Native).expect("AES-NI");
            let gcm = oracle.new_key(gcm(key_len), Direction::Outbound, &key, &salt, &[]).unwrap();
            let (nonce, mut icv) = ([&salt[..], &head[8..]].concat(), [0; 16]);
            assert!(oracle.aead_seal(&gcm, &nonce, &aad, &mut [], &mut icv));
            let case = EspCase {
                name: "gmac",
                suite: by_key("aes", &key, "-gmac"),
                enc_key: key.clone(),
                salt: salt.to_vec(),
                integ_key: vec![],
                seq_high,
                head: head.to_vec(),
                text: text.clone(),
                sealed: text,
                icv: Some(icv.to_vec()),
            };
            assert_eq!(case.check(), 2);
        }
    }
}

/// ICVs of 8 and 12 bytes are the beginning of those of 16 (RFC 4106 6): NIST's packets once more, cut.
#[test]
fn short_icvs_of_gcm_are_the_beginning_of_long_ones() {
    let mut ran = 0;
    for name in ["gcmDecrypt128", "gcmDecrypt192", "gcmDecrypt256"] {
        let all = records(&format!("nist-cavp/{name}.rsp"));
        for record in all.iter().filter(|r| r.contains_key("PT")).step_by(7) {
            for icv_len in [8, 12] {
                let key = hex(&record["Key"]);
                let case = AeadCase {
                    name: format!("{name} {}", record["Key"]),
                    suite: by_key("aes", &key, &format!("-gcm-{icv_len}")),
                    key,
                    nonce: hex(&record["IV"]),
                    aad: hex(&record["AAD"]),
                    text: Some(hex(&record["PT"])),
                    sealed: hex(&record["CT"]),
                    tag: hex(&record["Tag"])[..icv_len].to_vec(),
                };
                ran += case.check();
            }
        }
    }
    assert!(ran > 100, "{ran}");
}
