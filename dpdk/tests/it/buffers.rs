use crate::own_process;
use crate::support::{fill, number, pool, start};
use dpdk::{Burst, Exhausted, MbufRing, Mempool, PoolConfig, PoolError};
use proptest::prelude::*;
use proptest::test_runner::TestRunner;
use wire::{PacketBuf, TestBuf};

#[test]
fn an_exhausted_pool_returns_an_error_and_recovers() {
    own_process!();
    let eal = start();
    let pool = pool(&eal, 63);
    let mut taken: Vec<_> = (0..63).map(|_| pool.alloc().expect("a free buffer")).collect();
    assert_eq!(pool.alloc().err(), Some(Exhausted));
    let mut burst = Burst::new();
    assert_eq!(pool.alloc_burst(&mut burst, 1), Err(Exhausted));
    assert_eq!((pool.in_use(), burst.len()), (63, 0));
    taken.pop();
    assert_eq!(pool.alloc_burst(&mut burst, 2), Err(Exhausted), "all or nothing");
    pool.alloc_burst(&mut burst, 1).expect("the buffer that was given back");
    drop((taken, burst));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_pool_that_cannot_be_made_says_why() {
    own_process!();
    let eal = start();
    let make = |config: PoolConfig| Mempool::create(&eal, &config).map(drop).expect_err("it cannot be made");
    let good = PoolConfig::new("pool", 255);
    assert!(matches!(make(PoolConfig { name: "x".repeat(22), ..good.clone() }), PoolError::Config { .. }));
    assert!(matches!(make(PoolConfig { cache: 200, ..good.clone() }), PoolError::Config { .. }));
    assert!(matches!(make(PoolConfig { private: 3, ..good.clone() }), PoolError::Config { .. }));
    assert!(matches!(make(PoolConfig { buffers: 10_000_000, ..good.clone() }), PoolError::Create { .. }));
    Mempool::create(&eal, &good).expect("the good one");
    assert!(matches!(make(good), PoolError::Create { .. }), "the name is taken");
}

#[test]
fn dropping_a_burst_returns_all_buffers() {
    own_process!();
    let eal = start();
    let pool = pool(&eal, 255);
    let mut burst = Burst::new();
    fill(&pool, &mut burst, 64);
    assert!(burst.is_full());
    let refused = burst.push(pool.alloc().expect("a free buffer"));
    assert_eq!(pool.in_use(), 65);
    drop(refused);
    assert_eq!(pool.in_use(), 64, "what does not fit comes back and is freed by its owner");
    // Part of a drain is taken, the rest is freed with the iterator.
    let kept: Vec<_> = burst.drain().take(10).collect();
    assert_eq!((pool.in_use(), burst.len()), (10, 0));
    assert_eq!(kept.iter().filter_map(number).collect::<Vec<_>>(), (0..10).collect::<Vec<_>>());
    for mbuf in kept {
        burst.push(mbuf).expect("room");
    }
    assert_eq!(burst.pop().as_ref().and_then(number), Some(9));
    assert_eq!(pool.in_use(), 9);
    drop(burst);
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn the_private_area_belongs_to_its_buffer_alone() {
    own_process!();
    let eal = start();
    let config = PoolConfig { private: 64, cache: 0, ..PoolConfig::new("private", 31) };
    let pool = Mempool::create(&eal, &config).expect("a pool");
    let mut mbufs: Vec<_> = (0..31).map(|_| pool.alloc().expect("a free buffer")).collect();
    for (at, mbuf) in mbufs.iter_mut().enumerate() {
        assert_eq!(mbuf.private_mut().len(), 64);
        mbuf.private_mut().fill(at as u8);
        let room = mbuf.headroom();
        mbuf.prepend(room).expect("all of the headroom").fill(0xee);
        let room = mbuf.tailroom();
        mbuf.append(room).expect("all of the tailroom").fill(0xee);
    }
    for (at, mbuf) in mbufs.iter_mut().enumerate() {
        assert!(mbuf.private_mut().iter().all(|byte| *byte == at as u8), "buffer {at}");
    }
}

#[derive(Clone, Debug)]
enum Step {
    Prepend(usize),
    Append(usize),
    Advance(usize),
    Truncate(usize),
    Write(u8),
}

#[test]
fn an_mbuf_behaves_like_the_test_buffer() {
    own_process!();
    let eal = start();
    let pool = pool(&eal, 31);
    let size = || prop_oneof![0..200_usize, 0..3000_usize, Just(usize::MAX), 65_000..66_000_usize];
    let step = prop_oneof![
        size().prop_map(Step::Prepend),
        size().prop_map(Step::Append),
        size().prop_map(Step::Advance),
        size().prop_map(Step::Truncate),
        any::<u8>().prop_map(Step::Write),
    ];
    let all = prop::collection::vec(step, 0..40);
    TestRunner::default()
        .run(&all, |steps| {
            let mut mbuf = pool.alloc().expect("a free buffer");
            let mut model = TestBuf::with_room(&[], mbuf.headroom(), mbuf.tailroom());
            for step in steps {
                match step {
                    Step::Prepend(n) => {
                        let both = (mbuf.prepend(n).is_some(), model.prepend(n).is_some());
                        prop_assert_eq!(both.0, both.1);
                        if both.0 {
                            mbuf.data_mut()[..n].fill(1);
                            model.data_mut()[..n].fill(1);
                        }
                    }
                    Step::Append(n) => {
                        let from = mbuf.len();
                        let both = (mbuf.append(n).is_some(), model.append(n).is_some());
                        prop_assert_eq!(both.0, both.1);
                        if both.0 {
                            mbuf.data_mut()[from..].fill(2);
                            model.data_mut()[from..].fill(2);
                        }
                    }
                    Step::Advance(n) => prop_assert_eq!(mbuf.advance(n), model.advance(n)),
                    Step::Truncate(n) => prop_assert_eq!(mbuf.truncate(n), model.truncate(n)),
                    Step::Write(byte) => {
                        mbuf.data_mut().fill(byte);
                        model.data_mut().fill(byte);
                    }
                }
                prop_assert_eq!(mbuf.headroom(), model.headroom());
                prop_assert_eq!(mbuf.tailroom(), model.tailroom());
                prop_assert_eq!(mbuf.data(), model.data());
            }
            Ok(())
        })
        .unwrap_or_else(|e| panic!("{e}"));
    assert_eq!(pool.in_use(), 0);
}

#[test]
fn a_ring_moves_packets_between_threads_and_frees_what_is_left() {
    own_process!();
    let eal = start();
    let pool = pool(&eal, 255);
    let (mut tx, mut rx) = MbufRing::create(&eal, "hand-over", 100).expect("a ring");
    let mut burst = Burst::new();
    fill(&pool, &mut burst, 64);
    assert_eq!(tx.send(&mut burst), 64);
    fill(&pool, &mut burst, 64);
    assert_eq!((tx.send(&mut burst), burst.len()), (36, 28), "100 fit");
    let extra = pool.alloc().expect("a free buffer");
    drop(tx.push(extra).expect_err("the ring is full"));
    drop(burst);
    assert_eq!(pool.in_use(), 100);
    let seen = std::thread::spawn(move || {
        let mut burst = Burst::new();
        let n = rx.receive(&mut burst);
        (n, burst.iter().filter_map(number).collect::<Vec<_>>())
    });
    assert_eq!(seen.join().expect("no panic"), (64, (0..64).collect()));
    assert_eq!(pool.in_use(), 36);
    drop(tx);
    assert_eq!(pool.in_use(), 0, "the ring gave back what was in it");
}
