//! A JSON document whose numbers remember how they were spelled.
//!
//! `1.10`, `1e3` and `12345678901234567890123` come out as they went in. The parser turns numbers into machine numbers, so
//! their spellings are collected beside it, in the order of the document, and found again through the identity of the node:
//! JMESPath hands out the nodes of the document itself.

use std::collections::{BTreeMap, HashMap};
use std::fmt;

use jmespath::{Rcvar, Variable};
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};

use super::bounded::Bounded;
use crate::sensitive::SecretBytes;

pub struct Document {
    root: Rcvar,
    spellings: HashMap<*const Variable, SecretBytes>,
    /// Every number node, those of replaced duplicate keys included: as long as they live, no other node has their address.
    _numbers: Vec<Rcvar>,
}

impl Document {
    /// # Errors
    /// Where the text is no JSON, without quoting it.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        let text = std::str::from_utf8(bytes).map_err(|_| "it is not UTF-8".to_owned())?;
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut numbers = Vec::new();
        let mut parser = serde_json::Deserializer::from_str(text);
        let root = Node { numbers: &mut numbers }.deserialize(&mut parser);
        let root = root.and_then(|root| parser.end().map(|()| root)).map_err(|error| describe(&error))?;
        let spellings = numbers.iter().map(std::sync::Arc::as_ptr).zip(spellings(text)).collect();
        Ok(Self { root, spellings, _numbers: numbers })
    }

    pub fn root(&self) -> &Rcvar {
        &self.root
    }

    /// The top-level keys, where the document is an object.
    pub fn keys(&self) -> impl Iterator<Item = &str> {
        self.root.as_object().into_iter().flat_map(|object| object.keys().map(String::as_str))
    }

    /// The top-level keys with their values, without those that are null: a key without a value is as good as none.
    pub fn members(&self) -> impl Iterator<Item = (&str, &Rcvar)> {
        let members = self.root.as_object().into_iter().flatten();
        members.filter(|(_, node)| !node.is_null()).map(|(key, node)| (key.as_str(), node))
    }

    /// What a top-level key has, unless that is null.
    pub fn member(&self, key: &str) -> Option<&Rcvar> {
        self.root.as_object()?.get(key).filter(|node| !node.is_null())
    }

    /// A node as the content of a file: text as it is, numbers and booleans in their spelling, the rest as compact JSON.
    /// `None` where that has more than `limit` bytes.
    pub fn text_of(&self, node: &Rcvar, limit: usize) -> Option<SecretBytes> {
        let mut out = Bounded::new(limit);
        match &**node {
            Variable::String(text) => out.push(text)?,
            _ => self.write(node, &mut out)?,
        }
        Some(out.into())
    }

    fn write(&self, node: &Rcvar, out: &mut Bounded) -> Option<()> {
        match &**node {
            Variable::Null | Variable::Expref(_) => out.push("null"),
            Variable::Bool(value) => out.push(if *value { "true" } else { "false" }),
            Variable::Number(number) => match self.spellings.get(&std::sync::Arc::as_ptr(node)) {
                Some(spelling) => out.push(&String::from_utf8_lossy(spelling.expose())),
                None => out.push(&plain(number)),
            },
            Variable::String(text) => out.push_quoted(text),
            Variable::Array(items) => {
                out.push("[")?;
                for (index, item) in items.iter().enumerate() {
                    if index > 0 {
                        out.push(",")?;
                    }
                    self.write(item, out)?;
                }
                out.push("]")
            }
            Variable::Object(members) => {
                out.push("{")?;
                for (index, (key, member)) in members.iter().enumerate() {
                    if index > 0 {
                        out.push(",")?;
                    }
                    out.push_quoted(key)?;
                    out.push(":")?;
                    self.write(member, out)?;
                }
                out.push("}")
            }
        }
    }
}

