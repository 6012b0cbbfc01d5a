//! `export`, `import`, `edit`, `save`: what goes to files and comes from them. Files are those of whoever types.
use super::args::Bare;
use super::cell;
use super::condition::property;
use super::fault::Fault;
use super::items::rest_path;
use super::session::{Given, Line, Session, written};
use config::schema::Place;
use config::script::names::{self, Node};
use serde_json::{Map, Value, json};
use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::PathBuf;
use std::process::Command;
use zeroize::Zeroizing;

const EXPORT: &[&str] = &["compact", "hide-sensitive", "show-sensitive", "terse", "verbose"];
const IMPORT: &[&str] = &["dry-run", "verbose"];

impl Session {
    pub fn export(&mut self, node: &'static Node, line: &Line) -> Result<Given, Fault> {
        let mut args = self.args(line, true)?;
        if let Some(span) = args.condition {
            return Err(Fault::at(
                span,
                "an export is of whole menus; `print terse where ...` shows some rows",
            ));
        }
        args.name_fully(&["file", "format", "path"], &[]);
        let mut body = Map::new();
        let path = args.take("path").map(|named| named.text.trim_start_matches('/').replace('/', " "));
        body.insert("path".into(), path.unwrap_or_else(|| node.console.clone()).into());
        let format =
            args.take("format").map_or_else(|| "routeros".to_owned(), |named| named.text.to_string());
        body.insert("format".into(), format.into());
        for bare in std::mem::take(&mut args.bare) {
            let word = names::pick(EXPORT.iter().copied(), &bare.text)
                .map_err(|no_such| Fault::no_such(bare.span, &no_such))?;
            if !matches!(word, "compact" | "hide-sensitive") {
                body.insert(word.into(), true.into());
            }
        }
        let file = args.take("file");
        args.done()?;
        let answer = self.remote.post("export", body.into())?;
        let text = Zeroizing::new(
            answer.body.get("text").map(|text| cell::text(text).into_owned()).unwrap_or_default(),
        );
        match file {
            Some(named) => write(&named.text, &text).map_err(|fault| fault.or_at(named.span))?,
            None if line.captured => return Ok(Some(text)),
            None => self.out.show(&text, true),
        }
        Ok(None)
    }

    pub fn import(&mut self, line: &Line) -> Result<Given, Fault> {
        let mut args = self.args(line, false)?;
        args.name_fully(&["file-name", "from"], &[]);
        let from = args.take("from").map_or_else(|| "routeros".to_owned(), |named| named.text.to_string());
        let mut dry_run = false;
        let mut file = args.take("file-name").map(|named| (named.text, named.span));
        for Bare { text, span, .. } in std::mem::take(&mut args.bare) {
            match names::pick(IMPORT.iter().copied(), &text) {
                Ok(word) => dry_run |= word == "dry-run",
                Err(_) if file.is_none() => file = Some((text, span)),
                Err(no_such) => return Err(Fault::no_such(span, &no_such)),
            }
        }
        if let Some(named) = args.take("dry-run") {
            dry_run = matches!(named.text.as_str(), "yes" | "true");
        }
        args.take("verbose");
        args.done()?;
        let Some((name, span)) = file else {
            return Err(Fault::at(line.span, "say which file: file-name=..."));
        };
        let bytes = fs::read(name.as_str()).map(Zeroizing::new);
        let bytes = bytes.map_err(|error| Fault::at(span, format!("{}: {error}", name.as_str())))?;
        let text = config::script::decode(&bytes);
        let secrets = self.secrets(&text, &from);
        let body = json!({ "text": text.as_str(), "from": from, "dry-run": dry_run, "secrets": secrets });
        let answer = self.remote.post("import", body)?;
        self.numbers.clear();
        self.out.show(&report(&answer.body), true);
        Ok(None)
    }

    /// What the text does not say and somebody at the terminal knows; an empty line leaves one out.
    fn secrets(&mut self, text: &str, from: &str) -> Map<String, Value> {
        let mut given = Map::new();
        if !self.out.asks() {
            return given;
        }
        let done = match from {
            "swanctl" => config::script::swanctl::import(text),
            _ => config::script::import(text),
        };
        for missing in done.missing {
            let secret = self.out.secret(&format!("{} (empty: leave it out)", missing.what));
            if let Some(secret) = secret.filter(|secret| !secret.is_empty()) {
                given.insert(missing.key, secret.as_str().into());
            }
        }
        given
    }

    /// Only a file is saved; a running gateway has every change at once.
    pub fn save(&mut self, line: &Line) -> Result<Given, Fault> {
        self.args(line, false)?.done()?;
        let said = self.remote.save()?;
        self.out.show(&format!("{said}\n"), false);
        Ok(None)
    }

