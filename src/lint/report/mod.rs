//! What was found, for people, for programs and for GitHub.

mod github;
mod json;
mod text;

pub use github::github;
pub use json::json;
pub use text::text;

use super::{CheckedFile, Diagnostic, Rule, Severity};

/// Everything that was looked at, by the name of its file.
#[derive(Debug, Default)]
pub struct Report {
    pub files: Vec<(String, CheckedFile)>,
}

impl Report {
    pub fn diagnostics(&self) -> impl Iterator<Item = &Diagnostic> {
        self.files.iter().flat_map(|(_, file)| file.all())
    }

    /// Errors in what was read.
    pub fn errors(&self) -> usize {
        let errors = self.diagnostics().filter(|found| found.severity() == Severity::Error);
        let left_out: usize = self.files.iter().map(|(_, file)| file.left_out.0).sum();
        errors.filter(|found| found.rule != Rule::Unreadable).count().saturating_add(left_out)
    }

    pub fn warnings(&self) -> usize {
        let left_out: usize = self.files.iter().map(|(_, file)| file.left_out.1).sum();
        let warnings = self.diagnostics().filter(|found| found.severity() == Severity::Warning);
        warnings.count().saturating_add(left_out)
    }

    pub fn unreadable(&self) -> usize {
        self.diagnostics().filter(|found| found.rule == Rule::Unreadable).count()
    }

    pub fn classes(&self) -> usize {
        self.files.iter().map(|(_, file)| file.classes.len()).sum()
    }

    pub fn skipped(&self) -> usize {
        self.files.iter().map(|(_, file)| file.skipped).sum()
    }

    /// Numbers and nothing else, so that no name in it can mean anything to whoever reads a log.
    fn summary(&self) -> String {
        let mut parts = Vec::new();
        if self.errors() > 0 || self.warnings() == 0 {
            parts.push(count(self.errors(), "error"));
        }
        if self.warnings() > 0 {
            parts.push(count(self.warnings(), "warning"));
        }
        let mut summary = format!("{} in {}", parts.join(", "), count(self.classes(), "class"));
        if self.skipped() > 0 {
            summary = format!("{summary}; {} skipped", count(self.skipped(), "other document"));
        }
        match self.unreadable() {
            0 => summary,
            files => format!("{summary}; {} could not be read", count(files, "file")),
        }
    }
}

fn count(number: usize, noun: &str) -> String {
    let ending = match noun {
        _ if number == 1 => "",
        noun if noun.ends_with('s') => "es",
        _ => "s",
    };
    format!("{number} {noun}{ending}")
}
