//! Additional key exchanges of rekeys and of Child SAs (RFC 9370) in IKE_FOLLOWUP_KE.
use super::additional::{KEMS, algorithms, exchanges, made, of, round};
use super::chaos::{Told, rekey_all, seeds, storm_with};
use super::hostile::{With, message, spis_of};
use super::pair::*;
use crate::api::*;
use crate::crypto::DhPrivate;
use crate::diagnosis::Cause;
use crate::message::{ExchangeType, KeyExchange, Notify, NotifyType, Payload, offer_esp, split};

const FOLLOWUP: ExchangeType = ExchangeType::IKE_FOLLOWUP_KE;

/// Key exchanges of these rounds for the IKE SA and for its one child.
fn with(n: usize, of_ike: Vec<KeRound>, of_child: Vec<KeRound>) -> Config {
    let mut config = config(n, "secret");
    of(&mut config).additional = of_ike;
    let child = &mut config.peers[0].children[0];
    (child.pfs, child.additional) = (Some(DhGroup::X25519), of_child);
    config
}
fn up(seed: u64, a: Config, b: Config) -> Pair {
    let mut pair = Pair::with(seed, a, b);
    (pair.record, pair.data) = (true, true);
    pair.start();
    pair.run(secs(4));
    pair.assert_up(1);
    pair
}
fn name(n: usize) -> String {
    ["to-b", "to-a"][n].into()
}
fn rekey_child(pair: &mut Pair, n: usize) {
    let slot = pair.inbound(n).0;
    pair.input(n, Input::RekeyChild { slot });
}
fn pending(pair: &Pair, n: usize) -> usize {
    pair.nodes[n].engine.sas.values().map(|sa| sa.pending.len()).sum()
}
/// Until B has answered CREATE_CHILD_SA and waits for the next round.
fn until_pending(pair: &mut Pair) {
    for _ in 0..200 {
        if pending(pair, B) > 0 {
            return;
        }
        pair.run(ms(1));
    }
    panic!("no series has begun");
}

//= test rfc9370#2.2.4/rekey
//= test rfc9370#2.2.4/link
#[test]
fn an_ike_sa_is_rekeyed_with_them() {
    for (node, kem) in [(A, KEMS[1]), (B, KEMS[1]), (A, KEMS[2])] {
        // Whoever insists on them gets them here as well.
        let rounds = || vec![round(&[kem], false)];
        let mut pair = made(9, 0, rounds(), rounds());
        pair.data = true;
        let before = pair.nodes[A].engine.peers(pair.now)[0].spi_i;
        pair.input(node, Input::RekeyIke { peer: name(node) });
        pair.run(secs(5));
        pair.assert_up(1);
        assert_ne!(before, pair.nodes[A].engine.peers(pair.now)[0].spi_i);
        assert_eq!(exchanges(&pair, ExchangeType::IKE_INTERMEDIATE), 1);
        assert_eq!(exchanges(&pair, FOLLOWUP), 1);
        assert!(algorithms(&pair).ends_with(&format!("/x25519+{}", kem.name())), "{}", algorithms(&pair));
        // What is said afterwards is understood.
        rekey_child(&mut pair, 1 - node);
        pair.run(secs(60));
        pair.assert_up(1);
        pair.assert_no_loss();
    }
}
//= test rfc9370#2.2.4/keymat
#[test]
fn a_child_is_rekeyed_with_them_and_another_one_made() {
    for node in [A, B] {
        let rounds = || vec![round(&KEMS, true), round(&[DhGroup::Ecp256], true)];
        let mut pair = up(1, with(A, vec![], rounds()), with(B, vec![], rounds()));
        assert_eq!(exchanges(&pair, FOLLOWUP), 0, "IKE_AUTH makes its child without");
        let before = pair.inbound(A);
        rekey_child(&mut pair, node);
        pair.run(secs(10));
        pair.assert_up(1);
        assert_ne!(before, pair.inbound(A));
        assert_eq!(exchanges(&pair, FOLLOWUP), 2);
        let (slot, spi) = pair.inbound(node);
        pair.input(node, Input::DeleteChild { slot, spi });
        pair.run(secs(10));
        pair.data_lost.clear();
        pair.input(node, Input::Initiate { peer: name(node), policy: None });
        pair.run(secs(10));
        pair.assert_up(1);
        assert_eq!(exchanges(&pair, FOLLOWUP), 4);
        pair.assert_no_loss();
        assert!(pair.errors(A).is_empty() && pair.errors(B).is_empty());
    }
}
//= test rfc9370#2.2.1/none
#[test]
fn who_can_do_without_does() {
    let rounds = || vec![round(&KEMS, true)];
    for (a, b) in [(rounds(), vec![]), (vec![], rounds())] {
        for node in [A, B] {
            let mut pair = up(2, with(A, a.clone(), a.clone()), with(B, b.clone(), b.clone()));
            rekey_child(&mut pair, node);
            pair.run(secs(5));
            pair.input(node, Input::RekeyIke { peer: name(node) });
            pair.run(secs(10));
            pair.assert_up(1);
            assert_eq!(exchanges(&pair, FOLLOWUP), 0);
            assert!(algorithms(&pair).ends_with("/x25519"));
            pair.assert_no_loss();
        }
    }
}
#[test]
fn who_insists_on_them_for_a_child_says_what_differs() {
    let mut pair = up(3, with(A, vec![], vec![]), with(B, vec![], vec![round(&[DhGroup::MlKem768], false)]));
    rekey_child(&mut pair, A);
    pair.run(secs(2));
    let told = pair.nodes[B].logs.iter().find_map(|l| l.diagnosis.as_ref()).expect("a reason");
    assert_eq!(told.cause, Cause::ChildProposal);
    assert!(told.difference.contains("additional-ke: they have none, we have mlkem768"), "{told}");
    assert!(
        told.fix_here.contains("proposal set") && told.fix_here.contains("additional-ke=mlkem768,none"),
        "{told}"
    );
    pair.assert_up(1);
}

