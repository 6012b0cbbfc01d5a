//! Additional key exchanges (RFC 9370) in IKE_INTERMEDIATE (RFC 9242).
use super::pair::*;
use super::refusals::{one, run};
use crate::api::*;
use crate::message::{ExchangeType, parse_header};

pub fn round(methods: &[DhGroup], optional: bool) -> KeRound {
    KeRound { methods: methods.to_vec(), optional }
}
pub fn of(config: &mut Config) -> &mut IkeProposal {
    &mut config.peers[0].profile.proposal
}
pub const KEMS: [DhGroup; 3] = DhGroup::KEMS;

/// Message exchanges of this type that were begun, those of an IKE SA and its successors together.
pub fn exchanges(pair: &Pair, exchange: ExchangeType) -> usize {
    let all = pair.wire.iter().map(|(from, d)| (*from, parse_header(&d.payload).unwrap().header));
    let ids: std::collections::BTreeSet<_> = all
        .filter(|(_, h)| h.exchange == exchange && !h.response)
        .map(|(from, h)| (from, h.spi_i, h.message_id))
        .collect();
    ids.len()
}
pub fn made(seed: u64, loss: u64, a: Vec<KeRound>, b: Vec<KeRound>) -> Pair {
    let (mut on_a, mut on_b) = (config(A, "secret"), config(B, "secret"));
    (of(&mut on_a).additional, of(&mut on_b).additional) = (a, b);
    let mut pair = Pair::with(seed, on_a, on_b);
    (pair.record, pair.loss, pair.duplicates) = (true, loss, loss);
    pair.start();
    pair.run(secs(if loss > 0 { 60 } else { 2 }));
    pair.loss = 0;
    pair.duplicates = 0;
    pair.assert_up(1);
    pair
}
pub fn algorithms(pair: &Pair) -> String {
    let [a, b] = [A, B].map(|n| pair.nodes[n].engine.peers(pair.now)[0].algorithms.clone());
    assert_eq!(a, b);
    a
}

//= test rfc9370#2.2.1/intermediate
//= test rfc9370#2.2.2/keys
//= test rfc9242#3.3.1/octets
#[test]
fn ml_kem_is_mixed_in_before_ike_auth() {
    for kem in KEMS {
        let pair = made(1, 0, vec![round(&[kem], true)], vec![round(&KEMS, false)]);
        assert_eq!(exchanges(&pair, ExchangeType::IKE_INTERMEDIATE), 1);
        assert!(algorithms(&pair).ends_with(&format!("/x25519+{}", kem.name())), "{}", algorithms(&pair));
    }
}
//= test rfc9370#2.2.1/none
#[test]
fn a_peer_that_knows_nothing_of_it_is_spoken_with_without_it() {
    for (a, b) in [(vec![round(&KEMS, true)], vec![]), (vec![], vec![round(&KEMS, true)])] {
        let pair = made(2, 0, a, b);
        assert_eq!(exchanges(&pair, ExchangeType::IKE_INTERMEDIATE), 0);
        assert!(algorithms(&pair).ends_with("/x25519"));
    }
}
#[test]
fn who_insists_on_it_refuses_who_does_not_do_it() {
    let pair = run(|a, _| of(a).additional = vec![round(&[DhGroup::MlKem768], false)]);
    one(&pair, B, &["additional-ke: they have mlkem768, we have none"]);
    let pair = run(|_, b| of(b).additional = vec![round(&[DhGroup::MlKem768], false)]);
    one(&pair, B, &["additional-ke: they have none, we have mlkem768", "additional-ke=mlkem768,none"]);
    let pair = run(|a, b| {
        of(a).additional = vec![round(&[DhGroup::MlKem512], false)];
        of(b).additional = vec![round(&[DhGroup::MlKem768], false)];
    });
    one(&pair, B, &["additional-ke: they have mlkem512, we have mlkem768"]);
    assert!(pair.nodes.iter().all(|node| node.table.is_empty() && node.engine.slots.owned() == 0));
}
//= test rfc9370#2.2.1/distinct
#[test]
fn seven_rounds_each_with_another_method() {
    use DhGroup::*;
    let all = [X25519, MlKem512, MlKem768, MlKem1024, X448, Ecp256, Ecp384, Brainpool256];
    let rounds = vec![round(&all, true); 7];
    let pair = made(3, 0, rounds.clone(), rounds);
    assert_eq!(exchanges(&pair, ExchangeType::IKE_INTERMEDIATE), 7);
    let made = algorithms(&pair);
    assert!(made.ends_with("/x25519+mlkem512+mlkem768+mlkem1024+x448+ecp256+ecp384+brainpool256"), "{made}");
}
#[test]
fn rounds_survive_loss_duplicates_and_fragments() {
    for seed in 10..14 {
        let rounds = vec![round(&[DhGroup::MlKem1024], true), round(&[DhGroup::MlKem512], true)];
        let pair = made(seed, 20, rounds.clone(), rounds);
        assert!(algorithms(&pair).ends_with("+mlkem1024+mlkem512"));
    }
}
/// No longer than what asked for it, a message in the wrong place costs nothing.
#[test]
fn ike_auth_before_the_last_round_is_not_acted_on() {
    let rounds = vec![round(&KEMS, true)];
    let (mut on_a, mut on_b) = (config(A, "secret"), config(B, "secret"));
    (of(&mut on_a).additional, of(&mut on_b).additional) = (rounds.clone(), rounds);
    // B lets A skip nothing: A's IKE_AUTH sealed with the keys of the round before does not open.
    let mut pair = Pair::with(30, on_a, on_b);
    pair.record = true;
    pair.start();
    pair.run(ms(12));
    let half_open: Vec<_> = pair.nodes[B].engine.peers(pair.now);
    assert_eq!(half_open.len(), 1);
    assert_eq!(half_open[0].state, "message-1-sent");
    pair.run(secs(1));
    pair.assert_up(1);
    assert_eq!(exchanges(&pair, ExchangeType::IKE_AUTH), 1);
}
