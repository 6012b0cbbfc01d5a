//! What the policy said of a flow, and where a next hop is reached, remembered per worker.
//!
//! An entry that hashes to the place of another takes it, or the one after. It is good for one generation
//! of the tables it was made from, and for the next ones if no change since was about it; it takes one cache line, and is
//! found with one compare.
use super::forward::Way;
use crate::crypto::SaRef;
use crate::pages;
use crate::prefetch::near;
use crate::tables::Tables;
use sa::DropReason;
use std::net::{IpAddr, Ipv4Addr};
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
    /// The policy wants an SA that is not there.
    Acquire,
    /// Not to be forwarded: its destination is an address of ours.
    Ours,
    /// Not to be forwarded: for everybody on the link, or a group.
    Link,
    /// Out of a tunnel that is not for such packets.
    Mismatch,
}

/// What was known of a flow in an earlier generation.
#[derive(Clone, Copy, Debug)]
pub struct Before {
    verdict: Word,
    generation: u32,
}
impl Before {
    /// If nothing has changed about it.
    pub fn still<K>(self, tables: &Tables<K>, flow: &Flow) -> Option<Verdict> {
        tables.recent.holds(self.generation, tables.generation, flow).then(|| self.verdict.verdict())
    }
}

/// A [`Verdict`] in one register. The low half is the installation of an SA, never 0, with its slot above it; or it is
/// 0 below the kind and what belongs to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Word(u64);

impl Word {
    pub const PASS: Self = Self::kind(0, 0);
    pub const ACQUIRE: Self = Self::kind(1, 0);
    pub const OURS: Self = Self::kind(2, 0);
    pub const LINK: Self = Self::kind(3, 0);
    pub const MISMATCH: Self = Self::kind(4, 0);
    const DROP: u64 = 5;

    const fn kind(kind: u64, of: u8) -> Self {
        Self(kind << 32 | (of as u64) << 40)
    }
    /// The SA that is to protect the packet.
    #[inline(always)]
    pub fn sa(self) -> Option<SaRef> {
        let install = self.0 as u32;
        (install != 0).then_some(SaRef { slot: (self.0 >> 32) as u32, install })
    }
    pub fn verdict(self) -> Verdict {
        if let Some(sa) = self.sa() {
            return Verdict::Encrypt(sa);
        }
        match self {
            Self::PASS => Verdict::Pass,
            Self::ACQUIRE => Verdict::Acquire,
            Self::OURS => Verdict::Ours,
            Self::LINK => Verdict::Link,
            Self::MISMATCH => Verdict::Mismatch,
            Self(other) => {
                let reason = DropReason::from_u8((other >> 40) as u8);
                Verdict::Drop(reason.unwrap_or(DropReason::NotForUs))
            }
        }
    }
}
impl From<Verdict> for Word {
    fn from(verdict: Verdict) -> Self {
        match verdict {
            Verdict::Encrypt(SaRef { slot, install }) => Self(u64::from(slot) << 32 | u64::from(install)),
            Verdict::Pass => Self::PASS,
            Verdict::Acquire => Self::ACQUIRE,
            Verdict::Ours => Self::OURS,
            Verdict::Link => Self::LINK,
            Verdict::Mismatch => Self::MISMATCH,
            Verdict::Drop(reason) => Self::kind(Self::DROP, reason as u8),
        }
    }
}

/// A flow, how its packets came, and what else their verdict depends on. Made of whole words in registers: a narrow
/// store that a wide load follows costs more than the look-up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// Source and destination; an IPv4 flow has both in the first word.
    addresses: [u64; 4],
    /// Ports, protocol, origin, family.
    rest: u64,
    /// The interface of a clear packet or the installation of the SA of a protected one; then the tables' generation,
    /// which is never 0 in use.
    scope: u64,
}
const IPV4: u64 = 1;
const PORTS: u64 = 2;

impl Key {
    /// Of no flow.
    pub const NOTHING: Self = Self { addresses: [0; 4], rest: 0, scope: 0 };

