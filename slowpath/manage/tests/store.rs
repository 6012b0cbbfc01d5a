//! Changes are whole or not at all, are written down, and can be taken back.
use ipc::change::{Apply, Target};
use manage::Store;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::time::Duration;

const SECOND: Duration = Duration::from_secs(1);
const WALL: Duration = Duration::from_secs(1_800_000_000);

/// Tunnels to so many peers, the first of which has this port.
fn text(peers: usize, port: u16) -> String {
    let mut out = "# what people wrote stays\nsystem: {name: t}\ninterface: [{name: wan, device: \"null\"}]\nip:\n  address: [{address: 192.0.2.1/24, interface: wan}]\n  ipsec:\n    profile: [{name: p, enc-algorithm: [aes-256-gcm], hash-algorithm: sha256, dh-group: [x25519]}]\n".to_owned();
    out += "    peer:\n";
    for n in 0..peers {
        let port = if n == 0 { port } else { 500 };
        out += &format!(
            "      - {{name: p{n}, address: 192.0.2.{}, local-address: 192.0.2.1, exchange-mode: ike2, profile: p, port: {port}}}\n",
            n + 2
        );
    }
    out += "    identity:\n";
    (0..peers).for_each(|n| out += &format!("      - {{peer: p{n}, secret: \"very secret words {n}\"}}\n"));
    out += "    policy:\n";
    (0..peers).for_each(|n| {
        out += &format!(
            "      - {{src-address: 10.1.0.0/16, dst-address: 10.{}.0.0/16, peer: p{n}, tunnel: yes}}\n",
            n + 2
        )
    });
    out
}
fn to(text: String) -> Apply {
    Apply {
        to: Target::Text(text),
        dry_run: false,
        confirm: None,
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
    fs::write(dir.join("c.yaml"), text(3, 500)).expect("written");
    open(dir)
}

#[test]
fn a_change_is_planned_written_and_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = start(dir.path());
    let mut dry = to(text(4, 4500));
    dry.dry_run = true;
    let before = fs::read_to_string(dir.path().join("c.yaml")).expect("there");
    let planned = store.apply(&dry, SECOND, WALL).expect("good");
    assert!(planned.config.is_none());
    assert_eq!(fs::read_to_string(dir.path().join("c.yaml")).expect("there"), before);
    let done = store.apply(&to(text(4, 4500)), SECOND, WALL).expect("good");
    assert_eq!((&planned.plan.changes, &planned.plan.effects), (&done.plan.changes, &done.plan.effects));
    assert_eq!(done.plan.changes[0], "~ ip ipsec peer p0: port 500 → 4500");
    let effects: Vec<_> = done.plan.effects.iter().map(|e| (e.peer.as_str(), e.said.as_str())).collect();
    assert_eq!(
        effects,
        [("p0", "goes on; what was changed holds from its next negotiation"), ("p3", "is new and is called")]
    );
    assert!(done.plan.deleted_policies.is_empty());
    assert_eq!(done.config.expect("different").ipsec.peers.len(), 4);
    assert_eq!(fs::read_to_string(dir.path().join("c.yaml")).expect("there"), text(4, 4500));
    let fewer = store.apply(&to(text(2, 4500)), SECOND, WALL).expect("good").plan;
    assert_eq!((fewer.deleted_policies.len(), fewer.effects.len()), (2, 2));
    let numbers: Vec<_> = store.entries().iter().map(|e| (e.number, e.who.as_str(), e.when)).collect();
    assert_eq!(
        numbers,
        [(1, "start", WALL.as_secs()), (2, "root", WALL.as_secs()), (3, "root", WALL.as_secs())]
    );
}

#[test]
fn a_refused_change_changes_nothing() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = start(dir.path());
    let before = store.config().clone();
    let wrong = store
        .apply(&to(text(3, 500).replace("profile: p,", "profile: q,")), SECOND, WALL)
        .err()
        .expect("refused");
    assert!(wrong.complaints.iter().any(|line| line.contains("ip.ipsec.peer[0].profile")), "{wrong:?}");
    let restart =
        store.apply(&to(text(3, 500).replace("name: t}", "name: u}")), SECOND, WALL).err().expect("refused");
    assert!(restart.said.contains("system name cannot be changed while the gateway runs"), "{restart:?}");
    // A plan says it, and is no refusal; what only the check asks for is in force at once.
    let planned = Apply { dry_run: true, ..to(text(3, 500).replace("name: t}", "name: u, buffers: 4096}")) };
    let planned = store.apply(&planned, SECOND, WALL).expect("a plan").plan;
    assert_eq!(planned.restart, ["system name", "system buffers"]);
    let lab = to(text(3, 500).replace("name: t}", "name: t, lab: yes}"));
    let lab = store.apply(&Apply { dry_run: true, ..lab }, SECOND, WALL).expect("a plan").plan;
    assert_eq!((lab.restart.len(), lab.changes.len()), (0, 1));
    let missing = store
        .apply(&Apply { to: Target::Entry(7), ..to(String::new()) }, SECOND, WALL)
        .err()
        .expect("refused");
    assert!(missing.said.contains("no entry 7; the history has 1 to 1"), "{missing:?}");
    // The file cannot be written: its folder is gone.
    let kept = fs::read(dir.path().join("c.yaml")).expect("there");
    fs::remove_file(dir.path().join("c.yaml")).expect("there");
    let gone = store.apply(&to(text(4, 500)), SECOND, WALL).err().expect("refused");
    assert!(gone.said.contains("cannot be written"), "{gone:?}");
    fs::write(dir.path().join("c.yaml"), kept).expect("written");
    assert_eq!((store.config(), store.entries().len()), (&before, 1));
    assert_eq!(open(dir.path()).entries().len(), 1);
}

