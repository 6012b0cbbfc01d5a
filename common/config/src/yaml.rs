//! Text in, a tree of located nodes out. The only file that knows the YAML library.
//!
//! Anchors, aliases, merge keys and tags are refused: the format does without them, and so nothing can
//! expand. Size, depth and number of nodes are bounded before anything is built from the file.
use crate::document::Cells;
use serde_yaml::granit_parser::{Event, Parser, ScalarStyle, Span, options};
use std::borrow::Cow;
use std::ops::Range;

/// Largest file; 100 000 tunnels take about half of it.
pub const MAX_BYTES: usize = 32 << 20;
pub const MAX_NODES: usize = 4_000_000;
pub const MAX_DEPTH: usize = 12;

/// A place in the file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spot {
    pub start: u32,
    pub end: u32,
    /// From 1.
    pub line: u32,
    /// From 1, in characters.
    pub column: u32,
}
impl Spot {
    pub fn bytes(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

#[derive(Debug)]
pub struct Node<'a> {
    pub spot: Spot,
    pub body: Body<'a>,
}
#[derive(Debug)]
pub enum Body<'a> {
    /// `key:` with nothing behind it, or `~`. `null` is a word: RouterOS's name of an algorithm.
    Nothing,
    Scalar(Cow<'a, str>),
    List(Vec<Node<'a>>),
    Map(Vec<(Node<'a>, Node<'a>)>),
    /// A group of properties that is not in a file: a row of a document.
    Row(&'a Cells),
}
impl Body<'_> {
    pub fn is_empty(&self) -> bool {
        match self {
            Self::Nothing => true,
            Self::Scalar(_) => false,
            Self::List(nodes) => nodes.is_empty(),
            Self::Map(pairs) => pairs.is_empty(),
            Self::Row(cells) => cells.is_empty(),
        }
    }
    pub fn is_yes(&self) -> bool {
        matches!(self, Self::Scalar(text) if matches!(&**text, "yes" | "true"))
    }
    pub fn what(&self) -> &'static str {
        match self {
            Self::Nothing => "nothing",
            Self::Scalar(_) => "a value",
            Self::List(_) => "a list",
            Self::Map(_) | Self::Row(_) => "a group of properties",
        }
    }
}

/// Why there is no tree.
#[derive(Debug)]
pub struct Fault {
    pub spot: Spot,
    pub said: String,
    pub fix: Option<&'static str>,
}

/// A collection that is still open.
struct Open<'a> {
    spot: Spot,
    nodes: Vec<Node<'a>>,
    map: bool,
}

/// `Ok(None)` is an empty file.
pub fn parse(text: &str) -> Result<Option<Node<'_>>, Fault> {
    if text.len() > MAX_BYTES {
        let said = format!("the file has {} bytes; at most {MAX_BYTES} are read", text.len());
        return Err(Fault { spot: Spot::default(), said, fix: None });
    }
    let mut open: Vec<Open> = Vec::new();
    let mut root = None;
    let mut nodes = 0;
    for event in Parser::new_from_str_with_options(text, options! { emit_comments: false }) {
        let (event, span) = event.map_err(|error| {
            let at = error.marker();
            let spot = spot(&Span::empty(*at));
            Fault { spot, said: format!("this is not YAML: {}", error.info()), fix: None }
        })?;
        let spot = spot(&span);
        let fault = |said: &str, fix| Err(Fault { spot, said: said.into(), fix: Some(fix) });
        let (anchor, tag) = match &event {
            Event::Scalar(_, _, anchor, tag) => (*anchor, tag.is_some()),
            Event::SequenceStart(_, anchor, tag) | Event::MappingStart(_, anchor, tag) => {
                (*anchor, tag.is_some())
            }
            Event::Alias(_) | Event::UnresolvedAlias(_) => (1, false),
            _ => (0, false),
        };
        if anchor != 0 {
            return fault("anchors and aliases are not part of this format", "write the values out");
        }
        if tag {
            return fault("tags are not part of this format", "leave the tag (`!...`) out");
        }
        let done = match event {
            Event::Scalar(value, style, ..) => {
                let nothing = style == ScalarStyle::Plain && matches!(&*value, "" | "~");
                Some(Node { spot, body: if nothing { Body::Nothing } else { Body::Scalar(value) } })
            }
            Event::SequenceStart(..) | Event::MappingStart(..) => {
                if open.len() >= MAX_DEPTH {
                    return fault(
                        "this is nested deeper than anything in this format",
                        "check the indentation",
                    );
                }
                open.push(Open { spot, nodes: Vec::new(), map: matches!(event, Event::MappingStart(..)) });
                None
            }
            Event::SequenceEnd | Event::MappingEnd => open.pop().map(|done| close(done, spot)),
            Event::DocumentStart(..) if root.is_some() => {
                return fault("a second document begins here", "keep one document in the file (one `---`)");
            }
            _ => None,
        };
        let Some(node) = done else { continue };
        nodes += 1;
        if nodes > MAX_NODES {
            return fault("the file has more values than can be read", "keep it below 4 million");
        }
        match open.last_mut() {
            Some(parent) => parent.nodes.push(node),
            None => root = Some(node),
        }
    }
    Ok(root.filter(|node| !matches!(node.body, Body::Nothing)))
}

/// What stands behind `#`: its line, whether nothing else stands there, and the text; one more than `most` at the most.
/// For a text that [`parse`] takes.
pub fn remarks(text: &str, most: usize) -> Vec<(u32, bool, String)> {
    if !text.contains('#') {
        return Vec::new();
    }
    let events = Parser::new_from_str_with_options(text, options! { emit_comments: true });
    let remark = |(event, span): (Event, Span)| match event {
        Event::Comment(said, _) => {
            let at = spot(&span);
            let before = text.get(..at.start as usize)?.rsplit('\n').next()?;
            Some((at.line, before.trim().is_empty(), said.into_owned()))
        }
        _ => None,
    };
    events.map_while(Result::ok).filter_map(remark).take(most + 1).collect()
}

fn close(open: Open<'_>, end: Spot) -> Node<'_> {
    let spot = Spot { end: end.start.max(open.spot.end), ..open.spot };
    if !open.map {
        return Node { spot, body: Body::List(open.nodes) };
    }
    let mut pairs = Vec::with_capacity(open.nodes.len() / 2);
    let mut nodes = open.nodes.into_iter();
    while let (Some(key), Some(value)) = (nodes.next(), nodes.next()) {
        pairs.push((key, value));
    }
    Node { spot, body: Body::Map(pairs) }
}

fn spot(span: &Span) -> Spot {
    let offset = |at: Option<usize>| u32::try_from(at.unwrap_or(0)).unwrap_or(u32::MAX);
    let start = offset(span.start.byte_offset());
    Spot {
        start,
        end: offset(span.end.byte_offset()).max(start),
        line: u32::try_from(span.start.line()).unwrap_or(u32::MAX),
        column: u32::try_from(span.start.col() + 1).unwrap_or(u32::MAX),
    }
}
