//! Why a request is refused, as RFC 9457 has it.
use super::Method;
use config::schema::{Place, Shape};
use ipc::change::{Refused, Why};
use serde_json::{Map, Value, json};

#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problem {
    pub status: u16,
    pub said: String,
    /// The object, as the console names it.
    pub path: String,
    pub property: Option<Box<str>>,
    pub fix: String,
    pub complaints: Vec<String>,
}
impl Problem {
    pub fn new(status: u16, said: impl Into<String>) -> Self {
        Self { status, said: said.into(), ..Self::default() }
    }
    pub(super) fn malformed(said: impl Into<String>) -> Self {
        Self::new(400, said)
    }
    pub(super) fn forbidden(role: &str) -> Self {
        Self {
            fix: format!("ask with a token that has the role `{role}`"),
            ..Self::new(403, format!("this needs the role `{role}`"))
        }
    }
    pub(super) fn missing(place: &Place, said: impl Into<String>) -> Self {
        Self::new(404, said).at(place)
    }
    pub(super) fn no_command(place: &Place, name: &str) -> Self {
        let own = place.menu.commands.iter().map(|command| command.name);
        let known: Vec<_> = commands(place).iter().copied().chain(own).collect();
        let said = format!("there is no command `{}`", name.escape_debug());
        Self { fix: format!("there are: {}", known.join(", ")), ..Self::missing(place, said) }
    }
    pub(super) fn not_allowed(method: Method, place: &Place) -> Self {
        let fix = match place.menu.shape {
            Shape::List => "GET and PUT the menu, GET, PATCH and DELETE a row, POST a command",
            Shape::Settings => "GET and PATCH them, POST a command",
            _ => "GET it, POST a command",
        };
        let said = format!("{} is not for this", format!("{method:?}").to_uppercase());
        Self { fix: fix.into(), ..Self::new(405, said).at(place) }
    }
    pub(super) fn at(self, place: &Place) -> Self {
        Self { path: place.console.into(), ..self }
    }
    pub fn title(&self) -> &'static str {
        match self.status {
            400 => "the request is malformed",
            401 => "who is asking is not known",
            403 => "not allowed",
            404 => "there is no such thing",
            405 => "not done this way",
            408 => "the request took too long",
            409 => "in conflict with something else",
            412 => "the configuration has changed meanwhile",
            413 => "the request is too large",
            422 => "refused by the check",
            429 => "too many wrong tries",
            503 => "too much to do at the moment",
            _ => "it failed",
        }
    }
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        map.insert("type".into(), "about:blank".into());
        map.insert("title".into(), self.title().into());
        map.insert("status".into(), self.status.into());
        map.insert("detail".into(), self.said.as_str().into());
        let property = self.property.as_deref().unwrap_or_default();
        for (name, text) in [("path", self.path.as_str()), ("property", property), ("fix", &self.fix)] {
            map.extend((!text.is_empty()).then(|| (name.into(), json!(text))));
        }
        if !self.complaints.is_empty() {
            map.insert("complaints".into(), json!(self.complaints));
        }
        map.into()
    }
}
/// What every menu of its shape knows.
pub(super) fn commands(place: &Place) -> &'static [&'static str] {
    match place.menu.shape {
        Shape::List => &[
            "print", "get", "find", "add", "set", "unset", "remove", "enable", "disable", "comment", "move",
            "reset",
        ],
        Shape::Settings => &["print", "get", "set", "unset", "reset"],
        _ => &["print", "get", "find"],
    }
}
impl From<Refused> for Problem {
    fn from(refused: Refused) -> Self {
        let Refused { said, complaints, why, path, property, fix } = refused;
        let status = match why {
            Why::Check => 422,
            Why::Missing => 404,
            Why::Value => 400,
            Why::Conflict => 409,
            Why::Stale => 412,
            Why::Forbidden => 403,
            Why::Busy => 503,
            Why::Failed => 500,
        };
        // A property that does not exist is a mistake in the request, not a missing object.
        let status = if status == 404 && property.is_some() { 400 } else { status };
        Self { status, said, path, property, fix, complaints }
    }
}
