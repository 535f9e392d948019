//! Files for the keys of a JSON secret, of which the class knows none by name.

use std::str::FromStr;

use super::pattern::Pattern;
use super::{Decoding, FilePermission, InvalidPath, Owner, RelativePath, Translation};

/// Which keys at the top of a JSON secret become files, and what those are like.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Expansion {
    /// Keys that are taken: all of them where this is empty.
    pub include: Vec<Pattern>,
    /// Keys of those that are left out.
    pub exclude: Vec<Pattern>,
    /// What the name of every file begins with.
    pub prefix: String,
    /// What it ends with.
    pub ending: String,
    pub case: Case,
    pub translation: Translation,
    pub permission: FilePermission,
    pub owner: Owner,
    pub decoding: Decoding,
}

impl Expansion {
    pub fn takes(&self, key: &str) -> bool {
        let is_in = |patterns: &[Pattern]| patterns.iter().any(|pattern| pattern.matches(key));
        (self.include.is_empty() || is_in(&self.include)) && !is_in(&self.exclude)
    }

    /// The most steps that [`Self::takes`] may take.
    pub fn steps(&self, key: &str) -> usize {
        let patterns = self.include.iter().chain(&self.exclude);
        patterns.map(|pattern| pattern.steps(key.len())).fold(0, usize::saturating_add)
    }

    /// Keys that are named in full, and so must be there.
    pub fn named(&self) -> impl Iterator<Item = &str> {
        self.include.iter().filter(|pattern| pattern.is_literal()).map(Pattern::as_str)
    }

    /// The file of a key.
    pub fn path(&self, key: &str) -> Result<RelativePath, InvalidPath> {
        let key = match self.case {
            Case::Keep => key.to_owned(),
            Case::Lower => key.to_lowercase(),
            Case::Upper => key.to_uppercase(),
        };
        self.translation.apply(&format!("{}{key}{}", self.prefix, self.ending)).parse()
    }
}

/// What becomes of the letters of a key in its file's name.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Case {
    #[default]
    Keep,
    Lower,
    Upper,
}

/// Why a text is no [`Case`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write one of keep, lower and upper")]
pub struct InvalidCase;

impl FromStr for Case {
    type Err = InvalidCase;

    fn from_str(raw: &str) -> Result<Self, InvalidCase> {
        match raw.to_ascii_lowercase().as_str() {
            "keep" => Ok(Self::Keep),
            "lower" => Ok(Self::Lower),
            "upper" => Ok(Self::Upper),
            _ => Err(InvalidCase),
        }
    }
}
