//! Crypto devices against published packets, Wycheproof, and OpenSSL behind the same interface.
use crate::own_process;
use crate::support::{config, pool, start, start_with};
use dpdk::crypto::{
    CryptoConfig, CryptoDev, CryptoDevice, CryptoError, Direction, Done, Fault, Job, QueuePair, Refused,
    Session, SessionSpec,
};
use dpdk::{Eal, EalConfig, Mbuf, Mempool};
use sa::{Encryption, Integrity, Suite};
use serde_json::Value;
use wire::PacketBuf;

fn vectors(file: &str) -> Value {
    let path = format!("{}/../tests/vectors/{file}", env!("CARGO_MANIFEST_DIR"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{path}: {e}"));
    serde_json::from_str(&text).expect("JSON")
}
fn hex(value: &Value) -> Vec<u8> {
    let text = value.as_str().unwrap_or_default();
    (0..text.len() / 2).map(|at| u8::from_str_radix(&text[2 * at..2 * at + 2], 16).expect("hex")).collect()
}

fn open(eal: &Eal, what: CryptoDevice) -> (CryptoDev, QueuePair) {
    let config = CryptoConfig { sessions: 64, depth: 128, ..CryptoConfig::default() };
    let (dev, mut pairs) = CryptoDev::open(eal, &what, &config).unwrap_or_else(|e| panic!("{e}"));
    (dev, pairs.remove(0))
}

/// Waits for all that is in flight.
fn finish(qp: &mut QueuePair) -> Vec<Done> {
    let mut done = Vec::new();
    while qp.in_flight() > 0 {
        qp.flush();
        qp.collect(|one| done.push(one));
    }
    done
}
fn one(qp: &mut QueuePair, session: &Session, job: Job) -> Done {
    qp.run(session).expect("its device").push(job).unwrap_or_else(|(why, _)| panic!("{why}"));
    finish(qp).pop().expect("one packet")
}

/// An ESP packet (from its SPI on) as a job for its suite: where ciphertext, AAD and ICV are.
fn esp_job(pool: &Mempool, suite: Suite, salt: &[u8], esp: &[u8], tag: u64) -> Job {
    let mbuf = pool.copy_of(esp).expect("a free buffer").expect("it fits");
    let (iv_len, icv_len) = (suite.iv_len(), suite.icv_len());
    let (mut iv, mut aad) = ([0; 16], [0; 12]);
    iv[..salt.len()].copy_from_slice(salt);
    iv[salt.len()..salt.len() + iv_len].copy_from_slice(&esp[8..8 + iv_len]);
    aad[..8].copy_from_slice(&esp[..8]);
    let icv_offset = (esp.len() - icv_len) as u32;
    let cipher_offset = 8 + iv_len as u32;
    let (cipher_len, auth_len) = (icv_offset - cipher_offset, icv_offset);
    Job { mbuf, tag, iv, aad, cipher_offset, cipher_len, auth_offset: 0, auth_len, icv_offset }
}

fn session(dev: &CryptoDev, suite: Suite, direction: Direction, key: &[u8], auth: &[u8]) -> Session {
    dev.session(&SessionSpec { suite, direction, cipher_key: key, auth_key: auth, esn: false })
        .unwrap_or_else(|e| panic!("{e}"))
}

/// Opens a published packet, compares it with the clear one, seals it again to the same bytes, and
/// sees every kind of damage refused.
fn open_and_seal(dev: &CryptoDev, qp: &mut QueuePair, pool: &Mempool, suite: Suite, vector: &Value) {
    let name = vector["name"].as_str().expect("a name");
    let (key, auth, salt) = (hex(&vector["key"]), hex(&vector["auth_key"]), hex(&vector["salt"]));
    let packet = hex(&vector["output_text"]);
    let esp = &packet[if packet[0] >> 4 == 4 { 20 } else { 40 }..];
    let clear = hex(&vector["input_text"]);
    let opener = session(dev, suite, Direction::Open, &key, &auth);
    let done = one(qp, &opener, esp_job(pool, suite, &salt, esp, 7));
    assert_eq!((done.result, done.tag), (Ok(()), 7), "{name}");
    let inner = 8 + suite.iv_len();
    // ESP may protect the whole packet (tunnel) or what follows its header (transport).
    let plain = &done.mbuf.data()[inner..esp.len() - suite.icv_len()];
    assert!(plain.starts_with(&clear) || plain.starts_with(&clear[20..]), "{name}: {plain:02x?}");
    let mut unsealed = esp.to_vec();
    unsealed[inner..esp.len() - suite.icv_len()].copy_from_slice(plain);
    let icv_at = esp.len() - suite.icv_len();
    unsealed[icv_at..].fill(0);
    let sealer = session(dev, suite, Direction::Seal, &key, &auth);
    let sealed = one(qp, &sealer, esp_job(pool, suite, &salt, &unsealed, 8));
    assert_eq!(sealed.result, Ok(()), "{name}");
    assert_eq!(sealed.mbuf.data(), esp, "{name}");
    for at in [0, 7, inner, icv_at - 1, icv_at, esp.len() - 1] {
        let mut damaged = esp.to_vec();
        damaged[at] ^= 0x10;
        let done = one(qp, &opener, esp_job(pool, suite, &salt, &damaged, 9));
        assert_eq!(done.result, Err(Fault::AuthFailed), "{name}: byte {at}");
    }
}

fn esp_suite(vector: &Value) -> Option<Suite> {
    let name = vector["name"].as_str()?;
    let encryption = match name {
        _ if name.starts_with("pkt_aes_128_gcm") => Encryption::Aes128Gcm,
        _ if name.starts_with("pkt_aes_256_gcm") => Encryption::Aes256Gcm,
        _ if name.starts_with("pkt_aes_128_cbc_hmac") => Encryption::Aes128Cbc,
        _ => return None,
    };
    let integrity = match name {
        _ if name.contains("sha256") => Integrity::HmacSha256,
        _ if name.contains("sha512") => Integrity::HmacSha512,
        _ => Integrity::None,
    };
    Suite::new(encryption, integrity).ok()
}

fn published_packets(what: CryptoDevice, expected: usize) {
    let eal = start();
    let pool = pool(&eal, 255);
    let (dev, mut qp) = open(&eal, what);
    let all = vectors("dpdk-ipsec/ipsec_packets.json");
    let mut seen = 0;
    for vector in all["vectors"].as_array().expect("a list") {
        let Some(suite) = esp_suite(vector).filter(|suite| dev.supports(*suite)) else { continue };
        open_and_seal(&dev, &mut qp, &pool, suite, vector);
        seen += 1;
    }
    assert_eq!(seen, expected);
    assert_eq!(pool.in_use(), 0);
}
#[test]
fn gcm_device_agrees_with_published_esp_packets() {
    own_process!();
    published_packets(CryptoDevice::AesniGcm, 3);
}
#[test]
fn multi_buffer_device_agrees_with_published_esp_packets() {
    own_process!();
    published_packets(CryptoDevice::AesniMb, 6);
}

#[test]
fn wycheproof_aes_gcm() {
    own_process!();
    wycheproof(CryptoDevice::AesniGcm, "wycheproof/aes_gcm_test.json");
}
#[test]
fn wycheproof_chacha20_poly1305() {
    own_process!();
    wycheproof(CryptoDevice::AesniMb, "wycheproof/chacha20_poly1305_test.json");
}
fn wycheproof(what: CryptoDevice, file: &str) {
    let eal = start();
    let pool = pool(&eal, 255);
    let (dev, mut qp) = open(&eal, what);
    let all = vectors(file);
    let chacha = all["algorithm"] == "CHACHA20-POLY1305";
    let (mut valid, mut invalid) = (0, 0);
    for group in all["testGroups"].as_array().expect("groups") {
        let encryption =
            match (group["keySize"].as_u64(), group["ivSize"].as_u64(), group["tagSize"].as_u64()) {
                (Some(256), Some(96), Some(128)) if chacha => Encryption::ChaCha20Poly1305,
                (Some(128), Some(96), Some(128)) => Encryption::Aes128Gcm,
                (Some(192), Some(96), Some(128)) => Encryption::Aes192Gcm,
                (Some(256), Some(96), Some(128)) => Encryption::Aes256Gcm,
                _ => continue,
            };
        let suite = Suite::new(encryption, Integrity::None).expect("an AEAD");
        for test in group["tests"].as_array().expect("tests") {
            let (key, aad) = (hex(&test["key"]), hex(&test["aad"]));
            let (msg, ct, tag) = (hex(&test["msg"]), hex(&test["ct"]), hex(&test["tag"]));
            // ESP's lengths only.
            if !matches!(aad.len(), 8 | 12) || ct.is_empty() {
                continue;
            }
            let mut job_iv = [0; 16];
            job_iv[..12].copy_from_slice(&hex(&test["iv"]));
            let mut job_aad = [0; 12];
            job_aad[..aad.len()].copy_from_slice(&aad);
            let job = |bytes: &[u8]| Job {
                mbuf: pool.copy_of(bytes).expect("a free buffer").expect("it fits"),
                tag: 0,
                iv: job_iv,
                aad: job_aad,
                cipher_offset: 0,
                cipher_len: ct.len() as u32,
                auth_offset: 0,
                auth_len: 0,
                icv_offset: ct.len() as u32,
            };
            let make = |direction| {
                let spec =
                    SessionSpec { suite, direction, cipher_key: &key, auth_key: &[], esn: aad.len() == 12 };
                dev.session(&spec).unwrap_or_else(|e| panic!("{e}"))
            };
            let done = one(&mut qp, &make(Direction::Open), job(&[&ct[..], &tag].concat()));
            if test["result"] == "valid" {
                valid += 1;
                assert_eq!(done.result, Ok(()), "{test}");
                assert_eq!(&done.mbuf.data()[..msg.len()], msg, "{test}");
                let sealed = one(&mut qp, &make(Direction::Seal), job(&[&msg[..], &[0; 16]].concat()));
                assert_eq!(sealed.mbuf.data(), [&ct[..], &tag].concat(), "{test}");
            } else {
                invalid += 1;
                assert_eq!(done.result, Err(Fault::AuthFailed), "{test}");
            }
        }
    }
    assert!(valid >= 3, "{valid} valid, {invalid} invalid");
}

/// Every suite of cipher and HMAC: what libipsec-mb seals, OpenSSL opens, and the other way round.
#[test]
fn each_chain_agrees_with_openssl_and_notices_damage() {
    own_process!();
    let eal = start_with(&EalConfig { vdevs: vec!["crypto_openssl".into()], ..config() });
    let pool = pool(&eal, 255);
    let mut devices =
        [open(&eal, CryptoDevice::AesniMb), open(&eal, CryptoDevice::Probed("crypto_openssl".into()))];
    let mut seen = 0;
    for encryption in [Encryption::Null, Encryption::Aes128Cbc, Encryption::Aes192Cbc, Encryption::Aes256Cbc]
    {
        for integrity in
            [Integrity::HmacSha1, Integrity::HmacSha256, Integrity::HmacSha384, Integrity::HmacSha512]
        {
            let suite = Suite::new(encryption, integrity).expect("a chain");
            let key: Vec<u8> = (0..encryption.key_len() as u8).collect();
            let auth: Vec<u8> = (100..100 + integrity.key_len() as u8).collect();
            for len in [16, 64, 1392] {
                let clear: Vec<u8> =
                    (0..8 + suite.iv_len() + len + suite.icv_len()).map(|at| at as u8).collect();
                let mut sealed = Vec::new();
                for (dev, qp) in &mut devices {
                    assert!(dev.supports(suite), "{}: {suite}", dev.name());
                    let sealer = session(dev, suite, Direction::Seal, &key, &auth);
                    let done = one(qp, &sealer, esp_job(&pool, suite, &[], &clear, 0));
                    assert_eq!(done.result, Ok(()), "{suite}");
                    sealed.push(done.mbuf.data().to_vec());
                }
                assert_eq!(sealed[0], sealed[1], "{suite}, {len} bytes");
                for (dev, qp) in &mut devices {
                    let opener = session(dev, suite, Direction::Open, &key, &auth);
                    let done = one(qp, &opener, esp_job(&pool, suite, &[], &sealed[0], 0));
                    assert_eq!(done.result, Ok(()), "{suite}");
                    let body = 8 + suite.iv_len()..clear.len() - suite.icv_len();
                    assert_eq!(done.mbuf.data()[body.clone()], clear[body], "{suite}");
                    for at in [0, 9, sealed[0].len() - 1, sealed[0].len() - suite.icv_len()] {
                        let mut damaged = sealed[0].clone();
                        damaged[at] ^= 1;
                        let done = one(qp, &opener, esp_job(&pool, suite, &[], &damaged, 0));
                        assert_eq!(done.result, Err(Fault::AuthFailed), "{suite}, byte {at}");
                    }
                }
                seen += 1;
            }
        }
    }
    assert_eq!(seen, 4 * 4 * 3);
    assert_eq!(pool.in_use(), 0);
}

/// All AEADs, with and without the extended sequence number in the AAD, on the three devices as far as they have them.
#[test]
fn aeads_agree_between_devices_with_and_without_esn() {
    own_process!();
    let eal = start_with(&EalConfig { vdevs: vec!["crypto_openssl".into()], ..config() });
    let pool = pool(&eal, 255);
    let mut devices =
        [CryptoDevice::AesniGcm, CryptoDevice::AesniMb, CryptoDevice::Probed("crypto_openssl".into())]
            .map(|what| open(&eal, what));
    let mut ran = Vec::new();
    use Encryption::{Aes128Gcm, Aes192Gcm, Aes256Gcm, ChaCha20Poly1305};
    for encryption in [Aes128Gcm, Aes192Gcm, Aes256Gcm, ChaCha20Poly1305] {
        let suite = Suite::new(encryption, Integrity::None).expect("an AEAD");
        let key: Vec<u8> = (0..encryption.key_len() as u8).collect();
        ran.push(devices.iter().filter(|(dev, _)| dev.supports(suite)).count());
        for (esn, len) in [(false, 4), (false, 64), (true, 64), (true, 1396)] {
            let clear: Vec<u8> = (0..16 + len + 16).map(|at| at as u8).collect();
            // SPI, high half, low half (RFC 4106 5).
            let with_esn = |mut job: Job| {
                if esn {
                    job.aad = [0, 1, 2, 3, 0, 0, 0, 9, 4, 5, 6, 7];
                }
                job
            };
            let mut sealed = Vec::new();
            for (dev, qp) in devices.iter_mut().filter(|(dev, _)| dev.supports(suite)) {
                let spec =
                    SessionSpec { suite, direction: Direction::Seal, cipher_key: &key, auth_key: &[], esn };
                let sealer = dev.session(&spec).unwrap_or_else(|e| panic!("{e}"));
                let done = one(qp, &sealer, with_esn(esp_job(&pool, suite, &[9; 4], &clear, 0)));
                assert_eq!(done.result, Ok(()), "{}: {suite}", dev.name());
                sealed.push(done.mbuf.data().to_vec());
            }
            assert!(sealed.windows(2).all(|pair| pair[0] == pair[1]), "{suite}, esn {esn}, {len} bytes");
            for (dev, qp) in devices.iter_mut().filter(|(dev, _)| dev.supports(suite)) {
                let spec =
                    SessionSpec { suite, direction: Direction::Open, cipher_key: &key, auth_key: &[], esn };
                let opener = dev.session(&spec).unwrap_or_else(|e| panic!("{e}"));
                let done = one(qp, &opener, with_esn(esp_job(&pool, suite, &[9; 4], &sealed[0], 0)));
                assert_eq!(done.result, Ok(()), "{}: {suite}", dev.name());
                assert_eq!(done.mbuf.data()[16..16 + len], clear[16..16 + len]);
                let mut wrong = with_esn(esp_job(&pool, suite, &[9; 4], &sealed[0], 0));
                wrong.aad[7] ^= 1;
                assert_eq!(one(qp, &opener, wrong).result, Err(Fault::AuthFailed), "{}: {suite}", dev.name());
            }
        }
    } // ChaCha20-Poly1305 is a matter of the multi-buffer device.
    assert_eq!(ran, [3, 3, 3, 1]);
}

/// The published sample gateways tie operations to buffers and crash here.
#[test]
fn a_burst_with_rejected_packets_gives_each_packet_back_once() {
    own_process!();
    let eal = start();
    let pool = pool(&eal, 511);
    let (dev, mut qp) = open(&eal, CryptoDevice::AesniGcm);
    let suite = Suite::new(Encryption::Aes128Gcm, Integrity::None).expect("an AEAD");
    let (key, salt) = ([1; 16], [2; 4]);
    let sealer = session(&dev, suite, Direction::Seal, &key, &[]);
    let opener = session(&dev, suite, Direction::Open, &key, &[]);
    let esp: Vec<u8> = (0..8 + 8 + 64 + 16).collect();
    for round in 0..20_u64 {
        let mut run = qp.run(&sealer).expect("its device");
        for tag in 0..64 {
            run.push(esp_job(&pool, suite, &salt, &esp, tag)).unwrap_or_else(|(why, _)| panic!("{why}"));
        }
        drop(run);
        let sealed = finish(&mut qp);
        let mut run = qp.run(&opener).expect("its device");
        let mut kept = Vec::new();
        for done in sealed {
            let mut bytes = done.mbuf.data().to_vec();
            match done.tag % 4 {
                // Damaged in the tag; refused before the device sees it; left out of the burst.
                0 => bytes[90] ^= 1,
                1 => {
                    let mut job = esp_job(&pool, suite, &salt, &bytes, done.tag);
                    job.cipher_len += 1000;
                    let (why, job) = run.push(job).expect_err("outside of the packet");
                    assert_eq!((why, job.tag), (Refused::Range, done.tag));
                    continue;
                }
                2 => {
                    kept.push(done.mbuf);
                    continue;
                }
                _ => {}
            }
            let job = esp_job(&pool, suite, &salt, &bytes, done.tag);
            run.push(job).unwrap_or_else(|(why, _)| panic!("{why}"));
        }
        drop(run);
        let mut opened = finish(&mut qp);
        opened.sort_by_key(|done| done.tag);
        assert_eq!(opened.len(), 32, "round {round}");
        for done in &opened {
            let expected = if done.tag % 4 == 0 { Err(Fault::AuthFailed) } else { Ok(()) };
            assert_eq!(done.result, expected, "tag {}", done.tag);
        }
        drop((opened, kept));
        assert_eq!(pool.in_use(), 0, "round {round}");
    }
}

#[test]
fn a_session_lives_until_its_last_operation_is_back_and_its_place_is_used_again() {
    own_process!();
    let eal = start();
    let pool = pool(&eal, 255);
    let config = CryptoConfig { sessions: 1, depth: 64, ..CryptoConfig::default() };
    let (dev, mut pairs) = CryptoDev::open(&eal, &CryptoDevice::AesniGcm, &config).expect("a device");
    let qp = &mut pairs[0];
    let suite = Suite::new(Encryption::Aes256Gcm, Integrity::None).expect("an AEAD");
    let esp: Vec<u8> = (0..96).collect();
    for _ in 0..3 {
        let sealer = session(&dev, suite, Direction::Seal, &[3; 32], &[]);
        let mut run = qp.run(&sealer).expect("its device");
        for tag in 0..64 {
            run.push(esp_job(&pool, suite, &[0; 4], &esp, tag)).unwrap_or_else(|(why, _)| panic!("{why}"));
        }
        let (why, _) = run.push(esp_job(&pool, suite, &[0; 4], &esp, 0)).expect_err("64 are in flight");
        assert_eq!(why, Refused::Full);
        drop(run);
        // The handle goes while the packets are in the device.
        drop(sealer);
        let spec = SessionSpec {
            suite,
            direction: Direction::Seal,
            cipher_key: &[3; 32],
            auth_key: &[],
            esn: false,
        };
        assert!(matches!(dev.session(&spec), Err(CryptoError::Driver { .. })), "its place is still taken");
        assert_eq!(finish(qp).len(), 64);
    }
}

#[test]
fn a_queue_pair_that_is_dropped_gives_its_packets_back() {
    own_process!();
    let eal = start();
    let pool = pool(&eal, 255);
    let (dev, mut qp) = open(&eal, CryptoDevice::AesniGcm);
    let suite = Suite::new(Encryption::Aes128Gcm, Integrity::None).expect("an AEAD");
    let sealer = session(&dev, suite, Direction::Seal, &[3; 16], &[]);
    let esp: Vec<u8> = (0..96).collect();
    let mut run = qp.run(&sealer).expect("its device");
    for tag in 0..100 {
        run.push(esp_job(&pool, suite, &[0; 4], &esp, tag)).unwrap_or_else(|(why, _)| panic!("{why}"));
    }
    drop(run);
    assert_eq!(pool.in_use(), 100, "64 in the device, 36 staged");
    drop(qp);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn wrong_keys_suites_and_ranges_are_refused() {
    own_process!();
    let eal = start();
    let pool = pool(&eal, 31);
    let (dev, mut qp) = open(&eal, CryptoDevice::AesniGcm);
    let gcm = Suite::new(Encryption::Aes128Gcm, Integrity::None).expect("an AEAD");
    let cbc = Suite::new(Encryption::Aes128Cbc, Integrity::HmacSha256).expect("a chain");
    let make = |suite, cipher_key: &[u8], auth_key: &[u8]| {
        let spec = SessionSpec { suite, direction: Direction::Seal, cipher_key, auth_key, esn: false };
        dev.session(&spec).map(drop)
    };
    assert!(matches!(make(gcm, &[0; 15], &[]), Err(CryptoError::KeyLength { want: 16, got: 15, .. })));
    assert!(matches!(make(cbc, &[0; 16], &[0; 31]), Err(CryptoError::KeyLength { want: 32, got: 31, .. })));
    assert!(matches!(make(cbc, &[0; 16], &[0; 32]), Err(CryptoError::Unsupported { .. })));
    let (other, mut other_qp) = open(&eal, CryptoDevice::AesniMb);
    let foreign = session(&other, cbc, Direction::Seal, &[0; 16], &[0; 32]);
    assert!(qp.run(&foreign).is_none(), "another device's session");
    let mbuf = |len: usize| -> Mbuf { pool.copy_of(&vec![0; len]).expect("free").expect("it fits") };
    let job = Job {
        mbuf: mbuf(100),
        tag: 0,
        iv: [0; 16],
        aad: [0; 12],
        cipher_offset: 24,
        cipher_len: 32,
        auth_offset: 0,
        auth_len: 56,
        icv_offset: 56,
    };
    let mut run = other_qp.run(&foreign).expect("its device");
    let mut refuse = |change: fn(&mut Job), job: Job| {
        let mut job = job;
        change(&mut job);
        let (why, mut job) = run.push(job).expect_err("out of range");
        (job.cipher_offset, job.cipher_len, job.auth_offset) = (24, 32, 0);
        (job.auth_len, job.icv_offset) = (56, 56);
        (why, job)
    };
    let (why, job) = refuse(|job| job.cipher_len = 33, job);
    assert_eq!(why, Refused::Block);
    let (why, job) = refuse(|job| job.cipher_offset = u32::MAX, job);
    assert_eq!(why, Refused::Range);
    let (why, job) = refuse(|job| job.auth_len = 101, job);
    assert_eq!(why, Refused::Range);
    let (why, job) = refuse(|job| job.icv_offset = 85, job);
    assert_eq!(why, Refused::Range);
    drop(job);
    drop(run);
    assert_eq!((pool.in_use(), other_qp.in_flight()), (0, 0));
}
