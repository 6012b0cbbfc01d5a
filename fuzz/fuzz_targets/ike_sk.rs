//! The encrypted payload under known keys. First byte: which keys, and whether the rest is sealed properly (so
//! that what is inside gets fuzzed) or stands there as received. Second byte: the first payload's type.
#![no_main]
use ike::api::{IkeCipher, IkeIntegrity};
use ike::crypto::SkKeys;
use ike::message::*;
use libfuzzer_sys::fuzz_target;

fn keys(which: u8) -> SkKeys {
    let (encryption, integrity) = match which & 0x13 {
        0 => (IkeCipher::Aes128Gcm, None),
        1 => (IkeCipher::Aes256Gcm, None),
        0x10 | 0x11 => (IkeCipher::ChaCha20Poly1305, None),
        2 | 0x12 => (IkeCipher::Aes128Cbc, Some(IkeIntegrity::HmacSha1)),
        _ => (IkeCipher::Aes256Cbc, Some(IkeIntegrity::HmacSha512)),
    };
    let key = |len: usize| sa::Key::new(&vec![7; len]).unwrap();
    SkKeys {
        encryption,
        integrity,
        encryption_key: key(encryption.key_len()),
        salt: key(encryption.salt_len()),
        integrity_key: key(integrity.map_or(0, IkeIntegrity::key_len)),
    }
}

fuzz_target!(|data: &[u8]| {
    let [mode, first, rest @ ..] = data else { return };
    let keys = keys(*mode);
    let sealed = mode & 4 == 0;
    let body = if sealed { keys.sealed_len(rest.len()) } else { rest.len() };
    let Ok(length) = u16::try_from(body + 4) else { return };
    let header = Header {
        spi_i: 1,
        spi_r: 2,
        exchange: ExchangeType::INFORMATIONAL,
        initiator: true,
        response: false,
        message_id: 3,
    };
    let mut message = Message::new(header, vec![]).to_bytes();
    message[16] = PayloadType::SK.0;
    message[24..28].copy_from_slice(&(HEADER_LEN as u32 + u32::from(length)).to_be_bytes());
    message.extend([*first, 0]);
    message.extend(length.to_be_bytes());
    if !sealed {
        message.extend(rest);
        // Nobody guesses an ICV, so nothing may have been looked at.
        assert!(matches!(open(&message, &keys), Err(OpenError::Icv | OpenError::Outside(_))));
        return;
    }
    keys.seal(&mut message, &[9; 16][..keys.encryption.iv_len()], rest).unwrap();
    match open(&message, &keys) {
        Ok(opened) => assert_eq!(opened.header, header),
        Err(OpenError::Inside(error)) => assert!(OpenError::Inside(error).notify().is_some()),
        Err(error) => panic!("{error}"),
    }
});
