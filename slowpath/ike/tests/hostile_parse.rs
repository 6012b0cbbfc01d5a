//! Hostile inputs to the parser: framing, counts, types, versions, and the encrypted payload
//! (rows B1 to B5 and B14).
mod common;

use common::Seeded;
use common::raw::*;
use ike::message::*;
use proptest::prelude::*;

fn valid() -> Vec<Vec<u8>> {
    let whole = Message::new(HEADER, everything()).to_bytes();
    let each = everything().into_iter().map(|p| Message::new(HEADER, vec![p]).to_bytes());
    [whole].into_iter().chain(each).collect()
}
fn is_silent(error: &ParseError) -> bool {
    error.notify(false).is_none()
}

//= test rfc7296#3.1/length
#[test]
fn b1_truncations() {
    for message in valid() {
        assert!(parse_clear(&message).is_ok());
        for cut in 0..message.len() {
            let mut short = message[..cut].to_vec();
            assert!(parse_clear(&short).is_err_and(|e| is_silent(&e)), "cut at {cut}");
            // The same with a header that does not give the cut away. Only a header alone is a message.
            fix_length(&mut short);
            assert!(parse_clear(&short).is_err_and(|e| is_silent(&e)), "cut at {cut}, length fixed");
        }
    }
}
#[test]
fn b1_length_fields() {
    for message in valid() {
        let len = message.len() as u32;
        for wrong in [0, 27, 28, len - 1, len + 1, u32::MAX] {
            let mut message = message.clone();
            message[24..28].copy_from_slice(&wrong.to_be_bytes());
            let error = parse_clear(&message).unwrap_err();
            assert_eq!((error.blame(), error.notify(true)), (Blame::Noise, None), "{wrong}");
        }
    }
}
//= test rfc7296#2.21.3/broken-inside
#[test]
fn b1_truncations_inside_an_authentic_message() {
    for keys in keys() {
        for message in valid() {
            let (first, plain) = (message[16], &message[HEADER_LEN..]);
            assert!(open(&sealed(&keys, first, plain), &keys).is_ok());
            for cut in 0..plain.len() {
                let error = open(&sealed(&keys, first, &plain[..cut]), &keys).unwrap_err();
                assert_eq!(error.notify().unwrap().kind, NotifyType::INVALID_SYNTAX, "cut at {cut}: {error}");
            }
        }
    }
}

#[test]
fn b2_generic_header_lengths() {
    for length in 0..4u16 {
        let mut message = one(41, &[0, 0, 0x40, 0]);
        message[HEADER_LEN + 2..HEADER_LEN + 4].copy_from_slice(&length.to_be_bytes());
        assert!(parse_clear(&message).is_err_and(|e| is_silent(&e)), "length {length}");
    }
    for beyond in [9, 12, 1000, u16::MAX] {
        let mut message = one(41, &[0, 0, 0x40, 0]);
        message[HEADER_LEN + 2..HEADER_LEN + 4].copy_from_slice(&beyond.to_be_bytes());
        assert!(parse_clear(&message).is_err_and(|e| is_silent(&e)), "length {beyond}");
    }
}
//= test rfc7296#2.5/critical
#[test]
fn b2_critical_bit() {
    let nonce = [5; 16];
    for kind in (49..=255u8).filter(|k| *k != 53) {
        let skipped = datagram(kind, &[payload(40, 0, b"anything"), payload(0, 0, &nonce)].concat());
        assert_eq!(parse_clear(&skipped).unwrap().payloads, [Payload::Nonce(nonce.to_vec())], "type {kind}");

        let critical = datagram(kind, &[payload(40, 0x80, b"anything"), payload(0, 0, &nonce)].concat());
        let notify = parse_clear(&critical).unwrap_err().notify(false).unwrap();
        assert_eq!(notify, Notify::new(NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD, vec![kind]));
    }
    // On a type we know the bit means nothing, nor do the reserved bits.
    for flags in [0x80, 0x7f, 0xff] {
        assert!(parse_clear(&datagram(40, &payload(0, flags, &nonce))).is_ok());
    }
}
#[test]
fn b2_encrypted_where_it_must_not_be() {
    for kind in [46, 53] {
        assert_eq!(parse_clear(&one(kind, &[0; 64])), Err(ParseError::Protected));
        for keys in keys() {
            let inner = payload(0, 0, &[0; 64]);
            let error = open(&sealed(&keys, kind, &inner), &keys).unwrap_err();
            assert_eq!(error.notify().unwrap().kind, NotifyType::INVALID_SYNTAX);
        }
    }
}

