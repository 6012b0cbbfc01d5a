//! `espway console` as it is used: on a terminal, in a pipe, as one command.
use assert_cmd::Command;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Stdio};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

const FILE: &str = "\
system: {name: gw}
ip:
  ipsec:
    peer:
      - {name: site-b, address: 203.0.113.2, exchange-mode: ike2, comment: branch}
      - {name: site-c, address: 203.0.113.3, exchange-mode: ike2, disabled: yes}
    identity:
      - {peer: site-b, secret: correct horse}
      - {peer: site-c, secret: battery staple}
";

struct Run {
    ok: bool,
    out: String,
    err: String,
}
fn espway(folder: &Path, args: &[&str], input: &str) -> Run {
    let output = Command::new(env!("CARGO_BIN_EXE_espway"))
        .args(args)
        .current_dir(folder)
        .env("XDG_STATE_HOME", folder.join("state"))
        .write_stdin(input)
        .output()
        .expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    Run { ok: output.status.success(), out: text(&output.stdout), err: text(&output.stderr) }
}
fn folder() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("gw.yaml"), FILE).expect("written");
    fs::set_permissions(folder.path().join("gw.yaml"), fs::Permissions::from_mode(0o640)).expect("a mode");
    folder
}
fn yaml(folder: &Path) -> String {
    fs::read_to_string(folder.join("gw.yaml")).expect("it is there")
}

#[test]
fn one_command_prints_changes_and_fails_with_a_place() {
    let folder = folder();
    let on = |args: &[&str]| espway(folder.path(), &[args, &["--config", "gw.yaml"]].concat(), "");
    let run = on(&["ip", "ipsec", "peer", "print"]);
    assert!(run.ok, "{}", run.err);
    assert_eq!(
        run.out,
        "\
Flags: X - DISABLED
Columns: NAME, ADDRESS, PROFILE, EXCHANGE-MODE
#   NAME    ADDRESS         PROFILE  EXCHANGE-MODE
;;; branch
0   site-b  203.0.113.2/32  default  ike2
1 X site-c  203.0.113.3/32  default  ike2
"
    );
    assert_eq!(on(&["ip", "ips", "pe", "pr", "count-only"]).out, "2\n");
    assert_eq!(on(&["/ip/ipsec/peer/print", "count-only", "where", "name=site-b"]).out, "1\n");

    // Quotes that the shell took are put back; a change is saved at once.
    let run = on(&["ip", "ipsec", "peer", "set", "[find", "name=site-b]", "comment=two words; really"]);
    assert!(run.ok && run.err.contains("gw.yaml: written, 1 change"), "{}", run.err);
    assert!(yaml(folder.path()).contains("two words; really"));
    let mode = fs::metadata(folder.path().join("gw.yaml")).expect("it is there").permissions().mode();
    assert_eq!(mode & 0o777, 0o640);
    assert!(on(&["ip", "ipsec", "peer", "set", "0", "port=4500"]).ok);
    assert_eq!(on(&["ip", "ipsec", "peer", "get", "site-b", "port"]).out, "4500\n");

    let run = on(&["ip", "ipsec", "peer", "set", "0", "prot=1"]);
    assert!(!run.ok && run.err.contains("there is no `prot` here; did you mean `port`?"), "{}", run.err);
    let run = on(&["ip", "ipsec", "p", "print"]);
    assert!(!run.ok && run.err.contains("`p` may be peer, policy, profile, proposal"), "{}", run.err);
    let run = espway(folder.path(), &["frobnicate"], "");
    assert!(!run.ok && run.err.contains("there is no `frobnicate` here"), "{}", run.err);
    let run = espway(folder.path(), &["ip", "ipsec", "peer", "print", "--run-dir", "nowhere"], "");
    assert!(!run.ok && run.err.contains("no gateway answers"), "{}", run.err);
}

