//! Every value survives its record, and every sequence of bytes gets an answer.
mod common;
use ipc::record::*;
use ipc::*;
use proptest::prelude::*;
use proptest::strategy::ValueTree;

proptest! {
    #[test]
    fn values_survive(seq: u64, command in common::command(), event in common::event(), (meta, payload) in common::frame(), (seen, bytes) in common::seen()) {
        prop_assert_eq!(decode_seen(&encode_seen(&seen, bytes.len()).unwrap()), Ok((seen, bytes.len())));
        let (got_seq, got) = decode_command(&encode_command(seq, &command).unwrap());
        prop_assert_eq!((got_seq, got.as_ref()), (seq, Ok(&command)));
        prop_assert_eq!(decode_event(&encode_event(&event)), Ok(event));
        prop_assert_eq!(decode_frame(&encode_frame(&meta, payload.len()).unwrap()), Ok((meta, payload.len())));
    }
    #[test]
    fn acks_survive(seq: u64, raw in 0usize..11) {
        let all = [Refusal::Malformed, Refusal::NoSuchSlot, Refusal::SlotInUse, Refusal::NoSuchSa, Refusal::DuplicateSpi,
            Refusal::NoSuchPolicy, Refusal::BadTransaction, Refusal::NoEngine, Refusal::Full, Refusal::Unsupported];
        let ack = Ack { seq, result: all.get(raw).map_or(Ok(()), |r| Err(*r)) };
        prop_assert_eq!(decode_ack(&encode_ack(&ack)), Ok(ack));
    }
    /// H1, H3: random bytes, and good records with some bytes changed. What does decode encodes to the same meaning.
    #[test]
    fn h1_any_bytes_get_an_answer(command in common::command(), flips in prop::collection::vec((0usize..COMMAND_BYTES, any::<u8>()), 1..6),
                                  kind in 0u32..18, noise in prop::collection::vec(any::<u8>(), COMMAND_BYTES)) {
        let mut changed = encode_command(1, &command).unwrap();
        for (at, value) in flips { changed[at] = value; }
        let mut noise: [u8; COMMAND_BYTES] = noise.try_into().unwrap();
        let _ = decode_command(&noise);
        noise[8..12].copy_from_slice(&kind.to_ne_bytes());
        for bytes in [&*changed, &noise] {
            if let (seq, Ok(command)) = decode_command(bytes) {
                let again = encode_command(seq, &command).unwrap();
                prop_assert_eq!(decode_command(&again), (seq, Ok(command)));
            }
        }
        if let Ok((seen, len)) = decode_seen(noise[..SEEN_HEAD_BYTES].try_into().unwrap()) {
            prop_assert_eq!(decode_seen(&encode_seen(&seen, len).unwrap()), Ok((seen, len)));
        }
        let _ = decode_event(noise[..EVENT_BYTES].try_into().unwrap());
        let _ = decode_ack(noise[..ACK_BYTES].try_into().unwrap());
        let _ = decode_frame(noise[..FRAME_HEAD_BYTES].try_into().unwrap());
    }
}

/// H1: every value of every byte of the fixed fields, and every value of the 16-bit fields.
#[test]
fn h1_every_value_of_every_field() {
    let runner = &mut proptest::test_runner::TestRunner::deterministic();
    let spec = common::sa_spec().new_tree(runner).unwrap().current();
    let policy = common::policy().new_tree(runner).unwrap().current();
    let (seen, bytes) = common::seen().new_tree(runner).unwrap().current();
    let head = encode_seen(&seen, bytes.len()).unwrap();
    for at in 0..SEEN_HEAD_BYTES {
        for value in 0..=u8::MAX {
            let mut head = head;
            head[at] = value;
            // What decodes means the same when it is written again, but for what says nothing.
            if let Ok((seen, len)) = decode_seen(&head) {
                assert_eq!(decode_seen(&encode_seen(&seen, len).unwrap()), Ok((seen, len)), "{at} {value}");
            }
        }
    }
    let install = encode_command(1, &Command::InstallSa(Box::new(spec))).unwrap();
    let policy = encode_command(1, &Command::Policy(policy)).unwrap();
    for good in [&install, &policy] {
        let mut bytes = good.clone();
        for at in 8..168 {
            for value in 0..=u8::MAX {
                bytes[at] = value;
                let _ = decode_command(&bytes);
            }
            bytes[at] = good[at];
        }
    }
    // UDP encapsulation's ports; the policy's ports.
    for (good, fields) in [(&install, 128..132), (&policy, 64..72)] {
        let mut bytes = good.clone();
        for at in fields.step_by(2) {
            for value in 0..=u16::MAX {
                bytes[at..at + 2].copy_from_slice(&value.to_ne_bytes());
                let _ = decode_command(&bytes);
            }
            bytes[at..at + 2].copy_from_slice(&good[at..at + 2]);
        }
    }
}
#[test]
fn what_does_not_fit_is_said() {
    let runner = &mut proptest::test_runner::TestRunner::deterministic();
    let mut spec = common::sa_spec().new_tree(runner).unwrap().current();
    spec.selectors = vec![spec.selectors[0]; 9];
    let said = encode_command(1, &Command::InstallSa(Box::new(spec))).unwrap_err().to_string();
    assert_eq!(said, "an SA carries 9 pairs of traffic selectors; 1 to 8 fit, split the policy");
}
