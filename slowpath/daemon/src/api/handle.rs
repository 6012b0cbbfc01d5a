//! One request: who asks, what it means, what is done.
use super::auth::{Guard, Source, Who};
use super::events;
use super::live::{self, Runtime};
use super::stream::{Out, STILL_HERE, event};
use crate::desk::{Asker, NoAnswer};
use crate::explain;
use crate::metrics::{self, Sums};
use crate::run::now;
use crate::running::Running;
use config::schema::Shape;
use http_body_util::BodyExt;
use hyper::body::{Body as _, Bytes, Incoming};
use hyper::header::{self, HeaderMap, HeaderValue};
use hyper::{Request, Response, StatusCode};
use ike::api::Now;
use ipc::status::{Request as Ask, Response as Said};
use manage::api::{
    self, Answer, Body, Change, Command, Keys, Method, Print, Problem, System, Then, Todo, View,
};
use manage::{Shared, Snapshot};
use serde_json::{Map, Value, json};
use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::mpsc::Sender;
use tokio::time::{sleep, timeout};

/// A body that takes longer is no request.
const PATIENCE: Duration = Duration::from_secs(30);
/// A change of the largest size is worked out in less.
const WORKED_OUT: Duration = Duration::from_secs(120);
const SMALL: usize = 1 << 20;
/// Whole configurations.
const LARGE: usize = 64 << 20;
/// Rows of the configuration between two looks at others.
const ROWS: usize = 256;
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// What is known without asking the driver.
pub struct Shown {
    pub shared: Shared,
    pub logs: logs::Handle,
    pub sums: Arc<Mutex<Sums>>,
    /// When the process was.
    pub started: Now,
}
pub struct App {
    pub asker: Asker,
    pub shared: Shared,
    pub logs: logs::Handle,
    sums: Arc<Mutex<Sums>>,
    started: Now,
    pub guard: Guard,
    /// Tokens of the safe modes that are open.
    safe: Mutex<HashSet<String>>,
}
type Answered = Response<Out>;

impl App {
    pub fn new(asker: Asker, shown: Shown) -> Self {
        let Shown { shared, logs, sums, started } = shown;
        Self { asker, shared, logs, sums, started, guard: Guard::default(), safe: Mutex::default() }
    }
    /// The configuration in force; made at the first question.
    async fn snapshot(&self) -> Result<Arc<Snapshot>, Problem> {
        if let Some(snapshot) = self.shared.get() {
            return Ok(snapshot);
        }
        self.ask(Ask::Objects).await?;
        self.shared.get().ok_or_else(|| Problem::new(503, "the configuration is not at hand"))
    }
    async fn ask(&self, what: Ask) -> Result<Said, Problem> {
        match timeout(WORKED_OUT, self.asker.request(what)).await {
            Ok(Ok(Said::Refused(refused))) => Err(refused.into()),
            Ok(Ok(Said::Error(said))) => Err(Problem::new(409, said)),
            Ok(Ok(said)) => Ok(said),
            Ok(Err(NoAnswer)) => {
                Err(Problem::new(503, "the gateway has too much to do; try again in a moment"))
            }
            Err(_) => Err(Problem::new(503, "this takes too long; what came of it is in the history")),
        }
    }
    fn is_open(&self, token: &str) -> bool {
        self.safe.lock().unwrap_or_else(PoisonError::into_inner).contains(token)
    }
}
impl From<NoAnswer> for Trouble {
    fn from(_: NoAnswer) -> Self {
        Self(Box::new(Problem::new(503, "the gateway has too much to do; try again in a moment")))
    }
}
impl From<Problem> for Trouble {
    fn from(problem: Problem) -> Self {
        Self(Box::new(problem))
    }
}
struct Trouble(Box<Problem>);

