//! The objects: what is written comes back in every form, changes are whole or refused, references hold.
mod random;

use config::Document;
use config::document::{Change, FaultKind, HIDDEN, Id, Secrets, default};
use config::schema::{Kind, place, places};
use proptest::prelude::*;

fn at(path: &str) -> &'static config::schema::Place {
    place(path).expect("a menu")
}
fn peer() -> &'static config::schema::Place {
    at("ip.ipsec.peer")
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn yaml_reads_back_as_the_same(document in random::document()) {
        let text = document.to_yaml(Secrets::Shown);
        let read = Document::from_yaml(&text).map_err(|c| TestCaseError::fail(format!("{c}\n{}", *text)))?;
        prop_assert_eq!(random::shown(&read.0), random::shown(&document));
        prop_assert!(read.0 == document);
    }
    #[test]
    fn json_reads_back_as_the_same(document in random::document()) {
        let text = document.to_json(Secrets::Shown).to_string();
        let read = Document::from_json(&text).map_err(|e| TestCaseError::fail(e.to_string()))?;
        prop_assert!(read == document, "{}\n{}", random::shown(&read), random::shown(&document));
    }
    #[test]
    fn no_secret_is_in_what_hides_them(document in random::document()) {
        let (yaml, json) = (document.to_yaml(Secrets::Hidden), document.to_json(Secrets::Hidden).to_string());
        let debug = format!("{document:?}");
        for row in places().iter().flat_map(|place| document.rows(place)) {
            for (_, secret) in row.cells().filter(|(field, text)| field.is_secret() && text.len() > 12) {
                prop_assert!(!yaml.contains(secret) && !json.contains(secret) && !debug.contains(secret));
            }
        }
        for difference in document.since(&Document::new()) {
            let line = difference.to_string();
            for (_, secret) in difference.object().cells().filter(|(field, text)| field.is_secret() && text.len() > 12) {
                prop_assert!(!line.contains(secret));
            }
        }
    }
    #[test]
    fn a_document_does_not_differ_from_itself_and_checking_never_panics(document in random::document()) {
        prop_assert!(document.since(&document).is_empty());
        match document.check() {
            Ok(_) => {}
            Err(complaints) => for complaint in &complaints.list {
                prop_assert!(complaint.path == "file" || complaint.path == "system" || document.at_path(&complaint.path).is_some()
                    || !complaint.path.contains('['), "{}", complaint.path);
            }
        }
    }
    #[test]
    fn what_differs_tells_the_rows_that_were_touched(document in random::document(), which: prop::sample::Index) {
        let rows: Vec<_> = places().iter().filter(|p| p.field("comment").is_some())
            .flat_map(|place| document.rows(place).iter().map(move |row| (place, row.id))).collect();
        prop_assume!(!rows.is_empty());
        let (place, id) = rows[which.index(rows.len())];
        let mut changed = document.clone();
        changed.set(place, id, &[("comment", Some("touched now"))]).expect("a comment");
        let differences = changed.since(&document);
        prop_assert_eq!(differences.len(), 1);
        prop_assert_eq!((differences[0].place.path, differences[0].object().id), (place.path, id));
    }
}

#[test]
fn defaults_are_in_the_form_in_which_values_are_kept() {
    for place in places() {
        let mut document = Document::new();
        for field in &place.fields {
            let Some(text) = default(field).filter(|text| !text.is_empty()) else { continue };
            if place.is_list() || field.name == "default" {
                continue;
            }
            document.set(place, Id(0), &[(field.name, Some(text))]).expect(field.name);
            assert_eq!(
                document.rows(place)[0].get(field.name),
                Some(text),
                "{} {}",
                place.console,
                field.name
            );
        }
    }
}

#[test]
fn the_annotated_file_is_kept_whole() {
    let text = include_str!("../../../config.yaml");
    let (document, complaints) = Document::from_yaml(text).expect("good");
    assert!(complaints.is_empty(), "{complaints}");
    let (from_file, from_objects) = (config::check(text).expect("good"), document.check().expect("good"));
    assert_eq!(from_file.config, from_objects.config);
    let again = Document::from_yaml(&document.to_yaml(Secrets::Shown)).expect("good").0;
    assert_eq!(again.check().expect("good").config, from_file.config);
}

