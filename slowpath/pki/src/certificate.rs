//! One certificate: what IKE wants to know of it. Nothing here is believed before `Trust` has verified it.
use crate::der::{self, BIT_STRING, BOOLEAN, Element, INTEGER, OCTET_STRING, OID, Reader, SEQUENCE};
use crate::key::{KeyError, PublicKey};
use crate::name;
use openssl::asn1::Asn1Time;
use openssl::x509::X509;
use std::net::IpAddr;
use std::time::Duration;

/// Longer than any honest certificate.
pub(crate) const MAX_CERTIFICATE: usize = 16 * 1024;
/// Names, purposes or extensions in one certificate.
const MAX_ENTRIES: usize = 256;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CertificateError {
    #[error("of {0} bytes; 16384 are taken at most")]
    Size(usize),
    #[error("not the DER of a certificate")]
    Der,
    #[error("the extension {0} is there twice")]
    Twice(&'static str),
    #[error("the extension {0} is malformed")]
    Extension(&'static str),
    #[error("{0}")]
    Key(#[from] KeyError),
}

/// A subject alternative name of a kind that IKE has.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum San {
    Dns(String),
    Email(String),
    Ip(IpAddr),
    /// DER.
    Directory(Vec<u8>),
}

/// What somebody calls itself.
#[derive(Clone, Copy, Debug)]
pub enum Claimed<'a> {
    Address(IpAddr),
    Fqdn(&'a str),
    Email(&'a str),
    /// DER.
    Dn(&'a [u8]),
    KeyId(&'a [u8]),
}

#[derive(Clone, Debug, Default)]
struct Extensions {
    sans: Vec<San>,
    /// Bits of KeyUsage, the first one highest.
    usage: Option<u8>,
    /// Contents of object identifiers.
    purposes: Option<Vec<Vec<u8>>>,
    /// Whether it may sign others.
    authority: bool,
    key_id: Option<Vec<u8>>,
}

pub struct Certificate {
    der: Vec<u8>,
    digest: [u8; 32],
    pub(crate) x509: X509,
    issuer: Vec<u8>,
    subject: Vec<u8>,
    version: u8,
    key: PublicKey,
    extensions: Extensions,
}

impl Certificate {
    pub fn from_der(bytes: &[u8]) -> Result<Self, CertificateError> {
        if bytes.len() > MAX_CERTIFICATE {
            return Err(CertificateError::Size(bytes.len()));
        }
        if !der::is_well_formed(bytes) {
            return Err(CertificateError::Der);
        }
        let parts = Parts::of(bytes).ok_or(CertificateError::Der)?;
        let extensions = extensions(parts.extensions)?;
        let x509 = X509::from_der(bytes).map_err(|_| CertificateError::Der)?;
        let key = x509.public_key().map_err(|_| KeyError::Unreadable);
        let key = key.and_then(|key| PublicKey::of_certificate(key, parts.spki))?;
        let (issuer, subject) = (parts.issuer.to_vec(), parts.subject.to_vec());
        let (der, digest, version) = (bytes.to_vec(), openssl::sha::sha256(bytes), parts.version);
        Ok(Self { der, digest, x509, issuer, subject, version, key, extensions })
    }
    /// SHA-256 of the DER.
    pub(crate) fn digest(&self) -> &[u8; 32] {
        &self.digest
    }
    pub fn der(&self) -> &[u8] {
        &self.der
    }
    /// DER of the subject's name.
    pub fn subject(&self) -> &[u8] {
        &self.subject
    }
    pub fn issuer(&self) -> &[u8] {
        &self.issuer
    }
    pub fn key(&self) -> &PublicKey {
        &self.key
    }
    pub fn sans(&self) -> &[San] {
        &self.extensions.sans
    }
    /// For people.
    pub fn name(&self) -> String {
        if self.subject.len() <= 2 {
            return self.sans().first().map_or_else(|| "(without a name)".into(), San::to_string);
        }
        name::text(&self.subject)
    }
    pub fn is_self_issued(&self) -> bool {
        name::same(&self.issuer, &self.subject)
    }
    //= rfc5280#6.1.4/authority: a CA says so in basicConstraints of version 3, and may sign certificates.
    pub fn may_sign_others(&self) -> bool {
        self.version == 3 && self.extensions.authority && self.extensions.usage.is_none_or(|u| u & 0x04 != 0)
    }
    //= rfc4945#5.1.3.2/key-usage: digitalSignature or nonRepudiation, if there is a key usage.
    pub(crate) fn may_sign(&self) -> bool {
        self.extensions.usage.is_none_or(|usage| usage & 0xc0 != 0)
    }
    /// The extended key usages as OID contents; `None`: it is for everything.
    pub(crate) fn purposes(&self) -> Option<&[Vec<u8>]> {
        self.extensions.purposes.as_deref()
    }

    //= rfc4945#3.1/types: an address is an iPAddress, an FQDN a dNSName, a user FQDN an rfc822Name, a DN the subject.
    //= rfc4945#3.1.2/no-wildcard: names are compared as a whole; `*` is a character like any other.
    /// Whether it vouches for this name. The common name is never looked at.
    pub fn names(&self, claimed: Claimed<'_>) -> bool {
        let sans = || self.extensions.sans.iter();
        match claimed {
            Claimed::Address(address) => sans().any(|s| matches!(s, San::Ip(ip) if *ip == address)),
            Claimed::Fqdn(name) => {
                sans().any(|s| matches!(s, San::Dns(dns) if dns.eq_ignore_ascii_case(name)))
            }
            Claimed::Email(name) => {
                sans().any(|s| matches!(s, San::Email(email) if same_mailbox(email, name)))
            }
            Claimed::Dn(dn) => {
                name::same(dn, &self.subject)
                    || sans().any(|s| matches!(s, San::Directory(other) if name::same(dn, other)))
            }
            Claimed::KeyId(id) => self.extensions.key_id.as_deref() == Some(id),
        }
    }

    /// Whether it holds at this time (since 1970): `Ok`, or what is wrong about it.
    pub fn valid_at(&self, wall: Duration) -> Result<(), String> {
        let now =
            Asn1Time::from_unix(wall.as_secs().try_into().unwrap_or(i64::MAX)).map_err(|e| e.to_string())?;
        let (from, until) = (self.x509.not_before(), self.x509.not_after());
        match (from.compare(&now), until.compare(&now)) {
            (Ok(from_now), Ok(until_now)) => {
                if from_now.is_gt() {
                    Err(format!("it begins only on {from}"))
                } else if until_now.is_lt() {
                    Err(format!("it ended on {until}"))
                } else {
                    Ok(())
                }
            }
            _ => Err("its dates are malformed".into()),
        }
    }
    /// Days from then until its end; negative when that is over.
    pub fn days_left(&self, wall: Duration) -> i64 {
        let now = Asn1Time::from_unix(wall.as_secs().try_into().unwrap_or(i64::MAX));
        let left = now.ok().and_then(|now| now.diff(self.x509.not_after()).ok());
        left.map_or(0, |left| i64::from(left.days))
    }
    /// As `openssl x509 -enddate` writes it.
    pub fn ends(&self) -> String {
        self.x509.not_after().to_string()
    }
}
impl PartialEq for Certificate {
    fn eq(&self, other: &Self) -> bool {
        self.der == other.der
    }
}
impl Eq for Certificate {}
impl std::fmt::Debug for Certificate {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Certificate({})", self.name())
    }
}
impl std::fmt::Display for San {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Dns(name) => write!(f, "fqdn:{}", name.escape_default()),
            Self::Email(name) => write!(f, "user-fqdn:{}", name.escape_default()),
            Self::Ip(address) => write!(f, "address:{address}"),
            Self::Directory(der) => write!(f, "dn:{}", name::text(der)),
        }
    }
}
//= rfc5280#4.2.1.6/mailbox: the host's part without regard to case, the local part with it.
fn same_mailbox(a: &str, b: &str) -> bool {
    match (a.rsplit_once('@'), b.rsplit_once('@')) {
        (Some((a, a_host)), Some((b, b_host))) => a == b && a_host.eq_ignore_ascii_case(b_host),
        _ => false,
    }
}

struct Parts<'a> {
    version: u8,
    issuer: &'a [u8],
    subject: &'a [u8],
    spki: &'a [u8],
    extensions: &'a [u8],
}
impl<'a> Parts<'a> {
    //= rfc5280#4.1/structure: TBSCertificate, algorithm, signature.
    fn of(bytes: &'a [u8]) -> Option<Self> {
        let mut r = Reader::new(der::only(bytes, SEQUENCE)?);
        let mut tbs = Reader::new(r.expect(SEQUENCE)?);
        r.expect(SEQUENCE)?;
        r.expect(BIT_STRING)?;
        r.is_empty().then_some(())?;
        let version = match tbs.optional(0xa0) {
            None => 1,
            Some(version) => match der::only(version, INTEGER)? {
                [v @ 0..=2] => v + 1,
                _ => return None,
            },
        };
        tbs.expect(INTEGER)?;
        tbs.expect(SEQUENCE)?;
        let sequence =
            |r: &mut Reader<'a>| -> Option<Element<'a>> { r.element().filter(|e| e.tag == SEQUENCE) };
        let issuer = sequence(&mut tbs)?.whole;
        sequence(&mut tbs)?;
        let subject = sequence(&mut tbs)?.whole;
        let spki = sequence(&mut tbs)?.whole;
        (name::is_name(issuer) && name::is_name(subject)).then_some(())?;
        tbs.optional(0x81);
        tbs.optional(0x82);
        let extensions = match tbs.optional(0xa3) {
            Some(list) => der::only(list, SEQUENCE)?,
            None => &[],
        };
        //= rfc5280#4.1.2.9/version: extensions belong to version 3.
        (version == 3 || extensions.is_empty()).then_some(())?;
        tbs.is_empty().then_some(Self { version, issuer, subject, spki, extensions })
    }
}

const KNOWN: [(&[u8], &str); 5] = [
    (&[0x55, 0x1d, 14], "subjectKeyIdentifier"),
    (&[0x55, 0x1d, 15], "keyUsage"),
    (&[0x55, 0x1d, 17], "subjectAltName"),
    (&[0x55, 0x1d, 19], "basicConstraints"),
    (&[0x55, 0x1d, 37], "extKeyUsage"),
];

fn extensions(list: &[u8]) -> Result<Extensions, CertificateError> {
    let mut found = Extensions::default();
    let (mut r, mut seen, mut count) = (Reader::new(list), [false; KNOWN.len()], 0);
    while !r.is_empty() {
        count += 1;
        let read = |r: &mut Reader<'_>| -> Option<(Vec<u8>, Vec<u8>)> {
            let mut extension = Reader::new(r.expect(SEQUENCE)?);
            let oid = extension.expect(OID)?;
            extension.optional(BOOLEAN);
            let value = extension.expect(OCTET_STRING)?;
            extension.is_empty().then(|| (oid.to_vec(), value.to_vec()))
        };
        let (oid, value) = read(&mut r).filter(|_| count <= MAX_ENTRIES).ok_or(CertificateError::Der)?;
        let Some(at) = KNOWN.iter().position(|(known, _)| *known == oid) else { continue };
        let name = KNOWN[at].1;
        //= rfc5280#4.2/once: one extension of a kind.
        if std::mem::replace(&mut seen[at], true) {
            return Err(CertificateError::Twice(name));
        }
        note(&mut found, name, &value).ok_or(CertificateError::Extension(name))?;
    }
    Ok(found)
}
fn note(found: &mut Extensions, name: &str, value: &[u8]) -> Option<()> {
    match name {
        "subjectKeyIdentifier" => found.key_id = Some(der::only(value, OCTET_STRING)?.to_vec()),
        "keyUsage" => {
            let (unused, bits) = der::only(value, BIT_STRING)?.split_first()?;
            (*unused < 8).then_some(())?;
            found.usage = Some(bits.first().copied().unwrap_or(0));
        }
        "basicConstraints" => {
            let authority = Reader::new(der::only(value, SEQUENCE)?).optional(BOOLEAN);
            found.authority = authority.is_some_and(|b| b == [0xff]);
        }
        "extKeyUsage" => {
            let (mut r, mut purposes) = (Reader::new(der::only(value, SEQUENCE)?), Vec::new());
            while !r.is_empty() && purposes.len() < MAX_ENTRIES {
                purposes.push(r.expect(OID)?.to_vec());
            }
            found.purposes = Some(purposes);
        }
        _ => {
            let mut r = Reader::new(der::only(value, SEQUENCE)?);
            while !r.is_empty() && found.sans.len() < MAX_ENTRIES {
                found.sans.extend(san(r.element()?)?);
            }
        }
    }
    Some(())
}
/// `Some(None)`: of a kind that IKE does not have.
fn san(e: Element<'_>) -> Option<Option<San>> {
    // A NUL in a name once made two programs read two names.
    let text = || {
        let fits = e.content.iter().all(|b| b.is_ascii_graphic());
        str::from_utf8(e.content).ok().filter(|_| fits).map(str::to_owned)
    };
    Some(match e.tag {
        0x81 => Some(San::Email(text()?)),
        0x82 => Some(San::Dns(text()?)),
        0x87 => match e.content.len() {
            4 => <[u8; 4]>::try_from(e.content).ok().map(|a| San::Ip(a.into())),
            16 => <[u8; 16]>::try_from(e.content).ok().map(|a| San::Ip(a.into())),
            _ => return None,
        },
        0xa4 if name::is_name(e.content) => Some(San::Directory(e.content.to_vec())),
        0xa4 => return None,
        _ => None,
    })
}
