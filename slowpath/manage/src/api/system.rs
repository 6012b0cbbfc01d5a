//! Requests about the configuration as a whole.
use super::change::{apply, base};
use super::{Change, Method, Problem, Request, Then, Todo, View, transfer};
use ipc::change::Target;
use serde_json::{Map, Value};

/// What the server answers by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum System {
    /// The change that waits for it stays.
    Confirm,
    /// A stream: while it is open, changes with its token are undone when it ends.
    SafeMode,
    /// What was changed in the safe mode of this token stays.
    Release(String),
    /// A stream of what happens.
    Events(Watched),
    OpenApi,
    Schema,
}

/// Which events somebody wants: `only=log,peers`. Lines of the log only if they are asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watched {
    pub configuration: bool,
    pub diagnosis: bool,
    pub log: bool,
    pub peers: bool,
}
impl Watched {
    const NAMES: [&str; 4] = ["configuration", "diagnosis", "log", "peers"];
    fn of(request: &Request) -> Result<Self, Problem> {
        let Some(only) = request.asked("only") else {
            return Ok(Self { configuration: true, diagnosis: true, log: false, peers: true });
        };
        let words: Vec<&str> = only.split(',').collect();
        if let Some(word) = words.iter().find(|word| !Self::NAMES.contains(*word)) {
            return Err(Problem {
                fix: format!("there are: {}", Self::NAMES.join(", ")),
                ..Problem::malformed(format!("there are no events `{}`", word.escape_debug()))
            });
        }
        let [configuration, diagnosis, log, peers] = Self::NAMES.map(|name| words.contains(&name));
        Ok(Self { configuration, diagnosis, log, peers })
    }
}

/// `None`: it is about a menu.
pub(super) fn understand(request: &Request, words: &[&str], view: View) -> Result<Option<Todo>, Problem> {
    let (method, todo) = match words {
        ["system", "safe-mode"] => (Method::Get, System::SafeMode),
        ["events"] => (Method::Get, System::Events(Watched::of(request)?)),
        ["openapi.json"] => (Method::Get, System::OpenApi),
        ["schema.json"] => (Method::Get, System::Schema),
        ["system", "confirm"] => (Method::Post, System::Confirm),
        ["system", "safe-mode", "release"] => (Method::Post, System::Release(token(request)?)),
        ["system", "apply"] => return posted(request, |body| whole(request, body)).map(Some),
        ["system", "rollback"] => return posted(request, |body| rollback(request, body)).map(Some),
        ["export"] => return posted(request, |body| transfer::export(request, body, view)).map(Some),
        ["import"] => return posted(request, |body| transfer::import(request, body, view)).map(Some),
        _ => return Ok(None),
    };
    if request.method != method {
        let wanted = if method == Method::Get { "GET" } else { "POST" };
        return Err(Problem::new(405, format!("this is done with {wanted}")));
    }
    if todo == System::SafeMode && !request.roles.write {
        return Err(Problem::forbidden("write"));
    }
    Ok(Some(Todo::System(todo)))
}
fn posted(
    request: &Request,
    then: impl FnOnce(&Map<String, Value>) -> Result<Todo, Problem>,
) -> Result<Todo, Problem> {
    match request.method {
        Method::Post => then(request.body.object()?),
        _ => Err(Problem::new(405, "this is done with POST")),
    }
}
fn token(request: &Request) -> Result<String, Problem> {
    let body = request.body.object()?.get("token").and_then(Value::as_str);
    let token = body.or(request.safe_mode.as_deref());
    token.map(str::to_owned).ok_or_else(|| Problem::malformed("`token` says which safe mode"))
}

/// The members a body may have, each of its kind.
pub(super) struct Members<'b>(&'b Map<String, Value>);
impl<'b> Members<'b> {
    pub fn of(body: &'b Map<String, Value>, known: &[&str]) -> Result<Self, Problem> {
        match body.keys().find(|name| !known.contains(&name.as_str())) {
            Some(name) => Err(Problem {
                fix: format!("known here: {}", known.join(", ")),
                ..Problem::malformed(format!("there is no `{}` here", name.escape_debug()))
            }),
            None => Ok(Self(body)),
        }
    }
    fn get<T>(
        &self,
        name: &str,
        what: &str,
        read: impl Fn(&'b Value) -> Option<T>,
    ) -> Result<Option<T>, Problem> {
        let Some(value) = self.0.get(name).filter(|value| !value.is_null()) else { return Ok(None) };
        read(value).map(Some).ok_or_else(|| Problem::malformed(format!("`{name}` is {what}")))
    }
    pub fn text(&self, name: &str) -> Result<Option<&'b str>, Problem> {
        self.get(name, "a text", Value::as_str)
    }
    pub fn yes(&self, name: &str) -> Result<bool, Problem> {
        Ok(self.get(name, "true or false", Value::as_bool)?.unwrap_or_default())
    }
    pub fn number(&self, name: &str) -> Result<Option<u64>, Problem> {
        self.get(name, "a number", Value::as_u64)
    }
}

/// What both kinds of whole configurations have.
pub(super) fn change(
    request: &Request,
    members: &Members,
    to: Target,
    report: Map<String, Value>,
) -> Result<Todo, Problem> {
    let mut apply = apply(request, to)?;
    apply.dry_run |= members.yes("dry-run")?;
    if let Some(seconds) = members.number("confirm")? {
        if !(1..=86_400).contains(&seconds) {
            return Err(Problem::malformed("`confirm` is a number of seconds, up to a day"));
        }
        apply.confirm = Some(seconds);
    }
    if let Some(note) = members.text("comment")? {
        apply.comment = note.chars().take(256).collect();
    }
    Ok(Todo::Change(Change { apply, then: Then::Plan(report) }))
}
fn whole(request: &Request, body: &Map<String, Value>) -> Result<Todo, Problem> {
    let members = Members::of(body, &["text", "dry-run", "confirm", "comment"])?;
    if base(request).is_some() {
        return Err(Problem::malformed("If-Match goes with changes of single objects"));
    }
    let to = members.text("text")?.map_or(Target::File, |text| Target::Text(text.to_owned()));
    change(request, &members, to, Map::new())
}
fn rollback(request: &Request, body: &Map<String, Value>) -> Result<Todo, Problem> {
    let members = Members::of(body, &["entry", "dry-run", "confirm", "comment"])?;
    let entry =
        members.number("entry")?.ok_or_else(|| Problem::malformed("`entry` is a number of the history"))?;
    change(request, &members, Target::Entry(entry), Map::new())
}
