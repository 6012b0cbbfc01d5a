//! Lines one by one: paths, abbreviations, items, conditions, faults with their places.
use super::{Desk, rich};
use config::Document;

fn desk() -> Desk {
    Desk::on(rich())
}

#[test]
fn menus_are_gone_to_and_commands_come_back() {
    let mut desk = desk();
    for (line, path) in [
        ("/ip ipsec", "/ip/ipsec"),
        ("peer", "/ip/ipsec/peer"),
        ("print count-only", "/ip/ipsec/peer"),
        ("/system print", "/ip/ipsec/peer"),
        ("..", "/ip/ipsec"),
        ("../pool", "/ip/pool"),
        ("/", "/"),
        ("ip ips pro", "/"),
        ("ip ips prof", "/ip/ipsec/profile"),
        ("/ip/ipsec/policy/group", "/ip/ipsec/policy/group"),
        ("/ip ipsec { peer print count-only }", "/ip/ipsec/policy/group"),
    ] {
        desk.say(line);
        assert_eq!(desk.session.shown_path(), path, "{line}");
    }
    assert_eq!(desk.say("/quit"), "(quit)\n");
}
#[test]
fn beginnings_are_enough_and_what_is_ambiguous_is_listed() {
    let mut desk = desk();
    assert_eq!(desk.say("ip ips pe pr cou"), desk.say("/ip ipsec peer print count-only"));
    assert_eq!(desk.say("ip ips p print"), "`p` may be peer, policy, profile, proposal (line 1 column 8)\n");
    assert_eq!(
        desk.say("/ip ipsec\npeer sett 0 name=x"),
        "there is no `sett` here; did you mean `set`? (line 2 column 6)\n"
    );
    assert_eq!(
        desk.say("/ip ipsec peer add nam=x exchnge-mode=ike2"),
        "there is no `exchnge-mode` here; did you mean `exchange-mode`? (line 1 column 26)\n"
    );
    assert_eq!(
        desk.say("/ip ipsec peer print where adress=1"),
        "there is no `adress` here; did you mean `address`? (line 1 column 28)\n"
    );
    assert_eq!(
        desk.say("/ip ipsec peer print detial"),
        "there is no `detial` here; did you mean `detail`? (line 1 column 22)\n"
    );
}
#[test]
fn rows_are_meant_by_number_id_name_and_condition() {
    let mut desk = desk();
    desk.say("/ip ipsec peer");
    // Without a print, numbers are those of the list.
    desk.say("set 1 port=4500");
    assert_eq!(desk.say(":put [get road port]"), "4500\n");
    // Behind a print, those of the print.
    assert!(desk.say("print where disabled").contains("old"));
    desk.say("set 0 port=4501");
    assert_eq!(desk.say("get old port"), "4501\n");
    assert!(desk.say("set 1 port=1").contains("the last print has rows 0 to 0"));
    desk.say("print");
    desk.say("set 0,2 port=4502");
    desk.say("set *2 comment=\"by id\"");
    desk.say("set [find port=4502 and !disabled] passive=yes");
    assert_eq!(
        desk.say("print terse proplist=name,port,passive,comment"),
        "\
0 name=site-b port=4502 passive=yes comment=\"branch office\"
1 name=road port=4500 passive=yes comment=\"by id\"
2 X name=old port=4502 passive=no comment=\"\"
"
    );
    assert_eq!(
        desk.say("set site-c port=1"),
        "no such item: `site-c` in /ip ipsec peer; did you mean `site-b`? (line 1 column 5)\n"
    );
    assert!(desk.say("set *FF port=1").starts_with("no such item: *FF"));
    assert!(desk.say("set port=1").starts_with("say which"));
    // Nothing found is nothing changed.
    assert_eq!(desk.say("remove [find name=nobody]"), "");
    assert_eq!(desk.say("set [find name=nobody] port=7"), "");
}
#[test]
fn rows_are_added_changed_moved_and_removed() {
    let mut desk = desk();
    assert_eq!(desk.say("/ip ipsec peer add name=new address=192.0.2.9 exchange-mode=ike2"), "");
    assert_eq!(desk.say(":put [/ip ipsec peer get new address]"), "192.0.2.9/32\n");
    assert_eq!(desk.say("/ip ipsec peer add name=copy copy-from=site-b address=192.0.2.10"), "");
    assert_eq!(desk.say(":put [/ip ipsec peer get copy profile]"), "ike2\n");
    assert_eq!(desk.say("/ip ipsec peer { comment new \"two words\"; disable new,copy }"), "");
    assert_eq!(desk.say(":put [/ip ipsec peer get new comment]"), "two words\n");
    assert_eq!(desk.say("/ip ipsec peer print count-only where disabled"), "3\n");
    desk.say("/ip ipsec peer enable new");
    assert_eq!(desk.say("/ip ipsec peer { unset copy local-address; set copy !comment }"), "");
    assert_eq!(
        desk.say("/ip ipsec peer print terse proplist=local-address,comment where name=copy"),
        "0 X local-address=\"\" comment=\"\"\n"
    );
    desk.say("/ip ipsec peer remove new copy");
    assert_eq!(desk.say("/ip ipsec peer print count-only"), "3\n");
    assert!(desk.say("/ip ipsec peer remove site-b").contains("uses it; change or remove that first"));

    let order = |desk: &mut Desk| desk.say(":put [/ip ipsec policy print as-value proplist=dst-address]");
    let before = order(&mut desk);
    assert!(before.find("10.2.0.0/24") < before.find("10.3.0.0/24"));
    desk.say("/ip ipsec policy move 3 0");
    let after = order(&mut desk);
    assert!(after.find("10.3.0.0/24") < after.find("10.2.0.0/24"), "{after}");
    desk.say(
        "/ip ipsec policy add src-address=10.1.0.0/24 dst-address=10.4.0.0/24 action=none place-before=0",
    );
    let after = order(&mut desk);
    assert!(after.find("10.4.0.0/24") < after.find("10.3.0.0/24"), "{after}");
    assert!(desk.say("/ip ipsec peer move 1 0").contains("there is no `move`"));

    desk.say("/ip ipsec settings set ddos-cookie-threshold=7");
    assert_eq!(desk.say(":put [/ip ipsec settings get ddos-cookie-threshold]"), "7\n");
    desk.say("/ip ipsec settings reset ddos-cookie-threshold");
    assert_eq!(desk.say("/ip ipsec settings get ddos-cookie-threshold"), "20\n");
    desk.say("/ip ipsec profile set [find default=yes] lifetime=2h");
    assert_eq!(desk.say("/ip ipsec profile get default lifetime"), "2h\n");
}
#[test]
fn faults_know_their_place_and_stop_a_script() {
    let mut desk = desk();
    for (line, said) in [
        ("/ip ipsec peer add name=x port=banana", "(line 1 column 27)"),
        ("/ip ipsec peer\nadd name=x \\\n  exchange-mode=ike3", "(line 3 column 3)"),
        ("/ip ipsec peer add name=\"x", "the quote is not closed before the line ends (line 1 column 25)"),
        ("/ip ipsec peer print where name~\"[\"", "not a regular expression"),
        ("/ip ipsec peer add name=x name=y", "`name` is given twice (line 1 column 27)"),
        ("/ip ipsec peer add name=$x", "variables are not supported"),
        ("/ip ipsec peer add name=site-b", "there is `site-b` already"),
        ("/ip ipsec peer add address=192.0.2.1", "`name` is missing"),
        ("/ip ipsec peer print all 9", "no such item"),
        ("/ip ipsec peer print proplist", "`proplist` needs a value"),
        ("/ip ipsec peer print interval=x", "is not a duration"),
        ("/queue simple print", "there is no `queue` here"),
        (":foreach i in=[find] do={}", "`:foreach` is not carried out here"),
        ("/ip ipsec active-peers print", "is not in a file"),
        ("/ip ipsec peer export where name=a", "an export is of whole menus"),
        ("/import nowhere.rsc", "nowhere.rsc: No such file"),
    ] {
        let shown = desk.say(line);
        assert!(shown.contains(said), "{line}: {shown}");
    }
    let mut desk = Desk::on(Document::new());
    let script = "/ip ipsec peer\nadd name=a exchange-mode=ike2\nadd nmae=b\nadd name=c";
    assert_eq!(desk.say(script), "there is no `nmae` here; did you mean `name`? (line 3 column 5)\n");
    assert_eq!(desk.say("/ip ipsec peer print terse proplist=name"), "0 name=a\n");
}
#[test]
fn secrets_are_shown_only_when_asked_for() {
    let mut desk = desk();
    let all = ["print", "print detail", "print terse", "print value-list", "print as-value", "export"];
    for command in all {
        for menu in
            ["ip ipsec identity", "radius", "ip ipsec manual-sa", "ip ipsec key psk", "system api user"]
        {
            let text = desk.say(&format!("/{menu} {command}"));
            for secret in ["everyone", "radius secret", "000102030405", "001122334455", "a token"] {
                assert!(!text.contains(secret), "/{menu} {command}: {text}");
            }
        }
    }
    assert!(desk.say("/ip ipsec identity print detail show-sensitive").contains("known to everyone"));
    assert!(
        desk.say("/ip ipsec identity print proplist=secret show-sensitive").contains("known to everyone")
    );
    assert!(desk.say("/ip ipsec identity export show-sensitive").contains("known to everyone"));
    // What stands for a secret never becomes one.
    assert!(desk.say("/ip ipsec identity set 0 secret=***").contains("stands for a secret"));
}
#[test]
fn an_export_carried_out_is_the_same_configuration() {
    let mut desk = desk();
    let script = desk.say("/export show-sensitive");
    let mut other = Desk::on(Document::new());
    assert_eq!(other.say(&script), "");
    let body = |text: &str| text.lines().skip(2).map(|line| format!("{line}\n")).collect::<String>();
    assert_eq!(body(&other.say("/export show-sensitive")), body(&script));
}
#[test]
fn safe_mode_of_a_file_undoes_and_keeps() {
    use crate::console::remote::Safe;
    let mut desk = desk();
    let mut round = |to: Safe| {
        desk.session.remote.safe_mode(Safe::Take).expect("taken");
        assert!(desk.session.remote.safe_mode(Safe::Take).is_err());
        desk.say("/ip ipsec peer set site-b port=4500");
        desk.session.remote.safe_mode(to).expect("done");
        desk.say("/ip ipsec peer get site-b port")
    };
    assert_eq!(round(Safe::Undo), "500\n");
    assert_eq!(round(Safe::Release), "4500\n");
    assert_eq!(desk.session.remote.unsaved().map(|unsaved| unsaved.len()), Some(1));
}

