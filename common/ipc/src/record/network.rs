//! Addresses and routes.
use super::{Malformed, Unfit, addr::AddrRecord};
use crate::contract::{Command, Via};
use crate::layout::INTERFACE_NAME_BYTES;
use sa::Prefix;
use std::net::IpAddr;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// An address with its interface, or a destination with its way.
#[repr(C)]
#[derive(Clone, Copy, FromBytes, IntoBytes, Immutable, KnownLayout)]
pub(super) struct NetworkRecord {
    /// Zeros behind the name.
    interface: [u8; INTERFACE_NAME_BYTES],
    address: AddrRecord,
    prefix_len: u32,
    gateway: AddrRecord,
    via: u32,
}

const BLACKHOLE: u32 = 0;
const LINK: u32 = 1;
const GATEWAY: u32 = 2;

impl NetworkRecord {
    fn new(interface: &str, address: IpAddr, prefix_len: u8) -> Result<Self, Unfit> {
        let mut name = [0; INTERFACE_NAME_BYTES];
        let room = name.get_mut(..interface.len()).ok_or(Unfit::InterfaceName(interface.len()))?;
        room.copy_from_slice(interface.as_bytes());
        let prefix_len = prefix_len.into();
        Ok(Self {
            interface: name,
            address: address.into(),
            prefix_len,
            gateway: AddrRecord::ZERO,
            via: LINK,
        })
    }
    pub fn address(interface: &str, address: IpAddr, prefix_len: u8) -> Result<Self, Unfit> {
        Self::new(interface, address, prefix_len)
    }
    pub fn route(dst: Prefix, via: &Via) -> Result<Self, Unfit> {
        let of = |interface| Self::new(interface, dst.addr(), dst.len());
        Ok(match via {
            Via::Blackhole => Self { via: BLACKHOLE, ..of("")? },
            Via::Link { interface } => of(interface)?,
            Via::Gateway { interface, address } => {
                Self { via: GATEWAY, gateway: (*address).into(), ..of(interface)? }
            }
        })
    }

    fn interface(&self) -> Result<String, Malformed> {
        let end = self.interface.iter().position(|byte| *byte == 0).unwrap_or(INTERFACE_NAME_BYTES);
        let (name, rest) = self.interface.split_at(end);
        let text = std::str::from_utf8(name).map_err(|_| Malformed("interface name"))?;
        if name.is_empty() || rest.iter().any(|byte| *byte != 0) {
            return Err(Malformed("interface name"));
        }
        Ok(text.to_owned())
    }
    fn prefix(&self) -> Result<(IpAddr, Prefix), Malformed> {
        let address = self.address.decode()?;
        let len = u8::try_from(self.prefix_len).ok();
        let prefix = len.and_then(|len| Prefix::new(address, len)).ok_or(Malformed("prefix length"))?;
        Ok((address, prefix))
    }
    pub fn decode_address(&self) -> Result<Command, Malformed> {
        let (address, prefix) = self.prefix()?;
        Ok(Command::Address { interface: self.interface()?, address, prefix_len: prefix.len() })
    }
    pub fn decode_route(&self) -> Result<Command, Malformed> {
        let (_, dst) = self.prefix()?;
        let via = match self.via {
            BLACKHOLE => Via::Blackhole,
            LINK => Via::Link { interface: self.interface()? },
            GATEWAY => Via::Gateway { interface: self.interface()?, address: self.gateway.decode()? },
            _ => return Err(Malformed("kind of route")),
        };
        Ok(Command::Route { dst, via })
    }
}
