//! The policy table against a list scan, through transactions as the control thread runs them.
mod common;
use common::*;
use fastpath::crypto::{CpuEngineKind, CpuKeys};
use fastpath::tables::{Control, spd};
use ipc::contract::{Command, Refusal};
use proptest::prelude::*;
use sa::*;
use std::time::Duration;
use wire::Flow;

const NOW: Duration = Duration::ZERO;

fn control() -> Control<CpuKeys> {
    Control::new(CpuKeys::new(&[CpuEngineKind::RustCrypto]).expect("keys"), 64)
}
fn commit(control: &mut Control<CpuKeys>, policies: &[PolicySpec]) -> Result<(), Refusal> {
    control.apply(Command::PolicyBegin { generation: 7, count: policies.len() as u32 }, NOW)?;
    for policy in policies {
        control.apply(Command::Policy(*policy), NOW)?;
    }
    control.apply(Command::PolicyCommit { generation: 7 }, NOW).map(|_| ())
}
fn install(control: &mut Control<CpuKeys>, slot: u32, policy: u32) -> Result<(), Refusal> {
    let spi = Spi::new(0x1000 + slot).expect("an SPI");
    let spec = SaSpec { slot: SaSlot(slot), spi, policy: PolicyId(policy), ..a_to_b(Side::A, "aes-128-gcm") };
    control.apply(Command::InstallSa(Box::new(spec)), NOW).map(|_| ())
}

fn addr() -> impl Strategy<Value = std::net::IpAddr> {
    // Few addresses, so that policies cover each other and packets hit.
    let v4 =
        (0u32..4, 0u32..3).prop_map(|(net, host)| std::net::IpAddr::V4((10 << 24 | net << 16 | host).into()));
    let v6 = (0u128..3, 0u128..3)
        .prop_map(|(net, host)| std::net::IpAddr::V6((0x2001 << 112 | net << 64 | host).into()));
    prop_oneof![3 => v4, 1 => v6]
}
fn block() -> impl Strategy<Value = Prefix> {
    (addr(), prop::sample::select(vec![0u8, 8, 16, 24, 31, 32, 64, 128]))
        .prop_map(|(a, len)| Prefix::new(a, len).unwrap_or_else(|| Prefix::host(a)))
}
fn ports() -> impl Strategy<Value = PortRange> {
    prop_oneof![
        Just(PortRange::ANY),
        (0u16..4).prop_map(PortRange::one),
        (0u16..3, 3u16..6).prop_map(|(first, last)| PortRange { first, last })
    ]
}
fn selectors() -> impl Strategy<Value = Selector> {
    let protocol = prop::option::of(prop::sample::select(vec![1u8, 6, 17]));
    (block(), block(), protocol, ports(), ports()).prop_map(|(src, dst, protocol, src_port, dst_port)| {
        Selector { src, dst, protocol, src_port, dst_port }
    })
}
fn flows() -> impl Strategy<Value = Flow> {
    let port = || prop::option::of(0u16..6);
    let protocol = prop::sample::select(vec![1u8, 6, 17, 47]);
    (addr(), addr(), protocol, port(), port())
        .prop_filter("one family", |f| f.0.is_ipv4() == f.1.is_ipv4())
        .prop_map(|(src, dst, protocol, src_port, dst_port)| Flow { src, dst, protocol, src_port, dst_port })
}
/// A list of policies: which of twenty selectors, in which order.
fn lists() -> impl Strategy<Value = Vec<(u32, usize)>> {
    prop::collection::vec((1u32..30, 0usize..20), 0..25)
}

