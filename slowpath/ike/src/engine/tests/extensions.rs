//! Childless IKE SAs, windows, redirects, lifetimes of authentication, hints: RFC 6023, 7296 2.3, 5685, 4478.
use super::hostile::{With, message, spis_of};
use super::pair::*;
use crate::api::*;
use crate::engine::Refused;
use crate::message::*;
use std::net::{IpAddr, SocketAddr};

fn told(kind: NotifyType, data: Vec<u8>) -> Payload {
    Payload::Notify(Notify::new(kind, data))
}
fn liveness(pair: &mut Pair, spi: u64, id: u32) -> Datagram {
    message(pair, B, spi, (37, true, false, id), vec![], With::Keys).unwrap()
}

//= test rfc7296#2.3/window
//= test rfc7296#2.3/forget
#[test]
fn c3_requests_within_the_window_are_answered_in_any_order_and_each_once() {
    let mut pair = Pair::up(80);
    pair.run(secs(5));
    (pair.record, pair.loss) = (true, 100);
    let spi = spis_of(&pair, B)[0];
    let give = |pair: &mut Pair, id: u32| -> Vec<Vec<u8>> {
        let d = liveness(pair, spi, id);
        pair.wire.clear();
        pair.input(B, Input::Datagram(d));
        pair.wire.iter().map(|(_, d)| d.payload.clone()).collect()
    };
    // Window 4: ids 2 to 5.
    let first: Vec<_> = [4, 5, 3].map(|id| give(&mut pair, id)).into();
    assert!(first.iter().all(|sent| sent.len() == 1));
    assert!(give(&mut pair, 6).is_empty(), "beyond the window");
    assert_eq!(pair.nodes[B].engine.sas[&spi].window.expect, 2);
    pair.run(ms(200));
    assert_eq!(give(&mut pair, 4), first[0], "the same bytes again");
    assert_eq!(give(&mut pair, 2).len(), 1);
    assert_eq!(pair.nodes[B].engine.sas[&spi].window.expect, 6);
    assert_eq!(pair.nodes[B].engine.sas[&spi].window.answered.len(), 4);
    pair.restart(B);
    pair.run(ms(200));
    assert_eq!(give(&mut pair, 5), first[1], "also after a restart");
    assert_eq!(give(&mut pair, 9).len(), 1);
    assert!(give(&mut pair, 10).is_empty() && give(&mut pair, 1).is_empty());
    // As many as one likes: what is kept is bounded.
    for id in 6..500 {
        give(&mut pair, id);
    }
    assert!(pair.nodes[B].engine.sas[&spi].window.answered.len() <= 4);
    assert_eq!(pair.nodes[B].engine.sas[&spi].window.expect, 500);
}

#[test]
fn c8_ids_far_beyond_the_window_cost_nothing() {
    let mut pair = Pair::up(81);
    pair.run(secs(5));
    (pair.record, pair.loss) = (true, 100);
    let spi = spis_of(&pair, B)[0];
    let d = liveness(&mut pair, spi, 2);
    for id in 6..100_000u32 {
        let mut d = d.clone();
        d.payload[20..24].copy_from_slice(&id.to_be_bytes());
        pair.input(B, Input::Datagram(d));
    }
    assert!(pair.wire.is_empty());
    assert_eq!(pair.nodes[B].engine.counters().refused(Refused::OutsideWindow), 100_000 - 6);
    assert!(pair.nodes[B].engine.sas[&spi].window.answered.len() <= 4);
}

//= test rfc6023#3/no-child
#[test]
fn a_peer_may_come_without_a_child() {
    for (allowed, up) in [(true, true), (false, false)] {
        let mut pair = Pair::new(82);
        pair.nodes[B].config.peers[0].profile.extensions.childless = allowed;
        pair.configure(B);
        let (mut stranger, mut out) = (node(9, pair.nodes[A].config.clone()), vec![]);
        stranger.engine.configure(stranger.config.clone(), pair.now, &mut out);
        stranger.engine.handle(Input::Tick, pair.now, &mut out);
        pair.record = true;
        pair.loss = 100;
        let over = |d: Datagram| Datagram { local: d.remote, remote: d.local, payload: d.payload };
        let sent = |out: &mut Vec<Action>| -> Vec<Datagram> {
            let sends = out.drain(..).filter_map(|a| if let Action::Send(d) = a { Some(d) } else { None });
            sends.collect()
        };
        let init = sent(&mut out).remove(0);
        pair.input(B, Input::Datagram(over(init)));
        let response = parse_clear(&pair.wire[0].1.payload).unwrap();
        assert_eq!(response.notify(NotifyType::CHILDLESS_IKEV2_SUPPORTED).is_some(), up);
        let answer = over(pair.wire[0].1.clone());
        stranger.engine.handle(Input::Datagram(answer), pair.now, &mut out);
        // Its IKE_AUTH, without what is about a child.
        let auth = sent(&mut out).remove(0);
        let keys = |n: &Node| {
            let sa = n.engine.sas.values().next().unwrap();
            sa.keys.as_ref().unwrap().keys.sending(sa.initiator).clone()
        };
        let mut message = open(&auth.payload, &keys(&stranger)).unwrap();
        message.payloads.retain(|p| !matches!(p, Payload::Sa(_) | Payload::TsI(_) | Payload::TsR(_)));
        let payload = seal(&message, &keys(&stranger), &mut Seeded::new(5)).unwrap();
        pair.wire.clear();
        pair.input(B, Input::Datagram(over(Datagram { payload, ..auth })));
        let answer = open(&pair.wire[0].1.payload, &keys(&pair.nodes[B])).unwrap();
        assert_eq!(answer.error().is_none(), up, "{:?}", answer.error());
        assert_eq!(pair.nodes[B].engine.peers(pair.now)[0].state, "established");
        assert!(
            pair.nodes[B].engine.children(pair.now).is_empty() && pair.nodes[B].engine.slots.owned() == 0
        );
    }
}

