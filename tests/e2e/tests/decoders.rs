//! Others read what we write, and we read what they write: tshark with our keys, scapy's IPsec layer.
use anyhow::{Context, Result, ensure};
use e2e::{Gateway, SOON, Suite, rekey_child, scapy, until};
use harness::capture::{Keys, tshark};
use harness::espway::Binaries;
use harness::process;
use harness::traffic::{expect_pings, ping_until_up};
use harness::{Capture, Lab, Plan, Side, Site, StrongSwan};
use serde_json::json;

fn tshark_reads(suite: Suite) -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        let gateway = Gateway::new(Side::A, suite);
        let wire = Capture::start(lab, &lab.wan, Lab::wan_link(Side::A), "")?;
        let _swan = StrongSwan::start(lab, lab.site(Side::B), &gateway.swan(false))?;
        let espway = gateway.start(lab)?;
        ping_until_up(lab.host(Side::A), Side::B.host4(), SOON)?;
        let before = until(&espway, "one tunnel", SOON, |seen| seen.expect_one_tunnel().is_ok())?;
        expect_pings(lab.host(Side::A), Side::B.host4(), 10)?;
        rekey_child(&espway)?;
        until(&espway, "new SAs", SOON, |seen| {
            seen.expect_one_tunnel().is_ok() && seen.spis("in") != before.spis("in")
        })?;
        expect_pings(lab.host(Side::A), Side::B.host4(), 10)?;
        let (file, keys) = (wire.finish()?, Keys::from_log(&gateway.key_log(lab))?);

        // IKE_AUTH both ways, with what is inside the SK payload: identities and AUTH.
        let auth = tshark(
            &file,
            &keys,
            "isakmp.exchangetype == 35",
            &["isakmp.flag_r", "isakmp.typepayload", "isakmp.id.data.fqdn"],
        )?;
        ensure!(auth.len() == 2, "{auth:?}");
        for row in &auth {
            let payloads: Vec<&str> = row[1].split(',').collect();
            ensure!(payloads.contains(&"39"), "no AUTH payload was decrypted: {row:?}");
            ensure!(row[2].contains(".example"), "no identity was decrypted: {row:?}");
        }
        // The rekey of the child: SA, Ni, KE, TSi, TSr and the notify inside.
        let child = tshark(&file, &keys, "isakmp.exchangetype == 36", &["isakmp.typepayload"])?;
        ensure!(child.len() >= 2 && child.iter().all(|row| row[0].contains("44")), "{child:?}");

        // Inside ESP: pings of both directions, from before and after the rekey, all ICVs right.
        let inner =
            tshark(&file, &keys, "esp && icmp", &["esp.spi", "icmp.type", "esp.icv_bad", "icmp.seq"])?;
        let requests = inner.iter().filter(|row| row[1] == "8").count();
        let replies = inner.iter().filter(|row| row[1] == "0").count();
        ensure!(requests >= 20 && replies >= 20, "{requests} requests, {replies} replies inside ESP");
        let spis: std::collections::HashSet<_> = inner.iter().map(|row| &row[0]).collect();
        ensure!(spis.len() >= 4, "two pairs of SAs: {spis:?}");
        let bad =
            tshark(&file, &keys, "esp.icv_bad == 1 || icmp.checksum.status == \"Bad\"", &["frame.number"])?;
        ensure!(bad.is_empty(), "{bad:?}");
        let closed = tshark(&file, &keys, "esp && !icmp && !arp", &["frame.number"])?;
        ensure!(closed.is_empty(), "{} ESP packets did not open", closed.len());
        espway.stop()
    })
}

#[test]
fn tshark_decrypts_our_ike_and_esp_aes_gcm() -> Result<()> {
    tshark_reads(Suite::AesGcm)
}
#[test]
fn tshark_decrypts_our_ike_and_esp_aes_cbc_sha256() -> Result<()> {
    tshark_reads(Suite::AesCbcSha256)
}

