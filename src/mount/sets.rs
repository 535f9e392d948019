//! Sets of files, told apart by numbers that say nothing about them: whether one is new, and what of it.

use std::collections::HashMap;
use std::hash::{BuildHasher as _, RandomState};

use crate::plan::{File, Files, RelativePath};

/// Makes the numbers, with a key of its own.
#[derive(Default)]
pub struct Sets(RandomState);

/// A set of files as it was delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Set {
    content: Option<u64>,
    /// Paths and versions.
    versions: HashMap<u64, u64>,
}

impl Sets {
    /// What is told apart of a set: versions, and where that is asked for, content.
    pub fn set(&self, files: &Files, with_content: bool) -> Set {
        let versions = files.iter().map(|(path, file)| (self.hash(path.as_str()), self.hash(&file.version))).collect();
        let of = |(path, file): (&RelativePath, &File)| self.0.hash_one((path.as_str(), file.content.expose()));
        let content = with_content.then(|| self.0.hash_one(files.iter().map(of).collect::<Vec<u64>>()));
        Set { content, versions }
    }

    /// Those of some files, by path and version, that are not in a set, or not with this version.
    pub fn changed<'a>(
        &self,
        versions: impl Iterator<Item = (&'a String, &'a String)>,
        before: Option<&Set>,
    ) -> Vec<(String, String)> {
        let is_same = |path: &str, version: &str| {
            before
                .is_some_and(|set| set.versions.get(&self.hash(path)).is_some_and(|known| *known == self.hash(version)))
        };
        let changed = versions.filter(|(path, version)| !is_same(path, version));
        changed.map(|(path, version)| (path.clone(), version.clone())).collect()
    }

    fn hash(&self, text: &str) -> u64 {
        self.0.hash_one(text)
    }
}

impl Set {
    pub fn has_content_of(&self, other: &Self) -> bool {
        self.content.is_some() && self.content == other.content
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::{FilePermission, Owner};

    fn files(of: &[(&str, &str, &str)]) -> Files {
        let file = |content: &str, version: &str| File {
            permission: FilePermission::from_mode(0o600).0,
            owner: Owner::default(),
            content: content.to_owned().into(),
            version: version.into(),
        };
        let files = of.iter().map(|(path, content, version)| (path.parse().expect("a path"), file(content, version)));
        files.collect()
    }

    #[test]
    fn files_with_another_version_are_named_and_content_is_told_apart() {
        let sets = Sets::default();
        let versions = |files: &Files| -> Vec<(String, String)> {
            files.iter().map(|(path, file)| (path.to_string(), file.version.clone())).collect()
        };
        let changed = |files: &Files, before: Option<&Set>| {
            sets.changed(versions(files).iter().map(|(path, version)| (path, version)), before)
        };
        let first = files(&[("a", "1", "v1"), ("b", "1", "v1")]);
        assert_eq!(changed(&first, None).len(), 2, "nothing is known");
        let known = sets.set(&first, true);
        assert_eq!(changed(&first, Some(&known)), []);
        let second = files(&[("a", "1", "v1"), ("b", "2", "v2"), ("c", "1", "v1")]);
        assert_eq!(changed(&second, Some(&known)), [("b".into(), "v2".into()), ("c".into(), "v1".into())]);
        let other = files(&[("a", "1", "v1"), ("b", "2", "v1")]);
        assert!(known.has_content_of(&sets.set(&first, true)) && !known.has_content_of(&sets.set(&other, true)));
    }
}
