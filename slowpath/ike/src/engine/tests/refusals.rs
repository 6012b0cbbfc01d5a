//! Negotiations that fail: what each end says, what stays, and that every failure is told once.
use super::pair::*;
use crate::api::*;
use crate::engine::{Failure, Refused};
use sa::{Encryption, Integrity, PortRange, Suite};

pub(super) fn run(change: impl FnOnce(&mut Config, &mut Config)) -> Pair {
    let (mut a, mut b) = (config(A, "secret"), config(B, "secret"));
    change(&mut a, &mut b);
    let mut pair = Pair::with(21, a, b);
    pair.start();
    pair.run(ms(900));
    pair
}
fn told(pair: &Pair, n: usize) -> Vec<&str> {
    let loud = |l: &&Report| l.level == ReportLevel::Error || l.level == ReportLevel::Warning;
    pair.nodes[n].logs.iter().filter(loud).map(|l| l.text.as_str()).collect()
}
#[track_caller]
pub(super) fn one(pair: &Pair, n: usize, words: &[&str]) {
    let told = told(pair, n);
    assert_eq!(told.len(), 1, "{told:?}");
    for word in words {
        assert!(told[0].contains(word), "`{word}` in {told:?}");
    }
}

#[test]
fn different_secrets() {
    let pair = run(|a, _| a.peers[0].identities[0].auth = Auth::secret(Psk(b"other".to_vec())));
    one(&pair, A, &["AUTHENTICATION_FAILED", "secret"]);
    one(&pair, B, &["could not prove", "same secret"]);
    for node in &pair.nodes {
        assert!(node.table.is_empty() && node.vault.is_empty());
        assert_eq!(node.engine.counters().failed(Failure::AuthenticationFailed), 1);
    }
}

#[test]
fn no_common_ike_algorithms() {
    let pair = run(|a, _| a.peers[0].profile.proposal.prf = vec![Prf::HmacSha512]);
    one(&pair, A, &["NO_PROPOSAL_CHOSEN", "not authenticated", "default"]);
    one(
        &pair,
        B,
        &["prf-sha512", "prf-sha256", "prf-algorithm: they have sha512, we have sha256", "profile `default`"],
    );
}

#[test]
fn no_common_child_algorithms_leaves_the_ike_sa() {
    let cbc = Suite::new(Encryption::Aes256Cbc, Integrity::HmacSha256).unwrap();
    let pair = run(|a, _| a.peers[0].children[0].suites = vec![cbc]);
    one(&pair, A, &["NO_PROPOSAL_CHOSEN", "aes-256-cbc/sha256", "proposal"]);
    one(&pair, B, &["aes-128-gcm", "aes-256-cbc", "proposal"]);
    let [a, b] = &pair.nodes;
    assert!(a.engine.peers(pair.now).len() == 1 && b.engine.peers(pair.now).len() == 1);
    assert!(a.table.is_empty() && b.table.is_empty());
    assert_eq!((a.engine.slots.owned(), b.engine.slots.owned()), (0, 0));
}

//= test rfc7296#2.9/narrow
#[test]
fn selectors_are_narrowed_or_refused() {
    let pair = run(|a, b| {
        a.peers[0].children[0].selector.protocol = None;
        b.peers[0].children[0].selector.protocol = Some(17);
        b.peers[0].children[0].selector.local_port = PortRange { first: 100, last: 200 };
    });
    pair.assert_up(1);
    for node in &pair.nodes {
        assert!(node.table.values().all(|s| s.selectors.len() == 1 && s.selectors[0].protocol == Some(17)));
    }
    assert!(
        pair.nodes[A]
            .table
            .values()
            .all(|s| s.selectors[0].remote_port == PortRange { first: 100, last: 200 })
    );

    let pair = run(|a, _| a.peers[0].children[0].selector = selector(A, 9));
    one(&pair, A, &["TS_UNACCEPTABLE", "src-address"]);
    one(&pair, B, &["10.1.9.0", "policy"]);
    assert_eq!(pair.nodes[B].engine.peers(pair.now).len(), 1, "the IKE SA stays");
}

#[test]
fn several_policies_each_get_the_child_that_fits() {
    let pair = run(|a, b| {
        a.peers[0].children = vec![child(A, 1), child(A, 2), child(A, 3)];
        b.peers[0].children = vec![child(B, 3), child(B, 2), child(B, 1)];
    });
    pair.assert_up(3);
    for node in &pair.nodes {
        assert!(node.table.values().all(|s| s.selectors == [selector_of(node, s.policy.0)]));
    }
    fn selector_of(node: &Node, policy: u32) -> sa::TrafficSelector {
        node.config.peers[0].children.iter().find(|c| c.policy.0 == policy).unwrap().selector
    }
}

