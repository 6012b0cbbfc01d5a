//! Why a negotiation failed, for a person: what happened, both sides' part, the difference, the command that would end
//! it here and what to tell the other side. One failure is one of these.
use crate::engine::Failure;
use std::fmt;

macro_rules! causes {
    ($($variant:ident $name:literal $failure:ident $trust:ident $said:literal;)*) => {
        /// What went wrong. `docs/troubleshooting.md` has a row for each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub enum Cause { $($variant),* }
        impl Cause {
            pub const ALL: &[Self] = &[$(Self::$variant),*];
            /// The same in every version, for programs.
            pub const fn name(self) -> &'static str { match self { $(Self::$variant => $name),* } }
            /// What it is counted as.
            pub const fn failure(self) -> Failure { match self { $(Self::$variant => Failure::$failure),* } }
            /// One sentence.
            pub const fn said(self) -> &'static str { match self { $(Self::$variant => $said),* } }
            /// Whether anyone who can send a packet can cause it, from any address it likes.
            pub const fn by_anyone(self) -> bool { matches!(match self { $(Self::$variant => Trust::$trust),* }, Trust::Nobody) }
        }
    };
}
/// Whose word it rests on.
enum Trust {
    /// A datagram that anyone can have sent.
    Nobody,
    /// Somebody who answers at that address, or we.
    Peer,
}
causes! {
    IkeProposal "ike-proposal" NoProposalChosen Nobody "nothing of what they offer for the IKE SA is accepted here";
    IkeProposalRefused "ike-proposal-refused" NoProposalChosen Nobody "they accept nothing of what we offer for the IKE SA";
    IkeGroupRefused "ike-group-refused" NoProposalChosen Nobody "they want a Diffie-Hellman group that we do not offer";
    IkeKeyExchange "ike-key-exchange" Local Nobody "their Diffie-Hellman value does not belong to its group";
    Rounds "too-many-rounds" TooManyRounds Nobody "they keep asking for another cookie or dh-group";
    NoPeer "no-peer" NoPeer Nobody "a call from an address that no peer has";
    OtherLocal "other-local-address" NoPeer Nobody "the peer calls at another address of ours than its local-address";
    CannotCall "cannot-call" Local Peer "the peer cannot be called";
    Ikev1Call "ikev1-call" Version Nobody "they call with another version of IKE; this gateway speaks IKEv2";
    Ikev1Answer "ikev1-answer" Version Nobody "they answer our call in another version of IKE, or refuse ours";
    NoAnswer "no-answer" NoAnswer Peer "no answer to IKE_SA_INIT";
    NoAnswerAuth "no-answer-auth" NoAnswer Peer "IKE_SA_INIT was answered, but there is no answer to IKE_AUTH";
    HalfOpen "half-open" NoAnswer Nobody "they called and we answered, but their IKE_AUTH has not come";
    Overload "overload" Overload Nobody "many calls at once; whoever is new has to return a cookie first";
    Secret "secret" AuthenticationFailed Peer "they could not prove to have the same secret";
    AuthRefused "auth-refused" AuthenticationFailed Peer "they do not accept who we are or our proof";
    AuthMethod "auth-method" AuthenticationFailed Peer "they authenticate in another way than the identity asks for";
    CertificateMissing "certificate-missing" AuthenticationFailed Peer "they sent no certificate";
    CertificateTime "certificate-time" AuthenticationFailed Peer "their certificate, or one above it, is not valid now";
    CertificateAuthority "certificate-authority" AuthenticationFailed Peer "their certificate leads to no authority that is trusted here";
    CertificateChain "certificate-chain" AuthenticationFailed Peer "their certificate, or one above it, breaks a rule";
    CertificateRevoked "certificate-revoked" AuthenticationFailed Peer "their certificate was taken back";
    CertificateUsage "certificate-usage" AuthenticationFailed Peer "their certificate is not made for this";
    CertificateIdentity "certificate-identity" IdMismatch Peer "what they call themselves is not in their certificate";
    CertificateOther "certificate-other" AuthenticationFailed Peer "they have another certificate than the one that is asked for";
    Signature "signature" AuthenticationFailed Peer "their signature proves nothing";
    SignatureAlgorithm "signature-algorithm" AuthenticationFailed Peer "there is no way to sign that both sides take";
    IdUnknown "id-unknown" IdMismatch Peer "no identity of the peer takes what it calls itself";
    IdAsked "id-asked" IdMismatch Peer "they ask for an identity that is not ours";
    Ts "ts" TsUnacceptable Peer "no policy fits the traffic they ask for";
    TsTaken "ts-taken" TsUnacceptable Peer "the traffic they ask for is that of another policy";
    TsRefused "ts-refused" TsUnacceptable Peer "they have nothing that fits the traffic of our policy";
    TsWider "ts-wider" TsUnacceptable Peer "their answer covers more traffic than our policy";
    ChildProposal "child-proposal" NoProposalChosen Peer "nothing of what they offer for the SA of a policy is accepted here";
    ChildProposalRefused "child-proposal-refused" NoProposalChosen Peer "they accept nothing of what we offer for the SA of a policy";
    Mode "mode" ModeMismatch Peer "one side wants tunnel mode, the other transport mode";
    Unfit "unfit" ModeMismatch Peer "the policy cannot be had between these two ends";
    ConfigRequired "config-required" ChildRefused Peer "they insist on giving out an address (mode-config)";
    Critical "critical" Local Peer "they sent a critical payload that this version does not know";
    CriticalRefused "critical-refused" ChildRefused Nobody "they refuse a payload of ours that they take for critical";
    Malformed "malformed" Local Nobody "their message breaks RFC 7296";
    SyntaxRefused "syntax-refused" ChildRefused Nobody "they say that our message is malformed";
    Refused "refused" ChildRefused Nobody "they refuse, and do not say more than one word";
    TooManySas "too-many-sas" ChildRefused Peer "an IKE SA may not have more SAs than it has";
    NoSlots "no-slots" NoSlots Peer "no free slot for another SA";
    Lifetime "lifetime" Lifetime Peer "the IKE SA reached its lifetime without a successor";
    ChildLifetime "child-lifetime" Lifetime Peer "an SA reached its lifetime without a successor";
    PeerDead "peer-dead" PeerDead Peer "the peer is dead: it answers no more";
    Local "local" Local Peer "something failed here";
}

