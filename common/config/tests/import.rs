//! Exports of every shape become configurations, and the report says what became of each line.
use config::document::Secrets;
use config::script::import::{Imported, Outcome};
use config::script::{decode, import, swanctl};
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};

fn folder(of: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/vectors").join(of)
}
fn sources(of: &str, extension: &str) -> Vec<PathBuf> {
    let files = fs::read_dir(folder(of)).expect("the vectors");
    let mut files: Vec<_> = files
        .map(|file| file.expect("a file").path())
        .filter(|path| path.extension().is_some_and(|e| e == extension))
        .collect();
    files.sort();
    files
}
/// The file says what it should, or is written anew when that is asked for.
fn golden(path: &Path, extension: &str, is: &str) {
    let path = path.with_extension(extension);
    if std::env::var_os("ESPWAY_BLESS").is_some() {
        fs::write(&path, is).expect("written");
    }
    let wanted = fs::read_to_string(&path).unwrap_or_default();
    assert!(wanted == is, "{}: is now\n{is}", path.display());
}

fn check(path: &Path, done: &Imported) {
    golden(path, "report", &format!("{}{}\n", done.report, done.report.summary()));
    golden(path, "yaml", &done.document.to_yaml(Secrets::Shown));
    // Every command has its line, in the order of the source.
    assert!(done.report.lines.is_sorted_by_key(|line| line.line));
    assert!(done.report.lines.iter().any(|line| line.outcome == Outcome::Done), "{}", path.display());
    // What was written reads back.
    let again = config::Document::from_yaml(&done.document.to_yaml(Secrets::Shown));
    let (again, _) = again.unwrap_or_else(|complaints| panic!("{}: {complaints}", path.display()));
    assert!(again == done.document, "{}", path.display());
    // No secret is in the report.
    let report = format!("{}{}", done.report, serde_json::to_string(&done.report).expect("JSON"));
    for row in config::schema::places().iter().flat_map(|place| done.document.rows(place)) {
        for (_, secret) in row.cells().filter(|(field, text)| field.is_secret() && text.len() > 5) {
            assert!(!report.contains(secret), "{}", path.display());
        }
    }
    for secret in ["mySecret", "another-key", "a secure", "passphrase-of", "FpZAZqEN", "{braces}"] {
        assert!(!report.contains(secret), "{}", path.display());
    }
}

#[test]
fn exports_are_read_as_their_reports_say() {
    let sources = sources("routeros", "rsc");
    assert!(sources.len() >= 12);
    for path in sources {
        check(&path, &import(&decode(&fs::read(&path).expect("read"))));
    }
}
#[test]
fn swanctl_files_are_read_as_their_reports_say() {
    let sources = sources("swanctl", "conf");
    assert!(sources.len() >= 2);
    for path in sources {
        check(&path, &swanctl::import(&decode(&fs::read(&path).expect("read"))));
    }
}
#[test]
fn secrets_that_are_missing_are_asked_for_by_row() {
    let mut done = import("/ip ipsec peer add name=w address=192.0.2.1\n/ip ipsec identity add peer=w\n");
    let [missing] = &*done.missing else { panic!("{:?}", done.missing) };
    assert_eq!((missing.line, missing.path, missing.property), (2, "ip.ipsec.identity", "secret"));
    let place = config::schema::place(missing.path).expect("a menu");
    done.document.set(place, missing.id, &[(missing.property, Some("given later"))]).expect("a secret");
    assert!(done.document.to_yaml(Secrets::Shown).contains("given later"));
}
#[test]
fn ten_thousand_tunnels_are_read_in_seconds() {
    let mut text = String::from("# 2026-01-02 03:04:05 by RouterOS 7.22.3\n/ip ipsec peer\n");
    for n in 0..10_000 {
        text += &format!("add address=10.{}.{}.1/32 exchange-mode=ike2 name=p{n}\n", n / 256, n % 256);
    }
    text += "/ip ipsec identity\n";
    (0..10_000).for_each(|n| text += &format!("add peer=p{n} secret=secret{n}\n"));
    let start = std::time::Instant::now();
    let done = import(&text);
    assert_eq!(done.report.count(Outcome::Refused), 0, "{}", done.report.summary());
    assert_eq!(done.document.len(), 20_000);
    // Far above what it takes, far below what anything quadratic with a large factor would.
    assert!(start.elapsed().as_secs() < 60, "{:?}", start.elapsed());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn any_text_is_imported(pieces in proptest::collection::vec(piece(), 0..40)) {
        let text = pieces.concat();
        for done in [import(&text), swanctl::import(&text)] {
            prop_assert!(config::Document::from_yaml(&done.document.to_yaml(Secrets::Shown)).is_ok(), "{}", text);
        }
    }
}
/// Texts that look like sources more than chance would have it.
fn piece() -> impl Strategy<Value = String> {
    static WORDS: [&str; 31] = [
        "/ip ipsec peer\nadd ",
        "/ip ipsec policy\nadd ",
        "/ip ipsec identity add ",
        "/ip route add ",
        "set [find ",
        "default=yes] ",
        "set 0 ",
        "move 0 1\n",
        "remove [find]\n",
        "name=a ",
        "peer=a ",
        "address=10.0.0.1/8 ",
        "src-address=::/0 ",
        "dst-address=1.1.1.1 ",
        "template=yes ",
        "secret=x ",
        "exchange-mode=ike2 ",
        "lifetime=1h ",
        "\n",
        "\n",
        "\\\n  ",
        "connections { ",
        "a { ",
        "} ",
        "local_addrs = 1.2.3.4\n",
        "children { ",
        "remote_ts = dynamic\n",
        "esp_proposals = aes128-sha1\n",
        "pools { ",
        "addrs = 10.0.0.0/24\n",
        "place-before=1 ",
    ];
    prop_oneof![
        proptest::sample::select(&WORDS[..]).prop_map(str::to_owned),
        "[ -~]{0,12}",
        any::<char>().prop_map(String::from)
    ]
}
