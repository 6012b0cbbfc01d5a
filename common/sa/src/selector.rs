//! What traffic a policy or an SA is for (RFC 4301 4.4.1.1, RFC 7296 3.13).
use std::net::IpAddr;

/// An address block, host bits zero.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Prefix {
    addr: IpAddr,
    len: u8,
}

impl Prefix {
    /// `None` when `len` is too long for the family. Host bits are cleared.
    pub fn new(addr: IpAddr, len: u8) -> Option<Self> {
        match addr {
            IpAddr::V4(a) if len <= 32 => {
                let mask = u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
                Some(Self { addr: IpAddr::V4((u32::from(a) & mask).into()), len })
            }
            IpAddr::V6(a) if len <= 128 => {
                let mask = u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
                Some(Self { addr: IpAddr::V6((u128::from(a) & mask).into()), len })
            }
            _ => None,
        }
    }
    pub fn host(addr: IpAddr) -> Self {
        Self { addr, len: if addr.is_ipv4() { 32 } else { 128 } }
    }
    pub fn addr(self) -> IpAddr {
        self.addr
    }
    pub fn len(self) -> u8 {
        self.len
    }
    pub fn is_empty(self) -> bool {
        false
    }
    pub fn is_ipv4(self) -> bool {
        self.addr.is_ipv4()
    }
    pub fn contains(self, addr: IpAddr) -> bool {
        Self::new(addr, self.len).is_some_and(|p| p == self)
    }
    pub fn contains_prefix(self, other: Self) -> bool {
        other.len >= self.len && self.contains(other.addr)
    }
    pub fn range(self) -> AddrRange {
        let last = match self.addr {
            IpAddr::V4(a) => IpAddr::V4(
                (u32::from(a) | !u32::MAX.checked_shl(32 - u32::from(self.len)).unwrap_or(0)).into(),
            ),
            IpAddr::V6(a) => IpAddr::V6(
                (u128::from(a) | !u128::MAX.checked_shl(128 - u32::from(self.len)).unwrap_or(0)).into(),
            ),
        };
        AddrRange { first: self.addr, last }
    }
}
impl std::fmt::Debug for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}
impl std::fmt::Display for Prefix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.addr, self.len)
    }
}
impl std::str::FromStr for Prefix {
    type Err = String;
    fn from_str(s: &str) -> Result<Self, String> {
        let (addr, len) = match s.split_once('/') {
            Some((a, l)) => (a, Some(l.parse::<u8>().map_err(|_| format!("`{l}` is not a prefix length"))?)),
            None => (s, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| format!("`{addr}` is not an IPv4 or IPv6 address"))?;
        let len = len.unwrap_or(if addr.is_ipv4() { 32 } else { 128 });
        Self::new(addr, len).ok_or_else(|| format!("a prefix length of {len} is too long for {addr}"))
    }
}

/// First and last address, both of one family and in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct AddrRange {
    first: IpAddr,
    last: IpAddr,
}
impl AddrRange {
    pub fn new(first: IpAddr, last: IpAddr) -> Option<Self> {
        (first.is_ipv4() == last.is_ipv4() && first <= last).then_some(Self { first, last })
    }
    pub fn first(self) -> IpAddr {
        self.first
    }
    pub fn last(self) -> IpAddr {
        self.last
    }
    pub fn contains(self, addr: IpAddr) -> bool {
        addr.is_ipv4() == self.first.is_ipv4() && self.first <= addr && addr <= self.last
    }
    pub fn intersect(self, other: Self) -> Option<Self> {
        if self.first.is_ipv4() != other.first.is_ipv4() {
            return None;
        }
        Self::new(self.first.max(other.first), self.last.min(other.last))
    }
}

/// Ports, inclusive. `ANY` also fits packets that have no ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct PortRange {
    pub first: u16,
    pub last: u16,
}
impl PortRange {
    pub const ANY: Self = Self { first: 0, last: u16::MAX };
    pub const fn one(port: u16) -> Self {
        Self { first: port, last: port }
    }
    pub const fn is_any(self) -> bool {
        self.first == 0 && self.last == u16::MAX
    }
    /// `None` stands for a packet whose ports cannot be seen (not a port protocol, later fragment).
    pub const fn contains(self, port: Option<u16>) -> bool {
        match port {
            Some(p) => self.first <= p && p <= self.last,
            None => self.is_any(),
        }
    }
    pub fn intersect(self, other: Self) -> Option<Self> {
        let (first, last) = (self.first.max(other.first), self.last.min(other.last));
        (first <= last).then_some(Self { first, last })
    }
}

/// A policy's selector, seen outbound; inbound packets are matched with both sides swapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Selector {
    pub src: Prefix,
    pub dst: Prefix,
    /// `None` is any protocol. For ICMP, type and code sit in the ports as RFC 4301 4.4.1.1 has it.
    pub protocol: Option<u8>,
    pub src_port: PortRange,
    pub dst_port: PortRange,
}

impl Selector {
    /// Whether it fits an outbound packet; `None` stands for ports that cannot be seen.
    #[inline]
    pub fn contains(
        &self,
        src: IpAddr,
        dst: IpAddr,
        protocol: u8,
        src_port: Option<u16>,
        dst_port: Option<u16>,
    ) -> bool {
        self.src.contains(src)
            && self.dst.contains(dst)
            && self.protocol.is_none_or(|p| p == protocol)
            && self.src_port.contains(src_port)
            && self.dst_port.contains(dst_port)
    }
}

/// One pair of an SA's traffic selectors, local side first whatever the SA's direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct TrafficSelector {
    pub local: AddrRange,
    pub remote: AddrRange,
    pub protocol: Option<u8>,
    pub local_port: PortRange,
    pub remote_port: PortRange,
}
impl TrafficSelector {
    pub fn contains(
        &self,
        local: IpAddr,
        remote: IpAddr,
        protocol: u8,
        local_port: Option<u16>,
        remote_port: Option<u16>,
    ) -> bool {
        self.local.contains(local)
            && self.remote.contains(remote)
            && self.protocol.is_none_or(|p| p == protocol)
            && self.local_port.contains(local_port)
            && self.remote_port.contains(remote_port)
    }
}
impl From<Selector> for TrafficSelector {
    fn from(s: Selector) -> Self {
        Self {
            local: s.src.range(),
            remote: s.dst.range(),
            protocol: s.protocol,
            local_port: s.src_port,
            remote_port: s.dst_port,
        }
    }
}
