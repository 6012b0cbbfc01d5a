//! Paths and queries of requests.
use super::Problem;
use config::schema::{Place, places};
use std::collections::HashMap;
use std::sync::LazyLock;

/// Longer ones mean nothing here.
const MAX_PATH: usize = 2048;
const MAX_QUERY: usize = 64;

pub(super) struct Found<'w> {
    pub place: &'static Place,
    pub rest: &'w [&'w str],
}

/// The path's words behind `/rest`. A word is decoded once; what would be another path then is none.
pub(super) fn segments(path: &str) -> Result<Vec<String>, Problem> {
    let nothing = || Problem::new(404, "there is nothing here");
    let rest = path.strip_prefix("/rest").filter(|rest| rest.is_empty() || rest.starts_with('/'));
    let rest = rest.filter(|_| path.len() <= MAX_PATH).ok_or_else(nothing)?;
    let words = rest.split('/').filter(|word| !word.is_empty()).map(|word| {
        let word = decode(word, false).ok_or_else(|| Problem::malformed("the path is not UTF-8"))?;
        let odd = word.contains(['/', '\\']) || word.chars().any(char::is_control);
        if odd || [".", ".."].contains(&word.as_str()) { Err(nothing()) } else { Ok(word) }
    });
    words.collect()
}
/// Percent-encoding undone; in queries `+` is a space.
pub fn decode(text: &str, plus: bool) -> Option<String> {
    let mut out = Vec::with_capacity(text.len());
    let mut bytes = text.bytes();
    while let Some(byte) = bytes.next() {
        out.push(match byte {
            b'%' => {
                let mut digit = || (bytes.next()? as char).to_digit(16);
                (digit()? << 4 | digit()?) as u8
            }
            b'+' if plus => b' ',
            byte => byte,
        });
    }
    String::from_utf8(out).ok()
}
pub fn query(text: &str) -> Result<Vec<(String, String)>, Problem> {
    let parts: Vec<&str> = text.split('&').filter(|part| !part.is_empty()).collect();
    if parts.len() > MAX_QUERY {
        return Err(Problem::malformed("the query has too many parts"));
    }
    let pair = |part: &&str| {
        let (name, value) = part.split_once('=').unwrap_or((part, ""));
        Some((decode(name, true)?, decode(value, true)?))
    };
    let pairs: Option<Vec<_>> = parts.iter().map(pair).collect();
    pairs.ok_or_else(|| Problem::malformed("the query is not UTF-8"))
}

static BY_CONSOLE: LazyLock<HashMap<String, &'static Place>> = LazyLock::new(|| {
    // As the file calls them, and as the console does, which counts where both have the word: `log`.
    let files = places().iter().map(|place| (place.path.replace('.', " "), place));
    files.chain(places().iter().map(|place| (place.console.to_owned(), place))).collect()
});

/// The menu that most of the words name, and what is left of them.
pub(super) fn resolve<'w>(words: &'w [&'w str]) -> Result<Found<'w>, Problem> {
    for n in (1..=words.len().min(8)).rev() {
        let (menu, rest) = words.split_at(n);
        if let Some(place) = BY_CONSOLE.get(&menu.join(" ")) {
            return Ok(Found { place, rest });
        }
    }
    let above = words.join(" ");
    let below = |place: &&Place| above.is_empty() || place.console.starts_with(&format!("{above} "));
    let menus: Vec<_> = places().iter().filter(below).map(|p| p.console.replace(' ', "/")).collect();
    let fix = if menus.is_empty() { String::new() } else { format!("there are: {}", menus.join(", ")) };
    Err(Problem { fix, ..Problem::new(404, "there is no such menu") })
}