#[test]
fn names_are_followed_and_guarded() {
    let mut document = Document::new();
    let (profile, peer) = (at("ip.ipsec.profile"), peer());
    let strong = document.add(profile, &[("name", "strong")], None).expect("new");
    let site = document.add(peer, &[("name", "b"), ("profile", "strong")], None).expect("new");
    assert_eq!(document.add(peer, &[("name", "b")], None).expect_err("taken").kind, FaultKind::Conflict);
    let fault = document.remove(profile, strong).expect_err("in use");
    assert_eq!(
        fault.to_string(),
        "ip ipsec profile strong: `ip ipsec peer b` uses it; change or remove that first"
    );
    document.set(profile, strong, &[("name", Some("stronger"))]).expect("free");
    assert_eq!(document.row(peer, site).and_then(|row| row.get("profile")), Some("stronger"));
    document.remove(peer, site).expect("nobody names it");
    document.remove(profile, strong).expect("nobody names it now");
    assert_eq!(document, Document::new());
}

#[test]
fn built_in_rows_change_but_stay() {
    let mut document = Document::new();
    let profile = at("ip.ipsec.profile");
    let id = document.by_name(profile, "default").expect("built in").id;
    assert_eq!(document.remove(profile, id).expect_err("built in").kind, FaultKind::Conflict);
    assert!(document.set(profile, id, &[("name", Some("x"))]).is_err());
    document.set(profile, id, &[("dh-group", Some("x25519"))]).expect("may change");
    assert!(document.to_yaml(Secrets::Shown).contains("name: default\n        dh-group: x25519"));
    document.reset(profile, id).expect("built in");
    assert_eq!(&*document.to_yaml(Secrets::Shown), "");
    let template = &document.rows(at("ip.ipsec.policy"))[0];
    assert!(template.built_in && template.get("template") == Some("yes"));
}

#[test]
fn a_refused_change_leaves_nothing_behind() {
    let mut document = Document::new();
    let id = document.add(peer(), &[("name", "b"), ("address", "192.0.2.1")], None).expect("new");
    let before = document.clone();
    for change in [("port", "70000"), ("nonsense", "1"), ("exchange-mode", "ike3"), ("responder", "yes")] {
        let fault = document
            .set(peer(), id, &[("comment", Some("x")), (change.0, Some(change.1))])
            .expect_err(change.0);
        assert_eq!(fault.property.as_deref(), Some(change.0));
        assert!(fault.to_string().starts_with("ip ipsec peer b: "), "{fault}");
        assert_eq!(document, before);
    }
    assert!(document.add(at("ip.ipsec.identity"), &[("secret", "x")], None).is_err(), "needs a peer");
    let identity = at("ip.ipsec.identity");
    assert!(document.add(identity, &[("peer", "b"), ("secret", HIDDEN)], None).is_err(), "not a secret");
    assert_eq!(document, before);
}

#[test]
fn rows_move_in_the_order_they_are_given() {
    let policy = at("ip.ipsec.policy");
    let mut document = Document::new();
    let add = |document: &mut Document, n: u8, before| {
        let network = format!("10.{n}.0.0/16");
        document
            .add(policy, &[("src-address", &network), ("dst-address", "192.0.2.0/24")], before)
            .expect("new")
    };
    let ids: Vec<Id> = (0..4).map(|n| add(&mut document, n, None)).collect();
    let order = |document: &Document| -> Vec<Id> {
        document.rows(policy).iter().filter(|row| !row.built_in).map(|row| row.id).collect()
    };
    document.move_before(policy, &[ids[3], ids[1]], Some(ids[0])).expect("there");
    assert_eq!(order(&document), [ids[3], ids[1], ids[0], ids[2]]);
    document.move_before(policy, &[ids[3]], None).expect("there");
    assert_eq!(order(&document), [ids[1], ids[0], ids[2], ids[3]]);
    let first = add(&mut document, 9, Some(ids[1]));
    assert_eq!(order(&document)[0], first);
    let before = document.clone();
    document.move_before(policy, &[ids[2]], Some(first)).expect("there");
    let differences = document.since(&before);
    assert!(
        matches!(&differences[..], [one] if matches!(&one.change, Change::Moved(row) if row.id == ids[2]))
    );
    assert!(document.move_before(peer(), &[], None).is_err(), "no order there");
}

