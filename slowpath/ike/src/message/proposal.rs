//! Proposals and transforms of an SA payload (RFC 7296 3.3).
use super::numbers::{Protocol, TransformType};
use super::wire::{Reader, with_length16};

/// One way to protect an SA: for each transform type, one of the transforms listed.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Proposal {
    pub number: u8,
    pub protocol: Protocol,
    /// The sender's inbound SPI: 4 bytes for ESP, 8 for an IKE SA being rekeyed, else none.
    pub spi: Vec<u8>,
    pub transforms: Vec<Transform>,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Transform {
    pub kind: TransformType,
    pub id: u16,
    /// In bits.
    pub key_len: Option<u16>,
    //= rfc7296#3.3.6/unknown-attribute: a transform with an attribute we do not know is never chosen.
    /// It carries an attribute nobody here understands, or one given twice.
    pub odd: bool,
}
impl Transform {
    pub const fn new(kind: TransformType, id: u16) -> Self {
        Self { kind, id, key_len: None, odd: false }
    }
    pub const fn with_key(kind: TransformType, id: u16, bits: u16) -> Self {
        Self { kind, id, key_len: Some(bits), odd: false }
    }
}
impl Proposal {
    pub fn of(&self, kind: TransformType) -> impl Iterator<Item = &Transform> {
        self.transforms.iter().filter(move |t| t.kind == kind)
    }
    pub fn spi32(&self) -> Option<u32> {
        self.spi.as_slice().try_into().ok().map(u32::from_be_bytes)
    }
    pub fn spi64(&self) -> Option<u64> {
        self.spi.as_slice().try_into().ok().map(u64::from_be_bytes)
    }
}

/// Proposals an SA payload may hold; numbers have one byte and count up.
const MAX_PROPOSALS: usize = 255;
const KEY_LENGTH: u16 = 14;

pub(super) fn parse(mut r: Reader<'_>) -> Result<Vec<Proposal>, &'static str> {
    let mut proposals: Vec<Proposal> = Vec::new();
    let mut more = true;
    while more {
        let (last, _reserved, length) =
            (|| Some((r.u8()?, r.u8()?, r.u16()?)))().ok_or("a proposal is cut off")?;
        more = substructure(last, 2)?;
        let length = usize::from(length).checked_sub(4).ok_or("a proposal is shorter than its header")?;
        let body = Reader::new(r.take(length).ok_or("a proposal is longer than the payload")?);
        if proposals.len() == MAX_PROPOSALS {
            return Err("too many proposals");
        }
        let proposal = one(body)?;
        //= rfc7296#3.3.1/numbers: each number is one more than the one before.
        if proposals.last().is_some_and(|before| before.number.checked_add(1) != Some(proposal.number)) {
            return Err("proposal numbers do not count up by one");
        }
        proposals.push(proposal);
    }
    if r.is_empty() { Ok(proposals) } else { Err("bytes after the last proposal") }
}

/// 0: the last; `more`: another follows.
fn substructure(byte: u8, more: u8) -> Result<bool, &'static str> {
    match byte {
        0 => Ok(false),
        b if b == more => Ok(true),
        _ => Err("a last-substructure field is neither last nor more"),
    }
}

fn one(mut r: Reader<'_>) -> Result<Proposal, &'static str> {
    let (number, protocol, spi_size, count) =
        (|| Some((r.u8()?, r.u8()?, r.u8()?, r.u8()?)))().ok_or("a proposal is cut off")?;
    let spi = r.take(spi_size.into()).ok_or("an SPI is longer than its proposal")?.to_vec();
    let mut transforms = Vec::new();
    for left in (0..count).rev() {
        let (last, _, length) =
            (|| Some((r.u8()?, r.u8()?, r.u16()?)))().ok_or("fewer transforms than announced")?;
        if substructure(last, 3)? != (left != 0) {
            return Err("the transform count disagrees with the last-substructure fields");
        }
        let length = usize::from(length).checked_sub(4).ok_or("a transform is shorter than its header")?;
        let body = r.take(length).ok_or("a transform is longer than its proposal")?;
        transforms.push(transform(Reader::new(body))?);
    }
    if !r.is_empty() {
        return Err("more transforms than announced");
    }
    Ok(Proposal { number, protocol: Protocol(protocol), spi, transforms })
}

fn transform(mut r: Reader<'_>) -> Result<Transform, &'static str> {
    let (kind, _, id) = (|| Some((r.u8()?, r.u8()?, r.u16()?)))().ok_or("a transform is cut off")?;
    let mut transform = Transform::new(TransformType(kind), id);
    while !r.is_empty() {
        let (kind, value) = r.u16().zip(r.u16()).ok_or("an attribute is cut off")?;
        //= rfc7296#3.3.5/attribute-format: the top bit says that the value stands in the length's place.
        if kind & 0x8000 == 0 {
            r.take(value.into()).ok_or("an attribute is longer than its transform")?;
            transform.odd = true;
        } else if kind & 0x7fff == KEY_LENGTH && transform.key_len.is_none() {
            transform.key_len = Some(value);
        } else {
            transform.odd = true;
        }
    }
    Ok(transform)
}

pub(super) fn build(out: &mut Vec<u8>, proposals: &[Proposal]) {
    for (at, proposal) in proposals.iter().enumerate() {
        let start = out.len();
        let more = if at + 1 < proposals.len() { 2 } else { 0 };
        out.extend([more, 0, 0, 0, proposal.number, proposal.protocol.0]);
        out.extend([proposal.spi.len() as u8, proposal.transforms.len() as u8]);
        with_length16(out, start, start + 2, |out| {
            out.extend(&proposal.spi);
            transforms(out, &proposal.transforms);
        });
    }
}

fn transforms(out: &mut Vec<u8>, transforms: &[Transform]) {
    for (at, transform) in transforms.iter().enumerate() {
        let more = if at + 1 < transforms.len() { 3 } else { 0 };
        let length: u8 = if transform.key_len.is_some() { 12 } else { 8 };
        out.extend([more, 0, 0, length, transform.kind.0, 0]);
        out.extend(transform.id.to_be_bytes());
        if let Some(bits) = transform.key_len {
            out.extend((0x8000 | KEY_LENGTH).to_be_bytes());
            out.extend(bits.to_be_bytes());
        }
    }
}