    /// Ports as they stand in the packet.
    #[inline(always)]
    const fn rest(protocol: u8, ports: Option<u32>, origin: Origin) -> u64 {
        let ports = match ports {
            Some(ports) => (ports as u64) << 32 | PORTS,
            None => 0,
        };
        ports | (protocol as u64) << 8 | (origin as u64) << 4
    }
    pub fn of(flow: &Flow, origin: Origin) -> Self {
        let ports = flow.src_port.zip(flow.dst_port).map(|(src, dst)| {
            let ([a, b], [c, d]) = (src.to_be_bytes(), dst.to_be_bytes());
            u32::from_le_bytes([a, b, c, d])
        });
        let rest = Self::rest(flow.protocol, ports, origin);
        match (flow.src, flow.dst) {
            (IpAddr::V4(src), IpAddr::V4(dst)) => {
                let word = |address: Ipv4Addr| u64::from(u32::from_le_bytes(address.octets()));
                Self { addresses: [word(dst) << 32 | word(src), 0, 0, 0], rest: rest | IPV4, scope: 0 }
            }
            (src, dst) => {
                let (src, dst) = (bits(src), bits(dst));
                let addresses = [(src >> 64) as u64, src as u64, (dst >> 64) as u64, dst as u64];
                Self { addresses, rest, scope: 0 }
            }
        }
    }
    #[inline(always)]
    pub fn within(self, scope: u32, generation: u32) -> Self {
        Self { scope: scope_of(scope, generation), ..self }
    }
    /// Strangers choose these: who finds flows that collide gains cache misses and nothing else.
    #[inline(always)]
    fn hash(&self) -> usize {
        let [a, b, c, d] = self.addresses;
        (mix(a ^ d, self.rest ^ self.scope >> 32 << 16) ^ mix(b, c)) as usize % WIDE_PAIRS
    }
    #[inline(always)]
    fn is(&self, other: &Self) -> bool {
        let [a, b, c, d] = self.addresses;
        let [e, f, g, h] = other.addresses;
        let differing = (a ^ e) | (b ^ f) | (c ^ g) | (d ^ h);
        differing | (self.rest ^ other.rest) | (self.scope ^ other.scope) == 0
    }
    fn before(&self, line: &WideLine) -> Option<Before> {
        let addresses = self.addresses.iter().zip(&line.key.addresses);
        let differing = addresses.fold(self.rest ^ line.key.rest, |all, (a, b)| all | (a ^ b));
        before(differing, line.key.scope, self.scope, line.verdict)
    }
}

/// What is known in one scope, but may be of another generation.
#[inline(always)]
fn before(differing: u64, known: u64, scope: u64, verdict: Word) -> Option<Before> {
    let same = differing == 0 && known >> 32 == scope >> 32 && known as u32 != 0;
    same.then_some(Before { verdict, generation: known as u32 })
}

#[inline(always)]
pub const fn scope_of(scope: u32, generation: u32) -> u64 {
    (scope as u64) << 32 | generation as u64
}

/// The [`Key`] of an IPv4 flow, as far as it is not zero; the scope is that of the whole burst or SA.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PlainKey {
    addresses: u64,
    rest: u64,
}
impl PlainKey {
    /// Source and destination, and the ports if the protocol has them, as they stand in the packet.
    #[inline(always)]
    pub const fn new(addresses: u64, protocol: u8, ports: Option<u32>, origin: Origin) -> Self {
        Self { addresses, rest: Key::rest(protocol, ports, origin) | IPV4 }
    }
    /// As a number.
    #[inline(always)]
    pub const fn destination(self) -> u32 {
        ((self.addresses >> 32) as u32).swap_bytes()
    }
    /// Source and destination.
    pub fn ends(self) -> (Ipv4Addr, Ipv4Addr) {
        (Ipv4Addr::from((self.addresses as u32).swap_bytes()), Ipv4Addr::from(self.destination()))
    }
    #[inline(always)]
    pub const fn within(self, scope: u64) -> Key {
        Key { addresses: [self.addresses, 0, 0, 0], rest: self.rest, scope }
    }
    #[inline(always)]
    fn hash(self, scope: u64) -> u32 {
        mix(self.addresses, self.rest ^ scope >> 32 << 16) as u32
    }
    #[inline(always)]
    fn is(self, scope: u64, line: &Line) -> bool {
        (self.addresses ^ line.key.addresses) | (self.rest ^ line.key.rest) | (scope ^ line.scope) == 0
    }
    fn before(self, scope: u64, line: &Line) -> Option<Before> {
        let differing = (self.addresses ^ line.key.addresses) | (self.rest ^ line.key.rest);
        before(differing, line.scope, scope, line.verdict)
    }
}