/// Sent to `to` when it calls; nobody is there.
fn elsewhere(follow: bool, to: [u8; 4]) -> Pair {
    let (mut a, mut b) = (config(A, "secret"), config(B, "secret"));
    a.peers[0].profile.extensions.follow_redirects = follow;
    b.extensions.redirect_to = Some(IpAddr::from(to));
    let mut pair = Pair::with(83, a, b);
    pair.record = true;
    pair.start();
    pair
}
fn calls(pair: &Pair) -> Vec<IpAddr> {
    let init = pair.wire.iter().filter(|(n, d)| *n == A && d.payload[18] == 34);
    init.map(|(_, d)| d.remote.ip()).collect()
}

//= test rfc5685#3/supported
//= test rfc5685#3/redirected-from
#[test]
fn c15_redirects_are_followed_by_who_wants_to() {
    let to = [192, 0, 2, 50];
    let mut pair = elsewhere(true, to);
    pair.run(ms(300));
    assert_eq!(calls(&pair)[..2], [addr(B), IpAddr::from(to)]);
    let second = pair.wire.iter().filter(|(n, _)| *n == A).nth(1).unwrap();
    let from =
        parse_clear(&second.1.payload).unwrap().notify(NotifyType::REDIRECTED_FROM).unwrap().data.clone();
    assert_eq!(from, [1, 4, 192, 0, 2, 2]);
    assert_eq!(pair.nodes[B].engine.counters().refused(Refused::Redirected), 1);
    assert!(pair.nodes[B].engine.sas.is_empty(), "nothing is kept for whom we send away");

    let mut pair = elsewhere(false, to);
    pair.run(secs(2));
    pair.assert_up(1);
}

//= test rfc5685#6/loops
#[test]
fn c15_redirects_that_go_round_end() {
    let mut pair = elsewhere(true, [192, 0, 2, 50]);
    // Whatever it calls, the answer sends it elsewhere.
    let mut sent = 0;
    for n in 0..20u8 {
        pair.run(ms(1));
        let Some((_, d)) = pair.wire.iter().rfind(|(n, d)| *n == A && d.payload[18] == 34).cloned() else {
            continue;
        };
        let request = parse_clear(&d.payload).unwrap();
        let data = [&[1, 4, 10, 0, 0, n][..], request.nonce().unwrap()].concat();
        let header = Header { spi_r: 0, initiator: false, response: true, ..request.header };
        let payload = Message::new(header, vec![told(NotifyType::REDIRECT, data)]).to_bytes();
        let before = calls(&pair).len();
        pair.input(A, Input::Datagram(Datagram { local: d.local, remote: d.remote, payload }));
        sent += calls(&pair).len() - before;
    }
    assert!((3..=5).contains(&sent), "{sent} redirects followed");
}

#[test]
fn c15_redirects_that_prove_nothing_are_not_followed() {
    let mut pair = Pair::new(84);
    pair.nodes[A].config.peers[0].profile.extensions.follow_redirects = true;
    (pair.record, pair.loss) = (true, 100);
    pair.start();
    pair.run(ms(1));
    let (_, d) = pair.wire[0].clone();
    let request = parse_clear(&d.payload).unwrap();
    let nonce = request.nonce().unwrap().clone();
    let header = Header { spi_r: 0, initiator: false, response: true, ..request.header };
    let with = |head: &[u8], nonce: &[u8]| [head, nonce].concat();
    for data in [
        vec![],
        vec![1],
        with(&[1, 4, 10, 0, 0, 1], &[]),
        with(&[1, 4, 10, 0, 0, 1], &[7; 32]),
        with(&[1, 4, 10, 0, 0, 1], &nonce[..31]),
        with(&[1, 255, 10, 0, 0, 1], &nonce),
        with(&[1, 5, 10, 0, 0, 1, 9], &nonce),
        with(&[2, 4, 10, 0, 0, 1], &nonce),
        with(&[9, 4, 10, 0, 0, 1], &nonce),
        with(&[3, 3, b'a', b'.', b'b'], &nonce),
    ] {
        let payload = Message::new(header, vec![told(NotifyType::REDIRECT, data.clone())]).to_bytes();
        pair.input(A, Input::Datagram(Datagram { local: d.local, remote: d.remote, payload }));
        assert_eq!(calls(&pair).len(), 1, "{data:?}");
    }
}

