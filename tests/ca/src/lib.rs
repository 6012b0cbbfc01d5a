//! Certificates for tests, made on the spot.
use openssl::asn1::Asn1Time;
use openssl::bn::{BigNum, MsbOption};
use openssl::ec::{EcGroup, EcKey};
use openssl::hash::MessageDigest;
use openssl::nid::Nid;
use openssl::pkey::{Id, PKey, Private};
use openssl::rsa::Rsa;
use openssl::x509::extension::{
    BasicConstraints, ExtendedKeyUsage, KeyUsage, SubjectAlternativeName, SubjectKeyIdentifier,
};
use openssl::x509::{X509, X509Builder, X509Name};
use std::time::{SystemTime, UNIX_EPOCH};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Key {
    Rsa(u32),
    P256,
    P384,
    P521,
    Ed25519,
    Ed448,
}
impl Key {
    pub fn make(self) -> PKey<Private> {
        let ec = |nid| {
            PKey::from_ec_key(EcKey::generate(&EcGroup::from_curve_name(nid).unwrap()).unwrap()).unwrap()
        };
        match self {
            Self::Rsa(bits) => PKey::from_rsa(Rsa::generate(bits).unwrap()).unwrap(),
            Self::P256 => ec(Nid::X9_62_PRIME256V1),
            Self::P384 => ec(Nid::SECP384R1),
            Self::P521 => ec(Nid::SECP521R1),
            Self::Ed25519 => PKey::generate_ed25519().unwrap(),
            Self::Ed448 => PKey::generate_ed448().unwrap(),
        }
    }
}

/// A certificate and its key.
#[derive(Clone)]
pub struct Issued {
    pub key: PKey<Private>,
    pub certificate: X509,
}
impl Issued {
    pub fn der(&self) -> Vec<u8> {
        self.certificate.to_der().unwrap()
    }
    pub fn pem(&self) -> Vec<u8> {
        self.certificate.to_pem().unwrap()
    }
    pub fn key_pem(&self) -> Vec<u8> {
        self.key.private_key_to_pem_pkcs8().unwrap()
    }
    pub fn public_pem(&self) -> Vec<u8> {
        self.key.public_key_to_pem().unwrap()
    }
}

/// What is to be certified. Valid from an hour ago for a year unless it says otherwise.
#[derive(Clone, Debug)]
pub struct Wish {
    /// Of the subject.
    pub common_name: String,
    pub key: Key,
    /// `fqdn:`, `user-fqdn:`, `address:`.
    pub names: Vec<String>,
    /// The longest path below it, if it is an authority.
    pub authority: Option<Option<u32>>,
    /// `digitalSignature`, `keyEncipherment`, `keyCertSign`; empty: none at all.
    pub usage: Vec<&'static str>,
    /// `serverAuth`, `clientAuth`, `emailProtection`, or a dotted identifier.
    pub purposes: Vec<&'static str>,
    /// Seconds from now.
    pub from: i64,
    pub until: i64,
}
impl Wish {
    pub fn leaf(common_name: &str, key: Key) -> Self {
        let (usage, purposes) = (vec!["digitalSignature"], Vec::new());
        let (from, until) = (-3600, 365 * 86_400);
        Self {
            common_name: common_name.into(),
            key,
            names: Vec::new(),
            authority: None,
            usage,
            purposes,
            from,
            until,
        }
    }
    pub fn authority(common_name: &str, key: Key) -> Self {
        Self { authority: Some(None), usage: vec!["keyCertSign"], ..Self::leaf(common_name, key) }
    }
    pub fn named(mut self, name: &str) -> Self {
        self.names.push(name.into());
        self
    }
    pub fn purpose(mut self, purpose: &'static str) -> Self {
        self.purposes.push(purpose);
        self
    }
    pub fn valid(self, from: i64, until: i64) -> Self {
        Self { from, until, ..self }
    }
    pub fn self_signed(&self) -> Issued {
        let key = self.key.make();
        let name = self.subject();
        self.issue(key.clone(), &name, &key)
    }
    pub fn by(&self, authority: &Issued) -> Issued {
        self.issue(self.key.make(), &authority.certificate.subject_name().to_owned().unwrap(), &authority.key)
    }
    fn subject(&self) -> X509Name {
        let mut name = X509Name::builder().unwrap();
        name.append_entry_by_text("O", "Tests").unwrap();
        name.append_entry_by_text("CN", &self.common_name).unwrap();
        name.build()
    }
    fn issue(&self, key: PKey<Private>, issuer: &X509Name, by: &PKey<Private>) -> Issued {
        let mut made = X509::builder().unwrap();
        made.set_version(2).unwrap();
        let mut serial = BigNum::new().unwrap();
        serial.rand(120, MsbOption::MAYBE_ZERO, false).unwrap();
        made.set_serial_number(&serial.to_asn1_integer().unwrap()).unwrap();
        made.set_subject_name(&self.subject()).unwrap();
        made.set_issuer_name(issuer).unwrap();
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap().as_secs() as i64;
        made.set_not_before(&Asn1Time::from_unix(now + self.from).unwrap()).unwrap();
        made.set_not_after(&Asn1Time::from_unix(now + self.until).unwrap()).unwrap();
        made.set_pubkey(&key).unwrap();
        self.extend(&mut made);
        let digest = match by.id() {
            Id::ED25519 | Id::ED448 => MessageDigest::null(),
            _ => MessageDigest::sha256(),
        };
        made.sign(by, digest).unwrap();
        Issued { key, certificate: made.build() }
    }
    fn extend(&self, made: &mut X509Builder) {
        if let Some(length) = self.authority {
            let mut constraints = BasicConstraints::new();
            constraints.critical().ca();
            length.map(|n| constraints.pathlen(n));
            made.append_extension(constraints.build().unwrap()).unwrap();
        }
        let id = SubjectKeyIdentifier::new().build(&made.x509v3_context(None, None)).unwrap();
        made.append_extension(id).unwrap();
        if !self.usage.is_empty() {
            let mut usage = KeyUsage::new();
            for name in &self.usage {
                match *name {
                    "digitalSignature" => usage.digital_signature(),
                    "keyEncipherment" => usage.key_encipherment(),
                    "keyCertSign" => usage.key_cert_sign(),
                    other => panic!("no such usage: {other}"),
                };
            }
            made.append_extension(usage.critical().build().unwrap()).unwrap();
        }
        if !self.purposes.is_empty() {
            let mut purposes = ExtendedKeyUsage::new();
            self.purposes.iter().for_each(|name| {
                purposes.other(name);
            });
            made.append_extension(purposes.build().unwrap()).unwrap();
        }
        if !self.names.is_empty() {
            let mut names = SubjectAlternativeName::new();
            for name in &self.names {
                match name.split_once(':') {
                    Some(("fqdn", name)) => names.dns(name),
                    Some(("user-fqdn", name)) => names.email(name),
                    Some(("address", address)) => names.ip(address),
                    _ => panic!("no such name: {name}"),
                };
            }
            let names = names.build(&made.x509v3_context(None, None)).unwrap();
            made.append_extension(names).unwrap();
        }
    }
}
