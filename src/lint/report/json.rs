//! For programs: one document, whose members are only added, never renamed.

use serde_json::{Value, json};

use super::Report;
use crate::lint::{CheckedClass, Diagnostic};
use crate::reason::is_hostile;

pub fn json(report: &Report) -> String {
    let files = report.files.iter().map(|(name, file)| {
        json!({
            "file": name,
            "classes": file.classes.iter().map(class).collect::<Vec<_>>(),
            "diagnostics": diagnostics(&file.diagnostics),
            "skipped": file.skipped,
            "leftOut": file.left_out.0.saturating_add(file.left_out.1),
        })
    });
    let whole = json!({
        "files": files.collect::<Vec<_>>(),
        "errors": report.errors(),
        "warnings": report.warnings(),
        "unreadable": report.unreadable(),
        "classes": report.classes(),
        "skipped": report.skipped(),
    });
    format!("{}\n", escaped(&format!("{whole:#}")))
}

fn class(class: &CheckedClass) -> Value {
    let outcome = class.outcome.as_ref();
    let needs = |outcome: &crate::spec::Outcome| -> Vec<_> {
        outcome.needs.iter().map(|need| json!({"action": need.action, "on": need.on})).collect()
    };
    json!({
        "name": class.name,
        "namespace": class.namespace,
        "line": class.line,
        "diagnostics": diagnostics(&class.diagnostics),
        "files": outcome.map(|outcome| &outcome.files),
        "hasMoreFiles": outcome.map(|outcome| outcome.has_more_files),
        "needs": outcome.map(needs),
    })
}

fn diagnostics(all: &[Diagnostic]) -> Vec<Value> {
    let one = |found: &Diagnostic| {
        json!({
            "rule": found.rule.as_str(),
            "severity": found.severity().as_str(),
            "message": found.message,
            "line": found.line,
            "column": found.column,
            "help": found.help,
            "docs": found.rule.docs(),
        })
    };
    all.iter().map(one).collect()
}

/// What could steer a terminal, as JSON escapes it. It stands in texts only, but for the line breaks between members.
fn escaped(document: &str) -> String {
    let mut out = String::with_capacity(document.len());
    for c in document.chars() {
        match c {
            c if c != '\n' && is_hostile(c) => {
                c.encode_utf16(&mut [0; 2]).iter().for_each(|unit| out.push_str(&format!("\\u{unit:04x}")));
            }
            c => out.push(c),
        }
    }
    out
}
