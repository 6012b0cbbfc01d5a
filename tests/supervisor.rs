//! `espway run` with stand-ins for the two processes: shell scripts that write down how they were started.
use assert_cmd::cargo::cargo_bin;
use serde_json::Value;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::sync::{RwLock, RwLockReadGuard};
use std::time::{Duration, Instant};

const CONFIG: &str = "\
system: {name: stand-in}
interface:
  - {name: wan, device: \"null\"}
ip:
  address:
    - {address: 192.0.2.1/24, interface: wan}
";

/// Writes its start down, says what it holds open, runs until SIGTERM.
const SCRIPT: &str = r#"#!/bin/sh
name=$(basename "$0")
dir=$(dirname "$0")
trap 'echo "$name" >> "$dir/ended"; exit 0' TERM
for word in "$@"; do printf '%s\n' "$word"; done > "$dir/$name.args"
env > "$dir/$name.env"
ls -l /proc/$$/fd > "$dir/$name.fds"
while [ $# -gt 0 ]; do
  if [ "$1" = --vault-key-fd ]; then od -An -v -tx1 "/proc/self/fd/$2" >> "$dir/$name.keys"; fi
  shift
done
echo $$ >> "$dir/$name.pids"
while :; do sleep 0.05; done
"#;

/// A program cannot be started while a process that another test has just forked still holds it open for writing:
/// starting takes the reading side, writing a program the other.
static PROGRAMS: RwLock<()> = RwLock::new(());
fn starting() -> RwLockReadGuard<'static, ()> {
    PROGRAMS.read().unwrap_or_else(|poisoned| poisoned.into_inner())
}
fn write_program(path: &Path, script: &str) {
    let _alone = PROGRAMS.write().unwrap_or_else(|poisoned| poisoned.into_inner());
    std::fs::write(path, script).unwrap();
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

fn spawn(command: &mut Command) -> Child {
    let _no_writer = starting();
    command.spawn().unwrap()
}
fn output(command: &mut Command) -> Output {
    spawn(command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()))
        .wait_with_output()
        .unwrap()
}

/// A folder with the command, its stand-ins and a configuration.
struct Bench {
    dir: tempfile::TempDir,
    supervisor: Option<Child>,
}

impl Bench {
    fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        {
            let _alone = PROGRAMS.write().unwrap_or_else(|poisoned| poisoned.into_inner());
            std::fs::copy(cargo_bin("espway"), dir.path().join("espway")).unwrap();
        }
        for name in ["espway-fastpath", "espway-slowpath"] {
            write_program(&dir.path().join(name), SCRIPT);
        }
        std::fs::write(dir.path().join("gw.yaml"), CONFIG).unwrap();
        Self { dir, supervisor: None }
    }
    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }
    fn espway(&self) -> Command {
        Command::new(self.path("espway"))
    }
    fn run(&self) -> Command {
        let mut command = self.espway();
        command.args(["run", "--config"]).arg(self.path("gw.yaml")).arg("--run-dir").arg(self.path("run"));
        command
    }
    fn start(&mut self) {
        let log = std::fs::File::options().create(true).append(true).open(self.path("log")).unwrap();
        self.supervisor = Some(spawn(self.run().stdin(Stdio::null()).stderr(log)));
        self.until("both run", || {
            self.pids("espway-slowpath").len() + self.pids("espway-fastpath").len() == 2
        });
    }
    fn read(&self, name: &str) -> String {
        std::fs::read_to_string(self.path(name)).unwrap_or_default()
    }
    fn pids(&self, name: &str) -> Vec<String> {
        self.read(&format!("{name}.pids")).lines().map(str::to_owned).collect()
    }
    fn until(&self, what: &str, mut holds: impl FnMut() -> bool) {
        let deadline = Instant::now() + Duration::from_secs(60);
        while !holds() {
            assert!(Instant::now() < deadline, "never: {what}\n{}", self.read("log"));
            std::thread::sleep(Duration::from_millis(10));
        }
    }
    fn signal(&self, pid: &str, signal: &str) {
        assert!(spawn(Command::new("kill").args([signal, pid])).wait().unwrap().success());
    }
    fn status(&self) -> Value {
        let out = output(self.espway().args(["status", "--json", "--run-dir"]).arg(self.path("run")));
        serde_json::from_slice(&out.stdout).unwrap_or_else(|e| panic!("{e}: {out:?}"))
    }
    fn stop(&mut self) {
        let mut supervisor = self.supervisor.take().unwrap();
        self.signal(&supervisor.id().to_string(), "-TERM");
        assert!(supervisor.wait().unwrap().success(), "{}", self.read("log"));
    }
}
impl Drop for Bench {
    fn drop(&mut self) {
        let Some(mut supervisor) = self.supervisor.take() else { return };
        let _ = supervisor.kill();
        let _ = supervisor.wait();
        for pid in [self.pids("espway-fastpath"), self.pids("espway-slowpath")].concat() {
            // Only if it is still one of ours.
            let command = std::fs::read_to_string(format!("/proc/{pid}/cmdline")).unwrap_or_default();
            if command.contains(&*self.dir.path().to_string_lossy()) {
                let _ = Command::new("kill").args(["-KILL", &pid]).status();
            }
        }
    }
}

