//! Keys that nobody knows, and keys that stand twice.

use std::collections::HashSet;
use std::ops::Range;

use super::Rule;
use super::tree::Node;
use crate::spec::keys::{Key, Kind};

/// Most maps that are looked at: aliases can make few look like many.
const MAX_MAPS: usize = 20_000;
/// Most characters of a key that are shown.
const SHOWN: usize = 60;

/// Least characters of a name that is taken for a part of the one that was meant.
const MIN_PART: usize = 4;

/// What is wrong with a key, which is at `range` of its text.
pub struct Finding {
    pub rule: Rule,
    pub range: Range<usize>,
    pub message: String,
    pub help: Option<String>,
}

/// Compares what stands under a key of YAML text with its table.
pub struct Comparison {
    pub findings: Vec<Finding>,
    /// Where keys are that have been found wrong: what is merged into several maps is told once.
    told: HashSet<usize>,
    maps: usize,
}

impl Comparison {
    /// `entry` names one by its number.
    pub fn of(root: &Node, table: &[Key], entry: impl Fn(usize) -> String) -> Self {
        let mut comparison = Self { findings: Vec::new(), told: HashSet::new(), maps: 0 };
        for (item, number) in root.items().iter().zip(1..) {
            comparison.map(item, table, &entry(number));
        }
        comparison
    }

    fn map(&mut self, node: &Node, table: &[Key], place: &str) {
        self.maps = self.maps.saturating_add(1);
        if self.maps > MAX_MAPS {
            return;
        }
        let mut seen = HashSet::new();
        for (key, value) in node.entries() {
            let Some(name) = key.text() else { continue };
            if !seen.insert(name.to_ascii_lowercase()) {
                self.tell(twice(key, name, place));
            }
            match table.iter().find(|known| known.name.eq_ignore_ascii_case(name)) {
                Some(known) => self.value(value, known, place),
                None => {
                    let (name, help) = (shown(name), help(name, table));
                    let message = format!("unknown key `{name}` in {place}");
                    self.tell(Finding { rule: Rule::UnknownKey, range: key.range.clone(), message, help });
                }
            }
        }
    }

    fn tell(&mut self, finding: Finding) {
        if self.told.insert(finding.range.start) {
            self.findings.push(finding);
        }
    }

    fn value(&mut self, value: &Node, known: &Key, place: &str) {
        match known.kind {
            Kind::Map(below) | Kind::FlagOrMap(below) => self.map(value, below, &format!("{} of {place}", known.name)),
            Kind::List(below) => {
                for item in value.items() {
                    self.map(item, below, &format!("{} of {place}", known.name));
                }
            }
            Kind::Text
            | Kind::Pattern(_)
            | Kind::Number(_)
            | Kind::OneOf(_)
            | Kind::Flag
            | Kind::Texts
            | Kind::TextMap
            | Kind::Yaml(_) => {}
        }
    }
}

pub fn twice(key: &Node, name: &str, place: &str) -> Finding {
    let message = format!("`{}` stands twice in {place}; the last one counts", shown(name));
    Finding { rule: Rule::DuplicateKey, range: key.range.clone(), message, help: None }
}

pub fn shown(name: &str) -> String {
    name.chars().take(SHOWN).collect()
}

/// The name that may have been meant, or where all of them are.
pub fn help(name: &str, table: &[Key]) -> Option<String> {
    let names: Vec<&str> = table.iter().map(|known| known.name).collect();
    match nearest(name, &names) {
        Some(meant) => Some(format!("did you mean `{meant}`?")),
        None if names.len() <= 6 => Some(format!("known are {}", names.join(", "))),
        None => Some("docs/parameters.md has all that are known".into()),
    }
}

pub fn nearest<'a>(name: &str, names: &[&'a str]) -> Option<&'a str> {
    let name = shown(name).to_lowercase();
    let most = name.chars().count().div_ceil(3).clamp(1, 4);
    let distance = |known: &str| strsim::osa_distance(&name, &known.to_lowercase());
    let nearest = names.iter().map(|known| (distance(known), *known)).min_by_key(|(distance, _)| *distance);
    let part = |known: &&&str| {
        let known = known.to_lowercase();
        name.len() >= MIN_PART && (known.ends_with(&name) || known.starts_with(&name))
    };
    let nearest = nearest.filter(|(distance, _)| *distance <= most).map(|(_, known)| known);
    nearest.or_else(|| names.iter().find(part).copied())
}
