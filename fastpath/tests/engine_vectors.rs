//! Every CPU engine against answers that others computed: Wycheproof, NIST CAVP, RFCs, DPDK's ESP packets.
//!
//! Each test counts what it ran, so that a file that is not read any more is noticed.
mod vectors;
use fastpath::crypto::cpu::{CpuCrypto, CpuEngineKind, EspOp};
use sa::{Direction, Encryption, Integrity, Suite};
use vectors::*;

fn chacha() -> Suite {
    Suite::new(Encryption::ChaCha20Poly1305, Integrity::None).unwrap()
}

#[test]
fn wycheproof_aes_gcm() {
    wycheproof("wycheproof/aes_gcm_test.json", gcm);
}
#[test]
fn wycheproof_chacha20_poly1305() {
    assert_eq!(engines_for(chacha()), 3);
    wycheproof("wycheproof/chacha20_poly1305_test.json", |_| chacha());
}

//= test rfc8439#2.8/aead
#[test]
fn rfc_8439_chacha20_poly1305() {
    let records = records("rfc/rfc-8439-chacha20poly1305.txt");
    for record in &records {
        let field = |name: &str| hex(&record[name]);
        let case = AeadCase {
            name: record["NONCE"].clone(),
            suite: chacha(),
            key: field("KEY"),
            nonce: field("NONCE"),
            aad: field("AAD"),
            text: Some(field("PLAINTEXT")),
            sealed: field("CIPHERTEXT"),
            tag: field("TAG"),
        };
        assert_eq!(case.check(), 3);
    }
    assert_eq!(records.len(), 2);
}

#[test]
fn nist_cavp_aes_gcm() {
    for (name, engines) in [
        ("gcmDecrypt128", 3),
        ("gcmDecrypt192", 2),
        ("gcmDecrypt256", 3),
        ("gcmEncryptExtIV128", 3),
        ("gcmEncryptExtIV256", 3),
    ] {
        let mut failing = 0;
        let records: Vec<_> = records(&format!("nist-cavp/{name}.rsp"))
            .into_iter()
            .filter(|r| r.contains_key("Count"))
            .collect();
        for record in &records {
            let case = AeadCase {
                name: format!("{name} {}", record["Key"]),
                suite: gcm(hex(&record["Key"]).len()),
                key: hex(&record["Key"]),
                nonce: hex(&record["IV"]),
                aad: hex(&record["AAD"]),
                text: record.get("PT").map(|pt| hex(pt)),
                sealed: hex(&record["CT"]),
                tag: hex(&record["Tag"]),
            };
            assert_eq!(case.text.is_none(), record.contains_key("FAIL"), "{}", case.name);
            failing += usize::from(case.text.is_none());
            assert_eq!(case.check(), engines + native_paths().count());
        }
        assert_eq!(records.len(), 375, "{name}");
        assert_eq!(failing > 100, name.starts_with("gcmDecrypt"), "{name}: {failing}");
    }
}

/// CBC alone does not exist in the engines, so the hash of the packet goes unlooked at here.
#[test]
fn nist_cavp_aes_cbc() {
    for name in ["CBCMMT128", "CBCMMT256"] {
        let records: Vec<_> =
            records(&format!("nist-cavp/{name}.rsp")).into_iter().filter(|r| r.contains_key("KEY")).collect();
        for record in &records {
            let enc_key = hex(&record["KEY"]);
            let case = EspCase {
                name: &format!("{name} {}", record["KEY"]),
                suite: cbc(enc_key.len(), Integrity::HmacSha256),
                enc_key,
                salt: vec![],
                integ_key: vec![9; 32],
                seq_high: None,
                head: [vec![1; 8], hex(&record["IV"])].concat(),
                text: hex(&record["PLAINTEXT"]),
                sealed: hex(&record["CIPHERTEXT"]),
                icv: None,
            };
            assert_eq!(case.check(), 2);
        }
        assert_eq!(records.len(), 20, "{name}");
    }
}

//= test rfc3602#4/esp-vectors
#[test]
fn rfc_3602_esp_packets() {
    let records = records("rfc/rfc-3602-esp-aes-cbc.txt");
    for record in &records {
        let case = EspCase {
            name: &record["KEY"],
            suite: cbc(16, Integrity::HmacSha1),
            enc_key: hex(&record["KEY"]),
            salt: vec![],
            integ_key: vec![9; 20],
            seq_high: None,
            head: [hex(&record["HEADER"]), hex(&record["IV"])].concat(),
            text: hex(&record["PLAINTEXT"]),
            sealed: hex(&record["CIPHERTEXT"]),
            icv: None,
        };
        assert_eq!(case.check(), 2);
    }
    assert_eq!(records.len(), 3);
}

