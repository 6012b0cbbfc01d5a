//! Lines, and where they go.
use std::fs::{File, OpenOptions};
use std::io::{self, IsTerminal, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};
use tracing::Level;

/// One event, ready to be written.
#[derive(Debug)]
pub(crate) struct Line<'a> {
    pub at: Duration,
    pub level: Level,
    pub target: &'a str,
    pub topics: &'a str,
    pub message: &'a str,
    pub fields: &'a [(&'static str, String)],
}
impl Line<'_> {
    /// `message key=value`, with what names the peer in front.
    pub fn said(&self) -> String {
        let mut text = String::new();
        for (name, value) in self.fields.iter().filter(|(name, _)| *name == "peer") {
            text += &format!("{name}={value} ");
        }
        text += self.message;
        for (name, value) in self.fields.iter().filter(|(name, _)| *name != "peer") {
            text += &format!(" {name}={value}");
        }
        // One line stays one line, whatever is in a value.
        clean(&text)
    }
    pub fn text(&self, prefix: &str, colours: bool) -> String {
        let (on, off) = if colours { (colour(self.level), "\x1b[0m") } else { ("", "") };
        let time = self.time();
        let prefix = if prefix.is_empty() { String::new() } else { format!("{}: ", clean(prefix)) };
        format!("{time} {on}{:>5}{off} {}: {prefix}{}\n", self.level, self.topics, self.said())
    }
    pub fn json(&self, prefix: &str) -> String {
        let fields = self.fields.iter().map(|(name, value)| ((*name).to_owned(), value.as_str().into()));
        let mut object = serde_json::json!({
            "time": self.time(), "level": self.level.as_str(), "topics": self.topics, "target": self.target,
            "message": self.message, "fields": serde_json::Value::Object(fields.collect()),
        });
        if !prefix.is_empty() {
            object["prefix"] = prefix.into();
        }
        format!("{object}\n")
    }
    pub fn time(&self) -> String {
        let date = config::date::show(self.at.as_secs()).replace(' ', "T");
        format!("{date}.{:06}Z", self.at.subsec_micros())
    }
}
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() || turns(c) { ' ' } else { c }).collect()
}
/// Characters that begin a line somewhere, turn the direction of writing, or show nothing.
const fn turns(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}
const fn colour(level: Level) -> &'static str {
    match level {
        Level::ERROR => "\x1b[31m",
        Level::WARN => "\x1b[33m",
        Level::INFO => "\x1b[32m",
        _ => "\x1b[34m",
    }
}

/// Standard error.
pub(crate) struct Console {
    pub json: bool,
    pub colours: bool,
}
impl Console {
    pub fn new(json: bool) -> Self {
        Self { json, colours: !json && io::stderr().is_terminal() }
    }
    pub fn write(&self, line: &Line<'_>, prefix: &str) {
        let text = if self.json { line.json(prefix) } else { line.text(prefix, self.colours) };
        // Nowhere is left to say that it cannot be written.
        let _ = io::stderr().lock().write_all(text.as_bytes());
    }
}

/// A file that several processes append to, a line at a time.
pub(crate) struct LogFile {
    path: PathBuf,
    file: Option<File>,
    looked: Instant,
    pub json: bool,
}
/// How long a file that was moved away is written on.
const LOOK: Duration = Duration::from_secs(1);

impl LogFile {
    pub fn open(path: &Path, json: bool) -> io::Result<Self> {
        Ok(Self { path: path.to_owned(), file: Some(append(path)?), looked: Instant::now(), json })
    }
    pub fn write(&mut self, line: &Line<'_>, prefix: &str, now: Instant) {
        if self.file.is_none() || now.saturating_duration_since(self.looked) >= LOOK {
            self.looked = now;
            self.follow();
        }
        let text = if self.json { line.json(prefix) } else { line.text(prefix, false) };
        if let Some(file) = &mut self.file
            && file.write_all(text.as_bytes()).is_err()
        {
            self.file = None;
        }
    }
    /// logrotate has moved or removed it: another one begins.
    fn follow(&mut self) {
        let ours = self.file.as_ref().and_then(|file| file.metadata().ok()).map(|m| (m.dev(), m.ino()));
        let there = std::fs::metadata(&self.path).ok().map(|m| (m.dev(), m.ino()));
        if ours.is_none() || ours != there {
            // A full disk or a missing folder may be mended by the next time.
            self.file = append(&self.path).ok();
        }
    }
}
fn append(path: &Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).mode(0o640).open(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(message: &str) -> Line<'_> {
        Line {
            at: Duration::from_micros(951_782_399_000_042),
            level: Level::ERROR,
            target: "ike",
            topics: "ipsec,error",
            message,
            fields: &[],
        }
    }
    #[test]
    fn a_line_is_one_line_in_either_shape() {
        let fields = [("remote", "192.0.2.9:500".to_owned()), ("peer", "b\nERROR forged".to_owned())];
        let line = Line { fields: &fields, ..line("no answer") };
        assert_eq!(
            line.text("vpn", false),
            "2000-02-28T23:59:59.000042Z ERROR ipsec,error: vpn: peer=b ERROR forged no answer remote=192.0.2.9:500\n"
        );
        let json: serde_json::Value = serde_json::from_str(&line.json("")).expect("JSON");
        assert_eq!(
            (json["topics"].as_str(), json["fields"]["peer"].as_str()),
            (Some("ipsec,error"), Some("b\nERROR forged"))
        );
        assert_eq!(line.json("").lines().count(), 1);
    }
    #[test]
    fn g11_one_event_is_one_line_whoever_wrote_it() {
        let forged = "b\r\n2026-01-01T00:00:00Z ERROR system,error: forged\u{2028}\u{85}\0\u{1b}[2J\u{202e}";
        let fields = [("peer", forged.to_owned()), ("id", forged.to_owned())];
        let line = Line { fields: &fields, ..line(forged) };
        let text = line.text(forged, false);
        let body = text.strip_suffix('\n').expect("a line");
        assert!(!body.contains(|c: char| c.is_control() || turns(c)), "{text:?}");
        assert_eq!(line.json(forged).matches(['\n', '\r', '\0', '\x1b']).count(), 1);
    }
    #[test]
    fn a_file_that_was_moved_away_is_begun_anew() {
        let dir = tempfile::tempdir().expect("a folder");
        let (path, moved) = (dir.path().join("log"), dir.path().join("log.1"));
        let mut file = LogFile::open(&path, false).expect("a file");
        let start = Instant::now();
        file.write(&line("one"), "", start);
        std::fs::rename(&path, &moved).expect("moved");
        file.write(&line("two"), "", start);
        file.write(&line("three"), "", start + 2 * LOOK);
        let read = |path| std::fs::read_to_string(path).expect("text");
        assert!(read(&moved).contains("one") && read(&moved).contains("two"), "{}", read(&moved));
        assert!(read(&path).contains("three") && read(&path).lines().count() == 1);
    }
}
