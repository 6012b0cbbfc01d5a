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
/// Its memory is never given back: a pool lives as long as the program.
pub struct MemBuf(&'static mut Room);

impl MemBuf {
    const HEADROOM: usize = 128;
    const SIZE: usize = 2048 + Self::HEADROOM;

    pub fn new() -> Self {
        Self(Box::leak(Box::new(Room::empty())))
    }
    /// Side by side, on large pages where the system gives them, as a mempool's are.
    pub fn pool(count: usize) -> Vec<Self> {
        let mut rooms = Vec::with_capacity(count);
        on_large_pages(rooms.spare_capacity_mut());
        rooms.resize_with(count, Room::empty);
        rooms.leak().iter_mut().map(Self).collect()
    }
    /// Moves the packet to where a NIC would have put it.
    pub fn settle(&mut self) {
        let Room { start, end, bytes } = &mut *self.0;
        bytes.0.copy_within(*start..*end, Self::HEADROOM);
        (*start, *end) = (Self::HEADROOM, Self::HEADROOM + (*end - *start));
    }
    /// What a driver does when a packet has come into the buffer: writes where it starts and how long it is.
    #[inline]
    pub fn receive(&mut self, len: usize) {
        (self.0.start, self.0.end) = (Self::HEADROOM, Self::HEADROOM + len.min(Self::SIZE - Self::HEADROOM));
    }
    /// Drives the packet and the room in front of it out of all caches: there a NIC leaves what it writes to memory.
    pub fn evict(&self) {
        #[cfg(target_arch = "x86_64")]
        for line in self.0.bytes.0[..self.0.end].chunks(64) {
            // SAFETY: part of x86-64; what the line holds is written back, not changed.
            unsafe { std::arch::x86_64::_mm_clflush(line.as_ptr()) };
        }
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
impl Room {
    fn empty() -> Self {
        Self { start: MemBuf::HEADROOM, end: MemBuf::HEADROOM, bytes: Bytes([0; MemBuf::SIZE]) }
    }
}

/// A hint, before the memory is first touched. Where it is not taken, packets lie on small pages.
fn on_large_pages<T>(room: &mut [std::mem::MaybeUninit<T>]) {
    #[cfg(target_os = "linux")]
    {
        const LARGE: usize = 2 << 20;
        let from = (room.as_mut_ptr() as usize).next_multiple_of(LARGE);
        let to = (room.as_ptr() as usize + size_of_val(room)) / LARGE * LARGE;
        if let Some(len @ 1..) = to.checked_sub(from) {
            let start = room.as_mut_ptr().wrapping_byte_add(from - room.as_ptr() as usize);
            // SAFETY: whole pages inside of `room`, which nobody else uses; what is in them does not change.
            let hint = unsafe { rustix::mm::madvise(start.cast(), len, rustix::mm::Advice::LinuxHugepage) };
            // The kernel may be built without them.
            hint.unwrap_or_default();
        }
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
    fn grow(&mut self, front: usize, back: usize) -> Option<&mut [u8]> {
        if front > self.0.start || back > self.tailroom() {
            return None;
        }
        self.0.start -= front;
        self.0.end += back;
        Some(self.data_mut())
    }
    #[inline]
    fn cut(&mut self, from: usize, len: usize) -> Option<&mut [u8]> {
        if from.checked_add(len)? > self.len() {
            return None;
        }
        self.0.start += from;
        self.0.end = self.0.start + len;
        Some(self.data_mut())
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
    #[inline]
    fn prefetch_ends(&self, front: usize, back: usize) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let bytes = self.0.bytes.0.as_ptr().cast::<i8>();
            let (first, last) =
                (self.0.start.wrapping_sub(front), self.0.end.wrapping_add(back).wrapping_sub(1));
            // SAFETY: a prefetch reads nothing that the program could notice, whatever the address.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(bytes.wrapping_add(first));
                _mm_prefetch::<_MM_HINT_T0>(bytes.wrapping_add(last));
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
        assert!(b.cut(129, b.len() - 128).is_none() && b.cut(usize::MAX, 1).is_none());
        assert_eq!(b.cut(128, 3).map(|kept| kept.to_vec()), Some(vec![1, 2, 3]));
        let room = b.tailroom();
        assert!(b.grow(129, 0).is_none() && b.grow(0, room + 1).is_none());
        assert_eq!(b.grow(128, room).map(|all| all.len()), Some(MemBuf::SIZE));
        assert!(b.cut(128, 3).is_some());
        assert_eq!(b.data(), [1, 2, 3]);
        assert!(!b.load(&vec![0; MemBuf::SIZE]), "longer than what is behind the headroom");
    }
    #[test]
    fn buffers_of_a_pool_do_not_meet() {
        let mut pool = MemBuf::pool(2000);
        for (n, b) in pool.iter_mut().enumerate() {
            assert!(b.load(&vec![n as u8; 1500 + n % 500]));
        }
        for (n, b) in pool.iter().enumerate() {
            assert!(b.len() == 1500 + n % 500 && b.data().iter().all(|byte| *byte == n as u8));
        }
        assert!(pool[7].prepend(40).is_some());
        pool[7].settle();
        assert_eq!((pool[7].len(), pool[7].headroom(), pool[7].data()[40]), (1547, MemBuf::HEADROOM, 7));
        pool[7].receive(64);
        assert_eq!((pool[7].len(), pool[7].headroom(), pool[7].data()[63]), (64, MemBuf::HEADROOM, 7));
    }
}
