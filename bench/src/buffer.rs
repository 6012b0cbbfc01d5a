//! A packet buffer as a pool would hand it out: fixed memory with room on both sides, used again and again.
use wire::PacketBuf;

/// The bookkeeping has a cache line of its own in front of the bytes, as in an mbuf.
#[repr(C, align(64))]
struct Room {
    start: usize,
    end: usize,
    bytes: Bytes,
}
#[repr(align(64))]
struct Bytes([u8; MemBuf::SIZE]);

/// Two kilobytes of packet behind 128 bytes of headroom, as a DPDK mbuf has by default. Moving it moves a pointer.
pub struct MemBuf(Box<Room>);

impl MemBuf {
    const HEADROOM: usize = 128;
    const SIZE: usize = 2048 + Self::HEADROOM;

    pub fn new() -> Self {
        let bytes = Bytes([0; Self::SIZE]);
        Self(Box::new(Room { start: Self::HEADROOM, end: Self::HEADROOM, bytes }))
    }
    /// Forgets what was in it and takes `packet`. False when that is too long.
    pub fn load(&mut self, packet: &[u8]) -> bool {
        (self.0.start, self.0.end) = (Self::HEADROOM, Self::HEADROOM);
        let fits = self.append(packet.len()).is_some();
        if fits {
            self.data_mut().copy_from_slice(packet);
        }
        fits
    }
}
impl Default for MemBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl PacketBuf for MemBuf {
    #[inline]
    fn data(&self) -> &[u8] {
        &self.0.bytes.0[self.0.start..self.0.end]
    }
    #[inline]
    fn data_mut(&mut self) -> &mut [u8] {
        let Room { start, end, bytes } = &mut *self.0;
        &mut bytes.0[*start..*end]
    }
    #[inline]
    fn headroom(&self) -> usize {
        self.0.start
    }
    #[inline]
    fn tailroom(&self) -> usize {
        Self::SIZE - self.0.end
    }
    #[inline]
    fn prepend(&mut self, n: usize) -> Option<&mut [u8]> {
        self.0.start = self.0.start.checked_sub(n)?;
        Some(self.data_mut())
    }
    #[inline]
    fn append(&mut self, n: usize) -> Option<&mut [u8]> {
        if n > self.tailroom() {
            return None;
        }
        self.0.end += n;
        Some(self.data_mut())
    }
    #[inline]
    fn advance(&mut self, n: usize) -> Option<()> {
        if n > self.len() {
            return None;
        }
        self.0.start += n;
        Some(())
    }
    #[inline]
    fn truncate(&mut self, len: usize) -> Option<()> {
        if len > self.len() {
            return None;
        }
        self.0.end = self.0.start + len;
        Some(())
    }
    #[inline]
    fn len(&self) -> usize {
        self.0.end - self.0.start
    }
    #[inline]
    fn prefetch(&self) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let start = self.0.bytes.0.as_ptr().wrapping_add(self.0.start).cast::<i8>();
            // SAFETY: a prefetch reads nothing that the program could notice, whatever the address.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(start);
                _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(64));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grows_and_shrinks_within_its_room_only() {
        let mut b = MemBuf::new();
        assert!(b.load(&[1, 2, 3]) && b.data() == [1, 2, 3]);
        assert_eq!(b.prepend(129).map(|_| ()), None);
        b.prepend(128).expect("the whole headroom")[0] = 9;
        assert_eq!((b.len(), b.headroom(), b.data()[0]), (131, 0, 9));
        let room = b.tailroom();
        assert!(b.append(room + 1).is_none() && b.append(room).is_some() && b.tailroom() == 0);
        assert_eq!((b.len(), b.advance(b.len() + 1), b.truncate(b.len() + 1)), (MemBuf::SIZE, None, None));
        assert_eq!((b.advance(128), b.truncate(3)), (Some(()), Some(())));
        assert_eq!(b.data(), [1, 2, 3]);
        assert!(!b.load(&vec![0; MemBuf::SIZE]), "longer than what is behind the headroom");
    }
}
