//! What the word that is being typed may become.
use super::super::expr::Next;
use super::super::names::{self, At, Here, menus};
use super::{Candidate, Expected, Place};
use crate::schema::{self, Choice, Field, Kind, Property};

/// What a print or an export may be told; what ends with `=` needs a value.
const PRINT: &[(&str, &str)] = &[
    ("as-value", "As a script takes it."),
    ("brief", "A table."),
    ("count-only", "How many rows there are."),
    ("detail", "Every property."),
    ("file=", "Into a file."),
    ("follow", "Go on when something changes."),
    ("follow-only", "The same, without what is there already."),
    ("from=", "Only these rows."),
    ("interval=", "Print again every so often."),
    ("proplist=", "Only these properties."),
    ("show-ids", "Numbers that stay."),
    ("show-sensitive", "Secrets, too."),
    ("terse", "A row a line."),
    ("value-list", "A property a line."),
    ("where", "Only rows for which this holds."),
    ("without-paging", "All at once."),
];
const EXPORT: &[(&str, &str)] = &[
    ("compact", "Only what differs from the defaults."),
    ("file=", "Into a file."),
    ("format=", "routeros, yaml or json."),
    ("hide-sensitive", "Without secrets."),
    ("path=", "The menu, if it is not this one."),
    ("show-sensitive", "Secrets, too."),
    ("terse", "A whole command a line."),
    ("verbose", "Defaults, too."),
];
const IMPORT: &[(&str, &str)] = &[
    ("dry-run", "Only say what it would do."),
    ("file-name=", "The file."),
    ("from=", "routeros or swanctl."),
];
const ADD: &[(&str, &str)] =
    &[("copy-from=", "Begin as a copy of this row."), ("place-before=", "The row it comes before.")];
const OPERATORS: &[(&str, &str)] = &[
    ("=", "Equals."),
    ("!=", "Differs."),
    ("<", "Is less."),
    (">", "Is greater."),
    ("<=", "Is at most."),
    (">=", "Is at least."),
    ("~", "Matches a regular expression."),
    ("in", "Is within a network or a list."),
    ("and", "And that."),
    ("or", "Or that."),
];
/// Commands whose first word says which rows.
const OF_ROWS: &[&str] =
    &["comment", "disable", "edit", "enable", "get", "move", "remove", "reset", "set", "unset"];
/// Those in which all words do.
const ONLY_ROWS: &[&str] = &["disable", "enable", "move", "remove"];
/// Those whose further words are names of properties.
const OF_NAMES: &[&str] = &["edit", "get", "reset", "unset"];

/// Names of the rows in a menu of the file.
pub type Rows<'r> = &'r dyn Fn(&str) -> Vec<String>;

