//! A check of a document that was checked before and changed since says exactly what a check of the same document says
//! that nobody has seen before.
use config::Document;
use config::document::{Id, Secrets};
use config::schema::place;
use proptest::prelude::*;

const START: &str = "system: {name: t}
interface: [{name: wan, device: \"null\"}]
ip:
  address: [{address: 192.0.2.1/24, interface: wan}]
  route: [{dst-address: 0.0.0.0/0, gateway: wan}]
  ipsec:
    profile:
      - {name: p, enc-algorithm: [aes-256-gcm], hash-algorithm: sha256, dh-group: [x25519]}
      - {name: weak, enc-algorithm: [aes-256], hash-algorithm: sha1, dh-group: [modp1024]}
";

/// Menu, properties, values: some that hold, some that do not, some that only fit others.
type Properties = &'static [(&'static str, &'static [&'static str])];
const CHOICES: &[(&str, Properties)] = &[
    ("ip.address", &[("address", &["192.0.2.1/24", "192.0.2.9/24", "198.51.100.1/24"])]),
    (
        "ip.route",
        &[
            ("dst-address", &["0.0.0.0/0", "203.0.113.0/24"]),
            ("type", &["unicast", "blackhole"]),
            ("disabled", &["yes", "no"]),
        ],
    ),
    ("ip.ipsec.profile", &[("lifetime", &["1d", "2h"]), ("hash-algorithm", &["sha1", "sha256"])]),
    (
        "ip.ipsec.peer",
        &[
            ("name", &["a", "b", "c"]),
            ("address", &["192.0.2.7", "198.51.100.0/24", "203.0.113.5", "192.0.2.1"]),
            ("local-address", &["192.0.2.1", "192.0.2.9", "fd00::1"]),
            ("profile", &["p", "weak", "default"]),
            ("exchange-mode", &["ike2", "main"]),
            ("port", &["500", "4500"]),
            ("disabled", &["yes", "no"]),
        ],
    ),
    (
        "ip.ipsec.identity",
        &[
            ("peer", &["a", "b", "c"]),
            ("secret", &["a secret nobody guesses", "another one of them"]),
            ("remote-id", &["auto", "fqdn:x.example", "nonsense"]),
            ("disabled", &["yes", "no"]),
        ],
    ),
    (
        "ip.ipsec.policy",
        &[
            ("src-address", &["10.1.0.0/16", "10.1.0.0/17", "10.1.128.0/17"]),
            ("dst-address", &["10.2.0.0/16", "10.2.0.0/17", "10.2.128.0/17", "fd00::/64"]),
            ("protocol", &["all", "tcp"]),
            ("dst-port", &["any", "443"]),
            ("peer", &["a", "b", "c"]),
            ("tunnel", &["yes", "no"]),
            ("action", &["encrypt", "none", "discard"]),
            ("disabled", &["yes", "no"]),
        ],
    ),
];

#[derive(Clone, Debug)]
struct Step {
    menu: usize,
    /// What is done: 0 removes, 1 moves to the front, 2 to 4 add, the rest changes.
    what: u8,
    row: usize,
    values: Vec<(usize, usize)>,
}
fn step() -> impl Strategy<Value = Step> {
    let values = proptest::collection::vec((0..8usize, 0..4usize), 1..8);
    // Rows of the last three menus most of the time: these are what there are ten thousand of.
    let menu = prop_oneof![1 => 0..3usize, 6 => 3..6usize];
    (menu, 0..8u8, 0..8usize, values).prop_map(|(menu, what, row, values)| Step { menu, what, row, values })
}
fn make(document: &mut Document, Step { menu, what, row, values }: &Step) {
    let (menu, properties) = CHOICES[*menu];
    let place = place(menu).expect("a menu");
    let values = values.iter().map(|(property, value)| {
        let (name, values) = properties[property % properties.len()];
        (name, values[value % values.len()])
    });
    let ids: Vec<Id> = document.rows(place).iter().filter(|row| !row.built_in).map(|row| row.id).collect();
    let id = ids.get(row % ids.len().max(1)).copied();
    // Refusals are part of it: nothing is changed then.
    _ = match (what, id) {
        (0, Some(id)) => document.remove(place, id),
        (1, Some(id)) => document.move_before(place, &[id], ids.first().copied()),
        (2..=4, _) | (_, None) => {
            // Mostly something that is whole.
            let mut cells: Vec<(&str, &str)> =
                properties.iter().map(|(name, values)| (*name, values[0])).collect();
            cells.retain(|(name, _)| !["disabled", "dst-port", "type"].contains(name));
            if menu == "ip.route" {
                cells.push(("gateway", "wan"));
            }
            if menu == "ip.address" {
                cells.push(("interface", "wan"));
            }
            for (name, value) in values {
                cells.retain(|(other, _)| *other != name);
                cells.push((name, value));
            }
            document.add(place, &cells, None).map(drop)
        }
        (_, Some(id)) => {
            document.set(place, id, &values.map(|(name, value)| (name, Some(value))).collect::<Vec<_>>())
        }
    };
}
fn said(document: &Document) -> Result<(config::Config, Vec<String>), Vec<String>> {
    let lines = |complaints: &config::Complaints| {
        let mut lines: Vec<String> = complaints.to_string().lines().map(ToOwned::to_owned).collect();
        lines.sort();
        lines
    };
    match document.check() {
        Ok(checked) => Ok((checked.config, lines(&checked.warnings))),
        Err(complaints) => Err(lines(&complaints)),
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]
    #[test]
    fn a_second_check_says_what_a_first_one_says(steps in proptest::collection::vec(step(), 1..40)) {
        let (mut document, _) = Document::from_yaml(START).expect("good");
        for step in steps {
            make(&mut document, &step);
            let text = document.to_yaml(Secrets::Shown);
            let (unseen, _) = Document::from_yaml(&text).expect("it is kept");
            let (ours, theirs) = (said(&document), said(&unseen));
            prop_assert_eq!(ours, theirs, "after {:?}:\n{}", step, &*text);
            prop_assert_eq!(unseen.to_yaml(Secrets::Shown), text);
            let (marked, marks) = document.to_marked_yaml();
            let shown: Vec<_> = marks.into_iter().map(|mark| marked[mark].trim_matches('"').to_owned()).collect();
            prop_assert!(shown.iter().all(|secret| secret.contains(" nobody ") || secret.contains(" one of ")), "{:?}", shown);
            prop_assert_eq!(config::secrets_in(&marked).len(), shown.len());
        }
    }
}
