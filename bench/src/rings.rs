//! What stands around a worker in place of a NIC: a ring of received packets, one of sent ones, and a pool.
//!
//! They are arrays of pointers with one reader and one writer, as a driver's are, and moving a packet through them is
//! part of what is timed: each burst takes its packets from the receive ring and writes where they start and end,
//! takes as many fresh buffers from the pool to post them in their stead, puts what the worker made into the transmit
//! ring and gives as many buffers back to the pool.
use crate::buffer::MemBuf;
use std::collections::VecDeque;

/// Buffers on their way around, beside those with packets.
const SPARE: usize = 512;

pub struct Rings {
    received: VecDeque<(MemBuf, u16)>,
    posted: VecDeque<MemBuf>,
    sent: Vec<MemBuf>,
    pool: Vec<MemBuf>,
}

impl Rings {
    /// For samples of at most `packets`.
    pub fn new(packets: usize) -> Self {
        let mut posted = VecDeque::with_capacity(2 * SPARE);
        posted.extend(MemBuf::pool(SPARE / 2));
        let mut pool = Vec::with_capacity(2 * SPARE + packets);
        pool.extend(MemBuf::pool(SPARE / 2));
        Self { received: VecDeque::with_capacity(packets), posted, sent: Vec::with_capacity(packets), pool }
    }
    /// A packet has arrived.
    pub fn arrive(&mut self, mut packet: MemBuf) {
        packet.settle();
        let len = wire::PacketBuf::len(&packet) as u16;
        self.received.push_back((packet, len));
    }
    /// At most `most` packets; false when none is left.
    #[inline]
    pub fn receive(&mut self, burst: &mut Vec<MemBuf>, most: usize) -> bool {
        let count = most.min(self.received.len());
        burst.extend(self.received.drain(..count).map(|(mut packet, len)| {
            packet.receive(usize::from(len));
            packet
        }));
        let fresh = self.pool.len().saturating_sub(count);
        self.posted.extend(self.pool.drain(fresh..));
        count > 0
    }
    #[inline]
    pub fn transmit(&mut self, packets: &mut Vec<MemBuf>) {
        let done = packets.len().min(self.posted.len());
        self.sent.append(packets);
        self.pool.extend(self.posted.drain(..done));
    }
    /// Empties the transmit ring.
    pub fn sent(&mut self) -> &mut Vec<MemBuf> {
        &mut self.sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use wire::PacketBuf;

    #[test]
    fn packets_come_out_in_order_and_no_buffer_is_lost() {
        let mut rings = Rings::new(100);
        for n in 0..100u8 {
            let mut packet = MemBuf::new();
            assert!(packet.load(&[n; 60]));
            rings.arrive(packet);
        }
        let mut burst = Vec::new();
        while rings.receive(&mut burst, 32) {
            rings.transmit(&mut burst);
        }
        let sent: Vec<_> = rings.sent().drain(..).map(|p| p.data()[0]).collect();
        assert_eq!(sent, (0..100).collect::<Vec<u8>>());
        assert_eq!(rings.pool.len() + rings.posted.len(), SPARE);
    }
}
