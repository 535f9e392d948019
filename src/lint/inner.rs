//! YAML that is the text of a node: `objects` of a class and its like.

use std::ops::Range;
use std::rc::Rc;

use super::tree::{self, Node, Value};

/// A text and its place in the file that it is part of.
pub struct Inner {
    text: String,
    /// Bytes of the text and of the file, in pairs, for every character that is no white space; none where characters
    /// are written otherwise in the file, as with escapes between quotes.
    pairs: Vec<(usize, usize)>,
    /// Where it can be read.
    pub root: Option<Rc<Node>>,
}

impl Inner {
    /// `file` is the whole of what `node` is in.
    pub fn read(file: &str, node: &Node) -> Self {
        let text = node.text().unwrap_or_default().to_owned();
        let root = tree::read(&text).ok().flatten();
        Self { pairs: pairs(&text, file, node).unwrap_or_default(), text, root }
    }

    /// The range of the file that one of the text is.
    pub fn in_file(&self, range: &Range<usize>) -> Option<Range<usize>> {
        let next = self.pairs.partition_point(|(inner, _)| *inner < range.start);
        // What is written as nothing is where the last character before it is.
        let next = if range.is_empty() { next.saturating_sub(1) } else { next };
        let (_, start) = *self.pairs.get(next).or(self.pairs.last())?;
        let last = self.pairs.partition_point(|(inner, _)| *inner < range.end).checked_sub(1);
        let end = last.and_then(|last| self.pairs.get(last)).map_or(start, |(inner, outer)| {
            outer.saturating_add(self.text.get(*inner..).and_then(|rest| rest.chars().next()).map_or(1, char::len_utf8))
        });
        Some(start..end.max(start))
    }

    /// The byte of the text at a line and a column, both from 1 and the latter in characters.
    pub fn at(&self, line: usize, column: usize) -> usize {
        let before = self.text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum::<usize>();
        let rest = self.text.get(before..).unwrap_or_default();
        let columns = rest.char_indices().nth(column.saturating_sub(1)).map_or(rest.len(), |(at, _)| at);
        before.saturating_add(columns)
    }
}

/// White space is all that YAML leaves out or puts in where it breaks and indents the lines of a text: what is left
/// stands in the file in the same order, whatever the style.
fn pairs(text: &str, file: &str, node: &Node) -> Option<Vec<(usize, usize)>> {
    let written = file.get(node.range.clone())?;
    let header = match &node.value {
        Value::Scalar { is_block: true, .. } if written.starts_with(['|', '>']) => written.find('\n')?,
        Value::Scalar { is_plain: false, .. } if written.starts_with(['\'', '"']) => 1,
        _ => 0,
    };
    let mut written = written.get(header..)?.char_indices().filter(|(_, c)| !c.is_whitespace());
    let first = node.range.start.saturating_add(header);
    let of_text = text.char_indices().filter(|(_, c)| !c.is_whitespace());
    of_text
        .map(|(inner, c)| match written.next() {
            Some((at, same)) if same == c => Some((inner, first.saturating_add(at))),
            _ => None,
        })
        .collect()
}