/// One suite in the words of espway's manual SAs and of scapy.
struct Algorithms {
    ours: (&'static str, &'static str),
    scapys: (&'static str, &'static str),
    /// Bytes, the salt of an AEAD included.
    keys: (usize, usize),
}
const ALGORITHMS: &[Algorithms] = &[
    Algorithms { ours: ("aes-128-gcm", "null"), scapys: ("AES-GCM", "NULL"), keys: (20, 0) },
    Algorithms { ours: ("aes-192-gcm", "null"), scapys: ("AES-GCM", "NULL"), keys: (28, 0) },
    Algorithms { ours: ("aes-256-gcm", "null"), scapys: ("AES-GCM", "NULL"), keys: (36, 0) },
    Algorithms { ours: ("chacha20poly1305", "null"), scapys: ("CHACHA20-POLY1305", "NULL"), keys: (36, 0) },
    Algorithms { ours: ("aes-128-cbc", "sha1"), scapys: ("AES-CBC", "HMAC-SHA1-96"), keys: (16, 20) },
    Algorithms { ours: ("aes-192-cbc", "sha384"), scapys: ("AES-CBC", "SHA2-384-192"), keys: (24, 48) },
    Algorithms { ours: ("aes-256-cbc", "sha256"), scapys: ("AES-CBC", "SHA2-256-128"), keys: (32, 32) },
    Algorithms { ours: ("aes-256-cbc", "sha512"), scapys: ("AES-CBC", "SHA2-512-256"), keys: (32, 64) },
    Algorithms { ours: ("aes-192-ctr", "aes-cmac"), scapys: ("AES-CTR", "AES-CMAC-96"), keys: (28, 16) },
    Algorithms { ours: ("3des", "md5"), scapys: ("3DES", "HMAC-MD5-96"), keys: (24, 16) },
];

fn key(len: usize, first: u8) -> String {
    (0..len).map(|at| format!("{:02x}", first.wrapping_add(at as u8))).collect()
}

struct Case<'a> {
    algorithms: &'a Algorithms,
    outer6: bool,
    inner6: bool,
    nat_t: bool,
}