proptest! {
    #[test]
    fn the_first_policy_in_order_wins(pool in prop::collection::vec(selectors(), 20), lists in prop::collection::vec(lists(), 1..6), flows in prop::collection::vec(flows(), 30)) {
        let mut control = control();
        for list in lists {
            let mut ids = std::collections::HashSet::new();
            let policies: Vec<PolicySpec> = list.into_iter().filter(|(id, _)| ids.insert(*id))
                .map(|(id, at)| PolicySpec { id: PolicyId(id), selector: pool[at], action: REQUIRE, framing: Framing::default() }).collect();
            commit(&mut control, &policies).expect("a transaction");
            control.poll(NOW, &mut Vec::new(), &mut Vec::new());
            let table = &control.tables().spd;
            prop_assert_eq!(table.len(), policies.len());
            for flow in &flows {
                let expected = policies.iter().find(|p| spd::covers(&p.selector, flow)).map(|p| p.id);
                prop_assert_eq!(table.find(flow).map(|e| e.placed.spec.id), expected, "{:?}", flow);
            }
        }
    }
}

/// A step of an edit, with places as shares of the list.
#[derive(Clone, Debug)]
enum Step {
    Insert {
        /// `None`: behind the first one.
        place: Option<prop::sample::Index>,
        at: usize,
    },
    Remove(prop::sample::Index),
    /// Taken out and put in elsewhere, unchanged.
    Move(prop::sample::Index, prop::sample::Index),
    Bind(prop::sample::Index),
    /// An SA that serves several policies.
    BindTwo(prop::sample::Index, prop::sample::Index),
    Unbind(prop::sample::Index),
    Commit,
}
fn steps() -> impl Strategy<Value = Vec<Step>> {
    let index = any::<prop::sample::Index>;
    let step = prop_oneof![
        4 => (index(), 0usize..20).prop_map(|(place, at)| Step::Insert { place: Some(place), at }),
        2 => (0usize..20).prop_map(|at| Step::Insert { place: None, at }),
        2 => index().prop_map(Step::Remove),
        1 => (index(), index()).prop_map(|(a, b)| Step::Move(a, b)),
        2 => index().prop_map(Step::Bind),
        1 => (index(), index()).prop_map(|(a, b)| Step::BindTwo(a, b)),
        1 => index().prop_map(Step::Unbind),
        2 => Just(Step::Commit),
    ];
    prop::collection::vec(step, 1..150)
}
/// What the tables should say: policies in order, each with its SAs, newest first.
#[derive(Clone, Default)]
struct Model {
    list: Vec<(PolicySpec, Vec<u32>)>,
}
fn bind(c: &mut Control<CpuKeys>, slot: u32, policies: &[PolicySpec]) {
    let spec = SaSpec {
        slot: SaSlot(slot),
        spi: Spi::new(0x1000 + slot).expect("an SPI"),
        policy: policies[0].id,
        also: policies[1..].iter().map(|p| p.id).collect(),
        selectors: policies.iter().map(|p| p.selector.into()).collect(),
        ..a_to_b(Side::A, "aes-128-gcm")
    };
    c.apply(Command::InstallSa(Box::new(spec)), NOW).expect("a free slot");
}

