//! Changes that do not come to their end: the disk is full, a file cannot be written, the process is killed. What is
//! found afterwards is the old configuration or the new one, whole, and a history that can be read.
use ipc::change::{Apply, Target};
use manage::Store;
use std::fs;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

const SECOND: Duration = Duration::from_secs(1);
const WALL: Duration = Duration::from_secs(1_800_000_000);
/// Set: this process is the one that something happens to.
const VICTIM: &str = "ESPWAY_TEST_VICTIM";

/// So long that no write is over at once.
fn text(port: u16) -> String {
    let mut out = "system: {name: t}\ninterface: [{name: wan, device: \"null\"}]\nip:\n  address: [{address: 192.0.2.1/24, interface: wan}]\n  ipsec:\n    profile: [{name: p, enc-algorithm: [aes-256-gcm], hash-algorithm: sha256, dh-group: [x25519]}]\n    peer:\n".to_owned();
    for n in 2..40 {
        out += &format!(
            "      - {{name: p{n}, address: 192.0.2.{n}, local-address: 192.0.2.1, exchange-mode: ike2, profile: p, port: {port}}}\n"
        );
    }
    out += "    identity:\n";
    (2..40)
        .for_each(|n| out += &format!("      - {{peer: p{n}, secret: \"very secret words {n} {port}\"}}\n"));
    out
}
fn to(port: u16, confirm: Option<u64>) -> Apply {
    Apply {
        to: Target::Text(text(port)),
        dry_run: false,
        confirm,
        who: "root".into(),
        comment: String::new(),
        without_rights: false,
        safe_mode: None,
    }
}
fn open(dir: &Path) -> Store {
    Store::open(&dir.join("c.yaml"), Some(&dir.join("history")), WALL).expect("good")
}
fn start(dir: &Path) -> Store {
    fs::write(dir.join("c.yaml"), text(500)).expect("written");
    open(dir)
}
fn file(dir: &Path) -> String {
    fs::read_to_string(dir.join("c.yaml")).expect("there")
}
/// This test again, in a process of its own, after these lines of a shell.
fn victim(test: &str, dir: &Path, before: &str) -> Command {
    let mut shell = Command::new("sh");
    shell
        .args(["-c", &format!("{before}exec \"$0\" --exact {test}")])
        .arg(std::env::current_exe().expect("us"));
    shell.env(VICTIM, dir).stdout(Stdio::null()).stderr(Stdio::null());
    shell
}

#[test]
fn g3_a_step_that_fails_takes_the_others_with_it() {
    // What stands in the way of each file that is written, in the order in which they are.
    for way in [
        "history/secrets/000002.json.new",
        "history/000002.yaml.new",
        "history/history.jsonl",
        "history/unconfirmed.json.new",
        "c.yaml.new",
    ] {
        let dir = tempfile::tempdir().expect("a folder");
        let mut store = start(dir.path());
        let (before, way) = (store.config().clone(), dir.path().join(way));
        let aside = dir.path().join("aside");
        let there = fs::rename(&way, &aside).is_ok();
        fs::create_dir(&way).expect("a folder");
        let refused = store.apply(&to(4500, Some(60)), SECOND, WALL).err().expect("refused");
        assert!(refused.said.contains("cannot be written"), "{}: {refused:?}", way.display());
        assert_eq!((store.config(), store.entries().len(), store.deadline()), (&before, 1, None));
        assert_eq!(file(dir.path()), text(500));
        fs::remove_dir(&way).expect("empty");
        if there {
            fs::rename(&aside, &way).expect("back");
        }
        let mut successor = open(dir.path());
        assert_eq!((successor.config(), successor.entries().len(), successor.deadline()), (&before, 1, None));
        // And it goes on as if nothing had been.
        for store in [&mut store, &mut successor] {
            store.apply(&to(4501, None), SECOND, WALL).expect("good");
        }
        assert_eq!(file(dir.path()), text(4501));
    }
}

