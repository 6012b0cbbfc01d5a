//! Commands that change rows: each is one request, done as a whole or refused.
use super::args::{Args, Bare};
use super::cell;
use super::condition::property;
use super::fault::Fault;
use super::items::rest_path;
use super::session::{Given, Line, Session, written};
use config::schema::{Command, Kind, Place, Property};
use serde_json::{Map, Value, json};
use zeroize::Zeroizing;

type Body = Map<String, Value>;

impl Session {
    fn change(&mut self, place: &'static Place, command: &str, body: Body) -> Result<Value, Fault> {
        let done = self.remote.post(&format!("{}/{command}", rest_path(place)), body.into());
        self.known_names.clear();
        done.map(|answer| answer.body)
    }
    /// The named arguments as properties of a row; `!name` takes one away.
    fn cells(&mut self, place: &'static Place, args: &mut Args) -> Result<Body, Fault> {
        let mut body = Body::new();
        for named in args.named.drain(..) {
            let name = property(place, written(place), &named.name, named.name_span)?;
            if body.insert(name.to_owned(), named.text.as_str().into()).is_some() {
                return Err(Fault::at(named.name_span, format!("`{name}` is given twice")));
            }
        }
        for (word, span) in args.nots.drain(..) {
            let name = property(place, written(place), &word, span)?;
            if body.insert(name.to_owned(), Value::Null).is_some() {
                return Err(Fault::at(span, format!("`{name}` is given twice")));
            }
        }
        Ok(body)
    }
    /// Takes the arguments that name rows: `numbers=`, or the first one without a name.
    fn rows_of(&mut self, place: &'static Place, args: &mut Args, all: bool) -> Result<Vec<String>, Fault> {
        let mut words: Vec<Bare> = Vec::new();
        if let Some(named) = args.take("numbers") {
            words.push(Bare { text: named.text, span: named.span, found: false });
        }
        if all {
            words.append(&mut args.bare);
        } else if words.is_empty() && !args.bare.is_empty() {
            words.push(args.bare.remove(0));
        }
        if words.is_empty() {
            let said = "say which: a number of the last print, a name, or [find ...]";
            return Err(Fault::at(args.span, said));
        }
        self.ids(place, &words)
    }

    pub fn add(&mut self, place: &'static Place, line: &Line) -> Result<Given, Fault> {
        let mut args = self.args(line, false)?;
        let properties: Vec<_> = written(place).collect();
        args.name_fully(&["place-before", "copy-from"], &properties);
        let before = self.one_row(place, &mut args, "place-before")?;
        let copied = self.one_row(place, &mut args, "copy-from")?;
        let mut body = self.cells(place, &mut args)?;
        args.done()?;
        body.extend(before.map(|id| ("place-before".to_owned(), id.into())));
        body.extend(copied.map(|id| ("copy-from".to_owned(), id.into())));
        let made = self.change(place, "add", body)?;
        let id = made.get(".id").or_else(|| made.get("ret")).map(|id| cell::text(id).into_owned());
        Ok(id.filter(|_| line.captured).map(Zeroizing::new))
    }
    fn one_row(
        &mut self,
        place: &'static Place,
        args: &mut Args,
        name: &str,
    ) -> Result<Option<String>, Fault> {
        let Some(named) = args.take(name) else { return Ok(None) };
        let span = named.span;
        let ids = self.ids(place, &[Bare { found: named.text.starts_with('*'), text: named.text, span }])?;
        match <[String; 1]>::try_from(ids) {
            Ok([id]) => Ok(Some(id)),
            Err(ids) => Err(Fault::at(span, format!("{} rows are meant, and one is needed", ids.len()))),
        }
    }

