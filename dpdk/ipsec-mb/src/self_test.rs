//! Known answers, asked of every new manager: a library whose structures differ from what `sys` declares, or
//! one that was built wrongly for this CPU, is found before it touches a packet.
use crate::key::ChaChaKey;
use crate::manager::{ChainJob, Cipher, TAG_ROOM};
use crate::{HmacAlg, LoadError, Manager};

/// Test case 4 of the GCM specification (McGrew and Viega, appendix B).
const GCM_KEY: [u8; 16] = 0xfeffe992_8665731c_6d6a8f94_67308308_u128.to_be_bytes();
const GCM_IV: [u8; 12] = [0xca, 0xfe, 0xba, 0xbe, 0xfa, 0xce, 0xdb, 0xad, 0xde, 0xca, 0xf8, 0x88];
const GCM_AAD: [u8; 20] = [
    0xfe, 0xed, 0xfa, 0xce, 0xde, 0xad, 0xbe, 0xef, 0xfe, 0xed, 0xfa, 0xce, 0xde, 0xad, 0xbe, 0xef, 0xab,
    0xad, 0xda, 0xd2,
];
const GCM_PLAIN: [u8; 60] = [
    0xd9, 0x31, 0x32, 0x25, 0xf8, 0x84, 0x06, 0xe5, 0xa5, 0x59, 0x09, 0xc5, 0xaf, 0xf5, 0x26, 0x9a, 0x86,
    0xa7, 0xa9, 0x53, 0x15, 0x34, 0xf7, 0xda, 0x2e, 0x4c, 0x30, 0x3d, 0x8a, 0x31, 0x8a, 0x72, 0x1c, 0x3c,
    0x0c, 0x95, 0x95, 0x68, 0x09, 0x53, 0x2f, 0xcf, 0x0e, 0x24, 0x49, 0xa6, 0xb5, 0x25, 0xb1, 0x6a, 0xed,
    0xf5, 0xaa, 0x0d, 0xe6, 0x57, 0xba, 0x63, 0x7b, 0x39,
];
const GCM_TAG: [u8; 16] = 0x5bc94fbc_3221a5db_94fae95a_e7121a47_u128.to_be_bytes();

/// RFC 7634 appendix A.2.
const CHACHA_NONCE: [u8; 12] = [0xa0, 0xa1, 0xa2, 0xa3, 0x10, 0x11, 0x12, 0x13, 0x14, 0x15, 0x16, 0x17];
const CHACHA_AAD: [u8; 32] = [
    0xc0, 0xc1, 0xc2, 0xc3, 0xc4, 0xc5, 0xc6, 0xc7, 0xd0, 0xd1, 0xd2, 0xd3, 0xd4, 0xd5, 0xd6, 0xd7, 0x2e,
    0x20, 0x25, 0, 0, 0, 0, 9, 0, 0, 0, 0x45, 0x29, 0, 0, 0x29,
];
const CHACHA_PLAIN: [u8; 13] = [0, 0, 0, 0x0c, 0, 0, 0x40, 1, 0, 0, 0, 0x0a, 0];
const CHACHA_SEALED: [u8; 13] =
    [0x61, 0x03, 0x94, 0x70, 0x1f, 0x8d, 0x01, 0x7f, 0x7c, 0x12, 0x92, 0x48, 0x89];
const CHACHA_TAG: [u8; 16] = 0x6b71bfe2_5236efd7_cdc67066_906315b2_u128.to_be_bytes();

/// RFC 3602 4 case 1, its IV and ciphertext then hashed under a key of twenty 0x0b (first 16 bytes of the digest).
const CBC_KEY: [u8; 16] = 0x06a92140_36b8a15b_512e03d5_34120006_u128.to_be_bytes();
const CBC_IV: [u8; 16] = 0x3dafba42_9d9eb430_b422da80_2c9fac41_u128.to_be_bytes();
const CBC_PLAIN: [u8; 16] = *b"Single block msg";
const CBC_CIPHERTEXT: [u8; 16] = 0xe353779c_1079aeb8_2708942d_be77181a_u128.to_be_bytes();
const HMACS: [(HmacAlg, u128, &str); 4] = [
    (HmacAlg::Sha1, 0xfa743e49_2b51fb52_16297f3b_7a81be16, "HMAC-SHA1"),
    (HmacAlg::Sha256, 0x29115f05_c44b26ae_514ea41b_914a9121, "HMAC-SHA256"),
    (HmacAlg::Sha384, 0x55c43c49_2490efc9_e3d366a0_74a70e43, "HMAC-SHA384"),
    (HmacAlg::Sha512, 0x8dad837a_c0fc6174_ff3848d7_cf39f16f, "HMAC-SHA512"),
];

pub fn run(manager: &mut Manager) -> Result<(), LoadError> {
    let wrong = LoadError::SelfTest("AES-GCM");
    let Some(key) = manager.gcm_key(&GCM_KEY) else { return Err(wrong) };
    let (mut text, mut tag) = (GCM_PLAIN, [0; 16]);
    manager.gcm_seal(&key, &GCM_IV, &GCM_AAD, &mut text, &mut tag);
    if tag != GCM_TAG || text == GCM_PLAIN {
        return Err(wrong);
    }
    manager.gcm_open(&key, &GCM_IV, &GCM_AAD, &mut text, &mut tag);
    if tag != GCM_TAG || text != GCM_PLAIN {
        return Err(wrong);
    }
    if !chacha(manager) {
        return Err(LoadError::SelfTest("ChaCha20-Poly1305"));
    }
    HMACS.into_iter().try_for_each(|(alg, expected, name)| {
        let passed = chained(manager, alg, expected).unwrap_or(false);
        if passed { Ok(()) } else { Err(LoadError::SelfTest(name)) }
    })
}

fn chacha(manager: &mut Manager) -> bool {
    let key: [u8; 32] = std::array::from_fn(|n| 0x80 + n as u8);
    let Some(key) = ChaChaKey::new(&key) else { return false };
    let (mut text, mut tag, mut again) = (CHACHA_PLAIN, [0; 16], [0; 16]);
    let sealed = manager.chacha_seal(&key, &CHACHA_NONCE, &CHACHA_AAD, &mut text, &mut tag)
        && (text, tag) == (CHACHA_SEALED, CHACHA_TAG);
    let opened = manager.chacha_open(&key, &CHACHA_NONCE, &CHACHA_AAD, &mut text, &mut again)
        && (text, again) == (CHACHA_PLAIN, CHACHA_TAG);
    sealed && opened
}

/// There and back through AES-CBC with one HMAC.
fn chained(manager: &mut Manager, alg: HmacAlg, expected: u128) -> Option<bool> {
    let (key, hmac) = (manager.cbc_key(&CBC_KEY)?, manager.hmac_key(alg, &[0x0b; 20])?);
    let mut data = [CBC_IV, CBC_PLAIN].concat();
    let mut right = true;
    for (cipher, leaves) in
        [(Cipher::CbcEncrypt(&key), CBC_CIPHERTEXT), (Cipher::CbcDecrypt(&key), CBC_PLAIN)]
    {
        let mut tag = [0; TAG_ROOM];
        let mut verdict = false;
        let job = ChainJob {
            cipher,
            hmac: &hmac,
            data: &mut data,
            cipher_range: 16..32,
            tag: &mut tag,
            tag_len: alg.digest_len(),
            token: 7,
        };
        manager.run_chained([job], |token, ok| verdict = ok && token == 7);
        right &= verdict && tag.starts_with(&expected.to_be_bytes()) && data.ends_with(&leaves);
    }
    Some(right)
}
