//! What both daemons ask of the kernel for themselves: signals as a descriptor, no dumps of keys.
use rustix::mm::MlockAllFlags;
use rustix::process::DumpableBehavior;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};

/// Keys leave this process neither as a core dump nor through a debugger of the same user, nor into swap.
/// Locking needs a limit that is not always granted, so its failure is only told.
pub fn harden() -> io::Result<Result<(), io::Error>> {
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)?;
    // ONFAULT: pages that are touched, not the whole of a large and mostly empty region.
    let flags = MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT;
    Ok(rustix::mm::mlockall(flags).map_err(Into::into))
}

/// Signals to poll for, instead of handlers.
pub struct Signals(OwnedFd);

impl Signals {
    pub const TERM: i32 = libc::SIGTERM;
    pub const INT: i32 = libc::SIGINT;
    pub const HUP: i32 = libc::SIGHUP;

    /// Blocks the signals in this thread and those it starts later; call it before there are others.
    pub fn listen(signals: &[i32]) -> io::Result<Self> {
        // SAFETY: an all-zero sigset_t is a valid value of this plain C type, and is initialised next.
        let mut set: libc::sigset_t = unsafe { std::mem::zeroed() };
        // SAFETY: `set` is a live sigset_t.
        unsafe { libc::sigemptyset(&mut set) };
        for signal in signals {
            // SAFETY: as above; a number that is no signal is refused by the call.
            if unsafe { libc::sigaddset(&mut set, *signal) } != 0 {
                return Err(io::Error::last_os_error());
            }
        }
        // SAFETY: `set` is initialised; the old mask is not asked for.
        let error = unsafe { libc::pthread_sigmask(libc::SIG_BLOCK, &set, std::ptr::null_mut()) };
        if error != 0 {
            return Err(io::Error::from_raw_os_error(error));
        }
        // SAFETY: -1 asks for a new descriptor, `set` is initialised.
        let fd = unsafe { libc::signalfd(-1, &set, libc::SFD_CLOEXEC | libc::SFD_NONBLOCK) };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the descriptor is new and nobody else's.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }
    pub fn next(&self) -> Option<i32> {
        let mut info = [0u8; size_of::<libc::signalfd_siginfo>()];
        let read = rustix::io::read(&self.0, &mut info).ok()?;
        // `ssi_signo` is the first field.
        let number = info.first_chunk::<4>().filter(|_| read == info.len())?;
        i32::try_from(u32::from_ne_bytes(*number)).ok()
    }
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}
