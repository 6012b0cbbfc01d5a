//! The driver's own part, with an engine that does what the test says, over the real contract.
mod common;
use common::*;
use espway_slowpath::control::Rows;
use espway_slowpath::driver::Driver;
use espway_slowpath::negotiator::Negotiator;
use espway_slowpath::takeover::{Fate, SEQUENCE_LEAD, fate};
use ike::api::Action;
use ike::api::*;
use ipc::status::{Response, WatchedLine};
use ipc::*;
use sa::*;
use std::cell::RefCell;
use std::rc::Rc;
use std::time::Duration;
use zeroize::Zeroizing;

#[derive(Default)]
struct Script {
    inputs: Vec<String>,
    snapshots: u32,
    installed: Vec<SaSpec>,
    restores: Vec<Vec<u8>>,
    restored_as: Option<u64>,
    children: Vec<ChildStatus>,
}
#[derive(Clone, Default)]
struct Scripted(Rc<RefCell<Script>>);
impl Negotiator for Scripted {
    fn configure(&mut self, _: Config, _: Now, _: &mut Vec<Action>) {}
    fn handle(&mut self, input: Input, _: Now, _: &mut Vec<Action>) {
        self.0.borrow_mut().inputs.push(match input {
            Input::SlotFree(slot) => format!("free {}", slot.0),
            Input::HardExpire { slot, .. } => format!("hard {}", slot.0),
            Input::LostChild { slot, .. } => format!("lost {}", slot.0),
            Input::SoftExpire { slot, .. } => format!("soft {}", slot.0),
            Input::Acquire { policy, .. } => format!("acquire {}", policy.0),
            Input::Traffic { slot, .. } => format!("traffic {}", slot.0),
            Input::Datagram(d) => format!("datagram {}", d.payload.len()),
            other => format!("{other:?}"),
        });
    }
    fn next_timeout(&self) -> Option<Now> {
        None
    }
    fn snapshot(&self, vault_key: u64) -> Option<Zeroizing<Vec<u8>>> {
        let mut script = self.0.borrow_mut();
        script.snapshots += 1;
        Some(Zeroizing::new(format!("{vault_key}:{}", script.snapshots).into_bytes()))
    }
    fn restore(&mut self, record: &[u8], _: Now, _: &mut Vec<Action>) -> Result<u64, String> {
        let mut script = self.0.borrow_mut();
        script.restores.push(record.to_vec());
        script.restored_as.ok_or_else(|| "not today".into())
    }
    fn installed(&self) -> Vec<SaSpec> {
        self.0.borrow().installed.clone()
    }
    fn take_slot(&mut self) -> Option<SaSlot> {
        None
    }
    fn drain_slot(&mut self, _: SaSlot) {}
    fn peers(&self, _: Now) -> Vec<PeerStatus> {
        Vec::new()
    }
    fn children(&self, _: Now) -> Vec<ChildStatus> {
        self.0.borrow().children.clone()
    }
    fn counters(&self) -> Vec<(&'static str, u64)> {
        Vec::new()
    }
    fn key_log(&mut self) -> Vec<KeyLog> {
        Vec::new()
    }
}
/// What an engine would have answered.
fn perform(driver: &mut Driver<Scripted>, actions: Vec<Action>) {
    driver.perform(actions);
}

fn spec(slot: u32, direction: Direction) -> Box<SaSpec> {
    Box::new(SaSpec {
        slot: SaSlot(slot),
        spi: Spi::new(0x1000 + slot).unwrap(),
        direction,
        protocol: Protocol::Esp,
        mode: Mode::Tunnel,
        suite: gcm(),
        encryption_key: Key::new(&[1; 16]).unwrap(),
        salt: Key::new(&[2; 4]).unwrap(),
        integrity_key: Key::empty(),
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
    })
}
fn pair(slot: u32) -> Action {
    Action::Install { inbound: spec(slot, Direction::Inbound), outbound: spec(slot + 1, Direction::Outbound) }
}
fn send(len: usize) -> Action {
    Action::Send(Datagram {
        local: "192.0.2.1:500".parse().unwrap(),
        remote: "192.0.2.2:500".parse().unwrap(),
        payload: vec![7; len],
    })
}
fn remove(slot: u32) -> Action {
    Action::Remove { slot: SaSlot(slot), spi: Spi::new(0x1000 + slot).unwrap() }
}
const T: Now = Duration::from_secs(1000);

