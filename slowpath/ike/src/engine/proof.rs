//! Who proves what in IKE_AUTH, and how it is checked: secrets, signatures, certificates (RFC 7296 2.15, 3.6 to 3.8).
use super::explain;
use super::explain_proof::{self as words, Problem};
use super::ike_sa::IkeSa;
use super::peers::claimed;
use crate::api::{Check, Id, Identity, Peer, Prf, Proof, Psk, RemoteId};
use crate::crypto::{psk_auth, signed_octets, verify_psk_auth};
use crate::diagnosis::Diagnosis;
use crate::message::{
    AuthMethod, Authentication, Certificate, Identification, Message, Notify, NotifyType, Payload,
};
use pki::{Hashes, Role, SignError, Signature};
use std::sync::Arc;
use std::time::Duration;

/// CERT and CERTREQ: "X.509 Certificate - Signature".
const X509: u8 = 4;
/// Authorities of a CERTREQ that are looked at, and that are named in ours: an answer to a stranger stays short.
const MAX_AUTHORITIES: usize = 32;

/// What one end signs.
pub(super) struct Signed<'a> {
    pub first_message: &'a [u8],
    pub their_nonce: &'a [u8],
    pub id: &'a Identification,
}
/// What the peer has said about certificates and signatures before it proves anything.
#[derive(Clone, Debug, Default)]
pub(super) struct Known {
    /// Of its SIGNATURE_HASH_ALGORITHMS.
    pub hashes: Option<Hashes>,
    /// Of its CERTREQs.
    pub authorities: Vec<[u8; 20]>,
}

fn has_keys(peer: &Peer) -> bool {
    let secrets =
        |i: &Identity| matches!((&i.auth.ours, &i.auth.theirs), (Proof::Secret(_), Check::Secret(_)));
    !peer.identities.iter().all(secrets)
}
//= rfc7427#4/notify: both ends say in IKE_SA_INIT which hashes they take.
/// For IKE_SA_INIT, where a key may come into play.
pub(super) fn announce(peer: &Peer) -> Option<Payload> {
    let said = || Notify::new(NotifyType::SIGNATURE_HASH_ALGORITHMS, Hashes::OURS.to_wire());
    has_keys(peer).then(|| Payload::Notify(said()))
}
//= rfc7296#3.7/certreq: the authorities from which a certificate is taken.
/// Whose certificates these identities take.
pub(super) fn ask<'a>(identities: impl Iterator<Item = &'a Identity>) -> Option<Payload> {
    let mut data: Vec<u8> = Vec::new();
    for identity in identities {
        if let Check::Certificate { trust, .. } = &identity.auth.theirs {
            for anchor in trust.anchors() {
                let hash = anchor.key().hash();
                let new = !data.chunks_exact(20).any(|known| known == hash);
                if new && data.len() < MAX_AUTHORITIES * hash.len() {
                    data.extend(hash);
                }
            }
        }
    }
    (!data.is_empty()).then_some(Payload::CertReq(Certificate { encoding: X509, data }))
}
/// Remembers what a message of IKE_SA_INIT or IKE_AUTH says about certificates and signatures.
pub(super) fn learn(known: &mut Known, message: &Message) {
    if let Some(notify) = message.notify(NotifyType::SIGNATURE_HASH_ALGORITHMS) {
        known.hashes = Some(Hashes::from_wire(&notify.data));
    }
    for request in message.certificate_requests().filter(|r| r.encoding == X509) {
        let hashes = request.data.chunks_exact(20).filter_map(|c| <[u8; 20]>::try_from(c).ok());
        for hash in hashes.take(MAX_AUTHORITIES) {
            if known.authorities.len() < MAX_AUTHORITIES && !known.authorities.contains(&hash) {
                known.authorities.push(hash);
            }
        }
    }
}
//= rfc7296#3.6/order: the certificate whose key signs comes first.
/// Sent whether or not they are asked for: clients exist that never ask.
pub(super) fn certificates(identity: &Identity) -> impl Iterator<Item = Payload> {
    let signer = match &identity.auth.ours {
        Proof::Signature(signer) => Some(signer),
        _ => None,
    };
    let all = signer.into_iter().flat_map(|signer| signer.to_send());
    all.take(pki::MAX_CHAIN).map(|c| Payload::Cert(Certificate { encoding: X509, data: c.der().to_vec() }))
}