impl Place {
    /// What the begun word may become, in alphabetical order.
    pub fn candidates(&self, line: &str, rows: Rows) -> Vec<Candidate> {
        let begun = self.begun.of(line).trim_start_matches('"');
        let mut all = self.all(rows);
        all.retain(|candidate| candidate.text.starts_with(begun));
        all.sort_by(|a, b| a.text.cmp(&b.text));
        all.dedup_by(|a, b| a.text == b.text);
        all
    }
    fn place(&self) -> Option<&'static schema::Place> {
        let Here::Known(at) = &self.menu else { return None };
        schema::place(&menus().node(*at).path)
    }
    /// The property whose value is being typed.
    pub fn property(&self) -> Option<&'static Property> {
        let (command, word) = match &self.expected {
            Expected::Value { command, property } => (Some(command), property),
            Expected::Condition(Next::Value { field }) => (None, field),
            _ => return None,
        };
        let place = self.place()?;
        let own = command.and_then(|name| place.menu.commands.iter().find(|own| own.name == *name));
        let written = place.fields.iter().map(|field| (field.name, field.property));
        let shown = place.menu.shown.iter().map(|property| (property.name, property));
        let all: Vec<(&'static str, &'static Property)> = match (own, command) {
            (Some(own), _) => own.arguments.iter().map(|property| (property.name, property)).collect(),
            (None, Some(_)) => written.collect(),
            (None, None) => written.chain(shown).collect(),
        };
        let name = names::property(place.console, all.iter().map(|(name, _)| *name), word).ok()?;
        all.into_iter().find(|(known, _)| *known == name).map(|(_, property)| property)
    }

    fn all(&self, rows: Rows) -> Vec<Candidate> {
        let Here::Known(at) = &self.menu else { return Vec::new() };
        match &self.expected {
            Expected::Word => words(*at),
            Expected::Argument { command, given, bare } => {
                let mut all = arguments(self.place(), command, *bare, rows);
                all.retain(|one| !given.contains(&one.text));
                all
            }
            Expected::Value { property, .. } => match self.property() {
                Some(property) => values(property, rows),
                None => self.of_print(property, rows),
            },
            Expected::Condition(Next::Value { .. }) => {
                self.property().map(|property| values(property, rows)).unwrap_or_default()
            }
            Expected::Condition(Next::Field) => self.place().map(readable).unwrap_or_default(),
            Expected::Condition(Next::Operator { .. }) => OPERATORS
                .iter()
                .map(|(text, help)| Candidate { then: "", ..candidate(*text, *help) })
                .collect(),
            Expected::Nothing => Vec::new(),
        }
    }
    /// Values of what is no property: `proplist=`, `from=`, `place-before=`.
    fn of_print(&self, name: &str, rows: Rows) -> Vec<Candidate> {
        let Some(place) = self.place() else { return Vec::new() };
        match name {
            "proplist" => readable(place).into_iter().map(|one| Candidate { then: "", ..one }).collect(),
            "format" => ["json", "routeros", "yaml"].map(|text| candidate(text, "")).into(),
            "numbers" | "from" | "place-before" | "copy-from" | "destination" => named(place, rows).collect(),
            _ => Vec::new(),
        }
    }
}
fn candidate(text: impl Into<String>, help: impl Into<String>) -> Candidate {
    Candidate { text: text.into(), help: help.into(), then: " " }
}
/// Words of a command; those that end with `=` get it behind them.
fn fixed(table: &'static [(&str, &str)]) -> impl Iterator<Item = Candidate> {
    table.iter().map(|(text, help)| match text.strip_suffix('=') {
        Some(text) => Candidate { then: "=", ..candidate(text, *help) },
        None => candidate(*text, *help),
    })
}
fn of_field(field: &Field) -> Candidate {
    Candidate { then: "=", ..candidate(field.name, field.property.help) }
}
fn of_property(property: &'static Property) -> Candidate {
    Candidate { then: "=", ..candidate(property.name, property.help) }
}
/// What a row can be asked about.
fn readable(place: &'static schema::Place) -> Vec<Candidate> {
    let shown = place.menu.shown.iter().map(of_property);
    place.fields.iter().map(of_field).chain(shown).map(|one| Candidate { then: "", ..one }).collect()
}
fn named(place: &'static schema::Place, rows: Rows) -> impl Iterator<Item = Candidate> {
    rows(place.path).into_iter().map(|name| candidate(name, ""))
}

fn words(at: At) -> Vec<Candidate> {
    let menus = menus();
    let below = menus.below(at).map(|node| candidate(node.word, node.help));
    let own = |name: &str| {
        let own = menus.node(at).menu.and_then(|menu| menu.commands.iter().find(|own| own.name == name));
        own.map_or_else(|| describe(name), |own| own.help)
    };
    let commands = menus.node(at).commands.iter().map(|name| candidate(*name, own(name)));
    below.chain(commands).collect()
}
fn describe(command: &str) -> &'static str {
    match command {
        "add" => "Make a row.",
        "comment" => "Write a note on a row.",
        "disable" => "Let rows take no part.",
        "edit" => "Change one property in an editor.",
        "enable" => "Let rows take part again.",
        "export" => "Print as a script.",
        "find" => "Numbers of the rows for which something holds.",
        "get" => "One property of a row.",
        "import" => "Read from a file.",
        "move" => "Put rows elsewhere in the order.",
        "print" => "Show.",
        "quit" => "Leave the console.",
        "remove" => "Remove rows.",
        "reset" => "Back to the default.",
        "save" => "Write the changes to the file.",
        "set" => "Change.",
        "unset" => "As if it had not been written.",
        _ => "",
    }
}

