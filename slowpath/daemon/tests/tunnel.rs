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
