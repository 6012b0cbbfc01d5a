//! `print`, `find` and `get`.
mod columns;
mod detail;
mod table;

use super::args::{Args, Bare};
use super::cell;
use super::condition::{Condition, fields, property};
use super::fault::Fault;
use super::items::rest_path;
use super::remote::Row;
use super::session::{Given, Line, Session};
use super::style::Style;
use config::schema::{Place, Shape};
use config::script::{Span, names};
use serde_json::Value;
use std::collections::HashSet;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use zeroize::Zeroizing;

/// A row and what is shown in front of it.
pub type Numbered = (String, Row);

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Shown {
    #[default]
    Usual,
    Brief,
    Detail,
    Terse,
    ValueList,
    AsValue,
    CountOnly,
}
/// Words of print. `all` and `stats` are what we show anyway.
const WORDS: &[&str] = &[
    "all",
    "as-value",
    "brief",
    "count-only",
    "detail",
    "follow",
    "follow-only",
    "show-ids",
    "show-sensitive",
    "stats",
    "terse",
    "value-list",
    "without-paging",
];
const NAMED: &[&str] = &["file", "from", "interval", "proplist"];
const SHORTEST: Duration = Duration::from_millis(200);

#[derive(Default)]
struct Print {
    shown: Shown,
    condition: Option<Condition>,
    from: Option<Vec<String>>,
    columns: Option<Vec<&'static str>>,
    show_ids: bool,
    show_sensitive: bool,
    follow: bool,
    /// Without what is there already.
    only_new: bool,
    interval: Option<Duration>,
    without_paging: bool,
    file: Option<String>,
}

impl Session {
    pub fn print(&mut self, place: &'static Place, line: &Line) -> Result<Given, Fault> {
        let print = self.read_print(place, line)?;
        if line.captured {
            let rows = self.matching(place, &print)?;
            return Ok(Some(Zeroizing::new(
                print.text(place, &rows, self.out.style()).trim_end().to_owned(),
            )));
        }
        if let Some(file) = &print.file {
            let rows = self.matching(place, &print)?;
            let text = print.text(place, &rows, Style::default());
            super::files::write(file, &text)?;
            return Ok(None);
        }
        if print.follow || print.interval.is_some() {
            return self.again_and_again(place, &print).map(|()| None);
        }
        let rows = self.matching(place, &print)?;
        self.remember(place, &rows);
        let text = print.text(place, &rows, self.out.style());
        self.out.show(&text, !print.without_paging);
        Ok(None)
    }

    fn read_print(&mut self, place: &'static Place, line: &Line) -> Result<Print, Fault> {
        let mut args = self.args(line, true)?;
        args.name_fully(NAMED, &[]);
        let mut print = Print::default();
        let mut items: Vec<Bare> = Vec::new();
        for bare in std::mem::take(&mut args.bare) {
            if bare.found
                || bare.text.starts_with(['*', '"'])
                || bare.text.starts_with(|c: char| c.is_ascii_digit())
            {
                items.push(bare);
                continue;
            }
            print.word(pick(&bare.text, bare.span)?);
        }
        if let Some(named) = args.take("from") {
            items.push(Bare { text: named.text, span: named.span, found: false });
        }
        if !items.is_empty() {
            print.from = Some(self.ids(place, &items)?);
        }
        if let Some(named) = args.take("proplist") {
            let words = named.text.split(',').filter(|word| !word.is_empty());
            let names = words.map(|word| property(place, fields(place), word, named.span));
            print.columns = Some(names.collect::<Result<_, _>>()?);
        }
        if let Some(named) = args.take("interval") {
            let time = config::duration(&named.text).map_err(|said| Fault::at(named.span, said))?;
            print.interval = Some(time.max(SHORTEST));
        }
        print.file = args.take("file").map(|named| named.text.to_string());
        print.condition = args.condition.map(|span| Condition::read(line.text, span, place)).transpose()?;
        args.done()?;
        Ok(print)
    }

    /// The rows it is about, with their numbers.
    fn matching(&mut self, place: &'static Place, print: &Print) -> Result<Vec<Numbered>, Fault> {
        let mut query = Vec::new();
        if print.show_sensitive {
            query.push(("show-sensitive", "true".to_owned()));
        }
        if let Some(list) = print.wanted(place) {
            query.push((".proplist", list.join(",")));
        }
        let mut rows = self.remote.rows(&rest_path(place), query)?;
        if let Some(ids) = &print.from {
            let wanted: HashSet<&str> = ids.iter().map(String::as_str).collect();
            rows.retain(|row| wanted.contains(&*cell::of(row, ".id")));
        }
        if let Some(condition) = &print.condition {
            rows.retain(|row| condition.holds(row));
        }
        let label = |(at, row): (usize, Row)| {
            let label = if print.show_ids { cell::of(&row, ".id").into_owned() } else { at.to_string() };
            (label, row)
        };
        Ok(rows.into_iter().enumerate().map(label).collect())
    }
    /// From now on numbers mean these rows.
    fn remember(&mut self, place: &'static Place, rows: &[Numbered]) {
        let ids = rows.iter().map(|(_, row)| cell::of(row, ".id").into_owned());
        self.numbers.insert(place.console, ids.collect());
    }

