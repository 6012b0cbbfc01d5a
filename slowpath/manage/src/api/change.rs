//! Requests that change the configuration, as edits.
use super::print::object;
use super::{Answer, Method, Problem, Request, Shown, Todo, View, etag};
use config::document::{Document, Id, Object, value_text};
use config::schema::{Kind, Place};
use ipc::change::{Apply, Edit, Edits, Plan, Target};
use ipc::status::Text;
use serde_json::{Map, Value, json};

/// Edits, and what is answered when they are made.
#[derive(Debug)]
pub struct Change {
    pub apply: Apply,
    pub then: Then,
}
#[derive(Clone, Debug)]
pub enum Then {
    /// The row as it is then.
    Object {
        place: &'static Place,
        status: u16,
    },
    Empty {
        status: u16,
    },
    /// `{"ret": "*1A"}`
    Id,
    /// The plan, beside these.
    Plan(Map<String, Value>),
}

impl Then {
    /// When it is done, or was only to be planned.
    pub fn answer(
        &self,
        plan: &Plan,
        dry_run: bool,
        rows: &Document,
        revision: u64,
        shown: &dyn Fn(&Object) -> Shown,
    ) -> Answer {
        let plan_json = || serde_json::to_value(plan).unwrap_or_default();
        if dry_run {
            let mut body = Map::new();
            body.insert("plan".into(), plan_json());
            if let Self::Plan(more) = self {
                body.extend(more.clone());
            }
            return Answer { etag: Some(etag(revision)), ..Answer::ok(body.into()) };
        }
        let id = plan.ids.last().copied().map(Id);
        let (status, body) = match self {
            Self::Object { place, status } => {
                let row = rows.row(place, id.unwrap_or(Id(0)));
                (*status, row.map(|row| object(place, row, false, shown(row)).into()))
            }
            Self::Empty { status } => (*status, None),
            Self::Id => (200, Some(json!({"ret": id.map(|id| id.to_string())}))),
            Self::Plan(more) => {
                let mut body = more.clone();
                body.insert("plan".into(), plan_json());
                (200, Some(body.into()))
            }
        };
        let entry = (plan.entry > 0).then_some(plan.entry);
        Answer { status, body, etag: Some(etag(revision)), entry }
    }
}

/// Any change, from what the request says about all of them.
pub(super) fn apply(request: &Request, to: Target) -> Result<Apply, Problem> {
    let confirm = request.asked("confirm").map(|text| {
        let seconds = text.parse().ok().filter(|n| (1..=86_400).contains(n));
        seconds.ok_or_else(|| Problem::malformed("`confirm` is a number of seconds, up to a day"))
    });
    Ok(Apply {
        to,
        dry_run: request.says("dry-run")?,
        confirm: confirm.transpose()?,
        who: request.who.clone(),
        comment: request.asked("note").unwrap_or_default().chars().take(256).collect(),
        without_rights: !request.roles.sensitive,
        safe_mode: request.safe_mode.clone(),
    })
}
fn edits(request: &Request, edits: Vec<Edit>, then: Then) -> Result<Todo, Problem> {
    for (name, _) in &request.query {
        if !["dry-run", "confirm", "note"].contains(&name.as_str()) {
            return Err(Problem::malformed(format!("a change knows no `{}`", name.escape_debug())));
        }
    }
    let base = base(request);
    Ok(Todo::Change(Change { apply: apply(request, Target::Edits(Edits { base, edits }))?, then }))
}
/// The revision of `If-Match`; one that nobody has ever given is none that can be in force.
pub(super) fn base(request: &Request) -> Option<u64> {
    let wanted = request.if_match.as_deref().filter(|wanted| wanted.trim() != "*")?;
    let tags = wanted.split(',').map(|tag| tag.trim().strip_prefix('"')?.strip_suffix('"'));
    Some(tags.flatten().find_map(|tag| u64::from_str_radix(tag, 16).ok()).unwrap_or(0))
}

