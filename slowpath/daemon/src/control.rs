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
const MAX_REQUEST: usize = 16 * 1024;
/// An unread answer of this size means a client that does not read.
const MAX_UNREAD: usize = 64 << 20;

struct Client {
    stream: UnixStream,
    input: Vec<u8>,
    output: Vec<u8>,
    gone: bool,
}

pub struct Control {
    listener: UnixListener,
    path: PathBuf,
    clients: Vec<Client>,
}

impl Control {
    /// A socket file that a dead process left is taken over; one that answers is not.
    pub fn listen(path: &Path) -> io::Result<Self> {
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
        Ok(Self { listener, path: path.into(), clients: Vec::new() })
    }
    pub fn poll_fds<'a>(&'a self, fds: &mut Vec<PollFd<'a>>) {
        fds.push(PollFd::from_borrowed_fd(self.listener.as_fd(), PollFlags::IN));
        for client in &self.clients {
            let wanted =
                if client.output.is_empty() { PollFlags::IN } else { PollFlags::IN | PollFlags::OUT };
            fds.push(PollFd::from_borrowed_fd(client.stream.as_fd(), wanted));
        }
    }
    /// Takes in what has come, answers, sends what fits. Never blocks.
    pub fn serve(&mut self, mut answer: impl FnMut(Request) -> Response) {
        while let Ok((stream, _)) = self.listener.accept() {
            let allowed = rustix::net::sockopt::socket_peercred(&stream)
                .is_ok_and(|who| who.uid.is_root() || who.uid == rustix::process::getuid());
            if allowed && stream.set_nonblocking(true).is_ok() {
                if self.clients.len() == CLIENTS {
                    self.clients.remove(0);
                }
                self.clients.push(Client { stream, input: Vec::new(), output: Vec::new(), gone: false });
            }
        }
        for client in &mut self.clients {
            client.read();
            while let Some(line) = client.line() {
                let response = match serde_json::from_slice(&line) {
                    Ok(request) => answer(request),
                    Err(error) => Response::Error(format!("the request is not understood: {error}")),
                };
                if serde_json::to_writer(&mut client.output, &response).is_err() {
                    client.gone = true;
                }
                client.output.push(b'\n');
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
                    self.gone = self.output.is_empty() && !self.input.contains(&b'\n');
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
    fn write(&mut self) {
        while !self.output.is_empty() {
            match self.stream.write(&self.output) {
                Ok(n) => {
                    self.output.drain(..n);
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => {
                    self.gone = true;
                    return;
                }
            }
        }
        self.gone |= self.output.len() > MAX_UNREAD;
    }
}
