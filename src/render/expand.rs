//! A file for each key of a JSON secret.

use std::collections::BTreeMap;

use super::error::{Of, RenderError};
use super::evaluate::Budget;
use super::json::Document;
use super::{cut, hint, too_large};
use crate::config::Limits;
use crate::plan::{Address, Expansion, RelativePath};
use crate::sensitive::SecretBytes;

/// The files of the keys that are taken. A key without a value is one that is not there. `keys_left` and `budget` are what is
/// left of what all objects of a mount share.
pub fn expand<A: Address>(
    document: &Document,
    expansion: &Expansion,
    of: Of<'_, A>,
    keys_left: &mut usize,
    budget: &mut Budget,
    limits: &Limits,
) -> Result<Vec<(RelativePath, SecretBytes)>, RenderError> {
    let (address, position) = (|| of.address.to_string(), of.position);
    if !document.root().is_object() {
        return Err(RenderError::NoObject { address: address(), position });
    }
    if let Some(missing) = expansion.named().find(|key| document.member(key).is_none()) {
        return Err(of.no_included_key(document, missing));
    }
    let mut files = Vec::new();
    let mut taken: BTreeMap<RelativePath, &str> = BTreeMap::new();
    for (key, node) in document.members() {
        budget.pay_for_patterns(expansion.steps(key)).map_err(|_| RenderError::TooManySteps)?;
        if !expansion.takes(key) {
            continue;
        }
        let limit = limits.max_expanded_keys;
        *keys_left = keys_left.checked_sub(1).ok_or(RenderError::TooManyKeys { limit })?;
        let path = expansion.path(key).map_err(|problem| RenderError::KeyAsFile {
            key: cut(key),
            address: address(),
            position,
            problem,
        })?;
        if let Some(other) = taken.insert(path.clone(), key) {
            let (key, other, file) = (cut(key), cut(other), cut(path.as_str()));
            return Err(RenderError::SameFile { key, other, address: address(), position, file });
        }
        let content = document.text_of(node, limits.max_value_bytes);
        let content = content.ok_or_else(|| too_large(path.as_str(), limits))?;
        files.push((path, content));
    }
    if files.is_empty() {
        let hint = hint(document.keys(), "");
        return Err(RenderError::NothingExpanded { address: address(), position, hint });
    }
    Ok(files)
}
