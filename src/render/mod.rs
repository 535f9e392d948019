//! Turns values into files: whole, or in parts picked out of JSON, decoded where the class says so.
//!
//! Not here: which parts (`plan`), where files go (`volume`). Values are data: nothing in them is ever interpreted twice.

mod assembly;
mod bounded;
mod decode;
mod error;
mod evaluate;
mod expand;
mod formats;
mod json;
mod markup;
mod pem;
mod template;
mod verify;

pub use error::RenderError;

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};

use assembly::{Assembly, Origin};
use decode::decode;
use error::Of;
use evaluate::{Budget, evaluate};
use expand::expand;
use json::Document;
use pem::Bundle;
use verify::Checks;

use crate::clock::WallClock;
use crate::config::Limits;
use crate::plan::{
    Address, Content, Decoding, File, Files, JmesPath, Object, PemPart, PemText, PlannedFile, RelativePath, Template,
};
use crate::secrets::{Fetched, SecretValue};
use crate::sensitive::SecretBytes;

/// Most names of keys that an error lists, and how long it lets each be.
const KEYS_LISTED: usize = 5;
const KEY_LENGTH: usize = 60;
/// Most keys that are compared with a misspelt one.
const KEYS_COMPARED: usize = 1_000;

/// What a plan has become.
#[derive(Debug)]
pub struct Rendered {
    pub files: Files,
    /// Which of the objects a file is of, counted from 0. Those of templates are of none.
    pub origins: BTreeMap<RelativePath, usize>,
    /// What its author should know of files whose names only the values told.
    pub warnings: Vec<String>,
}

/// Makes the files of objects from their values, and those of templates from these. A later file replaces an earlier one of
/// the same path. `is_whole` says whether no object is left out: only then a template of nothing is a mistake. `clock` says
/// which certificates have ended.
///
/// # Errors
/// The first file that cannot be made, or whatever goes over a limit; no file is made then.
pub fn render<A: Address>(
    objects: &[(&Object<A>, &Fetched<A>)],
    is_whole: bool,
    templates: &[Template],
    limits: &Limits,
    clock: &dyn WallClock,
) -> Result<Rendered, RenderError> {
    let has_expansion = objects.iter().any(|(object, _)| object.expansion.is_some() || object.is_unfolded);
    let mut assembly = Assembly::new(has_expansion, limits);
    let mut documents = Documents(HashMap::new());
    let mut budget = Budget::of_a_mount();
    let mut keys_left = limits.max_expanded_keys;
    let mut checks = Checks::of_a_mount(clock, limits);
    for (index, (object, Fetched { address, value })) in objects.iter().enumerate() {
        let of = Of { address, position: object.position };
        checks.verify(&object.verification, value, of, &mut documents, &mut budget)?;
        let mut bundle = None;
        if let Some(expansion) = &object.expansion {
            for (path, content) in
                expand(documents.of(value, of, "expandJson")?, expansion, of, &mut keys_left, &mut budget, limits)?
            {
                let content = decoded(content, expansion.decoding, path.as_str(), of)?;
                let version = value.version.clone();
                let file = File { permission: expansion.permission, owner: expansion.owner, content, version };
                assembly.add(origin(object, index, true), path, file);
            }
        }
        for planned in &object.files {
            let PlannedFile { path, permission, owner, .. } = planned;
            let content = match &planned.content {
                Content::Whole => value.content.clone(),
                Content::JmesPath(expression) => {
                    pick(documents.of(value, of, "a jmesPath")?, expression, path.as_str(), of, &mut budget, limits)?
                }
                Content::Key(key) => {
                    let document = documents.of(value, of, "a key")?;
                    let node =
                        document.member(key).ok_or_else(|| of.no_such_key(document, key, path.as_str(), "key"))?;
                    document.text_of(node, limits.max_value_bytes).ok_or_else(|| too_large(path.as_str(), limits))?
                }
                Content::Pem(text, part) => {
                    let bundle = match &mut bundle {
                        Some(bundle) => bundle,
                        none => none.insert(pem_of(text, value, of, &mut documents, &mut budget, limits)?),
                    };
                    part_of(bundle, *part, path.as_str(), of, limits)?
                }
            };
            let content = decoded(content, planned.decoding, path.as_str(), of)?;
            let file = File { permission: *permission, owner: *owner, content, version: value.version.clone() };
            assembly.add(origin(object, index, false), path.clone(), file);
        }
    }
    assembly.finish(templates, is_whole, &mut budget)
}

fn origin<A>(object: &Object<A>, index: usize, is_expanded: bool) -> Origin {
    let is_expanded = is_expanded || object.is_unfolded;
    Origin { index, position: object.position, is_expanded, is_for_templates: object.is_for_templates }
}

/// The JSON of each value, parsed when it is first needed, which errors name.
struct Documents<'a, A>(HashMap<&'a A, Document>);

