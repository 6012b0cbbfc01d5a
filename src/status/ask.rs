//! One request to the slow path's control socket. Its answer is bounded in time and size.
use anyhow::{Context, bail};
use ipc::status::{Request, Response, Status};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);
/// Room for 100 000 tunnels.
const LARGEST: u64 = 512 << 20;

pub fn status(socket: &Path) -> anyhow::Result<Status> {
    match request(socket, &Request::Status { show_sensitive: false })? {
        Response::Status(status) => Ok(*status),
        Response::Error(error) => bail!("{error}"),
        Response::Done => bail!("{} answered a question with `done`", socket.display()),
    }
}

/// Every SA is deleted at its peer, then the slow path ends.
pub fn shut_down(socket: &Path) -> anyhow::Result<()> {
    match request(socket, &Request::Shutdown)? {
        Response::Error(error) => bail!("{error}"),
        Response::Done | Response::Status(_) => Ok(()),
    }
}

fn request(socket: &Path, request: &Request) -> anyhow::Result<Response> {
    let mut stream = UnixStream::connect(socket).with_context(|| socket.display().to_string())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    let mut answer = Vec::new();
    let mut chunk = vec![0; 64 << 10];
    while !answer.ends_with(b"\n") {
        let n = stream.read(&mut chunk).with_context(|| format!("no answer from {}", socket.display()))?;
        answer.extend_from_slice(chunk.get(..n).unwrap_or_default());
        if n == 0 || answer.len() as u64 > LARGEST {
            break;
        }
    }
    serde_json::from_slice(&answer)
        .with_context(|| format!("the answer of {} cannot be read", socket.display()))
}
