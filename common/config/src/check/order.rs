//! Policies in their order: which are there twice, and which never come to their turn because earlier ones match
//! everything they are for, one alone or several together.
//!
//! Nothing is compared with everything. What could cover a selector is asked for by hash, once for each different shape
//! (lengths of prefixes, protocol or none, kinds of ports). Several together are found by halves: once both halves of a
//! network are covered, for the same of everything else, the whole network is as good as written. That finds what a
//! network was split into; covers put together of odd pieces are not found, and nothing is said that is not so.
use sa::{PortRange, Prefix, Selector};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;

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
/// Both networks, and the rest. One array of numbers is hashed in one go.
type Key = [u128; 3];

/// Ranges of ports between the same networks are looked through one by one, this many of them.
const RANGES: usize = 256;

/// Earlier rows of one key.
#[derive(std::default::Default)]
struct Alike {
    /// Where no range of ports is meant the key says everything, so there is one at most.
    whole: Option<Cover>,
    ranges: Vec<(Selector, Cover)>,
}
impl Alike {
    fn covering(&self, selector: &Selector) -> Option<Cover> {
        let range = || self.ranges.iter().find(|(earlier, _)| covers(earlier, selector));
        self.whole.or_else(|| range().map(|(_, cover)| *cover))
    }
}

#[derive(Clone, Copy, PartialEq, Eq, Hash)]
enum Side {
    Src,
    Dst,
}

/// What was found out about an order, for the next check of almost the same rows. Most changes leave it as it is or add
/// to its end.
#[derive(std::default::Default)]
pub struct Memo {
    order: Order,
    /// Number of the row and selector, and what comes before.
    known: Vec<(usize, Selector, Option<Before>)>,
    /// So many of them have been met this time.
    met: usize,
}
/// What makes a row useless.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Before {
    Same(usize),
    Covered(Cover),
}
impl std::fmt::Debug for Memo {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Memo of {} rows", self.known.len())
    }
}
impl Memo {
    pub fn begin(&mut self) {
        self.met = 0;
    }
    /// The row that comes next. One with an earlier selector takes no part in what follows.
    pub fn next(&mut self, row: usize, selector: Selector) -> Option<Before> {
        match self.known.get(self.met) {
            Some((number, same, before)) if (*number, *same) == (row, selector) => {
                self.met += 1;
                return *before;
            }
            // Nobody can be taken out of an order: what was met is put into a new one.
            Some(_) => {
                self.known.truncate(self.met);
                self.order = Order::default();
                for (row, selector, before) in &self.known {
                    if !matches!(before, Some(Before::Same(_))) {
                        self.order.add(*row, *selector);
                    }
                }
            }
            None => {}
        }
        let before = match self.order.same(&selector) {
            Some(first) => Some(Before::Same(first)),
            None => self.order.add(row, selector).map(Before::Covered),
        };
        self.known.push((row, selector, before));
        self.met += 1;
        before
    }
}

#[derive(std::default::Default)]
struct Order {
    exact: HashMap<Key, usize>,
    shapes: BTreeMap<Shape, HashMap<Key, Alike>>,
    /// Every network that stands on a side of anything.
    networks: HashSet<(Side, Prefix)>,
}

impl Order {
    /// An earlier row with the same selector.
    fn same(&self, selector: &Selector) -> Option<usize> {
        self.exact.get(&everything(selector)).copied()
    }
    /// The row comes after all that were added before. Tells what covers it already.
    fn add(&mut self, row: usize, selector: Selector) -> Option<Cover> {
        let cover = self.covering(&selector, None);
        self.exact.insert(everything(&selector), row);
        if cover.is_none() {
            self.put(selector, Cover::One(row));
        }
        cover
    }

    /// With a side, only by what is as narrow on this side.
    fn covering(&self, selector: &Selector, exactly: Option<Side>) -> Option<Cover> {
        let Selector { src, dst, protocol, src_port, dst_port } = *selector;
        let fits = |(v4, src_len, dst_len, named, src_kind, dst_kind): &Shape| {
            *v4 == src.is_ipv4()
                && *src_len <= src.len()
                && *dst_len <= dst.len()
                && (exactly != Some(Side::Src) || *src_len == src.len())
                && (exactly != Some(Side::Dst) || *dst_len == dst.len())
                && (!named || protocol.is_some())
                && src_kind.may_cover(src_port)
                && dst_kind.may_cover(dst_port)
        };
        let found = self.shapes.iter().filter(|(shape, _)| fits(shape));
        let found =
            found.filter_map(|(shape, by_key)| by_key.get(&key(selector, *shape))?.covering(selector));
        found.reduce(better)
    }

