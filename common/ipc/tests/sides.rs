//! Both ends over the real region and the real hand-over.
mod common;
use ipc::*;
use proptest::prelude::*;
use sa::*;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

fn small() -> RegionOptions {
    RegionOptions {
        geometry: Geometry {
            sa_slots: 16,
            workers: 2,
            vault_records: 4,
            commands: 4,
            events: 4,
            frames: 4,
            ..Geometry::default()
        },
        port_names: vec!["lan".into(), "wan".into()],
    }
}
fn both() -> (FastSide, SlowSide) {
    let mut fast = FastSide::create(&small()).unwrap();
    let slow = fast.attach_here().unwrap();
    (fast, slow)
}
fn remove(slot: u32) -> Command {
    Command::RemoveSa { slot: SaSlot(slot), spi: Spi::new(0x1000 + slot).unwrap() }
}
fn meta() -> FrameMeta {
    FrameMeta {
        local: "192.0.2.1:500".parse().unwrap(),
        remote: "[2001:db8::1]:4500".parse().unwrap(),
        kind: FrameKind::Ike,
    }
}
const ME: fn() -> u32 = || rustix::process::getuid().as_raw();

#[test]
fn commands_are_answered_and_a_full_ring_loses_none() {
    let (mut fast, mut slow) = both();
    let mut sent: Vec<u64> = (0..4).map(|n| slow.send(&remove(n)).unwrap()).collect();
    assert_eq!(slow.send(&remove(9)), Err(SendError::Full));
    let (first, command) = fast.next_command().unwrap();
    assert_eq!((first, command), (sent[0], remove(0)));
    // The place of its acknowledgement is still taken.
    assert_eq!(slow.send(&remove(9)), Err(SendError::Full));
    fast.acknowledge(first, Ok(()));
    assert_eq!(slow.next_ack(), Some(Ack { seq: first, result: Ok(()) }));
    sent.push(slow.send(&remove(4)).unwrap());
    for (n, seq) in sent.iter().enumerate().skip(1) {
        assert_eq!(fast.next_command(), Some((*seq, remove(n as u32))));
        fast.acknowledge(*seq, Err(Refusal::NoSuchSa));
        assert_eq!(slow.next_ack(), Some(Ack { seq: *seq, result: Err(Refusal::NoSuchSa) }));
    }
    assert_eq!((fast.next_command(), slow.next_ack()), (None, None));
}
#[test]
fn h7_events_and_frames_beyond_the_ring_are_refused_and_counted() {
    let (mut fast, mut slow) = both();
    let event = Event::UnknownSpi { spi: 7, local: [192, 0, 2, 1].into(), remote: [192, 0, 2, 2].into() };
    assert_eq!((0..6).filter(|_| fast.raise(&event)).count(), 4);
    assert_eq!((0..7).filter(|n| fast.frame_to_slow(&meta(), &[*n; 300])).count(), 4);
    assert!(!fast.frame_to_slow(&meta(), &[0; MAX_FRAME + 1]));
    assert_eq!(std::iter::from_fn(|| slow.next_event()).collect::<Vec<_>>(), vec![event; 4]);
    for n in 0..4 {
        assert_eq!(slow.next_frame(), Some((meta(), &[n; 300][..])));
    }
    assert_eq!(slow.next_frame(), None);
    let faults: std::collections::BTreeMap<_, _> = slow.statistics().contract_faults().into_iter().collect();
    assert_eq!((faults["fastpath-events-lost"], faults["fastpath-frames-lost"]), (2, 4));
    for payload in [&[][..], &[0xff], &[3; 4032], &[4; 4033], &[5; 8128], &[6; 8129]] {
        slow.send_frame(&meta(), payload).unwrap();
        assert_eq!(fast.next_frame(), Some((meta(), payload)));
    }
    assert!(matches!(slow.send_frame(&meta(), &[0; MAX_FRAME + 1]), Err(SendError::Unfit(_))));
    assert_eq!(
        slow.send_frame(&meta(), &[0; MAX_FRAME]),
        Err(SendError::Full),
        "more than this small ring holds"
    );
}
#[test]
fn a_frame_may_be_as_long_as_a_datagram() {
    let mut fast = FastSide::create(&RegionOptions::default()).unwrap();
    let mut slow = fast.attach_here().unwrap();
    let long: Vec<u8> = (0..MAX_FRAME).map(|n| (n % 251) as u8).collect();
    for len in [0, 1, 4031, 4032, 4033, 8127, 8128, 8129, 20_000, MAX_FRAME - 1, MAX_FRAME] {
        for _ in 0..30 {
            assert!(fast.frame_to_slow(&meta(), &long[..len]));
            slow.send_frame(&meta(), &long[..len]).unwrap();
            assert_eq!(slow.next_frame(), Some((meta(), &long[..len])));
            assert_eq!(fast.next_frame(), Some((meta(), &long[..len])));
        }
    }
    assert!(!fast.frame_to_slow(&meta(), &[&long[..], &[0]].concat()));
}
#[test]
fn what_is_seen_arrives_in_order_and_a_full_ring_is_no_loss() {
    let (mut fast, mut slow) = both();
    let over = |packets| watch::Seen::Over { watch: 1, packets, lost: 0 };
    assert_eq!((0..600).take_while(|n| fast.show(&over(*n), &[*n as u8; 60])).count(), 512);
    assert!(!slow.before_sleep());
    for n in 0..512 {
        // The end of a watch has no packet with it.
        assert_eq!(slow.next_seen(), Some((over(n), &[][..])));
    }
    assert!(fast.show(&over(7), &[]) && slow.next_seen().is_some() && slow.next_seen().is_none());
    assert!(!fast.show(&over(8), &[0; watch::MAX_SNAP + 1]), "it does not fit");
    let faults: std::collections::BTreeMap<_, _> = slow.statistics().contract_faults().into_iter().collect();
    assert_eq!(faults["fastpath-events-lost"], 0);
}
#[test]
fn keys_do_not_stay_in_the_ring() {
    let (mut fast, mut slow) = both();
    let runner = &mut proptest::test_runner::TestRunner::deterministic();
    let mut spec = proptest::strategy::ValueTree::current(&common::sa_spec().new_tree(runner).unwrap());
    spec.suite = Suite::new(Encryption::Aes256Gcm, Integrity::None).unwrap();
    spec.encryption_key = Key::new(&[0x5a; 32]).unwrap();
    (spec.salt, spec.integrity_key) = (Key::new(&[0x5a; 4]).unwrap(), Key::empty());
    slow.send(&Command::InstallSa(Box::new(spec))).unwrap();
    let secret = |side: &FastSide| {
        side.region().words().iter().filter(|w| w.load(Relaxed) == u64::from_ne_bytes([0x5a; 8])).count()
    };
    assert!(secret(&fast) > 0);
    assert!(matches!(fast.next_command(), Some((_, Command::InstallSa(_)))));
    assert_eq!(secret(&fast), 0);
}
#[test]
fn a_sleeper_is_rung_once_and_never_sleeps_beside_work() {
    let (mut fast, mut slow) = both();
    let readable = |fd: std::os::fd::BorrowedFd<'_>| {
        let mut fds = [rustix::event::PollFd::new(&fd, rustix::event::PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&Default::default())).unwrap() == 1
    };
    assert!(fast.frame_to_slow(&meta(), b"awake"));
    assert!(!readable(slow.wake_fd()), "nobody rings a process that is awake");
    assert!(!slow.before_sleep());
    slow.next_frame().unwrap();
    assert!(slow.before_sleep());
    assert!(fast.frame_to_slow(&meta(), b"asleep"));
    assert!(readable(slow.wake_fd()));
    slow.awake();
    assert!(!readable(slow.wake_fd()));

    assert!(fast.before_sleep());
    slow.send(&remove(1)).unwrap();
    assert!(readable(fast.wake_fd()));
    fast.awake();
    assert!(!fast.before_sleep());
}
#[test]
fn counters_are_summed_over_workers_and_start_at_zero_with_each_sa() {
    let (mut fast, slow) = both();
    let (mut a, mut b) = (fast.worker_stats(0).unwrap(), fast.worker_stats(1).unwrap());
    assert!(fast.worker_stats(0).is_none() && fast.worker_stats(2).is_none());
    let slot = SaSlot(5);
    let identity = SaIdentity {
        spi: Spi::new(0xabcd_0005).unwrap(),
        direction: Direction::Outbound,
        state: SaState::Mature,
        policy: PolicyId(3),
        engine: Some(SaEngine::Ring),
        start_seq: 100,
        installed_at: 40,
    };
    assert_eq!(slow.statistics().identity(slot), None);
    fast.publish_sa(slot, &identity);
    fast.set_clock(50);
    assert_eq!(
        slow.statistics().sa(slot),
        SaCounters { last_seq: 100, idle_seconds: u64::MAX, ..SaCounters::default() }
    );
    a.sa_passed(slot, 10, 1000, 110, 44);
    b.sa_passed(slot, 5, 500, 115, 43);
    b.sa_dropped(slot, 2);
    b.dropped(DropReason::IcvMismatch, 2);
    a.dropped(DropReason::IcvMismatch, 1);
    a.sa_passed(SaSlot(16), 1, 1, 1, 1); // beyond the table
    assert_eq!(
        slow.statistics().sa(slot),
        SaCounters { packets: 15, bytes: 1500, dropped: 2, last_seq: 115, idle_seconds: 6 }
    );
    fast.set_sa_state(slot, SaState::Dying);
    let dying = SaIdentity { state: SaState::Dying, ..identity };
    assert_eq!(slow.statistics().installed().collect::<Vec<_>>(), vec![(slot, dying)]);
    let drops: Vec<_> = slow.statistics().drops().into_iter().filter(|(_, n)| *n > 0).collect();
    assert_eq!(drops, vec![(DropReason::IcvMismatch, 3)]);
    fast.clear_sa(slot);
    assert_eq!(slow.statistics().installed().count(), 0);
    fast.publish_sa(slot, &SaIdentity { start_seq: 0, ..identity });
    assert_eq!(slow.statistics().sa(slot), SaCounters { idle_seconds: u64::MAX, ..SaCounters::default() });

    let counters = PortCounters { rx_packets: 1, tx_errors: 6, ..PortCounters::default() };
    fast.set_port(1, &counters);
    let named = |name: &str, c: PortCounters| PortCounters { name: name.into(), ..c };
    assert_eq!(
        slow.statistics().ports(),
        vec![named("lan", PortCounters::default()), named("wan", counters)]
    );
}
#[test]
fn the_vault_outlives_the_slow_path_and_a_dead_fast_paths_numbers_stay_readable() {
    let (mut fast, slow) = both();
    let key = VaultKey::new([1; 32]);
    let mut worker = fast.worker_stats(0).unwrap();
    slow.open_vault(&key).unwrap().put(77, b"ike sa").unwrap();
    drop(slow);
    assert_eq!(fast.poll_peer(), Some(PeerEvent::Detached));
    assert!(!fast.frame_to_slow(&meta(), b"nobody there"));
    let again = fast.attach_here().unwrap();
    assert_eq!(again.session(), 2);
    let vault = again.open_vault(&key).unwrap();
    assert_eq!(
        vault.iter().map(|(name, body)| (name, body.to_vec())).collect::<Vec<_>>(),
        vec![(77, b"ike sa".to_vec())]
    );

    worker.sa_passed(SaSlot(1), 1, 1, 4711, 0);
    drop((worker, fast));
    assert!(again.fast_gone());
    assert_eq!(again.statistics().sa(SaSlot(1)).last_seq, 4711);
    let mut other = FastSide::create(&small()).unwrap();
    let fresh = other.attach_here().unwrap();
    assert_ne!(fresh.epoch(), again.epoch());
}
#[test]
fn a_late_acknowledgement_to_a_dead_slow_path_is_not_heard_by_its_successor() {
    let (mut fast, mut slow) = both();
    let old = slow.send(&remove(1)).unwrap();
    slow.send(&remove(2)).unwrap();
    assert_eq!(fast.next_command(), Some((old, remove(1))));
    drop(slow);
    assert_eq!(fast.poll_peer(), Some(PeerEvent::Detached));
    let mut slow = fast.attach_here().unwrap();
    assert_eq!(fast.next_command(), None, "what the dead one had asked for is forgotten");
    fast.acknowledge(old, Ok(()));
    assert_eq!(slow.next_ack(), None);
    let seq = slow.send(&remove(3)).unwrap();
    assert_eq!(fast.next_command(), Some((seq, remove(3))));
}
/// H8: a stranger connects to the socket; a second slow path; nobody listens; a stale socket file.
#[test]
fn h8_only_one_slow_path_of_an_allowed_user_comes_in() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("fast.sock");
    let attach = |fast: &mut FastSide, allowed: &[u32]| {
        let (path, allowed) = (path.clone(), allowed.to_vec());
        let client = std::thread::spawn(move || SlowSide::attach(&path, &allowed, Duration::from_secs(20)));
        let mut event = None;
        while event.is_none() && !client.is_finished() {
            event = fast.poll_peer();
            std::thread::yield_now();
        }
        (event, client.join().unwrap())
    };
    let me = Credentials { uid: ME(), pid: rustix::process::getpid().as_raw_nonzero().get() };
    assert!(matches!(SlowSide::attach(&path, &[ME()], Duration::from_secs(1)), Err(IpcError::Socket { .. })));

    let mut fast = FastSide::create(&small()).unwrap();
    fast.listen(&path, &[ME() + 1]).unwrap();
    let (event, slow) = attach(&mut fast, &[ME()]);
    assert_eq!(event, Some(PeerEvent::Refused(me)));
    assert!(slow.err().unwrap().to_string().contains("our user is not in its list"));

    let mut fast = {
        drop(fast);
        let mut fast = FastSide::create(&small()).unwrap();
        std::os::unix::net::UnixListener::bind(&path).unwrap(); // leaves its file behind
        fast.listen(&path, &[ME()]).unwrap();
        fast
    };
    let said = attach(&mut fast, &[ME() + 1]).1.err().unwrap().to_string();
    assert!(said.contains(&format!("user {}", ME())), "{said}");
    // That client had connected all the same, and hung up.
    while fast.poll_peer().is_some() {}
    let (event, slow) = attach(&mut fast, &[ME()]);
    assert_eq!(event, Some(PeerEvent::Attached(me)));
    let slow = slow.unwrap();
    let (event, second) = attach(&mut fast, &[ME()]);
    assert_eq!(event, Some(PeerEvent::Refused(me)));
    assert!(second.err().unwrap().to_string().contains("another slow path is attached"));
    assert!(!slow.fast_gone());
    let mut other = FastSide::create(&small()).unwrap();
    assert!(other.listen(&path, &[ME()]).unwrap_err().to_string().contains("another process"));
}