pub async fn handle(app: Arc<App>, source: Source, request: Request<Incoming>) -> Answered {
    let mut answered = match answer(app, source, request).await {
        Ok(answered) => answered,
        Err(Trouble(problem)) => refused(&problem),
    };
    // For browsers: nothing is kept, guessed, framed or run.
    for (name, value) in [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'"),
    ] {
        answered.headers_mut().insert(name, HeaderValue::from_static(value));
    }
    answered
}
fn refused(problem: &Problem) -> Answered {
    let mut answered = json_of(problem.status, &problem.to_json());
    let headers = answered.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
    if problem.status == 401 {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    let seconds = problem.fix.strip_prefix("wait ").and_then(|rest| rest.split(' ').next());
    if let (429, Some(Ok(seconds))) = (problem.status, seconds.map(str::parse)) {
        headers.insert(header::RETRY_AFTER, seconds);
    }
    answered
}
fn json_of(status: u16, body: &Value) -> Answered {
    with_type(status, Out::json(body), "application/json")
}
fn with_type(status: u16, body: Out, kind: &'static str) -> Answered {
    let mut answered = Response::new(body);
    *answered.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    answered.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    answered
}
fn said(answer: Answer) -> Answered {
    let mut answered = match &answer.body {
        Some(body) => json_of(answer.status, body),
        None => with_type(answer.status, Out::Whole(None), "application/json"),
    };
    let headers = answered.headers_mut();
    let etag = answer.etag.and_then(|etag| HeaderValue::from_str(&etag).ok());
    headers.extend(etag.map(|etag| (header::ETAG, etag)));
    if let Some(entry) = answer.entry {
        headers.insert("x-entry", entry.into());
    }
    answered
}

async fn answer(app: Arc<App>, source: Source, request: Request<Incoming>) -> Result<Answered, Trouble> {
    let who = app.guard.who(&source, request.headers(), &app.shared.config().api)?;
    if request.uri().path() == "/metrics" {
        return scrape(&app, who, request.method()).await;
    }
    let asked = understood(&app, who, request).await?;
    if asked.path == "/rest/tool/explain" {
        return explain_packet(&app, asked).await;
    }
    let snapshot = app.snapshot().await?;
    let view = View { rows: &snapshot.rows, revision: snapshot.revision };
    match api::understand(&asked, view)? {
        Todo::Answer(answer) => Ok(said(answer)),
        Todo::Print(print) => self::print(app, snapshot, print).await,
        Todo::Change(change) => self::change(&app, change).await,
        Todo::Command(command) => self::command(&app, command).await,
        Todo::Remote(remote) => Ok(said(remote.answer(&snapshot.config)?)),
        Todo::Keys(keys) => self::keys(&app, *keys).await,
        Todo::System(system) => self::system(app, system).await,
    }
}
/// The file first: a row without one would be refused.
async fn keys(app: &App, mut keys: Keys) -> Result<Answered, Trouble> {
    let change = keys.change.take();
    if let Some(change) = change.as_ref().filter(|change| change.apply.dry_run) {
        return self::change(app, Change { apply: change.apply.clone(), then: change.then.clone() }).await;
    }
    let keys = aside(move || keys.perform().map(|()| keys)).await??;
    let Some(change) = change else { return Ok(said(Answer::ok(json!({})))) };
    let done = self::change(app, change).await;
    if done.is_err() {
        aside(move || keys.undo()).await?;
    }
    done
}
async fn scrape(app: &App, who: Who, method: &hyper::Method) -> Result<Answered, Trouble> {
    match () {
        () if method != hyper::Method::GET => Err(Problem::new(405, "this is done with GET").into()),
        () if !who.roles.read => Err(Problem::new(403, "this needs the role `read`").into()),
        () => {
            let running = Running::gather(&app.asker).await?;
            let (config, sums) = (app.shared.config(), Arc::clone(&app.sums));
            let uptime = (now() - app.started).as_secs();
            let text = aside(move || metrics::text(&running, &config, &sums, uptime)).await?;
            let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
            Ok(with_type(200, Out::Whole(Some(text.into())), kind))
        }
    }
}
/// Work that takes long enough to hold up others here.
async fn aside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Result<T, Problem> {
    tokio::task::spawn_blocking(work).await.map_err(|_| Problem::new(500, "this could not be worked out"))
}
/// What the gateway does with a packet, and why.
async fn explain_packet(app: &App, asked: api::Request) -> Result<Answered, Trouble> {
    match asked.method {
        Method::Post => {}
        _ => return Err(Problem::new(405, "this is done with POST").into()),
    }
    if !asked.roles.read {
        return Err(Problem::new(403, "this needs the role `read`").into());
    }
    let Body(body) = &asked.body;
    let body = body.clone().unwrap_or_default();
    let packet: ipc::status::Packet = serde_json::from_value(body).map_err(|error| {
        let fix = r#"send {"src":"10.1.0.5","dst":"10.2.0.7","protocol":"tcp","dst-port":443}"#.into();
        Problem { fix, ..Problem::new(400, format!("the packet is not understood: {error}")) }
    })?;
    let (running, config) = (Running::gather(&app.asker).await?, app.shared.config());
    match aside(move || explain::response(&running, &config, packet)).await? {
        Said::Explained { explanation, text } => {
            Ok(json_of(200, &json!({"explanation": explanation, "text": text})))
        }
        Said::Error(said) => Err(Problem::new(400, said).into()),
        _ => Err(Problem::new(500, "the question was answered with something else").into()),
    }
}
/// The request as the API has it.
async fn understood(app: &App, who: Who, request: Request<Incoming>) -> Result<api::Request, Trouble> {
    let (parts, body) = request.into_parts();
    let text = |name: &str| parts.headers.get(name).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let method = Method::parse(parts.method.as_str());
    let method = method.ok_or_else(|| Problem::new(405, "this method is not known here"))?;
    // Pages of other origins do not speak for whoever looks at them.
    if text("origin").is_some() || text("sec-fetch-site").is_some_and(|site| site != "none") {
        return Err(Problem::new(403, "requests of web pages are not taken").into());
    }
    let safe_mode = text("safe-mode");
    if safe_mode.as_ref().is_some_and(|token| !app.is_open(token)) {
        return Err(Problem::new(409, "this safe mode is over").into());
    }
    let whole = ["/rest/system/apply", "/rest/import"].contains(&parts.uri.path()) && who.roles.write;
    let body = read(body, if whole { LARGE } else { SMALL }, &parts.headers).await?;
    Ok(api::Request {
        method,
        path: parts.uri.path().to_owned(),
        query: api::parse_query(parts.uri.query().unwrap_or_default())?,
        body,
        if_match: text("if-match"),
        roles: who.roles,
        who: who.name,
        safe_mode,
    })
}
async fn read(mut body: Incoming, most: usize, headers: &HeaderMap) -> Result<Body, Trouble> {
    let large = || Problem::new(413, format!("a body has at most {most} bytes here"));
    if body.size_hint().lower() > most as u64 {
        return Err(large().into());
    }
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    let all = async {
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Problem::new(400, "the body broke off"))?;
            let piece = frame.data_ref().map_or(&[][..], |piece| piece);
            if bytes.len() + piece.len() > most {
                return Err(large());
            }
            bytes.extend_from_slice(piece);
        }
        Ok(())
    };
    timeout(PATIENCE, all).await.map_err(|_| Problem::new(408, "the body takes too long"))??;
    let is_json = headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
        kind.as_bytes()
            .split(|b| *b == b';')
            .next()
            .is_some_and(|kind| kind.trim_ascii() == b"application/json")
    });
    if !bytes.is_empty() && !is_json {
        return Err(Problem::new(415, "a body is JSON: say `Content-Type: application/json`").into());
    }
    Ok(api::parse_body(&bytes)?)
}

