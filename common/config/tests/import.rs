//! Exports of every shape become configurations, and the report says what became of each line.
use config::document::Secrets;
use config::script::export::{Amount, Style, export};
use config::script::import::{Imported, Outcome};
use config::script::{decode, import, swanctl};
use proptest::prelude::*;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

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

/// As a script it is an import that needs no changes.
fn as_a_script(document: &config::Document) {
    let style = Style { amount: Amount::Compact, secrets: Secrets::Shown };
    let script = export(document, style, "2026-01-02 03:04:05", "0.1.0");
    let again = import(&script);
    assert_eq!(*export(&again.document, style, "2026-01-02 03:04:05", "0.1.0"), *script);
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
    as_a_script(&again);
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
/// Row G9 of the list of hostile inputs: each line is taken, translated, or listed with the reason; nothing is half-taken.
#[test]
fn g9_lines_that_are_unknown_obsolete_or_dangerous_are_listed_and_not_half_taken() {
    let done = import(
        "/ip ipsec peer\n\
         add name=w address=192.0.2.1 exchange-mode=ike2\n\
         /ip ipsec identity\n\
         add peer=w secret=x remote-id=fqdn:[/file remove 0]\n\
         add peer=w secret=\"$[/file get key contents]\"\n\
         /ip ipsec policy\n\
         add peer=w tunnel=yes src-address=10.0.0.0/8 dst-address=not.an.address\n\
         add peer=w tunnel=yes src-address=10.0.0.0/8 dst-address=10.1.0.0/16 protocol=nonsense\n\
         add peer=w tunnel=yes src-address=10.0.0.0/8 dst-address=10.2.0.0/16 src-port=99999\n\
         /tool fetch url=\"http://192.0.2.66/x\" output=file\n\
         /import file-name=more.rsc\n\
         /system script add name=\"\\1B[2J\" source=\":put 1\"\n\
         /nonsense\u{1b} add a=b\n",
    );
    let place = config::schema::place("ip.ipsec.policy").expect("a menu");
    let rows: Vec<_> = done.document.rows(place).iter().filter(|row| !row.built_in).collect();
    assert_eq!(rows.len(), 2, "the one without a destination is left out");
    assert!(rows.iter().all(|row| row.disabled()), "without protocol or port they would be for more");
    let of_line = |line: usize| done.report.lines.iter().find(|l| l.line == line).map(|l| l.outcome);
    assert_eq!(of_line(2), Some(Outcome::Done));
    for line in [4, 5, 7, 8, 9] {
        assert!(of_line(line) >= Some(Outcome::Attention), "line {line}: {}", done.report);
    }
    for line in 10..=13 {
        assert_eq!(of_line(line), Some(Outcome::NotCovered), "line {line}: {}", done.report);
    }
    let said = format!("{}{}", done.report, done.report.summary());
    assert!(!said.contains('\u{1b}'), "nothing of a source steers a terminal");
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
fn thousands_of_tunnels_are_read_in_seconds() {
    let mut text = String::from("# 2026-01-02 03:04:05 by RouterOS 7.22.3\n/ip ipsec peer\n");
    for n in 0..3_000 {
        text += &format!("add address=10.{}.{}.1/32 exchange-mode=ike2 name=p{n}\n", n / 256, n % 256);
    }
    text += "/ip ipsec identity\n";
    (0..3_000).for_each(|n| text += &format!("add peer=p{n} secret=secret{n}\n"));
    let start = cpu_time();
    let done = import(&text);
    assert_eq!(done.report.count(Outcome::Refused), 0, "{}", done.report.summary());
    assert_eq!(done.document.len(), 6_000);
    // Far above what it takes, far below what anything quadratic with a large factor would.
    assert!(cpu_time() - start < Duration::from_secs(30), "{:?}", cpu_time() - start);
}
/// What this thread has computed so far, however busy the machine is.
fn cpu_time() -> Duration {
    let text = fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or_default())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    #[test]
    fn any_text_is_imported(pieces in proptest::collection::vec(piece(), 0..40)) {
        let text = pieces.concat();
        for done in [import(&text), swanctl::import(&text)] {
            prop_assert!(config::Document::from_yaml(&done.document.to_yaml(Secrets::Shown)).is_ok(), "{}", text);
            as_a_script(&done.document);
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

#[test]
fn a_report_names_commands_as_they_are_written() {
    let text = "/ip ipsec peer add address=192.0.2.7/32 name=b\n/ip/ipsec/identity\nadd peer=b secret=abc\n\
        /ip ipsec proposal set [ find default=yes ] enc-algorithms=aes-256-gcm\nput x\n";
    let report = import(text).report;
    let commands: Vec<_> = report.lines.iter().map(|line| (line.line, line.command.as_str())).collect();
    assert_eq!(
        commands,
        [
            (1, "/ip ipsec peer add"),
            (3, "/ip ipsec identity add"),
            (4, "/ip ipsec proposal set"),
            (5, "/ip ipsec identity put")
        ]
    );
}