    pub fn set(&mut self, place: &'static Place, line: &Line) -> Result<Given, Fault> {
        let mut args = self.args(line, false)?;
        let ids = if place.is_list() { Some(self.rows_of(place, &mut args, false)?) } else { None };
        let mut body = self.cells(place, &mut args)?;
        args.done()?;
        // Nothing was found, nothing is changed.
        if ids.as_ref().is_some_and(Vec::is_empty) || body.is_empty() {
            return Ok(None);
        }
        body.extend(ids.map(|ids| (".id".to_owned(), ids.join(",").into())));
        self.change(place, "set", body)?;
        Ok(None)
    }
    /// `unset N name`, `reset N name`; settings have no N. `reset` alone: everything.
    pub fn unset(&mut self, place: &'static Place, line: &Line, command: &str) -> Result<Given, Fault> {
        let mut args = self.args(line, false)?;
        let ids = if place.is_list() { Some(self.rows_of(place, &mut args, false)?) } else { None };
        let mut names = Vec::new();
        if let Some(named) = args.take("value-name") {
            args.bare.push(Bare { text: named.text, span: named.span, found: false });
        }
        for bare in args.bare.drain(..) {
            for word in bare.text.split(',') {
                names.push(property(place, written(place), word, bare.span)?);
            }
        }
        args.done()?;
        if names.is_empty() && command == "unset" {
            return Err(Fault::at(line.span, "say which property"));
        }
        if ids.as_ref().is_some_and(Vec::is_empty) {
            return Ok(None);
        }
        let mut body = Body::new();
        body.extend(ids.map(|ids| (".id".to_owned(), ids.join(",").into())));
        if names.is_empty() {
            self.change(place, "reset", body)?;
            return Ok(None);
        }
        body.extend(names.into_iter().map(|name| (name.to_owned(), Value::Null)));
        self.change(place, "set", body)?;
        Ok(None)
    }
    pub fn of_rows(&mut self, place: &'static Place, line: &Line, command: &str) -> Result<Given, Fault> {
        let mut args = self.args(line, false)?;
        let ids = self.rows_of(place, &mut args, true)?;
        args.done()?;
        if !ids.is_empty() {
            self.change(place, command, ids_body(&ids))?;
        }
        Ok(None)
    }
    pub fn comment(&mut self, place: &'static Place, line: &Line) -> Result<Given, Fault> {
        let mut args = self.args(line, false)?;
        args.name_fully(&["comment"], &[]);
        let ids = self.rows_of(place, &mut args, false)?;
        let text = match (args.take("comment"), args.bare.pop()) {
            (Some(named), None) => named.text,
            (None, Some(bare)) => bare.text,
            (None, None) => Zeroizing::default(),
            (Some(named), Some(_)) => return Err(Fault::at(named.span, "one comment is enough")),
        };
        args.done()?;
        if !ids.is_empty() {
            let mut body = ids_body(&ids);
            body.insert("comment".into(), text.as_str().into());
            self.change(place, "comment", body)?;
        }
        Ok(None)
    }
    /// `move 20 0`: in front of row 0; without a destination, to the end.
    pub fn move_rows(&mut self, place: &'static Place, line: &Line) -> Result<Given, Fault> {
        let mut args = self.args(line, false)?;
        args.name_fully(&["destination", "numbers"], &[]);
        let ids = self.rows_of(place, &mut args, false)?;
        let destination = match args.take("destination") {
            Some(named) => Some(Bare { text: named.text, span: named.span, found: false }),
            None => args.bare.pop(),
        };
        args.done()?;
        if ids.is_empty() {
            return Ok(None);
        }
        let mut body = ids_body(&ids);
        if let Some(bare) = destination {
            let span = bare.span;
            let before = self.ids(place, &[bare])?;
            let [before] = before.as_slice() else {
                return Err(Fault::at(span, "one row is needed to move in front of"));
            };
            body.insert("destination".into(), before.as_str().into());
        }
        self.change(place, "move", body)?;
        Ok(None)
    }

    /// What a menu can do besides.
    pub fn own(
        &mut self,
        place: &'static Place,
        command: &'static Command,
        line: &Line,
    ) -> Result<Given, Fault> {
        let mut args = self.args(line, false)?;
        let mut body = Body::new();
        if command.of_rows {
            let ids = self.rows_of(place, &mut args, false)?;
            if ids.is_empty() {
                return Ok(None);
            }
            body = ids_body(&ids);
        }
        let names = command.arguments.iter().map(|argument: &Property| argument.name);
        for named in args.named.drain(..) {
            let name = property(place, names.clone(), &named.name, named.name_span)?;
            body.insert(name.to_owned(), typed(command, name, &named.text));
        }
        // `show-sensitive` alone means yes.
        args.bare.retain(|bare| {
            let is_switch = |argument: &&Property| {
                argument.name == bare.text.as_str() && matches!(argument.kind, Kind::YesNo)
            };
            let switch = command.arguments.iter().find(is_switch);
            switch.is_none_or(|switch| body.insert(switch.name.to_owned(), "yes".into()).is_some())
        });
        // `rollback 3`: the first argument may go without its name.
        if let ([bare], Some(first)) = (args.bare.as_slice(), names.clone().next()) {
            if body.contains_key(first) {
                return Err(Fault::at(bare.span, format!("`{first}` is given twice")));
            }
            body.insert(first.to_owned(), typed(command, first, &bare.text));
            args.bare.clear();
        }
        args.done()?;
        let answer = self.change(place, command.name, body)?;
        Ok(self.answered(place, answer, line.captured))
    }
    /// What a command answered, as text: `text` as it is, rows as a table, anything else as properties.
    fn answered(&mut self, place: &'static Place, answer: Value, captured: bool) -> Given {
        let text = match &answer {
            Value::Object(row) if row.is_empty() => return None,
            Value::Object(row) if row.contains_key("plan") => plan(row),
            Value::Object(row) => match row.get("text").or_else(|| row.get("ret")) {
                Some(text) => cell::text(text).into_owned(),
                None => super::print::object(row, self.out.style()),
            },
            Value::Array(rows) if rows.is_empty() => return None,
            Value::Array(rows) => super::print::objects(place, rows, self.out.style()),
            Value::Null => return None,
            other => cell::text(other).into_owned(),
        };
        if captured {
            return Some(Zeroizing::new(text));
        }
        let text = if text.ends_with('\n') || text.is_empty() { text } else { text + "\n" };
        self.out.show(&text, true);
        None
    }
}
/// What a change of the whole configuration does, as `espway rollback` says it.
fn plan(answer: &Body) -> String {
    let plan = answer.get("plan").cloned().and_then(|plan| serde_json::from_value(plan).ok());
    plan.map_or_else(|| "done".into(), |plan| crate::change::shown_plan(&plan, false))
}
/// A number where one belongs.
fn typed(command: &Command, name: &str, text: &str) -> Value {
    let is_number = |argument: &&Property| argument.name == name && cell::is_number(argument.kind);
    match (command.arguments.iter().find(is_number), text.parse::<u64>()) {
        (Some(_), Ok(number)) => number.into(),
        _ => text.into(),
    }
}
fn ids_body(ids: &[String]) -> Body {
    match json!({ ".id": ids.join(",") }) {
        Value::Object(body) => body,
        _ => Body::new(),
    }
}
