//! A ring of owned packets from one lcore to another.
use crate::log::{self, Errno, Said};
use crate::{Burst, Eal, Mbuf};
use dpdk_sys as sys;
use std::ffi::CString;
use std::ptr::NonNull;
use std::sync::Arc;

#[derive(Debug, thiserror::Error)]
#[error("ring `{name}` of {capacity} packets cannot be made: {errno}{said}")]
pub struct RingError {
    name: String,
    capacity: u32,
    errno: Errno,
    said: Said,
}

/// One producer, one consumer. The ring is freed, with the packets in it, after both are gone.
pub struct MbufRing(NonNull<sys::rte_ring>);
// SAFETY: the ring's two ends are meant for two threads; each end has one handle.
unsafe impl Send for MbufRing {}
// SAFETY: as above; the handles' methods take `&mut self`.
unsafe impl Sync for MbufRing {}

pub struct MbufProducer(Arc<MbufRing>);
pub struct MbufConsumer(Arc<MbufRing>);

impl MbufRing {
    /// `name` is unique in the process and has at most 25 bytes.
    pub fn create(_eal: &Eal, name: &str, capacity: u32) -> Result<(MbufProducer, MbufConsumer), RingError> {
        let failed = |errno| RingError { name: name.into(), capacity, errno, said: log::said() };
        log::begin();
        let text = CString::new(name).map_err(|_| failed(Errno(libc::EINVAL)))?;
        // SAFETY: the EAL runs; a C text that DPDK copies.
        let raw = unsafe { sys::rte_ring_create(text.as_ptr(), capacity, -1, sys::ESPWAY_RING_SPSC) };
        let ring = NonNull::new(raw).ok_or_else(|| failed(Errno::last()))?;
        let ring = Arc::new(Self(ring));
        Ok((MbufProducer(Arc::clone(&ring)), MbufConsumer(ring)))
    }
    fn take(&self, burst: &mut Burst) -> usize {
        let spare = burst.spare();
        // SAFETY: a live ring whose only reader calls this; `spare` has room for that many pointers.
        let n = unsafe {
            sys::shim_ring_dequeue_burst(self.0.as_ptr(), spare.as_mut_ptr().cast(), spare.len() as u32)
        } as usize;
        // SAFETY: only `MbufProducer::send` fills the ring, with packets that it gave up.
        unsafe { burst.grow(n) };
        n
    }
}
impl Drop for MbufRing {
    fn drop(&mut self) {
        let mut burst = Burst::new();
        while self.take(&mut burst) != 0 {
            burst.clear();
        }
        // SAFETY: both handles are gone.
        unsafe { sys::rte_ring_free(self.0.as_ptr()) };
    }
}

impl MbufProducer {
    /// Moves packets into the ring, first ones first, and returns how many; the rest stay in the burst.
    #[inline]
    pub fn send(&mut self, burst: &mut Burst) -> usize {
        let (first, len) = burst.as_raw();
        // SAFETY: a live ring whose only writer this is; `first` heads `len` live buffers of ours.
        let n = unsafe { sys::shim_ring_enqueue_burst(self.0.0.as_ptr(), first.cast(), len as u32) } as usize;
        // SAFETY: the first `n` belong to the ring now.
        unsafe { burst.forget_front(n) };
        n
    }
    /// Moves one packet, or gives it back when the ring is full.
    #[inline]
    pub fn push(&mut self, mbuf: Mbuf) -> Result<(), Mbuf> {
        let raw = mbuf.as_ptr().cast();
        // SAFETY: as in `send`.
        if unsafe { sys::shim_ring_enqueue_burst(self.0.0.as_ptr(), &raw const raw, 1) } == 0 {
            return Err(mbuf);
        }
        // The ring has it now.
        let _ = mbuf.into_raw();
        Ok(())
    }
}
impl MbufConsumer {
    /// Adds what waits, as much as fits, and returns how many packets were added.
    #[inline]
    pub fn receive(&mut self, burst: &mut Burst) -> usize {
        self.0.take(burst)
    }
}
