//! One thing that is wrong, and where.

use super::{Rule, Severity};

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
    let shown = text.chars().take(MAX_MESSAGE).flat_map(|c| match is_hostile(c) {
        true => c.escape_unicode().collect::<Vec<_>>(),
        false => vec![c],
    });
    shown.collect()
}

/// Characters that are not for people to see: control characters, and those that change the direction or have no width.
pub fn is_hostile(c: char) -> bool {
    let is_format = matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    );
    c.is_control() || is_format
}
