//! Files that are made of the others.

use aws_lc_rs::digest;

use super::bounded::Bounded;
use super::evaluate::Budget;
use super::formats::{Unwritable, write};
use super::{RenderError, cut};
use crate::plan::{File, Files, Template};

/// The file of a template.
pub fn fill(
    template: &Template,
    files: &Files,
    is_whole: bool,
    limit: usize,
    budget: &mut Budget,
) -> Result<File, RenderError> {
    let path = cut(template.path.as_str());
    let problem = |problem| RenderError::Template { path: path.clone(), format: template.format, problem };
    let mut entries = Vec::new();
    let mut version = digest::Context::new(&digest::SHA256);
    part_of_version(&mut version, template.path.as_str());
    // In the order of their paths.
    for (path, file) in files {
        budget.pay_for_patterns(template.steps(path)).map_err(|_| RenderError::TooManySteps)?;
        if !template.takes(path) {
            continue;
        }
        let text = std::str::from_utf8(file.content.expose());
        let text = text.map_err(|_| problem(Unwritable::NoText(cut(path.as_str()))))?;
        entries.push((path.as_str(), text));
        part_of_version(&mut version, path.as_str());
        part_of_version(&mut version, &file.version);
    }
    if is_whole && entries.is_empty() {
        return Err(problem(Unwritable::Nothing));
    }
    let mut out = Bounded::new(limit);
    write(template.format, &entries, &mut out).map_err(problem)?;
    let version = version.finish().as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(File { permission: template.permission, owner: template.owner, content: out.into(), version })
}

/// So that no two lists of parts are the same bytes.
fn part_of_version(version: &mut digest::Context, part: &str) {
    version.update(&part.len().to_be_bytes());
    version.update(part.as_bytes());
}
