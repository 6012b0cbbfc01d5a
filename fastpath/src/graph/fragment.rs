//! Fragmentation of IPv4 packets that may be fragmented and do not fit (RFC 791 3.2), before encryption; and of packets of
//! our own that are protected already, of both families.
use super::forward::Forward;
use wire::ip::{DF, MF, OFFSET, Packet, V4_HEADER, protocol};
use wire::{PacketBuf, chain, checksum};

/// Makes a buffer that holds the two slices one after the other, with headroom; `None` if there is none.
pub type MakeBuffer<B> = Box<dyn FnMut(&[u8], &[u8]) -> Option<B> + Send>;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Whole {
    /// DF, IPv6, IP options, or no room for a piece: the sender has to be told.
    MayNot,
    NoBuffer,
}

/// Appends the pieces of a packet, none larger than `mtu`, to `pieces` and returns how many there are.
/// When it cannot be split it is given back and nothing was appended.
pub(crate) fn split<B: PacketBuf>(
    item: Forward<B>,
    mtu: usize,
    make: Option<&mut MakeBuffer<B>>,
    pieces: &mut Vec<Forward<B>>,
) -> Result<usize, (Whole, Forward<B>)> {
    let before = pieces.len();
    let step = mtu.saturating_sub(V4_HEADER) & !7;
    let Ok(packet) = Packet::parse(item.buf.data()) else { return Err((Whole::MayNot, item)) };
    let splits = packet.is_ipv4() && !packet.dont_fragment && usize::from(packet.upper_at) == V4_HEADER;
    let (Some(make), true, true) = (make, splits, step > 0) else { return Err((Whole::MayNot, item)) };
    let Some((header, payload)) = item.buf.data().split_first_chunk::<V4_HEADER>() else {
        return Err((Whole::MayNot, item));
    };
    let header = *header;
    for (n, chunk) in payload.chunks(step).enumerate().skip(1) {
        let last = (n + 1) * step >= payload.len();
        let header = piece_header(header, n * step, chunk.len(), last);
        let Some(buf) = make(&header, chunk) else {
            pieces.truncate(before);
            return Err((Whole::NoBuffer, item));
        };
        pieces.push(Forward { buf, ..item });
    }
    let (mut first, count) = (item, pieces.len() - before + 1);
    let payload = (first.buf.len() - V4_HEADER).min(step);
    // Shrinking a packet that is longer than this cannot fail.
    first.buf.truncate(V4_HEADER + payload);
    let header = piece_header(header, 0, payload, count == 1);
    first.buf.data_mut()[..V4_HEADER].copy_from_slice(&header);
    // In front of its followers, so that order is kept.
    pieces.insert(before, first);
    Ok(count)
}

/// The same for an IPv6 packet that we are the source of (RFC 8200 4.5). `id` must not be foreseen, nor come again soon.
pub(crate) fn split_v6<B: PacketBuf>(
    item: Forward<B>,
    mtu: usize,
    id: [u8; 4],
    make: Option<&mut MakeBuffer<B>>,
    pieces: &mut Vec<Forward<B>>,
) -> Result<usize, (Whole, Forward<B>)> {
    let mut header = [0; MOST_IN_FRONT + FRAGMENT_HEADER];
    let place = chain::transport_place(item.buf.data()).ok().filter(|place| place.at <= MOST_IN_FRONT);
    let (Some(make), Some(place)) = (make, place) else { return Err((Whole::MayNot, item)) };
    let front = place.at + FRAGMENT_HEADER;
    let step = mtu.saturating_sub(front) & !7;
    let (Some((head, payload)), Some(header)) =
        (item.buf.data().split_at_checked(place.at), header.get_mut(..front))
    else {
        return Err((Whole::MayNot, item));
    };
    if step == 0 || payload.is_empty() {
        return Err((Whole::MayNot, item));
    }
    let (before, last) = (pieces.len(), (payload.len() - 1) / step);
    for (n, chunk) in payload.chunks(step).enumerate() {
        //= rfc8200#4.5/fragment-header: what named the next header names this one, which names that.
        let (ip, fragment) = header.split_at_mut(place.at);
        ip.copy_from_slice(head);
        let next = std::mem::replace(&mut ip[place.named_at], protocol::FRAGMENT);
        let offset = ((n * step) as u16 | u16::from(n < last)).to_be_bytes();
        let ([o0, o1], [a, b, c, d]) = (offset, id);
        fragment.copy_from_slice(&[next, 0, o0, o1, a, b, c, d]);
        let made = chain::set_length(header, front + chunk.len()).and_then(|()| make(header, chunk));
        let Some(buf) = made else {
            pieces.truncate(before);
            return Err((Whole::NoBuffer, item));
        };
        pieces.push(Forward { buf, ..item });
    }
    Ok(last + 1)
}
const FRAGMENT_HEADER: usize = 8;
/// Headers in front that are copied to each piece.
const MOST_IN_FRONT: usize = 256;

/// The header of the piece that starts `at` bytes into the payload of the packet with `header`.
fn piece_header(mut header: [u8; V4_HEADER], at: usize, len: usize, last: bool) -> [u8; V4_HEADER] {
    let field = u16::from_be_bytes([header[6], header[7]]);
    let offset = (field & OFFSET) + (at / 8) as u16;
    let more = if last { field & MF } else { MF };
    header[2..4].copy_from_slice(&((V4_HEADER + len) as u16).to_be_bytes());
    header[6..8].copy_from_slice(&((field & DF) | more | (offset & OFFSET)).to_be_bytes());
    header[10..12].fill(0);
    let sum = checksum(&header);
    header[10..12].copy_from_slice(&sum.to_be_bytes());
    header
}