/// Whether this can only be the number of a row that nobody wrote: a policy made from a template.
pub(super) fn is_made(place: &Place, named: &str) -> bool {
    place.path == "ip.ipsec.policy" && named.parse().is_ok_and(|Id(id)| sa::PolicyId(id).is_dynamic())
}
/// A row that was named by its number or its name.
pub(super) fn row(place: &'static Place, named: &str, view: View) -> Result<Id, Problem> {
    if is_made(place, named) {
        let said = format!("{named} is dynamic: it was made from a template, and goes with its peer's SAs");
        let fix = "change the template, or end the peer's connections in `active-peers`".into();
        return Err(Problem { fix, ..Problem::new(422, said).at(place) });
    }
    let found = match named.parse::<Id>() {
        Ok(id) => view.rows.row(place, id),
        Err(()) => view.rows.by_name(place, named),
    };
    found
        .map(|row| row.id)
        .ok_or_else(|| Problem::missing(place, format!("no such item: {}", named.escape_debug())))
}
/// `.id` or `numbers`: a text with commas, or a list.
pub(super) fn numbers(body: &Map<String, Value>) -> Result<Option<Vec<String>>, Problem> {
    let said = [".id", "numbers"].iter().filter_map(|key| Some((*key, body.get(*key)?)));
    let rows: Vec<_> = said.map(|(key, value)| super::print::texts(key, value)).collect::<Result<_, _>>()?;
    if rows.len() > 1 {
        return Err(Problem::malformed("`.id` and `numbers` are the same; write one"));
    }
    Ok(rows.into_iter().next())
}
fn rows(place: &'static Place, body: &Map<String, Value>, view: View) -> Result<Vec<u32>, Problem> {
    if !place.is_list() {
        return Ok(vec![0]);
    }
    let named = numbers(body)?.filter(|rows| !rows.is_empty());
    let named = named.ok_or_else(|| Problem::malformed("`.id` says which rows").at(place))?;
    named.iter().map(|name| row(place, name, view).map(|id| id.0)).collect()
}

type Values = Vec<(String, Option<Text>)>;
/// Properties of a body; `null` leaves one out again.
fn values(place: &Place, body: &Map<String, Value>, without: &[&str]) -> Result<Values, Problem> {
    let mut out = Vec::new();
    for (name, value) in body {
        // What is only shown comes back unchanged from whoever edits an object that was read.
        if without.contains(&name.as_str()) {
            continue;
        }
        let text = match value {
            Value::Null => None,
            value => Some(value_text(value).ok_or_else(|| Problem {
                property: Some(name.as_str().into()),
                ..Problem::malformed("here belongs a text, number, boolean or list of them").at(place)
            })?),
        };
        out.push((name.clone(), text.map(|text| Text(text.to_string()))));
    }
    Ok(out)
}
fn set(place: &Place, id: u32, values: Values) -> Edit {
    Edit::Set { menu: place.path.into(), id, values }
}

