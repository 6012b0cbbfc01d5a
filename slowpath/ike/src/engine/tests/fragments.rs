//! Messages in fragments (RFC 7383), and row B15.
use super::hostile::spis_of;
use super::pair::*;
use crate::api::*;
use crate::engine::Refused;
use crate::message::*;

fn sized(seed: u64, a: u16, b: u16) -> Pair {
    let (mut on_a, mut on_b) = (config(A, "secret"), config(B, "secret"));
    on_a.peers[0].profile.extensions.fragment_size = a;
    on_b.peers[0].profile.extensions.fragment_size = b;
    Pair::with(seed, on_a, on_b)
}
/// What follows IKE_SA_INIT, by sender.
fn lengths(pair: &Pair, from: usize) -> Vec<usize> {
    let protected = pair.wire.iter().filter(|(n, d)| *n == from && d.payload[18] != 34);
    protected.map(|(_, d)| d.payload.len()).collect()
}

//= test rfc7383#2.3/negotiate
//= test rfc7383#2.5/bound
#[test]
fn messages_are_split_when_both_ends_can_put_them_together() {
    for (a, b, split) in [
        (256, 256, [true, true]),
        (256, 1280, [true, false]),
        (0, 256, [false, false]),
        (256, 0, [false, false]),
    ] {
        let mut pair = sized(60, a, b);
        pair.record = true;
        pair.start();
        pair.run(secs(2));
        pair.assert_up(1);
        pair.input(A, Input::RekeyIke { peer: "to-b".into() });
        pair.run(secs(90));
        let slot = pair.inbound(B).0;
        pair.input(B, Input::RekeyChild { slot });
        pair.run(secs(10));
        pair.assert_up(1);
        let parts = |n: usize| pair.wire.iter().filter(|(from, d)| *from == n && d.payload[16] == 53).count();
        for n in [A, B] {
            let longest = lengths(&pair, n).into_iter().max().unwrap();
            assert!(longest <= 256 - 28 || !split[n], "{a} {b}: node {n} sent {longest} bytes");
            assert!(parts(n) == 0 || split[n], "{a} {b}: node {n} sent fragments");
            assert_eq!(pair.nodes[n].engine.fragments.held(), 0);
        }
        assert_eq!(parts(A) > 0, split[A], "{a} {b}");
    }
}

#[test]
fn fragments_cross_a_bad_network_and_outlive_a_restart() {
    for seed in 0..4 {
        let mut pair = sized(seed, 256, 256);
        (pair.loss, pair.duplicates, pair.latency) = (20, 20, (5, 400));
        pair.start();
        pair.run(secs(60));
        for turn in 0..6 {
            let n = turn % 2;
            pair.restart(n);
            if let Some(c) = pair.nodes[n].engine.children(pair.now).first() {
                let slot = c.inbound.0;
                pair.input(n, Input::RekeyChild { slot });
            }
            pair.run(secs(3));
            pair.restart(1 - n);
            pair.run(secs(20));
        }
        pair.loss = 0;
        pair.run(secs(130));
        pair.assert_up(1);
        for n in [A, B] {
            assert_eq!(pair.nodes[n].engine.fragments.held(), 0, "seed {seed}");
        }
    }
}

/// An authentic request from the other end, in fragments of about `bound` bytes.
fn request(pair: &Pair, n: usize, id: u32, len: usize, bound: usize) -> Vec<Datagram> {
    let spi = spis_of(pair, n)[0];
    let sa = &pair.nodes[n].engine.sas[&spi];
    let header = Header {
        spi_i: sa.spi_i(),
        spi_r: sa.spi_r(),
        exchange: ExchangeType::INFORMATIONAL,
        initiator: !sa.initiator,
        response: false,
        message_id: id,
    };
    let filling = vec![Payload::VendorId(vec![7; len])];
    let inner = Inner::of(&Message::new(header, filling));
    let keys = sa.keys.as_ref().unwrap().keys.receiving(sa.initiator);
    let sealed = inner.seal_within(bound, keys, &mut Seeded::new(u64::from(id) + bound as u64)).unwrap();
    sealed.into_iter().map(|payload| Datagram { local: sa.local, remote: sa.remote, payload }).collect()
}
fn ready(seed: u64) -> Pair {
    let mut pair = Pair::up(seed);
    pair.run(secs(5));
    pair.record = true;
    pair.loss = 100;
    pair.wire.clear();
    pair
}
fn give(pair: &mut Pair, d: &Datagram) -> usize {
    let before = pair.wire.len();
    pair.input(B, Input::Datagram(d.clone()));
    pair.wire.len() - before
}
fn at(mut d: Datagram, offset: usize, value: u16) -> Datagram {
    d.payload[offset..offset + 2].copy_from_slice(&value.to_be_bytes());
    d
}
fn pieces(pair: &Pair) -> usize {
    pair.nodes[B].engine.sas.values().map(|sa| sa.pieces.len()).sum()
}

