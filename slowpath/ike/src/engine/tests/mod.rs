pub(super) mod pair;

use pair::*;

// A → B  IKE_SA_INIT: SA KE Ni natd       B → A  SA KE Nr natd
// A → B  IKE_AUTH: IDi AUTH SA TSi TSr    B → A  IDr AUTH SA TSi TSr
#[test]
fn a_pre_shared_key_brings_up_ike_sa_and_child() {
    let pair = Pair::up(1);
    assert_eq!(pair.nodes[A].sent, 2);
    assert_eq!(pair.nodes[B].sent, 2);
}
mod additional;
mod backup;
mod beside;
mod certificates;
mod chaos;
mod diagnosis;
mod extensions;
mod followup;
mod fragments;
mod hostile;
mod life;
mod mobike;
mod modes;
mod refusals;
mod restart;

mod simulation;
mod templates;

//= test rfc4303#2.2.1/esn
#[test]
fn extended_sequence_numbers_are_used_when_both_ends_offer_them() {
    for (a, b, agreed) in
        [(true, true, true), (false, true, false), (true, false, false), (false, false, false)]
    {
        let (mut on_a, mut on_b) = (config(A, "secret"), config(B, "secret"));
        on_a.peers[0].children.iter_mut().for_each(|c| c.esn = a);
        on_b.peers[0].children.iter_mut().for_each(|c| c.esn = b);
        let mut pair = Pair::with(3, on_a, on_b);
        pair.start();
        pair.run(secs(5));
        for n in [A, B] {
            let installed = pair.nodes[n].engine.installed();
            assert_eq!(installed.len(), 2, "esn {a} and {b}: {:?}", pair.errors(n));
            assert!(installed.iter().all(|sa| sa.esn == agreed), "esn {a} and {b}");
        }
    }
}
