//! Listings of many SAs: the driver gives pages away and goes on. `ESPWAY_SAS=10000 cargo test --release -p espway-slowpath
//! --test many -- --nocapture` says for how long it is held by each, and what others work on meanwhile.
mod common;
use common::*;
use espway_slowpath::driver::Driver;
use espway_slowpath::metrics::{Snapshot, Sums};
use espway_slowpath::report::Report;
use espway_slowpath::translate::translate;
use ike::Engine;
use ike::api::{Input, Now};
use ipc::{FrameKind, FrameMeta, Geometry};
use manage::credentials::Credentials;
use sa::SaSlot;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::sync::Arc;
use std::time::{Duration, Instant};

/// As `desk` asks for them.
const PAGE: usize = 256;

fn tunnels() -> usize {
    std::env::var("ESPWAY_SAS").ok().and_then(|text| text.parse::<usize>().ok()).map_or(150, |sas| sas / 2)
}
fn slots() -> u32 {
    (4 * tunnels() as u32).next_power_of_two().max(1024)
}
fn head(address: &str) -> String {
    format!(
        "system: {{name: t, sa-slots: {}}}\ninterface: [{{name: wan, device: \"null\"}}]\nip:\n  address: [{{address: {address}, interface: wan}}]\n  \
         route: [{{dst-address: 0.0.0.0/0, gateway: wan}}]\n  ipsec:\n    settings: {{ddos-cookie-threshold: 100000}}\n    \
         profile: [{{name: p, enc-algorithm: [aes-256-gcm], hash-algorithm: sha256, dh-group: [x25519]}}]\n    \
         proposal: [{{name: q, enc-algorithms: aes-128-gcm, auth-algorithms: null, pfs-group: none}}]\n",
        slots()
    )
}
fn far(n: usize) -> String {
    format!("198.{}.{}.{}", 18 + n / 62_500, n / 250 % 250, 2 + n % 250)
}
fn behind(n: usize) -> String {
    format!("11.{}.{}.{}", n / 65_536, n / 256 % 256, n % 256)
}
/// Ours has a peer for each tunnel, theirs one for all.
fn config(ours: bool) -> config::Config {
    let mut text = head(if ours { "192.0.2.1/24" } else { "198.18.0.1/15" });
    let row = |text: &mut String, row: String| _ = writeln!(text, "      - {{{row}}}");
    text += "    peer:\n";
    match ours {
        true => (0..tunnels()).for_each(|n| {
            let (name, address) = (name(n), far(n));
            let row_of = format!(
                "name: \"{name}\", address: {address}, local-address: 192.0.2.1, exchange-mode: ike2, profile: p, send-initial-contact: no"
            );
            row(&mut text, row_of);
        }),
        false => row(&mut text, "name: hub, address: 192.0.2.1, exchange-mode: ike2, profile: p, passive: yes".into()),
    }
    text += "    identity:\n";
    match ours {
        true => (0..tunnels())
            .for_each(|n| row(&mut text, format!("peer: \"{}\", secret: a secret for tests", name(n)))),
        false => row(&mut text, "peer: hub, secret: a secret for tests".into()),
    }
    text += "    policy:\n";
    for n in 0..tunnels() {
        let (here, there) = ("10.1.0.0/16".to_owned(), format!("{}/32", behind(n)));
        let (src, dst, peer) = if ours { (here, there, name(n)) } else { (there, here, "hub".into()) };
        row(
            &mut text,
            format!("src-address: {src}, dst-address: {dst}, peer: \"{peer}\", proposal: q, tunnel: yes"),
        );
    }
    config::check(&text).unwrap_or_else(|complaints| panic!("{}", complaints.render("text", false))).config
}
fn name(n: usize) -> String {
    format!("p{n}")
}

struct Gateway {
    driver: Driver<Engine>,
    fast: Fast,
}
impl Gateway {
    fn new(config: &config::Config, seed: u64, now: Now) -> Self {
        let geometry = Geometry { sa_slots: slots(), vault_records: slots() / 2, ..Geometry::default() };
        let mut fast = Fast::with(geometry);
        let mut driver = Driver::new(Engine::new(Box::new(Seeded(seed))), key());
        let translated = translate(config, &Credentials::default(), slots());
        driver.configure(translated.ike, translated.policies, now);
        driver.attach(fast.side.attach_here().unwrap(), now);
        Self { driver, fast }
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
                    to.fast.side.frame_to_slow(&meta, &payload);
                    to.driver.turn(*now);
                }
            }
        }
        *now += Duration::from_millis(200);
    }
}
fn up() -> (Gateway, Gateway, config::Config, Now) {
    let (ours, theirs) = (config(true), config(false));
    let mut now = Duration::from_secs(5000);
    let (mut a, mut b) = (Gateway::new(&ours, 11, now), Gateway::new(&theirs, 22, now));
    for _ in 0..40 {
        carry(&mut a, &mut b, &mut now, Duration::from_secs(5));
        if a.fast.sas.len() >= 2 * tunnels() {
            break;
        }
    }
    assert_eq!(a.fast.sas.len(), 2 * tunnels());
    (a, b, ours, now)
}

/// The longest and all of what it held somebody up.
#[derive(Default)]
struct Held {
    longest: Duration,
    all: Duration,
    times: u32,
}
impl Held {
    fn by<T>(&mut self, work: impl FnOnce() -> T) -> T {
        let begun = Instant::now();
        let done = work();
        let took = begun.elapsed();
        (self.longest, self.all, self.times) = (self.longest.max(took), self.all + took, self.times + 1);
        done
    }
    fn say(&self, what: &str) {
        println!("{what}: {} times, longest {:?}, together {:?}", self.times, self.longest, self.all);
    }
}