#[test]
fn series_survive_loss_duplicates_and_restarts() {
    let rounds = || vec![round(&[DhGroup::Ecp384], true), round(&[DhGroup::Ecp256], true)];
    for seed in seeds() {
        for what in 0..4 {
            let told = Told(format!("seed {seed}, {what}"));
            let mut pair = up(seed, with(A, rounds(), rounds()), with(B, rounds(), rounds()));
            (pair.loss, pair.duplicates) = (15, 15);
            if what % 2 == 0 {
                rekey_child(&mut pair, A);
            } else {
                pair.input(A, Input::RekeyIke { peer: name(A) });
            }
            if what < 2 {
                let pause = ms(pair.rng.below(40));
                pair.run(pause);
                let end = pair.rng.below(2) as usize;
                pair.restart(end);
            }
            pair.run(secs(60));
            pair.loss = 0;
            pair.run(secs(60));
            pair.assert_up(1);
            assert!(exchanges(&pair, FOLLOWUP) >= 2);
            assert_eq!(pending(&pair, A) + pending(&pair, B), 0);
            pair.assert_no_loss();
            std::mem::forget(told);
        }
    }
}
//= test rfc9370#2.2.4/collision
//= test rfc9370#2.2.4/lowest-nonce
#[test]
fn c6_rekeys_collide_where_both_or_one_makes_them() {
    fn rounds(config: &mut Config) {
        let rounds = vec![round(&[DhGroup::Ecp256, DhGroup::X25519, DhGroup::Ecp384], true)];
        of(config).additional.clone_from(&rounds);
        for child in &mut config.peers[0].children {
            (child.pfs, child.additional) = (Some(DhGroup::X25519), rounds.clone());
        }
    }
    for loss in [0, 20] {
        for seed in seeds() {
            let told = Told(format!("seed {seed}, loss {loss} %"));
            let pair = storm_with(seed, loss, 2, rekey_all, |_, config| rounds(config));
            pair.assert_up(2);
            pair.assert_no_loss();
            assert_eq!(pending(&pair, A) + pending(&pair, B), 0);
            std::mem::forget(told);
        }
    }
}
/// One end offers them only when it asks: by its own request a series is made, by the other's none.
#[test]
fn c6_a_series_collides_with_a_plain_rekey() {
    let rounds = || vec![round(&[DhGroup::Ecp256], true)];
    for seed in 0..4 * seeds().end {
        let told = Told(format!("seed {seed}"));
        let mut pair = up(seed, with(A, rounds(), rounds()), with(B, rounds(), rounds()));
        pair.latency = (5, 60);
        // B's requests go without; what A asks for it still answers with them.
        let mut plain = pair.nodes[B].config.clone();
        of(&mut plain).additional.clear();
        plain.peers[0].children[0].additional.clear();
        let full = std::mem::replace(&mut pair.nodes[B].config, plain);
        pair.configure(B);
        if seed % 2 == 0 {
            pair.input(B, Input::RekeyIke { peer: name(B) });
        } else {
            rekey_child(&mut pair, B);
        }
        pair.nodes[B].config = full;
        pair.configure(B);
        if seed % 2 == 0 {
            pair.input(A, Input::RekeyIke { peer: name(A) });
        } else {
            rekey_child(&mut pair, A);
        }
        pair.run(secs(100));
        pair.assert_up(1);
        pair.assert_no_loss();
        assert_eq!(pending(&pair, A) + pending(&pair, B), 0);
        std::mem::forget(told);
    }
}

