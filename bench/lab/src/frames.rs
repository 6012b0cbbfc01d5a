//! The packets of a trial. What stands in packet number `index` follows from the number alone, so the checker
//! builds the packet it expects instead of remembering the one that was sent.
//!
//! Inner packet: IPv4, UDP without checksum, then 18 bytes of [`Tag`], then a fixed pattern. A frame of 64 bytes
//! (with its FCS, as RFC 2544 counts) has room for exactly that.
use crate::scene::{Flow, Scene};
use std::fmt;
use std::str::FromStr;

/// Ethernet header and FCS.
pub const ETHERNET: usize = wire::eth::HEADER + 4;
pub const HEADERS: usize = wire::ip::V4_HEADER + wire::udp::HEADER;
pub const TAG: usize = 18;
const TTL: u8 = 64;
/// What is left of it behind one gateway.
pub const TTL_AFTER: u8 = TTL - 1;

/// Frame sizes of a trial, counted as RFC 2544 does: from the Ethernet header to the FCS, in clear.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Size {
    Bytes(u16),
    /// Seven of 64, four of 594, one of 1518.
    Imix,
}
impl Size {
    pub const MIN: u16 = (ETHERNET + HEADERS + TAG) as u16;
    pub const MAX: u16 = 9018;
    /// In turns that keep short and long ones apart.
    const PATTERN: [u16; 12] = [64, 594, 64, 64, 594, 64, 1518, 64, 594, 64, 594, 64];

    pub fn pattern(&self) -> Vec<u16> {
        match self {
            Self::Bytes(n) => vec![*n],
            Self::Imix => Self::PATTERN.to_vec(),
        }
    }
    pub fn largest(&self) -> u16 {
        self.pattern().into_iter().max().unwrap_or(Self::MIN)
    }
    /// Mean length of the inner IP packets.
    pub fn mean_ip(&self) -> f64 {
        let pattern = self.pattern();
        let sum: f64 = pattern.iter().map(|n| f64::from(*n) - ETHERNET as f64).sum();
        sum / pattern.len() as f64
    }
}
impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bytes(n) => write!(f, "{n}"),
            Self::Imix => f.write_str("imix"),
        }
    }
}
impl FromStr for Size {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        if text.eq_ignore_ascii_case("imix") {
            return Ok(Self::Imix);
        }
        match text.parse() {
            Ok(n) if (Self::MIN..=Self::MAX).contains(&n) => Ok(Self::Bytes(n)),
            _ => Err(format!(
                "`{text}` is not a frame size: write a number from {} to {} (with Ethernet header and FCS), or imix",
                Self::MIN,
                Self::MAX
            )),
        }
    }
}

/// What each packet carries behind its UDP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tag {
    /// When it was sent, on the tester's clock; 0 when that is written down elsewhere.
    pub stamp: u64,
    pub index: u64,
    pub trial: u16,
}
impl Tag {
    pub fn to_bytes(self) -> [u8; TAG] {
        let mut bytes = [0; TAG];
        bytes[..8].copy_from_slice(&self.stamp.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.index.to_le_bytes());
        bytes[16..].copy_from_slice(&self.trial.to_le_bytes());
        bytes
    }
    pub fn from_bytes(bytes: &[u8; TAG]) -> Self {
        let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p, q, r] = *bytes;
        Self {
            stamp: u64::from_le_bytes([a, b, c, d, e, f, g, h]),
            index: u64::from_le_bytes([i, j, k, l, m, n, o, p]),
            trial: u16::from_le_bytes([q, r]),
        }
    }
}

/// Why a packet is not the one that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Differs {
    TooShort,
    /// Of another trial, or it says so.
    Stale,
    Length,
    Headers,
    Payload,
}

/// Which way packets go, seen from the hosts behind the gateway.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Way {
    Out,
    In,
}

/// Writes and recognises the packets of one direction of a trial.
pub struct Maker {
    flows: Vec<Flow>,
    lengths: Vec<u16>,
    filler: Vec<u8>,
    pub trial: u16,
}
impl Maker {
    pub fn new(scene: &Scene, way: Way, size: &Size, trial: u16) -> Self {
        let flow = |n| match way {
            Way::Out => scene.flow(n),
            Way::In => scene.flow(n).reversed(),
        };
        let lengths: Vec<u16> = size.pattern().iter().map(|n| n - ETHERNET as u16).collect();
        let filler = (0..usize::from(Size::MAX)).map(|n| (n * 31 + 7) as u8).collect();
        Self { flows: (0..scene.flows).map(flow).collect(), lengths, filler, trial }
    }
    pub fn flow_of(&self, index: u64) -> u32 {
        (index % self.flows.len() as u64) as u32
    }
    /// Length of the inner packet. A flow's packets take turns too.
    pub fn len_of(&self, index: u64) -> usize {
        match self.lengths[..] {
            [only] => only.into(),
            ref all => {
                let turn = index.wrapping_add(index / self.flows.len() as u64);
                all[(turn % all.len() as u64) as usize].into()
            }
        }
    }
    /// Writes the packet; `out` has [`Maker::len_of`] bytes.
    #[inline]
    pub fn write(&self, index: u64, flow: u32, stamp: u64, out: &mut [u8]) {
        let headers = self.headers(index, flow, out.len(), TTL);
        out[..HEADERS].copy_from_slice(&headers);
        let tag = Tag { stamp, index, trial: self.trial };
        out[HEADERS..HEADERS + TAG].copy_from_slice(&tag.to_bytes());
        let rest = &mut out[HEADERS + TAG..];
        rest.copy_from_slice(&self.filler[..rest.len()]);
    }
    /// The tag of a packet that came out of the gateway, unless it differs from what was sent by more than a hop.
    pub fn check(&self, packet: &[u8]) -> Result<Tag, Differs> {
        let (head, rest) = packet.split_at_checked(HEADERS + TAG).ok_or(Differs::TooShort)?;
        let (headers, tag) = head.split_at(HEADERS);
        let tag = tag.first_chunk::<TAG>().map(Tag::from_bytes).ok_or(Differs::TooShort)?;
        if tag.trial != self.trial {
            return Err(Differs::Stale);
        }
        if packet.len() != self.len_of(tag.index) {
            return Err(Differs::Length);
        }
        if headers != self.headers(tag.index, self.flow_of(tag.index), packet.len(), TTL_AFTER) {
            return Err(Differs::Headers);
        }
        if rest != &self.filler[..rest.len()] {
            return Err(Differs::Payload);
        }
        Ok(tag)
    }

