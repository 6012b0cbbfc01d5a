//! One worker's `IMB_MGR`.
use crate::job::ChainJob;
use crate::key::{AesKey, CbcKey, ChaChaKey, ChainAlg, ChainKey, DesKey, GcmKey, HashKeys, HmacAlg, HmacKey};
use crate::{Library, LoadError, self_test, sys};
use std::ffi::c_void;
use std::ptr::{self, NonNull};
use zeroize::Zeroize;

/// The instruction set the library chose.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Arch {
    NoAesNi,
    Sse,
    Avx,
    Avx2,
    Avx512,
    Unknown(u32),
}
impl std::fmt::Display for Arch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::NoAesNi => f.write_str("no-aesni"),
            Self::Sse => f.write_str("sse"),
            Self::Avx => f.write_str("avx"),
            Self::Avx2 => f.write_str("avx2"),
            Self::Avx512 => f.write_str("avx512"),
            Self::Unknown(n) => write!(f, "arch {n}"),
        }
    }
}

#[derive(Clone, Copy)]
struct Entry {
    get_next_job: sys::JobFn,
    submit_job_nocheck: sys::JobFn,
    get_completed_job: sys::JobFn,
    flush_job: sys::JobFn,
    keyexp: [sys::KeyExpFn; 3],
    cmac: sys::KeyExpFn,
    xcbc: sys::XcbcKeyExpFn,
    des: sys::DesKeyFn,
    md5: sys::OneBlockFn,
    sha1: sys::OneBlockFn,
    sha256: sys::OneBlockFn,
    sha384: sys::OneBlockFn,
    sha512: sys::OneBlockFn,
    gcm_enc: [sys::GcmFn; 3],
    gcm_dec: [sys::GcmFn; 3],
    gcm_pre: [sys::GcmPreFn; 3],
    gmac_init: [sys::GmacInitFn; 3],
    gmac_update: [sys::GmacInitFn; 3],
    gmac_finalize: [sys::GmacFinalizeFn; 3],
}

/// State of the multi-buffer scheduler and the entry points for this CPU.
pub struct Manager {
    raw: NonNull<sys::ImbMgr>,
    entry: Entry,
    context: Box<sys::GcmContext>,
    library: &'static Library,
    arch: Arch,
    features: u64,
    hash_keys: HashKeys,
}

// SAFETY: the library keeps no thread-local state in a manager; moving it to the worker that uses it is what
// its documentation asks for. It is not `Sync`: `NonNull` sees to that.
unsafe impl Send for Manager {}

