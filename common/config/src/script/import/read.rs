//! First half of an import: statements become rows of the source's own shape, whatever the order of the lines.
use super::super::ast::{Item, ItemKind, Script, Statement, Text, Value, ValueKind};
use super::super::names::{self, Command, Here, Resolved, menus};
use super::super::{Lines, Span};
use super::foreign;
use super::put::NARROWING;
use super::report::{Line, Outcome, Report};
use super::rows::{Draft, Tables, choose, place_of};
use super::words::vocabulary;

/// Commands in blocks within blocks; a script has few.
const MAX_NESTED: usize = 8;

type Remarks = std::iter::Peekable<std::vec::IntoIter<Span>>;

pub struct Reader<'a> {
    text: &'a str,
    lines: Lines,
    pub tables: Tables,
    pub report: Report,
    /// Remarks that stand in front of the command that is being read.
    remarks: Vec<String>,
}

impl<'a> Reader<'a> {
    pub fn new(text: &'a str) -> Self {
        Self {
            text,
            lines: Lines::new(text),
            tables: Tables::new(),
            report: Report::default(),
            remarks: Vec::new(),
        }
    }
    pub fn read(&mut self, script: &Script) {
        for fault in &script.faults {
            let line = self.lines.line(fault.span.start);
            self.report.note(line, Outcome::Refused, "text", &*fault.said, "");
        }
        self.remarks(script);
        // Those of the header are about the whole of it.
        let first = script.statements.first().map_or(usize::MAX, |statement| statement.span.start);
        let behind = script.comments.iter().filter(|span| span.start > first).copied();
        let mut remarks = behind.collect::<Vec<_>>().into_iter().peekable();
        self.statements(&script.statements, Here::Known(menus().root()), 0, &mut remarks);
    }

    /// `# 2026-01-02 03:04:05 by RouterOS 7.22.3`, and what the router said about its own export.
    fn remarks(&mut self, script: &Script) {
        let first = script.statements.first().map_or(usize::MAX, |statement| statement.span.start);
        for comment in &script.comments {
            let said = comment.of(self.text).trim();
            let line = self.lines.line(comment.start);
            if let Some((_, source)) = said.split_once(" by ").filter(|_| comment.start < first) {
                let known = source.starts_with("RouterOS ") || source.starts_with("espway ");
                if known && self.report.source.is_none() {
                    self.report.source = Some(source.split(' ').take(2).collect::<Vec<_>>().join(" "));
                }
            } else if said.starts_with("error exporting") {
                let fix = "export this menu again, alone";
                self.report.note(line, Outcome::Attention, "export", format!("the router said: {said}"), fix);
            }
        }
    }

    fn statements(&mut self, statements: &[Statement], mut here: Here, depth: usize, remarks: &mut Remarks) {
        for statement in statements {
            self.remarks.clear();
            while let Some(span) = remarks.next_if(|span| span.start < statement.span.start) {
                let said = span.of(self.text).trim_end();
                let own = said.trim_start().starts_with("error exporting");
                self.remarks.extend((!own && !said.is_empty()).then(|| said.to_owned()));
            }
            let done = names::resolve(&here, statement);
            let block = statement.items.last().and_then(|item| match &item.kind {
                ItemKind::Value(Value { kind: ValueKind::Block(body), .. }) => Some(body),
                _ => None,
            });
            match (&done.command, block) {
                (None, Some(body)) if depth < MAX_NESTED => {
                    self.statements(&body.statements, done.menu.clone(), depth + 1, remarks);
                }
                (None, _) if done.arguments.is_empty() => here = done.menu,
                _ => self.command(statement, &done),
            }
        }
    }

    fn command(&mut self, statement: &Statement, done: &Resolved<'_>) {
        let line = self.lines.line(statement.span.start);
        let menu = done.menu.console().to_owned();
        let name = done.command.as_ref().map_or("", |command| &command.name);
        let command = if menu.is_empty() { name.to_owned() } else { format!("/{}", join(&menu, name)) };
        self.report.lines.push(Line { line, command, outcome: Outcome::Done });
        let mut refuse =
            |outcome, said: &str, fix: &str| self.report.note(line, outcome, join(&menu, name), said, fix);
        let Some(Command { script, .. }) = &done.command else {
            return refuse(Outcome::NotCovered, "this is no command that is known here", "");
        };
        if *script {
            return refuse(
                Outcome::NotCovered,
                "commands of scripts are not carried out",
                "write out what the script would do",
            );
        }
        if statement.faulty {
            return; // said already
        }
        if let Some(said) = foreign::not_covered(&menu, name) {
            foreign::remember(&menu, name, done.arguments, line, &mut self.tables);
            return refuse(Outcome::NotCovered, said, "");
        }
        match name {
            "add" => self.add(line, &done.menu, done.arguments),
            "set" => self.set(line, &done.menu, done.arguments),
            "unset" | "reset" => self.unset(line, &done.menu, done.arguments),
            "remove" => self.remove(line, &done.menu, done.arguments),
            "enable" | "disable" => self.switch(line, &done.menu, done.arguments, name == "disable"),
            "comment" => self.set(line, &done.menu, done.arguments),
            "move" => self.shift(line, &done.menu, done.arguments),
            "print" | "export" | "find" | "get" => {}
            _ => refuse(Outcome::NotCovered, "this command is not carried out", ""),
        }
    }

