//! Hashes and signature algorithms as IKE writes them (RFC 7296 3.8, RFC 7427, RFC 8420).
use crate::key::KeyKind;
use openssl::hash::MessageDigest;

/// IANA "IKEv2 Hash Algorithms".
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Hash {
    Sha1 = 1,
    Sha256 = 2,
    Sha384 = 3,
    Sha512 = 4,
    /// The signature algorithm hashes by itself (Ed25519, Ed448).
    Identity = 5,
}
impl Hash {
    pub const ALL: [Self; 5] = [Self::Sha1, Self::Sha256, Self::Sha384, Self::Sha512, Self::Identity];
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sha1 => "SHA-1",
            Self::Sha256 => "SHA-256",
            Self::Sha384 => "SHA-384",
            Self::Sha512 => "SHA-512",
            Self::Identity => "identity (Ed25519, Ed448)",
        }
    }
    /// `None` for `Identity`.
    pub(crate) fn digest(self) -> Option<MessageDigest> {
        match self {
            Self::Sha1 => Some(MessageDigest::sha1()),
            Self::Sha256 => Some(MessageDigest::sha256()),
            Self::Sha384 => Some(MessageDigest::sha384()),
            Self::Sha512 => Some(MessageDigest::sha512()),
            Self::Identity => None,
        }
    }
    pub(crate) const fn len(self) -> u8 {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
            Self::Sha384 => 48,
            Self::Sha512 => 64,
            Self::Identity => 0,
        }
    }
}

/// A set of them: the content of SIGNATURE_HASH_ALGORITHMS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Hashes(u8);
impl Hashes {
    //= rfc8247#3.2/no-sha1: a signature over SHA-1 is not asked for.
    /// What we take, in the order in which we say it.
    pub const OURS: Self = Self(1 << 2 | 1 << 3 | 1 << 4 | 1 << 5);

    pub fn has(self, hash: Hash) -> bool {
        self.0 & 1 << hash as u8 != 0
    }
    /// Numbers we do not know are skipped.
    pub fn from_wire(data: &[u8]) -> Self {
        let numbers = data.chunks_exact(2).map(|c| u16::from_be_bytes([c[0], c[1]]));
        Self(numbers.filter(|n| (1..=5).contains(n)).fold(0, |set, n| set | 1 << n))
    }
    pub fn to_wire(self) -> Vec<u8> {
        Hash::ALL.iter().filter(|h| self.has(**h)).flat_map(|h| (*h as u16).to_be_bytes()).collect()
    }
}
impl FromIterator<Hash> for Hashes {
    fn from_iter<I: IntoIterator<Item = Hash>>(hashes: I) -> Self {
        Self(hashes.into_iter().fold(0, |set, h| set | 1 << h as u8))
    }
}
impl std::fmt::Display for Hashes {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let names: Vec<_> = Hash::ALL.iter().filter(|h| self.has(**h)).map(|h| h.name()).collect();
        if names.is_empty() { f.write_str("none that we know") } else { f.write_str(&names.join(", ")) }
    }
}

/// One way to sign under method 14.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Scheme {
    RsaPkcs1(Hash),
    RsaPss(Hash),
    Ecdsa(Hash),
    Ed25519,
    Ed448,
}
impl Scheme {
    pub(crate) fn name(self) -> String {
        match self {
            Self::RsaPkcs1(hash) => format!("RSASSA-PKCS1-v1_5 with {}", hash.name()),
            Self::RsaPss(hash) => format!("RSASSA-PSS with {}", hash.name()),
            Self::Ecdsa(hash) => format!("ECDSA with {}", hash.name()),
            Self::Ed25519 => "Ed25519".into(),
            Self::Ed448 => "Ed448".into(),
        }
    }
    pub(crate) fn fits(self, kind: KeyKind) -> bool {
        match self {
            Self::RsaPkcs1(_) | Self::RsaPss(_) => matches!(kind, KeyKind::Rsa { .. }),
            Self::Ecdsa(_) => matches!(kind, KeyKind::P256 | KeyKind::P384 | KeyKind::P521),
            Self::Ed25519 => kind == KeyKind::Ed25519,
            Self::Ed448 => kind == KeyKind::Ed448,
        }
    }
    /// Its AlgorithmIdentifier as we send it.
    pub(crate) fn identifier(self) -> Vec<u8> {
        let rsa = |last: u8| vec![0x30, 13, 6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, last, 5, 0];
        let ecdsa = |last: u8| vec![0x30, 10, 6, 8, 0x2a, 0x86, 0x48, 0xce, 0x3d, 4, 3, last];
        match self {
            Self::RsaPkcs1(Hash::Sha256) => rsa(11),
            Self::RsaPkcs1(Hash::Sha384) => rsa(12),
            Self::RsaPkcs1(Hash::Sha512) => rsa(13),
            Self::RsaPkcs1(_) => rsa(5),
            Self::RsaPss(hash) => pss(hash, true, true, false),
            Self::Ecdsa(Hash::Sha384) => ecdsa(3),
            Self::Ecdsa(Hash::Sha512) => ecdsa(4),
            Self::Ecdsa(_) => ecdsa(2),
            Self::Ed25519 => vec![0x30, 5, 6, 3, 0x2b, 101, 112],
            Self::Ed448 => vec![0x30, 5, 6, 3, 0x2b, 101, 113],
        }
    }
    //= rfc7427#3/algorithm: the identifier is compared with every encoding of what is accepted, not interpreted.
    /// `None`: nothing that is accepted here. SHA-1 and PSS whose parts differ are not among them.
    pub(crate) fn from_identifier(bytes: &[u8]) -> Option<Self> {
        const HASHES: [Hash; 3] = [Hash::Sha256, Hash::Sha384, Hash::Sha512];
        for hash in HASHES {
            if Self::Ecdsa(hash).identifier() == bytes {
                return Some(Self::Ecdsa(hash));
            }
            let exact = Self::RsaPkcs1(hash).identifier();
            //= rfc4055#5/null: the parameters may be NULL or absent.
            let absent = [&[0x30, 11][..], exact.get(2..13).unwrap_or_default()].concat();
            if bytes == exact || bytes == absent {
                return Some(Self::RsaPkcs1(hash));
            }
            for bits in 0..8 {
                if pss(hash, bits & 1 == 0, bits & 2 == 0, bits & 4 != 0) == bytes {
                    return Some(Self::RsaPss(hash));
                }
            }
        }
        [Self::Ed25519, Self::Ed448].into_iter().find(|s| s.identifier() == bytes)
    }
}

