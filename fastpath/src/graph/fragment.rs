//! Fragmentation of IPv4 packets that may be fragmented and do not fit (RFC 791 3.2), before encryption.
use super::forward::Forward;
use wire::ip::{DF, MF, OFFSET, Packet, V4_HEADER};
use wire::{PacketBuf, checksum};

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
