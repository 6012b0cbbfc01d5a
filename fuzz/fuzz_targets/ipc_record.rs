//! Whatever the other process puts into a ring: records decode or are refused, and what decodes means the same
//! when written again. The rest of the input is scribbled over index words and slots of a live ring.
#![no_main]
use ipc::memory::{Part, load_bytes, store_bytes};
use ipc::record::*;
use ipc::ring::{Consumer, Producer, RingShape};
use libfuzzer_sys::fuzz_target;
use std::sync::atomic::Ordering::Relaxed;

fuzz_target!(|data: &[u8]| {
    let mut bytes = [0; COMMAND_BYTES];
    let len = data.len().min(bytes.len());
    bytes[..len].copy_from_slice(&data[..len]);
    if let (seq, Ok(command)) = decode_command(&bytes) {
        let again = encode_command(seq, &command).unwrap();
        assert_eq!(decode_command(&again), (seq, Ok(command)));
    }
    if let Ok(ack) = decode_ack(bytes.first_chunk::<ACK_BYTES>().unwrap()) {
        assert_eq!(decode_ack(&encode_ack(&ack)), Ok(ack));
    }
    if let Ok(event) = decode_event(bytes.first_chunk::<EVENT_BYTES>().unwrap()) {
        assert_eq!(decode_event(&encode_event(&event)), Ok(event));
    }
    if let Ok((meta, len)) = decode_frame(bytes.first_chunk::<FRAME_HEAD_BYTES>().unwrap()) {
        assert!(len <= ipc::MAX_FRAME);
        assert_eq!(decode_frame(&encode_frame(&meta, len).unwrap()), Ok((meta, len)));
    }

    if let Ok((seen, len)) = decode_seen(bytes.first_chunk::<SEEN_HEAD_BYTES>().unwrap()) {
        assert!(len <= ipc::watch::MAX_SNAP);
        assert_eq!(decode_seen(&encode_seen(&seen, len).unwrap()), Ok((seen, len)));
    }

    let shape = RingShape { slots: 4, slot_words: 2 };
    let part = Part::private(shape.words());
    let mut producer = Producer::new(part.clone(), shape, 0).unwrap();
    let mut consumer = Consumer::new(part.clone(), shape, 0).unwrap();
    for step in data.chunks_exact(9) {
        let (at, value) = (usize::from(step[0]), u64::from_le_bytes(step[1..].try_into().unwrap()));
        match part.get(at) {
            Some(word) => word.store(value, Relaxed),
            None => _ = producer.push(|slot| store_bytes(slot, step)),
        }
        let _ = consumer.pop(|slot| {
            let mut copy = [0; 16];
            load_bytes(slot, &mut copy);
            copy
        });
    }
});
