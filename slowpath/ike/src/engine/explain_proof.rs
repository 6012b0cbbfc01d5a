//! Proofs that fail, in words: which rule, what they presented, what ends it here and there.
use super::explain::{AUTH, id_text, identity_find, my_word};
use crate::api::{Check, Identity, Peer, Proof};
use crate::diagnosis::{Cause, Diagnosis};
use crate::message::{AuthMethod, Authentication, Identification};
use pki::{Refusal, Rule, SignatureError};
use std::net::IpAddr;

/// Why their AUTH payload, or what came with it, proves nothing.
#[derive(Clone)]
pub(crate) enum Problem {
    /// Not the way the identity asks for.
    Method,
    /// Something is wrong here.
    Local(String),
    /// None came; what came in its place.
    NoCertificate(String),
    Unreadable(String),
    /// Of that name, and not the one that is named here.
    OtherCertificate(String),
    Certificate(Refusal),
    Signature(SignatureError),
}
impl From<Refusal> for Problem {
    fn from(refusal: Refusal) -> Self {
        Self::Certificate(refusal)
    }
}
impl From<SignatureError> for Problem {
    fn from(error: SignatureError) -> Self {
        Self::Signature(error)
    }
}

pub(super) fn explain(
    peer: &Peer,
    identity: &Identity,
    id: &Identification,
    auth: Option<&Authentication>,
    problem: Problem,
) -> Diagnosis {
    let theirs = id_text(id);
    let of = |cause, detail: String| {
        let ours = match &identity.auth.theirs {
            Check::Certificate { only: Some(only), .. } => format!("remote-certificate: {}", only.name()),
            Check::Certificate { trust, .. } => authorities(trust),
            other => other.method().into(),
        };
        Diagnosis::new(cause, AUTH).detail(format!("{theirs}; {detail}")).theirs(theirs.clone()).ours(ours)
    };
    let set = |settings: &str| format!("{} {settings}", identity_find(peer, identity));
    match problem {
        Problem::Method | Problem::Signature(SignatureError::Method(_)) => method(peer, identity, id, auth),
        Problem::Local(why) => own(peer, identity, &why),
        Problem::NoCertificate(sent) => of(Cause::CertificateMissing, format!("they sent {sent}"))
            .theirs(sent)
            .fix(set("remote-certificate=\"the name of theirs in /certificate\""))
            .tell("send the certificate with IKE_AUTH, as X.509 (send_cert=always, leftsendcert=always)"),
        Problem::Unreadable(why) => {
            of(Cause::CertificateChain, why).tell("have another certificate made: this one cannot be read")
        }
        Problem::OtherCertificate(name) => of(Cause::CertificateOther, format!("theirs is {name}"))
            .theirs(name)
            .difference("remote-certificate: it is another one, byte by byte")
            .fix(set("remote-certificate=none"))
            .tell("use the certificate that is known here"),
        Problem::Certificate(refusal) => certificate(peer, &refusal, of),
        Problem::Signature(error) => signature(error, of, &set),
    }
}

fn certificate(peer: &Peer, refusal: &Refusal, of: impl Fn(Cause, String) -> Diagnosis) -> Diagnosis {
    let text = refusal.text.clone();
    match refusal.rule {
        Rule::Time => of(Cause::CertificateTime, text)
            .tell("renew the certificate, or look after the clock of whoever is wrong"),
        Rule::UnknownAuthority => of(Cause::CertificateAuthority, text)
            .fix(format!(
                "/certificate add name={}-ca file=\"/path/to/the/authority.pem\" trusted=yes",
                peer.name
            ))
            .tell("send the certificates between yours and the root, or have yours signed by an authority that is known here"),
        Rule::Identity => of(Cause::CertificateIdentity, text.clone())
            .difference(text)
            .tell("call yourself (my-id, leftid, local identifier) what the certificate says, or have that name put into its subjectAltName"),
        Rule::Usage => of(Cause::CertificateUsage, text)
            .tell("have a certificate made with keyUsage=digitalSignature and extendedKeyUsage=ipsecIKE or serverAuth, or without the latter"),
        Rule::Revoked => of(Cause::CertificateRevoked, text).tell("have a new certificate made"),
        Rule::Weak => of(Cause::CertificateChain, text)
            .tell("have a certificate made with a key of 2048 bits or more and SHA-256, all the way to the root"),
        Rule::Chain | Rule::Unreadable | Rule::Other => {
            of(Cause::CertificateChain, text).tell("have the certificate made anew, by the rules of RFC 5280")
        }
    }
}