proptest! {
    /// Edits, SAs that come and go, and whole lists in between: the list scan always agrees, on both instances.
    #[test]
    fn edits_agree_with_a_list_scan(pool in prop::collection::vec(selectors(), 20), steps in steps(), flows in prop::collection::vec(flows(), 20)) {
        let mut c = control();
        let (mut model, mut edits, mut done) = (Model::default(), Vec::new(), Vec::new());
        let (mut generation, mut next_id, mut next_slot) = (7, 1u32, 0u32);
        let mut bound: Vec<u32> = Vec::new();
        commit(&mut c, &[]).expect("a transaction");
        let mut open = model.clone();
        for step in steps.into_iter().chain([Step::Commit]) {
            match step {
                Step::Insert { place, at } => {
                    let place = place.map_or(open.list.len().min(1), |place| place.index(open.list.len() + 1));
                    let policy = PolicySpec { id: PolicyId(next_id), selector: pool[at], action: REQUIRE, framing: Framing::default() };
                    next_id += 1;
                    let after = place.checked_sub(1).map(|n| open.list[n].0.id);
                    edits.push(Command::PolicyInsert { after, policy });
                    open.list.insert(place, (policy, Vec::new()));
                }
                Step::Remove(which) if !open.list.is_empty() => {
                    let (policy, _) = open.list.remove(which.index(open.list.len()));
                    edits.push(Command::PolicyRemove { policy: policy.id });
                }
                Step::Move(which, place) if !open.list.is_empty() => {
                    let row = open.list.remove(which.index(open.list.len()));
                    edits.push(Command::PolicyRemove { policy: row.0.id });
                    let place = place.index(open.list.len() + 1);
                    let after = place.checked_sub(1).map(|n| open.list[n].0.id);
                    edits.push(Command::PolicyInsert { after, policy: row.0 });
                    open.list.insert(place, row);
                }
                // SAs belong to policies in force; what is open does not count yet.
                Step::Bind(which) if edits.is_empty() && !model.list.is_empty() && next_slot < 60 => {
                    let at = which.index(model.list.len());
                    let (policy, slots) = &mut model.list[at];
                    bind(&mut c, next_slot, &[*policy]);
                    slots.insert(0, next_slot);
                    bound.push(next_slot);
                    next_slot += 1;
                    open = model.clone();
                }
                Step::BindTwo(a, b) if edits.is_empty() && model.list.len() > 1 && next_slot < 60 => {
                    let a = a.index(model.list.len());
                    let b = (a + 1 + b.index(model.list.len() - 1)) % model.list.len();
                    bind(&mut c, next_slot, &[model.list[a].0, model.list[b].0]);
                    for at in [a, b] {
                        model.list[at].1.insert(0, next_slot);
                    }
                    bound.push(next_slot);
                    next_slot += 1;
                    open = model.clone();
                }
                Step::Unbind(which) if edits.is_empty() && !bound.is_empty() => {
                    let slot = bound.swap_remove(which.index(bound.len()));
                    let spi = Spi::new(0x1000 + slot).expect("an SPI");
                    c.apply(Command::RemoveSa { slot: SaSlot(slot), spi }, NOW).expect("there");
                    model.list.iter_mut().for_each(|(_, slots)| slots.retain(|s| *s != slot));
                    open = model.clone();
                }
                Step::Commit => {
                    c.apply(Command::PolicyEdit { from: generation, generation: generation + 1 }, NOW).expect("open");
                    for edit in edits.drain(..) {
                        c.apply(edit, NOW).expect("an open edit");
                    }
                    generation += 1;
                    c.apply(Command::PolicyCommit { generation }, NOW).expect("a good edit");
                    model = open.clone();
                }
                _ => {}
            }
            // Twice: each poll may bring the other instance to the front.
            for _ in 0..2 {
                c.poll(NOW, &mut Vec::new(), &mut done);
                let table = &c.tables().spd;
                prop_assert_eq!(table.len(), model.list.len());
                for flow in &flows {
                    let expected = model.list.iter().find(|(p, _)| spd::covers(&p.selector, flow));
                    let found = table.find(flow);
                    prop_assert_eq!(found.map(|e| e.placed.spec.id), expected.map(|(p, _)| p.id), "{:?}", flow);
                    let sa = found.and_then(|e| e.sa_for(flow)).map(|b| b.slot);
                    prop_assert_eq!(sa, expected.and_then(|(_, slots)| slots.first().copied()));
                }
            }
        }
    }
}