fn attached() -> (Driver<Scripted>, Scripted, Fast) {
    let (script, mut fast) = (Scripted::default(), Fast::new());
    let mut driver = Driver::new(script.clone(), key());
    driver.configure(Config::default(), vec![policy("10.1.0.0/16", "10.2.0.0/16")], T);
    driver.attach(fast.side.attach_here().unwrap(), T);
    settle(&mut driver, &mut fast, T);
    assert_eq!(fast.take_done(), ["policies"]);
    (driver, script, fast)
}

#[test]
fn addresses_and_routes_are_said_at_each_attachment_and_when_they_change() {
    let (mut driver, _, mut fast) = attached();
    let network = |host: u8| {
        let address =
            Command::Address { interface: "wan".into(), address: [192, 0, 2, host].into(), prefix_len: 24 };
        let via = Via::Link { interface: "wan".into() };
        let dst = Prefix::new([192, 0, 2, 0].into(), 24).unwrap();
        let route = Command::Route { dst, via };
        vec![Command::NetworkBegin, address, route, Command::NetworkCommit { count: 2 }]
    };
    for host in [1, 1, 2] {
        driver.set_network(network(host), T);
        settle(&mut driver, &mut fast, T);
    }
    assert_eq!(fast.take_done(), ["network of 2"; 2], "what has not changed is not said");
    assert_eq!(fast.network, network(2)[1..3]);
    drop(fast);
    driver.turn(T);
    let mut fast = Fast::new();
    driver.attach(fast.side.attach_here().unwrap(), T);
    settle(&mut driver, &mut fast, T);
    assert_eq!(fast.take_done(), ["network of 2", "policies"], "another fast path hears all of it");
}
#[test]
fn a_message_never_overtakes_the_sa_it_promises() {
    let (mut driver, _, mut fast) = attached();
    perform(&mut driver, vec![pair(2), send(100)]);
    // The commands are in the ring, and nothing is on the wire before they were acknowledged.
    assert!(fast.side.next_frame().is_none());
    assert_eq!(settle(&mut driver, &mut fast, T).len(), 1);
    assert_eq!(fast.take_done(), ["install-in 2", "install-out 3", "frame"]);
}
#[test]
fn a_fast_path_that_does_not_answer_delays_a_message_but_does_not_stop_it() {
    let (mut driver, _, mut fast) = attached();
    perform(&mut driver, vec![pair(2), send(100)]);
    driver.turn(T);
    assert!(fast.side.next_frame().is_none());
    driver.turn(T + Duration::from_secs(1));
    assert!(fast.side.next_frame().is_some());
}
#[test]
fn h7_more_commands_than_the_ring_holds_all_arrive_in_order() {
    let (mut driver, _, mut fast) = attached();
    let policies: Vec<PolicySpec> =
        (1..=100).map(|id| PolicySpec { id: PolicyId(id), ..policy("10.1.0.0/16", "10.2.0.0/16") }).collect();
    driver.configure(Config::default(), policies.clone(), T);
    perform(&mut driver, vec![pair(2), pair(4), send(1), remove(2), remove(3)]);
    assert_eq!(settle(&mut driver, &mut fast, T).len(), 1);
    assert_eq!(fast.policies, policies);
    assert_eq!(
        fast.take_done(),
        [
            "policies",
            "install-in 2",
            "install-out 3",
            "install-in 4",
            "install-out 5",
            "remove 2",
            "remove 3",
            "frame"
        ]
    );
    assert!(driver.settled());
}
#[test]
fn a_slot_is_filled_again_only_after_its_removal_was_acknowledged() {
    let (mut driver, script, mut fast) = attached();
    perform(&mut driver, vec![pair(2)]);
    settle(&mut driver, &mut fast, T);
    fast.hold_removals = true;
    perform(&mut driver, vec![remove(2), Action::InstallInbound(spec(2, Direction::Inbound))]);
    settle(&mut driver, &mut fast, T);
    assert_eq!(fast.take_done(), ["install-in 2", "install-out 3", "remove 2"]);
    assert!(script.0.borrow().inputs.is_empty());
    for seq in std::mem::take(&mut fast.held) {
        fast.side.acknowledge(seq, Ok(()));
    }
    settle(&mut driver, &mut fast, T);
    assert_eq!(fast.take_done(), ["install-in 2"]);
    assert_eq!(script.0.borrow().inputs, ["free 2"]);
}
#[test]
fn a_refused_installation_is_told_to_the_engine() {
    let (mut driver, script, mut fast) = attached();
    fast.refuse_installs = Some(Refusal::NoEngine);
    perform(&mut driver, vec![pair(2)]);
    settle(&mut driver, &mut fast, T);
    assert_eq!(script.0.borrow().inputs, ["lost 2", "lost 3"]);
    assert_eq!(driver.counters.commands_refused, 2);
}
#[test]
fn what_is_stored_is_stored_before_what_stands_behind_it_leaves() {
    let (mut driver, _, mut fast) = attached();
    perform(&mut driver, vec![Action::Persist { vault_key: 5 }, send(10)]);
    // Killed right here: the record is there, and a successor finds it.
    drop(driver);
    while fast.side.poll_peer().is_some() {}
    let slow = fast.side.attach_here().unwrap();
    let vault = slow.open_vault(&key().unwrap()).unwrap();
    assert_eq!(vault.iter().map(|(k, v)| (k, v.to_vec())).collect::<Vec<_>>(), [(5, b"5:1".to_vec())]);
}
#[test]
fn h4_a_restarted_slow_path_takes_over_and_removes_only_what_belongs_to_nobody() {
    let (mut driver, _, mut fast) = attached();
    perform(&mut driver, vec![Action::Persist { vault_key: 5 }, pair(2), pair(4), pair(6)]);
    settle(&mut driver, &mut fast, T);
    drop(driver);
    while fast.side.poll_peer().is_some() {}
    fast.take_done();
    fast.side.set_sa_state(SaSlot(2), SaState::Dying);

    let script = Scripted::default();
    {
        let mut s = script.0.borrow_mut();
        s.restored_as = Some(5);
        // 2 and 3 are known and run; 4 and 5 run and are not known; 8 is known and does not run.
        s.installed =
            vec![*spec(2, Direction::Inbound), *spec(3, Direction::Outbound), *spec(8, Direction::Outbound)];
        s.installed.push(*spec(6, Direction::Inbound));
        s.installed.push(*spec(7, Direction::Outbound));
    }
    let mut driver = Driver::new(script.clone(), key());
    driver.configure(Config::default(), vec![policy("10.1.0.0/16", "10.2.0.0/16")], T);
    driver.attach(fast.side.attach_here().unwrap(), T);
    settle(&mut driver, &mut fast, T);
    assert_eq!(fast.take_done(), ["policies", "remove 4", "remove 5"]);
    assert_eq!(script.0.borrow().restores, [b"5:1".to_vec()]);
    assert_eq!(script.0.borrow().inputs, ["soft 2", "lost 8", "free 4", "free 5"]);
    assert_eq!(driver.slow().unwrap().statistics().policy_generation(), 2);
}
#[test]
fn h9_without_the_right_key_nothing_is_taken_over_and_the_strange_sas_go() {
    let (mut driver, _, mut fast) = attached();
    perform(&mut driver, vec![Action::Persist { vault_key: 5 }, pair(2)]);
    settle(&mut driver, &mut fast, T);
    drop(driver);
    while fast.side.poll_peer().is_some() {}
    fast.take_done();
    let script = Scripted::default();
    let mut driver = Driver::new(script.clone(), Some(VaultKey::new([1; 32])));
    driver.attach(fast.side.attach_here().unwrap(), T);
    settle(&mut driver, &mut fast, T);
    assert_eq!(fast.take_done(), ["policies", "remove 2", "remove 3"]);
    assert!(script.0.borrow().restores.is_empty());
    let ipc = driver.status(&[], 0, false, T).ipc;
    assert_eq!(ipc["vault-damaged"], 1);
}
#[test]
fn h5_a_restarted_fast_path_gets_its_sas_again_with_numbers_moved_ahead() {
    let (mut driver, script, mut fast) = attached();
    perform(&mut driver, vec![Action::Persist { vault_key: 5 }, pair(2), pair(4)]);
    settle(&mut driver, &mut fast, T);
    let all = [
        (2, Direction::Inbound),
        (3, Direction::Outbound),
        (4, Direction::Inbound),
        (5, Direction::Outbound),
    ];
    script.0.borrow_mut().installed = all.into_iter().map(|(slot, d)| *spec(slot, d)).collect();
    fast.count(SaSlot(2), 10, 777);
    fast.count(SaSlot(3), 10, 1234);
    fast.count(SaSlot(5), 10, u64::from(u32::MAX) - 100);
    drop(fast);
    driver.turn(T);
    assert!(driver.slow().is_none());

    let mut fast = Fast::new();
    driver.attach(fast.side.attach_here().unwrap(), T);
    settle(&mut driver, &mut fast, T);
    assert_eq!(fast.take_done(), ["policies", "install-in 2", "install-in 4", "install-out 3"]);
    assert_eq!(fast.sas[&2].last_seq, 777);
    assert_eq!(fast.sas[&3].last_seq, 1234 + SEQUENCE_LEAD);
    // Too few numbers are left in 5: its child is negotiated anew.
    assert_eq!(script.0.borrow().inputs, ["lost 5"]);
    // The new region has the records as well.
    let vault = driver.slow().unwrap().open_vault(&key().unwrap()).unwrap();
    assert_eq!(vault.len(), 1);
}
//= test rfc4106#3.1/unique-iv
#[test]
fn a_number_that_may_have_been_used_is_never_used_again() {
    let esn = |s: Box<SaSpec>| Box::new(SaSpec { esn: true, ..*s });
    let out = || spec(3, Direction::Outbound);
    let at = |seq| move |f| matches!(f, Fate::Install(s) if s.last_seq == seq);
    assert!(at(SEQUENCE_LEAD)(fate(out(), Some(0))));
    assert!(at(5)(fate(spec(2, Direction::Inbound), Some(5))));
    let near_end = u64::from(u32::MAX) - 2 * SEQUENCE_LEAD;
    assert!(at(near_end + SEQUENCE_LEAD)(fate(out(), Some(near_end))));
    assert!(matches!(fate(out(), Some(near_end + 1)), Fate::Expire(..)));
    assert!(at(near_end + 1 + SEQUENCE_LEAD)(fate(esn(out()), Some(near_end + 1))));
    assert!(matches!(fate(esn(out()), Some(u64::MAX)), Fate::Expire(..)));
    // Nobody knows what was sent.
    assert!(matches!(fate(out(), None), Fate::Expire(..)));
    assert!(matches!(fate(spec(2, Direction::Inbound), None), Fate::Expire(..)));
}
#[test]
fn events_and_traffic_reach_the_engine() {
    let (mut driver, script, mut fast) = attached();
    let packet = PacketInfo {
        src: [10, 1, 0, 1].into(),
        dst: [10, 2, 0, 1].into(),
        protocol: 1,
        src_port: 8,
        dst_port: 0,
    };
    let (slot, spi) = (SaSlot(2), Spi::new(0x1002).unwrap());
    fast.side.raise(&Event::Acquire { policy: PolicyId(1), packet });
    fast.side.raise(&Event::SoftExpire { slot, spi, why: Expiry::Bytes });
    fast.side.raise(&Event::HardExpire { slot, spi, why: Expiry::Seconds });
    let meta = FrameMeta {
        local: "192.0.2.1:500".parse().unwrap(),
        remote: "192.0.2.2:500".parse().unwrap(),
        kind: FrameKind::Ike,
    };
    fast.side.frame_to_slow(&meta, &[0; 300]);
    fast.side.frame_to_slow(&FrameMeta { kind: FrameKind::Raw, ..meta }, &[0xff]);
    settle(&mut driver, &mut fast, T);
    assert_eq!(script.0.borrow().inputs, ["acquire 1", "soft 2", "hard 2", "datagram 300"]);

    script.0.borrow_mut().inputs.clear();
    script.0.borrow_mut().children = vec![ChildStatus {
        peer: "b".into(),
        policy: PolicyId(1),
        also: Vec::new(),
        inbound: (slot, spi),
        outbound: (SaSlot(3), Spi::new(0x1003).unwrap()),
        suite: gcm(),
        local: meta.local,
        remote: meta.remote,
        age: Duration::ZERO,
        expires_in: Duration::ZERO,
        state: "mature",
    }];
    perform(&mut driver, vec![pair(2)]);
    for (second, packets) in [(10, 0), (20, 5), (30, 0), (40, 1)] {
        settle(&mut driver, &mut fast, T + Duration::from_secs(second));
        fast.count(slot, packets, 0);
    }
    settle(&mut driver, &mut fast, T + Duration::from_secs(50));
    assert_eq!(script.0.borrow().inputs, ["traffic 2", "traffic 2"]);
}
#[test]
fn without_a_fast_path_nothing_piles_up() {
    let mut driver = Driver::new(Scripted::default(), key());
    perform(&mut driver, vec![pair(2), send(3), remove(2), Action::Persist { vault_key: 1 }]);
    driver.turn(T);
    assert!(driver.settled());
    assert_eq!(driver.counters.frames_dropped, 1);
    assert!(!driver.status(&[], 1, false, T).fastpath_attached);
}
#[test]
fn h3_a_fast_path_that_scribbles_is_left_and_attached_again() {
    let (mut driver, script, mut fast) = attached();
    perform(&mut driver, vec![Action::Persist { vault_key: 5 }, pair(2)]);
    settle(&mut driver, &mut fast, T);
    script.0.borrow_mut().installed = vec![*spec(2, Direction::Inbound), *spec(3, Direction::Outbound)];
    fast.take_done();
    // The first word of the second ring (acknowledgements) is its producer's index.
    let words = fast.side.region().words().clone();
    let full =
        |at: &usize| words[*at].load(std::sync::atomic::Ordering::Relaxed) == driver.counters.commands_sent;
    let acks = (512..words.len()).step_by(512).filter(full).nth(1).unwrap();
    words[acks].store(u64::MAX, std::sync::atomic::Ordering::Relaxed);
    driver.turn(T);
    assert!(driver.slow().is_none());
    while fast.side.poll_peer().is_some() {}
    driver.attach(fast.side.attach_here().unwrap(), T);
    settle(&mut driver, &mut fast, T);
    assert_eq!(fast.take_done(), ["policies"], "its SAs run, and go on running");
}
#[test]
fn a_changed_configuration_says_what_has_changed() {
    let (mut driver, _, mut fast) = attached();
    let named = |id| PolicySpec { id: PolicyId(id), ..policy("10.1.0.0/16", "10.2.0.0/16") };
    driver.configure(Config::default(), vec![named(1), named(2)], T);
    // Said before the first one was answered.
    driver.configure(Config::default(), vec![named(3), named(2)], T);
    settle(&mut driver, &mut fast, T);
    let expected = ["policy-insert 2", "policies", "policy-remove 1", "policy-insert 3", "policies"];
    assert_eq!(fast.take_done(), expected);
    assert_eq!(fast.policies, [named(3), named(2)]);
    driver.configure(Config::default(), vec![named(3), named(2)], T);
    settle(&mut driver, &mut fast, T);
    assert!(fast.take_done().is_empty(), "nothing has changed");

    // The fast path stands elsewhere: the whole list follows.
    fast.generation = 77;
    driver.configure(Config::default(), vec![named(3)], T);
    settle(&mut driver, &mut fast, T);
    settle(&mut driver, &mut fast, T + Duration::from_secs(3));
    assert_eq!(fast.take_done(), ["policies"]);
    assert_eq!(fast.policies, [named(3)]);
}

