//! Random documents, made from the table of properties alone: every menu, every kind of value.
use config::document::{Document, Secrets};
use config::schema::{Choice, Field, Kind, Place, places};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};

/// Text with what breaks quoting: quotes, backslashes, `$`, spaces, other alphabets, YAML's own words.
pub fn text() -> BoxedStrategy<String> {
    prop_oneof![
        "[a-z]{1,8}",
        "[ -~]{0,20}",
        "[\"\\\\$ #:;=\\[\\]{}(),'?*&!|>%@`~-]{1,6}",
        "[äñ中🦀 ]{1,4}",
        select(vec!["yes", "null", "~", "- a", "a: b", "0x10", "1e3", "a\\", "\"", "a #b", "[x]", "a  b"])
            .prop_map(str::to_owned),
    ]
    .prop_map(|text| text.trim().to_owned())
    .boxed()
}
fn choice(choices: &'static [Choice]) -> BoxedStrategy<String> {
    select(choices).prop_map(|choice| choice.name.to_owned()).boxed()
}
fn joined(each: BoxedStrategy<String>) -> BoxedStrategy<String> {
    vec(each, 0..4)
        .prop_map(|items| items.into_iter().map(|i| i.replace(',', "")).collect::<Vec<_>>().join(","))
        .boxed()
}

pub fn value(kind: Kind) -> BoxedStrategy<String> {
    let names = || select(vec!["a", "b", "site-b", "x.1", "default"]).prop_map(str::to_owned);
    match kind {
        Kind::YesNo => select(vec!["yes", "no"]).prop_map(str::to_owned).boxed(),
        Kind::Text => text(),
        Kind::Name => "[a-z][a-z0-9.:@+-]{0,9}".boxed(),
        Kind::Integer { min, max } => (min..=max).prop_map(|n| n.to_string()).boxed(),
        Kind::Size { min, max } => (min..=max).prop_map(|n| n.to_string()).boxed(),
        Kind::Time { min, max } => (min..=max.min(min + (1 << 40))).prop_map(|n| format!("{n}us")).boxed(),
        Kind::TimeOr { word, min, max } => {
            prop_oneof![Just(word.to_owned()), (min..=max).prop_map(|n| format!("{n}us"))].boxed()
        }
        Kind::One(choices) => choice(choices),
        Kind::Some(choices) => {
            let all: Vec<&str> = choices.iter().map(|c| c.name).collect();
            let most = all.len();
            proptest::sample::subsequence(all, 1..=most)
                .prop_shuffle()
                .prop_map(|words| words.join(","))
                .boxed()
        }
        Kind::Address => select(vec!["192.0.2.1", "2001:db8::1", "0.0.0.0"]).prop_map(str::to_owned).boxed(),
        Kind::InterfaceAddress => {
            select(vec!["192.0.2.1/24", "2001:db8::1/64"]).prop_map(str::to_owned).boxed()
        }
        Kind::Prefix | Kind::PrefixOrName => {
            select(vec!["192.0.2.0/24", "192.0.2.1", "::/0", "2001:db8::/32"]).prop_map(str::to_owned).boxed()
        }
        Kind::AddressRange => select(vec!["192.0.2.2-192.0.2.9", "10.0.0.0/8", "::1-::2", "192.0.2.1"])
            .prop_map(str::to_owned)
            .boxed(),
        Kind::Gateway => select(vec!["192.0.2.1", "wan", "fe80::1%wan"]).prop_map(str::to_owned).boxed(),
        Kind::Ports => select(vec!["any", "500", "1000-2000"]).prop_map(str::to_owned).boxed(),
        Kind::Protocol => {
            select(vec!["all", "tcp", "ospf", "253", "ipencap"]).prop_map(str::to_owned).boxed()
        }
        Kind::Mac => Just("02:00:00:00:00:01".to_owned()).boxed(),
        Kind::Reference(_) | Kind::References(_) => names().boxed(),
        Kind::ReferenceOr { words, .. } => {
            prop_oneof![names(), select(words).prop_map(|word| (*word).to_owned())].boxed()
        }
        Kind::List(each) => joined(value(*each)),
        Kind::Device => {
            select(vec!["af-packet:eth1", "null", "pci:0000:01:00.0"]).prop_map(str::to_owned).boxed()
        }
        Kind::Workers => select(vec!["2", "1,3"]).prop_map(str::to_owned).boxed(),
        Kind::Path => select(vec!["/run/x", "/etc/a b/c"]).prop_map(str::to_owned).boxed(),
        Kind::Tap => select(vec!["auto", "none", "tap1"]).prop_map(str::to_owned).boxed(),
        Kind::MyId | Kind::RemoteId => {
            select(vec!["auto", "fqdn:gw.example", "address:192.0.2.1", "key-id:a b"])
                .prop_map(str::to_owned)
                .boxed()
        }
        Kind::Secret => prop_oneof![
            text().prop_filter("not empty, not hidden", |t| !t.is_empty()
                && t != "***"
                && !t.starts_with("0x")),
            "0x([0-9a-f]{2}){1,40}"
        ]
        .boxed(),
        Kind::Key => "0x([0-9a-f]{2}){1,40}".boxed(),
        Kind::Group(_) => unreachable!("fields are never groups"),
    }
}

