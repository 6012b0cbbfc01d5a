//! The fast path's lines in our log: a thread that takes them in, so that nobody waits for anybody.
use crate::control::bind;
use std::io;
use std::path::{Path, PathBuf};
use std::thread;

/// The thread lives as long as the process; the socket file as long as this.
pub struct Collector {
    path: PathBuf,
}
impl Drop for Collector {
    fn drop(&mut self) {
        // Left behind it is only taken over at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

/// Only these users may be the fast path, and root.
pub fn start(path: &Path, uids: Vec<u32>, logs: logs::Handle) -> io::Result<Collector> {
    let listener = bind(path)?;
    listener.set_nonblocking(false)?;
    let work = move || {
        let mut seen = logs::Seen::default();
        for stream in listener.incoming() {
            let Ok(stream) = stream else {
                thread::sleep(std::time::Duration::from_secs(1)); // out of descriptors, say
                continue;
            };
            let allowed = rustix::net::sockopt::socket_peercred(&stream)
                .is_ok_and(|who| who.uid.is_root() || uids.contains(&who.uid.as_raw()));
            // One after the other: there is one fast path, and a dead one's connection has ended.
            if allowed && let Err(error) = logs.collect(&stream, &mut seen) {
                tracing::debug!(%error, "the fast path's log breaks off");
            }
        }
    };
    thread::Builder::new().name("fastpath-log".into()).spawn(work)?;
    Ok(Collector { path: path.into() })
}
