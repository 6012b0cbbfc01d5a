//! The process: attach when there is a fast path, take turns, sleep until something happens.
use crate::api;
use crate::changes::{Changes, Done, REQUEST, Task, reload, summary};
use crate::control::{Answer, Control};
use crate::crew::{AT_ONCE, Crew};
use crate::desk::{Desk, Pulse};
use crate::driver::Driver;
use crate::explain;
use crate::fastpath_log;
use crate::keylog::KeyLogFiles;
use crate::marks::Marks;
use crate::metrics::{self, Sums};
use crate::negotiator::SystemRng;
use crate::report::Report;
use crate::resolve::{Resolver, system};
use crate::running::{self, Pieces};
use crate::translate::{Translated, network, translate};
use anyhow::{Context, Result, anyhow};
use config::model::{LogAction, Syslog};
use ike::api::{Input, Now};
use ipc::change::{Plan, Refused};
use ipc::process::Signals;
use ipc::status::{Request, Response};
use ipc::{IpcError, SlowSide, VaultKey};
use manage::Store;
use manage::credentials::Credentials;
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use std::collections::HashSet;
use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

pub struct Options {
    pub config: PathBuf,
    pub fastpath_socket: PathBuf,
    pub control_socket: PathBuf,
    /// Users that may be the fast path.
    pub fastpath_uids: Vec<u32>,
    pub vault_key: Option<VaultKey>,
    pub key_log: Option<PathBuf>,
    /// Where former configurations are kept.
    pub history: Option<PathBuf>,
    /// Threads for public-key operations; 0: the driver does them.
    pub crypto_threads: usize,
}

/// How often an absent fast path is looked for.
const ATTACH_RETRY: Duration = Duration::from_millis(100);
const ATTACH_TIMEOUT: Duration = Duration::from_secs(2);
/// SAs deleted in one turn by a flush.
const FLUSHED: usize = 256;
/// Results of public-key operations that are acted on in one turn.
const COMPUTED: usize = 64;
/// How long peers have to answer the deletes of a shutdown.
const SHUTDOWN: Duration = Duration::from_secs(5);

/// Goes on through suspends and is the same for a successor: records in the vault hold such times.
pub fn now() -> Now {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::Boottime);
    Duration::new(time.tv_sec.try_into().unwrap_or(0), time.tv_nsec.try_into().unwrap_or(0))
}

/// The calendar's time, for people.
fn wall() -> Duration {
    SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or(Duration::ZERO)
}

struct Process<'a> {
    driver: Driver<ike::Engine>,
    config: Arc<config::Config>,
    credentials: Arc<Credentials>,
    changes: Changes,
    /// Changes that were put in force.
    entries: u64,
    /// Generation of the policies that the last change has brought.
    changed: Option<u64>,
    policy_peers: Arc<Vec<Option<String>>>,
    options: Options,
    control: Control,
    desk: Desk,
    resolver: Resolver,
    crew: Crew,
    _api: api::Server,
    _fastpath_log: fastpath_log::Collector,
    /// SAs that are still to be deleted, behind this IKE SA.
    flushing: Option<Option<u64>>,
    key_log: Option<KeyLogFiles>,
    logs: &'a logs::Handle,
    started: Now,
    next_attach: Now,
    /// The slots of the fast path that the engine was configured for, with the file as it is now.
    configured: Option<u32>,
    last_refusal: String,
    sums: Arc<Mutex<Sums>>,
    /// Asked to delete all SAs and end; when to stop waiting for the peers.
    ending: Option<Now>,
}

