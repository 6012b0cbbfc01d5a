//! Faults between us and strongSwan, made one after the other in one lab: each leaves one record that names it, whoever
//! called; when they are gone the tunnel comes up and the records are solved.
use anyhow::{Context, Result, ensure};
use e2e::{Gateway, SECRET, SOON, Suite, initiate, rekey_child, terminate, until};
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

/// Who makes the fault show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    TheyCall,
    WeCall,
    /// The tunnel is up, and an SA gets a successor.
    TheyRekey,
    WeRekey,
}
/// A row of the table that cloud providers print for the log of their gateway, which is a strongSwan.
struct Cloud {
    make: fn(&mut Swan),
    by: By,
    /// What strongSwan's log says.
    theirs: &'static str,
    ours: (&'static str, &'static [&'static str]),
}
const PROVE: &str = "received AUTHENTICATION_FAILED";
const CLOUD: &[Cloud] = &[
    // "message parsing failed", "could not decrypt payloads" in IKEv1: pre-shared keys differ.
    Cloud {
        make: |swan| swan.psk = "the secret of another tunnel".into(),
        by: By::TheyCall,
        theirs: PROVE,
        ours: ("secret", &["algorithms and identities fit"]),
    },
    Cloud {
        make: |swan| swan.psk = "the secret of another tunnel".into(),
        by: By::WeCall,
        theirs: "MAC mismatched",
        ours: ("auth-refused", &["AUTHENTICATION_FAILED"]),
    },
    // "parsed IKE_SA_INIT response 0 [ N(NO_PROP) ]": versions differ, main mode or aggressive.
    Cloud {
        make: |swan| swan.connection.extend(["version = 1".into(), "aggressive = yes".into()]),
        by: By::TheyCall,
        theirs: "initiating Aggressive Mode IKE_SA",
        ours: ("ikev1-call", &["they speak IKEv1, we IKEv2"]),
    },
    // Of one address it is said again only after a while.
    Cloud {
        make: |swan| swan.connection.push("version = 1".into()),
        by: By::TheyCall,
        theirs: "initiating Main Mode IKE_SA",
        ours: ("", &[]),
    },
    Cloud {
        make: |swan| swan.connection.push("version = 1".into()),
        by: By::WeCall,
        theirs: "sending NO_PROPOSAL_CHOSEN",
        ours: ("ike-proposal-refused", &["NO_PROPOSAL_CHOSEN"]),
    },
    // Phase 1 algorithms.
    Cloud {
        make: |swan| swan.ike = "aes256-sha1-modp1024".into(),
        by: By::TheyCall,
        theirs: "received NO_PROPOSAL_CHOSEN notify error",
        ours: ("ike-proposal", &["they have aes-256-cbc", "modp1024"]),
    },
    // "IDir 'x' does not match to 'y'".
    Cloud {
        make: |swan| swan.remote_id = "site-y.example".into(),
        by: By::WeCall,
        theirs: "no matching peer config found",
        ours: ("auth-refused", &["AUTHENTICATION_FAILED"]),
    },
    Cloud {
        make: |swan| swan.local_id = "site-x.example".into(),
        by: By::TheyCall,
        theirs: PROVE,
        ours: ("id-unknown", &["they are fqdn:site-x.example"]),
    },
    // "sending retransmit 1 of request message ID 0, seq 1" and "UNSUPPORTED_CRITICAL_PAYLOAD": the address entered for
    // us is another one. They call nobody, and do not know us when we call.
    Cloud {
        make: |swan| swan.remote = Some(Side::A.router4()),
        by: By::TheyCall,
        theirs: "retransmit 1 of request with message ID 0",
        ours: ("", &[]),
    },
    Cloud {
        make: |swan| swan.remote = Some(Side::A.router4()),
        by: By::WeCall,
        theirs: "no IKE config found",
        ours: ("ike-proposal-refused", &["NO_PROPOSAL_CHOSEN"]),
    },
    // "received INVALID_ID_INFORMATION error notify", "HASH payload does not match": networks differ.
    Cloud {
        make: |swan| swan.local_ts = vec!["10.77.0.0/16".into()],
        by: By::TheyCall,
        theirs: "received TS_UNACCEPTABLE notify",
        ours: ("ts", &["10.77.0.0/16"]),
    },
    Cloud {
        make: |swan| swan.local_ts = vec!["10.77.0.0/16".into()],
        by: By::WeCall,
        theirs: "generating IKE_AUTH response 1 [ IDr AUTH N(TS_UNACCEPT) ]",
        ours: ("ts-refused", &["TS_UNACCEPTABLE"]),
    },
    // "parsed INFORMATIONAL_V1 request [ HASH N(NO_PROP) ]": phase 2 algorithms differ.
    Cloud {
        make: |swan| swan.esp = "aes256-sha1".into(),
        by: By::TheyCall,
        theirs: "received NO_PROPOSAL_CHOSEN notify, no CHILD_SA built",
        ours: ("child-proposal", &["they have aes-256-cbc"]),
    },
    Cloud {
        make: |swan| swan.esp = "aes256-sha1".into(),
        by: By::WeCall,
        theirs: "no acceptable proposal found",
        ours: ("child-proposal-refused", &["NO_PROPOSAL_CHOSEN"]),
    },
    // "ESP:…/MODP_1024/NO_EXT_SEQ", "no matching proposal found": the PFS group differs. The first SA of a tunnel is made
    // without it, so it shows when that gets a successor.
    Cloud {
        make: |swan| swan.esp = "aes128gcm16-modp1024".into(),
        by: By::TheyRekey,
        theirs: "NO_PROPOSAL_CHOSEN",
        ours: ("child-proposal", &["pfs-group"]),
    },
    Cloud {
        make: |swan| swan.esp = "aes128gcm16-modp1024".into(),
        by: By::WeRekey,
        theirs: "no acceptable",
        ours: ("child-proposal-refused", &["pfs-group"]),
    },
];

/// What strongSwan logged behind this many bytes.
fn said(swan: &StrongSwan, behind: usize, words: &str) -> Result<()> {
    wait_until(words, Duration::from_secs(10), || {
        let log = swan.log()?;
        let fresh = log.get(behind..).unwrap_or_default();
        ensure!(fresh.contains(words), "`{words}` is not in their log:\n{fresh}");
        Ok(())
    })
}

#[test]
fn each_fault_of_a_cloud_gateways_table_is_made_and_named() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        let gateway = Gateway { passive: true, ..Gateway::new(Side::A, Suite::AesGcm) };
        let espway = gateway.start(lab)?;
        let good = gateway.swan(true);
        let swan = StrongSwan::start(lab, lab.site(Side::B), &good)?;
        for (row, fault) in CLOUD.iter().enumerate() {
            let what = || format!("row {row}, {:?}, {}", fault.by, fault.theirs);
            let mut bad = good.clone();
            (fault.make)(&mut bad);
            swan.reconfigure(&bad)?;
            clear(&espway)?;
            let behind = swan.log()?.len();
            match fault.by {
                // Refused is what is wanted.
                By::TheyCall => drop(swan.control("--initiate --child net --timeout 2")),
                By::WeCall => initiate(&espway)?,
                By::TheyRekey | By::WeRekey => {
                    swan.initiate().with_context(what)?;
                    until(&espway, "the tunnel", SOON, |seen| !seen.sas("in").is_empty())?;
                    match fault.by {
                        By::TheyRekey => drop(swan.rekey_child()),
                        _ => rekey_child(&espway)?,
                    }
                }
            }
            said(&swan, behind, fault.theirs).with_context(what)?;
            match fault.ours {
                // Nothing of it has come to us.
                ("", _) => ensure!(records(&espway)?.is_empty(), "{}", what()),
                ours => expect(&espway, ours).with_context(what)?,
            }
            terminate(&espway)?;
            let _ = swan.terminate();
            until(&espway, "the end of it", SOON, |seen| seen.peers().is_empty()).with_context(what)?;
        }
        espway.stop()
    })
}
