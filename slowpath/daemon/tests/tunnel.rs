//! Two slow paths with the real engine, each over the real contract, and a wire between them that the test carries.
mod common;
use common::*;
use espway_slowpath::driver::Driver;
use espway_slowpath::takeover::SEQUENCE_LEAD;
use ike::Engine;
use ike::api::{Input, Now};
use ipc::status::Side;
use ipc::{FrameKind, FrameMeta};
use sa::{Direction, SaSpec};
use std::time::Duration;

struct Gateway {
    driver: Driver<Engine>,
    fast: Fast,
    first: bool,
    seed: u64,
}
impl Gateway {
    fn new(first: bool, seed: u64, now: Now) -> Self {
        let mut fast = Fast::new();
        let driver = Self::start(first, seed, &mut fast, now);
        Self { driver, fast, first, seed }
    }
    fn start(first: bool, seed: u64, fast: &mut Fast, now: Now) -> Driver<Engine> {
        let mut driver = Driver::new(Engine::new(Box::new(Seeded(seed))), key());
        let (config, policies) = gateway(first, gcm());
        driver.configure(config, policies, now);
        driver.attach(fast.side.attach_here().unwrap(), now);
        driver
    }
    /// SIGKILL: nothing is said, nothing is written.
    fn kill_slow_path(&mut self, now: Now) {
        self.seed += 100;
        let fast = &mut self.fast;
        self.driver = Driver::new(Engine::new(Box::new(Seeded(1))), None);
        while fast.side.poll_peer().is_some() {}
        self.driver = Self::start(self.first, self.seed, fast, now);
    }
    fn spis(&self) -> Vec<u32> {
        self.fast.sas.values().map(|s| s.spi.get()).collect()
    }
    fn one(&self, direction: Direction) -> &SaSpec {
        let of = self.fast.of(direction);
        assert_eq!(of.len(), 1, "{of:?}");
        of[0]
    }
}

/// Carries frames for so long, in steps of 50 ms of their own time; returns how many.
fn carry(a: &mut Gateway, b: &mut Gateway, now: &mut Now, time: Duration) -> usize {
    let (end, mut carried) = (*now + time, 0);
    while *now < end {
        for swap in [false, true] {
            let (from, to) = if swap { (&mut *b, &mut *a) } else { (&mut *a, &mut *b) };
            for (meta, payload) in settle(&mut from.driver, &mut from.fast, *now) {
                let meta = FrameMeta { local: meta.remote, remote: meta.local, ..meta };
                if meta.kind == FrameKind::Ike {
                    assert!(to.fast.side.frame_to_slow(&meta, &payload));
                    carried += 1;
                }
            }
        }
        *now += Duration::from_millis(50);
    }
    carried
}
fn mirrored(a: &Gateway, b: &Gateway) {
    for (from, to) in [(a, b), (b, a)] {
        let (out, inb) = (from.one(Direction::Outbound), to.one(Direction::Inbound));
        assert_eq!((out.spi, &out.encryption_key, &out.salt), (inb.spi, &inb.encryption_key, &inb.salt));
    }
}
fn up() -> (Gateway, Gateway, Now) {
    let mut now = Duration::from_secs(5000);
    let (mut a, mut b) = (Gateway::new(true, 11, now), Gateway::new(false, 22, now));
    a.driver.input(Input::Initiate { peer: "other".into(), policy: None }, now);
    carry(&mut a, &mut b, &mut now, Duration::from_secs(3));
    mirrored(&a, &b);
    (a, b, now)
}

