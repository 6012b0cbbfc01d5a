//! The console language: what is read from a text, which rows a condition holds for, what a beginning of a word
//! means, what may follow at a place of a line.
use config::script::complete::{self, Expected};
use config::script::expr::{self, Next};
use config::script::names::{self, Here, menus};
use config::script::{Expr, Item, ItemKind, Lead, Script, Span, Statement, Value, ValueKind, decode, parse};
use proptest::prelude::*;
use std::fmt::Write;
use std::time::Duration;

/// A script as one line of text, faults behind.
fn show(text: &str) -> String {
    let script = parse(text);
    let mut out = script.statements.iter().map(|s| statement(text, s)).collect::<Vec<_>>().join("; ");
    for fault in &script.faults {
        _ = write!(out, " !{}", fault.said);
    }
    out
}
fn statement(text: &str, statement: &Statement) -> String {
    let lead = match statement.lead {
        Lead::Here => "",
        Lead::Root => "/",
        Lead::Global => ":",
    };
    let items: Vec<_> = statement.items.iter().map(|i| item(text, i)).collect();
    format!("{lead}{}", items.join(" "))
}
fn item(text: &str, item: &Item) -> String {
    match &item.kind {
        ItemKind::Word(word) => word.to_string(),
        ItemKind::Named { name, value: of, .. } => format!("{name}={}", value(text, of)),
        ItemKind::Not(name) => format!("!{name}"),
        ItemKind::Value(of) => value(text, of),
    }
}
fn value(text: &str, value: &Value) -> String {
    let all = |statements: &[Statement]| {
        statements.iter().map(|s| statement(text, s)).collect::<Vec<_>>().join("; ")
    };
    match &value.kind {
        ValueKind::Missing => "<>".into(),
        ValueKind::Text { text, quoted: false } => format!("<{}>", text.as_str().escape_debug()),
        ValueKind::Text { text, quoted: true } => format!("{:?}", text.as_str()),
        ValueKind::Command(body) => format!("[{}]", all(&body.statements)),
        ValueKind::Block(body) => format!("{{{}}}", all(&body.statements)),
        ValueKind::Paren { inner, .. } => format!("({})", inner.of(text)),
        ValueKind::Variable => "$".into(),
    }
}

