//! Counts time-stamp cycles on x86, nanoseconds elsewhere.
use std::time::{Duration, Instant};

/// What [`now`] counts.
pub const UNIT: &str = if cfg!(target_arch = "x86_64") { "TSC cycles" } else { "nanoseconds" };

#[inline(always)]
pub fn now() -> u64 {
    #[cfg(target_arch = "x86_64")]
    {
        // SAFETY: RDTSC is part of x86-64 and changes nothing but the two registers it returns.
        unsafe { std::arch::x86_64::_rdtsc() }
    }
    #[cfg(not(target_arch = "x86_64"))]
    {
        use std::sync::OnceLock;
        static START: OnceLock<Instant> = OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_nanos() as u64
    }
}

/// How often [`now`] counts in a second, against the system's clock.
pub fn frequency() -> f64 {
    let (start, from) = (Instant::now(), now());
    std::thread::sleep(Duration::from_millis(50));
    let (ticks, took) = (now() - from, start.elapsed());
    ticks as f64 / took.as_secs_f64()
}
