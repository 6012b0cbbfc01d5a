//! A gateway that answers: over a socket, and with rows that change while they are watched.
use super::Desk;
use crate::console::http::Http;
use crate::console::remote::{Answer, Method, Remote, Request, Safe};
use crate::console::style::Style;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

/// What was asked: request line, safe mode's token, body.
type Asked = Arc<Mutex<Vec<(String, String, String)>>>;

/// Takes connections and answers each request by what `answer` says to its first line.
fn serve(answer: impl Fn(&str) -> String + Send + Sync + 'static) -> (tempfile::TempDir, PathBuf, Asked) {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("api.sock");
    let listener = UnixListener::bind(&path).expect("a socket");
    let asked = Asked::default();
    let (kept, answer) = (Arc::clone(&asked), Arc::new(answer));
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let (kept, answer) = (Arc::clone(&kept), Arc::clone(&answer));
            std::thread::spawn(move || connection(stream, &kept, &*answer));
        }
    });
    (folder, path, asked)
}
fn connection(stream: UnixStream, asked: &Asked, answer: &dyn Fn(&str) -> String) {
    let mut reader = BufReader::new(stream.try_clone().expect("a copy"));
    let mut stream = stream;
    loop {
        let (mut first, mut token, mut length) = (String::new(), String::new(), 0);
        if reader.read_line(&mut first).unwrap_or(0) == 0 {
            asked.lock().expect("no panic").push(("closed".into(), String::new(), String::new()));
            return;
        }
        loop {
            let mut line = String::new();
            reader.read_line(&mut line).expect("a head");
            match line.trim().split_once(": ") {
                Some(("safe-mode", value)) => token = value.into(),
                Some(("content-length", value)) => length = value.parse().expect("a number"),
                Some(_) => {}
                None => break,
            }
        }
        let mut body = vec![0; length];
        reader.read_exact(&mut body).expect("a body");
        let first = first.trim().trim_end_matches(" HTTP/1.1").to_owned();
        asked.lock().expect("no panic").push((first.clone(), token, String::from_utf8_lossy(&body).into()));
        let said = answer(&first);
        let closes = said.contains("connection: close");
        stream.write_all(said.as_bytes()).expect("a client");
        if closes {
            return;
        }
    }
}
fn reply(status: &str, body: &Value) -> String {
    let text = if body.is_null() { String::new() } else { body.to_string() };
    format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\n\r\n{text}", text.len())
}

