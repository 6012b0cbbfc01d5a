//! Bytes ⇄ IKEv2 messages (RFC 7296 3). In: a UDP payload without the non-ESP marker; out: a
//! [`Message`] of small owned values, or a [`ParseError`] that knows its notify.
//!
//! Parsing is total and O(length); every limit is checked before anything is stored. What a person must be
//! told in detail (SA, TS) or what must not end the exchange arrives as [`Payload::Broken`]. Building
//! only appends, so nothing that was not written here is ever sent.
mod build;
mod differ;
mod error;
mod id;
mod numbers;
mod parse;
mod payload;
mod proposal;
mod select;
mod sk;
mod ts;
mod wire;

pub use differ::{Difference, Mismatch, describe_esp, describe_ike, group_name};
pub use error::{Blame, OpenError, ParseError};
pub use id::IdError;
pub use numbers::{AuthMethod, ExchangeType, IdType, NotifyType, PayloadType, Protocol, TransformType};
pub use parse::{MAX_PAYLOADS, parse_clear, parse_header};
pub use payload::{
    Authentication, Certificate, ConfigAttribute, Configuration, Delete, Identification, KeyExchange, Notify,
    Payload,
};
pub use proposal::{Proposal, Transform};
pub use select::{
    ChosenEsp, ChosenIke, EspWishes, confirm_esp, confirm_ike, offer_esp, offer_ike, select_esp, select_ike,
};
pub use sk::{Fragment, Inner, MAX_FRAGMENTS, open, open_inner, seal};
pub use ts::{Ts, narrow, split, within};

/// Bytes of the fixed IKE header.
pub const HEADER_LEN: usize = 28;

/// RFC 7296 3.1 without what only the bytes know (length, next payload).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Header {
    pub spi_i: u64,
    /// 0 in the first message of an IKE SA.
    pub spi_r: u64,
    pub exchange: ExchangeType,
    /// The sender is the original initiator of the IKE SA.
    pub initiator: bool,
    pub response: bool,
    pub message_id: u32,
}

/// What the fixed header of a datagram says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ParsedHeader {
    pub header: Header,
    pub first: PayloadType,
}
impl ParsedHeader {
    pub fn is_protected(&self) -> bool {
        matches!(self.first, PayloadType::SK | PayloadType::SKF)
    }
}

/// A message in clear: before keys existed, or decrypted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Message {
    pub header: Header,
    /// In the order they were sent. Unknown payloads that are not critical have been skipped.
    pub payloads: Vec<Payload>,
}

macro_rules! accessors {
    ($($(#[$doc:meta])* $name:ident: $variant:ident -> $out:ty, $kind:ident;)*) => {
        $($(#[$doc])*
        pub fn $name(&self) -> Result<&$out, ParseError> {
            self.required(PayloadType::$kind, |p| match p { Payload::$variant(x) => Some(x), _ => None })
        })*
    };
}
impl Message {
    pub fn new(header: Header, payloads: Vec<Payload>) -> Self {
        Self { header, payloads }
    }
    fn required<'a, T: ?Sized>(
        &'a self,
        kind: PayloadType,
        pick: impl Fn(&'a Payload) -> Option<&'a T>,
    ) -> Result<&'a T, ParseError> {
        for payload in &self.payloads {
            if let Payload::Broken { kind: broken, fault } = payload
                && *broken == kind
            {
                return Err(ParseError::Payload { kind, fault });
            }
            if let Some(found) = pick(payload) {
                return Ok(found);
            }
        }
        Err(ParseError::Missing(kind))
    }
    accessors! {
        /// `Missing` or `Payload` when there is none that can be used; so for all of these.
        sa: Sa -> Vec<Proposal>, SA;
        ke: Ke -> KeyExchange, KE;
        nonce: Nonce -> Vec<u8>, NONCE;
        id_i: IdI -> Identification, IDI;
        id_r: IdR -> Identification, IDR;
        auth: Auth -> Authentication, AUTH;
        ts_i: TsI -> Vec<Ts>, TSI;
        ts_r: TsR -> Vec<Ts>, TSR;
        cp: Cp -> Configuration, CP;
        eap: Eap -> Vec<u8>, EAP;
    }
    pub fn has(&self, kind: PayloadType) -> bool {
        self.payloads.iter().any(|p| p.kind() == kind)
    }
    pub fn notifies(&self) -> impl Iterator<Item = &Notify> {
        self.payloads.iter().filter_map(|p| if let Payload::Notify(n) = p { Some(n) } else { None })
    }
    pub fn notify(&self, kind: NotifyType) -> Option<&Notify> {
        self.notifies().find(|n| n.kind == kind)
    }
    /// The first notify that reports an error.
    pub fn error(&self) -> Option<&Notify> {
        self.notifies().find(|n| n.kind.is_error())
    }
    /// In their order; the first is the one whose key signs.
    pub fn certificates(&self) -> impl Iterator<Item = &Certificate> {
        self.payloads.iter().filter_map(|p| if let Payload::Cert(c) = p { Some(c) } else { None })
    }
    pub fn certificate_requests(&self) -> impl Iterator<Item = &Certificate> {
        self.payloads.iter().filter_map(|p| if let Payload::CertReq(c) = p { Some(c) } else { None })
    }
    pub fn deletes(&self) -> impl Iterator<Item = &Delete> {
        self.payloads.iter().filter_map(|p| if let Payload::Delete(d) = p { Some(d) } else { None })
    }
    /// The bytes of a message that is not encrypted (IKE_SA_INIT and notifies outside an SA).
    pub fn to_bytes(&self) -> Vec<u8> {
        build::clear(self)
    }
}