pub(super) fn sign(sa: &IkeSa, identity: &Identity, s: &Signed<'_>) -> Result<Payload, Box<Diagnosis>> {
    let broken = |why: String| Box::new(words::own(&sa.peer, identity, &why));
    let Some(k) = sa.keys.as_ref() else { return Err(broken("there are no keys yet".into())) };
    let (prf, p) = (k.suite.prf, k.keys.p(sa.initiator).expose());
    let said = sa.int_auth.octets();
    let (method, data) = match &identity.auth.ours {
        Proof::Secret(psk) => {
            let data = psk_auth(prf, psk, p, s.first_message, s.their_nonce, s.id, &said).to_vec();
            (AuthMethod::SHARED_KEY_MIC, data)
        }
        Proof::Signature(signer) => {
            let made = match sa.proven.as_ref().and_then(|proven| proven.signature.clone()) {
                Some(made) => made,
                None => Signing::of(sa, signer, identity, p, s).make(),
            };
            let made = made.map_err(|error| match error {
                SignError::Library(_) | SignError::Mismatch => broken(error.to_string()),
                _ => Box::new(words::no_common_hash(&sa.peer, identity, &error.to_string())),
            })?;
            (AuthMethod(made.method), made.data)
        }
        Proof::Missing(why) => return Err(broken(why.to_string())),
    };
    Ok(Payload::Auth(Authentication { method, data }))
}

/// Everything that a verdict about a signature needs; nothing of the engine.
#[derive(Clone)]
struct Case {
    check: Check,
    /// They need not be who they say.
    any_id: bool,
    ways: pki::Ways,
    id: Option<Id>,
    certificates: Vec<Certificate>,
    signature: Signature,
    octets: Vec<u8>,
    role: Role,
    /// Since 1970, as far as it is known.
    wall: Option<Duration>,
}
impl Case {
    fn judge(&self) -> Result<(), Problem> {
        match &self.check {
            Check::Secret(_) => Err(Problem::Method),
            Check::Missing(why) => Err(Problem::Local(why.to_string())),
            Check::Key(key) => self.verify(key),
            Check::Certificate { trust, only } => {
                let mut received = self.certificates.iter().filter(|c| c.encoding == X509);
                let Some(first) = received.next() else {
                    let only = only.as_ref().ok_or_else(|| Problem::NoCertificate(self.encodings()))?;
                    self.check_leaf(only, true, trust, &[])?;
                    return self.verify(only.key());
                };
                let leaf = trust.read(&first.data).map_err(|error| Problem::Unreadable(error.to_string()))?;
                if only.as_ref().is_some_and(|only| *only != leaf) {
                    return Err(Problem::OtherCertificate(leaf.name()));
                }
                // One between that cannot be read is one that is missing.
                let others: Vec<_> =
                    received.take(pki::MAX_CHAIN).filter_map(|c| trust.read(&c.data).ok()).collect();
                self.check_leaf(&leaf, only.is_some(), trust, &others)?;
                self.verify(leaf.key())
            }
        }
    }
    /// `named`: it is the very one that the configuration names, which needs no authority.
    fn check_leaf(
        &self,
        leaf: &Arc<pki::Certificate>,
        named: bool,
        trust: &pki::Trust,
        others: &[Arc<pki::Certificate>],
    ) -> Result<(), Problem> {
        let wall = self.wall.ok_or_else(|| Problem::Local("the calendar's time is not known".into()))?;
        if named {
            leaf.valid_at(wall).map_err(|why| {
                let text = format!("{}: {why}", leaf.name());
                Problem::Certificate(pki::Refusal { rule: pki::Rule::Time, text })
            })?;
        } else {
            trust.check_path(leaf, others, wall)?;
        }
        leaf.check_usage(self.role)?;
        //= rfc7296#3.5/certified: what they call themselves has to stand in the certificate.
        match &self.id {
            _ if self.any_id => Ok(()),
            Some(id) => Ok(leaf.check_identity(claimed(id))?),
            None => Err(Problem::Unreadable("their identity is not one that a certificate can name".into())),
        }
    }
    fn verify(&self, key: &pki::PublicKey) -> Result<(), Problem> {
        Ok(pki::verify(key, &self.signature, self.ways, &self.octets).map(|_| ())?)
    }
    //= rfc7296#3.6/hash-and-url: never asked for (no HTTP_CERT_LOOKUP_SUPPORTED is sent), so never followed.
    fn encodings(&self) -> String {
        let name = |c: &Certificate| match c.encoding {
            1 => "PKCS#7".to_owned(),
            7 => "a revocation list".into(),
            12 | 13 => "a hash and a URL, which are not followed".into(),
            15 => "a raw key".into(),
            other => format!("encoding {other}"),
        };
        let all: Vec<_> = self.certificates.iter().map(name).collect();
        if all.is_empty() { "nothing".into() } else { all.join(", ") }
    }
}

