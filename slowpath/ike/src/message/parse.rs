//! The header and the chain of payloads (RFC 7296 3.1, 3.2), then each payload's inside.
use super::numbers::{AuthMethod, ExchangeType, IdType, NotifyType, PayloadType, Protocol};
use super::payload::*;
use super::wire::Reader;
use super::{HEADER_LEN, Header, Message, ParseError, ParsedHeader, proposal, ts};

/// Payloads of all kinds, unknown ones included, that one message may carry.
pub const MAX_PAYLOADS: usize = 96;

/// The most of a kind in one message; checked before the payload is looked into.
const fn limit(kind: PayloadType) -> usize {
    match kind {
        PayloadType::CERT | PayloadType::CERTREQ => 8,
        PayloadType::NOTIFY => 40,
        PayloadType::DELETE => 16,
        PayloadType::VENDOR_ID => 24,
        _ => 1,
    }
}

const FLAG_INITIATOR: u8 = 0x08;
const FLAG_RESPONSE: u8 = 0x20;

/// Reads the fixed header of a whole datagram. Reserved flags and the minor version are ignored.
pub fn parse_header(datagram: &[u8]) -> Result<ParsedHeader, ParseError> {
    let mut r = Reader::new(datagram);
    let fields = (|| Some((r.u64()?, r.u64()?, r.u8()?, r.u8()?, r.u8()?, r.u8()?, r.u32()?, r.u32()?)))();
    let Some((spi_i, spi_r, first, version, exchange, flags, message_id, length)) = fields else {
        return Err(ParseError::NotIke("shorter than the header"));
    };
    let header = Header {
        spi_i,
        spi_r,
        exchange: ExchangeType(exchange),
        initiator: flags & FLAG_INITIATOR != 0,
        response: flags & FLAG_RESPONSE != 0,
        message_id,
    };
    //= rfc7296#2.5/minor-version: only the major half of the version decides.
    let major = version >> 4;
    if major != 2 {
        return Err(ParseError::MajorVersion { header, major });
    }
    if length as usize != datagram.len() {
        return Err(ParseError::NotIke("the length field disagrees with the datagram"));
    }
    //= rfc7296#3.1/spi-i-not-zero: the initiator's SPI is never zero.
    if spi_i == 0 {
        return Err(ParseError::NotIke("the initiator's SPI is zero"));
    }
    Ok(ParsedHeader { header, first: PayloadType(first) })
}

/// A message that is not encrypted. Nothing in it is authentic.
pub fn parse_clear(datagram: &[u8]) -> Result<Message, ParseError> {
    let ParsedHeader { header, first } = parse_header(datagram)?;
    let body = datagram.get(HEADER_LEN..).unwrap_or_default();
    Ok(Message { header, payloads: chain(first, body, ParseError::Protected)? })
}

/// Walks a chain of payloads. `nested` is the answer to an SK or SKF payload in it.
pub(super) fn chain(first: PayloadType, body: &[u8], nested: ParseError) -> Result<Vec<Payload>, ParseError> {
    let mut r = Reader::new(body);
    let mut kind = first;
    let (mut payloads, mut count, mut counts) = (Vec::new(), 0usize, [0u8; 256]);
    while kind != PayloadType::NONE {
        let cut = |fault| ParseError::Framing { kind, fault };
        let (next, flags, length) =
            (|| Some((r.u8()?, r.u8()?, r.u16()?)))().ok_or(cut("the generic header is cut off"))?;
        let length = usize::from(length).checked_sub(4).ok_or(cut("shorter than its generic header"))?;
        let content = r.take(length).ok_or(cut("longer than the message"))?;
        count += 1;
        if count > MAX_PAYLOADS {
            return Err(ParseError::TooMany(kind));
        }
        if kind.is_ikev1() {
            return Err(ParseError::Ikev1Payload(kind.0));
        }
        if matches!(kind, PayloadType::SK | PayloadType::SKF) {
            return Err(nested);
        }
        //= rfc7296#2.5/critical: on a payload we understand the bit is ignored; reserved bits always.
        let critical = flags & 0x80 != 0;
        if kind.name().is_none() {
            if critical {
                return Err(ParseError::Critical(kind));
            }
        } else {
            let so_far = &mut counts[usize::from(kind.0)];
            if usize::from(*so_far) >= limit(kind) {
                return Err(ParseError::TooMany(kind));
            }
            *so_far += 1;
            payloads.extend(inside(kind, content)?);
        }
        kind = PayloadType(next);
    }
    //= rfc7296#3.1/length: nothing may follow the last payload.
    if r.is_empty() {
        return Ok(payloads);
    }
    Err(ParseError::Framing { kind: PayloadType::NONE, fault: "bytes after the last payload" })
}