impl Manager {
    /// On the instruction set that the library finds best for this CPU.
    pub fn new() -> Result<Self, LoadError> {
        Self::init(|library, raw| {
            let mut arch = 0u32;
            // SAFETY: `raw` was just allocated by this library, `arch` is a live `IMB_ARCH`.
            unsafe { (library.init_auto)(raw.as_ptr(), &mut arch) };
        })
    }
    /// One that hashes SHA-1 and SHA-256 with the CPU's own instructions, if [`Self::new`] would not. The library's AVX2
    /// code leaves them alone unless the CPU has GFNI as well; with SHA-256 it is a third slower for it.
    pub fn new_sha_ni() -> Result<Option<Self>, LoadError> {
        let best = Self::new()?;
        let unused = best.features & sys::FEATURE_SHANI != 0
            && best.features & sys::FEATURE_GFNI == 0
            && matches!(best.arch, Arch::Avx | Arch::Avx2);
        if !unused {
            return Ok(None);
        }
        // SAFETY: `raw` was just allocated by this library; the CPU has AVX, so it has SSE.
        Self::init(|library, raw| unsafe { (library.init_sse)(raw.as_ptr()) }).map(Some)
    }
    fn init(init: impl FnOnce(&Library, NonNull<sys::ImbMgr>)) -> Result<Self, LoadError> {
        let library = Library::get()?;
        // SAFETY: 0 is the documented "no flags".
        let raw = NonNull::new(unsafe { (library.alloc)(0) }).ok_or(LoadError::OutOfMemory)?;
        init(library, raw);
        // SAFETY: the manager is initialised, lives until `drop`, and nothing writes to it during these reads.
        let (errno, features, arch, entry) = unsafe {
            let mgr = raw.as_ref();
            (mgr.imb_errno, mgr.features, Arch::from(mgr.used_arch), Entry::read(mgr))
        };
        let Some(entry) = entry.filter(|_| errno == 0) else {
            // SAFETY: allocated above and used by nobody.
            unsafe { (library.free)(raw.as_ptr()) };
            return Err(LoadError::Cpu(errno));
        };
        let hash_keys = match arch {
            Arch::Avx512 if features & sys::FEATURE_VAES != 0 => HashKeys::Vaes512,
            Arch::Avx512 | Arch::Avx2 => HashKeys::Eight,
            _ => HashKeys::EightAndHalves,
        };
        let context = Box::new(sys::GcmContext::zeroed());
        let mut manager = Self { raw, entry, context, library, arch, features, hash_keys };
        self_test::run(&mut manager)?;
        Ok(manager)
    }
    pub fn arch(&self) -> Arch {
        self.arch
    }
    pub fn version(&self) -> &'static str {
        self.library.version()
    }

    /// `None` unless `key` is 16, 24 or 32 bytes.
    pub fn gcm_key(&self, key: &[u8]) -> Option<GcmKey> {
        let size = AesKey::of_len(key.len())?;
        let mut data = Box::new(sys::GcmKeyData([0; 1024]));
        // SAFETY: `key` has the length this entry reads; `data` is 1024 bytes aligned to 64, as the library wants.
        unsafe { self.entry.gcm_pre[size as usize](key.as_ptr().cast(), &mut *data) };
        Some(GcmKey { data, size, hash_keys: self.hash_keys })
    }
    /// `None` unless `key` is 16, 24 or 32 bytes.
    pub fn cbc_key(&self, key: &[u8]) -> Option<Box<CbcKey>> {
        let size = AesKey::of_len(key.len())?;
        let mut out = Box::new(CbcKey { encrypt: [0; 240], decrypt: [0; 240], bytes: size.bytes() });
        let (encrypt, decrypt) = (out.encrypt.as_mut_ptr(), out.decrypt.as_mut_ptr());
        // SAFETY: `key` has the length this entry reads; both schedules hold 15 round keys and are 16-byte aligned.
        unsafe { self.entry.keyexp[size as usize](key.as_ptr().cast(), encrypt.cast(), decrypt.cast()) };
        Some(out)
    }
    /// `None` when `key` is longer than a block (ESP keys have the digest's length, RFC 4868 2.1.1).
    pub fn hmac_key(&self, alg: HmacAlg, key: &[u8]) -> Option<Box<HmacKey>> {
        let one_block = match alg {
            HmacAlg::Md5 => self.entry.md5,
            HmacAlg::Sha1 => self.entry.sha1,
            HmacAlg::Sha256 => self.entry.sha256,
            HmacAlg::Sha384 => self.entry.sha384,
            HmacAlg::Sha512 => self.entry.sha512,
        };
        let mut out = Box::new(HmacKey { inner: [0; 64], outer: [0; 64], alg });
        let mut block = [0u8; 128];
        block.get_mut(..alg.block_len())?.get_mut(..key.len())?.copy_from_slice(key);
        //= rfc2104#2/ipad-opad: the key, zero-padded to a block, xored with 0x36 inside and 0x5c outside.
        block.iter_mut().for_each(|b| *b ^= 0x36);
        // SAFETY: `block` holds one block of any of these hashes, `inner` the largest state.
        unsafe { one_block(block.as_ptr().cast(), out.inner.as_mut_ptr().cast()) };
        block.iter_mut().for_each(|b| *b ^= 0x36 ^ 0x5c);
        // SAFETY: as above.
        unsafe { one_block(block.as_ptr().cast(), out.outer.as_mut_ptr().cast()) };
        block.zeroize();
        Some(out)
    }

    /// `None` unless `key` is 8 bytes, or 24 for 3DES.
    pub fn des_key(&self, key: &[u8]) -> Option<Box<DesKey>> {
        let triple = key.len() == 24;
        let mut out = Box::new(DesKey { schedules: [[0; 16]; 3], pointers: [ptr::null(); 3], triple });
        let parts: [&[u8; 8]; 3] = match key.as_chunks::<8>() {
            ([one], []) => [one; 3],
            ([first, second, third], []) => [first, second, third],
            _ => return None,
        };
        for ((schedule, pointer), part) in out.schedules.iter_mut().zip(&mut out.pointers).zip(parts) {
            // SAFETY: a schedule of 128 bytes and a key of 8.
            if unsafe { (self.entry.des)(schedule.as_mut_ptr(), part.as_ptr().cast()) } != 0 {
                return None;
            }
            *pointer = schedule.as_ptr();
        }
        Some(out)
    }
    /// `None` unless `key` is 16 bytes.
    pub fn chain_key(&self, alg: ChainAlg, key: &[u8]) -> Option<Box<ChainKey>> {
        let key: &[u8; 16] = key.try_into().ok()?;
        let schedule = self.cbc_key(key)?;
        let mut out = Box::new(ChainKey { expanded: schedule.encrypt, masks: [[0; 16]; 2], alg });
        let key = key.as_ptr().cast();
        let expanded = out.expanded.as_mut_ptr().cast::<c_void>();
        let [first, second] = &mut out.masks;
        let (first, second) = (first.as_mut_ptr().cast(), second.as_mut_ptr().cast());
        // SAFETY: `key` is 16 bytes, the schedule holds 11 round keys or more, the masks are blocks; the first member of a
        // record that is aligned to 64 is aligned to 16, and so are the masks behind 240 bytes.
        unsafe {
            match alg {
                ChainAlg::AesXcbc => (self.entry.xcbc)(key, expanded, first, second),
                ChainAlg::AesCmac => (self.entry.cmac)(expanded, first, second),
            }
        }
        Some(out)
    }

    /// The tag over what `parts` are in a row.
    pub fn gmac(&mut self, key: &GcmKey, iv: &[u8; 12], parts: &[&[u8]], tag: &mut [u8; 16]) {
        let (size, context) = (key.size as usize, &raw mut *self.context);
        // SAFETY: key, context and functions are of one key size; every pointer comes from a live reference and is
        // given with its own length.
        unsafe {
            (self.entry.gmac_init[size])(&*key.data, context, iv.as_ptr(), 12);
            for part in parts.iter().filter(|part| !part.is_empty()) {
                (self.entry.gmac_update[size])(&*key.data, context, part.as_ptr(), part.len() as u64);
            }
            (self.entry.gmac_finalize[size])(&*key.data, context, tag.as_mut_ptr(), 16);
        }
    }

    /// Encrypts `data` in place and writes the tag.
    #[inline]
    pub fn gcm_seal(&mut self, key: &GcmKey, iv: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &mut [u8; 16]) {
        let f = self.entry.gcm_enc[key.size as usize];
        self.gcm(f, key, iv, aad, data, tag);
    }
    /// Decrypts `data` in place and writes the tag that it should have had. The caller compares, in constant
    /// time, and wipes `data` when they differ.
    #[inline]
    pub fn gcm_open(&mut self, key: &GcmKey, iv: &[u8; 12], aad: &[u8], data: &mut [u8], tag: &mut [u8; 16]) {
        let f = self.entry.gcm_dec[key.size as usize];
        self.gcm(f, key, iv, aad, data, tag);
    }
    #[inline(always)]
    fn gcm(
        &mut self,
        f: sys::GcmFn,
        key: &GcmKey,
        iv: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
        tag: &mut [u8; 16],
    ) {
        let (text, len) = (data.as_mut_ptr(), data.len() as u64);
        // SAFETY: every pointer comes from a live reference and is given with its own length; in place is allowed
        // by the header; key and function are of one key size.
        unsafe {
            let (aad, aad_len) = (aad.as_ptr(), aad.len() as u64);
            f(
                &*key.data,
                &mut *self.context,
                text,
                text,
                len,
                iv.as_ptr(),
                aad,
                aad_len,
                tag.as_mut_ptr(),
                16,
            );
        }
    }

    /// Encrypts `data` in place and writes the tag. `false`: the library refused, and nothing is sealed.
    #[inline]
    pub fn chacha_seal(
        &mut self,
        key: &ChaChaKey,
        iv: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
        tag: &mut [u8; 16],
    ) -> bool {
        self.chacha(sys::DIR_ENCRYPT, sys::ORDER_CIPHER_HASH, key, iv, aad, data, tag)
    }
    /// Decrypts `data` in place and writes the tag that it should have had. The caller compares, in constant
    /// time, and wipes `data` when they differ.
    #[inline]
    pub fn chacha_open(
        &mut self,
        key: &ChaChaKey,
        iv: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
        tag: &mut [u8; 16],
    ) -> bool {
        self.chacha(sys::DIR_DECRYPT, sys::ORDER_HASH_CIPHER, key, iv, aad, data, tag)
    }
    /// The library finishes such a job within the call that submits it: it runs one packet at a time, in several
    /// lanes. The call for each step (init, update, finalize) is slower than the job.
    #[allow(clippy::too_many_arguments)]
    fn chacha(
        &mut self,
        direction: u32,
        order: u32,
        key: &ChaChaKey,
        iv: &[u8; 12],
        aad: &[u8],
        data: &mut [u8],
        tag: &mut [u8; 16],
    ) -> bool {
        let (mgr, entry) = (self.raw.as_ptr(), &self.entry);
        // SAFETY: the manager is initialised and nothing is in flight; the call returns a slot of its ring, which only
        // this thread touches until it is submitted.
        let slot = unsafe { &mut *(entry.get_next_job)(mgr) };
        let (text, len) = (data.as_mut_ptr(), data.len() as u64);
        slot.cipher_mode = sys::CIPHER_CHACHA20_POLY1305;
        slot.hash_alg = sys::AUTH_CHACHA20_POLY1305;
        slot.cipher_direction = direction;
        slot.chain_order = order;
        slot.enc_keys = key.0.as_ptr().cast();
        slot.dec_keys = key.0.as_ptr().cast();
        slot.key_len_in_bytes = 32;
        slot.src = text;
        slot.dst = text;
        slot.cipher_start_src_offset_in_bytes = 0;
        slot.msg_len_to_cipher_in_bytes = len;
        slot.hash_start_src_offset_in_bytes = 0;
        slot.msg_len_to_hash_in_bytes = len;
        slot.iv = iv.as_ptr();
        slot.iv_len_in_bytes = 12;
        slot.auth_tag_output = tag.as_mut_ptr();
        slot.auth_tag_output_len_in_bytes = 16;
        slot.u.aead =
            sys::AeadFields { aad: aad.as_ptr(), aad_len_in_bytes: aad.len() as u64, ctx: ptr::null_mut() };
        // SAFETY: every pointer in the job comes from a live reference, with its own length, and the job does not
        // outlive this call: it is the only one in the queue, so it comes back at once, or from the flush.
        let done = NonNull::new(unsafe { (entry.submit_job_nocheck)(mgr) })
            .or_else(|| NonNull::new(unsafe { (entry.flush_job)(mgr) }));
        // SAFETY: the library hands back a finished job, valid until the next `get_next_job`.
        done.is_some_and(|job| unsafe { job.as_ref() }.status == sys::STATUS_COMPLETED)
    }

    /// Runs all jobs, as many as possible side by side, and flushes once at the end: never call it per packet.
    /// `done(token, verdict)` is called once for each job; `false` means that its lengths were refused and its
    /// data is as it was.
    pub fn run_chained<'p>(
        &mut self,
        jobs: impl IntoIterator<Item = ChainJob<'p>>,
        mut done: impl FnMut(usize, bool),
    ) {
        let mut burst = InFlight(self);
        for job in jobs {
            if job.is_sound() {
                burst.submit(job, &mut done);
            } else {
                done(job.token, false);
            }
        }
        burst.flush(&mut done);
    }
}

