//! REST of the program itself: a real process, its Unix socket, and TLS.
mod common;
use common::*;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

const SOON: Duration = Duration::from_secs(20);

struct Running(Child);
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
fn start(dir: &Path, config: &str) -> Running {
    std::fs::write(dir.join("config.yaml"), config).expect("written");
    let mut program = Command::new(env!("CARGO_BIN_EXE_espway-slowpath"));
    program.arg("--config").arg(dir.join("config.yaml"));
    program.arg("--fastpath-socket").arg(dir.join("fast"));
    program.arg("--control-socket").arg(dir.join("slow"));
    program.arg("--history").arg(dir.join("history"));
    program.args(["--vault-key-fd", "0"]).stdin(Stdio::piped());
    let mut child = program.spawn().expect("a process");
    child.stdin.take().expect("a pipe").write_all(&KEY).expect("the key");
    let running = Running(child);
    wait(|| UnixStream::connect(dir.join("api.sock")).ok());
    running
}
fn wait<T>(mut there: impl FnMut() -> Option<T>) -> T {
    let end = Instant::now() + SOON;
    loop {
        if let Some(it) = there() {
            return it;
        }
        assert!(Instant::now() < end, "it does not come");
        std::thread::sleep(Duration::from_millis(20));
    }
}

struct Said {
    status: u16,
    head: String,
    body: Value,
}
impl Said {
    fn header(&self, name: &str) -> Option<&str> {
        let lines = self.head.lines().filter_map(|line| line.split_once(": "));
        lines.into_iter().find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value)
    }
}
fn raw(dir: &Path, text: &[u8]) -> Said {
    let mut stream = UnixStream::connect(dir.join("api.sock")).expect("it listens");
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    let _ = stream.write_all(text); // it may have closed already
    read(stream)
}
fn read(stream: impl Read) -> Said {
    let mut stream = BufReader::new(stream);
    let mut head = String::new();
    while stream.read_line(&mut head).is_ok_and(|n| n > 2) {}
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or_default();
    let mut body = Vec::new();
    if head.to_lowercase().contains("transfer-encoding: chunked") {
        loop {
            let mut size = String::new();
            stream.read_line(&mut size).expect("a chunk");
            let size = usize::from_str_radix(size.trim(), 16).expect("a size");
            let mut chunk = vec![0; size + 2];
            stream.read_exact(&mut chunk).expect("a chunk");
            if size == 0 {
                break;
            }
            body.extend_from_slice(&chunk[..size]);
        }
    } else {
        let _ = stream.read_to_end(&mut body);
    }
    Said { status, head, body: serde_json::from_slice(&body).unwrap_or(Value::Null) }
}
fn text(method: &str, path: &str, headers: &str, body: &Value) -> String {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let kind = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
    format!(
        "{method} /rest{path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{kind}{headers}content-length: {}\r\n\r\n{body}",
        body.len()
    )
}
fn ask(dir: &Path, method: &str, path: &str, headers: &str, body: Value) -> Said {
    raw(dir, text(method, path, headers, &body).as_bytes())
}
fn get(dir: &Path, path: &str) -> Value {
    let said = ask(dir, "GET", path, "", Value::Null);
    assert_eq!(said.status, 200, "{path}: {}", said.body);
    said.body
}

