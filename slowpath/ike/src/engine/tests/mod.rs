mod pair;

use pair::*;

// A → B  IKE_SA_INIT: SA KE Ni natd       B → A  SA KE Nr natd
// A → B  IKE_AUTH: IDi AUTH SA TSi TSr    B → A  IDr AUTH SA TSi TSr
#[test]
fn a_pre_shared_key_brings_up_ike_sa_and_child() {
    let pair = Pair::up(1);
    assert_eq!(pair.nodes[A].sent, 2);
    assert_eq!(pair.nodes[B].sent, 2);
}
mod chaos;
mod hostile;
mod life;
mod refusals;
mod restart;
