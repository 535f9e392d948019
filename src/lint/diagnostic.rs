//! One thing that is wrong, and where.

use super::{Rule, Severity};
use crate::reason::visible;

/// Longest message, in characters.
const MAX_MESSAGE: usize = 700;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    pub rule: Rule,
    pub message: String,
    /// What to do, where the message does not say so.
    pub help: Option<String>,
    /// From 1, in characters.
    pub line: usize,
    pub column: usize,
    /// How many characters of the line are meant.
    pub length: usize,
    /// The line itself, printable.
    pub source: SourceLine,
}

/// A line as it can be shown, perhaps cut at both ends, and the part of it that is meant.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SourceLine {
    pub text: String,
    /// In characters of `text`.
    pub start: usize,
    pub length: usize,
}

impl Diagnostic {
    pub fn severity(&self) -> Severity {
        self.rule.severity()
    }
}

/// One line without what could end it, colour a terminal or turn the reading direction.
pub fn printable(text: &str) -> String {
    visible(&text.chars().take(MAX_MESSAGE).collect::<String>())
}
