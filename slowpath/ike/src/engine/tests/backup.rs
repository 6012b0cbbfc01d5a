//! Peers with names and with several addresses, and peers that stand in for others.
use super::pair::*;
use crate::api::*;
use std::net::{IpAddr, Ipv4Addr};

/// Where nobody answers.
fn nowhere() -> IpAddr {
    Ipv4Addr::new(192, 0, 2, 77).into()
}
fn named() -> Pair {
    let (mut a, b) = (config(A, "secret"), config(B, "secret"));
    a.peers[0].host = Some("b.test".into());
    a.peers[0].address = sa::Prefix::host(Ipv4Addr::UNSPECIFIED.into());
    let mut pair = Pair::with(51, a, b);
    pair.start();
    pair.run(secs(1));
    pair
}
fn resolved(pair: &mut Pair, addresses: Result<Vec<IpAddr>, String>) {
    pair.input(A, Input::Resolved { peer: "to-b".into(), addresses });
}
fn current(pair: &Pair) -> Result<IpAddr, String> {
    pair.nodes[A].engine.page(None, 1, pair.now).resolved[0].1.clone()
}

#[test]
fn a_name_that_leads_nowhere_is_told_once_and_waited_for() {
    let mut pair = named();
    assert_eq!((pair.nodes[A].sent, current(&pair).is_err()), (0, true));
    for _ in 0..3 {
        resolved(&mut pair, Err("no such name".into()));
        pair.run(secs(30));
    }
    let errors = pair.errors(A);
    assert!(errors.len() == 1 && errors[0].contains("`b.test` is not found: no such name"), "{errors:?}");
    assert_eq!(current(&pair), Err("no such name".into()));
    pair.input(A, Input::Initiate { peer: "to-b".into(), policy: None });
    assert!(pair.errors(A)[1].contains("has not led to an address yet"));
    resolved(&mut pair, Ok(vec![addr(B)]));
    pair.run(secs(2));
    pair.assert_up(1);
    // What is up stays up, whatever the name says now; who is called next goes there.
    resolved(&mut pair, Err("the name server is down".into()));
    assert_eq!(current(&pair), Ok(addr(B)));
    resolved(&mut pair, Ok(vec![nowhere()]));
    pair.run(secs(5));
    pair.assert_up(1);
    assert_eq!(current(&pair), Ok(nowhere()));
}

#[test]
fn each_address_of_a_name_is_tried_and_the_one_in_use_kept() {
    let mut pair = named();
    resolved(&mut pair, Ok(vec![nowhere(), addr(B)]));
    pair.run(secs(400));
    pair.assert_up(1);
    assert_eq!(pair.nodes[A].resolve, ["to-b"], "a failed call has the name looked up again");
    assert_eq!(current(&pair), Ok(addr(B)));
    // Name servers turn their answers round.
    resolved(&mut pair, Ok(vec![nowhere(), addr(B)]));
    resolved(&mut pair, Ok(vec![addr(B), nowhere()]));
    assert_eq!(current(&pair), Ok(addr(B)));
}

#[test]
fn a_new_address_ends_the_call_to_the_old_one() {
    let mut pair = named();
    resolved(&mut pair, Ok(vec![nowhere()]));
    pair.run(secs(3));
    assert!(pair.nodes[A].sent > 0 && pair.nodes[A].table.is_empty());
    resolved(&mut pair, Ok(vec![addr(B)]));
    pair.run(secs(4));
    pair.assert_up(1);
}

#[test]
fn a_peer_with_a_name_may_call_from_where_the_name_leads() {
    let (a, mut b) = (config(A, "secret"), config(B, "secret"));
    b.peers[0].host = Some("a.test".into());
    let mut pair = Pair::with(52, a, b);
    pair.start();
    pair.run(secs(3));
    assert!(pair.nodes[B].table.is_empty(), "nobody knows who that is");
    pair.input(B, Input::Resolved { peer: "to-a".into(), addresses: Ok(vec![addr(A)]) });
    pair.run(secs(30));
    pair.assert_up(1);
}

#[test]
fn the_next_peer_serves_while_the_first_is_away() {
    let (mut a, mut b) = (config(A, "secret"), config(B, "secret"));
    // One gateway stands for both peers here: they must not take each other for its past.
    a.peers[0].send_initial_contact = false;
    let mut spare = a.peers[0].clone();
    spare.name = "spare".into();
    spare.children[0].backup = 1;
    a.peers[0].address = sa::Prefix::host(nowhere());
    a.peers.push(spare);
    b.peers[0].local_address = Some(addr(B));
    let mut pair = Pair::with(53, a, b);
    pair.start();
    let serving = |pair: &Pair| -> Vec<String> {
        pair.nodes[A]
            .engine
            .children(pair.now)
            .iter()
            .filter(|c| is_served(c.state))
            .map(|c| c.peer.clone())
            .collect()
    };
    pair.run(secs(10));
    assert!(serving(&pair).is_empty(), "the first has its time");
    pair.run(secs(390));
    assert_eq!(serving(&pair), ["spare"]);
    // Now the other end is at both addresses.
    pair.nodes[B].config.peers[0].local_address = None;
    pair.configure(B);
    pair.run(secs(400));
    assert_eq!(serving(&pair), ["to-b"], "the preferred one is back");
    // It goes again: the spare one is there still, and packets ask it at once.
    pair.nodes[B].config.peers[0].local_address = Some(addr(B));
    pair.configure(B);
    pair.input(A, Input::Terminate { peer: Some("to-b".into()) });
    pair.run(secs(8));
    let acquire = Input::Acquire {
        policy: sa::PolicyId(1),
        src: Ipv4Addr::new(10, 1, 1, 9).into(),
        dst: Ipv4Addr::new(10, 2, 1, 9).into(),
        protocol: 1,
        src_port: 0,
        dst_port: 0,
    };
    pair.input(A, acquire);
    pair.run(secs(3));
    assert_eq!(serving(&pair), ["spare"]);
}
