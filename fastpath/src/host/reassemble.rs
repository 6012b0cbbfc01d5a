//! Datagrams for the gateway that arrive in fragments (RFC 791 3.2, RFC 8200 4.5), put together before anything else is
//! done with them: ESP and AH are never processed in pieces (RFC 4303 3.4.1), and large IKE messages come like this.
//!
//! Everything is bounded: datagrams, fragments of one, bytes of one, time. When there are too many, the sender that
//! has most loses its oldest, so that a flood from one address does not keep the others out.
use sa::DropReason;
use std::collections::HashMap;
use std::net::IpAddr;
use wire::ip::{self, Fragment, FragmentHeader, Packet, V6_HEADER};

/// Datagrams that may be incomplete at once.
pub const DATAGRAMS: usize = 256;
/// Fragments of one datagram.
pub const FRAGMENTS: usize = 64;
/// How long a datagram may take to arrive (RFC 791 3.2 names 15 seconds).
pub const PATIENCE_MS: u64 = 15_000;

/// Which datagram a fragment belongs to. IPv6 has no protocol in it (RFC 8200 4.5).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
struct Name {
    src: IpAddr,
    dst: IpAddr,
    protocol: u8,
    id: u32,
}

/// A fragment, understood.
struct Piece<'a> {
    name: Name,
    at: Fragment,
    /// Everything in front of the payload of the whole; empty in all but the first.
    front: Vec<u8>,
    payload: &'a [u8],
    ecn: u8,
}

/// What is kept of one.
#[derive(Debug)]
struct Kept {
    offset: usize,
    bytes: Vec<u8>,
}

#[derive(Debug)]
struct Datagram {
    /// Its place in the order of arrival.
    number: u64,
    since: u64,
    /// Everything in front of the payload, as the first fragment has it.
    front: Option<Vec<u8>>,
    /// In order, none overlapping.
    pieces: Vec<Kept>,
    /// Known when the last fragment has come.
    len: Option<usize>,
    /// ECN fields seen, a bit for each value.
    ecn: u8,
    /// Fragments that were wrong: all others of this datagram go as well.
    spoilt: bool,
}

/// What became of a fragment.
#[derive(Debug, PartialEq, Eq)]
pub enum Added {
    Waits,
    Whole(Vec<u8>),
    Refused(DropReason),
}
/// What it was to its datagram.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    Waits,
    Last,
    Again,
    Bad,
}

/// Fragments that are given up although they had been taken, and why.
pub type Lost = (DropReason, u64);

#[derive(Debug, Default)]
pub struct Reassembly {
    datagrams: HashMap<Name, Datagram>,
    /// Incomplete datagrams of each sender.
    senders: HashMap<IpAddr, usize>,
    next: u64,
}

impl Reassembly {
    /// Takes a fragment, from its IP header on. `lost` is told of those taken before that are given up for it.
    pub fn add(&mut self, bytes: &[u8], now_ms: u64, mut lost: impl FnMut(Lost)) -> Added {
        let Some(piece) = Piece::parse(bytes) else { return Added::Refused(DropReason::FragmentBad) };
        let name = piece.name;
        if self.datagrams.len() >= DATAGRAMS && !self.datagrams.contains_key(&name) {
            self.make_room(&mut lost);
        }
        let datagram = self.datagrams.entry(name).or_insert_with(|| {
            self.next += 1;
            *self.senders.entry(name.src).or_default() += 1;
            Datagram::new(self.next, now_ms)
        });
        match datagram.add(piece) {
            Step::Waits => Added::Waits,
            Step::Again => Added::Refused(DropReason::FragmentTwice),
            //= rfc5722#4/overlap: all fragments of the datagram are discarded, also those that are still to come.
            Step::Bad => {
                lost((DropReason::FragmentBad, datagram.spoil()));
                Added::Refused(DropReason::FragmentBad)
            }
            Step::Last => {
                let Some(datagram) = self.remove(&name) else { return Added::Waits };
                let others = datagram.pieces.len() as u64 - 1;
                datagram.whole().map_or_else(
                    || {
                        lost((DropReason::FragmentBad, others));
                        Added::Refused(DropReason::FragmentBad)
                    },
                    Added::Whole,
                )
            }
        }
    }