#[test]
fn a_running_gateway_is_read_and_changed() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let _running = start(dir, CONFIG);
    let mut fast = Fast::new();
    fast.side.listen(&dir.join("fast"), &[rustix::process::getuid().as_raw()]).expect("it listens");
    wait(|| {
        fast.side.poll_peer();
        fast.turn();
        (fast.policies.len() == 1).then_some(())
    });
    let peers = get(dir, "/ip/ipsec/peer");
    assert_eq!(
        (&peers[0]["name"], &peers[0]["port"], &peers[0]["responder"]),
        (&json!("other"), &json!(500), &json!(false))
    );
    let policies = get(dir, "/ip/ipsec/policy?dynamic=false");
    let policy =
        policies.as_array().expect("rows").iter().find(|row| row["template"] == false).expect("ours");
    assert_eq!((&policy["ph2-state"], &policy["active"]), (&json!("no-phase2"), &json!(false)));
    assert_eq!(get(dir, "/ip/ipsec/identity")[0]["secret"], "***");
    assert_eq!(get(dir, "/ip/ipsec/identity?show-sensitive=true")[0]["secret"], "a secret for tests");
    assert_eq!(get(dir, "/interface")[0]["running"], true);
    assert_eq!(get(dir, "/ip/ipsec/statistics")["in-no-states"], 0);
    assert_eq!(get(dir, "/ip/ipsec/installed-sa"), json!([]));
    // It calls the peer, who does not answer.
    let active =
        wait(|| get(dir, "/ip/ipsec/active-peers").as_array().filter(|rows| !rows.is_empty()).cloned());
    assert_eq!((&active[0]["peer"], &active[0]["side"]), (&json!("other"), &json!("initiator")));

    // Planned, then done; the others' numbers stay.
    let id = peers[0][".id"].as_str().expect("one").to_owned();
    let row = json!({"src-address": "10.1.0.0/16", "dst-address": "10.3.0.0/16", "action": "discard"});
    let dry = ask(dir, "PUT", "/ip/ipsec/policy?dry-run=true", "", row.clone());
    assert_eq!((dry.status, dry.body["plan"]["changes"].as_array().map(Vec::len)), (200, Some(1)));
    let made = ask(dir, "PUT", "/ip/ipsec/policy?note=more", "x-who: ann\r\n", row);
    assert_eq!((made.status, &made.body["active"], made.header("x-entry")), (201, &json!(true), Some("2")));
    wait(|| {
        fast.side.poll_peer();
        fast.turn();
        (fast.policies.len() == 2).then_some(())
    });
    let text = std::fs::read_to_string(dir.join("config.yaml")).expect("there");
    assert!(text.contains("10.3.0.0/16"), "{text}");
    let history = get(dir, "/system/history");
    assert_eq!((&history[1]["who"], &history[1]["comment"]), (&json!("ann"), &json!("more")));
    assert_eq!(get(dir, "/ip/ipsec/peer")[0][".id"], json!(id));
    // What the check refuses changes nothing and is said with the object.
    let wrong = ask(dir, "PATCH", &format!("/ip/ipsec/peer/{id}"), "", json!({"profile": "q"}));
    assert_eq!(
        (wrong.status, &wrong.body["path"], &wrong.body["property"]),
        (422, &json!("ip ipsec peer other"), &json!("profile"))
    );
    assert_eq!(wrong.header("content-type"), Some("application/problem+json"));
    let restart = ask(dir, "PATCH", "/system", "", json!({"workers": 2}));
    assert_eq!(restart.status, 422, "{}", restart.body);
    // Two at once: the second has seen too little.
    let etag = ask(dir, "GET", "/ip/ipsec/peer", "", Value::Null).header("etag").expect("one").to_owned();
    let change = |comment: &str| {
        ask(
            dir,
            "PATCH",
            "/ip/ipsec/peer/other",
            &format!("if-match: {etag}\r\n"),
            json!({"comment": comment}),
        )
    };
    let first = change("first");
    assert_eq!((first.status, &first.body["comment"]), (200, &json!("first")));
    let second = change("second");
    assert_eq!(second.status, 412);
    assert!(
        second.body["complaints"][0].as_str().is_some_and(|line| line.contains("first")),
        "{}",
        second.body
    );
    // Back, and commands.
    let back = ask(dir, "POST", "/system/rollback", "", json!({"entry": 1}));
    assert_eq!(back.status, 200, "{}", back.body);
    let peers = get(dir, "/ip/ipsec/peer");
    assert_eq!((&peers[0][".id"], &peers[0]["comment"]), (&json!(id), &json!("")));
    for command in ["active-peers/kill-connections", "installed-sa/flush"] {
        assert_eq!(ask(dir, "POST", &format!("/ip/ipsec/{command}"), "", json!({})).status, 200, "{command}");
    }
    assert_eq!(ask(dir, "POST", "/ip/ipsec/active-peers/remove", "", json!({".id": "*1"})).status, 404);
    assert_eq!(get(dir, "/openapi.json")["openapi"], "3.1.0");
    let packet = json!({"src": "10.1.0.5", "dst": "10.2.0.7", "protocol": "tcp", "dst-port": 443});
    let explained = ask(dir, "POST", "/tool/explain", "", packet);
    assert_eq!(explained.status, 200, "{}", explained.body);
    let way = &explained.body["explanation"]["ways"][0];
    assert_eq!((&way["policy"]["peer"], &way["drop-reason"]), (&json!("other"), &json!("no-sa")), "{way}");
    for wrong in [
        json!({}),
        json!({"src": "10.1.0.5", "dst": "fd00::1", "protocol": "tcp"}),
        json!({"src": "10.1.0.5", "dst": "10.2.0.7", "protocol": "tpc"}),
        json!({"src": "10.1.0.5", "dst": "10.2.0.7", "protocol": "tcp", "colour": "red"}),
    ] {
        assert_eq!(ask(dir, "POST", "/tool/explain", "", wrong).status, 400);
    }
    let metrics = raw(dir, b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n");
    assert_eq!(metrics.status, 200);
    assert!(
        metrics.header("content-type").is_some_and(|kind| kind.contains("openmetrics")),
        "{}",
        metrics.head
    );
}

