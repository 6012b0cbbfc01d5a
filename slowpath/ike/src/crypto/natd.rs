//! NAT detection (RFC 7296 2.23).
use sha1::{Digest, Sha1};
use std::net::{IpAddr, SocketAddr};

//= rfc7296#2.23/nat-detection-hash: SHA-1 of SPIi | SPIr | address | port.
pub fn nat_detection(spi_i: u64, spi_r: u64, at: SocketAddr) -> [u8; 20] {
    let mut hash = Sha1::new();
    hash.update(spi_i.to_be_bytes());
    hash.update(spi_r.to_be_bytes());
    match at.ip() {
        IpAddr::V4(ip) => hash.update(ip.octets()),
        IpAddr::V6(ip) => hash.update(ip.octets()),
    }
    hash.update(at.port().to_be_bytes());
    hash.finalize().into()
}
