//! Rows as JSON: what is written, what that means, what the running gateway says.
use super::query::Filter;
use super::{Problem, Request, View, change};
use config::document::{Document, HIDDEN, Id, Object};
use config::schema::{Field, Kind, Place, Shape};
use serde_json::{Map, Value, json};

/// What the running gateway says about a row.
pub type Shown = Map<String, Value>;

#[derive(Clone, Debug)]
pub struct Print {
    pub place: &'static Place,
    pub which: Which,
    pub sensitive: bool,
    filter: Filter,
    properties: Vec<String>,
    form: Form,
    /// So many rows are left out at the beginning, and no more than these are wanted.
    pub offset: usize,
    pub limit: usize,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Which {
    All,
    /// A row of the configuration.
    One(Id),
    /// A row of the running gateway, as it was named.
    Named(String),
}
#[derive(Clone, Debug, PartialEq, Eq)]
enum Form {
    Rows,
    /// One object.
    Object,
    /// `{"ret": ["*1", "*2"]}`
    Ids,
    /// `{"ret": value}`
    Value(String),
}

fn new(request: &Request, place: &'static Place) -> Result<Print, Problem> {
    let sensitive = request.says("show-sensitive")?;
    if sensitive && !request.roles.sensitive {
        return Err(Problem::forbidden("sensitive"));
    }
    let form =
        if matches!(place.menu.shape, Shape::Settings | Shape::Figures) { Form::Object } else { Form::Rows };
    Ok(Print { which: Which::All, sensitive, form, ..Print::named(place, "") })
}
/// The whole menu, or what the query and `.query` of the body leave of it.
pub(super) fn all(
    request: &Request,
    place: &'static Place,
    body: &Map<String, Value>,
) -> Result<Print, Problem> {
    let mut print = new(request, place)?;
    for (name, value) in &request.query {
        match name.as_str() {
            "show-sensitive" => {}
            ".proplist" => print.properties.extend(value.split(',').map(str::to_owned)),
            ".query" => print.filter.words(value.split(','))?,
            ".limit" => print.limit = number(name, value)?,
            ".offset" => print.offset = number(name, value)?,
            _ => print.filter.equal(name, value),
        }
    }
    for (name, value) in body {
        match name.as_str() {
            ".proplist" => print.properties.extend(texts(name, value)?),
            ".query" => print.filter.words(texts(name, value)?.iter().map(String::as_str))?,
            ".limit" | ".offset" => {
                let wanted = value.as_u64().and_then(|n| usize::try_from(n).ok());
                let wanted = wanted.ok_or_else(|| Problem::malformed(format!("`{name}` is a number")))?;
                if name == ".limit" { print.limit = wanted } else { print.offset = wanted }
            }
            "show-sensitive" if value.as_bool() == Some(false) => {}
            "show-sensitive" if value.as_bool() == Some(true) && request.roles.sensitive => {
                print.sensitive = true;
            }
            "show-sensitive" => return Err(Problem::forbidden("sensitive")),
            _ => {
                let said = format!("print knows no `{}`", name.escape_debug());
                return Err(Problem::malformed(said).at(place));
            }
        }
    }
    Ok(print)
}
fn number(name: &str, value: &str) -> Result<usize, Problem> {
    value.parse().map_err(|_| Problem::malformed(format!("`{name}` is a number")))
}
/// A list of texts, or one with commas.
pub(super) fn texts(name: &str, value: &Value) -> Result<Vec<String>, Problem> {
    let wrong = || Problem::malformed(format!("`{name}` is a list of texts"));
    match value {
        Value::String(text) => Ok(text.split(',').map(str::to_owned).collect()),
        Value::Array(items) => {
            items.iter().map(|item| item.as_str().map(str::to_owned).ok_or_else(wrong)).collect()
        }
        _ => Err(wrong()),
    }
}
/// One row.
pub(super) fn one(request: &Request, place: &'static Place, row: &str, view: View) -> Result<Print, Problem> {
    let mut print = all(request, place, &Map::new())?;
    print.form = Form::Object;
    print.which = match place.menu.shape {
        Shape::Live => Which::Named(row.to_owned()),
        Shape::Figures => return Err(Problem::missing(place, "there are no rows here")),
        _ if change::is_made(place, row) => Which::Named(row.to_owned()),
        _ => Which::One(change::row(place, row, view)?),
    };
    Ok(print)
}
/// `get .id=… value-name=…`
pub(super) fn get(
    request: &Request,
    place: &'static Place,
    body: &Map<String, Value>,
    view: View,
) -> Result<Print, Problem> {
    let mut print = match (place.menu.shape, change::numbers(body)?.as_deref()) {
        (Shape::Settings | Shape::Figures, _) => all(request, place, &Map::new())?,
        (_, Some([row])) => one(request, place, row, view)?,
        _ => return Err(Problem::malformed("`.id` says which row").at(place)),
    };
    if let Some(name) = body.get("value-name") {
        let name = name.as_str().ok_or_else(|| Problem::malformed("`value-name` is a text"))?;
        print.form = Form::Value(name.to_owned());
    }
    Ok(print)
}
/// Numbers of the rows that have these values, or that `.query` finds.
pub(super) fn find(
    request: &Request,
    place: &'static Place,
    body: &Map<String, Value>,
) -> Result<Print, Problem> {
    let mut print = new(request, place)?;
    for (name, value) in body {
        if name == ".query" {
            print.filter.words(texts(name, value)?.iter().map(String::as_str))?;
            continue;
        }
        let text = config::document::value_text(value).ok_or_else(|| {
            Problem::malformed(format!("`{}` is a text, number or boolean", name.escape_debug()))
        })?;
        print.filter.equal(name, &text);
    }
    print.form = Form::Ids;
    Ok(print)
}

impl Print {
    /// Rows of the configuration as they are now, with what the running gateway says about them.
    /// `made` are rows behind one of them that nobody wrote.
    pub fn document(
        &self,
        document: &Document,
        shown: &dyn Fn(&Object) -> Shown,
        made: &dyn Fn(&Object) -> Vec<Shown>,
    ) -> Result<Value, Problem> {
        let secrets = self.sensitive;
        let object = |row: &Object| object(self.place, row, secrets, shown(row));
        match self.which {
            Which::One(id) => {
                let row = document.row(self.place, id);
                let row = row.ok_or_else(|| Problem::missing(self.place, format!("no such item: {id}")))?;
                self.rows(std::iter::once(object(row)))
            }
            _ => {
                let with_made = |row| std::iter::once(object(row)).chain(made(row));
                self.rows(document.rows(self.place).iter().flat_map(with_made))
            }
        }
    }
    /// Those of the rows that are wanted, in the form that is wanted.
    pub fn rows(&self, rows: impl Iterator<Item = Map<String, Value>>) -> Result<Value, Problem> {
        let mut wanted = rows.filter(|row| self.takes(row)).skip(self.offset).take(self.limit);
        let nothing = || Problem::missing(self.place, "no such item");
        Ok(match &self.form {
            Form::Rows => wanted.map(|row| self.cut(row)).collect(),
            Form::Object => self.cut(wanted.next().ok_or_else(nothing)?),
            Form::Ids => json!({"ret": wanted.filter_map(|mut row| row.remove(".id")).collect::<Vec<_>>()}),
            Form::Value(name) => {
                let value = wanted.next().ok_or_else(nothing)?.remove(name);
                json!({"ret": value.unwrap_or_default()})
            }
        })
    }
    /// The rows of a live menu that a command is for.
    pub fn named(place: &'static Place, name: &str) -> Self {
        Self {
            place,
            which: Which::Named(name.to_owned()),
            sensitive: false,
            filter: Filter::default(),
            properties: Vec::new(),
            form: Form::Rows,
            offset: 0,
            limit: usize::MAX,
        }
    }
    pub fn object(&self, row: &Object, shown: Shown) -> Map<String, Value> {
        object(self.place, row, self.sensitive, shown)
    }
    /// For answers that are made row by row: the array that [`Self::rows`] would make.
    pub fn is_list(&self) -> bool {
        self.form == Form::Rows
    }
    pub fn takes(&self, row: &Map<String, Value>) -> bool {
        let named = |name: &String| {
            [".id", "name", "peer", "spi"]
                .iter()
                .any(|key| row.get(*key).and_then(Value::as_str) == Some(name))
        };
        (match &self.which {
            Which::Named(name) => named(name),
            _ => true,
        }) && self.filter.takes(row)
    }
    /// With the properties that were asked for.
    pub fn cut(&self, row: Map<String, Value>) -> Value {
        if self.properties.is_empty() {
            return row.into();
        }
        row.into_iter().filter(|(name, _)| self.properties.contains(name)).collect::<Map<_, _>>().into()
    }
}

/// A row with every value it has, flags, and what the gateway says.
pub(super) fn object(
    place: &'static Place,
    row: &Object,
    sensitive: bool,
    shown: Shown,
) -> Map<String, Value> {
    let mut map = Map::new();
    if place.is_list() {
        map.insert(".id".into(), row.id.to_string().into());
    }
    for flag in place.menu.flags {
        map.insert(flag.name.into(), false.into());
    }
    for field in &place.fields {
        let Some(text) = row.effective(place, field.name) else { continue };
        let hidden = field.is_secret() && !sensitive;
        map.insert(field.name.into(), if hidden { HIDDEN.into() } else { typed(field, text) });
    }
    if place.menu.flags.iter().any(|flag| flag.name == "default") {
        map.insert("default".into(), (row.built_in && place.is_list()).into());
    }
    map.extend(shown);
    map
}
/// A value as JSON has it; what has no type there is text.
fn typed(field: &Field, text: &str) -> Value {
    let list = || text.split(',').filter(|item| !item.is_empty());
    match field.property.kind {
        Kind::YesNo => (text == "yes").into(),
        Kind::Integer { .. } => text.parse::<u64>().map_or_else(|_| text.into(), Value::from),
        Kind::Some(_) | Kind::List(_) => list().collect(),
        Kind::Workers if text.contains(',') => list().filter_map(|cpu| cpu.parse::<u64>().ok()).collect(),
        Kind::Workers => text.parse::<u64>().map_or_else(|_| text.into(), Value::from),
        _ => text.into(),
    }
}