/// Ranks between two neighbours run out after some thirty; then neighbours have to move, and keep their SAs.
#[test]
fn edits_at_one_place_keep_the_order() {
    for place in [0usize, 1, 150, 300] {
        let mut c = control();
        let p = |id: u32| policy(id, prefix("10.1.0.0/24"), prefix("10.2.0.0/24"), REQUIRE);
        let mut list: Vec<PolicySpec> = (1..=300).map(p).collect();
        commit(&mut c, &list).expect("a transaction");
        install(&mut c, 1, 150).expect("room");
        for step in 0..600u64 {
            let policy = p(1000 + step as u32);
            let after = place.checked_sub(1).map(|at| list[at].id);
            list.insert(place, policy);
            c.apply(Command::PolicyEdit { from: 7 + step, generation: 8 + step }, NOW).expect("open");
            c.apply(Command::PolicyInsert { after, policy }, NOW).expect("an open edit");
            c.apply(Command::PolicyCommit { generation: 8 + step }, NOW).expect("a good edit");
            let table = &c.tables().spd;
            let rank = |p: &PolicySpec| table.by_id(p.id).expect("there").placed.rank;
            let ranks: Vec<u64> = list.iter().map(rank).collect();
            assert!(ranks.is_sorted_by(|a, b| a < b), "after {step} at {place}");
        }
        let flow =
            Flow { src: ip("10.1.0.9"), dst: ip("10.2.0.9"), protocol: 6, src_port: None, dst_port: None };
        let table = &c.tables().spd;
        assert_eq!(table.find(&flow).map(|e| e.placed.spec.id), Some(list[0].id));
        let bound = table.by_id(PolicyId(150)).and_then(|e| e.sa_for(&flow)).map(|b| b.slot);
        assert_eq!(bound, Some(1), "moved and still bound");
    }
}

#[test]
fn an_edit_is_all_or_nothing_and_of_one_generation() {
    let mut c = control();
    let p = |id| policy(id, prefix("10.1.0.0/24"), prefix("10.2.0.0/24"), REQUIRE);
    commit(&mut c, &[p(1), p(2)]).expect("a transaction");
    let ids = |c: &Control<CpuKeys>| [1, 2, 3].map(|id| c.tables().spd.by_id(PolicyId(id)).is_some());
    let edit = |c: &mut Control<CpuKeys>, from, steps: &[Command]| {
        c.apply(Command::PolicyEdit { from, generation: 8 }, NOW)?;
        for step in steps {
            c.apply(step.clone(), NOW)?;
        }
        c.apply(Command::PolicyCommit { generation: 8 }, NOW).map(|_| ())
    };
    let remove = |id| Command::PolicyRemove { policy: PolicyId(id) };
    let insert = |after: Option<u32>, id| Command::PolicyInsert { after: after.map(PolicyId), policy: p(id) };
    assert_eq!(edit(&mut c, 6, &[]), Err(Refusal::BadTransaction), "of another generation");
    assert_eq!(c.apply(remove(1), NOW), Err(Refusal::BadTransaction), "and none is open");
    for (steps, expected) in [
        (vec![remove(1), remove(3)], Refusal::NoSuchPolicy),
        (vec![remove(1), remove(1)], Refusal::NoSuchPolicy),
        (vec![remove(1), insert(Some(1), 3)], Refusal::NoSuchPolicy),
        (vec![remove(1), insert(None, 2)], Refusal::BadTransaction),
        (vec![remove(1), insert(None, 0)], Refusal::BadTransaction),
        (vec![insert(None, 3), insert(None, 3)], Refusal::BadTransaction),
        (vec![remove(1), Command::Policy(p(3))], Refusal::BadTransaction),
    ] {
        assert_eq!(edit(&mut c, 7, &steps), Err(expected), "{steps:?}");
        assert_eq!(ids(&c), [true, true, false], "nothing has changed");
    }
    assert_eq!(edit(&mut c, 7, &[remove(1), insert(Some(2), 3)]), Ok(()));
    assert_eq!(ids(&c), [false, true, true]);
    assert_eq!(edit(&mut c, 7, &[]), Err(Refusal::BadTransaction), "that one is past");
}

