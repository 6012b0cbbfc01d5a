//! Commands of `/ip ipsec key rsa`: files of keys are made, taken in and given away, and nothing else is touched.
use config::Document;
use manage::api::{Body, Keys, Method, Problem, Request, Roles, Todo, View, understand};
use serde_json::{Value, json};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

fn keys(rows: &Document, command: &str, body: Value) -> Result<Box<Keys>, Problem> {
    let request = Request {
        body: Body(Some(body)),
        ..Request::new(Method::Post, format!("/rest/ip/ipsec/key/rsa/{command}"))
    };
    match understand(&request, View { rows, revision: 1 })? {
        Todo::Keys(keys) => Ok(keys),
        other => panic!("{other:?}"),
    }
}
fn added(rows: &mut Document, mut keys: Box<Keys>) {
    let change = keys.change.take().expect("a row");
    let ipc::change::Target::Edits(edits) = change.apply.to else { panic!("edits") };
    manage::make(rows, &edits.edits).expect("a row");
}

#[test]
fn keys_are_made_shown_and_exchanged() {
    let dir = tempfile::tempdir().expect("a folder");
    let at = |name: &str| dir.path().join(name).to_str().expect("UTF-8").to_owned();
    let mut rows = Document::new();
    let made =
        keys(&rows, "generate-key", json!({"name": "ours", "file": at("ours.pem")})).expect("understood");
    made.perform().expect("made");
    let mode = std::fs::metadata(at("ours.pem")).expect("there").permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let pem = std::fs::read(at("ours.pem")).expect("read");
    let read = openssl::pkey::PKey::private_key_from_pem(&pem).expect("OpenSSL reads it");
    assert_eq!((read.bits(), read.rsa().expect("RSA").check_key().expect("checked")), (2048, true));
    // Nothing is ever written over; a row that was refused takes its file with it.
    let again =
        keys(&rows, "generate-key", json!({"name": "ours", "file": at("ours.pem")})).expect("understood");
    assert!(again.perform().expect_err("it is there").fix.contains("another file"));
    assert_eq!(std::fs::read(at("ours.pem")).expect("read"), pem);
    added(&mut rows, made);

    let export = keys(&rows, "export-pub-key", json!({"key": "ours", "file-name": at("ours.pub")}))
        .expect("understood");
    export.perform().expect("written");
    let public = std::fs::read(at("ours.pub")).expect("read");
    assert!(!String::from_utf8_lossy(&public).contains("PRIVATE"));
    assert!(openssl::pkey::PKey::public_key_from_pem(&public).expect("OpenSSL reads it").public_eq(&read));
    let import =
        keys(&rows, "import", json!({"name": "theirs", "file-name": at("ours.pub")})).expect("understood");
    import.perform().expect("a key");
    added(&mut rows, import);
    for (name, private) in [("ours.pem", true), ("ours.pub", false)] {
        let (key, is_private) = manage::credentials::key_in(Path::new(&at(name))).expect("a key");
        assert_eq!((key.kind().bits(), is_private), (2048, private));
    }
    let place = config::schema::place("ip.ipsec.key").expect("a menu");
    let file = |name: &str| rows.by_name(place, name).and_then(|row| row.get("file")).map(str::to_owned);
    assert_eq!((file("ours"), file("theirs")), (Some(at("ours.pem")), Some(at("ours.pub"))));

    let refused = keys(&rows, "generate-key", json!({"name": "x", "file": at("x.pem")})).expect("understood");
    refused.perform().expect("made");
    refused.undo();
    assert!(!Path::new(&at("x.pem")).exists());
}

#[test]
fn what_is_no_key_and_no_place_for_one_is_refused() {
    let dir = tempfile::tempdir().expect("a folder");
    let rows = Document::new();
    for (command, body) in [
        ("generate-key", json!({"name": "a", "key-size": 1024})),
        ("generate-key", json!({"name": "a", "key-size": 1_000_000})),
        ("generate-key", json!({"key-size": 2048})),
        ("generate-key", json!({"name": "../../etc/passwd"})),
        ("generate-key", json!({"name": "a", "file": "relative.pem"})),
        ("generate-key", json!({"name": "a", "file": "/etc/espway/../passwd"})),
        ("generate-key", json!({"name": "a", "colour": "red"})),
        ("import", json!({"name": "a"})),
        ("export-pub-key", json!({"key": "nobody", "file-name": "/tmp/x"})),
    ] {
        let refused = keys(&rows, command, body.clone()).expect_err(&body.to_string());
        assert!([400, 404].contains(&refused.status), "{refused:?}");
    }
    let junk = dir.path().join("junk");
    std::fs::write(&junk, "no key at all").expect("written");
    for (file, status) in [(junk.as_path(), 422), (Path::new("/nowhere/at/all"), 422)] {
        let import =
            keys(&rows, "import", json!({"name": "a", "file-name": file.to_str()})).expect("understood");
        assert_eq!(import.perform().expect_err("no key").status, status);
    }
    let nowhere = json!({"name": "a", "file": "/nowhere/at/all.pem"});
    assert!(
        keys(&rows, "generate-key", nowhere)
            .expect("understood")
            .perform()
            .expect_err("no folder")
            .fix
            .contains("folder")
    );
    // Who only reads makes none, and gives none away.
    for command in ["generate-key", "import", "export-pub-key"] {
        let roles = Roles { read: true, write: false, sensitive: true };
        let request =
            Request { roles, ..Request::new(Method::Post, format!("/rest/ip/ipsec/key/{command}")) };
        assert_eq!(
            understand(&request, View { rows: &rows, revision: 1 }).expect_err("a reader").status,
            403
        );
    }
}
