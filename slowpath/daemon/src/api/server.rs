//! Connections: as many as memory and the driver bear, each with its limits, none of which holds up another.
use super::auth::{Origin, Source};
use super::handle::{App, Shown, handle};
use super::tls;
use crate::control::bind;
use crate::desk::Asker;
use config::model::ApiListen;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use std::{io, thread};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

/// Connections at a time, on the machine and from outside, and of one source.
const LOCAL: usize = 64;
const REMOTE: usize = 128;
const OF_ONE: usize = 16;
/// A head, or a handshake, that takes longer is nobody's.
const HEAD: Duration = Duration::from_secs(10);
const LARGEST_HEAD: usize = 32 << 10;
const HEADERS: usize = 64;
/// How often the configuration is looked at for another address to listen on.
const LOOK: Duration = Duration::from_millis(500);

/// The thread lives as long as the process; the socket file as long as this.
pub struct Server {
    path: PathBuf,
}
impl Drop for Server {
    fn drop(&mut self) {
        // Left behind it is only taken over at the next start.
        let _ = std::fs::remove_file(&self.path);
    }
}

pub fn start(path: &Path, asker: Asker, shown: Shown) -> io::Result<Server> {
    let listener = bind(path)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    let app = Arc::new(App::new(asker, shown));
    thread::Builder::new().name("api".into()).spawn(move || {
        runtime.block_on(async {
            match UnixListener::from_std(listener) {
                Ok(listener) => tokio::join!(local(listener, &app), remote(&app)),
                Err(error) => {
                    tracing::error!(%error, "the API's socket cannot be used");
                    ((), ())
                }
            }
        });
    })?;
    Ok(Server { path: path.into() })
}

async fn local(listener: UnixListener, app: &Arc<App>) {
    let room = Arc::new(Semaphore::new(LOCAL));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            sleep(LOOK).await; // out of descriptors, say
            continue;
        };
        let Ok(who) = stream.peer_cred() else { continue };
        if who.uid() != 0 && who.uid() != rustix::process::getuid().as_raw() {
            continue;
        }
        // Beyond that they are closed: whoever waits in a queue waits for ever.
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
        let (app, source) = (Arc::clone(app), Source::Local { uid: who.uid() });
        tokio::spawn(async move {
            serve(app, source, stream).await;
            drop(place);
        });
    }
}

/// Listens where the configuration says, as long as it says so.
async fn remote(app: &Arc<App>) {
    let mut now: Option<ApiListen> = None;
    let mut task: Option<tokio::task::JoinHandle<()>> = None;
    loop {
        let wanted = app.shared.config().api.listen.clone();
        let ended = task.as_ref().is_some_and(tokio::task::JoinHandle::is_finished);
        if wanted != now || ended {
            // Connections that are open go on; their next request is held against the users there are then.
            task.take().iter().for_each(tokio::task::JoinHandle::abort);
            task = wanted.clone().map(|listen| tokio::spawn(listen_on(listen, Arc::clone(app))));
            now = wanted;
        }
        sleep(LOOK).await;
    }
}
async fn listen_on(listen: ApiListen, app: Arc<App>) {
    let acceptor = match tls::acceptor(&listen) {
        Ok(acceptor) => acceptor,
        Err(said) => {
            tracing::error!("the API does not listen: {said}");
            return std::future::pending().await; // until the configuration is another one
        }
    };
    let address = (listen.address, listen.port);
    let listener = loop {
        match TcpListener::bind(address).await {
            Ok(listener) => break listener,
            Err(error) => {
                tracing::error!(address = %listen.address, port = listen.port, "the API cannot listen: {error}");
                sleep(HEAD).await;
            }
        }
    };
    tracing::info!(address = %listen.address, port = listen.port, "the API listens");
    let (room, sources) = (Arc::new(Semaphore::new(REMOTE)), Sources::default());
    loop {
        let Ok((stream, from)) = listener.accept().await else {
            sleep(LOOK).await;
            continue;
        };
        let Ok(place) = Arc::clone(&room).try_acquire_owned() else { continue };
        let Some(seat) = sources.take(from.ip().to_canonical()) else { continue };
        let (app, acceptor) = (Arc::clone(&app), acceptor.clone());
        tokio::spawn(async move {
            if let Ok(Ok(stream)) = timeout(HEAD, acceptor.accept(stream)).await {
                let names = tls::names(stream.get_ref().1);
                serve(app, Source::Remote { address: seat.address, names }, stream).await;
            }
            drop((place, seat));
        });
    }
}

/// How many connections each source has.
#[derive(Clone, Default)]
struct Sources(Arc<Mutex<HashMap<Origin, usize>>>);
struct Seat {
    sources: Sources,
    address: IpAddr,
}
impl Sources {
    fn take(&self, address: IpAddr) -> Option<Seat> {
        let mut sources = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = sources.entry(Origin::of(address)).or_default();
        if *taken >= OF_ONE {
            return None;
        }
        *taken += 1;
        Some(Seat { sources: self.clone(), address })
    }
}
impl Drop for Seat {
    fn drop(&mut self) {
        let mut sources = self.sources.0.lock().unwrap_or_else(PoisonError::into_inner);
        let origin = Origin::of(self.address);
        let left = sources.get_mut(&origin).map_or(0, |taken| {
            *taken = taken.saturating_sub(1);
            *taken
        });
        if left == 0 {
            sources.remove(&origin);
        }
    }
}

async fn serve(app: Arc<App>, source: Source, stream: impl AsyncRead + AsyncWrite + Unpin) {
    let service = service_fn(|request| {
        let answered = handle(Arc::clone(&app), source.clone(), request);
        async { Ok::<_, Infallible>(answered.await) }
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .max_buf_size(LARGEST_HEAD)
        .max_headers(HEADERS)
        .serve_connection(TokioIo::new(stream), service);
    // How a connection ends is the client's business.
    let _ = connection.await;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn g6_one_source_has_so_many_connections_and_gets_them_back() {
        let sources = Sources::default();
        let (one, other) = (IpAddr::from([192, 0, 2, 1]), IpAddr::from([192, 0, 2, 2]));
        let seats: Vec<_> = (0..OF_ONE).map(|_| sources.take(one).expect("room")).collect();
        assert!(sources.take(one).is_none() && sources.take(other).is_some());
        let v6 = |n: u128| IpAddr::from((0x2001_0db8_u128 << 96 | n).to_be_bytes());
        let network: Vec<_> = (0..OF_ONE).map(|n| sources.take(v6(n as u128)).expect("room")).collect();
        assert!(sources.take(v6(1 << 63)).is_none() && sources.take(v6(1 << 64)).is_some());
        drop((seats, network));
        assert!(sources.take(one).is_some());
        assert!(sources.0.lock().expect("whole").is_empty());
    }
}
