//! What the safe wrapper promises whatever it is given.
use ipsec_mb::{ChainAlg, ChainJob, Cipher, HmacAlg, Mac, Manager, TAG_ROOM};

fn manager() -> Manager {
    Manager::new().expect("package libipsec-mb1")
}

#[test]
fn refuses_keys_of_other_lengths() {
    let m = manager();
    for len in (0..80).filter(|n| ![16, 24, 32].contains(n)) {
        assert!(m.gcm_key(&vec![0; len]).is_none() && m.cbc_key(&vec![0; len]).is_none(), "{len}");
    }
    assert!(m.hmac_key(HmacAlg::Sha256, &[0; 65]).is_none());
    assert!(m.hmac_key(HmacAlg::Sha512, &[0; 129]).is_none());
}

#[test]
fn jobs_with_impossible_lengths_come_back_refused_and_untouched() {
    let mut m = manager();
    let (key, hmac) = (m.cbc_key(&[1; 16]).unwrap(), m.hmac_key(HmacAlg::Sha1, &[2; 20]).unwrap());
    for (range, len, tag_len) in [
        (24..24, 40, 12),
        (24..39, 40, 12),
        (24..56, 40, 12),
        (8..24, 40, 12),
        (24..40, 40, 21),
        (0..0, 0, 12),
    ] {
        let mut data = vec![3; len];
        let mut tag = [9; TAG_ROOM];
        let mut verdicts = Vec::new();
        let job = ChainJob {
            cipher: Cipher::CbcEncrypt(&key),
            mac: Mac::Hmac(&hmac),
            data: &mut data,
            cipher_range: range.clone(),
            tag: &mut tag,
            tag_len,
            token: 5,
        };
        m.run_chained([job], |token, ok| verdicts.push((token, ok)));
        assert_eq!(verdicts, [(5, false)], "{range:?} in {len}");
        assert_eq!((data, tag), (vec![3; len], [9; TAG_ROOM]), "{range:?} in {len}");
    }
}

/// Ciphers and tags that do not belong together, keys the library has no code for, nothing to encrypt.
#[test]
fn jobs_that_make_no_sense_come_back_refused() {
    let mut m = manager();
    let (key, long) = (m.cbc_key(&[1; 16]).unwrap(), m.cbc_key(&[1; 24]).unwrap());
    let (des, cmac) = (m.des_key(&[1; 24]).unwrap(), m.chain_key(ChainAlg::AesCmac, &[2; 16]).unwrap());
    let (nonce, short, aad) = ([3; 12], [3; 11], [4; 47]);
    let ccm = |key, aad| Cipher::Ccm { key, nonce: &short, aad, seals: true };
    let ctr = Cipher::Ctr { key: &key, nonce: &nonce, seals: true };
    let (of_cipher, cmac) = (Mac::OfCipher, Mac::Chain(&cmac));
    for (cipher, mac, range, tag_len, good) in [
        (ccm(&key, &aad[..8]), of_cipher, 16..40, 16, true),
        (ccm(&key, &aad[..8]), of_cipher, 16..40, 5, false),
        (ccm(&key, &aad[..]), of_cipher, 16..40, 16, false),
        (ccm(&key, &aad[..8]), of_cipher, 40..40, 16, false),
        (ccm(&long, &aad[..8]), of_cipher, 16..40, 16, false),
        (ccm(&key, &aad[..8]), cmac, 16..40, 12, false),
        (ctr, cmac, 16..39, 12, true),
        (ctr, cmac, 40..40, 12, false),
        (ctr, cmac, 16..40, 17, false),
        (ctr, of_cipher, 16..40, 12, false),
        (Cipher::Des { key: &des, seals: true }, cmac, 16..40, 12, true),
        (Cipher::Des { key: &des, seals: true }, cmac, 4..36, 12, false),
        (Cipher::Des { key: &des, seals: true }, cmac, 16..39, 12, false),
        (Cipher::NullEncrypt, of_cipher, 16..40, 12, false),
    ] {
        let (mut data, mut tag, mut verdict) = (vec![5; 40], [0; TAG_ROOM], None);
        let said = format!("{range:?}, {tag_len}");
        let job =
            ChainJob { cipher, mac, data: &mut data, cipher_range: range, tag: &mut tag, tag_len, token: 1 };
        m.run_chained([job], |_, ok| verdict = Some(ok));
        assert_eq!((verdict, data == [5; 40]), (Some(good), !good), "{said}");
    }
}

