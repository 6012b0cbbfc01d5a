//! The encrypted payload (RFC 7296 3.14) and its fragments (RFC 7383): a whole message in, datagrams out, and back.
use super::numbers::PayloadType;
use super::wire::Reader;
use super::{HEADER_LEN, Header, Message, OpenError, ParseError, build, parse};
use crate::api::Rng;
use crate::crypto::{CipherError, SkKeys};
use zeroize::Zeroizing;

/// Fragments one message of ours may become, and one of the peer's may have.
pub const MAX_FRAGMENTS: usize = 64;
/// Generic header, fragment number, total.
const SKF_HEADER: usize = 8;

/// What stands inside the encrypted payload, whether the message travels whole or in fragments.
pub struct Inner {
    pub header: Header,
    /// Type of the first payload inside.
    pub first: PayloadType,
    pub plain: Zeroizing<Vec<u8>>,
}
impl Inner {
    pub fn of(message: &Message) -> Self {
        let mut plain = Zeroizing::new(Vec::with_capacity(1024));
        build::chain(&mut plain, &message.payloads);
        Self { header: message.header, first: build::first(&message.payloads), plain }
    }
    //= rfc7296#3.14/next-payload: the SK header's next payload is the type of the first one inside.
    pub fn message(&self) -> Result<Message, OpenError> {
        let nested = ParseError::Payload { kind: PayloadType::SK, fault: "an SK payload inside another" };
        let payloads = parse::chain(self.first, &self.plain, nested).map_err(OpenError::Inside)?;
        Ok(Message { header: self.header, payloads })
    }
    //= rfc9242#3.3.2/adjusted: as if never fragmented, with lengths that count neither IV nor padding nor ICV.
    /// The message as the peers authenticate it later: header, SK payload's generic header, content.
    pub fn authenticated(&self) -> Zeroizing<Vec<u8>> {
        let mut out = Zeroizing::new(Vec::with_capacity(HEADER_LEN + 4 + self.plain.len()));
        out.extend(build::header(&self.header, PayloadType::SK));
        let length = 4 + self.plain.len();
        out.extend([self.first.0, 0]);
        out.extend((length as u16).to_be_bytes());
        build::finish(&mut out, HEADER_LEN + length);
        out.extend_from_slice(&self.plain);
        out
    }

    /// Seal once and keep the bytes: a retransmission is the same bytes (RFC 7296 2.1).
    pub fn seal(&self, keys: &SkKeys, rng: &mut dyn Rng) -> Result<Vec<u8>, CipherError> {
        self.sealed(None, &self.plain, keys, rng)
    }
    //= rfc7383#2.5/bound: no datagram is longer than `bound`, and a message that fits travels whole.
    pub fn seal_within(
        &self,
        bound: usize,
        keys: &SkKeys,
        rng: &mut dyn Rng,
    ) -> Result<Vec<Vec<u8>>, CipherError> {
        if HEADER_LEN + 4 + keys.sealed_len(self.plain.len()) <= bound {
            return Ok(vec![self.seal(keys, rng)?]);
        }
        let room = keys.room(bound.saturating_sub(HEADER_LEN + SKF_HEADER)).max(64);
        let total = self.plain.len().div_ceil(room);
        if total > MAX_FRAGMENTS {
            return Err(CipherError::Length);
        }
        let pieces = self.plain.chunks(room).zip(1u16..);
        pieces.map(|(piece, number)| self.sealed(Some((number, total as u16)), piece, keys, rng)).collect()
    }

    fn sealed(
        &self,
        fragment: Option<(u16, u16)>,
        plain: &[u8],
        keys: &SkKeys,
        rng: &mut dyn Rng,
    ) -> Result<Vec<u8>, CipherError> {
        let (kind, head) =
            if fragment.is_some() { (PayloadType::SKF, SKF_HEADER) } else { (PayloadType::SK, 4) };
        let mut out = build::header(&self.header, kind);
        let length = u16::try_from(head + keys.sealed_len(plain.len())).map_err(|_| CipherError::Length)?;
        //= rfc7383#2.5/next-payload: only the first fragment names the first payload inside.
        let first =
            if fragment.is_none_or(|(number, _)| number == 1) { self.first } else { PayloadType::NONE };
        out.extend([first.0, 0]);
        out.extend(length.to_be_bytes());
        if let Some((number, total)) = fragment {
            out.extend(number.to_be_bytes());
            out.extend(total.to_be_bytes());
        }
        build::finish(&mut out, HEADER_LEN + usize::from(length));
        let number = fragment.map_or(0, |(number, _)| number as u8);
        keys.seal(&mut out, &iv(&self.header, number, keys, rng), plain)?;
        Ok(out)
    }
}