#[inline(always)]
const fn mix(a: u64, b: u64) -> u64 {
    let wide = (a ^ 0x9e37_79b9_7f4a_7c15) as u128 * (b ^ 0xd6e8_feb8_6659_fd93) as u128;
    wide as u64 ^ (wide >> 64) as u64
}
fn bits(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u32::from(a).into(),
        IpAddr::V6(a) => a.into(),
    }
}

#[derive(Clone, Copy, Debug)]
struct Line {
    key: PlainKey,
    scope: u64,
    verdict: Word,
}
/// Two entries that IPv4 flows of one hash share, the newer first: one cache line.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Pair([Line; 2]);

#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct WideLine {
    key: Key,
    verdict: Word,
}
/// The same for IPv6: two lines that are neighbours.
#[derive(Clone, Copy, Debug)]
#[repr(align(128))]
struct WidePair([WideLine; 2]);

#[derive(Debug)]
pub struct FlowCache {
    pairs: Vec<Pair>,
    wide: Vec<WidePair>,
}

/// Pairs of IPv4 flows that a worker can remember: four megabytes, or sixteen in a gateway that has room for as many SAs.
const PAIRS: std::ops::RangeInclusive<usize> = 1 << 16..=1 << 18;
/// Two megabytes.
const WIDE_PAIRS: usize = 1 << 14;

impl FlowCache {
    /// Every SA of `slots` may have flows of its own.
    pub fn new(slots: u32) -> Self {
        let empty = WideLine { key: Key::NOTHING, verdict: Word::PASS };
        let wide = pages::filled(WIDE_PAIRS, || WidePair([empty; 2]));
        // Scope 0 is of no generation.
        let key = PlainKey { addresses: 0, rest: 0 };
        let empty = Line { key, scope: 0, verdict: Word::PASS };
        let pairs = (slots as usize).next_power_of_two().clamp(*PAIRS.start(), *PAIRS.end());
        Self { pairs: pages::filled(pairs, || Pair([empty; 2])), wide }
    }
    /// Where the flow's verdict is, if anywhere, and asks for it to be brought near.
    #[inline(always)]
    pub fn approach(&self, key: PlainKey, scope: u64) -> u32 {
        let place = key.hash(scope);
        if let Some(pair) = self.pairs.get(self.pair(place)) {
            near(pair);
        }
        place
    }
    /// There is a power of two of them.
    #[inline(always)]
    fn pair(&self, place: u32) -> usize {
        place as usize & self.pairs.len().wrapping_sub(1)
    }
    /// The same as [`Self::look_up_at`] for what is known already.
    #[inline(always)]
    pub fn peek(&self, place: u32, key: PlainKey, scope: u64) -> Option<Word> {
        let Pair([newer, older]) = self.pairs.get(self.pair(place))?;
        if key.is(scope, newer) {
            return Some(newer.verdict);
        }
        key.is(scope, older).then_some(older.verdict)
    }
    /// What is known of the flow, at the place that [`Self::approach`] told.
    #[inline(always)]
    pub fn look_up_at(
        &mut self,
        place: u32,
        key: PlainKey,
        scope: u64,
        judge: impl FnOnce(Option<Before>) -> Verdict,
    ) -> Word {
        let pair = self.pair(place);
        let Some(Pair([newer, older])) = self.pairs.get_mut(pair) else { return judge(None).into() };
        if key.is(scope, newer) {
            return newer.verdict;
        }
        if key.is(scope, older) {
            return older.verdict;
        }
        let (first, second) = (key.before(scope, newer), key.before(scope, older));
        if first.is_none() {
            *older = *newer;
        }
        let verdict = judge(first.or(second)).into();
        *newer = Line { key, scope, verdict };
        verdict
    }
    /// For any flow.
    pub fn look_up(&mut self, key: &Key, judge: impl FnOnce(Option<Before>) -> Verdict) -> Word {
        if key.rest & IPV4 != 0 {
            let plain = PlainKey { addresses: key.addresses[0], rest: key.rest };
            return self.look_up_at(plain.hash(key.scope), plain, key.scope, judge);
        }
        let WidePair([newer, older]) = &mut self.wide[key.hash()];
        if newer.key.is(key) {
            return newer.verdict;
        }
        if older.key.is(key) {
            return older.verdict;
        }
        let (first, second) = (key.before(newer), key.before(older));
        if first.is_none() {
            *older = *newer;
        }
        let verdict = judge(first.or(second)).into();
        *newer = WideLine { key: *key, verdict };
        verdict
    }
}

