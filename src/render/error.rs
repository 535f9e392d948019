//! Why values cannot become files. The messages name keys, never values.

use super::decode::DecodeError;
use super::evaluate::EvaluationError;
use super::formats::Unwritable;
use super::json::Document;
use super::markup;
use super::pem::PemError;
use super::verify::Rejection;
use super::{cut, hint};
use crate::plan::{Address, Format, InvalidPath};
use crate::reason::{Explained, Reason};

/// Why a value cannot become its files.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RenderError {
    #[error("{address} (object {position}) has {taken_apart_by}, but is no JSON: {problem}")]
    NotJson { address: String, position: usize, taken_apart_by: &'static str, problem: String },
    #[error("{address} (object {position}) has expandJson, but is no JSON object with keys")]
    NoObject { address: String, position: usize },
    #[error("key {key:?} is not in {address} (object {position}, {place}); {hint}. Correct `{setting}` in the class")]
    NoSuchKey { key: String, address: String, position: usize, place: String, hint: String, setting: &'static str },
    #[error(
        "{expression:?} selects nothing in {address} (object {position}, file {file:?}). Correct `path` in the class"
    )]
    NothingSelected { expression: String, address: String, position: usize, file: String },
    #[error(
        "expandJson takes no key of {address} (object {position}); {hint}. Correct `include` and `exclude` in the class"
    )]
    NothingExpanded { address: String, position: usize, hint: String },
    #[error("the jmesPath {expression:?} fails on {address} (object {position}, file {file:?}): {problem}")]
    Expression { expression: String, address: String, position: usize, file: String, problem: EvaluationError },
    #[error("the file {path:?} of `templates` is also one of an object. Set another `path`")]
    TemplateReplaces { path: String },
    #[error("the file {path:?} cannot be written as {format}: {problem}")]
    Template { path: String, format: Format, problem: Unwritable },
    #[error("the file {path:?} of `templates` cannot be filled: line {line} of its content: {problem}")]
    Fill { path: String, line: usize, problem: markup::Problem },
    #[error("{address} (object {position}) is not what `verify` demands: {problem}. A volume keeps what it has")]
    Rejected { address: String, position: usize, problem: Rejection },
    #[error("{address} (object {position}, file {file:?}) {problem}. Store it so, or correct `decode` in the class")]
    Decode { address: String, position: usize, file: String, problem: DecodeError },
    #[error("{address} (object {position}) {problem}")]
    Pem { address: String, position: usize, problem: PemError },
    #[error(
        "the file name for key {key:?} of {address} (object {position}) {problem}. Leave the key out with `exclude` of expandJson, or rename it"
    )]
    KeyAsFile { key: String, address: String, position: usize, problem: InvalidPath },
    #[error(
        "the keys {key:?} and {other:?} of {address} (object {position}) are both the file {file:?}. Leave one out with `exclude` of expandJson"
    )]
    SameFile { key: String, other: String, address: String, position: usize, file: String },
    #[error(
        "the file {parent:?} would have to be a directory for {child:?}. Leave one out, or set `prefix` in expandJson, or `rewrite` beside find"
    )]
    FileIsDirectory { parent: String, child: String },
    #[error("the patterns of `expandJson` and `templates` take too many steps. Write fewer, or simpler ones")]
    TooManySteps,
    #[error(
        "expandJson takes more than {limit} keys in one mount. Name fewer in `include`, or raise --max-expanded-keys"
    )]
    TooManyKeys { limit: usize },
    #[error("the mount would have {count} files; {limit} is the limit. Split the class, or raise --max-files")]
    TooManyFiles { count: usize, limit: usize },
    #[error("the file {file:?} would have more than {limit} bytes. Mount less, or raise --max-value-bytes")]
    FileTooLarge { file: String, limit: usize },
    #[error(
        "the files have {size} bytes; {limit} is the limit of one mount. Split the class, or raise --max-mount-bytes"
    )]
    TooLarge { size: usize, limit: usize },
}

impl Explained for RenderError {
    fn reason(&self) -> Reason {
        match self {
            Self::NotJson { .. } | Self::NoObject { .. } => Reason::NotJson,
            Self::NoSuchKey { .. } | Self::NothingSelected { .. } | Self::NothingExpanded { .. } => {
                Reason::JsonKeyNotFound
            }
            Self::Expression { problem: EvaluationError::TooExpensive, .. } => Reason::LimitExceeded,
            Self::Expression { problem: EvaluationError::Function | EvaluationError::Slice, .. } => {
                Reason::InvalidJmesPath
            }
            Self::Template { problem: Unwritable::TooLarge, .. } => Reason::LimitExceeded,
            Self::Fill { problem, .. } if problem.is_limit() => Reason::LimitExceeded,
            Self::Template { .. } | Self::Fill { .. } => Reason::InvalidTemplate,
            Self::Decode { .. } => Reason::DecodeFailed,
            Self::Pem { problem: PemError::TooExpensive, .. }
            | Self::Rejected { problem: Rejection::TooMuch | Rejection::Pem(PemError::TooExpensive), .. } => {
                Reason::LimitExceeded
            }
            Self::Pem { .. } => Reason::InvalidPem,
            Self::Rejected { .. } => Reason::ValueRejected,
            Self::KeyAsFile { .. } => Reason::InvalidFileName,
            Self::SameFile { .. } | Self::FileIsDirectory { .. } | Self::TemplateReplaces { .. } => {
                Reason::DuplicateFile
            }
            Self::TooManySteps
            | Self::TooManyKeys { .. }
            | Self::TooManyFiles { .. }
            | Self::FileTooLarge { .. }
            | Self::TooLarge { .. } => Reason::LimitExceeded,
        }
    }
}

/// The object that an error names.
pub struct Of<'a, A> {
    pub address: &'a A,
    pub position: usize,
}

// Derived, they would ask it of the address too.
impl<A> Clone for Of<'_, A> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<A> Copy for Of<'_, A> {}

impl<A: Address> Of<'_, A> {
    pub fn not_json(self, taken_apart_by: &'static str, problem: String) -> RenderError {
        RenderError::NotJson { address: self.address.to_string(), position: self.position, taken_apart_by, problem }
    }

    /// `setting` is where the class names the key that a file should have.
    pub fn no_such_key(self, document: &Document, key: &str, file: &str, setting: &'static str) -> RenderError {
        let place = format!("file {:?}", cut(file));
        self.missing(document, key, place, setting)
    }

    /// Of a key that expandJson names in full.
    pub fn no_included_key(self, document: &Document, key: &str) -> RenderError {
        self.missing(document, key, "expandJson".into(), "include")
    }

    /// Of a key that `from` of its pem names.
    pub fn no_key_of_pem(self, document: &Document, key: &str) -> RenderError {
        self.missing(document, key, "pem".into(), "from")
    }

    pub fn wrong_pem(self, problem: PemError) -> RenderError {
        RenderError::Pem { address: self.address.to_string(), position: self.position, problem }
    }

    fn missing(self, document: &Document, key: &str, place: String, setting: &'static str) -> RenderError {
        let hint = hint(document.keys(), key);
        let (address, position) = (self.address.to_string(), self.position);
        RenderError::NoSuchKey { key: cut(key), address, position, place, hint, setting }
    }
}
