//! The program itself: options, sockets, signals, what it leaves behind.
mod common;
use common::*;
use harness::secrets::Secrets;
use ipc::PeerEvent;
use ipc::change::{Apply, Target};
use ipc::status::{Request, Response, Status};
use std::io::{BufRead, BufReader, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command, Stdio};

struct Running(Child);
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}
fn start(dir: &Path, extra: &[&str]) -> Running {
    std::fs::write(dir.join("config.yaml"), CONFIG).unwrap();
    let mut key = Command::new(env!("CARGO_BIN_EXE_espway-slowpath"));
    key.arg("--config").arg(dir.join("config.yaml"));
    key.arg("--fastpath-socket").arg(dir.join("fast"));
    key.arg("--control-socket").arg(dir.join("slow"));
    key.args(["--log-level", "debug", "--log-file"]).arg(dir.join("slow.log"));
    key.args(["--vault-key-fd", "0"]).args(extra).stdin(Stdio::piped());
    let mut child = key.spawn().unwrap();
    child.stdin.take().unwrap().write_all(&KEY).unwrap();
    Running(child)
}
/// Everything that was logged, at the most talkative level but one, holds no secret.
fn expect_no_secret_in_logs(dir: &Path) {
    let mut secrets = Secrets::default();
    secrets.add("the pre-shared key", b"a secret for tests");
    secrets.add("the vault's key", &KEY[..16]);
    secrets.expect_none_in_logs(dir).unwrap();
    let log = std::fs::read_to_string(dir.join("slow.log")).unwrap();
    assert!(log.contains("ipsec,debug: peer=other sent IKE_SA_INIT request 0"), "{log}");
}
fn ask(dir: &Path, request: &Request) -> Option<Response> {
    let mut stream = UnixStream::connect(dir.join("slow")).ok()?;
    serde_json::to_writer(&mut stream, request).ok()?;
    stream.write_all(b"\n").ok()?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line).ok()?;
    serde_json::from_str(&line).ok()
}
/// Runs the fast path until it holds; a broken program ends the test, a slow one does not.
fn until(fast: &mut Fast, running: &mut Running, mut holds: impl FnMut(&mut Fast) -> bool) {
    loop {
        let event = fast.side.poll_peer();
        assert!(!matches!(event, Some(PeerEvent::Refused(_) | PeerEvent::Faulted(_))), "{event:?}");
        fast.turn();
        if holds(fast) {
            return;
        }
        if let Some(status) = running.0.try_wait().unwrap() {
            panic!("ended with {status}");
        }
        std::thread::yield_now();
    }
}
fn status(dir: &Path) -> Option<Status> {
    match ask(dir, &Request::Status { show_sensitive: false, at_most: None })? {
        Response::Status(status) => Some(*status),
        other => panic!("{other:?}"),
    }
}

