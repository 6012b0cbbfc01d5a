//! UDP headers (RFC 768).
use crate::Malformed;
use zerocopy::byteorder::network_endian::U16;
use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout, Unaligned};

pub const HEADER: usize = 8;

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, KnownLayout, Immutable, Unaligned)]
#[repr(C)]
pub struct Header {
    pub src_port: U16,
    pub dst_port: U16,
    pub len: U16,
    pub checksum: U16,
}

/// Header and payload; `len` is believed only as far as the bytes go.
pub fn parse(bytes: &[u8]) -> Result<(&Header, &[u8]), Malformed> {
    let (header, _) = Header::ref_from_prefix(bytes).map_err(|_| Malformed("UDP header"))?;
    let payload = bytes.get(HEADER..usize::from(header.len.get())).ok_or(Malformed("UDP length"))?;
    Ok((header, payload))
}
/// Writes a header for `payload` bytes without a checksum; `None` if it does not fit.
pub fn write(out: &mut [u8], src_port: u16, dst_port: u16, payload: usize) -> Option<()> {
    let len = u16::try_from(HEADER + payload).ok()?;
    let header =
        Header { src_port: src_port.into(), dst_port: dst_port.into(), len: len.into(), checksum: 0.into() };
    header.write_to_prefix(out).ok()
}
/// Fills in the checksum of a whole datagram. A sum of zero is sent as all ones (RFC 768).
pub fn fill_checksum(datagram: &mut [u8], src: std::net::IpAddr, dst: std::net::IpAddr) -> Option<()> {
    datagram.get_mut(6..8)?.fill(0);
    let sum = crate::checksum::pseudo(src, dst, 17, datagram.len()).with(datagram).finish();
    let sum = if sum == 0 { 0xffff } else { sum };
    datagram.get_mut(6..8)?.copy_from_slice(&sum.to_be_bytes());
    Some(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    proptest! {
        #[test]
        fn any_bytes_parse_or_do_not(bytes in prop::collection::vec(any::<u8>(), 0..60)) {
            if let Ok((header, payload)) = parse(&bytes) {
                prop_assert_eq!(usize::from(header.len.get()), payload.len() + HEADER);
            }
        }
        #[test]
        fn what_is_written_is_parsed(payload in prop::collection::vec(any::<u8>(), 0..60)) {
            let mut bytes = vec![0; HEADER];
            write(&mut bytes, 500, 4500, payload.len()).unwrap();
            bytes.extend(&payload);
            let (src, dst) = ("192.0.2.1".parse().unwrap(), "192.0.2.2".parse().unwrap());
            fill_checksum(&mut bytes, src, dst).unwrap();
            let (header, got) = parse(&bytes).unwrap();
            prop_assert_eq!((header.src_port.get(), header.dst_port.get(), got), (500, 4500, &payload[..]));
            prop_assert_eq!(crate::checksum::pseudo(src, dst, 17, bytes.len()).with(&bytes).finish(), 0);
        }
    }
}
