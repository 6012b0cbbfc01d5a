//! Transport mode and AH: what is agreed, narrowed and refused.
use super::pair::*;
use super::refusals::{one, run};
use crate::api::*;
use sa::{Encryption, Integrity, Mode, PortRange, Prefix, Protocol, Suite, TrafficSelector, TunnelEnds};
use std::net::{IpAddr, SocketAddr};

/// Between the two ends of the IKE SA.
fn ends(node: usize) -> TrafficSelector {
    let host = |n| Prefix::host(addr(n)).range();
    TrafficSelector {
        local: host(node),
        remote: host(1 - node),
        protocol: None,
        local_port: PortRange::ANY,
        remote_port: PortRange::ANY,
    }
}
fn transport(config: &mut Config, node: usize) {
    let child = &mut config.peers[0].children[0];
    (child.tunnel, child.selector) = (false, ends(node));
}
fn ah(config: &mut Config) {
    let child = &mut config.peers[0].children[0];
    child.protocol = Protocol::Ah;
    child.suites = [Integrity::HmacSha256, Integrity::HmacSha1]
        .map(|i| Suite::new(Encryption::Null, i).unwrap())
        .to_vec();
}

#[test]
fn transport_mode_needs_both() {
    let pair = run(|a, b| (transport(a, A), transport(b, B)).1);
    pair.assert_up(1);
    for (n, node) in pair.nodes.iter().enumerate() {
        assert!(node.table.values().all(|s| s.mode == Mode::Transport && s.selectors == [ends(n)]));
        assert!(node.table.values().all(|s| s.original.is_none()));
    }
    // A responder that does not want it leaves the notify out, and the initiator wants nothing else.
    let mut pair = run(|a, b| {
        transport(a, A);
        b.peers[0].children[0].selector = ends(B);
    });
    pair.run(secs(20));
    one(&pair, A, &["tunnel="]);
    assert!(pair.nodes.iter().all(|n| n.table.is_empty()), "{:?}", pair.nodes[B].table);
    let pair = run(|a, b| {
        a.peers[0].children[0].selector = ends(A);
        transport(b, B);
    });
    one(&pair, B, &["tunnel=no"]);
}

#[test]
fn selectors_are_narrowed_to_the_two_ends() {
    let wide = |config: &mut Config| {
        let child = &mut config.peers[0].children[0];
        let any = Prefix::new("0.0.0.0".parse().unwrap(), 0).unwrap().range();
        child.tunnel = false;
        child.selector = TrafficSelector { local: any, remote: any, protocol: Some(47), ..ends(A) };
    };
    let pair = run(|a, b| (wide(a), wide(b)).1);
    pair.assert_up(1);
    for (n, node) in pair.nodes.iter().enumerate() {
        let expected = TrafficSelector { protocol: Some(47), ..ends(n) };
        assert!(node.table.values().all(|s| s.selectors == [expected]), "{:#?}", node.table);
    }
    // Of one protocol here and of all there: what both have.
    let pair = run(|a, b| (wide(a), transport(b, B)).1);
    pair.assert_up(1);
    assert!(pair.nodes[B].table.values().all(|s| s.selectors[0].protocol == Some(47)));
}

#[test]
fn a_policy_about_others_cannot_be_transport_mode() {
    let pair = run(|a, b| {
        a.peers[0].children[0].tunnel = false;
        transport(b, B);
    });
    one(&pair, A, &["transport mode is between 192.0.2.1 and 192.0.2.2", "tunnel=yes"]);
    assert!(pair.nodes.iter().all(|n| n.table.is_empty()));
}

#[test]
fn of_two_policies_the_one_of_the_wanted_mode_is_taken() {
    let pair = run(|a, b| {
        transport(a, A);
        let tunnel = Child { selector: ends(B), ..child(B, 1) };
        let other = Child { tunnel: false, selector: ends(B), ..child(B, 2) };
        b.peers[0].children = vec![tunnel, other];
        b.peers[0].passive = true;
    });
    pair.assert_up(1);
    assert!(pair.nodes[B].table.values().all(|s| s.policy == sa::PolicyId(2) && s.mode == Mode::Transport));
}

