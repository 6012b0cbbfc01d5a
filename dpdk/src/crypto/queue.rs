//! Work for a crypto device: jobs go in with their packets, packets come back with a verdict.
use super::session::Inner;
use super::{CryptoError, Device, Session, failed};
use crate::Mbuf;
use crate::log::{self, Errno};
use dpdk_sys as sys;
use std::ffi::CString;
use std::mem::{offset_of, size_of};
use std::ptr::{self, NonNull};
use std::sync::Arc;
use wire::PacketBuf;

/// What follows DPDK's structures in each operation.
#[repr(C)]
struct Tail {
    iv: [u8; 16],
    aad: [u8; 16],
    tag: u64,
    session: *mut Inner,
}
const SYM_OFFSET: usize = size_of::<sys::rte_crypto_op>();
const TAIL_OFFSET: usize = SYM_OFFSET + size_of::<sys::rte_crypto_sym_op>();
pub(super) const IV_OFFSET: u16 = TAIL_OFFSET as u16;
pub(super) const AAD_OFFSET_IN_TAIL: usize = offset_of!(Tail, aad);
const _: () = assert!(TAIL_OFFSET.is_multiple_of(align_of::<Tail>()));

/// One packet's work. Offsets count from the first byte of the packet.
#[derive(Debug)]
pub struct Job {
    pub mbuf: Mbuf,
    /// Comes back with the packet.
    pub tag: u64,
    /// Salt and IV for GCM, the first counter block for CTR, the IV for CBC.
    pub iv: [u8; 16],
    /// GCM: SPI and sequence number, 8 bytes or 12 with ESN.
    pub aad: [u8; 12],
    pub cipher_offset: u32,
    pub cipher_len: u32,
    /// What the HMAC covers; not used by GCM.
    pub auth_offset: u32,
    pub auth_len: u32,
    /// Where the ICV is or goes.
    pub icv_offset: u32,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    #[error("all operations of the queue pair are in flight")]
    Full,
    #[error("a range of the job is outside of its packet")]
    Range,
    #[error("the ciphertext is not a multiple of the block length")]
    Block,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Fault {
    #[error("the ICV does not match")]
    AuthFailed,
    #[error("the device could not do it (status {0})")]
    Device(u8),
}

/// A packet back from the device.
#[derive(Debug)]
pub struct Done {
    pub mbuf: Mbuf,
    pub tag: u64,
    pub result: Result<(), Fault>,
}

/// The right to use one queue pair of a device. Order in is order out per session for the software
/// drivers; across sessions rely on tags.
pub struct QueuePair {
    device: Arc<Device>,
    qp: u16,
    free: Vec<NonNull<sys::rte_crypto_op>>,
    depth: usize,
    staged: [*mut sys::rte_crypto_op; Self::BURST],
    staged_len: usize,
}
// SAFETY: everything it points to is reached through it alone.
unsafe impl Send for QueuePair {}

impl QueuePair {
    pub const BURST: usize = 64;

    pub(super) fn new(device: Arc<Device>, qp: u16, depth: u32, socket: i32) -> Result<Self, CryptoError> {
        let error = |errno| failed(&device.name, "making a pool of operations", errno);
        let name =
            CString::new(format!("crypto{}_ops{qp}", device.id)).map_err(|_| error(Errno(libc::EINVAL)))?;
        log::begin();
        // SAFETY: a C text that is copied.
        let pool = unsafe {
            sys::rte_crypto_op_pool_create(
                name.as_ptr(),
                sys::RTE_CRYPTO_OP_TYPE_SYMMETRIC,
                depth,
                0,
                size_of::<Tail>() as u16,
                socket,
            )
        };
        if pool.is_null() {
            return Err(error(Errno::last()));
        }
        // All operations are taken out once; the free list of this one owner is faster than a pool.
        let mut raw = vec![ptr::null_mut::<std::ffi::c_void>(); depth as usize];
        // SAFETY: a live pool of `depth` elements, and room for as many.
        if unsafe { sys::shim_mempool_get_bulk(pool, raw.as_mut_ptr(), depth) } != 0 {
            return Err(error(Errno(libc::ENOBUFS)));
        }
        let free: Vec<_> = raw.into_iter().filter_map(|op| NonNull::new(op.cast())).collect();
        let depth = free.len();
        Ok(Self { device, qp, free, depth, staged: [ptr::null_mut(); Self::BURST], staged_len: 0 })
    }

