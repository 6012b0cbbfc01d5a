//! The hand-over of bursts under a model checker: the very source of `graph/share/handover.rs`, with atomics and locks
//! that try every order in which two threads can run.
mod sync {
    pub use loom::sync::atomic::{AtomicU64, Ordering};
    pub use loom::sync::{Arc, Mutex};

    #[derive(Default)]
    pub struct Wait(());
    impl Wait {
        pub fn turn(&mut self) {
            loom::thread::yield_now();
        }
    }
}
#[path = "../src/graph/share/handover.rs"]
mod handover;

use handover::{Handover, Owner, Taken};
use sync::{Arc, AtomicU64, Mutex, Ordering};

/// Takes what there is; in its turn, writes down which item it is.
fn work(lane: &Handover<u64>, turns: &Mutex<Vec<u64>>) -> u64 {
    let (mut taken, mut order) = (0, Arc::clone(lane.order()));
    while let Some(mut item) = lane.take() {
        let mut turn = item.turn(order);
        turn.enter();
        let value = *item.item().expect("an item");
        // Alone: the model fails if another thread were in its turn.
        turns.try_lock().expect("nobody else's turn").push(value);
        turn.pass();
        item.after(&turn);
        order = turn.into_order();
        *item.item().expect("still there") += 100;
        taken += 1;
    }
    taken
}
fn take_all(owner: &mut Owner<u64>, got: &mut Vec<u64>) {
    while let Some(item) = owner.given_back() {
        got.push(item.expect("nobody panicked"));
    }
}

/// The preemptions the checker tries per run: enough for every known kind of ring bug, few enough to end.
fn model(bound: usize, run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(bound);
    builder.check(run);
}

#[test]
fn every_item_is_worked_on_once_in_turn_and_comes_back_in_order() {
    model(3, || {
        let mut owner = Owner::new(2);
        let turns = Arc::new(Mutex::new(Vec::new()));
        assert!(owner.put(0).is_ok() && owner.put(1).is_ok());
        assert_eq!(owner.put(9), Err(9), "full is an answer");
        let (lane, written) = (Arc::clone(owner.shared()), Arc::clone(&turns));
        let helper = loom::thread::spawn(move || work(&lane, &written));
        let mut got = Vec::new();
        let mut taken = work(&Arc::clone(owner.shared()), &turns);
        take_all(&mut owner, &mut got);
        // A slot that is used again.
        let put = owner.put(2).is_ok();
        taken += work(&Arc::clone(owner.shared()), &turns);
        taken += helper.join().expect("the helper");
        take_all(&mut owner, &mut got);
        let count = 2 + u64::from(put);
        assert_eq!((taken, owner.in_flight()), (count, 0));
        assert_eq!(*turns.lock().expect("the list"), (0..count).collect::<Vec<_>>());
        assert_eq!(got, (100..100 + count).collect::<Vec<_>>());
    });
}

#[test]
fn two_helpers_and_an_owner_that_only_collects() {
    model(2, || {
        let mut owner = Owner::new(2);
        let turns = Arc::new(Mutex::new(Vec::new()));
        assert!(owner.put(0).is_ok() && owner.put(1).is_ok());
        let helpers = [(); 2].map(|()| {
            let (lane, written) = (Arc::clone(owner.shared()), Arc::clone(&turns));
            loom::thread::spawn(move || work(&lane, &written))
        });
        let mut got = Vec::new();
        take_all(&mut owner, &mut got);
        let taken: u64 = helpers.into_iter().map(|helper| helper.join().expect("a helper")).sum();
        take_all(&mut owner, &mut got);
        assert_eq!((taken, owner.untaken(), owner.room()), (2, 0, 2));
        assert_eq!(*turns.lock().expect("the list"), [0, 1]);
        assert_eq!(got, [100, 101]);
    });
}

/// What is written in one turn is seen in the next, without any atomic of its own ordering it.
#[test]
fn a_turn_sees_what_the_turn_before_has_done() {
    model(3, || {
        let mut owner = Owner::new(2);
        let sum = Arc::new(AtomicU64::new(0));
        assert!(owner.put(1).is_ok() && owner.put(1).is_ok());
        let add = |lane: &Handover<u64>, sum: &AtomicU64| {
            while let Some(item) = lane.take() {
                item.turn(Arc::clone(lane.order())).enter();
                let before = sum.load(Ordering::Relaxed);
                sum.store(before + 1, Ordering::Relaxed);
                // Given back without `pass`, as by somebody who panicked: dropping ends the turn.
                drop::<Taken<'_, u64>>(item);
            }
        };
        let (lane, shared) = (Arc::clone(owner.shared()), Arc::clone(&sum));
        let helper = loom::thread::spawn(move || add(&lane, &shared));
        add(&Arc::clone(owner.shared()), &sum);
        helper.join().expect("the helper");
        assert_eq!(sum.load(Ordering::Relaxed), 2);
    });
}
