//! Lines typed before, in a file of their owner. What is secret never gets there.
use config::schema::{Kind, places};
use config::script::names::{Here, resolve};
use config::script::{Item, ItemKind, Span, Statement, Value, ValueKind, parse};
use reedline::{
    FileBackedHistory, History, HistoryItem, HistoryItemId, HistorySessionId, Result, SearchQuery,
};
use std::fs::{self, OpenOptions};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::PathBuf;

const LINES: usize = 5000;

/// `$XDG_STATE_HOME/espway/console-history`
pub fn file() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let state = set("XDG_STATE_HOME").or_else(|| Some(set("HOME")?.join(".local/state")))?;
    Some(state.join("espway/console-history"))
}

/// A history that blanks secrets before it keeps a line, in memory as well.
pub struct Blanked(FileBackedHistory);
impl Blanked {
    /// Without a file that can be had, lines are kept for this session only.
    pub fn open(file: Option<PathBuf>) -> Result<Self> {
        let ready = file.filter(|file| prepare(file).is_ok());
        Ok(Self(match ready {
            Some(file) => FileBackedHistory::with_file(LINES, file)?,
            None => FileBackedHistory::new(LINES)?,
        }))
    }
}
/// The file is there, and its owner's alone.
fn prepare(file: &std::path::Path) -> std::io::Result<()> {
    if let Some(folder) = file.parent() {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    }
    OpenOptions::new().create(true).append(true).mode(0o600).open(file)?;
    fs::set_permissions(file, fs::Permissions::from_mode(0o600))
}

impl History for Blanked {
    fn save(&mut self, mut item: HistoryItem) -> Result<HistoryItem> {
        item.command_line = blank(&item.command_line);
        self.0.save(item)
    }
    fn load(&self, id: HistoryItemId) -> Result<HistoryItem> {
        self.0.load(id)
    }
    fn count(&self, query: SearchQuery) -> Result<i64> {
        self.0.count(query)
    }
    fn search(&self, query: SearchQuery) -> Result<Vec<HistoryItem>> {
        self.0.search(query)
    }
    fn update(&mut self, id: HistoryItemId, change: &dyn Fn(HistoryItem) -> HistoryItem) -> Result<()> {
        self.0.update(id, change)
    }
    fn clear(&mut self) -> Result<()> {
        self.0.clear()
    }
    fn delete(&mut self, id: HistoryItemId) -> Result<()> {
        self.0.delete(id)
    }
    fn sync(&mut self) -> std::io::Result<()> {
        self.0.sync()
    }
    fn session(&self) -> Option<HistorySessionId> {
        self.0.session()
    }
}

/// The line with nothing in place of each value that may be secret: of every property that is secret in any menu, by
/// any beginning of its name.
pub fn blank(line: &str) -> String {
    let script = parse(line);
    let mut spans = Vec::new();
    script.statements.iter().for_each(|statement| secrets(statement, &mut spans));
    // What could not be read may be anything: from the first fault on, nothing is kept behind a secret's name.
    let mut out = String::with_capacity(line.len());
    let mut at = 0;
    for span in spans {
        out.push_str(line.get(at..span.start).unwrap_or_default());
        out.push_str("\"\"");
        at = span.end.max(at);
    }
    out.push_str(line.get(at..).unwrap_or_default());
    out
}
fn secrets(statement: &Statement, out: &mut Vec<Span>) {
    // `edit` and `get` name a property without its value.
    let _ = resolve(&Here::Known(config::script::names::menus().root()), statement);
    let end = statement.span.end;
    for (at, item) in statement.items.iter().enumerate() {
        match &item.kind {
            ItemKind::Named { name, value, .. } if is_secret(name) => match statement.faulty {
                // An open quote, say: then what follows may belong to it.
                true => return out.push(Span { start: value.span.start, end: end.max(value.span.end) }),
                false => out.push(behind(value, statement.items.get(at + 1))),
            },
            ItemKind::Named { value, .. } | ItemKind::Value(value) => within(value, out),
            _ => {}
        }
    }
}
/// The value; with blanks around `=`, which people type in conditions, the next word as well.
fn behind(value: &Value, next: Option<&Item>) -> Span {
    match (&value.kind, next) {
        (ValueKind::Missing, Some(next)) => Span { start: value.span.start, end: next.span.end },
        _ => value.span,
    }
}
fn within(value: &Value, out: &mut Vec<Span>) {
    if let ValueKind::Command(body) | ValueKind::Block(body) = &value.kind {
        body.statements.iter().for_each(|statement| secrets(statement, out));
    }
}
fn is_secret(name: &str) -> bool {
    let further = ["passphrase", "ipsec-secret", "shared-secret", "token"];
    let fields = places().iter().flat_map(|place| place.fields.iter());
    let secret = fields.filter(|field| field.is_secret()).map(|field| field.name);
    let shown = places().iter().flat_map(|place| place.menu.shown.iter());
    let shown = shown
        .filter(|property| matches!(property.kind, Kind::Secret | Kind::Key))
        .map(|property| property.name);
    !name.is_empty()
        && secret
            .chain(shown)
            .chain(further)
            .any(|secret| secret.starts_with(name) || name.ends_with("secret") || name.ends_with("password"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_blanked_however_they_are_written() {
        for (line, kept) in [
            (
                "/ip ipsec identity add peer=a secret=s3cret my-id=auto",
                "/ip ipsec identity add peer=a secret=\"\" my-id=auto",
            ),
            ("/ip ipsec identity set 0 secret=\"two s3cret words\"", "/ip ipsec identity set 0 secret=\"\""),
            (
                "/ip ipsec identity set [find peer=a] sec=s3cret;print",
                "/ip ipsec identity set [find peer=a] sec=\"\";print",
            ),
            ("set 0 secret=\"s3cret open", "set 0 secret=\"\""),
            ("set 0 password=s3cret(\"x\")", "set 0 password=\"\""),
            ("/ip ipsec { identity { add secret=s3cret } }", "/ip ipsec { identity { add secret=\"\" } }"),
            ("print where secret=s3cret", "print where secret=\"\""),
            ("print where secret= s3cret", "print where secret=\"\""),
            ("/ip ipsec manual-sa add enc-key=0x5ec12e7", "/ip ipsec manual-sa add enc-key=\"\""),
            ("/ip ipsec peer add name=secret", "/ip ipsec peer add name=secret"),
        ] {
            assert_eq!(blank(line), kept);
            assert!(!blank(line).contains("s3cret"));
        }
    }
}
