//! One session: where it stands, what its last print counted, and how a line is carried out.
use super::args::{Args, value_text};
use super::fault::Fault;
use super::remote::Remote;
use super::style::Style;
use config::schema::{self, Place};
use config::script::names::{self, At, Here, menus};
use config::script::{Body, Item, ItemKind, Span, Statement, ValueKind, parse};
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use zeroize::Zeroizing;

/// Where text goes.
pub trait Out: Send {
    /// `paged`: a terminal stops after each page.
    fn show(&mut self, text: &str, paged: bool);
    fn style(&self) -> Style;
    /// Before the same is printed again.
    fn clear(&mut self) {}
    /// Somebody sits there who can be asked.
    fn asks(&self) -> bool {
        false
    }
    /// A secret, typed without showing it. `None`: nobody can be asked.
    fn secret(&mut self, _what: &str) -> Option<Zeroizing<String>> {
        None
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Flow {
    Go,
    Quit,
}

/// What a command gives to the one that asked for it in brackets.
pub type Given = Option<Zeroizing<String>>;

pub struct Session {
    pub remote: Box<dyn Remote>,
    pub out: Box<dyn Out>,
    pub here: At,
    /// By console path, the ids that the last print numbered.
    pub numbers: HashMap<&'static str, Vec<String>>,
    /// Ctrl+C: what goes on and on ends.
    pub interrupted: Arc<AtomicBool>,
    /// Names of rows, for completion, since the line was begun.
    pub known_names: HashMap<String, Arc<[String]>>,
    depth: usize,
}

/// What a command needs to know of the line it stands in.
pub struct Line<'s> {
    pub text: &'s str,
    pub statement: &'s Statement,
    pub items: &'s [Item],
    /// Of the command's word.
    pub span: Span,
    /// Its output is a value of another command.
    pub captured: bool,
}

impl Session {
    pub fn new(remote: Box<dyn Remote>, out: Box<dyn Out>) -> Self {
        Self {
            remote,
            out,
            here: menus().root(),
            numbers: HashMap::new(),
            interrupted: Arc::default(),
            known_names: HashMap::new(),
            depth: 0,
        }
    }
    /// A line, or a whole script: to its end or its first fault.
    pub fn run(&mut self, text: &str) -> Result<Flow, Fault> {
        self.known_names.clear();
        let script = parse(text);
        let mut faults = script.faults.into_iter().peekable();
        for statement in &script.statements {
            if let Some(fault) = faults.next_if(|fault| fault.span.start <= statement.span.end) {
                return Err(fault.into());
            }
            if self.statement(text, statement)? == Flow::Quit {
                return Ok(Flow::Quit);
            }
        }
        faults.next().map_or(Ok(Flow::Go), |fault| Err(fault.into()))
    }
    pub fn was_interrupted(&self) -> bool {
        self.interrupted.swap(false, Ordering::Relaxed)
    }

    fn statement(&mut self, text: &str, statement: &Statement) -> Result<Flow, Fault> {
        let done = names::resolve(&Here::Known(self.here), statement);
        if let Some((span, no_such)) = &done.unknown {
            return Err(Fault::no_such(*span, no_such));
        }
        let Here::Known(at) = done.menu else {
            return Err(Fault::at(statement.span, format!("there is no menu `{}`", done.menu.console())));
        };
        let Some(command) = &done.command else { return self.enter(text, at, done.arguments) };
        if command.script {
            self.script(text, &command.name, command.span, done.arguments)?;
            return Ok(Flow::Go);
        }
        if command.name == "quit" {
            return Ok(Flow::Quit);
        }
        let line = Line { text, statement, items: done.arguments, span: command.span, captured: false };
        let given = self.command(at, &command.name, &line).map_err(|fault| self.placed(fault, &line))?;
        if let Some(given) = given.filter(|given| !given.is_empty()) {
            self.out.show(&format!("{}\n", given.as_str()), false);
        }
        Ok(Flow::Go)
    }
    /// A path alone is gone to; with a block, the block is carried out there.
    fn enter(&mut self, text: &str, at: At, arguments: &[Item]) -> Result<Flow, Fault> {
        let [] = arguments else {
            let block = |item: &Item| match &item.kind {
                ItemKind::Value(value) => matches!(value.kind, ValueKind::Block(_)),
                _ => false,
            };
            let [Item { kind: ItemKind::Value(value), .. }] = arguments else {
                let item = arguments.iter().find(|item| !block(item)).unwrap_or(&arguments[0]);
                return Err(Fault::at(item.span, "here belongs a menu or a command"));
            };
            let ValueKind::Block(body) = &value.kind else {
                return Err(Fault::at(value.span, "here belongs a menu or a command"));
            };
            let before = std::mem::replace(&mut self.here, at);
            let flow = self.body(text, body);
            self.here = before;
            return flow;
        };
        self.here = at;
        Ok(Flow::Go)
    }
    fn body(&mut self, text: &str, body: &Body) -> Result<Flow, Fault> {
        for statement in &body.statements {
            if self.statement(text, statement)? == Flow::Quit {
                return Ok(Flow::Quit);
            }
        }
        Ok(Flow::Go)
    }

