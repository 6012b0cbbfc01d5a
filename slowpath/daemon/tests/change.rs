//! A thousand tunnels, and a change of one: the real engine on both sides, the real contract, configurations as people
//! write them.
mod common;
use common::*;
use espway_slowpath::driver::Driver;
use espway_slowpath::translate::translate;
use ike::Engine;
use ike::api::Now;
use ipc::{FrameKind, FrameMeta, Geometry};
use manage::credentials::Credentials;
use sa::SaSpec;
use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

const TUNNELS: usize = 1000;
const SLOTS: u32 = 8192;

/// Ours calls a thousand addresses of the other gateway; `changed` is one peer's difference.
fn ours(changed: Option<(usize, &str)>) -> String {
    let mut text = head("192.0.2.1/24");
    text += "    peer:\n";
    for n in 0..TUNNELS {
        let more = changed.filter(|(at, _)| *at == n).map_or("", |(_, more)| more);
        _ = writeln!(
            text,
            "      - {{name: p{n}, address: {}, local-address: 192.0.2.1, exchange-mode: ike2, profile: p, send-initial-contact: no{more}}}",
            far(n)
        );
    }
    text += "    identity:\n";
    (0..TUNNELS).for_each(|n| _ = writeln!(text, "      - {{peer: p{n}, secret: \"a secret for tests\"}}"));
    text += "    policy:\n";
    (0..TUNNELS).for_each(|n| {
        _ = writeln!(
            text,
            "      - {{src-address: 10.1.0.0/16, dst-address: {}, peer: p{n}, proposal: q, tunnel: yes}}",
            behind(n)
        )
    });
    text
}
fn theirs() -> String {
    let mut text = head("198.18.0.1/16");
    text += "    peer: [{name: hub, address: 192.0.2.1, exchange-mode: ike2, profile: p, passive: yes}]\n";
    text += "    identity: [{peer: hub, secret: \"a secret for tests\"}]\n    policy:\n";
    (0..TUNNELS).for_each(|n| {
        _ = writeln!(
            text,
            "      - {{src-address: {}, dst-address: 10.1.0.0/16, peer: hub, proposal: q, tunnel: yes}}",
            behind(n)
        )
    });
    text
}
fn head(address: &str) -> String {
    format!(
        "system: {{name: t, sa-slots: {SLOTS}}}\ninterface: [{{name: wan, device: \"null\"}}]\nip:\n  address: [{{address: {address}, interface: wan}}]\n  \
         route: [{{dst-address: 0.0.0.0/0, gateway: wan}}]\n  ipsec:\n    profile: [{{name: p, enc-algorithm: [aes-256-gcm], hash-algorithm: sha256, dh-group: [x25519]}}]\n    \
         proposal: [{{name: q, enc-algorithms: aes-128-gcm, auth-algorithms: null, pfs-group: none}}]\n"
    )
}
fn far(n: usize) -> String {
    format!("198.18.{}.{}", 1 + n / 250, 1 + n % 250)
}
fn behind(n: usize) -> String {
    format!("10.{}.{}.0/24", 100 + n / 250, n % 250)
}

struct Gateway {
    driver: Driver<Engine>,
    fast: Fast,
}
impl Gateway {
    fn new(text: &str, seed: u64, now: Now) -> Self {
        let geometry = Geometry { sa_slots: SLOTS, vault_records: 2048, ..Geometry::default() };
        let mut fast = Fast::with(geometry);
        let mut driver = Driver::new(Engine::new(Box::new(Seeded(seed))), key());
        configure(&mut driver, text, now);
        driver.attach(fast.side.attach_here().unwrap(), now);
        Self { driver, fast }
    }
    /// Every SA, with its keys.
    fn sas(&self) -> BTreeMap<u32, SaSpec> {
        self.fast.sas.clone()
    }
}
fn configure(driver: &mut Driver<Engine>, text: &str, now: Now) {
    let checked = config::check(text).unwrap_or_else(|complaints| panic!("{complaints}"));
    let translated = translate(&checked.config, &Credentials::default(), SLOTS);
    driver.configure(translated.ike, translated.policies, now);
}
fn carry(a: &mut Gateway, b: &mut Gateway, now: &mut Now, time: Duration) {
    let end = *now + time;
    while *now < end {
        for swap in [false, true] {
            let (from, to) = if swap { (&mut *b, &mut *a) } else { (&mut *a, &mut *b) };
            for (meta, payload) in settle(&mut from.driver, &mut from.fast, *now) {
                let meta = FrameMeta { local: meta.remote, remote: meta.local, ..meta };
                if meta.kind == FrameKind::Ike {
                    to.fast.side.frame_to_slow(&meta, &payload);
                    to.driver.turn(*now);
                }
            }
        }
        *now += Duration::from_millis(200);
    }
}

#[test]
fn a_change_of_one_tunnel_in_a_thousand_touches_no_other() {
    let mut now = Duration::from_secs(5000);
    let (mut a, mut b) = (Gateway::new(&ours(None), 11, now), Gateway::new(&theirs(), 22, now));
    carry(&mut a, &mut b, &mut now, Duration::from_secs(20));
    let before = a.sas();
    assert_eq!((before.len(), b.sas().len()), (2 * TUNNELS, 2 * TUNNELS));
    let established = |gateway: &Gateway| gateway.driver.engine.counters().ike_established;
    let negotiated = established(&a);

    // Another comment, another port, another lifetime: no SA changes, nothing is negotiated.
    a.fast.take_done();
    configure(&mut a.driver, &ours(Some((500, ", port: 4500, comment: x"))), now);
    carry(&mut a, &mut b, &mut now, Duration::from_secs(5));
    assert!(a.sas() == before, "an SA changed");
    assert_eq!((established(&a), a.fast.take_done()), (negotiated, Vec::<String>::new()));

    // One is disabled: its two SAs go, 1998 stay with their keys and numbers.
    let disabled = ours(Some((500, ", disabled: yes")));
    configure(&mut a.driver, &disabled, now);
    carry(&mut a, &mut b, &mut now, Duration::from_secs(30));
    let after = a.sas();
    assert_eq!(after.len(), 2 * TUNNELS - 2);
    assert!(after.iter().all(|(slot, spec)| before.get(slot) == Some(spec)), "another SA changed");
    assert_eq!(b.sas().len(), 2 * TUNNELS - 2, "the peer was told");
    let removed = a.fast.take_done().into_iter().filter(|done| done.starts_with("remove")).count();
    assert_eq!(removed, 2);

    // Enabled again: it alone is negotiated.
    configure(&mut a.driver, &ours(None), now);
    carry(&mut a, &mut b, &mut now, Duration::from_secs(20));
    assert_eq!((a.sas().len(), established(&a)), (2 * TUNNELS, negotiated + 1));
    assert!(after.iter().all(|(slot, spec)| a.sas().get(slot) == Some(spec)), "another SA changed");
}
