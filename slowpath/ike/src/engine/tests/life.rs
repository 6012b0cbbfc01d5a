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
