//! Every CPU engine against answers that others computed: Wycheproof, NIST CAVP, RFCs, DPDK's ESP packets.
//!
//! Each test counts what it ran, so that a file that is not read any more is noticed.
use fastpath::crypto::cpu::{CpuCrypto, CpuEngineKind, EspOp};
use fastpath::crypto::native::Path;
use sa::{Direction, Encryption, Integrity, Suite};
use serde_json::Value;
use std::collections::BTreeMap;

fn file(name: &str) -> String {
    let path = format!("{}/../tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}
fn json(name: &str) -> Value {
    serde_json::from_str(&file(name)).expect("a JSON file")
}
fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}
/// Every engine, the native one once for each of its code paths that this CPU has.
fn engines() -> impl Iterator<Item = (CpuEngineKind, CpuCrypto)> {
    let native =
        native_paths().map(|path| (CpuEngineKind::Native, CpuCrypto::native(path).expect("is here")));
    let others = CpuEngineKind::ALL.into_iter().filter(|kind| *kind != CpuEngineKind::Native);
    native.chain(others.map(|kind| (kind, CpuCrypto::new(kind).expect("libipsec-mb1"))))
}
fn native_paths() -> impl Iterator<Item = Path> {
    Path::ALL.into_iter().filter(|path| path.is_here())
}
/// How many of [`engines`] have a suite.
fn engines_for(suite: Suite) -> usize {
    engines().filter(|(kind, _)| kind.supports(suite)).count()
}
fn gcm(key_len: usize) -> Suite {
    let encryption = match key_len {
        16 => Encryption::Aes128Gcm,
        24 => Encryption::Aes192Gcm,
        32 => Encryption::Aes256Gcm,
        n => panic!("{n} bytes are no AES key"),
    };
    Suite::new(encryption, Integrity::None).unwrap()
}

/// Records of `NAME = hex` split by blank lines, under sections in brackets that stand for nothing here. A line
/// without `=` (FAIL, [ENCRYPT]) is kept as a name without value.
fn records(name: &str) -> Vec<BTreeMap<String, String>> {
    let text = file(name).replace('\r', "");
    let paragraphs = text.split("\n\n").map(|paragraph| {
        let lines = paragraph.lines().filter(|l| !l.starts_with(['#', '[']) && !l.is_empty());
        let pairs = lines.map(|l| l.split_once('=').unwrap_or((l, "")));
        pairs.map(|(name, value)| (name.trim().into(), value.trim().into())).collect::<BTreeMap<_, _>>()
    });
    paragraphs.filter(|r| !r.is_empty()).collect()
}

fn chacha() -> Suite {
    Suite::new(Encryption::ChaCha20Poly1305, Integrity::None).unwrap()
}

struct AeadCase {
    name: String,
    suite: Suite,
    key: Vec<u8>,
    nonce: Vec<u8>,
    aad: Vec<u8>,
    /// `None` when it must not authenticate.
    text: Option<Vec<u8>>,
    sealed: Vec<u8>,
    tag: Vec<u8>,
}
impl AeadCase {
    /// Both ways on every engine that has the suite; returns how many engines ran it.
    fn check(&self) -> usize {
        let suite = self.suite;
        let nonce: [u8; 12] = self.nonce[..].try_into().expect("96 bits");
        let mut ran = 0;
        for (kind, mut engine) in engines().filter(|(kind, _)| kind.supports(suite)) {
            let key = engine.new_key(suite, Direction::Outbound, &self.key, &[0; 4], &[]).unwrap();
            let mut tag: [u8; 16] = self.tag[..].try_into().expect("128 bits");
            let mut buffer = self.sealed.clone();
            let opened = engine.aead_open(&key, &nonce, &self.aad, &mut buffer, &mut tag);
            assert_eq!(opened, self.text.is_some(), "{kind} {}", self.name);
            assert_eq!(buffer, self.text.clone().unwrap_or(vec![0; buffer.len()]), "{kind} {}", self.name);
            if let Some(text) = &self.text {
                let (mut buffer, mut tag) = (text.clone(), [0; 16]);
                assert!(
                    engine.aead_seal(&key, &nonce, &self.aad, &mut buffer, &mut tag),
                    "{kind} {}",
                    self.name
                );
                assert_eq!((&buffer, &tag[..]), (&self.sealed, &self.tag[..]), "{kind} {}", self.name);
            }
            ran += 1;
        }
        ran
    }
}

fn wycheproof(name: &str, suite: impl Fn(usize) -> Suite) {
    let (mut valid, mut invalid) = (0, 0);
    let all = json(name);
    for test in all["testGroups"].as_array().unwrap().iter().flat_map(|g| g["tests"].as_array().unwrap()) {
        let field = |name: &str| hex(test[name].as_str().unwrap());
        let good = match test["result"].as_str().unwrap() {
            "valid" => true,
            "invalid" => false,
            other => panic!("{other}"),
        };
        let key = field("key");
        let suite = suite(key.len());
        let case = AeadCase {
            name: format!("tcId {}", test["tcId"]),
            suite,
            key,
            nonce: field("iv"),
            aad: field("aad"),
            text: good.then(|| field("msg")),
            sealed: field("ct"),
            tag: field("tag"),
        };
        assert_eq!(case.check(), engines_for(suite));
        *if good { &mut valid } else { &mut invalid } += 1;
    }
    assert_eq!(valid + invalid, all["numberOfTests"].as_u64().unwrap());
    assert!(valid > 50 && invalid > 50, "{valid} valid, {invalid} invalid");
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

/// One whole ESP packet through `seal` and back through `open`, on every engine.
struct EspCase<'a> {
    name: &'a str,
    suite: Suite,
    enc_key: Vec<u8>,
    salt: Vec<u8>,
    integ_key: Vec<u8>,
    seq_high: Option<u32>,
    /// SPI, sequence number, IV.
    head: Vec<u8>,
    text: Vec<u8>,
    sealed: Vec<u8>,
    /// `None` where the origin has no ICV.
    icv: Option<Vec<u8>>,
}
impl EspCase<'_> {
    fn check(&self) -> usize {
        let mut ran = 0;
        for (kind, mut engine) in engines().filter(|(kind, _)| kind.supports(self.suite)) {
            let key = |direction| {
                engine.new_key(self.suite, direction, &self.enc_key, &self.salt, &self.integ_key).unwrap()
            };
            let (outbound, inbound) = (key(Direction::Outbound), key(Direction::Inbound));
            let mut esp = [&self.head[..], &self.text, &vec![0xee; self.suite.icv_len()]].concat();
            let icv_at = esp.len() - self.suite.icv_len();
            let mut ops = [EspOp { key: &outbound, esp: &mut esp, seq_high: self.seq_high, ok: false }];
            engine.seal(&mut ops);
            assert!(ops[0].ok, "{kind} {}", self.name);
            assert_eq!(esp[..icv_at], [&self.head[..], &self.sealed].concat(), "{kind} {}", self.name);
            if let Some(icv) = &self.icv {
                assert_eq!(esp[icv_at..], *icv, "{kind} {}", self.name);
            }
            let mut ops = [EspOp { key: &inbound, esp: &mut esp, seq_high: self.seq_high, ok: false }];
            engine.open(&mut ops);
            assert!(ops[0].ok, "{kind} {}", self.name);
            assert_eq!(esp[..icv_at], [&self.head[..], &self.text].concat(), "{kind} {}", self.name);
            ran += 1;
        }
        ran
    }
}