/// A signature of ours that is to be made.
#[derive(Clone)]
struct Signing {
    signer: Arc<pki::Signer>,
    theirs: Option<Hashes>,
    ways: pki::Ways,
    octets: Vec<u8>,
}
impl Signing {
    /// `p`: our SK_p.
    fn of(sa: &IkeSa, signer: &Arc<pki::Signer>, identity: &Identity, p: &[u8], s: &Signed<'_>) -> Self {
        let prf = sa.keys.as_ref().map_or(Prf::HmacSha256, |k| k.suite.prf);
        let octets = signed_octets(prf, p, s.first_message, s.their_nonce, s.id, &sa.int_auth.octets());
        Self { signer: Arc::clone(signer), theirs: sa.known.hashes, ways: identity.auth.ways, octets }
    }
    fn make(&self) -> Result<Signature, SignError> {
        self.signer.sign(self.theirs, self.ways, &self.octets)
    }
}

/// What of an IKE_AUTH is worth to be computed beside the engine.
#[derive(Clone)]
pub(crate) struct Task {
    theirs: Option<Case>,
    ours: Option<Signing>,
}
/// What has come of it. `None`: it was no part of the task.
#[derive(Clone)]
pub(crate) struct Proven {
    verdict: Option<Result<(), Problem>>,
    signature: Option<Result<Signature, SignError>>,
}
impl Task {
    pub fn run(&self) -> Proven {
        let verdict = self.theirs.as_ref().map(Case::judge);
        // Nothing is signed for somebody who has proven nothing.
        let ours = self.ours.as_ref().filter(|_| !matches!(verdict, Some(Err(_))));
        Proven { signature: ours.map(Signing::make), verdict }
    }
}
/// `None`: there are no signatures in it.
pub(super) fn task(
    sa: &IkeSa,
    identity: &Identity,
    theirs: &Signed<'_>,
    ours: &Signed<'_>,
    message: &Message,
    wall: Option<Duration>,
) -> Option<Task> {
    let p = sa.keys.as_ref()?.keys.p(sa.initiator).expose();
    let ours = match &identity.auth.ours {
        Proof::Signature(signer) => Some(Signing::of(sa, signer, identity, p, ours)),
        _ => None,
    };
    let theirs = match &identity.auth.theirs {
        Check::Certificate { .. } | Check::Key(_) => case(sa, identity, theirs, message, wall),
        _ => None,
    };
    (ours.is_some() || theirs.is_some()).then_some(Task { theirs, ours })
}
/// `None`: they have not signed.
fn case(
    sa: &IkeSa,
    identity: &Identity,
    s: &Signed<'_>,
    message: &Message,
    wall: Option<Duration>,
) -> Option<Case> {
    let (k, auth) = (sa.keys.as_ref()?, message.auth().ok()?);
    let (prf, p) = (k.suite.prf, k.keys.p(!sa.initiator).expose());
    (auth.method != AuthMethod::SHARED_KEY_MIC).then(|| Case {
        check: identity.auth.theirs.clone(),
        any_id: identity.remote_id == RemoteId::Ignore,
        ways: identity.auth.ways,
        id: Id::try_from(s.id).ok(),
        certificates: message.certificates().cloned().collect(),
        signature: Signature { method: auth.method.0, data: auth.data.clone() },
        octets: signed_octets(prf, p, s.first_message, s.their_nonce, s.id, &sa.int_auth.octets()),
        role: if sa.initiator { Role::Responder } else { Role::Initiator },
        wall,
    })
}

