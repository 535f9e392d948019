//! The documents of a manifest, and which of them are classes.

use std::ops::Range;

use super::class::{self, Found};
use super::source::Source;
use super::tree::{self, Node, Value};
use super::{Diagnostic, Rule, Severity};
use crate::spec::{Grammar, Outcome};

const GROUP: &str = "secrets-store.csi.x-k8s.io/";
const KIND: &str = "SecretProviderClass";
/// How deep lists may stand in lists.
const MAX_LISTS: usize = 3;
/// Most that is shown of one file: nobody reads more.
const MAX_DIAGNOSTICS: usize = 200;

/// What was found in one file.
#[derive(Debug, Default)]
pub struct CheckedFile {
    /// What belongs to no class.
    pub diagnostics: Vec<Diagnostic>,
    pub classes: Vec<CheckedClass>,
    /// Documents and items that are something else, or classes of another provider.
    pub skipped: usize,
    /// How many errors and warnings were found and are not in here.
    pub left_out: (usize, usize),
    /// How many are.
    shown: usize,
}

#[derive(Debug)]
pub struct CheckedClass {
    pub name: Option<String>,
    pub namespace: Option<String>,
    pub line: usize,
    pub diagnostics: Vec<Diagnostic>,
    /// Where a mount would get as far as asking for secrets.
    pub outcome: Option<Outcome>,
}

impl CheckedFile {
    /// A file that could not be read.
    pub fn unreadable(why: &str) -> Self {
        let diagnostic = Source::new("").diagnostic(Rule::Unreadable, &(0..0), why, None);
        Self { diagnostics: vec![diagnostic], shown: 1, ..Self::default() }
    }

    /// As long as there is room for more.
    fn show(&mut self, source: &Source<'_>, found: Vec<Found>) -> Vec<Diagnostic> {
        let room = MAX_DIAGNOSTICS.saturating_sub(self.shown);
        self.shown = self.shown.saturating_add(found.len().min(room));
        for (rule, ..) in found.iter().skip(room) {
            let (errors, warnings) = &mut self.left_out;
            let left_out = if rule.severity() == Severity::Error { errors } else { warnings };
            *left_out = left_out.saturating_add(1);
        }
        let shown = found.into_iter().take(room);
        shown.map(|(rule, range, message, help)| source.diagnostic(rule, &range, &message, help)).collect()
    }

    pub fn all(&self) -> impl Iterator<Item = &Diagnostic> {
        self.diagnostics.iter().chain(self.classes.iter().flat_map(|class| &class.diagnostics))
    }
}

/// Checks every class of the grammar's provider in a manifest.
pub fn check(text: &str, grammar: &Grammar) -> CheckedFile {
    let source = Source::new(text);
    let mut file = CheckedFile::default();
    for (start, end) in documents(text) {
        let document = text.get(start..end).unwrap_or_default();
        match tree::read_at(document, start) {
            Ok(None) => {}
            Ok(Some(root)) => object(&source, &root, grammar, 0, &mut file),
            Err(broken) => {
                let is_template = document.contains("{{").then(|| {
                    "if it is a template of Helm, check what comes of it: helm template . | secretmount check -".into()
                });
                let range = broken.at..broken.at.saturating_add(1);
                let message = format!("this is not YAML: {}", broken.message);
                let shown = file.show(&source, vec![(Rule::InvalidYaml, range, message, is_template)]);
                file.diagnostics.extend(shown);
            }
        }
    }
    file
}

/// Ranges of bytes. Each document is read alone, so that one that is broken hides no other.
fn documents(text: &str) -> Vec<(usize, usize)> {
    let mut documents = Vec::new();
    let (mut start, mut at) = (text.len().saturating_sub(text.trim_start_matches('\u{feff}').len()), 0_usize);
    for line in text.split_inclusive('\n') {
        let is_marker = |marker| {
            line.strip_prefix(marker).is_some_and(|rest| rest.trim_start().len() != rest.len() || rest.is_empty())
        };
        if is_marker("---") && at > start {
            documents.push((start, at));
            start = at;
        }
        at = at.saturating_add(line.len());
        if is_marker("...") {
            documents.push((start, at));
            start = at;
        }
    }
    documents.push((start, text.len()));
    documents.retain(|(start, end)| {
        let lines = text.get(*start..*end).unwrap_or_default().lines().map(str::trim_end);
        lines
            .into_iter()
            .any(|line| !line.is_empty() && !line.starts_with(['%', '#']) && line != "---" && line != "...")
    });
    documents
}

fn object(source: &Source<'_>, node: &Node, grammar: &Grammar, lists: usize, file: &mut CheckedFile) {
    let kind = node.get("kind").and_then(Node::text).unwrap_or_default();
    let version = node.get("apiVersion").and_then(Node::text);
    let is_list = (kind == "List" && version == Some("v1")) || kind == "SecretProviderClassList";
    if is_list && lists < MAX_LISTS {
        for item in node.get("items").map(Node::items).unwrap_or_default() {
            object(source, item, grammar, lists.saturating_add(1), file);
        }
        return;
    }
    if kind != KIND || version.is_some_and(|version| !version.starts_with(GROUP)) {
        file.skipped = file.skipped.saturating_add(1);
        return;
    }
    let name_range = node.entry("kind").map_or(&node.range, |(key, _)| &key.range);
    let of_metadata = |name| node.get("metadata")?.get(name)?.text().map(str::to_owned);
    let mut found: Vec<Found> = Vec::new();
    let mut wrong = |range: &Range<usize>, message: &str, help| {
        found.push((Rule::InvalidManifest, range.clone(), message.to_owned(), help));
    };
    if version.is_none() {
        wrong(name_range, "the class has no `apiVersion`; write `apiVersion: secrets-store.csi.x-k8s.io/v1`", None);
    }
    let spec = node.get("spec").filter(|spec| matches!(spec.value, Value::Map(_)));
    let provider = spec.and_then(|spec| spec.get("provider"));
    let of_us = grammar.provider;
    match (spec, provider.map(|provider| (provider, provider.text().unwrap_or_default()))) {
        (None, _) => wrong(name_range, "the class has no `spec`, or one that is no map", None),
        (Some(spec), None) => {
            let message = format!("`spec` has no `provider`; write `provider: {of_us}`");
            wrong(spec.entries().first().map_or(&spec.range, |(key, _)| &key.range), &message, None);
        }
        (Some(_), Some((provider, name))) if name != of_us && name.trim().eq_ignore_ascii_case(of_us) => {
            let help = Some(format!("write `provider: {of_us}`"));
            wrong(&provider.range, "the driver knows providers by name in small letters", help);
        }
        (Some(_), Some((_, name))) if name != of_us => {
            file.skipped = file.skipped.saturating_add(1);
            return;
        }
        (Some(_), Some(_)) => {}
    }
    let checked = spec.map(|spec| class::check(source, spec, grammar));
    let (of_spec, outcome) = checked.map(|checked| (checked.found, checked.outcome)).unwrap_or_default();
    found.extend(of_spec);
    let diagnostics = file.show(source, found);
    let (name, namespace, line) = (of_metadata("name"), of_metadata("namespace"), source.line(name_range.start));
    file.classes.push(CheckedClass { name, namespace, line, diagnostics, outcome });
}
