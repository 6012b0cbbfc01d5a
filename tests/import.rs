//! `espway import` and `espway export` as commands: files, their modes, secrets, reports.
use assert_cmd::Command;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

const EXPORT: &str = "\
# 2026-01-02 03:04:05 by RouterOS 7.22.3
/ip ipsec peer
add address=192.0.2.1/32 exchange-mode=ike2 name=west
/ip ipsec identity
add peer=west
/queue simple
add name=q
";

fn espway(folder: &Path, args: &[&str]) -> (bool, String, String) {
    let output =
        Command::new(env!("CARGO_BIN_EXE_espway")).args(args).current_dir(folder).output().expect("it runs");
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    (output.status.success(), text(&output.stdout), text(&output.stderr))
}
fn mode(path: &Path) -> u32 {
    fs::metadata(path).expect("a file").permissions().mode() & 0o777
}

#[test]
fn an_import_reports_and_writes_what_export_gives_back() {
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    fs::write(at("gw.rsc"), EXPORT).expect("written");
    fs::write(at("secrets"), "# by hand\nwest: correct horse battery\n").expect("written");

    // Without --output only a report.
    let (ok, out, err) = espway(folder.path(), &["import", "gw.rsc"]);
    assert!(err.is_empty(), "the report is one stream: {err}");
    assert!(
        ok && out.contains("gw.rsc (RouterOS 7.22.3): 3 commands: 1 done, 1 not covered, 1 needs attention"),
        "{out}"
    );
    assert!(
        out.contains("missing: pre-shared key of the identity of peer `west`")
            && out.contains("nothing written")
    );
    assert!(out.contains("line 7: not covered: queue simple add"), "{out}");

    let args = ["import", "gw.rsc", "--output", "gw.yaml", "--secrets-file", "secrets"];
    let (ok, out, _) = espway(folder.path(), &args);
    assert!(ok && !out.contains("missing:"), "{out}");
    assert!(out.contains("3 commands: 2 done, 1 not covered"), "{out}");
    assert_eq!(mode(&at("gw.yaml")), 0o600);
    assert!(fs::read_to_string(at("gw.yaml")).expect("read").contains("correct horse battery"));

    // It is not written over unless that is asked for, and nothing else is left in the folder.
    let (ok, _, err) = espway(folder.path(), &args);
    assert!(!ok && err.contains("gw.yaml is there already"), "{err}");
    let (ok, ..) = espway(folder.path(), &[&args[..], &["--force"]].concat());
    assert!(ok);
    assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 3);

    let (ok, script, _) = espway(folder.path(), &["export", "--config", "gw.yaml", "--show-sensitive"]);
    assert!(
        ok && script.contains("/ip ipsec identity\nadd peer=west secret=\"correct horse battery\"\n"),
        "{script}"
    );
    assert!(script.starts_with("# 20") && script.contains(" by espway "), "{script}");
    fs::write(at("again.rsc"), script).expect("written");
    let (ok, out, err) = espway(folder.path(), &["import", "again.rsc", "--output", "again.yaml"]);
    assert!(ok, "{out}{err}");
    assert_eq!(fs::read(at("again.yaml")).expect("read"), fs::read(at("gw.yaml")).expect("read"));
}

#[test]
fn an_import_that_is_completed_can_be_run() {
    let folder = tempfile::tempdir().expect("a folder");
    let source = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/vectors/routeros/s1-office2-v7.rsc");
    let args = ["import", source, "--output", "gw.yaml", "--device", "ether1=af-packet:eth1"];
    let (ok, out, _) = espway(folder.path(), &[&args[..], &["--device", "bridge=af-packet:eth2"]].concat());
    assert!(ok && out.contains("gw.yaml: written, and can be run"), "{out}");
    let (ok, out, _) = espway(folder.path(), &["check", "gw.yaml"]);
    assert!(ok && out.contains("1 peer, 1 policy"), "{out}");
    let (ok, _, err) = espway(folder.path(), &["import", source, "--device", "ether9=null"]);
    assert!(!ok && err.contains("no interface `ether9`; there are: bridge, ether1"), "{err}");
}

#[test]
fn an_export_hides_secrets_unless_asked() {
    let folder = tempfile::tempdir().expect("a folder");
    let yaml = "ip: {ipsec: {peer: [{name: w, address: 192.0.2.1, exchange-mode: ike2}], identity: [{peer: w, secret: correct horse}]}}\n";
    fs::write(folder.path().join("c.yaml"), yaml).expect("written");
    for format in ["routeros", "yaml", "json"] {
        let args = ["export", "--config", "c.yaml", "--format", format];
        let (ok, out, err) = espway(folder.path(), &args);
        assert!(ok && out.contains("192.0.2.1") && !out.contains("correct horse"), "{out}{err}");
        let (ok, out, _) = espway(folder.path(), &[&args[..], &["--show-sensitive"]].concat());
        assert!(ok && out.contains("correct horse"), "{out}");
    }
    let (_, terse, _) = espway(folder.path(), &["export", "--config", "c.yaml", "--terse"]);
    assert!(
        terse.contains("\n/ip ipsec peer add address=192.0.2.1/32 exchange-mode=ike2 name=w\n"),
        "{terse}"
    );
    let (_, verbose, _) = espway(folder.path(), &["export", "--config", "c.yaml", "--verbose"]);
    assert!(verbose.contains("send-initial-contact=yes"), "{verbose}");
    let (ok, _, err) =
        espway(folder.path(), &["export", "--config", "c.yaml", "--format", "json", "--terse"]);
    assert!(!ok && err.contains("go with --format routeros"), "{err}");
}

