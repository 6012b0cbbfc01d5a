//! Finds libipsec-mb at run time: one `dlopen` per process, and a sentence when it cannot be used.
use crate::sys;
use std::ffi::{CStr, c_void};
use std::sync::OnceLock;

/// The name every 1.x release installs.
const SONAME: &CStr = c"libIPSec_MB.so.1";
/// `IMB_VERSION_NUM`: what the declarations in `sys` were checked against, up to the end of the 1.x ABI.
const OLDEST: u32 = 0x1_0300;
const NEWEST: u32 = 0x1_ffff;

#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LoadError {
    #[error("{0}: install the package libipsec-mb1, or choose another crypto engine")]
    Missing(String),
    #[error("libIPSec_MB.so.1 lacks `{0}`: install libipsec-mb 1.3 or newer")]
    Symbol(&'static str),
    #[error("libIPSec_MB.so.1 is version {0}; 1.3 up to the last 1.x is supported")]
    Version(String),
    #[error("libipsec-mb could not allocate a manager: out of memory")]
    OutOfMemory,
    #[error("libipsec-mb does not run on this CPU (error {0}): it needs AES-NI, PCLMULQDQ and SSE4.2")]
    Cpu(i32),
    #[error("libipsec-mb gave a wrong answer to the known-answer test of {0}: do not use this build of it")]
    SelfTest(&'static str),
}

pub struct Library {
    pub(crate) alloc: sys::AllocFn,
    pub(crate) free: sys::FreeFn,
    pub(crate) init_auto: sys::InitAutoFn,
    pub(crate) init_sse: sys::InitFn,
    version: String,
}

impl Library {
    /// The library of this process, loaded by the first caller and never unloaded.
    pub fn get() -> Result<&'static Self, LoadError> {
        static LIBRARY: OnceLock<Result<Library, LoadError>> = OnceLock::new();
        LIBRARY.get_or_init(Self::open).as_ref().map_err(Clone::clone)
    }
    pub fn version(&self) -> &str {
        &self.version
    }
    fn open() -> Result<Self, LoadError> {
        // SAFETY: SONAME is a C string; the library's constructors do nothing that needs preparation.
        let handle = unsafe { libc::dlopen(SONAME.as_ptr(), libc::RTLD_NOW | libc::RTLD_LOCAL) };
        if handle.is_null() {
            return Err(LoadError::Missing(last_dl_error()));
        }
        let find = |name: &'static CStr| {
            // SAFETY: `handle` is open and stays so; `name` is a C string.
            let at = unsafe { libc::dlsym(handle, name.as_ptr()) };
            if at.is_null() { Err(LoadError::Symbol(name.to_str().unwrap_or("?"))) } else { Ok(at) }
        };
        let version = {
            // SAFETY: the header declares it as `unsigned imb_get_version(void)`.
            let f = unsafe { std::mem::transmute::<*mut c_void, sys::VersionFn>(find(c"imb_get_version")?) };
            // SAFETY: takes nothing, returns a constant.
            unsafe { f() }
        };
        let text = {
            // SAFETY: the header declares it as `const char *imb_get_version_str(void)`.
            let f = unsafe {
                std::mem::transmute::<*mut c_void, sys::VersionStrFn>(find(c"imb_get_version_str")?)
            };
            // SAFETY: takes nothing and returns a constant, zero-terminated string.
            unsafe { CStr::from_ptr(f()) }.to_string_lossy().into_owned()
        };
        if !(OLDEST..=NEWEST).contains(&version) {
            return Err(LoadError::Version(text));
        }
        Ok(Self {
            // SAFETY: `IMB_MGR *alloc_mb_mgr(uint64_t)`.
            alloc: unsafe { std::mem::transmute::<*mut c_void, sys::AllocFn>(find(c"alloc_mb_mgr")?) },
            // SAFETY: `void free_mb_mgr(IMB_MGR *)`.
            free: unsafe { std::mem::transmute::<*mut c_void, sys::FreeFn>(find(c"free_mb_mgr")?) },
            // SAFETY: `void init_mb_mgr_auto(IMB_MGR *, IMB_ARCH *)`.
            init_auto: unsafe {
                std::mem::transmute::<*mut c_void, sys::InitAutoFn>(find(c"init_mb_mgr_auto")?)
            },
            // SAFETY: `void init_mb_mgr_sse(IMB_MGR *)`.
            init_sse: unsafe { std::mem::transmute::<*mut c_void, sys::InitFn>(find(c"init_mb_mgr_sse")?) },
            version: text,
        })
    }
}

fn last_dl_error() -> String {
    // SAFETY: takes nothing; what it returns is read before another dl call of this thread.
    let said = unsafe { libc::dlerror() };
    if said.is_null() {
        return "libIPSec_MB.so.1 cannot be loaded".into();
    }
    // SAFETY: not null, so a zero-terminated string.
    unsafe { CStr::from_ptr(said) }.to_string_lossy().into_owned()
}
