//! Which rows are meant: numbers of the last print, `*1A`, names, `[find ...]`, and lists of them.
use super::args::Bare;
use super::cell;
use super::fault::Fault;
use super::session::Session;
use config::schema::Place;
use config::script::Span;

/// A row that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    pub id: String,
    pub name: String,
}

impl Session {
    /// Ids and names of all rows, as they are now.
    pub fn items(&mut self, place: &'static Place) -> Result<Vec<Item>, Fault> {
        let name = place.name_field().map_or("", |field| field.name);
        let mut list = ".id".to_owned();
        if !name.is_empty() {
            list = format!("{list},{name}");
        }
        let rows = self.remote.rows(&rest_path(place), vec![(".proplist", list)])?;
        let item =
            |row| Item { id: cell::of(&row, ".id").into_owned(), name: cell::of(&row, name).into_owned() };
        Ok(rows.into_iter().map(item).collect())
    }

    /// The ids of the rows that `words` name, in that order, each once.
    pub fn ids(&mut self, place: &'static Place, words: &[Bare]) -> Result<Vec<String>, Fault> {
        let mut all: Option<Vec<Item>> = None;
        let mut ids: Vec<String> = Vec::new();
        for bare in words {
            for word in bare.text.split(',').map(str::trim).filter(|word| !word.is_empty()) {
                // What was found a moment ago is there.
                let id = match bare.found && word.starts_with('*') {
                    true => word.to_owned(),
                    false => {
                        let all = match &all {
                            Some(all) => all,
                            None => all.insert(self.items(place)?),
                        };
                        self.id(place, all, word, bare.span)?
                    }
                };
                if !ids.contains(&id) {
                    ids.push(id);
                }
            }
        }
        Ok(ids)
    }
    fn id(&self, place: &'static Place, all: &[Item], word: &str, span: Span) -> Result<String, Fault> {
        let missing = |why: String| Fault::at(span, format!("no such item: {why}"));
        if word.starts_with('*') {
            let found = all.iter().find(|item| item.id.eq_ignore_ascii_case(word));
            return found
                .map(|item| item.id.clone())
                .ok_or_else(|| missing(format!("{word} in /{}", place.console)));
        }
        if let Some(item) = all.iter().find(|item| !item.name.is_empty() && item.name == word) {
            // A name that looks like a number is only meant where no row has that number.
            if word.parse::<usize>().is_err() {
                return Ok(item.id.clone());
            }
        }
        if let Ok(number) = word.parse::<usize>() {
            let printed = self.numbers.get(place.console);
            let id = match printed {
                Some(ids) => ids.get(number).cloned(),
                None => all.get(number).map(|item| item.id.clone()),
            };
            let id = id.or_else(|| all.iter().find(|item| item.name == word).map(|item| item.id.clone()));
            return id.ok_or_else(|| {
                let count = printed.map_or(all.len(), Vec::len);
                match (count, printed.is_some()) {
                    (0, _) => missing(format!("there is no row {number}: the list is empty")),
                    (_, true) => missing(format!("the last print has rows 0 to {}", count - 1)),
                    (_, false) => missing(format!("there are rows 0 to {}", count - 1)),
                }
            });
        }
        let near = nearest(word, all.iter().map(|item| item.name.as_str()));
        let mut fault =
            missing(format!("`{}` in /{}", word.chars().take(64).collect::<String>(), place.console));
        if let Some(near) = near {
            fault.fix = format!("did you mean `{near}`?");
        }
        Err(fault)
    }
}

/// `ip/ipsec/policy/group`
pub fn rest_path(place: &Place) -> String {
    place.console.replace(' ', "/")
}
fn nearest<'a>(word: &str, among: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let far = word.chars().count().div_ceil(3).min(3);
    among
        .filter(|name| !name.is_empty())
        .map(|name| (strsim::damerau_levenshtein(word, name), name))
        .filter(|(distance, _)| *distance <= far)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, name)| name)
}
