//! The few system calls `std` does not offer.
use anyhow::{Context, Result, bail};
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};

pub fn is_root() -> bool {
    // SAFETY: geteuid takes nothing, touches no memory of ours and cannot fail.
    unsafe { libc::geteuid() == 0 }
}

/// Moves the calling thread, and it alone, into a namespace made by `ip netns add`.
pub(crate) fn enter_netns(name: &str) -> Result<()> {
    let path = format!("/run/netns/{name}");
    let file = File::open(&path).with_context(|| path.clone())?;
    // SAFETY: the descriptor is open for the whole call; setns changes only the calling thread.
    if unsafe { libc::setns(file.as_raw_fd(), libc::CLONE_NEWNET) } != 0 {
        bail!("setns {path}: {}", std::io::Error::last_os_error());
    }
    Ok(())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Signal {
    Interrupt,
    Terminate,
    Kill,
    Stop,
    Continue,
}

/// Signals one process. Only for processes the lab has started itself.
pub fn signal(pid: u32, signal: Signal) -> Result<()> {
    let number = match signal {
        Signal::Interrupt => libc::SIGINT,
        Signal::Terminate => libc::SIGTERM,
        Signal::Kill => libc::SIGKILL,
        Signal::Stop => libc::SIGSTOP,
        Signal::Continue => libc::SIGCONT,
    };
    let pid = i32::try_from(pid).context("process id")?;
    anyhow::ensure!(pid > 1, "process id {pid} is not one of ours");
    // SAFETY: kill touches no memory; a positive pid names one process.
    if unsafe { libc::kill(pid, number) } != 0 {
        bail!("signal {signal:?} to process {pid}: {}", std::io::Error::last_os_error());
    }
    Ok(())
}

static INTERRUPTED: AtomicBool = AtomicBool::new(false);

extern "C" fn note_interrupt(_: libc::c_int) {
    INTERRUPTED.store(true, Ordering::Relaxed);
}

/// From now on Ctrl-C and SIGTERM are only noted; the program looks at the flag and leaves in order.
pub fn catch_interrupts() -> &'static AtomicBool {
    for number in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
        let handler: extern "C" fn(libc::c_int) = note_interrupt;
        // SAFETY: the handler does nothing but one atomic store, which is async-signal-safe.
        unsafe { libc::signal(number, handler as libc::sighandler_t) };
    }
    &INTERRUPTED
}

/// Asks for room for `bytes` of datagrams, beyond the system's limit where we are allowed to.
pub(crate) fn receive_buffer(socket: &std::net::UdpSocket, bytes: i32) -> Result<()> {
    let value = (&raw const bytes).cast();
    let len = size_of::<i32>() as libc::socklen_t;
    // SAFETY: `value` points at a live i32 of `len` bytes; the descriptor is open.
    let result =
        unsafe { libc::setsockopt(socket.as_raw_fd(), libc::SOL_SOCKET, libc::SO_RCVBUFFORCE, value, len) };
    anyhow::ensure!(result == 0, "SO_RCVBUFFORCE: {}", std::io::Error::last_os_error());
    Ok(())
}
