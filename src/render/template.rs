//! Files that are made of the others.

use std::collections::BTreeSet;

use aws_lc_rs::digest;

use super::bounded::Bounded;
use super::evaluate::Budget;
use super::formats::{Unwritable, write};
use super::markup::{Filler, Unfilled};
use super::{RenderError, cut};
use crate::plan::{Body, File, Files, Format, Markup, RelativePath, Template};
use crate::sensitive::SecretBytes;

/// The file of a template.
pub fn fill(
    template: &Template,
    files: &Files,
    is_whole: bool,
    limit: usize,
    budget: &mut Budget,
) -> Result<File, RenderError> {
    let mut taken = BTreeSet::new();
    for path in files.keys() {
        budget.pay_for_patterns(template.steps(path)).map_err(|_| RenderError::TooManySteps)?;
        if template.takes(path) {
            taken.insert(path);
        }
    }
    let mut version = digest::Context::new(&digest::SHA256);
    part_of_version(&mut version, template.path.as_str());
    let (content, used) = match &template.body {
        Body::Format(format) => (listed(template, *format, &taken, files, is_whole, limit)?, taken),
        Body::Content(markup) => {
            part_of_version(&mut version, markup.as_str());
            filled(template, markup, taken, files, limit, budget)?
        }
    };
    for (path, file) in files.iter().filter(|(path, _)| used.contains(path)) {
        part_of_version(&mut version, path.as_str());
        part_of_version(&mut version, &file.version);
    }
    let version = version.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(File { permission: template.permission, owner: template.owner, content, version })
}

/// All files that it takes, in the order of their paths.
fn listed(
    template: &Template,
    format: Format,
    taken: &BTreeSet<&RelativePath>,
    files: &Files,
    is_whole: bool,
    limit: usize,
) -> Result<SecretBytes, RenderError> {
    let path = cut(template.path.as_str());
    let problem = |problem| RenderError::Template { path: path.clone(), format, problem };
    let mut entries = Vec::new();
    for (path, file) in files.iter().filter(|(path, _)| taken.contains(path)) {
        let text = std::str::from_utf8(file.content.expose());
        let text = text.map_err(|_| problem(Unwritable::NoText(cut(path.as_str()))))?;
        entries.push((path.as_str(), text));
    }
    if is_whole && entries.is_empty() {
        return Err(problem(Unwritable::Nothing));
    }
    let mut out = Bounded::new(limit);
    write(format, &entries, &mut out).map_err(problem)?;
    Ok(out.into())
}

/// The text of the class with what it asks for, and the files that it has asked for.
fn filled<'a>(
    template: &Template,
    markup: &Markup,
    taken: BTreeSet<&'a RelativePath>,
    files: &'a Files,
    limit: usize,
    budget: &mut Budget,
) -> Result<(SecretBytes, BTreeSet<&'a RelativePath>), RenderError> {
    let parts = markup.parts();
    let filled = Filler::new(taken, files, budget, limit).fill(&parts);
    let (content, used) = filled.map_err(|Unfilled { line, problem }| RenderError::Fill {
        path: cut(template.path.as_str()),
        line,
        problem,
    })?;
    let used = files.keys().filter(|path| used.contains(path)).collect();
    Ok((content, used))
}

/// So that no two lists of parts are the same bytes.
fn part_of_version(version: &mut digest::Context, part: &str) {
    version.update(&part.len().to_be_bytes());
    version.update(part.as_bytes());
}
