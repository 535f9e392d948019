//! Files come together, and are held against each other where only the values name them.

use std::collections::{BTreeMap, BTreeSet};

use super::error::RenderError;
use super::evaluate::Budget;
use super::template::fill;
use super::{Rendered, cut};
use crate::config::Limits;
use crate::plan::{File, Files, RelativePath, Template, parent_and_child};

/// The files so far.
pub struct Assembly<'a> {
    limits: &'a Limits,
    files: Files,
    /// Where each file comes from.
    origins: BTreeMap<RelativePath, Origin>,
    /// Whether values name some of the files. Where the plan names all, whoever read the class has compared them.
    has_expansion: bool,
    /// Those that are not written themselves.
    for_templates: BTreeSet<RelativePath>,
    warnings: Vec<String>,
}

/// Where a file comes from.
#[derive(Debug, Clone, Copy)]
pub struct Origin {
    /// Which of the objects that are there it is.
    pub index: usize,
    /// Place of its object in the class.
    pub position: usize,
    /// Whether a value names it, and not the plan.
    pub is_expanded: bool,
    /// Whether it is only for templates.
    pub is_for_templates: bool,
}

impl<'a> Assembly<'a> {
    /// `has_expansion` says whether values name some of the files.
    pub fn new(has_expansion: bool, limits: &'a Limits) -> Self {
        Self {
            limits,
            files: Files::new(),
            origins: BTreeMap::new(),
            has_expansion,
            for_templates: BTreeSet::new(),
            warnings: Vec::new(),
        }
    }

    /// Puts a file in the place of an earlier one of the same path, which within an object is meant.
    pub fn add(&mut self, origin: Origin, path: RelativePath, file: File) {
        if let Some(earlier) = self.origins.insert(path.clone(), origin)
            && self.has_expansion
            && earlier.position != origin.position
            && (earlier.is_expanded || origin.is_expanded)
        {
            let (path, earlier, position) = (cut(path.as_str()), earlier.position, origin.position);
            self.warnings
                .push(format!("the file {path:?} of object {earlier} is replaced by that of object {position}"));
        }
        match origin.is_for_templates {
            true => drop(self.for_templates.insert(path.clone())),
            false => drop(self.for_templates.remove(&path)),
        }
        self.files.insert(path, file);
    }

    /// The files that are written: those of templates too, and without those that are only for them.
    ///
    /// # Errors
    /// What a template cannot be filled for, what all files are too many or too large for, and a file that another one would
    /// need as its directory.
    pub fn finish(self, templates: &[Template], is_whole: bool, budget: &mut Budget) -> Result<Rendered, RenderError> {
        let Self { limits, mut files, origins, has_expansion, for_templates, warnings } = self;
        // Not only when all are there: each could be as large as a file may be.
        let mut left = limits.max_mount_bytes;
        let mut filled = Vec::new();
        for template in templates {
            let file = fill(template, &files, is_whole, limits.max_value_bytes.min(left), budget)?;
            left = left.saturating_sub(file.content.len());
            filled.push(file);
        }
        files.retain(|path, _| !for_templates.contains(path));
        for (template, file) in templates.iter().zip(filled) {
            if files.insert(template.path.clone(), file).is_some() {
                return Err(RenderError::TemplateReplaces { path: cut(template.path.as_str()) });
            }
        }
        if has_expansion {
            let (count, limit) = (files.len(), limits.max_files);
            if count > limit {
                return Err(RenderError::TooManyFiles { count, limit });
            }
            if let Some([(parent, _), (child, _)]) = parent_and_child(&files) {
                let (parent, child) = (cut(parent.as_str()), cut(child.as_str()));
                return Err(RenderError::FileIsDirectory { parent, child });
            }
        }
        let (size, limit) = (files.values().map(|file| file.content.len()).sum(), limits.max_mount_bytes);
        if size > limit {
            return Err(RenderError::TooLarge { size, limit });
        }
        let origins = origins.into_iter().filter(|(path, _)| !for_templates.contains(path));
        let origins = origins.map(|(path, origin)| (path, origin.index)).collect();
        Ok(Rendered { files, origins, warnings })
    }
}
