//! The files of certificates and keys that a configuration names, read once: a file is parsed again only when it has
//! changed, and a handshake parses none.
use config::Config;
use config::model::{CertificateFile, Id, Identity, KeyFile, MyId, Proof, RemoteId};
use pki::{Certificate, FileError, PrivateKey, PublicKey, Signer, Trust};
use std::collections::HashMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use zeroize::Zeroizing;

/// Days before its end from which a certificate of ours is complained about.
const SOON: i64 = 30;

/// Something about a file, as a complaint says it: place, what, what to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// `certificate gw` or `ip ipsec key gw`.
    pub path: String,
    pub said: String,
    pub fix: String,
    /// It cannot be used at all.
    pub is_error: bool,
}
impl std::fmt::Display for Problem {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}; {}", self.path, self.said, self.fix)
    }
}

type Loaded<T> = Result<Arc<T>, Arc<str>>;
/// What a configuration's identities use.
#[derive(Clone, Debug, Default)]
pub struct Credentials {
    certificates: HashMap<String, Loaded<Certificate>>,
    /// By the names of `certificate=`.
    signers: HashMap<Vec<String>, Loaded<Signer>>,
    raw_signers: HashMap<String, Loaded<Signer>>,
    raw_keys: HashMap<String, Loaded<PublicKey>>,
    trust: Arc<Trust>,
    pub problems: Vec<Problem>,
}
impl Credentials {
    fn get<T>(found: Option<&Loaded<T>>) -> Loaded<T> {
        found.cloned().unwrap_or_else(|| Err("it is not in the configuration".into()))
    }
    pub fn certificate(&self, name: &str) -> Loaded<Certificate> {
        Self::get(self.certificates.get(name))
    }
    pub fn signer(&self, names: &[String]) -> Loaded<Signer> {
        Self::get(self.signers.get(names))
    }
    pub fn raw_signer(&self, name: &str) -> Loaded<Signer> {
        Self::get(self.raw_signers.get(name))
    }
    pub fn raw_key(&self, name: &str) -> Loaded<PublicKey> {
        Self::get(self.raw_keys.get(name))
    }
    /// Everything with trusted=yes.
    pub fn trust(&self) -> &Arc<Trust> {
        &self.trust
    }
    pub fn errors(&self) -> impl Iterator<Item = &Problem> {
        self.problems.iter().filter(|problem| problem.is_error)
    }
}

/// What tells two versions of a file apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    inode: u64,
    size: u64,
    changed: (i64, i64),
    mode: u32,
}
fn stamp(path: &Path) -> Option<Stamp> {
    let m = std::fs::metadata(path).ok()?;
    Some(Stamp { inode: m.ino(), size: m.size(), changed: (m.mtime(), m.mtime_nsec()), mode: m.mode() })
}
struct Read {
    stamp: Option<Stamp>,
    certificates: Result<Vec<Arc<Certificate>>, Arc<str>>,
    key: Result<Arc<PrivateKey>, Arc<str>>,
    public: Loaded<PublicKey>,
    /// Others than its owner and group may read it, and there is a private key in it.
    is_exposed: bool,
}

