//! Annotations of a workflow run of GitHub:
//! <https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands#setting-an-error-message>

use std::fmt::Write as _;

use super::Report;
use crate::lint::printable;

pub fn github(report: &Report) -> String {
    let mut out = String::new();
    for (name, file) in &report.files {
        for found in file.all() {
            let (severity, rule) = (found.severity().as_str(), found.rule);
            let (file, line, column) = (property(&printable(name)), found.line, found.column);
            let end = found.column.saturating_add(found.length);
            let help = found.help.as_ref().map(|help| format!("\n{help}")).unwrap_or_default();
            let message = data(&format!("{}{help}", found.message));
            let _ = writeln!(
                out,
                "::{severity} file={file},line={line},col={column},endColumn={end},title={rule}::{message}"
            );
        }
    }
    let _ = writeln!(out, "{}", report.summary());
    out
}

/// As `escapeData` of <https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts> does it.
fn data(text: &str) -> String {
    text.replace('%', "%25").replace('\r', "%0D").replace('\n', "%0A")
}

fn property(text: &str) -> String {
    data(text).replace(':', "%3A").replace(',', "%2C")
}
