//! What lines do and show. The session is the real one on a document; `Canned` stands for a running gateway.
mod gateway;
mod golden;
mod statements;

use super::offline::OnFile;
use super::remote::{Answer, Remote, Request, Safe};
use super::session::{Flow, Out, Session};
use super::style::Style;
use config::Document;
use serde_json::{Map, Value, json};
use std::path::PathBuf;
use std::sync::{Arc, Mutex};

/// Keeps what is shown.
#[derive(Clone, Default)]
pub struct Paper {
    text: Arc<Mutex<String>>,
    style: Style,
    /// Somebody sits there and says this when a secret is asked for; what was asked is shown.
    secret: Option<&'static str>,
}
impl Out for Paper {
    fn show(&mut self, text: &str, _: bool) {
        self.text.lock().expect("no panic").push_str(text);
    }
    fn style(&self) -> Style {
        self.style
    }
    fn asks(&self) -> bool {
        self.secret.is_some()
    }
    fn secret(&mut self, what: &str) -> Option<zeroize::Zeroizing<String>> {
        self.show(&format!("[{what}]\n"), false);
        self.secret.map(|secret| zeroize::Zeroizing::new(secret.to_owned()))
    }
}

/// A session whose output can be read.
pub struct Desk {
    pub session: Session,
    paper: Paper,
}
impl Desk {
    pub fn new(remote: Box<dyn Remote>, style: Style) -> Self {
        let paper = Paper { style, ..Paper::default() };
        Self { session: Session::new(remote, Box::new(paper.clone())), paper }
    }
    /// With somebody who says this whenever a secret is asked for.
    pub fn with(document: Document, secret: &'static str) -> Self {
        let paper = Paper { secret: Some(secret), ..Paper::default() };
        let remote = Box::new(OnFile::of(document));
        Self { session: Session::new(remote, Box::new(paper.clone())), paper }
    }
    pub fn on(document: Document) -> Self {
        Self::new(Box::new(OnFile::of(document)), Style::default())
    }
    /// What a line shows; a fault as the console says it.
    pub fn say(&mut self, line: &str) -> String {
        let done = self.session.run(line);
        let mut text = std::mem::take(&mut *self.paper.text.lock().expect("no panic"));
        match done {
            Ok(Flow::Go) => {}
            Ok(Flow::Quit) => text += "(quit)\n",
            Err(fault) => text += &format!("{}\n", fault.shown(line)),
        }
        text
    }
}

/// Rows as a running gateway would say them.
pub struct Canned(pub Map<String, Value>);
impl Remote for Canned {
    fn call(&mut self, request: &Request) -> anyhow::Result<Answer> {
        let problem = || json!({"title": "there is no such thing", "detail": "there is no such menu"});
        Ok(match self.0.get(request.path) {
            Some(body) => Answer { status: 200, body: body.clone() },
            None => Answer { status: 404, body: problem() },
        })
    }
    fn safe_mode(&mut self, _: Safe) -> anyhow::Result<()> {
        Ok(())
    }
}

pub fn vectors(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests/vectors/console").join(name)
}
pub fn rich() -> Document {
    let text = std::fs::read_to_string(vectors("gateway.yaml")).expect("it is there");
    Document::from_yaml(&text).unwrap_or_else(|complaints| panic!("{complaints}")).0
}
pub fn live() -> Canned {
    let text = std::fs::read_to_string(vectors("live.json")).expect("it is there");
    Canned(serde_json::from_str(&text).expect("an object"))
}