//= test rfc7383#2.5/numbers
//= test rfc7383#2.6/authentic
#[test]
fn b15_wrong_fragments_use_nothing_up() {
    let mut pair = ready(61);
    let all = request(&pair, B, 2, 2000, 600);
    assert!(all.len() >= 4);
    let total = all.len() as u16;
    // Numbers and totals that make no sense, or that no ICV covers.
    for (number, of) in [
        (0, total),
        (total + 1, total),
        (1, 0),
        (0, 0),
        (1, 65),
        (65, 65),
        (1, 65535),
        (65535, 65535),
        (1, total - 1),
        (2, total),
    ] {
        let bad = at(at(all[0].clone(), 32, number), 34, of);
        assert_eq!(give(&mut pair, &bad), 0, "{number} of {of}");
        assert_eq!((pieces(&pair), pair.nodes[B].engine.fragments.held()), (0, 0), "{number} of {of}");
    }
    // Each one first damaged, then right, the last one first.
    for (n, d) in all.iter().enumerate().rev() {
        let mut bad = d.clone();
        let last = bad.payload.len() - 1;
        bad.payload[last] ^= 1;
        assert_eq!(give(&mut pair, &bad), 0);
        assert_eq!(give(&mut pair, d), usize::from(n == 0), "answered once it is whole");
    }
    assert_eq!(pieces(&pair), 0);
    assert_eq!(pair.nodes[B].engine.counters().refused(Refused::NotAuthentic), 2 + u64::from(total));
}

//= test rfc7383#2.6/known
//= test rfc7383#2.6/finer
#[test]
fn b15_another_division_and_the_same_number_twice() {
    let mut pair = ready(62);
    let (coarse, fine) = (request(&pair, B, 2, 2000, 900), request(&pair, B, 2, 2000, 400));
    assert!(coarse.len() < fine.len());
    assert_eq!(give(&mut pair, &coarse[0]), 0);
    assert_eq!(give(&mut pair, &coarse[0]), 0, "twice the same");
    // A finer division takes the place of the coarser one, whose fragments are then dropped.
    assert_eq!(give(&mut pair, &fine[0]), 0);
    for d in &coarse[1..] {
        assert_eq!(give(&mut pair, d), 0);
    }
    // Another message's fragment with the same number and id does not replace the one that is there.
    let other = request(&pair, B, 2, 2001, 400);
    assert_eq!(other.len(), fine.len());
    assert_eq!(give(&mut pair, &other[0]), 0);
    for (n, d) in fine.iter().enumerate().skip(1) {
        assert_eq!(give(&mut pair, d), usize::from(n + 1 == fine.len()));
    }
    assert_eq!((pieces(&pair), pair.nodes[B].engine.fragments.held()), (0, 0));
}

#[test]
fn b15_the_number_of_messages_their_bytes_and_time_are_bounded() {
    let mut pair = ready(63);
    let all = request(&pair, B, 2, 2000, 600);
    give(&mut pair, &all[0]);
    // Ids outside the window open no set, whatever they are.
    for id in (0..100_000u32).filter(|id| *id != 2) {
        let mut d = all[1].clone();
        d.payload[20..24].copy_from_slice(&id.to_be_bytes());
        pair.input(B, Input::Datagram(d));
    }
    assert_eq!(pieces(&pair), 1);
    let held = pair.nodes[B].engine.fragments.held();
    assert!((100..2000).contains(&held), "{held}");
    // More than a message may have.
    let long = request(&pair, B, 2, 60_000, 40_000);
    assert_eq!(long.len(), 2);
    pair.run(secs(31));
    assert_eq!(
        (pieces(&pair), pair.nodes[B].engine.fragments.held()),
        (0, 0),
        "forgotten when its time is over"
    );
    let spi = spis_of(&pair, B)[0];
    let sa = pair.nodes[B].engine.sas.get_mut(&spi).unwrap();
    assert_eq!(sa.window.expect, 2, "its id is not used up");
    for d in &long {
        give(&mut pair, d);
    }
    let again = request(&pair, B, 3, 2000, 600);
    for d in &again[1..] {
        assert_eq!(give(&mut pair, d), 0);
    }
    assert_eq!(give(&mut pair, &again[0]), 1, "the last one missing");
    let keys = {
        let sa = &pair.nodes[B].engine.sas[&spi];
        sa.keys.as_ref().unwrap().keys.sending(sa.initiator).clone()
    };
    assert!(open(&pair.wire.last().unwrap().1.payload, &keys).is_ok());
}

