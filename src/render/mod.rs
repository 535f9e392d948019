//! Turns values into files: parts picked out of JSON, everything else byte for byte.
//!
//! Not here: which parts (`plan`), where files go (`volume`). Values are data: nothing in them is ever interpreted twice.

mod evaluate;
mod json;

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use evaluate::{Budget, EvaluationError, evaluate};
use json::Document;

use crate::plan::{Address, Content, File, Files, JmesPath, PlannedFile, SecretPlan};
use crate::reason::{Explained, Reason};
use crate::secrets::Fetched;
use crate::sensitive::SecretBytes;

/// Most names of keys that an error lists, and how long it lets each be.
const KEYS_LISTED: usize = 5;
const KEY_LENGTH: usize = 60;
/// Most keys that are compared with a misspelt one.
const KEYS_COMPARED: usize = 1_000;

/// Why a value cannot become its files. The messages name keys, never values.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    #[error("{address} (object {position}) has a jmesPath, but is no JSON: {problem}")]
    NotJson { address: String, position: usize, problem: String },
    #[error("key {key:?} is not in {address} (object {position}, file {file:?}); {hint}. Correct `path` in the class")]
    NoSuchKey { key: String, address: String, position: usize, file: String, hint: String },
    #[error(
        "{expression:?} selects nothing in {address} (object {position}, file {file:?}). Correct `path` in the class"
    )]
    NothingSelected { expression: String, address: String, position: usize, file: String },
    #[error("the jmesPath {expression:?} fails on {address} (object {position}, file {file:?}): {problem}")]
    Expression { expression: String, address: String, position: usize, file: String, problem: EvaluationError },
    #[error("the file {file:?} would have more than {limit} bytes. Mount less, or raise --max-value-bytes")]
    FileTooLarge { file: String, limit: usize },
    #[error(
        "the files have {size} bytes; {limit} is the limit of one mount. Split the class, or raise --max-mount-bytes"
    )]
    TooLarge { size: usize, limit: usize },
}

impl Explained for RenderError {
    fn reason(&self) -> Reason {
        match self {
            Self::NotJson { .. } => Reason::NotJson,
            Self::NoSuchKey { .. } | Self::NothingSelected { .. } => Reason::JsonKeyNotFound,
            Self::Expression { problem: EvaluationError::TooExpensive, .. } => Reason::LimitExceeded,
            Self::Expression { problem: EvaluationError::Function | EvaluationError::Slice, .. } => {
                Reason::InvalidJmesPath
            }
            Self::FileTooLarge { .. } | Self::TooLarge { .. } => Reason::LimitExceeded,
        }
    }
}

/// Makes the files of a plan from the values of its objects, of which there is one for each, in their order. A later file
/// replaces an earlier one of the same path.
///
/// `max_file` and `max_total` are the most bytes of one file and of all.
///
/// # Errors
/// The first file that cannot be made; none is made then.
pub fn render<A: Address>(
    plan: &SecretPlan<A>,
    values: &[Fetched<A>],
    max_file: usize,
    max_total: usize,
) -> Result<Files, RenderError> {
    let mut files = Files::new();
    let mut documents: HashMap<&A, Document> = HashMap::new();
    let mut budget = Budget::of_a_mount();
    for (object, Fetched { address, value }) in plan.objects.iter().zip(values) {
        let position = object.position;
        for planned in &object.files {
            let content = match &planned.content {
                Content::Whole => value.content.clone(),
                Content::JmesPath(expression) => {
                    let document = match documents.entry(address) {
                        Entry::Occupied(parsed) => parsed.into_mut(),
                        Entry::Vacant(place) => {
                            place.insert(Document::parse(value.content.expose()).map_err(|problem| {
                                RenderError::NotJson { address: address.to_string(), position, problem }
                            })?)
                        }
                    };
                    let of = Of { address, position, planned };
                    pick(document, expression, of, &mut budget, max_file)?
                }
            };
            let version = value.version.clone();
            files.insert(
                planned.path.clone(),
                File { permission: planned.permission, owner: planned.owner, content, version },
            );
        }
    }
    let size = files.values().map(|file| file.content.len()).sum();
    if size > max_total {
        return Err(RenderError::TooLarge { size, limit: max_total });
    }
    Ok(files)
}

/// What an error names.
struct Of<'a, A> {
    address: &'a A,
    position: usize,
    planned: &'a PlannedFile,
}

fn pick<A: Address>(
    document: &Document,
    expression: &JmesPath,
    of: Of<'_, A>,
    budget: &mut Budget,
    max_file: usize,
) -> Result<SecretBytes, RenderError> {
    let (address, position, file) = (of.address.to_string(), of.position, of.planned.path.to_string());
    let found = evaluate(expression, document.root(), budget).map_err(|problem| RenderError::Expression {
        expression: expression.as_str().into(),
        address: address.clone(),
        position,
        file: file.clone(),
        problem,
    })?;
    if found.is_null() || found.is_expref() {
        let missing_key = expression.as_key().filter(|key| document.keys().all(|present| present != *key));
        return Err(match missing_key {
            Some(key) => {
                let hint = hint(document.keys(), key);
                RenderError::NoSuchKey { key: key.into(), address, position, file, hint }
            }
            None => RenderError::NothingSelected { expression: expression.as_str().into(), address, position, file },
        });
    }
    document.text_of(&found, max_file).ok_or(RenderError::FileTooLarge { file, limit: max_file })
}

/// The keys there are, nearest spelling first: they help only whoever may read the secret anyway.
fn hint<'a>(keys: impl Iterator<Item = &'a str>, wanted: &str) -> String {
    let cut = |text: &str| text.chars().take(KEY_LENGTH).collect::<String>();
    let wanted = cut(&wanted.to_lowercase());
    let mut keys: Vec<String> = keys.take(KEYS_COMPARED).map(cut).collect();
    keys.sort_by_cached_key(|key| (strsim::osa_distance(&key.to_lowercase(), &wanted), key.len()));
    let listed: Vec<String> = keys.iter().take(KEYS_LISTED).map(|key| format!("{key:?}")).collect();
    match keys.len() {
        0 => "it has no keys".into(),
        KEYS_COMPARED.. => format!("it has {} and many more", listed.join(", ")),
        count if count > KEYS_LISTED => format!("it has {} and {} more", listed.join(", "), count - KEYS_LISTED),
        _ => format!("it has {}", listed.join(", ")),
    }
}

#[cfg(test)]
mod tests;