#[test]
fn identities_are_chosen_by_id() {
    let id = |name: &str| Id::Fqdn(name.into());
    let with = |my: &str, remote: RemoteId, psk: &str| {
        Identity::with_secret(MyId::Id(id(my)), remote, Psk(psk.into()))
    };
    let pair = run(|a, b| {
        a.peers[0].identities = vec![with("a.test", RemoteId::Id(id("b.test")), "right")];
        b.peers[0].identities = vec![
            with("b.test", RemoteId::Auto, "wrong"),
            with("b.test", RemoteId::Id(id("a.test")), "right"),
        ];
    });
    pair.assert_up(1);
    let pair = run(|a, b| {
        a.peers[0].identities = vec![with("a.test", RemoteId::Id(id("c.test")), "right")];
        b.peers[0].identities = vec![with("b.test", RemoteId::Auto, "right")];
    });
    one(&pair, B, &["a.test", "c.test", "my-id"]);
    let pair = run(|a, b| {
        a.peers[0].identities = vec![with("a.test", RemoteId::Auto, "right")];
        b.peers[0].identities = vec![with("b.test", RemoteId::Id(id("x.test")), "right")];
    });
    one(&pair, B, &["a.test", "remote-id"]);
}

#[test]
fn the_responder_wants_another_group() {
    let pair = run(|_, b| b.peers[0].profile.proposal.groups = vec![DhGroup::Ecp256]);
    pair.assert_up(1);
    assert_eq!(pair.nodes[B].engine.counters().refused(Refused::InvalidKe), 1);
    assert!(pair.nodes[A].engine.peers(pair.now)[0].algorithms.contains("ecp256"));
}

//= test rfc7296#2.6.1/loops
#[test]
fn c5_cookies_and_groups_in_one_go() {
    let pair = run(|_, b| {
        b.ddos_cookie_threshold = 0;
        b.peers[0].profile.proposal.groups = vec![DhGroup::Ecp256];
    });
    assert!(told(&pair, A).is_empty(), "threshold 0 means 1: no cookie asked for the first");
    pair.assert_up(1);
    let mut pair = Pair::new(22);
    pair.nodes[B].config.ddos_cookie_threshold = 1;
    pair.nodes[B].config.peers[0].profile.proposal.groups = vec![DhGroup::Ecp256];
    half_open(&mut pair, 1);
    pair.start();
    pair.run(ms(900));
    assert_eq!(pair.nodes[B].engine.counters().refused(Refused::CookieDemanded), 1);
    pair.run(secs(60));
    pair.assert_up(1);
}
/// Strangers' half-open IKE SAs at B, from A's address.
pub fn half_open(pair: &mut Pair, n: u64) {
    for at in 0..n {
        let mut stranger = node(1000 + at, pair.nodes[A].config.clone());
        stranger.config.peers[0].profile.proposal.groups =
            pair.nodes[B].config.peers[0].profile.proposal.groups.clone();
        let mut out = vec![];
        stranger.engine.configure(stranger.config.clone(), pair.now, &mut out);
        stranger.engine.handle(Input::Tick, pair.now, &mut out);
        pair.configure(B);
        for action in out {
            if let Action::Send(d) = action {
                pair.input(
                    B,
                    Input::Datagram(Datagram { local: d.remote, remote: d.local, payload: d.payload }),
                );
            }
        }
    }
}

#[test]
fn i1_a_flood_costs_neither_memory_nor_dh_beyond_the_threshold() {
    let mut pair = Pair::new(23);
    pair.nodes[B].config.ddos_cookie_threshold = 5;
    half_open(&mut pair, 50);
    assert_eq!(pair.nodes[B].engine.peers(pair.now).len(), 5);
    assert_eq!(pair.nodes[B].engine.counters().refused(Refused::CookieDemanded), 45);
    pair.start();
    pair.run(secs(3));
    assert_eq!(pair.nodes[A].engine.children(pair.now).len(), 1, "a true client gets in");
    pair.run(secs(60));
    pair.assert_up(1);
}

#[test]
fn an_unreachable_peer_is_told_once_per_attempt_and_tried_again() {
    let mut pair = Pair::new(24);
    pair.loss = 100;
    pair.start();
    pair.run(secs(64));
    one(&pair, A, &["no answer", "192.0.2.2:500", "UDP 500/4500"]);
    pair.loss = 0;
    pair.run(secs(120));
    pair.assert_up(1);
}