#[test]
fn the_other_side_is_printed_from_a_row_of_the_menu() {
    let text = "interface: [{name: wan, device: 'null'}]\nip: {ipsec: {peer: [{name: west, address: 192.0.2.1, exchange-mode: ike2}], \
                identity: [{peer: west, secret: correct horse battery}]}}";
    let mut desk = Desk::on(Document::from_yaml(text).unwrap_or_else(|complaints| panic!("{complaints}")).0);
    let said = desk.say("/ip ipsec peer print-remote west for=routeros");
    assert!(said.contains("/ip ipsec peer") && said.contains("CHANGE-ME"), "{said}");
    assert_eq!(desk.say("/ip ipsec peer print-remote 0 routeros"), said);
    let shown = desk.say("/ip ipsec peer print-remote 0 for=swanctl show-sensitive");
    assert!(shown.contains("connections {") && !shown.contains("CHANGE-ME"), "{shown}");
    assert!(
        desk.say("/ip ipsec peer print-remote 0 for=fax").contains("write for= and one of routeros, swanctl")
    );
    assert!(desk.say("/ip ipsec peer print-remote nobody for=swanctl").contains("no such item"));
    // Its beginning is still that of `print`.
    assert_eq!(desk.say("/ip ipsec peer pr count-only"), desk.say("/ip ipsec peer print count-only"));
}
#[test]
fn an_import_asks_for_secrets_that_the_file_does_not_say() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("gw.rsc");
    let text = "/ip ipsec peer\nadd address=192.0.2.1/32 exchange-mode=ike2 name=west\n/ip ipsec identity\nadd peer=west\n";
    std::fs::write(&path, text).expect("written");
    let import = format!("/import {}", path.display());
    let secret = "/ip ipsec identity print detail show-sensitive";
    // Nobody is there to be asked: it is missing, and said.
    let mut script = Desk::on(Document::new());
    assert!(script.say(&import).contains("missing: pre-shared key of the identity of peer `west`"));
    let mut desk = Desk::with(Document::new(), "correct horse battery");
    let said = desk.say(&import);
    assert!(
        said.starts_with("[pre-shared key of the identity of peer `west` (empty: leave it out)]\n"),
        "{said}"
    );
    assert!(!said.contains("missing") && !said.contains("correct horse"), "{said}");
    assert!(desk.say(secret).contains("correct horse battery"));
    // An empty answer leaves it out.
    let mut desk = Desk::with(Document::new(), "");
    assert!(desk.say(&import).contains("missing: pre-shared key"));
}
