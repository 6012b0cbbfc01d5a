//! Rows C6, J1, J2: both ends rekey, create and delete at random moments over a bad network. In the end both
//! agree, exactly one child per policy lives, nothing is left over, and no data packet has found no SA.
use super::pair::*;
use crate::api::*;
use sa::{Direction, PolicyId};

/// Half a minute of mischief, then quiet.
fn storm(seed: u64, loss: u64, policies: u32, mischief: fn(&mut Pair, u64)) -> Pair {
    storm_with(seed, loss, policies, mischief, |_, _| {})
}
pub fn storm_with(
    seed: u64,
    loss: u64,
    policies: u32,
    mischief: fn(&mut Pair, u64),
    change: fn(usize, &mut Config),
) -> Pair {
    let with = |node| {
        let mut c = config(node, "secret");
        c.peers[0].children = (1..=policies).map(|p| child(node, p)).collect();
        change(node, &mut c);
        c
    };
    let mut pair = Pair::with(seed, with(A), with(B));
    pair.start();
    pair.run(secs(3));
    pair.assert_up(policies as usize);
    pair.data = true;
    (pair.loss, pair.duplicates, pair.latency) = (loss, 10, (5, 300));
    for _ in 0..20 {
        let what = pair.rng.next();
        mischief(&mut pair, what);
        let pause = pair.rng.below(1500);
        pair.run(ms(pause));
    }
    // The mischief ends; what is under way still meets the bad network.
    pair.run(secs(60));
    pair.loss = 0;
    pair.run(secs(130));
    pair
}
fn some_child(pair: &mut Pair, n: usize) -> Option<sa::SaSlot> {
    let children = pair.nodes[n].engine.children(pair.now);
    let at = pair.rng.below(children.len() as u64) as usize;
    children.get(at).map(|c| c.inbound.0)
}
fn peer_name(pair: &Pair, n: usize) -> String {
    pair.nodes[n].config.peers[0].name.clone()
}
fn rekey_children(pair: &mut Pair, what: u64) {
    let ends: &[usize] = [&[A, B][..], &[A], &[B]][(what % 3) as usize];
    for &n in ends {
        if let Some(slot) = some_child(pair, n) {
            pair.input(n, Input::RekeyChild { slot });
        }
    }
}
fn rekey_ike(pair: &mut Pair, what: u64) {
    let ends: &[usize] = [&[A, B][..], &[A], &[B]][(what % 3) as usize];
    for &n in ends {
        let peer = peer_name(pair, n);
        pair.input(n, Input::RekeyIke { peer });
    }
}
pub fn rekey_all(pair: &mut Pair, what: u64) {
    if what >> 8 & 1 == 0 { rekey_children(pair, what) } else { rekey_ike(pair, what) }
}
pub fn seeds() -> std::ops::Range<u64> {
    let count = std::env::var("ESPWAY_SEEDS").ok().and_then(|n| n.parse().ok()).unwrap_or(6);
    0..count
}
fn check(mischief: fn(&mut Pair, u64), policies: u32) {
    for loss in [0, 20] {
        for seed in seeds() {
            let told = Told(format!("seed {seed}, loss {loss} %"));
            let pair = storm(seed, loss, policies, mischief);
            pair.assert_up(policies as usize);
            pair.assert_no_loss();
            assert!(pair.data_sent > 1000);
            std::mem::forget(told);
        }
    }
}
/// Names the seed when a check fails.
pub struct Told(pub String);
impl Drop for Told {
    fn drop(&mut self) {
        eprintln!("{}", self.0);
    }
}

//= test rfc7296#2.8.1/lowest-nonce
#[test]
fn c6_child_rekeys_from_both_ends() {
    check(rekey_children, 1);
}
//= test rfc7296#2.8.2/lowest-nonce
#[test]
fn c6_ike_rekeys_from_both_ends() {
    check(rekey_ike, 1);
}
#[test]
fn c6_child_and_ike_rekeys_mixed() {
    check(rekey_all, 3);
}

