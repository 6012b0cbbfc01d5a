//! Asking for memory before it is needed: the stages look at what a later one will read of the packets ahead.
#![allow(unsafe_code)]

/// Has the cache line at which `place` begins brought near.
#[inline(always)]
pub fn near<T>(place: &T) {
    #[cfg(target_arch = "x86_64")]
    {
        use std::arch::x86_64::{_MM_HINT_T0, _mm_prefetch};
        // SAFETY: a hint. It changes nothing that a program can see, and SSE is part of x86-64.
        unsafe { _mm_prefetch::<_MM_HINT_T0>(std::ptr::from_ref(place).cast()) }
    }
    #[cfg(not(target_arch = "x86_64"))]
    let _ = place;
}
