//! One class: what the API server, the driver and a mount would say of it.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::ops::Range;

use super::Rule;
use super::inner::Inner;
use super::keys::{self, Comparison, Finding};
use super::source::Source;
use super::tree::{Node, Value};
use crate::reason::{Explained as _, Reason};
use crate::spec::keys::{Key, Kind};
use crate::spec::{Examination, Grammar, Outcome, Parameters, Place, SameFile, SpecError, yaml};

/// Most keys of one entry that are looked through for the one that an error is about.
const MAX_KEYS: usize = 2_000;
/// Most names of files in a help.
const MAX_NAMES: usize = 10;
/// Fields of a SecretProviderClass in the driver's CRD:
/// <https://github.com/kubernetes-sigs/secrets-store-csi-driver/blob/v1.6.0/apis/v1/secretproviderclass_types.go>
const OF_SPEC: &[Key] = &[
    Key::new("provider", Kind::Text, "Name of the provider.").required(),
    Key::new("parameters", Kind::TextMap, "What the provider is told."),
    Key::new("secretObjects", Kind::List(SECRET_OBJECT), "Kubernetes Secrets that the driver makes of mounted files."),
];
const SECRET_OBJECT: &[Key] = &[
    Key::new("secretName", Kind::Text, "Name of the Secret."),
    Key::new("type", Kind::Text, "Type of the Secret."),
    Key::new("labels", Kind::TextMap, "Labels of the Secret."),
    Key::new("annotations", Kind::TextMap, "Annotations of the Secret."),
    Key::new("data", Kind::List(SECRET_OBJECT_DATA), "Its keys, and the files that they are made of."),
];
const SECRET_OBJECT_DATA: &[Key] =
    &[Key::new("objectName", Kind::Text, "Path of a mounted file."), Key::new("key", Kind::Text, "Key of the Secret.")];

/// Something wrong, not shown yet.
pub type Found = (Rule, Range<usize>, String, Option<String>);

/// What came out of a class.
pub struct Checked {
    /// In the order of the file.
    pub found: Vec<Found>,
    pub outcome: Option<Outcome>,
}

/// `spec` is what stands under that key of the manifest.
pub fn check(source: &Source<'_>, spec: &Node, grammar: &Grammar) -> Checked {
    let mut class = Class { source, grammar, inner: BTreeMap::new(), found: Vec::new(), broken: HashSet::new() };
    class.fields(spec, OF_SPEC, "spec");
    let Some((key, written)) = spec.entry("parameters") else {
        let message = "`spec` has no `parameters`; list under them what to mount, in `objects`";
        class.add(Rule::InvalidManifest, &spec.range, message, None);
        return class.finish(None);
    };
    if !matches!(written.value, Value::Map(_)) {
        class.add(Rule::InvalidManifest, &key.range, "`parameters` is no map", None);
        return class.finish(None);
    }
    let parameters = class.parameters(written);
    let Examination { errors, warnings, same_files, outcome } = (grammar.examine)(&parameters);
    for error in &errors {
        class.error(error, written, &key.range);
    }
    class.unknown_keys(&errors);
    let is_told = |same: &SameFile| {
        let is_there = |place: Place<'_>| place.parameter == "objects" && place.entry == Some(same.later);
        errors.iter().any(|error| is_there(error.place()) && error.reason() == Reason::DuplicateFile)
    };
    for same in same_files.iter().filter(|same| !is_told(same)) {
        let place = Place { parameter: "objects", entry: Some(same.later), value: Some(&same.path) };
        let range = class.range(&place, "objectAlias objectName", written).unwrap_or(key.range.clone());
        let help = "give one of them another objectAlias, if both are needed";
        class.add(Rule::SameFile, &range, &same.to_string(), Some(help.into()));
    }
    class.warnings(&warnings, written, &key.range);
    let outcome = outcome.filter(|_| class.broken.is_empty());
    if let Some(outcome) = &outcome {
        class.synced(spec, outcome);
    }
    class.finish(outcome)
}