impl Drop for Manager {
    fn drop(&mut self) {
        // SAFETY: allocated by this library, no job is in flight (`run_chained` flushes), dropped once.
        unsafe { (self.library.free)(self.raw.as_ptr()) };
    }
}

/// Jobs hold raw pointers into buffers that stay borrowed for `'p`, which outlasts `run_chained`. This value lives
/// inside that call only and flushes even when a caller's closure panics.
struct InFlight<'m>(&'m mut Manager);

impl InFlight<'_> {
    fn submit(&mut self, job: ChainJob<'_>, done: &mut impl FnMut(usize, bool)) {
        let (mgr, entry) = (self.0.raw.as_ptr(), self.0.entry);
        // SAFETY: the manager is initialised; the call returns a slot of its ring.
        let slot = unsafe { (entry.get_next_job)(mgr) };
        // SAFETY: `slot` points to a free job that only this thread touches until it is submitted.
        job.fill(unsafe { &mut *slot });
        // SAFETY: every pointer in the job is one of a live reference that stays so until the flush, and `is_sound`
        // has checked all lengths, which the library takes as they are.
        let mut ready = unsafe { (entry.submit_job_nocheck)(mgr) };
        while let Some(job) = NonNull::new(ready) {
            // SAFETY: the library hands back a finished job, valid until the next `get_next_job`.
            let job = unsafe { job.as_ref() };
            done(job.user_data as usize, job.status == sys::STATUS_COMPLETED);
            // SAFETY: the manager is initialised.
            ready = unsafe { (entry.get_completed_job)(mgr) };
        }
    }
    fn flush(&mut self, done: &mut impl FnMut(usize, bool)) {
        let mgr = self.0.raw.as_ptr();
        loop {
            // SAFETY: the manager is initialised; null means that nothing is left.
            let Some(job) = NonNull::new(unsafe { (self.0.entry.flush_job)(mgr) }) else { return };
            // SAFETY: as in `submit`.
            let job = unsafe { job.as_ref() };
            done(job.user_data as usize, job.status == sys::STATUS_COMPLETED);
        }
    }
}
impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.flush(&mut |_, _| {});
    }
}