/// An address in words, for the same reason as [`Key`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct To {
    high: u64,
    low: u64,
    ipv4: bool,
}
impl To {
    #[inline(always)]
    pub fn v4(address: u32) -> Self {
        Self { high: 0, low: address.into(), ipv4: true }
    }
    #[inline(always)]
    pub fn v6(address: u128) -> Self {
        Self { high: (address >> 64) as u64, low: address as u64, ipv4: false }
    }
    #[inline(always)]
    fn place(self) -> usize {
        mix(self.low, self.high) as usize % WAYS
    }
    pub fn address(self) -> IpAddr {
        match self.ipv4 {
            true => IpAddr::V4((self.low as u32).into()),
            false => IpAddr::V6((u128::from(self.high) << 64 | u128::from(self.low)).into()),
        }
    }
}
impl From<IpAddr> for To {
    #[inline(always)]
    fn from(address: IpAddr) -> Self {
        match address {
            IpAddr::V4(a) => Self::v4(a.into()),
            IpAddr::V6(a) => Self::v6(a.into()),
        }
    }
}

/// A destination and the way there.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Known {
    high: u64,
    low: u64,
    /// Generation of the links, which is never 0 in use, and the family.
    scope: u64,
    way: Option<Way>,
}

impl Known {
    #[cold]
    #[inline(never)]
    fn learn<K>(&mut self, tables: &Tables<K>, to: To, scope: u64) {
        *self = Self { high: to.high, low: to.low, scope, way: Way::find(tables, to.address()) };
    }
}

#[derive(Debug)]
pub struct WayCache {
    known: Vec<Known>,
}

/// Destinations of a worker whose way can be remembered: four megabytes.
const WAYS: usize = 1 << 16;

