//! Public-key operations that come back later, in another order, twice, not at all, or after what they were for.
use super::certificates;
use super::pair::*;
use crate::api::*;
use crate::engine::{Engine, Refused};
use crate::job::{Done, Job};
use std::net::SocketAddr;

type Asked = (u64, Job);
fn step(pair: &mut Pair, input: Input) -> (Vec<Asked>, Vec<Action>) {
    let (mut out, mut asked, mut other) = (vec![], vec![], vec![]);
    pair.nodes[B].engine.handle(input, pair.now, &mut out);
    for action in out {
        match action {
            Action::Compute { id, job, .. } => asked.push((id, job)),
            action => other.push(action),
        }
    }
    (asked, other)
}
fn computed((id, job): &Asked) -> Input {
    Input::Computed { id: *id, done: job.clone().run() }
}
fn sent(actions: &[Action]) -> Vec<Datagram> {
    let all = actions.iter().filter_map(|action| match action {
        Action::Send(d) => Some(d.clone()),
        _ => None,
    });
    all.collect()
}
fn back(d: &Datagram) -> Input {
    Input::Datagram(Datagram { local: d.remote, remote: d.local, payload: d.payload.clone() })
}
fn refused(pair: &Pair, why: Refused) -> u64 {
    pair.nodes[B].engine.counters().refused(why)
}
/// A calls, and B is reached by hand. A's request.
fn called(mut pair: Pair, limit: usize) -> (Pair, Input) {
    pair.record = true;
    pair.loss = 100;
    pair.compute_beside(B, limit);
    pair.start();
    pair.run(ms(1));
    let first = back(&pair.wire[0].1);
    (pair, first)
}
/// B has A's IKE_AUTH, whose signatures it has asked for.
fn authenticating() -> (Pair, Input, Asked) {
    let (a, b) = certificates::usual();
    let (mut pair, first) = called(certificates::pair(vec![a], vec![b]), 8);
    let (asked, _) = step(&mut pair, first);
    let (_, answer) = step(&mut pair, computed(&asked[0]));
    pair.wire.clear();
    pair.input(A, back(&sent(&answer)[0]));
    let auth = back(&pair.wire[0].1);
    let (mut asked, other) = step(&mut pair, auth.clone());
    assert!(asked.len() == 1 && other.is_empty(), "{other:?}");
    (pair, auth, asked.remove(0))
}
fn is_empty(engine: &Engine) -> bool {
    engine.beside.is_empty() && engine.peers(Now::ZERO).iter().all(|p| p.state != "established")
}