#[test]
fn a_script_stops_at_its_first_mistake_and_leaves_the_file() {
    let folder = folder();
    let before = yaml(folder.path());
    let console = |input: &str| espway(folder.path(), &["console", "--config", "gw.yaml"], input);
    let run = console("/ip ipsec peer\nset site-b port=4500\nset site-b prot=1\nset site-b port=7\n");
    assert!(!run.ok && run.err.contains("standard input:3:12: there is no `prot` here"), "{}", run.err);
    assert_eq!(yaml(folder.path()), before);

    let run = console("/ip ipsec peer\nset site-b port=4500\nprint terse where port=4500\n:put \"done\"\n");
    assert!(run.ok && run.err.contains("written, 1 change"), "{}", run.err);
    assert!(run.out.contains("name=site-b") && run.out.ends_with("done\n"), "{}", run.out);
    assert!(!run.out.contains('\x1b'));

    fs::write(folder.path().join("lines.rsc"), "/ip ipsec peer\n# remark\nadd name=\"open\nadd name=x\n")
        .expect("written");
    let run = espway(folder.path(), &["console", "--config", "gw.yaml", "--file", "lines.rsc"], "");
    assert!(!run.ok && run.err.contains("lines.rsc:3:10: the quote is not closed"), "{}", run.err);
    // A file that is not there is made.
    let run = espway(
        folder.path(),
        &["console", "--config", "new.yaml"],
        "/ip pool add name=a ranges=10.0.0.1-10.0.0.9\n",
    );
    assert!(run.ok, "{}", run.err);
    let new = folder.path().join("new.yaml");
    assert_eq!(fs::metadata(new).expect("it is there").permissions().mode() & 0o777, 0o600);
    // An export goes to a file of its owner, and not over another.
    let run = console("/export file=out show-sensitive");
    assert!(run.ok, "{}", run.err);
    let run = console("/export file=out");
    assert!(!run.ok && run.err.contains("out.rsc is there already"), "{}", run.err);
}

