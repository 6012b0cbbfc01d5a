//! What runs, as a copy that others work on: the driver gives it away in pages, each in a fraction of a millisecond, and
//! whoever wants to know makes status, metrics or an explanation of it in a thread of its own.
use crate::carried::Ways;
use crate::control::Rows;
use crate::desk::{Asker, NoAnswer};
use crate::driver::Driver;
use crate::negotiator::Negotiator;
use ike::api::{ChildStatus, Generated, Now, Page, PeerStatus, Rank, is_served};
use ipc::StatsReader;
use ipc::status::Response;
use sa::{Direction, PolicyId, PolicySpec, SaSpec};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Besides the lists; all of it is small or shared.
#[derive(Clone, Default)]
pub struct Head {
    pub epoch: u64,
    /// `None`: there is no fast path.
    pub statistics: Option<StatsReader>,
    pub ike: Vec<(&'static str, u64)>,
    pub ipc: BTreeMap<String, u64>,
    /// The configured ones.
    pub policies: Arc<Vec<PolicySpec>>,
    /// The same with the places of templates, if policies are made from them.
    pub ranks: Arc<Vec<Rank>>,
    /// What SAs that are gone have carried, by policy or template.
    pub ended: Arc<HashMap<PolicyId, Ways>>,
    /// SAs with keys from the configuration; `installed` has them too.
    pub manual: Vec<SaSpec>,
}
/// The lists are of about one moment: an SA that lived throughout is in them once.
#[derive(Default)]
pub struct Running {
    pub head: Head,
    pub peers: Vec<PeerStatus>,
    pub children: Vec<ChildStatus>,
    pub installed: Vec<SaSpec>,
    pub generated: Vec<Generated>,
}

impl<E: Negotiator> Driver<E> {
    pub fn head(&self) -> Head {
        Head {
            epoch: self.slow().map_or(0, |slow| slow.epoch()),
            statistics: self.slow().map(|slow| slow.statistics().clone()),
            ike: self.engine.counters(),
            ipc: self.ipc_counters(),
            policies: Arc::clone(&self.policies),
            ranks: Arc::clone(&self.ranks),
            ended: Arc::clone(&self.ledger.ended),
            manual: self.manual.specs().cloned().collect(),
        }
    }
    /// All of it at once, for who has the time.
    pub fn running(&self, now: Now) -> Running {
        let mut running = Running { head: self.head(), ..Running::default() };
        let mut after = None;
        loop {
            after = running.add(self.page(after, usize::MAX, now));
            if after.is_none() {
                return running;
            }
        }
    }
}
impl Running {
    /// Page by page, from the driver's thread.
    pub async fn gather(asker: &Asker) -> Result<Self, NoAnswer> {
        let mut running = Self { head: asker.head().await?, ..Self::default() };
        let mut after = None;
        loop {
            after = running.add(asker.page(after).await?);
            if after.is_none() {
                return Ok(running);
            }
        }
    }
    fn add(&mut self, page: Page) -> Option<u64> {
        self.peers.extend(page.peers);
        self.children.extend(page.children);
        self.installed.extend(page.installed);
        self.generated.extend(page.generated);
        page.next
    }
    /// Policies that have a child, or an SA of their own to send under.
    pub fn served_policies(&self) -> usize {
        let served = self.children.iter().filter(|child| is_served(child.state));
        let manual = self.head.manual.iter().filter(|spec| spec.direction == Direction::Outbound);
        let manual = manual.flat_map(SaSpec::policies);
        served.flat_map(ChildStatus::policies).chain(manual).collect::<HashSet<PolicyId>>().len()
    }
}

/// An answer that a thread makes of what runs; the client waits for it, and nobody else does.
pub fn later<R: Rows + Send + 'static>(
    asker: Asker,
    make: impl FnOnce(Running) -> R + Send + 'static,
) -> Box<dyn Rows> {
    let slot: Slot = Arc::default();
    let fill = Arc::clone(&slot);
    let work = move || {
        let done: Box<dyn Rows + Send> = match block_on(Running::gather(&asker)) {
            Some(Ok(running)) => Box::new(make(running)),
            _ => Box::new(Pieces::of(&Response::Error("the gateway has too much to do".into()))),
        };
        *lock(&fill) = Some(done);
        asker.wake();
    };
    if let Err(error) = std::thread::Builder::new().name("answer".into()).spawn(work) {
        *lock(&slot) = Some(Box::new(Pieces::of(&Response::Error(format!("no thread to answer: {error}")))));
    }
    Box::new(Later(slot))
}
type Slot = Arc<Mutex<Option<Box<dyn Rows + Send>>>>;
fn lock(slot: &Slot) -> std::sync::MutexGuard<'_, Option<Box<dyn Rows + Send>>> {
    slot.lock().unwrap_or_else(PoisonError::into_inner)
}
/// In a thread that has nothing else to do.
fn block_on<T>(work: impl Future<Output = T>) -> Option<T> {
    tokio::runtime::Builder::new_current_thread().build().ok().map(|runtime| runtime.block_on(work))
}

struct Later(Slot);
impl Rows for Later {
    fn more(&mut self, out: &mut Vec<u8>) -> serde_json::Result<bool> {
        lock(&self.0).as_mut().map_or(Ok(true), |rows| rows.more(out))
    }
    fn ready(&self) -> bool {
        lock(&self.0).is_some()
    }
}

/// An answer that is written already, a piece in a turn.
pub struct Pieces {
    text: Vec<u8>,
    given: usize,
}
/// What a turn copies.
const PIECE: usize = 64 << 10;
impl Pieces {
    pub fn of(response: &Response) -> Self {
        // Every response has a text.
        Self { text: serde_json::to_vec(response).unwrap_or_default(), given: 0 }
    }
}
impl Rows for Pieces {
    fn more(&mut self, out: &mut Vec<u8>) -> serde_json::Result<bool> {
        let end = self.text.len().min(self.given + PIECE);
        out.extend_from_slice(&self.text[self.given..end]);
        self.given = end;
        Ok(end < self.text.len())
    }
}