#[test]
fn g5_what_is_done_in_safe_mode_goes_with_its_stream() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let running = start(dir, CONFIG);
    let open = || {
        let mut stream = UnixStream::connect(dir.join("api.sock")).expect("it listens");
        stream.write_all(b"GET /rest/system/safe-mode HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
        let mut lines = BufReader::new(stream.try_clone().expect("the same")).lines();
        let data = lines.find_map(|line| line.expect("a line").strip_prefix("data: ").map(str::to_owned));
        let token: Value = serde_json::from_str(&data.expect("an event")).expect("JSON");
        (stream, token["token"].as_str().expect("a token").to_owned())
    };
    let comment = || get(dir, "/ip/ipsec/peer/other")["comment"].clone();
    let change = |token: &str, text: &str| {
        let header = if token.is_empty() { String::new() } else { format!("safe-mode: {token}\r\n") };
        ask(dir, "PATCH", "/ip/ipsec/peer/other", &header, json!({"comment": text})).status
    };
    let (stream, token) = open();
    assert_eq!((change(&token, "one"), change(&token, "two")), (200, 200));
    assert_eq!(comment(), "two");
    assert_eq!(change("", "somebody else"), 409);
    assert_eq!(change("0123", "a wrong token"), 409);
    drop(stream);
    wait(|| (comment() == "").then_some(()));
    assert_eq!(change(&token, "too late"), 409);
    // Released, it stays.
    let (stream, token) = open();
    assert_eq!(change(&token, "kept"), 200);
    let release =
        ask(dir, "POST", "/system/safe-mode/release", &format!("safe-mode: {token}\r\n"), json!({}));
    assert_eq!(release.status, 200, "{}", release.body);
    drop(stream);
    assert_eq!(change("", "and more"), 200);
    assert_eq!(comment(), "and more");
    // The gateway itself dies meanwhile.
    let (_stream, token) = open();
    assert_eq!(change(&token, "half done"), 200);
    drop(running);
    let _running = start(dir, &std::fs::read_to_string(dir.join("config.yaml")).expect("there"));
    wait(|| (comment() == "and more").then_some(()));
}

#[test]
fn g6_hostile_requests_are_answered_and_hold_up_nobody() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let _running = start(dir, CONFIG);
    let request = |line: &str, rest: &str| {
        raw(dir, format!("{line} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n{rest}").as_bytes())
    };
    for (line, rest, status) in [
        ("GET /rest/../etc/passwd", "\r\n", 404),
        ("GET /rest/ip/ipsec/%2e%2e/peer", "\r\n", 404),
        ("GET /rest/ip/ipsec/peer/%00", "\r\n", 404),
        ("GET /etc/passwd", "\r\n", 404),
        ("TRACE /rest/ip/ipsec/peer", "\r\n", 405),
        ("DELETE /rest/ip/ipsec/peer", "\r\n", 405),
        (
            "PUT /rest/ip/ipsec/peer",
            "content-length: 1073741824\r\ncontent-type: application/json\r\n\r\n",
            413,
        ),
        ("PUT /rest/ip/ipsec/peer", "content-type: text/plain\r\ncontent-length: 2\r\n\r\n{}", 415),
        (
            "PUT /rest/ip/ipsec/peer",
            "content-type: application/json\r\ncontent-length: 9\r\n\r\n{\"a\":1,,}",
            400,
        ),
        ("PUT /rest/ip/ipsec/peer", "content-length: 3\r\ncontent-length: 5\r\n\r\nabcde", 400),
        ("PUT /rest/ip/ipsec/peer", "origin: https://evil.example\r\ncontent-length: 0\r\n\r\n", 403),
        ("GET /rest/ip/ipsec/peer?token=abc", "\r\n", 200),
        ("NONSENSE", "\r\n", 400),
    ] {
        let said = request(line, rest);
        assert_eq!(said.status, status, "{line} {rest:?}: {}", said.body);
    }
    let deep =
        format!("content-type: application/json\r\ncontent-length: 100000\r\n\r\n{}", "[".repeat(100_000));
    assert_eq!(request("POST /rest/ip/ipsec/peer/print", &deep).status, 400);
    let twice = "content-type: application/json\r\ncontent-length: 17\r\n\r\n{\"a\":\"1\",\"a\":\"2\"}";
    assert_eq!(request("PUT /rest/ip/ipsec/peer", twice).status, 400);
    let long = format!("x-long: {}\r\n\r\n", "a".repeat(100_000));
    assert!([0, 400, 431].contains(&request("GET /rest/ip/ipsec/peer", &long).status));
    // Slow ones, and too many of them: the others are answered at once, and the driver goes on.
    let slow: Vec<_> = (0..200)
        .filter_map(|_| {
            let mut stream = UnixStream::connect(dir.join("api.sock")).ok()?;
            stream.write_all(b"PUT /rest/ip/ipsec/peer HTTP/1.1\r\n").ok()?;
            Some(stream)
        })
        .collect();
    assert!(slow.len() > 64);
    let mut control = UnixStream::connect(dir.join("slow")).expect("it listens");
    let began = Instant::now();
    control.write_all(b"\"history\"\n").expect("sent");
    let mut line = String::new();
    BufReader::new(control).read_line(&mut line).expect("an answer");
    assert!(line.contains("history") && began.elapsed() < Duration::from_secs(2), "{line}");
    drop(slow);
    wait(|| (ask(dir, "GET", "/ip/ipsec/peer", "", Value::Null).status == 200).then_some(()));
}

