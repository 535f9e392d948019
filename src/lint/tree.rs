//! A YAML document with the place of every node.
//!
//! serde knows no places, and the readers of a grammar want none; so a text is parsed once more, by the parser that
//! those use, wherever something has to be pointed at. Aliases share the node that they stand for, so no bomb of them
//! grows here.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::rc::Rc;

use granit_parser::{Event, Marker, Parser, ScalarStyle, Span};

/// Most nodes of a document, and how deep they may stand in each other.
const MAX_NODES: usize = 500_000;
const MAX_DEPTH: usize = 64;

pub struct Node {
    /// In bytes of the text.
    pub range: Range<usize>,
    pub value: Value,
}

pub enum Value {
    /// `is_plain` is for a text without quotes, whose type readers guess.
    Scalar {
        text: String,
        is_plain: bool,
        is_block: bool,
    },
    List(Vec<Rc<Node>>),
    /// In the order in which they are written, with what is written twice.
    Map(Vec<Entry>),
}

/// A key and its value.
pub type Entry = (Rc<Node>, Rc<Node>);

/// Why a text is no document.
#[derive(Debug)]
pub struct Broken {
    pub at: usize,
    pub message: String,
}

impl Node {
    pub fn text(&self) -> Option<&str> {
        match &self.value {
            Value::Scalar { text, .. } => Some(text),
            Value::List(_) | Value::Map(_) => None,
        }
    }

    pub fn items(&self) -> &[Rc<Node>] {
        match &self.value {
            Value::List(items) => items,
            Value::Scalar { .. } | Value::Map(_) => &[],
        }
    }

    pub fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            Value::Scalar { .. } | Value::List(_) => &[],
        }
    }

    /// The last entry of a name, which is the one that counts.
    pub fn entry(&self, name: &str) -> Option<&Entry> {
        self.entries().iter().rev().find(|(key, _)| key.text() == Some(name))
    }

    pub fn get(&self, name: &str) -> Option<&Node> {
        self.entry(name).map(|(_, value)| &**value)
    }

    /// Whether it is written as nothing, `~` or `null`.
    pub fn is_null(&self) -> bool {
        const NULLS: [&str; 5] = ["", "~", "null", "Null", "NULL"];
        matches!(&self.value, Value::Scalar { text, is_plain: true, .. } if NULLS.contains(&text.as_str()))
    }
}

/// Reads the only document of a text. `None` is one without any node.
pub fn read(text: &str) -> Result<Option<Rc<Node>>, Broken> {
    read_at(text, 0)
}

/// Reads the document that a text is from `start` on. Places are those in what it is part of.
pub fn read_at(text: &str, start: usize) -> Result<Option<Rc<Node>>, Broken> {
    let mut reader = Reader { text, start, anchors: HashMap::new(), open: Vec::new(), root: None, nodes: 0 };
    let mut parser = Parser::new_from_str(text);
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| {
            let at = start.saturating_add(error.marker().byte_offset().unwrap_or_default());
            Broken { at, message: error.info() }
        })?;
        reader.take(event, span)?;
    }
    Ok(reader.root)
}

/// An anchor is a number, and zero stands for none.
struct Reader<'a> {
    text: &'a str,
    start: usize,
    anchors: HashMap<usize, Rc<Node>>,
    open: Vec<Open>,
    root: Option<Rc<Node>>,
    nodes: usize,
}

/// A list or map that is being read.
struct Open {
    start: usize,
    anchor: usize,
    is_map: bool,
    /// Of a map, keys and values in turn.
    children: Vec<Rc<Node>>,
}