/// Whole ESP packets of an AEAD; returns how many, and how many of them with a 64-bit sequence number.
fn aead_packets(name: &str, suite: impl Fn(usize) -> Suite) -> (usize, usize) {
    let records = records(name);
    let mut esn = 0;
    for record in &records {
        let (enc_key, aad) = (hex(&record["KEY"]), hex(&record["AAD"]));
        let (spi, seq) = aad.split_at(4);
        let (high, low) = seq.split_at(seq.len() - 4);
        let seq_high = <[u8; 4]>::try_from(high).ok().map(u32::from_be_bytes);
        esn += usize::from(seq_high.is_some());
        let suite = suite(enc_key.len());
        let case = EspCase {
            name: &record["AAD"],
            suite,
            enc_key,
            salt: hex(&record["SALT"]),
            integ_key: vec![],
            seq_high,
            head: [spi, low, &hex(&record["IV"])].concat(),
            text: hex(&record["PLAINTEXT"]),
            sealed: hex(&record["CIPHERTEXT"]),
            icv: Some(hex(&record["ICV"])),
        };
        assert_eq!(case.check(), engines_for(suite));
    }
    (records.len(), esn)
}
//= test rfc4106#5/aad
#[test]
fn draft_mcgrew_gcm_esp_packets() {
    assert_eq!(aead_packets("rfc/draft-mcgrew-gcm-test-01.txt", gcm), (4, 1));
}
//= test rfc7634#2/nonce
//= test rfc7634#2.1/aad
#[test]
fn rfc_7634_esp_packet() {
    assert_eq!(aead_packets("rfc/rfc-7634-esp-chacha20poly1305.txt", |_| chacha()), (1, 0));
}

//= test rfc2404#3/hmac-sha1-96
//= test rfc4868#2.6/truncated-hmac
#[test]
fn rfc_2202_and_4231_hmac() {
    for (name, integrity, fitting) in [
        ("rfc-2202-md5", Integrity::HmacMd5, 4),
        ("rfc-2202-sha1", Integrity::HmacSha1, 4),
        ("rfc-4231-sha256", Integrity::HmacSha256, 4),
        ("rfc-4231-sha512", Integrity::HmacSha512, 4),
    ] {
        let all = records(&format!("rfc/{name}.txt"));
        let mut ran = 0;
        for record in all.iter().filter(|r| r.contains_key("MD")) {
            let key = hex(&record["Key"]);
            // The others have keys longer than ESP's.
            if key.len() <= integrity.key_len() {
                hmac_case(name, integrity, &key, &hex(&record["Msg"]), &hex(&record["MD"]));
                ran += 1;
            }
        }
        assert_eq!(ran, fitting, "{name}");
    }
}

fn right_when_cut(integrity: Integrity, key: &[u8], message: &[u8], tag: &[u8]) -> bool {
    let key = CpuCrypto::ah_key(Suite::ah(integrity).unwrap(), Direction::Inbound, &[], key).unwrap();
    let mut computed = vec![0; tag.len()];
    key.icv([0; 8], &[message], &mut computed).unwrap();
    computed == tag
}

#[test]
fn wycheproof_hmac() {
    for (name, integrity) in [
        ("hmac_sha1_test", Integrity::HmacSha1),
        ("hmac_sha256_test", Integrity::HmacSha256),
        ("hmac_sha384_test", Integrity::HmacSha384),
        ("aes_cmac_test", Integrity::AesCmac),
    ] {
        let (mut valid, mut invalid) = (0, 0);
        let all = json(&format!("wycheproof/{name}.json"));
        for test in all["testGroups"].as_array().unwrap().iter().flat_map(|g| g["tests"].as_array().unwrap())
        {
            let field = |name: &str| hex(test[name].as_str().unwrap());
            let (key, message, tag) = (field("key"), field("msg"), field("tag"));
            if message.len() < 8 {
                continue; // shorter than an ESP header
            }
            if test["result"] == "valid" {
                hmac_case(name, integrity, &key, &message, &tag);
                valid += 1;
                continue;
            }
            // What is wrong with some tags is cut off by ESP.
            let tag = tag.get(..integrity.icv_len()).unwrap_or(&tag);
            if message.is_empty() || right_when_cut(integrity, &key, &message, tag) {
                continue;
            }
            let suite = cbc(0, integrity);
            for (kind, mut engine) in engines().filter(|(kind, _)| kind.supports(suite)) {
                let key = engine.new_key(suite, Direction::Inbound, &[], &[], &key).unwrap();
                let mut esp = [&message[..], tag].concat();
                let mut ops = [EspOp { key: &key, esp: &mut esp, seq_high: None, ok: true }];
                engine.open(&mut ops);
                assert!(!ops[0].ok, "{kind} tcId {}", test["tcId"]);
            }
            invalid += 1;
        }
        assert!(valid > 10 && invalid > 10, "{name}: {valid} valid, {invalid} invalid");
    }
}

