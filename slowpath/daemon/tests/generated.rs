//! Policies made from a template, as a gateway is asked about them: explanations, metrics, and their sums to the last packet.
mod common;
use common::*;
use config::explain::{Question, What};
use espway_slowpath::driver::Driver;
use espway_slowpath::explain::explain;
use espway_slowpath::metrics::{Snapshot, Sums};
use espway_slowpath::translate::translate;
use ike::Engine;
use ike::api::{Input, Now};
use ipc::{FrameKind, FrameMeta, Geometry};
use manage::credentials::Credentials;
use sa::Direction;
use std::time::Duration;

const HUB: &str = r#"
system: {name: hub, sa-slots: 64}
interface: [{name: wan, device: "null"}, {name: lan, device: "null"}]
ip:
  address:
    - {address: 192.0.2.1/24, interface: wan}
    - {address: 10.1.0.1/16, interface: lan}
  route: [{dst-address: 0.0.0.0/0, gateway: 192.0.2.254}]
  ipsec:
    profile: [{name: p, enc-algorithm: [aes-256-gcm], hash-algorithm: sha256, dh-group: [x25519]}]
    proposal: [{name: q, enc-algorithms: [aes-128-gcm], auth-algorithms: ["null"], pfs-group: none}]
    policy-group: [{name: rw}]
    peer: [{name: all, address: 192.0.2.0/24, local-address: 192.0.2.1, exchange-mode: ike2, profile: p, passive: yes}]
    identity: [{peer: all, secret: a secret for tests, generate-policy: port-strict, policy-template-group: rw}]
    policy:
      - {src-address: 10.1.9.0/24, dst-address: 10.2.0.0/16, action: none}
      - {template: yes, group: rw, src-address: 10.1.0.0/16, dst-address: 10.0.0.0/8, proposal: q}
      - {src-address: 10.1.0.0/16, dst-address: 10.0.0.0/8, action: discard}
"#;
const CLIENT: &str = r#"
system: {name: client, sa-slots: 64}
interface: [{name: wan, device: "null"}]
ip:
  address: [{address: 192.0.2.2/24, interface: wan}]
  ipsec:
    profile: [{name: p, enc-algorithm: [aes-256-gcm], hash-algorithm: sha256, dh-group: [x25519]}]
    proposal: [{name: q, enc-algorithms: [aes-128-gcm], auth-algorithms: ["null"], pfs-group: none}]
    peer: [{name: hub, address: 192.0.2.1, local-address: 192.0.2.2, exchange-mode: ike2, profile: p}]
    identity: [{peer: hub, secret: a secret for tests}]
    policy: [{src-address: 10.2.0.0/16, dst-address: 10.1.0.0/16, peer: hub, proposal: q, tunnel: yes}]
"#;
const TEMPLATE: &str = "template=\"10.1.0.0/16 > 10.0.0.0/8\",group=\"rw\"";

struct Gateway {
    config: config::Config,
    driver: Driver<Engine>,
    fast: Fast,
}
impl Gateway {
    fn new(text: &str, seed: u64, now: Now) -> Self {
        let config = config::check(text).unwrap_or_else(|c| panic!("{}", c.render("text", false))).config;
        let geometry = Geometry { sa_slots: 64, vault_records: 32, ..Geometry::default() };
        let mut fast = Fast::with(geometry);
        let mut driver = Driver::new(Engine::new(Box::new(Seeded(seed))), key());
        let translated = translate(&config, &Credentials::default(), 64);
        driver.configure(translated.ike, translated.policies, now);
        driver.attach(fast.side.attach_here().expect("attached"), now);
        Self { config, driver, fast }
    }
    fn samples(&self, sums: &mut Sums, now: Now) -> impl Fn(&str) -> u64 + use<> {
        let text = Snapshot::take(&self.driver.running(now), &self.config, sums, 1).render();
        move |name| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
            value.unwrap_or_else(|| panic!("no {name} in {text}")).parse().expect("a number")
        }
    }
}
fn carry(a: &mut Gateway, b: &mut Gateway, now: &mut Now, time: Duration) {
    let end = *now + time;
    while *now < end {
        for swap in [false, true] {
            let (from, to) = if swap { (&mut *b, &mut *a) } else { (&mut *a, &mut *b) };
            for (meta, payload) in settle(&mut from.driver, &mut from.fast, *now) {
                let meta = FrameMeta { local: meta.remote, remote: meta.local, ..meta };
                if meta.kind == FrameKind::Ike {
                    assert!(to.fast.side.frame_to_slow(&meta, &payload));
                }
            }
        }
        *now += Duration::from_millis(50);
    }
}
fn question(dst: &str) -> Question {
    Question {
        src: "10.1.0.5".parse().expect("an address"),
        dst: dst.parse().expect("an address"),
        protocol: "tcp".into(),
        src_port: None,
        dst_port: Some(443),
    }
}