    /// `follow`: what is new or different; `interval`: everything, until Ctrl+C.
    fn again_and_again(&mut self, place: &'static Place, print: &Print) -> Result<(), Fault> {
        self.interrupted.store(false, Ordering::Relaxed);
        // Watched from before the first look, so that nothing comes in between.
        let watched = match (print.interval, events(place)) {
            (None, Some(only)) if print.follow => self.remote.watch(only).map_err(failed)?,
            _ => false,
        };
        let done = self.look_again(place, print, watched);
        self.remote.unwatch();
        done
    }
    fn look_again(&mut self, place: &'static Place, print: &Print, watched: bool) -> Result<(), Fault> {
        let mut seen: HashSet<String> = HashSet::new();
        let (mut first, mut headed) = (true, false);
        loop {
            let rows = self.matching(place, print)?;
            if print.follow {
                let all: Vec<String> = rows.iter().map(|(_, row)| followed(place, row)).collect();
                let news = rows.into_iter().zip(&all).filter(|(_, text)| !seen.contains(*text));
                let news = news.filter(|_| !(first && print.only_new));
                let news: Vec<_> = news.map(|(row, _)| row).collect();
                seen = all.into_iter().collect();
                if (first && !print.only_new) || !news.is_empty() {
                    let (head, body) = print.parts(place, &news, self.out.style());
                    let head = if std::mem::replace(&mut headed, true) { String::new() } else { head };
                    self.out.show(&(head + &body), false);
                }
            } else {
                self.out.clear();
                self.remember(place, &rows);
                let text = print.text(place, &rows, self.out.style());
                self.out.show(&text, false);
            }
            first = false;
            let goes_on = match watched {
                true => self.wait_for_event()?,
                false => self.wait(print.interval.unwrap_or(Duration::from_secs(1))),
            };
            if !goes_on {
                return Ok(());
            }
        }
    }
    /// `false`: interrupted meanwhile.
    fn wait_for_event(&mut self) -> Result<bool, Fault> {
        loop {
            let happened = self.remote.wait(Duration::from_millis(100)).map_err(failed)?;
            if self.was_interrupted() {
                return Ok(false);
            }
            if happened {
                return Ok(true);
            }
        }
    }
    /// `false`: interrupted meanwhile.
    fn wait(&mut self, time: Duration) -> bool {
        let end = Instant::now() + time;
        while Instant::now() < end {
            if self.was_interrupted() {
                return false;
            }
            std::thread::sleep(Duration::from_millis(20).min(end.saturating_duration_since(Instant::now())));
        }
        !self.was_interrupted()
    }

    /// `find`, `find where x`, `find x`: ids.
    pub fn find(&mut self, place: &'static Place, line: &Line) -> Result<Given, Fault> {
        let start = match line.items.first() {
            Some(item) if super::args::is_where(item) => item.span.end,
            _ => line.span.end,
        };
        let span = Span { start, end: line.statement.span.end.max(start) };
        let condition = Condition::read(line.text, span, place)?;
        let rows = self.remote.rows(&rest_path(place), Vec::new())?;
        let ids: Vec<_> = rows
            .iter()
            .filter(|row| condition.holds(row))
            .map(|row| cell::of(row, ".id").into_owned())
            .collect();
        Ok(Some(Zeroizing::new(ids.join(","))))
    }

    /// `get 0 name`; of settings, `get name`.
    pub fn get(&mut self, place: &'static Place, line: &Line) -> Result<Given, Fault> {
        let mut args = self.args(line, false)?;
        if let Some(named) = args.take("value-name") {
            args.bare.push(Bare { text: named.text, span: named.span, found: false });
        }
        let is_row = matches!(place.menu.shape, Shape::List | Shape::Live);
        let id = if is_row { Some(self.which(place, &mut args)?) } else { None };
        let name = match args.bare.pop() {
            Some(bare) => Some(property(place, fields(place), &bare.text, bare.span)?),
            None => None,
        };
        args.done()?;
        let query = vec![("show-sensitive", "true".to_owned())];
        let rows = match self.remote.rows(&rest_path(place), query) {
            // Who may not see secrets may see the rest.
            Err(_) => self.remote.rows(&rest_path(place), Vec::new())?,
            Ok(rows) => rows,
        };
        let row = rows.into_iter().find(|row| id.as_ref().is_none_or(|id| cell::of(row, ".id") == **id));
        let row = row.ok_or_else(|| Fault::at(line.span, "no such item"))?;
        Ok(Some(Zeroizing::new(match name {
            Some(name) => cell::of(&row, name).into_owned(),
            None => detail::as_value(place, &[(String::new(), row)], None).trim_end().to_owned(),
        })))
    }
    fn which(&mut self, place: &'static Place, args: &mut Args) -> Result<String, Fault> {
        let said = "say which: a number of the last print, a name, or [find ...]";
        if args.bare.is_empty() {
            return Err(Fault::at(args.span, said));
        }
        let bare = args.bare.remove(0);
        let span = bare.span;
        match <[String; 1]>::try_from(self.ids(place, &[bare])?) {
            Ok([id]) => Ok(id),
            Err(ids) => Err(Fault::at(span, format!("{} rows are meant, and one is needed", ids.len()))),
        }
    }
}