/// Runs until SIGTERM or SIGINT (tunnels stay up) or a `shutdown` request (tunnels are deleted). SIGHUP reads the
/// configuration again.
pub fn run(options: Options, logs: &logs::Handle) -> Result<()> {
    let signals =
        Signals::listen(&[Signals::TERM, Signals::INT, Signals::HUP]).context("cannot listen for signals")?;
    if let Err(error) = ipc::process::harden().context("cannot forbid core dumps")? {
        tracing::warn!(%error, "memory is not locked, keys might be swapped out: raise the memlock limit");
    }
    let store = Store::open(&options.config, options.history.as_deref(), wall()).map_err(|refused| {
        anyhow!("{}{}", refused.said, refused.complaints.iter().map(|c| format!("\n{c}")).collect::<String>())
    })?;
    if options.history.is_none() {
        tracing::warn!("no history: changes cannot be taken back");
    }
    let mut engine = ike::Engine::new(Box::new(SystemRng::default()));
    let key_log = match &options.key_log {
        Some(path) => {
            tracing::warn!(file = %path.display(), "keys are written to a file: for tests only");
            engine.log_keys();
            Some(KeyLogFiles::create(path).with_context(|| format!("cannot write {}", path.display()))?)
        }
        None => None,
    };
    if options.vault_key.is_none() {
        tracing::warn!("no vault key: a restart of the slow path negotiates every tunnel anew");
    }
    let control = Control::listen(&options.control_socket)
        .with_context(|| format!("cannot listen on {}", options.control_socket.display()))?;
    let desk = Desk::new().context("an event descriptor")?;
    let api_socket = options.control_socket.with_file_name("api.sock");
    let asker = desk.asker();
    logs.on_entry(move || asker.logged());
    let sums = Arc::<Mutex<Sums>>::default();
    let shown =
        api::Shown { shared: store.shared(), logs: logs.clone(), sums: Arc::clone(&sums), started: now() };
    let api = api::start(&api_socket, desk.asker(), shown)
        .with_context(|| format!("cannot listen on {}", api_socket.display()))?;
    let log_socket = options.control_socket.with_file_name(logs::SOCKET);
    let fastpath_log = fastpath_log::start(&log_socket, options.fastpath_uids.clone(), logs.clone())
        .with_context(|| format!("cannot listen on {}", log_socket.display()))?;
    for problem in &store.credentials().problems {
        match problem.is_error {
            true => tracing::error!("{problem}"),
            false => tracing::warn!("{problem}"),
        }
    }
    // With or without a fast path.
    logs.set_rules(rules(store.config()));
    let crew = Crew::new(options.crypto_threads).context("threads for public-key operations")?;
    engine.compute_beside(if crew.size() > 0 { AT_ONCE } else { 0 });
    let mut driver = Driver::new(engine, options.vault_key.clone());
    if let Some(path) = options.history.as_ref().map(|dir| dir.with_file_name("manual-sa.numbers")) {
        match Marks::open(&path) {
            Ok(marks) => driver.remember_numbers(marks),
            Err(error) => tracing::error!(file = %path.display(), %error, "sequence numbers are not known"),
        }
    }
    let mut process = Process {
        driver,
        config: store.config().clone(),
        credentials: store.credentials().clone(),
        changes: Changes::new(store).context("an event descriptor")?,
        entries: 0,
        changed: None,
        policy_peers: Arc::default(),
        options,
        control,
        desk,
        resolver: Resolver::new(Arc::new(system)).context("an event descriptor")?,
        crew,
        _api: api,
        _fastpath_log: fastpath_log,
        flushing: None,
        key_log,
        logs,
        started: now(),
        next_attach: Now::ZERO,
        configured: None,
        last_refusal: String::new(),
        sums,
        ending: None,
    };
    process.main_loop(&signals)
}

