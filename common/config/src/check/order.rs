//! Policies in their order: which are there twice, and which never come to their turn because earlier ones match
//! everything they are for, one alone or several together.
//!
//! Nothing is compared with everything. What could cover a selector is asked for by hash, once for each different shape
//! (lengths of prefixes, protocol or none, kinds of ports). Several together are found by halves: once both halves of a
//! network are covered, for the same of everything else, the whole network is as good as written. That finds what a
//! network was split into; covers put together of odd pieces are not found, and nothing is said that is not so.
use sa::{PortRange, Prefix, Selector};
use std::collections::{BTreeMap, HashMap};

/// What covers a selector.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Cover {
    /// The row that does alone.
    One(usize),
    /// The last of several rows that do together.
    Together(usize),
}
impl Cover {
    fn last(self) -> usize {
        match self {
            Self::One(row) | Self::Together(row) => row,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
enum Ports {
    Any,
    One,
    Range,
}
impl Ports {
    fn of(range: PortRange) -> Self {
        match range {
            range if range.is_any() => Self::Any,
            PortRange { first, last } if first == last => Self::One,
            _ => Self::Range,
        }
    }
    /// What stands in a key: only what is the same in all that a key can cover.
    fn key(self, range: PortRange) -> Option<u16> {
        (self == Self::One && range.first == range.last).then_some(range.first)
    }
    /// Whether a port or range of this kind may cover the other at all.
    fn may_cover(self, range: PortRange) -> bool {
        self != Self::One || range.first == range.last
    }
}

/// Whether it is IPv4, lengths of both prefixes, whether it names a protocol, kinds of both ports.
type Shape = (bool, u8, u8, bool, Ports, Ports);
type Key = (Prefix, Prefix, Option<u8>, Option<u16>, Option<u16>);

/// Ranges of ports between the same networks are looked through one by one, this many of them.
const RANGES: usize = 256;

#[derive(std::default::Default)]
pub struct Order {
    exact: HashMap<Selector, usize>,
    shapes: BTreeMap<Shape, HashMap<Key, Vec<(Selector, Cover)>>>,
}

impl Order {
    /// An earlier row with the same selector.
    pub fn same(&self, selector: &Selector) -> Option<usize> {
        self.exact.get(selector).copied()
    }
    /// The row comes after all that were added before. Tells what covers it already.
    pub fn add(&mut self, row: usize, selector: Selector) -> Option<Cover> {
        let cover = self.covering(&selector);
        self.exact.insert(selector, row);
        if cover.is_none() {
            self.put(selector, Cover::One(row));
        }
        cover
    }

    fn covering(&self, selector: &Selector) -> Option<Cover> {
        let Selector { src, dst, protocol, src_port, dst_port } = *selector;
        let mut best: Option<Cover> = None;
        for (shape, by_key) in &self.shapes {
            let (v4, src_len, dst_len, named, src_kind, dst_kind) = *shape;
            let fits = v4 == src.is_ipv4()
                && src_len <= src.len()
                && dst_len <= dst.len()
                && (!named || protocol.is_some())
                && src_kind.may_cover(src_port)
                && dst_kind.may_cover(dst_port);
            let (true, Some(src), Some(dst)) =
                (fits, Prefix::new(src.addr(), src_len), Prefix::new(dst.addr(), dst_len))
            else {
                continue;
            };
            let key = (src, dst, protocol.filter(|_| named), src_kind.key(src_port), dst_kind.key(dst_port));
            let found = by_key.get(&key).into_iter().flatten().find(|(earlier, _)| covers(earlier, selector));
            best = match (best, found) {
                (Some(best), Some((_, cover))) => Some(better(best, *cover)),
                (best, found) => best.or(found.map(|(_, cover)| *cover)),
            };
        }
        best
    }

    fn put(&mut self, selector: Selector, cover: Cover) {
        let Selector { src, dst, protocol, src_port, dst_port } = selector;
        let (src_kind, dst_kind) = (Ports::of(src_port), Ports::of(dst_port));
        let shape = (src.is_ipv4(), src.len(), dst.len(), protocol.is_some(), src_kind, dst_kind);
        let key = (src, dst, protocol, src_kind.key(src_port), dst_kind.key(dst_port));
        let same = self.shapes.entry(shape).or_default().entry(key).or_default();
        if same.len() < RANGES {
            same.push((selector, cover));
        }
        for (sibling, whole) in halves(&selector) {
            if let Some(other) = self.covering(&sibling)
                && self.covering(&whole).is_none()
            {
                self.put(whole, Cover::Together(cover.last().max(other.last())));
            }
        }
    }
}

/// The other half of the network on either side, and the whole it makes with this one.
fn halves(selector: &Selector) -> impl Iterator<Item = (Selector, Selector)> {
    let selector = *selector;
    let src = split(selector.src)
        .map(|(other, whole)| (Selector { src: other, ..selector }, Selector { src: whole, ..selector }));
    let dst = split(selector.dst)
        .map(|(other, whole)| (Selector { dst: other, ..selector }, Selector { dst: whole, ..selector }));
    src.into_iter().chain(dst)
}
fn split(prefix: Prefix) -> Option<(Prefix, Prefix)> {
    let len = prefix.len().checked_sub(1)?;
    let addr = match prefix.addr() {
        std::net::IpAddr::V4(a) => (u32::from(a) ^ 1 << (31 - u32::from(len))).to_be_bytes().into(),
        std::net::IpAddr::V6(a) => (u128::from(a) ^ 1 << (127 - u32::from(len))).to_be_bytes().into(),
    };
    Some((Prefix::new(addr, prefix.len())?, Prefix::new(addr, len)?))
}

/// One row is easier to see than several, an earlier one than a later one.
fn better(a: Cover, b: Cover) -> Cover {
    match (a, b) {
        (Cover::One(x), Cover::One(y)) => Cover::One(x.min(y)),
        (Cover::One(_), _) => a,
        (_, Cover::One(_)) => b,
        (Cover::Together(x), Cover::Together(y)) => Cover::Together(x.min(y)),
    }
}

/// Whether every packet of the narrow one is a packet of the wide one.
pub fn covers(wide: &Selector, narrow: &Selector) -> bool {
    let ports = |wide: PortRange, narrow: PortRange| wide.first <= narrow.first && narrow.last <= wide.last;
    (wide.protocol.is_none() || wide.protocol == narrow.protocol)
        && wide.src.contains_prefix(narrow.src)
        && wide.dst.contains_prefix(narrow.dst)
        && ports(wide.src_port, narrow.src_port)
        && ports(wide.dst_port, narrow.dst_port)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn selector(src: &str, dst: &str, protocol: Option<u8>, dst_port: PortRange) -> Selector {
        let (src, dst) = (src.parse().unwrap(), dst.parse().unwrap());
        Selector { src, dst, protocol, src_port: PortRange::ANY, dst_port }
    }
    const ANY: PortRange = PortRange::ANY;

    #[test]
    fn one_or_several_earlier_rows_cover_a_later_one() {
        let rows = [
            (selector("10.0.0.0/9", "10.2.0.0/16", None, ANY), None),
            (selector("10.0.1.0/24", "10.2.3.0/24", Some(6), ANY), Some(Cover::One(0))),
            (selector("10.0.0.0/8", "10.2.0.0/16", None, ANY), None),
            (selector("10.128.0.0/9", "10.2.0.0/16", None, ANY), Some(Cover::One(2))),
            // Four quarters, the last of them in two halves of the other side.
            (selector("10.9.0.0/26", "10.3.0.0/16", None, ANY), None),
            (selector("10.9.0.64/26", "10.3.0.0/16", None, ANY), None),
            (selector("10.9.0.192/26", "10.3.0.0/16", None, ANY), None),
            (selector("10.9.0.128/26", "10.3.0.0/17", None, ANY), None),
            (selector("10.9.0.128/26", "10.3.128.0/17", None, ANY), None),
            (selector("10.9.0.0/24", "10.3.4.0/24", Some(17), PortRange::one(53)), Some(Cover::Together(7))),
            (selector("10.9.0.0/24", "10.3.0.0/16", Some(17), PortRange::one(53)), Some(Cover::Together(8))),
            // Ports: a range covers what is in it, and never a packet whose ports cannot be seen.
            (selector("fd00::/64", "fd01::/64", Some(6), PortRange { first: 1, last: 1023 }), None),
            (selector("fd00::/64", "fd01::/64", Some(6), PortRange::one(22)), Some(Cover::One(11))),
            (selector("fd00::/64", "fd01::/64", Some(6), PortRange { first: 1000, last: 1024 }), None),
            (selector("fd00::/64", "fd01::/64", Some(6), ANY), None),
            (selector("fd00::/64", "fd01::/64", Some(6), PortRange::one(4)), Some(Cover::One(11))),
            (selector("fd00::/64", "fd01::/64", Some(17), PortRange::one(4)), None),
        ];
        let mut order = Order::default();
        for (row, (selector, expected)) in rows.iter().enumerate() {
            assert_eq!(order.add(row, *selector), *expected, "row {row}");
            assert_eq!(order.same(selector), Some(row));
        }
    }

    /// Sixteen addresses on each side, two protocols, ports 0 to 3: every packet can be tried.
    fn small() -> impl Strategy<Value = Selector> {
        let prefix = |base: u32| {
            (0u32..16, 28u8..=32)
                .prop_map(move |(host, len)| Prefix::new((base + host).to_be_bytes().into(), len).unwrap())
        };
        let ports = prop_oneof![
            2 => Just(ANY),
            1 => (0u16..4, 0u16..4).prop_map(|(a, b)| PortRange { first: a.min(b), last: a.max(b) }),
        ];
        let protocol = prop_oneof![Just(None), Just(Some(6)), Just(Some(17))];
        (prefix(0x0a00_0000), prefix(0x0b00_0000), protocol, ports).prop_map(
            |(src, dst, protocol, dst_port)| {
                let dst_port = if protocol.is_none() { ANY } else { dst_port };
                Selector { src, dst, protocol, src_port: ANY, dst_port }
            },
        )
    }
    fn matches(s: &Selector, src: u32, dst: u32, protocol: u8, port: u16) -> bool {
        s.src.contains((0x0a00_0000 + src).to_be_bytes().into())
            && s.dst.contains((0x0b00_0000 + dst).to_be_bytes().into())
            && s.protocol.is_none_or(|p| p == protocol)
            && s.dst_port.contains(Some(port))
    }
    proptest! {
        /// What is said to be covered is covered by rows up to the one that is named, packet by packet; what one row
        /// covers alone is always said.
        #[test]
        fn what_is_said_is_so(rows in proptest::collection::vec(small(), 1..40)) {
            let mut order = Order::default();
            for (at, selector) in rows.iter().enumerate() {
                let alone = rows[..at].iter().position(|earlier| covers(earlier, selector));
                let said = order.add(at, *selector);
                if alone.is_some() {
                    prop_assert!(said.is_some(), "row {} of {:?}", at, rows);
                }
                match said {
                    None => {}
                    Some(Cover::One(row)) => prop_assert!(row < at && covers(&rows[row], selector)),
                    Some(Cover::Together(last)) => for n in 0..16 * 16 * 3 * 4 {
                        let (src, dst, port, protocol) = (n % 16, n / 16 % 16, n / 256 % 4, [6, 17, 1][n as usize / 1024]);
                        if matches(selector, src, dst, protocol, port as u16) {
                            let found = rows[..=last].iter().any(|r| matches(r, src, dst, protocol, port as u16));
                            prop_assert!(found && last < at, "{src} {dst} {protocol} {port}: row {at} of {rows:?}");
                        }
                    },
                }
            }
        }
    }
}