#[test]
fn statements_are_read_as_the_console_reads_them() {
    for (text, seen) in [
        ("/ip ipsec peer\nadd name=a", "/ip ipsec peer; add name=<a>"),
        ("/ip/ipsec/peer/add name=a\r\nset 0 !comment", "/ip/ipsec/peer/add name=<a>; set 0 !comment"),
        ("/", "/"),
        ("..; .. profile print", "..; .. profile print"),
        (":put \"a\"; :global x 1", ":put \"a\"; :global x 1"),
        ("add a=1 \\\n    b=2", "add a=<1> b=<2>"),
        ("add peer=\\\r\n    ike2 x=1", "add peer=<ike2> x=<1>"),
        ("add comment=\"one \\\n    two\"", "add comment=\"one two\""),
        ("add na\\\nme=lo\\\n   ng", "add name=<long>"),
        ("add comment=\"a\\\"b\\\\c\\_d\\n\\24\\$e\\?\"", "add comment=\"a\\\"b\\\\c d\\n$$e?\""),
        ("add comment=\"\\C3\\A9 \\E9 caf\\C3\\A9\"", "add comment=\"é é café\""),
        ("add comment=\"ends with \\\\\"\nadd", "add comment=\"ends with \\\\\"; add"),
        ("set [ find default=yes ] a=b", "set [find default=<yes>] a=<b>"),
        ("set [find where name~\"^a b\"] x=y", "set [find where name~^a b] x=<y>"),
        ("add x=[:put [get 0 name]]", "add x=[:put [get 0 name]]"),
        (
            "remove [find dynamic]; print where (a=1 or b=2)",
            "remove [find dynamic]; print where (a=1 or b=2)",
        ),
        (
            "/ip ipsec { peer { add name=a\nadd name=b }; profile print }",
            "/ip ipsec {peer {add name=<a>; add name=<b>}; profile print}",
        ),
        ("# remark\n  # another\nadd a=b # behind\nprint", "add a=<b>; print"),
        ("add comment=#1 x=a#b", "add comment=<#1> x=<a#b>"),
        ("add a= b=\"\" c=a=b", "add a=<> b=\"\" c=<a=b>"),
        ("add secret=a(b)c{d}[e]", "add secret=<a(b)c{d}[e]>"),
        ("add secret=$x y=\"a$b\" z=\"5 \\$\" w=$", "add secret=$ y=$ z=\"5 $\" w=<$>"),
        ("add my-id=fqdn:\"a b\"", "add my-id=<fqdn:a b>"),
        ("move 20 0; remove *1A,*2; set 0,1 a=b", "move 20 0; remove *1A,*2; set 0,1 a=<b>"),
        ("\u{feff}add", "\u{feff}add"),
        ("", ""),
        (" \n;;\n", ""),
    ] {
        assert_eq!(show(text), seen, "{text:?}");
    }
}
#[test]
fn a_fault_ends_its_statement_and_nothing_else() {
    for (text, seen) in [
        ("add a=\"open\nadd b=c", "add a=\"open\"; add b=<c> !the quote is not closed before the line ends"),
        ("set [find a=b\nadd b=c", "set [find a=<b>]; add b=<c> !`]` is missing"),
        ("print where (a=b\nadd", "print where (a=b); add !`)` is missing"),
        ("add ] x=1\nadd", "add x=<1>; add !`]` closes nothing here"),
        ("}\nadd", "add !`}` closes nothing here"),
        ("{ add", "{add} !`}` is missing"),
    ] {
        assert_eq!(show(text), seen, "{text:?}");
    }
    assert!(show("add a=\"x\\qy\"").contains("begins no escape"));
    let deep = "[".repeat(100_000);
    assert!(show(&deep).contains("more than 24 brackets"));
}
#[test]
fn faults_and_items_know_their_place_and_hide_what_they_hold() {
    let text = "/ip ipsec\nadd secret=\"s3cret";
    let script = parse(text);
    assert_eq!(script.faults[0].span.of(text), "\"s3cret");
    assert!(script.statements[1].faulty && !script.statements[0].faulty);
    assert!(!format!("{script:?}").contains("s3cret"));
    let ItemKind::Named { name_span, value, .. } = &script.statements[1].items[1].kind else { panic!() };
    assert_eq!((name_span.of(text), value.span.of(text)), ("secret", "\"s3cret"));
}
#[test]
fn bytes_of_old_code_pages_are_read() {
    assert_eq!(*decode(b"caf\xe9 \x80"), "café €");
    assert_eq!(*decode("café".as_bytes()), "café");
}

