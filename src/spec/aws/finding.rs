//! `find` and `rewrite` of an object: all that are called in a way, in the place of one that is named.

use std::collections::BTreeMap;

use super::SHOWN;
use super::entry::Service;
use super::raw::{RawObject, RawRewrite};
use super::reader::{Reader, given};
use crate::plan::aws::{Arn, Filter, Item, List, Path};
use crate::plan::{Regexp, Rewrite};
use crate::spec::SpecError;

/// Most bytes of a path and of a prefix: more than names have.
const MAX_NAME_BYTES: usize = 2_048;
/// Most tags, which AWS gives a resource at most, and most bytes of a key and of a value.
/// <https://docs.aws.amazon.com/tag-editor/latest/userguide/best-practices-and-strats.html>
const MAX_TAGS: usize = 50;
const MAX_TAG_BYTES: usize = 4 * 256;
const MAX_REWRITES: usize = 10;
const MAX_REPLACEMENT_BYTES: usize = 256;

/// What an object with `find` says.
pub struct Finding {
    /// The list of the names that it may take.
    pub item: Item,
    pub name: Option<Regexp>,
    pub rewrites: Vec<Rewrite>,
}

/// What names a single value, or files that two values could not both be.
fn contradicting(raw: &RawObject) -> Option<&'static str> {
    let set = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.is_empty());
    let keys = [
        ("objectName", set(&raw.object_name)),
        ("objectAlias", set(&raw.object_alias)),
        ("objectVersion", set(&raw.object_version)),
        ("objectVersionLabel", set(&raw.object_version_label)),
        ("accountId", set(&raw.account_id)),
        ("previous", set(&raw.previous)),
        ("failoverObject", raw.failover_object.is_some()),
        ("jmesPath", raw.jmes_path.is_some()),
        ("expandJson", raw.expand_json.is_some()),
        ("pem", raw.pem.is_some()),
        ("extractOnly", set(&raw.extract_only)),
    ];
    keys.into_iter().find(|(_, is_set)| *is_set).map(|(key, _)| key)
}

/// Takes `find` and `rewrite` from `raw`. `prefix` is that of the class.
pub fn finding(
    reader: &mut Reader<'_>,
    raw: &mut RawObject,
    service: Service,
    prefix: &str,
) -> Result<Option<Finding>, SpecError> {
    let rewrites = raw.rewrite.take();
    let Some(find) = raw.find.take() else {
        return match rewrites {
            None => Ok(None),
            Some(_) => Err(reader.wrong("has rewrite, but no find; set objectAlias for the name of its file".into())),
        };
    };
    if let Some(key) = contradicting(raw) {
        return Err(reader.wrong(format!("has find and {key}, of which only one can be; remove one of them")));
    }
    reader.unknown_keys(&find.unknown_keys, "`find` of ");
    let is_recursive = reader.flag("find.recursive", find.recursive)?;
    let path = path(reader, given(find.path), service, prefix, is_recursive)?;
    if is_recursive && path.is_none() {
        return Err(reader.wrong("has find.recursive and no find.path; set it, or leave recursive out".into()));
    }
    let name = match given(find.name_regexp) {
        None => None,
        Some(written) => Some(regexp(reader, "find.nameRegexp", &written)?),
    };
    let name_prefix = given(find.name_prefix);
    let tags = tags(reader, find.tags.unwrap_or_default())?;
    if path.is_none() && name_prefix.is_none() && name.is_none() && tags.is_empty() {
        let problem = "has a find that finds everything; set at least one of path, namePrefix, nameRegexp and tags";
        return Err(reader.wrong(problem.into()));
    }
    let name_prefix = match (name_prefix, &path) {
        (Some(written), _) => Some(format!("{prefix}{written}")),
        // It is in the path already.
        (None, Some(_)) => None,
        (None, None) => Some(prefix.to_owned()).filter(|prefix| !prefix.is_empty()),
    };
    if let Some(long) = name_prefix.as_ref().filter(|name| name.len() > MAX_NAME_BYTES) {
        let problem = format!("has {} bytes with the `prefix` of the class; {MAX_NAME_BYTES} is the limit", long.len());
        return Err(reader.wrong_value("find.namePrefix", long, problem));
    }
    let filter = Filter { path, name_prefix, tags };
    let list = match service {
        Service::SecretsManager => List::Secrets(filter),
        Service::ParameterStore => List::Parameters(filter),
    };
    let rewrites = rewrites.unwrap_or_default();
    if rewrites.len() > MAX_REWRITES {
        return Err(reader.wrong(format!("has {} rules in rewrite; {MAX_REWRITES} is the limit", rewrites.len())));
    }
    let rewrites = rewrites.into_iter().map(|written| rewrite(reader, written)).collect::<Result<_, _>>()?;
    Ok(Some(Finding { item: Item::List(list), name, rewrites }))
}

