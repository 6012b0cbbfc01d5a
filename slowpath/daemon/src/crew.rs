//! Threads that do the engine's public-key operations, so that the driver never waits for one.
//!
//! Peers take turns by their addresses: whoever has a hundred jobs here delays another one's first by a single one. How many
//! there are at most is the engine's affair, which counts what it has asked for.
use ike::api::Input;
use ike::job::{Done, Job};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::os::fd::{AsFd, OwnedFd};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;

/// Operations under way or waiting: a second of work for a slow core, and less than a megabyte.
pub const AT_ONCE: usize = 1024;

/// Jobs by the address that they are for; each address has one in its turn.
struct Fair<T> {
    by_address: HashMap<IpAddr, VecDeque<T>>,
    turns: VecDeque<IpAddr>,
}
impl<T> Default for Fair<T> {
    fn default() -> Self {
        Self { by_address: HashMap::new(), turns: VecDeque::new() }
    }
}
impl<T> Fair<T> {
    fn push(&mut self, from: IpAddr, job: T) {
        let jobs = self.by_address.entry(from).or_default();
        if jobs.is_empty() {
            self.turns.push_back(from);
        }
        jobs.push_back(job);
    }
    fn pop(&mut self) -> Option<T> {
        let from = self.turns.pop_front()?;
        let jobs = self.by_address.get_mut(&from)?;
        let job = jobs.pop_front();
        if jobs.is_empty() {
            self.by_address.remove(&from);
        } else {
            self.turns.push_back(from);
        }
        job
    }
}

#[derive(Default)]
struct Board {
    jobs: Fair<(u64, Job)>,
    ends: bool,
}
#[derive(Default)]
struct Shared {
    board: Mutex<Board>,
    news: Condvar,
}

pub struct Crew {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    done: Receiver<(u64, Done)>,
    wake: Arc<OwnedFd>,
}
impl Crew {
    pub fn new(threads: usize) -> std::io::Result<Self> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let (shared, (tell, done)) = (Arc::<Shared>::default(), channel());
        let start = |at: usize| {
            let (shared, tell, wake) = (Arc::clone(&shared), tell.clone(), Arc::clone(&wake));
            let thread = std::thread::Builder::new().name(format!("ike-crypto-{at}"));
            thread.spawn(move || work(&shared, &tell, &wake))
        };
        let threads = (0..threads).map(start).collect::<Result<_, _>>()?;
        Ok(Self { shared, threads, done, wake })
    }
    pub fn size(&self) -> usize {
        self.threads.len()
    }
    pub fn poll_fd(&self) -> PollFd<'_> {
        PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN)
    }
    pub fn add(&self, jobs: impl IntoIterator<Item = (u64, IpAddr, Job)>) {
        let mut board = self.shared.board.lock().unwrap_or_else(PoisonError::into_inner);
        for (id, from, job) in jobs {
            board.jobs.push(from, (id, job));
            self.shared.news.notify_one();
        }
    }
    /// What has been done since.
    pub fn done(&self) -> impl Iterator<Item = Input> + '_ {
        let mut drained = [0; 8];
        let _ = rustix::io::read(&*self.wake, &mut drained); // empty is as good
        self.done.try_iter().map(|(id, done)| Input::Computed { id, done })
    }
}
impl Drop for Crew {
    fn drop(&mut self) {
        self.shared.board.lock().unwrap_or_else(PoisonError::into_inner).ends = true;
        self.shared.news.notify_all();
        for thread in self.threads.drain(..) {
            // It ended either way.
            let _ = thread.join();
        }
    }
}

fn work(shared: &Shared, tell: &Sender<(u64, Done)>, wake: &OwnedFd) {
    while let Some((id, job)) = next(shared) {
        // One that panics is one that fails; the others' peers need not suffer for it.
        let done = catch_unwind(AssertUnwindSafe(|| job.run())).unwrap_or_else(|_| Done::nothing());
        if tell.send((id, done)).is_err() {
            return;
        }
        let _ = rustix::io::write(wake, &1u64.to_ne_bytes());
    }
}
/// Waits for it; `None`: there will be no more.
fn next(shared: &Shared) -> Option<(u64, Job)> {
    let mut board = shared.board.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        if board.ends {
            return None;
        }
        if let Some(job) = board.jobs.pop() {
            return Some(job);
        }
        board = shared.news.wait(board).unwrap_or_else(PoisonError::into_inner);
    }
}

#[test]
fn peers_take_turns() {
    let mut fair = Fair::default();
    let address = |last: u8| IpAddr::from([192, 0, 2, last]);
    (0..100).for_each(|n| fair.push(address(1), (1, n)));
    (0..2).for_each(|n| fair.push(address(2), (2, n)));
    fair.push(address(3), (3, 0));
    let order: Vec<(u8, u32)> = std::iter::from_fn(|| fair.pop()).collect();
    assert_eq!(order[..6], [(1, 0), (2, 0), (3, 0), (1, 1), (2, 1), (1, 2)]);
    assert_eq!(order.len(), 103);
    assert!(fair.by_address.is_empty() && fair.turns.is_empty());
}