/// `None` for a notify that is to be ignored.
fn inside(kind: PayloadType, content: &[u8]) -> Result<Option<Payload>, ParseError> {
    let r = Reader::new(content);
    let parsed = match kind {
        PayloadType::SA => proposal::parse(r).map(Payload::Sa),
        PayloadType::KE => key_exchange(r).map(Payload::Ke),
        PayloadType::IDI => identification(r).map(Payload::IdI),
        PayloadType::IDR => identification(r).map(Payload::IdR),
        PayloadType::CERT => certificate(r).map(Payload::Cert),
        PayloadType::CERTREQ => certificate(r).map(Payload::CertReq),
        PayloadType::AUTH => authentication(r).map(Payload::Auth),
        PayloadType::NONCE => nonce(content).map(Payload::Nonce),
        PayloadType::NOTIFY => match notify(r) {
            Ok(notify) => return Ok(notify.map(Payload::Notify)),
            Err(fault) => Err(fault),
        },
        PayloadType::DELETE => delete(r).map(Payload::Delete),
        PayloadType::VENDOR_ID => Ok(Payload::VendorId(content.to_vec())),
        PayloadType::TSI => ts::parse(r).map(Payload::TsI),
        PayloadType::TSR => ts::parse(r).map(Payload::TsR),
        PayloadType::CP => configuration(r).map(Payload::Cp),
        _ => eap(content).map(Payload::Eap),
    };
    match parsed {
        Ok(payload) => Ok(Some(payload)),
        Err(fault) if matches!(kind, PayloadType::SA | PayloadType::TSI | PayloadType::TSR) => {
            Ok(Some(Payload::Broken { kind, fault }))
        }
        Err(fault) => Err(ParseError::Payload { kind, fault }),
    }
}

const SHORT: &str = "shorter than its fixed fields";

