//! Menus, commands and properties from any unambiguous beginning of their names.
//!
//! An exact name wins over the beginning of others; of beginnings that fit several, all are said.
use super::Span;
use super::ast::{Item, ItemKind, Lead, Statement};
use crate::nearest;
use crate::schema::{Menu, ROOT, Shape};
use std::sync::OnceLock;

/// Menus by their names in other versions and in the file.
const OTHER_PATHS: &[(&str, &str)] = &[
    ("ip ipsec remote-peers", "ip ipsec active-peers"),
    ("ip ipsec mode-cfg", "ip ipsec mode-config"),
    ("ip ipsec mode-conf", "ip ipsec mode-config"),
    ("ip ipsec peer profile", "ip ipsec profile"),
    ("ip ipsec policy-group", "ip ipsec policy group"),
];
/// Properties by other names, with the menu they are in.
const OTHER_NAMES: &[(&str, &str, &str)] = &[
    ("ip ipsec profile", "dh-groups", "dh-group"),
    ("ip ipsec profile", "enc-algorithms", "enc-algorithm"),
    ("ip ipsec profile", "hash-algorithms", "hash-algorithm"),
    ("ip ipsec proposal", "auth-algorithm", "auth-algorithms"),
    ("ip ipsec proposal", "enc-algorithm", "enc-algorithms"),
    ("ip ipsec identity", "policy-group", "policy-template-group"),
];

pub const LIST: &[&str] = &[
    "add", "comment", "disable", "edit", "enable", "export", "find", "get", "print", "remove", "reset",
    "set", "unset",
];
pub const SETTINGS: &[&str] = &["edit", "export", "get", "print", "reset", "set"];
const FOLDER: &[&str] = &["export"];
const SHOWN: &[&str] = &["find", "get", "print"];
/// What some menus can besides.
const FURTHER: &[(&str, &[&str])] =
    &[("", &["import", "quit", "save"]), ("ip ipsec key rsa", &["export-pub-key", "generate-key", "import"])];
/// Commands by which a statement of a menu that is not ours is divided into path and command.
const ANY: &[&str] = &[
    "add",
    "comment",
    "create-certificate-request",
    "disable",
    "edit",
    "enable",
    "enable-ssl-certificate",
    "export",
    "export-certificate",
    "find",
    "flush",
    "generate-key",
    "get",
    "import",
    "move",
    "print",
    "remove",
    "reset",
    "set",
    "sign",
    "unset",
];
/// The script language itself; none of it is carried out.
const SCRIPT: &[&str] = &[
    "beep",
    "delay",
    "do",
    "environment",
    "error",
    "execute",
    "for",
    "foreach",
    "global",
    "if",
    "len",
    "local",
    "log",
    "onerror",
    "parse",
    "pick",
    "put",
    "resolve",
    "retry",
    "return",
    "time",
    "toarray",
    "tobool",
    "tonum",
    "tostr",
    "totime",
    "typeof",
    "while",
];

/// A menu of the tree.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct At(usize);

pub struct Node {
    pub word: &'static str,
    /// `ip ipsec policy group`
    pub console: String,
    /// `ip.ipsec.policy-group`; empty for what has no place in the file.
    pub path: String,
    pub help: &'static str,
    /// Its properties are here.
    pub menu: Option<&'static Menu>,
    above: usize,
    menus: Vec<usize>,
    pub commands: Vec<&'static str>,
}
pub struct Menus(Vec<Node>);

/// Why a word says nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NoSuch {
    pub word: String,
    /// All that it may be the beginning of; none when it fits nothing.
    pub may_be: Vec<&'static str>,
    pub near: Option<&'static str>,
}
impl std::fmt::Display for NoSuch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let word: String = self.word.chars().take(64).flat_map(char::escape_debug).collect();
        match (&*self.may_be, self.near) {
            ([], Some(near)) => write!(f, "there is no `{word}` here; did you mean `{near}`?"),
            ([], None) => write!(f, "there is no `{word}` here"),
            (may_be, _) => write!(f, "`{word}` may be {}", may_be.join(", ")),
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    Menu(At),
    Command(&'static str),
}

/// One of `names`, in full or by its beginning.
pub fn pick(names: impl Iterator<Item = &'static str> + Clone, word: &str) -> Result<&'static str, NoSuch> {
    if let Some(name) = names.clone().find(|name| *name == word) {
        return Ok(name);
    }
    let mut may_be: Vec<_> =
        names.clone().filter(|name| !word.is_empty() && name.starts_with(word)).collect();
    may_be.sort_unstable();
    match *may_be {
        [one] => Ok(one),
        [] => Err(NoSuch { word: word.into(), may_be, near: nearest(word, names) }),
        _ => Err(NoSuch { word: word.into(), may_be, near: None }),
    }
}
/// The same for commands and their words: `print`'s beginning stays `print`, although there is `print-remote`.
pub fn pick_command(
    names: impl Iterator<Item = &'static str> + Clone,
    word: &str,
) -> Result<&'static str, NoSuch> {
    pick(names, word).or_else(|no_such| match no_such.may_be.as_slice() {
        [plain, longer @ ..]
            if longer
                .iter()
                .all(|name| name.strip_prefix(plain).is_some_and(|rest| rest.starts_with('-'))) =>
        {
            Ok(*plain)
        }
        _ => Err(no_such),
    })
}
/// A property of the menu with this console path.
pub fn property(
    console: &str,
    names: impl Iterator<Item = &'static str> + Clone,
    word: &str,
) -> Result<&'static str, NoSuch> {
    let other = OTHER_NAMES.iter().find(|(menu, other, _)| *menu == console && *other == word);
    pick(names, other.map_or(word, |(_, _, name)| name))
}

