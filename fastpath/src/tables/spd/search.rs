//! Finds the first policy that fits, among many: tuple space search over compact lines.
//!
//! A selector is one or more rows, each a value under a mask of its own: addresses under the lengths of its prefixes,
//! the protocol or nothing, ports in aligned blocks of a power of two, so that a range is at most thirty blocks
//! and mostly a handful. Rows with the same mask are looked for with one hash; the best rank over the masks wins. A
//! look-up costs one hash per mask that has rows like the packet, see `parts`, not per policy, and a range of ports no
//! more than a prefix does.
use super::super::shards::{Shards, Slab};
use super::parts::Part;
use sa::{PortRange, Selector};
use std::net::IpAddr;
use wire::Flow;

/// What a flow or a selector says, in words: both IPv4 addresses are one, both IPv6 addresses four.
#[derive(Clone, Copy, Debug)]
pub(super) struct Words<const N: usize> {
    pub addresses: [u64; N],
    /// Protocol, source port, destination port.
    pub rest: u64,
    /// Bits of `rest` that the packet does not have.
    missing: u64,
}
const PROTOCOL: u64 = 0xff << 32;
const SRC_PORT: u32 = 16;
const DST_PORT: u32 = 0;

pub(super) fn v4(src: u32, dst: u32) -> [u64; 1] {
    [u64::from(src) << 32 | u64::from(dst)]
}
pub(super) fn v6(src: u128, dst: u128) -> [u64; 4] {
    [(src >> 64) as u64, src as u64, (dst >> 64) as u64, dst as u64]
}
impl<const N: usize> Words<N> {
    pub fn new(addresses: [u64; N], flow: &Flow) -> Self {
        let port = |port: Option<u16>, at: u32| match port {
            Some(port) => (u64::from(port) << at, 0),
            None => (0, 0xffff << at),
        };
        let (src, no_src) = port(flow.src_port, SRC_PORT);
        let (dst, no_dst) = port(flow.dst_port, DST_PORT);
        Self { addresses, rest: u64::from(flow.protocol) << 32 | src | dst, missing: no_src | no_dst }
    }
}

/// The bits a row looks at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Mask<const N: usize> {
    pub addresses: [u64; N],
    pub rest: u64,
}

#[derive(Debug)]
pub(super) struct Probe<const N: usize> {
    pub mask: Mask<N>,
    /// Follows from the mask.
    seed: u64,
    /// No row here ranks before this. Never raised while the probe lives: a bound, not a fact.
    first_rank: u64,
    rows: u32,
}

/// Rows of one mask and value. Policies that share it are told apart by rank alone.
#[derive(Clone, Copy, Debug)]
struct Cell {
    rank: u64,
    /// Of the entry.
    index: u32,
    /// Place in `lists`, plus one.
    more: u32,
}

#[derive(Debug)]
pub(super) struct Family<const N: usize> {
    parts: Vec<Part<N>>,
    cells: Shards<Cell>,
    /// Rows behind the best one of a cell, the best of them last.
    lists: Slab<Vec<(u64, u32)>>,
}
impl<const N: usize> Default for Family<N> {
    fn default() -> Self {
        Self { parts: Vec::new(), cells: Shards::default(), lists: Slab::default() }
    }
}

#[inline(always)]
const fn fold(a: u64, b: u64) -> u64 {
    let wide = a as u128 * b as u128;
    wide as u64 ^ (wide >> 64) as u64
}
impl<const N: usize> Probe<N> {
    fn new(mask: Mask<N>, first_rank: u64) -> Self {
        let seed = mask
            .addresses
            .iter()
            .fold(fold(mask.rest ^ 0x9e37_79b9_7f4a_7c15, 0xd6e8_feb8_6659_fd93), |s, m| {
                fold(s ^ m, 0xa076_1d64_78bd_642f)
            });
        Self { mask, seed, first_rank, rows: 0 }
    }
    /// Two values may fall together: whoever finds a row looks at the policy itself.
    #[inline(always)]
    fn hash(&self, addresses: &[u64; N], rest: u64) -> u64 {
        let masked = |at: usize| addresses[at] & self.mask.addresses[at];
        let first = fold(masked(0) ^ self.seed, (rest & self.mask.rest) ^ 0xe703_7ed1_a0b4_28db);
        (1..N).fold(first, |hash, at| fold(hash ^ masked(at), 0x8ebc_6af0_9c88_c6e3))
    }
}

