//! Pools of packet buffers, made at start and kept until the process ends.
//!
//! A pool is never freed. That is what lets a [`Mbuf`] be one pointer without a lifetime, and lets
//! drivers keep buffers of it as long as they like.
use crate::log::{self, Errno, Said};
use crate::{Burst, Eal, Mbuf};
use dpdk_sys as sys;
use std::ffi::CString;
use std::ptr::NonNull;

/// The ring below the lcores' caches. The plain one makes a thread spin until another that was
/// preempted in the middle of an operation runs again, a time slice on a CPU they share; this one does
/// not wait. The caches make the difference in cost disappear.
const OPS: &std::ffi::CStr = c"ring_mt_rts";

#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PoolConfig {
    /// Unique in the process, at most 21 bytes.
    pub name: String,
    /// Buffers; best one less than a power of two.
    pub buffers: u32,
    /// Buffers each lcore keeps for itself; at most 512 and two thirds of `buffers`.
    pub cache: u32,
    /// Bytes of each buffer that belong to the application, a multiple of 8.
    pub private: u16,
    /// Room for a frame, without headroom.
    pub frame: u16,
    /// NUMA node, or `None` for any.
    pub numa: Option<u32>,
}
impl PoolConfig {
    /// 2048-byte frames and a cache of 256 (less for a small pool).
    pub fn new(name: impl Into<String>, buffers: u32) -> Self {
        Self {
            name: name.into(),
            buffers,
            cache: (buffers / 8).min(256),
            private: 0,
            frame: 2048,
            numa: None,
        }
    }
}

#[derive(Debug, thiserror::Error)]
pub enum PoolError {
    #[error("pool `{name}`: {why}")]
    Config { name: String, why: &'static str },
    #[error(
        "pool `{name}` of {buffers} buffers cannot be made: {errno}; give DPDK more memory or ask for fewer{said}"
    )]
    Create { name: String, buffers: u32, errno: Errno, said: Said },
}

/// No free buffer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the pool of packet buffers is exhausted")]
pub struct Exhausted;

/// A handle to a pool; copies name the same pool.
#[derive(Clone, Copy, Debug)]
pub struct Mempool {
    raw: NonNull<sys::rte_mempool>,
    frame: u16,
    buffers: u32,
}
// SAFETY: DPDK's pools are made for use by many threads at once; the handle only names one.
unsafe impl Send for Mempool {}
// SAFETY: as above.
unsafe impl Sync for Mempool {}

impl Mempool {
    pub fn create(_eal: &Eal, config: &PoolConfig) -> Result<Self, PoolError> {
        let wrong = |why| PoolError::Config { name: config.name.clone(), why };
        let name = match CString::new(config.name.as_str()) {
            // DPDK adds `MP_` to at most 25 bytes.
            Ok(name) if (1..=21).contains(&config.name.len()) => name,
            _ => return Err(wrong("the name must have 1 to 21 bytes and no zero")),
        };
        if config.buffers == 0 {
            return Err(wrong("at least one buffer is needed"));
        }
        if config.cache > sys::RTE_MEMPOOL_CACHE_MAX_SIZE
            || u64::from(config.cache) * 3 > u64::from(config.buffers) * 2
        {
            return Err(wrong("the cache may be at most 512 and at most two thirds of the buffers"));
        }
        if !config.private.is_multiple_of(8) {
            return Err(wrong("the private area must be a multiple of 8 bytes"));
        }
        let room = u32::from(config.frame) + sys::RTE_PKTMBUF_HEADROOM;
        let Ok(room) = u16::try_from(room) else {
            return Err(wrong("a frame of that size does not fit a buffer"));
        };
        let numa = config.numa.map_or(-1, |node| i32::try_from(node).unwrap_or(-1));
        log::begin();
        // SAFETY: the EAL runs; both C texts are copied.
        let raw = unsafe {
            sys::rte_pktmbuf_pool_create_by_ops(
                name.as_ptr(),
                config.buffers,
                config.cache,
                config.private,
                room,
                numa,
                OPS.as_ptr(),
            )
        };
        match NonNull::new(raw) {
            Some(raw) => Ok(Self { raw, frame: config.frame, buffers: config.buffers }),
            None => Err(PoolError::Create {
                name: config.name.clone(),
                buffers: config.buffers,
                errno: Errno::last(),
                said: log::said(),
            }),
        }
    }

    /// An empty buffer with the standard headroom.
    pub fn alloc(&self) -> Result<Mbuf, Exhausted> {
        let mut raw = std::ptr::null_mut();
        // SAFETY: a live pool, and room for one pointer.
        if unsafe { sys::shim_pktmbuf_alloc_bulk(self.raw.as_ptr(), &mut raw, 1) } != 0 {
            return Err(Exhausted);
        }
        // SAFETY: on success DPDK hands over one reset buffer that is ours alone.
        unsafe { Mbuf::from_raw(raw) }.ok_or(Exhausted)
    }

    /// Adds `n` empty buffers to the burst, or none at all.
    pub fn alloc_burst(&self, burst: &mut Burst, n: usize) -> Result<(), Exhausted> {
        let spare = burst.spare();
        if n > spare.len() {
            return Err(Exhausted);
        }
        // SAFETY: `spare` has room for `n` pointers, checked above; n ≤ 64 fits.
        if unsafe { sys::shim_pktmbuf_alloc_bulk(self.raw.as_ptr(), spare.as_mut_ptr().cast(), n as u32) }
            != 0
        {
            return Err(Exhausted);
        }
        // SAFETY: the first `n` spare places now hold buffers that are ours alone.
        unsafe { burst.grow(n) };
        Ok(())
    }

    /// A buffer with a copy of `packet`. `None` in the result when it does not fit a frame.
    pub fn copy_of(&self, packet: &[u8]) -> Result<Option<Mbuf>, Exhausted> {
        use wire::PacketBuf;
        let mut mbuf = self.alloc()?;
        Ok(match mbuf.append(packet.len()) {
            Some(data) => {
                data.copy_from_slice(packet);
                Some(mbuf)
            }
            None => None,
        })
    }

    /// Buffers in the hands of applications, drivers and rings.
    pub fn in_use(&self) -> u32 {
        // SAFETY: a live pool.
        unsafe { sys::rte_mempool_in_use_count(self.raw.as_ptr()) }
    }
    pub fn available(&self) -> u32 {
        // SAFETY: a live pool.
        unsafe { sys::rte_mempool_avail_count(self.raw.as_ptr()) }
    }
    /// Room for a frame, without headroom.
    pub fn frame(&self) -> u16 {
        self.frame
    }
    /// Buffers, free or not.
    pub fn buffers(&self) -> u32 {
        self.buffers
    }
    pub(crate) fn as_ptr(&self) -> *mut sys::rte_mempool {
        self.raw.as_ptr()
    }
}
