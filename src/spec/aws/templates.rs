//! `templates` of a class: files that are made of the others.

use super::entry::Entry;
use super::ownership::id;
use super::raw::RawTemplate;
use super::reader::given;
use super::{SHOWN, parameter};
use crate::plan::{Body, FilePermission, Format, InvalidMarkup, Markup, Owner, RelativePath, Template};
use crate::spec::{Parameters, SpecError, yaml};

/// Most entries, and most bytes of their text.
const MAX_TEMPLATES: usize = 50;
const MAX_BYTES: usize = 32 * 1024;
/// Most patterns in `files` of an entry, and most bytes of one.
const MAX_PATTERNS: usize = 200;
const MAX_PATTERN_BYTES: usize = 256;

/// `permission` and `owner` are what entries have that say nothing else.
pub fn parse(
    parameters: &Parameters,
    permission: FilePermission,
    owner: Owner,
    warnings: &mut Vec<String>,
) -> Result<Vec<Template>, SpecError> {
    let Some(text) = parameter(parameters, "templates") else { return Ok(Vec::new()) };
    let whole = |problem: String| SpecError::Templates { problem };
    if text.len() > MAX_BYTES {
        return Err(whole(format!("has {} bytes; {MAX_BYTES} is the limit", text.len())));
    }
    let written: Option<Vec<Option<RawTemplate>>> =
        yaml::read(text).map_err(|problem| whole(format!("is not a YAML list of files: {problem}")))?;
    let written = written.unwrap_or_default();
    if written.len() > MAX_TEMPLATES {
        return Err(whole(format!("has {} files; {MAX_TEMPLATES} is the limit", written.len())));
    }
    let templates = written.into_iter().zip(1..).map(|(raw, number)| {
        let raw = raw.unwrap_or_default();
        for key in &raw.unknown_keys {
            warnings.push(format!("unknown key {key:?} in file {number} of templates is ignored"));
        }
        let written = given(raw.file_permission.clone());
        let template = template(raw, permission, owner).map_err(|problem| SpecError::Template { number, problem })?;
        if let Some(written) = written.filter(|written| *written != template.permission.to_string()) {
            warnings.push(format!(
                "the special bits of filePermission {written:?} of file {number} of templates are not set"
            ));
        }
        Ok(template)
    });
    templates.collect()
}

/// The error is the rest of a sentence that begins with the entry.
fn template(raw: RawTemplate, permission: FilePermission, owner: Owner) -> Result<Template, String> {
    let shown = |text: &str| text.chars().take(SHOWN).collect::<String>();
    let path = given(raw.path).ok_or("has no path; it names the file")?;
    let path: RelativePath =
        path.parse().map_err(|problem| format!("has the path {:?}, which {problem}", shown(&path)))?;
    let body = match (given(raw.format), given(raw.content)) {
        (Some(_), Some(_)) => return Err("has both format and content; write one of them".into()),
        (None, None) => {
            return Err("has no format, and no content in its place; \
                write one of dotenv, json, properties, toml and yaml, or a text"
                .into());
        }
        (Some(format), None) => {
            let parsed: Result<Format, _> = format.parse();
            Body::Format(
                parsed
                    .map_err(|problem| format!("has the format {:?}, which is not known; {problem}", shown(&format)))?,
            )
        }
        (None, Some(content)) => {
            let parsed: Result<Markup, InvalidMarkup> = content.parse();
            Body::Content(parsed.map_err(|problem| format!("has content that {problem}"))?)
        }
    };
    let permission = match given(raw.file_permission) {
        None => permission,
        Some(written) => {
            let kept = written.parse::<FilePermission>();
            kept.map_err(|problem| format!("has the filePermission {:?}; {problem}", shown(&written)))?
        }
    };
    let owned = |key: &str, written: Option<String>, default: Option<u32>| match given(written) {
        None => Ok(default),
        Some(written) => {
            id(&written).map(Some).map_err(|problem| format!("has the {key} {:?}, which {problem}", shown(&written)))
        }
    };
    let owner = Owner { uid: owned("uid", raw.uid, owner.uid)?, gid: owned("gid", raw.gid, owner.gid)? };
    let files = raw.files.unwrap_or_default();
    if files.len() > MAX_PATTERNS {
        return Err(format!("has {} patterns in files; {MAX_PATTERNS} is the limit", files.len()));
    }
    if files.iter().any(|pattern| pattern.is_empty() || pattern.len() > MAX_PATTERN_BYTES) {
        return Err(format!("has a pattern in files that is empty, or has more than {MAX_PATTERN_BYTES} bytes"));
    }
    Ok(Template { path, permission, owner, body, files: files.into_iter().map(Into::into).collect() })
}

/// A template takes no path that the class names another file by, nor one above or below such a path. What only values name is
/// compared when they are there.
pub fn compare(objects: &[Entry], templates: &[Template]) -> Result<(), SpecError> {
    if templates.is_empty() {
        return match objects.iter().find(|entry| entry.is_for_templates) {
            None => Ok(()),
            Some(Entry { name, position, .. }) => {
                let problem = "has templateOnly, but the class has no templates; set them, or remove it".into();
                Err(SpecError::Object { object: name.clone(), position: *position, problem })
            }
        };
    }
    let written = objects.iter().filter(|entry| !entry.is_for_templates).flat_map(|entry| &entry.files);
    let mut taken: Vec<&RelativePath> = written.map(|file| &file.path).collect();
    for (template, number) in templates.iter().zip(1..) {
        let path = &template.path;
        let is_in_the_way =
            |other: &&&RelativePath| **other == path || other.is_parent_of(path) || path.is_parent_of(other);
        if let Some(other) = taken.iter().find(is_in_the_way) {
            let problem = format!(
                "has the path {:?}, which cannot be beside {:?}; set another one",
                path.as_str(),
                other.as_str()
            );
            return Err(SpecError::TemplatePath { number, problem });
        }
        taken.push(path);
    }
    Ok(())
}