/// Files that were read, by path.
#[derive(Default)]
pub struct Files {
    read: HashMap<PathBuf, Read>,
    /// Kept as long as the anchors stay: it knows certificates whose path was verified.
    trust: Arc<Trust>,
}
impl Files {
    /// All that the configuration names, judged at this time (since 1970).
    pub fn load(&mut self, config: &Config, wall: Duration) -> Credentials {
        let (rows, keys) = (&config.ipsec.credentials.certificates, &config.ipsec.credentials.keys);
        let named = rows.iter().flat_map(|row| std::iter::once(&row.file).chain(&row.key_file));
        let named: Vec<PathBuf> = named.chain(keys.iter().map(|row| &row.file)).cloned().collect();
        self.read.retain(|path, _| named.contains(path));
        let mut made = Credentials::default();
        let mut anchors = Vec::new();
        for row in rows {
            let certificate = self.first_certificate(row);
            match &certificate {
                Ok(certificate) => look_at(row, certificate, wall, &mut made.problems),
                Err(said) => made.problems.push(wrong(&row.name, said)),
            }
            anchors.extend(certificate.clone().ok().filter(|_| row.trusted));
            made.certificates.insert(row.name.clone(), certificate);
        }
        if !same(self.trust.anchors(), &anchors) {
            self.trust = Arc::new(Trust::new(anchors));
        }
        made.trust = Arc::clone(&self.trust);
        for (peer, identity) in
            config.ipsec.peers.iter().flat_map(|p| p.identities.iter().map(move |i| (p, i)))
        {
            made.problems.extend(names_in(identity).filter_map(|text| {
                let error = pki::name::from_text(text).err()?;
                let (path, fix) =
                    (format!("ip ipsec identity {}", peer.name), "write dn:CN=gw,O=Example".into());
                Some(Problem { path, said: error.to_string(), fix, is_error: true })
            }));
            self.load_ours(&identity.auth.ours, rows, keys, &mut made);
            if let Proof::Key(name) = &identity.auth.theirs
                && !made.raw_keys.contains_key(name)
            {
                let key = key_row(keys, name).and_then(|row| self.read(&row.file).public.clone());
                if let Err(said) = &key {
                    made.problems.push(wrong_key(name, said));
                }
                made.raw_keys.insert(name.clone(), key);
            }
        }
        for (path, read) in &self.read {
            if read.is_exposed {
                made.problems.push(Problem {
                    path: path.display().to_string(),
                    said: "everybody on this machine can read the private key in it".into(),
                    fix: format!("chmod 600 {}", path.display()),
                    is_error: false,
                });
            }
        }
        made.problems.sort_by(|a, b| (!a.is_error, &a.path).cmp(&(!b.is_error, &b.path)));
        made
    }
    fn load_ours(
        &mut self,
        ours: &Proof,
        rows: &[CertificateFile],
        keys: &[KeyFile],
        made: &mut Credentials,
    ) {
        match ours {
            Proof::Secret(_) => {}
            Proof::Certificate(names) if made.signers.contains_key(names) => {}
            Proof::Certificate(names) => {
                let signer = self.signer(names, rows);
                let own = names.first().map_or("", String::as_str);
                // An unreadable certificate has been complained about.
                if let (Err(said), Some(Ok(_))) = (&signer, made.certificates.get(own)) {
                    made.problems.push(wrong(own, said));
                }
                made.signers.insert(names.clone(), signer);
            }
            Proof::Key(name) if made.raw_signers.contains_key(name) => {}
            Proof::Key(name) => {
                let signer = key_row(keys, name).and_then(|row| {
                    let key = self.private_key(&row.file)?;
                    Signer::new(key, Vec::new()).map(Arc::new).map_err(|e| said(&row.file, e))
                });
                if let Err(said) = &signer {
                    made.problems.push(wrong_key(name, said));
                }
                made.raw_signers.insert(name.clone(), signer);
            }
        }
    }
    fn signer(&mut self, names: &[String], rows: &[CertificateFile]) -> Loaded<Signer> {
        let row = |name: &String| {
            let found = rows.iter().find(|row| row.name == *name);
            found.ok_or_else(|| Arc::<str>::from(format!("there is no certificate `{name}`")))
        };
        let (mut chain, mut key) = (Vec::new(), None);
        for (at, name) in names.iter().enumerate() {
            let row = row(name)?;
            chain.extend(self.read(&row.file).certificates.clone()?);
            if at == 0 {
                let file = row.key_file.as_ref().unwrap_or(&row.file);
                key = Some((file.clone(), self.private_key(file)?));
            }
        }
        let Some((file, key)) = key else { return Err("no certificate of ours is named".into()) };
        let mismatch =
            |_| format!("{}: the private key is not that of the certificate", file.display()).into();
        Signer::new(key, chain).map(Arc::new).map_err(mismatch)
    }
    fn first_certificate(&mut self, row: &CertificateFile) -> Loaded<Certificate> {
        let all = self.read(&row.file).certificates.clone()?;
        all.first().cloned().ok_or_else(|| said(&row.file, FileError::NoCertificate))
    }
    fn private_key(&mut self, file: &Path) -> Result<Arc<PrivateKey>, Arc<str>> {
        self.read(file).key.clone()
    }
    fn read(&mut self, path: &Path) -> &Read {
        let now = stamp(path);
        if self.read.get(path).is_none_or(|read| read.stamp.is_none() || read.stamp != now) {
            self.read.insert(path.to_owned(), read(path, now));
        }
        &self.read[path]
    }
}