    /// Gives up what has waited too long.
    pub fn on_time(&mut self, now_ms: u64, mut lost: impl FnMut(Lost)) {
        let late = |d: &Datagram| now_ms.saturating_sub(d.since) >= PATIENCE_MS;
        let names: Vec<Name> =
            self.datagrams.iter().filter(|(_, d)| late(d)).map(|(name, _)| *name).collect();
        for name in names {
            let kept = self.remove(&name).map_or(0, |datagram| datagram.pieces.len());
            lost((DropReason::FragmentLate, kept as u64));
        }
    }
    /// Datagrams that are incomplete.
    pub fn len(&self) -> usize {
        self.datagrams.len()
    }
    pub fn is_empty(&self) -> bool {
        self.datagrams.is_empty()
    }

    /// The oldest of whoever has most.
    fn make_room(&mut self, lost: &mut impl FnMut(Lost)) {
        let Some(most) = self.senders.values().max().copied() else { return };
        let heavy = |name: &Name| self.senders.get(&name.src) == Some(&most);
        let oldest = self.datagrams.iter().filter(|(name, _)| heavy(name)).min_by_key(|(_, d)| d.number);
        let name = oldest.map(|(name, _)| *name);
        let kept = name.and_then(|name| self.remove(&name)).map_or(0, |datagram| datagram.pieces.len());
        lost((DropReason::FragmentFull, kept as u64));
    }
    fn remove(&mut self, name: &Name) -> Option<Datagram> {
        let datagram = self.datagrams.remove(name)?;
        if let Some(count) = self.senders.get_mut(&name.src) {
            *count -= 1;
            if *count == 0 {
                self.senders.remove(&name.src);
            }
        }
        Some(datagram)
    }
}

impl Datagram {
    fn new(number: u64, since: u64) -> Self {
        Self { number, since, front: None, pieces: Vec::new(), len: None, ecn: 0, spoilt: false }
    }
    /// How many were there.
    fn spoil(&mut self) -> u64 {
        self.spoilt = true;
        std::mem::take(&mut self.pieces).len() as u64
    }

    fn add(&mut self, Piece { at: Fragment { offset, more }, front, payload, ecn, .. }: Piece<'_>) -> Step {
        let offset = usize::from(offset);
        let end = offset + payload.len();
        //= rfc8200#4.5/fragment-length: all but the last are a multiple of 8 bytes; the whole is at most 65535.
        let misshapen = payload.is_empty() || more && payload.len() % 8 != 0;
        let too_long = front.len() + end > usize::from(u16::MAX);
        if self.spoilt || misshapen || too_long || self.pieces.len() >= FRAGMENTS {
            return Step::Bad;
        }
        let at = self.pieces.partition_point(|kept| kept.offset < offset);
        let behind = self.pieces.get(at);
        //= rfc8200#4.5/duplicate: an exact duplicate is ignored.
        if behind.is_some_and(|kept| kept.offset == offset && kept.bytes == payload) {
            return Step::Again;
        }
        let before = at.checked_sub(1).and_then(|at| self.pieces.get(at));
        let overlaps =
            before.is_some_and(|kept| kept.end() > offset) || behind.is_some_and(|kept| kept.offset < end);
        // Nothing lies behind the last one, and there is one last.
        let ends = match self.len {
            Some(len) => more && end < len,
            None => more || behind.is_none(),
        };
        if overlaps || !ends {
            return Step::Bad;
        }
        self.pieces.insert(at, Kept { offset, bytes: payload.to_vec() });
        self.ecn |= 1 << ecn;
        if offset == 0 {
            self.front = Some(front);
        }
        if !more {
            self.len = Some(end);
        }
        let there: usize = self.pieces.iter().map(|kept| kept.bytes.len()).sum();
        if self.len == Some(there) { Step::Last } else { Step::Waits }
    }

    /// Front, payload, and a header that no longer tells of fragments.
    fn whole(self) -> Option<Vec<u8>> {
        let mut packet = self.front?;
        let front = packet.len();
        self.pieces.iter().for_each(|kept| packet.extend_from_slice(&kept.bytes));
        let total = u16::try_from(packet.len()).ok()?;
        if packet.first()? >> 4 == 4 {
            packet.get_mut(2..4)?.copy_from_slice(&total.to_be_bytes());
            packet.get_mut(6..8)?.fill(0);
            packet.get_mut(10..12)?.fill(0);
            let sum = wire::checksum(packet.get(..front)?);
            packet.get_mut(10..12)?.copy_from_slice(&sum.to_be_bytes());
        } else {
            let payload = total.checked_sub(V6_HEADER as u16)?;
            packet.get_mut(4..6)?.copy_from_slice(&payload.to_be_bytes());
        }
        ip::set_ecn(&mut packet, ecn_of(self.ecn)?)?;
        Some(packet)
    }
}
impl Kept {
    fn end(&self) -> usize {
        self.offset + self.bytes.len()
    }
}

