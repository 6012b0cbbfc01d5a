//! DER, read without trust: definite lengths in their shortest form, one-byte tags, bounded depth, no byte left over.

/// Elements may stand so deep in each other.
pub const MAX_DEPTH: u32 = 32;

pub const INTEGER: u8 = 0x02;
pub const BIT_STRING: u8 = 0x03;
pub const OCTET_STRING: u8 = 0x04;
pub const OID: u8 = 0x06;
pub const BOOLEAN: u8 = 0x01;
pub const SEQUENCE: u8 = 0x30;
pub const SET: u8 = 0x31;
const CONSTRUCTED: u8 = 0x20;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Element<'a> {
    pub tag: u8,
    pub content: &'a [u8],
    /// With tag and length.
    pub whole: &'a [u8],
}

/// What is left of some bytes; `None` rather than reading too far.
#[derive(Clone, Copy, Debug)]
pub struct Reader<'a>(&'a [u8]);
impl<'a> Reader<'a> {
    pub fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
    pub fn element(&mut self) -> Option<Element<'a>> {
        let (&[tag, first], rest) = self.0.split_first_chunk::<2>()?;
        // Tags of several bytes occur in no structure of X.509.
        if tag & 0x1f == 0x1f {
            return None;
        }
        let (len, rest) = match first {
            0..=0x7f => (usize::from(first), rest),
            0x81..=0x84 => {
                let (bytes, rest) = rest.split_at_checked(usize::from(first & 0x7f))?;
                let len = bytes.iter().fold(0usize, |len, b| len << 8 | usize::from(*b));
                let shortest = bytes.first() != Some(&0) && len > 0x7f;
                shortest.then_some((len, rest))?
            }
            _ => return None, // indefinite, or longer than any certificate
        };
        let (content, after) = rest.split_at_checked(len)?;
        let whole = self.0.get(..self.0.len() - after.len())?;
        self.0 = after;
        Some(Element { tag, content, whole })
    }
    pub fn expect(&mut self, tag: u8) -> Option<&'a [u8]> {
        self.optional(tag)
    }
    /// Stays where it is if the next element has another tag.
    pub fn optional(&mut self, tag: u8) -> Option<&'a [u8]> {
        let before = *self;
        match self.element() {
            Some(element) if element.tag == tag => Some(element.content),
            _ => {
                *self = before;
                None
            }
        }
    }
}

/// The content of the one element with this tag that these bytes are.
pub fn only(bytes: &[u8], tag: u8) -> Option<&[u8]> {
    let mut r = Reader::new(bytes);
    let content = r.expect(tag)?;
    r.is_empty().then_some(content)
}

/// One element to the last byte, and everything in it that says it is made of elements.
pub fn is_well_formed(bytes: &[u8]) -> bool {
    fn walk(bytes: &[u8], depth: u32) -> bool {
        let mut r = Reader::new(bytes);
        while !r.is_empty() {
            let fine = r.element().is_some_and(|e| {
                e.tag & CONSTRUCTED == 0 || (depth < MAX_DEPTH && walk(e.content, depth + 1))
            });
            if !fine {
                return false;
            }
        }
        true
    }
    let mut r = Reader::new(bytes);
    r.element().is_some() && r.is_empty() && walk(bytes, 0)
}

/// Appends one element.
pub fn push(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    let len = content.len();
    if len < 0x80 {
        out.push(len as u8);
    } else {
        let bytes = len.to_be_bytes();
        let used = &bytes[bytes.iter().take_while(|b| **b == 0).count()..];
        out.push(0x80 | used.len() as u8);
        out.extend(used);
    }
    out.extend(content);
}