#[test]
fn a_transaction_is_all_or_nothing() {
    let mut c = control();
    let (one, two) = (Side::A.policies()[0], Side::A.policies()[1]);
    commit(&mut c, &[one, two]).expect("a transaction");
    let ids = |c: &Control<CpuKeys>| [1, 2, 3].map(|id| c.tables().spd.by_id(PolicyId(id)).is_some());
    let refused = Err(Refusal::BadTransaction);
    assert_eq!(c.apply(Command::Policy(one), NOW), refused, "none is open");
    assert_eq!(c.apply(Command::PolicyCommit { generation: 7 }, NOW), refused);
    assert_eq!(commit(&mut c, &[one, one]), Err(Refusal::BadTransaction), "an id twice");
    c.apply(Command::PolicyBegin { generation: 8, count: 2 }, NOW).expect("open");
    c.apply(Command::Policy(PolicySpec { id: PolicyId(3), ..one }), NOW).expect("room");
    assert_eq!(c.apply(Command::PolicyCommit { generation: 8 }, NOW), refused, "one is missing");
    assert_eq!(c.apply(Command::PolicyCommit { generation: 8 }, NOW), refused, "and it is gone");
    c.apply(Command::PolicyBegin { generation: 9, count: 0 }, NOW).expect("open");
    assert_eq!(c.apply(Command::Policy(one), NOW), refused, "more than announced");
    assert_eq!(c.apply(Command::PolicyCommit { generation: 8 }, NOW), refused, "another's commit");
    assert_eq!(ids(&c), [true, true, false], "nothing has changed");
}

#[test]
fn policies_that_stay_keep_their_sas_and_changed_ones_do_not() {
    let mut c = control();
    let p = |id, third: u8| policy(id, prefix("10.1.0.0/24"), prefix(&format!("10.2.{third}.0/24")), REQUIRE);
    commit(&mut c, &[p(1, 0), p(2, 1), p(3, 2)]).expect("a transaction");
    let wide = |slot, id| {
        let any = selector(prefix("0.0.0.0/0"), prefix("0.0.0.0/0")).into();
        SaSpec {
            slot: SaSlot(slot),
            spi: Spi::new(0x2000 + slot).expect("an SPI"),
            policy: PolicyId(id),
            selectors: vec![any],
            ..a_to_b(Side::A, "aes-128-gcm")
        }
    };
    for (slot, id) in [(1, 1), (2, 2), (3, 3), (4, 1)] {
        c.apply(Command::InstallSa(Box::new(wide(slot, id))), NOW).expect("room");
    }
    let flow = |third: u8| Flow {
        src: ip("10.1.0.9"),
        dst: ip(&format!("10.2.{third}.9")),
        protocol: 6,
        src_port: Some(1),
        dst_port: Some(2),
    };
    let slot = |c: &Control<CpuKeys>, third| {
        c.tables().spd.find(&flow(third)).and_then(|e| e.sa_for(&flow(third))).map(|b| b.slot)
    };
    assert_eq!([slot(&c, 0), slot(&c, 1), slot(&c, 2)], [Some(4), Some(2), Some(3)], "newest first");
    // Order turned round, one changed in place, one new in front.
    let changed = PolicySpec { action: Action::Encrypt { level: Level::Unique, tunnel: true }, ..p(2, 1) };
    commit(&mut c, &[p(9, 7), p(3, 2), changed, p(1, 0)]).expect("a transaction");
    assert_eq!([slot(&c, 0), slot(&c, 1), slot(&c, 2)], [Some(4), None, Some(3)]);
    // The newest goes: the one before it serves again.
    c.apply(Command::RemoveSa { slot: SaSlot(4), spi: Spi::new(0x2004).expect("an SPI") }, NOW)
        .expect("there");
    assert_eq!(slot(&c, 0), Some(1));
}

#[test]
fn ranks_survive_many_insertions_at_one_place() {
    let mut c = control();
    let p = |id: u32| policy(id, prefix("10.1.0.0/24"), prefix("10.2.0.0/24"), REQUIRE);
    let mut list = vec![p(1), p(2)];
    let flow = Flow { src: ip("10.1.0.9"), dst: ip("10.2.0.9"), protocol: 6, src_port: None, dst_port: None };
    for id in 3..120 {
        list.insert(1, p(id));
        commit(&mut c, &list).expect("a transaction");
        // Without the first, the one inserted last is first.
        let second = c.tables().spd.by_id(PolicyId(id)).expect("there").placed.rank;
        let others = list.iter().filter(|q| ![1, id].contains(&q.id.0));
        assert!(
            others.map(|q| c.tables().spd.by_id(q.id).expect("there").placed.rank).all(|rank| rank > second)
        );
        assert_eq!(c.tables().spd.find(&flow).map(|e| e.placed.spec.id), Some(PolicyId(1)));
    }
}

