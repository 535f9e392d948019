//! What can be said of a class without asking anybody: all of its mistakes, and what a mount of it would do.

use std::collections::BTreeSet;
use std::fmt;

use super::keys::Key;
use super::{Parameters, SpecError};

/// The grammar of one cloud, as `check` needs it.
#[derive(Debug, Clone, Copy)]
pub struct Grammar {
    /// As in `spec.provider` of a class.
    pub provider: &'static str,
    pub parameters: &'static [Key],
    /// What a mount reads too, so that the two never disagree.
    pub examine: fn(&Parameters) -> Examination,
}

/// Of one class.
#[derive(Debug, Clone, Default)]
pub struct Examination {
    /// A mount fails with the first of them.
    pub errors: Vec<SpecError>,
    /// What a mount writes into the log, but for [`Self::same_files`].
    pub warnings: Vec<String>,
    pub same_files: Vec<SameFile>,
    /// Where there are no errors.
    pub outcome: Option<Outcome>,
}

/// What a mount does.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    pub objects: usize,
    pub files: BTreeSet<String>,
    /// Whether there are more files, which only AWS names.
    pub has_more_files: bool,
    pub needs: Vec<Need>,
}

/// A permission that the pod's role must have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Need {
    pub action: &'static str,
    /// What kind of thing it is needed on.
    pub noun: &'static str,
    /// Their names, as the class has them, and with `*` what names begin with that AWS alone knows.
    pub on: BTreeSet<String>,
}

/// Two objects, or twice the same one, that write one path. The later one wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SameFile {
    pub path: String,
    /// Places of the objects, counted from 1.
    pub earlier: usize,
    pub later: usize,
}

impl fmt::Display for SameFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { path, earlier, later } = self;
        match earlier == later {
            true => write!(f, "object {later} writes the file {path:?} twice; the later one is kept"),
            false => write!(f, "the file {path:?} of object {earlier} is replaced by that of object {later}"),
        }
    }
}

/// Where in a class an error is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Place<'a> {
    pub parameter: &'a str,
    /// In its list, counted from 1.
    pub entry: Option<usize>,
    /// What stands there, where the error is about one value.
    pub value: Option<&'a str>,
}

impl SpecError {
    /// Where to look for what has to be changed.
    pub fn place(&self) -> Place<'_> {
        let whole = |parameter| Place { parameter, entry: None, value: None };
        let entry = |parameter, entry: &usize| Place { parameter, entry: Some(*entry), value: None };
        match self {
            Self::NoObjects | Self::Limit { .. } | Self::Finds { .. } | Self::Yaml(_) => whole("objects"),
            Self::Parameter { parameter, .. } => whole(parameter),
            Self::Conflict { problem } => whole(problem.split(' ').next().unwrap_or_default()),
            Self::AssumeRoles { .. } => whole("assumeRoles"),
            Self::Hop { number, .. } => entry("assumeRoles", number),
            Self::Templates { .. } => whole("templates"),
            Self::Template { number, .. } | Self::TemplatePath { number, .. } => entry("templates", number),
            Self::EmptyObject { position }
            | Self::NoName { position }
            | Self::Object { position, .. }
            | Self::Duplicate { position, .. } => entry("objects", position),
            Self::FileName { name: value, position, .. }
            | Self::Permission { value, position, .. }
            | Self::JmesPath { expression: value, position, .. }
            | Self::AliasTwice { alias: value, position, .. }
            | Self::FileIsDirectory { child: value, child_position: position, .. } => {
                Place { value: Some(value), ..entry("objects", position) }
            }
        }
    }

    /// What is wrong, without the name of what it is wrong with: names are chosen by authors, and may be words of the
    /// grammar.
    pub fn problem(&self) -> String {
        match self {
            Self::AssumeRoles { problem }
            | Self::Hop { problem, .. }
            | Self::Templates { problem }
            | Self::Template { problem, .. }
            | Self::TemplatePath { problem, .. }
            | Self::Object { problem, .. } => problem.clone(),
            Self::FileName { .. } | Self::FileIsDirectory { .. } | Self::Duplicate { .. } | Self::NoName { .. } => {
                "objectAlias objectName".into()
            }
            Self::AliasTwice { .. } => "objectAlias key".into(),
            Self::Permission { .. } => "filePermission".into(),
            Self::JmesPath { .. } => "jmesPath.path".into(),
            Self::NoObjects
            | Self::Limit { .. }
            | Self::Finds { .. }
            | Self::Yaml(_)
            | Self::Parameter { .. }
            | Self::Conflict { .. }
            | Self::EmptyObject { .. } => String::new(),
        }
    }
}
