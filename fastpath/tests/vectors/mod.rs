//! Published vectors, read and run on every CPU engine.
use fastpath::crypto::cpu::{CpuCrypto, CpuEngineKind, EspOp};
use fastpath::crypto::native::Path;
use sa::{Direction, Encryption, Integrity, Suite};
use serde_json::Value;
use std::collections::BTreeMap;

pub fn file(name: &str) -> String {
    let path = format!("{}/../tests/vectors/{name}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}
pub fn json(name: &str) -> Value {
    serde_json::from_str(&file(name)).expect("a JSON file")
}
pub fn hex(text: &str) -> Vec<u8> {
    assert!(text.len().is_multiple_of(2), "{text}");
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hex")).collect()
}
/// Every engine, the native one once for each of its code paths that this CPU has.
pub fn engines() -> impl Iterator<Item = (CpuEngineKind, CpuCrypto)> {
    let native =
        native_paths().map(|path| (CpuEngineKind::Native, CpuCrypto::native(path).expect("is here")));
    let others = CpuEngineKind::ALL.into_iter().filter(|kind| *kind != CpuEngineKind::Native);
    native.chain(others.map(|kind| (kind, CpuCrypto::new(kind).expect("libipsec-mb1"))))
}
pub fn native_paths() -> impl Iterator<Item = Path> {
    Path::ALL.into_iter().filter(|path| path.is_here())
}
/// How many of [`engines`] have a suite.
pub fn engines_for(suite: Suite) -> usize {
    engines().filter(|(kind, _)| kind.supports(suite)).count()
}
pub fn gcm(key_len: usize) -> Suite {
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
pub fn records(name: &str) -> Vec<BTreeMap<String, String>> {
    let text = file(name).replace('\r', "");
    let paragraphs = text.split("\n\n").map(|paragraph| {
        let lines = paragraph.lines().filter(|l| !l.starts_with(['#', '[']) && !l.is_empty());
        let pairs = lines.map(|l| l.split_once('=').unwrap_or((l, "")));
        pairs.map(|(name, value)| (name.trim().into(), value.trim().into())).collect::<BTreeMap<_, _>>()
    });
    paragraphs.filter(|r| !r.is_empty()).collect()
}

/// libipsec-mb runs CCM and short ICVs as whole packets only.
fn by_itself(kind: CpuEngineKind, suite: Suite) -> bool {
    let whole = suite.encryption().is_aes_gcm() || suite.encryption() == Encryption::ChaCha20Poly1305;
    kind.supports(suite) && (kind != CpuEngineKind::IpsecMb || whole)
}

pub struct AeadCase {
    pub name: String,
    pub suite: Suite,
    pub key: Vec<u8>,
    pub nonce: Vec<u8>,
    pub aad: Vec<u8>,
    /// `None` when it must not authenticate.
    pub text: Option<Vec<u8>>,
    pub sealed: Vec<u8>,
    pub tag: Vec<u8>,
}
impl AeadCase {
    /// Both ways on every engine that has the AEAD by itself; returns how many engines ran it.
    pub fn check(&self) -> usize {
        let suite = self.suite;
        let mut ran = 0;
        for (kind, mut engine) in engines().filter(|(kind, _)| by_itself(*kind, suite)) {
            let key = engine
                .new_key(suite, Direction::Outbound, &self.key, &vec![0; suite.salt_len()], &[])
                .unwrap();
            let mut tag = self.tag.clone();
            let mut buffer = self.sealed.clone();
            let opened = engine.aead_open(&key, &self.nonce, &self.aad, &mut buffer, &mut tag);
            assert_eq!(opened, self.text.is_some(), "{kind} {}", self.name);
            assert_eq!(buffer, self.text.clone().unwrap_or(vec![0; buffer.len()]), "{kind} {}", self.name);
            if let Some(text) = &self.text {
                let (mut buffer, mut tag) = (text.clone(), vec![0; self.tag.len()]);
                assert!(
                    engine.aead_seal(&key, &self.nonce, &self.aad, &mut buffer, &mut tag),
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

pub fn wycheproof(name: &str, suite: impl Fn(usize) -> Suite) {
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
        assert_eq!(case.check(), engines().filter(|(kind, _)| by_itself(*kind, suite)).count());
        *if good { &mut valid } else { &mut invalid } += 1;
    }
    assert_eq!(valid + invalid, all["numberOfTests"].as_u64().unwrap());
    assert!(valid > 10, "{valid} valid, {invalid} invalid");
}
/// One whole ESP packet through `seal` and back through `open`, on every engine.
pub struct EspCase<'a> {
    pub name: &'a str,
    pub suite: Suite,
    pub enc_key: Vec<u8>,
    pub salt: Vec<u8>,
    pub integ_key: Vec<u8>,
    pub seq_high: Option<u32>,
    /// SPI, sequence number, IV.
    pub head: Vec<u8>,
    pub text: Vec<u8>,
    pub sealed: Vec<u8>,
    /// `None` where the origin has no ICV.
    pub icv: Option<Vec<u8>>,
}
impl EspCase<'_> {
    pub fn check(&self) -> usize {
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

pub fn cbc(key_len: usize, integrity: Integrity) -> Suite {
    let encryption = match key_len {
        0 => Encryption::Null,
        16 => Encryption::Aes128Cbc,
        24 => Encryption::Aes192Cbc,
        32 => Encryption::Aes256Cbc,
        n => panic!("{n} bytes are no AES key"),
    };
    Suite::new(encryption, integrity).unwrap()
}

/// HMAC alone is an ESP packet under NULL encryption: every byte of the message is hashed, the first eight being
/// called SPI and sequence number. Keys shorter than the suite's mean the same with zeroes behind (RFC 2104 2).
pub fn hmac_case(name: &str, integrity: Integrity, key: &[u8], message: &[u8], digest: &[u8]) {
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
    assert_eq!(case.check(), engines_for(cbc(0, integrity)));
}
