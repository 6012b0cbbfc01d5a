//! Where the driver's thread and that of the management API meet: questions on one side, answers on the other, each when
//! it has time. The driver answers a few in a turn and never waits.
use crate::control::{Answer, Rows};
use crate::driver::Driver;
use crate::negotiator::Negotiator;
use crate::running::Head;
use ike::api::{Now, Page};
use ipc::StatsReader;
use ipc::status::{Request, Response};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{oneshot, watch};

/// Questions that may wait.
const QUEUE: usize = 256;
/// How many are answered in one turn.
const TURN: usize = 8;
/// Rows of one page: copying them takes a fraction of a millisecond.
const PAGE: usize = 256;

enum Ask {
    Request(Box<Request>, oneshot::Sender<Response>),
    Page(Option<u64>, oneshot::Sender<Page>),
    Statistics(oneshot::Sender<Option<StatsReader>>),
    Head(oneshot::Sender<Head>),
}

/// How often something has changed that people watch: whoever waits is woken, and asks for what it wants to know.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Pulse {
    pub log: u64,
    pub diagnoses: u64,
    pub configuration: u64,
    /// IKE SAs that were established or ended.
    pub peers: u64,
}

/// For those who ask.
#[derive(Clone)]
pub struct Asker {
    queue: Arc<Mutex<VecDeque<Ask>>>,
    wake: Arc<OwnedFd>,
    pulse: Arc<watch::Sender<Pulse>>,
}
/// The driver has too much to do, or is gone.
#[derive(Debug)]
pub struct NoAnswer;

impl Asker {
    pub async fn request(&self, request: Request) -> Result<Response, NoAnswer> {
        self.ask(|reply| Ask::Request(Box::new(request), reply)).await
    }
    pub async fn page(&self, after: Option<u64>) -> Result<Page, NoAnswer> {
        self.ask(|reply| Ask::Page(after, reply)).await
    }
    pub async fn head(&self) -> Result<Head, NoAnswer> {
        self.ask(Ask::Head).await
    }
    pub async fn statistics(&self) -> Result<Option<StatsReader>, NoAnswer> {
        self.ask(Ask::Statistics).await
    }
    pub fn pulse(&self) -> watch::Receiver<Pulse> {
        self.pulse.subscribe()
    }
    /// Something was logged, by any thread.
    pub fn logged(&self) {
        self.pulse.send_modify(|pulse| pulse.log += 1);
    }
    /// Nobody waits for what comes of it.
    pub fn order(&self, request: Request) {
        let (reply, _) = oneshot::channel();
        // Whoever goes must be heard, however much waits.
        self.put(Ask::Request(Box::new(request), reply), usize::MAX);
    }
    async fn ask<T>(&self, ask: impl FnOnce(oneshot::Sender<T>) -> Ask) -> Result<T, NoAnswer> {
        let (reply, answer) = oneshot::channel();
        self.put(ask(reply), QUEUE);
        answer.await.map_err(|_| NoAnswer)
    }
    fn put(&self, ask: Ask, most: usize) {
        let mut queue = self.queue.lock().unwrap_or_else(PoisonError::into_inner);
        if queue.len() < most {
            queue.push_back(ask);
            self.wake();
        }
    }
    /// The driver looks around.
    pub fn wake(&self) {
        let _ = rustix::io::write(&*self.wake, &1u64.to_ne_bytes()); // full means that it is woken already
    }
    fn take(&self) -> Option<Ask> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner).pop_front()
    }
}

/// For the one who answers.
pub struct Desk {
    asker: Asker,
    /// Answers that come later.
    waiting: Vec<(Box<dyn Rows>, oneshot::Sender<Response>)>,
    /// Questions about what runs, once requests have been answered.
    pages: Vec<Ask>,
    /// As it was said last, but for `log`.
    said: Pulse,
}
impl Desk {
    pub fn new() -> std::io::Result<Self> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let asker = Asker { queue: Arc::default(), wake, pulse: Arc::default() };
        Ok(Self { asker, waiting: Vec::new(), pages: Vec::new(), said: Pulse::default() })
    }
    pub fn asker(&self) -> Asker {
        self.asker.clone()
    }
    pub fn poll_fd(&self) -> PollFd<'_> {
        PollFd::from_borrowed_fd(self.asker.wake.as_fd(), PollFlags::IN)
    }
    /// Requests are answered as those of the control socket.
    pub fn serve(&mut self, answer: &mut dyn FnMut(Request) -> Answer) {
        let mut drained = [0; 8];
        let _ = rustix::io::read(&*self.asker.wake, &mut drained); // empty is as good
        for _ in 0..TURN {
            match self.asker.take() {
                Some(Ask::Request(request, reply)) => match answer(*request) {
                    // Who asked may have gone.
                    Answer::Now(response) => _ = reply.send(response),
                    Answer::Rows(rows) => self.waiting.push((rows, reply)),
                },
                Some(page) => self.pages.push(page),
                None => break,
            }
        }
    }
    /// What came of changes, to those who wait for it.
    pub fn deliver(&mut self) {
        for at in (0..self.waiting.len()).rev() {
            if self.waiting[at].0.ready() {
                let (mut rows, reply) = self.waiting.swap_remove(at);
                if let Some(response) = whole(&mut *rows) {
                    let _ = reply.send(response); // as above
                }
            }
        }
    }
    /// Wakes whoever watches, if anything is not as it was.
    pub fn tell(&mut self, now: Pulse) {
        if now != self.said {
            self.said = now;
            self.asker.pulse.send_modify(|pulse| *pulse = Pulse { log: pulse.log, ..now });
        }
    }
    /// `true`: more questions wait.
    pub fn show<E: Negotiator>(&mut self, driver: &Driver<E>, now: Now) -> bool {
        for ask in self.pages.drain(..) {
            match ask {
                Ask::Page(after, reply) => _ = reply.send(driver.page(after, PAGE, now)),
                Ask::Statistics(reply) => _ = reply.send(driver.slow().map(|slow| slow.statistics().clone())),
                Ask::Head(reply) => _ = reply.send(driver.head()),
                Ask::Request(..) => {}
            }
        }
        !self.asker.queue.lock().unwrap_or_else(PoisonError::into_inner).is_empty()
    }
}
fn whole(rows: &mut dyn Rows) -> Option<Response> {
    let mut text = zeroize::Zeroizing::new(Vec::new());
    while rows.more(&mut text).ok()? {}
    serde_json::from_slice(&text).ok()
}
