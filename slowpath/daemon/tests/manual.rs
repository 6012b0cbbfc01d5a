//! SAs with keys from the configuration, over the real contract.
mod common;
use common::*;
use espway_slowpath::driver::Driver;
use espway_slowpath::marks::Marks;
use ike::Engine;
use ike::api::{Config, Now};
use ipc::{Event, Expiry};
use sa::*;
use std::path::{Path, PathBuf};
use std::time::Duration;

const T: Now = Duration::from_secs(1000);

fn spec(direction: Direction, spi: u32, key: u8, suite: Suite) -> SaSpec {
    SaSpec {
        slot: SaSlot(0),
        spi: Spi::new(spi).unwrap(),
        direction,
        protocol: Protocol::Esp,
        mode: Mode::Tunnel,
        suite,
        encryption_key: Key::new(&vec![key; suite.encryption().key_len()]).unwrap(),
        salt: Key::new(&vec![key; suite.salt_len()]).unwrap(),
        integrity_key: Key::new(&vec![key; suite.integrity().key_len()]).unwrap(),
        ends: TunnelEnds { local: [192, 0, 2, 1].into(), remote: [192, 0, 2, 2].into() },
        encap: None,
        original: None,
        esn: false,
        replay_window: 128,
        last_seq: 0,
        lifetime: Lifetime::default(),
        policy: PolicyId(1),
        also: Vec::new(),
        selectors: vec![policy("10.1.0.0/16", "10.2.0.0/16").selector.into()],
    }
}
fn both() -> Vec<SaSpec> {
    vec![spec(Direction::Inbound, 0x1001, 1, gcm()), spec(Direction::Outbound, 0x2001, 2, gcm())]
}

struct Bench {
    driver: Driver<Engine>,
    fast: Fast,
    marks: PathBuf,
    _dir: tempfile::TempDir,
}
fn driver(marks: Option<&Path>, sas: &[SaSpec]) -> Driver<Engine> {
    let mut driver = Driver::new(Engine::new(Box::new(Seeded(3))), key());
    if let Some(path) = marks {
        driver.remember_numbers(Marks::open(path).unwrap());
    }
    let config = Config { sa_slots: 16, ..Config::default() };
    driver.configure(config, vec![policy("10.1.0.0/16", "10.2.0.0/16")], T);
    driver.set_manual(sas, T);
    driver
}
impl Bench {
    fn new(sas: &[SaSpec]) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let marks = dir.path().join("marks");
        let mut bench = Self { driver: driver(Some(&marks), sas), fast: Fast::new(), marks, _dir: dir };
        bench.attach();
        bench
    }
    fn attach(&mut self) {
        self.driver.attach(self.fast.side.attach_here().unwrap(), T);
        self.settle();
    }
    fn settle(&mut self) {
        settle(&mut self.driver, &mut self.fast, T);
    }
    /// What was done besides policies, without slots.
    fn done(&mut self) -> Vec<String> {
        let all = self.fast.take_done();
        all.iter()
            .map(|word| word.split(' ').next().unwrap().to_owned())
            .filter(|w| w != "policies")
            .collect()
    }
    fn one(&self, direction: Direction) -> SaSpec {
        let of = self.fast.of(direction);
        assert_eq!(of.len(), 1, "{of:?}");
        of[0].clone()
    }
    fn kill_slow_path(&mut self, sas: &[SaSpec]) {
        self.driver = Driver::new(Engine::new(Box::new(Seeded(4))), None);
        while self.fast.side.poll_peer().is_some() {}
        self.driver = driver(Some(&self.marks), sas);
        self.attach();
    }
}

