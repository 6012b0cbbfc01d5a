//! What an undisturbed life looks like: rekeys from either end, deletes, dead peers, restarts.
use super::pair::*;
use crate::api::*;

fn busy(seed: u64) -> Pair {
    let mut pair = Pair::up(seed);
    pair.data = true;
    pair.latency = (5, 60);
    pair.run(secs(1));
    pair
}

// X → Y  CREATE_CHILD_SA: N(REKEY_SA) SA N TS;  X → Y  INFORMATIONAL: D(old)
#[test]
fn a_child_is_rekeyed_from_either_end_without_loss() {
    for (end, pfs) in [(A, None), (B, None), (A, Some(DhGroup::X25519)), (B, Some(DhGroup::Ecp256))] {
        let (mut a, mut b) = (config(A, "secret"), config(B, "secret"));
        a.peers[0].children[0].pfs = pfs;
        b.peers[0].children[0].pfs = pfs;
        let mut pair = Pair::with(7, a, b);
        pair.start();
        pair.run(secs(2));
        pair.data = true;
        pair.run(secs(1));
        let old = pair.inbound(end);
        pair.input(end, Input::RekeyChild { slot: old.0 });
        pair.run(secs(20));
        pair.assert_up(1);
        assert_ne!(pair.inbound(end), old);
        assert!(pair.data_sent > 1000);
        pair.assert_no_loss();
    }
}

// X → Y  CREATE_CHILD_SA: SA(IKE) N KE;  X → Y  INFORMATIONAL on the old SA: D
#[test]
fn the_ike_sa_is_rekeyed_from_either_end_and_keeps_its_children() {
    for end in [A, B] {
        let mut pair = busy(8);
        let before = pair.nodes[A].engine.peers(pair.now)[0].spi_i;
        let child = pair.inbound(A);
        let peer = pair.nodes[end].config.peers[0].name.clone();
        pair.input(end, Input::RekeyIke { peer: peer.clone() });
        pair.run(secs(120));
        pair.assert_up(1);
        let after = &pair.nodes[A].engine.peers(pair.now)[0];
        assert!(after.spi_i != before && after.initiator == (end == A));
        assert_eq!(pair.inbound(A), child);
        // The new one works: rekey the child on it, from the other end.
        let slot = pair.inbound(1 - end).0;
        pair.input(1 - end, Input::RekeyChild { slot });
        pair.run(secs(20));
        pair.assert_up(1);
        assert_ne!(pair.inbound(A), child);
        pair.assert_no_loss();
    }
}

#[test]
fn soft_lifetimes_rekey_by_themselves() {
    let mut pair = busy(9);
    let first = pair.inbound(A);
    pair.data = false;
    pair.run(secs(1800));
    assert_ne!(pair.inbound(A), first);
    let ike = pair.nodes[A].engine.peers(pair.now)[0].spi_i;
    pair.run(secs(86_400));
    assert_ne!(pair.nodes[A].engine.peers(pair.now)[0].spi_i, ike);
    assert!(pair.errors(A).is_empty() && pair.errors(B).is_empty(), "{:?}", pair.errors(A));
    assert_eq!(pair.nodes[A].engine.peers(pair.now).len(), 1);
}

// X → Y  INFORMATIONAL: D(IKE)     Y → X  (empty)
#[test]
fn either_end_deletes_the_ike_sa() {
    for end in [A, B] {
        let mut pair = Pair::up(10);
        pair.nodes[A].config.peers[0].passive = true;
        pair.configure(A);
        let peer = pair.nodes[end].config.peers[0].name.clone();
        pair.input(end, Input::Terminate { peer: Some(peer) });
        pair.run(secs(120));
        for node in &pair.nodes {
            assert!(node.engine.peers(pair.now).is_empty() && node.table.is_empty() && node.vault.is_empty());
            assert_eq!(node.engine.slots.owned(), 0);
        }
        assert!(pair.is_quiet() && pair.nodes.iter().all(|n| n.engine.next_timeout().is_none()));
    }
}