#[test]
fn a_report_is_json_when_asked_and_swanctl_is_read() {
    let folder = tempfile::tempdir().expect("a folder");
    let conf = "connections { gw { version = 2\nremote_addrs = 192.0.2.1\nlocal { auth = psk }\nremote { auth = psk }\n\
                odd = 1\nchildren { n { local_ts = 10.1.0.0/16\nremote_ts = 10.2.0.0/16 } } } }\nsecrets { ike { secret = hidden-from-all } }\n";
    fs::write(folder.path().join("s.conf"), conf).expect("written");
    let (ok, out, err) =
        espway(folder.path(), &["import", "s.conf", "--from", "swanctl", "--json", "--output", "s.yaml"]);
    assert!(ok && err.is_empty() && !out.contains("hidden-from-all"), "{out}{err}");
    let report: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    let odd =
        report["lines"].as_array().expect("lines").iter().find(|line| line["line"] == 5).expect("line 5");
    assert_eq!(
        (odd["command"].as_str(), odd["outcome"].as_str()),
        (Some("connections.gw.odd"), Some("not-covered"))
    );
    assert!(fs::read_to_string(folder.path().join("s.yaml")).expect("read").contains("hidden-from-all"));
}

/// As Debian lays it out: the connections in a folder, secrets in a file of their own.
#[test]
fn files_that_swanctl_includes_are_read_where_they_stand() {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).expect("written");
    fs::create_dir(folder.path().join("conf.d")).expect("made");
    write(
        "swanctl.conf",
        "# all of it\ninclude conf.d/*.conf\ninclude missing.d/*.conf\nsecrets { include conf.d/secret.inc\n}\n",
    );
    let gateway = "connections { gw { version = 2\nremote_addrs = 192.0.2.1\nlocal { auth = psk }\nremote { auth = psk }\n\
                   remote-2 { auth = eap }\nchildren { include child.inc\n} } }\n";
    write("conf.d/a.conf", gateway);
    write("conf.d/b.conf", "pools { p { addrs = 10.9.0.0/24 } }\n");
    write("conf.d/ignored.txt", "nonsense {");
    write("conf.d/child.inc", "n { local_ts = 10.1.0.0/16\nremote_ts = 10.2.0.0/16 }\n");
    write("conf.d/secret.inc", "ike { secret = hidden-from-all }\ninclude ../swanctl.conf\n");
    let args = ["import", "swanctl.conf", "--from", "swanctl", "--output", "s.yaml"];
    let (ok, out, err) = espway(folder.path(), &args);
    assert!(ok && !out.contains("hidden-from-all"), "{out}{err}");
    for said in [
        "conf.d/a.conf is read",
        "conf.d/b.conf is read",
        "missing.d",
        "only the first section `remote`",
        "too many files",
    ] {
        assert!(out.contains(said), "{said}: {out}");
    }
    assert!(!out.contains("ignored.txt"), "{out}");
    let yaml = fs::read_to_string(folder.path().join("s.yaml")).expect("read");
    for part in ["hidden-from-all", "10.2.0.0/16", "10.9.0.0/24"] {
        assert!(yaml.contains(part), "{part}: {yaml}");
    }
}

/// Backups, archives and upgrades, signed or not, of whatever version: nothing is unpacked, run or half taken.
#[test]
fn g12_backups_archives_and_upgrades_are_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let dir = folder.path().join("here");
    fs::create_dir(&dir).expect("made");
    // A tar archive whose one member would be written outside of where it is unpacked.
    let mut tar = vec![0; 1536];
    tar[..15].copy_from_slice(b"../escaped.yaml");
    tar[124..135].copy_from_slice(b"00000000023");
    tar[257..262].copy_from_slice(b"ustar");
    tar[512..531].copy_from_slice(b"system: {name: pwn}");
    let zip = b"PK\x03\x04\x14\0\0\0\0\0../escaped.yaml".to_vec();
    let gzip = vec![0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 3, 1];
    let backup = [&[0x88, 0xac, 0xa1, 0xb1][..], &[0; 64]].concat();
    let sealed = [&[0xef, 0xa8, 0x91, 0x72][..], &[7; 64]].concat();
    let upgrade = [&[0x1e, 0xf1, 0xd0, 0xba][..], b"routeros 6.40, signature: none"].concat();
    for (name, bytes, said) in [
        ("a.tar", tar, "an archive"),
        ("a.zip", zip, "an archive"),
        ("a.gz", gzip, "a compressed file"),
        ("a.backup", backup, "a backup of RouterOS"),
        ("sealed.backup", sealed, "an encrypted backup"),
        ("routeros.npk", upgrade, "an upgrade package"),
    ] {
        fs::write(dir.join(name), &bytes).expect("written");
        for words in [
            &["import", name, "--output", "out.yaml"][..],
            &["import", name, "--from", "swanctl", "--output", "out.yaml"],
            &["check", name],
            &["export", "--config", name],
        ] {
            let (ok, out, err) = espway(&dir, words);
            assert!(!ok && format!("{out}{err}").contains(said), "{words:?}: {out}{err}");
        }
    }
    // An entry of the history, or an export, of another version is a text like any other: held against the table.
    fs::write(dir.join("newer.yaml"), "system: {name: t, warp-drive: yes}\n").expect("written");
    let (ok, out, err) = espway(&dir, &["check", "newer.yaml"]);
    assert!(!ok && format!("{out}{err}").contains("warp-drive"), "{out}{err}");
    let left: Vec<_> =
        fs::read_dir(folder.path()).expect("a folder").flatten().map(|e| e.file_name()).collect();
    assert_eq!(left, ["here"], "nothing was written beside it");
    assert!(!dir.join("out.yaml").exists());
}