#[test]
fn commands_that_cannot_be_carried_out_are_refused_by_name() {
    let mut c = control();
    assert_eq!(install(&mut c, 1, 1), Err(Refusal::NoSuchPolicy));
    commit(&mut c, &Side::A.policies()).expect("a transaction");
    assert_eq!(install(&mut c, 1, 1), Ok(()));
    assert_eq!(install(&mut c, 1, 1), Err(Refusal::SlotInUse));
    assert_eq!(install(&mut c, 64, 1), Err(Refusal::NoSuchSlot));
    let inbound = |slot| SaSpec { slot: SaSlot(slot), ..a_to_b(Side::B, "aes-128-gcm") };
    let mut apply = |spec: SaSpec| c.apply(Command::InstallSa(Box::new(spec)), NOW).map(|_| ());
    assert_eq!(apply(inbound(2)), Ok(()));
    assert_eq!(apply(inbound(3)), Err(Refusal::DuplicateSpi));
    let other = |change: fn(&mut SaSpec)| {
        let mut spec = SaSpec { spi: Spi::new(0x7777).expect("an SPI"), ..inbound(4) };
        change(&mut spec);
        spec
    };
    for (change, expected) in [
        ((|s| s.protocol = Protocol::Ah) as fn(&mut SaSpec), Refusal::Unsupported),
        (|s| s.ends.local = Side::B.wan(true), Refusal::Unsupported),
        (|s| s.selectors.clear(), Refusal::Unsupported),
        (|s| s.encryption_key = key(15, 1), Refusal::Malformed),
        (|s| s.integrity_key = key(20, 1), Refusal::Malformed),
    ] {
        assert_eq!(apply(other(change)), Err(expected));
    }
    let (slot, spi) = (SaSlot(1), Spi::new(0x9999).expect("an SPI"));
    assert_eq!(c.apply(Command::RemoveSa { slot, spi }, NOW), Err(Refusal::NoSuchSa));
    let unknown = Command::AcquireFailed { policy: PolicyId(77), retry_ms: 1 };
    assert_eq!(c.apply(unknown, NOW), Err(Refusal::NoSuchPolicy));
    // An engine that lacks the suite.
    let mut ring = Control::new(CpuKeys::new(&[CpuEngineKind::Ring]).expect("keys"), 8);
    ring.apply(Command::PolicyBegin { generation: 1, count: 0 }, NOW).expect("open");
    let spec = SaSpec { slot: SaSlot(1), ..a_to_b(Side::B, "aes-256-cbc/sha256") };
    assert_eq!(ring.apply(Command::InstallSa(Box::new(spec)), NOW), Err(Refusal::NoEngine));
}

#[test]
fn lifetimes_in_seconds_speak_and_end() {
    let mut spec = a_to_b(Side::A, "aes-128-gcm");
    spec.lifetime.seconds = Limit { soft: 10, hard: 20 };
    let (slot, spi) = (spec.slot, spec.spi);
    let mut a = Side::A.gateway(&[spec]);
    let p = frame(Side::A, LAN, &udp(Side::A.host(false), Side::B.host(false), 1, 2, b"x"));
    use fastpath::offline::Outcome;
    use ipc::contract::{Event, Expiry::Seconds};
    assert_eq!(a.advance(Duration::from_secs(9)), []);
    assert_eq!(
        a.advance(Duration::from_secs(1)),
        [Outcome::Event(Event::SoftExpire { slot, spi, why: Seconds })]
    );
    assert!(matches!(a.run(LAN, &p)[..], [Outcome::Sent { .. }]));
    assert_eq!(
        a.advance(Duration::from_secs(10)),
        [Outcome::Event(Event::HardExpire { slot, spi, why: Seconds })]
    );
    assert_eq!(a.run(LAN, &p), [Outcome::Dropped(DropReason::SaExpiredOut)]);
}

