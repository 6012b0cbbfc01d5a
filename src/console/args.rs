//! What follows a command: named values, negations, and what has no name.
use super::fault::Fault;
use super::session::Session;
use config::script::{Item, ItemKind, Span, Statement, Value, ValueKind};
use zeroize::Zeroizing;

pub struct Named {
    pub name: String,
    pub name_span: Span,
    pub text: Zeroizing<String>,
    pub span: Span,
}
/// Without a name: an item, a word.
#[derive(Clone)]
pub struct Bare {
    pub text: Zeroizing<String>,
    pub span: Span,
    /// From `[find ...]`: these are ids, and no others.
    pub found: bool,
}
#[derive(Default)]
pub struct Args {
    pub named: Vec<Named>,
    pub nots: Vec<(String, Span)>,
    pub bare: Vec<Bare>,
    /// Behind `where`.
    pub condition: Option<Span>,
    /// Where a fault points that means no argument.
    pub span: Span,
}

impl Args {
    /// `conditional`: what follows `where` is a condition.
    pub fn read(
        session: &mut Session,
        text: &str,
        statement: &Statement,
        items: &[Item],
        conditional: bool,
    ) -> Result<Self, Fault> {
        let mut args = Self { span: statement.span, ..Self::default() };
        for item in items {
            if conditional && is_where(item) {
                args.condition = Some(Span { start: item.span.end, end: statement.span.end });
                break;
            }
            match &item.kind {
                ItemKind::Word(word) => args.bare.push(Bare {
                    text: Zeroizing::new(word.to_string()),
                    span: item.span,
                    found: false,
                }),
                ItemKind::Named { name, name_span, value } => args.named.push(Named {
                    name: name.clone(),
                    name_span: *name_span,
                    text: value_text(session, text, value)?,
                    span: value.span,
                }),
                ItemKind::Not(name) => args.nots.push((name.clone(), item.span)),
                ItemKind::Value(value) => {
                    let found = matches!(value.kind, ValueKind::Command(_));
                    args.bare.push(Bare { text: value_text(session, text, value)?, span: item.span, found });
                }
            }
        }
        Ok(args)
    }
    /// Takes the value of a name, in full or by its beginning.
    pub fn take(&mut self, name: &str) -> Option<Named> {
        let at = self.named.iter().position(|named| named.name == name)?;
        Some(self.named.remove(at))
    }
    /// Names that are not properties: `place-before`, `from` and the like, found from their beginnings.
    pub fn name_fully(&mut self, among: &[&'static str], properties: &[&'static str]) {
        for named in &mut self.named {
            let is_property = properties.iter().any(|property| property.starts_with(named.name.as_str()));
            let fits: Vec<_> = among.iter().filter(|name| name.starts_with(named.name.as_str())).collect();
            if let ([one], false) = (fits.as_slice(), is_property) {
                named.name = (**one).to_owned();
            }
        }
    }
    /// Nothing may be left over.
    pub fn done(&self) -> Result<(), Fault> {
        let named = self.named.first().map(|named| (named.name.clone(), named.name_span));
        let not = self.nots.first().map(|(name, span)| (format!("!{name}"), *span));
        let bare = self.bare.first().map(|bare| (bare.text.to_string(), bare.span));
        match named.or(not).or(bare) {
            None => Ok(()),
            Some((word, span)) => {
                let word: String = word.chars().take(64).collect();
                Err(Fault::at(span, format!("`{word}` is not an argument of this command")))
            }
        }
    }
}
pub fn is_where(item: &Item) -> bool {
    item.word().is_some_and(|word| word.len() > 1 && "where".starts_with(word))
}

/// A value: text as it is, or what a command in brackets gives.
pub fn value_text(session: &mut Session, text: &str, value: &Value) -> Result<Zeroizing<String>, Fault> {
    match &value.kind {
        ValueKind::Missing => Ok(Zeroizing::default()),
        ValueKind::Text { text, .. } => Ok(Zeroizing::new(text.to_string())),
        ValueKind::Command(body) => session.captured(text, body).map_err(|fault| fault.or_at(value.span)),
        ValueKind::Block(_) => Err(Fault::at(value.span, "a block cannot be a value here")),
        ValueKind::Paren { .. } => {
            Err(Fault::at(value.span, "an expression cannot be a value here: write the value itself"))
        }
        ValueKind::Variable => {
            Err(Fault::at(value.span, "variables are not supported: write the value itself, `\\$` for a `$`"))
        }
    }
}
