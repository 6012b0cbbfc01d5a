//! From a peer's certificate to an authority that is trusted here: OpenSSL finds and checks the path (RFC 5280 6.1),
//! the rules IKE adds are ours (RFC 4945).
use crate::certificate::{Certificate, CertificateError, Claimed};
use crate::known::{Cache, Known};
use openssl::error::ErrorStack;
use openssl::stack::Stack;
use openssl::x509::store::X509StoreBuilder;
use openssl::x509::verify::{X509VerifyFlags, X509VerifyParam};
use openssl::x509::{X509, X509StoreContext, X509StoreContextRef};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// Certificates of one peer that are looked at, and so the longest path.
pub const MAX_CHAIN: usize = 8;

/// Which rule a certificate does not meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Rule {
    Unreadable,
    /// Not yet or no more valid, itself or one above it.
    Time,
    UnknownAuthority,
    /// A signature, a constraint, an extension on the way to the authority.
    Chain,
    /// Too short a key, or a broken hash.
    Weak,
    Revoked,
    /// Key usage, extended key usage.
    Usage,
    /// It does not vouch for what they call themselves.
    Identity,
    /// Not the very one that is asked for.
    Other,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    pub rule: Rule,
    pub text: String,
}
fn refuse<T>(rule: Rule, text: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal { rule, text: text.into() })
}

/// What the peer is in this exchange.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// It called us.
    Initiator,
    /// We called it.
    Responder,
}

/// Who knows of certificates that were taken back.
pub trait Revocation: Send + Sync {
    /// Why this certificate, which `issuer` has signed, holds no more at that time.
    fn revoked(&self, certificate: &Certificate, issuer: &Certificate, wall: Duration) -> Option<String>;
}

/// Whom we believe.
#[derive(Clone, Default)]
pub struct Trust {
    anchors: Vec<Arc<Certificate>>,
    revocation: Option<Arc<dyn Revocation>>,
    weak: bool,
    /// What these anchors and this `weak` have let pass.
    known: Arc<Mutex<Cache>>,
}
impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(&self.anchors).finish()
    }
}
impl Trust {
    pub fn new(anchors: Vec<Arc<Certificate>>) -> Self {
        Self { anchors, ..Self::default() }
    }
    pub fn with_revocation(self, revocation: Arc<dyn Revocation>) -> Self {
        Self { revocation: Some(revocation), ..self }
    }
    /// Also believes SHA-1 and short keys of authorities: for certificates older than the rule.
    pub fn with_weak_signatures(self) -> Self {
        Self { weak: true, known: Arc::default(), ..self }
    }
    pub fn anchors(&self) -> &[Arc<Certificate>] {
        &self.anchors
    }
    //= rfc7296#3.7/authority: SHA-1 of the trust anchors' SubjectPublicKeyInfo, one after the other.
    /// Content of a CERTREQ payload.
    pub fn authorities(&self) -> Vec<u8> {
        self.anchors.iter().flat_map(|anchor| anchor.key().hash()).collect()
    }