impl Entry {
    fn read(m: &sys::ImbMgr) -> Option<Self> {
        Some(Self {
            get_next_job: m.get_next_job?,
            submit_job_nocheck: m.submit_job_nocheck?,
            get_completed_job: m.get_completed_job?,
            flush_job: m.flush_job?,
            keyexp: [m.keyexp_128?, m.keyexp_192?, m.keyexp_256?],
            cmac: m.cmac_subkey_gen_128?,
            xcbc: m.xcbc_keyexp?,
            des: m.des_key_sched?,
            md5: m.md5_one_block?,
            sha1: m.sha1_one_block?,
            sha256: m.sha256_one_block?,
            sha384: m.sha384_one_block?,
            sha512: m.sha512_one_block?,
            gcm_enc: [m.gcm128_enc?, m.gcm192_enc?, m.gcm256_enc?],
            gcm_dec: [m.gcm128_dec?, m.gcm192_dec?, m.gcm256_dec?],
            gcm_pre: [m.gcm128_pre?, m.gcm192_pre?, m.gcm256_pre?],
            gmac_init: all(m.gmac_init)?,
            gmac_update: all(m.gmac_update)?,
            gmac_finalize: all(m.gmac_finalize)?,
        })
    }
}

fn all<F>([a, b, c]: [Option<F>; 3]) -> Option<[F; 3]> {
    Some([a?, b?, c?])
}

impl From<u32> for Arch {
    fn from(raw: u32) -> Self {
        match raw {
            1 => Self::NoAesNi,
            2 => Self::Sse,
            3 => Self::Avx,
            4 => Self::Avx2,
            5 => Self::Avx512,
            n => Self::Unknown(n),
        }
    }
}

impl sys::GcmContext {
    fn zeroed() -> Self {
        Self {
            aad_hash: [0; 16],
            aad_length: 0,
            in_length: 0,
            partial_block_enc_key: [0; 16],
            orig_iv: [0; 16],
            current_counter: [0; 16],
            partial_block_length: 0,
        }
    }
}