fn condition(text: &str) -> Result<Expr, String> {
    expr::parse(text, Span { start: 0, end: text.len() }).map_err(|fault| fault.said)
}
fn holds(text: &str) -> bool {
    let row = |name: &str| {
        let value = match name {
            "name" => "office 1",
            "address" => "10.1.2.0/24",
            "peer" => "192.0.2.1",
            "disabled" => "no",
            "dynamic" => "yes",
            "lifetime" => "1h30m",
            "count" => "15",
            "spi" => "0x0F",
            "dh-group" => "modp2048,modp1024",
            "comment" => "",
            _ => return None,
        };
        Some(value.to_owned())
    };
    condition(text).unwrap_or_else(|said| panic!("{text}: {said}")).holds(&row)
}
#[test]
fn conditions_hold_for_the_rows_they_mean() {
    for (text, wanted) in [
        ("", true),
        ("name=\"office 1\"", true),
        ("name = \"office 1\"", true),
        ("name!=\"office 1\"", false),
        ("disabled", false),
        ("!disabled", true),
        ("dynamic and !disabled", true),
        ("dynamic disabled=no", true),
        ("dynamic disabled", false),
        ("disabled or dynamic", true),
        ("(disabled or dynamic) and comment", false),
        ("!(disabled or comment)", true),
        ("dynamic=true", true),
        ("name~\"^off\"", true),
        ("name~\"1\\$\"", true),
        ("address~\"10.1\"", true),
        ("lifetime>1h", true),
        ("lifetime=5400", true),
        ("lifetime=01:30:00", true),
        ("lifetime<=90m", true),
        ("count>9", true),
        ("count<9", false),
        ("count>=15 count<=15", true),
        ("spi=15", true),
        ("address in 10.0.0.0/8", true),
        ("address in 10.1.2.0/25", false),
        ("address in 0.0.0.0/0", true),
        ("address in 11.0.0.0/8,10.1.0.0/16", true),
        ("peer=192.0.2.1/32", true),
        ("peer>10.0.0.0", true),
        ("peer<2001:db8::1", true),
        ("missing", false),
        ("missing=\"\"", true),
        ("missing<5", false),
        ("dh-group=modp2048,modp1024", true),
        ("dynamic && disabled || name~\"off\"", true),
    ] {
        assert_eq!(holds(text), wanted, "{text}");
    }
}
#[test]
fn conditions_that_mean_nothing_are_refused() {
    for (text, said) in [
        ("=5", "here belongs the name of a property"),
        ("a=1)", "`)` does not belong here"),
        ("(a=1", "`)` is missing"),
        ("a~\"[\"", "not a regular expression"),
        ("a~\"(((a{500}){500}){500})\"", "too large"),
        ("a=\"x", "the quote is not closed"),
        ("a=$x", "variables are not supported"),
        ("a=[find]", "a command cannot be used here"),
        ("and", ""),
    ] {
        match condition(text) {
            Err(why) => assert!(why.contains(said) && !said.is_empty(), "{text}: {why}"),
            Ok(_) => assert!(said.is_empty(), "{text} was read"),
        }
    }
    assert!(condition(&"(".repeat(1000)).is_err());
    assert!(condition(&"a ".repeat(2000)).is_err());
}

fn resolved(line: &str) -> String {
    let script = parse(line);
    let root = Here::Known(menus().root());
    let mut here = root;
    let mut last = String::new();
    for statement in &script.statements {
        let done = names::resolve(&here, statement);
        let command = done.command.as_ref().map_or("-".into(), |c| c.name.clone());
        last = format!("{}|{command}|{}", done.menu.console(), done.arguments.len());
        if let Some((_, no_such)) = &done.unknown {
            _ = write!(last, "|{no_such}");
        }
        if done.command.is_none() {
            here = done.menu;
        }
    }
    last
}
#[test]
fn words_are_found_from_their_beginnings() {
    for (line, seen) in [
        ("/ip ipsec peer add name=a", "ip ipsec peer|add|1"),
        ("/ip/ipsec/peer/add name=a", "ip ipsec peer|add|1"),
        ("/ip ips pee ad name=a", "ip ipsec peer|add|1"),
        ("/ip ipsec\npeer add", "ip ipsec peer|add|0"),
        ("/ip ipsec peer\n.. profile print detail", "ip ipsec profile|print|1"),
        ("/ip ipsec peer\n../profile/print", "ip ipsec profile|print|0"),
        ("/ip ipsec policy group add name=x", "ip ipsec policy group|add|1"),
        ("/ip ipsec mode-conf add", "ip ipsec mode-config|add|0"),
        ("/ip ipsec mode-cfg add", "ip ipsec mode-config|add|0"),
        ("/ip ipsec remote-peers print", "ip ipsec active-peers|print|0"),
        ("/ip ipsec peer profile add", "ip ipsec profile|add|0"),
        ("/ip ipsec peer\nprofile add", "ip ipsec profile|add|0"),
        ("/ip ipsec installed-sa flush", "ip ipsec installed-sa|flush|0"),
        ("/ip ipsec peer\n/", "|-|0"),
        ("/ip ipsec p", "ip ipsec p|-|0|`p` may be peer, policy, profile, proposal"),
        (
            "/ip ipsec poilcy print",
            "ip ipsec poilcy|print|0|there is no `poilcy` here; did you mean `policy`?",
        ),
        ("/queue simple\nadd name=x", "queue simple|add|1"),
        (
            "/interface wireguard peers add name=x",
            "interface wireguard peers|add|1|there is no `wireguard` here",
        ),
        (":put [get 0]", "|put|1"),
        ("foreach i in=[find] do={ }", "|foreach|3"),
    ] {
        let got = resolved(line);
        assert!(got.starts_with(seen), "{line}: {got}");
    }
}
#[test]
fn properties_are_found_from_their_beginnings() {
    let names = ["dst-address", "dst-port", "src-address", "dst"];
    let find =
        |word| names::property("ip ipsec policy", names.iter().copied(), word).map_err(|e| e.to_string());
    assert_eq!(find("dst-a"), Ok("dst-address"));
    assert_eq!(find("dst"), Ok("dst"));
    assert_eq!(find("dst-"), Err("`dst-` may be dst-address, dst-port".into()));
    assert_eq!(find("src-adress"), Err("there is no `src-adress` here; did you mean `src-address`?".into()));
    let names = ["auth-algorithms"];
    assert_eq!(
        names::property("ip ipsec proposal", names.iter().copied(), "auth-algorithm"),
        Ok("auth-algorithms")
    );
}