impl Print {
    /// The properties it needs, if it does not need all: ten thousand rows are long enough with these.
    fn wanted(&self, place: &'static Place) -> Option<Vec<&'static str>> {
        let is_list = matches!(place.menu.shape, Shape::List | Shape::Live);
        let brief = columns::brief(place).into_iter().map(|(name, _)| name);
        let columns: Vec<_> = match (self.shown, &self.columns) {
            (Shown::CountOnly, _) => Vec::new(),
            (_, Some(columns)) => columns.clone(),
            (Shown::Usual, _) if !columns::is_detailed(place) => brief.collect(),
            (Shown::Brief, _) => brief.collect(),
            _ => return None,
        };
        let flags = place.menu.flags.iter().map(|flag| flag.name);
        let asked = self.condition.iter().flat_map(Condition::names);
        let state = (self.follow && place.path == "ip.ipsec.active-peers").then_some("state");
        let more = asked.chain(state).chain([".id", "comment"]);
        is_list.then(|| columns.into_iter().chain(flags).chain(more).collect())
    }
    fn word(&mut self, word: &str) {
        match word {
            "as-value" => self.shown = Shown::AsValue,
            "brief" => self.shown = Shown::Brief,
            "count-only" => self.shown = Shown::CountOnly,
            "detail" => self.shown = Shown::Detail,
            "terse" => self.shown = Shown::Terse,
            "value-list" => self.shown = Shown::ValueList,
            "follow" => self.follow = true,
            "follow-only" => (self.follow, self.only_new) = (true, true),
            "show-ids" => self.show_ids = true,
            "show-sensitive" => self.show_sensitive = true,
            "without-paging" => self.without_paging = true,
            _ => {}
        }
    }
    fn text(&self, place: &'static Place, rows: &[Numbered], style: Style) -> String {
        let (head, body) = self.parts(place, rows, style);
        head + &body
    }
    /// Legend and titles, then the rows.
    fn parts(&self, place: &'static Place, rows: &[Numbered], style: Style) -> (String, String) {
        let columns = self.columns.as_deref();
        let is_row = matches!(place.menu.shape, Shape::List | Shape::Live);
        let plain = |text: String| (String::new(), text);
        match (self.shown, rows) {
            (Shown::CountOnly, _) => plain(format!("{}\n", rows.len())),
            (Shown::AsValue, _) => plain(detail::as_value(place, rows, columns)),
            (Shown::Terse, _) if is_row => plain(detail::terse(place, rows, columns)),
            (Shown::ValueList, _) if is_row => plain(detail::value_list(place, rows, columns, style)),
            (_, [(_, row)]) if !is_row => plain(detail::settings(place, row, columns, style)),
            (Shown::Detail, _) => detail::detail(place, rows, columns, style),
            (Shown::Usual, _) if columns.is_none() && columns::is_detailed(place) => {
                detail::detail(place, rows, columns, style)
            }
            _ => table::table(place, rows, columns, style),
        }
    }
}
/// What tells that rows of this menu are others. Counters change all the time and are looked at again and again.
fn events(place: &Place) -> Option<&'static str> {
    Some(match place.path {
        "log-entries" => "log",
        "ip.ipsec.diagnosis" => "diagnosis",
        "system-history" => "configuration",
        "ip.ipsec.active-peers" => "peers",
        _ if place.is_list() && place.path != "interface" => "configuration,peers",
        _ => return None,
    })
}
/// Two rows with the same are no news.
fn followed(place: &Place, row: &Row) -> String {
    match place.path {
        // Its times and counters are others at every look.
        "ip.ipsec.active-peers" => format!("{} {}", cell::of(row, ".id"), cell::of(row, "state")),
        _ => Value::from(row.clone()).to_string(),
    }
}
fn failed(error: anyhow::Error) -> Fault {
    Fault::new(format!("{error:#}"), "")
}
fn pick(word: &str, span: Span) -> Result<&'static str, Fault> {
    let words = WORDS.iter().chain(NAMED).copied().chain(["where"]);
    let found = names::pick_command(words, word).map_err(|no_such| Fault::no_such(span, &no_such))?;
    match NAMED.contains(&found) {
        true => Err(Fault::at(span, format!("`{found}` needs a value: {found}=..."))),
        false => Ok(found),
    }
}
/// Rows that a command answered with.
pub fn objects(place: &'static Place, rows: &[Value], style: Style) -> String {
    let rows =
        rows.iter().enumerate().filter_map(|(at, row)| Some((at.to_string(), row.as_object()?.clone())));
    detail::detail(place, &rows.collect::<Vec<_>>(), None, style).1
}
/// One object that a command answered with.
pub fn object(row: &Row, style: Style) -> String {
    detail::listed(
        row.iter().map(|(name, value)| (name.as_str(), cell::printable(&cell::text(value)).into_owned())),
        style,
    )
}