fn alive(pid: &str) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit_once(") ").is_some_and(|(_, rest)| !rest.starts_with('Z'))
}
fn after<'a>(args: &'a str, option: &str) -> Option<&'a str> {
    args.lines().skip_while(|line| *line != option).nth(1)
}

#[test]
fn both_are_started_with_what_they_need_and_ended_in_order() {
    let mut bench = Bench::new();
    bench.start();
    let (fast, slow) = (bench.read("espway-fastpath.args"), bench.read("espway-slowpath.args"));
    let socket = bench.path("run/fastpath.sock");
    assert_eq!(after(&fast, "--socket").map(Path::new), Some(&*socket));
    assert_eq!(after(&slow, "--fastpath-socket").map(Path::new), Some(&*socket));
    assert_eq!(after(&slow, "--control-socket").map(Path::new), Some(&*bench.path("run/control.sock")));
    for args in [&fast, &slow] {
        assert_eq!(after(args, "--config").map(Path::new), Some(&*bench.path("gw.yaml")));
    }
    assert!(after(&fast, "--file-prefix").unwrap().starts_with("espway-stand-in-"));
    let mode = std::fs::metadata(bench.path("run")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o700);

    let pids = [bench.pids("espway-fastpath"), bench.pids("espway-slowpath")].concat();
    assert!(pids.iter().all(|pid| alive(pid)));
    bench.stop();
    assert_eq!(bench.read("ended"), "espway-slowpath\nespway-fastpath\n");
    assert!(!pids.iter().any(|pid| alive(pid)));
}

#[test]
fn the_vaults_key_reaches_the_slow_path_alone() {
    let mut bench = Bench::new();
    bench.start();
    let key = bench.read("espway-slowpath.keys").split_whitespace().collect::<String>();
    assert_eq!(key.len(), 64, "32 bytes");
    assert!(key.bytes().any(|digit| digit != b'0'));
    assert!(bench.read("espway-slowpath.fds").contains("espway-vault-key"));
    assert!(!bench.read("espway-fastpath.fds").contains("espway-vault-key"));
    for name in ["espway-fastpath", "espway-slowpath"] {
        for file in ["args", "env"] {
            assert!(!bench.read(&format!("{name}.{file}")).contains(&key));
        }
    }
    assert!(!bench.read("log").contains(&key));
    assert!(!bench.read("run/supervisor.json").contains(&key));
}

#[test]
fn h4_either_is_started_again_alone_and_the_key_is_the_same() {
    let mut bench = Bench::new();
    bench.start();
    let (fast, slow) = (bench.pids("espway-fastpath"), bench.pids("espway-slowpath"));
    bench.signal(&slow[0], "-KILL");
    bench.until("a new slow path", || bench.pids("espway-slowpath").len() == 2);
    assert_eq!(bench.pids("espway-fastpath"), fast);
    assert!(alive(&fast[0]));
    // The script writes 32 bytes as two lines.
    let keys = bench.read("espway-slowpath.keys");
    let lines: Vec<&str> = keys.lines().collect();
    assert_eq!(lines[..2], lines[2..]);

    bench.signal(&fast[0], "-KILL");
    bench.until("a new fast path", || bench.pids("espway-fastpath").len() == 2);
    assert_eq!(bench.pids("espway-slowpath").len(), 2);

    bench.until("the status says so", || bench.status()["processes"][0]["restarts"] == 1);
    let status = bench.status();
    for (at, name) in [(0, "espway-fastpath"), (1, "espway-slowpath")] {
        let process = &status["processes"][at];
        assert_eq!((&process["name"], &process["state"]), (&name.into(), &"running".into()));
        assert_eq!(process["restarts"], 1);
        assert_eq!(process["pid"].to_string(), bench.pids(name)[1]);
        assert_eq!(process["last-end"], "was ended by signal 9");
    }
    assert_eq!(status["supervisor"]["name"], "stand-in");
    assert!(status["error"].as_str().unwrap().contains("control.sock"), "no slow path answers here");
    bench.stop();
}

