//! Stateless cookies (RFC 7296 2.6): proof that the initiator receives at its address.
use super::{prf, same};
use crate::api::{Prf, Rng};
use std::net::IpAddr;
use zeroize::{Zeroize, ZeroizeOnDrop};

/// Two generations of the secret, so that a cookie handed out just before a rotation still counts.
#[derive(Zeroize, ZeroizeOnDrop)]
pub struct Cookies {
    generation: u32,
    current: [u8; 32],
    previous: Option<[u8; 32]>,
}

impl Cookies {
    pub fn new(rng: &mut dyn Rng) -> Self {
        let mut this = Self { generation: 0, current: [0; 32], previous: None };
        rng.fill(&mut this.current);
        this
    }
    //= rfc7296#2.6/rotate: the secret changes often under attack; the one before it stays good for a while.
    pub fn rotate(&mut self, rng: &mut dyn Rng) {
        self.previous = Some(self.current);
        self.generation = self.generation.wrapping_add(1);
        rng.fill(&mut self.current);
    }
    //= rfc7296#2.6/cookie: VersionIDofSecret | Hash(Ni | IPi | SPIi | secret), the hash being an HMAC here.
    pub fn make(&self, ni: &[u8], from: IpAddr, spi_i: u64) -> Vec<u8> {
        Self::with(self.generation, &self.current, ni, from, spi_i)
    }
    pub fn check(&self, cookie: &[u8], ni: &[u8], from: IpAddr, spi_i: u64) -> bool {
        let secret = match cookie.first_chunk().map(|g| u32::from_be_bytes(*g)) {
            Some(g) if g == self.generation => Some(&self.current),
            Some(g) if g == self.generation.wrapping_sub(1) => self.previous.as_ref(),
            _ => None,
        };
        let generation = cookie.first_chunk().map_or(0, |g| u32::from_be_bytes(*g));
        secret.is_some_and(|s| same(&Self::with(generation, s, ni, from, spi_i), cookie))
    }
    fn with(generation: u32, secret: &[u8], ni: &[u8], from: IpAddr, spi_i: u64) -> Vec<u8> {
        let address = match from {
            IpAddr::V4(ip) => ip.to_ipv6_mapped().octets(),
            IpAddr::V6(ip) => ip.octets(),
        };
        let mut cookie = generation.to_be_bytes().to_vec();
        // The nonce is the only part without a fixed length and stands last.
        cookie.extend_from_slice(&prf(Prf::HmacSha256, secret, &[&address, &spi_i.to_be_bytes(), ni]));
        cookie
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Counting(u8);
    impl Rng for Counting {
        fn fill(&mut self, out: &mut [u8]) {
            self.0 += 1;
            out.fill(self.0);
        }
    }

    //= test rfc7296#2.6/cookie
    //= test rfc7296#2.6/rotate
    #[test]
    fn a_cookie_is_good_for_its_sender_and_two_generations() {
        let mut rng = Counting(0);
        let mut cookies = Cookies::new(&mut rng);
        let (from, other): (IpAddr, IpAddr) = ("192.0.2.1".parse().unwrap(), "2001:db8::1".parse().unwrap());
        let cookie = cookies.make(b"nonce of sixteen", from, 5);
        //= test rfc7296#2.6/cookie-size
        assert!((1..=64).contains(&cookie.len()));
        for generation in 0..4 {
            let good = generation < 2;
            assert_eq!(
                cookies.check(&cookie, b"nonce of sixteen", from, 5),
                good,
                "after {generation} rotations"
            );
            assert!(!cookies.check(&cookie, b"another  sixteen", from, 5));
            assert!(!cookies.check(&cookie, b"nonce of sixteen", other, 5));
            assert!(!cookies.check(&cookie, b"nonce of sixteen", from, 6));
            cookies.rotate(&mut rng);
        }
        let fresh = cookies.make(b"nonce of sixteen", other, 5);
        for bit in 0..fresh.len() * 8 {
            let mut forged = fresh.clone();
            forged[bit / 8] ^= 1 << (bit % 8);
            assert!(!cookies.check(&forged, b"nonce of sixteen", other, 5), "bit {bit}");
        }
        for cut in 0..fresh.len() {
            assert!(!cookies.check(&fresh[..cut], b"nonce of sixteen", other, 5), "cut at {cut}");
        }
    }
    #[test]
    fn before_the_first_rotation_no_older_secret_counts() {
        let cookies = Cookies::new(&mut Counting(0));
        let from = "192.0.2.1".parse().unwrap();
        // What a secret of zeros would have made, had there been one before.
        let made = Cookies::with(u32::MAX, &[0; 32], b"nonce of sixteen", from, 5);
        assert!(!cookies.check(&made, b"nonce of sixteen", from, 5));
    }
}