async fn print(app: Arc<App>, snapshot: Arc<Snapshot>, print: Print) -> Result<Answered, Trouble> {
    let etag = api::etag(snapshot.revision);
    if print.is_list() {
        let (to, body) = Out::pieces();
        tokio::spawn(async move {
            // Whoever stops reading has seen enough; a list that breaks off is no JSON.
            let _ = list(&app, &snapshot, &print, to).await;
        });
        let mut answered = with_type(200, body, "application/json");
        answered.headers_mut().extend(HeaderValue::from_str(&etag).map(|etag| (header::ETAG, etag)));
        return Ok(answered);
    }
    let body = match print.place.menu.shape {
        Shape::List | Shape::Settings => {
            let runtime = match print.which {
                // What finds rows may ask for anything of them.
                _ if Runtime::concerns(print.place) => runtime(&app, &snapshot, print.place.path).await?,
                _ => Runtime::default(),
            };
            let shown = |row: &_| runtime.shown(print.place, row);
            print.document(&snapshot.rows, &shown, &|row| runtime.made(print.place, row))?
        }
        _ => {
            let mut rows = Vec::new();
            let mut source = Live::default();
            while let Some(more) = source.next(&app, &print).await? {
                rows.extend(more.into_iter().filter(|row| print.takes(row)));
            }
            print.rows(rows.into_iter())?
        }
    };
    Ok(said(Answer { etag: Some(etag), ..Answer::ok(body) }))
}
async fn runtime(app: &App, snapshot: &Arc<Snapshot>, path: &str) -> Result<Runtime, Trouble> {
    if path == "ip.ipsec.key" {
        let snapshot = Arc::clone(snapshot);
        return Ok(aside(move || Runtime::key_files(&snapshot.rows)).await?);
    }
    let mut runtime = Runtime::new(&snapshot.rows, &snapshot.config);
    if path == "interface" {
        app.asker.statistics().await?.iter().for_each(|statistics| runtime.ports(statistics));
        return Ok(runtime);
    }
    let mut after = None;
    loop {
        let page = app.asker.page(after).await?;
        runtime.add(&page);
        after = page.next;
        if after.is_none() {
            return Ok(runtime);
        }
    }
}

