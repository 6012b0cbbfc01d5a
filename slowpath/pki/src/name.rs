//! Distinguished names: DER ⇄ `CN=gw.example,O=Example`, in the order of the DER.
use crate::der::{self, OID, Reader, SEQUENCE, SET};
use openssl::x509::X509Name;
use std::fmt::Write;

const UTF8: u8 = 0x0c;
const PRINTABLE: u8 = 0x13;
const TELETEX: u8 = 0x14;
const IA5: u8 = 0x16;
const BMP: u8 = 0x1e;

/// Name, content of the object identifier, tag of its value.
const TYPES: &[(&str, &[u8], u8)] = &[
    ("CN", &[0x55, 4, 3], UTF8),
    ("C", &[0x55, 4, 6], PRINTABLE),
    ("ST", &[0x55, 4, 8], UTF8),
    ("L", &[0x55, 4, 7], UTF8),
    ("O", &[0x55, 4, 10], UTF8),
    ("OU", &[0x55, 4, 11], UTF8),
    ("SN", &[0x55, 4, 4], UTF8),
    ("GN", &[0x55, 4, 42], UTF8),
    ("T", &[0x55, 4, 12], UTF8),
    ("STREET", &[0x55, 4, 9], UTF8),
    ("serialNumber", &[0x55, 4, 5], PRINTABLE),
    ("E", &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], IA5),
    ("emailAddress", &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 1, 9, 1], IA5),
    ("DC", &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 25], IA5),
    ("UID", &[0x09, 0x92, 0x26, 0x89, 0x93, 0xf2, 0x2c, 0x64, 1, 1], UTF8),
];

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("`{0}` is not `TYPE=value`")]
    Pair(String),
    #[error(
        "`{0}` is no attribute of a name; there are CN, C, ST, L, O, OU, SN, GN, T, STREET, serialNumber, E, DC, UID"
    )]
    Type(String),
    #[error("the name is empty")]
    Empty,
}

/// Splits at a separator that no backslash stands before, and takes the backslashes out.
fn split(text: &str, separator: char) -> Vec<String> {
    let mut parts = vec![String::new()];
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (c, parts.last_mut()) {
            ('\\', Some(part)) => part.extend(chars.next()),
            (c, _) if c == separator => parts.push(String::new()),
            (c, Some(part)) => part.push(c),
            (_, None) => {}
        }
    }
    parts
}

/// The DER of a name as [`text`] writes it; blanks behind commas do not count.
pub fn from_text(text: &str) -> Result<Vec<u8>, NameError> {
    let mut sets = Vec::new();
    for pair in split(text, ',') {
        let pair = pair.trim();
        let (kind, value) = pair.split_once('=').ok_or_else(|| NameError::Pair(pair.to_owned()))?;
        let (kind, value) = (kind.trim(), value.trim());
        let (_, oid, tag) = TYPES
            .iter()
            .find(|(name, ..)| name.eq_ignore_ascii_case(kind))
            .ok_or_else(|| NameError::Type(kind.to_owned()))?;
        if value.is_empty() {
            return Err(NameError::Pair(pair.to_owned()));
        }
        let (mut inside, mut sequence) = (Vec::new(), Vec::new());
        der::push(&mut inside, OID, oid);
        der::push(&mut inside, if value.is_ascii() { *tag } else { UTF8 }, value.as_bytes());
        der::push(&mut sequence, SEQUENCE, &inside);
        der::push(&mut sets, SET, &sequence);
    }
    if sets.is_empty() {
        return Err(NameError::Empty);
    }
    let mut name = Vec::new();
    der::push(&mut name, SEQUENCE, &sets);
    Ok(name)
}

/// Calls with each attribute: content of its type, tag and content of its value, whether it shares its set with the
/// one before. `None`: not a name.
fn attributes<'a>(name: &'a [u8], mut each: impl FnMut(&'a [u8], u8, &'a [u8], bool)) -> Option<()> {
    let mut sets = Reader::new(der::only(name, SEQUENCE)?);
    while !sets.is_empty() {
        let mut pairs = Reader::new(sets.expect(SET)?);
        let mut again = false;
        while !pairs.is_empty() {
            let mut pair = Reader::new(pairs.expect(SEQUENCE)?);
            let oid = pair.expect(OID)?;
            let value = pair.element()?;
            pair.is_empty().then_some(())?;
            each(oid, value.tag, value.content, again);
            again = true;
        }
    }
    Some(())
}
/// RDNSequence of sets of (object identifier, value) pairs, to its end.
pub fn is_name(der: &[u8]) -> bool {
    attributes(der, |_, _, _, _| ()).is_some()
}

/// For people: nothing in it can end a line, a string or a cell.
pub fn text(name: &[u8]) -> String {
    let mut out = String::new();
    let read = attributes(name, |oid, tag, value, again| {
        if !out.is_empty() {
            out.push(if again { '+' } else { ',' });
        }
        match TYPES.iter().find(|(_, known, _)| *known == oid) {
            Some((name, ..)) => out.push_str(name),
            None => out.push_str(&dotted(oid)),
        }
        out.push('=');
        let value = match tag {
            BMP => {
                let units: Vec<u16> =
                    value.chunks_exact(2).map(|c| u16::from_be_bytes([c[0], c[1]])).collect();
                String::from_utf16_lossy(&units)
            }
            TELETEX => value.iter().map(|b| char::from(*b)).collect(),
            _ => String::from_utf8_lossy(value).into_owned(),
        };
        for c in value.chars() {
            match c {
                ',' | '\\' | '+' => out.extend(['\\', c]),
                c if !(' '..='~').contains(&c) || c == '"' => {
                    let _ = write!(out, "{}", c.escape_unicode());
                }
                c => out.push(c),
            }
        }
    });
    if read.is_none() { "(not a name)".into() } else { out }
}
fn dotted(oid: &[u8]) -> String {
    let (mut arcs, mut value) = (Vec::new(), 0u64);
    for byte in oid {
        value = value.wrapping_shl(7) | u64::from(byte & 0x7f);
        if byte & 0x80 == 0 {
            if arcs.is_empty() {
                let top = (value / 40).min(2);
                arcs.extend([top, value - top * 40]);
            } else {
                arcs.push(value);
            }
            value = 0;
        }
    }
    arcs.iter().map(u64::to_string).collect::<Vec<_>>().join(".")
}

//= rfc5280#7.1/compare: case and blanks within strings do not count; order and number of attributes do.
/// Whether two names are the same.
pub fn same(a: &[u8], b: &[u8]) -> bool {
    if a == b {
        return true;
    }
    let read = |der: &[u8]| is_name(der).then(|| X509Name::from_der(der).ok()).flatten();
    match (read(a), read(b)) {
        (Some(a), Some(b)) => a.try_cmp(&b).is_ok_and(|order| order.is_eq()),
        _ => false,
    }
}