//= rfc4055#3.1/params: hash, MGF1 with the same hash, a salt as long as the hash; the trailer field is a default.
/// `hash_null`, `mgf_null`: whether the two hashes carry NULL parameters; `trailer`: whether the default is written.
fn pss(hash: Hash, hash_null: bool, mgf_null: bool, trailer: bool) -> Vec<u8> {
    fn tlv(tag: u8, content: &[u8]) -> Vec<u8> {
        let mut out = Vec::new();
        crate::der::push(&mut out, tag, content);
        out
    }
    let last = match hash {
        Hash::Sha384 => 2,
        Hash::Sha512 => 3,
        _ => 1,
    };
    let sha = |null: bool| {
        let mut inside = vec![6, 9, 0x60, 0x86, 0x48, 1, 0x65, 3, 4, 2, last];
        inside.extend(if null { &[5, 0][..] } else { &[] });
        tlv(0x30, &inside)
    };
    let mgf1 = [&[6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 8][..], &sha(mgf_null)].concat();
    let mut params = tlv(0xa0, &sha(hash_null));
    params.extend(tlv(0xa1, &tlv(0x30, &mgf1)));
    params.extend(tlv(0xa2, &[2, 1, hash.len()]));
    if trailer {
        params.extend(tlv(0xa3, &[2, 1, 1]));
    }
    let oid = [6, 9, 0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 1, 10];
    tlv(0x30, &[&oid[..], &tlv(0x30, &params)].concat())
}

//= test rfc7427#A/identifiers
#[test]
fn identifiers_of_rfc_7427_appendix_a() {
    let hex = |text: &str| -> Vec<u8> {
        let digits: Vec<u8> = text.bytes().filter(u8::is_ascii_hexdigit).collect();
        digits.chunks(2).filter_map(|c| u8::from_str_radix(str::from_utf8(c).ok()?, 16).ok()).collect()
    };
    let known = [
        (Scheme::RsaPkcs1(Hash::Sha256), "300d 06092a864886f70d01010b 0500"),
        (Scheme::RsaPkcs1(Hash::Sha384), "300d 06092a864886f70d01010c 0500"),
        (Scheme::RsaPkcs1(Hash::Sha512), "300d 06092a864886f70d01010d 0500"),
        (Scheme::Ecdsa(Hash::Sha256), "300a 06082a8648ce3d040302"),
        (Scheme::Ecdsa(Hash::Sha384), "300a 06082a8648ce3d040303"),
        (Scheme::Ecdsa(Hash::Sha512), "300a 06082a8648ce3d040304"),
        (
            Scheme::RsaPss(Hash::Sha256),
            "3041 06092a864886f70d01010a 3034 a00f 300d 0609608648016503040201 0500
             a11c 301a 06092a864886f70d010108 300d 0609608648016503040201 0500 a203 020120",
        ),
        (Scheme::Ed25519, "3005 06032b6570"),
        (Scheme::Ed448, "3005 06032b6571"),
    ];
    for (scheme, bytes) in known {
        assert_eq!(scheme.identifier(), hex(bytes), "{}", scheme.name());
        assert_eq!(Scheme::from_identifier(&hex(bytes)), Some(scheme));
    }
    // SHA-1, and PSS with its defaults, which are SHA-1 too.
    for refused in
        ["300d 06092a864886f70d010105 0500", "300d 06092a864886f70d01010a 3000", "3009 06072a8648ce3d0401"]
    {
        assert_eq!(Scheme::from_identifier(&hex(refused)), None, "{refused}");
    }
}
