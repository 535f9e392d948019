//! What two objects of a class may not have in common.

use std::collections::{BTreeMap, HashMap, HashSet};

use super::entry::{Entry, Written};
use crate::plan::{RelativePath, parent_and_child};
use crate::spec::{SameFile, SpecError};

/// The official provider compares each object with the last one of its name, and all aliases with each other.
pub fn refuse_equal_objects(objects: &[(Entry, Written)]) -> Result<(), SpecError> {
    let mut by_name: HashMap<&str, &Written> = HashMap::new();
    let mut aliases: HashSet<&str> = HashSet::new();
    // What is found has no name or alias in the class.
    for (entry, written) in objects.iter().filter(|(entry, _)| entry.selection.is_none()) {
        let (object, position) = (entry.name.clone(), entry.position);
        if let Some(earlier) = by_name.insert(&entry.name, written)
            && earlier.alias == written.alias
            && earlier.label == written.label
        {
            let problem = "give it another objectAlias or objectVersionLabel";
            return Err(SpecError::Duplicate { object, position, problem });
        }
        if let Some(alias) = written.alias.iter().chain(&written.jmes_aliases).find(|alias| !aliases.insert(alias)) {
            return Err(SpecError::AliasTwice { object, position, alias: alias.clone() });
        }
    }
    Ok(())
}

/// Two objects may write one path, for the later one then wins; but nothing can be a file and a directory.
pub fn compare_paths(objects: &[Entry]) -> Result<Vec<SameFile>, SpecError> {
    let mut same = Vec::new();
    let mut paths: BTreeMap<RelativePath, usize> = BTreeMap::new();
    for entry in objects {
        for file in &entry.files {
            let later = entry.position;
            if let Some(earlier) = paths.insert(file.path.clone(), later) {
                same.push(SameFile { path: file.path.to_string(), earlier, later });
            }
        }
    }
    if let Some([(parent, &parent_position), (child, &child_position)]) = parent_and_child(&paths) {
        return Err(SpecError::FileIsDirectory {
            parent: parent.to_string(),
            parent_position,
            child: child.to_string(),
            child_position,
        });
    }
    Ok(same)
}