/// Where a hostile side writes: index words, slots, tables, anything.
fn scribble() -> impl Strategy<Value = Vec<(prop::sample::Index, u64, bool)>> {
    prop::collection::vec((any::<prop::sample::Index>(), any::<u64>(), any::<bool>()), 1..40)
}
proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]
    /// H1: the slow path writes random bytes anywhere in the region; the fast path answers, hangs up if it must,
    /// and a new slow path finds a working contract.
    #[test]
    fn h1_a_hostile_slow_path_cannot_stop_the_fast_path(writes in scribble(), command in common::command()) {
        let (mut fast, mut slow) = both();
        for (at, value, small) in writes {
            let words = slow.region().words();
            // The rings and tables before the statistics are what an attacker would choose.
            at.get(&words[..8192]).store(if small { value % 8 } else { value }, Relaxed);
            let _ = slow.send(&command);
            for _ in 0..4 {
                if let Some((seq, _)) = fast.next_command() { fast.acknowledge(seq, Ok(())); }
                let _ = fast.next_frame();
            }
            fast.raise(&Event::UnknownSpi { spi: 1, local: [1; 4].into(), remote: [2; 4].into() });
            fast.frame_to_slow(&meta(), b"x");
            let _ = fast.before_sleep();
            let _ = fast.poll_peer();
        }
        drop(slow);
        while fast.poll_peer().is_some() {}
        let mut slow = fast.attach_here().unwrap();
        let seq = slow.send(&command).unwrap();
        prop_assert_eq!(fast.next_command(), Some((seq, command)));
        fast.acknowledge(seq, Ok(()));
        prop_assert_eq!(slow.next_ack(), Some(Ack { seq, result: Ok(()) }));
    }
    /// H3: and the other way round, statistics and vault included.
    #[test]
    fn h3_a_hostile_fast_path_cannot_crash_the_slow_path(writes in scribble()) {
        let (mut fast, mut slow) = both();
        for (at, value, small) in writes {
            at.get(fast.region().words()).store(if small { value % 8 } else { value }, Relaxed);
            fast.raise(&Event::UnknownSpi { spi: 1, local: [1; 4].into(), remote: [2; 4].into() });
            fast.frame_to_slow(&meta(), b"x");
            for _ in 0..4 {
                let _ = (slow.next_ack(), slow.next_event());
                let _ = slow.next_frame();
            }
            let _ = slow.send_frame(&meta(), b"y");
            let stats = slow.statistics();
            let _ = (stats.installed().count(), stats.ports(), stats.drops(), stats.sa(SaSlot(3)), slow.fast_gone());
            let _ = slow.before_sleep();
        }
        let _ = slow.open_vault(&VaultKey::new([2; 32])).unwrap().iter().count();
    }
}
