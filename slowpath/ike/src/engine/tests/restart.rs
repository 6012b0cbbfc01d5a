//! Row H4: the process is killed at any moment and another one goes on from the vault; the fast path runs on.
use super::pair::*;
use crate::api::*;

#[test]
fn a_restarted_end_goes_on_with_the_same_sas() {
    for end in [A, B] {
        let mut pair = Pair::up(31);
        pair.data = true;
        let before = (pair.inbound(A), pair.nodes[A].engine.peers(pair.now)[0].spi_i);
        pair.restart(end);
        pair.run(secs(5));
        pair.assert_up(1);
        assert_eq!(before, (pair.inbound(A), pair.nodes[A].engine.peers(pair.now)[0].spi_i));
        for n in [A, B] {
            let slot = pair.inbound(n).0;
            pair.input(n, Input::RekeyChild { slot });
            pair.run(secs(10));
            let peer = pair.nodes[n].config.peers[0].name.clone();
            pair.input(n, Input::RekeyIke { peer });
            pair.run(secs(120));
            pair.assert_up(1);
        }
        pair.assert_no_loss();
    }
}

// Kills during rekeys of both kinds, loss or not: the request in flight goes on, nobody gets out of step.
#[test]
fn h4_killed_at_random_moments() {
    for loss in [0, 20] {
        for seed in 0..12 {
            let mut pair = Pair::up(seed);
            (pair.data, pair.loss, pair.latency) = (true, loss, (5, 200));
            for _ in 0..12 {
                let n = pair.rng.below(2) as usize;
                if pair.rng.percent(50) {
                    let peer = pair.nodes[n].config.peers[0].name.clone();
                    pair.input(n, Input::RekeyIke { peer });
                } else if let Some(c) = pair.nodes[n].engine.children(pair.now).first() {
                    let slot = c.inbound.0;
                    pair.input(n, Input::RekeyChild { slot });
                }
                let pause = pair.rng.below(800);
                pair.run(ms(pause));
                let victim = pair.rng.below(2) as usize;
                pair.restart(victim);
                let pause = pair.rng.below(800);
                pair.run(ms(pause));
            }
            pair.run(secs(60));
            pair.loss = 0;
            pair.run(secs(130));
            pair.assert_up(1);
            pair.assert_no_loss();
        }
    }
}

#[test]
fn h9_a_damaged_record_is_refused_and_changes_nothing() {
    let pair = Pair::up(32);
    let record = pair.nodes[A].vault.values().next().unwrap().clone();
    let mut rng = Seeded::new(5);
    for cut in 0..record.len() {
        let mut fresh = node(1, pair.nodes[A].config.clone());
        let mut out = vec![];
        fresh.engine.configure(fresh.config.clone(), pair.now, &mut out);
        assert!(fresh.engine.restore(&record[..cut], pair.now, &mut out).is_err(), "cut at {cut}");
        assert!(fresh.engine.peers(pair.now).is_empty() && fresh.engine.slots.owned() == 0);
        let mut flipped = record.clone();
        flipped[cut] ^= 1 << rng.below(8);
        // The seal keeps such records away; whatever this one says, nothing breaks.
        let _ = fresh.engine.restore(&flipped, pair.now, &mut out);
        fresh.engine.handle(Input::Tick, pair.now, &mut out);
    }
}