fn cbc(key_len: usize, integrity: Integrity) -> Suite {
    let encryption = match key_len {
        0 => Encryption::Null,
        16 => Encryption::Aes128Cbc,
        24 => Encryption::Aes192Cbc,
        32 => Encryption::Aes256Cbc,
        n => panic!("{n} bytes are no AES key"),
    };
    Suite::new(encryption, integrity).unwrap()
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

/// HMAC alone is an ESP packet under NULL encryption: every byte of the message is hashed, the first eight being
/// called SPI and sequence number. Keys shorter than the suite's mean the same with zeroes behind (RFC 2104 2).
fn hmac_case(name: &str, integrity: Integrity, key: &[u8], message: &[u8], digest: &[u8]) {
    let mut integ_key = key.to_vec();
    integ_key.resize(integrity.key_len(), 0);
    let case = EspCase {
        name,
        suite: cbc(0, integrity),
        enc_key: vec![],
        salt: vec![],
        integ_key,
        seq_high: None,
        head: message[..8].to_vec(),
        text: message[8..].to_vec(),
        sealed: message[8..].to_vec(),
        icv: Some(digest[..integrity.icv_len()].to_vec()),
    };
    assert_eq!(case.check(), 2);
}

//= test rfc2404#3/hmac-sha1-96
//= test rfc4868#2.6/truncated-hmac
#[test]
fn rfc_2202_and_4231_hmac() {
    for (name, integrity, fitting) in [
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

#[test]
fn wycheproof_hmac() {
    for (name, integrity) in
        [("hmac_sha256_test", Integrity::HmacSha256), ("hmac_sha384_test", Integrity::HmacSha384)]
    {
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
            let suite = cbc(0, integrity);
            for (kind, mut engine) in engines().filter(|(kind, _)| kind.supports(suite)) {
                let key = engine.new_key(suite, Direction::Inbound, &[], &[], &key).unwrap();
                let mut esp = [&message[..], &tag].concat();
                let mut ops = [EspOp { key: &key, esp: &mut esp, seq_high: None, ok: true }];
                engine.open(&mut ops);
                assert!(!ops[0].ok, "{kind} tcId {}", test["tcId"]);
            }
            invalid += 1;
        }
        assert!(valid > 10 && invalid > 10, "{name}: {valid} valid, {invalid} invalid");
    }
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
        let suite = match &algorithms {
            a if a.contains("AEAD_AES_GCM") => gcm(enc_key.len()),
            a if a.contains("CIPHER_AES_CBC") && a.contains("SHA256_HMAC") => cbc(16, Integrity::HmacSha256),
            a if a.contains("CIPHER_AES_CBC") && a.contains("SHA512_HMAC") => cbc(16, Integrity::HmacSha512),
            _ => continue,
        };
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
        "pkt_aes_128_cbc_hmac_sha256",
        "pkt_aes_128_cbc_hmac_sha512",
        "pkt_aes_128_cbc_hmac_sha256_v6",
        "pkt_aes_128_gcm_frag",
    ];
    assert_eq!(ran, expected);
}