struct Class<'a> {
    source: &'a Source<'a>,
    grammar: &'a Grammar,
    /// Parameters that are YAML, by name.
    inner: BTreeMap<&'static str, (Inner, Range<usize>)>,
    found: Vec<Found>,
    /// Parameters that are no text: an error has been found there, and others would only follow from it.
    broken: HashSet<String>,
}

impl Class<'_> {
    fn add(&mut self, rule: Rule, range: &Range<usize>, message: &str, help: Option<String>) {
        self.found.push((rule, range.clone(), message.to_owned(), help));
    }

    fn take(&mut self, Finding { rule, range, message, help }: Finding) {
        self.found.push((rule, range, message, help));
    }

    fn finish(mut self, outcome: Option<Outcome>) -> Checked {
        self.found.sort_by_key(|(_, range, ..)| range.start);
        let mut seen = HashSet::new();
        self.found.retain(|(rule, range, message, _)| seen.insert((*rule, range.start, message.clone())));
        Checked { found: self.found, outcome }
    }

    /// Fields that the API server would drop, or refuse to drop.
    fn fields(&mut self, node: &Node, table: &[Key], place: &str) {
        let mut seen = HashSet::new();
        for (key, value) in node.entries() {
            let Some(name) = key.text() else { continue };
            if !seen.insert(name) {
                self.take(keys::twice(key, name, place));
            }
            match table.iter().find(|known| known.name == name) {
                None => {
                    let message = format!("unknown key `{}` in {place}", keys::shown(name));
                    self.add(Rule::UnknownKey, &key.range, &message, keys::help(name, table));
                }
                Some(Key { kind: Kind::List(below), .. }) => {
                    for (item, number) in value.items().iter().zip(1..) {
                        self.fields(item, below, &format!("{name} {number} of {place}"));
                    }
                }
                Some(_) => {}
            }
        }
    }

    /// The parameters as the driver would hand them over. What is no text is an error, and read as if it had been
    /// quoted.
    fn parameters(&mut self, written: &Node) -> Parameters {
        let mut parameters = Parameters::new();
        let names: Vec<&str> = self.grammar.parameters.iter().map(|known| known.name).collect();
        for (key, value) in written.entries() {
            let Some(name) = key.text() else { continue };
            let known = self.grammar.parameters.iter().find(|known| known.name == name);
            if known.is_none() {
                let message = format!("unknown parameter `{}` of the class", keys::shown(name));
                let help = match keys::nearest(name, &names) {
                    Some(meant) => format!("did you mean `{meant}`?"),
                    None => "docs/parameters.md has all that are known".into(),
                };
                self.add(Rule::UnknownParameter, &key.range, &message, Some(help));
            }
            if let Some((kind, help)) = no_text(name, value) {
                let message = format!("the parameter `{}` is {kind}; parameters are text", keys::shown(name));
                let range = if value.text().is_some() && !value.is_null() { &value.range } else { &key.range };
                self.add(Rule::NotText, range, &message, Some(help));
            }
            let Some(text) = value.text().filter(|_| !value.is_null()) else {
                self.broken.insert(name.to_owned());
                continue;
            };
            let text = match &value.value {
                Value::Scalar { is_plain: true, .. } => as_bool(text).map_or(text, |flag| as_text(flag)),
                _ => text,
            };
            if parameters.insert(name.to_owned(), text.to_owned()).is_some() {
                self.take(keys::twice(key, name, "parameters"));
            }
            if let Some(Key { name, kind: Kind::Yaml(_), .. }) = known {
                self.inner.insert(name, (Inner::read(self.source.text, value), value.range.clone()));
            }
        }
        parameters
    }

    /// An error of a mount, where what it is about stands.
    fn error(&mut self, error: &SpecError, written: &Node, otherwise: &Range<usize>) {
        if self.broken.contains(error.place().parameter) || self.is_misspelt(error) {
            return;
        }
        let (place, problem, text) = (error.place(), error.problem(), error.to_string());
        let rule = Rule::Mount(error.reason());
        let help = text
            .contains("${")
            .then(|| "nobody replaces `${…}` in a class; if this is a template, check what comes of it".to_owned());
        if let Some(range) = self.range_of_yaml(&place, &text) {
            // Where it is counts from the beginning of the text, not of the file.
            let text = text.rsplit_once(" at line ").map_or(text.as_str(), |(text, _)| text);
            return self.add(rule, &range, text, help);
        }
        let range = self.range(&place, &problem, written).unwrap_or(otherwise.clone());
        self.add(rule, &range, &text, help);
    }

    /// Whether a name is missing because its key is misspelt, which is an error of its own and says more.
    fn is_misspelt(&self, error: &SpecError) -> bool {
        let SpecError::NoName { position } = error else { return false };
        let place = error.place().parameter;
        let table =
            self.grammar.parameters.iter().find(|known| known.name == place).and_then(|known| known.kind.keys());
        let names: Vec<&str> = table.unwrap_or_default().iter().map(|known| known.name).collect();
        let is_known = |name: &str| names.iter().any(|known| known.eq_ignore_ascii_case(name));
        let root = self.inner.get(place).and_then(|(inner, _)| inner.root.as_deref());
        let entry = root.and_then(|root| root.items().get(position.checked_sub(1)?));
        let mut keys = entry.map(|entry| entry.entries()).unwrap_or_default().iter().filter_map(|(key, _)| key.text());
        keys.any(|name| !is_known(name) && keys::nearest(name, &names) == Some("objectName"))
    }

    /// Where a parser says that its text is wrong.
    fn range_of_yaml(&self, place: &Place<'_>, text: &str) -> Option<Range<usize>> {
        let (inner, _) = self.inner.get(place.parameter).filter(|_| place.entry.is_none())?;
        let (line, column) = yaml::position(text)?;
        let at = inner.at(line, column);
        inner.in_file(&(at..at.saturating_add(1)))
    }

    /// Where a place is in the file: the value, or else the key that the problem names first, or else the entry.
    fn range(&self, place: &Place<'_>, problem: &str, written: &Node) -> Option<Range<usize>> {
        let (key, value) = written.entry(place.parameter)?;
        let whole = if value.text().is_some_and(|text| !text.contains('\n')) { &value.range } else { &key.range };
        let Some((inner, _)) = self.inner.get(place.parameter) else { return Some(whole.clone()) };
        let root = inner.root.as_deref();
        let entry = place.entry.and_then(|number| root?.items().get(number.checked_sub(1)?));
        let Some(entry) = entry else { return Some(whole.clone()) };
        let meant = place.value.and_then(|value| of_value(entry, value)).or_else(|| of_problem(entry, problem));
        let meant =
            meant.unwrap_or_else(|| entry.entries().first().map_or(&entry.range, |(key, _)| &key.range).clone());
        Some(inner.in_file(&meant).unwrap_or(whole.clone()))
    }

    fn unknown_keys(&mut self, errors: &[SpecError]) {
        let mut findings = Vec::new();
        for Key { name, kind, .. } in self.grammar.parameters {
            let (Some((inner, whole)), Some(table)) = (self.inner.get(name), kind.keys()) else { continue };
            // A text that a mount cannot read as a whole, perhaps because it would grow, is not looked through.
            let is_sound = !errors.iter().any(|error| {
                let place = error.place();
                place.parameter == *name && place.entry.is_none()
            });
            let Some(root) = inner.root.as_deref().filter(|_| is_sound) else { continue };
            // As errors of a mount name them.
            let entry = |number: usize| match *name {
                "objects" => format!("object {number}"),
                "assumeRoles" => format!("hop {number} of assumeRoles"),
                other => format!("file {number} of {other}"),
            };
            for finding in Comparison::of(root, table, entry).findings {
                let range = inner.in_file(&finding.range).unwrap_or(whole.clone());
                findings.push(Finding { range, ..finding });
            }
        }
        findings.into_iter().for_each(|finding| self.take(finding));
    }

    /// What a mount would write into its log, but for the keys that have been found by now.
    fn warnings(&mut self, warnings: &[String], written: &Node, otherwise: &Range<usize>) {
        let found = |rule| self.found.iter().any(|(found, ..)| *found == rule);
        let (has_parameters, has_keys) = (found(Rule::UnknownParameter), found(Rule::UnknownKey));
        for warning in warnings {
            let rule = match warning {
                text if text.starts_with("unknown parameter ") && has_parameters => continue,
                text if text.starts_with("unknown key ") && has_keys => continue,
                text if text.starts_with("unknown ") => Rule::UnknownKey,
                _ => Rule::IgnoredSetting,
            };
            let range = self.range_of_warning(warning, written).unwrap_or(otherwise.clone());
            self.add(rule, &range, warning, None);
        }
    }

    /// A warning names its place as people do: `(object 2)`, `file 1 of templates`, or a parameter.
    fn range_of_warning(&self, warning: &str, written: &Node) -> Option<Range<usize>> {
        let number = |before: &str| {
            let (_, rest) = warning.rsplit_once(before)?;
            rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
        };
        let (parameter, entry) = match (number("(object "), number("file "), number("hop ")) {
            (Some(object), ..) => ("objects", Some(object)),
            (None, Some(file), _) if warning.contains(" of templates ") => ("templates", Some(file)),
            (None, _, Some(hop)) => ("assumeRoles", Some(hop)),
            _ => {
                let names = written.entries().iter().filter_map(|(key, _)| key.text());
                (names.into_iter().find(|name| at_word(warning, name).is_some())?, None)
            }
        };
        self.range(&Place { parameter, entry, value: None }, warning, written)
    }

    /// Files that the driver would look for to make Secrets of them.
    fn synced(&mut self, spec: &Node, outcome: &Outcome) {
        if outcome.has_more_files {
            return;
        }
        let objects = spec.get("secretObjects").map(Node::items).unwrap_or_default();
        let data = objects.iter().filter_map(|object| object.get("data")).flat_map(Node::items);
        for named in data.filter_map(|data| data.get("objectName")) {
            // The driver takes spaces off: pkg/util/secretutil/secret.go.
            let Some(path) = named.text().map(str::trim).filter(|path| !outcome.files.contains(*path)) else {
                continue;
            };
            let message = format!("secretObjects refers to the file {:?}, which no object writes", keys::shown(path));
            let help = match outcome.files.len() {
                0 => "no files are written".into(),
                _ => format!("files written: {}", names(&outcome.files)),
            };
            self.add(Rule::SyncFileMissing, &named.range, &message, Some(help));
        }
    }
}