#[test]
fn what_this_version_lacks_is_kept_and_refused_by_name_when_it_is_to_run() {
    let text = "interface:\n  - name: lab\n    device: null\nip:\n  ipsec:\n    mode-config:\n      - name: rw\n        address-pool: none\n    peer:\n      - name: old\n        exchange-mode: main\n";
    let (document, _) = Document::from_yaml(text).expect("kept");
    assert!(document.by_name(at("ip.ipsec.mode-config"), "rw").is_some());
    let complaints = document.check().expect_err("not run").to_string();
    assert!(complaints.contains("configuration payloads (mode-config)"), "{complaints}");
    assert!(complaints.contains("IKEv1"), "{complaints}");
    let mut off = document.clone();
    let mode_config = off.by_name(at("ip.ipsec.mode-config"), "rw").expect("kept").id;
    off.remove(at("ip.ipsec.mode-config"), mode_config).expect("unused");
    let peer_id = off.by_name(peer(), "old").expect("kept").id;
    off.set(peer(), peer_id, &[("disabled", Some("yes"))]).expect("may be");
    let checked = off.check().expect("a disabled row takes part in nothing");
    assert!(checked.warnings.to_string().contains("IKEv1"), "{}", checked.warnings);
}

#[test]
fn every_menu_has_a_path_of_its_own_on_the_console() {
    let mut seen = std::collections::HashSet::new();
    for place in places() {
        assert!(seen.insert(place.console), "{}", place.console);
        for field in &place.fields {
            assert!(!matches!(field.property.kind, Kind::Group(_)), "{}", field.name);
        }
        for flag in place.menu.flags {
            let known =
                place.field(flag.name).is_some() || place.menu.shown.iter().any(|p| p.name == flag.name);
            assert!(known, "{}: flag {}", place.console, flag.name);
        }
    }
}

/// Where the built-in template stands among the policies: rows above it come first for what is negotiated.
#[test]
fn the_built_in_template_keeps_its_place_in_every_form() {
    use config::script;
    use config::script::export::{Amount, Style};
    let policies = at("ip.ipsec.policy");
    let text = "system: {name: t}\ninterface: [{name: wan, device: \"null\"}]\n";
    let mut document = Document::from_yaml(text).expect("good").0;
    let add = |document: &mut Document, dst: &str| {
        let cells = [("src-address", "10.1.0.0/16"), ("dst-address", dst), ("action", "discard")];
        document.add(policies, &cells, None).expect("a row")
    };
    let (first, _) = (add(&mut document, "10.2.0.0/16"), add(&mut document, "10.3.0.0/16"));
    let places_of =
        |document: &Document| document.rows(policies).iter().map(|row| row.built_in).collect::<Vec<_>>();
    let built_in = document.rows(policies)[0].id;
    for (before, expected) in [(None, [true, false, false]), (Some(built_in), [false, true, false])] {
        if let Some(before) = before {
            document.move_before(policies, &[first], Some(before)).expect("both are there");
        }
        assert_eq!(places_of(&document), expected);
        let yaml = document.to_yaml(Secrets::Shown);
        assert_eq!(yaml.contains("default: yes"), before.is_some(), "{}", *yaml);
        let read = Document::from_yaml(&yaml).expect("good").0;
        assert_eq!(places_of(&read), expected, "{}", *yaml);
        let json = Document::from_json(&document.to_json(Secrets::Shown).to_string()).expect("good");
        assert_eq!(places_of(&json), expected);
        let style = Style { amount: Amount::Compact, secrets: Secrets::Shown };
        let script = script::export::export(&document, style, "now", "0");
        assert_eq!(places_of(&script::import(&script).document), expected, "{}", *script);
        // And where it stands is where its policies will be.
        let of = |document: &Document| document.check().expect("good").config.ipsec.templates[0].place;
        assert_eq!(
            (of(&document), of(&read)),
            (usize::from(before.is_some()), usize::from(before.is_some()))
        );
    }
}

