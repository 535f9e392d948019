//! What can be wrong, as stable words.
//!
//! They are an interface, as reasons are: never renamed, only added, and each has a section in `docs/check.md`.

use std::fmt;

use crate::reason::Reason;

/// What is wrong. An error of a mount has the mount's [`Reason`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Rule {
    Mount(Reason),
    Unreadable,
    InvalidYaml,
    InvalidManifest,
    NotText,
    UnknownParameter,
    UnknownKey,
    SameFile,
    DuplicateKey,
    SyncFileMissing,
    IgnoredSetting,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Severity {
    Error,
    Warning,
}

impl Rule {
    /// Those that are not reasons, for tests and documents.
    pub const OWN: [Self; 10] = [
        Self::Unreadable,
        Self::InvalidYaml,
        Self::InvalidManifest,
        Self::NotText,
        Self::UnknownParameter,
        Self::UnknownKey,
        Self::SameFile,
        Self::DuplicateKey,
        Self::SyncFileMissing,
        Self::IgnoredSetting,
    ];

    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Mount(reason) => reason.as_str(),
            Self::Unreadable => "Unreadable",
            Self::InvalidYaml => "InvalidYaml",
            Self::InvalidManifest => "InvalidManifest",
            Self::NotText => "NotText",
            Self::UnknownParameter => "UnknownParameter",
            Self::UnknownKey => "UnknownKey",
            Self::SameFile => "SameFile",
            Self::DuplicateKey => "DuplicateKey",
            Self::SyncFileMissing => "SyncFileMissing",
            Self::IgnoredSetting => "IgnoredSetting",
        }
    }

    /// A warning is for what works, if perhaps not as meant.
    pub const fn severity(self) -> Severity {
        match self {
            Self::DuplicateKey | Self::SyncFileMissing | Self::IgnoredSetting => Severity::Warning,
            Self::Mount(_)
            | Self::Unreadable
            | Self::InvalidYaml
            | Self::InvalidManifest
            | Self::NotText
            | Self::UnknownParameter
            | Self::UnknownKey
            | Self::SameFile => Severity::Error,
        }
    }

    /// Where more is written about it.
    pub fn docs(self) -> String {
        let page = match self {
            Self::Mount(_) => "docs/errors.md",
            _ => "docs/check.md",
        };
        format!("{page}#{}", self.as_str().to_ascii_lowercase())
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Severity {
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warning => "warning",
        }
    }
}
