//! DPDK says why something failed only in its log. We receive that log line by line, keep the last
//! lines for error messages, and pass them on to standard error when asked to.
use dpdk_sys as sys;
use std::collections::VecDeque;
use std::ffi::{CStr, c_char, c_int, c_void};
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, Ordering};
use std::{fmt, ptr, slice};

const KEPT_LINES: usize = 64;
static LINES: Mutex<VecDeque<String>> = Mutex::new(VecDeque::new());
static TO_STDERR: AtomicBool = AtomicBool::new(false);

/// An error number of DPDK or of the kernel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Errno(pub i32);

impl Errno {
    /// DPDK's `rte_errno` of this thread.
    pub(crate) fn last() -> Self {
        // SAFETY: reads a thread-local integer.
        Self(unsafe { sys::shim_errno() })
    }
    /// From a negative return value.
    pub(crate) fn from_negative(code: i32) -> Self {
        Self(code.saturating_neg())
    }
}
impl fmt::Display for Errno {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // SAFETY: returns a text in thread-local or static memory that ends with zero and stays
        // valid until the next call on this thread, which comes after it was written out.
        let text = unsafe { CStr::from_ptr(sys::rte_strerror(self.0)) };
        write!(f, "{} ({})", text.to_string_lossy(), self.0)
    }
}

/// What DPDK logged about a failed operation; prints as an indented block, or as nothing.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said(pub Vec<String>);
impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().try_for_each(|line| write!(f, "\n  {line}"))
    }
}

/// Forgets what was said before; call at the start of an operation whose failure will be explained.
pub(crate) fn begin() {
    lines().clear();
}
/// What was said since [`begin`], the newest lines of it.
pub(crate) fn said() -> Said {
    Said(lines().iter().cloned().collect())
}
/// Whether DPDK's lines also go to standard error.
pub fn to_stderr(on: bool) {
    TO_STDERR.store(on, Ordering::Relaxed);
}

fn lines() -> std::sync::MutexGuard<'static, VecDeque<String>> {
    LINES.lock().unwrap_or_else(|poisoned| poisoned.into_inner())
}

/// `cookie_io_functions_t` of the C library.
#[repr(C)]
struct CookieFunctions {
    read: Option<unsafe extern "C" fn(*mut c_void, *mut c_char, usize) -> isize>,
    write: Option<unsafe extern "C" fn(*mut c_void, *const c_char, usize) -> isize>,
    seek: Option<unsafe extern "C" fn(*mut c_void, *mut i64, c_int) -> c_int>,
    close: Option<unsafe extern "C" fn(*mut c_void) -> c_int>,
}
unsafe extern "C" {
    fn fopencookie(cookie: *mut c_void, mode: *const c_char, io: CookieFunctions) -> *mut libc::FILE;
}

/// Takes the log over for the life of the process. Before `rte_eal_init`, so that its lines are ours.
pub(crate) fn install() {
    let io = CookieFunctions { read: None, write: Some(on_write), seek: None, close: None };
    // SAFETY: mode is a constant text; `on_write` matches the C library's type and ignores the cookie.
    let stream = unsafe { fopencookie(ptr::null_mut(), c"w".as_ptr(), io) };
    if !stream.is_null() {
        // SAFETY: an open stream that is never closed. DPDK's `FILE` is the C library's.
        unsafe { sys::rte_openlog_stream(stream.cast()) };
    }
}

unsafe extern "C" fn on_write(_cookie: *mut c_void, text: *const c_char, len: usize) -> isize {
    if text.is_null() || len == 0 {
        return 0;
    }
    // SAFETY: the C library hands over `len` readable bytes for the length of this call.
    let text = String::from_utf8_lossy(unsafe { slice::from_raw_parts(text.cast::<u8>(), len) });
    let mut kept = lines();
    for line in text.lines().filter(|line| !line.trim().is_empty()) {
        if TO_STDERR.load(Ordering::Relaxed) {
            eprintln!("{line}");
        }
        if kept.len() == KEPT_LINES {
            kept.pop_front();
        }
        kept.push_back(line.to_owned());
    }
    isize::try_from(len).unwrap_or(isize::MAX)
}
