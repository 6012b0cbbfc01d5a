//! The file: YAML in and out.
use super::tree::Kept;
use super::{Document, Secrets};
use crate::complaint::{Complaints, Sink};
use crate::yaml::{Body, Fault, Node, parse};
use crate::{Checked, walk};
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
        Ok((Self::from_rows(&rows), complaints))
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
                Ok((Self::from_rows(&rows), Checked { config, warnings: complaints }))
            }
            _ => Err(complaints),
        }
    }

    /// A file that reads back as the same.
    pub fn to_yaml(&self, secrets: Secrets) -> Zeroizing<String> {
        let kept = if secrets == Secrets::Shown { Kept::Everything } else { Kept::NoSecrets };
        let mut out = Zeroizing::new(String::with_capacity(256 + 256 * self.len()));
        write(&self.tree(kept), 0, &mut out);
        out
    }
}

/// Block style: a group of properties on lines of its own, rows behind dashes.
fn write(node: &Node, depth: usize, out: &mut String) {
    let Body::Map(pairs) = &node.body else { return };
    for (at, (key, value)) in pairs.iter().enumerate() {
        // The first property of a row stands behind its dash.
        if at > 0 || !out.ends_with("- ") {
            indent(depth, out);
        }
        let Body::Scalar(key) = &key.body else { continue };
        out.push_str(key);
        out.push(':');
        match &value.body {
            Body::Nothing => out.push('\n'),
            Body::Scalar(text) => {
                out.push(' ');
                scalar(text, out);
                out.push('\n');
            }
            Body::Map(_) => {
                out.push('\n');
                write(value, depth + 1, out);
            }
            Body::List(rows) => {
                out.push('\n');
                for row in rows {
                    indent(depth + 1, out);
                    out.push_str("- ");
                    // A row in which nothing is written.
                    if row.body.is_empty() {
                        out.push_str("{}\n");
                    }
                    write(row, depth + 2, out);
                }
            }
        }
    }
}
fn indent(depth: usize, out: &mut String) {
    out.extend(std::iter::repeat_n("  ", depth));
}

/// Plain where nobody can take it for anything else, else between quotes.
fn scalar(text: &str, out: &mut String) {
    let safe = |c: char| c.is_ascii_alphanumeric() || "-_./,%+@".contains(c);
    let begins = text.starts_with(|c: char| c.is_ascii_alphanumeric() || c == '/');
    if begins && text.chars().all(safe) {
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
