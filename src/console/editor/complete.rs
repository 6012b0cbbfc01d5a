//! Tab, hints and help: all three ask what may follow.
use super::Shared;
use config::schema::{self, Default};
use config::script::complete::{self, Candidate, Expected, Place};
use config::script::export::quote;
use config::script::names::{Here, menus};
use reedline::{Completer, CompletionResult, Hinter, History, Partial, Span, Suggestion};
use std::fmt::Write;

/// More are not listed: whoever has ten thousand peers types another letter.
const LISTED: usize = 100;

/// Candidates for what stands before `pos`, and their place in the line.
pub fn candidates(shared: &Shared, line: &str, pos: usize) -> (Place, Vec<Candidate>) {
    let mut session = shared.lock();
    let place = complete::at(line, pos, &Here::Known(session.here));
    let session = std::cell::RefCell::new(&mut *session);
    let found = place.candidates(line, &|menu| session.borrow_mut().names(menu).to_vec());
    (place, found)
}

pub struct Tab(pub Shared);
impl Completer for Tab {
    fn complete(&mut self, line: &str, pos: usize) -> CompletionResult {
        let (place, found) = candidates(&self.0, line, pos);
        let span = Span { start: place.begun.start.min(pos), end: pos.max(place.begun.start) };
        let common = common(&found);
        let begun = line.get(span.start..span.end).unwrap_or_default();
        let partial = (common.len() > begun.len()).then_some(Partial { span, insert: common });
        let left = found.len().saturating_sub(LISTED);
        let suggestion = |candidate: Candidate| Suggestion {
            value: format!("{}{}", quoted(&candidate.text), if candidate.then == "=" { "=" } else { "" }),
            display_override: Some(candidate.text),
            description: Some(candidate.help).filter(|help| !help.is_empty()),
            span,
            append_whitespace: candidate.then == " ",
            ..Suggestion::default()
        };
        let mut all: Vec<Suggestion> = found.into_iter().take(LISTED).map(suggestion).collect();
        if left > 0 {
            all.push(Suggestion {
                value: begun.to_owned(),
                display_override: Some(format!("... and {left} more: type another letter")),
                span,
                ..Suggestion::default()
            });
        }
        CompletionResult::fresh(all).with_partial(partial)
    }
}
fn quoted(text: &str) -> String {
    let mut out = String::new();
    // `<=` and the like are no values.
    if text.chars().all(|c| "=!<>~".contains(c)) {
        return text.to_owned();
    }
    quote(text, &mut out);
    out
}
/// What all begin with; they are sorted, so the first and the last say it.
fn common(found: &[Candidate]) -> String {
    let (Some(first), Some(last)) = (found.first(), found.last()) else { return String::new() };
    let same = first.text.chars().zip(last.text.chars()).take_while(|(a, b)| a == b);
    same.map(|(c, _)| c).collect()
}

/// The rest of the only word it can be, in grey; behind `=`, what is expected.
#[derive(Default)]
pub struct Hint {
    shared: Option<Shared>,
    rest: String,
}
impl Hint {
    pub fn new(shared: Shared) -> Self {
        Self { shared: Some(shared), rest: String::new() }
    }
}
impl Hinter for Hint {
    fn handle(&mut self, line: &str, pos: usize, _: &dyn History, colours: bool, _: &str) -> String {
        self.rest.clear();
        let Some(shared) = self.shared.as_ref().filter(|_| pos == line.len() && !line.is_empty()) else {
            return String::new();
        };
        let (place, found) = candidates(shared, line, pos);
        let begun = place.begun.of(line);
        let mut text = String::new();
        match found.as_slice() {
            [one] if !begun.is_empty() && !begun.starts_with('"') => {
                self.rest = one.text.strip_prefix(begun).unwrap_or_default().to_owned();
                if one.then == "=" && !self.rest.is_empty() {
                    self.rest.push('=');
                }
                text.clone_from(&self.rest);
            }
            _ if begun.is_empty() => {
                if let Some(property) = place.property() {
                    text = schema::describe(property.kind);
                }
            }
            _ => {}
        }
        match colours && !text.is_empty() {
            true => format!("\x1b[90m{text}\x1b[0m"),
            false => text,
        }
    }
    fn complete_hint(&self) -> String {
        self.rest.clone()
    }
    fn next_hint_token(&self) -> String {
        self.rest.clone()
    }
}

/// `?`: everything that may follow, with what it is for.
pub fn help(shared: &Shared, line: &str, pos: usize) -> String {
    let (place, found) = candidates(shared, line, pos);
    let mut out = String::new();
    if let Some(property) = place.property() {
        _ = writeln!(out, "{} -- {}", property.name, property.help);
        _ = write!(out, "  {}", schema::describe(property.kind));
        match property.default {
            Default::Is(text) if !text.is_empty() => _ = writeln!(out, "; default {text}"),
            Default::Needed => out.push_str("; must be given\n"),
            _ => out.push('\n'),
        }
    } else if let (Expected::Word, Here::Known(at), "") = (&place.expected, &place.menu, place.begun.of(line))
    {
        let node = menus().node(*at);
        if !node.help.is_empty() {
            _ = writeln!(out, "{}", node.help);
        }
    }
    let width = found.iter().map(|one| one.text.len()).max().unwrap_or(0).min(28);
    for one in found.iter().take(LISTED) {
        match one.help.as_str() {
            "" => _ = writeln!(out, "  {}", one.text),
            help => _ = writeln!(out, "  {:width$} -- {help}", one.text),
        }
    }
    if found.len() > LISTED {
        _ = writeln!(out, "  ... and {} more: type another letter", found.len() - LISTED);
    }
    if out.is_empty() {
        out.push_str("nothing is known to follow here\n");
    }
    out
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::offline::OnFile;
    use crate::console::session::{Out, Session};
    use crate::console::style::Style;
    use config::Document;

    struct Nowhere;
    impl Out for Nowhere {
        fn show(&mut self, _: &str, _: bool) {}
        fn style(&self) -> Style {
            Style::default()
        }
    }
    fn with_peers(count: usize) -> Shared {
        let mut document = Document::new();
        let peers = schema::place("ip.ipsec.peer").expect("a menu");
        for n in 0..count {
            document.add(peers, &[("name", &format!("site-{n:05}"))], None).expect("a row");
        }
        Shared::new(Session::new(Box::new(OnFile::of(document)), Box::new(Nowhere)))
    }

    #[test]
    fn ten_thousand_names_are_offered_in_part_and_completed_as_a_whole() {
        let shared = with_peers(10_000);
        let mut tab = Tab(shared.clone());
        let line = "/ip ipsec identity add peer=s";
        let found = tab.complete(line, line.len());
        assert_eq!(found.suggestions().len(), LISTED + 1);
        assert_eq!(found.partial().map(|partial| partial.insert.as_str()), Some("site-0"));
        assert!(found.suggestions()[LISTED].display_value().contains("9900 more"));
        let line = "/ip ipsec identity add peer=site-0999";
        assert_eq!(tab.complete(line, line.len()).suggestions().len(), 10);
        assert!(help(&shared, "/ip ipsec peer remove ", 22).contains("more: type another letter"));
    }
}
