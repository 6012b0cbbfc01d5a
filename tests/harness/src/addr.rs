//! Who has which address in the lab. Documentation prefixes (RFC 5737, RFC 3849) outside, private ones inside.
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    A,
    B,
}

impl Side {
    pub const BOTH: [Side; 2] = [Side::A, Side::B];

    pub const fn other(self) -> Side {
        match self {
            Side::A => Side::B,
            Side::B => Side::A,
        }
    }
    pub const fn letter(self) -> &'static str {
        match self {
            Side::A => "a",
            Side::B => "b",
        }
    }
    const fn wan_net4(self) -> [u8; 3] {
        match self {
            Side::A => [198, 51, 100],
            Side::B => [203, 0, 113],
        }
    }
    const fn lan_net4(self) -> [u8; 3] {
        match self {
            Side::A => [10, 1, 0],
            Side::B => [10, 2, 0],
        }
    }
    const fn net_digit6(self) -> u16 {
        match self {
            Side::A => 0xa,
            Side::B => 0xb,
        }
    }
    const fn in_net4(net: [u8; 3], host: u8) -> IpAddr {
        IpAddr::V4(Ipv4Addr::new(net[0], net[1], net[2], host))
    }
    /// The site's outer address.
    pub const fn wan4(self) -> IpAddr {
        Self::in_net4(self.wan_net4(), 2)
    }
    /// The WAN router's address towards the site.
    pub const fn router4(self) -> IpAddr {
        Self::in_net4(self.wan_net4(), 1)
    }
    pub const fn wan6(self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, self.net_digit6(), 0, 0, 0, 0, 2))
    }
    pub const fn router6(self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, self.net_digit6(), 0, 0, 0, 0, 1))
    }
    /// The site's inner address, the host's gateway.
    pub const fn lan4(self) -> IpAddr {
        Self::in_net4(self.lan_net4(), 1)
    }
    pub const fn host4(self) -> IpAddr {
        Self::in_net4(self.lan_net4(), 2)
    }
    pub const fn lan6(self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::new(0xfd00, self.net_digit6(), 0, 0, 0, 0, 0, 1))
    }
    pub const fn host6(self) -> IpAddr {
        IpAddr::V6(Ipv6Addr::new(0xfd00, self.net_digit6(), 0, 0, 0, 0, 0, 2))
    }
    /// What the tunnel protects on this side.
    pub fn subnet4(self) -> String {
        let [a, b, c] = self.lan_net4();
        format!("{a}.{b}.{c}.0/24")
    }
    pub fn subnet6(self) -> String {
        format!("fd00:{:x}::/64", self.net_digit6())
    }
}
