//! Policies made of what strongSwan asks for: which appear, what passes, when they are gone.
use anyhow::{Context, Result, ensure};
use e2e::{Gateway, SECRET, SOON, Seen, Suite, until};
use harness::sys::{Signal, signal};
use harness::traffic::{expect_pings, ping_until_up};
use harness::{Espway, Guest, Lab, Plan, Side, Site, StrongSwan, Swan, wait_until};
use serde_json::{Value, json};

const A: Side = Side::A;
const B: Side = Side::B;

/// No policy for anybody in particular: templates, one identity with the ports that are asked for and one with any.
fn road_warriors(gateway: &Gateway) -> Value {
    let mut config = gateway.config();
    let ipsec = &mut config["ip"]["ipsec"];
    let identity = |name: &str, word: &str| {
        json!({
            "peer": "other", "secret": SECRET, "my-id": "fqdn:site-a.example", "remote-id": format!("fqdn:{name}"),
            "generate-policy": word, "policy-template-group": "rw",
        })
    };
    ipsec["identity"] =
        json!([identity("site-b.example", "port-strict"), identity("override.example", "port-override")]);
    ipsec["policy-group"] = json!([{"name": "rw"}]);
    let template = |src: String, dst: &str| json!({"src-address": src, "dst-address": dst, "template": "yes", "group": "rw", "proposal": "esp"});
    ipsec["policy"] = json!([
        template(A.subnet4(), "10.0.0.0/8"),
        template(A.subnet6(), "fd00::/8"),
        template(format!("{}/32", A.wan4()), "203.0.113.0/24"),
        // Nothing passes without protection.
        {"src-address": A.subnet4(), "dst-address": "10.0.0.0/8", "action": "discard"},
        {"src-address": A.subnet6(), "dst-address": "fd00::/8", "action": "discard"},
    ]);
    config
}
/// Of policies that were made: addresses, protocol and ports, in order.
fn made(seen: &Seen) -> Vec<String> {
    let rows = seen.status["policies"].as_array().map_or(&[][..], Vec::as_slice);
    let dynamic = rows.iter().filter(|row| row["id"].as_u64() >= Some(1 << 31));
    let words = |row: &Value| {
        let word = |name: &str| row[name].as_str().unwrap_or("?").to_owned();
        let (protocol, ports) = (word("protocol"), [word("src-port"), word("dst-port")].join(":"));
        format!("{}>{} {protocol} {ports} {}", word("src-address"), word("dst-address"), word("ph2-state"))
    };
    dynamic.map(words).collect()
}
fn expect_made(espway: &Espway, expected: &[String]) -> Result<Seen> {
    until(espway, &format!("{expected:?}"), SOON, |seen| made(seen) == expected)
}
fn up(src: &str, dst: &str) -> String {
    format!("{src}>{dst} all any:any established")
}

struct Case {
    name: &'static str,
    change: fn(&mut Swan),
    /// Further children to call up.
    children: &'static [&'static str],
    made: fn() -> Vec<String>,
    /// Which IP versions pass.
    passes: (bool, bool),
    /// Further addresses there that answer.
    far: &'static [&'static str],
}
const CASES: &[Case] = &[
    Case {
        name: "one network",
        change: |_| {},
        children: &[],
        made: || vec![up(&A.subnet4(), &B.subnet4())],
        passes: (true, false),
        far: &[],
    },
    Case {
        name: "both IP versions in one child",
        change: |swan| {
            swan.local_ts.push(B.subnet6());
            swan.remote_ts.push(A.subnet6());
        },
        children: &[],
        made: || vec![up(&A.subnet4(), &B.subnet4()), up(&A.subnet6(), &B.subnet6())],
        passes: (true, true),
        far: &[],
    },
    Case {
        name: "more than the template allows",
        change: |swan| swan.remote_ts = vec!["0.0.0.0/0".into()],
        children: &[],
        made: || vec![up(&A.subnet4(), &B.subnet4())],
        passes: (true, false),
        far: &[],
    },
    Case {
        name: "two children",
        change: |swan| swan.others = vec![[B.subnet6(), A.subnet6(), swan.esp.clone()]],
        children: &["net0"],
        made: || vec![up(&A.subnet4(), &B.subnet4()), up(&A.subnet6(), &B.subnet6())],
        passes: (true, true),
        far: &[],
    },
    Case {
        name: "several networks in one child",
        change: |swan| swan.local_ts.extend(["10.77.1.0/24".into(), "10.77.2.0/24".into()]),
        children: &[],
        made: || {
            [B.subnet4().as_str(), "10.77.1.0/24", "10.77.2.0/24"].map(|dst| up(&A.subnet4(), dst)).into()
        },
        passes: (true, false),
        far: &["10.77.1.1", "10.77.2.1"],
    },
    Case {
        name: "ports, as they are asked for",
        change: ports,
        children: &[],
        made: || vec![format!("{}>{} 17 5001:5000 established", A.subnet4(), B.subnet4())],
        passes: (false, false),
        far: &[],
    },
    Case {
        name: "ports, overridden",
        change: |swan| {
            ports(swan);
            swan.local_id = "override.example".into();
        },
        children: &[],
        made: || vec![format!("{}>{} 17 any:any established", A.subnet4(), B.subnet4())],
        passes: (false, false),
        far: &[],
    },
];
fn ports(swan: &mut Swan) {
    swan.local_ts[0] += "[udp/5000]";
    swan.remote_ts[0] += "[udp/5001]";
}