#[test]
fn it_attaches_answers_survives_a_kill_and_stops_when_told() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let uid = rustix::process::getuid().as_raw();
    let mut running = start(dir, &[]);
    // First without a fast path: it answers all the same.
    let mut fast = Fast::new();
    until(&mut fast, &mut running, |_| status(dir).is_some_and(|s| !s.fastpath_attached));
    fast.side.listen(&dir.join("fast"), &[uid]).unwrap();
    until(&mut fast, &mut running, |f| f.policies.len() == 1);
    // It calls the peer: the IKE_SA_INIT request is on its way to the wire.
    until(&mut fast, &mut running, |f| f.done.contains(&"frame".to_owned()));
    let said = status(dir).unwrap();
    assert!(said.fastpath_attached && said.epoch == fast.side.epoch());
    assert_eq!((said.policies[0].peer.as_str(), said.policies[0].ph2_state.as_str()), ("other", "no-phase2"));
    assert_eq!(said.ports[0].name, "wan");

    // Nonsense on the status socket is answered and delays nobody.
    let mut silent = UnixStream::connect(dir.join("slow")).unwrap();
    silent.write_all(b"{\"status\"").unwrap();
    let mut rude = UnixStream::connect(dir.join("slow")).unwrap();
    rude.write_all(b"\xff\xfe{}\n").unwrap();
    let mut line = String::new();
    BufReader::new(&rude).read_line(&mut line).unwrap();
    assert!(line.contains("not understood"), "{line}");
    assert_eq!(ask(dir, &Request::LogLevel { filter: "debug".into(), peer: None }), Some(Response::Done));
    assert!(matches!(
        ask(dir, &Request::LogLevel { filter: "ike=[".into(), peer: None }),
        Some(Response::Error(_))
    ));

    running.0.kill().unwrap();
    running.0.wait().unwrap();
    let mut running = start(dir, &[]);
    fast.policies.clear();
    until(&mut fast, &mut running, |f| f.policies.len() == 1);
    let pid = rustix::process::Pid::from_child(&running.0);
    let signal = |signal| rustix::process::kill_process(pid, signal).unwrap();
    // A new policy comes with SIGHUP; a broken file changes nothing.
    let row = "      - {src-address: 10.1.0.0/16, dst-address: 10.3.0.0/16, action: discard}\n";
    std::fs::write(dir.join("config.yaml"), CONFIG.to_owned() + row).unwrap();
    signal(rustix::process::Signal::HUP);
    until(&mut fast, &mut running, |f| f.policies.len() == 2);
    std::fs::write(dir.join("config.yaml"), "system: [").unwrap();
    signal(rustix::process::Signal::HUP);
    until(&mut fast, &mut running, |_| status(dir).is_some_and(|s| s.policies.len() == 2));
    signal(rustix::process::Signal::TERM);
    assert!(running.0.wait().unwrap().success());
    assert!(!dir.join("slow").exists());

    let mut running = start(dir, &[]);
    fast.policies.clear();
    until(&mut fast, &mut running, |f| f.policies.len() == 1);
    let mut answered = None;
    until(&mut fast, &mut running, |_| {
        answered = ask(dir, &Request::Shutdown);
        answered.is_some()
    });
    assert_eq!(answered, Some(Response::Done));
    while running.0.try_wait().unwrap().is_none() {
        fast.side.poll_peer();
        fast.turn();
        std::thread::yield_now();
    }
    assert!(running.0.wait().unwrap().success());
    expect_no_secret_in_logs(dir);
}
fn apply(to: Target, confirm: Option<u64>) -> Request {
    let (dry_run, who, comment) = (false, "tester".into(), String::new());
    Request::Apply(Box::new(Apply {
        to,
        dry_run,
        confirm,
        who,
        comment,
        without_rights: false,
        safe_mode: None,
    }))
}

#[test]
fn changes_are_answered_when_they_are_in_force_and_come_back_when_nobody_confirms() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let history = dir.join("state/history");
    let mut running = start(dir, &["--history", history.to_str().unwrap()]);
    let mut fast = Fast::new();
    fast.side.listen(&dir.join("fast"), &[rustix::process::getuid().as_raw()]).unwrap();
    until(&mut fast, &mut running, |f| f.policies.len() == 1);
    let row = "      - {src-address: 10.1.0.0/16, dst-address: 10.3.0.0/16, action: discard}\n";
    let more = CONFIG.to_owned() + row;
    let Some(Response::Changed(plan)) = ask(dir, &apply(Target::Text(more.clone()), None)) else {
        panic!("refused")
    };
    assert_eq!((plan.changes.len(), plan.entry), (1, 2), "{plan:?}");
    assert_eq!(std::fs::read_to_string(dir.join("config.yaml")).unwrap(), more);
    until(&mut fast, &mut running, |f| f.policies.len() == 2);
    // A fault, and what only a restart can change: nothing happens.
    let wrong = more.replace("profile: p}", "profile: q}");
    let Some(Response::Refused(refused)) = ask(dir, &apply(Target::Text(wrong), None)) else {
        panic!("taken")
    };
    assert!(refused.complaints.iter().any(|line| line.contains("there is no profile `q`")), "{refused:?}");
    let ports =
        more.replace("name: wan, device", "name: lan, device").replace("interface: wan", "interface: lan");
    let Some(Response::Refused(refused)) = ask(dir, &apply(Target::Text(ports), None)) else {
        panic!("taken")
    };
    assert!(
        refused.said.contains("interface wan, interface lan cannot be changed while the gateway runs"),
        "{refused:?}"
    );
    // Back by number, and back by itself.
    assert!(matches!(ask(dir, &apply(Target::Entry(1), None)), Some(Response::Changed(_))));
    until(&mut fast, &mut running, |f| f.policies.len() == 1);
    assert!(matches!(ask(dir, &apply(Target::Text(more), Some(1))), Some(Response::Changed(_))));
    until(&mut fast, &mut running, |f| f.policies.len() == 2);
    until(&mut fast, &mut running, |f| f.policies.len() == 1);
    assert!(matches!(ask(dir, &Request::Confirm), Some(Response::Refused(_))), "too late");
    let Some(Response::History(entries)) = ask(dir, &Request::History) else { panic!("no history") };
    let who: Vec<_> = entries.iter().map(|e| e.who.as_str()).collect();
    assert_eq!(who, ["start", "tester", "tester", "tester", "commit-confirm"]);
    let Some(Response::Configuration(text)) = ask(dir, &Request::Configuration { entry: None }) else {
        panic!()
    };
    assert_eq!(text.0, CONFIG);
    // What the fast path refuses is taken back.
    fast.refuse_policies = Some(ipc::Refusal::Full);
    let row = "      - {src-address: 10.1.0.0/16, dst-address: 10.4.0.0/16, action: discard}\n";
    assert!(matches!(
        ask(dir, &apply(Target::Text(CONFIG.to_owned() + row), None)),
        Some(Response::Changed(_))
    ));
    until(&mut fast, &mut running, |f| {
        f.refuse_policies = f.refuse_policies.filter(|_| f.refused == 0);
        std::fs::read_to_string(dir.join("config.yaml")).unwrap() == CONFIG
    });
    until(&mut fast, &mut running, |f| f.policies.len() == 1);
    expect_no_secret_in_logs(dir);
}

