//! Regular expressions of classes, which anybody may write who may write a pod.

use std::str::FromStr;

use regex_lite::{Regex, RegexBuilder};

/// Longest expression, in bytes.
const MAX_BYTES: usize = 256;
/// Most bytes of what is compiled of it, which a few counted repetitions could make large: a search takes as many steps as the
/// product of its parts and the characters of the text.
const MAX_COMPILED_BYTES: usize = 10 * 1024;
/// Deepest nesting of groups.
const MAX_DEPTH: u32 = 20;

/// A regular expression without look-around and back-references, so that a search never takes more than its length times that
/// of the text. <https://docs.rs/regex-lite/latest/regex_lite/#syntax>
///
/// It is compiled for each search: classes are kept, and what is compiled is a hundred times its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Regexp(String);

impl Regexp {
    /// Whether it is found anywhere in a text.
    pub fn is_in(&self, text: &str) -> bool {
        self.searcher().is_in(text)
    }

    /// For many texts.
    pub fn searcher(&self) -> Searcher {
        Searcher(compiled(&self.0).ok())
    }
}

/// A [`Regexp`] that is compiled.
pub struct Searcher(Option<Regex>);

impl Searcher {
    pub fn is_in(&self, text: &str) -> bool {
        self.0.as_ref().is_some_and(|regex| regex.is_match(text))
    }

    /// The text with something else wherever the expression is found; in that, `$1` and `${name}` stand for its groups.
    pub fn replace_in(&self, text: &str, replacement: &str) -> String {
        self.0.as_ref().map_or_else(|| text.to_owned(), |regex| regex.replace_all(text, replacement).into_owned())
    }
}

fn compiled(raw: &str) -> Result<Regex, regex_lite::Error> {
    RegexBuilder::new(raw).size_limit(MAX_COMPILED_BYTES).nest_limit(MAX_DEPTH).build()
}

/// Why a text is no [`Regexp`]; reads on after its name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidRegexp {
    #[error("has {0} bytes; {MAX_BYTES} is the limit")]
    TooLong(usize),
    #[error("is no regular expression, or too large a one: {0}")]
    Syntax(String),
}

impl FromStr for Regexp {
    type Err = InvalidRegexp;

    fn from_str(raw: &str) -> Result<Self, InvalidRegexp> {
        if raw.len() > MAX_BYTES {
            return Err(InvalidRegexp::TooLong(raw.len()));
        }
        match compiled(raw) {
            Ok(_) => Ok(Self(raw.to_owned())),
            Err(error) => Err(InvalidRegexp::Syntax(error.to_string())),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a12_expressions_that_multiply_are_refused_and_those_of_every_day_are_not() {
        let nested = format!("{}a{}", "(".repeat(60), ")".repeat(60));
        for hostile in
            ["(a{100}){100}", "((a{30}){30}){30}", "a{1000000}", &"a".repeat(257), &nested, "(", "(?=a)", "(a)\\1"]
        {
            assert!(hostile.parse::<Regexp>().is_err(), "{hostile}");
        }
        for usual in [
            "^postgres://[^:@/]+:[^@]+@[a-z0-9.-]+(:[0-9]{1,5})?/[a-z_]+$",
            "^[A-Za-z0-9+/]{40}$",
            "(?i)^bearer .+",
            "^AKIA[0-9A-Z]{16}$",
            "^.{12,64}$",
            "(a+)+$",
        ] {
            assert!(usual.parse::<Regexp>().is_ok(), "{usual}");
        }
    }

    proptest! {
        #[test]
        fn no_text_makes_it_panic(raw in "([a-z0-9(){}\\[\\],.*+?|^$\\\\:=!<>-]|\\PC){0,60}", text in "[ab]{0,40}") {
            if let Ok(regexp) = raw.parse::<Regexp>() {
                let _ = regexp.is_in(&text);
            }
        }
    }
}