#[test]
fn strongswan_gets_the_policies_it_asks_for() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Kernel), |lab| {
        let gateway = Gateway::new(A, Suite::AesGcm).responder();
        let espway = gateway.start_as(lab, &road_warriors(&gateway))?;
        let good = gateway.swan(true);
        // User-space ESP routes what it has an address for.
        lab.site(B).ip("addr add 10.77.1.1/24 dev lan0\naddr add 10.77.2.1/24 dev lan0\n")?;
        let swan = StrongSwan::start(lab, lab.site(B), &good)?;
        for case in CASES {
            let mut conf = good.clone();
            (case.change)(&mut conf);
            swan.reconfigure(&conf)?;
            expect_made(&espway, &[]).with_context(|| case.name)?;
            swan.initiate().with_context(|| case.name)?;
            for child in case.children {
                swan.control(&format!("--initiate --child {child} --timeout 20"))?;
            }
            expect_made(&espway, &(case.made)()).with_context(|| case.name)?;
            for far in case.far {
                ping_until_up(lab.host(A), far.parse()?, SOON).with_context(|| case.name)?;
            }
            for (passes, to, back) in
                [(case.passes.0, B.host4(), A.host4()), (case.passes.1, B.host6(), A.host6())]
            {
                if passes {
                    ping_until_up(lab.host(A), to, SOON).with_context(|| case.name)?;
                    expect_pings(lab.host(B), back, 5).with_context(|| case.name)?;
                }
            }
        }
        // What cannot be had is refused, and leaves nothing.
        let mut conf = good.clone();
        conf.remote_ts = vec!["172.30.0.0/16".into()];
        swan.reconfigure(&conf)?;
        let _ = swan.initiate(); // the IKE SA stands without its child
        ensure!(swan.log()?.contains("TS_UNACC"), "no refusal:\n{}", swan.log()?);
        expect_made(&espway, &[])?;

        // A policy outlives the slow path that made it, and a rekey, and goes with its child.
        swan.reconfigure(&good)?;
        swan.initiate()?;
        let expected = [up(&A.subnet4(), &B.subnet4())];
        expect_made(&espway, &expected)?;
        espway_slowpath_dies(&espway)?;
        expect_made(&espway, &expected)?;
        ping_until_up(lab.host(A), B.host4(), SOON)?;
        swan.rekey_child()?;
        expect_made(&espway, &expected)?;
        expect_pings(lab.host(B), A.host4(), 5)?;
        swan.terminate_child()?;
        expect_made(&espway, &[])?;
        espway.stop()
    })
}
fn espway_slowpath_dies(espway: &Espway) -> Result<()> {
    let pid = espway.slowpath_pid()?;
    signal(pid, Signal::Kill)?;
    wait_until("another slow path", SOON, || {
        ensure!(espway.slowpath_pid()? != pid, "still the old one");
        Seen::of(espway).map(drop)
    })
}

/// Transport mode between the gateways, which a Linux kernel in a guest asks for.
#[test]
fn a_template_serves_transport_mode() -> Result<()> {
    Lab::run(&Plan::new(Site::Dpdk, Site::Taps), |lab| {
        let guest = Guest::boot(lab, B)?;
        let gateway = Gateway::new(A, Suite::AesGcm).responder();
        let espway = gateway.start_as(lab, &road_warriors(&gateway))?;
        let mut conf = gateway.swan(true);
        (conf.local_ts, conf.remote_ts) = (vec!["dynamic".into()], vec!["dynamic".into()]);
        conf.child.push("mode = transport".into());
        let swan = StrongSwan::start_in_guest(&guest, &conf)?;
        swan.initiate()?;
        let (here, there) = (format!("{}/32", A.wan4()), format!("{}/32", B.wan4()));
        let seen = expect_made(&espway, &[up(&here, &there)])?;
        ensure!(seen.sas("out").iter().all(|sa| sa["mode"] == "transport"), "{:#}", seen.status);
        swan.terminate()?;
        expect_made(&espway, &[])?;
        espway.stop()
    })
}
