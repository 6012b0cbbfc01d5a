//! A packet buffer as a pool would hand it out: fixed memory with room on both sides, used again and again.
use wire::PacketBuf;

#[repr(align(64))]
struct Room([u8; MemBuf::SIZE]);

/// Two kilobytes of packet behind 128 bytes of headroom, as a DPDK mbuf has by default.
pub struct MemBuf {
    room: Box<Room>,
    start: u16,
    end: u16,
}

impl MemBuf {
    const HEADROOM: usize = 128;
    const SIZE: usize = 2048 + Self::HEADROOM;

    pub fn new() -> Self {
        Self {
            room: Box::new(Room([0; Self::SIZE])),
            start: Self::HEADROOM as u16,
            end: Self::HEADROOM as u16,
        }
    }
    /// Forgets what was in it and takes `packet`. False when that is too long.
    pub fn load(&mut self, packet: &[u8]) -> bool {
        self.start = Self::HEADROOM as u16;
        self.end = self.start;
        let fits = self.append(packet.len()).is_some();
        if fits {
            self.data_mut().copy_from_slice(packet);
        }
        fits
    }
    fn span(&self) -> std::ops::Range<usize> {
        usize::from(self.start)..usize::from(self.end)
    }
}
impl Default for MemBuf {
    fn default() -> Self {
        Self::new()
    }
}

impl PacketBuf for MemBuf {
    fn data(&self) -> &[u8] {
        &self.room.0[self.span()]
    }
    fn data_mut(&mut self) -> &mut [u8] {
        let span = self.span();
        &mut self.room.0[span]
    }
    fn headroom(&self) -> usize {
        self.start.into()
    }
    fn tailroom(&self) -> usize {
        Self::SIZE - usize::from(self.end)
    }
    fn prepend(&mut self, n: usize) -> Option<&mut [u8]> {
        self.start = self.start.checked_sub(n.try_into().ok()?)?;
        Some(self.data_mut())
    }
    fn append(&mut self, n: usize) -> Option<&mut [u8]> {
        if n > self.tailroom() {
            return None;
        }
        self.end += n as u16;
        Some(self.data_mut())
    }
    fn advance(&mut self, n: usize) -> Option<()> {
        if n > self.len() {
            return None;
        }
        self.start += n as u16;
        Some(())
    }
    fn truncate(&mut self, len: usize) -> Option<()> {
        if len > self.len() {
            return None;
        }
        self.end = self.start + len as u16;
        Some(())
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