    /// What `[...]` stands for.
    pub fn captured(&mut self, text: &str, body: &Body) -> Result<Zeroizing<String>, Fault> {
        let [statement] = body.statements.as_slice() else {
            return Err(Fault::at(
                body.inner,
                "here belongs one command that gives a value: find, get, print",
            ));
        };
        let done = names::resolve(&Here::Known(self.bracket_menu()), statement);
        if let Some((span, no_such)) = &done.unknown {
            return Err(Fault::no_such(*span, no_such));
        }
        let (Here::Known(at), Some(command)) = (done.menu, &done.command) else {
            return Err(Fault::at(statement.span, "here belongs a command that gives a value"));
        };
        if command.script {
            return Err(Fault::at(command.span, "only find, get and print give a value"));
        }
        let line = Line { text, statement, items: done.arguments, span: command.span, captured: true };
        let given = self.command(at, &command.name, &line).map_err(|fault| self.placed(fault, &line))?;
        Ok(given.unwrap_or_default())
    }
    /// `set [find ...]` looks in the menu of `set`.
    fn bracket_menu(&self) -> At {
        self.here
    }

    /// `:put`; the rest of the script language is not carried out.
    fn script(&mut self, text: &str, name: &str, span: Span, items: &[Item]) -> Result<(), Fault> {
        if name != "put" {
            return Err(Fault::at(
                span,
                format!("`:{name}` is not carried out here; of the script language, only :put is"),
            ));
        }
        let [item] = items else { return Err(Fault::at(span, "write one value behind :put")) };
        let said = match &item.kind {
            ItemKind::Word(word) => Zeroizing::new(word.to_string()),
            ItemKind::Value(value) => value_text(self, text, value)?,
            _ => return Err(Fault::at(item.span, "write one value behind :put")),
        };
        self.out.show(&format!("{}\n", said.as_str()), true);
        Ok(())
    }

    fn command(&mut self, at: At, name: &str, line: &Line) -> Result<Given, Fault> {
        self.depth += 1;
        let before = std::mem::replace(&mut self.here, at);
        let done = if self.depth > config::script::MAX_DEPTH {
            Err(Fault::at(line.span, "commands within commands, too deep"))
        } else {
            self.dispatch(at, name, line)
        };
        self.here = before;
        self.depth -= 1;
        done
    }
    fn dispatch(&mut self, at: At, name: &str, line: &Line) -> Result<Given, Fault> {
        let node = menus().node(at);
        match name {
            "export" => return self.export(node, line),
            "import" if node.console.is_empty() => return self.import(line),
            "save" if node.console.is_empty() => return self.save(line),
            _ => {}
        }
        let place = schema::place(&node.path)
            .ok_or_else(|| Fault::at(line.span, format!("there is nothing to {name} here")))?;
        if let Some(command) = place.menu.commands.iter().find(|own| own.name == name) {
            return self.own(place, command, line);
        }
        match name {
            "print" => self.print(place, line),
            "find" => self.find(place, line),
            "get" => self.get(place, line),
            "add" => self.add(place, line),
            "set" => self.set(place, line),
            "unset" | "reset" => self.unset(place, line, name),
            "remove" | "enable" | "disable" => self.of_rows(place, line, name),
            "comment" => self.comment(place, line),
            "move" => self.move_rows(place, line),
            "edit" => self.edit(place, line),
            _ => Err(Fault::at(line.span, format!("`{name}` is not available in /{} yet", place.console))),
        }
    }
    /// A fault that knows the property but not the place gets the place of that argument.
    fn placed(&self, fault: Fault, line: &Line) -> Fault {
        let of = |property: &str| {
            line.items.iter().find_map(|item| match &item.kind {
                ItemKind::Named { name, name_span, .. } => {
                    property.starts_with(name.as_str()).then_some(*name_span)
                }
                _ => None,
            })
        };
        let span = fault.property.as_deref().and_then(of).unwrap_or(line.span);
        fault.or_at(span)
    }
    pub fn args(&mut self, line: &Line, conditional: bool) -> Result<Args, Fault> {
        Args::read(self, line.text, line.statement, line.items, conditional)
    }

    /// Names of the rows of a menu, asked for once a line; what cannot be had is not there.
    pub fn names(&mut self, path: &str) -> Arc<[String]> {
        if let Some(names) = self.known_names.get(path) {
            return names.clone();
        }
        let names: Arc<[String]> = match schema::place(path) {
            Some(place) if place.menu.shape != schema::Shape::Figures => {
                let items = self.items(place).unwrap_or_default();
                items.into_iter().map(|item| item.name).filter(|name| !name.is_empty()).collect()
            }
            _ => Arc::default(),
        };
        self.known_names.insert(path.to_owned(), names.clone());
        names
    }
    /// `/ip/ipsec/peer`
    pub fn shown_path(&self) -> String {
        format!("/{}", menus().node(self.here).console.replace(' ', "/"))
    }
}

/// The properties that can be written here.
pub fn written(place: &'static Place) -> impl Iterator<Item = &'static str> + Clone {
    place.fields.iter().map(|field| field.name)
}
