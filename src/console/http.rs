//! A running gateway: HTTP/1.1 over its Unix socket.
use super::remote::{Answer, Method, Remote, Request, Safe};
use crate::change::who;
use anyhow::{Context, bail, ensure};
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::{Response, header};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::net::UnixStream;
use tokio::runtime::Runtime;

/// Working out a change of the largest size takes seconds.
const PATIENCE: Duration = Duration::from_secs(60);
/// Room for 100 000 rows with all they have.
const LARGEST: usize = 512 << 20;
const TOKEN: &str = "safe-mode";

pub struct Http {
    socket: PathBuf,
    runtime: Runtime,
    sender: Option<SendRequest<Full<Bytes>>>,
    safe: Option<SafeMode>,
    events: Option<Stream>,
}
/// An answer that does not end.
struct Stream {
    body: Incoming,
    _sender: SendRequest<Full<Bytes>>,
}
/// While this stream is open, what was changed under the token can be undone.
struct SafeMode {
    token: String,
    _stream: Stream,
}

impl Http {
    pub fn new(socket: &Path) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
        Ok(Self { socket: socket.into(), runtime, sender: None, safe: None, events: None })
    }
    fn build(&self, request: &Request) -> anyhow::Result<hyper::Request<Full<Bytes>>> {
        let mut target = format!("/rest/{}", request.path);
        for (at, (name, value)) in request.query.iter().enumerate() {
            target.push(if at == 0 { '?' } else { '&' });
            encode(name, &mut target);
            target.push('=');
            encode(value, &mut target);
        }
        let method = match request.method {
            Method::Get => hyper::Method::GET,
            Method::Post => hyper::Method::POST,
        };
        let mut built = hyper::Request::builder().method(method).uri(target).header(header::HOST, "espway");
        if let Ok(who) = header::HeaderValue::from_str(&who()) {
            built = built.header("x-who", who);
        }
        if let Some(safe) = &self.safe {
            built = built.header(TOKEN, &safe.token);
        }
        let body = match &request.body {
            Some(body) => {
                built = built.header(header::CONTENT_TYPE, "application/json");
                serde_json::to_vec(body)?.into()
            }
            None => Bytes::new(),
        };
        Ok(built.body(Full::new(body))?)
    }
    /// Asks for a stream of events and reads to the end of its first one.
    fn open(&self, request: &Request, what: &str) -> anyhow::Result<(Stream, String)> {
        let (request, socket) = (self.build(request)?, &self.socket);
        let opened = async {
            let mut sender = connect(socket).await?;
            let answer = sender.send_request(request).await.context("no answer")?;
            let status = answer.status();
            let mut body = answer.into_body();
            let mut text = String::new();
            while let Some(frame) = body.frame().await {
                let frame = frame.with_context(|| format!("the stream of {what} broke off"))?;
                text += &String::from_utf8_lossy(frame.data_ref().map_or(&[][..], |data| data));
                if status.is_success() && text.contains("\n\n") {
                    return Ok((Stream { body, _sender: sender }, text));
                }
                ensure!(text.len() < 64 << 10, "{what} did not begin with an event");
            }
            let said = serde_json::from_str::<Value>(&text).ok();
            let said = said.and_then(|body| Some(body.get("detail")?.as_str()?.to_owned()));
            bail!("{what} is not available: {}", said.unwrap_or_else(|| status.to_string()))
        };
        let opened = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, opened).await });
        opened.with_context(|| format!("{what} takes too long"))?
    }
    fn take_safe_mode(&mut self) -> anyhow::Result<()> {
        ensure!(self.safe.is_none(), "safe mode is taken already");
        let (stream, text) = self.open(&get("system/safe-mode", Vec::new()), "safe mode")?;
        let token = token(&text).context("safe mode did not begin with its token")?;
        self.safe = Some(SafeMode { token, _stream: stream });
        Ok(())
    }
}
fn get<'a>(path: &'a str, query: Vec<(&'a str, String)>) -> Request<'a> {
    Request { method: Method::Get, path, query, body: None }
}

impl Remote for Http {
    fn call(&mut self, request: &Request) -> anyhow::Result<Answer> {
        let (first, again) = (self.build(request)?, self.build(request)?);
        let (socket, sender) = (&self.socket, self.sender.take().filter(|sender| !sender.is_closed()));
        let kept = sender.is_some();
        let done = async {
            let mut sender = match sender {
                Some(sender) => sender,
                None => connect(socket).await?,
            };
            // A connection that was kept may have been closed meanwhile: then nothing has been sent yet.
            let answer = match sender.try_send_request(first).await {
                Ok(answer) => answer,
                Err(mut error) => {
                    let unsent = error.take_message().is_some();
                    if !(kept && unsent) {
                        return Err(error.into_error()).context("no answer");
                    }
                    sender = connect(socket).await?;
                    sender.send_request(again).await.context("no answer")?
                }
            };
            anyhow::Ok((read(answer).await?, sender))
        };
        let done = self.runtime.block_on(async { tokio::time::timeout(PATIENCE, done).await });
        let socket = || self.socket.display().to_string();
        let (answer, sender) =
            done.with_context(|| format!("{} takes too long", socket()))?.with_context(socket)?;
        self.sender = Some(sender);
        Ok(answer)
    }
    fn watch(&mut self, only: &str) -> anyhow::Result<bool> {
        let (stream, _) =
            self.open(&get("events", vec![("only", only.to_owned())]), "the stream of events")?;
        self.events = Some(stream);
        Ok(true)
    }
    fn wait(&mut self, most: Duration) -> anyhow::Result<bool> {
        let stream = self.events.as_mut().context("no events are watched")?;
        let next = async { tokio::time::timeout(most, stream.body.frame()).await };
        match self.runtime.block_on(next) {
            Err(_) => Ok(false),
            Ok(Some(Ok(frame))) => {
                let said = frame.data_ref().map_or(&[][..], |data| data);
                // A sign of life is no event.
                Ok(said.windows(6).any(|word| word == b"event:"))
            }
            Ok(_) => bail!("{}: the stream of events has ended; is the gateway gone?", self.socket.display()),
        }
    }
    fn unwatch(&mut self) {
        self.events = None;
    }
    fn safe_mode(&mut self, to: Safe) -> anyhow::Result<()> {
        match to {
            Safe::Take => self.take_safe_mode(),
            // The stream closes, and with it goes what was changed.
            Safe::Undo => {
                self.safe = None;
                // It is driven once more so that the socket really is closed.
                self.runtime.block_on(tokio::task::yield_now());
                Ok(())
            }
            Safe::Release => {
                let release = Request {
                    method: Method::Post,
                    path: "system/safe-mode/release",
                    query: Vec::new(),
                    body: None,
                };
                let answer = self.call(&release)?;
                ensure!(
                    (200..300).contains(&answer.status),
                    "safe mode was not released ({})",
                    answer.status
                );
                self.safe = None;
                Ok(())
            }
        }
    }
}

async fn connect(socket: &Path) -> anyhow::Result<SendRequest<Full<Bytes>>> {
    let stream = UnixStream::connect(socket).await;
    let stream = stream.with_context(|| format!("{}: no gateway answers; does it run?", socket.display()))?;
    let (sender, connection) = handshake(TokioIo::new(stream)).await?;
    // Its error is that of the request which waits for it.
    tokio::spawn(async move { connection.await.ok() });
    Ok(sender)
}
async fn read(answer: Response<Incoming>) -> anyhow::Result<Answer> {
    let status = answer.status().as_u16();
    let limited = http_body_util::Limited::new(answer.into_body(), LARGEST);
    let bytes =
        limited.collect().await.map_err(|error| anyhow::anyhow!("the answer broke off: {error}"))?.to_bytes();
    let body = match bytes.is_empty() {
        true => Value::Null,
        false => serde_json::from_slice(&bytes).context("the answer is not JSON")?,
    };
    Ok(Answer { status, body })
}

/// The token in the first event of the stream: `data: {"token":"..."}`, or the token alone.
fn token(text: &str) -> Option<String> {
    let event = text.split_once("\n\n")?.0;
    let data = event.lines().find_map(|line| line.strip_prefix("data:"))?.trim();
    let named = serde_json::from_str::<Value>(data).ok();
    let token = named.as_ref().and_then(|value| value.get("token")?.as_str()).unwrap_or(data);
    Some(token.to_owned()).filter(|token| !token.is_empty())
}
fn encode(text: &str, out: &mut String) {
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'_' | b'.' | b',' | b'*' => {
                out.push(char::from(byte))
            }
            byte => out.push_str(&format!("%{byte:02X}")),
        }
    }
}