    /// Starts a run of jobs of one session. `None` when the session is another device's.
    #[inline]
    pub fn run<'q>(&'q mut self, session: &Session) -> Option<Run<'q>> {
        if session.inner().device.id != self.device.id {
            return None;
        }
        // Claims for every operation the run can use, so that pushing counts nothing.
        let claims = self.free.len();
        session.inner().hold(claims + 1);
        Some(Run { pair: self, session: session.as_ptr(), claims })
    }

    /// Hands staged jobs to the device. What it does not take stays staged.
    #[inline]
    pub fn flush(&mut self) -> usize {
        if self.staged_len == 0 {
            return 0;
        }
        // SAFETY: the device runs, this is the only handle of the queue pair, and the first
        // `staged_len` places hold complete operations.
        let taken = usize::from(unsafe {
            sys::shim_cryptodev_enqueue_burst(
                self.device.id,
                self.qp,
                self.staged.as_mut_ptr(),
                self.staged_len as u16,
            )
        })
        .min(self.staged_len);
        self.staged.copy_within(taken..self.staged_len, 0);
        self.staged_len -= taken;
        taken
    }

    /// Takes up to one burst of finished packets out of the device.
    #[inline]
    pub fn collect(&mut self, mut each: impl FnMut(Done)) -> usize {
        let mut ops = [ptr::null_mut(); Self::BURST];
        // SAFETY: the device runs, this is the only handle, and there is room for BURST pointers.
        let n = usize::from(unsafe {
            sys::shim_cryptodev_dequeue_burst(self.device.id, self.qp, ops.as_mut_ptr(), Self::BURST as u16)
        })
        .min(Self::BURST);
        let (mut run, mut claims) = (ptr::null_mut(), 0);
        for op in ops[..n].iter().filter_map(|op| NonNull::new(*op)) {
            let (done, session) = self.take_back(op);
            if session != run {
                release(run, claims);
                (run, claims) = (session, 0);
            }
            claims += 1;
            if let Some(done) = done {
                each(done);
            }
        }
        release(run, claims);
        n
    }

    /// Jobs given in and not yet collected.
    pub fn in_flight(&self) -> usize {
        self.depth - self.free.len()
    }

    /// The operation is free again after this.
    #[inline]
    fn take_back(&mut self, op: NonNull<sys::rte_crypto_op>) -> (Option<Done>, *mut Inner) {
        // SAFETY: an operation of ours that the device has given back, with its parts in place.
        let (status, mbuf, tail) = unsafe {
            let sym = sym_of(op);
            (op.as_ref().__bindgen_anon_1.__bindgen_anon_1.status, (*sym).m_src, &*tail_of(op))
        };
        let result = match u32::from(status) {
            sys::RTE_CRYPTO_OP_STATUS_SUCCESS => Ok(()),
            sys::RTE_CRYPTO_OP_STATUS_AUTH_FAILED => Err(Fault::AuthFailed),
            _ => Err(Fault::Device(status)),
        };
        let (tag, session) = (tail.tag, tail.session);
        self.free.push(op);
        // SAFETY: `push` gave this packet to the operation; the device is done with it.
        (unsafe { Mbuf::from_raw(mbuf) }.map(|mbuf| Done { mbuf, tag, result }), session)
    }
}

impl Drop for QueuePair {
    fn drop(&mut self) {
        // Jobs that were never handed over go back at once. A device that gives nothing back for a
        // while keeps the rest: their packets and sessions are lost, not freed under its hands.
        let (staged, len) = (self.staged, std::mem::take(&mut self.staged_len));
        for op in staged[..len].iter().filter_map(|op| NonNull::new(*op)) {
            let (done, session) = self.take_back(op);
            drop(done);
            release(session, 1);
        }
        let mut empty = 0;
        while self.in_flight() > 0 && empty < 1000 {
            empty = if self.collect(drop) == 0 { empty + 1 } else { 0 };
        }
    }
}

#[inline]
fn release(session: *mut Inner, claims: usize) {
    if let Some(session) = NonNull::new(session).filter(|_| claims > 0) {
        // SAFETY: each operation taken back held one claim, and is free now.
        unsafe { Inner::release(session, claims) };
    }
}
#[inline]
fn sym_of(op: NonNull<sys::rte_crypto_op>) -> *mut sys::rte_crypto_sym_op {
    // SAFETY: operations of our pools are followed by the symmetric part.
    unsafe { op.as_ptr().cast::<u8>().add(SYM_OFFSET).cast() }
}
#[inline]
fn tail_of(op: NonNull<sys::rte_crypto_op>) -> *mut Tail {
    // SAFETY: operations of our pools have a tail as private data.
    unsafe { op.as_ptr().cast::<u8>().add(TAIL_OFFSET).cast() }
}

