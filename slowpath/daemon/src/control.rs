//! The status socket: a Unix stream, one JSON request per line, one JSON answer per line. Only our own user and root
//! may speak; a client that is slow, silent or talks nonsense delays nobody.
use ipc::status::{Request, Response};
use rustix::event::{PollFd, PollFlags};
use std::io::{ErrorKind, Read, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::{fs, io};

const CLIENTS: usize = 16;
/// Room for the largest configuration, which is sent as one request.
const MAX_REQUEST: usize = 64 << 20;
/// How often one turn goes back to a client that reads as fast as we write.
const REFILLS: usize = 4;

/// An answer that is made piece by piece.
pub trait Rows {
    /// Appends the next piece. `false`: that was the last.
    fn more(&mut self, out: &mut Vec<u8>) -> serde_json::Result<bool>;
    /// `false`: the next piece is not there yet; nobody has to look before something else happens.
    fn ready(&self) -> bool {
        true
    }
    /// Nobody wants the rest of it when the reader has closed its end.
    fn ends_with_reader(&self) -> bool {
        false
    }
}
pub enum Answer {
    Now(Response),
    Rows(Box<dyn Rows>),
}

struct Client {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    /// Bytes of `output` that are gone already.
    sent: usize,
    /// Where the rest of the answer comes from.
    rows: Option<Box<dyn Rows>>,
    gone: bool,
}

pub struct Control {
    listener: UnixListener,
    path: PathBuf,
    clients: Vec<Client>,
}

/// A socket for its owner alone. A file that a dead process left is taken over; one that answers is not.
pub fn bind(path: &Path) -> io::Result<UnixListener> {
    if UnixStream::connect(path).is_ok() {
        return Err(io::Error::new(ErrorKind::AddrInUse, "another slow path listens there"));
    }
    match fs::remove_file(path) {
        Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

impl Control {
    pub fn listen(path: &Path) -> io::Result<Self> {
        Ok(Self { listener: bind(path)?, path: path.into(), clients: Vec::new() })
    }
    pub fn poll_fds<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        fds.push(PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN));
        for client in &self.clients {
            let wanted = match () {
                _ if client.answered() => PollFlags::IN,
                _ if client.waits() => PollFlags::empty(),
                _ => PollFlags::IN | PollFlags::OUT,
            };
            fds.push(PollFd::from_borrowed_fd(client.stream.as_fd(), wanted));
        }
    }
    /// Takes in what has come, answers, sends what fits. Never blocks.
    pub fn serve(&mut self, mut answer: impl FnMut(Request) -> Answer) {
        while let Ok((stream, _)) = self.listener.accept() {
            let allowed = rustix::net::sockopt::socket_peercred(&stream)
                .is_ok_and(|who| who.uid.is_root() || who.uid == rustix::process::getuid());
            if allowed && stream.set_nonblocking(true).is_ok() {
                if self.clients.len() == CLIENTS {
                    self.clients.remove(0);
                }
                self.clients.push(Client {
                    stream,
                    input: Vec::new(),
                    output: Vec::new(),
                    sent: 0,
                    rows: None,
                    gone: false,
                });
            }
        }
        for client in &mut self.clients {
            client.read();
            while client.answered()
                && let Some(line) = client.line()
            {
                match serde_json::from_slice(&line).map(&mut answer) {
                    Ok(Answer::Now(response)) => client.say(&response),
                    Ok(Answer::Rows(rows)) => client.rows = Some(rows),
                    Err(error) => {
                        client.say(&Response::Error(format!("the request is not understood: {error}")));
                    }
                }
                client.write();
            }
            client.write();
        }
        self.clients.retain(|client| !client.gone);
    }
}
impl Drop for Control {
    fn drop(&mut self) {
        // Left behind it is only taken over at the next start.
        let _ = fs::remove_file(&self.path);
    }
}

impl Client {
    fn read(&mut self) {
        let mut chunk = [0; 4096];
        while self.input.len() < MAX_REQUEST {
            match self.stream.read(&mut chunk) {
                Ok(0) => {
                    // What was asked before the end is still answered, as far as the client reads.
                    let of_no_use = self.rows.as_ref().is_some_and(|rows| rows.ends_with_reader());
                    self.gone = of_no_use || self.answered() && !self.input.contains(&b'\n');
                    return;
                }
                Ok(n) => self.input.extend_from_slice(&chunk[..n]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
        self.gone |= !self.input.contains(&b'\n');
    }
    fn line(&mut self) -> Option<Vec<u8>> {
        let end = self.input.iter().position(|b| *b == b'\n')?;
        let line = self.input.drain(..=end).collect();
        Some(line)
    }
    fn answered(&self) -> bool {
        self.output.is_empty() && self.rows.is_none()
    }
    fn waits(&self) -> bool {
        self.output.is_empty() && self.rows.as_ref().is_some_and(|rows| !rows.ready())
    }
    fn say(&mut self, response: &Response) {
        self.gone |= serde_json::to_writer(&mut self.output, response).is_err();
        self.output.push(b'\n');
    }
    /// The next piece, when the one before has left: a client that does not read holds no more than that.
    fn refill(&mut self) {
        let Some(rows) = self.rows.as_mut().filter(|rows| rows.ready()) else { return };
        match rows.more(&mut self.output) {
            Ok(true) => {}
            Ok(false) => {
                self.output.push(b'\n');
                self.rows = None;
            }
            Err(_) => self.gone = true,
        }
    }
    fn write(&mut self) {
        for _ in 0..REFILLS {
            if self.output.is_empty() {
                self.refill();
            }
            while self.sent < self.output.len() {
                match self.stream.write(&self.output[self.sent..]) {
                    Ok(n) => self.sent += n,
                    Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                    Err(error) if error.kind() == ErrorKind::Interrupted => {}
                    Err(_) => {
                        self.gone = true;
                        return;
                    }
                }
            }
            self.output.clear();
            self.sent = 0;
        }
    }
}