#[test]
fn g7_what_others_wrote_is_text_and_other_pages_do_not_speak_for_us() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let _running = start(dir, CONFIG);
    let script = "<script>alert(1)</script>\"'`\u{202e}\u{2028}";
    for text in [script.to_owned(), "x".repeat(10_240), "<b>".repeat(1000)] {
        let said = ask(dir, "PATCH", "/ip/ipsec/peer/other", "", json!({"comment": text}));
        assert_eq!((said.status, &said.body["comment"]), (200, &json!(text)), "{}", said.body);
        let shown = ask(dir, "GET", "/ip/ipsec/peer/other", "accept: text/html\r\n", Value::Null);
        assert_eq!(shown.body["comment"], json!(text));
        // Nothing a browser could take for a page, frame, run or keep.
        assert_eq!(shown.header("content-type"), Some("application/json"));
        assert_eq!(shown.header("x-content-type-options"), Some("nosniff"));
        assert_eq!(
            shown.header("content-security-policy"),
            Some("default-src 'none'; frame-ancestors 'none'")
        );
        assert_eq!((shown.header("cache-control"), shown.header("set-cookie")), (Some("no-store"), None));
        assert_eq!(shown.header("access-control-allow-origin"), None);
    }
    let named = json!({"name": script, "address": "192.0.2.7", "profile": "p", "exchange-mode": "ike2"});
    assert_eq!(ask(dir, "PUT", "/ip/ipsec/peer", "", named).status, 400);
    let lost = ask(dir, "GET", "/%3Cscript%3E", "", Value::Null);
    assert_eq!((lost.status, lost.header("content-type")), (404, Some("application/problem+json")));
    // A form or a script of another page, with everything a browser would let it say.
    for header in [
        "origin: https://evil.example\r\n",
        "origin: null\r\n",
        "sec-fetch-site: cross-site\r\n",
        "sec-fetch-site: same-site\r\n",
    ] {
        let posted = ask(dir, "POST", "/ip/ipsec/peer/disable", header, json!({".id": "other"}));
        assert_eq!(posted.status, 403, "{header}");
    }
    let form = "POST /rest/ip/ipsec/peer/disable HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
        content-type: application/x-www-form-urlencoded\r\ncontent-length: 9\r\n\r\n.id=other";
    assert_eq!(raw(dir, form.as_bytes()).status, 415);
    assert_eq!(get(dir, "/ip/ipsec/peer/other")["disabled"], false);
}