#[test]
fn ah_is_negotiated_rekeyed_and_deleted() {
    for in_transport in [false, true] {
        let mut pair = run(|a, b| {
            for (config, node) in [(a, A), (b, B)] {
                ah(config);
                if in_transport {
                    transport(config, node);
                }
            }
        });
        pair.assert_up(1);
        let sha256 = Suite::new(Encryption::Null, Integrity::HmacSha256).unwrap();
        let right = |s: &sa::SaSpec| {
            (s.protocol, s.suite, s.encryption_key.len(), s.integrity_key.len())
                == (Protocol::Ah, sha256, 0, 32)
        };
        assert!(pair.nodes.iter().all(|n| n.table.values().all(right)));
        let before = pair.inbound(A);
        pair.input(A, Input::RekeyChild { slot: before.0 });
        pair.run(secs(20));
        pair.assert_up(1);
        assert_ne!(pair.inbound(A).1, before.1);
        pair.restart(A);
        pair.run(secs(5));
        pair.assert_up(1);
        assert!(pair.nodes[A].table.values().all(right));
        let (slot, spi) = pair.inbound(B);
        pair.input(B, Input::DeleteChild { slot, spi });
        pair.run(secs(1));
        assert!(!pair.nodes[A].table.values().any(|s| s.spi == spi), "the delete names an SA of AH");
    }
}

#[test]
fn ah_and_esp_do_not_mix() {
    let pair = run(|a, _| ah(a));
    one(&pair, A, &["NO_PROPOSAL_CHOSEN"]);
    one(&pair, B, &["no proposal is for an ESP SA"]);
    let pair = run(|_, b| ah(b));
    one(&pair, B, &["no proposal is for an AH SA", "for AH (phase 2): ah sha256,sha1"]);
    // The same protocol, and no algorithm in common.
    let pair = run(|a, b| {
        ah(a);
        ah(b);
        a.peers[0].children[0].suites.truncate(1);
        b.peers[0].children[0].suites.remove(0);
    });
    one(&pair, B, &["auth-algorithms: they have sha256, we have sha1", "auth-algorithms=sha1,sha256"]);
}

fn behind_nat(change: impl FnOnce(&mut Config, &mut Config), time: Now) -> Pair {
    let (mut a, mut b) = (config(A, "secret"), config(B, "secret"));
    b.peers[0].address = Prefix::new("0.0.0.0".parse().unwrap(), 0).unwrap();
    change(&mut a, &mut b);
    let mut pair = Pair::with(22, a, b);
    (pair.nat, pair.nat_port) = (true, 45_123);
    pair.start();
    pair.run(time);
    pair
}
//= test rfc7296#2.23.1/originals
#[test]
fn transport_mode_through_a_nat_has_the_addresses_that_each_end_sees() {
    let any = Prefix::new("0.0.0.0".parse().unwrap(), 0).unwrap().range();
    let mut pair = behind_nat(
        |a, b| {
            transport(a, A);
            transport(b, B);
            b.peers[0].children[0].selector.remote = any;
        },
        secs(3),
    );
    pair.assert_up(1);
    let check = |pair: &Pair| {
        assert!(pair.nodes[A].table.values().all(|s| s.selectors == [ends(A)] && s.original.is_none()));
        let seen = TrafficSelector { remote: Prefix::host(nat_addr()).range(), ..ends(B) };
        let original = Some(TunnelEnds { local: addr(B), remote: addr(A) });
        for sa in pair.nodes[B].table.values() {
            assert_eq!((&sa.selectors[..], sa.original), (&[seen][..], original));
            assert_eq!((sa.mode, sa.ends.remote), (Mode::Transport, nat_addr()));
        }
    };
    check(&pair);
    // After rekeys from both ends and a restart it is still so.
    for n in [A, B] {
        let slot = pair.inbound(n).0;
        pair.input(n, Input::RekeyChild { slot });
        pair.run(secs(20));
        pair.assert_up(1);
    }
    pair.restart(B);
    pair.run(secs(5));
    pair.assert_up(1);
    let remote: Vec<IpAddr> = pair.nodes[B].table.values().map(|s| s.ends.remote).collect();
    assert!(remote.iter().all(|a| *a == nat_addr()));
    // A18: the peer shows up on another port, and nothing else changes.
    pair.nat_port = 50_000;
    let (slot, spi) = pair.inbound(B);
    pair.input(B, Input::PeerMoved { slot, spi, from: SocketAddr::new(nat_addr(), 50_000) });
    assert!(pair.nodes[B].table.values().all(|s| s.encap.unwrap().remote_port == 50_000));
}

#[test]
fn ah_behind_a_nat_is_refused_with_the_reason() {
    let pair = behind_nat(|a, b| (ah(a), ah(b)).1, ms(900));
    one(&pair, A, &["AH cannot cross the NAT", "ipsec-protocols=esp"]);
    assert!(pair.nodes.iter().all(|n| n.table.is_empty()));
}
