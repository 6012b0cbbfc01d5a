//! Identities ⇄ ID payloads (RFC 7296 3.5).
use super::numbers::IdType;
use super::payload::Identification;
use crate::api::Id;
use std::fmt::{self, Write};
use std::net::{Ipv4Addr, Ipv6Addr};

/// Why an ID payload names nobody. The exchange fails with AUTHENTICATION_FAILED.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum IdError {
    #[error("{kind} is not an identity type this gateway serves")]
    Type { kind: IdType },
    #[error("{kind} of {len} bytes")]
    Length { kind: IdType, len: usize },
    #[error("{kind} holds characters that no such name has")]
    Text { kind: IdType },
    #[error("the distinguished name is not DER")]
    Der,
}

/// The longest identity accepted.
const MAX_ID: usize = 1024;

impl Identification {
    //= rfc7296#2.15/id-body: RestOfInitIDPayload = IDType | RESERVED | InitIDData.
    /// The payload behind its generic header, as AUTH signs it.
    pub fn body(&self) -> Vec<u8> {
        let mut body = Vec::with_capacity(4 + self.data.len());
        body.push(self.kind.0);
        body.extend(self.reserved);
        body.extend(&self.data);
        body
    }
}

impl From<&Id> for Identification {
    fn from(id: &Id) -> Self {
        let (kind, data) = match id {
            Id::Address(std::net::IpAddr::V4(a)) => (IdType::ID_IPV4_ADDR, a.octets().to_vec()),
            Id::Address(std::net::IpAddr::V6(a)) => (IdType::ID_IPV6_ADDR, a.octets().to_vec()),
            Id::Fqdn(name) => (IdType::ID_FQDN, name.as_bytes().to_vec()),
            Id::UserFqdn(name) => (IdType::ID_RFC822_ADDR, name.as_bytes().to_vec()),
            Id::KeyId(bytes) => (IdType::ID_KEY_ID, bytes.clone()),
            Id::Dn(der) => (IdType::ID_DER_ASN1_DN, der.clone()),
        };
        Self { kind, reserved: [0; 3], data }
    }
}

impl TryFrom<&Identification> for Id {
    type Error = IdError;
    fn try_from(payload: &Identification) -> Result<Self, IdError> {
        let (kind, data) = (payload.kind, payload.data.as_slice());
        let length = || IdError::Length { kind, len: data.len() };
        if data.is_empty() || data.len() > MAX_ID {
            return Err(length());
        }
        match kind {
            IdType::ID_IPV4_ADDR => {
                let octets: [u8; 4] = data.try_into().map_err(|_| length())?;
                Ok(Self::Address(Ipv4Addr::from(octets).into()))
            }
            IdType::ID_IPV6_ADDR => {
                let octets: [u8; 16] = data.try_into().map_err(|_| length())?;
                Ok(Self::Address(Ipv6Addr::from(octets).into()))
            }
            IdType::ID_FQDN => name(kind, data).map(Self::Fqdn),
            IdType::ID_RFC822_ADDR => name(kind, data).map(Self::UserFqdn),
            IdType::ID_KEY_ID => Ok(Self::KeyId(data.to_vec())),
            IdType::ID_DER_ASN1_DN if pki::name::is_name(data) => Ok(Self::Dn(data.to_vec())),
            IdType::ID_DER_ASN1_DN => Err(IdError::Der),
            _ => Err(IdError::Type { kind }),
        }
    }
}

//= rfc7296#3.5/no-terminator: names carry no NUL, CR or the like; we take only what names are made of.
fn name(kind: IdType, data: &[u8]) -> Result<String, IdError> {
    let fits = |b: &u8| b.is_ascii_alphanumeric() || b"-._@+:/=*%".contains(b);
    let text = str::from_utf8(data).ok().filter(|_| data.iter().all(fits));
    text.map(str::to_owned).ok_or(IdError::Text { kind })
}

/// For logs and tables: nothing in it can end a line, a string or a cell.
impl fmt::Display for Id {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address(address) => write!(f, "{address}"),
            Self::Fqdn(name) | Self::UserFqdn(name) => {
                name.escape_default().try_for_each(|c| f.write_char(c))
            }
            Self::KeyId(bytes) => hex(f, "key-id:", bytes),
            Self::Dn(der) => write!(f, "dn:{}", pki::name::text(der)),
        }
    }
}
fn hex(f: &mut fmt::Formatter<'_>, head: &str, bytes: &[u8]) -> fmt::Result {
    f.write_str(head)?;
    bytes.iter().take(32).try_for_each(|b| write!(f, "{b:02x}"))?;
    if bytes.len() > 32 { f.write_str("..") } else { Ok(()) }
}

/// Also for identities that were refused.
impl fmt::Display for Identification {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match Id::try_from(self) {
            Ok(id) => write!(f, "{id}"),
            Err(_) => {
                write!(f, "{}:", self.kind)?;
                let shown = self.data.get(..64).unwrap_or(&self.data);
                write!(f, "{}", shown.escape_ascii())
            }
        }
    }
}
