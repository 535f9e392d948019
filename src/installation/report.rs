//! What was found, for people and for programs.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::cluster::ClusterError;
use crate::lint::printable;

/// What was found, in the order in which it was looked for.
#[derive(Debug, Default)]
pub struct Report {
    pub categories: Vec<Category>,
}

#[derive(Debug)]
pub struct Category {
    pub name: &'static str,
    pub checks: Vec<Check>,
}

/// One thing that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Check {
    pub description: String,
    pub outcome: Outcome,
    /// The command or the line of a manifest that mends it.
    pub hint: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    Success,
    Warning,
    Error,
    /// Whoever asks may not know, or nobody says it.
    Unknown,
    /// The API server gave no answer.
    Unreachable,
}

impl Check {
    pub fn success(description: impl Into<String>) -> Self {
        Self { description: description.into(), outcome: Outcome::Success, hint: None }
    }

    pub fn warning(description: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { description: description.into(), outcome: Outcome::Warning, hint: Some(hint.into()) }
    }

    pub fn error(description: impl Into<String>, hint: impl Into<String>) -> Self {
        Self { description: description.into(), outcome: Outcome::Error, hint: Some(hint.into()) }
    }

    /// `about` reads on after "could not find out".
    pub fn unknown(about: &str, why: &str, hint: impl Into<String>) -> Self {
        let description = format!("could not find out {about}: {why}");
        Self { description, outcome: Outcome::Unknown, hint: Some(hint.into()) }
    }

    /// The same, because of what the API server said.
    pub fn unanswered(about: &str, error: &ClusterError) -> Self {
        match error {
            ClusterError::Forbidden { what } => Self::unknown(
                about,
                &format!("the right to {what} is missing"),
                format!("in a ClusterRole of whoever runs this check: {}", rule(what)),
            ),
            ClusterError::NotFound { what } => Self::unknown(
                about,
                &format!("the API server does not know it ({what})"),
                "is this a Kubernetes that is still supported?",
            ),
            ClusterError::Exists { .. } | ClusterError::Refused { .. } => {
                Self::unknown(about, &error.to_string(), "what does its log say?")
            }
            ClusterError::Failing { .. } | ClusterError::Unavailable { .. } | ClusterError::NoKeySet { .. } => Self {
                description: format!("could not find out {about}: {error}"),
                outcome: Outcome::Unreachable,
                hint: None,
            },
        }
    }
}

/// The rule that gives a right, such as `list csinodes` or `get /openid/v1/jwks`.
fn rule(what: &str) -> String {
    let (verb, on) = what.split_once(' ').unwrap_or((what, ""));
    let group = match on {
        "csidrivers" | "csinodes" => "storage.k8s.io",
        "daemonsets" => "apps",
        "subjectaccessreviews" => "authorization.k8s.io",
        _ => "",
    };
    match on.starts_with('/') {
        true => format!("{{nonResourceURLs: [{on}], verbs: [{verb}]}}"),
        false => format!("{{apiGroups: [\"{group}\"], resources: [{on}], verbs: [{verb}]}}"),
    }
}

impl Outcome {
    const fn symbol(self) -> char {
        match self {
            Self::Success => '√',
            Self::Warning | Self::Unknown => '‼',
            Self::Error | Self::Unreachable => '×',
        }
    }

    const fn word(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Warning => "warning",
            Self::Error => "error",
            Self::Unknown | Self::Unreachable => "unknown",
        }
    }

    const fn colour(self) -> &'static str {
        match self {
            Self::Success => "\x1b[32m",
            Self::Warning | Self::Unknown => "\x1b[1;33m",
            Self::Error | Self::Unreachable => "\x1b[1;31m",
        }
    }
}

impl Report {
    pub fn checks(&self) -> impl Iterator<Item = &Check> {
        self.categories.iter().flat_map(|category| &category.checks)
    }

    pub fn count(&self, outcome: Outcome) -> usize {
        self.checks().filter(|check| check.outcome == outcome).count()
    }

    /// Whether nothing is wrong, as far as anybody could find out.
    pub fn is_success(&self) -> bool {
        self.count(Outcome::Error) == 0 && self.count(Outcome::Unreachable) == 0
    }

    /// For people. With `is_quiet` there is nothing where nothing is wrong.
    pub fn text(&self, has_colour: bool, is_quiet: bool) -> String {
        let mut out = String::new();
        for category in &self.categories {
            let is_shown = |check: &&Check| !is_quiet || check.outcome != Outcome::Success;
            let checks: Vec<&Check> = category.checks.iter().filter(is_shown).collect();
            if !checks.is_empty() {
                let _ = writeln!(out, "{}", category.name);
            }
            for check in checks {
                let (colour, end) = if has_colour { (check.outcome.colour(), "\x1b[0m") } else { ("", "") };
                let _ = writeln!(out, "{colour}{}{end} {}", check.outcome.symbol(), printable(&check.description));
                for line in check.hint.iter().flat_map(|hint| hint.lines()) {
                    let _ = writeln!(out, "    {}", printable(line));
                }
            }
        }
        if !is_quiet || !out.is_empty() {
            let _ = writeln!(out, "{}", self.summary());
        }
        out
    }

    fn summary(&self) -> String {
        let unknown = self.count(Outcome::Unknown) + self.count(Outcome::Unreachable);
        let plural = |number: usize, noun: &str| format!("{number} {noun}{}", if number == 1 { "" } else { "s" });
        let mut parts =
            vec![plural(self.count(Outcome::Error), "error"), plural(self.count(Outcome::Warning), "warning")];
        if unknown > 0 {
            parts.push(format!("{unknown} could not be found out"));
        }
        format!("{} in {}", parts.join(", "), plural(self.checks().count(), "check"))
    }

    /// For programs: one document, whose members are only added, never renamed.
    pub fn json(&self) -> String {
        let check = |check: &Check| json!({"description": check.description, "result": check.outcome.word(), "hint": check.hint});
        let category = |category: &Category| -> Value {
            json!({"name": category.name, "checks": category.checks.iter().map(check).collect::<Vec<_>>()})
        };
        let whole = json!({
            "apiVersion": "secretmount.dev/cli/v1",
            "success": self.is_success(),
            "categories": self.categories.iter().map(category).collect::<Vec<_>>(),
        });
        format!("{whole:#}\n")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_right_that_is_missing_is_told_with_its_rule() {
        for (what, rule) in [
            ("list csinodes", "{apiGroups: [\"storage.k8s.io\"], resources: [csinodes], verbs: [list]}"),
            ("list pods", "{apiGroups: [\"\"], resources: [pods], verbs: [list]}"),
            ("get /openid/v1/jwks", "{nonResourceURLs: [/openid/v1/jwks], verbs: [get]}"),
        ] {
            let check = Check::unanswered("it", &ClusterError::Forbidden { what: what.into() });
            assert_eq!(check.outcome, Outcome::Unknown);
            assert_eq!(check.description, format!("could not find out it: the right to {what} is missing"));
            assert!(check.hint.expect("a hint").ends_with(rule));
        }
    }

    #[test]
    fn no_name_in_a_cluster_speaks_for_itself() {
        let check = Check::error("daemonset \u{1b}[31mx\u{202e}", "a\u{7}\nb");
        let report = Report { categories: vec![Category { name: "driver", checks: vec![check] }] };
        let text = report.text(false, false);
        assert!(!text.contains(['\u{1b}', '\u{7}', '\u{202e}']), "{text}");
        assert_eq!(text.lines().count(), 5, "{text}");
    }
}
