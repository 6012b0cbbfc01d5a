//! The encrypted payload (RFC 7296 3.14): a whole message in, a whole datagram out, and back.
use super::numbers::PayloadType;
use super::wire::Reader;
use super::{HEADER_LEN, Message, OpenError, ParseError, build, parse};
use crate::api::Rng;
use crate::crypto::{CipherError, SkKeys};
use zeroize::Zeroizing;

/// The datagram that carries `message` encrypted. Seal a message once and keep the bytes: a retransmission
/// is the same bytes (RFC 7296 2.1).
pub fn seal(message: &Message, keys: &SkKeys, rng: &mut dyn Rng) -> Result<Vec<u8>, CipherError> {
    let mut plain = Zeroizing::new(Vec::with_capacity(1024));
    build::chain(&mut plain, &message.payloads);
    let first = build::first(&message.payloads);
    let mut out = build::header(&message.header, PayloadType::SK);
    let body = keys.sealed_len(plain.len());
    let length = u16::try_from(4 + body).map_err(|_| CipherError::Length)?;
    out.extend([first.0, 0]);
    out.extend(length.to_be_bytes());
    build::finish(&mut out, HEADER_LEN + usize::from(length));
    keys.seal(&mut out, &iv(message, keys, rng), &plain)?;
    Ok(out)
}

/// CBC: unpredictable. AEADs: never the same twice under one key, which message id and direction of the
/// exchange see to; the random part keeps a message sealed anew after a restart apart as well.
fn iv(message: &Message, keys: &SkKeys, rng: &mut dyn Rng) -> Vec<u8> {
    let mut iv = vec![0; keys.encryption.iv_len()];
    rng.fill(&mut iv);
    //= rfc5282#3.1/unique-iv: the IV is unique for each encryption under a key.
    if keys.encryption.is_aead() {
        if let Some(first) = iv.first_mut() {
            *first = *first & 0x7f | u8::from(message.header.response) << 7;
        }
        iv.truncate(4);
        iv.extend(message.header.message_id.to_be_bytes());
    }
    iv
}

/// Opens a datagram whose first payload is SK. Nothing is looked at before the ICV has matched.
pub fn open(datagram: &[u8], keys: &SkKeys) -> Result<Message, OpenError> {
    let parsed = parse::parse_header(datagram).map_err(OpenError::Outside)?;
    let outside = |fault| OpenError::Outside(ParseError::Framing { kind: parsed.first, fault });
    if parsed.first != PayloadType::SK {
        return Err(outside("the first payload is not SK"));
    }
    let (head, body) = datagram.split_at_checked(HEADER_LEN + 4).ok_or(outside("cut off"))?;
    let mut r = Reader::new(head.get(HEADER_LEN..).unwrap_or_default());
    let (first, _flags, length) =
        (|| Some((r.u8()?, r.u8()?, r.u16()?)))().ok_or(outside("the generic header is cut off"))?;
    //= rfc7296#3.14/sk-last: SK is the last payload, so its end is the message's.
    if usize::from(length) != 4 + body.len() {
        return Err(outside("it does not end where the message ends"));
    }
    let plain = keys.open(head, body).map_err(|error| match error {
        CipherError::Icv => OpenError::Icv,
        CipherError::Padding => OpenError::Inside(ParseError::Payload {
            kind: PayloadType::SK,
            fault: "the padding is longer than what was encrypted",
        }),
        CipherError::Length => outside("too short, or not whole blocks"),
        CipherError::Library => outside("the cipher is not available"),
    })?;
    let nested = ParseError::Payload { kind: PayloadType::SK, fault: "an SK payload inside another" };
    //= rfc7296#3.14/next-payload: the SK header's next payload is the type of the first one inside.
    let payloads = parse::chain(PayloadType(first), &plain, nested).map_err(OpenError::Inside)?;
    Ok(Message { header: parsed.header, payloads })
}