    /// `edit N comment`: in the editor of the environment.
    pub fn edit(&mut self, place: &'static Place, line: &Line) -> Result<Given, Fault> {
        if !self.out.asks() {
            return Err(Fault::at(line.span, "there is no terminal for an editor; use set"));
        }
        let mut args = self.args(line, false)?;
        let id = match place.is_list() {
            true if args.bare.is_empty() => {
                return Err(Fault::at(line.span, "say which row, and which property"));
            }
            true => {
                let bare = args.bare.remove(0);
                self.ids(place, &[bare])?.into_iter().next()
            }
            false => None,
        };
        let Some(bare) = args.bare.pop() else { return Err(Fault::at(line.span, "say which property")) };
        args.done()?;
        let name = property(place, written(place), &bare.text, bare.span)?;
        let secret = place.field(name).is_some_and(|field| field.is_secret());
        let query = vec![("show-sensitive", secret.to_string()), (".proplist", format!(".id,{name}"))];
        let rows = self.remote.rows(&rest_path(place), query)?;
        let row = rows.iter().find(|row| id.as_ref().is_none_or(|id| cell::of(row, ".id") == **id));
        let before = Zeroizing::new(row.map(|row| cell::of(row, name).into_owned()).unwrap_or_default());
        let after = in_editor(&before)?;
        if *after != *before {
            let mut body = Map::new();
            body.extend(id.map(|id| (".id".to_owned(), id.into())));
            body.insert(name.into(), after.as_str().into());
            self.remote.post(&format!("{}/set", rest_path(place)), body.into())?;
        }
        Ok(None)
    }
}

/// Text that may hold secrets: of its owner only, and never over something else.
pub fn write(name: &str, text: &str) -> Result<(), Fault> {
    let mut path = PathBuf::from(name);
    if path.extension().is_none() {
        path.set_extension("rsc");
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
    file.and_then(|mut file| file.write_all(text.as_bytes())).map_err(|error| match error.kind() {
        std::io::ErrorKind::AlreadyExists => {
            Fault::new(format!("{} is there already", path.display()), "choose another name")
        }
        _ => Fault::new(format!("{}: {error}", path.display()), ""),
    })
}

fn in_editor(text: &str) -> Result<Zeroizing<String>, Fault> {
    let failed = |error: std::io::Error| Fault::new(format!("the editor: {error}"), "");
    let named = ["VISUAL", "EDITOR"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|value| !value.is_empty()));
    let editor = named.unwrap_or_else(|| "vi".into());
    let mut words = editor.split_whitespace();
    let program = words.next().unwrap_or("vi");
    let path = std::env::temp_dir().join(format!("espway-edit-{}-{}", std::process::id(), fastrand()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path).map_err(failed)?;
    let done = file
        .write_all(text.as_bytes())
        .and_then(|()| Command::new(program).args(words).arg(&path).status())
        .and_then(|status| if status.success() { fs::read_to_string(&path) } else { Ok(text.to_owned()) });
    let gone = fs::remove_file(&path);
    let text = done.map(Zeroizing::new).map_err(failed)?;
    gone.map_err(failed)?;
    Ok(Zeroizing::new(text.strip_suffix('\n').unwrap_or(&text).to_owned()))
}
/// Not guessed twice.
fn fastrand() -> u128 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default().as_nanos()
}

/// What an import did: its notes, what is missing, a summary.
fn report(body: &Value) -> String {
    let mut out = String::new();
    let list =
        |of: &'_ Value, name: &str| of.get(name).and_then(Value::as_array).cloned().unwrap_or_default();
    let text = |of: &Value, name: &str| {
        cell::printable(&of.get(name).map(cell::text).unwrap_or_default()).into_owned()
    };
    for note in list(body.get("report").unwrap_or(&Value::Null), "notes") {
        let fix = match text(&note, "fix") {
            fix if fix.is_empty() => fix,
            fix => format!("; {fix}"),
        };
        out += &format!(
            "line {}: {}: {}{fix}\n",
            text(&note, "line"),
            text(&note, "about"),
            text(&note, "said")
        );
    }
    for what in list(body, "missing-secrets") {
        out += &format!("missing: {}\n", cell::printable(&cell::text(&what)));
    }
    for line in list(body.get("plan").unwrap_or(&Value::Null), "changes") {
        out += &format!("{}\n", cell::printable(&cell::text(&line)));
    }
    out += &format!("{}\n", text(body, "summary"));
    out
}