/// What people send to others when something is wrong: all menus, exports, metrics, log.
#[test]
fn g12_what_is_sent_to_others_holds_no_secret() {
    const TOKEN: &str = "a token that is nobody's business";
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let _running = start(dir, CONFIG);
    let user = json!({"name": "ann", "token": TOKEN, "roles": "read"});
    assert_eq!(ask(dir, "PUT", "/system/api/user", "", user).status, 201);
    let other =
        ask(dir, "PATCH", "/ip/ipsec/identity/*1", "", json!({"secret": "the second secret for tests"}));
    assert_eq!(other.status, 200, "{}", other.body);
    let mut bundle = Vec::new();
    let document = get(dir, "/openapi.json");
    let paths = document["paths"].as_object().expect("paths");
    for (path, calls) in paths {
        let is_stream = calls["get"]["responses"]["200"]["content"].get("text/event-stream").is_some();
        if calls.get("get").is_some() && !path.contains('{') && !is_stream {
            let said = ask(dir, "GET", path, "", Value::Null);
            assert!([200, 501].contains(&said.status), "{path}: {}", said.body);
            bundle.push((path.clone(), said.body.to_string()));
        }
    }
    assert!(bundle.len() > 20 && bundle.iter().any(|(path, _)| path == "/system/history"));
    for format in ["routeros", "yaml", "json"] {
        let said =
            ask(dir, "POST", "/export", "", json!({"format": format, "verbose": format == "routeros"}));
        assert_eq!(said.status, 200, "{}", said.body);
        bundle.push((format.into(), said.body.to_string()));
    }
    let mut metrics = UnixStream::connect(dir.join("api.sock")).expect("it listens");
    metrics.write_all(b"GET /metrics HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").expect("sent");
    let mut text = String::new();
    metrics.read_to_string(&mut text).expect("text");
    bundle.push(("metrics".into(), text));
    for (what, text) in &bundle {
        for secret in [TOKEN, "secret for tests"] {
            assert!(!text.contains(secret), "{what}: {text}");
        }
    }
    // Asked for, they are there: the search looks for the right words.
    let shown =
        ask(dir, "POST", "/export", "", json!({"format": "yaml", "show-sensitive": true})).body.to_string();
    assert!(shown.contains(TOKEN) && shown.contains("the second secret for tests"));
}

#[test]
fn g11_logs_go_to_another_machine_a_line_each() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let _running = start(dir, CONFIG);
    let there = std::net::UdpSocket::bind("127.0.0.1:0").expect("a port");
    there.set_read_timeout(Some(SOON)).expect("a timeout");
    let port = there.local_addr().expect("bound").port();
    let early = ask(dir, "PUT", "/system/logging", "", json!({"topics": "info", "action": "remote"}));
    assert_eq!(early.status, 422, "nobody knows where to: {}", early.body);
    let to = json!({"remote": "127.0.0.1", "remote-port": port, "syslog-facility": "local0"});
    let said = ask(dir, "PATCH", "/system/logging/action/remote", "", to);
    assert_eq!(said.status, 200, "{}", said.body);
    let row = json!({"topics": "info", "action": "remote", "prefix": "gw"});
    let said = ask(dir, "PUT", "/system/logging", "", row);
    assert_eq!(said.status, 201, "{}", said.body);
    let comment = json!({"comment": "one\n<0>1 another"});
    assert_eq!(ask(dir, "PATCH", "/ip/ipsec/peer/other?note=a%0Ab", "", comment).status, 200);
    let mut bytes = [0; 4096];
    wait(|| {
        let length = there.recv(&mut bytes).expect("a message");
        let text = std::str::from_utf8(&bytes[..length]).expect("text");
        assert!(text.starts_with("<134>1 20") && text.contains(" t espway "), "{text:?}");
        assert!(text.contains("info: gw: ") && !text.contains(char::is_control), "{text:?}");
        text.contains("comment").then_some(())
    });
    // Nobody is there any more: everything goes on.
    drop(there);
    for n in 0..20 {
        let comment = json!({"comment": n.to_string()});
        assert_eq!(ask(dir, "PATCH", "/ip/ipsec/peer/other", "", comment).status, 200);
    }
}

type Certificate = (openssl::x509::X509, openssl::pkey::PKey<openssl::pkey::Private>);

