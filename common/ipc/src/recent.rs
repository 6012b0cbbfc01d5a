//! The last packets that were dropped, for whoever asks why one went no further: a small ring for each worker.
//!
//! The fast path's main lcore writes them, from what workers kept of a few packets; the same packet again counts up
//! instead of taking a place. Each record stands under a sequence lock. A reader trusts none of it further than to
//! show it.
use crate::layout::{RECENT, RECENT_WORDS};
use crate::memory::Part;
use crate::region::Region;
use crate::seqlock;
use sa::DropReason;
use std::net::IpAddr;

/// What a packet looked like where it was dropped: inside of a tunnel once it was opened, else as it came.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LostPacket {
    pub reason: DropReason,
    pub src: IpAddr,
    pub dst: IpAddr,
    pub protocol: u8,
    /// `None` where they cannot be seen.
    pub ports: Option<(u16, u16)>,
    /// Of the SA it named or used; 0 for none.
    pub spi: u32,
}

/// Packets of one kind, dropped for one reason.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentDrop {
    pub packet: LostPacket,
    /// Fast path's clock, in seconds.
    pub last: u64,
    /// How many were kept; a flood drops more.
    pub count: u64,
}

const WORDS: usize = 8;
const V6: u64 = 1 << 8;
const PORTS: u64 = 1 << 9;

fn address_words(address: IpAddr) -> [u64; 2] {
    match address {
        IpAddr::V4(a) => [0, u32::from(a).into()],
        IpAddr::V6(a) => [(u128::from(a) >> 64) as u64, u128::from(a) as u64],
    }
}
fn address(v6: bool, [high, low]: [u64; 2]) -> Option<IpAddr> {
    match v6 {
        true => Some((u128::from(high) << 64 | u128::from(low)).to_be_bytes().into()),
        false => u32::try_from(low).ok().filter(|_| high == 0).map(|low| low.to_be_bytes().into()),
    }
}

impl RecentDrop {
    fn to_words(self) -> [u64; WORDS] {
        let p = self.packet;
        let (src_port, dst_port) = p.ports.unwrap_or_default();
        let kind = u64::from(p.protocol)
            | if p.src.is_ipv6() { V6 } else { 0 }
            | if p.ports.is_some() { PORTS } else { 0 }
            | (p.reason as u64) << 16
            | u64::from(src_port) << 32
            | u64::from(dst_port) << 48;
        let ([s0, s1], [d0, d1]) = (address_words(p.src), address_words(p.dst));
        [s0, s1, d0, d1, kind, p.spi.into(), self.last, self.count]
    }
    fn from_words([s0, s1, d0, d1, kind, spi, last, count]: [u64; WORDS]) -> Option<Self> {
        let v6 = kind & V6 != 0;
        let packet = LostPacket {
            reason: DropReason::from_u8((kind >> 16) as u8)?,
            src: address(v6, [s0, s1])?,
            dst: address(v6, [d0, d1])?,
            protocol: kind as u8,
            ports: (kind & PORTS != 0).then_some(((kind >> 32) as u16, (kind >> 48) as u16)),
            spi: u32::try_from(spi).ok()?,
        };
        (count > 0).then_some(Self { packet, last, count })
    }
}

/// The main lcore's pen. What it wrote it remembers itself: nothing is read back from where others can write.
pub(crate) struct RecentPen {
    part: Part,
    /// By worker.
    rings: Vec<Ring>,
}
#[derive(Default)]
struct Ring {
    kept: Vec<RecentDrop>,
    next: usize,
}
impl RecentPen {
    pub fn new(region: &Region) -> Self {
        let workers = region.geometry.workers as usize;
        Self {
            part: region.part(&region.layout.recent),
            rings: (0..workers).map(|_| Ring::default()).collect(),
        }
    }
    pub fn note(&mut self, worker: usize, packet: LostPacket, now: u64) {
        let Some(ring) = self.rings.get_mut(worker) else { return };
        let place = match ring.kept.iter().position(|drop| drop.packet == packet) {
            Some(place) => place,
            None if ring.kept.len() < RECENT => {
                ring.kept.push(RecentDrop { packet, last: now, count: 0 });
                ring.kept.len() - 1
            }
            None => {
                ring.next = (ring.next + 1) % RECENT;
                ring.next
            }
        };
        let Some(drop) = ring.kept.get_mut(place) else { return };
        let count = if drop.packet == packet { drop.count + 1 } else { 1 };
        *drop = RecentDrop { packet, last: now, count };
        let at = (worker * RECENT + place) * RECENT_WORDS;
        if let Some(words) = self.part.get(at..at + RECENT_WORDS) {
            seqlock::write(words, drop.to_words());
        }
    }
}

/// All that is kept, the latest first. What makes no sense is left out.
pub(crate) fn read(part: &Part) -> Vec<RecentDrop> {
    let records = part.chunks(RECENT_WORDS).filter_map(seqlock::read);
    let mut drops: Vec<RecentDrop> = records.filter_map(RecentDrop::from_words).collect();
    drops.sort_by_key(|drop| std::cmp::Reverse(drop.last));
    drops
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;
    use crate::Geometry;

    fn packet(n: u8, v6: bool) -> LostPacket {
        let address = |last: u8| match v6 {
            true => IpAddr::from([0x20, 1, 0xd, 0xb8, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, last]),
            false => IpAddr::from([192, 0, 2, last]),
        };
        LostPacket {
            reason: DropReason::ALL[usize::from(n) % DropReason::COUNT],
            src: address(n),
            dst: address(255),
            protocol: n,
            ports: n.is_multiple_of(2).then_some((u16::from(n) << 8, 65535)),
            spi: u32::MAX - u32::from(n),
        }
    }

    #[test]
    fn the_last_of_each_worker_are_kept_and_the_same_counts_up() {
        let region = Region::create(Geometry { workers: 2, ..Geometry::default() }, 1).unwrap();
        let mut pen = RecentPen::new(&region);
        let part = region.part(&region.layout.recent);
        assert_eq!(read(&part), []);
        for n in 0..100 {
            pen.note(0, packet(n, n % 3 == 0), u64::from(n));
        }
        for again in [100, 101, 102] {
            pen.note(0, packet(99, true), again);
        }
        pen.note(1, packet(7, false), 200);
        pen.note(9, packet(8, false), 300);
        let drops = read(&part);
        assert_eq!(drops.len(), RECENT + 1);
        assert_eq!(drops[0], RecentDrop { packet: packet(7, false), last: 200, count: 1 });
        assert_eq!(drops[1], RecentDrop { packet: packet(99, true), last: 102, count: 4 });
        for (drop, n) in drops[2..].iter().zip((0..99).rev()) {
            assert_eq!((drop.packet, drop.last), (packet(n, n % 3 == 0), u64::from(n)));
        }
    }
    #[test]
    fn what_makes_no_sense_is_left_out() {
        for at in 0..WORDS {
            let mut words = RecentDrop { packet: packet(4, false), last: 5, count: 6 }.to_words();
            words[at] = u64::MAX;
            if let Some(drop) = RecentDrop::from_words(words) {
                assert!(at >= 6, "word {at}: {drop:?}");
            }
        }
        assert_eq!(RecentDrop::from_words([0; WORDS]), None);
    }
}
