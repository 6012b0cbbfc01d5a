//! Up to 64 packets that travel together.
use crate::Mbuf;
use dpdk_sys as sys;
use std::mem::MaybeUninit;
use std::slice;

/// A fixed array of owned packets, in the layout DPDK's burst calls want. Dropping it frees them all.
pub struct Burst {
    len: usize,
    mbufs: [MaybeUninit<Mbuf>; Self::CAPACITY],
}

impl Burst {
    pub const CAPACITY: usize = 64;

    pub const fn new() -> Self {
        Self { len: 0, mbufs: [const { MaybeUninit::uninit() }; Self::CAPACITY] }
    }
    #[inline]
    pub fn len(&self) -> usize {
        self.len
    }
    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }
    #[inline]
    pub fn is_full(&self) -> bool {
        self.len == Self::CAPACITY
    }
    /// Gives the packet back when the burst is full.
    #[inline]
    pub fn push(&mut self, mbuf: Mbuf) -> Result<(), Mbuf> {
        match self.mbufs.get_mut(self.len) {
            Some(place) => {
                place.write(mbuf);
                self.len += 1;
                Ok(())
            }
            None => Err(mbuf),
        }
    }
    #[inline]
    pub fn pop(&mut self) -> Option<Mbuf> {
        self.len = self.len.checked_sub(1)?;
        // SAFETY: this place was counted, so it holds a packet; it is no longer counted.
        Some(unsafe { self.mbufs[self.len].assume_init_read() })
    }
    #[inline]
    pub fn as_slice(&self) -> &[Mbuf] {
        // SAFETY: the first `len` places hold packets.
        unsafe { slice::from_raw_parts(self.mbufs.as_ptr().cast(), self.len) }
    }
    #[inline]
    pub fn as_mut_slice(&mut self) -> &mut [Mbuf] {
        // SAFETY: the first `len` places hold packets.
        unsafe { slice::from_raw_parts_mut(self.mbufs.as_mut_ptr().cast(), self.len) }
    }
    #[inline]
    pub fn iter(&self) -> slice::Iter<'_, Mbuf> {
        self.as_slice().iter()
    }
    #[inline]
    pub fn iter_mut(&mut self) -> slice::IterMut<'_, Mbuf> {
        self.as_mut_slice().iter_mut()
    }
    /// Takes all packets out, first to last; those not taken are freed.
    #[inline]
    pub fn drain(&mut self) -> Drain<'_> {
        let end = std::mem::take(&mut self.len);
        Drain { burst: self, next: 0, end }
    }
    /// Frees all packets, in bulk.
    #[inline]
    pub fn clear(&mut self) {
        let n = std::mem::take(&mut self.len);
        self.free(0, n);
    }

    /// Places beyond the last packet.
    #[inline]
    pub(crate) fn spare(&mut self) -> &mut [MaybeUninit<Mbuf>] {
        &mut self.mbufs[self.len..]
    }
    /// # Safety
    /// The first `n` spare places hold packets.
    #[inline]
    pub(crate) unsafe fn grow(&mut self, n: usize) {
        debug_assert!(self.len + n <= Self::CAPACITY);
        self.len += n;
    }
    /// First packet as DPDK sees it, and how many.
    #[inline]
    pub(crate) fn as_raw(&mut self) -> (*mut *mut sys::rte_mbuf, usize) {
        (self.mbufs.as_mut_ptr().cast(), self.len)
    }
    /// Forgets the first `n` packets without freeing them; the rest move up.
    ///
    /// # Safety
    /// Somebody else owns those packets now, and `n ≤ len`.
    #[inline]
    pub(crate) unsafe fn forget_front(&mut self, n: usize) {
        debug_assert!(n <= self.len);
        let left = self.len - n;
        if n != 0 && left != 0 {
            let base = self.mbufs.as_mut_ptr();
            // SAFETY: both ranges are inside the array, since n + left = len ≤ CAPACITY.
            unsafe { std::ptr::copy(base.add(n), base, left) };
        }
        self.len = left;
    }
    #[inline]
    fn free(&mut self, from: usize, to: usize) {
        if from < to {
            let first = self.mbufs[from..to].as_mut_ptr().cast();
            // SAFETY: the caller has taken these places out of the count; each holds a packet of ours.
            unsafe { sys::shim_pktmbuf_free_bulk(first, (to - from) as u32) };
        }
    }
}

impl Default for Burst {
    fn default() -> Self {
        Self::new()
    }
}
impl Drop for Burst {
    fn drop(&mut self) {
        self.clear();
    }
}
impl std::fmt::Debug for Burst {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

/// See [`Burst::drain`].
pub struct Drain<'a> {
    burst: &'a mut Burst,
    next: usize,
    end: usize,
}
impl Iterator for Drain<'_> {
    type Item = Mbuf;
    #[inline]
    fn next(&mut self) -> Option<Mbuf> {
        if self.next == self.end {
            return None;
        }
        let at = self.next;
        self.next += 1;
        // SAFETY: places from `next` to `end` hold packets that the burst no longer counts.
        Some(unsafe { self.burst.mbufs[at].assume_init_read() })
    }
    fn size_hint(&self) -> (usize, Option<usize>) {
        (self.end - self.next, Some(self.end - self.next))
    }
}
impl ExactSizeIterator for Drain<'_> {}
impl Drop for Drain<'_> {
    fn drop(&mut self) {
        let (from, to) = (self.next, self.end);
        self.burst.free(from, to);
    }
}