#[test]
fn remarks_stay_with_what_they_stand_before() {
    let text = "\
# of the whole
system: {name: t} # the name
ip:
  ipsec:
    # peers, by site
    peer:
      # the first
      # in two lines
      - name: a
        address: 192.0.2.1 # its address
        # before a property
        exchange-mode: ike2
      - {name: b, address: 192.0.2.2, comment: \"no # remark\"}
      # the last
      - {name: c, address: 192.0.2.3}
# at the end
";
    let mut document = Document::from_yaml(text).expect("good").0;
    let of = |document: &Document, name: &str| {
        document.by_name(peer(), name).expect("there").remark().map(str::to_owned).collect::<Vec<_>>()
    };
    assert_eq!(of(&document, "a"), [" the first", " in two lines", " its address", " before a property"]);
    assert_eq!((of(&document, "b"), of(&document, "c")), (vec![], vec![" the last".to_owned()]));
    // A row is edited, one removed, one added; what was said of the others stays.
    let (a, b) = (document.by_name(peer(), "a").expect("a").id, document.by_name(peer(), "b").expect("b").id);
    document.set(peer(), a, &[("name", Some("a2")), ("passive", Some("yes"))]).expect("good");
    document.remove(peer(), b).expect("nobody uses it");
    document.add(peer(), &[("name", "d"), ("address", "192.0.2.4")], None).expect("good");
    let written = document.to_yaml(Secrets::Shown);
    let lines: Vec<&str> = written.lines().collect();
    assert_eq!(
        lines,
        [
            "# of the whole",
            "# the name",
            "system:",
            "  name: t",
            "ip:",
            "  ipsec:",
            "    # peers, by site",
            "    peer:",
            "      # the first",
            "      # in two lines",
            "      # its address",
            "      # before a property",
            "      - name: a2",
            "        address: 192.0.2.1/32",
            "        exchange-mode: ike2",
            "        passive: yes",
            "      # the last",
            "      - name: c",
            "        address: 192.0.2.3/32",
            "      - name: d",
            "        address: 192.0.2.4/32",
            "# at the end",
        ]
    );
    let again = Document::from_yaml(&written).expect("good").0;
    assert_eq!(*again.to_yaml(Secrets::Shown), *written);
    assert!(
        again == document && !again.to_yaml(Secrets::Hidden).contains('#'),
        "nobody knows what is in remarks"
    );
    // A RouterOS script has them, too, and what is in one comes with its rows.
    let style = config::script::export::Style {
        amount: config::script::export::Amount::Compact,
        secrets: Secrets::Shown,
    };
    let script = config::script::export::export(&document, style, "now", "0");
    assert!(script.contains("\n# the last\nadd address=192.0.2.3/32 name=c\n"), "{}", *script);
    let read = config::script::import(&script).document;
    assert_eq!((of(&read, "c"), of(&read, "d")), (vec![" the last".to_owned()], vec![]));
    let routeros = "# 2026-01-02 03:04:05 by RouterOS 7.22.3\n# software id = ABCD\n#\n/ip ipsec peer\n\
                    add address=192.0.2.1/32 name=x\n# This entry is unreachable\nadd address=192.0.2.2/32 name=y\n";
    let read = config::script::import(routeros).document;
    assert_eq!((of(&read, "x"), of(&read, "y")), (vec![], vec![" This entry is unreachable".to_owned()]));
}
/// Whatever somebody wrote there: what is written is read again.
#[test]
fn odd_remarks_break_no_line() {
    let odd = "/ip ipsec peer\n# a\u{7}b\u{85}c\u{2028}d\u{feff}\\\nadd address=192.0.2.1/32 name=x\n";
    let document = config::script::import(odd).document;
    let yaml = document.to_yaml(Secrets::Shown);
    assert!(yaml.contains("# a b c d \\\n"), "{}", *yaml);
    let again = Document::from_yaml(&yaml).expect("good").0;
    assert_eq!(*again.to_yaml(Secrets::Shown), *yaml);
    assert!(again == document && again.rows(peer()).len() == 1);
}
/// Text that looks like a remark and is none: it stays a value and is written nowhere else.
#[test]
fn what_is_within_a_value_is_no_remark() {
    let text = "ip:\n  ipsec:\n    peer: [{name: a, address: 192.0.2.1}]\n    identity:\n      - peer: a\n        secret: \"x\n          #not a remark\"\n";
    let document = Document::from_yaml(text).expect("good").0;
    assert!(!document.to_yaml(Secrets::Hidden).contains("not a remark"));
    assert_eq!(document.to_yaml(Secrets::Shown).matches("not a remark").count(), 1);
}
/// A file of nothing but remarks is read in no time, and they are not kept.
#[test]
fn g1_very_many_remarks_are_left_out() {
    let text = format!("{}system: {{name: t}}\n", "# again\n".repeat(1_000_000));
    let document = Document::from_yaml(&text).expect("good").0;
    assert_eq!(document.to_yaml(Secrets::Shown).as_str(), "system:\n  name: t\n");
}