/// A key and a certificate for 127.0.0.1, by this authority or by itself, as PEM files.
fn certificate(dir: &Path, file: &str, name: &str, by: Option<&Certificate>) -> Certificate {
    use openssl::asn1::Asn1Time;
    use openssl::ec::{EcGroup, EcKey};
    use openssl::hash::MessageDigest;
    use openssl::nid::Nid;
    use openssl::pkey::PKey;
    use openssl::x509::extension::{BasicConstraints, SubjectAlternativeName};
    use openssl::x509::{X509, X509Name};
    let group = EcGroup::from_curve_name(Nid::X9_62_PRIME256V1).expect("a curve");
    let key = PKey::from_ec_key(EcKey::generate(&group).expect("a key")).expect("a key");
    let mut subject = X509Name::builder().expect("a name");
    subject.append_entry_by_text("CN", name).expect("a name");
    let subject = subject.build();
    let mut made = X509::builder().expect("one");
    made.set_version(2).expect("3");
    made.set_subject_name(&subject).expect("set");
    made.set_issuer_name(by.map_or(&subject, |(issuer, _)| issuer.subject_name())).expect("set");
    made.set_pubkey(&key).expect("set");
    made.set_not_before(&Asn1Time::days_from_now(0).expect("now")).expect("set");
    made.set_not_after(&Asn1Time::days_from_now(1).expect("tomorrow")).expect("set");
    let names = SubjectAlternativeName::new().ip("127.0.0.1").build(&made.x509v3_context(None, None));
    made.append_extension(names.expect("names")).expect("set");
    if file.starts_with("ca") {
        made.append_extension(BasicConstraints::new().critical().ca().build().expect("a CA")).expect("set");
    }
    made.sign(by.map_or(&key, |(_, key)| key), MessageDigest::sha256()).expect("signed");
    let made = made.build();
    std::fs::write(dir.join(format!("{file}.pem")), made.to_pem().expect("PEM")).expect("written");
    let pem = key.private_key_to_pem_pkcs8().expect("PEM");
    std::fs::write(dir.join(format!("{file}.key")), pem).expect("written");
    (made, key)
}
/// `None`: nobody listens. Status 0: they hung up.
fn over_tls(dir: &Path, port: u16, client: Option<&Certificate>, request: &str) -> Option<Said> {
    use openssl::ssl::{SslConnector, SslMethod};
    let mut connector = SslConnector::builder(SslMethod::tls_client()).expect("TLS");
    connector.set_ca_file(dir.join("cert.pem")).expect("the certificate");
    if let Some((certificate, key)) = client {
        connector.set_certificate(certificate).expect("set");
        connector.set_private_key(key).expect("set");
    }
    let stream = std::net::TcpStream::connect(("127.0.0.1", port)).ok()?;
    stream.set_read_timeout(Some(SOON)).expect("a timeout");
    let mut stream = connector.build().connect("127.0.0.1", stream).expect("a handshake");
    let _ = stream.write_all(request.as_bytes()); // with TLS 1.3 a refusal comes after our part of the handshake
    Some(read(stream))
}
fn free_port() -> u16 {
    let probe = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    probe.local_addr().expect("bound").port()
}

#[test]
fn g6_a_client_certificate_says_who_and_what() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    certificate(dir, "cert", "gateway", None);
    let (ca, other_ca) =
        (certificate(dir, "ca", "our CA", None), certificate(dir, "ca-other", "our CA", None));
    let robot = certificate(dir, "robot", "robot.example", Some(&ca));
    let unknown = certificate(dir, "unknown", "unknown.example", Some(&ca));
    let forged = certificate(dir, "forged", "robot.example", Some(&other_ca));
    let _running = start(dir, CONFIG);
    let port = free_port();
    let user = json!({"name": "robot", "certificate-name": "robot.example", "roles": "read"});
    assert_eq!(ask(dir, "PUT", "/system/api/user", "", user).status, 201);
    let listen = json!({"enabled": true, "port": port, "certificate-file": dir.join("cert.pem"),
        "key-file": dir.join("cert.key"), "client-ca-file": dir.join("ca.pem")});
    let said = ask(dir, "PATCH", "/system/api", "", listen);
    assert_eq!(said.status, 200, "{}", said.body);
    let remote = |client: Option<&Certificate>, method: &str, body: Value| {
        let path = if method == "GET" { "/ip/ipsec/peer" } else { "/ip/ipsec/peer/other" };
        wait(|| over_tls(dir, port, client, &text(method, path, "", &body)))
    };
    assert_eq!(remote(Some(&robot), "GET", Value::Null).body[0]["name"], "other");
    // Its role holds.
    assert_eq!(remote(Some(&robot), "PATCH", json!({"comment": "x"})).status, 403);
    let more = ask(dir, "PATCH", "/system/api/user/robot", "", json!({"roles": "read,write"}));
    assert_eq!(more.status, 200, "{}", more.body);
    assert_eq!(remote(Some(&robot), "PATCH", json!({"comment": "by a robot"})).status, 200);
    let history = get(dir, "/system/history");
    assert_eq!(history.as_array().and_then(|rows| rows.last()).expect("one")["who"], "robot@127.0.0.1");
    // Nobody's name, none at all, and the right name by the wrong CA, which does not get through the handshake.
    assert_eq!(remote(Some(&unknown), "GET", Value::Null).status, 401);
    assert_eq!(remote(None, "GET", Value::Null).status, 401);
    assert_eq!(remote(Some(&forged), "GET", Value::Null).status, 0);
    assert_eq!(remote(Some(&robot), "GET", Value::Null).status, 200);
}

