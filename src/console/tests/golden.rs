//! Every menu as the console shows it, held against files that are read before they are committed.
use super::{Desk, live, rich, vectors};
use crate::console::offline::OnFile;
use crate::console::style::Style;
use config::schema::{Place, places};

const WIDTH: Style = Style { width: Some(100), colours: false };

fn hold(name: &str, text: &str) {
    let path = vectors(name);
    if std::env::var_os("ESPWAY_BLESS").is_some() {
        return std::fs::write(&path, text).expect("it can be written");
    }
    let wanted = std::fs::read_to_string(&path).unwrap_or_default();
    for (at, (is, was)) in text.lines().zip(wanted.lines()).enumerate() {
        assert_eq!(is, was, "{name} line {}; ESPWAY_BLESS=1 writes it anew", at + 1);
    }
    assert_eq!(text.lines().count(), wanted.lines().count(), "{name}; ESPWAY_BLESS=1 writes it anew");
}
fn all(desk: &mut Desk, menus: impl Iterator<Item = &'static Place>, command: &str) -> String {
    let lines = menus.map(|place| format!("/{}/{command}", place.console.replace(' ', "/")));
    lines.map(|line| format!("[admin@gw] > {line}\n{}\n", desk.say(&line))).collect()
}
fn written() -> impl Iterator<Item = &'static Place> {
    places().iter().filter(|place| place.menu.shape.is_written())
}

#[test]
fn golden_configuration() {
    let mut desk = Desk::new(Box::new(OnFile::of(rich())), WIDTH);
    for (name, command) in [
        ("print.txt", "print"),
        ("detail.txt", "print detail"),
        ("terse.txt", "print terse"),
        ("value-list.txt", "print value-list"),
    ] {
        hold(name, &all(&mut desk, written(), command));
    }
    // The first two lines say when and by which version.
    let script = |desk: &mut Desk, line: &str| {
        desk.say(line).lines().skip(2).map(|l| format!("{l}\n")).collect::<String>()
    };
    hold("export.rsc", &script(&mut desk, "/export show-sensitive"));
    hold("export-terse.rsc", &script(&mut desk, "/export terse"));
}
#[test]
fn golden_live() {
    let mut desk = Desk::new(Box::new(live()), WIDTH);
    let mut text = String::new();
    for line in [
        "/ip/ipsec/active-peers/print",
        "/ip/ipsec/active-peers/print detail",
        "/ip/ipsec/installed-sa/print",
        "/ip/ipsec/installed-sa/print brief",
        "/ip/ipsec/installed-sa/print where (spi=0x2953159 or spi=0x8051BFF6) and dst-address~\"198.51.100\"",
        "/ip/ipsec/statistics/print",
        "/ip/ipsec/policy/print",
        "/ip/ipsec/policy/print detail where !template",
        "/ip/ipsec/diagnosis/print",
        "/ip/ipsec/diagnosis/print detail",
        "/log/print where topics~\"ipsec\"",
        "/system/history/print",
    ] {
        text += &format!("[admin@gw] > {line}\n{}\n", desk.say(line));
    }
    hold("live.txt", &text);
}
/// Every row of every list is in the table, and every property that is written is in the detail.
#[test]
fn nothing_written_is_left_out() {
    let rich = rich();
    let mut desk = Desk::on(rich.clone());
    for place in written() {
        let path = place.console.replace(' ', "/");
        let count = desk.say(&format!("/{path}/print count-only"));
        assert_eq!(count.trim(), rich.rows(place).len().to_string(), "{path}");
        let detail = desk.say(&format!("/{path}/print detail show-sensitive"));
        for (field, text) in rich.rows(place).iter().flat_map(|row| row.cells()) {
            if !matches!(field.name, "disabled" | "default") && !text.is_empty() {
                let shown = detail.contains(&text.replace('"', "\\\"")) || detail.contains(text);
                assert!(shown, "{path} {}={text}\n{detail}", field.name);
            }
        }
        assert!(!rich.rows(place).is_empty(), "{path}: gateway.yaml needs a row, then ESPWAY_BLESS=1");
    }
}