#[test]
fn two_gateways_bring_a_tunnel_up_and_say_so() {
    let (mut a, b, now) = up();
    let slot = a.one(Direction::Inbound).slot;
    a.fast.count(slot, 7, 7);
    let status = a.driver.status(&[Some("other".into())], 3, false, now);
    assert_eq!((status.active_peers.len(), status.installed_sas.len(), status.policies.len()), (1, 2, 1));
    let peer = &status.active_peers[0];
    assert_eq!((peer.state.as_str(), &peer.side, peer.rx_packets), ("established", &Side::Initiator, 7));
    assert_eq!(b.driver.status(&[], 0, false, now).active_peers[0].side, Side::Responder);
    assert_eq!((status.policies[0].ph2_state.as_str(), status.policies[0].ph2_count), ("established", 1));
    assert!(status.installed_sas.iter().all(|sa| sa.state == "mature" && sa.enc_key.is_none()));
    assert_eq!(status.statistics.len(), 25);

    let open = |sensitive| serde_json::to_string(&a.driver.status(&[], 0, sensitive, now)).unwrap();
    let key = espway_slowpath::keylog::hex(a.one(Direction::Inbound).encryption_key.expose());
    assert!(!open(false).contains(&key) && open(true).contains(&key));
}
#[test]
fn h4_a_killed_slow_path_comes_back_and_no_tunnel_is_touched() {
    let (mut a, mut b, mut now) = up();
    let (before, ike) = (a.spis(), a.driver.engine.peers(now)[0].spi_i);
    for round in 0..3 {
        a.kill_slow_path(now);
        let carried = carry(&mut a, &mut b, &mut now, Duration::from_secs(2));
        assert_eq!((a.spis(), a.driver.engine.peers(now)[0].spi_i), (before.clone(), ike), "round {round}");
        assert_eq!(carried, 0, "round {round}: nothing had to be said to the peer");
        assert_eq!(a.driver.counters.restored, 1);
    }
    // It is not only remembered: it works on, from either end.
    a.driver.input(Input::RekeyIke { peer: "other".into() }, now);
    carry(&mut a, &mut b, &mut now, Duration::from_secs(3));
    let slot = b.one(Direction::Inbound).slot;
    b.driver.input(Input::RekeyChild { slot }, now);
    carry(&mut a, &mut b, &mut now, Duration::from_secs(20));
    mirrored(&a, &b);
    assert_ne!(a.spis(), before);
    assert_ne!(a.driver.engine.peers(now)[0].spi_i, ike);
}
/// H4: killed after every single message of a rekey, on either end.
#[test]
fn h4_a_slow_path_killed_anywhere_in_a_rekey_ends_with_one_good_pair() {
    for kill_a in [true, false] {
        for step in 0..12 {
            let (mut a, mut b, mut now) = up();
            let slot = a.one(Direction::Inbound).slot;
            a.driver.input(Input::RekeyChild { slot }, now);
            carry(&mut a, &mut b, &mut now, Duration::from_millis(50 * step));
            if kill_a {
                a.kill_slow_path(now)
            } else {
                b.kill_slow_path(now)
            }
            carry(&mut a, &mut b, &mut now, Duration::from_secs(60));
            mirrored(&a, &b);
            assert_eq!(a.driver.engine.peers(now).len(), 1);
        }
    }
}
#[test]
fn h5_a_new_fast_path_runs_the_same_tunnel_with_numbers_ahead() {
    let (mut a, mut b, mut now) = up();
    let before = a.spis();
    let (inb, out) = (a.one(Direction::Inbound).slot, a.one(Direction::Outbound).slot);
    a.fast.count(inb, 50, 50);
    a.fast.count(out, 60, 60);
    a.fast = Fast::new();
    a.driver.turn(now);
    a.driver.attach(a.fast.side.attach_here().unwrap(), now);
    carry(&mut a, &mut b, &mut now, Duration::from_secs(2));
    assert_eq!(a.spis(), before);
    assert_eq!(a.one(Direction::Inbound).last_seq, 50);
    assert_eq!(a.one(Direction::Outbound).last_seq, 60 + SEQUENCE_LEAD);
    mirrored(&a, &b);
    // And the new region's vault carries a restart of the slow path.
    a.kill_slow_path(now);
    carry(&mut a, &mut b, &mut now, Duration::from_secs(1));
    assert_eq!(a.spis(), before);
}
#[test]
fn h12_both_processes_gone_means_a_new_negotiation_and_no_old_number() {
    let (mut a, mut b, mut now) = up();
    let before = a.spis();
    a = Gateway::new(true, 333, now);
    a.driver.input(Input::Initiate { peer: "other".into(), policy: None }, now);
    carry(&mut a, &mut b, &mut now, Duration::from_secs(20));
    mirrored(&a, &b);
    assert!(a.spis().iter().all(|spi| !before.contains(spi)));
}
#[test]
fn terminate_leaves_nothing_behind_on_either_side() {
    let (mut a, mut b, mut now) = up();
    a.driver.input(Input::Terminate { peer: None }, now);
    // An IKE SA whose delete was answered is kept for a while, to answer again.
    carry(&mut a, &mut b, &mut now, Duration::from_secs(200));
    for side in [&a, &b] {
        assert!(side.fast.sas.is_empty(), "first: {}", side.first);
        assert_eq!(side.driver.engine.peers(now), []);
        let slow = side.driver.slow().unwrap();
        assert_eq!(slow.open_vault(&key().unwrap()).unwrap().len(), 0, "first: {}", side.first);
    }
}

