//! The whole configuration, or a part, as text: out in three forms, in from two others.
use super::change::base;
use super::system::{Members, change};
use super::{Answer, Problem, Request, Todo, View};
use config::date;
use config::document::{Document, Object, Secrets};
use config::schema::{Place, places};
use config::script::export::{Amount, Style, export as script, export_menu};
use config::script::{self, Imported};
use ipc::change::{Edit, Edits, Target};
use ipc::status::Text;
use serde_json::{Map, Value, json};
use std::time::SystemTime;
use zeroize::Zeroizing;

pub(super) fn export(request: &Request, body: &Map<String, Value>, view: View) -> Result<Todo, Problem> {
    let members = Members::of(body, &["format", "path", "show-sensitive", "verbose", "terse"])?;
    let secrets = match members.yes("show-sensitive")? {
        true if !request.roles.sensitive => return Err(Problem::forbidden("sensitive")),
        true => Secrets::Shown,
        false => Secrets::Hidden,
    };
    let amount = match (members.yes("verbose")?, members.yes("terse")?) {
        (true, _) => Amount::Verbose,
        (_, true) => Amount::Terse,
        _ => Amount::Compact,
    };
    let under = path(&members)?;
    let style = Style { amount, secrets };
    let text = match members.text("format")?.unwrap_or("routeros") {
        "routeros" if under.is_empty() => {
            let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
            script(view.rows, style, &date::show(since.as_secs()), env!("CARGO_PKG_VERSION")).to_string()
        }
        "routeros" => export_menu(view.rows, style, &under).to_string(),
        "yaml" if under.is_empty() => view.rows.to_yaml(secrets).to_string(),
        "yaml" => return Err(Problem::malformed("`path` goes with the formats routeros and json")),
        "json" => json(view.rows, secrets, &under),
        _ => return Err(Problem::malformed("`format` is routeros, yaml or json")),
    };
    Ok(Todo::Answer(Answer::ok(json!({"text": text}))))
}
fn json(rows: &Document, secrets: Secrets, under: &str) -> String {
    let mut all = rows.to_json(secrets);
    if let Value::Object(menus) = &mut all {
        menus.retain(|path, _| config::schema::place(path).is_some_and(|place| is_below(place, under)));
    }
    format!("{all:#}\n")
}
/// `/ip ipsec` as menus are called: `ip ipsec`.
fn path(members: &Members) -> Result<String, Problem> {
    let under = members.text("path")?.unwrap_or_default().replace('/', " ");
    let under = under.split_whitespace().collect::<Vec<_>>().join(" ");
    match places().iter().any(|place| is_below(place, &under)) {
        true => Ok(under),
        false => Err(Problem::new(404, format!("there is no menu `{}`", under.escape_debug()))),
    }
}
fn is_below(place: &Place, under: &str) -> bool {
    under.is_empty()
        || place.console.strip_prefix(under).is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
}

pub(super) fn import(request: &Request, body: &Map<String, Value>, view: View) -> Result<Todo, Problem> {
    let members = Members::of(body, &["text", "from", "path", "secrets", "dry-run", "confirm", "comment"])?;
    let text = members.text("text")?.ok_or_else(|| Problem::malformed("`text` is what to import"))?;
    let mut done = match members.text("from")?.unwrap_or("routeros") {
        "routeros" => script::import(text),
        "swanctl" => script::swanctl::import(text),
        _ => return Err(Problem::malformed("`from` is routeros or swanctl")),
    };
    given(&mut done, body.get("secrets"))?;
    let under = path(&members)?;
    let edits = merged(&done.document, view.rows, &under);
    let to = Target::Edits(Edits { base: base(request), edits });
    change(request, &members, to, report(&done))
}
/// Secrets that are not in the text, by their keys: `{"west": "..."}`.
fn given(done: &mut Imported, secrets: Option<&Value>) -> Result<(), Problem> {
    let Some(secrets) = secrets.filter(|secrets| !secrets.is_null()) else { return Ok(()) };
    let said =
        || Problem::malformed("`secrets` is an object: the key of each missing secret, and the secret");
    let secrets = secrets.as_object().filter(|all| all.values().all(Value::is_string)).ok_or_else(said)?;
    let secret = |key: &str| secrets.get(key)?.as_str().map(|secret| Zeroizing::new(secret.to_owned()));
    done.fill_in(|missing| secret(&missing.key)).map_err(|fault| Problem::malformed(fault.to_string()))
}
fn report(done: &Imported) -> Map<String, Value> {
    let mut map = Map::new();
    map.insert("summary".into(), done.report.summary().into());
    map.insert("report".into(), serde_json::to_value(&done.report).unwrap_or_default());
    let missing: Vec<&str> = done.missing.iter().map(|secret| secret.what.as_str()).collect();
    map.insert("missing-secrets".into(), json!(missing));
    map
}
/// Rows of the one added to the other; those of a name that is there already are changed to be like them.
fn merged(from: &Document, to: &Document, under: &str) -> Vec<Edit> {
    let mut edits = Vec::new();
    let plain = Document::new();
    for place in places().iter().filter(|p| p.menu.shape.is_written() && is_below(p, under)) {
        let menu = || place.path.to_owned();
        for row in from.rows(place) {
            let there = match row.name() {
                Some(name) => to.by_name(place, name),
                None if row.built_in => to.row(place, row.id),
                None => to.rows(place).iter().find(|other| same(other, row)),
            };
            let unchanged = row.built_in && plain.row(place, row.id) == Some(row);
            match there {
                _ if unchanged => {}
                Some(there) if same(there, row) => {}
                Some(there) => edits.push(Edit::Set { menu: menu(), id: there.id.0, values: differing(row) }),
                None => edits.push(Edit::Add { menu: menu(), values: cells(row), before: None }),
            }
        }
    }
    edits
}
/// Whether a default is written or left out makes no difference.
fn same(a: &Object, b: &Object) -> bool {
    let texts = |row: &Object| -> Vec<(&'static str, String)> {
        row.differing().map(|(field, text)| (field.name, text.to_owned())).collect()
    };
    texts(a) == texts(b)
}
fn cells(row: &Object) -> Vec<(String, Text)> {
    row.cells().map(|(field, text)| (field.name.to_owned(), Text(text.to_owned()))).collect()
}
fn differing(row: &Object) -> Vec<(String, Option<Text>)> {
    cells(row).into_iter().map(|(name, text)| (name, Some(text))).collect()
}
