//! One request to the slow path's control socket.
use anyhow::{Context, bail};
use ipc::status::{Request, Response, Status};
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(5);
/// A file of the largest size takes seconds to check.
const LONG_PATIENCE: Duration = Duration::from_secs(60);
/// Room for 100 000 tunnels.
const LARGEST: u64 = 512 << 20;

/// Lists with more than `at_most` rows come without them.
pub fn status(socket: &Path, at_most: Option<u32>) -> anyhow::Result<Status> {
    match request(socket, &Request::Status { show_sensitive: false, at_most })? {
        Response::Status(status) => Ok(*status),
        Response::Error(error) => bail!("{error}"),
        _ => bail!("{} answered something else", socket.display()),
    }
}

/// Every SA is deleted at its peer, then the slow path ends.
pub fn shut_down(socket: &Path) -> anyhow::Result<()> {
    match request(socket, &Request::Shutdown)? {
        Response::Error(error) => bail!("{error}"),
        _ => Ok(()),
    }
}

/// The status as the slow path sends it, passed on as it comes: a JSON object whose last brace is left to the caller.
/// An error is one only while nothing has been written.
pub fn pass_status_on(socket: &Path, to: &mut dyn Write) -> anyhow::Result<()> {
    const FRONT: &[u8] = b"{\"status\":";
    const BACK: &[u8] = b"}}\n";
    let mut stream = send(socket, &Request::Status { show_sensitive: false, at_most: None })?;
    let (mut held, mut chunk, mut begun) = (Vec::new(), vec![0; 64 << 10], false);
    loop {
        let n = stream.read(&mut chunk).with_context(|| format!("no answer from {}", socket.display()))?;
        held.extend_from_slice(chunk.get(..n).unwrap_or_default());
        let ended = n == 0 || held.ends_with(b"\n");
        if !begun && (held.len() > FRONT.len() || ended) {
            let Some(rest) = held.strip_prefix(FRONT).map(<[u8]>::to_vec) else {
                // Not what was asked for: an error is short and ends here.
                let Response::Error(error) = read(&mut stream, socket, held)? else {
                    bail!("{} did not answer with its status", socket.display())
                };
                bail!("{error}")
            };
            (held, begun) = (rest, true);
        }
        if ended {
            let Some(rest) = held.strip_suffix(BACK) else {
                bail!("the answer of {} was cut short", socket.display())
            };
            return to.write_all(rest).context("cannot write the status");
        }
        if begun && held.len() > BACK.len() {
            let ready = held.len() - BACK.len();
            to.write_all(&held[..ready]).context("cannot write the status")?;
            held.drain(..ready);
        }
    }
}

fn send(socket: &Path, request: &Request) -> anyhow::Result<UnixStream> {
    let mut stream = UnixStream::connect(socket).with_context(|| socket.display().to_string())?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut line = serde_json::to_vec(request)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    Ok(stream)
}
/// The answer as it comes, whose reader waits so long for a line.
pub fn stream(socket: &Path, request: &Request, patience: Duration) -> anyhow::Result<UnixStream> {
    let stream = send(socket, request)?;
    stream.set_read_timeout(Some(patience))?;
    Ok(stream)
}
/// Asks and waits for the answer; for that of a change as long as working it out takes.
pub fn request(socket: &Path, request: &Request) -> anyhow::Result<Response> {
    let mut stream = send(socket, request)?;
    if matches!(request, Request::Apply(_)) {
        stream.set_read_timeout(Some(LONG_PATIENCE))?;
    }
    read(&mut stream, socket, Vec::new())
}
/// The rest of an answer that began with `answer`.
fn read(stream: &mut UnixStream, socket: &Path, mut answer: Vec<u8>) -> anyhow::Result<Response> {
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixListener;

    /// What comes of an answer that is sent in pieces.
    fn passed(pieces: &'static [&'static str]) -> (anyhow::Result<()>, String) {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).expect("a socket");
        let server = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut line = String::new();
            BufReader::new(&stream).read_line(&mut line).expect("a request");
            for piece in pieces {
                stream.write_all(piece.as_bytes()).expect("a reader");
                std::thread::sleep(Duration::from_millis(5));
            }
        });
        let mut out = Vec::new();
        let result = pass_status_on(&path, &mut out);
        server.join().expect("a server");
        (result, String::from_utf8(out).expect("text"))
    }
    #[test]
    fn a_status_passes_through_however_it_is_cut() {
        for pieces in [
            &["{\"status\":{\"a\":[1,2]}}\n"][..],
            &["{\"sta", "tus\":{\"a\"", ":[1,2]", "}", "}", "\n"],
            &["{\"status\":{\"a\":[1,2]}", "}\n"],
        ] {
            let (result, text) = passed(pieces);
            assert!(result.is_ok(), "{result:?}");
            assert_eq!(text, "{\"a\":[1,2]");
        }
    }
    #[test]
    fn an_error_and_half_an_answer_are_told() {
        let (result, text) = passed(&["{\"error\":", "\"no\"}\n"]);
        assert_eq!((result.unwrap_err().to_string(), text.as_str()), ("no".into(), ""));
        let (result, _) = passed(&["{\"status\":{\"a\":[1,"]);
        assert!(result.unwrap_err().to_string().contains("cut short"));
    }
}
