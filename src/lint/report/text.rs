//! For people.

use std::fmt::Write as _;

use super::{Report, count};
use crate::lint::class::names;
use crate::lint::{CheckedClass, CheckedFile, Diagnostic, Severity, printable};
use crate::spec::Outcome;

/// Most pages that the last line names.
const MAX_PAGES: usize = 3;

/// With `is_quiet` there is nothing where nothing is wrong.
pub fn text(report: &Report, has_colour: bool, is_quiet: bool) -> String {
    let mut out = String::new();
    for (name, file) in &report.files {
        let name = printable(name);
        for found in file.all() {
            diagnostic(&mut out, &name, found, has_colour);
        }
        if let more @ 1.. = file.left_out.0.saturating_add(file.left_out.1) {
            let _ = writeln!(out, "{name}: {more} more are not shown");
        }
        if !is_quiet {
            passed(&mut out, &name, file);
        }
    }
    if !is_quiet || report.diagnostics().next().is_some() {
        let _ = writeln!(out, "{}{}", report.summary(), pages(report));
    }
    out
}

/// As compilers write it, so that editors and terminals find the place.
fn diagnostic(out: &mut String, name: &str, found: &Diagnostic, has_colour: bool) {
    let Diagnostic { rule, message, help, line, column, source, .. } = found;
    let (colour, end) = match (has_colour, found.severity()) {
        (false, _) => ("", ""),
        (true, Severity::Error) => ("\x1b[1;31m", "\x1b[0m"),
        (true, Severity::Warning) => ("\x1b[1;33m", "\x1b[0m"),
    };
    let severity = found.severity().as_str();
    if source.text.is_empty() {
        let _ = writeln!(out, "{name}: {colour}{severity}[{rule}]{end}: {message}");
        return;
    }
    let help = help.as_deref().unwrap_or_default();
    let (number, margin) = (line.to_string(), " ".repeat(line.to_string().len()));
    let (before, carets) = (" ".repeat(source.start), "^".repeat(source.length));
    let _ = writeln!(out, "{name}:{line}:{column}: {colour}{severity}[{rule}]{end}: {message}");
    let _ = writeln!(out, "   {number} | {}", source.text);
    let marked = format!("   {margin} | {before}{colour}{carets}{end} {help}");
    let _ = writeln!(out, "{}", marked.trim_end());
}

/// One line for each class that a mount would take.
fn passed(out: &mut String, name: &str, file: &CheckedFile) {
    for class in &file.classes {
        let Some(outcome) = &class.outcome else { continue };
        if class.diagnostics.iter().any(|found| found.severity() == Severity::Error) {
            continue;
        }
        let which = match file.classes.len() {
            1 => String::new(),
            _ => format!(":{}: {}", class.line, called(class)),
        };
        let _ = writeln!(out, "{name}{which}: ok · {}", summary(outcome));
    }
}

fn called(class: &CheckedClass) -> String {
    let parts = [class.namespace.as_deref(), class.name.as_deref()];
    printable(&parts.into_iter().flatten().collect::<Vec<_>>().join("/"))
}

fn summary(outcome: &Outcome) -> String {
    let more = if outcome.has_more_files { " and more that AWS names" } else { "" };
    let files = format!("{}{more}", count(outcome.files.len(), "file"));
    let mut noun = "";
    let needs = outcome.needs.iter().map(|need| {
        if need.on.iter().any(|name| name.contains('*')) {
            return format!("{} on {}", need.action, printable(&names(&need.on)));
        }
        let on = match need.noun == noun {
            true => need.on.len().to_string(),
            false => count(need.on.len(), need.noun),
        };
        noun = need.noun;
        format!("{} on {on}", need.action)
    });
    let needs: Vec<_> = needs.collect();
    format!("{} → {files} · needs {}", count(outcome.objects, "object"), needs.join(", "))
}

fn pages(report: &Report) -> String {
    let mut pages: Vec<String> = Vec::new();
    for page in report.diagnostics().map(|found| found.rule.docs()) {
        if !pages.contains(&page) && pages.len() < MAX_PAGES {
            pages.push(page);
        }
    }
    if pages.is_empty() { String::new() } else { format!("; see {}", pages.join(", ")) }
}