fn signature(
    error: SignatureError,
    of: impl Fn(Cause, String) -> Diagnosis,
    set: &dyn Fn(&str) -> String,
) -> Diagnosis {
    let text = error.to_string();
    match error {
        SignatureError::Sha1 => of(Cause::SignatureAlgorithm, text)
            .difference("hash: they sign over SHA-1, we take SHA-256, SHA-384, SHA-512")
            .fix(set("allow-sha1=yes"))
            .tell("sign by RFC 7427 with SHA-256 or better (digital signature authentication)"),
        SignatureError::Algorithm(_) => of(Cause::SignatureAlgorithm, text)
            .difference("signature algorithm: we take RSA (PKCS#1 v1.5, or PSS whose salt is as long as the hash), ECDSA, Ed25519, Ed448, over SHA-256, SHA-384, SHA-512")
            .tell("sign with one of these"),
        SignatureError::Wrong => of(Cause::Signature, text)
            .tell("check that private key and certificate there belong together"),
        SignatureError::Key { .. } | SignatureError::Weak(_) | SignatureError::Method(_) => {
            of(Cause::Signature, text).tell("use a key that fits: RSA of 2048 bits or more, ECDSA, Ed25519, Ed448")
        }
    }
}
fn authorities(trust: &pki::Trust) -> String {
    let names: Vec<_> = trust.anchors().iter().take(4).map(|a| a.name()).collect();
    let more = trust.anchors().len().saturating_sub(names.len());
    let more = if more == 0 { String::new() } else { format!(" and {more} more") };
    if names.is_empty() {
        "no certificate is trusted here".into()
    } else {
        format!("trusted: {}{more}", names.join("; "))
    }
}

/// They authenticate in another way than the identity asks for.
fn method(peer: &Peer, identity: &Identity, id: &Identification, auth: Option<&Authentication>) -> Diagnosis {
    let wanted = identity.auth.theirs.method();
    let theirs = auth.map_or_else(|| "EAP (no AUTH payload)".into(), |auth| auth.method.to_string());
    let d = Diagnosis::new(Cause::AuthMethod, AUTH)
        .detail(id_text(id))
        .difference(format!("auth-method: they have {theirs}, we have {wanted}"))
        .theirs(theirs)
        .ours(format!("{wanted} (identity of peer `{}`)", peer.name));
    let d = match auth.map(|auth| auth.method) {
        //= rfc7619#2/null: nobody is let in without proving who it is.
        Some(AuthMethod::NULL_AUTHENTICATION) => {
            d.detail(format!("{}, who wants to prove nothing; that is never accepted", id_text(id)))
        }
        Some(AuthMethod::SHARED_KEY_MIC) => {
            let settings = "remote-auth-method=pre-shared-key secret=\"the secret of the other side\"";
            d.fix(format!("{} {settings}", identity_find(peer, identity)))
        }
        Some(m) if pki_knows(m) && matches!(identity.auth.theirs, Check::Secret(_)) => {
            d.fix(format!("{} remote-auth-method=digital-signature", identity_find(peer, identity)))
        }
        _ => d,
    };
    d.tell(match &identity.auth.theirs {
        Check::Secret(_) => "authenticate with a pre-shared key towards us",
        Check::Key(_) => "authenticate with a signature of the key that is known here",
        Check::Certificate { .. } | Check::Missing(_) => "authenticate with a certificate towards us",
    })
}
fn pki_knows(method: AuthMethod) -> bool {
    matches!(method.0, 1 | 9..=11 | 14)
}

/// We cannot prove or check anything, for a reason of our own.
pub(super) fn own(peer: &Peer, identity: &Identity, why: &str) -> Diagnosis {
    Diagnosis::new(Cause::Local, AUTH)
        .detail(why)
        .ours(format!("{} (identity of peer `{}`)", identity.auth.ours.method(), peer.name))
        .fix("/certificate print detail")
}
/// We cannot sign in a way that they take.
pub(super) fn no_common_hash(peer: &Peer, identity: &Identity, why: &str) -> Diagnosis {
    Diagnosis::new(Cause::SignatureAlgorithm, AUTH)
        .detail(why)
        .ours(format!("{} (identity of peer `{}`)", identity.auth.ours.method(), peer.name))
        .difference(why)
        .tell("take signatures by RFC 7427 over SHA-256, SHA-384 and SHA-512, and for Ed25519 the identity hash")
}
/// What the other side has to have for our proof to convince it.
pub(super) fn needed_there(identity: &Identity, local: IpAddr) -> String {
    let mine = my_word(identity, local);
    match &identity.auth.ours {
        Proof::Signature(signer) => match signer.certificate() {
            Some(own) => format!(
                "trust the authority that issued our certificate ({}); there our identity has to be {mine}, which the certificate has to name",
                pki::name::text(own.issuer())
            ),
            None => format!("have our public key for {mine}"),
        },
        _ => format!(
            "the same secret on both sides, without blanks around it; there our identity has to be {mine}"
        ),
    }
}
