//! A configuration written as a script is read back as the same; the script has RouterOS's shape.
mod random;

use config::Document;
use config::document::Secrets;
use config::schema::{Place, place, places};
use config::script::export::{Amount, Style, export, export_menu};
use config::script::import;
use proptest::prelude::*;

const SHOWN: Style = Style { amount: Amount::Compact, secrets: Secrets::Shown };

fn at(path: &str) -> &'static Place {
    place(path).expect("a menu")
}
type Row = (&'static str, bool, Vec<(&'static str, String)>);
/// What every row means, whether it is written or the default.
fn meaning(document: &Document) -> Vec<Row> {
    let mut rows = Vec::new();
    for place in places() {
        for row in document.rows(place) {
            let cells = place.fields.iter().filter(|field| !(row.built_in && field.name == "default"));
            let cells =
                cells.filter_map(|field| Some((field.name, row.effective(place, field.name)?.to_owned())));
            rows.push((place.path, row.built_in, cells.collect()));
        }
    }
    rows
}
fn scripted(document: &Document, amount: Amount) -> String {
    let style = Style { amount, secrets: Secrets::Shown };
    export(document, style, "2026-01-02 03:04:05", "0.1.0").to_string()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn an_export_is_read_back_as_the_same(document in random::document()) {
        for amount in [Amount::Compact, Amount::Terse, Amount::Verbose] {
            let text = scripted(&document, amount);
            let read = import(&text);
            let refused: Vec<_> = read.report.notes.iter().filter(|note| !note.said.contains("not in the source")).collect();
            prop_assert!(refused.is_empty(), "{refused:?}\n{text}");
            prop_assert_eq!(meaning(&read.document), meaning(&document), "{}", text);
            // And what was read is written as the same again.
            if amount == Amount::Compact {
                prop_assert_eq!(scripted(&read.document, amount), text);
            }
        }
    }
    #[test]
    fn an_export_that_hides_secrets_has_none(document in random::document()) {
        let style = Style { amount: Amount::Verbose, secrets: Secrets::Hidden };
        let text = export(&document, style, "2026-01-02", "0.1.0").replace("\\\n    ", "");
        for row in places().iter().flat_map(|place| document.rows(place)) {
            for (_, secret) in row.cells().filter(|(field, text)| field.is_secret() && text.len() > 12) {
                prop_assert!(!text.contains(secret));
            }
        }
    }
}

#[test]
fn lines_have_routeros_s_shape() {
    let mut document = Document::new();
    let add = |document: &mut Document, path: &str, cells: &[(&str, &str)]| {
        document.add(at(path), cells, None).unwrap_or_else(|fault| panic!("{fault}"))
    };
    add(&mut document, "ip.ipsec.policy-group", &[("name", "ike2-policies")]);
    add(
        &mut document,
        "ip.ipsec.profile",
        &[("name", "ike2"), ("dh-group", "ecp256"), ("enc-algorithm", "aes-256")],
    );
    add(
        &mut document,
        "ip.ipsec.peer",
        &[
            ("name", "site2"),
            ("address", "192.168.80.1"),
            ("exchange-mode", "ike2"),
            ("profile", "ike2"),
            ("comment", "to \"site 2\", caf\u{e9}; costs $5"),
        ],
    );
    add(&mut document, "ip.ipsec.identity", &[("peer", "site2"), ("secret", "s3cr3t")]);
    let policies = at("ip.ipsec.policy");
    let built_in = document.rows(policies)[0].id;
    document.set(policies, built_in, &[("disabled", Some("yes"))]).unwrap();
    let long = "a remark that is longer than a line may be, so that it has to be continued on the next one, and the next";
    add(
        &mut document,
        "ip.ipsec.policy",
        &[
            ("peer", "site2"),
            ("tunnel", "yes"),
            ("src-address", "10.1.202.0/24"),
            ("dst-address", "10.1.101.0/24"),
            ("comment", long),
        ],
    );
    let drop = add(
        &mut document,
        "ip.ipsec.policy",
        &[("action", "discard"), ("src-address", "10.9.0.0/16"), ("dst-address", "0.0.0.0/0")],
    );
    document.move_before(policies, &[drop], Some(built_in)).unwrap();
    assert_eq!(
        scripted(&document, Amount::Compact),
        r#"# 2026-01-02 03:04:05 by espway 0.1.0
#
/ip ipsec policy group
add name=ike2-policies
/ip ipsec profile
add dh-group=ecp256 enc-algorithm=aes-256 name=ike2
/ip ipsec peer
add address=192.168.80.1/32 comment="to \"site 2\", caf\C3\A9; costs \$5" exchange-mode=ike2 \
    name=site2 profile=ike2
/ip ipsec identity
add peer=site2 secret=s3cr3t
/ip ipsec policy
add action=discard dst-address=0.0.0.0/0 src-address=10.9.0.0/16 place-before=[ find default=yes ]
set [ find default=yes ] disabled=yes
add comment="a remark that is longer than a line may be, so that it has to be continued on the nex\
    t one, and the next" dst-address=10.1.101.0/24 peer=site2 src-address=10.1.202.0/24 tunnel=yes
"#
    );
    assert_eq!(
        export_menu(
            &document,
            Style { amount: Amount::Terse, secrets: Secrets::Hidden },
            "ip ipsec identity"
        )
        .as_str(),
        "/ip ipsec identity add peer=site2\n"
    );
    assert!(export_menu(&document, SHOWN, "ip ipsec policy").starts_with("/ip ipsec policy group\n"));
}

#[test]
fn logs_to_another_machine_are_taken_over_as_routeros_writes_them() {
    let text = "/system logging action\nset 3 remote=192.0.2.50 remote-port=5514\n\
        add bsd-syslog=yes name=old remote=192.0.2.51 syslog-facility=local7 syslog-severity=alert target=remote\n\
        /system logging\nadd action=remote topics=ipsec,!debug\nadd action=old topics=error\n";
    let read = import(text);
    let notes: Vec<_> =
        read.report.notes.iter().filter(|note| !note.said.contains("not in the source")).collect();
    assert!(notes.is_empty(), "{notes:?}");
    let actions = at("log-action");
    let row = |name: &str| read.document.by_name(actions, name).expect("there");
    assert_eq!(
        (row("remote").get("remote"), row("remote").get("remote-port")),
        (Some("192.0.2.50"), Some("5514"))
    );
    assert_eq!(
        (row("old").get("syslog-facility"), row("old").get("target")),
        (Some("local7"), Some("remote"))
    );
    let again = export_menu(&read.document, SHOWN, "system logging action").to_string();
    assert!(again.contains("set [ find name=remote ] remote=192.0.2.50 remote-port=5514"), "{again}");
}