impl<'a, A: Address> Documents<'a, A> {
    fn of(
        &mut self,
        value: &SecretValue,
        of: Of<'a, A>,
        taken_apart_by: &'static str,
    ) -> Result<&Document, RenderError> {
        match self.0.entry(of.address) {
            Entry::Occupied(parsed) => Ok(parsed.into_mut()),
            Entry::Vacant(place) => {
                let parsed = Document::parse(value.content.expose());
                Ok(place.insert(parsed.map_err(|problem| of.not_json(taken_apart_by, problem))?))
            }
        }
    }
}

fn pick<A: Address>(
    document: &Document,
    expression: &JmesPath,
    file: &str,
    of: Of<'_, A>,
    budget: &mut Budget,
    limits: &Limits,
) -> Result<SecretBytes, RenderError> {
    let (address, position) = (of.address.to_string(), of.position);
    let found = evaluate(expression, document.root(), budget).map_err(|problem| RenderError::Expression {
        expression: expression.as_str().into(),
        address: address.clone(),
        position,
        file: file.into(),
        problem,
    })?;
    if found.is_null() || found.is_expref() {
        let missing_key = expression.as_key().filter(|key| document.keys().all(|present| present != *key));
        let expression = expression.as_str().into();
        return Err(match missing_key {
            Some(key) => of.no_such_key(document, key, file, "path"),
            None => RenderError::NothingSelected { expression, address, position, file: file.into() },
        });
    }
    document.text_of(&found, limits.max_value_bytes).ok_or_else(|| too_large(file, limits))
}

fn pem_of<'a, A: Address>(
    text: &PemText,
    value: &SecretValue,
    of: Of<'a, A>,
    documents: &mut Documents<'a, A>,
    budget: &mut Budget,
    limits: &Limits,
) -> Result<Bundle, RenderError> {
    let texts = pem_texts(text, value, of, documents, limits)?;
    Bundle::of(&texts, budget).map_err(|problem| of.wrong_pem(problem))
}

/// The texts that are PEM, with their encoding undone.
fn pem_texts<'a, A: Address>(
    text: &PemText,
    value: &SecretValue,
    of: Of<'a, A>,
    documents: &mut Documents<'a, A>,
    limits: &Limits,
) -> Result<Vec<SecretBytes>, RenderError> {
    if text.keys.is_empty() {
        return Ok(vec![decoded(value.content.clone(), text.decoding, "pem", of)?]);
    }
    let document = documents.of(value, of, "`from` in its pem")?;
    let texts = text.keys.iter().map(|key| {
        let node = document.member(key).ok_or_else(|| of.no_key_of_pem(document, key))?;
        let content = document.text_of(node, limits.max_value_bytes).ok_or_else(|| too_large(key, limits))?;
        decoded(content, text.decoding, "pem", of)
    });
    texts.collect()
}

fn part_of<A: Address>(
    bundle: &Bundle,
    part: PemPart,
    file: &str,
    of: Of<'_, A>,
    limits: &Limits,
) -> Result<SecretBytes, RenderError> {
    let content = bundle.part(part, limits.max_value_bytes).map_err(|problem| of.wrong_pem(problem))?;
    content.ok_or_else(|| too_large(file, limits))
}

fn decoded<A: Address>(
    content: SecretBytes,
    decoding: Decoding,
    file: &str,
    of: Of<'_, A>,
) -> Result<SecretBytes, RenderError> {
    let (address, position) = (of.address, of.position);
    decode(content, decoding).map_err(|problem| RenderError::Decode {
        address: address.to_string(),
        position,
        file: file.into(),
        problem,
    })
}

fn too_large(file: &str, limits: &Limits) -> RenderError {
    RenderError::FileTooLarge { file: file.into(), limit: limits.max_value_bytes }
}

/// The keys there are, nearest spelling first: they help only whoever may read the secret anyway.
fn hint<'a>(keys: impl Iterator<Item = &'a str>, wanted: &str) -> String {
    listed(keys, wanted).map_or("it has no keys".into(), |listed| format!("it has {listed}"))
}

/// The nearest of some names first; `None` where there are none.
fn listed<'a>(keys: impl Iterator<Item = &'a str>, wanted: &str) -> Option<String> {
    let wanted = cut(&wanted.to_lowercase());
    let mut keys: Vec<String> = keys.take(KEYS_COMPARED).map(cut).collect();
    keys.sort_by_cached_key(|key| (strsim::osa_distance(&key.to_lowercase(), &wanted), key.len()));
    let listed: Vec<String> = keys.iter().take(KEYS_LISTED).map(|key| format!("{key:?}")).collect();
    match keys.len() {
        0 => None,
        KEYS_COMPARED.. => Some(format!("{} and many more", listed.join(", "))),
        count if count > KEYS_LISTED => Some(format!("{} and {} more", listed.join(", "), count - KEYS_LISTED)),
        _ => Some(listed.join(", ")),
    }
}

/// As much of the name of a key as an error shows.
fn cut(key: &str) -> String {
    key.chars().take(KEY_LENGTH).collect()
}

#[cfg(test)]
mod tests;
