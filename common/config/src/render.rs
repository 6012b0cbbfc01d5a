//! Complaints for people: the line, a caret under the part that is meant, the fix.
use crate::complaint::{Complaint, Complaints, Quote, Severity};
use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError, MietteSpanContents,
    SourceCode, SourceSpan, SpanContents,
};
use std::fmt;

struct Shown<'a> {
    complaint: &'a Complaint,
    source: Option<Line<'a>>,
}
/// One line of the file, under its own number.
struct Line<'a> {
    file: &'a str,
    number: usize,
    quote: &'a Quote,
}

impl SourceCode for Line<'_> {
    fn read_span<'a>(
        &'a self,
        _: &SourceSpan,
        _: usize,
        _: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let text = self.quote.text.as_bytes();
        let (line, column) = (self.number - 1, self.quote.part.start);
        let span = SourceSpan::from((0, text.len()));
        Ok(Box::new(MietteSpanContents::new_named(self.file.into(), text, span, line, column, 1)))
    }
}
impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.complaint)
    }
}
impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.complaint.path, self.complaint.said)
    }
}
impl std::error::Error for Shown<'_> {}
impl Diagnostic for Shown<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.complaint.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }
    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.complaint.fix.as_ref().map(|fix| Box::new(fix) as Box<dyn fmt::Display>)
    }
    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.source.as_ref().map(|source| source as &dyn SourceCode)
    }
    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let part = &self.source.as_ref()?.quote.part;
        Some(Box::new(std::iter::once(LabeledSpan::underline((part.start, part.len())))))
    }
}

impl Complaints {
    /// For a terminal, or with `colour` false for anything else.
    pub fn render(&self, file: &str, colour: bool) -> String {
        let theme = if colour { GraphicalTheme::unicode() } else { GraphicalTheme::unicode_nocolor() };
        let handler = GraphicalReportHandler::new_themed(theme).with_width(110).with_links(false);
        let mut out = String::new();
        for complaint in &self.list {
            let source =
                complaint.quote.as_ref().map(|quote| Line { file, number: complaint.line.max(1), quote });
            let shown = Shown { complaint, source };
            if handler.render_report(&mut out, &shown).is_err() {
                out += &format!("{complaint}\n"); // a String takes everything, so this is only for completeness
            }
        }
        match self.unlisted() {
            0 => out,
            more => format!("{out}and {more} more\n"),
        }
    }
}