/// A row of a selector, to be put in or taken out.
pub(super) struct Row<const N: usize> {
    pub mask: Mask<N>,
    pub addresses: [u64; N],
    pub rest: u64,
}

impl<const N: usize> Family<N> {
    /// The entry with the lowest rank for which `fits` holds, among those whose rows the flow meets.
    #[inline(always)]
    pub fn find(&self, flow: &Words<N>, fits: impl Fn(u32) -> bool) -> Option<u32> {
        let mut best = (u64::MAX, None);
        for probe in self.parts.iter().flat_map(|part| part.worth_asking(flow)) {
            if best.0 < probe.first_rank || probe.mask.rest & flow.missing != 0 {
                continue;
            }
            let Some(cell) = self.cells.get(probe.hash(&flow.addresses, flow.rest)) else { continue };
            if cell.rank >= best.0 {
                continue;
            }
            if fits(cell.index) {
                best = (cell.rank, Some(cell.index));
            } else {
                best = self.behind(cell, best, &fits);
            }
        }
        best.1
    }
    /// Two hashes fell together.
    #[cold]
    fn behind(
        &self,
        cell: &Cell,
        best: (u64, Option<u32>),
        fits: &impl Fn(u32) -> bool,
    ) -> (u64, Option<u32>) {
        let rows = cell.more.checked_sub(1).and_then(|at| self.lists.get(at));
        let better =
            rows.into_iter().flatten().rev().take_while(|row| row.0 < best.0).find(|row| fits(row.1));
        better.map_or(best, |row| (row.0, Some(row.1)))
    }

    fn put(&mut self, row: &Row<N>, rank: u64, index: u32) {
        let (part, at) = self.probe_for(row.mask, rank);
        let part = &mut self.parts[part];
        part.note(at, row);
        let probe = part.get_mut(at);
        probe.rows += 1;
        let hash = probe.hash(&row.addresses, row.rest);
        let Some(cell) = self.cells.get_mut(hash) else {
            self.cells.insert(hash, Cell { rank, index, more: 0 });
            return;
        };
        let mut behind = (rank, index);
        if rank < cell.rank {
            behind = (cell.rank, cell.index);
            (cell.rank, cell.index) = (rank, index);
        }
        if cell.more == 0 {
            cell.more = self.lists.put(Vec::new()) + 1;
        }
        if let Some(rows) = self.lists.get_mut(cell.more - 1) {
            let place = rows.partition_point(|other| other.0 > behind.0);
            rows.insert(place, behind);
        }
    }
    fn take(&mut self, row: &Row<N>, rank: u64, index: u32) {
        let Some((part, at)) = self.place(&row.mask) else { return };
        let part = &mut self.parts[part];
        let probe = part.get_mut(at);
        let hash = probe.hash(&row.addresses, row.rest);
        probe.rows -= 1;
        if probe.rows == 0 {
            part.remove(at);
        }
        let Some(cell) = self.cells.get_mut(hash) else { return };
        let Some(list) = cell.more.checked_sub(1) else {
            self.cells.remove(hash);
            return;
        };
        let Some(rows) = self.lists.get_mut(list) else { return };
        if (cell.rank, cell.index) == (rank, index) {
            (cell.rank, cell.index) = rows.pop().unwrap_or((rank, index));
        } else {
            let from = rows.partition_point(|other| other.0 > rank);
            if let Some(place) = rows[from..].iter().position(|other| *other == (rank, index)) {
                rows.remove(from + place);
            }
        }
        if rows.is_empty() {
            cell.more = 0;
            self.lists.take(list);
        }
    }
    /// The part and the place in it of a mask.
    fn place(&mut self, mask: &Mask<N>) -> Option<(usize, usize)> {
        self.parts.iter_mut().enumerate().find_map(|(n, part)| Some((n, part.find(mask)?)))
    }
    /// The probe of a mask, made if need be, with its bound lowered to `rank`.
    fn probe_for(&mut self, mask: Mask<N>, rank: u64) -> (usize, usize) {
        if let Some((part, at)) = self.place(&mask) {
            let probe = self.parts[part].get_mut(at);
            probe.first_rank = probe.first_rank.min(rank);
            return (part, at);
        }
        let part = self.parts.iter().position(|part| !part.is_full()).unwrap_or(self.parts.len());
        if part == self.parts.len() {
            self.parts.push(Part::default());
        }
        (part, self.parts[part].add(Probe::new(mask, rank)))
    }
}