/// The tree of all menus.
pub fn menus() -> &'static Menus {
    static MENUS: OnceLock<Menus> = OnceLock::new();
    MENUS.get_or_init(Menus::new)
}

impl Menus {
    fn new() -> Self {
        let mut all = Self(vec![Node {
            word: "",
            console: String::new(),
            path: String::new(),
            help: "",
            menu: None,
            above: 0,
            menus: Vec::new(),
            commands: FOLDER.to_vec(),
        }]);
        for menu in ROOT.menus {
            all.grow(menu, "", "");
        }
        for (console, commands) in FURTHER {
            let at = all.make(console);
            if let Some(node) = all.0.get_mut(at) {
                node.commands.extend_from_slice(commands);
            }
        }
        all
    }
    fn grow(&mut self, menu: &'static Menu, path: &str, console: &str) {
        let join = |above: &str, between: &str, name: &str| match above {
            "" => name.to_owned(),
            above => format!("{above}{between}{name}"),
        };
        let path = join(path, ".", menu.name);
        let console = join(console, " ", menu.console.unwrap_or(menu.name));
        let at = self.make(&console);
        if let Some(node) = self.0.get_mut(at) {
            node.help = menu.help;
            node.path = path.clone();
            node.menu = Some(menu);
            let common = match menu.shape {
                Shape::Folder => FOLDER,
                Shape::Settings => SETTINGS,
                Shape::List => LIST,
                Shape::Live | Shape::Figures => SHOWN,
            };
            let own = menu.commands.iter().map(|command| command.name).chain(menu.ordered.then_some("move"));
            node.commands = common.iter().copied().chain(own).collect();
        }
        for below in menu.menus {
            self.grow(below, &path, &console);
        }
    }
    /// The menu of this path, made if it is not there yet.
    fn make(&mut self, console: &str) -> usize {
        let mut at = 0;
        for word in console.split(' ').filter(|word| !word.is_empty()) {
            let found = self.0.get(at).and_then(|node| {
                node.menus
                    .iter()
                    .copied()
                    .find(|below| self.0.get(*below).is_some_and(|node| node.word == word))
            });
            at = found.unwrap_or_else(|| {
                let new = self.0.len();
                let above = self.0.get(at).map(|node| node.console.clone()).unwrap_or_default();
                self.0.push(Node {
                    word: known_word(word),
                    console: if above.is_empty() { word.into() } else { format!("{above} {word}") },
                    path: String::new(),
                    help: "",
                    menu: None,
                    above: at,
                    menus: Vec::new(),
                    commands: FOLDER.to_vec(),
                });
                if let Some(node) = self.0.get_mut(at) {
                    node.menus.push(new);
                }
                new
            });
        }
        at
    }
    pub const fn root(&self) -> At {
        At(0)
    }
    /// Every `At` is of this tree; the root stands in for none.
    pub fn node(&self, at: At) -> &Node {
        self.0.get(at.0).unwrap_or(&self.0[0])
    }
    pub fn below(&self, at: At) -> impl Iterator<Item = &Node> + Clone {
        self.node(at).menus.iter().filter_map(|below| self.0.get(*below))
    }
    pub fn above(&self, at: At) -> At {
        At(self.node(at).above)
    }
    /// The menu with this path, as the console writes it in full.
    pub fn find(&self, console: &str) -> Option<At> {
        self.0.iter().position(|node| node.console == console).map(At)
    }
    /// One word further.
    pub fn step(&self, at: At, word: &str) -> Result<Step, NoSuch> {
        if word == ".." {
            return Ok(Step::Menu(self.above(at)));
        }
        let node = self.node(at);
        let full = format!("{}{}{word}", node.console, if node.console.is_empty() { "" } else { " " });
        if let Some((_, path)) = OTHER_PATHS.iter().find(|(other, _)| *other == full)
            && let Some(at) = self.find(path)
        {
            return Ok(Step::Menu(at));
        }
        let names = self.below(at).map(|node| node.word).chain(node.commands.iter().copied());
        let name = pick_command(names, word)?;
        match node.menus.iter().find(|below| self.0.get(**below).is_some_and(|node| node.word == name)) {
            Some(below) => Ok(Step::Menu(At(*below))),
            None => Ok(Step::Command(name)),
        }
    }
}
/// Words of paths live as long as the tree, which is made once.
fn known_word(word: &str) -> &'static str {
    Box::leak(word.to_owned().into_boxed_str())
}

