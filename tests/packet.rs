//! `espway packet` against packets that scapy made (`tests/vectors/scapy`): what it sealed is opened, what we seal is
//! what it seals. Configuration, captures and output are the command's own.
use assert_cmd::Command;
use serde_json::Value;
use std::fmt::Write;
use std::path::Path;

const GATEWAY: [u8; 6] = [2, 0, 0, 0, 0, 0xaa];

/// A site of the vectors: lan and wan, IPv4 and IPv6.
struct Site {
    wan: [&'static str; 2],
    lan: [&'static str; 2],
}
const A: Site = Site { wan: ["192.0.2.1", "2001:db8:f::1"], lan: ["10.1.0.", "2001:db8:1::"] };
const B: Site = Site { wan: ["192.0.2.2", "2001:db8:f::2"], lan: ["10.2.0.", "2001:db8:2::"] };

fn config(us: &Site, them: &Site, v: &Value, direction: &str) -> String {
    let flag = |name: &str| v[name].as_bool().unwrap();
    let text = |name: &str| v[name].as_str().unwrap();
    let (enc, auth) = text("suite").split_once('/').unwrap_or((text("suite"), "null"));
    let v6 = usize::from(flag("outer_v6"));
    let port = if flag("encap") { 4500 } else { 0 };
    let mut out = String::from(
        "system: {lab: yes}\ninterface:\n  - {name: lan, device: \"null\"}\n  - {name: wan, device: \"null\"}\nip:\n  address:\n",
    );
    for (site, name) in [(us.lan, "lan"), (us.wan, "wan")] {
        let host = if name == "lan" { "1" } else { "" };
        _ = writeln!(out, "    - {{address: \"{}{host}/24\", interface: {name}}}", site[0]);
        _ = writeln!(out, "    - {{address: \"{}{host}/64\", interface: {name}}}", site[1]);
    }
    _ = writeln!(out, "  route:\n    - {{dst-address: {}0/24, gateway: {}}}", them.lan[0], them.wan[0]);
    _ = writeln!(out, "    - {{dst-address: \"{}/64\", gateway: \"{}\"}}", them.lan[1], them.wan[1]);
    out += "  ipsec:\n    policy:\n";
    _ = writeln!(
        out,
        "      - {{src-address: {}0/24, dst-address: {}0/24, tunnel: yes}}",
        us.lan[0], them.lan[0]
    );
    _ = writeln!(
        out,
        "      - {{src-address: \"{}/64\", dst-address: \"{}/64\", tunnel: yes}}",
        us.lan[1], them.lan[1]
    );
    out += "    manual-sa:\n";
    let key = |name: &str, hex: String| {
        if hex.is_empty() { String::new() } else { format!(", {name}: \"0x{hex}\"") }
    };
    // Both policies need an SA that serves them; the vector's is the one of its inner IP version.
    for (row, spi) in [(0, v["spi"].as_u64().unwrap()), (1, v["spi"].as_u64().unwrap() + 1)] {
        let spi =
            if row == usize::from(flag("inner_v6")) { v["spi"].as_u64().unwrap() } else { spi + 0x1000 };
        _ = writeln!(
            out,
            "      - {{spi: {spi}, direction: {direction}, policy: {row}, local-address: \"{}\", remote-address: \"{}\", \
             enc-algorithm: {enc}, auth-algorithm: {auth}{}{}, local-port: {port}, remote-port: {port}, esn: {}, last-seq: {}}}",
            us.wan[v6],
            them.wan[v6],
            key("enc-key", format!("{}{}", text("key"), text("salt"))),
            key("auth-key", text("auth_key").into()),
            flag("esn"),
            v["seq"].as_u64().unwrap() - 1,
        );
    }
    out
}

fn vectors() -> Vec<Value> {
    let text = include_str!("vectors/scapy/esp.json");
    let file: Value = serde_json::from_str(text).unwrap();
    file["vectors"].as_array().unwrap().clone()
}
fn bytes(v: &Value, name: &str) -> Vec<u8> {
    let text = v[name].as_str().unwrap().as_bytes();
    text.chunks(2).map(|pair| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap()).collect()
}
fn with_ttl(packet: &[u8], ttl: u8) -> Vec<u8> {
    let mut packet = packet.to_vec();
    if packet[0] >> 4 == 6 {
        packet[7] = ttl;
        return packet;
    }
    packet[8] = ttl;
    packet[10..12].fill(0);
    let sum = packet[..20]
        .chunks(2)
        .fold(0u32, |sum, pair| sum + u32::from(u16::from_be_bytes([pair[0], pair[1]])));
    let sum = (sum & 0xffff) + (sum >> 16);
    packet[10..12].copy_from_slice(&(!(((sum & 0xffff) + (sum >> 16)) as u16)).to_be_bytes());
    packet
}

/// A capture with these IP packets, sent to the gateway; written here, so that the command's reader has another opinion.
fn capture(path: &Path, packets: &[Vec<u8>]) {
    let mut file = Vec::new();
    for field in [0xa1b2_c3d4u32, 0x0004_0002, 0, 0, 65535, 1] {
        file.extend(field.to_le_bytes());
    }
    for (n, packet) in packets.iter().enumerate() {
        let ethertype: u16 = if packet[0] >> 4 == 6 { 0x86dd } else { 0x0800 };
        for field in [1_700_000_000 + n as u32, 7, packet.len() as u32 + 14, packet.len() as u32 + 14] {
            file.extend(field.to_le_bytes());
        }
        file.extend(GATEWAY);
        file.extend([2, 0, 0, 0, 0, 0xbb]);
        file.extend(ethertype.to_be_bytes());
        file.extend(packet);
    }
    std::fs::write(path, file).unwrap();
}
/// The frames of a capture the command wrote.
fn frames(path: &Path) -> Vec<Vec<u8>> {
    let file = std::fs::read(path).unwrap();
    assert_eq!(file[..4], 0xa1b2_3c4du32.to_le_bytes(), "nanoseconds");
    let (mut rest, mut out) = (&file[24..], Vec::new());
    while !rest.is_empty() {
        let len = u32::from_le_bytes(rest[8..12].try_into().unwrap()) as usize;
        out.push(rest[16..16 + len].to_vec());
        rest = &rest[16 + len..];
    }
    out
}

struct Ran {
    json: Value,
    frames: Vec<Vec<u8>>,
}
fn packet(config: &str, port: &str, packets: &[Vec<u8>]) -> Ran {
    let dir = tempfile::tempdir().unwrap();
    let [yaml, input, output] = ["gw.yaml", "in.pcap", "out.pcap"].map(|name| dir.path().join(name));
    std::fs::write(&yaml, config).unwrap();
    capture(&input, packets);
    let run = Command::cargo_bin("espway")
        .unwrap()
        .args(["packet", "--json", "--port", port, "--config"])
        .arg(&yaml)
        .arg("--in")
        .arg(&input)
        .arg("--out")
        .arg(&output)
        .assert();
    let run = run.try_success().unwrap_or_else(|error| panic!("{config}\n{error}"));
    Ran { json: serde_json::from_slice(&run.get_output().stdout).unwrap(), frames: frames(&output) }
}

#[test]
fn what_scapy_sealed_is_opened() {
    for v in vectors() {
        let ran = packet(&config(&B, &A, &v, "in"), "wan", &[bytes(&v, "protected")]);
        assert_eq!(ran.json["count"]["sent"], 1, "{}: {}", v["name"], ran.json);
        assert_eq!(ran.json["packets"][0]["outcomes"][0]["sent"]["port"], "lan", "{}", v["name"]);
        assert_eq!(ran.frames.len(), 1);
        assert_eq!(ran.frames[0][14..], with_ttl(&bytes(&v, "clear"), 62), "{}", v["name"]);
        assert_eq!(ran.frames[0][6..12], GATEWAY, "the port has the address the capture was sent to");
    }
}

#[test]
fn what_is_sealed_is_what_scapy_seals() {
    let mut exact = 0;
    for v in vectors() {
        let ran = packet(&config(&A, &B, &v, "out"), "lan", &[with_ttl(&bytes(&v, "clear"), 64)]);
        assert_eq!(ran.frames.len(), 1, "{}: {}", v["name"], ran.json);
        let (ours, theirs) = (&ran.frames[0][14..], bytes(&v, "protected"));
        if ["cbc", "des", "blowfish"].iter().any(|name| v["suite"].as_str().unwrap().contains(name)) {
            // The IV is random; the other side must be able to open it.
            assert_eq!(ours.len(), theirs.len(), "{}", v["name"]);
            let opened = packet(&config(&B, &A, &v, "in"), "wan", &[ours.to_vec()]);
            assert_eq!(opened.frames[0][14..], with_ttl(&bytes(&v, "clear"), 62), "{}", v["name"]);
        } else {
            assert_eq!(*ours, *theirs, "{}", v["name"]);
            exact += 1;
        }
    }
    assert!(exact > 20);
}

#[test]
fn each_packet_gets_its_own_story() {
    let v = &vectors()[0];
    let good = bytes(v, "protected");
    let mut forged = good.clone();
    *forged.last_mut().unwrap() ^= 1;
    let mut stranger = good.clone();
    stranger[20..24].copy_from_slice(&0x00ab_cdefu32.to_be_bytes());
    let packets = [forged, good.clone(), good, stranger];
    let config = config(&B, &A, v, "in");
    let ran = packet(&config, "wan", &packets);
    let outcome = |n: usize| ran.json["packets"][n]["outcomes"].as_array().unwrap().clone();
    assert_eq!(outcome(0)[0]["dropped"], "icv-mismatch");
    assert!(
        outcome(1)[0]["sent"].is_object(),
        "a forged copy before it does not move the window: {}",
        ran.json
    );
    assert_eq!(outcome(2)[0]["dropped"], "replay-seen");
    assert_eq!(outcome(3)[0]["dropped"], "no-such-sa");
    assert_eq!(ran.json["count"]["sent"], 1);
    assert_eq!(ran.json["count"]["dropped"], 3);
    assert_eq!(ran.json["count"]["drops"]["icv-mismatch"], 1);

    // The same as text.
    let dir = tempfile::tempdir().unwrap();
    let [yaml, input, output] = ["gw.yaml", "in.pcap", "out.pcap"].map(|name| dir.path().join(name));
    std::fs::write(&yaml, &config).unwrap();
    capture(&input, &packets);
    let run = Command::cargo_bin("espway")
        .unwrap()
        .args(["packet", "--port", "wan", "--config"])
        .arg(&yaml)
        .arg("--in")
        .arg(&input)
        .arg("--out")
        .arg(&output)
        .assert()
        .success();
    let text = String::from_utf8(run.get_output().stdout.clone()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines[0].contains("dropped, icv-mismatch: integrity check failed"), "{text}");
    assert!(lines[1].contains("sent on lan: 106 bytes"), "{text}");
    assert!(lines[4].starts_with("4 received: 1 sent, 3 dropped ("), "{text}");
}

#[test]
fn without_an_sa_nothing_leaves_in_clear_and_one_request_is_made() {
    let v = &vectors()[0];
    let mut config = config(&A, &B, v, "out");
    // The SAs of the other direction do not help.
    config = config.replace("direction: out", "direction: in");
    let clear = with_ttl(&bytes(v, "clear"), 64);
    let ran = packet(&config, "lan", &[clear.clone(), clear]);
    assert!(ran.frames.is_empty());
    assert_eq!(ran.json["count"]["drops"]["no-sa"], 2, "{}", ran.json);
    assert_eq!(ran.json["count"]["events"], 1, "{}", ran.json);
}

#[test]
fn what_cannot_be_run_is_said() {
    let dir = tempfile::tempdir().unwrap();
    let [yaml, input, output] = ["gw.yaml", "in.pcap", "out.pcap"].map(|name| dir.path().join(name));
    std::fs::write(&yaml, config(&A, &B, &vectors()[0], "out")).unwrap();
    std::fs::write(&input, "not a capture at all, sorry").unwrap();
    let run = |port: &str| {
        let run = Command::cargo_bin("espway")
            .unwrap()
            .args(["packet", "--port", port, "--config"])
            .arg(&yaml)
            .arg("--in")
            .arg(&input)
            .arg("--out")
            .arg(&output)
            .assert()
            .code(1);
        String::from_utf8(run.get_output().stderr.clone()).unwrap()
    };
    assert!(run("lan").contains("in.pcap: this is not a pcap file"));
    assert!(run("dmz").contains("there is no interface `dmz`; there are: lan, wan"));
}
