//! Changes of the configuration. Reading, checking and comparing ten thousand tunnels takes a while: a thread of its
//! own does it, one change after the other, while the driver goes on; putting the result in force is the driver's.
use crate::control::Rows;
use ike::api::Now;
use ipc::change::{Apply, Plan, Refused, Target, Why};
use ipc::status::{Response, Text};
use manage::{Change, Store};
use rustix::event::{EventfdFlags, PollFd, PollFlags, eventfd};
use std::collections::VecDeque;
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime};

/// Changes that may wait for their turn.
const QUEUE: usize = 16;

/// Who wanted a change that a client asked for.
pub const REQUEST: &str = "a request";

pub enum Task {
    Apply(Box<Apply>),
    Confirm,
    History,
    Configuration(Option<u64>),
    /// Make the objects that others read.
    Show,
    Release(String),
    /// Take back what was changed in a safe mode nobody holds any more.
    EndSafeMode(String),
    /// Take back what nobody confirmed in time.
    Expire,
    /// Take back what the fast path refused.
    Undo(String),
}
/// What came of a task that makes or would make a change.
pub struct Done {
    pub result: Result<Change, Refused>,
    pub who: &'static str,
    answer: Option<Slot>,
}
type Slot = Arc<Mutex<Option<Response>>>;

/// The answer to a client, once it is there.
struct Later(Slot);
impl Rows for Later {
    fn more(&mut self, out: &mut Vec<u8>) -> serde_json::Result<bool> {
        let Some(response) = lock(&self.0).take() else { return Ok(true) };
        serde_json::to_writer(out, &response)?;
        Ok(false)
    }
    fn ready(&self) -> bool {
        lock(&self.0).is_some()
    }
}
fn lock(slot: &Slot) -> std::sync::MutexGuard<'_, Option<Response>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}

struct Job {
    thread: JoinHandle<(Store, Outcome)>,
    who: &'static str,
    answer: Option<Slot>,
}
enum Outcome {
    Change(Box<Result<Change, Refused>>),
    Answer(Response),
    Nothing,
}

pub struct Changes {
    /// With the thread while it works.
    store: Option<Store>,
    job: Option<Job>,
    queue: VecDeque<(Task, Option<Slot>)>,
    wake: Arc<OwnedFd>,
    deadline: Option<Now>,
}

impl Changes {
    pub fn new(store: Store) -> std::io::Result<Self> {
        let wake = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let deadline = store.deadline();
        Ok(Self { store: Some(store), job: None, queue: VecDeque::new(), wake, deadline })
    }
    pub fn poll_fd(&self) -> PollFd<'_> {
        PollFd::from_borrowed_fd(self.wake.as_fd(), PollFlags::IN)
    }
    /// When something is to be taken back.
    pub fn deadline(&self) -> Option<Now> {
        self.deadline
    }

    /// For a client: the answer comes when it is done.
    pub fn ask(&mut self, task: Task) -> Box<dyn Rows> {
        let slot = Slot::default();
        if self.queue.len() == QUEUE {
            let said = "too many changes wait for their turn; try again in a moment";
            *lock(&slot) = Some(Response::Refused(Refused::new(Why::Busy, said)));
        } else {
            self.queue.push_back((task, Some(slot.clone())));
        }
        Box::new(Later(slot))
    }
    /// Of our own accord.
    pub fn order(&mut self, task: Task) {
        self.queue.push_back((task, None));
    }

    /// Takes up what a thread has finished and starts the next one.
    pub fn turn(&mut self, now: Now) -> Option<Done> {
        let mut drained = [0; 8];
        let _ = rustix::io::read(&*self.wake, &mut drained); // empty is as good
        let done = self.finished();
        if self.deadline.is_some_and(|at| at <= now) {
            self.deadline = None;
            self.queue.push_front((Task::Expire, None));
        }
        if self.job.is_none()
            && let Some(store) = self.store.take()
        {
            match self.queue.pop_front() {
                Some((task, answer)) => self.start(store, task, answer, now),
                None => self.store = Some(store),
            }
        }
        done
    }
    fn finished(&mut self) -> Option<Done> {
        let job = self.job.take_if(|job| job.thread.is_finished())?;
        let (store, outcome) = match job.thread.join() {
            Ok(done) => done,
            // Without a store nothing can be changed any more, but tunnels go on; the supervisor starts us again.
            Err(_) => {
                tracing::error!("working out a change failed; the slow path starts again");
                std::process::exit(1);
            }
        };
        self.deadline = store.deadline();
        self.store = Some(store);
        match outcome {
            Outcome::Change(result) => Some(Done { result: *result, who: job.who, answer: job.answer }),
            Outcome::Answer(response) => {
                job.answer.iter().for_each(|slot| *lock(slot) = Some(response.clone()));
                None
            }
            Outcome::Nothing => None,
        }
    }
    fn start(&mut self, mut store: Store, task: Task, answer: Option<Slot>, now: Now) {
        let wake = Arc::clone(&self.wake);
        let who = match &task {
            Task::Expire => "commit-confirm",
            Task::Undo(_) => "espway",
            Task::EndSafeMode(_) => "the end of a safe mode",
            Task::Apply(apply) if apply.to == Target::File => "the file",
            _ => REQUEST,
        };
        let thread = std::thread::spawn(move || {
            let outcome = carry_out(&mut store, task, now);
            let _ = rustix::io::write(&*wake, &1u64.to_ne_bytes()); // full means that it is woken already
            (store, outcome)
        });
        self.job = Some(Job { thread, who, answer });
    }
}

