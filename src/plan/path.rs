//! Names of files inside a volume.

use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// Longest path, in bytes: what the driver's writer and `PATH_MAX` leave room for beside kubelet's directory.
const MAX_BYTES: usize = 1024;
/// Longest path, in elements.
const MAX_LEVELS: usize = 8;
/// Longest element, in bytes: `NAME_MAX` of Linux.
const MAX_ELEMENT_BYTES: usize = 255;

/// A path that stays below the directory it is resolved in: elements that name something, joined by single slashes.
///
/// No element is empty, `.` or `..`; the first does not start with `..`, which kubelet, the driver and we keep for our own
/// names; no character is a control character. Case and Unicode normal form are kept: two spellings are two files.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct RelativePath(String);

impl RelativePath {
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The elements, outermost first. Never empty.
    pub fn elements(&self) -> impl DoubleEndedIterator<Item = &str> {
        self.0.split('/')
    }

    /// The name that is visible in the root of the volume.
    pub fn top(&self) -> &str {
        self.0.split('/').next().unwrap_or(&self.0)
    }

    /// Whether `self` would have to be a directory for `other` to exist.
    pub fn is_parent_of(&self, other: &Self) -> bool {
        other.0.strip_prefix(&self.0).is_some_and(|rest| rest.starts_with('/'))
    }

    /// The directories that it is in, innermost first.
    fn parents(&self) -> impl Iterator<Item = &str> {
        self.0.rmatch_indices('/').map(|(end, _)| self.0.get(..end).unwrap_or_default())
    }
}

/// The first of some paths that cannot be a file beside another one, because it would have to be its directory.
pub fn parent_and_child<T>(paths: &BTreeMap<RelativePath, T>) -> Option<[(&RelativePath, &T); 2]> {
    paths.iter().find_map(|child| {
        let parent = child.0.parents().find_map(|parent| paths.get_key_value(parent))?;
        Some([parent, child])
    })
}

/// Compares as its text does.
impl Borrow<str> for RelativePath {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for RelativePath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// Why a text is no [`RelativePath`]; reads on after "the file name … ".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPath {
    #[error("is empty")]
    Empty,
    #[error("is absolute")]
    Absolute,
    #[error("has an empty element")]
    EmptyElement,
    #[error("has the element {0:?}, which would leave the volume or its directory")]
    Traversal(String),
    #[error("starts with \"..\", which is reserved for kubelet, the driver and this provider")]
    Reserved,
    #[error("has a control character")]
    ControlCharacter,
    #[error("has {0} bytes; {MAX_BYTES} is the limit")]
    TooLong(usize),
    #[error("has {0} levels; {MAX_LEVELS} is the limit")]
    TooDeep(usize),
    #[error("has an element of {0} bytes; {MAX_ELEMENT_BYTES} is the limit")]
    ElementTooLong(usize),
}

impl TryFrom<String> for RelativePath {
    type Error = InvalidPath;

    fn try_from(raw: String) -> Result<Self, InvalidPath> {
        raw.parse()
    }
}

impl From<RelativePath> for String {
    fn from(path: RelativePath) -> Self {
        path.0
    }
}

impl FromStr for RelativePath {
    type Err = InvalidPath;

    fn from_str(raw: &str) -> Result<Self, InvalidPath> {
        if raw.is_empty() {
            return Err(InvalidPath::Empty);
        }
        if raw.len() > MAX_BYTES {
            return Err(InvalidPath::TooLong(raw.len()));
        }
        if raw.starts_with('/') {
            return Err(InvalidPath::Absolute);
        }
        if raw.chars().any(char::is_control) {
            return Err(InvalidPath::ControlCharacter);
        }
        let levels = raw.split('/').count();
        if levels > MAX_LEVELS {
            return Err(InvalidPath::TooDeep(levels));
        }
        for element in raw.split('/') {
            match element {
                "" => return Err(InvalidPath::EmptyElement),
                "." | ".." => return Err(InvalidPath::Traversal(element.to_owned())),
                long if long.len() > MAX_ELEMENT_BYTES => return Err(InvalidPath::ElementTooLong(long.len())),
                _ => {}
            }
        }
        if raw.starts_with("..") {
            return Err(InvalidPath::Reserved);
        }
        Ok(Self(raw.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use std::path::{Component, Path};

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a01_a03_hostile_names_are_refused() {
        let long_element = "a".repeat(256);
        let long_path = vec!["a".repeat(200); 6].join("/");
        for hostile in [
            "",
            "/",
            "/etc/passwd",
            "..",
            ".",
            "../x",
            "a/../b",
            "a/..",
            "a/./b",
            "a//b",
            "a/",
            "..data",
            "..x/y",
            "..2026_01_01_00_00_00.1",
            "a\0b",
            "a\nb",
            "a\u{7f}",
            "a\u{85}b",
            "a/b/c/d/e/f/g/h/i",
            &long_element,
            &long_path,
        ] {
            assert!(hostile.parse::<RelativePath>().is_err(), "{hostile:?} was accepted");
        }
    }

    #[test]
    fn ordinary_names_are_kept_as_they_are() {
        for name in
            ["password", "tls/key.pem", ".env", "a..b", "a/..b", "arn:aws:x", "ünïcode", "a b", "a/b/c/d/e/f/g/h"]
        {
            assert_eq!(name.parse::<RelativePath>().expect(name).as_str(), name);
        }
    }

    #[test]
    fn only_whole_elements_make_a_parent() {
        let path = |raw: &str| raw.parse::<RelativePath>().expect("valid");
        assert!(path("a").is_parent_of(&path("a/b")));
        assert!(!path("a").is_parent_of(&path("ab")));
        assert!(!path("a").is_parent_of(&path("a")));
    }

    proptest! {
        #[test]
        fn no_accepted_path_leaves_the_volume(raw in "([a./\\\\ ]|\\PC|\\x00|\\n){0,24}") {
            let Ok(path) = raw.parse::<RelativePath>() else { return Ok(()) };
            prop_assert!(Path::new(path.as_str()).components().all(|part| matches!(part, Component::Normal(_))));
            prop_assert_eq!(Path::new(path.as_str()).components().count(), path.elements().count());
            prop_assert!(!path.top().starts_with(".."));
            prop_assert_eq!(path.as_str(), raw);
        }
    }
}