/// Whether they have proven to be who the identity is for; if not, why.
pub(super) fn verify(
    sa: &IkeSa,
    identity: &Identity,
    s: &Signed<'_>,
    message: &Message,
    wall: Option<Duration>,
) -> Result<(), Box<Diagnosis>> {
    let auth = message.auth().ok();
    let problem = |problem| Err(Box::new(words::explain(&sa.peer, identity, s.id, auth, problem)));
    let Some(k) = &sa.keys else { return problem(Problem::Method) };
    let (prf, p) = (k.suite.prf, k.keys.p(!sa.initiator).expose());
    let said = sa.int_auth.octets();
    let Some(auth) = auth else { return problem(Problem::Method) };
    match (&identity.auth.theirs, auth.method) {
        (Check::Secret(psk), AuthMethod::SHARED_KEY_MIC) => {
            if verify_psk_auth(prf, psk, p, s.first_message, s.their_nonce, s.id, &said, &auth.data) {
                return Ok(());
            }
            let hint = other_secret(sa, psk, s, auth);
            Err(Box::new(explain::secret(&sa.peer, identity, s.id, hint, sa.local.ip())))
        }
        (_, AuthMethod::SHARED_KEY_MIC) | (Check::Secret(_), _) => problem(Problem::Method),
        _ => {
            let verdict = match sa.proven.as_ref().and_then(|proven| proven.verdict.clone()) {
                Some(verdict) => verdict,
                None => {
                    case(sa, identity, s, message, wall).map_or(Err(Problem::Method), |case| case.judge())
                }
            };
            verdict.or_else(problem)
        }
    }
}

/// Whether a secret fits that is nearly the one of the identity, or that of another identity of the peer.
fn other_secret(sa: &IkeSa, ours: &Psk, s: &Signed<'_>, auth: &Authentication) -> Option<String> {
    /// Each costs two HMACs.
    const TRIED: usize = 16;
    let k = sa.keys.as_ref()?;
    let p = k.keys.p(!sa.initiator).expose();
    let said = sa.int_auth.octets();
    let fits = |psk: &Psk| {
        verify_psk_auth(k.suite.prf, psk, p, s.first_message, s.their_nonce, s.id, &said, &auth.data)
    };
    let trimmed = Psk(ours.0.trim_ascii().to_vec());
    if trimmed.0.len() != ours.0.len() && fits(&trimmed) {
        return Some("theirs fits without the blanks around ours".into());
    }
    for end in ["\n", "\r\n", " "] {
        if fits(&Psk([&ours.0[..], end.as_bytes()].concat())) {
            return Some("theirs is ours with a blank or a line end behind it".into());
        }
    }
    let has_it = |other: &&Identity| matches!(&other.auth.theirs, Check::Secret(psk) if fits(psk));
    let other = sa.peer.identities.iter().take(TRIED).find(has_it)?;
    Some(format!("theirs is the secret of the identity with remote-id={}", explain::remote_word(other)))
}
