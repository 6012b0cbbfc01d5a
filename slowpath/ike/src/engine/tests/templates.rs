//! Policies that are made inside templates, and children that serve several policies.
use super::pair::*;
use super::refusals::{one, run};
use crate::api::*;
use sa::{Action as Does, Framing, Level, Mode, PolicyId, PolicySpec, PortRange, Prefix, TrafficSelector};
use std::sync::Arc;

const TEMPLATE: PolicyId = PolicyId(77);

fn between(local: &str, remote: &str) -> TrafficSelector {
    let range = |text: &str| text.parse::<Prefix>().unwrap().range();
    TrafficSelector { local: range(local), remote: range(remote), ..selector(A, 1) }
}
fn template(id: PolicyId, selectors: &[TrafficSelector]) -> Template {
    let like = Child { policy: id, selector: selectors[0], tunnel: false, ..child(B, 1) };
    Template { group: "rw".into(), selectors: selectors.to_vec(), like }
}
/// No policies of its own; those that the peer asks for inside of these.
fn generates(config: &mut Config, any_port: bool, templates: Vec<Template>) {
    let peer = &mut config.peers[0];
    peer.children.clear();
    config.spd = templates.iter().map(|t| Rank::Template(t.like.policy)).collect();
    peer.identities[0].generate = Some(Arc::new(Generate { any_port, templates }));
}
fn anything(config: &mut Config) {
    generates(
        config,
        false,
        vec![template(TEMPLATE, &[between("0.0.0.0/0", "0.0.0.0/0"), between("::/0", "::/0")])],
    );
}
fn made(pair: &Pair, n: usize) -> Vec<TrafficSelector> {
    pair.nodes[n].policies.values().map(|made| made.spec.selector.into()).collect()
}
/// What the engine would tell a driver that has just come is what it has told this one.
#[track_caller]
fn agree(pair: &Pair, n: usize) {
    let mut all = pair.nodes[n].engine.generated();
    all.sort_by_key(|made| made.spec.id);
    assert!(all.iter().eq(pair.nodes[n].policies.values()), "{all:#?} {:#?}", pair.nodes[n].policies);
}

#[test]
fn a_policy_is_made_for_the_life_of_its_child() {
    let mut pair = run(|_, b| anything(b));
    pair.assert_up(1);
    assert_eq!(made(&pair, B), [selector(B, 1)]);
    let policy = pair.nodes[B].policies.values().next().unwrap().clone();
    assert_eq!((policy.template, policy.peer.as_str()), (TEMPLATE, "to-a"));
    assert_eq!(policy.spec.action, Does::Encrypt { level: Level::Unique, tunnel: true });
    let serves = |pair: &Pair| pair.nodes[B].table.values().all(|s| s.policy == policy.spec.id);
    assert!(serves(&pair) && made(&pair, A).is_empty());
    // It stays the same whoever rekeys what, and whichever process goes on.
    pair.data = true;
    for n in [A, B] {
        let slot = pair.inbound(n).0;
        pair.input(n, Input::RekeyChild { slot });
        pair.run(secs(20));
        let peer = pair.nodes[n].config.peers[0].name.clone();
        pair.input(n, Input::RekeyIke { peer });
        pair.run(secs(150));
        pair.assert_up(1);
        pair.restart(B);
        pair.run(secs(5));
        agree(&pair, B);
        assert!(serves(&pair) && pair.nodes[B].policies.len() == 1);
    }
    pair.assert_no_loss();
    pair.data = false;
    let (slot, spi) = pair.inbound(A);
    pair.input(A, Input::DeleteChild { slot, spi });
    pair.run(secs(1));
    assert!(made(&pair, B).is_empty(), "it has gone with the SA");
    agree(&pair, B);
    pair.input(A, Input::Initiate { peer: "to-b".into(), policy: None });
    pair.run(secs(8));
    pair.assert_up(1);
    assert_eq!(made(&pair, B).len(), 1);
    pair.input(B, Input::Terminate { peer: None });
    pair.run(ms(500));
    assert!(made(&pair, B).is_empty(), "and with the IKE SA");
}

#[test]
fn what_is_asked_for_is_narrowed_to_the_template_or_refused() {
    let inside = between("10.2.1.0/25", "10.0.0.0/8");
    let pair = run(|_, b| generates(b, false, vec![template(TEMPLATE, &[inside])]));
    pair.assert_up(1);
    assert_eq!(made(&pair, B), [between("10.2.1.0/25", "10.1.1.0/24")]);
    assert!(pair.nodes[A].table.values().all(|s| s.selectors == [between("10.1.1.0/24", "10.2.1.0/25")]));
    let outside = between("10.2.9.0/24", "10.0.0.0/8");
    let pair = run(|_, b| generates(b, false, vec![template(TEMPLATE, &[outside])]));
    one(&pair, A, &["TS_UNACCEPTABLE"]);
    one(&pair, B, &["template src-address=10.2.9.0/24", "template=yes group=rw", "[ts]"]);
    assert!(made(&pair, B).is_empty());
}