fn carry_out(store: &mut Store, task: Task, now: Now) -> Outcome {
    let wall = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let answer =
        |result: Result<Response, Refused>| Outcome::Answer(result.unwrap_or_else(Response::Refused));
    match task {
        Task::Apply(apply) => Outcome::Change(Box::new(store.apply(&apply, now, wall))),
        Task::Confirm => answer(store.confirm().and_then(|waited| match waited {
            true => Ok(Response::Done),
            false => Err(Refused::new(Why::Conflict, "no change waits to be confirmed")),
        })),
        Task::History => Outcome::Answer(Response::History(store.entries().to_vec())),
        Task::Configuration(entry) => {
            answer(store.text(entry).map(|text| Response::Configuration(Text(text.to_string()))))
        }
        Task::Show => answer(store.show().map(|()| Response::Done)),
        // That there was nothing to keep is as good.
        Task::Release(token) => answer(store.release(&token).map(|_| Response::Done)),
        Task::EndSafeMode(token) => match store.end_safe_mode(&token, now, wall) {
            Some(made) => Outcome::Change(Box::new(made)),
            None => Outcome::Answer(Response::Done),
        },
        Task::Expire => {
            store.expire(now, wall).map_or(Outcome::Nothing, |made| Outcome::Change(Box::new(made)))
        }
        Task::Undo(why) => {
            store.undo(&why, now, wall).map_or(Outcome::Nothing, |made| Outcome::Change(Box::new(made)))
        }
    }
}

impl Done {
    /// Tells whoever asked.
    pub fn answer(self, plan: Result<Plan, Refused>) {
        let response = match plan {
            Ok(plan) => Response::Changed(Box::new(plan)),
            Err(refused) => Response::Refused(refused),
        };
        if let Some(slot) = self.answer {
            *lock(&slot) = Some(response);
        }
    }
}

/// What SIGHUP asks for.
pub fn reload() -> Task {
    Task::Apply(Box::new(Apply {
        to: Target::File,
        dry_run: false,
        confirm: None,
        who: "reload".into(),
        comment: String::new(),
        without_rights: false,
        safe_mode: None,
    }))
}
/// One line of the log for a change.
pub fn summary(entries: &[String]) -> String {
    const SHOWN: usize = 3;
    let mut said = entries.iter().take(SHOWN).cloned().collect::<Vec<_>>().join("; ");
    if entries.len() > SHOWN {
        said += &format!("; and {} more", entries.len() - SHOWN);
    }
    said
}