/// Jobs of one session on their way in. [`QueuePair::flush`] after the last run of a burst.
pub struct Run<'q> {
    pair: &'q mut QueuePair,
    session: NonNull<Inner>,
    claims: usize,
}

impl Run<'_> {
    /// Stages a job, or gives it back with the reason.
    #[inline]
    pub fn push(&mut self, job: Job) -> Result<(), (Refused, Job)> {
        // SAFETY: this run holds a claim, so the session is alive.
        let inner = unsafe { self.session.as_ref() };
        let shape = inner.shape;
        let len = job.mbuf.len() as u64;
        let inside = |offset: u32, n: u32| u64::from(offset) + u64::from(n) <= len;
        if !inside(job.icv_offset, shape.icv_len.into())
            || ((shape.aead || shape.cipher) && !inside(job.cipher_offset, job.cipher_len))
            || (!shape.aead && !inside(job.auth_offset, job.auth_len))
        {
            return Err((Refused::Range, job));
        }
        if shape.cipher
            && !shape.aead
            && (job.cipher_len == 0 || !job.cipher_len.is_multiple_of(shape.block.into()))
        {
            return Err((Refused::Block, job));
        }
        if self.pair.staged_len == QueuePair::BURST {
            self.pair.flush();
        }
        if self.pair.staged_len == QueuePair::BURST || self.claims == 0 {
            return Err((Refused::Full, job));
        }
        let Some(op) = self.pair.free.pop() else { return Err((Refused::Full, job)) };
        self.claims -= 1;
        // SAFETY: a free operation of ours; the job's ranges were checked above.
        unsafe { prepare(op, inner.raw, self.session, shape, job) };
        self.pair.staged[self.pair.staged_len] = op.as_ptr();
        self.pair.staged_len += 1;
        Ok(())
    }
}
impl Drop for Run<'_> {
    fn drop(&mut self) {
        // SAFETY: claims that no operation took, and the run's own.
        unsafe { Inner::release(self.session, self.claims + 1) };
    }
}

/// # Safety
/// `op` is free and of our pools; the job's ranges are inside its packet.
#[inline]
unsafe fn prepare(
    op: NonNull<sys::rte_crypto_op>,
    raw: *mut std::ffi::c_void,
    session: NonNull<Inner>,
    shape: super::session::Shape,
    job: Job,
) {
    let mbuf = job.mbuf.into_raw();
    // SAFETY: by the caller's word all three parts of the operation are ours to write, and `mbuf` is
    // a live buffer in one segment whose `icv_offset` is inside of it.
    unsafe {
        let tail = &mut *tail_of(op);
        tail.iv = job.iv;
        tail.aad[..12].copy_from_slice(&job.aad);
        tail.tag = job.tag;
        tail.session = session.as_ptr();

        let head = &mut (*op.as_ptr()).__bindgen_anon_1.__bindgen_anon_1;
        head.type_ = sys::RTE_CRYPTO_OP_TYPE_SYMMETRIC as u8;
        head.status = sys::RTE_CRYPTO_OP_STATUS_NOT_PROCESSED as u8;
        head.sess_type = sys::RTE_CRYPTO_OP_WITH_SESSION as u8;

        let at = usize::from((*mbuf).data_off) + job.icv_offset as usize;
        let icv = (*mbuf).buf_addr.cast::<u8>().add(at);
        let icv_iova = (*mbuf).buf_iova + at as u64;
        let sym = &mut *sym_of(op);
        sym.m_src = mbuf;
        sym.m_dst = ptr::null_mut();
        sym.__bindgen_anon_1.session = raw;
        if shape.aead {
            let aead = &mut sym.__bindgen_anon_2.aead;
            aead.data.offset = job.cipher_offset;
            aead.data.length = job.cipher_len;
            aead.digest.data = icv;
            aead.digest.phys_addr = icv_iova;
            aead.aad.data = (&raw mut tail.aad).cast();
            aead.aad.phys_addr = (*op.as_ptr()).phys_addr + (TAIL_OFFSET + AAD_OFFSET_IN_TAIL) as u64;
        } else {
            let chain = &mut sym.__bindgen_anon_2.__bindgen_anon_1;
            chain.cipher.data.offset = job.cipher_offset;
            chain.cipher.data.length = job.cipher_len;
            chain.auth.data.offset = job.auth_offset;
            chain.auth.data.length = job.auth_len;
            chain.auth.digest.data = icv;
            chain.auth.digest.phys_addr = icv_iova;
        }
    }
}
