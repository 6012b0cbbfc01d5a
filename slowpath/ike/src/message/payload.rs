//! The payloads, one value each (RFC 7296 3.3 to 3.16).
use super::numbers::{AuthMethod, IdType, NotifyType, PayloadType, Protocol};
use super::{Proposal, Ts};

#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Payload {
    Sa(Vec<Proposal>),
    Ke(KeyExchange),
    IdI(Identification),
    IdR(Identification),
    Cert(Certificate),
    /// The data is the authorities' hashes.
    CertReq(Certificate),
    Auth(Authentication),
    Nonce(Vec<u8>),
    Notify(Notify),
    Delete(Delete),
    VendorId(Vec<u8>),
    TsI(Vec<Ts>),
    TsR(Vec<Ts>),
    Cp(Configuration),
    Eap(Vec<u8>),
    /// Well framed but wrong inside, in a way that refuses what it asks for and not the message:
    /// SA (NO_PROPOSAL_CHOSEN) and TS (TS_UNACCEPTABLE). Cannot be built into a message.
    Broken {
        kind: PayloadType,
        fault: &'static str,
    },
}
impl Payload {
    pub const fn kind(&self) -> PayloadType {
        match self {
            Self::Sa(_) => PayloadType::SA,
            Self::Ke(_) => PayloadType::KE,
            Self::IdI(_) => PayloadType::IDI,
            Self::IdR(_) => PayloadType::IDR,
            Self::Cert(_) => PayloadType::CERT,
            Self::CertReq(_) => PayloadType::CERTREQ,
            Self::Auth(_) => PayloadType::AUTH,
            Self::Nonce(_) => PayloadType::NONCE,
            Self::Notify(_) => PayloadType::NOTIFY,
            Self::Delete(_) => PayloadType::DELETE,
            Self::VendorId(_) => PayloadType::VENDOR_ID,
            Self::TsI(_) => PayloadType::TSI,
            Self::TsR(_) => PayloadType::TSR,
            Self::Cp(_) => PayloadType::CP,
            Self::Eap(_) => PayloadType::EAP,
            Self::Broken { kind, .. } => *kind,
        }
    }
}

/// RFC 7296 3.4. The value is checked by `crypto::DhPrivate::shared`, which knows the group.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyExchange {
    /// Transform id of the group; see `crypto::group_of`.
    pub group: u16,
    pub data: Vec<u8>,
}

/// RFC 7296 3.5.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Identification {
    pub kind: IdType,
    /// Ignored, but signed as it was sent (RFC 7296 2.15).
    pub reserved: [u8; 3],
    pub data: Vec<u8>,
}

/// RFC 7296 3.6 and 3.7.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    pub encoding: u8,
    pub data: Vec<u8>,
}

/// RFC 7296 3.8.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Authentication {
    pub method: AuthMethod,
    pub data: Vec<u8>,
}

/// RFC 7296 3.10.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notify {
    /// `NONE` unless it is about an SA named by `spi`.
    pub protocol: Protocol,
    pub spi: Vec<u8>,
    pub kind: NotifyType,
    pub data: Vec<u8>,
}
impl Notify {
    pub const fn new(kind: NotifyType, data: Vec<u8>) -> Self {
        Self { protocol: Protocol::NONE, spi: Vec::new(), kind, data }
    }
    /// About a Child SA, named by the SPI its *receiver* put into its own packets' header.
    pub fn about_child(protocol: Protocol, kind: NotifyType, spi: u32) -> Self {
        Self { protocol, spi: spi.to_be_bytes().to_vec(), kind, data: Vec::new() }
    }
    /// The ESP or AH SPI it names.
    pub fn spi32(&self) -> Option<u32> {
        self.spi.as_slice().try_into().ok().map(u32::from_be_bytes)
    }
    /// INVALID_KE_PAYLOAD: the group the peer wants.
    pub fn group(&self) -> Option<u16> {
        self.data.as_slice().try_into().ok().map(u16::from_be_bytes)
    }
}

/// RFC 7296 3.11.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delete {
    /// `IKE` (this very SA, no SPIs), `AH` or `ESP`.
    pub protocol: Protocol,
    pub spis: Vec<u32>,
}

/// RFC 7296 3.15.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Configuration {
    /// 1 REQUEST, 2 REPLY, 3 SET, 4 ACK.
    pub kind: u8,
    pub attributes: Vec<ConfigAttribute>,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigAttribute {
    pub kind: u16,
    pub value: Vec<u8>,
}
