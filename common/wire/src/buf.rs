//! A packet in a buffer with room on both sides: DPDK's mbuf in the product, [`TestBuf`] in tests.

/// One contiguous packet. Every method is total: what does not fit answers `None` and changes nothing.
pub trait PacketBuf {
    fn data(&self) -> &[u8];
    fn data_mut(&mut self) -> &mut [u8];
    fn headroom(&self) -> usize;
    fn tailroom(&self) -> usize;
    /// Grows at the front and returns the whole packet; the new bytes are undefined.
    fn prepend(&mut self, n: usize) -> Option<&mut [u8]>;
    /// Grows at the end and returns the whole packet; the new bytes are undefined.
    fn append(&mut self, n: usize) -> Option<&mut [u8]>;
    /// Shrinks at the front.
    fn advance(&mut self, n: usize) -> Option<()>;
    /// Shrinks at the end.
    fn truncate(&mut self, len: usize) -> Option<()>;
    /// Grows on both sides at once and returns the whole packet.
    #[inline]
    fn grow(&mut self, front: usize, back: usize) -> Option<&mut [u8]> {
        if self.headroom() < front || self.tailroom() < back {
            return None;
        }
        self.append(back)?;
        self.prepend(front)
    }
    /// Keeps `len` bytes from `from` on and returns them.
    #[inline]
    fn cut(&mut self, from: usize, len: usize) -> Option<&mut [u8]> {
        if from.checked_add(len)? > self.len() {
            return None;
        }
        self.advance(from)?;
        self.truncate(len)?;
        Some(self.data_mut())
    }
    fn len(&self) -> usize {
        self.data().len()
    }
    fn is_empty(&self) -> bool {
        self.len() == 0
    }
    /// Asks for the first bytes to be brought near; somebody will read them soon.
    fn prefetch(&self) {}
    /// Asks for where the packet will begin and end when it has grown by `front` and `back` bytes.
    fn prefetch_ends(&self, _front: usize, _back: usize) {}
}

/// A packet on the heap, for tests, fuzzers, offline runs and the in-memory benchmark.
#[derive(Clone, Debug)]
pub struct TestBuf {
    bytes: Vec<u8>,
    start: usize,
    end: usize,
}

impl TestBuf {
    pub const HEADROOM: usize = 128;
    pub const TAILROOM: usize = 128;
    pub fn new(packet: &[u8]) -> Self {
        Self::with_room(packet, Self::HEADROOM, Self::TAILROOM)
    }
    pub fn with_room(packet: &[u8], headroom: usize, tailroom: usize) -> Self {
        let mut bytes = vec![0; headroom + packet.len() + tailroom];
        bytes[headroom..headroom + packet.len()].copy_from_slice(packet);
        Self { bytes, start: headroom, end: headroom + packet.len() }
    }
}
impl PacketBuf for TestBuf {
    fn data(&self) -> &[u8] {
        &self.bytes[self.start..self.end]
    }
    fn data_mut(&mut self) -> &mut [u8] {
        &mut self.bytes[self.start..self.end]
    }
    fn headroom(&self) -> usize {
        self.start
    }
    fn tailroom(&self) -> usize {
        self.bytes.len() - self.end
    }
    fn prepend(&mut self, n: usize) -> Option<&mut [u8]> {
        self.start = self.start.checked_sub(n)?;
        Some(self.data_mut())
    }
    fn append(&mut self, n: usize) -> Option<&mut [u8]> {
        if n > self.tailroom() {
            return None;
        }
        self.end += n;
        Some(self.data_mut())
    }
    fn advance(&mut self, n: usize) -> Option<()> {
        (n <= self.len()).then(|| self.start += n)
    }
    fn truncate(&mut self, len: usize) -> Option<()> {
        (len <= self.len()).then(|| self.end = self.start + len)
    }
}