impl Process<'_> {
    fn main_loop(&mut self, signals: &Signals) -> Result<()> {
        loop {
            let now = now();
            if self.driver.slow().is_none() && now >= self.next_attach {
                self.try_attach(now);
            }
            self.driver.engine.set_calendar(now, wall());
            let mut more = self.driver.turn(now);
            more |= self.serve(now);
            more |= self.flush(now);
            self.change(now);
            self.resolve(now);
            more |= self.compute(now);
            self.desk.deliver();
            self.desk.tell(Pulse {
                log: 0,
                diagnoses: self.driver.diagnoses.changes,
                configuration: self.entries,
                peers: self.driver.stored_changes,
            });
            self.log_keys();
            self.logs.tick();
            match signals.next() {
                Some(Signals::HUP) => self.changes.order(reload()),
                Some(signal) => {
                    tracing::info!(signal, "stopping; tunnels stay up");
                    return Ok(());
                }
                None => {}
            }
            if self.ended(now) {
                tracing::info!("all SAs are deleted; stopping");
                return Ok(());
            }
            if !more {
                self.sleep(signals);
            }
        }
    }
    fn try_attach(&mut self, now: Now) {
        self.next_attach = now + ATTACH_RETRY;
        match SlowSide::attach(&self.options.fastpath_socket, &self.options.fastpath_uids, ATTACH_TIMEOUT) {
            Ok(slow) => {
                self.last_refusal.clear();
                // Slots are the running fast path's; the engine must know them before it takes records over.
                let sa_slots = slow.geometry().sa_slots;
                if self.configured != Some(sa_slots) {
                    self.configure(sa_slots, now);
                }
                self.driver.attach(slow, now);
            }
            Err(error) => {
                let said = error.to_string();
                if said != self.last_refusal {
                    match &error {
                        IpcError::Socket { .. } => tracing::info!("waiting for the fast path: {said}"),
                        _ => tracing::error!("cannot attach to the fast path: {said}"),
                    }
                    self.last_refusal = said;
                }
            }
        }
    }
    fn configure(&mut self, sa_slots: u32, now: Now) {
        let Translated { ike, policies, policy_peers } = translate(&self.config, &self.credentials, sa_slots);
        self.policy_peers = Arc::new(policy_peers);
        self.configured = Some(sa_slots);
        self.driver.set_network(network(&self.config), now);
        self.watch();
        let named =
            self.config.ipsec.peers.iter().filter_map(|p| Some((p.name.as_str(), p.host.as_deref()?)));
        self.resolver.configure(named, now);
        self.driver.configure(ike, policies, now);
        self.driver.set_manual(&self.config.ipsec.manual_sas, now);
    }
    /// Names of peers: asks for them, and tells the engine where they have led to.
    fn resolve(&mut self, now: Now) {
        for peer in self.driver.take_unresolved() {
            self.resolver.urge(&peer, now);
        }
        for found in self.resolver.turn(now) {
            self.driver.input(found, now);
        }
    }
    /// Public-key operations: acts on what was done, and says what is to be done. `true`: there is more.
    fn compute(&mut self, now: Now) -> bool {
        let done: Vec<Input> = self.crew.done().take(COMPUTED).collect();
        let more = done.len() == COMPUTED;
        for input in done {
            self.driver.input(input, now);
        }
        self.crew.add(self.driver.take_jobs());
        more
    }
    /// Whose messages are logged one by one.
    fn watch(&mut self) {
        self.driver.engine.watch(watched(self.logs));
    }
    /// Puts in force what was worked out beside us, and takes back what the fast path does not take.
    fn change(&mut self, now: Now) {
        // What was refused for another reason, after a restart of the fast path say, is not the change's fault.
        if let Some((generation, refusal)) = self.driver.take_refusal()
            && self.changed.take_if(|changed| *changed == generation).is_some()
        {
            self.changes.order(Task::Undo(format!("the fast path refused the policies: {refusal}")));
        }
        let Some(mut done) = self.changes.turn(now) else { return };
        let result = std::mem::replace(&mut done.result, Err(Refused::default()));
        match result {
            Ok(change) => {
                let mut plan = change.plan;
                self.count_sas(&mut plan, now);
                // Files may have new contents under their old names.
                let renewed = change.credentials.filter(|_| {
                    change.config.is_some() || self.config.ipsec.credentials != Default::default()
                });
                if let Some(credentials) = renewed {
                    self.credentials = credentials;
                    self.config = change.config.unwrap_or_else(|| Arc::clone(&self.config));
                    self.configured = None;
                    self.logs.set_rules(rules(&self.config));
                    if let Some(sa_slots) = self.driver.slow().map(|slow| slow.geometry().sa_slots) {
                        self.configure(sa_slots, now);
                        self.changed = Some(self.driver.generation());
                    }
                }
                self.said(&done, &plan);
                self.entries += u64::from(plan.entry > 0);
                done.answer(Ok(plan));
            }
            Err(refused) => {
                let why = summary(&refused.complaints);
                let said = format!("{}{}{why}", refused.said, if why.is_empty() { "" } else { ": " });
                // Whoever asked is told; nobody else has to act.
                if done.who == REQUEST {
                    tracing::info!(by = done.who, "the configuration in force stays: {said}");
                } else {
                    tracing::error!(by = done.who, "the configuration in force stays: {said}");
                }
                done.answer(Err(refused));
            }
        }
    }
    fn said(&self, done: &Done, plan: &Plan) {
        match (plan.entry, plan.changes.is_empty()) {
            (0, true) => tracing::info!(by = done.who, "the configuration has not changed"),
            (0, false) => tracing::debug!(by = done.who, "a change was only planned"),
            (entry, _) => tracing::info!(
                by = done.who,
                entry,
                "the configuration is in force: {}",
                summary(&plan.changes)
            ),
        }
    }
    /// How many SAs the change deletes, and how many do not notice.
    fn count_sas(&self, plan: &mut Plan, now: Now) {
        let deleted: HashSet<u32> = plan.deleted_policies.iter().copied().collect();
        for child in self.driver.engine.children(now) {
            let of =
                if deleted.contains(&child.policy.0) { &mut plan.deleted_sas } else { &mut plan.kept_sas };
            *of += 2;
        }
    }
    fn sleep(&mut self, signals: &Signals) {
        if self.driver.slow_mut().is_some_and(|slow| !slow.before_sleep()) {
            return;
        }
        let now = now();
        let mut until = self.driver.next_timeout();
        if self.driver.slow().is_none() {
            until = until.min(self.next_attach);
        }
        for deadline in
            [self.ending, self.changes.deadline(), self.resolver.next_timeout()].into_iter().flatten()
        {
            until = until.min(deadline);
        }
        let left = until.saturating_sub(now);
        let left = Timespec { tv_sec: left.as_secs() as i64, tv_nsec: left.subsec_nanos().into() };
        let mut fds = vec![
            PollFd::from_borrowed_fd(signals.fd(), PollFlags::IN),
            self.changes.poll_fd(),
            self.desk.poll_fd(),
            self.resolver.poll_fd(),
            self.crew.poll_fd(),
        ];
        if let Some(slow) = self.driver.slow() {
            fds.push(PollFd::from_borrowed_fd(slow.wake_fd(), PollFlags::IN));
            fds.push(PollFd::from_borrowed_fd(slow.socket_fd(), PollFlags::IN));
        }
        self.control.poll_fds(&mut fds);
        // An interruption is a reason to look around, like any other.
        let _ = poll(&mut fds, Some(&left));
        if let Some(slow) = self.driver.slow_mut() {
            slow.awake();
        }
    }
    fn log_keys(&mut self) {
        if let Some(files) = self.key_log.as_mut()
            && let Err(error) = files.write(&self.driver.engine.key_log(), &self.driver.installed())
        {
            tracing::error!(%error, "the key log cannot be written");
        }
    }
    fn ended(&self, now: Now) -> bool {
        self.ending.is_some_and(|deadline| {
            now >= deadline || (self.driver.engine.peers(now).is_empty() && self.driver.settled())
        })
    }

    /// Deletes some more of the SAs that are to be deleted. `true`: there are more.
    fn flush(&mut self, now: Now) -> bool {
        let Some(after) = self.flushing.take() else { return false };
        let page = self.driver.engine.page(after, FLUSHED, now);
        for child in page.children {
            let (slot, spi) = child.inbound;
            self.driver.input(Input::DeleteChild { slot, spi }, now);
        }
        self.flushing = page.next.map(Some);
        self.flushing.is_some()
    }
    /// `true`: more is asked.
    fn serve(&mut self, now: Now) -> bool {
        let (driver, peers, ending) = (&mut self.driver, &self.policy_peers, &mut self.ending);
        let (changes, config, sums) = (&mut self.changes, &self.config, &self.sums);
        let flushing = &mut self.flushing;
        let (uptime, logs, asker) = ((now - self.started).as_secs(), self.logs, self.desk.asker());
        let mut answer = |request| {
            let done = |driver: &mut Driver<ike::Engine>, input| {
                driver.input(input, now);
                Response::Done
            };
            Answer::Now(match request {
                Request::Status { show_sensitive, at_most } => {
                    let peers = Arc::clone(peers);
                    let make = move |running| Report::new(running, peers, uptime, show_sensitive, at_most);
                    return Answer::Rows(running::later(asker.clone(), make));
                }
                Request::Initiate { peer, policy } => {
                    done(driver, Input::Initiate { peer, policy: policy.map(sa::PolicyId) })
                }
                Request::Terminate { peer } => done(driver, Input::Terminate { peer }),
                Request::RekeyIke { peer } => done(driver, Input::RekeyIke { peer }),
                Request::TerminateSa { spii } => match u64::from_str_radix(&spii, 16) {
                    Ok(spi_i) => done(driver, Input::TerminateSa { spi_i }),
                    Err(_) => Response::Error(format!("`{}` is no SPI", spii.escape_debug())),
                },
                Request::RekeySa { spii } => match u64::from_str_radix(&spii, 16) {
                    Ok(spi_i) => done(driver, Input::RekeySa { spi_i }),
                    Err(_) => Response::Error(format!("`{}` is no SPI", spii.escape_debug())),
                },
                Request::RekeyChild { slot } => done(driver, Input::RekeyChild { slot: sa::SaSlot(slot) }),
                Request::LogLevel { filter, peer } => match set_level(logs, &filter, peer.as_deref()) {
                    Ok(()) => {
                        driver.engine.watch(watched(logs));
                        Response::Done
                    }
                    Err(error) => Response::Error(error),
                },
                Request::Diagnosis { peer, clear } => {
                    let rows = driver.diagnoses.rows(peer.as_deref());
                    if clear {
                        driver.diagnoses.clear();
                    }
                    Response::Diagnosis(rows)
                }
                Request::Log { after } => Response::Log(api::entries(logs, after)),
                Request::Apply(apply) => return Answer::Rows(changes.ask(Task::Apply(apply))),
                Request::Confirm => return Answer::Rows(changes.ask(Task::Confirm)),
                Request::History => return Answer::Rows(changes.ask(Task::History)),
                Request::Configuration { entry } => {
                    return Answer::Rows(changes.ask(Task::Configuration(entry)));
                }
                Request::Explain(packet) => {
                    let config = Arc::clone(config);
                    let make = move |running| Pieces::of(&explain::response(&running, &config, packet));
                    return Answer::Rows(running::later(asker.clone(), make));
                }
                Request::Metrics => {
                    let (config, sums) = (Arc::clone(config), Arc::clone(sums));
                    let make = move |running| {
                        Pieces::of(&Response::Metrics(metrics::text(&running, &config, &sums, uptime)))
                    };
                    return Answer::Rows(running::later(asker.clone(), make));
                }
                Request::Watch(look) => match driver.watch(*look, peers) {
                    Ok(rows) => return Answer::Rows(Box::new(rows)),
                    Err(error) => Response::Error(error),
                },
                Request::Objects => return Answer::Rows(changes.ask(Task::Show)),
                Request::Release { token } => return Answer::Rows(changes.ask(Task::Release(token))),
                Request::EndSafeMode { token } => {
                    changes.order(Task::EndSafeMode(token));
                    Response::Done
                }
                Request::Flush => {
                    *flushing = Some(None);
                    Response::Done
                }
                Request::Shutdown => {
                    *ending = Some(now + SHUTDOWN);
                    done(driver, Input::Terminate { peer: None })
                }
            })
        };
        self.control.serve(&mut answer);
        self.desk.serve(&mut answer);
        self.desk.show(&self.driver, now)
    }
}