#[test]
fn policies_from_templates_are_explained_and_counted() {
    let mut now = Duration::from_secs(5000);
    let (mut hub, mut client) = (Gateway::new(HUB, 1, now), Gateway::new(CLIENT, 2, now));
    let mut sums = Sums::default();
    let explained = |hub: &Gateway, dst: &str, now: Now| {
        explain(&hub.driver.running(now), &hub.config, &question(dst)).expect("an explanation")
    };
    // Before: the discard behind the template.
    let before = explained(&hub, "10.2.0.7", now);
    assert_eq!(
        (before.ways[0].action, before.ways[0].policy.as_ref().map(|p| p.action)),
        (What::Drop, Some("discard"))
    );
    assert_eq!(hub.samples(&mut sums, now)(&format!("espway_template_policies{{{TEMPLATE}}}")), 0);

    client.driver.input(Input::Initiate { peer: "hub".into(), policy: None }, now);
    carry(&mut hub, &mut client, &mut now, Duration::from_secs(3));
    let told = explained(&hub, "10.2.0.7", now);
    let way = &told.ways[0];
    let policy = way.policy.as_ref().expect("a policy");
    assert_eq!((policy.number, policy.dynamic, policy.peer.as_deref()), (1, true, Some("all")));
    assert_eq!((way.action, way.shadowed.len()), (What::Encrypt, 1), "{told}");
    assert!(way.sas.iter().any(|sa| sa.used && sa.dst_address == "192.0.2.2"), "{told}");
    assert!(told.to_string().contains(", peer `all`, dynamic"), "{told}");
    let back = &told.ways[1];
    assert_eq!(back.in_policy.as_ref().map(|p| p.dynamic), Some(true), "{told}");
    // What no client has is the discard's still.
    assert_eq!(explained(&hub, "10.3.0.7", now).ways[0].action, What::Drop);

    // What the SAs carry between a reading and their ends is not lost, nor when the policy goes with them.
    let total = |way: &str| format!("espway_template_packets_total{{{TEMPLATE},direction=\"{way}\"}}");
    let slot = |hub: &Gateway, way| hub.fast.of(way)[0].slot;
    let inbound = slot(&hub, Direction::Inbound);
    hub.fast.count(inbound, 7, 7);
    let outbound = slot(&hub, Direction::Outbound);
    hub.fast.count(outbound, 2, 2);
    let first = hub.samples(&mut sums, now);
    assert_eq!((first(&total("in")), first(&total("out"))), (7, 2));
    assert_eq!(first(&format!("espway_template_policies{{{TEMPLATE}}}")), 1);
    assert_eq!(first(&format!("espway_template_peers{{{TEMPLATE}}}")), 1);
    hub.fast.count(inbound, 5, 12);
    hub.driver.input(Input::RekeyChild { slot: inbound }, now);
    carry(&mut hub, &mut client, &mut now, Duration::from_secs(20));
    let rekeyed = slot(&hub, Direction::Inbound);
    assert_ne!(rekeyed, inbound);
    hub.fast.count(rekeyed, 100, 100);
    client.driver.input(Input::Terminate { peer: None }, now);
    // The last packets on their way are waited for.
    carry(&mut hub, &mut client, &mut now, Duration::from_secs(20));
    let last = hub.samples(&mut sums, now);
    assert_eq!((last(&total("in")), last(&total("out"))), (112, 2));
}
