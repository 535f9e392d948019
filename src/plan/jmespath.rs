//! JMESPath expressions, checked before they are parsed.
//!
//! The parser and the interpreter recurse once for each nested part, and an overflowing stack would end the process and
//! with it every mount of the node. So the text is bounded first.

use std::fmt;
use std::str::FromStr;

/// Longest expression, in bytes.
const MAX_BYTES: usize = 1024;
/// Most characters of an expression that can nest or chain another part.
const MAX_PARTS: usize = 64;

/// An expression of the [JMESPath grammar](https://jmespath.org/specification.html) that compiles.
#[derive(Clone)]
pub struct JmesPath(jmespath::Expression<'static>);

impl JmesPath {
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// What is to be evaluated. Only `render` does that, within a budget.
    pub fn ast(&self) -> &jmespath::ast::Ast {
        self.0.as_ast()
    }

    /// The one key that it names, where it is nothing but a key.
    pub fn as_key(&self) -> Option<&str> {
        let text = self.as_str().trim();
        let bare = text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')).unwrap_or(text);
        (!bare.is_empty() && bare.chars().all(|c| c.is_alphanumeric() || matches!(c, '_' | '-'))).then_some(bare)
    }
}

impl fmt::Debug for JmesPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "JmesPath({:?})", self.as_str())
    }
}

impl PartialEq for JmesPath {
    fn eq(&self, other: &Self) -> bool {
        self.as_str() == other.as_str()
    }
}

impl Eq for JmesPath {}

/// Why a text is no [`JmesPath`]; reads on after "the jmesPath … ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidJmesPath {
    #[error("is empty")]
    Empty,
    #[error("has {0} bytes; {MAX_BYTES} is the limit")]
    TooLong(usize),
    #[error("has {0} nested or chained parts; {MAX_PARTS} is the limit")]
    TooDeep(usize),
    #[error("does not parse at character {column}: {message}{hint}")]
    Syntax { column: usize, message: String, hint: &'static str },
}

impl FromStr for JmesPath {
    type Err = InvalidJmesPath;

    fn from_str(raw: &str) -> Result<Self, InvalidJmesPath> {
        if raw.trim().is_empty() {
            return Err(InvalidJmesPath::Empty);
        }
        if raw.len() > MAX_BYTES {
            return Err(InvalidJmesPath::TooLong(raw.len()));
        }
        let parts = raw.bytes().filter(|byte| b".([{!&|".contains(byte)).count();
        if parts > MAX_PARTS {
            return Err(InvalidJmesPath::TooDeep(parts));
        }
        jmespath::compile(raw).map(Self).map_err(|error| InvalidJmesPath::Syntax {
            column: error.column + 1,
            message: match error.reason {
                jmespath::ErrorReason::Parse(message) => message,
                jmespath::ErrorReason::Runtime(error) => error.to_string(),
            },
            hint: match raw.contains('-') && !raw.contains('"') {
                true => ". A key with a dash needs double quotes inside the expression",
                false => "",
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a10_deep_expressions_are_refused_before_they_are_parsed() {
        let chain = format!("a{}", ".a".repeat(400));
        for hostile in ["(".repeat(500), "!".repeat(500), "[".repeat(500), chain, "a".repeat(2000)] {
            assert!(
                matches!(hostile.parse::<JmesPath>(), Err(InvalidJmesPath::TooDeep(_) | InvalidJmesPath::TooLong(_))),
                "{hostile}"
            );
        }
    }

    #[test]
    fn only_plain_keys_are_keys() {
        let key = |raw: &str| raw.parse::<JmesPath>().expect(raw).as_key().map(str::to_owned);
        assert_eq!(key("user").as_deref(), Some("user"));
        assert_eq!(key("\"user-name\"").as_deref(), Some("user-name"));
        assert_eq!(key("a.b"), None);
        assert_eq!(key("length(@)"), None);
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(raw in "([a-z.()!&|*@`'\"\\[\\]{}:,<=>0-9 -]|\\PC){0,80}") {
            let _ = raw.parse::<JmesPath>();
        }
    }
}
