//! Our responder on a socket, in a thread of its own.
use super::gateway::Gateway;
use super::{Kind, ceiling, papers::Papers};
use anyhow::{Result, anyhow};
use harness::Netns;
use ike::api::Datagram;
use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// A socket that stays in this namespace.
pub fn socket(site: &Netns, at: SocketAddr) -> Result<UdpSocket> {
    let made = site.enter(move || Ok(UdpSocket::bind(at)?)).join();
    made.map_err(|_| anyhow!("no socket at {at}"))?
}

pub struct Responder {
    thread: JoinHandle<Result<()>>,
    /// Nanoseconds of the thread's processor time, as of its last turn.
    spent: Arc<AtomicU64>,
    ends: Arc<AtomicBool>,
}

impl Responder {
    pub fn start(site: &Netns, at: SocketAddr, kind: Kind, papers: &Papers) -> Result<Self> {
        let socket = socket(site, at)?;
        socket.set_read_timeout(Some(Duration::from_millis(10)))?;
        let (spent, ends) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (tell, end, gateway) = (spent.clone(), ends.clone(), Gateway::new(&kind, papers, at)?);
        let thread = std::thread::Builder::new().name("responder".into());
        let thread = thread.spawn(move || serve(&socket, at, gateway, &tell, &end))?;
        Ok(Self { thread, spent, ends })
    }
    pub fn spent(&self) -> Result<Duration> {
        anyhow::ensure!(!self.thread.is_finished(), "our responder has ended");
        Ok(Duration::from_nanos(self.spent.load(Ordering::Acquire)))
    }
    pub fn stop(self) -> Result<()> {
        self.ends.store(true, Ordering::Release);
        self.thread.join().map_err(|_| anyhow!("our responder has panicked"))?
    }
}

fn serve(
    socket: &UdpSocket,
    local: SocketAddr,
    mut gateway: Gateway,
    spent: &AtomicU64,
    ends: &AtomicBool,
) -> Result<()> {
    let mut buffer = [0; 8192];
    // What is not sent is lost, and comes again.
    let send = |d: Datagram| drop(socket.send_to(&d.payload, d.remote));
    while !ends.load(Ordering::Acquire) {
        match socket.recv_from(&mut buffer) {
            Ok((n, remote)) => {
                let payload = buffer.get(..n).unwrap_or_default().to_vec();
                gateway.take(Datagram { local, remote, payload }, send);
            }
            Err(_) => gateway.tick(send),
        }
        spent.store(ceiling::now().as_nanos() as u64, Ordering::Release);
    }
    Ok(())
}