#[test]
fn b15_fragments_and_whole_messages_mixed() {
    let mut pair = ready(64);
    let (parts, whole) = (request(&pair, B, 2, 2000, 600), request(&pair, B, 2, 2000, 9000));
    assert_eq!(whole.len(), 1);
    give(&mut pair, &parts[0]);
    assert_eq!(give(&mut pair, &whole[0]), 1);
    for d in &parts[1..] {
        assert_eq!(give(&mut pair, d), 0, "that id is answered");
    }
    pair.run(secs(31));
    assert_eq!((pieces(&pair), pair.nodes[B].engine.fragments.held()), (0, 0));
    // The first payload's type on a later fragment says nothing.
    let mut odd = request(&pair, B, 3, 2000, 600);
    let spi = spis_of(&pair, B)[0];
    let sa = &pair.nodes[B].engine.sas[&spi];
    let keys = sa.keys.as_ref().unwrap().keys.receiving(sa.initiator).clone();
    let Fragment { number, total, plain, .. } = Fragment::open(&odd[1].payload, &keys).unwrap();
    let mut head = odd[1].payload[..36].to_vec();
    head[28] = 37;
    keys.seal(&mut head, &[3; 16], &plain).unwrap();
    odd[1].payload = head;
    assert_eq!((number, total), (2, odd.len() as u16));
    let answered: usize = odd.iter().map(|d| give(&mut pair, d)).sum();
    assert_eq!(answered, 1);
    assert!(pair.errors(B).is_empty(), "{:?}", pair.errors(B));
}

#[test]
fn b15_fragments_nobody_has_agreed_on_are_refused() {
    let mut pair = sized(65, 1280, 0);
    pair.start();
    pair.run(secs(5));
    pair.record = true;
    pair.loss = 100;
    for d in request(&pair, B, 2, 2000, 600) {
        assert_eq!(give(&mut pair, &d), 0);
    }
    assert_eq!(pieces(&pair), 0);
    assert!(pair.nodes[B].engine.counters().refused(Refused::NotInThisState) >= 4);
}

//= test rfc7383#2.6.1/replay
#[test]
fn b15_a_repeated_request_is_answered_at_its_first_fragment() {
    let mut pair = sized(66, 1280, 256);
    pair.start();
    pair.run(secs(5));
    pair.record = true;
    pair.loss = 100;
    let all = request(&pair, B, 2, 2000, 600);
    for d in &all {
        give(&mut pair, d);
    }
    let answer: Vec<Vec<u8>> = pair.wire.iter().map(|(_, d)| d.payload.clone()).collect();
    pair.run(ms(150));
    pair.wire.clear();
    for d in all.iter().rev() {
        give(&mut pair, d);
    }
    let again: Vec<Vec<u8>> = pair.wire.iter().map(|(_, d)| d.payload.clone()).collect();
    assert_eq!(again, answer, "the same bytes, once");
    // Divided anew it is still the same request; a forged first fragment is not.
    pair.run(ms(150));
    pair.wire.clear();
    let finer = request(&pair, B, 2, 2000, 400);
    let mut forged = finer[0].clone();
    forged.payload[40] ^= 1;
    assert_eq!(give(&mut pair, &forged), 0);
    assert_eq!(give(&mut pair, &finer[0]), answer.len());
}

// What those who have not said who they are make us keep is bounded for all of them together.
#[test]
fn b15_memory_of_all_fragments_is_bounded() {
    let budget = crate::engine::fragment::Budget::default();
    let held: Vec<_> = std::iter::from_fn(|| budget.take(60_000, 1 << 20)).collect();
    assert_eq!(held.len(), (1 << 20) / 60_000);
    assert!(budget.take(60_000, 2 << 20).is_some(), "who is known has more");
    drop(held);
    assert_eq!(budget.held(), 0);
}
