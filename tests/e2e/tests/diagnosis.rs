//! Faults between us and strongSwan, made one after the other in one lab: each leaves one record that names it, whoever
//! called; when they are gone the tunnel comes up and the records are solved.
use anyhow::{Context, Result, ensure};
use e2e::{Gateway, SECRET, SOON, Suite, initiate, terminate, until};
use harness::{Espway, Lab, Plan, Side, Site, StrongSwan, Swan, wait_until};
use serde_json::{Value, json};
use std::time::Duration;

fn records(gateway: &Espway) -> Result<Vec<Value>> {
    let answer = gateway.request(&json!({"diagnosis": {}}))?;
    answer["diagnosis"].as_array().cloned().context("a list of records")
}
/// The record of this cause, when it is there.
fn record(gateway: &Espway, cause: &str) -> Result<Value> {
    let limit = Duration::from_secs(10);
    wait_until(cause, limit, || {
        let rows = records(gateway)?;
        let found = rows.iter().find(|row| row["cause"] == cause).cloned();
        found.with_context(|| format!("only {rows:#?}"))
    })
}
fn clear(gateway: &Espway) -> Result<()> {
    gateway.request(&json!({"diagnosis": {"clear": true}})).map(drop)
}

struct Fault {
    make: fn(&mut Swan),
    /// What we say when strongSwan calls, and which words are in it.
    called: (&'static str, &'static [&'static str]),
    /// The same when we call; `None`: nothing goes wrong that way.
    calling: Option<(&'static str, &'static [&'static str])>,
}
const FAULTS: &[Fault] = &[
    // Phase 1 algorithms.
    Fault {
        make: |swan| swan.ike = "aes256-sha512-modp4096".into(),
        called: (
            "ike-proposal",
            &[
                "enc-algorithm: they have aes-256-cbc",
                "dh-group: they have modp4096",
                "profile set [find name=ike]",
            ],
        ),
        calling: Some(("ike-proposal-refused", &["NO_PROPOSAL_CHOSEN", "not authenticated"])),
    },
    // The pre-shared key.
    Fault {
        make: |swan| swan.psk = "another secret altogether".into(),
        called: ("secret", &["fqdn:site-b.example", "algorithms and identities fit"]),
        calling: Some(("auth-refused", &["AUTHENTICATION_FAILED", "my-id=fqdn:site-a.example"])),
    },
    // Our secret with a blank behind it.
    Fault {
        make: |swan| swan.psk = format!("{SECRET} "),
        called: ("secret", &["a blank or a line end behind it"]),
        calling: None,
    },
    // Who they are: "IDir 'x' does not match to 'y'".
    Fault {
        make: |swan| swan.local_id = "site-x.example".into(),
        called: (
            "id-unknown",
            &["they are fqdn:site-x.example", "identity set [find peer=other] remote-id=fqdn:site-x.example"],
        ),
        calling: Some(("auth-refused", &["AUTHENTICATION_FAILED"])),
    },
    // Who they take us for.
    Fault {
        make: |swan| swan.remote_id = "site-y.example".into(),
        called: ("id-asked", &["they ask for fqdn:site-y.example", "my-id=fqdn:site-y.example"]),
        calling: Some(("auth-refused", &["AUTHENTICATION_FAILED"])),
    },
    // Networks.
    Fault {
        make: |swan| swan.local_ts = vec!["10.77.0.0/16".into()],
        called: ("ts", &["10.77.0.0/16", "policy add src-address="]),
        calling: Some(("ts-refused", &["TS_UNACCEPTABLE"])),
    },
    // Phase 2 algorithms.
    Fault {
        make: |swan| swan.esp = "aes256-sha1".into(),
        called: (
            "child-proposal",
            &["enc-algorithms: they have aes-256-cbc", "proposal set [find name=esp]"],
        ),
        calling: Some(("child-proposal-refused", &["NO_PROPOSAL_CHOSEN"])),
    },
];

fn expect(gateway: &Espway, (cause, words): (&str, &[&str])) -> Result<()> {
    let row = record(gateway, cause)?;
    let text = row.to_string();
    for word in words {
        ensure!(text.contains(word), "`{word}` is not in {row:#}");
    }
    ensure!(row["peer"] == "other" && row["solved"] == false, "{row:#}");
    let log = gateway.log();
    ensure!(log.contains(&format!("[{cause}]")), "{cause} is not in the log:\n{log}");
    Ok(())
}

#[test]
fn each_fault_is_named_and_gone_when_it_is_mended() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        // It calls only when it is told to.
        let gateway = Gateway { passive: true, ..Gateway::new(Side::A, Suite::AesGcm) };
        let espway = gateway.start(lab)?;
        let good = gateway.swan(true);
        let swan = StrongSwan::start(lab, lab.site(Side::B), &good)?;
        espway.request(&json!({"log-level": {"filter": "debug", "peer": "other"}}))?;
        for fault in FAULTS {
            let mut bad = good.clone();
            (fault.make)(&mut bad);
            clear(&espway)?;
            swan.reconfigure(&bad)?;
            // Refused is what is wanted; of a child alone swanctl may not say it.
            let _ = swan.control("--initiate --child net --timeout 5");
            expect(&espway, fault.called)?;
            terminate(&espway)?;
            if let Some(calling) = fault.calling {
                clear(&espway)?;
                let _ = swan.terminate();
                initiate(&espway)?;
                expect(&espway, calling)?;
                terminate(&espway)?;
            }
        }
        // Another version of IKE; strongSwan would repeat its call for a while.
        let mut old = good.clone();
        old.connection.push("version = 1".into());
        swan.reconfigure(&old)?;
        let _ = swan.control("--initiate --child net --timeout 1");
        expect(&espway, ("ikev1-call", &["they speak IKEv1, we IKEv2"]))?;

        swan.reconfigure(&good)?;
        swan.initiate()?;
        until(&espway, "the tunnel", SOON, |seen| seen.established() > 0 && !seen.sas("in").is_empty())?;
        let rows = records(&espway)?;
        ensure!(!rows.is_empty() && rows.iter().all(|row| row["solved"] == true), "{rows:#?}");

        let log = espway.request(&json!({"log": {}}))?;
        let entries = log["log"].as_array().context("a list of entries")?;
        let told = |topics: &str, words: &str| {
            entries.iter().any(|e| e["topics"] == topics && e["message"].to_string().contains(words))
        };
        ensure!(told("ipsec,debug", "received IKE_AUTH request 1 [IDi(site-b.example)"), "{log:#}");
        ensure!(told("ipsec,error", "[secret]") && told("ipsec,warning", "[ike-proposal]"), "{log:#}");
        espway.stop()
    })
}