#[test]
fn a_failed_negotiation_is_a_row_and_an_event() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let _running = start(dir, CONFIG);
    let mut events = UnixStream::connect(dir.join("api.sock")).expect("it listens");
    events.set_read_timeout(Some(SOON)).expect("a timeout");
    events.write_all(b"GET /rest/events HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
    // What is there before it begins would be no event.
    let mut lines = BufReader::new(events).lines().map(|line| line.expect("a line"));
    lines.find(|line| line == "event: ready").expect("it begins");
    let mut fast = Fast::new();
    fast.side.listen(&dir.join("fast"), &[rustix::process::getuid().as_raw()]).expect("it listens");
    // Nobody answers us while it waits for the fast path's hand-over.
    wait(|| fast.side.poll_peer());
    // The peer wants none of what we offer.
    let rows = wait(|| {
        fast.side.poll_peer();
        for (meta, request) in fast.turn() {
            let mut refusal = request[..8].to_vec();
            refusal.extend([0, 0, 0, 0, 0, 0, 0, 7, 41, 0x20, 34, 0x20, 0, 0, 0, 0, 0, 0, 0, 36]);
            refusal.extend([0, 0, 0, 8, 0, 0, 0, 14]);
            fast.side.frame_to_slow(&meta, &refusal);
        }
        let rows = get(dir, "/ip/ipsec/diagnosis");
        rows.as_array().filter(|rows| !rows.is_empty()).cloned()
    });
    let row = &rows[0];
    assert_eq!((&row["peer"], &row["exchange"]), (&json!("other"), &json!("IKE_SA_INIT")), "{row}");
    for property in ["cause", "ours", "tell-them"] {
        assert!(row[property].as_str().is_some_and(|text| !text.is_empty()), "{property}: {row}");
    }
    let one = get(dir, &format!("/ip/ipsec/diagnosis/{}", row[".id"].as_str().expect("one")));
    assert_eq!(one["cause"], row["cause"]);
    assert_eq!(get(dir, "/ip/ipsec/diagnosis?peer=nobody"), json!([]));
    lines.find(|line| line == "event: diagnosis").expect("an event");
    let data = lines.find_map(|line| line.strip_prefix("data: ").map(str::to_owned)).expect("a row");
    assert_eq!(serde_json::from_str::<Value>(&data).expect("JSON")["peer"], "other");
    assert_eq!(ask(dir, "POST", "/ip/ipsec/diagnosis/clear", "", json!({})).status, 200);
}

#[test]
fn lines_of_the_fast_path_are_in_the_log_and_told_as_events() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    let _running = start(dir, CONFIG);
    let listen = |what: &str| {
        let mut events = UnixStream::connect(dir.join("api.sock")).expect("it listens");
        events.set_read_timeout(Some(SOON)).expect("a timeout");
        events
            .write_all(format!("GET /rest/events{what} HTTP/1.1\r\nhost: x\r\n\r\n").as_bytes())
            .expect("sent");
        let mut lines = BufReader::new(events).lines().map(|line| line.expect("a line"));
        lines.find(|line| line == "event: ready").expect("it begins");
        lines
    };
    let (mut lines, mut all) = (listen("?only=log"), listen(""));
    let said = ask(dir, "GET", "/events?only=logs", "", Value::Null);
    assert_eq!(
        (said.status, &said.body["fix"]),
        (400, &json!("there are: configuration, diagnosis, log, peers"))
    );

    let mut fast = UnixStream::connect(dir.join("log.sock")).expect("it listens");
    let line = json!({"run": 1, "id": 1, "at": 951_782_399_000_000_u64, "topics": "interface,warning",
        "message": "the link is down port=wan"});
    fast.write_all(format!("{line}\n").as_bytes()).expect("sent");
    lines.find(|line| line == "event: log").expect("an event");
    let rows = wait(|| {
        let rows = get(dir, "/log?topics=interface,warning");
        rows.as_array().filter(|rows| !rows.is_empty()).cloned()
    });
    assert_eq!(
        (&rows[0]["message"], &rows[0]["time"]),
        (&json!("the link is down port=wan"), &json!("2000-02-28 23:59:59"))
    );
    // Who did not ask for lines gets the change alone.
    assert_eq!(ask(dir, "PATCH", "/ip/ipsec/peer/other", "", json!({"comment": "x"})).status, 200);
    let first = all.find(|line| line.starts_with("event: ")).expect("an event");
    assert_eq!(first, "event: configuration");
    // What is no line is not taken, and nothing else suffers.
    drop(fast);
    let mut odd = UnixStream::connect(dir.join("log.sock")).expect("it listens");
    odd.write_all(b"hello\n").expect("sent");
    assert_eq!(odd.read(&mut [0; 1]).expect("closed"), 0);
    assert_eq!(get(dir, "/log?topics=interface,warning").as_array().map(Vec::len), Some(1));
}