#[test]
fn former_ones_come_back_and_unconfirmed_ones_go() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = start(dir.path());
    let first = store.config().clone();
    store.apply(&to(text(2, 500)), SECOND, WALL).expect("good");
    store.apply(&Apply { to: Target::Entry(1), ..to(String::new()) }, SECOND, WALL).expect("good");
    assert_eq!(store.config(), &first);
    // Confirmed in time.
    let risky = || Apply { confirm: Some(60), ..to(text(1, 500)) };
    store.apply(&risky(), SECOND, WALL).expect("good");
    assert_eq!(store.deadline(), Some(61 * SECOND));
    assert!(store.expire(60 * SECOND, WALL).is_none());
    assert!(store.confirm().expect("written") && !store.confirm().expect("written"));
    assert!(store.expire(1000 * SECOND, WALL).is_none());
    assert_eq!(store.config().ipsec.peers.len(), 1);
    // Not confirmed, and the process is another one by then.
    store.apply(&to(text(3, 500)), SECOND, WALL).expect("good");
    store.apply(&risky(), SECOND, WALL).expect("good");
    let mut successor = open(dir.path());
    assert_eq!(successor.config().ipsec.peers.len(), 1);
    let undone = successor.expire(61 * SECOND, WALL).expect("time").expect("possible");
    assert_eq!(undone.config.expect("different"), first);
    assert_eq!(fs::read_to_string(dir.path().join("c.yaml")).expect("there"), text(3, 500));
    assert!(open(dir.path()).deadline().is_none());
    assert_eq!(successor.entries().last().map(|e| e.who.as_str()), Some("commit-confirm"));
}

#[test]
fn two_unconfirmed_changes_go_back_to_what_was_confirmed() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = start(dir.path());
    let first = store.config().clone();
    for (peers, seconds) in [(2, 60), (1, 90)] {
        store.apply(&Apply { confirm: Some(seconds), ..to(text(peers, 500)) }, SECOND, WALL).expect("good");
    }
    assert_eq!(store.deadline(), Some(91 * SECOND));
    store.expire(91 * SECOND, WALL).expect("time").expect("possible");
    assert_eq!(store.config(), &first);
}

#[test]
fn what_the_datapath_refuses_is_taken_back() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = start(dir.path());
    let first = store.config().clone();
    assert!(store.undo("nothing was done", SECOND, WALL).is_none());
    store.apply(&to(text(1, 500)), SECOND, WALL).expect("good");
    let back = store.undo("a table is full", SECOND, WALL).expect("one").expect("possible");
    assert_eq!((back.config.as_ref(), store.config()), (Some(&first), &first));
    assert!(store.entries().last().expect("one").comment.contains("a table is full"));
}

#[test]
fn the_history_is_its_owners_and_has_no_secret_in_its_lines() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = start(dir.path());
    store.apply(&to(text(3, 500).replace("words 1", "phrase 1")), SECOND, WALL).expect("good");
    let said = serde_json::to_string(store.entries()).expect("text");
    assert!(
        said.contains("secret *** → ***") && !said.contains("phrase") && !said.contains("words"),
        "{said}"
    );
    let mode = |path: &str| fs::metadata(dir.path().join(path)).expect("there").permissions().mode() & 0o777;
    assert_eq!(
        (mode("history"), mode("history/000002.yaml"), mode("history/history.jsonl")),
        (0o700, 0o600, 0o600)
    );
    assert_eq!((mode("history/secrets"), mode("history/secrets/000002.json")), (0o700, 0o600));
    // The texts have none either; they come back with them.
    let kept = fs::read_to_string(dir.path().join("history/000002.yaml")).expect("there");
    assert!(
        kept.contains("secret: \"***\"") && !kept.contains("phrase") && !kept.contains("words"),
        "{kept}"
    );
    assert!(store.text(Some(2)).expect("there").contains("phrase 1"));
    assert_eq!(mode("c.yaml"), 0o644, "as people made it");
    // Cut off in the middle of a line: the entries before it are there.
    let index = dir.path().join("history/history.jsonl");
    let lines = fs::read(&index).expect("there");
    fs::write(&index, &lines[..lines.len() - 9]).expect("written");
    assert_eq!(open(dir.path()).entries().len(), 2, "the file differs from the last entry that is whole");
}

#[test]
fn a_file_that_was_edited_is_applied_as_it_is() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut store = start(dir.path());
    let same = Apply { to: Target::File, ..to(String::new()) };
    let nothing = store.apply(&same, SECOND, WALL).expect("good");
    assert!(nothing.plan.changes.is_empty() && nothing.config.is_none() && nothing.plan.entry == 0);
    fs::write(dir.path().join("c.yaml"), text(2, 500)).expect("written");
    assert_eq!(
        store.apply(&same, SECOND, WALL).expect("good").config.expect("different").ipsec.peers.len(),
        2
    );
    // Only a remark: kept in the history, nothing to put in force.
    let remark = store.apply(&to(text(2, 500) + "# thought about it\n"), SECOND, WALL).expect("good");
    assert!(remark.config.is_none() && remark.plan.entry == 3);
}
