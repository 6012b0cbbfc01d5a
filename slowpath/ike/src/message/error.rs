//! Why a message was refused, whose fault it is, and what (if anything) the sender is told.
use super::numbers::{NotifyType, PayloadType};
use super::{Header, Notify};

/// Who would have to change something for the message to pass.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// Not an IKEv2 message of this length at all: noise, an attack, a damaged packet.
    Noise,
    /// The sender breaks RFC 7296.
    Sender,
    /// The sender may be right; it asks for what we do not have.
    Us,
}

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ParseError {
    #[error("not an IKE message: {0}")]
    NotIke(&'static str),
    #[error("IKE major version {major}; this is IKEv2")]
    MajorVersion { header: Header, major: u8 },
    /// The chain of payloads breaks at this one.
    #[error("payload {kind}: {fault}")]
    Framing { kind: PayloadType, fault: &'static str },
    /// This one is framed well and wrong inside.
    #[error("payload {kind}: {fault}")]
    Payload { kind: PayloadType, fault: &'static str },
    #[error("no {0} payload")]
    Missing(PayloadType),
    #[error("more {0} payloads than a message may carry")]
    TooMany(PayloadType),
    #[error("payload type {0} belongs to IKEv1")]
    Ikev1Payload(u8),
    #[error("payload type {0} is critical to the sender and unknown here")]
    Critical(PayloadType),
    #[error("the message is encrypted where one in clear was expected")]
    Protected,
}

impl ParseError {
    pub const fn blame(&self) -> Blame {
        match self {
            Self::NotIke(_) => Blame::Noise,
            Self::MajorVersion { .. } | Self::Critical(_) => Blame::Us,
            _ => Blame::Sender,
        }
    }
    /// The one place that turns a refusal into what the sender is told. `authentic`: the message passed its
    /// ICV; before that almost everything is silent, since anyone can have sent it.
    pub fn notify(&self, authentic: bool) -> Option<Notify> {
        let (kind, data) = match self {
            //= rfc7296#2.5/major-version: a higher version is dropped and told so, unauthenticated, once.
            Self::MajorVersion { header, major } if *major > 2 && !header.response => {
                (NotifyType::INVALID_MAJOR_VERSION, vec![])
            }
            //= rfc7296#2.5/critical: the type we do not know is the notification data.
            Self::Critical(kind) => (NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![kind.0]),
            Self::Payload { kind: PayloadType::SA, .. } => (NotifyType::NO_PROPOSAL_CHOSEN, vec![]),
            Self::Payload { kind: PayloadType::TSI | PayloadType::TSR, .. } if authentic => {
                (NotifyType::TS_UNACCEPTABLE, vec![])
            }
            Self::NotIke(_) | Self::MajorVersion { .. } => return None,
            _ if authentic => (NotifyType::INVALID_SYNTAX, vec![]),
            _ => return None,
        };
        Some(Notify::new(kind, data))
    }
}

/// Why an encrypted message was not opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum OpenError {
    /// The outside is wrong; nothing was decrypted. Silent.
    #[error(transparent)]
    Outside(ParseError),
    /// Not from the holder of the keys. Silent; the message id is not used up.
    #[error("the ICV does not match")]
    Icv,
    //= rfc7296#2.21.3/broken-inside: an authenticated message that does not parse is fatal to its IKE SA.
    /// The peer sent it, and it is broken. INVALID_SYNTAX (or as the error says), and the IKE SA ends.
    #[error("inside the encrypted payload: {0}")]
    Inside(ParseError),
}
impl OpenError {
    pub fn notify(&self) -> Option<Notify> {
        match self {
            Self::Inside(error) => error.notify(true),
            Self::Outside(_) | Self::Icv => None,
        }
    }
}