/// Rows of a live menu, some at a time.
#[derive(Default)]
struct Live {
    begun: bool,
    after: Option<u64>,
}
impl Live {
    async fn next(&mut self, app: &App, print: &Print) -> Result<Option<Vec<Map<String, Value>>>, Trouble> {
        if self.begun && self.after.is_none() {
            return Ok(None);
        }
        self.begun = true;
        Ok(Some(match print.place.path {
            "ip.ipsec.active-peers" | "ip.ipsec.installed-sa" => {
                let statistics = app.asker.statistics().await?;
                let page = app.asker.page(self.after).await?;
                self.after = page.next;
                match print.place.path {
                    "ip.ipsec.active-peers" => live::active_peers(&page, statistics.as_ref()),
                    _ => live::installed_sas(&page, statistics.as_ref(), print.sensitive),
                }
            }
            "ip.ipsec.statistics" => vec![live::statistics(app.asker.statistics().await?.as_ref())],
            "ip.ipsec.diagnosis" => match app.ask(Ask::Diagnosis { peer: None, clear: false }).await? {
                Said::Diagnosis(rows) => rows.iter().filter_map(|row| live::plain(row, row.id)).collect(),
                _ => Vec::new(),
            },
            "log-entries" => {
                live::entries(&app.logs, 0).iter().filter_map(|row| live::plain(row, row.id)).collect()
            }
            "system-history" => match app.ask(Ask::History).await? {
                Said::History(entries) => entries.iter().map(live::entry).collect(),
                _ => Vec::new(),
            },
            _ => {
                let said = format!("{} is not shown here yet", print.place.console);
                return Err(Problem::new(501, said).into());
            }
        }))
    }
}

/// An array, written while it is read.
async fn list(app: &App, snapshot: &Arc<Snapshot>, print: &Print, to: Sender<Bytes>) -> Result<(), Trouble> {
    let mut out = List { print, left: print.offset, most: print.limit, first: true };
    if matches!(print.place.menu.shape, Shape::List | Shape::Settings) {
        let runtime = match Runtime::concerns(print.place) {
            true => runtime(app, snapshot, print.place.path).await?,
            false => Runtime::default(),
        };
        for rows in snapshot.rows.rows(print.place).chunks(ROWS) {
            let object = |row| print.object(row, runtime.shown(print.place, row));
            let rows = rows
                .iter()
                .flat_map(|row| std::iter::once(object(row)).chain(runtime.made(print.place, row)))
                .filter(|row| print.takes(row));
            if !out.send(rows, &to).await {
                break;
            }
            tokio::task::yield_now().await;
        }
    } else {
        let mut source = Live::default();
        while let Some(rows) = source.next(app, print).await? {
            if !out.send(rows.into_iter(), &to).await {
                break;
            }
        }
    }
    let end: &'static [u8] = if out.first { b"[]" } else { b"]" };
    let _ = to.send(Bytes::from_static(end)).await; // nobody may read any more
    Ok(())
}
struct List<'p> {
    print: &'p Print,
    left: usize,
    most: usize,
    first: bool,
}
impl List<'_> {
    /// `false`: no more are wanted.
    async fn send(&mut self, rows: impl Iterator<Item = Map<String, Value>>, to: &Sender<Bytes>) -> bool {
        let mut text = Vec::new();
        for row in rows.filter(|row| self.print.takes(row)) {
            if self.left > 0 {
                self.left -= 1;
                continue;
            }
            if self.most == 0 {
                break;
            }
            self.most -= 1;
            text.push(if std::mem::take(&mut self.first) { b'[' } else { b',' });
            // A value always has a text.
            let _ = serde_json::to_writer(&mut text, &self.print.cut(row));
        }
        (text.is_empty() || to.send(text.into()).await.is_ok()) && self.most > 0
    }
}

async fn change(app: &App, change: Change) -> Result<Answered, Trouble> {
    let Change { apply, then } = change;
    let dry_run = apply.dry_run;
    let Said::Changed(plan) = app.ask(Ask::Apply(Box::new(apply))).await? else {
        return Err(Problem::new(500, "the change was answered with something else").into());
    };
    let snapshot = app.snapshot().await?;
    let place = match &then {
        Then::Object { place, .. } if Runtime::concerns(place) && !dry_run => Some(*place),
        _ => None,
    };
    let runtime = match place {
        Some(place) => runtime(app, &snapshot, place.path).await?,
        None => Runtime::default(),
    };
    let shown = |row: &config::document::Object| {
        place.map_or_else(api::Shown::new, |place| runtime.shown(place, row))
    };
    Ok(said(then.answer(&plan, dry_run, &snapshot.rows, snapshot.revision, &shown)))
}

