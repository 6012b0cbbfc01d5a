//! The file: YAML in and out.
use super::cells::{Cells, Text};
use super::{Document, HIDDEN, Secrets};
use crate::complaint::{Complaints, Sink};
use crate::schema::Field;
use crate::yaml::{Body, Fault, Node, parse};
use crate::{Checked, walk};
use std::ops::Range;
use zeroize::Zeroizing;

impl Document {
    /// Reads a file for keeping: what this version cannot run yet is kept. Warnings beside it are about the file.
    pub fn from_yaml(text: &str) -> Result<(Self, Complaints), Complaints> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut sink = Sink::default();
        let tree = match parse(text) {
            Ok(tree) => tree,
            Err(Fault { spot, said, fix }) => {
                sink.error(spot, "", said, fix.unwrap_or_default());
                return Err(sink.finish(text, false));
            }
        };
        let rows = walk::walk_to_keep(tree.as_ref(), &mut sink);
        crate::check::names(&rows, &mut sink);
        let complaints = sink.finish(text, true);
        if complaints.errors > 0 {
            return Err(complaints);
        }
        Ok((Self::from_rows(&rows, text, tree.as_ref()), complaints))
    }

    /// Reads a file that is to be run: its objects, and what they mean.
    pub fn read(text: &str) -> Result<(Self, Checked), Complaints> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut sink = Sink::default();
        let tree = match parse(text) {
            Ok(tree) => tree,
            Err(Fault { spot, said, fix }) => {
                sink.error(spot, "", said, fix.unwrap_or_default());
                return Err(sink.finish(text, false));
            }
        };
        let rows = walk::walk(tree.as_ref(), &mut sink);
        let config = crate::check::build(&rows, &mut sink);
        let complaints = sink.finish(text, true);
        match config {
            Some(config) if complaints.errors == 0 => {
                // Nothing is wrong with it as it is run, so nothing is with keeping it.
                let rows = walk::walk_to_keep(tree.as_ref(), &mut Sink::default());
                Ok((Self::from_rows(&rows, text, tree.as_ref()), Checked { config, warnings: complaints }))
            }
            _ => Err(complaints),
        }
    }

    /// A file that reads back as the same.
    pub fn to_yaml(&self, secrets: Secrets) -> Zeroizing<String> {
        self.written(secrets).out
    }
    /// The same with every secret, and where in it the secrets stand.
    pub fn to_marked_yaml(&self) -> (Zeroizing<String>, Vec<Range<usize>>) {
        let Writer { out, marks, .. } = self.written(Secrets::Shown);
        (out, marks)
    }
    fn written(&self, secrets: Secrets) -> Writer<'_> {
        let out = Zeroizing::new(String::with_capacity(256 + 256 * self.len()));
        let mut writer = Writer { out, secrets, marks: Vec::new(), remarks: &self.remarks };
        writer.write(&self.tree(), "", 0);
        writer.remarks(super::remarks::END, 0);
        writer
    }
}