/// One failed negotiation. Texts are bounded and printable, and hold no secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnosis {
    pub cause: Cause,
    /// `IKE_SA_INIT`, `IKE_AUTH` …
    pub exchange: &'static str,
    /// What is known beyond the cause.
    pub detail: String,
    pub theirs: String,
    pub ours: String,
    /// Where the two first differ.
    pub difference: String,
    /// RouterOS's command that would make it work from our side; empty when none would.
    pub fix_here: String,
    pub tell_them: String,
}

/// Longer than any honest text.
const MOST: usize = 768;
fn bounded(text: impl Into<String>) -> String {
    let mut text = text.into();
    if let Some((end, _)) = text.char_indices().nth(MOST) {
        text.truncate(end);
        text.push('…');
    }
    text
}

impl Diagnosis {
    pub fn new(cause: Cause, exchange: &'static str) -> Self {
        let [detail, theirs, ours, difference, fix_here, tell_them] = [(); 6].map(|()| String::new());
        Self { cause, exchange, detail, theirs, ours, difference, fix_here, tell_them }
    }
    pub fn detail(mut self, text: impl Into<String>) -> Self {
        self.detail = bounded(text);
        self
    }
    pub fn theirs(mut self, text: impl Into<String>) -> Self {
        self.theirs = bounded(text);
        self
    }
    pub fn ours(mut self, text: impl Into<String>) -> Self {
        self.ours = bounded(text);
        self
    }
    pub fn difference(mut self, text: impl Into<String>) -> Self {
        self.difference = bounded(text);
        self
    }
    pub fn fix(mut self, command: impl Into<String>) -> Self {
        self.fix_here = bounded(command);
        self
    }
    pub fn tell(mut self, text: impl Into<String>) -> Self {
        self.tell_them = bounded(text);
        self
    }
    /// The cause's sentence and what is known beyond it.
    pub fn said(&self) -> String {
        match self.detail.as_str() {
            "" => self.cause.said().to_owned(),
            detail => format!("{}: {detail}", self.cause.said()),
        }
    }
}
/// One line of a log.
impl fmt::Display for Diagnosis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.exchange, self.said())?;
        let parts = [
            ("they", &self.theirs),
            ("we", &self.ours),
            ("difference", &self.difference),
            ("here", &self.fix_here),
            ("there", &self.tell_them),
        ];
        for (name, text) in parts.iter().filter(|(_, text)| !text.is_empty()) {
            write!(f, "; {name}: {text}")?;
        }
        write!(f, " [{}]", self.cause.name())
    }
}

/// A value as the console reads it.
pub fn word(text: &str) -> String {
    let plain = |b: u8| b.is_ascii_alphanumeric() || b"-_.,:/*@%+".contains(&b);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    let mut quoted = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' | '$' | '?' => quoted.extend(['\\', c]),
            c if c.is_control() => quoted.push('_'),
            c => quoted.push(c),
        }
    }
    quoted.push('"');
    quoted
}
