//! Text with values in it, in a small part of the language of [Jinja](https://jinja.palletsprojects.com/en/stable/templates/).
//!
//! A language of our own, because a library has none that fits. minijinja would make the binary 750 kB larger; its fuel bounds
//! steps and not memory, which `*`, `~` and filters multiply; it leaves copies of values behind, and shows them in errors.
//! Here is nothing that could be left out of a bound: no macros, no includes, no ranges, no arithmetic, and no values but the
//! files of the class. What evaluates it pays for each step and each byte (`render`).
//!
//! Delimiters have brackets, so that Helm and kustomize leave them alone.

mod parser;

use std::str::FromStr;

use parser::Parser;

/// Longest text, in bytes. Reading takes time in proportion to it.
const MAX_BYTES: usize = 16 * 1024;
/// Most parts of one expression, and deepest nesting of expressions and of statements: reading and evaluating recurse.
const MAX_PARTS: usize = 100;
const MAX_DEPTH: usize = 24;

/// A text that parses.
///
/// It is parsed again for each use: classes are kept, and what is parsed is many times its text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Markup(String);

impl Markup {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    pub fn parts(&self) -> Vec<Part> {
        Parser::new(&self.0).whole().unwrap_or_default() // it has been parsed before
    }
}

/// Why a text is no [`Markup`]; reads on after "content … ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMarkup {
    #[error("has {0} bytes; {MAX_BYTES} is the limit")]
    TooLong(usize),
    #[error("does not parse at line {line}: {problem}")]
    Syntax { line: usize, problem: String },
}

impl FromStr for Markup {
    type Err = InvalidMarkup;

    fn from_str(raw: &str) -> Result<Self, InvalidMarkup> {
        if raw.len() > MAX_BYTES {
            return Err(InvalidMarkup::TooLong(raw.len()));
        }
        Parser::new(raw).whole().map(|_| Self(raw.to_owned()))
    }
}

/// What a text is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Part {
    Text(String),
    Value(Expression),
    /// The first arm whose condition holds.
    If {
        arms: Vec<(Expression, Vec<Part>)>,
        otherwise: Vec<Part>,
    },
    For {
        /// One, or two for names with their values.
        names: Vec<String>,
        over: Expression,
        body: Vec<Part>,
        otherwise: Vec<Part>,
    },
    Set {
        name: String,
        value: Expression,
    },
}

/// With the line where it begins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expression {
    pub line: usize,
    pub kind: Kind,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    Text(String),
    Number(u32),
    Bool(bool),
    /// A variable, or a file whose path is a name.
    Name(String),
    Files,
    Member(Box<Expression>, Box<Expression>),
    Call(Helper, Vec<Expression>),
    Not(Box<Expression>),
    And(Box<Expression>, Box<Expression>),
    Or(Box<Expression>, Box<Expression>),
    Equal(Box<Expression>, Box<Expression>),
    In(Box<Expression>, Box<Expression>),
    Joined(Box<Expression>, Box<Expression>),
    IsDefined(Box<Expression>),
    Choice {
        condition: Box<Expression>,
        then: Box<Expression>,
        otherwise: Option<Box<Expression>>,
    },
}

macro_rules! helpers {
    ($($name:literal $variant:ident $least:literal $most:literal)+) => {
        /// What can be done with values. None has an effect, or sees anything but its arguments.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub enum Helper { $($variant,)+ }

        impl Helper {
            pub const ALL: &'static [Helper] = &[$(Helper::$variant,)+];

            /// As templates call it.
            pub fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)+ }
            }

            /// How many arguments it takes, what stands before `|` included.
            fn takes(self) -> std::ops::RangeInclusive<usize> {
                match self { $(Self::$variant => $least..=$most,)+ }
            }
        }
    };
}

helpers! {
    "b64decode" Base64Decode 1 1
    "b64encode" Base64Encode 1 1
    "default" Default 2 2
    "indent" Indent 2 2
    "join" Join 1 2
    "json" Json 1 1
    "lower" Lower 1 1
    "pemBundle" PemBundle 1 1
    "pemCertificate" PemCertificate 1 1
    "pemChain" PemChain 1 1
    "pemFullChain" PemFullChain 1 1
    "pemKey" PemKey 1 1
    "quote" Quote 1 1
    "replace" Replace 3 3
    "split" Split 2 2
    "toJson" ToJson 1 1
    "trim" Trim 1 1
    "upper" Upper 1 1
    "urlEncode" UrlEncode 1 1
}

#[cfg(test)]
mod tests;
