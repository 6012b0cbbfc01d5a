//! Whom the console works on: a running gateway or a file. Both speak the REST of `/rest`.
use super::fault::Fault;
use serde_json::{Map, Value};
use std::time::Duration;

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Method {
    Get,
    Post,
}

/// One request. Paths are those of the console: `ip/ipsec/policy/group`.
pub struct Request<'a> {
    pub method: Method,
    pub path: &'a str,
    pub query: Vec<(&'a str, String)>,
    pub body: Option<Value>,
}
#[derive(Clone, Debug, Default)]
pub struct Answer {
    pub status: u16,
    pub body: Value,
}

/// What becomes of safe mode.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Safe {
    /// From now on changes are undone when the session ends.
    Take,
    /// The changes stay.
    Release,
    /// They do not.
    Undo,
}

pub trait Remote: Send {
    fn call(&mut self, request: &Request) -> anyhow::Result<Answer>;
    fn safe_mode(&mut self, to: Safe) -> anyhow::Result<()>;
    /// From now on events of this kind are told by `wait`. `false`: nobody tells them here.
    fn watch(&mut self, _only: &str) -> anyhow::Result<bool> {
        Ok(false)
    }
    /// Whether something has happened, waiting at most so long for it.
    fn wait(&mut self, _most: Duration) -> anyhow::Result<bool> {
        Ok(false)
    }
    fn unwatch(&mut self) {}
    /// What would be lost with the session, a line for each change. `None`: every change is in force at once.
    fn unsaved(&self) -> Option<Vec<String>> {
        None
    }
    /// Writes unsaved changes down as one transaction; says what was done.
    fn save(&mut self) -> Result<String, Fault> {
        Err(Fault::new("there is nothing to save", "changes are in force as soon as they are made"))
    }
}

pub type Row = Map<String, Value>;

impl dyn Remote + '_ {
    pub fn get(&mut self, path: &str, query: Vec<(&str, String)>) -> Result<Value, Fault> {
        self.done(Request { method: Method::Get, path, query, body: None }).map(|answer| answer.body)
    }
    pub fn post(&mut self, path: &str, body: Value) -> Result<Answer, Fault> {
        self.done(Request { method: Method::Post, path, query: Vec::new(), body: Some(body) })
    }
    fn done(&mut self, request: Request) -> Result<Answer, Fault> {
        let answer = self.call(&request).map_err(|error| Fault::new(format!("{error:#}"), ""))?;
        match answer.status {
            200..300 => Ok(answer),
            status => Err(refused(status, &answer.body)),
        }
    }
    /// All rows of a list, or the one object of a group.
    pub fn rows(&mut self, path: &str, query: Vec<(&str, String)>) -> Result<Vec<Row>, Fault> {
        match self.get(path, query)? {
            Value::Array(rows) => Ok(rows.into_iter().filter_map(object).collect()),
            one => Ok(object(one).into_iter().collect()),
        }
    }
}
fn object(value: Value) -> Option<Row> {
    match value {
        Value::Object(row) => Some(row),
        _ => None,
    }
}

/// RFC 9457, with our members.
fn refused(status: u16, problem: &Value) -> Fault {
    let text = |name: &str| problem.get(name).and_then(Value::as_str).filter(|text| !text.is_empty());
    let said =
        text("detail").or_else(|| text("title")).map_or_else(|| format!("refused ({status})"), Into::into);
    let mut fault = Fault::new(said, text("fix").unwrap_or_default());
    if let Some(path) = text("path").filter(|path| !fault.said.contains(*path)) {
        fault.said = format!("{path}: {}", fault.said);
    }
    fault.property = text("property").map(ToOwned::to_owned);
    let complaints = problem.get("complaints").and_then(Value::as_array).into_iter().flatten();
    let complaints = complaints.map(|line| line.as_str().map_or_else(|| line.to_string(), Into::into));
    // Warnings are no reason, and the first reason is said already.
    fault.more = complaints.filter(|line: &String| !line.starts_with("warning:")).collect();
    fault.more.retain(|line| !text("detail").is_some_and(|said| line.contains(said)));
    fault
}