#[test]
fn they_are_installed_and_replaced_as_the_configuration_says_and_what_is_as_it_was_is_not_touched() {
    let mut bench = Bench::new(&both());
    assert_eq!(bench.done(), ["install-in", "install-out"]);
    let out = bench.one(Direction::Outbound);
    assert_eq!((out.last_seq, out.lifetime.packets.hard), (0, (1 << 24) - (1 << 18)));
    let status = bench.driver.status(&[None], 0, false, T);
    assert_eq!((status.installed_sas.len(), status.policies[0].ph2_state.as_str()), (2, "established"));
    assert!(status.installed_sas.iter().all(|sa| sa.state == "mature" && sa.enc_key.is_none()));

    bench.driver.set_manual(&both(), T);
    bench.settle();
    assert_eq!(bench.done(), [] as [&str; 0]);
    // The new one is there before the old one goes; where both have one SPI, the old one goes first.
    let mut sas = both();
    sas[1].encryption_key = Key::new(&[9; 16]).unwrap();
    bench.driver.set_manual(&sas, T);
    bench.settle();
    assert_eq!(bench.done(), ["install-out", "remove"]);
    assert_eq!(bench.one(Direction::Outbound).encryption_key.expose(), [9; 16]);
    sas[0].encryption_key = Key::new(&[8; 16]).unwrap();
    bench.driver.set_manual(&sas, T);
    bench.settle();
    assert_eq!(bench.done(), ["remove", "install-in"]);
    bench.driver.set_manual(&[], T);
    bench.settle();
    assert_eq!(bench.done(), ["remove", "remove"]);
    assert!(bench.fast.sas.is_empty());
    // Slots come back, so this can go on for ever.
    for _ in 0..100 {
        bench.driver.set_manual(&both(), T);
        bench.settle();
        bench.driver.set_manual(&[], T);
        bench.settle();
    }
    assert_eq!(bench.driver.counters.commands_refused, 0);
}
#[test]
fn a9_whoever_restarts_no_number_is_sent_twice_under_a_manual_key() {
    let mut bench = Bench::new(&both());
    let mut used = 0;
    for round in 0..40u64 {
        let (out, inbound) = (bench.one(Direction::Outbound), bench.one(Direction::Inbound));
        assert!(out.last_seq >= used, "round {round}: {} after {used}", out.last_seq);
        // It sends all it may before it is stopped.
        used = out.last_seq + out.lifetime.packets.hard;
        bench.fast.count(out.slot, 10, used);
        bench.fast.count(inbound.slot, 10, 100 + round);
        bench.fast.take_done();
        match round % 4 {
            0 => {
                let event = Event::SoftExpire { slot: out.slot, spi: out.spi, why: Expiry::Packets };
                assert!(bench.fast.side.raise(&event));
                bench.settle();
                assert_eq!(bench.done(), ["install-out", "remove"]);
            }
            1 => {
                bench.kill_slow_path(&both());
                // Neither is known to the new process; packets find one all the same.
                let mut done = bench.done();
                done.sort();
                assert_eq!(done, ["install-in", "install-out", "remove", "remove"]);
                assert_eq!(bench.one(Direction::Inbound).last_seq, 100 + round, "replays stay replays");
            }
            2 => {
                bench.fast = Fast::new();
                bench.driver.turn(T);
                assert!(bench.driver.slow().is_none());
                bench.attach();
                assert_eq!(bench.done(), ["install-in", "install-out"]);
                assert_eq!(bench.one(Direction::Inbound).last_seq, 100 + round);
            }
            _ => {
                bench.fast = Fast::new();
                bench.kill_slow_path(&both());
                assert_eq!(bench.done(), ["install-in", "install-out"]);
            }
        }
    }
    assert_eq!(bench.driver.counters.commands_refused, 0);
}
#[test]
fn a9_without_a_memory_nothing_runs_whose_ivs_are_counted() {
    let cbc = Suite::new(Encryption::Aes128Cbc, Integrity::HmacSha256).unwrap();
    let mut sas = both();
    sas.push(spec(Direction::Outbound, 0x3001, 3, cbc));
    let mut fast = Fast::new();
    let mut driver = driver(None, &sas);
    driver.attach(fast.side.attach_here().unwrap(), T);
    settle(&mut driver, &mut fast, T);
    let spis: Vec<u32> = fast.sas.values().map(|sa| sa.spi.get()).collect();
    assert_eq!(spis, [0x1001, 0x3001]);
}
#[test]
fn a8_when_all_numbers_are_used_the_sa_stays_silent() {
    let mut sas = both();
    sas[1].last_seq = u64::from(u32::MAX) - (1 << 18);
    let mut bench = Bench::new(&sas);
    assert_eq!(bench.done(), ["install-in"]);
    sas[1].last_seq = u64::from(u32::MAX) - (1 << 20);
    bench.driver.set_manual(&sas, T);
    bench.settle();
    let out = bench.one(Direction::Outbound);
    assert!(out.last_seq + out.lifetime.packets.hard < u64::from(u32::MAX));
    let event = Event::SoftExpire { slot: out.slot, spi: out.spi, why: Expiry::Packets };
    assert!(bench.fast.side.raise(&event));
    bench.settle();
    assert_eq!(bench.one(Direction::Outbound).last_seq, out.last_seq, "it sends what it still may");
}
