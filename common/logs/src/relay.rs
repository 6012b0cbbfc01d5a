//! What another process of the same gateway has logged, in the memory and the syslog of this one: the fast path has no
//! `/log print`, and the slow path's shows its lines too. Its own standard error and file it writes by itself.
use crate::layer::Handle;
use crate::ring::Entry;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::thread;
use std::time::{Duration, SystemTime};

/// How often what is new is looked for, and a socket that is not there.
const LOOK: Duration = Duration::from_millis(250);
/// A reader that takes nothing for so long is left.
const PATIENCE: Duration = Duration::from_secs(2);
/// A line of the largest message, each of its characters escaped.
const LONGEST: u64 = 64 << 10;

impl Handle {
    /// Sends everything that is remembered, and then what is new, to whoever listens there; again from the beginning
    /// when another one listens. Logging never waits for it.
    pub fn relay(&self, to: PathBuf) -> io::Result<()> {
        let (handle, run) = (self.clone(), micros(SystemTime::now()));
        let work = move || {
            loop {
                if let Ok(stream) = UnixStream::connect(&to) {
                    // It has gone; the next one gets all of it again.
                    let _ = send(&handle, &stream, run);
                }
                thread::sleep(LOOK);
            }
        };
        thread::Builder::new().name("log-relay".into()).spawn(work).map(drop)
    }
    /// Takes in what one process sends, to the end of its connection. `seen` is what came before, on any connection.
    pub fn collect(&self, stream: impl Read, seen: &mut Seen) -> io::Result<()> {
        let mut lines = BufReader::new(stream);
        let mut line = Vec::new();
        while lines.by_ref().take(LONGEST).read_until(b'\n', &mut line)? > 0 {
            if let Some((run, entry)) = read(&line).filter(|_| line.ends_with(b"\n")) {
                let last = seen.0.entry(run).or_default();
                if entry.id > *last {
                    *last = entry.id;
                    self.adopt(entry);
                }
            } else {
                return Err(io::Error::new(ErrorKind::InvalidData, "no line of a log"));
            }
            line.clear();
        }
        Ok(())
    }
}
/// By when a process was started, the last of its lines.
#[derive(Debug, Default)]
pub struct Seen(HashMap<u64, u64>);

fn micros(time: SystemTime) -> u64 {
    time.duration_since(SystemTime::UNIX_EPOCH).map_or(0, |since| since.as_micros() as u64)
}
fn send(handle: &Handle, mut stream: &UnixStream, run: u64) -> io::Result<()> {
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_read_timeout(Some(LOOK))?;
    let mut after = 0;
    loop {
        for Entry { id, at, topics, message } in handle.entries(after) {
            let at = at.as_micros() as u64;
            let line = json!({"run": run, "id": id, "at": at, "topics": topics, "message": message});
            stream.write_all(format!("{line}\n").as_bytes())?;
            after = id;
        }
        // Nothing is ever said to us: this waits, and notices the end.
        match stream.read(&mut [0; 64]) {
            Ok(0) => return Ok(()),
            Ok(_) => {}
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
                ) => {}
            Err(error) => return Err(error),
        }
    }
}
fn read(line: &[u8]) -> Option<(u64, Entry)> {
    let line: Value = serde_json::from_slice(line).ok()?;
    let number = |name: &str| line.get(name)?.as_u64();
    let text = |name: &str| Some(line.get(name)?.as_str()?.to_owned());
    let at = Duration::from_micros(number("at")?);
    Some((
        number("run")?,
        Entry { id: number("id")?, at, topics: text("topics")?, message: text("message")? },
    ))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Action, Options, Rule, layer};
    use std::os::unix::net::UnixListener;
    use tracing_subscriber::layer::SubscriberExt;

    fn logger() -> (layer::Layer, Handle) {
        let options =
            Options { log_level: "info".into(), log_json: false, log_file: None, log_journald: false };
        layer::Layer::new(&options).expect("a layer")
    }
    /// What `wanted` lines of it look like in the memory of the other.
    fn arrived(handle: &Handle, wanted: usize) -> Vec<Entry> {
        let end = std::time::Instant::now() + Duration::from_secs(10);
        loop {
            let entries = handle.entries(0);
            if entries.len() >= wanted {
                return entries;
            }
            assert!(std::time::Instant::now() < end, "{entries:#?}");
            thread::sleep(Duration::from_millis(5));
        }
    }

    #[test]
    fn what_one_process_logs_is_in_the_memory_of_the_other_once_and_again_after_its_restart() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("log.sock");
        let (layer, sender) = logger();
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            tracing::warn!(target: "espway_fastpath::ports", port = "wan", "the link is down");
            tracing::info!(target: "espway_fastpath", "a line\nof two");
        });
        sender.relay(path.clone()).expect("a thread");
        let mut seen = Seen::default();
        // Two lives of a reader that remembers, and one that does not.
        for (life, remembers) in [true, true, false].into_iter().enumerate() {
            let _ = std::fs::remove_file(&path);
            let listener = UnixListener::bind(&path).expect("a socket");
            let (stream, _) = listener.accept().expect("it calls");
            stream.set_read_timeout(Some(Duration::from_secs(1))).expect("a timeout");
            let (_, reader) = logger();
            if !remembers {
                seen = Seen::default();
            }
            // All of it comes at once; then nothing does.
            let quiet = reader.collect(&stream, &mut seen).expect_err("it goes on");
            assert!(matches!(quiet.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut), "{quiet}");
            let expected = if life == 1 { 0 } else { 2 };
            let entries = arrived(&reader, expected);
            assert_eq!(entries.len(), expected, "life {life}: {entries:#?}");
            if let [first, second] = entries.as_slice() {
                assert_eq!(
                    (first.topics.as_str(), first.message.as_str()),
                    ("interface,warning", "the link is down port=wan")
                );
                assert_eq!(second.message, "a line of two");
            }
        }
    }
    #[test]
    fn rows_of_system_logging_hold_for_lines_of_the_other_process_too() {
        let (_, reader) = logger();
        let rule = |topics: &str| Rule::new(topics.split(','), Action::Memory, "fast", "").expect("a rule");
        reader.set_rules(vec![rule("interface,!debug")]);
        let line = |id: u64, topics: &str| {
            format!("{}\n", json!({"run": 1, "id": id, "at": 5, "topics": topics, "message": "said"}))
        };
        let text =
            [line(1, "interface,warning"), line(2, "interface,debug"), line(3, "system,info")].concat();
        reader.collect(text.as_bytes(), &mut Seen::default()).expect("lines");
        let entries = reader.entries(0);
        assert_eq!((entries.len(), entries[0].message.as_str()), (1, "fast: said"));
        assert_eq!(entries[0].at, Duration::from_micros(5));
    }
    #[test]
    fn what_is_no_line_ends_the_connection() {
        let (_, reader) = logger();
        let endless = "x".repeat(2 * LONGEST as usize);
        for bad in
            ["{}\n", "\n", "[1,2]\n", r#"{"run":1,"id":2,"at":-1,"topics":"a","message":"b"}"#, &endless]
        {
            assert!(
                reader.collect(bad.as_bytes(), &mut Seen::default()).is_err(),
                "{}",
                &bad[..bad.len().min(80)]
            );
        }
        assert!(reader.entries(0).is_empty());
    }
}