fn expected(line: &str) -> (String, String, Expected) {
    let place = complete::at(line, line.len(), &Here::Known(menus().root()));
    (place.menu.console().to_owned(), place.begun.of(line).to_owned(), place.expected)
}
fn candidates(line: &str) -> Vec<String> {
    let place = complete::at(line, line.len(), &Here::Known(menus().root()));
    let rows = |menu: &str| if menu == "ip.ipsec.peer" { vec!["west".into(), "east".into()] } else { vec![] };
    place.candidates(line, &rows).into_iter().map(|candidate| candidate.text).collect()
}
#[test]
fn a_line_knows_what_may_follow() {
    let argument = |command: &str, given: &[&str]| Expected::Argument {
        command: command.into(),
        given: given.iter().map(|&name| name.to_owned()).collect(),
        bare: 0,
    };
    let value = |command: &str, property: &str| Expected::Value {
        command: command.into(),
        property: property.into(),
    };
    for (line, menu, begun, what) in [
        ("", "", "", Expected::Word),
        ("/ip ips", "ip", "ips", Expected::Word),
        ("/ip/ipsec/pe", "ip ipsec", "pe", Expected::Word),
        ("/ip ipsec ", "ip ipsec", "", Expected::Word),
        ("/ip ipsec peer; ad", "ip ipsec peer", "ad", Expected::Word),
        ("/ip ipsec peer add ", "ip ipsec peer", "", argument("add", &[])),
        ("/ip ipsec peer add name=a exch", "ip ipsec peer", "exch", argument("add", &["name"])),
        ("/ip ipsec peer add exchange-mode=", "ip ipsec peer", "", value("add", "exchange-mode")),
        ("/ip ipsec profile add dh-group=modp2048,e", "ip ipsec profile", "e", value("add", "dh-group")),
        ("/ip ipsec peer set [find na", "ip ipsec peer", "na", Expected::Condition(Next::Field)),
        (
            "/ip ipsec policy print where peer=w",
            "ip ipsec policy",
            "w",
            Expected::Condition(Next::Value { field: "peer".into() }),
        ),
        (
            "/ip ipsec policy print where peer ",
            "ip ipsec policy",
            "",
            Expected::Condition(Next::Operator { field: "peer".into() }),
        ),
        ("/ip ipsec { pee", "ip ipsec", "pee", Expected::Word),
        (":put x", "", "x", Expected::Nothing),
    ] {
        assert_eq!(expected(line), (menu.to_owned(), begun.to_owned(), what), "{line}");
    }
}
#[test]
fn candidates_come_from_the_table() {
    assert_eq!(candidates("/ip ipsec pr"), ["profile", "proposal"]);
    assert_eq!(candidates("/ip ipsec identity add peer="), ["east", "west"]);
    assert_eq!(candidates("/ip ipsec peer add exchange-mode=i"), ["ike2"]);
    assert_eq!(candidates("/ip ipsec peer add name=x na"), Vec::<String>::new());
    assert_eq!(candidates("/ip ipsec policy print where tunnel="), ["no", "yes"]);
    assert!(candidates("/ip ipsec policy ").contains(&"group".to_owned()));
    assert_eq!(candidates("/ip ipsec peer remove w"), ["west"]);
    assert_eq!(candidates("/ip ipsec peer remove west e"), ["east"]);
    assert_eq!(candidates("/ip ipsec peer set west e"), ["exchange-mode"]);
    assert_eq!(candidates("/ip ipsec peer get west exch"), ["exchange-mode"]);
    assert_eq!(candidates("/ip ipsec peer print proplist=name,addr"), ["address"]);
    assert_eq!(candidates("/interface add vlan.v"), ["vlan.vlan-id"]);
    assert_eq!(candidates("/ip ipsec identity add my-id=f"), ["fqdn:"]);
    assert_eq!(candidates("/system rollback e"), ["entry"]);
    let place = complete::at("/ip ipsec peer add na", 21, &Here::Known(menus().root()));
    assert_eq!(place.candidates("/ip ipsec peer add na", &|_| vec![])[0].then, "=");
}