/// A terminal with a console in it.
struct Screen {
    child: Child,
    master: File,
    seen: Arc<Mutex<String>>,
    from: usize,
}
impl Screen {
    fn start(folder: &Path) -> Self {
        let master = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).expect("a terminal");
        grantpt(&master).and_then(|()| unlockpt(&master)).expect("a terminal");
        let name = ptsname(&master, Vec::new()).expect("its name");
        let slave = || {
            let name = name.to_str().expect("plain");
            OpenOptions::new().read(true).write(true).open(name).expect("its other side")
        };
        let size = Winsize { ws_row: 30, ws_col: 100, ws_xpixel: 0, ws_ypixel: 0 };
        tcsetwinsize(&master, size).expect("a size");
        let child = std::process::Command::new(env!("CARGO_BIN_EXE_espway"))
            .args(["console", "--config", "gw.yaml"])
            .current_dir(folder)
            .env("XDG_STATE_HOME", folder.join("state"))
            .env("TERM", "xterm")
            .env("USER", "admin")
            .env_remove("SUDO_USER")
            .env_remove("LOGNAME")
            .env_remove("NO_COLOR")
            .stdin(Stdio::from(slave()))
            .stdout(Stdio::from(slave()))
            .stderr(Stdio::from(slave()))
            .spawn()
            .expect("it runs");
        let master = File::from(master);
        let seen = Arc::new(Mutex::new(String::new()));
        let (mut reader, mut answers) =
            (master.try_clone().expect("a copy"), master.try_clone().expect("a copy"));
        let kept = Arc::clone(&seen);
        std::thread::spawn(move || {
            let mut chunk = [0; 4096];
            // Ends with the other side.
            while let Ok(n @ 1..) = reader.read(&mut chunk) {
                let text = String::from_utf8_lossy(&chunk[..n]).into_owned();
                // Whoever asks where the cursor is gets an answer, as from every terminal.
                for _ in text.matches("\x1b[6n") {
                    let _ = answers.write_all(b"\x1b[5;1R");
                }
                kept.lock().expect("no panic").push_str(&text);
            }
        });
        Self { child, master, seen, from: 0 }
    }
    fn keys(&mut self, keys: &str) {
        // People are slower still; what comes at once is taken for pasted.
        std::thread::sleep(Duration::from_millis(150));
        self.from = self.seen.lock().expect("no panic").len();
        self.master.write_all(keys.as_bytes()).expect("a terminal that takes keys");
    }
    /// What has been painted since the last keys, without the terminal's orders, once `wanted` is in it.
    fn see(&mut self, wanted: &str) -> String {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            let text = plain(&self.seen.lock().expect("no panic")[self.from..]);
            if text.contains(wanted) {
                return text;
            }
            assert!(Instant::now() < end, "`{wanted}` is not seen in:\n{text}");
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    fn raw(&self) -> String {
        self.seen.lock().expect("no panic").clone()
    }
    fn end(mut self) -> bool {
        let end = Instant::now() + Duration::from_secs(20);
        loop {
            if let Some(status) = self.child.try_wait().expect("a child") {
                return status.success();
            }
            assert!(Instant::now() < end, "it does not end: {}", plain(&self.raw()));
            std::thread::sleep(Duration::from_millis(10));
        }
    }
}
impl Drop for Screen {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
/// Without control sequences (ECMA-48: CSI up to its final byte).
fn plain(text: &str) -> String {
    let mut out = String::new();
    let mut rest = text.chars();
    while let Some(c) = rest.next() {
        if c != '\x1b' {
            out.push(c);
        } else if rest.next() == Some('[') {
            rest.by_ref().find(|c| ('@'..='~').contains(c));
        }
    }
    out
}

#[test]
fn a_terminal_completes_helps_and_keeps_no_secret() {
    let folder = folder();
    let mut screen = Screen::start(folder.path());
    screen.see("[admin@gw]");
    // Tab: the only word there is, then what may follow.
    screen.keys("/ip ipsec ide\t");
    screen.see("identity");
    screen.keys("\r");
    screen.see("/ip/ipsec/identity> ");
    screen.keys("set 0 \t");
    let menu = screen.see("auth-method");
    assert!(menu.contains("How both sides prove who they are"), "{menu}");
    screen.keys("\x03");
    screen.see("> ");
    // `?` helps where it stands and the line is still there; in quotes it is a character.
    screen.keys("add auth-method=");
    screen.see("auth-method=");
    screen.keys("?");
    let help = screen.see("pre-shared-key");
    assert!(help.contains("auth-method -- How both sides prove") && !help.contains("peer --"), "{help}");
    screen.keys("\x15");
    // What was pasted with others asks nothing in between.
    screen.keys("set 0 comment=\"why?\" secret=s3cr3t-typed\r");
    screen.see("/ip/ipsec/identity> ");
    screen.keys("print\r");
    screen.see(";;; why?");
    // Names of rows, in colours.
    screen.keys("/ip ipsec peer get site-\t");
    let names = screen.see("site-c");
    assert!(names.contains("site-b"), "{names}");
    screen.keys("\x03");
    screen.keys("/ip ipsec nothing\r");
    screen.see("there is no `nothing` here (line 1 column 11)");
    assert!(screen.raw().contains("\x1b[31m"), "errors are red");

    // Ctrl+X and the end of the session: as if nothing had been done.
    screen.keys("\x18");
    screen.see("<SAFE>");
    screen.keys("/ip ipsec peer set site-b port=4500\r");
    screen.see("<SAFE>");
    screen.keys("\x04");
    screen.see("save these changes?");
    let said = plain(&screen.raw());
    assert!(said.contains("changes undone") && !said.contains("port 500"), "{said}");
    screen.keys("y");
    screen.see("gw.yaml: written, 1 change");
    assert!(screen.end());
    let yaml = yaml(folder.path());
    assert!(yaml.contains("s3cr3t-typed") && yaml.contains("why?") && !yaml.contains("4500"), "{yaml}");

    let path = folder.path().join("state/espway/console-history");
    let history = fs::read_to_string(&path).expect("it is kept");
    assert!(
        history.contains("set 0 comment=\"why?\" secret=\"\"") && !history.contains("s3cr3t"),
        "{history}"
    );
    assert_eq!(fs::metadata(path).expect("it is there").permissions().mode() & 0o777, 0o600);
}
