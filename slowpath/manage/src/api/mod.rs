//! The management API without sockets: a request becomes what is to be printed, changed or ordered.
//!
//! REST serves it over sockets, the console on a file ([`Offline`]); both see the same objects. Shapes are those of
//! RouterOS's REST, values are typed. Nothing here waits for anything.
mod change;
mod json;
mod keys;
mod offline;
mod path;
mod print;
mod problem;
mod query;
mod remote;
mod system;
mod transfer;

pub use change::{Change, Then};
pub use json::{Body, parse as parse_body};
pub use keys::Keys;
pub use offline::Offline;
pub use path::{decode, query as parse_query};
pub use print::{Print, Shown, Which};
pub use problem::Problem;
pub use remote::Remote;
pub use system::{System, Watched};

use config::Document;
use config::schema::{Place, Shape};
use path::Found;
use serde_json::{Map, Value};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Put,
    Patch,
    Delete,
    Post,
}
impl Method {
    pub fn parse(word: &str) -> Option<Self> {
        Some(match word {
            "GET" | "HEAD" => Self::Get,
            "PUT" => Self::Put,
            "PATCH" => Self::Patch,
            "DELETE" => Self::Delete,
            "POST" => Self::Post,
            _ => return None,
        })
    }
}
/// What somebody may do.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Roles {
    pub read: bool,
    pub write: bool,
    /// See secrets; with `write`, also hand out rights.
    pub sensitive: bool,
}
impl Roles {
    pub const ALL: Self = Self { read: true, write: true, sensitive: true };
}

pub struct Request {
    pub method: Method,
    /// As in the request line, without the query: `/rest/ip/ipsec/peer/*1A`.
    pub path: String,
    pub query: Vec<(String, String)>,
    pub body: Body,
    pub if_match: Option<String>,
    pub roles: Roles,
    /// For the history.
    pub who: String,
    /// The token of the safe mode it belongs to.
    pub safe_mode: Option<String>,
}
impl Request {
    /// Everything else as it is for most of them.
    pub fn new(method: Method, path: impl Into<String>) -> Self {
        Self {
            method,
            path: path.into(),
            query: Vec::new(),
            body: Body::default(),
            if_match: None,
            roles: Roles::ALL,
            who: String::new(),
            safe_mode: None,
        }
    }
    fn asked(&self, name: &str) -> Option<&str> {
        self.query.iter().find(|(key, _)| key == name).map(|(_, value)| value.as_str())
    }
    fn says(&self, name: &str) -> Result<bool, Problem> {
        match self.asked(name) {
            None | Some("false" | "no") => Ok(false),
            Some("true" | "yes" | "") => Ok(true),
            Some(_) => Err(Problem::malformed(format!("`{name}` is true or false"))),
        }
    }
}

#[derive(Clone, Debug, PartialEq)]
pub struct Answer {
    pub status: u16,
    pub body: Option<Value>,
    pub etag: Option<String>,
    /// Its number in the history, when something was changed.
    pub entry: Option<u64>,
}
impl Answer {
    pub fn ok(body: Value) -> Self {
        Self { status: 200, body: Some(body), etag: None, entry: None }
    }
    pub fn empty(status: u16) -> Self {
        Self { status, body: None, etag: None, entry: None }
    }
}

/// What a request asks for, once it is understood and allowed.
#[derive(Debug)]
pub enum Todo {
    Answer(Answer),
    /// Rows of the configuration, of the running gateway, or both.
    Print(Print),
    Change(Change),
    /// Something that the running gateway does: `kill-connections`, `flush`, `rekey`.
    Command(Command),
    /// The other side's configuration, made from ours.
    Remote(Remote),
    /// Files of raw keys, and rows for them.
    Keys(Box<Keys>),
    System(System),
}
#[derive(Clone, Debug)]
pub struct Command {
    pub place: &'static Place,
    pub name: &'static str,
    /// The rows it is for, as they were named.
    pub rows: Vec<String>,
}

/// The configuration a request is understood by.
#[derive(Clone, Copy)]
pub struct View<'a> {
    pub rows: &'a Document,
    pub revision: u64,
}
/// A document's revision as `ETag` and `If-Match` have it.
pub fn etag(revision: u64) -> String {
    format!("\"{revision:x}\"")
}

/// Understands a request, or says what is wrong with it. Changes nothing.
pub fn understand(request: &Request, view: View) -> Result<Todo, Problem> {
    if !request.roles.read {
        return Err(Problem::forbidden("read"));
    }
    let segments = path::segments(&request.path)?;
    let words: Vec<&str> = segments.iter().map(String::as_str).collect();
    let reads = request.method == Method::Get
        || words.last().is_some_and(|word| ["print", "get", "find", "export", remote::NAME].contains(word));
    if !reads && !request.roles.write {
        return Err(Problem::forbidden("write"));
    }
    if let Some(todo) = system::understand(request, &words, view)? {
        return Ok(todo);
    }
    let Found { place, rest } = path::resolve(&words)?;
    match (request.method, rest) {
        (Method::Get, []) => print::all(request, place, &Map::new()).map(Todo::Print),
        (Method::Get, [row]) if place.menu.shape != Shape::Settings => {
            print::one(request, place, row, view).map(Todo::Print)
        }
        (Method::Put, []) => change::put(request, place, view),
        (Method::Patch, []) if place.menu.shape == Shape::Settings => {
            change::patch(request, place, None, view)
        }
        (Method::Patch, [row]) if place.is_list() => change::patch(request, place, Some(row), view),
        (Method::Delete, [row]) if place.is_list() => change::delete(request, place, row, view),
        (Method::Delete, [row]) if place.menu.shape == Shape::Live => {
            command(place, "remove", vec![(*row).to_owned()])
        }
        (Method::Post, [name]) => post(request, place, name, view),
        (_, [] | [_]) => Err(Problem::not_allowed(request.method, place)),
        (_, [row, ..]) => Err(Problem::missing(place, format!("there is nothing below `{row}`"))),
    }
}

fn post(request: &Request, place: &'static Place, name: &str, view: View) -> Result<Todo, Problem> {
    let body = request.body.object()?;
    match name {
        "print" => return print::all(request, place, body).map(Todo::Print),
        "get" => return print::get(request, place, body, view).map(Todo::Print),
        "find" => return print::find(request, place, body).map(Todo::Print),
        remote::NAME if place.path == "ip.ipsec.peer" => {
            return Remote::understand(request, place, body, view).map(Todo::Remote);
        }
        _ => {}
    }
    if place.path == "ip.ipsec.key"
        && let Some(keys) = Keys::understand(request, place, name, body, view)?
    {
        return Ok(Todo::Keys(Box::new(keys)));
    }
    if place.menu.shape.is_written()
        && let Some(todo) = change::command(request, place, name, view)?
    {
        return Ok(todo);
    }
    command(place, name, change::numbers(body)?.unwrap_or_default())
}
/// Beyond those that every menu has.
fn command(place: &'static Place, name: &str, rows: Vec<String>) -> Result<Todo, Problem> {
    let Some(command) = place.menu.commands.iter().find(|command| command.name == name) else {
        return Err(Problem::no_command(place, name));
    };
    if let Some(what) = place.later {
        let said = format!("this version does not have {what} yet");
        return Err(Problem { status: 422, ..Problem::missing(place, said) });
    }
    if command.of_rows && rows.is_empty() {
        return Err(Problem::malformed("`.id` says which rows").at(place));
    }
    Ok(Todo::Command(Command { place, name: command.name, rows }))
}