#[test]
fn levels_and_actions_decide() {
    use fastpath::offline::Outcome;
    let action = |action| {
        let mut setup = Side::A.setup();
        setup.policies = vec![policy(1, Side::A.lan(false), Side::B.lan(false), action)];
        let p = frame(Side::A, LAN, &udp(Side::A.host(false), Side::B.host(false), 1, 2, b"x"));
        gateway(&setup).run(LAN, &p)
    };
    let level = |level| Action::Encrypt { level, tunnel: true };
    assert_eq!(action(Action::Discard), [Outcome::Dropped(DropReason::Discard)]);
    assert_eq!(dropped(&action(level(Level::Require))), Some(DropReason::NoSa));
    assert_eq!(dropped(&action(level(Level::Unique))), Some(DropReason::NoSa));
    for open in [Action::Bypass, level(Level::Use)] {
        let (port, packet) = sent(&action(open));
        assert_eq!((port, packet[8], packet[9]), (WAN, 63, 17), "in clear, one hop less");
    }
}

#[test]
fn packets_too_big_for_the_tunnel_are_reported_with_what_would_fit() {
    let mut a = Side::A.gateway(&[a_to_b(Side::A, "aes-128-gcm")]);
    let of = |len: usize| {
        frame(Side::A, LAN, &udp(Side::A.host(false), Side::B.host(false), 1, 2, &vec![7; len - 28]))
    };
    // 20 + 8 + 8 in front, 16 behind, trailer of 2 on a multiple of 4: 1446 inner bytes make 1500.
    let (_, largest) = sent(&a.run(LAN, &of(1446)));
    assert_eq!(largest.len(), 1500);
    assert_eq!(dropped(&a.run(LAN, &of(1447))), Some(DropReason::TooBig));
}

#[test]
fn what_may_be_fragmented_is_before_encryption() {
    use fastpath::offline::Outcome;
    let mut a = Side::A.gateway(&[a_to_b(Side::A, "aes-128-gcm")]);
    let mut b = Side::B.gateway(&[a_to_b(Side::B, "aes-128-gcm")]);
    let payload: Vec<u8> = (0..3000u32).map(|n| n as u8).collect();
    let mut big = udp(Side::A.host(false), Side::B.host(false), 1, 2, &payload);
    big[6] = 0; // DF off
    let big = with_ttl(&big, 64);
    let outcomes = a.run(LAN, &frame(Side::A, LAN, &big));
    assert_eq!(outcomes.len(), 3);
    let mut whole = Vec::new();
    for outcome in outcomes {
        let Outcome::Sent { port: WAN, frame: sealed } = outcome else { panic!("{outcome:?}") };
        assert!(sealed.len() <= 1514);
        let inner = sent(&b.run(WAN, &frame(Side::B, WAN, &sealed[14..]))).1;
        let parsed = wire::ip::Packet::parse(&inner).expect("a packet");
        let place = parsed.fragment.expect("a fragment");
        assert_eq!(usize::from(place.offset), whole.len(), "in order");
        whole.extend_from_slice(parsed.upper(&inner));
        assert_eq!(place.more, whole.len() < 3008);
    }
    assert_eq!(whole, big[20..]);
    // A piece of a piece: its offset and its "more" stay right.
    let mut later = packet(Side::A.host(false), Side::B.host(false), 17, &payload[..1400]);
    later[6..8].copy_from_slice(&(0x2000u16 | 100).to_be_bytes());
    let clear_policy = policy(1, Side::A.lan(false), Side::B.lan(false), Action::Bypass);
    let mut setup = Side::A.setup();
    setup.interfaces[1].mtu = 1000;
    setup.policies = vec![clear_policy];
    let outcomes = gateway(&setup).run(LAN, &frame(Side::A, LAN, &with_ttl(&later, 64)));
    let places: Vec<_> = outcomes
        .iter()
        .map(|o| {
            if let Outcome::Sent { frame, .. } = o {
                wire::ip::Packet::parse(&frame[14..]).expect("a packet").fragment
            } else {
                None
            }
        })
        .collect();
    let place = |offset| Some(wire::ip::Fragment { offset, more: true });
    assert_eq!(places, [place(800), place(800 + 976)]);
}
