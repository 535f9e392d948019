//! What expressions of markup have for values.

use std::rc::Rc;

use jmespath::{Rcvar, Variable};

use super::{Filler, Problem};
use crate::render::json::Document;
use crate::sensitive::SecretBytes;

#[derive(Clone)]
pub enum Value<'a> {
    Text(Text<'a>),
    Number(u32),
    Bool(bool),
    List(Rc<Vec<Value<'a>>>),
    /// A number, a list or an object of a document; never a text, `true`, `false` or null.
    Json(Rc<Document>, Rcvar),
    /// All files, by their paths.
    Files,
    /// How far a `for` is.
    Loop {
        index: usize,
        count: usize,
    },
}

/// By where it comes from.
#[derive(Clone)]
pub enum Text<'a> {
    /// The class: the one kind that errors show.
    Written(&'a str),
    /// A file, or its path.
    Of(&'a [u8]),
    Made(Rc<SecretBytes>),
}

impl Text<'_> {
    pub fn bytes(&self) -> &[u8] {
        match self {
            Self::Written(text) => text.as_bytes(),
            Self::Of(bytes) => bytes,
            Self::Made(bytes) => bytes.expose(),
        }
    }

    /// As a name that errors show.
    pub fn shown(&self) -> Option<&str> {
        match self {
            Self::Written(text) => Some(text),
            Self::Of(_) | Self::Made(_) => None,
        }
    }

    pub fn as_str(&self) -> Result<&str, Problem> {
        std::str::from_utf8(self.bytes()).map_err(|_| Problem::NoText)
    }
}

impl Value<'_> {
    /// What is empty, 0 or `false` is not; every other text is, also "false".
    pub fn is_truthy(&self) -> bool {
        match self {
            Self::Text(text) => !text.bytes().is_empty(),
            Self::Number(number) => *number != 0,
            Self::Bool(value) => *value,
            Self::List(items) => !items.is_empty(),
            Self::Json(_, node) => match &**node {
                Variable::Number(number) => number.as_f64() != Some(0.0),
                Variable::Array(items) => !items.is_empty(),
                Variable::Object(members) => !members.is_empty(),
                Variable::Null | Variable::Bool(_) | Variable::String(_) | Variable::Expref(_) => false,
            },
            Self::Files | Self::Loop { .. } => true,
        }
    }

    fn number(&self) -> Option<f64> {
        match self {
            Self::Number(number) => Some(f64::from(*number)),
            Self::Json(_, node) => node.as_number(),
            _ => None,
        }
    }
}

impl<'a> Filler<'a, '_> {
    /// A node of a document.
    pub fn json(&mut self, document: &Rc<Document>, node: &Rcvar) -> Result<Value<'a>, Problem> {
        self.pay(4, 0)?;
        match &**node {
            Variable::String(text) => {
                self.pay(0, text.len())?;
                Ok(Value::Text(Text::Made(Rc::new(SecretBytes::from(text.clone())))))
            }
            Variable::Bool(value) => Ok(Value::Bool(*value)),
            _ => Ok(Value::Json(document.clone(), node.clone())),
        }
    }

    /// A value as it is written: numbers of documents as they are spelled there, lists and objects as JSON.
    pub fn text(&mut self, value: &Value<'a>) -> Result<Text<'a>, Problem> {
        match value {
            Value::Text(text) => Ok(text.clone()),
            Value::Number(number) => Ok(Text::Made(Rc::new(number.to_string().into()))),
            Value::Bool(value) => Ok(Text::Written(if *value { "true" } else { "false" })),
            Value::Json(document, node) => {
                let limit = self.budget.bytes_of_markup().min(self.limit);
                let text = document.text_of(node, limit).ok_or(Problem::TooExpensive)?;
                self.pay(1, text.len())?;
                Ok(Text::Made(Rc::new(text)))
            }
            Value::List(_) => Err(Problem::WrongKind("a list is no text; `join` or `toJson` makes one of it")),
            Value::Files => {
                Err(Problem::WrongKind("`files` is no text; write `files[\"…\"]`, or `for path, text in files`"))
            }
            Value::Loop { .. } => Err(Problem::WrongKind("`loop` has index, first and last")),
        }
    }

    pub fn is_equal(&mut self, left: &Value<'a>, right: &Value<'a>) -> Result<bool, Problem> {
        match (left, right) {
            (Value::Text(left), Value::Text(right)) => {
                self.pay(0, left.bytes().len().min(right.bytes().len()))?;
                Ok(left.bytes() == right.bytes())
            }
            (Value::Bool(left), Value::Bool(right)) => Ok(left == right),
            (Value::Text(_) | Value::Bool(_), _) | (_, Value::Text(_) | Value::Bool(_)) => Ok(false),
            _ => match (left.number(), right.number()) {
                (Some(left), Some(right)) => Ok(left == right),
                _ => Err(Problem::WrongKind("lists and objects are not compared; compare what is in them")),
            },
        }
    }

    /// A part of a text, an item of a list, a key of an object, or a file.
    pub fn is_in(&mut self, item: &Value<'a>, of: &Value<'a>) -> Result<bool, Problem> {
        match (item, of) {
            (Value::Text(part), Value::Text(whole)) => {
                let (part, whole) = (part.as_str()?, whole.as_str()?);
                self.pay(0, part.len().saturating_add(whole.len()))?;
                Ok(whole.contains(part))
            }
            (Value::Text(name), Value::Files) => Ok(self.find(name.as_str()?).is_some()),
            (Value::Text(key), Value::Json(_, node)) if node.is_object() => {
                let key = key.as_str()?;
                Ok(node.as_object().and_then(|members| members.get(key)).is_some_and(|member| !member.is_null()))
            }
            (item, Value::List(items)) => {
                for other in items.iter() {
                    self.pay(1, 0)?;
                    if self.is_equal(item, other)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            (item, Value::Json(document, node)) if node.is_array() => {
                for other in node.as_array().into_iter().flatten() {
                    let other = self.json(document, other)?;
                    if self.is_equal(item, &other)? {
                        return Ok(true);
                    }
                }
                Ok(false)
            }
            _ => Err(Problem::WrongKind("`in` looks into texts, lists, keys and files")),
        }
    }
}