/// Some of many names.
pub fn names(all: &BTreeSet<String>) -> String {
    let some: Vec<&str> = all.iter().take(MAX_NAMES).map(String::as_str).collect();
    match all.len().saturating_sub(some.len()) {
        0 => some.join(", "),
        more => format!("{}, and {more} more", some.join(", ")),
    }
}

/// What a parameter is that the API server would not take for text, and what to write. It reads YAML 1.1, as Go's
/// parser does: <https://github.com/kubernetes-sigs/yaml/blob/v1.4.0/goyaml.v2/resolve.go>
fn no_text(name: &str, value: &Node) -> Option<(&'static str, String)> {
    let block = || format!("write `{}: |`, and the list in the lines after it", keys::shown(name));
    match &value.value {
        Value::List(_) => Some(("a list", block())),
        Value::Map(_) => Some(("a map", block())),
        Value::Scalar { .. } if value.is_null() => Some(("null", "remove it, or write it as \"\"".into())),
        Value::Scalar { text, is_plain: true, .. } => {
            let (kind, text) = match as_bool(text) {
                Some(flag) => ("a boolean", as_text(flag)),
                None if is_number(text) => ("a number", text.as_str()),
                None => return None,
            };
            Some((kind, format!("write `{}: \"{text}\"`", keys::shown(name))))
        }
        Value::Scalar { .. } => None,
    }
}