#[test]
fn rows_come_over_the_socket_and_faults_keep_what_they_say() {
    let (_folder, path, asked) = serve(|first| match first {
        "GET /rest/ip/ipsec/peer?.proplist=.id,name" => {
            reply("200 OK", &json!([{".id": "*1", "name": "a"}, {".id": "*2", "name": "b"}]))
        }
        "POST /rest/ip/ipsec/peer/set" => reply(
            "422 Unprocessable Content",
            &json!({"title": "refused by the check", "detail": "`ike3` is not one of these", "path": "ip ipsec peer b",
                "property": "exchange-mode", "fix": "write ike2", "complaints": ["one", "two"]}),
        ),
        // This one closes after its answer: the next request makes a new connection.
        "GET /rest/system" => {
            reply("200 OK", &json!({"name": "gw"})).replace("OK\r\n", "OK\r\nconnection: close\r\n")
        }
        _ => reply("404 Not Found", &json!({"title": "there is no such thing"})),
    });
    let mut desk = Desk::new(Box::new(Http::new(&path).expect("a client")), Style::default());
    assert_eq!(
        desk.say("/ip ipsec peer set b exchange-mode=ike3"),
        "ip ipsec peer b: `ike3` is not one of these; write ike2 (line 1 column 22)\n  one\n  two\n"
    );
    assert!(desk.say("/system print").contains("name: gw"));
    assert!(desk.say("/system print").contains("name: gw"));
    assert_eq!(desk.say("/ip pool print"), "there is no such thing (line 1 column 10)\n");
    let asked = asked.lock().expect("no panic").clone();
    assert_eq!(asked[1].2, r#"{".id":"*2","exchange-mode":"ike3"}"#);
    assert!(asked.iter().filter(|(first, ..)| first == "GET /rest/system").count() == 2);
}
#[test]
fn safe_mode_lasts_as_long_as_its_stream() {
    let event = "event: safe-mode\ndata: {\"token\":\"t0k\"}\n\n";
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let stream = format!("{head}{:x}\r\n{event}\r\n", event.len());
    let (_folder, path, asked) = serve(move |first| match first {
        "GET /rest/system/safe-mode" => stream.clone(),
        _ => reply("204 No Content", &Value::Null),
    });
    let mut http = Http::new(&path).expect("a client");
    let change = |http: &mut Http| {
        let request =
            Request { method: Method::Post, path: "x", query: vec![("a", "b c&ä".into())], body: None };
        assert_eq!(http.call(&request).expect("an answer").status, 204);
    };
    http.safe_mode(Safe::Take).expect("taken");
    assert!(http.safe_mode(Safe::Take).is_err());
    change(&mut http);
    http.safe_mode(Safe::Release).expect("released");
    change(&mut http);
    http.safe_mode(Safe::Take).expect("taken again");
    http.safe_mode(Safe::Undo).expect("undone");
    // The server sees that its stream has ended.
    let end = std::time::Instant::now() + std::time::Duration::from_secs(10);
    let closed = || asked.lock().expect("no panic").iter().filter(|(first, ..)| first == "closed").count();
    while closed() < 2 {
        assert!(std::time::Instant::now() < end, "the stream is still open");
        std::thread::sleep(std::time::Duration::from_millis(5));
    }
    let asked = asked.lock().expect("no panic").clone();
    let with = |first: &str| -> Vec<String> {
        asked.iter().filter(|(line, ..)| line == first).map(|(_, token, _)| token.clone()).collect()
    };
    assert_eq!(with("POST /rest/x?a=b%20c%26%C3%A4"), ["t0k", ""]);
    assert_eq!(with("POST /rest/system/safe-mode/release"), ["t0k"]);
}
#[test]
fn a_socket_that_is_not_there_says_what_to_look_at() {
    let mut desk =
        Desk::new(Box::new(Http::new("/nowhere/api.sock".as_ref()).expect("a client")), Style::default());
    let said = desk.say("/system print");
    assert!(said.contains("/nowhere/api.sock: no gateway answers; does it run?"), "{said}");
}

/// Another row each time it is asked; after the fourth, Ctrl+C.
struct Growing {
    asked: usize,
    interrupted: Arc<AtomicBool>,
}
impl Remote for Growing {
    fn call(&mut self, _: &Request) -> anyhow::Result<Answer> {
        self.asked += 1;
        self.interrupted.store(self.asked == 4, Ordering::Relaxed);
        // The third time nothing is new.
        let rows = [1, 2, 2, 3][(self.asked - 1).min(3)];
        let row = |n: usize| json!({".id": format!("*{n}"), "time": "t", "topics": "ipsec", "message": format!("said {n}")});
        Ok(Answer { status: 200, body: (1..=rows).map(row).collect() })
    }
    fn safe_mode(&mut self, _: Safe) -> anyhow::Result<()> {
        Ok(())
    }
}
#[test]
fn what_is_followed_shows_what_is_new_until_it_is_interrupted() {
    let watch = |line: &str| {
        let interrupted = Arc::new(AtomicBool::new(false));
        let growing = Growing { asked: 0, interrupted: Arc::clone(&interrupted) };
        let mut desk = Desk::new(Box::new(growing), Style::default());
        desk.session.interrupted = interrupted;
        desk.say(line)
    };
    assert_eq!(
        watch("/log print follow interval=200ms proplist=message"),
        "Columns: MESSAGE\n# MESSAGE\n0 said 1\n1 said 2\n2 said 3\n"
    );
    let all = watch("/log print interval=200ms proplist=message");
    assert_eq!((all.matches("said 1").count(), all.matches("said 3").count()), (4, 1), "{all}");
}

/// One more line each time somebody is told of one; after the second, Ctrl+C.
struct Telling {
    lines: usize,
    asked: usize,
    watched: Arc<Mutex<Vec<String>>>,
    interrupted: Arc<AtomicBool>,
}
impl Remote for Telling {
    fn call(&mut self, _: &Request) -> anyhow::Result<Answer> {
        self.asked += 1;
        // Whoever waits for no event is interrupted after a while as well.
        if self.asked == 6 {
            self.interrupted.store(true, Ordering::Relaxed);
        }
        let line = |n: usize| json!({".id": format!("*{n}"), "time": "t", "topics": "ipsec", "message": format!("said {n}")});
        Ok(Answer { status: 200, body: (1..=self.lines).map(line).collect() })
    }
    fn watch(&mut self, only: &str) -> anyhow::Result<bool> {
        self.watched.lock().expect("no panic").push(only.into());
        Ok(true)
    }
    fn wait(&mut self, _: std::time::Duration) -> anyhow::Result<bool> {
        self.lines += 1;
        self.interrupted.store(self.lines == 4, Ordering::Relaxed);
        Ok(true)
    }
    fn unwatch(&mut self) {
        self.watched.lock().expect("no panic").push("ended".into());
    }
    fn safe_mode(&mut self, _: Safe) -> anyhow::Result<()> {
        Ok(())
    }
}
#[test]
fn what_is_followed_is_looked_at_when_the_gateway_says_that_something_happened() {
    let watch = |line: &str| {
        let (interrupted, watched) = (Arc::new(AtomicBool::new(false)), Arc::<Mutex<_>>::default());
        let telling = Telling {
            lines: 1,
            asked: 0,
            watched: Arc::clone(&watched),
            interrupted: Arc::clone(&interrupted),
        };
        let mut desk = Desk::new(Box::new(telling), Style::default());
        desk.session.interrupted = interrupted;
        let said = desk.say(line);
        let watched = watched.lock().expect("no panic").join(" ");
        (said, watched)
    };
    let (said, watched) = watch("/log print follow proplist=message");
    assert_eq!(said, "Columns: MESSAGE\n# MESSAGE\n0 said 1\n1 said 2\n2 said 3\n");
    assert_eq!(watched, "log ended");
    let (said, _) = watch("/log print follow-only proplist=message");
    assert_eq!(said, "Columns: MESSAGE\n# MESSAGE\n1 said 2\n2 said 3\n");
    assert_eq!(watch("/ip ipsec active-peers print follow").1, "peers ended");
    assert_eq!(watch("/ip ipsec policy print follow").1, "configuration,peers ended");
    // Their counters change at any moment.
    assert_eq!(watch("/ip ipsec installed-sa print interval=20ms").1, "ended");
}
#[test]
fn events_come_over_the_socket_as_they_happen() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n";
    let chunk = |text: &str| format!("{:x}\r\n{text}\r\n", text.len());
    let stream = [
        head.to_owned(),
        chunk("event: ready\ndata: {}\n\n"),
        chunk(": \n\n"),
        chunk("event: log\ndata: {}\n\n"),
    ]
    .concat();
    let (_folder, path, asked) = serve(move |first| match first {
        "GET /rest/events?only=log" => stream.clone(),
        _ => reply("400 Bad Request", &json!({"detail": "there are no events `x`"})),
    });
    let mut http = Http::new(&path).expect("a client");
    assert!(http.watch("log").expect("a stream"));
    let second = std::time::Duration::from_secs(1);
    let told: Vec<bool> = (0..3).map(|_| http.wait(second).expect("it lives")).collect();
    assert!(told.contains(&true), "{told:?}");
    assert_eq!(asked.lock().expect("no panic")[0].0, "GET /rest/events?only=log");
    let refused = http.watch("x").expect_err("refused").to_string();
    assert_eq!(refused, "the stream of events is not available: there are no events `x`");
}