#[test]
fn who_starts_by_itself_starts_again_when_the_peer_deletes() {
    let mut pair = Pair::up(11);
    pair.input(B, Input::Terminate { peer: None });
    pair.run(secs(120));
    pair.assert_up(1);
}

#[test]
fn a_dead_peer_is_noticed_after_the_whole_series_and_called_again() {
    let mut pair = Pair::up(12);
    pair.loss = 100;
    pair.run(secs(121 + 40));
    assert_eq!(pair.nodes[A].engine.peers(pair.now).len(), 1, "not before the series is over");
    pair.run(secs(60));
    assert!(pair.nodes[A].table.is_empty());
    assert_eq!(pair.errors(A).len(), 1, "{:?}", pair.errors(A));
    assert!(pair.errors(A)[0].contains("dead"));
    pair.loss = 0;
    pair.run(secs(300));
    pair.assert_up(1);
}

#[test]
fn c16_protected_traffic_is_a_sign_of_life() {
    let (a, mut b) = (config(A, "secret"), config(B, "secret"));
    b.peers[0].profile.dpd_interval = None;
    let mut pair = Pair::with(13, a, b);
    pair.start();
    pair.run(secs(110));
    let sent = pair.nodes[A].sent;
    let (slot, spi) = pair.inbound(A);
    pair.input(A, Input::Traffic { slot, spi });
    pair.run(secs(20));
    assert_eq!(pair.nodes[A].sent, sent, "nothing to ask");
    pair.run(secs(120));
    assert!(pair.nodes[A].sent > sent);
}

// The peer's process is gone with all it knew; its next IKE_AUTH says INITIAL_CONTACT.
#[test]
fn c9_initial_contact_ends_the_old_sas_of_that_identity() {
    let mut pair = Pair::up(14);
    let fresh = node(99, pair.nodes[A].config.clone());
    pair.nodes[A] = fresh;
    pair.run(secs(40));
    pair.configure(A);
    pair.run(secs(10));
    pair.assert_up(1);
}

#[test]
fn a_nat_moves_ike_and_esp_to_port_4500_and_is_kept_open() {
    let (mut a, mut b) = (config(A, "secret"), config(B, "secret"));
    a.peers[0].children[0].lifetime = secs(0);
    b.peers[0].address = sa::Prefix::new("0.0.0.0".parse().unwrap(), 0).unwrap();
    b.peers[0].profile.dpd_interval = None;
    a.peers[0].profile.dpd_interval = None;
    let mut pair = Pair::with(15, a, b);
    (pair.nat, pair.nat_port) = (true, 45_123);
    pair.start();
    pair.run(secs(100));
    let (at_a, at_b) = (&pair.nodes[A].table, &pair.nodes[B].table);
    assert!(at_a.values().all(|s| s.encap == Some(sa::Encap { local_port: 4500, remote_port: 4500 })));
    assert!(at_b.values().all(|s| s.encap == Some(sa::Encap { local_port: 4500, remote_port: 45_123 })));
    assert!(at_b.values().all(|s| s.ends.remote == nat_addr()));
    assert_eq!(pair.nodes[A].keepalives, 4);
    assert_eq!(pair.nodes[B].keepalives, 0);
    // C14: the NAT forgets, A shows up elsewhere: B follows authentic ESP, A would not.
    pair.nat_port = 50_000;
    let (slot, spi) = pair.inbound(B);
    let from = std::net::SocketAddr::new(nat_addr(), 50_000);
    pair.input(B, Input::PeerMoved { slot, spi, from });
    assert!(pair.nodes[B].table.values().all(|s| s.encap.unwrap().remote_port == 50_000));
    let (slot, spi) = pair.inbound(A);
    pair.input(A, Input::PeerMoved { slot, spi, from });
    assert!(pair.nodes[A].table.values().all(|s| s.ends.remote == addr(B)));
    let slot = pair.inbound(B).0;
    pair.input(B, Input::RekeyChild { slot });
    pair.run(secs(20));
    pair.assert_up(1);
}