fn cells(place: &'static Place) -> BoxedStrategy<Vec<(&'static str, Option<String>)>> {
    let one = |field: &'static Field| {
        let needed = matches!(field.property.default, config::schema::Default::Needed);
        let text = value(field.property.kind);
        let maybe =
            if needed { text.prop_map(Some).boxed() } else { proptest::option::weighted(0.3, text).boxed() };
        maybe.prop_map(move |text| (field.name, text)).boxed()
    };
    // `default` marks the built-in row; others do not have it.
    place.fields.iter().filter(|f| f.name != "default").map(one).collect::<Vec<_>>().boxed()
}

type Row = Vec<(&'static str, Option<String>)>;

/// Rows of every menu, some built-in ones changed, some rows moved.
pub fn document() -> BoxedStrategy<Document> {
    let written = places().iter().filter(|place| place.menu.shape.is_written());
    let tables: Vec<_> =
        written.map(|place| (Just(place), vec(cells(place), 0..4), cells(place), any::<Index>())).collect();
    tables.prop_map(build).boxed()
}
fn build(tables: Vec<(&'static Place, Vec<Row>, Row, Index)>) -> Document {
    let mut document = Document::new();
    for (place, rows, settings, at) in tables {
        for row in rows.iter().filter(|_| place.is_list()) {
            let cells: Vec<(&str, &str)> =
                row.iter().filter_map(|(name, text)| Some((*name, text.as_deref()?))).collect();
            // Some names are taken already.
            let _ = document.add(place, &cells, None);
        }
        let built_in: Vec<_> =
            document.rows(place).iter().filter(|row| row.built_in).map(|row| row.id).collect();
        for id in built_in.iter().filter(|_| at.index(2) == 0) {
            let changes: Vec<_> = settings
                .iter()
                .filter(|(name, text)| *name != "name" && text.is_some())
                .map(|(n, t)| (*n, t.as_deref()))
                .collect();
            document.set(place, *id, &changes).expect("values of their kinds");
        }
        if place.menu.ordered && !document.rows(place).is_empty() {
            let ids: Vec<_> =
                document.rows(place).iter().filter(|row| !row.built_in).map(|row| row.id).collect();
            if !ids.is_empty() {
                // Also in front of the built-in one.
                let all: Vec<_> = document.rows(place).iter().map(|row| row.id).collect();
                let (moved, before) = (ids[at.index(ids.len())], all[at.index(all.len())]);
                document.move_before(place, &[moved], Some(before)).expect("both are there");
            }
        }
    }
    document
}

/// What a failing case shows.
#[allow(dead_code, reason = "not every test that draws documents prints them")]
pub fn shown(document: &Document) -> String {
    document.to_yaml(Secrets::Shown).to_string()
}
