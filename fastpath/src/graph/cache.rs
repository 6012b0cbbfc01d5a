//! What the policy said of a flow, and where a next hop is reached, remembered per worker.
//!
//! Both are direct mapped: an entry that hashes to the place of another takes it. An entry is good for one generation
//! of the tables it was made from, takes one cache line, and is found with one compare.
use super::forward::Way;
use crate::crypto::SaRef;
use crate::tables::Tables;
use sa::{DropReason, PolicyId};
use std::net::IpAddr;
use wire::Flow;

/// How a packet came to the policy.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum Origin {
    /// From a port, unprotected.
    Clear,
    /// Out of a tunnel, checked against that SA's selectors.
    Protected,
    /// From the gateway's own stack.
    Own,
    /// From a port, unprotected, and addressed to the gateway.
    ToUs,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    Pass,
    Drop(DropReason),
    Encrypt(SaRef),
    Acquire(PolicyId),
    /// Not to be forwarded: its destination is an address of ours.
    Ours,
    /// Not to be forwarded: for everybody on the link, or a group.
    Link,
    /// Out of a tunnel that is not for such packets.
    Mismatch,
}

/// A flow, how its packets came, and what else their verdict depends on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Source and destination; an IPv4 flow has both in the first word.
    addresses: [u64; 4],
    /// Ports, protocol, origin, family.
    rest: u64,
    /// The interface of a clear packet, the installation of the SA of a protected one.
    scope: u32,
    /// Of the tables. Never 0 in use.
    generation: u32,
}
const IPV4: u64 = 1;
const PORTS: u64 = 2;

impl Key {
    #[inline(always)]
    pub fn v4(src: [u8; 4], dst: [u8; 4], protocol: u8, ports: Option<[u8; 4]>, origin: Origin) -> Self {
        let both = u64::from(u32::from_be_bytes(src)) << 32 | u64::from(u32::from_be_bytes(dst));
        let ports = ports.map_or(0, |ports| u64::from(u32::from_be_bytes(ports)) << 32 | PORTS);
        let rest = ports | u64::from(protocol) << 8 | (origin as u64) << 4 | IPV4;
        Self { addresses: [both, 0, 0, 0], rest, scope: 0, generation: 0 }
    }
    pub fn of(flow: &Flow, origin: Origin) -> Self {
        let ports = flow.src_port.zip(flow.dst_port).map(|(src, dst)| {
            let ([a, b], [c, d]) = (src.to_be_bytes(), dst.to_be_bytes());
            [a, b, c, d]
        });
        match (flow.src, flow.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                Self::v4(src.octets(), dst.octets(), flow.protocol, ports, origin)
            }
            (src, dst) => {
                let (src, dst) = (bits(src), bits(dst));
                let addresses = [(src >> 64) as u64, src as u64, (dst >> 64) as u64, dst as u64];
                let rest = Self::v4([0; 4], [0; 4], flow.protocol, ports, origin).rest & !IPV4;
                Self { addresses, rest, scope: 0, generation: 0 }
            }
        }
    }
    #[inline(always)]
    pub fn within(self, scope: u32, generation: u32) -> Self {
        Self { scope, generation, ..self }
    }
    /// Places of packets that strangers send: who finds flows that collide gains cache misses and nothing else.
    #[inline(always)]
    fn hash(&self) -> usize {
        let [a, b, c, d] = self.addresses;
        let scope = u64::from(self.scope) << 16;
        (mix(a ^ d, self.rest ^ scope) ^ mix(b, c)) as usize
    }
    #[inline(always)]
    fn is(&self, other: &Self) -> bool {
        let mut differing = (self.rest ^ other.rest)
            | u64::from(self.scope ^ other.scope)
            | u64::from(self.generation ^ other.generation);
        for (a, b) in self.addresses.iter().zip(other.addresses) {
            differing |= a ^ b;
        }
        differing == 0
    }
}

#[inline(always)]
fn mix(a: u64, b: u64) -> u64 {
    let wide = u128::from(a ^ 0x9e37_79b9_7f4a_7c15) * u128::from(b ^ 0xd6e8_feb8_6659_fd93);
    wide as u64 ^ (wide >> 64) as u64
}
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u32::from(a).into(),
        IpAddr::V6(a) => a.into(),
    }
}