/// The file that `Gateway::new(true, …)` stands for, with a peer more, which nobody is.
fn file() -> config::Config {
    let text = "interface: [{name: wan, device: \"null\"}, {name: lan, device: \"null\"}]\n\
        ip:\n  address: [{address: 192.0.2.1/24, interface: wan}, {address: 10.1.0.1/16, interface: lan}]\n  ipsec:\n    \
        peer: [{name: other, address: 192.0.2.2, exchange-mode: ike2}, {name: absent, address: 192.0.2.9, exchange-mode: ike2}]\n    \
        identity: [{peer: other, secret: x}, {peer: absent, secret: y}]\n    policy:\n      \
        - {src-address: 10.1.0.0/16, dst-address: 10.2.0.0/16, peer: other, tunnel: yes}\n      \
        - {src-address: 10.1.0.0/16, dst-address: 10.0.0.0/8, protocol: tcp, dst-port: 80, peer: absent, tunnel: yes}\n";
    let mut config = config::check(text).unwrap_or_else(|complaints| panic!("{complaints}")).config;
    config.ipsec.policies[0].spec.id = sa::PolicyId(1);
    config
}

#[test]
fn a_packet_is_explained_with_its_sa_and_the_last_drops() {
    let (mut a, _, now) = up();
    let (inb, out) = (a.one(Direction::Inbound).clone(), a.one(Direction::Outbound).clone());
    let address = |text: &str| text.parse().unwrap();
    let lost = |reason, src, dst, protocol, ports, spi| ipc::LostPacket {
        reason,
        src: address(src),
        dst: address(dst),
        protocol,
        ports,
        spi,
    };
    a.fast.side.set_clock(100);
    let ours = lost(sa::DropReason::NoSa, "10.1.0.5", "10.2.0.7", 6, Some((40000, 80)), 0);
    let other_port = lost(sa::DropReason::NoSa, "10.1.0.5", "10.2.0.7", 6, Some((40000, 81)), 0);
    let esp = lost(sa::DropReason::IcvMismatch, "192.0.2.2", "192.0.2.1", 50, None, inb.spi.get());
    for packet in [ours, other_port, esp, ours] {
        a.fast.side.note_drop(0, packet);
    }
    a.fast.side.set_clock(107);
    let question = config::explain::Question {
        src: address("10.1.0.5"),
        dst: address("10.2.0.7"),
        protocol: "tcp".into(),
        src_port: Some(40000),
        dst_port: Some(80),
    };
    let config = file();
    let said = espway_slowpath::explain::explain(&a.driver.running(now), &config, &question).unwrap();
    let text = said.to_string();
    let [there, back] = &said.ways[..] else { panic!("{text}") };
    assert_eq!(there.policy.as_ref().map(|p| (p.number, p.peer.as_deref())), Some((0, Some("other"))));
    assert_eq!(there.shadowed.iter().map(|p| p.number).collect::<Vec<_>>(), [1]);
    let used = |told: &config::explain::Told| -> Vec<_> {
        told.sas.iter().filter(|sa| sa.used).map(|sa| (sa.direction, sa.spi.clone())).collect()
    };
    assert_eq!(used(there), [("out", out.spi.to_string())]);
    assert_eq!(there.route.as_ref().and_then(|r| r.interface.as_deref()), Some("wan"));
    assert!(
        there.said.contains(&format!("under SA {} and sent to 192.0.2.2, through `wan`", out.spi)),
        "{text}"
    );
    let drops: Vec<_> = there.last_drops.iter().map(|d| (d.reason, d.count, d.seconds_ago)).collect();
    assert_eq!(drops, [("no-sa", 2, 7)], "{text}");
    // The answer comes through the tunnel, and ESP that failed under its SA is told with it.
    assert_eq!(back.arrives, config::explain::Arrival::ThroughTunnel);
    assert_eq!(used(back), [("in", inb.spi.to_string())]);
    assert_eq!(back.last_drops.iter().map(|d| d.reason).collect::<Vec<_>>(), ["icv-mismatch"]);
    assert!(back.said.contains("leaves through `lan` in clear"), "{text}");
    assert!(text.contains("should it arrive in clear, it is dropped"), "{text}");

    // Without the tunnel.
    a.driver.input(Input::Terminate { peer: None }, now);
    settle(&mut a.driver, &mut a.fast, now);
    let said = espway_slowpath::explain::explain(&a.driver.running(now), &config, &question).unwrap();
    assert_eq!(said.ways[0].drop_reason, Some("no-sa"));
    assert!(said.ways[0].said.contains("one is being asked for from `other`"), "{said}");
    // And what cannot be asked.
    for (dst, protocol) in
        [("fd00::1", "tcp"), ("10.2.0.7", "tpc"), ("10.2.0.7", "icmp"), ("10.2.0.7", "all")]
    {
        let question =
            config::explain::Question { dst: address(dst), protocol: protocol.into(), ..question.clone() };
        assert!(
            espway_slowpath::explain::explain(&a.driver.running(now), &config, &question).is_err(),
            "{dst} {protocol}"
        );
    }
}

