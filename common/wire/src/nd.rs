//! IPv6 neighbour discovery messages (RFC 4861 4).
use crate::{Mac, Malformed, icmp};
use std::net::Ipv6Addr;

/// A solicitation or an advertisement with the options we use.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Neighbour {
    pub kind: Kind,
    pub target: Ipv6Addr,
    /// Source link-layer address of a solicitation, target's of an advertisement.
    pub link_layer: Option<Mac>,
}
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Solicitation,
    Advertisement { router: bool, solicited: bool, overrides: bool },
}

const SOURCE_LINK_LAYER: u8 = 1;
const TARGET_LINK_LAYER: u8 = 2;
/// Header, target, one link-layer option.
pub const LEN: usize = 32;

/// Options as (type, body without type and length).
pub struct Options<'a>(&'a [u8]);
impl<'a> Options<'a> {
    pub const fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }
}
impl<'a> Iterator for Options<'a> {
    type Item = Result<(u8, &'a [u8]), Malformed>;
    fn next(&mut self) -> Option<Self::Item> {
        let (kind, len) = match self.0 {
            [] => return None,
            [kind, len, ..] => (*kind, usize::from(*len) * 8),
            _ => (0, 0),
        };
        //= rfc4861#4.6/zero-length: an option of length 0 makes the packet void.
        match (len, self.0.split_at_checked(len)) {
            (8.., Some((option, rest))) => {
                self.0 = rest;
                Some(Ok((kind, &option[2..])))
            }
            _ => {
                self.0 = &[];
                Some(Err(Malformed("ND option")))
            }
        }
    }
}

impl Neighbour {
    /// Takes a whole ICMPv6 message. Hop limit 255 and the checksum are the caller's to check.
    pub fn parse(message: &[u8]) -> Result<Self, Malformed> {
        let header = icmp::Header::parse(message)?;
        let (target, options) =
            message[icmp::HEADER..].split_first_chunk::<16>().ok_or(Malformed("ND target"))?;
        let target = Ipv6Addr::from(*target);
        let (kind, wanted) = match (header.kind, header.code) {
            (icmp::v6::NEIGHBOUR_SOLICITATION, 0) => (Kind::Solicitation, SOURCE_LINK_LAYER),
            (icmp::v6::NEIGHBOUR_ADVERTISEMENT, 0) => {
                let flags = header.rest[0];
                let kind = Kind::Advertisement {
                    router: flags & 0x80 != 0,
                    solicited: flags & 0x40 != 0,
                    overrides: flags & 0x20 != 0,
                };
                (kind, TARGET_LINK_LAYER)
            }
            _ => return Err(Malformed("ND message type")),
        };
        if target.is_multicast() {
            return Err(Malformed("ND target, a multicast address"));
        }
        let mut link_layer = None;
        for option in Options::new(options) {
            if let (kind, [a, b, c, d, e, f]) = option?
                && kind == wanted
            {
                link_layer = Some(Mac([*a, *b, *c, *d, *e, *f]));
            }
        }
        Ok(Self { kind, target, link_layer })
    }
    /// The ICMPv6 message, checksummed. Without link-layer address it is eight bytes shorter.
    pub fn write<'a>(&self, out: &'a mut [u8; LEN], src: Ipv6Addr, dst: Ipv6Addr) -> &'a [u8] {
        let (kind, option, flags) = match self.kind {
            Kind::Solicitation => (icmp::v6::NEIGHBOUR_SOLICITATION, SOURCE_LINK_LAYER, 0),
            Kind::Advertisement { router, solicited, overrides } => (
                icmp::v6::NEIGHBOUR_ADVERTISEMENT,
                TARGET_LINK_LAYER,
                u8::from(router) << 7 | u8::from(solicited) << 6 | u8::from(overrides) << 5,
            ),
        };
        out[8..24].copy_from_slice(&self.target.octets());
        let len = match self.link_layer {
            Some(mac) => {
                out[24..26].copy_from_slice(&[option, 1]);
                out[26..32].copy_from_slice(&mac.0);
                32
            }
            None => 24,
        };
        let header = icmp::Header { kind, code: 0, rest: [flags, 0, 0, 0] };
        let message = &mut out[..len];
        // The message is longer than its header by construction.
        let _ = icmp::seal(message, header, src.into(), dst.into());
        message
    }
}
//= rfc4291#2.7.1/solicited-node: ff02::1:ff00:0/104 and the low 24 bits.
pub const fn solicited_node(target: Ipv6Addr) -> Ipv6Addr {
    let low = target.segments();
    Ipv6Addr::new(0xff02, 0, 0, 0, 0, 1, 0xff00 | (low[6] & 0xff), low[7])
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn messages_survive_the_round_trip() {
        let (src, dst) = ("fe80::1".parse().unwrap(), "ff02::1:ff00:2".parse().unwrap());
        for kind in
            [Kind::Solicitation, Kind::Advertisement { router: true, solicited: false, overrides: true }]
        {
            for link_layer in [None, Some(Mac([2, 0, 0, 0, 0, 7]))] {
                let message = Neighbour { kind, target: "fe80::2".parse().unwrap(), link_layer };
                let mut bytes = [0; LEN];
                let bytes = message.write(&mut bytes, src, dst);
                assert!(icmp::checksum_holds(bytes, src.into(), dst.into()));
                assert_eq!(Neighbour::parse(bytes), Ok(message));
            }
        }
        assert_eq!(
            solicited_node("2001:db8::12:3456".parse().unwrap()),
            "ff02::1:ff12:3456".parse::<Ipv6Addr>().unwrap()
        );
    }
    proptest! {
        #[test]
        fn any_bytes_parse_or_do_not(kind in 133u8..138, mut bytes in prop::collection::vec(any::<u8>(), 0..80)) {
            if let Some(first) = bytes.first_mut() { *first = kind; }
            let _ = Neighbour::parse(&bytes);
            prop_assert!(Options::new(&bytes).count() <= bytes.len() / 8 + 1);
        }
    }
}