/// Where a statement begins, or leads to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Here {
    Known(At),
    /// A menu that is not ours, as it was written.
    Foreign(String),
}
impl Here {
    pub fn console(&self) -> &str {
        match self {
            Self::Known(at) => &menus().node(*at).console,
            Self::Foreign(path) => path,
        }
    }
}

/// A statement with its words understood.
#[derive(Clone, Debug)]
pub struct Resolved<'s> {
    pub menu: Here,
    /// None: the statement only leads to the menu.
    pub command: Option<Command>,
    /// What follows the command, or the path when there is none.
    pub arguments: &'s [Item],
    /// The first word that is not ours.
    pub unknown: Option<(Span, NoSuch)>,
}
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Command {
    pub name: String,
    pub span: Span,
    /// Of the script language.
    pub script: bool,
}

/// Divides a statement into menu, command and arguments.
pub fn resolve<'s>(here: &Here, statement: &'s Statement) -> Resolved<'s> {
    resolve_items(here, statement.lead, &statement.items)
}
pub fn resolve_items<'s>(here: &Here, lead: Lead, items: &'s [Item]) -> Resolved<'s> {
    let start = match lead {
        Lead::Here => here.clone(),
        Lead::Root | Lead::Global => Here::Known(menus().root()),
    };
    let mut done = Resolved { menu: start, command: None, arguments: items, unknown: None };
    while let [item, rest @ ..] = done.arguments {
        let ItemKind::Word(word) = &item.kind else { break };
        done.arguments = rest;
        for (index, (segment, span)) in segments(word, item.span).enumerate() {
            if segment.is_empty() {
                if index == 0 {
                    done.menu = Here::Known(menus().root());
                }
                continue;
            }
            if lead == Lead::Global && SCRIPT.contains(&segment) {
                done.command = Some(Command { name: segment.into(), span, script: true });
                return done;
            }
            if done.step(segment, span) {
                return done;
            }
        }
    }
    done
}
impl Resolved<'_> {
    /// True when the word is the command.
    fn step(&mut self, word: &str, span: Span) -> bool {
        let command = |name: &str, script| Some(Command { name: name.into(), span, script });
        let path = match &self.menu {
            Here::Known(at) => match menus().step(*at, word) {
                Ok(Step::Menu(at)) => {
                    self.menu = Here::Known(at);
                    return false;
                }
                Ok(Step::Command(name)) => {
                    self.command = command(name, false);
                    return true;
                }
                Err(_) if SCRIPT.contains(&word) => {
                    self.command = command(word, true);
                    return true;
                }
                Err(no_such) => {
                    self.unknown = Some((span, no_such));
                    menus().node(*at).console.clone()
                }
            },
            Here::Foreign(path) if word == ".." => {
                let above = path.rsplit_once(' ').map_or("", |(above, _)| above);
                self.menu = menus().find(above).map_or_else(|| Here::Foreign(above.into()), Here::Known);
                return false;
            }
            Here::Foreign(path) => path.clone(),
        };
        if ANY.contains(&word) {
            self.menu = match menus().find(&path) {
                Some(at) => Here::Known(at),
                None => Here::Foreign(path),
            };
            self.command = command(word, false);
            return true;
        }
        // Whatever it is, nobody wants a page of it in a report.
        let word: String = word.chars().take(64).collect();
        if path.len() < 256 {
            self.menu = Here::Foreign(if path.is_empty() { word } else { format!("{path} {word}") });
        }
        false
    }
}
/// The words of `ip/ipsec/peer` with their places.
fn segments(word: &str, span: Span) -> impl Iterator<Item = (&str, Span)> {
    let plain = span.end - span.start == word.len();
    let mut at = span.start;
    word.split('/').map(move |segment| {
        let start = at;
        at += segment.len() + 1;
        (segment, if plain { Span { start, end: start + segment.len() } } else { span })
    })
}
