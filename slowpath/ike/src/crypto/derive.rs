//! Keys from the shared secret (RFC 7296 2.14, 2.17, 2.18).
use super::{IkeSuite, Secret, SkKeys, prf, prf_plus};
use crate::api::Prf;
use sa::{Key, Suite};

//= rfc7296#2.14/skeyseed: prf(Ni | Nr, g^ir).
pub fn skeyseed(which: Prf, ni: &[u8], nr: &[u8], shared: &[u8]) -> Secret {
    //= rfc7296#2.14/short-key: of each nonce the first 64 bits where the PRF is made of AES-128.
    let part = match which {
        Prf::AesXcbc | Prf::AesCmac => 8,
        _ => usize::MAX,
    };
    let first = |nonce: &[u8]| nonce.get(..part).unwrap_or(nonce).to_vec();
    let key = Secret::new([first(ni), first(nr)].concat());
    prf(which, &key, &[shared])
}

//= rfc7296#2.18/skeyseed-rekey: prf(SK_d of the old SA, g^ir | Ni | Nr), with the old SA's PRF.
//= rfc9370#2.2.4/rekey: the secrets of further key exchanges, `more`, stand behind.
pub fn skeyseed_rekeyed(
    old_prf: Prf,
    old_d: &[u8],
    shared: &[u8],
    ni: &[u8],
    nr: &[u8],
    more: &[u8],
) -> Secret {
    prf(old_prf, old_d, &[shared, ni, nr, more])
}

/// Everything an IKE SA keeps. `i` and `r` are the original initiator's and responder's.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IkeKeys {
    pub d: Key,
    pub i: SkKeys,
    pub r: SkKeys,
    pub pi: Key,
    pub pr: Key,
}
impl IkeKeys {
    /// What the end seals with; it opens with the other's.
    pub fn sending(&self, initiator: bool) -> &SkKeys {
        if initiator { &self.i } else { &self.r }
    }
    pub fn receiving(&self, initiator: bool) -> &SkKeys {
        self.sending(!initiator)
    }
    /// SK_p of the end, which signs its identity.
    pub fn p(&self, initiator: bool) -> &Key {
        if initiator { &self.pi } else { &self.pr }
    }
}

//= rfc7296#2.14/sk: {SK_d | SK_ai | SK_ar | SK_ei | SK_er | SK_pi | SK_pr} = prf+(SKEYSEED, Ni | Nr | SPIi | SPIr).
pub fn ike_keys(suite: &IkeSuite, skeyseed: &[u8], ni: &[u8], nr: &[u8], spi_i: u64, spi_r: u64) -> IkeKeys {
    let auth_len = suite.integrity.map_or(0, |i| i.key_len());
    let (key_len, salt_len) = (suite.encryption.key_len(), suite.encryption.salt_len());
    let prf_len = suite.prf.size();
    let total = 3 * prf_len + 2 * auth_len + 2 * (key_len + salt_len);
    let seed: [&[u8]; 4] = [ni, nr, &spi_i.to_be_bytes(), &spi_r.to_be_bytes()];
    let mut cut = Cutter::new(prf_plus(suite.prf, skeyseed, &seed, total));
    let d = cut.key(prf_len);
    let (ai, ar) = (cut.key(auth_len), cut.key(auth_len));
    let sk = |cut: &mut Cutter, integrity_key| SkKeys {
        encryption: suite.encryption,
        integrity: suite.integrity,
        encryption_key: cut.key(key_len),
        salt: cut.key(salt_len),
        integrity_key,
    };
    let (i, r) = (sk(&mut cut, ai), sk(&mut cut, ar));
    IkeKeys { d, i, r, pi: cut.key(prf_len), pr: cut.key(prf_len) }
}

/// Keys of one direction of a Child SA, as `SaSpec` wants them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EspKeys {
    pub encryption: Key,
    pub salt: Key,
    pub integrity: Key,
}
/// `i` protects what the initiator *of this exchange* sends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChildKeys {
    pub i: EspKeys,
    pub r: EspKeys,
}
impl ChildKeys {
    pub fn sending(&self, initiator: bool) -> &EspKeys {
        if initiator { &self.i } else { &self.r }
    }
    pub fn receiving(&self, initiator: bool) -> &EspKeys {
        self.sending(!initiator)
    }
}

//= rfc7296#2.17/keymat: prf+(SK_d, g^ir (new) | Ni | Nr); initiator's direction first, encryption before integrity.
//= rfc9370#2.2.4/keymat: with the secrets of further key exchanges behind.
/// `shared` (the first key exchange's, and that of all others) with PFS only. The nonces are those of the exchange that makes the Child SA.
pub fn child_keys(
    which: Prf,
    sk_d: &[u8],
    shared: Option<(&[u8], &[u8])>,
    ni: &[u8],
    nr: &[u8],
    suite: Suite,
) -> ChildKeys {
    let (shared, more) = shared.unwrap_or_default();
    let seed = [shared, ni, nr, more];
    let mut cut = Cutter::new(prf_plus(which, sk_d, &seed, 2 * suite.keymat_len()));
    let mut direction = || {
        let (cipher, mac) = (suite.encryption(), suite.integrity());
        let encryption = cut.key(cipher.key_len());
        let salt = cut.key(cipher.salt_len());
        let integrity = cut.key(mac.key_len());
        //= rfc4543#5.4/keymat: that of AES-GMAC in AH stands behind its key.
        let salt = if mac.salt_len() > 0 { cut.key(mac.salt_len()) } else { salt };
        EspKeys { encryption, salt, integrity }
    };
    let i = direction();
    ChildKeys { i, r: direction() }
}

/// Takes keys off the front of derived material.
struct Cutter {
    material: Secret,
    at: usize,
}
impl Cutter {
    fn new(material: Secret) -> Self {
        Self { material, at: 0 }
    }
    /// No key asked for is longer than `Key::MAX`, nor all of them than the material.
    fn key(&mut self, len: usize) -> Key {
        let key = self.material.get(self.at..self.at + len).and_then(Key::new);
        self.at += len;
        debug_assert!(key.is_some());
        key.unwrap_or_else(Key::empty)
    }
}