#[test]
fn a_caller_is_answered_when_its_key_exchange_is_made_and_not_twice() {
    let (mut pair, first) = called(Pair::new(1), 8);
    let (asked, other) = step(&mut pair, first.clone());
    assert!(asked.len() == 1 && other.is_empty());
    let (again, other) = step(&mut pair, first.clone());
    assert!(again.is_empty() && other.is_empty() && refused(&pair, Refused::Retransmit) == 1);
    let (_, answer) = step(&mut pair, computed(&asked[0]));
    let answer = sent(&answer);
    assert_eq!(answer.len(), 1);
    // Nobody asked for this any more.
    assert!(sent(&step(&mut pair, computed(&asked[0])).1).is_empty());
    assert_eq!(sent(&step(&mut pair, first).1), answer, "the same bytes as before");
    pair.loss = 0;
    pair.input(A, back(&answer[0]));
    pair.run(secs(5));
    pair.assert_up(1);
}
#[test]
fn answers_come_in_any_order() {
    let (mut pair, first) = called(Pair::new(2), 64);
    let Input::Datagram(d) = &first else { panic!() };
    let caller = |n: u8| {
        let mut d = d.clone();
        d.payload[..8].copy_from_slice(&[n + 1; 8]);
        Input::Datagram(d)
    };
    let asked: Vec<Asked> = (0..20).flat_map(|n| step(&mut pair, caller(n)).0).collect();
    assert_eq!(asked.len(), 20);
    for (n, job) in asked.iter().enumerate().rev() {
        let answer = sent(&step(&mut pair, computed(job)).1);
        assert_eq!(answer[0].payload[..8], [n as u8 + 1; 8], "to its own caller");
    }
    assert!(pair.nodes[B].engine.beside.is_empty());
}
//= test rfc7296#2.6/demand
#[test]
fn i1_callers_that_wait_count_as_half_open_and_are_bounded() {
    let mut config = config(B, "secret");
    config.ddos_cookie_threshold = 4;
    for (limit, told) in [(64, Refused::CookieDemanded), (3, Refused::NoResources)] {
        let (mut pair, first) = called(Pair::with(3, super::config(A, "secret"), config.clone()), limit);
        let Input::Datagram(d) = first else { panic!() };
        let mut asked = vec![];
        for n in 0..10u16 {
            let mut d = d.clone();
            d.remote = SocketAddr::new(d.remote.ip(), 5000 + n);
            asked.extend(step(&mut pair, Input::Datagram(d)).0);
        }
        assert_eq!(asked.len(), limit.min(4));
        assert_eq!(refused(&pair, told), 10 - asked.len() as u64);
        // There is room again for as many as come back.
        step(&mut pair, computed(&asked[0]));
        let (more, other) = step(&mut pair, Input::Datagram(d));
        assert_eq!((more.len(), sent(&other).len()), if limit == 3 { (1, 0) } else { (0, 1) });
    }
}
#[test]
fn a_thread_that_fails_costs_one_repetition() {
    let (mut pair, first) = called(Pair::new(4), 8);
    let (asked, _) = step(&mut pair, first.clone());
    let (_, other) = step(&mut pair, Input::Computed { id: asked[0].0, done: Done::nothing() });
    assert!(other.is_empty() && is_empty(&pair.nodes[B].engine));
    let (asked, _) = step(&mut pair, first);
    assert_eq!(sent(&step(&mut pair, computed(&asked[0])).1).len(), 1);

    let (mut pair, auth, asked) = authenticating();
    let (_, other) = step(&mut pair, Input::Computed { id: asked.0, done: Done::nothing() });
    assert!(other.is_empty() && is_empty(&pair.nodes[B].engine));
    let (asked, _) = step(&mut pair, auth);
    assert_eq!(sent(&step(&mut pair, computed(&asked[0])).1).len(), 1);
}
#[test]
fn signatures_take_their_time_and_repetitions_wait() {
    let (mut pair, auth, asked) = authenticating();
    for _ in 0..3 {
        let (again, other) = step(&mut pair, auth.clone());
        assert!(again.is_empty() && other.is_empty());
    }
    assert_eq!(refused(&pair, Refused::Retransmit), 3);
    // Something else's result is none for it.
    let (_, other) = step(&mut pair, Input::Computed { id: asked.0 + 1, done: asked.1.clone().run() });
    assert!(other.is_empty() && !pair.nodes[B].engine.beside.is_empty());
    let mut out = vec![];
    pair.nodes[B].engine.handle(computed(&asked), pair.now, &mut out);
    let answer = sent(&out);
    assert_eq!(answer.len(), 1);
    assert!(out.iter().any(|action| matches!(action, Action::Install { .. })));
    pair.now += secs(1);
    assert_eq!(sent(&step(&mut pair, auth).1), answer, "the same bytes as before");
}
#[test]
fn an_ike_sa_that_ends_meanwhile_stays_ended() {
    for end in [Input::Terminate { peer: None }, Input::Tick] {
        let (mut pair, _, asked) = authenticating();
        pair.now += secs(40);
        step(&mut pair, end.clone());
        let (more, other) = step(&mut pair, computed(&asked));
        assert!(more.is_empty() && sent(&other).is_empty(), "{end:?}: {other:?}");
        assert!(
            !other.iter().any(|action| matches!(action, Action::Install { .. } | Action::Persist { .. }))
        );
        assert!(is_empty(&pair.nodes[B].engine), "{end:?}");
    }
}
/// What counts are the settings at the time of the answer.
#[test]
fn settings_that_change_meanwhile() {
    let other = {
        let mut other = certificates::usual().1;
        other.auth.theirs = Check::Missing("the file is gone".into());
        other
    };
    for (changed, up) in [(None, true), (Some(other), false)] {
        let (mut pair, _, asked) = authenticating();
        if let Some(identity) = changed {
            pair.nodes[B].config.peers[0].identities = vec![identity];
        }
        let mut out = vec![];
        pair.nodes[B].engine.configure(pair.nodes[B].config.clone(), pair.now, &mut out);
        let (_, other) = step(&mut pair, computed(&asked));
        let installed = other.iter().any(|action| matches!(action, Action::Install { .. }));
        assert_eq!(installed, up, "{other:?}");
    }
    // A caller whose peer is gone, and one whose peer is another now.
    for stays in [false, true] {
        let (mut pair, first) = called(Pair::new(7), 8);
        let (asked, _) = step(&mut pair, first);
        if !stays {
            pair.nodes[B].config.peers.clear();
        }
        pair.nodes[B].engine.configure(pair.nodes[B].config.clone(), pair.now, &mut vec![]);
        let (again, other) = step(&mut pair, computed(&asked[0]));
        assert!(sent(&other).is_empty());
        assert_eq!(again.len(), usize::from(stays), "asked for once more, for the new peer");
        for job in again {
            assert_eq!(sent(&step(&mut pair, computed(&job)).1).len(), 1);
        }
        assert!(pair.nodes[B].engine.beside.is_empty());
    }
}
/// A bad network, and both ends with operations that take as long as datagrams.
#[test]
fn j1_tunnels_with_certificates_come_up_over_a_bad_network() {
    for seed in 0..6 {
        let (a, b) = certificates::usual();
        let mut pair = certificates::pair(vec![a], vec![b]);
        pair.rng = Seeded::new(seed);
        (pair.loss, pair.duplicates, pair.latency) = (20, 20, (5, 700));
        pair.compute_beside(A, 8);
        pair.start();
        pair.run(secs(200));
        pair.loss = 0;
        pair.run(secs(100));
        pair.assert_up(1);
        assert!(pair.nodes[B].computed >= 2);
    }
}
