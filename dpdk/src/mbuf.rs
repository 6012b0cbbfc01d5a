//! One packet in DPDK's buffer, with one owner.
//!
//! Invariant of every [`Mbuf`]: reference count one, one segment, `data_len == pkt_len`, and
//! `data_off + data_len ≤ buf_len`. [`crate::RxQueue`] makes it so for what drivers deliver.
use dpdk_sys as sys;
use std::ptr::NonNull;
use std::slice;
use wire::PacketBuf;

/// An owned packet buffer. Dropping it gives it back to its pool.
#[repr(transparent)]
pub struct Mbuf(NonNull<sys::rte_mbuf>);

// SAFETY: a buffer with one owner; pools take buffers back from any thread.
unsafe impl Send for Mbuf {}
// SAFETY: `&Mbuf` only reads.
unsafe impl Sync for Mbuf {}

/// The packet came in several segments that do not fit into one buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a packet of {bytes} bytes in {segments} segments does not fit into one buffer")]
pub struct Chained {
    pub bytes: u32,
    pub segments: u16,
}

impl Mbuf {
    /// # Safety
    /// `raw` is null or a buffer that nobody else owns and that keeps the invariant above.
    #[inline]
    pub(crate) unsafe fn from_raw(raw: *mut sys::rte_mbuf) -> Option<Self> {
        NonNull::new(raw).map(Self)
    }
    #[inline]
    pub(crate) fn into_raw(self) -> *mut sys::rte_mbuf {
        let raw = self.0.as_ptr();
        std::mem::forget(self);
        raw
    }
    #[inline]
    pub(crate) fn as_ptr(&self) -> *mut sys::rte_mbuf {
        self.0.as_ptr()
    }
    #[inline]
    fn raw(&self) -> &sys::rte_mbuf {
        // SAFETY: a live buffer of ours; nobody else writes it.
        unsafe { self.0.as_ref() }
    }
    #[inline]
    fn raw_mut(&mut self) -> &mut sys::rte_mbuf {
        // SAFETY: a live buffer of ours alone.
        unsafe { self.0.as_mut() }
    }
    #[inline]
    fn start(&self) -> *mut u8 {
        let raw = self.raw();
        // SAFETY: `data_off ≤ buf_len`, so the result is inside the buffer or at its end.
        unsafe { raw.buf_addr.cast::<u8>().add(usize::from(raw.data_off)) }
    }

    /// The port it came in on.
    #[inline]
    pub fn port(&self) -> u16 {
        self.raw().port
    }
    /// The receive-side hash, when the driver computed one.
    #[inline]
    pub fn rss_hash(&self) -> Option<u32> {
        const HAS_HASH: u64 = 1 << 1;
        let raw = self.raw();
        // SAFETY: every bit pattern of the union is a `u32`.
        (raw.ol_flags & HAS_HASH != 0).then_some(unsafe { raw.__bindgen_anon_2.hash.rss })
    }
    #[inline]
    pub fn offload_flags(&self) -> u64 {
        self.raw().ol_flags
    }
    /// The application's bytes of this buffer ([`crate::PoolConfig::private`]); stale after alloc and rx.
    #[inline]
    pub fn private_mut(&mut self) -> &mut [u8] {
        let len = usize::from(self.raw().priv_size);
        // SAFETY: `priv_size` bytes follow the structure, belong to this buffer, and were zeroed
        // with the pool's memory.
        unsafe { slice::from_raw_parts_mut(self.0.as_ptr().add(1).cast::<u8>(), len) }
    }
    /// Back to an empty packet with the standard headroom.
    #[inline]
    pub fn reset(&mut self) {
        let raw = self.raw_mut();
        raw.data_off = raw.buf_len.min(sys::RTE_PKTMBUF_HEADROOM as u16);
        raw.data_len = 0;
        raw.pkt_len = 0;
        raw.ol_flags = 0;
    }
    /// Starts to load the structure; for a few packets ahead.
    #[inline]
    pub fn prefetch(&self) {
        prefetch(self.0.as_ptr().cast());
    }
    /// Starts to load the first line of the packet; the structure should be loaded already.
    #[inline]
    pub fn prefetch_data(&self) {
        prefetch(self.start());
    }

    #[inline]
    fn set_len(&mut self, len: usize) {
        let raw = self.raw_mut();
        // Callers keep `len ≤ buf_len`, a 16-bit number.
        raw.data_len = len as u16;
        raw.pkt_len = len as u32;
    }
}