/// The datagram that carries `message` encrypted.
pub fn seal(message: &Message, keys: &SkKeys, rng: &mut dyn Rng) -> Result<Vec<u8>, CipherError> {
    Inner::of(message).seal(keys, rng)
}

/// CBC: unpredictable. Counters: never the same twice under one key, which message id, direction of the
/// exchange and fragment number see to; the random part keeps a message sealed anew after a restart apart as well.
fn iv(header: &Header, fragment: u8, keys: &SkKeys, rng: &mut dyn Rng) -> Vec<u8> {
    let mut iv = vec![0; keys.encryption.iv_len()];
    rng.fill(&mut iv);
    //= rfc5282#3.1/unique-iv: the IV is unique for each encryption under a key.
    if keys.encryption.counts_iv() {
        if let Some(first) = iv.first_mut() {
            *first = *first & 0x7f | u8::from(header.response) << 7;
        }
        iv.truncate(3);
        iv.push(fragment);
        iv.extend(header.message_id.to_be_bytes());
    }
    iv
}

/// Opens a datagram whose first payload is SK. Nothing is looked at before the ICV has matched.
pub fn open(datagram: &[u8], keys: &SkKeys) -> Result<Message, OpenError> {
    open_inner(datagram, keys)?.message()
}

/// The same, without reading what is inside.
pub fn open_inner(datagram: &[u8], keys: &SkKeys) -> Result<Inner, OpenError> {
    let (header, first, plain) = opened(datagram, PayloadType::SK, 4, keys)?;
    Ok(Inner { header, first, plain })
}

/// One authentic fragment.
pub struct Fragment {
    pub header: Header,
    pub number: u16,
    pub total: u16,
    /// Of the whole message; `NONE` but in the first.
    pub first: PayloadType,
    pub plain: Zeroizing<Vec<u8>>,
}
impl Fragment {
    /// Number and total, before anything is proven.
    pub fn place(datagram: &[u8]) -> Result<(u16, u16), OpenError> {
        let mut r = Reader::new(datagram.get(HEADER_LEN + 4..).unwrap_or_default());
        let fault = |fault| OpenError::Outside(ParseError::Framing { kind: PayloadType::SKF, fault });
        let (number, total) = r.u16().zip(r.u16()).ok_or(fault("cut off"))?;
        //= rfc7383#2.5/numbers: both count from one, and no number is beyond the total.
        if number == 0 || number > total || usize::from(total) > MAX_FRAGMENTS {
            return Err(fault("its number and total make no sense"));
        }
        Ok((number, total))
    }
    pub fn open(datagram: &[u8], keys: &SkKeys) -> Result<Self, OpenError> {
        let (number, total) = Self::place(datagram)?;
        let (header, first, plain) = opened(datagram, PayloadType::SKF, SKF_HEADER, keys)?;
        Ok(Self { header, number, total, first, plain })
    }
}

fn opened(
    datagram: &[u8],
    kind: PayloadType,
    head_len: usize,
    keys: &SkKeys,
) -> Result<(Header, PayloadType, Zeroizing<Vec<u8>>), OpenError> {
    let parsed = parse::parse_header(datagram).map_err(OpenError::Outside)?;
    let outside = |fault| OpenError::Outside(ParseError::Framing { kind: parsed.first, fault });
    if parsed.first != kind {
        return Err(outside("the first payload is not encrypted"));
    }
    let (head, body) = datagram.split_at_checked(HEADER_LEN + head_len).ok_or(outside("cut off"))?;
    let mut r = Reader::new(head.get(HEADER_LEN..).unwrap_or_default());
    let (first, _flags, length) =
        (|| Some((r.u8()?, r.u8()?, r.u16()?)))().ok_or(outside("the generic header is cut off"))?;
    //= rfc7296#3.14/sk-last: SK is the last payload, so its end is the message's.
    if usize::from(length) != head_len + body.len() {
        return Err(outside("it does not end where the message ends"));
    }
    let plain = keys.open(head, body).map_err(|error| match error {
        CipherError::Icv => OpenError::Icv,
        CipherError::Padding => OpenError::Inside(ParseError::Payload {
            kind,
            fault: "the padding is longer than what was encrypted",
        }),
        CipherError::Length => outside("too short, or not whole blocks"),
        CipherError::Library => outside("the cipher is not available"),
    })?;
    Ok((parsed.header, PayloadType(first), plain))
}
