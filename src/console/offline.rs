//! A file without a gateway: the same requests, carried out here; nothing is written before it is saved.
use super::fault::Fault;
use super::remote::{Answer, Method, Remote, Request, Safe};
use crate::import;
use anyhow::{Context, bail, ensure};
use config::document::{Document, Secrets};
use manage::api::{self, Body, Offline, Problem};
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use zeroize::Zeroizing;

pub struct OnFile {
    path: PathBuf,
    /// As the file was when it was read or saved; `None`: there was none.
    text: Option<Zeroizing<String>>,
    saved: Document,
    now: Offline,
    /// As everything was when safe mode was taken.
    before: Option<Document>,
    who: String,
}
impl OnFile {
    /// A file that is not there yet is made by saving.
    pub fn open(path: &Path, who: String) -> anyhow::Result<Self> {
        let text = read(path)?;
        let saved = match &text {
            None => Document::new(),
            Some(text) => match Document::from_yaml(text) {
                Ok((document, _)) => document,
                Err(complaints) => {
                    eprint!("{}", complaints.render(&path.display().to_string(), false));
                    bail!("{} is refused", path.display())
                }
            },
        };
        Ok(Self { path: path.into(), text, now: Offline::new(saved.clone()), saved, before: None, who })
    }
    #[cfg(test)]
    pub fn of(document: Document) -> Self {
        let saved = document.clone();
        Self {
            path: PathBuf::new(),
            text: None,
            saved,
            now: Offline::new(document),
            before: None,
            who: "test".into(),
        }
    }
}
fn read(path: &Path) -> anyhow::Result<Option<Zeroizing<String>>> {
    match std::fs::read_to_string(path) {
        Ok(text) => Ok(Some(Zeroizing::new(text))),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

impl Remote for OnFile {
    fn call(&mut self, request: &Request) -> anyhow::Result<Answer> {
        let method = match request.method {
            Method::Get => api::Method::Get,
            Method::Post => api::Method::Post,
        };
        let query = request.query.iter().map(|(name, value)| ((*name).to_owned(), value.clone()));
        let asked = api::Request {
            query: query.collect(),
            body: Body(request.body.clone()),
            who: self.who.clone(),
            ..api::Request::new(method, format!("/rest/{}", request.path))
        };
        Ok(match self.now.handle(&asked) {
            Ok(answer) => Answer { status: answer.status, body: answer.body.unwrap_or_default() },
            Err(problem) => refused(&problem),
        })
    }
    fn safe_mode(&mut self, to: Safe) -> anyhow::Result<()> {
        match to {
            Safe::Take => {
                ensure!(self.before.is_none(), "safe mode is taken already");
                self.before = Some(self.now.rows.clone());
            }
            Safe::Release => self.before = None,
            Safe::Undo => {
                if let Some(before) = self.before.take() {
                    self.now = Offline::new(before);
                }
            }
        }
        Ok(())
    }
    fn unsaved(&self) -> Option<Vec<String>> {
        Some(self.now.rows.since(&self.saved).iter().map(ToString::to_string).collect())
    }
    fn save(&mut self) -> Result<String, Fault> {
        let shown = self.path.display().to_string();
        let changes = self.now.rows.since(&self.saved).len();
        if changes == 0 {
            return Ok(format!("{shown}: nothing has changed"));
        }
        let failed = |error: anyhow::Error| Fault::new(format!("{error:#}"), "");
        if read(&self.path).map_err(failed)? != self.text {
            return Err(Fault::new(
                format!("{shown} was changed by somebody else meanwhile"),
                "export what was done here, and begin again with that file",
            ));
        }
        let text = self.now.rows.to_yaml(Secrets::Shown);
        let mode = match std::fs::metadata(&self.path) {
            Ok(meta) => meta.permissions().mode() & 0o777,
            Err(_) => 0o600,
        };
        import::write(&self.path, &text, mode, self.text.is_some()).map_err(failed)?;
        let remarks = self
            .text
            .as_ref()
            .is_some_and(|text| text.lines().any(|line| line.trim_start().starts_with('#')));
        (self.text, self.saved) = (Some(text), self.now.rows.clone());
        let mut said =
            format!("{shown}: written, {changes} {}", if changes == 1 { "change" } else { "changes" });
        if remarks {
            said += "; lines that began with # are not kept";
        }
        if let Err(complaints) = self.now.rows.check() {
            let n = complaints.errors;
            said += &format!(
                "; before it can be run, {n} {} to be done: `espway check {shown}`",
                if n == 1 { "thing is" } else { "things are" }
            );
        }
        Ok(said)
    }
}
fn refused(problem: &Problem) -> Answer {
    Answer { status: problem.status, body: problem.to_json() }
}
