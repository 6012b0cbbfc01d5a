//! AES-GCM of our own on packets that lie side by side, two at a time, with no job in between.
use super::cpu::{AHEAD, KeyRecord, native_key};
use super::native::{self, Esp};
use super::{Keys, Part, SaRef};
use sa::Direction;
use wire::PacketBuf;

/// Seals or opens each; those whose key is not for that are not `ok`.
#[inline(always)]
pub(super) fn run<B: PacketBuf, const SEAL: bool>(
    packets: &mut [B],
    parts: &mut [Part],
    keys: &impl Keys<KeyRecord>,
) {
    let direction = if SEAL { Direction::Outbound } else { Direction::Inbound };
    // Packets of one SA come in runs.
    let mut before = (SaRef { slot: 0, install: 0 }, None);
    let mut key = |part: &Part| {
        if before.0 != part.sa {
            let found = keys.key(part.sa).filter(|key| key.is_native(direction));
            before = (part.sa, found.and_then(native_key));
        }
        before.1
    };
    // One length for both, so that nothing is checked twice.
    let count = packets.len().min(parts.len());
    let (mut pairs, rest) = packets[..count].split_at_mut(count & !1);
    let (mut of_pairs, of_rest) = parts[..count].split_at_mut(count & !1);
    while let ([first, second, ahead @ ..], [part, beside, parts_ahead @ ..]) =
        (std::mem::take(&mut pairs), std::mem::take(&mut of_pairs))
    {
        for n in 0..2 {
            approach(keys, parts_ahead.get(n + AHEAD - 3), parts_ahead.get(n + AHEAD - 2));
        }
        let (a, b) = (key(part), key(beside));
        if let (Some((a, salt)), Some((b, salt_beside))) = (a, b)
            && let (Some(esp), Some(esp_beside)) = (esp(first, part), esp(second, beside))
        {
            // The one behind is in nobody's hands yet, so it can be asked for.
            let behind = ahead.first().zip(parts_ahead.first());
            let behind = behind.and_then(|(packet, part)| packet.data().get(part.at.into()..));
            let esp = Esp { salt, esp, seq_high: part.seq_high };
            let esp_beside = Esp { salt: salt_beside, esp: esp_beside, seq_high: beside.seq_high };
            [part.ok, beside.ok] =
                native::Keys::two::<SEAL>([a, b], [esp, esp_beside], behind.unwrap_or_default());
        } else {
            (part.ok, beside.ok) = (one::<B, SEAL>(first, part, a), one::<B, SEAL>(second, beside, b));
        }
        (pairs, of_pairs) = (ahead, parts_ahead);
    }
    if let ([last], [part]) = (rest, of_rest) {
        part.ok = one::<B, SEAL>(last, part, key(part));
    }
}

fn one<B: PacketBuf, const SEAL: bool>(
    packet: &mut B,
    part: &Part,
    key: Option<(&native::Keys, [u8; 4])>,
) -> bool {
    match (key, esp(packet, part)) {
        (Some((keys, salt)), Some(esp)) => keys.esp::<SEAL>(Esp { salt, esp, seq_high: part.seq_high }, &[]),
        _ => false,
    }
}
#[inline(always)]
fn esp<'a, B: PacketBuf>(packet: &'a mut B, part: &Part) -> Option<&'a mut [u8]> {
    let at = usize::from(part.at);
    packet.data_mut().get_mut(at..at + usize::from(part.len))
}
/// Has the key of a packet further on brought near, unless the one before it has the same.
#[inline(always)]
fn approach(keys: &impl Keys<KeyRecord>, before: Option<&Part>, part: Option<&Part>) {
    if let (Some(before), Some(part)) = (before, part)
        && before.sa != part.sa
        && let Some(key) = keys.key(part.sa)
    {
        key.prefetch(part.len.into());
    }
}