impl WayCache {
    pub fn new() -> Self {
        Self { known: pages::filled(WAYS, || Known { high: 0, low: 0, scope: 0, way: None }) }
    }
    /// Asks for what is known of a destination to be brought near.
    #[inline(always)]
    pub fn approach(&self, to: To) {
        if let Some(known) = self.known.get(to.place()) {
            near(known);
        }
    }
    /// `None`: there is no route.
    #[inline(always)]
    pub fn find<K>(&mut self, tables: &Tables<K>, to: To) -> Option<&Way> {
        let To { high, low, ipv4 } = to;
        let scope = u64::from(tables.links) << 1 | u64::from(ipv4);
        let known = &mut self.known[to.place()];
        if (known.high ^ high) | (known.low ^ low) | (known.scope ^ scope) != 0 {
            known.learn(tables, to, scope);
        }
        known.way.as_ref()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entries_are_one_cache_line() {
        assert_eq!((size_of::<Pair>(), size_of::<WideLine>(), size_of::<Known>()), (64, 64, 64));
    }
    #[test]
    fn a_verdict_is_for_one_flow_one_way_of_coming_and_one_generation() {
        const A: u64 = 0x0a00_0001;
        const B: u64 = 0x0a00_0002;
        let mut cache = FlowCache::new(16);
        let v4 = |src, dst, protocol, ports, origin, scope, generation| {
            PlainKey::new(src << 32 | dst, protocol, ports, origin).within(scope_of(scope, generation))
        };
        let key = v4(A, B, 17, Some(0x1_0002), Origin::Clear, 3, 7);
        let others = [
            v4(A, B, 17, Some(0x1_0002), Origin::Clear, 4, 7),
            v4(A, B, 17, Some(0x1_0002), Origin::Clear, 3, 8),
            v4(A, B, 17, None, Origin::Clear, 3, 7),
            v4(A, B, 17, Some(0x2_0001), Origin::Clear, 3, 7),
            v4(B, A, 17, Some(0x1_0002), Origin::Clear, 3, 7),
            v4(A, B, 6, Some(0x1_0002), Origin::Clear, 3, 7),
            v4(A, B, 17, Some(0x1_0002), Origin::Own, 3, 7),
        ];
        for other in others {
            assert_eq!(cache.look_up(&key, |_| Verdict::Ours), Word::OURS);
            assert_eq!(cache.look_up(&key, |_| Verdict::Link), Word::OURS, "remembered");
            assert_eq!(cache.look_up(&other, |_| Verdict::Link), Word::LINK, "{other:?}");
            assert_eq!(cache.look_up(&key, |_| Verdict::Ours), Word::OURS);
        }
    }
    #[test]
    fn who_asks_again_is_told_what_was_known_before() {
        let v4 = PlainKey::new(1 << 32 | 2, 17, Some(3), Origin::Clear);
        let v6 = Key { addresses: [1, 2, 3, 4], rest: Key::rest(17, Some(3), Origin::Clear), scope: 0 };
        for of in [|v4: PlainKey, _: Key, scope| v4.within(scope), |_, v6: Key, scope| Key { scope, ..v6 }] {
            let mut cache = FlowCache::new(16);
            let mut ask = |scope, generation, verdict| {
                let mut told = None;
                cache.look_up(&of(v4, v6, scope_of(scope, generation)), |before| {
                    told = before.map(|b| (b.verdict, b.generation));
                    verdict
                });
                told
            };
            assert_eq!(ask(1, 7, Verdict::Ours), None);
            assert_eq!(ask(2, 7, Verdict::Link), None, "another scope");
            assert_eq!(ask(1, 8, Verdict::Pass), Some((Word::OURS, 7)), "though it was the older");
            assert_eq!(ask(1, 9, Verdict::Pass), Some((Word::PASS, 8)));
            assert_eq!(ask(2, 9, Verdict::Pass), Some((Word::LINK, 7)), "it was not pushed out");
        }
    }
    #[test]
    fn the_short_key_finds_what_the_whole_key_left() {
        let ports = |a: u16, b: u16| {
            let ([a, b], [c, d]) = (a.to_be_bytes(), b.to_be_bytes());
            u32::from_le_bytes([a, b, c, d])
        };
        let address = |octets| u64::from(u32::from_le_bytes(octets));
        for n in 0..200u8 {
            let (src, dst) = ([10, 0, n, 1], [10, 1, n, 2]);
            let (protocol, both) =
                if n % 3 == 0 { (50, None) } else { (17, Some((1000 + u16::from(n), 53))) };
            let flow = Flow {
                src: src.into(),
                dst: dst.into(),
                protocol,
                src_port: both.map(|b| b.0),
                dst_port: both.map(|b| b.1),
            };
            let (mut cache, whole) = (FlowCache::new(16), Key::of(&flow, Origin::Clear).within(5, 9));
            let scope = scope_of(5, 9);
            let both = both.map(|(a, b)| ports(a, b));
            let short = PlainKey::new(address(dst) << 32 | address(src), protocol, both, Origin::Clear);
            assert_eq!(short.within(scope), whole);
            assert_eq!(cache.look_up(&whole, |_| Verdict::Ours), Word::OURS);
            let place = cache.approach(short, scope);
            assert_eq!(cache.look_up_at(place, short, scope, |_| Verdict::Link), Word::OURS);
            assert_eq!(cache.look_up_at(place, short, scope_of(6, 9), |_| Verdict::Link), Word::LINK);
        }
    }
    #[test]
    fn a_word_says_what_the_verdict_was() {
        let fixed = [Verdict::Pass, Verdict::Acquire, Verdict::Ours, Verdict::Link, Verdict::Mismatch];
        let sas = [(0, 1), (u32::MAX, u32::MAX), (5, 1 << 31)]
            .map(|(slot, install)| Verdict::Encrypt(SaRef { slot, install }));
        let drops = DropReason::ALL.iter().map(|reason| Verdict::Drop(*reason));
        for verdict in fixed.into_iter().chain(sas).chain(drops) {
            let word = Word::from(verdict);
            assert_eq!(word.verdict(), verdict);
            assert_eq!(word.sa().is_some(), matches!(verdict, Verdict::Encrypt(_)));
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
