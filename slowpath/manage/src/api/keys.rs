//! Files of raw keys: made here, taken in, and their public parts written out for the other side.
use super::system::Members;
use super::{Change, Problem, Request, Then, Todo, View, change};
use config::schema::Place;
use serde_json::{Map, Value};
use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Component, Path, PathBuf};

/// Where keys are made when nobody says where.
const FOLDER: &str = "/etc/espway/keys";
const SIZES: [u32; 4] = [2048, 3072, 4096, 8192];

/// Work on a file, and the row that goes with it.
#[derive(Debug)]
pub struct Keys {
    work: Work,
    pub change: Option<Change>,
}
#[derive(Debug)]
enum Work {
    Generate { bits: u32, file: PathBuf },
    Import { file: PathBuf },
    Export { from: PathBuf, to: PathBuf },
}

impl Keys {
    /// `None`: it is another command.
    pub(super) fn understand(
        request: &Request,
        place: &'static Place,
        command: &str,
        body: &Map<String, Value>,
        view: View,
    ) -> Result<Option<Self>, Problem> {
        let needed = |members: &Members, name: &str| {
            let text = members.text(name)?.filter(|text| !text.is_empty()).map(str::to_owned);
            text.ok_or_else(|| Problem::malformed(format!("write {name}=")).at(place))
        };
        let (work, row) = match command {
            "generate-key" => {
                let members = Members::of(body, &["name", "key-size", "file"])?;
                let name = needed(&members, "name")?;
                let bits = match body.get("key-size") {
                    None => SIZES[0],
                    Some(Value::String(text)) => text.parse().unwrap_or(0),
                    Some(size) => size.as_u64().and_then(|bits| u32::try_from(bits).ok()).unwrap_or(0),
                };
                if !SIZES.contains(&bits) {
                    let fix = "write key-size=2048, 3072, 4096 or 8192".into();
                    return Err(Problem {
                        fix,
                        ..Problem::malformed("keys of this size are not made").at(place)
                    });
                }
                let file = match members.text("file")? {
                    Some(file) => path(file)?,
                    None => path(&format!("{FOLDER}/{name}.pem"))?,
                };
                (Work::Generate { bits, file: file.clone() }, Some((name, file)))
            }
            "import" => {
                let members = Members::of(body, &["name", "file-name"])?;
                let (name, file) = (needed(&members, "name")?, path(&needed(&members, "file-name")?)?);
                (Work::Import { file: file.clone() }, Some((name, file)))
            }
            "export-pub-key" => {
                let members = Members::of(body, &["key", "file-name"])?;
                let key = change::row(place, &needed(&members, "key")?, view)?;
                let from = view.rows.row(place, key).and_then(|row| row.get("file")).unwrap_or_default();
                (Work::Export { from: from.into(), to: path(&needed(&members, "file-name")?)? }, None)
            }
            _ => return Ok(None),
        };
        let row = row.map(|(name, file)| {
            let file = file.to_str().unwrap_or_default().to_owned();
            let cells = [("name".to_owned(), name.into()), ("file".to_owned(), file.into())];
            change::add(request, place, &cells.into_iter().collect(), view, Then::Empty { status: 200 })
        });
        let change = match row.transpose()? {
            Some(Todo::Change(change)) => Some(change),
            _ => None,
        };
        Ok(Some(Self { work, change }))
    }
    /// What is to be done before the row is there. Takes up to seconds; nothing is ever written over.
    pub fn perform(&self) -> Result<(), Problem> {
        match &self.work {
            Work::Generate { bits, file } => {
                let pem = pki::PrivateKey::generate_rsa(*bits).map_err(|e| wrong(file, e))?;
                write(file, pem.as_bytes(), 0o600)
            }
            Work::Import { file } => {
                let bytes = read(file)?;
                pki::read_public_key(&bytes).map(drop).map_err(|e| wrong(file, e))
            }
            Work::Export { from, to } => {
                let public = pki::read_public_key(&read(from)?).map_err(|e| wrong(from, e))?;
                write(to, public.to_pem().map_err(|e| wrong(from, e))?.as_bytes(), 0o644)
            }
        }
    }
    /// The row was refused.
    pub fn undo(&self) {
        if let Work::Generate { file, .. } = &self.work {
            let _ = std::fs::remove_file(file); // it was made a moment ago, and nobody has it
        }
    }
}
fn wrong(file: &Path, said: impl std::fmt::Display) -> Problem {
    Problem::new(422, format!("{}: {said}", file.display()))
}
fn path(text: &str) -> Result<PathBuf, Problem> {
    let path = PathBuf::from(text);
    let plain = path.components().all(|part| matches!(part, Component::RootDir | Component::Normal(_)));
    match path.is_absolute() && plain && !text.contains(char::is_control) {
        true => Ok(path),
        false => Err(Problem::malformed("a file is named with its whole path, without `..`")),
    }
}
fn read(file: &Path) -> Result<zeroize::Zeroizing<Vec<u8>>, Problem> {
    use std::io::Read;
    let mut bytes = zeroize::Zeroizing::new(Vec::new());
    let opened = std::fs::File::open(file).map_err(|e| wrong(file, e))?;
    opened.take(pki::MAX_FILE as u64 + 1).read_to_end(&mut bytes).map_err(|e| wrong(file, e))?;
    Ok(bytes)
}
fn write(file: &Path, bytes: &[u8], mode: u32) -> Result<(), Problem> {
    let mut opened = OpenOptions::new().write(true).create_new(true).mode(mode).open(file).map_err(|e| {
        let fix = match e.kind() {
            std::io::ErrorKind::NotFound => "make its folder first, for its owner alone".into(),
            std::io::ErrorKind::AlreadyExists => "name another file, or take that one away".into(),
            _ => String::new(),
        };
        Problem { fix, ..wrong(file, e) }
    })?;
    opened.write_all(bytes).and_then(|()| opened.sync_all()).map_err(|e| wrong(file, e))
}