/// Row G8 of the list of hostile inputs, as far as it is about reading: a long paste of anything is read in time
/// that grows with its length, and faults never repeat control characters of it.
#[test]
fn g8_a_long_paste_is_read_whatever_it_is() {
    let all = [
        "add a=",
        "\"",
        "[",
        "(",
        "{",
        "\\",
        "\\\n ",
        "\u{1b}[2J",
        "a=\"\\",
        ";",
        "/",
        "find where a~",
        "!",
        "$x ",
    ];
    for piece in all {
        let text = piece.repeat((1 << 17) / piece.len());
        let start = cpu_time();
        let script = parse(&text);
        let here = Here::Known(menus().root());
        let place = complete::at(&text, text.len(), &here);
        let _ = place.candidates(&text, &|_| Vec::new());
        let _ = expr::parse(&text, Span { start: 0, end: text.len() });
        assert!(cpu_time() - start < Duration::from_secs(10), "{piece:?}: {:?}", cpu_time() - start);
        assert!(script.faults.iter().all(|fault| !fault.said.chars().any(char::is_control)), "{piece:?}");
    }
}

/// What this thread has computed so far, however busy the machine is.
fn cpu_time() -> Duration {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    Duration::from_nanos(text.split(' ').next().and_then(|n| n.parse().ok()).unwrap_or_default())
}

/// Texts that look like scripts more than chance would have it.
fn script_like() -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        "[a-z]{1,6}",
        Just("/ip ipsec peer ".to_owned()),
        Just("add name=".to_owned()),
        Just("find where ".to_owned()),
        Just("\\\n   ".to_owned()),
        "[\\[\\](){}\"$!=<>~;#/:\\\\ \n\r\t,*.]",
        any::<char>().prop_map(String::from),
    ];
    proptest::collection::vec(piece, 0..30).prop_map(|pieces| pieces.concat())
}
fn spans(text: &str, script: &Script) {
    for statement in &script.statements {
        assert!(text.get(statement.span.bytes()).is_some());
        for item in &statement.items {
            assert!(text.get(item.span.bytes()).is_some(), "{item:?} of {text:?}");
        }
    }
}
proptest! {
    #[test]
    fn any_text_is_read(text in script_like()) {
        let script = parse(&text);
        spans(&text, &script);
        let here = Here::Known(menus().root());
        for statement in &script.statements {
            let done = names::resolve(&here, statement);
            let from = done.command.map_or(statement.span.start, |command| command.span.end);
            let _ = expr::parse(&text, Span { start: from, end: statement.span.end });
        }
        for cursor in (0..=text.len()).rev().step_by(5) {
            let place = complete::at(&text, cursor, &here);
            let _ = place.candidates(&text, &|_| Vec::new());
        }
    }
    #[test]
    fn a_quoted_text_is_read_back(content in any::<String>()) {
        let mut line = String::from("add comment=\"");
        for c in content.chars() {
            match c {
                '"' | '\\' | '$' => { line.push('\\'); line.push(c) }
                '\n' => line += "\\n",
                '\r' => line += "\\r",
                c => line.push(c),
            }
        }
        line.push('"');
        let script = parse(&line);
        prop_assert!(script.faults.is_empty());
        let ItemKind::Named { value, .. } = &script.statements[0].items[1].kind else { panic!() };
        prop_assert_eq!(value.text().map(|text| text.to_string()), Some(content));
    }
}