#[test]
fn b3_payload_counts() {
    assert_eq!(parse_clear(&datagram(0, &[])).unwrap().payloads, []);
    let vendor = (43u8, b"x".to_vec());
    for (kind, content, most) in [
        (43u8, vec![1], 24),
        (41, vec![0, 0, 0x40, 0], 40),
        (42, vec![1, 0, 0, 0], 16),
        (37, vec![4, 1], 8),
        (38, vec![4, 1], 8),
        (40, vec![1; 16], 1),
        (34, vec![0, 31, 0, 0, 1], 1),
        (33, vec![0], 1),
        (44, vec![0; 4], 1),
        (48, vec![1, 1, 0, 4], 1),
    ] {
        let many = |n: usize| chain(&vec![(kind, content.clone()); n]);
        assert_eq!(parse_clear(&many(most)).unwrap().payloads.len(), most, "type {kind}");
        assert_eq!(parse_clear(&many(most + 1)), Err(ParseError::TooMany(PayloadType(kind))));
    }
    // Unknown payloads are skipped, but count.
    let skipped = |n: usize| chain(&[vec![(200u8, vec![]); n], vec![vendor.clone()]].concat());
    assert_eq!(parse_clear(&skipped(MAX_PAYLOADS - 1)).unwrap().payloads.len(), 1);
    assert!(matches!(parse_clear(&skipped(MAX_PAYLOADS)), Err(ParseError::TooMany(_))));
}
#[test]
fn b3_a_datagram_full_of_empty_payloads() {
    for kind in [43u8, 41, 200, 40] {
        let body: Vec<u8> = (0..16_300).flat_map(|_| payload(kind, 0, &[])).collect();
        assert!(parse_clear(&datagram(kind, &body)).is_err_and(|e| is_silent(&e)), "type {kind}");
    }
}

//= test rfc7296#3.2/v1-numbers
#[test]
fn b4_ikev1_payloads_under_an_ikev2_header() {
    for kind in 1..=32u8 {
        let error = parse_one(kind, &[0; 16]).unwrap_err();
        assert_eq!(error, ParseError::Ikev1Payload(kind));
        assert!(is_silent(&error));
        assert_eq!(error.notify(true).unwrap().kind, NotifyType::INVALID_SYNTAX);
    }
}

//= test rfc7296#2.5/major-version
//= test rfc7296#2.5/minor-version
#[test]
fn b5_versions_and_flags() {
    let message = Message::new(HEADER, vec![Payload::Nonce(vec![1; 16])]).to_bytes();
    for version in 0..=255u8 {
        let mut message = message.clone();
        message[17] = version;
        let parsed = parse_clear(&message);
        match version >> 4 {
            2 => assert!(parsed.is_ok(), "minor {}", version & 15),
            major => {
                let told = parsed.unwrap_err().notify(false).map(|n| n.kind);
                assert_eq!(told, (major > 2).then_some(NotifyType::INVALID_MAJOR_VERSION));
                // Never an answer to an answer.
                message[19] |= 0x20;
                assert_eq!(parse_clear(&message).unwrap_err().notify(false), None);
            }
        }
    }
    for flags in 0..=255u8 {
        let mut message = message.clone();
        message[19] = flags;
        let header = parse_header(&message).unwrap().header;
        assert_eq!((header.initiator, header.response), (flags & 8 != 0, flags & 0x20 != 0));
    }
    let mut no_spi = message;
    no_spi[..8].fill(0);
    assert!(parse_clear(&no_spi).is_err_and(|e| is_silent(&e)));
}

