//! The prompt: one line after another, with help while it is typed.
mod colour;
mod complete;
mod history;

use super::remote::Safe;
use super::session::{Flow, Session};
use super::style::{Ink, Style};
use reedline::{
    ColumnarMenu, EditCommand, EditMode, Emacs, KeyCode, KeyModifiers, MenuBuilder, Prompt, PromptEditMode,
    PromptHistorySearch, Reedline, ReedlineEvent, ReedlineMenu, ReedlineRawEvent, Signal, ValidationResult,
    Validator, default_emacs_keybindings,
};
use std::borrow::Cow;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

const MENU: &str = "candidates";
const HELP: &str = "help";
const QUESTION: &str = "?";
const SAFE: &str = "safe-mode";

/// The session, for the line editor's helpers.
#[derive(Clone)]
pub struct Shared(Arc<Mutex<Session>>);
impl Shared {
    pub fn new(session: Session) -> Self {
        Self(Arc::new(Mutex::new(session)))
    }
    pub fn lock(&self) -> MutexGuard<'_, Session> {
        // A helper that panicked has changed nothing: sessions change by whole lines.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A block that is open, or a `\` at the end: the line goes on.
struct Whole;
impl Validator for Whole {
    fn validate(&self, line: &str) -> ValidationResult {
        let open = config::script::parse(line).faults.iter().any(|fault| fault.said == "`}` is missing");
        let goes_on = line.bytes().rev().take_while(|byte| *byte == b'\\').count() % 2 == 1;
        if open || goes_on { ValidationResult::Incomplete } else { ValidationResult::Complete }
    }
}

/// Emacs's keys. What comes in one go with other keys is pasted: there `?` asks nothing.
struct Keys {
    emacs: Emacs,
    last: Option<Instant>,
}
impl EditMode for Keys {
    fn parse_event(&mut self, event: ReedlineRawEvent) -> ReedlineEvent {
        let pasted =
            self.last.replace(Instant::now()).is_some_and(|last| last.elapsed() < Duration::from_millis(2));
        match self.emacs.parse_event(event) {
            ReedlineEvent::ExecuteHostCommand(command) if command == QUESTION && pasted => {
                ReedlineEvent::Edit(vec![EditCommand::InsertChar('?')])
            }
            event => event,
        }
    }
    fn edit_mode(&self) -> PromptEditMode {
        self.emacs.edit_mode()
    }
}

/// Who sits there and what it is called: `[admin@gw]`.
pub struct Names {
    pub who: String,
    pub gateway: String,
}

struct Sign {
    text: String,
    safe: bool,
    colours: bool,
}
impl Prompt for Sign {
    fn render_prompt_left(&self) -> Cow<'_, str> {
        self.text.as_str().into()
    }
    fn render_prompt_right(&self) -> Cow<'_, str> {
        "".into()
    }
    fn render_prompt_indicator(&self, _: PromptEditMode) -> Cow<'_, str> {
        if self.safe { "<SAFE> " } else { "> " }.into()
    }
    fn render_prompt_multiline_indicator(&self) -> Cow<'_, str> {
        "... ".into()
    }
    fn render_prompt_history_search_indicator(&self, search: PromptHistorySearch) -> Cow<'_, str> {
        format!("(search: {}) ", search.term).into()
    }
    fn get_prompt_color(&self) -> reedline::Color {
        reedline::Color::Default
    }
    fn get_indicator_color(&self) -> reedline::Color {
        if self.safe && self.colours { reedline::Color::Red } else { reedline::Color::Default }
    }
}

pub fn run(session: Session, names: &Names, style: Style) -> anyhow::Result<()> {
    let shared = Shared::new(session);
    let mut editor = editor(&shared, style)?;
    let mut safe = false;
    loop {
        let path = shared.lock().shown_path();
        let path = if path == "/" { String::new() } else { style.ink(Ink::Menu, &path) };
        let text = format!("[{}@{}] {path}", names.who, names.gateway);
        let sign = Sign { text, safe, colours: style.colours };
        match editor.read_line(&sign)? {
            Signal::Success(line) if asks(&line) => {
                let begun = line.trim_end().trim_end_matches('?').to_owned();
                print!("{}", complete::help(&shared, &begun, begun.len()));
                editor.run_edit_commands(&[EditCommand::InsertString(begun)]);
            }
            Signal::Success(line) => {
                let flow = execute(&shared, &line, style);
                if flow == Flow::Quit && may_leave(&shared, &mut safe)? {
                    return Ok(());
                }
            }
            Signal::HostCommand(command) if command == SAFE => safe = toggle(&shared, safe, style),
            Signal::HostCommand(command) => help(&shared, &mut editor, command == QUESTION),
            // What was changed in safe mode goes with the session.
            Signal::CtrlD => {
                let mut session = shared.lock();
                if safe {
                    session.remote.safe_mode(Safe::Undo)?;
                    println!("[Safe mode: changes undone]");
                    safe = false;
                }
                drop(session);
                if may_leave(&shared, &mut safe)? {
                    return Ok(());
                }
            }
            Signal::CtrlC => {}
            _ => {}
        }
    }
}