#[test]
fn h12_what_ends_again_and_again_becomes_a_standing_error_that_status_shows_and_sighup_clears() {
    let mut bench = Bench::new();
    write_program(&bench.path("espway-slowpath"), "#!/bin/sh\nexit 3\n");
    let log = std::fs::File::create(bench.path("log")).unwrap();
    bench.supervisor = Some(spawn(bench.run().stderr(log)));
    bench.until("given up", || bench.status()["processes"][1]["state"] == "error");
    let status = bench.status();
    assert_eq!(status["processes"][1]["restarts"], 9);
    assert_eq!(status["processes"][1]["last-end"], "ended with exit code 3");
    assert_eq!(status["processes"][0]["state"], "running", "the fast path forwards on");

    write_program(&bench.path("espway-slowpath"), SCRIPT);
    bench.signal(&bench.supervisor.as_ref().unwrap().id().to_string(), "-HUP");
    bench.until("tried again", || bench.status()["processes"][1]["state"] == "running");
    bench.stop();
}

#[test]
fn sighup_asks_the_slow_path_and_starts_nothing_again() {
    let mut bench = Bench::new();
    bench.start();
    let pid = bench.supervisor.as_ref().unwrap().id().to_string();
    bench.signal(&pid, "-HUP");
    // The stand-in has no socket to be asked on.
    bench.until("told", || bench.read("log").contains("the running configuration stays: "));
    assert_eq!(bench.pids("espway-fastpath").len(), 1, "nothing was started again");
    bench.stop();
}

#[test]
fn a_folder_has_one_supervisor() {
    let mut bench = Bench::new();
    bench.start();
    let second = output(&mut bench.run());
    assert!(!second.status.success());
    assert!(String::from_utf8_lossy(&second.stderr).contains("another espway runs in"));
    bench.stop();
}

#[test]
fn nothing_is_started_with_a_bad_configuration_or_with_a_log_of_keys() {
    let bench = Bench::new();
    let refused = |text: &str| {
        std::fs::write(bench.path("gw.yaml"), text).unwrap();
        let out = output(&mut bench.run());
        assert!(!out.status.success());
        assert!(!bench.path("espway-fastpath.pids").exists());
        String::from_utf8_lossy(&out.stderr).into_owned()
    };
    assert!(
        refused(&CONFIG.replace("interface: wan", "interface: lan")).contains("there is no interface `lan`")
    );
    let manual = |spi: u32, direction: &str| {
        format!(
            "      - {{spi: {spi}, direction: {direction}, local-address: 192.0.2.1, remote-address: 192.0.2.7, \
             enc-algorithm: aes-128-gcm, enc-key: \"0x{}\", policy: 0}}\n",
            "5a".repeat(20)
        )
    };
    let twice = format!(
        "{CONFIG}  ipsec:\n    policy:\n      - {{src-address: 10.0.0.0/8, dst-address: 172.16.0.0/12, tunnel: yes}}\n    \
         manual-sa:\n{}{}",
        manual(0x1000, "out"),
        manual(0x2000, "in")
    );
    let said = refused(&twice);
    assert!(said.contains("has the same key"), "{said}");
    assert!(!said.contains("5a5a"), "{said}");
    std::fs::write(bench.path("gw.yaml"), CONFIG).unwrap();
    let out = output(bench.run().arg("--key-log").arg(bench.path("keys")));
    assert!(!out.status.success());
    assert!(String::from_utf8_lossy(&out.stderr).contains("write `lab: yes` under `system`"));
}