    fn put(&mut self, selector: Selector, cover: Cover) {
        let Selector { src, dst, protocol, src_port, dst_port } = selector;
        let (src_kind, dst_kind) = (Ports::of(src_port), Ports::of(dst_port));
        let shape = (src.is_ipv4(), src.len(), dst.len(), protocol.is_some(), src_kind, dst_kind);
        let same = self.shapes.entry(shape).or_default().entry(key(&selector, shape)).or_default();
        if ![src_kind, dst_kind].contains(&Ports::Range) {
            same.whole = Some(cover);
        } else if same.ranges.len() < RANGES {
            same.ranges.push((selector, cover));
        }
        self.networks.extend([(Side::Src, src), (Side::Dst, dst)]);
        // Nothing covers this one but itself. So nothing that is wider on a side covers the other half of that side, and
        // nothing covers the whole but what comes of the other side.
        let mut grown = false;
        for (side, sibling, whole) in halves(&selector) {
            let half = (side, if side == Side::Src { sibling.src } else { sibling.dst });
            if self.networks.contains(&half)
                && let Some(other) = self.covering(&sibling, Some(side))
                && !(grown && self.covering(&whole, None).is_some())
            {
                grown = true;
                self.put(whole, Cover::Together(cover.last().max(other.last())));
            }
        }
    }
}

/// What rows of a shape that cover the selector have in common with it.
fn key(selector: &Selector, (_, src_len, dst_len, named, src_kind, dst_kind): Shape) -> Key {
    let Selector { src, dst, protocol, src_port, dst_port } = *selector;
    let protocol = protocol.filter(|_| named).map_or(0, |protocol| 1 << 40 | u128::from(protocol) << 32);
    let port = |port: Option<u16>| u128::from(port.unwrap_or(0));
    let rest = protocol | port(src_kind.key(src_port)) << 16 | port(dst_kind.key(dst_port));
    [first_bits(src.addr(), src_len), first_bits(dst.addr(), dst_len), rest]
}
fn everything(selector: &Selector) -> Key {
    let Selector { src, dst, protocol, src_port, dst_port } = *selector;
    let ports = [src_port.first, src_port.last, dst_port.first, dst_port.last];
    let ports = ports.into_iter().fold(0, |all, port| all << 16 | u128::from(port));
    let protocol = protocol.map_or(0, |protocol| 1 << 8 | u128::from(protocol));
    let lengths = u128::from(src.is_ipv4()) << 16 | u128::from(src.len()) << 8 | u128::from(dst.len());
    let bits = |prefix: Prefix| first_bits(prefix.addr(), prefix.len());
    [bits(src), bits(dst), lengths << 80 | protocol << 64 | ports]
}
fn first_bits(addr: IpAddr, len: u8) -> u128 {
    let (bits, width) = match addr {
        IpAddr::V4(a) => (u128::from(u32::from(a)), 32u8),
        IpAddr::V6(a) => (u128::from(a), 128),
    };
    bits.checked_shr(width.saturating_sub(len).into()).unwrap_or(0)
}

/// The other half of the network on either side, and the whole it makes with this one.
fn halves(selector: &Selector) -> impl Iterator<Item = (Side, Selector, Selector)> {
    let selector = *selector;
    let src = split(selector.src).map(|(other, whole)| {
        (Side::Src, Selector { src: other, ..selector }, Selector { src: whole, ..selector })
    });
    let dst = split(selector.dst).map(|(other, whole)| {
        (Side::Dst, Selector { dst: other, ..selector }, Selector { dst: whole, ..selector })
    });
    src.into_iter().chain(dst)
}
fn split(prefix: Prefix) -> Option<(Prefix, Prefix)> {
    let len = prefix.len().checked_sub(1)?;
    let addr = match prefix.addr() {
        IpAddr::V4(a) => (u32::from(a) ^ 1 << (31 - u32::from(len))).to_be_bytes().into(),
        IpAddr::V6(a) => (u128::from(a) ^ 1 << (127 - u32::from(len))).to_be_bytes().into(),
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