/// Rows of `system logging` in the logger's terms; their regular expressions were checked.
fn rules(config: &config::Config) -> Vec<logs::Rule> {
    let host = &config.system.name;
    let action = |action: &LogAction| match action {
        LogAction::Memory => logs::Action::Memory,
        LogAction::Disk => logs::Action::Disk,
        LogAction::Echo => logs::Action::Echo,
        LogAction::Remote(Syslog { to, from, bsd, facility, severity }) => {
            let (to, from, bsd, facility, severity) = (*to, *from, *bsd, *facility, *severity);
            let target = logs::Target { to, from, bsd, facility, severity, host: host.clone() };
            logs::Action::Remote(Arc::new(target))
        }
    };
    let rule = |row: &config::model::Logging| {
        let topics = row.topics.iter().map(String::as_str);
        logs::Rule::new(topics, action(&row.action), &row.prefix, &row.regex).ok()
    };
    config.logging.iter().filter_map(rule).collect()
}
fn set_level(logs: &logs::Handle, filter: &str, peer: Option<&str>) -> Result<(), String> {
    match peer {
        Some(peer) => logs.set_peer_level(peer, filter),
        None => logs.set_level(filter),
    }
}
fn watched(logs: &logs::Handle) -> ike::engine::Watched {
    match logs.in_detail() {
        Ok(()) => ike::engine::Watched::Everybody,
        Err(peers) if peers.is_empty() => ike::engine::Watched::Nobody,
        Err(peers) => ike::engine::Watched::Peers(peers.into_iter().collect()),
    }
}