//= test rfc5685#5/during
#[test]
fn those_who_are_connected_are_sent_elsewhere_and_come_back_when_nobody_is_there() {
    let (mut a, b) = (config(A, "secret"), config(B, "secret"));
    a.peers[0].profile.extensions.follow_redirects = true;
    let mut pair = Pair::with(85, a, b);
    pair.record = true;
    pair.start();
    pair.run(secs(2));
    pair.assert_up(1);
    pair.wire.clear();
    pair.nodes[B].config.extensions.redirect_to = Some("192.0.2.50".parse().unwrap());
    pair.configure(B);
    pair.run(secs(5));
    assert_eq!(calls(&pair).first(), Some(&"192.0.2.50".parse().unwrap()));
    // B does not keep who was told to go; A finds nobody there, and is back once B takes callers again.
    pair.run(secs(40));
    assert!(pair.nodes[B].engine.peers(pair.now).iter().all(|p| p.state != "established"));
    pair.nodes[B].config.extensions.redirect_to = None;
    pair.configure(B);
    pair.run(secs(200));
    pair.assert_up(1);
}

//= test rfc4478#3/lifetime
#[test]
fn an_initiator_authenticates_again_before_the_others_trust_ends() {
    let mut pair = Pair::up(86);
    pair.data = true;
    let before = pair.nodes[A].engine.peers(pair.now)[0].spi_i;
    let spi = spis_of(&pair, A)[0];
    let lifetime = vec![told(NotifyType::AUTH_LIFETIME, 100u32.to_be_bytes().to_vec())];
    let d = message(&mut pair, A, spi, (37, false, false, 0), lifetime.clone(), With::Keys).unwrap();
    pair.input(A, Input::Datagram(d));
    pair.nodes[B].engine.sas.values_mut().for_each(|sa| sa.window.next_send = 1);
    pair.run(secs(80));
    assert_eq!(pair.nodes[A].engine.peers(pair.now)[0].spi_i, before, "not too early");
    pair.run(secs(40));
    pair.assert_up(1);
    pair.assert_no_loss();
    assert_ne!(pair.nodes[A].engine.peers(pair.now)[0].spi_i, before);
    // Said to the responder it means nothing.
    let spi = spis_of(&pair, B)[0];
    let id = pair.nodes[B].engine.sas[&spi].window.expect;
    let d = message(&mut pair, B, spi, (37, true, false, id), lifetime, With::Keys).unwrap();
    pair.input(B, Input::Datagram(d));
    assert!(pair.nodes[B].engine.sas[&spi].agreed.reauth_at.is_none());
}

//= test rfc7296#1.5/invalid-spi
#[test]
fn c4_an_unprotected_invalid_spi_is_a_reason_to_ask_and_no_more() {
    let mut pair = Pair::up(87);
    pair.run(secs(30));
    let outbound = pair.nodes[B].engine.children(pair.now)[0].outbound.1.get();
    (pair.record, pair.loss) = (true, 100);
    let say = |pair: &mut Pair, from: IpAddr, spi: u32| {
        let exchange = ExchangeType::INFORMATIONAL;
        let header =
            Header { spi_i: 99, spi_r: 0, exchange, initiator: true, response: false, message_id: 0 };
        let payload =
            Message::new(header, vec![told(NotifyType::INVALID_SPI, spi.to_be_bytes().to_vec())]).to_bytes();
        let (local, remote) = (SocketAddr::new(addr(B), 500), SocketAddr::new(from, 500));
        pair.wire.clear();
        pair.input(B, Input::Datagram(Datagram { local, remote, payload }));
        pair.wire.iter().filter(|(_, d)| d.payload[16] == 46).count()
    };
    assert_eq!(say(&mut pair, addr(A), 0x1234), 0, "not an SA of ours");
    assert_eq!(say(&mut pair, nat_addr(), outbound), 0, "not from the peer");
    assert_eq!(say(&mut pair, addr(A), outbound), 1, "the peer is asked");
    for _ in 0..100 {
        assert_eq!(say(&mut pair, addr(A), outbound), 0, "once");
    }
    pair.loss = 0;
    pair.run(secs(30));
    pair.assert_up(1);
}