/// A number without a spelling in the document, because a function made it: exact where it is whole, otherwise the shortest
/// text that means it, as the official provider's JSON library writes numbers.
pub fn plain(number: &serde_json::Number) -> String {
    let Some(float) = number.as_f64().filter(|_| number.is_f64()) else { return number.to_string() };
    let size = float.abs();
    if size == 0.0 || (1e-6..1e21).contains(&size) {
        return float.to_string();
    }
    let text = format!("{float:e}");
    match text.split_once('e') {
        Some((digits, exponent)) if !exponent.starts_with('-') => format!("{digits}e+{exponent}"),
        _ => text,
    }
}

/// The parser's message names places and kinds, but for a wrong type it quotes the value; those cannot occur here.
fn describe(error: &serde_json::Error) -> String {
    let what = match error.classify() {
        serde_json::error::Category::Eof => "it ends too early",
        _ => "it is malformed or nested too deeply",
    };
    format!("{what} (line {}, column {})", error.line(), error.column())
}

/// The numbers of a valid JSON text as they are spelled, in order.
fn spellings(text: &str) -> impl Iterator<Item = SecretBytes> {
    let mut rest = text;
    std::iter::from_fn(move || {
        loop {
            let start = rest.find(|c: char| c == '"' || c == '-' || c.is_ascii_digit())?;
            let from = rest.get(start..)?;
            if from.starts_with('"') {
                rest = from.get(end_of_string(from)..)?;
            } else {
                let end =
                    from.find(|c: char| !matches!(c, '0'..='9' | '-' | '+' | '.' | 'e' | 'E')).unwrap_or(from.len());
                let (number, after) = from.split_at(end);
                rest = after;
                return Some(SecretBytes::from(number.to_owned()));
            }
        }
    })
}

/// Index behind the closing quote of a text that starts with a JSON string.
fn end_of_string(text: &str) -> usize {
    let mut escaped = false;
    for (index, byte) in text.bytes().enumerate().skip(1) {
        match byte {
            _ if escaped => escaped = false,
            b'\\' => escaped = true,
            b'"' => return index + 1,
            _ => {}
        }
    }
    text.len()
}

/// Builds a node and notes the numbers on the way.
struct Node<'a> {
    numbers: &'a mut Vec<Rcvar>,
}

impl Node<'_> {
    fn number(self, number: serde_json::Number) -> Rcvar {
        let node = Rcvar::new(Variable::Number(number));
        self.numbers.push(node.clone());
        node
    }
}

impl<'de> DeserializeSeed<'de> for Node<'_> {
    type Value = Rcvar;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Rcvar, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Node<'_> {
    type Value = Rcvar;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_unit<E: Error>(self) -> Result<Rcvar, E> {
        Ok(Rcvar::new(Variable::Null))
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<Rcvar, E> {
        Ok(Rcvar::new(Variable::Bool(value)))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Rcvar, E> {
        Ok(self.number(value.into()))
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Rcvar, E> {
        Ok(self.number(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Rcvar, E> {
        let number = serde_json::Number::from_f64(value).ok_or_else(|| E::custom("number out of range"))?;
        Ok(self.number(number))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Rcvar, E> {
        Ok(Rcvar::new(Variable::String(text.to_owned())))
    }

    fn visit_seq<S: SeqAccess<'de>>(self, mut items: S) -> Result<Rcvar, S::Error> {
        let mut array = Vec::new();
        while let Some(item) = items.next_element_seed(Node { numbers: self.numbers })? {
            array.push(item);
        }
        Ok(Rcvar::new(Variable::Array(array)))
    }

    fn visit_map<M: MapAccess<'de>>(self, mut members: M) -> Result<Rcvar, M::Error> {
        let mut object = BTreeMap::new();
        while let Some(key) = members.next_key::<String>()? {
            object.insert(key, members.next_value_seed(Node { numbers: self.numbers })?);
        }
        Ok(Rcvar::new(Variable::Object(object)))
    }
}