#[test]
fn c6_deletes_among_rekeys() {
    fn mischief(pair: &mut Pair, what: u64) {
        match what % 4 {
            0 => {
                // A child deleted in mid-air, asked for again by the next packet.
                let n = (what >> 8 & 1) as usize;
                if let Some(slot) = some_child(pair, n) {
                    let spi = pair.nodes[n]
                        .engine
                        .children(pair.now)
                        .iter()
                        .find(|c| c.inbound.0 == slot)
                        .unwrap()
                        .inbound
                        .1;
                    pair.input(n, Input::HardExpire { slot, spi });
                }
            }
            _ => rekey_all(pair, what),
        }
    }
    for loss in [0, 20] {
        for seed in seeds() {
            let told = Told(format!("seed {seed}, loss {loss} %"));
            let mut pair = storm(seed, loss, 1, mischief);
            acquire(&mut pair, A);
            pair.run(secs(30));
            pair.assert_up(1);
            std::mem::forget(told);
        }
    }
}
fn acquire(pair: &mut Pair, n: usize) {
    let s = selector(n, 1);
    let (policy, src, dst) = (PolicyId(1), s.local.first(), s.remote.first());
    pair.input(n, Input::Acquire { policy, src, dst, protocol: 17, src_port: 5, dst_port: 6 });
}

#[test]
fn j1_handshakes_end_well_over_a_bad_network() {
    for seed in seeds() {
        let told = Told(format!("seed {seed}"));
        let mut pair = Pair::new(seed);
        (pair.loss, pair.duplicates, pair.latency) = (20, 10, (5, 1000));
        pair.start();
        pair.run(secs(60));
        pair.loss = 0;
        pair.run(secs(70));
        pair.assert_up(1);
        std::mem::forget(told);
    }
}

// Both ends call at the same moment: two IKE SAs, of which one stays.
#[test]
fn both_ends_call_at_once() {
    for loss in [0, 20] {
        for seed in seeds() {
            let told = Told(format!("seed {seed}, loss {loss} %"));
            let (a, mut b) = (config(A, "secret"), config(B, "secret"));
            b.peers[0].passive = false;
            let mut pair = Pair::with(seed, a, b);
            (pair.loss, pair.latency, pair.data) = (loss, (5, 200), true);
            pair.start();
            pair.run(secs(60));
            pair.loss = 0;
            pair.run(secs(150));
            pair.assert_up(1);
            std::mem::forget(told);
        }
    }
}

// The second of the two SAs takes over only where the other end can receive on it already.
#[test]
fn calls_from_both_ends_lose_no_packet_once_one_tunnel_is_up() {
    let mut doubled = 0;
    for seed in seeds() {
        let told = Told(format!("seed {seed}"));
        let (a, mut b) = (config(A, "secret"), config(B, "secret"));
        b.peers[0].passive = false;
        let mut pair = Pair::with(seed, a, b);
        pair.latency = (5, 200);
        pair.start();
        let spis = |pair: &Pair, n: usize, direction| -> Vec<_> {
            pair.nodes[n].table.values().filter(|s| s.direction == direction).map(|s| s.spi).collect()
        };
        let up = |pair: &Pair| {
            [A, B].iter().all(|&n| {
                let (out, there) =
                    (spis(pair, n, Direction::Outbound), spis(pair, 1 - n, Direction::Inbound));
                !out.is_empty() && out.iter().all(|spi| there.contains(spi))
            })
        };
        while !up(&pair) {
            pair.run(ms(1));
        }
        pair.data = true;
        let most = (0..600).map(|_| {
            pair.run(ms(5));
            pair.nodes.iter().map(|node| node.table.len()).max().unwrap_or(0)
        });
        doubled += u32::from(most.max() > Some(2));
        pair.run(secs(60));
        pair.assert_up(1);
        pair.assert_no_loss();
        std::mem::forget(told);
    }
    assert!(doubled > 0, "no seed brought up two SAs");
}

// Both ends need the same child at the same moment: two are made, of which one stays.
#[test]
fn both_ends_ask_for_the_same_child_at_once() {
    for seed in seeds() {
        let told = Told(format!("seed {seed}"));
        let mut pair = Pair::up(seed);
        pair.latency = (5, 100);
        for n in [A, B] {
            let (slot, spi) = pair.inbound(n);
            pair.input(n, Input::HardExpire { slot, spi });
        }
        pair.run(secs(10));
        acquire(&mut pair, A);
        acquire(&mut pair, B);
        pair.run(secs(1));
        pair.data = true;
        pair.run(secs(30));
        pair.assert_up(1);
        pair.assert_no_loss();
        std::mem::forget(told);
    }
}