    /// IPv4 and UDP. The datagram has no checksum, which IPv4 permits.
    #[inline]
    fn headers(&self, index: u64, flow: u32, len: usize, ttl: u8) -> [u8; HEADERS] {
        let f = self.flows[flow as usize];
        let (len, id) = (len as u16, index as u16);
        let udp_len = len - wire::ip::V4_HEADER as u16;
        let protocol = wire::ip::protocol::UDP;
        let words = [f.src >> 16, f.src & 0xffff, f.dst >> 16, f.dst & 0xffff];
        let fixed = 0x4500 + u32::from(len) + u32::from(id) + u32::from_be_bytes([0, 0, ttl, protocol]);
        let checksum = !wire::checksum::fold(u64::from(fixed + words.iter().sum::<u32>()));
        let mut out = [0; HEADERS];
        out[0] = 0x45;
        out[2..4].copy_from_slice(&len.to_be_bytes());
        out[4..6].copy_from_slice(&id.to_be_bytes());
        (out[8], out[9]) = (ttl, protocol);
        out[10..12].copy_from_slice(&checksum.to_be_bytes());
        out[12..16].copy_from_slice(&f.src.to_be_bytes());
        out[16..20].copy_from_slice(&f.dst.to_be_bytes());
        out[20..22].copy_from_slice(&f.src_port.to_be_bytes());
        out[22..24].copy_from_slice(&f.dst_port.to_be_bytes());
        out[24..26].copy_from_slice(&udp_len.to_be_bytes());
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use sa::{Encryption, Integrity, Suite};

    fn maker(size: Size) -> Maker {
        let suite = Suite::new(Encryption::Aes128Gcm, Integrity::None).expect("a suite");
        let scene = Scene::new(3, 100, suite, true, 64).expect("a scene");
        Maker::new(&scene, Way::Out, &size, 9)
    }
    fn packet(maker: &Maker, index: u64) -> Vec<u8> {
        let mut packet = vec![0; maker.len_of(index)];
        maker.write(index, maker.flow_of(index), 77, &mut packet);
        packet
    }
    #[test]
    fn a_packet_is_well_formed_and_recognised_one_hop_later() {
        for size in [Size::Bytes(64), Size::Bytes(1518), Size::Bytes(9018), Size::Imix] {
            let maker = maker(size);
            for index in [0, 1, 99, 100, 70_000, 1 << 40] {
                let mut packet = packet(&maker, index);
                let parsed = wire::ip::Packet::parse(&packet).expect("IPv4");
                assert_eq!(parsed.protocol, wire::ip::protocol::UDP);
                assert!(wire::checksum::holds(&packet[..20]));
                assert!(wire::udp::parse(&packet[20..]).is_ok());
                assert_eq!(maker.check(&packet), Err(Differs::Headers), "no hop taken");
                wire::ip::decrement_ttl(&mut packet).expect("a TTL");
                assert_eq!(maker.check(&packet), Ok(Tag { stamp: 77, index, trial: 9 }));
            }
        }
    }
    #[test]
    fn any_changed_bit_is_found() {
        let maker = maker(Size::Bytes(128));
        let mut packet = packet(&maker, 1234);
        wire::ip::decrement_ttl(&mut packet).expect("a TTL");
        // A changed stamp, index or trial shows in the ledger; all else shows here.
        for at in (0..packet.len()).filter(|at| !(HEADERS..HEADERS + TAG).contains(at)) {
            for bit in 0..8 {
                let mut changed = packet.clone();
                changed[at] ^= 1 << bit;
                assert!(maker.check(&changed).is_err(), "byte {at} bit {bit}");
            }
        }
        assert!(maker.check(&packet[..packet.len() - 1]).is_err());
        assert_eq!(maker.check(&packet[..10]), Err(Differs::TooShort));
    }
    #[test]
    fn imix_is_seven_to_four_to_one_in_each_flow() {
        let maker = maker(Size::Imix);
        let mut counts = std::collections::BTreeMap::new();
        for turn in 0..1200u64 {
            *counts.entry(maker.len_of(turn * 100 + 5)).or_insert(0) += 1;
        }
        assert_eq!(counts.into_iter().collect::<Vec<_>>(), [(46, 700), (576, 400), (1500, 100)]);
        assert_eq!(Size::Imix.mean_ip(), (7.0 * 46.0 + 4.0 * 576.0 + 1500.0) / 12.0);
    }
    #[test]
    fn sizes_are_read_and_written() {
        for text in ["60", "63", "9019", "x", "-1", ""] {
            assert!(text.parse::<Size>().is_err(), "{text}");
        }
        for text in ["64", "1518", "9018", "imix"] {
            assert_eq!(text.parse::<Size>().expect("a size").to_string(), text);
        }
    }
}