#[test]
fn without_a_nat_nobody_follows() {
    let mut pair = Pair::up(16);
    let (slot, spi) = pair.inbound(B);
    pair.input(B, Input::PeerMoved { slot, spi, from: std::net::SocketAddr::new(nat_addr(), 4500) });
    assert!(pair.nodes[B].table.values().all(|s| s.ends.remote == addr(A)));
}

#[test]
fn an_acquire_brings_up_what_is_missing_once() {
    let (a, b) = (config(A, "secret"), config(B, "secret"));
    let mut pair = Pair::with(17, a, b);
    for n in [A, B] {
        pair.nodes[n].config.peers[0].children.push(child(n, 2));
    }
    pair.start();
    pair.run(secs(3));
    pair.assert_up(2);
    let (slot, spi) = pair.inbound(B);
    pair.input(B, Input::HardExpire { slot, spi });
    pair.run(secs(20));
    pair.assert_up(1);
    let s = selector(B, 1);
    for _ in 0..5 {
        let (policy, src, dst) = (sa::PolicyId(1), s.local.first(), s.remote.first());
        pair.input(B, Input::Acquire { policy, src, dst, protocol: 6, src_port: 1, dst_port: 2 });
    }
    pair.run(secs(20));
    pair.assert_up(2);
    let unknown = Input::Acquire {
        policy: sa::PolicyId(77),
        src: s.local.first(),
        dst: s.remote.first(),
        protocol: 6,
        src_port: 1,
        dst_port: 2,
    };
    pair.input(B, unknown);
    assert_eq!(pair.nodes[B].acquire_failed, [sa::PolicyId(77)]);
}

#[test]
fn a_policy_that_is_removed_takes_its_child_along() {
    let (a, b) = (config(A, "secret"), config(B, "secret"));
    let mut pair = Pair::with(18, a, b);
    for n in [A, B] {
        pair.nodes[n].config.peers[0].children.push(child(n, 2));
    }
    pair.start();
    pair.run(secs(3));
    pair.nodes[A].config.peers[0].children.pop();
    pair.configure(A);
    pair.run(secs(20));
    pair.assert_up(1);
    pair.nodes[A].config.peers.clear();
    pair.configure(A);
    pair.run(secs(120));
    assert!(pair.nodes.iter().all(|n| n.table.is_empty() && n.engine.peers(pair.now).is_empty()));
}

#[test]
fn slots_run_out_without_harm() {
    let mut pair = Pair::new(19);
    pair.nodes[B].config.sa_slots = 2;
    for n in [A, B] {
        pair.nodes[n].config.peers[0].children.push(child(n, 2));
    }
    pair.start();
    pair.run(secs(10));
    for n in [A, B] {
        assert_eq!(pair.nodes[n].engine.children(pair.now).len(), 1);
    }
    assert!(pair.errors(B)[0].contains("sa-slots"));
    assert!(pair.errors(A)[0].contains("NO_ADDITIONAL_SAS"));
}

#[test]
fn what_is_asked_of_one_ike_sa_is_done_to_that_one() {
    let mut pair = Pair::up(18);
    let spi_i = |pair: &Pair, n: usize| -> Vec<u64> {
        pair.nodes[n].engine.peers(pair.now).iter().map(|peer| peer.spi_i).collect()
    };
    let [first] = spi_i(&pair, A)[..] else { panic!("{:?}", spi_i(&pair, A)) };
    pair.input(A, Input::RekeySa { spi_i: !first });
    pair.input(B, Input::TerminateSa { spi_i: !first });
    pair.run(secs(10));
    assert_eq!(spi_i(&pair, A), [first]);
    pair.input(A, Input::RekeySa { spi_i: first });
    pair.run(secs(60));
    let [second] = spi_i(&pair, A)[..] else { panic!("{:?}", spi_i(&pair, A)) };
    assert_ne!(first, second);
    // The former one is gone, and naming it does nothing to its successor.
    pair.input(B, Input::TerminateSa { spi_i: first });
    pair.run(secs(10));
    assert_eq!(spi_i(&pair, B), [second]);
    pair.input(B, Input::TerminateSa { spi_i: second });
    pair.run(secs(1));
    assert!(!spi_i(&pair, B).contains(&second));
}