//= test rfc9370#2.2.4/graceful
#[test]
fn a_series_that_does_not_go_on_is_forgotten_with_what_it_reserved() {
    for ike in [false, true] {
        let rounds = || vec![round(&[DhGroup::MlKem768], true)];
        let mut pair = up(5, with(A, rounds(), rounds()), with(B, rounds(), rounds()));
        if ike {
            pair.input(A, Input::RekeyIke { peer: name(A) });
        } else {
            rekey_child(&mut pair, A);
        }
        until_pending(&mut pair);
        pair.loss = 100;
        pair.data = false;
        assert_eq!(pair.nodes[B].engine.slots.owned(), if ike { 2 } else { 4 });
        pair.run(secs(21));
        assert_eq!(pending(&pair, B), 0);
        assert_eq!(pair.nodes[B].engine.slots.owned(), 2);
        // A's round comes too late, is told so, and A begins again.
        pair.loss = 0;
        pair.run(secs(60));
        pair.assert_up(1);
        assert_eq!(exchanges(&pair, FOLLOWUP), 2, "{ike}");
    }
}
//= test rfc9370#2.2.4/lost
#[test]
fn a_peer_that_always_forgets_is_called_anew() {
    for ike in [false, true] {
        let rounds = || vec![round(&[DhGroup::MlKem768], true)];
        let mut pair = up(6, with(A, rounds(), rounds()), with(B, rounds(), rounds()));
        pair.data = false;
        let before = pair.nodes[A].engine.peers(pair.now)[0].spi_i;
        if ike {
            pair.input(A, Input::RekeyIke { peer: name(A) });
        } else {
            rekey_child(&mut pair, A);
        }
        for _ in 0..20_000 {
            pair.run(ms(1));
            if pending(&pair, B) > 0 {
                pair.restart(B);
            }
        }
        assert_eq!(exchanges(&pair, FOLLOWUP), 4);
        let told: Vec<_> = pair.nodes[A].logs.iter().filter_map(|l| l.diagnosis.as_ref()).collect();
        assert!(
            told.iter().any(|d| d.theirs == "STATE_NOT_FOUND" && d.cause == Cause::IkeKeyExchange),
            "{told:?}"
        );
        pair.run(secs(30));
        pair.assert_up(1);
        assert_ne!(before, pair.nodes[A].engine.peers(pair.now)[0].spi_i);
    }
}
#[test]
fn a_delete_in_the_middle_of_a_series_leaves_nothing() {
    for (ike, end) in [(false, A), (false, B), (true, A), (true, B)] {
        let rounds = || vec![round(&[DhGroup::MlKem768], true)];
        let mut pair = up(7, with(A, rounds(), rounds()), with(B, rounds(), rounds()));
        pair.data = false;
        if ike {
            pair.input(A, Input::RekeyIke { peer: name(A) });
        } else {
            rekey_child(&mut pair, A);
        }
        until_pending(&mut pair);
        pair.input(end, Input::Terminate { peer: None });
        pair.run(secs(150));
        if end == B {
            // A is not passive and calls again.
            pair.assert_up(1);
            continue;
        }
        for node in &pair.nodes {
            assert!(node.engine.sas.is_empty() && node.table.is_empty() && node.vault.is_empty());
            assert_eq!(node.engine.slots.owned(), 0);
        }
    }
}