#[inline]
fn prefetch(at: *const u8) {
    #[cfg(target_arch = "x86_64")]
    // SAFETY: a hint; it reads nothing in the sense of the language.
    unsafe {
        std::arch::x86_64::_mm_prefetch::<{ std::arch::x86_64::_MM_HINT_T0 }>(at.cast());
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = at;
}

impl Drop for Mbuf {
    #[inline]
    fn drop(&mut self) {
        let mut raw = self.0.as_ptr();
        // SAFETY: a buffer of ours, given up here.
        unsafe { sys::shim_pktmbuf_free_bulk(&mut raw, 1) };
    }
}
impl std::fmt::Debug for Mbuf {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Mbuf({} bytes, headroom {}, tailroom {})", self.len(), self.headroom(), self.tailroom())
    }
}

impl PacketBuf for Mbuf {
    #[inline]
    fn data(&self) -> &[u8] {
        // SAFETY: by the invariant these bytes are inside the buffer, which is ours alone; pool
        // memory is zeroed when made, so all of it is initialized.
        unsafe { slice::from_raw_parts(self.start(), usize::from(self.raw().data_len)) }
    }
    #[inline]
    fn data_mut(&mut self) -> &mut [u8] {
        // SAFETY: as in `data`, and the borrow is exclusive.
        unsafe { slice::from_raw_parts_mut(self.start(), usize::from(self.raw().data_len)) }
    }
    #[inline]
    fn headroom(&self) -> usize {
        usize::from(self.raw().data_off)
    }
    #[inline]
    fn tailroom(&self) -> usize {
        let raw = self.raw();
        usize::from(raw.buf_len).saturating_sub(usize::from(raw.data_off) + usize::from(raw.data_len))
    }
    #[inline]
    fn prepend(&mut self, n: usize) -> Option<&mut [u8]> {
        let room = self.headroom().checked_sub(n)?;
        self.raw_mut().data_off = room as u16;
        self.set_len(self.len() + n);
        Some(self.data_mut())
    }
    #[inline]
    fn append(&mut self, n: usize) -> Option<&mut [u8]> {
        if n > self.tailroom() {
            return None;
        }
        self.set_len(self.len() + n);
        Some(self.data_mut())
    }
    #[inline]
    fn advance(&mut self, n: usize) -> Option<()> {
        let left = self.len().checked_sub(n)?;
        self.raw_mut().data_off += n as u16;
        self.set_len(left);
        Some(())
    }
    #[inline]
    fn truncate(&mut self, len: usize) -> Option<()> {
        (len <= self.len()).then(|| self.set_len(len))
    }
    #[inline]
    fn grow(&mut self, front: usize, back: usize) -> Option<&mut [u8]> {
        let room = self.headroom().checked_sub(front)?;
        if back > self.tailroom() {
            return None;
        }
        self.raw_mut().data_off = room as u16;
        self.set_len(front + self.len() + back);
        Some(self.data_mut())
    }
    #[inline]
    fn cut(&mut self, from: usize, len: usize) -> Option<&mut [u8]> {
        if from.checked_add(len)? > self.len() {
            return None;
        }
        self.raw_mut().data_off += from as u16;
        self.set_len(len);
        Some(self.data_mut())
    }
    #[inline]
    fn len(&self) -> usize {
        usize::from(self.raw().data_len)
    }
    #[inline]
    fn prefetch(&self) {
        #[cfg(target_arch = "x86_64")]
        {
            use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
            let start = self.start().cast::<i8>();
            // SAFETY: a prefetch reads nothing that the program could notice, whatever the address.
            unsafe {
                _mm_prefetch::<_MM_HINT_T0>(start.cast_const());
                _mm_prefetch::<_MM_HINT_T0>(start.wrapping_add(64).cast_const());
            }
        }
    }
    #[inline]
    fn prefetch_ends(&self, front: usize, back: usize) {
        prefetch(self.start().wrapping_sub(front));
        prefetch(self.start().wrapping_add(usize::from(self.raw().data_len) + back).wrapping_sub(1));
    }
}

/// Makes one segment of what a driver delivered, in place when it fits.
///
/// # Safety
/// `raw` is a live buffer (or chain of them) that the caller owns.
#[inline]
pub(crate) unsafe fn contiguous(raw: *mut sys::rte_mbuf) -> Result<(), Chained> {
    // SAFETY: live, by the caller's word.
    let (segments, bytes) = unsafe { ((*raw).nb_segs, (*raw).pkt_len) };
    // SAFETY: as above.
    if segments == 1 || unsafe { sys::shim_pktmbuf_linearize(raw) } == 0 {
        return Ok(());
    }
    Err(Chained { bytes, segments })
}
