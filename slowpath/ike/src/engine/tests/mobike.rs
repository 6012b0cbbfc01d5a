//! MOBIKE (RFC 4555) and row C13: an IKE SA and its children move when the other end has answered from there.
use super::hostile::{With, message, spis_of};
use super::pair::*;
use crate::api::*;
use crate::message::*;
use std::net::{IpAddr, SocketAddr};

fn other() -> IpAddr {
    "192.0.2.77".parse().unwrap()
}
/// A gets another address, as an edit of its configuration.
fn move_a(pair: &mut Pair, to: IpAddr) {
    pair.nodes[A].config.peers[0].local_address = Some(to);
    pair.configure(A);
}
fn ends(pair: &Pair, n: usize) -> Vec<(IpAddr, IpAddr)> {
    pair.nodes[n].table.values().map(|sa| (sa.ends.local, sa.ends.remote)).collect()
}
fn told(kind: NotifyType, data: Vec<u8>) -> Payload {
    Payload::Notify(Notify::new(kind, data))
}

//= test rfc4555#3.3/float
//= test rfc4555#3.5/initiator-decides
#[test]
fn an_initiator_moves_with_its_tunnels() {
    for loss in [0, 30] {
        for seed in 0..4 {
            let mut pair = Pair::up(seed);
            pair.record = true;
            (pair.data, pair.loss, pair.latency) = (true, loss, (5, 100));
            move_a(&mut pair, other());
            pair.run(secs(70));
            pair.loss = 0;
            pair.run(secs(60));
            pair.assert_up(1);
            pair.assert_no_loss();
            for (n, wanted) in [(A, (other(), addr(B))), (B, (addr(B), other()))] {
                assert_eq!(ends(&pair, n), [wanted, wanted], "seed {seed}");
                let status = &pair.nodes[n].engine.peers(pair.now)[0];
                assert_eq!((status.local.ip(), status.remote.ip()), wanted);
                assert_eq!((status.local.port(), status.remote.port(), status.natt), (4500, 4500, false));
            }
            // Once more, and back, across a rekey of the IKE SA and a restart of each end.
            pair.input(A, Input::RekeyIke { peer: "to-b".into() });
            pair.run(secs(90));
            pair.restart(A);
            pair.restart(B);
            move_a(&mut pair, addr(A));
            pair.run(secs(10));
            pair.assert_up(1);
            assert_eq!(ends(&pair, B), [(addr(B), addr(A)); 2]);
        }
    }
}

#[test]
fn without_mobike_nothing_moves() {
    for end in [A, B] {
        let (mut a, mut b) = (config(A, "secret"), config(B, "secret"));
        let which = if end == A { &mut a } else { &mut b };
        which.peers[0].profile.extensions.mobike = false;
        let mut pair = Pair::with(70, a, b);
        pair.start();
        pair.run(secs(2));
        pair.assert_up(1);
        move_a(&mut pair, other());
        pair.run(secs(10));
        assert_eq!(ends(&pair, B), [(addr(B), addr(A)); 2]);
    }
}