fn editor(shared: &Shared, style: Style) -> anyhow::Result<Reedline> {
    let mut keys = default_emacs_keybindings();
    let tab = ReedlineEvent::UntilFound(vec![ReedlineEvent::Menu(MENU.into()), ReedlineEvent::MenuNext]);
    let host = |command: &str| ReedlineEvent::ExecuteHostCommand(command.into());
    keys.add_binding(KeyModifiers::NONE, KeyCode::Tab, tab);
    keys.add_binding(KeyModifiers::SHIFT, KeyCode::BackTab, ReedlineEvent::MenuPrevious);
    keys.add_binding(KeyModifiers::NONE, KeyCode::F(1), host(HELP));
    // With and without Shift: terminals differ.
    keys.add_binding(KeyModifiers::NONE, KeyCode::Char('?'), host(QUESTION));
    keys.add_binding(KeyModifiers::SHIFT, KeyCode::Char('?'), host(QUESTION));
    keys.add_binding(KeyModifiers::CONTROL, KeyCode::Char('x'), host(SAFE));
    let menu =
        ColumnarMenu::default().with_name(MENU).with_columns(1).with_column_padding(2).with_marker("> ");
    let history = history::Blanked::open(history::file())?;
    Ok(Reedline::create()
        .with_ansi_colors(style.colours)
        .with_completer(Box::new(complete::Tab(shared.clone())))
        .with_quick_completions(true)
        .with_partial_completions(true)
        .with_menu(ReedlineMenu::EngineCompleter(Box::new(menu)))
        .with_hinter(Box::new(complete::Hint::new(shared.clone())))
        .with_highlighter(Box::new(colour::Colours { shared: shared.clone(), on: style.colours }))
        .with_validator(Box::new(Whole))
        .with_history(Box::new(history))
        .with_edit_mode(Box::new(Keys { emacs: Emacs::new(keys), last: None }))
        .use_bracketed_paste(true))
}

fn execute(shared: &Shared, line: &str, style: Style) -> Flow {
    let mut session = shared.lock();
    match session.run(line) {
        Ok(flow) => flow,
        Err(fault) => {
            println!("{}", style.ink(Ink::Error, &fault.shown(line)));
            Flow::Go
        }
    }
}

/// `?` within quotes is only a character.
fn help(shared: &Shared, editor: &mut Reedline, question: bool) {
    let line = editor.current_buffer_contents().to_owned();
    let pos = editor.current_insertion_point();
    let before = line.get(..pos).unwrap_or(&line);
    if question && is_quoted(before) {
        editor.run_edit_commands(&[EditCommand::InsertChar('?')]);
        return;
    }
    // Below the line, which is then painted again.
    print!("\r\n{}", complete::help(shared, &line, pos).replace('\n', "\r\n"));
    let _ = std::io::stdout().flush();
}
/// A quote is open.
fn is_quoted(begun: &str) -> bool {
    config::script::parse(begun).faults.iter().any(|fault| fault.said.starts_with("the quote"))
}
/// A `?` at the end of a line that was pasted, or came over a slow connection.
fn asks(line: &str) -> bool {
    let begun = line.trim_end().strip_suffix('?');
    begun.is_some_and(|begun| !begun.ends_with('\\') && !is_quoted(begun))
}

/// Ctrl+X: on, or off with everything kept.
fn toggle(shared: &Shared, safe: bool, style: Style) -> bool {
    let to = if safe { Safe::Release } else { Safe::Take };
    let done = shared.lock().remote.safe_mode(to);
    match done {
        Ok(()) if safe => println!("\r\n[Safe mode released]\r"),
        Ok(()) => println!("\r\n[Safe mode taken]\r"),
        Err(error) => {
            println!("\r\n{}\r", style.ink(Ink::Error, &format!("{error:#}")));
            return safe;
        }
    }
    !safe
}

/// Nothing is lost without a question.
fn may_leave(shared: &Shared, safe: &mut bool) -> anyhow::Result<bool> {
    let mut session = shared.lock();
    if *safe {
        match ask("keep the changes made in safe mode? [y]es, [n]o, [c]ancel: ", b"ync") {
            b'y' => session.remote.safe_mode(Safe::Release)?,
            b'n' => session.remote.safe_mode(Safe::Undo)?,
            _ => return Ok(false),
        }
        *safe = false;
    }
    let Some(unsaved) = session.remote.unsaved().filter(|unsaved| !unsaved.is_empty()) else {
        return Ok(true);
    };
    for line in &unsaved {
        println!("{}", super::cell::printable(line));
    }
    match ask("save these changes? [y]es, [n]o, [c]ancel: ", b"ync") {
        b'y' => match session.remote.save() {
            Ok(said) => {
                println!("{said}");
                Ok(true)
            }
            Err(fault) => {
                println!("{}", fault.shown(""));
                Ok(false)
            }
        },
        b'n' => Ok(true),
        _ => Ok(false),
    }
}
/// One of these keys; whoever is gone says no.
fn ask(question: &str, keys: &[u8]) -> u8 {
    print!("{question}");
    let _ = std::io::stdout().flush();
    loop {
        let key = match super::terminal::key() {
            None | Some(4) => b'n',
            Some(3 | 27) => b'c',
            Some(key) => key.to_ascii_lowercase(),
        };
        if keys.contains(&key) {
            println!("{}", char::from(key));
            return key;
        }
    }
}