#[derive(Clone, Copy, Debug)]
#[repr(C, align(64))]
struct Line {
    key: Key,
    verdict: Verdict,
}

#[derive(Debug)]
pub struct FlowCache {
    lines: Box<[Line]>,
}

const LINES: usize = 1 << 14;

impl FlowCache {
    pub fn new() -> Self {
        let key = Key { addresses: [0; 4], rest: 0, scope: 0, generation: 0 };
        Self { lines: vec![Line { key, verdict: Verdict::Pass }; LINES].into() }
    }
    #[inline(always)]
    pub fn look_up(&mut self, key: &Key, judge: impl FnOnce() -> Verdict) -> Verdict {
        let line = &mut self.lines[key.hash() % LINES];
        if line.key.is(key) {
            return line.verdict;
        }
        let verdict = judge();
        *line = Line { key: *key, verdict };
        verdict
    }
}

/// A destination and the way there. `generation` is that of the links; 0 where nothing is remembered.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Known {
    generation: u32,
    to: IpAddr,
    way: Option<Way>,
}

#[derive(Debug)]
pub struct WayCache {
    known: Box<[Known]>,
}

const WAYS: usize = 1 << 12;

impl WayCache {
    pub fn new() -> Self {
        let nowhere = Known { generation: 0, to: IpAddr::from([0; 4]), way: None };
        Self { known: vec![nowhere; WAYS].into() }
    }
    /// `None`: there is no route.
    #[inline]
    pub fn find<K>(&mut self, tables: &Tables<K>, to: IpAddr) -> Option<&Way> {
        let address = bits(to);
        let at = mix(address as u64, (address >> 64) as u64) as usize % WAYS;
        let known = &mut self.known[at];
        if known.generation != tables.links || known.to != to {
            *known = Known { generation: tables.links, to, way: Way::find(tables, to) };
        }
        known.way.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_one_cache_line() {
        assert_eq!((size_of::<Line>(), size_of::<Known>()), (64, 64));
    }
    #[test]
    fn a_verdict_is_for_one_flow_one_way_of_coming_and_one_generation() {
        let mut cache = FlowCache::new();
        let key = Key::v4([10, 0, 0, 1], [10, 0, 0, 2], 17, Some([0, 1, 0, 2]), Origin::Clear).within(3, 7);
        let others = [
            key.within(4, 7),
            key.within(3, 8),
            Key::v4([10, 0, 0, 1], [10, 0, 0, 2], 17, None, Origin::Clear).within(3, 7),
            Key::v4([10, 0, 0, 1], [10, 0, 0, 2], 17, Some([0, 2, 0, 1]), Origin::Clear).within(3, 7),
            Key::v4([10, 0, 0, 2], [10, 0, 0, 1], 17, Some([0, 1, 0, 2]), Origin::Clear).within(3, 7),
            Key::v4([10, 0, 0, 1], [10, 0, 0, 2], 6, Some([0, 1, 0, 2]), Origin::Clear).within(3, 7),
            Key::v4([10, 0, 0, 1], [10, 0, 0, 2], 17, Some([0, 1, 0, 2]), Origin::Own).within(3, 7),
        ];
        for other in others {
            assert_eq!(cache.look_up(&key, || Verdict::Ours), Verdict::Ours);
            assert_eq!(cache.look_up(&key, || Verdict::Link), Verdict::Ours, "remembered");
            assert_eq!(cache.look_up(&other, || Verdict::Link), Verdict::Link, "{other:?}");
            assert_eq!(cache.look_up(&key, || Verdict::Ours), Verdict::Ours);
        }
    }
    #[test]
    fn an_ipv6_flow_is_not_the_ipv4_flow_of_the_same_bits() {
        let flow = |src: IpAddr, dst: IpAddr| Flow { src, dst, protocol: 6, src_port: None, dst_port: None };
        let v4 = flow([0, 0, 0, 1].into(), [0, 0, 0, 2].into());
        let v6 = flow("::1".parse().expect("an address"), "::2".parse().expect("an address"));
        assert!(!Key::of(&v4, Origin::Own).is(&Key::of(&v6, Origin::Own)));
    }
}
