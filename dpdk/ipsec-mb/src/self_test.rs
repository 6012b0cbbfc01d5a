//! Known answers, asked of every new manager: a library whose structures differ from what `sys` declares, or
//! one that was built wrongly for this CPU, is found before it touches a packet.
use crate::job::{ChainJob, Cipher, Mac, TAG_ROOM};
use crate::key::ChaChaKey;
use crate::{ChainAlg, HmacAlg, LoadError, Manager};

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
    others(manager)?;
    HMACS.into_iter().try_for_each(|(alg, expected, name)| {
        let passed = chained(manager, alg, expected).unwrap_or(false);
        if passed { Ok(()) } else { Err(LoadError::SelfTest(name)) }
    })
}

/// What is used more rarely: DES (FIPS 81), AES-CTR (RFC 3686 6), AES-XCBC (RFC 3566 4.6), AES-CMAC (RFC 4493 4), AES-CCM
/// (NIST CAVP, VNT128), AES-GMAC against AES-GCM without text.
fn others(manager: &mut Manager) -> Result<(), LoadError> {
    let passed = |passed: Option<bool>, name| match passed {
        Some(true) => Ok(()),
        _ => Err(LoadError::SelfTest(name)),
    };
    passed(des(manager, 1), "DES")?;
    passed(des(manager, 3), "3DES")?;
    passed(ctr(manager), "AES-CTR")?;
    const XCBC: u128 = 0xd2a246fa_349b68a7_9998a439_4ff7a263;
    const CMAC: u128 = 0x070a16b4_6b4d4144_f79bdd9d_d04a287c;
    let xcbc: [u8; 16] = std::array::from_fn(|n| n as u8);
    passed(chain(manager, ChainAlg::AesXcbc, xcbc, xcbc, XCBC), "AES-XCBC")?;
    let key = 0x2b7e1516_28aed2a6_abf71588_09cf4f3c_u128.to_be_bytes();
    let message = 0x6bc1bee2_2e409f96_e93d7e11_7393172a_u128.to_be_bytes();
    passed(chain(manager, ChainAlg::AesCmac, key, message, CMAC), "AES-CMAC")?;
    passed(ccm(manager), "AES-CCM")?;
    passed(gmac(manager), "AES-GMAC")
}
/// One job and what it leaves.
fn one(
    manager: &mut Manager,
    cipher: Cipher<'_>,
    mac: Mac<'_>,
    data: &mut [u8],
    from: usize,
    tag_len: usize,
) -> Option<[u8; TAG_ROOM]> {
    let (mut tag, mut verdict) = ([0; TAG_ROOM], false);
    let cipher_range = from..data.len();
    let job = ChainJob { cipher, mac, data, cipher_range, tag: &mut tag, tag_len, token: 7 };
    manager.run_chained([job], |token, ok| verdict = ok && token == 7);
    verdict.then_some(tag)
}
fn des(manager: &mut Manager, times: usize) -> Option<bool> {
    let key = manager.des_key(&0x0123_4567_89ab_cdef_u64.to_be_bytes().repeat(times))?;
    let hmac = manager.hmac_key(HmacAlg::Md5, &[0x0b; 16])?;
    let mut data = [&[0; 8], &b"Now is t"[..]].concat();
    one(manager, Cipher::Des { key: &key, seals: true }, Mac::Hmac(&hmac), &mut data, 8, 12)?;
    let sealed = data.ends_with(&0x3fa4_0e8a_984d_4815_u64.to_be_bytes());
    one(manager, Cipher::Des { key: &key, seals: false }, Mac::Hmac(&hmac), &mut data, 8, 12)?;
    Some(sealed && data.ends_with(b"Now is t"))
}
fn ctr(manager: &mut Manager) -> Option<bool> {
    let key = manager.cbc_key(&0xae6852f8_121067cc_4bf7a576_5577f39e_u128.to_be_bytes())?;
    let hmac = manager.hmac_key(HmacAlg::Md5, &[0x0b; 16])?;
    let nonce = [0, 0, 0, 0x30, 0, 0, 0, 0, 0, 0, 0, 0];
    let mut data = CBC_PLAIN;
    one(manager, Cipher::Ctr { key: &key, nonce: &nonce, seals: true }, Mac::Hmac(&hmac), &mut data, 0, 12)?;
    Some(data == 0xe4095d4f_b7a7b379_2d6175a3_261311b8_u128.to_be_bytes())
}
fn chain(
    manager: &mut Manager,
    alg: ChainAlg,
    key: [u8; 16],
    mut message: [u8; 16],
    expected: u128,
) -> Option<bool> {
    let key = manager.chain_key(alg, &key)?;
    let tag = one(manager, Cipher::NullEncrypt, Mac::Chain(&key), &mut message, 16, 12)?;
    Some(tag.starts_with(expected.to_be_bytes().get(..12)?))
}
fn ccm(manager: &mut Manager) -> Option<bool> {
    let key = manager.cbc_key(&0xe6ab9e70_a4fb51b0_1c2e2622_33e64c0d_u128.to_be_bytes())?;
    let nonce = [0x74, 0xe6, 0x89, 0xeb, 0x5a, 0xf9, 0x44, 0x1d, 0xd6, 0x90, 0xa6];
    let aad = [
        0x42f6518e_e0fbe42f_28e13b4b_b2eb6051_u128.to_be_bytes(),
        0x7b37c974_4394d914_3393a879_c3e107c7_u128.to_be_bytes(),
    ]
    .concat();
    let clear = [
        0xba159167_33550d7a_u64.to_be_bytes(),
        0xa82b2f6b_117cd3f5_u64.to_be_bytes(),
        0x4c83ddc1_6cd0288a_u64.to_be_bytes(),
    ]
    .concat();
    let mut data = clear.clone();
    let job = |seals| Cipher::Ccm { key: &key, nonce: &nonce, aad: &aad, seals };
    let tag = one(manager, job(true), Mac::OfCipher, &mut data, 0, 16)?;
    let expected = 0x16f322ce_85d7c54e_71ac560f_d4da9651_u128.to_be_bytes();
    let sealed = tag.starts_with(&expected) && data.starts_with(&0xdcc15144_3288f35d_u64.to_be_bytes());
    let again = one(manager, job(false), Mac::OfCipher, &mut data, 0, 16)?;
    Some(sealed && data == clear && again.starts_with(&expected))
}
fn gmac(manager: &mut Manager) -> Option<bool> {
    let key = manager.gcm_key(&GCM_KEY)?;
    let (mut whole, mut parts) = ([0; 16], [0; 16]);
    manager.gcm_seal(&key, &GCM_IV, &GCM_AAD, &mut [], &mut whole);
    let (head, tail) = GCM_AAD.split_at(7);
    manager.gmac(&key, &GCM_IV, &[head, tail], &mut parts);
    Some(whole == parts)
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
            mac: Mac::Hmac(&hmac),
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