#[test]
fn logs_follow_rows_levels_and_topics_and_can_be_read() {
    let dir = tempfile::tempdir().unwrap();
    let dir = dir.path();
    let mut running = start(dir, &["--history", dir.join("history").to_str().unwrap()]);
    let rows = "log:\n  - {topics: \"system,info\", action: memory, prefix: sys}\n  - {topics: ipsec, action: memory}\n";
    let mut fast = Fast::new();
    fast.side.listen(&dir.join("fast"), &[rustix::process::getuid().as_raw()]).unwrap();
    until(&mut fast, &mut running, |f| f.done.contains(&"frame".to_owned()));
    std::fs::write(dir.join("config.yaml"), CONFIG.to_owned() + rows).unwrap();
    assert!(matches!(ask(dir, &apply(Target::File, None)), Some(Response::Changed(_))));
    let level = |filter: &str, peer: Option<&str>| {
        ask(dir, &Request::LogLevel { filter: filter.into(), peer: peer.map(str::to_owned) })
    };
    assert_eq!(level("info", None), Some(Response::Done));
    assert_eq!(level("error", Some("other")), Some(Response::Done));
    assert!(matches!(level("silent", Some("other")), Some(Response::Error(e)) if e.contains("silent")));
    let entries = |after| match ask(dir, &Request::Log { after }) {
        Some(Response::Log(entries)) => entries,
        other => panic!("{other:?}"),
    };
    let told = entries(0);
    let has =
        |topics: &str, words: &str| told.iter().any(|e| e.topics == topics && e.message.contains(words));
    assert!(has("ipsec,debug", "peer=other sent IKE_SA_INIT request 0 [SA("), "{told:#?}");
    assert!(has("system,info", "sys: the configuration is in force"), "{told:#?}");
    assert!(entries(told.last().unwrap().id).len() < told.len());
    // Nothing has failed yet: the peer has a minute to answer.
    assert_eq!(ask(dir, &Request::Diagnosis { peer: None, clear: true }), Some(Response::Diagnosis(vec![])));
}

#[test]
fn what_is_wrong_at_the_start_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let run = |config: &str, key: &[u8]| {
        std::fs::write(dir.path().join("c"), config).unwrap();
        let mut child = Command::new(env!("CARGO_BIN_EXE_espway-slowpath"))
            .args(["--config", "c", "--fastpath-socket", "f", "--control-socket", "s", "--vault-key-fd", "0"])
            .current_dir(dir.path())
            .stdin(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        child.stdin.take().unwrap().write_all(key).unwrap();
        let output = child.wait_with_output().unwrap();
        assert!(!output.status.success());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert!(run(CONFIG, &[1; 31]).contains("gave 31 bytes, a vault key has 32"));
    assert!(run("ip: {adress: []}", &KEY).contains("adress"));
}