/// What an answer has said so far.
fn said(rows: &mut impl Rows) -> (String, bool) {
    let mut text = Vec::new();
    let more = rows.ready() && rows.more(&mut text).unwrap();
    (String::from_utf8(text).unwrap(), more)
}
fn look() -> status::Look {
    let peer = Some("other".into());
    status::Look { peer, packets: 9, seconds: 5, snap: 100, data: true, keys: true, ..Default::default() }
}
#[test]
fn packets_are_watched_until_the_fast_path_says_that_it_is_over() {
    use ipc::watch::*;
    let (mut driver, script, mut fast) = attached();
    script.0.borrow_mut().installed = vec![*spec(1, Direction::Outbound)];
    let peers = [Some("other".to_owned())];
    let wrong = status::Look { policy: Some(1), ..look() };
    assert!(driver.watch(wrong, &peers).err().unwrap().contains("only one of them"));
    let strange = status::Look { peer: Some("nobody".into()), ..look() };
    assert!(driver.watch(strange, &peers).err().unwrap().contains("no policy"));
    let mut answer = driver.watch(look(), &peers).unwrap();
    assert!(driver.watch(look(), &peers).err().unwrap().contains("another"));
    settle(&mut driver, &mut fast, T);
    let of = Subject::Policies(vec![PolicyId(1)]);
    assert_eq!(fast.watch, Some(Watch { number: 1, of, snap: 100, seconds: 5, packets: 9 }));
    assert_eq!(said(&mut answer), ("{\"watched\":[\n".into(), true));
    assert!(!answer.ready());

    let mut trail = Trail::default();
    trail.push(Step::Framed { spi: 0x1001, number: 7, pieces: 1 });
    let sighting = Sighting {
        watch: 1,
        packet: 1,
        time: 5,
        place: Place::Port(0),
        leaves: false,
        protected: false,
        wire_len: 60,
        flow: None,
        fate: Some(Fate::Dropped(DropReason::EngineError)),
        trail,
    };
    assert!(fast.side.show(&Seen::Packet(sighting), &[0xab; 3]));
    // Of an earlier watch.
    assert!(fast.side.show(&Seen::Packet(Sighting { watch: 77, ..sighting }), &[1]));
    assert!(fast.side.show(&Seen::Over { watch: 1, packets: 1, lost: 2 }, &[]));
    settle(&mut driver, &mut fast, T);
    let (text, more) = said(&mut answer);
    assert!(!more && text.ends_with("\n]}"), "{text}");
    let text = format!("{{\"watched\":[{text}").replace("]}\n", "]}");
    let Response::Watched(lines) = serde_json::from_str(&text).unwrap() else { panic!("{text}") };
    let [WatchedLine::Key(key), WatchedLine::Packet(packet), WatchedLine::Over { packets: 1, lost: 2, why }] =
        &lines[..]
    else {
        panic!("{lines:?}")
    };
    assert!(key.0.contains("0x00001001") && key.0.contains("AES-GCM"), "{}", key.0);
    assert_eq!((packet.port.as_str(), packet.data.as_deref()), ("wan", Some("ababab")));
    assert_eq!(packet.reason.as_deref(), Some(DropReason::EngineError.name()));
    assert_eq!(packet.steps, ["frame: under SA 0x1001, number 7"]);
    assert_eq!(why, "time");
}
#[test]
fn nobody_is_copied_for_who_does_not_read() {
    let (mut driver, _, mut fast) = attached();
    let peers = [Some("other".to_owned())];
    drop(driver.watch(look(), &peers).unwrap());
    settle(&mut driver, &mut fast, T);
    assert_eq!(fast.take_done(), ["watch 1", "unwatch 1"]);
    // And when the fast path goes, the answer ends.
    let mut answer = driver.watch(look(), &peers).unwrap();
    drop(fast);
    driver.turn(T);
    let (text, more) = said(&mut answer);
    assert!(!more && text.contains("the fast path is gone"), "{text}");
}