/// Both families.
#[derive(Debug, Default)]
pub(super) struct Search {
    pub v4: Family<1>,
    pub v6: Family<4>,
}
impl Search {
    pub fn put(&mut self, selector: &Selector, rank: u64, index: u32) {
        match addresses(selector) {
            Some(Both::V4(value, mask)) => rows(value, mask, selector, |row| self.v4.put(&row, rank, index)),
            Some(Both::V6(value, mask)) => rows(value, mask, selector, |row| self.v6.put(&row, rank, index)),
            None => {}
        }
    }
    pub fn take(&mut self, selector: &Selector, rank: u64, index: u32) {
        match addresses(selector) {
            Some(Both::V4(value, mask)) => rows(value, mask, selector, |row| self.v4.take(&row, rank, index)),
            Some(Both::V6(value, mask)) => rows(value, mask, selector, |row| self.v6.take(&row, rank, index)),
            None => {}
        }
    }
}

enum Both {
    V4([u64; 1], [u64; 1]),
    V6([u64; 4], [u64; 4]),
}
/// Value and mask. `None` for a selector no packet can fit.
fn addresses(selector: &Selector) -> Option<Both> {
    let (src, dst) = (selector.src, selector.dst);
    match (src.addr(), dst.addr()) {
        (IpAddr::V4(from), IpAddr::V4(to)) => {
            let mask = |len: u8| u32::MAX.checked_shl(32 - u32::from(len)).unwrap_or(0);
            Some(Both::V4(v4(from.into(), to.into()), v4(mask(src.len()), mask(dst.len()))))
        }
        (IpAddr::V6(from), IpAddr::V6(to)) => {
            let mask = |len: u8| u128::MAX.checked_shl(128 - u32::from(len)).unwrap_or(0);
            Some(Both::V6(v6(from.into(), to.into()), v6(mask(src.len()), mask(dst.len()))))
        }
        _ => None,
    }
}
fn rows<const N: usize>(value: [u64; N], mask: [u64; N], selector: &Selector, mut each: impl FnMut(Row<N>)) {
    let protocol = selector.protocol.map_or((0, 0), |p| (u64::from(p) << 32, PROTOCOL));
    for src in blocks(selector.src_port) {
        for dst in blocks(selector.dst_port) {
            each(Row {
                mask: Mask { addresses: mask, rest: protocol.1 | src.1 << SRC_PORT | dst.1 << DST_PORT },
                addresses: value,
                rest: protocol.0 | src.0 << SRC_PORT | dst.0 << DST_PORT,
            });
        }
    }
}
/// The aligned blocks of a power of two that make up a range, as value and mask.
fn blocks(range: PortRange) -> impl Iterator<Item = (u64, u64)> {
    let (mut next, last) = (u32::from(range.first), u32::from(range.last));
    std::iter::from_fn(move || {
        if next > last {
            return None;
        }
        let aligned = if next == 0 { 1 << 16 } else { next & next.wrapping_neg() };
        let fitting = 1 << (last - next + 1).ilog2();
        let (value, size) = (next, aligned.min(fitting));
        next += size;
        Some((value.into(), (0x1_0000 - u64::from(size)) & 0xffff))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn blocks_are_exactly_the_range(a in any::<u16>(), b in any::<u16>(), probes in prop::collection::vec(any::<u16>(), 20)) {
            let range = PortRange { first: a.min(b), last: a.max(b) };
            let all: Vec<_> = blocks(range).collect();
            prop_assert!(all.len() <= 30);
            for port in probes.into_iter().chain([0, a, b, a.wrapping_sub(1), b.wrapping_add(1), u16::MAX]) {
                let inside = all.iter().filter(|(value, mask)| u64::from(port) & mask == *value).count();
                prop_assert_eq!(inside, usize::from(range.contains(Some(port))));
            }
        }
    }
    #[test]
    fn any_port_is_one_block_that_looks_at_nothing() {
        assert_eq!(blocks(PortRange::ANY).collect::<Vec<_>>(), [(0, 0)]);
        assert_eq!(blocks(PortRange::one(53)).collect::<Vec<_>>(), [(53, 0xffff)]);
        assert_eq!(blocks(PortRange { first: 5, last: 3 }).count(), 0);
    }
}