fn as_bool(text: &str) -> Option<bool> {
    const WORDS: [(&str, bool); 8] = [
        ("y", true),
        ("yes", true),
        ("true", true),
        ("on", true),
        ("n", false),
        ("no", false),
        ("false", false),
        ("off", false),
    ];
    let lower = text.to_ascii_lowercase();
    let is_of_one_case = *text == lower
        || *text == text.to_ascii_uppercase()
        || text.get(1..).is_some_and(|rest| !rest.bytes().any(|byte| byte.is_ascii_uppercase()));
    WORDS.iter().find(|(word, _)| *word == lower && is_of_one_case).map(|(_, flag)| *flag)
}

fn as_text(flag: bool) -> &'static str {
    if flag { "true" } else { "false" }
}

fn is_number(text: &str) -> bool {
    let text = text.replace('_', "");
    let unsigned = text.strip_prefix(['-', '+']).unwrap_or(&text);
    let (lower, radix) = (unsigned.to_ascii_lowercase(), |prefix, radix| {
        let digits = unsigned.strip_prefix(prefix).unwrap_or_default();
        !digits.is_empty() && digits.chars().all(|c| c.is_digit(radix))
    });
    let is_decimal = lower.starts_with(|c: char| c.is_ascii_digit() || c == '.') && lower.parse::<f64>().is_ok();
    is_decimal || radix("0x", 16) || radix("0o", 8) || radix("0b", 2) || [".inf", ".nan"].contains(&lower.as_str())
}

