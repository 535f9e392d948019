//! The text of one file, and where in it things are.

use std::ops::Range;

use super::diagnostic::SourceLine;
use super::{Diagnostic, Rule, printable};
use crate::reason::is_hostile;

/// Most characters of a line that are shown, and how many of them before the part that is meant.
const MAX_SHOWN: usize = 100;
const MAX_BEFORE: usize = 60;

/// Text with the beginnings of its lines.
pub struct Source<'a> {
    pub text: &'a str,
    starts: Vec<usize>,
}

impl<'a> Source<'a> {
    pub fn new(text: &'a str) -> Self {
        let after_breaks = text.match_indices('\n').map(|(at, _)| at.saturating_add(1));
        // A byte order mark is no part of the first line.
        let first = text.len().saturating_sub(text.trim_start_matches('\u{feff}').len());
        Self { text, starts: std::iter::once(first).chain(after_breaks).collect() }
    }

    /// The line of a byte, from 1.
    pub fn line(&self, at: usize) -> usize {
        self.starts.partition_point(|beginning| *beginning <= at).max(1)
    }

    /// What is wrong with a range of bytes. What is meant ends with its first line.
    pub fn diagnostic(&self, rule: Rule, range: &Range<usize>, message: &str, help: Option<String>) -> Diagnostic {
        // What stands behind the last line, as the end of a document does, is shown at the end of that.
        let end = self.text.trim_end().len();
        let start = floor(self.text, range.start.min(end));
        let line = self.line(start);
        let beginning = self.starts.get(line.saturating_sub(1)).copied().unwrap_or_default();
        let rest = self.text.get(beginning..).unwrap_or_default();
        let whole = rest.split(['\n', '\r']).next().unwrap_or_default();
        let before = self.text.get(beginning..start).unwrap_or_default().chars().count();
        let meant = self.text.get(start..floor(self.text, range.end)).unwrap_or_default();
        let length = meant.split(['\n', '\r']).next().unwrap_or_default().trim_end().chars().count().max(1);
        Diagnostic {
            rule,
            message: printable(message),
            help: help.as_deref().map(printable),
            line,
            column: before.saturating_add(1),
            length,
            source: shown(whole, before, length),
        }
    }
}

/// The beginning of the character that a byte belongs to.
pub fn floor(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|at| text.is_char_boundary(*at)).unwrap_or_default()
}

/// The part of a line around what is meant.
fn shown(line: &str, start: usize, length: usize) -> SourceLine {
    let skipped = start.saturating_sub(MAX_BEFORE);
    let mut shown = SourceLine::default();
    if skipped > 0 {
        shown.text.push('…');
    }
    let mut width = shown.text.chars().count();
    for (c, at) in line.chars().zip(0_usize..).skip(skipped) {
        if width >= MAX_SHOWN {
            shown.text.push('…');
            break;
        }
        if at == start {
            shown.start = width;
        }
        let written: String = match c {
            '\t' => " ".into(),
            c if is_hostile(c) => c.escape_unicode().collect(),
            c => c.into(),
        };
        width = width.saturating_add(written.chars().count());
        shown.text.push_str(&written);
        if (start..start.saturating_add(length)).contains(&at) {
            shown.length = width.saturating_sub(shown.start);
        }
    }
    if shown.length == 0 {
        (shown.start, shown.length) = (width, 1); // right behind the end of the line
    }
    shown
}