#[test]
fn g3_a_full_disk_leaves_the_old_or_the_new() {
    if let Some(dir) = std::env::var_os(VICTIM) {
        let mut store = open(dir.as_ref());
        let done = store.apply(&to(4500, None), SECOND, WALL);
        std::process::exit(if done.is_ok() { 0 } else { 17 });
    }
    let mut outcomes = [0, 0];
    for blocks in (0..64).step_by(6) {
        let dir = tempfile::tempdir().expect("a folder");
        drop(start(dir.path()));
        // No file gets longer than so many blocks of 512 bytes.
        let limit = format!("trap '' XFSZ; ulimit -f {blocks}; ");
        let test = "g3_a_full_disk_leaves_the_old_or_the_new";
        let code = victim(test, dir.path(), &limit).status().expect("run").code();
        let (port, entries) = if code == Some(0) { (4500, 2) } else { (500, 1) };
        assert!([Some(0), Some(17)].contains(&code), "{code:?}");
        outcomes[usize::from(code == Some(0))] += 1;
        assert_eq!(file(dir.path()), text(port));
        let store = open(dir.path());
        assert_eq!(store.entries().len(), entries);
        assert_eq!(*store.text(Some(entries as u64)).expect("there"), text(port));
    }
    assert!(outcomes.iter().all(|n| *n > 0), "{outcomes:?}");
}

#[test]
fn g3_whoever_is_killed_leaves_the_old_or_the_new() {
    if let Some(dir) = std::env::var_os(VICTIM) {
        let mut store = open(dir.as_ref());
        for n in 0.. {
            let confirm = (n % 3 == 0).then_some(60);
            store.apply(&to(500 + n % 50, confirm), SECOND, WALL).expect("good");
        }
    }
    let dir = tempfile::tempdir().expect("a folder");
    drop(start(dir.path()));
    for round in 0..20 {
        let test = "g3_whoever_is_killed_leaves_the_old_or_the_new";
        let mut child = victim(test, dir.path(), "").spawn().expect("run");
        // It is at work; then any moment will do.
        let length = || fs::metadata(dir.path().join("history/history.jsonl")).map_or(0, |is| is.len());
        let (before, began) = (length(), Instant::now());
        while length() == before {
            assert!(began.elapsed() < Duration::from_secs(20), "it does nothing");
            std::thread::sleep(Duration::from_millis(1));
        }
        std::thread::sleep(Duration::from_micros(round * 1700));
        child.kill().and_then(|()| child.wait()).expect("gone");
        let now = file(dir.path());
        assert!((500..550).any(|port| now == text(port)), "{now}");
        let store = open(dir.path());
        let numbers: Vec<u64> = store.entries().iter().map(|entry| entry.number).collect();
        assert!(numbers.is_sorted_by(|a, b| a < b), "{numbers:?}");
        for number in numbers {
            let entry = store.text(Some(number)).expect("there");
            assert!((500..550).any(|port| *entry == text(port)), "entry {number}: {}", *entry);
        }
        // Nothing of a secret outside of where they are kept.
        for file in fs::read_dir(dir.path().join("history")).expect("there") {
            let path = file.expect("there").path();
            let said = fs::read_to_string(&path).unwrap_or_default();
            assert!(!said.contains("very secret"), "{}", path.display());
        }
    }
}

#[test]
fn g3_a_file_that_was_replaced_under_us_is_kept() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = start(dir.path());
    let by_hand = text(4500) + "# not applied yet\n";
    for wrong in ["", "{ this is not even YAML, and a secret: 'very secret words'"] {
        fs::write(dir.path().join("c.yaml"), format!("{by_hand}{wrong}")).expect("written");
        let mut change = to(501 + wrong.len() as u16, Some(60));
        change.comment = "the next".into();
        let entry = store.apply(&change, SECOND, WALL).expect("good").plan.entry;
        let found = &store.entries()[entry as usize - 2];
        assert!(found.who == "file" && found.comment.contains("not applied"), "{found:?}");
        assert_eq!(*store.text(Some(found.number)).expect("there"), format!("{by_hand}{wrong}"));
        let hidden = fs::read_to_string(dir.path().join(format!("history/{:06}.yaml", found.number)));
        assert!(!hidden.expect("there").contains("very secret"));
    }
    // What was never in force is not what an unconfirmed change goes back to.
    store.expire(100 * SECOND, WALL).expect("time").expect("possible");
    assert_eq!(file(dir.path()), text(500));
    let entries = store.entries().len();
    store.apply(&to(502, None), SECOND, WALL).expect("good");
    assert_eq!(store.entries().len(), entries + 1, "nothing was found this time");
}
