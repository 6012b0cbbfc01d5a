//! What the hosts of the first site send: Ethernet, IPv4, UDP and numbers, to a far host for each SA.
use crate::world::{ETHERNET, IPV4, LAN, host, mac};

/// Flows that share the one SA: their verdicts sit in the flow cache.
pub const FLOWS: usize = 64;

/// Whether a packet's flow was seen before.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Flows {
    /// Of a known flow: the worker remembers what the policy said.
    Known,
    /// The first of its flow: it is held against the policies.
    New,
}
impl Flows {
    pub const fn name(self) -> &'static str {
        match self {
            Self::Known => "hit",
            Self::New => "miss",
        }
    }
}

/// The packets of a sample. Each draw has other hosts or ports than those before.
pub struct Traffic {
    sas: usize,
    flows: Flows,
    frames: Vec<Vec<u8>>,
    packets: u64,
    /// Where new flows begin.
    from: u64,
}

impl Traffic {
    /// `bytes` long without the Ethernet header.
    pub fn new(sas: usize, flows: Flows, bytes: usize, packets: usize) -> Self {
        let frames = (0..packets).map(|n| frame(n, bytes)).collect();
        let mut this = Self { sas, flows, frames, packets: 0, from: 0 };
        this.draw();
        this
    }
    /// New flows that nobody meets who began without this: two cases on the same gateways must not know each other's.
    pub fn others(self) -> Self {
        let mut this = Self { packets: 0, from: 1 << 31, ..self };
        this.draw();
        this
    }
    pub fn frames(&self) -> &[Vec<u8>] {
        &self.frames
    }
    /// New headers for all packets: hosts (and so SAs) in no order that a prefetcher could learn, any of them equally
    /// likely each time.
    pub fn draw(&mut self) {
        if self.sas == 1 && self.flows == Flows::Known && self.packets > 0 {
            return;
        }
        for frame in &mut self.frames {
            let n = self.packets;
            self.packets += 1;
            let far = if self.sas == 1 { 0 } else { (mix(n) % self.sas as u64) as usize };
            let (src, dst) = match self.flows {
                // With many SAs one flow for each.
                Flows::Known if self.sas > 1 => (1024 + (far % FLOWS) as u16, 9),
                Flows::Known => (1024 + (n % FLOWS as u64) as u16, 9),
                Flows::New => {
                    let n = self.from + n;
                    (n as u16, 1024_u16.wrapping_add((n >> 16) as u16))
                }
            };
            address(frame, far, src, dst);
        }
    }
}

/// SplitMix64.
fn mix(n: u64) -> u64 {
    let n = n.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let n = (n ^ (n >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let n = (n ^ (n >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    n ^ (n >> 31)
}

fn frame(n: usize, bytes: usize) -> Vec<u8> {
    let mut frame = [&mac(1, LAN).0[..], &mac(1, 9).0, &[0x08, 0x00]].concat();
    let mut ip = [0x45, 0, 0, 0, 0, 0, 0x40, 0, 64, 17, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    ip[2..4].copy_from_slice(&(bytes as u16).to_be_bytes());
    ip[12..16].copy_from_slice(&host(1, 0).octets());
    frame.extend(ip);
    frame.extend([0; 4]);
    frame.extend(((bytes - IPV4) as u16).to_be_bytes());
    frame.extend([0, 0]); // no UDP checksum
    frame.extend((frame.len()..ETHERNET + bytes).map(|at| (at * 7 + n) as u8));
    frame
}

fn address(frame: &mut [u8], far: usize, src: u16, dst: u16) {
    let ip = &mut frame[ETHERNET..];
    ip[16..20].copy_from_slice(&host(2, far).octets());
    ip[10..12].fill(0);
    let sum: u32 = ip[..IPV4].chunks_exact(2).map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
    let sum = !((sum & 0xffff) + (sum >> 16)) as u16;
    ip[10..12].copy_from_slice(&sum.to_be_bytes());
    ip[IPV4..IPV4 + 2].copy_from_slice(&src.to_be_bytes());
    ip[IPV4 + 2..IPV4 + 4].copy_from_slice(&dst.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn flow(frame: &[u8]) -> Vec<u8> {
        frame[ETHERNET + 12..ETHERNET + 24].to_vec()
    }
    #[test]
    fn known_flows_come_back_and_new_ones_never() {
        let seen = |sas, flows| {
            let mut traffic = Traffic::new(sas, flows, 64, 512);
            let mut all = HashSet::new();
            for _ in 0..200 {
                all.extend(traffic.frames().iter().map(|f| flow(f)));
                traffic.draw();
            }
            all.len()
        };
        assert_eq!(seen(1, Flows::Known), FLOWS);
        assert_eq!(seen(1000, Flows::Known), 1000, "every SA gets its share, one flow each");
        assert_eq!(seen(1, Flows::New), 200 * 512, "beyond 16 bits as well");
        let (one, other) =
            (Traffic::new(1, Flows::New, 64, 512), Traffic::new(1, Flows::New, 64, 512).others());
        assert!(one.frames().iter().zip(other.frames()).all(|(a, b)| flow(a) != flow(b)));
    }
    #[test]
    fn headers_are_sound() {
        let mut traffic = Traffic::new(100_000, Flows::Known, 512, 64);
        traffic.draw();
        for frame in traffic.frames() {
            assert_eq!(frame.len(), ETHERNET + 512);
            let words = frame[ETHERNET..ETHERNET + IPV4].chunks_exact(2);
            let sum: u32 = words.map(|w| u32::from(u16::from_be_bytes([w[0], w[1]]))).sum();
            assert_eq!((sum & 0xffff) + (sum >> 16), 0xffff, "the checksum");
            assert!(frame[ETHERNET + 16] == 10 && frame[ETHERNET + 17] >= 64, "a host of the second site");
        }
    }
}
