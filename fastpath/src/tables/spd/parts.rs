//! Which masks are worth a look: of many, a packet meets rows of few.
//!
//! For each byte of the addresses, and for the protocol, a table says by that byte's value which of 64 masks have a row
//! that it fits. What all of them say together is the masks to be asked. A mask may be asked for nothing; it is never
//! passed over when it has a row for the packet. Bits of rows that were taken out stay until their mask goes.
use super::search::{Mask, Probe, Row, Words};

/// Masks of a part; one bit each.
const MASKS: usize = u64::BITS as usize;
/// Bytes of a packet that are looked at: eight of its addresses, and its protocol.
const BYTES: usize = 9;
/// So few masks are asked without looking.
const FEW: usize = 2;

/// Up to 64 masks.
#[derive(Debug)]
pub(super) struct Part<const N: usize> {
    /// Places may be free, see `used`.
    probes: Vec<Probe<N>>,
    used: u64,
    by_byte: Box<[[u64; 256]; BYTES]>,
}
impl<const N: usize> Default for Part<N> {
    fn default() -> Self {
        Self { probes: Vec::new(), used: 0, by_byte: Box::new([[0; 256]; BYTES]) }
    }
}

/// All of an IPv4 packet's addresses; of IPv6 what stands behind the first 32 bits, up to the interface identifier.
#[inline(always)]
fn bytes<const N: usize>(addresses: &[u64; N], rest: u64) -> [u8; BYTES] {
    let word = match N {
        1 => addresses[0],
        _ => addresses[0] << 32 | addresses[N / 2] & 0xffff_ffff,
    };
    let [a, b, c, d, e, f, g, h] = word.to_le_bytes();
    [a, b, c, d, e, f, g, h, (rest >> 32) as u8]
}

impl<const N: usize> Part<N> {
    /// Those that may have a row for the packet.
    #[inline(always)]
    pub fn worth_asking(&self, flow: &Words<N>) -> impl Iterator<Item = &Probe<N>> {
        let mut left = self.used;
        if self.probes.len() > FEW {
            let bytes = bytes(&flow.addresses, flow.rest);
            for (table, byte) in self.by_byte.iter().zip(bytes) {
                left &= table[usize::from(byte)];
            }
        }
        std::iter::from_fn(move || {
            let probe = self.probes.get(left.trailing_zeros() as usize)?;
            left &= left - 1;
            Some(probe)
        })
    }
    pub fn find(&mut self, mask: &Mask<N>) -> Option<usize> {
        self.probes.iter().enumerate().position(|(at, p)| self.used >> at & 1 != 0 && p.mask == *mask)
    }
    pub fn is_full(&self) -> bool {
        self.used == u64::MAX
    }
    pub fn get_mut(&mut self, at: usize) -> &mut Probe<N> {
        &mut self.probes[at]
    }
    /// There is room.
    pub fn add(&mut self, probe: Probe<N>) -> usize {
        let at = (self.used.trailing_ones() as usize).min(MASKS - 1);
        // A byte that nobody looks at may be anything.
        let masks = bytes(&probe.mask.addresses, probe.mask.rest);
        for (table, _) in self.by_byte.iter_mut().zip(masks).filter(|(_, mask)| *mask == 0) {
            table.iter_mut().for_each(|masks| *masks |= 1 << at);
        }
        self.used |= 1 << at;
        match self.probes.get_mut(at) {
            Some(place) => *place = probe,
            None => self.probes.push(probe),
        }
        at
    }
    pub fn remove(&mut self, at: usize) {
        self.used &= !(1 << at);
        self.by_byte.iter_mut().flatten().for_each(|masks| *masks &= !(1 << at));
    }
    /// A row of the mask at `at`.
    pub fn note(&mut self, at: usize, row: &Row<N>) {
        let (masks, values) = (bytes(&row.mask.addresses, row.mask.rest), bytes(&row.addresses, row.rest));
        for (table, (mask, value)) in self.by_byte.iter_mut().zip(masks.into_iter().zip(values)) {
            // All numbers in the bits that the mask leaves free, the highest first.
            let free = usize::from(!mask);
            let mut other = if mask == 0 { 0 } else { free };
            loop {
                table[usize::from(value & mask) | other] |= 1 << at;
                if other == 0 {
                    break;
                }
                other = (other - 1) & free;
            }
        }
    }
}