/// B with an IKE SA from A; what A would send is made here.
fn ready(seed: u64) -> (Pair, u64) {
    let mut pair = Pair::up(seed);
    pair.run(secs(5));
    pair.loss = 100;
    pair.record = true;
    pair.wire.clear();
    let spi = spis_of(&pair, B)[0];
    (pair, spi)
}
fn update(pair: &mut Pair, spi: u64, id: u32, from: SocketAddr, more: Vec<Payload>) -> Vec<Payload> {
    let local = pair.nodes[B].engine.sas[&spi].local;
    let (spi_i, spi_r) = (pair.nodes[B].engine.sas[&spi].spi_i(), spi);
    let hash = |at| crate::crypto::nat_detection(spi_i, spi_r, at).to_vec();
    let mut payloads = vec![
        told(NotifyType::UPDATE_SA_ADDRESSES, vec![]),
        told(NotifyType::NAT_DETECTION_SOURCE_IP, hash(from)),
        told(NotifyType::NAT_DETECTION_DESTINATION_IP, hash(local)),
    ];
    payloads.extend(more);
    let mut d = message(pair, B, spi, (37, true, false, id), payloads, With::Keys).unwrap();
    d.remote = from;
    pair.wire.clear();
    pair.input(B, Input::Datagram(d));
    let sa = &pair.nodes[B].engine.sas[&spi];
    let keys = sa.keys.as_ref().unwrap().keys.sending(sa.initiator).clone();
    open(&pair.wire[0].1.payload, &keys).unwrap().payloads
}
/// The question that B asks on the new path: where it went, its id, and the cookie.
fn question(pair: &Pair, spi: u64) -> Option<(SocketAddr, u32, Vec<u8>)> {
    let sa = &pair.nodes[B].engine.sas[&spi];
    let keys = sa.keys.as_ref()?.keys.sending(sa.initiator).clone();
    pair.wire.iter().rev().find_map(|(_, d)| {
        let asked = open(&d.payload, &keys).ok().filter(|m| !m.header.response)?;
        let cookie = asked.notify(NotifyType::COOKIE2)?.data.clone();
        Some((d.remote, asked.header.message_id, cookie))
    })
}
fn answer(pair: &mut Pair, spi: u64, id: u32, payloads: Vec<Payload>) {
    let d = message(pair, B, spi, (37, true, true, id), payloads, With::Keys).unwrap();
    pair.input(B, Input::Datagram(d));
}

//= test rfc4555#3.7/mismatch
//= test rfc4555#4.2.5/cookie2
#[test]
fn c13_nothing_moves_before_the_new_address_has_answered() {
    let place = SocketAddr::new(other(), 4500);
    // The question is answered right, wrong, without a cookie, or never.
    for (case, moved, alive) in
        [("right", true, true), ("wrong", false, false), ("none", false, false), ("silent", false, false)]
    {
        let (mut pair, spi) = ready(71);
        let before = ends(&pair, B);
        update(&mut pair, spi, 2, place, vec![told(NotifyType::COOKIE2, vec![9; 16])]);
        let (to, id, cookie) = question(&pair, spi).expect("B asks");
        assert_eq!(to, place);
        assert_eq!(ends(&pair, B), before, "not yet");
        match case {
            "right" => answer(&mut pair, spi, id, vec![told(NotifyType::COOKIE2, cookie)]),
            "wrong" => answer(&mut pair, spi, id, vec![told(NotifyType::COOKIE2, vec![1; 32])]),
            "none" => answer(&mut pair, spi, id, vec![]),
            _ => pair.run(secs(90)),
        }
        assert_eq!(pair.nodes[B].engine.sas.get(&spi).is_some_and(|sa| sa.is_established()), alive, "{case}");
        assert_eq!(ends(&pair, B) == [(addr(B), other()); 2], moved, "{case}");
        assert!(alive || pair.nodes[B].table.is_empty(), "{case}");
    }
}

#[test]
fn c13_the_newest_address_counts_and_an_answer_from_the_one_before_moves_nothing() {
    let (mut pair, spi) = ready(72);
    let (first, second) = (SocketAddr::new(other(), 4500), SocketAddr::new(nat_addr(), 4500));
    update(&mut pair, spi, 2, first, vec![]);
    let (_, id, cookie) = question(&pair, spi).unwrap();
    update(&mut pair, spi, 3, second, vec![]);
    answer(&mut pair, spi, id, vec![told(NotifyType::COOKIE2, cookie)]);
    assert_eq!(ends(&pair, B), [(addr(B), addr(A)); 2]);
    let (to, id, cookie) = question(&pair, spi).unwrap();
    assert_eq!(to, second);
    answer(&mut pair, spi, id, vec![told(NotifyType::COOKIE2, cookie)]);
    assert_eq!(ends(&pair, B), [(addr(B), nat_addr()); 2]);
}

