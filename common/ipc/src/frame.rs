//! Frames in their ring: the head and the first bytes in one slot, the rest in the slots behind it.
use crate::contract::FrameMeta;
use crate::layout::{FRAME_SLOT_BYTES, MAX_FRAME};
use crate::memory::{load_bytes, store_bytes};
use crate::record::{self, FRAME_HEAD_BYTES, Malformed};
use crate::ring::{Consumer, Producer, PushError, RingFault};

const FIRST: usize = FRAME_SLOT_BYTES - FRAME_HEAD_BYTES;

fn slots(len: usize) -> u64 {
    1 + len.saturating_sub(FIRST).div_ceil(FRAME_SLOT_BYTES) as u64
}
/// Which bytes of a payload of `len` stand in the slot with this number.
fn part(at: u64, len: usize) -> std::ops::Range<usize> {
    let start = if at == 0 { 0 } else { FIRST + (at as usize - 1) * FRAME_SLOT_BYTES };
    let room = if at == 0 { FIRST } else { FRAME_SLOT_BYTES };
    start.min(len)..(start + room).min(len)
}

pub(crate) fn push(
    ring: &mut Producer,
    head: &[u8; FRAME_HEAD_BYTES],
    payload: &[u8],
) -> Result<(), PushError> {
    ring.push_run(slots(payload.len()), |at, slot| {
        let bytes = &payload[part(at, payload.len())];
        if at == 0 {
            let (first, rest) = slot.split_at(FRAME_HEAD_BYTES / 8);
            store_bytes(first, head);
            store_bytes(rest, bytes);
        } else {
            store_bytes(slot, bytes);
        }
    })
}

/// What a frame is and how long its payload, if it makes sense.
type Taken = Result<(FrameMeta, usize), Malformed>;

/// Copies the head, judges the copy, then copies as much payload as the copy says.
pub(crate) fn pop(ring: &mut Consumer, buffer: &mut [u8; MAX_FRAME]) -> Result<Option<Taken>, RingFault> {
    let (mut head, mut decoded) = ([0; FRAME_HEAD_BYTES], Err(Malformed("frame")));
    let popped = ring.pop_run(|at, slot| {
        let mut body = slot;
        if at == 0 {
            let (first, rest) = slot.split_at(FRAME_HEAD_BYTES / 8);
            load_bytes(first, &mut head);
            decoded = record::decode_frame(&head);
            body = rest;
        }
        let len = decoded.as_ref().map_or(0, |(_, len)| *len);
        load_bytes(body, &mut buffer[part(at, len)]);
        slots(len)
    })?;
    Ok(popped.map(|whole| if whole { decoded } else { Err(Malformed("frame length")) }))
}
