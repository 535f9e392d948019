//! The grammar of SecretProviderClass parameters: parse, validate, explain.
//!
//! A class is parsed once, at the edge, into a [`SecretPlan`](crate::plan::SecretPlan) or one error that names the object
//! and says what to write. Each cloud has its own grammar, because each official provider has. Whoever writes a pod can
//! override every parameter of a class with the pod's `volumeAttributes`, so class and pod author count as one attacker.

// Nothing that comes from outside may end the process.
#![cfg_attr(
    not(test),
    deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)
)]

#[cfg(feature = "aws")]
pub mod aws;
mod examination;
pub mod keys;
pub mod yaml;

pub use examination::{Examination, Grammar, Need, Outcome, Place, SameFile};

use std::collections::BTreeMap;

use crate::plan::{InvalidJmesPath, InvalidPath, InvalidPermission};
use crate::reason::{Explained, Reason};

/// The parameters of a class as the driver hands them over: text by case-sensitive name.
pub type Parameters = BTreeMap<String, String>;

/// What is wrong with a class. `object` is the entry's name as the class has it, `position` counts from 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SpecError {
    #[error("the class has no `objects`; list under it what to mount, each with objectName and objectType")]
    NoObjects,
    #[error("`objects` has {size} {unit}; {limit} is the limit. Split the class, or raise --{flag}")]
    Limit { size: usize, unit: &'static str, limit: usize, flag: &'static str },
    #[error("`objects` has {size} objects with find; {limit} is the limit. Split the class")]
    Finds { size: usize, limit: usize },
    #[error("`objects` is not a YAML list of objects: {0}")]
    Yaml(String),
    #[error("{parameter} {value:?} {problem}")]
    Parameter { parameter: &'static str, value: String, problem: String },
    #[error("{problem}")]
    Conflict { problem: &'static str },
    #[error("`assumeRoles` {problem}")]
    AssumeRoles { problem: String },
    #[error("hop {number} of assumeRoles {problem}")]
    Hop { number: usize, problem: String },
    #[error("`templates` {problem}")]
    Templates { problem: String },
    #[error("file {number} of templates {problem}")]
    Template { number: usize, problem: String },
    #[error("file {number} of templates {problem}")]
    TemplatePath { number: usize, problem: String },
    #[error("object {position} is empty; remove the dash, or write an objectName")]
    EmptyObject { position: usize },
    #[error("object {position} has no objectName")]
    NoName { position: usize },
    #[error("{object:?} (object {position}) {problem}")]
    Object { object: String, position: usize, problem: String },
    #[error("the file name {name:?} of {object:?} (object {position}) {problem}; set another objectAlias")]
    FileName { name: String, object: String, position: usize, problem: InvalidPath },
    #[error("filePermission {value:?} of {object:?} (object {position}) is invalid; {problem}")]
    Permission { value: String, object: String, position: usize, problem: InvalidPermission },
    #[error("the jmesPath {expression:?} of {object:?} (object {position}) {problem}")]
    JmesPath { expression: String, object: String, position: usize, problem: InvalidJmesPath },
    #[error("{object:?} (object {position}) is the same as an earlier object: {problem}")]
    Duplicate { object: String, position: usize, problem: &'static str },
    #[error("{object:?} (object {position}) uses the objectAlias {alias:?} a second time; set another one")]
    AliasTwice { object: String, position: usize, alias: String },
    #[error(
        "the file {parent:?} of object {parent_position} would have to be a directory for {child:?} of object {child_position}; set another objectAlias"
    )]
    FileIsDirectory { parent: String, parent_position: usize, child: String, child_position: usize },
}

impl Explained for SpecError {
    fn reason(&self) -> Reason {
        match self {
            Self::NoObjects | Self::Yaml(_) | Self::EmptyObject { .. } | Self::NoName { .. } => Reason::InvalidObjects,
            Self::Limit { .. } | Self::Finds { .. } => Reason::LimitExceeded,
            Self::Conflict { .. } => Reason::ConflictingSettings,
            Self::Parameter { .. }
            | Self::AssumeRoles { .. }
            | Self::Hop { .. }
            | Self::Object { .. }
            | Self::Permission { .. } => Reason::InvalidParameter,
            Self::Templates { .. } | Self::Template { .. } => Reason::InvalidTemplate,
            Self::FileName { .. } => Reason::InvalidFileName,
            Self::JmesPath { .. } => Reason::InvalidJmesPath,
            Self::Duplicate { .. }
            | Self::AliasTwice { .. }
            | Self::FileIsDirectory { .. }
            | Self::TemplatePath { .. } => Reason::DuplicateFile,
        }
    }
}