async fn command(app: &App, command: Command) -> Result<Answered, Trouble> {
    let orders = match (command.place.path, command.name) {
        ("ip.ipsec.active-peers", "kill-connections") => vec![Ask::Terminate { peer: None }],
        ("ip.ipsec.installed-sa", "flush") => vec![Ask::Flush],
        ("ip.ipsec.diagnosis", "clear") => vec![Ask::Diagnosis { peer: None, clear: true }],
        ("ip.ipsec.active-peers", name) => {
            let named = named(app, &command).await?;
            let spii = |row: Map<String, Value>| row.get("spii").and_then(Value::as_str).map(str::to_owned);
            let order =
                |spii| if name == "rekey" { Ask::RekeySa { spii } } else { Ask::TerminateSa { spii } };
            named.into_iter().filter_map(spii).map(order).collect()
        }
        ("ip.ipsec.installed-sa", "rekey") => {
            let slot = |row: Map<String, Value>| {
                u32::from_str_radix(row.get(".id")?.as_str()?.strip_prefix('*')?, 16).ok()
            };
            named(app, &command)
                .await?
                .into_iter()
                .filter_map(slot)
                .map(|slot| Ask::RekeyChild { slot })
                .collect()
        }
        _ => {
            let said = format!("{} {} is not done here yet", command.place.console, command.name);
            return Err(Problem::new(501, said).into());
        }
    };
    for order in orders {
        app.ask(order).await?;
    }
    Ok(said(Answer::ok(json!([]))))
}
/// The rows a command is for; one that is not there ends it before anything is done.
async fn named(app: &App, command: &Command) -> Result<Vec<Map<String, Value>>, Trouble> {
    let mut found = Vec::new();
    for name in &command.rows {
        let print = Print::named(command.place, name);
        let mut source = Live::default();
        let before = found.len();
        while let Some(rows) = source.next(app, &print).await? {
            found.extend(rows.into_iter().filter(|row| print.takes(row)));
        }
        if found.len() == before {
            let said = format!("no such item: {}", name.escape_debug());
            return Err(Problem { path: command.place.console.into(), ..Problem::new(404, said) }.into());
        }
    }
    Ok(found)
}

async fn system(app: Arc<App>, system: System) -> Result<Answered, Trouble> {
    Ok(match system {
        System::Confirm => {
            app.ask(Ask::Confirm).await?;
            said(Answer::ok(json!({})))
        }
        System::Release(token) => {
            if !app.safe.lock().unwrap_or_else(PoisonError::into_inner).remove(&token) {
                return Err(Problem::new(409, "this safe mode is over").into());
            }
            app.ask(Ask::Release { token }).await?;
            said(Answer::ok(json!({})))
        }
        System::SafeMode => safe_mode(app),
        System::Events(watched) => {
            let (to, body) = Out::pieces();
            tokio::spawn(events::run(app, watched, to));
            with_type(200, body, "text/event-stream")
        }
        System::OpenApi => json_of(200, &config::describe::openapi()),
        System::Schema => json_of(200, &config::describe::json_schema()),
    })
}
/// While its stream is open, changes with its token are held back from being forever.
fn safe_mode(app: Arc<App>) -> Answered {
    let mut random = [0u8; 16];
    if ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random).is_err() {
        return refused(&Problem::new(500, "there is no randomness for a token"));
    }
    let token: String = random.iter().map(|byte| format!("{byte:02x}")).collect();
    app.safe.lock().unwrap_or_else(PoisonError::into_inner).insert(token.clone());
    let (to, body) = Out::pieces();
    tokio::spawn(async move {
        if to.send(event("safe-mode", &json!({"token": token}))).await.is_ok() {
            loop {
                tokio::select! {
                    () = to.closed() => break,
                    () = sleep(SIGN_OF_LIFE) => {
                        if to.send(STILL_HERE).await.is_err() {
                            break;
                        }
                    }
                }
            }
        }
        // Released ones are not there any more.
        if app.safe.lock().unwrap_or_else(PoisonError::into_inner).remove(&token) {
            app.asker.order(Ask::EndSafeMode { token });
        }
    });
    with_type(200, body, "text/event-stream")
}