/// All keys and values in a node, outer ones first.
fn all_of(node: &Node) -> Vec<(&Node, &Node)> {
    let mut found: Vec<(&Node, &Node)> = Vec::new();
    let mut next = vec![node];
    while let Some(node) = next.pop().filter(|_| found.len() < MAX_KEYS) {
        found.extend(node.entries().iter().map(|(key, value)| (&**key, &**value)));
        let below = node.items().iter().chain(node.entries().iter().map(|(_, value)| value));
        next.extend(below.take(MAX_KEYS).map(|node| &**node).collect::<Vec<_>>().into_iter().rev());
    }
    found
}

/// The value that an error names, which may be a path that was translated.
fn of_value(entry: &Node, value: &str) -> Option<Range<usize>> {
    let all = all_of(entry);
    let find = |is_it: &dyn Fn(&str) -> bool| {
        all.iter().find(|(_, node)| node.text().is_some_and(is_it)).map(|(_, node)| node.range.clone())
    };
    let is_translated = |text: &str| {
        let mut pairs = text.chars().zip(value.chars());
        text.len() == value.len() && pairs.all(|(written, named)| written == named || written == '/')
    };
    find(&|text| text == value).or_else(|| {
        find(&|text| !text.is_empty() && (text.starts_with(value) && !value.is_empty() || is_translated(text)))
    })
}

/// What stands behind the key that a problem names first. Errors name what they are about.
fn of_problem(entry: &Node, problem: &str) -> Option<Range<usize>> {
    let all = all_of(entry);
    let named = all.iter().filter_map(|(key, value)| {
        let at = at_word(problem, key.text()?)?;
        // Of `verify.regexp`, the last one; of several, the one whose value is named too.
        let beginning = problem.get(..at).unwrap_or_default();
        let path = beginning.rsplit([' ', '`']).next().filter(|path| path.ends_with('.')).map_or(0, str::len);
        let is_other = value.text().is_none_or(|text| text.is_empty() || !problem.contains(text));
        Some((
            (at.saturating_sub(path), Reverse(at), is_other),
            if value.text().is_some() && !value.is_null() { value } else { key },
        ))
    });
    named.min_by_key(|(rank, _)| *rank).map(|(_, node)| node.range.clone())
}

/// Where a text has a name as a word of its own, in any case.
fn at_word(text: &str, name: &str) -> Option<usize> {
    let (text, name) = (text.to_ascii_lowercase(), name.to_ascii_lowercase());
    let is_part = |c: char| c.is_alphanumeric();
    let mut found = text.match_indices(&name).filter(|(at, _)| {
        let before = text.get(..*at).and_then(|text| text.chars().next_back());
        let after = text.get(at.saturating_add(name.len())..).and_then(|text| text.chars().next());
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    });
    found.next().filter(|_| !name.is_empty()).map(|(at, _)| at)
}