    /// A certificate that has come in a message: one whose path was verified is not parsed again.
    pub fn read(&self, der: &[u8]) -> Result<Arc<Certificate>, CertificateError> {
        match self.cache(|cache| cache.get(&openssl::sha::sha256(der))) {
            Some(known) => Ok(known.certificate),
            None => Certificate::from_der(der).map(Arc::new),
        }
    }
    fn cache<R>(&self, work: impl FnOnce(&mut Cache) -> R) -> R {
        work(&mut self.known.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether `leaf` leads to an anchor at this time (since 1970), by way of `others`. Signatures that were found right stay
    /// right; times and revocation are looked at each time, and whatever does not pass is judged as if it were new.
    pub fn check_path(
        &self,
        leaf: &Arc<Certificate>,
        others: &[Arc<Certificate>],
        wall: Duration,
    ) -> Result<(), Refusal> {
        if let Some(known) = self.cache(|cache| cache.get(leaf.digest()))
            && let Some(issuers) = &known.issuers
            && known.holds_at(wall)
            && self.check_authorities(leaf, issuers, wall).is_ok()
        {
            return Ok(());
        }
        let issuers: Arc<[_]> = self.find_path(leaf, others, wall)?.into();
        self.check_authorities(leaf, &issuers, wall)?;
        self.cache(|cache| {
            issuers.iter().for_each(|issuer| cache.put_authority(issuer));
            cache.put(Known { certificate: Arc::clone(leaf), issuers: Some(issuers) });
        });
        Ok(())
    }
    /// Those above `leaf`, the anchor last.
    fn find_path(
        &self,
        leaf: &Certificate,
        others: &[Arc<Certificate>],
        wall: Duration,
    ) -> Result<Vec<Arc<Certificate>>, Refusal> {
        if self.anchors.is_empty() {
            let text = "no authority is trusted here at all";
            return refuse(Rule::UnknownAuthority, text);
        }
        let verdict =
            self.verify(leaf, others, wall).or_else(|error| refuse(Rule::Chain, error.to_string()))?;
        let chain = match verdict {
            Verdict::Path(chain) => chain,
            Verdict::Failed(code, at, text) => return Err(failed(code, at, &text, leaf, wall)),
        };
        let parsed = |x: &X509| {
            let der = x.to_der().unwrap_or_default();
            let ours = self.anchors.iter().chain(others).find(|c| c.der() == der).cloned();
            ours.map_or_else(|| Certificate::from_der(&der).map(Arc::new), Ok)
                .or_else(|e| refuse(Rule::Chain, format!("a certificate above it is {e}")))
        };
        chain.iter().skip(1).map(parsed).collect()
    }
    fn verify(
        &self,
        leaf: &Certificate,
        others: &[Arc<Certificate>],
        wall: Duration,
    ) -> Result<Verdict, ErrorStack> {
        let mut param = X509VerifyParam::new()?;
        // An anchor need not be a root: whatever was named as trusted ends the path.
        //= rfc5280#6.1.5/policies: an authority may ask that the path below it names its policies.
        let policies = X509VerifyFlags::POLICY_CHECK;
        param.set_flags(X509VerifyFlags::PARTIAL_CHAIN | X509VerifyFlags::TRUSTED_FIRST | policies)?;
        param.set_time(wall.as_secs().try_into().unwrap_or(i64::MAX));
        param.set_depth(MAX_CHAIN as i32);
        // 112 bits: no SHA-1, no RSA below 2048.
        param.set_auth_level(if self.weak { 0 } else { 2 });
        let mut store = X509StoreBuilder::new()?;
        for anchor in &self.anchors {
            store.add_cert(anchor.x509.clone())?;
        }
        store.set_param(&param)?;
        let mut untrusted = Stack::new()?;
        for other in others.iter().take(MAX_CHAIN) {
            untrusted.push(other.x509.clone())?;
        }
        let read = |ctx: &mut X509StoreContextRef| -> Result<Verdict, ErrorStack> {
            if ctx.verify_cert()? {
                let chain = ctx.chain().map(|c| c.iter().map(ToOwned::to_owned).collect());
                return Ok(Verdict::Path(chain.unwrap_or_default()));
            }
            let (error, at) = (ctx.error(), ctx.error_depth());
            Ok(Verdict::Failed(error.as_raw(), at, error.error_string().to_owned()))
        };
        X509StoreContext::new()?.init(&store.build(), &leaf.x509, &untrusted, read)
    }
    /// What OpenSSL lets pass for the sake of old authorities, and what has been taken back.
    fn check_authorities(
        &self,
        leaf: &Certificate,
        path: &[Arc<Certificate>],
        wall: Duration,
    ) -> Result<(), Refusal> {
        for issuer in path {
            let is_anchor = self.anchors.iter().any(|anchor| anchor == issuer);
            if !is_anchor && !issuer.may_sign_others() {
                return refuse(
                    Rule::Chain,
                    format!("{} is no authority (basicConstraints, keyUsage)", issuer.name()),
                );
            }
        }
        let Some(revocation) = &self.revocation else { return Ok(()) };
        let certificates = std::iter::once(leaf).chain(path.iter().map(|c| &**c));
        for (certificate, issuer) in certificates.zip(path) {
            if let Some(why) = revocation.revoked(certificate, issuer, wall) {
                return refuse(Rule::Revoked, format!("{}: {why}", certificate.name()));
            }
        }
        Ok(())
    }
}
enum Verdict {
    Path(Vec<X509>),
    /// OpenSSL's code, how far above the leaf, its words.
    Failed(i32, u32, String),
}

fn failed(code: i32, at: u32, text: &str, leaf: &Certificate, wall: Duration) -> Refusal {
    let which = if at == 0 { leaf.name() } else { format!("an authority {at} above {}", leaf.name()) };
    // Numbers of X509_V_ERR_*, which never change.
    let rule = match code {
        9 | 10 | 13 | 14 => Rule::Time,
        2 | 18 | 19 | 20 | 21 | 27 | 28 => Rule::UnknownAuthority,
        23 => Rule::Revoked,
        66..=68 => Rule::Weak,
        _ => Rule::Chain,
    };
    let text = match (rule, at) {
        (Rule::Time, 0) => leaf.valid_at(wall).err().unwrap_or_else(|| text.to_owned()),
        (Rule::UnknownAuthority, _) => format!("it was issued by {}", crate::name::text(leaf.issuer())),
        _ => text.to_owned(),
    };
    Refusal { rule, text: format!("{which}: {text}") }
}

/// id-kp below 1.3.6.1.5.5.7.3, as content of an OID.
const fn purpose(last: u8) -> [u8; 8] {
    [0x2b, 6, 1, 5, 5, 7, 3, last]
}
const ANY_PURPOSE: &[u8] = &[0x55, 0x1d, 37, 0];
/// iKEIntermediate, which Apple and Cisco know.
const IKE_INTERMEDIATE: &[u8] = &[0x2b, 6, 1, 5, 5, 8, 2, 2];
const SERVER: [u8; 8] = purpose(1);
const CLIENT: [u8; 8] = purpose(2);
/// ipsecEndSystem, ipsecTunnel, ipsecUser, ipsecIKE.
const IPSEC: [[u8; 8]; 4] = [purpose(5), purpose(6), purpose(7), purpose(17)];

impl Certificate {
    //= rfc4945#5.1.3.12/eku: without extended key usage it is for everything; with it, for IKE or for anything.
    /// Whether it is for this: a client's certificate (tls-client) does not make its holder a gateway one can call.
    pub fn check_usage(&self, role: Role) -> Result<(), Refusal> {
        if !self.may_sign() {
            let text = "its key usage has neither digitalSignature nor nonRepudiation";
            return refuse(Rule::Usage, format!("{}: {text}", self.name()));
        }
        let fits = |oid: &Vec<u8>| {
            let oid = oid.as_slice();
            oid == ANY_PURPOSE
                || oid == IKE_INTERMEDIATE
                || oid == SERVER
                || (oid == CLIENT && role == Role::Initiator)
                || IPSEC.iter().any(|known| oid == known)
        };
        if self.purposes().is_none_or(|all| all.iter().any(fits)) {
            return Ok(());
        }
        let wanted = match role {
            Role::Initiator => "ipsecIKE, clientAuth or serverAuth",
            Role::Responder => "ipsecIKE or serverAuth",
        };
        refuse(Rule::Usage, format!("{}: its extended key usage has not {wanted}", self.name()))
    }
    pub fn check_identity(&self, claimed: Claimed<'_>) -> Result<(), Refusal> {
        if self.names(claimed) {
            return Ok(());
        }
        let sans: Vec<_> = self.sans().iter().take(8).map(ToString::to_string).collect();
        let sans = if sans.is_empty() { "no subjectAltName".into() } else { sans.join(", ") };
        refuse(Rule::Identity, format!("it is for dn:{}, {sans}", self.name()))
    }
}
