//! `espway check`, `version`, `status` and the help, as a person or a script meets them.
use assert_cmd::Command;
use serde_json::Value;

fn espway(args: &[&str]) -> assert_cmd::assert::Assert {
    Command::cargo_bin("espway").unwrap().args(args).assert()
}
fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

#[test]
fn the_sample_is_good() {
    let out = espway(&["check", concat!(env!("CARGO_MANIFEST_DIR"), "/config.yaml")]).success();
    assert!(
        text(&out.get_output().stdout)
            .ends_with("good (2 interfaces, 4 addresses, 2 routes, 1 peer, 2 policies)\n")
    );
    assert!(out.get_output().stderr.is_empty());
}

#[test]
fn a_bad_one_is_shown_with_carets_and_as_json() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("bad.yaml");
    std::fs::write(
        &file,
        "interface:\n  - {name: wan, devise: \"null\"}\n  - {name: wan, device: \"null\", mtu: 1}\n",
    )
    .unwrap();
    let path = file.to_str().unwrap();

    let out = espway(&["check", path]).code(1);
    let shown = text(&out.get_output().stderr);
    assert!(shown.contains("interface[0].devise: there is no `devise` here"), "{shown}");
    assert!(shown.contains("bad.yaml:2:17"), "{shown}");
    assert!(shown.contains("did you mean `device`?"), "{shown}");
    assert!(text(&out.get_output().stdout).contains("refused (3 errors)"), "{:?}", out.get_output());

    let out = espway(&["check", path, "--json"]).code(1);
    let json: Value = serde_json::from_slice(&out.get_output().stdout).unwrap();
    assert_eq!((&json["ok"], &json["errors"]), (&false.into(), &3.into()));
    let paths: Vec<&str> =
        json["complaints"].as_array().unwrap().iter().map(|c| c["path"].as_str().unwrap()).collect();
    assert_eq!(paths, ["interface[0].devise", "interface[1].name", "interface[1].mtu"]);
    assert_eq!((&json["complaints"][0]["line"], &json["complaints"][0]["column"]), (&2.into(), &17.into()));
}

#[test]
fn a_file_that_cannot_be_read_is_an_error_and_not_a_complaint() {
    let out = espway(&["check", "/nonexistent/x.yaml"]).code(1);
    assert_eq!(
        text(&out.get_output().stderr),
        "espway: /nonexistent/x.yaml: No such file or directory (os error 2)\n"
    );
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("latin1.yaml");
    std::fs::write(&file, b"system: {name: gw}\n# caf\xe9\n").unwrap();
    let out = espway(&["check", file.to_str().unwrap()]).code(1);
    assert!(text(&out.get_output().stderr).contains("is not text in UTF-8: byte 24"));
}

#[test]
fn version_says_where_it_comes_from() {
    let out = espway(&["version", "--json"]).success();
    let json: Value = serde_json::from_slice(&out.get_output().stdout).unwrap();
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
    assert!(json["target"].as_str().unwrap().contains("linux"));
    assert!(!json["commit"].as_str().unwrap().is_empty());
}

#[test]
fn status_of_nothing_says_so_and_fails() {
    let dir = tempfile::tempdir().unwrap();
    let run_dir = dir.path().to_str().unwrap();
    let out = espway(&["status", "--run-dir", run_dir]).code(1);
    assert!(text(&out.get_output().stdout).contains("no supervisor runs in"));
    let out = espway(&["status", "--json", "--run-dir", run_dir]).code(1);
    let json: Value = serde_json::from_slice(&out.get_output().stdout).unwrap();
    assert_eq!(json["supervisor"], Value::Null);
    assert!(json["error"].as_str().unwrap().contains("control.sock"));
}

#[test]
fn every_command_explains_itself() {
    for command in [
        "check",
        "import",
        "export",
        "run",
        "status",
        "packet",
        "explain",
        "metrics",
        "print-remote",
        "version",
    ] {
        let out = espway(&[command, "--help"]).success();
        assert!(text(&out.get_output().stdout).contains("Usage: espway "), "{command}");
    }
}

const SAMPLE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/config.yaml");

#[test]
fn a_packet_is_explained_by_a_file_alone() {
    let packet = ["--src", "10.1.0.5", "--dst", "10.2.0.7", "--dport", "443"];
    let out = espway(&[&["explain", "--config", SAMPLE, "--offline"][..], &packet[..]].concat()).success();
    let said = text(&out.get_output().stdout);
    for line in [
        "tcp 10.1.0.5 → 10.2.0.7:443",
        "policy     0: 10.1.0.0/24 → 10.2.0.0/24, all, encrypt, level=require, peer `site-b`",
        "route      0.0.0.0/0 via 198.51.100.1, `wan`",
        "so         it is encrypted for `site-b` and sent to 203.0.113.2, through `wan`",
        "arrives    through the tunnel of a policy",
        "so         it leaves through `lan` in clear",
        "No gateway was asked",
    ] {
        assert!(said.contains(line), "{line}: {said}");
    }
    let args = [&["explain", "--config", SAMPLE, "--offline", "--json"][..], &packet[..]].concat();
    let json: Value = serde_json::from_slice(&espway(&args).success().get_output().stdout).unwrap();
    assert_eq!((&json["ways"][0]["action"], &json["live"]), (&"encrypt".into(), &false.into()));
    let out = espway(&["explain", "--config", SAMPLE, "--offline", "--src", "10.1.0.5", "--dst", "fd00::1"])
        .code(1);
    assert!(text(&out.get_output().stderr).contains("differ in IP version"));
}

#[test]
fn the_other_side_is_printed_and_what_will_not_connect_fails() {
    let args = ["print-remote", "site-b", "--config", SAMPLE, "--for"];
    let swanctl = espway(&[&args[..], &["swanctl"][..]].concat()).success();
    let shown = text(&swanctl.get_output().stdout);
    assert!(shown.contains("remote_addrs = 198.51.100.2") && shown.contains("CHANGE-ME"), "{shown}");
    let menu = [
        "ip",
        "ipsec",
        "peer",
        "print-remote",
        "site-b",
        "--config",
        SAMPLE,
        "--for",
        "swanctl",
        "--show-sensitive",
    ];
    let shown = text(&espway(&menu).success().get_output().stdout);
    assert!(shown.contains("known to everyone") && !shown.contains("CHANGE-ME"), "{shown}");
    let windows = espway(&[&args[..], &["windows"][..]].concat()).code(1);
    assert!(text(&windows.get_output().stderr).contains("WILL NOT CONNECT"));
    let nobody = espway(&["print-remote", "site-c", "--config", SAMPLE, "--for", "apple"]).code(1);
    assert!(text(&nobody.get_output().stderr).contains("there are site-b"));
}