    /// The cells that arguments write, with names in full.
    fn cells(&mut self, line: usize, menu: &str, arguments: &[Item], row: &mut Draft) {
        let about = |name: &str| join(menu, name);
        for item in arguments {
            let at = self.lines.line(item.span.start);
            match &item.kind {
                ItemKind::Named { name, value, .. } => {
                    if matches!(&**name, "place-before" | "copy-from" | "numbers" | ".id") {
                        continue;
                    }
                    let name = match vocabulary(menu, name) {
                        Ok(name) => name,
                        Err(no_such) => {
                            let said = format!("{no_such}; left out");
                            self.report.note(line, Outcome::NotCovered, menu, said, "");
                            continue;
                        }
                    };
                    match &value.kind {
                        ValueKind::Text { text, .. } => row.put(&name, text.clone(), at),
                        ValueKind::Missing => row.put(&name, Text::default(), at),
                        kind => {
                            let said = match kind {
                                ValueKind::Variable => "variables of scripts are not followed",
                                _ => "expressions of scripts are not worked out",
                            };
                            self.report.note(
                                line,
                                Outcome::Refused,
                                about(&name),
                                said,
                                "write the value itself",
                            );
                            row.doubtful |= NARROWING.contains(&&*name);
                        }
                    }
                }
                ItemKind::Not(name) => {
                    if let Ok(name) = vocabulary(menu, name) {
                        row.take(&name);
                    }
                }
                // `add blackhole dst-address=...`
                ItemKind::Word(word) if menu.ends_with("route") && &**word == "blackhole" => {
                    row.put_str("blackhole", "yes", at);
                }
                ItemKind::Word(word) => {
                    let word: String = word.chars().take(40).collect();
                    self.report.note(
                        line,
                        Outcome::NotCovered,
                        menu,
                        format!("`{word}` says nothing here"),
                        "",
                    );
                }
                ItemKind::Value(_) => {
                    self.report.note(
                        line,
                        Outcome::NotCovered,
                        menu,
                        "a value without a name says nothing here",
                        "",
                    );
                }
            }
        }
    }
    fn add(&mut self, line: usize, here: &Here, arguments: &[Item]) {
        let menu = here.console();
        if arguments.iter().any(is_dynamic) {
            let said = "a dynamic row, made by the router itself; left out";
            return self.report.note(line, Outcome::NotCovered, menu, said, "");
        }
        let remarks = std::mem::take(&mut self.remarks);
        let mut row = Draft { line, remarks, ..Draft::default() };
        if let Some(item) = named(arguments, "copy-from") {
            match choose(self.text, here, self.tables.rows(menu), item).as_deref() {
                Ok([from, ..]) => row.cells.clone_from(&self.tables.rows(menu)[*from].cells),
                Ok([]) => self.report.note(line, Outcome::Refused, menu, "no row to copy from matches", ""),
                Err(said) => self.report.note(line, Outcome::Refused, menu, said.as_str(), ""),
            }
            row.take("name");
        }
        self.cells(line, menu, arguments, &mut row);
        let before = named(arguments, "place-before")
            .map(|item| choose(self.text, here, self.tables.rows(menu), item));
        let table = self.tables.table(menu);
        match before.as_ref().map(Result::as_deref) {
            Some(Ok([before, ..])) => table.insert(*before, row),
            Some(_) => {
                table.push(row);
                let said = "the row it was to stand before is not here; it stands at the end";
                self.report.note(line, Outcome::Changed, menu, said, "");
            }
            None => table.push(row),
        }
    }
    /// Rows that the first argument, or `numbers=`, means. None: it has been said why not.
    fn chosen(&mut self, line: usize, here: &Here, arguments: &[Item]) -> Option<Vec<usize>> {
        let menu = here.console();
        let first =
            arguments.first().filter(|item| matches!(item.kind, ItemKind::Word(_) | ItemKind::Value(_)));
        let item = named(arguments, "numbers").or(named(arguments, ".id")).or(first);
        if menu == "interface ethernet" {
            foreign::port(self.text, item, line, &mut self.tables);
        }
        let chosen = match item {
            Some(item) => choose(self.text, here, self.tables.rows(menu), item),
            None if place_of(menu).is_some_and(|place| !place.is_list()) || foreign::is_settings(menu) => {
                if self.tables.rows(menu).is_empty() {
                    self.tables.table(menu).push(Draft { line, ..Draft::default() });
                }
                Ok(vec![0])
            }
            None => Err("no row is named".into()),
        };
        match chosen {
            Ok(rows) if rows.is_empty() => {
                self.report.note(line, Outcome::Refused, menu, "no row matches", "");
                None
            }
            Ok(rows) => Some(rows),
            Err(said) => {
                self.report.note(line, Outcome::Refused, menu, said, "");
                None
            }
        }
    }
    fn set(&mut self, line: usize, here: &Here, arguments: &[Item]) {
        let Some(rows) = self.chosen(line, here, arguments) else { return };
        let rest = match arguments {
            [first, rest @ ..] if !matches!(first.kind, ItemKind::Named { .. } | ItemKind::Not(_)) => rest,
            all => all,
        };
        for at in rows {
            let Some(mut row) = self.tables.table(here.console()).get_mut(at).map(std::mem::take) else {
                continue;
            };
            self.cells(line, here.console(), rest, &mut row);
            row.remarks.append(&mut self.remarks);
            if row.line == 0 {
                row.line = line;
            }
            if let Some(there) = self.tables.table(here.console()).get_mut(at) {
                *there = row;
            }
        }
    }
    fn unset(&mut self, line: usize, here: &Here, arguments: &[Item]) {
        let Some(rows) = self.chosen(line, here, arguments) else { return };
        let named: Vec<_> = arguments.iter().skip(1).filter_map(Item::word).map(ToOwned::to_owned).collect();
        for name in named.iter().flat_map(|names| names.split(',')) {
            let Ok(name) = vocabulary(here.console(), name) else { continue };
            let table = self.tables.table(here.console());
            rows.iter().for_each(|at| _ = table.get_mut(*at).and_then(|row| row.take(&name)));
        }
    }
    fn remove(&mut self, line: usize, here: &Here, arguments: &[Item]) {
        let Some(mut rows) = self.chosen(line, here, arguments) else { return };
        rows.sort_unstable();
        for at in rows.into_iter().rev() {
            let table = self.tables.table(here.console());
            if table.get(at).is_some_and(|row| row.built_in) {
                let said = "a built-in row cannot be removed; it stays as it is";
                self.report.note(line, Outcome::Changed, here.console(), said, "");
            } else {
                table.remove(at);
            }
        }
    }
    fn switch(&mut self, line: usize, here: &Here, arguments: &[Item], off: bool) {
        let Some(rows) = self.chosen(line, here, arguments) else { return };
        let table = self.tables.table(here.console());
        for at in rows {
            if let Some(row) = table.get_mut(at) {
                row.put_str("disabled", if off { "yes" } else { "no" }, line);
                row.line = if row.line == 0 { line } else { row.line };
            }
        }
    }
    fn shift(&mut self, line: usize, here: &Here, arguments: &[Item]) {
        let menu = here.console();
        let to = named(arguments, "destination").or_else(|| arguments.get(1));
        let to = to.map(|item| choose(self.text, here, self.tables.rows(menu), item));
        let Some(rows) = self.chosen(line, here, arguments) else { return };
        let table = self.tables.table(menu);
        let before = match to.as_ref().map(Result::as_deref) {
            Some(Ok([at, ..])) => Some(*at),
            None => None,
            _ => return self.report.note(line, Outcome::Refused, menu, "the row to move to is not here", ""),
        };
        let moved: Vec<Draft> = rows.iter().filter_map(|at| table.get(*at).cloned()).collect();
        let target = (0..before.unwrap_or(table.len())).filter(|at| !rows.contains(at)).count();
        let mut at = 0..;
        table.retain(|_| at.next().is_some_and(|at| !rows.contains(&at)));
        table.splice(target..target, moved);
    }
}

fn is_dynamic(item: &Item) -> bool {
    match &item.kind {
        ItemKind::Named { name, value, .. } => {
            name == "dynamic" && value.text().is_some_and(|text| matches!(text.as_str(), "yes" | "true"))
        }
        _ => false,
    }
}
fn named<'s>(arguments: &'s [Item], wanted: &str) -> Option<&'s Item> {
    arguments.iter().find(|item| matches!(&item.kind, ItemKind::Named { name, .. } if name == wanted))
}
pub fn join(menu: &str, word: &str) -> String {
    match (menu.is_empty(), word.is_empty()) {
        (true, _) => word.to_owned(),
        (_, true) => menu.to_owned(),
        _ => format!("{menu} {word}"),
    }
}