fn path(
    reader: &Reader<'_>,
    written: Option<String>,
    service: Service,
    prefix: &str,
    is_recursive: bool,
) -> Result<Option<Path>, SpecError> {
    let Some(written) = written else { return Ok(None) };
    let whole = format!("{prefix}{written}");
    let level = whole.trim_end_matches('/').to_owned();
    let wrong = |problem: String| Err(reader.wrong_value("find.path", &whole, problem));
    if Arn::parse(&whole).is_some() {
        return wrong("is an ARN; write the path that names begin with".into());
    }
    if whole.len() > MAX_NAME_BYTES {
        return wrong(format!("has {} bytes; {MAX_NAME_BYTES} is the limit", whole.len()));
    }
    // The root of Parameter Store is a path too.
    if service == Service::ParameterStore && !whole.starts_with('/') {
        return wrong("does not begin with a slash, as all paths of Parameter Store do".into());
    }
    if service == Service::SecretsManager && level.is_empty() {
        return wrong("names no level; write what names have in front of a slash".into());
    }
    Ok(Some(Path { level, is_recursive }))
}

fn tags(reader: &Reader<'_>, written: BTreeMap<String, Option<String>>) -> Result<BTreeMap<String, String>, SpecError> {
    if written.len() > MAX_TAGS {
        return Err(reader.wrong(format!("has {} tags in find; {MAX_TAGS} is the limit", written.len())));
    }
    let tag = |(key, value): (String, Option<String>)| {
        let value = value.unwrap_or_default();
        match key.is_empty() || key.len() > MAX_TAG_BYTES || value.len() > MAX_TAG_BYTES {
            true => {
                Err(reader.wrong(format!("has a tag in find without a key, or of more than {MAX_TAG_BYTES} bytes")))
            }
            false => Ok((key, value)),
        }
    };
    written.into_iter().map(tag).collect()
}

fn rewrite(reader: &mut Reader<'_>, written: Option<RawRewrite>) -> Result<Rewrite, SpecError> {
    let written = written.ok_or_else(|| reader.wrong("has an empty rule in rewrite; remove the dash".into()))?;
    reader.unknown_keys(&written.unknown_keys, "`rewrite` of ");
    let text = given(written.regexp)
        .ok_or_else(|| reader.wrong("has a rule without regexp in rewrite; write what is to be replaced".into()))?;
    let replacement = written.replacement.unwrap_or_default();
    if replacement.len() > MAX_REPLACEMENT_BYTES {
        let problem = format!("has {} bytes; {MAX_REPLACEMENT_BYTES} is the limit", replacement.len());
        return Err(reader.wrong_value("rewrite.replacement", &replacement, problem));
    }
    Ok(Rewrite { regexp: regexp(reader, "rewrite.regexp", &text)?, replacement })
}

fn regexp(reader: &Reader<'_>, key: &str, written: &str) -> Result<Regexp, SpecError> {
    let shown: String = written.chars().take(SHOWN).collect();
    written.parse().map_err(|problem| reader.wrong_value(key, &shown, problem))
}
