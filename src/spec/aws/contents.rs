//! What an object of a class becomes: one file, files of its parts, or a file for each of its keys.

use super::raw::{RawExpandJson, RawJmesPath, RawObject, RawSelection};
use super::reader::{Reader, given};
use super::{SHOWN, pem};
use crate::config::parse_bool;
use crate::plan::{Case, Content, Decoding, Expansion, FilePermission, JmesPath, Owner, PemText, PlannedFile};
use crate::spec::SpecError;

/// Most patterns of an `include` and of an `exclude`, and most bytes of one.
const MAX_PATTERNS: usize = 200;
const MAX_PATTERN_BYTES: usize = 256;
/// Most bytes of a `key`: as many as an expression may have.
const MAX_KEY_BYTES: usize = 1024;

/// The files of an object, and the aliases that its parts are given.
#[derive(Default)]
pub struct Contents {
    pub files: Vec<PlannedFile>,
    pub expansion: Option<Expansion>,
    /// Where its PEM is.
    pub pem: PemText,
    pub aliases: Vec<String>,
}

/// What the files of an object have in common, unless one of them says otherwise.
#[derive(Clone, Copy)]
pub struct Manner {
    pub permission: FilePermission,
    pub owner: Owner,
    pub decoding: Decoding,
}

impl Manner {
    pub fn file(self, path: crate::plan::RelativePath, content: Content) -> PlannedFile {
        PlannedFile { path, permission: self.permission, owner: self.owner, content, decoding: self.decoding }
    }
}

/// Takes from `raw` what says which files there are. `alias` is that of the object.
pub fn contents(
    reader: &mut Reader<'_>,
    raw: &mut RawObject,
    alias: Option<&str>,
    manner: Manner,
) -> Result<Contents, SpecError> {
    let extract_only = reader.flag("extractOnly", raw.extract_only.take())?;
    let key = key(reader, raw.key.take())?;
    let mut parts = Vec::new();
    let mut aliases = Vec::new();
    for entry in raw.jmes_path.take().unwrap_or_default() {
        let (file, alias) = part(reader, entry, manner)?;
        parts.push(file);
        aliases.push(alias);
    }
    let expansion = expansion(reader, raw.expand_json.take(), manner)?;
    let (pem, of_pem) = pem::parse(reader, raw.pem.take(), manner)?;
    parts.extend(of_pem);
    if extract_only && key.is_none() && parts.is_empty() && expansion.is_none() {
        let problem = "has extractOnly, and nothing that would be extracted; set key, jmesPath, expandJson or pem";
        return Err(reader.wrong(problem.into()));
    }
    let own = match key {
        Some(key) => Some(Content::Key(key)),
        None if extract_only => None,
        None => Some(Content::Whole),
    };
    let mut files = Vec::new();
    if let Some(content) = own {
        files.push(manner.file(reader.path(alias.unwrap_or(&reader.name))?, content));
    }
    files.extend(parts);
    Ok(Contents { files, expansion, pem, aliases })
}

pub fn key(reader: &Reader<'_>, written: Option<String>) -> Result<Option<String>, SpecError> {
    match given(written) {
        Some(key) if key.len() > MAX_KEY_BYTES => {
            Err(reader.wrong(format!("has a key of {} bytes; {MAX_KEY_BYTES} is the limit", key.len())))
        }
        key => Ok(key),
    }
}

/// An entry of `jmesPath`. Also gives back its alias, as written or as it is without one.
fn part(
    reader: &mut Reader<'_>,
    entry: Option<RawJmesPath>,
    manner: Manner,
) -> Result<(PlannedFile, String), SpecError> {
    let entry = entry.ok_or_else(|| reader.wrong("has an empty entry in jmesPath".into()))?;
    let (path, key, alias) = (given(entry.path), key(reader, entry.key)?, given(entry.object_alias));
    let (content, alias, shown) = match (path, key) {
        (Some(_), Some(_)) => {
            return Err(reader.wrong("has a jmesPath entry with both `path` and `key`; write one of them".into()));
        }
        (None, None) => {
            return Err(reader.wrong("has a jmesPath entry without `path`, or `key` in its place".into()));
        }
        (Some(expression), None) => {
            let alias = alias.ok_or_else(|| {
                reader.wrong(format!("has no objectAlias for the jmesPath {expression:?}; it names the file"))
            })?;
            let parsed = expression.parse::<JmesPath>().map_err(|problem| SpecError::JmesPath {
                expression: expression.chars().take(SHOWN).collect(),
                object: reader.name.clone(),
                position: reader.position,
                problem,
            })?;
            (Content::JmesPath(parsed), alias, expression)
        }
        (None, Some(key)) => (Content::Key(key.clone()), alias.unwrap_or_else(|| key.clone()), key),
    };
    reader.unknown_keys(&entry.unknown_keys, &format!("the jmesPath {shown:?} of "));
    let manner = Manner {
        permission: reader.permission(entry.file_permission.as_deref())?.unwrap_or(manner.permission),
        decoding: reader.word("decode", entry.decode)?.unwrap_or(manner.decoding),
        ..manner
    };
    Ok((manner.file(reader.path(&alias)?, content), alias))
}

fn expansion(
    reader: &mut Reader<'_>,
    written: Option<RawExpandJson>,
    manner: Manner,
) -> Result<Option<Expansion>, SpecError> {
    let selection = match written {
        None => return Ok(None),
        Some(RawExpandJson::Word(word)) if word.is_empty() => return Ok(None),
        Some(RawExpandJson::Word(word)) => match parse_bool(&word) {
            Ok(true) => RawSelection::default(),
            Ok(false) => return Ok(None),
            Err(help) => {
                let problem =
                    format!("is neither true nor false; {help}, or a map with include, exclude, prefix, case");
                return Err(reader.wrong_value("expandJson", &word, problem));
            }
        },
        Some(RawExpandJson::Selection(selection)) => selection,
    };
    reader.unknown_keys(&selection.unknown_keys, "the expandJson of ");
    let prefix = selection.prefix.unwrap_or_default();
    if prefix.len() > MAX_PATTERN_BYTES {
        let problem = format!("has an expandJson.prefix of {} bytes; {MAX_PATTERN_BYTES} is the limit", prefix.len());
        return Err(reader.wrong(problem));
    }
    Ok(Some(Expansion {
        include: patterns(reader, "include", selection.include)?,
        exclude: patterns(reader, "exclude", selection.exclude)?,
        prefix,
        ending: String::new(),
        case: reader.word::<Case>("expandJson.case", selection.case)?.unwrap_or_default(),
        translation: reader.translation,
        permission: manner.permission,
        owner: manner.owner,
        decoding: manner.decoding,
    }))
}

fn patterns(
    reader: &Reader<'_>,
    key: &str,
    written: Option<Vec<String>>,
) -> Result<Vec<crate::plan::pattern::Pattern>, SpecError> {
    let written = written.unwrap_or_default();
    if written.len() > MAX_PATTERNS {
        let problem = format!("has {} patterns in expandJson.{key}; {MAX_PATTERNS} is the limit", written.len());
        return Err(reader.wrong(problem));
    }
    if let Some(long) = written.iter().find(|pattern| pattern.len() > MAX_PATTERN_BYTES) {
        let problem =
            format!("has a pattern of {} bytes in expandJson.{key}; {MAX_PATTERN_BYTES} is the limit", long.len());
        return Err(reader.wrong(problem));
    }
    if written.iter().any(String::is_empty) {
        return Err(reader.wrong(format!("has an empty pattern in expandJson.{key}; remove it, or write * for all")));
    }
    Ok(written.into_iter().map(Into::into).collect())
}