pub(super) fn put(request: &Request, place: &'static Place, view: View) -> Result<Todo, Problem> {
    add(request, place, request.body.object()?, view, Then::Object { place, status: 201 })
}
pub(super) fn add(
    request: &Request,
    place: &'static Place,
    body: &Map<String, Value>,
    view: View,
    then: Then,
) -> Result<Todo, Problem> {
    if !place.is_list() {
        return Err(Problem::not_allowed(Method::Put, place));
    }
    let named = |key: &str| {
        let name = body.get(key).map(|value| value.as_str().ok_or(()));
        let name = name.transpose().map_err(|()| Problem::malformed(format!("`{key}` is a row")))?;
        name.map(|name| row(place, name, view)).transpose()
    };
    let before = named("place-before")?.map(|id| id.0);
    let mut cells = values(place, body, &["place-before", "copy-from"])?;
    if let Some(copied) = named("copy-from")?.and_then(|id| view.rows.row(place, id)) {
        let missing = |name: &str| !body.contains_key(name);
        let kept = copied.cells().filter(|(field, _)| !matches!(field.property.kind, Kind::Name));
        let kept = kept.filter(|(field, _)| missing(field.name) && field.name != "default");
        cells.extend(kept.map(|(field, text)| (field.name.into(), Some(Text(text.into())))));
    }
    let values = cells.into_iter().filter_map(|(name, text)| Some((name, text?))).collect();
    edits(request, vec![Edit::Add { menu: place.path.into(), values, before }], then)
}
pub(super) fn patch(
    request: &Request,
    place: &'static Place,
    named: Option<&str>,
    view: View,
) -> Result<Todo, Problem> {
    let id = named.map_or(Ok(Id(0)), |name| row(place, name, view))?;
    let values = values(place, request.body.object()?, &[".id"])?;
    edits(request, vec![set(place, id.0, values)], Then::Object { place, status: 200 })
}
pub(super) fn delete(
    request: &Request,
    place: &'static Place,
    named: &str,
    view: View,
) -> Result<Todo, Problem> {
    let id = row(place, named, view)?.0;
    edits(request, vec![Edit::Remove { menu: place.path.into(), id }], Then::Empty { status: 204 })
}

const NAMING: [&str; 2] = [".id", "numbers"];

/// The commands that every written menu has. `None`: it is none of them.
pub(super) fn command(
    request: &Request,
    place: &'static Place,
    name: &str,
    view: View,
) -> Result<Option<Todo>, Problem> {
    let body = request.body.object()?;
    if !super::problem::commands(place).contains(&name) {
        return Ok(None);
    }
    let done = Then::Empty { status: 200 };
    let each = |values: Values| -> Result<Vec<Edit>, Problem> {
        Ok(rows(place, body, view)?.into_iter().map(|id| set(place, id, values.clone())).collect())
    };
    let word = |name: &str, text: &str| vec![(name.to_owned(), Some(Text(text.to_owned())))];
    let only = |more: &[&str]| match body.keys().find(|k| !NAMING.contains(&&***k) && !more.contains(&&***k))
    {
        Some(key) => Err(Problem::malformed(format!("{name} knows no `{}`", key.escape_debug())).at(place)),
        None => Ok(()),
    };
    let menu = || place.path.to_owned();
    let made = match name {
        "add" => return add(request, place, body, view, Then::Id).map(Some),
        "set" => each(values(place, body, &NAMING)?)?,
        "unset" => {
            only(&["value-name"])?;
            let names = body.get("value-name").map(|value| super::print::texts("value-name", value));
            let names = names.transpose()?.unwrap_or_default();
            if names.is_empty() {
                return Err(Problem::malformed("`value-name` says which property").at(place));
            }
            each(names.into_iter().map(|name| (name, None)).collect())?
        }
        "enable" | "disable" => {
            only(&[])?;
            each(word("disabled", if name == "enable" { "no" } else { "yes" }))?
        }
        "comment" => {
            only(&["comment"])?;
            let text = body.get("comment").and_then(Value::as_str).unwrap_or_default();
            each(word("comment", text))?
        }
        "remove" => {
            only(&[])?;
            rows(place, body, view)?.into_iter().map(|id| Edit::Remove { menu: menu(), id }).collect()
        }
        "reset" => {
            only(&[])?;
            rows(place, body, view)?.into_iter().map(|id| Edit::Reset { menu: menu(), id }).collect()
        }
        "move" => {
            only(&["destination"])?;
            let to = body.get("destination").filter(|to| !to.is_null());
            let to = to.map(|to| to.as_str().ok_or_else(|| Problem::malformed("`destination` is a row")));
            let before = to.transpose()?.map(|name| row(place, name, view)).transpose()?;
            vec![Edit::Move { menu: menu(), ids: rows(place, body, view)?, before: before.map(|id| id.0) }]
        }
        _ => return Ok(None),
    };
    edits(request, made, done).map(Some)
}