/// Plain → espway → scapy → the same, and plain → scapy → espway → the same.
fn both_ways(case: &Case<'_>) -> Result<()> {
    let dir = Scratch::new()?;
    let file = |name: &str| dir.path.join(name).display().to_string();
    let (a, b) = (Side::A, Side::B);
    let (us, them) = if case.outer6 { (a.wan6(), b.wan6()) } else { (a.wan4(), b.wan4()) };
    let (near, far) = if case.inner6 { (a.host6(), b.host6()) } else { (a.host4(), b.host4()) };
    let (cipher_key, auth_key) = (key(case.algorithms.keys.0, 1), key(case.algorithms.keys.1, 101));
    let port = if case.nat_t { 4500 } else { 0 };
    let manual = |direction: &str, spi: u32| {
        let mut row = json!({
            "spi": spi, "direction": direction, "local-address": us.to_string(), "remote-address": them.to_string(),
            "enc-algorithm": case.algorithms.ours.0, "enc-key": cipher_key, "auth-algorithm": case.algorithms.ours.1,
            "policy": 0, "local-port": port, "remote-port": port,
        });
        if !auth_key.is_empty() {
            row["auth-key"] = json!(auth_key);
        }
        row
    };
    let mut gateway = Gateway::new(a, Suite::AesGcm);
    gateway.inner_v6 = true;
    let mut config = gateway.config();
    let ipsec = &mut config["ip"]["ipsec"];
    for table in ["peer", "identity"] {
        ipsec[table] = json!([]);
    }
    let mut policy = ipsec["policy"][usize::from(case.inner6)].take();
    policy.as_object_mut().context("a policy")?.remove("peer");
    ipsec["policy"] = json!([policy]);
    ipsec["manual-sa"] = json!([manual("out", 0x1001), manual("in", 0x2002)]);
    std::fs::write(file("gateway.yaml"), config.to_string())?;
    let packet = |port: &str, input: &str, output: &str| {
        let mut command = Binaries::find()?.command();
        command.args(["packet", "--json", "--port", port, "--config", &file("gateway.yaml")]);
        command.args(["--in", &file(input), "--out", &file(output)]);
        process::output(&mut command)
    };
    let sa = |spi: u32, from: std::net::IpAddr, to: std::net::IpAddr| {
        json!({
            "spi": spi, "cipher": case.algorithms.scapys.0, "key": cipher_key, "auth": case.algorithms.scapys.1,
            "auth_key": auth_key, "src": from.to_string(), "dst": to.to_string(), "nat_t": case.nat_t,
        })
    };

    let (near, far) = (near.to_string(), far.to_string());
    let [made, ..] = scapy([
        json!({"do": "make", "src": near, "dst": far, "out": file("out.plain")}),
        json!({"do": "make", "src": far, "dst": near, "out": file("in.plain")}),
        json!({"do": "seal", "in": file("in.plain"), "out": file("in.sealed"), "sa": sa(0x2002, them, us)}),
    ])?;
    let said = [packet("lan", "out.plain", "out.sealed")?, packet("wan", "in.sealed", "in.opened")?];
    let [opened, ours, theirs] = scapy([
        json!({"do": "open", "in": file("out.sealed"), "out": file("out.opened"), "sa": sa(0x1001, us, them)}),
        json!({"do": "compare", "before": file("out.plain"), "after": file("out.opened")}),
        json!({"do": "compare", "before": file("in.plain"), "after": file("in.opened")}),
    ])?;
    let count = made["packets"].as_u64().context("packets")?;
    ensure!(opened["packets"] == count, "espway sealed {opened} of {count}: {}", said[0]);
    let numbers: Vec<u64> = (1..=count).collect();
    ensure!(opened["numbers"] == json!(numbers), "sequence numbers count up from 1: {opened}");
    let whole = json!({"before": count, "after": count, "different": []});
    ensure!(ours == whole, "sealed by us: {ours}: {}", said[0]);
    ensure!(theirs == whole, "opened by us: {theirs}: {}", said[1]);
    Ok(())
}

/// A folder that goes away.
struct Scratch {
    path: std::path::PathBuf,
}
impl Scratch {
    fn new() -> Result<Self> {
        let path = std::env::temp_dir().join(format!("espway-decoders-{}", std::process::id()));
        std::fs::create_dir_all(&path)?;
        Ok(Self { path })
    }
}
impl Drop for Scratch {
    fn drop(&mut self) {
        if !std::thread::panicking() {
            // What is left in the temporary folder harms nobody.
            let _ = std::fs::remove_dir_all(&self.path);
        }
    }
}

#[test]
fn scapy_and_we_open_each_others_packets() -> Result<()> {
    for algorithms in ALGORITHMS {
        let case = Case { algorithms, outer6: false, inner6: false, nat_t: false };
        both_ways(&case).with_context(|| format!("{:?}", algorithms.ours))?;
    }
    Ok(())
}
#[test]
fn scapy_and_we_agree_over_ipv6_and_inside_udp() -> Result<()> {
    for (outer6, inner6, nat_t) in [
        (true, false, false),
        (false, true, false),
        (true, true, false),
        (false, false, true),
        (false, true, true),
    ] {
        for algorithms in [&ALGORITHMS[0], &ALGORITHMS[5]] {
            let case = Case { algorithms, outer6, inner6, nat_t };
            both_ways(&case).with_context(|| {
                format!("{:?} outer6={outer6} inner6={inner6} nat_t={nat_t}", algorithms.ours)
            })?;
        }
    }
    Ok(())
}

