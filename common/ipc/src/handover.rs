//! How the region changes hands: the fast path listens on a Unix SEQPACKET socket, looks at who has come
//! (SO_PEERCRED), and answers with one message of fixed words and three descriptors: region, two eventfds.
//! The connection then stays open, and its end says that the other process is gone.
use crate::layout::{LAYOUT_VERSION, MAGIC};
use crate::region::{RegionError, os};
use rustix::io::Errno;
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer,
    SendAncillaryMessage, SendFlags, SocketAddrUnix, SocketFlags, SocketType, recvmsg, sendmsg,
};
use std::io::{IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::time::Duration;

#[derive(Debug, thiserror::Error)]
pub enum IpcError {
    #[error(transparent)]
    Region(#[from] RegionError),
    #[error("cannot {doing} {path}: {source}")]
    Socket { doing: &'static str, path: PathBuf, source: Errno },
    #[error("user {uid} (process {pid}) is at the other end of {path}; allowed are {allowed:?}")]
    Stranger { path: PathBuf, uid: u32, pid: i32, allowed: Vec<u32> },
    #[error("the fast path does not let us in: {0}")]
    Refused(&'static str),
    #[error("the fast path's answer is no hand-over")]
    BadWelcome,
    #[error("the fast path did not answer within {0:?}")]
    Timeout(Duration),
    #[error("the vault cannot be opened: {0}")]
    Vault(#[from] crate::vault::VaultError),
}

pub(crate) fn at(doing: &'static str, path: &Path) -> impl FnOnce(Errno) -> IpcError {
    let path = path.to_owned();
    move |source| IpcError::Socket { doing, path, source }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Credentials {
    pub uid: u32,
    pub pid: i32,
}
pub(crate) fn credentials(fd: BorrowedFd<'_>) -> rustix::io::Result<Credentials> {
    let cred = rustix::net::sockopt::socket_peercred(fd)?;
    Ok(Credentials { uid: cred.uid.as_raw(), pid: cred.pid.as_raw_nonzero().get() })
}

/// What the fast path says first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Welcome {
    /// 0: come in.
    pub verdict: u64,
    pub bytes: u64,
    pub epoch: u64,
    pub session: u64,
}
pub(crate) const COME_IN: u64 = 0;
pub(crate) const BUSY: u64 = 1;
pub(crate) const STRANGER: u64 = 2;
const WELCOME_WORDS: usize = 6;

pub(crate) fn send_welcome(
    to: BorrowedFd<'_>,
    welcome: &Welcome,
    fds: &[BorrowedFd<'_>],
) -> rustix::io::Result<()> {
    let words = [MAGIC, LAYOUT_VERSION, welcome.verdict, welcome.bytes, welcome.epoch, welcome.session];
    let bytes: [u8; WELCOME_WORDS * 8] = zerocopy::transmute!(words);
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = SendAncillaryBuffer::new(&mut space);
    if !fds.is_empty() {
        control.push(SendAncillaryMessage::ScmRights(fds));
    }
    sendmsg(to, &[IoSlice::new(&bytes)], &mut control, SendFlags::NOSIGNAL | SendFlags::DONTWAIT).map(drop)
}

/// Blocks up to `timeout`. The descriptors are those that came, however many.
pub(crate) fn receive_welcome(
    from: BorrowedFd<'_>,
    timeout: Duration,
) -> Result<(Welcome, Vec<OwnedFd>), IpcError> {
    wait_readable(from, timeout)?;
    let mut bytes = [0; WELCOME_WORDS * 8];
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(3))];
    let mut control = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(from, &mut [IoSliceMut::new(&mut bytes)], &mut control, RecvFlags::CMSG_CLOEXEC)
        .map_err(os("receive the hand-over"))?;
    let fds = control
        .drain()
        .filter_map(|message| match message {
            RecvAncillaryMessage::ScmRights(fds) => Some(fds),
            _ => None,
        })
        .flatten()
        .collect();
    let [magic, version, verdict, size, epoch, session]: [u64; WELCOME_WORDS] = zerocopy::transmute!(bytes);
    if received.bytes != size_of_val(&bytes) || magic != MAGIC {
        return Err(IpcError::BadWelcome);
    }
    if version != LAYOUT_VERSION {
        return Err(RegionError::Version { ours: LAYOUT_VERSION, theirs: version }.into());
    }
    match verdict {
        COME_IN => Ok((Welcome { verdict, bytes: size, epoch, session }, fds)),
        BUSY => Err(IpcError::Refused("another slow path is attached")),
        STRANGER => Err(IpcError::Refused("our user is not in its list")),
        _ => Err(IpcError::BadWelcome),
    }
}
fn wait_readable(fd: BorrowedFd<'_>, timeout: Duration) -> Result<(), IpcError> {
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    let deadline = std::time::Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(std::time::Instant::now());
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        match poll(&mut [PollFd::new(&fd, PollFlags::IN)], Some(&left)) {
            Ok(0) => return Err(IpcError::Timeout(timeout)),
            Ok(_) => return Ok(()),
            Err(Errno::INTR) => {}
            Err(e) => return Err(os("wait for the hand-over")(e).into()),
        }
    }
}

/// The other process has closed its end, or is gone.
pub(crate) fn hung_up(fd: BorrowedFd<'_>) -> bool {
    let mut byte = [0u8; 8];
    // Nothing is ever said after the welcome: data is as wrong as an end.
    !matches!(rustix::net::recv(fd, &mut byte, RecvFlags::DONTWAIT), Err(Errno::AGAIN | Errno::INTR))
}

fn socket(path: &Path) -> Result<OwnedFd, IpcError> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    rustix::net::socket_with(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)
        .map_err(at("make a socket for", path))
}

pub(crate) struct Listener {
    pub fd: OwnedFd,
    pub allowed: Vec<u32>,
    path: PathBuf,
}
impl Listener {
    /// A socket file that a dead process left is taken over; one that answers is not.
    pub fn new(path: &Path, allowed: &[u32]) -> Result<Self, IpcError> {
        let address = SocketAddrUnix::new(path).map_err(at("name", path))?;
        if rustix::net::connect(&socket(path)?, &address) != Err(Errno::NOENT) {
            match rustix::net::connect(&socket(path)?, &address) {
                Err(Errno::CONNREFUSED) => rustix::fs::unlink(path).map_err(at("remove the stale", path))?,
                Err(Errno::NOENT) => {}
                _ => return Err(at("listen, since another process does, on", path)(Errno::ADDRINUSE)),
            }
        }
        let fd = socket(path)?;
        rustix::net::bind(&fd, &address).map_err(at("bind", path))?;
        rustix::fs::chmod(path, rustix::fs::Mode::from_raw_mode(0o600)).map_err(at("protect", path))?;
        rustix::net::listen(&fd, 8).map_err(at("listen on", path))?;
        Ok(Self { fd, allowed: allowed.to_vec(), path: path.to_owned() })
    }
    pub fn accept(&self) -> Option<OwnedFd> {
        rustix::net::accept_with(&self.fd, SocketFlags::CLOEXEC | SocketFlags::NONBLOCK).ok()
    }
}
impl Drop for Listener {
    fn drop(&mut self) {
        let _ = rustix::fs::unlink(&self.path);
    }
}

pub(crate) fn connect(path: &Path, allowed: &[u32]) -> Result<OwnedFd, IpcError> {
    let fd = socket(path)?;
    let address = SocketAddrUnix::new(path).map_err(at("name", path))?;
    rustix::net::connect(&fd, &address).map_err(at("connect to the fast path at", path))?;
    let who = credentials(fd.as_fd()).map_err(at("read the credentials of", path))?;
    if !allowed.contains(&who.uid) {
        return Err(IpcError::Stranger {
            path: path.to_owned(),
            uid: who.uid,
            pid: who.pid,
            allowed: allowed.to_vec(),
        });
    }
    Ok(fd)
}
