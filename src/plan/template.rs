//! Files that are made of other files.

use std::fmt;
use std::str::FromStr;

use super::pattern::Pattern;
use super::{FilePermission, Markup, Owner, RelativePath};

/// A file with what others hold in it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Template {
    pub path: RelativePath,
    pub permission: FilePermission,
    pub owner: Owner,
    pub body: Body,
    /// The paths of those that may be in it: all of them where this is empty.
    pub files: Vec<Pattern>,
}

impl Template {
    pub fn takes(&self, path: &RelativePath) -> bool {
        self.files.is_empty() || self.files.iter().any(|pattern| pattern.matches(path.as_str()))
    }

    /// The most steps that [`Self::takes`] may take.
    pub fn steps(&self, path: &RelativePath) -> usize {
        self.files.iter().map(|pattern| pattern.steps(path.as_str().len())).fold(0, usize::saturating_add)
    }
}

/// What a template is made of.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Body {
    /// The names and texts of all its files.
    Format(Format),
    /// A text of the class, with what files hold where it says.
    Content(Markup),
}

/// How names and texts are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Dotenv,
    Json,
    Properties,
    Toml,
    Yaml,
}

impl fmt::Display for Format {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Dotenv => "dotenv",
            Self::Json => "json",
            Self::Properties => "properties",
            Self::Toml => "toml",
            Self::Yaml => "yaml",
        })
    }
}

/// Why a text is no [`Format`].
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("write one of dotenv, json, properties, toml and yaml")]
pub struct InvalidFormat;

impl FromStr for Format {
    type Err = InvalidFormat;

    fn from_str(raw: &str) -> Result<Self, InvalidFormat> {
        match raw.to_ascii_lowercase().as_str() {
            "dotenv" => Ok(Self::Dotenv),
            "json" => Ok(Self::Json),
            "properties" => Ok(Self::Properties),
            "toml" => Ok(Self::Toml),
            "yaml" => Ok(Self::Yaml),
            _ => Err(InvalidFormat),
        }
    }
}
