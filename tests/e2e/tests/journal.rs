//! Logs in systemd's own journal, read back with journalctl, and the same events as JSON in a file.
use anyhow::{Context, Result, ensure};
use harness::espway::Binaries;
use harness::sys::{Signal, signal};
use harness::wait_until;
use serde_json::Value;
use std::fs;
use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::{Child, Command};
use std::time::Duration;

const SOON: Duration = Duration::from_secs(20);
const CONFIG: &str = r#"
system: {name: t, sa-slots: 64}
interface: [{name: wan, device: "null"}]
ip:
  address: [{address: 192.0.2.1/24, interface: wan}]
  ipsec:
    peer: [{name: west, address: 192.0.2.2, exchange-mode: ike2}]
    identity: [{peer: west, secret: nobody's business but ours}]
"#;
/// A journal of its own in a mount namespace of its own, and the slow path beside it.
const SCRIPT: &str = r#"
mount -t tmpfs none /run && mkdir -p /run/systemd/journal /run/log/journal || exit 1
/lib/systemd/systemd-journald > "$1/journald.out" 2>&1 &
journald=$!
while [ ! -S /run/systemd/journal/socket ]; do sleep 0.05; done
"$2" --config "$1/config.yaml" --fastpath-socket "$1/fast" --control-socket "$1/slow" --history "$1/history" \
    --log-level trace --log-json --log-file "$1/espway.json" --log-journald > "$1/stderr" 2>&1 &
echo $! > "$1/pid"
wait $!
cp -r /run/log/journal "$1/"
kill $journald
wait $journald
"#;

struct Running(Child);
impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill(); // it may be gone already
        let _ = self.0.wait();
    }
}
fn ask(dir: &Path, request: &str) -> Result<String> {
    let mut stream = UnixStream::connect(dir.join("api.sock"))?;
    stream.set_read_timeout(Some(SOON))?;
    stream.write_all(request.as_bytes())?;
    let mut text = String::new();
    stream.read_to_string(&mut text)?;
    Ok(text)
}

#[test]
fn events_are_in_the_journal_with_their_fields_and_in_a_file_as_json() -> Result<()> {
    let dir = tempfile::tempdir()?;
    let dir = dir.path();
    fs::write(dir.join("config.yaml"), CONFIG)?;
    let slowpath = Binaries::find()?.program("espway-slowpath");
    let mut shell = Command::new("unshare");
    shell.args(["--mount", "--propagation", "private", "sh", "-c", SCRIPT, "sh"]).arg(dir).arg(slowpath);
    let mut running = Running(shell.spawn().context("unshare")?);
    wait_until("the management socket", SOON, || Ok(UnixStream::connect(dir.join("api.sock")).map(drop)?))?;
    // What others wrote stays one entry, and one line: a name with a line's end and a made-up field in it.
    let body = r#"{"comment":"two\nPRIORITY=0\nlines"}"#;
    let said = ask(
        dir,
        &format!(
            "PATCH /rest/ip/ipsec/peer/west HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\
             content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        ),
    )?;
    ensure!(said.starts_with("HTTP/1.1 200"), "{said}");
    let pid: u32 = fs::read_to_string(dir.join("pid"))?.trim().parse()?;
    signal(pid, Signal::Terminate)?;
    ensure!(running.0.wait()?.code().is_some(), "the shell ended");

    let out = Command::new("journalctl")
        .args(["--no-pager", "-o", "json", "-D"])
        .arg(dir.join("journal"))
        .output()?;
    let text = String::from_utf8(out.stdout)?;
    let entries: Vec<Value> = text.lines().map(serde_json::from_str).collect::<Result<_, _>>()?;
    let ours: Vec<&Value> = entries.iter().filter(|e| e["_PID"] == pid.to_string().as_str()).collect();
    let file = fs::read_to_string(dir.join("espway.json"))?;
    let lines: Vec<Value> =
        file.lines().map(serde_json::from_str).collect::<Result<_, _>>().context("a line is JSON")?;
    ensure!(ours.len() >= 4 && lines.len() >= 4, "{text}\n{file}");
    ensure!(
        fs::read_to_string(dir.join("stderr"))?.is_empty(),
        "the journal takes the place of standard error"
    );
    // systemd's numbers: 4 is a warning, 5 what is worth a notice.
    for (level, priority) in [("WARN", "4"), ("INFO", "5")] {
        for line in lines
            .iter()
            .filter(|line| line["level"] == level && line["fields"].as_object().is_some_and(|f| f.is_empty()))
        {
            let same = ours.iter().find(|entry| entry["MESSAGE"] == line["message"]);
            let entry = same.with_context(|| format!("{line} is not in the journal: {text}"))?;
            ensure!(entry["PRIORITY"] == priority, "{line}: {entry}");
        }
    }
    let changed = ours.iter().find(|entry| entry.to_string().contains("PRIORITY=0"));
    let changed = changed.with_context(|| format!("no entry about the change: {text}"))?;
    ensure!(changed["PRIORITY"] != "0", "{changed}");
    let fields = changed.as_object().map_or(0, |e| e.keys().filter(|key| key.starts_with("ESPWAY_")).count());
    ensure!(fields > 0, "its fields have a prefix: {changed}");
    ensure!(
        !text.contains("nobody's business") && !file.contains("nobody's business"),
        "a secret is in the log"
    );
    Ok(())
}
