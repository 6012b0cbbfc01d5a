//! Addresses and address ranges.
use super::Malformed;
use sa::AddrRange;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

#[repr(C)]
#[derive(Clone, Copy, PartialEq, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct AddrRecord {
    /// 4 or 6.
    family: u32,
    bytes: [u8; 16],
}
const _: () = assert!(size_of::<AddrRecord>() == 20);

impl AddrRecord {
    pub const ZERO: Self = Self { family: 0, bytes: [0; 16] };
    pub fn decode(&self) -> Result<IpAddr, Malformed> {
        let [a, b, c, d, ..] = self.bytes;
        match self.family {
            4 => Ok(Ipv4Addr::new(a, b, c, d).into()),
            6 => Ok(Ipv6Addr::from(self.bytes).into()),
            _ => Err(Malformed("address family")),
        }
    }
}
impl From<IpAddr> for AddrRecord {
    fn from(addr: IpAddr) -> Self {
        match addr {
            IpAddr::V4(a) => {
                let [a, b, c, d] = a.octets();
                Self { family: 4, bytes: [a, b, c, d, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0] }
            }
            IpAddr::V6(a) => Self { family: 6, bytes: a.octets() },
        }
    }
}

#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub struct SocketRecord {
    addr: AddrRecord,
    /// Interface of a link-local address.
    scope: u32,
    port: u32,
}
const _: () = assert!(size_of::<SocketRecord>() == 28);

impl SocketRecord {
    pub const ZERO: Self = Self { addr: AddrRecord::ZERO, scope: 0, port: 0 };
    pub fn decode(&self) -> Result<SocketAddr, Malformed> {
        let port = u16::try_from(self.port).map_err(|_| Malformed("port"))?;
        let mut socket = SocketAddr::new(self.addr.decode()?, port);
        if let SocketAddr::V6(v6) = &mut socket {
            v6.set_scope_id(self.scope);
        }
        Ok(socket)
    }
}
impl From<SocketAddr> for SocketRecord {
    fn from(socket: SocketAddr) -> Self {
        let scope = if let SocketAddr::V6(v6) = socket { v6.scope_id() } else { 0 };
        Self { addr: socket.ip().into(), scope, port: socket.port().into() }
    }
}

pub(super) fn range(first: &AddrRecord, last: &AddrRecord) -> Result<AddrRange, Malformed> {
    AddrRange::new(first.decode()?, last.decode()?).ok_or(Malformed("address range"))
}
