//! Longest prefix match for both families, and the MAC addresses of next hops.
//!
//! One hash per prefix length that occurs, longest first: a gateway has few different lengths.
use super::hash::Map;
use sa::Prefix;
use std::net::IpAddr;
use wire::Mac;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NextHop {
    pub interface: u16,
    /// `None`: the destination itself, on the link.
    pub gateway: Option<IpAddr>,
}
impl NextHop {
    /// A route that says there is no way: it hides shorter ones.
    pub const BLACKHOLE: Self = Self { interface: u16::MAX, gateway: None };
}

#[derive(Debug, Default)]
pub struct Fib {
    v4: Lengths<u32>,
    v6: Lengths<u128>,
    neighbours: Map<(u16, IpAddr), Mac>,
}

#[derive(Debug)]
struct Lengths<A> {
    /// (length, routes), longest first, none empty.
    by_len: Vec<(u8, Map<A, NextHop>)>,
}
impl<A> Default for Lengths<A> {
    fn default() -> Self {
        Self { by_len: Vec::new() }
    }
}
impl<A: std::hash::Hash + Eq> Lengths<A> {
    fn set(&mut self, len: u8, addr: A, via: NextHop) {
        let at = match self.by_len.binary_search_by(|(l, _)| len.cmp(l)) {
            Ok(at) => at,
            Err(at) => {
                self.by_len.insert(at, (len, Map::default()));
                at
            }
        };
        self.by_len[at].1.insert(addr, via);
    }
    fn remove(&mut self, len: u8, addr: &A) {
        if let Ok(at) = self.by_len.binary_search_by(|(l, _)| len.cmp(l)) {
            self.by_len[at].1.remove(addr);
            if self.by_len[at].1.is_empty() {
                self.by_len.remove(at);
            }
        }
    }
    fn get(&self, mask: impl Fn(u8) -> A) -> Option<NextHop> {
        self.by_len.iter().find_map(|(len, routes)| routes.get(&mask(*len)).copied())
    }
}

impl Fib {
    pub fn set_route(&mut self, prefix: Prefix, via: NextHop) {
        match prefix.addr() {
            IpAddr::V4(a) => self.v4.set(prefix.len(), a.into(), via),
            IpAddr::V6(a) => self.v6.set(prefix.len(), a.into(), via),
        }
    }
    pub fn remove_route(&mut self, prefix: Prefix) {
        match prefix.addr() {
            IpAddr::V4(a) => self.v4.remove(prefix.len(), &a.into()),
            IpAddr::V6(a) => self.v6.remove(prefix.len(), &a.into()),
        }
    }
    pub fn route(&self, dst: IpAddr) -> Option<NextHop> {
        let via = match dst {
            IpAddr::V4(a) => {
                let a = u32::from(a);
                self.v4.get(|len| a & u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0))
            }
            IpAddr::V6(a) => {
                let a = u128::from(a);
                self.v6.get(|len| a & u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0))
            }
        };
        via.filter(|via| *via != NextHop::BLACKHOLE)
    }
    pub fn set_neighbour(&mut self, interface: u16, address: IpAddr, mac: Option<Mac>) {
        match mac {
            Some(mac) => self.neighbours.insert((interface, address), mac),
            None => self.neighbours.remove(&(interface, address)),
        };
    }
    pub fn neighbour(&self, interface: u16, address: IpAddr) -> Option<Mac> {
        self.neighbours.get(&(interface, address)).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn prefix() -> impl Strategy<Value = Prefix> {
        // Few different bits, so that prefixes nest and collide.
        let v4 = (any::<u32>(), 0u8..=32)
            .prop_map(|(a, len)| Prefix::new(IpAddr::V4((a & 0xc000_0003).into()), len));
        let v6 = (any::<u128>(), 0u8..=128)
            .prop_map(|(a, len)| Prefix::new(IpAddr::V6((a & (7 << 125 | 3)).into()), len));
        prop_oneof![v4, v6].prop_map(|p| p.expect("a length of its family"))
    }
    #[test]
    fn a_black_hole_hides_the_default_route() {
        let mut fib = Fib::default();
        let prefix = |text: &str| text.parse::<Prefix>().expect("a prefix");
        let default = NextHop { interface: 1, gateway: None };
        fib.set_route(prefix("::/0"), default);
        fib.set_route(prefix("2001:db8::/32"), NextHop::BLACKHOLE);
        assert_eq!(fib.route(prefix("2001:db8::1").addr()), None);
        assert_eq!(fib.route(prefix("2001:db9::1").addr()), Some(default));
    }
    proptest! {
        #[test]
        fn agrees_with_a_list_scan(steps in prop::collection::vec((prefix(), any::<bool>()), 1..60), probes in prop::collection::vec(prefix(), 20)) {
            let (mut fib, mut list) = (Fib::default(), Vec::<(Prefix, NextHop)>::new());
            for (n, (prefix, add)) in steps.into_iter().enumerate() {
                let via = NextHop { interface: n as u16, gateway: None };
                list.retain(|(p, _)| *p != prefix);
                if add { fib.set_route(prefix, via); list.push((prefix, via)); } else { fib.remove_route(prefix); }
            }
            for dst in probes.into_iter().map(Prefix::addr) {
                let expected = list.iter().filter(|(p, _)| p.contains(dst)).max_by_key(|(p, _)| p.len()).map(|(_, via)| *via);
                prop_assert_eq!(fib.route(dst), expected);
            }
        }
    }
}