/// Packets before and after our crypto, in one file of our own writing: tshark opens it, decrypts the outside with the keys
/// beside it, and finds there what is on the inside.
#[test]
fn tshark_reads_our_capture_with_its_keys() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        let gateway = Gateway::new(Side::A, Suite::AesGcm);
        let _swan = StrongSwan::start(lab, lab.site(Side::B), &gateway.swan(false))?;
        let espway = gateway.start(lab)?;
        ping_until_up(lab.host(Side::A), Side::B.host4(), SOON)?;
        let (file, rows) = (lab.file("capture.pcapng"), lab.file("capture.esp_sa"));
        let mut command = Binaries::find()?.command();
        command.args(["capture", "--peer", "other", "--seconds", "60", "--count", "20", "--run-dir"]);
        command.arg(espway.run_dir()).arg("--out").arg(&file).arg("--keys").arg(&rows);
        let mut capture = process::Process::start("capture", &mut command, &lab.file("capture.log"))?;
        // Until the packets are enough.
        harness::wait_until("the end of the capture", SOON * 2, || {
            expect_pings(lab.host(Side::A), Side::B.host4(), 2)?;
            ensure!(capture.log().contains("enough packets"), "{}", capture.log());
            Ok(())
        })?;
        ensure!(
            capture.wait(SOON)?.success() && capture.log().contains("20 packets; ended"),
            "{}",
            capture.log()
        );

        let keys = Keys::from_rows(&rows)?;
        let fields = [
            "frame.interface_description",
            "icmp.type",
            "icmp.seq",
            "frame.packet_flags_direction",
            "frame.comment",
        ];
        let of = |filter: &str| tshark(&file, &keys, filter, &fields);
        let inside = of("icmp && !esp")?;
        let opened = of("icmp && esp")?;
        ensure!(inside.len() == 20 && opened.len() == 20, "{inside:?} {opened:?}");
        ensure!(inside.iter().all(|row| row[0].starts_with("inside")), "{inside:?}");
        ensure!(opened.iter().all(|row| row[0].starts_with("outside")), "{opened:?}");
        let pings = |rows: &[Vec<String>]| {
            let mut pings: Vec<_> = rows.iter().map(|row| (row[1].clone(), row[2].clone())).collect();
            pings.sort();
            pings
        };
        ensure!(pings(&inside) == pings(&opened), "{inside:?} {opened:?}");
        // What came in says what became of it; requests came in clear, answers under ESP.
        for (rows, way, kind) in [(&inside, "frame: under SA", "8"), (&opened, "open: the ICV is right", "0")]
        {
            let came: Vec<_> = rows.iter().filter(|row| !row[4].is_empty()).collect();
            ensure!(came.len() == 10, "{came:?}");
            let right =
                |row: &&&Vec<String>| row[1] == kind && row[4].contains(way) && row[4].contains("sent on");
            ensure!(came.iter().filter(right).count() == 10, "{came:?}");
        }
        ensure!(of("esp.icv_bad == 1")?.is_empty());

        // And the way of a packet that goes nowhere, in words.
        let mut command = Binaries::find()?.command();
        command.args([
            "trace",
            "--src",
            "10.1.0.0/24",
            "--dst",
            "10.77.0.1",
            "--count",
            "1",
            "--seconds",
            "60",
            "--run-dir",
        ]);
        let mut trace =
            process::Process::start("trace", command.arg(espway.run_dir()), &lab.file("trace.log"))?;
        harness::wait_until("a packet is traced", SOON, || {
            let _ = lab.host(Side::A).run("ping -c 1 -W 1 10.77.0.1");
            ensure!(trace.log().contains("ended: enough packets"), "{}", trace.log());
            Ok(())
        })?;
        ensure!(trace.wait(SOON)?.success());
        let said = trace.log();
        ensure!(said.contains("policy: none fits") && said.contains("> 10.77.0.1 icmp"), "{said}");
        espway.stop()
    })
}