//= test rfc4555#3.9/nat-prohibition
#[test]
fn c13_forbidden_nats_and_notifies_that_say_nothing() {
    let (mut pair, spi) = ready(73);
    let place = SocketAddr::new(other(), 4500);
    let honest =
        [[192, 0, 2, 77, 192, 0, 2, 2].as_slice(), &4500u16.to_be_bytes(), &4500u16.to_be_bytes()].concat();
    let mut id = 2;
    for data in [vec![], vec![0; 12], vec![1; 36], honest[..11].to_vec(), [&honest[..], &[0]].concat()] {
        let said = update(&mut pair, spi, id, place, vec![told(NotifyType::NO_NATS_ALLOWED, data)]);
        let [Payload::Notify(error)] = said.as_slice() else { panic!("{said:?}") };
        assert_eq!(error.kind, NotifyType::UNEXPECTED_NAT_DETECTED);
        assert!(question(&pair, spi).is_none());
        id += 1;
    }
    let said = update(&mut pair, spi, id, place, vec![told(NotifyType::NO_NATS_ALLOWED, honest)]);
    assert!(said.iter().all(|p| !matches!(p, Payload::Notify(n) if n.kind.is_error())));
    assert!(question(&pair, spi).is_some());
    // Lists of addresses are bounded, broken ones ignored.
    let many = (0..30).map(|n| told(NotifyType::ADDITIONAL_IP4_ADDRESS, vec![10, 0, 0, n])).collect();
    update(&mut pair, spi, id + 1, place, many);
    assert_eq!(pair.nodes[B].engine.sas[&spi].agreed.addresses.len(), 8);
    let broken = vec![told(NotifyType::ADDITIONAL_IP4_ADDRESS, vec![1, 2, 3])];
    update(&mut pair, spi, id + 2, place, broken);
    assert_eq!(pair.nodes[B].engine.sas[&spi].agreed.addresses.len(), 8);
    update(&mut pair, spi, id + 3, place, vec![told(NotifyType::NO_ADDITIONAL_ADDRESSES, vec![])]);
    assert!(pair.nodes[B].engine.sas[&spi].agreed.addresses.is_empty());
}

// A retransmission, and an old message from a new place, move nothing; a responder does not move an initiator.
#[test]
fn c14_repeats_and_replays_from_elsewhere_move_nothing() {
    let (mut pair, spi) = ready(74);
    let d = message(&mut pair, B, spi, (37, true, false, 2), vec![], With::Keys).unwrap();
    pair.input(B, Input::Datagram(d.clone()));
    for n in 0..100u16 {
        let mut moved = d.clone();
        moved.remote = SocketAddr::new(other(), 4500 + n);
        pair.input(B, Input::Datagram(moved));
    }
    let d = message(&mut pair, B, spi, (37, true, false, 3), vec![], With::Keys).unwrap();
    let mut moved = d;
    moved.remote = SocketAddr::new(other(), 4500);
    pair.input(B, Input::Datagram(moved));
    assert_eq!(ends(&pair, B), [(addr(B), addr(A)); 2]);
    assert_eq!(pair.nodes[B].engine.sas[&spi].remote.ip(), addr(A));

    let mut pair = Pair::up(75);
    let spi = spis_of(&pair, A)[0];
    pair.loss = 100;
    let payloads = vec![told(NotifyType::UPDATE_SA_ADDRESSES, vec![])];
    let mut d = message(&mut pair, A, spi, (37, false, false, 0), payloads, With::Keys).unwrap();
    d.remote = SocketAddr::new(other(), 4500);
    pair.input(A, Input::Datagram(d));
    assert!(pair.nodes[A].engine.sas[&spi].detour.is_none());
}

//= test rfc4555#3.8/natd-in-dpd
#[test]
fn j4_another_port_at_the_nat_is_found_by_a_sign_of_life() {
    let mut pair = Pair::new(76);
    pair.nodes[A].config.peers[0].profile.dpd_interval = Some(secs(10));
    pair.nat = true;
    pair.nodes[B].config.peers[0].address = sa::Prefix::host(nat_addr());
    pair.start();
    pair.run(secs(25));
    pair.assert_up(1);
    pair.nat_port = 5501;
    pair.run(secs(30));
    pair.assert_up(1);
    assert_eq!(pair.nodes[B].engine.peers(pair.now)[0].remote.port(), 5501);
    assert!(pair.nodes[B].table.values().all(|sa| sa.encap.is_some_and(|e| e.remote_port == 5501)));
}