#[test]
fn b14_too_short_for_iv_and_icv() {
    for keys in keys() {
        for len in 0..64 {
            let error = open(&one(46, &vec![7; len]), &keys).unwrap_err();
            assert!(matches!(error, OpenError::Outside(_) | OpenError::Icv), "{len}: {error}");
            assert_eq!(error.notify(), None);
        }
    }
}
#[test]
fn b14_every_bit_counts() {
    for keys in keys() {
        let good = seal(&Message::new(HEADER, everything()), &keys, &mut Seeded(1)).unwrap();
        assert_eq!(open(&good, &keys).unwrap(), Message::new(HEADER, everything()));
        for bit in 0..good.len() * 8 {
            let mut bad = good.clone();
            bad[bit / 8] ^= 1 << (bit % 8);
            let error = open(&bad, &keys).unwrap_err();
            assert_eq!(error.notify(), None, "bit {bit}: {error}");
            assert!(!matches!(error, OpenError::Inside(_)), "bit {bit} was looked at before the ICV");
        }
    }
}
#[test]
fn b14_wrong_key_and_wrong_direction() {
    for mut keys in keys() {
        let good = seal(&Message::new(HEADER, everything()), &keys, &mut Seeded(1)).unwrap();
        match keys.integrity {
            Some(_) => keys.integrity_key = sa::Key::new(&[1; 32]).unwrap(),
            None => keys.salt = sa::Key::new(&[1; 4]).unwrap(),
        }
        assert_eq!(open(&good, &keys), Err(OpenError::Icv));
    }
}
//= test rfc7296#3.14/padding
#[test]
fn b14_padding_longer_than_the_data() {
    // GCM: the last byte of what is sealed is our own padding length, so a longer one is built by hand.
    let keys = &keys()[1];
    for (plain, padding) in [(0usize, 1u8), (4, 5), (4, 255)] {
        let body = [vec![1; plain], vec![padding]].concat();
        let len = 4 + 8 + body.len() + 16;
        let mut message = datagram(46, &[0, 0, 0, len as u8]);
        message[24..28].copy_from_slice(&((HEADER_LEN + len) as u32).to_be_bytes());
        let key =
            ring::aead::UnboundKey::new(&ring::aead::AES_128_GCM, keys.encryption_key.expose()).unwrap();
        let nonce = [keys.salt.expose(), &[9; 8]].concat().try_into().unwrap();
        let mut cipher = body.clone();
        ring::aead::LessSafeKey::new(key)
            .seal_in_place_append_tag(
                ring::aead::Nonce::assume_unique_for_key(nonce),
                ring::aead::Aad::from(&message),
                &mut cipher,
            )
            .unwrap();
        message.extend([9; 8]);
        message.extend(cipher);
        let error = open(&message, keys).unwrap_err();
        assert_eq!(
            error.notify().unwrap().kind,
            NotifyType::INVALID_SYNTAX,
            "{plain} bytes, padding {padding}"
        );
    }
}
/// Found by fuzzing: authentic, and with bytes where the chain says there are none.
#[test]
fn b14_bytes_behind_the_last_payload() {
    for keys in keys() {
        for plain in [vec![0; 17], [payload(0, 0, &[]), vec![1]].concat()] {
            let first = if plain.len() == 17 { 0 } else { 43 };
            let error = open(&sealed(&keys, first, &plain), &keys).unwrap_err();
            assert_eq!(error.notify().unwrap().kind, NotifyType::INVALID_SYNTAX);
            assert!(parse_clear(&datagram(first, &plain)).is_err_and(|e| is_silent(&e)));
        }
    }
}
//= test rfc5282#3.1/unique-iv
#[test]
fn b14_no_gcm_iv_twice() {
    /// The worst source there is.
    struct Stuck;
    impl ike::api::Rng for Stuck {
        fn fill(&mut self, out: &mut [u8]) {
            out.fill(0xaa);
        }
    }
    let mut seen = std::collections::HashSet::new();
    for message_id in (0..1000).chain([u32::MAX]) {
        for response in [false, true] {
            let header = Header { message_id, response, ..HEADER };
            let sealed = seal(&Message::new(header, vec![]), &keys()[1], &mut Stuck).unwrap();
            assert!(seen.insert(sealed[HEADER_LEN + 4..HEADER_LEN + 12].to_vec()), "id {message_id}");
        }
    }
}

proptest! {
    /// What was parsed and can be written is written the same, and read back the same.
    #[test]
    fn b20_mutations_never_panic(which in 0usize..20, cuts in prop::collection::vec((any::<u16>(), any::<u8>()), 0..12),
                                 tail in prop::collection::vec(any::<u8>(), 0..40)) {
        let all = valid();
        let mut message = all[which % all.len()].clone();
        for (at, to) in cuts {
            let at = usize::from(at) % message.len();
            message[at] = to;
        }
        message.extend(tail);
        let _ = parse_clear(&message);
        fix_length(&mut message);
        if let Ok(parsed) = parse_clear(&message) {
            let sent: Vec<Payload> = parsed.payloads.iter().filter(|p| !matches!(p, Payload::Broken { .. })).cloned().collect();
            let again = parse_clear(&Message::new(parsed.header, sent.clone()).to_bytes()).unwrap();
            prop_assert_eq!(again.payloads.len(), sent.len());
        }
        for keys in keys() {
            let sealed = sealed(&keys, message.get(16).copied().unwrap_or(0), message.get(HEADER_LEN..).unwrap_or(&[]));
            let _ = open(&sealed, &keys);
        }
    }
}