/// `None`: not ESP, or without integrity.
fn dpdk_suite(algorithms: &str, key_len: usize) -> Option<Suite> {
    let encryption = match algorithms {
        a if a.contains("AEAD_AES_GCM") => return Some(gcm(key_len)),
        a if a.contains("AEAD_AES_CCM") => "aes-256-ccm",
        a if a.contains("CIPHER_AES_CBC") => "aes-128-cbc",
        a if a.contains("CIPHER_AES_CTR") => "aes-128-ctr",
        a if a.contains("CIPHER_DES_CBC") => "des",
        a if a.contains("CIPHER_3DES_CBC") => "3des",
        _ => return None,
    };
    let hashes = [
        ("MD5_HMAC", "md5"),
        ("SHA256_HMAC", "sha256"),
        ("SHA384_HMAC", "sha384"),
        ("SHA512_HMAC", "sha512"),
    ];
    let integrity =
        hashes.into_iter().find(|(theirs, _)| algorithms.contains(theirs)).map_or("null", |(_, ours)| ours);
    Suite::new(Encryption::from_name(encryption)?, Integrity::from_name(integrity)?).ok()
}

#[test]
fn dpdk_esp_packets() {
    let all = json("dpdk-ipsec/ipsec_packets.json");
    let mut ran = Vec::new();
    for vector in all["vectors"].as_array().unwrap() {
        let field = |name: &str| vector[name].as_str().map(hex).unwrap_or_default();
        let name = vector["name"].as_str().unwrap();
        let algorithms = vector["params"]["algo"].to_string();
        let enc_key = field("key");
        let Some(suite) = dpdk_suite(&algorithms, enc_key.len()) else { continue };
        let (clear, outer) = (field("input_text"), field("output_text"));
        let esp = &outer[if outer[0] >> 4 == 4 { 20 } else { 40 }..];
        let (head, rest) = esp.split_at(8 + suite.iv_len());
        let (sealed, icv) = rest.split_at(rest.len() - suite.icv_len());
        // The trailer is not part of the origin's clear text; any engine may say what it was.
        let mut engine = CpuCrypto::new(CpuEngineKind::RustCrypto).unwrap();
        let key =
            engine.new_key(suite, Direction::Inbound, &enc_key, &field("salt"), &field("auth_key")).unwrap();
        let mut opened = esp.to_vec();
        let mut ops = [EspOp { key: &key, esp: &mut opened, seq_high: None, ok: false }];
        engine.open(&mut ops);
        assert!(ops[0].ok, "{name}");
        let text = &opened[head.len()..opened.len() - icv.len()];
        assert!(text.starts_with(&clear), "{name}");
        let case = EspCase {
            name,
            suite,
            enc_key,
            salt: field("salt"),
            integ_key: field("auth_key"),
            seq_high: None,
            head: head.to_vec(),
            text: text.to_vec(),
            sealed: sealed.to_vec(),
            icv: Some(icv.to_vec()),
        };
        case.check();
        ran.push(name);
    }
    let expected = [
        "pkt_aes_128_gcm",
        "pkt_aes_256_gcm",
        "pkt_aes_256_ccm",
        "pkt_aes_128_cbc_md5",
        "pkt_aes_128_cbc_hmac_sha256",
        "pkt_aes_128_cbc_hmac_sha512",
        "pkt_3des_cbc_hmac_sha256",
        "pkt_3des_cbc_hmac_sha384",
        "pkt_des_cbc_hmac_sha256",
        "pkt_des_cbc_hmac_sha512",
        "pkt_aes_128_ctr_hmac_sha256",
        "pkt_aes_128_ctr_hmac_sha384",
        "pkt_aes_128_cbc_hmac_sha256_v6",
        "pkt_des_cbc_hmac_sha256_v6",
        "pkt_aes_128_gcm_frag",
    ];
    assert_eq!(ran, expected);
}
