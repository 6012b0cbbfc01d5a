//! The same requests on a configuration that nobody runs.
use super::{Answer, Problem, Request, Shown, System, Todo, View, etag, understand};
use config::Document;
use config::schema::Shape;
use ipc::change::{Edits, Plan, Target};

/// Whether it can be run is not asked here: what is edited need not be whole in between.
pub struct Offline {
    pub rows: Document,
    revision: u64,
}
impl Offline {
    pub fn new(rows: Document) -> Self {
        Self { rows, revision: 1 }
    }
    /// It was changed since this was made.
    pub fn is_changed(&self) -> bool {
        self.revision > 1
    }
    pub fn handle(&mut self, request: &Request) -> Result<Answer, Problem> {
        let view = View { rows: &self.rows, revision: self.revision };
        let online = |what: &str| Problem {
            fix: "ask the running gateway".into(),
            ..Problem::new(409, format!("{what} is not in a file"))
        };
        match understand(request, view)? {
            Todo::Answer(answer) => Ok(answer),
            Todo::Print(print) if matches!(print.place.menu.shape, Shape::Live | Shape::Figures) => {
                Err(online(print.place.console))
            }
            Todo::Print(print) => {
                let body = print.document(&self.rows, &|_| Shown::new(), &|_| Vec::new())?;
                Ok(Answer { etag: Some(etag(self.revision)), ..Answer::ok(body) })
            }
            Todo::Change(change) => {
                let apply = &change.apply;
                if apply.confirm.is_some() {
                    return Err(online("a confirmation"));
                }
                let mut plan = Plan::default();
                let mut rows = self.rows.clone();
                match &apply.to {
                    Target::Edits(Edits { base, edits }) => {
                        if base.is_some_and(|base| base != self.revision) {
                            return Err(Problem::new(412, "the configuration has changed since"));
                        }
                        plan.ids = crate::edit::make(&mut rows, edits)?;
                    }
                    Target::Text(text) => {
                        let read = Document::from_yaml(text);
                        let (mut read, _) =
                            read.map_err(|complaints| crate::store::complained(&complaints))?;
                        read.keep_ids(&rows);
                        rows = read;
                    }
                    Target::File | Target::Entry(_) => return Err(online("a history")),
                }
                plan.changes = rows.since(&self.rows).iter().map(ToString::to_string).collect();
                if !apply.dry_run {
                    self.revision += u64::from(!plan.changes.is_empty());
                    self.rows = rows;
                }
                Ok(change.then.answer(&plan, apply.dry_run, &self.rows, self.revision, &|_| Shown::new()))
            }
            Todo::Remote(remote) => match self.rows.check() {
                Ok(checked) => remote.answer(&checked.config),
                Err(complaints) => Err(crate::store::complained(&complaints).into()),
            },
            // A request about a file must not do anything to others.
            Todo::Keys(_) => Err(online("a key")),
            Todo::Command(command) => Err(online(command.name)),
            Todo::System(System::OpenApi) => Ok(Answer::ok(config::describe::openapi())),
            Todo::System(System::Schema) => Ok(Answer::ok(config::describe::json_schema())),
            Todo::System(_) => Err(online("this")),
        }
    }
}