/// A text as the OpenMetrics specification wants it (version 1.0, "Text format"): families one after the other, each
/// described before its samples, names and labels of the right letters, no sample twice, counters with `_total`, `# EOF`.
fn openmetrics(text: &str) -> std::collections::BTreeMap<String, f64> {
    let mut samples = std::collections::BTreeMap::new();
    let (mut family, mut kind, mut seen) = (String::new(), String::new(), std::collections::HashSet::new());
    let body = text.strip_suffix("# EOF\n").expect("# EOF at the end, once");
    for line in body.lines() {
        if let Some(about) = line.strip_prefix("# ") {
            let words: Vec<&str> = about.splitn(3, ' ').collect();
            let [what, name, rest] = words[..] else { panic!("{line}") };
            if family != name {
                assert!(seen.insert(name.to_owned()), "the family {name} comes twice");
                (family, kind) = (name.to_owned(), String::new());
            }
            match what {
                "TYPE" => kind = rest.to_owned(),
                "HELP" => assert!(!rest.is_empty() && !rest.ends_with(".."), "{line}"),
                other => panic!("{other}: {line}"),
            }
            continue;
        }
        let (name, value) = line.rsplit_once(' ').unwrap_or_else(|| panic!("{line}"));
        let bare = name.split('{').next().unwrap();
        let suffix = match kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            "gauge" => "",
            other => panic!("`{other}` before {line}"),
        };
        assert_eq!(bare, format!("{family}{suffix}"), "{line}");
        assert!(bare.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_'), "{line}");
        if let Some(labels) = name.strip_prefix(bare).and_then(|l| l.strip_prefix('{')) {
            let labels = labels.strip_suffix("\"}").unwrap_or_else(|| panic!("{line}"));
            for label in labels.split("\",") {
                let (key, value) = label.split_once("=\"").unwrap_or_else(|| panic!("{line}"));
                assert!(key.bytes().all(|b| b.is_ascii_lowercase() || b == b'_'), "{line}");
                assert!(!value.contains(['"', '\n']), "{line}");
                assert!(!key.contains("spi") && !value.starts_with("0x"), "{line}");
            }
        }
        let value: f64 = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(value >= 0.0, "{line}");
        assert!(samples.insert(name.to_owned(), value).is_none(), "twice: {line}");
    }
    samples
}