#[test]
fn g6_over_tls_a_token_says_who_and_what() {
    let dir = tempfile::tempdir().expect("a folder");
    let dir = dir.path();
    certificate(dir, "cert", "gateway", None);
    let _running = start(dir, CONFIG);
    let port = free_port();
    // Users and the address to listen on come while it runs.
    for (name, token, roles) in [
        ("ann", "a token that ann keeps to herself", "read,write"),
        ("bob", "a token of bob's, who only looks", "read"),
    ] {
        let user = json!({"name": name, "token": token, "roles": roles});
        assert_eq!(ask(dir, "PUT", "/system/api/user", "", user).status, 201);
    }
    let listen = json!({"enabled": true, "port": port, "certificate-file": dir.join("cert.pem"), "key-file": dir.join("cert.key")});
    let said = ask(dir, "PATCH", "/system/api", "", listen);
    assert_eq!(said.status, 200, "{}", said.body);
    let remote = |method: &str, path: &str, token: &str, body: Value| {
        let header =
            if token.is_empty() { String::new() } else { format!("authorization: Bearer {token}\r\n") };
        wait(|| over_tls(dir, port, None, &text(method, path, &header, &body)))
    };
    let (ann, bob) = ("a token that ann keeps to herself", "a token of bob's, who only looks");
    let nobody = remote("GET", "/ip/ipsec/peer", "", Value::Null);
    assert_eq!((nobody.status, nobody.header("www-authenticate")), (401, Some("Bearer")));
    assert_eq!(
        remote("GET", "/ip/ipsec/peer?token=a+token+of+bob's,+who+only+looks", "", Value::Null).status,
        401
    );
    assert_eq!(remote("GET", "/ip/ipsec/peer", bob, Value::Null).body[0]["name"], "other");
    assert_eq!(remote("PATCH", "/ip/ipsec/peer/other", bob, json!({"comment": "x"})).status, 403);
    assert_eq!(remote("PATCH", "/ip/ipsec/peer/other", ann, json!({"comment": "by ann"})).status, 200);
    assert_eq!(remote("GET", "/ip/ipsec/identity?show-sensitive=true", ann, Value::Null).status, 403);
    let more =
        json!({"name": "eve", "token": "a token for eve made by ann", "roles": "read,write,sensitive"});
    assert_eq!(remote("PUT", "/system/api/user", ann, more).status, 403);
    let history = get(dir, "/system/history");
    let last = history.as_array().and_then(|rows| rows.last()).expect("one");
    assert_eq!(
        (&last["who"], last["changes"].as_str().is_some_and(|c| c.contains("by ann"))),
        (&json!("ann@127.0.0.1"), true)
    );
    assert!(!history.to_string().contains("keeps to herself"));
    // Whoever is taken out is out at once; guessing closes the door for everyone there.
    assert_eq!(ask(dir, "POST", "/system/api/user/disable", "", json!({".id": "bob"})).status, 200);
    assert_eq!(remote("GET", "/ip/ipsec/peer", bob, Value::Null).status, 401);
    for _ in 0..3 {
        assert_eq!(remote("GET", "/ip/ipsec/peer", "a guess", Value::Null).status, 401);
    }
    let closed = remote("GET", "/ip/ipsec/peer", ann, Value::Null);
    assert_eq!(closed.status, 429, "{}", closed.body);
    assert!(closed.header("retry-after").is_some_and(|seconds| seconds.parse::<u64>().is_ok_and(|n| n >= 1)));
    // Without TLS nobody is spoken to.
    let mut plain = std::net::TcpStream::connect(("127.0.0.1", port)).expect("it listens");
    plain.set_read_timeout(Some(SOON)).expect("a timeout");
    plain.write_all(b"GET /rest/ip/ipsec/peer HTTP/1.1\r\nhost: x\r\n\r\n").expect("sent");
    assert_ne!(read(plain).status, 200);
}