/// A request from A's place to B, with the next message id.
fn request(pair: &mut Pair, exchange: ExchangeType, payloads: Vec<Payload>) {
    let spi = spis_of(pair, B)[0];
    let id = pair.nodes[B].engine.sas[&spi].window.expect;
    let datagram = message(pair, B, spi, (exchange.0, true, false, id), payloads, With::Keys).unwrap();
    pair.input(B, Input::Datagram(datagram));
}
fn link(data: &[u8]) -> Payload {
    Payload::Notify(Notify::new(NotifyType::ADDITIONAL_KEY_EXCHANGE, data.to_vec()))
}
fn value(group: u16, len: usize) -> Payload {
    Payload::Ke(KeyExchange { group, data: vec![0xff; len] })
}
//= test rfc9370#2.2.4/state-not-found
#[test]
fn c7_rounds_that_nobody_waits_for_change_nothing() {
    let rounds = || vec![round(&[DhGroup::MlKem768], true)];
    let mut pair = up(8, with(A, rounds(), rounds()), with(B, rounds(), rounds()));
    (pair.loss, pair.data) = (100, false);
    for payloads in [
        vec![],
        vec![value(36, 1184)],
        vec![link(&[]), value(36, 1184)],
        vec![link(&[7; 8]), value(36, 1184)],
        vec![link(&[7; 60_000])],
    ] {
        request(&mut pair, FOLLOWUP, payloads);
        assert_eq!((pending(&pair, B), pair.nodes[B].engine.slots.owned()), (0, 2));
    }
    assert!(pair.errors(B).is_empty());
}
#[test]
fn c7_a_round_with_a_wrong_value_ends_its_series_with_a_reason() {
    for wrong in [value(36, 1183), value(35, 800), value(36, 0), value(36, 1184)] {
        let rounds = || vec![round(&[DhGroup::MlKem768], true)];
        let mut pair = up(9, with(A, rounds(), rounds()), with(B, rounds(), rounds()));
        rekey_child(&mut pair, A);
        until_pending(&mut pair);
        (pair.loss, pair.data) = (100, false);
        let mut name =
            pair.nodes[B].engine.sas.values().flat_map(|sa| &sa.pending).map(|p| p.link().to_vec());
        let name = name.next().unwrap();
        request(&mut pair, FOLLOWUP, vec![link(&name), wrong]);
        assert_eq!((pending(&pair, B), pair.nodes[B].engine.slots.owned()), (0, 2));
        let told: Vec<_> = pair.nodes[B].logs.iter().filter_map(|l| l.diagnosis.as_ref()).collect();
        assert!(
            told.iter().any(|d| d.cause == Cause::IkeKeyExchange && d.exchange == "IKE_FOLLOWUP_KE"),
            "{told:?}"
        );
    }
}
/// Row C8: series that are begun and never ended.
#[test]
fn c8_series_are_bounded() {
    let rounds = || vec![round(&[DhGroup::MlKem768], false)];
    let mut pair = up(10, with(A, vec![], rounds()), with(B, vec![], rounds()));
    (pair.loss, pair.data) = (100, false);
    let child = pair.nodes[A].config.peers[0].children[0].clone();
    let dh = DhPrivate::generate(DhGroup::X25519, &mut Seeded::new(3)).unwrap();
    for n in 0..40u32 {
        let wishes = crate::engine::explain::wishes(&child, false);
        let (local, remote) = split(&[child.selector]);
        let asked = vec![
            Payload::Sa(offer_esp(&wishes, sa::Spi::new(0x1000 + n).unwrap())),
            Payload::Nonce(vec![n as u8; 32]),
            Payload::Ke(KeyExchange { group: 31, data: dh.public().to_vec() }),
            Payload::TsI(local),
            Payload::TsR(remote),
        ];
        request(&mut pair, ExchangeType::CREATE_CHILD_SA, asked);
        let most = (n as usize + 1).min(8);
        assert_eq!((pending(&pair, B), pair.nodes[B].engine.slots.owned()), (most, 2 + 2 * most));
    }
    pair.run(secs(21));
    assert_eq!((pending(&pair, B), pair.nodes[B].engine.slots.owned()), (0, 2));
}