/// Somebody asks for what a policy above the template is for.
pub(super) fn taken() -> Pair {
    run(|_, b| {
        anything(b);
        b.spd.insert(0, catch_all(5));
    })
}
fn catch_all(id: u32) -> Rank {
    let any: Prefix = "0.0.0.0/0".parse().unwrap();
    let ports = PortRange::ANY;
    let selector = sa::Selector { src: any, dst: any, protocol: None, src_port: ports, dst_port: ports };
    let (id, action) = (PolicyId(id), Does::Discard);
    Rank::Policy(PolicySpec { id, selector, action, framing: Framing::default() })
}
#[test]
fn a_policy_above_the_template_keeps_its_traffic_and_one_below_does_not() {
    let pair = taken();
    one(&pair, A, &["TS_UNACCEPTABLE"]);
    one(&pair, B, &["stands above the template", "group `rw`", "[ts-taken]"]);
    let pair = run(|_, b| {
        anything(b);
        b.spd.push(catch_all(5));
    });
    pair.assert_up(1);
    assert_eq!(made(&pair, B).len(), 1);
}

#[test]
fn an_initiator_asks_for_what_its_template_allows() {
    let mut pair = run(|a, _| anything(a));
    pair.assert_up(1);
    assert_eq!(made(&pair, A), [selector(A, 1)]);
    // Without packets that would ask for it, it asks itself.
    let (slot, spi) = pair.inbound(B);
    pair.input(B, Input::DeleteChild { slot, spi });
    pair.run(secs(1));
    assert!(made(&pair, A).is_empty());
    pair.run(secs(20));
    pair.assert_up(1);
    assert_eq!(made(&pair, A), [selector(A, 1)]);
    pair.restart(A);
    pair.run(secs(5));
    pair.assert_up(1);
    agree(&pair, A);
}

#[test]
fn both_ip_versions_in_one_child() {
    let pair = run(|a, b| {
        anything(a);
        let mut four = child(B, 1);
        four.selector = between("10.2.0.0/16", "10.1.0.0/16");
        let six =
            Child { policy: PolicyId(2), selector: between("fd00:2::/32", "fd00:1::/32"), ..four.clone() };
        b.peers[0].children = vec![four, six];
    });
    pair.assert_up(1);
    let expected = [between("10.1.0.0/16", "10.2.0.0/16"), between("fd00:1::/32", "fd00:2::/32")];
    assert_eq!(made(&pair, A), expected);
    for (n, node) in pair.nodes.iter().enumerate() {
        assert!(node.table.values().all(|s| s.selectors.len() == 2 && s.also.len() == 1), "{n}");
    }
}

/// One list of ours, several policies there: one child for all that the lists can say, and no more than that.
#[test]
fn one_child_serves_several_policies() {
    let three = |b: &mut Config, third: TrafficSelector| {
        let of = |id, selector| Child { policy: PolicyId(id), selector, ..child(B, 1) };
        let (one, two) = (between("10.2.1.0/24", "10.1.0.0/24"), between("10.2.2.0/24", "10.1.0.0/24"));
        b.peers[0].children = vec![of(1, one), of(2, two), of(3, third)];
    };
    let wide = |a: &mut Config| a.peers[0].children[0].selector = between("10.1.0.0/16", "10.2.0.0/16");
    let mut pair = run(|a, b| (wide(a), three(b, between("10.2.3.0/24", "10.1.0.0/24"))).1);
    let check = |pair: &Pair| {
        pair.assert_up(1);
        for sa in pair.nodes[B].table.values() {
            assert_eq!((sa.policy, &sa.also[..]), (PolicyId(1), &[PolicyId(2), PolicyId(3)][..]));
            assert_eq!(sa.selectors.len(), 3);
        }
        assert!(pair.nodes[A].table.values().all(|s| s.selectors.len() == 3 && s.also.is_empty()));
    };
    check(&pair);
    for n in [A, B] {
        let slot = pair.inbound(n).0;
        pair.input(n, Input::RekeyChild { slot });
        pair.run(secs(20));
        check(&pair);
        pair.restart(B);
        pair.run(secs(5));
        check(&pair);
    }
    // A policy that goes takes the SA that serves it along.
    pair.nodes[B].config.peers[0].children.remove(1);
    pair.configure(B);
    pair.run(secs(8));
    assert!(pair.nodes[B].table.values().all(|s| !s.policies().any(|p| p == PolicyId(2))));
    // 10.1.9.0/24 with 10.2.1.0/24 is no policy's traffic, so the third one needs an SA of its own.
    let pair = run(|a, b| (wide(a), three(b, between("10.2.3.0/24", "10.1.9.0/24"))).1);
    assert!(
        pair.nodes[B]
            .table
            .values()
            .all(|s| s.policies().all(|p| p != PolicyId(3)) && s.selectors.len() == 2)
    );
    // `unique`: nobody else's.
    let pair = run(|a, b| {
        wide(a);
        three(b, between("10.2.3.0/24", "10.1.0.0/24"));
        b.peers[0].children.iter_mut().for_each(|c| c.level = Level::Unique);
    });
    assert!(pair.nodes[B].table.values().all(|s| s.also.is_empty() && s.selectors.len() == 1));
}