#[test]
fn g10_a_listing_has_each_sa_that_lives_throughout_once_while_others_are_rekeyed() {
    let (mut a, mut b, config, mut now) = up();
    let before: BTreeSet<(u32, u32)> = a.fast.sas.values().map(|sa| (sa.slot.0, sa.spi.get())).collect();
    let first: Vec<u32> = before.iter().map(|(slot, _)| *slot).take(64).collect();
    let mut seen: BTreeMap<(u32, u32), usize> = BTreeMap::new();
    let (mut after, mut pages, mut held) = (None, 0, Held::default());
    loop {
        let page = held.by(|| a.driver.engine.page(after, PAGE, now));
        // One IKE SA more than asked for may end a page, with what belongs to it.
        assert!(page.peers.len() + page.children.len() < PAGE + 8, "{} rows", page.peers.len());
        page.installed.iter().for_each(|sa| *seen.entry((sa.slot.0, sa.spi.get())).or_default() += 1);
        after = page.next;
        pages += 1;
        // Meanwhile some of them get successors.
        for slot in first.iter().skip(8 * pages).take(8) {
            a.driver.input(Input::RekeyChild { slot: SaSlot(*slot) }, now);
        }
        if pages < 8 {
            carry(&mut a, &mut b, &mut now, Duration::from_millis(400));
        }
        if after.is_none() {
            break;
        }
    }
    carry(&mut a, &mut b, &mut now, Duration::from_secs(10));
    let end: BTreeSet<(u32, u32)> = a.fast.sas.values().map(|sa| (sa.slot.0, sa.spi.get())).collect();
    assert!(pages > 1 && end != before, "nothing was rekeyed in between");
    for sa in before.intersection(&end) {
        assert_eq!(seen.get(sa), Some(&1), "{sa:?}");
    }
    assert!(seen.values().all(|times| *times == 1));
    held.say("page");

    let running = Held::default().by(|| a.driver.running(now));
    let mut held = Held::default();
    let head = held.by(|| a.driver.head());
    held.say("what is asked besides pages");
    assert_eq!(head.policies.len(), tunnels());
    let (mut sums, mut held) = (Sums::default(), Held::default());
    let text = held.by(|| Snapshot::take(&running, &config, &mut sums, 1).render());
    held.say("metrics, beside the driver");
    let question = |n| config::explain::Question {
        src: "10.1.0.5".parse().unwrap(),
        dst: behind(n).parse().unwrap(),
        protocol: "tcp".into(),
        src_port: None,
        dst_port: Some(443),
    };
    let mut held = Held::default();
    let said = held.by(|| espway_slowpath::explain::explain(&running, &config, &question(tunnels() - 1)));
    held.say("explain, beside the driver");
    assert!(said.expect("an explanation").to_string().contains(&name(tunnels() - 1)));
    assert_eq!(text.lines().filter(|line| line.starts_with("espway_peer_up{")).count(), tunnels());
    let peers = Arc::new(config.ipsec.policies.iter().map(|p| p.peer.clone()).collect());
    let mut report = Held::default().by(|| Report::new(running, peers, 1, false, None));
    let (mut held, mut out, mut more) = (Held::default(), Vec::new(), true);
    while more {
        more = held.by(|| espway_slowpath::control::Rows::more(&mut report, &mut out)).expect("rows");
    }
    held.say("a piece of status");
    let status: serde_json::Value = serde_json::from_slice(&out).expect("JSON");
    assert_eq!(status["status"]["installed-sas"].as_array().map(Vec::len), Some(end.len()));
}

/// The check lets no such name in; the writer does not rely on it.
#[test]
fn g11_labels_of_metrics_hold_any_name_in_one_line() {
    let mut config = config::check(CONFIG).unwrap_or_else(|complaints| panic!("{complaints}")).config;
    let hostile =
        ["p\",up=\"1", "p\\", "p\\n} 7", "p\n# EOF\nespway_peer_up{peer=\"x\"} 1", "p\u{202e}\u{2028}\0"];
    let plain = config.ipsec.peers[0].clone();
    config.ipsec.peers = hostile
        .iter()
        .map(|name| {
            let mut peer = plain.clone();
            Arc::make_mut(&mut peer).name = (*name).to_owned();
            peer
        })
        .collect();
    let driver = Driver::new(Engine::new(Box::new(Seeded(1))), None);
    let text = Snapshot::take(&driver.running(Duration::ZERO), &config, &mut Sums::default(), 1).render();
    assert_eq!((text.matches("# EOF\n").count(), text.ends_with("# EOF\n")), (1, true), "{text}");
    let mut peers = Vec::new();
    for line in text.lines().filter_map(|line| line.strip_prefix("espway_peer_up{peer=\"")) {
        // The text up to the first quote that no backslash makes a character, and then the value alone.
        let (mut name, mut letters) = (String::new(), line.chars());
        while let Some(letter) = letters.next() {
            match letter {
                '\\' => match letters.next() {
                    Some('n') => name.push('\n'),
                    Some(escaped @ ('\\' | '"')) => name.push(escaped),
                    other => panic!("{other:?} in {line}"),
                },
                '"' => break,
                letter => name.push(letter),
            }
        }
        assert_eq!(letters.as_str(), "} 0", "{line}");
        peers.push(name);
    }
    assert_eq!(peers, hostile);
}