fn key_exchange(mut r: Reader<'_>) -> Result<KeyExchange, &'static str> {
    let (group, _reserved) = r.u16().zip(r.u16()).ok_or(SHORT)?;
    Ok(KeyExchange { group, data: r.rest().to_vec() })
}

fn identification(mut r: Reader<'_>) -> Result<Identification, &'static str> {
    let (kind, reserved) = r.u8().zip(r.array()).ok_or(SHORT)?;
    Ok(Identification { kind: IdType(kind), reserved, data: r.rest().to_vec() })
}

fn certificate(mut r: Reader<'_>) -> Result<Certificate, &'static str> {
    Ok(Certificate { encoding: r.u8().ok_or(SHORT)?, data: r.rest().to_vec() })
}

fn authentication(mut r: Reader<'_>) -> Result<Authentication, &'static str> {
    let (method, _reserved) = r.u8().zip(r.array::<3>()).ok_or(SHORT)?;
    Ok(Authentication { method: AuthMethod(method), data: r.rest().to_vec() })
}

//= rfc7296#3.9/nonce-size: 16 to 256 octets.
fn nonce(content: &[u8]) -> Result<Vec<u8>, &'static str> {
    if (16..=256).contains(&content.len()) {
        Ok(content.to_vec())
    } else {
        Err("a nonce has 16 to 256 bytes")
    }
}

fn eap(content: &[u8]) -> Result<Vec<u8>, &'static str> {
    //= rfc7296#3.16/eap-length: code, identifier and length are always there, and the length is the payload's.
    match content {
        [_code, _id, hi, lo, ..] if usize::from(u16::from_be_bytes([*hi, *lo])) == content.len() => {
            Ok(content.to_vec())
        }
        _ => Err("the EAP length is not the payload's"),
    }
}

/// What the data of a notify must look like, and whether a wrong one is only ignored.
fn notify_rule(kind: NotifyType) -> (std::ops::RangeInclusive<usize>, bool) {
    match kind {
        NotifyType::UNSUPPORTED_CRITICAL_PAYLOAD => (1..=1, true),
        NotifyType::INVALID_KE_PAYLOAD => (2..=2, false),
        NotifyType::SET_WINDOW_SIZE => (4..=4, true),
        NotifyType::IPCOMP_SUPPORTED => (3..=usize::MAX, true),
        NotifyType::NAT_DETECTION_SOURCE_IP | NotifyType::NAT_DETECTION_DESTINATION_IP => (20..=20, true),
        //= rfc7296#2.6/cookie-size: 1 to 64 octets.
        NotifyType::COOKIE => (1..=64, false),
        NotifyType::ADDITIONAL_IP4_ADDRESS => (4..=4, true),
        NotifyType::ADDITIONAL_IP6_ADDRESS => (16..=16, true),
        NotifyType::AUTH_LIFETIME => (4..=4, true),
        _ => (0..=usize::MAX, true),
    }
}

fn notify(mut r: Reader<'_>) -> Result<Option<Notify>, &'static str> {
    let (protocol, spi_size, kind) = (|| Some((r.u8()?, r.u8()?, r.u16()?)))().ok_or(SHORT)?;
    let (protocol, kind) = (Protocol(protocol), NotifyType(kind));
    let spi = r.take(spi_size.into()).ok_or("the SPI is longer than the payload")?;
    let data = r.rest();
    let (lengths, ignore) = notify_rule(kind);
    let odd = kind == NotifyType::SIGNATURE_HASH_ALGORITHMS && !data.len().is_multiple_of(2);
    if !lengths.contains(&data.len()) || odd {
        return if ignore { Ok(None) } else { Err("the notification data has the wrong length") };
    }
    Ok(Some(Notify { protocol, spi: spi.to_vec(), kind, data: data.to_vec() }))
}

fn delete(mut r: Reader<'_>) -> Result<Delete, &'static str> {
    let (protocol, spi_size, count) = (|| Some((r.u8()?, r.u8()?, r.u16()?)))().ok_or(SHORT)?;
    let list = r.rest();
    let spis = match (Protocol(protocol), spi_size) {
        //= rfc7296#3.11/delete-ike: no SPI, the message is its name.
        (Protocol::IKE, 0) if count == 0 && list.is_empty() => Vec::new(),
        (Protocol::AH | Protocol::ESP, 4) if list.len() == usize::from(count) * 4 => {
            list.chunks_exact(4).filter_map(|c| c.try_into().ok().map(u32::from_be_bytes)).collect()
        }
        _ => return Err("protocol, SPI size and count do not fit each other"),
    };
    Ok(Delete { protocol: Protocol(protocol), spis })
}

/// Attributes one configuration payload may carry.
const MAX_ATTRIBUTES: usize = 64;

fn configuration(mut r: Reader<'_>) -> Result<Configuration, &'static str> {
    let (kind, _reserved) = r.u8().zip(r.array::<3>()).ok_or(SHORT)?;
    let mut attributes = Vec::new();
    while !r.is_empty() {
        let (kind, len) = r.u16().zip(r.u16()).ok_or("an attribute is cut off")?;
        let value = r.take(len.into()).ok_or("an attribute is longer than the payload")?;
        if attributes.len() == MAX_ATTRIBUTES {
            return Err("too many attributes");
        }
        //= rfc7296#3.15.1/reserved-bit: the top bit of the attribute type is ignored.
        attributes.push(ConfigAttribute { kind: kind & 0x7fff, value: value.to_vec() });
    }
    Ok(Configuration { kind, attributes })
}