fn arguments(
    place: Option<&'static schema::Place>,
    command: &str,
    bare: usize,
    rows: Rows,
) -> Vec<Candidate> {
    let mut all: Vec<Candidate> = match command {
        "print" => fixed(PRINT).collect(),
        "export" => fixed(EXPORT).collect(),
        "import" => fixed(IMPORT).collect(),
        "add" => fixed(ADD).collect(),
        "comment" => vec![Candidate { then: "=", ..candidate("comment", "A note for people.") }],
        _ => Vec::new(),
    };
    let Some(place) = place else { return all };
    let own = place.menu.commands.iter().find(|own| own.name == command);
    let is_live = place.menu.shape == schema::Shape::Live;
    let of_rows = own.map_or((place.is_list() || is_live) && OF_ROWS.contains(&command), |own| own.of_rows);
    let further = ONLY_ROWS.contains(&command) && own.is_none();
    if of_rows && (bare == 0 || further) {
        all.extend(named(place, rows));
    }
    if let Some(own) = own {
        all.extend(own.arguments.iter().map(of_property));
    } else if OF_NAMES.contains(&command) && (bare > 0 || !of_rows) {
        all.extend(readable(place).into_iter().map(|one| Candidate { then: " ", ..one }));
    } else if matches!(command, "add" | "set") {
        all.extend(place.fields.iter().map(of_field));
    }
    all
}

fn values(property: &'static Property, rows: Rows) -> Vec<Candidate> {
    of_kind(property.kind, rows)
}
fn of_kind(kind: Kind, rows: Rows) -> Vec<Candidate> {
    let help = |choice: &Choice| match choice.later {
        Some(why) if choice.never => format!("Refused: {why}."),
        Some(what) => format!("Not available yet: {what}."),
        None => String::new(),
    };
    let references = |menu: &str| rows(menu).into_iter().map(|name| candidate(name, ""));
    match kind {
        Kind::YesNo => vec![candidate("yes", ""), candidate("no", "")],
        Kind::One(choices) => choices.iter().map(|choice| candidate(choice.name, help(choice))).collect(),
        // Another may follow.
        Kind::Some(choices) => choices
            .iter()
            .map(|choice| Candidate { then: "", ..candidate(choice.name, help(choice)) })
            .collect(),
        Kind::List(each) => {
            of_kind(*each, rows).into_iter().map(|one| Candidate { then: "", ..one }).collect()
        }
        Kind::TimeOr { word, .. } => vec![candidate(word, "")],
        Kind::Reference(menu) | Kind::References(menu) => references(menu).collect(),
        Kind::ReferenceOr { menu, words } => {
            let words = words.iter().filter(|word| !word.is_empty()).map(|word| candidate(*word, ""));
            references(menu).chain(words).collect()
        }
        Kind::Ports => vec![candidate("any", "")],
        Kind::Protocol => {
            let named =
                crate::value::PROTOCOLS.iter().map(|(name, number)| candidate(*name, number.to_string()));
            std::iter::once(candidate("all", "")).chain(named).collect()
        }
        Kind::MyId => ids(&["auto"]),
        Kind::RemoteId => ids(&["auto", "ignore"]),
        Kind::Gateway => references("interface").collect(),
        _ => Vec::new(),
    }
}
fn ids(words: &[&str]) -> Vec<Candidate> {
    let kinds = ["address:", "fqdn:", "key-id:", "user-fqdn:"];
    let kinds = kinds.iter().map(|kind| Candidate { then: "", ..candidate(*kind, "") });
    words.iter().map(|word| candidate(*word, "")).chain(kinds).collect()
}