/// The same objects: a file that was read again made new ones.
fn same(a: &[Arc<Certificate>], b: &[Arc<Certificate>]) -> bool {
    a.len() == b.len() && a.iter().zip(b).all(|(a, b)| Arc::ptr_eq(a, b))
}
/// What the file of a raw key holds, and whether the private part is there. `None`: no key.
pub fn key_in(path: &Path) -> Option<(PublicKey, bool)> {
    let bytes = Zeroizing::new(std::fs::read(path).ok()?);
    let public = pki::read_public_key(&bytes).ok()?;
    Some((public, pki::read_private_key(&bytes).is_ok()))
}
fn said(path: &Path, why: impl std::fmt::Display) -> Arc<str> {
    format!("{}: {why}", path.display()).into()
}
fn read(path: &Path, stamp: Option<Stamp>) -> Read {
    let bytes = match std::fs::read(path) {
        Ok(bytes) => Zeroizing::new(bytes),
        Err(error) => {
            let why = said(path, error);
            return Read {
                stamp,
                certificates: Err(why.clone()),
                key: Err(why.clone()),
                public: Err(why),
                is_exposed: false,
            };
        }
    };
    let certificates = pki::read_certificates(&bytes);
    let key = pki::read_private_key(&bytes);
    Read {
        is_exposed: (key.is_ok() || key.as_ref().is_err_and(|e| *e == FileError::Encrypted))
            && stamp.is_some_and(|stamp| stamp.mode & 0o004 != 0),
        stamp,
        certificates: certificates
            .map(|all| all.into_iter().map(Arc::new).collect())
            .map_err(|e| said(path, e)),
        key: key.map(Arc::new).map_err(|e| said(path, e)),
        public: pki::read_public_key(&bytes).map(Arc::new).map_err(|e| said(path, e)),
    }
}

/// Distinguished names in it.
fn names_in(identity: &Identity) -> impl Iterator<Item = &str> {
    let of_us = match &identity.my_id {
        MyId::Id(Id::Dn(text)) => Some(text),
        _ => None,
    };
    let of_them = match &identity.remote_id {
        RemoteId::Id(Id::Dn(text)) => Some(text),
        _ => None,
    };
    of_us.into_iter().chain(of_them).map(String::as_str)
}
fn key_row<'a>(keys: &'a [KeyFile], name: &str) -> Result<&'a KeyFile, Arc<str>> {
    let found = keys.iter().find(|row| row.name == name);
    found.ok_or_else(|| Arc::from(format!("there is no key `{name}`")))
}
fn wrong(name: &str, said: &str) -> Problem {
    let fix = "write the path of a PEM file that is there and that the gateway may read";
    Problem { path: format!("certificate {name}"), said: said.into(), fix: fix.into(), is_error: true }
}
fn wrong_key(name: &str, said: &str) -> Problem {
    Problem { path: format!("ip ipsec key {name}"), ..wrong(name, said) }
}
/// What a certificate that can be read is not good for any more.
fn look_at(row: &CertificateFile, certificate: &Certificate, wall: Duration, problems: &mut Vec<Problem>) {
    let mut warn = |said: String, fix: &str| {
        let path = format!("certificate {}", row.name);
        problems.push(Problem { path, said, fix: fix.into(), is_error: false });
    };
    match certificate.valid_at(wall) {
        Err(why) => warn(format!("{}: {why}", certificate.name()), "put a new one in its place"),
        Ok(()) if certificate.days_left(wall) < SOON => {
            warn(format!("{} ends on {}", certificate.name(), certificate.ends()), "renew it in time");
        }
        Ok(()) => {}
    }
    if row.trusted && !certificate.may_sign_others() {
        warn(
            format!(
                "{} has trusted=yes and is no authority (basicConstraints, keyUsage)",
                certificate.name()
            ),
            "name it in remote-certificate instead, if it is a peer's own",
        );
    }
}
