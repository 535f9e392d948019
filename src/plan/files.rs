//! The finished content of a volume.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{FilePermission, RelativePath};
use crate::sensitive::SecretBytes;

/// One file, ready to be written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct File {
    pub permission: FilePermission,
    pub owner: Owner,
    pub content: SecretBytes,
    /// Changes when, and only when, the secret behind the file has got another version.
    pub version: String,
}

/// Who owns a file. What is `None` is the provider's own, which is root's.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Owner {
    pub uid: Option<u32>,
    pub gid: Option<u32>,
}

impl Owner {
    /// Whether files are left to the provider.
    pub fn is_ours(&self) -> bool {
        *self == Self::default()
    }
}

/// How files stand in a volume.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FileLayout {
    /// Links through `..data`: all files change at once, as those of Kubernetes' own Secret volumes.
    #[default]
    Atomic,
    /// Plain files, replaced one by one, as those of the official provider.
    Files,
}

/// The files of one volume by path. No path in it is the parent of another, since a [`SecretPlan`](super::SecretPlan) has none.
pub type Files = BTreeMap<RelativePath, File>;