#[test]
fn metrics_name_every_peer_and_policy_and_never_go_back() {
    use espway_slowpath::metrics::{Snapshot, Sums, names};
    let (mut a, mut b, mut now) = up();
    let (config, mut sums) = (file(), Sums::default());
    let mut read = |a: &Gateway, now: Now| {
        openmetrics(&Snapshot::take(&a.driver.running(now), &config, &mut sums, 5).render())
    };
    let policy = |name: &str, peer: &str, more: &str| {
        format!("{name}{{policy=\"10.1.0.0/16 > {peer},direction=\"{more}\"}}")
    };
    let inb = a.one(Direction::Inbound).slot;
    a.fast.count(inb, 7, 7);
    a.fast.worker.dropped(sa::DropReason::IcvMismatch, 3);
    let first = read(&a, now);
    for name in names() {
        // A worker is what the fast path of this test does not have.
        let some = first.keys().any(|sample| sample.split('{').next() == Some(name.as_str()));
        assert!(some || name.starts_with("espway_worker_"), "{name} has no sample");
    }
    let packets = policy("espway_policy_packets_total", "10.2.0.0/16\",peer=\"other\"", "in");
    for (sample, value) in [
        ("espway_peer_up{peer=\"other\"}", 1.0),
        ("espway_peer_up{peer=\"absent\"}", 0.0),
        ("espway_policy_up{policy=\"10.1.0.0/16 > 10.2.0.0/16\",peer=\"other\"}", 1.0),
        ("espway_policy_up{policy=\"10.1.0.0/16 > 10.0.0.0/8 tcp any > 80\",peer=\"absent\"}", 0.0),
        ("espway_ipsec_statistics_total{statistic=\"in-state-protocol-errors\"}", 3.0),
        ("espway_drops_total{worker=\"main\",reason=\"icv-mismatch\"}", 3.0),
        ("espway_ike_events_total{event=\"ike-established\"}", 1.0),
        ("espway_fastpath_attached", 1.0),
        (packets.as_str(), 7.0),
    ] {
        assert_eq!(first.get(sample), Some(&value), "{sample}");
    }
    assert_eq!(first.keys().filter(|s| s.starts_with("espway_ipsec_statistics_total")).count(), 25);
    // New SAs begin at zero; the policy's sums do not.
    a.driver.input(Input::RekeyChild { slot: inb }, now);
    carry(&mut a, &mut b, &mut now, Duration::from_secs(20));
    assert_ne!(a.one(Direction::Inbound).slot, inb);
    a.fast.count(a.one(Direction::Inbound).slot, 5, 5);
    let second = read(&a, now);
    assert_eq!(second[&packets], 12.0);
    for (sample, before) in first.iter().filter(|(sample, _)| sample.contains("_total")) {
        assert!(second[sample] >= *before, "{sample} went from {before} to {}", second[sample]);
    }
}

/// Dashboard, alert rules and manual speak of metrics that there are.
#[test]
fn what_monitoring_asks_for_is_exported() {
    let names: std::collections::HashSet<String> = espway_slowpath::metrics::names().collect();
    let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/../../docs/monitoring");
    let dashboard = std::fs::read_to_string(format!("{folder}/grafana-dashboard.json")).unwrap();
    let parsed: serde_json::Value = serde_json::from_str(&dashboard).unwrap();
    let panels = parsed["panels"].as_array().unwrap();
    assert!(panels.len() > 8 && panels.iter().all(|p| p["title"].is_string()), "{}", panels.len());
    let alerts = std::fs::read_to_string(format!("{folder}/alerts.yaml")).unwrap();
    let manual = std::fs::read_to_string(format!("{folder}/../monitoring.md")).unwrap();
    for (what, text, least) in
        [("dashboard", &dashboard, 10), ("alerts", &alerts, 6), ("manual", &manual, names.len())]
    {
        let letters = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
        let asked: std::collections::BTreeSet<&str> = text
            .match_indices("espway_")
            .filter(|(at, _)| !text[..*at].ends_with(letters))
            .map(|(at, _)| text[at..].split(|c| !letters(c)).next().unwrap())
            .collect();
        for name in &asked {
            assert!(names.contains(*name), "{what}: there is no {name}");
        }
        assert!(asked.len() >= least, "{what} speaks of {} of {}", asked.len(), names.len());
    }
}