#[test]
fn ports_are_taken_over_or_overridden() {
    let l2tp = |a: &mut Config| {
        let selector = &mut a.peers[0].children[0].selector;
        selector.protocol = Some(17);
        (selector.local_port, selector.remote_port) = (PortRange::one(1701), PortRange::one(1701));
    };
    let all = || vec![template(TEMPLATE, &[between("0.0.0.0/0", "0.0.0.0/0")])];
    for any_port in [false, true] {
        let mut pair = run(|a, b| (l2tp(a), generates(b, any_port, all())).1);
        let ports = if any_port { PortRange::ANY } else { PortRange::one(1701) };
        for _ in 0..2 {
            pair.assert_up(1);
            let policy = made(&pair, B)[0];
            assert_eq!((policy.protocol, policy.local_port, policy.remote_port), (Some(17), ports, ports));
            assert!(pair.nodes[B].table.values().all(|s| s.selectors == [policy]));
            let asked = pair.nodes[A].config.peers[0].children[0].selector;
            assert!(pair.nodes[A].table.values().all(|s| s.selectors == [asked]), "no wider than asked");
            let slot = pair.inbound(B).0;
            pair.input(B, Input::RekeyChild { slot });
            pair.run(secs(20));
        }
    }
}

#[test]
fn transport_mode_is_what_the_caller_wants() {
    let pair = run(|a, b| {
        let child = &mut a.peers[0].children[0];
        child.tunnel = false;
        child.selector = between("192.0.2.1/32", "192.0.2.2/32");
        child.selector.protocol = Some(47);
        anything(b);
    });
    pair.assert_up(1);
    let policy = made(&pair, B)[0];
    assert_eq!(policy, TrafficSelector { protocol: Some(47), ..between("192.0.2.2/32", "192.0.2.1/32") });
    assert!(pair.nodes[B].table.values().all(|s| s.mode == Mode::Transport));
}

/// A client that was restarted has one policy here, not two; and the same without INITIAL_CONTACT.
#[test]
fn a_client_that_comes_again_has_its_policy_again() {
    for contact in [true, false] {
        let mut pair = run(|a, b| {
            a.peers[0].send_initial_contact = contact;
            anything(b);
        });
        let before: Vec<_> = pair.nodes[B].policies.keys().copied().collect();
        let config = pair.nodes[A].config.clone();
        pair.nodes[A] = node(99, config);
        pair.configure(A);
        pair.run(secs(8));
        let after: Vec<_> = pair.nodes[B].policies.keys().copied().collect();
        assert_eq!((after.len(), after == before), (1, !contact));
        let sending = pair.nodes[B].order.last().map(|slot| pair.nodes[B].table[slot].policy);
        assert_eq!(sending, after.first().copied(), "and sends to the new one");
        assert_eq!(pair.nodes[B].engine.peers(pair.now).len(), if contact { 1 } else { 2 });
        // The old IKE SA dies of silence; the policy stays.
        pair.run(secs(600));
        pair.assert_up(1);
        assert_eq!(pair.nodes[B].policies.len(), 1);
        agree(&pair, B);
    }
}

#[test]
fn policies_go_with_their_template() {
    let mut pair = run(|_, b| anything(b));
    pair.assert_up(1);
    // Still allowed: nothing happens.
    let inside = template(TEMPLATE, &[between("10.0.0.0/8", "10.0.0.0/8")]);
    generates(&mut pair.nodes[B].config, false, vec![inside]);
    pair.configure(B);
    pair.run(secs(1));
    assert_eq!(made(&pair, B).len(), 1);
    let outside = template(TEMPLATE, &[between("10.0.0.0/8", "172.16.0.0/12")]);
    generates(&mut pair.nodes[B].config, false, vec![outside]);
    pair.configure(B);
    pair.run(secs(1));
    assert!(made(&pair, B).is_empty());
    assert!(pair.nodes[B].engine.peers(pair.now)[0].state == "established", "the IKE SA stays");
}