impl Reader<'_> {
    fn range(&self, span: &Span) -> Range<usize> {
        let at = |marker: Marker| marker.byte_offset().map(|at| at.saturating_add(self.start));
        let start = at(span.start).unwrap_or(self.start);
        start..at(span.end).unwrap_or(start).max(start)
    }

    fn take(&mut self, event: Event<'_>, span: Span) -> Result<(), Broken> {
        let range = self.range(&span);
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let is_text = tag.is_some_and(|tag| tag.core_suffix() == Some("str"));
                let value = Value::Scalar {
                    text: text.into_owned(),
                    is_plain: style == ScalarStyle::Plain && !is_text,
                    is_block: matches!(style, ScalarStyle::Literal | ScalarStyle::Folded),
                };
                self.add(Node { range, value }, anchor)
            }
            Event::SequenceStart(_, anchor, _) => self.open(range.start, anchor, false),
            Event::MappingStart(_, anchor, _) => self.open(range.start, anchor, true),
            Event::SequenceEnd | Event::MappingEnd => self.close(range.end),
            Event::Alias(anchor) => match self.anchors.get(&anchor).cloned() {
                Some(node) => self.put(node, range.start),
                None => Err(Broken { at: range.start, message: "an alias stands inside of its own anchor".into() }),
            },
            _ => Ok(()),
        }
    }

    fn open(&mut self, start: usize, anchor: usize, is_map: bool) -> Result<(), Broken> {
        if self.open.len() >= MAX_DEPTH {
            return Err(Broken { at: start, message: format!("more than {MAX_DEPTH} levels stand in each other") });
        }
        self.open.push(Open { start, anchor, is_map, children: Vec::new() });
        Ok(())
    }

    fn close(&mut self, end: usize) -> Result<(), Broken> {
        let Some(Open { start, anchor, is_map, children }) = self.open.pop() else { return Ok(()) };
        let last = children.last().map_or(end, |node| node.range.end);
        let value = match is_map {
            false => Value::List(children),
            true => {
                let mut entries = Vec::with_capacity(children.len().div_ceil(2));
                let mut children = children.into_iter();
                while let (Some(key), Some(value)) = (children.next(), children.next()) {
                    entries.push((key, value));
                }
                Value::Map(self.merged(entries, end)?)
            }
        };
        // The end of a block is found only where the next one begins.
        let before = self.text.get(..end.saturating_sub(self.start));
        let end = if before.is_some_and(|text| text.ends_with([']', '}'])) { end } else { last };
        self.add(Node { range: start..end.max(start), value }, anchor)
    }

    /// With the entries of maps under `<<` in its place, but for those that the map has itself:
    /// <https://yaml.org/type/merge.html>
    fn merged(&mut self, written: Vec<Entry>, at: usize) -> Result<Vec<Entry>, Broken> {
        let is_merge = |(key, value): &Entry| {
            let is_map = |node: &Node| matches!(node.value, Value::Map(_));
            let is_list = !value.items().is_empty() && value.items().iter().all(|item| is_map(item));
            key.text() == Some("<<") && (is_map(value) || is_list)
        };
        let (merges, mut entries): (Vec<_>, Vec<_>) = written.into_iter().partition(is_merge);
        let mut names: HashSet<String> = match merges.as_slice() {
            [] => return Ok(entries),
            _ => entries.iter().filter_map(|(key, _)| key.text().map(str::to_owned)).collect(),
        };
        for (_, value) in &merges {
            for (key, value) in std::iter::once(value).chain(value.items()).flat_map(|map| map.entries()) {
                self.count(at)?;
                if key.text().is_some_and(|name| names.insert(name.to_owned())) {
                    entries.push((key.clone(), value.clone()));
                }
            }
        }
        Ok(entries)
    }

    fn add(&mut self, node: Node, anchor: usize) -> Result<(), Broken> {
        let (start, node) = (node.range.start, Rc::new(node));
        if anchor != 0 {
            self.anchors.insert(anchor, node.clone());
        }
        self.put(node, start)
    }

    fn count(&mut self, at: usize) -> Result<(), Broken> {
        self.nodes = self.nodes.saturating_add(1);
        match self.nodes > MAX_NODES {
            true => Err(Broken { at, message: format!("the document has more than {MAX_NODES} parts") }),
            false => Ok(()),
        }
    }

    fn put(&mut self, node: Rc<Node>, at: usize) -> Result<(), Broken> {
        self.count(at)?;
        match self.open.last_mut() {
            Some(open) => open.children.push(node),
            None => self.root = Some(node),
        }
        Ok(())
    }
}