//= rfc3168#5.3/fragments: one that met congestion marks the whole, unless others cannot carry the mark.
fn ecn_of(seen: u8) -> Option<u8> {
    const NOT_ECT: u8 = 1;
    const CE: u8 = 1 << 3;
    match seen {
        CE => Some(3),
        _ if seen & CE != 0 => (seen & NOT_ECT == 0).then_some(3),
        _ if seen & NOT_ECT != 0 => Some(0),
        // Among ECT(0) and ECT(1): the one that came, else the common one.
        0b010 => Some(1),
        _ => Some(2),
    }
}

impl<'a> Piece<'a> {
    fn parse(bytes: &'a [u8]) -> Option<Self> {
        let packet = Packet::parse(bytes).ok()?;
        let (src, dst, at) = (packet.src, packet.dst, packet.fragment?);
        let whole = bytes.get(..packet.total_len.into())?;
        let (name, mut front, payload) = if packet.is_ipv4() {
            let (front, payload) = whole.split_at_checked(packet.upper_at.into())?;
            let id = u16::from_be_bytes(*front.get(4..6)?.first_chunk()?);
            (Name { src, dst, protocol: packet.protocol, id: id.into() }, front.to_vec(), payload)
        } else {
            let header = FragmentHeader::find(whole)?;
            let (mut front, payload) = (whole.get(..header.at)?.to_vec(), whole.get(header.end()..)?);
            *front.get_mut(header.named_at)? = header.next;
            (Name { src, dst, protocol: 0, id: header.id }, front, payload)
        };
        if at.offset != 0 {
            front.clear();
        }
        Some(Self { name, at, front, payload, ecn: packet.tos & 3 })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::fragment::split;
    use proptest::prelude::*;
    use wire::ip::{Fields, MF, V4_HEADER};

    fn whole(v6: bool, source: u8, id: u16, len: usize) -> Vec<u8> {
        let (src, dst) = match v6 {
            false => (IpAddr::from([192, 0, 2, source]), IpAddr::from([192, 0, 2, 200])),
            true => (
                IpAddr::from([0x2001, 0xdb8, 0, 0, 0, 0, 0, source.into()]),
                "2001:db8::200".parse().expect("an address"),
            ),
        };
        let fields = Fields { src, dst, protocol: 50, tos: 0, ttl: 64, dont_fragment: false, id };
        let mut packet = vec![0; fields.header_len()];
        fields.write(&mut packet, len).expect("room");
        packet.extend((0..len).map(|n| (n / 8 * 5 + n) as u8));
        packet
    }
    fn pieces(v6: bool, source: u8, id: u16, len: usize, mtu: u16) -> Vec<Vec<u8>> {
        split(whole(v6, source, id, len), mtu, id.into())
    }
    /// What became of each, and how many were lost beside them.
    fn feed(table: &mut Reassembly, pieces: &[Vec<u8>]) -> (Vec<Added>, u64) {
        let mut lost = 0;
        let added = pieces.iter().map(|piece| table.add(piece, 0, |(_, count)| lost += count)).collect();
        (added, lost)
    }
    /// Without what is not the datagram's own: identification and checksum of IPv4.
    fn told(mut packet: Vec<u8>) -> Vec<u8> {
        if packet[0] >> 4 == 4 {
            assert!(Packet::parse(&packet).is_ok(), "the checksum holds");
            packet[4..6].fill(0);
            packet[10..12].fill(0);
        }
        packet
    }

    #[test]
    fn an_overlap_spoils_the_whole_datagram() {
        for v6 in [false, true] {
            let right = pieces(v6, 1, 7, 3000, 1280);
            let mut other = right[1].clone();
            *other.last_mut().expect("bytes") ^= 1;
            let mut table = Reassembly::default();
            let (added, lost) =
                feed(&mut table, &[right[0].clone(), right[1].clone(), other, right[2].clone()]);
            let bad = Added::Refused(DropReason::FragmentBad);
            assert_eq!(added[..2], [Added::Waits, Added::Waits]);
            assert_eq!((&added[2], &added[3], lost), (&bad, &bad, 2));
            table.on_time(PATIENCE_MS, |_| {});
            assert!(table.is_empty() && table.senders.is_empty());
            let (added, _) = feed(&mut table, &right);
            assert!(matches!(added[2], Added::Whole(_)), "the name may be used again");
        }
    }
    #[test]
    fn a_duplicate_does_no_harm() {
        let right = pieces(false, 1, 7, 3000, 1280);
        let mut table = Reassembly::default();
        let (added, lost) =
            feed(&mut table, &[right[0].clone(), right[0].clone(), right[1].clone(), right[2].clone()]);
        assert_eq!(added[1], Added::Refused(DropReason::FragmentTwice));
        assert!(matches!(added[3], Added::Whole(_)) && lost == 0);
    }
    #[test]
    fn a_flood_of_beginnings_leaves_others_their_share() {
        let mut table = Reassembly::default();
        let quiet = pieces(false, 2, 9, 2000, 1280);
        let (added, mut lost) = feed(&mut table, &quiet[..1]);
        assert_eq!(added, [Added::Waits]);
        for id in 0..2000 {
            let (_, more) = feed(&mut table, &pieces(false, 1, id, 2000, 1280)[..1]);
            lost += more;
        }
        assert_eq!((table.len(), lost), (DATAGRAMS, 2001 - DATAGRAMS as u64));
        let (added, _) = feed(&mut table, &quiet[1..]);
        assert!(matches!(added[0], Added::Whole(_)), "the quiet sender's datagram was kept");
    }
    #[test]
    fn an_end_that_lies_is_refused() {
        let long = pieces(false, 1, 7, 4000, 1280);
        let short = pieces(false, 1, 7, 2000, 1280);
        for order in [[long[2].clone(), short[1].clone()], [short[1].clone(), long[2].clone()]] {
            let (added, lost) = feed(&mut Reassembly::default(), &order);
            assert_eq!((&added[1], lost), (&Added::Refused(DropReason::FragmentBad), 1));
        }
    }
    #[test]
    fn what_came_late_is_given_up() {
        let mut table = Reassembly::default();
        feed(&mut table, &pieces(true, 1, 7, 4000, 1280)[..2]);
        let mut lost = Vec::new();
        table.on_time(PATIENCE_MS - 1, |what| lost.push(what));
        assert_eq!(lost, []);
        table.on_time(PATIENCE_MS, |what| lost.push(what));
        assert_eq!(lost, [(DropReason::FragmentLate, 2)]);
    }
    #[test]
    fn ecn_is_what_rfc_3168_says() {
        for (seen, expected) in [
            (0b0001, Some(0)),
            (0b0010, Some(1)),
            (0b0100, Some(2)),
            (0b1000, Some(3)),
            (0b1100, Some(3)),
            (0b1001, None),
        ] {
            assert_eq!(ecn_of(seen), expected, "{seen:04b}");
        }
    }
    proptest! {
        #[test]
        fn any_order_makes_the_whole_again(
            v6: bool, len in 1500usize..9000, mtu in 1280u16..1500,
            keys in prop::collection::vec(any::<u32>(), 8),
        ) {
            let mut order: Vec<_> = pieces(v6, 1, 7, len, mtu).into_iter().zip(keys).collect();
            order.sort_by_key(|(_, key)| *key);
            let mut table = Reassembly::default();
            let order: Vec<_> = order.into_iter().map(|(piece, _)| piece).collect();
            let (mut added, lost) = feed(&mut table, &order);
            let Some(Added::Whole(packet)) = added.pop() else { panic!("not whole") };
            prop_assert!(added.iter().all(|a| *a == Added::Waits) && lost == 0 && table.is_empty());
            prop_assert_eq!(told(packet), told(whole(v6, 1, 7, len)));
        }
        #[test]
        fn every_fragment_is_counted_once_whatever_they_are(
            pieces in prop::collection::vec((0u16..3, 0u16..12, 0usize..40, any::<bool>()), 1..60),
        ) {
            let mut table = Reassembly::default();
            let (mut out, mut within) = (0u64, 0u64);
            for (id, at, len, more) in &pieces {
                let mut packet = whole(false, 1, *id, *len);
                packet[6..8].copy_from_slice(&(at | if *more { MF } else { 0 }).to_be_bytes());
                packet[10..12].fill(0);
                let sum = wire::checksum(&packet[..V4_HEADER]);
                packet[10..12].copy_from_slice(&sum.to_be_bytes());
                let before = table.datagrams.values().map(|d| d.pieces.len() as u64).sum::<u64>();
                let mut lost = 0;
                match table.add(&packet, 0, |(_, count)| lost += count) {
                    Added::Whole(whole) => {
                        within += before - table.datagrams.values().map(|d| d.pieces.len() as u64).sum::<u64>() + 1;
                        prop_assert!(Packet::parse(&whole).is_ok_and(|p| p.fragment.is_none()));
                    }
                    Added::Refused(_) => out += 1,
                    Added::Waits => {}
                }
                out += lost;
            }
            table.on_time(PATIENCE_MS, |(_, count)| out += count);
            prop_assert_eq!(out + within, pieces.len() as u64);
        }
    }
}