struct Writer<'d> {
    out: Zeroizing<String>,
    /// Where they are hidden, remarks are left out: nobody knows what is in those.
    secrets: Secrets,
    /// Where secrets were written.
    marks: Vec<Range<usize>>,
    remarks: &'d super::remarks::OfMenus,
}
impl Writer<'_> {
    /// Block style: a group of properties on lines of its own, rows behind dashes.
    fn write(&mut self, node: &Node, path: &str, depth: usize) {
        let pairs = match &node.body {
            Body::Map(pairs) => pairs,
            Body::Row(cells) if self.secrets == Secrets::Shown => return self.known(cells, depth),
            Body::Row(cells) => return self.row(cells, depth),
            _ => return,
        };
        for (at, (key, value)) in pairs.iter().enumerate() {
            let Body::Scalar(key) = &key.body else { continue };
            let path = if path.is_empty() { key.to_string() } else { format!("{path}.{key}") };
            self.remarks(&path, depth);
            self.begin(at, depth);
            self.out.push_str(key);
            self.out.push(':');
            match &value.body {
                Body::Nothing => self.out.push('\n'),
                Body::Scalar(text) => {
                    self.out.push(' ');
                    scalar(text, &mut self.out);
                    self.out.push('\n');
                }
                Body::Map(_) | Body::Row(_) => {
                    self.out.push('\n');
                    self.write(value, &path, depth + 1);
                }
                Body::List(rows) => {
                    self.out.push('\n');
                    for row in rows {
                        if let Body::Row(cells) = &row.body {
                            self.remark(cells.remark.as_deref(), depth + 1);
                        }
                        indent(depth + 1, &mut self.out);
                        self.out.push_str("- ");
                        // A row in which nothing is written.
                        if row.body.is_empty() {
                            self.out.push_str("{}\n");
                        }
                        self.write(row, &path, depth + 2);
                    }
                }
            }
        }
    }
    fn remarks(&mut self, menu: &str, depth: usize) {
        let remarks = self.remarks;
        self.remark(remarks.get(menu).map(String::as_str), depth);
    }
    fn remark(&mut self, remark: Option<&str>, depth: usize) {
        for line in remark.filter(|_| self.secrets == Secrets::Shown).into_iter().flat_map(str::lines) {
            indent(depth, &mut self.out);
            self.out.push('#');
            self.out.push_str(line);
            self.out.push('\n');
        }
    }
    /// A row that was written before is the same again. It begins behind a dash.
    fn known(&mut self, cells: &Cells, depth: usize) {
        if !self.out.ends_with("- ") {
            return self.row(cells, depth);
        }
        let text = cells.text(|| {
            let length =
                |(field, text): &(&Field, Zeroizing<String>)| field.name.len() + text.len() + 2 * depth + 5;
            let mut out = Zeroizing::new(String::with_capacity(2 + cells.iter().map(length).sum::<usize>()));
            out.push_str("- ");
            let mut writer = Writer { out, secrets: self.secrets, marks: Vec::new(), remarks: self.remarks };
            writer.row(cells, depth);
            let Writer { out: lines, marks, .. } = writer;
            Text { lines, marks, depth }
        });
        if text.depth != depth {
            return self.row(cells, depth);
        }
        let at = self.out.len() - "- ".len();
        self.out.push_str(text.lines.get("- ".len()..).unwrap_or_default());
        self.marks.extend(text.marks.iter().map(|mark| at + mark.start..at + mark.end));
    }
    /// One line for each property; those of a group stand together.
    fn row(&mut self, cells: &Cells, depth: usize) {
        let mut open = None;
        for (at, (field, text)) in cells.iter().enumerate() {
            let (group, name) =
                field.name.split_once('.').map_or((None, field.name), |(group, name)| (Some(group), name));
            self.begin(at, depth);
            if let Some(group) = group {
                if open != Some(group) {
                    self.out.push_str(group);
                    self.out.push_str(":\n");
                    indent(depth, &mut self.out);
                }
                self.out.push_str("  ");
            }
            open = group;
            self.out.push_str(name);
            self.out.push_str(": ");
            let before = self.out.len();
            match (field.is_secret(), self.secrets) {
                (true, Secrets::Hidden) => scalar(HIDDEN, &mut self.out),
                _ => scalar(text, &mut self.out),
            }
            if field.is_secret() {
                self.marks.push(before..self.out.len());
            }
            self.out.push('\n');
        }
    }
    /// The first property of a row stands behind its dash.
    fn begin(&mut self, at: usize, depth: usize) {
        if at > 0 || !self.out.ends_with("- ") {
            indent(depth, &mut self.out);
        }
    }
}
fn indent(depth: usize, out: &mut String) {
    const SPACES: &str = "                ";
    match SPACES.get(..2 * depth) {
        Some(spaces) => out.push_str(spaces),
        None => out.extend(std::iter::repeat_n("  ", depth)),
    }
}

/// Plain where nobody can take it for anything else, else between quotes.
fn scalar(text: &str, out: &mut String) {
    let safe =
        |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-'..=b'/' | b'_' | b',' | b'%' | b'+' | b'@');
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    if begins && text.bytes().all(safe) {
        out.push_str(text);
        return;
    }
    out.push('"');
    for c in text.chars() {
        match c {
            '"' => out.push_str("\\\""),
            '\\' => out.push_str("\\\\"),
            '\n' => out.push_str("\\n"),
            '\t' => out.push_str("\\t"),
            ' '..='~' => out.push(c),
            c if c.is_control()
                || matches!(c, '\u{85}' | '\u{a0}' | '\u{2028}' | '\u{2029}' | '\u{feff}') =>
            {
                out.push_str(&format!("\\U{:08x}", c as u32));
            }
            c => out.push(c),
        }
    }
    out.push('"');
}