#[test]
fn every_job_of_a_burst_larger_than_the_queue_is_answered_once() {
    let mut m = manager();
    let (key, hmac) = (m.cbc_key(&[1; 32]).unwrap(), m.hmac_key(HmacAlg::Sha256, &[2; 32]).unwrap());
    let mut packets: Vec<_> =
        (0..1000usize).map(|n| (vec![n as u8; 24 + 16 * (1 + n % 9)], [0; TAG_ROOM])).collect();
    let mut answers = vec![0; packets.len()];
    let jobs = packets.iter_mut().enumerate().map(|(token, (data, tag))| {
        let cipher_range = 24..data.len();
        ChainJob {
            cipher: Cipher::CbcEncrypt(&key),
            mac: Mac::Hmac(&hmac),
            data,
            cipher_range,
            tag,
            tag_len: 16,
            token,
        }
    });
    m.run_chained(jobs, |token, ok| answers[token] += i32::from(ok));
    assert!(answers.iter().all(|n| *n == 1));
    // The same bytes one at a time: neighbours in a burst must not change an answer.
    for (n, (data, tag)) in packets.iter().enumerate() {
        let (mut alone, mut alone_tag) = (vec![n as u8; data.len()], [0; TAG_ROOM]);
        let cipher_range = 24..data.len();
        let cipher = Cipher::CbcEncrypt(&key);
        let job = ChainJob {
            cipher,
            mac: Mac::Hmac(&hmac),
            data: &mut alone,
            cipher_range,
            tag: &mut alone_tag,
            tag_len: 16,
            token: 0,
        };
        m.run_chained([job], |_, ok| assert!(ok));
        assert!(alone == *data && alone_tag == *tag, "packet {n}");
    }
}

#[test]
fn a_panic_while_jobs_are_in_flight_leaves_a_usable_manager() {
    let mut m = manager();
    let (key, hmac) = (m.cbc_key(&[1; 16]).unwrap(), m.hmac_key(HmacAlg::Sha256, &[2; 32]).unwrap());
    let mut packets = vec![(vec![7; 56], [0; TAG_ROOM]); 3];
    let run = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let jobs = packets.iter_mut().enumerate().map(|(token, (data, tag))| {
            assert!(token < 2, "the third job cannot be made");
            ChainJob {
                cipher: Cipher::CbcEncrypt(&key),
                mac: Mac::Hmac(&hmac),
                data,
                cipher_range: 24..56,
                tag,
                tag_len: 16,
                token,
            }
        });
        m.run_chained(jobs, |_, _| ());
    }));
    assert!(run.is_err());
    assert_eq!(packets[0], packets[1], "the two in flight were finished");
    assert_ne!(packets[0].1[..16], [0; 16]);
    let (mut data, mut tag, mut answered) = (vec![7; 56], [0; TAG_ROOM], 0);
    let cipher = Cipher::CbcEncrypt(&key);
    let job = ChainJob {
        cipher,
        mac: Mac::Hmac(&hmac),
        data: &mut data,
        cipher_range: 24..56,
        tag: &mut tag,
        tag_len: 16,
        token: 9,
    };
    m.run_chained([job], |token, ok| answered += usize::from(token == 9 && ok));
    assert_eq!((answered, &data, &tag), (1, &packets[0].0, &packets[0].1));
}
